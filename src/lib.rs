//! Mini BitTorrent: a tracker and a peer to read, to teach with and to use.
//!
//! It is real BitTorrent, so any other client is a peer like ours. It is blocking threads and
//! channels and nothing else, so that a debugger shows what happens. `docs/ARCHITECTURE.md` is
//! the map, `docs/ONE_PIECE.md` follows one piece from the prompt to the disk, and
//! `docs/PROTOCOL.md` says what goes over the network.
//!
//! # Rooms
//!
//! One folder is one subject. Imports run downwards only. *Pure* rooms have values in and values
//! out: no socket, file, thread, lock or clock.
//!
//! | room | | what is in it | begin with |
//! |---|---|---|---|
//! | [`shell`] | | what people see: prompts, lists, bars | [`shell::peer_shell::PeerShell::run`] |
//! | [`peer`] | | fetches, hashes and serves | [`peer::engine::Engine::run`] |
//! | [`tracker`] | | answers who shares what, and who is in which swarm | [`tracker::client::serve`] |
//! | [`runtime`] | | threads that can be stopped, streams on which nothing waits for ever | [`runtime::stream::Stream`] |
//! | [`storage`] | | where bytes are kept, and what is remembered | [`storage::Storage`] |
//! | [`registry`] | pure | what a tracker knows | [`registry::swarms::Swarms::announce`] |
//! | [`control`] | pure | what our peer and our tracker say | [`control::command::COMMANDS`] |
//! | [`announce`] | pure | what any peer and any tracker say | [`announce::request::AnnounceRequest`] |
//! | [`wire`] | pure | what two peers say | [`wire::message::Message`] |
//! | [`torrent`] | pure | what is shared, and the rules of sharing it | [`torrent::Torrent::handle`] |
//!
//! # Threads
//!
//! In the peer one thread decides and the others do. It owns everything, and there are no locks
//! around it:
//!
//! ```text
//!  main ── Command ──►┐           ┌── Order ──► conn-w ──► socket
//!  accept, shake-N ──►│           │               ▲
//!  dial-N ───────────►│  engine ──┤               │ Order
//!  announce, http-N ─►│           │               │
//!  hash-N, disk ─────►┘           └◄─ Report ── conn-r ◄── socket
//!                                                 └──────► disk
//! ```
//!
//! A connection is a worker: `conn-r` reads a piece block by block, hashes it, writes it and
//! reports it. One piece, one thread, from socket to disk.
//!
//! In the tracker every client has a thread, and they share one state behind two locks:
//!
//! ```text
//!  accept ── one thread a client ──► conn-N ──► control_door or http_door ──► State
//!                                                              sweeper ────────┘
//! ```
//!
//! Each `start` returns a handle; dropping it stops and joins every thread that it started. The
//! tables of all threads are in [`peer`] and [`tracker`].
//!
//! # BEPs
//!
//! `docs/PROTOCOL.md` has this table with what exactly is spoken, and the tests that prove it.
//!
//! | BEP | | where |
//! |---|---|---|
//! | 3 | torrents, the wire, announces | [`torrent::metainfo`], [`wire`], [`announce`] |
//! | 6 | fast extension | [`wire::message`], [`torrent::session`] |
//! | 7, 23 | IPv6 and compact peers | [`announce::response`] |
//! | 10 | extension protocol: its handshake | [`wire::extension`] |
//! | 12 | several trackers | [`torrent::metainfo`] |
//! | 20 | peer ids | [`torrent::id`] |
//! | 27 | private torrents | [`torrent::metainfo`] |
//! | 48 | scrape | [`announce::scrape`] |

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
