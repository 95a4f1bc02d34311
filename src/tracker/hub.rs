//! Who listens, and how news and questions come to them: news to users, questions to all.
//!
//! What waits for a listener is bounded. One that does not keep up is dropped, and may subscribe
//! again from where it was.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};
use parking_lot::Mutex;
use rand::seq::SliceRandom;

use crate::control::names::FileName;
use crate::control::news::NewsLine;
use crate::control::question::QuestionNumber;
use crate::control::stamp::UserId;
use crate::torrent::id::InfoHash;

/// Lines that may wait for a listener: more than a class makes while a line is written.
const QUEUE: usize = 256;
/// Connections of one user that may listen at once.
const MAX_PER_USER: usize = 16;

#[derive(Default)]
pub struct Hub {
    listeners: Mutex<Listeners>,
}

#[derive(Default)]
struct Listeners {
    /// Those who are not logged in are together under `None`.
    by_user: HashMap<Option<UserId>, HashMap<u64, Listener>>,
    next: u64,
    closed: bool,
}

/// The channel has no bound of its own: a bounded one takes the memory of all that may wait, for
/// each of ten thousand listeners to whom nothing is said.
struct Listener {
    heard: Sender<Heard>,
    ip: IpAddr,
}

/// What a listener hears.
#[derive(Debug, Clone)]
pub enum Heard {
    /// A line of news, and how many facts had been taken in then.
    News { taken: u64, line: NewsLine },
    Question {
        number: QuestionNumber,
        file: FileName,
    },
    Knock {
        number: QuestionNumber,
        address: SocketAddr,
        info_hash: InfoHash,
    },
}

/// One who could be asked to knock at somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listening {
    pub id: ListenerId,
    /// Has the same address as who is knocked at.
    pub is_near: bool,
}

/// One listener. The number is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerId {
    /// `None`: not logged in.
    user: Option<UserId>,
    number: u64,
}

/// Being a listener. Ends when dropped.
pub struct Subscription {
    hub: Arc<Hub>,
    id: ListenerId,
    /// Disconnected when the hub has closed, or the listener was too slow.
    pub heard: Receiver<Heard>,
}

/// Why somebody cannot listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("You listen on {0} connections already: close one")]
pub struct TooMany(usize);

impl Hub {
    /// Without a user: to questions only.
    pub fn subscribe(
        self: &Arc<Hub>,
        user: Option<UserId>,
        ip: IpAddr,
    ) -> Result<Subscription, TooMany> {
        let (sender, receiver) = unbounded();
        let mut listeners = self.listeners.lock();
        let number = listeners.next;
        listeners.next += 1;
        let closed = listeners.closed;
        let of_user = listeners.by_user.entry(user).or_default();
        if user.is_some() && of_user.len() >= MAX_PER_USER {
            return Err(TooMany(MAX_PER_USER));
        }
        if !closed {
            let listener = Listener { heard: sender, ip };
            of_user.insert(number, listener);
        }
        Ok(Subscription {
            hub: self.clone(),
            id: ListenerId { user, number },
            heard: receiver,
        })
    }

    /// Every user who listens now.
    pub fn users(&self) -> Vec<UserId> {
        let listeners = self.listeners.lock();
        listeners.by_user.keys().filter_map(|user| *user).collect()
    }

    /// Everybody who listens now.
    pub fn everybody(&self) -> Vec<ListenerId> {
        let listeners = self.listeners.lock();
        let ids = listeners.by_user.iter().flat_map(|(&user, of_user)| {
            let numbers = of_user.keys().copied();
            numbers.map(move |number| ListenerId { user, number })
        });
        ids.collect()
    }

    /// Gives a line to a user's listeners. Who has no room for it is dropped.
    pub fn tell(&self, user: UserId, heard: &Heard) {
        let mut listeners = self.listeners.lock();
        if let Some(of_user) = listeners.by_user.get_mut(&Some(user)) {
            of_user.retain(|_, listener| listener.tell(heard.clone()));
        }
    }

    /// Asks each of them with its number. Returns the numbers of those who have gone. Who has no
    /// room for a question is dropped.
    pub fn ask(
        &self,
        file: &FileName,
        whom: &[(ListenerId, QuestionNumber)],
    ) -> Vec<QuestionNumber> {
        let mut listeners = self.listeners.lock();
        let mut tell = |id, number| {
            let file = file.clone();
            listeners.tell(id, Heard::Question { number, file })
        };
        let gone = whom.iter().filter(|(id, number)| !tell(*id, *number));
        gone.map(|(_, number)| *number).collect()
    }

    /// At most so many who could knock at `ip`, drawn by lot: those elsewhere come first. Who is on
    /// this machine can knock here only, and nobody else can.
    pub fn some_beside(&self, ip: IpAddr, most: usize) -> Vec<Listening> {
        let mut found: Vec<Listening> = {
            let listeners = self.listeners.lock();
            let all = listeners.by_user.iter().flat_map(|(&user, of_user)| {
                let of_user = of_user.iter();
                of_user.map(move |(&number, listener)| (ListenerId { user, number }, listener.ip))
            });
            let can = all.filter(|(_, from)| from.is_loopback() == ip.is_loopback());
            can.map(|(id, from)| Listening {
                id,
                is_near: from == ip,
            })
            .collect()
        };
        found.shuffle(&mut rand::rng());
        found.sort_by_key(|listening| listening.is_near);
        found.truncate(most);
        found
    }

    /// Asks one of them to knock. False if it has gone.
    pub fn knock(
        &self,
        whom: ListenerId,
        number: QuestionNumber,
        address: SocketAddr,
        info_hash: InfoHash,
    ) -> bool {
        let heard = Heard::Knock {
            number,
            address,
            info_hash,
        };
        self.listeners.lock().tell(whom, heard)
    }

    /// Ends every subscription, now and later.
    pub fn close(&self) {
        let mut listeners = self.listeners.lock();
        listeners.closed = true;
        listeners.by_user.clear();
    }
}

impl Listeners {
    /// False if it has gone. Who has no room is dropped.
    fn tell(&mut self, id: ListenerId, heard: Heard) -> bool {
        let Some(of_user) = self.by_user.get_mut(&id.user) else {
            return false;
        };
        let told = of_user
            .get(&id.number)
            .is_some_and(|listener| listener.tell(heard));
        if !told {
            of_user.remove(&id.number);
        }
        told
    }
}

impl Listener {
    /// False if it has no room, or has gone.
    fn tell(&self, heard: Heard) -> bool {
        // Nobody else sends meanwhile: it is done under the lock.
        self.heard.len() < QUEUE && self.heard.send(heard).is_ok()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut listeners = self.hub.listeners.lock();
        if let Some(of_user) = listeners.by_user.get_mut(&self.id.user) {
            of_user.remove(&self.id.number);
            if of_user.is_empty() {
                listeners.by_user.remove(&self.id.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::stamp::Stamp;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn who_is_too_slow_is_dropped_and_who_has_gone_is_forgotten() {
        let hub = Arc::new(Hub::default());
        let user = |time| UserId(Stamp { time, tracker: 1 });
        let some = |time| Some(user(time));
        let heard = Heard::News {
            taken: 1,
            line: NewsLine::Ping,
        };
        let slow = hub.subscribe(some(1), HERE).unwrap();
        let other = hub.subscribe(some(2), HERE).unwrap();
        for _ in 0..=QUEUE {
            hub.tell(user(1), &heard);
        }
        assert_eq!(slow.heard.iter().count(), QUEUE, "and then the end");
        drop((slow, other));
        assert_eq!(hub.users(), []);
        let many: Vec<_> = (0..MAX_PER_USER)
            .map(|_| hub.subscribe(some(1), HERE))
            .collect();
        assert!(hub.subscribe(some(1), HERE).is_err());
        hub.close();
        assert!(many.iter().flatten().all(|one| one.heard.recv().is_err()));
        assert!(hub.subscribe(some(3), HERE).unwrap().heard.recv().is_err());
    }

    #[test]
    fn everybody_is_asked_with_another_number() {
        let hub = Arc::new(Hub::default());
        let user = UserId(Stamp {
            time: 1,
            tracker: 1,
        });
        let users = [Some(user), Some(user), None, None, None];
        let listeners = users.map(|user| hub.subscribe(user, HERE).unwrap());
        let everybody = hub.everybody();
        assert_eq!((everybody.len(), hub.users()), (5, vec![user]));
        let whom: Vec<_> = everybody
            .into_iter()
            .zip((0..).map(QuestionNumber))
            .collect();
        let file: FileName = "f".parse().unwrap();
        let late = hub.subscribe(None, HERE).unwrap();
        assert_eq!(hub.ask(&file, &whom), []);
        assert!(late.heard.try_recv().is_err(), "it came too late");
        let mut asked: Vec<u64> = Vec::new();
        for listener in &listeners {
            let Ok(Heard::Question { number, .. }) = listener.heard.try_recv() else {
                panic!("it was not asked");
            };
            asked.push(number.0);
            assert!(listener.heard.try_recv().is_err(), "it was asked twice");
        }
        asked.sort_unstable();
        assert_eq!(asked, [0, 1, 2, 3, 4]);
        drop(listeners);
        let numbers: Vec<_> = whom.iter().map(|(_, number)| *number).collect();
        assert_eq!(hub.ask(&file, &whom), numbers, "all have gone");
    }

    #[test]
    fn who_knocks_is_elsewhere_if_possible() {
        let hub = Arc::new(Hub::default());
        let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
        let (asker, other) = (ip("10.0.0.1"), ip("10.0.0.2"));
        let mut listeners = [asker, asker, other, HERE].map(|ip| hub.subscribe(None, ip).unwrap());
        let near = |ip, most| -> Vec<bool> {
            let found = hub.some_beside(ip, most).into_iter();
            found.map(|listening| listening.is_near).collect()
        };
        assert_eq!(near(asker, 9), [false, true, true]);
        assert_eq!(near(asker, 2), [false, true]);
        assert_eq!(near(HERE, 9), [true]);
        assert_eq!(near(ip("10.0.0.3"), 2), [false, false]);
        let (number, info_hash) = (QuestionNumber(7), InfoHash([7; 20]));
        let address = SocketAddr::new(asker, 7600);
        let [found] = hub.some_beside(asker, 1)[..] else {
            panic!("the other");
        };
        assert!(hub.knock(found.id, number, address, info_hash));
        let heard = listeners[2].heard.try_recv();
        assert!(matches!(heard, Ok(Heard::Knock { .. })));
        listeners[2] = hub.subscribe(None, other).unwrap();
        assert!(!hub.knock(found.id, number, address, info_hash), "gone");
    }
}
