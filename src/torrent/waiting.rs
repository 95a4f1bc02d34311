//! Waiting for memory: who could fetch a piece, and finds no room for it in the budget.
//!
//! All wait in one line, so that everybody's turn comes; reserves are for times in which nobody
//! waits. Memory that is lent comes back when the piece is there. A peer that keeps it and brings
//! no piece loses it, and its piece, to those who wait.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Torrent;
use super::budget::Budget;
use super::event::Effect;
use super::id::ConnId;

/// How long a peer may take for a piece while others wait for memory, at least.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);
/// Who is slower than this, in bytes a second, keeps nobody waiting, however slow all others are.
const SLOWEST: u32 = 8 * 1024;

/// The line, and what is known of the budget.
pub(super) struct Waiting {
    /// As it was before the last event, less what was taken since.
    pub budget: Budget,
    /// Connections of other torrents wait, too.
    pub others_wait: bool,
    /// It is this torrent's turn to take what has come back.
    our_turn: bool,
    /// First to last. Those that were too slow stand behind all others.
    line: VecDeque<ConnId>,
    /// For a piece. Doubles with every one that was taken away, so that it suits a swarm in which
    /// all are slow; every one that comes halves it.
    patience: Duration,
}

impl Waiting {
    /// With room for everything.
    pub fn new() -> Waiting {
        Waiting {
            budget: Budget::unlimited(),
            others_wait: false,
            our_turn: false,
            line: VecDeque::new(),
            patience: PATIENCE,
        }
    }

    /// A piece has come.
    pub fn piece_came(&mut self) {
        self.patience = PATIENCE.max(self.patience / 2);
    }

    pub fn forget(&mut self, conn: ConnId) {
        self.line.retain(|waiting| *waiting != conn);
    }
}

impl Torrent {
    /// What is lent of the memory that all torrents have together, and whether others wait for it.
    /// To be told before each event; nobody but this torrent takes of it until the event is handled.
    pub fn set_budget(&mut self, budget: Budget, others_wait: bool) {
        self.waiting.budget = budget;
        self.waiting.others_wait = others_wait;
    }

    /// How many bytes a connection waits for, if any does.
    pub fn waits_for(&self) -> Option<u32> {
        (!self.waiting.line.is_empty()).then(|| self.layout.longest_piece())
    }

    /// Memory has come back, and it is our turn: if others wait, for one piece.
    pub(super) fn memory_freed(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.waiting.our_turn = true;
        for conn in self.waiting.line.clone() {
            self.fill(now, conn, effects);
        }
        self.waiting.our_turn = false;
    }

    /// Whether there is memory for one more piece on this connection. If not it waits in line for
    /// its first one.
    pub(super) fn may_borrow(&mut self, conn: ConnId) -> bool {
        let Some(peer) = self.peers.get(&conn) else {
            return false;
        };
        let (is_reserve, is_slow) = (!peer.jobs.is_empty(), peer.is_slow);
        let has_room = self.waiting.budget.has_room(self.layout.longest_piece());
        if is_reserve {
            return has_room && self.waiting.line.is_empty() && !self.waiting.others_wait;
        }
        if !self.waiting.line.contains(&conn) {
            let slow = |other: &ConnId| self.peers.get(other).is_some_and(|peer| peer.is_slow);
            let place = match is_slow {
                true => None,
                false => self.waiting.line.iter().position(slow),
            };
            let place = place.unwrap_or(self.waiting.line.len());
            self.waiting.line.insert(place, conn);
        }
        let waiting = &mut self.waiting;
        let is_our_turn = waiting.our_turn || !waiting.others_wait;
        let may = has_room && is_our_turn && waiting.line.front() == Some(&conn);
        if may {
            waiting.line.pop_front();
            waiting.our_turn &= !waiting.others_wait;
        }
        may
    }

    /// After each event: who cannot fetch any more waits no more, and who has memory and brings no
    /// piece loses it to those who wait.
    pub(super) fn mind_memory(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if !self.waiting.line.is_empty() {
            let line = std::mem::take(&mut self.waiting.line);
            let waits = |conn: &ConnId| self.can_fetch(now, *conn) && !self.has_jobs(*conn);
            self.waiting.line = line.into_iter().filter(waits).collect();
        }
        let has_room = self.waiting.budget.has_room(self.layout.longest_piece());
        let we_wait = !self.waiting.line.is_empty() && !has_room;
        if self.waiting.others_wait || we_wait {
            self.take_from_slow(now, effects);
        }
    }

    fn has_jobs(&self, conn: ConnId) -> bool {
        self.peers.get(&conn).is_some_and(|p| !p.jobs.is_empty())
    }

    fn take_from_slow(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let most = Duration::from_secs((self.layout.longest_piece() / SLOWEST).into());
        for (&conn, peer) in self.peers.iter_mut().filter(|(_, p)| !p.jobs.is_empty()) {
            let took = now.saturating_duration_since(peer.working_since);
            if !peer.snubbed && took < self.waiting.patience {
                continue;
            }
            if !peer.snubbed {
                self.waiting.patience = (self.waiting.patience * 2).min(most).max(PATIENCE);
            }
            log::debug!(
                target: "engine",
                "connection {conn}: no piece in {} s, and others wait for its memory", took.as_secs()
            );
            peer.is_slow = true;
            for piece in std::mem::take(&mut peer.jobs) {
                self.picker.released(conn, piece);
                effects.push(Effect::Cancel { conn, piece });
            }
        }
    }
}

#[cfg(test)]
mod tests;
