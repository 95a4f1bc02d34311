//! Checking the network around us: what we can connect to, and who can connect to us.
//!
//! All is tried at once, so it takes as long as the slowest: some seconds. What follows from it is
//! said by the shell.
//!
//! | thread | does |
//! |---|---|
//! | `check-N` | one tracker or one peer; joined before anybody hears of it |
//!
//! Whoever asks tries our own port meanwhile.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::control::knock::{Knocks, Outcome};
use crate::control::reply::{Code, Reply, ReplyError};
use crate::control::request::Request;
use crate::control::tracker_info::TrackerAddress;
use crate::runtime::knock;
use crate::runtime::listener::from_here;
use crate::runtime::stop::Stop;
use crate::runtime::threads;
use crate::torrent::id::{InfoHash, PeerId};
use crate::wire::handshake::Handshake;

use super::knocks::{Expected, ExpectedKnocks};
use super::tracker_link::{Unmet, Visit};

/// How many peers we try to connect to.
const MAX_TRIED: usize = 4;

/// How long a visit to a tracker may take in all, with the knocks for which it waits three seconds.
/// To find the tracker's address may take longer than that, and is the system's business.
const VISIT: Duration = Duration::from_secs(8);

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

impl Network {
    /// The trackers that have answered.
    pub fn met(&self) -> impl Iterator<Item = &Met> {
        self.trackers
            .iter()
            .filter_map(|(_, met)| met.as_ref().ok())
    }
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
pub fn check(here: Here, stop: &Stop) -> Network {
    let Here {
        bound,
        peer_id,
        trackers,
        peers,
        expected,
    } = here;
    let mut checks = Checks::default();
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
            let check = checks.start(move || Outcome::of(knock::knock(address, &hello, &end)));
            (address, check)
        })
        .collect();
    let is_open = is_open(bound, peer_id, &expected, stop);
    Network {
        bound,
        is_open,
        trackers: trackers
            .into_iter()
            .map(|(tracker, check)| (tracker, met(check)))
            .collect(),
        // One that could not be tried says nothing.
        peers: peers
            .into_iter()
            .filter_map(|(address, check)| Some((address, threads::join(check?)?.ok()?)))
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
        let started = threads::spawn(&name, None, check);
        let started = started.inspect_err(|error| {
            log::warn!(target: "network", "no thread for {name}: {error}");
        });
        started.ok()
    }
}

/// Whether our own port answers, and it is us.
fn is_open(
    bound: SocketAddr,
    peer_id: PeerId,
    expected: &Arc<ExpectedKnocks>,
    stop: &Stop,
) -> bool {
    let expected = expected.expect();
    let hello = Handshake::bare(expected.info_hash, peer_id).encode();
    let knocked = knock::knock(from_here(bound), &hello, stop);
    knocked.is_ok() && expected.count() > 0
}

/// Asks a tracker whether it is there, and then how it sees us.
fn meet(
    tracker: &TrackerAddress,
    port: u16,
    expected: &Arc<ExpectedKnocks>,
    stop: &Stop,
) -> Result<Met, Unmet> {
    let mut visit = Visit::begin(tracker, Instant::now() + VISIT, stop)?;
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

/// What came of it. A tracker that could not be tried is still one that is named.
fn met(check: Option<JoinHandle<Result<Met, Unmet>>>) -> Result<Met, Unmet> {
    check.and_then(threads::join).unwrap_or_else(|| {
        let why = "this machine could not try; the log says why";
        Err(Unmet::NoConnection(Outcome::Unreachable, why.into()))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// It was left out, and then tracker_info.txt was said to name none.
    #[test]
    fn a_tracker_that_could_not_be_tried_is_told() {
        let unmet = met(None).unwrap_err();
        assert!(
            matches!(&unmet, Unmet::NoConnection(Outcome::Unreachable, why) if why.contains("log")),
            "{unmet:?}"
        );
    }
}
