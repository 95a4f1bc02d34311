//! BitTorrent clients that run as anybody would run them, each with its best settings: ours, aria2,
//! Transmission.
//!
//! Whoever would look for peers by itself is told not to: all know each other from one tracker.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use super::network;
use super::process::{Process, is_installed, ours};

const PORT: u16 = 7600;
/// The file that aria2 has made when it has everything. Its files have their names from the start.
const COMPLETE: &str = "complete";
/// With these aria2 looks for nobody by itself.
pub const ARIA2_ALONE: [&str; 5] = [
    "--no-conf",
    "--disable-ipv6=true",
    "--enable-dht=false",
    "--bt-enable-lpd=false",
    "--enable-peer-exchange=false",
];
/// How long a program may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Client {
    Ours,
    Aria2,
    Transmission,
}

/// Where one client runs.
pub struct Seat {
    /// None: the bare program.
    pub client: Option<Client>,
    /// Nobody else has it: Transmission keeps one peer an address.
    pub address: Ipv4Addr,
    /// Where the tracker is for it.
    pub tracker: SocketAddr,
    /// The process in whose network it is; ours, if None.
    pub network: Option<u32>,
    /// For its settings and its log.
    pub home: PathBuf,
    /// Where its files are, or come.
    pub content: PathBuf,
}

/// A client that runs.
pub struct Running {
    pub process: Process,
    /// Where it takes questions: Transmission only.
    door: Option<String>,
}

impl Client {
    /// Ours, and those of the others that are installed.
    pub fn all() -> Vec<Client> {
        [Client::Ours, Client::Aria2, Client::Transmission]
            .into_iter()
            .filter(|client| match client {
                Client::Ours => true,
                Client::Aria2 => is_installed("aria2c"),
                Client::Transmission => is_installed("transmission-daemon"),
            })
            .collect()
    }

    pub fn name(self) -> &'static str {
        match self {
            Client::Ours => "ours",
            Client::Aria2 => "aria2",
            Client::Transmission => "Transmission",
        }
    }

    /// Of a large file only this part is moved by who would take minutes for all of it.
    pub fn part_of(self, bytes: u64) -> u64 {
        match self {
            Client::Transmission => bytes / 32,
            Client::Ours | Client::Aria2 => bytes,
        }
    }

    /// Starts with torrents whose content is complete, and that it may believe to be right, or
    /// that it is to fetch.
    pub fn start(self, seat: &Seat, torrents: &[PathBuf]) -> Result<Running, String> {
        fs::create_dir_all(&seat.home).map_err(|error| error.to_string())?;
        fs::create_dir_all(&seat.content).map_err(|error| error.to_string())?;
        let log = seat.home.join("log");
        match self {
            Client::Ours => start_ours(seat, torrents, &log),
            Client::Aria2 => start_aria2(seat, torrents, &log),
            Client::Transmission => start_transmission(seat, torrents, &log),
        }
    }
}

impl Seat {
    fn command(&self, program: &str) -> Command {
        network::command_in(self.network, program)
    }

    /// Whether all of the `files` have come, and have their real names.
    pub fn is_complete(&self, files: usize) -> bool {
        match self.client {
            Some(Client::Aria2) => self.home.join(COMPLETE).exists(),
            _ => finished_files(&self.content) == Some(files),
        }
    }
}

/// How many files there are; None if one is not finished.
fn finished_files(folder: &Path) -> Option<usize> {
    let mut files = 0;
    for entry in fs::read_dir(folder).ok()? {
        let entry = entry.ok()?;
        let name = entry.file_name().into_encoded_bytes();
        if name.ends_with(b".part") {
            return None;
        }
        if name.starts_with(b".") {
            continue;
        }
        files += match entry.file_type().ok()?.is_dir() {
            true => finished_files(&entry.path())?,
            false => 1,
        };
    }
    Some(files)
}

fn start_ours(seat: &Seat, torrents: &[PathBuf], log: &Path) -> Result<Running, String> {
    let info = seat.home.join("tracker_info.txt");
    fs::write(&info, format!("{}\n", seat.tracker)).map_err(|error| error.to_string())?;
    let mut process = Process::start(
        seat.command(ours("peer"))
            .arg(format!("{}:{PORT}", seat.address))
            .arg(&info)
            .arg("--download")
            .arg(&seat.content)
            .current_dir(&seat.home),
        log,
    )?;
    for torrent in torrents {
        let line = format!("add \"{}\"\n", torrent.display());
        let written = process
            .stdin()
            .map(|stdin| stdin.write_all(line.as_bytes()));
        if !matches!(written, Some(Ok(()))) {
            return Err(format!("our peer has ended; see {}", log.display()));
        }
    }
    Ok(Running {
        process,
        door: None,
    })
}

fn start_aria2(seat: &Seat, torrents: &[PathBuf], log: &Path) -> Result<Running, String> {
    let list = seat.home.join("torrents");
    let lines: String = torrents
        .iter()
        .map(|torrent| format!("{}\n", torrent.display()))
        .collect();
    fs::write(&list, lines).map_err(|error| error.to_string())?;
    let hook = seat.home.join("hook");
    let script = format!("#!/bin/sh\n: > {}\n", seat.home.join(COMPLETE).display());
    let made = fs::write(&hook, script)
        .and_then(|()| fs::set_permissions(&hook, fs::Permissions::from_mode(0o700)));
    made.map_err(|error| error.to_string())?;
    let process = Process::start(
        seat.command("aria2c")
            .arg(format!("--on-bt-download-complete={}", hook.display()))
            .args(ARIA2_ALONE)
            .args(["--allow-overwrite=true", "--file-allocation=none"])
            .args(["--check-integrity=true", "--bt-hash-check-seed=true"])
            .args([
                "--seed-ratio=0.0",
                "--seed-time=600",
                "--max-concurrent-downloads=1000",
            ])
            .args(["--summary-interval=0", "--show-console-readout=false"])
            .args([
                "--bt-max-open-files=1000",
                "--bt-request-peer-speed-limit=1000M",
            ])
            .arg(format!("--interface={}", seat.address))
            .arg(format!("--listen-port={PORT}"))
            .arg(format!("--stop-with-process={}", std::process::id()))
            .arg(format!("--dir={}", seat.content.display()))
            .arg(format!("--input-file={}", list.display()))
            .env_remove("http_proxy"),
        log,
    )?;
    Ok(Running {
        process,
        door: None,
    })
}

fn start_transmission(seat: &Seat, torrents: &[PathBuf], log: &Path) -> Result<Running, String> {
    /// Each run listens elsewhere, because a port is not free at once.
    static RPC: AtomicU16 = AtomicU16::new(9000);
    let rpc = RPC.fetch_add(1, Ordering::Relaxed);
    // Without encryption, which only costs here.
    let settings = format!(
        r#"{{"bind-address-ipv4": "{}", "peer-port": {PORT}, "peer-port-random-on-start": false,
        "rpc-bind-address": "{}", "rpc-port": {rpc}, "rpc-enabled": true,
        "rpc-authentication-required": false, "rpc-host-whitelist-enabled": false,
        "rpc-whitelist-enabled": false,
        "dht-enabled": false, "lpd-enabled": false, "pex-enabled": false, "utp-enabled": false,
        "encryption": 0, "port-forwarding-enabled": false, "ratio-limit-enabled": false,
        "idle-seeding-limit-enabled": false, "download-dir": "{}", "message-level": 1,
        "download-queue-enabled": false, "seed-queue-enabled": false,
        "incomplete-dir-enabled": false}}"#,
        seat.address,
        seat.address,
        seat.content.display(),
    );
    fs::write(seat.home.join("settings.json"), settings).map_err(|error| error.to_string())?;
    let process = Process::start(
        seat.command("transmission-daemon")
            .args(["--foreground", "--config-dir"])
            .arg(&seat.home),
        log,
    )?;
    let mut running = Running {
        process,
        door: Some(format!("http://{}:{rpc}/transmission/rpc", seat.address)),
    };
    for torrent in torrents {
        let arguments = format!(r#""filename":"{}""#, torrent.display());
        let answer = running.ask("torrent-add", &arguments)?;
        if !answer.contains("success") {
            return Err(format!("Transmission does not take {torrent:?}: {answer}"));
        }
    }
    Ok(running)
}

impl Running {
    /// Asks Transmission, which may have to begin to listen first.
    pub fn ask(&mut self, method: &str, arguments: &str) -> Result<String, String> {
        let door = self.door.as_ref().ok_or("it takes no questions")?;
        let question = format!(r#"{{"method":"{method}","arguments":{{{arguments}}}}}"#);
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(PATIENCE));
        let agent = ureq::Agent::new_with_config(agent.build());
        let deadline = Instant::now() + PATIENCE;
        let mut session = String::new();
        while Instant::now() < deadline && self.process.is_running() {
            let request = agent
                .post(door)
                .header("X-Transmission-Session-Id", &session);
            match request.send(&question) {
                // The first answer of each run names the session.
                Ok(answer) if answer.status() == 409 => {
                    let named = answer.headers().get("X-Transmission-Session-Id");
                    session = (named.and_then(|id| id.to_str().ok()).unwrap_or_default()).into();
                }
                Ok(mut answer) => {
                    let text = answer.body_mut().read_to_string();
                    return text.map_err(|error| error.to_string());
                }
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        Err("Transmission does not answer".into())
    }
}
