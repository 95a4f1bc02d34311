//! A row for each client, and in it what came when: a column of marks for each moment.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::shell::units;

use super::run::{self, Piece, Run};
use super::{COLOURS, MAX_ROWS, WIDTH, escape};

/// Pieces that are drawn each for itself, if there are no more.
const MAX_SINGLE: usize = 8000;
/// Marks that stand for several pieces: there are no more than about so many.
const MAX_MARKS: usize = 20_000;
/// Columns of a row, if that does not make too many marks.
const COLUMNS: usize = 156;
/// Pixels before and behind the marks.
const LEFT: f64 = 118.0;
const RIGHT: f64 = 84.0;
const AXIS: f64 = 26.0;
/// The highest mark of one piece.
const TALLEST: f64 = 8.0;
/// Marks of one piece that are lower than this cannot be told apart.
const LOWEST: f64 = 1.5;
/// Above the columns of a row: triangles have room there.
const GAP: f64 = 8.0;
/// A row in which nothing came, with room for its name.
const EMPTY_ROW: f64 = 18.0;

/// How a run is cut.
struct Grid {
    /// Clients of a row, 1 unless there are very many.
    clients: usize,
    rows: usize,
    columns: usize,
    /// Microseconds.
    column_time: u64,
    /// Pieces of the column that has most.
    most: usize,
    /// Whether each piece is a mark.
    single: bool,
    /// Pixels of the highest column.
    height: f64,
    /// Where each row begins, then where the last one ends.
    tops: Vec<f64>,
}

/// The pieces of one column of one row.
type Cells<'a> = BTreeMap<(usize, usize), Vec<&'a Piece>>;

pub(super) fn section(run: &Run) -> String {
    if run.pieces.is_empty() {
        return "<h2>Who sent what, and when</h2>\n<p>No piece was sent.</p>\n".into();
    }
    let (grid, cells) = Grid::of(run);
    let mark = match grid.single {
        true => {
            "Each mark is a piece that arrived; pieces that arrived together stand above each other."
        }
        false => "The height of a mark says how many pieces arrived together.",
    };
    let bottom = grid.tops[grid.rows];
    let mut svg = format!(
        "<h2>Who sent what, and when</h2>\n<p>A row is what one client received, from left to right. \
         {mark} The highest column is {} in {}. A triangle: a file is complete. Time runs from the \
         first piece.</p>\n<div class=\"wide\"><svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\">\n",
        units::count(grid.most, "piece"),
        time(grid.column_time),
        bottom + AXIS
    );
    grid.draw_rows(run, &mut svg);
    grid.draw_axis(bottom, &mut svg);
    for ((row, column), mut pieces) in cells {
        pieces.sort_by_key(|piece| (piece.source, piece.at));
        grid.draw_column(run, row, column, &pieces, &mut svg);
    }
    grid.draw_finishes(run, &mut svg);
    svg + "</svg></div>\n"
}

impl Grid {
    fn of<'a>(run: &'a Run) -> (Grid, Cells<'a>) {
        let clients = run.clients.len().div_ceil(MAX_ROWS).max(1);
        let rows = run.clients.len().div_ceil(clients);
        let mut columns = COLUMNS;
        loop {
            let column_time = (run.span() / columns as u64 + 1).max(1);
            let mut cells = Cells::new();
            for piece in &run.pieces {
                // Every piece is in the trace of a client.
                let place = run.clients.binary_search(&piece.client).unwrap_or_default();
                let column = (piece.at / column_time) as usize;
                cells
                    .entry((place / clients, column))
                    .or_default()
                    .push(piece);
            }
            let most = cells.values().map(Vec::len).max().unwrap_or(1);
            let highest = match rows {
                0..=12 => 64.0,
                13..=40 => 34.0,
                _ => 13.0,
            };
            let height = (most as f64 * TALLEST).clamp(13.0, highest);
            let single = run.pieces.len() <= MAX_SINGLE && height / most as f64 >= LOWEST;
            let marks = |cell: &Vec<&Piece>| {
                let mut sources: Vec<usize> = cell.iter().map(|piece| piece.source).collect();
                sources.sort_unstable();
                sources.dedup();
                sources.len()
            };
            if single || columns == 1 || cells.values().map(marks).sum::<usize>() <= MAX_MARKS {
                let mut tops = vec![AXIS];
                for row in 0..rows {
                    let is_empty = cells.range((row, 0)..(row + 1, 0)).next().is_none();
                    let row = if is_empty { EMPTY_ROW } else { height + GAP };
                    tops.push(tops.last().unwrap_or(&AXIS) + row);
                }
                let grid = Grid {
                    clients,
                    rows,
                    columns,
                    column_time,
                    most,
                    single,
                    height,
                    tops,
                };
                return (grid, cells);
            }
            columns /= 2;
        }
    }

    /// Pixels of a column.
    fn width(&self) -> f64 {
        (WIDTH - LEFT - RIGHT) / self.columns as f64
    }

    fn x(&self, at: u64) -> f64 {
        let columns = at as f64 / self.column_time as f64;
        LEFT + columns.min(self.columns as f64) * self.width()
    }

    fn draw_rows(&self, run: &Run, svg: &mut String) {
        for (row, clients) in run.clients.chunks(self.clients).enumerate() {
            let (top, bottom) = (self.tops[row], self.tops[row + 1]);
            if row % 2 == 0 {
                let _ = writeln!(
                    svg,
                    "<rect class=\"band\" x=\"0\" y=\"{top:.1}\" width=\"{WIDTH}\" height=\"{:.1}\"/>",
                    bottom - top
                );
            }
            let name = match clients {
                [first, .., last] => format!("clients {first}–{last}"),
                _ => clients.iter().copied().map(run::client).collect(),
            };
            let got = run
                .pieces
                .iter()
                .filter(|piece| clients.contains(&piece.client));
            let y = (top + bottom) / 2.0 + 4.0;
            let (end, count) = (WIDTH - 6.0, units::count(got.count(), "piece"));
            let _ = writeln!(
                svg,
                "<text x=\"6\" y=\"{y:.1}\">{name}</text><text class=\"faint small end\" x=\"{end}\" y=\"{y:.1}\">{count}</text>"
            );
        }
    }

    /// Lines at round times, from top to `bottom`, with the times at both ends.
    fn draw_axis(&self, bottom: f64, svg: &mut String) {
        let end = self.column_time.saturating_mul(self.columns as u64);
        let step = round_step(end);
        for at in (0..=end).step_by(step as usize) {
            let x = self.x(at);
            let _ = writeln!(
                svg,
                "<line class=\"line\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{AXIS}\" y2=\"{bottom:.1}\"/>"
            );
            for y in [AXIS - 8.0, bottom + 16.0] {
                let _ = writeln!(
                    svg,
                    "<text class=\"faint small middle\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>",
                    time(at)
                );
            }
        }
    }

    /// `pieces` are by source.
    fn draw_column(
        &self,
        run: &Run,
        row: usize,
        column: usize,
        pieces: &[&Piece],
        svg: &mut String,
    ) {
        let unit = self.height / self.most as f64;
        let unit = unit.min(TALLEST);
        let mut base = self.tops[row + 1];
        let together = |a: &&Piece, b: &&Piece| !self.single && a.source == b.source;
        for mark in pieces.chunk_by(together) {
            let height = mark.len() as f64 * unit;
            base -= height;
            let (first, source) = (mark[0], mark[0].source);
            let says = match mark {
                [piece] => format!(
                    "piece {} of {} of {}, from {} to {}, after {}",
                    piece.index + 1,
                    piece.of,
                    run.files[piece.file],
                    run.sources[source],
                    run::client(piece.client),
                    time(piece.at)
                ),
                _ => format!(
                    "{} from {}, after {}",
                    units::count(mark.len(), "piece"),
                    run.sources[source],
                    time(first.at)
                ),
            };
            let x = LEFT + column as f64 * self.width();
            let width = (self.width() - 0.8).max(0.8);
            // A thin gap between two of them, where there is room.
            let shown = if height >= 3.0 { height - 0.8 } else { height };
            let _ = writeln!(
                svg,
                "<rect class=\"p s{}\" x=\"{x:.1}\" y=\"{base:.2}\" width=\"{width:.1}\" height=\"{shown:.2}\"><title>{}</title></rect>",
                source % COLOURS.len(),
                escape(&says)
            );
        }
    }

    /// Small triangles at the upper edge of a row.
    fn draw_finishes(&self, run: &Run, svg: &mut String) {
        if run.finishes.len() > MAX_MARKS {
            return;
        }
        for finish in &run.finishes {
            let Ok(place) = run.clients.binary_search(&finish.client) else {
                continue;
            };
            let (x, y) = (self.x(finish.at), self.tops[place / self.clients] + 1.0);
            let says = format!(
                "{} has {}, after {}",
                run::client(finish.client),
                finish.file,
                time(finish.at)
            );
            let _ = writeln!(
                svg,
                "<path class=\"done\" d=\"M{:.1} {y:.1}h6l-3 5z\"><title>{}</title></path>",
                x - 3.0,
                escape(&says)
            );
        }
    }
}

/// Between lines of the axis: 1, 2 or 5 of a power of ten, so that there are 5 to 12 of them.
fn round_step(span: u64) -> u64 {
    let mut step = 1;
    loop {
        for factor in [1, 2, 5] {
            if span / (step * factor) <= 11 {
                return step * factor;
            }
        }
        step *= 10;
    }
}

/// Such as `250 µs`, `12.5 ms`, `3.2 s`.
pub(super) fn time(micros: u64) -> String {
    let (value, unit) = match micros {
        0 => return "0".into(),
        1..1000 => return format!("{micros} µs"),
        1000..1_000_000 => (micros as f64 / 1e3, "ms"),
        _ => (micros as f64 / 1e6, "s"),
    };
    let digits = if value < 100.0 { 1 } else { 0 };
    let text = format!("{value:.digits$}");
    format!("{} {unit}", text.trim_end_matches(".0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let shown = [0, 7, 2000, 12_345, 250_000, 1_500_000, 75_000_000].map(time);
        assert_eq!(
            shown,
            ["0", "7 µs", "2 ms", "12.3 ms", "250 ms", "1.5 s", "75 s"]
        );
    }

    #[test]
    fn the_axis_has_round_steps() {
        for (span, step) in [
            (0, 1),
            (11, 1),
            (12, 2),
            (100, 10),
            (260_000, 50_000),
            (u64::MAX / 2, 1_000_000_000_000_000_000),
        ] {
            assert_eq!(round_step(span), step, "{span}");
        }
    }
}
