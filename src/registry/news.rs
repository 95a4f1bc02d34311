//! What users are told of a change as it happens: by comparing how their group stood before
//! ([`Before`]) and stands after it. Not here: what they hear who come back (`missed`).

use crate::control::names::{FileName, GroupName};
use crate::control::news::News;
use crate::control::stamp::{GroupId, UserId};
use crate::torrent::id::InfoHash;

use super::fact::{Entry, Fact, Membership};
use super::facts::Facts;
use super::group::Group;

/// News, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub to: Audience,
    pub news: News,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    User(UserId),
    /// Every member but the one who did it.
    Members {
        group: GroupId,
        but: UserId,
    },
}

impl Audience {
    pub fn has(self, facts: &Facts, user: UserId) -> bool {
        match self {
            Audience::User(one) => user == one,
            Audience::Members { group, but } => {
                let group = facts.group(group);
                user != but && group.is_some_and(|group| group.is_member(user))
            }
        }
    }
}

/// How a group stood before an entry was taken in, as far as news are made of it.
#[derive(Debug)]
pub enum Before {
    Member {
        membership: Option<Membership>,
        owner: Option<UserId>,
        /// What the user shared.
        files: Vec<(FileName, InfoHash)>,
    },
    File {
        info_hash: Option<InfoHash>,
        held: bool,
    },
    Nothing,
}

impl Before {
    pub fn look(facts: &Facts, entry: &Entry) -> Before {
        let group = |id: &GroupId| facts.group(*id);
        match &entry.fact {
            Fact::Member {
                group: id, user, ..
            } => Before::Member {
                membership: group(id).and_then(|group| group.membership(*user)),
                owner: group(id).and_then(Group::owner),
                files: group(id).map_or(Vec::new(), |group| held_by(group, *user)),
            },
            Fact::Share {
                group: id, name, ..
            } => Before::File {
                info_hash: living(facts, *id, name),
                held: false,
            },
            Fact::Holder {
                group: id,
                name,
                info_hash,
                user,
                ..
            } => Before::File {
                info_hash: living(facts, *id, name),
                held: group(id).is_some_and(|group| group.holds(*user, name, info_hash)),
            },
            Fact::User { .. } | Fact::Password { .. } | Fact::Group { .. } => Before::Nothing,
        }
    }

    /// What is new now that the entry has been taken in.
    pub fn news(self, facts: &Facts, entry: &Entry) -> Vec<Told> {
        let mut teller = match &entry.fact {
            Fact::Member { group, .. } | Fact::Share { group, .. } | Fact::Holder { group, .. } => {
                match Teller::new(facts, *group) {
                    Some(teller) => teller,
                    None => return Vec::new(),
                }
            }
            Fact::User { .. } | Fact::Password { .. } | Fact::Group { .. } => return Vec::new(),
        };
        match (self, &entry.fact) {
            (
                Before::Member {
                    membership,
                    owner,
                    files,
                },
                Fact::Member { user, .. },
            ) => {
                for (name, info_hash) in files {
                    if teller
                        .group
                        .files_of(&info_hash)
                        .all(|file| *file.name != name)
                    {
                        teller.gone(*user, &name);
                    }
                }
                teller.membership(*user, membership, owner);
            }
            (Before::File { info_hash, held }, Fact::Share { name, share, .. }) => {
                teller.file(share.by, name, info_hash, held);
            }
            (Before::File { info_hash, held }, Fact::Holder { name, user, .. }) => {
                teller.file(*user, name, info_hash, held);
            }
            _ => {}
        }
        teller.told
    }
}

/// Of a group, also of one that lives no longer.
pub(super) fn name_of(facts: &Facts, id: GroupId) -> Option<GroupName> {
    let made = || Some(facts.group(id)?.made()?.name.clone());
    facts.group_name(id).or_else(made)
}

fn living(facts: &Facts, group: GroupId, name: &FileName) -> Option<InfoHash> {
    let file = facts.group(group)?.file(name)?;
    Some(file.info_hash)
}

fn held_by(group: &Group, user: UserId) -> Vec<(FileName, InfoHash)> {
    group
        .files()
        .filter(|file| group.holds(user, file.name, &file.info_hash))
        .map(|file| (file.name.clone(), file.info_hash))
        .collect()
}

/// Tells what is new in one group.
struct Teller<'a> {
    facts: &'a Facts,
    id: GroupId,
    group: &'a Group,
    name: GroupName,
    told: Vec<Told>,
}

impl<'a> Teller<'a> {
    fn new(facts: &'a Facts, id: GroupId) -> Option<Teller<'a>> {
        let group = facts.group(id)?;
        Some(Teller {
            facts,
            id,
            group,
            name: name_of(facts, id)?,
            told: Vec::new(),
        })
    }

    fn membership(&mut self, user: UserId, before: Option<Membership>, owner: Option<UserId>) {
        let after = self.group.membership(user);
        let group = self.name.clone();
        let Some(name) = self.facts.user_name(user).cloned() else {
            return;
        };
        let was_member = before == Some(Membership::Member);
        match after {
            _ if before == after => {}
            Some(Membership::Requested) => {
                let asks = News::Asks { group, user: name };
                self.group
                    .owner()
                    .into_iter()
                    .for_each(|owner| self.tell(owner, asks.clone()));
            }
            Some(Membership::Member) => {
                // Who made the group had not asked.
                if before.is_some() {
                    let group = group.clone();
                    self.tell(user, News::Accepted { group });
                }
                self.tell_members(user, News::Joined { group, user: name });
            }
            Some(Membership::Left { .. }) if was_member => {
                self.tell_members(user, News::Left { group, user: name });
            }
            Some(Membership::Rejected) => self.tell(user, News::Rejected { group }),
            Some(Membership::Left { .. }) | None => {}
        }
        let now = self.group.owner();
        if let (Some(_), Some(now)) = (owner, now.filter(|now| Some(*now) != owner)) {
            self.owns(now);
        }
    }

    /// A new owner hears what the old one left undone.
    fn owns(&mut self, owner: UserId) {
        let group = self.name.clone();
        self.tell(owner, News::Owns { group });
        for user in self.group.requests() {
            if let Some(user) = self.facts.user_name(user).cloned() {
                let group = self.name.clone();
                self.tell(owner, News::Asks { group, user });
            }
        }
    }

    fn file(&mut self, by: UserId, name: &FileName, before: Option<InfoHash>, held: bool) {
        let file = self.group.file(name);
        let after = file.map(|file| file.info_hash);
        match (file, before) {
            (None, Some(_)) => self.gone(by, name),
            (Some(file), _) if after != before => {
                let first = self.group.holders(name, &file.info_hash);
                let user = first.first().copied().unwrap_or(by);
                let (size, group) = (file.share.size, self.name.clone());
                if let Some(user_name) = self.facts.user_name(user).cloned() {
                    let (file, user_name) = (name.clone(), user_name);
                    let shares = News::Shares {
                        group,
                        file,
                        size,
                        user: user_name,
                    };
                    self.tell_members(user, shares);
                }
            }
            (Some(file), _) if !held && self.group.holds(by, name, &file.info_hash) => {
                if let Some(user) = self.facts.user_name(by).cloned() {
                    let (group, file) = (self.name.clone(), name.clone());
                    self.tell_members(by, News::Has { group, file, user });
                }
            }
            _ => {}
        }
    }

    fn gone(&mut self, by: UserId, name: &FileName) {
        let (group, file) = (self.name.clone(), name.clone());
        self.tell_members(by, News::Gone { group, file });
    }

    fn tell_members(&mut self, but: UserId, news: News) {
        let group = self.id;
        let to = Audience::Members { group, but };
        self.told.push(Told { to, news });
    }

    fn tell(&mut self, to: UserId, news: News) {
        let to = Audience::User(to);
        self.told.push(Told { to, news });
    }
}

#[cfg(test)]
mod tests;
