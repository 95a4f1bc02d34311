//! Proves that single peers can be called, parted from and chosen as sources. No tracker names
//! them: whoever is connected here was named by the user, or has called.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mini_bittorrent::peer::view::Status;
use mini_bittorrent::shell::peer_shell::PeerShell;
use mini_bittorrent::shell::{listing, single};
use mini_bittorrent::storage::resume::Sources;
use mini_bittorrent::torrent::metainfo::Metainfo;

use crate::support::peers::{
    free_port, make_file, sha256, start_peer, torrent_of, view, wait_until,
};

const NAME: &str = "file.bin";
const SIZE: usize = 3_000_000;

/// Its torrent; and the file.
fn torrent(temp: &Path) -> Arc<Metainfo> {
    let file = make_file(temp, NAME, SIZE);
    Arc::new(Metainfo::parse(&torrent_of(&file, &[])).unwrap())
}

/// A peer that has the file and knows nobody.
fn seed(temp: &Path, name: &str, torrent: &Arc<Metainfo>) -> PeerShell {
    let folder = temp.join(name);
    make_file(&folder.join("download"), NAME, SIZE);
    let shell = start_peer(&[], &folder);
    fetch(&shell, torrent, Sources::Anyone);
    assert_eq!(view(&shell).status, Status::Seeding);
    shell
}

fn fetch(shell: &PeerShell, torrent: &Arc<Metainfo>, sources: Sources) {
    let target = shell.peer.folder().join(NAME);
    let going_on = &|| false;
    let begun = shell
        .peer
        .download(torrent.clone(), &target, None, sources, going_on);
    begun.unwrap();
}

fn at(shell: &PeerShell) -> SocketAddr {
    shell.peer.local_addr()
}

fn is_connected(shell: &PeerShell, address: SocketAddr) -> bool {
    let rows = shell.peer.peers().unwrap();
    rows.iter()
        .any(|row| row.address == address && row.connected.is_some())
}

fn connect(shell: &PeerShell, address: SocketAddr) -> String {
    single::connect(shell, &address.to_string()).unwrap()
}

fn wait_for_the_file(shell: &PeerShell, temp: &Path) {
    wait_until("the file is there", || {
        view(shell).status == Status::Seeding
    });
    assert_eq!(sha256(&view(shell).path), sha256(&temp.join(NAME)));
}

#[test]
fn a_peer_that_is_named_is_called_at_once_and_the_answer_says_what_came_of_it() {
    let temp = tempfile::tempdir().unwrap();
    let torrent = torrent(temp.path());
    let alice = seed(temp.path(), "alice", &torrent);
    let bob = start_peer(&[], &temp.path().join("bob"));
    let nothing = format!(
        "Nothing is fetched or shared here just now, so there is nothing to call {} for.",
        at(&alice)
    );
    assert_eq!(connect(&bob, at(&alice)), nothing);
    fetch(&bob, &torrent, Sources::Anyone);
    let status = |shell: &PeerShell| {
        let info = listing::info(shell).unwrap();
        info.lines().last().unwrap_or_default().to_string()
    };
    assert_eq!(status(&alice), "Current status: Seeder.");
    assert_eq!(status(&bob), "Current status: Leecher.");

    let nobody = free_port();
    let failed = connect(&bob, nobody);
    let begin = format!("No connection to {nobody} for file.bin: ");
    assert!(failed.starts_with(&begin), "{failed}");
    let stranger = start_peer(&[], &temp.path().join("stranger"));
    let refused = connect(&bob, at(&stranger));
    assert!(
        refused.contains("it hung up: it does not share this"),
        "{refused}"
    );

    let connected = format!("Connected to {} for file.bin.", at(&alice));
    assert_eq!(connect(&bob, at(&alice)), connected);
    wait_for_the_file(&bob, temp.path());
}

#[test]
fn who_was_disconnected_is_left_alone_in_both_directions_until_named_again() {
    let temp = tempfile::tempdir().unwrap();
    let torrent = torrent(temp.path());
    let alice = seed(temp.path(), "alice", &torrent);
    let mut bob = start_peer(&[], &temp.path().join("bob"));
    // Slow enough that both stay for each other.
    bob.run("limit down 100K").unwrap();
    fetch(&bob, &torrent, Sources::Anyone);
    // It calls from a port of its system's choice, and says where it listens.
    connect(&alice, at(&bob));
    wait_until("bob knows where alice listens", || {
        is_connected(&bob, at(&alice))
    });

    bob.run(&format!("disconnect {}", at(&alice))).unwrap();
    assert!(!is_connected(&bob, at(&alice)));
    let shown = |bob: &PeerShell| {
        listing::show_peers(
            &bob.peer.peers().unwrap(),
            None,
            &bob.peer.shunned().unwrap(),
        )
    };
    let alone = format!("Left alone until `connect` names them: {}", at(&alice));
    assert!(shown(&bob).ends_with(&alone), "{}", shown(&bob));
    wait_until("alice has noticed", || !is_connected(&alice, at(&bob)));
    // Named by others, it is not called either.
    bob.peer
        .add_addresses(torrent.info_hash, &[at(&alice)])
        .unwrap();
    let called = connect(&alice, at(&bob));
    assert!(called.contains("it hung up"), "{called}");
    assert!(!is_connected(&bob, at(&alice)));

    bob.run("limit down off").unwrap();
    assert!(connect(&bob, at(&alice)).starts_with("Connected"));
    assert!(!shown(&bob).contains("Left alone"));
    wait_for_the_file(&bob, temp.path());
    assert_eq!(bob.peer.disconnect(free_port()).unwrap(), 0);
}

/// A peer that was never connected: where it listens it says only after its call was taken.
#[test]
fn who_was_disconnected_beforehand_is_turned_away_when_it_says_where_it_listens() {
    let temp = tempfile::tempdir().unwrap();
    let torrent = torrent(temp.path());
    let alice = seed(temp.path(), "alice", &torrent);
    let bob = start_peer(&[], &temp.path().join("bob"));
    fetch(&bob, &torrent, Sources::Only(Vec::new()));
    bob.peer.disconnect(at(&alice)).unwrap();
    connect(&alice, at(&bob));
    wait_until("alice is turned away", || !is_connected(&alice, at(&bob)));
    assert!(
        bob.peer
            .peers()
            .unwrap()
            .iter()
            .all(|row| row.connected.is_none())
    );
    assert_eq!(view(&bob).downloaded, 0);
}

#[test]
fn all_can_be_disconnected() {
    let temp = tempfile::tempdir().unwrap();
    let torrent = torrent(temp.path());
    let alice = seed(temp.path(), "alice", &torrent);
    let carol = seed(temp.path(), "carol", &torrent);
    let mut bob = start_peer(&[], &temp.path().join("bob"));
    bob.run("limit down 100K").unwrap();
    fetch(&bob, &torrent, Sources::Anyone);
    assert_eq!(
        single::disconnect(&bob, "all").unwrap(),
        "Nobody is connected."
    );
    let mut seeds = [at(&alice), at(&carol)];
    seeds.sort();
    for address in seeds {
        connect(&bob, address);
    }
    assert_eq!(bob.peer.disconnect_all().unwrap(), seeds);
    assert_eq!(bob.peer.shunned().unwrap(), seeds);
    assert!(
        bob.peer
            .peers()
            .unwrap()
            .iter()
            .all(|row| row.connected.is_none())
    );
}

#[test]
fn a_download_with_chosen_sources_asks_nobody_else() {
    let temp = tempfile::tempdir().unwrap();
    let torrent = torrent(temp.path());
    let alice = seed(temp.path(), "alice", &torrent);
    let carol = seed(temp.path(), "carol", &torrent);
    let bob = start_peer(&[], &temp.path().join("bob"));
    let nobody = free_port();
    fetch(&bob, &torrent, Sources::Only(vec![nobody]));
    // One that calls, and one that others name: neither is a source.
    bob.peer
        .add_addresses(torrent.info_hash, &[at(&carol)])
        .unwrap();
    connect(&alice, at(&bob));
    let not_asked = || {
        let rows = bob.peer.peers().unwrap();
        let view = rows
            .iter()
            .find(|row| row.address == at(&alice))?
            .connected?;
        (view.pieces > 0).then_some(!view.is_source && !view.we_are_interested)
    };
    wait_until("alice has told what it has", || not_asked() == Some(true));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(view(&bob).downloaded, 0);
    assert!(!is_connected(&carol, at(&bob)));

    // The user names carol: it is a source from now on, also after a restart.
    connect(&bob, at(&carol));
    wait_for_the_file(&bob, temp.path());
    let rows = bob.peer.peers().unwrap();
    let from = |address| {
        rows.iter()
            .filter(|row| row.address == address)
            .map(|row| row.downloaded)
            .sum()
    };
    let (from_alice, from_carol): (u64, u64) = (from(at(&alice)), from(at(&carol)));
    assert_eq!((from_alice, from_carol), (0, SIZE as u64));
}

/// The list of chosen sources is part of what is remembered of a torrent.
#[test]
fn chosen_sources_are_kept_over_a_restart() {
    let temp = tempfile::tempdir().unwrap();
    let torrent = torrent(temp.path());
    let alice = seed(temp.path(), "alice", &torrent);
    let carol = seed(temp.path(), "carol", &torrent);
    let folder = temp.path().join("bob");
    let bob = start_peer(&[], &folder);
    fetch(&bob, &torrent, Sources::Only(vec![free_port()]));
    drop(bob);
    let bob = start_peer(&[], &folder);
    bob.peer
        .add_addresses(torrent.info_hash, &[at(&carol)])
        .unwrap();
    connect(&bob, at(&alice));
    wait_for_the_file(&bob, temp.path());
    let rows = bob.peer.peers().unwrap();
    assert!(rows.iter().all(|row| row.address == at(&alice)), "{rows:?}");
}
