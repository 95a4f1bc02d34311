//! What the user can want of the engine, carried out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Sender;
use parking_lot::RwLock;

use crate::control::names::{FileName, GroupName, UserName};
use crate::peer::connection::Shared;
use crate::peer::disk::DiskJob;
use crate::peer::hashing::{HashOutcome, Purpose};
use crate::peer::managed::{Beginning, Managed, State, Wish};
use crate::peer::view::{CallOutcome, News, PeerRow, TorrentView};
use crate::storage::{Storage, StorageError};
use crate::torrent::bitfield::Bitfield;
use crate::torrent::id::{ConnId, FileHash, InfoHash};
use crate::torrent::layout::Layout;

use super::{Engine, Input, rules};

/// What the user wants. Answers come back on the channel that the command brings.
pub enum Command {
    Add {
        addition: Box<Addition>,
        reply: Sender<Result<(), EngineError>>,
    },
    Pause {
        info_hash: InfoHash,
        reply: Sender<Result<(), EngineError>>,
    },
    Resume {
        info_hash: InfoHash,
        reply: Sender<Result<(), EngineError>>,
    },
    /// Hash again what is on disk, through a storage that was opened anew.
    Recheck {
        info_hash: InfoHash,
        storage: Arc<dyn Storage>,
        reply: Sender<Result<(), EngineError>>,
    },
    /// It is this user's, too, from now on.
    AddUser {
        info_hash: InfoHash,
        user: UserName,
        reply: Sender<Result<(), EngineError>>,
    },
    /// The SHA-256 of its one file, which is shared.
    LearnSha256 {
        info_hash: InfoHash,
        sha256: FileHash,
        reply: Sender<Result<(), EngineError>>,
    },
    /// Forget the torrent; its files stay.
    Remove {
        info_hash: InfoHash,
        reply: Sender<Result<(), EngineError>>,
    },
    /// What lies there becomes a group's: who asks for it is not told any more. Answers when nothing
    /// of it is being hashed for them.
    Withhold {
        path: PathBuf,
        reply: Sender<()>,
    },
    /// Further addresses where it may be fetched.
    AddAddresses {
        info_hash: InfoHash,
        addresses: Vec<SocketAddr>,
        reply: Sender<Result<(), EngineError>>,
    },
    /// Call this address now, for every torrent. What came of each call is told; then the channel
    /// is closed.
    Connect {
        address: SocketAddr,
        tell: Sender<CallOutcome>,
    },
    /// Part from who listens there, and leave them alone. Answers how many connections ended.
    Disconnect {
        address: SocketAddr,
        reply: Sender<usize>,
    },
    /// The same for everybody. Answers who that was.
    DisconnectAll {
        reply: Sender<Vec<SocketAddr>>,
    },
    /// Who is left alone.
    Shunned {
        reply: Sender<Vec<SocketAddr>>,
    },
    Torrents {
        reply: Sender<Vec<TorrentView>>,
    },
    Torrent {
        info_hash: InfoHash,
        reply: Sender<Option<TorrentView>>,
    },
    /// Where the bytes of a torrent are.
    Storage {
        info_hash: InfoHash,
        reply: Sender<Option<Arc<dyn Storage>>>,
    },
    Peers {
        reply: Sender<Vec<PeerRow>>,
    },
    /// Where peers may be that the user has not disconnected; those first to which there is no
    /// connection.
    Addresses {
        reply: Sender<Vec<SocketAddr>>,
    },
    /// Who is logged in has changed, as the membership says.
    LoginChanged {
        reply: Sender<()>,
    },
    /// The user is no member of it any more.
    LeaveGroup {
        group: GroupName,
        reply: Sender<()>,
    },
    /// The user asks for this file now, or for none any more.
    Asking {
        file: Option<FileName>,
    },
    /// Ask for tickets again that the tracker has refused.
    AskForTickets,
    Stop,
}

/// A torrent to be fetched or served.
pub struct Addition {
    pub beginning: Beginning,
    pub storage: Arc<dyn Storage>,
    pub start: Start,
    pub paused: bool,
    /// It comes from a record of the last run.
    pub remembered: bool,
}

/// What is known of the bytes on disk.
pub enum Start {
    /// These pieces are there and right.
    Have(Bitfield),
    /// Nobody knows.
    Check,
    /// They cannot be had.
    Stopped(StorageError),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    #[error("{0} is there already")]
    Twice(String),
    #[error("the files of {0} are being moved to their place; try again in a moment")]
    Finishing(String),
    #[error("{0} is a group's")]
    OfGroup(String),
    #[error("there is no such torrent any more")]
    Unknown,
}

impl Engine {
    pub(super) fn command(&mut self, now: Instant, command: Command) {
        // Whoever asked may have stopped waiting: that is no concern of ours.
        match command {
            Command::Add { addition, reply } => drop(reply.send(self.add(now, *addition))),
            Command::Pause { info_hash, reply } => drop(reply.send(self.pause(now, info_hash))),
            Command::Resume { info_hash, reply } => drop(reply.send(self.resume(now, info_hash))),
            Command::Recheck {
                info_hash,
                storage,
                reply,
            } => {
                drop(reply.send(self.recheck(now, info_hash, storage)));
            }
            Command::AddUser {
                info_hash,
                user,
                reply,
            } => drop(reply.send(self.add_user(now, info_hash, &user))),
            Command::LearnSha256 {
                info_hash,
                sha256,
                reply,
            } => drop(reply.send(self.learn_sha256(info_hash, sha256))),
            Command::Remove { info_hash, reply } => drop(reply.send(self.remove(now, info_hash))),
            Command::Withhold { path, reply } => match &self.upload_folder {
                Some(folder) => folder.withhold(path, reply),
                None => drop(reply.send(())),
            },
            Command::AddAddresses {
                info_hash,
                addresses,
                reply,
            } => drop(reply.send(self.add_addresses(now, info_hash, &addresses))),
            Command::Connect { address, tell } => self.connect(now, address, &tell),
            Command::Disconnect { address, reply } => {
                let _ = reply.send(self.disconnect(now, address));
            }
            Command::DisconnectAll { reply } => drop(reply.send(self.disconnect_all(now))),
            Command::Shunned { reply } => drop(reply.send(self.shunned.addresses())),
            Command::Torrents { reply } => {
                let mut torrents: Vec<&Managed> = self.torrents.values().collect();
                torrents.sort_by_key(|torrent| (torrent.added, torrent.name().to_string()));
                drop(reply.send(torrents.into_iter().map(Managed::view).collect()));
            }
            Command::Torrent { info_hash, reply } => {
                drop(reply.send(self.torrents.get(&info_hash).map(Managed::view)));
            }
            Command::Storage { info_hash, reply } => {
                let torrent = self.torrents.get(&info_hash);
                drop(reply.send(torrent.map(|torrent| torrent.shared.storage.clone())));
            }
            Command::Peers { reply } => {
                drop(reply.send(self.torrents.values().flat_map(Managed::peers).collect()));
            }
            Command::Addresses { reply } => drop(reply.send(self.addresses())),
            Command::LoginChanged { reply } => {
                self.login_changed(now);
                let _ = reply.send(());
            }
            Command::LeaveGroup { group, reply } => {
                self.left_group(now, &group);
                let _ = reply.send(());
            }
            Command::Asking { file } => self.asking = file,
            Command::AskForTickets => self.ask_for_tickets(now),
            Command::Stop => {}
        }
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        let known = self.torrents.values().flat_map(Managed::addresses);
        // One that is connected for any torrent is so.
        let mut connected: BTreeMap<SocketAddr, bool> = BTreeMap::new();
        for (address, is_connected) in known.filter(|(address, _)| !self.shunned.has(*address)) {
            *connected.entry(address).or_default() |= is_connected;
        }
        let mut all: Vec<(SocketAddr, bool)> = connected.into_iter().collect();
        all.sort_by_key(|(_, is_connected)| *is_connected);
        all.into_iter().map(|(address, _)| address).collect()
    }

    pub(super) fn add(&mut self, now: Instant, addition: Addition) -> Result<(), EngineError> {
        let Addition {
            beginning,
            storage,
            start,
            paused,
            remembered,
        } = addition;
        let metainfo = beginning.metainfo.clone();
        if let Some(there) = self.torrents.get_mut(&metainfo.info_hash) {
            if there.list(&beginning) {
                self.write_record(&self.torrents[&metainfo.info_hash], false);
                return Ok(());
            }
            return Err(EngineError::Twice(there.name().to_string()));
        }
        // Nobody has named it: it was asked for, and has become a group's meanwhile.
        let is_unlisted = beginning.share.as_ref().is_some_and(|share| !share.listed);
        let lies_there = |torrent: &Managed| {
            torrent.gate().is_some() && storage.final_path().starts_with(torrent.path())
        };
        if is_unlisted && !remembered && self.torrents.values().any(lies_there) {
            return Err(EngineError::OfGroup(metainfo.name().to_string()));
        }
        let none = Bitfield::none(metainfo.layout.pieces());
        let (have, check, stopped) = match start {
            Start::Have(have) => (have, false, None),
            Start::Check => (none, true, None),
            Start::Stopped(error) => (none, false, Some(error)),
        };
        let layout = metainfo.layout.clone();
        let info_hash = metainfo.info_hash;
        let shared = Arc::new(Shared {
            info_hash,
            metainfo,
            storage: storage.clone(),
            have: RwLock::new(have.clone()),
            engine: self.to_self.clone(),
            limits: self.limits.clone(),
            memory: self.memory.clone(),
            membership: self.membership.clone(),
        });
        let check_number = self.next_check();
        let state = match stopped {
            Some(error) => State::Stopped(error),
            None if check => self.start_check(info_hash, check_number, &storage, &layout),
            None if paused => State::Paused,
            None => State::Running,
        };
        let fair = self.batch.is_some();
        let rules = rules(layout, have, self.slots, self.next_seed(), fair);
        let mut torrent = Managed::new(now, beginning, shared, rules, state);
        if let Some(batch) = &self.batch {
            torrent.be_refreshed(now, batch.notes.clone());
        }
        torrent.check = check_number;
        torrent.born = ConnId(self.next_conn);
        torrent.pause_after_check = paused && check;
        log::trace!(target: "hop", "{}: the engine has it", torrent.name());
        self.tell_if_slow_for_want_of_memory(&torrent);
        let is_of_group = torrent.gate().is_some();
        self.torrents.insert(info_hash, torrent);
        if is_of_group {
            self.mind_groups(now);
        }
        self.with(info_hash, |torrent| {
            let finish = torrent.torrent.is_complete() && !torrent.shared.storage.is_finished();
            let finish = finish && matches!(torrent.state, State::Running);
            if finish {
                torrent.state = State::Finishing;
            }
            finish.then_some(Wish::Finish)
        });
        if let Some(torrent) = self.torrents.get(&info_hash)
            && (!remembered || torrent.is_worth_remembering())
        {
            self.write_record(torrent, false);
        }
        Ok(())
    }

    /// Who has chosen a small budget shall know what follows from it.
    fn tell_if_slow_for_want_of_memory(&self, torrent: &Managed) {
        let piece = torrent.shared.metainfo.layout.longest_piece();
        if !torrent.torrent.is_complete() && u64::from(piece) > self.memory.limit() {
            let text = format!(
                "{}: its pieces of {:.1} MiB are longer than --memory allows, so they are fetched one \
                 at a time",
                torrent.name(),
                f64::from(piece) / 1_048_576.0
            );
            self.news.send(News::Notice(text)).ok();
        }
    }

    pub(super) fn start_check(
        &self,
        info_hash: InfoHash,
        check: u64,
        storage: &Arc<dyn Storage>,
        layout: &Arc<Layout>,
    ) -> State {
        let engine = self.to_self.clone();
        let on_done = move |outcome| {
            // Who cancels knows it, and may be the engine itself: it must not wait for room in
            // its own channel.
            if !matches!(outcome, HashOutcome::Cancelled) {
                // The engine is gone only when everything ends.
                let _ = engine.send(Input::Checked {
                    info_hash,
                    check,
                    outcome,
                });
            }
        };
        let pieces = layout.all_pieces().collect();
        let (storage, layout) = (storage.clone(), layout.clone());
        let task = self
            .pool
            .hash(Purpose::Check, storage, layout, pieces, Box::new(on_done));
        State::Checking(task)
    }

    pub(super) fn pause(&mut self, now: Instant, info_hash: InfoHash) -> Result<(), EngineError> {
        let torrent = self
            .torrents
            .get_mut(&info_hash)
            .ok_or(EngineError::Unknown)?;
        match &torrent.state {
            State::Checking(_) => torrent.pause_after_check = true,
            State::Running | State::Finishing => {
                torrent.state = State::Paused;
                torrent.disconnect_all(now);
                torrent.announce_stopped(self.identity, &self.announcer);
            }
            // It must not go on by itself when there is room again.
            State::Stopped(error) if error.is_no_space() => torrent.state = State::Paused,
            State::Paused | State::Stopped(_) => {}
        }
        Ok(())
    }

    pub(super) fn resume(&mut self, now: Instant, info_hash: InfoHash) -> Result<(), EngineError> {
        let torrent = self
            .torrents
            .get_mut(&info_hash)
            .ok_or(EngineError::Unknown)?;
        torrent.pause_after_check = false;
        if matches!(torrent.state, State::Paused | State::Stopped(_)) {
            self.start_again(now, info_hash);
        }
        Ok(())
    }

    pub(super) fn recheck(
        &mut self,
        now: Instant,
        info_hash: InfoHash,
        storage: Arc<dyn Storage>,
    ) -> Result<(), EngineError> {
        let torrent = self
            .torrents
            .get_mut(&info_hash)
            .ok_or(EngineError::Unknown)?;
        if matches!(torrent.state, State::Finishing) {
            return Err(EngineError::Finishing(torrent.name().to_string()));
        }
        torrent.pause_after_check |= matches!(torrent.state, State::Paused);
        torrent.disconnect_all(now);
        if let State::Checking(task) = &torrent.state {
            task.cancel();
        }
        let old = torrent.shared.clone();
        let layout = old.metainfo.layout.clone();
        torrent.shared = Arc::new(Shared {
            info_hash,
            metainfo: old.metainfo.clone(),
            storage: storage.clone(),
            have: RwLock::new(Bitfield::none(layout.pieces())),
            engine: old.engine.clone(),
            limits: old.limits.clone(),
            memory: old.memory.clone(),
            membership: old.membership.clone(),
        });
        let check = self.next_check();
        let state = self.start_check(info_hash, check, &storage, &layout);
        if let Some(torrent) = self.torrents.get_mut(&info_hash) {
            torrent.check = check;
            torrent.state = state;
            torrent.born = ConnId(self.next_conn);
        }
        Ok(())
    }

    fn add_user(
        &mut self,
        now: Instant,
        info_hash: InfoHash,
        user: &UserName,
    ) -> Result<(), EngineError> {
        let torrent = self.torrents.get_mut(&info_hash);
        torrent.ok_or(EngineError::Unknown)?.add_user(user);
        if let Some(torrent) = self.torrents.get(&info_hash) {
            self.write_record(torrent, false);
        }
        self.mind_groups(now);
        Ok(())
    }

    fn learn_sha256(&mut self, info_hash: InfoHash, sha256: FileHash) -> Result<(), EngineError> {
        let torrent = self.torrents.get_mut(&info_hash);
        let torrent = torrent.ok_or(EngineError::Unknown)?;
        if let Some(share) = &mut torrent.share {
            share.sha256 = Some(sha256);
        }
        if let Some(torrent) = self.torrents.get(&info_hash) {
            self.write_record(torrent, false);
        }
        Ok(())
    }

    fn remove(&mut self, now: Instant, info_hash: InfoHash) -> Result<(), EngineError> {
        let path = self.forget(now, info_hash)?;
        if let Some(folder) = &self.upload_folder {
            folder.withdrawn(path);
        }
        Ok(())
    }

    /// Ends a torrent. Returns where its content lies.
    pub(super) fn forget(
        &mut self,
        now: Instant,
        info_hash: InfoHash,
    ) -> Result<PathBuf, EngineError> {
        let mut torrent = self
            .torrents
            .remove(&info_hash)
            .ok_or(EngineError::Unknown)?;
        if let State::Checking(task) = &torrent.state {
            task.cancel();
        }
        torrent.disconnect_all(now);
        torrent.announce_stopped(self.identity, &self.announcer);
        self.disk.queue(DiskJob::Forget(info_hash));
        self.awaited.retain(|call| call.info_hash != info_hash);
        Ok(torrent.path())
    }
}
