//! One client, from its first byte, which tells its dialect, to its last.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::announce::http::{After, Status, response};
use crate::control::reply::{Code, Reply};
use crate::runtime::channel::Channel;
use crate::runtime::stream::Stream;

use super::connections::Full;
use super::control_door;
use super::http_door;
use super::state::State;

/// How long we listen on after the last word, so that it arrives: closing a socket with unread
/// bytes takes back what was sent.
const FAREWELL: Duration = Duration::from_secs(1);
/// How many bytes we listen to then.
const FAREWELL_BYTES: usize = 256 * 1024;

/// How long a client that is refused may take to say which dialect it wants to hear it in.
const REFUSAL: Duration = Duration::from_secs(1);

/// The first byte of a TLS handshake.
const TLS: u8 = 0x16;

/// Said to a peer that does not know our key, in the clear. It ends in what the user can do.
const TLS_ONLY: &str = "this tracker speaks TLS only: its line in tracker_info.txt needs its key, \
                        which `tracker --key` prints";

/// What a connection's first byte says; inside TLS, the first byte there.
enum Dialect {
    Http,
    Control,
}

fn dialect(first: u8) -> Dialect {
    match first {
        // Methods are in capitals, commands are not; seed 1's `REGISTER` and `GETPEERS` will be
        // told apart by the whole first word.
        b'A'..=b'Z' => Dialect::Http,
        _ => Dialect::Control,
    }
}

/// Serves a client until one of both has enough.
pub fn serve(state: &State, stream: Stream, from: SocketAddr) {
    let result = greet(state, stream, state.config.first_byte).and_then(|client| match client {
        None => Ok(()),
        Some((channel, Dialect::Http)) => http_door::serve(state, channel, from),
        Some((channel, Dialect::Control)) if state.config.tls_required && !channel.is_tls() => {
            say_goodbye(channel, &encode(&Reply::err(Code::BadRequest, TLS_ONLY)))
        }
        Some((channel, Dialect::Control)) => control_door::serve(state, channel, from),
    });
    if let Err(error) = result {
        log::debug!(target: "client", "{from}: {error}");
    }
}

/// Tells a client in its dialect why it is not served.
pub fn refuse(state: &State, stream: Stream, why: Full) {
    let Ok(Some((channel, dialect))) = greet(state, stream, REFUSAL) else {
        return;
    };
    let answer = match dialect {
        Dialect::Http => {
            let text = format!("{why}\n");
            response(Status::Busy, "text/plain", After::Close, text.as_bytes())
        }
        Dialect::Control => encode(&Reply::err(Code::Busy, why)),
    };
    // It is going anyway.
    let _ = say_goodbye(channel, &answer);
}

/// Waits for the first byte, shakes hands if that is TLS's, and then waits for the first byte
/// inside, all in `time` from the first. `None` if the client has gone.
fn greet(
    state: &State,
    mut stream: Stream,
    time: Duration,
) -> io::Result<Option<(Channel, Dialect)>> {
    stream.set_patience(time);
    let mut first = [0];
    if stream.peek(&mut first)? == 0 {
        return Ok(None);
    }
    if first != [TLS] {
        return Ok(Some((stream.into(), dialect(first[0]))));
    }
    stream.set_deadline(Some(Instant::now() + time));
    let accepted = state.config.identity.acceptor().accept(stream);
    let mut channel = accepted.map_err(io::Error::other)?;
    let first = channel.first_byte()?;
    Ok(first.map(|first| (channel, dialect(first))))
}

/// The bytes of a reply. One that is over the limits is our own fault.
pub(super) fn encode(reply: &Reply) -> Vec<u8> {
    reply.encode().unwrap_or_else(|error| {
        log::error!(target: "client", "a reply could not be encoded: {error}");
        b"ERR internal the reply is too large\n".to_vec()
    })
}

/// Sends the last words and sees to it that they arrive.
pub(super) fn say_goodbye(mut stream: Channel, words: &[u8]) -> io::Result<()> {
    stream.set_deadline(Some(Instant::now() + FAREWELL));
    stream.write_all(words)?;
    stream.finish_writing();
    let mut buffer = [0; 1024];
    let mut left = FAREWELL_BYTES;
    while left > 0 {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(got) => left = left.saturating_sub(got),
        }
    }
    Ok(())
}
