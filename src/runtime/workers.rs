//! Threads that do one job after another: a finished one waits a while for the next job before
//! it ends, because starting and joining a thread costs more than most jobs.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::threads::Threads;

/// How long a worker waits for another job before it ends.
const LINGER: Duration = Duration::from_secs(5);

type Job = Box<dyn FnOnce() + Send>;

/// As many threads as there are jobs at once.
pub struct Workers {
    name: &'static str,
    stack: usize,
    threads: Threads,
    started: AtomicUsize,
    /// Rendezvous: a job goes only to a worker that waits right now.
    hand_over: Option<Sender<Job>>,
    waiting: Receiver<Job>,
    finished: Arc<AtomicUsize>,
}

impl Workers {
    /// Threads called `name-1`, `name-2`, … with stacks of `stack` bytes.
    pub fn new(name: &'static str, stack: usize) -> Workers {
        let (hand_over, waiting) = bounded(0);
        Workers {
            name,
            stack,
            threads: Threads::new(),
            started: AtomicUsize::new(0),
            hand_over: Some(hand_over),
            waiting,
            finished: Arc::default(),
        }
    }

    /// Runs `job` on a waiting thread, or on a new one.
    ///
    /// # Errors
    /// The system's, when it has no room for another thread; the job is dropped.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let Some(hand_over) = &self.hand_over else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let mut next: Job = match hand_over.try_send(Box::new(job)) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => job,
        };
        let number = self.started.fetch_add(1, Ordering::Relaxed) + 1;
        let waiting = self.waiting.clone();
        let finished = self.finished.clone();
        self.threads.spawn(
            &format!("{}-{number}", self.name),
            Some(self.stack),
            move || {
                loop {
                    next();
                    match waiting.recv_timeout(LINGER) {
                        Ok(job) => next = job,
                        Err(_) => break,
                    }
                }
                finished.fetch_add(1, Ordering::Relaxed);
            },
        )
    }

    /// How many threads there are, waiting ones included.
    pub fn count(&self) -> usize {
        self.started.load(Ordering::Relaxed) - self.finished.load(Ordering::Relaxed)
    }
}

/// Waits for the jobs under way; they must have been told to stop.
impl Drop for Workers {
    fn drop(&mut self) {
        self.hand_over = None;
        self.threads.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_worker_takes_the_next_job() {
        let workers = Workers::new("test", 256 * 1024);
        let (done, results) = crossbeam_channel::unbounded();
        for i in 0..100 {
            let done = done.clone();
            workers.run(move || done.send(i).unwrap()).unwrap();
            assert_eq!(results.recv_timeout(Duration::from_secs(10)), Ok(i));
        }
        assert!(
            workers.count() < 100,
            "{} threads for 100 jobs one by one",
            workers.count()
        );
    }
}
