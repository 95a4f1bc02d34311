//! Fetching evenly: of all who could give the next piece, those who have given least give it.
//!
//! For a batch run, where pieces are tiny and owners all have everything: whoever is connected
//! first would give the whole file. A source that could give something is waited for, but never
//! for longer than [`PATIENCE`], and not at all once it has gone, chokes us or has nothing for us.

use std::time::{Duration, Instant};

use super::peer::Peer;
use super::picker::Picker;
use super::{ConnId, Torrent};

/// How long a source that gives nothing keeps others from giving more than it has.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// What fair fetching must know beside the peers.
#[derive(Default)]
pub(super) struct Fair {
    /// Calls under way: each may bring a source that has given nothing. Since when there are any.
    pub calling: Option<Instant>,
}

impl Torrent {
    /// From now on the sources give evenly, one piece at a time, and a seed suggests nothing.
    pub fn set_fair(&mut self) {
        self.fair = Some(Fair::default());
    }

    /// Whether peers are being called, or a tracker is asked for the first ones.
    pub(super) fn calling(&mut self, now: Instant, calling: bool) {
        if let Some(fair) = &mut self.fair {
            fair.calling = calling.then(|| fair.calling.unwrap_or(now));
        }
    }

    /// Whether this source may give one more piece: none that could has given less.
    pub(super) fn is_its_turn(&self, now: Instant, conn: ConnId) -> bool {
        let (Some(fair), Some(peer)) = (&self.fair, self.peers.get(&conn)) else {
            return true;
        };
        let may_come = fair.calling.is_some_and(|since| is_recent(now, since));
        let others = self.peers.iter().filter(|(other, _)| **other != conn);
        let awaited = others.filter(|(other, peer)| is_awaited(now, **other, peer, &self.picker));
        let given = awaited.map(|(_, peer)| peer.given());
        let least = given.chain(may_come.then_some(0)).min();
        least.is_none_or(|least| peer.given() <= least)
    }
}

impl Peer {
    /// Pieces that it has given, or is giving.
    fn given(&self) -> usize {
        self.saved + self.jobs.len()
    }
}

/// Whether a peer could give a piece soon, so that it is waited for.
fn is_awaited(now: Instant, conn: ConnId, peer: &Peer, picker: &Picker) -> bool {
    if !peer.introduced {
        // It may have everything.
        return is_recent(now, peer.connected);
    }
    if !peer.is_source || peer.useful == 0 || peer.snubbed {
        return false;
    }
    if peer.chokes_us {
        return is_recent(now, peer.connected);
    }
    if peer.jobs.is_empty() {
        return picker.has_open(conn, &peer.has);
    }
    is_recent(now, peer.active)
}

fn is_recent(now: Instant, since: Instant) -> bool {
    now.saturating_duration_since(since) < PATIENCE
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::torrent::bitfield::Bitfield;
    use crate::torrent::layout::{Layout, PieceIndex};
    use crate::torrent::{Effect, Event};

    /// A downloader whose sources do at once what they are asked for, or never.
    struct Fetching {
        torrent: Torrent,
        now: Instant,
        /// Piece jobs that were given and not done yet.
        jobs: Vec<(ConnId, PieceIndex)>,
        gave: BTreeMap<ConnId, usize>,
    }

    impl Fetching {
        fn new(pieces: u32) -> Fetching {
            let layout = Layout::single("x".into(), u64::from(pieces) * 33, 33).unwrap();
            let mut torrent = Torrent::new(Arc::new(layout), Bitfield::none(pieces), 99, 1);
            torrent.set_fair();
            Fetching {
                torrent,
                now: Instant::now(),
                jobs: Vec::new(),
                gave: BTreeMap::new(),
            }
        }

        fn tell(&mut self, event: Event) {
            let mut effects = Vec::new();
            self.torrent.handle(self.now, event, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Fetch { conn, piece } => self.jobs.push((conn, piece)),
                    Effect::Cancel { conn, piece } => {
                        self.jobs.retain(|job| *job != (conn, piece));
                    }
                    _ => {}
                }
            }
        }

        fn connect(&mut self, conn: u64, pieces: Bitfield) {
            let conn = ConnId(conn);
            self.tell(Event::Connected { conn });
            self.tell(Event::Bitfield { conn, pieces });
            self.tell(Event::Unchoked { conn });
        }

        fn seed(&mut self, conn: u64) {
            let pieces = Bitfield::all(self.torrent.have().pieces());
            self.connect(conn, pieces);
        }

        /// The first job of a source that does any; false if there is none.
        fn step(&mut self, does: impl Fn(ConnId) -> bool) -> bool {
            let Some(nth) = self.jobs.iter().position(|(conn, _)| does(*conn)) else {
                return false;
            };
            let (conn, piece) = self.jobs.remove(nth);
            *self.gave.entry(conn).or_default() += 1;
            self.tell(Event::PieceSaved { conn, piece });
            true
        }

        /// Lets time pass until nothing more comes.
        fn run(&mut self, does: impl Fn(ConnId) -> bool) {
            let end = self.now + 10 * PATIENCE;
            while !self.torrent.is_complete() && self.now < end {
                if !self.step(&does) {
                    self.now += PATIENCE / 10;
                    self.tell(Event::Tick);
                }
            }
        }

        fn gave(&self) -> Vec<usize> {
            self.gave.values().copied().collect()
        }
    }

    #[test]
    fn sources_give_evenly_and_one_piece_at_a_time() {
        let mut fetching = Fetching::new(30);
        (1..=3).for_each(|conn| fetching.seed(conn));
        assert_eq!(fetching.jobs.len(), 3, "no job in reserve");
        // The first one is the fastest by far.
        fetching.run(|conn| conn == ConnId(1) || conn == ConnId(2));
        assert!(fetching.torrent.is_complete());
        fetching = Fetching::new(30);
        (1..=3).for_each(|conn| fetching.seed(conn));
        fetching.run(|_| true);
        assert_eq!(fetching.gave(), [10, 10, 10]);
    }

    #[test]
    fn a_fast_source_waits_for_one_that_is_being_called() {
        let mut fetching = Fetching::new(10);
        fetching.tell(Event::Calling { calling: true });
        fetching.seed(1);
        assert!(fetching.step(|_| true), "the first piece is nobody's loss");
        assert!(!fetching.step(|_| true), "the second one is the other's");
        fetching.seed(2);
        fetching.tell(Event::Calling { calling: false });
        fetching.run(|_| true);
        assert_eq!(fetching.gave(), [5, 5]);
    }

    #[test]
    fn a_call_that_never_ends_is_not_waited_for() {
        let mut fetching = Fetching::new(10);
        fetching.tell(Event::Calling { calling: true });
        fetching.seed(1);
        fetching.run(|_| true);
        assert_eq!(fetching.gave(), [10]);
    }

    #[test]
    fn who_comes_late_catches_up() {
        let mut fetching = Fetching::new(20);
        fetching.seed(1);
        (0..5).for_each(|_| assert!(fetching.step(|_| true)));
        fetching.seed(2);
        fetching.run(|_| true);
        assert_eq!(fetching.gave(), [10, 10]);
    }

    #[test]
    fn a_source_that_dies_chokes_or_says_nothing_holds_nobody_up() {
        let (one, two) = (ConnId(1), ConnId(2));
        type Fate = fn(&mut Fetching);
        let fates: [(&str, Fate); 3] = [
            ("dies", |f| f.tell(Event::Disconnected { conn: ConnId(2) })),
            ("chokes", |f| f.tell(Event::Choked { conn: ConnId(2) })),
            ("is silent", |_| {}),
        ];
        for (what, fate) in fates {
            let mut fetching = Fetching::new(20);
            fetching.seed(1);
            fetching.seed(2);
            fate(&mut fetching);
            fetching
                .jobs
                .retain(|(conn, _)| what == "is silent" || *conn != two);
            fetching.run(|conn| conn == one);
            assert!(fetching.torrent.is_complete(), "{what}");
        }
        // One that connects and then says nothing at all, and one that never unchokes.
        let mut fetching = Fetching::new(20);
        fetching.seed(1);
        fetching.tell(Event::Connected { conn: two });
        let (conn, pieces) = (ConnId(3), Bitfield::all(20));
        fetching.tell(Event::Connected { conn });
        fetching.tell(Event::Bitfield { conn, pieces });
        fetching.run(|_| true);
        assert!(fetching.torrent.is_complete());
    }

    #[test]
    fn who_has_nothing_for_us_is_not_waited_for() {
        let mut fetching = Fetching::new(20);
        fetching.seed(1);
        fetching.connect(2, Bitfield::none(20));
        while fetching.step(|_| true) {}
        assert!(fetching.torrent.is_complete());
        assert_eq!(fetching.gave(), [20]);
    }
}
