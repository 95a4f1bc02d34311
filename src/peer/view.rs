//! What people are shown of a peer's torrents: values, copied out of the engine.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::control::news;
use crate::storage::names::SafePaths;
use crate::storage::resume::Share;
use crate::torrent::id::{FileHash, InfoHash};
use crate::torrent::metainfo::Metainfo;
use crate::torrent::{PeerView, Stall};

/// One torrent.
#[derive(Clone, Debug)]
pub struct TorrentView {
    pub info_hash: InfoHash,
    pub metainfo: Arc<Metainfo>,
    /// Under which it is found at the prompt: of the share, or of the torrent.
    pub name: String,
    pub share: Option<Share>,
    /// Where it is, or will be once it is complete.
    pub path: PathBuf,
    /// What its files are called there; None if there are no files.
    pub names: Option<Arc<SafePaths>>,
    pub status: Status,
    /// It was complete and its files are in their place, or should be.
    pub finished: bool,
    /// Bytes verified and on disk.
    pub have: u64,
    pub size: u64,
    /// Bytes per second.
    pub rate_down: u64,
    pub rate_up: u64,
    /// Bytes carried, ever.
    pub downloaded: u64,
    pub uploaded: u64,
    /// Peers connected now, and those of them that have everything.
    pub peers: usize,
    pub seeds: usize,
    /// Why nothing moves.
    pub why: Option<Why>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// What is on disk is being hashed: bytes done, of all.
    Checking {
        done: u64,
        total: u64,
    },
    Downloading,
    /// All pieces are there; the SHA-256 of the whole is compared, if one was published, and the
    /// files are moved to their place.
    Finishing,
    Seeding,
    Paused,
    /// It is a group's, and closed, in words why. Some reasons pass by themselves.
    Locked {
        reason: String,
        goes_on: bool,
    },
    /// It cannot go on; in words. What waits for disk space goes on by itself.
    Stopped {
        reason: String,
        waits_for_space: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    Rules(Stall),
    /// Nobody is connected, and no tracker answers.
    TrackerUnreachable(String),
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Why::Rules(Stall::NoPeers) => write!(f, "no peers: nobody who has it is connected"),
            Why::Rules(Stall::NobodyHasMissing) => {
                write!(f, "no peer that is connected has what is missing")
            }
            Why::Rules(Stall::AllChoked) => write!(f, "all peers are busy serving others"),
            Why::Rules(Stall::AllSnubbed) => write!(f, "the peers promise and do not send"),
            Why::TrackerUnreachable(error) => write!(f, "no peers, and {error}"),
        }
    }
}

impl TorrentView {
    /// 0 to 100, never 100 before everything is there.
    pub fn percent(&self) -> u64 {
        match self.status {
            Status::Checking { done, total } => done * 100 / total.max(1),
            _ if self.size == 0 => 100,
            _ => (u128::from(self.have) * 100 / u128::from(self.size)) as u64,
        }
    }

    /// How long the rest takes at this rate.
    pub fn eta(&self) -> Option<Duration> {
        let left = self.size.saturating_sub(self.have);
        (self.rate_down > 0 && left > 0).then(|| Duration::from_secs(left / self.rate_down + 1))
    }

    /// What the SHA-256 of the whole must be, if that is known.
    pub fn sha256(&self) -> Option<FileHash> {
        self.share.as_ref()?.sha256
    }

    /// Whether it is found by asking only.
    pub fn is_unlisted(&self) -> bool {
        self.share.as_ref().is_some_and(|share| !share.listed)
    }

    /// Whether there is something to wait for.
    pub fn is_under_way(&self) -> bool {
        match &self.status {
            Status::Checking { .. } | Status::Downloading | Status::Finishing => true,
            Status::Stopped {
                waits_for_space, ..
            } => *waits_for_space,
            Status::Locked { goes_on, .. } => *goes_on && self.have < self.size,
            Status::Seeding | Status::Paused => false,
        }
    }
}

/// One peer of one torrent, connected or gone.
#[derive(Clone, Debug)]
pub struct PeerRow {
    pub torrent: String,
    pub address: SocketAddr,
    pub client: String,
    /// Bytes carried on all connections with it.
    pub downloaded: u64,
    pub uploaded: u64,
    /// None once it is gone.
    pub connected: Option<PeerView>,
}

/// What came of a call that the user wanted, for one torrent; if nothing, in words why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallOutcome {
    pub torrent: String,
    pub result: Result<(), String>,
}

/// What people are told without having asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    Completed {
        info_hash: InfoHash,
        name: String,
        path: PathBuf,
        /// Of the whole file: it was published, and compared.
        sha256: Option<FileHash>,
    },
    /// An error ended it; in words.
    Stopped {
        info_hash: InfoHash,
        name: String,
        reason: String,
    },
    /// Something stopped, or went on; in words.
    Notice(String),
    /// Our tracker tells what happens in a group of the user's.
    Group(news::News),
}
