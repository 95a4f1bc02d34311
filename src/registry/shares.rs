//! Shares for everybody: which torrent is known under a file name in `public`.
//!
//! The torrent's bytes are kept, so that a name is all that a downloader needs. Who holds it is
//! the swarm's business; whoever calls says what the swarm says. Soft knowledge: a share whose
//! swarm is empty goes after a while. What groups share is kept as [`fact`](super::fact)s.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::control::names::{FileName, GroupName};
use crate::torrent::id::{FileHash, InfoHash};

use super::Seconds;

/// How much may be kept at once: anybody may share in `public`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Few enough for a list of all of them to fit into one reply.
    pub shares: usize,
    /// Bytes of all info dictionaries.
    pub bytes: usize,
    /// Seconds that a share outlives its last peer: time for a lone seed to be restarted.
    pub grace: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            shares: 5_000,
            bytes: 128 * 1024 * 1024,
            grace: 600,
        }
    }
}

/// A torrent that is offered to a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    pub info_hash: InfoHash,
    /// Bytes of content.
    pub size: u64,
    /// The info dictionary.
    pub info: Arc<[u8]>,
    /// Of its one file, as who offered it first has told.
    pub sha256: Option<FileHash>,
    /// Who offered it first, if that was here: nobody else can say its SHA-256 later, or a stranger
    /// could make all downloads fail.
    pub by: Option<SocketAddr>,
    pub since: Seconds,
    /// Since when its swarm has had nobody in it.
    pub empty_since: Option<Seconds>,
}

/// Every share of every group.
#[derive(Debug, Default)]
pub struct Shares {
    limits: Limits,
    groups: HashMap<GroupName, BTreeMap<FileName, Share>>,
    count: usize,
    bytes: usize,
}

/// What an offer has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    New,
    /// The same content is shared under this name already.
    Known,
    /// So it is, and its SHA-256 was not known until now.
    Learned,
    /// A share that nobody held any longer has made room.
    Replaced,
}

/// Why an offer was refused. For the asker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    #[error(
        "`{name}` is shared already with other content: {old_size} bytes, info hash {old_hash}; \
         yours has {new_size} bytes, info hash {new_hash}. Share it under another name"
    )]
    Conflict {
        name: FileName,
        old_size: u64,
        old_hash: InfoHash,
        new_size: u64,
        new_hash: InfoHash,
    },
    #[error(
        "`{name}` is shared already, and its SHA-256 was said to be {old}; you say {new}. One of \
         the two is wrong: compare the files"
    )]
    OtherHash {
        name: FileName,
        old: FileHash,
        new: FileHash,
    },
    #[error("this tracker keeps as many shares as it can ({0})")]
    TooMany(usize),
    #[error("this tracker keeps as many bytes of torrents as it can ({0})")]
    TooLarge(usize),
}

impl Shares {
    pub fn new(limits: Limits) -> Shares {
        Shares {
            limits,
            ..Shares::default()
        }
    }

    pub fn find(&self, group: &GroupName, name: &FileName) -> Option<&Share> {
        self.groups.get(group)?.get(name)
    }

    /// The shares of a group by name.
    pub fn list(&self, group: &GroupName) -> impl Iterator<Item = (&FileName, &Share)> {
        self.groups.get(group).into_iter().flatten()
    }

    /// Every share of every group.
    pub fn iter(&self) -> impl Iterator<Item = (&GroupName, &FileName, &Share)> {
        self.groups
            .iter()
            .flat_map(|(group, files)| files.iter().map(move |(name, share)| (group, name, share)))
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Offers a torrent under a name. `dead` is a torrent whose swarm the caller has found
    /// empty: a share of that may be replaced.
    pub fn offer(
        &mut self,
        group: &GroupName,
        name: &FileName,
        share: Share,
        dead: Option<InfoHash>,
    ) -> Result<Offered, OfferError> {
        let limits = self.limits;
        let files = self.groups.entry(group.clone()).or_default();
        let old_bytes = match files.get_mut(name) {
            Some(old) if old.info_hash == share.info_hash => {
                return old.join(name, &share);
            }
            Some(old) if dead != Some(old.info_hash) => {
                return Err(OfferError::Conflict {
                    name: name.clone(),
                    old_size: old.size,
                    old_hash: old.info_hash,
                    new_size: share.size,
                    new_hash: share.info_hash,
                });
            }
            Some(old) => Some(old.info.len()),
            None if self.count >= limits.shares => {
                return Err(OfferError::TooMany(limits.shares));
            }
            None => None,
        };
        let bytes = self.bytes - old_bytes.unwrap_or(0) + share.info.len();
        if bytes > limits.bytes {
            return Err(OfferError::TooLarge(limits.bytes));
        }
        self.bytes = bytes;
        files.insert(name.clone(), share);
        Ok(match old_bytes {
            Some(_) => Offered::Replaced,
            None => {
                self.count += 1;
                Offered::New
            }
        })
    }

    /// Takes in what another tracker was told of a share's SHA-256. Of two the smaller one counts,
    /// so that all trackers say the same.
    pub fn hear_sha256(&mut self, group: &GroupName, name: &FileName, heard: FileHash) {
        let files = self.groups.get_mut(group);
        if let Some(share) = files.and_then(|files| files.get_mut(name)) {
            let known = share.sha256.unwrap_or(heard);
            share.sha256 = Some(known.min(heard));
        }
    }

    /// Takes a share away, if the name still means that torrent.
    pub fn withdraw(&mut self, group: &GroupName, name: &FileName, info_hash: InfoHash) -> bool {
        let Some(files) = self.groups.get_mut(group) else {
            return false;
        };
        if files
            .get(name)
            .is_none_or(|share| share.info_hash != info_hash)
        {
            return false;
        }
        if let Some(share) = files.remove(name) {
            self.count -= 1;
            self.bytes -= share.info.len();
        }
        true
    }

    /// Takes away the shares whose swarm has been empty for too long. `empty` are the torrents
    /// whose swarm is empty now. How many have gone.
    pub fn sweep(&mut self, now: Seconds, empty: &HashSet<InfoHash>) -> usize {
        let grace = self.limits.grace;
        let before = self.count;
        for files in self.groups.values_mut() {
            files.retain(|_, share| {
                if !empty.contains(&share.info_hash) {
                    share.empty_since = None;
                    return true;
                }
                let since = *share.empty_since.get_or_insert(now);
                let keep = now.since(since) < grace;
                if !keep {
                    self.count -= 1;
                    self.bytes -= share.info.len();
                }
                keep
            });
        }
        before - self.count
    }
}

impl Share {
    /// Somebody shares the same, or the same one once more.
    fn join(&mut self, name: &FileName, other: &Share) -> Result<Offered, OfferError> {
        let offered = match (self.sha256, other.sha256) {
            (Some(old), Some(new)) if old != new => {
                let name = name.clone();
                return Err(OfferError::OtherHash { name, old, new });
            }
            (None, Some(new)) if self.by.is_some() && self.by == other.by => {
                self.sha256 = Some(new);
                Offered::Learned
            }
            _ => Offered::Known,
        };
        self.empty_since = None;
        Ok(offered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(hash: u8, bytes: usize) -> Share {
        Share {
            info_hash: InfoHash([hash; 20]),
            size: u64::from(hash),
            info: vec![0; bytes].into(),
            sha256: None,
            by: None,
            since: Seconds(0),
            empty_since: None,
        }
    }

    fn name(text: &str) -> FileName {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_means_one_torrent() {
        let mut shares = Shares::new(Limits::default());
        let group = GroupName::public();
        let x = name("x");
        let mut offer = |hash, dead: Option<u8>| {
            let dead = dead.map(|hash| InfoHash([hash; 20]));
            shares.offer(&group, &x, share(hash, 10), dead)
        };
        assert_eq!(offer(1, None), Ok(Offered::New));
        assert_eq!(offer(1, None), Ok(Offered::Known));
        assert_eq!(
            offer(2, Some(3)).unwrap_err().to_string(),
            format!(
                "`x` is shared already with other content: 1 bytes, info hash {}; yours has \
                 2 bytes, info hash {}. Share it under another name",
                "01".repeat(20),
                "02".repeat(20)
            )
        );
        assert_eq!(offer(2, Some(1)), Ok(Offered::Replaced));
        assert_eq!(shares.find(&group, &x).unwrap().size, 2);
        assert_eq!((shares.count, shares.bytes), (1, 10));
        let other: GroupName = "cs101".parse().unwrap();
        assert_eq!(shares.find(&other, &x), None);
        assert!(!shares.withdraw(&group, &x, InfoHash([1; 20])));
        assert!(!shares.withdraw(&other, &x, InfoHash([2; 20])));
        assert!(shares.withdraw(&group, &x, InfoHash([2; 20])));
        assert_eq!((shares.count, shares.bytes), (0, 0));
    }

    #[test]
    fn who_shares_the_same_says_the_same_sha256() {
        let mut shares = Shares::new(Limits::default());
        let (group, x) = (GroupName::public(), name("x"));
        let hash = |digit| Some(FileHash([digit; 32]));
        let mut offer = |port, sha256| {
            let share = Share {
                sha256,
                by: Some(([127, 0, 0, 1], port).into()),
                ..share(1, 10)
            };
            shares.offer(&group, &x, share, None)
        };
        assert_eq!(offer(1, None), Ok(Offered::New));
        // A stranger's word is not taken.
        assert_eq!(offer(2, hash(6)), Ok(Offered::Known));
        assert_eq!(offer(1, hash(7)), Ok(Offered::Learned));
        assert_eq!(offer(1, None), Ok(Offered::Known));
        assert_eq!(offer(2, hash(7)), Ok(Offered::Known));
        let refused = offer(1, hash(1)).unwrap_err().to_string();
        assert!(refused.contains(&"07".repeat(32)), "{refused}");
        // Two trackers that could not see each other come to the same, in either order.
        for (heard, expect) in [(9, 7), (5, 5), (7, 5)] {
            shares.hear_sha256(&group, &x, FileHash([heard; 32]));
            assert_eq!(shares.find(&group, &x).unwrap().sha256, hash(expect));
        }
    }

    #[test]
    fn an_empty_swarm_ends_a_share_after_a_while() {
        let mut shares = Shares::new(Limits {
            grace: 100,
            ..Limits::default()
        });
        let group = GroupName::public();
        shares
            .offer(&group, &name("a"), share(1, 10), None)
            .unwrap();
        shares
            .offer(&group, &name("b"), share(2, 10), None)
            .unwrap();
        let empty = HashSet::from([InfoHash([1; 20])]);
        let nobody_is_missing = HashSet::new();
        for (now, empty, gone) in [
            (0, &empty, 0),
            (99, &empty, 0),
            (99, &nobody_is_missing, 0),
            (100, &empty, 0),
            (199, &empty, 0),
            (200, &empty, 1),
            (999, &empty, 0),
        ] {
            assert_eq!(shares.sweep(Seconds(now), empty), gone, "at {now}");
        }
        assert_eq!(
            shares
                .list(&group)
                .map(|(name, _)| name.as_str())
                .collect::<Vec<_>>(),
            ["b"]
        );
        assert_eq!((shares.count, shares.bytes), (1, 10));
    }

    #[test]
    fn limits_are_told() {
        let mut shares = Shares::new(Limits {
            shares: 2,
            bytes: 100,
            grace: 1,
        });
        let group = GroupName::public();
        let mut offer =
            |file, bytes, dead| shares.offer(&group, &name(file), share(1, bytes), dead);
        assert_eq!(offer("a", 60, None), Ok(Offered::New));
        assert_eq!(offer("b", 41, None), Err(OfferError::TooLarge(100)));
        assert_eq!(offer("b", 40, None), Ok(Offered::New));
        assert_eq!(offer("c", 0, None), Err(OfferError::TooMany(2)));
    }
}
