//! What is told of groups. Who may hear it has been checked.

use crate::control::names::{GroupName, UserName};
use crate::control::reply::{FileEntry, GroupEntry, Standing};
use crate::control::stamp::UserId;

use super::access::owner_name;
use super::fact::Membership;
use super::facts::Facts;
use super::group::Group;

/// Every group that lives, as `user` sees it.
pub fn groups(facts: &Facts, user: UserId) -> Vec<GroupEntry> {
    let entry = |(name, _, group): (GroupName, _, &Group)| GroupEntry {
        name,
        owner: owner_name(facts, group),
        members: u32::try_from(group.members().len()).unwrap_or(u32::MAX),
        standing: standing(group, user),
    };
    facts.groups().into_iter().map(entry).collect()
}

/// The members of a group in join order.
pub fn members(facts: &Facts, name: &GroupName) -> Vec<UserName> {
    let group = facts.group_named(name);
    names(facts, group.map(|(_, group)| group.members()))
}

/// Who asks to join a group.
pub fn requests(facts: &Facts, name: &GroupName) -> Vec<UserName> {
    let group = facts.group_named(name);
    names(facts, group.map(|(_, group)| group.requests()))
}

/// The files of a group by name. Who is in their swarms is for others to say.
pub fn files(facts: &Facts, name: &GroupName) -> Vec<FileEntry> {
    let group = facts.group_named(name).map(|(_, group)| group);
    let files = group.into_iter().flat_map(Group::files);
    let entry = |file: super::group::File<'_>| FileEntry {
        name: file.shown(),
        size: file.share.size,
        info_hash: file.info_hash,
        seeders: 0,
        leechers: 0,
    };
    files.map(entry).collect()
}

fn standing(group: &Group, user: UserId) -> Standing {
    match group.membership(user) {
        Some(Membership::Member) if group.owner() == Some(user) => Standing::Owner,
        Some(Membership::Member) => Standing::Member,
        Some(Membership::Requested) => Standing::Requested,
        Some(Membership::Left { .. } | Membership::Rejected) | None => Standing::None,
    }
}

fn names(facts: &Facts, users: Option<Vec<UserId>>) -> Vec<UserName> {
    let users = users.unwrap_or_default().into_iter();
    users
        .filter_map(|user| facts.user_name(user).cloned())
        .collect()
}
