//! Opening a torrent's place on disk: new, begun, complete, or gone.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};

use crate::storage::files::FileStorage;
use crate::storage::names::{Platform, SafePaths};
use crate::storage::open_files::OpenFiles;
use crate::storage::probe::{Found, adopt, is_akin, probe};
use crate::storage::resume::{Record, Trust};
use crate::storage::{FileStamp, Storage, StorageError};
use crate::torrent::bitfield::Bitfield;
use crate::torrent::layout::Layout;
use crate::torrent::metainfo::Metainfo;

use super::engine::Start;
use super::hashing::{HashOutcome, HashPool, Purpose};

/// How often somebody who waits for hashes is asked whether to go on.
pub const GIVE_UP_POLL: Duration = Duration::from_millis(100);

/// A place that is open.
pub struct Opened {
    pub storage: Arc<dyn Storage>,
    pub start: Start,
}

/// Opens `target` for a download. What lies there under the final name is hashed first: all
/// right, and it is served; begun, and it is the beginning of the download; and anything else
/// is left alone. None if `give_up` came true meanwhile.
pub fn open(
    target: &Path,
    metainfo: &Arc<Metainfo>,
    pool: &HashPool,
    open_files: Arc<OpenFiles>,
    give_up: &dyn Fn() -> bool,
) -> Result<Option<Opened>, StorageError> {
    let layout = metainfo.layout.clone();
    match probe(target, &layout)? {
        Found::Nothing => {
            let storage = Arc::new(FileStorage::download(target, layout.clone(), open_files)?);
            Ok(Some(Opened {
                storage,
                start: Start::Have(Bitfield::none(layout.pieces())),
            }))
        }
        Found::Part => {
            let storage = Arc::new(FileStorage::download(target, layout, open_files)?);
            Ok(Some(Opened {
                storage,
                start: Start::Check,
            }))
        }
        Found::Final { same_size: true } => {
            let there = FileStorage::existing(target, layout.clone(), open_files.clone())?;
            let there = Arc::new(there);
            let Some(have) = hash_now(pool, there.clone(), metainfo, &layout, give_up) else {
                return Ok(None);
            };
            if have.is_full() {
                return Ok(Some(Opened {
                    storage: there,
                    start: Start::Have(have),
                }));
            }
            match is_begun(&*there, &layout, &have, give_up)? {
                None => return Ok(None),
                Some(true) => drop(there),
                Some(false) => {
                    let what = "something of the same size lies there, and most of it is not what \
                                is wanted";
                    return Err(something_else(target, what));
                }
            }
            adopt(target, &layout, Some(&have))?;
            let storage = Arc::new(FileStorage::download(target, layout, open_files)?);
            Ok(Some(Opened {
                storage,
                start: Start::Have(have),
            }))
        }
        Found::Final { same_size: false } if layout.is_single() => Err(something_else(
            target,
            "something of another size lies there",
        )),
        Found::Final { same_size: false } if target.is_dir() && !is_akin(target, &layout)? => {
            Err(something_else(target, "it holds other files"))
        }
        Found::Final { same_size: false } => {
            adopt(target, &layout, None)?;
            let storage = Arc::new(FileStorage::download(target, layout, open_files)?);
            Ok(Some(Opened {
                storage,
                start: Start::Check,
            }))
        }
    }
}

fn something_else(target: &Path, what: &str) -> StorageError {
    StorageError::Occupied {
        path: target.to_path_buf(),
        what: what.into(),
    }
}

/// Which pieces of `storage` are right. Waits for the pool, and looks at `give_up` meanwhile.
fn hash_now(
    pool: &HashPool,
    storage: Arc<dyn Storage>,
    metainfo: &Metainfo,
    layout: &Arc<Layout>,
    give_up: &dyn Fn() -> bool,
) -> Option<Bitfield> {
    let (done, outcome) = bounded(1);
    let on_done = Box::new(move |outcome| drop(done.send(outcome)));
    let pieces = layout.all_pieces().collect();
    let task = pool.hash(Purpose::Check, storage, layout.clone(), pieces, on_done);
    let outcome = loop {
        match outcome.recv_timeout(GIVE_UP_POLL) {
            Err(RecvTimeoutError::Timeout) if give_up() => task.cancel(),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return None,
            Ok(outcome) => break outcome,
        }
    };
    let HashOutcome::Hashed { hashes, .. } = outcome else {
        return None;
    };
    let mut have = Bitfield::none(layout.pieces());
    for (piece, hash) in hashes {
        if hash == Some(metainfo.piece_hash(piece)) {
            have.insert(piece);
        }
    }
    Some(have)
}

/// Whether what lies under the final name is the beginning of a download: of its pieces that hold
/// anything but zeros, at least half are right. Other programs leave zeros where nothing has come
/// yet; and a piece of zeros may be right in somebody's own file, too. None if `give_up` came true.
fn is_begun(
    storage: &dyn Storage,
    layout: &Layout,
    have: &Bitfield,
    give_up: &dyn Fn() -> bool,
) -> Result<Option<bool>, StorageError> {
    let mut buffer = vec![0; layout.piece_length() as usize];
    let (mut right, mut wrong) = (0, 0);
    for piece in layout.all_pieces() {
        if give_up() {
            return Ok(None);
        }
        let bytes = &mut buffer[..layout.piece_size(piece) as usize];
        storage.read(layout.piece_offset(piece), bytes)?;
        if bytes.iter().all(|&byte| byte == 0) {
            continue;
        }
        match have.has(piece) {
            true => right += 1,
            false => wrong += 1,
        }
    }
    Ok(Some(right >= wrong))
}

/// Opens the place of a download again, wherever its files are now, to be hashed. There may be
/// no room for the rest of it.
pub fn open_anew(
    target: &Path,
    metainfo: &Metainfo,
    names: SafePaths,
    open_files: Arc<OpenFiles>,
) -> Result<Arc<dyn Storage>, StorageError> {
    let layout = metainfo.layout.clone();
    match probe(target, &layout)? {
        Found::Final { .. } => open_complete(target, metainfo, names, open_files),
        Found::Part | Found::Nothing => {
            let storage = FileStorage::begun(target, layout, names, open_files)?;
            Ok(Arc::new(storage))
        }
    }
}

/// Opens what was complete. If it is not there any more, it is not fetched again behind the
/// user's back.
pub fn open_complete(
    target: &Path,
    metainfo: &Metainfo,
    names: SafePaths,
    open_files: Arc<OpenFiles>,
) -> Result<Arc<dyn Storage>, StorageError> {
    let layout = metainfo.layout.clone();
    let storage = FileStorage::existing_as(target, layout, names, open_files)?;
    Ok(Arc::new(storage))
}

/// A place that was in use at the end of the last run.
pub struct Reopened {
    pub storage: Arc<dyn Storage>,
    pub start: Start,
    /// What is wrong with it, in words.
    pub notice: Option<String>,
}

/// Opens what a record speaks of. What cannot be opened is listed with the reason.
pub fn reopen(record: &Record, open_files: Arc<OpenFiles>) -> Reopened {
    let open = if record.finished {
        open_complete
    } else {
        open_anew
    };
    let mut known = None;
    let layout = &record.metainfo.layout;
    let names = SafePaths::remembered(layout, Platform::here(), record.names.clone());
    let names = names.map_or_else(|| SafePaths::new(layout, Platform::here()), Ok);
    let opened = names.map_err(StorageError::from).and_then(|names| {
        known = Some(Arc::new(names.clone()));
        open(&record.target, &record.metainfo, names, open_files)
    });
    match opened.and_then(|storage| Ok((record.trust(&storage.stamps()?), storage))) {
        Ok((trust, storage)) => {
            let pieces = record.metainfo.layout.pieces();
            let start = match trust {
                Trust::All => Start::Have(Bitfield::all(pieces)),
                Trust::These(have) => Start::Have(have),
                Trust::Check => Start::Check,
            };
            Reopened {
                storage,
                start,
                notice: None,
            }
        }
        Err(error) => {
            let notice = format!("{} is not available: {error}", record.metainfo.name());
            let storage = Arc::new(GoneStorage {
                path: record.target.clone(),
                names: known,
                finished: record.finished,
            });
            Reopened {
                storage,
                start: Start::Stopped(error),
                notice: Some(notice),
            }
        }
    }
}

/// The place of a torrent whose files cannot be opened.
struct GoneStorage {
    path: PathBuf,
    names: Option<Arc<SafePaths>>,
    finished: bool,
}

impl GoneStorage {
    fn gone<T>(&self) -> Result<T, StorageError> {
        Err(StorageError::Missing {
            path: self.path.clone(),
        })
    }
}

impl Storage for GoneStorage {
    fn read(&self, _: u64, _: &mut [u8]) -> Result<(), StorageError> {
        self.gone()
    }

    fn write(&self, _: u64, _: &[u8]) -> Result<(), StorageError> {
        self.gone()
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.gone()
    }

    fn finish(&self) -> Result<(), StorageError> {
        self.gone()
    }

    fn is_finished(&self) -> bool {
        self.finished
    }

    fn final_path(&self) -> &Path {
        &self.path
    }

    fn names(&self) -> Option<Arc<SafePaths>> {
        self.names.clone()
    }

    fn free_space(&self) -> Result<u64, StorageError> {
        self.gone()
    }

    fn needed_space(&self) -> Result<u64, StorageError> {
        self.gone()
    }

    fn stamps(&self) -> Result<Vec<FileStamp>, StorageError> {
        self.gone()
    }

    fn verify_unchanged(&self) -> Result<(), StorageError> {
        self.gone()
    }
}
