//! What is to be done after a look at the watched folder.
//!
//! Pure: looks and what is known in, steps out.

use std::collections::BTreeMap;
use std::ffi::OsString;

use crate::control::names::GroupName;
use crate::storage::FileStamp;
use crate::torrent::id::InfoHash;

use super::look::Look;

/// How many torrents of the folder are shared, and so how much trackers are told at once: they
/// keep 5,000 shares in all.
pub const MAX_SHARED: usize = 1_000;

/// The longest rest that is asked for is 2 to the power of this, in looks.
const LONGEST_REST: u32 = 6;

/// What has become of something in the folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    /// What it looked like then.
    pub files: Vec<FileStamp>,
    pub fate: Fate,
    /// How often it has changed after it had been at rest. What changes all the time has to rest
    /// longer.
    pub changes: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// By the job with this number.
    Hashing(u64),
    Shared(InfoHash),
    /// It has changed, and is to be shared when it rests.
    Restless,
    /// The user shares it no longer.
    Unshared,
    /// The user shares it, or some of it, with this group.
    OfGroup(GroupName),
    /// It cannot be shared; in words.
    LeftAlone(String),
    /// Others share other content under its name: to be shared once they no longer do.
    Taken,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// What is known of it is no longer true: it has changed, or is gone.
    Withdraw(OsString),
    Share(OsString),
}

/// What has changed between two looks ([`Seen::calm`](super::look::Seen::calm) tells what has
/// not) and is to be followed: first what is withdrawn, then what is shared.
pub fn changes(look: &Look, known: &BTreeMap<OsString, Known>) -> Vec<Step> {
    let is_as_known = |(name, known): &(&OsString, &Known)| match look.entries.get(*name) {
        Some(seen) => seen.files == known.files,
        // It may come back as it was, on a disk that was away.
        None => known.fate == Fate::Unshared,
    };
    let old = known.iter().filter(|entry| !is_as_known(entry));
    let mut steps: Vec<Step> = old.map(|(name, _)| Step::Withdraw(name.clone())).collect();
    let is_shared = |known: &Known| matches!(known.fate, Fate::Hashing(_) | Fate::Shared(_));
    let shared = known
        .iter()
        .filter(|entry| is_as_known(entry) && is_shared(entry.1));
    let room = MAX_SHARED.saturating_sub(shared.count());
    let rests = look.entries.iter().filter(|(name, seen)| {
        let rest = match known.get(*name) {
            None => 1,
            Some(known) if known.files != seen.files => return false,
            Some(known) if known.fate == Fate::Restless => 1 << known.changes.min(LONGEST_REST),
            Some(_) => return false,
        };
        seen.calm >= rest
    });
    steps.extend(rests.take(room).map(|(name, _)| Step::Share(name.clone())));
    steps
}

#[cfg(test)]
mod tests {
    use super::super::look::Seen;
    use super::*;

    fn stamp(length: u64) -> Vec<FileStamp> {
        vec![FileStamp {
            path: "x".into(),
            length,
            modified: 1,
        }]
    }

    /// `a5` is a file `a` of 5 bytes.
    fn look(files: &str) -> Look {
        let entry = |word: &str| {
            let (name, length) = word.split_at(1);
            let files = stamp(length.parse().unwrap());
            (name.into(), Seen { files, calm: 0 })
        };
        Look {
            entries: files.split_whitespace().map(entry).collect(),
            more: false,
        }
    }

    fn known(files: &str, fate: &Fate, changes: u32) -> BTreeMap<OsString, Known> {
        let known = |(name, seen): (OsString, Seen)| {
            let (files, fate) = (seen.files, fate.clone());
            let known = Known {
                files,
                fate,
                changes,
            };
            (name, known)
        };
        look(files).entries.into_iter().map(known).collect()
    }

    /// `+a` is shared, `-a` is withdrawn.
    fn check(old: &str, new: &str, known: &BTreeMap<OsString, Known>, expect: &str) {
        let steps = changes(&look(new).after(&look(old)), known);
        let word = |step: &Step| match step {
            Step::Share(name) => format!("+{}", name.display()),
            Step::Withdraw(name) => format!("-{}", name.display()),
        };
        let steps: Vec<String> = steps.iter().map(word).collect();
        assert_eq!(steps.join(" "), expect, "{old} | {new} | {known:?}");
    }

    const SHARED: Fate = Fate::Shared(InfoHash([1; 20]));

    #[test]
    fn what_rests_is_shared_and_what_changes_or_goes_is_withdrawn() {
        let nothing = BTreeMap::new();
        check("", "a1 b2", &nothing, "");
        check("a1 b1", "a1 b2", &nothing, "+a");
        check("a1 b2", "", &nothing, "");
        let shared = known("a1 b2", &SHARED, 0);
        check("a1 b2", "a1 b2", &shared, "");
        check("a1 b2", "a1 b2 c3", &shared, "");
        check("a1 b2 c3", "a1 b2 c3", &shared, "+c");
        check("a1 b2", "b2", &shared, "-a");
        check("a1 b2", "a1 b3", &shared, "-b");
        // Whoever is told to withdraw it forgets it, and it is shared after the next look.
        check("a1 b3", "a1 b3", &shared, "-b");
        check("a1 b3", "a1 b3", &known("a1", &SHARED, 0), "+b");
    }

    #[test]
    fn what_is_not_to_be_shared_is_not_until_it_changes() {
        for fate in [
            Fate::Unshared,
            Fate::OfGroup("cs101".parse().unwrap()),
            Fate::LeftAlone("no name".into()),
            Fate::Taken,
            Fate::Hashing(1),
        ] {
            let known = known("a1", &fate, 0);
            check("a1", "a1", &known, "");
            check("a1", "a2", &known, "-a");
            let gone = if fate == Fate::Unshared { "" } else { "-a" };
            check("a1", "", &known, gone);
        }
    }

    #[test]
    fn what_changes_all_the_time_has_to_rest_longer() {
        let restless = known("a1", &Fate::Restless, 3);
        let mut seen = look("a1");
        for calm in 0..20 {
            seen = look("a1").after(&seen);
            let shared = !changes(&seen, &restless).is_empty();
            assert_eq!(shared, calm + 1 >= 8, "{calm}");
        }
    }

    #[test]
    fn no_more_is_shared_than_trackers_can_bear() {
        let names = |n: usize| {
            let word = |i| char::from_u32(0x4e00 + i as u32).map(|c| (c.to_string(), 1));
            let entry = |(name, length): (String, u64)| {
                let files = stamp(length);
                (OsString::from(name), Seen { files, calm: 9 })
            };
            let entries = (0..n).filter_map(word).map(entry).collect();
            Look {
                entries,
                more: false,
            }
        };
        let all = names(MAX_SHARED + 50);
        assert_eq!(changes(&all, &BTreeMap::new()).len(), MAX_SHARED);
        let shared = |(name, seen): (OsString, Seen)| {
            let known = Known {
                files: seen.files,
                fate: SHARED,
                changes: 0,
            };
            (name, known)
        };
        let known = |n| names(n).entries.into_iter().map(shared).collect();
        assert_eq!(changes(&all, &known(MAX_SHARED)).len(), 0);
        assert_eq!(changes(&all, &known(MAX_SHARED - 3)).len(), 3);
        // Those that are shared stay so, whatever else comes.
        assert_eq!(changes(&names(10), &known(11)).len(), 1);
    }
}
