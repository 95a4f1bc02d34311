//! What the platforms do differently with files: positions, space, time stamps, renaming.
//!
//! Not here: which file, and what it means ([`super::files`]).

use std::fs::{self, File, Metadata, OpenOptions};
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

/// What is done about a link at the path of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Links {
    Follow,
    Refuse,
}

/// Opens a file of content, which may be anything by now: nothing but a plain file is taken, and none
/// is waited for, as opening a named pipe would wait for somebody at its other end. A link at the path
/// itself is followed only if `links` says so.
pub fn open_plain(options: &mut OpenOptions, path: &Path, links: Links) -> io::Result<File> {
    #[cfg(unix)]
    {
        use nix::fcntl::OFlag;
        let flags = match links {
            Links::Follow => OFlag::O_NONBLOCK,
            Links::Refuse => OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW,
        };
        std::os::unix::fs::OpenOptionsExt::custom_flags(options, flags.bits());
    }
    #[cfg(windows)]
    if links == Links::Refuse {
        /// The link itself is opened, which is no file.
        const FILE_FLAG_OPEN_REPARSE_POINT: u32 = 0x0020_0000;
        let flags = FILE_FLAG_OPEN_REPARSE_POINT;
        std::os::windows::fs::OpenOptionsExt::custom_flags(options, flags);
    }
    let file = options.open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is not a file")),
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

/// Renames. That lasts once the folder is synced (`sync_folder`). On Windows an open file inside is
/// an obstacle for a while.
pub fn rename_for_now(from: &Path, to: &Path) -> io::Result<()> {
    let mut left = RENAME_PATIENCE;
    loop {
        match fs::rename(from, to) {
            Err(error) if is_in_use(&error) && !left.is_zero() => {
                std::thread::sleep(RENAME_PAUSE);
                left = left.saturating_sub(RENAME_PAUSE);
            }
            result => return result,
        }
    }
}

/// On Windows, somebody else has the file open: for good, or for a moment.
#[cfg(windows)]
fn is_in_use(error: &io::Error) -> bool {
    const ERROR_SHARING_VIOLATION: i32 = 32;
    error.kind() == io::ErrorKind::PermissionDenied
        || error.raw_os_error() == Some(ERROR_SHARING_VIOLATION)
}

/// On Unix that is no obstacle.
#[cfg(unix)]
fn is_in_use(_: &io::Error) -> bool {
    false
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

    #[cfg(unix)]
    #[test]
    fn opening_a_named_pipe_waits_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let plain = folder.path().join("plain");
        fs::write(&plain, "plain").unwrap();
        for write in [false, true] {
            let mut options = OpenOptions::new();
            options.read(true).write(write);
            assert!(open_plain(&mut options, &plain, Links::Refuse).is_ok());
            let error = open_plain(&mut options, &pipe, Links::Follow).unwrap_err();
            assert_eq!(error.to_string(), "it is not a file");
        }
    }

    #[test]
    fn room_is_known_before_the_folder_exists() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("not/yet/there");
        assert!(available(&deep).unwrap() > 0);
        assert!(available(Path::new("not-yet-there")).unwrap() > 0);
    }
}
