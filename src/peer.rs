//! The peer program: what fetches, hashes and serves.
//!
//! | thread | owns | waits on | stops when |
//! |---|---|---|---|
//! | `engine` | every torrent's state, without locks | one `select!` | told to, last |
//! | `accept`, `shake-N` | the listening socket; a caller's handshake | `accept`, `read` | flag, a connection to itself |
//! | `dial-N` | one call and its handshake | channel of calls | sender dropped |
//! | `conn-r-N` | the read half of a connection | `read` | the stream is closed |
//! | `conn-w-N` | the write half of a connection | its bounded channel of orders | senders dropped |
//! | `hash-N` | a buffer | channel of hash jobs | sender dropped |
//! | `announce`, `http-N` | connections to trackers | channel of jobs | sender dropped, after 2 s the stop flag |
//! | `events` | the stream from our tracker: news, questions | `read` | the account closes |
//! | `answer` | what was hashed because a tracker has asked for it | channel of questions | sender dropped |
//! | `ask-N` | one question to one tracker | `read` | answered, or too late |
//! | `knock-N` | one knock at somebody, because a tracker asks for it | `connect` | done, or too late |
//! | `check-N` | whether a tracker or a peer can be reached | `connect`, `read` | done, or too late |
//! | `disk` | the records in the download folder | channel of jobs, a clock | sender dropped |
//!
//! Not here: what people see of it (the shell), and the rules it follows (`torrent`).

pub mod accept;
pub mod account;
pub mod addresses;
pub mod announcer;
pub mod asking;
pub mod batch;
pub mod channel;
pub mod connection;
pub mod dial;
pub mod disk;
pub mod engine;
pub mod engine_link;
pub mod events;
pub mod hashing;
pub mod knocker;
pub mod knocks;
pub mod managed;
pub mod membership;
pub mod memory;
pub mod network;
pub mod noise;
pub mod opening;
pub mod rate_limit;
pub mod schedule;
pub mod shake;
pub mod shunned;
pub mod stoppable;
pub mod tickets;
pub mod tracker_link;
pub mod trackers;
pub mod upload_folder;
pub mod view;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use rand::RngExt;

use crate::control::names::{FileName, GroupName, UserName};
use crate::control::reply::LoggedIn;
use crate::control::request::Holder;
use crate::control::tracker_info::TrackerAddress;
use crate::runtime::listener::{ListenError, Listener};
use crate::runtime::stop::Stop;
use crate::runtime::threads::{self, Threads};
use crate::storage::folder::{DownloadFolder, FolderError, Remembered};
use crate::storage::names::{Platform, SafePaths};
use crate::storage::open_files::OpenFiles;
use crate::storage::probe::part_path;
use crate::storage::resume::{Share, Sources};
use crate::storage::{Storage, StorageError, is_same_place, real_path};
use crate::torrent::budget::DEFAULT_BUDGET;
use crate::torrent::choker::DEFAULT_SLOTS;
use crate::torrent::id::{FileHash, InfoHash, PeerId};
use crate::torrent::metainfo::Metainfo;

use accept::Acceptor;
use account::Account;
use announcer::Announcer;
use asking::Asked;
use batch::{Batch, Note};
use connection::{Limits, MAX_ORDERS};
use dial::Dialer;
use disk::Disk;
use engine::{Addition, Command, Engine, EngineError, Input};
use engine_link::{EngineLink, new_beginning};
use events::{Events, Told};
use hashing::HashPool;
use knocker::Knocker;
use knocks::ExpectedKnocks;
use managed::{Beginning, Identity};
use membership::{Membership, Unusable};
use memory::Memory;
use network::{Here, Network};
use noise::NoiseError;
use opening::GIVE_UP_POLL;
use rate_limit::RateLimit;
use shunned::Shunned;
use tickets::Renewals;
use tracker_link::{Contacts, TrackerLink};
use trackers::Trackers;
use upload_folder::{Tools, UploadFolder};
use view::{CallOutcome, News, PeerRow, Status, TorrentView};

/// How long a login waits for the stream of news.
const STREAM_PATIENCE: Duration = Duration::from_secs(1);

/// How much room a peer takes on its machine.
struct Scale {
    /// Inputs that may wait for the engine. Whoever reports more waits.
    inputs: usize,
    /// Orders that may wait for the writer of a connection.
    orders: usize,
    /// Threads that call other peers.
    dialers: usize,
}

const USUAL: Scale = Scale {
    inputs: 4096,
    orders: MAX_ORDERS,
    dialers: dial::THREADS,
};

/// Hundreds of peers of a batch run share one machine.
const IN_BATCH: Scale = Scale {
    inputs: 512,
    orders: 256,
    dialers: 2,
};

/// How a peer shall be.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where others reach us; port 0 lets the system choose.
    pub listen: SocketAddr,
    pub trackers: Vec<TrackerAddress>,
    pub download: PathBuf,
    /// Where a file is looked for that a tracker asks for and that is not shared. `None`: only what
    /// is shared is told.
    pub upload: Option<PathBuf>,
    /// How many peers are served at once, a torrent.
    pub slots: usize,
    /// How much memory the pieces on their way may take, in bytes.
    pub memory: u64,
    /// Let only members know of a group's torrents. Tests switch it off to show that what is
    /// refused would succeed otherwise.
    pub check_tickets: bool,
    /// In a batch run it is otherwise than at home.
    pub batch: Option<Batch>,
}

impl Config {
    pub fn new(listen: SocketAddr, trackers: Vec<TrackerAddress>, download: &Path) -> Config {
        Config {
            listen,
            trackers,
            download: download.to_path_buf(),
            upload: None,
            slots: DEFAULT_SLOTS.get(),
            memory: DEFAULT_BUDGET,
            check_tickets: true,
            batch: None,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("no thread could be started: {0}")]
    Thread(#[from] io::Error),
    #[error("no key could be made: {0}")]
    Noise(#[from] NoiseError),
    #[error(transparent)]
    Tracker(#[from] Unusable),
    #[error(
        "something else is being fetched to {}: wait for it, or name another destination",
        .0.display()
    )]
    SamePlace(PathBuf),
    #[error("interrupted")]
    GivenUp,
    #[error("the peer has stopped")]
    Stopped,
}

/// A running peer. Dropping it stops it, within three seconds whatever the trackers do.
pub struct Peer {
    identity: Identity,
    folder: Arc<DownloadFolder>,
    acceptor: Option<Acceptor>,
    address: SocketAddr,
    inputs: Sender<Input>,
    engine: Option<JoinHandle<()>>,
    events: Option<Events>,
    connections: Arc<Threads>,
    stop: Stop,
    news: Receiver<News>,
    /// Who is logged in here.
    pub account: Arc<Account>,
    /// Who we are in our groups.
    pub membership: Arc<Membership>,
    /// Who answers us.
    pub trackers: Arc<Trackers>,
    notes: Option<Sender<Note>>,
    /// Who may call without meaning a torrent.
    expected: Arc<ExpectedKnocks>,
    pub limits: Arc<Limits>,
    pub pool: Arc<HashPool>,
    pub open_files: Arc<OpenFiles>,
}

impl Peer {
    /// Starts every thread, then what was going on when the folder was last used. Returns also
    /// what could not be taken up again, in words.
    pub fn start(config: Config) -> Result<(Peer, Vec<String>), PeerError> {
        let folder = Arc::new(DownloadFolder::open(&config.download)?);
        let stop = Stop::new();
        let listener = Listener::bind(config.listen, stop.clone())?;
        let address = listener
            .local_addr()
            .map_err(|source| ListenError::Other(config.listen, source))?;
        let mut rng = rand::rng();
        let peer_id = match &config.batch {
            Some(batch) => batch.peer_id,
            None => folder.peer_id(rng.random())?,
        };
        let identity = Identity {
            peer_id,
            port: address.port(),
        };

        let in_batch = config.batch.is_some();
        let scale = if in_batch { IN_BATCH } else { USUAL };
        let (inputs, inbox) = bounded(scale.inputs);
        let (to_news, news) = unbounded();
        let connections = Arc::new(Threads::new());
        let limits = Arc::new(Limits {
            up: RateLimit::none(),
            down: RateLimit::none(),
            orders: scale.orders,
        });
        let (memory, memory_freed) = Memory::new(config.memory);
        let pool = Arc::new(HashPool::new()?);
        let membership = Membership::new(&config.trackers, config.check_tickets)?;
        let membership = Arc::new(membership);
        let account = Arc::new(Account::new(membership.keys.public));
        let trackers = Arc::new(Trackers::new(config.trackers, to_news.clone()));
        let notes = config.batch.as_ref().and_then(|batch| batch.notes.clone());
        let contacts = Contacts {
            trackers: trackers.clone(),
            account: account.clone(),
            membership: membership.clone(),
            notes: notes.clone(),
        };
        let patience = folder.patience().clone();
        let open_files = Arc::new(OpenFiles::default().with_patience(patience));
        let state = folder.state_path().to_path_buf();
        let remembered = folder.remembered()?;
        // Which files are a group's is known only if every record can be read.
        let is_known = remembered.damaged.is_empty();
        let is_silent = config.upload.is_some() && !is_known;
        let upload_folder = config.upload.filter(|_| is_known).map(|folder| {
            UploadFolder::start(Tools {
                folder,
                state: state.clone(),
                pool: pool.clone(),
                open_files: open_files.clone(),
                engine: inputs.clone(),
                people: to_news.clone(),
            })
        });
        let engine = Engine {
            identity,
            inputs: inbox,
            to_self: inputs.clone(),
            news: to_news.clone(),
            announcer: Announcer::start(contacts.clone(), &inputs)?,
            dialer: Dialer::start(scale.dialers, &membership, &inputs, &stop)?,
            disk: Disk::start(folder.clone(), open_files.clone(), inputs.clone())?,
            pool: pool.clone(),
            threads: connections.clone(),
            limits: limits.clone(),
            memory,
            memory_freed,
            account: account.clone(),
            membership: membership.clone(),
            renewals: Renewals::default(),
            upload_folder: upload_folder.transpose()?,
            asking: None,
            slots: config.slots,
            seed: rng.random(),
            batch: config.batch,
            torrents: HashMap::new(),
            next_conn: 0,
            tracker_connections: 0,
            next_check: 0,
            shunned: Shunned::default(),
            awaited: Vec::new(),
        };
        let told = Told {
            people: to_news,
            engine: inputs.clone(),
        };
        let engine = threads::spawn("engine", None, move || engine.run())?;
        let expected = Arc::<ExpectedKnocks>::default();
        let acceptor = Acceptor::start(
            listener,
            membership.clone(),
            expected.clone(),
            inputs.clone(),
            stop.clone(),
        )?;
        let knocker = Knocker::new(expected.clone());
        let mut peer = Peer {
            identity,
            folder,
            acceptor: Some(acceptor),
            address,
            inputs,
            engine: Some(engine),
            events: None,
            connections,
            stop,
            news,
            account,
            membership,
            trackers,
            notes,
            expected,
            limits,
            pool,
            open_files,
        };
        let mut notices = peer.take_up(remembered)?;
        if is_silent {
            notices.push(
                "until the next start, who asks for a file of the upload folder is told only what is \
                 shared: what could not be read may have been about a group's files"
                    .into(),
            );
        }
        // Questions come from now on: what is a group's is known. A batch run has no news.
        if !in_batch {
            peer.events = Some(Events::start(contacts, told, knocker)?);
        }
        Ok((peer, notices))
    }

    /// Where others reach us.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    pub fn peer_id(&self) -> PeerId {
        self.identity.peer_id
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// For people: which names of a torrent are others on the disk, if any are.
    pub fn names_file(&self, info_hash: InfoHash) -> PathBuf {
        self.folder.names_path(info_hash)
    }

    /// Where we keep what is our own.
    pub fn state_folder(&self) -> &Path {
        self.folder.state_path()
    }

    /// What happens without being asked for.
    pub fn news(&self) -> &Receiver<News> {
        &self.news
    }

    /// A way to the engine, for another thread.
    pub fn engine_link(&self) -> EngineLink {
        EngineLink::new(self.inputs.clone())
    }

    /// What trackers know us by.
    pub fn holder(&self) -> Holder {
        self.identity.holder()
    }

    /// A connection to our trackers, which `stop` ends.
    pub fn link(&self, stop: Stop) -> TrackerLink {
        let contacts = Contacts {
            trackers: self.trackers.clone(),
            account: self.account.clone(),
            membership: self.membership.clone(),
            notes: self.notes.clone(),
        };
        TrackerLink::new(contacts, stop)
    }

    /// Other trackers stand in tracker_info.txt.
    pub fn set_trackers(&self, trackers: Vec<TrackerAddress>) {
        self.membership.set_trackers(&trackers);
        self.trackers.replace(trackers);
    }

    /// Takes up what the folder remembers.
    fn take_up(&self, remembered: Remembered) -> Result<Vec<String>, PeerError> {
        let mut notices = remembered.damaged;
        for record in remembered.records {
            let reopened = opening::reopen(&record, self.open_files.clone());
            notices.extend(reopened.notice);
            let beginning = Beginning {
                metainfo: record.metainfo,
                share: record.share,
                sources: record.sources,
                added: record.added,
                downloaded: record.downloaded,
                uploaded: record.uploaded,
                published: None,
            };
            let (storage, start) = (reopened.storage, reopened.start);
            let paused = record.paused;
            self.add(Addition {
                beginning,
                storage,
                start,
                paused,
                remembered: true,
            })?;
        }
        Ok(notices)
    }

    /// As [`EngineLink::seed`].
    pub fn seed(
        &self,
        metainfo: Arc<Metainfo>,
        storage: Arc<dyn Storage>,
        share: Option<Share>,
        published: Option<SocketAddr>,
    ) -> Result<(), PeerError> {
        self.engine_link().seed(metainfo, storage, share, published)
    }

    /// Fetches a torrent from `sources` to `target`, using what lies there already. That is hashed
    /// first, unless `give_up` says otherwise.
    pub fn download(
        &self,
        metainfo: Arc<Metainfo>,
        target: &Path,
        share: Option<Share>,
        sources: Sources,
        give_up: &dyn Fn() -> bool,
    ) -> Result<(), PeerError> {
        if let Some(there) = self.torrent(metainfo.info_hash)? {
            return Err(EngineError::Twice(there.name).into());
        }
        if is_same_place(target, self.state_folder()) {
            return Err(StorageError::Occupied {
                path: target.to_path_buf(),
                what: "it is this program's own folder".into(),
            }
            .into());
        }
        // What is complete at the target itself may be the same content: it is looked at.
        let part = part_path(target);
        let same_place = |other: &TorrentView| match other.finished {
            true => is_same_place(&other.path, &part),
            false => {
                let theirs = [&part_path(&other.path), &other.path];
                let ours = [&*part, target];
                let meet = |it: &&PathBuf| ours.iter().any(|ours| is_same_place(it, ours));
                theirs.iter().any(meet)
            }
        };
        if let Some(other) = self.torrents()?.into_iter().find(same_place) {
            return Err(PeerError::SamePlace(other.path));
        }
        let open_files = self.open_files.clone();
        let opened = opening::open(target, &metainfo, &self.pool, open_files, give_up)?;
        let Some(opened) = opened else {
            return Err(PeerError::GivenUp);
        };
        log::trace!(target: "hop", "{}: its place is {}", metainfo.name(), target.display());
        let beginning = Beginning {
            sources,
            ..new_beginning(metainfo, share)
        };
        let (storage, start) = (opened.storage, opened.start);
        if let Some(names) = storage.names() {
            self.folder
                .tell_names(beginning.metainfo.info_hash, &names)?;
        }
        self.add(Addition {
            beginning,
            storage,
            start,
            paused: false,
            remembered: false,
        })
    }

    fn add(&self, addition: Addition) -> Result<(), PeerError> {
        self.engine_link().add(addition)
    }

    /// A tracker has let a user in: what is theirs is shared and goes on. Returns when they are told
    /// what happens from now on, but soon in any case.
    ///
    /// # Errors
    /// When the tracker's key is not the one that it had.
    pub fn log_in(&self, answer: &LoggedIn) -> Result<(), PeerError> {
        // The account first: the engine takes a membership without it for one that has ended.
        if self.account.user().as_ref() != Some(&answer.user) {
            self.account.log_in(answer);
        }
        if let Err(error) = self.membership.log_in(Instant::now(), answer) {
            self.log_out()?;
            return Err(error.into());
        }
        self.ask(|reply| Command::LoginChanged { reply })?;
        if !self.account.wait_for_stream(STREAM_PATIENCE) {
            log::debug!(target: "tracker", "logged in, but no tracker tells news yet");
        }
        Ok(())
    }

    /// Nothing of the user's groups is shared any more, and no connection about it stays open.
    pub fn log_out(&self) -> Result<(), PeerError> {
        self.membership.log_out();
        self.account.log_out();
        self.ask(|reply| Command::LoginChanged { reply })
    }

    /// The user has left a group: nothing of it is shared any more, whatever tickets say.
    pub fn leave_group(&self, group: GroupName) -> Result<(), PeerError> {
        self.ask(|reply| Command::LeaveGroup { group, reply })
    }

    /// The tracker may think otherwise now of groups that it kept us out of.
    pub fn ask_for_tickets(&self) -> Result<(), PeerError> {
        let command = Input::Command(Command::AskForTickets);
        self.inputs.send(command).map_err(|_| PeerError::Stopped)
    }

    /// What lies at `path` becomes a group's: it is not told any more to who asks for a file, and
    /// what was served because somebody had asked is served no longer.
    pub fn withhold(&self, path: &Path) -> Result<(), PeerError> {
        let real = |path: &Path| real_path(path).unwrap_or_else(|_| path.to_path_buf());
        let withheld = real(path);
        let path = withheld.clone();
        self.ask(|reply| Command::Withhold { path, reply })?;
        let is_withheld = |torrent: &TorrentView| {
            torrent.finished && torrent.is_unlisted() && real(&torrent.path).starts_with(&withheld)
        };
        for torrent in self.torrents()?.into_iter().filter(is_withheld) {
            self.remove(torrent.info_hash)?;
        }
        Ok(())
    }

    pub fn torrents(&self) -> Result<Vec<TorrentView>, PeerError> {
        self.engine_link().torrents()
    }

    /// Asks for the names of all torrents, from any thread; none once the peer has stopped.
    pub fn torrent_names(&self) -> impl Fn() -> Vec<String> + Send + use<> {
        let engine = self.engine_link();
        move || {
            engine
                .torrents()
                .unwrap_or_default()
                .into_iter()
                .map(|torrent| torrent.name)
                .collect()
        }
    }

    /// Asks where peers are that were heard of, from any thread: those that are connected, or
    /// those that are not.
    pub fn peer_addresses(&self) -> impl Fn(bool) -> Vec<SocketAddr> + Send + use<> {
        let engine = self.engine_link();
        move |connected| {
            let rows = engine.ask(|reply| Command::Peers { reply });
            let rows = rows.unwrap_or_default();
            let rows = rows.into_iter();
            let rows = rows.filter(|row| row.connected.is_some() == connected);
            let mut addresses: Vec<SocketAddr> = rows.map(|row| row.address).collect();
            if !connected {
                let shunned = engine.ask(|reply| Command::Shunned { reply });
                addresses.extend(shunned.unwrap_or_default());
            }
            addresses
        }
    }

    pub fn torrent(&self, info_hash: InfoHash) -> Result<Option<TorrentView>, PeerError> {
        self.engine_link().torrent(info_hash)
    }

    pub fn peers(&self) -> Result<Vec<PeerRow>, PeerError> {
        self.ask(|reply| Command::Peers { reply })
    }

    /// Calls the peer that listens there for every torrent that is fetched or served, whatever
    /// came of it before. Waits for what comes of each call, not longer than calls take, and not
    /// when `give_up` comes true.
    pub fn connect(
        &self,
        address: SocketAddr,
        give_up: &dyn Fn() -> bool,
    ) -> Result<Vec<CallOutcome>, PeerError> {
        let (tell, told) = unbounded();
        let command = Command::Connect { address, tell };
        let sent = self.inputs.send(Input::Command(command));
        sent.map_err(|_| PeerError::Stopped)?;
        let mut outcomes = Vec::new();
        loop {
            match told.recv_timeout(GIVE_UP_POLL) {
                Ok(outcome) => outcomes.push(outcome),
                Err(RecvTimeoutError::Timeout) if give_up() => return Err(PeerError::GivenUp),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(outcomes),
            }
        }
    }

    /// Ends every connection with the peer that listens there, and leaves it alone: it is not
    /// called, and its calls are refused, until [`Peer::connect`] names it. Returns how many
    /// connections were ended.
    pub fn disconnect(&self, address: SocketAddr) -> Result<usize, PeerError> {
        self.ask(|reply| Command::Disconnect { address, reply })
    }

    /// The same for everybody who is connected. Returns who that was.
    pub fn disconnect_all(&self) -> Result<Vec<SocketAddr>, PeerError> {
        self.ask(|reply| Command::DisconnectAll { reply })
    }

    /// Who is left alone.
    pub fn shunned(&self) -> Result<Vec<SocketAddr>, PeerError> {
        self.ask(|reply| Command::Shunned { reply })
    }

    /// Further addresses where a torrent may be fetched. If it has chosen its sources, those
    /// alone are called all the same.
    pub fn add_addresses(
        &self,
        info_hash: InfoHash,
        addresses: &[SocketAddr],
    ) -> Result<(), PeerError> {
        let addresses = addresses.to_vec();
        Ok(self.ask(|reply| Command::AddAddresses {
            info_hash,
            addresses,
            reply,
        })??)
    }

    /// Asks trackers who has a file, at most some seconds. We are not told of ourselves.
    pub fn who_has(
        &self,
        trackers: &[TrackerAddress],
        file: &FileName,
        stop: &Stop,
    ) -> Result<Vec<Asked>, PeerError> {
        let asking = |file| {
            let command = Input::Command(Command::Asking { file });
            self.inputs.send(command).map_err(|_| PeerError::Stopped)
        };
        asking(Some(file.clone()))?;
        let asked = asking::ask(trackers, file, self.peer_id(), stop);
        asking(None)?;
        Ok(asked)
    }

    /// Finds out what we can connect to, and who can connect to us: some seconds, less if `stop` is
    /// requested.
    pub fn check_network(&self, stop: &Stop) -> Result<Network, PeerError> {
        let here = Here {
            bound: self.address,
            peer_id: self.peer_id(),
            trackers: self.trackers.list(),
            peers: self.ask(|reply| Command::Addresses { reply })?,
            expected: self.expected.clone(),
        };
        Ok(network::check(here, stop))
    }

    pub fn pause(&self, info_hash: InfoHash) -> Result<(), PeerError> {
        Ok(self.ask(|reply| Command::Pause { info_hash, reply })??)
    }

    /// Goes on with what was paused, or stopped by an error.
    pub fn resume(&self, torrent: &TorrentView) -> Result<(), PeerError> {
        match &torrent.status {
            // Its files may be others by now.
            Status::Stopped {
                waits_for_space: false,
                ..
            } => self.recheck(torrent),
            _ => {
                let info_hash = torrent.info_hash;
                Ok(self.ask(|reply| Command::Resume { info_hash, reply })??)
            }
        }
    }

    /// Hashes again what is on disk.
    pub fn recheck(&self, torrent: &TorrentView) -> Result<(), PeerError> {
        let open = if torrent.finished {
            opening::open_complete
        } else {
            opening::open_anew
        };
        let names = match &torrent.names {
            Some(names) => SafePaths::clone(names),
            None => SafePaths::new(&torrent.metainfo.layout, Platform::here())
                .map_err(StorageError::from)?,
        };
        let open_files = self.open_files.clone();
        let storage = open(&torrent.path, &torrent.metainfo, names, open_files)?;
        let info_hash = torrent.info_hash;
        Ok(self.ask(|reply| Command::Recheck {
            info_hash,
            storage,
            reply,
        })??)
    }

    /// A group's torrent that is here already is this user's, too, from now on.
    pub fn add_user(&self, info_hash: InfoHash, user: UserName) -> Result<(), PeerError> {
        Ok(self.ask(|reply| Command::AddUser {
            info_hash,
            user,
            reply,
        })??)
    }

    /// What is shared has this SHA-256: it is told with every offer from now on.
    pub fn learn_sha256(&self, info_hash: InfoHash, sha256: FileHash) -> Result<(), PeerError> {
        Ok(self.ask(|reply| Command::LearnSha256 {
            info_hash,
            sha256,
            reply,
        })??)
    }

    /// Forgets a torrent. Its files stay.
    pub fn remove(&self, info_hash: InfoHash) -> Result<(), PeerError> {
        self.engine_link().remove(info_hash)
    }

    fn ask<T>(&self, command: impl FnOnce(Sender<T>) -> Command) -> Result<T, PeerError> {
        self.engine_link().ask(command)
    }

    /// Ends everything: new connections first, then the engine with all others, then threads.
    pub fn stop(&mut self) {
        self.folder.patience().end_soon();
        self.acceptor = None;
        // Nothing new is listened to; the login stays, for the goodbye.
        self.account.close();
        let _ = self.inputs.send(Input::Command(Command::Stop));
        if let Some(engine) = self.engine.take() {
            threads::join(engine);
        }
        self.events = None;
        self.trackers.close();
        self.stop.request();
        self.connections.join();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop();
    }
}
