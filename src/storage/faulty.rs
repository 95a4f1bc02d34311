//! A storage that fails when told to: how tests see a full disk, a broken one, a slow one.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::names::SafePaths;
use super::{FileStamp, Storage, StorageError};

/// What shall go wrong. Everything works by default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// Writes and finishing fail with [`StorageError::NoSpace`], and no space is free.
    pub disk_full: bool,
    /// Reads fail as a broken disk does.
    pub broken_reads: bool,
    /// Reads fail because the content changed.
    pub changed: bool,
    /// Every read and write takes this much longer.
    pub delay: Duration,
}

/// Wraps another storage.
pub struct FaultyStorage {
    inner: Arc<dyn Storage>,
    faults: FaultSwitch,
}

/// Changes the faults while the storage is in use. Copies are the same switch.
#[derive(Clone, Default)]
pub struct FaultSwitch(Arc<Mutex<Faults>>);

impl FaultSwitch {
    pub fn set(&self, faults: Faults) {
        *self.0.lock() = faults;
    }

    pub fn now(&self) -> Faults {
        *self.0.lock()
    }
}

impl FaultyStorage {
    pub fn new(inner: Arc<dyn Storage>) -> (FaultyStorage, FaultSwitch) {
        let faults = FaultSwitch::default();
        let storage = FaultyStorage {
            inner,
            faults: faults.clone(),
        };
        (storage, faults)
    }

    fn no_space(&self) -> StorageError {
        StorageError::NoSpace {
            path: self.final_path().to_path_buf(),
            needed: self.inner.needed_space().unwrap_or(0).max(1),
            free: 0,
        }
    }

    fn changed(&self) -> StorageError {
        StorageError::Changed {
            path: self.final_path().to_path_buf(),
            what: "a test says so".into(),
        }
    }
}

impl Storage for FaultyStorage {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StorageError> {
        let faults = self.faults.now();
        std::thread::sleep(faults.delay);
        if faults.changed {
            return Err(self.changed());
        }
        if faults.broken_reads {
            let source = io::Error::other("a test says so");
            return Err(StorageError::io(self.final_path(), "read", source));
        }
        self.inner.read(offset, buffer)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), StorageError> {
        let faults = self.faults.now();
        std::thread::sleep(faults.delay);
        if faults.disk_full {
            return Err(self.no_space());
        }
        self.inner.write(offset, bytes)
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.inner.sync()
    }

    fn finish(&self) -> Result<(), StorageError> {
        if self.faults.now().disk_full {
            return Err(self.no_space());
        }
        self.inner.finish()
    }

    fn is_finished(&self) -> bool {
        self.inner.is_finished()
    }

    fn final_path(&self) -> &Path {
        self.inner.final_path()
    }

    fn names(&self) -> Option<Arc<SafePaths>> {
        self.inner.names()
    }

    fn free_space(&self) -> Result<u64, StorageError> {
        match self.faults.now().disk_full {
            true => Ok(0),
            false => self.inner.free_space(),
        }
    }

    fn needed_space(&self) -> Result<u64, StorageError> {
        match self.faults.now().disk_full {
            true => Ok(self.inner.needed_space()?.max(1)),
            false => self.inner.needed_space(),
        }
    }

    fn stamps(&self) -> Result<Vec<FileStamp>, StorageError> {
        self.inner.stamps()
    }

    fn verify_unchanged(&self) -> Result<(), StorageError> {
        match self.faults.now().changed {
            true => Err(self.changed()),
            false => self.inner.verify_unchanged(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::memory::MemoryStorage;

    #[test]
    fn fails_as_told_and_recovers() {
        let (storage, faults) = FaultyStorage::new(Arc::new(MemoryStorage::empty("m", 4)));
        storage.write(0, b"abcd").unwrap();
        faults.set(Faults {
            disk_full: true,
            ..Faults::default()
        });
        assert!(storage.write(0, b"x").unwrap_err().is_no_space());
        assert!(storage.free_space().unwrap() < storage.needed_space().unwrap());
        faults.set(Faults {
            changed: true,
            ..Faults::default()
        });
        let error = storage.read(0, &mut [0; 4]).unwrap_err();
        assert!(matches!(error, StorageError::Changed { .. }));
        faults.set(Faults::default());
        let mut got = [0; 4];
        storage.read(0, &mut got).unwrap();
        assert_eq!(&got, b"abcd");
    }
}
