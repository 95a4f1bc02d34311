//! Whether a tracker that calls is the one that it says, and reads the same list. Pure.

use crate::control::key::TrackerKey;
use crate::control::sync::{Hello, VERSION};
use crate::control::tracker_info::TrackerAddress;

/// Why a call is not taken. For both sides.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    #[error("tracker {0} speaks version {theirs} of this protocol, we speak {VERSION}", theirs = .1)]
    Version(u16, u32),
    #[error(
        "its tracker_info.txt is another one than that of tracker {0}: make them equal, then \
         type `reload` there"
    )]
    List(u16),
    #[error("tracker {to} was called, but this is tracker {own}")]
    Number { to: u16, own: u16 },
    #[error("there is no other tracker {0} in tracker_info.txt")]
    Unknown(u16),
    #[error("it has not shown the key that tracker_info.txt gives tracker {0}")]
    Key(u16),
    #[error(
        "without keys in tracker_info.txt, trackers speak on one machine only: write the lines \
         that `tracker --key` prints there, or start all trackers with --sync-without-keys (then \
         anybody in the network can change everything)"
    )]
    NoKeys,
}

/// The list of trackers as one of them reads it.
pub struct List {
    /// Our number in it, from 1.
    pub own: u16,
    pub trackers: Vec<TrackerAddress>,
    /// Equal lists have equal hashes.
    pub hash: String,
}

impl List {
    /// The others, with their numbers.
    pub fn others(&self) -> impl Iterator<Item = (u16, &TrackerAddress)> {
        let numbered = (1..).zip(&self.trackers);
        numbered.filter(|(number, _)| *number != self.own)
    }

    /// Whether both of us have keys here.
    pub fn has_keys(&self, number: u16) -> bool {
        self.key(number).is_some() && self.key(self.own).is_some()
    }

    fn key(&self, number: u16) -> Option<TrackerKey> {
        let place = usize::from(number).checked_sub(1)?;
        self.trackers.get(place)?.key
    }

    /// `shown` is the key that the caller has proved to have; `is_near`, whether it comes from this
    /// machine, or may come from anywhere.
    pub fn admit(
        &self,
        hello: &Hello,
        shown: Option<TrackerKey>,
        is_near: bool,
    ) -> Result<(), NotAdmitted> {
        let own = self.own;
        if hello.version != VERSION {
            return Err(NotAdmitted::Version(hello.from, hello.version));
        }
        if hello.list != self.hash {
            return Err(NotAdmitted::List(own));
        }
        if hello.to != own {
            return Err(NotAdmitted::Number { to: hello.to, own });
        }
        if !self.others().any(|(number, _)| number == hello.from) {
            return Err(NotAdmitted::Unknown(hello.from));
        }
        if self.has_keys(hello.from) {
            if shown.is_none() || shown != self.key(hello.from) {
                return Err(NotAdmitted::Key(hello.from));
            }
        } else if !is_near {
            return Err(NotAdmitted::NoKeys);
        }
        Ok(())
    }
}
