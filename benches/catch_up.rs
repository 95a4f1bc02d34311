//! How fast a tracker with an empty database catches up with one that knows 100,000 facts, and how
//! much memory it takes: two processes on this machine.
//!
//! `make bench-sync`. It fails if it takes longer than [`LONGEST`] or more memory than [`MOST`].

use std::fs;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mini_bittorrent::control::frame::read_frame;
use mini_bittorrent::control::reply::{Reply, TrackerEntry, TrackerState};
use mini_bittorrent::control::stamp::{Clock, GroupId, UserId};
use mini_bittorrent::registry::batch::Batch;
use mini_bittorrent::registry::fact::{Entry, Fact, Membership};
use mini_bittorrent::tracker::store::database::Database;

/// Facts, unless the environment says otherwise.
const FACTS: usize = 100_000;
/// What is promised.
const LONGEST: Duration = Duration::from_secs(10);
const MOST: u64 = 200 * 1024 * 1024;

fn main() {
    let facts = std::env::var("MINI_BENCH_FACTS").ok();
    let facts = facts.and_then(|value| value.parse().ok()).unwrap_or(FACTS);
    let temp = tempfile::tempdir().expect("a folder");
    let free = || TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let addresses = [free().expect("a port"), free().expect("a port")];
    let list = temp.path().join("tracker_info.txt");
    let lines = addresses.map(|at| format!("{at}\n")).concat();
    fs::write(&list, lines).expect("the list is written");
    fill(&temp.path().join("tracker-1.db"), facts);
    let _first = start(&list, 1);
    let known = wait_for(addresses[0], |rows| rows[0].facts == facts as u64);

    let since = Instant::now();
    let second = start(&list, 2);
    wait_for(addresses[1], |rows| {
        rows[1].digest == known[0].digest && rows[1].state == TrackerState::Itself
    });
    let took = since.elapsed();
    let peak = peak_memory(second.0.id());
    println!(
        "{facts} facts: caught up in {:.1} s (from the start of the process), {} MiB at most",
        took.as_secs_f64(),
        peak >> 20
    );
    if took > LONGEST || peak > MOST {
        println!("that is more than {LONGEST:?} or {} MiB", MOST >> 20);
        std::process::exit(1);
    }
}

/// A tracker's file: users with passwords, groups of ten, their members.
fn fill(path: &Path, facts: usize) {
    let mut database = Database::open(Some(path)).expect("a new database");
    // A day ago.
    let now = std::time::UNIX_EPOCH
        .elapsed()
        .expect("a clock")
        .as_millis() as u64;
    let mut clock = Clock::new(1, 0);
    let mut entries = Vec::new();
    let (mut user, mut group) = (None, None);
    while entries.len() < facts {
        let stamp = clock.stamp(now - 24 * 3600 * 1000);
        let n = entries.len();
        let fact = match (n % 3, user, group) {
            (0, _, _) | (_, None, _) => {
                user = Some(UserId(stamp));
                let name = format!("user{n}").parse().expect("letters and digits");
                Fact::User {
                    id: UserId(stamp),
                    name,
                }
            }
            (1, Some(user), _) => {
                // As long as those that Argon2 writes.
                let hash = format!("$argon2id$v=19$m=19456,t=2,p=1${n:022}${n:043}");
                Fact::Password { user, hash }
            }
            (_, Some(by), _) if n % 30 == 2 => {
                group = Some(GroupId(stamp));
                let name = format!("group{n}").parse().expect("letters and digits");
                Fact::Group {
                    id: GroupId(stamp),
                    name,
                    by,
                }
            }
            (_, Some(user), group) => Fact::Member {
                group: group.unwrap_or(GroupId(stamp)),
                user,
                membership: Membership::Member,
            },
        };
        entries.push(Entry { stamp, fact });
    }
    let batch = Batch {
        versions: entries.iter().map(|entry| entry.stamp).collect(),
        entries,
        ..Batch::default()
    };
    database.write(&batch).expect("room on the disk");
}

/// Killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(list: &Path, number: usize) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracker"));
    command.arg(list).arg(number.to_string()).arg("--no-prompt");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    Running(command.spawn().expect("the tracker starts"))
}

fn wait_for(at: SocketAddr, is: impl Fn(&[TrackerEntry]) -> bool) -> Vec<TrackerEntry> {
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        match rows(at) {
            Some(rows) if is(&rows) => return rows,
            rows if Instant::now() > until => panic!("it takes too long: {rows:?}"),
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn rows(at: SocketAddr) -> Option<Vec<TrackerEntry>> {
    let mut socket = TcpStream::connect(at).ok()?;
    socket.write_all(b"trackers\n").ok()?;
    let frame = read_frame(&mut BufReader::new(socket)).ok()??;
    TrackerEntry::list_from_reply(Reply::parse(frame).ok()?).ok()
}

/// In bytes; 0 where the system does not say.
fn peak_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
