//! One look at the watched folder: what lies there that may be shared, and what it looks like.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;

use crate::storage::FileStamp;
use crate::storage::content::{Content, ContentError};
use crate::storage::folder::STATE_FOLDER;
use crate::storage::shareable::shareable;

use super::Mode;

/// Names of one folder that are looked at: further ones are as if they were not there.
pub const MAX_SEEN: usize = 10_000;

/// What was seen, by name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Look {
    pub entries: BTreeMap<OsString, Seen>,
    /// There are more than [`MAX_SEEN`].
    pub more: bool,
}

/// A file, or a folder that is one torrent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// One, or all below the folder. None if the folder cannot be listed; hashing it says why.
    pub files: Vec<FileStamp>,
    /// How many looks in a row, before this one, saw the same.
    pub calm: u32,
}

impl Look {
    /// Looks at a folder. `known` names are seen in any case if they are there.
    ///
    /// # Errors
    /// The system's, if the folder cannot be listed: nobody knows then what has gone. A folder
    /// that is not there is empty.
    pub fn at<'a>(
        folder: &Path,
        mode: Mode,
        known: impl Iterator<Item = &'a OsString>,
    ) -> io::Result<Look> {
        let mut names: BTreeSet<OsString> = known.cloned().collect();
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Look::default()),
            entries => entries?,
        };
        let mut more = false;
        for entry in entries {
            let name = entry?.file_name();
            if names.len() >= MAX_SEEN && !names.contains(&name) {
                more = true;
                break;
            }
            names.insert(name);
        }
        let seen = |name: OsString| {
            let files = files_at(&folder.join(&name), mode)?;
            Some((name, Seen { files, calm: 0 }))
        };
        let entries = names.into_iter().filter_map(seen).collect();
        Ok(Look { entries, more })
    }

    /// The same, with what it has in common with the look before.
    pub fn after(mut self, old: &Look) -> Look {
        for (name, seen) in &mut self.entries {
            if let Some(before) = old.entries.get(name)
                && before.files == seen.files
            {
                seen.calm = before.calm.saturating_add(1);
            }
        }
        self
    }
}

/// What the files of something in the folder look like; None if it is nothing to share.
///
/// Left alone is what is not [`shareable`], or empty (most programs create a file before they fill
/// it); and a peer's download folder.
pub fn files_at(path: &Path, mode: Mode) -> Option<Vec<FileStamp>> {
    let metadata = shareable(path)?;
    if metadata.is_file() {
        let stamp = FileStamp::of(path.file_name()?.into(), &metadata);
        return (stamp.length > 0).then(|| vec![stamp]);
    }
    if mode != Mode::Folders || path.join(STATE_FOLDER).exists() {
        return None;
    }
    let content = match Content::at(path) {
        Ok(content) => content,
        Err(ContentError::Empty(_) | ContentError::Missing(_)) => return None,
        Err(_) => return Some(Vec::new()),
    };
    let stamp = |(names, _): (Vec<String>, u64)| {
        let below = names.iter().collect();
        let metadata = fs::metadata(path.join(&below)).ok()?;
        Some(FileStamp::of(below, &metadata))
    };
    // One that has just gone is missed by the next look.
    Some(content.files?.into_iter().filter_map(stamp).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path, mode: Mode) -> Vec<String> {
        let look = Look::at(folder, mode, std::iter::empty()).unwrap();
        let name = |name: &OsString| name.to_string_lossy().into_owned();
        look.entries.keys().map(name).collect()
    }

    #[test]
    fn what_is_not_to_be_shared_is_not_seen() {
        let it = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "x").unwrap();
        for name in ["a", "ä b", ".hidden", "film.part", "f/1", "f/2", "d/x"] {
            let path = it.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        fs::write(it.path().join("empty"), "").unwrap();
        fs::create_dir(it.path().join("hollow")).unwrap();
        fs::create_dir(it.path().join("d").join(STATE_FOLDER)).unwrap();
        fs::create_dir(it.path().join(STATE_FOLDER)).unwrap();
        #[cfg(unix)]
        for (name, to) in [("link", "secret"), ("links", "")] {
            let to = outside.path().join(to);
            std::os::unix::fs::symlink(to, it.path().join(name)).unwrap();
        }
        assert_eq!(names(it.path(), Mode::Files), ["a", "ä b"]);
        assert_eq!(names(it.path(), Mode::Folders), ["a", "f", "ä b"]);
        assert_eq!(names(&it.path().join("nothing"), Mode::Files), [""; 0]);
        // Not a folder: nobody knows.
        assert!(Look::at(&it.path().join("a"), Mode::Files, std::iter::empty()).is_err());
    }

    #[test]
    fn a_folder_looks_otherwise_when_a_file_below_does() {
        let it = tempfile::tempdir().unwrap();
        fs::create_dir_all(it.path().join("f/g")).unwrap();
        fs::write(it.path().join("f/g/x"), "x").unwrap();
        let look = || Look::at(it.path(), Mode::Folders, std::iter::empty()).unwrap();
        let first = look();
        let second = look().after(&first);
        assert_eq!(second.entries[&OsString::from("f")].calm, 1);
        fs::write(it.path().join("f/g/x"), "xy").unwrap();
        assert_eq!(look().after(&second).entries[&OsString::from("f")].calm, 0);
    }

    #[test]
    fn of_a_crowded_folder_what_is_known_is_always_seen() {
        let it = tempfile::tempdir().unwrap();
        for i in 0..MAX_SEEN + 10 {
            fs::write(it.path().join(format!("{i}")), "x").unwrap();
        }
        let all: Vec<OsString> = (0..MAX_SEEN + 10).map(|i| format!("{i}").into()).collect();
        let known = &all[all.len() - 20..];
        let look = Look::at(it.path(), Mode::Files, known.iter()).unwrap();
        assert_eq!((look.entries.len(), look.more), (MAX_SEEN, true));
        assert!(known.iter().all(|name| look.entries.contains_key(name)));
    }
}
