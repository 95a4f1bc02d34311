//! Where a torrent's bytes are kept: real files, memory, and a double that fails on demand.
//!
//! In scope: names on disk, temporary and final places, free space, what is remembered between
//! two runs. Not here: which piece is right (hashes) and which is wanted (the rules).

pub mod content;
mod disk;
pub mod error;
pub mod faulty;
pub mod files;
pub mod folder;
pub mod memory;
pub mod names;
pub mod open_files;
pub mod patience;
pub mod probe;
pub mod resume;
pub mod shareable;
mod sparse;
pub mod unshared;

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use disk::{is_same_place, real_path, rename_for_now};
pub use error::StorageError;
use names::SafePaths;

/// The bytes of one torrent, read and written at positions by many threads at once.
///
/// Every call may block on a disk. A finished storage is read-only, and never hands out what
/// changed behind its back.
pub trait Storage: Send + Sync {
    /// Fills `buffer` with the bytes from `offset` in the torrent on.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StorageError>;

    /// Writes `bytes` from `offset` in the torrent on. One call a piece is twice as fast as one
    /// a block.
    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), StorageError>;

    /// What was written is on the disk when this returns, also if the power fails.
    fn sync(&self) -> Result<(), StorageError>;

    /// All pieces are verified: moves the content to its final name, read-only from now on.
    /// Once finished, further calls do nothing.
    fn finish(&self) -> Result<(), StorageError>;

    fn is_finished(&self) -> bool;

    /// Where people find the content once it is finished.
    fn final_path(&self) -> &Path;

    /// What the files are called on the disk; None if there are no files.
    fn names(&self) -> Option<Arc<SafePaths>>;

    /// Room left on the disk, in bytes.
    fn free_space(&self) -> Result<u64, StorageError>;

    /// Bytes of the torrent that the disk has not set aside yet.
    fn needed_space(&self) -> Result<u64, StorageError>;

    /// What every file looks like now, in the order of the layout; empty if there are no files.
    fn stamps(&self) -> Result<Vec<FileStamp>, StorageError>;

    /// Looks at every file: an error if one changed or vanished since the content was opened
    /// read-only or finished.
    fn verify_unchanged(&self) -> Result<(), StorageError>;
}

/// By what an unchanged file is known without reading it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileStamp {
    /// Below the torrent's folder; for a torrent of one file the file's own name.
    pub path: PathBuf,
    /// In bytes.
    pub length: u64,
    /// When it was last modified, in nanoseconds since 1970; 0 where nobody knows.
    pub modified: i64,
}

impl FileStamp {
    pub fn of(path: PathBuf, metadata: &Metadata) -> FileStamp {
        let disk::Stamp { length, modified } = disk::Stamp::of(metadata);
        FileStamp {
            path,
            length,
            modified,
        }
    }
}

/// Whether `length` bytes from `offset` on lie inside a torrent of `total` bytes.
fn check_range(offset: u64, length: usize, total: u64) -> Result<(), StorageError> {
    match offset.checked_add(length as u64) {
        Some(end) if end <= total => Ok(()),
        _ => Err(StorageError::OutOfRange {
            offset,
            length,
            total,
        }),
    }
}
