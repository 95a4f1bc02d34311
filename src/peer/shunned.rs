//! Who is left alone because the user has disconnected them: nobody calls there, and calls from
//! there are refused, until the user names the address again.
//!
//! Pure: values only. Callers come from a port of their system's choice, so whoever was seen to
//! listen at a shunned address is known by peer id, too.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::torrent::id::PeerId;

#[derive(Default)]
pub struct Shunned {
    /// Where they listen, and who they are, as far as that was seen.
    addresses: BTreeMap<SocketAddr, Option<PeerId>>,
}

impl Shunned {
    pub fn add(&mut self, address: SocketAddr, peer: Option<PeerId>) {
        let known = self.addresses.entry(address).or_default();
        *known = peer.or(*known);
    }

    pub fn remove(&mut self, address: SocketAddr) {
        self.addresses.remove(&address);
    }

    pub fn has(&self, address: SocketAddr) -> bool {
        self.addresses.contains_key(&address)
    }

    pub fn has_peer(&self, peer: PeerId) -> bool {
        self.addresses.values().any(|known| *known == Some(peer))
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_shunned_by_address_and_by_id_until_it_is_named_again() {
        let mut shunned = Shunned::default();
        let (address, peer) = (SocketAddr::from(([127, 0, 0, 1], 7600)), PeerId([7; 20]));
        shunned.add(address, None);
        assert!(shunned.has(address) && !shunned.has_peer(peer));
        shunned.add(address, Some(peer));
        shunned.add(address, None);
        assert!(shunned.has_peer(peer), "once seen it stays known");
        shunned.remove(address);
        assert!(!shunned.has(address) && !shunned.has_peer(peer));
    }
}
