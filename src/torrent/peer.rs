//! What a torrent knows of one peer that it is connected to, and what of that is shown.

use std::collections::VecDeque;
use std::time::Instant;

use super::bitfield::Bitfield;
use super::event::Effect;
use super::id::ConnId;
use super::layout::PieceIndex;
use super::rate::Rate;

/// What the torrent knows of one connection.
pub(super) struct Peer {
    pub has: Bitfield,
    /// We fetch from it.
    pub is_source: bool,
    /// How many of the peer's pieces we miss.
    pub useful: u32,
    pub chokes_us: bool,
    pub interested_in_us: bool,
    pub unchoked: bool,
    pub we_are_interested: bool,
    pub connected: Instant,
    /// It has said what it has.
    pub introduced: bool,
    /// Pieces that came from it.
    pub saved: usize,
    /// The piece jobs in its hands.
    pub jobs: Vec<PieceIndex>,
    pub snubbed: bool,
    /// When it was given its first job, or brought its last piece.
    pub working_since: Instant,
    /// Others needed its memory before it brought a piece. It is better again when it brings one.
    pub is_slow: bool,
    /// When it last sent something, was given work, or unchoked us.
    pub active: Instant,
    pub downloaded: u64,
    pub uploaded: u64,
    pub rate_from: Rate,
    pub rate_to: Rate,
    pub suggestions: VecDeque<PieceIndex>,
    pub suggested: Option<Instant>,
    /// Pieces that it refused and when, first to last: they do not count as its own for a while.
    pub refused: VecDeque<(Instant, PieceIndex)>,
}

impl Peer {
    /// One that has just connected: it has said nothing, and neither have we (BEP 3).
    pub fn new(now: Instant, pieces: u32) -> Peer {
        Peer {
            has: Bitfield::none(pieces),
            is_source: true,
            useful: 0,
            chokes_us: true,
            interested_in_us: false,
            unchoked: false,
            we_are_interested: false,
            connected: now,
            introduced: false,
            saved: 0,
            jobs: Vec::new(),
            snubbed: false,
            working_since: now,
            is_slow: false,
            active: now,
            downloaded: 0,
            uploaded: 0,
            rate_from: Rate::default(),
            rate_to: Rate::default(),
            suggestions: VecDeque::new(),
            suggested: None,
            refused: VecDeque::new(),
        }
    }

    /// Tells the peer whether we want something of it, if that has changed.
    pub fn show_interest(&mut self, conn: ConnId, effects: &mut Vec<Effect>) {
        let interested = self.is_source && self.useful > 0;
        if interested != self.we_are_interested {
            self.we_are_interested = interested;
            effects.push(Effect::SetInterested { conn, interested });
        }
    }

    pub fn view(&self) -> PeerView {
        PeerView {
            pieces: self.has.count(),
            is_source: self.is_source,
            chokes_us: self.chokes_us,
            interested_in_us: self.interested_in_us,
            unchoked: self.unchoked,
            we_are_interested: self.we_are_interested,
            snubbed: self.snubbed,
            jobs: self.jobs.len(),
            downloaded: self.downloaded,
            uploaded: self.uploaded,
            rate_from: self.rate_from.bytes_per_second(),
            rate_to: self.rate_to.bytes_per_second(),
        }
    }
}

/// What is shown of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerView {
    /// How many pieces it has.
    pub pieces: u32,
    /// We fetch from it.
    pub is_source: bool,
    pub chokes_us: bool,
    pub interested_in_us: bool,
    pub unchoked: bool,
    pub we_are_interested: bool,
    pub snubbed: bool,
    /// Piece jobs in its hands.
    pub jobs: usize,
    /// Bytes of blocks on this connection, and bytes per second.
    pub downloaded: u64,
    pub uploaded: u64,
    pub rate_from: u64,
    pub rate_to: u64,
}
