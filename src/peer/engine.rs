//! The engine: one thread that owns every torrent and waits in one place.
//!
//! Whatever happens anywhere comes in as an [`Input`]; the engine tells the torrent that it is
//! about, and carries out what the rules say. It never waits for a slow party: orders to
//! connections, calls and announces go into channels, files are moved by the `disk` thread.

mod asked;
pub mod command;
mod groups;
mod single;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, select, tick};

use crate::control::names::FileName;
use crate::runtime::threads::Threads;
use crate::storage::StorageError;
use crate::torrent::bitfield::Bitfield;
use crate::torrent::id::{ConnId, InfoHash};
use crate::torrent::layout::Layout;
use crate::torrent::{Event, Torrent};
use crate::wire::handshake::Handshake;

use super::account::Account;
use super::announcer::{Announced, Announcer, TicketAnswer, Tracker};
use super::batch::{self, Batch};
use super::connection::{Direction, Handshaken, Limits, Report};
use super::dial::{Call, Dialer};
use super::disk::{Disk, DiskJob};
use super::hashing::{HashOutcome, HashPool};
use super::managed::{Identity, Managed, Refusal, State, Wish};
use super::membership::Membership;
use super::memory::Memory;
use super::shake::CallError;
use super::shunned::Shunned;
use super::tickets::Renewals;
use super::upload_folder::{Asked, Looked, UploadFolder};
use super::view::News;
pub use command::{Addition, Command, EngineError, Start};
pub use single::Awaited;

/// How often the rules are told that time has passed.
const TICK: Duration = Duration::from_millis(200);
/// How often a torrent that waits for disk space looks for it.
const SPACE_CHECK: Duration = Duration::from_secs(3);
/// The most connections of all torrents together: two threads each.
const MAX_CONNECTIONS_IN_ALL: usize = 400;
/// How long connections may take to end when the engine stops.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long trackers may take to hear that we leave.
const TRACKERS_FAREWELL: Duration = Duration::from_secs(1);

/// Everything that can happen to a peer.
pub enum Input {
    /// The user wants something.
    Command(Command),
    /// A peer that speaks BitTorrent is at the other end of this stream.
    Handshaken(Box<Handshaken>),
    CallFailed {
        info_hash: InfoHash,
        address: SocketAddr,
        error: CallError,
    },
    Connection {
        info_hash: InfoHash,
        conn: ConnId,
        report: Report,
    },
    /// What is on disk was hashed.
    Checked {
        info_hash: InfoHash,
        /// Which check it was: there may have been another since.
        check: u64,
        outcome: HashOutcome,
    },
    /// There is room for the rest of a torrent that waits for it.
    SpaceFound {
        info_hash: InfoHash,
    },
    /// The files were moved to their place, or not.
    Finished {
        info_hash: InfoHash,
        result: Result<(), StorageError>,
    },
    Announced(Announced),
    /// There is a new connection to a tracker of ours, the how manieth.
    NewTracker {
        connections: u64,
    },
    Ticket(TicketAnswer),
    /// A tracker asks for a file.
    Asked(Asked),
    /// It was looked for where nobody shares it from.
    Looked(Looked),
}

impl Input {
    /// The torrent that it is about.
    fn about(&self) -> Option<InfoHash> {
        match self {
            Input::Handshaken(handshaken) => Some(handshaken.handshake.info_hash),
            Input::Command(Command::Add { addition, .. }) => {
                Some(addition.beginning.metainfo.info_hash)
            }
            Input::CallFailed { info_hash, .. }
            | Input::Connection { info_hash, .. }
            | Input::Checked { info_hash, .. }
            | Input::SpaceFound { info_hash }
            | Input::Finished { info_hash, .. } => Some(*info_hash),
            Input::Announced(announced) => Some(announced.info_hash),
            Input::Command(_)
            | Input::NewTracker { .. }
            | Input::Ticket(_)
            | Input::Asked(_)
            | Input::Looked(_) => None,
        }
    }
}

/// The engine's own. Everything but the channels is touched by no other thread.
pub struct Engine {
    pub identity: Identity,
    pub inputs: Receiver<Input>,
    /// For those who report to us.
    pub to_self: Sender<Input>,
    pub news: Sender<News>,
    pub announcer: Announcer,
    pub dialer: Dialer,
    pub disk: Disk,
    pub pool: Arc<HashPool>,
    pub threads: Arc<Threads>,
    pub limits: Arc<Limits>,
    pub memory: Arc<Memory>,
    /// Says that some of it has come back.
    pub memory_freed: Receiver<()>,
    pub account: Arc<Account>,
    pub membership: Arc<Membership>,
    pub renewals: Renewals,
    /// Where to look for files that are asked for and not shared. `None`: nowhere.
    pub upload_folder: Option<UploadFolder>,
    /// What our own user asks for just now.
    pub asking: Option<FileName>,
    pub slots: usize,
    /// All chance in the rules comes from here.
    pub seed: u64,
    /// In a batch run.
    pub batch: Option<Batch>,
    pub torrents: HashMap<InfoHash, Managed>,
    pub next_conn: u64,
    /// How many connections to our tracker there have been when it last answered.
    pub tracker_connections: u64,
    pub next_check: u64,
    pub shunned: Shunned,
    /// The calls of which somebody waits to hear.
    pub awaited: Vec<Awaited>,
}

impl Engine {
    /// Runs until told to stop.
    pub fn run(mut self) {
        let ticker = tick(self.batch.as_ref().map_or(TICK, |_| batch::TICK));
        let mut space_checked = Instant::now();
        loop {
            select! {
                recv(self.inputs) -> input => match input {
                    Ok(Input::Command(Command::Stop)) | Err(_) => break,
                    Ok(input) => {
                        let (now, about) = (Instant::now(), input.about());
                        self.handle(now, input);
                        if let Some(info_hash) = about && self.batch.is_some() {
                            self.keep_up(now, info_hash);
                        }
                    }
                },
                recv(self.memory_freed) -> _ => self.share_out_memory(Instant::now()),
                recv(ticker) -> _ => {
                    let now = Instant::now();
                    self.tick(now);
                    if now.saturating_duration_since(space_checked) >= SPACE_CHECK {
                        space_checked = now;
                        self.look_for_space();
                    }
                }
            }
        }
        self.say_goodbye();
    }

    fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Command(command) => self.command(now, command),
            Input::Handshaken(handshaken) => self.admit(now, *handshaken),
            Input::CallFailed {
                info_hash,
                address,
                error,
            } => {
                self.with(info_hash, |torrent| {
                    torrent.call_failed(now, address);
                    None
                });
                self.call_ended(info_hash, address, Err(error.to_string()));
            }
            Input::Connection {
                info_hash,
                conn,
                report,
            } => {
                self.report(now, info_hash, conn, report);
            }
            Input::Checked {
                info_hash,
                check,
                outcome,
            } => self.checked(info_hash, check, outcome),
            Input::SpaceFound { info_hash } => self.space_found(now, info_hash),
            Input::Finished { info_hash, result } => self.finished(info_hash, result),
            Input::Announced(announced) => {
                if announced.tracker == Tracker::Ours && announced.result.is_ok() {
                    self.greet_new_tracker(now, announced.connections);
                }
                let (identity, announcer) = (self.identity, &self.announcer);
                if let Some(torrent) = self.torrents.get_mut(&announced.info_hash) {
                    torrent.announced(now, announced, identity, announcer);
                }
            }
            Input::NewTracker { connections } => self.greet_new_tracker(now, connections),
            Input::Ticket(answer) => self.ticket_answered(now, answer),
            Input::Asked(asked) => self.asked(now, asked),
            Input::Looked(looked) => self.looked(looked),
        }
    }

    /// Our tracker answers on a new connection: it may have been started anew or be another one,
    /// and know none of our torrents.
    fn greet_new_tracker(&mut self, now: Instant, connections: u64) {
        if connections != self.tracker_connections {
            self.tracker_connections = connections;
            for torrent in self.torrents.values_mut() {
                torrent.announce_again(now, &Tracker::Ours);
            }
        }
    }

    /// Does something with a torrent, if it is still there, and what follows from it.
    fn with(&mut self, info_hash: InfoHash, act: impl FnOnce(&mut Managed) -> Option<Wish>) {
        if let Some(torrent) = self.torrents.get_mut(&info_hash)
            && let Some(Wish::Finish) = act(torrent)
        {
            self.disk.queue(torrent.finish_job());
        }
    }

    /// Memory has come back for which torrents wait: each is asked once, in its turn.
    fn share_out_memory(&mut self, now: Instant) {
        for _ in 0..self.torrents.len() {
            let Some(info_hash) = self.memory.next_in_line() else {
                break;
            };
            self.with(info_hash, |torrent| torrent.tell(now, Event::MemoryFreed));
        }
    }

    fn tick(&mut self, now: Instant) {
        self.mind_groups(now);
        self.forget_overdue_calls(now);
        for torrent in self.torrents.values_mut() {
            if let Some(Wish::Finish) = torrent.tick(now, self.identity, &self.announcer) {
                self.disk.queue(torrent.finish_job());
            }
        }
        self.call(now);
    }

    /// Calls whom the torrents want to call now.
    fn call(&mut self, now: Instant) {
        let mut room = MAX_CONNECTIONS_IN_ALL.saturating_sub(self.connections());
        for torrent in self.torrents.values_mut() {
            if room > 0 {
                let called = call(now, torrent, self.identity, &self.dialer, &self.shunned);
                room = room.saturating_sub(called);
            }
        }
    }

    /// In a batch run: what else follows from what happened to a torrent, at once.
    fn keep_up(&mut self, now: Instant, info_hash: InfoHash) {
        let has_room = self.connections() < MAX_CONNECTIONS_IN_ALL;
        let Some(torrent) = self.torrents.get_mut(&info_hash) else {
            return;
        };
        if has_room {
            call(now, torrent, self.identity, &self.dialer, &self.shunned);
        }
        let wish = torrent.keep_up(now, self.identity, &self.announcer);
        self.with(info_hash, |_| wish);
    }

    fn connections(&self) -> usize {
        self.torrents.values().map(Managed::connections).sum()
    }

    fn admit(&mut self, now: Instant, handshaken: Handshaken) {
        let (info_hash, address) = (handshaken.handshake.info_hash, handshaken.address);
        let direction = handshaken.direction;
        let result = match self.refusal(now, &handshaken) {
            None => self.let_in(now, handshaken),
            Some(refusal) => {
                let level = match refusal {
                    Refusal::FullInAll => log::Level::Info,
                    _ => log::Level::Debug,
                };
                log::log!(target: "engine", level, "{address} turned away: {refusal}");
                self.with(info_hash, |torrent| {
                    torrent.call_later(now, address);
                    None
                });
                Err(refusal)
            }
        };
        if direction == Direction::Outgoing {
            let result = match result {
                Ok(()) | Err(Refusal::Twin) => Ok(()),
                Err(refusal) => Err(refusal.to_string()),
            };
            self.call_ended(info_hash, address, result);
        }
    }

    /// Why nobody here wants this connection, whatever the torrent says.
    fn refusal(&self, now: Instant, handshaken: &Handshaken) -> Option<Refusal> {
        let info_hash = handshaken.handshake.info_hash;
        // Of a group's torrent nobody else learns anything: to them it is unknown.
        let is_for = |torrent: &Managed| torrent.is_for(now, &handshaken.pass);
        let limit = match self.batch {
            Some(_) if handshaken.direction == Direction::Incoming => batch::CALLERS,
            _ => MAX_CONNECTIONS_IN_ALL,
        };
        if self.connections() >= limit {
            Some(Refusal::FullInAll)
        } else if self.is_shunned(handshaken) {
            Some(Refusal::Shunned)
        } else if !self.torrents.get(&info_hash).is_some_and(is_for) {
            Some(Refusal::Unknown(info_hash))
        } else {
            None
        }
    }

    fn let_in(&mut self, now: Instant, handshaken: Handshaken) -> Result<(), Refusal> {
        let info_hash = handshaken.handshake.info_hash;
        let (identity, threads) = (self.identity, self.threads.clone());
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        let mut result = Err(Refusal::Unknown(info_hash));
        self.with(info_hash, |torrent| {
            let admitted = torrent.admit(now, conn, handshaken, identity, &threads);
            result = admitted.as_ref().map(|_| ()).map_err(|refusal| *refusal);
            admitted.ok().flatten()
        });
        result
    }

    fn report(&mut self, now: Instant, info_hash: InfoHash, conn: ConnId, report: Report) {
        let is_old = |torrent: &Managed| conn <= torrent.born;
        if self.torrents.get(&info_hash).is_none_or(is_old) {
            return;
        }
        match report {
            Report::Event(event) => self.with(info_hash, |torrent| torrent.tell(now, event)),
            Report::Introduced(theirs) => {
                self.with(info_hash, |torrent| torrent.introduced(now, conn, theirs));
                self.part_if_shunned(now, info_hash, conn);
            }
            Report::Renewed(pass) => {
                self.with(info_hash, |torrent| torrent.renewed(now, conn, pass));
            }
            Report::Ended(reason) => {
                self.with(info_hash, |torrent| torrent.ended(now, conn, &reason));
            }
            Report::StorageFailed(error) => self.stop_torrent(now, info_hash, error),
        }
    }

    /// The disk failed it: nothing is fetched or served until that is mended.
    fn stop_torrent(&mut self, now: Instant, info_hash: InfoHash, error: StorageError) {
        let Some(torrent) = self.torrents.get_mut(&info_hash) else {
            return;
        };
        if matches!(torrent.state, State::Running | State::Finishing) {
            self.news.send(stopped(torrent, &error)).ok();
            torrent.state = State::Stopped(error);
            torrent.disconnect_all(now);
            torrent.announce_stopped(self.identity, &self.announcer);
        }
    }

    fn look_for_space(&self) {
        for (&info_hash, torrent) in &self.torrents {
            if matches!(&torrent.state, State::Stopped(error) if error.is_no_space()) {
                let storage = torrent.shared.storage.clone();
                self.disk
                    .queue(DiskJob::LookForSpace { info_hash, storage });
            }
        }
    }

    fn space_found(&mut self, now: Instant, info_hash: InfoHash) {
        let Some(torrent) = self.torrents.get(&info_hash) else {
            return;
        };
        if matches!(&torrent.state, State::Stopped(error) if error.is_no_space()) {
            let text = format!("{} goes on: there is room on the disk", torrent.name());
            self.news.send(News::Notice(text)).ok();
            self.start_again(now, info_hash);
        }
    }

    fn start_again(&mut self, now: Instant, info_hash: InfoHash) {
        self.with(info_hash, |torrent| torrent.run(now));
    }

    fn checked(&mut self, info_hash: InfoHash, check: u64, outcome: HashOutcome) {
        let awaited = |torrent: &Managed| {
            torrent.check == check && matches!(torrent.state, State::Checking(_))
        };
        if !self.torrents.get(&info_hash).is_some_and(awaited) {
            return;
        }
        let (slots, seed) = (self.slots, self.next_seed());
        let fair = self.batch.is_some();
        self.with(info_hash, |torrent| {
            let layout = torrent.shared.metainfo.layout.clone();
            torrent
                .trackers
                .iter_mut()
                .for_each(|schedule| schedule.restart(Instant::now()));
            torrent.checked(outcome, |have| rules(layout, have, slots, seed, fair))
        });
        if let Some(torrent) = self.torrents.get(&info_hash) {
            if let State::Stopped(error) = &torrent.state {
                self.news.send(stopped(torrent, error)).ok();
            }
            self.remember(torrent, false);
        }
    }

    fn remember(&self, torrent: &Managed, clean: bool) {
        if torrent.is_worth_remembering() {
            self.write_record(torrent, clean);
        }
    }

    fn write_record(&self, torrent: &Managed, clean: bool) {
        // Nobody will come back to it.
        if self.batch.is_some() {
            return;
        }
        let record = Box::new(torrent.record(clean));
        let storage = torrent.shared.storage.clone();
        self.disk.queue(DiskJob::Remember { record, storage });
    }

    fn finished(&mut self, info_hash: InfoHash, result: Result<(), StorageError>) {
        if let Err(error) = result {
            self.stop_torrent(Instant::now(), info_hash, error);
            return;
        }
        let Some(torrent) = self.torrents.get_mut(&info_hash) else {
            return;
        };
        if matches!(torrent.state, State::Finishing) {
            torrent.state = State::Running;
        }
        log::trace!(target: "hop", "{}: complete", torrent.name());
        let completed = News::Completed {
            info_hash,
            name: torrent.name().into(),
            path: torrent.path(),
            sha256: torrent.sha256(),
        };
        self.news.send(completed).ok();
        if let Some(torrent) = self.torrents.get(&info_hash) {
            self.remember(torrent, false);
        }
    }

    fn next_check(&mut self) -> u64 {
        self.next_check += 1;
        self.next_check
    }

    fn next_seed(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.seed
    }

    /// Ends everything in order: trackers are told while connections end and state is saved;
    /// nobody is waited for longer than a bounded time.
    fn say_goodbye(mut self) {
        let now = Instant::now();
        for torrent in self.torrents.values_mut() {
            if matches!(torrent.state, State::Running | State::Finishing) {
                torrent.announce_stopped(self.identity, &self.announcer);
            }
            if let State::Checking(task) = &torrent.state {
                task.cancel();
            }
        }
        // What the connections have just saved counts, so they are heard to their end.
        self.torrents.values().for_each(Managed::close_all);
        let deadline = now + FAREWELL;
        while self.connections() > 0
            && let Ok(input) = self.inputs.recv_deadline(deadline)
        {
            if let Input::Connection { .. } = input {
                self.handle(Instant::now(), input);
            }
        }
        for torrent in self.torrents.values() {
            self.remember(torrent, true);
        }
        let Engine {
            inputs, announcer, ..
        } = self;
        // Nobody listens any more: whoever still reports must not wait until we do.
        drop(inputs);
        announcer.finish(TRACKERS_FAREWELL.saturating_sub(now.elapsed()));
    }
}

/// Calls whom the torrent wants to call now. How many.
fn call(
    now: Instant,
    torrent: &mut Managed,
    us: Identity,
    dialer: &Dialer,
    shunned: &Shunned,
) -> usize {
    let Some(manner) = torrent.manner(now) else {
        return 0;
    };
    let addresses = torrent.calls(now, shunned);
    for &address in &addresses {
        let handshake = Handshake {
            info_hash: torrent.info_hash(),
            peer_id: us.peer_id,
            fast: true,
            extended: true,
        };
        let manner = manner.clone();
        let call = Call {
            address,
            handshake,
            manner,
        };
        if dialer.call(call).is_err() {
            torrent.call_later(now, address);
        }
    }
    addresses.len()
}

/// The rules of a torrent. In a batch run the sources give evenly.
fn rules(layout: Arc<Layout>, have: Bitfield, slots: usize, seed: u64, fair: bool) -> Torrent {
    let mut torrent = Torrent::new(layout, have, slots, seed);
    if fair {
        torrent.set_fair();
    }
    torrent
}

fn stopped(torrent: &Managed, error: &StorageError) -> News {
    News::Stopped {
        info_hash: torrent.info_hash(),
        name: torrent.name().into(),
        reason: error.to_string(),
    }
}
