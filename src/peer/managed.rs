//! One torrent in the engine's hands: its rules, its connections, its place on disk, its
//! trackers.

mod admission;
mod announcing;
mod gate;
mod refreshing;
mod showing;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::control::request::Holder;
use crate::storage::StorageError;
use crate::storage::resume::{Record, Share, Sources};
use crate::torrent::bitfield::Bitfield;
use crate::torrent::id::{ConnId, FileHash, InfoHash, PeerId};
use crate::torrent::loan::Loan;
use crate::torrent::metainfo::Metainfo;
use crate::torrent::{Effect, Event, Torrent};
use crate::wire::message::Message;

use super::addresses::{AddressBook, Standing};
use super::announcer::{Announcer, Tracker, http_trackers};
use super::connection::{Connection, Direction, Order, Reason, Shared};
use super::disk::DiskJob;
use super::hashing::{HashOutcome, HashTask};
use super::schedule::Schedule;
use super::shunned::Shunned;
pub use admission::Refusal;
use gate::Gate;
use refreshing::Refresh;

/// We call others only up to so many, to leave room for those who call us.
const MAX_CALLING: usize = 50;

/// The most peers that are remembered after they have gone, to be shown.
const MAX_PAST: usize = 1000;

pub enum State {
    /// What is on disk is being hashed; nothing is fetched or served.
    Checking(HashTask),
    Running,
    /// Complete; the disk thread moves the files to their place.
    Finishing,
    Paused,
    Stopped(StorageError),
}

/// Who we are, to trackers and peers.
#[derive(Clone, Copy)]
pub struct Identity {
    pub peer_id: PeerId,
    pub port: u16,
}

impl Identity {
    /// What trackers know us by.
    pub fn holder(self) -> Holder {
        Holder {
            peer_id: self.peer_id,
            port: self.port,
        }
    }
}

struct Conn {
    connection: Connection,
    peer_id: PeerId,
    client: Option<String>,
    /// Where the peer listens, as far as we know.
    listens: Option<SocketAddr>,
    from: SocketAddr,
    direction: Direction,
    since: Instant,
    /// When the ticket ends that it has shown last.
    ends: Option<Instant>,
    /// When the ticket ends that we have shown last, in seconds since 1970.
    shown: Option<u64>,
    /// Its number for `mb_ticket`, if it takes tickets on the way.
    takes_tickets: Option<u8>,
}

impl Conn {
    /// Where the peer listens, or as long as we do not know, from where it called.
    fn address(&self) -> SocketAddr {
        self.listens.unwrap_or(self.from)
    }
}

/// What was carried with a peer on connections that have ended.
#[derive(Default)]
struct Past {
    client: String,
    downloaded: u64,
    uploaded: u64,
}

pub struct Managed {
    pub shared: Arc<Shared>,
    pub torrent: Torrent,
    pub state: State,
    pub share: Option<Share>,
    sources: Sources,
    /// If it is a group's.
    gate: Option<Gate>,
    pub trackers: Vec<Schedule>,
    pub added: u64,
    /// Reports of connections up to this one are about an earlier life of the torrent, in which
    /// it may have lain elsewhere on disk.
    pub born: ConnId,
    /// The check under way, by a number that is never used again.
    pub check: u64,
    /// The user does not want it to go on by itself after the check.
    pub pause_after_check: bool,
    conns: HashMap<ConnId, Conn>,
    book: AddressBook,
    banned: HashSet<PeerId>,
    past: BTreeMap<SocketAddr, Past>,
    /// Bytes carried on connections that have ended, in this run and before.
    before: (u64, u64),
    /// Which of our trackers was offered the share last.
    published: Option<Published>,
    /// In a batch run.
    refresh: Option<Refresh>,
}

/// What a torrent starts from.
pub struct Beginning {
    pub metainfo: Arc<Metainfo>,
    pub share: Option<Share>,
    pub sources: Sources,
    pub added: u64,
    pub downloaded: u64,
    pub uploaded: u64,
    /// The tracker of ours that knows of the share already.
    pub published: Option<SocketAddr>,
}

/// A tracker of ours that was offered a share.
#[derive(Clone, Copy)]
enum Published {
    /// By the user's command, with the tracker there.
    At(SocketAddr),
    /// On this connection, the how manieth.
    On(u64),
}

/// What the engine is to do after a torrent was told something.
pub enum Wish {
    /// Move the files to their place.
    Finish,
}

impl Managed {
    pub fn new(
        now: Instant,
        begin: Beginning,
        shared: Arc<Shared>,
        torrent: Torrent,
        state: State,
    ) -> Managed {
        let gate = begin
            .share
            .as_ref()
            .and_then(|share| Gate::of(share, &begin.metainfo));
        let ours = begin.share.as_ref().map(|_| Tracker::Ours);
        // Nobody else's tracker hears of a group's torrent, whatever it names.
        let others = begin.metainfo.trackers.as_slice();
        let others = if gate.is_none() { others } else { &[] };
        let trackers = ours.into_iter().chain(http_trackers(others));
        let mut managed = Managed {
            trackers: trackers
                .map(|tracker| Schedule::new(now, tracker))
                .collect(),
            shared,
            torrent,
            state,
            share: begin.share,
            sources: begin.sources.clone(),
            gate,
            added: begin.added,
            born: ConnId(0),
            check: 0,
            pause_after_check: false,
            conns: HashMap::new(),
            book: AddressBook::new(),
            banned: HashSet::new(),
            past: BTreeMap::new(),
            before: (begin.downloaded, begin.uploaded),
            published: begin.published.map(Published::At),
            refresh: None,
        };
        if let Sources::Only(addresses) = &begin.sources {
            managed.learn(now, addresses);
        }
        managed
    }

    pub fn info_hash(&self) -> InfoHash {
        self.shared.info_hash
    }

    pub fn name(&self) -> &str {
        match &self.share {
            Some(share) => share.name.as_str(),
            None => self.shared.metainfo.name(),
        }
    }

    pub fn path(&self) -> PathBuf {
        self.shared.storage.final_path().to_path_buf()
    }

    /// What moves its files to their place.
    pub fn finish_job(&self) -> DiskJob {
        DiskJob::Finish {
            info_hash: self.info_hash(),
            storage: self.shared.storage.clone(),
            total: self.shared.metainfo.layout.total(),
            sha256: self.sha256(),
        }
    }

    /// It is served because it was asked for, or was found by asking.
    pub fn is_unlisted(&self) -> bool {
        self.share.as_ref().is_some_and(|share| !share.listed)
    }

    /// What the SHA-256 of the whole must be, if that is known.
    pub fn sha256(&self) -> Option<FileHash> {
        self.share.as_ref()?.sha256
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Running | State::Finishing) && self.lock().is_none()
    }

    /// Tells the rules what has happened, and carries out what they say.
    pub fn tell(&mut self, now: Instant, event: Event) -> Option<Wish> {
        if let Event::PieceSaved { conn, piece } = event {
            self.note_piece(conn, piece);
            self.shared.have.write().insert(piece);
        }
        let (info_hash, memory) = (self.info_hash(), self.shared.memory.clone());
        let (budget, others_wait) = memory.budget(info_hash);
        self.torrent.set_budget(budget, others_wait);
        let mut effects = Vec::new();
        self.torrent.handle(now, event, &mut effects);
        // All at once: what is carried out may tell the rules of something else, and they must
        // not find the same room again.
        let mut loans = self.borrow_for(&effects).into_iter();
        memory.stand_in_line(info_hash, self.torrent.waits_for());
        let mut wish = None;
        for effect in effects {
            wish = self.carry_out(now, effect, &mut loans).or(wish);
        }
        wish
    }

    /// Room for each piece job, in their order.
    fn borrow_for(&self, effects: &[Effect]) -> Vec<Loan> {
        let borrow = |effect: &Effect| match effect {
            Effect::Fetch { piece, .. } => {
                let size = self.shared.metainfo.layout.piece_size(*piece);
                Some(self.shared.memory.lend(size))
            }
            _ => None,
        };
        effects.iter().filter_map(borrow).collect()
    }

    fn carry_out(
        &mut self,
        now: Instant,
        effect: Effect,
        loans: &mut impl Iterator<Item = Loan>,
    ) -> Option<Wish> {
        match effect {
            Effect::Fetch { conn, piece } => {
                let loan = loans.next()?;
                self.order(now, conn, Order::Fetch(piece, loan))
            }
            Effect::Cancel { conn, piece } => self.order(now, conn, Order::Forget(piece)),
            Effect::Choke { conn } => self.order(now, conn, Order::Choke),
            Effect::Unchoke { conn } => self.order(now, conn, Order::Unchoke),
            Effect::Have { conn, piece } => {
                log::trace!(target: "hop", "piece {piece}: told connection {conn}");
                self.order(now, conn, Order::Send(Message::Have(piece.as_u32())))
            }
            Effect::Suggest { conn, piece } => {
                let suggestion = Message::SuggestPiece(piece.as_u32());
                if self
                    .conns
                    .get(&conn)
                    .is_some_and(|conn| conn.connection.fast)
                {
                    return self.order(now, conn, Order::Send(suggestion));
                }
                None
            }
            Effect::SetInterested { conn, interested } => {
                let message = if interested {
                    Message::Interested
                } else {
                    Message::NotInterested
                };
                self.order(now, conn, Order::Send(message))
            }
            Effect::Ban { conn, piece } => {
                if let Some(conn) = self.conns.get(&conn) {
                    log::warn!(
                        target: "engine",
                        "{}: {} sent piece {piece} with a wrong hash: banned",
                        self.name(), conn.from
                    );
                    self.banned.insert(conn.peer_id);
                    conn.listens
                        .into_iter()
                        .for_each(|address| self.book.ban(address));
                }
                self.disconnect(now, conn, true)
            }
            Effect::PartAsSeeds { conn } => self.disconnect(now, conn, false),
            // A last piece may come in after a pause: then it is for `resume` to finish.
            Effect::Completed if !self.is_open() => None,
            Effect::Completed => {
                self.state = State::Finishing;
                self.trackers
                    .iter_mut()
                    .for_each(|tracker| tracker.completed(now));
                Some(Wish::Finish)
            }
        }
    }

    fn order(&mut self, now: Instant, conn: ConnId, order: Order) -> Option<Wish> {
        let connection = &self.conns.get(&conn)?.connection;
        if connection.order(order).is_err() {
            log::info!(target: "engine", "{}: connection {conn} is too slow, closed", self.name());
            return self.disconnect(now, conn, true);
        }
        None
    }

    pub fn ended(&mut self, now: Instant, conn: ConnId, reason: &Reason) -> Option<Wish> {
        if let Some(ended) = self.conns.get(&conn) {
            let level = if reason.is_transient() {
                log::Level::Debug
            } else {
                log::Level::Warn
            };
            log::log!(target: "engine", level, "{}: {} is gone: {reason}", self.name(), ended.from);
        }
        self.disconnect(now, conn, reason.is_transient())
    }

    fn disconnect(&mut self, now: Instant, conn: ConnId, transient: bool) -> Option<Wish> {
        let ended = self.conns.remove(&conn)?;
        if let Some(address) = ended.listens {
            self.book.disconnected(now, address, transient);
        }
        let counters = &ended.connection.counters;
        let (downloaded, uploaded) = (counters.downloaded(), counters.uploaded());
        self.before.0 += downloaded;
        self.before.1 += uploaded;
        let address = ended.address();
        if let Some(refresh) = &mut self.refresh {
            refresh.ended(conn, address);
        }
        let room = self.past.len() < MAX_PAST || self.past.contains_key(&address);
        // Who gave and got nothing, such as the second of two calls that crossed, is no news.
        if room && downloaded + uploaded > 0 {
            let past = self.past.entry(address).or_default();
            past.downloaded += downloaded;
            past.uploaded += uploaded;
            past.client = showing::client_name(&ended);
        }
        drop(ended);
        self.tell(now, Event::Disconnected { conn })
    }

    pub fn disconnect_all(&mut self, now: Instant) {
        let conns: Vec<ConnId> = self.conns.keys().copied().collect();
        for conn in conns {
            self.disconnect(now, conn, true);
        }
    }

    /// Who is connected, and where it listens, as far as we know.
    pub fn connected(&self) -> impl Iterator<Item = (PeerId, SocketAddr)> {
        self.conns
            .values()
            .map(|conn| (conn.peer_id, conn.address()))
    }

    pub fn connected_on(&self, conn: ConnId) -> Option<(PeerId, SocketAddr)> {
        let conn = self.conns.get(&conn)?;
        Some((conn.peer_id, conn.address()))
    }

    /// Ends the connections with this peer. Returns how many.
    pub fn disconnect_peer(&mut self, now: Instant, peer: PeerId) -> usize {
        let with = self.conns.iter().filter(|(_, conn)| conn.peer_id == peer);
        let ids: Vec<ConnId> = with.map(|(id, _)| *id).collect();
        for id in &ids {
            self.disconnect(now, *id, true);
        }
        ids.len()
    }

    /// Ends every connection; each reports its end when its threads are through.
    pub fn close_all(&self) {
        self.conns.values().for_each(|conn| conn.connection.close());
    }

    pub fn connections(&self) -> usize {
        self.conns.len()
    }

    /// Whom to call now. Who has everything calls anybody: others may want it. In a batch run they
    /// call.
    pub fn calls(&mut self, now: Instant, shunned: &Shunned) -> Vec<SocketAddr> {
        if !self.is_open() {
            return Vec::new();
        }
        let (sources, complete) = (&self.sources, self.torrent.is_complete());
        let room = match self.refresh {
            Some(_) if complete => 0,
            Some(_) => self.room_for_calls(),
            None => MAX_CALLING.saturating_sub(self.conns.len()),
        };
        let may = |address| {
            let is_source = complete || sources.has(Some(address));
            is_source && !shunned.has(address)
        };
        self.book.take_due(now, room, may)
    }

    /// The user names a peer, which is a source from now on. Tells what it is to us, and whether
    /// it was no source before.
    pub fn name_peer(&mut self, now: Instant, address: SocketAddr) -> (Standing, bool) {
        let is_new_source = self.sources.add(address);
        if is_new_source {
            let conns = self.conns.iter();
            let there = conns.filter(|(_, conn)| conn.listens == Some(address));
            for id in there.map(|(id, _)| *id).collect::<Vec<_>>() {
                self.mind_source(now, id);
            }
        }
        (self.book.name(now, address), is_new_source)
    }

    /// Peers may be there.
    pub fn learn(&mut self, now: Instant, addresses: &[SocketAddr]) {
        for address in addresses {
            self.book.learn(now, *address, Duration::ZERO);
        }
    }

    /// Too many others are being called just now.
    pub fn call_later(&mut self, now: Instant, address: SocketAddr) {
        self.book.disconnected(now, address, true);
    }

    pub fn call_failed(&mut self, now: Instant, address: SocketAddr) {
        self.book.failed(now, address);
    }

    /// Lets time pass: traffic first, then the rules' own clock, then announces.
    pub fn tick(&mut self, now: Instant, us: Identity, announcer: &Announcer) -> Option<Wish> {
        let mut wish = None;
        if self.is_open() {
            let traffic: Vec<Event> = self
                .conns
                .iter()
                .map(|(&conn, c)| {
                    let counters = &c.connection.counters;
                    let (downloaded, uploaded) = (counters.downloaded(), counters.uploaded());
                    Event::Traffic {
                        conn,
                        downloaded,
                        uploaded,
                    }
                })
                .collect();
            for event in traffic {
                wish = self.tell(now, event).or(wish);
            }
            wish = self.tell(now, Event::Tick).or(wish);
            self.announce_if_due(now, us, announcer);
        }
        wish
    }

    /// Everything on disk was hashed. Starts over with what is right.
    pub fn checked(
        &mut self,
        outcome: HashOutcome,
        rules: impl FnOnce(Bitfield) -> Torrent,
    ) -> Option<Wish> {
        let (hashes, unreadable) = match outcome {
            HashOutcome::Hashed { hashes, unreadable } => (hashes, unreadable),
            HashOutcome::Cancelled => return None,
            HashOutcome::Failed(error) => {
                self.state = State::Stopped(error);
                return None;
            }
        };
        let mut have = Bitfield::none(self.shared.metainfo.layout.pieces());
        for (piece, hash) in hashes {
            if hash == Some(self.shared.metainfo.piece_hash(piece)) {
                have.insert(piece);
            }
        }
        let complete = have.is_full();
        let missing = have.pieces() - have.count();
        *self.shared.have.write() = have.clone();
        self.torrent = rules(have);
        self.state = if std::mem::take(&mut self.pause_after_check) {
            State::Paused
        } else {
            State::Running
        };
        if self.shared.storage.is_finished() {
            if !complete {
                let path = self.path();
                let what = format!("{missing} of its pieces are not what was shared");
                let error = unreadable.unwrap_or(StorageError::Changed { path, what });
                self.state = State::Stopped(error);
            }
        } else if complete {
            self.state = State::Finishing;
            return Some(Wish::Finish);
        }
        None
    }

    /// Bytes carried, ever: down, up.
    pub fn carried(&self) -> (u64, u64) {
        let now = self.conns.values().map(|conn| {
            let counters = &conn.connection.counters;
            (counters.downloaded(), counters.uploaded())
        });
        now.fold(self.before, |(down, up), (d, u)| (down + d, up + u))
    }

    /// What to remember for the next run. What the files look like is looked up by the disk
    /// thread.
    pub fn record(&self, clean: bool) -> Record {
        let (downloaded, uploaded) = self.carried();
        Record {
            metainfo: self.shared.metainfo.clone(),
            target: self.path(),
            have: self.torrent.have().clone(),
            finished: false,
            clean,
            files: Vec::new(),
            names: match self.shared.storage.names() {
                Some(names) => names.to_remember().to_vec(),
                None => Vec::new(),
            },
            uploaded,
            downloaded,
            paused: matches!(self.state, State::Paused) || self.pause_after_check,
            share: self.share.clone(),
            sources: self.sources.clone(),
            added: self.added,
        }
    }

    /// Whether [`Managed::record`] knows more than the record of the last run.
    pub fn is_worth_remembering(&self) -> bool {
        match &self.state {
            State::Running | State::Finishing | State::Paused => true,
            State::Checking(_) => false,
            State::Stopped(error) => error.is_no_space(),
        }
    }
}
