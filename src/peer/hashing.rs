//! The hashing pool: SHA-1 of many pieces on every core, for new torrents and for what lies on
//! disk.
//!
//! | thread | owns | waits on | stops when |
//! |---|---|---|---|
//! | `hash-N` | one buffer, its turn of the jobs | its channel of jobs | the sender is dropped |
//!
//! Every thread knows every job and takes one piece of each in turn: a small job is not kept
//! waiting by a large one, and the pieces of one job are spread over all threads. Not here:
//! comparing with the hashes of a torrent; making one ([`make`]).

pub mod make;
pub mod whole;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TryRecvError, unbounded};
use parking_lot::{Mutex, MutexGuard};
use sha1::{Digest, Sha1};

use crate::runtime::threads;
use crate::storage::{Storage, StorageError};
use crate::torrent::id::PieceHash;
use crate::torrent::layout::{Layout, PieceIndex};

/// How much is read at once, in bytes: fits a core's own cache, so that hashing finds it there,
/// and is read in far less than a millisecond, so that cancelling is felt at once.
const PART: usize = 256 * 1024;

/// What unreadable pieces mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// A new torrent: any error ends the job, also a file that changed until the end of it.
    Make,
    /// To find out what is there: an unreadable piece has no hash.
    Check,
}

/// How a job ended.
#[derive(Debug)]
pub enum HashOutcome {
    /// The hash of every piece, in the order in which they were given.
    Hashed {
        hashes: Vec<(PieceIndex, Option<PieceHash>)>,
        /// Why the first unreadable piece could not be read.
        unreadable: Option<StorageError>,
    },
    Cancelled,
    Failed(StorageError),
}

/// As many threads as there are cores.
pub struct HashPool {
    /// One a thread.
    senders: Vec<Sender<Arc<Job>>>,
    threads: Vec<JoinHandle<()>>,
    /// The pool ends: what is under way is cancelled.
    ending: Arc<AtomicBool>,
}

/// A job under way. Dropping it changes nothing: the job goes on.
#[derive(Clone)]
pub struct HashTask {
    job: Arc<Job>,
}

/// How far a job is, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    pub done: u64,
    pub total: u64,
}

type OnDone = Box<dyn FnOnce(HashOutcome) + Send>;

struct Job {
    storage: Arc<dyn Storage>,
    layout: Arc<Layout>,
    pieces: Vec<PieceIndex>,
    purpose: Purpose,
    /// Bytes hashed.
    done: AtomicU64,
    total: u64,
    cancelled: AtomicBool,
    state: Mutex<State>,
}

/// Invariant: `on_done` is taken when `in_work` is 0 and either all pieces were given out or no
/// more shall be; then `hashes` is complete or of no interest.
struct State {
    /// How many of `pieces` were given out.
    given: usize,
    /// How many threads have one in hand.
    in_work: usize,
    hashes: Vec<Option<PieceHash>>,
    error: Option<StorageError>,
    on_done: Option<OnDone>,
}

impl HashPool {
    /// # Errors
    /// The system's, when it has no room for another thread.
    pub fn new() -> io::Result<HashPool> {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let mut pool = HashPool {
            senders: Vec::new(),
            threads: Vec::new(),
            ending: Arc::default(),
        };
        for i in 0..cores {
            let (sender, jobs) = unbounded();
            let ending = pool.ending.clone();
            let thread = threads::spawn(&format!("hash-{i}"), None, move || work(&jobs, &ending))?;
            pool.senders.push(sender);
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// Hashes `pieces`. `on_done` is called once, by a thread of the pool or by the one that
    /// cancels: it must be quick, such as a send to a channel.
    pub fn hash(
        &self,
        purpose: Purpose,
        storage: Arc<dyn Storage>,
        layout: Arc<Layout>,
        pieces: Vec<PieceIndex>,
        on_done: OnDone,
    ) -> HashTask {
        let size = |piece: &PieceIndex| u64::from(layout.piece_size(*piece));
        let job = Arc::new(Job {
            total: pieces.iter().map(size).sum(),
            state: Mutex::new(State {
                given: 0,
                in_work: 0,
                hashes: vec![None; pieces.len()],
                error: None,
                on_done: Some(on_done),
            }),
            storage,
            layout,
            pieces,
            purpose,
            done: AtomicU64::new(0),
            cancelled: AtomicBool::new(false),
        });
        for sender in &self.senders {
            // The threads wait as long as there is a sender.
            let _ = sender.send(job.clone());
        }
        HashTask { job }
    }
}

/// Cancels what is under way, and waits for the threads.
impl Drop for HashPool {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        self.senders.clear();
        for thread in self.threads.drain(..) {
            threads::join(thread);
        }
    }
}

impl HashTask {
    pub fn progress(&self) -> Progress {
        Progress {
            done: self.job.done.load(Ordering::Relaxed),
            total: self.job.total,
        }
    }

    /// The job ends within milliseconds (or when a read from the disk under way returns), unless
    /// it has ended already.
    pub fn cancel(&self) {
        self.job.cancelled.store(true, Ordering::SeqCst);
        self.job.end_if_over(self.job.state.lock());
    }
}

fn work(new_jobs: &Receiver<Arc<Job>>, ending: &AtomicBool) {
    let mut jobs: VecDeque<Arc<Job>> = VecDeque::new();
    let mut buffer = vec![0; PART];
    loop {
        let new = match jobs.is_empty() {
            true => new_jobs.recv().map_err(|_| TryRecvError::Disconnected),
            false => new_jobs.try_recv(),
        };
        match new {
            Ok(job) => jobs.push_back(job),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => break,
        }
        if let Some(job) = jobs.pop_front()
            && job.one_piece(&mut buffer, ending)
        {
            jobs.push_back(job);
        }
    }
    for job in jobs {
        job.cancelled.store(true, Ordering::SeqCst);
        job.end_if_over(job.state.lock());
    }
}

impl Job {
    /// Takes the next piece and hashes it. False when there is none left to take.
    fn one_piece(&self, buffer: &mut [u8], ending: &AtomicBool) -> bool {
        let mut state = self.state.lock();
        if state.given == self.pieces.len() || self.is_over(&state) {
            self.end_if_over(state);
            return false;
        }
        let nth = state.given;
        state.given += 1;
        state.in_work += 1;
        drop(state);

        let result = self.hash_piece(self.pieces[nth], buffer, ending);

        let mut state = self.state.lock();
        state.in_work -= 1;
        match result {
            Some(Ok(hash)) => state.hashes[nth] = Some(hash),
            Some(Err(error)) => {
                state.error.get_or_insert(error);
            }
            None => self.cancelled.store(true, Ordering::SeqCst),
        }
        self.end_if_over(state);
        true
    }

    /// None if the job was cancelled meanwhile.
    fn hash_piece(
        &self,
        piece: PieceIndex,
        buffer: &mut [u8],
        ending: &AtomicBool,
    ) -> Option<Result<PieceHash, StorageError>> {
        let mut hasher = Sha1::new();
        let mut at = self.layout.piece_offset(piece);
        let end = at + u64::from(self.layout.piece_size(piece));
        while at < end {
            if self.cancelled.load(Ordering::Relaxed) || ending.load(Ordering::Relaxed) {
                return None;
            }
            let part = &mut buffer[..(end - at).min(PART as u64) as usize];
            if let Err(error) = self.storage.read(at, part) {
                // Counted as done: progress must reach the total.
                self.done.fetch_add(end - at, Ordering::Relaxed);
                return Some(Err(error));
            }
            hasher.update(&*part);
            at += part.len() as u64;
            self.done.fetch_add(part.len() as u64, Ordering::Relaxed);
        }
        Some(Ok(PieceHash(hasher.finalize().into())))
    }

    /// No further piece shall be given out.
    fn is_over(&self, state: &State) -> bool {
        let failed = self.purpose == Purpose::Make && state.error.is_some();
        failed || self.cancelled.load(Ordering::SeqCst)
    }

    /// Reports the outcome if nothing is left to do and nobody is at it.
    fn end_if_over(&self, mut state: MutexGuard<'_, State>) {
        let over = state.given == self.pieces.len() || self.is_over(&state);
        if state.in_work > 0 || !over {
            return;
        }
        let Some(on_done) = state.on_done.take() else {
            return;
        };
        let complete = !self.is_over(&state);
        let hashes = std::mem::take(&mut state.hashes);
        let error = state.error.take();
        drop(state);
        on_done(match error {
            _ if complete => self.complete(hashes, error),
            Some(error) if !self.cancelled.load(Ordering::SeqCst) => HashOutcome::Failed(error),
            _ => HashOutcome::Cancelled,
        });
    }

    /// Every piece was tried.
    fn complete(
        &self,
        hashes: Vec<Option<PieceHash>>,
        unreadable: Option<StorageError>,
    ) -> HashOutcome {
        if self.purpose == Purpose::Make
            && let Err(error) = self.storage.verify_unchanged()
        {
            return HashOutcome::Failed(error);
        }
        HashOutcome::Hashed {
            hashes: self.pieces.iter().copied().zip(hashes).collect(),
            unreadable,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::storage::faulty::{Faults, FaultyStorage};
    use crate::storage::memory::MemoryStorage;

    const SECONDS: Duration = Duration::from_secs(20);

    fn content(length: usize) -> (Arc<Layout>, Vec<u8>) {
        let bytes = (0..length).map(|i| (i * i / 7) as u8).collect();
        let layout = Layout::single("m".into(), length as u64, 32 * 1024).unwrap();
        (Arc::new(layout), bytes)
    }

    fn start(
        pool: &HashPool,
        purpose: Purpose,
        storage: Arc<dyn Storage>,
        layout: &Arc<Layout>,
    ) -> (HashTask, Receiver<HashOutcome>) {
        let (done, outcome) = unbounded();
        let on_done = Box::new(move |outcome| drop(done.send(outcome)));
        let pieces = layout.all_pieces().collect();
        let task = pool.hash(purpose, storage, layout.clone(), pieces, on_done);
        (task, outcome)
    }

    #[test]
    fn every_piece_gets_its_hash() {
        let pool = HashPool::new().unwrap();
        for length in [0, 1, 32 * 1024, 1_000_000] {
            let (layout, bytes) = content(length);
            let expect: Vec<_> = bytes.chunks(32 * 1024).map(PieceHash::of).collect();
            let storage = Arc::new(MemoryStorage::full("m", bytes));
            let (task, outcome) = start(&pool, Purpose::Make, storage, &layout);
            let Ok(HashOutcome::Hashed { hashes, unreadable }) = outcome.recv_timeout(SECONDS)
            else {
                panic!("not hashed");
            };
            assert!(unreadable.is_none());
            let pieces: Vec<_> = hashes.iter().map(|(piece, _)| *piece).collect();
            assert_eq!(pieces, layout.all_pieces().collect::<Vec<_>>());
            let hashes: Vec<_> = hashes.into_iter().filter_map(|(_, hash)| hash).collect();
            assert_eq!(hashes, expect);
            let total = length as u64;
            assert_eq!(task.progress(), Progress { done: total, total });
        }
    }

    #[test]
    fn several_jobs_share_the_pool() {
        let pool = HashPool::new().unwrap();
        let (large, bytes) = content(10_000_000);
        let (storage, faults) = FaultyStorage::new(Arc::new(MemoryStorage::full("m", bytes)));
        faults.set(Faults {
            delay: Duration::from_millis(10),
            ..Faults::default()
        });
        let (slow, slow_outcome) = start(&pool, Purpose::Check, Arc::new(storage), &large);
        let (small, bytes) = content(200_000);
        let storage = Arc::new(MemoryStorage::full("m", bytes));
        let (_, outcome) = start(&pool, Purpose::Check, storage, &small);
        let outcome = outcome.recv_timeout(SECONDS).unwrap();
        assert!(matches!(outcome, HashOutcome::Hashed { .. }));
        let progress = slow.progress();
        assert!(
            progress.done < progress.total,
            "it waited for the large one"
        );
        slow.cancel();
        let outcome = slow_outcome.recv_timeout(SECONDS).unwrap();
        assert!(matches!(outcome, HashOutcome::Cancelled));
    }

    #[test]
    fn a_cancelled_job_ends_once_and_soon() {
        let pool = HashPool::new().unwrap();
        let (layout, bytes) = content(10_000_000);
        let (storage, faults) = FaultyStorage::new(Arc::new(MemoryStorage::full("m", bytes)));
        faults.set(Faults {
            delay: Duration::from_millis(20),
            ..Faults::default()
        });
        let (task, outcome) = start(&pool, Purpose::Check, Arc::new(storage), &layout);
        while task.progress().done == 0 {
            std::thread::yield_now();
        }
        let since = Instant::now();
        task.cancel();
        task.cancel();
        let ended = outcome.recv_timeout(SECONDS).unwrap();
        assert!(matches!(ended, HashOutcome::Cancelled));
        assert!(since.elapsed() < Duration::from_secs(2), "two reads' time");
        assert!(outcome.recv_timeout(SECONDS).is_err(), "reported twice");
    }

    #[test]
    fn errors_end_making_but_not_checking() {
        let pool = HashPool::new().unwrap();
        let (layout, bytes) = content(200_000);
        let (storage, faults) = FaultyStorage::new(Arc::new(MemoryStorage::full("m", bytes)));
        let storage = Arc::new(storage);
        faults.set(Faults {
            broken_reads: true,
            ..Faults::default()
        });
        let (_, outcome) = start(&pool, Purpose::Make, storage.clone(), &layout);
        let outcome = outcome.recv_timeout(SECONDS).unwrap();
        assert!(matches!(outcome, HashOutcome::Failed(_)), "{outcome:?}");
        let (task, outcome) = start(&pool, Purpose::Check, storage, &layout);
        let outcome = outcome.recv_timeout(SECONDS).unwrap();
        let HashOutcome::Hashed { hashes, unreadable } = outcome else {
            panic!("{outcome:?}");
        };
        assert!(hashes.iter().all(|(_, hash)| hash.is_none()) && hashes.len() == 7);
        assert!(unreadable.is_some());
        assert_eq!(task.progress().done, 200_000);
    }

    #[test]
    fn the_end_of_the_pool_cancels() {
        let pool = HashPool::new().unwrap();
        let (layout, bytes) = content(10_000_000);
        let (storage, faults) = FaultyStorage::new(Arc::new(MemoryStorage::full("m", bytes)));
        let storage: Arc<dyn Storage> = Arc::new(storage);
        faults.set(Faults {
            delay: Duration::from_millis(10),
            ..Faults::default()
        });
        let jobs: Vec<_> = (0..3)
            .map(|_| start(&pool, Purpose::Check, storage.clone(), &layout))
            .collect();
        drop(pool);
        for (_, outcome) in jobs {
            let outcome = outcome
                .try_recv()
                .expect("reported before the pool is gone");
            assert!(matches!(outcome, HashOutcome::Cancelled));
        }
    }
}
