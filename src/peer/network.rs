//! Looking at the network around us: what we can connect to, and who can connect to us.
//!
//! All is tried at once, so it takes as long as the slowest: some seconds. What follows from it is
//! said by the shell.
//!
//! | thread | does |
//! |---|---|
//! | `check-N` | our own port, one tracker or one peer; joined before anybody hears of it |

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::control::knock::{Knocks, Outcome};
use crate::control::reply::{Code, Reply, ReplyError};
use crate::control::request::Request;
use crate::control::tracker_info::TrackerAddress;
use crate::runtime::knock;
use crate::runtime::stop::Stop;
use crate::runtime::threads;
use crate::torrent::id::{InfoHash, PeerId};
use crate::wire::handshake::Handshake;

use super::knocker::PATIENCE;
use super::knocks::{Expected, ExpectedKnocks};
use super::tracker_link::{Unmet, Visit};

/// How many peers we try to connect to.
const MAX_TRIED: usize = 4;

/// What was found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Where we listen.
    pub bound: SocketAddr,
    /// We have reached ourselves there.
    pub is_open: bool,
    /// In the order of tracker_info.txt.
    pub trackers: Vec<(TrackerAddress, Result<Met, Unmet>)>,
    /// Some peers of our torrents, those first to which there is no connection.
    pub peers: Vec<(SocketAddr, Outcome)>,
}

/// A tracker that has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Met {
    /// How long the answer took.
    pub took: Duration,
    pub there: IpAddr,
    /// Our own end of the connection.
    pub ours: IpAddr,
    pub seen: Result<Seen, Unasked>,
}

/// How we are seen from a tracker, and from the peers that it has asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub knocks: Knocks,
    /// How many of the knocks came to us.
    pub came: usize,
}

/// Why a tracker does not knock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unasked {
    /// It does not know how.
    TooOld,
    /// In words.
    Refused(String),
}

/// Whom we are, and what we know.
pub struct Here {
    pub bound: SocketAddr,
    pub peer_id: PeerId,
    pub trackers: Vec<TrackerAddress>,
    /// Where peers may be; those to try first come first.
    pub peers: Vec<SocketAddr>,
    pub expected: Arc<ExpectedKnocks>,
}

/// Tries everything.
pub fn look(here: Here, stop: &Stop) -> Network {
    let Here {
        bound,
        peer_id,
        trackers,
        peers,
        expected,
    } = here;
    let mut checks = Checks::default();
    let (knocks, end) = (expected.clone(), stop.clone());
    let own = checks.start(move || is_open(bound, peer_id, &knocks, &end));
    let trackers: Vec<_> = trackers
        .into_iter()
        .map(|tracker| {
            let (named, knocks, end) = (tracker.clone(), expected.clone(), stop.clone());
            let check = checks.start(move || meet(&named, bound.port(), &knocks, &end));
            (tracker, check)
        })
        .collect();
    let peers: Vec<_> = peers
        .into_iter()
        .take(MAX_TRIED)
        .map(|address| {
            let end = stop.clone();
            let hello = Handshake::bare(InfoHash(rand::random()), peer_id).encode();
            let check =
                checks.start(move || Outcome::of(&knock::knock(address, &hello, PATIENCE, &end)));
            (address, check)
        })
        .collect();
    // What could not be started: a machine without room for a thread has other troubles.
    Network {
        bound,
        is_open: own.and_then(threads::join).unwrap_or(false),
        trackers: trackers
            .into_iter()
            .filter_map(|(tracker, check)| Some((tracker, threads::join(check?)?)))
            .collect(),
        peers: peers
            .into_iter()
            .filter_map(|(address, check)| Some((address, threads::join(check?)?)))
            .collect(),
    }
}

/// Numbers the threads.
#[derive(Default)]
struct Checks {
    started: usize,
}

impl Checks {
    fn start<T: Send + 'static>(
        &mut self,
        check: impl FnOnce() -> T + Send + 'static,
    ) -> Option<JoinHandle<T>> {
        let name = format!("check-{}", self.started);
        self.started += 1;
        threads::spawn(&name, None, check).ok()
    }
}

/// Whether our own port answers, and it is us.
fn is_open(
    bound: SocketAddr,
    peer_id: PeerId,
    expected: &Arc<ExpectedKnocks>,
    stop: &Stop,
) -> bool {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let expected = expected.expect();
    let hello = Handshake::bare(expected.info_hash, peer_id).encode();
    let address = SocketAddr::new(ip, bound.port());
    let knocked = knock::knock(address, &hello, PATIENCE, stop);
    knocked.is_ok() && expected.count() > 0
}

/// Asks a tracker whether it is there, and then how it sees us.
fn meet(
    tracker: &TrackerAddress,
    port: u16,
    expected: &Arc<ExpectedKnocks>,
    stop: &Stop,
) -> Result<Met, Unmet> {
    let mut visit = Visit::begin(tracker, stop)?;
    let since = Instant::now();
    let answer = visit.ask(&Request::Ping)?;
    let took = since.elapsed();
    answer
        .into_ok()
        .map_err(|error| Unmet::Other(error.to_string()))?;
    let local = visit.local_addr().map_err(no_address)?;
    let expected = expected.expect();
    let asked = visit.ask(&Request::Knock {
        port,
        info_hash: expected.info_hash,
    });
    let seen = match asked {
        Ok(reply) => seen(reply, &expected),
        Err(error) => Err(Unasked::Refused(error.to_string())),
    };
    Ok(Met {
        took,
        there: visit.address().ip().to_canonical(),
        ours: local.ip().to_canonical(),
        seen,
    })
}

fn no_address(error: io::Error) -> Unmet {
    Unmet::Other(format!("the connection has ended: {error}"))
}

fn seen(reply: Reply, expected: &Expected) -> Result<Seen, Unasked> {
    match Knocks::from_reply(reply) {
        Ok(knocks) => Ok(Seen {
            knocks,
            came: expected.count(),
        }),
        Err(ReplyError::Refused {
            code: Code::BadRequest,
            ..
        }) => Err(Unasked::TooOld),
        Err(ReplyError::Refused { sentence, .. }) => Err(Unasked::Refused(sentence)),
        Err(error) => Err(Unasked::Refused(error.to_string())),
    }
}
