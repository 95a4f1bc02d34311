//! A knock: a connection that is made only to see whether it can be made.
//!
//! A peer asks a tracker to knock at its port, and names an info hash that it has drawn for that. Who
//! knocks says the handshake of BEP 3 for this info hash, and hangs up. So the peer sees whether the
//! knock came to it, or to another program. Not here: knocking, and who may ask for it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;

use super::reply::{Reply, ReplyError, body_of_lines, lines_of_body};

/// Peers that a tracker asks to knock, besides knocking itself: each makes a connection for
/// somebody else.
pub const MAX_PEERS: usize = 4;

/// Nobody knocks below it: there are a system's own programs, and no peers.
pub const FIRST_PORT: u16 = 1024;

/// What came of a knock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// There was a connection; whoever it was to.
    Connected,
    /// Nobody listens there; or a firewall says so.
    Refused,
    /// Nothing came back in time.
    Silent,
    /// The system knows no way there; or a firewall says so.
    Unreachable,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is none of connected, refused, silent, unreachable")]
pub struct NoOutcome;

/// The answer to `knock`: `OK <ip:port> <outcome> <asked> +N`, then a line for each peer that has
/// knocked: `<outcome> near` or `<outcome> far`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Knocks {
    /// Where was knocked: the address from which the tracker was asked.
    pub address: SocketAddr,
    /// What came of the tracker's own knock.
    pub outcome: Outcome,
    /// How many peers were asked to knock: at most [`MAX_PEERS`], and no fewer than have answered.
    pub asked: u32,
    pub peers: Vec<PeerKnock>,
}

/// What a peer says that was asked to knock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerKnock {
    pub outcome: Outcome,
    /// Its address is the same as that of who is knocked at: the same machine, or the same router.
    pub is_near: bool,
}

const NEAR: &str = "near";
const FAR: &str = "far";

impl Outcome {
    pub const NAMES: &[&str] = &["connected", "refused", "silent", "unreachable"];

    const ALL: [Outcome; 4] = [
        Outcome::Connected,
        Outcome::Refused,
        Outcome::Silent,
        Outcome::Unreachable,
    ];

    /// What an attempt to connect says about the other side.
    ///
    /// # Errors
    /// What is our own trouble and says nothing: no room for another socket, no local port, or a
    /// stop.
    pub fn of(attempt: io::Result<()>) -> io::Result<Outcome> {
        match attempt {
            Ok(()) => Ok(Outcome::Connected),
            Err(error) => Outcome::of_error(error.kind()).ok_or(error),
        }
    }

    /// Nothing, if the error is our own trouble.
    pub fn of_error(kind: io::ErrorKind) -> Option<Outcome> {
        match kind {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => {
                Some(Outcome::Refused)
            }
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Some(Outcome::Silent),
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::PermissionDenied => Some(Outcome::Unreachable),
            _ => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Outcome::NAMES[*self as usize])
    }
}

impl FromStr for Outcome {
    type Err = NoOutcome;

    fn from_str(text: &str) -> Result<Outcome, NoOutcome> {
        let named = |outcome: &Outcome| Outcome::NAMES[*outcome as usize] == text;
        Outcome::ALL.into_iter().find(named).ok_or(NoOutcome)
    }
}

impl Knocks {
    pub fn to_reply(&self) -> Reply {
        let words = |knock: &PeerKnock| {
            let place = if knock.is_near { NEAR } else { FAR };
            vec![knock.outcome.to_string(), place.into()]
        };
        Reply::Ok {
            words: vec![
                self.address.to_string(),
                self.outcome.to_string(),
                self.asked.to_string(),
            ],
            body: body_of_lines(self.peers.iter().map(words)),
        }
    }

    pub fn from_reply(reply: Reply) -> Result<Knocks, ReplyError> {
        let wrong = ReplyError::Unexpected("what came of a knock was expected");
        let (words, body) = reply.into_ok()?;
        let [address, outcome, asked] = words.as_slice() else {
            return Err(wrong);
        };
        let (Ok(address), Ok(outcome), Ok(asked)) =
            (address.parse(), outcome.parse(), asked.parse())
        else {
            return Err(wrong);
        };
        let peers = lines_of_body(&body, |words| {
            let [outcome, place] = words else {
                return None;
            };
            let is_near = match place.as_str() {
                NEAR => true,
                FAR => false,
                _ => return None,
            };
            let outcome = outcome.parse().ok()?;
            Some(PeerKnock { outcome, is_near })
        })?;
        // What follows adds and subtracts them.
        if asked as usize > MAX_PEERS || peers.len() > asked as usize {
            return Err(wrong);
        }
        Ok(Knocks {
            address,
            outcome,
            asked,
            peers,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::frame::read_frame;

    fn sample(peers: Vec<PeerKnock>) -> Knocks {
        Knocks {
            address: "[2001:db8::1]:7600".parse().unwrap(),
            outcome: Outcome::Silent,
            asked: 3,
            peers,
        }
    }

    fn two() -> Vec<PeerKnock> {
        let knock = |outcome, is_near| PeerKnock { outcome, is_near };
        vec![
            knock(Outcome::Connected, true),
            knock(Outcome::Unreachable, false),
        ]
    }

    #[test]
    fn reads_what_it_writes() {
        for knocks in [sample(Vec::new()), sample(two())] {
            let bytes = knocks.to_reply().encode().unwrap();
            let frame = read_frame(&mut &bytes[..]).unwrap().unwrap();
            let reply = Reply::parse(frame).unwrap();
            assert_eq!(Knocks::from_reply(reply), Ok(knocks));
        }
    }

    #[test]
    fn every_truncation_is_an_error() {
        let bytes = sample(two()).to_reply().encode().unwrap();
        for cut in 1..bytes.len() {
            assert!(read_frame(&mut &bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn nonsense_is_refused_and_so_are_more_peers_than_can_be_asked() {
        let read = |words: &str, body: &str| {
            let words = words.split(' ').map(str::to_string).collect();
            let body = body.as_bytes().to_vec();
            Knocks::from_reply(Reply::Ok { words, body })
        };
        for (words, body) in [
            ("1.2.3.4:5 silent", ""),
            ("1.2.3.4:5 silent 1 2", ""),
            ("1.2.3.4 silent 1", ""),
            ("1.2.3.4:5 own 1", ""),
            ("1.2.3.4:5 silent -1", ""),
            ("1.2.3.4:5 silent 1", "refused\n"),
            ("1.2.3.4:5 silent 1", "refused here\n"),
            ("1.2.3.4:5 silent 1", "perhaps far\n"),
            ("1.2.3.4:5 silent 5", ""),
            ("1.2.3.4:5 silent 4294967295", ""),
            ("1.2.3.4:5 silent 1", "refused far\nrefused far\n"),
            ("1.2.3.4:5 silent 0", "connected near\n"),
        ] {
            assert!(read(words, body).is_err(), "{words} {body}");
        }
        let most = read("1.2.3.4:5 silent 4", &"refused far\n".repeat(MAX_PEERS));
        assert_eq!(most.unwrap().peers.len(), MAX_PEERS);
        assert!(read("1.2.3.4:5 silent 4", &"refused far\n".repeat(1000)).is_err());
    }

    #[test]
    fn outcomes_have_names() {
        for (outcome, name) in Outcome::ALL.into_iter().zip(Outcome::NAMES) {
            assert_eq!(outcome.to_string(), *name);
            assert_eq!(name.parse(), Ok(outcome));
        }
        for (kind, outcome) in [
            (io::ErrorKind::ConnectionRefused, Some(Outcome::Refused)),
            (io::ErrorKind::TimedOut, Some(Outcome::Silent)),
            (io::ErrorKind::HostUnreachable, Some(Outcome::Unreachable)),
            (
                io::ErrorKind::NetworkUnreachable,
                Some(Outcome::Unreachable),
            ),
            (io::ErrorKind::PermissionDenied, Some(Outcome::Unreachable)),
            // Our own trouble.
            (io::ErrorKind::AddrNotAvailable, None),
            (io::ErrorKind::OutOfMemory, None),
            (io::ErrorKind::ConnectionAborted, None),
            (io::ErrorKind::Other, None),
        ] {
            assert_eq!(Outcome::of(Err(kind.into())).ok(), outcome);
        }
    }
}
