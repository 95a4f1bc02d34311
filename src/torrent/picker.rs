//! Which piece to fetch next from whom: random first, then rarest first, endgame at the end.
//!
//! A piece is *open* while it is missing and nobody fetches it in earnest. Open pieces stand in one
//! row, the rarest first. Those of one availability (how many connected peers have them) are a
//! *level*:
//!
//! ```text
//!  level     0       1           2         3
//!  open   4 9 7 | 1 3 8 | 12 6 11 10 5 | 2 0
//!         ^       ^       ^              ^     ^ starts
//! ```
//!
//! So the rarest is found without looking at the others. After a `Have` a piece changes places with
//! the last one of its level, and the next level begins one earlier: at that piece.
//!
//! A peer may have nothing of all that is rare. So that this is found out only once, each connection
//! has a *floor*: the levels below it hold nothing for it. What could put something there lowers it.
//!
//! Not here: how many pieces a connection gets, and what happens to a piece on its way.

use std::collections::HashMap;
use std::ops::Range;
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
/// Invariant: a piece stands in `open`, at its `place`, exactly if it is missing and has no live
/// fetcher. Level n is `open[starts[n]..starts[n + 1]]`, and holds the pieces whose availability is n.
/// `unavailable` is the number of pieces that no connected peer has. In the levels below a connection's
/// floor is no piece that its peer has and that it does not fetch itself.
pub struct Picker {
    have: Bitfield,
    availability: Vec<u16>,
    unavailable: u32,
    open: Vec<PieceIndex>,
    place: Vec<u32>,
    /// One more than there are levels: the last one is the length of `open`.
    starts: Vec<u32>,
    floors: HashMap<ConnId, usize>,
    fetchers: HashMap<PieceIndex, Vec<Fetcher>>,
    rng: StdRng,
}

/// `place` of a piece that is not open.
const NOWHERE: u32 = u32::MAX;
/// The floor of a connection of which nothing is known: what is in level 0 nobody has.
const LOWEST: usize = 1;
/// The floor of a connection for which nothing is open, on whatever level.
const ABOVE_ALL: usize = usize::MAX;

impl Picker {
    /// All pieces that `have` lacks are open and nobody has them yet.
    pub fn new(have: Bitfield, pieces: impl Iterator<Item = PieceIndex>, seed: u64) -> Picker {
        let mut picker = Picker {
            availability: vec![0; have.pieces() as usize],
            unavailable: have.pieces(),
            open: Vec::with_capacity((have.pieces() - have.count()) as usize),
            place: vec![NOWHERE; have.pieces() as usize],
            starts: vec![0, 0],
            floors: HashMap::new(),
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

    /// The connected peers hold a full copy among them.
    pub fn others_have_all(&self) -> bool {
        self.unavailable == 0
    }

    /// The peer of `conn` has these pieces too, none of which it had.
    pub fn gained(&mut self, conn: ConnId, pieces: impl IntoIterator<Item = PieceIndex>) {
        let mut lowest = ABOVE_ALL;
        for piece in pieces {
            if self.is_open(piece) {
                lowest = lowest.min(self.rise(piece));
            }
            let count = &mut self.availability[piece.as_usize()];
            self.unavailable -= u32::from(*count == 0);
            *count += 1;
        }
        let floor = self.floors.entry(conn).or_insert(ABOVE_ALL);
        *floor = lowest.min(*floor);
    }

    /// One connected peer has these pieces no longer, each of which it had.
    pub fn lost(&mut self, pieces: impl IntoIterator<Item = PieceIndex>) {
        for piece in pieces {
            if self.is_open(piece) {
                self.fall(piece);
            }
            let count = &mut self.availability[piece.as_usize()];
            *count -= 1;
            self.unavailable += u32::from(*count == 0);
        }
        // Each of them has fallen by one level.
        for floor in self.floors.values_mut().filter(|it| **it != ABOVE_ALL) {
            *floor = LOWEST.max(*floor - 1);
        }
    }

    /// `conn`, whose peer has `theirs`, has ended. It fetches nothing any more.
    pub fn left(&mut self, conn: ConnId, theirs: impl IntoIterator<Item = PieceIndex>) {
        self.floors.remove(&conn);
        self.lost(theirs);
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
            && self.reachable().is_empty()
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
        let start = self.starts.get(self.floor(conn));
        let open = start.map_or(&[][..], |start| &self.open[*start as usize..]);
        open.iter().any(|&piece| self.suits(conn, theirs, piece))
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

    fn floor(&self, conn: ConnId) -> usize {
        self.floors.get(&conn).copied().unwrap_or(LOWEST)
    }

    fn suits(&self, conn: ConnId, theirs: &Bitfield, piece: PieceIndex) -> bool {
        theirs.has(piece) && !self.fetches(conn, piece)
    }

    /// The open pieces that somebody has.
    fn reachable(&self) -> &[PieceIndex] {
        &self.open[self.starts[LOWEST] as usize..]
    }

    fn level(&self, level: usize) -> Range<usize> {
        self.starts[level] as usize..self.starts[level + 1] as usize
    }

    fn random_open(&mut self, conn: ConnId, theirs: &Bitfield) -> Option<PieceIndex> {
        if self.floor(conn) == ABOVE_ALL {
            return None;
        }
        let found = self.random_of(self.starts[LOWEST] as usize..self.open.len(), conn, theirs);
        if found.is_none() {
            self.floors.insert(conn, ABOVE_ALL);
        }
        found
    }

    /// Looks from the floor on. Where something is found is the new floor.
    fn rarest_open(&mut self, conn: ConnId, theirs: &Bitfield) -> Option<PieceIndex> {
        let levels = self.floor(conn)..self.starts.len() - 1;
        for level in levels {
            let rarest = self.random_of(self.level(level), conn, theirs);
            if rarest.is_some() {
                self.floors.insert(conn, level);
                return rarest;
            }
        }
        self.floors.insert(conn, ABOVE_ALL);
        None
    }

    /// A piece of this part of `open` for `conn`: from a random one on, the first that suits.
    fn random_of(
        &mut self,
        part: Range<usize>,
        conn: ConnId,
        theirs: &Bitfield,
    ) -> Option<PieceIndex> {
        if part.is_empty() {
            return None;
        }
        let middle = self.rng.random_range(part.clone());
        let mut row = (middle..part.end)
            .chain(part.start..middle)
            .map(|at| self.open[at]);
        row.find(|&piece| self.suits(conn, theirs, piece))
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
        if live || self.have.has(piece) {
            return;
        }
        if !self.is_open(piece) {
            self.open(piece);
        }
        // Whoever has it may have nothing rarer.
        let level = usize::from(self.availability(piece));
        for floor in self.floors.values_mut() {
            *floor = LOWEST.max(level).min(*floor);
        }
    }

    /// Puts a piece into the row: at its end, and then down to the level of its availability.
    fn open(&mut self, piece: PieceIndex) {
        let level = usize::from(self.availability(piece));
        self.add_levels(level);
        self.place[piece.as_usize()] = self.open.len() as u32;
        self.open.push(piece);
        for at in (level + 1..self.starts.len()).rev() {
            // The last start is where the piece stands already.
            self.swap(piece, self.starts[at]);
            self.starts[at] += 1;
        }
    }

    /// Takes an open piece out of the row: up to its end, and away.
    fn close(&mut self, piece: PieceIndex) {
        if !self.is_open(piece) {
            return;
        }
        let level = usize::from(self.availability(piece));
        for at in level + 1..self.starts.len() {
            self.starts[at] -= 1;
            self.swap(piece, self.starts[at]);
        }
        self.open.pop();
        self.place[piece.as_usize()] = NOWHERE;
    }

    /// An open piece goes to the next level, which is returned.
    fn rise(&mut self, piece: PieceIndex) -> usize {
        let next = usize::from(self.availability(piece)) + 1;
        self.add_levels(next);
        self.starts[next] -= 1;
        self.swap(piece, self.starts[next]);
        next
    }

    /// An open piece goes to the level before its own.
    fn fall(&mut self, piece: PieceIndex) {
        let level = usize::from(self.availability(piece));
        self.swap(piece, self.starts[level]);
        self.starts[level] += 1;
    }

    /// Levels up to this one.
    fn add_levels(&mut self, level: usize) {
        while self.starts.len() < level + 2 {
            self.starts.push(self.open.len() as u32);
        }
    }

    /// An open piece changes places with the one that stands at `place`.
    fn swap(&mut self, piece: PieceIndex, place: u32) {
        let from = std::mem::replace(&mut self.place[piece.as_usize()], place);
        let other = std::mem::replace(&mut self.open[place as usize], piece);
        self.open[from as usize] = other;
        self.place[other.as_usize()] = from;
    }

    /// The invariant of the floor of `conn`, whose peer has `theirs`.
    pub fn debug_assert_floor(&self, conn: ConnId, theirs: &Bitfield) {
        let start = self.starts.get(self.floor(conn));
        let below = start.map_or(&self.open[..], |start| &self.open[..*start as usize]);
        debug_assert!(
            !below.iter().any(|&piece| self.suits(conn, theirs, piece)),
            "{conn:?} could be given a piece that is below its floor"
        );
    }

    pub fn debug_assert_invariants(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        for level in 0..self.starts.len() - 1 {
            for place in self.level(level) {
                let piece = self.open[place];
                assert_eq!(self.place[piece.as_usize()] as usize, place);
                assert_eq!(usize::from(self.availability(piece)), level);
                assert!(!self.have.has(piece), "{piece:?} is ours and open");
            }
        }
        assert_eq!(self.starts.last(), Some(&(self.open.len() as u32)));
        let unavailable = self.availability.iter().filter(|count| **count == 0);
        assert_eq!(self.unavailable as usize, unavailable.count());
        let fetched = self
            .fetchers
            .values()
            .filter(|fetchers| fetchers.iter().any(|fetcher| fetcher.live))
            .count();
        let missing = (self.have.pieces() - self.have.count()) as usize;
        assert_eq!(
            self.open.len() + fetched,
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
                picker.gained(OTHER, [piece]);
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
    const OTHER: ConnId = ConnId(99);

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

    /// Against a picker that looks at everything.
    #[test]
    fn whatever_has_happened_the_rarest_open_piece_is_picked() {
        let mut rng = StdRng::seed_from_u64(11);
        for _ in 0..50 {
            let (mut picker, layout) = setup("0000000000000000", "................", 3);
            let mut theirs = vec![Bitfield::none(16); 4];
            for _ in 0..400 {
                let piece = layout.piece(rng.random_range(0..16)).unwrap();
                let nth = rng.random_range(0..4);
                let (conn, theirs) = (ConnId(nth), &mut theirs[nth as usize]);
                match rng.random_range(0..16) {
                    0..4 if theirs.insert(piece) => picker.gained(conn, [piece]),
                    4 if theirs.remove(piece) => picker.lost([piece]),
                    5 => {
                        layout.all_pieces().for_each(|it| picker.released(conn, it));
                        let had = std::mem::replace(theirs, Bitfield::none(16));
                        picker.left(conn, layout.all_pieces().filter(|it| had.has(*it)));
                    }
                    6..11 => {
                        let fits = |it: &PieceIndex| {
                            picker.is_open(*it) && picker.suits(conn, theirs, *it)
                        };
                        let open = layout.all_pieces().filter(fits);
                        let rarest = open.map(|it| picker.availability(it)).min();
                        let random = picker.have().is_empty();
                        assert_eq!(picker.has_open(conn, theirs), rarest.is_some());
                        match picker.pick(Instant::now(), conn, theirs, rng.random()) {
                            Picked::New(it) if random => assert!(theirs.has(it)),
                            Picked::New(it) => assert_eq!(Some(picker.availability(it)), rarest),
                            Picked::Endgame(_) | Picked::Nothing => assert_eq!(rarest, None),
                        }
                    }
                    11 | 12 => picker.released(conn, piece),
                    13 | 14 => picker.set_live(conn, piece, rng.random()),
                    15 if rng.random_ratio(1, 3) => drop(picker.saved(piece)),
                    _ => {}
                }
                picker.debug_assert_invariants();
                picker.debug_assert_floor(conn, theirs);
            }
        }
    }
}
