//! Asking who has a file: `ask <file>` at our trackers, `<host> <port> <file>` at that one, and the
//! number of what was found, which fetches it.

use std::fmt::Write;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use crate::control::command::{self, Place};
use crate::control::names::FileName;
use crate::control::tracker_info::TrackerAddress;
use crate::peer::asking::{self, Asked};
use crate::peer::tracker_link::LinkError;
use crate::storage::resume::Share;
use crate::torrent::id::InfoHash;

use super::peer_shell::{PeerShell, ShellError};
use super::sharing;
use super::table::{Align, table};
use super::units;

/// How many holders a list names.
const LISTED_HOLDERS: usize = 4;
/// How much of an info hash a list shows, in digits.
const SHORT_HASH: usize = 8;

/// What was found last: its numbers can be typed.
pub struct Choices {
    file: FileName,
    choices: Vec<Choice>,
}

/// A content that can be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Choice {
    info_hash: InfoHash,
    size: u64,
    holders: Vec<SocketAddr>,
    /// Knows the torrent.
    tracker: TrackerAddress,
}

/// A line that is no command.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// `<host> <port> <file>`
    At {
        host: &'a str,
        port: u16,
        /// It may be of several words, without quotes.
        file: String,
    },
    /// `<number> [destination]`
    Choice {
        number: usize,
        destination: Option<&'a str>,
    },
}

impl Line<'_> {
    pub fn parse(words: &[String]) -> Option<Line<'_>> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if command::find(Place::PeerPrompt, words.first()?).is_ok() {
            return None;
        }
        match words.as_slice() {
            [host, port, file @ ..] if !file.is_empty() => {
                let port = port.parse().ok().filter(|port| *port > 0)?;
                // An IPv6 address may stand in brackets.
                let bare = host
                    .strip_prefix('[')
                    .and_then(|rest| rest.strip_suffix(']'));
                let host = bare.unwrap_or(host);
                let file = file.join(" ");
                Some(Line::At { host, port, file })
            }
            [number, rest @ ..] if rest.len() < 2 => Some(Line::Choice {
                number: number.parse().ok()?,
                destination: rest.first().copied(),
            }),
            _ => None,
        }
    }
}

/// Carries out a line that is no command.
pub fn run(shell: &mut PeerShell, line: &Line<'_>) -> Result<String, ShellError> {
    match *line {
        Line::At {
            host,
            port,
            ref file,
        } => ask_at(shell, host, port, file),
        Line::Choice {
            number,
            destination,
        } => {
            let none = || {
                let text = format!("{number} is no command, and nothing was found to choose from");
                ShellError::Other(text + ": ask <file>")
            };
            let choices = shell.choices.as_ref().ok_or_else(none)?;
            let nth = number.checked_sub(1);
            let choice = nth.and_then(|nth| choices.choices.get(nth));
            let choice = choice.ok_or_else(|| {
                let last = choices.choices.len();
                ShellError::Other(format!("there is no {number} in the list: 1 to {last}"))
            })?;
            let (file, choice) = (choices.file.clone(), choice.clone());
            fetch(shell, file, &choice, destination)
        }
    }
}

/// Asks all of our trackers, and lists what was found.
pub fn ask(shell: &mut PeerShell, file: &str) -> Result<String, ShellError> {
    let (file, trackers) = (sharing::file_name(file)?, shell.peer.trackers.list());
    let asked = ask_trackers(shell, &trackers, &file)?;
    let list = sum_up(shell, &file, &asked)?;
    let how = match list.choices.len() {
        1 => "To fetch it, type: 1".to_string(),
        last => several(last),
    };
    let text = show(&list, &asked) + &how;
    shell.choices = Some(list);
    Ok(text)
}

/// Asks one tracker, and fetches what was found, if that is one content.
fn ask_at(shell: &mut PeerShell, host: &str, port: u16, file: &str) -> Result<String, ShellError> {
    let file = sharing::file_name(file)?;
    let tracker = named(&shell.peer.trackers.list(), host, port);
    let asked = ask_trackers(shell, &[tracker], &file)?;
    let list = sum_up(shell, &file, &asked)?;
    let mut text = show(&list, &asked);
    match list.choices.as_slice() {
        [only] => text += &fetch(shell, file, &only.clone(), None)?,
        more => text += &several(more.len()),
    }
    shell.choices = Some(list);
    Ok(text)
}

fn several(last: usize) -> String {
    format!(
        "These are different files of one name. To fetch one, type its number (1 to {last}), and \
         behind it, if you like, where it goes."
    )
}

/// The tracker that is meant: with its key, if it stands in tracker_info.txt.
fn named(ours: &[TrackerAddress], host: &str, port: u16) -> TrackerAddress {
    let addresses = |host: &str, port: u16| -> Vec<SocketAddr> {
        let found = (host, port).to_socket_addrs();
        found.map(Iterator::collect).unwrap_or_default()
    };
    let meant = addresses(host, port);
    let is_it = |tracker: &&TrackerAddress| {
        let same_name = tracker.host.eq_ignore_ascii_case(host) && tracker.port == port;
        let theirs = || addresses(&tracker.host, tracker.port);
        same_name || theirs().iter().any(|address| meant.contains(address))
    };
    ours.iter().find(is_it).cloned().unwrap_or(TrackerAddress {
        host: host.into(),
        port,
        key: None,
    })
}

/// What was found before can be chosen from no longer.
fn ask_trackers(
    shell: &mut PeerShell,
    trackers: &[TrackerAddress],
    file: &FileName,
) -> Result<Vec<Asked>, ShellError> {
    shell.choices = None;
    let stop = shell.interrupt.stop();
    Ok(shell.peer.who_has(trackers, file, &stop)?)
}

/// What can be fetched; an error that says why nothing can.
fn sum_up(shell: &PeerShell, file: &FileName, asked: &[Asked]) -> Result<Choices, ShellError> {
    if shell.interrupt.came() {
        return Err(ShellError::Interrupted);
    }
    let mut choices: Vec<Choice> = Vec::new();
    for (tracker, content) in contents(asked) {
        let Some(info_hash) = content.info_hash else {
            continue;
        };
        let known = choices
            .iter_mut()
            .find(|choice| choice.info_hash == info_hash);
        match known {
            Some(choice) => {
                let new = content
                    .holders
                    .iter()
                    .filter(|at| !choice.holders.contains(at));
                let new: Vec<SocketAddr> = new.copied().collect();
                choice.holders.extend(new);
            }
            None => choices.push(Choice {
                info_hash,
                size: content.size,
                holders: content.holders.clone(),
                tracker: tracker.clone(),
            }),
        }
    }
    if choices.is_empty() {
        return Err(ShellError::Other(why_none(file, asked)));
    }
    choices.sort_by_key(|choice| (std::cmp::Reverse(choice.holders.len()), choice.info_hash));
    let file = file.clone();
    Ok(Choices { file, choices })
}

fn contents(
    asked: &[Asked],
) -> impl Iterator<Item = (&TrackerAddress, &crate::control::question::Content)> {
    let answered = asked
        .iter()
        .filter_map(|one| Some((&one.tracker, one.result.as_ref().ok()?)));
    answered.flat_map(|(tracker, answers)| {
        answers
            .contents
            .iter()
            .map(move |content| (tracker, content))
    })
}

/// What is being hashed, how many did not answer, and which trackers did not: a line each.
fn besides(asked: &[Asked]) -> Vec<String> {
    let mut lines = Vec::new();
    for (_, content) in contents(asked).filter(|(_, content)| content.info_hash.is_none()) {
        let (size, holders) = (units::bytes(content.size), holders(&content.holders));
        lines.push(format!(
            "Still being hashed, ask again in a moment: {size} at {holders}."
        ));
    }
    for one in asked {
        match &one.result {
            Ok(answers) if answers.answered < answers.asked => {
                let silent = answers.asked - answers.answered;
                lines.push(format!("Without an answer after 2 s: {}.", peers(silent)));
            }
            Ok(_) => {}
            Err(LinkError::NoTracker(why)) => lines.push(format!("Not asked: {}.", why.join("; "))),
            Err(error) => lines.push(format!("Not asked: {}: {error}.", one.tracker)),
        }
    }
    lines
}

fn why_none(file: &FileName, asked: &[Asked]) -> String {
    let answers = || asked.iter().filter_map(|one| one.result.as_ref().ok());
    let first = if asked.is_empty() {
        "tracker_info.txt names no tracker: <host> <port> <file> asks one".to_string()
    } else if answers().count() == 0 {
        format!("nobody was asked for {file}: no tracker answers")
    } else if contents(asked).next().is_some() {
        format!("nobody can give {file} yet")
    } else {
        match answers().map(|answers| answers.asked).sum() {
            0 => format!("nobody has {file}: no other peer is connected to the tracker"),
            count => format!("nobody has {file}: {} asked", were(count)),
        }
    };
    let mut lines = vec![first];
    lines.extend(besides(asked));
    lines.join("\n")
}

fn show(list: &Choices, asked: &[Asked]) -> String {
    let rows = list.choices.iter().enumerate().map(|(nth, choice)| {
        vec![
            (nth + 1).to_string(),
            list.file.to_string(),
            units::bytes(choice.size),
            choice.info_hash.to_string()[..SHORT_HASH].to_string(),
            holders(&choice.holders),
        ]
    });
    let head = [
        ("", Align::Right),
        ("file", Align::Left),
        ("size", Align::Right),
        ("info hash", Align::Left),
        ("with", Align::Left),
    ];
    let rows: Vec<Vec<String>> = rows.collect();
    let mut text = table(&head, &rows).trim_end().to_string() + "\n";
    for line in besides(asked) {
        // A text cannot fail.
        let _ = writeln!(text, "{line}");
    }
    text
}

fn holders(holders: &[SocketAddr]) -> String {
    let listed = holders
        .iter()
        .take(LISTED_HOLDERS)
        .map(SocketAddr::to_string);
    let mut text = listed.collect::<Vec<_>>().join(", ");
    match holders.len().saturating_sub(LISTED_HOLDERS) {
        0 => {}
        more => text += &format!(" and {more} more"),
    }
    text
}

fn peers(count: u32) -> String {
    match count {
        1 => "1 peer".into(),
        count => format!("{count} peers"),
    }
}

fn were(count: u32) -> String {
    let verb = if count == 1 { "was" } else { "were" };
    format!("{} {verb}", peers(count))
}

/// Fetches a content from all who have it.
fn fetch(
    shell: &mut PeerShell,
    file: FileName,
    choice: &Choice,
    destination: Option<&str>,
) -> Result<String, ShellError> {
    let stop = shell.interrupt.stop();
    let metainfo = asking::metainfo(&choice.tracker, choice.info_hash, &stop)?;
    let metainfo = Arc::new(metainfo);
    let text = match sharing::there_already(shell, &metainfo, None)? {
        Some(text) => text,
        None => sharing::fetch(shell, &metainfo, Share::unlisted(file), destination)?,
    };
    // Also of one that is here already, and waits for peers.
    let (info_hash, holders) = (choice.info_hash, &choice.holders);
    shell.peer.add_addresses(info_hash, holders)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        crate::control::frame::split_words(line).unwrap()
    }

    #[test]
    fn bare_lines_are_told_from_commands() {
        let at = |host, port, file: &str| {
            let file = file.into();
            Some(Line::At { host, port, file })
        };
        let choice = |number, destination| {
            Some(Line::Choice {
                number,
                destination,
            })
        };
        for (line, expect) in [
            ("localhost 8000 f", at("localhost", 8000, "f")),
            ("::1 8000 \"a: b\"", at("::1", 8000, "a: b")),
            ("[::1] 1 f", at("::1", 1, "f")),
            ("[::1] 1 big notes.txt", at("::1", 1, "big notes.txt")),
            ("2", choice(2, None)),
            ("2 other", choice(2, Some("other"))),
            ("localhost 0 f", None),
            ("localhost 65536 f", None),
            ("localhost f 8000", None),
            ("localhost 8000", None),
            ("localhost 8000 f g", at("localhost", 8000, "f g")),
            ("pause 8000 f", None),
            ("pause", None),
        ] {
            assert_eq!(Line::parse(&words(line)), expect, "{line}");
        }
    }

    #[test]
    fn a_tracker_of_the_file_is_asked_with_its_key() {
        let mut ours = crate::control::tracker_info::parse("127.0.0.1:6000\n").unwrap();
        ours[0].host = "LOCALHOST".into();
        assert_eq!(named(&ours, "localhost", 6000), ours[0]);
        assert_eq!(named(&ours, "localhost", 6001).host, "localhost");
        ours[0].host = "127.0.0.1".into();
        assert_eq!(named(&ours, "127.0.0.1", 6000), ours[0]);
        assert_eq!(named(&ours, "127.0.0.2", 6000).host, "127.0.0.2");
    }
}
