//! What can be told to a tracker when it starts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::control::tracker_info::TrackerAddress;
use crate::registry::{change, shares, swarms};

use super::batch_door::Plan;
use super::identity::Identity;

/// Every limit of a tracker. The defaults are for a small machine on a network of strangers.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 lets the system choose.
    pub address: SocketAddr,
    /// Who it is. The program takes it from a file; this one ends with the process.
    pub identity: Arc<Identity>,
    /// Its number in tracker_info.txt, from 1: part of the name of every fact that it makes.
    pub number: u16,
    /// All trackers of tracker_info.txt, itself among them. Empty: it is alone.
    pub trackers: Vec<TrackerAddress>,
    /// Whether trackers without keys in tracker_info.txt may be in sync over a network, where
    /// anybody can pretend to be one of them.
    pub sync_without_keys: bool,
    /// The file with users and groups. `None`: in memory, and gone with the process.
    pub db: Option<PathBuf>,
    /// Seconds for which a ticket is good: so long somebody who has left a group may be served.
    pub ticket_life: u32,
    /// Whether control lines are refused outside of TLS: tracker_info.txt gives our key, so all
    /// of our peers can speak it. HTTP stays open, for clients that know no key; it shows nothing
    /// but what is public.
    pub tls_required: bool,
    /// How many connections there may be at once, each with its thread.
    pub connections: usize,
    /// How many of them from one address: a classroom behind one router is one address.
    pub connections_per_address: usize,
    /// How long after connecting the first byte may take.
    pub first_byte: Duration,
    /// How long a request may take from its first byte to its last.
    pub request: Duration,
    /// How long a control connection may be silent between two requests.
    pub idle: Duration,
    /// How long an HTTP connection may be silent between two requests.
    pub keep_alive: Duration,
    /// How often a blocked thread looks whether it shall stop, if closing its socket does not
    /// wake it. Seconds, because there may be ten thousand of them.
    pub poll: Duration,
    /// Seconds between two announces of a peer. One that is silent for 2.5 times as long is
    /// forgotten.
    pub interval: u32,
    /// How much may be known of swarms. Its `expiry` is made from `interval`.
    pub swarms: swarms::Limits,
    pub shares: shares::Limits,
    /// How much may be kept of users and groups.
    pub groups: change::Limits,
    /// The batch run that it is for, if it is for one.
    pub batch: Option<Plan>,
}

impl Config {
    pub fn new(address: SocketAddr) -> Config {
        Config {
            address,
            identity: Arc::new(Identity::ephemeral()),
            number: 1,
            trackers: Vec::new(),
            sync_without_keys: false,
            db: None,
            ticket_life: 600,
            tls_required: false,
            connections: 12_000,
            connections_per_address: 1024,
            first_byte: Duration::from_secs(10),
            request: Duration::from_secs(30),
            idle: Duration::from_secs(15 * 60),
            keep_alive: Duration::from_secs(60),
            poll: Duration::from_secs(2),
            interval: 120,
            swarms: swarms::Limits::default(),
            shares: shares::Limits::default(),
            groups: change::Limits::default(),
            batch: None,
        }
    }
}
