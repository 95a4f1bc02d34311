//! How much memory the pieces on their way may take, of all torrents of a peer together.
//!
//! A connection asks for the blocks of a piece only when there is a place for all of it. So a piece
//! job costs as much memory as the piece is long, from the moment that it is given.

/// How much a peer takes unless it is told otherwise, in bytes.
pub const DEFAULT_BUDGET: u64 = 64 * 1024 * 1024;

/// What is lent of how much.
///
/// Invariant: never more than `limit` is lent, unless it is to a single piece that is longer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// In bytes, as all of these.
    limit: u64,
    lent: u64,
}

impl Budget {
    pub fn new(limit: u64) -> Budget {
        Budget { limit, lent: 0 }
    }

    /// Where nobody counts.
    pub fn unlimited() -> Budget {
        Budget::new(u64::MAX)
    }

    pub fn limit(&self) -> u64 {
        self.limit
    }

    pub fn lent(&self) -> u64 {
        self.lent
    }

    /// Whether there is room for a piece of this size. A piece that is longer than all of the
    /// budget finds it when there is no other: else it could never be fetched.
    pub fn has_room(&self, size: u32) -> bool {
        self.lent == 0 || self.lent.saturating_add(size.into()) <= self.limit
    }

    pub fn lend(&mut self, size: u32) {
        debug_assert!(self.has_room(size), "{size} of {self:?}");
        self.lent += u64::from(size);
    }

    pub fn take_back(&mut self, size: u32) {
        self.lent -= u64::from(size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lent_stays_below_the_limit() {
        let mut budget = Budget::new(100);
        budget.lend(60);
        assert!(budget.has_room(40) && !budget.has_room(41));
        budget.lend(40);
        assert!(!budget.has_room(1));
        budget.take_back(60);
        assert!(budget.has_room(60) && !budget.has_room(61));
    }

    #[test]
    fn a_piece_longer_than_the_budget_is_fetched_alone() {
        let mut budget = Budget::new(100);
        assert!(budget.has_room(500));
        budget.lend(1);
        assert!(!budget.has_room(500));
        budget.take_back(1);
        budget.lend(500);
        assert!(!budget.has_room(1) && !budget.has_room(500));
    }
}
