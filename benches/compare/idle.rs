//! Ten thousand clients that say nothing, and those who are served beside them.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::descriptors::descriptors;

use super::figures::Figures;
use super::load::Connections;
use super::report::{Section, Table, Wanted, mib, number, spread};
use super::settings::Settings;
use super::trackers::{Program, Tracker};

const COUNTS: [usize; 4] = [0, 1000, 5000, 10_000];
/// One address may have 1024 connections.
const CLIENTS_PER_ADDRESS: usize = 250;
/// Descriptors that either side needs beside its clients.
const SPARE: usize = 300;
/// How long nobody speaks, to see what idle clients cost.
const SILENCE: Duration = Duration::from_secs(4);
/// New clients, one after another.
const NEW: usize = 100;
const PEERS: u32 = 100_000;
const BUSY: u32 = 64;
const PATIENCE: Duration = Duration::from_secs(30);

/// How an idle client has spoken before: both keep their connection.
#[derive(Clone, Copy)]
enum Dialect {
    ControlLines,
    Http,
}

/// A client from one of our own addresses.
fn connect(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddrV4::new(from, 0).into())?;
    socket.connect(&to.into())?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket.into())
}

fn ask(stream: &mut TcpStream, dialect: Dialect) -> io::Result<()> {
    let (words, end): (&str, &[u8]) = match dialect {
        Dialect::ControlLines => ("ping\n", b"OK pong\n"),
        Dialect::Http => ("GET /scrape HTTP/1.1\r\nHost: tracker\r\n\r\n", b"e"),
    };
    stream.write_all(words.as_bytes())?;
    let mut buffer = [0; 512];
    let got = stream.read(&mut buffer)?;
    match buffer[..got].ends_with(end) {
        true => Ok(()),
        false => Err(io::Error::other("the tracker does not answer")),
    }
}

fn dialect(nth: usize) -> Dialect {
    match nth % 2 {
        0 => Dialect::ControlLines,
        _ => Dialect::Http,
    }
}

/// Milliseconds of each of some new clients, from connecting to the answer.
fn new_clients(to: SocketAddr) -> io::Result<Figures> {
    let once = |_| {
        let before = Instant::now();
        ask(
            &mut connect(Ipv4Addr::LOCALHOST, to)?,
            Dialect::ControlLines,
        )?;
        Ok(before.elapsed().as_secs_f64() * 1000.0)
    };
    (0..NEW).map(once).collect()
}

pub fn idle(settings: &Settings) -> Result<Section, String> {
    let mut section = Section::new("Idle clients of the tracker");
    section.say(format!(
        "Half of them have spoken control lines, half HTTP that is kept alive. Beside them come \
         {NEW} new ones, one after another, and then {BUSY} that announce as fast as they can. At the \
         end idle ones ask again.",
    ));
    let columns = [
        "idle clients",
        "new one served, ms",
        "announces a second",
        "p99, ms",
        "CPU while nobody speaks",
        "resident, MiB",
        "anonymous, MiB",
    ];
    let mut table = Table::new(columns);
    let tracker = Tracker::start(Program::Ours, settings)?;
    tracker.fill(PEERS)?;
    let told = |error: io::Error| format!("with idle clients: {error}");
    let mut idle = Vec::new();
    for count in COUNTS {
        if descriptors() < (count + SPARE) as u64 {
            section.say(format!(
                "Not measured with {count}: `ulimit -n` allows {} descriptors.",
                descriptors()
            ));
            break;
        }
        while idle.len() < count {
            let nth = idle.len();
            let from = Ipv4Addr::new(127, 0, 1, (nth / CLIENTS_PER_ADDRESS) as u8);
            let mut stream = connect(from, tracker.address).map_err(told)?;
            ask(&mut stream, dialect(nth)).map_err(told)?;
            idle.push(stream);
        }
        let worked = tracker.worked();
        std::thread::sleep(SILENCE);
        let share = (tracker.worked() - worked) / SILENCE.as_secs_f64();
        let new = new_clients(tracker.address).map_err(told)?;
        let time = Duration::from_secs(settings.pick(1, 3));
        let load = tracker.load(Connections::Each, BUSY, PEERS, time)?;
        for (nth, stream) in idle.iter_mut().enumerate().step_by(97) {
            ask(stream, dialect(nth)).map_err(told)?;
        }
        if Some(&count) == COUNTS.last() {
            let resident = tracker.memory("VmRSS:") as f64 / f64::from(1 << 20);
            section.aim(format!("MiB with {count}"), Wanted::AtMost(300.0), resident);
        }
        table.row([
            count.to_string(),
            spread(&new),
            number(load.outcome.rate()),
            number(load.outcome.p99 / 1000.0),
            format!("{} %", number(share * 100.0)),
            mib(tracker.memory("VmRSS:") as f64),
            mib(tracker.memory("RssAnon:") as f64),
        ]);
    }
    section.table(&table);
    Ok(section)
}
