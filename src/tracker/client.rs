//! One client, from its first word, which tells its dialect, to its last byte.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::announce::http::{After, Status, response};
use crate::control::reply::{Code, Reply};
use crate::runtime::channel::Channel;
use crate::runtime::stream::Stream;

use super::classic_door;
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

/// Methods of HTTP, and the first word of HTTP/2. Other words in capitals are one-line requests.
const METHODS: [&[u8]; 10] = [
    b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH", b"PRI",
];
/// The longest first word that is looked for: that of `REGISTER` and `GETPEERS`.
const LONGEST_WORD: usize = 8;
/// Bytes that are read at once while the dialect is not known: an announce has about 400.
const FIRST_READ: usize = 1024;

/// Said to a peer that does not know our key, in the clear. It ends in what the user can do.
const TLS_ONLY: &str = "this tracker speaks TLS only: its line in tracker_info.txt needs its key, \
                        which `tracker --key` prints";

/// What a connection's first byte says, or its first word; inside TLS, the first there.
enum Dialect {
    Http,
    Control,
    /// One request in one line, and the end.
    OneLine,
}

fn dialect(first: u8) -> Dialect {
    match first {
        // Methods are in capitals, commands are not.
        b'A'..=b'Z' => Dialect::Http,
        _ => Dialect::Control,
    }
}

/// A client whose dialect is known, with what was read to learn it.
struct Greeted {
    channel: Channel,
    dialect: Dialect,
    begun: Vec<u8>,
}

/// Serves a client until one of both has enough.
pub fn serve(state: &State, stream: Stream, from: SocketAddr) {
    let result = greet(state, stream, state.config.first_byte).and_then(|client| match client {
        None => Ok(()),
        Some(client) => {
            let (channel, begun) = (client.channel, client.begun);
            let in_the_clear = state.config.tls_required && !channel.is_tls();
            match client.dialect {
                Dialect::Http => http_door::serve(state, channel, from, begun),
                Dialect::Control if in_the_clear => {
                    say_goodbye(channel, &encode(&Reply::err(Code::BadRequest, TLS_ONLY)))
                }
                Dialect::Control => control_door::serve(state, channel, from),
                Dialect::OneLine if in_the_clear => {
                    say_goodbye(channel, classic_door::error(TLS_ONLY).as_bytes())
                }
                Dialect::OneLine => classic_door::serve(state, channel, from, begun),
            }
        }
    });
    if let Err(error) = result {
        log::debug!(target: "client", "{from}: {error}");
    }
}

/// Tells a client in its dialect why it is not served.
pub fn refuse(state: &State, stream: Stream, why: Full) {
    let Ok(Some(client)) = greet(state, stream, REFUSAL) else {
        return;
    };
    let answer = match client.dialect {
        Dialect::Http => {
            let text = format!("{why}\n");
            response(Status::Busy, "text/plain", After::Close, text.as_bytes())
        }
        Dialect::Control => encode(&Reply::err(Code::Busy, why)),
        Dialect::OneLine => classic_door::error(&why.to_string()).into_bytes(),
    };
    // It is going anyway.
    let _ = say_goodbye(client.channel, &answer);
}

/// Waits for the first byte, shakes hands if that is TLS's, and then waits for the first byte
/// inside, all in `time` from the first. If that is a capital, the first word is read, too. `None`
/// if the client has gone.
fn greet(state: &State, mut stream: Stream, time: Duration) -> io::Result<Option<Greeted>> {
    stream.set_patience(time);
    let mut first = [0];
    if stream.peek(&mut first)? == 0 {
        return Ok(None);
    }
    stream.set_deadline(Some(Instant::now() + time));
    let (mut channel, first) = if first == [TLS] {
        let accepted = state.config.identity.acceptor().accept(stream);
        let mut channel = accepted.map_err(io::Error::other)?;
        match channel.first_byte()? {
            Some(first) => (channel, first),
            None => return Ok(None),
        }
    } else {
        (stream.into(), first[0])
    };
    let (mut dialect, mut begun) = (dialect(first), Vec::new());
    if let Dialect::Http = dialect {
        begun = read_word(&mut channel)?;
        if is_one_line(&begun) {
            dialect = Dialect::OneLine;
        }
    }
    Ok(Some(Greeted {
        channel,
        dialect,
        begun,
    }))
}

/// Reads until the first word is there, or is longer than any that we know, or the client has gone.
fn read_word(channel: &mut Channel) -> io::Result<Vec<u8>> {
    let mut begun = Vec::new();
    let mut buffer = [0; FIRST_READ];
    while begun.len() <= LONGEST_WORD && begun.iter().all(u8::is_ascii_uppercase) {
        match channel.read(&mut buffer)? {
            0 => break,
            got => begun.extend_from_slice(&buffer[..got]),
        }
    }
    Ok(begun)
}

/// Whether it begins with a word in capitals that is no method of HTTP.
fn is_one_line(begun: &[u8]) -> bool {
    let word = begun.split(|byte| !byte.is_ascii_uppercase()).next();
    let word = word.unwrap_or_default();
    word.len() < begun.len() && word.len() <= LONGEST_WORD && !METHODS.contains(&word)
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
