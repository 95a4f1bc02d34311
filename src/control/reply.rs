//! What a tracker answers: `OK`, words and perhaps a body, or `ERR`, a code and a sentence.
//!
//! A reply does not say what was asked, so the answers that carry more than words are structs
//! of their own, made into a [`Reply`] and read from one.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::announce::response::{AnnounceResponse, MAX_PEERS};
use crate::torrent::id::{FileHash, InfoHash};
use crate::torrent::metainfo::Metainfo;

use super::frame::{Frame, Line, LineError};
use super::key::TrackerKey;
use super::names::{FileName, GroupName, UserName};
use super::ticket::SignedTicket;
use super::tracker_info::MAX_TRACKERS;

/// The longest sentence of an error that is sent, in characters: a paragraph.
const MAX_SENTENCE: usize = 1000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// `OK [words] [+N]`, then N bytes
    Ok { words: Vec<String>, body: Vec<u8> },
    /// `ERR <code> <sentence>`
    Err { code: Code, sentence: String },
}

/// What the asker can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Ask otherwise.
    BadRequest,
    /// Become somebody who may.
    Denied,
    /// Ask for something that exists.
    NotFound,
    /// Give it another name.
    Conflict,
    /// Come back later.
    Busy,
    /// Nothing: it is the tracker's fault.
    Internal,
}

/// Why a frame is not a reply, or not the reply to what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    #[error("the tracker's answer begins with neither OK nor ERR: is it a tracker?")]
    NotAReply,
    #[error("an answer to something else: {0}")]
    Unexpected(&'static str),
    /// The tracker understood and refused.
    #[error("{sentence}")]
    Refused { code: Code, sentence: String },
}

impl Reply {
    /// `OK` and words.
    pub fn ok<W: Into<String>>(words: impl IntoIterator<Item = W>) -> Reply {
        Reply::Ok {
            words: words.into_iter().map(Into::into).collect(),
            body: Vec::new(),
        }
    }

    /// `OK` and a sentence, word by word.
    pub fn said(sentence: impl fmt::Display) -> Reply {
        Reply::ok(clean(&sentence.to_string()).split(' '))
    }

    pub fn err(code: Code, sentence: impl fmt::Display) -> Reply {
        Reply::Err {
            code,
            sentence: clean(&sentence.to_string()),
        }
    }

    /// The bytes to send.
    ///
    /// # Errors
    /// When words or body are over their limits.
    pub fn encode(&self) -> Result<Vec<u8>, LineError> {
        match self {
            Reply::Ok { words, body } => {
                let words = std::iter::once("OK").chain(words.iter().map(String::as_str));
                let line = Line {
                    words: words.map(str::to_string).collect(),
                    body_len: body.len(),
                };
                let mut bytes = line.encode()?.into_bytes();
                bytes.push(b'\n');
                bytes.extend_from_slice(body);
                Ok(bytes)
            }
            // Word by word, so that a person reads a sentence and not a quotation.
            Reply::Err { code, sentence } => {
                let sentence = clean(sentence);
                let words = ["ERR", code.as_str()]
                    .into_iter()
                    .chain(sentence.split(' '));
                Frame::new(words).encode()
            }
        }
    }

    pub fn parse(frame: Frame) -> Result<Reply, ReplyError> {
        let Frame { words, body } = frame;
        let mut words = words.into_iter();
        match words.next().as_deref() {
            Some("OK") => Ok(Reply::Ok {
                words: words.collect(),
                body,
            }),
            Some("ERR") => {
                let code = words.next().and_then(|word| word.parse().ok());
                let code = code.ok_or(ReplyError::NotAReply)?;
                let sentence: Vec<String> = words.collect();
                Ok(Reply::err(code, sentence.join(" ")))
            }
            _ => Err(ReplyError::NotAReply),
        }
    }

    /// The words and the body of an `OK`.
    pub fn into_ok(self) -> Result<(Vec<String>, Vec<u8>), ReplyError> {
        match self {
            Reply::Ok { words, body } => Ok((words, body)),
            Reply::Err { code, sentence } => Err(ReplyError::Refused { code, sentence }),
        }
    }
}

/// A sentence as it can be sent: one line, no control characters, not endless.
fn clean(sentence: &str) -> String {
    let words = sentence.split(|c: char| c == ' ' || c.is_control());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join(" ").chars().take(MAX_SENTENCE).collect()
}

impl Code {
    pub const ALL: [Code; 6] = [
        Code::BadRequest,
        Code::Denied,
        Code::NotFound,
        Code::Conflict,
        Code::Busy,
        Code::Internal,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Code::BadRequest => "bad_request",
            Code::Denied => "denied",
            Code::NotFound => "not_found",
            Code::Conflict => "conflict",
            Code::Busy => "busy",
            Code::Internal => "internal",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Code {
    type Err = ReplyError;

    fn from_str(text: &str) -> Result<Code, ReplyError> {
        let found = Code::ALL.into_iter().find(|code| code.as_str() == text);
        found.ok_or(ReplyError::NotAReply)
    }
}

/// The answer to `list_files`: one file a line of the body,
/// `<name> <size> <info_hash> <seeders> <leechers>`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    pub name: FileName,
    pub size: u64,
    pub info_hash: InfoHash,
    pub seeders: u32,
    pub leechers: u32,
}

impl FileEntry {
    pub fn list_to_reply(entries: &[FileEntry]) -> Reply {
        let words = |entry: &FileEntry| {
            vec![
                entry.name.to_string(),
                entry.size.to_string(),
                entry.info_hash.to_string(),
                entry.seeders.to_string(),
                entry.leechers.to_string(),
            ]
        };
        list_to_reply(entries.iter().map(words))
    }

    pub fn list_from_reply(reply: Reply) -> Result<Vec<FileEntry>, ReplyError> {
        list_from_reply(reply, |words| {
            let [name, size, info_hash, seeders, leechers] = words else {
                return None;
            };
            Some(FileEntry {
                name: name.parse().ok()?,
                size: size.parse().ok()?,
                info_hash: info_hash.parse().ok()?,
                seeders: seeders.parse().ok()?,
                leechers: leechers.parse().ok()?,
            })
        })
    }
}

/// Who is in the swarm of a file: a line of the answer to `list_peers`,
/// `OK <count> +N`, then `<ip:port> seeder|leecher` a line
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerEntry {
    pub address: SocketAddr,
    /// It has everything.
    pub seeder: bool,
}

impl PeerEntry {
    /// What it is, in the word that people read, too.
    pub fn role(self) -> &'static str {
        if self.seeder { "seeder" } else { "leecher" }
    }

    pub fn list_to_reply(entries: &[PeerEntry]) -> Reply {
        let words = |entry: &PeerEntry| vec![entry.address.to_string(), entry.role().to_string()];
        list_to_reply(entries.iter().map(words))
    }

    pub fn list_from_reply(reply: Reply) -> Result<Vec<PeerEntry>, ReplyError> {
        list_from_reply(reply, |words| {
            let [address, role] = words else { return None };
            Some(PeerEntry {
                address: address.parse().ok()?,
                seeder: match role.as_str() {
                    "seeder" => true,
                    "leecher" => false,
                    _ => return None,
                },
            })
        })
    }
}

/// The answer to `login`, `resume` and `passwd`: `OK <user> <token> <tracker_keys> <now>`, the keys
/// between commas
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedIn {
    /// As the user writes it.
    pub user: UserName,
    /// For `resume`. Only the tracker understands it.
    pub token: String,
    /// By which tickets are known: the tracker's own key, then those of the trackers that it is in
    /// sync with.
    pub tracker_keys: Vec<TrackerKey>,
    /// The tracker's time, in seconds since 1970.
    pub now: u64,
}

impl LoggedIn {
    pub fn to_reply(&self) -> Reply {
        let keys: Vec<String> = self
            .tracker_keys
            .iter()
            .map(|key| key.to_string())
            .collect();
        Reply::ok([
            self.user.to_string(),
            self.token.clone(),
            keys.join(","),
            self.now.to_string(),
        ])
    }

    pub fn from_reply(reply: Reply) -> Result<LoggedIn, ReplyError> {
        let wrong = ReplyError::Unexpected("user, token, key and time were expected");
        let (words, _) = reply.into_ok()?;
        let [user, token, tracker_keys, now] = words.as_slice() else {
            return Err(wrong);
        };
        let read = || {
            Some(LoggedIn {
                user: user.parse().ok()?,
                token: token.clone(),
                tracker_keys: tracker_keys
                    .split(',')
                    .take(MAX_TRACKERS)
                    .map(|key| key.parse().ok())
                    .collect::<Option<_>>()?,
                now: now.parse().ok()?,
            })
        };
        read().ok_or(wrong)
    }
}

/// The answer to `ticket`: `OK <now> +N`, then the signed ticket
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedTicket {
    /// The tracker's time, in seconds since 1970.
    pub now: u64,
    pub ticket: SignedTicket,
}

impl IssuedTicket {
    pub fn to_reply(&self) -> Reply {
        Reply::Ok {
            words: vec![self.now.to_string()],
            body: self.ticket.as_bytes().to_vec(),
        }
    }

    pub fn from_reply(reply: Reply) -> Result<IssuedTicket, ReplyError> {
        let wrong = ReplyError::Unexpected("a ticket was expected");
        let (words, body) = reply.into_ok()?;
        let read = || {
            let [now] = words.as_slice() else { return None };
            Some(IssuedTicket {
                now: now.parse().ok()?,
                ticket: SignedTicket::parse(&body).ok()?,
            })
        };
        read().ok_or(wrong)
    }
}

/// What somebody is in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    None,
    /// Has asked to join.
    Requested,
    Member,
    Owner,
}

impl Standing {
    pub const ALL: [Standing; 4] = [
        Standing::None,
        Standing::Requested,
        Standing::Member,
        Standing::Owner,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Standing::None => "none",
            Standing::Requested => "requested",
            Standing::Member => "member",
            Standing::Owner => "owner",
        }
    }
}

impl FromStr for Standing {
    type Err = ();

    fn from_str(text: &str) -> Result<Standing, ()> {
        let named = |standing: &Standing| standing.as_str() == text;
        Standing::ALL.into_iter().find(named).ok_or(())
    }
}

/// A line of the answer to `list_groups`: `OK <count> +N`, then
/// `<name> <owner> <members> <standing>` a line
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupEntry {
    pub name: GroupName,
    pub owner: UserName,
    pub members: u32,
    /// The asker's.
    pub standing: Standing,
}

impl GroupEntry {
    pub fn list_to_reply(entries: &[GroupEntry]) -> Reply {
        let words = |entry: &GroupEntry| {
            vec![
                entry.name.to_string(),
                entry.owner.to_string(),
                entry.members.to_string(),
                entry.standing.as_str().to_string(),
            ]
        };
        list_to_reply(entries.iter().map(words))
    }

    pub fn list_from_reply(reply: Reply) -> Result<Vec<GroupEntry>, ReplyError> {
        list_from_reply(reply, |words| {
            let [name, owner, members, standing] = words else {
                return None;
            };
            Some(GroupEntry {
                name: name.parse().ok()?,
                owner: owner.parse().ok()?,
                members: members.parse().ok()?,
                standing: standing.parse().ok()?,
            })
        })
    }
}

/// The answer to `list_members` and `list_requests`: `OK <count> +N`, then a user a line.
pub fn users_to_reply(users: &[UserName]) -> Reply {
    list_to_reply(users.iter().map(|user| vec![user.to_string()]))
}

pub fn users_from_reply(reply: Reply) -> Result<Vec<UserName>, ReplyError> {
    list_from_reply(reply, |words| match words {
        [user] => user.parse().ok(),
        _ => None,
    })
}

/// `OK <count> +N`, then a line of words for each entry.
fn list_to_reply(entries: impl ExactSizeIterator<Item = Vec<String>>) -> Reply {
    Reply::Ok {
        words: vec![entries.len().to_string()],
        body: body_of_lines(entries),
    }
}

fn list_from_reply<T>(
    reply: Reply,
    entry: impl Fn(&[String]) -> Option<T>,
) -> Result<Vec<T>, ReplyError> {
    let (_count, body) = reply.into_ok()?;
    lines_of_body(&body, entry)
}

/// A line of words for each entry.
pub(super) fn body_of_lines(entries: impl Iterator<Item = Vec<String>>) -> Vec<u8> {
    let line = |words| {
        let line = Line { words, body_len: 0 };
        // Names have no control characters and are short: this cannot fail.
        line.encode().unwrap_or_default() + "\n"
    };
    let body: String = entries.map(line).collect();
    body.into_bytes()
}

pub(super) fn lines_of_body<T>(
    body: &[u8],
    entry: impl Fn(&[String]) -> Option<T>,
) -> Result<Vec<T>, ReplyError> {
    let read = |line: &str| entry(&Line::parse(line).ok()?.words);
    let entries: Option<Vec<T>> = text(body)?.lines().map(read).collect();
    entries.ok_or(ReplyError::Unexpected("a list was expected"))
}

/// How a tracker stands, as another one sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackerState {
    /// The one that answers.
    Itself,
    /// The one that answers, and it lacks facts that others have.
    CatchingUp,
    InSync,
    /// Connected, and not yet told of everything.
    Behind,
    Unreachable,
    /// It has another tracker_info.txt, another version, the wrong number or key.
    Refused,
}

impl TrackerState {
    pub const ALL: [TrackerState; 6] = [
        TrackerState::Itself,
        TrackerState::CatchingUp,
        TrackerState::InSync,
        TrackerState::Behind,
        TrackerState::Unreachable,
        TrackerState::Refused,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            TrackerState::Itself => "itself",
            TrackerState::CatchingUp => "catching_up",
            TrackerState::InSync => "in_sync",
            TrackerState::Behind => "behind",
            TrackerState::Unreachable => "unreachable",
            TrackerState::Refused => "refused",
        }
    }
}

impl FromStr for TrackerState {
    type Err = ();

    fn from_str(text: &str) -> Result<TrackerState, ()> {
        let named = |state: &TrackerState| state.as_str() == text;
        TrackerState::ALL.into_iter().find(named).ok_or(())
    }
}

/// A line of the answer to `trackers`: `OK <count> +N`, then
/// `<number> <address> <state> <lag_ms> <facts> <digest> <why>` a line
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackerEntry {
    /// In tracker_info.txt, from 1.
    pub number: u16,
    /// As it stands there.
    pub address: String,
    pub state: TrackerState,
    /// How old the oldest change is that it was not told of yet, in milliseconds.
    pub lag: u64,
    pub facts: u64,
    /// The same on trackers that know the same; empty if it is not known.
    pub digest: String,
    /// Why it is refused or cannot be reached, in words; perhaps empty.
    pub why: String,
}

impl TrackerEntry {
    pub fn list_to_reply(entries: &[TrackerEntry]) -> Reply {
        let words = |entry: &TrackerEntry| {
            vec![
                entry.number.to_string(),
                entry.address.clone(),
                entry.state.as_str().to_string(),
                entry.lag.to_string(),
                entry.facts.to_string(),
                entry.digest.clone(),
                clean(&entry.why),
            ]
        };
        list_to_reply(entries.iter().map(words))
    }

    pub fn list_from_reply(reply: Reply) -> Result<Vec<TrackerEntry>, ReplyError> {
        list_from_reply(reply, |words| {
            let [number, address, state, lag, facts, digest, why] = words else {
                return None;
            };
            Some(TrackerEntry {
                number: number.parse().ok()?,
                address: address.clone(),
                state: state.parse().ok()?,
                lag: lag.parse().ok()?,
                facts: facts.parse().ok()?,
                digest: digest.clone(),
                why: why.clone(),
            })
        })
    }
}

/// What a tracker says that lacks facts which others have: its sentence begins so, and another
/// tracker is to be asked.
pub const CATCHING_UP: &str = "catching up";

/// The answer to `upload_file`: `OK shared`, `OK joined` or `OK replaced`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uploaded {
    /// A new share.
    Shared,
    /// It was shared already; the sender is one more holder.
    Joined,
    /// A share of this name that nobody held any longer has made room.
    Replaced,
}

impl Uploaded {
    pub fn to_reply(self) -> Reply {
        Reply::ok([match self {
            Uploaded::Shared => "shared",
            Uploaded::Joined => "joined",
            Uploaded::Replaced => "replaced",
        }])
    }

    pub fn from_reply(reply: Reply) -> Result<Uploaded, ReplyError> {
        let (words, _) = reply.into_ok()?;
        match words.first().map(String::as_str) {
            Some("shared") => Ok(Uploaded::Shared),
            Some("joined") => Ok(Uploaded::Joined),
            Some("replaced") => Ok(Uploaded::Replaced),
            _ => Err(ReplyError::Unexpected("`shared` or `joined` was expected")),
        }
    }
}

/// The answer to `download_file`: `OK <info_hash> <size> [sha256] +N`, then the info dictionary
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    pub info_hash: InfoHash,
    pub size: u64,
    pub info: Vec<u8>,
    /// As it was told with the share: the tracker cannot know.
    pub sha256: Option<FileHash>,
}

impl Download {
    pub fn into_reply(self) -> Reply {
        let mut words = vec![self.info_hash.to_string(), self.size.to_string()];
        words.extend(self.sha256.map(|sha256| sha256.to_string()));
        Reply::Ok {
            words,
            body: self.info,
        }
    }

    /// The torrent, which is what the words said it is, and what its file's SHA-256 shall be.
    pub fn from_reply(reply: Reply) -> Result<(Metainfo, Option<FileHash>), ReplyError> {
        let (mut words, body) = reply.into_ok()?;
        let sha256 = match words.len() {
            3 => words.pop().map(|word| word.parse()).transpose(),
            _ => Ok(None),
        };
        let sha256 = sha256.map_err(|_| ReplyError::Unexpected("a SHA-256 was expected"))?;
        let metainfo = Metainfo::parse_info(&body)
            .map_err(|_| ReplyError::Unexpected("a torrent was expected"))?;
        let said = [
            metainfo.info_hash.to_string(),
            metainfo.layout.total().to_string(),
        ];
        if words == said {
            Ok((metainfo, sha256))
        } else {
            Err(ReplyError::Unexpected("another torrent was expected"))
        }
    }
}

/// The answer to `announce`: `OK <interval> <complete> <incomplete> +N`, then one `ip:port` a
/// line, an IPv6 address in brackets
pub fn announce_to_reply(response: &AnnounceResponse) -> Reply {
    let addresses = response.peers.iter();
    let body: String = addresses
        .map(|peer| format!("{}\n", peer.address))
        .collect();
    Reply::Ok {
        words: vec![
            response.interval.to_string(),
            response.complete.to_string(),
            response.incomplete.to_string(),
        ],
        body: body.into_bytes(),
    }
}

pub fn announce_from_reply(reply: Reply) -> Result<AnnounceResponse, ReplyError> {
    let wrong = || ReplyError::Unexpected("interval, seeders and leechers were expected");
    let (words, body) = reply.into_ok()?;
    let [interval, complete, incomplete] = words.as_slice() else {
        return Err(wrong());
    };
    let number = |word: &str| word.parse::<u32>().map_err(|_| wrong());
    let mut peers = Vec::new();
    for line in text(&body)?.lines().take(MAX_PEERS) {
        let address: SocketAddr = line
            .parse()
            .map_err(|_| ReplyError::Unexpected("one ip:port a line was expected"))?;
        peers.push(address.into());
    }
    Ok(AnnounceResponse {
        interval: number(interval)?,
        complete: number(complete)?,
        incomplete: number(incomplete)?,
        peers,
        ..AnnounceResponse::default()
    })
}

/// The answer to `stats`: one `<name> <value>` a line of the body
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats(pub Vec<(String, u64)>);

impl Stats {
    pub fn to_reply(&self) -> Reply {
        let lines = self
            .0
            .iter()
            .map(|(name, value)| format!("{name} {value}\n"));
        Reply::Ok {
            words: Vec::new(),
            body: lines.collect::<String>().into_bytes(),
        }
    }

    pub fn from_reply(reply: Reply) -> Result<Stats, ReplyError> {
        let (_words, body) = reply.into_ok()?;
        let entry = |line: &str| {
            let (name, value) = line.split_once(' ')?;
            Some((name.to_string(), value.parse().ok()?))
        };
        let entries: Option<Vec<_>> = text(&body)?.lines().map(entry).collect();
        let wrong = ReplyError::Unexpected("one name and number a line was expected");
        Ok(Stats(entries.ok_or(wrong)?))
    }
}

fn text(body: &[u8]) -> Result<&str, ReplyError> {
    std::str::from_utf8(body).map_err(|_| ReplyError::Unexpected("text was expected"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use crate::control::frame::read_frame;
    use crate::torrent::id::PieceHash;
    use crate::torrent::layout::Layout;

    /// As it arrives at the other side.
    fn sent(reply: &Reply) -> Reply {
        let bytes = reply.encode().unwrap();
        let frame = read_frame(&mut &bytes[..]).unwrap().unwrap();
        Reply::parse(frame).unwrap()
    }

    #[test]
    fn replies_look_like_this() {
        let check = |reply: Reply, expect: &str| {
            assert_eq!(String::from_utf8(reply.encode().unwrap()).unwrap(), expect);
            assert_eq!(sent(&reply), reply);
        };
        check(Reply::ok(["pong"]), "OK pong\n");
        check(Reply::ok([""; 0]), "OK\n");
        check(
            Reply::err(Code::NotFound, "nobody shares `x y`\n"),
            "ERR not_found nobody shares `x y`\n",
        );
        let quoted = Reply::err(Code::BadRequest, "a \"b  c +5");
        check(quoted, "ERR bad_request a \"\"\"b\" c \"+5\"\n");
        check(Reply::err(Code::Busy, ""), "ERR busy \"\"\n");
        let peers = ["1.2.3.4:5", "[::1]:6881"].map(|a| a.parse::<SocketAddr>().unwrap().into());
        let answer = AnnounceResponse {
            interval: 120,
            complete: 1,
            incomplete: 2,
            peers: peers.to_vec(),
            ..AnnounceResponse::default()
        };
        check(
            announce_to_reply(&answer),
            "OK 120 1 2 +21\n1.2.3.4:5\n[::1]:6881\n",
        );
        assert_eq!(announce_from_reply(announce_to_reply(&answer)), Ok(answer));
    }

    #[test]
    fn typed_answers_survive_the_wire() {
        let entries = vec![
            FileEntry {
                name: "a \"big\" file".parse().unwrap(),
                size: u64::MAX,
                info_hash: InfoHash([0xab; 20]),
                seeders: 1,
                leechers: 0,
            },
            FileEntry {
                name: "+5".parse().unwrap(),
                size: 0,
                info_hash: InfoHash([0; 20]),
                seeders: 0,
                leechers: u32::MAX,
            },
        ];
        let reply = FileEntry::list_to_reply(&entries);
        assert_eq!(FileEntry::list_from_reply(sent(&reply)), Ok(entries));
        let none = FileEntry::list_to_reply(&[]);
        assert_eq!(FileEntry::list_from_reply(sent(&none)), Ok(vec![]));

        let peers =
            [("1.2.3.4:5", true), ("[::1]:6881", false)].map(|(address, seeder)| PeerEntry {
                address: address.parse().unwrap(),
                seeder,
            });
        let reply = PeerEntry::list_to_reply(&peers);
        assert_eq!(PeerEntry::list_from_reply(sent(&reply)), Ok(peers.to_vec()));

        for uploaded in [Uploaded::Shared, Uploaded::Joined, Uploaded::Replaced] {
            let reply = uploaded.to_reply();
            assert_eq!(Uploaded::from_reply(sent(&reply)), Ok(uploaded));
        }
        let stats = Stats(vec![("peers".into(), 3), ("swarms".into(), u64::MAX)]);
        assert_eq!(Stats::from_reply(sent(&stats.to_reply())), Ok(stats));
    }

    #[test]
    fn a_download_is_the_torrent_that_the_words_say() {
        let layout = Layout::single("x".into(), 5, 1 << 14).unwrap();
        let metainfo = Metainfo::build(layout, vec![PieceHash([7; 20])], false);
        let download = Download {
            info_hash: metainfo.info_hash,
            size: 5,
            info: metainfo.info_bytes().to_vec(),
            sha256: None,
        };
        let read = |download: Download| Download::from_reply(sent(&download.into_reply()));
        assert_eq!(read(download.clone()), Ok((metainfo.clone(), None)));
        let sha256 = Some(FileHash([3; 32]));
        let with_hash = Download {
            sha256,
            ..download.clone()
        };
        assert_eq!(read(with_hash), Ok((metainfo, sha256)));
        let Reply::Ok { mut words, body } = download.clone().into_reply() else {
            panic!("no download");
        };
        words.push("abc".into());
        assert!(Download::from_reply(Reply::Ok { words, body }).is_err());
        let lies = Download {
            size: 6,
            ..download
        };
        assert!(matches!(read(lies), Err(ReplyError::Unexpected(_))));
    }

    #[test]
    fn errors_and_nonsense_are_told_apart() {
        let denied = Reply::err(Code::Denied, "no");
        let refused = Err(ReplyError::Refused {
            code: Code::Denied,
            sentence: "no".into(),
        });
        assert_eq!(Stats::from_reply(denied), refused);
        for words in [
            vec![],
            vec!["HTTP/1.1", "400"],
            vec!["ERR"],
            vec!["ERR", "x"],
        ] {
            let reply = Reply::parse(Frame::new(words));
            assert_eq!(reply, Err(ReplyError::NotAReply));
        }
        for body in ["x", "1.2.3.4", "1.2.3.4:5 6", "\u{ff}:1"] {
            let reply = Reply::Ok {
                words: ["1", "2", "3"].map(str::to_string).to_vec(),
                body: body.into(),
            };
            assert!(announce_from_reply(reply).is_err(), "{body}");
        }
    }

    #[test]
    fn no_answer_names_endless_peers() {
        let reply = Reply::Ok {
            words: ["1", "2", "3"].map(str::to_string).to_vec(),
            body: "1.2.3.4:5\n".repeat(MAX_PEERS + 5).into_bytes(),
        };
        assert_eq!(announce_from_reply(reply).unwrap().peers.len(), MAX_PEERS);
    }

    proptest! {
        #[test]
        fn any_sentence_can_be_sent(sentence in any::<String>()) {
            let reply = Reply::err(Code::Internal, sentence);
            prop_assert_eq!(sent(&reply), reply);
        }
    }
}
