//! What can be typed at the peer's prompt, carried out.
//!
//! In scope: from a line to a text. Not here: reading lines (`lines`), the long texts
//! (`listing`), what takes time (`sharing`, `waiting`).

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use zeroize::Zeroizing;

use crate::control::command::{self, Arguments, CommandError, Kind, Place};
use crate::control::frame::{LineError, split_words};
use crate::control::names::{GroupName, UserName};
use crate::control::reply::ReplyError;
use crate::control::request::Request;
use crate::peer::engine::EngineError;
use crate::peer::hashing::make::MakeError;
use crate::peer::tracker_link::{LinkError, TrackerLink};
use crate::peer::view::TorrentView;
use crate::peer::{Peer, PeerError};
use crate::runtime::stop::Stop;
use crate::storage::probe::part_path;
use crate::torrent::metainfo::MetainfoError;

use super::asking::{self, Choices};
use super::completion::Names;
use super::hosting::{self, Hosted};
use super::interrupt::Interrupt;
use super::news::Awaited;
use super::screen::say;
use super::watch::{self, Watch};
use super::{groups, listing, network, other_names, sharing, single, trackers, units, waiting};

/// A peer and all that its prompt needs.
pub struct PeerShell {
    /// The upload folder, watched. It ends before the peer, of which it asks things.
    pub watch: Option<Watch>,
    pub peer: Peer,
    /// For the commands; the peer has its own for announces.
    pub link: TrackerLink,
    /// The tracker that runs in this program, if one does. It ends after the peer, which says
    /// goodbye to it.
    pub hosted: Option<Hosted>,
    /// The file that names the trackers.
    pub tracker_info: PathBuf,
    pub upload: PathBuf,
    pub interrupt: Arc<Interrupt>,
    /// What news need not be told of.
    pub awaited: Awaited,
    /// What `ask` has found last.
    pub choices: Option<Choices>,
    /// People watch: bars may move, and a key may be pressed.
    pub terminal: bool,
}

/// What to do after a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    Next,
    /// The menu asks from now on: whoever reads the lines opens it.
    Menu,
    Quit,
}

/// Why a command was not carried out, for the one who typed it.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Line(#[from] LineError),
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error(transparent)]
    Tracker(#[from] LinkError),
    #[error(transparent)]
    Make(#[from] MakeError),
    #[error("{path} is no torrent that can be used: {source}")]
    Torrent { path: String, source: MetainfoError },
    #[error("{what} {}: {source}", path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("there is no `{0}` here; `show_downloads` lists what there is")]
    NotHere(String),
    #[error("{0}")]
    Other(String),
    #[error("interrupted")]
    Interrupted,
}

impl From<ReplyError> for ShellError {
    fn from(error: ReplyError) -> Self {
        ShellError::Tracker(LinkError::Refused(error))
    }
}

impl From<EngineError> for ShellError {
    fn from(error: EngineError) -> Self {
        ShellError::Peer(error.into())
    }
}

impl PeerShell {
    pub fn new(
        peer: Peer,
        tracker_info: PathBuf,
        upload: PathBuf,
        interrupt: Arc<Interrupt>,
        terminal: bool,
    ) -> PeerShell {
        let link = peer.link(interrupt.stop());
        PeerShell {
            watch: None,
            peer,
            link,
            hosted: None,
            tracker_info,
            upload,
            interrupt,
            awaited: Awaited::default(),
            choices: None,
            terminal,
        }
    }

    /// What the arguments of commands can be, for completion: the names that we have, and those
    /// that the tracker lists.
    pub fn names(&self) -> Names {
        let upload = self.upload.clone();
        let torrents = self.peer.torrent_names();
        let addresses = self.peer.peer_addresses();
        let link = Mutex::new(self.peer.link(Stop::new()));
        Box::new(move |kind, words| {
            let link = &mut *link.lock();
            let group = words.get(1).and_then(|word| word.parse::<GroupName>().ok());
            let texts = |names: Vec<UserName>| names.iter().map(UserName::to_string).collect();
            match (kind, group) {
                (Kind::File, Some(group)) => sharing::file_names(link, &group),
                (Kind::File, None) => {
                    let mut names = torrents();
                    names.extend(sharing::file_names(link, &GroupName::public()));
                    names
                }
                (Kind::Group | Kind::PathOrGroup, _) => {
                    let names = groups::group_names(link).unwrap_or_default();
                    let mut names: Vec<String> = names.iter().map(GroupName::to_string).collect();
                    if kind == Kind::PathOrGroup {
                        names.extend(sharing::in_upload_folder(&upload));
                    }
                    names
                }
                (Kind::PeerAddress, _) => {
                    addresses(false).iter().map(ToString::to_string).collect()
                }
                (Kind::PeerAddressOrAll, _) => {
                    let connected = addresses(true);
                    let connected = connected.iter().map(ToString::to_string);
                    connected.chain([command::ALL.into()]).collect()
                }
                (Kind::Applicant, Some(group)) => {
                    texts(groups::requests(link, &group).unwrap_or_default())
                }
                _ => Vec::new(),
            }
        })
    }

    /// Carries out one line. Prints what there is to say; nothing for an empty line.
    pub fn run(&mut self, line: &str) -> Result<Flow, ShellError> {
        // There may be a password among them.
        let words = Zeroizing::new(split_words(line)?);
        if words.is_empty() {
            return Ok(Flow::Next);
        }
        self.link.set_stop(self.interrupt.stop());
        if let Some(line) = asking::Line::parse(&words) {
            say!("{}", asking::run(self, &line)?);
            return Ok(Flow::Next);
        }
        let (command, args) = command::parse(Place::PeerPrompt, &words)?;
        let shown = command::without_secrets(Place::PeerPrompt, &words).join(" ");
        log::trace!(target: "hop", "prompt: {shown}");
        let text = match command.name {
            "quit" | "exit" => return Ok(Flow::Quit),
            "menu" => return Ok(Flow::Menu),
            "help" => help(Place::PeerPrompt, args.one("command"))?,
            "create_user" => groups::create_user(self, &args)?,
            "login" => groups::login(self, &args)?,
            "logout" => groups::logout(self)?,
            "passwd" => groups::passwd(self, &args)?,
            "whoami" => groups::whoami(self)?,
            "create_group" => groups::change(self, &args, |group| Request::CreateGroup { group })?,
            "join_group" => groups::change(self, &args, |group| Request::JoinGroup { group })?,
            "leave_group" => groups::leave(self, &args)?,
            "accept_request" => groups::decide(self, &args, |group, user| {
                Request::AcceptRequest { group, user }
            })?,
            "reject_request" => groups::decide(self, &args, |group, user| {
                Request::RejectRequest { group, user }
            })?,
            "list_requests" => groups::list_requests(self, &args)?,
            "list_groups" => groups::list_groups(self)?,
            "list_members" => groups::list_members(self, &args)?,
            "upload_file" => sharing::upload_file(self, needed(&args, "path"), args.one("group"))?,
            "list_files" => sharing::list_files(self, args.one("group"))?,
            "download_file" => {
                let (group, destination) = (args.one("group"), args.one("destination"));
                sharing::download_file(self, group, needed(&args, "file"), destination)?
            }
            "ask" => asking::ask(self, needed(&args, "file"))?,
            "watch" => watch::watch(self, args.one("what"))?,
            "stop_share" => sharing::stop_share(self, args.one("group"), needed(&args, "file"))?,
            "add" => sharing::add(self, needed(&args, "file.torrent"))?,
            "make_torrent" => {
                let announce: Vec<&str> = args.all("URL").collect();
                sharing::make_torrent(self, needed(&args, "path"), &announce, args.one("N"))?
            }
            "torrent_info" => listing::torrent_info(needed(&args, "file.torrent"))?,
            "show_downloads" => {
                let torrents = self.peer.torrents()?;
                let table = listing::show_downloads(&torrents);
                format!(
                    "{}{}",
                    table.trim_end(),
                    other_names::pages(&self.peer, &torrents)
                )
            }
            "show_peers" => {
                let file = args.one("file");
                let torrent = file.map(|file| self.find(file)).transpose()?;
                let name = torrent.as_ref().map(|torrent| torrent.name.as_str());
                listing::show_peers(&self.peer.peers()?, name, &self.peer.shunned()?)
            }
            "connect" => single::connect(self, needed(&args, "address"))?,
            "disconnect" => single::disconnect(self, needed(&args, "address|all"))?,
            "info" => listing::info(self)?,
            "trackers" => trackers::trackers(self)?,
            "check_network" => network::check_network(self)?,
            "host_tracker" => hosting::host_tracker(self, args.one("number"))?,
            "reload" => trackers::reload(self)?,
            "progress" => waiting::progress(self)?,
            "wait" => waiting::wait(self)?,
            "pause" => {
                let torrent = self.find(needed(&args, "file"))?;
                self.peer.pause(torrent.info_hash)?;
                format!(
                    "{} is paused. Go on with: resume {}",
                    torrent.name,
                    quoted(&torrent.name)
                )
            }
            "resume" => {
                let torrent = self.find(needed(&args, "file"))?;
                self.peer.resume(&torrent)?;
                format!("{} goes on.", torrent.name)
            }
            "recheck" => {
                let torrent = self.find(needed(&args, "file"))?;
                self.peer.recheck(&torrent)?;
                format!(
                    "{} is being checked; `progress` shows how far it is.",
                    torrent.name
                )
            }
            "remove" => {
                let torrent = self.find(needed(&args, "file"))?;
                self.peer.remove(torrent.info_hash)?;
                watch::keep_unshared(self, &torrent.path);
                let (name, path, finished) = (torrent.name, torrent.path, torrent.finished);
                match finished {
                    true => format!(
                        "{name} is forgotten. It stays on the disk: {}",
                        path.display()
                    ),
                    false => format!(
                        "{name} is forgotten. What has come of it stays on the disk: {}",
                        part_path(&path).display()
                    ),
                }
            }
            "limit" => self.limit(needed(&args, "direction"), needed(&args, "rate"))?,
            other => return Err(ShellError::Other(format!("`{other}` cannot be done yet"))),
        };
        if !text.is_empty() {
            say!("{}", text.trim_end());
        }
        Ok(Flow::Next)
    }

    /// The torrent that the user means: by name, or by the beginning of its info hash.
    pub fn find(&self, name: &str) -> Result<TorrentView, ShellError> {
        let torrents = self.peer.torrents()?;
        let full = |torrent: &TorrentView| {
            let share = torrent.share.as_ref();
            share.map(|share| format!("{}/{}", share.group, share.name))
        };
        let by_name = |torrent: &&TorrentView| {
            torrent.name == name || full(torrent).is_some_and(|full| full == name)
        };
        let by_hash = |torrent: &&TorrentView| {
            name.len() >= 6 && torrent.info_hash.to_string().starts_with(name)
        };
        let mut found: Vec<&TorrentView> = torrents.iter().filter(by_name).collect();
        if found.is_empty() {
            found = torrents.iter().filter(by_hash).collect();
        }
        match found.as_slice() {
            [] => Err(ShellError::NotHere(name.into())),
            [one] => Ok((*one).clone()),
            several => {
                let names: Vec<String> = several
                    .iter()
                    .map(|torrent| full(torrent).unwrap_or(torrent.info_hash.to_string()))
                    .collect();
                let text = format!("several are called {name}; say which: {}", names.join(", "));
                Err(ShellError::Other(text))
            }
        }
    }

    fn limit(&self, direction: &str, rate: &str) -> Result<String, ShellError> {
        let limit = units::parse_rate(rate).map_err(ShellError::Other)?;
        let (name, bucket) = match direction {
            "up" => ("Upload", &self.peer.limits.up),
            _ => ("Download", &self.peer.limits.down),
        };
        bucket.set(limit);
        Ok(match limit {
            None => format!("{name} limit: none."),
            Some(rate) => {
                let megabits = rate as f64 * 8.0 / 1e6;
                format!(
                    "{name} limit: {} ({megabits:.1} Mbit/s), all files together.",
                    units::rate(rate)
                )
            }
        })
    }
}

/// An argument that the table says is always there.
pub fn needed<'a>(args: &Arguments<'a>, name: &str) -> &'a str {
    args.one(name).unwrap_or_default()
}

/// The commands of a prompt, or how one of them is used.
pub fn help(place: Place, command: Option<&str>) -> Result<String, ShellError> {
    Ok(match command {
        None => command::help(place),
        Some(name) => {
            let named = command::find(place, name)?;
            let text = named.iter().map(|command| {
                let usage = command::usage(command);
                format!("{usage}\n  {}", command.help)
            });
            text.collect::<Vec<_>>().join("\n")
        }
    })
}

/// A name as it must be typed.
pub fn quoted(name: &str) -> String {
    crate::control::frame::quote_word(name)
}
