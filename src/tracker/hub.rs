//! Who listens, and how news and questions come to them: news to users, questions to all.
//!
//! What waits for a listener is bounded. One that does not keep up is dropped, and may subscribe
//! again from where it was.

use std::collections::HashMap;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};
use parking_lot::Mutex;

use crate::control::names::FileName;
use crate::control::news::NewsLine;
use crate::control::question::QuestionNumber;
use crate::control::stamp::UserId;

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
struct Listener(Sender<Heard>);

/// What a listener hears.
#[derive(Debug, Clone)]
pub enum Heard {
    /// A line of news, and how many facts had been taken in then.
    News { taken: u64, line: NewsLine },
    Question {
        number: QuestionNumber,
        file: FileName,
    },
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
    pub fn subscribe(self: &Arc<Hub>, user: Option<UserId>) -> Result<Subscription, TooMany> {
        let (sender, heard) = unbounded();
        let mut listeners = self.listeners.lock();
        let number = listeners.next;
        listeners.next += 1;
        let closed = listeners.closed;
        let of_user = listeners.by_user.entry(user).or_default();
        if user.is_some() && of_user.len() >= MAX_PER_USER {
            return Err(TooMany(MAX_PER_USER));
        }
        if !closed {
            of_user.insert(number, Listener(sender));
        }
        Ok(Subscription {
            hub: self.clone(),
            id: ListenerId { user, number },
            heard,
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
        let mut tell = |id: ListenerId, number| {
            let of_user = listeners.by_user.get_mut(&id.user)?;
            let file = file.clone();
            let told = of_user
                .get(&id.number)?
                .tell(Heard::Question { number, file });
            if !told {
                of_user.remove(&id.number);
            }
            told.then_some(())
        };
        let gone = whom
            .iter()
            .filter(|(id, number)| tell(*id, *number).is_none());
        gone.map(|(_, number)| *number).collect()
    }

    /// Ends every subscription, now and later.
    pub fn close(&self) {
        let mut listeners = self.listeners.lock();
        listeners.closed = true;
        listeners.by_user.clear();
    }
}

impl Listener {
    /// False if it has no room, or has gone.
    fn tell(&self, heard: Heard) -> bool {
        // Nobody else sends meanwhile: it is done under the lock.
        self.0.len() < QUEUE && self.0.send(heard).is_ok()
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

    #[test]
    fn who_is_too_slow_is_dropped_and_who_has_gone_is_forgotten() {
        let hub = Arc::new(Hub::default());
        let user = |time| UserId(Stamp { time, tracker: 1 });
        let some = |time| Some(user(time));
        let heard = Heard::News {
            taken: 1,
            line: NewsLine::Ping,
        };
        let slow = hub.subscribe(some(1)).unwrap();
        let other = hub.subscribe(some(2)).unwrap();
        for _ in 0..=QUEUE {
            hub.tell(user(1), &heard);
        }
        assert_eq!(slow.heard.iter().count(), QUEUE, "and then the end");
        drop((slow, other));
        assert_eq!(hub.users(), []);
        let many: Vec<_> = (0..MAX_PER_USER).map(|_| hub.subscribe(some(1))).collect();
        assert!(hub.subscribe(some(1)).is_err());
        hub.close();
        assert!(many.iter().flatten().all(|one| one.heard.recv().is_err()));
        assert!(hub.subscribe(some(3)).unwrap().heard.recv().is_err());
    }

    #[test]
    fn everybody_is_asked_with_another_number() {
        let hub = Arc::new(Hub::default());
        let user = UserId(Stamp {
            time: 1,
            tracker: 1,
        });
        let users = [Some(user), Some(user), None, None, None];
        let listeners = users.map(|user| hub.subscribe(user).unwrap());
        let everybody = hub.everybody();
        assert_eq!((everybody.len(), hub.users()), (5, vec![user]));
        let whom: Vec<_> = everybody
            .into_iter()
            .zip((0..).map(QuestionNumber))
            .collect();
        let file: FileName = "f".parse().unwrap();
        let late = hub.subscribe(None).unwrap();
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
}
