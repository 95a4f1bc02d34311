//! The HTTP dialect: announces and scrapes of any BitTorrent client (BEP 3, 7, 23, 48), and a
//! page for people.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use crate::announce::http::{After, Head, MAX_HEAD, Status, response};
use crate::announce::request::AnnounceRequest;
use crate::announce::response::failure;
use crate::announce::scrape::ScrapeRequest;
use crate::runtime::channel::Channel;

use super::client::say_goodbye;
use super::state::State;

/// Bytes that are read at once: an announce has about 400.
const READ_AT_ONCE: usize = 1024;

/// Answers requests until the client has enough or is silent for too long.
/// `buffer` is what was read of the first one.
pub fn serve(
    state: &State,
    mut stream: Channel,
    from: SocketAddr,
    mut buffer: Vec<u8>,
) -> io::Result<()> {
    stream.set_patience(state.config.request);
    stream.set_deadline(Some(Instant::now() + state.config.request));
    loop {
        let head = match Head::parse(&buffer) {
            Ok(Some(head)) => head,
            Ok(None) => {
                if buffer.is_empty() {
                    stream.set_deadline(None);
                    stream.set_patience(state.config.keep_alive);
                }
                let idle = buffer.is_empty();
                if read_some(&mut stream, &mut buffer)? == 0 {
                    return stream.say_end();
                }
                if idle {
                    stream.set_patience(state.config.request);
                    stream.set_deadline(Some(Instant::now() + state.config.request));
                }
                continue;
            }
            Err(error) => {
                let text = format!("{error}\n");
                let answer = response(error.status(), "text/plain", After::Close, text.as_bytes());
                return say_goodbye(stream, &answer);
            }
        };
        state.counters.request();
        let (status, content_type, body) = answer(state, from, &head);
        let (after, length) = (head.after, head.length);
        let answer = response(status, content_type, after, &body);
        if after == After::Close {
            // Nothing unread is left by a well-behaved client, and most are: no farewell then.
            return if length == buffer.len() {
                stream.write_all(&answer)?;
                stream.say_end()
            } else {
                say_goodbye(stream, &answer)
            };
        }
        stream.write_all(&answer)?;
        buffer.drain(..length);
        if !buffer.is_empty() {
            stream.set_deadline(Some(Instant::now() + state.config.request));
        }
    }
}

/// The answer to what `bytes` are, if they are one whole announce or scrape of a client that goes
/// then, and it is short: at most 4 KiB with peers, 8 KiB with counts.
pub fn answer_at_once(state: &State, from: SocketAddr, bytes: &[u8]) -> Option<Vec<u8>> {
    let head = Head::parse(bytes).ok()??;
    let is_short = match head.path {
        "/announce" => head
            .query
            .split('&')
            .any(|parameter| parameter == "compact=1"),
        path => path == "/scrape",
    };
    if head.after != After::Close || head.length != bytes.len() || !is_short {
        return None;
    }
    state.counters.request();
    let (status, content_type, body) = answer(state, from, &head);
    Some(response(status, content_type, head.after, &body))
}

fn read_some(stream: &mut Channel, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let had = buffer.len();
    buffer.resize((had + READ_AT_ONCE).min(MAX_HEAD), 0);
    let got = stream.read(&mut buffer[had..]);
    buffer.truncate(had + *got.as_ref().unwrap_or(&0));
    got
}

fn answer(state: &State, from: SocketAddr, head: &Head<'_>) -> (Status, &'static str, Vec<u8>) {
    let bencoded = |body| (Status::Ok, "text/plain", body);
    match head.path {
        "/announce" => bencoded(announce(state, from, head.query)),
        "/scrape" => bencoded(scrape(state, head.query)),
        "/" | "/stats" => (
            Status::Ok,
            "text/plain; charset=utf-8",
            page(state).into_bytes(),
        ),
        _ => {
            let text = "Nothing here. Try /announce, /scrape or /stats.\n";
            (Status::NotFound, "text/plain", text.into())
        }
    }
}

fn announce(state: &State, from: SocketAddr, query: &str) -> Vec<u8> {
    match AnnounceRequest::from_query(query) {
        Err(error) => failure(&error.to_string()),
        Ok((request, form)) => match state.announce(from.ip(), &request) {
            Ok(response) => response.encode(form),
            Err(full) => failure(&full.to_string()),
        },
    }
}

fn scrape(state: &State, query: &str) -> Vec<u8> {
    match ScrapeRequest::from_query(query) {
        Err(error) => failure(&error.to_string()),
        Ok(request) => state.scrape(&request).encode(),
    }
}

fn page(state: &State) -> String {
    let stats = state.stats();
    let lines = stats
        .0
        .iter()
        .map(|(name, value)| format!("{name:>20}  {value}\n"));
    let lines: String = lines.collect();
    format!("Mini BitTorrent tracker\n\n{lines}\nTorrents announce to /announce on this port.\n")
}
