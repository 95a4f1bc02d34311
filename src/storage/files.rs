//! A torrent's bytes in real files: under a temporary name until they are complete, read-only
//! afterwards.
//!
//! A download lies beside its place as `<name>.part` (a file, or the folder around all files),
//! sparse, and is renamed by [`Storage::finish`]. Finished content is served only as long as
//! its files look as they did: every read looks at the open file afterwards (a third of a
//! microsecond; whoever changes a file changes its time first), and once a second at the path.
//!
//! Not here: what lies at a place before it is used ([`super::probe`]), safe names
//! ([`super::names`]).

mod create;
mod seal;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::RwLock;

use self::create::refuse_wrong_kind;
use self::seal::{Seal, wrong_length};
use super::disk::{self, Links, Stamp};
use super::names::{Platform, SafePaths};
use super::open_files::{OpenFiles, Owner};
use super::probe::part_path;
use super::{FileStamp, Storage, StorageError, check_range};
use crate::torrent::layout::{Layout, Span};

/// How long finishing waits for writes under way (of pieces that another connection completed
/// first, so they are few), and a read for the files to be renamed.
const FINISH_PATIENCE: Duration = Duration::from_secs(10);

/// Real files.
pub struct FileStorage {
    layout: Arc<Layout>,
    paths: Arc<SafePaths>,
    /// The final place: of the file, or of the folder around all files.
    target: PathBuf,
    open: Arc<OpenFiles>,
    place: RwLock<Arc<Place>>,
    /// One a file: written since the last sync.
    dirty: Vec<AtomicBool>,
    /// Finishing waits for these, and lets no new ones in.
    writers: AtomicUsize,
    closing: AtomicBool,
}

/// Where the files are now. Replaced as a whole when the torrent is finished.
struct Place {
    /// The file, or the folder around all files.
    root: PathBuf,
    /// `root` without links: nothing outside is touched. None for a single file that the user
    /// named himself.
    inside: Option<PathBuf>,
    owner: Owner,
    /// A single file that was no link when it was sealed must not be one later.
    links: Links,
    /// None while it is downloaded.
    seal: Option<Seal>,
}

impl FileStorage {
    /// Opens a download to `target`, new or begun: what lies under the temporary name is kept.
    ///
    /// # Errors
    /// [`StorageError::NoSpace`] before anything is created, [`StorageError::Occupied`] if
    /// something lies at `target` ([`super::probe::probe`] tells what,
    /// [`super::probe::adopt`] may use it).
    pub fn download(
        target: &Path,
        layout: Arc<Layout>,
        open: Arc<OpenFiles>,
    ) -> Result<FileStorage, StorageError> {
        let paths = SafePaths::new(&layout, Platform::here())?;
        let storage = FileStorage::unopened(target, layout, paths, open)?;
        let (needed, free) = (storage.needed_space()?, storage.free_space()?);
        if needed > free {
            return Err(StorageError::NoSpace {
                path: target.to_path_buf(),
                needed,
                free,
            });
        }
        storage.create()?;
        Ok(storage)
    }

    /// Opens a download that was begun and goes on by itself, under these names: there may be no
    /// room for the rest just now.
    ///
    /// # Errors
    /// As [`FileStorage::download`], except for the space.
    pub fn begun(
        target: &Path,
        layout: Arc<Layout>,
        paths: SafePaths,
        open: Arc<OpenFiles>,
    ) -> Result<FileStorage, StorageError> {
        let storage = FileStorage::unopened(target, layout, paths, open)?;
        storage.create()?;
        Ok(storage)
    }

    /// A download of which no file is made or opened yet.
    fn unopened(
        target: &Path,
        layout: Arc<Layout>,
        paths: SafePaths,
        open: Arc<OpenFiles>,
    ) -> Result<FileStorage, StorageError> {
        if fs::symlink_metadata(target).is_ok() {
            return Err(occupied(target, "something lies there already"));
        }
        let root = part_path(target);
        refuse_wrong_kind(&root, layout.is_single())?;
        Ok(FileStorage::new(target, layout, paths, open, root))
    }

    /// Opens complete content where it lies, read-only. Its names are those that a download would
    /// have.
    ///
    /// # Errors
    /// [`StorageError::Missing`] and [`StorageError::Changed`] if a file is not there or has
    /// another length.
    pub fn existing(
        target: &Path,
        layout: Arc<Layout>,
        open: Arc<OpenFiles>,
    ) -> Result<FileStorage, StorageError> {
        let paths = SafePaths::new(&layout, Platform::here())?;
        FileStorage::existing_as(target, layout, paths, open)
    }

    /// The same, under these names.
    pub fn existing_as(
        target: &Path,
        layout: Arc<Layout>,
        paths: SafePaths,
        open: Arc<OpenFiles>,
    ) -> Result<FileStorage, StorageError> {
        let root = target.to_path_buf();
        let mut storage = FileStorage::new(target, layout, paths, open, root);
        let place = storage.sealed(target.to_path_buf())?;
        storage.place = RwLock::new(Arc::new(place));
        Ok(storage)
    }

    fn new(
        target: &Path,
        layout: Arc<Layout>,
        paths: SafePaths,
        open: Arc<OpenFiles>,
        root: PathBuf,
    ) -> FileStorage {
        let place = Place {
            root,
            inside: None,
            owner: open.new_owner(),
            links: Links::Follow,
            seal: None,
        };
        let clean = |_: &_| AtomicBool::new(false);
        let paths = Arc::new(paths.at(target, &layout));
        FileStorage {
            dirty: layout.files().iter().map(clean).collect(),
            layout,
            paths,
            target: target.to_path_buf(),
            open,
            place: RwLock::new(Arc::new(place)),
            writers: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
        }
    }

    /// Where the files are at the moment: the temporary place until the torrent is finished.
    pub fn current_path(&self) -> PathBuf {
        self.place().root.clone()
    }

    /// Whether it is complete, and one plain file at its own path: no link leads to it, nor will one be
    /// followed later.
    pub fn is_plain_file(&self) -> bool {
        self.place().links == Links::Refuse
    }

    fn place(&self) -> Arc<Place> {
        self.place.read().clone()
    }

    /// The new place, if the files are no longer at `old`: finishing may have renamed them
    /// between looking up the place and opening a file. Waits while that is under way.
    fn moved(&self, old: &Arc<Place>) -> Option<Arc<Place>> {
        let since = Instant::now();
        loop {
            // In this order: the new place is there before the closing ends.
            let closing = self.closing.load(Ordering::SeqCst);
            let place = self.place();
            if !Arc::ptr_eq(old, &place) {
                return Some(place);
            }
            if !closing || since.elapsed() > FINISH_PATIENCE {
                return None;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn path_of(&self, root: &Path, file: usize) -> PathBuf {
        match self.layout.is_single() {
            true => root.to_path_buf(),
            false => root.join(&self.paths.files[file]),
        }
    }

    /// The place of complete content, with what its files look like now.
    fn sealed(&self, root: PathBuf) -> Result<Place, StorageError> {
        // First of all: whatever it becomes from now on is not followed.
        let is_plain = fs::symlink_metadata(&root).is_ok_and(|there| there.is_file());
        let links = if is_plain {
            Links::Refuse
        } else {
            Links::Follow
        };
        let mut stamps = Vec::with_capacity(self.layout.files().len());
        for (i, file) in self.layout.files().iter().enumerate() {
            let path = self.path_of(&root, i);
            let metadata =
                fs::metadata(&path).map_err(|error| StorageError::io(&path, "look at", error))?;
            if !metadata.is_file() {
                return Err(occupied(&path, "it is not a file"));
            }
            let stamp = Stamp::of(&metadata);
            if stamp.length != file.length {
                return Err(changed(path, wrong_length(stamp.length, file.length)));
            }
            stamps.push(stamp);
        }
        let inside = match self.layout.is_single() {
            true => None,
            false => Some(
                disk::real_path(&root)
                    .map_err(|error| StorageError::io(&root, "open the folder", error))?,
            ),
        };
        Ok(Place {
            root,
            inside,
            owner: self.open.new_owner(),
            links,
            seal: Some(Seal::new(stamps)),
        })
    }

    fn open_file(&self, place: &Place, file: usize) -> Result<Arc<File>, StorageError> {
        if let Some(open) = self.open.find(place.owner, file) {
            return Ok(open);
        }
        let path = self.path_of(&place.root, file);
        if let Some(inside) = &place.inside {
            refuse_outside(&path, &place.root, inside)?;
        }
        // What must not be written may be right as it is: it can be read, and a write is refused.
        let writable = place.seal.is_none() && !disk::is_for_reading(&path);
        let mut options = OpenOptions::new();
        options.read(true).write(writable);
        let opened = disk::open_plain(&mut options, &path, place.links, self.open.patience())
            .map_err(|error| StorageError::io(&path, "open", error))?;
        Ok(self.open.keep(place.owner, file, opened))
    }

    fn read_span(&self, place: &Place, span: Span, part: &mut [u8]) -> Result<(), StorageError> {
        if let Some(seal) = &place.seal {
            seal.now_and_then(span.file, || self.look(place, seal, span.file))?;
        }
        let open = self.open_file(place, span.file)?;
        let path = || self.path_of(&place.root, span.file);
        let patience = self.open.patience();
        let read = patience.retry(&path(), || disk::read_exact_at(&open, part, span.offset));
        read.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => changed(path(), "it became shorter".into()),
            _ => StorageError::io(&path(), "read", error),
        })?;
        match &place.seal {
            Some(seal) => {
                let now = open.metadata();
                let now = now.map_err(|error| StorageError::io(&path(), "look at", error))?;
                match disk::is_deleted(&now) {
                    // Either gone, or another file has its name now.
                    true => {
                        self.look(place, seal, span.file)?;
                        Err(changed(path(), "it was replaced".into()))
                    }
                    false => seal.compare(span.file, &now, path),
                }
            }
            None => Ok(()),
        }
    }

    fn look(&self, place: &Place, seal: &Seal, file: usize) -> Result<(), StorageError> {
        let path = self.path_of(&place.root, file);
        let now = fs::metadata(&path).map_err(|error| StorageError::io(&path, "look at", error))?;
        seal.compare(file, &now, || path)
    }

    fn write_spans(&self, offset: u64, bytes: &[u8]) -> Result<(), StorageError> {
        let place = self.place();
        if place.seal.is_some() || self.closing.load(Ordering::SeqCst) {
            let path = self.target.clone();
            return Err(StorageError::ReadOnly { path });
        }
        let mut rest = bytes;
        for span in self.layout.spans(offset, bytes.len() as u64) {
            let part;
            (part, rest) = rest.split_at(span.length as usize);
            let open = self.open_file(&place, span.file)?;
            // Before the write: a sync at the same time must not miss it.
            self.dirty[span.file].store(true, Ordering::Release);
            let path = self.path_of(&place.root, span.file);
            let written = self
                .open
                .patience()
                .retry(&path, || disk::write_all_at(&open, part, span.offset))
                .map_err(|error| self.not_written(&path, "write", error));
            match written {
                // The part of a piece whose rest is another file's.
                Err(StorageError::Protected { .. }) if holds(&open, part, span.offset) => {}
                written => written?,
            }
        }
        Ok(())
    }

    /// Cuts what is longer than it should be, syncs the files, renames, and looks at the result.
    fn move_to_target(&self) -> Result<Place, StorageError> {
        let place = self.place();
        if fs::symlink_metadata(&self.target).is_ok() {
            return Err(occupied(&self.target, "it appeared while we downloaded"));
        }
        for (i, file) in self.layout.files().iter().enumerate() {
            let path = self.path_of(&place.root, i);
            let failed = |error| self.failed(&path, "complete", error);
            let there = fs::metadata(&path).map_err(failed)?;
            if there.len() > file.length {
                let open = self.open_file(&place, i)?;
                open.set_len(file.length).map_err(failed)?;
            }
        }
        self.sync()?;
        self.open.close(place.owner);
        disk::rename_for_now(&place.root, &self.target, self.open.patience())
            .map_err(|error| self.failed(&place.root, "rename", error))?;
        self.sealed(self.target.clone())
    }

    /// A full disk is told apart, with figures.
    fn failed(&self, path: &Path, doing: &'static str, error: io::Error) -> StorageError {
        match error.kind() {
            // A quota is no such case: the free space that we can see is not ours.
            io::ErrorKind::StorageFull => StorageError::NoSpace {
                path: self.target.clone(),
                needed: self.needed_space().unwrap_or(0).max(1),
                free: self.free_space().unwrap_or(0),
            },
            _ => StorageError::io(path, doing, error),
        }
    }

    /// The same; and a file that must not be written is told apart, too.
    fn not_written(&self, path: &Path, doing: &'static str, error: io::Error) -> StorageError {
        match error.kind() {
            io::ErrorKind::StorageFull => self.failed(path, doing, error),
            _ => StorageError::writing(path, doing, error),
        }
    }
}

/// Whether these bytes are there already.
fn holds(file: &File, bytes: &[u8], offset: u64) -> bool {
    let mut there = vec![0; bytes.len()];
    disk::read_exact_at(file, &mut there, offset).is_ok() && there == bytes
}

fn changed(path: PathBuf, what: String) -> StorageError {
    StorageError::Changed { path, what }
}

fn occupied(path: &Path, what: &str) -> StorageError {
    StorageError::Occupied {
        path: path.to_path_buf(),
        what: what.into(),
    }
}

/// Follows all links: the end must lie in the folder `inside`, which is where `root` leads to.
fn refuse_outside(path: &Path, root: &Path, inside: &Path) -> Result<(), StorageError> {
    // Nearly always there is none, and that is seen sooner than where each folder above leads to.
    let mut way = path.ancestors().take_while(|at| at.starts_with(root));
    if !way.any(|at| fs::symlink_metadata(at).is_ok_and(|there| there.is_symlink())) {
        return Ok(());
    }
    let real = disk::real_path(path).map_err(|error| StorageError::io(path, "look at", error))?;
    match real.starts_with(inside) {
        true => Ok(()),
        false => Err(StorageError::Outside {
            path: path.to_path_buf(),
            folder: inside.to_path_buf(),
        }),
    }
}

impl Storage for FileStorage {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StorageError> {
        check_range(offset, buffer.len(), self.layout.total())?;
        let mut place = self.place();
        let mut rest = &mut *buffer;
        for span in self.layout.spans(offset, rest.len() as u64) {
            let part;
            (part, rest) = rest.split_at_mut(span.length as usize);
            while let Err(error) = self.read_span(&place, span, part) {
                match (&error, self.moved(&place)) {
                    (StorageError::Missing { .. }, Some(new)) => place = new,
                    _ => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), StorageError> {
        check_range(offset, bytes.len(), self.layout.total())?;
        self.writers.fetch_add(1, Ordering::SeqCst);
        let result = self.write_spans(offset, bytes);
        self.writers.fetch_sub(1, Ordering::SeqCst);
        log::trace!(
            target: "hop",
            "storage: {} bytes at {offset} of {}: {}",
            bytes.len(),
            self.paths.name,
            if result.is_ok() { "written" } else { "not written" }
        );
        result
    }

    fn sync(&self) -> Result<(), StorageError> {
        let place = self.place();
        for (i, dirty) in self.dirty.iter().enumerate() {
            if dirty.swap(false, Ordering::AcqRel) {
                let synced = self.open_file(&place, i).and_then(|open| {
                    let failed = |error| self.failed(&self.path_of(&place.root, i), "sync", error);
                    disk::sync(&open).map_err(failed)
                });
                synced.inspect_err(|_| dirty.store(true, Ordering::Release))?;
            }
        }
        Ok(())
    }

    fn finish(&self) -> Result<(), StorageError> {
        if self.is_finished() {
            return Ok(());
        }
        let busy = || StorageError::Io {
            path: self.target.clone(),
            doing: "finish",
            source: io::ErrorKind::ResourceBusy.into(),
        };
        if self.closing.swap(true, Ordering::SeqCst) {
            return Err(busy());
        }
        let since = Instant::now();
        let result = loop {
            if self.writers.load(Ordering::SeqCst) == 0 {
                break self.move_to_target();
            }
            if since.elapsed() > FINISH_PATIENCE {
                break Err(busy());
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let result = result.map(|place| *self.place.write() = Arc::new(place));
        self.closing.store(false, Ordering::SeqCst);
        result?;
        // Last of all: it may take seconds, and until then who reads would have found no file.
        let folder = disk::parent(&self.target);
        disk::sync_folder(folder).map_err(|error| StorageError::io(folder, "sync", error))
    }

    fn is_finished(&self) -> bool {
        self.place.read().seal.is_some()
    }

    fn final_path(&self) -> &Path {
        &self.target
    }

    fn names(&self) -> Option<Arc<SafePaths>> {
        Some(self.paths.clone())
    }

    fn free_space(&self) -> Result<u64, StorageError> {
        disk::available(&self.target)
            .map_err(|error| StorageError::io(&self.target, "ask for the free space of", error))
    }

    fn needed_space(&self) -> Result<u64, StorageError> {
        let place = self.place();
        let mut needed = 0;
        for (i, file) in self.layout.files().iter().enumerate() {
            let path = self.path_of(&place.root, i);
            needed += match disk::allocated(&path) {
                Ok(allocated) => file.length.saturating_sub(allocated),
                Err(error) if error.kind() == io::ErrorKind::NotFound => file.length,
                Err(error) => return Err(StorageError::io(&path, "look at", error)),
            };
        }
        Ok(needed)
    }

    fn stamps(&self) -> Result<Vec<FileStamp>, StorageError> {
        let place = self.place();
        let stamp = |(i, path): (usize, &PathBuf)| {
            let at = self.path_of(&place.root, i);
            let metadata =
                fs::metadata(&at).map_err(|error| StorageError::io(&at, "look at", error))?;
            Ok(FileStamp::of(path.clone(), &metadata))
        };
        self.paths.files.iter().enumerate().map(stamp).collect()
    }

    fn verify_unchanged(&self) -> Result<(), StorageError> {
        let place = self.place();
        match &place.seal {
            Some(seal) => {
                (0..self.layout.files().len()).try_for_each(|file| self.look(&place, seal, file))
            }
            None => Ok(()),
        }
    }
}

/// Nobody else uses these files: they need not stay open.
impl Drop for FileStorage {
    fn drop(&mut self) {
        self.open.close(self.place().owner);
    }
}

#[cfg(test)]
mod tests;
