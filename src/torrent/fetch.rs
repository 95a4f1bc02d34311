//! One piece on its way from one peer: which blocks are asked for, which have come.
//!
//! The piece is hashed while it grows, as far as its blocks came in order: they are then still
//! in the processor's cache.

use sha1::{Digest, Sha1};

use super::id::PieceHash;
use super::layout::{BLOCK, Block, PieceIndex};
use super::loan::Loan;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum BlockState {
    Missing,
    Requested,
    Received,
}

/// A piece that is being fetched from one connection, and from that one alone: if its hash is
/// wrong, it is clear who lied.
///
/// Invariant: `received` and `requested` count the blocks in these states; `hashed` bytes at the
/// front have been received and fed to `hasher`.
pub struct Fetch {
    piece: PieceIndex,
    size: u32,
    blocks: Vec<BlockState>,
    received: u32,
    requested: u32,
    /// The first block that may still be `Missing`.
    next: u32,
    /// `None` while a block is being read into it.
    place: Option<Loan>,
    hasher: Sha1,
    hashed: u32,
}

impl Fetch {
    /// A piece of which nothing has come. Its bytes have their place in `loan`, and are as many.
    pub fn new(piece: PieceIndex, loan: Loan) -> Fetch {
        let size = loan.size();
        Fetch {
            piece,
            size,
            blocks: vec![BlockState::Missing; size.div_ceil(BLOCK) as usize],
            received: 0,
            requested: 0,
            next: 0,
            place: Some(loan),
            hasher: Sha1::new(),
            hashed: 0,
        }
    }

    pub fn piece(&self) -> PieceIndex {
        self.piece
    }

    /// How many blocks are asked for and have not come.
    pub fn requested(&self) -> u32 {
        self.requested
    }

    pub fn is_complete(&self) -> bool {
        self.received as usize == self.blocks.len()
    }

    /// The next block to ask for; it counts as asked for from now on.
    pub fn request(&mut self) -> Option<Block> {
        while *self.blocks.get(self.next as usize)? != BlockState::Missing {
            self.next += 1;
        }
        self.blocks[self.next as usize] = BlockState::Requested;
        self.requested += 1;
        Some(self.block(self.next))
    }

    /// The blocks that are asked for and have not come.
    pub fn outstanding(&self) -> impl Iterator<Item = Block> + '_ {
        let states = self.blocks.iter().enumerate();
        states
            .filter(|(_, state)| **state == BlockState::Requested)
            .map(|(nth, _)| self.block(nth as u32))
    }

    /// Requests are void: the peer choked us.
    pub fn forget_requests(&mut self) {
        for state in &mut self.blocks {
            if *state == BlockState::Requested {
                *state = BlockState::Missing;
            }
        }
        self.requested = 0;
        self.next = 0;
    }

    /// Whether this block, as we would ask for it, is still to come.
    pub fn wants(&self, block: Block) -> bool {
        let nth = block.begin / BLOCK;
        block.piece == self.piece
            && self
                .blocks
                .get(nth as usize)
                .is_some_and(|state| *state != BlockState::Received)
            && self.block(nth) == block
    }

    /// Whether this block is asked for.
    pub fn has_requested(&self, block: Block) -> bool {
        let nth = (block.begin / BLOCK) as usize;
        self.wants(block) && self.blocks[nth] == BlockState::Requested
    }

    /// Hands out what a block is to be read into; [`Fetch::received`] takes it back. `None` if it is
    /// out.
    pub fn take_place(&mut self) -> Option<Loan> {
        self.place.take()
    }

    /// Takes the piece's place back, with a wanted block in it.
    pub fn received(&mut self, block: Block, place: Loan) {
        debug_assert!(self.wants(block) && place.bytes().len() == self.size as usize);
        let state = &mut self.blocks[(block.begin / BLOCK) as usize];
        if *state == BlockState::Requested {
            self.requested -= 1;
        }
        *state = BlockState::Received;
        self.received += 1;
        if block.begin == self.hashed {
            let end = block.begin + block.length;
            self.hasher
                .update(&place.bytes()[block.begin as usize..end as usize]);
            self.hashed = end;
        }
        self.place = Some(place);
    }

    /// The complete piece and its hash.
    pub fn finish(mut self) -> (Loan, PieceHash) {
        debug_assert!(self.is_complete());
        let place = self.place.expect("the last block has brought it back");
        self.hasher.update(&place.bytes()[self.hashed as usize..]);
        (place, PieceHash(self.hasher.finalize().into()))
    }

    fn block(&self, nth: u32) -> Block {
        let begin = nth * BLOCK;
        Block {
            piece: self.piece,
            begin,
            length: (self.size - begin).min(BLOCK),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torrent::layout::Layout;

    #[test]
    fn blocks_in_any_order_make_the_piece() {
        let content: Vec<u8> = (0..40_000u32).map(|i| (i % 251) as u8).collect();
        let layout = Layout::single("x".into(), 40_000, 1 << 20).unwrap();
        let piece = layout.piece(0).unwrap();
        for order in [[0, 1, 2], [0, 2, 1], [2, 1, 0], [1, 0, 2]] {
            let mut fetch = Fetch::new(piece, Loan::uncounted(40_000));
            let blocks: Vec<Block> = std::iter::from_fn(|| fetch.request()).collect();
            assert_eq!(
                blocks.iter().map(|b| b.length).collect::<Vec<_>>(),
                [16384, 16384, 7232]
            );
            for nth in order {
                let block = blocks[nth];
                assert!(fetch.wants(block));
                let mut place = fetch.take_place().expect("nobody has it");
                let range = block.begin as usize..(block.begin + block.length) as usize;
                place.bytes_mut()[range.clone()].copy_from_slice(&content[range]);
                fetch.received(block, place);
                assert!(!fetch.wants(block), "not twice");
            }
            assert!(fetch.is_complete());
            assert_eq!(fetch.requested(), 0);
            let (place, hash) = fetch.finish();
            assert_eq!(hash, PieceHash::of(&content));
            assert!(place.bytes() == content);
        }
    }

    #[test]
    fn a_choke_makes_requests_void_and_keeps_what_came() {
        let layout = Layout::single("x".into(), 40_000, 1 << 20).unwrap();
        let mut fetch = Fetch::new(layout.piece(0).unwrap(), Loan::uncounted(40_000));
        let first = fetch.request().unwrap();
        fetch.request().unwrap();
        let mut place = fetch.take_place().unwrap();
        place.bytes_mut();
        fetch.received(first, place);
        fetch.forget_requests();
        assert_eq!(fetch.outstanding().count(), 0);
        assert_eq!(std::iter::from_fn(|| fetch.request()).count(), 2);
    }

    #[test]
    fn odd_blocks_are_not_wanted() {
        let layout = Layout::single("x".into(), 40_000, 1 << 20).unwrap();
        let piece = layout.piece(0).unwrap();
        let fetch = Fetch::new(piece, Loan::uncounted(40_000));
        for (begin, length) in [(1, 16384), (0, 16383), (32768, 16384), (49152, 1)] {
            assert!(
                !fetch.wants(Block {
                    piece,
                    begin,
                    length
                }),
                "{begin}+{length}"
            );
        }
    }
}
