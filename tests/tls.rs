//! Proves what TLS promises: with a tracker's key everything goes on inside TLS and with nobody
//! else, whoever has a wrong key or none is told what to do, and no half handshake holds anybody up.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mini_bittorrent::announce::response::AnnounceResponse;
use mini_bittorrent::announce::scrape::ScrapeResponse;
use mini_bittorrent::control::key::TrackerKey;
use mini_bittorrent::control::names::GroupName;
use mini_bittorrent::control::reply::{FileEntry, Stats};
use mini_bittorrent::control::request::Request;
use mini_bittorrent::control::tracker_info::TrackerAddress;
use mini_bittorrent::peer::account::Account;
use mini_bittorrent::peer::membership::Membership;
use mini_bittorrent::peer::tracker_link::{Contacts, LinkError, TrackerLink};
use mini_bittorrent::peer::trackers::Trackers;
use mini_bittorrent::peer::view::Status;
use mini_bittorrent::runtime::channel::Channel;
use mini_bittorrent::runtime::stop::Stop;
use mini_bittorrent::runtime::stream::Stream;
use mini_bittorrent::runtime::tls::{self, TlsError};
use mini_bittorrent::shell::peer_shell::PeerShell;
use mini_bittorrent::tracker::{Config, Tracker};

#[cfg(target_os = "linux")]
use crate::support::descriptors::descriptors;
use crate::support::peers::{
    self, Place, any_port, free_port, make_file, sha256, view, wait_until, watchdog,
};

/// How long any answer may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// A tracker as the program starts it when its key is in tracker_info.txt.
fn start(change: impl FnOnce(&mut Config)) -> Tracker {
    let mut config = Config::new(any_port());
    config.tls_required = true;
    change(&mut config);
    Tracker::start(config).unwrap()
}

fn key(tracker: &Tracker) -> TrackerKey {
    tracker.state().config.identity.key()
}

/// A line of tracker_info.txt.
fn line(address: SocketAddr, key: TrackerKey) -> TrackerAddress {
    TrackerAddress {
        key: Some(key),
        ..peers::named(address)
    }
}

fn plain(tracker: &Tracker) -> TcpStream {
    let socket = TcpStream::connect(tracker.local_addr()).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

fn stream(address: SocketAddr) -> Stream {
    let socket = TcpStream::connect(address).unwrap();
    let poll = Duration::from_millis(50);
    Stream::new(socket, Stop::new(), poll, DEADLINE).unwrap()
}

fn secure(tracker: &Tracker) -> Channel {
    tls::connect(stream(tracker.local_addr()), key(tracker).0).unwrap()
}

/// Sends bytes and reads what comes until the tracker says that it is over.
fn say(mut channel: impl Read + Write, bytes: &[u8]) -> Vec<u8> {
    channel.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    channel.read_to_end(&mut answer).unwrap();
    answer
}

fn said(channel: impl Read + Write, bytes: &[u8]) -> String {
    String::from_utf8(say(channel, bytes)).unwrap()
}

/// What follows the head of an HTTP answer.
fn body(answer: &[u8]) -> &[u8] {
    let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    &answer[head.expect("an HTTP head") + 4..]
}

fn connections(stats: &Stats) -> u64 {
    let found = stats.0.iter().find(|(name, _)| name == "connections");
    found.expect("their number").1
}

fn link(trackers: Vec<TrackerAddress>) -> TrackerLink {
    let membership = Arc::new(Membership::new(&trackers, true).unwrap());
    let account = Arc::new(Account::new(membership.keys.public));
    let (people, _) = crossbeam_channel::unbounded();
    let trackers = Arc::new(Trackers::new(trackers, people));
    let contacts = Contacts {
        trackers,
        account,
        membership,
        notes: None,
    };
    TrackerLink::new(contacts, Stop::new())
}

fn list_files(link: &mut TrackerLink) -> Result<Vec<FileEntry>, LinkError> {
    let group = GroupName::public();
    let reply = link.request(&Request::ListFiles { group })?;
    Ok(FileEntry::list_from_reply(reply)?)
}

fn start_peer(tracker: TrackerAddress, folder: &Path) -> PeerShell {
    peers::start_peer_with(any_port(), vec![tracker], folder).0
}

#[test]
fn a_file_goes_its_way_with_a_tracker_inside_tls() {
    let _watchdog = watchdog(Duration::from_secs(120), "the download");
    let temp = tempfile::tempdir().unwrap();
    let tracker = start(|_| {});
    let at = line(tracker.local_addr(), key(&tracker));
    let mut seed = start_peer(at.clone(), &temp.path().join("seed"));
    let mut getter = start_peer(at.clone(), &temp.path().join("getter"));
    let file = make_file(temp.path(), "file.bin", 600_000);
    seed.run(&format!("upload_file {}", file.display()))
        .unwrap();
    let mut link = link(vec![at]);
    wait_until("the file is listed", || {
        let files = list_files(&mut link).unwrap();
        files.len() == 1 && files[0].seeders == 1
    });
    assert_eq!(link.connections(), 1, "requests share a connection");
    getter.run("download_file file.bin").unwrap();
    wait_until("the file is there", || {
        view(&getter).status == Status::Seeding
    });
    let got = getter.peer.folder().join("file.bin");
    assert_eq!(sha256(&got), sha256(&file));
}

#[test]
fn control_lines_and_http_are_answered_inside_tls_and_end_cleanly() {
    let tracker = start(|_| {});
    assert_eq!(
        said(secure(&tracker), b"ping\nquit\n"),
        "OK pong\nOK bye\n",
        "two lines in one record"
    );
    let announce = b"GET /announce?info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=-xx0001-abcdefghijkl&port=7&left=0&uploaded=0&downloaded=0 HTTP/1.0\r\n\r\n";
    let answer = say(secure(&tracker), announce);
    assert_eq!(AnnounceResponse::decode(body(&answer)).unwrap().complete, 1);
    // Two on one connection, the second byte by byte.
    let mut channel = secure(&tracker);
    let scrape = b"GET /scrape?info_hash=aaaaaaaaaaaaaaaaaaaa HTTP/1.1\r\nHost: x\r\n";
    channel.write_all(&[&scrape[..], b"\r\n"].concat()).unwrap();
    for byte in scrape {
        channel.write_all(&[*byte]).unwrap();
    }
    let answers = say(channel, b"Connection: close\r\n\r\n");
    let second = answers.windows(4).rposition(|bytes| bytes == b"HTTP");
    for answer in [&answers[..second.unwrap()], &answers[second.unwrap()..]] {
        let scraped = ScrapeResponse::decode(body(answer)).unwrap();
        assert_eq!(scraped.files[0].1.complete, 1);
    }
}

#[test]
fn plain_control_lines_are_refused_in_words_and_plain_http_is_not() {
    let tracker = start(|_| {});
    let refused = "ERR bad_request this tracker speaks TLS only: its line in tracker_info.txt needs its \
                   key, which `tracker --key` prints\n";
    assert_eq!(said(plain(&tracker), b"list_files public\n"), refused);
    assert_eq!(said(plain(&tracker), b"login bob secret\n"), refused);
    let scrape = b"GET /scrape?info_hash=aaaaaaaaaaaaaaaaaaaa HTTP/1.0\r\n\r\n";
    let answer = say(plain(&tracker), scrape);
    assert!(ScrapeResponse::decode(body(&answer)).is_ok());
    // So a peer's user reads it, too.
    let error = list_files(&mut link(vec![peers::named(tracker.local_addr())]));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("`tracker --key` prints"), "{error}");
}

#[test]
fn without_the_key_in_the_file_both_are_served() {
    let tracker = start(|config| config.tls_required = false);
    assert_eq!(said(plain(&tracker), b"ping\nquit\n"), "OK pong\nOK bye\n");
    assert_eq!(said(secure(&tracker), b"ping\nquit\n"), "OK pong\nOK bye\n");
}

#[test]
fn a_wrong_key_is_refused_in_words_and_the_next_tracker_is_tried() {
    let (one, two) = (start(|_| {}), start(|_| {}));
    let wrong = line(one.local_addr(), key(&two));
    let right = line(two.local_addr(), key(&two));
    let error = list_files(&mut link(vec![wrong.clone()])).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "no tracker can be reached: {}: the key in tracker_info.txt ({}) is not this \
             tracker's ({}): ask for its line, which `tracker --key` prints",
            one.local_addr(),
            key(&two),
            key(&one),
        )
    );
    let mut link = link(vec![wrong, right]);
    list_files(&mut link).unwrap();
    assert_eq!(link.address(), Some(two.local_addr()));
    wait_until("the tracker has let go", || connections(&one.stats()) == 0);
}

#[test]
fn a_tracker_without_tls_is_refused_by_a_peer_that_has_a_key() {
    let answers: [&[u8]; 3] = [b"OK pong\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b""];
    let why = ["does not speak TLS", "does not speak TLS", "closed"];
    for (answer, why) in answers.into_iter().zip(why) {
        let listener = TcpListener::bind(any_port()).unwrap();
        let at = line(listener.local_addr().unwrap(), TrackerKey([7; 32]));
        let tracker = std::thread::spawn(move || {
            let mut client = listener.accept().unwrap().0;
            let mut heard = vec![0; 4096];
            let got = client.read(&mut heard).unwrap();
            client.write_all(answer).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            heard.truncate(got);
            // Everything: closing with unread bytes would take back what was said.
            let _ = client.read_to_end(&mut heard);
            heard
        });
        let error = list_files(&mut link(vec![at])).unwrap_err().to_string();
        assert!(
            error.contains(why) && error.contains("`tracker --key` prints"),
            "{error}"
        );
        let heard = tracker.join().unwrap();
        assert!(!String::from_utf8_lossy(&heard).contains("list_files"));
    }
}

#[test]
fn who_is_not_served_hears_why_inside_tls() {
    let tracker = start(|config| config.connections_per_address = 1);
    let mut first = secure(&tracker);
    first.write_all(b"ping\n").unwrap();
    first.read_exact(&mut [0; 8]).unwrap();
    let refused = said(secure(&tracker), b"ping\n");
    assert!(refused.starts_with("ERR busy your address"), "{refused}");
    let refused = said(secure(&tracker), b"GET /stats HTTP/1.0\r\n\r\n");
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
}

/// What a client says first.
fn client_hello() -> Vec<u8> {
    let listener = TcpListener::bind(any_port()).unwrap();
    let address = listener.local_addr().unwrap();
    let client = std::thread::spawn(move || tls::connect(stream(address), [7; 32]).is_ok());
    let mut far = listener.accept().unwrap().0;
    let mut head = [0; 5];
    far.read_exact(&mut head).unwrap();
    let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
    let mut hello = vec![0; length];
    far.read_exact(&mut hello).unwrap();
    drop(far);
    assert!(!client.join().unwrap());
    [&head[..], &hello].concat()
}

fn wait_until_empty(tracker: &Tracker) {
    wait_until("nobody is connected", || connections(&tracker.stats()) == 0);
}

#[test]
fn half_a_hello_is_dropped_in_time_and_keeps_nobody_out() {
    let short = Duration::from_millis(500);
    let tracker = start(|config| {
        config.first_byte = short;
        config.poll = Duration::from_millis(20);
    });
    let hello = client_hello();
    let began = Instant::now();
    let mut slow: Vec<TcpStream> = (0..50).map(|_| plain(&tracker)).collect();
    for socket in &mut slow {
        socket.write_all(&hello[..hello.len() / 2]).unwrap();
    }
    assert_eq!(said(secure(&tracker), b"ping\nquit\n"), "OK pong\nOK bye\n");
    // One who goes on byte by byte is not better off.
    let mut trickle = plain(&tracker);
    let mut bytes = hello.iter();
    while began.elapsed() < DEADLINE {
        let Some(byte) = bytes.next() else { break };
        if trickle.write_all(&[*byte]).is_err() {
            break;
        }
        std::thread::sleep(short / 20);
    }
    assert!(bytes.len() > 0, "it was cut off before it was through");
    // Nor one who shakes hands and says nothing then.
    let mut silent = secure(&tracker);
    assert!(matches!(silent.read(&mut [0; 8]), Ok(0) | Err(_)));
    for socket in &mut slow {
        let _ = socket.read_to_end(&mut Vec::new());
    }
    wait_until_empty(&tracker);
}

/// Panics of threads that serve clients. Everybody in this program is counted.
static PANICS: AtomicUsize = AtomicUsize::new(0);

fn count_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let name = std::thread::current().name().map(str::to_string);
        if name.is_some_and(|name| name.starts_with("conn-")) {
            PANICS.fetch_add(1, Ordering::SeqCst);
        }
        usual(info);
    }));
}

#[test]
fn no_cut_or_damaged_hello_is_a_panic_or_a_wait() {
    count_panics();
    let tracker = start(|config| {
        config.first_byte = Duration::from_millis(500);
        config.poll = Duration::from_millis(20);
    });
    let hello = client_hello();
    println!("a hello has {} bytes", hello.len());
    // Those who wait with open ends, all at once.
    let waiting = (0..hello.len()).map(|cut| {
        let mut socket = plain(&tracker);
        socket.write_all(&hello[..cut]).unwrap();
        socket
    });
    let waiting: Vec<TcpStream> = waiting.collect();
    // Those who leave in the middle, and those whose bytes are damaged.
    for cut in 0..hello.len() {
        let mut socket = plain(&tracker);
        socket.write_all(&hello[..cut]).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        let mut damaged = hello.clone();
        damaged[cut] ^= 0xff;
        let mut socket = plain(&tracker);
        // It may have been refused before we are through.
        let _ = socket.write_all(&damaged);
        let _ = socket.shutdown(Shutdown::Write);
    }
    for mut socket in waiting {
        let mut answer = Vec::new();
        // A reset is an end as well; only a wait would be wrong.
        if let Err(error) = socket.read_to_end(&mut answer) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
    }
    wait_until_empty(&tracker);
    assert_eq!(said(secure(&tracker), b"ping\nquit\n"), "OK pong\nOK bye\n");
    assert_eq!(PANICS.load(Ordering::SeqCst), 0);
}

#[test]
fn a_stop_ends_what_waits_inside_tls_and_on_the_way_there() {
    let tracker = start(|_| {});
    let mut idle = secure(&tracker);
    idle.write_all(b"ping\n").unwrap();
    idle.read_exact(&mut [0; 8]).unwrap();
    let _shaken = secure(&tracker);
    let mut half = plain(&tracker);
    half.write_all(&client_hello()[..50]).unwrap();
    wait_until("all are there", || connections(&tracker.stats()) == 3);
    let began = Instant::now();
    tracker.stop();
    let took = began.elapsed();
    println!("stopped in {took:?}");
    // On Windows nothing wakes a reader: each looks at the stop every two seconds.
    assert!(took < Duration::from_secs(3), "{took:?}");

    // And on the side of a peer, whose tracker says nothing.
    let silent = TcpListener::bind(any_port()).unwrap();
    let stop = Stop::new();
    let socket = TcpStream::connect(silent.local_addr().unwrap()).unwrap();
    let poll = Duration::from_millis(50);
    let near = Stream::new(socket, stop.clone(), poll, DEADLINE * 100).unwrap();
    let shaking = std::thread::spawn(move || tls::connect(near, [7; 32]).err());
    stop.request();
    let ended = shaking.join().unwrap();
    assert!(matches!(ended, Some(TlsError::Io(_))), "{ended:?}");
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn tracker_command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracker"));
    command.current_dir(folder).env_remove("RUST_LOG");
    command
}

/// A tracker process in `folder`, and its line of tracker_info.txt.
fn start_process(folder: &Path) -> (Killed, String) {
    fs::create_dir_all(folder).unwrap();
    let info = folder.join("tracker_info.txt");
    fs::write(&info, free_port().to_string()).unwrap();
    let printed = tracker_command(folder).arg("--key").output().unwrap();
    let line = words(&printed.stdout);
    fs::write(&info, &line).unwrap();
    let mut child = tracker_command(folder)
        .arg("--no-prompt")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut listening = [0; 9];
    let said = child.stdout.as_mut().unwrap();
    said.read_exact(&mut listening).unwrap();
    assert_eq!(&listening, b"listening");
    (Killed(child), line)
}

fn words(output: &[u8]) -> String {
    String::from_utf8_lossy(output).trim_end().to_string()
}

/// The address and the key of a line.
fn parts(line: &str) -> (SocketAddr, TrackerKey) {
    let (address, key) = line.split_once(' ').unwrap();
    (address.parse().unwrap(), key.parse().unwrap())
}

#[test]
fn the_programs_find_each_other_by_the_line_that_is_printed() {
    let _watchdog = watchdog(Duration::from_secs(120), "the programs");
    let temp = tempfile::tempdir().unwrap();
    let (_tracker, line) = start_process(&temp.path().join("tracker"));
    let file = make_file(temp.path(), "file.bin", 100_000);
    let place = |name, line: &str| {
        let place = Place::new(temp.path(), name, &[]);
        fs::write(place.folder.join("tracker_info.txt"), line).unwrap();
        place
    };
    let mut seed = place("seed", &line).start(&[]);
    seed.type_line(&format!("upload_file {}", file.display()));
    let (address, key) = parts(&line);
    let mut link = link(vec![self::line(address, key)]);
    wait_until("the file is listed", || {
        list_files(&mut link).is_ok_and(|files| files.len() == 1)
    });
    let getters = place("getter", &line);
    let mut getter = getters.start(&[]);
    getter.type_line("list_files public");
    getter.line_with("file.bin");
    getter.type_line("download_file file.bin");
    let got = getters.download().join("file.bin");
    wait_until("the file is there", || got.exists());
    assert_eq!(sha256(&got), sha256(&file));

    // With the key of somebody else nothing is listed, and it is said why.
    let wrong = format!("{address} {}", "7".repeat(64));
    let mut lost = place("lost", &wrong).start(&[]);
    lost.type_line("list_files public");
    let why = lost.line_with("tracker_info.txt");
    assert!(why.contains("`tracker --key` prints"), "{why}");
}

#[test]
fn a_key_that_is_not_ours_ends_the_start_in_words() {
    let temp = tempfile::tempdir().unwrap();
    let info = temp.path().join("tracker_info.txt");
    fs::write(&info, "127.0.0.1:0").unwrap();
    let run = |args: &[&str]| -> Output {
        let mut command = tracker_command(temp.path());
        command.arg("tracker_info.txt").args(args).output().unwrap()
    };
    let line = words(&run(&["1", "--key"]).stdout);
    let (_, ours) = parts(&line);
    assert_eq!(line, format!("127.0.0.1:0 {ours}"));
    assert_eq!(words(&run(&["--key"]).stdout), line, "the same every time");
    assert!(temp.path().join("tracker-1.key").exists());

    let other = words(&run(&["--key", "--key-file", "other.key"]).stdout);
    assert_ne!(other, line);
    fs::write(&info, &other).unwrap();
    let refused = run(&["--no-prompt"]);
    assert!(!refused.status.success());
    let why = words(&refused.stderr);
    let (_, theirs) = parts(&other);
    for part in [&ours.to_string(), &theirs.to_string(), &line, "--key-file"] {
        assert!(why.contains(part), "{part} is not in: {why}");
    }
    assert_eq!(words(&run(&["--key"]).stdout), line, "what mends it");

    fs::write(temp.path().join("tracker-1.key"), "nonsense\n").unwrap();
    let refused = run(&["--key"]);
    assert!(!refused.status.success() && refused.stdout.is_empty());
    let why = words(&refused.stderr);
    assert!(
        why.contains("tracker-1.key is not a tracker's key"),
        "{why}"
    );
    let kept = fs::read_to_string(temp.path().join("tracker-1.key")).unwrap();
    assert_eq!(kept, "nonsense\n");
}

#[test]
#[cfg(target_os = "linux")]
fn a_thousand_idle_clients_inside_tls_take_little_memory() {
    const CLIENTS: u64 = 1000;
    /// For each, in bytes: what its thread's stack and its TLS state take, twice over.
    const MEMORY: u64 = 160 * 1024;
    if descriptors() < CLIENTS + 200 {
        peers::say(&format!(
            "SKIPPED: {CLIENTS} clients need `ulimit -n 2000`\n"
        ));
        assert!(std::env::var_os("CI").is_none());
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let (tracker, line) = start_process(temp.path());
    let (address, key) = parts(&line);
    let before = peers::memory(tracker.0.id());
    let began = Instant::now();
    let connect = |_| {
        let mut channel = tls::connect(stream(address), key.0).unwrap();
        channel.write_all(b"ping\n").unwrap();
        channel.read_exact(&mut [0; 8]).unwrap();
        channel
    };
    let mut idle: Vec<Channel> = (0..CLIENTS).map(connect).collect();
    let took = began.elapsed();
    let each = (peers::memory(tracker.0.id()) - before) / CLIENTS;
    println!(
        "{CLIENTS} clients inside TLS in {took:?}: {} KiB each, {} MiB before",
        each / 1024,
        before / 1024 / 1024
    );
    assert!(each < MEMORY, "{each} bytes each");
    for channel in idle.iter_mut().step_by(97) {
        channel.write_all(b"ping\n").unwrap();
        channel.read_exact(&mut [0; 8]).unwrap();
    }
}
