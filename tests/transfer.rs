//! Proves the main job inside one process: a tracker and peers on free ports, real files.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mini_bittorrent::control::command::{Kind, Place, Presence, commands};
use mini_bittorrent::control::tracker_info::TrackerAddress;
use mini_bittorrent::peer::{self, Peer};
use mini_bittorrent::shell::interrupt::Interrupt;
use mini_bittorrent::shell::peer_shell::PeerShell;
use mini_bittorrent::tracker::{self, Tracker};

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn start_tracker() -> Tracker {
    Tracker::start(tracker::Config::new(any_port())).unwrap()
}

fn start_peer(tracker: &Tracker, folder: &Path) -> PeerShell {
    let at = tracker.local_addr();
    let trackers = vec![TrackerAddress {
        host: at.ip().to_string(),
        port: at.port(),
        key: None,
    }];
    let config = peer::Config::new(any_port(), trackers, &folder.join("download"));
    let (peer, notices) = Peer::start(config).unwrap();
    assert!(notices.is_empty(), "{notices:?}");
    PeerShell::new(
        peer,
        folder.join("tracker_info.txt"),
        folder.join("upload"),
        Arc::new(Interrupt::new()),
        false,
    )
}

/// A file of bytes that repeat nowhere, the same for the same name and size.
fn make_file(folder: &Path, name: &str, size: usize) -> PathBuf {
    let mut state = name.bytes().fold(size as u64, |state, byte| {
        state.wrapping_mul(31) ^ u64::from(byte)
    }) | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let bytes: Vec<u8> = words.flatten().take(size).collect();
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "waited 60 s for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_file_goes_from_one_peer_to_another() {
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let mut seed = start_peer(&tracker, &temp.path().join("seed"));
    let mut getter = start_peer(&tracker, &temp.path().join("getter"));
    let file = make_file(temp.path(), "big file.bin", 30_000_000);
    seed.run(&format!("upload_file \"{}\"", file.display()))
        .unwrap();
    let start = Instant::now();
    getter.run("download_file \"big file.bin\"").unwrap();
    getter.run("wait").unwrap();
    println!("took {:?}", start.elapsed());
    getter.run("show_downloads").unwrap();
    getter.run("show_peers").unwrap();
    seed.run("show_peers").unwrap();
    let got = getter.peer.folder().join("big file.bin");
    assert!(fs::read(got).unwrap() == fs::read(file).unwrap());
    wait_until("both are seeds and part", || {
        seed.peer.torrents().unwrap()[0].peers == 0
    });
}

#[test]
fn every_command_of_the_table_can_be_typed() {
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let mut shell = start_peer(&tracker, temp.path());
    for command in commands(Place::PeerPrompt) {
        let mut line = command.name.to_string();
        for arg in command.args {
            match (arg.presence, arg.kind) {
                (Presence::Needed, Kind::OneOf(words)) => line += &format!(" {}", words[0]),
                (Presence::Needed, Kind::Rate) => line += " off",
                (Presence::Needed, _) => line += " nothing",
                _ => {}
            }
        }
        // Most have nothing to work on here; what matters is that each is known.
        if let Err(error) = shell.run(&line) {
            assert!(
                !error.to_string().contains("cannot be done yet"),
                "{line}: {error}"
            );
        }
    }
}
