//! One connection to one peer: a thread that reads and a thread that writes.
//!
//! ```text
//!            Order                                  Report
//!  engine ──────────► conn-w ──► socket ──► conn-r ────────► engine
//!                       ▲                     │
//!                       └──── Order ──────────┘   (requests to send, blocks to serve)
//! ```
//!
//! The connection is a worker: it gets piece jobs in its bounded channel, asks for their blocks,
//! hashes and writes each complete piece, and reports it. The two threads share the download's
//! protocol state ([`Session`]) behind a lock that nobody else holds; the reader never writes to
//! the socket, because two peers doing so to each other could lock up.

mod orders;
mod reader;
mod writer;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use parking_lot::{Mutex, RwLock};

use crate::control::key::PeerKey;
use crate::runtime::stream::Stream;
use crate::runtime::threads::Threads;
use crate::storage::{Storage, StorageError};
use crate::torrent::Event;
use crate::torrent::bitfield::{Bitfield, BitfieldError};
use crate::torrent::id::{ConnId, InfoHash};
use crate::torrent::layout::{Block, PieceIndex};
use crate::torrent::loan::Loan;
use crate::torrent::metainfo::Metainfo;
use crate::torrent::session::{Session, Violation};
use crate::wire::codec::WireError;
use crate::wire::extension::ExtendedHandshake;
use crate::wire::handshake::Handshake;
use crate::wire::message::Message;

use super::channel::{Sink, Source};
use super::engine::Input;
use super::membership::{Membership, Pass, Refusal};
use super::memory::Memory;
use super::rate_limit::RateLimit;
use super::shake::Shown;
use orders::{Orders, TooSlow};

/// How many orders may wait for a writer. One that falls behind further is disconnected: the
/// engine waits for nobody.
pub const MAX_ORDERS: usize = 8192;

/// How long a peer may be silent. Everybody sends a keep-alive every two minutes (BEP 3).
pub const SILENCE: Duration = Duration::from_secs(150);

/// Bytes. Our own frames are small; the libraries' under them are not in a debug build.
const STACK: usize = 512 * 1024;

/// What the writer is to do.
pub enum Order {
    /// A piece job: fetch this piece from this peer, to there.
    Fetch(PieceIndex, Loan),
    /// Forget a piece job.
    Forget(PieceIndex),
    /// Send these requests.
    Request(Vec<Block>),
    /// The peer asks for this block.
    Serve(Block),
    /// The peer does not need this block any more.
    Unserve(Block),
    /// Serve the peer, or stop serving it.
    Unchoke,
    Choke,
    Send(Message),
}

/// What a connection tells the engine.
#[derive(Debug)]
pub enum Report {
    /// For the rules.
    Event(Event),
    /// What the peer says of itself (BEP 10).
    Introduced(ExtendedHandshake),
    /// It has shown another ticket, and may stay.
    Renewed(Pass),
    /// Our disk failed; the peer is not to blame.
    StorageFailed(StorageError),
    /// The last report.
    Ended(Reason),
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    #[error("the peer closed the connection")]
    ClosedByPeer,
    #[error("nothing came for {} s", SILENCE.as_secs())]
    Silent,
    #[error("the connection broke: {0}")]
    Io(io::Error),
    #[error("we closed it")]
    ClosedByUs,
    #[error("it broke the protocol: {0}")]
    Wire(#[from] WireError),
    #[error("it broke the protocol: {0}")]
    Violation(#[from] Violation),
    #[error("it broke the protocol: {0}")]
    Bitfield(#[from] BitfieldError),
    #[error("it broke the protocol: {0}")]
    Extension(#[from] crate::torrent::bencode::BencodeError),
    #[error("it asks faster than it reads")]
    Flood,
    #[error("it sent what was not sealed by it")]
    Forged,
    #[error(transparent)]
    Ticket(#[from] Refusal),
}

impl Reason {
    /// Whether it may be better the next time.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Reason::ClosedByPeer
                | Reason::Silent
                | Reason::Io(_)
                | Reason::ClosedByUs
                | Reason::Ticket(_)
        )
    }
}

/// What all connections of one torrent share.
pub struct Shared {
    pub info_hash: InfoHash,
    pub metainfo: Arc<Metainfo>,
    pub storage: Arc<dyn Storage>,
    /// What we have and serve. Written by the engine alone.
    pub have: RwLock<Bitfield>,
    pub engine: Sender<Input>,
    pub limits: Arc<Limits>,
    pub memory: Arc<Memory>,
    pub membership: Arc<Membership>,
}

/// The limits of the whole peer.
pub struct Limits {
    pub up: RateLimit,
    pub down: RateLimit,
    /// How many orders may wait for the writer of a connection.
    pub orders: usize,
}

/// Bytes of blocks that a connection has carried.
#[derive(Default)]
pub struct Counters {
    downloaded: AtomicU64,
    uploaded: AtomicU64,
}

impl Counters {
    pub fn downloaded(&self) -> u64 {
        self.downloaded.load(Ordering::Relaxed)
    }

    pub fn uploaded(&self) -> u64 {
        self.uploaded.load(Ordering::Relaxed)
    }
}

/// A connection whose peer has shown that it knows the torrent.
pub struct Handshaken {
    pub stream: Stream,
    pub address: SocketAddr,
    /// The two ends of it.
    pub source: Source,
    pub sink: Sink,
    /// What the peer sent.
    pub handshake: Handshake,
    /// Who called whom.
    pub direction: Direction,
    /// What the peer may do here.
    pub pass: Pass,
    /// What we have shown to it, inside Noise.
    pub shown: Option<Shown>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// We called; our handshake is sent.
    Outgoing,
    /// They called; our handshake is still to be sent.
    Incoming,
}

/// The engine's end of a connection. Dropping it ends the connection.
pub struct Connection {
    stream: Stream,
    orders: Orders,
    pub counters: Arc<Counters>,
    /// Both sides know the fast extension (BEP 6).
    pub fast: bool,
}

impl Connection {
    /// Starts the two threads. `first` are the messages to begin with, after the handshake.
    pub fn start(
        conn: ConnId,
        handshaken: Handshaken,
        ours: Handshake,
        first: &[Message],
        shared: Arc<Shared>,
        threads: &Threads,
    ) -> io::Result<Connection> {
        let stream = handshaken.stream.with_patience(SILENCE);
        let (mut source, mut sink) = (handshaken.source, handshaken.sink);
        source.stream_mut().set_patience(SILENCE);
        sink.stream_mut().set_patience(SILENCE);
        let (orders, inbox) = Orders::new(shared.limits.orders);
        let counters = Arc::new(Counters::default());
        let link = Link {
            conn,
            stream: stream.clone(),
            session: Arc::new(Mutex::new(Session::new(shared.metainfo.layout.clone()))),
            fast: handshaken.handshake.fast,
            member: handshaken.shown.map(|shown| shown.peer),
            counters: counters.clone(),
            shared,
        };
        let fast = link.fast;
        let mut hello = Vec::new();
        if handshaken.direction == Direction::Incoming {
            hello.extend_from_slice(&ours.encode());
        }
        for message in first {
            crate::wire::codec::encode(message, &mut hello);
        }
        let ends = Ends {
            source,
            sink,
            inbox,
            orders: orders.clone(),
        };
        start_threads(link, hello, ends, threads)?;
        Ok(Connection {
            stream,
            orders,
            counters,
            fast,
        })
    }

    /// Hands an order to the writer, without waiting for it.
    pub fn order(&self, order: Order) -> Result<(), TooSlow> {
        self.orders.send(order)
    }

    /// Both threads come to their end, and the reader reports it.
    pub fn close(&self) {
        self.stream.close();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}

/// What both threads of a connection hold.
#[derive(Clone)]
struct Link {
    conn: ConnId,
    stream: Stream,
    session: Arc<Mutex<Session>>,
    /// Both sides know the fast extension (BEP 6).
    fast: bool,
    /// Who is at the other end, if that was shown inside Noise.
    member: Option<PeerKey>,
    counters: Arc<Counters>,
    shared: Arc<Shared>,
}

/// What the two threads take with them.
struct Ends {
    source: Source,
    sink: Sink,
    inbox: Receiver<Order>,
    orders: Orders,
}

impl Link {
    fn report(&self, report: Report) {
        let (info_hash, conn) = (self.shared.info_hash, self.conn);
        // The engine is gone only when everything ends.
        let _ = self.shared.engine.send(Input::Connection {
            info_hash,
            conn,
            report,
        });
    }
}

fn start_threads(link: Link, hello: Vec<u8>, ends: Ends, threads: &Threads) -> io::Result<()> {
    let Ends {
        source,
        sink,
        inbox,
        orders,
    } = ends;
    let number = link.conn;
    let for_writer = link.clone();
    threads.spawn(&format!("conn-w-{number}"), Some(STACK), move || {
        if let Err(error) = writer::run(&for_writer, sink, &hello, &inbox) {
            log::debug!(target: "conn", "connection {number}: cannot write: {error}");
        }
        // The reader finds out, and reports.
        for_writer.stream.close();
    })?;
    threads.spawn(&format!("conn-r-{number}"), Some(STACK), move || {
        let reason = reader::run(&link, source, &orders);
        link.stream.close();
        link.report(Report::Ended(reason));
    })
}
