//! One request to end, seen by everybody who holds a copy of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Asked for once, never taken back. Copies see the same request.
///
/// A [`child`](Stop::child) stops with its parent and can be stopped alone: a connection ends by
/// itself, and with its program.
#[derive(Clone, Default, Debug)]
pub struct Stop {
    own: Arc<Flag>,
    parent: Option<Arc<Flag>>,
}

#[derive(Default, Debug)]
struct Flag {
    requested: AtomicBool,
    sleepers: Mutex<()>,
    woken: Condvar,
}

/// How often a sleeping child looks at its parent's request.
const PARENT_POLL: Duration = Duration::from_millis(100);

impl Stop {
    pub fn new() -> Stop {
        Stop::default()
    }

    /// A request that is also made by this one. Children of children see their parent only.
    pub fn child(&self) -> Stop {
        Stop {
            own: Arc::default(),
            parent: Some(self.own.clone()),
        }
    }

    pub fn request(&self) {
        let _sleepers = self.own.sleepers.lock();
        self.own.requested.store(true, Ordering::SeqCst);
        self.own.woken.notify_all();
    }

    pub fn is_requested(&self) -> bool {
        let requested = |flag: &Flag| flag.requested.load(Ordering::SeqCst);
        requested(&self.own) || self.parent.as_deref().is_some_and(requested)
    }

    /// Sleeps, but no longer than until a stop is requested. True if it is.
    pub fn sleep(&self, time: Duration) -> bool {
        let mut left = time;
        let mut sleepers = self.own.sleepers.lock();
        while !self.is_requested() && !left.is_zero() {
            let nap = if self.parent.is_some() {
                left.min(PARENT_POLL)
            } else {
                left
            };
            self.own.woken.wait_for(&mut sleepers, nap);
            left -= nap;
        }
        self.is_requested()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_stops_with_its_parent_and_alone() {
        let parent = Stop::new();
        let (one, two) = (parent.child(), parent.child());
        one.request();
        assert!(one.is_requested() && !two.is_requested() && !parent.is_requested());
        parent.request();
        assert!(two.is_requested());
        assert!(two.sleep(Duration::from_secs(3600)));
    }
}
