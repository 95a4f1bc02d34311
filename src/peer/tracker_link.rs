//! A connection to the first living tracker of tracker_info.txt, for control lines.
//!
//! If the connection breaks in the middle of a request, the request is sent again: to the same
//! tracker on a new connection, or to the next one. A request that changes something carries a
//! number, drawn once, by which trackers know that they have carried it out already
//! ([`RequestId`]); all others may be sent twice without harm.
//!
//! Whoever is logged in at this peer is so on every connection: before a request the connection is
//! brought up to the login that counts now. Trackers accept each other's tokens.
//!
//! All links of a peer go to the same tracker: one whose tracker is not the one that [`Trackers`]
//! uses moves there with its next request.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use zeroize::{Zeroize, Zeroizing};

use crate::control::frame::{Frame, FrameError, LineError, read_frame};
use crate::control::key::TrackerKey;
use crate::control::knock::Outcome;
use crate::control::names::UserName;
use crate::control::news::NewsLine;
use crate::control::password::Password;
use crate::control::reply::{
    CATCHING_UP, Code, LoggedIn, Reply, ReplyError, TrackerEntry, TrackerState,
};
use crate::control::request::Request;
use crate::control::request_id::RequestId;
use crate::control::stamp::Stamp;
use crate::control::tracker_info::TrackerAddress;
use crate::runtime::channel::Channel;
use crate::runtime::stop::Stop;
use crate::runtime::stream::{POLL, Stream};
use crate::runtime::tls::{self, TlsError};

use super::account::Account;
use super::batch::{Note, Noted, note};
use super::membership::{Membership, Unusable};
use super::trackers::{Trackers, Trouble};

/// How long one tracker may take to accept a connection. Bounds the end of the program, too.
const CONNECT: Duration = Duration::from_millis(1200);
/// How long a tracker may take to answer.
const REPLY: Duration = Duration::from_secs(5);

/// How often it is looked whether an idle connection is still there.
const GLANCE: Duration = Duration::from_secs(2);

/// How long a stream of news may be silent: trackers send a `PING` every 30 s.
const NEWS_SILENCE: Duration = Duration::from_secs(75);

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Nobody answers: every tracker with its reason.
    #[error("no tracker can be reached: {}", .0.join("; "))]
    NoTracker(Vec<String>),
    /// We were told to stop.
    #[error("nobody was asked any more: given up")]
    GivenUp,
    /// The tracker answered with an error.
    #[error(transparent)]
    Refused(#[from] ReplyError),
    #[error("it cannot be said to a tracker: {0}")]
    Unsayable(#[from] LineError),
}

impl LinkError {
    pub fn is_unreachable(&self) -> bool {
        matches!(self, LinkError::NoTracker(_) | LinkError::GivenUp)
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
    OtherTracker(#[from] Unusable),
    #[error("{0}")]
    CatchingUp(String),
    #[error(transparent)]
    Reply(#[from] ReplyError),
}

impl Broken {
    fn trouble(&self) -> Trouble {
        let why = self.to_string();
        match self {
            Broken::WrongKey { .. } | Broken::NoTls(_) | Broken::OtherTracker(_) => {
                Trouble::Distrusted(why)
            }
            Broken::CatchingUp(_) => Trouble::CatchingUp(why),
            _ => Trouble::NoAnswer(why),
        }
    }

    /// Whether it says something about the tracker that a connection which was good is so no
    /// longer. That it was closed does not: trackers close what is idle.
    fn is_verdict(&self) -> bool {
        match self {
            Broken::Io(error) | Broken::Frame(FrameError::Io(error)) => {
                error.kind() == io::ErrorKind::TimedOut
            }
            Broken::CatchingUp(_) => true,
            _ => false,
        }
    }
}

/// What all links of a peer share.
#[derive(Clone)]
pub struct Contacts {
    pub trackers: Arc<Trackers>,
    pub account: Arc<Account>,
    pub membership: Arc<Membership>,
    /// Hears of what is said, in a batch run.
    pub notes: Option<Sender<Note>>,
}

pub struct TrackerLink {
    contacts: Contacts,
    stop: Stop,
    open: Option<Open>,
    /// How many connections have been made: a new one may be to a tracker that knows nothing.
    connections: u64,
    /// The last request was sent more than once.
    repeated: bool,
}

struct Open {
    tracker: TrackerAddress,
    address: SocketAddr,
    channel: BufReader<Channel>,
    /// The number of the login that was made on it.
    login: Option<u64>,
}

impl TrackerLink {
    /// Connects when the first request is made.
    pub fn new(contacts: Contacts, stop: Stop) -> TrackerLink {
        TrackerLink {
            contacts,
            stop,
            open: None,
            connections: 0,
            repeated: false,
        }
    }

    /// From now on this ends what is waited for. The old request must have been made, or still be
    /// the one of the open connection.
    pub fn set_stop(&mut self, stop: Stop) {
        self.stop = stop;
    }

    pub fn trackers(&self) -> &Trackers {
        &self.contacts.trackers
    }

    /// Where the tracker is that answered last.
    pub fn address(&self) -> Option<SocketAddr> {
        self.open.as_ref().map(|open| open.address)
    }

    /// The tracker that answered last, as tracker_info.txt names it. It need not be the one that is
    /// used by now.
    pub fn tracker(&self) -> Option<&TrackerAddress> {
        self.open.as_ref().map(|open| &open.tracker)
    }

    pub fn connections(&self) -> u64 {
        self.connections
    }

    /// Asks the tracker and waits for its answer, at most some seconds for each tracker.
    pub fn request(&mut self, request: &Request) -> Result<Reply, LinkError> {
        let bytes = encode(request)?;
        note(self.contacts.notes.as_ref(), || {
            let line = bytes.split(|byte| *byte == b'\n').next();
            Noted::Told(String::from_utf8_lossy(line.unwrap_or_default()).into())
        });
        self.repeated = false;
        if let Some(mut open) = self.take_open() {
            match self.ask(&mut open, &bytes) {
                Ok(reply) => {
                    self.open = Some(open);
                    return Ok(reply);
                }
                Err(error) => {
                    log::debug!(target: "tracker", "{}: {error}", open.address);
                    if error.is_verdict() && !self.stop.is_requested() {
                        self.contacts
                            .trackers
                            .failed(&open.tracker, error.trouble());
                    }
                }
            }
        }
        let mut tried = Vec::new();
        let mut catching_up = None;
        for tracker in self.contacts.trackers.to_try() {
            match self.try_one(&tracker, &bytes, |_| Ok(())) {
                Ok(reply) => return Ok(reply),
                Err(_) if self.stop.is_requested() => return Err(LinkError::GivenUp),
                Err(Broken::CatchingUp(sentence)) => catching_up = Some(sentence),
                Err(error) => tried.push(format!("{tracker}: {error}")),
            }
        }
        self.contacts.trackers.none_left();
        Err(match catching_up {
            // There is one, and it can be asked again.
            Some(sentence) => LinkError::Refused(ReplyError::Refused {
                code: Code::Busy,
                sentence,
            }),
            None => LinkError::NoTracker(tried),
        })
    }

    /// In which time to [`look`](Self::look), if ever.
    pub fn next_look(&self) -> Option<Duration> {
        let glance = self.open.is_some().then_some(GLANCE);
        let better = self.contacts.trackers.next_look();
        [glance, better].into_iter().flatten().min()
    }

    /// Looks whether a tracker has come back that comes before the one that is used, whether that
    /// one is still there, and moves to where the other links are.
    pub fn look(&mut self) {
        let Ok(bytes) = encode(&Request::Trackers) else {
            return;
        };
        for tracker in self.contacts.trackers.to_look_at() {
            if self.try_one(&tracker, &bytes, knows_all).is_ok() {
                return;
            }
            if self.stop.is_requested() {
                return;
            }
        }
        self.contacts.trackers.none_left();
        let there = |open: &Open| !open.channel.get_ref().stream().is_over();
        self.open = self.take_open().filter(there);
        if self.open.is_none() && self.contacts.trackers.used().is_some() {
            let moved = self.request(&Request::Ping);
            if let Err(error) = moved {
                log::debug!(target: "tracker", "{error}");
            }
        }
    }

    /// The connection, if it is to the tracker that is used.
    fn take_open(&mut self) -> Option<Open> {
        let open = self.open.take();
        open.filter(|open| self.contacts.trackers.is_used(&open.tracker))
    }

    /// Asks a tracker on a new connection, which is kept if it answers, and as it should.
    fn try_one(
        &mut self,
        tracker: &TrackerAddress,
        bytes: &[u8],
        check: fn(&Reply) -> Result<(), Broken>,
    ) -> Result<Reply, Broken> {
        let answer = connect(tracker, None, &self.stop).and_then(|mut open| {
            let reply = self.ask(&mut open, bytes)?;
            check(&reply)?;
            Ok((open, reply))
        });
        match answer {
            Ok((open, reply)) => {
                self.contacts.trackers.answered(tracker);
                self.connections += 1;
                self.open = Some(open);
                Ok(reply)
            }
            Err(error) => {
                log::debug!(target: "tracker", "{tracker}: {error}");
                if !self.stop.is_requested() {
                    self.contacts.trackers.failed(tracker, error.trouble());
                }
                Err(error)
            }
        }
    }

    /// Logs a user in, here and for everybody who shares the account.
    pub fn log_in(&mut self, user: UserName, password: Password) -> Result<LoggedIn, LinkError> {
        let peer_key = Some(self.contacts.account.peer_key);
        let request = Request::Login {
            user,
            password,
            peer_key,
        };
        self.take_login(&request)
    }

    /// Changes the password of who is logged in. Every other login of theirs ends.
    pub fn change_password(&mut self, old: Password, new: Password) -> Result<LoggedIn, LinkError> {
        let user = self.contacts.account.user();
        let request = Request::Passwd {
            old,
            new: new.clone(),
        };
        let changed = self.take_login(&request);
        match (&changed, user) {
            // A tracker may have changed it, and died before it said so. With the old password our
            // login has ended then, everywhere.
            (
                Err(LinkError::Refused(ReplyError::Refused {
                    code: Code::Denied, ..
                })),
                Some(user),
            ) if self.repeated => self.log_in(user, new).or(changed),
            _ => changed,
        }
    }

    fn take_login(&mut self, request: &Request) -> Result<LoggedIn, LinkError> {
        let answer = LoggedIn::from_reply(self.request(request)?)?;
        let number = self.contacts.account.log_in(&answer);
        if let Some(open) = &mut self.open {
            open.login = Some(number);
        }
        Ok(answer)
    }

    /// Turns the connection into a stream of what happened after `since`. Returns from where on
    /// to listen if it breaks before the first news.
    pub fn subscribe(&mut self, since: Option<Stamp>) -> Result<Option<Stamp>, LinkError> {
        let (words, _) = self.request(&Request::Subscribe { since })?.into_ok()?;
        if let Some(open) = &self.open {
            let stream = open.channel.get_ref().stream().clone();
            self.contacts.account.listen_on(stream);
        }
        Ok(words.first().and_then(|cursor| cursor.parse().ok()))
    }

    /// The next line of the stream. An error ends it, also that another tracker is used by now; the
    /// next request makes a new connection.
    pub fn next_news(&mut self) -> Result<NewsLine, LinkError> {
        let lost = |why: String| LinkError::NoTracker(vec![why]);
        let Some(mut open) = self.open.take() else {
            return Err(lost("the stream of news has ended".into()));
        };
        let silent_since = Instant::now();
        open.channel.get_mut().set_patience(GLANCE);
        while let Err(error) = open.channel.fill_buf() {
            let silent = error.kind() == io::ErrorKind::TimedOut;
            if !silent || silent_since.elapsed() >= NEWS_SILENCE {
                return Err(lost(error.to_string()));
            }
            if !self.contacts.trackers.is_used(&open.tracker) {
                return Err(lost(format!("{} is not used any more", open.tracker)));
            }
        }
        open.channel.get_mut().set_patience(REPLY);
        let frame = read_frame(&mut open.channel).map_err(|error| lost(error.to_string()))?;
        let frame = frame.ok_or_else(|| lost(Broken::Closed.to_string()))?;
        let news = NewsLine::parse(&frame).map_err(|error| lost(error.to_string()))?;
        self.open = Some(open);
        Ok(news)
    }

    /// The answer to a request, after the login that counts now.
    fn ask(&mut self, open: &mut Open, bytes: &[u8]) -> Result<Reply, Broken> {
        let account = &self.contacts.account;
        let login = account.login();
        let number = login.as_ref().map(|login| login.number);
        if open.login.is_some() && open.login != number {
            // It was another user's, or nobody is logged in any more.
            return Err(Broken::OtherLogin);
        }
        if let Some(login) = login.filter(|_| open.login.is_none()) {
            let request = Request::Resume { token: login.token };
            let reply = open.exchange(&request.encode().map_err(FrameError::Line)?)?;
            match LoggedIn::from_reply(current(Reply::parse(reply)?)?) {
                Ok(answer) => {
                    self.contacts.membership.heard(Instant::now(), &answer)?;
                    account.renew(login.number, answer.token);
                    open.login = number;
                }
                Err(ReplyError::Refused {
                    code: Code::Denied,
                    sentence,
                }) => {
                    log::warn!(target: "tracker", "{} is logged out: {sentence}", login.user);
                    account.lose(login.number);
                }
                Err(error) => return Err(error.into()),
            }
        }
        let answer = open.exchange(bytes);
        self.repeated |= answer.is_err();
        current(Reply::parse(answer?)?)
    }
}

/// A line, with a number if it is not to be carried out twice.
fn encode(request: &Request) -> Result<Zeroizing<Vec<u8>>, LineError> {
    let mut frame = request.to_frame();
    if request.is_change() {
        let id = RequestId(rand::random());
        frame.words.insert(0, id.to_string());
    }
    let bytes = frame.encode().map(Zeroizing::new);
    // There may be a password in it.
    frame.words.zeroize();
    bytes
}

/// An answer of a tracker that knows what the others know.
fn current(reply: Reply) -> Result<Reply, Broken> {
    match reply {
        Reply::Err {
            code: Code::Busy,
            sentence,
        } if sentence.starts_with(CATCHING_UP) => Err(Broken::CatchingUp(sentence)),
        reply => Ok(reply),
    }
}

/// What a tracker says of itself in a list of trackers.
fn knows_all(reply: &Reply) -> Result<(), Broken> {
    let list = TrackerEntry::list_from_reply(reply.clone()).unwrap_or_default();
    let catches_up = |entry: &TrackerEntry| entry.state == TrackerState::CatchingUp;
    match list.into_iter().find(catches_up) {
        Some(entry) => Err(Broken::CatchingUp(entry.why)),
        None => Ok(()),
    }
}

impl Open {
    fn exchange(&mut self, bytes: &[u8]) -> Result<Frame, Broken> {
        self.channel.get_mut().write_all(bytes)?;
        read_frame(&mut self.channel)?.ok_or(Broken::Closed)
    }

    fn answer(&mut self, bytes: &[u8]) -> Result<Reply, Broken> {
        Ok(Reply::parse(self.exchange(bytes)?)?)
    }
}

/// Why one tracker could not be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unmet {
    /// There is no connection, and why.
    #[error("{1}")]
    NoConnection(Outcome, String),
    /// It is not the one that tracker_info.txt means.
    #[error("{0}")]
    Distrusted(String),
    /// It does not answer as trackers do.
    #[error("{0}")]
    Other(String),
}

impl From<Broken> for Unmet {
    fn from(broken: Broken) -> Unmet {
        match (&broken, broken.trouble()) {
            (Broken::Io(error), _) => {
                // For us there is no way there, also if the trouble is our own.
                let outcome = Outcome::of_error(error.kind()).unwrap_or(Outcome::Unreachable);
                Unmet::NoConnection(outcome, error.to_string())
            }
            (_, Trouble::Distrusted(why)) => Unmet::Distrusted(why),
            (_, trouble) => Unmet::Other(trouble.why().into()),
        }
    }
}

/// A connection to one tracker, which need be none of ours, for itself and without a login.
pub struct Visit {
    open: Open,
}

impl Visit {
    /// Nothing is asked or heard after `deadline`, however well it goes.
    pub fn begin(tracker: &TrackerAddress, deadline: Instant, stop: &Stop) -> Result<Visit, Unmet> {
        let mut open = connect(tracker, Some(deadline), stop)?;
        open.channel.get_mut().set_deadline(Some(deadline));
        Ok(Visit { open })
    }

    pub fn ask(&mut self, request: &Request) -> Result<Reply, Unmet> {
        let bytes = encode(request).map_err(|error| Unmet::Other(error.to_string()))?;
        // There was a connection.
        let answer = self.open.answer(&bytes);
        answer.map_err(|broken| Unmet::Other(broken.to_string()))
    }

    /// Where the tracker is.
    pub fn address(&self) -> SocketAddr {
        self.open.address
    }

    /// Our own end.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.open.channel.get_ref().stream().local_addr()
    }
}

/// Asks one tracker, which need be none of ours, on a connection of its own and without a login.
pub fn ask_once(
    tracker: &TrackerAddress,
    request: &Request,
    stop: &Stop,
) -> Result<Reply, LinkError> {
    let bytes = encode(request)?;
    let answer = connect(tracker, None, stop).and_then(|mut open| open.answer(&bytes));
    answer.map_err(|error| match error {
        _ if stop.is_requested() => LinkError::GivenUp,
        error => LinkError::NoTracker(vec![format!("{tracker}: {error}")]),
    })
}

/// Begins nothing after a stop, nor after a deadline.
fn connect(
    tracker: &TrackerAddress,
    deadline: Option<Instant>,
    stop: &Stop,
) -> Result<Open, Broken> {
    // Nobody can end the look-up of a name, which may take long.
    if stop.is_requested() {
        return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "stopped").into());
    }
    let no_address = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut last = Broken::Io(no_address);
    for address in (tracker.host.as_str(), tracker.port).to_socket_addrs()? {
        if stop.is_requested() {
            break;
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "timed out").into());
        }
        let socket = TcpStream::connect_timeout(&address, CONNECT);
        let channel = socket
            .map_err(Broken::from)
            .and_then(|socket| secure(socket, tracker.key, deadline, stop.child()));
        match channel {
            Ok(channel) => {
                return Ok(Open {
                    tracker: tracker.clone(),
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
fn secure(
    socket: TcpStream,
    key: Option<TrackerKey>,
    deadline: Option<Instant>,
    stop: Stop,
) -> Result<Channel, Broken> {
    let mut stream = Stream::new(socket, stop, POLL, REPLY)?;
    let Some(key) = key else {
        return Ok(stream.into());
    };
    let patience = Instant::now() + REPLY;
    stream.set_deadline(Some(
        deadline.map_or(patience, |deadline| patience.min(deadline)),
    ));
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    use crate::control::question::QuestionNumber;
    use crate::torrent::id::InfoHash;

    fn tracker(text: &str) -> TrackerAddress {
        crate::control::tracker_info::parse(text).unwrap().remove(0)
    }

    fn door() -> (TcpListener, TrackerAddress) {
        let door = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = door.local_addr().unwrap().to_string();
        (door, tracker(&at))
    }

    #[test]
    fn no_name_is_looked_up_after_a_stop() {
        let stop = Stop::new();
        stop.request();
        let error = connect(&tracker("nobody.invalid:6000"), None, &stop).err();
        assert_eq!(error.unwrap().to_string(), "stopped");
    }

    #[test]
    fn a_tracker_that_drips_bytes_does_not_hold_a_visit_up() {
        let (door, drips) = door();
        let dripping = std::thread::spawn(move || {
            let (mut socket, _) = door.accept().unwrap();
            while socket.write_all(b"a").is_ok() {
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let deadline = Instant::now() + Duration::from_millis(100);
        let mut visit = Visit::begin(&drips, deadline, &Stop::new()).unwrap();
        let late = visit.ask(&Request::Ping);
        assert_eq!(late, Err(Unmet::Other("timed out".into())));
        drop(visit);
        dripping.join().unwrap();
        // Nor is another one begun.
        let late = Visit::begin(&drips, deadline, &Stop::new()).err();
        let expect = Unmet::NoConnection(Outcome::Silent, "timed out".into());
        assert_eq!(late, Some(expect));
    }

    /// Peers told the tracker that they used by then what another one had asked for.
    #[test]
    fn a_line_of_the_stream_is_from_the_tracker_whose_stream_it_is() {
        let (first, one) = door();
        let (_second, two) = door();
        let (people, _news) = crossbeam_channel::unbounded();
        let list = vec![one.clone(), two.clone()];
        let membership = Membership::new(&list, true).unwrap();
        let contacts = Contacts {
            trackers: Arc::new(Trackers::new(list, people)),
            account: Arc::new(Account::new(membership.keys.public)),
            membership: Arc::new(membership),
            notes: None,
        };
        let trackers = contacts.trackers.clone();
        let mut link = TrackerLink::new(contacts, Stop::new());
        let (go_on, wait) = std::sync::mpsc::channel();
        let speaking = std::thread::spawn(move || {
            let (socket, _) = first.accept().unwrap();
            let mut reader = BufReader::new(socket);
            read_frame(&mut reader).unwrap().unwrap();
            reader.get_mut().write_all(b"OK\n").unwrap();
            wait.recv().unwrap();
            let line = format!("KNOCK 0000000000000007 10.0.0.1:7600 {}\n", "05".repeat(20));
            reader.get_mut().write_all(line.as_bytes()).unwrap();
        });
        link.subscribe(None).unwrap();
        trackers.failed(&one, Trouble::NoAnswer("it has gone".into()));
        trackers.answered(&two);
        assert_eq!(trackers.used(), Some(two));
        go_on.send(()).unwrap();
        speaking.join().unwrap();
        let knock = NewsLine::Knock {
            question: QuestionNumber(7),
            address: "10.0.0.1:7600".parse().unwrap(),
            info_hash: InfoHash([5; 20]),
        };
        assert_eq!(link.next_news().unwrap(), knock);
        assert_eq!(link.tracker(), Some(&one));
    }
}
