//! The download folder of one peer, and what the peer keeps in its `.mini-bittorrent/`: the
//! lock, the peer id, one record a torrent, and for people which of its names are others here.
//!
//! Every file there is written anew, synced, then renamed: a crash leaves the old one or the
//! new one. Not here: what is in a record ([`super::resume`]).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::disk;
use super::names::SafePaths;
use super::patience::Patience;
use super::resume::{MAX_RECORD_BYTES, Record};
use crate::torrent::id::{InfoHash, PEER_ID_PREFIX, PeerId};

/// The folder for our own files, in the download folder.
pub const STATE_FOLDER: &str = ".mini-bittorrent";
/// Locked as long as a peer uses the folder.
const LOCK: &str = "lock";
/// Who has locked it. A file of its own: on Windows nobody can read a locked one.
const PID: &str = "pid";
const PEER_ID: &str = "peer-id";
/// The ending of a torrent's record; in front of it stands the info hash.
const RECORD: &str = "resume";
/// The ending of the page about a torrent's names, which is for people.
const NAMES: &str = "names.txt";
/// Added to the name of a record that cannot be read.
const DAMAGED: &str = "damaged";
/// Added to the name of a file that is being written.
const NEW: &str = "new";

/// A download folder in use. Freed when dropped, and by the system when the peer dies.
pub struct DownloadFolder {
    path: PathBuf,
    state: PathBuf,
    patience: Patience,
    /// Locked.
    _lock: File,
}

/// Why a download folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error(
        "another peer{} uses the download folder {}: end that one, or choose another folder (--download DIR; with make DOWNLOAD=DIR)",
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default(), path.display()
    )]
    InUse { path: PathBuf, pid: Option<u32> },
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        path: PathBuf,
        doing: &'static str,
        source: io::Error,
    },
}

/// What was remembered.
#[derive(Debug, Default)]
pub struct Remembered {
    /// In the order in which they were added.
    pub records: Vec<Record>,
    /// What could not be read, in words, one sentence a record. It was set aside.
    pub damaged: Vec<String>,
}

impl DownloadFolder {
    /// Creates the folder if it is not there, and claims it.
    pub fn open(path: &Path) -> Result<DownloadFolder, FolderError> {
        let state = path.join(STATE_FOLDER);
        fs::create_dir_all(&state).map_err(|error| failed("create the folder", &state, error))?;
        // Relative paths would mean something else after the next start elsewhere.
        let path =
            std::path::absolute(path).map_err(|error| failed("find the folder", path, error))?;
        let state = path.join(STATE_FOLDER);
        let lock = claim(&path, &state)?;
        let folder = DownloadFolder {
            path,
            state,
            patience: Patience::default(),
            _lock: lock,
        };
        // Only for the message of a second peer: that it is missing must not stop us.
        let _ = fs::write(folder.state.join(PID), std::process::id().to_string());
        Ok(folder)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// For all files of this peer.
    pub fn patience(&self) -> &Patience {
        &self.patience
    }

    /// For files that others keep beside ours: keys, the prompt's history.
    pub fn state_path(&self) -> &Path {
        &self.state
    }

    /// The peer's id, the same at every start; `random` makes the first.
    pub fn peer_id(&self, random: [u8; 12]) -> Result<PeerId, FolderError> {
        let path = self.state.join(PEER_ID);
        if let Ok(bytes) = read_limited(&path, 20)
            && let Ok(id) = <[u8; 20]>::try_from(bytes)
            && id.starts_with(PEER_ID_PREFIX)
        {
            return Ok(PeerId(id));
        }
        let id = PeerId::ours(random);
        write_anew(&path, &id.0, &self.patience)?;
        Ok(id)
    }

    /// Keeps a torrent's record in place of the one before.
    pub fn remember(&self, record: &Record) -> Result<(), FolderError> {
        let path = self.record_path(record.metainfo.info_hash);
        write_anew(&path, &record.encode(), &self.patience)
    }

    /// Forgets a torrent. Its content stays.
    pub fn forget(&self, info_hash: InfoHash) -> Result<(), FolderError> {
        for path in [self.record_path(info_hash), self.names_path(info_hash)] {
            disk::remove(&path, &self.patience).map_err(|error| failed("remove", &path, error))?;
        }
        Ok(())
    }

    /// Writes down for people which names of a torrent had to be changed, if any had. What we
    /// ourselves remember of it is in the record.
    pub fn tell_names(&self, info_hash: InfoHash, names: &SafePaths) -> Result<(), FolderError> {
        let path = self.names_path(info_hash);
        let page = names.page();
        if names.mappings.is_empty() || fs::read(&path).is_ok_and(|old| old == page.as_bytes()) {
            return Ok(());
        }
        write_anew(&path, page.as_bytes(), &self.patience)
    }

    /// Where [`DownloadFolder::tell_names`] writes.
    pub fn names_path(&self, info_hash: InfoHash) -> PathBuf {
        self.state.join(format!("{info_hash}.{NAMES}"))
    }

    /// Reads all records. One that cannot be read is set aside as `.damaged`; it stops nothing.
    pub fn remembered(&self) -> Result<Remembered, FolderError> {
        let mut remembered = Remembered::default();
        let failed = |error| failed("read the folder", &self.state, error);
        for entry in fs::read_dir(&self.state).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_none_or(|ending| ending != RECORD) {
                continue;
            }
            match read_record(&path) {
                Ok(record) => remembered.records.push(record),
                Err(reason) => remembered.damaged.push(set_aside(&path, &reason)),
            }
        }
        let order = |record: &Record| (record.added, record.metainfo.info_hash);
        remembered.records.sort_by_key(order);
        remembered.damaged.sort();
        Ok(remembered)
    }

    fn record_path(&self, info_hash: InfoHash) -> PathBuf {
        self.state.join(format!("{info_hash}.{RECORD}"))
    }
}

/// Writes a new file and puts it in the place of the old one.
pub(super) fn write_anew(
    path: &Path,
    bytes: &[u8],
    patience: &Patience,
) -> Result<(), FolderError> {
    let mut new = path.as_os_str().to_os_string();
    new.push(format!(".{NEW}"));
    let new = PathBuf::from(new);
    let write = || {
        let mut file = patience.retry(&new, || File::create(&new))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        drop(file);
        disk::rename(&new, path, patience)
    };
    write().map_err(|error| failed("write", path, error))
}

fn claim(path: &Path, state: &Path) -> Result<File, FolderError> {
    let lock_path = state.join(LOCK);
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&lock_path)
        .map_err(|error| failed("open", &lock_path, error))?;
    // By its full name: from Rust 1.89 on `File` has a method of the same one.
    match fs4::FileExt::try_lock(&lock) {
        Ok(()) => Ok(lock),
        Err(fs4::TryLockError::WouldBlock) => {
            let pid = fs::read_to_string(state.join(PID)).ok();
            Err(FolderError::InUse {
                path: path.to_path_buf(),
                pid: pid.and_then(|pid| pid.trim().parse().ok()),
            })
        }
        Err(fs4::TryLockError::Error(error)) => Err(failed("lock", &lock_path, error)),
    }
}

fn read_record(path: &Path) -> Result<Record, String> {
    let bytes = read_limited(path, MAX_RECORD_BYTES).map_err(|error| error.to_string())?;
    let record = Record::decode(&bytes).map_err(|error| error.to_string())?;
    let name = path.file_stem().and_then(|name| name.to_str());
    if name != Some(record.metainfo.info_hash.to_string().as_str()) {
        return Err(format!("it is about {}", record.metainfo.info_hash));
    }
    Ok(record)
}

/// At most one byte more than `limit`: the reader then sees that it is too much.
pub(super) fn read_limited(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = Patience::default().retry(path, || File::open(path))?;
    io::Read::read_to_end(&mut io::Read::take(file, limit as u64 + 1), &mut bytes)?;
    Ok(bytes)
}

fn set_aside(path: &Path, reason: &str) -> String {
    let aside = path.with_extension(format!("{RECORD}.{DAMAGED}"));
    let now = match disk::rename(path, &aside, &Patience::default()) {
        Ok(()) => format!("it was set aside as {}", aside.display()),
        Err(error) => format!("it could not be set aside: {error}"),
    };
    format!(
        "the record {} cannot be read: {reason}; {now}; add the torrent again, what is there is kept",
        path.display()
    )
}

fn failed(doing: &'static str, path: &Path, source: io::Error) -> FolderError {
    FolderError::Io {
        path: path.to_path_buf(),
        doing,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::names::Platform;
    use crate::storage::resume::tests::example;

    #[test]
    fn two_peers_never_use_one_folder() {
        let it = tempfile::tempdir().unwrap();
        let path = it.path().join("new").join("folder");
        let first = DownloadFolder::open(&path).unwrap();
        let error = DownloadFolder::open(&path).err().unwrap().to_string();
        let expect = format!(
            "another peer (process {}) uses the download folder {}: end that one, or choose \
             another folder (--download DIR; with make DOWNLOAD=DIR)",
            std::process::id(),
            path.display()
        );
        assert_eq!(error, expect);
        drop(first);
        DownloadFolder::open(&path).unwrap();
    }

    /// Another process: this test's own program, which runs the test below in the given folder.
    #[test]
    fn nor_do_two_processes() {
        let it = tempfile::tempdir().unwrap();
        let opens = || {
            let name = "storage::folder::tests::as_a_second_process";
            let second = std::process::Command::new(std::env::current_exe().unwrap())
                .args([name, "--exact"])
                .env(SECOND, it.path())
                .output()
                .unwrap();
            second.status.success()
        };
        let first = DownloadFolder::open(it.path()).unwrap();
        assert!(!opens());
        drop(first);
        assert!(opens());
    }

    const SECOND: &str = "MINI_BITTORRENT_TEST_SECOND_PROCESS";

    #[test]
    fn as_a_second_process() {
        if let Some(path) = std::env::var_os(SECOND) {
            DownloadFolder::open(Path::new(&path)).unwrap();
        }
    }

    #[test]
    fn the_peer_id_stays() {
        let it = tempfile::tempdir().unwrap();
        let folder = DownloadFolder::open(it.path()).unwrap();
        let id = folder.peer_id([1; 12]).unwrap();
        assert_eq!(folder.peer_id([2; 12]).unwrap(), id);
        fs::write(folder.state.join(PEER_ID), "half").unwrap();
        assert_eq!(folder.peer_id([3; 12]).unwrap(), PeerId::ours([3; 12]));
    }

    #[test]
    fn records_are_remembered_and_forgotten() {
        let it = tempfile::tempdir().unwrap();
        let folder = DownloadFolder::open(it.path()).unwrap();
        let mut record = example();
        folder.remember(&record).unwrap();
        record.uploaded = 5;
        folder.remember(&record).unwrap();
        drop(folder);
        let folder = DownloadFolder::open(it.path()).unwrap();
        let remembered = folder.remembered().unwrap();
        assert_eq!(remembered.records, [record.clone()]);
        assert!(remembered.damaged.is_empty());
        let layout = &record.metainfo.layout;
        let names = vec!["d/_a".into(), "e".into()];
        let names = SafePaths::remembered(layout, Platform::here(), names).unwrap();
        let page = folder.names_path(record.metainfo.info_hash);
        folder
            .tell_names(record.metainfo.info_hash, &names)
            .unwrap();
        assert!(
            fs::read_to_string(&page)
                .unwrap()
                .contains("\nd/a\n    d/_a\n")
        );
        folder.forget(record.metainfo.info_hash).unwrap();
        assert!(!page.exists());
        folder.forget(record.metainfo.info_hash).unwrap();
        assert!(folder.remembered().unwrap().records.is_empty());
    }

    #[test]
    fn a_record_cut_at_any_byte_is_set_aside_and_stops_nothing() {
        let it = tempfile::tempdir().unwrap();
        let folder = DownloadFolder::open(it.path()).unwrap();
        let record = example();
        let path = folder.record_path(record.metainfo.info_hash);
        let whole = record.encode();
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let remembered = folder.remembered().unwrap();
            assert!(remembered.records.is_empty(), "cut at {cut}");
            let [sentence] = &remembered.damaged[..] else {
                panic!("cut at {cut}: {remembered:?}");
            };
            assert!(sentence.contains("set aside as"), "{sentence}");
            assert!(!path.exists() && path.with_extension("resume.damaged").exists());
        }
    }

    #[test]
    fn half_written_and_misplaced_records_are_not_taken() {
        let it = tempfile::tempdir().unwrap();
        let folder = DownloadFolder::open(it.path()).unwrap();
        let record = example();
        let path = folder.record_path(record.metainfo.info_hash);
        // Killed while writing the next one: the old one counts.
        folder.remember(&record).unwrap();
        fs::write(path.with_extension("resume.new"), "d5:add").unwrap();
        assert_eq!(folder.remembered().unwrap().records.len(), 1);
        fs::rename(&path, folder.record_path(InfoHash([9; 20]))).unwrap();
        let remembered = folder.remembered().unwrap();
        assert!(remembered.records.is_empty());
        assert!(
            remembered.damaged[0].contains("it is about"),
            "{remembered:?}"
        );
    }
}
