//! The tests that start trackers and peers, and those about the source as a whole: one program, which is
//! linked once and runs them beside each other. `cargo test --test suite watch::` runs one file of it.
//!
//! What counts its own memory or threads (`fuzz`, `threads`), and what is stepped through with a debugger
//! (`transfer`, `two_torrents`), is a program of its own.

mod support;

mod asking;
mod attacks;
mod batch;
mod console;
mod defects;
mod defects_asking;
mod defects_batch;
mod docs;
mod facts_kept;
mod failover;
mod files;
mod hostile_peer;
mod idle_clients;
mod interop;
mod killed;
mod layers;
mod log_lines;
mod many;
mod members;
mod memory;
mod menu;
mod mixed;
mod names;
mod network;
mod one_line;
mod roles;
mod single_peers;
mod stop;
mod swarm;
mod sync;
mod tls;
mod torture;
mod tour;
mod tracker;
mod transcripts;
mod watch;
