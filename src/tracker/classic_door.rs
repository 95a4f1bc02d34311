//! One-line requests for files by name: who registers is in a swarm that is known by the name's
//! hash, and is forgotten, forwarded and limited like any other peer.

use std::collections::BTreeSet;
use std::io::{self, BufReader, Read};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::announce::request::AnnounceRequest;
use crate::control::classic::{Answer, Letters, Malformed, Request, swarm_of};
use crate::control::frame::{FrameError, read_text};
use crate::control::names::FileName;
use crate::runtime::channel::Channel;
use crate::torrent::id::PeerId;

use super::client::say_goodbye;
use super::state::State;

/// How many are named of those who registered, and of those who share a file of that name.
const MAX_PEERS: usize = 200;

/// Of a peer of which only the port is known.
const NO_ID: PeerId = PeerId([b'-'; 20]);

/// Answers the one request of a connection, in capitals. `begun` is what was read of it.
pub fn serve(
    state: &State,
    mut channel: Channel,
    from: SocketAddr,
    begun: Vec<u8>,
) -> io::Result<()> {
    channel.set_patience(state.config.request);
    channel.set_deadline(Some(Instant::now() + state.config.request));
    let line = read_text(&mut BufReader::new(begun.chain(&mut channel)));
    let asked = match line {
        Ok(Some(line)) => Request::parse(Letters::Capital, &line),
        // What was cut off may have been another request.
        Ok(None) | Err(FrameError::Truncated) => return channel.say_end(),
        Err(FrameError::Io(error)) => return Err(error),
        Err(FrameError::Line(_) | FrameError::NotUtf8) => None,
    };
    let asked = asked.unwrap_or(Err(Malformed::Unknown));
    let answer = answer(state, from.ip(), Letters::Capital, asked);
    say_goodbye(channel, answer.as_bytes())
}

/// The reply to one request.
pub fn answer(
    state: &State,
    ip: IpAddr,
    letters: Letters,
    asked: Result<Request, Malformed>,
) -> String {
    state.counters.request();
    match asked {
        Ok(Request::Register { name, port }) => {
            register(state, SocketAddr::new(ip, port), &name).encode(letters)
        }
        Ok(Request::Peers { name }) => Answer::Peers(peers(state, &name)).encode(letters),
        Err(malformed) => format!("{malformed}\n"),
    }
}

/// Why a request in capitals is not even read.
pub fn error(why: &str) -> String {
    format!("ERROR {why}\n")
}

fn register(state: &State, address: SocketAddr, name: &FileName) -> Answer {
    let info_hash = swarm_of(name);
    let was_there = state.is_member(&info_hash, address);
    let request = AnnounceRequest::of_seed(info_hash, NO_ID, address.port());
    match state.announce(address.ip(), &request) {
        Ok(_) if was_there => Answer::Renewed,
        Ok(_) => Answer::Registered,
        Err(full) => Answer::Full(full.to_string()),
    }
}

/// Who has registered for the name, and who shares a file of that name with everybody; the asker,
/// too, as nobody knows where that listens.
fn peers(state: &State, name: &FileName) -> Vec<SocketAddr> {
    let shared = state.download(name).ok().map(|share| share.info_hash);
    let swarms = [Some(swarm_of(name)), shared];
    let peers: BTreeSet<SocketAddr> = swarms
        .iter()
        .flatten()
        .flat_map(|info_hash| state.some_members(info_hash, MAX_PEERS))
        .collect();
    peers.into_iter().collect()
}
