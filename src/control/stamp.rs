//! Stamps: the order of facts, and the names of what has no better one.
//!
//! A stamp is the time of a hybrid logical clock (Kulkarni et al., 2014) and the number of the
//! tracker that gave it. A clock gives each stamp once, later ones greater, also when the
//! machine's own clock goes back; so the stamps of one tracker are also the numbers of its facts.

use std::fmt;
use std::str::FromStr;

/// Below this many bits of a stamp's time is a counter, above it milliseconds since 1970.
const COUNTER_BITS: u32 = 16;

/// Ordered by time, then by tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stamp {
    /// Milliseconds since 1970, times 65,536, plus a counter.
    pub time: u64,
    /// The number of the tracker in tracker_info.txt, from 1.
    pub tracker: u16,
}

/// By the stamp of its creation: a user whose name was taken twice is two users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(pub Stamp);

/// By the stamp of its creation: a group that was deleted and created again is another group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub Stamp);

/// Gives stamps.
#[derive(Debug, Clone)]
pub struct Clock {
    tracker: u16,
    last: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not a stamp: a hexadecimal time, `-`, and the number of a tracker")]
pub struct StampError;

impl Clock {
    /// `last` is the time of the greatest stamp that is known of.
    pub fn new(tracker: u16, last: u64) -> Clock {
        Clock { tracker, last }
    }

    /// The next stamp. `unix_ms` is what the machine's clock says, in milliseconds since 1970.
    pub fn stamp(&mut self, unix_ms: u64) -> Stamp {
        self.last = self.last.saturating_add(1).max(unix_ms << COUNTER_BITS);
        Stamp {
            time: self.last,
            tracker: self.tracker,
        }
    }

    /// A stamp of another tracker was seen: ours will be greater.
    pub fn observe(&mut self, stamp: Stamp) {
        self.last = self.last.max(stamp.time);
    }
}

impl Stamp {
    /// When it was given, as far as clocks can be believed: milliseconds since 1970.
    pub fn unix_ms(self) -> u64 {
        self.time >> COUNTER_BITS
    }
}

/// `<time in hexadecimal>-<tracker>`
impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.time, self.tracker)
    }
}

impl FromStr for Stamp {
    type Err = StampError;

    fn from_str(text: &str) -> Result<Stamp, StampError> {
        let (time, tracker) = text.split_once('-').ok_or(StampError)?;
        let plain = |digits: &str| !digits.starts_with('+');
        if !plain(time) || !plain(tracker) {
            return Err(StampError);
        }
        Ok(Stamp {
            time: u64::from_str_radix(time, 16).map_err(|_| StampError)?,
            tracker: tracker.parse().map_err(|_| StampError)?,
        })
    }
}

macro_rules! shown_as_stamp {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = StampError;

            fn from_str(text: &str) -> Result<$name, StampError> {
                text.parse().map($name)
            }
        }
    )*};
}

shown_as_stamp!(UserId GroupId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_only_grow() {
        let mut clock = Clock::new(3, 0);
        let a = clock.stamp(1000);
        let b = clock.stamp(1000);
        let back = clock.stamp(10);
        let far = Stamp {
            time: 5000 << COUNTER_BITS,
            tracker: 1,
        };
        clock.observe(far);
        let c = clock.stamp(1001);
        assert!(a < b && b < back && far < c);
        assert_eq!((a.unix_ms(), c.unix_ms()), (1000, 5000));
    }

    #[test]
    fn a_stamp_is_read_as_it_is_shown() {
        let stamp = Stamp {
            time: 0x0190_abcd_0001,
            tracker: 2,
        };
        assert_eq!(stamp.to_string(), "190abcd0001-2");
        assert_eq!("190abcd0001-2".parse(), Ok(stamp));
        for wrong in [
            "",
            "-",
            "x-1",
            "1-",
            "1-65536",
            "+1-1",
            "1-+1",
            "1-1-1",
            "12345678901234567-1",
        ] {
            assert_eq!(wrong.parse::<Stamp>(), Err(StampError), "{wrong}");
        }
    }
}
