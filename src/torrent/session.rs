//! The downloading half of one connection: piece jobs in, block requests out, blocks in, pieces
//! out.
//!
//! ```text
//!  engine ── piece job ──► take_job ─┐
//!                                    ├─► requests ──► the peer
//!  the peer ── block ──► arriving ─ arrived ──► a complete Fetch ──► hash, write
//! ```
//!
//! Not here: which pieces (picker), what the other side asks of us (uploads), any socket.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::fetch::Fetch;
use super::layout::{Block, Layout, PieceIndex};
use super::loan::Loan;
use super::pipeline::Pipeline;

/// How many blocks that we did not ask for a peer may send beyond those that we cancelled or
/// that a choke made void. Some clients send a few after a choke.
const STRAY_BLOCKS: u32 = 64;

/// What to do with a block whose header has come.
pub enum Arriving {
    /// Read it into `place`, which is the whole piece's, then call [`Session::arrived`].
    Wanted { block: Block, place: Loan },
    /// Read it and throw it away.
    Unwanted,
}

/// How the peer broke the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    #[error("block {begin}+{length} of piece {index}, which does not exist")]
    NoSuchBlock { index: u32, begin: u32, length: u32 },
    #[error("piece {0}, which does not exist")]
    NoSuchPiece(u32),
    #[error("blocks that nobody asked for")]
    Unrequested,
}

/// What a rejected request (BEP 6) means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected {
    /// The peer will not give us this piece: it is nobody's job any more.
    Piece(PieceIndex),
    /// The request was void already.
    Nothing,
}

pub struct Session {
    layout: Arc<Layout>,
    /// In the order in which they are asked for.
    fetches: VecDeque<Fetch>,
    /// Both sides begin choked (BEP 3).
    choked: bool,
    pipeline: Pipeline,
    /// Blocks not asked for any more that may still come.
    strays: u32,
}

impl Session {
    pub fn new(layout: Arc<Layout>) -> Session {
        let pipeline = Pipeline::new();
        Session {
            layout,
            fetches: VecDeque::new(),
            choked: true,
            pipeline,
            strays: STRAY_BLOCKS,
        }
    }

    /// One more piece to fetch after those that are under way, and the room for it.
    pub fn take_job(&mut self, piece: PieceIndex, loan: Loan) {
        debug_assert_eq!(loan.size(), self.layout.piece_size(piece));
        if self.fetches.is_empty() {
            self.pipeline.rested();
        }
        self.fetches.push_back(Fetch::new(piece, loan));
        log::trace!(target: "hop", "piece {piece}: the connection has the job");
    }

    /// The requests to send now, if any: call it whenever something has changed.
    pub fn requests(&mut self) -> Vec<Block> {
        if self.choked {
            return Vec::new();
        }
        let in_flight: u32 = self.fetches.iter().map(Fetch::requested).sum();
        let mut room = self.pipeline.room(in_flight);
        let mut blocks = Vec::new();
        for fetch in &mut self.fetches {
            while room > 0
                && let Some(block) = fetch.request()
            {
                blocks.push(block);
                room -= 1;
            }
        }
        blocks
    }

    /// A block's header has come.
    pub fn arriving(&mut self, index: u32, begin: u32, length: u32) -> Result<Arriving, Violation> {
        let block = self.block(index, begin, length)?;
        let wanting = self.fetches.iter_mut().find(|fetch| fetch.wants(block));
        match wanting.and_then(Fetch::take_place) {
            Some(place) => Ok(Arriving::Wanted { block, place }),
            None if self.strays == 0 => Err(Violation::Unrequested),
            None => {
                self.strays -= 1;
                Ok(Arriving::Unwanted)
            }
        }
    }

    /// A wanted block is in its place. Returns the piece if that was its last block.
    pub fn arrived(&mut self, now: Instant, block: Block, place: Loan) -> Option<Fetch> {
        self.pipeline.received(now, block.length);
        // It may have been cancelled while the block was being read.
        let at = self.fetches.iter().position(|fetch| fetch.wants(block))?;
        self.fetches[at].received(block, place);
        if self.fetches[at].is_complete() {
            self.fetches.remove(at)
        } else {
            None
        }
    }

    /// Somebody else was faster. Returns the requests to cancel on the wire.
    pub fn cancel(&mut self, piece: PieceIndex) -> Vec<Block> {
        let Some(at) = self.fetches.iter().position(|fetch| fetch.piece() == piece) else {
            return Vec::new();
        };
        let cancelled = self.fetches.remove(at);
        let blocks: Vec<Block> = cancelled.iter().flat_map(Fetch::outstanding).collect();
        self.strays = self.strays.saturating_add(blocks.len() as u32);
        blocks
    }

    /// The peer chokes us: what was asked for will not come (BEP 3), what came is kept.
    pub fn choked(&mut self) {
        self.choked = true;
        for fetch in &mut self.fetches {
            self.strays = self.strays.saturating_add(fetch.requested());
            fetch.forget_requests();
        }
    }

    pub fn unchoked(&mut self) {
        self.choked = false;
        self.pipeline.rested();
    }

    /// The peer refuses a request (BEP 6).
    pub fn rejected(&mut self, index: u32, begin: u32, length: u32) -> Result<Rejected, Violation> {
        let block = self.block(index, begin, length)?;
        if self.choked || !self.fetches.iter().any(|fetch| fetch.has_requested(block)) {
            return Ok(Rejected::Nothing);
        }
        self.cancel(block.piece);
        Ok(Rejected::Piece(block.piece))
    }

    /// The peer said how many requests it keeps (BEP 10).
    pub fn set_request_limit(&mut self, reqq: u32) {
        self.pipeline.set_limit(reqq);
    }

    /// Whether three numbers from the wire are a block of this torrent.
    pub fn block(&self, index: u32, begin: u32, length: u32) -> Result<Block, Violation> {
        let block = self.layout.block(index, begin, length);
        block.ok_or(Violation::NoSuchBlock {
            index,
            begin,
            length,
        })
    }

    /// Whether a number from the wire is a piece of this torrent.
    pub fn piece(&self, index: u32) -> Result<PieceIndex, Violation> {
        self.layout
            .piece(index)
            .ok_or(Violation::NoSuchPiece(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torrent::layout::BLOCK;

    /// A session on a torrent of three pieces of 40 blocks each.
    fn session() -> (Session, Vec<PieceIndex>) {
        let layout = Layout::single("x".into(), u64::from(BLOCK) * 120, BLOCK * 40).unwrap();
        let pieces = layout.all_pieces().collect();
        (Session::new(Arc::new(layout)), pieces)
    }

    fn take_job(session: &mut Session, piece: PieceIndex) {
        session.take_job(piece, Loan::uncounted(session.layout.piece_size(piece)));
    }

    fn deliver(session: &mut Session, block: Block) -> Option<Fetch> {
        let (index, begin, length) = (block.piece.as_u32(), block.begin, block.length);
        match session.arriving(index, begin, length).unwrap() {
            Arriving::Wanted { block, mut place } => {
                place.bytes_mut();
                session.arrived(Instant::now(), block, place)
            }
            Arriving::Unwanted => None,
        }
    }

    #[test]
    fn a_piece_comes_block_by_block() {
        let (mut session, pieces) = session();
        take_job(&mut session, pieces[1]);
        assert!(session.requests().is_empty(), "still choked");
        session.unchoked();
        let mut asked: VecDeque<Block> = session.requests().into();
        assert_eq!(asked.len(), 16);
        assert!(session.requests().is_empty(), "the pipeline is full");
        let mut count = 0;
        let done = loop {
            count += 1;
            let block = asked.pop_front().expect("the pipeline never runs dry");
            if let Some(done) = deliver(&mut session, block) {
                break done;
            }
            asked.extend(session.requests());
        };
        assert_eq!((count, done.piece()), (40, pieces[1]));
    }

    #[test]
    fn the_next_job_is_asked_for_before_the_last_one_is_complete() {
        let (mut session, pieces) = session();
        session.unchoked();
        take_job(&mut session, pieces[0]);
        take_job(&mut session, pieces[1]);
        let mut asked: VecDeque<Block> = session.requests().into();
        while let Some(block) = asked.pop_front() {
            let done = deliver(&mut session, block).is_some();
            asked.extend(session.requests());
            if done {
                break;
            }
        }
        assert!(asked.iter().all(|block| block.piece == pieces[1]) && asked.len() >= 8);
    }

    #[test]
    fn a_choke_keeps_the_job_and_an_unchoke_goes_on() {
        let (mut session, pieces) = session();
        session.unchoked();
        take_job(&mut session, pieces[0]);
        let asked = session.requests();
        deliver(&mut session, asked[0]);
        session.choked();
        assert!(session.requests().is_empty());
        assert!(
            deliver(&mut session, asked[1]).is_none(),
            "a late block is still good"
        );
        session.unchoked();
        let again = session.requests();
        assert!(!again.contains(&asked[0]) && !again.contains(&asked[1]));
        assert_eq!(again[0], asked[2]);
    }

    #[test]
    fn a_cancelled_piece_may_still_arrive() {
        let (mut session, pieces) = session();
        session.unchoked();
        take_job(&mut session, pieces[0]);
        let asked = session.requests();
        assert_eq!(session.cancel(pieces[0]), asked);
        for _ in 0..16 + STRAY_BLOCKS {
            assert!(matches!(
                session.arriving(0, 0, BLOCK),
                Ok(Arriving::Unwanted)
            ));
        }
        assert_eq!(
            session.arriving(0, 0, BLOCK).err(),
            Some(Violation::Unrequested)
        );
    }

    #[test]
    fn a_piece_cancelled_while_its_block_is_read_is_dropped() {
        let (mut session, pieces) = session();
        session.unchoked();
        take_job(&mut session, pieces[0]);
        let asked = session.requests();
        let Ok(Arriving::Wanted { block, place }) = session.arriving(0, 0, BLOCK) else {
            panic!("wanted");
        };
        assert_eq!(block, asked[0]);
        session.cancel(pieces[0]);
        assert!(session.arrived(Instant::now(), block, place).is_none());
    }

    #[test]
    fn a_reject_gives_the_job_back_once() {
        let (mut session, pieces) = session();
        session.unchoked();
        take_job(&mut session, pieces[2]);
        session.requests();
        assert_eq!(
            session.rejected(2, 0, BLOCK),
            Ok(Rejected::Piece(pieces[2]))
        );
        assert_eq!(session.rejected(2, BLOCK, BLOCK), Ok(Rejected::Nothing));
        assert!(session.rejected(3, 0, BLOCK).is_err());
    }
}
