//! A torrent of a batch run: announced after every few pieces, and at once when no peer that is
//! connected has what is missing; nothing of it waits for the clock.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use crossbeam_channel::Sender;

use crate::peer::announcer::Announcer;
use crate::peer::batch::{CALLS, Note, Noted, REFRESH, note};
use crate::peer::connection::Direction;
use crate::peer::schedule::Schedule;
use crate::torrent::id::ConnId;
use crate::torrent::layout::PieceIndex;
use crate::torrent::{Event, Stall};

use super::{Conn, Identity, MAX_CALLING, MAX_PAST, Managed, Wish};

/// What was said to the tracker, and what to the rules.
pub(super) struct Refresh {
    notes: Option<Sender<Note>>,
    /// Pieces that came and are not covered by an announce.
    came: u32,
    /// Bytes uploaded, as announced last.
    told_uploaded: u64,
    calling: bool,
    /// Whose the connections were that have ended: a piece of theirs may still be on its way to us.
    gone: HashMap<ConnId, SocketAddr>,
}

impl Refresh {
    pub fn new(notes: Option<Sender<Note>>) -> Refresh {
        Refresh {
            notes,
            came: 0,
            told_uploaded: 0,
            calling: false,
            gone: HashMap::new(),
        }
    }

    /// An announce is sent.
    pub fn announced(&mut self, uploaded: u64) {
        self.came = self.came.saturating_sub(REFRESH);
        self.told_uploaded = uploaded;
    }

    /// A connection to the peer at this address has ended.
    pub fn ended(&mut self, conn: ConnId, address: SocketAddr) {
        if self.gone.len() < MAX_PAST {
            self.gone.insert(conn, address);
        }
    }
}

impl Managed {
    /// It is of a batch run.
    pub fn be_refreshed(&mut self, now: Instant, notes: Option<Sender<Note>>) {
        self.refresh = Some(Refresh::new(notes));
        for schedule in &mut self.trackers {
            *schedule = Schedule::eager(now, schedule.tracker.clone());
        }
    }

    /// How many more may be called: more and more, as long as nobody has what is missing.
    pub(super) fn room_for_calls(&self) -> usize {
        let outgoing = |conn: &&Conn| conn.direction == Direction::Outgoing;
        let under_way = self.conns.values().filter(outgoing).count() + self.book.calling();
        let hungry = self.trackers.iter().map(|tracker| tracker.hungry()).max();
        let calls = CALLS * hungry.unwrap_or(0).max(1) as usize;
        calls.min(MAX_CALLING).saturating_sub(under_way)
    }

    /// A piece is ours, from this connection.
    pub(super) fn note_piece(&mut self, conn: ConnId, piece: PieceIndex) {
        if self.refresh.is_none() {
            return;
        }
        let name = self.name().to_string();
        let layout = &self.shared.metainfo.layout;
        let Some(refresh) = &mut self.refresh else {
            return;
        };
        let there = self.conns.get(&conn).map(Conn::address);
        let Some(from) = there.or_else(|| refresh.gone.get(&conn).copied()) else {
            return;
        };
        if self.torrent.have().has(piece) {
            return;
        }
        refresh.came += 1;
        note(refresh.notes.as_ref(), || Noted::Piece {
            file: name,
            index: piece.as_u32(),
            pieces: layout.pieces(),
            from,
            bytes: layout.piece_size(piece),
        });
    }

    /// Does at once what follows from what has just happened: to announce, and to let the rules
    /// know whether somebody is being called.
    pub fn keep_up(&mut self, now: Instant, us: Identity, announcer: &Announcer) -> Option<Wish> {
        if !self.is_open() {
            return None;
        }
        let (_, uploaded) = self.carried();
        let piece_length = u64::from(self.shared.metainfo.layout.piece_length());
        let refresh = self.refresh.as_ref()?;
        let gave = uploaded.saturating_sub(refresh.told_uploaded) / piece_length;
        let is_due = refresh.came.max(gave as u32) >= REFRESH;
        let stalls = matches!(
            self.torrent.stall(),
            Some(Stall::NoPeers | Stall::NobodyHasMissing)
        );
        for schedule in &mut self.trackers {
            if is_due {
                schedule.restart(now);
            } else if stalls {
                schedule.hurry(now);
            }
        }
        self.announce_if_due(now, us, announcer);
        let first_asked = self.trackers.iter().any(|tracker| tracker.is_first_asked());
        let calling = first_asked || self.book.calling() > 0;
        let refresh = self.refresh.as_mut()?;
        if calling == refresh.calling {
            return None;
        }
        refresh.calling = calling;
        self.tell(now, Event::Calling { calling })
    }
}
