//! The `disk` thread: what takes long and is no piece. Files of complete torrents are moved to
//! their place, once the SHA-256 of the whole was compared if one was published; records for
//! the next run are written; and files are closed that nobody uses.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, at, never, select, unbounded};

use crate::runtime::threads;
use crate::storage::folder::DownloadFolder;
use crate::storage::open_files::OpenFiles;
use crate::storage::probe::part_path;
use crate::storage::resume::Record;
use crate::storage::{Storage, StorageError};
use crate::torrent::id::{FileHash, InfoHash};

use super::engine::Input;
use super::hashing::whole::whole_file;

pub enum DiskJob {
    /// All pieces are there.
    Finish {
        info_hash: InfoHash,
        storage: Arc<dyn Storage>,
        /// In bytes.
        total: u64,
        /// What the whole must have: with another one it does not get its real name.
        sha256: Option<FileHash>,
    },
    /// Its files' stamps, and whether they are in their place, are looked up when it is written.
    Remember {
        record: Box<Record>,
        storage: Arc<dyn Storage>,
    },
    /// A torrent waits until there is room for the rest of it.
    LookForSpace {
        info_hash: InfoHash,
        storage: Arc<dyn Storage>,
    },
    Forget(InfoHash),
}

/// How often files are closed that nobody has used meanwhile. On Windows an open file may be in its
/// owner's way: on a stick or a network drive it cannot be deleted, and the stick not be removed.
const CLOSE_EVERY: Duration = Duration::from_secs(1);

pub struct Disk {
    jobs: Option<Sender<DiskJob>>,
    thread: Option<JoinHandle<()>>,
    /// The program ends: nothing long is begun or gone on with.
    ending: Arc<AtomicBool>,
}

impl Disk {
    pub fn start(
        folder: Arc<DownloadFolder>,
        open_files: Arc<OpenFiles>,
        engine: Sender<Input>,
    ) -> io::Result<Disk> {
        let (jobs, queue) = unbounded();
        let ending = Arc::new(AtomicBool::new(false));
        let for_thread = ending.clone();
        let run = move || {
            work(
                &queue,
                &folder,
                &open_files,
                &engine,
                &for_thread,
                CLOSE_EVERY,
            )
        };
        let thread = Some(threads::spawn("disk", None, run)?);
        Ok(Disk {
            jobs: Some(jobs),
            thread,
            ending,
        })
    }

    pub fn queue(&self, job: DiskJob) {
        if let Some(jobs) = &self.jobs {
            // The thread waits as long as there is a sender.
            let _ = jobs.send(job);
        }
    }
}

/// Waits until everything queued is on disk. A SHA-256 that is being computed is given up: the next
/// run begins it anew.
impl Drop for Disk {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            threads::join(thread);
        }
    }
}

fn work(
    queue: &Receiver<DiskJob>,
    folder: &DownloadFolder,
    open_files: &OpenFiles,
    engine: &Sender<Input>,
    ending: &AtomicBool,
    close_every: Duration,
) {
    // While no file is open there is no clock. Jobs do not put it back.
    let mut close_at = None;
    loop {
        let clock = close_at.map_or_else(never, at);
        let job = select! {
            recv(queue) -> job => match job {
                Ok(job) => job,
                Err(_) => return,
            },
            recv(open_files.opened()) -> _ => {
                close_at.get_or_insert_with(|| Instant::now() + close_every);
                continue;
            }
            recv(clock) -> _ => {
                open_files.close_unused();
                let some = open_files.count() > 0;
                close_at = some.then(|| Instant::now() + close_every);
                continue;
            }
        };
        let result = match job {
            DiskJob::Finish {
                info_hash,
                storage,
                total,
                sha256,
            } => {
                let right = match sha256 {
                    Some(sha256) => is_right(&*storage, total, sha256, ending),
                    None => Ok(true),
                };
                let result = match right {
                    Ok(true) => storage.finish(),
                    Ok(false) => continue,
                    Err(error) => Err(error),
                };
                let _ = engine.send(Input::Finished { info_hash, result });
                Ok(())
            }
            DiskJob::Remember {
                mut record,
                storage,
            } => {
                record.finished = storage.is_finished() && record.have.is_full();
                // A clean record is believed without hashing: what it speaks of must be on the disk
                // first, also if the power fails.
                if record.clean && !record.finished {
                    record.clean = storage.sync().is_ok();
                }
                // Without stamps the next run looks at what is there.
                record.files = storage.stamps().unwrap_or_default();
                folder.remember(&record)
            }
            DiskJob::LookForSpace { info_hash, storage } => {
                let room = (storage.free_space(), storage.needed_space());
                if matches!(room, (Ok(free), Ok(needed)) if free > needed) {
                    let _ = engine.send(Input::SpaceFound { info_hash });
                }
                Ok(())
            }
            DiskJob::Forget(info_hash) => folder.forget(info_hash),
        };
        if let Err(error) = result {
            log::error!(target: "disk", "the state of a torrent could not be saved: {error}");
        }
    }
}

/// Whether the whole file's SHA-256 is this one: an error if it is another. False if the program
/// ends before that is known.
fn is_right(
    storage: &dyn Storage,
    total: u64,
    expected: FileHash,
    ending: &AtomicBool,
) -> Result<bool, StorageError> {
    let mut look = |_| match ending.load(Ordering::SeqCst) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    match whole_file(storage, total, &mut look)? {
        None => Ok(false),
        Some(is) if is == expected => Ok(true),
        Some(is) => Err(StorageError::WrongSha256 {
            path: part_path(storage.final_path()),
            is,
            expected,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::storage::faulty::{Faults, FaultyStorage};
    use crate::storage::memory::MemoryStorage;

    /// Whoever had much to write never closed a file, and woke up every second ever after.
    #[test]
    fn files_are_closed_however_many_jobs_there_are() {
        let temp = tempfile::tempdir().unwrap();
        let folder = DownloadFolder::open(temp.path()).unwrap();
        let open_files = OpenFiles::default();
        let (jobs, queue) = unbounded();
        let (engine, _inputs) = unbounded();
        let ending = AtomicBool::new(false);
        let every = Duration::from_millis(5);
        std::thread::scope(|scope| {
            scope.spawn(|| work(&queue, &folder, &open_files, &engine, &ending, every));
            let deadline = Instant::now() + Duration::from_secs(30);
            // Again, too, after none was open.
            for file in 0..2 {
                let owner = open_files.new_owner();
                open_files.keep(owner, file, tempfile::tempfile().unwrap());
                while open_files.count() > 0 && Instant::now() < deadline {
                    // There is always one more.
                    while jobs.len() < 100 {
                        jobs.send(DiskJob::Forget(InfoHash([1; 20]))).unwrap();
                    }
                    std::thread::yield_now();
                }
            }
            drop(jobs);
        });
        assert_eq!(open_files.count(), 0, "still open");
        assert!(
            open_files.opened().is_empty(),
            "it would wake up for nothing"
        );
    }

    #[test]
    fn a_sha256_that_is_being_computed_does_not_hold_up_the_end() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Arc::new(DownloadFolder::open(temp.path()).unwrap());
        let (engine, inputs) = unbounded();
        let disk = Disk::start(folder, Arc::default(), engine).unwrap();
        // A minute's work.
        let total = 16 << 20;
        let content = Arc::new(MemoryStorage::full("m", vec![0; total]));
        let (storage, faults) = FaultyStorage::new(content);
        faults.set(Faults {
            delay: Duration::from_secs(1),
            ..Faults::default()
        });
        disk.queue(DiskJob::Finish {
            info_hash: InfoHash([1; 20]),
            storage: Arc::new(storage),
            total: total as u64,
            sha256: Some(FileHash([0; 32])),
        });
        drop(disk);
        assert!(inputs.try_recv().is_err(), "it was compared to the end");
    }
}
