//! The `disk` thread: what takes long and is no piece. Files of complete torrents are moved to
//! their place, and records for the next run are written.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::runtime::threads;
use crate::storage::Storage;
use crate::storage::folder::DownloadFolder;
use crate::storage::resume::Record;
use crate::torrent::id::InfoHash;

use super::engine::Input;

pub enum DiskJob {
    /// All pieces are there.
    Finish {
        info_hash: InfoHash,
        storage: Arc<dyn Storage>,
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

pub struct Disk {
    jobs: Option<Sender<DiskJob>>,
    thread: Option<JoinHandle<()>>,
}

impl Disk {
    pub fn start(folder: Arc<DownloadFolder>, engine: Sender<Input>) -> io::Result<Disk> {
        let (jobs, queue) = unbounded();
        let run = move || work(&queue, &folder, &engine);
        let thread = Some(threads::spawn("disk", None, run)?);
        Ok(Disk {
            jobs: Some(jobs),
            thread,
        })
    }

    pub fn queue(&self, job: DiskJob) {
        if let Some(jobs) = &self.jobs {
            // The thread waits as long as there is a sender.
            let _ = jobs.send(job);
        }
    }
}

/// Waits until everything queued is on disk.
impl Drop for Disk {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            threads::join(thread);
        }
    }
}

fn work(queue: &Receiver<DiskJob>, folder: &DownloadFolder, engine: &Sender<Input>) {
    for job in queue {
        let result = match job {
            DiskJob::Finish { info_hash, storage } => {
                let result = storage.finish();
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
