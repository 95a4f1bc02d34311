//! The thread `accept`: gives every client its answer, its thread, or a refusal.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use crate::runtime::listener::Listener;
use crate::runtime::stream::Stream;
use crate::runtime::workers::Workers;

use super::at_once::{self, Answered};
use super::client;
use super::state::State;

/// Bytes of stack of a client's thread: of ten thousand, only the pages that are touched take
/// memory. Debug builds put everything on the stack.
const STACK: usize = if cfg!(debug_assertions) {
    1024 * 1024
} else {
    128 * 1024
};

/// Accepts until told to stop. Returns the crew, whose threads serve the last clients.
pub fn run(listener: &Listener, state: &Arc<State>) -> Workers {
    let crew = Workers::new("conn", STACK);
    while let Some((socket, from)) = listener.accept() {
        if let Err(error) = admit(&crew, state, socket, from) {
            log::warn!(target: "accept", "{from} could not be served: {error}");
        }
    }
    crew
}

fn admit(
    crew: &Workers,
    state: &Arc<State>,
    socket: TcpStream,
    from: SocketAddr,
) -> std::io::Result<()> {
    match at_once::answer(state, &socket, from) {
        Ok(Answered::Now) => return Ok(()),
        Ok(Answered::NotYet) => {}
        Err(error) => {
            log::debug!(target: "accept", "{from}: {error}");
            return Ok(());
        }
    }
    let config = &state.config;
    let stop = state.stop.clone();
    let stream = Stream::new(socket, stop, config.poll, config.first_byte)?;
    match state.connections.enter(from.ip(), &stream) {
        Ok(place) => {
            let state = state.clone();
            crew.run(move || {
                client::serve(&state, stream, from);
                drop(place);
            })
        }
        Err(full) => {
            state.counters.refused();
            log::warn!(target: "accept", "{from} is refused: {full}");
            let Some(place) = state.connections.enter_refusal() else {
                return Ok(());
            };
            let state = state.clone();
            crew.run(move || {
                client::refuse(&state, stream, full);
                drop(place);
            })
        }
    }
}
