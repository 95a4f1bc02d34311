//! How the peer of a batch run differs from others, and what it tells of itself.
//!
//! Pieces are tiny there, and a run is over in less than a second: so nothing waits for a clock,
//! sources give evenly, and nothing is remembered for another run.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use crossbeam_channel::Sender;

use crate::torrent::id::PeerId;

/// A torrent is announced again after so many pieces have come, or have been given.
pub const REFRESH: u32 = 10;
/// How many peers of a torrent are called at first; more if they have nothing for us.
pub const CALLS: usize = 6;
/// The most connections of one torrent. Who is turned away finds others, who get pieces, too.
pub const CONNECTIONS: usize = 16;
/// How many connections there may be, of all torrents together, for another caller to be let in. Our own
/// calls are made all the same: or peers that are full of callers could wait for each other.
pub const CALLERS: usize = 32;
/// How often the rules are told that time has passed: what they wait for is short.
pub const TICK: Duration = Duration::from_millis(50);

/// Of a peer in a batch run.
#[derive(Clone, Debug)]
pub struct Batch {
    pub peer_id: PeerId,
    /// Hears of everything that is said to the tracker, and of every piece that comes.
    pub notes: Option<Sender<Note>>,
}

/// What has just happened, and when.
#[derive(Clone, Debug)]
pub struct Note {
    pub at: SystemTime,
    pub what: Noted,
}

#[derive(Clone, Debug)]
pub enum Noted {
    /// A line was said to the tracker.
    Told(String),
    /// A piece came, was right and is kept.
    Piece {
        file: String,
        index: u32,
        pieces: u32,
        from: SocketAddr,
        bytes: u32,
    },
}

/// Tells who wants to hear it.
pub fn note(notes: Option<&Sender<Note>>, what: impl FnOnce() -> Noted) {
    if let Some(notes) = notes {
        let (at, what) = (SystemTime::now(), what());
        // Nobody may be there to hear it any more.
        let _ = notes.send(Note { at, what });
    }
}
