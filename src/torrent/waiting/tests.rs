//! Proves who gets memory and who waits, with values: the budget is a number, a peer is a few lines.

use std::sync::Arc;

use super::*;
use crate::torrent::bitfield::Bitfield;
use crate::torrent::layout::{Layout, PieceIndex};
use crate::torrent::{Event, SNUB_AFTER};

const MIB: u64 = 1 << 20;

/// A downloader of pieces of 1 MiB from seeds, with the engine's part of counting memory.
struct Fetching {
    torrent: Torrent,
    budget: Budget,
    others_wait: bool,
    now: Instant,
    /// By each seed that sends.
    sent: u64,
    /// Piece jobs that were given and not done yet.
    jobs: Vec<(ConnId, PieceIndex)>,
}

impl Fetching {
    fn new(pieces: u32, budget: u64) -> Fetching {
        let layout = Layout::single("x".into(), u64::from(pieces) * MIB, MIB as u32).unwrap();
        Fetching {
            torrent: Torrent::new(Arc::new(layout), Bitfield::none(pieces), 8, 1),
            budget: Budget::new(budget),
            others_wait: false,
            now: Instant::now(),
            sent: 0,
            jobs: Vec::new(),
        }
    }

    /// With so many seeds, which all serve us, numbered from 1.
    fn with_seeds(seeds: u64, pieces: u32, budget: u64) -> Fetching {
        let mut fetching = Fetching::new(pieces, budget);
        (1..=seeds).for_each(|conn| fetching.seed(conn));
        fetching
    }

    fn seed(&mut self, conn: u64) {
        let conn = ConnId(conn);
        let pieces = Bitfield::all(self.torrent.have().pieces());
        self.tell(Event::Connected { conn });
        self.tell(Event::Bitfield { conn, pieces });
        self.tell(Event::Unchoked { conn });
    }

    fn tell(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.torrent.set_budget(self.budget, self.others_wait);
        self.torrent.handle(self.now, event, &mut effects);
        for effect in effects {
            match effect {
                Effect::Fetch { conn, piece } => {
                    self.budget.lend(MIB as u32);
                    self.jobs.push((conn, piece));
                }
                Effect::Cancel { conn, piece } => self.give_back((conn, piece)),
                _ => {}
            }
        }
    }

    /// The connection ends a job, however.
    fn give_back(&mut self, job: (ConnId, PieceIndex)) {
        if let Some(at) = self.jobs.iter().position(|other| *other == job) {
            self.jobs.remove(at);
            self.budget.take_back(MIB as u32);
        }
    }

    /// A connection's first job is done; whoever waits hears that there is memory.
    fn saved(&mut self, conn: u64) {
        let first = self.jobs.iter().find(|job| job.0 == ConnId(conn));
        let &(conn, piece) = first.expect("it has a job");
        self.give_back((conn, piece));
        self.tell(Event::PieceSaved { conn, piece });
        self.memory_freed();
    }

    fn memory_freed(&mut self) {
        if let Some(needs) = self.torrent.waits_for()
            && self.budget.has_room(needs)
        {
            self.tell(Event::MemoryFreed);
        }
    }

    fn gone(&mut self, conn: u64) {
        let conn = ConnId(conn);
        for job in self.jobs.clone() {
            if job.0 == conn {
                self.give_back(job);
            }
        }
        self.tell(Event::Disconnected { conn });
        self.memory_freed();
    }

    /// Time passes in which these seeds send a little, and all others nothing.
    fn wait(&mut self, time: Duration, sending: &[u64]) {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_secs(1).min(time);
            self.sent += 1;
            for conn in self.conns() {
                let downloaded = if sending.contains(&conn.0) {
                    self.sent
                } else {
                    0
                };
                self.tell(Event::Traffic {
                    conn,
                    downloaded,
                    uploaded: 0,
                });
            }
            self.tell(Event::Tick);
            self.memory_freed();
        }
    }

    fn conns(&self) -> Vec<ConnId> {
        self.torrent.peers.keys().copied().collect()
    }

    /// Who has jobs, in the order in which they were given.
    fn working(&self) -> Vec<u64> {
        self.jobs.iter().map(|(conn, _)| conn.0).collect()
    }
}

#[test]
fn with_room_everybody_has_a_job_and_one_in_reserve() {
    let fetching = Fetching::with_seeds(3, 20, 20 * MIB);
    assert_eq!(fetching.working(), [1, 1, 2, 2, 3, 3]);
    assert_eq!(fetching.torrent.waits_for(), None);
}

#[test]
fn no_more_is_asked_for_than_there_is_memory() {
    let mut fetching = Fetching::with_seeds(50, 100, 4 * MIB);
    assert_eq!(fetching.working(), [1, 1, 2, 2]);
    assert_eq!(fetching.torrent.waits_for(), Some(MIB as u32));
    fetching.tell(Event::Tick);
    assert_eq!(fetching.jobs.len(), 4);
}

#[test]
fn who_waits_longest_is_next_and_reserves_come_after_all() {
    let mut fetching = Fetching::with_seeds(5, 100, 3 * MIB);
    assert_eq!(fetching.working(), [1, 1, 2]);
    fetching.saved(1);
    assert_eq!(fetching.working(), [1, 2, 3]);
    fetching.saved(1);
    assert_eq!(fetching.working(), [2, 3, 4], "1 stands behind 5");
    fetching.saved(2);
    fetching.saved(3);
    assert_eq!(fetching.working(), [4, 5, 1]);
}

#[test]
fn all_pieces_come_and_the_endgame_needs_no_more_memory_than_there_is() {
    for budget in [1, 2, 3, 7] {
        let mut fetching = Fetching::with_seeds(9, 30, budget * MIB);
        while !fetching.torrent.is_complete() {
            // Also what is asked from several in the endgame.
            fetching.wait(Duration::from_secs(2), &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
            let &(conn, _) = fetching.jobs.first().expect("somebody fetches");
            fetching.saved(conn.0);
        }
        assert_eq!(fetching.budget.lent(), 0, "{budget} MiB");
        assert_eq!(fetching.torrent.waits_for(), None);
    }
}

#[test]
fn a_piece_longer_than_the_budget_comes_alone() {
    let mut fetching = Fetching::with_seeds(3, 4, MIB / 2);
    for conn in [1, 2, 3, 1] {
        assert_eq!(fetching.working(), [conn]);
        fetching.saved(conn);
    }
    assert!(fetching.torrent.is_complete());
}

#[test]
fn who_goes_away_leaves_its_memory_and_its_place_in_the_line() {
    let mut fetching = Fetching::with_seeds(4, 100, 2 * MIB);
    assert_eq!(fetching.working(), [1, 1]);
    fetching.gone(2);
    fetching.gone(1);
    assert_eq!(fetching.working(), [3, 4]);
    fetching.gone(3);
    assert_eq!(fetching.torrent.waits_for(), None);
    fetching.tell(Event::Tick);
    assert_eq!(fetching.working(), [4, 4], "nobody waits: a reserve");
}

#[test]
fn who_chokes_us_does_not_wait() {
    let mut fetching = Fetching::with_seeds(3, 100, 2 * MIB);
    fetching.tell(Event::Choked { conn: ConnId(2) });
    fetching.saved(1);
    assert_eq!(fetching.working(), [1, 3]);
}

#[test]
fn a_peer_that_sends_nothing_loses_its_memory_to_one_that_waits() {
    let mut fetching = Fetching::with_seeds(2, 100, 2 * MIB);
    assert_eq!(fetching.working(), [1, 1]);
    fetching.wait(SNUB_AFTER + Duration::from_secs(1), &[]);
    assert_eq!(fetching.working()[0], 2);
}

#[test]
fn a_peer_that_chokes_us_keeps_a_part_of_a_piece_only_as_long_as_others_have_patience() {
    let mut fetching = Fetching::with_seeds(2, 100, 2 * MIB);
    fetching.tell(Event::Choked { conn: ConnId(1) });
    fetching.wait(PATIENCE - Duration::from_secs(1), &[]);
    assert_eq!(fetching.working(), [1, 1]);
    fetching.wait(Duration::from_secs(1), &[]);
    assert_eq!(fetching.working(), [2, 2]);
}

#[test]
fn without_anybody_who_waits_all_keep_their_memory() {
    let mut fetching = Fetching::with_seeds(1, 100, 2 * MIB);
    fetching.tell(Event::Choked { conn: ConnId(1) });
    fetching.wait(10 * PATIENCE, &[]);
    assert_eq!(fetching.working(), [1, 1]);
}

/// A byte every now and then is enough not to be snubbed. Two such peers had all of the memory, and
/// an honest one got none.
#[test]
fn peers_that_dribble_do_not_keep_the_memory_for_ever() {
    let dribbling = [1, 2];
    let mut fetching = Fetching::with_seeds(2, 100, 2 * MIB);
    fetching.seed(3);
    let mut saved = 0;
    for _ in 0..120 {
        fetching.wait(Duration::from_secs(1), &dribbling);
        if fetching.working().contains(&3) {
            fetching.saved(3);
            saved += 1;
        }
    }
    assert!(saved > 90, "{saved} in two minutes");
}

/// Where all take longer for a piece than the first patience, taking it away each time would mean
/// that none ever comes.
#[test]
fn patience_grows_until_the_slowest_bring_a_piece() {
    let all = [1, 2, 3];
    let mut fetching = Fetching::with_seeds(3, 100, MIB);
    let (mut since, mut who, mut saved) = (fetching.now, 1, 0);
    for _ in 0..1000 {
        fetching.wait(Duration::from_secs(1), &all);
        let working = fetching.working()[0];
        if working != who {
            (who, since) = (working, fetching.now);
        }
        // Each needs 100 s for one.
        if fetching.now - since >= Duration::from_secs(100) {
            fetching.saved(who);
            since = fetching.now;
            saved += 1;
        }
    }
    assert!(saved >= 4, "{saved} in 1000 s");
}

#[test]
fn while_other_torrents_wait_each_gets_one_piece_in_turn() {
    let mut fetching = Fetching::with_seeds(4, 100, 2 * MIB);
    fetching.others_wait = true;
    // All of it has come back at once.
    for job in fetching.jobs.clone() {
        fetching.give_back(job);
        let (conn, piece) = job;
        fetching.tell(Event::PieceSaved { conn, piece });
    }
    assert_eq!(fetching.working(), [0; 0], "it is not our turn");
    fetching.tell(Event::MemoryFreed);
    assert_eq!(fetching.working(), [2]);
    fetching.tell(Event::Tick);
    assert_eq!(fetching.working(), [2]);
    fetching.others_wait = false;
    fetching.tell(Event::MemoryFreed);
    assert_eq!(fetching.working(), [2, 3]);
}
