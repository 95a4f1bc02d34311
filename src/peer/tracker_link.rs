//! A connection to the first living tracker of tracker_info.txt, for control lines.
//!
//! Every request of ours may be sent twice without harm, so a request whose connection broke is
//! sent again on a new one.

use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::control::frame::{Frame, FrameError, LineError, read_frame};
use crate::control::reply::{Reply, ReplyError};
use crate::control::request::Request;
use crate::control::tracker_info::TrackerAddress;
use crate::runtime::stop::Stop;
use crate::runtime::stream::{POLL, Stream};

/// How long one tracker may take to accept a connection. Bounds the end of the program, too.
const CONNECT: Duration = Duration::from_millis(1200);
/// How long a tracker may take to answer.
const REPLY: Duration = Duration::from_secs(5);

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Nobody answers: every tracker with its reason.
    #[error("no tracker can be reached: {}", .0.join("; "))]
    NoTracker(Vec<String>),
    /// The tracker answered with an error.
    #[error(transparent)]
    Refused(#[from] ReplyError),
    #[error("it cannot be said to a tracker: {0}")]
    Unsayable(#[from] LineError),
}

impl LinkError {
    pub fn is_unreachable(&self) -> bool {
        matches!(self, LinkError::NoTracker(_))
    }
}

#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the tracker closed the connection")]
    Closed,
}

pub struct TrackerLink {
    trackers: Vec<TrackerAddress>,
    stop: Stop,
    open: Option<Open>,
    /// How many connections have been made: a new one may be to a tracker that knows nothing.
    connections: u64,
}

struct Open {
    address: SocketAddr,
    stream: Stream,
    input: BufReader<Stream>,
}

impl TrackerLink {
    /// Connects when the first request is made.
    pub fn new(trackers: Vec<TrackerAddress>, stop: Stop) -> TrackerLink {
        TrackerLink {
            trackers,
            stop,
            open: None,
            connections: 0,
        }
    }

    /// From now on this ends what is waited for. The old request must have been made, or still be
    /// the one of the open connection.
    pub fn set_stop(&mut self, stop: Stop) {
        self.stop = stop;
    }

    /// The tracker that answered last.
    pub fn tracker(&self) -> Option<SocketAddr> {
        self.open.as_ref().map(|open| open.address)
    }

    pub fn connections(&self) -> u64 {
        self.connections
    }

    /// Asks the tracker and waits for its answer, at most some seconds.
    pub fn request(&mut self, request: &Request) -> Result<Reply, LinkError> {
        let bytes = request.encode()?;
        if let Some(open) = &mut self.open {
            match open.ask(&bytes) {
                Ok(frame) => return Reply::parse(frame).map_err(LinkError::Refused),
                Err(error) => log::debug!(target: "tracker", "{}: {error}", open.address),
            }
            self.open = None;
        }
        let mut tried = Vec::new();
        for tracker in &self.trackers {
            let answer = connect(tracker, &self.stop).and_then(|mut open| {
                let frame = open.ask(&bytes)?;
                Ok((open, frame))
            });
            match answer {
                Ok((open, frame)) => {
                    self.connections += 1;
                    self.open = Some(open);
                    return Reply::parse(frame).map_err(LinkError::Refused);
                }
                Err(error) => tried.push(format!("{}:{}: {error}", tracker.host, tracker.port)),
            }
        }
        Err(LinkError::NoTracker(tried))
    }
}

impl Open {
    fn ask(&mut self, bytes: &[u8]) -> Result<Frame, Broken> {
        self.stream.write_all(bytes)?;
        read_frame(&mut self.input)?.ok_or(Broken::Closed)
    }
}

fn connect(tracker: &TrackerAddress, stop: &Stop) -> Result<Open, Broken> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (tracker.host.as_str(), tracker.port).to_socket_addrs()? {
        if stop.is_requested() {
            break;
        }
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(socket) => {
                let stream = Stream::new(socket, stop.child(), POLL, REPLY)?;
                let input = BufReader::new(stream.clone());
                return Ok(Open {
                    address,
                    stream,
                    input,
                });
            }
            Err(error) => last = error,
        }
    }
    Err(last.into())
}
