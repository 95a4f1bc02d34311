//! The torrent as a downloader: what the peers have, who fetches what, what has come.

use std::time::{Duration, Instant};

use super::bitfield::Bitfield;
use super::event::Effect;
use super::id::ConnId;
use super::layout::{Layout, PieceIndex};
use super::peer::Peer;
use super::picker::{Picked, Picker};
use super::{Torrent, pipeline};

/// A peer that has work, does not choke us and sends nothing for this long is snubbed: others
/// get its pieces, it gets no new ones until something comes.
pub const SNUB_AFTER: Duration = Duration::from_secs(10);

/// How long a peer that refused a piece is left alone with it. It may have had too much to do.
pub(super) const REFUSAL_PAUSE: Duration = Duration::from_secs(3);

/// How long a downloader waits for the next suggestion of a seed that suggests pieces, before it
/// chooses for itself.
const SUGGESTION_PATIENCE: Duration = Duration::from_secs(5);

/// Pieces that a connection has in hand beside the one that it works on: at least this many.
const RESERVE: usize = 1;
/// The most pieces in hand on one connection, and the most bytes of them beyond the first two.
const MAX_JOBS: usize = 32;
const MAX_JOB_BYTES: u64 = 8 * 1024 * 1024;

impl Torrent {
    /// Who is a source no longer gives its piece jobs back.
    pub(super) fn set_source(
        &mut self,
        now: Instant,
        conn: ConnId,
        is_source: bool,
        effects: &mut Vec<Effect>,
    ) {
        let Some(peer) = self.peers.get_mut(&conn) else {
            return;
        };
        peer.is_source = is_source;
        if !is_source {
            for piece in std::mem::take(&mut peer.jobs) {
                self.picker.released(conn, piece);
                effects.push(Effect::Cancel { conn, piece });
            }
            self.fill_idle(now, effects);
        }
        self.show_interest(conn, effects);
        self.fill(now, conn, effects);
    }

    pub(super) fn bitfield(
        &mut self,
        now: Instant,
        conn: ConnId,
        pieces: Bitfield,
        effects: &mut Vec<Effect>,
    ) {
        let pieces = self.layout.all_pieces().filter(|piece| pieces.has(*piece));
        self.note_pieces(conn, pieces);
        self.after_they_gained(now, conn, effects);
    }

    pub(super) fn peer_has(
        &mut self,
        now: Instant,
        conn: ConnId,
        piece: PieceIndex,
        effects: &mut Vec<Effect>,
    ) {
        if self.note_pieces(conn, [piece].into_iter()) {
            self.after_they_gained(now, conn, effects);
        }
    }

    /// The peer has these pieces. Whether that is news.
    fn note_pieces(
        &mut self,
        conn: ConnId,
        pieces: impl Iterator<Item = PieceIndex> + Clone,
    ) -> bool {
        let Some(peer) = self.peers.get_mut(&conn) else {
            return false;
        };
        peer.introduced = true;
        // Looked at several times: of a large torrent a list would take megabytes.
        let new = pieces.clone().filter(|piece| !peer.has.has(*piece));
        self.picker.gained(conn, new.clone());
        if let Some(spread) = &mut self.spread {
            // The first one to have a piece makes it need no more spreading.
            new.clone()
                .filter(|piece| self.picker.availability(*piece) == 1)
                .for_each(|piece| spread.is_out(piece));
        }
        let missing = new.clone().filter(|it| !self.picker.have().has(*it));
        peer.useful += missing.count() as u32;
        let is_news = new.clone().next().is_some();
        for piece in pieces {
            peer.has.insert(piece);
        }
        is_news
    }

    pub(super) fn after_they_gained(
        &mut self,
        now: Instant,
        conn: ConnId,
        effects: &mut Vec<Effect>,
    ) {
        let both_complete =
            self.is_complete() && self.peers.get(&conn).is_some_and(|peer| peer.has.is_full());
        if both_complete {
            effects.push(Effect::PartAsSeeds { conn });
            return;
        }
        self.show_interest(conn, effects);
        self.fill(now, conn, effects);
        self.suggest(conn, effects);
    }

    pub(super) fn suggested(
        &mut self,
        now: Instant,
        conn: ConnId,
        piece: PieceIndex,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(peer) = self.peers.get_mut(&conn)
            && peer.suggestions.len() < MAX_JOBS
            && self.fair.is_none()
        {
            peer.suggestions.push_back(piece);
            peer.suggested = Some(now);
            self.fill(now, conn, effects);
        }
    }

    pub(super) fn choked(&mut self, now: Instant, conn: ConnId, effects: &mut Vec<Effect>) {
        let Some(peer) = self.peers.get_mut(&conn) else {
            return;
        };
        peer.chokes_us = true;
        self.set_jobs_live(conn, false);
        self.fill_idle(now, effects);
    }

    pub(super) fn unchoked(&mut self, now: Instant, conn: ConnId, effects: &mut Vec<Effect>) {
        let Some(peer) = self.peers.get_mut(&conn) else {
            return;
        };
        log::trace!(target: "hop", "connection {conn}: serves us now");
        peer.chokes_us = false;
        peer.snubbed = false;
        peer.active = now;
        self.set_jobs_live(conn, true);
        self.fill(now, conn, effects);
    }

    pub(super) fn piece_saved(
        &mut self,
        now: Instant,
        conn: ConnId,
        piece: PieceIndex,
        effects: &mut Vec<Effect>,
    ) {
        log::trace!(target: "hop", "piece {piece}: ours, from connection {conn}");
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.saved += 1;
            peer.active = now;
            peer.working_since = now;
            peer.is_slow = false;
            self.waiting.piece_came();
        }
        let new = !self.have().has(piece);
        self.forget_job(conn, piece);
        let mut late = self.picker.saved(piece);
        late.retain(|fetcher| *fetcher != conn);
        for &conn in &late {
            self.forget_job(conn, piece);
            effects.push(Effect::Cancel { conn, piece });
        }
        if new {
            self.announce_piece(piece, effects);
        }
        if new && self.is_complete() {
            effects.push(Effect::Completed);
            for (&conn, _) in self.peers.iter().filter(|(_, peer)| peer.has.is_full()) {
                effects.push(Effect::PartAsSeeds { conn });
            }
        }
        for conn in late.into_iter().chain([conn]) {
            self.fill(now, conn, effects);
        }
        if self.fair.is_some() {
            // It may be somebody else's turn now.
            self.fill_idle(now, effects);
        }
    }

    /// Tells everybody, also those who have the piece: a seed that spreads its first copy needs
    /// to know. Loses interest in those who have nothing else for us.
    pub(super) fn announce_piece(&mut self, piece: PieceIndex, effects: &mut Vec<Effect>) {
        for (&conn, peer) in &mut self.peers {
            effects.push(Effect::Have { conn, piece });
            if peer.has.has(piece) {
                peer.useful -= 1;
                peer.show_interest(conn, effects);
            }
        }
    }

    pub(super) fn piece_refused(
        &mut self,
        now: Instant,
        conn: ConnId,
        piece: PieceIndex,
        effects: &mut Vec<Effect>,
    ) {
        self.give_back(conn, piece);
        if let Some(peer) = self.peers.get_mut(&conn)
            && peer.has.remove(piece)
        {
            // It may have the piece; for us that is for a while as if it had not.
            peer.refused.push_back((now, piece));
            self.picker.lost([piece]);
            peer.useful -= u32::from(!self.picker.have().has(piece));
            peer.show_interest(conn, effects);
        }
        self.fill(now, conn, effects);
        self.fill_idle(now, effects);
    }

    /// What was refused may be asked for again after a pause.
    pub(super) fn forget_refusals(
        &mut self,
        now: Instant,
        conn: ConnId,
        effects: &mut Vec<Effect>,
    ) {
        while let Some(peer) = self.peers.get_mut(&conn)
            && let Some(&(at, piece)) = peer.refused.front()
            && now.saturating_duration_since(at) >= REFUSAL_PAUSE
        {
            peer.refused.pop_front();
            self.peer_has(now, conn, piece, effects);
        }
    }

    pub(super) fn traffic(&mut self, now: Instant, conn: ConnId, downloaded: u64, uploaded: u64) {
        let Some(peer) = self.peers.get_mut(&conn) else {
            return;
        };
        peer.rate_from.update(now, downloaded);
        peer.rate_to.update(now, uploaded);
        peer.uploaded = uploaded;
        let came = downloaded > peer.downloaded;
        peer.downloaded = downloaded;
        if came || peer.chokes_us || peer.jobs.is_empty() {
            peer.active = now;
        }
        let silent = now.saturating_duration_since(peer.active) >= SNUB_AFTER;
        // Whoever has no work left is not to blame for sending nothing.
        if silent != peer.snubbed && (silent || came || peer.jobs.is_empty()) {
            peer.snubbed = silent;
            let live = !silent && !peer.chokes_us;
            self.set_jobs_live(conn, live);
        }
    }

    /// A job that will not be done on this connection.
    pub(super) fn give_back(&mut self, conn: ConnId, piece: PieceIndex) {
        self.forget_job(conn, piece);
        self.picker.released(conn, piece);
    }

    pub(super) fn forget_job(&mut self, conn: ConnId, piece: PieceIndex) {
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.jobs.retain(|job| *job != piece);
        }
    }

    pub(super) fn set_jobs_live(&mut self, conn: ConnId, live: bool) {
        for &piece in self
            .peers
            .get(&conn)
            .into_iter()
            .flat_map(|peer| &peer.jobs)
        {
            self.picker.set_live(conn, piece, live);
        }
    }

    pub(super) fn show_interest(&mut self, conn: ConnId, effects: &mut Vec<Effect>) {
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.show_interest(conn, effects);
        }
    }

    /// Work for everybody who has none: a piece has become free, or the endgame has begun.
    pub(super) fn fill_idle(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let idle: Vec<ConnId> = self
            .peers
            .iter()
            .filter(|(_, peer)| !peer.chokes_us && peer.useful > 0 && peer.jobs.is_empty())
            .map(|(&conn, _)| conn)
            .collect();
        for conn in idle {
            self.fill(now, conn, effects);
        }
    }

    /// Gives a connection as many piece jobs as it shall have in hand.
    pub(super) fn fill(&mut self, now: Instant, conn: ConnId, effects: &mut Vec<Effect>) {
        if !self.can_fetch(now, conn) {
            return;
        }
        while self.shall_have_more(conn) && self.may_borrow(conn) {
            let Some(peer) = self.peers.get_mut(&conn) else {
                break;
            };
            let Some(piece) = next_piece(now, conn, peer, &mut self.picker) else {
                break;
            };
            log::trace!(target: "hop", "piece {piece}: picked for connection {conn}");
            if peer.jobs.is_empty() {
                peer.working_since = now;
            }
            peer.jobs.push(piece);
            self.waiting.budget.lend(self.layout.piece_size(piece));
            effects.push(Effect::Fetch { conn, piece });
        }
    }

    /// Whether a connection would do a piece job now.
    pub(super) fn can_fetch(&self, now: Instant, conn: ConnId) -> bool {
        let can =
            |peer: &Peer| peer.is_source && !peer.chokes_us && !peer.snubbed && peer.useful > 0;
        self.peers.get(&conn).is_some_and(can) && self.is_its_turn(now, conn)
    }

    /// Whether a connection has fewer piece jobs than it shall have.
    fn shall_have_more(&self, conn: ConnId) -> bool {
        let Some(peer) = self.peers.get(&conn) else {
            return false;
        };
        let target = match self.fair {
            Some(_) => 1,
            None => jobs_in_hand(&self.layout, peer.rate_from.bytes_per_second()),
        };
        peer.jobs.len() < target
    }
}

/// The next piece for a connection: what its peer suggests, else what the picker says.
fn next_piece(
    now: Instant,
    conn: ConnId,
    peer: &mut Peer,
    picker: &mut Picker,
) -> Option<PieceIndex> {
    while let Some(piece) = peer.suggestions.pop_front() {
        if peer.has.has(piece) && picker.pick_this(now, conn, piece) {
            return Some(piece);
        }
    }
    let waits = |at: Instant| now.saturating_duration_since(at) < SUGGESTION_PATIENCE;
    if peer.suggested.is_some_and(waits) {
        return None;
    }
    match picker.pick(now, conn, &peer.has, peer.jobs.is_empty()) {
        Picked::New(piece) | Picked::Endgame(piece) => Some(piece),
        Picked::Nothing => None,
    }
}

/// How many pieces a connection shall have in hand: what it delivers in the time that a full
/// pipeline covers, and at least one in reserve.
pub(super) fn jobs_in_hand(layout: &Layout, bytes_per_second: u64) -> usize {
    // Half of the pipeline outlasts every pause of a peer that we know of; all of it would take
    // pieces that others could fetch sooner.
    let ahead = (bytes_per_second as f64 * pipeline::AHEAD.as_secs_f64() / 2.0) as u64;
    let pieces = ahead.min(MAX_JOB_BYTES) / u64::from(layout.piece_length());
    (pieces as usize + 1 + RESERVE).min(MAX_JOBS)
}
