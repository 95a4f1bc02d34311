//! Being called by other peers: one thread accepts, one a caller reads the handshake.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::Sender;

use crate::runtime::listener::{Listener, Waker};
use crate::runtime::stop::Stop;
use crate::runtime::stream::{POLL, Stream};
use crate::runtime::threads;
use crate::runtime::workers::Workers;

use super::connection::Handshaken;
use super::engine::Input;
use super::knocks::ExpectedKnocks;
use super::membership::Membership;
use super::shake::{self, CallError, HANDSHAKE};

/// How many callers may be in their handshake at once; further ones are turned away.
const MAX_HANDSHAKES: usize = 64;
/// Bytes.
const STACK: usize = 256 * 1024;

pub struct Acceptor {
    address: SocketAddr,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Acceptor {
    pub fn start(
        listener: Listener,
        membership: Arc<Membership>,
        expected: Arc<ExpectedKnocks>,
        engine: Sender<Input>,
        stop: Stop,
    ) -> io::Result<Acceptor> {
        let (address, waker) = (listener.local_addr()?, listener.waker()?);
        let run = move || accept(&listener, &membership, &expected, &engine, &stop);
        let thread = Some(threads::spawn("accept", None, run)?);
        Ok(Acceptor {
            address,
            waker,
            thread,
        })
    }

    /// Where others reach us.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.waker.stop();
        if let Some(thread) = self.thread.take() {
            threads::join(thread);
        }
    }
}

fn accept(
    listener: &Listener,
    membership: &Arc<Membership>,
    expected: &Arc<ExpectedKnocks>,
    engine: &Sender<Input>,
    stop: &Stop,
) {
    let shaking = Arc::new(AtomicUsize::new(0));
    let workers = Workers::new("shake", STACK);
    while let Some((socket, address)) = listener.accept() {
        if shaking.load(Ordering::SeqCst) >= MAX_HANDSHAKES {
            log::debug!(target: "accept", "{address} turned away: too many handshakes at once");
            continue;
        }
        shaking.fetch_add(1, Ordering::SeqCst);
        let (done, engine, stop) = (shaking.clone(), engine.clone(), stop.child());
        let (membership, expected) = (membership.clone(), expected.clone());
        let job = move || {
            match shake_hands(socket, address, &membership, stop) {
                Ok(knock) if expected.came(&knock.handshake.info_hash) => {
                    log::debug!(target: "accept", "{address} has knocked, as it was asked to");
                }
                // The engine is gone only when everything ends.
                Ok(handshaken) => drop(engine.send(Input::Handshaken(Box::new(handshaken)))),
                Err(error) => log::debug!(target: "accept", "{address} turned away: {error}"),
            }
            done.fetch_sub(1, Ordering::SeqCst);
        };
        if let Err(error) = workers.run(job) {
            shaking.fetch_sub(1, Ordering::SeqCst);
            log::warn!(target: "accept", "{address} turned away: no thread: {error}");
        }
    }
}

fn shake_hands(
    socket: TcpStream,
    address: SocketAddr,
    membership: &Membership,
    stop: Stop,
) -> Result<Handshaken, CallError> {
    let stream = Stream::new(socket, stop, POLL, HANDSHAKE)?;
    shake::answer(stream, address, membership)
}
