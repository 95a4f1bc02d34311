//! The facts as every thread of the tracker may read them: what is committed, and nothing else.

use parking_lot::RwLock;

use crate::registry::facts::Facts;

/// Written by the thread `store` only.
#[derive(Default)]
pub struct Known {
    now: RwLock<Now>,
}

/// How it stands.
#[derive(Default)]
pub struct Now {
    pub facts: Facts,
    /// How many facts have been taken in since the start: what is told at once (`hub`) is told
    /// apart from what was told before.
    pub taken: u64,
}

impl Known {
    pub fn new(facts: Facts) -> Known {
        Known {
            now: RwLock::new(Now { facts, taken: 0 }),
        }
    }

    /// Looks at the facts. Nothing slow may happen in `look`, nor may it take another lock.
    pub fn look<T>(&self, look: impl FnOnce(&Facts) -> T) -> T {
        look(&self.now.read().facts)
    }

    /// The same, and how many facts had been taken in.
    pub fn look_now<T>(&self, look: impl FnOnce(&Now) -> T) -> T {
        look(&self.now.read())
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Now) -> T) -> T {
        change(&mut self.now.write())
    }
}
