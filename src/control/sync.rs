//! What trackers say to each other, on the ordinary port: the one that calls speaks, the other one
//! answers each line.
//!
//! ```text
//! sync 2 <from> <to> <list> <key>      OK <key> <stamp>…   or   ERR denied <why not>
//! facts <number> +N                    OK <number>         when they are on the disk
//! swarms +N                            OK                  a line a peer
//! shares +N                            OK                  a bencoded list
//! beat <facts> <digest>                OK <facts> <digest>
//! ```
//!
//! `list` is a hash of tracker_info.txt: trackers that do not agree on who there is cannot agree
//! on anything. The stamps say of each tracker how far the answering one has heard of it. Not
//! here: what the body of `facts` means (`registry::batch`), and who may say it.

use std::net::SocketAddr;

use sha2::{Digest, Sha256};

use crate::announce::request::Event;
use crate::torrent::bencode::{Encoder, Value};
use crate::torrent::id::{FileHash, InfoHash, PeerId};

use super::frame::{Frame, Line};
use super::key::TrackerKey;
use super::names::FileName;
use super::reply::{Reply, ReplyError};
use super::stamp::Stamp;
use super::tracker_info::{MAX_TRACKERS, TrackerAddress};

/// Of what is said here. Trackers of different versions do not speak.
pub const VERSION: u32 = 2;
/// The most peers in one message: about 100 bytes each.
pub const MAX_SWARM_LINES: usize = 10_000;
/// The most shares in one message.
pub const MAX_SHARE_LINES: usize = 1_000;

/// `sync <version> <from> <to> <list> <key>`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    pub version: u32,
    /// The number of the one that calls, and of the one that it believes to have reached.
    pub from: u16,
    pub to: u16,
    /// See [`list_hash`].
    pub list: String,
    pub key: TrackerKey,
}

/// `OK <key> <stamp>…`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    pub key: TrackerKey,
    /// Of each tracker the last one that is known.
    pub versions: Vec<Stamp>,
}

/// What is said after the hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyncMessage {
    /// `facts <number> +N`
    Facts { number: u64, body: Vec<u8> },
    /// `swarms +N`
    Swarms(Vec<SwarmLine>),
    /// `shares +N`
    Shares(Vec<ShareLine>),
    /// `beat <facts> <digest>`
    Beat(Standing),
}

/// How many facts somebody has, and their digest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    pub facts: u64,
    pub digest: String,
}

/// A peer of a swarm:
/// `<public or group> <info_hash> <peer_id> <address> <left> <event> <seconds ago>`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmLine {
    pub public: bool,
    pub info_hash: InfoHash,
    pub peer_id: PeerId,
    pub address: SocketAddr,
    pub left: u64,
    pub event: Event,
    /// Seconds since it announced.
    pub age: u32,
}

/// A public share, or its end: `l<name><info_hash><size><seconds ago><info>[sha256]e`, or
/// `l<name><info_hash>e`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareLine {
    pub name: FileName,
    pub info_hash: InfoHash,
    /// `None`: nobody shares it any longer.
    pub offer: Option<Offered>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    pub size: u64,
    /// Seconds since it was shared.
    pub age: u32,
    pub info: Vec<u8>,
    pub sha256: Option<FileHash>,
}

/// Why a frame is nothing that a tracker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no line between trackers: {0}")]
pub struct SyncError(&'static str);

/// A hash of who there is, in which order: the first digits.
pub fn list_hash(trackers: &[TrackerAddress]) -> String {
    let mut hasher = Sha256::new();
    for tracker in trackers {
        let key = tracker.key.map_or(String::new(), |key| key.to_string());
        hasher.update(format!("{tracker} {key}\n"));
    }
    let hash = hasher.finalize();
    hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Hello {
    /// Whether a line is one, right or wrong.
    pub fn is_one(words: &[String]) -> bool {
        words.first().is_some_and(|word| word == "sync")
    }

    pub fn to_frame(&self) -> Frame {
        Frame::new([
            "sync".to_string(),
            self.version.to_string(),
            self.from.to_string(),
            self.to.to_string(),
            self.list.clone(),
            self.key.to_string(),
        ])
    }

    pub fn parse(frame: &Frame) -> Result<Hello, SyncError> {
        let read = || match frame.words.as_slice() {
            [sync, version, from, to, list, key] if sync == "sync" && frame.body.is_empty() => {
                Some(Hello {
                    version: version.parse().ok()?,
                    from: from.parse().ok()?,
                    to: to.parse().ok()?,
                    list: list.clone(),
                    key: key.parse().ok()?,
                })
            }
            _ => None,
        };
        read().ok_or(SyncError("sync <version> <from> <to> <list> <key>"))
    }
}

impl Welcome {
    pub fn to_reply(&self) -> Reply {
        let stamps = self.versions.iter().map(Stamp::to_string);
        Reply::ok([self.key.to_string()].into_iter().chain(stamps))
    }

    pub fn from_reply(reply: Reply) -> Result<Welcome, ReplyError> {
        let (words, _) = reply.into_ok()?;
        let read = || {
            let (key, stamps) = words.split_first()?;
            if stamps.len() > MAX_TRACKERS {
                return None;
            }
            let versions: Result<_, _> = stamps.iter().map(|stamp| stamp.parse()).collect();
            Some(Welcome {
                key: key.parse().ok()?,
                versions: versions.ok()?,
            })
        };
        read().ok_or(ReplyError::Unexpected("a key and stamps were expected"))
    }
}

impl Standing {
    pub fn to_reply(&self) -> Reply {
        Reply::ok([self.facts.to_string(), self.digest.clone()])
    }

    pub fn from_reply(reply: Reply) -> Result<Standing, ReplyError> {
        let (words, _) = reply.into_ok()?;
        let standing = Standing::read(&words);
        standing.ok_or(ReplyError::Unexpected("facts and digest were expected"))
    }

    fn read(words: &[String]) -> Option<Standing> {
        let [facts, digest] = words else { return None };
        Some(Standing {
            facts: facts.parse().ok()?,
            digest: digest.clone(),
        })
    }
}

impl SyncMessage {
    pub fn to_frame(&self) -> Frame {
        match self {
            SyncMessage::Facts { number, body } => {
                Frame::new(["facts".to_string(), number.to_string()]).with_body(body.clone())
            }
            SyncMessage::Swarms(lines) => {
                let lines = lines.iter().map(SwarmLine::encode);
                Frame::new(["swarms"]).with_body(lines.collect::<String>().into_bytes())
            }
            SyncMessage::Shares(lines) => {
                let mut out = Encoder::new();
                out.list(|out| lines.iter().for_each(|line| line.encode_into(out)));
                Frame::new(["shares"]).with_body(out.finish())
            }
            SyncMessage::Beat(standing) => {
                let facts = standing.facts.to_string();
                Frame::new(["beat".to_string(), facts, standing.digest.clone()])
            }
        }
    }

    pub fn parse(frame: Frame) -> Result<SyncMessage, SyncError> {
        let Frame { words, body } = frame;
        let name = words.first().map_or("", String::as_str);
        match (name, words.get(1..).unwrap_or_default()) {
            ("facts", [number]) => {
                let number = number.parse().map_err(|_| SyncError("facts <number> +N"))?;
                Ok(SyncMessage::Facts { number, body })
            }
            ("swarms", []) => swarm_lines(&body).map(SyncMessage::Swarms),
            ("shares", []) => share_lines(&body).map(SyncMessage::Shares),
            ("beat", rest) if body.is_empty() => {
                let standing = Standing::read(rest);
                let standing = standing.ok_or(SyncError("beat <facts> <digest>"))?;
                Ok(SyncMessage::Beat(standing))
            }
            _ => Err(SyncError("facts, swarms, shares or beat was expected")),
        }
    }
}

fn swarm_lines(body: &[u8]) -> Result<Vec<SwarmLine>, SyncError> {
    let text = std::str::from_utf8(body).map_err(|_| SyncError("a list that is not UTF-8"))?;
    // A line without its end was cut.
    if !text.is_empty() && !text.ends_with('\n') {
        return Err(SyncError("a list that was cut"));
    }
    let mut lines = Vec::new();
    for line in text.lines() {
        if lines.len() == MAX_SWARM_LINES {
            return Err(SyncError("too many peers in one message"));
        }
        lines.push(SwarmLine::decode(line).ok_or(SyncError("a peer that cannot be read"))?);
    }
    Ok(lines)
}

fn share_lines(body: &[u8]) -> Result<Vec<ShareLine>, SyncError> {
    let malformed = SyncError("a share that cannot be read");
    let list = Value::parse(body).map_err(|_| malformed)?;
    let mut lines = Vec::new();
    for value in list.list().ok_or(malformed)? {
        if lines.len() == MAX_SHARE_LINES {
            return Err(SyncError("too many shares in one message"));
        }
        lines.push(ShareLine::decode(value).ok_or(malformed)?);
    }
    Ok(lines)
}

impl SwarmLine {
    fn encode(&self) -> String {
        let words = [
            if self.public { "public" } else { "group" }.to_string(),
            self.info_hash.to_string(),
            self.peer_id.to_string(),
            self.address.to_string(),
            self.left.to_string(),
            self.event.to_string(),
            self.age.to_string(),
        ];
        let words = words.to_vec();
        // Nothing in it is long or has control characters: this cannot fail.
        let line = Line { words, body_len: 0 }.encode().unwrap_or_default();
        line + "\n"
    }

    fn decode(line: &str) -> Option<SwarmLine> {
        let line = Line::parse(line).ok()?;
        let [crowd, info_hash, peer_id, address, left, event, age] = line.words.as_slice() else {
            return None;
        };
        Some(SwarmLine {
            public: match crowd.as_str() {
                "public" => true,
                "group" => false,
                _ => return None,
            },
            info_hash: info_hash.parse().ok()?,
            peer_id: peer_id.parse().ok()?,
            address: address.parse().ok()?,
            left: left.parse().ok()?,
            event: event.parse().ok()?,
            age: age.parse().ok()?,
        })
    }
}

impl ShareLine {
    fn encode_into(&self, out: &mut Encoder) {
        out.list(|out| {
            out.text(self.name.as_str()).bytes(&self.info_hash.0);
            if let Some(offer) = &self.offer {
                out.int(i64::try_from(offer.size).unwrap_or(i64::MAX));
                out.int(i64::from(offer.age)).bytes(&offer.info);
                if let Some(sha256) = &offer.sha256 {
                    out.bytes(&sha256.0);
                }
            }
        });
    }

    fn decode(value: Value<'_>) -> Option<ShareLine> {
        let mut fields = value.list()?;
        let name = fields.next()?.text()?.parse().ok()?;
        let info_hash = InfoHash(fields.next()?.bytes()?.try_into().ok()?);
        let offer = match fields.next() {
            None => None,
            Some(size) => Some(Offered {
                size: size.int()?.try_into().ok()?,
                age: fields.next()?.int()?.try_into().ok()?,
                info: fields.next()?.bytes()?.to_vec(),
                sha256: match fields.next() {
                    None => None,
                    Some(sha256) => Some(FileHash(sha256.bytes()?.try_into().ok()?)),
                },
            }),
        };
        let line = ShareLine {
            name,
            info_hash,
            offer,
        };
        fields.next().is_none().then_some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn swarm(public: bool, address: &str) -> SwarmLine {
        SwarmLine {
            public,
            info_hash: InfoHash([1; 20]),
            peer_id: PeerId(*b"-mb0010- \"bcdefghij\xff"),
            address: address.parse().unwrap(),
            left: 7,
            event: Event::Completed,
            age: 3,
        }
    }

    fn messages() -> Vec<SyncMessage> {
        let share = |offer| ShareLine {
            name: "a \"b\".txt".parse().unwrap(),
            info_hash: InfoHash([2; 20]),
            offer,
        };
        let offer = Offered {
            size: 5,
            age: 9,
            info: b"d4:infoe".to_vec(),
            sha256: None,
        };
        let with_hash = Offered {
            sha256: Some(FileHash([4; 32])),
            ..offer.clone()
        };
        vec![
            SyncMessage::Facts {
                number: 9,
                body: b"anything".to_vec(),
            },
            SyncMessage::Swarms(vec![
                swarm(true, "1.2.3.4:5"),
                swarm(false, "[2001:db8::1]:6"),
            ]),
            SyncMessage::Swarms(Vec::new()),
            SyncMessage::Shares(vec![
                share(Some(offer)),
                share(Some(with_hash)),
                share(None),
            ]),
            SyncMessage::Shares(Vec::new()),
            SyncMessage::Beat(Standing {
                facts: 3,
                digest: "00ff".into(),
            }),
        ]
    }

    #[test]
    fn a_message_is_read_as_it_was_written() {
        for message in messages() {
            assert_eq!(SyncMessage::parse(message.to_frame()), Ok(message));
        }
        for wrong in ["facts", "facts x", "beat", "beat 1", "swarms 1", "", "ping"] {
            let frame = Frame::new(wrong.split(' '));
            assert!(SyncMessage::parse(frame).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_cut_is_refused() {
        for message in messages().into_iter().skip(1) {
            let frame = message.to_frame();
            for cut in 1..frame.body.len() {
                let cut = Frame {
                    body: frame.body[..cut].to_vec(),
                    ..frame.clone()
                };
                let read = SyncMessage::parse(cut);
                // At the end of a line there is a shorter list.
                let shorter = matches!(&read, Ok(SyncMessage::Swarms(lines)) if lines.len() == 1);
                assert!(read.is_err() || shorter, "{read:?}");
            }
        }
    }

    #[test]
    fn hello_and_welcome_are_read_as_they_were_written() {
        let key = TrackerKey([3; 32]);
        let list = list_hash(&[]);
        let hello = Hello {
            version: VERSION,
            from: 2,
            to: 3,
            list,
            key,
        };
        assert_eq!(Hello::parse(&hello.to_frame()), Ok(hello.clone()));
        assert!(Hello::is_one(&hello.to_frame().words));
        let mut short = hello.to_frame();
        short.words.pop();
        assert!(Hello::parse(&short).is_err() && Hello::is_one(&short.words));
        let stamp = |tracker| Stamp { time: 5, tracker };
        for versions in [Vec::new(), vec![stamp(1), stamp(2)]] {
            let welcome = Welcome { key, versions };
            assert_eq!(Welcome::from_reply(welcome.to_reply()), Ok(welcome));
        }
        let standing = Standing {
            facts: 1,
            digest: "ab".into(),
        };
        assert_eq!(Standing::from_reply(standing.to_reply()), Ok(standing));
    }

    #[test]
    fn lists_differ_in_order_address_and_key() {
        let tracker = |port, key| TrackerAddress {
            host: "a".into(),
            port,
            key,
        };
        let (a, b) = (tracker(1, None), tracker(2, None));
        let keyed = tracker(2, Some(TrackerKey([1; 32])));
        let lists = [
            vec![a.clone()],
            vec![a.clone(), b.clone()],
            vec![b, a.clone()],
            vec![a, keyed],
        ];
        let mut hashes: Vec<String> = lists.iter().map(|list| list_hash(list)).collect();
        hashes.sort();
        hashes.dedup();
        assert_eq!(hashes.len(), 4);
    }
}
