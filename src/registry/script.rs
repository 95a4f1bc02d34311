//! For tests: lines such as `bob join_group cs101`, and what comes of them.

use crate::control::names::UserName;
use crate::control::news::NewsLine;
use crate::control::stamp::{Clock, Stamp, UserId};
use crate::torrent::id::PieceHash;
use crate::torrent::layout::Layout;
use crate::torrent::metainfo::Metainfo;

use super::change::{Change, Limits, Offer, decide};
use super::facts::Facts;
use super::missed::missed;
use super::news::Before;

pub(super) struct Script {
    pub facts: Facts,
    pub limits: Limits,
    clock: Clock,
    time: u64,
    /// What everybody would have heard, `<who>: <news>` a line.
    pub news: Vec<String>,
}

impl Script {
    pub fn new() -> Script {
        Script {
            facts: Facts::default(),
            limits: Limits::default(),
            clock: Clock::new(1, 0),
            time: 1000,
            news: Vec::new(),
        }
    }

    /// With these users, of whom the first has made cs101 and the others are members of it.
    pub fn group(users: &[&str]) -> Script {
        let mut script = Script::new();
        for user in users {
            script.run(&format!("{user} create_user {user}"));
        }
        script.run(&format!("{} create_group cs101", users[0]));
        for user in &users[1..] {
            script.run(&format!("{user} join_group cs101"));
            script.run(&format!("{} accept_request cs101 {user}", users[0]));
        }
        script.news.clear();
        script
    }

    /// The sentence that the user is answered.
    pub fn run(&mut self, line: &str) -> String {
        self.time += 1000;
        let words: Vec<&str> = line.split(' ').collect();
        let by = self.facts.user_named(&words[0].parse().unwrap());
        let change = self.change(&words);
        let (facts, limits) = (&self.facts, &self.limits);
        match decide(facts, limits, by, &change, &mut self.clock, self.time) {
            Ok((entries, done)) => {
                for entry in entries {
                    let before = Before::look(&self.facts, &entry);
                    assert!(self.facts.apply(&entry), "{line}: nothing new");
                    for told in before.news(&self.facts, &entry) {
                        let line = shown(entry.stamp, told.news);
                        let hears = |user: &UserId| told.to.has(&self.facts, *user);
                        let names = self.facts.user_ids().filter(hears);
                        let names = names.map(|user| self.facts.user_name(user).unwrap());
                        self.news
                            .extend(names.map(|name| format!("{name}: {line}")));
                    }
                }
                done.to_string()
            }
            Err(refused) => format!("{} {refused}", refused.code()),
        }
    }

    fn change(&self, words: &[&str]) -> Change {
        let group = |i: usize| words[i].parse().unwrap();
        let user = |i: usize| -> UserName { words[i].parse().unwrap() };
        match words[1] {
            "create_user" => Change::CreateUser {
                name: user(2),
                hash: "h".into(),
            },
            "passwd" => {
                let user = self.facts.user_named(&user(0));
                let was = user.and_then(|user| self.facts.password(user));
                Change::SetPassword {
                    was: was.expect("a user with a password").stamp,
                    hash: "i".into(),
                }
            }
            "create_group" => Change::CreateGroup { group: group(2) },
            "join_group" => Change::Join { group: group(2) },
            "leave_group" => Change::Leave { group: group(2) },
            "accept_request" => Change::Accept {
                group: group(2),
                user: user(3),
            },
            "reject_request" => Change::Reject {
                group: group(2),
                user: user(3),
            },
            // A file of so many bytes.
            "upload_file" => Change::Offer(Box::new(Offer {
                group: group(2),
                name: words[3].parse().unwrap(),
                metainfo: self.torrent(words[2], words[4]),
            })),
            "stop_share" => Change::Withdraw {
                group: group(2),
                name: words[3].parse().unwrap(),
                info_hash: self.torrent(words[2], words[4]).info_hash,
            },
            "completed" => Change::Completed {
                group: group(2),
                info_hash: self.torrent(words[2], words[3]).info_hash,
            },
            other => panic!("{other}"),
        }
    }

    fn torrent(&self, group: &str, size: &str) -> Metainfo {
        let layout = Layout::single("x".into(), size.parse().unwrap(), 1 << 14).unwrap();
        let group = self.facts.group_named(&group.parse().unwrap());
        let source = group.map_or("none".to_string(), |(id, _)| id.to_string());
        Metainfo::build_for_group(layout, vec![PieceHash([7; 20])], &source)
    }

    pub fn now(&self) -> Stamp {
        self.facts.latest().unwrap()
    }

    /// What a user has missed since then.
    pub fn missed(&self, user: &str, since: Option<Stamp>) -> Vec<String> {
        let user = self.facts.user_named(&user.parse().unwrap()).unwrap();
        let missed = missed(&self.facts, user, since).into_iter();
        missed.map(|(stamp, news)| shown(stamp, news)).collect()
    }

    /// `<member> <member>, <file>:<holder>:<holder> <file>`
    pub fn shown(&self, group: &str) -> String {
        let Some((_, group)) = self.facts.group_named(&group.parse().unwrap()) else {
            return "gone".into();
        };
        let name = |user| self.facts.user_name(user).unwrap().as_str();
        let members: Vec<_> = group.members().into_iter().map(name).collect();
        let files: Vec<_> = group
            .files()
            .map(|file| {
                let holders = group.holders(file.name, &file.info_hash).into_iter();
                let holders: Vec<_> = holders.map(name).collect();
                format!("{}:{}", file.name, holders.join(":"))
            })
            .collect();
        format!("{}, {}", members.join(" "), files.join(" "))
    }
}

fn shown(cursor: Stamp, news: crate::control::news::News) -> String {
    let frame = NewsLine::News { cursor, news }.to_frame();
    frame.words[2..].join(" ")
}
