//! Announces by HTTP: how many a second, how soon, and what they cost the tracker.

use std::time::Duration;

use super::figures::{Figures, in_turns};
use super::load::Connections;
use super::plot::{Line, Plot};
use super::report::{Section, Table, Wanted, number, spread};
use super::settings::Settings;
use super::trackers::{Loaded, Program, SWARMS, Tracker};

/// In all swarms together.
const PEERS: u32 = 100_000;
/// For the memory of each.
const MANY_PEERS: u32 = 1_000_000;
const CLIENTS: u32 = 64;

/// A tracker, and how it is asked.
struct Contestant<'a> {
    tracker: &'a Tracker,
    connections: Connections,
}

impl Contestant<'_> {
    fn name(&self) -> String {
        let connections = match self.connections {
            Connections::Each => "a connection each",
            Connections::Kept => "kept alive",
        };
        format!("{}, {connections}", self.tracker.program.name())
    }
}

/// What everybody can do. opentracker keeps no connection.
fn contestants(trackers: &[Tracker]) -> Vec<Contestant<'_>> {
    let each = trackers.iter().map(|tracker| Contestant {
        tracker,
        connections: Connections::Each,
    });
    let ours = trackers
        .iter()
        .filter(|tracker| tracker.program == Program::Ours);
    let kept = ours.map(|tracker| Contestant {
        tracker,
        connections: Connections::Kept,
    });
    each.chain(kept).collect()
}

/// Trackers with all peers in them, and a word on the memory of each.
fn filled(settings: &Settings, peers: u32) -> Result<Vec<(Tracker, f64)>, String> {
    let start = |program| {
        let tracker = Tracker::start(program, settings)?;
        let bytes = tracker.fill(peers)?;
        Ok((tracker, bytes))
    };
    Program::all().into_iter().map(start).collect()
}

fn figures(loads: &[Loaded], value: impl Fn(&Loaded) -> f64) -> Figures {
    loads.iter().map(value).collect()
}

/// Rates and times with 64 clients, and memory.
pub fn announce(settings: &Settings) -> Result<Section, String> {
    let time = Duration::from_secs(settings.pick(1, 5));
    let mut section = Section::new("HTTP announces");
    section.say(format!(
        "{CLIENTS} clients, each of which waits for its answer, announce {} peers in {} swarms over \
         and over; an answer names 50 peers, compact. The clients are threads of one process, on the \
         same processors as the tracker. So the seconds that the tracker itself has worked are what \
         would count on a machine of its own.",
        number(PEERS.into()),
        number(SWARMS.into())
    ));
    let (trackers, bytes): (Vec<Tracker>, Vec<f64>) = filled(settings, PEERS)?.into_iter().unzip();
    let contestants = contestants(&trackers);
    let loads = in_turns(settings.rounds(), &contestants, |it| {
        it.tracker.load(it.connections, CLIENTS, PEERS, time)
    })?;
    let columns = [
        "tracker",
        "answers a second",
        "of the first",
        "median, ms",
        "p99, ms",
        "CPU s per 10,000",
        "failed",
    ];
    let mut table = Table::new(columns);
    let first = figures(&loads[0], |load| load.outcome.rate()).median();
    for (contestant, loads) in contestants.iter().zip(&loads) {
        let rates = figures(loads, |load| load.outcome.rate());
        let failures: u64 = loads.iter().map(|load| load.outcome.failures).sum();
        table.row([
            contestant.name(),
            spread(&rates),
            number(rates.median() / first),
            spread(&figures(loads, |load| load.outcome.median / 1000.0)),
            spread(&figures(loads, |load| load.outcome.p99 / 1000.0)),
            number(figures(loads, Loaded::cost).median()),
            failures.to_string(),
        ]);
    }
    section.table(&table);
    let find = |name, connections| {
        let mut all = contestants.iter().zip(&loads);
        let is = |it: &Contestant| it.tracker.program == name && it.connections == connections;
        all.find(|(it, _)| is(it)).map(|(_, loads)| loads)
    };
    if let (Some(theirs), Some(each), Some(kept)) = (
        find(Program::Opentracker, Connections::Each),
        find(Program::Ours, Connections::Each),
        find(Program::Ours, Connections::Kept),
    ) {
        let rate = |loads: &[Loaded]| figures(loads, |load| load.outcome.rate()).median();
        let p99 = |loads: &[Loaded]| figures(loads, |load| load.outcome.p99).median();
        let (rates, p99s) = (rate(each) / rate(theirs), p99(each) / p99(theirs));
        section.aim(
            "a connection each, rate / opentracker's",
            Wanted::AtLeast(1.0),
            rates,
        );
        section.aim(
            "a connection each, p99 / opentracker's",
            Wanted::AtMost(1.0),
            p99s,
        );
        let rates = rate(kept) / rate(theirs);
        section.aim(
            "kept alive, rate / opentracker's",
            Wanted::AtLeast(2.0),
            rates,
        );
    }

    let mut table = Table::new(["tracker", "peers", "bytes of memory a peer"]);
    let mut memory = |tracker: &Tracker, peers: u32, bytes: f64| {
        let name = tracker.program.name().to_string();
        table.row([name, number(peers.into()), number(bytes)]);
    };
    for (tracker, bytes) in trackers.iter().zip(bytes) {
        memory(tracker, PEERS, bytes);
        if tracker.program == Program::Ours {
            section.aim("bytes of memory a peer", Wanted::AtMost(200.0), bytes);
        }
    }
    drop(contestants);
    drop(trackers);
    if !settings.quick {
        for (tracker, bytes) in filled(settings, MANY_PEERS)? {
            memory(&tracker, MANY_PEERS, bytes);
        }
    }
    section.say("Anonymous memory, without that of the empty tracker:");
    section.table(&table);
    Ok(section)
}

/// Rates by the number of clients.
pub fn clients(settings: &Settings) -> Result<Section, String> {
    let time = Duration::from_secs(settings.pick(1, 2));
    let counts: &[u32] = settings.pick(&[1, 16, 256], &[1, 2, 4, 8, 16, 32, 64, 128, 256]);
    let mut section = Section::new("HTTP announces by the number of clients");
    let trackers = filled(settings, PEERS)?;
    let trackers: Vec<Tracker> = trackers.into_iter().map(|(tracker, _)| tracker).collect();
    let contestants = contestants(&trackers);
    let mut lines: Vec<Line> = contestants
        .iter()
        .map(|contestant| Line {
            name: contestant.name(),
            points: Vec::new(),
        })
        .collect();
    let mut table = Table::new([
        "tracker",
        "clients",
        "answers a second",
        "p99, ms",
        "failed",
    ]);
    for &count in counts {
        let loads = in_turns(settings.pick(1, 3), &contestants, |it| {
            it.tracker.load(it.connections, count, PEERS, time)
        })?;
        for (line, loads) in lines.iter_mut().zip(&loads) {
            let rates = figures(loads, |load| load.outcome.rate());
            let failures: u64 = loads.iter().map(|load| load.outcome.failures).sum();
            line.points.push((count.into(), rates.median()));
            table.row([
                line.name.clone(),
                count.to_string(),
                spread(&rates),
                number(figures(loads, |load| load.outcome.p99 / 1000.0).median()),
                failures.to_string(),
            ]);
        }
    }
    section.table(&table);
    section.plots.push(Plot {
        name: "announces".into(),
        title: "HTTP announces a second".into(),
        axes: ["clients".into(), "answers a second".into()],
        lines,
        log_up: true,
    });
    Ok(section)
}
