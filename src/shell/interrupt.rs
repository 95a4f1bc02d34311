//! Ctrl-C and requests to end, as something that can be asked about and waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use crate::runtime::stop::Stop;

/// Triggered by the signal handler; looked at by whoever takes long.
pub struct Interrupt {
    came: AtomicBool,
    sender: Sender<()>,
    /// Holds at most one: a second signal before the first was noticed is the same wish.
    receiver: Receiver<()>,
    /// Ends what a command waits for on the net.
    stop: Mutex<Stop>,
}

impl Default for Interrupt {
    fn default() -> Self {
        let (sender, receiver) = bounded(1);
        Interrupt {
            came: AtomicBool::new(false),
            sender,
            receiver,
            stop: Mutex::default(),
        }
    }
}

impl Interrupt {
    pub fn new() -> Interrupt {
        Interrupt::default()
    }

    /// One that SIGINT, SIGTERM and closing the console trigger.
    ///
    /// # Errors
    /// If the program has a handler already.
    pub fn on_signals() -> Result<Arc<Interrupt>, ctrlc::Error> {
        let interrupt = Arc::new(Interrupt::new());
        let handler = interrupt.clone();
        ctrlc::set_handler(move || handler.trigger())?;
        #[cfg(windows)]
        super::closing::trigger_on_close(interrupt.clone()).map_err(ctrlc::Error::System)?;
        Ok(interrupt)
    }

    /// A signal came.
    pub fn trigger(&self) {
        self.came.store(true, Ordering::SeqCst);
        self.stop.lock().request();
        let _ = self.sender.try_send(());
    }

    /// A new command begins: what came before was not meant for it.
    pub fn forget(&self) {
        let mut stop = self.stop.lock();
        if stop.is_requested() {
            *stop = Stop::new();
        }
        drop(stop);
        self.came.store(false, Ordering::SeqCst);
        let _ = self.receiver.try_recv();
    }

    /// Requested by the next signal.
    pub fn stop(&self) -> Stop {
        self.stop.lock().clone()
    }

    pub fn came(&self) -> bool {
        self.came.load(Ordering::SeqCst)
    }

    /// Waits at most `time`. True if a signal came.
    pub fn wait(&self, time: Duration) -> bool {
        self.came() || self.receiver.recv_timeout(time).is_ok()
    }

    /// For `select!`: something to receive when a signal has come.
    pub fn receiver(&self) -> &Receiver<()> {
        &self.receiver
    }
}
