//! A user who asks for one change after another, of whichever tracker answers, and writes
//! everything down.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use mini_bittorrent::control::frame::Frame;
use mini_bittorrent::control::ticket::SignedTicket;
use mini_bittorrent::control::tracker_info::TrackerAddress;
use mini_bittorrent::torrent::id::PieceHash;
use mini_bittorrent::torrent::layout::Layout;
use mini_bittorrent::torrent::metainfo::Metainfo;

use super::history::{Answer, Attempt, File, Operation, Wish, now};
use super::line::Line;

const PEER: &str = "-mb0100-abcdefghijkl 7600";
/// How often a change is sent until somebody answers.
const ATTEMPTS: usize = 5;
/// How many changes are made with one list of groups.
const LIST_LIFE: u32 = 8;
/// So long clients fight for one name.
const CONTEST: Duration = Duration::from_secs(3);

/// What all clients have in common.
pub struct Shared {
    pub places: Vec<TrackerAddress>,
    pub stop: AtomicBool,
    pub began: Instant,
}

pub struct Client {
    user: String,
    number: usize,
    rng: StdRng,
    shared: Arc<Shared>,
    /// Those that may be right; the latest is tried first.
    passwords: Vec<String>,
    token: Option<String>,
    line: Option<(usize, Line)>,
    /// `<name> <owner> <members> <standing>`
    groups: Vec<Vec<String>>,
    age: u32,
    /// What it has shared.
    held: Vec<File>,
    /// How many names and passwords it has thought of.
    made: usize,
    pub history: Vec<Operation>,
}

pub fn user_name(number: usize) -> String {
    format!("u{number}")
}

impl Client {
    pub fn new(number: usize, seed: u64, shared: Arc<Shared>) -> Client {
        Client {
            user: user_name(number),
            number,
            rng: StdRng::seed_from_u64(seed.wrapping_add(number as u64)),
            shared,
            passwords: vec![format!("secret-{number}")],
            token: None,
            line: None,
            groups: Vec::new(),
            age: LIST_LIFE,
            held: Vec::new(),
            made: 0,
            history: Vec::new(),
        }
    }

    /// Before anything goes wrong.
    pub fn sign_up(&mut self) {
        let password = self.passwords[0].clone();
        let name = self.user.clone();
        self.connect(&[]);
        self.perform(Wish::CreateUser { name, password });
        self.line = None;
    }

    pub fn live(&mut self) {
        while !self.is_over() {
            // What goes wrong between two changes is nobody's business: another tracker is asked.
            let done = self.step();
            if done.is_err() || self.rng.random_ratio(1, 40) {
                self.line = None;
            }
            let rest = self.rng.random_range(5..60);
            std::thread::sleep(Duration::from_millis(rest));
        }
        self.line = None;
    }

    fn is_over(&self) -> bool {
        self.shared.stop.load(Ordering::SeqCst)
    }

    /// The end of a name, the same for all clients for a while.
    fn contest(&self) -> u64 {
        (self.shared.began.elapsed().as_millis() / CONTEST.as_millis()) as u64
    }

    fn step(&mut self) -> io::Result<()> {
        if self.line.is_none() {
            self.connect(&[]);
        }
        self.line()?;
        match self.rng.random_range(0..1000) {
            0..50 => {
                let name = format!("n{}", self.contest());
                self.made += 1;
                let password = format!("pw-{}-{}", self.number, self.made);
                self.perform(Wish::CreateUser { name, password });
            }
            50..100 => {
                let group = format!("x{}", self.contest());
                self.perform(Wish::CreateGroup { group });
            }
            100..115 => {
                self.made += 1;
                let group = format!("c{}-{}", self.number, self.made);
                self.perform(Wish::CreateGroup { group });
            }
            115..122 => {
                self.made += 1;
                let password = format!("secret-{}-{}", self.number, self.made);
                self.perform(Wish::Passwd { password });
            }
            _ => self.step_in_group()?,
        }
        Ok(())
    }

    fn step_in_group(&mut self) -> io::Result<()> {
        self.age += 1;
        if self.age > LIST_LIFE || self.groups.is_empty() {
            let lines = self.line()?.list("list_groups")?.unwrap_or_default();
            let words = |line: &String| line.split(' ').map(str::to_string).collect();
            self.groups = lines.iter().map(words).collect();
            self.age = 0;
        }
        let Some(group) = self.groups.choose(&mut self.rng).cloned() else {
            return Ok(());
        };
        let [name, _, _, standing] = &group[..] else {
            return Ok(());
        };
        let dice = self.rng.random_range(0..100);
        let group = name.clone();
        match (standing.as_str(), dice) {
            ("owner", 0..50) => self.answer(group)?,
            ("owner" | "member", 0..70) => self.upload(group)?,
            ("owner" | "member", 70..90) => self.stop_share(),
            ("owner" | "member", 90..97) => self.perform(Wish::Leave { group }),
            ("none", 0..80) | ("requested", 0..10) => self.perform(Wish::Join { group }),
            (_, 0..95) => {}
            // Refused, or should be.
            (_, 95) => self.perform(Wish::Leave { group }),
            (_, 96) => self.perform(Wish::CreateGroup {
                group: super::history::base(&group).into(),
            }),
            (_, _) => {
                let user = user_name(self.rng.random_range(0..8));
                self.perform(Wish::Accept { group, user });
            }
        }
        Ok(())
    }

    fn answer(&mut self, group: String) -> io::Result<()> {
        let asked = self.line()?.list(&format!("list_requests {group}"))?;
        let Some(user) = asked.unwrap_or_default().choose(&mut self.rng).cloned() else {
            return Ok(());
        };
        let wish = match self.rng.random_ratio(3, 4) {
            true => Wish::Accept { group, user },
            false => Wish::Reject { group, user },
        };
        self.perform(wish);
        Ok(())
    }

    fn upload(&mut self, group: String) -> io::Result<()> {
        let ticket = self.line()?.say(&format!("ticket {group}"))?;
        // Not a member any longer.
        let Ok(ticket) = SignedTicket::parse(&ticket.body) else {
            return Ok(());
        };
        let group_id = ticket.ticket.group_id.to_string();
        let size = self.rng.random_range(1..4);
        let name = format!("f{}", self.rng.random_range(0..4));
        let file = File {
            info_hash: torrent(&group_id, &name, size).info_hash.to_string(),
            group,
            group_id,
            name,
        };
        self.perform(Wish::Upload(file));
        Ok(())
    }

    fn stop_share(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let place = self.rng.random_range(0..self.held.len());
        let file = self.held.swap_remove(place);
        self.perform(Wish::Stop(file));
    }

    /// Sends a change until somebody answers it, and sometimes once more.
    fn perform(&mut self, wish: Wish) {
        let id = format!(
            "@{:016x}{:016x}",
            self.rng.random::<u64>(),
            self.rng.random::<u64>()
        );
        let by = match wish {
            Wish::CreateUser { .. } => String::new(),
            _ => self.user.clone(),
        };
        let mut operation = Operation {
            id,
            by,
            wish,
            attempts: Vec::new(),
        };
        if let Wish::Passwd { password } = &operation.wish {
            self.passwords.push(password.clone());
        }
        for _ in 0..ATTEMPTS {
            if self.line.is_none() {
                let asked: Vec<usize> = operation.attempts.iter().map(|one| one.tracker).collect();
                self.connect(&asked);
            }
            match self.attempt(&mut operation) {
                Some(Answer::Ok(_)) => {
                    if self.rng.random_ratio(1, 12) {
                        self.ask_again(&mut operation);
                    }
                    break;
                }
                // Another one may know more.
                Some(Answer::Refused(said)) if said.starts_with("busy") => self.line = None,
                Some(Answer::Refused(_)) => break,
                Some(Answer::Unknown(_)) => self.line = None,
                None => std::thread::sleep(Duration::from_millis(50)),
            }
            if self.is_over() {
                break;
            }
        }
        if !operation.attempts.is_empty() {
            self.remember(&operation);
            self.history.push(operation);
        }
    }

    /// The same number, to another tracker.
    fn ask_again(&mut self, operation: &mut Operation) {
        let asked = operation.attempts.last().map(|one| one.tracker);
        let old = self.line.take();
        self.connect(&asked.into_iter().collect::<Vec<_>>());
        self.attempt(operation);
        self.line = old;
    }

    fn attempt(&mut self, operation: &mut Operation) -> Option<Answer> {
        let (tracker, line) = self.line.as_mut()?;
        let tracker = *tracker;
        let old = self.passwords.iter().rev().nth(1);
        let bytes = request(operation, old.or(self.passwords.last()).map_or("", |p| p));
        let sent = now();
        let answer = line.ask(&bytes);
        let ended = now();
        let answer = self.read(&operation.wish, answer);
        operation.attempts.push(Attempt {
            tracker,
            sent,
            ended,
            answer: answer.clone(),
        });
        Some(answer)
    }

    fn read(&mut self, wish: &Wish, answer: io::Result<Frame>) -> Answer {
        let words = match answer {
            Ok(frame) => frame.words,
            Err(error) => return Answer::Unknown(error.to_string()),
        };
        let said = words[1..].join(" ");
        if words[0] == "OK" {
            if let Wish::Passwd { .. } = wish {
                // Each tracker signs a token of its own.
                self.token = words.get(2).cloned();
                return Answer::Ok("Password changed".into());
            }
            return Answer::Ok(said);
        }
        if said.contains("Log in") || said.contains("log in first") {
            (self.token, self.line) = (None, None);
        }
        match said.contains("not known") {
            true => Answer::Unknown(said),
            false => Answer::Refused(said),
        }
    }

    fn remember(&mut self, operation: &Operation) {
        match &operation.wish {
            Wish::Upload(file) if operation.is_acknowledged() => self.held.push(file.clone()),
            Wish::Passwd { .. } if operation.is_refused() => drop(self.passwords.pop()),
            Wish::CreateGroup { .. } => self.age = LIST_LIFE,
            _ => {}
        }
    }

    fn line(&mut self) -> io::Result<&mut Line> {
        let line = self.line.as_mut().map(|(_, line)| line);
        line.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// To any tracker, but for these.
    fn connect(&mut self, but: &[usize]) {
        let count = self.shared.places.len();
        let others: Vec<usize> = (1..=count).filter(|n| !but.contains(n)).collect();
        let Some(n) = others.choose(&mut self.rng).copied() else {
            return;
        };
        self.line = self.enter(n).ok().flatten().map(|line| (n, line));
    }

    /// A connection that is logged in; nothing if the tracker does not want that.
    fn enter(&mut self, n: usize) -> io::Result<Option<Line>> {
        let mut line = Line::open(&self.shared.places[n - 1])?;
        if self.history.is_empty() {
            // There is no account yet.
            return Ok(Some(line));
        }
        if let Some(token) = &self.token {
            let frame = line.say(&format!("resume {token}"))?;
            if frame.words[0] == "OK" {
                return Ok(Some(line));
            }
        }
        let key = "05".repeat(32);
        for password in self.passwords.iter().rev().take(3) {
            let frame = line.say(&format!("login {} {password} {key}", self.user))?;
            if frame.words[0] == "OK" {
                self.token = frame.words.get(2).cloned();
                return Ok(Some(line));
            }
            if frame.words.get(1).is_some_and(|code| code == "busy") {
                break;
            }
        }
        Ok(None)
    }
}

/// The bytes of a request.
fn request(operation: &Operation, old: &str) -> Vec<u8> {
    let id = &operation.id;
    let line = match &operation.wish {
        Wish::CreateUser { name, password } => format!("create_user {name} {password}"),
        Wish::Passwd { password } => format!("passwd {old} {password}"),
        Wish::Upload(file) => {
            let size = file_size(file);
            let torrent = torrent(&file.group_id, &file.name, size);
            let info = torrent.info_bytes();
            let File {
                group,
                name,
                info_hash,
                ..
            } = file;
            let (length, count) = (torrent.layout.total(), info.len());
            let head =
                format!("{id} upload_file {group} {name} {length} {info_hash} {PEER} +{count}\n");
            return [head.as_bytes(), info].concat();
        }
        Wish::Stop(File {
            group,
            name,
            info_hash,
            ..
        }) => {
            format!("stop_share {group} {name} {info_hash} {PEER}")
        }
        wish => wish.to_string(),
    };
    format!("{id} {line}\n").into_bytes()
}

/// One of three contents for each name.
fn torrent(group_id: &str, name: &str, size: u64) -> Metainfo {
    let layout = Layout::single(name.into(), size, 1 << 14).unwrap();
    Metainfo::build_for_group(layout, vec![PieceHash([7; 20])], group_id)
}

fn file_size(file: &File) -> u64 {
    let is_it = |size: &u64| {
        torrent(&file.group_id, &file.name, *size)
            .info_hash
            .to_string()
            == file.info_hash
    };
    (1..4).find(is_it).unwrap_or(1)
}
