//! Every fact that a tracker knows, merged: any order, any repetition, the same value.
//!
//! Of a user, the earliest creation of a name wins; of groups, the earliest of those that live.
//! Of everything else, the latest stamp counts. Not here: who may change what (`change`).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::control::names::{FileName, GroupName, UserName};
use crate::control::stamp::{GroupId, Stamp, UserId};
use crate::torrent::id::InfoHash;

use super::digest::Digest;
use super::fact::{Entry, Fact, Share};
use super::group::{Group, Made, Offer};
use super::latest::Latest;

/// The facts. Equal if the facts are equal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    users: BTreeMap<UserId, Account>,
    user_names: HashMap<UserName, BTreeSet<UserId>>,
    groups: BTreeMap<GroupId, Group>,
    group_names: HashMap<GroupName, BTreeSet<GroupId>>,
    /// The groups that a user has made, whether they live or not.
    made: HashMap<UserId, BTreeSet<GroupId>>,
    tally: Tally,
    info_bytes: usize,
    latest: Option<Stamp>,
}

/// How many facts there are, and their digest: kept with each change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Tally {
    count: usize,
    digest: Digest,
}

/// What is known of a user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Account {
    name: Option<UserName>,
    /// With a number, if others took the name earlier.
    shown: Option<UserName>,
    password: Option<Latest<String>>,
    /// Those that know the user, as whatever.
    groups: BTreeSet<GroupId>,
}

impl Facts {
    /// Takes in a fact. False if it was known already, or a later one is.
    pub fn apply(&mut self, entry: &Entry) -> bool {
        let stamp = entry.stamp;
        self.latest = self.latest.max(Some(stamp));
        let tally = &mut self.tally;
        match &entry.fact {
            Fact::User { id, name } => self.put_user(*id, name),
            Fact::Password { user, hash } => {
                let slot = &mut self.users.entry(*user).or_default().password;
                let fact = |hash| Fact::Password { user: *user, hash };
                put(tally, slot, stamp, hash.clone(), fact)
            }
            Fact::Group { id, name, by } => self.put_group(*id, name, *by),
            Fact::Member {
                group,
                user,
                membership,
            } => {
                self.users.entry(*user).or_default().groups.insert(*group);
                let members = &mut self.groups.entry(*group).or_default().members;
                let fact = |membership| Fact::Member {
                    group: *group,
                    user: *user,
                    membership,
                };
                put_in(tally, members, *user, stamp, *membership, fact)
            }
            Fact::Share {
                group,
                name,
                info_hash,
                share,
            } => self.put_share(stamp, (*group, name, *info_hash), share),
            Fact::Holder {
                group,
                name,
                info_hash,
                user,
                holds,
            } => {
                let holders = &mut offer(&mut self.groups, *group, name, *info_hash).holders;
                let fact = |holds| Fact::Holder {
                    group: *group,
                    name: name.clone(),
                    info_hash: *info_hash,
                    user: *user,
                    holds,
                };
                put_in(tally, holders, *user, stamp, *holds, fact)
            }
        }
    }

    /// How many facts there are.
    pub fn len(&self) -> usize {
        self.tally.count
    }

    /// The same for the same facts, in whatever order they came.
    pub fn digest(&self) -> Digest {
        self.tally.digest
    }

    pub fn is_empty(&self) -> bool {
        self.tally.count == 0
    }

    /// Bytes of all info dictionaries.
    pub fn info_bytes(&self) -> usize {
        self.info_bytes
    }

    /// The greatest stamp that was ever seen.
    pub fn latest(&self) -> Option<Stamp> {
        self.latest
    }

    /// How many users there are.
    pub fn users(&self) -> usize {
        self.users.len()
    }

    pub fn user_ids(&self) -> impl Iterator<Item = UserId> {
        self.users.keys().copied()
    }

    /// Whose name it is: whoever took it first; with a number, the how manieth.
    pub fn user_named(&self, name: &UserName) -> Option<UserId> {
        let (name, number) = name.split();
        let ids = self.user_names.get(&name)?;
        ids.iter().nth(number - 1).copied()
    }

    /// Everybody who took a name: but for the first, on a tracker that could not see the others.
    pub fn users_named(&self, name: &UserName) -> impl Iterator<Item = UserId> {
        self.user_names.get(name).into_iter().flatten().copied()
    }

    /// By which name a user is known to everybody now.
    pub fn user_name(&self, user: UserId) -> Option<&UserName> {
        self.users.get(&user)?.shown.as_ref()
    }

    /// The name that the user took.
    pub fn taken_name(&self, user: UserId) -> Option<&UserName> {
        self.users.get(&user)?.name.as_ref()
    }

    pub fn password(&self, user: UserId) -> Option<&Latest<String>> {
        self.users.get(&user)?.password.as_ref()
    }

    /// The groups that know the user: members, applicants, those who were.
    pub fn groups_of(&self, user: UserId) -> impl Iterator<Item = (GroupId, &Group)> {
        let groups = self.users.get(&user).into_iter();
        let groups = groups.flat_map(|account| &account.groups);
        groups.filter_map(|id| Some((*id, self.groups.get(id)?)))
    }

    /// How many groups a user has made, whether they live or not.
    pub fn groups_made_by(&self, user: UserId) -> usize {
        self.made.get(&user).map_or(0, BTreeSet::len)
    }

    /// How many groups were ever made.
    pub fn groups_made(&self) -> usize {
        self.groups.len()
    }

    /// How many groups live.
    pub fn living_groups(&self) -> usize {
        self.groups
            .values()
            .filter(|group| group.is_living())
            .count()
    }

    pub fn group(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(&id)
    }

    /// What a group's name means now: of those that live, the one that was made first; with a
    /// number, the how manieth.
    pub fn group_named(&self, name: &GroupName) -> Option<(GroupId, &Group)> {
        let (name, number) = name.split();
        self.living(&name).nth(number - 1)
    }

    /// By which name a group is known now, if it lives.
    pub fn group_name(&self, group: GroupId) -> Option<GroupName> {
        let name = &self.groups.get(&group)?.made()?.name;
        let place = self.living(name).position(|(id, _)| id == group);
        place.map(|place| name.numbered(place + 1))
    }

    /// The groups that live, in the order of their names.
    pub fn groups(&self) -> Vec<(GroupName, GroupId, &Group)> {
        let mut groups = Vec::new();
        for name in self.group_names.keys() {
            for (number, (id, group)) in (1..).zip(self.living(name)) {
                let made = group.made().into_iter();
                groups.extend(made.map(|made| (made.name.numbered(number), id, group)));
            }
        }
        groups.sort_by_cached_key(|(name, id, _)| (name.folded(), *id));
        groups
    }

    /// The groups of a name that live, the first one first.
    pub fn living(&self, name: &GroupName) -> impl Iterator<Item = (GroupId, &Group)> {
        let ids = self.group_names.get(name).into_iter().flatten();
        let groups = ids.filter_map(|id| Some((*id, self.groups.get(id)?)));
        groups.filter(|(_, group)| group.is_living())
    }

    fn put_user(&mut self, id: UserId, name: &UserName) -> bool {
        let account = self.users.entry(id).or_default();
        let entry = |name: &UserName| {
            let name = name.clone();
            let fact = Fact::User { id, name };
            Entry { stamp: id.0, fact }
        };
        match &account.name {
            // No honest tracker gives one id two names; should it happen, all agree on one.
            Some(old) if old.as_str() <= name.as_str() => return false,
            Some(old) => {
                self.tally.digest.toggle(&entry(old));
                forget(&mut self.user_names, old, id);
            }
            None => self.tally.count += 1,
        }
        self.tally.digest.toggle(&entry(name));
        let old = account.name.replace(name.clone());
        self.user_names.entry(name.clone()).or_default().insert(id);
        old.iter()
            .chain([name])
            .for_each(|name| self.number_users(name));
        true
    }

    /// Gives those who took a name their numbers.
    fn number_users(&mut self, name: &UserName) {
        let ids = self.user_names.get(name).into_iter().flatten();
        for (number, id) in (1..).zip(ids) {
            if let Some(account) = self.users.get_mut(id) {
                let name = account.name.as_ref();
                account.shown = name.map(|name| name.numbered(number));
            }
        }
    }

    fn put_group(&mut self, id: GroupId, name: &GroupName, by: UserId) -> bool {
        let group = self.groups.entry(id).or_default();
        let entry = |name: &GroupName, by| {
            let name = name.clone();
            let fact = Fact::Group { id, name, by };
            Entry { stamp: id.0, fact }
        };
        match &group.made {
            Some(old) if (old.name.as_str(), old.by) <= (name.as_str(), by) => return false,
            Some(old) => {
                self.tally.digest.toggle(&entry(&old.name, old.by));
                forget(&mut self.group_names, &old.name, id);
                forget(&mut self.made, &old.by, id);
            }
            None => self.tally.count += 1,
        }
        self.tally.digest.toggle(&entry(name, by));
        let name = name.clone();
        self.group_names.entry(name.clone()).or_default().insert(id);
        self.made.entry(by).or_default().insert(id);
        group.made = Some(Made { name, by });
        true
    }

    fn put_share(
        &mut self,
        stamp: Stamp,
        (group, name, info_hash): (GroupId, &FileName, InfoHash),
        share: &Share,
    ) -> bool {
        let slot = &mut offer(&mut self.groups, group, name, info_hash).share;
        let old = slot.as_ref().map_or(0, |old| old.value.info.len());
        let fact = |share| Fact::Share {
            group,
            name: name.clone(),
            info_hash,
            share,
        };
        let taken = put(&mut self.tally, slot, stamp, share.clone(), fact);
        if taken {
            self.info_bytes = self.info_bytes - old + share.info.len();
        }
        taken
    }
}

fn offer<'a>(
    groups: &'a mut BTreeMap<GroupId, Group>,
    group: GroupId,
    name: &FileName,
    info_hash: InfoHash,
) -> &'a mut Offer {
    let group = groups.entry(group).or_default();
    let names = group.names.entry(info_hash).or_default();
    if !names.contains(name) {
        names.insert(name.clone());
    }
    let offers = group.files.entry(name.clone()).or_default();
    offers.entry(info_hash).or_default()
}

fn put<T: Ord + Clone>(
    tally: &mut Tally,
    slot: &mut Option<Latest<T>>,
    stamp: Stamp,
    value: T,
    fact: impl Fn(T) -> Fact,
) -> bool {
    let entry = |latest: &Latest<T>| Entry {
        stamp: latest.stamp,
        fact: fact(latest.value.clone()),
    };
    let new = Latest { stamp, value };
    match slot {
        Some(old) => {
            let before = old.clone();
            if !old.merge(new) {
                return false;
            }
            tally.digest.toggle(&entry(&before));
            tally.digest.toggle(&entry(old));
        }
        None => {
            tally.count += 1;
            tally.digest.toggle(&entry(&new));
            *slot = Some(new);
        }
    }
    true
}

fn put_in<T: Ord + Clone>(
    tally: &mut Tally,
    slots: &mut BTreeMap<UserId, Latest<T>>,
    user: UserId,
    stamp: Stamp,
    value: T,
    fact: impl Fn(T) -> Fact,
) -> bool {
    let mut slot = slots.remove(&user);
    let taken = put(tally, &mut slot, stamp, value, fact);
    slots.extend(slot.map(|latest| (user, latest)));
    taken
}

fn forget<N: std::hash::Hash + Eq, I: Ord>(names: &mut HashMap<N, BTreeSet<I>>, name: &N, id: I) {
    if let Some(ids) = names.get_mut(name) {
        ids.remove(&id);
        if ids.is_empty() {
            names.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use crate::registry::fact::Membership;

    fn stamp(time: u64) -> Stamp {
        Stamp { time, tracker: 1 }
    }

    /// Few of everything, so that facts meet.
    fn facts() -> impl Strategy<Value = Vec<Entry>> {
        let fact = (0u8..6, 0u64..3, 0u64..3, 0u8..3, 0u8..4, 1u64..30).prop_map(
            |(kind, user, group, file, value, time)| {
                let (id, group) = (UserId(stamp(user)), GroupId(stamp(group)));
                let name: FileName = format!("f{}", file % 2).parse().unwrap();
                let info_hash = InfoHash([file; 20]);
                let mut stamp = Stamp {
                    time,
                    tracker: u16::from(value),
                };
                let fact = match kind {
                    0 => {
                        stamp = id.0;
                        let name = format!("u{}", value % 2).parse().unwrap();
                        Fact::User { id, name }
                    }
                    1 => Fact::Password {
                        user: id,
                        hash: value.to_string(),
                    },
                    2 => {
                        stamp = group.0;
                        Fact::Group {
                            id: group,
                            name: ["g", "G", "h", "H"][usize::from(value)].parse().unwrap(),
                            by: id,
                        }
                    }
                    3 => Fact::Member {
                        group,
                        user: id,
                        membership: [
                            Membership::Requested,
                            Membership::Member,
                            Membership::Left { joined: stamp },
                            Membership::Rejected,
                        ][usize::from(value)],
                    },
                    4 => Fact::Share {
                        group,
                        name,
                        info_hash,
                        share: Share {
                            size: value.into(),
                            info: vec![0; usize::from(value)].into(),
                            by: id,
                        },
                    },
                    _ => Fact::Holder {
                        group,
                        name,
                        info_hash,
                        user: id,
                        holds: value % 2 == 0,
                    },
                };
                Entry { stamp, fact }
            },
        );
        proptest::collection::vec(fact, 0..40)
    }

    fn all(entries: &[Entry]) -> Facts {
        let mut facts = Facts::default();
        take(&mut facts, entries);
        facts
    }

    fn take(facts: &mut Facts, entries: &[Entry]) {
        for entry in entries {
            facts.apply(entry);
        }
    }

    proptest! {
        #[test]
        fn any_order_is_the_same_registry(
            (entries, shuffled) in facts().prop_flat_map(|f| (Just(f.clone()), Just(f).prop_shuffle())),
        ) {
            prop_assert_eq!(all(&entries), all(&shuffled));
        }

        #[test]
        fn repetition_changes_nothing(entries in facts(), again in facts()) {
            let once = all(&[entries.clone(), again.clone()].concat());
            let twice = [entries.clone(), again.clone(), entries.clone(), again.clone()].concat();
            prop_assert_eq!(&all(&twice), &once);
            let mut facts = once.clone();
            for entry in entries.iter().chain(&again) {
                prop_assert!(!facts.apply(entry), "known: {entry:?}");
            }
        }

        #[test]
        fn groups_of_trackers_may_merge_in_any_order(a in facts(), b in facts(), c in facts()) {
            let left = all(&[a.clone(), b.clone(), c.clone()].concat());
            let right = all(&[c, a, b].concat());
            prop_assert_eq!(left, right);
        }

        /// What two trackers took in on both sides of a split, each in its order, and then told
        /// each other: what is living only, and some of it twice.
        #[test]
        fn a_split_heals(
            common in facts(), left in facts(), right in facts(),
        ) {
            let (mut a, mut b) = (all(&[common.clone(), left.clone()].concat()), all(&common));
            take(&mut b, &right);
            let is_living = |facts: &Facts, entry: &Entry| {
                let mut without = facts.clone();
                !without.apply(entry)
            };
            let told: Vec<Entry> = left.iter().filter(|entry| is_living(&a, entry)).cloned().collect();
            let back: Vec<Entry> = right.iter().filter(|entry| is_living(&b, entry)).cloned().collect();
            take(&mut b, &told);
            take(&mut b, &told);
            take(&mut a, &back);
            take(&mut a, &common);
            prop_assert_eq!(a.digest(), b.digest());
            (a.latest, b.latest) = (None, None);
            prop_assert_eq!(&a, &b);
            let one = all(&[right, left, common].concat());
            prop_assert_eq!(one.digest(), a.digest());
        }

        /// Nobody is lost: each has a name of its own, by which it is found.
        #[test]
        fn every_user_and_group_has_a_name(entries in facts()) {
            let facts = all(&entries);
            let mut names = BTreeSet::new();
            for id in facts.user_ids() {
                let Some(name) = facts.user_name(id) else { continue };
                prop_assert_eq!(facts.user_named(name), Some(id));
                prop_assert!(names.insert(name.folded()));
            }
            for (id, group) in &facts.groups {
                let Some(name) = facts.group_name(*id) else { continue };
                prop_assert!(group.is_living());
                prop_assert_eq!(facts.group_named(&name).map(|(id, _)| id), Some(*id));
            }
        }

        #[test]
        fn what_is_counted_is_there(entries in facts()) {
            let facts = all(&entries);
            let bytes: usize = facts.groups.values().flat_map(Group::offers)
                .filter_map(|(_, _, offer)| offer.share.as_ref())
                .map(|share| share.value.info.len()).sum();
            prop_assert_eq!(facts.info_bytes(), bytes);
            for (name, id, group) in &facts.groups() {
                prop_assert!(group.is_living());
                prop_assert_eq!(facts.group_named(name).map(|(id, _)| id), Some(*id));
                prop_assert!(group.owner().is_some_and(|owner| group.is_member(owner)));
            }
        }
    }
}
