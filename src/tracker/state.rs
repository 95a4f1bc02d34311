//! What the tracker's threads share, and what can be done with what is everybody's.
//!
//! The shares are behind one lock, the swarms behind another; the facts of groups and their
//! swarms behind two more, the questions to peers behind one; nobody holds two. Where a request concerns both, it looks at one, lets
//! go, and looks at the other: what may have changed between is looked at again, or does no harm.
//! Not here: accounts (`account_door`), groups (`group_door`) and questions (`ask_door`).

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex, RwLock};

use crate::announce::request::{AnnounceRequest, Event};
use crate::announce::response::AnnounceResponse;
use crate::announce::scrape::{Counts, ScrapeRequest, ScrapeResponse};
use crate::control::classic::swarm_of;
use crate::control::names::{FileName, GroupName};
use crate::control::reply::{FileEntry, PeerEntry, Stats, TrackerEntry, Uploaded};
use crate::control::request::Upload;
use crate::control::sync::{self, ShareLine, Standing, SwarmLine};
use crate::registry::Seconds;
use crate::registry::attempts::Attempts;
use crate::registry::change::MAX_INFO;
use crate::registry::facts::Facts;
use crate::registry::question::{Found, Questions};
use crate::registry::refused::Refused;
use crate::registry::shares::{OfferError, Offered, Share, Shares};
use crate::registry::swarms::{Member, SwarmError, Swarms};
use crate::runtime::stop::Stop;
use crate::torrent::id::{InfoHash, PeerId};
use crate::torrent::metainfo::Metainfo;

use super::batch_door::Batch;
use super::config::Config;
use super::connections::Connections;
use super::crowd::{Crowd, NUMWANT_MAX};
use super::hub::Hub;
use super::knock_door::Knocking;
use super::known::Known;
use super::neighbours::Neighbours;
use super::passwords::Passwords;
use super::store::{Store, StoreError};

/// How many bytes of bodies may be under way at once: 32 of the largest.
const BODY_MEMORY: usize = 128 * 1024 * 1024;

/// By how many seconds the ages of two shares may differ for no reason.
const CLOCKS_DIFFER: u32 = 2;

pub struct State {
    pub config: Config,
    pub stop: Stop,
    pub connections: Arc<Connections>,
    pub counters: Counters,
    pub bodies: Room,
    /// Users, groups, and what they share: what is committed.
    pub known: Arc<Known>,
    /// Changes them.
    pub store: Store,
    /// The other trackers: what is done here is told to them.
    pub neighbours: Arc<Neighbours>,
    /// Hears of the changes.
    pub hub: Arc<Hub>,
    pub passwords: Passwords,
    pub attempts: Mutex<Attempts>,
    /// What is asked of the peers just now.
    pub questions: Mutex<Questions>,
    /// Notified when one of them has answered.
    pub answered: Condvar,
    /// Who is knocked at just now.
    pub knocking: Knocking,
    /// The swarms of groups: announced by members, shown to members.
    pub group_crowd: Crowd,
    /// The batch run that this tracker is for.
    pub batch: Option<Arc<Batch>>,
    started: Instant,
    shares: RwLock<Shares>,
    crowd: Crowd,
}

/// What has happened since the start.
#[derive(Default)]
pub struct Counters {
    requests: AtomicU64,
    announces: AtomicU64,
    refused: AtomicU64,
}

/// Memory that is lent out.
pub struct Room {
    left: AtomicUsize,
}

/// Memory that was lent, given back when dropped.
pub struct Lent<'a> {
    room: &'a Room,
    size: usize,
}

/// A torrent of the tracker, as its prompt shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmRow {
    pub info_hash: InfoHash,
    /// The names under which it is shared, if it is.
    pub names: Vec<String>,
    pub counts: Counts,
}

impl State {
    pub fn new(config: Config, stop: Stop) -> Result<State, StoreError> {
        let hub = Arc::new(Hub::default());
        let (path, number) = (config.db.as_deref(), config.number);
        let neighbours = Arc::new(Neighbours::new(number, config.trackers.clone()));
        let of_store = neighbours.clone();
        let (store, known) = Store::start(path, number, config.groups, hub.clone(), of_store)?;
        Ok(State {
            connections: Connections::new(config.connections, config.connections_per_address),
            counters: Counters::default(),
            bodies: Room {
                left: AtomicUsize::new(BODY_MEMORY),
            },
            known,
            store,
            neighbours,
            hub,
            passwords: Passwords::new(),
            attempts: Mutex::new(Attempts::new()),
            questions: Mutex::default(),
            answered: Condvar::new(),
            knocking: Knocking::default(),
            group_crowd: Crowd::new(config.swarms, config.interval),
            batch: config.batch.clone().map(Batch::new),
            started: Instant::now(),
            shares: RwLock::new(Shares::new(config.shares)),
            crowd: Crowd::new(config.swarms, config.interval),
            config,
            stop,
        })
    }

    /// The time for the registry.
    pub(super) fn now(&self) -> Seconds {
        // A tracker that runs for 136 years may begin to forget nobody.
        Seconds(u32::try_from(self.started.elapsed().as_secs()).unwrap_or(u32::MAX))
    }

    pub fn announce(
        &self,
        ip: IpAddr,
        request: &AnnounceRequest,
    ) -> Result<AnnounceResponse, SwarmError> {
        self.counters.announce();
        let mut answer = self.crowd.announce(self.now(), ip, request)?;
        if let Some(batch) = &self.batch {
            let from = SocketAddr::new(ip, request.port);
            let members = self.crowd.look(|swarms| swarms.members(&request.info_hash));
            let limit = request.numwant.unwrap_or(NUMWANT_MAX).min(NUMWANT_MAX);
            answer.peers = batch.order(from, request, members, limit as usize);
        }
        self.tell_swarm(true, ip, request);
        Ok(answer)
    }

    /// Whether somebody who listens there is in a public swarm.
    pub(super) fn is_member(&self, info_hash: &InfoHash, address: SocketAddr) -> bool {
        let seen = |swarms: &Swarms| swarms.last_seen(info_hash, address);
        self.crowd.look(seen).is_some()
    }

    /// Where some of a public swarm listen, at most so many.
    pub(super) fn some_members(&self, info_hash: &InfoHash, most: usize) -> Vec<SocketAddr> {
        let members = |swarms: &Swarms| swarms.some_members(info_hash, most);
        let members = self.crowd.look(members).into_iter();
        members.map(|member| member.address).collect()
    }

    /// Tells the other trackers of a peer that has announced itself here.
    pub(super) fn tell_swarm(&self, public: bool, ip: IpAddr, request: &AnnounceRequest) {
        self.neighbours.tell_swarm(&SwarmLine {
            public,
            info_hash: request.info_hash,
            peer_id: request.peer_id,
            address: SocketAddr::new(ip, request.port),
            left: request.left,
            event: request.event,
            age: 0,
        });
    }

    /// A peer has left a swarm here.
    pub(super) fn tell_gone(&self, public: bool, info_hash: InfoHash, address: SocketAddr) {
        self.neighbours.tell_swarm(&SwarmLine {
            public,
            info_hash,
            peer_id: PeerId([b'-'; 20]),
            address,
            left: 1,
            event: Event::Stopped,
            age: 0,
        });
    }

    /// What other trackers tell of peers: as if they had announced themselves here.
    pub(super) fn hear_swarms(&self, lines: &[SwarmLine]) {
        let now = self.now();
        for line in lines {
            let crowd = if line.public {
                &self.crowd
            } else {
                &self.group_crowd
            };
            crowd.hear(now, line);
        }
    }

    /// Everybody who is in a swarm here.
    pub(super) fn all_swarms(&self) -> Vec<SwarmLine> {
        let now = self.now();
        let crowds = [(true, &self.crowd), (false, &self.group_crowd)];
        let lines = crowds.into_iter().flat_map(|(public, crowd)| {
            let hashes: Vec<InfoHash> =
                crowd.look(|swarms| swarms.iter().map(|(h, _)| h).collect());
            // One swarm at a time: announces must not wait for all of them.
            let members = hashes.into_iter().flat_map(move |info_hash| {
                let members = crowd.look(|swarms| swarms.members(&info_hash));
                members.into_iter().map(move |member| (info_hash, member))
            });
            members.map(move |(info_hash, member)| SwarmLine {
                public,
                info_hash,
                peer_id: member.id,
                address: member.address,
                left: u64::from(!member.complete),
                event: Event::None,
                age: now.since(member.seen),
            })
        });
        lines.collect()
    }

    /// Every public share.
    pub(super) fn all_shares(&self) -> Vec<ShareLine> {
        let now = self.now();
        let shares = self.shares.read();
        let line = |(_, name, share): (&GroupName, &FileName, &Share)| share_line(now, name, share);
        shares.iter().map(line).collect()
    }

    /// What another tracker tells of a public share. Of two that share a name, the older one
    /// counts; of equally old ones, as far as clocks tell, the one with the smaller info hash. So
    /// all trackers come to the same.
    pub(super) fn hear_share(&self, line: ShareLine) {
        let (now, public) = (self.now(), GroupName::public());
        let mut shares = self.shares.write();
        let Some(offer) = line.offer else {
            shares.withdraw(&public, &line.name, line.info_hash);
            return;
        };
        if !is_torrent(&offer.info, line.info_hash, offer.size) {
            return;
        }
        let mut share = Share {
            info_hash: line.info_hash,
            size: offer.size,
            info: offer.info.into(),
            sha256: offer.sha256,
            by: None,
            since: Seconds(now.0.saturating_sub(offer.age)),
            empty_since: None,
        };
        let old = shares.find(&public, &line.name);
        let is_the_same = old.is_some_and(|old| old.info_hash == share.info_hash);
        let loses = old
            .filter(|old| old.info_hash != share.info_hash)
            .map(|old| {
                let older = old.since.0.abs_diff(share.since.0) > CLOCKS_DIFFER;
                let wins = if older {
                    share.since < old.since
                } else {
                    share.info_hash < old.info_hash
                };
                (wins, old.info_hash)
            });
        if is_the_same && let Some(sha256) = share.sha256.take() {
            shares.hear_sha256(&public, &line.name, sha256);
        }
        if let Some((true, old)) = loses {
            shares.withdraw(&public, &line.name, old);
        }
        // Refused if it loses, or if there is no room: it is told again at the next start.
        let _ = shares.offer(&public, &line.name, share, None);
    }

    /// How many facts are known here, and their digest.
    pub fn standing(&self) -> Standing {
        self.known.look(|facts| Standing {
            facts: facts.len() as u64,
            digest: facts.digest().to_string(),
        })
    }

    /// Every tracker as this one sees it.
    pub fn trackers(&self) -> Vec<TrackerEntry> {
        self.neighbours.rows(self.standing())
    }

    pub fn scrape(&self, request: &ScrapeRequest) -> ScrapeResponse {
        self.crowd.look(|swarms| {
            let known = |hash: &InfoHash| Some((*hash, swarms.counts(hash)?));
            ScrapeResponse {
                files: request.info_hashes.iter().filter_map(known).collect(),
            }
        })
    }

    pub fn list_files(&self) -> Vec<FileEntry> {
        let group = &GroupName::public();
        let entry = |(name, share): (&FileName, &Share)| FileEntry {
            name: name.clone(),
            size: share.size,
            info_hash: share.info_hash,
            seeders: 0,
            leechers: 0,
        };
        let mut entries: Vec<FileEntry> = self.shares.read().list(group).map(entry).collect();
        self.crowd.look(|swarms| count_peers(swarms, &mut entries));
        entries
    }

    /// Shares a torrent; whoever does so is in its swarm with everything.
    pub fn upload(&self, ip: IpAddr, upload: &Upload) -> Result<Uploaded, Refused> {
        let info_hash = upload.metainfo.info_hash;
        if upload.metainfo.info_bytes().len() > MAX_INFO {
            let what = "The description of this torrent is too long (fewer pieces are shorter)";
            return Err(Refused::Limit {
                what,
                limit: MAX_INFO,
            });
        }
        self.refuse_of_a_group(&upload.metainfo)?;
        if let Some(batch) = &self.batch {
            batch.admit(upload)?;
        }
        let old = self
            .find(&upload.group, &upload.name)
            .map(|share| share.info_hash);
        let dead = old.filter(|old| *old != info_hash && self.is_empty(old));
        let share = Share {
            info_hash,
            size: upload.metainfo.layout.total(),
            info: upload.metainfo.info_bytes().into(),
            sha256: upload.sha256,
            by: Some(SocketAddr::new(ip, upload.holder.port)),
            since: self.now(),
            empty_since: None,
        };
        let offered = {
            let mut shares = self.shares.write();
            shares.offer(&upload.group, &upload.name, share, dead)
        };
        if let (Some(batch), Ok(_)) = (&self.batch, &offered) {
            batch.shared(upload);
        }
        let is_news = offered != Ok(Offered::Known);
        let uploaded = match offered {
            Ok(Offered::New) => Uploaded::Shared,
            Ok(Offered::Known | Offered::Learned) => Uploaded::Joined,
            Ok(Offered::Replaced) => Uploaded::Replaced,
            Err(OfferError::Conflict {
                name,
                old_size,
                old_hash,
                new_size,
                new_hash,
            }) => {
                return Err(Refused::Conflict {
                    name,
                    old_size,
                    old_hash,
                    new_size,
                    new_hash,
                });
            }
            Err(other @ OfferError::OtherHash { .. }) => {
                return Err(Refused::OtherHash(other.to_string()));
            }
            Err(full) => return Err(Refused::Full(full.to_string())),
        };
        if is_news && let Some(share) = self.find(&upload.group, &upload.name) {
            let line = share_line(self.now(), &upload.name, &share);
            self.neighbours.tell_share(&line);
        }
        // A share whose holder is not in its swarm goes by itself after a while.
        self.announce(ip, &as_seed(upload))
            .map_err(|full| Refused::Full(full.to_string()))?;
        if uploaded != Uploaded::Joined {
            log::info!(target: "tracker", "{} is shared in {} ({info_hash})", upload.name, upload.group);
        }
        Ok(uploaded)
    }

    /// What a group shares is no business of others, its info hash included.
    pub(super) fn refuse_of_a_group(&self, metainfo: &Metainfo) -> Result<(), Refused> {
        let source = metainfo.source.as_deref();
        let Some(id) = source.and_then(|source| source.parse().ok()) else {
            return Ok(());
        };
        let named = |facts: &Facts| {
            facts
                .group_name(id)
                .or_else(|| Some(facts.group(id)?.made()?.name.clone()))
        };
        match self.known.look(named) {
            Some(group) => Err(Refused::OfAGroup(group)),
            None => Ok(()),
        }
    }

    /// The public share with this info hash.
    pub(super) fn shared(&self, info_hash: &InfoHash) -> Option<Found> {
        let shares = self.shares.read();
        let mut shares = shares.iter().map(|(_, _, share)| share);
        let share = shares.find(|share| share.info_hash == *info_hash)?;
        Some(Found {
            info_hash: share.info_hash,
            size: share.size,
            info: share.info.clone(),
        })
    }

    pub fn download(&self, name: &FileName) -> Result<Share, Refused> {
        let share = self.find(&GroupName::public(), name);
        share.ok_or_else(|| not_shared(name))
    }

    /// Who is in the swarm of a public file.
    pub fn list_peers(&self, name: &FileName) -> Result<Vec<PeerEntry>, Refused> {
        let share = self.download(name)?;
        Ok(self.crowd.peers(&share.info_hash))
    }

    /// Takes a holder out of the swarm, and with the last complete one the share.
    pub fn stop_share(
        &self,
        name: &FileName,
        info_hash: InfoHash,
        holder: SocketAddr,
    ) -> Result<(), Refused> {
        let group = &GroupName::public();
        let share = self.find(group, name);
        if share.is_none_or(|share| share.info_hash != info_hash) {
            return Err(not_shared(name));
        }
        let now = self.now();
        self.tell_gone(true, info_hash, holder);
        let orphaned = {
            let was_seed = self.crowd.leave(now, info_hash, holder);
            let counts = self.crowd.counts(&info_hash);
            // Who never held it must not end it for those who are fetching.
            counts.complete == 0 && (was_seed || counts.incomplete == 0)
        };
        if orphaned && self.shares.write().withdraw(group, name, info_hash) {
            log::info!(target: "tracker", "{name} is no longer shared in {group}");
            self.neighbours.tell_share(&ShareLine {
                name: name.clone(),
                info_hash,
                offer: None,
            });
        }
        Ok(())
    }

    /// Forgets who has been silent for too long, and what nobody holds.
    pub fn sweep(&self) {
        let now = self.now();
        let shared: Vec<InfoHash> = {
            let shares = self.shares.read();
            shares.iter().map(|(_, _, share)| share.info_hash).collect()
        };
        self.crowd.sweep(now);
        self.group_crowd.sweep(now);
        self.questions.lock().forget(now);
        let empty: HashSet<InfoHash> = self.crowd.look(|swarms| {
            let is_empty = |hash: &InfoHash| population(swarms.counts(hash)) == 0;
            shared.into_iter().filter(is_empty).collect()
        });
        let gone = self.shares.write().sweep(now, &empty);
        if gone > 0 {
            log::info!(target: "tracker", "{gone} shares without holders are forgotten");
        }
    }

    pub fn stats(&self) -> Stats {
        let size = |swarms: &Swarms| (swarms.len(), swarms.peers());
        let (swarms, peers) = self.crowd.look(size);
        let (group_swarms, group_peers) = self.group_crowd.look(size);
        let shares = self.shares.read().len();
        let size = |facts: &Facts| (facts.users(), facts.living_groups());
        let (users, groups) = self.known.look(size);
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let rows = [
            ("uptime_seconds", self.started.elapsed().as_secs()),
            ("connections", self.connections.count() as u64),
            ("users", users as u64),
            ("groups", groups as u64),
            ("shares", shares as u64),
            ("swarms", (swarms + group_swarms) as u64),
            ("peers", (peers + group_peers) as u64),
            ("requests", count(&self.counters.requests)),
            ("announces", count(&self.counters.announces)),
            ("refused_connections", count(&self.counters.refused)),
        ];
        Stats(rows.map(|(name, value)| (name.to_string(), value)).to_vec())
    }

    /// Every torrent that is shared or has a swarm, those with names first.
    pub fn swarm_rows(&self) -> Vec<SwarmRow> {
        let mut rows: std::collections::HashMap<InfoHash, SwarmRow> = {
            let row = |(info_hash, counts)| SwarmRow {
                info_hash,
                names: Vec::new(),
                counts,
            };
            let row = |swarm| {
                let row: SwarmRow = row(swarm);
                (row.info_hash, row)
            };
            self.crowd.look(|swarms| swarms.iter().map(row).collect())
        };
        for (_, name, share) in self.shares.read().iter() {
            let row = rows.entry(share.info_hash).or_insert_with(|| SwarmRow {
                info_hash: share.info_hash,
                names: Vec::new(),
                counts: Counts::default(),
            });
            row.names.push(name.to_string());
        }
        let mut rows: Vec<SwarmRow> = rows.into_values().collect();
        rows.sort_by(|a, b| {
            let key = |row: &SwarmRow| (row.names.is_empty(), row.names.clone(), row.info_hash);
            key(a).cmp(&key(b))
        });
        rows
    }

    /// Who is in the swarm of a public file, or of an info hash, or has registered for the name.
    /// `None` if there is none of them.
    pub fn members(&self, file: &str) -> Option<Vec<(Member, u32)>> {
        let share = match file.parse::<FileName>() {
            Ok(name) => self.find(&GroupName::public(), &name),
            Err(_) => None,
        };
        let info_hash = match (share, file.parse::<InfoHash>()) {
            (Some(share), _) => share.info_hash,
            (None, Ok(info_hash)) => info_hash,
            (None, Err(_)) => {
                let named = swarm_of(&file.parse().ok()?);
                self.crowd.look(|swarms| swarms.counts(&named))?;
                named
            }
        };
        let now = self.now();
        let members = self.crowd.look(|swarms| swarms.members(&info_hash));
        let with_age = |member: Member| (member, now.since(member.seen));
        Some(members.into_iter().map(with_age).collect())
    }

    /// The names of public files: for completion.
    pub fn file_names(&self) -> Vec<String> {
        let shares = self.shares.read();
        let public = GroupName::public();
        let names = shares.list(&public);
        names.map(|(name, _)| name.to_string()).collect()
    }

    fn find(&self, group: &GroupName, name: &FileName) -> Option<Share> {
        self.shares.read().find(group, name).cloned()
    }

    fn is_empty(&self, info_hash: &InfoHash) -> bool {
        population(Some(self.crowd.counts(info_hash))) == 0
    }
}

fn share_line(now: Seconds, name: &FileName, share: &Share) -> ShareLine {
    ShareLine {
        name: name.clone(),
        info_hash: share.info_hash,
        offer: Some(sync::Offered {
            size: share.size,
            age: now.since(share.since),
            info: share.info.to_vec(),
            sha256: share.sha256,
        }),
    }
}

/// Whether the bytes are the torrent that they are said to be: peers will be given them.
fn is_torrent(info: &[u8], info_hash: InfoHash, size: u64) -> bool {
    let metainfo = Metainfo::parse_info(info);
    metainfo
        .is_ok_and(|metainfo| metainfo.info_hash == info_hash && metainfo.layout.total() == size)
}

fn population(counts: Option<Counts>) -> u32 {
    counts.map_or(0, |counts| counts.complete + counts.incomplete)
}

fn not_shared(name: &FileName) -> Refused {
    Refused::NotShared {
        group: GroupName::public(),
        name: name.clone(),
    }
}

/// How whoever shares a file stands in its swarm.
pub(super) fn as_seed(upload: &Upload) -> AnnounceRequest {
    let (info_hash, holder) = (upload.metainfo.info_hash, upload.holder);
    AnnounceRequest {
        event: Event::Started,
        ..AnnounceRequest::of_seed(info_hash, holder.peer_id, holder.port)
    }
}

/// Says of each file who is in its swarm.
pub(super) fn count_peers(swarms: &Swarms, entries: &mut [FileEntry]) {
    for entry in entries {
        let counts = swarms.counts(&entry.info_hash).unwrap_or_default();
        (entry.seeders, entry.leechers) = (counts.complete, counts.incomplete);
    }
}

impl Counters {
    pub fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub fn announce(&self) {
        self.announces.fetch_add(1, Ordering::Relaxed);
    }

    pub fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

impl Room {
    /// Borrows `size` bytes, if there are so many left.
    pub fn take(&self, size: usize) -> Option<Lent<'_>> {
        let take = |left: usize| left.checked_sub(size);
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .ok()?;
        Some(Lent { room: self, size })
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.room.left.fetch_add(self.size, Ordering::Relaxed);
    }
}
