//! A bar for each file: how much of it came from whom.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::shell::units;

use super::run::{self, Piece, Run};
use super::{COLOURS, WIDTH, escape, label};

/// Bars of the whole page. With more, those of single clients are left out, then those of the files
/// of which least was sent.
const MAX_BARS: usize = 150;
/// A file of fewer pieces says nothing about how they are spread.
const ENOUGH: u32 = 10;
/// Pixels.
const LEFT: f64 = 190.0;
const RIGHT: f64 = 84.0;
const TALL: f64 = 22.0;
const LOW: f64 = 16.0;
/// A part that is narrower is put together with others.
const NARROWEST: f64 = 4.0;
/// A part that is wider has its percent in it, or its sender as well.
const PERCENT: f64 = 36.0;
const SENDER: f64 = 100.0;

/// Pieces by source.
#[derive(Default)]
struct Bar(BTreeMap<usize, usize>);

impl Bar {
    fn add(&mut self, piece: &Piece) {
        *self.0.entry(piece.source).or_default() += 1;
    }

    fn sum(&self) -> usize {
        self.0.values().sum()
    }
}

pub(super) fn section(run: &Run) -> String {
    if run.pieces.is_empty() {
        return String::new();
    }
    let mut files: BTreeMap<usize, Bar> = BTreeMap::new();
    let mut copies: BTreeMap<usize, BTreeMap<usize, Bar>> = BTreeMap::new();
    for piece in &run.pieces {
        files.entry(piece.file).or_default().add(piece);
        let copies = copies.entry(piece.file).or_default();
        copies.entry(piece.client).or_default().add(piece);
    }
    let left_out = keep_most(&mut files, MAX_BARS);
    let bars: usize = files.keys().map(|file| 1 + copies[file].len()).sum();
    let with_copies = bars <= MAX_BARS;
    let (mut y, mut svg) = (4.0, String::new());
    for (file, bar) in &files {
        let (name, copies) = (run.files[*file], &copies[file]);
        let fetched = format!("{} × {}", bar.sum() / copies.len().max(1), copies.len());
        draw(run, (name, &fetched), bar, (y, TALL), &mut svg);
        y += TALL + 3.0;
        // A single copy is the file's bar once more.
        for (client, bar) in copies.iter().filter(|_| with_copies && copies.len() > 1) {
            let (name, sum) = (run::client(*client), bar.sum().to_string());
            draw(run, (&format!("to {name}"), &sum), bar, (y, LOW), &mut svg);
            y += LOW + 3.0;
        }
        y += 9.0;
    }
    let below = match with_copies {
        true => ", and below it for each client that fetched it",
        false => "",
    };
    let more = match left_out {
        0 => String::new(),
        more => format!(
            "<p>And {} more, of which less was sent.</p>\n",
            units::count(more, "file")
        ),
    };
    format!(
        "<h2>The share of each source</h2>\n<p>For each file{below}: which part of it came from whom. \
         At the right: pieces × clients.</p>\n<div class=\"wide\"><svg viewBox=\"0 0 {WIDTH} {y:.0}\" \
         role=\"img\">\n{svg}</svg></div>\n{more}"
    )
}

/// The largest part of a client's file that came from one source, if it had a choice.
pub(super) fn largest(run: &Run) -> Option<String> {
    let mut copies: BTreeMap<(usize, usize), Bar> = BTreeMap::new();
    let enough = run.pieces.iter().filter(|piece| piece.of >= ENOUGH);
    for piece in enough {
        copies
            .entry((piece.file, piece.client))
            .or_default()
            .add(piece);
    }
    let shares = copies
        .iter()
        .filter(|(_, bar)| bar.0.len() > 1)
        .map(|(copy, bar)| {
            let most = bar.0.values().copied().max().unwrap_or_default();
            (most as f64 * 100.0 / bar.sum() as f64, *copy)
        });
    let (percent, (file, client)) = shares.max_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(format!(
        "{percent:.0} % ({} to {})",
        short(run.files[file]),
        run::client(client)
    ))
}

fn short(name: &str) -> String {
    name.chars().take(super::MAX_LABEL).collect()
}

/// Keeps the `most` files of which most was sent; the others are counted.
fn keep_most(files: &mut BTreeMap<usize, Bar>, most: usize) -> usize {
    let left_out = files.len().saturating_sub(most);
    if left_out > 0 {
        let mut sums: Vec<_> = files.iter().map(|(file, bar)| (bar.sum(), *file)).collect();
        sums.sort_unstable();
        for (_, file) in &sums[..left_out] {
            files.remove(file);
        }
    }
    left_out
}

/// One bar with what stands before and behind it, `height` high, from `y` on.
fn draw(
    run: &Run,
    (name, count): (&str, &str),
    bar: &Bar,
    (y, height): (f64, f64),
    svg: &mut String,
) {
    let middle = y + height / 2.0 + 4.0;
    let class = if height < TALL {
        "faint small end"
    } else {
        "end"
    };
    let _ = writeln!(
        svg,
        "<text class=\"{class}\" x=\"{:.0}\" y=\"{middle:.1}\">{}<title>{}</title></text>\
         <text class=\"faint small\" x=\"{:.0}\" y=\"{middle:.1}\">{count}</text>",
        LEFT - 10.0,
        label(name),
        escape(name),
        WIDTH - RIGHT + 10.0,
    );
    let all = WIDTH - LEFT - RIGHT;
    let (mut x, mut others) = (LEFT, (0, 0));
    let width = |pieces: usize| all * pieces as f64 / bar.sum() as f64;
    for (source, pieces) in &bar.0 {
        if width(*pieces) < NARROWEST {
            others = (others.0 + 1, others.1 + pieces);
            continue;
        }
        let colour = source % COLOURS.len();
        let who = &run.sources[*source];
        let part = Part {
            x,
            y,
            width: width(*pieces),
            height,
        };
        part.draw(
            &format!("s{colour}"),
            &format!("t{colour}"),
            who,
            *pieces,
            bar.sum(),
            svg,
        );
        x += part.width;
    }
    if others.1 > 0 {
        let part = Part {
            x,
            y,
            width: width(others.1),
            height,
        };
        let who = format!("{} others", others.0);
        part.draw("other", "", &who, others.1, bar.sum(), svg);
    }
}

/// A part of a bar.
struct Part {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

impl Part {
    fn draw(&self, fill: &str, text: &str, who: &str, pieces: usize, of: usize, svg: &mut String) {
        let percent = format!("{:.0} %", pieces as f64 * 100.0 / of as f64);
        let inside = match self.width {
            w if w >= SENDER => format!("{who}: {percent}"),
            w if w >= PERCENT => percent.clone(),
            _ => String::new(),
        };
        let says = format!(
            "{} of {of} from {who}: {percent}",
            units::count(pieces, "piece")
        );
        let _ = writeln!(
            svg,
            "<g><title>{}</title><rect class=\"{fill}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{}\"/>\
             <text class=\"small middle {text}\" x=\"{:.1}\" y=\"{:.1}\">{}</text></g>",
            escape(&says),
            self.x,
            self.y,
            (self.width - 1.0).max(0.5),
            self.height,
            self.x + self.width / 2.0,
            self.y + self.height / 2.0 + 4.0,
            escape(&inside)
        );
    }
}
