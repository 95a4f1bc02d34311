//! Threads with a name and a join: the only place where this crate starts any.

use std::io;
use std::thread::JoinHandle;

use parking_lot::Mutex;

/// Linux cuts longer thread names, and the debugger shows what is left.
pub const MAX_NAME: usize = 15;

/// Starts a thread called `name` with a stack of `stack` bytes (the platform's choice if `None`).
///
/// # Errors
/// The system's, when it has no room for another thread.
pub fn spawn<T: Send + 'static>(
    name: &str,
    stack: Option<usize>,
    run: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    debug_assert!(
        name.len() <= MAX_NAME,
        "thread name `{name}` is too long for the debugger"
    );
    let mut builder = std::thread::Builder::new().name(name.to_string());
    if let Some(stack) = stack {
        builder = builder.stack_size(stack);
    }
    builder.spawn(run)
}

/// Waits for a thread to end. A panic in it has been printed; it must not take us along.
pub fn join<T>(handle: JoinHandle<T>) -> Option<T> {
    let name = handle.thread().name().unwrap_or("?").to_string();
    let result = handle.join();
    if result.is_err() {
        log::error!("thread {name} panicked; this is a bug");
    }
    result.ok()
}

/// Threads that come and go, such as one a connection. Whoever owns the group joins them all.
#[derive(Default)]
pub struct Threads {
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    handles: Vec<JoinHandle<()>>,
    /// Ended threads are looked for when there are this many handles: now and then, not always.
    tidy_at: usize,
}

impl Threads {
    pub fn new() -> Threads {
        Threads::default()
    }

    /// Starts one more, and forgets those that have ended.
    pub fn spawn(
        &self,
        name: &str,
        stack: Option<usize>,
        run: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let handle = spawn(name, stack, run)?;
        let mut running = self.running.lock();
        if running.handles.len() >= running.tidy_at {
            running.handles.retain(|thread| !thread.is_finished());
            running.tidy_at = 2 * running.handles.len() + 16;
        }
        running.handles.push(handle);
        Ok(())
    }

    /// Waits for all of them. They must have been told to stop.
    pub fn join(&self) {
        loop {
            let threads = std::mem::take(&mut self.running.lock().handles);
            if threads.is_empty() {
                return;
            }
            for thread in threads {
                join(thread);
            }
        }
    }
}
