//! The menu: seed and download by answering questions one by one.
//!
//! In scope: which question follows which. Not here: what an answer means ([`answer`]), how a
//! download is waited for ([`download`]), and where answers come from (a [`Person`]: whoever reads the
//! lines).

pub mod answer;
pub mod download;

use std::sync::Arc;

use crate::control::names::{FileName, GroupName};
use crate::control::reply::{PeerEntry, ReplyError};
use crate::control::request::Request;
use crate::peer::tracker_link::LinkError;
use crate::storage::resume::Share;
use crate::torrent::id::FileHash;
use crate::torrent::metainfo::Metainfo;

use super::completion::Typing;
use super::lines::{Next, Question};
use super::peer_shell::{PeerShell, ShellError};
use super::screen::say;
use super::sharing::{self, Publish};
use super::table::{Align, table};
use super::units;
use answer::Choice;

const CHOICES: &str = "\n1 Seed a file\n2 Download a file\n3 Exit";

/// Who answers the questions: at a prompt, or line by line.
pub trait Person {
    fn ask(&mut self, question: Question) -> Next;
    /// What was wished for cannot be done.
    fn hear(&mut self, error: &ShellError);
}

/// How the menu was left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Left {
    /// By its 3.
    Exit,
    /// Ctrl-C, Ctrl-D, or no more answers.
    GivenUp,
    /// A signal asks the program to end.
    Signal,
}

/// Why something in the menu came to no end.
enum Broken {
    Left(Left),
    Failed(ShellError),
}

impl<E: Into<ShellError>> From<E> for Broken {
    fn from(error: E) -> Broken {
        Broken::Failed(error.into())
    }
}

/// Shows the menu and does what is chosen, again and again until it is left.
pub fn run(shell: &mut PeerShell, person: &mut dyn Person) -> Left {
    loop {
        match round(shell, person) {
            Ok(()) => {}
            Err(Broken::Left(left)) => return left,
            Err(Broken::Failed(error)) => {
                person.hear(&error);
                if shell.interrupt.came() {
                    return Left::GivenUp;
                }
            }
        }
    }
}

fn round(shell: &mut PeerShell, person: &mut dyn Person) -> Result<(), Broken> {
    say!("{CHOICES}");
    let choice = ask(person, "Choose: ", Typing::Answer, answer::choice)?;
    match choice {
        Choice::Seed => seed(shell, person),
        Choice::Download => download(shell, person),
        Choice::Exit => Err(Broken::Left(Left::Exit)),
    }
}

/// Asks until the answer means something.
fn ask<T>(
    person: &mut dyn Person,
    question: &str,
    typing: Typing,
    mut read: impl FnMut(&str) -> Result<T, String>,
) -> Result<T, Broken> {
    loop {
        let question = Question {
            text: question.into(),
            typing,
        };
        match person.ask(question) {
            Next::Line(line) => match read(&line) {
                Ok(meant) => return Ok(meant),
                Err(why) => say!("{why}"),
            },
            Next::End => return Err(Broken::Left(Left::GivenUp)),
            Next::Signal => return Err(Broken::Left(Left::Signal)),
        }
    }
}

/// Asks for a name until one is found. Enter shows those that `offer` knows, and from then on
/// numbers are answers, too.
fn ask_for_name<T>(
    shell: &mut PeerShell,
    person: &mut dyn Person,
    (question, typing): (&str, Typing),
    offer: fn(&mut PeerShell) -> Result<Vec<Vec<String>>, ShellError>,
    find: fn(&mut PeerShell, &str) -> Result<T, ShellError>,
) -> Result<T, Broken> {
    let mut shown: Vec<String> = Vec::new();
    loop {
        let name = ask(person, question, typing, |typed| {
            answer::name_or_number(typed, &shown)
        })?;
        shell.link.set_stop(shell.interrupt.stop());
        if name.is_empty() {
            let rows = offer(shell)?;
            show_numbered(1, &rows);
            shown = rows
                .into_iter()
                .filter_map(|row| row.into_iter().next())
                .collect();
            continue;
        }
        match find(shell, &name) {
            Ok(found) => return Ok(found),
            Err(error) if is_about_the_name(&error) => say!("{error}"),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether another name may help.
fn is_about_the_name(error: &ShellError) -> bool {
    let refused =
        |error: &LinkError| matches!(error, LinkError::Refused(ReplyError::Refused { .. }));
    match error {
        ShellError::Other(_) => true,
        ShellError::Tracker(error) => refused(error),
        _ => false,
    }
}

/// A row each, with its number in front: `first`, and so on.
fn show_numbered(first: usize, rows: &[Vec<String>]) {
    let columns = rows.last().map_or(0, Vec::len);
    let mut head = vec![("", Align::Right)];
    head.resize(columns + 1, ("", Align::Left));
    let number = |(place, row): (usize, &Vec<String>)| {
        let number = std::iter::once((first + place).to_string());
        number.chain(row.iter().cloned()).collect()
    };
    let rows: Vec<Vec<String>> = rows.iter().enumerate().map(number).collect();
    if !rows.is_empty() {
        say!("{}", table(&head, &rows).trim_matches('\n'));
    }
}

/// Shares a file with everybody, together with its SHA-256.
fn seed(shell: &mut PeerShell, person: &mut dyn Person) -> Result<(), Broken> {
    let question = ("File to seed [show the upload folder]: ", Typing::Path);
    let find = |shell: &mut PeerShell, typed: &str| sharing::find_upload(shell, typed);
    let path = ask_for_name(shell, person, question, uploads, find)?;
    let public = GroupName::public();
    say!(
        "{}",
        sharing::share(shell, &path, public, Publish::TorrentAndSha256)?
    );
    Ok(())
}

/// What lies in the upload folder.
fn uploads(shell: &mut PeerShell) -> Result<Vec<Vec<String>>, ShellError> {
    let mut names = sharing::in_upload_folder(&shell.upload);
    names.sort();
    if names.is_empty() {
        say!("Nothing is in {}: type a path.", shell.upload.display());
    }
    Ok(names.into_iter().map(|name| vec![name]).collect())
}

/// What is shared with everybody.
fn files(shell: &mut PeerShell) -> Result<Vec<Vec<String>>, ShellError> {
    let entries = sharing::entries(&mut shell.link, &GroupName::public())?;
    if entries.is_empty() {
        say!("Nobody shares a file with everybody just now.");
    }
    let rows = entries.into_iter().map(|entry| {
        vec![
            entry.name.as_str().to_string(),
            units::bytes(entry.size),
            units::count(entry.seeders as usize, "seeder"),
            units::count(entry.leechers as usize, "leecher"),
        ]
    });
    Ok(rows.collect())
}

/// A shared file that was found.
struct Found {
    name: FileName,
    metainfo: Arc<Metainfo>,
    sha256: Option<FileHash>,
}

fn find(shell: &mut PeerShell, typed: &str) -> Result<Found, ShellError> {
    let name = sharing::file_name(typed)?;
    let (metainfo, sha256) = sharing::torrent_of(shell, &GroupName::public(), &name)?;
    Ok(Found {
        name,
        metainfo: Arc::new(metainfo),
        sha256,
    })
}

/// Fetches a file from one peer or from all, and says whether it is right.
fn download(shell: &mut PeerShell, person: &mut dyn Person) -> Result<(), Broken> {
    let question = ("File to download [show what there is]: ", Typing::Answer);
    let found = ask_for_name(shell, person, question, files, find)?;
    if let Some(text) = sharing::there_already(shell, &found.metainfo, None)? {
        say!("{text}");
        return Ok(());
    }
    let name = found.name.as_str();
    let question = format!("Save it to [{}]: ", shell.peer.folder().display());
    let target = ask(person, &question, Typing::Path, |typed| {
        let typed = answer::unquoted(typed);
        let target = sharing::target(shell, name, Some(typed).filter(|typed| !typed.is_empty()));
        target.map_err(|error| error.to_string())
    })?;
    let sources = sources(shell, &found.name)?;
    say!("Sources of {name}:");
    let row = |peer: &PeerEntry| vec![peer.address.to_string(), peer.role().into()];
    let all = std::iter::once(vec!["all".to_string()]);
    let rows: Vec<_> = all.chain(sources.iter().map(row)).collect();
    show_numbered(0, &rows);
    let chosen = ask(person, "Source [all]: ", Typing::Answer, |typed| {
        answer::source(typed, &sources)
    })?;
    let share = Share {
        sha256: found.sha256,
        ..Share::public(found.name)
    };
    download::run(shell, found.metainfo, &target, share, chosen)?;
    Ok(())
}

/// Who has a file that is shared with everybody, or some of it.
fn sources(shell: &mut PeerShell, name: &FileName) -> Result<Vec<PeerEntry>, ShellError> {
    let request = Request::ListPeers {
        group: GroupName::public(),
        name: name.clone(),
    };
    let mut peers = PeerEntry::list_from_reply(shell.link.request(&request)?)?;
    let own = shell.peer.local_addr();
    peers.retain(|peer| peer.address != own);
    if peers.is_empty() {
        return Err(ShellError::Other(format!(
            "Nobody who has {name} is there just now: try again later."
        )));
    }
    Ok(peers)
}
