//! Swarms: who holds a torrent right now, as far as the peers have said lately (BEP 3, 7, 48).
//!
//! Soft knowledge: announced, forgotten when not announced again, never stored. Peers with IPv4
//! and IPv6 addresses are kept apart; an asker is told those of its own family first.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rand::Rng;
use rand::seq::index;

use crate::announce::request::{AnnounceRequest, Event};
use crate::announce::response::AnnouncedPeer;
use crate::announce::scrape::Counts;
use crate::torrent::id::{InfoHash, PeerId};

use super::Seconds;

/// How much may be known at once: what anybody can announce must not take all memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub swarms: usize,
    pub peers_per_swarm: usize,
    pub peers: usize,
    /// Seconds after its last announce that a peer is forgotten, and a swarm after its last peer.
    pub expiry: u32,
}

impl Default for Limits {
    /// A million peers of under 200 bytes each.
    fn default() -> Limits {
        Limits {
            swarms: 200_000,
            peers_per_swarm: 200_000,
            peers: 1_000_000,
            expiry: 300,
        }
    }
}

/// Every swarm. The counts in it are kept, not counted when asked for.
#[derive(Debug, Default)]
pub struct Swarms {
    limits: Limits,
    by_hash: HashMap<InfoHash, Swarm>,
    peers: usize,
}

/// Why a peer was not taken in. For the asker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SwarmError {
    #[error("this tracker knows as many torrents as it can ({0})")]
    TooManySwarms(usize),
    #[error("this tracker knows as many peers as it can ({0})")]
    TooManyPeers(usize),
    #[error("this torrent has as many peers as this tracker can know ({0})")]
    SwarmFull(usize),
}

/// How the swarm stands after an announce, and some others in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Announced {
    pub counts: Counts,
    pub peers: Vec<AnnouncedPeer>,
}

/// One peer as a tracker's prompt shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    pub address: SocketAddr,
    pub id: PeerId,
    pub complete: bool,
    pub seen: Seconds,
}

impl Swarms {
    pub fn new(limits: Limits) -> Swarms {
        Swarms {
            limits,
            ..Swarms::default()
        }
    }

    /// Takes in what the peer at `ip` says, and samples up to `numwant` others for it. Seeds
    /// are not told of seeds.
    pub fn announce(
        &mut self,
        now: Seconds,
        ip: IpAddr,
        request: &AnnounceRequest,
        numwant: usize,
        rng: &mut impl Rng,
    ) -> Result<Announced, SwarmError> {
        let address = SocketAddr::new(ip, request.port);
        if request.event == Event::Stopped {
            self.leave(now, request.info_hash, address);
            return Ok(Announced {
                counts: self.counts(&request.info_hash).unwrap_or_default(),
                peers: Vec::new(),
            });
        }
        let limits = self.limits;
        if !self.by_hash.contains_key(&request.info_hash) && self.by_hash.len() >= limits.swarms {
            return Err(SwarmError::TooManySwarms(limits.swarms));
        }
        let swarm = self.by_hash.entry(request.info_hash).or_default();
        let new = !swarm.contains(address);
        if new && self.peers >= limits.peers {
            return Err(SwarmError::TooManyPeers(limits.peers));
        }
        if new && swarm.len() >= limits.peers_per_swarm {
            return Err(SwarmError::SwarmFull(limits.peers_per_swarm));
        }
        self.peers += usize::from(new);
        swarm.active = swarm.active.max(now);
        let complete = request.left == 0;
        let completed = complete && request.event == Event::Completed;
        if swarm.put(now, address, request.peer_id, complete, completed) {
            swarm.downloaded = swarm.downloaded.saturating_add(1);
        }
        Ok(Announced {
            counts: swarm.counts(),
            peers: swarm.sample(address, complete, numwant, rng),
        })
    }

    /// Takes a peer out of a swarm. True if it was there and had everything.
    pub fn leave(&mut self, now: Seconds, info_hash: InfoHash, address: SocketAddr) -> bool {
        let Some(swarm) = self.by_hash.get_mut(&info_hash) else {
            return false;
        };
        let complete = swarm.remove(address);
        if complete.is_some() {
            self.peers -= 1;
            swarm.active = now;
        }
        complete == Some(true)
    }

    /// When a peer was last heard of.
    pub fn last_seen(&self, info_hash: &InfoHash, address: SocketAddr) -> Option<Seconds> {
        let swarm = self.by_hash.get(info_hash)?;
        match address.ip() {
            IpAddr::V4(ip) => swarm.v4.last_seen(ip, address.port()),
            IpAddr::V6(ip) => swarm.v6.last_seen(ip, address.port()),
        }
    }

    /// `None` if nobody has announced this torrent lately.
    pub fn counts(&self, info_hash: &InfoHash) -> Option<Counts> {
        self.by_hash.get(info_hash).map(Swarm::counts)
    }

    /// How many swarms are known.
    pub fn len(&self) -> usize {
        self.by_hash.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    /// How many peers are known, a peer once a swarm.
    pub fn peers(&self) -> usize {
        self.peers
    }

    /// Every swarm and how it stands, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (InfoHash, Counts)> + '_ {
        self.by_hash
            .iter()
            .map(|(hash, swarm)| (*hash, swarm.counts()))
    }

    /// Everybody in a swarm, seeds first.
    pub fn members(&self, info_hash: &InfoHash) -> Vec<Member> {
        let swarm = self.by_hash.get(info_hash);
        let members = swarm.map(|swarm| {
            let v4 = swarm.v4.members();
            v4.chain(swarm.v6.members()).collect::<Vec<_>>()
        });
        let mut members = members.unwrap_or_default();
        members.sort_by_key(|member| (!member.complete, member.address));
        members
    }

    /// At most so many of a swarm, seeds first: to look at all of a large one takes long.
    pub fn some_members(&self, info_hash: &InfoHash, most: usize) -> Vec<Member> {
        let swarm = self.by_hash.get(info_hash);
        let members = swarm.map(|swarm| {
            let v4 = swarm.v4.members();
            v4.chain(swarm.v6.members()).take(most).collect()
        });
        members.unwrap_or_default()
    }

    /// Forgets peers that have been silent for too long, and swarms without any.
    pub fn sweep(&mut self, now: Seconds) {
        let expiry = self.limits.expiry;
        let mut gone = 0;
        self.by_hash.retain(|_, swarm| {
            gone += swarm.v4.sweep(now, expiry) + swarm.v6.sweep(now, expiry);
            // An empty one is kept for a while: it knows how often it was downloaded.
            swarm.len() > 0 || now.since(swarm.active) < expiry
        });
        self.peers -= gone;
        debug_assert_eq!(self.peers, self.by_hash.values().map(Swarm::len).sum());
        // A crowd that has left leaves no memory behind.
        if self.by_hash.len() < self.by_hash.capacity() / 4 {
            self.by_hash.shrink_to_fit();
        }
    }
}

#[derive(Debug, Default)]
struct Swarm {
    v4: Family<Ipv4Addr>,
    v6: Family<Ipv6Addr>,
    downloaded: u32,
    /// When somebody last came or went.
    active: Seconds,
}

impl Swarm {
    fn len(&self) -> usize {
        self.v4.peers.len() + self.v6.peers.len()
    }

    fn counts(&self) -> Counts {
        let complete = self.v4.seeds + self.v6.seeds;
        Counts {
            complete: complete as u32,
            incomplete: (self.len() - complete) as u32,
            downloaded: self.downloaded,
        }
    }

    fn contains(&self, address: SocketAddr) -> bool {
        match address.ip() {
            IpAddr::V4(ip) => self.v4.contains(ip, address.port()),
            IpAddr::V6(ip) => self.v6.contains(ip, address.port()),
        }
    }

    /// Adds or renews a peer. Whether this is a download that is to be counted.
    fn put(
        &mut self,
        now: Seconds,
        address: SocketAddr,
        id: PeerId,
        complete: bool,
        completed: bool,
    ) -> bool {
        let port = address.port();
        match address.ip() {
            IpAddr::V4(ip) => self.v4.put(now, ip, port, id, complete, completed),
            IpAddr::V6(ip) => self.v6.put(now, ip, port, id, complete, completed),
        }
    }

    /// Whether it had everything, if it was there.
    fn remove(&mut self, address: SocketAddr) -> Option<bool> {
        match address.ip() {
            IpAddr::V4(ip) => self.v4.remove(ip, address.port()),
            IpAddr::V6(ip) => self.v6.remove(ip, address.port()),
        }
    }

    fn sample(
        &self,
        asker: SocketAddr,
        complete: bool,
        numwant: usize,
        rng: &mut impl Rng,
    ) -> Vec<AnnouncedPeer> {
        let mut peers = Vec::with_capacity(numwant.min(self.len()));
        let port = asker.port();
        match asker.ip() {
            IpAddr::V4(ip) => {
                self.v4
                    .sample(Some((ip, port)), complete, numwant, rng, &mut peers);
                self.v6.sample(None, complete, numwant, rng, &mut peers);
            }
            IpAddr::V6(ip) => {
                self.v6
                    .sample(Some((ip, port)), complete, numwant, rng, &mut peers);
                self.v4.sample(None, complete, numwant, rng, &mut peers);
            }
        }
        peers
    }
}

/// The peers of one address family.
///
/// Invariant: `peers` has the seeds first, `seeds` of them, and `places` says where in it each
/// address is. So any part of it can be sampled without looking at the rest.
#[derive(Debug)]
struct Family<Ip> {
    peers: Vec<Peer<Ip>>,
    seeds: usize,
    places: HashMap<(Ip, u16), u32>,
}

#[derive(Debug, Clone, Copy)]
struct Peer<Ip> {
    ip: Ip,
    port: u16,
    id: PeerId,
    seen: Seconds,
    /// It lacked something before our eyes, and has not said since that it has completed.
    fetches: bool,
}

impl<Ip> Default for Family<Ip> {
    fn default() -> Family<Ip> {
        Family {
            peers: Vec::new(),
            seeds: 0,
            places: HashMap::new(),
        }
    }
}

impl<Ip: Copy + Eq + Hash + Into<IpAddr>> Family<Ip> {
    fn place(&self, ip: Ip, port: u16) -> Option<usize> {
        self.places.get(&(ip, port)).map(|&place| place as usize)
    }

    fn last_seen(&self, ip: Ip, port: u16) -> Option<Seconds> {
        self.place(ip, port).map(|place| self.peers[place].seen)
    }

    fn contains(&self, ip: Ip, port: u16) -> bool {
        self.places.contains_key(&(ip, port))
    }

    /// A download is counted when it happens before our eyes, and once: some seeds say
    /// `completed` at every announce.
    fn put(
        &mut self,
        now: Seconds,
        ip: Ip,
        port: u16,
        id: PeerId,
        complete: bool,
        completed: bool,
    ) -> bool {
        let (place, was) = match self.place(ip, port) {
            Some(place) => (place, Some(place < self.seeds)),
            None => {
                let peer = Peer {
                    ip,
                    port,
                    id,
                    seen: now,
                    fetches: false,
                };
                self.peers.push(peer);
                let place = self.peers.len() - 1;
                // A swarm has fewer than 2^32 peers: its limit is far below.
                self.places.insert((ip, port), place as u32);
                (place, None)
            }
        };
        let peer = &mut self.peers[place];
        peer.id = id;
        peer.seen = now;
        let count = completed && peer.fetches;
        peer.fetches = !complete || (peer.fetches && !count);
        match (was.unwrap_or(false), complete) {
            (false, true) => {
                self.swap(place, self.seeds);
                self.seeds += 1;
            }
            (true, false) => {
                self.seeds -= 1;
                self.swap(place, self.seeds);
            }
            (true, true) | (false, false) => {}
        }
        count
    }

    fn remove(&mut self, ip: Ip, port: u16) -> Option<bool> {
        let place = self.place(ip, port)?;
        Some(self.remove_at(place))
    }

    fn remove_at(&mut self, mut place: usize) -> bool {
        let complete = place < self.seeds;
        if complete {
            self.seeds -= 1;
            self.swap(place, self.seeds);
            place = self.seeds;
        }
        self.swap(place, self.peers.len() - 1);
        if let Some(peer) = self.peers.pop() {
            self.places.remove(&(peer.ip, peer.port));
        }
        complete
    }

    fn swap(&mut self, a: usize, b: usize) {
        if a != b {
            self.peers.swap(a, b);
            for place in [a, b] {
                let peer = self.peers[place];
                self.places.insert((peer.ip, peer.port), place as u32);
            }
        }
    }

    /// Forgets the silent ones. How many they were.
    fn sweep(&mut self, now: Seconds, expiry: u32) -> usize {
        let before = self.peers.len();
        // From the end, so that what is moved into a gap has been looked at.
        for place in (0..before).rev() {
            if place < self.peers.len() && now.since(self.peers[place].seen) >= expiry {
                self.remove_at(place);
            }
        }
        if self.peers.len() < self.peers.capacity() / 4 {
            self.peers.shrink_to_fit();
            self.places.shrink_to_fit();
        }
        before - self.peers.len()
    }

    /// Adds random peers other than the asker until `peers` has `numwant`.
    fn sample(
        &self,
        asker: Option<(Ip, u16)>,
        asker_complete: bool,
        numwant: usize,
        rng: &mut impl Rng,
        peers: &mut Vec<AnnouncedPeer>,
    ) {
        let first = if asker_complete { self.seeds } else { 0 };
        let asker = asker
            .and_then(|(ip, port)| self.place(ip, port))
            .filter(|&place| place >= first);
        let others = self.peers.len() - first - usize::from(asker.is_some());
        let amount = others.min(numwant.saturating_sub(peers.len()));
        let mut push = |nth: usize| {
            let place = first + nth;
            // The asker's place is jumped over.
            let place = place + usize::from(asker.is_some_and(|asker| asker <= place));
            let peer = &self.peers[place];
            peers.push(AnnouncedPeer {
                address: SocketAddr::new(peer.ip.into(), peer.port),
                id: Some(peer.id),
            });
        };
        if amount == others {
            (0..others).for_each(&mut push);
        } else {
            index::sample(rng, others, amount)
                .into_iter()
                .for_each(&mut push);
        }
    }

    fn members(&self) -> impl Iterator<Item = Member> + '_ {
        self.peers.iter().enumerate().map(|(place, peer)| Member {
            address: SocketAddr::new(peer.ip.into(), peer.port),
            id: peer.id,
            complete: place < self.seeds,
            seen: peer.seen,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    /// A script, a line an announce: `<seconds> <ip:port> <left> <event> <numwant>`, then
    /// `-> <complete>/<incomplete>/<downloaded> <addresses>` or an error.
    fn check(limits: Limits, script: &str) {
        let mut swarms = Swarms::new(limits);
        let mut rng = StdRng::seed_from_u64(1);
        for line in script.trim().lines().map(str::trim) {
            let (ask, expect) = line.split_once("->").unwrap();
            let words: Vec<&str> = ask.split_whitespace().collect();
            let now = Seconds(words[0].parse().unwrap());
            swarms.sweep(now);
            let got = match words[1] {
                "sweep" => format!("{} swarms {} peers", swarms.len(), swarms.peers()),
                address => {
                    let address: SocketAddr = address.parse().unwrap();
                    let mut request = request(address.port(), words[2].parse().unwrap());
                    request.event = words[3].parse().unwrap();
                    let numwant = words[4].parse().unwrap();
                    match swarms.announce(now, address.ip(), &request, numwant, &mut rng) {
                        Ok(announced) => show(announced),
                        Err(error) => error.to_string(),
                    }
                }
            };
            assert_eq!(got.trim(), expect.trim(), "for {line}");
        }
    }

    fn show(announced: Announced) -> String {
        let counts = announced.counts;
        let mut peers: Vec<_> = announced.peers.iter().map(|peer| peer.address).collect();
        peers.sort();
        let peers: Vec<_> = peers.iter().map(SocketAddr::to_string).collect();
        format!(
            "{}/{}/{} {}",
            counts.complete,
            counts.incomplete,
            counts.downloaded,
            peers.join(" ")
        )
    }

    fn request(port: u16, left: u64) -> AnnounceRequest {
        AnnounceRequest {
            info_hash: InfoHash([1; 20]),
            peer_id: PeerId([2; 20]),
            port,
            uploaded: 0,
            downloaded: 0,
            left,
            event: Event::None,
            numwant: None,
        }
    }

    #[test]
    fn counts_and_answers() {
        check(
            Limits::default(),
            "
            0 1.1.1.1:1 0 started 50 -> 1/0/0
            0 2.2.2.2:2 9 started 50 -> 1/1/0 1.1.1.1:1
            0 2.2.2.2:3 9 started 50 -> 1/2/0 1.1.1.1:1 2.2.2.2:2
            1 1.1.1.1:1 0 none    50 -> 1/2/0 2.2.2.2:2 2.2.2.2:3
            1 2.2.2.2:2 9 none     0 -> 1/2/0
            2 2.2.2.2:2 0 completed 50 -> 2/1/1 2.2.2.2:3
            2 2.2.2.2:2 0 completed 50 -> 2/1/1 2.2.2.2:3
            2 3.3.3.3:3 0 completed 50 -> 3/1/1 2.2.2.2:3
            3 2.2.2.2:2 5 none    50 -> 2/2/1 1.1.1.1:1 2.2.2.2:3 3.3.3.3:3
            4 1.1.1.1:1 0 stopped 50 -> 1/2/1
            4 1.1.1.1:1 0 stopped 50 -> 1/2/1
            ",
        );
    }

    /// A client that finishes while a periodic announce of its own waits to be sent says first
    /// that nothing is left, and then that it has completed, as Transmission does. That was not
    /// counted.
    #[test]
    fn completed_is_counted_also_after_an_announce_with_nothing_left() {
        check(
            Limits::default(),
            "
            0 1.1.1.1:1 9 started 50 -> 0/1/0
            5 1.1.1.1:1 0 none 50 -> 1/0/0
            6 1.1.1.1:1 0 completed 50 -> 1/0/1
            7 1.1.1.1:1 0 completed 50 -> 1/0/1
            8 1.1.1.1:1 9 none 50 -> 0/1/1
            9 1.1.1.1:1 0 completed 50 -> 1/0/2
            ",
        );
    }

    #[test]
    fn each_family_first_hears_of_its_own() {
        check(
            Limits::default(),
            "
            0 1.1.1.1:1 9 started 50 -> 0/1/0
            0 [2001:db8::1]:1 9 started 50 -> 0/2/0 1.1.1.1:1
            0 [2001:db8::2]:1 9 started 1 -> 0/3/0 [2001:db8::1]:1
            0 2.2.2.2:2 9 started 1 -> 0/4/0 1.1.1.1:1
            0 2.2.2.2:2 9 none 50 -> 0/4/0 1.1.1.1:1 [2001:db8::1]:1 [2001:db8::2]:1
            ",
        );
    }

    #[test]
    fn the_silent_are_forgotten_and_then_their_swarm() {
        check(
            Limits::default(),
            "
            0   1.1.1.1:1 0 started 50 -> 1/0/0
            100 2.2.2.2:2 9 started 50 -> 1/1/0 1.1.1.1:1
            299 3.3.3.3:3 9 started 50 -> 1/2/0 1.1.1.1:1 2.2.2.2:2
            300 3.3.3.3:3 9 none 50 -> 0/2/0 2.2.2.2:2
            300 2.2.2.2:2 0 completed 50 -> 1/1/1 3.3.3.3:3
            599 sweep -> 1 swarms 2 peers
            600 sweep -> 0 swarms 0 peers
            ",
        );
        check(
            Limits::default(),
            "
            0   1.1.1.1:1 9 started 50 -> 0/1/0
            9   1.1.1.1:1 0 completed 50 -> 1/0/1
            10  1.1.1.1:1 0 stopped 50 -> 0/0/1
            200 1.1.1.1:1 0 started 50 -> 1/0/1
            ",
        );
    }

    #[test]
    fn limits_are_told() {
        let limits = Limits {
            peers_per_swarm: 2,
            ..Limits::default()
        };
        check(
            limits,
            "
            0 1.1.1.1:1 0 started 50 -> 1/0/0
            0 1.1.1.1:2 0 started 50 -> 2/0/0
            0 1.1.1.1:3 0 started 50 -> this torrent has as many peers as this tracker can know (2)
            0 1.1.1.1:1 0 none 50 -> 2/0/0
            0 1.1.1.1:1 0 stopped 50 -> 1/0/0
            0 1.1.1.1:3 0 started 50 -> 2/0/0
            ",
        );
        let mut swarms = Swarms::new(Limits {
            swarms: 1,
            ..Limits::default()
        });
        let mut rng = StdRng::seed_from_u64(1);
        let ip = [1, 1, 1, 1].into();
        let now = Seconds(0);
        let mut other = request(1, 0);
        assert!(swarms.announce(now, ip, &other, 50, &mut rng).is_ok());
        other.info_hash = InfoHash([9; 20]);
        let refused = swarms.announce(now, ip, &other, 50, &mut rng);
        assert_eq!(refused, Err(SwarmError::TooManySwarms(1)));
    }

    #[test]
    fn a_sample_is_random_and_without_the_asker() {
        let mut swarms = Swarms::new(Limits::default());
        let mut rng = StdRng::seed_from_u64(7);
        let ip: IpAddr = [1, 1, 1, 1].into();
        for port in 1..=1000 {
            let request = request(port, u64::from(port % 2));
            swarms
                .announce(Seconds(0), ip, &request, 0, &mut rng)
                .unwrap();
        }
        let mut told = vec![0_u32; 1001];
        for _ in 0..2000 {
            let answer = swarms.announce(Seconds(1), ip, &request(501, 1), 50, &mut rng);
            let mut ports: Vec<u16> = answer
                .unwrap()
                .peers
                .iter()
                .map(|p| p.address.port())
                .collect();
            assert_eq!(ports.len(), 50);
            ports.sort_unstable();
            ports.dedup();
            assert_eq!(ports.len(), 50, "somebody twice");
            ports.iter().for_each(|&port| told[usize::from(port)] += 1);
        }
        assert_eq!(told[501], 0);
        // 100 is expected for each; 50 would be five standard deviations away.
        let others = (1..=1000).filter(|&port| port != 501);
        assert!(
            others
                .map(|port| told[port])
                .all(|n| (50..150).contains(&n))
        );
        let seed = swarms.announce(Seconds(1), ip, &request(2, 0), 1000, &mut rng);
        let leechers = seed.unwrap().peers;
        assert_eq!(leechers.len(), 500);
        assert!(leechers.iter().all(|peer| peer.address.port() % 2 == 1));
    }

    #[test]
    fn a_peer_takes_less_than_200_bytes() {
        use std::mem::size_of;
        // Vectors double, hash tables double at 7/8: at worst, twice what is used.
        let v4 =
            2 * size_of::<Peer<Ipv4Addr>>() + 16 * (size_of::<((Ipv4Addr, u16), u32)>() + 1) / 7;
        let v6 =
            2 * size_of::<Peer<Ipv6Addr>>() + 16 * (size_of::<((Ipv6Addr, u16), u32)>() + 1) / 7;
        assert!(v4 < 110, "{v4}");
        assert!(v6 < 200, "{v6}");
    }

    proptest! {
        /// Whatever happens, the counts are those of a plain list.
        #[test]
        fn agrees_with_a_plain_list(
            steps in proptest::collection::vec((0u8..6, 1u16..12, any::<bool>(), 0u32..40), 1..200),
        ) {
            let mut swarms = Swarms::new(Limits { expiry: 100, ..Limits::default() });
            let mut rng = StdRng::seed_from_u64(3);
            let mut plain: HashMap<u16, (bool, u32)> = HashMap::new();
            let ip: IpAddr = [1, 1, 1, 1].into();
            let mut now = 0;
            for (what, port, complete, pause) in steps {
                now += pause;
                swarms.sweep(Seconds(now));
                plain.retain(|_, (_, seen)| now - *seen < 100);
                let mut request = request(port, u64::from(!complete));
                if what == 0 {
                    request.event = Event::Stopped;
                    plain.remove(&port);
                } else {
                    plain.insert(port, (complete, now));
                }
                let got = swarms.announce(Seconds(now), ip, &request, 5, &mut rng).unwrap();
                let seeds = plain.values().filter(|(complete, _)| *complete).count();
                prop_assert_eq!(got.counts.complete as usize, seeds);
                prop_assert_eq!(got.counts.incomplete as usize, plain.len() - seeds);
                prop_assert_eq!(swarms.peers(), plain.len());
                for peer in got.peers {
                    let known = plain.get(&peer.address.port());
                    prop_assert!(known.is_some() && peer.address.port() != port);
                    prop_assert!(!complete || known.is_some_and(|(seed, _)| !seed));
                }
            }
        }
    }
}
