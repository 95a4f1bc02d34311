//! How fast a group's torrent travels, inside Noise and among members, compared with a public one:
//! the same file, one seed, one downloader, over loopback, in turns.
//!
//! `make bench-noise`. It fails if the group's rate is below [`LEAST`] of the plain one.

// It needs little of it.
#[allow(dead_code)]
#[path = "../tests/support/groups.rs"]
mod groups;

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use mini_bittorrent::peer::view::Status;
use mini_bittorrent::torrent::metainfo::Metainfo;

use groups::{GroupTracker, Member};

/// Runs of each kind, and MiB of each run, unless the environment says otherwise.
const RUNS: usize = 5;
const MIB: usize = 512;
/// The least that the group's rate must be of the plain one.
const LEAST: f64 = 0.6;

const PUBLIC: u64 = 0;
const GROUP: u64 = 1;

fn main() {
    let setting = |name: &str, default: usize| {
        let value = std::env::var(name).ok();
        value
            .and_then(|value| value.parse().ok())
            .unwrap_or(default)
    };
    let (runs, size) = (
        setting("MINI_BENCH_RUNS", RUNS),
        setting("MINI_BENCH_MIB", MIB) << 20,
    );
    let temp = tempfile::tempdir().expect("a folder");
    let tracker = GroupTracker::start(600);
    tracker.add_member("alice", GROUP);
    tracker.add_member("bob", GROUP);
    let alice = Member::start(&tracker, "alice", temp.path(), true);
    let file = temp.path().join("file.bin");
    write_random(&file, size).expect("room for the file");
    let torrents = [PUBLIC, GROUP].map(|group| (group, alice.share(&file, group)));
    // The first one finds memory that nobody has touched before, and the disk busy.
    download(&tracker, temp.path(), &torrents[0].1, PUBLIC);
    println!("{} MiB, {runs} runs of each, MB/s", size >> 20);
    let mut rates = [Vec::new(), Vec::new()];
    for run in 1..=runs {
        for (rates, (group, torrent)) in rates.iter_mut().zip(&torrents) {
            rates.push(download(&tracker, temp.path(), torrent, *group));
        }
        let last = rates.each_ref().map(|rates| rates[run - 1]);
        println!("run {run}: plain {:7.1}   group {:7.1}", last[0], last[1]);
    }
    let [plain, group] = rates.map(median);
    let ratio = group / plain;
    println!(
        "median: plain {plain:.1}, group {group:.1}: {:.0} %",
        ratio * 100.0
    );
    if ratio < LEAST {
        println!("that is below {:.0} %", LEAST * 100.0);
        std::process::exit(1);
    }
}

/// One download by a fresh peer, in MB/s from its first piece to its last.
fn download(tracker: &GroupTracker, temp: &Path, torrent: &Arc<Metainfo>, group: u64) -> f64 {
    let bob = Member::start(tracker, "bob", temp, true);
    bob.download(torrent, group);
    let (mut began, mut before) = (Instant::now(), 0);
    loop {
        let view = bob.view(torrent);
        if before == 0 {
            (began, before) = (Instant::now(), view.have);
        }
        if view.have == view.size {
            let rate = (view.size - before) as f64 / began.elapsed().as_secs_f64() / 1e6;
            while bob.view(torrent).status != Status::Seeding {
                std::thread::sleep(Duration::from_millis(10));
            }
            drop(bob);
            let _ = std::fs::remove_dir_all(temp.join("bob"));
            return rate;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// Bytes that no file system shares between two files.
fn write_random(path: &Path, size: usize) -> io::Result<()> {
    let mut rng = StdRng::seed_from_u64(1);
    let mut file = std::fs::File::create(path)?;
    let mut block = vec![0; 1 << 20];
    for _ in 0..size >> 20 {
        rng.fill_bytes(&mut block);
        file.write_all(&block)?;
    }
    file.sync_all()
}
