//! What people see: prompts, lists, bars.

pub mod asking;
pub mod batch;
#[cfg(windows)]
pub mod closing;
pub mod completion;
pub mod demo;
pub mod groups;
pub mod hashing;
pub mod hosting;
pub mod interrupt;
pub mod lines;
pub mod listing;
pub mod log_lines;
pub mod menu;
pub mod network;
pub mod news;
pub mod offering;
pub mod other_names;
pub mod peer_program;
pub mod peer_shell;
pub mod screen;
pub mod secret;
pub mod sharing;
pub mod single;
pub mod table;
pub mod tracker_choice;
pub mod tracker_program;
pub mod trackers;
pub mod units;
pub mod waiting;
pub mod watch;
