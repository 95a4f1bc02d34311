//! Which piece to fetch next from whom: random first, then rarest first, endgame at the end.
//!
//! A piece is *open* while it is missing and nobody fetches it in earnest. Open pieces stand in
//! buckets by availability (how many connected peers have them), so that the rarest is found
//! without looking at the others, and a `Have` moves one piece from one bucket to the next.
//!
//! Not here: how many pieces a connection gets, and what happens to a piece on its way.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::bitfield::Bitfield;
use super::id::ConnId;
use super::layout::PieceIndex;

/// How many connections fetch one piece at once in the endgame. More would only waste.
const MAX_FETCHERS: usize = 3;

/// How long the first fetcher of a piece has it for itself in the endgame. Most pieces come
/// sooner; asking again for all of them would only waste.
const HEAD_START: Duration = Duration::from_secs(1);

/// What a connection shall fetch next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Picked {
    /// A piece that nobody else fetches.
    New(PieceIndex),
    /// A piece that others fetch too: nothing else is left, and whoever is first wins.
    Endgame(PieceIndex),
    /// This peer has nothing for us just now.
    Nothing,
}

/// A connection that was told to fetch a piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Fetcher {
    conn: ConnId,
    /// False while the peer chokes us or sends nothing: others may take the piece.
    live: bool,
    since: Instant,
}

/// The pieces of one torrent, as the one who wants them sees them.
///
/// Invariant: a piece stands in a bucket (the one of its availability, at `place`) exactly if it
/// is missing and has no live fetcher; `reachable` is the number of pieces in the buckets but
/// the first.
pub struct Picker {
    have: Bitfield,
    availability: Vec<u16>,
    buckets: Vec<Vec<PieceIndex>>,
    place: Vec<u32>,
    reachable: usize,
    fetchers: HashMap<PieceIndex, Vec<Fetcher>>,
    rng: StdRng,
}

/// `place` of a piece that is in no bucket.
const NOWHERE: u32 = u32::MAX;

impl Picker {
    /// All pieces that `have` lacks are open and nobody has them yet.
    pub fn new(have: Bitfield, pieces: impl Iterator<Item = PieceIndex>, seed: u64) -> Picker {
        let mut picker = Picker {
            availability: vec![0; have.pieces() as usize],
            buckets: vec![Vec::new()],
            place: vec![NOWHERE; have.pieces() as usize],
            reachable: 0,
            fetchers: HashMap::new(),
            rng: StdRng::seed_from_u64(seed),
            have,
        };
        for piece in pieces {
            if !picker.have.has(piece) {
                picker.open(piece);
            }
        }
        picker
    }

    pub fn have(&self) -> &Bitfield {
        &self.have
    }

    /// How many connected peers have the piece.
    pub fn availability(&self, piece: PieceIndex) -> u16 {
        self.availability[piece.as_usize()]
    }

    /// How many full copies the connected peers hold among them.
    pub fn copies(&self) -> u16 {
        self.availability.iter().copied().min().unwrap_or(0)
    }

    /// One more connected peer has the piece.
    pub fn gained(&mut self, piece: PieceIndex) {
        let open = self.close(piece);
        let count = &mut self.availability[piece.as_usize()];
        *count = count.saturating_add(1);
        if open {
            self.open(piece);
        }
    }

    /// One connected peer less has the piece.
    pub fn lost(&mut self, piece: PieceIndex) {
        let open = self.close(piece);
        let count = &mut self.availability[piece.as_usize()];
        *count = count.saturating_sub(1);
        if open {
            self.open(piece);
        }
    }

    /// Chooses a piece for `conn`, whose peer has `theirs`, and counts it as being fetched.
    /// `may_repeat` allows a piece that others fetch already, if nothing else is left at all.
    pub fn pick(
        &mut self,
        now: Instant,
        conn: ConnId,
        theirs: &Bitfield,
        may_repeat: bool,
    ) -> Picked {
        let new = if self.have.is_empty() {
            self.random_open(conn, theirs)
        } else {
            self.rarest_open(conn, theirs)
        };
        if let Some(piece) = new {
            self.assign(now, conn, piece);
            return Picked::New(piece);
        }
        if may_repeat
            && self.reachable == 0
            && let Some(piece) = self.least_fetched(now, conn, theirs)
        {
            self.assign(now, conn, piece);
            return Picked::Endgame(piece);
        }
        Picked::Nothing
    }

    /// Takes just this piece for `conn`, if it is open.
    pub fn pick_this(&mut self, now: Instant, conn: ConnId, piece: PieceIndex) -> bool {
        let free = self.is_open(piece) && !self.fetches(conn, piece);
        if free {
            self.assign(now, conn, piece);
        }
        free
    }

    /// Whether `conn`, whose peer has `theirs`, could be given a piece that nobody else fetches.
    pub fn has_open(&self, conn: ConnId, theirs: &Bitfield) -> bool {
        let mut open = self.buckets[1..].iter().flatten();
        open.any(|&piece| theirs.has(piece) && !self.fetches(conn, piece))
    }

    /// The piece is verified and on disk. Returns who else was fetching it.
    pub fn saved(&mut self, piece: PieceIndex) -> Vec<ConnId> {
        self.close(piece);
        self.have.insert(piece);
        let fetchers = self.fetchers.remove(&piece).unwrap_or_default();
        fetchers.into_iter().map(|fetcher| fetcher.conn).collect()
    }

    /// `conn` does not fetch the piece any more.
    pub fn released(&mut self, conn: ConnId, piece: PieceIndex) {
        if let Some(fetchers) = self.fetchers.get_mut(&piece) {
            fetchers.retain(|fetcher| fetcher.conn != conn);
            if fetchers.is_empty() {
                self.fetchers.remove(&piece);
            }
        }
        self.reopen_if_free(piece);
    }

    /// Whether `conn` can be counted on for a piece that it was told to fetch.
    pub fn set_live(&mut self, conn: ConnId, piece: PieceIndex, live: bool) {
        for fetcher in self.fetchers.get_mut(&piece).into_iter().flatten() {
            if fetcher.conn == conn {
                fetcher.live = live;
            }
        }
        if live {
            self.close(piece);
        }
        self.reopen_if_free(piece);
    }

    fn assign(&mut self, now: Instant, conn: ConnId, piece: PieceIndex) {
        self.close(piece);
        self.fetchers.entry(piece).or_default().push(Fetcher {
            conn,
            live: true,
            since: now,
        });
    }

    fn fetches(&self, conn: ConnId, piece: PieceIndex) -> bool {
        self.fetchers
            .get(&piece)
            .is_some_and(|f| f.iter().any(|fetcher| fetcher.conn == conn))
    }

    fn random_open(&mut self, conn: ConnId, theirs: &Bitfield) -> Option<PieceIndex> {
        let open: usize = self.reachable;
        if open == 0 {
            return None;
        }
        // A random starting point in the row of all buckets, then the first that fits.
        let start = self.rng.random_range(0..open);
        let row = || self.buckets[1..].iter().flatten().copied();
        row()
            .skip(start)
            .chain(row().take(start))
            .find(|&piece| theirs.has(piece) && !self.fetches(conn, piece))
    }

    fn rarest_open(&mut self, conn: ConnId, theirs: &Bitfield) -> Option<PieceIndex> {
        for bucket in self.buckets[1..].iter().filter(|bucket| !bucket.is_empty()) {
            let start = self.rng.random_range(0..bucket.len());
            let (before, after) = bucket.split_at(start);
            let found = after
                .iter()
                .chain(before)
                .find(|&&piece| theirs.has(piece) && !self.fetches(conn, piece));
            if let Some(&piece) = found {
                return Some(piece);
            }
        }
        None
    }

    fn least_fetched(
        &mut self,
        now: Instant,
        conn: ConnId,
        theirs: &Bitfield,
    ) -> Option<PieceIndex> {
        let is_new = |fetcher: &Fetcher| {
            fetcher.live && now.saturating_duration_since(fetcher.since) < HEAD_START
        };
        let mut fewest = MAX_FETCHERS;
        let mut best = Vec::new();
        for (&piece, fetchers) in &self.fetchers {
            let ours = |fetcher: &Fetcher| fetcher.conn == conn || is_new(fetcher);
            if !theirs.has(piece) || fetchers.iter().any(ours) {
                continue;
            }
            let live = fetchers.iter().filter(|fetcher| fetcher.live).count();
            if live < fewest {
                fewest = live;
                best.clear();
            }
            if live == fewest && live < MAX_FETCHERS {
                best.push(piece);
            }
        }
        // A hash map's order is not the seed's.
        best.sort_unstable();
        best.choose(&mut self.rng).copied()
    }

    fn is_open(&self, piece: PieceIndex) -> bool {
        self.place[piece.as_usize()] != NOWHERE
    }

    fn reopen_if_free(&mut self, piece: PieceIndex) {
        let live = self
            .fetchers
            .get(&piece)
            .is_some_and(|f| f.iter().any(|fetcher| fetcher.live));
        if !live && !self.have.has(piece) && !self.is_open(piece) {
            self.open(piece);
        }
    }

    /// Puts a piece into the bucket of its availability.
    fn open(&mut self, piece: PieceIndex) {
        let level = usize::from(self.availability[piece.as_usize()]);
        while self.buckets.len() <= level {
            self.buckets.push(Vec::new());
        }
        self.place[piece.as_usize()] = self.buckets[level].len() as u32;
        self.buckets[level].push(piece);
        self.reachable += usize::from(level > 0);
    }

    /// Takes a piece out of its bucket; false if it was in none.
    fn close(&mut self, piece: PieceIndex) -> bool {
        let place = std::mem::replace(&mut self.place[piece.as_usize()], NOWHERE);
        if place == NOWHERE {
            return false;
        }
        let level = usize::from(self.availability[piece.as_usize()]);
        let bucket = &mut self.buckets[level];
        bucket.swap_remove(place as usize);
        if let Some(moved) = bucket.get(place as usize) {
            self.place[moved.as_usize()] = place;
        }
        self.reachable -= usize::from(level > 0);
        true
    }

    pub fn debug_assert_invariants(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        let mut in_buckets = 0;
        for (level, bucket) in self.buckets.iter().enumerate() {
            for (place, &piece) in bucket.iter().enumerate() {
                assert_eq!(self.place[piece.as_usize()] as usize, place);
                assert_eq!(usize::from(self.availability(piece)), level);
                assert!(!self.have.has(piece), "{piece:?} is ours and open");
            }
            in_buckets += bucket.len();
        }
        let first = self.buckets[0].len();
        assert_eq!(self.reachable, in_buckets - first);
        let fetched = self
            .fetchers
            .values()
            .filter(|fetchers| fetchers.iter().any(|fetcher| fetcher.live))
            .count();
        let missing = (self.have.pieces() - self.have.count()) as usize;
        assert_eq!(
            in_buckets + fetched,
            missing,
            "every missing piece is open or fetched"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torrent::layout::Layout;

    /// A picker from two strings, a character a piece: how many peers have it, and `#` if it is
    /// ours.
    fn setup(availability: &str, have: &str, seed: u64) -> (Picker, Layout) {
        let layout = Layout::single("x".into(), availability.len() as u64, 1).unwrap();
        let have = set(have, &layout);
        let mut picker = Picker::new(have, layout.all_pieces(), seed);
        for (piece, count) in layout.all_pieces().zip(availability.chars()) {
            for _ in 0..count.to_digit(10).unwrap() {
                picker.gained(piece);
            }
        }
        picker.debug_assert_invariants();
        (picker, layout)
    }

    fn set(text: &str, layout: &Layout) -> Bitfield {
        let mut set = Bitfield::none(layout.pieces());
        for (piece, mark) in layout.all_pieces().zip(text.chars()) {
            if mark == '#' {
                set.insert(piece);
            }
        }
        set
    }

    const ONE: ConnId = ConnId(1);
    const TWO: ConnId = ConnId(2);

    /// Picks long after the last pick.
    fn pick(picker: &mut Picker, conn: ConnId, theirs: &Bitfield) -> String {
        let picks = picker
            .fetchers
            .values()
            .flatten()
            .map(|fetcher| fetcher.since);
        let last = picks.max().unwrap_or_else(Instant::now);
        pick_at(last + HEAD_START, picker, conn, theirs)
    }

    fn pick_at(now: Instant, picker: &mut Picker, conn: ConnId, theirs: &Bitfield) -> String {
        let picked = picker.pick(now, conn, theirs, true);
        picker.debug_assert_invariants();
        match picked {
            Picked::New(piece) => format!("{piece}"),
            Picked::Endgame(piece) => format!("again {piece}"),
            Picked::Nothing => "nothing".into(),
        }
    }

    #[test]
    fn rarest_first_among_what_the_peer_has() {
        for seed in 0..20 {
            let (mut picker, layout) = setup("32123", "#....", seed);
            let all = Bitfield::all(5);
            assert_eq!(pick(&mut picker, ONE, &all), "2");
            assert_eq!(pick(&mut picker, ONE, &set("#.###", &layout)), "3");
            assert_eq!(pick(&mut picker, ONE, &set("##..#", &layout)), "1");
            assert_eq!(pick(&mut picker, TWO, &set("#....", &layout)), "nothing");
        }
    }

    #[test]
    fn ties_and_the_first_piece_are_random() {
        let firsts = |availability: &str, have: &str| {
            let mut seen = std::collections::BTreeSet::new();
            for seed in 0..200 {
                let (mut picker, _) = setup(availability, have, seed);
                seen.insert(pick(&mut picker, ONE, &Bitfield::all(5)));
            }
            seen.into_iter().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(firsts("12311", "...#."), "0 4", "rarest ties");
        assert_eq!(firsts("12311", "....."), "0 1 2 3 4", "first piece");
    }

    #[test]
    fn endgame_only_when_nothing_else_is_left() {
        let (mut picker, layout) = setup("0222", "#...", 7);
        let theirs = set(".##.", &layout);
        let first = [
            pick(&mut picker, ONE, &theirs),
            pick(&mut picker, ONE, &theirs),
        ]
        .concat();
        assert!(first == "12" || first == "21", "{first}");
        assert_eq!(
            pick(&mut picker, TWO, &theirs),
            "nothing",
            "piece 3 is open to somebody"
        );
        assert_eq!(pick(&mut picker, ONE, &set("...#", &layout)), "3");
        assert!(pick(&mut picker, TWO, &theirs).starts_with("again"));
        assert!(pick(&mut picker, TWO, &theirs).starts_with("again"));
        assert_eq!(
            pick(&mut picker, TWO, &theirs),
            "nothing",
            "never twice by one connection"
        );
        let piece = layout.piece(1).unwrap();
        assert_eq!(picker.saved(piece).len(), 2);
    }

    #[test]
    fn in_the_endgame_the_first_fetcher_has_a_head_start() {
        let (mut picker, _) = setup("2", ".", 7);
        let (all, now) = (Bitfield::all(1), Instant::now());
        assert_eq!(pick_at(now, &mut picker, ONE, &all), "0");
        let soon = now + HEAD_START / 2;
        assert_eq!(pick_at(soon, &mut picker, TWO, &all), "nothing");
        assert_eq!(pick_at(now + HEAD_START, &mut picker, TWO, &all), "again 0");
    }

    #[test]
    fn an_unreachable_piece_does_not_hold_up_the_endgame() {
        let (mut picker, layout) = setup("10", "..", 7);
        let theirs = set("#.", &layout);
        assert_eq!(pick(&mut picker, ONE, &theirs), "0");
        assert_eq!(pick(&mut picker, TWO, &theirs), "again 0");
    }

    #[test]
    fn a_dead_fetch_opens_the_piece_for_others() {
        let (mut picker, layout) = setup("22", ".#", 7);
        let all = Bitfield::all(2);
        let piece = layout.piece(0).unwrap();
        assert_eq!(pick(&mut picker, ONE, &all), "0");
        picker.set_live(ONE, piece, false);
        assert_eq!(
            pick(&mut picker, ONE, &all),
            "nothing",
            "not the same again"
        );
        assert_eq!(pick(&mut picker, TWO, &all), "0");
        picker.released(TWO, piece);
        picker.set_live(ONE, piece, true);
        picker.debug_assert_invariants();
        assert_eq!(pick(&mut picker, TWO, &all), "again 0");
        picker.released(ONE, piece);
        picker.released(TWO, piece);
        assert_eq!(pick(&mut picker, TWO, &all), "0");
    }

    #[test]
    fn random_histories_keep_the_invariants() {
        let mut rng = StdRng::seed_from_u64(11);
        let all = Bitfield::all(16);
        for _ in 0..50 {
            let (mut picker, layout) = setup("0000000000000000", "................", 3);
            for _ in 0..400 {
                let piece = layout.piece(rng.random_range(0..16)).unwrap();
                let conn = ConnId(rng.random_range(0..4));
                match rng.random_range(0..7) {
                    0 | 1 => picker.gained(piece),
                    2 => picker.lost(piece),
                    3 => drop(picker.pick(Instant::now(), conn, &all, rng.random())),
                    4 => picker.released(conn, piece),
                    5 => picker.set_live(conn, piece, rng.random()),
                    _ if rng.random_ratio(1, 4) => drop(picker.saved(piece)),
                    _ => {}
                }
                picker.debug_assert_invariants();
            }
        }
    }
}
