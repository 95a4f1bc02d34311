//! Proves first-copy spreading with real sockets and files: one seed, thirty downloaders, and
//! the seed sends little more than the file.

use std::time::{Duration, Instant};

use mini_bittorrent::peer::view::Status;
use mini_bittorrent::shell::peer_shell::PeerShell;

use crate::support::peers::{
    make_file, sha256, start_peer, start_tracker, view, wait_at_most, watchdog,
};

const SIZE: usize = 64 << 20;
const DOWNLOADERS: usize = 30;

/// How many times the file the seed may send. Under Wine news of pieces are slow, beside the pieces.
const MOST: f64 = if cfg!(windows) { 2.5 } else { 1.5 };

#[test]
fn a_seed_of_thirty_downloaders_sends_little_more_than_the_file() {
    let _watchdog = watchdog(Duration::from_secs(170), "thirty downloads");
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let at = [tracker.local_addr()];
    let mut seed = start_peer(&at, &temp.path().join("seed"));
    let file = make_file(temp.path(), "file.bin", SIZE);
    seed.run(&format!("upload_file {}", file.display()))
        .unwrap();
    let mut getters: Vec<PeerShell> = (0..DOWNLOADERS)
        .map(|nth| start_peer(&at, &temp.path().join(format!("getter-{nth}"))))
        .collect();
    let since = Instant::now();
    for getter in &mut getters {
        getter.run("download_file file.bin").unwrap();
    }
    wait_at_most(Duration::from_secs(150), "all have it", || {
        let complete = |getter: &PeerShell| view(getter).status == Status::Seeding;
        getters.iter().all(complete)
    });
    let took = since.elapsed();
    let sent = view(&seed).uploaded as f64 / SIZE as f64;
    let got: u64 = getters.iter().map(|getter| view(getter).downloaded).sum();
    let wasted = got as f64 / (SIZE * DOWNLOADERS) as f64 - 1.0;
    println!(
        "{DOWNLOADERS} downloads in {took:?}; the seed sent {sent:.2} times the file; {:.1} % came in vain",
        wasted * 100.0
    );
    let right = sha256(&file);
    for getter in &getters {
        assert_eq!(sha256(&getter.peer.folder().join("file.bin")), right);
    }
    assert!(sent <= MOST, "the seed sent {sent:.2} times the file");
}
