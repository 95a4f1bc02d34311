//! What the platforms do differently with files: positions, space, time stamps, renaming.
//!
//! Not here: which file, and what it means ([`super::files`]).

use std::fs::{self, File, Metadata};
use std::io;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

/// By what an unchanged file is known: its length in bytes, and its time of modification in
/// nanoseconds since 1970 (0 where nobody knows).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    pub length: u64,
    pub modified: i64,
}

impl Stamp {
    pub fn of(metadata: &Metadata) -> Stamp {
        let nanos = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        let modified = match metadata.modified().map(|t| t.duration_since(UNIX_EPOCH)) {
            Ok(Ok(after)) => nanos(after),
            Ok(Err(before)) => -nanos(before.duration()),
            Err(_) => 0,
        };
        Stamp {
            length: metadata.len(),
            modified,
        }
    }
}

/// Fills `buffer` from `offset` on; the end of the file before that is an error.
pub fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match read_at(file, buffer, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                buffer = &mut buffer[read..];
                offset += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

pub fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match write_at(file, bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    match std::os::windows::fs::FileExt::seek_read(file, buffer, offset) {
        // Windows calls the end of the file an error here.
        Err(error) if error.raw_os_error() == Some(ERROR_HANDLE_EOF) => Ok(0),
        result => result,
    }
}

/// "Reached the end of the file."
#[cfg(windows)]
const ERROR_HANDLE_EOF: i32 = 38;

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, bytes, offset)
}

/// Bytes that the disk has set aside for a file: less than its length if it is sparse.
#[cfg(unix)]
pub fn allocated(path: &Path) -> io::Result<u64> {
    /// In bytes, whatever the file system's own unit is (POSIX).
    const BLOCK: u64 = 512;
    Ok(std::os::unix::fs::MetadataExt::blocks(&fs::metadata(path)?) * BLOCK)
}

#[cfg(windows)]
pub fn allocated(path: &Path) -> io::Result<u64> {
    fs4::FileExt::allocated_size(&File::open(path)?)
}

/// Whether an open file has lost its last name.
#[cfg(unix)]
pub fn is_deleted(metadata: &Metadata) -> bool {
    std::os::unix::fs::MetadataExt::nlink(metadata) == 0
}

/// A deleted file is gone for everybody soon; looking at its path tells.
#[cfg(windows)]
pub fn is_deleted(_: &Metadata) -> bool {
    false
}

/// Room for us on the disk that holds `path`, which need not exist yet.
pub fn available(path: &Path) -> io::Result<u64> {
    let mut at = path;
    loop {
        let here = if at.as_os_str().is_empty() {
            Path::new(".")
        } else {
            at
        };
        match (fs4::available_space(here), at.parent()) {
            (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => at = parent,
            (result, _) => return result,
        }
    }
}

/// How long renaming is tried while somebody else has the file open: virus scanners on Windows
/// take about a second.
const RENAME_PATIENCE: Duration = Duration::from_secs(3);

/// Between two tries.
const RENAME_PAUSE: Duration = Duration::from_millis(20);

/// Renames, and makes it last.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    rename_for_now(from, to)?;
    sync_folder(parent(to))
}

/// Renames. That lasts once the folder is synced ([`sync_folder`]). On Windows an open file inside is
/// an obstacle for a while.
pub fn rename_for_now(from: &Path, to: &Path) -> io::Result<()> {
    let mut left = RENAME_PATIENCE;
    loop {
        match fs::rename(from, to) {
            Err(error)
                if cfg!(windows)
                    && error.kind() == io::ErrorKind::PermissionDenied
                    && !left.is_zero() =>
            {
                std::thread::sleep(RENAME_PAUSE);
                left = left.saturating_sub(RENAME_PAUSE);
            }
            result => return result,
        }
    }
}

/// The folder that holds `path`.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A new name in a folder survives a power failure only if the folder is synced, too.
#[cfg(unix)]
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some network file systems cannot; the rename is done all the same.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        result => result,
    }
}

/// Folders cannot be opened like files; NTFS keeps its own journal.
#[cfg(windows)]
pub fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_do_not_disturb_each_other() {
        let file = tempfile::tempfile().unwrap();
        write_all_at(&file, b"world", 5).unwrap();
        write_all_at(&file, b"hello", 0).unwrap();
        let mut got = [0; 10];
        read_exact_at(&file, &mut got, 0).unwrap();
        assert_eq!(&got, b"helloworld");
        let error = read_exact_at(&file, &mut got, 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn room_is_known_before_the_folder_exists() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("not/yet/there");
        assert!(available(&deep).unwrap() > 0);
        assert!(available(Path::new("not-yet-there")).unwrap() > 0);
    }
}
