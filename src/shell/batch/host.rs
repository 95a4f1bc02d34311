//! Rank 0: the tracker of a run.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use crossbeam_channel::{Receiver, unbounded};

use crate::registry::shares;
use crate::shell::interrupt::Interrupt;
use crate::tracker::batch_door::{Named, Plan};
use crate::tracker::{Config, Tracker};

use super::input;
use super::meeting::{self, Sign};
use super::outputs;
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
    // What is wrong with an input is told by its client.
    let input = |rank| input::read(&options.folder.join(input::file_name(rank))).ok();
    let readable = (1..=inputs).filter_map(|rank| Some((rank, input(rank)?)));
    outputs::check(&options.folder, readable)?;
    let (witness, named) = unbounded();
    let connections = CONNECTIONS * rank.size;
    let word = meeting::word(options, rank);
    let address = meeting::listen_at(options, rank);
    let tracker = Tracker::start(Config {
        // All clients may be on one machine. A stranger's cannot take everybody's connections.
        connections: 2 * connections,
        connections_per_address: connections,
        batch: Some(Plan {
            clients: clients as u32,
            job: word.clone(),
            witness: is_traced(options).then_some(witness),
        }),
        shares: limits(clients),
        ..Config::new(address)
    })?;
    let mut trace = vec![Entry::now(Event::Start {
        rank: 0,
        address: tracker.local_addr(),
    })];
    let sign = Sign::put_up(options, rank, tracker.local_addr(), &word)?;
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

/// Room for all that so many clients may own.
fn limits(clients: usize) -> shares::Limits {
    shares::Limits {
        shares: clients * input::MAX_FILES,
        bytes: clients.saturating_mul(input::MAX_INPUT as usize),
        ..shares::Limits::default()
    }
}

fn swarms(named: &Receiver<Named>) -> impl Iterator<Item = Entry> + '_ {
    named.try_iter().map(|named| {
        let event = Event::Swarm {
            file: named.file.to_string(),
            asker: named.asker as usize,
            peers: named.peers,
        };
        Entry::at(named.at, event)
    })
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
    fn many_clients_own_more_than_a_tracker_keeps() {
        // Six clients with a thousand files each were too many.
        assert!(limits(6).shares >= 6 * input::MAX_FILES);
        assert!(limits(1).bytes >= input::MAX_FILES * 20);
    }
}
