//! `tracker tracker_info.txt 1`: answers who shares what, and who is in which swarm.

use std::process::ExitCode;

use clap::Parser;

use mini_bittorrent::shell::tracker_program::{self, Args};

fn main() -> ExitCode {
    tracker_program::run(Args::parse())
}
