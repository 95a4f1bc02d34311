//! Proves that no change is lost which a tracker has said `OK` to: a real process is killed with
//! SIGKILL at random moments, again and again, and asked afterwards. And what it does with a file
//! that it cannot use, a disk that is full, and two hundred logins at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rusqlite::Connection;

use mini_bittorrent::control::frame::{Frame, read_frame};
use mini_bittorrent::control::ticket::SignedTicket;
use mini_bittorrent::torrent::id::PieceHash;
use mini_bittorrent::torrent::layout::Layout;
use mini_bittorrent::torrent::metainfo::Metainfo;

use crate::support::peers::{Program, free_port, memory, watchdog};

/// How long an answer may take. Wine keeps a connection open that was accepted in the moment in which
/// the tracker was killed: who has asked there waits that long.
const ANSWER: Duration = Duration::from_secs(if cfg!(windows) { 10 } else { 60 });

/// How many times longer a tracker lives: it needs longer to start, and to answer, under Wine.
const SLOWNESS: u64 = if cfg!(windows) { 4 } else { 1 };

const PEER: &str = "-mb0100-abcdefghijkl 7600";

/// Where a tracker keeps its files, and where it listens, at every start.
struct Place {
    folder: tempfile::TempDir,
    listen: SocketAddr,
}

impl Place {
    fn new() -> Place {
        let place = Place {
            folder: tempfile::tempdir().unwrap(),
            listen: free_port(),
        };
        fs::write(
            place.path("tracker_info.txt"),
            format!("{}\n", place.listen),
        )
        .unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tracker"));
        command
            .current_dir(self.folder.path())
            .arg("--no-prompt")
            .args(more);
        command
    }

    fn start(&self) -> Program {
        let tracker = Program::start(self.command(&[]));
        tracker.line_with("listening on");
        tracker
    }

    /// What a tracker says that does not start.
    fn refusal(&self, more: &[&str]) -> String {
        let mut tracker = Program::start(self.command(more));
        let status = tracker.ended(Duration::from_secs(10));
        assert!(!status.success());
        // Its last words come by a thread of their own.
        tracker.line("a reason", |line| !line.is_empty())
    }

    fn connect(&self) -> io::Result<Client> {
        let stream = TcpStream::connect(self.listen)?;
        stream.set_read_timeout(Some(ANSWER))?;
        Ok(Client(BufReader::new(stream)))
    }
}

struct Client(BufReader<TcpStream>);

impl Client {
    /// An error if the tracker has died before it answered.
    fn ask(&mut self, bytes: &[u8]) -> io::Result<Frame> {
        self.0.get_mut().write_all(bytes)?;
        let frame = read_frame(&mut self.0).map_err(io::Error::other)?;
        frame.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn say(&mut self, line: &str) -> io::Result<Frame> {
        self.ask(format!("{line}\n").as_bytes())
    }

    fn ok(&mut self, line: &str) -> io::Result<Frame> {
        let answer = self.say(line)?;
        assert_eq!(answer.words[0], "OK", "{line}: {answer:?}");
        Ok(answer)
    }

    /// The first words of the lines of a list.
    fn list(&mut self, line: &str) -> io::Result<Vec<String>> {
        let answer = self.ok(line)?;
        let text = String::from_utf8(answer.body).unwrap();
        let first = |line: &str| line.split(' ').next().unwrap_or_default().to_string();
        Ok(text.lines().map(first).collect())
    }
}

/// A change that a user of a band (0 or 1) asks for.
#[derive(Debug, Clone)]
enum Change {
    Create(String),
    Join(String, usize),
    Accept(String, usize),
    Reject(String, usize),
    Leave(String, usize),
    Upload(String, u64, usize),
    Completed(String, u64, usize),
    Stop(String, u64, usize),
}

/// What a group must be.
#[derive(Debug, Clone, PartialEq, Default)]
struct Room {
    /// In join order.
    members: Vec<usize>,
    requests: Vec<usize>,
    /// Who holds the file of so many bytes.
    files: BTreeMap<u64, BTreeSet<usize>>,
}

type Rooms = BTreeMap<String, Room>;

fn apply(rooms: &mut Rooms, change: &Change) {
    let room = |rooms: &mut Rooms, group: &str| -> Option<Room> { rooms.remove(group) };
    let (group, changed) = match change {
        Change::Create(group) => {
            let members = vec![0];
            (
                group,
                Room {
                    members,
                    ..Room::default()
                },
            )
        }
        Change::Join(group, _)
        | Change::Accept(group, _)
        | Change::Reject(group, _)
        | Change::Leave(group, _)
        | Change::Upload(group, ..)
        | Change::Completed(group, ..)
        | Change::Stop(group, ..) => (group, room(rooms, group).unwrap()),
    };
    let mut room = changed;
    match *change {
        Change::Create(_) => {}
        Change::Join(_, user) => room.requests.push(user),
        Change::Accept(_, user) | Change::Reject(_, user) => {
            room.requests.retain(|one| *one != user);
            if matches!(change, Change::Accept(..)) {
                room.members.push(user);
            }
        }
        Change::Leave(_, user) => {
            room.members.retain(|one| *one != user);
            for holders in room.files.values_mut() {
                holders.remove(&user);
            }
        }
        Change::Upload(_, file, user) | Change::Completed(_, file, user) => {
            room.files.entry(file).or_default().insert(user);
        }
        Change::Stop(_, file, user) => {
            room.files.entry(file).or_default().remove(&user);
        }
    }
    room.files.retain(|_, holders| !holders.is_empty());
    if !room.members.is_empty() {
        rooms.insert(group.clone(), room);
    }
}

/// Two users who change their groups, and what must have come of it.
struct Band {
    number: usize,
    rng: StdRng,
    tokens: [String; 2],
    rooms: Rooms,
    ids: BTreeMap<String, String>,
    made: usize,
    /// Asked for, and not answered: it may have happened, or not.
    open: Option<Change>,
    tried: u64,
    acknowledged: u64,
}

impl Band {
    fn new(number: usize, seed: u64, place: &Place) -> Band {
        let token = |user: usize| {
            let mut client = place.connect().unwrap();
            let name = user_name(number, user);
            client.ok(&format!("create_user {name} secret")).unwrap();
            let key = "05".repeat(32);
            let answer = client.ok(&format!("login {name} secret {key}")).unwrap();
            answer.words[2].clone()
        };
        Band {
            number,
            rng: StdRng::seed_from_u64(seed + number as u64),
            tokens: [token(0), token(1)],
            rooms: Rooms::new(),
            ids: BTreeMap::new(),
            made: 0,
            open: None,
            tried: 0,
            acknowledged: 0,
        }
    }

    fn enter(&self, place: &Place) -> io::Result<[Client; 2]> {
        let mut clients = [place.connect()?, place.connect()?];
        for (client, token) in clients.iter_mut().zip(&self.tokens) {
            client.ok(&format!("resume {token}"))?;
        }
        Ok(clients)
    }

    /// Asks for one change after another until the tracker dies.
    fn live(&mut self, place: &Place) -> io::Result<()> {
        let mut clients = self.enter(place)?;
        loop {
            let change = self.next();
            let (user, bytes) = self.request(&mut clients, &change)?;
            self.tried += 1;
            self.open = Some(change);
            let answer = clients[user].ask(&bytes)?;
            assert_eq!(answer.words[0], "OK", "{:?}: {answer:?}", self.open);
            self.acknowledged += 1;
            let change = self.open.take().unwrap();
            apply(&mut self.rooms, &change);
        }
    }

    /// Something that is possible now.
    fn next(&mut self) -> Change {
        let rng = &mut self.rng;
        let mut all = Vec::new();
        if self.rooms.len() < 4 {
            all.push(Change::Create(format!("g{}-{}", self.number, self.made)));
        }
        for (group, room) in &self.rooms {
            let group = || group.clone();
            for user in [0, 1] {
                let is_member = room.members.contains(&user);
                if room.requests.contains(&user) {
                    all.extend([Change::Accept(group(), user), Change::Reject(group(), user)]);
                } else if !is_member {
                    all.push(Change::Join(group(), user));
                }
                if !is_member {
                    continue;
                }
                // Seldom enough that a thousand cycles need no more groups than a user may make.
                if rng.random_ratio(1, 20) {
                    all.push(Change::Leave(group(), user));
                }
                let file = rng.random_range(1..6);
                match room.files.get(&file) {
                    None => all.push(Change::Upload(group(), file, user)),
                    Some(holders) if holders.contains(&user) => {
                        all.push(Change::Stop(group(), file, user));
                    }
                    Some(_) => all.push(Change::Completed(group(), file, user)),
                }
            }
        }
        let change = all.choose(rng).unwrap().clone();
        self.made += usize::from(matches!(change, Change::Create(_)));
        change
    }

    /// Who asks, and what is sent.
    fn request(
        &mut self,
        clients: &mut [Client; 2],
        change: &Change,
    ) -> io::Result<(usize, Vec<u8>)> {
        let number = self.number;
        let owner = |rooms: &Rooms, group: &str| rooms[group].members[0];
        let line = |user: usize, line: String| Ok((user, format!("{line}\n").into_bytes()));
        match change {
            Change::Create(group) => line(0, format!("create_group {group}")),
            Change::Join(group, user) => line(*user, format!("join_group {group}")),
            Change::Accept(group, user) => {
                let name = user_name(number, *user);
                line(
                    owner(&self.rooms, group),
                    format!("accept_request {group} {name}"),
                )
            }
            Change::Reject(group, user) => {
                let name = user_name(number, *user);
                line(
                    owner(&self.rooms, group),
                    format!("reject_request {group} {name}"),
                )
            }
            Change::Leave(group, user) => line(*user, format!("leave_group {group}")),
            Change::Upload(group, file, user) => {
                let torrent = self.torrent(&mut clients[*user], group, *file)?;
                let (hash, body) = (torrent.info_hash, torrent.info_bytes());
                let head = format!(
                    "upload_file {group} f{file} {file} {hash} {PEER} +{}\n",
                    body.len()
                );
                Ok((*user, [head.as_bytes(), body].concat()))
            }
            Change::Completed(group, file, user) => {
                let hash = self.torrent(&mut clients[*user], group, *file)?.info_hash;
                line(
                    *user,
                    format!("announce {hash} {PEER} 0 0 0 completed 0 {group}"),
                )
            }
            Change::Stop(group, file, user) => {
                let hash = self.torrent(&mut clients[*user], group, *file)?.info_hash;
                line(*user, format!("stop_share {group} f{file} {hash} {PEER}"))
            }
        }
    }

    fn torrent(&mut self, client: &mut Client, group: &str, size: u64) -> io::Result<Metainfo> {
        if !self.ids.contains_key(group) {
            let answer = client.ok(&format!("ticket {group}"))?;
            let ticket = SignedTicket::parse(&answer.body).unwrap().ticket;
            self.ids.insert(group.into(), ticket.group_id.to_string());
        }
        let layout = Layout::single("x".into(), size, 1 << 14).unwrap();
        Ok(Metainfo::build_for_group(
            layout,
            vec![PieceHash([7; 20])],
            &self.ids[group],
        ))
    }

    /// Compares what the tracker says with what must be; the open change may count, or not.
    fn verify(&mut self, place: &Place) {
        let seen = self.seen(place).unwrap();
        if let Some(change) = self.open.take() {
            let mut with = self.rooms.clone();
            apply(&mut with, &change);
            if seen == with {
                self.rooms = with;
            }
        }
        assert_eq!(seen, self.rooms, "band {}", self.number);
    }

    fn seen(&self, place: &Place) -> io::Result<Rooms> {
        let mut clients = self.enter(place)?;
        let own = format!("g{}-", self.number);
        let mut rooms = Rooms::new();
        let user = |name: &String| usize::from(*name == user_name(self.number, 1));
        for group in clients[0].list("list_groups")? {
            if !group.starts_with(&own) {
                continue;
            }
            // Of the two one is a member; who is first owns the group.
            let asked = clients[0].say(&format!("list_members {group}"))?;
            let inside = usize::from(asked.words[0] != "OK");
            let members = clients[inside].list(&format!("list_members {group}"))?;
            let members: Vec<usize> = members.iter().map(user).collect();
            let requests = clients[members[0]].list(&format!("list_requests {group}"))?;
            let files = clients[inside].list(&format!("list_files {group}"))?;
            let files: BTreeMap<u64, BTreeSet<usize>> = files
                .iter()
                .map(|file| (file[1..].parse().unwrap(), BTreeSet::new()))
                .collect();
            let requests = requests.iter().map(user).collect();
            rooms.insert(
                group,
                Room {
                    members,
                    requests,
                    files,
                },
            );
        }
        self.holders(place, &mut rooms);
        Ok(rooms)
    }

    /// Who holds what is in no list: it is looked up in the file, as anybody may while the
    /// tracker runs.
    fn holders(&self, place: &Place, rooms: &mut Rooms) {
        let database = Connection::open(place.path("tracker-1.db")).unwrap();
        let query = "SELECT \"group\", file, holder FROM files";
        let mut statement = database.prepare(query).unwrap();
        let rows = statement.query_map([], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, String>(2)?,
            ))
        });
        for row in rows.unwrap() {
            let (group, file, holder) = row.unwrap();
            let Some(room) = rooms.get_mut(&group) else {
                continue;
            };
            let user = usize::from(holder == user_name(self.number, 1));
            let holders = room.files.get_mut(&file[1..].parse().unwrap());
            holders.expect("a file that is held is listed").insert(user);
        }
    }
}

fn user_name(band: usize, user: usize) -> String {
    format!("u{band}-{user}")
}

fn setting(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

#[test]
fn what_was_acknowledged_outlives_kill_9() {
    let cycles = setting("MINI_KILL_CYCLES", 60);
    let seed = setting("MINI_KILL_SEED", rand::rng().random());
    println!("MINI_KILL_SEED={seed} MINI_KILL_CYCLES={cycles}");
    let _watchdog = watchdog(Duration::from_secs(60 + 5 * cycles), "the killed tracker");
    let mut rng = StdRng::seed_from_u64(seed);
    let place = Place::new();
    let mut tracker = place.start();
    let mut bands: Vec<Band> = (0..4).map(|i| Band::new(i, seed, &place)).collect();
    let mut verified = 0;
    for _ in 0..cycles {
        let life = Duration::from_millis(rng.random_range(5..150) * SLOWNESS);
        std::thread::scope(|scope| {
            let living = bands.iter_mut().map(|band| {
                let place = &place;
                scope.spawn(move || band.live(place).unwrap_err())
            });
            let living: Vec<_> = living.collect();
            // Not waiting for something: this is how long the tracker may live.
            std::thread::sleep(life);
            tracker.kill_9();
            living
                .into_iter()
                .for_each(|band| drop(band.join().unwrap()));
        });
        tracker = place.start();
        for band in &mut bands {
            band.verify(&place);
            verified += 1;
        }
    }
    let sum = |count: fn(&Band) -> u64| bands.iter().map(count).sum::<u64>();
    let (tried, acknowledged) = (sum(|band| band.tried), sum(|band| band.acknowledged));
    println!(
        "{cycles} times killed: {tried} changes tried, {acknowledged} acknowledged, all of them \
         verified ({verified} comparisons)"
    );
    assert!(
        acknowledged > 10 * cycles,
        "the tracker did not live long enough"
    );
    let database = Connection::open(place.path("tracker-1.db")).unwrap();
    let shown: i64 = database
        .query_row("SELECT count(*) FROM who", [], |row| row.get(0))
        .unwrap();
    assert!(shown > 0, "there is something to look at");
}

#[test]
fn two_hundred_log_in_at_once() {
    let _watchdog = watchdog(Duration::from_secs(180), "the logins");
    let place = Place::new();
    let tracker = place.start();
    place
        .connect()
        .unwrap()
        .ok("create_user bob builder")
        .unwrap();
    let since = Instant::now();
    let (answers, peak) = std::thread::scope(|scope| {
        let log_in = || {
            let mut client = place.connect().unwrap();
            let mut busy = 0;
            loop {
                let answer = client.say("login bob builder").unwrap();
                match (answer.words[0].as_str(), answer.words[1].as_str()) {
                    ("OK", _) => return busy,
                    ("ERR", "busy") => busy += 1,
                    _ => panic!("{answer:?}"),
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        };
        let clients: Vec<_> = (0..200).map(|_| scope.spawn(log_in)).collect();
        let mut peak = 0;
        while clients.iter().any(|client| !client.is_finished()) {
            peak = peak.max(memory(tracker.pid()));
            std::thread::sleep(Duration::from_millis(10));
        }
        let answers: Vec<u32> = clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect();
        (answers, peak)
    });
    println!(
        "200 logins in {:.1} s, {} times busy, at most {} MiB",
        since.elapsed().as_secs_f64(),
        answers.iter().sum::<u32>(),
        peak >> 20
    );
    assert_eq!(answers.len(), 200);
    assert!(peak < 300 << 20, "{} MiB", peak >> 20);
}

#[test]
fn two_trackers_never_use_one_file() {
    let place = Place::new();
    let first = place.start();
    let other = Place::new();
    let db = place.path("tracker-1.db");
    let said = other.refusal(&["--db", db.to_str().unwrap()]);
    assert!(
        said.contains("another tracker uses") && said.contains("--db"),
        "{said}"
    );
    first.kill_9();
    // A lock ends with its process.
    place.start();
}

#[test]
fn what_is_damaged_is_told_and_left_as_it_is() {
    let place = Place::new();
    let tracker = place.start();
    let mut client = place.connect().unwrap();
    client.ok("create_user bob builder").unwrap();
    client.ok("login bob builder").unwrap();
    for i in 0..200 {
        client
            .ok(&format!("create_group a-long-name-for-a-group-{i}"))
            .unwrap();
    }
    tracker.signal("TERM");
    drop(client);
    let mut tracker = tracker;
    tracker.ended(Duration::from_secs(10));
    let db = place.path("tracker-1.db");
    let good = fs::read(&db).unwrap();
    let check = |bytes: &[u8], expect: &str| {
        println!("expected: {expect}");
        fs::write(&db, bytes).unwrap();
        let said = place.refusal(&[]);
        assert!(
            said.contains("tracker-1.db") && said.contains(expect),
            "{said}"
        );
        assert_eq!(fs::read(&db).unwrap(), bytes, "it was written to");
    };
    check(b"hello", "is not a tracker's database");
    check(&good[..good.len() / 2], "is damaged");
    let mut torn = good.clone();
    torn[8192..20_000].fill(0x5a);
    check(&torn, "is damaged");
    let mut newer = good.clone();
    newer[63] = 9;
    check(&newer, "newer version");
    let mut other = good.clone();
    other[68..72].fill(1);
    check(&other, "is not a tracker's database");
    // Everywhere: pages may have old copies of a row.
    let mut row = good.clone();
    for at in 0..row.len() - 7 {
        if &row[at..at + 7] == b"a-long-" {
            row[at] = b' ';
        }
    }
    check(&row, "a row of `groups`");
    fs::write(&db, &good).unwrap();
    let _tracker = place.start();
    assert_eq!(
        place
            .connect()
            .unwrap()
            .say("login bob builder")
            .unwrap()
            .words[0],
        "OK"
    );
}

/// A limit on the size of files stands for a full disk: it needs no rights.
#[cfg(unix)]
#[test]
fn a_full_disk_is_told_and_nothing_is_half_done() {
    let _watchdog = watchdog(Duration::from_secs(120), "the full disk");
    let place = Place::new();
    let mut shell = Command::new("sh");
    let tracker = env!("CARGO_BIN_EXE_tracker");
    shell.current_dir(place.folder.path()).args([
        "-c",
        &format!("trap '' XFSZ; ulimit -f 400; exec '{tracker}' --no-prompt"),
    ]);
    let tracker = Program::start(shell);
    tracker.line_with("listening on");
    let mut client = place.connect().unwrap();
    client.ok("create_user bob builder").unwrap();
    client.ok("login bob builder").unwrap();
    let mut kept = 0;
    let refusal = loop {
        let answer = client.say(&format!("create_group g{kept}")).unwrap();
        match answer.words[0].as_str() {
            "OK" => kept += 1,
            _ => break answer.words.join(" "),
        }
        assert!(kept < 990, "the disk does not fill");
    };
    println!("{kept} groups, then: {refusal}");
    assert!(
        refusal.starts_with("ERR internal The tracker cannot write to its disk"),
        "{refusal}"
    );
    assert_eq!(
        client.list("list_groups").unwrap().len(),
        kept,
        "reading goes on"
    );
    assert!(client.say("create_group more").unwrap().words[0] == "ERR");
    drop(tracker);
    let _tracker = place.start();
    let mut client = place.connect().unwrap();
    client.ok("login bob builder").unwrap();
    assert_eq!(client.list("list_groups").unwrap().len(), kept);
    client.ok("create_group more").unwrap();
}
