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

use crate::control::knock::{FIRST_PORT, Outcome};
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

/// Knocks at once.
const MAX_AT_ONCE: usize = 4;
/// Knocks in [`WINDOW`], whichever tracker asks.
const MAX_KNOCKS: usize = 10;
const WINDOW: Duration = Duration::from_secs(60);
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
    pub fn new(expected: Arc<ExpectedKnocks>) -> Knocker {
        Knocker {
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
        let (busy, stop) = (self.busy.clone(), end.clone());
        let job = move || {
            let request = match knocks {
                true => knock_at(wanted, &stop),
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

/// With a peer id that nobody has: the tracker chose the info hash, and it may be a real torrent's.
/// Nobody shall take a knock for us, who fetch that torrent.
///
/// What is our own trouble says nothing about who is there.
fn knock_at(wanted: Wanted, stop: &Stop) -> Request {
    let nobody = PeerId::ours(rand::random());
    let hello = Handshake::bare(wanted.info_hash, nobody).encode();
    let knocked = knock::knock(wanted.address, &hello, stop);
    let question = wanted.question;
    match Outcome::of(knocked) {
        Ok(outcome) => Request::Knocked { question, outcome },
        Err(error) => {
            log::debug!(target: "knock", "could not knock at {}: {error}", wanted.address);
            Request::NotKnocked { question }
        }
    }
}

/// From where an address can be reached. The nearest comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    /// From the same machine: 127.0.0.1, ::1.
    Machine,
    /// From the same network: private (RFC 1918), shared by a provider's customers (RFC 6598),
    /// link-local (RFC 3927, RFC 4291), unique local (RFC 4193).
    Network,
    Everywhere,
}

impl Reach {
    fn of(ip: IpAddr) -> Reach {
        let is_of_a_network = match ip {
            IpAddr::V4(ip) => {
                let is_of_a_provider = matches!(ip.octets(), [100, 64..128, ..]);
                ip.is_private() || ip.is_link_local() || is_of_a_provider
            }
            IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
        };
        match (ip.is_loopback(), is_of_a_network) {
            (true, _) => Reach::Machine,
            (_, true) => Reach::Network,
            _ => Reach::Everywhere,
        }
    }
}

/// Not at programs of the system, and at those of this machine or network only if the tracker is
/// there, too: nobody whom it could ask for would come to it from such an address, and it shall
/// not see through our eyes what it cannot see itself. A tracker of this machine is asked by
/// programs of this machine.
fn may_knock(address: SocketAddr, tracker: IpAddr) -> bool {
    let ip = address.ip().to_canonical();
    let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    let (reach, tracker) = (Reach::of(ip), Reach::of(tracker.to_canonical()));
    address.port() >= FIRST_PORT
        && !ip.is_unspecified()
        && !ip.is_multicast()
        && !is_broadcast
        && match tracker {
            Reach::Machine => reach == Reach::Machine,
            tracker => tracker <= reach,
        }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

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
            // A network that the tracker is not in.
            ("10.0.0.1:7600", "198.51.100.1", false),
            ("172.16.0.1:7600", "198.51.100.1", false),
            ("192.168.1.23:7600", "198.51.100.1", false),
            ("169.254.1.1:7600", "198.51.100.1", false),
            ("100.64.0.1:7600", "198.51.100.1", false),
            ("[::ffff:10.0.0.1]:7600", "198.51.100.1", false),
            ("[fc00::1]:7600", "2001:db8::1", false),
            ("[fd12::1]:7600", "2001:db8::1", false),
            ("[fe80::1]:7600", "2001:db8::1", false),
            // One that it is in, or the whole of the Internet.
            ("10.0.0.1:7600", "192.168.1.10", true),
            ("169.254.1.1:7600", "169.254.1.2", true),
            ("100.64.0.1:7600", "100.127.0.1", true),
            ("[fd12::1]:7600", "fd12::2", true),
            ("[fe80::1]:7600", "fe80::2", true),
            ("203.0.113.5:7600", "192.168.1.10", true),
            ("203.0.113.5:7600", "198.51.100.1", true),
            ("100.128.0.1:7600", "198.51.100.1", true),
            ("[2001:db8::2]:7600", "127.0.0.1", false),
        ] {
            let may = may_knock(address.parse().unwrap(), tracker.parse().unwrap());
            assert_eq!(may, expect, "{address} for {tracker}");
        }
    }

    #[test]
    fn a_knock_does_not_say_who_we_are() {
        let door = TcpListener::bind("127.0.0.1:0").unwrap();
        let wanted = Wanted {
            question: QuestionNumber(7),
            address: door.local_addr().unwrap(),
            info_hash: InfoHash([5; 20]),
        };
        let heard = std::thread::spawn(move || {
            [(); 2].map(|()| {
                let mut hello = [0; 68];
                let (mut socket, _) = door.accept().unwrap();
                socket.read_exact(&mut hello).unwrap();
                hello
            })
        });
        for _ in 0..2 {
            let expect = Request::Knocked {
                question: QuestionNumber(7),
                outcome: Outcome::Connected,
            };
            assert_eq!(knock_at(wanted, &Stop::new()), expect);
        }
        let [one, two] = heard.join().unwrap();
        assert_eq!(one[..48], two[..48]);
        assert_eq!(one[28..48], [5; 20]);
        assert_ne!(one[48..], two[48..], "the peer ids");
    }

    #[test]
    fn our_own_trouble_is_not_told_as_somebody_elses() {
        let stop = Stop::new();
        stop.request();
        let wanted = Wanted {
            question: QuestionNumber(7),
            address: "127.0.0.1:7600".parse().unwrap(),
            info_hash: InfoHash([5; 20]),
        };
        let expect = Request::NotKnocked {
            question: QuestionNumber(7),
        };
        assert_eq!(knock_at(wanted, &stop), expect);
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
