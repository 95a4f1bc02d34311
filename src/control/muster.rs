//! What the clients of a batch run and their tracker say to each other before, between and after.
//!
//! Not here: the rules of it (`registry::muster`).

use std::fmt;
use std::str::FromStr;

use crate::torrent::id::{InfoHash, PeerId};

use super::names::FileName;
use super::reply::{Reply, ReplyError};

/// Where all clients wait for one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Every client has said what it owns.
    Offered,
    /// Everything that was chosen is shared.
    Shared,
    /// Every client has all that it can get.
    Finished,
}

/// What everybody gets under a name: the content of the client with this rank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub name: FileName,
    pub info_hash: InfoHash,
    pub rank: u32,
}

/// The id of the peer with this rank, by which the tracker tells whom it answers. Ranks have at most
/// six digits.
pub fn peer_id(rank: u32) -> PeerId {
    let mut tail = [0; 12];
    tail.copy_from_slice(&format!("batch-{rank:06}").as_bytes()[..12]);
    PeerId::ours(tail)
}

/// The rank of the peer with this id; None if it is no client's.
pub fn rank_of(peer: PeerId) -> Option<u32> {
    let digits = std::str::from_utf8(&peer.0[14..]).ok()?;
    let rank = digits.parse().ok()?;
    (peer_id(rank) == peer).then_some(rank)
}

impl Step {
    pub const NAMES: &[&str] = &["offered", "shared", "finished"];

    pub fn as_str(self) -> &'static str {
        match self {
            Step::Offered => "offered",
            Step::Shared => "shared",
            Step::Finished => "finished",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a word is not a [`Step`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is none of offered, shared, finished")]
pub struct NotAStep;

impl FromStr for Step {
    type Err = NotAStep;

    fn from_str(text: &str) -> Result<Step, NotAStep> {
        let steps = [Step::Offered, Step::Shared, Step::Finished];
        let found = steps.into_iter().find(|step| step.as_str() == text);
        found.ok_or(NotAStep)
    }
}

impl Choice {
    /// The answer to `batch_wait offered`: one `<info hash> <rank> <name>` a line.
    pub fn list_to_reply(choices: &[Choice]) -> Reply {
        let line = |choice: &Choice| {
            let Choice {
                name,
                info_hash,
                rank,
            } = choice;
            format!("{info_hash} {rank} {name}\n")
        };
        Reply::Ok {
            words: Vec::new(),
            body: choices.iter().map(line).collect::<String>().into_bytes(),
        }
    }

    pub fn list_from_reply(reply: Reply) -> Result<Vec<Choice>, ReplyError> {
        let wrong = || ReplyError::Unexpected("info hash, rank and name were expected");
        let (_, body) = reply.into_ok()?;
        let text = String::from_utf8(body).map_err(|_| wrong())?;
        let choice = |line: &str| {
            let mut words = line.splitn(3, ' ');
            let mut next = || words.next().ok_or_else(wrong);
            let (info_hash, rank, name) = (next()?, next()?, next()?);
            Ok(Choice {
                info_hash: info_hash.parse().map_err(|_| wrong())?,
                rank: rank.parse().map_err(|_| wrong())?,
                name: name.parse().map_err(|_| wrong())?,
            })
        };
        text.lines().map(choice).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_known_by_its_rank() {
        for rank in [1, 42, 9_999] {
            assert_eq!(rank_of(peer_id(rank)), Some(rank));
        }
        for stranger in [b"-TR4050-abcdefghijkl", b"-TR4050-batch-000001"] {
            assert_eq!(rank_of(PeerId(*stranger)), None);
        }
    }

    #[test]
    fn choices_are_read_as_they_are_written() {
        let choices = [("file1", 3), ("a file", 12)].map(|(name, rank)| Choice {
            name: name.parse().unwrap(),
            info_hash: InfoHash::of(name.as_bytes()),
            rank,
        });
        let reply = Choice::list_to_reply(&choices);
        assert_eq!(Choice::list_from_reply(reply).unwrap(), choices);
        let nothing = Reply::ok([""; 0]);
        assert_eq!(Choice::list_from_reply(nothing).unwrap(), []);
        let broken = Reply::Ok {
            words: Vec::new(),
            body: b"5d0d file1\n".to_vec(),
        };
        assert!(Choice::list_from_reply(broken).is_err());
    }
}
