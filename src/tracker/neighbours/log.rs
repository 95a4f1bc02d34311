//! The batches of facts that were committed here of late, numbered: what links have yet to tell.
//!
//! Pure: a value. A link that is too slow for it reads the file again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::registry::batch::Batch;

/// Batches that are kept for links that are slower than others.
const MAX_LOG: usize = 1024;

/// The last batches, up to number `head`.
#[derive(Default)]
pub struct Log {
    batches: VecDeque<Logged>,
    /// How many batches there have been.
    head: u64,
}

struct Logged {
    at: Instant,
    batch: Arc<Batch>,
}

impl Log {
    pub fn head(&self) -> u64 {
        self.head
    }

    pub fn push(&mut self, at: Instant, batch: Arc<Batch>) {
        self.head += 1;
        self.batches.push_back(Logged { at, batch });
    }

    /// Counts a batch that nobody can be told from here: every link has missed it.
    pub fn skip(&mut self) {
        self.head += 1;
        self.batches.clear();
    }

    /// The batches after number `told`, or `None` if some of them are here no longer.
    pub fn after(&self, told: u64) -> Option<impl Iterator<Item = &Batch>> {
        let place = self.place_after(told)?;
        Some(self.batches.range(place..).map(|logged| &*logged.batch))
    }

    /// When the first batch after number `told` was committed, if there is one.
    pub fn owed_since(&self, told: u64) -> Option<Instant> {
        Some(self.batches.get(self.place_after(told)?)?.at)
    }

    fn place_after(&self, told: u64) -> Option<usize> {
        let first = self.head - self.batches.len() as u64;
        let place = usize::try_from(told.checked_sub(first)?).ok()?;
        Some(place.min(self.batches.len()))
    }

    /// Forgets what every link has told, and what is too much.
    pub fn trim(&mut self, told_by_all: u64) {
        let needed = self.head.saturating_sub(told_by_all);
        let needed = usize::try_from(needed).unwrap_or(MAX_LOG).min(MAX_LOG);
        let surplus = self.batches.len().saturating_sub(needed);
        self.batches.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(batches: u64) -> Log {
        let mut log = Log::default();
        (0..batches).for_each(|_| log.push(Instant::now(), Arc::default()));
        log
    }

    fn count(log: &Log, told: u64) -> Option<usize> {
        log.after(told).map(Iterator::count)
    }

    #[test]
    fn what_was_not_told_is_told() {
        let log = log(3);
        let counts = [0, 1, 3].map(|told| count(&log, told));
        assert_eq!(counts, [Some(3), Some(2), Some(0)]);
        assert!(log.owed_since(2).is_some() && log.owed_since(3).is_none());
    }

    #[test]
    fn who_has_missed_something_hears_so() {
        let mut log = log(3);
        log.trim(2);
        assert_eq!([1, 2].map(|told| count(&log, told)), [None, Some(1)]);
        log.skip();
        assert_eq!(log.head(), 4);
        assert_eq!([3, 4].map(|told| count(&log, told)), [None, Some(0)]);
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let mut log = log(2 * MAX_LOG as u64);
        log.trim(0);
        assert_eq!(count(&log, log.head() - MAX_LOG as u64), Some(MAX_LOG));
        assert_eq!(count(&log, 0), None);
    }
}
