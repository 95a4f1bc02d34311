//! Who may do what: the one check of the table's permissions.

use crate::control::command::Permission;
use crate::control::names::{GroupName, UserName};
use crate::control::stamp::UserId;

use super::facts::Facts;
use super::group::Group;
use super::refused::Refused;

/// Whether `user` (`None`: not logged in) may do what needs `permission` to `group`. In `public`
/// everybody is a member, and nobody the owner.
pub fn permit(
    facts: &Facts,
    user: Option<UserId>,
    permission: Permission,
    group: Option<&GroupName>,
) -> Result<(), Refused> {
    if permission == Permission::Anyone {
        return Ok(());
    }
    let name = match group {
        Some(name) if permission != Permission::User => name,
        _ => return user.map(|_| ()).ok_or(Refused::NotLoggedIn),
    };
    if name.is_public() {
        return match permission {
            Permission::Owner => Err(Refused::Public),
            _ => Ok(()),
        };
    }
    let user = user.ok_or(Refused::NotLoggedIn)?;
    let (_, group) = facts
        .group_named(name)
        .ok_or_else(|| Refused::NoGroup(name.clone()))?;
    match permission {
        Permission::Owner if group.owner() != Some(user) => Err(Refused::NotOwner {
            group: shown_name(group, name),
            owner: owner_name(facts, group),
        }),
        _ if group.is_member(user) => Ok(()),
        _ => Err(not_member(facts, group, name, user)),
    }
}

/// Why somebody who is no member may not do what members may.
fn not_member(facts: &Facts, group: &Group, name: &GroupName, user: UserId) -> Refused {
    // The user's group of this name may be another one.
    let mut of_name = facts.living(name);
    if let Some((id, _)) = of_name.find(|(_, group)| group.is_member(user))
        && let Some(now) = facts.group_name(id)
    {
        let was = name.clone();
        return Refused::GroupRenamed { was, now };
    }
    let name = shown_name(group, name);
    match group.membership(user) {
        Some(super::fact::Membership::Requested) => Refused::NotYetMember {
            group: name,
            owner: owner_name(facts, group),
        },
        _ => Refused::NotMember(name),
    }
}

/// As its maker wrote it.
pub(super) fn shown_name(group: &Group, name: &GroupName) -> GroupName {
    let (_, number) = name.split();
    group
        .made()
        .map_or_else(|| name.clone(), |made| made.name.numbered(number))
}

pub(super) fn owner_name(facts: &Facts, group: &Group) -> UserName {
    let owner = group.owner().and_then(|owner| facts.user_name(owner));
    // A tracker may hear of a membership before it hears of the user.
    let unknown = || "unknown".parse().expect("letters only");
    owner.cloned().unwrap_or_else(unknown)
}
