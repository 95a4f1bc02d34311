//! What two peers say to each other: the handshake, then messages (BEP 3, 6, 10).
//!
//! In scope: bytes and limits. Not here: sockets, and what the messages mean for a torrent.

pub mod codec;
pub mod extension;
pub mod handshake;
pub mod message;
