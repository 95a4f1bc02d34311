//! What complete files looked like, to notice that somebody changed them.

use std::fs::Metadata;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::changed;
use crate::storage::StorageError;
use crate::storage::disk::Stamp;

/// How often the path of a file is looked at, beside the open file itself.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// One stamp a file, and when its path was last found as it should be.
pub struct Seal {
    since: Instant,
    files: Vec<SealedFile>,
}

struct SealedFile {
    stamp: Stamp,
    /// In milliseconds after `since`.
    looked: AtomicU64,
}

impl Seal {
    pub fn new(stamps: Vec<Stamp>) -> Seal {
        let looked_at = |stamp| SealedFile {
            stamp,
            looked: AtomicU64::new(0),
        };
        Seal {
            since: Instant::now(),
            files: stamps.into_iter().map(looked_at).collect(),
        }
    }

    pub fn compare(
        &self,
        file: usize,
        now: &Metadata,
        path: impl FnOnce() -> PathBuf,
    ) -> Result<(), StorageError> {
        let (was, is) = (self.files[file].stamp, Stamp::of(now));
        if is == was {
            Ok(())
        } else if is.length != was.length {
            Err(changed(path(), wrong_length(is.length, was.length)))
        } else {
            Err(changed(path(), "somebody wrote to it".into()))
        }
    }

    /// Calls `look` if the last good look was a while ago. Only a good one counts: whatever is
    /// wrong is found again at the next read.
    pub fn now_and_then(
        &self,
        file: usize,
        look: impl FnOnce() -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let now = self.since.elapsed().as_millis() as u64;
        let looked = &self.files[file].looked;
        if now.saturating_sub(looked.load(Ordering::Relaxed)) >= LOOK_EVERY.as_millis() as u64 {
            look()?;
            looked.store(now, Ordering::Relaxed);
        }
        Ok(())
    }
}

pub fn wrong_length(is: u64, expected: u64) -> String {
    format!("it has {is} bytes, {expected} are right")
}
