//! Which side blocks: a pure rule from what was tried to words.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::control::knock::Outcome;
use crate::control::tracker_info::TrackerAddress;
use crate::peer::network::{Met, Network};
use crate::peer::tracker_link::Unmet;

/// What all that was tried comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Our own port does not answer, not even to us.
    Closed(SocketAddr),
    NoTracker,
    /// None answers; the first one and why.
    TrackerAway(TrackerAddress, Unmet),
    /// We listen where only this machine reaches us. It has this address as well.
    Loopback(SocketAddr, Option<IpAddr>),
    /// We speak to the tracker by an address that others would be told in vain.
    TrackerByLoopback(TrackerAddress),
    /// Others are told an address that is the router's.
    BehindRouter {
        ours: SocketAddr,
        told: SocketAddr,
    },
    /// Others are told an address at which we do not listen.
    WrongAddress {
        bound: SocketAddr,
        told: SocketAddr,
    },
    /// Something else answers where others call us.
    OtherProgram(SocketAddr),
    /// Nobody gets in.
    OurFirewall(u16),
    /// Nobody elsewhere has tried.
    OnlyNear,
    /// Nobody has tried.
    NobodyTried,
    /// We get out to none of several peers.
    NoPeerAnswers(u16),
    PeerBlocks(SocketAddr),
    PeerGone(SocketAddr),
    /// Some get in, others do not.
    SomeGetIn,
    Fine,
}

/// Somebody has tried to connect to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    pub by_peer: bool,
    /// From this machine, or from behind the same router: that says little about the others.
    pub is_near: bool,
    pub outcome: Outcome,
    /// It was us whom they reached.
    pub came: bool,
}

/// Those of the trackers, and of the peers that they have asked.
pub fn attempts(network: &Network) -> impl Iterator<Item = Attempt> {
    let met = network.met();
    let seen = met.filter_map(|met| Some((met, met.seen.as_ref().ok()?)));
    seen.flat_map(|(met, seen)| {
        let knocks = &seen.knocks;
        let attempt = |by_peer, is_near, outcome| Attempt {
            by_peer,
            is_near,
            outcome,
            came: false,
        };
        let mut tried = vec![attempt(false, met.there == met.ours, knocks.outcome)];
        let peers = knocks.peers.iter();
        tried.extend(peers.map(|knock| attempt(true, knock.is_near, knock.outcome)));
        // A peer can say that it has connected, and has not. So if fewer came, it was the tracker,
        // and then those who are near: what they prove is the least.
        tried[1..].sort_by_key(|attempt| !attempt.is_near);
        let connected = tried.iter_mut();
        let connected = connected.filter(|attempt| attempt.outcome == Outcome::Connected);
        for attempt in connected.take(seen.came) {
            attempt.came = true;
        }
        tried
    })
}

pub fn judge(network: &Network) -> Verdict {
    let bound = network.bound;
    if !network.is_open {
        return Verdict::Closed(bound);
    }
    let Some((first, _)) = network.trackers.first() else {
        return Verdict::NoTracker;
    };
    let away = network.trackers.iter().find_map(|(tracker, met)| {
        let unmet = met.as_ref().err()?;
        Some(Verdict::TrackerAway(tracker.clone(), unmet.clone()))
    });
    let met: Vec<&Met> = network.met().collect();
    if let (true, Some(away)) = (met.is_empty(), &away) {
        return away.clone();
    }
    let shared = met.iter().map(|met| met.ours).find(|ip| is_shared(*ip));
    match (is_shared(bound.ip()), shared) {
        (false, shared) => return Verdict::Loopback(bound, shared),
        (true, None) => return Verdict::TrackerByLoopback(first.clone()),
        (true, Some(_)) => {}
    }
    let all: Vec<Attempt> = attempts(network).collect();
    let far = || all.iter().filter(|attempt| !attempt.is_near);
    if !far().any(|attempt| attempt.came) {
        return nobody_gets_in(bound, &met, &all);
    }
    let blocked = || {
        far()
            .any(|attempt| !attempt.came)
            .then_some(Verdict::SomeGetIn)
    };
    let verdict = to_peers(network).or(away).or_else(blocked);
    verdict.unwrap_or(Verdict::Fine)
}

/// Why nobody elsewhere has reached us.
fn nobody_gets_in(bound: SocketAddr, met: &[&Met], all: &[Attempt]) -> Verdict {
    // Who is asked through 127.0.0.1 knocks there, which says nothing about others.
    for met in met.iter().filter(|met| is_shared(met.ours)) {
        let Ok(seen) = &met.seen else {
            continue;
        };
        let told = seen.knocks.address;
        if told.ip() != met.ours {
            let ours = SocketAddr::new(met.ours, bound.port());
            return Verdict::BehindRouter { ours, told };
        }
        if !listens_at(bound.ip(), told.ip()) {
            return Verdict::WrongAddress { bound, told };
        }
        if seen.knocks.outcome == Outcome::Connected && seen.came == 0 {
            return Verdict::OtherProgram(told);
        }
    }
    let far = all.iter().any(|attempt| !attempt.is_near);
    let near_came = all.iter().any(|attempt| attempt.came);
    match (all.is_empty(), far, near_came) {
        (true, _, _) => Verdict::NobodyTried,
        (_, false, true) => Verdict::OnlyNear,
        _ => Verdict::OurFirewall(bound.port()),
    }
}

/// Others can be told of it.
fn is_shared(ip: IpAddr) -> bool {
    !ip.is_loopback()
}

fn listens_at(bound: IpAddr, ip: IpAddr) -> bool {
    match bound {
        // It takes calls by IPv4, too.
        IpAddr::V6(bound) if bound.is_unspecified() => true,
        IpAddr::V4(bound) if bound.is_unspecified() => ip.is_ipv4(),
        bound => bound.to_canonical() == ip,
    }
}

/// What keeps us from peers, if something does.
fn to_peers(network: &Network) -> Option<Verdict> {
    let peers = &network.peers;
    let lost = |outcome: Outcome| matches!(outcome, Outcome::Silent | Outcome::Unreachable);
    if peers.len() > 1 && peers.iter().all(|(_, outcome)| lost(*outcome)) {
        return Some(Verdict::NoPeerAnswers(peers[0].0.port()));
    }
    let blocks = peers.iter().find(|(_, outcome)| lost(*outcome));
    let gone = peers
        .iter()
        .find(|(_, outcome)| *outcome == Outcome::Refused);
    let blocks = blocks.map(|(address, _)| Verdict::PeerBlocks(*address));
    blocks.or(gone.map(|(address, _)| Verdict::PeerGone(*address)))
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Closed(bound) => write!(
                f,
                "This side: {bound} does not answer, not even to this machine itself. Start this \
                 program again; if that does not help, a firewall or virus scanner here holds it up."
            ),
            Verdict::NoTracker => write!(
                f,
                "This side: tracker_info.txt names no tracker. Put the address of the tracker's \
                 machine into it, such as 192.168.1.10:6000, and type: reload"
            ),
            Verdict::TrackerAway(tracker, unmet) => tracker_away(f, tracker, unmet),
            Verdict::Loopback(bound, Some(ours)) => write!(
                f,
                "This side: {} is reached from this machine only. Start this peer with an address \
                 that others reach: {}",
                bound.ip(),
                SocketAddr::new(*ours, bound.port())
            ),
            Verdict::Loopback(bound, None) => write!(
                f,
                "This machine only: all works among its own programs, and no other machine reaches \
                 {}. For others, start this peer with this machine's address in the network, such as \
                 192.168.1.23:{}, and name the tracker by its address there, too.",
                bound.ip(),
                bound.port()
            ),
            Verdict::TrackerByLoopback(tracker) => write!(
                f,
                "This side: tracker_info.txt names the tracker as {tracker}, so others are told that \
                 this peer is at an address that is their own machine for them. Name the tracker by \
                 its address in the network, such as 192.168.1.10:{}, and type: reload",
                tracker.port
            ),
            Verdict::BehindRouter { ours, told } => write!(
                f,
                "This side: a router stands between (NAT). Others are told {told}, which is the \
                 router; this machine is {}. In the router, forward TCP port {} to {ours}. Until then \
                 you can fetch from those whom you reach, and nobody can call you.",
                ours.ip(),
                ours.port()
            ),
            Verdict::WrongAddress { bound, told } => write!(
                f,
                "This side: this peer listens at {bound}, and others are told {told}, as the tracker \
                 sees it. Start it with {told}"
            ),
            Verdict::OtherProgram(told) => write!(
                f,
                "This side: at {told}, where others call this peer, another program answers: a router \
                 that forwards the port to another machine, or something that stands between."
            ),
            Verdict::OurFirewall(port) => {
                writeln!(
                    f,
                    "This side: a firewall on this machine, or in front of it, blocks incoming \
                     connections to port {port}. Allow it:"
                )?;
                allow(f, *port)
            }
            Verdict::OnlyNear => write!(
                f,
                "Nobody blocks, as far as could be seen from here: only this machine, or one at the \
                 same address, has tried to connect to this peer. Type it again when a peer on \
                 another machine uses the tracker."
            ),
            Verdict::NobodyTried => write!(
                f,
                "Not known: the tracker answers, and has not tried to connect to this peer (see above), \
                 so nobody has seen what comes in."
            ),
            Verdict::NoPeerAnswers(port) => write!(
                f,
                "Others reach this peer, and it reaches none of them. Either each of them blocks its \
                 port, or a firewall here lets nothing out to ports such as {port}: type it at one of \
                 them, too."
            ),
            Verdict::PeerBlocks(peer) => {
                writeln!(
                    f,
                    "A peer's side: {peer} does not answer, though others reach this peer. Its machine \
                     is off, or its firewall blocks the port. On that machine:"
                )?;
                allow(f, peer.port())
            }
            Verdict::PeerGone(peer) => write!(
                f,
                "A peer's side: no peer runs at {peer} any more; all else works. It is to be started \
                 again."
            ),
            Verdict::SomeGetIn => write!(
                f,
                "Another side: some connect to this peer and others cannot, so it is not here that it \
                 is blocked, but where they are: what they send does not get out."
            ),
            Verdict::Fine => write!(
                f,
                "Nobody blocks: others can connect to this peer, and it to them."
            ),
        }
    }
}

fn tracker_away(
    f: &mut fmt::Formatter<'_>,
    tracker: &TrackerAddress,
    unmet: &Unmet,
) -> fmt::Result {
    match unmet {
        Unmet::NoConnection(Outcome::Refused, _) => write!(
            f,
            "The tracker's side: its machine answers, and no tracker runs at {tracker}. Start it \
             there, or put its right port into tracker_info.txt."
        ),
        Unmet::NoConnection(Outcome::Silent, _) => {
            writeln!(
                f,
                "The tracker's side: the machine of {tracker} does not answer. It is off, \
                 tracker_info.txt has a wrong address, or its firewall blocks the port. On that \
                 machine:"
            )?;
            allow(f, tracker.port)
        }
        Unmet::NoConnection(..) => write!(
            f,
            "This side: no way leads from here to {tracker}. Is this machine in the same network, \
             and is the address in tracker_info.txt right?"
        ),
        Unmet::Distrusted(_) => write!(
            f,
            "The tracker's side: {tracker} is not the tracker that tracker_info.txt means. Ask who \
             runs it for its line, put that into the file, and type: reload"
        ),
        Unmet::Other(_) => write!(
            f,
            "The tracker's side: what answers at {tracker} does not speak as trackers do. Is it \
             another program, or does the line in tracker_info.txt lack its key?"
        ),
    }
}

/// How to open a port, for whoever sits at that machine.
fn allow(f: &mut fmt::Formatter<'_>, port: u16) -> fmt::Result {
    writeln!(
        f,
        "  Windows, as administrator: netsh advfirewall firewall add rule name=\"Mini BitTorrent\" \
         dir=in action=allow profile=private protocol=TCP localport={port}"
    )?;
    write!(
        f,
        "  Linux: sudo ufw allow {port}/tcp, or sudo firewall-cmd --add-port={port}/tcp"
    )
}
