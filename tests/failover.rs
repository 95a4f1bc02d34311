//! Proves that trackers may die and peers go on: with the next one, with one inside a peer, or with
//! none at all; and that the user sees one line of it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use std::net::TcpStream;

use mini_bittorrent::control::frame::read_frame;
use mini_bittorrent::control::reply::{CATCHING_UP, Reply, TrackerEntry, TrackerState};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::support::peers::{
    Place, Program, any_port, free_port, make_file, sha256, wait_until, watchdog,
};
use crate::support::player::{at_a_pipe, play};

/// What a peer promises, with a tracker inside, too.
const END: Duration = Duration::from_secs(3);

/// Tracker processes with one tracker_info.txt.
struct TrackerProcesses {
    info: PathBuf,
    addresses: Vec<SocketAddr>,
    running: Vec<Option<Child>>,
}

impl TrackerProcesses {
    /// Names so many, and starts none.
    fn named(folder: &Path, count: usize) -> TrackerProcesses {
        fs::create_dir_all(folder).unwrap();
        // Held until all are chosen, so that they differ.
        let held: Vec<TcpListener> = (0..count)
            .map(|_| TcpListener::bind(any_port()).unwrap())
            .collect();
        let addresses: Vec<SocketAddr> = held.iter().map(|l| l.local_addr().unwrap()).collect();
        let info = folder.join("tracker_info.txt");
        let lines: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
        fs::write(&info, lines.join("\n") + "\n").unwrap();
        TrackerProcesses {
            info,
            running: addresses.iter().map(|_| None).collect(),
            addresses,
        }
    }

    fn all(folder: &Path, count: usize) -> TrackerProcesses {
        let mut trackers = TrackerProcesses::named(folder, count);
        (0..count).for_each(|index| trackers.start(index));
        trackers
    }

    fn start(&mut self, index: usize) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tracker"))
            .arg(&self.info)
            .arg((index + 1).to_string())
            .arg("--no-prompt")
            .env_remove("RUST_LOG")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut said).unwrap();
        assert!(said.starts_with("listening"), "tracker {index}: {said}");
        self.running[index] = Some(child);
    }

    /// SIGKILL, and gone when this returns.
    fn kill(&mut self, index: usize) {
        let mut child = self.running[index].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Whether every tracker says that all are in sync, and know the same.
    fn in_sync(&self) -> bool {
        let good = |entry: &TrackerEntry| {
            [TrackerState::Itself, TrackerState::InSync].contains(&entry.state)
        };
        let lists = self.addresses.iter().map(|address| list(*address));
        lists.into_iter().all(|list| {
            let same = |pair: &[TrackerEntry]| pair[0].digest == pair[1].digest;
            list.len() == self.addresses.len() && list.iter().all(good) && list.windows(2).all(same)
        })
    }

    /// Kills trackers at random moments, mostly the one that is used, and starts them again, until
    /// told to stop. One that knows everything is always left. Returns how many it has killed.
    fn torment(&mut self, rng: &mut StdRng, stop: &AtomicBool) -> u32 {
        let mut killed = 0;
        while !stop.load(Ordering::SeqCst) {
            nap(rng, 250);
            let victims: &[usize] = match rng.random_range(0..4) {
                0 => &[0, 1],
                1 => &[1],
                _ => &[0],
            };
            for &victim in victims {
                self.kill(victim);
                killed += 1;
                nap(rng, 200);
            }
            nap(rng, 300);
            victims.iter().for_each(|victim| self.start(*victim));
            wait_until("the trackers are in sync again", || self.in_sync());
        }
        killed
    }

    fn place(&self, temp: &Path, name: &str) -> Place {
        Place::new(temp, name, &self.addresses)
    }
}

impl Drop for TrackerProcesses {
    fn drop(&mut self) {
        for child in self.running.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn nap(rng: &mut StdRng, longest: u64) {
    std::thread::sleep(Duration::from_millis(rng.random_range(0..longest)));
}

/// What a tracker says of all; nothing if it does not answer.
fn list(address: SocketAddr) -> Vec<TrackerEntry> {
    let ask = || {
        let mut socket = TcpStream::connect(address).ok()?;
        socket.set_read_timeout(Some(END)).ok()?;
        socket.write_all(b"trackers\n").ok()?;
        let frame = read_frame(&mut BufReader::new(socket)).ok()??;
        TrackerEntry::list_from_reply(Reply::parse(frame).ok()?).ok()
    };
    ask().unwrap_or_default()
}

/// Types a command again and again until it prints a line with this text.
fn type_until(peer: &mut Program, command: &str, text: &str) {
    let since = Instant::now();
    wait_until(&format!("{command} prints {text}"), || {
        assert!(since.elapsed() < END * 10, "no {text}: {}", peer.said());
        let before = count(peer, text);
        peer.type_line(command);
        let until = Instant::now() + Duration::from_millis(500);
        while count(peer, text) == before && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        count(peer, text) > before
    });
}

/// How many lines with this text it has printed.
fn count(peer: &Program, text: &str) -> usize {
    peer.said()
        .lines()
        .filter(|line| line.contains(text))
        .count()
}

#[test]
fn the_next_tracker_takes_over_and_the_user_is_told_once() {
    let _watchdog = watchdog(Duration::from_secs(120), "the next tracker");
    let temp = tempfile::tempdir().unwrap();
    let mut trackers = TrackerProcesses::all(&temp.path().join("trackers"), 2);
    let [first, second] = [trackers.addresses[0], trackers.addresses[1]];
    let file = make_file(temp.path(), "file.bin", 300_000);
    let mut seed = trackers.place(temp.path(), "seed").start(&[]);
    let getters = trackers.place(temp.path(), "getter");
    let mut getter = getters.start(&[]);
    seed.type_line(&format!("upload_file {}", file.display()));
    seed.line_with("uploaded successfully");
    type_until(&mut getter, "list_files", "file.bin");

    trackers.kill(0);
    // Without a command, too, the peer finds out and offers its share to the next one.
    let dead = format!("tracker {first} does not answer; going on with {second}");
    type_until(&mut getter, "list_files", "file.bin");
    getter.type_line("info");
    getter.line_with(&format!("{first}, {second} (in use)"));
    getter.type_line("download_file file.bin");
    getter.line_with("file.bin is complete");
    assert_eq!(sha256(&getters.download().join("file.bin")), sha256(&file));
    seed.type_line("list_files");
    seed.line_with("file.bin");

    trackers.start(0);
    let back = format!("tracker {first} answers again");
    for peer in [&seed, &getter] {
        wait_until("the first is used again", || count(peer, &back) == 1);
    }
    type_until(&mut getter, "list_files", "file.bin");
    getter.type_line("info");
    getter.line_with(&format!("{first} (in use), {second}"));
    for mut peer in [seed, getter] {
        peer.type_line("quit");
        assert!(peer.ended(END).success());
        let about_trackers = count(&peer, &format!("tracker {first}"));
        assert_eq!(count(&peer, &dead), 1, "{}", peer.said());
        assert_eq!(about_trackers, 2, "{}", peer.said());
    }
}

#[test]
fn a_download_goes_on_while_all_trackers_are_dead() {
    let _watchdog = watchdog(Duration::from_secs(120), "a download without trackers");
    let temp = tempfile::tempdir().unwrap();
    let mut trackers = TrackerProcesses::all(&temp.path().join("trackers"), 2);
    let file = make_file(temp.path(), "file.bin", 12 << 20);
    let mut seed = trackers.place(temp.path(), "seed").start(&[]);
    let getters = trackers.place(temp.path(), "getter");
    let mut getter = getters.start(&[]);
    seed.type_line(&format!("upload_file {}", file.display()));
    seed.line_with("uploaded successfully");
    getter.type_line("limit down 2M");
    getter.type_line("download_file file.bin");
    getter.line_with("Downloading");
    type_until(&mut getter, "show_peers", "has ");
    trackers.kill(0);
    trackers.kill(1);
    getter.type_line("list_files");
    getter.line_with("no tracker can be reached");
    // It says what each of them is, as far as it knows.
    getter.type_line("trackers");
    for address in &trackers.addresses {
        getter.line(&address.to_string(), |line| {
            line.contains(&address.to_string()) && line.contains("unreachable")
        });
    }
    getter.type_line("limit down off");
    getter.line_with("file.bin is complete");
    assert_eq!(sha256(&getters.download().join("file.bin")), sha256(&file));
    assert_eq!(count(&getter, "no tracker answers"), 1, "{}", getter.said());
    // One comes back; by itself, everybody is there again.
    trackers.start(1);
    let back = format!("tracker {} answers again", trackers.addresses[1]);
    wait_until("it is used", || count(&getter, &back) == 1);
    type_until(&mut getter, "list_files", "file.bin");
}

#[test]
fn the_hosting_peer_is_killed_and_the_next_takes_over() {
    let _watchdog = watchdog(Duration::from_secs(120), "hosting peers");
    let temp = tempfile::tempdir().unwrap();
    let trackers = TrackerProcesses::named(&temp.path().join("trackers"), 3);
    let [first, second, _] = [0, 1, 2].map(|index| trackers.addresses[index]);
    let place = |name| trackers.place(temp.path(), name);
    let one = place("one").start(&["--with-tracker", "1"]);
    one.line_with(&format!(
        "Tracker 1 runs in this program until it ends: {first}"
    ));
    let mut two = place("two").start(&["--with-tracker", "2"]);
    two.line_with("Tracker 2 runs in this program");
    let mut three = place("three").start(&[]);
    let file = make_file(temp.path(), "file.bin", 100_000);
    three.type_line(&format!("upload_file {}", file.display()));
    three.line_with("uploaded successfully");
    // While the first one catches up with the second, the second is used.
    let in_use = format!("{first} (in use)");
    type_until(&mut three, "info", &in_use);
    type_until(&mut two, "info", &in_use);
    type_until(&mut two, "list_files", "file.bin");
    one.kill_9();
    type_until(&mut two, "list_files", "file.bin");
    let dead = format!("tracker {first} does not answer; going on with {second}");
    wait_until("all are told", || {
        three.type_line("list_files");
        count(&three, &dead) == 1 && count(&two, &dead) == 1
    });
    // It ends in time with the tracker inside.
    two.type_line("quit");
    assert!(two.ended(END).success(), "{}", two.said());
}

#[test]
fn a_peer_without_a_tracker_can_run_one() {
    let _watchdog = watchdog(Duration::from_secs(120), "host_tracker");
    let temp = tempfile::tempdir().unwrap();
    let trackers = TrackerProcesses::named(&temp.path().join("unused"), 2);
    let [first, second] = [trackers.addresses[0], trackers.addresses[1]];
    // Both peers work in one folder, as far as the trackers are concerned.
    let place = trackers.place(temp.path(), "one");
    let mut one = place.start(&[]);
    let offer = one.line_with("no tracker answers");
    assert!(offer.contains("host_tracker"), "{offer}");
    one.type_line("host_tracker 3");
    one.line_with("names 2 tracker(s); there is no number 3");
    one.type_line("host_tracker");
    one.line_with(&format!(
        "Tracker 1 runs in this program until it ends: {first}"
    ));
    one.line_with(&format!("tracker {first} answers again"));
    assert!(place.folder.join("tracker-1.db").exists());
    assert!(place.folder.join("tracker-1.key").exists());
    one.type_line("host_tracker");
    one.line_with("Tracker 1 runs in this program already");
    one.type_line("create_user alice wonderland");
    one.line_with("User created!");

    let mut two = place.start(&["--download", "other"]);
    two.type_line("host_tracker 1");
    two.line_with("is a tracker or peer running at");
    two.type_line("login alice wonderland");
    two.line_with("Logged in successfully");
    two.type_line("host_tracker");
    two.line_with(&format!(
        "Tracker 2 runs in this program until it ends: {second}"
    ));
    two.type_line("host_tracker 1");
    two.line_with("Tracker 2 runs in this program already");
    // The same files elsewhere are the same tracker: it is not run twice.
    let elsewhere = free_port();
    let lines = format!("{elsewhere}\n{second}\n");
    fs::write(place.folder.join("tracker_info.txt"), lines).unwrap();
    let mut again = place.start(&["--download", "third", "--with-tracker", "1"]);
    again.line_with("another tracker uses");
    assert!(!again.ended(END).success());

    for mut peer in [two, one] {
        peer.signal("TERM");
        assert!(peer.ended(END).code().is_some(), "{}", peer.said());
        assert!(!peer.said().contains("panicked"), "{}", peer.said());
    }
    // What it knew is in its file: the tracker program goes on with it.
    fs::write(place.folder.join("tracker_info.txt"), format!("{first}\n")).unwrap();
    let mut one = place.start(&["--with-tracker", "1"]);
    one.type_line("login alice wonderland");
    one.line_with("Logged in successfully");
}

#[test]
fn a_tracker_that_is_added_to_the_file_is_used_after_reload() {
    let _watchdog = watchdog(Duration::from_secs(60), "reload");
    let temp = tempfile::tempdir().unwrap();
    let trackers = TrackerProcesses::all(&temp.path().join("trackers"), 1);
    let living = trackers.addresses[0];
    let place = Place::new(temp.path(), "peer", &[free_port()]);
    let mut peer = place.start(&[]);
    peer.line_with("no tracker answers");
    peer.type_line("reload");
    peer.line_with("the same 1 tracker(s)");
    fs::write(place.folder.join("tracker_info.txt"), format!("{living}\n")).unwrap();
    peer.type_line("reload");
    peer.line_with("names 1 tracker(s): 1 new, 1 gone");
    peer.line_with(&format!("tracker {living} answers again"));
    peer.type_line("trackers");
    peer.line("itself", |line| {
        line.contains(&living.to_string()) && line.contains("answers") && line.contains("used here")
    });
    peer.type_line("list_files");
    peer.line_with("No files");
    fs::write(place.folder.join("tracker_info.txt"), "what is this\n").unwrap();
    peer.type_line("reload");
    peer.line_with("line 1, column");
    peer.type_line("list_files");
    peer.line_with("No files");
}

/// The seed of chance is printed, and is MINI_SEED if that is set.
fn seed() -> u64 {
    let set = std::env::var("MINI_SEED").ok();
    let seed = set.and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| rand::rng().random());
    println!("MINI_SEED={seed}");
    seed
}

/// The transcript is played, each time with new trackers, until so many were killed.
const KILLED: u32 = 8;

#[test]
fn the_life_of_two_groups_while_trackers_are_killed() {
    let _watchdog = watchdog(Duration::from_secs(240), "killing trackers");
    let mut rng = StdRng::seed_from_u64(seed());
    let (mut killed, mut plays) = (0, 0);
    while killed < KILLED {
        killed += play_while_killing(&mut rng);
        plays += 1;
    }
    println!("{killed} trackers were killed in {plays} plays");
}

fn play_while_killing(rng: &mut StdRng) -> u32 {
    let temp = tempfile::tempdir().unwrap();
    let mut trackers = TrackerProcesses::all(temp.path(), 3);
    wait_until("the trackers are in sync", || trackers.in_sync());
    let info = fs::read_to_string(&trackers.info).unwrap();
    let besides = [
        "tracker 127.0.0.1:… does not answer; going on with 127.0.0.1:…",
        "tracker 127.0.0.1:… is catching up; going on with 127.0.0.1:…",
        "tracker 127.0.0.1:… answers again",
    ];
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let tormenting = scope.spawn(|| trackers.torment(rng, &stop));
        let playing = scope.spawn(|| play("groups.txt", &info, at_a_pipe, &besides));
        let played = playing.join();
        stop.store(true, Ordering::SeqCst);
        let killed = tormenting.join().unwrap();
        for (who, lines) in played.unwrap() {
            // Every line is of a change: none is said twice in a row.
            for pair in lines.windows(2) {
                assert_ne!(pair[0], pair[1], "{who} was told twice: {lines:#?}");
            }
        }
        killed
    })
}

/// A tracker that answers what it is told to, one line a connection, and hands back what it read.
struct Scripted {
    address: SocketAddr,
    thread: std::thread::JoinHandle<Vec<String>>,
}

impl Scripted {
    /// An empty answer closes the connection. Questions of the peer itself are not counted.
    fn start(answers: &'static [&'static str]) -> Scripted {
        let listener = TcpListener::bind(any_port()).unwrap();
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let mut heard = Vec::new();
            for answer in answers {
                'connections: loop {
                    let mut socket = listener.accept().unwrap().0;
                    let mut reader = BufReader::new(socket.try_clone().unwrap());
                    loop {
                        let mut line = String::new();
                        if reader.read_line(&mut line).unwrap_or(0) == 0 {
                            break;
                        }
                        if ["ping", "trackers"].contains(&line.trim()) {
                            let _ = socket.write_all(b"OK 0\n");
                            continue;
                        }
                        // It has one thread, which must not wait for a stream.
                        if line.starts_with("subscribe") {
                            let _ = socket.write_all(b"ERR busy no streams here\n");
                            continue 'connections;
                        }
                        heard.push(line.trim().to_string());
                        let _ = socket.write_all(answer.as_bytes());
                        break 'connections;
                    }
                }
            }
            heard
        });
        Scripted { address, thread }
    }
}

/// The connection breaks after the command was sent, twice: it carries the same number each time,
/// and the next command another one.
#[test]
fn an_interrupted_command_is_sent_again_with_its_number() {
    let _watchdog = watchdog(Duration::from_secs(60), "numbers of commands");
    let temp = tempfile::tempdir().unwrap();
    let first = Scripted::start(&["", ""]);
    let behind = Scripted::start(&["ERR busy catching up with others\n"; 2]);
    let last = Scripted::start(&["OK User created!\n", "OK User created!\n"]);
    let addresses = [&first, &behind, &last].map(|tracker| tracker.address);
    let mut peer = Place::new(temp.path(), "peer", &addresses).start(&[]);
    assert!("catching up with others".starts_with(CATCHING_UP));
    for user in ["alice", "bob"] {
        peer.type_line(&format!("create_user {user} wonderland"));
        peer.line_with("User created!");
    }
    peer.type_line("quit");
    assert!(peer.ended(END).success());
    drop(peer);
    let numbers = |scripted: Scripted| {
        // Whoever was asked less often waits for one more.
        for _ in 0..2 {
            if let Ok(mut socket) = std::net::TcpStream::connect(scripted.address) {
                let _ = socket.write_all(b"end\n");
            }
        }
        let lines = scripted.thread.join().unwrap();
        let number = |user: &str| -> Vec<String> {
            let of = lines.iter().filter(|line| line.contains(user));
            of.map(|line| line.split(' ').next().unwrap().to_string())
                .collect()
        };
        [number("alice"), number("bob")]
    };
    let [alice, bob] = numbers(last);
    assert!(
        alice[0].starts_with('@') && alice[0].len() == 33,
        "{alice:?}"
    );
    assert_ne!(alice, bob);
    for scripted in [first, behind] {
        let [one, two] = numbers(scripted);
        assert!(!one.is_empty(), "alice was asked for there");
        assert!(one.iter().all(|number| *number == alice[0]), "{one:?}");
        assert!(two.iter().all(|number| *number == bob[0]), "{two:?}");
    }
}
