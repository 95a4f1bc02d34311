//! Asking trackers who has a file of some name: all of them at once, each on a connection of its
//! own. They need not be ours.
//!
//! | thread | does |
//! |---|---|
//! | `ask-N` | one question to one tracker; joined before anybody hears of it |

use crate::control::names::FileName;
use crate::control::question::Answers;
use crate::control::reply::{Download, ReplyError};
use crate::control::request::Request;
use crate::control::tracker_info::TrackerAddress;
use crate::runtime::stop::Stop;
use crate::runtime::threads;
use crate::torrent::id::{InfoHash, PeerId};
use crate::torrent::metainfo::Metainfo;

use super::tracker_link::{LinkError, ask_once};

/// What one tracker has found out.
pub struct Asked {
    pub tracker: TrackerAddress,
    pub result: Result<Answers, LinkError>,
}

/// Asks all of them, at most some seconds. `peer_id` is our own: we are not told of ourselves.
pub fn ask(
    trackers: &[TrackerAddress],
    file: &FileName,
    peer_id: PeerId,
    stop: &Stop,
) -> Vec<Asked> {
    let request = Request::Ask {
        file: file.clone(),
        peer_id: Some(peer_id),
    };
    let threads: Vec<_> = trackers
        .iter()
        .enumerate()
        .map(|(nth, tracker)| {
            let (tracker, request, stop) = (tracker.clone(), request.clone(), stop.clone());
            let run = move || {
                let reply = ask_once(&tracker, &request, &stop);
                let result = reply.and_then(|reply| Ok(Answers::from_reply(reply)?));
                Asked { tracker, result }
            };
            threads::spawn(&format!("ask-{nth}"), None, run)
        })
        .collect();
    // Those that could be started: a machine without room for a thread has other troubles.
    let started = threads.into_iter().filter_map(Result::ok);
    started.filter_map(threads::join).collect()
}

/// The torrent that a tracker has found.
pub fn metainfo(
    tracker: &TrackerAddress,
    info_hash: InfoHash,
    stop: &Stop,
) -> Result<Metainfo, LinkError> {
    let reply = ask_once(tracker, &Request::Metainfo { info_hash }, stop)?;
    let (metainfo, _) = Download::from_reply(reply)?;
    if metainfo.info_hash != info_hash {
        return Err(ReplyError::Unexpected("another torrent was expected").into());
    }
    Ok(metainfo)
}
