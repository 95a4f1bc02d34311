//! A tracker of tracker_info.txt that is to run here: its line, its files, and what follows for its
//! configuration.
//!
//! In one place, because two programs run trackers: `tracker`, and `peer` with a tracker inside.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;

use crate::control::tracker_info::TrackerAddress;
use crate::tracker::identity::{Identity, IdentityError};
use crate::tracker::{Config, Tracker};

use super::peer_program::read_tracker_info;
use super::peer_shell::ShellError;

/// Which one.
pub struct TrackerChoice {
    pub tracker_info: PathBuf,
    /// From 1.
    pub number: usize,
    /// Where its key and its facts are kept, if not beside tracker_info.txt.
    pub key_file: Option<PathBuf>,
    pub db: Option<PathBuf>,
    /// See [`Config::sync_without_keys`].
    pub sync_without_keys: bool,
}

impl TrackerChoice {
    /// With its files beside tracker_info.txt.
    pub fn new(tracker_info: PathBuf, number: usize) -> TrackerChoice {
        TrackerChoice {
            tracker_info,
            number,
            key_file: None,
            db: None,
            sync_without_keys: false,
        }
    }

    /// How it is to run. Makes its key, if this is its first start.
    pub fn config(&self) -> Result<Config, ShellError> {
        let trackers = read_tracker_info(&self.tracker_info)?;
        let own = self.line(&trackers)?;
        let identity = self.identity()?;
        self.check_key(&own, &identity)?;
        Ok(Config {
            identity: Arc::new(identity),
            // There are no more lines in the file than ports.
            number: u16::try_from(self.number).unwrap_or(u16::MAX),
            trackers,
            sync_without_keys: self.sync_without_keys,
            db: Some(self.beside(self.db.as_ref(), "db")),
            tls_required: own.key.is_some(),
            ..Config::new(self.address(&own)?)
        })
    }

    /// What everybody's tracker_info.txt should say about it.
    pub fn line_with_key(&self) -> Result<String, ShellError> {
        let trackers = read_tracker_info(&self.tracker_info)?;
        Ok(line_with_key(&self.line(&trackers)?, &self.identity()?))
    }

    /// Has the running tracker take up what has changed in tracker_info.txt. Its own line must be
    /// what it was: to move, it must be started anew.
    pub fn reload(&self, tracker: &Tracker) -> Result<String, ShellError> {
        let trackers = read_tracker_info(&self.tracker_info)?;
        let was = self.line(&tracker.state().config.trackers)?;
        if self.line(&trackers)? != was {
            return Err(ShellError::Other(format!(
                "the line of this tracker, number {}, is another one now: it must stay as it was; \
                 to change it, start the tracker anew",
                self.number
            )));
        }
        let count = trackers.len();
        let reloaded = tracker.reload(trackers);
        reloaded.map_err(|error| ShellError::Other(format!("cannot start a thread: {error}")))?;
        Ok(format!(
            "{} names {count} tracker(s). The others must reload it, too.",
            self.tracker_info.display()
        ))
    }

    /// Its line of the file.
    fn line(&self, trackers: &[TrackerAddress]) -> Result<TrackerAddress, ShellError> {
        let (count, number) = (trackers.len(), self.number);
        let own = number.checked_sub(1).and_then(|place| trackers.get(place));
        own.cloned().ok_or_else(|| {
            ShellError::Other(format!(
                "{} names {count} tracker(s); there is no number {number}",
                self.tracker_info.display()
            ))
        })
    }

    /// Where it is reached.
    fn address(&self, own: &TrackerAddress) -> Result<SocketAddr, ShellError> {
        let address = (own.host.as_str(), own.port).to_socket_addrs();
        address
            .ok()
            .and_then(|mut found| found.next())
            .ok_or_else(|| {
                let file = self.tracker_info.display();
                ShellError::Other(format!("{file}: the name {} has no address", own.host))
            })
    }

    fn key_path(&self) -> PathBuf {
        self.beside(self.key_file.as_ref(), "key")
    }

    /// The file that was asked for, or ours beside tracker_info.txt.
    fn beside(&self, named: Option<&PathBuf>, ending: &str) -> PathBuf {
        let ours = || {
            let name = format!("tracker-{}.{ending}", self.number);
            self.tracker_info.with_file_name(name)
        };
        named.cloned().unwrap_or_else(ours)
    }

    /// Who it is: made now, if this is the first start.
    fn identity(&self) -> Result<Identity, ShellError> {
        let identity = Identity::load_or_create(&self.key_path());
        identity.map_err(|error| {
            ShellError::Other(match error {
                IdentityError::Io { .. } => {
                    format!("{error}; `tracker --key-file` names another place for it")
                }
                IdentityError::Damaged { .. } => error.to_string(),
            })
        })
    }

    /// With another tracker's key in the file, no peer would believe it.
    fn check_key(&self, own: &TrackerAddress, identity: &Identity) -> Result<(), ShellError> {
        match own.key {
            Some(key) if key != identity.key() => Err(ShellError::Other(format!(
                "{info} gives tracker {number} the key {key}, but the one in {file} is {ours}: \
                 write the line `{line}` there (everybody's file needs it), or name the file of \
                 the other key with `tracker --key-file`",
                info = self.tracker_info.display(),
                number = self.number,
                file = self.key_path().display(),
                ours = identity.key(),
                line = line_with_key(own, identity),
            ))),
            _ => Ok(()),
        }
    }
}

fn line_with_key(own: &TrackerAddress, identity: &Identity) -> String {
    format!("{own} {}", identity.key())
}
