//! The tracker: answers who shares what, and who is in which swarm, on one port.
//!
//! | thread | owns | waits on | stops when |
//! |---|---|---|---|
//! | `accept` | the listening socket, the crew; clients that need no waiting | `accept` | flag, then a connection to itself |
//! | `conn-N` | one client, from its first byte to its last | `read` | its socket is shut down |
//! | `store` | the file with the facts | its channel of changes | a message |
//! | `sync-N` | the connection to tracker N | news for it | flag, or another list |
//! | `sweeper` | nothing | the clock | flag |
//!
//! What they share is in [`state`]: the shares behind one lock, the swarms behind another, what
//! is [`known`] of users and groups behind a third.
//! Nobody holds two locks, nor one while reading or writing a socket. A connection's first word
//! tells which dialect it speaks (inside TLS, the first word there), and so by which door it comes
//! in: [`control_door`], [`http_door`] or [`classic_door`]. Not here: prompts, and what is said
//! (`control`, `announce`).

pub mod accept;
pub mod account_door;
pub mod ask_door;
pub mod at_once;
pub mod batch_door;
pub mod classic_door;
pub mod client;
pub mod config;
pub mod connections;
pub mod control_door;
pub mod crowd;
pub mod group_door;
pub mod http_door;
pub mod hub;
pub mod identity;
pub mod knock_door;
pub mod known;
pub mod link;
pub mod neighbours;
pub mod news_door;
pub mod passwords;
pub mod session;
pub mod state;
pub mod store;
pub mod sweeper;
pub mod sync_door;
pub mod token;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;

use crate::control::reply::Stats;
use crate::control::tracker_info::TrackerAddress;
use crate::runtime::listener::{ListenError, Listener, Waker};
use crate::runtime::stop::Stop;
use crate::runtime::threads;
use crate::runtime::workers::Workers;

pub use config::Config;
use state::State;
use store::StoreError;

/// A running tracker. Dropping it stops it and waits for all of its threads.
pub struct Tracker {
    state: Arc<State>,
    address: SocketAddr,
    waker: Waker,
    accept: Option<JoinHandle<Workers>>,
    sweeper: Option<JoinHandle<()>>,
    /// One for each other tracker.
    links: Mutex<Vec<JoinHandle<()>>>,
}

/// Why a tracker did not start.
#[derive(Debug, thiserror::Error)]
pub enum TrackerError {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
}

impl Tracker {
    pub fn start(config: Config) -> Result<Tracker, TrackerError> {
        let stop = Stop::new();
        let address = config.address;
        let refuse = |source| ListenError::Other(address, source);
        let listener = Listener::bind(address, stop.clone())?;
        let address = listener.local_addr().map_err(refuse)?;
        let waker = listener.waker().map_err(refuse)?;
        let state = Arc::new(State::new(config, stop)?);

        let mut tracker = Tracker {
            state: state.clone(),
            address,
            waker,
            accept: None,
            sweeper: None,
            links: Mutex::default(),
        };
        let sweeping = state.clone();
        let sweeper = threads::spawn("sweeper", None, move || sweeper::run(&sweeping));
        tracker.sweeper = Some(sweeper.map_err(TrackerError::Thread)?);
        let accept = threads::spawn("accept", None, move || accept::run(&listener, &state));
        tracker.accept = Some(accept.map_err(TrackerError::Thread)?);
        tracker.start_links().map_err(TrackerError::Thread)?;
        log::info!(target: "tracker", "listening on {address}");
        Ok(tracker)
    }

    /// Takes up another tracker_info.txt: links to trackers that are new are made, those to
    /// trackers that are gone end. The trackers refuse each other until all have the same.
    ///
    /// # Errors
    /// The system's, when it has no room for another thread.
    pub fn reload(&self, trackers: Vec<TrackerAddress>) -> io::Result<()> {
        self.state.neighbours.reload(trackers);
        let links = std::mem::take(&mut *self.links.lock());
        for link in links {
            threads::join(link);
        }
        self.start_links()
    }

    fn start_links(&self) -> io::Result<()> {
        let generation = self.state.neighbours.generation();
        for number in self.state.neighbours.numbers() {
            let state = self.state.clone();
            let run = move || link::run(&state, number, generation);
            let thread = threads::spawn(&format!("sync-{number}"), None, run)?;
            self.links.lock().push(thread);
        }
        Ok(())
    }

    /// Where it listens; the real port if port 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    pub fn stats(&self) -> Stats {
        self.state.stats()
    }

    /// What it knows: for prompts.
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Ends every connection and waits for every thread.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        self.waker.stop();
        // First nobody new comes in, then those who are in are shown out, then waited for.
        let crew = self.accept.take().and_then(threads::join);
        self.state.connections.close_all();
        self.state.hub.close();
        self.state.questions.lock().close_all();
        self.state.answered.notify_all();
        self.state.knocking.close();
        self.state.neighbours.close();
        let links = std::mem::take(&mut *self.links.lock());
        for link in links {
            threads::join(link);
        }
        drop(crew);
        self.state.store.stop();
        if let Some(sweeper) = self.sweeper.take() {
            threads::join(sweeper);
        }
        log::info!(target: "tracker", "stopped");
    }
}
