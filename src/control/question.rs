//! "Who has a file of this name?": how a tracker's question to its peers is known, and what the
//! asker is told.
//!
//! Not here: collecting the answers (`registry::question`).

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::torrent::id::InfoHash;

use super::reply::{Reply, ReplyError, body_of_lines, lines_of_body};

/// Contents that one question may find, more are left out: they are shown to a person.
pub const MAX_CONTENTS: usize = 16;
/// Holders of one content that are told, more are left out: a downloader calls fewer.
pub const MAX_HOLDERS: usize = 200;

/// One question to one peer: drawn at random, so that nobody can answer who was not asked. 16
/// hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct QuestionNumber(pub u64);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is no number of a question")]
pub struct NoQuestionNumber;

/// The answer to `ask`: `OK <asked> <answered> +N`, then a content a line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answers {
    /// How many peers were asked, without the asker's own.
    pub asked: u32,
    /// How many of them have answered in time.
    pub answered: u32,
    /// Those with most holders first.
    pub contents: Vec<Content>,
}

/// A content of the name that was asked for: `<info_hash> <size> <ip:port> <ip:port>…`, with
/// `hashing` in place of the info hash if that is not known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// `None`: its holders are still hashing it.
    pub info_hash: Option<InfoHash>,
    /// In bytes.
    pub size: u64,
    pub holders: Vec<SocketAddr>,
}

/// Stands for an info hash that is not known yet.
const HASHING: &str = "hashing";

impl Answers {
    pub fn to_reply(&self) -> Reply {
        let words = |content: &Content| {
            let info_hash = content.info_hash.map(|hash| hash.to_string());
            let mut words = vec![
                info_hash.unwrap_or_else(|| HASHING.into()),
                content.size.to_string(),
            ];
            words.extend(content.holders.iter().map(SocketAddr::to_string));
            words
        };
        Reply::Ok {
            words: vec![self.asked.to_string(), self.answered.to_string()],
            body: body_of_lines(self.contents.iter().map(words)),
        }
    }

    pub fn from_reply(reply: Reply) -> Result<Answers, ReplyError> {
        let wrong = ReplyError::Unexpected("who has a file was expected");
        let (words, body) = reply.into_ok()?;
        let [asked, answered] = words.as_slice() else {
            return Err(wrong);
        };
        let (Ok(asked), Ok(answered)) = (asked.parse(), answered.parse()) else {
            return Err(wrong);
        };
        let contents = lines_of_body(&body, |words| {
            let [info_hash, size, holders @ ..] = words else {
                return None;
            };
            let holders = holders.iter().take(MAX_HOLDERS);
            Some(Content {
                info_hash: match info_hash.as_str() {
                    HASHING => None,
                    hash => Some(hash.parse().ok()?),
                },
                size: size.parse().ok()?,
                holders: holders
                    .map(|holder| holder.parse())
                    .collect::<Result<_, _>>()
                    .ok()?,
            })
        })?;
        Ok(Answers {
            asked,
            answered,
            contents: contents.into_iter().take(MAX_CONTENTS).collect(),
        })
    }
}

impl fmt::Display for QuestionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for QuestionNumber {
    type Err = NoQuestionNumber;

    fn from_str(text: &str) -> Result<QuestionNumber, NoQuestionNumber> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16).ok().filter(|_| digits);
        number.map(QuestionNumber).ok_or(NoQuestionNumber)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::frame::read_frame;

    fn sent(reply: &Reply) -> Reply {
        let bytes = reply.encode().unwrap();
        Reply::parse(read_frame(&mut &bytes[..]).unwrap().unwrap()).unwrap()
    }

    #[test]
    fn answers_survive_the_wire() {
        let answers = Answers {
            asked: 5,
            answered: 4,
            contents: vec![
                Content {
                    info_hash: Some(InfoHash([0xab; 20])),
                    size: u64::MAX,
                    holders: ["1.2.3.4:5", "[::1]:6881"]
                        .map(|a| a.parse().unwrap())
                        .into(),
                },
                Content {
                    info_hash: None,
                    size: 0,
                    holders: vec![],
                },
            ],
        };
        let reply = answers.to_reply();
        let Reply::Ok { body, .. } = &reply else {
            panic!("{reply:?}");
        };
        let expect = format!(
            "{} {} 1.2.3.4:5 [::1]:6881\nhashing 0\n",
            "ab".repeat(20),
            u64::MAX
        );
        assert_eq!(std::str::from_utf8(body), Ok(expect.as_str()));
        assert_eq!(Answers::from_reply(sent(&reply)), Ok(answers));
        let none = Answers::default();
        assert_eq!(Answers::from_reply(sent(&none.to_reply())), Ok(none));
    }

    #[test]
    fn nonsense_is_no_answer() {
        let hash = "ab".repeat(20);
        for (words, body) in [
            (vec!["1"], String::new()),
            (vec!["1", "x"], String::new()),
            (vec!["1", "1"], format!("{hash}\n")),
            (vec!["1", "1"], format!("{hash} x\n")),
            (vec!["1", "1"], format!("{hash}0 5\n")),
            (vec!["1", "1"], format!("{hash} 5 1.2.3.4\n")),
        ] {
            let reply = Reply::Ok {
                words: words.into_iter().map(str::to_string).collect(),
                body: body.clone().into_bytes(),
            };
            assert!(Answers::from_reply(reply).is_err(), "{body}");
        }
        let many = format!("{hash} 5{}\n", " 1.2.3.4:5".repeat(MAX_HOLDERS + 9));
        let reply = Reply::Ok {
            words: vec!["9".into(), "9".into()],
            body: many.repeat(MAX_CONTENTS + 2).into_bytes(),
        };
        let answers = Answers::from_reply(reply).unwrap();
        assert_eq!(answers.contents.len(), MAX_CONTENTS);
        assert_eq!(answers.contents[0].holders.len(), MAX_HOLDERS);
    }

    #[test]
    fn numbers_of_questions_are_sixteen_digits() {
        for number in [0, 7, u64::MAX] {
            let number = QuestionNumber(number);
            assert_eq!(number.to_string().parse(), Ok(number));
        }
        for wrong in [
            "",
            "1",
            "+00000000000000a",
            &"g".repeat(16),
            &"a".repeat(17),
        ] {
            assert!(wrong.parse::<QuestionNumber>().is_err(), "{wrong}");
        }
    }
}
