//! `peer 127.0.0.1:7600 tracker_info.txt`: fetches, serves, and takes commands.

use std::process::ExitCode;

use clap::Parser;

use mini_bittorrent::shell::peer_program::{self, Args};

fn main() -> ExitCode {
    peer_program::run(Args::parse())
}
