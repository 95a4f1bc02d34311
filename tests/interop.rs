//! Proves that ours are a tracker and a peer like any other: aria2, Transmission and opentracker,
//! the real programs, take part with us in every role.
//!
//! `INTEROP_MIB=1000 cargo test --release --test suite interop:: -- --nocapture` tells how fast each of
//! them is with us.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mini_bittorrent::announce::scrape::{Counts, ScrapeRequest, ScrapeResponse};
use mini_bittorrent::peer::view::{PeerRow, Status, TorrentView};
use mini_bittorrent::peer::{self, Peer};
use mini_bittorrent::shell::interrupt::Interrupt;
use mini_bittorrent::shell::listing::read_torrent;
use mini_bittorrent::shell::peer_shell::PeerShell;
use mini_bittorrent::torrent::id::{InfoHash, PeerId};
use mini_bittorrent::tracker::{self, Tracker};
use mini_bittorrent::wire::codec;
use mini_bittorrent::wire::handshake::Handshake;
use mini_bittorrent::wire::message::Message;
use sha2::{Digest, Sha256};

use crate::support::clients::{
    self, ARIA2_ADDRESS, Aria2, Client, Opentracker, Scene, Transmission,
};
use crate::support::clients::{TRANSMISSION_ADDRESS, scene};

/// How long a test may take. Transmission decides only every ten seconds whom it serves.
const LIMIT: Duration = Duration::from_secs(75);
const MIB: u64 = 1024 * 1024;

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// Our tracker. Everybody asks it often: it is the others who must call Transmission.
fn start_tracker() -> Tracker {
    let mut config = tracker::Config::new(any_port());
    config.interval = 5;
    Tracker::start(config).unwrap()
}

fn announce_url(tracker: &Tracker) -> String {
    format!("http://{}/announce", tracker.local_addr())
}

/// Our peer, with its prompt's commands, and with no tracker but those that torrents name.
fn start_peer(folder: &Path) -> PeerShell {
    let config = peer::Config::new(any_port(), Vec::new(), folder);
    let (peer, notices) = Peer::start(config).unwrap();
    assert!(notices.is_empty(), "{notices:?}");
    let interrupt = Arc::new(Interrupt::new());
    let info = folder.join("tracker_info.txt");
    PeerShell::new(peer, info, folder.to_path_buf(), interrupt, false)
}

fn add(shell: &mut PeerShell, torrent: &Path) {
    shell
        .run(&format!("add \"{}\"", torrent.display()))
        .unwrap();
}

fn view(shell: &PeerShell) -> TorrentView {
    shell.peer.torrents().unwrap().remove(0)
}

/// What we carried with the one whose client's name begins so: got, gave.
fn carried(shell: &PeerShell, client: &str) -> (u64, u64) {
    let rows = shell.peer.peers().unwrap();
    let with = rows.iter().filter(|row| is_client(row, client));
    with.fold((0, 0), |(got, gave), row| {
        (got + row.downloaded, gave + row.uploaded)
    })
}

/// aria2 sends its name as `aria2/1.36.0`, Transmission as `Transmission 3.00`.
fn is_client(row: &PeerRow, client: &str) -> bool {
    row.client.to_lowercase().starts_with(client)
}

fn wait_until_complete(scene: &Scene, shell: &PeerShell) {
    scene.wait_until("we have everything", || {
        let view = view(shell);
        let rows = || shell.peer.peers().unwrap();
        is(view.status == Status::Seeding, || {
            format!(
                "{:?}, {} of {}, {:?}",
                view.status,
                view.have,
                view.size,
                rows()
            )
        })
    });
}

fn wait_until_they_are_complete(scene: &Scene, who: &str, client: &dyn Client) {
    scene.wait_until(&format!("{who} has everything"), || {
        let standing = client.standing();
        is(standing.is_some_and(|s| s.complete), || {
            format!("{standing:?}")
        })
    });
}

fn wait_for_counts(scene: &Scene, tracker: &Tracker, what: &str, expect: (u32, u32, u32)) {
    let (complete, incomplete, downloaded) = expect;
    let expect = Counts {
        complete,
        incomplete,
        downloaded,
    };
    scene.wait_until(what, || {
        let rows = tracker.state().swarm_rows();
        let counts = rows.first().map(|row| row.counts).unwrap_or_default();
        is(counts == expect, || format!("{rows:?}"))
    });
}

fn is(good: bool, instead: impl Fn() -> String) -> Result<(), String> {
    if good { Ok(()) } else { Err(instead()) }
}

/// Bytes that repeat nowhere, the same for the same name and size.
fn write_file(path: &Path, size: u64) {
    let name = path.file_name().unwrap().as_encoded_bytes();
    let mut state = name.iter().fold(size, |state, byte| {
        state.wrapping_mul(31) ^ u64::from(*byte)
    }) | 1;
    let mut out = std::io::BufWriter::new(fs::File::create(path).unwrap());
    for at in (0..size).step_by(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let bytes = state.to_le_bytes();
        out.write_all(&bytes[..(size - at).min(8) as usize])
            .unwrap();
    }
    out.flush().unwrap();
}

fn sha256(path: &Path) -> String {
    let mut file = fs::File::open(path).unwrap();
    let mut hash = Sha256::new();
    let mut buffer = vec![0; MIB as usize];
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => break,
            length => hash.update(&buffer[..length]),
        }
    }
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

/// Writes the `.torrent` of `content` with the program `peer`, as its user would.
fn make_torrent(scene: &Scene, content: &Path, announce: &str) -> PathBuf {
    let folder = scene.folder("make");
    fs::write(folder.join("tracker_info.txt"), "127.0.0.1:9\n").unwrap();
    let made = Command::new(env!("CARGO_BIN_EXE_peer"))
        .args(["127.0.0.1:0", "tracker_info.txt", "--command"])
        .arg(format!(
            "make_torrent \"{}\" --announce {announce}",
            content.display()
        ))
        .current_dir(&folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&made.stdout);
    let complained = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{said}{complained}");
    let name = content.file_name().unwrap().to_str().unwrap();
    folder.join(format!("{name}.torrent"))
}

fn size_of_a_transfer() -> u64 {
    let mib = std::env::var("INTEROP_MIB").map(|mib| mib.parse().unwrap());
    mib.unwrap_or(48) * MIB
}

/// A tracker, a file in a folder of its own, and its torrent.
struct Stage {
    tracker: Tracker,
    content: PathBuf,
    torrent: PathBuf,
}

fn set_stage(scene: &Scene) -> Stage {
    let tracker = start_tracker();
    let content = scene.folder("content").join("big file.bin");
    write_file(&content, size_of_a_transfer());
    let torrent = make_torrent(scene, &content, &announce_url(&tracker));
    Stage {
        tracker,
        content,
        torrent,
    }
}

impl Stage {
    fn folder(&self) -> &Path {
        self.content.parent().unwrap()
    }

    /// Compares a copy in `folder` with what was shared.
    fn compare(&self, folder: &Path) {
        let copy = folder.join(self.content.file_name().unwrap());
        assert_eq!(sha256(&copy), sha256(&self.content), "{}", copy.display());
    }
}

/// Takes the time of a transfer from its first byte.
struct Stopwatch {
    what: &'static str,
    begun: Option<Instant>,
}

impl Stopwatch {
    fn new(what: &'static str) -> Stopwatch {
        Stopwatch { what, begun: None }
    }

    fn see(&mut self, have: u64) {
        if have > 0 {
            self.begun.get_or_insert_with(Instant::now);
        }
    }

    fn tell(&self, bytes: u64) {
        let took = self.begun.map(|begun| begun.elapsed()).unwrap_or_default();
        let rate = bytes as f64 / 1e6 / took.as_secs_f64();
        println!("{}: {bytes} bytes in {took:.1?}, {rate:.0} MB/s", self.what);
    }
}

/// We seed, `client` has the torrent and fetches it from us into `folder`.
fn fetches_from_us(
    scene: &Scene,
    stage: &Stage,
    us: &PeerShell,
    who: &'static str,
    client: &dyn Client,
    folder: &Path,
) {
    let mut watch = Stopwatch::new(who);
    scene.wait_until(&format!("{who} has everything"), || {
        let standing = client.standing().unwrap_or_default();
        watch.see(view(us).uploaded);
        let rows = || shell_rows(us);
        is(standing.complete, || {
            format!("{standing:?}; we: {}", rows())
        })
    });
    watch.tell(view(us).size);
    stage.compare(folder);
    let (got, gave) = carried(us, who);
    let size = view(us).size;
    assert_eq!(got, 0, "{}", shell_rows(us));
    // A request that was repeated after a choke may have been answered twice.
    assert!(
        gave >= size && gave <= size + size / 20,
        "{}",
        shell_rows(us)
    );
    scene.wait_until("two seeds part", || {
        is(view(us).peers == 0, || shell_rows(us))
    });
    wait_for_counts(
        scene,
        &stage.tracker,
        "the tracker counts two seeds",
        (2, 0, 1),
    );
}

fn fetched_from_them(scene: &Scene, stage: &Stage, us: &mut PeerShell, who: &'static str) {
    let mut watch = Stopwatch::new(who);
    add(us, &stage.torrent);
    scene.wait_until("we have everything", || {
        let view = view(us);
        watch.see(view.downloaded);
        is(view.status == Status::Seeding, || {
            format!("{:?}: {}", view.status, shell_rows(us))
        })
    });
    let size = view(us).size;
    watch.tell(size);
    stage.compare(us.peer.folder());
    let (got, gave) = carried(us, who);
    assert!(got >= size && got <= size + size / 20, "{}", shell_rows(us));
    assert_eq!(gave, 0, "{}", shell_rows(us));
    scene.wait_until("two seeds part", || {
        is(view(us).peers == 0, || shell_rows(us))
    });
    wait_for_counts(
        scene,
        &stage.tracker,
        "the tracker counts two seeds",
        (2, 0, 1),
    );
}

fn shell_rows(us: &PeerShell) -> String {
    format!("{:?} {:?}", view(us).why, us.peer.peers().unwrap())
}

#[test]
fn aria2_fetches_from_us() {
    scene(&["aria2c"], LIMIT, |scene| {
        let stage = set_stage(scene);
        let mut us = start_peer(stage.folder());
        add(&mut us, &stage.torrent);
        wait_for_counts(scene, &stage.tracker, "we are announced", (1, 0, 0));
        let folder = scene.folder("aria2");
        let aria2 = Aria2::start(scene, &stage.torrent, &folder, None);
        fetches_from_us(scene, &stage, &us, "aria2", &aria2, &folder);
    });
}

#[test]
fn transmission_fetches_from_us() {
    scene(&["transmission-daemon"], LIMIT, |scene| {
        let stage = set_stage(scene);
        let folder = scene.folder("transmission downloads");
        let transmission = Transmission::start(scene, &folder, None);
        transmission.add(&stage.torrent);
        wait_for_counts(scene, &stage.tracker, "it is announced", (0, 1, 0));
        let mut us = start_peer(stage.folder());
        add(&mut us, &stage.torrent);
        fetches_from_us(scene, &stage, &us, "transmission", &transmission, &folder);
    });
}

#[test]
fn we_fetch_from_aria2() {
    scene(&["aria2c"], LIMIT, |scene| {
        let stage = set_stage(scene);
        let aria2 = Aria2::start(scene, &stage.torrent, stage.folder(), None);
        wait_until_they_are_complete(scene, "aria2", &aria2);
        wait_for_counts(scene, &stage.tracker, "it is announced", (1, 0, 0));
        let mut us = start_peer(&scene.folder("ours"));
        fetched_from_them(scene, &stage, &mut us, "aria2");
    });
}

#[test]
fn we_fetch_from_transmission() {
    scene(&["transmission-daemon"], LIMIT, |scene| {
        let stage = set_stage(scene);
        let transmission = Transmission::start(scene, stage.folder(), None);
        transmission.add(&stage.torrent);
        wait_until_they_are_complete(scene, "transmission", &transmission);
        wait_for_counts(scene, &stage.tracker, "it is announced", (1, 0, 0));
        let mut us = start_peer(&scene.folder("ours"));
        fetched_from_them(scene, &stage, &mut us, "transmission");
    });
}

/// Nobody but the three, each with another third. Everybody sends so slowly that no third can be
/// passed on by somebody else before Transmission, which decides every ten seconds, serves all.
#[test]
fn a_swarm_of_all_three_in_which_each_gets_part_from_each() {
    const SIZE: u64 = 24 * MIB;
    const THIRD: u64 = SIZE / 3;
    const UP: u64 = 1_500_000;
    scene(&["aria2c", "transmission-daemon"], LIMIT, |scene| {
        let tracker = start_tracker();
        let content = scene.folder("content").join("thirds.bin");
        write_file(&content, SIZE);
        let torrent = make_torrent(scene, &content, &announce_url(&tracker));
        let folders = ["transmission downloads", "aria2", "ours"].map(|name| scene.folder(name));
        for (nth, folder) in (0..).zip(&folders) {
            write_part(&content, &folder.join("thirds.bin"), nth * THIRD, THIRD);
        }

        let transmission = Transmission::start(scene, &folders[0], Some(UP));
        transmission.add(&torrent);
        wait_for_counts(scene, &tracker, "Transmission is announced", (0, 1, 0));
        let before = wait_for_third(scene, "Transmission", &transmission, THIRD);
        assert_eq!((before.downloaded, before.uploaded), (0, 0));
        let aria2 = Aria2::start(scene, &torrent, &folders[1], Some(UP));
        wait_for_counts(scene, &tracker, "aria2 is announced", (0, 2, 0));
        wait_for_third(scene, "aria2", &aria2, THIRD);
        let mut us = start_peer(&folders[2]);
        us.run("limit up 1500K").unwrap();
        add(&mut us, &torrent);
        let ours = view(&us).have;
        assert!(ours >= THIRD, "we begin with {ours}");

        wait_until_complete(scene, &us);
        wait_until_they_are_complete(scene, "aria2", &aria2);
        wait_until_they_are_complete(scene, "Transmission", &transmission);
        folders
            .iter()
            .for_each(|folder| assert_eq!(sha256(&folder.join("thirds.bin")), sha256(&content)));

        let with_aria2 = carried(&us, "aria2");
        let with_transmission = carried(&us, "transmission");
        let theirs = transmission.standing().unwrap();
        let between = (
            theirs.uploaded.saturating_sub(with_transmission.0),
            theirs.downloaded.saturating_sub(with_transmission.1),
        );
        println!(
            "we got from and gave to aria2 {with_aria2:?}, Transmission {with_transmission:?}; \
             Transmission gave to and got from aria2 {between:?}"
        );
        for (got, gave) in [with_aria2, with_transmission, between] {
            assert!(got > 0 && gave > 0, "{}", shell_rows(&us));
        }
        wait_for_counts(scene, &tracker, "the tracker counts three seeds", (3, 0, 3));
    });
}

fn wait_for_third(scene: &Scene, who: &str, client: &dyn Client, third: u64) -> clients::Standing {
    let mut standing = None;
    scene.wait_until(&format!("{who} has seen its third"), || {
        standing = client.standing();
        is(standing.is_some_and(|s| s.have >= third), || {
            format!("{standing:?}")
        })
    });
    standing.unwrap()
}

/// A file of the same size that has only these bytes of `content`, and zeros elsewhere.
fn write_part(content: &Path, path: &Path, start: u64, length: u64) {
    let mut from = fs::File::open(content).unwrap();
    let mut to = fs::File::create(path).unwrap();
    to.set_len(from.metadata().unwrap().len()).unwrap();
    from.seek(SeekFrom::Start(start)).unwrap();
    to.seek(SeekFrom::Start(start)).unwrap();
    std::io::copy(&mut from.take(length), &mut to).unwrap();
}

#[test]
fn our_tracker_counts_aria2_and_transmission_as_they_come_and_go() {
    scene(&["aria2c", "transmission-daemon"], LIMIT, |scene| {
        let tracker = start_tracker();
        let content = scene.folder("content").join("counted.bin");
        write_file(&content, 4 * MIB);
        let torrent = make_torrent(scene, &content, &announce_url(&tracker));
        let info_hash = read_torrent(&torrent).unwrap().info_hash;

        let transmission = Transmission::start(scene, &scene.folder("t"), None);
        transmission.add(&torrent);
        wait_for_counts(scene, &tracker, "Transmission has come", (0, 1, 0));
        let aria2 = Aria2::start(scene, &torrent, &scene.folder("a"), None);
        wait_for_counts(scene, &tracker, "aria2 has come", (0, 2, 0));
        let members = tracker.state().members(&info_hash.to_string()).unwrap();
        let mut clients: Vec<String> = members
            .iter()
            .map(|(member, _)| format!("{} at {}", member.id.client(), member.address.ip()))
            .collect();
        clients.sort();
        let expect = [
            format!("Transmission 3000 at {TRANSMISSION_ADDRESS}"),
            format!("aria2 1.36.0 at {ARIA2_ADDRESS}"),
        ];
        let cut = |text: &String| text.replace(|c: char| c.is_ascii_digit() || c == '.', "");
        // Other versions will do.
        assert!(
            clients.iter().map(cut).eq(expect.iter().map(cut)),
            "{clients:?}"
        );

        let mut us = start_peer(content.parent().unwrap());
        add(&mut us, &torrent);
        wait_for_counts(scene, &tracker, "all have everything", (3, 0, 2));
        assert_eq!(scraped(&announce_url(&tracker), info_hash).downloaded, 2);

        aria2.quit();
        wait_for_counts(scene, &tracker, "aria2 is gone", (2, 0, 2));
        transmission.remove();
        wait_for_counts(scene, &tracker, "Transmission is gone", (1, 0, 2));
        us.peer.stop();
        wait_for_counts(scene, &tracker, "nobody is left", (0, 0, 2));
        transmission.quit();
        scene.wait_until("both programs have ended", || {
            is(aria2.has_ended() && transmission.has_ended(), String::new)
        });
    });
}

/// What a tracker says of a torrent when asked by HTTP.
fn scraped(announce: &str, info_hash: InfoHash) -> Counts {
    let request = ScrapeRequest {
        info_hashes: vec![info_hash],
    };
    let mut answer = ureq::get(request.to_url(announce).unwrap()).call().unwrap();
    let body = answer.body_mut().read_to_vec().unwrap();
    let files = ScrapeResponse::decode(&body).unwrap().files;
    let found = files.iter().find(|(hash, _)| *hash == info_hash);
    found.map(|(_, counts)| *counts).unwrap_or_default()
}

#[test]
fn we_find_each_other_through_opentracker() {
    scene(&["opentracker"], LIMIT, |scene| {
        let content = scene.folder("seed").join("found.bin");
        write_file(&content, 4 * MIB);
        // Its list of torrents is read at its start, its port is known after it: the announce
        // URL is no part of the info hash.
        let nameless = make_torrent(scene, &content, "http://127.0.0.1:9/announce");
        let info_hash = read_torrent(&nameless).unwrap().info_hash;
        fs::remove_file(&nameless).unwrap();
        let opentracker = Opentracker::start(scene, &[info_hash.to_string()]);
        let torrent = make_torrent(scene, &content, &opentracker.announce);
        assert_eq!(read_torrent(&torrent).unwrap().info_hash, info_hash);

        let counts = || scraped(&opentracker.announce, info_hash);
        let wait_for = |what: &str, expect: (u32, u32)| {
            scene.wait_until(what, || {
                let counts = counts();
                is((counts.complete, counts.incomplete) == expect, || {
                    format!("{counts:?}")
                })
            });
        };
        let mut seed = start_peer(content.parent().unwrap());
        add(&mut seed, &torrent);
        wait_for("opentracker knows the seed", (1, 0));
        let mut getter = start_peer(&scene.folder("getter"));
        add(&mut getter, &torrent);
        wait_until_complete(scene, &getter);
        assert_eq!(
            sha256(&getter.peer.folder().join("found.bin")),
            sha256(&content)
        );
        wait_for("opentracker counts two seeds", (2, 0));
        assert_eq!(counts().downloaded, 1);
        seed.peer.stop();
        wait_for("opentracker counts one seed", (1, 0));
    });
}

/// aria2 sends a bitfield instead of many `have` messages whenever it has got twenty pieces. We
/// took that for a breach of the protocol and hung up on it, in the middle of its download.
#[test]
fn a_bitfield_in_the_middle_is_no_breach() {
    scene(&[], LIMIT, |scene| {
        let content = scene.folder("seed").join("eight pieces.bin");
        write_file(&content, 4 * MIB);
        let torrent = make_torrent(scene, &content, "http://127.0.0.1:9/announce");
        let mut us = start_peer(content.parent().unwrap());
        add(&mut us, &torrent);
        let handshake = Handshake {
            info_hash: view(&us).info_hash,
            peer_id: PeerId(*b"A2-1-36-0-abcdefghij"),
            fast: true,
            extended: false,
        };
        let mut bytes = handshake.encode().to_vec();
        let first = [Message::HaveNone, Message::Interested, Message::Have(0)];
        let later = [Message::Bitfield(vec![0b1111_0000]), Message::Have(7)];
        for message in first.iter().chain(&later) {
            codec::encode(message, &mut bytes);
        }
        let mut socket = TcpStream::connect(us.peer.local_addr()).unwrap();
        socket.write_all(&bytes).unwrap();
        scene.wait_until("we count five pieces", || {
            let rows = us.peer.peers().unwrap();
            let pieces = |row: &PeerRow| row.connected.map(|peer| peer.pieces);
            is(rows.iter().any(|row| pieces(row) == Some(5)), || {
                format!("{rows:?}")
            })
        });
    });
}

/// Files by their path below a folder: SHA-256.
fn tree(folder: &Path) -> BTreeMap<String, String> {
    fn walk(folder: &Path, below: &str, files: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let below = format!("{below}/{name}");
            if path.is_dir() {
                walk(&path, &below, files);
            } else {
                files.insert(below, sha256(&path));
            }
        }
    }
    let mut files = BTreeMap::new();
    walk(folder, "", &mut files);
    files
}

/// A folder in which every name is odd in its own way.
fn write_odd_folder(folder: &Path) -> PathBuf {
    let root = folder.join("odd names: ünïcödé ☃");
    let long = "l".repeat(200);
    let files: [(&str, u64); 16] = [
        ("with spaces in it.txt", 700_001),
        (" starts with a space", 10),
        (".starts with a dot", 300_000),
        ("ends with a dot.", 11),
        ("quotes \"double\" and 'single'", 650_000),
        ("colon: a star * and a question?", 12),
        ("m empty in the middle", 0),
        ("percent %41 plus + and & amp #", 13),
        ("日本語 и кириллица 🦀", 900_000),
        ("e\u{301} decomposed", 14),
        ("CON", 15),
        ("nested/one/.two/three/deep file", 1_200_000),
        ("nested/one/empty", 0),
        ("nested/[brackets] {braces} (round)", 16),
        ("zz last and empty", 0),
        (&long, 17),
    ];
    for (name, size) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        write_file(&path, size);
    }
    root
}

/// How Transmission names things on every system, after its own `metainfo.c`.
fn transmission_name(path: &str) -> String {
    let clean = |name: &str| {
        if name == "CON" {
            return "CON_".to_string();
        }
        let name = name.trim_end_matches([' ', '.']).trim_start_matches(' ');
        name.replace(['<', '>', ':', '"', '\\', '|', '?', '*'], "_")
    };
    let names: Vec<String> = path.split('/').map(clean).collect();
    names.join("/")
}

/// What Transmission makes of a folder: it leaves out empty files.
fn as_transmission_writes(tree: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let empty = Sha256::digest(b"");
    let empty: String = empty.iter().map(|b| format!("{b:02x}")).collect();
    let tree = tree.iter().filter(|(_, hash)| **hash != empty);
    let rename = |(path, hash): (&String, &String)| (transmission_name(path), hash.clone());
    tree.map(rename).collect()
}

#[test]
fn odd_names_go_from_us_to_aria2_and_transmission() {
    scene(&["aria2c", "transmission-daemon"], LIMIT, |scene| {
        let tracker = start_tracker();
        let root = write_odd_folder(&scene.folder("content"));
        let name = root.file_name().unwrap().to_str().unwrap();
        let torrent = make_torrent(scene, &root, &announce_url(&tracker));
        let folders = ["t", "a"].map(|name| scene.folder(name));
        let transmission = Transmission::start(scene, &folders[0], None);
        transmission.add(&torrent);
        wait_for_counts(scene, &tracker, "Transmission has come", (0, 1, 0));
        let mut us = start_peer(root.parent().unwrap());
        add(&mut us, &torrent);
        let aria2 = Aria2::start(scene, &torrent, &folders[1], None);
        wait_until_they_are_complete(scene, "aria2", &aria2);
        wait_until_they_are_complete(scene, "Transmission", &transmission);
        let files = tree(&root);
        assert_eq!(tree(&folders[1].join(name)), files);
        let theirs = folders[0].join(transmission_name(name));
        assert_eq!(tree(&theirs), as_transmission_writes(&files));
    });
}

#[test]
fn odd_names_come_from_aria2_to_us() {
    scene(&["aria2c"], LIMIT, |scene| {
        let tracker = start_tracker();
        let root = write_odd_folder(&scene.folder("content"));
        let torrent = make_torrent(scene, &root, &announce_url(&tracker));
        let aria2 = Aria2::start(scene, &torrent, root.parent().unwrap(), None);
        wait_until_they_are_complete(scene, "aria2", &aria2);
        wait_for_counts(scene, &tracker, "aria2 has come", (1, 0, 0));
        let mut us = start_peer(&scene.folder("ours"));
        add(&mut us, &torrent);
        wait_until_complete(scene, &us);
        assert_eq!(tree(&view(&us).path), tree(&root));
    });
}

#[test]
fn odd_names_come_from_transmission_to_us() {
    scene(&["transmission-daemon"], LIMIT, |scene| {
        let tracker = start_tracker();
        let root = write_odd_folder(&scene.folder("content"));
        let torrent = make_torrent(scene, &root, &announce_url(&tracker));
        let theirs = scene.folder("t");
        let name = root.file_name().unwrap().to_str().unwrap();
        for (path, _) in tree(&root) {
            let renamed = transmission_name(&format!("{name}{path}"));
            let renamed = theirs.join(renamed);
            fs::create_dir_all(renamed.parent().unwrap()).unwrap();
            fs::copy(root.join(&path[1..]), renamed).unwrap();
        }
        let transmission = Transmission::start(scene, &theirs, None);
        transmission.add(&torrent);
        wait_until_they_are_complete(scene, "Transmission", &transmission);
        wait_for_counts(scene, &tracker, "Transmission has come", (1, 0, 0));
        let mut us = start_peer(&scene.folder("ours"));
        add(&mut us, &torrent);
        wait_until_complete(scene, &us);
        assert_eq!(tree(&view(&us).path), tree(&root));
    });
}
