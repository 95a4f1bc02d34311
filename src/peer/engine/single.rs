//! Single peers that the user names: called now, or parted from and left alone.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use crate::peer::addresses::Standing;
use crate::peer::connection::Handshaken;
use crate::peer::dial::CONNECT;
use crate::peer::managed::Managed;
use crate::peer::shake::HANDSHAKE;
use crate::peer::view::CallOutcome;
use crate::torrent::id::{ConnId, InfoHash, PeerId};

use super::{Engine, EngineError};

/// How long a call may take that the user waits for: until a thread is free, and as long as calls
/// take.
const CALL: Duration = CONNECT
    .saturating_add(HANDSHAKE)
    .saturating_add(Duration::from_secs(1));

/// A call of which somebody waits to hear.
pub struct Awaited {
    pub info_hash: InfoHash,
    address: SocketAddr,
    until: Instant,
    tell: Sender<CallOutcome>,
}

impl Engine {
    /// Who waits hears of each call, and that all are over when nobody holds `tell` any more.
    pub(super) fn connect(
        &mut self,
        now: Instant,
        address: SocketAddr,
        tell: &Sender<CallOutcome>,
    ) {
        self.shunned.remove(address);
        let mut changed = Vec::new();
        for torrent in self
            .torrents
            .values_mut()
            .filter(|torrent| torrent.is_open())
        {
            let info_hash = torrent.info_hash();
            let (standing, is_new_source) = torrent.name_peer(now, address);
            if is_new_source {
                changed.push(info_hash);
            }
            let result = match standing {
                Standing::ToBeCalled => {
                    self.awaited.push(Awaited {
                        info_hash,
                        address,
                        until: now + CALL,
                        tell: tell.clone(),
                    });
                    continue;
                }
                Standing::Connected => Ok(()),
                Standing::Banned => Err("it has sent wrong data and is banned".into()),
            };
            let torrent = torrent.name().to_string();
            // Whoever asked may have stopped waiting.
            let _ = tell.send(CallOutcome { torrent, result });
        }
        for torrent in changed.iter().filter_map(|it| self.torrents.get(it)) {
            self.remember(torrent, false);
        }
        self.call(now);
    }

    /// Tells those who wait for it what came of a call.
    pub(super) fn call_ended(
        &mut self,
        info_hash: InfoHash,
        address: SocketAddr,
        result: Result<(), String>,
    ) {
        let Some(torrent) = self.torrents.get(&info_hash) else {
            return;
        };
        let is_it = |call: &mut Awaited| (call.info_hash, call.address) == (info_hash, address);
        for call in self.awaited.extract_if(.., is_it) {
            let (torrent, result) = (torrent.name().to_string(), result.clone());
            let _ = call.tell.send(CallOutcome { torrent, result });
        }
    }

    pub(super) fn forget_overdue_calls(&mut self, now: Instant) {
        for call in self.awaited.extract_if(.., |call| call.until <= now) {
            if let Some(torrent) = self.torrents.get(&call.info_hash) {
                let torrent = torrent.name().to_string();
                let result = Err("it could not be called in time: too much is going on".into());
                let _ = call.tell.send(CallOutcome { torrent, result });
            }
        }
    }

    /// Returns how many connections were ended.
    pub(super) fn disconnect(&mut self, now: Instant, address: SocketAddr) -> usize {
        let connected = self.torrents.values().flat_map(Managed::connected);
        let there = connected.filter(|(_, at)| *at == address);
        let peers: Vec<PeerId> = there.map(|(peer, _)| peer).collect();
        self.shunned.add(address, None);
        peers
            .into_iter()
            .map(|peer| self.part(now, address, peer))
            .sum()
    }

    /// Returns who that was.
    pub(super) fn disconnect_all(&mut self, now: Instant) -> Vec<SocketAddr> {
        let connected = self.torrents.values().flat_map(Managed::connected);
        let mut everybody: Vec<(PeerId, SocketAddr)> = connected.collect();
        everybody.sort_unstable();
        everybody.dedup();
        let mut addresses = Vec::new();
        for (peer, address) in everybody {
            self.part(now, address, peer);
            addresses.push(address);
        }
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    /// Ends every connection with this peer, whoever called, and leaves it alone.
    fn part(&mut self, now: Instant, address: SocketAddr, peer: PeerId) -> usize {
        self.shunned.add(address, Some(peer));
        let torrents = self.torrents.values_mut();
        torrents
            .map(|torrent| torrent.disconnect_peer(now, peer))
            .sum()
    }

    pub(super) fn is_shunned(&self, handshaken: &Handshaken) -> bool {
        self.shunned.has(handshaken.address) || self.shunned.has_peer(handshaken.handshake.peer_id)
    }

    /// A caller has said where it listens: only now it is seen who that is.
    pub(super) fn part_if_shunned(&mut self, now: Instant, info_hash: InfoHash, conn: ConnId) {
        let torrent = self.torrents.get(&info_hash);
        let whom = torrent.and_then(|torrent| torrent.connected_on(conn));
        if let Some((peer, address)) = whom.filter(|(_, address)| self.shunned.has(*address)) {
            self.part(now, address, peer);
        }
    }

    /// Others say that it may be fetched there, too.
    pub(super) fn add_addresses(
        &mut self,
        now: Instant,
        info_hash: InfoHash,
        addresses: &[SocketAddr],
    ) -> Result<(), EngineError> {
        let torrent = self.torrents.get_mut(&info_hash);
        torrent.ok_or(EngineError::Unknown)?.learn(now, addresses);
        Ok(())
    }
}
