//! Proves that docs/ONE_PIECE.md tells the truth: the table of its second rung is read from the
//! page, and a downloader is sent along it, once under `gdb` and once with `RUST_LOG=hop=trace`.
//!
//! The tracker and the seed are in this process; the downloader is the program `peer`. The file
//! is one piece long, so every station comes after the one before it.

use std::fs;
use std::io::Read;
#[cfg(unix)]
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mini_bittorrent::control::tracker_info::TrackerAddress;
use mini_bittorrent::peer::{self, Peer};
use mini_bittorrent::shell::interrupt::Interrupt;
use mini_bittorrent::shell::peer_shell::PeerShell;
use mini_bittorrent::tracker::{self, Tracker};

/// The whole tour takes a few seconds.
const LIMIT: Duration = Duration::from_secs(60);
const FILE: &str = "one piece.bin";
/// Less than a piece, more than a pipeline: 20 blocks.
const SIZE: usize = 320_000;

/// A row of the table.
#[cfg_attr(windows, allow(dead_code))]
struct Station {
    number: String,
    /// Without the crate's name.
    function: String,
    thread: String,
    /// Empty if the log says nothing there.
    says: String,
}

fn stations() -> Vec<Station> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ONE_PIECE.md");
    let page = fs::read_to_string(page).unwrap();
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| ")?.split('|').map(str::trim);
        let number = cells.next()?.to_string();
        number.parse::<u32>().ok()?;
        let mut cell = || {
            cells
                .next()
                .unwrap_or_default()
                .trim_matches('`')
                .to_string()
        };
        Some(Station {
            number,
            function: cell(),
            thread: cell(),
            says: cell(),
        })
    };
    let stations: Vec<Station> = page.lines().filter_map(row).collect();
    assert!(stations.len() >= 14, "only {} rows found", stations.len());
    stations
}

/// `…` stands for any text, a thread's `N` for any number.
fn is_like(text: &str, pattern: &str) -> bool {
    let mut rest = text;
    let mut parts = pattern.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(after) = rest.strip_prefix(first) else {
        return false;
    };
    rest = after;
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty() || pattern.ends_with('…')
}

#[cfg(unix)]
fn is_thread(name: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('N') {
        Some(begin) => name
            .strip_prefix(begin)
            .is_some_and(|number| number.parse::<u32>().is_ok()),
        // The main thread has the program's name.
        None => name == pattern || (pattern == "main" && name == "peer"),
    }
}

/// A tracker, a seed with a file, and a folder for a downloader.
struct Scene {
    temp: tempfile::TempDir,
    tracker: Tracker,
    _seed: PeerShell,
}

impl Scene {
    fn new() -> Scene {
        let temp = tempfile::tempdir().unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let tracker = Tracker::start(tracker::Config::new(any)).unwrap();
        let trackers = vec![TrackerAddress {
            host: tracker.local_addr().ip().to_string(),
            port: tracker.local_addr().port(),
            key: None,
        }];
        let config = peer::Config::new(any, trackers, &temp.path().join("seed"));
        let (peer, _) = Peer::start(config).unwrap();
        let upload = temp.path().to_path_buf();
        let info = temp.path().join("tracker_info.txt");
        let mut seed = PeerShell::new(peer, info, upload, Arc::new(Interrupt::new()), false);
        fs::write(temp.path().join(FILE), content()).unwrap();
        seed.run(&format!("upload_file \"{FILE}\"")).unwrap();
        fs::write(
            temp.path().join("tracker_info.txt"),
            tracker.local_addr().to_string(),
        )
        .unwrap();
        Scene {
            temp,
            tracker,
            _seed: seed,
        }
    }

    /// The arguments of `peer` that fetch the file and end.
    fn arguments(&self) -> Vec<String> {
        let below = |name: &str| self.temp.path().join(name).display().to_string();
        let (info, download) = (below("tracker_info.txt"), below("download"));
        let commands = format!("download_file \"{FILE}\"; wait");
        [
            "127.0.0.1:0",
            &info,
            "--download",
            &download,
            "-c",
            &commands,
        ]
        .map(str::to_string)
        .to_vec()
    }

    fn assert_fetched(&self, said: &str) {
        let got = fs::read(self.temp.path().join("download").join(FILE)).unwrap_or_default();
        assert!(
            got == content(),
            "the file was not fetched. It said:\n{said}"
        );
        assert!(
            self.tracker
                .stats()
                .0
                .iter()
                .any(|(name, value)| name == "announces" && *value > 1)
        );
    }
}

fn content() -> Vec<u8> {
    (0..SIZE).map(|i| (i * i / 7 % 251) as u8).collect()
}

/// Runs a program to its end, or to [`LIMIT`]; all that it wrote to both of its outputs.
fn run(command: &mut Command, log: &Path) -> String {
    let file = fs::File::create(log).unwrap();
    let child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .spawn()
        .unwrap();
    let mut child = KillOnDrop(child);
    let deadline = Instant::now() + LIMIT;
    let ended = loop {
        if child.0.try_wait().unwrap().is_some() {
            break true;
        }
        if Instant::now() > deadline {
            break false;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut said = Vec::new();
    fs::File::open(log).unwrap().read_to_end(&mut said).unwrap();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(ended, "not at its end after {LIMIT:?}. It said:\n{said}");
    said
}

struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(unix)]
#[test]
fn gdb_stops_at_every_station_in_order_and_on_the_right_thread() {
    if cfg!(not(debug_assertions)) {
        return skip("the tour with gdb: this is no debug build", false);
    }
    let gdb = Command::new("gdb").arg("--version").output();
    if !gdb.is_ok_and(|output| output.status.success()) {
        let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
        return skip("the tour with gdb: gdb is missing", ci);
    }
    let stations = stations();
    let scene = Scene::new();
    let mut script = String::from(
        "set pagination off\nset confirm off\nset width 0\nset breakpoint pending off\n\
         handle SIGPIPE nostop noprint pass\n",
    );
    for station in &stations {
        script += &format!("tbreak mini_bittorrent::{}\n", station.function);
    }
    script += "run\n";
    // One for each stop, and the last to its end; `gdb` gives up at the first that is too many.
    script += &"continue\n".repeat(stations.len());
    let script_path = scene.temp.path().join("tour.gdb");
    fs::write(&script_path, script).unwrap();
    let mut command = Command::new("gdb");
    command.args(["-nx", "-batch", "-x"]).arg(&script_path);
    command
        .arg("--args")
        .arg(peer_program())
        .args(scene.arguments());
    // Whatever the user's gdb would ask the net for, it shall not.
    command.env_remove("DEBUGINFOD_URLS").env_remove("RUST_LOG");
    let said = run(&mut command, &scene.temp.path().join("gdb.txt"));

    // Such as: Thread 5 "engine" hit Temporary breakpoint 5, mini_bittorrent::peer::…
    let stop = |line: &str| {
        let rest = line.strip_prefix("Thread ")?;
        let (_, rest) = rest.split_once('"')?;
        let (thread, rest) = rest.split_once("\" hit Temporary breakpoint ")?;
        let (number, _) = rest.split_once(',')?;
        Some((number.parse::<usize>().ok()?, thread.to_string()))
    };
    let stops: Vec<(usize, String)> = said.lines().filter_map(stop).collect();
    for (i, station) in stations.iter().enumerate() {
        let what = format!("station {}, {}", station.number, station.function);
        let Some((number, thread)) = stops.get(i) else {
            panic!("gdb did not stop at {what}. It said:\n{said}");
        };
        assert_eq!(
            *number,
            i + 1,
            "gdb stopped elsewhere than at {what}. It said:\n{said}"
        );
        assert!(
            is_thread(thread, &station.thread),
            "{what} is reached by `{thread}`"
        );
    }
    scene.assert_fetched(&said);
}

#[test]
fn the_log_tells_the_same_walk() {
    let scene = Scene::new();
    let mut command = Command::new(peer_program());
    command.args(scene.arguments()).env("RUST_LOG", "hop=trace");
    let said = run(&mut command, &scene.temp.path().join("peer.txt"));
    scene.assert_fetched(&said);
    // Such as: [2026-01-31 12:00:00] [DEBUG] hop: piece 0: on disk
    let mut lines = said
        .lines()
        .filter_map(|line| Some(line.split_once("] hop: ")?.1));
    for station in stations().iter().filter(|station| !station.says.is_empty()) {
        assert!(
            lines.any(|line| is_like(line, &station.says)),
            "station {}: the log does not say `{}`, or says it too early:\n{said}",
            station.number,
            station.says
        );
    }
}

fn peer_program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_peer"))
}

/// Past the test harness, which shows what a test prints only if it fails.
#[cfg(unix)]
fn skip(what: &str, is_failure: bool) {
    let text = format!("SKIPPED {what}\n");
    let _ = std::io::stderr().write_all(text.as_bytes());
    assert!(!is_failure, "{text}");
}
