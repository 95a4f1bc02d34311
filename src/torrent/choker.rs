//! Whom to serve: tit for tat with one optimistic slot (BEP 3, "choking").
//!
//! While there are slots for everybody who is interested, everybody is served. When there are
//! not: a downloader serves those who give most, a seed those who have got least from it, and
//! one slot goes to somebody at random, so that newcomers get a first piece to trade with.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::id::ConnId;

/// How many peers are served at once unless the user says otherwise.
pub const DEFAULT_SLOTS: NonZeroUsize = NonZeroUsize::new(8).unwrap();
/// How often the slots are given out anew. Shorter would not let TCP reach its speed (BEP 3).
pub const ROUND: Duration = Duration::from_secs(10);
/// How many rounds the optimistic slot stays with one peer.
const OPTIMISTIC_ROUNDS: u32 = 3;

/// What part of its slots a seed keeps that is not needed much: one in so many.
const THRIFT: usize = 4;

/// In what part we serve.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// We serve those who give most.
    Downloader,
    /// We serve those who have got least from us.
    Seed,
    /// A seed whose downloaders hold a full copy among them: they have each other, and fewer of
    /// them are served if there are too many for all.
    ThriftySeed,
}

/// What the choker knows of one connection whose peer is interested.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    pub conn: ConnId,
    pub unchoked: bool,
    /// What it gave us lately, bytes per second.
    pub rate_from: u64,
    /// What it got from us on this connection, bytes.
    pub sent_to: u64,
}

pub struct Choker {
    slots: usize,
    next_round: Option<Instant>,
    rounds: u32,
    optimistic: Option<ConnId>,
    rng: StdRng,
}

impl Choker {
    pub fn new(slots: usize, seed: u64) -> Choker {
        let rng = StdRng::seed_from_u64(seed);
        Choker {
            slots: slots.max(1),
            next_round: None,
            rounds: 0,
            optimistic: None,
            rng,
        }
    }

    /// Who shall be served from now on, among the interested. Between rounds nobody who is
    /// served loses the slot; free slots are filled at any time.
    pub fn choose(&mut self, now: Instant, role: Role, interested: &[Candidate]) -> Vec<ConnId> {
        let round = self.next_round.is_none_or(|at| now >= at);
        if round {
            self.next_round = Some(now + ROUND);
            self.rounds += 1;
        }
        if interested.len() <= self.slots {
            return interested.iter().map(|candidate| candidate.conn).collect();
        }
        let seeding = role != Role::Downloader;
        let slots = match role {
            Role::ThriftySeed => self.slots.div_ceil(THRIFT),
            Role::Downloader | Role::Seed => self.slots,
        };
        let mut ranked: Vec<(bool, u64, u32, ConnId)> = interested
            .iter()
            .map(|candidate| {
                let keeps = candidate.unchoked && !round;
                let merit = if seeding {
                    u64::MAX - candidate.sent_to
                } else {
                    candidate.rate_from
                };
                (keeps, merit, self.rng.random(), candidate.conn)
            })
            .collect();
        ranked.sort_unstable_by(|a, b| b.cmp(a));
        let order: Vec<ConnId> = ranked.into_iter().map(|(_, _, _, conn)| conn).collect();
        // The last slot is the optimistic one.
        let regular = if seeding { slots } else { slots - 1 };
        let (chosen, rest) = order.split_at(regular);
        let mut chosen = chosen.to_vec();
        if !seeding {
            chosen.push(self.optimist(round, rest));
        }
        chosen
    }

    /// `rest` is never empty: there are more interested than slots.
    fn optimist(&mut self, round: bool, rest: &[ConnId]) -> ConnId {
        let rotate = round && self.rounds.is_multiple_of(OPTIMISTIC_ROUNDS);
        let stays = self
            .optimistic
            .filter(|conn| !rotate && rest.contains(conn));
        let others: Vec<ConnId> = rest
            .iter()
            .copied()
            .filter(|conn| Some(*conn) != self.optimistic)
            .collect();
        let drawn = others.choose(&mut self.rng).or(rest.first()).copied();
        self.optimistic = stays.or(drawn);
        self.optimistic.unwrap_or(rest[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(conn: u64, rate_from: u64, sent_to: u64) -> Candidate {
        Candidate {
            conn: ConnId(conn),
            unchoked: false,
            rate_from,
            sent_to,
        }
    }

    fn chosen(choker: &mut Choker, now: Instant, role: Role, all: &mut [Candidate]) -> Vec<u64> {
        let conns = choker.choose(now, role, all);
        for candidate in all.iter_mut() {
            candidate.unchoked = conns.contains(&candidate.conn);
        }
        let mut numbers: Vec<u64> = conns.iter().map(|conn| conn.0).collect();
        numbers.sort_unstable();
        numbers
    }

    #[test]
    fn everybody_is_served_while_slots_are_free() {
        let mut choker = Choker::new(3, 1);
        let mut all = [candidate(1, 0, 0), candidate(2, 0, 0), candidate(3, 0, 0)];
        assert_eq!(
            chosen(&mut choker, Instant::now(), Role::Downloader, &mut all),
            [1, 2, 3]
        );
    }

    #[test]
    fn tit_for_tat_serves_those_who_give_most_and_one_more() {
        let now = Instant::now();
        let mut optimists = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let mut choker = Choker::new(3, seed);
            let mut all: Vec<_> = (0..10).map(|i| candidate(i, i * 100, 0)).collect();
            let got = chosen(&mut choker, now, Role::Downloader, &mut all);
            assert_eq!(got.len(), 3);
            assert_eq!(got[1..], [8, 9]);
            optimists.insert(got[0]);
        }
        assert!(
            optimists.len() > 5,
            "the optimistic slot is random: {optimists:?}"
        );
    }

    #[test]
    fn slots_change_hands_only_at_a_round() {
        let start = Instant::now();
        let mut choker = Choker::new(2, 1);
        let mut all: Vec<_> = (0..4).map(|i| candidate(i, 100 - i, 0)).collect();
        let first = chosen(&mut choker, start, Role::Downloader, &mut all);
        all[3].rate_from = 1000;
        let soon = start + Duration::from_secs(5);
        assert_eq!(chosen(&mut choker, soon, Role::Downloader, &mut all), first);
        let later = start + ROUND;
        assert!(chosen(&mut choker, later, Role::Downloader, &mut all).contains(&3));
    }

    #[test]
    fn a_seed_serves_those_who_got_least() {
        let mut choker = Choker::new(2, 1);
        let mut all: Vec<_> = (0..4).map(|i| candidate(i, 0, i * 1000)).collect();
        assert_eq!(
            chosen(&mut choker, Instant::now(), Role::Seed, &mut all),
            [0, 1]
        );
    }

    #[test]
    fn the_optimistic_slot_goes_round() {
        let start = Instant::now();
        let mut choker = Choker::new(2, 5);
        let mut all: Vec<_> = (0..6).map(|i| candidate(i, i, 0)).collect();
        let mut seen = std::collections::BTreeSet::new();
        for round in 0..60 {
            seen.insert(
                chosen(
                    &mut choker,
                    start + ROUND * round,
                    Role::Downloader,
                    &mut all,
                )[0],
            );
        }
        assert_eq!(seen.len(), 5, "{seen:?}");
    }

    #[test]
    fn a_thrifty_seed_serves_fewer_when_there_are_too_many() {
        let now = Instant::now();
        let mut choker = Choker::new(8, 1);
        let mut all: Vec<_> = (0..30).map(|i| candidate(i, 0, i * 1000)).collect();
        assert_eq!(chosen(&mut choker, now, Role::Seed, &mut all).len(), 8);
        let fewer = chosen(&mut choker, now, Role::ThriftySeed, &mut all);
        assert_eq!(fewer.len(), 2);
        let everybody = chosen(&mut choker, now, Role::ThriftySeed, &mut all[..8]);
        assert_eq!(everybody.len(), 8);
    }
}
