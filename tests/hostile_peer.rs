//! Proves that a peer survives hostile ones: whatever they send, it lives, serves others, keeps
//! its memory, says why it parted, and a download ends right.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use parking_lot::RwLock;

use mini_bittorrent::shell::peer_shell::PeerShell;
use mini_bittorrent::torrent::id::{InfoHash, PeerId};
use mini_bittorrent::wire::codec;
use mini_bittorrent::wire::handshake::{HANDSHAKE_LENGTH, Handshake};
use mini_bittorrent::wire::message::{BlockRequest, Message};

use crate::support::peers::{
    all_logged, keep_log, logged, make_file, memory, random_bytes, sha256, start_peer,
    start_tracker, view, wait_at_most, wait_until, watchdog,
};

const BLOCK: u32 = 16 * 1024;
const PIECE: u32 = 512 * 1024;
const PIECES: u32 = 8;
const SIZE: usize = (PIECE * PIECES) as usize;

/// How much more memory than before may be in use after an attack, in bytes.
const MEMORY: u64 = 48 << 20;

/// A peer that does as the test says.
struct Fake {
    stream: TcpStream,
    /// How the other side's log calls it.
    name: String,
}

impl Fake {
    /// Connected, and nothing said.
    fn connect(to: SocketAddr) -> Fake {
        let stream = TcpStream::connect(to).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream
            .set_write_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let name = stream.local_addr().unwrap().to_string();
        Fake { stream, name }
    }

    /// Past the handshakes, with the fast extension.
    fn shake(to: SocketAddr, info_hash: InfoHash, number: u8) -> Fake {
        let mut fake = Fake::connect(to);
        fake.say_hello(info_hash, id(number));
        let mut theirs = [0; HANDSHAKE_LENGTH];
        fake.stream.read_exact(&mut theirs).unwrap();
        assert_eq!(Handshake::decode(&theirs).unwrap().info_hash, info_hash);
        fake
    }

    fn say_hello(&mut self, info_hash: InfoHash, peer_id: PeerId) {
        let hello = Handshake {
            info_hash,
            peer_id,
            fast: true,
            extended: true,
        };
        self.stream.write_all(&hello.encode()).unwrap();
    }

    fn send(&mut self, message: &Message) {
        self.stream.write_all(&frame(message)).unwrap();
    }

    /// As much of `bytes` as the other side takes before it parts or stops reading.
    fn pour(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(64 * 1024) {
            if self.stream.write_all(part).is_err() {
                return;
            }
        }
    }

    fn read(&mut self) -> io::Result<Message> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut frame)?;
        codec::decode(&frame).map_err(io::Error::other)
    }

    fn wait_for(&mut self, what: &str, is: impl Fn(&Message) -> bool) -> Message {
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until {
            let message = self
                .read()
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            if is(&message) {
                return message;
            }
        }
        panic!("no {what}");
    }

    /// The other side has parted: nothing more comes.
    fn is_parted(&mut self) -> bool {
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(25) {
            match self.stream.read(&mut [0; 4096]) {
                Ok(0) => return true,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return true,
                Err(_) => return false,
                Ok(_) => {}
            }
        }
        false
    }

    /// Answers every request out of `content` until the other side parts.
    fn serve(mut self, content: &[u8]) -> u32 {
        let mut served = 0;
        while let Ok(message) = self.read() {
            match message {
                Message::Interested => self.send(&Message::Unchoke),
                Message::Request(block) => {
                    let start = (block.index * PIECE + block.begin) as usize;
                    let block = Message::Piece {
                        index: block.index,
                        begin: block.begin,
                        block: content[start..start + block.length as usize].to_vec(),
                    };
                    if self.stream.write_all(&frame(&block)).is_err() {
                        break;
                    }
                    served += 1;
                }
                _ => {}
            }
        }
        served
    }
}

fn id(number: u8) -> PeerId {
    let mut id = *b"-XX0001-abcdefghijkl";
    id[19] = number;
    PeerId(id)
}

fn frame(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::encode(message, &mut bytes);
    bytes
}

fn request(index: u32, begin: u32, length: u32) -> Message {
    Message::Request(BlockRequest {
        index,
        begin,
        length,
    })
}

fn frames(count: usize, messages: &[Message]) -> Vec<u8> {
    let once: Vec<u8> = messages.iter().flat_map(frame).collect();
    once.repeat(count)
}

/// A seed of `content`, without any tracker.
struct Victim {
    shell: PeerShell,
    content: Vec<u8>,
    at: SocketAddr,
    info_hash: InfoHash,
}

impl Victim {
    fn start(temp: &std::path::Path) -> Victim {
        let mut shell = start_peer(&[], &temp.join("victim"));
        let file = make_file(temp, "file.bin", SIZE);
        shell
            .run(&format!("upload_file {}", file.display()))
            .unwrap();
        let (at, info_hash) = (shell.peer.local_addr(), view(&shell).info_hash);
        Victim {
            shell,
            content: fs::read(file).unwrap(),
            at,
            info_hash,
        }
    }

    fn hello(&self, number: u8) -> Fake {
        Fake::shake(self.at, self.info_hash, number)
    }

    /// One that wants something and is served.
    fn served(&self, number: u8) -> Fake {
        let mut fake = self.hello(number);
        fake.send(&Message::HaveNone);
        fake.send(&Message::Interested);
        fake.wait_for("unchoke", |message| *message == Message::Unchoke);
        fake
    }

    /// An honest peer gets a block, and soon.
    fn assert_serves(&self, after: &str) {
        let since = Instant::now();
        let mut fake = self.served(200);
        fake.send(&request(3, BLOCK, BLOCK));
        let piece = fake.wait_for("piece", |message| matches!(message, Message::Piece { .. }));
        let start = (3 * PIECE + BLOCK) as usize;
        let right = Message::Piece {
            index: 3,
            begin: BLOCK,
            block: self.content[start..start + BLOCK as usize].to_vec(),
        };
        assert!(piece == right, "after {after}");
        let took = since.elapsed();
        assert!(took < Duration::from_secs(10), "{took:?} after {after}");
        drop(fake);
        wait_until("the honest peer is gone", || view(&self.shell).peers == 0);
    }
}

/// Those who measure this process's memory want nobody beside them.
static MEASURED: RwLock<()> = RwLock::new(());

type Attack = (&'static str, &'static str, fn(&Victim) -> Fake);

/// What a hostile peer does, and what the log says of it: then it has been parted from.
const PARTED: &[Attack] = &[
    ("garbage", "does not speak the BitTorrent protocol", |v| {
        let mut fake = Fake::connect(v.at);
        fake.pour(&random_bytes("garbage", 100_000));
        fake
    }),
    ("another torrent", "no such torrent", |v| {
        let mut fake = Fake::connect(v.at);
        fake.say_hello(InfoHash([7; 20]), id(1));
        fake
    }),
    ("our own id", "our own", |v| {
        let mut fake = Fake::connect(v.at);
        fake.say_hello(v.info_hash, v.shell.peer.peer_id());
        fake
    }),
    ("a frame of 4 GB", "a frame of 4294967295 bytes", |v| {
        let mut fake = v.hello(2);
        fake.pour(&[0xff; 100_000]);
        fake
    }),
    ("spare bits", "bitfield", |v| {
        let mut fake = Fake::connect(v.at);
        fake.say_hello(v.info_hash, id(3));
        fake.send(&Message::Bitfield(vec![0xff, 0x01]));
        fake
    }),
    ("a long bitfield", "bitfield", |v| {
        let mut fake = v.hello(4);
        fake.send(&Message::Bitfield(vec![0xff; 1000]));
        fake
    }),
    ("a huge bitfield", "of 300001 bytes", |v| {
        let mut fake = v.hello(5);
        fake.pour(&frame(&Message::Bitfield(vec![0; 300_000])));
        fake
    }),
    (
        "a piece that is not",
        "piece 8, which does not exist",
        |v| {
            let mut fake = v.hello(7);
            fake.send(&Message::Have(PIECES));
            fake
        },
    ),
    (
        "a request beyond the end",
        "block 0+16384 of piece 9",
        |v| {
            let mut fake = v.hello(8);
            fake.send(&request(9, 0, BLOCK));
            fake
        },
    ),
    (
        "a request across the end",
        "block 524287+2 of piece 7",
        |v| {
            let mut fake = v.hello(9);
            fake.send(&request(7, PIECE - 1, 2));
            fake
        },
    ),
    ("a request that overflows", "which does not exist", |v| {
        let mut fake = v.hello(10);
        fake.send(&request(7, u32::MAX, u32::MAX));
        fake
    }),
    ("a request of 1 GB", "block 0+1073741824 of piece 0", |v| {
        let mut fake = v.hello(11);
        fake.send(&request(0, 0, 1 << 30));
        fake
    }),
    ("an empty request", "block 0+0 of piece 0", |v| {
        let mut fake = v.hello(12);
        fake.send(&request(0, 0, 0));
        fake
    }),
    ("blocks nobody asked for", "nobody asked for", |v| {
        let mut fake = v.hello(13);
        let block = Message::Piece {
            index: 0,
            begin: 0,
            block: vec![0; BLOCK as usize],
        };
        fake.pour(&frames(200, &[block]));
        fake
    }),
    ("a block without a piece", "which does not exist", |v| {
        let mut fake = v.hello(14);
        let block = Message::Piece {
            index: 99,
            begin: 0,
            block: vec![0; BLOCK as usize],
        };
        fake.send(&block);
        fake
    }),
    ("broken lengths", "message 4 of 3 bytes", |v| {
        let mut fake = v.hello(15);
        fake.pour(&[0, 0, 0, 3, 4, 0, 0]);
        fake
    }),
    (
        "an extension handshake that is none",
        "broke the protocol",
        |v| {
            let mut fake = v.hello(16);
            let payload = b"d1:v999999999:".to_vec();
            fake.send(&Message::Extended {
                extension: 0,
                payload,
            });
            fake
        },
    ),
    ("a deep extension handshake", "broke the protocol", |v| {
        let mut fake = v.hello(17);
        let payload = vec![b'l'; 60_000];
        fake.send(&Message::Extended {
            extension: 0,
            payload,
        });
        fake
    }),
    (
        "requests without end, served and not read",
        "asks faster than it reads",
        |v| {
            let mut fake = v.served(18);
            let blocks = |index| (0..PIECE / BLOCK).map(move |n| request(index, n * BLOCK, BLOCK));
            let wanted: Vec<Message> = (0..PIECES).flat_map(blocks).collect();
            fake.pour(&frames(1_000_000 / wanted.len(), &wanted));
            fake
        },
    ),
];

#[test]
fn whoever_breaks_the_protocol_is_parted_from_with_a_reason() {
    let _measured = MEASURED.write();
    keep_log();
    let _watchdog = watchdog(Duration::from_secs(120), "the attacks");
    let temp = tempfile::tempdir().unwrap();
    let victim = Victim::start(temp.path());
    victim.assert_serves("nothing");
    let before = memory(std::process::id());
    for (attack, reason, run) in PARTED {
        let since = Instant::now();
        let mut fake = run(&victim);
        assert!(fake.is_parted(), "{attack}: still connected");
        wait_at_most(Duration::from_secs(5), attack, || {
            logged(&[&fake.name, reason]).is_some()
                || (since.elapsed() > Duration::from_secs(4)
                    && panic!("{attack}: no `{reason}` in\n{}", all_logged(&fake.name)))
        });
        victim.assert_serves(attack);
    }
    let after = memory(std::process::id());
    println!(
        "memory {} MiB before, {} MiB after",
        before >> 20,
        after >> 20
    );
    assert!(
        after < before + MEMORY,
        "{before} bytes before, {after} after"
    );
}

type Storm = (&'static str, fn(&mut Fake));

/// What is odd and allowed, however often it comes: it costs the others nothing.
const BORNE: &[Storm] = &[
    ("keep-alives", |fake| fake.pour(&[0; 400_000])),
    ("unknown messages", |fake| {
        fake.pour(&[0, 0, 0, 2, 77, 1].repeat(100_000));
    }),
    ("choke storms", |fake| {
        fake.pour(&frames(50_000, &[Message::Choke, Message::Unchoke]));
    }),
    ("interest storms", |fake| {
        let storm = [Message::Interested, Message::NotInterested];
        fake.pour(&frames(50_000, &storm));
    }),
    ("have floods", |fake| {
        let haves: Vec<Message> = (0..PIECES - 1).map(Message::Have).collect();
        fake.pour(&frames(15_000, &haves));
    }),
    ("suggestions", |fake| {
        fake.pour(&frames(
            50_000,
            &[Message::SuggestPiece(1), Message::AllowedFast(2)],
        ));
    }),
    ("refusals", |fake| {
        let refused = BlockRequest {
            index: 1,
            begin: 0,
            length: BLOCK,
        };
        fake.pour(&frames(50_000, &[Message::RejectRequest(refused)]));
    }),
    ("introductions", |fake| {
        let payload = b"d1:pi7600e4:reqqi1e1:v5:helloe".to_vec();
        let hello = Message::Extended {
            extension: 0,
            payload,
        };
        fake.pour(&frames(50_000, &[hello]));
    }),
];

#[test]
fn storms_are_borne_and_others_are_served_meanwhile() {
    let _measured = MEASURED.write();
    let _watchdog = watchdog(Duration::from_secs(120), "the storms");
    let temp = tempfile::tempdir().unwrap();
    let victim = Victim::start(temp.path());
    let before = memory(std::process::id());
    for (storm, run) in BORNE {
        let mut honest = victim.served(201);
        let mut fake = victim.hello(30);
        let stormer = std::thread::spawn(move || {
            run(&mut fake);
            fake
        });
        let mut rounds = 0;
        while rounds < 20 || !stormer.is_finished() {
            let since = Instant::now();
            honest.send(&request(rounds % PIECES, 0, BLOCK));
            honest.wait_for("piece", |message| matches!(message, Message::Piece { .. }));
            let took = since.elapsed();
            assert!(took < Duration::from_secs(5), "{took:?} during {storm}");
            rounds += 1;
        }
        drop((stormer.join().unwrap(), honest));
        wait_until("all are gone", || view(&victim.shell).peers == 0);
    }
    let after = memory(std::process::id());
    println!(
        "memory {} MiB before, {} MiB after",
        before >> 20,
        after >> 20
    );
    assert!(
        after < before + MEMORY,
        "{before} bytes before, {after} after"
    );
}

#[test]
fn a_hundred_slow_handshakes_hold_nobody_up_for_long() {
    let _measured = MEASURED.read();
    keep_log();
    let _watchdog = watchdog(Duration::from_secs(60), "the slow handshakes");
    let temp = tempfile::tempdir().unwrap();
    let victim = Victim::start(temp.path());
    let mut slow: Vec<Fake> = (0..100).map(|_| Fake::connect(victim.at)).collect();
    let hello = Handshake {
        info_hash: victim.info_hash,
        peer_id: id(40),
        fast: true,
        extended: true,
    };
    // A byte now and then keeps a mere silence deadline from ever coming.
    let hello = hello.encode();
    let since = Instant::now();
    let mut bytes = hello.iter();
    let mut sent = Instant::now();
    wait_at_most(
        Duration::from_secs(20),
        "the slow ones are turned away",
        || {
            if sent.elapsed() > Duration::from_secs(1)
                && let Some(byte) = bytes.next()
            {
                sent = Instant::now();
                for fake in &mut slow {
                    let _ = fake.stream.write_all(&[*byte]);
                }
            }
            slow.iter()
                .all(|fake| logged(&[&fake.name, "turned away"]).is_some())
        },
    );
    println!("all turned away after {:?}", since.elapsed());
    victim.assert_serves("slow handshakes");
}

#[test]
fn one_who_connects_twice_is_connected_once() {
    let _measured = MEASURED.read();
    keep_log();
    let _watchdog = watchdog(Duration::from_secs(60), "connecting twice");
    let temp = tempfile::tempdir().unwrap();
    let victim = Victim::start(temp.path());
    let mut first = victim.served(50);
    let mut second = Fake::connect(victim.at);
    second.say_hello(victim.info_hash, id(50));
    assert!(second.is_parted());
    assert!(logged(&[&second.name, "connected already"]).is_some());
    first.send(&request(0, 0, BLOCK));
    first.wait_for("piece", |message| matches!(message, Message::Piece { .. }));
    assert_eq!(view(&victim.shell).peers, 1);
}

#[test]
fn a_hundred_connections_are_too_many() {
    let _measured = MEASURED.read();
    keep_log();
    let _watchdog = watchdog(Duration::from_secs(60), "a hundred connections");
    let temp = tempfile::tempdir().unwrap();
    let victim = Victim::start(temp.path());
    let mut fakes = Vec::new();
    let mut away = 0;
    for number in 0..100 {
        let mut fake = Fake::connect(victim.at);
        fake.say_hello(victim.info_hash, id(number));
        if fake.stream.read_exact(&mut [0; HANDSHAKE_LENGTH]).is_err() {
            assert!(logged(&[&fake.name, "turned away: too many"]).is_some());
            away += 1;
        }
        fakes.push(fake);
    }
    assert_eq!(away, 20);
    assert_eq!(view(&victim.shell).peers, 80);
    drop(fakes);
    wait_until("all are gone", || view(&victim.shell).peers == 0);
    victim.assert_serves("a hundred connections");
}

/// A downloader to which fakes connect, a tracker, and an honest seed in reserve.
struct Download {
    _tracker: mini_bittorrent::tracker::Tracker,
    seed: PeerShell,
    getter: PeerShell,
    file: std::path::PathBuf,
    info_hash: InfoHash,
}

impl Download {
    /// Nobody else serves until [`Download::let_seed`].
    fn start(temp: &std::path::Path) -> Download {
        let tracker = start_tracker();
        let at = tracker.local_addr();
        let mut seed = start_peer(&[at], &temp.join("seed"));
        let mut getter = start_peer(&[at], &temp.join("getter"));
        let file = make_file(temp, "file.bin", SIZE);
        seed.run(&format!("upload_file {}", file.display()))
            .unwrap();
        seed.run("pause file.bin").unwrap();
        getter.run("download_file file.bin").unwrap();
        let info_hash = view(&getter).info_hash;
        Download {
            _tracker: tracker,
            seed,
            getter,
            file,
            info_hash,
        }
    }

    fn fake_seed(&self, number: u8) -> Fake {
        let mut fake = Fake::shake(self.getter.peer.local_addr(), self.info_hash, number);
        fake.send(&Message::HaveAll);
        fake
    }

    fn let_seed(&mut self) {
        self.seed.run("resume file.bin").unwrap();
    }

    fn assert_ends_right(&mut self, within: Duration) {
        let since = Instant::now();
        wait_at_most(within, "the download ends", || {
            !view(&self.getter).is_under_way()
        });
        println!("it ended after {:?}", since.elapsed());
        let got = self.getter.peer.folder().join("file.bin");
        assert_eq!(sha256(&got), sha256(&self.file));
    }
}

#[test]
fn a_wrong_piece_convicts_its_sender_and_comes_from_another() {
    let _measured = MEASURED.read();
    keep_log();
    let _watchdog = watchdog(Duration::from_secs(60), "the wrong piece");
    let temp = tempfile::tempdir().unwrap();
    let mut download = Download::start(temp.path());
    let liar = download.fake_seed(60);
    let name = liar.name.clone();
    let wrong = vec![0; SIZE];
    let liar = std::thread::spawn(move || liar.serve(&wrong));
    wait_until("the liar is banned", || {
        logged(&[&name, "wrong hash: banned"]).is_some()
    });
    let served = liar.join().unwrap();
    println!("the liar got {served} blocks across");
    assert_eq!(view(&download.getter).have, 0);
    // It may not come back under the same name.
    let mut again = Fake::connect(download.getter.peer.local_addr());
    again.say_hello(download.info_hash, id(60));
    assert!(again.is_parted());
    assert!(logged(&[&again.name, "banned"]).is_some());
    download.let_seed();
    download.assert_ends_right(Duration::from_secs(30));
}

#[test]
fn one_who_accepts_requests_and_sends_nothing_is_replaced() {
    let _measured = MEASURED.read();
    let _watchdog = watchdog(Duration::from_secs(60), "the silent seed");
    let temp = tempfile::tempdir().unwrap();
    let mut download = Download::start(temp.path());
    let mut silent = download.fake_seed(70);
    silent.send(&Message::Unchoke);
    silent.wait_for("request", |message| matches!(message, Message::Request(_)));
    download.let_seed();
    download.assert_ends_right(Duration::from_secs(40));
}

#[test]
fn one_who_dies_in_the_middle_of_a_block_is_replaced() {
    let _measured = MEASURED.read();
    let _watchdog = watchdog(Duration::from_secs(60), "the dying seed");
    let temp = tempfile::tempdir().unwrap();
    let mut download = Download::start(temp.path());
    let mut dying = download.fake_seed(80);
    dying.send(&Message::Unchoke);
    let asked = dying.wait_for("request", |message| matches!(message, Message::Request(_)));
    let Message::Request(asked) = asked else {
        unreachable!("waited for it");
    };
    let start = (asked.index * PIECE + asked.begin) as usize;
    let block = fs::read(&download.file).unwrap()[start..start + BLOCK as usize].to_vec();
    let piece = frame(&Message::Piece {
        index: asked.index,
        begin: asked.begin,
        block,
    });
    dying.stream.write_all(&piece[..5000]).unwrap();
    drop(dying);
    download.let_seed();
    download.assert_ends_right(Duration::from_secs(30));
}

#[test]
fn those_who_refuse_choke_and_promise_do_not_keep_a_download_from_its_end() {
    let _measured = MEASURED.read();
    let _watchdog = watchdog(Duration::from_secs(90), "the unwilling seeds");
    let temp = tempfile::tempdir().unwrap();
    let mut download = Download::start(temp.path());
    // Refuses every request.
    let mut refusing = download.fake_seed(90);
    refusing.send(&Message::Unchoke);
    let mut refuser = refusing.stream.try_clone().unwrap();
    let refusals = std::thread::spawn(move || {
        while let Ok(message) = refusing.read() {
            if let Message::Request(asked) = message {
                let no = frame(&Message::RejectRequest(asked));
                if refuser.write_all(&no).is_err() {
                    break;
                }
            }
        }
    });
    // Chokes as soon as it is asked, and unchokes again.
    let mut moody = download.fake_seed(91);
    let mut moods = moody.stream.try_clone().unwrap();
    moody.send(&Message::Unchoke);
    let moods = std::thread::spawn(move || {
        let storm = frames(1, &[Message::Choke, Message::Unchoke]);
        while let Ok(message) = moody.read() {
            if matches!(message, Message::Request(_)) && moods.write_all(&storm).is_err() {
                break;
            }
        }
    });
    // Says that it has everything, and never unchokes.
    let promising = download.fake_seed(92);
    download.let_seed();
    download.assert_ends_right(Duration::from_secs(60));
    drop(promising);
    drop(download);
    refusals.join().unwrap();
    moods.join().unwrap();
}
