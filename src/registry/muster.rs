//! Who takes part in a batch run, how far each client is, and which content a name stands for.
//!
//! The clients go on together: what follows a [`Step`] begins when all have come so far. A client
//! whose connection ends before the last one is lost, and the run with it: nobody waits for who
//! will not come.

use std::collections::BTreeMap;

use crate::control::muster::{Choice, Step};
use crate::control::names::FileName;
use crate::torrent::id::InfoHash;

/// The most offers of one client.
pub const MAX_OFFERS: usize = 1000;

/// The clients of a run have the ranks from 1 to `size`.
#[derive(Debug)]
pub struct Muster {
    size: u32,
    /// Those who have joined, with the last step that each has come to.
    clients: BTreeMap<u32, Option<Step>>,
    /// Who owns what, by name, then by rank.
    offers: BTreeMap<FileName, BTreeMap<u32, InfoHash>>,
    /// How many offers each client has made.
    offered: BTreeMap<u32, usize>,
    lost: Option<u32>,
}

/// Whether all have come to a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Met,
    Waits,
    /// They never will: this client has gone.
    Lost(u32),
}

/// Why a client cannot join. For the asker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    #[error("rank {rank} is not in this run: its clients have the ranks 1 to {size}")]
    NoSuchRank { rank: u32, size: u32 },
    #[error("a client with rank {0} is in this run already")]
    Taken(u32),
}

impl Muster {
    pub fn new(size: u32) -> Muster {
        Muster {
            size,
            clients: BTreeMap::new(),
            offers: BTreeMap::new(),
            offered: BTreeMap::new(),
            lost: None,
        }
    }

    pub fn join(&mut self, rank: u32) -> Result<(), JoinError> {
        let size = self.size;
        if !(1..=size).contains(&rank) {
            return Err(JoinError::NoSuchRank { rank, size });
        }
        if self.clients.contains_key(&rank) {
            return Err(JoinError::Taken(rank));
        }
        self.clients.insert(rank, None);
        Ok(())
    }

    pub fn has_joined(&self, rank: u32) -> bool {
        self.clients.contains_key(&rank)
    }

    pub fn have_all_joined(&self) -> bool {
        self.clients.len() == self.size as usize
    }

    /// A client owns this. It counts only until the choice is made. False if it has made too many
    /// offers.
    pub fn offer(&mut self, rank: u32, name: FileName, info_hash: InfoHash) -> bool {
        let offered = self.offered.entry(rank).or_default();
        if *offered >= MAX_OFFERS {
            return false;
        }
        *offered += 1;
        if self.standing(Step::Offered) != Standing::Met {
            self.offers.entry(name).or_default().insert(rank, info_hash);
        }
        true
    }

    /// Whether a name stands for this content, as far as offers are known.
    pub fn is_chosen(&self, name: &FileName, info_hash: InfoHash) -> bool {
        let owners = self.offers.get(name);
        let first = owners.and_then(|owners| owners.first_key_value());
        first.is_some_and(|(_, chosen)| *chosen == info_hash)
    }

    /// A client has come to a step.
    pub fn reach(&mut self, rank: u32, step: Step) {
        if let Some(reached) = self.clients.get_mut(&rank) {
            *reached = (*reached).max(Some(step));
        }
    }

    /// A client's connection has ended.
    pub fn leave(&mut self, rank: u32) {
        if self.standing(Step::Finished) != Standing::Met {
            self.lost.get_or_insert(rank);
        }
    }

    pub fn standing(&self, step: Step) -> Standing {
        if let Some(rank) = self.lost {
            Standing::Lost(rank)
        } else if self.missing(step).next().is_none() {
            Standing::Met
        } else {
            Standing::Waits
        }
    }

    /// Who has not come to a step.
    pub fn missing(&self, step: Step) -> impl Iterator<Item = u32> + '_ {
        let is_there = move |rank: &u32| self.clients.get(rank) >= Some(&Some(step));
        (1..=self.size).filter(move |rank| !is_there(rank))
    }

    /// What each name stands for: if contents differ, that of the client with the lowest rank.
    pub fn choices(&self) -> Vec<Choice> {
        let first = |(name, offers): (&FileName, &BTreeMap<u32, InfoHash>)| {
            let (&rank, &info_hash) = offers.first_key_value()?;
            let name = name.clone();
            Some(Choice {
                name,
                info_hash,
                rank,
            })
        };
        self.offers.iter().filter_map(first).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn muster(size: u32) -> Muster {
        let mut muster = Muster::new(size);
        for rank in 1..=size {
            muster.join(rank).unwrap();
        }
        muster
    }

    #[test]
    fn nobody_goes_on_before_all_have_come() {
        let mut muster = Muster::new(2);
        muster.join(1).unwrap();
        muster.reach(1, Step::Offered);
        assert_eq!(muster.standing(Step::Offered), Standing::Waits);
        assert_eq!(muster.missing(Step::Offered).collect::<Vec<_>>(), [2]);
        muster.join(2).unwrap();
        assert_eq!(muster.standing(Step::Offered), Standing::Waits);
        muster.reach(2, Step::Offered);
        assert_eq!(muster.standing(Step::Offered), Standing::Met);
        assert_eq!(muster.standing(Step::Shared), Standing::Waits);
    }

    #[test]
    fn ranks_are_those_of_the_run_and_each_comes_once() {
        let mut muster = Muster::new(2);
        for rank in [0, 3] {
            let none = JoinError::NoSuchRank { rank, size: 2 };
            assert_eq!(muster.join(rank), Err(none));
        }
        muster.join(2).unwrap();
        assert_eq!(muster.join(2), Err(JoinError::Taken(2)));
    }

    #[test]
    fn who_goes_before_the_end_ends_the_run() {
        let mut run = muster(2);
        run.leave(2);
        assert_eq!(run.standing(Step::Offered), Standing::Lost(2));
        let mut run = muster(2);
        for rank in 1..=2 {
            run.reach(rank, Step::Finished);
        }
        run.leave(2);
        assert_eq!(run.standing(Step::Finished), Standing::Met);
    }

    #[test]
    fn a_client_that_offers_for_ever_fills_the_memory() {
        let mut run = muster(2);
        let mut offer = |rank, nth: usize| {
            let name = format!("file{nth}").parse().unwrap();
            run.offer(rank, name, InfoHash([1; 20]))
        };
        assert!((0..MAX_OFFERS).all(|nth| offer(1, nth)));
        assert!(!offer(1, MAX_OFFERS));
        assert!(offer(2, 0));
    }

    #[test]
    fn strangers_share_a_name_first() {
        let mut run = muster(2);
        let name: FileName = "file".parse().unwrap();
        let (theirs, chosen) = (InfoHash([1; 20]), InfoHash([2; 20]));
        assert!(!run.is_chosen(&name, theirs));
        run.offer(2, name.clone(), chosen);
        assert!(!run.is_chosen(&name, theirs));
        assert!(run.is_chosen(&name, chosen));
    }

    #[test]
    fn the_lowest_rank_decides_whoever_came_first() {
        let name: FileName = "file".parse().unwrap();
        let (mine, theirs) = (InfoHash([1; 20]), InfoHash([2; 20]));
        for order in [[(1, mine), (3, theirs)], [(3, theirs), (1, mine)]] {
            let mut run = muster(3);
            for (rank, info_hash) in order {
                run.offer(rank, name.clone(), info_hash);
            }
            (1..=3).for_each(|rank| run.reach(rank, Step::Offered));
            // Too late to change anything.
            run.offer(1, name.clone(), theirs);
            let choice = Choice {
                name: name.clone(),
                info_hash: mine,
                rank: 1,
            };
            assert_eq!(run.choices(), [choice]);
        }
    }
}
