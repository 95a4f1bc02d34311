//! Peers and trackers for tests: in this process or as real processes, on 127.0.0.1 and free
//! ports, with real files. Nothing outlives the value that holds it.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, LazyLock, Mutex, Once};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use mini_bittorrent::control::tracker_info::TrackerAddress;
use mini_bittorrent::peer::hashing::HashPool;
use mini_bittorrent::peer::hashing::make::{Wish, make_torrent};
use mini_bittorrent::peer::view::TorrentView;
use mini_bittorrent::peer::{self, Peer};
use mini_bittorrent::shell::interrupt::Interrupt;
use mini_bittorrent::shell::listing;
use mini_bittorrent::shell::peer_shell::PeerShell;
use mini_bittorrent::torrent::metainfo::Metainfo;
use mini_bittorrent::tracker::{self, Tracker};

pub fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A port that nobody listens on just now, and that the system gives to no other program by itself:
/// connections and listeners that do not care are numbered from 32768 on.
pub fn free_port() -> SocketAddr {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 20_000;
    /// Test programs beside us begin elsewhere.
    static NEXT: LazyLock<AtomicU16> =
        LazyLock::new(|| AtomicU16::new(rand::random_range(0..COUNT)));
    loop {
        let port = FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

pub fn start_tracker() -> Tracker {
    Tracker::start(tracker::Config::new(any_port())).unwrap()
}

pub fn named(at: SocketAddr) -> TrackerAddress {
    TrackerAddress {
        host: at.ip().to_string(),
        port: at.port(),
        key: None,
    }
}

/// A peer in this process whose download folder is `folder/download`.
pub fn start_peer(trackers: &[SocketAddr], folder: &Path) -> PeerShell {
    let (shell, notices) = start_peer_at(any_port(), trackers, folder);
    assert!(notices.is_empty(), "{notices:?}");
    shell
}

pub fn start_peer_at(
    listen: SocketAddr,
    trackers: &[SocketAddr],
    folder: &Path,
) -> (PeerShell, Vec<String>) {
    start_peer_with(
        listen,
        trackers.iter().copied().map(named).collect(),
        folder,
    )
}

/// With lines of tracker_info.txt, which may have keys.
pub fn start_peer_with(
    listen: SocketAddr,
    trackers: Vec<TrackerAddress>,
    folder: &Path,
) -> (PeerShell, Vec<String>) {
    let config = peer::Config::new(listen, trackers, &folder.join("download"));
    let (peer, notices) = Peer::start(config).unwrap();
    let interrupt = Arc::new(Interrupt::new());
    let upload = folder.join("upload");
    let info = folder.join("tracker_info.txt");
    let shell = PeerShell::new(peer, info, upload, interrupt, false);
    (shell, notices)
}

/// The only torrent of a peer.
pub fn view(shell: &PeerShell) -> TorrentView {
    let mut torrents = shell.peer.torrents().unwrap();
    assert_eq!(torrents.len(), 1);
    torrents.remove(0)
}

/// What `show_downloads` prints.
pub fn shown(shell: &PeerShell) -> String {
    listing::show_downloads(&shell.peer.torrents().unwrap())
}

/// Bytes that repeat nowhere, the same for the same seed.
pub fn random_bytes(seed: &str, size: usize) -> Vec<u8> {
    let start = seed.bytes().fold(size as u64, |state, byte| {
        state.wrapping_mul(31) ^ u64::from(byte)
    });
    let mut state = start | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

pub fn make_file(folder: &Path, name: &str, size: usize) -> PathBuf {
    fs::create_dir_all(folder).unwrap();
    let path = folder.join(name);
    fs::write(&path, random_bytes(name, size)).unwrap();
    path
}

pub fn sha256(path: &Path) -> String {
    let mut file = fs::File::open(path).unwrap();
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let got = file.read(&mut buffer).unwrap();
        if got == 0 {
            break;
        }
        hasher.update(&buffer[..got]);
    }
    let hash = hasher.finalize();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn wait_until(what: &str, done: impl FnMut() -> bool) {
    wait_at_most(PATIENCE, what, done);
}

pub fn wait_at_most(time: Duration, what: &str, mut done: impl FnMut() -> bool) {
    let since = Instant::now();
    while !done() {
        assert!(since.elapsed() < time, "waited {time:?} for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ends the whole test program if it is not dropped in time: a hang must fail, not hang.
pub struct Watchdog {
    fed: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

pub fn watchdog(time: Duration, what: &'static str) -> Watchdog {
    let fed = Arc::new(AtomicBool::new(false));
    let looked_at = fed.clone();
    let until = Instant::now() + time;
    let thread = std::thread::Builder::new()
        .name("watchdog".into())
        .spawn(move || {
            while !looked_at.load(Ordering::SeqCst) {
                if Instant::now() >= until {
                    say(&format!("{what} did not end within {time:?}\n"));
                    std::process::exit(101);
                }
                std::thread::park_timeout(Duration::from_millis(200));
            }
        });
    Watchdog {
        fed,
        thread: Some(thread.unwrap()),
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.fed.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// To standard error past the test harness, which would swallow it.
pub fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// How much memory a process has in use, in bytes. Measured on Linux only.
#[cfg(not(target_os = "linux"))]
pub fn memory(_: u32) -> u64 {
    0
}

/// How much memory a process has in use, in bytes.
#[cfg(target_os = "linux")]
pub fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.unwrap().parse::<u64>().unwrap() * 1024
}

/// A `peer` process. Killed when dropped.
pub struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    out: Receiver<String>,
    /// Everything that it has said on both outputs.
    said: Arc<Mutex<Vec<String>>>,
    /// They end when nobody can say anything any more.
    readers: Vec<JoinHandle<()>>,
}

/// Where a `peer` process is to work.
#[derive(Clone)]
pub struct Place {
    pub folder: PathBuf,
    pub listen: SocketAddr,
}

impl Place {
    /// Its own folder under `temp`, and tracker_info.txt in it.
    pub fn new(temp: &Path, name: &str, trackers: &[SocketAddr]) -> Place {
        let folder = temp.join(name);
        fs::create_dir_all(&folder).unwrap();
        let lines: Vec<String> = trackers.iter().map(SocketAddr::to_string).collect();
        fs::write(folder.join("tracker_info.txt"), lines.join("\n") + "\n").unwrap();
        Place {
            folder,
            listen: any_port(),
        }
    }

    pub fn download(&self) -> PathBuf {
        self.folder.join("download")
    }

    pub fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_peer"));
        command
            .current_dir(&self.folder)
            .arg(self.listen.to_string())
            .arg("tracker_info.txt")
            .args(more)
            .env_remove("RUST_LOG");
        command
    }

    pub fn start(&self, more: &[&str]) -> Program {
        Program::start(self.command(more))
    }
}

impl Program {
    pub fn start(mut command: Command) -> Program {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (lines, out) = mpsc::channel();
        let said = Arc::new(Mutex::new(Vec::new()));
        let streams: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().unwrap()),
            Box::new(child.stderr.take().unwrap()),
        ];
        let mut readers = Vec::new();
        for stream in streams {
            let (lines, said) = (lines.clone(), said.clone());
            readers.push(std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    said.lock().unwrap().push(line.clone());
                    let _ = lines.send(line);
                }
            }));
        }
        Program {
            stdin: child.stdin.take(),
            child,
            out,
            said,
            readers,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn type_line(&mut self, line: &str) {
        self.type_bytes(format!("{line}\n").as_bytes());
    }

    pub fn type_bytes(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("standard input is closed");
        stdin.write_all(bytes).unwrap();
    }

    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// The next line, of either output, that `is` wanted.
    pub fn line(&self, what: &str, mut is: impl FnMut(&str) -> bool) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.out.recv_timeout(left) {
                Ok(line) if is(&line) => return line,
                Ok(_) => {}
                Err(error) => panic!("no line with {what} ({error}); it said:\n{}", self.said()),
            }
        }
    }

    pub fn line_with(&self, text: &str) -> String {
        self.line(text, |line| line.contains(text))
    }

    /// Waits until the progress lines of `wait` tell so many percent. Returns how many.
    pub fn percent(&self, at_least: u64) -> u64 {
        let mut seen = 0;
        self.line(&format!("{at_least} %"), |line| {
            seen = percent_of(line).unwrap_or(0);
            seen >= at_least
        });
        seen
    }

    pub fn said(&self) -> String {
        self.said.lock().unwrap().join("\n")
    }

    /// SIGKILL, and gone when this returns.
    pub fn kill_9(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.said()
    }

    /// Windows has no signals: `.ci/kill.c` does there what Ctrl-C and Ctrl-Break do.
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let done = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(done.unwrap().success());
    }

    /// How it ended; it must within `time`. All that it has said is there then.
    pub fn ended(&mut self, time: Duration) -> ExitStatus {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                wait_until("its last words", || {
                    self.readers.iter().all(JoinHandle::is_finished)
                });
                return status;
            }
            if since.elapsed() > time {
                panic!("still there after {time:?}; it said:\n{}", self.said());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `big.bin 42 %, ...`
pub fn percent_of(line: &str) -> Option<u64> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let sign = words.iter().position(|word| word.starts_with('%'))?;
    words.get(sign.checked_sub(1)?)?.parse().ok()
}

/// What this process has logged since [`log`] was called first, one string a line.
static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());
static LOGGING: Once = Once::new();

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Debug
    }

    fn log(&self, record: &log::Record<'_>) {
        let ours = record.metadata().level() <= log::Level::Info
            || record
                .module_path()
                .is_some_and(|path| path.starts_with("mini_bittorrent"));
        if ours {
            let line = format!("{} {}", record.level(), record.args());
            LOGGED.lock().unwrap().push(line);
        }
    }

    fn flush(&self) {}
}

/// Keeps what is logged in this process from now on, for [`logged`].
pub fn keep_log() {
    LOGGING.call_once(|| {
        log::set_boxed_logger(Box::new(Logger)).unwrap();
        log::set_max_level(log::LevelFilter::Debug);
    });
}

/// The logged line that has all of these parts, if there is one.
pub fn logged(parts: &[&str]) -> Option<String> {
    let lines = LOGGED.lock().unwrap();
    let has_all = |line: &&String| parts.iter().all(|part| line.contains(part));
    lines.iter().find(has_all).cloned()
}

/// What was logged with this part, for messages of failed tests.
pub fn all_logged(part: &str) -> String {
    let lines = LOGGED.lock().unwrap();
    let with = lines.iter().filter(|line| line.contains(part));
    with.cloned().collect::<Vec<_>>().join("\n")
}

/// A torrent of this file.
pub fn made_of(file: &Path, wish: Wish) -> Metainfo {
    let pool = HashPool::new().unwrap();
    let (done, made) = mpsc::channel();
    let on_done = move |result| drop(done.send(result));
    make_torrent(&pool, Arc::default(), file, wish, on_done).unwrap();
    made.recv_timeout(PATIENCE).unwrap().unwrap().metainfo
}

/// The bytes of a torrent of this file that names these trackers.
pub fn torrent_of(file: &Path, trackers: &[String]) -> Vec<u8> {
    let mut metainfo = made_of(file, Wish::default());
    metainfo.trackers = trackers.iter().map(|url| vec![url.clone()]).collect();
    metainfo.to_bytes()
}
