//! Knocks at our own port that we have asked for: each has an info hash that was drawn for it, so it
//! is known when it comes.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::torrent::id::InfoHash;

/// What is expected, and how many of it have come.
#[derive(Default)]
pub struct ExpectedKnocks {
    came: Mutex<HashMap<InfoHash, usize>>,
}

/// Knocks for one info hash. Not expected any more when dropped.
pub struct Expected {
    all: Arc<ExpectedKnocks>,
    pub info_hash: InfoHash,
}

impl ExpectedKnocks {
    pub fn expect(self: &Arc<Self>) -> Expected {
        let info_hash = InfoHash(rand::random());
        self.came.lock().insert(info_hash, 0);
        Expected {
            all: self.clone(),
            info_hash,
        }
    }

    /// Somebody has said the handshake for this info hash. False if it is no knock of ours.
    pub fn came(&self, info_hash: &InfoHash) -> bool {
        let mut came = self.came.lock();
        let count = came.get_mut(info_hash);
        count.map(|count| *count += 1).is_some()
    }

    /// Whether we have asked for it ourselves.
    pub fn is_expected(&self, info_hash: &InfoHash) -> bool {
        self.came.lock().contains_key(info_hash)
    }
}

impl Expected {
    /// How many have come.
    pub fn count(&self) -> usize {
        let came = self.all.came.lock();
        came.get(&self.info_hash).copied().unwrap_or(0)
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.all.came.lock().remove(&self.info_hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_asked_for_is_a_knock() {
        let all = Arc::<ExpectedKnocks>::default();
        let (one, two) = (all.expect(), all.expect());
        assert!(all.came(&one.info_hash) && all.came(&one.info_hash));
        assert!(!all.came(&InfoHash([7; 20])));
        assert_eq!((one.count(), two.count()), (2, 0));
        let over = one.info_hash;
        drop(one);
        assert!(!all.is_expected(&over) && !all.came(&over));
        assert!(all.is_expected(&two.info_hash));
    }
}
