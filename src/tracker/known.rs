//! The facts as every thread of the tracker may read them: what is committed, and nothing else.

use parking_lot::RwLock;

use crate::control::request_id::RequestId;
use crate::registry::answered::Answers;
use crate::registry::change::Done;
use crate::registry::facts::Facts;
use crate::registry::versions::Versions;

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
    /// How far we have heard of each tracker.
    pub versions: Versions,
    /// What was answered to requests with a number.
    pub answers: Answers,
}

impl Known {
    pub(super) fn new(now: Now) -> Known {
        Known {
            now: RwLock::new(now),
        }
    }

    pub fn versions(&self) -> Versions {
        self.now.read().versions.clone()
    }

    pub fn answer(&self, id: &RequestId) -> Option<Done> {
        self.now.read().answers.get(id)
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
