//! What the platforms do differently with files: positions, space, time stamps, renaming.
//!
//! Not here: which file, and what it means ([`super::files`]).

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::names::Platform;
use super::patience::Patience;

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
pub fn open_plain(
    options: &mut OpenOptions,
    path: &Path,
    links: Links,
    patience: &Patience,
) -> io::Result<File> {
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
    let file = patience.retry(path, || options.open(path))?;
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
    match std::os::unix::fs::FileExt::write_at(file, bytes, offset) {
        // It is open for reading only. Windows calls it so, too.
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EBADF as i32) => {
            Err(io::ErrorKind::PermissionDenied.into())
        }
        result => result,
    }
}

#[cfg(windows)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, bytes, offset)
}

/// What was written through `file` is on the disk when this returns.
pub fn sync(file: &File) -> io::Result<()> {
    match file.sync_data() {
        // It is open for reading only: nothing was written through it.
        Err(error) if cfg!(windows) && error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        result => result,
    }
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
    fs4::FileExt::allocated_size(&Patience::default().retry(path, || File::open(path))?)
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
        match (available_at(here), at.parent()) {
            (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => at = parent,
            (result, _) => return result,
        }
    }
}

#[cfg(unix)]
fn available_at(path: &Path) -> io::Result<u64> {
    fs4::available_space(path)
}

/// Unlike `std`, which sees to it by itself, `fs4` hands paths over as they are, and Windows takes 260
/// characters at most. The beginning of the path is on the same disk.
#[cfg(windows)]
fn available_at(path: &Path) -> io::Result<u64> {
    const ENOUGH: usize = 200;
    let path = fs::metadata(path).and_then(|_| std::path::absolute(path))?;
    let mut near = path.ancestors();
    let short = near.find(|it| it.as_os_str().len() <= ENOUGH);
    fs4::available_space(short.unwrap_or(&path))
}

/// What keeps us from a file, if we know it from an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Obstacle {
    /// Another program has it open, for good or for a moment.
    InUse,
    /// Either that, or nobody lets us.
    Denied,
}

impl Obstacle {
    /// What the platform means by the number of an error. On Unix open files are no obstacle.
    pub fn of(platform: Platform, error: &io::Error) -> Option<Obstacle> {
        const ERROR_ACCESS_DENIED: i32 = 5;
        const ERROR_SHARING_VIOLATION: i32 = 32;
        const ERROR_LOCK_VIOLATION: i32 = 33;
        const ERROR_DELETE_PENDING: i32 = 303;
        const ERROR_USER_MAPPED_FILE: i32 = 1224;
        match (platform, error.raw_os_error()?) {
            (Platform::Unix, _) => None,
            // Also what a deleted file says whose last handle is still open.
            (_, ERROR_ACCESS_DENIED) => Some(Obstacle::Denied),
            (
                _,
                ERROR_SHARING_VIOLATION
                | ERROR_LOCK_VIOLATION
                | ERROR_DELETE_PENDING
                | ERROR_USER_MAPPED_FILE,
            ) => Some(Obstacle::InUse),
            _ => None,
        }
    }
}

/// Whether a file says of itself that it must not be written. (Folders on Windows say so, too, and
/// mean something else.)
pub fn is_for_reading(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|it| it.is_file() && it.permissions().readonly())
}

/// Renames, and makes it last.
pub fn rename(from: &Path, to: &Path, patience: &Patience) -> io::Result<()> {
    rename_for_now(from, to, patience)?;
    sync_folder(parent(to))
}

/// Renames. That lasts once the folder is synced (`sync_folder`). On Windows an open file inside is
/// an obstacle.
pub fn rename_for_now(from: &Path, to: &Path, patience: &Patience) -> io::Result<()> {
    let blocking = if is_for_reading(to) { to } else { from };
    patience.retry(blocking, || fs::rename(from, to))
}

/// Removes a file; that there is none is no error.
pub fn remove(path: &Path, patience: &Patience) -> io::Result<()> {
    match patience.retry(path, || fs::remove_file(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// The path without links.
#[cfg(not(windows))]
pub fn real_path(path: &Path) -> io::Result<PathBuf> {
    fs::canonicalize(path)
}

/// The path without links. Some drives cannot tell it (RAM disks, some network drives; under Wine no
/// path of more than 260 characters is told): then of as much of the path as it can be, followed by
/// names that are no links.
#[cfg(windows)]
pub fn real_path(path: &Path) -> io::Result<PathBuf> {
    match (fs::canonicalize(path), path.parent(), path.file_name()) {
        (Err(error), Some(folder), Some(name)) if error.kind() != io::ErrorKind::NotFound => {
            match fs::symlink_metadata(path)?.is_symlink() || folder.as_os_str().is_empty() {
                true => Err(error),
                false => Ok(real_path(folder)?.join(name)),
            }
        }
        (result, ..) => result,
    }
}

/// Whether two paths lead to one place: the same written otherwise, or what the disk takes for the
/// same.
pub fn is_same_place(one: &Path, other: &Path) -> bool {
    Platform::here().is_same_place(one, other) || is_same_file(one, other)
}

#[cfg(unix)]
fn is_same_file(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (fs::symlink_metadata(one), fs::symlink_metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

/// Links aside, it is the same if it ends in the same place.
#[cfg(windows)]
fn is_same_file(one: &Path, other: &Path) -> bool {
    match (real_path(one), real_path(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
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

    #[cfg(unix)]
    #[test]
    fn opening_a_named_pipe_waits_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let plain = folder.path().join("plain");
        fs::write(&plain, "plain").unwrap();
        let patience = Patience::default();
        for write in [false, true] {
            let mut options = OpenOptions::new();
            options.read(true).write(write);
            assert!(open_plain(&mut options, &plain, Links::Refuse, &patience).is_ok());
            let error = open_plain(&mut options, &pipe, Links::Follow, &patience).unwrap_err();
            assert_eq!(error.to_string(), "it is not a file");
        }
    }

    #[test]
    fn an_open_file_is_an_obstacle_on_windows_only() {
        use Obstacle::{Denied, InUse};
        let error = io::Error::from_raw_os_error;
        for (code, expect) in [
            (5, Some(Denied)),
            (32, Some(InUse)),
            (33, Some(InUse)),
            (303, Some(InUse)),
            (1224, Some(InUse)),
            (2, None),
            (112, None),
        ] {
            assert_eq!(
                Obstacle::of(Platform::Windows, &error(code)),
                expect,
                "{code}"
            );
            assert_eq!(Obstacle::of(Platform::Unix, &error(code)), None, "{code}");
        }
    }

    #[test]
    fn room_is_known_before_the_folder_exists() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("not/yet/there");
        assert!(available(&deep).unwrap() > 0);
        assert!(available(Path::new("not-yet-there")).unwrap() > 0);
        let mut long = folder.path().to_path_buf();
        long.extend(std::iter::repeat_n(
            "a folder with a name of 40 characters...".replace('.', "_"),
            10,
        ));
        fs::create_dir_all(&long).unwrap();
        assert!(available(&long).unwrap() > 0);
    }
}
