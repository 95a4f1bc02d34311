//! A download that is waited for: its bar, and at the end a word on whether the file is right.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use crate::peer::PeerError;
use crate::peer::view::{Status, TorrentView};
use crate::shell::hashing::sha256;
use crate::shell::listing;
use crate::shell::news::all_right;
use crate::shell::peer_shell::{PeerShell, ShellError};
use crate::shell::screen::say;
use crate::storage::StorageError;
use crate::storage::files::FileStorage;
use crate::storage::resume::{Share, Sources};
use crate::torrent::id::InfoHash;
use crate::torrent::metainfo::Metainfo;

/// How often the bar moves and Ctrl-C is looked for.
const REFRESH: Duration = Duration::from_millis(100);
/// Of the bar, in characters.
const WIDTH: usize = 50;

/// Fetches a torrent from `sources` to `target` and waits for it. At a terminal the bar moves;
/// elsewhere only its end is printed.
pub fn run(
    shell: &mut PeerShell,
    metainfo: Arc<Metainfo>,
    target: &Path,
    share: Share,
    sources: Sources,
) -> Result<(), ShellError> {
    let info_hash = metainfo.info_hash;
    shell.awaited.add(info_hash);
    let result = fetch(shell, metainfo, target, share, sources);
    if let Err(ShellError::Interrupted | ShellError::Peer(_)) = result {
        shell.awaited.remove(&info_hash);
    }
    result
}

fn fetch(
    shell: &mut PeerShell,
    metainfo: Arc<Metainfo>,
    target: &Path,
    share: Share,
    sources: Sources,
) -> Result<(), ShellError> {
    let info_hash = metainfo.info_hash;
    let was_there = target.exists();
    let give_up = || shell.interrupt.came();
    shell
        .peer
        .download(metainfo, target, Some(share), sources, &give_up)?;
    let torrent = until_complete(shell, info_hash)?;
    let (name, path) = (&torrent.name, torrent.path.display());
    say!("[{}] 100%", "=".repeat(WIDTH));
    let came = !(was_there && torrent.downloaded == 0);
    if came {
        say!("{name} is complete: {path}");
    } else {
        // Nothing has ended, and no news will say so.
        shell.awaited.remove(&info_hash);
        say!("{name} was there already: {path}");
    }
    say!("{}", verdict(shell, &torrent, came)?);
    Ok(())
}

fn until_complete(shell: &PeerShell, info_hash: InfoHash) -> Result<TorrentView, ShellError> {
    let bar = ProgressBar::new(100).with_style(style());
    let result = loop {
        let torrent = match shell.peer.torrent(info_hash) {
            Ok(Some(torrent)) => torrent,
            Ok(None) => break Err(ShellError::NotHere(info_hash.to_string())),
            Err(error) => break Err(error.into()),
        };
        if torrent.status == Status::Seeding {
            break Ok(torrent);
        }
        if !torrent.is_under_way() {
            let state = listing::state(&torrent);
            break Err(ShellError::Other(format!("{}: {state}", torrent.name)));
        }
        bar.set_position(torrent.percent());
        bar.set_message(beside(&torrent));
        if shell.interrupt.wait(REFRESH) {
            bar.finish_and_clear();
            say!("{} goes on; `progress` shows it.", torrent.name);
            return Err(ShellError::Interrupted);
        }
    };
    bar.finish_and_clear();
    result
}

fn style() -> ProgressStyle {
    // The template is ours and right; the fallback is a bar all the same.
    ProgressStyle::with_template(&format!("[{{bar:{WIDTH}}}] {{percent}}% {{msg}}"))
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

/// The time left, or why nobody knows it.
fn beside(torrent: &TorrentView) -> String {
    match (&torrent.status, torrent.eta()) {
        (Status::Downloading, Some(eta)) if torrent.why.is_none() => {
            format!("ETA: {:#}", HumanDuration(eta))
        }
        _ => listing::state(torrent),
    }
}

/// Whether the file is the one that was meant. What `came` was compared before it got its name;
/// what was there already is compared now.
fn verdict(shell: &PeerShell, torrent: &TorrentView, came: bool) -> Result<String, ShellError> {
    let (name, layout) = (&torrent.name, &torrent.metainfo.layout);
    let expected = torrent.sha256();
    match expected {
        Some(expected) if came => return Ok(all_right(name, expected)),
        None if !layout.is_single() => {
            return Ok(format!("{name}: every piece's SHA-1 is right."));
        }
        _ => {}
    }
    let (path, open) = (&torrent.path, shell.peer.open_files.clone());
    let file = FileStorage::existing(path, layout.clone(), open);
    let is = sha256(shell, &file.map_err(PeerError::from)?, torrent.size)?;
    match expected {
        Some(expected) if expected == is => Ok(all_right(name, expected)),
        Some(expected) => {
            // It is not ours to rename, and nobody shall get it from us.
            shell.peer.remove(torrent.info_hash)?;
            let path = path.clone();
            let wrong = StorageError::WrongSha256 { path, is, expected };
            Err(PeerError::from(wrong).into())
        }
        None => Ok(format!(
            "{name}: no SHA-256 was published; the pieces' SHA-1 are right; its SHA-256 is {is}"
        )),
    }
}
