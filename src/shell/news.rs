//! What happens without being asked for, in words, above the prompt.

use std::io;
use std::thread::JoinHandle;

use crossbeam_channel::Receiver;

use crate::control::news;
use crate::peer::view::News;
use crate::runtime::threads;

use super::peer_shell::quoted;
use super::screen::Screen;
use super::units;

/// Starts the thread `news`, which prints until the peer ends.
///
/// # Errors
/// The system's, if no thread can be started.
pub fn print_news(news: Receiver<News>, screen: Screen) -> io::Result<JoinHandle<()>> {
    threads::spawn("news", None, move || {
        for item in news {
            screen.print(&line(&item));
        }
    })
}

/// One line for people.
fn line(news: &News) -> String {
    match news {
        News::Completed { name, path } => format!("{name} is complete: {}", path.display()),
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
