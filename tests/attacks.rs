//! Proves that nobody but a member learns anything of a group's torrent from a peer's port, that a
//! former member is out when the ticket ends, and that members are not interrupted.
//!
//! Every attack sees the same as with an info hash that nobody knows: a closed connection. And
//! every attack succeeds against a peer that does not check, so none fails for another reason.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;

use mini_bittorrent::control::key::PeerKey;
use mini_bittorrent::control::ticket::Ticket;
use mini_bittorrent::peer::noise::{self, KeyPair};
use mini_bittorrent::peer::view::Status;
use mini_bittorrent::torrent::id::{InfoHash, PeerId};
use mini_bittorrent::torrent::metainfo::Metainfo;
use mini_bittorrent::wire::codec;
use mini_bittorrent::wire::extension::TICKET;
use mini_bittorrent::wire::handshake::{HANDSHAKE_LENGTH, Handshake};
use mini_bittorrent::wire::message::{BlockRequest, Message};

use crate::support::groups::{GroupTracker, Member, group, id};
use crate::support::peers::{
    keep_log, logged, make_file, random_bytes, sha256, wait_until, watchdog,
};

const BLOCK: u32 = 16 * 1024;
/// Nobody knows it.
const UNKNOWN: InfoHash = InfoHash([9; 20]);
/// How many callers there have been.
static CALLERS: AtomicU32 = AtomicU32::new(0);
/// In seconds: of tickets that outlive a test, and of such that do not.
const LONG: u64 = 600;
const SHORT: u64 = 3;

/// Alice is a member of g1 and g3, and shares a file in each, and one with everybody.
struct Victim {
    tracker: GroupTracker,
    alice: Member,
    content: Vec<u8>,
    /// In g1, in g3, and public.
    torrents: [Arc<Metainfo>; 3],
}

impl Victim {
    fn start(temp: &Path, check_tickets: bool) -> Victim {
        let tracker = GroupTracker::start(LONG);
        tracker.add_member("alice", 1);
        tracker.add_member("alice", 3);
        let alice = Member::start(&tracker, "alice", temp, check_tickets);
        let file = make_file(temp, "secret.bin", 300_000);
        let other = make_file(temp, "other.bin", 300_000);
        let public = make_file(temp, "public.bin", 300_000);
        let torrents = [
            alice.share(&file, 1),
            alice.share(&other, 3),
            alice.share(&public, 0),
        ];
        for torrent in &torrents {
            wait_until("the gates are open", || {
                alice.view(torrent).status == Status::Seeding
            });
        }
        Victim {
            tracker,
            alice,
            content: fs::read(file).unwrap(),
            torrents,
        }
    }

    fn at(&self) -> SocketAddr {
        self.alice.peer.local_addr()
    }

    fn secret(&self) -> InfoHash {
        self.torrents[0].info_hash
    }
}

/// A connection to the victim, and everything that it has said.
struct Caller {
    source: Box<dyn Read>,
    sink: Box<dyn Write>,
    heard: Vec<u8>,
}

/// Writes down what is sent.
struct Recorder(TcpStream, Arc<Mutex<Vec<u8>>>);

impl Read for Recorder {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Recorder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.lock().unwrap().extend_from_slice(bytes);
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    let patience = Some(Duration::from_secs(20));
    stream.set_read_timeout(patience).unwrap();
    stream.set_write_timeout(patience).unwrap();
    stream
}

/// What an attacker got.
#[derive(PartialEq, Eq)]
enum Got {
    /// This, and then the connection was closed.
    Closed(Vec<u8>),
    /// A block of the secret.
    Block(Vec<u8>),
}

impl Caller {
    fn plain(to: SocketAddr) -> Caller {
        let stream = connect(to);
        Caller {
            source: Box::new(stream.try_clone().unwrap()),
            sink: Box::new(stream),
            heard: Vec::new(),
        }
    }

    fn noise(to: SocketAddr, keys: &KeyPair, ticket: &[u8]) -> Caller {
        Caller::recorded(to, keys, ticket).0
    }

    fn recorded(to: SocketAddr, keys: &KeyPair, ticket: &[u8]) -> (Caller, Arc<Mutex<Vec<u8>>>) {
        let record = Arc::new(Mutex::new(Vec::new()));
        let mut stream = Recorder(connect(to), record.clone());
        let agreed = noise::call(&mut stream, keys, ticket).unwrap();
        let copy = stream.0.try_clone().unwrap();
        let (source, sink) = agreed.split(copy, stream);
        let caller = Caller {
            source: Box::new(source),
            sink: Box::new(sink),
            heard: Vec::new(),
        };
        (caller, record)
    }

    fn hear(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        let mut at = 0;
        while at < count {
            match self.source.read(&mut bytes[at..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                got => {
                    self.heard.extend_from_slice(&bytes[at..at + got]);
                    at += got;
                }
            }
        }
        Ok(bytes)
    }

    /// Takes the victim's ticket, as a caller does inside Noise.
    fn hear_ticket(&mut self) -> io::Result<()> {
        let mut ticket = [0; 2000];
        match self.source.read(&mut ticket)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            got => {
                self.heard.extend_from_slice(&ticket[..got]);
                Ok(())
            }
        }
    }

    fn say_hello(&mut self, info_hash: InfoHash) -> io::Result<()> {
        // Each with an id of its own: one that comes back too soon is taken for a second call.
        let mut peer_id = *b"-XX0001-abcdefgh\0\0\0\0";
        let number = CALLERS.fetch_add(1, Ordering::Relaxed);
        peer_id[16..].copy_from_slice(&number.to_be_bytes());
        let hello = Handshake {
            info_hash,
            peer_id: PeerId(peer_id),
            fast: true,
            extended: true,
        };
        self.sink.write_all(&hello.encode())
    }

    fn send(&mut self, message: &Message) -> io::Result<()> {
        let mut bytes = Vec::new();
        codec::encode(message, &mut bytes);
        self.sink.write_all(&bytes)
    }

    fn read(&mut self) -> io::Result<Message> {
        let length = self.hear(4)?;
        let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]);
        let frame = self.hear(length as usize)?;
        codec::decode(&frame).map_err(io::Error::other)
    }

    fn ask(&mut self) -> io::Result<()> {
        self.send(&Message::Request(BlockRequest {
            index: 0,
            begin: 0,
            length: BLOCK,
        }))
    }

    fn block(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.read()? {
                Message::Unchoke => self.ask()?,
                Message::Piece { block, .. } => return Ok(block),
                _ => {}
            }
        }
    }

    /// Past both handshakes, and with a first block.
    fn served(&mut self, info_hash: InfoHash) -> io::Result<Vec<u8>> {
        self.say_hello(info_hash)?;
        self.hear(HANDSHAKE_LENGTH)?;
        self.send(&Message::HaveNone)?;
        self.send(&Message::Interested)?;
        self.block()
    }

    fn steal(mut self, info_hash: InfoHash, in_noise: bool) -> Got {
        let ticket = if in_noise { self.hear_ticket() } else { Ok(()) };
        match ticket.and_then(|()| self.served(info_hash)) {
            Ok(block) => Got::Block(block),
            Err(error) => {
                assert!(is_closed(&error), "not closed: {error}");
                Got::Closed(self.heard)
            }
        }
    }
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let kinds = [
        UnexpectedEof,
        ConnectionReset,
        ConnectionAborted,
        BrokenPipe,
    ];
    kinds.contains(&error.kind())
}

/// What an attacker with this key shows inside Noise.
type Shows = fn(&GroupTracker, PeerKey) -> Vec<u8>;

/// The second is None for the plain handshake. The third is the torrent of the victim that is
/// asked for.
const ATTACKS: &[(&str, Option<Shows>, usize)] = &[
    ("the info hash, in plain", None, 0),
    ("no ticket", Some(|_, _| Vec::new()), 0),
    (
        "wrong bytes",
        Some(|_, _| random_bytes("no ticket", 300)),
        0,
    ),
    (
        "a ticket that has ended",
        Some(|tracker, key| signed(tracker.ticket("mallory", 1, key, -1), &tracker.key())),
        0,
    ),
    (
        "a forged signature",
        Some(|tracker, key| {
            let mut ticket = signed(tracker.ticket("mallory", 1, key, 600), &tracker.key());
            ticket[40] ^= 1;
            ticket
        }),
        0,
    ),
    (
        "a changed name",
        Some(|tracker, key| {
            let mut ticket = signed(tracker.ticket("mallory", 2, key, 600), &tracker.key());
            let at = ticket.windows(2).position(|two| two == b"g2").unwrap();
            ticket[at + 1] = b'1';
            ticket
        }),
        0,
    ),
    (
        "signed by somebody else",
        Some(|tracker, key| {
            let somebody = SigningKey::from_bytes(&[66; 32]);
            signed(tracker.ticket("mallory", 1, key, 600), &somebody)
        }),
        0,
    ),
    (
        "another peer's ticket",
        Some(|tracker, _| {
            let of_bob = tracker.ticket("bob", 1, PeerKey([3; 32]), 600);
            signed(of_bob, &tracker.key())
        }),
        0,
    ),
    (
        "a member of a group that the victim is not in",
        Some(|tracker, key| signed(tracker.ticket("mallory", 2, key, 600), &tracker.key())),
        0,
    ),
    (
        "a member of an earlier group of that name",
        Some(|tracker, key| {
            let ticket = Ticket {
                group_id: id(77),
                ..tracker.ticket("mallory", 1, key, 600)
            };
            signed(ticket, &tracker.key())
        }),
        0,
    ),
    (
        "a member of another group of the victim",
        Some(|tracker, key| signed(tracker.ticket("mallory", 3, key, 600), &tracker.key())),
        0,
    ),
    (
        "a member, for what is public",
        Some(|tracker, key| signed(tracker.ticket("mallory", 1, key, 600), &tracker.key())),
        2,
    ),
];

fn signed(ticket: Ticket, key: &SigningKey) -> Vec<u8> {
    ticket.sign(key).as_bytes().to_vec()
}

fn attack(victim: &Victim, shows: Option<Shows>, info_hash: InfoHash) -> Got {
    match shows {
        None => Caller::plain(victim.at()).steal(info_hash, false),
        Some(shows) => {
            let keys = KeyPair::generate().unwrap();
            let ticket = shows(&victim.tracker, keys.public);
            Caller::noise(victim.at(), &keys, &ticket).steal(info_hash, true)
        }
    }
}

#[test]
fn an_attacker_sees_what_everybody_sees() {
    let _dog = watchdog(Duration::from_secs(120), "attacks");
    keep_log();
    let temp = tempfile::tempdir().unwrap();
    let victim = Victim::start(temp.path(), true);
    for (name, shows, torrent) in ATTACKS {
        let got = attack(&victim, *shows, victim.torrents[*torrent].info_hash);
        let Got::Closed(heard) = &got else {
            panic!("{name}: served");
        };
        // Whoever is in one of our groups sees our ticket for that, whatever they ask for.
        let member = [
            "a member of another group of the victim",
            "a member, for what is public",
        ];
        assert_eq!(heard.is_empty(), !member.contains(name), "{name}");
        let unknown = attack(&victim, *shows, UNKNOWN);
        assert!(
            got == unknown,
            "{name}: another sight than of an unknown torrent"
        );
    }
    // They failed for what they are: a member, and anybody for what is public, are served.
    let keys = KeyPair::generate().unwrap();
    let ticket = signed(
        victim.tracker.ticket("bob", 1, keys.public, 600),
        &victim.tracker.key(),
    );
    let got = Caller::noise(victim.at(), &keys, &ticket).steal(victim.secret(), true);
    assert!(got == Got::Block(victim.content[..BLOCK as usize].to_vec()));
    let public = Caller::plain(victim.at()).steal(victim.torrents[2].info_hash, false);
    assert!(matches!(public, Got::Block(_)));
    for level in ["INFO", "WARN", "ERROR"] {
        let told = logged(&[level, &victim.secret().to_string()]);
        assert_eq!(told, None);
    }
}

#[test]
fn every_attack_succeeds_where_nothing_is_checked() {
    let _dog = watchdog(Duration::from_secs(120), "attacks without checks");
    let temp = tempfile::tempdir().unwrap();
    let victim = Victim::start(temp.path(), false);
    for (name, shows, torrent) in ATTACKS {
        let got = attack(&victim, *shows, victim.torrents[*torrent].info_hash);
        let Got::Block(block) = got else {
            panic!("{name}: refused");
        };
        assert!(*torrent != 0 || block == victim.content[..BLOCK as usize]);
        let unknown = attack(&victim, *shows, UNKNOWN);
        assert!(matches!(unknown, Got::Closed(_)), "{name}");
    }
}

#[test]
fn a_recorded_handshake_opens_nothing() {
    let _dog = watchdog(Duration::from_secs(60), "replay");
    let temp = tempfile::tempdir().unwrap();
    let victim = Victim::start(temp.path(), true);
    let keys = KeyPair::generate().unwrap();
    let ticket = victim.tracker.signed("bob", 1, keys.public, 600);
    let (caller, record) = Caller::recorded(victim.at(), &keys, ticket.as_bytes());
    let got = caller.steal(victim.secret(), true);
    assert!(matches!(got, Got::Block(_)), "the record is of a success");
    let record = record.lock().unwrap().clone();
    // What was recorded, and the same with a ticket and all else made up.
    let first = 2 + 32;
    let mut made_up = record.clone();
    made_up[first + 2..].copy_from_slice(&random_bytes("made up", record.len() - first - 2));
    for bytes in [record, made_up] {
        let mut stream = connect(victim.at());
        // It may part before it has all of it.
        let _ = stream.write_all(&bytes);
        let mut heard = Vec::new();
        if let Err(error) = stream.read_to_end(&mut heard) {
            assert!(is_closed(&error), "{error}");
        }
        assert_eq!(
            heard.len(),
            2 + 96,
            "the second message, which says nothing"
        );
    }
}

/// A member who has just got a block.
fn in_the_middle(victim: &Victim, ends: i64) -> (Caller, KeyPair) {
    let keys = KeyPair::generate().unwrap();
    let ticket = victim.tracker.signed("bob", 1, keys.public, ends);
    let mut caller = Caller::noise(victim.at(), &keys, ticket.as_bytes());
    caller.hear_ticket().unwrap();
    caller.served(victim.secret()).unwrap();
    (caller, keys)
}

/// For how long it is served, up to `most`.
fn served_for(caller: &mut Caller, most: Duration) -> Duration {
    let since = Instant::now();
    while since.elapsed() < most {
        if let Err(error) = caller.ask().and_then(|()| caller.block()) {
            assert!(is_closed(&error), "{error}");
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    since.elapsed()
}

#[test]
fn a_former_member_is_out_when_the_ticket_ends() {
    let _dog = watchdog(Duration::from_secs(90), "former member");
    let temp = tempfile::tempdir().unwrap();
    let ends = SHORT as i64;
    let most = Duration::from_secs(SHORT + 3);
    let victim = Victim::start(&temp.path().join("checks"), true);
    let (mut caller, _) = in_the_middle(&victim, ends);
    let served = served_for(&mut caller, most);
    assert!(served > Duration::from_secs(1), "{served:?}");
    assert!(served < most - Duration::from_secs(1), "{served:?}");
    // With another ticket it stays.
    let (mut caller, keys) = in_the_middle(&victim, ends);
    let renewed = victim.tracker.signed("bob", 1, keys.public, 600);
    let extension = TICKET;
    let payload = renewed.as_bytes().to_vec();
    caller
        .send(&Message::Extended { extension, payload })
        .unwrap();
    assert!(served_for(&mut caller, most) >= most, "renewed");
    let open = Victim::start(&temp.path().join("open"), false);
    let (mut caller, _) = in_the_middle(&open, ends);
    assert!(served_for(&mut caller, most) >= most, "nothing is checked");
}

#[test]
fn a_wrong_renewal_ends_the_connection() {
    let _dog = watchdog(Duration::from_secs(90), "wrong renewals");
    let temp = tempfile::tempdir().unwrap();
    let victim = Victim::start(&temp.path().join("checks"), true);
    let open = Victim::start(&temp.path().join("open"), false);
    let wrong: &[(&str, Shows)] = &[
        ("nothing", |_, _| Vec::new()),
        ("another group of the victim", |tracker, key| {
            signed(tracker.ticket("bob", 3, key, 600), &tracker.key())
        }),
        ("another peer's", |tracker, _| {
            signed(
                tracker.ticket("bob", 1, PeerKey([3; 32]), 600),
                &tracker.key(),
            )
        }),
        ("ended", |tracker, key| {
            signed(tracker.ticket("bob", 1, key, -1), &tracker.key())
        }),
    ];
    for (name, shows) in wrong {
        for (victim, stays) in [(&victim, false), (&open, true)] {
            let (mut caller, keys) = in_the_middle(victim, 600);
            let payload = shows(&victim.tracker, keys.public);
            let extension = TICKET;
            caller
                .send(&Message::Extended { extension, payload })
                .unwrap();
            // The next block may be on its way before the ticket is looked at.
            let most = Duration::from_secs(if stays { 1 } else { 10 });
            let served = served_for(&mut caller, most);
            assert_eq!(served >= most, stays, "{name}: {served:?}");
        }
    }
}

/// Alice shares a file in g1, which bob fetches at so many bytes per second.
struct Pair {
    tracker: GroupTracker,
    alice: Member,
    bob: Member,
    file: std::path::PathBuf,
    target: std::path::PathBuf,
    torrent: Arc<Metainfo>,
}

impl Pair {
    fn start(temp: &Path, life: u64, size: usize, rate: u64) -> Pair {
        let tracker = GroupTracker::start(life);
        tracker.add_member("alice", 1);
        tracker.add_member("bob", 1);
        let alice = Member::start(&tracker, "alice", temp, true);
        let bob = Member::start(&tracker, "bob", temp, true);
        alice.peer.limits.up.set(Some(rate));
        let file = make_file(temp, "big.bin", size);
        let torrent = alice.share(&file, 1);
        let target = bob.download(&torrent, 1);
        Pair {
            tracker,
            alice,
            bob,
            file,
            target,
            torrent,
        }
    }

    fn wait_for_half(&self) {
        wait_until("half of it is here", || {
            self.bob.view(&self.torrent).percent() >= 40
        });
    }

    fn wait_for_all(&self) {
        wait_until("it is complete", || {
            self.bob.view(&self.torrent).status == Status::Seeding
        });
        assert_eq!(sha256(&self.file), sha256(&self.target));
    }
}

fn is_locked(member: &Member, torrent: &Metainfo, words: &str) -> bool {
    let locked = member.view(torrent);
    matches!(&locked.status, Status::Locked { reason, .. } if reason.contains(words))
}

#[test]
fn renewal_interrupts_nothing() {
    let _dog = watchdog(Duration::from_secs(120), "renewal");
    let temp = tempfile::tempdir().unwrap();
    // Some four lives long.
    let pair = Pair::start(temp.path(), SHORT, 12 << 20, 1 << 20);
    wait_until("it begins", || pair.bob.view(&pair.torrent).have > 0);
    let connected = |member: &Member| {
        let rows = member.peer.peers().unwrap();
        rows.iter().filter(|row| row.connected.is_some()).count()
    };
    loop {
        let seen = (connected(&pair.bob), connected(&pair.alice));
        // Looked at afterwards: two seeds part, also between two looks.
        if pair.bob.view(&pair.torrent).status != Status::Downloading {
            break;
        }
        assert_eq!(seen, (1, 1));
        std::thread::sleep(Duration::from_millis(20));
    }
    pair.wait_for_all();
    for user in ["alice", "bob"] {
        let issued = pair.tracker.issued_to(user);
        assert!(issued >= 5, "{user} got {issued} tickets");
    }
}

#[test]
fn logout_closes_everything_and_login_goes_on() {
    let _dog = watchdog(Duration::from_secs(120), "logout");
    let temp = tempfile::tempdir().unwrap();
    let pair = Pair::start(temp.path(), LONG, 4 << 20, 1 << 20);
    pair.wait_for_half();
    let keys = KeyPair::generate().unwrap();
    let ticket = pair.tracker.signed("carol", 1, keys.public, 600);
    let carol = || Caller::noise(pair.alice.peer.local_addr(), &keys, ticket.as_bytes());
    let mut open = carol();
    open.hear_ticket().unwrap();
    open.served(pair.torrent.info_hash).unwrap();
    pair.alice.peer.log_out().unwrap();
    assert_eq!(
        pair.alice
            .peer
            .peers()
            .unwrap()
            .iter()
            .filter(|row| row.connected.is_some())
            .count(),
        0
    );
    // What was on its way may still come.
    assert!(served_for(&mut open, Duration::from_secs(5)) < Duration::from_secs(5));
    assert!(is_locked(
        &pair.alice,
        &pair.torrent,
        "waits for the login of alice"
    ));
    let refused = carol().steal(pair.torrent.info_hash, true);
    assert!(refused == Got::Closed(Vec::new()), "nothing is served");
    wait_until("bob hears of it", || {
        pair.bob.view(&pair.torrent).peers == 0
    });
    let have = pair.bob.view(&pair.torrent).have;
    pair.alice.log_in(&pair.tracker);
    wait_until("others can hear of alice again", || {
        pair.tracker.starts_of(&pair.alice) == 2
    });
    pair.wait_for_all();
    assert!(have < pair.torrent.layout.total());
    // The other way round: a downloader logs out, starts again, and goes on when it logs in.
    pair.bob.peer.log_out().unwrap();
    assert!(is_locked(
        &pair.bob,
        &pair.torrent,
        "waits for the login of bob"
    ));
    pair.bob.peer.pause(pair.torrent.info_hash).unwrap();
    assert_eq!(pair.bob.view(&pair.torrent).status, Status::Paused);
    pair.bob.log_in(&pair.tracker);
    let paused = pair.bob.view(&pair.torrent);
    assert_eq!(paused.status, Status::Paused, "by the user");
    pair.bob.peer.resume(&paused).unwrap();
    wait_until("bob shares again", || {
        pair.bob.view(&pair.torrent).status == Status::Seeding
    });
    // What is locked can be taken away.
    pair.bob.peer.log_out().unwrap();
    pair.bob.peer.remove(pair.torrent.info_hash).unwrap();
    assert_eq!(pair.bob.peer.torrents().unwrap().len(), 0);
}

#[test]
fn a_download_waits_for_its_user_over_a_restart() {
    let _dog = watchdog(Duration::from_secs(120), "restart");
    let temp = tempfile::tempdir().unwrap();
    let mut pair = Pair::start(temp.path(), LONG, 4 << 20, 1 << 20);
    pair.wait_for_half();
    pair.bob.peer.stop();
    let Pair {
        tracker,
        alice,
        bob,
        file,
        target,
        torrent,
    } = pair;
    drop(bob);
    // Somebody else uses the folder meanwhile: it is not theirs.
    tracker.add_member("carol", 1);
    let carol = Member::start_in(&temp.path().join("bob"), &tracker, "carol", true);
    assert!(is_locked(&carol, &torrent, "waits for the login of bob"));
    drop(carol);
    let pair = Pair {
        bob: Member::start(&tracker, "bob", temp.path(), true),
        tracker,
        alice,
        file,
        target,
        torrent,
    };
    pair.wait_for_all();
    wait_until("bob is one more who has it", || {
        pair.tracker.offered() == ["big.bin"]
    });
    drop(pair.alice);
}

#[test]
fn who_is_no_member_any_more_is_locked_out() {
    let _dog = watchdog(Duration::from_secs(120), "no member");
    let temp = tempfile::tempdir().unwrap();
    let pair = Pair::start(temp.path(), SHORT, 8 << 20, 1 << 20);
    wait_until("it begins", || pair.bob.view(&pair.torrent).have > 0);
    pair.tracker.remove_member("bob", 1);
    wait_until("bob is told", || {
        let words = format!("you are not a member of {} any more", group(1));
        is_locked(&pair.bob, &pair.torrent, &words)
    });
    assert!(pair.bob.view(&pair.torrent).have < pair.torrent.layout.total());
    wait_until("alice is alone", || {
        pair.alice.view(&pair.torrent).peers == 0
    });
    // Accepted again: what was refused is asked for again.
    pair.tracker.add_member("bob", 1);
    pair.bob.peer.ask_for_tickets().unwrap();
    pair.wait_for_all();
}

#[test]
fn without_a_tracker_it_goes_on_until_the_ticket_ends() {
    let _dog = watchdog(Duration::from_secs(120), "no tracker");
    let temp = tempfile::tempdir().unwrap();
    let pair = Pair::start(temp.path(), SHORT, 20 << 20, 1 << 20);
    wait_until("it begins", || pair.bob.view(&pair.torrent).have > 0);
    let since = Instant::now();
    pair.tracker.go_away();
    wait_until("bob's ticket ends", || {
        is_locked(&pair.bob, &pair.torrent, "no tracker renews the ticket")
    });
    assert!(since.elapsed() > Duration::from_millis(1200), "{since:?}");
    assert_eq!(pair.bob.view(&pair.torrent).peers, 0);
}
