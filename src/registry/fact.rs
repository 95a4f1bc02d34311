//! One entry of what a tracker keeps: a fact, and the stamp that orders it.
//!
//! What follows from facts is no fact: who owns a group (the member of longest standing), whether
//! a group lives (it has a member), whether a share does (a member holds it). So trackers that
//! have the same facts agree on all of it, in whatever order they came.

use std::sync::Arc;

use crate::control::names::{FileName, GroupName, UserName};
use crate::control::stamp::{GroupId, Stamp, UserId};
use crate::torrent::id::InfoHash;

/// A fact with its stamp. The stamp of a user or a group is also its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub stamp: Stamp,
    pub fact: Fact,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    User {
        id: UserId,
        name: UserName,
    },
    Password {
        user: UserId,
        /// As Argon2 writes it.
        hash: String,
    },
    Group {
        id: GroupId,
        name: GroupName,
        by: UserId,
    },
    Member {
        group: GroupId,
        user: UserId,
        membership: Membership,
    },
    /// A torrent under a name.
    Share {
        group: GroupId,
        name: FileName,
        info_hash: InfoHash,
        share: Share,
    },
    /// Whether a user has all of a share.
    Holder {
        group: GroupId,
        name: FileName,
        info_hash: InfoHash,
        user: UserId,
        holds: bool,
    },
}

/// How somebody stands to a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Membership {
    Requested,
    /// Since the stamp of this fact.
    Member,
    /// `joined` is since when this had been a member: who owned the group, and when, can be told
    /// afterwards.
    Left {
        joined: Stamp,
    },
    Rejected,
}

/// What is shared under a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share {
    /// Bytes of content.
    pub size: u64,
    /// The info dictionary.
    pub info: Arc<[u8]>,
    pub by: UserId,
}
