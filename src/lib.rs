//! Mini BitTorrent: a tracker and a peer to read, to teach with and to use.

#![forbid(unsafe_code)]

pub mod announce;
pub mod control;
pub mod peer;
pub mod registry;
pub mod runtime;
pub mod shell;
pub mod storage;
pub mod torrent;
pub mod tracker;
pub mod wire;
