//! The thread `store`: the only one that changes facts.
//!
//! Changes come through a channel. Those that wait are decided one after another and committed
//! in one transaction, because a commit waits for the disk and a decision does not. Only then
//! are they answered, shown to the other threads, and told to who listens. So an `OK` is on the
//! disk, and nobody ever sees what is not.

pub mod database;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use crate::control::news::NewsLine;
use crate::control::stamp::{Clock, UserId};
use crate::registry::change::{Change, Done, Limits, decide};
use crate::registry::fact::Entry;
use crate::registry::facts::Facts;
use crate::registry::news::{Before, Told};
use crate::registry::refused::Refused;
use crate::runtime::threads;

use database::{Database, DatabaseError};

use super::hub::{Heard, Hub};
use super::known::Known;

/// Changes that may wait: one of each of many clients.
const QUEUE: usize = 1024;
/// Changes in one transaction.
const MAX_BATCH: usize = 256;
/// How long somebody waits for an answer. The disk may be slow, but not that slow.
const PATIENCE: Duration = Duration::from_secs(20);

/// The running thread. It ends when told to, after what was asked before.
pub struct Store {
    jobs: Sender<Job>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

enum Job {
    Change(Ask),
    Stop,
}

struct Ask {
    by: Option<UserId>,
    change: Change,
    reply: Sender<Result<Done, Refused>>,
}

/// What the thread owns.
struct Writer {
    database: Database,
    /// The facts that are committed, and during a batch those that shall be. A copy: others must
    /// not see what may yet fail. (The large part, the torrents, is shared.)
    facts: Facts,
    /// The file could not be read after a failed commit: it will be tried again.
    stale: bool,
    clock: Clock,
    limits: Limits,
    known: Arc<Known>,
    hub: Arc<Hub>,
}

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
}

impl Store {
    /// Reads the facts and starts the thread. `number` is the tracker's.
    pub fn start(
        path: Option<&Path>,
        number: u16,
        limits: Limits,
        hub: Arc<Hub>,
    ) -> Result<(Store, Arc<Known>), StoreError> {
        let database = Database::open(path)?;
        let facts = database.load()?;
        let last = facts.latest().map_or(0, |stamp| stamp.time);
        let known = Arc::new(Known::new(facts.clone()));
        let (jobs, inbox) = bounded(QUEUE);
        let mut writer = Writer {
            database,
            facts,
            stale: false,
            clock: Clock::new(number, last),
            limits,
            known: known.clone(),
            hub,
        };
        let thread = threads::spawn("store", None, move || writer.run(&inbox));
        let store = Store {
            jobs,
            thread: Mutex::new(Some(thread.map_err(StoreError::Thread)?)),
        };
        Ok((store, known))
    }

    /// Asks for a change, and waits until it is on the disk or refused.
    pub fn change(&self, by: Option<UserId>, change: Change) -> Result<Done, Refused> {
        let busy = || Refused::Internal("The tracker is too busy: nothing was changed".into());
        let (reply, answer) = bounded(1);
        let job = Job::Change(Ask { by, change, reply });
        self.jobs.send_timeout(job, PATIENCE).map_err(|_| busy())?;
        let unknown = || {
            let sentence = "The tracker is too slow: whether it was changed is not known";
            Refused::Internal(sentence.into())
        };
        answer.recv_timeout(PATIENCE).map_err(|_| unknown())?
    }

    /// Ends the thread, after what was asked before.
    pub fn stop(&self) {
        // Fails only if it has ended.
        let _ = self.jobs.send(Job::Stop);
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            threads::join(thread);
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Writer {
    fn run(&mut self, inbox: &Receiver<Job>) {
        while let Ok(Job::Change(first)) = inbox.recv() {
            let mut asks = vec![first];
            let mut stop = false;
            while asks.len() < MAX_BATCH && !stop {
                match inbox.try_recv() {
                    Ok(Job::Change(ask)) => asks.push(ask),
                    Ok(Job::Stop) => stop = true,
                    Err(_) => break,
                }
            }
            self.serve(asks);
            if stop {
                return;
            }
        }
    }

    fn serve(&mut self, asks: Vec<Ask>) {
        if self.stale && !self.reload() {
            let sentence = "The tracker cannot read its database: nothing was changed";
            return refuse_all(asks, sentence);
        }
        let mut entries = Vec::new();
        let mut answers = Vec::new();
        for ask in &asks {
            let decided = self.decide(ask);
            answers.push(decided.map(|(new, done)| {
                entries.extend(new);
                done
            }));
        }
        if !entries.is_empty() {
            if let Err(error) = self.database.write(&entries) {
                log::error!(target: "store", "the database could not be written: {error}");
                self.reload();
                return refuse_all(asks, in_words(&error));
            }
            self.publish(&entries);
        }
        for (ask, answer) in asks.into_iter().zip(answers) {
            // Whoever asked may have gone.
            let _ = ask.reply.send(answer);
        }
    }

    /// Decides a change; the facts are from now on as if it were committed.
    fn decide(&mut self, ask: &Ask) -> Result<(Vec<Entry>, Done), Refused> {
        let (facts, limits, clock) = (&self.facts, &self.limits, &mut self.clock);
        let decided = decide(facts, limits, ask.by, &ask.change, clock, unix_ms())?;
        for entry in &decided.0 {
            self.facts.apply(entry);
        }
        Ok(decided)
    }

    /// Back to what the file says.
    fn reload(&mut self) -> bool {
        match self.database.load() {
            Ok(facts) => {
                // A commit that was reported as failed may be there all the same.
                let latest = facts.latest();
                latest
                    .into_iter()
                    .for_each(|stamp| self.clock.observe(stamp));
                self.known.change(|now| now.facts = facts.clone());
                self.facts = facts;
                self.stale = false;
            }
            Err(error) => {
                log::error!(target: "store", "{error}");
                self.stale = true;
            }
        }
        !self.stale
    }

    /// Shows the facts to the other threads, and tells those who listen.
    fn publish(&self, entries: &[Entry]) {
        let mut told: Vec<(u64, &Entry, Told)> = Vec::new();
        self.known.change(|now| {
            for entry in entries {
                let before = Before::look(&now.facts, entry);
                now.facts.apply(entry);
                now.taken += 1;
                let news = before.news(&now.facts, entry).into_iter();
                told.extend(news.map(|news| (now.taken, entry, news)));
            }
        });
        if told.is_empty() {
            return;
        }
        // Whoever begins to listen from now on finds these facts there already.
        let listeners = self.hub.users();
        if listeners.is_empty() {
            return;
        }
        let mut lines = Vec::new();
        self.known.look(|facts| {
            for (taken, entry, told) in told {
                let (cursor, news) = (entry.stamp, told.news);
                let line = NewsLine::News { cursor, news };
                let heard = Heard { taken, line };
                let hears = |user: &&UserId| told.to.has(facts, **user);
                let to = listeners.iter().filter(hears);
                lines.extend(to.map(|user| (*user, heard.clone())));
            }
        });
        for (user, heard) in lines {
            self.hub.tell(user, &heard);
        }
    }
}

fn refuse_all(asks: Vec<Ask>, sentence: &str) {
    for ask in asks {
        let _ = ask.reply.send(Err(Refused::Internal(sentence.into())));
    }
}

fn in_words(error: &rusqlite::Error) -> &'static str {
    use rusqlite::ErrorCode;
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            "The tracker's disk is full: nothing was changed. Whoever runs it must make room"
        }
        Some(ErrorCode::SystemIoFailure) => {
            "The tracker cannot write to its disk (is it full?): nothing was changed. Whoever \
             runs it finds the reason in its log"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "Somebody else writes to the tracker's database: nothing was changed. Try again"
        }
        _ => {
            "The tracker cannot write to its database: nothing was changed. Whoever runs it finds \
             the reason in its log"
        }
    }
}

/// Milliseconds since 1970, as the machine believes.
pub(super) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |time| {
        u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests;
