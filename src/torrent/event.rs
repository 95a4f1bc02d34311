//! The vocabulary of the rules: what can happen to a torrent, and what it can want done.

use super::bitfield::Bitfield;
use super::id::ConnId;
use super::layout::PieceIndex;

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A handshake with a peer that is neither us nor banned. It has no pieces until it says so.
    Connected {
        conn: ConnId,
    },
    Disconnected {
        conn: ConnId,
    },
    /// Whether we fetch from this peer. From a new one we do.
    Source {
        conn: ConnId,
        is_source: bool,
    },
    /// All that the peer has now. What it had before it still has.
    Bitfield {
        conn: ConnId,
        pieces: Bitfield,
    },
    Have {
        conn: ConnId,
        piece: PieceIndex,
    },
    /// The peer suggests that we fetch this piece from it (BEP 6).
    Suggested {
        conn: ConnId,
        piece: PieceIndex,
    },
    /// The peer will not serve us.
    Choked {
        conn: ConnId,
    },
    Unchoked {
        conn: ConnId,
    },
    /// The peer wants something that we have.
    Interested {
        conn: ConnId,
    },
    NotInterested {
        conn: ConnId,
    },
    /// A piece was fetched from this connection, its hash is right, and it is on disk.
    PieceSaved {
        conn: ConnId,
        piece: PieceIndex,
    },
    /// A piece came from this connection and its hash is wrong.
    PieceBad {
        conn: ConnId,
        piece: PieceIndex,
    },
    /// The peer refuses to give us the piece, for now.
    PieceRefused {
        conn: ConnId,
        piece: PieceIndex,
    },
    /// The piece came, and we could not write it.
    PieceUnsaved {
        conn: ConnId,
        piece: PieceIndex,
    },
    /// The bytes of blocks that this connection has carried so far, in each direction.
    Traffic {
        conn: ConnId,
        downloaded: u64,
        uploaded: u64,
    },
    /// Whether peers are being called, or a tracker was asked for the first ones.
    Calling {
        calling: bool,
    },
    /// There is room in the budget for what a connection of this torrent waits for.
    MemoryFreed,
    /// Time has passed: comes several times a second, after the traffic.
    Tick,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Give the connection this piece job, and the room in the budget that was found for it.
    Fetch {
        conn: ConnId,
        piece: PieceIndex,
    },
    /// The connection shall forget this piece job: somebody else was faster, or needs the memory.
    Cancel {
        conn: ConnId,
        piece: PieceIndex,
    },
    /// Tell the peer that we have this piece.
    Have {
        conn: ConnId,
        piece: PieceIndex,
    },
    Suggest {
        conn: ConnId,
        piece: PieceIndex,
    },
    Choke {
        conn: ConnId,
    },
    Unchoke {
        conn: ConnId,
    },
    SetInterested {
        conn: ConnId,
        interested: bool,
    },
    /// Disconnect the peer and never talk to it again: it sent a piece that is wrong.
    Ban {
        conn: ConnId,
        piece: PieceIndex,
    },
    /// Disconnect the peer: we both have everything.
    PartAsSeeds {
        conn: ConnId,
    },
    /// We have every piece.
    Completed,
}
