//! What happens without being asked for, in words, above the prompt.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::Receiver;
use parking_lot::Mutex;

use crate::control::news;
use crate::peer::view::News;
use crate::runtime::threads;
use crate::torrent::id::{FileHash, InfoHash};

use super::peer_shell::quoted;
use super::screen::Screen;
use super::units;

/// Torrents whose end somebody waits for, and tells in his own words. Copies are the same.
#[derive(Clone, Default)]
pub struct Awaited(Arc<Mutex<HashSet<InfoHash>>>);

impl Awaited {
    /// The next end of this torrent is not told as news.
    pub fn add(&self, info_hash: InfoHash) {
        self.0.lock().insert(info_hash);
    }

    /// It is news again. True if it was awaited.
    pub fn remove(&self, info_hash: &InfoHash) -> bool {
        self.0.lock().remove(info_hash)
    }
}

/// Starts the thread `news`, which prints until the peer ends.
///
/// # Errors
/// The system's, if no thread can be started.
pub fn print_news(
    news: Receiver<News>,
    screen: Screen,
    awaited: Awaited,
) -> io::Result<JoinHandle<()>> {
    threads::spawn("news", None, move || {
        for item in news {
            let line = line(&item);
            log::info!(target: "news", "{line}");
            if ended(&item).is_some_and(|info_hash| awaited.remove(info_hash)) {
                continue;
            }
            screen.print(&line);
        }
    })
}

/// The torrent whose end it is.
fn ended(news: &News) -> Option<&InfoHash> {
    match news {
        News::Completed { info_hash, .. } | News::Stopped { info_hash, .. } => Some(info_hash),
        News::Notice(_) | News::Group(_) => None,
    }
}

/// That a file is the one that was meant.
pub fn all_right(name: &str, sha256: FileHash) -> String {
    let short: String = sha256.to_string().chars().take(6).collect();
    format!("{name}: every piece's SHA-1 and the file's SHA-256 ({short}…) are right.")
}

/// A line for people, or two.
fn line(news: &News) -> String {
    match news {
        News::Completed {
            name, path, sha256, ..
        } => {
            let complete = format!("{name} is complete: {}", path.display());
            match sha256 {
                None => complete,
                Some(sha256) => format!("{complete}\n{}", all_right(name, *sha256)),
            }
        }
        News::Stopped { name, reason, .. } => format!("{name} stopped: {reason}"),
        News::Notice(text) => text.clone(),
        News::Group(news) => of_group(news),
    }
}

fn of_group(item: &news::News) -> String {
    use news::News::*;
    match item {
        Asks { group, user } => {
            format!("{user} asks to join {group}. Let them in with: accept_request {group} {user}")
        }
        Accepted { group } => format!("You are now a member of {group}."),
        Rejected { group } => format!("Your request to join {group} was turned down."),
        Joined { group, user } => format!("{user} is now a member of {group}."),
        Left { group, user } => format!("{user} has left {group}."),
        Owns { group } => format!("You are now the owner of {group}."),
        Shares {
            group,
            file,
            size,
            user,
        } => {
            let (size, typed) = (units::bytes(*size), quoted(file.as_str()));
            format!("{user} shares {file} ({size}) with {group}: download_file {group} {typed}")
        }
        Has { group, file, user } => format!("{user} now has {file} of {group}, too."),
        Gone { group, file } => format!("Nobody shares {file} with {group} any more."),
    }
}
