//! Who listens to news, and how news come to them.
//!
//! A listener has a bounded channel. One that does not keep up is dropped, and may subscribe
//! again from where it was.

use std::collections::HashMap;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use crate::control::news::NewsLine;
use crate::control::stamp::UserId;

/// News that may wait for a listener: more than a class makes while a line is written.
const QUEUE: usize = 256;
/// Connections of one user that may listen at once.
const MAX_PER_USER: usize = 16;

#[derive(Default)]
pub struct Hub {
    listeners: Mutex<Listeners>,
}

#[derive(Default)]
struct Listeners {
    by_user: HashMap<UserId, Vec<Listener>>,
    next: u64,
    closed: bool,
}

struct Listener {
    number: u64,
    sender: Sender<Heard>,
}

/// A line, and how many facts had been taken in then.
#[derive(Debug, Clone)]
pub struct Heard {
    pub taken: u64,
    pub line: NewsLine,
}

/// Being a listener. Ends when dropped.
pub struct Subscription {
    hub: Arc<Hub>,
    user: UserId,
    number: u64,
    /// Disconnected when the hub has closed, or the listener was too slow.
    pub heard: Receiver<Heard>,
}

/// Why somebody cannot listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("You listen on {0} connections already: close one")]
pub struct TooMany(usize);

impl Hub {
    pub fn subscribe(self: &Arc<Hub>, user: UserId) -> Result<Subscription, TooMany> {
        let (sender, heard) = bounded(QUEUE);
        let mut listeners = self.listeners.lock();
        let number = listeners.next;
        listeners.next += 1;
        let closed = listeners.closed;
        let of_user = listeners.by_user.entry(user).or_default();
        if of_user.len() >= MAX_PER_USER {
            return Err(TooMany(MAX_PER_USER));
        }
        if !closed {
            of_user.push(Listener { number, sender });
        }
        Ok(Subscription {
            hub: self.clone(),
            user,
            number,
            heard,
        })
    }

    /// Everybody who listens now.
    pub fn users(&self) -> Vec<UserId> {
        self.listeners.lock().by_user.keys().copied().collect()
    }

    /// Gives a line to a user's listeners. Who has no room for it is dropped.
    pub fn tell(&self, user: UserId, heard: &Heard) {
        let mut listeners = self.listeners.lock();
        if let Some(of_user) = listeners.by_user.get_mut(&user) {
            of_user.retain(|listener| listener.sender.try_send(heard.clone()).is_ok());
        }
    }

    /// Ends every subscription, now and later.
    pub fn close(&self) {
        let mut listeners = self.listeners.lock();
        listeners.closed = true;
        listeners.by_user.clear();
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut listeners = self.hub.listeners.lock();
        if let Some(of_user) = listeners.by_user.get_mut(&self.user) {
            of_user.retain(|listener| listener.number != self.number);
            if of_user.is_empty() {
                listeners.by_user.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::stamp::Stamp;

    #[test]
    fn who_is_too_slow_is_dropped_and_who_has_gone_is_forgotten() {
        let hub = Arc::new(Hub::default());
        let user = |time| UserId(Stamp { time, tracker: 1 });
        let heard = Heard {
            taken: 1,
            line: NewsLine::Ping,
        };
        let slow = hub.subscribe(user(1)).unwrap();
        let other = hub.subscribe(user(2)).unwrap();
        for _ in 0..=QUEUE {
            hub.tell(user(1), &heard);
        }
        assert_eq!(slow.heard.iter().count(), QUEUE, "and then the end");
        drop((slow, other));
        assert_eq!(hub.users(), []);
        let many: Vec<_> = (0..MAX_PER_USER).map(|_| hub.subscribe(user(1))).collect();
        assert!(hub.subscribe(user(1)).is_err());
        hub.close();
        assert!(many.iter().flatten().all(|one| one.heard.recv().is_err()));
        assert!(hub.subscribe(user(3)).unwrap().heard.recv().is_err());
    }
}
