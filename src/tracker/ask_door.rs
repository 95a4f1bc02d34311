//! `ask`, and what peers answer: who has a file of this name?
//!
//! The asker's own thread waits, without a lock, until all that were asked have answered or
//! `PATIENCE` is over. Each tracker asks the peers that have subscribed to it; a peer that asks
//! does so at every tracker of its tracker_info.txt.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::control::names::FileName;
use crate::control::question::QuestionNumber;
use crate::control::reply::{Download, Reply};
use crate::control::request::{Have, Holder};
use crate::registry::question::Answer;
use crate::registry::refused::Refused;
use crate::torrent::id::{InfoHash, PeerId};

use super::state::State;

/// How long answers are waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks everybody, and collects what they say.
pub fn ask(
    state: &State,
    ip: IpAddr,
    file: &FileName,
    asker: Option<PeerId>,
) -> Result<Reply, Refused> {
    let deadline = Instant::now() + PATIENCE;
    let number = |listener| (listener, QuestionNumber(rand::random()));
    let whom: Vec<_> = state.hub.everybody().into_iter().map(number).collect();
    // Open before anybody can answer.
    let id = {
        let mut questions = state.questions.lock();
        let numbers = whom.iter().map(|(_, number)| *number);
        questions.open(state.now(), ip, asker, numbers)
    };
    let id = id.map_err(|many| Refused::Full(many.to_string()))?;
    let gone = state.hub.ask(file, &whom);
    let mut questions = state.questions.lock();
    questions.not_asked(&gone);
    while !questions.is_over(id) {
        let waited = state.answered.wait_until(&mut questions, deadline);
        if waited.timed_out() {
            break;
        }
    }
    Ok(questions.close(id).to_reply())
}

/// A peer has it, for everybody.
pub fn have(state: &State, ip: IpAddr, have: &Have) -> Result<Reply, Refused> {
    state.refuse_of_a_group(&have.metainfo)?;
    let (metainfo, holder) = (&have.metainfo, SocketAddr::new(ip, have.holder.port));
    let answer = Answer::Has { metainfo, holder };
    take(state, have.question, have.holder.peer_id, answer)
}

/// A peer has it, and cannot serve it yet.
pub fn hashing(
    state: &State,
    ip: IpAddr,
    question: QuestionNumber,
    size: u64,
    holder: Holder,
) -> Result<Reply, Refused> {
    let (peer_id, holder) = (holder.peer_id, SocketAddr::new(ip, holder.port));
    take(state, question, peer_id, Answer::Hashing { size, holder })
}

pub fn have_not(
    state: &State,
    question: QuestionNumber,
    peer_id: PeerId,
) -> Result<Reply, Refused> {
    take(state, question, peer_id, Answer::HasNot)
}

/// A peer has gone before it could be asked.
pub fn not_asked(state: &State, question: QuestionNumber) {
    state.questions.lock().not_asked(&[question]);
    state.answered.notify_all();
}

fn take(
    state: &State,
    question: QuestionNumber,
    peer_id: PeerId,
    answer: Answer<'_>,
) -> Result<Reply, Refused> {
    let now = state.now();
    let taken = state
        .questions
        .lock()
        .answer(now, question, peer_id, answer);
    // Each asker looks whether it was its own question, and the last answer to it.
    state.answered.notify_all();
    taken?;
    Ok(Reply::ok([""; 0]))
}

/// The torrent with an info hash: one that everybody shares, or that was found of late.
pub fn metainfo(state: &State, info_hash: InfoHash) -> Result<Reply, Refused> {
    let found = state.questions.lock().found(&info_hash).cloned();
    let found = found.or_else(|| state.shared(&info_hash));
    let found = found.ok_or(Refused::NotFound(info_hash))?;
    let download = Download {
        info_hash,
        size: found.size,
        info: found.info.to_vec(),
        sha256: None,
    };
    Ok(download.into_reply())
}
