//! A torrent's bytes in memory: for tests and simulations.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

use super::names::SafePaths;
use super::{FileStamp, Storage, StorageError, check_range};

pub struct MemoryStorage {
    name: PathBuf,
    bytes: RwLock<Vec<u8>>,
    finished: AtomicBool,
}

impl MemoryStorage {
    /// Room for `total` bytes, all zero.
    pub fn empty(name: &str, total: usize) -> MemoryStorage {
        MemoryStorage {
            name: name.into(),
            bytes: RwLock::new(vec![0; total]),
            finished: AtomicBool::new(false),
        }
    }

    /// Finished content.
    pub fn full(name: &str, bytes: Vec<u8>) -> MemoryStorage {
        MemoryStorage {
            name: name.into(),
            bytes: RwLock::new(bytes),
            finished: AtomicBool::new(true),
        }
    }

    /// All of it, as it is now.
    pub fn content(&self) -> Vec<u8> {
        self.bytes.read().clone()
    }
}

impl Storage for MemoryStorage {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StorageError> {
        let bytes = self.bytes.read();
        check_range(offset, buffer.len(), bytes.len() as u64)?;
        let start = offset as usize;
        buffer.copy_from_slice(&bytes[start..start + buffer.len()]);
        Ok(())
    }

    fn write(&self, offset: u64, new: &[u8]) -> Result<(), StorageError> {
        if self.is_finished() {
            let path = self.name.clone();
            return Err(StorageError::ReadOnly { path });
        }
        let mut bytes = self.bytes.write();
        check_range(offset, new.len(), bytes.len() as u64)?;
        let start = offset as usize;
        bytes[start..start + new.len()].copy_from_slice(new);
        Ok(())
    }

    fn sync(&self) -> Result<(), StorageError> {
        Ok(())
    }

    fn finish(&self) -> Result<(), StorageError> {
        self.finished.store(true, Ordering::Release);
        Ok(())
    }

    fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    fn final_path(&self) -> &Path {
        &self.name
    }

    fn names(&self) -> Option<Arc<SafePaths>> {
        None
    }

    fn free_space(&self) -> Result<u64, StorageError> {
        Ok(u64::MAX)
    }

    fn needed_space(&self) -> Result<u64, StorageError> {
        Ok(0)
    }

    fn stamps(&self) -> Result<Vec<FileStamp>, StorageError> {
        Ok(Vec::new())
    }

    fn verify_unchanged(&self) -> Result<(), StorageError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_written_until_it_is_finished() {
        let storage = MemoryStorage::empty("m", 10);
        storage.write(4, b"abc").unwrap();
        let mut got = [0; 5];
        storage.read(3, &mut got).unwrap();
        assert_eq!(&got, b"\0abc\0");
        storage.finish().unwrap();
        let refused = storage.write(0, b"x").unwrap_err();
        assert!(matches!(refused, StorageError::ReadOnly { .. }));
    }

    #[test]
    fn stays_inside() {
        let storage = MemoryStorage::empty("m", 10);
        for offset in [8, 11, u64::MAX] {
            assert!(storage.read(offset, &mut [0; 3]).is_err(), "{offset}");
            assert!(storage.write(offset, &[0; 3]).is_err(), "{offset}");
        }
    }
}
