//! Proves that a peer with little memory fetches all the same, with real sockets and files: several
//! torrents from several seeds, and pieces that are longer than all of the memory.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mini_bittorrent::peer::hashing::make::Wish;
use mini_bittorrent::peer::view::{News, Status};
use mini_bittorrent::peer::{Config, Peer};
use mini_bittorrent::shell::interrupt::Interrupt;
use mini_bittorrent::shell::peer_shell::PeerShell;

use crate::support::peers::{
    any_port, made_of, make_file, named, sha256, start_peer, start_tracker, wait_until, watchdog,
};

const MIB: usize = 1 << 20;

/// A downloader with one MiB for the pieces on their way.
fn start_small(tracker: std::net::SocketAddr, folder: &Path) -> PeerShell {
    let (peer, notices) = Peer::start(Config {
        memory: MIB as u64,
        ..Config::new(any_port(), vec![named(tracker)], &folder.join("download"))
    })
    .unwrap();
    assert!(notices.is_empty(), "{notices:?}");
    let (info, upload) = (folder.join("tracker_info.txt"), folder.join("upload"));
    PeerShell::new(peer, info, upload, Arc::new(Interrupt::new()), false)
}

fn all_complete(shell: &PeerShell, count: usize) -> bool {
    let torrents = shell.peer.torrents().unwrap();
    let complete = torrents.iter().filter(|t| t.status == Status::Seeding);
    complete.count() == count
}

/// Two pieces of half a MiB fit, and there are three torrents with two seeds each.
#[test]
fn several_torrents_share_a_budget_of_two_pieces() {
    let _watchdog = watchdog(Duration::from_secs(120), "three downloads");
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let at = [tracker.local_addr()];
    let mut seeds = ["one", "two"].map(|name| start_peer(&at, &temp.path().join(name)));
    let mut getter = start_small(at[0], &temp.path().join("getter"));
    let files = ["a.bin", "b.bin", "c.bin"];
    for name in files {
        let file = make_file(temp.path(), name, 12 * MIB);
        for seed in &mut seeds {
            seed.run(&format!("upload_file {}", file.display()))
                .unwrap();
        }
    }
    for name in files {
        getter.run(&format!("download_file {name}")).unwrap();
    }
    wait_until("all are complete", || all_complete(&getter, files.len()));
    for name in files {
        let got = getter.peer.folder().join(name);
        assert_eq!(sha256(&got), sha256(&temp.path().join(name)), "{name}");
    }
}

#[test]
fn pieces_longer_than_the_budget_are_fetched_and_that_is_said() {
    let _watchdog = watchdog(Duration::from_secs(120), "a download");
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let at = [tracker.local_addr()];
    let file = make_file(&temp.path().join("seed/download"), "file.bin", 9 * MIB);
    let wish = Wish {
        piece_length: Some(2 * MIB as u32),
        group: None,
    };
    let mut metainfo = made_of(&file, wish);
    metainfo.trackers = vec![vec![format!("http://{}/announce", at[0])]];
    let torrent = temp.path().join("file.torrent");
    fs::write(&torrent, metainfo.to_bytes()).unwrap();
    let add = format!("add {}", torrent.display());
    let mut seed = start_peer(&at, &temp.path().join("seed"));
    seed.run(&add).unwrap();
    wait_until("the seed has it", || all_complete(&seed, 1));
    let mut getter = start_small(at[0], &temp.path().join("getter"));
    getter.run(&add).unwrap();
    wait_until("it is complete", || all_complete(&getter, 1));
    assert_eq!(
        sha256(&getter.peer.folder().join("file.bin")),
        sha256(&file)
    );
    let said = getter.peer.news().try_iter().find_map(|news| match news {
        News::Notice(text) => Some(text),
        _ => None,
    });
    let said = said.expect("a notice");
    assert!(
        said.starts_with("file.bin: its pieces of 2.0 MiB"),
        "{said}"
    );
}
