//! What the tracker's threads share, and everything that can be done with it.
//!
//! The shares are behind one lock, the swarms behind another; nobody holds both. Where a
//! request concerns both, it looks at one, lets go, and looks at the other: what may have
//! changed between is looked at again, or does no harm.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::{Mutex, RwLock};
use rand::rngs::StdRng;

use crate::announce::request::{AnnounceRequest, Event};
use crate::announce::response::AnnounceResponse;
use crate::announce::scrape::{Counts, ScrapeRequest, ScrapeResponse};
use crate::control::names::{FileName, GroupName};
use crate::control::reply::{FileEntry, Stats, Uploaded};
use crate::control::request::Upload;
use crate::registry::Seconds;
use crate::registry::shares::{OfferError, Offered, Share, Shares};
use crate::registry::swarms::{Member, SwarmError, Swarms};
use crate::runtime::stop::Stop;
use crate::torrent::id::InfoHash;

use super::config::Config;
use super::connections::Connections;

/// How many peers are named to an asker that does not say how many it would like.
const NUMWANT_DEFAULT: u32 = 50;
/// How many peers are named to anybody: 1.2 KiB compact.
const NUMWANT_MAX: u32 = 200;
/// How many bytes of bodies may be under way at once: 32 of the largest.
const BODY_MEMORY: usize = 128 * 1024 * 1024;

pub struct State {
    pub config: Config,
    pub stop: Stop,
    pub connections: Arc<Connections>,
    pub counters: Counters,
    pub bodies: Room,
    started: Instant,
    shares: RwLock<Shares>,
    crowd: Mutex<Crowd>,
}

/// The swarms, and the randomness that samples them.
struct Crowd {
    swarms: Swarms,
    rng: StdRng,
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

/// Why a request about a group's files was refused. For the asker.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("there is no group `{0}`; everybody is in `public`")]
    NoGroup(GroupName),
    #[error("nobody shares `{name}` in {group}; list_files shows what there is")]
    NoFile { group: GroupName, name: FileName },
    #[error("{0}")]
    Conflict(OfferError),
    #[error("{0}")]
    Full(String),
}

impl State {
    pub fn new(config: Config, stop: Stop) -> State {
        let mut limits = config.swarms;
        limits.expiry = (u64::from(config.interval) * 5 / 2) as u32;
        State {
            connections: Connections::new(config.connections, config.connections_per_address),
            counters: Counters::default(),
            bodies: Room {
                left: AtomicUsize::new(BODY_MEMORY),
            },
            started: Instant::now(),
            shares: RwLock::new(Shares::new(config.shares)),
            crowd: Mutex::new(Crowd {
                swarms: Swarms::new(limits),
                rng: rand::make_rng(),
            }),
            config,
            stop,
        }
    }

    /// The time for the registry.
    fn now(&self) -> Seconds {
        // A tracker that runs for 136 years may begin to forget nobody.
        Seconds(u32::try_from(self.started.elapsed().as_secs()).unwrap_or(u32::MAX))
    }

    pub fn announce(
        &self,
        ip: IpAddr,
        request: &AnnounceRequest,
    ) -> Result<AnnounceResponse, SwarmError> {
        self.counters.announces.fetch_add(1, Ordering::Relaxed);
        let numwant = request.numwant.unwrap_or(NUMWANT_DEFAULT).min(NUMWANT_MAX);
        let now = self.now();
        let announced = {
            let crowd = &mut *self.crowd.lock();
            let numwant = numwant as usize;
            crowd
                .swarms
                .announce(now, ip, request, numwant, &mut crowd.rng)?
        };
        Ok(AnnounceResponse {
            interval: self.config.interval,
            complete: announced.counts.complete,
            incomplete: announced.counts.incomplete,
            downloaded: Some(announced.counts.downloaded),
            peers: announced.peers,
            ..AnnounceResponse::default()
        })
    }

    pub fn scrape(&self, request: &ScrapeRequest) -> ScrapeResponse {
        let crowd = self.crowd.lock();
        let known = |hash: &InfoHash| Some((*hash, crowd.swarms.counts(hash)?));
        ScrapeResponse {
            files: request.info_hashes.iter().filter_map(known).collect(),
        }
    }

    pub fn list_files(&self, group: &GroupName) -> Result<Vec<FileEntry>, Refused> {
        check_group(group)?;
        let entry = |(name, share): (&FileName, &Share)| FileEntry {
            name: name.clone(),
            size: share.size,
            info_hash: share.info_hash,
            seeders: 0,
            leechers: 0,
        };
        let mut entries: Vec<FileEntry> = self.shares.read().list(group).map(entry).collect();
        let crowd = self.crowd.lock();
        for entry in &mut entries {
            let counts = crowd.swarms.counts(&entry.info_hash).unwrap_or_default();
            (entry.seeders, entry.leechers) = (counts.complete, counts.incomplete);
        }
        Ok(entries)
    }

    /// Shares a torrent; whoever does so is in its swarm with everything.
    pub fn upload(&self, ip: IpAddr, upload: &Upload) -> Result<Uploaded, Refused> {
        check_group(&upload.group)?;
        let info_hash = upload.metainfo.info_hash;
        let old = self
            .find(&upload.group, &upload.name)
            .map(|share| share.info_hash);
        let dead = old.filter(|old| *old != info_hash && self.is_empty(old));
        let announce = AnnounceRequest {
            info_hash,
            peer_id: upload.holder.peer_id,
            port: upload.holder.port,
            uploaded: 0,
            downloaded: 0,
            left: 0,
            event: Event::Started,
            numwant: Some(0),
        };
        let share = Share {
            info_hash,
            size: upload.metainfo.layout.total(),
            info: upload.metainfo.info_bytes().into(),
            since: self.now(),
            empty_since: None,
        };
        let offered = {
            let mut shares = self.shares.write();
            shares.offer(&upload.group, &upload.name, share, dead)
        };
        let uploaded = match offered {
            Ok(Offered::New) => Uploaded::Shared,
            Ok(Offered::Known) => Uploaded::Joined,
            Ok(Offered::Replaced) => Uploaded::Replaced,
            Err(conflict @ OfferError::Conflict { .. }) => return Err(Refused::Conflict(conflict)),
            Err(full) => return Err(Refused::Full(full.to_string())),
        };
        // A share whose holder is not in its swarm goes by itself after a while.
        self.announce(ip, &announce)
            .map_err(|full| Refused::Full(full.to_string()))?;
        if uploaded != Uploaded::Joined {
            log::info!(target: "tracker", "{} is shared in {} ({info_hash})", upload.name, upload.group);
        }
        Ok(uploaded)
    }

    pub fn download(&self, group: &GroupName, name: &FileName) -> Result<Share, Refused> {
        check_group(group)?;
        self.find(group, name).ok_or_else(|| no_file(group, name))
    }

    /// Takes a holder out of the swarm, and with the last complete one the share.
    pub fn stop_share(
        &self,
        group: &GroupName,
        name: &FileName,
        info_hash: InfoHash,
        holder: SocketAddr,
    ) -> Result<(), Refused> {
        check_group(group)?;
        let share = self.find(group, name);
        if share.is_none_or(|share| share.info_hash != info_hash) {
            return Err(no_file(group, name));
        }
        let now = self.now();
        let orphaned = {
            let swarms = &mut self.crowd.lock().swarms;
            let was_seed = swarms.leave(now, info_hash, holder);
            let counts = swarms.counts(&info_hash).unwrap_or_default();
            // Who never held it must not end it for those who are fetching.
            counts.complete == 0 && (was_seed || counts.incomplete == 0)
        };
        if orphaned && self.shares.write().withdraw(group, name, info_hash) {
            log::info!(target: "tracker", "{name} is no longer shared in {group}");
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
        let empty: HashSet<InfoHash> = {
            let swarms = &mut self.crowd.lock().swarms;
            swarms.sweep(now);
            let is_empty = |hash: &InfoHash| population(swarms.counts(hash)) == 0;
            shared.into_iter().filter(is_empty).collect()
        };
        let gone = self.shares.write().sweep(now, &empty);
        if gone > 0 {
            log::info!(target: "tracker", "{gone} shares without holders are forgotten");
        }
    }

    pub fn stats(&self) -> Stats {
        let (swarms, peers) = {
            let crowd = self.crowd.lock();
            (crowd.swarms.len(), crowd.swarms.peers())
        };
        let shares = self.shares.read().len();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let rows = [
            ("uptime_seconds", self.started.elapsed().as_secs()),
            ("connections", self.connections.count() as u64),
            ("shares", shares as u64),
            ("swarms", swarms as u64),
            ("peers", peers as u64),
            ("requests", count(&self.counters.requests)),
            ("announces", count(&self.counters.announces)),
            ("refused_connections", count(&self.counters.refused)),
        ];
        Stats(rows.map(|(name, value)| (name.to_string(), value)).to_vec())
    }

    /// Every torrent that is shared or has a swarm, those with names first.
    pub fn swarm_rows(&self) -> Vec<SwarmRow> {
        let mut rows: std::collections::HashMap<InfoHash, SwarmRow> = {
            let crowd = self.crowd.lock();
            let row = |(info_hash, counts)| SwarmRow {
                info_hash,
                names: Vec::new(),
                counts,
            };
            let rows = crowd.swarms.iter().map(row);
            rows.map(|row| (row.info_hash, row)).collect()
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

    /// Who is in the swarm of a public file, or of an info hash. `None` if there is neither.
    pub fn members(&self, file: &str) -> Option<Vec<(Member, u32)>> {
        let share = match file.parse::<FileName>() {
            Ok(name) => self.find(&GroupName::public(), &name),
            Err(_) => None,
        };
        let info_hash = match (share, file.parse::<InfoHash>()) {
            (Some(share), _) => share.info_hash,
            (None, Ok(info_hash)) => info_hash,
            (None, Err(_)) => return None,
        };
        let now = self.now();
        let members = self.crowd.lock().swarms.members(&info_hash);
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
        population(self.crowd.lock().swarms.counts(info_hash)) == 0
    }
}

fn population(counts: Option<Counts>) -> u32 {
    counts.map_or(0, |counts| counts.complete + counts.incomplete)
}

fn check_group(group: &GroupName) -> Result<(), Refused> {
    if *group == GroupName::public() {
        Ok(())
    } else {
        Err(Refused::NoGroup(group.clone()))
    }
}

fn no_file(group: &GroupName, name: &FileName) -> Refused {
    Refused::NoFile {
        group: group.clone(),
        name: name.clone(),
    }
}

impl Counters {
    pub fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
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
