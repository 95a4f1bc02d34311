//! The torrent as a server: who is served, and how a lone seed's first copy is spread.

use std::time::Instant;

use super::Torrent;
use super::choker::{Candidate, Role};
use super::downloading::jobs_in_hand;
use super::event::Effect;
use super::id::ConnId;
use super::spread::Spread;

/// How many suggested pieces a downloader has at least: one that comes and one in reserve.
const SUGGESTED: usize = 2;

impl Torrent {
    pub(super) fn interested(
        &mut self,
        now: Instant,
        conn: ConnId,
        yes: bool,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.interested_in_us = yes;
            self.choke_and_unchoke(now, effects);
        }
    }

    /// Serves whom the choker chooses.
    pub(super) fn choke_and_unchoke(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let interested: Vec<Candidate> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.interested_in_us)
            .map(|(&conn, peer)| Candidate {
                conn,
                unchoked: peer.unchoked,
                rate_from: peer.rate_from.bytes_per_second(),
                sent_to: peer.uploaded,
            })
            .collect();
        let role = self.role();
        let chosen = self.choker.choose(now, role, &interested);
        let mut unchokes = Vec::new();
        for (&conn, peer) in &mut self.peers {
            let unchoke = chosen.contains(&conn);
            if unchoke == peer.unchoked {
                continue;
            }
            peer.unchoked = unchoke;
            if unchoke {
                unchokes.push(Effect::Unchoke { conn });
            } else {
                effects.push(Effect::Choke { conn });
                if let Some(spread) = &mut self.spread {
                    spread.forget(conn);
                }
            }
        }
        // Suggestions come first: an unchoked peer asks at once.
        self.spread_first_copy(effects);
        effects.extend(unchokes);
    }

    fn role(&self) -> Role {
        if !self.is_complete() {
            Role::Downloader
        } else if self.picker.others_have_all() {
            Role::ThriftySeed
        } else {
            Role::Seed
        }
    }

    /// A lone seed spreads its pieces among the downloaders: from the first one on, because what
    /// that one has in hand must not be fetched again by those who come a moment later.
    pub(super) fn spread_first_copy(&mut self, effects: &mut Vec<Effect>) {
        let lone_seed = self.fair.is_none()
            && self.is_complete()
            && self.peers.values().all(|peer| !peer.has.is_full());
        if !lone_seed || self.peers.is_empty() {
            self.spread = None;
            return;
        }
        if self.spread.is_none() {
            let at_nobody = self
                .layout
                .all_pieces()
                .filter(|p| self.picker.availability(*p) == 0);
            self.spread = Some(Spread::new(at_nobody, &mut self.rng));
        }
        let served: Vec<ConnId> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.unchoked)
            .map(|(&conn, _)| conn)
            .collect();
        for conn in served {
            self.suggest(conn, effects);
        }
    }

    /// Suggests as much as the downloader has in hand at its rate; with several of them that is
    /// shared, so that the fast ones need not wait for what the slow ones were suggested.
    pub(super) fn suggest(&mut self, conn: ConnId, effects: &mut Vec<Effect>) {
        let (Some(spread), Some(peer)) = (&mut self.spread, self.peers.get(&conn)) else {
            return;
        };
        if peer.unchoked {
            let served = self.peers.values().filter(|peer| peer.unchoked).count();
            let in_hand = jobs_in_hand(&self.layout, peer.rate_to.bytes_per_second());
            let wanted = SUGGESTED.max(in_hand / served);
            for piece in spread.suggest(conn, &peer.has, wanted) {
                effects.push(Effect::Suggest { conn, piece });
            }
        }
    }
}
