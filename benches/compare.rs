//! Ours beside the best, in one run: `make bench`.
//!
//! `cargo bench --bench compare -- [--quick] [--write] [SCENARIO ...]` runs the scenarios, all of
//! them if none is named, and prints tables. Everybody runs in turns. `--quick` is for a look: few
//! rounds, small files. `--write` writes docs/BENCHMARKS.md, if all scenarios have run.
//!
//! All of it happens on the loopback of a network of its own, which is made with `unshare`. It
//! measures with Linux's `/proc`, so it is for Linux only.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
#[path = "../tests/support/descriptors.rs"]
mod descriptors;

#[cfg(target_os = "linux")]
mod compare {
    pub mod announces;
    pub mod bare;
    pub mod client;
    pub mod document;
    pub mod figures;
    pub mod hashing;
    pub mod idle;
    pub mod load;
    pub mod long_way;
    pub mod memory;
    pub mod metadata;
    pub mod network;
    pub mod picker;
    pub mod plot;
    pub mod process;
    pub mod program;
    pub mod report;
    pub mod settings;
    pub mod start;
    pub mod swarm;
    pub mod trackers;
    pub mod transfers;
    pub mod visitor;
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    println!("SKIPPED: programs are measured on Linux only");
    ExitCode::SUCCESS
}

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    compare::program::main()
}
