//! What goes wrong with content on disk, told apart by what can be done about it.
//!
//! Not here: damaged records ([`super::resume`]).

use std::io;
use std::path::{Path, PathBuf};

use super::disk::{self, Obstacle};
use super::names::{NameError, Platform};
use crate::torrent::id::FileHash;

/// Messages are for people: what, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Goes away by itself when somebody makes room.
    #[error(
        "not enough disk space for {}: {} needed, {} free; make room for {} more",
        path.display(), amount(*needed), amount(*free), amount(needed.saturating_sub(*free))
    )]
    NoSpace {
        path: PathBuf,
        /// In bytes.
        needed: u64,
        /// In bytes.
        free: u64,
    },
    /// The content is no longer what was verified: it must be checked again.
    #[error("{} has changed ({what}): check it again or restore it", path.display())]
    Changed { path: PathBuf, what: String },
    #[error("{} is missing: put it back, or remove the torrent and add it again", path.display())]
    Missing { path: PathBuf },
    /// Every piece is what the torrent says, so torrent and SHA-256 are not of the same file. It
    /// does not get its real name.
    #[error(
        "THE SHA-256 IS WRONG: it is {is}, and {expected} was published. Do not trust this file: \
         whoever shared it has made a mistake or lied. It stays under the name {}",
        path.display()
    )]
    WrongSha256 {
        path: PathBuf,
        is: FileHash,
        expected: FileHash,
    },
    /// Something that is not ours lies where the content belongs.
    #[error("{} is in the way ({what}): move it, or choose another destination", path.display())]
    Occupied { path: PathBuf, what: String },
    /// A link leads out of the torrent's folder; nothing is read or written through it.
    #[error("{} leads outside {}: remove that link", path.display(), folder.display())]
    Outside { path: PathBuf, folder: PathBuf },
    /// Finished content is never written.
    #[error("{} is complete and open for reading only", path.display())]
    ReadOnly { path: PathBuf },
    #[error("{length} bytes at {offset} are outside a torrent of {total} bytes")]
    OutOfRange {
        offset: u64,
        length: usize,
        total: u64,
    },
    #[error(
        "cannot {doing} {}: another program has it open. Close it there, then `resume` it, or try again",
        path.display()
    )]
    InUse { path: PathBuf, doing: &'static str },
    /// It could be that, or that nobody lets us: Windows does not tell.
    #[error(
        "cannot {doing} {}: another program has it open, or you have no right to. Close it there, or \
         choose another folder; then `resume` it, or try again",
        path.display()
    )]
    InUseOrDenied { path: PathBuf, doing: &'static str },
    #[error(
        "cannot {doing} {}: it is read-only. Allow it to be written, or move it; then `resume` it, or \
         try again",
        path.display()
    )]
    Protected { path: PathBuf, doing: &'static str },
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        path: PathBuf,
        /// As a verb: "read", "create the folder".
        doing: &'static str,
        source: io::Error,
    },
}

impl StorageError {
    /// Waiting may cure it, without anything being checked again.
    pub fn is_no_space(&self) -> bool {
        matches!(self, StorageError::NoSpace { .. })
    }

    pub(super) fn io(path: &Path, doing: &'static str, source: io::Error) -> StorageError {
        StorageError::on(Platform::here(), path, doing, source)
    }

    /// Of what would have changed the file itself. Whoever reads, moves or deletes one asks for other
    /// rights than to write it.
    pub(super) fn writing(path: &Path, doing: &'static str, source: io::Error) -> StorageError {
        StorageError::writing_on(Platform::here(), path, doing, source)
    }

    fn writing_on(
        platform: Platform,
        path: &Path,
        doing: &'static str,
        source: io::Error,
    ) -> StorageError {
        let denied = source.kind() == io::ErrorKind::PermissionDenied
            || Obstacle::of(platform, &source) == Some(Obstacle::Denied);
        match denied && disk::is_for_reading(path) {
            true => StorageError::Protected {
                path: path.to_path_buf(),
                doing,
            },
            false => StorageError::on(platform, path, doing, source),
        }
    }

    fn on(platform: Platform, path: &Path, doing: &'static str, source: io::Error) -> StorageError {
        let obstacle = Obstacle::of(platform, &source);
        let path = path.to_path_buf();
        match obstacle {
            _ if source.kind() == io::ErrorKind::NotFound => StorageError::Missing { path },
            Some(Obstacle::InUse) => StorageError::InUse { path, doing },
            Some(Obstacle::Denied) => StorageError::InUseOrDenied { path, doing },
            None => StorageError::Io {
                path,
                doing,
                source,
            },
        }
    }
}

/// Bytes as people say them: `1.5 GiB`.
pub(super) fn amount(bytes: u64) -> String {
    let mut amount = bytes as f64;
    for unit in ["bytes", "KiB", "MiB", "GiB"] {
        if amount < 1024.0 {
            return match unit {
                "bytes" => format!("{bytes} bytes"),
                _ => format!("{amount:.1} {unit}"),
            };
        }
        amount /= 1024.0;
    }
    format!("{amount:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_space_says_how_much_is_missing_where() {
        let error = StorageError::NoSpace {
            path: "/data/big.iso".into(),
            needed: 3 << 30,
            free: 512 << 20,
        };
        assert_eq!(
            error.to_string(),
            "not enough disk space for /data/big.iso: 3.0 GiB needed, 512.0 MiB free; \
             make room for 2.5 GiB more"
        );
    }

    #[test]
    fn what_another_program_has_open_is_told_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.iso");
        std::fs::write(&path, "").unwrap();
        let said = |platform, code| {
            let source = io::Error::from_raw_os_error(code);
            let said = StorageError::on(platform, &path, "rename", source).to_string();
            said.replace(&path.display().to_string(), "a.iso")
        };
        for code in [32, 33, 303, 1224] {
            assert_eq!(
                said(Platform::Windows, code),
                "cannot rename a.iso: another program has it open. Close it there, then `resume` \
                 it, or try again"
            );
        }
        let denied = said(Platform::Windows, 5);
        assert!(
            denied.contains("has it open, or you have no right to"),
            "{denied}"
        );
        let mut permissions = std::fs::metadata(&path).unwrap().permissions();
        permissions.set_readonly(true);
        std::fs::set_permissions(&path, permissions).unwrap();
        let denied = said(Platform::Windows, 5);
        assert!(!denied.contains("read-only"), "{denied}");
        assert!(said(Platform::Windows, 32).contains("has it open. Close"));
        // What a Unix system says of itself is enough.
        let full = said(Platform::Unix, 32);
        assert!(!full.contains("another program"), "{full}");
    }

    /// A file that nobody may read was said to be read-only, too.
    #[test]
    fn read_only_is_said_only_of_what_would_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.iso");
        std::fs::write(&path, "").unwrap();
        let before = std::fs::metadata(&path).unwrap().permissions();
        let mut permissions = before.clone();
        permissions.set_readonly(true);
        std::fs::set_permissions(&path, permissions).unwrap();
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        let said = |error: StorageError| {
            let said = error.to_string();
            said.replace(&path.display().to_string(), "a.iso")
        };
        assert_eq!(
            said(StorageError::writing(&path, "write", denied())),
            "cannot write a.iso: it is read-only. Allow it to be written, or move it; then \
             `resume` it, or try again"
        );
        for doing in ["open", "read", "rename"] {
            let said = said(StorageError::io(&path, doing, denied()));
            assert_eq!(said, format!("cannot {doing} a.iso: permission denied"));
        }
        let in_use = io::Error::from_raw_os_error(32);
        let error = StorageError::writing_on(Platform::Windows, &path, "write", in_use);
        assert!(matches!(error, StorageError::InUse { .. }), "{error}");
        std::fs::set_permissions(&path, before).unwrap();
    }
}
