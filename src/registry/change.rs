//! What a user wants to change, and what comes of it: new facts, or a refusal.

use std::fmt;

use crate::control::command::Permission;
use crate::control::frame::MAX_BODY;
use crate::control::names::{FileName, GroupName, UserName};
use crate::control::reply::Uploaded;
use crate::control::stamp::{Clock, GroupId, Stamp, UserId};
use crate::torrent::id::InfoHash;
use crate::torrent::metainfo::Metainfo;

use super::access::{owner_name, permit, shown_name};
use super::fact::{Entry, Fact, Membership, Share};
use super::facts::Facts;
use super::group::{File, Group};
use super::refused::Refused;

/// How much may be kept: what anybody can do again and again must not take all memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub users: usize,
    /// That were ever made. Few enough for a list of all of them to fit into one reply.
    pub groups: usize,
    /// That one user may ever make.
    pub groups_made: usize,
    /// That one user may be in, or ask to join.
    pub groups_joined: usize,
    /// Of one group.
    pub members: usize,
    /// Of one group.
    pub requests: usize,
    /// That were ever made in one group. Few enough for a list to fit into one reply.
    pub shares: usize,
    /// Of all info dictionaries.
    pub info_bytes: usize,
    /// Of all kinds: a few hundred bytes each.
    pub facts: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            users: 50_000,
            groups: 20_000,
            groups_made: 1_000,
            groups_joined: 1_000,
            members: 10_000,
            requests: 1_000,
            shares: 5_000,
            info_bytes: 128 * 1024 * 1024,
            facts: 500_000,
        }
    }
}

/// The longest info dictionary of a group's file, in bytes: one with its fact around it still is
/// a message between trackers.
pub const MAX_INFO: usize = MAX_BODY - 16 * 1024;

/// What somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    CreateUser {
        name: UserName,
        hash: String,
    },
    SetPassword {
        /// The stamp of the password that was given: another may have been set meanwhile.
        was: Stamp,
        hash: String,
    },
    CreateGroup {
        group: GroupName,
    },
    Join {
        group: GroupName,
    },
    Leave {
        group: GroupName,
    },
    Accept {
        group: GroupName,
        user: UserName,
    },
    Reject {
        group: GroupName,
        user: UserName,
    },
    Offer(Box<Offer>),
    Withdraw {
        group: GroupName,
        name: FileName,
        info_hash: InfoHash,
    },
    /// A download of a group's torrent is complete.
    Completed {
        group: GroupName,
        info_hash: InfoHash,
    },
}

/// A torrent for a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    pub group: GroupName,
    pub name: FileName,
    pub metainfo: Metainfo,
}

/// What has come of a change. Shown as the sentence for the asker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    UserCreated(UserId),
    PasswordSet(Stamp),
    GroupCreated(GroupId),
    Requested,
    Left,
    /// Left as the last one.
    GroupDeleted,
    Accepted,
    Rejected,
    Offered(Uploaded),
    Withdrawn,
    Completed,
}

impl Change {
    /// What its asker must be.
    fn permission(&self) -> Permission {
        match self {
            Change::CreateUser { .. } => Permission::Anyone,
            Change::SetPassword { .. } | Change::CreateGroup { .. } | Change::Join { .. } => {
                Permission::User
            }
            Change::Leave { .. }
            | Change::Offer(_)
            | Change::Withdraw { .. }
            | Change::Completed { .. } => Permission::Member,
            Change::Accept { .. } | Change::Reject { .. } => Permission::Owner,
        }
    }

    fn group(&self) -> Option<&GroupName> {
        match self {
            Change::CreateUser { .. } | Change::SetPassword { .. } => None,
            Change::CreateGroup { group }
            | Change::Join { group }
            | Change::Leave { group }
            | Change::Accept { group, .. }
            | Change::Reject { group, .. }
            | Change::Withdraw { group, .. }
            | Change::Completed { group, .. } => Some(group),
            Change::Offer(offer) => Some(&offer.group),
        }
    }
}

/// The facts that make a change come true, or why it may not. `unix_ms` is the time.
pub fn decide(
    facts: &Facts,
    limits: &Limits,
    by: Option<UserId>,
    change: &Change,
    clock: &mut Clock,
    unix_ms: u64,
) -> Result<(Vec<Entry>, Done), Refused> {
    permit(facts, by, change.permission(), change.group())?;
    if change.group().is_some_and(GroupName::is_public) {
        return Err(Refused::Public);
    }
    let mut paper = Paper {
        facts,
        limits,
        clock,
        unix_ms,
        entries: Vec::new(),
    };
    let done = match (change, by) {
        (Change::CreateUser { name, hash }, _) => paper.create_user(name, hash),
        (_, None) => Err(Refused::NotLoggedIn),
        (Change::SetPassword { was, hash }, Some(user)) => match facts.password(user) {
            Some(now) if now.stamp == *was => Ok(paper.set_password(user, hash)),
            _ => Err(Refused::LoginEnded),
        },
        (Change::CreateGroup { group }, Some(by)) => paper.create_group(group, by),
        (Change::Join { group }, Some(user)) => paper.join(group, user),
        (Change::Leave { group }, Some(user)) => paper.leave(group, user),
        (Change::Accept { group, user }, _) => paper.answer(group, user, Membership::Member),
        (Change::Reject { group, user }, _) => paper.answer(group, user, Membership::Rejected),
        (Change::Offer(offer), Some(by)) => paper.offer(offer, by),
        (
            Change::Withdraw {
                group,
                name,
                info_hash,
            },
            Some(user),
        ) => paper.withdraw(group, name, *info_hash, user),
        (Change::Completed { group, info_hash }, Some(user)) => {
            paper.completed(group, *info_hash, user)
        }
    }?;
    let entries = paper.entries;
    // What sets right what is there already is always possible.
    let grows = !matches!(
        change,
        Change::Leave { .. } | Change::Withdraw { .. } | Change::SetPassword { .. }
    );
    if grows && facts.len() + entries.len() > limits.facts {
        return Err(full(
            "This tracker keeps as many facts as it can",
            limits.facts,
        ));
    }
    Ok((entries, done))
}

/// Where the new facts are written down, each with its stamp.
struct Paper<'a> {
    facts: &'a Facts,
    limits: &'a Limits,
    clock: &'a mut Clock,
    unix_ms: u64,
    entries: Vec<Entry>,
}

impl<'a> Paper<'a> {
    fn write(&mut self, fact: Fact) -> Stamp {
        self.write_with(|_| fact)
    }

    /// A fact that has its own stamp in it.
    fn write_with(&mut self, fact: impl FnOnce(Stamp) -> Fact) -> Stamp {
        let stamp = self.clock.stamp(self.unix_ms);
        let fact = fact(stamp);
        self.entries.push(Entry { stamp, fact });
        stamp
    }

    fn group(&self, name: &GroupName) -> Result<(GroupId, &'a Group), Refused> {
        let group = self.facts.group_named(name);
        group.ok_or_else(|| Refused::NoGroup(name.clone()))
    }

    fn create_user(&mut self, name: &UserName, hash: &str) -> Result<Done, Refused> {
        if self.facts.user_named(name).is_some() {
            return Err(Refused::UserExists(name.clone()));
        }
        if name.split().1 > 1 {
            return Err(Refused::NumberedName);
        }
        if self.facts.users() >= self.limits.users {
            return Err(full(
                "This tracker has as many users as it can",
                self.limits.users,
            ));
        }
        let stamp = self.write_with(|stamp| Fact::User {
            id: UserId(stamp),
            name: name.clone(),
        });
        self.set_password(UserId(stamp), hash);
        Ok(Done::UserCreated(UserId(stamp)))
    }

    fn set_password(&mut self, user: UserId, hash: &str) -> Done {
        let hash = hash.to_string();
        Done::PasswordSet(self.write(Fact::Password { user, hash }))
    }

    fn create_group(&mut self, name: &GroupName, by: UserId) -> Result<Done, Refused> {
        if let Some((_, group)) = self.facts.group_named(name) {
            return Err(Refused::GroupExists(shown_name(group, name)));
        }
        if name.split().1 > 1 {
            return Err(Refused::NumberedName);
        }
        let limits = self.limits;
        if self.facts.groups_made() >= limits.groups {
            return Err(full(
                "This tracker has as many groups as it can",
                limits.groups,
            ));
        }
        if self.facts.groups_made_by(by) >= limits.groups_made {
            let what = "You have made as many groups as one user can";
            return Err(full(what, limits.groups_made));
        }
        self.check_joined(by)?;
        let stamp = self.write_with(|stamp| Fact::Group {
            id: GroupId(stamp),
            name: name.clone(),
            by,
        });
        self.stand(GroupId(stamp), by, Membership::Member);
        Ok(Done::GroupCreated(GroupId(stamp)))
    }

    fn join(&mut self, name: &GroupName, user: UserId) -> Result<Done, Refused> {
        let (id, group) = self.group(name)?;
        match group.membership(user) {
            Some(Membership::Member) => return Err(Refused::MemberAlready),
            Some(Membership::Requested) => {
                return Err(Refused::AskedAlready(owner_name(self.facts, group)));
            }
            Some(Membership::Left { .. } | Membership::Rejected) | None => {}
        }
        if group.requests().len() >= self.limits.requests {
            let what = "This group has as many join requests as it can";
            return Err(full(what, self.limits.requests));
        }
        self.check_joined(user)?;
        self.stand(id, user, Membership::Requested);
        Ok(Done::Requested)
    }

    fn leave(&mut self, name: &GroupName, user: UserId) -> Result<Done, Refused> {
        let (id, group) = self.group(name)?;
        let joined = group.since(user).unwrap_or(id.0);
        // First of all the shares: so what goes with them is told to those who stay.
        let held = group
            .offers()
            .filter(|(_, _, offer)| offer.is_held_by(user));
        let held: Vec<_> = held.map(|(name, hash, _)| (name.clone(), hash)).collect();
        for (name, info_hash) in held {
            self.hold(id, &name, info_hash, user, false);
        }
        self.stand(id, user, Membership::Left { joined });
        Ok(match group.members().len() {
            0 | 1 => Done::GroupDeleted,
            _ => Done::Left,
        })
    }

    /// The owner's answer to a request.
    fn answer(
        &mut self,
        name: &GroupName,
        user: &UserName,
        membership: Membership,
    ) -> Result<Done, Refused> {
        let (id, group) = self.group(name)?;
        let requests = group.requests();
        if requests.is_empty() {
            return Err(Refused::NoRequests);
        }
        let user = self.facts.user_named(user);
        let user = user.filter(|user| requests.contains(user));
        let user = user.ok_or_else(|| Refused::NotAsked(shown_name(group, name)))?;
        if membership != Membership::Member {
            self.stand(id, user, membership);
            return Ok(Done::Rejected);
        }
        if group.members().len() >= self.limits.members {
            let what = "This group has as many members as it can";
            return Err(full(what, self.limits.members));
        }
        self.stand(id, user, membership);
        Ok(Done::Accepted)
    }

    fn offer(&mut self, offer: &Offer, by: UserId) -> Result<Done, Refused> {
        let (id, group) = self.group(&offer.group)?;
        let Offer { name, metainfo, .. } = offer;
        let source = id.to_string();
        if !metainfo.private || metainfo.source.as_ref() != Some(&source) {
            return Err(Refused::NotOfTheGroup {
                group: shown_name(group, &offer.group),
                source_needed: source,
            });
        }
        let (info_hash, size) = (metainfo.info_hash, metainfo.layout.total());
        if let Some(file) = group.file_with(name, &info_hash) {
            // Said again also to whom it is no news: that it was withdrawn, earlier, may be known
            // only on the other side of a split.
            self.hold(id, file.name, info_hash, by, true);
            return Ok(Done::Offered(Uploaded::Joined));
        }
        if let Some(file) = group.file(name) {
            return Err(conflict(&file, info_hash, size));
        }
        if name.split().1 > 1 {
            return Err(Refused::NumberedName);
        }
        let limits = self.limits;
        let info = metainfo.info_bytes();
        let mut offers = group.offers();
        let known = offers.any(|(known, hash, offer)| {
            (known, hash) == (name, info_hash) && offer.share.is_some()
        });
        if !known && group.offers().count() >= limits.shares {
            let what = "This group has as many files as it can";
            return Err(full(what, limits.shares));
        }
        if info.len() > MAX_INFO {
            let what = "The description of this torrent is too long (fewer pieces are shorter)";
            return Err(full(what, MAX_INFO));
        }
        if !known && self.facts.info_bytes() + info.len() > limits.info_bytes {
            let what = "This tracker keeps as many bytes of torrents as it can";
            return Err(full(what, limits.info_bytes));
        }
        self.write(Fact::Share {
            group: id,
            name: name.clone(),
            info_hash,
            share: Share {
                size,
                info: info.into(),
                by,
            },
        });
        self.hold(id, name, info_hash, by, true);
        Ok(Done::Offered(Uploaded::Shared))
    }

    fn withdraw(
        &mut self,
        group_name: &GroupName,
        name: &FileName,
        info_hash: InfoHash,
        user: UserId,
    ) -> Result<Done, Refused> {
        let (id, group) = self.group(group_name)?;
        let Some(file) = group.file_with(name, &info_hash) else {
            return Err(Refused::NoFile(shown_name(group, group_name)));
        };
        if !group.holds(user, file.name, &info_hash) {
            return Err(Refused::NotHolder);
        }
        self.hold(id, file.name, info_hash, user, false);
        Ok(Done::Withdrawn)
    }

    fn completed(
        &mut self,
        name: &GroupName,
        info_hash: InfoHash,
        user: UserId,
    ) -> Result<Done, Refused> {
        let (id, group) = self.group(name)?;
        let mut files = group.files_of(&info_hash).peekable();
        if files.peek().is_none() {
            return Err(Refused::NoTorrent(shown_name(group, name)));
        }
        for file in files {
            // As in an offer.
            self.hold(id, file.name, info_hash, user, true);
        }
        Ok(Done::Completed)
    }

    fn stand(&mut self, group: GroupId, user: UserId, membership: Membership) {
        self.write(Fact::Member {
            group,
            user,
            membership,
        });
    }

    fn hold(
        &mut self,
        group: GroupId,
        name: &FileName,
        info_hash: InfoHash,
        user: UserId,
        holds: bool,
    ) {
        self.write(Fact::Holder {
            group,
            name: name.clone(),
            info_hash,
            user,
            holds,
        });
    }

    fn check_joined(&self, user: UserId) -> Result<(), Refused> {
        let of_user = self.facts.groups_of(user);
        let joined = of_user.filter(|(_, group)| {
            let membership = group.membership(user);
            matches!(membership, Some(Membership::Member | Membership::Requested))
        });
        if joined.count() >= self.limits.groups_joined {
            let what = "You are in as many groups as one user can be";
            return Err(full(what, self.limits.groups_joined));
        }
        Ok(())
    }
}

fn full(what: &'static str, limit: usize) -> Refused {
    Refused::Limit { what, limit }
}

fn conflict(old: &File<'_>, new_hash: InfoHash, new_size: u64) -> Refused {
    Refused::Conflict {
        name: old.shown(),
        old_size: old.share.size,
        old_hash: old.info_hash,
        new_size,
        new_hash,
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Done::UserCreated(_) => "User created!",
            Done::PasswordSet(_) => "Password changed",
            Done::GroupCreated(_) => "Group created successfully",
            Done::Requested => "Join request made successfully",
            Done::Left => "You left the group!",
            Done::GroupDeleted => "Group deleted as you were the only person in the group",
            Done::Accepted => "User accepted",
            Done::Rejected => "User rejected",
            Done::Offered(_) => "File uploaded successfully",
            Done::Withdrawn => "Stopped sharing this file",
            Done::Completed => "Downloaded file successfully!",
        })
    }
}

#[cfg(test)]
mod tests;
