//! The files and folders of a download that are not there yet.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{FileStorage, Place, occupied, refuse_outside};
use crate::storage::StorageError;
use crate::storage::disk::{self, Links};
use crate::storage::probe::{is_kept_from_its_length, protected};
use crate::storage::sparse;

/// The temporary place must be ours to use: a file for a file, a folder for a folder.
pub(super) fn refuse_wrong_kind(root: &Path, single: bool) -> Result<(), StorageError> {
    match fs::symlink_metadata(root) {
        Ok(there) if single && !there.is_file() => Err(occupied(root, "it is not a file")),
        Ok(there) if !single && !there.is_dir() => Err(occupied(root, "it is not a folder")),
        _ => Ok(()),
    }
}

impl FileStorage {
    /// Makes every file and folder of a download that is not there yet, at its full length but
    /// without taking room.
    ///
    /// Names are safe for the platform, but a disk may see it otherwise, as some network drives do: it
    /// takes `A` for `a`, or on Windows `LECTUR~1.MP4` for a longer name. So whatever is there already
    /// in a folder that we have just made is another file of the same torrent.
    pub(super) fn create(&self) -> Result<(), StorageError> {
        let root = self.place().root.clone();
        let is_new = self.make_root(&root)?;
        let result = self.create_all(&root, is_new);
        if is_new && matches!(result, Err(StorageError::Occupied { .. })) {
            // Empty files, all made just now: to be refused again, and not taken for a beginning.
            let _ = fs::remove_dir_all(&root);
        }
        result
    }

    /// Makes the torrent's own folder. Whether it was not there: only who has made it knows that, for
    /// whoever looks may fail to see a folder that is there.
    pub(super) fn make_root(&self, root: &Path) -> Result<bool, StorageError> {
        let around = disk::parent(root);
        fs::create_dir_all(around)
            .map_err(|error| self.failed(around, "create the folder", error))?;
        if self.layout.is_single() {
            return Ok(false);
        }
        match fs::create_dir(root) {
            Ok(()) => Ok(true),
            Err(_) if root.is_dir() => Ok(false),
            Err(error) => Err(self.failed(root, "create the folder", error)),
        }
    }

    fn create_all(&self, root: &Path, is_new: bool) -> Result<(), StorageError> {
        let folder = match self.layout.is_single() {
            true => disk::parent(root),
            false => root,
        };
        let inside = disk::real_path(folder)
            .map_err(|error| StorageError::io(folder, "open the folder", error))?;
        let place = Place {
            root: root.to_path_buf(),
            inside: Some(inside.clone()),
            owner: self.place().owner,
            links: Links::Follow,
            seal: None,
        };
        *self.place.write() = Arc::new(place);
        let mut checked = PathBuf::new();
        for (i, file) in self.layout.files().iter().enumerate() {
            let path = self.path_of(root, i);
            let folder = disk::parent(&path);
            if folder != checked {
                self.make_folder_inside(folder, root, &inside)?;
                checked = folder.to_path_buf();
            }
            self.create_file(&path, file.length, is_new)?;
        }
        Ok(())
    }

    fn create_file(&self, path: &Path, length: u64, is_new: bool) -> Result<(), StorageError> {
        match fs::symlink_metadata(path) {
            Ok(_) if is_new => {
                return Err(occupied(
                    path,
                    "this disk takes it for another file of the torrent",
                ));
            }
            // Administrators could write it all the same; somebody did not want that.
            Ok(there) if is_kept_from_its_length(&there, length) => {
                return Err(protected(path));
            }
            // Longer than it should be: cut when it is complete, not before.
            Ok(there) if there.is_file() && there.len() >= length => return Ok(()),
            Ok(there) if there.is_file() => {}
            Ok(_) => return Err(occupied(path, "it is not a file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(StorageError::io(path, "look at", error)),
        }
        let patience = self.open.patience();
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        let made = disk::open_plain(&mut options, path, Links::Follow, patience);
        made.and_then(|file| {
            sparse::mark(path, length);
            patience.retry(path, || file.set_len(length))
        })
        .map_err(|error| self.not_written(path, "create", error))
    }

    /// Makes the missing folders one by one, so that none is made through a link that leads out.
    fn make_folder_inside(
        &self,
        folder: &Path,
        root: &Path,
        inside: &Path,
    ) -> Result<(), StorageError> {
        let mut missing = Vec::new();
        let mut at = folder;
        while fs::symlink_metadata(at).is_err() {
            missing.push(at);
            at = disk::parent(at);
        }
        refuse_outside(at, root, inside)?;
        while let Some(next) = missing.pop() {
            match fs::create_dir(next) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(self.failed(next, "create the folder", error));
                }
                _ => {}
            }
        }
        match fs::metadata(folder) {
            Ok(there) if !there.is_dir() => Err(occupied(folder, "it is not a folder")),
            _ => Ok(()),
        }
    }
}
