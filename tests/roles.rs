//! Proves who may do what: every control command, said by every role over a real socket, is
//! answered as the table below says.
//!
//! `UPDATE_ROLES=1 cargo test --test suite roles:: -- --nocapture` prints the table as it is.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mini_bittorrent::control::command::{Place, commands};
use mini_bittorrent::control::frame::{Frame, read_frame};
use mini_bittorrent::control::ticket::SignedTicket;
use mini_bittorrent::torrent::id::PieceHash;
use mini_bittorrent::torrent::layout::Layout;
use mini_bittorrent::torrent::metainfo::Metainfo;
use mini_bittorrent::tracker::identity::Identity;
use mini_bittorrent::tracker::{Config, Tracker};

/// In cs101 `owner` shares a.txt, and `member` holds it, too; `applicant` has asked to join;
/// `former` has left.
const ROLES: &[&str] = &["nobody", "user", "applicant", "member", "owner", "former"];
const PEER: &str = "-mb0100-abcdefghijkl 7600";

/// What each role is answered, after each line. `…` is what differs from run to run.
const TABLE: &str = r#"
ping
    everybody: OK pong
create_user newcomer secret
    everybody: OK User created!
create_user OWNER secret
    everybody: ERR conflict User already exists! Choose another name, or log in: login OWNER
login user secret
    nobody: OK user …
    user applicant member owner former: ERR conflict You are already logged in! To be somebody else: logout
login user wrong
    nobody: ERR denied User or password is wrong. If you have no account: create_user <user>
    user applicant member owner former: ERR conflict You are already logged in! To be somebody else: logout
login unknown secret
    nobody: ERR denied User or password is wrong. If you have no account: create_user <user>
    user applicant member owner former: ERR conflict You are already logged in! To be somebody else: logout
resume TOKEN
    nobody: OK user …
    user applicant member owner former: ERR conflict You are already logged in! To be somebody else: logout
resume nonsense
    nobody: ERR denied Your login has ended or your password was changed. Log in again: login <user>
    user applicant member owner former: ERR conflict You are already logged in! To be somebody else: logout
logout
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user applicant member owner former: OK Logged out successfully
passwd secret other
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user: OK user …
    applicant: OK applicant …
    member: OK member …
    owner: OK owner …
    former: OK former …
passwd wrong other
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user applicant member owner former: ERR denied The old password is wrong: nothing was changed. Try again
whoami
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user: OK user
    applicant: OK applicant
    member: OK member
    owner: OK owner
    former: OK former
create_group biology
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user applicant member owner former: OK Group created successfully
create_group CS101
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user applicant member owner former: ERR conflict Group already created! Ask to join it: join_group cs101
create_group public
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user applicant member owner former: ERR bad_request Everybody is in public, and nobody owns it: it cannot be created, joined, left or managed
join_group cs101
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user former: OK Join request made successfully
    applicant: ERR conflict You have made a join request; owner, the owner, decides about it
    member owner: ERR conflict You are already present in the group!
join_group nothing
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user applicant member owner former: ERR not_found Group does not exist: there is no nothing. Those there are: list_groups
join_group public
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user applicant member owner former: ERR bad_request Everybody is in public, and nobody owns it: it cannot be created, joined, left or managed
leave_group cs101
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user former: ERR denied You are not a member of cs101. Ask with: join_group cs101
    applicant: ERR denied You are not a member of cs101 yet: you have asked, and owner, the owner, decides
    member owner: OK You left the group!
leave_group public
    everybody: ERR bad_request Everybody is in public, and nobody owns it: it cannot be created, joined, left or managed
list_requests cs101
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user applicant member former: ERR denied You are not the owner of this group: owner is. Only the owner of cs101 can do this
    owner: OK 1 + applicant
list_requests public
    everybody: ERR bad_request Everybody is in public, and nobody owns it: it cannot be created, joined, left or managed
accept_request cs101 applicant
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user applicant member former: ERR denied You are not the owner of this group: owner is. Only the owner of cs101 can do this
    owner: OK User accepted
accept_request cs101 former
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user applicant member former: ERR denied You are not the owner of this group: owner is. Only the owner of cs101 can do this
    owner: ERR not_found This user has not requested to join the group. Those who have: list_requests cs101
accept_request public applicant
    everybody: ERR bad_request Everybody is in public, and nobody owns it: it cannot be created, joined, left or managed
reject_request cs101 applicant
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user applicant member former: ERR denied You are not the owner of this group: owner is. Only the owner of cs101 can do this
    owner: OK User rejected
reject_request cs101 unknown
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user applicant member former: ERR denied You are not the owner of this group: owner is. Only the owner of cs101 can do this
    owner: ERR not_found This user has not requested to join the group. Those who have: list_requests cs101
list_groups
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user former: OK 1 + cs101 owner 2 none
    applicant: OK 1 + cs101 owner 2 requested
    member: OK 1 + cs101 owner 2 member
    owner: OK 1 + cs101 owner 2 owner
list_members cs101
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user former: ERR denied You are not a member of cs101. Ask with: join_group cs101
    applicant: ERR denied You are not a member of cs101 yet: you have asked, and owner, the owner, decides
    member owner: OK 2 + owner / member
list_members nothing
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user applicant member owner former: ERR not_found Group does not exist: there is no nothing. Those there are: list_groups
list_members public
    everybody: ERR bad_request Everybody is in public: there is no list of its members
ticket cs101
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user former: ERR denied You are not a member of cs101. Ask with: join_group cs101
    applicant: ERR denied You are not a member of cs101 yet: you have asked, and owner, the owner, decides
    member owner: OK … + …
ticket nothing
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user applicant member owner former: ERR not_found Group does not exist: there is no nothing. Those there are: list_groups
ticket public
    everybody: ERR bad_request Everybody may fetch what is in public: it needs no tickets
subscribe
    nobody: OK
    user applicant member owner former: OK …
list_files cs101
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user former: ERR denied You are not a member of cs101. Ask with: join_group cs101
    applicant: ERR denied You are not a member of cs101 yet: you have asked, and owner, the owner, decides
    member owner: OK 1 + a.txt 5 <A> 0 0
list_files nothing
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user applicant member owner former: ERR not_found Group does not exist: there is no nothing. Those there are: list_groups
list_files public
    everybody: OK 0
upload_file cs101 a.txt A
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user former: ERR denied You are not a member of cs101. Ask with: join_group cs101
    applicant: ERR denied You are not a member of cs101 yet: you have asked, and owner, the owner, decides
    member owner: OK joined
upload_file cs101 a.txt B
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user former: ERR denied You are not a member of cs101. Ask with: join_group cs101
    applicant: ERR denied You are not a member of cs101 yet: you have asked, and owner, the owner, decides
    member owner: ERR conflict `a.txt` is shared already with other content: 5 bytes, info hash <A>; yours has 6 bytes, info hash <B>. Share it under another name
upload_file cs101 b.txt B
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user former: ERR denied You are not a member of cs101. Ask with: join_group cs101
    applicant: ERR denied You are not a member of cs101 yet: you have asked, and owner, the owner, decides
    member owner: OK shared
upload_file cs101 p.txt P
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user former: ERR denied You are not a member of cs101. Ask with: join_group cs101
    applicant: ERR denied You are not a member of cs101 yet: you have asked, and owner, the owner, decides
    member owner: ERR bad_request A torrent of cs101 has `private` 1 and `source` <id> in its info dictionary: so it is another torrent in every group
upload_file public p.txt P
    everybody: OK shared
upload_file public a.txt A
    everybody: ERR bad_request This torrent was made for the group cs101: share it there, or make one for everybody
download_file cs101 a.txt
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user former: ERR denied You are not a member of cs101. Ask with: join_group cs101
    applicant: ERR denied You are not a member of cs101 yet: you have asked, and owner, the owner, decides
    member owner: OK <A> 5 + …
download_file cs101 nothing
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user former: ERR denied You are not a member of cs101. Ask with: join_group cs101
    applicant: ERR denied You are not a member of cs101 yet: you have asked, and owner, the owner, decides
    member owner: ERR not_found This file does not exist in the group. Those there are: list_files cs101
download_file public nothing
    everybody: ERR not_found nobody shares `nothing` in public; list_files shows what there is
list_peers cs101 a.txt
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user former: ERR denied You are not a member of cs101. Ask with: join_group cs101
    applicant: ERR denied You are not a member of cs101 yet: you have asked, and owner, the owner, decides
    member owner: OK 0
list_peers cs101 nothing
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user former: ERR denied You are not a member of cs101. Ask with: join_group cs101
    applicant: ERR denied You are not a member of cs101 yet: you have asked, and owner, the owner, decides
    member owner: ERR not_found This file does not exist in the group. Those there are: list_files cs101
list_peers public nothing
    everybody: ERR not_found nobody shares `nothing` in public; list_files shows what there is
stop_share cs101 a.txt A
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user former: ERR denied You are not a member of cs101. Ask with: join_group cs101
    applicant: ERR denied You are not a member of cs101 yet: you have asked, and owner, the owner, decides
    member owner: OK Stopped sharing this file
stop_share cs101 nothing A
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user former: ERR denied You are not a member of cs101. Ask with: join_group cs101
    applicant: ERR denied You are not a member of cs101 yet: you have asked, and owner, the owner, decides
    member owner: ERR not_found This file does not exist in the group. Those there are: list_files cs101
stop_share public a.txt A
    everybody: ERR not_found nobody shares `a.txt` in public; list_files shows what there is
announce A 0 0 5 started 50 cs101
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user former: ERR denied You are not a member of cs101. Ask with: join_group cs101
    applicant: ERR denied You are not a member of cs101 yet: you have asked, and owner, the owner, decides
    member owner: OK 120 0 1
announce A 0 0 0 completed 50 cs101
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user former: ERR denied You are not a member of cs101. Ask with: join_group cs101
    applicant: ERR denied You are not a member of cs101 yet: you have asked, and owner, the owner, decides
    member owner: OK 120 1 0
announce B 0 0 5 started 50 cs101
    nobody: ERR denied Please log in first. Log in with: login <user> <password>
    user former: ERR denied You are not a member of cs101. Ask with: join_group cs101
    applicant: ERR denied You are not a member of cs101 yet: you have asked, and owner, the owner, decides
    member owner: ERR not_found No file of cs101 is this torrent. Those there are: list_files cs101
announce A 0 0 5 started
    everybody: OK 120 0 1
announce A 0 0 5 started 50 public
    everybody: OK 120 0 1
ask a.txt
    everybody: OK 0 0
have 00000000000000ff A
    everybody: ERR bad_request This torrent was made for the group cs101: share it there, or make one for everybody
have 00000000000000ff P
    everybody: ERR not_found nobody waits for this answer: the question is over, was answered, or was never asked
hashing 00000000000000ff 5 -mb0100-aaaaaaaaaaaa 7000
    everybody: ERR not_found nobody waits for this answer: the question is over, was answered, or was never asked
have_not 00000000000000ff -mb0100-aaaaaaaaaaaa
    everybody: ERR not_found nobody waits for this answer: the question is over, was answered, or was never asked
knock 1 0000000000000000000000000000000000000000
    everybody: ERR denied Nobody knocks at ports below 1024: they are for a system's own programs
knocked 00000000000000ff connected
    everybody: ERR not_found nobody waits for this answer: the question is over, was answered, or was never asked
not_knocked 00000000000000ff
    everybody: ERR not_found nobody waits for this answer: the question is over, was answered, or was never asked
metainfo 0000000000000000000000000000000000000000
    everybody: ERR not_found nobody shares 0000000000000000000000000000000000000000 with everybody, and no question has found it of late: ask again
batch_join 1 job
    everybody: ERR bad_request This tracker runs no batch
batch_offer a.txt 5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d
    everybody: ERR bad_request Join the batch run first: batch_join <rank> <job>
batch_wait offered
    everybody: ERR bad_request Join the batch run first: batch_join <rank> <job>
trackers
    everybody: OK 0
stats
    everybody: OK + …
help
    everybody: OK + …
quit
    everybody: OK bye
"#;

/// The lines of the table. `A` is the torrent of a.txt, `B` another one of cs101, `P` one that
/// was made for everybody; `TOKEN` is a token of `user`.
const LINES: &[&str] = &[
    "ping",
    "create_user newcomer secret",
    "create_user OWNER secret",
    "login user secret",
    "login user wrong",
    "login unknown secret",
    "resume TOKEN",
    "resume nonsense",
    "logout",
    "passwd secret other",
    "passwd wrong other",
    "whoami",
    "create_group biology",
    "create_group CS101",
    "create_group public",
    "join_group cs101",
    "join_group nothing",
    "join_group public",
    "leave_group cs101",
    "leave_group public",
    "list_requests cs101",
    "list_requests public",
    "accept_request cs101 applicant",
    "accept_request cs101 former",
    "accept_request public applicant",
    "reject_request cs101 applicant",
    "reject_request cs101 unknown",
    "list_groups",
    "list_members cs101",
    "list_members nothing",
    "list_members public",
    "ticket cs101",
    "ticket nothing",
    "ticket public",
    "subscribe",
    "list_files cs101",
    "list_files nothing",
    "list_files public",
    "upload_file cs101 a.txt A",
    "upload_file cs101 a.txt B",
    "upload_file cs101 b.txt B",
    "upload_file cs101 p.txt P",
    "upload_file public p.txt P",
    "upload_file public a.txt A",
    "download_file cs101 a.txt",
    "download_file cs101 nothing",
    "download_file public nothing",
    "list_peers cs101 a.txt",
    "list_peers cs101 nothing",
    "list_peers public nothing",
    "stop_share cs101 a.txt A",
    "stop_share cs101 nothing A",
    "stop_share public a.txt A",
    "announce A 0 0 5 started 50 cs101",
    "announce A 0 0 0 completed 50 cs101",
    "announce B 0 0 5 started 50 cs101",
    "announce A 0 0 5 started",
    "announce A 0 0 5 started 50 public",
    "ask a.txt",
    "have 00000000000000ff A",
    "have 00000000000000ff P",
    "hashing 00000000000000ff 5 -mb0100-aaaaaaaaaaaa 7000",
    "have_not 00000000000000ff -mb0100-aaaaaaaaaaaa",
    "knock 1 0000000000000000000000000000000000000000",
    "knocked 00000000000000ff connected",
    "not_knocked 00000000000000ff",
    "metainfo 0000000000000000000000000000000000000000",
    "batch_join 1 job",
    "batch_offer a.txt 5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d",
    "batch_wait offered",
    "trackers",
    "stats",
    "help",
    "quit",
];

/// A tracker's file as it is before each line, and how to come in.
struct World {
    folder: tempfile::TempDir,
    identity: Arc<Identity>,
    tokens: BTreeMap<String, String>,
    torrents: BTreeMap<char, Metainfo>,
}

struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn new(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let stream = BufReader::new(stream);
        Client { stream }
    }

    fn ask(&mut self, frame: &[u8]) -> Frame {
        self.stream.get_mut().write_all(frame).unwrap();
        read_frame(&mut self.stream).unwrap().expect("an answer")
    }

    fn say(&mut self, line: &str) -> Frame {
        self.ask(format!("{line}\n").as_bytes())
    }

    fn ok(&mut self, line: &str) -> Frame {
        let answer = self.say(line);
        assert_eq!(answer.words[0], "OK", "{line}: {answer:?}");
        answer
    }
}

impl World {
    fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let identity = Arc::new(Identity::ephemeral());
        let mut world = World {
            folder,
            identity,
            tokens: BTreeMap::new(),
            torrents: BTreeMap::new(),
        };
        let tracker = world.start(&world.folder.path().join("world.db"));
        let mut clients = BTreeMap::new();
        for role in &ROLES[1..] {
            let mut client = Client::new(tracker.local_addr());
            client.ok(&format!("create_user {role} secret"));
            let key = "07".repeat(32);
            let answer = client.ok(&format!("login {role} secret {key}"));
            world
                .tokens
                .insert(role.to_string(), answer.words[2].clone());
            clients.insert(*role, client);
        }
        let mut run = |role: &str, line: &str| clients.get_mut(role).unwrap().ok(line);
        run("owner", "create_group cs101");
        for role in ["member", "former"] {
            run(role, "join_group cs101");
            run("owner", &format!("accept_request cs101 {role}"));
        }
        run("former", "leave_group cs101");
        run("applicant", "join_group cs101");
        let ticket = run("owner", "ticket cs101");
        let ticket = SignedTicket::parse(&ticket.body).unwrap().ticket;
        let torrent = |size: u64, source: Option<String>| {
            let layout = Layout::single("x".into(), size, 1 << 14).unwrap();
            let hashes = vec![PieceHash([7; 20])];
            match source {
                Some(source) => Metainfo::build_for_group(layout, hashes, &source),
                None => Metainfo::build(layout, hashes, false),
            }
        };
        let group = ticket.group_id.to_string();
        world.torrents.insert('A', torrent(5, Some(group.clone())));
        world.torrents.insert('B', torrent(6, Some(group)));
        world.torrents.insert('P', torrent(7, None));
        for role in ["owner", "member"] {
            let bytes = world.bytes("upload_file cs101 a.txt A");
            let answer = clients.get_mut(role).unwrap().ask(&bytes);
            assert_eq!(answer.words[0], "OK", "{answer:?}");
        }
        drop(tracker);
        world
    }

    fn start(&self, db: &Path) -> Tracker {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = Config {
            identity: self.identity.clone(),
            db: Some(db.to_path_buf()),
            ..Config::new(any_port)
        };
        Tracker::start(config).unwrap()
    }

    /// A line of the table as it is sent.
    fn bytes(&self, line: &str) -> Vec<u8> {
        let line = line.replace("TOKEN", self.tokens.get("user").map_or("", |token| token));
        let words: Vec<&str> = line.split(' ').collect();
        let torrent = |word: &str| self.torrents.get(&word.chars().next()?);
        let text = match words.as_slice() {
            ["upload_file", group, name, word] => {
                let torrent = torrent(word).unwrap();
                let (size, hash) = (torrent.layout.total(), torrent.info_hash);
                let body = torrent.info_bytes();
                let head = format!(
                    "upload_file {group} {name} {size} {hash} {PEER} +{}\n",
                    body.len()
                );
                return [head.as_bytes(), body].concat();
            }
            ["stop_share", group, name, word] => {
                let hash = torrent(word).unwrap().info_hash;
                format!("stop_share {group} {name} {hash} {PEER}")
            }
            ["have", question, word] => {
                let torrent = torrent(word).unwrap();
                let (size, hash) = (torrent.layout.total(), torrent.info_hash);
                let body = torrent.info_bytes();
                let head = format!("have {question} {size} {hash} {PEER} +{}\n", body.len());
                return [head.as_bytes(), body].concat();
            }
            ["announce", word, rest @ ..] => {
                let hash = torrent(word).unwrap().info_hash;
                format!("announce {hash} {PEER} {}", rest.join(" "))
            }
            _ => line.clone(),
        };
        format!("{text}\n").into_bytes()
    }

    /// What a role is answered.
    fn answer(&self, line: &str, role: &str) -> String {
        let db = self.folder.path().join("now.db");
        remove(&db);
        fs::copy(self.folder.path().join("world.db"), &db).unwrap();
        let tracker = self.start(&db);
        let mut client = Client::new(tracker.local_addr());
        if let Some(token) = self.tokens.get(role) {
            client.ok(&format!("resume {token}"));
        }
        let answer = client.ask(&self.bytes(line));
        self.shown(line, answer)
    }

    /// Without what differs from run to run.
    fn shown(&self, line: &str, answer: Frame) -> String {
        let mut words = answer.words;
        let command = line.split(' ').next().unwrap_or_default();
        match command {
            "login" | "resume" | "passwd" if words[0] == "OK" => {
                words.truncate(2);
                words.push("…".into());
            }
            "ticket" | "subscribe" if words.len() > 1 && words[0] == "OK" => words[1] = "…".into(),
            _ => {}
        }
        let mut text = words.join(" ");
        for (name, torrent) in &self.torrents {
            text = text.replace(&torrent.info_hash.to_string(), &format!("<{name}>"));
            if let Some(source) = &torrent.source {
                text = text.replace(source.as_str(), "<id>");
            }
        }
        if answer.body.is_empty() {
            return text;
        }
        let mut body = match std::str::from_utf8(&answer.body) {
            Ok(body) if !["stats", "help", "download_file"].contains(&command) => {
                body.trim_end().replace('\n', " / ")
            }
            _ => "…".into(),
        };
        for (name, torrent) in &self.torrents {
            body = body.replace(&torrent.info_hash.to_string(), &format!("<{name}>"));
        }
        format!("{text} + {body}")
    }
}

/// A database and what SQLite keeps beside it.
fn remove(db: &Path) {
    for ending in ["", "-wal", "-shm", ".lock"] {
        let mut path = db.as_os_str().to_os_string();
        path.push(ending);
        let _ = fs::remove_file(PathBuf::from(path));
    }
}

/// A line's answers, those who are told the same together.
fn rows(world: &World, line: &str) -> String {
    let mut rows: Vec<(Vec<&str>, String)> = Vec::new();
    for role in ROLES {
        let answer = world.answer(line, role);
        match rows.iter_mut().find(|(_, other)| *other == answer) {
            Some((roles, _)) => roles.push(role),
            None => rows.push((vec![role], answer)),
        }
    }
    let rows = rows.into_iter().map(|(roles, answer)| {
        let who = if roles.len() == ROLES.len() {
            "everybody".to_string()
        } else {
            roles.join(" ")
        };
        format!("    {who}: {answer}\n")
    });
    format!("{line}\n{}", rows.collect::<String>())
}

#[test]
fn every_command_as_every_role() {
    let world = World::new();
    for command in commands(Place::Control) {
        let has = |line: &&str| line.split(' ').next() == Some(command.name);
        assert!(
            LINES.iter().any(has),
            "{} is not in the table",
            command.name
        );
    }
    let table: String = LINES.iter().map(|line| rows(&world, line)).collect();
    println!("{} answers compared", LINES.len() * ROLES.len());
    if std::env::var_os("UPDATE_ROLES").is_some() {
        println!("{table}");
    }
    for (is, expect) in table.lines().zip(TABLE.trim_start().lines()) {
        assert_eq!(is, expect, "see the whole table with UPDATE_ROLES=1");
    }
    assert_eq!(table.lines().count(), TABLE.trim_start().lines().count());
}

#[test]
fn a_ticket_is_for_who_said_its_peers_key() {
    let world = World::new();
    let tracker = world.start(&world.folder.path().join("world.db"));
    let mut client = Client::new(tracker.local_addr());
    client.ok("login member secret");
    let answer = client.say("ticket cs101");
    assert!(answer.words[..2] == ["ERR", "denied"], "{answer:?}");
    client.ok("logout");
    let key = "09".repeat(32);
    client.ok(&format!("login MEMBER secret {key}"));
    let answer = client.ok("ticket CS101");
    let now: u64 = answer.words[1].parse().unwrap();
    let signed = SignedTicket::parse(&answer.body).unwrap();
    assert_eq!(signed.tracker, world.identity.key());
    let ticket = signed.ticket;
    assert_eq!(
        (ticket.user.as_str(), ticket.group.as_str()),
        ("member", "cs101")
    );
    assert_eq!(
        (ticket.peer_key.to_string(), ticket.expires),
        (key, now + 600)
    );
    client.ok("leave_group cs101");
    assert_eq!(client.say("ticket cs101").words[..2], ["ERR", "denied"]);
}

#[test]
fn a_token_outlives_the_tracker_and_ends_with_the_password() {
    let world = World::new();
    let db = world.folder.path().join("world.db");
    let tracker = world.start(&db);
    let mut first = Client::new(tracker.local_addr());
    let token = &world.tokens["member"];
    let fresh = first.ok(&format!("resume {token}")).words[2].clone();
    let mut second = Client::new(tracker.local_addr());
    second.ok(&format!("resume {fresh}"));
    second.ok("passwd secret other");
    second.ok("list_files cs101");
    let ended =
        "ERR denied Your login has ended or your password was changed. Log in again: login <user>";
    assert_eq!(
        first.say("list_files cs101").words.join(" "),
        ended,
        "the other connection"
    );
    for token in [token, &fresh] {
        let answer = Client::new(tracker.local_addr()).say(&format!("resume {token}"));
        assert_eq!(answer.words.join(" "), ended);
    }
    drop(tracker);
    // Another tracker's word counts for nothing.
    let other = World {
        identity: Arc::new(Identity::ephemeral()),
        folder: tempfile::tempdir().unwrap(),
        tokens: BTreeMap::new(),
        torrents: BTreeMap::new(),
    };
    let tracker = other.start(&db);
    let answer =
        Client::new(tracker.local_addr()).say(&format!("resume {}", world.tokens["owner"]));
    assert_eq!(answer.words.join(" "), ended);
}

/// The next line of a stream of news, without its cursor, and the cursor.
fn news(client: &mut Client) -> (String, String) {
    let mut line = String::new();
    client.stream.read_line(&mut line).unwrap();
    let mut words = line.split_whitespace();
    assert_eq!(words.next(), Some("NEWS"), "{line}");
    let cursor = words.next().unwrap().to_string();
    (words.collect::<Vec<_>>().join(" "), cursor)
}

#[test]
fn news_come_at_once_and_what_was_missed_comes_first() {
    let world = World::new();
    let tracker = world.start(&world.folder.path().join("world.db"));
    let at = tracker.local_addr();
    let enter = |role: &str| {
        let mut client = Client::new(at);
        client.ok(&format!("resume {}", world.tokens[role]));
        client
    };
    let mut owner = enter("owner");
    let begin = owner.ok("subscribe").words[1].clone();
    assert_eq!(news(&mut owner).0, "asks cs101 applicant");
    let mut member = enter("member");
    member.ok("subscribe");
    let mut boss = enter("owner");
    boss.ok("accept_request cs101 applicant");
    assert_eq!(news(&mut owner).0, "joined cs101 applicant");
    assert_eq!(news(&mut member).0, "joined cs101 applicant");
    let mut user = enter("user");
    user.ok("join_group cs101");
    let (line, cursor) = news(&mut owner);
    assert_eq!(line, "asks cs101 user");
    drop(owner);
    boss.ask(&world.bytes("upload_file cs101 b.txt B"));
    assert_eq!(news(&mut member).0, "shares cs101 b.txt 6 owner");
    enter("member").ok("leave_group cs101");
    let mut owner = enter("owner");
    owner.ok(&format!("subscribe {cursor}"));
    assert_eq!(news(&mut owner).0, "left cs101 member");
    drop(owner);
    let mut owner = enter("owner");
    owner.ok(&format!("subscribe {begin}"));
    let seen: Vec<String> = (0..3).map(|_| news(&mut owner).0).collect();
    assert_eq!(
        seen,
        [
            "joined cs101 applicant",
            "asks cs101 user",
            "left cs101 member"
        ]
    );
    boss.ok("passwd secret other");
    boss.ok("accept_request cs101 user");
    let mut rest = Vec::new();
    owner.stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"", "the password has changed: the stream ends");
}

/// What a web browser, or any BitTorrent client, is answered.
fn get(tracker: &Tracker, path: &str) -> String {
    let mut stream = TcpStream::connect(tracker.local_addr()).unwrap();
    let request = format!("GET {path} HTTP/1.0\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_groups_swarm_is_for_members() {
    let world = World::new();
    let tracker = world.start(&world.folder.path().join("world.db"));
    let at = tracker.local_addr();
    let enter = |role: &str| {
        let mut client = Client::new(at);
        client.ok(&format!("resume {}", world.tokens[role]));
        client
    };
    let mut owner = enter("owner");
    let seed = world.bytes("announce A 0 0 0 started 50 cs101");
    assert_eq!(owner.ask(&seed).words.join(" "), "OK 120 1 0");
    let hash = world.torrents[&'A'].info_hash;
    let fetch = format!("announce {hash} -mb0100-lkjihgfedcba 7601 0 0 5 started 50");
    let answer = enter("member").ok(&format!("{fetch} cs101"));
    assert_eq!(answer.words.join(" "), "OK 120 1 1");
    assert_eq!(answer.body, b"127.0.0.1:7600\n");
    let files = owner.ok("list_files cs101");
    assert!(files.body.ends_with(b" 1 1\n"), "{files:?}");
    // Whoever knows the info hash learns nothing by it.
    let quoted: String = hash.0.iter().map(|byte| format!("%{byte:02x}")).collect();
    let scrape = get(&tracker, &format!("/scrape?info_hash={quoted}"));
    assert!(scrape.ends_with("d5:filesdee"), "{scrape}");
    assert!(!get(&tracker, "/").contains(&hash.to_string()));
    let announce =
        format!("/announce?info_hash={quoted}&peer_id=-xx0001-000000000000&port=1&left=5");
    let answer = get(&tracker, &announce);
    assert!(
        answer.contains("8:completei0e") && !answer.contains("7600"),
        "{answer}"
    );
    let answer = Client::new(at).ok(&fetch);
    assert_eq!(
        answer.words.join(" "),
        "OK 120 0 2",
        "others who know it, and no member"
    );
    // Nor by a group of one's own.
    let mut user = enter("user");
    user.ok("create_group other");
    let answer = user.ask(&world.bytes("announce A 0 0 5 started 50 other"));
    assert_eq!(answer.words[..2], ["ERR", "not_found"], "{answer:?}");
}
