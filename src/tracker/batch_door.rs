//! A batch run at its tracker: the clients join, offer what they own, and wait for one another.
//!
//! Whoever has joined has a [`Seat`], which lives as long as the connection: so a client that dies
//! is missed at once. Only a tracker that was started for a batch run has one. Not here: the rules
//! (`registry::muster`, `registry::busy`).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::Sender;
use parking_lot::{Condvar, Mutex};

use crate::announce::request::{AnnounceRequest, Event};
use crate::announce::response::AnnouncedPeer;
use crate::control::muster::{Choice, Step, rank_of};
use crate::control::names::FileName;
use crate::control::reply::Reply;
use crate::control::request::Upload;
use crate::registry::busy::Busy;
use crate::registry::muster::{MAX_OFFERS, Muster, Standing};
use crate::registry::refused::Refused;
use crate::registry::swarms::Member;
use crate::runtime::stream::Stream;
use crate::torrent::id::InfoHash;

use super::session::Session;
use super::state::State;

/// How long after the start every client must have joined, offered and shared what it owns: real
/// files are hashed before. One that has died is missed sooner.
const ASSEMBLY: Duration = Duration::from_secs(300);
/// How long a run may take, whatever its clients say.
const LONGEST_RUN: Duration = Duration::from_secs(12 * 3600);
/// How long a run that has failed is kept up for clients that have not heard it.
const DISPERSAL: Duration = Duration::from_secs(2);
/// The most that a witness hears, in peers that are named: some hundred MiB. What follows is not
/// witnessed.
const MAX_WITNESSED: usize = 4_000_000;
/// How often a client that waits is looked for: it may have gone.
const GLANCE: Duration = Duration::from_millis(250);

/// A batch run that this tracker is for.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many clients there are.
    pub clients: u32,
    /// What clients say to join: who says something else is a stranger, or at the wrong tracker.
    pub job: String,
    /// Hears of every swarm that is named to somebody.
    pub witness: Option<Sender<Named>>,
}

/// A swarm as it was named to a client.
#[derive(Debug, Clone)]
pub struct Named {
    pub at: SystemTime,
    pub file: FileName,
    /// The rank of who has asked.
    pub asker: u32,
    /// In the order of the answer, with the pieces that each had uploaded.
    pub peers: Vec<(SocketAddr, u64)>,
}

pub struct Batch {
    plan: Plan,
    started: Instant,
    inside: Mutex<Inside>,
    /// Somebody has come to a step, or gone.
    turned: Condvar,
}

struct Inside {
    muster: Muster,
    busy: Busy,
    files: HashMap<InfoHash, Shared>,
    /// How many peers the witness has heard of, the same ones again and again.
    witnessed: usize,
    seats: usize,
}

/// What is known of a torrent that is shared.
struct Shared {
    name: FileName,
    piece_length: u64,
}

/// The place of a client in the run, free when its connection ends.
pub struct Seat {
    batch: Arc<Batch>,
    rank: u32,
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Seat({})", self.rank)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inside = self.batch.inside.lock();
        inside.muster.leave(self.rank);
        inside.seats -= 1;
        drop(inside);
        self.batch.turned.notify_all();
    }
}

impl Batch {
    pub fn new(plan: Plan) -> Arc<Batch> {
        Arc::new(Batch {
            inside: Mutex::new(Inside {
                muster: Muster::new(plan.clients),
                busy: Busy::default(),
                files: HashMap::new(),
                witnessed: 0,
                seats: 0,
            }),
            plan,
            started: Instant::now(),
            turned: Condvar::new(),
        })
    }

    /// Waits until the run is over and all clients have heard it. If it fails, those who have not
    /// heard it have some time to come and ask.
    pub fn watch(&self, give_up: &dyn Fn() -> bool) -> Result<(), Refused> {
        let mut inside = self.inside.lock();
        let mut failed: Option<(Instant, Refused)> = None;
        while !give_up() {
            let all_have_gone = inside.seats == 0 && inside.muster.have_all_joined();
            match (&failed, self.standing(&inside, Step::Finished)) {
                (Some((since, _)), _) if all_have_gone || since.elapsed() > DISPERSAL => break,
                (None, Ok(Standing::Met)) if all_have_gone => break,
                (None, Err(why)) => failed = Some((Instant::now(), why)),
                _ => drop(self.turned.wait_for(&mut inside, GLANCE)),
            }
        }
        failed.map_or(Ok(()), |(_, why)| Err(why))
    }

    /// Waits until all clients have come to a step.
    fn wait(&self, rank: u32, step: Step, has_gone: &dyn Fn() -> bool) -> Result<(), Refused> {
        let mut inside = self.inside.lock();
        inside.muster.reach(rank, step);
        self.turned.notify_all();
        while self.standing(&inside, step)? == Standing::Waits {
            let waited = self.turned.wait_for(&mut inside, GLANCE);
            // The answer of who has gone is for nobody; that it has gone is seen by its seat.
            if waited.timed_out() && has_gone() {
                return Err(Refused::BatchLost(rank));
            }
        }
        Ok(())
    }

    /// Whether all have come to a step; an error if they will not.
    fn standing(&self, inside: &Inside, step: Step) -> Result<Standing, Refused> {
        let limit = match step {
            Step::Offered | Step::Shared => ASSEMBLY,
            Step::Finished => LONGEST_RUN,
        };
        match inside.muster.standing(step) {
            Standing::Lost(rank) => Err(Refused::BatchLost(rank)),
            Standing::Waits if self.started.elapsed() > limit => {
                let missing = inside.muster.missing(step).map(|rank| rank.to_string());
                Err(Refused::BatchLate {
                    step,
                    seconds: limit.as_secs(),
                    missing: missing.collect::<Vec<_>>().join(", "),
                })
            }
            standing => Ok(standing),
        }
    }

    /// Only what everybody gets under a name can be shared.
    pub(super) fn admit(&self, upload: &Upload) -> Result<(), Refused> {
        let info_hash = upload.metainfo.info_hash;
        let inside = self.inside.lock();
        match inside.muster.is_chosen(&upload.name, info_hash) {
            true => Ok(()),
            false => Err(Refused::NotInBatch),
        }
    }

    /// A torrent is shared.
    pub(super) fn shared(&self, upload: &Upload) {
        let shared = Shared {
            name: upload.name.clone(),
            piece_length: upload.metainfo.layout.piece_length().into(),
        };
        let mut inside = self.inside.lock();
        inside.files.insert(upload.metainfo.info_hash, shared);
    }

    /// Notes what a client's announce says, and names at most `limit` of the swarm's clients in their
    /// order. Strangers learn nothing, and nobody learns of them.
    pub(super) fn order(
        &self,
        from: SocketAddr,
        announce: &AnnounceRequest,
        members: Vec<Member>,
        limit: usize,
    ) -> Vec<AnnouncedPeer> {
        let mut inside = self.inside.lock();
        let Inside {
            muster,
            busy,
            files,
            witnessed,
            ..
        } = &mut *inside;
        let client = |peer| rank_of(peer).filter(|rank| muster.has_joined(*rank));
        let (Some(asker), Some(shared)) =
            (client(announce.peer_id), files.get(&announce.info_hash))
        else {
            return Vec::new();
        };
        let pieces = announce.uploaded.div_ceil(shared.piece_length);
        busy.report(from, announce.info_hash, pieces);
        if limit == 0 || announce.event == Event::Stopped {
            return Vec::new();
        }
        let clients = members.into_iter().filter(|m| client(m.id).is_some());
        let mut order = busy.order(from, clients.collect());
        order.truncate(limit);
        let named = Named {
            at: SystemTime::now(),
            file: shared.name.clone(),
            asker,
            peers: order
                .iter()
                .map(|(m, uploaded)| (m.address, *uploaded))
                .collect(),
        };
        *witnessed += 1 + named.peers.len();
        let is_witnessed = *witnessed <= MAX_WITNESSED;
        drop(inside);
        if let Some(witness) = self.plan.witness.as_ref().filter(|_| is_witnessed) {
            // Nobody may be there to hear it any more.
            let _ = witness.send(named);
        }
        let peer = |(member, _): (Member, u64)| AnnouncedPeer {
            address: member.address,
            id: Some(member.id),
        };
        order.into_iter().map(peer).collect()
    }
}

fn batch(state: &State) -> Result<&Arc<Batch>, Refused> {
    state.batch.as_ref().ok_or(Refused::NoBatch)
}

pub fn join(state: &State, session: &mut Session, rank: u32, job: &str) -> Result<Reply, Refused> {
    let batch = batch(state)?;
    if job != batch.plan.job {
        return Err(Refused::OtherBatch);
    }
    let mut inside = batch.inside.lock();
    inside.muster.join(rank)?;
    inside.seats += 1;
    drop(inside);
    session.seat = Some(Seat {
        batch: batch.clone(),
        rank,
    });
    Ok(Reply::ok([""; 0]))
}

pub fn offer(session: &Session, name: FileName, info_hash: InfoHash) -> Result<Reply, Refused> {
    let seat = session.seat.as_ref().ok_or(Refused::NotInBatch)?;
    let mut inside = seat.batch.inside.lock();
    match inside.muster.offer(seat.rank, name, info_hash) {
        true => Ok(Reply::ok([""; 0])),
        false => Err(Refused::Limit {
            what: "A client of a batch run owns too much",
            limit: MAX_OFFERS,
        }),
    }
}

/// Answers when all have come to the step. `stream` shows whether the asker is still there.
pub fn wait(session: &Session, stream: &Stream, step: Step) -> Reply {
    let seat = session.seat.as_ref().ok_or(Refused::NotInBatch);
    let waited = seat.and_then(|seat| {
        let has_gone = || stream.is_over();
        seat.batch.wait(seat.rank, step, &has_gone).map(|()| seat)
    });
    match waited {
        Ok(seat) if step == Step::Offered => {
            Choice::list_to_reply(&seat.batch.inside.lock().muster.choices())
        }
        Ok(_) => Reply::ok([""; 0]),
        Err(refused) => Reply::err(refused.code(), refused),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::muster::peer_id;
    use crate::registry::Seconds;
    use crate::torrent::id::PeerId;

    #[test]
    fn what_strangers_announce_is_witnessed() {
        let (witness, named) = crossbeam_channel::unbounded();
        let batch = Batch::new(Plan {
            clients: 2,
            job: "mine".into(),
            witness: Some(witness),
        });
        let info_hash = InfoHash([7; 20]);
        let mut inside = batch.inside.lock();
        inside.muster.join(1).unwrap();
        let shared = Shared {
            name: "file".parse().unwrap(),
            piece_length: 33,
        };
        inside.files.insert(info_hash, shared);
        drop(inside);
        let stranger = PeerId(*b"-TR4050-abcdefghijkl");
        let ids = [peer_id(1), peer_id(2), stranger];
        let address = |nth: usize| SocketAddr::from(([127, 0, 0, 1], 7000 + nth as u16));
        let swarm = || {
            let member = |(nth, id): (usize, &PeerId)| Member {
                address: address(nth),
                id: *id,
                complete: true,
                seen: Seconds(0),
            };
            ids.iter().enumerate().map(member).collect::<Vec<_>>()
        };
        let named_to = |nth: usize| {
            let announce = AnnounceRequest::of_seed(info_hash, ids[nth], 7000 + nth as u16);
            batch.order(address(nth), &announce, swarm(), 50).len()
        };
        // The second client has not joined: who says to be it is a stranger, too.
        assert_eq!([0, 1, 2].map(named_to), [1, 0, 0]);
        let witnessed: Vec<u32> = named.try_iter().map(|named| named.asker).collect();
        assert_eq!(witnessed, [1]);
    }
}
