//! How far a tracker has heard of each other one: of each tracker that makes facts, the time of
//! the last stamp that was taken in.
//!
//! What a tracker knows of an origin is always a beginning without gaps: an origin's facts leave
//! it in the order of their stamps, and whoever passes them on keeps that order. So one number
//! for each origin says what is known and what is lacking.

use std::collections::BTreeMap;

use crate::control::stamp::Stamp;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Versions(BTreeMap<u16, u64>);

impl Versions {
    /// Up to this stamp of its tracker everything is known.
    pub fn see(&mut self, stamp: Stamp) {
        let time = self.0.entry(stamp.tracker).or_default();
        *time = stamp.time.max(*time);
    }

    /// The last time of a tracker; 0 if nothing of it is known.
    pub fn of(&self, tracker: u16) -> u64 {
        self.0.get(&tracker).copied().unwrap_or(0)
    }

    /// Whether the other one knows something that is not known here.
    pub fn lacks(&self, other: &Versions) -> bool {
        other
            .0
            .iter()
            .any(|(tracker, time)| self.of(*tracker) < *time)
    }

    /// Takes over what is greater. True if something was.
    pub fn merge(&mut self, other: &Versions) -> bool {
        let lacked = self.lacks(other);
        other.stamps().for_each(|stamp| self.see(stamp));
        lacked
    }

    /// The trackers of which something is known, each with the last stamp.
    pub fn stamps(&self) -> impl Iterator<Item = Stamp> {
        let stamp = |(&tracker, &time): (&u16, &u64)| Stamp { time, tracker };
        self.0.iter().map(stamp)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Stamp> for Versions {
    fn from_iter<I: IntoIterator<Item = Stamp>>(stamps: I) -> Versions {
        let mut versions = Versions::default();
        stamps.into_iter().for_each(|stamp| versions.see(stamp));
        versions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(text: &str) -> Versions {
        text.split_whitespace()
            .map(|word| word.parse::<Stamp>().unwrap())
            .collect()
    }

    #[test]
    fn each_origin_counts_by_itself() {
        let (mut a, b) = (versions("5-1 7-2"), versions("6-1 6-2"));
        assert!(a.lacks(&b) && b.lacks(&a) && !a.lacks(&a));
        assert!(a.merge(&b) && !a.merge(&b));
        assert_eq!(a, versions("6-1 7-2 3-1"));
        assert!(!a.lacks(&b) && b.lacks(&a));
        assert!(!b.lacks(&Versions::default()) && Versions::default().lacks(&b));
    }
}
