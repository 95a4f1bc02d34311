//! The rules of `tests/torture.rs`, and nothing else: a pure function of what was answered and
//! what is there.

use std::collections::{BTreeMap, BTreeSet};

use mini_bittorrent::control::stamp::Stamp;

use super::history::{Answer, Attempt, Millis, Operation, Wish, base};
use super::ledger::{Ledger, millis};

/// Who was answered as late as this may have been answered before all trackers knew: one that
/// takes a second counts as unreachable.
const SLOW: Millis = 900;

pub struct Evidence<'a> {
    pub history: &'a [Operation],
    /// When every tracker was in sync with every other one.
    pub calm: &'a [(Millis, Millis)],
    /// What each tracker says in the end.
    pub seen: &'a [Seen],
    /// The password of each user: one that the user's hash was made of.
    pub passwords: &'a BTreeMap<Stamp, String>,
}

/// What one tracker says.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub tracker: usize,
    pub digest: String,
    pub ledger: Ledger,
    /// Who has asked for the lists.
    pub asker: Option<Stamp>,
    /// `<name> <owner> <members> <standing>`
    pub groups: BTreeSet<String>,
    pub members: BTreeMap<String, Vec<String>>,
    /// Info hashes.
    pub files: BTreeMap<String, BTreeSet<String>>,
    /// User, password, and whether they were right.
    pub logins: Vec<(String, String, bool)>,
}

#[derive(Debug, Default)]
pub struct Verdict {
    /// Acknowledged changes that were looked for.
    pub verified: usize,
    /// Those of them that a later change has replaced.
    pub overtaken: usize,
    /// Creations that were done on both sides of a fault.
    pub twice: usize,
    /// Requests that two trackers have said `OK` to.
    pub repeated: usize,
    /// Requests that were sent again while all trackers were in sync.
    pub in_calm: usize,
    /// Names that were taken more than once.
    pub contested: usize,
    pub faults: Vec<Fault>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// (a) to (e), as in `tests/torture.rs`.
    pub rule: char,
    pub says: String,
    /// The group and the user: what the timeline is searched for.
    pub group: String,
    pub user: String,
}

pub fn check(evidence: &Evidence<'_>) -> Verdict {
    let Some(first) = evidence.seen.first() else {
        return Verdict::default();
    };
    let mut checker = Checker {
        evidence,
        ledger: &first.ledger,
        verdict: Verdict::default(),
    };
    checker.all_are_equal();
    checker.users();
    checker.groups();
    checker.passwords();
    checker.members();
    checker.holders();
    checker.names();
    checker.repeated();
    let mut verdict = checker.verdict;
    let done = evidence.history.iter().filter(|one| one.is_acknowledged());
    verdict.verified = done.count();
    verdict
}

struct Checker<'a> {
    evidence: &'a Evidence<'a>,
    ledger: &'a Ledger,
    verdict: Verdict,
}

/// What the ledger says of one key: the value, and since when.
struct Row<'a> {
    value: &'a str,
    at: Millis,
}

/// What somebody wanted to write there.
struct Write<'a> {
    operation: &'a Operation,
    value: &'a str,
    /// Nothing is written if the value is there already.
    only_if_other: bool,
    /// It writes there only in some cases: it cannot be missing.
    perhaps: bool,
}

fn write<'a>(operation: &'a Operation, value: &'a str) -> Write<'a> {
    Write {
        operation,
        value,
        only_if_other: false,
        perhaps: false,
    }
}

impl<'a> Checker<'a> {
    fn fault(&mut self, rule: char, group: &str, user: &str, says: String) {
        self.verdict.faults.push(Fault {
            rule,
            says,
            group: group.into(),
            user: user.into(),
        });
    }

    /// (c)
    fn all_are_equal(&mut self) {
        for other in &self.evidence.seen[1..] {
            let first = &self.evidence.seen[0];
            let (one, two) = (first.tracker, other.tracker);
            if first.digest != other.digest {
                let says = format!(
                    "the digest of tracker {one} is {}, that of tracker {two} is {}",
                    first.digest, other.digest
                );
                self.fault('c', "", "", says);
            }
            if first.ledger != other.ledger {
                let says = format!("the databases of trackers {one} and {two} have other facts");
                self.fault('c', "", "", says);
            }
        }
    }

    fn users(&mut self) {
        let rows = self.ledger.users.iter();
        let rows = rows.map(|(id, name)| ((name.clone(), String::new()), millis(*id)));
        let wishes = |operation: &Operation| match &operation.wish {
            Wish::CreateUser { name, .. } => Some((name.clone(), String::new())),
            _ => None,
        };
        self.creations(rows.collect(), wishes);
    }

    fn groups(&mut self) {
        let rows = self.ledger.groups.iter();
        let rows = rows.map(|(id, (name, by))| {
            let maker = self.ledger.user(*by).to_string();
            ((name.clone(), maker), millis(*id))
        });
        let wishes = |operation: &Operation| match &operation.wish {
            Wish::CreateGroup { group } => Some((group.clone(), operation.by.clone())),
            _ => None,
        };
        self.creations(rows.collect(), wishes);
    }

    /// (a), (b) and (e) for what is made and never taken back. A name and a maker are the key.
    fn creations(
        &mut self,
        rows: Vec<((String, String), Millis)>,
        key: impl Fn(&Operation) -> Option<(String, String)>,
    ) {
        let mut made: BTreeMap<(String, String), Vec<Millis>> = BTreeMap::new();
        for (key, at) in rows {
            made.entry(key).or_default().push(at);
        }
        let mut wanted: BTreeMap<(String, String), Vec<&Operation>> = BTreeMap::new();
        for operation in self.evidence.history {
            if let Some(key) = key(operation) {
                wanted.entry(key).or_default().push(operation);
            }
        }
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        for both in made.keys().chain(wanted.keys()).collect::<BTreeSet<_>>() {
            let (name, maker) = both;
            let rows = made.get(both).map_or(&[][..], Vec::as_slice);
            let wishes = wanted.get(both).map_or(&[][..], Vec::as_slice);
            *names.entry(name.clone()).or_default() += rows.len();
            for at in rows {
                if !wishes.iter().any(|wish| wish.covers(*at)) {
                    let says = format!("{name} was made at {at}: {}", whose(wishes, *at));
                    self.fault('b', name, maker, says);
                }
            }
            let done = wishes.iter().filter(|wish| wish.is_acknowledged());
            let done: Vec<_> = done.collect();
            for wish in &done {
                if !rows.iter().any(|at| wish.covers(*at)) {
                    self.fault('a', name, maker, format!("lost: {wish} ({})", wish.id));
                }
            }
            let possible = wishes.iter().map(|wish| self.may_apply(wish)).sum();
            let asked = wishes.iter().filter(|wish| !wish.is_refused()).count();
            let count = rows.len();
            if count < done.len() {
                let says = format!("{name}: {} creations are OK, {count} are there", done.len());
                self.fault('a', name, maker, says);
            }
            if count > possible && possible > 0 {
                let says = format!("{name} was made {count} times, at most {possible} were asked");
                self.fault('e', name, maker, says);
            }
            self.verdict.twice += count.saturating_sub(asked);
        }
        self.verdict.contested += names.values().filter(|count| **count > 1).count();
    }

    /// How often it can have been done. A tracker that had heard of the answer does nothing; in
    /// calm every tracker has.
    fn may_apply(&self, operation: &Operation) -> usize {
        let possible = operation.attempts.iter().filter(|one| one.span().is_some());
        match self.is_calm(operation) {
            true => 1,
            false => possible.count(),
        }
    }

    /// The first attempt was OK, and nothing was wrong until the last one was answered.
    fn is_calm(&self, operation: &Operation) -> bool {
        let ended = operation.attempts.iter().map(|one| one.ended).max();
        let (from, to) = (operation.first(), ended.unwrap_or(0));
        let is_quick = |one: &Attempt| one.ended - one.sent < SLOW;
        let is_answered = |one: &Attempt| !matches!(one.answer, Answer::Unknown(_));
        let covers = |span: &(Millis, Millis)| span.0 <= from && to <= span.1;
        let mut attempts = operation.attempts.iter();
        operation.attempts.first().is_some_and(Attempt::is_ok)
            && attempts.all(|one| is_quick(one) && is_answered(one))
            && self.evidence.calm.iter().any(covers)
    }

    fn passwords(&mut self) {
        let mut rows: BTreeMap<&str, Vec<Row<'_>>> = BTreeMap::new();
        for (id, (stamp, _)) in &self.ledger.passwords {
            let value = self.evidence.passwords.get(id).map_or("", String::as_str);
            let at = millis(*stamp);
            let row = Row { value, at };
            rows.entry(self.ledger.user(*id)).or_default().push(row);
        }
        let mut writes: BTreeMap<&str, Vec<Write<'_>>> = BTreeMap::new();
        for operation in self.evidence.history {
            if let Wish::CreateUser { password, .. } | Wish::Passwd { password } = &operation.wish {
                let key = operation.whom();
                writes
                    .entry(key)
                    .or_default()
                    .push(write(operation, password));
            }
        }
        for user in keys(&rows, &writes) {
            self.register(("", user), "password", rows.get(user), writes.get(user));
        }
    }

    fn members(&mut self) {
        let ledger = self.ledger;
        let mut rows: BTreeMap<(&str, &str), Vec<Row<'_>>> = BTreeMap::new();
        for ((group, user), (stamp, standing)) in &ledger.members {
            let key = (ledger.group(*group), ledger.user(*user));
            let row = Row {
                value: standing,
                at: millis(*stamp),
            };
            rows.entry(key).or_default().push(row);
        }
        let mut writes: BTreeMap<(&str, &str), Vec<Write<'_>>> = BTreeMap::new();
        for operation in self.evidence.history {
            let value = match operation.wish {
                Wish::CreateGroup { .. } | Wish::Accept { .. } => "member",
                Wish::Join { .. } => "requested",
                Wish::Leave { .. } => "left",
                Wish::Reject { .. } => "rejected",
                _ => continue,
            };
            let key = (operation.group().unwrap_or(""), operation.whom());
            writes.entry(key).or_default().push(write(operation, value));
        }
        for key in keys(&rows, &writes) {
            self.register(key, "standing", rows.get(&key), writes.get(&key));
        }
    }

    fn holders(&mut self) {
        let ledger = self.ledger;
        let mut rows: BTreeMap<(&str, &str), Vec<Row<'_>>> = BTreeMap::new();
        // Each torrent has its group's id in it, so an info hash is a key.
        let mut groups: BTreeMap<&str, &str> = BTreeMap::new();
        for (((group, _, hash), user), (stamp, holds)) in &ledger.holders {
            let row = Row {
                value: if *holds { "holds" } else { "does not hold" },
                at: millis(*stamp),
            };
            groups.insert(hash, ledger.group(*group));
            rows.entry((hash, ledger.user(*user)))
                .or_default()
                .push(row);
        }
        let mut writes: BTreeMap<(&str, &str), Vec<Write<'_>>> = BTreeMap::new();
        let mut leaves: BTreeMap<(&str, &str), Vec<&Operation>> = BTreeMap::new();
        for operation in self.evidence.history {
            let by = operation.by.as_str();
            let (file, value) = match &operation.wish {
                Wish::Upload(file) => (file, "holds"),
                Wish::Stop(file) => (file, "does not hold"),
                Wish::Leave { group } => {
                    leaves.entry((base(group), by)).or_default().push(operation);
                    continue;
                }
                _ => continue,
            };
            groups.insert(&file.info_hash, base(&file.group));
            let write = Write {
                only_if_other: value == "holds",
                ..write(operation, value)
            };
            writes.entry((&file.info_hash, by)).or_default().push(write);
        }
        for key in keys(&rows, &writes) {
            let group = groups.get(key.0).copied().unwrap_or("");
            let left = leaves.get(&(group, key.1)).into_iter().flatten();
            let left = left.map(|operation| Write {
                perhaps: true,
                ..write(operation, "does not hold")
            });
            let mut writes = writes.remove(&key).unwrap_or_default();
            writes.extend(left);
            let what = format!("torrent {}", key.0);
            self.register((group, key.1), &what, rows.get(&key), Some(&writes));
        }
        self.shares();
    }

    /// A torrent that was offered is there.
    fn shares(&mut self) {
        let ledger = self.ledger;
        let there: BTreeSet<&str> = ledger.shares.keys().map(|key| key.2.as_str()).collect();
        let mut offers: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
        for operation in self.evidence.history {
            let Wish::Upload(file) = &operation.wish else {
                continue;
            };
            let hash = file.info_hash.as_str();
            offers.entry(hash).or_default().push(operation);
            if operation.is_acknowledged() && !there.contains(hash) {
                let says = format!("lost: {operation} ({})", operation.id);
                self.fault('a', base(&file.group), &operation.by, says);
            }
        }
        for ((group, name, hash), (stamp, by)) in &ledger.shares {
            let (at, by) = (millis(*stamp), ledger.user(*by));
            let offers = offers.get(hash.as_str()).map_or(&[][..], Vec::as_slice);
            if !offers.iter().any(|one| one.by == by && one.covers(at)) {
                let says = format!("{name} was shared by {by} at {at}: {}", whose(offers, at));
                self.fault('b', ledger.group(*group), by, says);
            }
        }
    }

    /// (a) and (b) for what is written again and again, and of which the latest counts. There may
    /// be several rows: of groups, or users, that have taken the same name.
    fn register(
        &mut self,
        (group, user): (&str, &str),
        what: &str,
        rows: Option<&Vec<Row<'_>>>,
        writes: Option<&Vec<Write<'_>>>,
    ) {
        let rows = rows.map_or(&[][..], Vec::as_slice);
        let writes = writes.map_or(&[][..], Vec::as_slice);
        let latest = rows.iter().max_by_key(|row| row.at);
        for row in rows {
            let of_it = writes.iter().filter(|write| write.value == row.value);
            let of_it: Vec<&Operation> = of_it.map(|write| write.operation).collect();
            if !of_it.iter().any(|wish| wish.covers(row.at)) {
                let (value, at) = (row.value, row.at);
                let why = whose(&of_it, at);
                let says = format!("{what} of {user} in {group}: `{value}` since {at}: {why}");
                self.fault('b', group, user, says);
            }
        }
        for write in writes {
            let wish = write.operation;
            if !wish.is_acknowledged() || write.perhaps {
                continue;
            }
            let is_later = latest.is_some_and(|row| row.at.saturating_add(1) >= wish.first());
            let is_so = latest.is_some_and(|row| row.value == write.value);
            let is_kept = is_later || (write.only_if_other && is_so);
            if !is_kept {
                let now = latest.map_or("nothing".into(), |row| {
                    format!("`{}` since {}", row.value, row.at)
                });
                let id = &wish.id;
                let says = format!("lost: {wish} ({id}); the {what} of {user} is {now}");
                self.fault('a', group, user, says);
            } else if !is_so {
                self.verdict.overtaken += 1;
            }
        }
    }

    /// (d): what trackers show is what follows from the facts, in which the earliest creation
    /// has the name.
    fn names(&mut self) {
        let groups = self.ledger.shown_groups();
        let users = self.ledger.shown_users();
        let shown = |id: &Stamp| users.get(id).cloned().unwrap_or_default();
        for seen in self.evidence.seen {
            let mut expected = BTreeSet::new();
            for (id, name) in &groups {
                let members = self.ledger.members_of(*id);
                let standing = match seen.asker {
                    Some(asker) if members.first() == Some(&asker) => "owner",
                    Some(asker) if members.contains(&asker) => "member",
                    Some(asker) => match self.ledger.members.get(&(*id, asker)) {
                        Some((_, standing)) if standing == "requested" => "requested",
                        _ => "none",
                    },
                    None => "none",
                };
                let owner = members.first().map(shown).unwrap_or_default();
                expected.insert(format!("{name} {owner} {} {standing}", members.len()));
                let members: Vec<String> = members.iter().map(shown).collect();
                self.shows(seen, name, "members", seen.members.get(name), &members);
                let files = self.ledger.files_of(*id);
                self.shows(seen, name, "files", seen.files.get(name), &files);
            }
            let differ: Vec<&String> = expected.symmetric_difference(&seen.groups).collect();
            if let Some(line) = differ.first() {
                let name = base(line.split(' ').next().unwrap_or(""));
                let tracker = seen.tracker;
                let says =
                    format!("tracker {tracker} lists other groups: {differ:?} are not in both");
                self.fault('d', name, "", says);
            }
            for (user, password, right) in &seen.logins {
                let of_user = users.iter().find(|(_, name)| *name == user);
                let known = of_user.and_then(|(id, _)| self.evidence.passwords.get(id));
                if (known == Some(password)) != *right {
                    let says = format!(
                        "tracker {}: login {user} {password} is right: {right}; it should be \
                         {known:?}",
                        seen.tracker
                    );
                    self.fault('d', "", base(user), says);
                }
            }
        }
    }

    fn shows<T: PartialEq + std::fmt::Debug>(
        &mut self,
        seen: &Seen,
        group: &str,
        what: &str,
        said: Option<&T>,
        expected: &T,
    ) {
        if let Some(said) = said.filter(|said| *said != expected) {
            let tracker = seen.tracker;
            let says =
                format!("tracker {tracker}: {what} of {group} are {said:?}, not {expected:?}");
            self.fault('d', base(group), "", says);
        }
    }

    /// (e): in calm, who asks again hears the same.
    fn repeated(&mut self) {
        for operation in self.evidence.history {
            let answers = operation.attempts.iter().map(|one| &one.answer);
            // Who has no time says nothing of the matter.
            let is_busy = |answer: &&Answer| matches!(answer, Answer::Refused(said) if said.starts_with("busy"));
            let answers: Vec<&Answer> = answers.filter(|answer| !is_busy(answer)).collect();
            let ok = operation.attempts.iter().filter(|one| one.is_ok()).count();
            self.verdict.repeated += usize::from(ok > 1);
            if self.is_calm(operation) {
                self.verdict.in_calm += usize::from(answers.len() > 1);
                if answers.windows(2).any(|two| two[0] != two[1]) {
                    let says = format!("{operation} ({}) was answered {answers:?}", operation.id);
                    let group = operation.group().unwrap_or("");
                    self.fault('e', group, operation.whom(), says);
                }
            }
        }
    }
}

fn keys<K: Ord + Copy, A, B>(one: &BTreeMap<K, A>, two: &BTreeMap<K, B>) -> BTreeSet<K> {
    one.keys().chain(two.keys()).copied().collect()
}

/// Who can have been meant, for a person.
fn whose(wishes: &[&Operation], at: Millis) -> String {
    let covers = |wish: &&&Operation| {
        let mut attempts = wish.attempts.iter();
        attempts.any(|one| one.sent <= at + 1 && at <= one.ended.saturating_add(1))
    };
    match wishes.iter().find(covers) {
        Some(wish) => format!("a refused change was applied: {wish} ({})", wish.id),
        None => "nobody asked for that then".into(),
    }
}
