//! Knocking at other peers because a tracker asks for it: somebody there wants to know whether they
//! can be connected to.
//!
//! A tracker that lies could have many peers knock at somebody, or look for open ports with our
//! help. So we knock seldom, at few at once, and not everywhere (`may_knock`).
//!
//! | thread | does |
//! |---|---|
//! | `knock-N` | one knock and the answer to the tracker; ends after both |

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::control::knock::Outcome;
use crate::control::question::QuestionNumber;
use crate::control::request::Request;
use crate::control::tracker_info::TrackerAddress;
use crate::runtime::knock;
use crate::runtime::stop::Stop;
use crate::runtime::workers::Workers;
use crate::torrent::id::{InfoHash, PeerId};
use crate::wire::handshake::Handshake;

use super::knocks::ExpectedKnocks;
use super::tracker_link::ask_once;

/// How long a knock may take. The tracker waits for three seconds; and it bounds the end of the
/// program, too.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// Knocks at once.
const MAX_AT_ONCE: usize = 4;
/// Knocks in [`WINDOW`], whichever tracker asks.
const MAX_KNOCKS: usize = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// Below are the ports of a system's own programs, where no peers are.
const FIRST_PORT: u16 = 1024;
/// Bytes: the answer may go through TLS, which takes much in a debug build.
const STACK: usize = 1024 * 1024;

/// What a tracker asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    pub question: QuestionNumber,
    pub address: SocketAddr,
    pub info_hash: InfoHash,
}

pub struct Knocker {
    peer_id: PeerId,
    /// Our own are left to others.
    expected: Arc<ExpectedKnocks>,
    workers: Workers,
    busy: Arc<AtomicUsize>,
    recent: Recent,
}

/// When we have knocked of late.
#[derive(Default)]
struct Recent(Vec<Instant>);

impl Recent {
    fn may_go_on(&mut self, now: Instant) -> bool {
        self.0
            .retain(|at| now.saturating_duration_since(*at) < WINDOW);
        let may = self.0.len() < MAX_KNOCKS;
        if may {
            self.0.push(now);
        }
        may
    }
}

impl Knocker {
    pub fn new(peer_id: PeerId, expected: Arc<ExpectedKnocks>) -> Knocker {
        Knocker {
            peer_id,
            expected,
            workers: Workers::new("knock", STACK),
            busy: Arc::default(),
            recent: Recent::default(),
        }
    }

    /// Does what a tracker asks for, or says that it does not, on a thread of its own. `at` is
    /// where the tracker is. Nothing is said when too much is wanted at once.
    pub fn knock(&mut self, tracker: TrackerAddress, at: SocketAddr, wanted: Wanted, end: &Stop) {
        if self.busy.load(Ordering::SeqCst) >= MAX_AT_ONCE {
            log::debug!(target: "knock", "{tracker} asks for too many knocks at once");
            return;
        }
        let knocks = !self.expected.is_expected(&wanted.info_hash)
            && may_knock(wanted.address, at.ip())
            && self.recent.may_go_on(Instant::now());
        self.busy.fetch_add(1, Ordering::SeqCst);
        let (busy, stop, peer_id) = (self.busy.clone(), end.clone(), self.peer_id);
        let job = move || {
            let request = match knocks {
                true => knock_at(wanted, peer_id, &stop),
                false => Request::NotKnocked {
                    question: wanted.question,
                },
            };
            if let Err(error) = ask_once(&tracker, &request, &stop) {
                log::debug!(target: "knock", "not told what came of a knock: {error}");
            }
            busy.fetch_sub(1, Ordering::SeqCst);
        };
        if let Err(error) = self.workers.run(job) {
            self.busy.fetch_sub(1, Ordering::SeqCst);
            log::warn!(target: "knock", "no thread: {error}");
        }
    }
}

fn knock_at(wanted: Wanted, peer_id: PeerId, stop: &Stop) -> Request {
    let hello = Handshake::bare(wanted.info_hash, peer_id).encode();
    let knocked = knock::knock(wanted.address, &hello, PATIENCE, stop);
    Request::Knocked {
        question: wanted.question,
        outcome: Outcome::of(&knocked),
    }
}

/// Not at programs of the system, nor at those of this machine, unless the tracker is one of them:
/// it could not be asked about them by anybody else.
fn may_knock(address: SocketAddr, tracker: IpAddr) -> bool {
    let ip = address.ip().to_canonical();
    let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    address.port() >= FIRST_PORT
        && !ip.is_unspecified()
        && !ip.is_multicast()
        && !is_broadcast
        && ip.is_loopback() == tracker.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_everything_that_a_tracker_names_is_knocked_at() {
        for (address, tracker, expect) in [
            ("192.168.1.23:7600", "192.168.1.10", true),
            ("192.168.1.23:1023", "192.168.1.10", false),
            ("192.168.1.23:0", "192.168.1.10", false),
            ("127.0.0.1:7600", "192.168.1.10", false),
            ("127.0.0.1:7600", "127.0.0.1", true),
            ("192.168.1.23:7600", "127.0.0.1", false),
            ("[::1]:7600", "2001:db8::1", false),
            ("[::ffff:127.0.0.1]:7600", "192.168.1.10", false),
            ("[2001:db8::2]:7600", "2001:db8::1", true),
            ("0.0.0.0:7600", "192.168.1.10", false),
            ("255.255.255.255:7600", "192.168.1.10", false),
            ("224.0.0.1:7600", "192.168.1.10", false),
        ] {
            let may = may_knock(address.parse().unwrap(), tracker.parse().unwrap());
            assert_eq!(may, expect, "{address} for {tracker}");
        }
    }

    #[test]
    fn we_knock_seldom() {
        let (mut recent, now) = (Recent::default(), Instant::now());
        let knocks = (0..100).filter(|_| recent.may_go_on(now)).count();
        assert_eq!(knocks, MAX_KNOCKS);
        assert!(!recent.may_go_on(now + WINDOW - Duration::from_secs(1)));
        assert!(recent.may_go_on(now + WINDOW));
    }
}
