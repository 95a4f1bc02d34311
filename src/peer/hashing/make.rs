//! A new torrent made of a file or folder on disk.
//!
//! Not here: what is found there ([`crate::storage::content`]).

use std::path::Path;
use std::sync::Arc;

use super::{HashOutcome, HashPool, HashTask, Purpose};
use crate::control::stamp::GroupId;
use crate::storage::StorageError;
use crate::storage::content::{Content, ContentError};
use crate::storage::files::FileStorage;
use crate::storage::names::{Platform, SafePaths};
use crate::storage::open_files::OpenFiles;
use crate::torrent::layout::Layout;
use crate::torrent::metainfo::Metainfo;

/// How a new torrent shall be.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wish {
    /// In bytes; by the content's size if None.
    pub piece_length: Option<u32>,
    /// For this group only.
    pub group: Option<GroupId>,
}

/// A torrent that is being made.
pub struct Making {
    pub task: HashTask,
    /// What is not part of it and why, in words.
    pub skipped: Vec<String>,
}

/// A torrent, and its content ready to be served.
pub struct Made {
    pub metainfo: Metainfo,
    pub storage: Arc<FileStorage>,
}

#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    #[error(transparent)]
    Content(#[from] ContentError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("cancelled")]
    Cancelled,
}

/// Looks at `path`, then hashes what is there on the pool's threads. The same content under the
/// same name always gives the same info hash. `on_done` is called as in [`HashPool::hash`].
///
/// # Errors
/// What is known before the first byte is read; later ones go to `on_done`, also that a file
/// changed while it was hashed.
pub fn make_torrent(
    pool: &HashPool,
    open: Arc<OpenFiles>,
    path: &Path,
    wish: Wish,
    on_done: impl FnOnce(Result<Made, MakeError>) + Send + 'static,
) -> Result<Making, MakeError> {
    let content = Content::at(path)?;
    let layout = Arc::new(content.layout(wish.piece_length)?);
    let names = SafePaths::as_it_lies(&layout, Platform::here()).map_err(StorageError::from)?;
    let storage = FileStorage::existing_as(&content.path, layout.clone(), names, open)?;
    let storage = Arc::new(storage);
    let pieces = layout.all_pieces().collect();
    let on_hashed = {
        let (storage, layout) = (storage.clone(), layout.clone());
        move |outcome| {
            on_done(match outcome {
                HashOutcome::Hashed { hashes, .. } => {
                    // All are there: an unreadable piece ends the making of a torrent.
                    let hashes = hashes.into_iter().filter_map(|(_, hash)| hash).collect();
                    let layout = Layout::clone(&layout);
                    let metainfo = match wish.group {
                        Some(id) => Metainfo::build_for_group(layout, hashes, &id.to_string()),
                        None => Metainfo::build(layout, hashes, false),
                    };
                    Ok(Made { metainfo, storage })
                }
                HashOutcome::Cancelled => Err(MakeError::Cancelled),
                HashOutcome::Failed(error) => Err(error.into()),
            });
        }
    };
    let task = pool.hash(Purpose::Make, storage, layout, pieces, Box::new(on_hashed));
    Ok(Making {
        task,
        skipped: content.skipped,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;
    use crate::storage::Storage;

    fn make(path: &Path, piece_length: Option<u32>) -> Result<Made, MakeError> {
        let pool = HashPool::new().unwrap();
        let (done, made) = crossbeam_channel::unbounded();
        let wish = Wish {
            piece_length,
            group: None,
        };
        make_torrent(&pool, Arc::default(), path, wish, move |made| {
            drop(done.send(made));
        })?;
        made.recv_timeout(Duration::from_secs(20)).unwrap()
    }

    #[test]
    fn the_same_content_gives_the_same_torrent() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (it, order) in [(&one, ["a", "b/c", "d"]), (&two, ["d", "b/c", "a"])] {
            for path in order {
                let path = it.path().join("t").join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                let name = path.file_name().unwrap().to_str().unwrap().to_string();
                fs::write(path, name.repeat(30_000)).unwrap();
            }
        }
        let of = |it: &tempfile::TempDir| make(&it.path().join("t"), Some(16384)).unwrap();
        let (first, second) = (of(&one), of(&two));
        assert_eq!(first.metainfo, second.metainfo);
        assert_eq!(first.metainfo.layout.pieces(), 6);
        // The storage that comes with it serves the content, across files.
        let mut bytes = [0; 3];
        first.storage.read(29_999, &mut bytes).unwrap();
        assert_eq!(&bytes, b"acc");
    }

    #[test]
    fn an_empty_file_can_be_shared() {
        let it = tempfile::tempdir().unwrap();
        fs::write(it.path().join("a"), "").unwrap();
        let made = make(&it.path().join("a"), None).unwrap();
        assert_eq!(made.metainfo.layout.pieces(), 0);
    }

    #[test]
    fn a_file_that_changes_meanwhile_gives_no_torrent() {
        let it = tempfile::tempdir().unwrap();
        let path = it.path().join("a");
        fs::write(&path, vec![1; 64 << 20]).unwrap();
        let pool = HashPool::new().unwrap();
        let (done, made) = crossbeam_channel::unbounded();
        let wish = Wish::default();
        // The file changes between the look at it and its last byte.
        let gate = Arc::new(parking_lot::Mutex::new(()));
        let closed = gate.lock();
        let behind = gate.clone();
        let layout = Arc::new(Content::at(&path).unwrap().layout(None).unwrap());
        let busy = Arc::new(FileStorage::existing(&path, layout.clone(), Arc::default()).unwrap());
        for _ in 0..std::thread::available_parallelism().map_or(1, |n| n.get()) {
            let behind = behind.clone();
            let block = Box::new(move |_| drop(behind.lock()));
            pool.hash(Purpose::Check, busy.clone(), layout.clone(), vec![], block);
        }
        make_torrent(&pool, Arc::default(), &path, wish, move |made| {
            drop(done.send(made));
        })
        .unwrap();
        fs::write(&path, vec![2; 64 << 20]).unwrap();
        drop(closed);
        let made = made.recv_timeout(Duration::from_secs(20)).unwrap();
        let error = made.err().expect("the file changed");
        let changed = matches!(error, MakeError::Storage(StorageError::Changed { .. }));
        assert!(changed, "{error}");
    }
}
