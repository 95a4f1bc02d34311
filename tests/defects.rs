//! Proves that what was wrong with the programs that this one grew out of is not wrong here: for
//! each of their known defects a test that is called after it, a module for each program. Real peers
//! move real files, and real trackers are asked.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use socket2::{Domain, Socket, Type};

use mini_bittorrent::peer::view::{CallOutcome, Status};
use mini_bittorrent::shell::peer_shell::PeerShell;
use mini_bittorrent::storage::memory::MemoryStorage;
use mini_bittorrent::storage::names::SafePaths;
use mini_bittorrent::storage::resume::Sources;
use mini_bittorrent::storage::{FileStamp, Storage, StorageError};
use mini_bittorrent::torrent::metainfo::Metainfo;
use mini_bittorrent::tracker::Tracker;
use mini_bittorrent::wire::codec;
use mini_bittorrent::wire::message::{BlockRequest, Message};

use crate::support::one_line::{Cut, TrackerProgram, ask, said};
use crate::support::peers::{
    self, Place, any_port, make_file, random_bytes, sha256, start_peer, start_tracker, torrent_of,
    view, wait_until,
};

/// A tracker, Alice, who shares, and Bob, who fetches.
struct Pair {
    temp: tempfile::TempDir,
    tracker: Tracker,
    alice: PeerShell,
    bob: PeerShell,
}

impl Pair {
    fn new() -> Pair {
        let temp = tempfile::tempdir().unwrap();
        let tracker = start_tracker();
        let at = [tracker.local_addr()];
        let alice = start_peer(&at, &temp.path().join("alice"));
        let bob = start_peer(&at, &temp.path().join("bob"));
        Pair {
            temp,
            tracker,
            alice,
            bob,
        }
    }

    fn share(&mut self, path: &Path) {
        run(
            &mut self.alice,
            &format!("upload_file \"{}\"", path.display()),
        );
    }

    /// Alice's file comes to Bob as it is.
    fn moves(&mut self, name: &str, content: &[u8]) {
        let path = self.temp.path().join(name);
        fs::write(&path, content).unwrap();
        self.share(&path);
        run(&mut self.bob, &format!("download_file \"{name}\""));
        wait_for(&self.bob, name);
        let got = fs::read(self.bob.peer.folder().join(name)).unwrap();
        assert!(
            got == content,
            "{name} came as {} bytes, of {}",
            got.len(),
            content.len()
        );
    }
}

fn run(shell: &mut PeerShell, line: &str) {
    shell
        .run(line)
        .unwrap_or_else(|error| panic!("{line}: {error}"));
}

fn wait_for(shell: &PeerShell, name: &str) {
    wait_until(&format!("{name} is complete"), || {
        shell.find(name).unwrap().status == Status::Seeding
    });
}

fn at(shell: &PeerShell) -> SocketAddr {
    shell.peer.local_addr()
}

/// What came from the liar was found to be wrong.
fn wait_until_banned(shell: &PeerShell, liar: &PeerShell) {
    wait_until("the liar is banned", || {
        let outcomes = shell.peer.connect(at(liar), &|| false).unwrap();
        let banned = |text: &String| text.contains("sent wrong data");
        let is_banned = |outcome: &CallOutcome| outcome.result.as_ref().is_err_and(banned);
        outcomes.iter().any(is_banned)
    });
}

/// What a seed reads is counted, and may be wrong.
struct Watched {
    content: MemoryStorage,
    read: AtomicU64,
    /// The place of a byte that is not what the torrent says.
    wrong: Option<u64>,
}

impl Storage for Watched {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StorageError> {
        self.content.read(offset, buffer)?;
        self.read.fetch_add(buffer.len() as u64, Ordering::SeqCst);
        let place = self.wrong.and_then(|at| at.checked_sub(offset));
        if let Some(byte) = place.and_then(|place| buffer.get_mut(place as usize)) {
            *byte ^= 1;
        }
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), StorageError> {
        self.content.write(offset, bytes)
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.content.sync()
    }

    fn finish(&self) -> Result<(), StorageError> {
        self.content.finish()
    }

    fn is_finished(&self) -> bool {
        self.content.is_finished()
    }

    fn final_path(&self) -> &Path {
        self.content.final_path()
    }

    fn names(&self) -> Option<Arc<SafePaths>> {
        self.content.names()
    }

    fn free_space(&self) -> Result<u64, StorageError> {
        self.content.free_space()
    }

    fn needed_space(&self) -> Result<u64, StorageError> {
        self.content.needed_space()
    }

    fn stamps(&self) -> Result<Vec<FileStamp>, StorageError> {
        self.content.stamps()
    }

    fn verify_unchanged(&self) -> Result<(), StorageError> {
        self.content.verify_unchanged()
    }
}

/// A file, its torrent, and peers that know nobody unless they are told.
struct Swarm {
    temp: tempfile::TempDir,
    file: PathBuf,
    torrent: Arc<Metainfo>,
}

impl Swarm {
    fn new(size: usize) -> Swarm {
        let temp = tempfile::tempdir().unwrap();
        let file = make_file(temp.path(), "file.bin", size);
        let torrent = Arc::new(Metainfo::parse(&torrent_of(&file, &[])).unwrap());
        Swarm {
            temp,
            file,
            torrent,
        }
    }

    fn seed(&self, name: &str, wrong: Option<u64>) -> (PeerShell, Arc<Watched>) {
        let shell = start_peer(&[], &self.temp.path().join(name));
        let storage = Arc::new(Watched {
            content: MemoryStorage::full("file.bin", fs::read(&self.file).unwrap()),
            read: AtomicU64::new(0),
            wrong,
        });
        let seeding = shell
            .peer
            .seed(self.torrent.clone(), storage.clone(), None, None);
        seeding.unwrap();
        (shell, storage)
    }

    fn getter(&self, name: &str, sources: &[SocketAddr]) -> PeerShell {
        let shell = start_peer(&[], &self.temp.path().join(name));
        let target = shell.peer.folder().join("file.bin");
        let sources = Sources::Only(sources.to_vec());
        let begun = shell
            .peer
            .download(self.torrent.clone(), &target, None, sources, &|| false);
        begun.unwrap();
        shell
    }

    fn assert_complete(&self, shell: &PeerShell) {
        wait_for(shell, "file.bin");
        assert_eq!(sha256(&view(shell).path), sha256(&self.file));
    }
}

/// Between two peers: cuts and merges what they send as TCP may do, and no more.
struct Relay {
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Carries one connection.
    fn to(target: SocketAddr) -> Relay {
        let listener = TcpListener::bind(any_port()).unwrap();
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let (caller, _) = listener.accept().unwrap();
            let called = TcpStream::connect(target).unwrap();
            let ends = [(&caller, &called), (&called, &caller)];
            std::thread::scope(|scope| {
                for (from, to) in ends {
                    scope.spawn(|| cut_and_merge(from, to));
                }
            });
        });
        Relay {
            address,
            thread: Some(thread),
        }
    }

    /// When both peers have gone.
    fn join(mut self) {
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Passes bytes on in parts of 1, 2, 3, … bytes first, whatever the messages in them, and then in
/// parts that hold many messages.
fn cut_and_merge(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = to.set_nodelay(true);
    let mut buffer = vec![0; 40_000];
    let mut part = 0;
    loop {
        part = (part + 1).min(400);
        let most = if part < 400 { part } else { buffer.len() };
        match from.read(&mut buffer[..most]) {
            Ok(0) | Err(_) => break,
            Ok(got) if to.write_all(&buffer[..got]).is_err() => break,
            Ok(_) => {}
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// The menu-driven program with `announce` and `getpeers`, and text messages between peers.
mod seed_0 {
    use super::*;

    /// It took what one `recv` gave for one message.
    #[test]
    fn tcp_merging_corrupts_data() {
        let tracker = TrackerProgram::start();
        let merged = b"announce a.txt:1\nannounce b.txt:2\ngetpeers a.txt\ngetpeers b.txt\n";
        for cut in [Cut::Nowhere, Cut::EveryByte] {
            let known = match cut {
                Cut::Nowhere => "Peer registered\nPeer registered\n",
                Cut::EveryByte => "Peer already registered\nPeer already registered\n",
            };
            let expect = format!("{known}127.0.0.1:1\n127.0.0.1:2\n");
            assert_eq!(said(tracker.address, merged, cut), expect);
        }

        let swarm = Swarm::new(2_000_000);
        let (alice, _) = swarm.seed("alice", None);
        let relay = Relay::to(at(&alice));
        let bob = swarm.getter("bob", &[relay.address]);
        swarm.assert_complete(&bob);
        drop((alice, bob));
        relay.join();
    }

    /// Only the first kilobyte's header was taken off.
    #[test]
    fn files_over_one_kilobyte_are_damaged() {
        let mut pair = Pair::new();
        for size in [1, 1023, 1024, 1025, 2048, 100_000] {
            pair.moves(&format!("{size}.bin"), &random_bytes("kilobytes", size));
        }
    }

    /// It kept data in C strings.
    #[test]
    fn data_is_cut_at_the_first_nul() {
        let mut pair = Pair::new();
        pair.moves("one nul", b"before\0after");
        pair.moves("zeros", &[0; 5000]);
        pair.moves("ends", b"text\0");
    }

    /// What was fetched was to be shared on, and the copy for that was closed after one kilobyte.
    #[test]
    fn the_shared_copy_ends_after_the_first_kilobyte() {
        let mut pair = Pair::new();
        let content = random_bytes("shared on", 300_000);
        pair.moves("file.bin", &content);
        let Pair {
            temp,
            tracker,
            alice,
            bob,
        } = pair;
        drop(alice);
        let mut carol = start_peer(&[tracker.local_addr()], &temp.path().join("carol"));
        run(&mut carol, "download_file file.bin");
        wait_for(&carol, "file.bin");
        assert!(fs::read(carol.peer.folder().join("file.bin")).unwrap() == content);
        wait_until("bob has given all of it", || {
            view(&bob).uploaded == content.len() as u64
        });
    }

    /// `REQUEST ../../x` was answered. Between peers no names are said here; where names are said,
    /// they are names only.
    #[test]
    fn a_request_with_dots_reads_outside_the_folder() {
        let mut pair = Pair::new();
        let secret = pair.temp.path().join("secret");
        fs::write(&secret, "nobody's business").unwrap();
        let tracker = pair.tracker.local_addr();
        let none = "No peers available for this file\n";
        assert_eq!(ask(tracker, "getpeers ...."), none);
        for name in ["../secret", "../../secret", "/etc/passwd", ".."] {
            assert!(
                ask(tracker, &format!("announce {name}:1")).starts_with("Invalid"),
                "{name}"
            );
            assert!(
                ask(tracker, &format!("REGISTER {name} 1")).starts_with("ERROR"),
                "{name}"
            );
            assert!(
                ask(tracker, &format!("getpeers {name}")).starts_with("Invalid"),
                "{name}"
            );
            let fetched = pair.bob.run(&format!("download_file {name}"));
            assert!(fetched.is_err(), "{name}");
        }
        // A torrent that says that its file lies outside.
        let torrent = pair.temp.path().join("evil.torrent");
        let evil = b"d4:infod5:filesld6:lengthi17e4:pathl2:..2:..6:secreteee4:name1:x12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee";
        fs::write(&torrent, evil).unwrap();
        let added = pair.bob.run(&format!("add {}", torrent.display()));
        let refusal = added.unwrap_err().to_string();
        assert!(refusal.contains("leaves the torrent's folder"), "{refusal}");
        assert!(pair.bob.peer.torrents().unwrap().is_empty());
    }

    /// Requests were split at every space and colon.
    #[test]
    fn names_with_spaces_or_colons_fail() {
        let mut pair = Pair::new();
        let name = if cfg!(windows) {
            "my file.txt"
        } else {
            "my: file.txt"
        };
        pair.moves(name, b"some text");
        let tracker = pair.tracker.local_addr();
        assert_eq!(
            ask(tracker, "announce what: a name.txt:7001"),
            "Peer registered\n"
        );
        assert_eq!(
            ask(tracker, "getpeers what: a name.txt"),
            "127.0.0.1:7001\n"
        );
    }

    #[test]
    fn a_non_numeric_port_kills_the_tracker() {
        let tracker = TrackerProgram::start();
        for port in [
            "port",
            "",
            "7x",
            "-1",
            "0",
            "65536",
            "99999999999999999999",
            "٣",
        ] {
            let said = ask(tracker.address, &format!("announce a.txt:{port}"));
            assert_eq!(said, "Invalid announce format\n", "{port}");
        }
        assert_eq!(
            ask(tracker.address, "announce a.txt:7001"),
            "Peer registered\n"
        );
    }

    /// Two peers with the same port on two machines were one.
    #[test]
    fn peers_are_compared_by_port_only() {
        let tracker = TrackerProgram::start();
        for host in [[127, 0, 0, 1], [127, 0, 0, 2]] {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.bind(&SocketAddr::from((host, 0)).into()).unwrap();
            socket.connect(&tracker.address.into()).unwrap();
            let mut stream = TcpStream::from(socket);
            stream.write_all(b"announce a.txt:7001\n").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut reply = String::new();
            stream.read_to_string(&mut reply).unwrap();
            assert_eq!(reply, "Peer registered\n", "{host:?}");
        }
        let both = "127.0.0.1:7001\n127.0.0.2:7001\n";
        assert_eq!(ask(tracker.address, "getpeers a.txt"), both);

        let swarm = Swarm::new(100_000);
        let (alice, _) = swarm.seed("alice", None);
        let bob = swarm.getter("bob", &[at(&alice)]);
        // Another machine's peer with Alice's port is parted from, and she is not.
        let other = SocketAddr::from(([127, 0, 0, 2], at(&alice).port()));
        assert_eq!(bob.peer.disconnect(other).unwrap(), 0);
        swarm.assert_complete(&bob);
    }

    /// A file could be asked for only over a connection that the user had opened before.
    #[test]
    fn a_request_needs_an_open_connection() {
        let mut pair = Pair::new();
        assert!(pair.bob.peer.peers().unwrap().is_empty());
        pair.moves("file.bin", &random_bytes("no connection", 10_000));
    }

    #[test]
    fn one_download_at_a_time() {
        let mut pair = Pair::new();
        let names = ["a.bin", "b.bin", "c.bin"];
        // So slow that none ends before all have begun.
        run(&mut pair.bob, "limit down 300K");
        for name in names {
            let path = make_file(pair.temp.path(), name, 1_000_000);
            pair.share(&path);
            run(&mut pair.bob, &format!("download_file {name}"));
        }
        wait_until("all three are under way at once", || {
            let torrents = pair.bob.peer.torrents().unwrap();
            assert!(
                torrents
                    .iter()
                    .all(|torrent| torrent.status == Status::Downloading)
            );
            torrents.iter().all(|torrent| torrent.downloaded > 0)
        });
        run(&mut pair.bob, "limit down off");
        for name in names {
            wait_for(&pair.bob, name);
            let got = sha256(&pair.bob.peer.folder().join(name));
            assert_eq!(got, sha256(&pair.temp.path().join(name)));
        }
    }

    /// Whatever came was taken for the file.
    #[test]
    fn nothing_is_hashed() {
        let swarm = Swarm::new(1_500_000);
        let (liar, _) = swarm.seed("liar", Some(700_000));
        let bob = swarm.getter("bob", &[at(&liar)]);
        wait_until_banned(&bob, &liar);
        assert!(view(&bob).have < 1_500_000);
        let (honest, _) = swarm.seed("honest", None);
        bob.peer.connect(at(&honest), &|| false).unwrap();
        swarm.assert_complete(&bob);
    }
}

/// The program with `REGISTER` and `GETPEERS`, and one file from one seeder.
mod seed_1 {
    use super::*;

    #[test]
    fn names_with_spaces_cannot_be_registered() {
        let tracker = TrackerProgram::start();
        assert_eq!(ask(tracker.address, "REGISTER my holiday.iso 7001"), "OK\n");
        assert_eq!(
            ask(tracker.address, "GETPEERS my holiday.iso"),
            "127.0.0.1:7001;\n"
        );
        assert_eq!(ask(tracker.address, "GETPEERS my"), "\n");
        Pair::new().moves("my holiday.txt", b"sun");
    }

    /// A port that was taken was noticed only after the tracker had been told of it, and stayed
    /// listed.
    #[test]
    fn registers_before_binding() {
        let tracker = start_tracker();
        let temp = tempfile::tempdir().unwrap();
        let mut place = Place::new(temp.path(), "alice", &[tracker.local_addr()]);
        let taken = TcpListener::bind(any_port()).unwrap();
        place.listen = taken.local_addr().unwrap();
        make_file(&place.folder, "file.bin", 1000);
        let mut alice = place.start(&["-c", "upload_file file.bin"]);
        assert!(!alice.ended(peers::PATIENCE).success());
        assert!(
            alice
                .said()
                .contains("is taken: is a tracker or peer running"),
            "{}",
            alice.said()
        );
        assert_eq!(ask(tracker.local_addr(), "GETPEERS file.bin"), "\n");
        assert_eq!(ask(tracker.local_addr(), "list_files public"), "OK 0\n");
    }

    /// Sizes were sent as the machine keeps them. Here every number on the wire has its length and
    /// its order.
    #[test]
    fn struct_sizes_go_over_the_wire() {
        let mut bytes = Vec::new();
        let block = BlockRequest {
            index: 0x0102_0304,
            begin: 0x0506_0708,
            length: 0x4000,
        };
        codec::encode(&Message::Request(block), &mut bytes);
        let expect = [0, 0, 0, 13, 6, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0x40, 0];
        assert_eq!(bytes, expect);
        assert_eq!(codec::decode(&bytes[4..]).unwrap(), Message::Request(block));
    }

    /// Before the first byte of every answer.
    #[test]
    fn hashes_the_whole_file_at_every_request() {
        let size = 3_000_000;
        let swarm = Swarm::new(size);
        let (alice, storage) = swarm.seed("alice", None);
        for name in ["bob", "carol"] {
            let getter = swarm.getter(name, &[at(&alice)]);
            swarm.assert_complete(&getter);
        }
        // To hash it once for each of them would be as much again.
        let read = storage.read.load(Ordering::SeqCst);
        assert!(read < 3 * size as u64, "{read} bytes were read");
    }

    /// Only whole kilobytes were looked at.
    #[test]
    fn checksum_ignores_the_tail() {
        for size in [1000, 1_048_577] {
            let swarm = Swarm::new(size);
            let (liar, _) = swarm.seed("liar", Some(size as u64 - 1));
            let bob = swarm.getter("bob", &[at(&liar)]);
            wait_until_banned(&bob, &liar);
            assert_ne!(view(&bob).have, size as u64);
            assert!(!view(&bob).finished);
        }
    }

    #[test]
    fn broken_output_is_left_in_place() {
        let swarm = Swarm::new(1000);
        let (liar, _) = swarm.seed("liar", Some(10));
        let bob = swarm.getter("bob", &[at(&liar)]);
        wait_until_banned(&bob, &liar);
        assert_eq!(view(&bob).have, 0);
        assert!(!view(&bob).path.exists(), "nothing under the real name");
        let (honest, _) = swarm.seed("honest", None);
        bob.peer.connect(at(&honest), &|| false).unwrap();
        swarm.assert_complete(&bob);
    }

    #[test]
    fn one_source_only() {
        let swarm = Swarm::new(6_000_000);
        let seeds = ["alice", "carol"].map(|name| {
            let (seed, storage) = swarm.seed(name, None);
            // So that neither is through before the other has begun.
            seed.peer.limits.up.set(Some(5_000_000));
            (seed, storage)
        });
        let sources = seeds.each_ref().map(|(seed, _)| at(seed));
        let bob = swarm.getter("bob", &sources);
        swarm.assert_complete(&bob);
        for (seed, storage) in &seeds {
            let given = storage.read.load(Ordering::SeqCst);
            assert!(given > 500_000, "{} gave {given} bytes", at(seed));
        }
    }
}
