//! A connection to the first living tracker of tracker_info.txt, for control lines.
//!
//! Every request of ours may be sent twice without harm, so a request whose connection broke is
//! sent again on a new one. Whoever is logged in at this peer is so on every connection: before a
//! request the connection is brought up to the login that counts now.

use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::control::frame::{Frame, FrameError, LineError, read_frame};
use crate::control::key::TrackerKey;
use crate::control::names::UserName;
use crate::control::news::NewsLine;
use crate::control::password::Password;
use crate::control::reply::{Code, LoggedIn, Reply, ReplyError};
use crate::control::request::Request;
use crate::control::stamp::Stamp;
use crate::control::tracker_info::TrackerAddress;
use crate::runtime::channel::Channel;
use crate::runtime::stop::Stop;
use crate::runtime::stream::{POLL, Stream};
use crate::runtime::tls::{self, TlsError};

use super::account::Account;

/// How long one tracker may take to accept a connection. Bounds the end of the program, too.
const CONNECT: Duration = Duration::from_millis(1200);
/// How long a tracker may take to answer.
const REPLY: Duration = Duration::from_secs(5);

/// How long a stream of news may be silent: trackers send a `PING` every 30 s.
const NEWS_SILENCE: Duration = Duration::from_secs(75);

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
    #[error(
        "the key in tracker_info.txt ({key}) is not this tracker's ({shown}): ask for its line, \
         which `tracker --key` prints"
    )]
    WrongKey { key: TrackerKey, shown: TrackerKey },
    #[error(
        "tracker_info.txt gives its key, so TLS is asked for, and {0}: ask for its line, which \
         `tracker --key` prints"
    )]
    NoTls(TlsError),
    #[error("another user is logged in by now")]
    OtherLogin,
    #[error(transparent)]
    Reply(#[from] ReplyError),
}

impl Broken {
    /// The user should know, though another tracker may serve as well.
    fn is_distrust(&self) -> bool {
        matches!(self, Broken::WrongKey { .. } | Broken::NoTls(_))
    }
}

pub struct TrackerLink {
    trackers: Vec<TrackerAddress>,
    account: Arc<Account>,
    stop: Stop,
    open: Option<Open>,
    /// How many connections have been made: a new one may be to a tracker that knows nothing.
    connections: u64,
}

struct Open {
    address: SocketAddr,
    channel: BufReader<Channel>,
    /// The number of the login that was made on it.
    login: Option<u64>,
}

impl TrackerLink {
    /// Connects when the first request is made.
    pub fn new(trackers: Vec<TrackerAddress>, account: Arc<Account>, stop: Stop) -> TrackerLink {
        TrackerLink {
            trackers,
            account,
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
        let bytes = Zeroizing::new(request.encode()?);
        if let Some(mut open) = self.open.take() {
            match self.ask(&mut open, &bytes) {
                Ok(reply) => {
                    self.open = Some(open);
                    return reply.map_err(LinkError::Refused);
                }
                Err(error) => log::debug!(target: "tracker", "{}: {error}", open.address),
            }
        }
        let mut tried = Vec::new();
        let mut distrusted = 0;
        for tracker in &self.trackers {
            let answer = connect(tracker, &self.stop).and_then(|mut open| {
                let reply = self.ask(&mut open, &bytes)?;
                Ok((open, reply))
            });
            match answer {
                Ok((open, reply)) => {
                    if distrusted > 0 {
                        log::warn!(target: "tracker", "not with the first tracker: {}", tried.join("; "));
                    }
                    self.connections += 1;
                    self.open = Some(open);
                    return reply.map_err(LinkError::Refused);
                }
                Err(error) => {
                    distrusted += usize::from(error.is_distrust());
                    tried.push(format!("{tracker}: {error}"));
                }
            }
        }
        Err(LinkError::NoTracker(tried))
    }

    /// Logs a user in, here and for everybody who shares the account.
    pub fn log_in(&mut self, user: UserName, password: Password) -> Result<LoggedIn, LinkError> {
        let peer_key = Some(self.account.peer_key);
        let request = Request::Login {
            user,
            password,
            peer_key,
        };
        self.take_login(&request)
    }

    /// Changes the password of who is logged in. Every other login of theirs ends.
    pub fn change_password(&mut self, old: Password, new: Password) -> Result<LoggedIn, LinkError> {
        self.take_login(&Request::Passwd { old, new })
    }

    fn take_login(&mut self, request: &Request) -> Result<LoggedIn, LinkError> {
        let answer = LoggedIn::from_reply(self.request(request)?)?;
        let number = self.account.log_in(&answer);
        if let Some(open) = &mut self.open {
            open.login = Some(number);
        }
        Ok(answer)
    }

    /// Turns the connection into a stream of what happened after `since`. Returns from where on
    /// to listen if it breaks before the first news.
    pub fn subscribe(&mut self, since: Option<Stamp>) -> Result<Option<Stamp>, LinkError> {
        let (words, _) = self.request(&Request::Subscribe { since })?.into_ok()?;
        Ok(words.first().and_then(|cursor| cursor.parse().ok()))
    }

    /// The next line of news. An error ends the stream; the next request makes a new connection.
    pub fn next_news(&mut self) -> Result<NewsLine, LinkError> {
        let lost = |why: String| LinkError::NoTracker(vec![why]);
        let Some(mut open) = self.open.take() else {
            return Err(lost("the stream of news has ended".into()));
        };
        open.channel.get_mut().set_patience(NEWS_SILENCE);
        let frame = read_frame(&mut open.channel).map_err(|error| lost(error.to_string()))?;
        let frame = frame.ok_or_else(|| lost(Broken::Closed.to_string()))?;
        let news = NewsLine::parse(&frame).map_err(|error| lost(error.to_string()))?;
        self.open = Some(open);
        Ok(news)
    }

    /// The answer to a request, after the login that counts now.
    fn ask(&self, open: &mut Open, bytes: &[u8]) -> Result<Result<Reply, ReplyError>, Broken> {
        let login = self.account.login();
        let number = login.as_ref().map(|login| login.number);
        if open.login.is_some() && open.login != number {
            // It was another user's, or nobody is logged in any more.
            return Err(Broken::OtherLogin);
        }
        if let Some(login) = login.filter(|_| open.login.is_none()) {
            let request = Request::Resume { token: login.token };
            let reply = open.exchange(&request.encode().map_err(FrameError::Line)?)?;
            match LoggedIn::from_reply(Reply::parse(reply)?) {
                Ok(answer) => {
                    self.account.renew(login.number, answer.token);
                    open.login = number;
                }
                Err(ReplyError::Refused {
                    code: Code::Denied,
                    sentence,
                }) => {
                    log::warn!(target: "tracker", "{} is logged out: {sentence}", login.user);
                    self.account.lose(login.number);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Reply::parse(open.exchange(bytes)?))
    }
}

impl Open {
    fn exchange(&mut self, bytes: &[u8]) -> Result<Frame, Broken> {
        self.channel.get_mut().write_all(bytes)?;
        read_frame(&mut self.channel)?.ok_or(Broken::Closed)
    }
}

fn connect(tracker: &TrackerAddress, stop: &Stop) -> Result<Open, Broken> {
    let no_address = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut last = Broken::Io(no_address);
    for address in (tracker.host.as_str(), tracker.port).to_socket_addrs()? {
        if stop.is_requested() {
            break;
        }
        let socket = TcpStream::connect_timeout(&address, CONNECT);
        let channel = socket
            .map_err(Broken::from)
            .and_then(|socket| secure(socket, tracker.key, stop.child()));
        match channel {
            Ok(channel) => {
                return Ok(Open {
                    address,
                    channel: BufReader::new(channel),
                    login: None,
                });
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The channel on a new connection: with a key, inside TLS and to nobody else.
fn secure(socket: TcpStream, key: Option<TrackerKey>, stop: Stop) -> Result<Channel, Broken> {
    let mut stream = Stream::new(socket, stop, POLL, REPLY)?;
    let Some(key) = key else {
        return Ok(stream.into());
    };
    stream.set_deadline(Some(Instant::now() + REPLY));
    let mut channel = tls::connect(stream, key.0).map_err(|error| match error {
        TlsError::WrongKey(shown) => Broken::WrongKey {
            key,
            shown: TrackerKey(shown),
        },
        error => Broken::NoTls(error),
    })?;
    channel.set_deadline(None);
    Ok(channel)
}
