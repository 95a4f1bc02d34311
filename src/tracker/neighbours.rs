//! The other trackers of tracker_info.txt, as this one knows them: one value behind one lock.
//!
//! Every batch of facts that is committed here is put into a log. The thread `sync-N` of each
//! neighbour takes from it what that one was not told of, and says when it is there. Whoever has
//! answered a change waits for that, a second at most: so `OK` means durable here and on every
//! tracker that can be reached just now.
//!
//! A link begins to listen to the log before it reads the file for what its neighbour lacks, so
//! nothing falls between the two. Not here: sockets (`link`, `sync_door`), and the facts.

mod admission;
mod log;
mod neighbour;
mod soft;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::control::key::TrackerKey;
use crate::control::reply::{TrackerEntry, TrackerState};
use crate::control::sync::{Hello, ShareLine, Standing, SwarmLine, VERSION, list_hash};
use crate::control::tracker_info::TrackerAddress;
use crate::registry::batch::Batch;
use crate::registry::versions::Versions;
use crate::runtime::stream::Stream;

use self::admission::List;
pub use self::admission::NotAdmitted;
use self::log::Log;
use self::neighbour::{Link, Neighbour};
pub use self::soft::Soft;

/// How long a change waits for neighbours. One that takes longer counts as unreachable.
const PROMISE: Duration = Duration::from_secs(1);
/// How long we wait for a neighbour that may have something to tell: after our start for one that
/// was not reached yet, and for one that can be called to call back, or to go on.
const HOPE: Duration = Duration::from_secs(3);
/// How long a request waits for that.
const HELD_UP: Duration = Duration::from_secs(1);
/// How often it looks at the clock.
const LOOK: Duration = Duration::from_millis(50);

pub struct Neighbours {
    inside: Mutex<Inside>,
    changed: Condvar,
    /// What [`Inside::is_current`] said last. If it was false, it must be asked again: time goes
    /// by.
    is_current: AtomicBool,
}

struct Inside {
    list: List,
    /// How often the list was read.
    generation: u64,
    started: Instant,
    log: Log,
    others: BTreeMap<u16, Neighbour>,
    closed: bool,
}

/// What a link has to do next.
pub enum Work {
    /// Tell this; then everything up to that batch is told.
    Facts {
        until: u64,
        batch: Batch,
    },
    Soft(Soft),
    Beat,
    /// Some batches were missed: read the file for one who has heard so much.
    Again(Versions),
    /// The link, or the list, counts no longer.
    End,
}

/// A connection of a neighbour to us.
pub struct Call {
    neighbours: Arc<Neighbours>,
    pub number: u16,
    generation: u64,
}

impl Default for Neighbours {
    fn default() -> Neighbours {
        Neighbours::new(0, Vec::new())
    }
}

impl Neighbours {
    /// `own` is our number in the list, from 1. Without a list we are alone.
    pub fn new(own: u16, trackers: Vec<TrackerAddress>) -> Neighbours {
        let mut inside = Inside {
            list: List {
                own,
                trackers: Vec::new(),
                hash: String::new(),
            },
            generation: 0,
            started: Instant::now(),
            log: Log::default(),
            others: BTreeMap::new(),
            closed: false,
        };
        inside.read_list(trackers);
        Neighbours {
            is_current: AtomicBool::new(inside.others.is_empty()),
            inside: Mutex::new(inside),
            changed: Condvar::new(),
        }
    }

    /// Takes up another list; every link begins anew.
    pub fn reload(&self, trackers: Vec<TrackerAddress>) {
        let mut inside = self.inside.lock();
        inside.read_list(trackers);
        self.note(&inside);
        self.changed.notify_all();
    }

    /// Ends everything that waits here.
    pub fn close(&self) {
        let mut inside = self.inside.lock();
        inside.closed = true;
        inside.others.values().for_each(Neighbour::cut);
        self.changed.notify_all();
    }

    pub fn numbers(&self) -> Vec<u16> {
        self.inside.lock().others.keys().copied().collect()
    }

    /// How many trackers there are.
    pub fn count(&self) -> usize {
        self.inside.lock().list.trackers.len()
    }

    pub fn generation(&self) -> u64 {
        self.inside.lock().generation
    }

    /// Where a neighbour is, the key that the list gives it, and what to say to it.
    pub fn hello(&self, to: u16, key: TrackerKey) -> Option<(TrackerAddress, Hello)> {
        let inside = self.inside.lock();
        let hello = Hello {
            version: VERSION,
            from: inside.list.own,
            to,
            list: inside.list.hash.clone(),
            key,
        };
        Some((inside.others.get(&to)?.address.clone(), hello))
    }

    /// Whether the list gives both of us keys.
    pub fn have_keys(&self, number: u16) -> bool {
        self.inside.lock().list.has_keys(number)
    }

    // For whoever answers clients.

    /// What was committed is to be told to all.
    pub fn publish(&self, batch: Batch) {
        let mut inside = self.inside.lock();
        if inside.others.is_empty() {
            return;
        }
        let at = Instant::now();
        inside.log.push(at, Arc::new(batch));
        inside.others.values_mut().for_each(|other| {
            other.owed.get_or_insert(at);
        });
        inside.trim();
        self.changed.notify_all();
    }

    /// Something may be in the file that was never published.
    pub fn look_again(&self) {
        let mut inside = self.inside.lock();
        inside.log.skip();
        self.changed.notify_all();
    }

    /// Waits until every neighbour that can be reached has what was published so far. Who takes
    /// longer than a second is cut off, and catches up later.
    pub fn wait_until_all_have(&self) {
        let deadline = Instant::now() + PROMISE;
        let mut inside = self.inside.lock();
        let head = inside.log.head();
        let is_slow = |other: &Neighbour| other.is_connected() && other.acked < head;
        while !inside.closed && inside.others.values().any(is_slow) {
            if self.changed.wait_until(&mut inside, deadline).timed_out() {
                break;
            }
        }
        let slow = inside.others.iter_mut().filter(|(_, other)| is_slow(other));
        // Who is being told of a year needs longer, and says itself that it is catching up.
        for (number, other) in slow.filter(|(_, other)| other.link == Link::InSync) {
            ::log::warn!(target: "sync", "tracker {number} did not answer within a second");
            other.fail(Link::Down, "it did not answer within a second");
        }
        self.note(&inside);
        self.changed.notify_all();
    }

    /// Whether we know whatever our neighbours have said `OK` to, as far as they can be reached.
    /// Waits a second for it: mostly it is so at once, and when a neighbour dies, it takes a
    /// moment to see that it is no longer there.
    pub fn becomes_current(&self) -> bool {
        if self.is_current.load(Ordering::Relaxed) {
            return true;
        }
        let deadline = Instant::now() + HELD_UP;
        let mut inside = self.inside.lock();
        while !inside.is_current() && !inside.closed && Instant::now() < deadline {
            self.changed.wait_for(&mut inside, LOOK);
        }
        self.note(&inside);
        inside.is_current()
    }

    fn note(&self, inside: &Inside) {
        self.is_current
            .store(inside.is_current(), Ordering::Relaxed);
    }

    /// The keys of those that we are in sync with.
    pub fn keys(&self) -> Vec<TrackerKey> {
        let inside = self.inside.lock();
        let linked = inside.others.values().filter(|other| other.is_connected());
        linked.filter_map(|other| other.key).collect()
    }

    /// Whether a tracker of the list has this key.
    pub fn has_key(&self, key: TrackerKey) -> bool {
        let inside = self.inside.lock();
        inside.others.values().any(|other| other.key == Some(key))
    }

    /// Every tracker of the list. `standing` is ours.
    pub fn rows(&self, standing: Standing) -> Vec<TrackerEntry> {
        let inside = self.inside.lock();
        let is_current = inside.is_current();
        let numbered = (1..).zip(&inside.list.trackers);
        let row = |(number, address): (u16, &TrackerAddress)| {
            let other = inside.others.get(&number);
            let state = match other.map(|other| other.link) {
                None if is_current => TrackerState::Itself,
                None => TrackerState::CatchingUp,
                Some(Link::Down) => TrackerState::Unreachable,
                Some(Link::Refused) => TrackerState::Refused,
                Some(Link::Behind) => TrackerState::Behind,
                Some(Link::InSync) => TrackerState::InSync,
            };
            let owed = other.and_then(|other| other.owed);
            let lag = owed.map_or(0, |since| since.elapsed().as_millis());
            let standing = other.map_or(&standing, |other| &other.standing);
            TrackerEntry {
                number,
                address: address.to_string(),
                state,
                lag: u64::try_from(lag).unwrap_or(u64::MAX),
                facts: standing.facts,
                digest: standing.digest.clone(),
                why: other.map_or(String::new(), |other| other.why.clone()),
            }
        };
        numbered.map(row).collect()
    }

    /// A peer has announced itself here.
    pub fn tell_swarm(&self, line: &SwarmLine) {
        self.tell(|soft| soft.put_swarm(line));
    }

    /// A public share was made here, or has ended.
    pub fn tell_share(&self, line: &ShareLine) {
        self.tell(|soft| soft.put_share(line));
    }

    fn tell(&self, put: impl Fn(&mut Soft)) {
        let mut inside = self.inside.lock();
        let linked = inside.others.values_mut().filter(|o| o.is_connected());
        let mut is_told = false;
        for other in linked {
            put(&mut other.soft);
            is_told = true;
        }
        if is_told {
            self.changed.notify_all();
        }
    }

    // For the threads of links.

    /// A link has come up to a neighbour that has heard so much.
    pub fn link_up(&self, number: u16, key: TrackerKey, theirs: &Versions, stream: Stream) {
        let mut inside = self.inside.lock();
        let head = inside.log.head();
        if let Some(other) = inside.others.get_mut(&number) {
            other.key = other.address.key.or(Some(key));
            other.link = Link::Behind;
            other.why.clear();
            other.since = Instant::now();
            other.stream = Some(stream);
            other.sent = head;
            other.acked = 0;
            other.theirs = theirs.clone();
            other.soft = Soft::default();
        }
        self.note(&inside);
        self.changed.notify_all();
    }

    /// A link begins to read the file: what is published from now on is in the log.
    pub fn link_reads(&self, number: u16) {
        let mut inside = self.inside.lock();
        let head = inside.log.head();
        if let Some(other) = inside.others.get_mut(&number).filter(|o| o.is_connected()) {
            other.link = Link::Behind;
            other.sent = head;
        }
    }

    /// A neighbour has what was in the file when [`Neighbours::link_reads`] was called.
    pub fn link_has_read(&self, number: u16, theirs: &Versions) {
        let mut inside = self.inside.lock();
        if let Some(other) = inside.others.get_mut(&number).filter(|o| o.is_connected()) {
            other.link = Link::InSync;
            other.theirs.merge(theirs);
        }
        let sent = inside.others.get(&number).map_or(0, |other| other.sent);
        inside.acknowledge(number, sent);
        self.changed.notify_all();
    }

    /// Waits for something to be told, until `beat` at the latest.
    pub fn next(&self, number: u16, generation: u64, beat: Instant) -> Work {
        let mut inside = self.inside.lock();
        loop {
            if inside.closed || inside.generation != generation {
                return Work::End;
            }
            let head = inside.log.head();
            let connected = inside.others.get(&number).filter(|o| o.is_connected());
            let Some(other) = connected else {
                return Work::End;
            };
            if other.sent < head {
                let Some(batches) = inside.log.after(other.sent) else {
                    return Work::Again(other.theirs.clone());
                };
                let mut batch = Batch::default();
                batches.for_each(|logged| other.add_unknown(logged, &mut batch));
                if !batch.is_empty() {
                    return Work::Facts { until: head, batch };
                }
                inside.acknowledge(number, head);
                self.changed.notify_all();
                continue;
            }
            if let Some(other) = inside.others.get_mut(&number) {
                if std::mem::take(&mut other.is_nudged) {
                    return Work::Beat;
                }
                if let Some(soft) = other.soft.take() {
                    return Work::Soft(soft);
                }
            }
            if self.changed.wait_until(&mut inside, beat).timed_out() {
                return Work::Beat;
            }
        }
    }

    /// A neighbour has everything up to this batch.
    pub fn link_has(&self, number: u16, until: u64, versions: &Versions) {
        let mut inside = self.inside.lock();
        if let Some(other) = inside.others.get_mut(&number) {
            other.theirs.merge(versions);
        }
        inside.acknowledge(number, until);
        self.changed.notify_all();
    }

    pub fn link_stands(&self, number: u16, standing: Standing) {
        if let Some(other) = self.inside.lock().others.get_mut(&number) {
            other.standing = standing;
        }
    }

    /// A link has ended, or did not come up. True if that is news.
    pub fn link_down(&self, number: u16, is_refused: bool, why: &str) -> bool {
        let link = if is_refused {
            Link::Refused
        } else {
            Link::Down
        };
        let mut inside = self.inside.lock();
        let Some(other) = inside.others.get_mut(&number) else {
            return false;
        };
        let is_news = (other.link, other.why.as_str()) != (link, why);
        other.fail(link, why);
        self.note(&inside);
        self.changed.notify_all();
        is_news
    }

    /// Rests before the next call. True if the neighbour has called in the meantime.
    pub fn rest(&self, number: u16, generation: u64, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut inside = self.inside.lock();
        loop {
            if inside.closed || inside.generation != generation {
                return false;
            }
            match inside.others.get_mut(&number) {
                Some(other) if other.knocks => {
                    other.knocks = false;
                    return true;
                }
                Some(_) => {}
                None => return false,
            }
            if self.changed.wait_until(&mut inside, until).timed_out() {
                return false;
            }
        }
    }

    /// Whether a link of this list may go on.
    pub fn counts(&self, generation: u64) -> bool {
        let inside = self.inside.lock();
        !inside.closed && inside.generation == generation
    }

    // For those who are called.

    /// Takes a call, or says why not. `is_near` is whether it comes from this machine, or may
    /// come from anywhere.
    pub fn admit(
        self: &Arc<Neighbours>,
        hello: &Hello,
        shown: Option<TrackerKey>,
        is_near: bool,
    ) -> Result<Call, NotAdmitted> {
        let mut inside = self.inside.lock();
        let checked = inside.list.admit(hello, shown, is_near);
        let generation = inside.generation;
        if let Some(other) = inside.others.get_mut(&hello.from) {
            match &checked {
                Ok(()) => {
                    other.calls += 1;
                    other.has_told = false;
                    other.heard = Instant::now();
                    other.knocks = true;
                    other.key = other.address.key.or(Some(hello.key));
                }
                // Whoever calls in the name of another must not end the other's link.
                Err(why) if !other.is_connected() => other.fail(Link::Refused, &why.to_string()),
                Err(_) => {}
            }
        }
        self.note(&inside);
        self.changed.notify_all();
        checked.map(|()| Call {
            neighbours: self.clone(),
            number: hello.from,
            generation,
        })
    }

    /// A neighbour has told us something: it has that itself.
    pub fn heard(&self, number: u16, versions: &Versions) {
        if let Some(other) = self.inside.lock().others.get_mut(&number) {
            other.theirs.merge(versions);
            other.heard = Instant::now();
        }
    }

    /// A neighbour has told us everything, and is still there.
    pub fn heard_all(&self, number: u16) {
        let mut inside = self.inside.lock();
        let Some(other) = inside.others.get_mut(&number) else {
            return;
        };
        let is_news = !other.has_told || !other.is_connected();
        other.has_told = true;
        // Whoever speaks to us can be spoken to.
        other.knocks |= !other.is_connected();
        if is_news {
            self.note(&inside);
            self.changed.notify_all();
        }
    }

    /// What a neighbour tells was refused: to be seen.
    pub fn complain(&self, number: u16, why: &str) {
        if let Some(other) = self.inside.lock().others.get_mut(&number) {
            other.why = format!("what it tells is refused: {why}");
        }
    }
}

impl Inside {
    fn read_list(&mut self, trackers: Vec<TrackerAddress>) {
        self.generation += 1;
        self.list.hash = list_hash(&trackers);
        self.list.trackers = trackers;
        let mut old = std::mem::take(&mut self.others);
        old.values().for_each(Neighbour::cut);
        for (number, address) in self.list.others() {
            let mut other = Neighbour::new(address.clone());
            // Its calls of before end by themselves, and are counted until then.
            other.calls = old.remove(&number).map_or(0, |old| old.calls);
            self.others.insert(number, other);
        }
    }

    fn is_current(&self) -> bool {
        let hopes = |since: Instant| since.elapsed() < HOPE;
        let lacks = |other: &Neighbour| match (other.calls, other.link) {
            // It is telling us something. One that hangs must not make us hang.
            (1.., _) => !other.has_told && hopes(other.heard),
            (0, Link::Down) => !other.is_tried && hopes(self.started),
            (0, Link::Refused) => false,
            // One that never calls back tells us nothing.
            (0, Link::Behind | Link::InSync) => hopes(other.heard.max(other.since)),
        };
        !self.others.values().any(lacks)
    }

    fn acknowledge(&mut self, number: u16, until: u64) {
        let owed = self.log.owed_since(until);
        if let Some(other) = self.others.get_mut(&number) {
            other.sent = other.sent.max(until);
            other.acked = other.acked.max(until);
            other.owed = owed;
        }
        self.trim();
    }

    /// Forgets the batches that every link has told.
    fn trim(&mut self) {
        let linked = self.others.values().filter(|other| other.is_connected());
        let told = linked.map(|other| other.sent).min();
        self.log.trim(told.unwrap_or(self.log.head()));
    }
}

impl Call {
    /// Whether the list is still the one of the hello.
    pub fn counts(&self) -> bool {
        self.neighbours.counts(self.generation)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut inside = self.neighbours.inside.lock();
        if let Some(other) = inside.others.get_mut(&self.number) {
            other.calls = other.calls.saturating_sub(1);
            other.heard = Instant::now();
            // Is it still there?
            other.is_nudged = true;
        }
        self.neighbours.note(&inside);
        self.neighbours.changed.notify_all();
    }
}
