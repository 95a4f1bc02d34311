//! Calling other peers: threads that connect and shake hands, one peer at a time each.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::control::ticket::SignedTicket;
use crate::runtime::stop::Stop;
use crate::runtime::stream::{POLL, Stream};
use crate::runtime::threads;
use crate::wire::handshake::Handshake;

use super::connection::Handshaken;
use super::engine::Input;
use super::membership::Membership;
use super::shake::{self, CallError, HANDSHAKE};

/// How many calls are under way at once.
pub const THREADS: usize = 8;
/// Addresses that wait for a thread. More stay in the address book.
const WAITING: usize = 64;
/// How long a connection may take to be made. Bounds the end of the program, too.
pub const CONNECT: Duration = Duration::from_millis(2500);

/// Somebody to call.
pub struct Call {
    pub address: SocketAddr,
    /// What we say.
    pub handshake: Handshake,
    pub manner: Manner,
}

/// How a call begins.
#[derive(Clone)]
pub enum Manner {
    /// With the handshake: what is public.
    Plain,
    /// Inside Noise, with this ticket: what is a group's.
    Member(Box<SignedTicket>),
}

pub struct Dialer {
    calls: Option<Sender<Call>>,
    threads: Vec<JoinHandle<()>>,
}

impl Dialer {
    /// `count` threads.
    pub fn start(
        count: usize,
        membership: &Arc<Membership>,
        engine: &Sender<Input>,
        stop: &Stop,
    ) -> io::Result<Dialer> {
        let (calls, waiting) = bounded(WAITING);
        let mut dialer = Dialer {
            calls: Some(calls),
            threads: Vec::new(),
        };
        for i in 0..count {
            let (waiting, engine, stop) = (waiting.clone(), engine.clone(), stop.clone());
            let membership = membership.clone();
            let run = move || dial(&waiting, &membership, &engine, &stop);
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

fn dial(waiting: &Receiver<Call>, membership: &Membership, engine: &Sender<Input>, stop: &Stop) {
    for call in waiting {
        if stop.is_requested() {
            return;
        }
        let (address, info_hash) = (call.address, call.handshake.info_hash);
        let input = match connect(call, membership, stop) {
            Ok(handshaken) => Input::Handshaken(Box::new(handshaken)),
            Err(error) => {
                log::debug!(target: "dial", "{address} for {info_hash}: {error}");
                Input::CallFailed {
                    info_hash,
                    address,
                    error,
                }
            }
        };
        if engine.send(input).is_err() {
            return;
        }
    }
}

fn connect(call: Call, membership: &Membership, stop: &Stop) -> Result<Handshaken, CallError> {
    log::trace!(target: "hop", "{}: calling", call.address);
    let socket = TcpStream::connect_timeout(&call.address, CONNECT)?;
    let stream = Stream::new(socket, stop.child(), POLL, HANDSHAKE)?;
    let (address, ours) = (call.address, &call.handshake);
    let handshaken = match call.manner {
        Manner::Plain => shake::call(stream, address, ours)?,
        Manner::Member(ticket) => shake::call_member(stream, address, ours, &ticket, membership)?,
    };
    log::trace!(target: "hop", "{address}: shook hands");
    Ok(handshaken)
}
