//! Proves that a peer ends within three seconds, whatever it is doing and whatever its trackers
//! do, and that it goes on afterwards where it was.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use mini_bittorrent::peer::view::Status;
use mini_bittorrent::torrent::id::PieceHash;
use mini_bittorrent::torrent::layout::Layout;
use mini_bittorrent::torrent::metainfo::Metainfo;
use mini_bittorrent::tracker::Tracker;

use crate::support::peers::{
    self, Place, Program, any_port, free_port, make_file, start_peer, start_tracker, torrent_of,
    view, wait_until, watchdog,
};

/// What docs/ARCHITECTURE.md promises: an end within three seconds.
const END: Duration = Duration::from_secs(3);

/// Requests to end, Ctrl-C, and the terminal that is closed. On Windows: Ctrl-Break, Ctrl-C, and the
/// console that is closed.
const SIGNALS: [&str; 3] = ["TERM", "INT", "HUP"];

/// Trackers of three bad kinds, on ports of our own.
struct DeadTrackers {
    refuses: SocketAddr,
    /// Accepts and never answers.
    silent: TcpListener,
    /// Does not even accept.
    full: TcpListener,
    _in_the_queue: Vec<TcpStream>,
}

impl DeadTrackers {
    fn new() -> DeadTrackers {
        let full = full_soon();
        let queue = fill(&full);
        DeadTrackers {
            refuses: free_port(),
            silent: TcpListener::bind(any_port()).unwrap(),
            full,
            _in_the_queue: queue,
        }
    }

    fn addresses(&self) -> [SocketAddr; 3] {
        let silent = self.silent.local_addr().unwrap();
        [self.refuses, silent, self.full.local_addr().unwrap()]
    }

    fn urls(&self) -> Vec<String> {
        let url = |at: &SocketAddr| format!("http://{at}/announce");
        self.addresses().iter().map(url).collect()
    }
}

fn assert_ends(mut peer: Program, doing: &str) {
    let since = Instant::now();
    let status = peer.ended(END);
    println!("{doing}: ended after {:?}", since.elapsed());
    assert!(
        // A signal that nobody takes, and a console that is closed too soon, leave others.
        matches!(status.code(), Some(0 | 1)),
        "{doing}: {status}, {}",
        peer.said()
    );
    assert!(!peer.said().contains("panicked"), "{}", peer.said());
}

#[test]
fn quit_is_quick_when_every_tracker_is_dead() {
    let _watchdog = watchdog(Duration::from_secs(60), "quitting with dead trackers");
    let temp = tempfile::tempdir().unwrap();
    let dead = DeadTrackers::new();
    for (nth, tracker) in dead.addresses().into_iter().enumerate() {
        let place = Place::new(temp.path(), &format!("peer-{nth}"), &[tracker]);
        let file = make_file(&place.folder, &format!("file-{nth}.bin"), 100_000);
        // Its trackers are all dead, too.
        let torrent = place.folder.join("other.torrent");
        let other = make_file(&place.folder, "other.bin", 100_000);
        fs::write(&torrent, torrent_of(&other, &dead.urls())).unwrap();
        let mut peer = place.start(&[]);
        peer.type_line("add other.torrent");
        peer.line_with("Downloading other.bin");
        peer.type_line(&format!("upload_file {}", file.display()));
        peer.line_with("no tracker can be reached");
        peer.type_line("quit");
        assert_ends(peer, &format!("dead tracker {nth}"));
    }
}

#[test]
fn signals_end_a_peer_whose_trackers_are_dead() {
    let _watchdog = watchdog(Duration::from_secs(60), "signals with dead trackers");
    let temp = tempfile::tempdir().unwrap();
    let dead = DeadTrackers::new();
    for (nth, signal) in SIGNALS.into_iter().enumerate() {
        let place = Place::new(temp.path(), &format!("peer-{nth}"), &dead.addresses());
        let commands = "list_files; list_files; list_files; list_files";
        let ways: [&[&str]; 3] = [&["--no-prompt"], &[], &["-c", commands]];
        for way in ways {
            let peer = place.start(way);
            peer.line_with("listening on");
            peer.signal(signal);
            assert_ends(peer, &format!("SIG{signal}, peer {way:?}"));
        }
    }
}

/// 127.0.0.1's own pace would be too quick to be caught in the middle.
const SLOW: &str = "limit down 4M";

#[test]
fn a_signal_during_a_download_loses_nothing() {
    let _watchdog = watchdog(Duration::from_secs(90), "signals during downloads");
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let at = tracker.local_addr();
    let mut seed = start_peer(&[at], &temp.path().join("seed"));
    let file = make_file(temp.path(), "file.bin", 24 << 20);
    seed.run(&format!("upload_file {}", file.display()))
        .unwrap();
    for ending in ["TERM", "INT", "HUP", "quit", "end of input"] {
        let place = Place::new(temp.path(), &format!("getter {ending}"), &[at]);
        let mut peer = place.start(&[]);
        for line in [SLOW, "download_file file.bin"] {
            peer.type_line(line);
        }
        peer.line_with("Downloading");
        match ending {
            "TERM" | "INT" | "HUP" => {
                peer.type_line("wait");
                peer.percent(20);
                peer.signal(ending);
            }
            "quit" => {
                wait_for_some(&mut peer);
                peer.type_line("quit");
            }
            _ => {
                wait_for_some(&mut peer);
                peer.close_stdin();
            }
        }
        assert_ends(peer, &format!("{ending} during a download"));
        // It goes on where it was, without a look at what is there.
        let again = start_peer(&[], &place.folder);
        let there = view(&again);
        assert_eq!(there.status, Status::Downloading, "after {ending}");
        assert!(
            there.have >= there.size / 10,
            "{} after {ending}",
            there.have
        );
    }
}

fn wait_for_some(peer: &mut Program) {
    wait_until("10 percent", || {
        peer.type_line("show_downloads");
        let line = peer.line_with("file.bin");
        peers::percent_of(&line).unwrap_or(0) >= 10
    });
}

#[test]
fn a_service_is_ended_by_signals_and_goes_on_later() {
    let _watchdog = watchdog(Duration::from_secs(60), "ending services");
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let at = tracker.local_addr();
    let place = Place::new(temp.path(), "seed", &[at]);
    let file = make_file(temp.path(), "file.bin", 4 << 20);
    let upload = format!("upload_file {}", file.display());
    let mut first = place.start(&["-c", &upload]);
    assert!(first.ended(Duration::from_secs(30)).success());
    for (nth, signal) in SIGNALS.into_iter().enumerate() {
        let seed = place.start(&["--no-prompt"]);
        let mut getter = start_peer(&[at], &temp.path().join(format!("getter-{nth}")));
        getter.run("download_file file.bin").unwrap();
        getter.run("wait").unwrap();
        assert!(
            fs::read(getter.peer.folder().join("file.bin")).unwrap() == fs::read(&file).unwrap()
        );
        drop(getter);
        let holders = held_by(&tracker);
        seed.signal(signal);
        assert_ends(seed, &format!("SIG{signal} to a service"));
        let left = held_by(&tracker);
        assert_eq!(left, holders - 1, "SIG{signal}: the tracker was told");
    }
    let again = start_peer(&[], &place.folder);
    assert_eq!(view(&again).status, Status::Seeding);
    assert_eq!(
        view(&again).uploaded,
        12 << 20,
        "what three got is remembered"
    );
}

/// How many a tracker has in the swarm of its only file.
fn held_by(tracker: &Tracker) -> usize {
    let members = tracker.state().members("file.bin");
    members.map_or(0, |members| members.len())
}

#[test]
fn a_tracker_is_ended_by_signals_with_and_without_a_prompt() {
    let _watchdog = watchdog(Duration::from_secs(60), "ending trackers");
    let temp = tempfile::tempdir().unwrap();
    for signal in SIGNALS {
        for way in [&["--no-prompt"][..], &[]] {
            let name = format!("{signal}-{}", way.len());
            let place = Place::new(temp.path(), &name, &[any_port()]);
            let mut command = Command::new(env!("CARGO_BIN_EXE_tracker"));
            command.current_dir(&place.folder).args(way);
            let tracker = Program::start(command);
            tracker.line_with("listening on");
            tracker.signal(signal);
            assert_ends(tracker, &format!("SIG{signal} to a tracker {way:?}"));
        }
    }
}

/// A file of zeros that takes no room and long to hash, and its torrent.
fn endless_file(folder: &Path, size: u64) -> PathBuf {
    const PIECE: u32 = 16 << 20;
    let layout = Layout::single("zeros.bin".into(), size, PIECE).unwrap();
    let hash = PieceHash::of(&vec![0; PIECE as usize]);
    let hashes = vec![hash; layout.pieces() as usize];
    let torrent = folder.join("zeros.torrent");
    fs::write(&torrent, Metainfo::build(layout, hashes, false).to_bytes()).unwrap();
    torrent
}

fn sparse(path: &Path, size: u64) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::File::create(path).unwrap().set_len(size).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn hashing_a_large_file_is_ended_by_signals() {
    let _watchdog = watchdog(Duration::from_secs(60), "signals during hashing");
    let temp = tempfile::tempdir().unwrap();
    for signal in ["TERM", "INT"] {
        let place = Place::new(temp.path(), signal, &[free_port()]);
        sparse(&place.folder.join("zeros.bin"), 100 << 30);
        let mut peer = place.start(&[]);
        peer.type_line("upload_file zeros.bin");
        wait_until("it is hashing", || is_reading(peer.pid()));
        peer.signal(signal);
        assert_ends(peer, &format!("SIG{signal} during hashing"));
    }
}

/// The file lies there under its final name: it is hashed before the command comes back.
#[cfg(target_os = "linux")]
#[test]
fn looking_at_a_large_file_that_is_there_is_ended_by_signals() {
    let _watchdog = watchdog(Duration::from_secs(60), "signals while looking");
    let temp = tempfile::tempdir().unwrap();
    for signal in ["TERM", "INT"] {
        let place = Place::new(temp.path(), signal, &[free_port()]);
        endless_file(&place.folder, 100 << 30);
        sparse(&place.download().join("zeros.bin"), 100 << 30);
        let mut peer = place.start(&[]);
        peer.type_line("add zeros.torrent");
        wait_until("it is hashing", || is_reading(peer.pid()));
        peer.signal(signal);
        assert_ends(peer, &format!("SIG{signal} while looking at what is there"));
    }
}

/// The file lies there under its temporary name: it is checked in the background.
#[test]
fn a_check_is_ended_by_quit_and_by_signals() {
    let _watchdog = watchdog(Duration::from_secs(60), "ending checks");
    let temp = tempfile::tempdir().unwrap();
    for ending in ["TERM", "INT", "quit"] {
        let place = Place::new(temp.path(), ending, &[free_port()]);
        // As much as the disk has room for: what is missing must fit.
        let free = fs4::available_space(temp.path()).unwrap();
        let size = (free / 2).min(64 << 30) >> 24 << 24;
        endless_file(&place.folder, size);
        sparse(&place.download().join("zeros.bin.part"), size);
        let mut peer = place.start(&[]);
        peer.type_line("add zeros.torrent");
        peer.line_with("Downloading");
        peer.type_line("show_downloads");
        peer.line_with("checking what is on the disk");
        match ending {
            "quit" => peer.type_line("quit"),
            signal => peer.signal(signal),
        }
        assert_ends(peer, &format!("{ending} during a check"));
    }
}

/// Whether a process has read more than programs do when they start.
#[cfg(target_os = "linux")]
fn is_reading(pid: u32) -> bool {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let rchar = io.lines().find_map(|line| line.strip_prefix("rchar: "));
    rchar.and_then(|bytes| bytes.parse().ok()).unwrap_or(0) > 100 << 20
}

/// A pause during a check was answered with "is paused" and forgotten; and a paused download that
/// was killed went on by itself after the check at the next start.
#[test]
fn a_paused_download_stays_paused_through_checks() {
    let _watchdog = watchdog(Duration::from_secs(60), "pausing checks");
    let temp = tempfile::tempdir().unwrap();
    let place = Place::new(temp.path(), "peer", &[]);
    let folder = temp.path().join("peer");
    let free = fs4::available_space(temp.path()).unwrap();
    let size = (free / 4).min(2 << 30) >> 24 << 24;
    let torrent = endless_file(&folder, size);
    let part = place.download().join("zeros.bin.part");
    // All of it is there but the last byte of the last piece.
    sparse(&part, size);
    let last = [1];
    let mut file = fs::File::options().write(true).open(&part).unwrap();
    file.seek(SeekFrom::Start(size - 1)).unwrap();
    file.write_all(&last).unwrap();
    let mut shell = start_peer(&[], &folder);
    shell.run(&format!("add {}", torrent.display())).unwrap();
    assert!(matches!(view(&shell).status, Status::Checking { .. }));
    shell.run("pause zeros.bin").unwrap();
    wait_until("the check ends", || view(&shell).status == Status::Paused);
    shell.run("recheck zeros.bin").unwrap();
    shell.run("recheck zeros.bin").unwrap();
    shell.run("pause zeros.bin").unwrap();
    drop(shell);
    // Changed meanwhile: it must be looked at again, and stay paused.
    sparse(&part, size);
    let mut shell = start_peer(&[], &folder);
    assert!(matches!(view(&shell).status, Status::Checking { .. }));
    wait_until("the check ends", || {
        !matches!(view(&shell).status, Status::Checking { .. })
    });
    shell.run("resume zeros.bin").unwrap();
    wait_until("it is complete", || view(&shell).status == Status::Seeding);
}

/// A tracker that knew us and is unreachable when we want to say goodbye.
#[test]
fn quit_is_quick_when_trackers_have_vanished() {
    let _watchdog = watchdog(Duration::from_secs(60), "vanished trackers");
    let temp = tempfile::tempdir().unwrap();
    let trackers: Vec<Vanishing> = (0..4).map(|_| Vanishing::new()).collect();
    let urls: Vec<String> = trackers.iter().map(|tracker| tracker.url.clone()).collect();
    let place = Place::new(temp.path(), "peer", &[free_port()]);
    let file = make_file(temp.path(), "file.bin", 100_000);
    fs::write(place.folder.join("file.torrent"), torrent_of(&file, &urls)).unwrap();
    let mut peer = place.start(&[]);
    peer.type_line("add file.torrent");
    let _queues: Vec<_> = trackers.into_iter().map(Vanishing::vanish).collect();
    // Its answers have been read when it waits for nothing but peers.
    wait_until("it waits for peers", || {
        peer.type_line("show_downloads");
        peer.said()
            .contains("no peers: nobody who has it is connected")
    });
    peer.type_line("quit");
    assert_ends(peer, "vanished trackers");
}

/// Answers one announce, and accepts nobody from then on.
struct Vanishing {
    url: String,
    thread: std::thread::JoinHandle<(TcpListener, Vec<TcpStream>)>,
}

impl Vanishing {
    fn new() -> Vanishing {
        use std::io::{Read, Write};
        let listener = full_soon();
        let at = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let queue = fill(&listener);
            let _ = stream.read(&mut [0; 4096]);
            let body = "d8:intervali1800e5:peers0:e";
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", body.len());
            let answer = format!("{head}Connection: close\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).unwrap();
            (listener, queue)
        });
        let url = format!("http://{at}/announce");
        Vanishing { url, thread }
    }

    fn vanish(self) -> (TcpListener, Vec<TcpStream>) {
        self.thread.join().unwrap()
    }
}

/// A listener whose queue has room for next to nobody.
fn full_soon() -> TcpListener {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&any_port().into()).unwrap();
    socket.listen(0).unwrap();
    socket.into()
}

/// Connections that nobody accepts, until no more are taken.
fn fill(listener: &TcpListener) -> Vec<TcpStream> {
    let at = listener.local_addr().unwrap();
    let patience = Duration::from_millis(100);
    let connect = |_| TcpStream::connect_timeout(&at, patience).ok();
    (0..4).filter_map(connect).collect()
}
