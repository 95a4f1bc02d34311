//! Waiting for hashes: a bar moves, and Ctrl-C ends it.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};
use indicatif::{ProgressBar, ProgressStyle};

use crate::peer::PeerError;
use crate::peer::hashing::make::{self, Made, Wish};
use crate::peer::hashing::whole::whole_file;
use crate::storage::Storage;
use crate::torrent::id::FileHash;

use super::peer_shell::{PeerShell, ShellError};
use super::screen::{bars, say};

/// How often bars are drawn and Ctrl-C is looked for.
const REFRESH: Duration = Duration::from_millis(100);

/// Makes a torrent of what lies at `path`.
pub fn hash(shell: &PeerShell, path: &Path, wish: Wish) -> Result<Made, ShellError> {
    let (done, made) = bounded(1);
    let on_done = move |result| drop(done.send(result));
    let open = shell.peer.open_files.clone();
    let making = make::make_torrent(&shell.peer.pool, open, path, wish, on_done)?;
    for skipped in &making.skipped {
        say!("Left out: {skipped}");
    }
    let bar = bar("hashing", making.task.progress().total);
    let result = loop {
        match made.recv_timeout(REFRESH) {
            Ok(result) => break result,
            Err(RecvTimeoutError::Timeout) => bar.set_position(making.task.progress().done),
            Err(RecvTimeoutError::Disconnected) => break Err(make::MakeError::Cancelled),
        }
        if shell.interrupt.came() {
            making.task.cancel();
        }
    };
    bar.finish_and_clear();
    Ok(result?)
}

/// The SHA-256 of a whole file of `total` bytes.
pub fn sha256(
    shell: &PeerShell,
    storage: &dyn Storage,
    total: u64,
) -> Result<FileHash, ShellError> {
    let bar = bar("SHA-256", total);
    let mut look = |done| {
        bar.set_position(done);
        match shell.interrupt.came() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    let result = whole_file(storage, total, &mut look);
    bar.finish_and_clear();
    result
        .map_err(PeerError::from)?
        .ok_or(ShellError::Interrupted)
}

fn bar(what: &'static str, total: u64) -> ProgressBar {
    let template = "{prefix} [{bar:40}] {percent}% {decimal_bytes_per_sec} {eta} left";
    // The template is ours and right; the fallback is a bar all the same.
    let style = ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ");
    ProgressBar::with_draw_target(Some(total), bars())
        .with_style(style)
        .with_prefix(what)
}
