//! One other tracker, as this one knows it.

use std::time::Instant;

use crate::control::key::TrackerKey;
use crate::control::stamp::Stamp;
use crate::control::sync::Standing;
use crate::control::tracker_info::TrackerAddress;
use crate::registry::batch::Batch;
use crate::registry::versions::Versions;
use crate::runtime::stream::Stream;

use super::soft::Soft;

pub struct Neighbour {
    pub address: TrackerAddress,
    /// From the list, or else as it has said.
    pub key: Option<TrackerKey>,
    pub link: Link,
    /// Why it is down or refused.
    pub why: String,
    pub since: Instant,
    /// Ends the link.
    pub stream: Option<Stream>,
    /// It was tried to call it.
    pub is_tried: bool,
    /// It has called us: it is there.
    pub knocks: bool,
    /// It shall be spoken to at once: something about it has changed.
    pub is_nudged: bool,
    /// Its open connections to us.
    pub calls: usize,
    /// On one of them it has told us all that it knew: from then on, it says `OK` to nothing that
    /// we were not told.
    pub has_told: bool,
    /// When it last called, told us something, or hung up.
    pub heard: Instant,
    /// Up to which batch it was told, and up to which it has acknowledged.
    pub sent: u64,
    pub acked: u64,
    /// Since when it lacks something.
    pub owed: Option<Instant>,
    /// What it has for certain.
    pub theirs: Versions,
    pub standing: Standing,
    pub soft: Soft,
}

/// How we stand to a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    Down,
    Refused,
    /// It is being told what it lacks.
    Behind,
    InSync,
}

impl Neighbour {
    pub fn new(address: TrackerAddress) -> Neighbour {
        Neighbour {
            key: address.key,
            address,
            link: Link::Down,
            why: String::new(),
            since: Instant::now(),
            stream: None,
            is_tried: false,
            knocks: false,
            is_nudged: false,
            calls: 0,
            has_told: false,
            heard: Instant::now(),
            sent: 0,
            acked: 0,
            owed: None,
            theirs: Versions::default(),
            standing: Standing::default(),
            soft: Soft::default(),
        }
    }

    pub fn is_connected(&self) -> bool {
        matches!(self.link, Link::Behind | Link::InSync)
    }

    /// Closing is not waiting: it may happen under the lock.
    pub fn cut(&self) {
        if let Some(stream) = &self.stream {
            stream.close();
        }
    }

    pub fn fail(&mut self, link: Link, why: &str) {
        self.cut();
        self.stream = None;
        self.link = link;
        self.why = why.into();
        self.is_tried = true;
        self.soft = Soft::default();
    }

    /// What of a batch the neighbour is not known to have.
    pub fn add_unknown(&self, batch: &Batch, unknown: &mut Batch) {
        let is_new = |stamp: Stamp| self.theirs.of(stamp.tracker) < stamp.time;
        let entries = batch.entries.iter().filter(|entry| is_new(entry.stamp));
        unknown.entries.extend(entries.cloned());
        let answered = batch.answered.iter().filter(|one| is_new(one.stamp));
        unknown.answered.extend(answered);
        let versions = batch.versions.stamps().filter(|stamp| is_new(*stamp));
        versions.for_each(|stamp| unknown.versions.see(stamp));
    }
}
