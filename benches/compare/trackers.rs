//! The trackers that are measured: ours and opentracker, with the same swarms in them.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use super::load::{Connections, Outcome, Plan, info_hash};
use super::process::{Process, is_installed, memory, ours};
use super::settings::Settings;
use super::swarm::wait;

/// How many torrents there are.
pub const SWARMS: u32 = 1000;
/// Peers that are named in an answer.
const WANTED: u32 = 50;
/// Clients that fill a tracker before it is measured.
const FILLING: u32 = 64;
/// The network is our own: all of its ports are free.
const FIRST_PORT: u16 = 7000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    Opentracker,
    Ours,
}

impl Program {
    /// Ours, and the other one if it is installed.
    pub fn all() -> Vec<Program> {
        let mut all = vec![Program::Ours];
        if is_installed(Program::Opentracker.name()) {
            all.insert(0, Program::Opentracker);
        } else {
            println!("  opentracker is not installed: `make bench-tools` installs it");
        }
        all
    }

    pub fn name(self) -> &'static str {
        match self {
            Program::Opentracker => "opentracker",
            Program::Ours => "ours",
        }
    }
}

/// A tracker that runs until this is dropped.
pub struct Tracker {
    pub program: Program,
    pub address: SocketAddr,
    process: Process,
}

impl Tracker {
    pub fn start(program: Program, settings: &Settings) -> Result<Tracker, String> {
        static NEXT: AtomicU16 = AtomicU16::new(FIRST_PORT);
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let home = settings.folder.join(format!("tracker-{port}"));
        let write = |name: &str, text: String| {
            let path = home.join(name);
            let written = fs::create_dir_all(&home).and_then(|()| fs::write(&path, text));
            written.map_err(|error| format!("{}: {error}", path.display()))
        };
        let mut command = match program {
            Program::Ours => {
                write("tracker_info.txt", format!("{address}\n"))?;
                let mut command = Command::new(ours("tracker"));
                // As long as opentracker's: nobody is forgotten in between.
                command.args(["tracker_info.txt", "1", "--no-prompt", "--interval", "1800"]);
                command
            }
            Program::Opentracker => {
                // Debian's serves only torrents that a list names.
                let names = (0..SWARMS).map(|swarm| {
                    let digits = info_hash(swarm).map(|byte| format!("{byte:02x}"));
                    digits.concat() + "\n"
                });
                write("whitelist.txt", names.collect())?;
                // As root it would become nobody, whom the network of our own does not know.
                let mut command = Command::new("unshare");
                command
                    .args(["--map-user=1000", "opentracker", "-i", "127.0.0.1"])
                    .args(["-p", &port.to_string(), "-w", "whitelist.txt", "-d"])
                    .arg(&home);
                command
            }
        };
        command.current_dir(&home);
        let log = home.join("log");
        let mut process = Process::start(&mut command, &log)?;
        let name = program.name();
        wait(&format!("{name} listens"), || {
            TcpStream::connect(address).is_ok() || !process.is_running()
        })?;
        if !process.is_running() {
            let log = fs::read_to_string(&log).unwrap_or_default();
            return Err(format!("{name} does not start: {log}"));
        }
        Ok(Tracker {
            program,
            address,
            process,
        })
    }

    /// Has each of so many peers announce itself once. How many bytes of memory of its own the
    /// tracker needs for each.
    pub fn fill(&self, peers: u32) -> Result<f64, String> {
        let before = self.memory("RssAnon:");
        let outcome = Plan {
            wanted: 0,
            time: None,
            ..self.plan(self.quickest(), FILLING, peers)
        }
        .run()?;
        if outcome.answers != u64::from(peers) {
            return Err(format!(
                "{} has taken in {} peers of {peers}",
                self.program.name(),
                outcome.answers
            ));
        }
        let needed = self.memory("RssAnon:").saturating_sub(before);
        Ok(needed as f64 / f64::from(peers))
    }

    fn quickest(&self) -> Connections {
        match self.program {
            Program::Opentracker => Connections::Each,
            Program::Ours => Connections::Kept,
        }
    }

    fn plan(&self, connections: Connections, clients: u32, peers: u32) -> Plan {
        Plan {
            tracker: self.address,
            clients,
            connections,
            swarms: SWARMS,
            peers,
            wanted: WANTED,
            time: None,
        }
    }

    /// So many clients announce peers with which the tracker was filled, for so long.
    pub fn load(
        &self,
        connections: Connections,
        clients: u32,
        peers: u32,
        time: Duration,
    ) -> Result<Loaded, String> {
        let before = self.process.worked();
        let plan = self.plan(connections, clients, peers);
        let outcome = Plan {
            time: Some(time),
            ..plan
        }
        .run()?;
        Ok(Loaded {
            outcome,
            worked: self.process.worked() - before,
        })
    }

    /// Seconds of one processor until now.
    pub fn worked(&self) -> f64 {
        self.process.worked()
    }

    /// A line of `/proc`, in bytes.
    pub fn memory(&self, line: &str) -> u64 {
        memory(self.process.pid(), line).unwrap_or(0)
    }
}

/// What clients have seen, and what it has cost the tracker.
pub struct Loaded {
    pub outcome: Outcome,
    /// Seconds of one processor, of the tracker alone.
    pub worked: f64,
}

impl Loaded {
    /// Seconds of one processor for 10,000 answers.
    pub fn cost(&self) -> f64 {
        self.worked * 10_000.0 / self.outcome.answers as f64
    }
}
