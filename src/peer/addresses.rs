//! Where peers of one torrent may be found, and when to call them (again).
//!
//! Pure: time is an argument. Not here: the calling.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The most addresses that are kept for a torrent.
const MAX_ADDRESSES: usize = 1000;
/// The pause after a first failure; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// An address that failed this often in a row is forgotten until somebody names it again.
const GIVE_UP: u32 = 12;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// To be called from this moment on.
    Due(Instant),
    Dialing,
    Connected,
    Banned,
}

/// What an address that the user names is to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    ToBeCalled,
    Connected,
    Banned,
}

struct Known {
    state: State,
    failures: u32,
    /// When somebody named it last: those who were named first are called first.
    named: u64,
}

#[derive(Default)]
pub struct AddressBook {
    known: HashMap<SocketAddr, Known>,
    /// How often somebody has named an address.
    named: u64,
}

impl AddressBook {
    pub fn new() -> AddressBook {
        AddressBook::default()
    }

    /// Somebody says that a peer is there. It is called after `delay`, unless it is known.
    pub fn learn(&mut self, now: Instant, address: SocketAddr, delay: Duration) {
        if address.port() == 0 || address.ip().is_unspecified() || address.ip().is_multicast() {
            return;
        }
        self.named += 1;
        let named = self.named;
        if let Some(known) = self.known.get_mut(&address) {
            known.named = named;
            // It failed, and is said to be there: worth another try soon.
            if let State::Due(at) = &mut known.state
                && known.failures > 0
            {
                *at = (*at).min(now + FIRST_PAUSE.max(delay));
            }
        } else if self.known.len() < MAX_ADDRESSES {
            let state = State::Due(now + delay);
            let known = Known {
                state,
                failures: 0,
                named,
            };
            self.known.insert(address, known);
        }
    }

    /// The user names a peer: it is called next, whatever came of earlier calls. Tells what it is
    /// to us already.
    pub fn name(&mut self, now: Instant, address: SocketAddr) -> Standing {
        match self.known.get(&address).map(|known| known.state) {
            Some(State::Banned) => return Standing::Banned,
            Some(State::Connected) => return Standing::Connected,
            Some(State::Dialing) => return Standing::ToBeCalled,
            Some(State::Due(_)) | None => {}
        }
        let known = Known {
            state: State::Due(now),
            failures: 0,
            // Before all others.
            named: 0,
        };
        self.known.insert(address, known);
        Standing::ToBeCalled
    }

    /// At most `count` addresses to call now, of those that one `may` call, in the order in which
    /// they were named. They count as being called.
    pub fn take_due(
        &mut self,
        now: Instant,
        count: usize,
        may: impl Fn(SocketAddr) -> bool,
    ) -> Vec<SocketAddr> {
        let due = |known: &Known| matches!(known.state, State::Due(at) if at <= now);
        let mut addresses: Vec<(u64, SocketAddr)> = self
            .known
            .iter()
            .filter(|(_, known)| due(known))
            .filter(|(address, _)| may(**address))
            .map(|(address, known)| (known.named, *address))
            .collect();
        addresses.sort_unstable();
        let addresses = addresses.into_iter().take(count);
        let addresses: Vec<SocketAddr> = addresses.map(|(_, address)| address).collect();
        for address in &addresses {
            self.set(*address, State::Dialing);
        }
        addresses
    }

    /// Nobody answered, or not as a peer of this torrent should.
    pub fn failed(&mut self, now: Instant, address: SocketAddr) {
        let Some(known) = self
            .known
            .get_mut(&address)
            .filter(|k| k.state != State::Banned)
        else {
            return;
        };
        known.failures += 1;
        if known.failures >= GIVE_UP {
            self.known.remove(&address);
            return;
        }
        let pause = FIRST_PAUSE * 2u32.saturating_pow(known.failures - 1);
        known.state = State::Due(now + pause.min(LONGEST_PAUSE));
    }

    /// We are connected to the peer that listens there, whoever called.
    pub fn connected(&mut self, address: SocketAddr) {
        let banned = self
            .known
            .get(&address)
            .is_some_and(|k| k.state == State::Banned);
        if !banned && (self.known.len() < MAX_ADDRESSES || self.known.contains_key(&address)) {
            self.known.insert(
                address,
                Known {
                    state: State::Connected,
                    failures: 0,
                    named: self.named,
                },
            );
        }
    }

    /// The connection ended. Called again soon if that may help, else after the longest pause.
    pub fn disconnected(&mut self, now: Instant, address: SocketAddr, transient: bool) {
        let pause = if transient {
            FIRST_PAUSE
        } else {
            LONGEST_PAUSE
        };
        if self
            .known
            .get(&address)
            .is_some_and(|known| known.state != State::Banned)
        {
            self.set(address, State::Due(now + pause));
        }
    }

    /// Never call it again.
    pub fn ban(&mut self, address: SocketAddr) {
        self.known.insert(
            address,
            Known {
                state: State::Banned,
                failures: 0,
                named: self.named,
            },
        );
    }

    /// Everybody but the banned, and whether there is a connection.
    pub fn all(&self) -> impl Iterator<Item = (SocketAddr, bool)> {
        let known = self.known.iter();
        let known = known.filter(|(_, known)| known.state != State::Banned);
        known.map(|(address, known)| (*address, known.state == State::Connected))
    }

    /// How many are being called.
    pub fn calling(&self) -> usize {
        let dialing = |known: &&Known| known.state == State::Dialing;
        self.known.values().filter(dialing).count()
    }

    fn set(&mut self, address: SocketAddr, state: State) {
        if let Some(known) = self.known.get_mut(&address) {
            known.state = state;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANYONE: fn(SocketAddr) -> bool = |_| true;

    #[test]
    fn pauses_grow_and_end() {
        let mut book = AddressBook::new();
        let address: SocketAddr = "127.0.0.1:7600".parse().unwrap();
        let mut now = Instant::now();
        book.learn(now, address, Duration::ZERO);
        let mut pauses = Vec::new();
        while book.take_due(now, 9, ANYONE) == [address] {
            book.failed(now, address);
            let failed = now;
            while book.take_due(now, 9, ANYONE).is_empty()
                && now - failed < Duration::from_secs(300)
            {
                now += Duration::from_secs(1);
            }
            pauses.push((now - failed).as_secs());
            book.set(address, State::Due(now));
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 300]);
    }

    #[test]
    fn nobody_is_called_twice_at_once_and_the_banned_never() {
        let mut book = AddressBook::new();
        let now = Instant::now();
        let addresses: Vec<SocketAddr> = (1..=3)
            .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
            .collect();
        for address in &addresses {
            book.learn(now, *address, Duration::ZERO);
        }
        assert_eq!(book.take_due(now, 2, ANYONE), addresses[..2]);
        assert_eq!(book.take_due(now, 2, ANYONE), addresses[2..]);
        book.ban(addresses[0]);
        book.learn(now, addresses[0], Duration::ZERO);
        book.failed(now, addresses[0]);
        book.disconnected(now, addresses[1], true);
        let later = now + LONGEST_PAUSE;
        assert_eq!(book.take_due(later, 9, ANYONE), addresses[1..2]);
    }

    #[test]
    fn who_is_named_is_called_at_once() {
        let mut book = AddressBook::new();
        let (now, address) = (Instant::now(), SocketAddr::from(([127, 0, 0, 1], 1)));
        book.learn(now, address, Duration::ZERO);
        assert!(book.take_due(now, 9, |_| false).is_empty());
        assert_eq!(book.take_due(now, 9, ANYONE), [address]);
        assert_eq!(book.name(now, address), Standing::ToBeCalled);
        assert!(
            book.take_due(now, 9, ANYONE).is_empty(),
            "it is being called"
        );
        book.failed(now, address);
        assert!(book.take_due(now, 9, ANYONE).is_empty());
        assert_eq!(book.name(now, address), Standing::ToBeCalled);
        assert_eq!(book.take_due(now, 9, ANYONE), [address]);
        book.connected(address);
        assert_eq!(book.name(now, address), Standing::Connected);
        book.ban(address);
        assert_eq!(book.name(now, address), Standing::Banned);
        assert!(book.take_due(now, 9, ANYONE).is_empty());
    }

    #[test]
    fn who_was_named_first_is_called_first() {
        let mut book = AddressBook::new();
        let now = Instant::now();
        let named = [3, 1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        for address in named {
            book.learn(now, address, Duration::ZERO);
        }
        assert_eq!(book.take_due(now, 1, ANYONE), named[..1]);
        assert_eq!(book.calling(), 1);
        // Another list has come, in another order.
        book.learn(now, named[2], Duration::ZERO);
        book.learn(now, named[1], Duration::ZERO);
        assert_eq!(book.take_due(now, 9, ANYONE), [named[2], named[1]]);
    }
}
