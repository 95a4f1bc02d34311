//! The memory of all pieces on their way: counted against the budget, and used again.
//!
//! The engine lends room for a piece with each piece job; whichever thread ends the job gives it
//! back. Only the engine borrows, so room that it has seen stays there until it does. A torrent that
//! finds none waits in line, and the engine is told when something has come back.
//!
//! Buffers are kept for the next piece of their size: taking them from the system and giving them
//! back, in many threads, would cost time and leave gaps between them.

use std::collections::VecDeque;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use crate::torrent::budget::Budget;
use crate::torrent::id::InfoHash;
use crate::torrent::loan::{Lender, Loan};

pub struct Memory {
    ledger: Mutex<Ledger>,
    /// Has one place: what was said and not heard yet need not be said again.
    freed: Sender<()>,
}

/// Invariant: `used` is the bytes of the buffers that loans have, so at most what is lent; with
/// those of `kept` they are at most the limit, or one piece that is longer.
struct Ledger {
    budget: Budget,
    used: u64,
    kept: Vec<Vec<u8>>,
    /// The torrents that wait, the next one first, and how much each needs.
    waiting: VecDeque<(InfoHash, u32)>,
}

impl Memory {
    /// Of at most `limit` bytes. The engine hears on the channel that some have come back for which
    /// somebody waits.
    pub fn new(limit: u64) -> (Arc<Memory>, Receiver<()>) {
        let (freed, freed_again) = bounded(1);
        let ledger = Ledger {
            budget: Budget::new(limit),
            used: 0,
            kept: Vec::new(),
            waiting: VecDeque::new(),
        };
        let memory = Memory {
            ledger: Mutex::new(ledger),
            freed,
        };
        (Arc::new(memory), freed_again)
    }

    /// How much may be lent, in bytes.
    pub fn limit(&self) -> u64 {
        self.ledger.lock().budget.limit()
    }

    /// What is lent of how much, and whether any torrent but this one waits for some.
    pub fn budget(&self, asking: InfoHash) -> (Budget, bool) {
        let ledger = self.ledger.lock();
        let mut waiting = ledger.waiting.iter();
        let others_wait = waiting.any(|(info_hash, _)| *info_hash != asking);
        (ledger.budget, others_wait)
    }

    /// Room for a piece of this size, which the budget must have.
    pub fn lend(self: &Arc<Memory>, size: u32) -> Loan {
        self.ledger.lock().budget.lend(size);
        Loan::new(size, self.clone())
    }

    /// Whether a torrent waits for room, and for how much. It keeps its place in the line.
    pub fn stand_in_line(&self, info_hash: InfoHash, needs: Option<u32>) {
        let mut ledger = self.ledger.lock();
        let place = ledger.waiting.iter().position(|(who, _)| *who == info_hash);
        match (place, needs) {
            (None, Some(needs)) => ledger.waiting.push_back((info_hash, needs)),
            (Some(place), None) => drop(ledger.waiting.remove(place)),
            (Some(_), Some(_)) | (None, None) => {}
        }
        // It may have come back since the torrent was told that there is none.
        self.tell_if_there_is_room(&ledger);
    }

    /// The torrent that is next, if there is room for what it needs. It leaves the line.
    pub fn next_in_line(&self) -> Option<InfoHash> {
        let mut ledger = self.ledger.lock();
        let (info_hash, needs) = *ledger.waiting.front()?;
        if !ledger.budget.has_room(needs) {
            return None;
        }
        ledger.waiting.pop_front();
        Some(info_hash)
    }

    fn tell_if_there_is_room(&self, ledger: &Ledger) {
        if let Some((_, needs)) = ledger.waiting.front()
            && ledger.budget.has_room(*needs)
        {
            // If it is full the engine will look anyway.
            let _ = self.freed.try_send(());
        }
    }
}

impl Lender for Memory {
    fn buffer(&self, size: u32) -> Vec<u8> {
        let superfluous = {
            let mut ledger = self.ledger.lock();
            ledger.used += u64::from(size);
            let fits = |buffer: &Vec<u8>| buffer.len() == size as usize;
            // The last one may still be in the processor's cache.
            if let Some(last) = ledger.kept.iter().rposition(fits) {
                return ledger.kept.remove(last);
            }
            ledger.make_room()
        };
        drop(superfluous);
        vec![0; size as usize]
    }

    fn take_back(&self, size: u32, buffer: Vec<u8>) {
        let superfluous = {
            let mut ledger = self.ledger.lock();
            ledger.budget.take_back(size);
            if !buffer.is_empty() {
                ledger.used -= u64::from(size);
                ledger.kept.push(buffer);
            }
            self.tell_if_there_is_room(&ledger);
            if ledger.budget.lent() == 0 {
                // Nothing is fetched: others can use it.
                std::mem::take(&mut ledger.kept)
            } else {
                Vec::new()
            }
        };
        // To free large buffers takes the system a while: not under the lock.
        drop(superfluous);
    }
}

impl Ledger {
    /// Takes out the buffers that cannot be kept any more.
    fn make_room(&mut self) -> Vec<Vec<u8>> {
        let mut sum = self.used;
        let keep = self.kept.iter().rev().take_while(|buffer| {
            sum += buffer.len() as u64;
            sum <= self.budget.limit()
        });
        let superfluous = self.kept.len() - keep.count();
        self.kept.drain(..superfluous).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: InfoHash = InfoHash([1; 20]);
    const SECOND: InfoHash = InfoHash([2; 20]);

    fn use_it(mut loan: Loan) -> Loan {
        loan.bytes_mut();
        loan
    }

    fn kept(memory: &Memory) -> Vec<usize> {
        memory.ledger.lock().kept.iter().map(Vec::len).collect()
    }

    #[test]
    fn a_buffer_is_kept_for_the_next_piece_of_its_size() {
        let (memory, _freed) = Memory::new(100);
        let (_reserve, one) = (memory.lend(30), use_it(memory.lend(30)));
        let address = one.bytes().as_ptr();
        drop(one);
        assert_eq!(kept(&memory), [30]);
        let again = use_it(memory.lend(30));
        assert_eq!(again.bytes().as_ptr(), address);
        assert_eq!((kept(&memory), memory.ledger.lock().used), (vec![], 30));
    }

    #[test]
    fn what_is_kept_makes_room_for_another_size() {
        let (memory, _freed) = Memory::new(100);
        let reserve = memory.lend(10);
        let loans = [30, 20, 40].map(|size| use_it(memory.lend(size)));
        drop(loans);
        assert_eq!(kept(&memory), [30, 20, 40]);
        let other = use_it(memory.lend(35));
        assert_eq!(kept(&memory), [20, 40], "the last ones stay: 95 in all");
        drop(other);
        drop(reserve);
        assert_eq!(kept(&memory), [0; 0], "nothing is fetched any more");
    }

    #[test]
    fn a_loan_that_nobody_used_goes_back_too() {
        let (memory, _freed) = Memory::new(100);
        drop(memory.lend(70));
        assert_eq!(memory.budget(FIRST), (Budget::new(100), false));
        assert_eq!(kept(&memory), [0; 0]);
    }

    #[test]
    fn the_engine_hears_of_room_only_if_somebody_waits_for_it() {
        let (memory, freed) = Memory::new(100);
        let [one, two, three] = [40, 20, 40].map(|size| memory.lend(size));
        drop(one);
        assert!(freed.try_recv().is_err(), "nobody waits");
        memory.stand_in_line(FIRST, Some(60));
        assert!(freed.try_recv().is_err(), "it is too little");
        assert_eq!(memory.next_in_line(), None);
        drop(two);
        assert!(freed.try_recv().is_ok());
        assert!(memory.budget(SECOND).1 && !memory.budget(FIRST).1);
        assert_eq!(memory.next_in_line(), Some(FIRST));
        assert_eq!(memory.next_in_line(), None, "it has left the line");
        drop(three);
        assert!(freed.try_recv().is_err(), "nobody waits any more");
    }

    #[test]
    fn room_that_came_back_before_the_torrent_stood_in_line_is_heard_of() {
        let (memory, freed) = Memory::new(100);
        drop(memory.lend(100));
        memory.stand_in_line(FIRST, Some(60));
        assert!(freed.try_recv().is_ok());
    }

    /// Who needs little does not overtake who needs much: that one would wait for ever.
    #[test]
    fn torrents_are_served_in_the_order_of_the_line() {
        let (memory, freed) = Memory::new(100);
        let [one, two] = [50, 50].map(|size| memory.lend(size));
        memory.stand_in_line(FIRST, Some(100));
        memory.stand_in_line(SECOND, Some(10));
        memory.stand_in_line(FIRST, Some(100));
        drop(one);
        assert!(freed.try_recv().is_err());
        assert_eq!(memory.next_in_line(), None);
        drop(two);
        assert_eq!(memory.next_in_line(), Some(FIRST));
        assert_eq!(memory.next_in_line(), Some(SECOND));
    }
}
