//! How a lone seed gets its first full copy out: it suggests (BEP 6) each piece to one
//! downloader only, so that they trade with one another instead of all asking for the same.
//!
//! Peers that do not know the fast extension, or do not listen, are served as ever.

use std::collections::{HashMap, HashSet, VecDeque};

use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::bitfield::Bitfield;
use super::id::ConnId;
use super::layout::PieceIndex;

/// The pieces of which nobody but the seed has a copy, and to whom they have been suggested.
pub struct Spread {
    waiting: VecDeque<PieceIndex>,
    suggested: HashMap<ConnId, Vec<PieceIndex>>,
    /// Seen at a downloader; may still stand among the waiting.
    out: HashSet<PieceIndex>,
}

impl Spread {
    /// Starts with pieces that no downloader has.
    pub fn new(pieces: impl Iterator<Item = PieceIndex>, rng: &mut StdRng) -> Spread {
        let mut pieces: Vec<PieceIndex> = pieces.collect();
        pieces.shuffle(rng);
        Spread {
            waiting: pieces.into(),
            suggested: HashMap::new(),
            out: HashSet::new(),
        }
    }

    /// A full copy is out: every piece has been seen at a downloader.
    #[cfg(test)]
    fn is_done(&self) -> bool {
        self.waiting.iter().all(|piece| self.out.contains(piece))
            && self.suggested.values().all(Vec::is_empty)
    }

    /// Some downloader has the piece now.
    pub fn is_out(&mut self, piece: PieceIndex) {
        self.out.insert(piece);
        for pieces in self.suggested.values_mut() {
            pieces.retain(|&suggested| suggested != piece);
        }
    }

    /// What to suggest to a downloader that we serve and that has `theirs`: as many as it takes
    /// until `wanted` of its suggestions are nobody's yet.
    pub fn suggest(&mut self, conn: ConnId, theirs: &Bitfield, wanted: usize) -> Vec<PieceIndex> {
        let ahead = self.suggested.entry(conn).or_default();
        let mut new = Vec::new();
        let mut passed_over = Vec::new();
        while ahead.len() < wanted
            && let Some(piece) = self.waiting.pop_front()
        {
            if self.out.contains(&piece) {
                continue;
            }
            if theirs.has(piece) {
                passed_over.push(piece);
            } else {
                ahead.push(piece);
                new.push(piece);
            }
        }
        self.waiting.extend(passed_over);
        new
    }

    /// A downloader is gone, or not served any more: others may get what it was suggested.
    pub fn forget(&mut self, conn: ConnId) {
        self.waiting
            .extend(self.suggested.remove(&conn).into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torrent::layout::Layout;
    use rand::SeedableRng;

    #[test]
    fn each_piece_is_suggested_once_until_it_is_out() {
        let layout = Layout::single("x".into(), 10, 1).unwrap();
        let mut spread = Spread::new(layout.all_pieces(), &mut StdRng::seed_from_u64(1));
        let none = Bitfield::none(10);
        let one = spread.suggest(ConnId(1), &none, 4);
        let two = spread.suggest(ConnId(2), &none, 4);
        assert_eq!((one.len(), two.len()), (4, 4));
        assert!(one.iter().all(|piece| !two.contains(piece)));
        assert!(
            spread.suggest(ConnId(1), &none, 4).is_empty(),
            "enough for now"
        );

        spread.is_out(one[0]);
        assert_eq!(spread.suggest(ConnId(1), &none, 4).len(), 1);
        spread.forget(ConnId(2));
        let three = spread.suggest(ConnId(3), &none, 4);
        assert_eq!(three.len(), 4);
        for piece in layout.all_pieces() {
            assert!(!spread.is_done());
            spread.is_out(piece);
        }
        assert!(spread.is_done());
    }
}
