//! Rank 0: the tracker of a run.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use crossbeam_channel::{Receiver, unbounded};

use crate::shell::interrupt::Interrupt;
use crate::torrent::id::PeerId;
use crate::tracker::batch_door::{Named, Plan};
use crate::tracker::{Config, Tracker};

use super::input;
use super::meeting::{self, Sign};
use super::rank::Rank;
use super::report;
use super::scratch;
use super::trace::{self, Entry, Event};
use super::{BatchError, Options, io_error, is_traced, job, trace_folder, write_trace};

/// Connections of one client: its own, and its peer's.
const CONNECTIONS: usize = 4;

/// Runs the tracker until all clients have finished.
pub fn run(options: &Options, rank: &Rank, interrupt: &Arc<Interrupt>) -> Result<(), BatchError> {
    let (inputs, clients) = (input::count(&options.folder), rank.size - 1);
    // On a machine without the inputs there are none.
    if inputs > clients {
        return Err(BatchError::TooFew { inputs, clients });
    }
    let (witness, named) = unbounded();
    let connections = CONNECTIONS * rank.size;
    let address = meeting::listen_at(options, rank);
    let tracker = Tracker::start(Config {
        connections,
        connections_per_address: connections,
        batch: Some(Plan {
            clients: rank.size as u32 - 1,
            job: job(rank).into(),
            witness: is_traced(options).then_some(witness),
        }),
        ..Config::new(address)
    })?;
    let mut trace = vec![Entry::now(Event::Start {
        rank: 0,
        address: tracker.local_addr(),
    })];
    let sign = Sign::put_up(options, rank, tracker.local_addr())?;
    let batch = tracker.state().batch.clone();
    let over = match batch {
        Some(batch) => batch.watch(&|| interrupt.came()),
        None => Ok(()),
    };
    trace.push(Entry::now(Event::Stop));
    drop(sign);
    drop(tracker);
    let result = over.map_err(|why| BatchError::Ended(why.to_string()));
    let told = if is_traced(options) {
        trace.extend(swarms(&named));
        write_trace(options, rank, &mut trace).and_then(|()| write_report(options, rank))
    } else {
        Ok(())
    };
    scratch::sweep(&options.folder, job(rank));
    if interrupt.came() {
        return Err(BatchError::Interrupted);
    }
    result.and(told)
}

fn swarms(named: &Receiver<Named>) -> impl Iterator<Item = Entry> + '_ {
    named.try_iter().map(|named| {
        let event = Event::Swarm {
            file: named.file.to_string(),
            asker: rank_of(named.asker),
            peers: named.peers,
        };
        Entry::at(named.at, event)
    })
}

/// The id of the peer with this rank, by which the tracker tells whom it has answered.
pub fn peer_id(rank: usize) -> PeerId {
    let mut tail = [0; 12];
    tail.copy_from_slice(format!("batch-{rank:06}").as_bytes());
    PeerId::ours(tail)
}

/// The rank of the peer with this id; 0 for anybody else's.
fn rank_of(peer: PeerId) -> usize {
    let digits = std::str::from_utf8(&peer.0[14..]);
    digits
        .ok()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

/// Makes the page about the run, of the traces of all processes.
fn write_report(options: &Options, rank: &Rank) -> Result<(), BatchError> {
    let Some(path) = &options.report else {
        return Ok(());
    };
    let folder = trace_folder(options, job(rank));
    let mut traces = BTreeMap::new();
    for rank in 0..rank.size {
        let path = folder.join(trace::file_name(rank));
        // Who has failed may have left none.
        if path.exists() {
            traces.insert(rank, trace::read(&path)?);
        }
    }
    fs::write(path, report::page(&traces)).map_err(io_error("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_known_by_its_rank() {
        for rank in [1, 42, 9_999] {
            assert_eq!(rank_of(peer_id(rank)), rank);
        }
        assert_eq!(rank_of(PeerId(*b"-TR4050-abcdefghijkl")), 0);
    }
}
