//! Proves that a download outlives the death of everybody in it: real processes, killed with
//! SIGKILL in the middle and started again.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use mini_bittorrent::peer::view::Status;

use crate::support::peers::{
    self, Place, Program, free_port, make_file, sha256, start_peer, start_tracker, view,
    wait_until, watchdog,
};

const SIZE: u64 = 48 << 20;
const BLOCK: u64 = 16 << 10;

/// A seed as a process, which serves `file` at the same address at every start.
fn seed_place(temp: &Path, tracker: SocketAddr) -> Place {
    let listen = free_port();
    Place {
        listen,
        ..Place::new(temp, "seed", &[tracker])
    }
}

/// The first run shares the file; what follows serves what the first remembers.
fn start_seed(place: &Place, file: &Path) -> Program {
    let upload = format!("upload_file \"{}\"", file.display());
    let mut first = place.start(&["-c", &upload]);
    assert!(first.ended(Duration::from_secs(60)).success());
    restart_seed(place)
}

fn restart_seed(place: &Place) -> Program {
    let seed = place.start(&["--no-prompt"]);
    seed.line_with("listening on");
    seed
}

/// `printf 'download_file big.bin\nwait\nquit\n' | peer ...`, slow enough to be caught in the
/// middle; every request is logged.
fn start_download(place: &Place, limit: &str) -> Program {
    let mut command = place.command(&[]);
    command.env("RUST_LOG", "hop=trace");
    let mut peer = Program::start(command);
    for line in [
        &format!("limit down {limit}"),
        "download_file big.bin",
        "wait",
        "quit",
    ] {
        peer.type_line(line);
    }
    peer.close_stdin();
    peer
}

/// How much was asked for, in bytes: at least what was fetched, also by one who was killed.
fn asked(said: &str) -> u64 {
    let requests = said
        .lines()
        .filter(|line| line.contains(": asking for block"));
    requests.count() as u64 * BLOCK
}

/// The highest percentage of pieces that are there, told while `state` is not being checked.
fn last_percent(said: &str) -> u64 {
    let lines = said.lines().filter(|line| line.starts_with("big.bin"));
    let downloading = lines.filter(|line| !line.contains("checking"));
    downloading.filter_map(peers::percent_of).max().unwrap_or(0)
}

#[test]
fn seed_and_downloader_are_killed_and_started_again() {
    let _watchdog = watchdog(Duration::from_secs(120), "the killed download");
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let at = tracker.local_addr();
    let file = make_file(temp.path(), "big.bin", SIZE as usize);
    let seeds = seed_place(temp.path(), at);
    let seed = start_seed(&seeds, &file);

    let place = Place::new(temp.path(), "getter", &[at]);
    let getter = start_download(&place, "3M");
    getter.percent(20);
    seed.kill_9();
    let seed = restart_seed(&seeds);
    let had = getter.percent(50);
    let first = getter.kill_9();

    // The same once more: what is there is looked at, nothing begins from the beginning.
    let mut getter = start_download(&place, "100M");
    let status = getter.ended(Duration::from_secs(60));
    let second = getter.said();
    assert!(status.success(), "{second}");
    assert!(last_percent(&second) >= had, "{second}");
    let total = asked(&first) + asked(&second);
    println!(
        "killed at {had} %; asked for {:.1} MB, then for {:.1} MB, of {:.1} MB: {:.3} times the file",
        asked(&first) as f64 / 1e6,
        asked(&second) as f64 / 1e6,
        SIZE as f64 / 1e6,
        total as f64 / SIZE as f64
    );
    assert!(
        total >= SIZE,
        "every block was asked for, so the log was read rightly"
    );
    assert!(total < SIZE * 12 / 10, "{total} bytes asked for");
    assert_eq!(sha256(&place.download().join("big.bin")), sha256(&file));
    drop(seed);
}

#[test]
fn after_a_clean_stop_nothing_is_hashed_again() {
    let _watchdog = watchdog(Duration::from_secs(90), "the stopped download");
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let at = tracker.local_addr();
    let mut seed = start_peer(&[at], &temp.path().join("seed"));
    let file = make_file(temp.path(), "big.bin", SIZE as usize);
    seed.run(&format!("upload_file \"{}\"", file.display()))
        .unwrap();
    let place = Place::new(temp.path(), "getter", &[at]);
    let mut getter = start_download(&place, "8M");
    let had = getter.percent(40);
    getter.signal("TERM");
    getter.ended(Duration::from_secs(3));
    let first = getter.said();

    // In this process, so that the status can be seen from the first moment on.
    let getter = start_peer(&[at], &place.folder);
    let mut seen = Vec::new();
    wait_until("the rest comes", || {
        let now = view(&getter);
        assert!(
            now.percent() >= had,
            "{} %, it was at {had} %",
            now.percent()
        );
        if seen.last() != Some(&now.status) {
            seen.push(now.status.clone());
        }
        now.status == Status::Seeding
    });
    let checked = |status: &Status| matches!(status, Status::Checking { .. });
    assert!(!seen.iter().any(checked), "{seen:?}");
    let got = view(&getter).downloaded;
    println!("stopped at {had} %; {got} bytes got in both runs of {SIZE}");
    assert!(got < SIZE * 11 / 10, "{got}");
    assert!(asked(&first) < SIZE);
    assert_eq!(sha256(&place.download().join("big.bin")), sha256(&file));
}

/// The last moment to be killed in: all is there and not yet in its place.
#[test]
fn killed_again_and_again_it_comes_to_its_end() {
    let _watchdog = watchdog(Duration::from_secs(120), "the often killed download");
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let at = tracker.local_addr();
    let mut seed = start_peer(&[at], &temp.path().join("seed"));
    let file = make_file(temp.path(), "big.bin", 16 << 20);
    seed.run(&format!("upload_file \"{}\"", file.display()))
        .unwrap();
    let place = Place::new(temp.path(), "getter", &[at]);
    let got = place.download().join("big.bin");
    let mut getter = start_download(&place, "16M");
    // Every time a little later, until there is nothing left to kill.
    let mut lives = 1;
    let mut pause = Duration::from_millis(300);
    while !got.exists() {
        let since = Instant::now();
        wait_until("the next kill", || since.elapsed() > pause || got.exists());
        getter.kill_9();
        getter = start_download(&place, "16M");
        lives += 1;
        pause += Duration::from_millis(100);
    }
    assert!(
        getter.ended(Duration::from_secs(60)).success(),
        "{}",
        getter.said()
    );
    println!("{lives} lives");
    assert!(lives > 2);
    assert_eq!(sha256(&got), sha256(&file));
    let parts = fs::read_dir(place.download()).unwrap();
    let parts = parts.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().ends_with(".part")
    });
    assert_eq!(parts.count(), 0);
}
