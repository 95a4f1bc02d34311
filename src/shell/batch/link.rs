//! A client's connection to the tracker of its run. It lasts as long as the client: when it ends,
//! the tracker knows that the client has gone.

use std::io::{self, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use crate::control::frame::{FrameError, LineError, read_frame};
use crate::control::muster::{Choice, Step};
use crate::control::reply::{Code, Reply, ReplyError};
use crate::control::request::Request;
use crate::runtime::stop::Stop;
use crate::runtime::stream::{POLL, Stream};

use super::trace::{Entry, Event};

const CONNECT: Duration = Duration::from_secs(3);
/// How long the tracker may take to answer: it may have hundreds of clients on a small machine.
const REPLY: Duration = Duration::from_secs(60);
/// How long all clients together may take: the tracker gives up before.
const MEETING: Duration = Duration::from_secs(13 * 3600);

pub struct Link {
    stream: BufReader<Stream>,
    /// Where the tracker is.
    pub tracker: SocketAddr,
    /// Everything that was said.
    pub told: Vec<Entry>,
}

#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("the tracker of this run was not found: there is no {}", .0.display())]
    NoTracker(PathBuf),
    #[error("the tracker of this run cannot be reached at {address}: {source}")]
    Unreachable {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("the tracker has gone before the run was over")]
    Gone,
    #[error("the connection to the tracker broke: {0}")]
    Broken(#[from] FrameError),
    #[error(transparent)]
    Refused(#[from] ReplyError),
    #[error("it cannot be said to a tracker: {0}")]
    Unsayable(#[from] LineError),
}

impl LinkError {
    /// Whether the run's own tracker may still be found.
    pub fn is_elsewhere(&self) -> bool {
        let other_run = |error: &ReplyError| {
            matches!(
                error,
                ReplyError::Refused {
                    // Busy is a tracker whose connections strangers hold, for a while.
                    code: Code::BadRequest | Code::Busy,
                    ..
                } | ReplyError::NotAReply
            )
        };
        match self {
            LinkError::Refused(error) => other_run(error),
            LinkError::Unsayable(_) => false,
            _ => true,
        }
    }

    /// Whether nothing was answered because we were told to stop.
    pub fn is_stop(&self) -> bool {
        let aborted = io::ErrorKind::ConnectionAborted;
        matches!(self, LinkError::Broken(FrameError::Io(error)) if error.kind() == aborted)
    }
}

impl Link {
    /// Connects, and joins the run.
    pub fn join(
        tracker: SocketAddr,
        rank: usize,
        word: &str,
        stop: &Stop,
    ) -> Result<Link, LinkError> {
        let unreachable = |source| LinkError::Unreachable {
            address: tracker,
            source,
        };
        let socket = TcpStream::connect_timeout(&tracker, CONNECT).map_err(unreachable)?;
        let stream = Stream::new(socket, stop.child(), POLL, REPLY).map_err(unreachable)?;
        let mut link = Link {
            stream: BufReader::new(stream),
            tracker,
            told: Vec::new(),
        };
        let (rank, job) = (rank as u32, word.to_string());
        link.ask(&Request::BatchJoin { rank, job })?;
        Ok(link)
    }

    /// The address under which the tracker, and so everybody, sees this machine.
    pub fn own_ip(&self) -> Result<IpAddr, LinkError> {
        let address = self.stream.get_ref().local_addr();
        let address = address.map_err(|error| LinkError::Broken(FrameError::Io(error)))?;
        Ok(address.ip())
    }

    /// The other side has gone.
    pub fn is_over(&self) -> bool {
        self.stream.get_ref().is_over()
    }

    /// Says something, and waits for the answer.
    ///
    /// # Errors
    /// Also if the tracker refuses it.
    pub fn ask(&mut self, request: &Request) -> Result<Reply, LinkError> {
        self.ask_patiently(request, REPLY)
    }

    /// Waits until all clients have come so far.
    pub fn wait(&mut self, step: Step) -> Result<Reply, LinkError> {
        self.ask_patiently(&Request::BatchWait { step }, MEETING)
    }

    /// Waits until all have offered what they own. What each name stands for.
    pub fn choices(&mut self) -> Result<Vec<Choice>, LinkError> {
        Ok(Choice::list_from_reply(self.wait(Step::Offered)?)?)
    }

    fn ask_patiently(&mut self, request: &Request, patience: Duration) -> Result<Reply, LinkError> {
        let bytes = request.encode()?;
        let line = bytes
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        let line = String::from_utf8_lossy(line).into_owned();
        self.told.push(Entry::now(Event::Told { line }));
        let broken = |error| LinkError::Broken(FrameError::Io(error));
        let stream = self.stream.get_mut();
        stream.set_patience(patience);
        stream.write_all(&bytes).map_err(broken)?;
        let frame = read_frame(&mut self.stream)?.ok_or(LinkError::Gone)?;
        match Reply::parse(frame)? {
            Reply::Err { code, sentence } => Err(ReplyError::Refused { code, sentence }.into()),
            reply => Ok(reply),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_who_hold_all_connections_end_a_run() {
        let refused = |code| {
            let sentence = "no room".into();
            LinkError::Refused(ReplyError::Refused { code, sentence })
        };
        assert!(refused(Code::Busy).is_elsewhere());
        assert!(!refused(Code::Conflict).is_elsewhere());
    }
}
