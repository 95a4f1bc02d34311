//! When to ask our tracker for a ticket, a group at a time.
//!
//! A ticket is renewed when half of its life is over: what is left is time for a tracker to come
//! back. Pure: time is an argument. Not here: the asking, and the tickets.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::control::names::GroupName;

/// A tracker that gave no ticket is asked again with doubled pauses, from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Of everybody's groups whose torrents are here.
#[derive(Default)]
pub struct Renewals {
    groups: HashMap<GroupName, Renewal>,
}

struct Renewal {
    due: Instant,
    under_way: bool,
    /// Something has changed meanwhile: the answer may be of before.
    again: bool,
    /// In a row.
    failures: u32,
    trouble: Option<Trouble>,
}

/// Why there was no ticket the last time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The tracker says that we are no member.
    NotMember,
    /// No tracker answers, or not as it should.
    Tracker(String),
}

impl Renewals {
    /// Whether to ask now. It then counts as under way.
    pub fn due(&mut self, now: Instant, group: &GroupName) -> bool {
        let renewal = self.of(now, group);
        let due = !renewal.under_way && renewal.due <= now;
        renewal.under_way |= due;
        due
    }

    /// A ticket has come that lives so long.
    pub fn renewed(&mut self, now: Instant, group: &GroupName, life: Duration) {
        let renewal = self.of(now, group);
        *renewal = Renewal {
            due: if renewal.again { now } else { now + life / 2 },
            under_way: false,
            again: false,
            failures: 0,
            trouble: None,
        };
    }

    pub fn failed(&mut self, now: Instant, group: &GroupName, trouble: Trouble) {
        let renewal = self.of(now, group);
        let pause = FIRST_PAUSE * 2u32.saturating_pow(renewal.failures.min(10));
        *renewal = Renewal {
            due: now + pause.min(LONGEST_PAUSE),
            under_way: false,
            again: false,
            failures: renewal.failures + 1,
            trouble: Some(trouble),
        };
    }

    /// Something has changed: whoever refused may think otherwise now.
    pub fn ask_again(&mut self, now: Instant) {
        for renewal in self.groups.values_mut() {
            renewal.due = now;
            renewal.again = renewal.under_way;
        }
    }

    /// Somebody else is logged in, or nobody.
    pub fn forget(&mut self) {
        self.groups.clear();
    }

    pub fn trouble(&self, group: &GroupName) -> Option<&Trouble> {
        self.groups.get(group)?.trouble.as_ref()
    }

    fn of(&mut self, now: Instant, group: &GroupName) -> &mut Renewal {
        self.groups.entry(group.clone()).or_insert(Renewal {
            due: now,
            under_way: false,
            again: false,
            failures: 0,
            trouble: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_renewed_at_half_of_its_life() {
        let group: GroupName = "cs101".parse().unwrap();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut renewals = Renewals::default();
        assert!(renewals.due(start, &group));
        assert!(!renewals.due(after(1000), &group), "under way");
        renewals.renewed(start, &group, Duration::from_secs(600));
        assert!(!renewals.due(after(299), &group));
        assert!(renewals.due(after(300), &group));
        // What was asked before a change says nothing of it.
        renewals.ask_again(after(300));
        renewals.renewed(after(301), &group, Duration::from_secs(600));
        assert!(renewals.due(after(301), &group));
        renewals.renewed(after(302), &group, Duration::from_secs(600));
        assert!(!renewals.due(after(302), &group));
    }

    #[test]
    fn who_gets_none_asks_again_with_growing_pauses() {
        let group: GroupName = "cs101".parse().unwrap();
        let start = Instant::now();
        let mut now = start;
        let mut renewals = Renewals::default();
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let asked = now;
            assert!(renewals.due(now, &group));
            renewals.failed(now, &group, Trouble::NotMember);
            while !renewals.due(now, &group) {
                now += Duration::from_secs(1);
            }
            renewals.of(now, &group).under_way = false;
            pauses.push((now - asked).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(renewals.trouble(&group), Some(&Trouble::NotMember));
        assert!(renewals.due(now, &group));
        renewals.failed(now, &group, Trouble::NotMember);
        renewals.ask_again(now);
        assert!(renewals.due(now, &group), "something has changed");
        renewals.renewed(now, &group, Duration::from_secs(2));
        assert_eq!(renewals.trouble(&group), None);
    }
}
