//! What lies in an upload folder and is not to be shared, remembered between two runs: the user
//! has said so, and it holds until the file changes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::FileStamp;
use super::folder::{FolderError, read_limited, write_anew};
use super::patience::Patience;
use super::resume::{RecordError, find, path, path_bytes, read_files, write_files};
use crate::torrent::bencode::{Encoder, Value};

/// The file's name, in the folder for our own files.
const NAME: &str = "unshared";
/// The largest file that is read, in bytes: some ten thousand paths.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// By the path of a file or folder, what it looked like.
pub type Unshared = BTreeMap<PathBuf, Vec<FileStamp>>;

/// What is remembered in the folder `state`: nothing, if there is no such file or it is damaged.
pub fn read(state: &Path) -> Unshared {
    let bytes = read_limited(&state.join(NAME), MAX_BYTES).unwrap_or_default();
    if bytes.is_empty() || bytes.len() > MAX_BYTES {
        return Unshared::new();
    }
    decode(&bytes).unwrap_or_else(|error| {
        log::error!(target: "disk", "what was not to be shared is forgotten: {error}");
        Unshared::new()
    })
}

/// Changes what is remembered. The thread that watches the folder does, and the user's commands: one
/// after the other, so that neither loses what the other has written.
pub fn change(state: &Path, how: impl FnOnce(&mut Unshared)) -> Result<(), FolderError> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock();
    let old = read(state);
    let mut new = old.clone();
    how(&mut new);
    match new == old {
        true => Ok(()),
        false => write_anew(&state.join(NAME), &encode(&new), &Patience::for_one_job()),
    }
}

fn encode(unshared: &Unshared) -> Vec<u8> {
    let mut out = Encoder::new();
    out.list(|list| {
        for (path, files) in unshared {
            list.dict(|entry| {
                write_files(entry.text("files"), files);
                entry.text("path").bytes(&path_bytes(path));
            });
        }
    });
    out.finish()
}

fn decode(bytes: &[u8]) -> Result<Unshared, RecordError> {
    let list = Value::parse(bytes)?;
    let entry = |entry| Ok((find(entry, "path", path)?, read_files(entry)?));
    let entries = list.list().ok_or(RecordError::Key("unshared"))?;
    entries.map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let it = tempfile::tempdir().unwrap();
        assert_eq!(read(it.path()), Unshared::new());
        let file = |name: &str| FileStamp {
            path: name.into(),
            length: 3,
            modified: -7,
        };
        let unshared = Unshared::from([
            ("/up/a b.txt".into(), vec![file("a b.txt")]),
            ("/up/f".into(), vec![file("x"), file("y")]),
        ]);
        for (path, files) in unshared.clone() {
            let insert = |all: &mut Unshared| drop(all.insert(path, files));
            change(it.path(), insert).unwrap();
        }
        assert_eq!(read(it.path()), unshared);
        std::fs::write(it.path().join(NAME), "nonsense").unwrap();
        assert_eq!(read(it.path()), Unshared::new());
    }
}
