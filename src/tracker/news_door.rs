//! `subscribe`: from then on the tracker speaks, and this connection's thread waits for news and
//! questions. Who is not logged in is asked, and told nothing.

use std::io::{self, Write};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;

use crate::control::frame::Frame;
use crate::control::news::NewsLine;
use crate::control::reply::Reply;
use crate::control::stamp::Stamp;
use crate::registry::missed::missed;
use crate::registry::refused::Refused;
use crate::runtime::channel::Channel;

use super::ask_door;
use super::client::encode;
use super::hub::{Heard, Subscription};
use super::session::Login;
use super::state::State;

/// So often it is looked whether the listener has gone: it takes a place until then.
const GLANCE: Duration = Duration::from_secs(10);
/// After so many looks without news a stream shows that both are still there.
const GLANCES_TO_PING: u32 = 3;

/// What a listener is told first, and from where on it is told more.
pub struct Stream {
    subscription: Subscription,
    login: Option<Login>,
    first: Vec<u8>,
    /// How many facts are in what is told first.
    taken: u64,
}

/// Begins to listen. First we listen, then we look at what was missed: so nothing falls between,
/// and what is in both is told by its number.
pub fn subscribe(
    state: &State,
    login: Option<&Login>,
    ip: IpAddr,
    since: Option<Stamp>,
) -> Result<Stream, Refused> {
    let user = login.map(|login| login.user);
    let subscription = state.hub.subscribe(user, ip);
    let subscription = subscription.map_err(|many| Refused::Full(many.to_string()))?;
    let (missed, latest, taken) = state.known.look_now(|now| match user {
        Some(user) => {
            let missed = missed(&now.facts, user, since);
            (missed, now.facts.latest(), now.taken)
        }
        None => (Vec::new(), None, now.taken),
    });
    // With this cursor, whoever loses the stream before the first news loses nothing.
    let cursor = latest.map(|stamp| stamp.to_string());
    let mut first = encode(&Reply::ok(cursor));
    for (cursor, news) in missed {
        first.extend(bytes(&NewsLine::News { cursor, news }));
    }
    Ok(Stream {
        subscription,
        login: login.cloned(),
        first,
        taken,
    })
}

/// Writes what is heard until the listener goes, is too slow, or is logged in no longer.
pub fn serve(state: &State, mut channel: Channel, stream: Stream) -> io::Result<()> {
    send(state, &mut channel, &stream.first)?;
    let mut glances = 0;
    loop {
        let line = match stream.subscription.heard.recv_timeout(GLANCE) {
            Ok(Heard::News { taken, .. }) if taken <= stream.taken => continue,
            Ok(Heard::News { line, .. }) => line,
            Ok(Heard::Question { number, .. }) if channel.stream().is_over() => {
                ask_door::not_asked(state, number);
                return Ok(());
            }
            Ok(Heard::Knock { number, .. }) if channel.stream().is_over() => {
                // It may be over.
                let _ = state.knocking.forget(number);
                return Ok(());
            }
            Ok(Heard::Knock {
                number,
                address,
                info_hash,
            }) => NewsLine::Knock {
                question: number,
                address,
                info_hash,
            },
            Ok(Heard::Question { number, file }) => NewsLine::Who {
                question: number,
                file,
            },
            Err(RecvTimeoutError::Timeout) if channel.stream().is_over() => return Ok(()),
            Err(RecvTimeoutError::Timeout) if glances + 1 < GLANCES_TO_PING => {
                glances += 1;
                continue;
            }
            Err(RecvTimeoutError::Timeout) => NewsLine::Ping,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        let counts = |login: &Login| state.known.look(|facts| login.counts(facts));
        if !stream.login.as_ref().is_none_or(counts) {
            return Ok(());
        }
        glances = 0;
        send(state, &mut channel, &bytes(&line))?;
    }
}

fn send(state: &State, channel: &mut Channel, bytes: &[u8]) -> io::Result<()> {
    channel.set_deadline(Some(Instant::now() + state.config.request));
    channel.write_all(bytes)?;
    channel.flush()
}

fn bytes(line: &NewsLine) -> Vec<u8> {
    // Names are short and have no control characters: this cannot fail.
    let frame: Frame = line.to_frame();
    frame.encode().unwrap_or_default()
}
