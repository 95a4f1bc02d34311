//! The console is closed, or the user logs off: on Windows only.
//!
//! Windows kills a program as soon as its handler of such an event returns, and after five seconds
//! at the latest. The handler of `ctrlc` returns at once. That of `tokio` never does, and so leaves
//! the program those seconds to end by itself. Nothing else of `tokio` is here: no runtime, no task.
//! A thread (`closing`) waits; like the one of `ctrlc` it holds nothing, and is not joined.

use std::io;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::thread::{self, Thread};

use tokio::signal::windows::{ctrl_close, ctrl_logoff, ctrl_shutdown};

use crate::runtime::threads;

use super::interrupt::Interrupt;

/// Wakes the thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// From now on such an event is a signal. To be called after the handler of `ctrlc` is set: Windows
/// asks the last one first.
///
/// # Errors
/// The system's, if it takes no handler or has no room for a thread.
pub fn trigger_on_close(interrupt: Arc<Interrupt>) -> io::Result<()> {
    let (mut close, mut logoff, mut shutdown) = (ctrl_close()?, ctrl_logoff()?, ctrl_shutdown()?);
    threads::spawn("closing", None, move || {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        while close.poll_recv(&mut context).is_pending()
            && logoff.poll_recv(&mut context).is_pending()
            && shutdown.poll_recv(&mut context).is_pending()
        {
            thread::park();
        }
        interrupt.trigger();
        // Who drops the last receiver lets the handler return.
        loop {
            thread::park();
        }
    })?;
    Ok(())
}
