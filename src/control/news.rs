//! What a tracker says without being asked, on a connection that `subscribe` has turned into a
//! stream of events: news to a user, questions to a peer.
//!
//! ```text
//! NEWS <cursor> <kind> <words>
//! WHO <question> <file>
//! KNOCK <question> <ip:port> <info_hash>
//! PING
//! ```
//!
//! A `PING` now and then shows that both are still there.

use std::net::SocketAddr;

use crate::torrent::id::InfoHash;

use super::frame::Frame;
use super::names::{FileName, GroupName, UserName};
use super::question::QuestionNumber;
use super::stamp::Stamp;

/// One line of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewsLine {
    /// `NEWS <cursor> <kind> <words>`. Who subscribes again from this cursor on is told what
    /// came after it.
    News { cursor: Stamp, news: News },
    /// `WHO <question> <file>`. The peer answers on another connection: `have`, `hashing` or
    /// `have_not`.
    Who {
        question: QuestionNumber,
        file: FileName,
    },
    /// `KNOCK <question> <ip:port> <info_hash>`. The peer answers on another connection: `knocked`
    /// or `not_knocked`.
    Knock {
        question: QuestionNumber,
        address: SocketAddr,
        info_hash: InfoHash,
    },
    /// `PING`
    Ping,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// `asks <group> <user>`: to the owner
    Asks { group: GroupName, user: UserName },
    /// `accepted <group>`: to who had asked
    Accepted { group: GroupName },
    /// `rejected <group>`: to who had asked
    Rejected { group: GroupName },
    /// `joined <group> <user>`: to the members
    Joined { group: GroupName, user: UserName },
    /// `left <group> <user>`: to the members
    Left { group: GroupName, user: UserName },
    /// `owns <group>`: to the member that owns it now
    Owns { group: GroupName },
    /// `shares <group> <file> <size> <user>`: to the members
    Shares {
        group: GroupName,
        file: FileName,
        size: u64,
        user: UserName,
    },
    /// `has <group> <file> <user>`: to the members; a download is complete
    Has {
        group: GroupName,
        file: FileName,
        user: UserName,
    },
    /// `gone <group> <file>`: to the members; nobody shares it any more
    Gone { group: GroupName, file: FileName },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a line of news: {0}")]
pub struct NewsError(String);

impl NewsLine {
    pub fn to_frame(&self) -> Frame {
        match self {
            NewsLine::Ping => Frame::new(["PING"]),
            NewsLine::Who { question, file } => {
                Frame::new(["WHO".into(), question.to_string(), file.to_string()])
            }
            NewsLine::Knock {
                question,
                address,
                info_hash,
            } => Frame::new([
                "KNOCK".into(),
                question.to_string(),
                address.to_string(),
                info_hash.to_string(),
            ]),
            NewsLine::News { cursor, news } => {
                let mut words = vec!["NEWS".to_string(), cursor.to_string()];
                words.extend(news.words());
                Frame::new(words)
            }
        }
    }

    pub fn parse(frame: &Frame) -> Result<NewsLine, NewsError> {
        let words: Vec<&str> = frame.words.iter().map(String::as_str).collect();
        let line = match words.as_slice() {
            ["PING"] => Some(NewsLine::Ping),
            ["WHO", question, file] => question.parse().ok().and_then(|question| {
                let file = file.parse().ok()?;
                Some(NewsLine::Who { question, file })
            }),
            ["KNOCK", question, address, info_hash] => question.parse().ok().and_then(|question| {
                Some(NewsLine::Knock {
                    question,
                    address: address.parse().ok()?,
                    info_hash: info_hash.parse().ok()?,
                })
            }),
            ["NEWS", cursor, rest @ ..] => cursor.parse().ok().and_then(|cursor| {
                let news = News::parse(rest)?;
                Some(NewsLine::News { cursor, news })
            }),
            _ => None,
        };
        line.ok_or_else(|| NewsError(words.join(" ").chars().take(100).collect()))
    }
}

impl News {
    fn words(&self) -> Vec<String> {
        let words = |kind: &str, parts: &[&dyn std::fmt::Display]| {
            let parts = parts.iter().map(|part| part.to_string());
            std::iter::once(kind.to_string()).chain(parts).collect()
        };
        match self {
            News::Asks { group, user } => words("asks", &[group, user]),
            News::Accepted { group } => words("accepted", &[group]),
            News::Rejected { group } => words("rejected", &[group]),
            News::Joined { group, user } => words("joined", &[group, user]),
            News::Left { group, user } => words("left", &[group, user]),
            News::Owns { group } => words("owns", &[group]),
            News::Shares {
                group,
                file,
                size,
                user,
            } => words("shares", &[group, file, size, user]),
            News::Has { group, file, user } => words("has", &[group, file, user]),
            News::Gone { group, file } => words("gone", &[group, file]),
        }
    }

    fn parse(words: &[&str]) -> Option<News> {
        let [kind, group, rest @ ..] = words else {
            return None;
        };
        let group = group.parse().ok()?;
        Some(match (*kind, rest) {
            ("asks", [user]) => News::Asks {
                group,
                user: user.parse().ok()?,
            },
            ("accepted", []) => News::Accepted { group },
            ("rejected", []) => News::Rejected { group },
            ("joined", [user]) => News::Joined {
                group,
                user: user.parse().ok()?,
            },
            ("left", [user]) => News::Left {
                group,
                user: user.parse().ok()?,
            },
            ("owns", []) => News::Owns { group },
            ("shares", [file, size, user]) => News::Shares {
                group,
                file: file.parse().ok()?,
                size: size.parse().ok()?,
                user: user.parse().ok()?,
            },
            ("has", [file, user]) => News::Has {
                group,
                file: file.parse().ok()?,
                user: user.parse().ok()?,
            },
            ("gone", [file]) => News::Gone {
                group,
                file: file.parse().ok()?,
            },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::frame::read_frame;

    #[test]
    fn news_survive_the_wire() {
        let group: GroupName = "CS101".parse().unwrap();
        let user: UserName = "bob".parse().unwrap();
        let file: FileName = "a \"big\" file".parse().unwrap();
        let size = 7;
        let all = [
            News::Asks {
                group: group.clone(),
                user: user.clone(),
            },
            News::Accepted {
                group: group.clone(),
            },
            News::Rejected {
                group: group.clone(),
            },
            News::Joined {
                group: group.clone(),
                user: user.clone(),
            },
            News::Left {
                group: group.clone(),
                user: user.clone(),
            },
            News::Owns {
                group: group.clone(),
            },
            News::Shares {
                group: group.clone(),
                file: file.clone(),
                size,
                user: user.clone(),
            },
            News::Has {
                group: group.clone(),
                file: file.clone(),
                user,
            },
            News::Gone { group, file },
        ];
        let cursor = Stamp {
            time: 9,
            tracker: 1,
        };
        let who = NewsLine::Who {
            question: QuestionNumber(7),
            file: "a \"big: file".parse().unwrap(),
        };
        let knock = NewsLine::Knock {
            question: QuestionNumber(8),
            address: "[::1]:7600".parse().unwrap(),
            info_hash: InfoHash([7; 20]),
        };
        for line in all
            .map(|news| NewsLine::News { cursor, news })
            .into_iter()
            .chain([NewsLine::Ping, who, knock])
        {
            let bytes = line.to_frame().encode().unwrap();
            let frame = read_frame(&mut &bytes[..]).unwrap().unwrap();
            assert_eq!(NewsLine::parse(&frame), Ok(line));
        }
    }

    #[test]
    fn nonsense_is_no_news() {
        for words in [
            vec![],
            vec!["NEWS"],
            vec!["NEWS", "x", "owns", "g"],
            vec!["NEWS", "1-1", "owns"],
            vec!["NEWS", "1-1", "has", "g", "f"],
            vec!["PING", "x"],
            vec!["WHO", "7", "f"],
            vec!["KNOCK", "0000000000000007", "1.2.3.4:5"],
            vec!["KNOCK", "0000000000000007", "1.2.3.4", "00"],
            vec!["WHO", "0000000000000007", "../f"],
        ] {
            assert!(NewsLine::parse(&Frame::new(words)).is_err());
        }
    }
}
