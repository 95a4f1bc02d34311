//! What is shared, and the rules of sharing it. Pure: values in, values out.
//!
//! A [`Torrent`] is one torrent as one peer sees it. It is told what has happened ([`Event`])
//! and says what to do ([`Effect`]); it sees pieces and connections, never blocks, sockets,
//! files or clocks.
//!
//! Not here: the blocks of a piece on their way (`fetch`, `session`), bytes on the wire (the
//! `wire` room), files (the `storage` room).

pub mod bencode;
pub mod bitfield;
pub mod budget;
pub mod choker;
mod downloading;
pub mod event;
mod fair;
pub mod fetch;
pub mod id;
pub mod layout;
pub mod loan;
pub mod metainfo;
mod peer;
pub mod picker;
pub mod pipeline;
pub mod rate;
mod serving;
pub mod session;
mod spread;
mod waiting;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use rand::SeedableRng;
use rand::rngs::StdRng;

use bitfield::Bitfield;
use choker::Choker;
pub use downloading::SNUB_AFTER;
pub use event::{Effect, Event};
use fair::Fair;
use id::ConnId;
use layout::{Layout, PieceIndex};
use peer::Peer;
pub use peer::PeerView;
use picker::Picker;
use spread::Spread;
use waiting::Waiting;

/// Why a download does not move, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stall {
    NoPeers,
    /// Peers, but none has a piece that we miss.
    NobodyHasMissing,
    AllChoked,
    AllSnubbed,
}

/// One torrent as one peer sees it.
///
/// Invariant: a piece is in a peer's `jobs` exactly if the picker counts that connection as its
/// fetcher; `useful` is the number of pieces that the peer has and we have not; `unchoked` and
/// `we_are_interested` are what the peer has been told last; each job has its room in the budget.
pub struct Torrent {
    layout: Arc<Layout>,
    picker: Picker,
    choker: Choker,
    peers: BTreeMap<ConnId, Peer>,
    spread: Option<Spread>,
    /// For memory.
    waiting: Waiting,
    /// The sources give evenly.
    fair: Option<Fair>,
    rng: StdRng,
}

impl Torrent {
    /// A torrent of which we have the pieces in `have`, serving `slots` peers at once. All
    /// chance comes from `seed`.
    pub fn new(layout: Arc<Layout>, have: Bitfield, slots: usize, seed: u64) -> Torrent {
        Torrent {
            picker: Picker::new(have, layout.all_pieces(), seed),
            choker: Choker::new(slots, seed.wrapping_add(1)),
            peers: BTreeMap::new(),
            spread: None,
            waiting: Waiting::new(),
            fair: None,
            rng: StdRng::seed_from_u64(seed.wrapping_add(2)),
            layout,
        }
    }

    pub fn have(&self) -> &Bitfield {
        self.picker.have()
    }

    pub fn is_complete(&self) -> bool {
        self.have().is_full()
    }

    /// Bytes that are not ours yet.
    pub fn left(&self) -> u64 {
        let missing = u64::from(self.layout.pieces() - self.have().count());
        let last = self
            .layout
            .pieces()
            .checked_sub(1)
            .and_then(|last| self.layout.piece(last));
        let short = last
            .filter(|last| !self.have().has(*last))
            .map_or(0, |last| {
                u64::from(self.layout.piece_length() - self.layout.piece_size(last))
            });
        missing * u64::from(self.layout.piece_length()) - short
    }

    pub fn peer_count(&self) -> usize {
        self.peers.len()
    }

    pub fn peer(&self, conn: ConnId) -> Option<PeerView> {
        self.peers.get(&conn).map(Peer::view)
    }

    /// Why nothing comes, if nothing can come just now.
    pub fn stall(&self) -> Option<Stall> {
        let sources = || self.peers.values().filter(|peer| peer.is_source);
        let useful = || sources().filter(|peer| peer.useful > 0);
        if self.is_complete() {
            None
        } else if sources().next().is_none() {
            Some(Stall::NoPeers)
        } else if useful().next().is_none() {
            Some(Stall::NobodyHasMissing)
        } else if useful().all(|peer| peer.chokes_us) {
            Some(Stall::AllChoked)
        } else if useful().all(|peer| peer.chokes_us || peer.snubbed) {
            Some(Stall::AllSnubbed)
        } else {
            None
        }
    }

    /// The one way in: what has happened goes in, what to do about it comes out.
    pub fn handle(&mut self, now: Instant, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Connected { conn } => self.connected(now, conn),
            Event::Disconnected { conn } => self.disconnected(now, conn, effects),
            Event::Source { conn, is_source } => self.set_source(now, conn, is_source, effects),
            Event::Bitfield { conn, pieces } => self.bitfield(now, conn, pieces, effects),
            Event::Have { conn, piece } => self.peer_has(now, conn, piece, effects),
            Event::Suggested { conn, piece } => self.suggested(now, conn, piece, effects),
            Event::Choked { conn } => self.choked(now, conn, effects),
            Event::Unchoked { conn } => self.unchoked(now, conn, effects),
            Event::Interested { conn } => self.interested(now, conn, true, effects),
            Event::NotInterested { conn } => self.interested(now, conn, false, effects),
            Event::PieceSaved { conn, piece } => self.piece_saved(now, conn, piece, effects),
            Event::PieceBad { conn, piece } => {
                self.give_back(conn, piece);
                effects.push(Effect::Ban { conn, piece });
                self.fill_idle(now, effects);
            }
            Event::PieceRefused { conn, piece } => self.piece_refused(now, conn, piece, effects),
            Event::PieceUnsaved { conn, piece } => self.give_back(conn, piece),
            Event::Traffic {
                conn,
                downloaded,
                uploaded,
            } => {
                self.traffic(now, conn, downloaded, uploaded);
            }
            Event::Calling { calling } => {
                self.calling(now, calling);
                self.fill_idle(now, effects);
            }
            Event::MemoryFreed => self.memory_freed(now, effects),
            Event::Tick => self.tick(now, effects),
        }
        self.mind_memory(now, effects);
        self.debug_assert_invariants();
    }

    fn connected(&mut self, now: Instant, conn: ConnId) {
        let peer = Peer::new(now, self.layout.pieces());
        self.peers.insert(conn, peer);
    }

    fn disconnected(&mut self, now: Instant, conn: ConnId, effects: &mut Vec<Effect>) {
        let Some(peer) = self.peers.remove(&conn) else {
            return;
        };
        for &piece in &peer.jobs {
            self.picker.released(conn, piece);
        }
        let theirs = self.layout.all_pieces().filter(|it| peer.has.has(*it));
        self.picker.left(conn, theirs);
        if let Some(spread) = &mut self.spread {
            spread.forget(conn);
        }
        self.waiting.forget(conn);
        self.choke_and_unchoke(now, effects);
        self.fill_idle(now, effects);
    }

    fn tick(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.choke_and_unchoke(now, effects);
        let conns: Vec<ConnId> = self.peers.keys().copied().collect();
        for conn in conns {
            self.forget_refusals(now, conn, effects);
            self.fill(now, conn, effects);
        }
    }

    fn debug_assert_invariants(&self) {
        // Looks at everything: only where that is little.
        let size = self.layout.pieces() as usize * (self.peers.len() + 1);
        if !cfg!(debug_assertions) || size > 600 {
            return;
        }
        self.picker.debug_assert_invariants();
        for (conn, peer) in &self.peers {
            let missing = |piece: &PieceIndex| !self.have().has(*piece);
            let useful = self
                .layout
                .all_pieces()
                .filter(|p| peer.has.has(*p))
                .filter(missing)
                .count();
            assert_eq!(peer.useful as usize, useful, "{conn:?}");
            self.picker.debug_assert_floor(*conn, &peer.has);
            assert!(
                peer.jobs.iter().all(missing),
                "{conn:?} fetches what we have"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::downloading::REFUSAL_PAUSE;
    use super::*;

    /// Transmission rejects requests when it has many, and says nothing when it has room again.
    /// One rejected block out of thousands, and the download never ended: the piece counted as
    /// not there for as long as the connection lasted.
    #[test]
    fn a_piece_that_was_refused_once_is_asked_for_again() {
        let layout = Arc::new(Layout::single("x".into(), 1 << 20, 1 << 20).unwrap());
        let piece = layout.piece(0).unwrap();
        let mut torrent = Torrent::new(layout, Bitfield::none(1), 8, 1);
        let (conn, mut now) = (ConnId(1), Instant::now());
        let fetch = Effect::Fetch { conn, piece };
        let mut tell = |now, event| {
            let mut effects = Vec::new();
            torrent.handle(now, event, &mut effects);
            effects.contains(&fetch)
        };
        tell(now, Event::Connected { conn });
        let pieces = Bitfield::all(1);
        tell(now, Event::Bitfield { conn, pieces });
        assert!(tell(now, Event::Unchoked { conn }));
        assert!(!tell(now, Event::PieceRefused { conn, piece }));
        assert!(!tell(now, Event::Tick), "not at once");
        now += REFUSAL_PAUSE;
        assert!(tell(now, Event::Tick));
    }

    #[test]
    fn who_is_no_source_is_not_asked_and_gives_its_pieces_back() {
        let layout = Arc::new(Layout::single("x".into(), 1 << 20, 1 << 20).unwrap());
        let piece = layout.piece(0).unwrap();
        let mut torrent = Torrent::new(layout, Bitfield::none(1), 8, 1);
        let (conn, now) = (ConnId(1), Instant::now());
        let mut tell = |event| {
            let mut effects = Vec::new();
            torrent.handle(now, event, &mut effects);
            (effects, torrent.stall())
        };
        let source = |is_source| Event::Source { conn, is_source };
        let interested = |interested| Effect::SetInterested { conn, interested };
        tell(Event::Connected { conn });
        tell(source(false));
        let pieces = Bitfield::all(1);
        let (effects, stall) = tell(Event::Bitfield { conn, pieces });
        assert_eq!((effects, stall), (vec![], Some(Stall::NoPeers)));
        assert_eq!(tell(Event::Unchoked { conn }).0, []);
        assert_eq!(tell(Event::Suggested { conn, piece }).0, []);
        let fetch = Effect::Fetch { conn, piece };
        assert_eq!(tell(source(true)).0, [interested(true), fetch]);
        let cancel = Effect::Cancel { conn, piece };
        assert_eq!(tell(source(false)).0, [cancel, interested(false)]);
    }
}
