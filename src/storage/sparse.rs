//! Holes in the files of a download: what has not come yet takes no room on the disk, and nobody
//! waits for zeros to be written.
//!
//! On Unix every file has them. On Windows a file must be marked first: else its whole length is
//! taken at once, and the first write near its end waits until everything before it is filled
//! with zeros, twenty seconds for a film. Marking is a call that `std` does not have, and no crate
//! offers without `unsafe`; so Windows' own `fsutil` does it, a process for each file, and therefore
//! only for large ones. If it cannot (FAT has no holes), the file is filled: that is slower, and all.

use std::path::Path;

/// Shorter files are filled within a second, in bytes.
#[cfg_attr(not(windows), allow(dead_code))]
const WORTH_MARKING: u64 = 64 << 20;

/// Lets a file that is still empty have holes when it is `length` bytes long, if that can be.
#[cfg(not(windows))]
pub fn mark(_: &Path, _: u64) {}

/// Lets a file that is still empty have holes when it is `length` bytes long, if that can be.
#[cfg(windows)]
pub fn mark(path: &Path, length: u64) {
    if length >= WORTH_MARKING
        && let Err(error) = fsutil(path)
    {
        log::debug!(target: "disk", "{} is filled: {error}", path.display());
    }
}

/// Runs `fsutil sparse setflag`.
#[cfg(windows)]
fn fsutil(path: &Path) -> std::io::Result<()> {
    use std::os::windows::process::CommandExt;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    /// It takes some milliseconds.
    const PATIENCE: Duration = Duration::from_secs(2);
    /// It shall not flash up in front of who has no console.
    const CREATE_NO_WINDOW: u32 = 0x0800_0000;

    // By its full path: a program of that name in the current folder is not Windows' own.
    let windows = std::env::var_os("SystemRoot").ok_or(std::io::ErrorKind::NotFound)?;
    let program = Path::new(&windows).join("System32").join("fsutil.exe");
    let mut child = Command::new(program)
        .args(["sparse", "setflag"])
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .creation_flags(CREATE_NO_WINDOW)
        .spawn()?;
    let since = Instant::now();
    while child.try_wait()?.is_none() {
        if since.elapsed() > PATIENCE {
            let _ = child.kill();
            child.wait()?;
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[cfg(windows)]
    fn is_marked(file: &File) -> bool {
        const FILE_ATTRIBUTE_SPARSE_FILE: u32 = 0x200;
        let attributes =
            std::os::windows::fs::MetadataExt::file_attributes(&file.metadata().unwrap());
        attributes & FILE_ATTRIBUTE_SPARSE_FILE != 0
    }

    #[cfg(not(windows))]
    fn is_marked(_: &File) -> bool {
        true
    }

    /// Under Wine nobody can be marked; it must work all the same.
    #[test]
    fn a_file_is_used_whether_it_may_have_holes_or_not() {
        let folder = tempfile::tempdir().unwrap();
        for length in [1000, WORTH_MARKING] {
            let path = folder.path().join(length.to_string());
            let file = File::create_new(&path).unwrap();
            mark(&path, length);
            file.set_len(length).unwrap();
            crate::storage::disk::write_all_at(&file, b"end", length - 3).unwrap();
            let allocated = crate::storage::disk::allocated(&path).unwrap();
            assert_eq!(file.metadata().unwrap().len(), length);
            if is_marked(&file)
                && length == WORTH_MARKING
                && cfg!(any(windows, target_os = "linux"))
            {
                assert!(allocated < length / 2, "{allocated}");
            }
        }
    }
}
