//! How busy each peer of a batch run is: whom to name first to somebody who asks for a file.
//!
//! Peers say with every announce how much of the torrent they have uploaded, and no more: who has
//! which piece they tell each other only.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::torrent::id::InfoHash;

use super::swarms::Member;

/// So many of the first that are named count as asked: a peer does not call many more.
const CALLED: usize = 6;

#[derive(Debug, Default)]
pub struct Busy {
    peers: HashMap<SocketAddr, Load>,
}

#[derive(Debug, Default)]
struct Load {
    /// Pieces uploaded of each torrent.
    uploaded: HashMap<InfoHash, u64>,
    /// How often it was named among the first.
    named: u64,
}

/// A peer, and how many pieces it has uploaded so far, of all torrents together.
pub type Loaded = (Member, u64);

impl Busy {
    /// A peer says how many pieces of a torrent it has uploaded.
    pub fn report(&mut self, peer: SocketAddr, info_hash: InfoHash, pieces: u64) {
        let uploaded = &mut self.peers.entry(peer).or_default().uploaded;
        uploaded.insert(info_hash, pieces);
    }

    /// The members of a swarm in the order in which `asker` shall try them: who has uploaded least
    /// comes first, among equals the seeds, then those who were named least; the asker stands last.
    pub fn order(&mut self, asker: SocketAddr, members: Vec<Member>) -> Vec<Loaded> {
        let load = |address: &SocketAddr| {
            let load = self.peers.get(address);
            load.map_or((0, 0), |load| (load.uploaded.values().sum(), load.named))
        };
        let mut order: Vec<_> = members
            .into_iter()
            .map(|member| {
                let (uploaded, named) = load(&member.address);
                let is_asker = member.address == asker;
                let key = (is_asker, uploaded, !member.complete, named, member.address);
                (key, (member, uploaded))
            })
            .collect();
        order.sort_unstable_by_key(|(key, _)| *key);
        let order: Vec<Loaded> = order.into_iter().map(|(_, loaded)| loaded).collect();
        for (member, _) in order.iter().take(CALLED) {
            self.peers.entry(member.address).or_default().named += 1;
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Seconds;
    use crate::torrent::id::PeerId;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn member(port: u16, complete: bool) -> Member {
        Member {
            address: address(port),
            id: PeerId([port as u8; 20]),
            complete,
            seen: Seconds(0),
        }
    }

    fn ports(order: &[Loaded]) -> Vec<u16> {
        let port = |(member, _): &Loaded| member.address.port();
        order.iter().map(port).collect()
    }

    #[test]
    fn the_least_busy_come_first_and_the_asker_last() {
        let mut busy = Busy::default();
        let (one, two) = (InfoHash([1; 20]), InfoHash([2; 20]));
        busy.report(address(1), one, 4);
        busy.report(address(1), two, 5);
        busy.report(address(2), one, 30);
        busy.report(address(2), one, 10); // The last word counts: it was started anew.
        busy.report(address(3), two, 8);
        let members = vec![
            member(1, true),
            member(2, true),
            member(3, false),
            member(4, false),
        ];
        let order = busy.order(address(4), members);
        assert_eq!(ports(&order), [3, 1, 2, 4]);
        let uploads: Vec<u64> = order.iter().map(|(_, uploaded)| *uploaded).collect();
        assert_eq!(uploads, [8, 9, 10, 0]);
    }

    #[test]
    fn among_equals_seeds_come_first_then_those_who_were_named_least() {
        let mut busy = Busy::default();
        let leechers = || (10..30).map(|port| member(port, false)).collect::<Vec<_>>();
        let mut first = leechers();
        first.push(member(99, true));
        let order = ports(&busy.order(address(10), first));
        assert_eq!(order[..3], [99, 11, 12]);
        assert_eq!(order.last(), Some(&10));
        let next = ports(&busy.order(address(11), leechers()));
        assert_eq!(next[0], 10, "not those again who were named just now");
    }
}
