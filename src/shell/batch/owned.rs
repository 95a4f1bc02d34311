//! What a client owns, as torrents: a file of hashes has a piece for each line, a real file the
//! pieces of any torrent.

use std::path::Path;
use std::sync::Arc;

use crossbeam_channel::{bounded, select};

use crate::peer::Peer;
use crate::peer::hashing::{HashOutcome, Purpose};
use crate::shell::interrupt::Interrupt;
use crate::storage::Storage;
use crate::storage::files::FileStorage;
use crate::storage::memory::MemoryStorage;
use crate::torrent::id::PieceHash;
use crate::torrent::layout::{Layout, piece_length_for};
use crate::torrent::metainfo::Metainfo;

use super::BatchError;
use super::input::{Content, HASH, Owned};

/// The piece length of a file of hashes: a line with its end. The last piece has none.
const LINE: u32 = HASH as u32 + 1;

/// A torrent, and its content ready to be served.
pub struct Torrent {
    pub metainfo: Arc<Metainfo>,
    pub storage: Arc<dyn Storage>,
}

/// The torrent of an owned file. `folder` is where relative paths begin. The same content under
/// the same name gives the same torrent, whoever owns it.
pub fn torrent(
    peer: &Peer,
    folder: &Path,
    owned: &Owned,
    interrupt: &Interrupt,
) -> Result<Torrent, BatchError> {
    let problem = |path: &Path, problem: &dyn std::fmt::Display| BatchError::Owned {
        name: owned.name.clone(),
        path: path.to_path_buf(),
        problem: problem.to_string(),
    };
    match &owned.content {
        Content::Hashes(hashes) => {
            let text = hashes.join("\n").into_bytes();
            let layout = Layout::single(owned.name.clone(), text.len() as u64, LINE);
            let layout = layout.map_err(|error| problem(folder, &error))?;
            let pieces = text.chunks(LINE as usize).map(PieceHash::of).collect();
            Ok(Torrent {
                metainfo: Arc::new(Metainfo::build(layout, pieces, false)),
                storage: Arc::new(MemoryStorage::full(&owned.name, text)),
            })
        }
        Content::Path(path) => {
            let path = folder.join(path);
            let length = match path.metadata() {
                Ok(file) if file.is_file() => file.len(),
                Ok(_) => return Err(problem(&path, &"it is no file")),
                Err(error) => return Err(problem(&path, &error)),
            };
            let layout = Layout::single(owned.name.clone(), length, piece_length_for(length));
            let layout = Arc::new(layout.map_err(|error| problem(&path, &error))?);
            let storage = FileStorage::existing(&path, layout.clone(), peer.open_files.clone());
            let storage: Arc<dyn Storage> =
                Arc::new(storage.map_err(|error| problem(&path, &error))?);
            let hashes =
                hash(peer, &storage, &layout, interrupt).map_err(|error| problem(&path, &error))?;
            let metainfo = Metainfo::build(Layout::clone(&layout), hashes, false);
            Ok(Torrent {
                metainfo: Arc::new(metainfo),
                storage,
            })
        }
    }
}

/// Hashes a file on the peer's threads, and waits for it; a signal ends that.
fn hash(
    peer: &Peer,
    storage: &Arc<dyn Storage>,
    layout: &Arc<Layout>,
    interrupt: &Interrupt,
) -> Result<Vec<PieceHash>, String> {
    let (done, outcome) = bounded(1);
    let on_done = Box::new(move |outcome| drop(done.send(outcome)));
    let (storage, pieces) = (storage.clone(), layout.all_pieces().collect());
    let task = peer
        .pool
        .hash(Purpose::Make, storage, layout.clone(), pieces, on_done);
    let outcome = select! {
        recv(outcome) -> outcome => outcome,
        recv(interrupt.receiver()) -> _ => {
            task.cancel();
            Ok(HashOutcome::Cancelled)
        }
    };
    match outcome {
        // All are there: an unreadable piece fails the job.
        Ok(HashOutcome::Hashed { hashes, .. }) => {
            Ok(hashes.into_iter().filter_map(|(_, hash)| hash).collect())
        }
        Ok(HashOutcome::Failed(error)) => Err(error.to_string()),
        Ok(HashOutcome::Cancelled) | Err(_) => Err("it was not hashed to its end".into()),
    }
}
