//! Proves the rules of sharing on whole swarms: many `Torrent` values in one thread, with a fake
//! clock and a network that is a queue. The seed of all chance is printed.
//!
//! A link carries piece jobs one by one; every peer divides its upload rate evenly among the
//! links that it serves just now.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use mini_bittorrent::torrent::bitfield::Bitfield;
use mini_bittorrent::torrent::choker::DEFAULT_SLOTS;
use mini_bittorrent::torrent::id::ConnId;
use mini_bittorrent::torrent::layout::{Layout, PieceIndex};
use mini_bittorrent::torrent::{Effect, Event, Torrent};

const PIECE: u64 = 512 * 1024;
const STEP: Duration = Duration::from_millis(50);
const LATENCY: Duration = Duration::from_millis(20);

/// What a peer of the simulation does with requests.
#[derive(Clone, Copy, PartialEq)]
enum Manners {
    Honest,
    /// Sends pieces that are wrong.
    Lies,
    /// Accepts jobs and never sends anything.
    Silent,
}

struct SimPeer {
    torrent: Torrent,
    manners: Manners,
    upload_rate: u64,
    /// Bytes sent in whole pieces, wasted ones included.
    sent: u64,
    gone: bool,
    completed: Option<Duration>,
    banned: BTreeSet<usize>,
}

/// The work that `from` has for `to`.
#[derive(Default)]
struct Link {
    jobs: VecDeque<PieceIndex>,
    /// Bytes of the first job that have come.
    progress: u64,
    carried: u64,
    open: bool,
    unchoked: bool,
}

struct Swarm {
    layout: Arc<Layout>,
    peers: Vec<SimPeer>,
    /// By (uploader, downloader).
    links: BTreeMap<(usize, usize), Link>,
    mail: BTreeMap<(Instant, u64), (usize, Event)>,
    mails: u64,
    start: Instant,
    now: Instant,
    rng: StdRng,
}

/// On both sides of a link the connection is called by the other's number.
fn conn(peer: usize) -> ConnId {
    ConnId(peer as u64)
}

impl Swarm {
    fn new(pieces: u64, seed: u64) -> Swarm {
        println!("swarm seed {seed}");
        let layout = Layout::single("x".into(), pieces * PIECE, PIECE as u32).unwrap();
        let now = Instant::now();
        Swarm {
            layout: Arc::new(layout),
            peers: Vec::new(),
            links: BTreeMap::new(),
            mail: BTreeMap::new(),
            mails: 0,
            start: now,
            now,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    fn add(&mut self, complete: bool, upload_rate: u64, manners: Manners) -> usize {
        let pieces = self.layout.pieces();
        let have = if complete {
            Bitfield::all(pieces)
        } else {
            Bitfield::none(pieces)
        };
        let seed = self.rng.random();
        self.peers.push(SimPeer {
            torrent: Torrent::new(self.layout.clone(), have, DEFAULT_SLOTS.get(), seed),
            manners,
            upload_rate,
            sent: 0,
            gone: false,
            completed: None,
            banned: BTreeSet::new(),
        });
        self.peers.len() - 1
    }

    /// Connects everybody with everybody.
    fn connect_all(&mut self) {
        for a in 0..self.peers.len() {
            for b in 0..a {
                self.connect(a, b);
            }
        }
    }

    fn connect(&mut self, a: usize, b: usize) {
        for (from, to) in [(a, b), (b, a)] {
            self.links.insert(
                (from, to),
                Link {
                    open: true,
                    ..Link::default()
                },
            );
            self.tell(from, Event::Connected { conn: conn(to) });
        }
        for (from, to) in [(a, b), (b, a)] {
            let pieces = self.peers[from].torrent.have().clone();
            self.post(
                to,
                Event::Bitfield {
                    conn: conn(from),
                    pieces,
                },
            );
        }
    }

    fn disconnect(&mut self, a: usize, b: usize) {
        for (from, to) in [(a, b), (b, a)] {
            let open = self
                .links
                .get_mut(&(from, to))
                .is_some_and(|l| std::mem::take(&mut l.open));
            if open {
                self.links.remove(&(from, to));
                self.tell(to, Event::Disconnected { conn: conn(from) });
            }
        }
    }

    fn kill(&mut self, peer: usize) {
        self.peers[peer].gone = true;
        for other in 0..self.peers.len() {
            self.disconnect(peer, other);
        }
    }

    fn post(&mut self, to: usize, event: Event) {
        self.mails += 1;
        self.mail
            .insert((self.now + LATENCY, self.mails), (to, event));
    }

    fn tell(&mut self, peer: usize, event: Event) {
        if self.peers[peer].gone {
            return;
        }
        let mut effects = Vec::new();
        self.peers[peer]
            .torrent
            .handle(self.now, event, &mut effects);
        for effect in effects {
            self.carry_out(peer, effect);
        }
    }

    fn carry_out(&mut self, me: usize, effect: Effect) {
        let other = |conn: ConnId| conn.0 as usize;
        match effect {
            Effect::Fetch { conn, piece } => {
                if let Some(link) = self.links.get_mut(&(other(conn), me)) {
                    link.jobs.push_back(piece);
                }
            }
            Effect::Cancel { conn, piece } => {
                if let Some(link) = self.links.get_mut(&(other(conn), me)) {
                    if link.jobs.front() == Some(&piece) {
                        self.peers[other(conn)].sent += link.progress;
                        link.progress = 0;
                    }
                    link.jobs.retain(|job| *job != piece);
                }
            }
            Effect::Have { conn: to, piece } => {
                self.post(
                    other(to),
                    Event::Have {
                        conn: conn(me),
                        piece,
                    },
                );
            }
            Effect::Suggest { conn: to, piece } => {
                self.post(
                    other(to),
                    Event::Suggested {
                        conn: conn(me),
                        piece,
                    },
                );
            }
            Effect::Choke { conn: to } => {
                self.set_unchoked(me, other(to), false);
                self.post(other(to), Event::Choked { conn: conn(me) });
            }
            Effect::Unchoke { conn: to } => {
                self.set_unchoked(me, other(to), true);
                self.post(other(to), Event::Unchoked { conn: conn(me) });
            }
            Effect::SetInterested {
                conn: to,
                interested,
            } => {
                let from = conn(me);
                let event = if interested {
                    Event::Interested { conn: from }
                } else {
                    Event::NotInterested { conn: from }
                };
                self.post(other(to), event);
            }
            Effect::Ban { conn, .. } => {
                self.peers[me].banned.insert(other(conn));
                self.disconnect(me, other(conn));
            }
            Effect::PartAsSeeds { conn } => self.disconnect(me, other(conn)),
            Effect::Completed => self.peers[me].completed = Some(self.now - self.start),
        }
    }

    fn set_unchoked(&mut self, from: usize, to: usize, unchoked: bool) {
        if let Some(link) = self.links.get_mut(&(from, to)) {
            link.unchoked = unchoked;
        }
    }

    fn step(&mut self) {
        self.now += STEP;
        while let Some(entry) = self
            .mail
            .first_entry()
            .filter(|entry| entry.key().0 <= self.now)
        {
            let (to, event) = entry.remove();
            self.tell(to, event);
        }
        self.move_bytes();
        let traffic: Vec<(usize, Event)> = self
            .links
            .iter()
            .map(|(&(from, to), link)| {
                let uploaded = self.links.get(&(to, from)).map_or(0, |back| back.carried);
                let downloaded = link.carried;
                (
                    to,
                    Event::Traffic {
                        conn: conn(from),
                        downloaded,
                        uploaded,
                    },
                )
            })
            .collect();
        for (to, event) in traffic {
            self.tell(to, event);
        }
        for peer in 0..self.peers.len() {
            self.tell(peer, Event::Tick);
        }
    }

    fn move_bytes(&mut self) {
        let mut active: HashMap<usize, Vec<usize>> = HashMap::new();
        for (&(from, to), link) in &self.links {
            let silent = self.peers[from].manners == Manners::Silent;
            if link.unchoked && !link.jobs.is_empty() && !silent {
                active.entry(from).or_default().push(to);
            }
        }
        let mut uploaders: Vec<_> = active.into_iter().collect();
        uploaders.sort_unstable();
        for (from, tos) in uploaders {
            let rate = self.peers[from].upload_rate as f64 * STEP.as_secs_f64();
            let share = (rate / tos.len() as f64) as u64;
            for to in tos {
                self.move_on_link(from, to, share);
            }
        }
    }

    fn move_on_link(&mut self, from: usize, to: usize, mut bytes: u64) {
        while bytes > 0 {
            let Some(link) = self.links.get_mut(&(from, to)) else {
                return;
            };
            let Some(&piece) = link.jobs.front() else {
                return;
            };
            let size = u64::from(self.layout.piece_size(piece));
            let moved = bytes.min(size - link.progress);
            link.progress += moved;
            link.carried += moved;
            bytes -= moved;
            if link.progress == size {
                link.jobs.pop_front();
                link.progress = 0;
                self.peers[from].sent += size;
                let event = if self.peers[from].manners == Manners::Lies {
                    Event::PieceBad {
                        conn: conn(from),
                        piece,
                    }
                } else {
                    Event::PieceSaved {
                        conn: conn(from),
                        piece,
                    }
                };
                self.tell(to, event);
            }
        }
    }

    fn all_complete(&self) -> bool {
        self.peers
            .iter()
            .all(|peer| peer.gone || peer.manners != Manners::Honest || peer.torrent.is_complete())
    }

    /// Runs until everybody honest is complete; the time it took.
    fn run(&mut self, limit: Duration) -> Duration {
        while !self.all_complete() {
            self.step();
            let time = self.now - self.start;
            assert!(
                time < limit,
                "not complete after {limit:?}: {}",
                self.progress()
            );
        }
        self.now - self.start
    }

    fn progress(&self) -> String {
        let show = |peer: &SimPeer| {
            format!(
                "{} of {} {:?}",
                peer.torrent.have().count(),
                self.layout.pieces(),
                peer.torrent.stall()
            )
        };
        self.peers.iter().map(show).collect::<Vec<_>>().join(", ")
    }

    fn copies_sent(&self, peer: usize) -> f64 {
        self.peers[peer].sent as f64 / self.layout.total() as f64
    }
}

const MB: u64 = 1_000_000;

#[test]
fn fifty_peers_complete_and_the_seed_gives_little_more_than_one_copy() {
    for seed in 1..=3 {
        let mut swarm = Swarm::new(200, seed);
        swarm.add(true, 10 * MB, Manners::Honest);
        for _ in 0..50 {
            swarm.add(false, 10 * MB, Manners::Honest);
        }
        swarm.connect_all();
        let time = swarm.run(Duration::from_secs(300));
        let copies = swarm.copies_sent(0);
        println!("50 peers, 100 MiB each: {time:?}, the seed sent {copies:.2} copies");
        assert!(copies < 1.5, "the seed sent {copies} copies");
    }
}

#[test]
fn the_first_copy_is_out_before_the_seed_repeats_itself() {
    let mut swarm = Swarm::new(200, 5);
    swarm.add(true, 10 * MB, Manners::Honest);
    for _ in 0..20 {
        swarm.add(false, 10 * MB, Manners::Honest);
    }
    swarm.connect_all();
    let spread = |swarm: &Swarm| {
        let mut seen = BTreeSet::new();
        for peer in &swarm.peers[1..] {
            let pieces = swarm
                .layout
                .all_pieces()
                .filter(|p| peer.torrent.have().has(*p));
            seen.extend(pieces);
        }
        seen.len() as u64
    };
    while spread(&swarm) < 200 {
        swarm.step();
        assert!(
            swarm.now - swarm.start < Duration::from_secs(60),
            "{}",
            swarm.progress()
        );
    }
    let copies = swarm.copies_sent(0);
    println!("one full copy was out when the seed had sent {copies:.2}");
    assert!(copies < 1.1, "{copies}");
}

#[test]
fn a_liar_is_banned_by_all_and_everybody_completes() {
    let mut swarm = Swarm::new(60, 7);
    swarm.add(true, 10 * MB, Manners::Honest);
    let liar = swarm.add(true, 20 * MB, Manners::Lies);
    for _ in 0..10 {
        swarm.add(false, 10 * MB, Manners::Honest);
    }
    swarm.connect_all();
    swarm.run(Duration::from_secs(120));
    let banned = |swarm: &Swarm, who| {
        swarm
            .peers
            .iter()
            .filter(|p| p.banned.contains(&who))
            .count()
    };
    assert!(
        banned(&swarm, liar) >= 5,
        "most of those it lied to found out"
    );
    for honest in (0..12).filter(|peer| *peer != liar) {
        assert_eq!(
            banned(&swarm, honest),
            0,
            "peer {honest} was banned though it is honest"
        );
    }
}

#[test]
fn silent_peers_are_snubbed_and_replaced() {
    let mut swarm = Swarm::new(60, 8);
    swarm.add(true, 10 * MB, Manners::Honest);
    for _ in 0..5 {
        swarm.add(true, 10 * MB, Manners::Silent);
    }
    let downloader = swarm.add(false, MB, Manners::Honest);
    swarm.connect_all();
    let time = swarm.run(Duration::from_secs(60));
    println!("complete after {time:?} beside five silent peers");
    assert_eq!(swarm.peers[downloader].torrent.left(), 0);
}

#[test]
fn never_stuck_at_99_percent_while_peers_come_and_go() {
    for seed in 20..30 {
        let mut swarm = Swarm::new(40, seed);
        let anchor = swarm.add(true, 2 * MB, Manners::Honest);
        for _ in 0..8 {
            swarm.add(false, 5 * MB, Manners::Honest);
        }
        swarm.connect_all();
        let mut order: Vec<usize> = (1..9).collect();
        order.shuffle(&mut swarm.rng);
        for victim in &order[..4] {
            for _ in 0..40 {
                swarm.step();
            }
            swarm.kill(*victim);
            let newcomer = swarm.add(false, 5 * MB, Manners::Honest);
            for other in 0..newcomer {
                if !swarm.peers[other].gone {
                    swarm.connect(newcomer, other);
                }
            }
        }
        swarm.run(Duration::from_secs(200));
        assert!(swarm.peers[anchor].torrent.is_complete());
    }
}

#[test]
fn the_slow_tail_is_fetched_from_the_fast_ones_in_the_endgame() {
    let mut swarm = Swarm::new(64, 31);
    swarm.add(true, 20 * MB, Manners::Honest);
    swarm.add(true, 20_000, Manners::Honest); // a piece would take it 26 s
    swarm.add(false, MB, Manners::Honest);
    swarm.connect_all();
    let time = swarm.run(Duration::from_secs(20));
    println!("complete after {time:?} beside a very slow seed");
    let sent: u64 = swarm.peers.iter().map(|peer| peer.sent).sum();
    assert!(
        sent as f64 / (swarm.layout.total() as f64) < 1.1,
        "little is wasted"
    );
}
