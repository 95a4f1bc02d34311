//! Watching downloads: live bars for people, a line a percent for programs.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crossterm::event::{self, Event, KeyEventKind};
use crossterm::terminal;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::peer::view::{Status, TorrentView};
use crate::torrent::id::InfoHash;

use super::peer_shell::{PeerShell, ShellError};
use super::screen::{self, say};
use super::{listing, units};

/// How often bars move.
const REFRESH: Duration = Duration::from_millis(200);
/// How often a program is told, at most, and only if the percentage has changed.
const TELL: Duration = Duration::from_millis(200);

/// Live bars until a key is pressed.
pub fn progress(shell: &mut PeerShell) -> Result<String, ShellError> {
    if !has_bars(shell) {
        return Ok(listing::show_downloads(&shell.peer.torrents()?));
    }
    if shell.peer.torrents()?.is_empty() {
        return Ok("Nothing to show. Try: list_files".into());
    }
    say!("Any key returns to the prompt.");
    let mut bars = Bars::new();
    let raw = terminal::enable_raw_mode().is_ok();
    let result = loop {
        match shell.peer.torrents() {
            Ok(torrents) => bars.show(&torrents),
            Err(error) => break Err(error),
        }
        let end = match raw {
            true => shell.interrupt.came() || key_pressed(),
            // No key can be seen: a signal ends it.
            false => shell.interrupt.wait(REFRESH),
        };
        if end {
            break Ok(());
        }
    };
    bars.leave();
    if raw {
        let _ = terminal::disable_raw_mode();
    }
    result?;
    Ok(String::new())
}

/// Whether somebody looks, and bars can be drawn.
fn has_bars(shell: &PeerShell) -> bool {
    shell.terminal && screen::can_draw()
}

/// Waits a moment for a key.
fn key_pressed() -> bool {
    if !event::poll(REFRESH).unwrap_or(true) {
        return false;
    }
    match event::read() {
        Ok(Event::Key(key)) => key.kind == KeyEventKind::Press,
        Ok(_) => false,
        Err(_) => true,
    }
}

/// Comes back when nothing is under way any more.
pub fn wait(shell: &mut PeerShell) -> Result<String, ShellError> {
    let mut bars = Bars::new();
    let mut told: HashMap<InfoHash, (String, Instant)> = HashMap::new();
    let torrents = loop {
        let torrents = shell.peer.torrents()?;
        let under_way: Vec<&TorrentView> = torrents
            .iter()
            .filter(|torrent| torrent.is_under_way())
            .collect();
        if has_bars(shell) {
            bars.show(&torrents);
        } else {
            under_way
                .iter()
                .for_each(|torrent| tell(torrent, &mut told));
        }
        if under_way.is_empty() {
            break torrents;
        }
        if shell.interrupt.wait(REFRESH) {
            bars.leave();
            return Err(ShellError::Interrupted);
        }
    };
    bars.leave();
    let failed: Vec<String> = torrents
        .iter()
        .filter(|torrent| matches!(torrent.status, Status::Stopped { .. }))
        .map(|torrent| format!("{} {}", torrent.name, listing::state(torrent)))
        .collect();
    if failed.is_empty() {
        Ok(String::new())
    } else {
        Err(ShellError::Other(failed.join("\n")))
    }
}

/// A line for a program that reads us, whenever there is something new to say.
fn tell(torrent: &TorrentView, told: &mut HashMap<InfoHash, (String, Instant)>) {
    let state = match torrent.status {
        Status::Downloading if torrent.why.is_none() => String::new(),
        _ => format!(", {}", listing::state(torrent)),
    };
    let news = format!("{} {} %{state}", torrent.name, torrent.percent());
    let last = told.get(&torrent.info_hash);
    if last.is_none_or(|(last, at)| *last != news && at.elapsed() >= TELL) {
        say!(
            "{news}, {}, {}",
            units::rate(torrent.rate_down),
            units::count(torrent.peers, "peer")
        );
        told.insert(torrent.info_hash, (news, Instant::now()));
    }
}

/// One bar a torrent.
struct Bars {
    all: MultiProgress,
    bars: HashMap<InfoHash, ProgressBar>,
}

impl Bars {
    fn new() -> Bars {
        Bars {
            all: MultiProgress::with_draw_target(screen::bars()),
            bars: HashMap::new(),
        }
    }

    fn show(&mut self, torrents: &[TorrentView]) {
        let busy = torrents.iter().any(TorrentView::is_under_way);
        let shown = |torrent: &&TorrentView| {
            !busy || torrent.is_under_way() || self.bars.contains_key(&torrent.info_hash)
        };
        let shown: Vec<&TorrentView> = torrents.iter().filter(shown).collect();
        for torrent in shown {
            let all = &self.all;
            let bar = self
                .bars
                .entry(torrent.info_hash)
                .or_insert_with(|| all.add(ProgressBar::new(100).with_style(style())));
            bar.set_prefix(torrent.name.clone());
            bar.set_position(torrent.percent());
            bar.set_message(beside(torrent));
            bar.tick();
        }
        self.bars.retain(|info_hash, bar| {
            let there = torrents
                .iter()
                .any(|torrent| torrent.info_hash == *info_hash);
            if !there {
                bar.finish_and_clear();
            }
            there
        });
    }

    /// The bars stay on the screen as they are.
    fn leave(&mut self) {
        self.bars.drain().for_each(|(_, bar)| bar.abandon());
    }
}

fn style() -> ProgressStyle {
    // The template is ours and right; the fallback is a bar all the same.
    ProgressStyle::with_template("{prefix:20!} [{bar:30}] {percent:>3}% {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

/// Rate, time left and peers; or why nothing moves.
fn beside(torrent: &TorrentView) -> String {
    let peers = units::count(torrent.peers, "peer");
    match torrent.status {
        Status::Downloading if torrent.why.is_none() => {
            let eta = torrent.eta().map_or("?".into(), units::time);
            format!("{}  ETA: {eta}  {peers}", units::rate(torrent.rate_down))
        }
        Status::Seeding => format!(
            "{} up  {peers}  {}",
            units::rate(torrent.rate_up),
            listing::state(torrent)
        ),
        _ => listing::state(torrent),
    }
}
