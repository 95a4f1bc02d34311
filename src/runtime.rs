//! Threads that can be stopped and joined, and streams, plain or inside TLS, on which nothing waits
//! for ever.
//!
//! Not here: what the threads do.

pub mod channel;
pub mod knock;
pub mod listener;
pub mod stop;
pub mod stream;
pub mod threads;
pub mod tls;
pub mod workers;
