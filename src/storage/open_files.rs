//! The open files of all torrents of one peer: at most so many at once, those used
//! least recently closed first.
//!
//! Not here: how a file is opened, and what it may be opened for ([`super::files`]).

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use super::patience::Patience;

/// How many files a peer keeps open. Classroom machines allow a process 1,024 descriptors, and
/// connections need theirs; files in the hands of a thread right now come on top.
pub const MAX_OPEN_FILES: usize = 256;

/// Shared by all storages of a peer.
pub struct OpenFiles {
    limit: usize,
    files: Mutex<Cache>,
    /// Holds one message at most: a file is open where none was.
    opened: (Sender<()>, Receiver<()>),
    /// With files that somebody else has open.
    patience: Patience,
}

#[derive(Default)]
struct Cache {
    open: HashMap<FileKey, Entry>,
    /// Counts uses: the clock by which the least recent one is told.
    clock: u64,
    /// What it was when unused files were closed last.
    closed_at: u64,
    owners: u64,
}

/// Which file: of whom, and which of his.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct FileKey {
    owner: Owner,
    file: usize,
}

/// Somebody whose files are kept here, closed together.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Owner(u64);

struct Entry {
    file: Arc<File>,
    used: u64,
}

impl OpenFiles {
    /// Keeps at most `limit` files open, at least one.
    pub fn new(limit: usize) -> OpenFiles {
        OpenFiles {
            limit: limit.max(1),
            files: Mutex::default(),
            opened: bounded(1),
            patience: Patience::default(),
        }
    }

    /// The same with this patience.
    pub fn with_patience(self, patience: Patience) -> OpenFiles {
        OpenFiles { patience, ..self }
    }

    pub fn patience(&self) -> &Patience {
        &self.patience
    }

    pub fn new_owner(&self) -> Owner {
        let mut cache = self.files.lock();
        cache.owners += 1;
        Owner(cache.owners)
    }

    /// The file if it is open.
    pub fn find(&self, owner: Owner, file: usize) -> Option<Arc<File>> {
        let mut cache = self.files.lock();
        cache.clock += 1;
        let now = cache.clock;
        let entry = cache.open.get_mut(&FileKey { owner, file })?;
        entry.used = now;
        Some(entry.file.clone())
    }

    /// Keeps a file that was just opened. If another thread was faster, its file is returned.
    pub fn keep(&self, owner: Owner, file: usize, opened: File) -> Arc<File> {
        let key = FileKey { owner, file };
        let mut cache = self.files.lock();
        cache.clock += 1;
        let used = cache.clock;
        if let Some(entry) = cache.open.get_mut(&key) {
            entry.used = used;
            return entry.file.clone();
        }
        let mut closing = Vec::new();
        if cache.open.len() >= self.limit {
            // The older half: to look for the oldest at each opening would take longer than to open.
            let mut uses: Vec<u64> = cache.open.values().map(|entry| entry.used).collect();
            let half = (uses.len() - 1) / 2;
            let (_, &mut newest, _) = uses.select_nth_unstable(half);
            let older = cache.open.extract_if(|_, entry| entry.used <= newest);
            closing.extend(older);
        }
        let file = Arc::new(opened);
        let entry = Entry {
            file: file.clone(),
            used,
        };
        cache.open.insert(key, entry);
        let is_first = cache.open.len() == 1;
        // Closing may block: not under the lock.
        drop(cache);
        drop(closing);
        if is_first {
            // A message that is there already says the same.
            let _ = self.opened.0.try_send(());
        }
        file
    }

    /// Closes all files of this owner that nobody holds.
    pub fn close(&self, owner: Owner) {
        let mut closing = Vec::new();
        let mut cache = self.files.lock();
        cache.open.retain(|key, entry| {
            let stays = key.owner != owner;
            if !stays {
                closing.push(entry.file.clone());
            }
            stays
        });
        drop(cache);
        drop(closing);
    }

    /// Closes all files that nobody has used since this was called last.
    pub fn close_unused(&self) {
        let mut cache = self.files.lock();
        let now = cache.clock;
        let since = std::mem::replace(&mut cache.closed_at, now);
        let unused = cache.open.extract_if(|_, entry| entry.used <= since);
        let closing: Vec<_> = unused.collect();
        drop(cache);
        drop(closing);
    }

    /// Says when a file is open where none was: from then on there is something to close.
    pub fn opened(&self) -> &Receiver<()> {
        &self.opened.1
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.files.lock().open.len()
    }
}

impl Default for OpenFiles {
    fn default() -> OpenFiles {
        OpenFiles::new(MAX_OPEN_FILES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_is_closed() {
        let open = OpenFiles::new(2);
        let (one, two) = (open.new_owner(), open.new_owner());
        let file = || tempfile::tempfile().unwrap();
        open.keep(one, 0, file());
        open.keep(one, 1, file());
        assert!(open.find(one, 0).is_some());
        open.keep(two, 0, file());
        assert!(open.find(one, 1).is_none() && open.find(one, 0).is_some());
        assert_eq!(open.count(), 2);
        open.close(one);
        assert!(open.find(one, 0).is_none() && open.find(two, 0).is_some());
    }

    #[test]
    fn what_nobody_uses_is_closed() {
        let open = OpenFiles::new(9);
        let owner = open.new_owner();
        for file in 0..3 {
            open.keep(owner, file, tempfile::tempfile().unwrap());
        }
        open.close_unused();
        assert_eq!(open.count(), 3, "all were used just now");
        assert!(open.find(owner, 1).is_some());
        open.close_unused();
        assert!(open.find(owner, 1).is_some() && open.find(owner, 0).is_none());
        open.close_unused();
        open.close_unused();
        assert_eq!(open.count(), 0);
    }
}
