//! What lies at a download's place before it begins, and making use of it.
//!
//! Not here: whether it is right. Only hashing tells.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

use super::names::{PART, Platform, SafePaths, part_name};
use super::patience::Patience;
use super::{StorageError, disk};
use crate::torrent::bitfield::Bitfield;
use crate::torrent::layout::{Layout, PieceIndex};

/// What lies at a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    Nothing,
    /// A download that was begun, under its temporary name.
    Part,
    /// Something under the final name.
    Final {
        /// Every file is there and has the right length.
        same_size: bool,
    },
}

/// Where a download to `target` lies until it is complete: `<name>.part` beside it.
pub fn part_path(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default();
    let part = match name.to_str() {
        Some(name) => OsString::from(part_name(name)),
        None => {
            let mut part = name.to_os_string();
            part.push(PART);
            part
        }
    };
    target.with_file_name(part)
}

/// Looks at the place of a download to `target`. What is under the final name counts first.
pub fn probe(target: &Path, layout: &Layout) -> Result<Found, StorageError> {
    let paths = SafePaths::new(layout, Platform::here())?;
    if fs::symlink_metadata(target).is_ok() {
        let right = |(i, path): (usize, &PathBuf)| {
            let path = match layout.is_single() {
                true => target.to_path_buf(),
                false => target.join(path),
            };
            let length = layout.files()[i].length;
            fs::metadata(path).is_ok_and(|there| there.is_file() && there.len() == length)
        };
        let same_size = paths.files.iter().enumerate().all(right);
        return Ok(Found::Final { same_size });
    }
    match fs::symlink_metadata(part_path(target)) {
        Ok(_) => Ok(Found::Part),
        Err(_) => Ok(Found::Nothing),
    }
}

/// Whether the folder at `target` looks like a part of the torrent: it is empty, or holds at
/// least one file (not an empty one) in the right place and of the right length. Any other is
/// somebody's own and happens to have the name.
pub fn is_akin(target: &Path, layout: &Layout) -> Result<bool, StorageError> {
    let paths = SafePaths::new(layout, Platform::here())?;
    let mut entries =
        fs::read_dir(target).map_err(|error| StorageError::io(target, "look into", error))?;
    let akin = |(path, file): (&PathBuf, &crate::torrent::layout::File)| {
        let there = fs::metadata(target.join(path));
        file.length > 0 && there.is_ok_and(|there| there.is_file() && there.len() == file.length)
    };
    Ok(entries.next().is_none() || paths.files.iter().zip(layout.files()).any(akin))
}

/// Takes what lies under the final name as the beginning of a download: it is renamed to the
/// temporary name, so that whatever is good in it is kept.
///
/// # Errors
/// [`StorageError::Occupied`] if a download was begun beside it, or if it is of another kind: a
/// folder for a file, or a file for a folder. [`StorageError::Protected`] if a file must not be
/// written that has not its length, or not all pieces (`have`, if that is known) that it holds
/// alone. Then everything stays as it is.
pub fn adopt(target: &Path, layout: &Layout, have: Option<&Bitfield>) -> Result<(), StorageError> {
    let there =
        fs::symlink_metadata(target).map_err(|error| StorageError::io(target, "look at", error))?;
    let (right, what) = match layout.is_single() {
        true => (there.is_file(), "it is not a file"),
        false => (there.is_dir(), "it is not a folder"),
    };
    let part = part_path(target);
    let occupied = |path: &Path, what: &str| StorageError::Occupied {
        path: path.to_path_buf(),
        what: what.into(),
    };
    if !right {
        return Err(occupied(target, what));
    }
    if fs::symlink_metadata(&part).is_ok() {
        return Err(occupied(&part, "a download was begun there"));
    }
    let paths = SafePaths::new(layout, Platform::here())?;
    let lacking = lacking(layout, have);
    for (i, file) in layout.files().iter().enumerate() {
        let path = match layout.is_single() {
            true => target.to_path_buf(),
            false => target.join(&paths.files[i]),
        };
        let is_kept = match lacking[i] {
            true => disk::is_for_reading(&path),
            false => fs::symlink_metadata(&path)
                .is_ok_and(|there| is_kept_from_its_length(&there, file.length)),
        };
        if is_kept {
            return Err(protected(&path));
        }
    }
    disk::rename(target, &part, &Patience::default())
        .map_err(|error| StorageError::io(target, "rename", error))
}

/// One a file: whether a piece is not there that no other file has a part of.
fn lacking(layout: &Layout, have: Option<&Bitfield>) -> Vec<bool> {
    let mut lacking = vec![false; layout.files().len()];
    let missing = |piece: &PieceIndex| have.is_some_and(|have| !have.has(*piece));
    for piece in layout.all_pieces().filter(missing) {
        let size = layout.piece_size(piece).into();
        let mut spans = layout.spans(layout.piece_offset(piece), size);
        if let (Some(span), None) = (spans.next(), spans.next()) {
            lacking[span.file] = true;
        }
    }
    lacking
}

/// Whether a file must not be written, and has not the length that it should have.
pub(super) fn is_kept_from_its_length(there: &Metadata, length: u64) -> bool {
    there.is_file() && there.permissions().readonly() && there.len() != length
}

pub(super) fn protected(path: &Path) -> StorageError {
    StorageError::Protected {
        path: path.to_path_buf(),
        doing: "write",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::storage::Storage;
    use crate::storage::files::FileStorage;

    #[test]
    fn what_lies_there_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::single("a".into(), 3, 16384).unwrap();
        let target = folder.path().join("a");
        let found = || probe(&target, &layout).unwrap();
        assert_eq!(found(), Found::Nothing);
        fs::write(folder.path().join("a.part"), "").unwrap();
        assert_eq!(found(), Found::Part);
        fs::write(&target, "xx").unwrap();
        assert_eq!(found(), Found::Final { same_size: false });
        fs::write(&target, "xyz").unwrap();
        assert_eq!(found(), Found::Final { same_size: true });
    }

    #[test]
    fn adopting_keeps_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let files = vec![(vec!["x".into()], 3), (vec!["d".into(), "y".into()], 3)];
        let layout = Arc::new(Layout::folder("t".into(), files, 16384).unwrap());
        let target = folder.path().join("t");
        fs::create_dir(&target).unwrap();
        // One file is too long, the other is missing.
        fs::write(target.join("x"), "abcd").unwrap();
        let found = probe(&target, &layout).unwrap();
        assert_eq!(found, Found::Final { same_size: false });
        adopt(&target, &layout, None).unwrap();
        assert_eq!(probe(&target, &layout).unwrap(), Found::Part);

        let storage = FileStorage::download(&target, layout.clone(), Arc::default()).unwrap();
        let mut got = [0; 3];
        storage.read(0, &mut got).unwrap();
        assert_eq!(&got, b"abc");
        // Nothing is lost before the download is complete.
        assert_eq!(fs::read(part_path(&target).join("x")).unwrap(), b"abcd");
        storage.write(3, b"def").unwrap();
        storage.finish().unwrap();
        assert_eq!(fs::read(target.join("x")).unwrap(), b"abc");
        assert_eq!(fs::read(target.join("d").join("y")).unwrap(), b"def");
    }

    #[test]
    fn another_kind_is_not_adopted() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::single("a".into(), 3, 16384).unwrap();
        let target = folder.path().join("a");
        fs::create_dir(&target).unwrap();
        let error = adopt(&target, &layout, None).unwrap_err();
        assert!(matches!(error, StorageError::Occupied { .. }), "{error}");
        fs::remove_dir(&target).unwrap();
        fs::write(&target, "abc").unwrap();
        fs::write(part_path(&target), "").unwrap();
        let error = adopt(&target, &layout, None).unwrap_err();
        assert!(matches!(error, StorageError::Occupied { .. }), "{error}");
    }

    /// A folder that nobody may write was renamed, and only then refused.
    #[test]
    fn what_must_not_be_written_stays_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let files = vec![
            (vec!["a".into()], 3),
            (vec!["b".into()], 3),
            (vec!["c".into()], 3),
        ];
        let layout = Arc::new(Layout::folder("t".into(), files, 2).unwrap());
        let target = folder.path().join("t");
        fs::create_dir(&target).unwrap();
        let set = |name: &str, readonly: bool| {
            let path = target.join(name);
            let mut permissions = fs::metadata(&path).unwrap().permissions();
            permissions.set_readonly(readonly);
            fs::set_permissions(&path, permissions).unwrap();
        };
        let refused = |have: Option<&Bitfield>| {
            let error = adopt(&target, &layout, have).unwrap_err();
            assert!(matches!(error, StorageError::Protected { .. }), "{error}");
            assert!(target.is_dir());
        };
        fs::write(target.join("a"), "abc").unwrap();
        fs::write(target.join("b"), "de").unwrap();
        set("a", true);
        set("b", true);
        refused(None);
        set("b", false);
        let mut have = Bitfield::all(5);
        have.remove(layout.piece(0).unwrap());
        refused(Some(&have));
        // A file that is complete needs no writing: what is missing beside it is fetched.
        have.insert(layout.piece(0).unwrap());
        have.remove(layout.piece(1).unwrap());
        adopt(&target, &layout, Some(&have)).unwrap();
        let storage = FileStorage::download(&target, layout, Arc::default()).unwrap();
        let mut got = [0; 3];
        storage.read(0, &mut got).unwrap();
        assert_eq!(&got, b"abc");
        let error = storage.write(2, b"Cd").unwrap_err();
        assert!(matches!(error, StorageError::Protected { .. }), "{error}");
        storage.write(2, b"cdefghi").unwrap();
        storage.finish().unwrap();
        assert_eq!(fs::read(target.join("c")).unwrap(), b"ghi");
        set("a", false);
    }
}
