//! Proves that trackers in sync are one: what one of them has answered, all of them know, also
//! when that one dies; who was away catches up; who does not belong is refused in words.
//!
//! Every tracker is a process of its own, and is asked by control lines as a person would.

use std::fs;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use mini_bittorrent::control::frame::{Frame, read_frame};
use mini_bittorrent::control::key::TrackerKey;
use mini_bittorrent::control::names::GroupName;
use mini_bittorrent::control::reply::{Reply, TrackerEntry, TrackerState};
use mini_bittorrent::control::stamp::{Stamp, UserId};
use mini_bittorrent::control::sync::{VERSION, list_hash};
use mini_bittorrent::control::tracker_info;
use mini_bittorrent::registry::batch::Batch;
use mini_bittorrent::registry::fact::{Entry, Fact};
use mini_bittorrent::runtime::stop::Stop;
use mini_bittorrent::runtime::stream::{POLL, Stream};
use mini_bittorrent::runtime::tls;
use mini_bittorrent::shell::sharing::{self, Publish};
use mini_bittorrent::tracker::identity::Identity;

use crate::support::peers::{self, Program, free_port, wait_at_most, watchdog};

/// So long trackers may take to agree.
const AGREE: Duration = Duration::from_secs(10);

/// Trackers with a tracker_info.txt of their own each.
struct Town {
    _temp: tempfile::TempDir,
    folder: PathBuf,
    addresses: Vec<SocketAddr>,
    programs: Vec<Option<Program>>,
}

impl Town {
    /// Named, and not running yet.
    fn new(count: usize) -> Town {
        let temp = tempfile::tempdir().unwrap();
        let mut addresses: Vec<SocketAddr> = Vec::new();
        while addresses.len() < count {
            let port = free_port();
            if !addresses.contains(&port) {
                addresses.push(port);
            }
        }
        let town = Town {
            folder: temp.path().to_path_buf(),
            _temp: temp,
            programs: (0..count).map(|_| None).collect(),
            addresses,
        };
        let list: String = town.addresses.iter().map(|at| format!("{at}\n")).collect();
        (1..=count).for_each(|n| town.write_list(n, &list));
        town
    }

    fn running(count: usize) -> Town {
        let mut town = Town::new(count);
        (1..=count).for_each(|n| town.start(n));
        town.wait_until_linked();
        town
    }

    /// With keys, so inside TLS.
    fn with_keys(count: usize) -> Town {
        let town = Town::new(count);
        let line = |n| {
            let printed = town.command(n).arg("--key").output().unwrap();
            String::from_utf8(printed.stdout).unwrap()
        };
        let list: String = (1..=count).map(line).collect();
        (1..=count).for_each(|n| town.write_list(n, &list));
        town
    }

    fn home(&self, n: usize) -> PathBuf {
        self.folder.join(n.to_string())
    }

    fn list(&self, n: usize) -> PathBuf {
        self.home(n).join("tracker_info.txt")
    }

    fn write_list(&self, n: usize, text: &str) {
        fs::create_dir_all(self.home(n)).unwrap();
        fs::write(self.list(n), text).unwrap();
    }

    fn command(&self, n: usize) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tracker"));
        command.arg(self.list(n)).arg(n.to_string());
        command.env("RUST_LOG", "warn");
        command
    }

    fn start(&mut self, n: usize) {
        let program = Program::start(self.command(n));
        program.line_with("listening on");
        self.programs[n - 1] = Some(program);
    }

    fn program(&mut self, n: usize) -> &mut Program {
        self.programs[n - 1].as_mut().unwrap()
    }

    fn kill(&mut self, n: usize) -> String {
        self.programs[n - 1].take().unwrap().kill_9()
    }

    fn client(&self, n: usize) -> Client {
        Client::connect(self.addresses[n - 1])
    }

    /// One answer of one tracker.
    fn ask(&self, n: usize, line: &str) -> String {
        self.client(n).ask(line)
    }

    fn rows(&self, n: usize) -> Vec<TrackerEntry> {
        self.client(n).rows()
    }

    fn alive(&self) -> Vec<usize> {
        (1..=self.programs.len())
            .filter(|n| self.programs[n - 1].is_some())
            .collect()
    }

    /// Every tracker that runs is in sync with every other one.
    fn wait_until_linked(&self) {
        let alive = self.alive();
        wait_at_most(AGREE, "all are linked", || {
            alive.iter().all(|n| {
                let rows = self.rows(*n);
                alive.iter().all(|other| {
                    let state = rows[other - 1].state;
                    state == TrackerState::InSync || (n == other && state == TrackerState::Itself)
                })
            })
        });
    }

    /// Every tracker that runs has the same facts. Their number.
    fn wait_until_equal(&self) -> u64 {
        let alive = self.alive();
        let mut seen = Vec::new();
        wait_at_most(AGREE, "all have the same facts", || {
            seen = alive.iter().map(|n| self.own_row(*n)).collect();
            seen.iter().all(|row| *row == seen[0])
        });
        seen[0].0
    }

    fn own_row(&self, n: usize) -> (u64, String) {
        let row = &self.rows(n)[n - 1];
        (row.facts, row.digest.clone())
    }
}

/// A connection to a tracker.
struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    fn connect(at: SocketAddr) -> Client {
        let socket = TcpStream::connect(at).unwrap();
        let time = Some(Duration::from_secs(30));
        socket.set_read_timeout(time).unwrap();
        Client {
            reader: BufReader::new(socket),
        }
    }

    /// The answer, or nothing if the tracker has gone.
    fn try_ask(&mut self, line: &str) -> Option<Frame> {
        let sent = self
            .reader
            .get_mut()
            .write_all(format!("{line}\n").as_bytes());
        sent.ok()?;
        read_frame(&mut self.reader).ok()?
    }

    fn ask(&mut self, line: &str) -> String {
        let frame = self.try_ask(line).unwrap();
        let body = String::from_utf8_lossy(&frame.body).replace('\n', " / ");
        let body = body.trim_end_matches(" / ");
        format!("{} {body}", frame.words.join(" "))
            .trim_end()
            .to_string()
    }

    fn rows(&mut self) -> Vec<TrackerEntry> {
        let frame = self.try_ask("trackers").unwrap();
        TrackerEntry::list_from_reply(Reply::parse(frame).unwrap()).unwrap()
    }

    fn logged_in(at: SocketAddr, user: &str) -> Client {
        let mut client = Client::connect(at);
        client.expect(&format!("login {user} secret"), "OK ");
        client
    }

    fn expect(&mut self, line: &str, expected: &str) -> String {
        let said = self.ask(line);
        assert!(said.starts_with(expected), "{line}: {said}");
        said
    }
}

fn id(number: u32) -> String {
    format!("@{number:032x}")
}

#[test]
fn ok_means_on_all_also_when_the_one_that_said_it_dies() {
    let _watchdog = watchdog(Duration::from_secs(120), "three trackers");
    let mut town = Town::running(3);
    assert_eq!(town.ask(1, "create_user alice secret"), "OK User created!");
    // Every tracker knows it at once, and believes the others' tokens.
    let mut alice = Client::logged_in(town.addresses[1], "alice");
    let welcome = alice.ask("create_group cs101");
    assert_eq!(welcome, "OK Group created successfully");
    let said = Client::logged_in(town.addresses[2], "alice").ask("list_groups");
    assert_eq!(said, "OK 1 cs101 alice 1 owner");
    let login = town.ask(3, "login alice secret");
    let words: Vec<&str> = login.split(' ').collect();
    assert_eq!(
        words[3].split(',').count(),
        3,
        "{login}: the keys of all three"
    );
    assert!(
        town.ask(1, &format!("resume {}", words[2]))
            .starts_with("OK alice ")
    );
    for i in 0..10 {
        // Whoever has said OK dies on the spot.
        let (n, other) = (1 + i % 3, 1 + (i + 1) % 3);
        let mut alice = Client::logged_in(town.addresses[n - 1], "alice");
        alice.expect(&format!("create_group g{i}"), "OK");
        town.kill(n);
        let groups = Client::logged_in(town.addresses[other - 1], "alice").ask("list_groups");
        assert!(groups.contains(&format!("g{i} alice 1 owner")), "{groups}");
        town.start(n);
        town.wait_until_linked();
    }
    // The user and the password, then two for each group.
    assert_eq!(town.wait_until_equal(), 2 + 2 * 11);
}

#[test]
fn who_was_away_catches_up_also_with_a_lost_database() {
    let _watchdog = watchdog(Duration::from_secs(120), "catching up");
    let mut town = Town::running(3);
    town.ask(2, "create_user alice secret");
    let mut alice = Client::logged_in(town.addresses[1], "alice");
    alice.expect("create_group before", "OK");
    town.kill(1);
    let since = Instant::now();
    alice.expect("create_group without_one", "OK");
    assert!(since.elapsed() < Duration::from_secs(2));
    town.start(1);
    town.wait_until_linked();
    assert_eq!(town.wait_until_equal(), 6);
    // The disk of the first one is replaced; its own facts come back to it from the others.
    Client::logged_in(town.addresses[0], "alice").expect("create_group of_one", "OK");
    town.kill(1);
    for file in fs::read_dir(town.home(1)).unwrap() {
        let path = file.unwrap().path();
        if path.to_string_lossy().contains(".db") {
            fs::remove_file(path).unwrap();
        }
    }
    town.start(1);
    // Until it knows what others know it says so, and does nothing.
    let mut client = town.client(1);
    wait_at_most(AGREE, "it has caught up", || {
        let said = client.ask("login alice secret");
        assert!(
            said.starts_with("OK") || said.starts_with("ERR busy catching up"),
            "{said}"
        );
        said.starts_with("OK")
    });
    client.expect("create_group after", "OK");
    assert_eq!(town.wait_until_equal(), 10);
    // With one left of three, everything goes on.
    town.kill(2);
    town.kill(3);
    client.expect("create_group alone", "OK");
    town.start(2);
    town.start(3);
    town.wait_until_linked();
    assert_eq!(town.wait_until_equal(), 12);
}

#[test]
fn a_request_is_answered_once_by_whichever_tracker() {
    let _watchdog = watchdog(Duration::from_secs(120), "numbered requests");
    let mut town = Town::running(2);
    let create = format!("{} create_user alice secret", id(1));
    for n in [1, 2, 1] {
        assert_eq!(town.ask(n, &create), "OK User created!");
    }
    assert!(
        town.ask(2, "create_user alice secret")
            .starts_with("ERR conflict")
    );
    let mut alice = Client::logged_in(town.addresses[0], "alice");
    alice.expect("create_group cs101", "OK Group created");
    let leave = format!("{} leave_group cs101", id(2));
    let gone = "OK Group deleted as you were the only person in the group";
    alice.expect(&leave, gone);
    town.kill(1);
    Client::logged_in(town.addresses[1], "alice").expect(&leave, gone);
    town.kill(2);
    town.start(2);
    Client::logged_in(town.addresses[1], "alice").expect(&leave, gone);
    town.start(1);
    town.wait_until_linked();
    Client::logged_in(town.addresses[0], "alice").expect(&leave, gone);
    // The user, the password, the group, and its member that has left.
    assert_eq!(town.wait_until_equal(), 4);
    assert!(town.ask(1, "@12 ping").starts_with("ERR bad_request"));
}

#[test]
fn a_split_heals() {
    let _watchdog = watchdog(Duration::from_secs(120), "a split");
    let mut town = Town::running(3);
    town.ask(1, "create_user alice secret");
    // One that is paused is cut off after a second; then nobody waits for it.
    town.program(3).signal("STOP");
    let mut alice = Client::logged_in(town.addresses[0], "alice");
    let since = Instant::now();
    alice.expect("create_group first", "OK");
    let slow = since.elapsed();
    assert!(slow < Duration::from_secs(3), "{slow:?}");
    let since = Instant::now();
    alice.expect("create_group second", "OK");
    assert!(since.elapsed() < Duration::from_millis(900));
    let rows = town.rows(1);
    assert_eq!(rows[2].state, TrackerState::Unreachable);
    assert!(rows[2].lag > 0 && !rows[2].why.is_empty());
    town.program(3).signal("CONT");
    town.wait_until_linked();
    assert_eq!(town.wait_until_equal(), 6);
    // Two halves that know nothing of each other: each goes on alone, then they meet.
    town.kill(1);
    Client::logged_in(town.addresses[1], "alice").expect("create_group right", "OK");
    town.kill(2);
    town.kill(3);
    town.start(1);
    let mut alone = town.client(1);
    wait_at_most(AGREE, "it gives up waiting", || {
        alone.ask("login alice secret").starts_with("OK")
    });
    alone.expect("create_group left", "OK");
    town.start(2);
    town.start(3);
    town.wait_until_linked();
    assert_eq!(town.wait_until_equal(), 10);
    let groups = Client::logged_in(town.addresses[2], "alice").ask("list_groups");
    for name in ["first", "second", "left", "right"] {
        assert!(
            groups.contains(&format!("{name} alice 1 owner")),
            "{groups}"
        );
    }
}

/// Both sides of a split take the same names: the earlier ones keep them, and nothing of the
/// others is lost.
#[test]
fn a_name_that_is_taken_on_both_sides_goes_to_the_earlier_one() {
    let _watchdog = watchdog(Duration::from_secs(120), "names");
    let mut town = Town::running(2);
    town.kill(1);
    town.ask(2, "create_user bob early");
    let mut bob = town.client(2);
    bob.expect("login bob early", "OK bob ");
    bob.expect("create_group cs101", "OK");
    town.kill(2);
    town.start(1);
    wait_at_most(AGREE, "it gives up waiting", || {
        town.ask(1, "create_user Bob later").starts_with("OK")
    });
    let mut bob = town.client(1);
    let login = bob.expect("login bob later", "OK Bob ");
    let token = login.split(' ').nth(2).unwrap().to_string();
    bob.expect("create_group CS101", "OK");
    town.start(2);
    town.wait_until_linked();
    assert_eq!(town.wait_until_equal(), 8);
    // The next command tells it, at both trackers, whoever was logged in where.
    let told = "ERR denied Your name Bob was taken earlier on another tracker: your account is \
                Bob~2 now";
    bob.expect("whoami", told);
    town.client(2).expect(&format!("resume {token}"), told);
    let told = "ERR denied Your name bob was taken earlier on another tracker: your account is \
                Bob~2 now";
    town.client(2).expect("login bob later", told);
    town.client(2)
        .expect("login bob wrong", "ERR denied User or password is wrong");
    let mut second = town.client(2);
    second.expect("login bob~2 later", "OK Bob~2 ");
    let groups = second.ask("list_groups");
    assert_eq!(groups, "OK 2 cs101 bob 1 none / CS101~2 Bob~2 1 owner");
    second.expect(
        "list_members cs101",
        "ERR denied Your group cs101 was made after another one of that name, on another \
         tracker: yours is CS101~2 now",
    );
    assert_eq!(second.ask("list_members cs101~2"), "OK 1 Bob~2");
    let mut first = town.client(1);
    first.expect("login bob early", "OK bob ");
    assert_eq!(first.ask("list_members CS101"), "OK 1 bob");
    first.expect(
        "create_group a~2",
        "ERR bad_request A name that ends in `~`",
    );
}

#[test]
fn who_does_not_belong_is_refused_in_words_on_both_sides() {
    let _watchdog = watchdog(Duration::from_secs(120), "refusals");
    let refused = |town: &Town, n: usize, other: usize, part: &str| {
        let mut last = None;
        wait_at_most(AGREE, part, || {
            let row = town.rows(n).swap_remove(other - 1);
            let is = row.state == TrackerState::Refused && row.why.contains(part);
            last = Some(row);
            is
        });
    };
    // Another list.
    let mut town = Town::new(2);
    let third = free_port();
    let list = fs::read_to_string(town.list(1)).unwrap();
    town.write_list(2, &format!("{list}{third}\n"));
    town.start(1);
    town.start(2);
    refused(&town, 1, 2, "tracker_info.txt is another one");
    refused(&town, 2, 1, "tracker_info.txt is another one");
    // `reload` takes up the list of the other one.
    town.write_list(1, &format!("{list}{third}\n"));
    town.program(1).type_line("reload");
    town.wait_until_linked_to(1, 2);
    // Our own line must stay.
    town.write_list(1, &format!("{third}\n{list}"));
    town.program(1).type_line("reload");
    town.program(1).line_with("must stay as it was");
    drop(town);

    // Another number, another version, a list of one's own invention.
    let town = Town::running(2);
    let hello = |version: u32, from: u16, to: u16, list: &str| {
        let key = "0".repeat(64);
        town.ask(1, &format!("sync {version} {from} {to} {list} {key}"))
    };
    let list = list_hash(
        &town
            .addresses
            .iter()
            .copied()
            .map(peers::named)
            .collect::<Vec<_>>(),
    );
    assert!(hello(VERSION, 2, 1, &list).starts_with("OK "));
    for (said, part) in [
        (hello(9, 2, 1, &list), "speaks version 9"),
        (
            hello(VERSION, 2, 3, &list),
            "tracker 3 was called, but this is tracker 1",
        ),
        (hello(VERSION, 1, 1, &list), "no other tracker 1"),
        (hello(VERSION, 7, 1, &list), "no other tracker 7"),
        (hello(VERSION, 2, 1, "0"), "another one"),
        (town.ask(1, "sync what"), "sync <version>"),
    ] {
        assert!(
            said.starts_with("ERR denied") && said.contains(part),
            "{said}"
        );
    }
    town.wait_until_linked();
    // Facts of the far future, and of a tracker that does not exist.
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
    let two_days = 2 * 24 * 3600 * 1000;
    for (unix_ms, tracker, part) in [
        (now + two_days, 2, "more than a day ahead"),
        (now, 3, "not in tracker_info.txt"),
    ] {
        let stamp = Stamp {
            time: unix_ms << 16,
            tracker,
        };
        let (id, name) = (UserId(stamp), "mallory".parse().unwrap());
        let fact = Fact::User { id, name };
        let batch = Batch {
            entries: vec![Entry { stamp, fact }],
            ..Batch::default()
        };
        let mut second = town.client(1);
        let key = "0".repeat(64);
        second.expect(&format!("sync 2 2 1 {list} {key}"), "OK ");
        let body = batch.encode();
        let frame = Frame::new(["facts", "1"]).with_body(body);
        second
            .reader
            .get_mut()
            .write_all(&frame.encode().unwrap())
            .unwrap();
        let said = read_frame(&mut second.reader).unwrap().unwrap();
        let said = said.words.join(" ");
        assert!(
            said.starts_with("ERR denied") && said.contains(part),
            "{said}"
        );
    }
    assert_eq!(town.wait_until_equal(), 0);
}

#[test]
fn with_keys_only_the_right_ones_are_believed() {
    let _watchdog = watchdog(Duration::from_secs(120), "keys");
    let mut town = Town::with_keys(2);
    let list = fs::read_to_string(town.list(1)).unwrap();
    town.start(1);
    town.start(2);
    let rows = |town: &mut Town, n: usize| {
        town.program(n).type_line("trackers");
        let other = town.addresses[2 - n].to_string();
        town.program(n)
            .line("its row", |line| line.contains(&other))
    };
    wait_at_most(AGREE, "both are in sync", || {
        (1..=2).all(|n| rows(&mut town, n).contains("in sync"))
    });
    // Somebody else in the place of the second.
    town.kill(2);
    fs::remove_file(town.home(2).join("tracker-2.key")).unwrap();
    let printed = town.command(2).arg("--key").output().unwrap();
    let stranger = String::from_utf8(printed.stdout).unwrap();
    let own = list.lines().next().unwrap().to_string();
    town.write_list(2, &format!("{own}\n{stranger}"));
    town.start(2);
    // One side says that the lists differ, and the other side may say that the key does.
    wait_at_most(AGREE, "it is refused", || {
        rows(&mut town, 1).contains("refused") && rows(&mut town, 2).contains("refused")
    });
    // Whoever knows everything but the secret half of the second one's key.
    let hash = list_hash(&tracker_info::parse(&list).unwrap());
    let mut keys = list
        .lines()
        .map(|line| line.split(' ').next_back().unwrap());
    let (first, second) = (keys.next().unwrap(), keys.next().unwrap());
    let first: TrackerKey = first.parse().unwrap();
    for shown in [None, Some(Identity::ephemeral())] {
        let socket = TcpStream::connect(town.addresses[0]).unwrap();
        let time = Duration::from_secs(10);
        let stream = Stream::new(socket, Stop::new(), POLL, time).unwrap();
        let channel = match &shown {
            None => tls::connect(stream, first.0),
            Some(identity) => identity.acceptor().connect(stream, first.0),
        };
        let mut reader = BufReader::new(channel.unwrap());
        let hello = format!("sync 2 2 1 {hash} {second}\n");
        reader.get_mut().write_all(hello.as_bytes()).unwrap();
        let said = read_frame(&mut reader).unwrap().unwrap().words.join(" ");
        assert!(said.contains("has not shown the key"), "{said}");
    }
}

#[test]
fn announces_and_shares_are_known_everywhere() {
    let _watchdog = watchdog(Duration::from_secs(120), "announces");
    let mut town = Town::running(2);
    let announce = |n: usize, port: u16, left: u64, event: &str| {
        let hash = "a".repeat(40);
        let line = format!("announce {hash} -mb0010-abcdefghijkl {port} 0 0 {left} {event}");
        town.ask(n, &line)
    };
    announce(1, 7001, 0, "started");
    wait_at_most(AGREE, "the peer is known at the other tracker", || {
        announce(2, 7002, 5, "started").contains("127.0.0.1:7001")
    });
    wait_at_most(AGREE, "and back", || {
        announce(1, 7001, 0, "none").contains("127.0.0.1:7002")
    });
    announce(2, 7002, 5, "stopped");
    wait_at_most(AGREE, "who has gone is gone", || {
        !announce(1, 7001, 0, "none").contains("127.0.0.1:7002")
    });
    // Who starts later is told of everybody.
    town.kill(2);
    town.start(2);
    let hash = "a".repeat(40);
    wait_at_most(AGREE, "all peers are told", || {
        let line = format!("announce {hash} -mb0010-abcdefghijkl 7003 0 0 5 started");
        town.ask(2, &line).contains("127.0.0.1:7001")
    });
    let folder = town.folder.join("files");
    let mut seed = peers::start_peer(&town.addresses[..1], &town.folder.join("seed"));
    let file = peers::make_file(&folder, "shared.bin", 100_000);
    seed.run(&format!("upload_file {}", file.display()))
        .unwrap();
    wait_at_most(AGREE, "the share is known at the other tracker", || {
        town.ask(2, "list_files public")
            .contains("shared.bin 100000")
    });
    let got = town.ask(2, "download_file public shared.bin");
    assert!(got.starts_with("OK "), "{got}");
    // Who shared it first tells its SHA-256 later: nobody else can.
    sharing::share(
        &mut seed,
        &file,
        GroupName::public(),
        Publish::TorrentAndSha256,
    )
    .unwrap();
    let sha256 = peers::sha256(&file);
    wait_at_most(AGREE, "the SHA-256 is known at the other tracker", || {
        town.ask(2, "download_file public shared.bin")
            .contains(&sha256)
    });
    town.kill(2);
    town.start(2);
    wait_at_most(AGREE, "and at one that starts later", || {
        town.ask(2, "download_file public shared.bin")
            .contains(&sha256)
    });
    drop(seed);
}

impl Town {
    fn wait_until_linked_to(&self, n: usize, other: usize) {
        wait_at_most(AGREE, "both are linked", || {
            self.rows(n)[other - 1].state == TrackerState::InSync
                && self.rows(other)[n - 1].state == TrackerState::InSync
        });
    }
}

/// Who is known by the name of a file only is as good as any other peer of a swarm.
#[test]
fn a_one_line_request_is_answered_by_a_tracker_that_heard_of_it_from_another() {
    let town = Town::running(2);
    let said = town.ask(1, "announce my notes.txt:7001");
    assert_eq!(said, "Peer registered");
    peers::wait_until("the other has heard of it", || {
        town.ask(2, "getpeers my notes.txt") == "127.0.0.1:7001"
    });
}
