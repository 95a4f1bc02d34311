//! Proves that starting and stopping trackers and peers leaves no thread behind. Alone in its
//! program: it counts all threads there are.
#![cfg(target_os = "linux")]

// It needs little of it.
#[allow(dead_code)]
#[path = "support/peers.rs"]
mod peers;

use std::fs;
use std::time::Duration;

use mini_bittorrent::peer::view::Status;

use peers::{make_file, start_peer, start_tracker, view, wait_until, watchdog};

fn thread_names() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let name = |task: std::io::Result<fs::DirEntry>| {
        let comm = task.ok()?.path().join("comm");
        Some(fs::read_to_string(comm).ok()?.trim().to_string())
    };
    let mut names: Vec<String> = tasks.filter_map(name).collect();
    names.sort();
    names
}

/// A tracker, a seed and a downloader that fetches a file; both also announce by HTTP, to a
/// tracker by name (so that it is looked up) and to one that does not answer.
fn a_short_life(round: usize) {
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let at = tracker.local_addr();
    let mut seed = start_peer(&[at], &temp.path().join("seed"));
    let mut getter = start_peer(&[at], &temp.path().join("getter"));
    let file = make_file(temp.path(), "file.bin", 600_000);
    if round.is_multiple_of(2) {
        seed.run("watch files").unwrap();
        seed.run(&format!("upload_file {}", file.display()))
            .unwrap();
        getter.run("download_file file.bin").unwrap();
        wait_until("the file is there", || {
            view(&getter).status == Status::Seeding
        });
    } else {
        let silent = std::net::TcpListener::bind(peers::any_port()).unwrap();
        let names = [
            format!("http://localhost:{}/announce", at.port()),
            format!("http://{}/announce", silent.local_addr().unwrap()),
            format!("https://localhost:{}/announce", at.port()),
        ];
        let made = peers::torrent_of(&file, &names);
        let torrent = temp.path().join("file.bin.torrent");
        fs::write(&torrent, made).unwrap();
        fs::create_dir_all(seed.peer.folder()).unwrap();
        fs::copy(&file, seed.peer.folder().join("file.bin")).unwrap();
        for shell in [&mut seed, &mut getter] {
            shell.run(&format!("add {}", torrent.display())).unwrap();
        }
        wait_until("the file is there", || {
            view(&getter).status == Status::Seeding
        });
    }
    // Either may be the first to go.
    if round.is_multiple_of(3) {
        tracker.stop();
        drop((seed, getter));
    } else {
        drop((getter, seed));
        tracker.stop();
    }
}

#[test]
fn fifty_lives_leave_no_thread() {
    let _watchdog = watchdog(Duration::from_secs(180), "fifty lives");
    let before = thread_names();
    for round in 0..50 {
        a_short_life(round);
        // A thread that was joined may stand in the list for another moment.
        wait_until(&format!("no thread is left after round {round}"), || {
            let now = thread_names();
            if now.len() > before.len() {
                println!("{now:?}");
            }
            now.len() <= before.len()
        });
    }
}
