//! One client, from its first byte, which tells its dialect, to its last.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::announce::http::{After, Status, response};
use crate::control::reply::{Code, Reply};
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

/// What a connection's first byte says.
enum Dialect {
    Http,
    Control,
    Tls,
}

fn dialect(first: u8) -> Dialect {
    match first {
        // Methods are in capitals, commands are not; seed 1's `REGISTER` and `GETPEERS` will be
        // told apart by the whole first word.
        b'A'..=b'Z' => Dialect::Http,
        // A TLS handshake record.
        0x16 => Dialect::Tls,
        _ => Dialect::Control,
    }
}

/// Serves a client until one of both has enough.
pub fn serve(state: &State, stream: Stream, from: SocketAddr) {
    let result = match first_byte(&stream) {
        Ok(None) => Ok(()),
        Ok(Some(first)) => match dialect(first) {
            Dialect::Http => http_door::serve(state, stream, from),
            Dialect::Control => control_door::serve(state, stream, from),
            Dialect::Tls => {
                let reply = Reply::err(Code::BadRequest, "this tracker does not speak TLS");
                say_goodbye(stream, &encode(&reply))
            }
        },
        Err(error) => Err(error),
    };
    if let Err(error) = result {
        log::debug!(target: "client", "{from}: {error}");
    }
}

/// Tells a client in its dialect why it is not served.
pub fn refuse(stream: Stream, why: Full) {
    let Ok(Some(first)) = first_byte(&stream) else {
        return;
    };
    let answer = match dialect(first) {
        Dialect::Http => {
            let text = format!("{why}\n");
            response(Status::Busy, "text/plain", After::Close, text.as_bytes())
        }
        Dialect::Control | Dialect::Tls => encode(&Reply::err(Code::Busy, why)),
    };
    // It is going anyway.
    let _ = say_goodbye(stream, &answer);
}

fn first_byte(stream: &Stream) -> io::Result<Option<u8>> {
    let mut first = [0];
    Ok((stream.peek(&mut first)? > 0).then_some(first[0]))
}

/// The bytes of a reply. One that is over the limits is our own fault.
pub(super) fn encode(reply: &Reply) -> Vec<u8> {
    reply.encode().unwrap_or_else(|error| {
        log::error!(target: "client", "a reply could not be encoded: {error}");
        b"ERR internal the reply is too large\n".to_vec()
    })
}

/// Sends the last words and sees to it that they arrive.
pub(super) fn say_goodbye(mut stream: Stream, words: &[u8]) -> io::Result<()> {
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
