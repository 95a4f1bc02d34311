//! One-line requests for a file by its name alone: no torrent, no account.
//!
//! ```text
//! announce my file.txt:6881     Peer registered          as many as one likes on a connection
//! getpeers my file.txt          192.168.1.7:6881
//!
//! REGISTER my file.txt 6881     OK                       one, and the connection is closed
//! GETPEERS my file.txt          192.168.1.7:6881;
//! ```
//!
//! A name may have spaces and colons: the port is what follows the last one. It may stand in double
//! quotes, in which `""` is one quote. Lines end with a line feed, requests and replies; that of a list
//! in small letters has no other end.

use std::net::SocketAddr;

use crate::torrent::id::InfoHash;

use super::frame::quote_word;
use super::names::FileName;

/// In which letters somebody asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Letters {
    /// `announce` and `getpeers`.
    Small,
    /// `REGISTER` and `GETPEERS`.
    Capital,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The asker has the file, and listens on this port, which is not 0.
    Register { name: FileName, port: u16 },
    /// Who has the file?
    Peers { name: FileName },
}

/// What is wrong with a request, in the words of the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("Invalid command format")]
    Small,
    #[error("Invalid announce format")]
    Announce,
    #[error("ERROR Invalid REGISTER command format")]
    Register,
    #[error("ERROR Invalid GETPEERS command format")]
    GetPeers,
    #[error("ERROR Unknown command")]
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Registered,
    /// It was known already. Now it is known for longer.
    Renewed,
    /// The tracker has no room, in words.
    Full(String),
    Peers(Vec<SocketAddr>),
}

/// The swarm of those who are known by this name only. No info dictionary begins so: it is no
/// torrent's.
pub fn swarm_of(name: &FileName) -> InfoHash {
    InfoHash::of(format!("known by name only: {name}").as_bytes())
}

impl Request {
    /// A line without its line feed. `None` if it is none of these requests: in small letters
    /// there are control lines, too, and theirs is `announce <info_hash> …`.
    pub fn parse(letters: Letters, line: &str) -> Option<Result<Request, Malformed>> {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim_matches(' ');
        let is_info_hash = || {
            let first = rest.split(' ').next().unwrap_or_default();
            first.parse::<InfoHash>().is_ok()
        };
        Some(match (letters, word) {
            (Letters::Small, "announce") if is_info_hash() => return None,
            (Letters::Small, "announce" | "getpeers") if rest.is_empty() => Err(Malformed::Small),
            (Letters::Small, "announce") => register(rest, ':').ok_or(Malformed::Announce),
            (Letters::Small, "getpeers") => peers(rest).ok_or(Malformed::Small),
            (Letters::Small, _) => return None,
            (Letters::Capital, "REGISTER") => register(rest, ' ').ok_or(Malformed::Register),
            (Letters::Capital, "GETPEERS") => peers(rest).ok_or(Malformed::GetPeers),
            (Letters::Capital, _) => Err(Malformed::Unknown),
        })
    }

    /// The line, with its line feed.
    pub fn encode(&self, letters: Letters) -> String {
        match (letters, self) {
            (Letters::Small, Request::Register { name, port }) => {
                format!("announce {}:{port}\n", quote_word(name.as_str()))
            }
            (Letters::Small, Request::Peers { name }) => {
                format!("getpeers {}\n", quote_word(name.as_str()))
            }
            (Letters::Capital, Request::Register { name, port }) => {
                format!("REGISTER {} {port}\n", quote_word(name.as_str()))
            }
            (Letters::Capital, Request::Peers { name }) => {
                format!("GETPEERS {}\n", quote_word(name.as_str()))
            }
        }
    }
}

/// A name and, after the last `before_port`, a port. The quotes may be around both.
fn register(text: &str, before_port: char) -> Option<Request> {
    let (name, port) = if text.ends_with('"') {
        let both = unquoted(text)?;
        let (name, port) = both.rsplit_once(before_port)?;
        (name.to_string(), port.parse())
    } else {
        let (name, port) = text.rsplit_once(before_port)?;
        (unquoted(name.trim_end_matches(' '))?, port.parse())
    };
    Some(Request::Register {
        name: name.parse().ok()?,
        port: port.ok().filter(|port| *port != 0)?,
    })
}

fn peers(text: &str) -> Option<Request> {
    let name = unquoted(text)?.parse().ok()?;
    Some(Request::Peers { name })
}

/// The text inside the quotes, if it begins with one.
fn unquoted(text: &str) -> Option<String> {
    let Some(inside) = text.strip_prefix('"') else {
        return Some(text.into());
    };
    let inside = inside.strip_suffix('"')?;
    // What is left of the pairs would be a quote that closes too early.
    let pairs = inside.replace("\"\"", "");
    (!pairs.contains('"')).then(|| inside.replace("\"\"", "\""))
}

impl Answer {
    /// The bytes of the reply. Addresses of IPv6 stand in brackets.
    pub fn encode(&self, letters: Letters) -> String {
        let sentence = match (letters, self) {
            (Letters::Small, Answer::Registered) => "Peer registered",
            (Letters::Small, Answer::Renewed) => "Peer already registered",
            (Letters::Small, Answer::Full(why)) => why,
            (Letters::Small, Answer::Peers(peers)) if peers.is_empty() => {
                "No peers available for this file"
            }
            (Letters::Small, Answer::Peers(peers)) => {
                return peers.iter().map(|peer| format!("{peer}\n")).collect();
            }
            (Letters::Capital, Answer::Registered | Answer::Renewed) => "OK",
            (Letters::Capital, Answer::Full(_)) => "ERROR Failed to register file",
            (Letters::Capital, Answer::Peers(peers)) => &peers
                .iter()
                .map(|peer| format!("{peer};"))
                .collect::<String>(),
        };
        format!("{sentence}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Letters; 2] = [Letters::Small, Letters::Capital];

    fn register(name: &str, port: u16) -> Request {
        let name = name.parse().unwrap();
        Request::Register { name, port }
    }

    fn peers(name: &str) -> Request {
        let name = name.parse().unwrap();
        Request::Peers { name }
    }

    #[test]
    fn reads_what_it_writes() {
        for name in [
            "a",
            "my file.txt",
            "a:b",
            " x ",
            "say \"hi\"",
            "\"x\"",
            "\"",
            "7600",
            "x:",
            "ä +3",
        ] {
            for request in [register(name, 65535), peers(name)] {
                for letters in BOTH {
                    let line = request.encode(letters);
                    let read = Request::parse(letters, line.strip_suffix('\n').unwrap());
                    assert_eq!(read, Some(Ok(request.clone())), "{line}");
                }
            }
        }
    }

    #[test]
    fn names_are_written_as_people_do() {
        let check = |letters, line: &str, expect: Result<Request, Malformed>| {
            assert_eq!(Request::parse(letters, line), Some(expect), "{line}");
        };
        let (small, capital) = (Letters::Small, Letters::Capital);
        let my = "my file.txt";
        for line in [
            "announce my file.txt:80",
            "announce \"my file.txt\":80",
            "announce \"my file.txt:80\"",
            "announce  my file.txt :80 \r",
        ] {
            check(small, line, Ok(register(my, 80)));
        }
        check(small, "announce a:b:80", Ok(register("a:b", 80)));
        check(
            small,
            "announce 0123456789abcdef0123456789abcdef01234567:80",
            Ok(register("0123456789abcdef0123456789abcdef01234567", 80)),
        );
        for line in [
            "REGISTER my file.txt 80",
            "REGISTER \"my file.txt\" 80",
            "REGISTER \"my file.txt 80\"",
        ] {
            check(capital, line, Ok(register(my, 80)));
        }
        check(small, "getpeers my file.txt", Ok(peers(my)));
        check(capital, "GETPEERS \"my file.txt\"\r", Ok(peers(my)));
    }

    #[test]
    fn what_is_wrong_has_its_reply_and_what_is_another_kinds_none() {
        let check = |letters, lines: &[&str], expect: Option<Malformed>| {
            for line in lines {
                let got = Request::parse(letters, line);
                assert_eq!(got, expect.map(Err), "{line}");
            }
        };
        let (small, capital) = (Letters::Small, Letters::Capital);
        check(
            small,
            &[
                "announce",
                "getpeers",
                "getpeers ",
                "getpeers a/b",
                "getpeers \"a",
            ],
            Some(Malformed::Small),
        );
        let wrong = [
            "announce a",
            "announce a:",
            "announce a:x",
            "announce a:0",
            "announce a:65536",
            "announce :80",
            "announce a:-1",
            "announce ../a:80",
            "announce \"a:80",
            "announce \"a\"b\":80",
            "announce a\0:80",
        ];
        check(small, &wrong, Some(Malformed::Announce));
        let control = [
            "announce 0123456789abcdef0123456789abcdef01234567 -mb0010-abcdefghijkl 7600 1 2 3",
            "ping",
            "",
            "GETPEERS a",
        ];
        check(small, &control, None);
        check(
            capital,
            &[
                "REGISTER",
                "REGISTER a",
                "REGISTER a x",
                "REGISTER a 0",
                "REGISTER  80",
                "REGISTER a/b 80",
            ],
            Some(Malformed::Register),
        );
        check(
            capital,
            &["GETPEERS", "GETPEERS ..", "GETPEERS a\tb"],
            Some(Malformed::GetPeers),
        );
        check(
            capital,
            &["HELLO a", "", "register a 80"],
            Some(Malformed::Unknown),
        );
    }

    /// What is left of a request may be one about another port. So it is the line feed that makes
    /// it one: who reads lines gives away none that was cut off.
    #[test]
    fn every_truncation_is_another_request_or_none() {
        for (letters, line) in [
            (Letters::Small, "announce \"my: ä\":6881"),
            (Letters::Capital, "REGISTER my ä 6881"),
        ] {
            for cut in (0..line.len()).filter(|cut| line.is_char_boundary(*cut)) {
                let read = Request::parse(letters, &line[..cut]);
                assert_ne!(read, Some(Ok(register("my: ä", 6881))), "cut at {cut}");
                if let Some(Ok(request)) = read {
                    let again = request.encode(letters);
                    let again = Request::parse(letters, again.trim_end_matches('\n'));
                    assert_eq!(again, Some(Ok(request)), "cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn replies_are_those_that_were_recorded() {
        let peers = Answer::Peers(vec![
            "10.0.0.1:80".parse().unwrap(),
            "[::1]:7".parse().unwrap(),
        ]);
        let none = Answer::Peers(Vec::new());
        let full = Answer::Full("no room".into());
        let answers = [Answer::Registered, Answer::Renewed, full, none, peers];
        let said = |letters| answers.each_ref().map(|answer| answer.encode(letters));
        assert_eq!(
            said(Letters::Small),
            [
                "Peer registered\n",
                "Peer already registered\n",
                "no room\n",
                "No peers available for this file\n",
                "10.0.0.1:80\n[::1]:7\n",
            ]
        );
        assert_eq!(
            said(Letters::Capital),
            [
                "OK\n",
                "OK\n",
                "ERROR Failed to register file\n",
                "\n",
                "10.0.0.1:80;[::1]:7;\n",
            ]
        );
    }
}
