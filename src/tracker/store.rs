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
use crate::control::request_id::RequestId;
use crate::control::stamp::{Clock, UserId};
use crate::registry::answered::{Answered, Answers};
use crate::registry::batch::Batch;
use crate::registry::change::{Change, Done, Limits, decide};
use crate::registry::fact::Entry;
use crate::registry::facts::Facts;
use crate::registry::news::{Before, Told};
use crate::registry::refused::Refused;
use crate::registry::versions::Versions;
use crate::runtime::threads;

use database::{Database, DatabaseError, Loaded};

use super::hub::{Heard, Hub};
use super::known::{Known, Now};
use super::neighbours::Neighbours;

/// Changes that may wait: one of each of many clients.
const QUEUE: usize = 1024;
/// Changes in one transaction.
const MAX_BATCH: usize = 256;
/// How long somebody waits for an answer. The disk may be slow, but not that slow.
const PATIENCE: Duration = Duration::from_secs(20);
/// After so many answers, those that are too old are forgotten.
const FORGET_EVERY: usize = 1000;

/// The running thread. It ends when told to, after what was asked before.
pub struct Store {
    jobs: Sender<Job>,
    neighbours: Arc<Neighbours>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

enum Job {
    Write(Wish),
    Read(Question),
    Stop,
}

/// What is to be written.
enum Wish {
    Change(Ask),
    Merge(Gift),
}

/// A user's change.
struct Ask {
    id: Option<RequestId>,
    by: Option<UserId>,
    change: Change,
    reply: Sender<Result<Done, Refused>>,
}

/// What another tracker tells.
struct Gift {
    batch: Batch,
    reply: Sender<Result<(), Refused>>,
}

/// What does somebody lack who has heard of `theirs`?
struct Question {
    theirs: Versions,
    ours: Versions,
    reply: Sender<Option<Batch>>,
}

/// What the thread owns.
struct Writer {
    database: Database,
    /// The facts that are committed, and during a batch those that shall be. A copy: others must
    /// not see what may yet fail. (The large part, the torrents, is shared.)
    facts: Facts,
    /// The file could not be read after a failed commit: it will be tried again.
    stale: bool,
    versions: Versions,
    answers: Answers,
    /// Answers that were written since old ones were forgotten.
    answered: usize,
    clock: Clock,
    limits: Limits,
    known: Arc<Known>,
    hub: Arc<Hub>,
    neighbours: Arc<Neighbours>,
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
        neighbours: Arc<Neighbours>,
    ) -> Result<(Store, Arc<Known>), StoreError> {
        let database = Database::open(path)?;
        let Loaded {
            facts,
            versions,
            answers,
        } = database.load()?;
        let mut clock = Clock::new(number, 0);
        versions.stamps().for_each(|stamp| clock.observe(stamp));
        let known = Arc::new(Known::new(Now {
            facts: facts.clone(),
            taken: 0,
            versions: versions.clone(),
            answers: answers.clone(),
        }));
        let (jobs, inbox) = bounded(QUEUE);
        let mut writer = Writer {
            database,
            facts,
            stale: false,
            versions,
            answers,
            answered: 0,
            clock,
            limits,
            known: known.clone(),
            hub,
            neighbours: neighbours.clone(),
        };
        let thread = threads::spawn("store", None, move || writer.run(&inbox));
        let store = Store {
            jobs,
            neighbours,
            thread: Mutex::new(Some(thread.map_err(StoreError::Thread)?)),
        };
        Ok((store, known))
    }

    /// Asks for a change, and waits until it is on the disk, here and wherever it can be just
    /// now, or refused. A request with a number that was answered before is answered the same.
    pub fn change(
        &self,
        id: Option<RequestId>,
        by: Option<UserId>,
        change: Change,
    ) -> Result<Done, Refused> {
        let (reply, answer) = bounded(1);
        let ask = Ask {
            id,
            by,
            change,
            reply,
        };
        self.send(Job::Write(Wish::Change(ask)))?;
        let done = answer.recv_timeout(PATIENCE).map_err(|_| unknown())??;
        self.neighbours.wait_until_all_have();
        Ok(done)
    }

    /// Takes in what another tracker tells, and waits until it is on the disk.
    pub fn merge(&self, batch: Batch) -> Result<(), Refused> {
        let (reply, answer) = bounded(1);
        self.send(Job::Write(Wish::Merge(Gift { batch, reply })))?;
        answer.recv_timeout(PATIENCE).map_err(|_| unknown())?
    }

    /// What of `ours` somebody lacks who has heard of `theirs`: as much as is a message.
    pub fn after(&self, theirs: Versions, ours: Versions) -> Option<Batch> {
        let (reply, answer) = bounded(1);
        let question = Question {
            theirs,
            ours,
            reply,
        };
        self.send(Job::Read(question)).ok()?;
        answer.recv_timeout(PATIENCE).ok()?
    }

    fn send(&self, job: Job) -> Result<(), Refused> {
        let busy = || Refused::Internal("The tracker is too busy: nothing was changed".into());
        self.jobs.send_timeout(job, PATIENCE).map_err(|_| busy())
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
        while let Ok(first) = inbox.recv() {
            let mut wishes = Vec::new();
            let mut other = None;
            match first {
                Job::Write(wish) => wishes.push(wish),
                job => other = Some(job),
            }
            while other.is_none() && wishes.len() < MAX_BATCH {
                match inbox.try_recv() {
                    Ok(Job::Write(wish)) => wishes.push(wish),
                    Ok(job) => other = Some(job),
                    Err(_) => break,
                }
            }
            if !wishes.is_empty() {
                self.serve(wishes);
            }
            match other {
                Some(Job::Stop) => return,
                Some(Job::Read(question)) => self.read(question),
                Some(Job::Write(_)) | None => {}
            }
        }
    }

    fn read(&self, question: Question) {
        let batch = self.database.after(&question.theirs, &question.ours);
        let batch = batch.map_err(|error| log::error!(target: "store", "{error}"));
        let _ = question.reply.send(batch.ok());
    }

    fn serve(&mut self, wishes: Vec<Wish>) {
        if self.stale && !self.reload() {
            let sentence = "The tracker cannot read its database: nothing was changed";
            return refuse_all(wishes, sentence);
        }
        let mut batch = Batch::default();
        let mut answers = Vec::new();
        for wish in &wishes {
            answers.push(match wish {
                Wish::Change(ask) => self.decide(ask, &mut batch).map(Some),
                Wish::Merge(gift) => {
                    self.take_in(&gift.batch, &mut batch);
                    Ok(None)
                }
            });
        }
        if !batch.is_empty() {
            if let Err(error) = self.database.write(&batch) {
                log::error!(target: "store", "the database could not be written: {error}");
                self.reload();
                return refuse_all(wishes, in_words(&error));
            }
            self.forget_answers(batch.answered.len());
            self.publish(&batch);
            self.neighbours.publish(batch);
        }
        for (wish, answer) in wishes.into_iter().zip(answers) {
            // Whoever asked may have gone.
            let _ = match (wish, answer) {
                (Wish::Change(ask), Ok(Some(done))) => ask.reply.send(Ok(done)).is_ok(),
                (Wish::Change(ask), Err(refused)) => ask.reply.send(Err(refused)).is_ok(),
                (Wish::Merge(gift), _) => gift.reply.send(Ok(())).is_ok(),
                (Wish::Change(_), Ok(None)) => false,
            };
        }
    }

    /// Decides a change; the facts are from now on as if it were committed.
    fn decide(&mut self, ask: &Ask, batch: &mut Batch) -> Result<Done, Refused> {
        if let Some(done) = ask.id.and_then(|id| self.answers.get(&id)) {
            return Ok(done);
        }
        let (facts, limits, clock) = (&self.facts, &self.limits, &mut self.clock);
        let (entries, done) = decide(facts, limits, ask.by, &ask.change, clock, unix_ms())?;
        for entry in &entries {
            self.facts.apply(entry);
            self.versions.see(entry.stamp);
            batch.versions.see(entry.stamp);
        }
        // What has changed nothing may be asked again as often as anybody likes.
        if let (Some(id), Some(last)) = (ask.id, entries.last()) {
            let stamp = last.stamp;
            let answered = Answered { id, done, stamp };
            self.answers.put(&answered);
            batch.answered.push(answered);
        }
        batch.entries.extend(entries);
        Ok(done)
    }

    /// Takes in what another tracker tells. Only what is new goes into the batch: that is
    /// written, and passed on to all neighbours, whoever made it. So what any tracker knows of an
    /// origin has no gaps, also where one hears of the origin by way of another.
    fn take_in(&mut self, told: &Batch, batch: &mut Batch) {
        for entry in &told.entries {
            self.clock.observe(entry.stamp);
            if self.facts.apply(entry) {
                batch.entries.push(entry.clone());
            }
        }
        for answered in &told.answered {
            if self.answers.put(answered) {
                batch.answered.push(*answered);
            }
        }
        let new = told.versions.stamps();
        for stamp in new.filter(|stamp| self.versions.of(stamp.tracker) < stamp.time) {
            self.clock.observe(stamp);
            batch.versions.see(stamp);
        }
        self.versions.merge(&told.versions);
    }

    /// Now and then: it reads the whole table.
    fn forget_answers(&mut self, new: usize) {
        self.answered += new;
        if self.answered > FORGET_EVERY {
            self.answered = 0;
            if let Err(error) = self.database.forget_answers() {
                log::warn!(target: "store", "old answers could not be forgotten: {error}");
            }
        }
    }

    /// Back to what the file says.
    fn reload(&mut self) -> bool {
        match self.database.load() {
            Ok(loaded) => {
                // A commit that was reported as failed may be there all the same.
                let versions = loaded.versions.stamps();
                versions.for_each(|stamp| self.clock.observe(stamp));
                self.known.change(|now| {
                    now.facts = loaded.facts.clone();
                    now.versions = loaded.versions.clone();
                    now.answers = loaded.answers.clone();
                });
                self.facts = loaded.facts;
                self.versions = loaded.versions;
                self.answers = loaded.answers;
                self.stale = false;
                // What was not passed on when it was written is looked for in the file.
                self.neighbours.look_again();
            }
            Err(error) => {
                log::error!(target: "store", "{error}");
                self.stale = true;
            }
        }
        !self.stale
    }

    /// Shows the facts to the other threads, and tells those who listen.
    fn publish(&self, batch: &Batch) {
        let mut told: Vec<(u64, &Entry, Told)> = Vec::new();
        self.known.change(|now| {
            for entry in &batch.entries {
                let before = Before::look(&now.facts, entry);
                now.facts.apply(entry);
                now.taken += 1;
                let news = before.news(&now.facts, entry).into_iter();
                told.extend(news.map(|news| (now.taken, entry, news)));
            }
            now.versions.merge(&batch.versions);
            for answered in &batch.answered {
                now.answers.put(answered);
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
                let heard = Heard::News { taken, line };
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

fn refuse_all(wishes: Vec<Wish>, sentence: &str) {
    for wish in wishes {
        let refused = Refused::Internal(sentence.into());
        let _ = match wish {
            Wish::Change(ask) => ask.reply.send(Err(refused)).is_ok(),
            Wish::Merge(gift) => gift.reply.send(Err(refused)).is_ok(),
        };
    }
}

fn unknown() -> Refused {
    let sentence = "The tracker is too slow: whether it was changed is not known";
    Refused::Internal(sentence.into())
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
