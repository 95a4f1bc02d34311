//! The thread that looks at the folder and does what follows.
//!
//! A share that is withdrawn is owed to the tracker until it was told: before that nothing is
//! shared under the same name, which the tracker would refuse.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, after, select, unbounded};
use parking_lot::Mutex;

use crate::control::names::GroupName;
use crate::control::reply::{Code, ReplyError};
use crate::control::request::Holder;
use crate::peer::engine::EngineError;
use crate::peer::engine_link::EngineLink;
use crate::peer::hashing::make::{self, Made, MakeError, Wish};
use crate::peer::hashing::{HashPool, HashTask};
use crate::peer::tracker_link::{LinkError, TrackerLink};
use crate::peer::view::{Status, TorrentView};
use crate::peer::{Peer, PeerError};
use crate::runtime::stop::Stop;
use crate::storage::open_files::OpenFiles;
use crate::storage::resume::Share;
use crate::storage::unshared::{self, Unshared};
use crate::storage::{FileStamp, Storage, StorageError};
use crate::torrent::id::InfoHash;

use super::super::offering::{self, Offered};
use super::super::peer_shell::ShellError;
use super::super::sharing;
use super::changes::{Fate, Known, MAX_SHARED, Step, changes};
use super::groups::{Groups, of_group};
use super::look::{Look, files_at};
use super::{Found, Mode};

/// From the end of one look to the beginning of the next, at least.
const PAUSE: Duration = Duration::from_secs(1);
/// A look that takes long is followed by a pause so many times as long.
const REST: u32 = 10;
/// Torrents that are hashed at once: small ones keep every core busy then, and large ones do not
/// hold up small ones.
const HASHING: usize = 4;
/// How long trackers that do not answer are not asked again, so that many files do not wait for
/// them one after another. What is shared meanwhile is offered by the engine later.
const TRACKER_PAUSE: Duration = Duration::from_secs(5);
/// How often it is looked whether a name that others had is free.
const NAMES_PAUSE: Duration = Duration::from_secs(15);
const TAKEN: &str = "others share other content under this name; it is shared as soon as nobody has \
                     that any more, or under another name";

pub struct Watcher {
    folder: PathBuf,
    mode: Mode,
    engine: EngineLink,
    holder: Holder,
    link: TrackerLink,
    pool: Arc<HashPool>,
    open_files: Arc<OpenFiles>,
    /// Where it is remembered what is not to be shared, and what of this folder stands there.
    state: PathBuf,
    remembered: Unshared,
    look: Look,
    known: BTreeMap<OsString, Known>,
    /// To be hashed when it is their turn.
    waiting: VecDeque<OsString>,
    tasks: BTreeMap<u64, HashTask>,
    next_job: u64,
    to_us: Sender<Hashed>,
    hashed: Receiver<Hashed>,
    /// What trackers have not been told to share no longer.
    owed: BTreeMap<InfoHash, Share>,
    trackers_rest_until: Option<Instant>,
    /// When it is looked again whether names are free.
    names_at: Instant,
    /// The user knows that the folder cannot be listed.
    blind: bool,
    found: Arc<Mutex<Found>>,
}

struct Hashed {
    job: u64,
    name: OsString,
    result: Result<Made, MakeError>,
}

impl Watcher {
    /// `look` is the first one; `remembered` is what was not to be shared in the last run.
    pub(super) fn new(
        peer: &Peer,
        (folder, mode): (PathBuf, Mode),
        (look, mut remembered): (Look, Unshared),
        found: Arc<Mutex<Found>>,
        stop: Stop,
    ) -> Watcher {
        let unshared = |(path, files): (&PathBuf, &Vec<FileStamp>)| {
            let known = Known {
                files: files.clone(),
                fate: Fate::Unshared,
                changes: 0,
            };
            Some((path.file_name()?.to_os_string(), known))
        };
        remembered.retain(|path, _| path.parent() == Some(&folder));
        let (to_us, hashed) = unbounded();
        Watcher {
            known: remembered.iter().filter_map(unshared).collect(),
            folder,
            mode,
            engine: peer.engine_link(),
            holder: peer.holder(),
            link: peer.link(stop),
            pool: peer.pool.clone(),
            open_files: peer.open_files.clone(),
            state: peer.state_folder().to_path_buf(),
            remembered,
            look,
            waiting: VecDeque::new(),
            tasks: BTreeMap::new(),
            next_job: 0,
            to_us,
            hashed,
            owed: BTreeMap::new(),
            trackers_rest_until: None,
            names_at: Instant::now(),
            blind: false,
            found,
        }
    }

    /// Watches until there is nobody left who gives orders, or the order is to end the sharing.
    pub fn run(mut self, orders: &Receiver<Mode>) {
        // The first look was made before we began.
        let mut next = Instant::now() + PAUSE;
        loop {
            select! {
                recv(orders) -> order => match order {
                    Ok(Mode::Off) => {
                        let known = self.compare_with_engine();
                        if known.is_ok() {
                            self.withdraw_all();
                        }
                        break;
                    }
                    Ok(mode) => self.mode = mode,
                    Err(_) => break,
                },
                recv(self.hashed) -> hashed => {
                    // We have a sender ourselves, so there is one.
                    if let Ok(hashed) = hashed {
                        self.take_hashed(hashed);
                    }
                }
                recv(after(next.saturating_duration_since(Instant::now()))) -> _ => {}
            }
            if Instant::now() >= next {
                let took = self.look();
                // An error means that the peer ends, and we shall with it.
                if took.is_some() && self.follow().is_err() {
                    log::debug!(target: "watch", "the engine has ended");
                }
                let pause = took.unwrap_or_default() * REST;
                next = Instant::now() + pause.max(PAUSE);
            }
            self.hash_waiting();
            self.tell();
        }
        // What the user has ended since the last look.
        if self.compare_with_engine().is_ok() {
            self.remember();
        }
        self.tasks.values().for_each(HashTask::cancel);
    }

    /// Looks at the folder. How long that took; None if it cannot be listed.
    fn look(&mut self) -> Option<Duration> {
        let since = Instant::now();
        match Look::at(&self.folder, self.mode, self.known.keys()) {
            Ok(look) => {
                self.look = look.after(&self.look);
                self.blind = false;
                Some(since.elapsed())
            }
            Err(error) => {
                if !std::mem::replace(&mut self.blind, true) {
                    let folder = self.folder.display();
                    log::warn!(target: "watch", "{folder} cannot be watched just now: {error}");
                }
                None
            }
        }
    }

    /// Does what follows from the look.
    fn follow(&mut self) -> Result<(), PeerError> {
        self.compare_with_engine()?;
        self.waiting.clear();
        for step in changes(&self.look, &self.known) {
            match step {
                Step::Withdraw(name) => self.withdraw(&name),
                Step::Share(name) => self.waiting.push_back(name),
            }
        }
        self.remember();
        self.pay();
        self.look_for_free_names();
        Ok(())
    }

    /// What has a name that nobody else uses any more is as if it were new.
    fn look_for_free_names(&mut self) {
        let is_taken = |known: &Known| known.fate == Fate::Taken;
        let now = Instant::now();
        if now < self.names_at || self.trackers_rest() || !self.known.values().any(is_taken) {
            return;
        }
        self.names_at = now + NAMES_PAUSE;
        let Ok(entries) = sharing::entries(&mut self.link, &GroupName::public()) else {
            return self.let_trackers_rest();
        };
        let used = entries
            .iter()
            .filter(|entry| entry.seeders + entry.leechers > 0);
        let used: HashSet<&OsStr> = used.map(|entry| OsStr::new(entry.name.as_str())).collect();
        self.known
            .retain(|name, known| !is_taken(known) || used.contains(name.as_os_str()));
    }

    /// What the user has shared, or shares no longer, and what the engine has found changed.
    fn compare_with_engine(&mut self) -> Result<(), PeerError> {
        let torrents = self.engine.torrents()?;
        let ours: BTreeMap<InfoHash, &TorrentView> = torrents
            .iter()
            .filter(|torrent| self.is_ours(torrent))
            .map(|torrent| (torrent.info_hash, torrent))
            .collect();
        for known in self.known.values_mut() {
            let Fate::Shared(info_hash) = known.fate else {
                continue;
            };
            match ours.get(&info_hash) {
                None => known.fate = Fate::Unshared,
                Some(torrent) if is_broken(torrent) => known.files.clear(),
                Some(_) => {}
            }
        }
        let groups = Groups::of(&torrents, &self.folder);
        for (name, known) in &mut self.known {
            if matches!(known.fate, Fate::OfGroup(_)) && groups.group_of(name).is_none() {
                known.fate = Fate::Unshared;
            }
        }
        for (name, seen) in &self.look.entries {
            let fate = self.known.get(name).map(|known| &known.fate);
            // What is shared with everybody already was so by the user's wish.
            if matches!(fate, Some(Fate::Shared(_) | Fate::Hashing(_))) {
                continue;
            }
            if let Some(group) = groups.group_of(name) {
                let known = Known {
                    files: seen.files.clone(),
                    fate: Fate::OfGroup(group.clone()),
                    changes: 0,
                };
                self.known.insert(name.clone(), known);
            }
        }
        for torrent in ours.values() {
            let Some(name) = torrent.path.file_name() else {
                continue;
            };
            let fate = self.known.get(name).map(|known| &known.fate);
            let is_followed = self.mode == Mode::Folders || torrent.metainfo.layout.is_single();
            if !is_followed || matches!(fate, Some(Fate::Shared(_) | Fate::Hashing(_))) {
                continue;
            }
            let files = match self.look.entries.get(name) {
                Some(seen) => seen.files.clone(),
                // It is there and not for us to follow: the user has named it.
                None if fs::symlink_metadata(&torrent.path).is_ok() => continue,
                None => Vec::new(),
            };
            let storage = self.engine.storage(torrent.info_hash)?;
            let is_whole = storage.is_some_and(|storage| storage.verify_unchanged().is_ok());
            let known = Known {
                files: if is_whole { files } else { Vec::new() },
                fate: Fate::Shared(torrent.info_hash),
                changes: 0,
            };
            self.known.insert(name.to_os_string(), known);
        }
        Ok(())
    }

    /// Whether it is for everybody and lies in the folder.
    fn is_ours(&self, torrent: &TorrentView) -> bool {
        let public = |share: &Share| share.group.is_public();
        torrent.finished
            && !torrent.is_unlisted()
            && torrent.share.as_ref().is_some_and(public)
            && torrent.path.parent() == Some(&self.folder)
    }

    /// What is known of it is no longer true.
    fn withdraw(&mut self, name: &OsStr) {
        let Some(known) = self.known.remove(name) else {
            return;
        };
        let seen = self.look.entries.get(name).map(|seen| seen.files.clone());
        let was_at_rest = match known.fate {
            Fate::Shared(info_hash) => {
                let why = if seen.is_some() {
                    "it has changed"
                } else {
                    "it is gone"
                };
                self.unshare(name, info_hash, why);
                true
            }
            Fate::Hashing(job) => {
                if let Some(task) = self.tasks.remove(&job) {
                    task.cancel();
                }
                true
            }
            Fate::Restless => false,
            Fate::Unshared | Fate::OfGroup(_) | Fate::LeftAlone(_) | Fate::Taken => return,
        };
        if let Some(files) = seen {
            let known = Known {
                files,
                fate: Fate::Restless,
                changes: known.changes + u32::from(was_at_rest),
            };
            self.known.insert(name.to_os_string(), known);
        }
    }

    fn unshare(&mut self, name: &OsStr, info_hash: InfoHash, why: &str) {
        log::info!(target: "watch", "{} is shared no longer: {why}", name.display());
        // It may have gone from the engine just now; then it was withdrawn by the user.
        if let Ok(Some(torrent)) = self.engine.torrent(info_hash)
            && self.engine.remove(info_hash).is_ok()
            && let Some(share) = torrent.share
        {
            self.owed.insert(info_hash, share);
        }
    }

    fn withdraw_all(&mut self) {
        let known = std::mem::take(&mut self.known);
        let (unshared, others) = known
            .into_iter()
            .partition(|(_, known)| known.fate == Fate::Unshared);
        self.known = unshared;
        let others: BTreeMap<OsString, Known> = others;
        let mut count = 0;
        for (name, known) in others {
            if let Fate::Shared(info_hash) = known.fate {
                self.unshare(&name, info_hash, "by the user's wish");
                count += 1;
            }
        }
        self.trackers_rest_until = None;
        self.pay();
        self.found.lock().shared = count;
    }

    /// Tells trackers what they have not been told.
    fn pay(&mut self) {
        while let Some((&info_hash, share)) = self.owed.first_key_value() {
            if self.trackers_rest() {
                return;
            }
            let (share, held) = (share.clone(), true);
            match offering::withdraw(&mut self.link, self.holder, info_hash, share, held) {
                Err(error) if error.is_unreachable() => self.let_trackers_rest(),
                // One that does not know it has nothing to forget.
                Ok(_) | Err(_) => drop(self.owed.remove(&info_hash)),
            }
        }
    }

    fn is_owed(&self, name: &OsStr) -> bool {
        let is_it = |share: &Share| OsStr::new(share.name.as_str()) == name;
        self.owed.values().any(is_it)
    }

    fn trackers_rest(&self) -> bool {
        let rests = |until: Instant| Instant::now() < until;
        self.trackers_rest_until.is_some_and(rests)
    }

    fn let_trackers_rest(&mut self) {
        self.trackers_rest_until = Some(Instant::now() + TRACKER_PAUSE);
    }

    fn hash_waiting(&mut self) {
        while self.tasks.len() < HASHING
            && let Some(name) = self.waiting.pop_front()
        {
            // Both are looked at again soon.
            if let Some(seen) = self.look.entries.get(&name)
                && !self.is_owed(&name)
            {
                self.hash(name, seen.files.clone());
            }
        }
    }

    fn hash(&mut self, name: OsString, files: Vec<FileStamp>) {
        let job = self.next_job;
        self.next_job += 1;
        log::info!(target: "watch", "{} is being hashed", name.display());
        let path = self.folder.join(&name);
        let (to_us, its_name) = (self.to_us.clone(), name.clone());
        let on_done = move |result| {
            let name = its_name;
            drop(to_us.send(Hashed { job, name, result }));
        };
        let (pool, open) = (&self.pool, self.open_files.clone());
        let fate = match make::make_torrent(pool, open, &path, Wish::default(), on_done) {
            Ok(making) => {
                self.tasks.insert(job, making.task);
                Fate::Hashing(job)
            }
            Err(error) => match fate_of(&error) {
                Some(fate) => leave_alone(&name, fate),
                None => return,
            },
        };
        let changes = self.known.get(&name).map_or(0, |known| known.changes);
        let known = Known {
            files,
            fate,
            changes,
        };
        self.known.insert(name, known);
    }

    fn take_hashed(&mut self, hashed: Hashed) {
        let Hashed { job, name, result } = hashed;
        self.tasks.remove(&job);
        let is_it = |known: &Known| known.fate == Fate::Hashing(job);
        if !self.known.get(&name).is_some_and(is_it) {
            return;
        }
        let fate = match result {
            Ok(made) if self.is_still_there(&name, &made) => self.offer(&name, made),
            Ok(_) => None,
            Err(error) => fate_of(&error).map(|fate| leave_alone(&name, fate)),
        };
        match (fate, self.known.get_mut(&name)) {
            (Some(fate), Some(known)) => known.fate = fate,
            // The next look finds out what it is by now.
            (None, Some(known)) => known.fate = Fate::Restless,
            (_, None) => {}
        }
    }

    /// A link may have been put in the place of a file, and taken away again.
    fn is_still_there(&self, name: &OsStr, made: &Made) -> bool {
        let files = files_at(&self.folder.join(name), self.mode);
        let known = self.known.get(name).map(|known| &known.files);
        files.as_ref() == known
            && (made.storage.is_plain_file() || !made.metainfo.layout.is_single())
            && made.storage.verify_unchanged().is_ok()
    }

    /// Offers what was hashed, and has it served. None if that is to be tried again.
    fn offer(&mut self, name: &OsStr, made: Made) -> Option<Fate> {
        let metainfo = Arc::new(made.metainfo);
        let info_hash = metainfo.info_hash;
        let there = self.engine.torrent(info_hash).ok()?;
        if let Some(there) = there.filter(|there| !there.is_unlisted()) {
            return Some(match there.path.parent() == Some(self.folder.as_path()) {
                true => Fate::Shared(info_hash),
                false => Fate::LeftAlone(format!("it is here already: {}", there.path.display())),
            });
        }
        let share = match offering::share(&metainfo, GroupName::public(), Vec::new()) {
            Ok(share) => share,
            Err(error) => return Some(leave_alone(name, Fate::LeftAlone(error.to_string()))),
        };
        let published = if self.trackers_rest() {
            None
        } else {
            match offering::publish(&mut self.link, self.holder, &metainfo, &share) {
                Ok(Offered::At(tracker)) => tracker,
                Ok(Offered::Later(_)) => {
                    self.let_trackers_rest();
                    None
                }
                Err(error) if is_refused_as(&error, Code::Busy) => None,
                Err(error) if is_refused_as(&error, Code::Conflict) => {
                    log::warn!(target: "watch", "{} is not shared: {TAKEN}", name.display());
                    return Some(Fate::Taken);
                }
                Err(error) => {
                    let why = ShellError::from(error).to_string();
                    return Some(leave_alone(name, Fate::LeftAlone(why)));
                }
            }
        };
        let seeded = self
            .engine
            .seed(metainfo, made.storage, Some(share), published);
        match seeded {
            // Somebody else was faster: the same content, from the same place.
            Ok(()) | Err(PeerError::Engine(EngineError::Twice(_))) => {
                log::info!(target: "watch", "{} is shared with everybody", name.display());
                Some(Fate::Shared(info_hash))
            }
            Err(_) => None,
        }
    }

    /// Keeps what is not to be shared for the next run, if that is not what is kept already.
    fn remember(&mut self) {
        let unshared = self.known.iter();
        let unshared = unshared.filter(|(_, known)| known.fate == Fate::Unshared);
        let entry =
            |(name, known): (&OsString, &Known)| (self.folder.join(name), known.files.clone());
        let unshared: Unshared = unshared.map(entry).collect();
        if unshared == self.remembered {
            return;
        }
        let change = |all: &mut Unshared| {
            all.retain(|path, _| path.parent() != Some(&self.folder));
            all.extend(unshared.clone());
        };
        match unshared::change(&self.state, change) {
            Ok(()) => self.remembered = unshared,
            Err(error) => {
                log::error!(target: "watch", "what is not to be shared could not be kept: {error}");
            }
        }
    }

    /// For the command that asks.
    fn tell(&self) {
        let mut found = Found {
            waiting: self.look.entries.len(),
            ..Found::default()
        };
        for (name, known) in &self.known {
            let shown = || name.to_string_lossy().into_owned();
            match &known.fate {
                Fate::Hashing(_) | Fate::Restless => continue,
                Fate::Shared(_) => found.shared += 1,
                // It may come back as it was.
                Fate::Unshared if !self.look.entries.contains_key(name) => continue,
                Fate::Unshared => found.unshared.push(shown()),
                Fate::OfGroup(group) => found.left_alone.push((shown(), of_group(group))),
                Fate::LeftAlone(why) => {
                    let why = format!("is left alone until it changes: {why}");
                    found.left_alone.push((shown(), why));
                }
                Fate::Taken => {
                    let why = format!("is not shared: {TAKEN}");
                    found.left_alone.push((shown(), why));
                }
            }
            found.waiting = found.waiting.saturating_sub(1);
        }
        found.more = self.look.more || (found.shared >= MAX_SHARED && found.waiting > 0);
        *self.found.lock() = found;
    }
}

/// Its files are not what was shared: the engine has noticed it first.
fn is_broken(torrent: &TorrentView) -> bool {
    matches!(
        torrent.status,
        Status::Stopped {
            waits_for_space: false,
            ..
        }
    )
}

/// What becomes of something that could not be hashed. None if it has changed meanwhile: that is no
/// mistake.
fn fate_of(error: &MakeError) -> Option<Fate> {
    use crate::storage::content::ContentError;
    match error {
        MakeError::Cancelled
        | MakeError::Storage(StorageError::Changed { .. } | StorageError::Missing { .. })
        | MakeError::Content(ContentError::Missing(_) | ContentError::Empty(_)) => None,
        error => Some(Fate::LeftAlone(error.to_string())),
    }
}

/// Tells the user, once.
fn leave_alone(name: &OsStr, fate: Fate) -> Fate {
    if let Fate::LeftAlone(why) = &fate {
        log::warn!(target: "watch", "{} is not shared: {why}", name.display());
    }
    fate
}

fn is_refused_as(error: &LinkError, code: Code) -> bool {
    matches!(error, LinkError::Refused(ReplyError::Refused { code: said, .. }) if *said == code)
}
