//! Swarms, and the chance by which some of their peers are named to others.

use std::net::{IpAddr, SocketAddr};

use parking_lot::Mutex;
use rand::rngs::StdRng;

use crate::announce::request::AnnounceRequest;
use crate::announce::response::AnnounceResponse;
use crate::announce::scrape::Counts;
use crate::control::reply::PeerEntry;
use crate::control::sync::SwarmLine;
use crate::registry::Seconds;
use crate::registry::swarms::{Limits, Member, SwarmError, Swarms};
use crate::torrent::id::InfoHash;

/// How many peers are named to an asker that does not say how many it would like.
const NUMWANT_DEFAULT: u32 = 50;
/// How many peers are named to anybody: 1.2 KiB compact.
pub(super) const NUMWANT_MAX: u32 = 200;

/// Some swarms behind a lock. Those of groups and those for everybody are never in one crowd.
pub struct Crowd {
    interval: u32,
    inside: Mutex<Inside>,
}

struct Inside {
    swarms: Swarms,
    rng: StdRng,
}

impl Crowd {
    /// `interval` is the seconds between two announces of a peer.
    pub fn new(limits: Limits, interval: u32) -> Crowd {
        let expiry = (u64::from(interval) * 5 / 2) as u32;
        Crowd {
            interval,
            inside: Mutex::new(Inside {
                swarms: Swarms::new(Limits { expiry, ..limits }),
                rng: rand::make_rng(),
            }),
        }
    }

    pub fn announce(
        &self,
        now: Seconds,
        ip: IpAddr,
        request: &AnnounceRequest,
    ) -> Result<AnnounceResponse, SwarmError> {
        let numwant = request.numwant.unwrap_or(NUMWANT_DEFAULT).min(NUMWANT_MAX) as usize;
        let announced = {
            let Inside { swarms, rng } = &mut *self.inside.lock();
            swarms.announce(now, ip, request, numwant, rng)?
        };
        Ok(AnnounceResponse {
            interval: self.interval,
            complete: announced.counts.complete,
            incomplete: announced.counts.incomplete,
            downloaded: Some(announced.counts.downloaded),
            peers: announced.peers,
            ..AnnounceResponse::default()
        })
    }

    /// Takes in what another tracker tells of a peer.
    pub fn hear(&self, now: Seconds, line: &SwarmLine) {
        let request = AnnounceRequest {
            info_hash: line.info_hash,
            peer_id: line.peer_id,
            port: line.address.port(),
            uploaded: 0,
            downloaded: 0,
            left: line.left,
            event: line.event,
            numwant: Some(0),
        };
        let seen = Seconds(now.0.saturating_sub(line.age));
        let Inside { swarms, rng } = &mut *self.inside.lock();
        let known = swarms.last_seen(&line.info_hash, line.address);
        // What is older than what we know ourselves says nothing.
        if known.is_some_and(|known| known > seen) {
            return;
        }
        // Full is full: the peer announces itself again.
        let _ = swarms.announce(seen, line.address.ip(), &request, 0, rng);
    }

    /// Takes a peer out of a swarm. True if it was there and had everything.
    pub fn leave(&self, now: Seconds, info_hash: InfoHash, address: SocketAddr) -> bool {
        self.inside.lock().swarms.leave(now, info_hash, address)
    }

    pub fn counts(&self, info_hash: &InfoHash) -> Counts {
        self.look(|swarms| swarms.counts(info_hash).unwrap_or_default())
    }

    /// Who is in a swarm: as many as are named to anybody, seeders first.
    pub fn peers(&self, info_hash: &InfoHash) -> Vec<PeerEntry> {
        let members = self.look(|swarms| swarms.members(info_hash));
        let entry = |member: Member| PeerEntry {
            address: member.address,
            seeder: member.complete,
        };
        let named = members.into_iter().take(NUMWANT_MAX as usize);
        named.map(entry).collect()
    }

    /// Looks at the swarms. Nothing slow may happen in `look`, nor may it take another lock.
    pub fn look<T>(&self, look: impl FnOnce(&Swarms) -> T) -> T {
        look(&self.inside.lock().swarms)
    }

    /// Forgets who has been silent for too long.
    pub fn sweep(&self, now: Seconds) {
        self.inside.lock().swarms.sweep(now);
    }
}
