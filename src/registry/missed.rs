//! What users are told who come back: made from the facts as they are now.

use crate::control::names::GroupName;
use crate::control::news::News;
use crate::control::stamp::{GroupId, Stamp, UserId};

use super::fact::Membership;
use super::facts::Facts;
use super::group::Group;
use super::news::name_of;

/// The most lines that somebody is told who comes back: what was last counts.
pub const MAX_MISSED: usize = 1000;

/// What somebody has missed since a stamp, the oldest first: made from the facts as they are now,
/// so what came and went is left out. Without a stamp: who waits for the user's answer.
pub fn missed(facts: &Facts, user: UserId, since: Option<Stamp>) -> Vec<(Stamp, News)> {
    let mut missed = Vec::new();
    for (id, group) in facts.groups_of(user) {
        let Some(name) = name_of(facts, id) else {
            continue;
        };
        let of_group = Missed {
            facts,
            id,
            group,
            name,
            user,
        };
        match since {
            None => missed.extend(of_group.requests(None)),
            Some(since) => of_group.since(since, &mut missed),
        }
    }
    missed.sort_by_key(|(stamp, _)| *stamp);
    let too_many = missed.len().saturating_sub(MAX_MISSED);
    missed.drain(..too_many);
    missed
}

/// What a user has missed of one group.
struct Missed<'a> {
    facts: &'a Facts,
    id: GroupId,
    group: &'a Group,
    name: GroupName,
    user: UserId,
}

impl Missed<'_> {
    fn since(&self, since: Stamp, missed: &mut Vec<(Stamp, News)>) {
        let Some(stamp) = self.group.since(self.user) else {
            return;
        };
        let group = || self.name.clone();
        match self.group.membership(self.user) {
            Some(Membership::Rejected) if stamp > since => {
                missed.push((stamp, News::Rejected { group: group() }));
            }
            Some(Membership::Member) => {
                if stamp > since && !self.is_maker(stamp) {
                    missed.push((stamp, News::Accepted { group: group() }));
                }
                self.others(since.max(stamp), missed);
                self.files(since.max(stamp), missed);
                match self.became_owner(since) {
                    // All of them are news to a new owner.
                    Some(when) => {
                        missed.push((when, News::Owns { group: group() }));
                        let requests = self.requests(None).into_iter();
                        missed.extend(requests.map(|(stamp, asks)| (stamp.max(when), asks)));
                    }
                    None => missed.extend(self.requests(Some(since))),
                }
            }
            _ => {}
        }
    }

    /// The requests that came after `since`, if they are this user's business.
    fn requests(&self, since: Option<Stamp>) -> Vec<(Stamp, News)> {
        if self.group.owner() != Some(self.user) {
            return Vec::new();
        }
        let standings = self.group.standings();
        let asking = standings.filter(|(_, stamp, membership)| {
            *membership == Membership::Requested && Some(*stamp) > since
        });
        let news = asking.filter_map(|(user, stamp, _)| {
            let user = self.facts.user_name(user)?.clone();
            let group = self.name.clone();
            Some((stamp, News::Asks { group, user }))
        });
        news.collect()
    }

    /// Who has come and gone.
    fn others(&self, since: Stamp, missed: &mut Vec<(Stamp, News)>) {
        let others = self.group.standings();
        for (user, stamp, membership) in others.filter(|other| other.1 > since) {
            let Some(name) = self.facts.user_name(user).cloned() else {
                continue;
            };
            let group = self.name.clone();
            match membership {
                _ if user == self.user => {}
                Membership::Member => {
                    missed.push((stamp, News::Joined { group, user: name }));
                }
                // Who came and went while nobody looked is no news.
                Membership::Left { joined } if joined <= since => {
                    missed.push((stamp, News::Left { group, user: name }));
                }
                Membership::Left { .. } | Membership::Requested | Membership::Rejected => {}
            }
        }
    }

    fn files(&self, since: Stamp, missed: &mut Vec<(Stamp, News)>) {
        for (name, info_hash, offer) in self.group.offers() {
            let Some(share) = &offer.share else { continue };
            let (group, file) = (self.name.clone(), name.clone());
            let living = self.group.file(name);
            if living.is_none() {
                let ends = offer.holders.iter().filter(|(_, latest)| !latest.value);
                let last = ends.max_by_key(|(_, latest)| latest.stamp);
                // Who has ended it knows.
                let end = last.filter(|(user, _)| **user != self.user);
                let end = end.map(|(_, latest)| latest.stamp);
                let ended = end.filter(|end| *end > since && share.stamp <= since);
                missed.extend(ended.map(|end| (end, News::Gone { group, file })));
                continue;
            }
            if living.is_none_or(|file| file.info_hash != info_hash) {
                continue;
            }
            let holders = self.group.holders(name, &info_hash);
            for (i, holder) in holders.into_iter().enumerate() {
                let stamp = offer.holders.get(&holder).map(|latest| latest.stamp);
                let Some(stamp) = stamp.filter(|stamp| *stamp > since) else {
                    continue;
                };
                let Some(user) = self.facts.user_name(holder).cloned() else {
                    continue;
                };
                let (group, file) = (group.clone(), file.clone());
                let news = if i == 0 && share.stamp > since {
                    let size = share.value.size;
                    News::Shares {
                        group,
                        file,
                        size,
                        user,
                    }
                } else {
                    News::Has { group, file, user }
                };
                if holder != self.user {
                    missed.push((stamp, news));
                }
            }
        }
    }

    /// When the user came to own the group, if that was after `since`.
    fn became_owner(&self, since: Stamp) -> Option<Stamp> {
        if self.group.owner() != Some(self.user) {
            return None;
        }
        // Those who had been there longer, and left: the last of them was the owner before.
        let own = self.group.since(self.user)?;
        let before = self.group.standings().filter_map(|(_, left, membership)| {
            matches!(membership, Membership::Left { joined } if joined < own && left > own)
                .then_some(left)
        });
        before.max().filter(|left| *left > since)
    }

    /// Whoever makes a group is a member from the next stamp on.
    fn is_maker(&self, joined: Stamp) -> bool {
        let made = self.id.0;
        let by = self.group.made().map(|made| made.by);
        let at_once = joined.tracker == made.tracker && joined.time == made.time + 1;
        by == Some(self.user) && at_once
    }
}
