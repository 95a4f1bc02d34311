//! Calling other peers: threads that connect and shake hands, one peer at a time each.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::runtime::stop::Stop;
use crate::runtime::stream::{POLL, Stream};
use crate::runtime::threads;
use crate::wire::handshake::{HANDSHAKE_LENGTH, Handshake, NotBitTorrent};

use super::connection::{Direction, Handshaken};
use super::engine::Input;

/// How many calls are under way at once.
const THREADS: usize = 8;
/// Addresses that wait for a thread. More stay in the address book.
const WAITING: usize = 64;
/// How long a connection may take to be made. Bounds the end of the program, too.
const CONNECT: Duration = Duration::from_millis(2500);
/// How long the other side may take for its handshake, from the first byte to the last.
pub const HANDSHAKE: Duration = Duration::from_secs(10);

/// Somebody to call.
pub struct Call {
    pub address: SocketAddr,
    /// What we say.
    pub handshake: Handshake,
}

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    NotBitTorrent(#[from] NotBitTorrent),
    #[error("it answered for another torrent")]
    OtherTorrent,
}

pub struct Dialer {
    calls: Option<Sender<Call>>,
    threads: Vec<JoinHandle<()>>,
}

impl Dialer {
    pub fn start(engine: &Sender<Input>, stop: &Stop) -> io::Result<Dialer> {
        let (calls, waiting) = bounded(WAITING);
        let mut dialer = Dialer {
            calls: Some(calls),
            threads: Vec::new(),
        };
        for i in 0..THREADS {
            let (waiting, engine, stop) = (waiting.clone(), engine.clone(), stop.clone());
            let run = move || dial(&waiting, &engine, &stop);
            dialer
                .threads
                .push(threads::spawn(&format!("dial-{i}"), None, run)?);
        }
        Ok(dialer)
    }

    /// Queues a call; gives it back if too many wait.
    pub fn call(&self, call: Call) -> Result<(), Call> {
        match &self.calls {
            Some(calls) => calls.try_send(call).map_err(|error| error.into_inner()),
            None => Err(call),
        }
    }
}

impl Drop for Dialer {
    fn drop(&mut self) {
        self.calls = None;
        self.threads.drain(..).for_each(|thread| {
            threads::join(thread);
        });
    }
}

fn dial(waiting: &Receiver<Call>, engine: &Sender<Input>, stop: &Stop) {
    for call in waiting {
        if stop.is_requested() {
            return;
        }
        let (address, info_hash) = (call.address, call.handshake.info_hash);
        let input = match connect(&call, stop) {
            Ok(handshaken) => Input::Handshaken(handshaken),
            Err(error) => {
                log::debug!(target: "dial", "{address} for {info_hash}: {error}");
                Input::CallFailed { info_hash, address }
            }
        };
        if engine.send(input).is_err() {
            return;
        }
    }
}

fn connect(call: &Call, stop: &Stop) -> Result<Handshaken, CallError> {
    log::trace!(target: "hop", "{}: calling", call.address);
    let socket = TcpStream::connect_timeout(&call.address, CONNECT)?;
    let mut stream = Stream::new(socket, stop.child(), POLL, HANDSHAKE)?;
    stream.write_all(&call.handshake.encode())?;
    let handshake = read_handshake(&mut stream)?;
    if handshake.info_hash != call.handshake.info_hash {
        return Err(CallError::OtherTorrent);
    }
    log::trace!(target: "hop", "{}: shook hands", call.address);
    Ok(Handshaken {
        stream,
        address: call.address,
        handshake,
        direction: Direction::Outgoing,
    })
}

/// The other side's handshake. One that trickles in byte by byte is not waited for either.
pub fn read_handshake(stream: &mut Stream) -> Result<Handshake, CallError> {
    let mut bytes = [0; HANDSHAKE_LENGTH];
    stream.set_deadline(Some(Instant::now() + HANDSHAKE));
    stream.read_exact(&mut bytes)?;
    stream.set_deadline(None);
    Ok(Handshake::decode(&bytes)?)
}
