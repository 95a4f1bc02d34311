//! Being called by another tracker: what it tells is taken in, and answered when it is on the disk.

use std::io::{self, BufReader, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::control::frame::{Frame, read_frame};
use crate::control::key::TrackerKey;
use crate::control::reply::{Code, Reply};
use crate::control::sync::{Hello, SyncMessage, Welcome};
use crate::registry::batch::Batch;
use crate::runtime::channel::Channel;

use super::client::{encode, say_goodbye};
use super::neighbours::Call;
use super::state::State;
use super::store::unix_ms;

/// How long a tracker that calls may be silent: several beats.
const SILENCE: Duration = Duration::from_secs(10);
/// How long a message may take from its first byte to its last.
const MESSAGE: Duration = Duration::from_secs(20);

/// Answers a tracker whose first line was `frame`.
pub fn serve(
    state: &State,
    mut reader: BufReader<Channel>,
    from: SocketAddr,
    frame: &Frame,
) -> io::Result<()> {
    let call = match admit(state, reader.get_ref(), from, frame) {
        Ok(call) => call,
        Err(refused) => {
            log::warn!(target: "sync", "a tracker at {from} is refused: {refused}");
            let refused = encode(&Reply::err(Code::Denied, refused));
            return say_goodbye(reader.into_inner(), &refused);
        }
    };
    log::info!(target: "sync", "tracker {} has called from {from}", call.number);
    let welcome = Welcome {
        key: state.config.identity.key(),
        versions: state.known.versions().stamps().collect(),
    };
    reader.get_mut().write_all(&encode(&welcome.to_reply()))?;
    loop {
        let channel = reader.get_mut();
        channel.set_patience(SILENCE);
        channel.set_deadline(Some(Instant::now() + MESSAGE));
        let frame = match read_frame(&mut reader) {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(()),
            Err(error) => return Err(io::Error::other(error)),
        };
        if !call.counts() {
            return Ok(());
        }
        match answer(state, &call, frame) {
            Ok(reply) => reader.get_mut().write_all(&encode(&reply))?,
            Err((code, why)) => {
                log::warn!(target: "sync", "what tracker {} tells is refused: {why}", call.number);
                state.neighbours.complain(call.number, &why);
                let refused = encode(&Reply::err(code, why));
                return say_goodbye(reader.into_inner(), &refused);
            }
        }
    }
}

/// Whether it is one of ours, or why not, in words for both sides.
fn admit(
    state: &State,
    channel: &Channel,
    from: SocketAddr,
    frame: &Frame,
) -> Result<Call, String> {
    let hello = Hello::parse(frame).map_err(|error| error.to_string())?;
    let is_near = from.ip().is_loopback() && state.config.address.ip().is_loopback();
    let is_near = is_near || state.config.sync_without_keys;
    let shown = channel.client_key().map(TrackerKey);
    let admitted = state.neighbours.admit(&hello, shown, is_near);
    admitted.map_err(|why| why.to_string())
}

fn answer(state: &State, call: &Call, frame: Frame) -> Result<Reply, (Code, String)> {
    let message = SyncMessage::parse(frame);
    let message = message.map_err(|error| (Code::BadRequest, error.to_string()))?;
    Ok(match message {
        SyncMessage::Facts { number, body } => {
            let denied =
                |error: crate::registry::batch::BatchError| (Code::Denied, error.to_string());
            let batch = Batch::decode(&body).map_err(denied)?;
            batch
                .check(state.neighbours.count(), unix_ms())
                .map_err(denied)?;
            let versions = batch.versions.clone();
            let merged = state.store.merge(batch);
            merged.map_err(|refused| (Code::Internal, refused.to_string()))?;
            state.neighbours.heard(call.number, &versions);
            Reply::ok([number.to_string()])
        }
        SyncMessage::Swarms(lines) => {
            state.hear_swarms(&lines);
            Reply::ok([""; 0])
        }
        SyncMessage::Shares(lines) => {
            lines.into_iter().for_each(|line| state.hear_share(line));
            Reply::ok([""; 0])
        }
        SyncMessage::Beat(_) => {
            state.neighbours.heard_all(call.number);
            state.standing().to_reply()
        }
    })
}
