//! The SHA-256 of a whole file, read from its beginning to its end in little memory.
//!
//! One thread does it, whichever wants to know: unlike those of pieces, this hash cannot be
//! computed from several places at once.

use std::ops::ControlFlow;

use sha2::{Digest, Sha256};

use super::PART;
use crate::storage::{Storage, StorageError};
use crate::torrent::id::FileHash;

/// Hashes the `total` bytes of `storage`. `look` is told how many bytes are done, many times a
/// second, and ends it with `Break`: then there is no hash.
///
/// # Errors
/// When the file cannot be read, or has changed meanwhile.
pub fn whole_file(
    storage: &dyn Storage,
    total: u64,
    look: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<Option<FileHash>, StorageError> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; PART];
    let mut done = 0;
    while done < total {
        if look(done).is_break() {
            return Ok(None);
        }
        let part = &mut buffer[..(total - done).min(PART as u64) as usize];
        storage.read(done, part)?;
        hasher.update(&*part);
        done += part.len() as u64;
    }
    Ok(Some(FileHash(hasher.finalize().into())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::memory::MemoryStorage;

    #[test]
    fn it_is_what_sha256sum_says_for_every_length() {
        for length in [0, 1, PART - 1, PART, PART + 1, 3 * PART] {
            let bytes: Vec<u8> = (0..length).map(|i| (i * i / 7) as u8).collect();
            let expect = FileHash(Sha256::digest(&bytes).into());
            let storage = MemoryStorage::full("m", bytes);
            let mut looks = Vec::new();
            let mut look = |done| {
                looks.push(done);
                ControlFlow::Continue(())
            };
            let hash = whole_file(&storage, length as u64, &mut look).unwrap();
            assert_eq!(hash, Some(expect));
            assert_eq!(looks.len(), length.div_ceil(PART));
        }
        let storage = MemoryStorage::full("m", b"abc".to_vec());
        let hash = whole_file(&storage, 3, &mut |_| ControlFlow::Continue(())).unwrap();
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash.unwrap().to_string(), known);
    }

    #[test]
    fn it_ends_when_it_is_told_to() {
        let storage = MemoryStorage::full("m", vec![1; 4 * PART]);
        let mut end = |done| match done {
            0 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        };
        let total = 4 * PART as u64;
        assert_eq!(whole_file(&storage, total, &mut end).unwrap(), None);
    }
}
