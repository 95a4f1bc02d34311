//! What is passed on to a neighbour but kept nowhere: announces and public shares.
//!
//! For each peer and each share only the last word waits. Pure: a value.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::announce::request::Event;
use crate::control::names::FileName;
use crate::control::sync::{ShareLine, SwarmLine};
use crate::torrent::id::InfoHash;

/// Announces and shares that may wait for a link. More are dropped: they are announced again.
const MAX_SWARMS: usize = 10_000;
const MAX_SHARES: usize = 1_000;
/// About how many bytes of shares are one message.
const SHARE_BYTES: usize = 1024 * 1024;

#[derive(Default)]
pub struct Soft {
    pub swarms: HashMap<(bool, InfoHash, SocketAddr), SwarmLine>,
    pub shares: HashMap<FileName, ShareLine>,
}

impl Soft {
    /// A peer has announced itself.
    pub fn put_swarm(&mut self, line: &SwarmLine) {
        let key = (line.public, line.info_hash, line.address);
        let old = self.swarms.get(&key).map(|old| old.event);
        if self.swarms.len() >= MAX_SWARMS && old.is_none() {
            return;
        }
        // That a download was completed is told once, and counted.
        let keeps = old == Some(Event::Completed) && line.event == Event::None;
        let event = if keeps { Event::Completed } else { line.event };
        let line = SwarmLine {
            event,
            ..line.clone()
        };
        self.swarms.insert(key, line);
    }

    /// A public share was made, or has ended.
    pub fn put_share(&mut self, line: &ShareLine) {
        if self.shares.len() < MAX_SHARES || self.shares.contains_key(&line.name) {
            self.shares.insert(line.name.clone(), line.clone());
        }
    }

    /// As much as is a message of each kind, if there is anything.
    pub fn take(&mut self) -> Option<Soft> {
        if self.swarms.is_empty() && self.shares.is_empty() {
            return None;
        }
        let mut taken = Soft {
            swarms: std::mem::take(&mut self.swarms),
            shares: HashMap::new(),
        };
        let mut bytes = 0;
        while bytes < SHARE_BYTES
            && let Some(name) = self.shares.keys().next().cloned()
            && let Some(line) = self.shares.remove(&name)
        {
            bytes += line.offer.as_ref().map_or(0, |offer| offer.info.len());
            taken.shares.insert(name, line);
        }
        Some(taken)
    }
}
