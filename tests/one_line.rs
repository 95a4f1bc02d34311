//! Proves that one-line requests at the tracker's port get the replies that were recorded, byte by
//! byte, however the network cuts or merges them.

use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;

use mini_bittorrent::tracker::{Config, Tracker};

use crate::support::one_line::{Cut, TrackerProgram, ask, connect, said, send};
use crate::support::peers::{self, any_port, make_file, start_peer, start_tracker};

/// The requests of a transcript, and what is answered to each.
fn transcript(name: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let text = fs::read_to_string(folder.join(name)).unwrap();
    let mut exchanges: Vec<(String, String)> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match (line.strip_prefix("> "), exchanges.last_mut()) {
            (Some(request), _) => exchanges.push((format!("{request}\n"), String::new())),
            (None, Some((_, reply))) => *reply += &format!("{line}\n"),
            (None, None) => panic!("a reply to nothing: {line}"),
        }
    }
    assert!(exchanges.len() > 10);
    exchanges
}

#[test]
fn in_small_letters_many_requests_share_a_connection() {
    for cut in [Cut::Nowhere, Cut::EveryByte] {
        let tracker = TrackerProgram::start();
        let mut stream = connect(tracker.address);
        for (request, expect) in transcript("small_letters.txt") {
            send(&mut stream, request.as_bytes(), cut);
            let mut reply = vec![0; expect.len()];
            stream.read_exact(&mut reply).unwrap();
            assert_eq!(
                String::from_utf8_lossy(&reply),
                expect,
                "to {request} cut at {cut:?}"
            );
        }
        let mut more = Vec::new();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        stream.read_to_end(&mut more).unwrap();
        assert_eq!(more, b"", "nothing but the replies");
    }
}

#[test]
fn in_small_letters_many_requests_can_come_in_one_write() {
    let tracker = TrackerProgram::start();
    let (requests, replies): (Vec<String>, Vec<String>) =
        transcript("small_letters.txt").into_iter().unzip();
    let got = said(tracker.address, requests.concat().as_bytes(), Cut::Nowhere);
    assert_eq!(got, replies.concat());
}

#[test]
fn in_capitals_each_request_has_its_connection() {
    for cut in [Cut::Nowhere, Cut::EveryByte] {
        let tracker = TrackerProgram::start();
        for (request, expect) in transcript("capitals.txt") {
            let mut stream = connect(tracker.address);
            send(&mut stream, request.as_bytes(), cut);
            let mut reply = String::new();
            // The tracker closes it.
            stream.read_to_string(&mut reply).unwrap();
            assert_eq!(reply, expect, "to {request} cut at {cut:?}");
        }
    }
}

#[test]
fn in_capitals_only_the_first_request_of_a_connection_counts() {
    let tracker = TrackerProgram::start();
    let two = b"REGISTER a.txt 7001\nREGISTER b.txt 7001\n";
    assert_eq!(said(tracker.address, two, Cut::Nowhere), "OK\n");
    assert_eq!(ask(tracker.address, "GETPEERS a.txt"), "127.0.0.1:7001;\n");
    assert_eq!(ask(tracker.address, "GETPEERS b.txt"), "\n");
}

#[test]
fn a_request_that_was_cut_off_is_none() {
    let tracker = TrackerProgram::start();
    assert_eq!(
        said(tracker.address, b"REGISTER a.txt 70", Cut::Nowhere),
        ""
    );
    let small = said(tracker.address, b"announce a.txt:70", Cut::Nowhere);
    assert!(small.starts_with("ERR bad_request"), "{small}");
    assert_eq!(ask(tracker.address, "GETPEERS a.txt"), "\n");
}

/// Who asks by name also hears of the peers that share a file of that name with everybody, and the
/// two ways to ask are about the same.
#[test]
fn our_own_peers_are_named_too() {
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let at = tracker.local_addr();
    let mut alice = start_peer(&[at], &temp.path().join("alice"));
    let file = make_file(temp.path(), "notes.txt", 100);
    alice
        .run(&format!("upload_file {}", file.display()))
        .unwrap();
    assert_eq!(ask(at, "announce notes.txt:1"), "Peer registered\n");
    let alice = alice.peer.local_addr();
    assert_eq!(
        ask(at, "getpeers notes.txt"),
        format!("127.0.0.1:1\n{alice}\n")
    );
    assert_eq!(
        ask(at, "GETPEERS notes.txt"),
        format!("127.0.0.1:1;{alice};\n")
    );
    let shown = tracker.state().members("notes.txt").unwrap().len();
    assert_eq!(shown, 1, "of a share its own swarm is shown");
}

#[test]
fn other_dialects_go_on_as_ever() {
    let tracker = TrackerProgram::start();
    let http = |cut| said(tracker.address, b"GET /stats HTTP/1.0\r\n\r\n", cut);
    for cut in [Cut::Nowhere, Cut::EveryByte] {
        assert!(http(cut).starts_with("HTTP/1.1 200"), "{}", http(cut));
    }
    let strange = ask(tracker.address, "GETTHEPEERS a.txt");
    assert!(strange.starts_with("HTTP/1.1 400"), "{strange}");
    let upload =
        "announce 437508178ef8f5a1abf3d9a5f3fd797f28a4d86e -xx0002-bbbbbbbbbbbb 6882 0 0 5 started";
    assert_eq!(ask(tracker.address, upload), "OK 120 0 1\n");
}

#[test]
fn addresses_of_ipv6_stand_in_brackets() {
    let config = Config::new("[::1]:0".parse().unwrap());
    let Ok(tracker) = Tracker::start(config) else {
        peers::say("SKIPPED: no IPv6 here\n");
        return;
    };
    let at = tracker.local_addr();
    assert_eq!(ask(at, "REGISTER a.txt 7001"), "OK\n");
    assert_eq!(ask(at, "GETPEERS a.txt"), "[::1]:7001;\n");
    assert_eq!(ask(at, "getpeers a.txt"), "[::1]:7001\n");
}

fn start(change: impl FnOnce(&mut Config)) -> (Tracker, SocketAddr) {
    let mut config = Config::new(any_port());
    change(&mut config);
    let tracker = Tracker::start(config).unwrap();
    let at = tracker.local_addr();
    (tracker, at)
}

#[test]
fn a_tracker_that_speaks_tls_only_or_has_no_room_says_so() {
    let (_tracker, at) = start(|config| config.tls_required = true);
    let told = "this tracker speaks TLS only: its line in tracker_info.txt needs its key, which `tracker --key` prints";
    assert_eq!(ask(at, "REGISTER a.txt 7001"), format!("ERROR {told}\n"));
    assert_eq!(
        ask(at, "announce a.txt:7001"),
        format!("ERR bad_request {told}\n")
    );

    let (_tracker, at) = start(|config| config.connections_per_address = 1);
    let _first = connect(at);
    peers::wait_until("the second is refused", || {
        ask(at, "GETPEERS a").starts_with("ERROR your address")
    });

    let (_tracker, at) = start(|config| config.swarms.swarms = 1);
    assert_eq!(ask(at, "announce a.txt:7001"), "Peer registered\n");
    let full = ask(at, "announce b.txt:7001");
    assert_eq!(full, "this tracker knows as many torrents as it can (1)\n");
    assert_eq!(
        ask(at, "REGISTER b.txt 7001"),
        "ERROR Failed to register file\n"
    );
}

/// Whoever registers and is silent then is forgotten as any peer is.
#[test]
fn who_does_not_register_again_is_forgotten() {
    let (_tracker, at) = start(|config| config.interval = 1);
    assert_eq!(ask(at, "REGISTER a.txt 7001"), "OK\n");
    peers::wait_until("it is forgotten", || ask(at, "GETPEERS a.txt") == "\n");
}
