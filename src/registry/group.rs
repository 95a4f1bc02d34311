//! One group: its members, what they share, and who holds what.

use std::collections::{BTreeMap, BTreeSet};

use crate::control::names::{FileName, GroupName};
use crate::control::stamp::{Stamp, UserId};
use crate::torrent::id::InfoHash;

use super::fact::{Membership, Share};
use super::latest::Latest;

/// Everything that is known of a group, in whatever order it came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    pub(super) made: Option<Made>,
    pub(super) members: BTreeMap<UserId, Latest<Membership>>,
    pub(super) files: BTreeMap<FileName, BTreeMap<InfoHash, Offer>>,
    /// The same by info hash.
    pub(super) names: BTreeMap<InfoHash, BTreeSet<FileName>>,
}

/// Its creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    pub name: GroupName,
    pub by: UserId,
}

/// A torrent that was offered under a name, and who has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offer {
    pub share: Option<Latest<Share>>,
    pub holders: BTreeMap<UserId, Latest<bool>>,
}

/// A file of the group: of the torrents that somebody holds under a name, the one that was shared
/// first has it; the others have numbers behind it.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// As it was shared.
    pub name: &'a FileName,
    /// The how manieth of that name: others were shared earlier where this one was not seen.
    pub number: usize,
    pub info_hash: InfoHash,
    pub share: &'a Share,
    /// Since when it is shared.
    pub stamp: Stamp,
}

impl Group {
    pub fn made(&self) -> Option<&Made> {
        self.made.as_ref()
    }

    /// A group lives while it has a member.
    pub fn is_living(&self) -> bool {
        self.members.values().any(is_member)
    }

    pub fn membership(&self, user: UserId) -> Option<Membership> {
        self.members.get(&user).map(|latest| latest.value)
    }

    /// Since when somebody has stood so.
    pub fn since(&self, user: UserId) -> Option<Stamp> {
        self.members.get(&user).map(|latest| latest.stamp)
    }

    pub fn is_member(&self, user: UserId) -> bool {
        self.members.get(&user).is_some_and(is_member)
    }

    /// The members in the order in which they joined.
    pub fn members(&self) -> Vec<UserId> {
        self.in_order(Membership::Member)
    }

    /// Who asks to join, those who have waited longest first.
    pub fn requests(&self) -> Vec<UserId> {
        self.in_order(Membership::Requested)
    }

    /// The member of longest standing.
    pub fn owner(&self) -> Option<UserId> {
        let members = self.members.iter().filter(|(_, latest)| is_member(latest));
        let first = members.min_by_key(|(user, latest)| (latest.stamp, **user));
        first.map(|(user, _)| *user)
    }

    /// Everybody of whom anything is known here.
    pub fn standings(&self) -> impl Iterator<Item = (UserId, Stamp, Membership)> + '_ {
        let known = self.members.iter();
        known.map(|(user, latest)| (*user, latest.stamp, latest.value))
    }

    /// What a file name means now.
    pub fn file(&self, name: &FileName) -> Option<File<'_>> {
        let as_it_is = self.held(name).into_iter().next();
        as_it_is.or_else(|| {
            let (name, number) = name.split();
            self.held(&name).into_iter().nth(number - 1)
        })
    }

    /// The file that is this torrent, of those that were shared under a name or are known by it.
    pub fn file_with(&self, name: &FileName, info_hash: &InfoHash) -> Option<File<'_>> {
        let is_it = |file: &File<'_>| file.info_hash == *info_hash;
        let shared = self.held(name).into_iter().find(is_it);
        shared.or_else(|| self.file(name).filter(is_it))
    }

    /// The files in the order of their names.
    pub fn files(&self) -> impl Iterator<Item = File<'_>> {
        self.files.keys().flat_map(|name| self.held(name))
    }

    /// The files that have this torrent.
    pub fn files_of(&self, info_hash: &InfoHash) -> impl Iterator<Item = File<'_>> {
        let names = self.names.get(info_hash).into_iter().flatten();
        let files = names.flat_map(|name| self.held(name));
        files.filter(move |file| file.info_hash == *info_hash)
    }

    /// Every torrent that was ever offered under a name.
    pub fn offers(&self) -> impl Iterator<Item = (&FileName, InfoHash, &Offer)> {
        let files = self.files.iter();
        files.flat_map(|(name, offers)| offers.iter().map(move |(hash, o)| (name, *hash, o)))
    }

    /// The members who have all of a torrent, first the one who has had it longest.
    pub fn holders(&self, name: &FileName, info_hash: &InfoHash) -> Vec<UserId> {
        let offer = self
            .files
            .get(name)
            .and_then(|offers| offers.get(info_hash));
        let holders = offer.into_iter().flat_map(|offer| &offer.holders);
        let mut holders: Vec<(Stamp, UserId)> = holders
            .filter(|(user, latest)| latest.value && self.is_member(**user))
            .map(|(user, latest)| (latest.stamp, *user))
            .collect();
        holders.sort_unstable();
        holders.into_iter().map(|(_, user)| user).collect()
    }

    pub fn holds(&self, user: UserId, name: &FileName, info_hash: &InfoHash) -> bool {
        let offer = self
            .files
            .get(name)
            .and_then(|offers| offers.get(info_hash));
        offer.is_some_and(|offer| offer.is_held_by(user)) && self.is_member(user)
    }

    /// The torrents that somebody holds under a name, the first one first.
    fn held(&self, name: &FileName) -> Vec<File<'_>> {
        let Some((name, offers)) = self.files.get_key_value(name) else {
            return Vec::new();
        };
        let is_held = |offer: &Offer| {
            let mut holders = offer.holders.iter();
            holders.any(|(user, latest)| latest.value && self.is_member(*user))
        };
        let file = |(info_hash, offer)| {
            let (info_hash, offer): (&InfoHash, &Offer) = (info_hash, offer);
            let share = offer.share.as_ref()?;
            is_held(offer).then_some(File {
                name,
                number: 1,
                info_hash: *info_hash,
                share: &share.value,
                stamp: share.stamp,
            })
        };
        let mut held: Vec<File<'_>> = offers.iter().filter_map(file).collect();
        held.sort_by_key(|file| (file.stamp, file.info_hash));
        for (number, file) in (1..).zip(&mut held) {
            file.number = number;
        }
        held
    }

    fn in_order(&self, membership: Membership) -> Vec<UserId> {
        let standings = self.standings();
        let mut users: Vec<(Stamp, UserId)> = standings
            .filter(|(_, _, standing)| *standing == membership)
            .map(|(user, stamp, _)| (stamp, user))
            .collect();
        users.sort_unstable();
        users.into_iter().map(|(_, user)| user).collect()
    }
}

impl File<'_> {
    /// By which name it is known now.
    pub fn shown(&self) -> FileName {
        self.name.numbered(self.number)
    }
}

impl Offer {
    /// Whether the user has said so, member or not.
    pub fn is_held_by(&self, user: UserId) -> bool {
        self.holders.get(&user).is_some_and(|latest| latest.value)
    }
}

fn is_member(latest: &Latest<Membership>) -> bool {
    latest.value == Membership::Member
}
