//! Shows that the checker can fail: histories made by hand, each with one thing that is wrong.

use std::collections::BTreeMap;

use mini_bittorrent::control::stamp::Stamp;

use super::checker::{Evidence, Seen, check};
use super::history::{Answer, Attempt, File, Millis, Operation, Wish};
use super::ledger::Ledger;

/// A stamp of the first tracker, at that millisecond.
fn at(time: Millis) -> Stamp {
    Stamp {
        time: time << 16,
        tracker: 1,
    }
}

fn attempt(tracker: usize, sent: Millis, ended: Millis, answer: &str) -> Attempt {
    let (kind, said) = answer.split_once(' ').unwrap_or((answer, ""));
    let said = said.to_string();
    let answer = match kind {
        "OK" => Answer::Ok(said),
        "ERR" => Answer::Refused(said),
        _ => Answer::Unknown(said),
    };
    Attempt {
        tracker,
        sent,
        ended,
        answer,
    }
}

fn operation(by: &str, wish: Wish, attempts: Vec<Attempt>) -> Operation {
    Operation {
        id: "@1".into(),
        by: by.into(),
        wish,
        attempts,
    }
}

/// From `sent` on, for 10 ms.
fn done(by: &str, wish: Wish, sent: Millis, answer: &str) -> Operation {
    operation(by, wish, vec![attempt(1, sent, sent + 10, answer)])
}

fn user(name: &str) -> Wish {
    Wish::CreateUser {
        name: name.into(),
        password: format!("of {name}"),
    }
}

fn create(group: &str) -> Wish {
    Wish::CreateGroup {
        group: group.into(),
    }
}

fn join(group: &str) -> Wish {
    Wish::Join {
        group: group.into(),
    }
}

fn file() -> File {
    File {
        group: "g".into(),
        group_id: at(305).to_string(),
        name: "f".into(),
        info_hash: "a".repeat(40),
    }
}

/// Alice (105) and Bob (205) have accounts, Alice has made the group (305), Bob has asked to join
/// (405), Alice shares a file (505).
struct World {
    history: Vec<Operation>,
    ledger: Ledger,
    calm: Vec<(Millis, Millis)>,
    passwords: BTreeMap<Stamp, String>,
}

impl World {
    fn new() -> World {
        let (alice, bob, group) = (at(105), at(205), at(305));
        let torrent = || (group, "f".to_string(), "a".repeat(40));
        let hash = |time| (at(time), "$argon2".to_string());
        World {
            history: vec![
                done("", user("alice"), 100, "OK User created!"),
                done("", user("bob"), 200, "OK User created!"),
                done("alice", create("g"), 300, "OK Group created"),
                done("bob", join("g"), 400, "OK Join request made"),
                done("alice", Wish::Upload(file()), 500, "OK shared"),
            ],
            ledger: Ledger {
                users: [(alice, "alice".into()), (bob, "bob".into())].into(),
                passwords: [(alice, hash(105)), (bob, hash(205))].into(),
                groups: [(group, ("g".into(), alice))].into(),
                members: [
                    ((group, alice), (at(305), "member".into())),
                    ((group, bob), (at(405), "requested".into())),
                ]
                .into(),
                shares: [(torrent(), (at(505), alice))].into(),
                holders: [((torrent(), alice), (at(505), true))].into(),
            },
            calm: vec![(0, 10_000)],
            passwords: [(alice, "of alice".into()), (bob, "of bob".into())].into(),
        }
    }

    fn seen(&self) -> Seen {
        Seen {
            tracker: 1,
            digest: "d".into(),
            ledger: self.ledger.clone(),
            asker: Some(at(205)),
            groups: ["g alice 1 requested".to_string()].into(),
            members: [("g".into(), vec!["alice".to_string()])].into(),
            files: [("g".into(), ["a".repeat(40)].into())].into(),
            logins: vec![("bob".into(), "of bob".into(), true)],
        }
    }

    /// The rules that are broken, with what is said of them.
    fn faults(&self, seen: &[Seen]) -> Vec<String> {
        let verdict = check(&Evidence {
            history: &self.history,
            calm: &self.calm,
            seen,
            passwords: &self.passwords,
        });
        let faults = verdict.faults.into_iter();
        faults
            .map(|fault| format!("{} {}", fault.rule, fault.says))
            .collect()
    }

    /// Exactly one rule must be broken.
    fn breaks(&self, seen: &[Seen], rule: &str, part: &str) {
        let faults = self.faults(seen);
        assert!(!faults.is_empty(), "nobody has noticed: {part}");
        for fault in &faults {
            assert!(
                fault.starts_with(rule) && fault.contains(part),
                "{faults:#?}"
            );
        }
    }

    /// As above; what is shown follows from the facts.
    fn breaks_rule(&self, rule: &str, part: &str) {
        let seen = Seen {
            groups: self.seen_groups(),
            members: BTreeMap::new(),
            files: BTreeMap::new(),
            logins: Vec::new(),
            ..self.seen()
        };
        self.breaks(&[seen], rule, part);
    }

    /// Bob's view, of at most one member a group.
    fn seen_groups(&self) -> std::collections::BTreeSet<String> {
        let shown = self.ledger.shown_groups();
        let line = |(id, name): (&Stamp, &String)| {
            let members = self.ledger.members_of(*id);
            let owner = self.ledger.user(members[0]);
            let bobs = self.ledger.members.get(&(*id, at(205)));
            let standing = match bobs.map(|(_, standing)| standing.as_str()) {
                Some("member") if owner == "bob" => "owner",
                Some("requested") => "requested",
                Some("member") => "member",
                _ => "none",
            };
            format!("{name} {owner} {} {standing}", members.len())
        };
        shown.iter().map(line).collect()
    }
}

#[test]
fn a_good_history_is_good() {
    let world = World::new();
    assert_eq!(
        world.faults(&[world.seen(), world.seen()]),
        Vec::<String>::new()
    );
    // What was not answered may have happened, or not.
    let mut world = World::new();
    let wish = Wish::Leave { group: "g".into() };
    world.history.push(done("alice", wish, 600, "?"));
    assert_eq!(world.faults(&[world.seen()]), Vec::<String>::new());
    let standing = (at(9000), "left".into());
    world.ledger.members.insert((at(305), at(105)), standing);
    let holds = world.ledger.holders.values_mut().next().unwrap();
    *holds = (at(9000), false);
    let seen = Seen {
        groups: Default::default(),
        members: BTreeMap::new(),
        files: BTreeMap::new(),
        ..world.seen()
    };
    assert_eq!(world.faults(&[seen]), Vec::<String>::new());
}

#[test]
fn a_lost_change_is_noticed() {
    let mut world = World::new();
    world.ledger.members.remove(&(at(305), at(205)));
    world.breaks_rule("a", "lost: bob join_group g");

    // The owner has rejected him, and that is gone: what was before is there again.
    let mut world = World::new();
    let user = "bob".to_string();
    let wish = Wish::Reject {
        group: "g".into(),
        user,
    };
    world
        .history
        .push(done("alice", wish, 600, "OK User rejected"));
    world.breaks_rule("a", "lost: alice reject_request g bob");

    let mut world = World::new();
    world
        .history
        .push(done("alice", Wish::Stop(file()), 600, "OK"));
    world.breaks_rule("a", "lost: alice stop_share");

    let mut world = World::new();
    world
        .history
        .push(done("", self::user("carol"), 600, "OK User created!"));
    world.breaks_rule("a", "carol");

    let mut world = World::new();
    let password = "new".to_string();
    world
        .history
        .push(done("bob", Wish::Passwd { password }, 600, "OK"));
    world.breaks_rule("a", "lost: bob passwd");
}

#[test]
fn an_applied_refusal_is_noticed() {
    let mut world = World::new();
    world.history[3] = done("bob", join("g"), 400, "ERR busy");
    world.breaks_rule("b", "a refused change was applied: bob join_group g");

    let mut world = World::new();
    world.history[2] = done("alice", create("g"), 300, "ERR conflict");
    world.breaks_rule("b", "alice create_group g");

    // Nobody was asked at all, or not at that time.
    let mut world = World::new();
    world.history.remove(4);
    world.breaks_rule("b", "nobody asked for that then");
    let mut world = World::new();
    world.history[4].attempts[0].sent = 507;
    world.breaks_rule("b", "nobody asked for that then");
}

#[test]
fn trackers_that_differ_are_noticed() {
    let world = World::new();
    let other = Seen {
        tracker: 2,
        digest: "e".into(),
        ..world.seen()
    };
    world.breaks(
        &[world.seen(), other],
        "c",
        "the digest of tracker 1 is d, that of tracker 2",
    );
    // Also when they say that they do not.
    let mut other = world.seen();
    other.ledger.members.clear();
    world.breaks(&[world.seen(), other], "c", "other facts");
}

#[test]
fn a_name_of_the_wrong_one_is_noticed() {
    // Bob has made a group of the same name, on the other side of a split, and later.
    let mut world = World::new();
    let group = (at(605), ("g".into(), at(205)));
    world.ledger.groups.extend([group]);
    let member = ((at(605), at(205)), (at(605), "member".into()));
    world.ledger.members.extend([member]);
    world
        .history
        .push(done("bob", create("g"), 600, "OK Group created"));
    let good = Seen {
        groups: ["g alice 1 requested", "g~2 bob 1 owner"]
            .map(str::to_string)
            .into(),
        ..world.seen()
    };
    assert_eq!(
        world.faults(std::slice::from_ref(&good)),
        Vec::<String>::new()
    );
    let bad = Seen {
        groups: ["g bob 1 owner", "g~2 alice 1 requested"]
            .map(str::to_string)
            .into(),
        ..good.clone()
    };
    world.breaks(&[bad], "d", "lists other groups");
    let bad = Seen {
        logins: vec![("bob".into(), "of bob".into(), false)],
        ..good.clone()
    };
    world.breaks(&[bad], "d", "login bob");
    let bad = Seen {
        members: [("g".into(), vec!["bob".to_string()])].into(),
        ..good
    };
    world.breaks(&[bad], "d", "members of g");
}

#[test]
fn an_id_that_is_done_twice_is_noticed() {
    let twice = |second: &str| {
        let attempts = vec![
            attempt(1, 300, 310, "OK Group created"),
            attempt(2, 320, 330, second),
        ];
        let mut world = World::new();
        world.history[2] = operation("alice", create("g"), attempts);
        world
    };
    assert_eq!(
        twice("OK Group created").faults(&[World::new().seen()]),
        Vec::<String>::new()
    );
    twice("OK something else").breaks_rule("e", "was answered");
    twice("ERR conflict Group already created").breaks_rule("e", "was answered");
    let mut world = twice("OK Group created");
    let group = (at(325), ("g".into(), at(105)));
    world.ledger.groups.extend([group]);
    world.breaks_rule("e", "g was made 2 times");
    // On both sides of a split nobody can know.
    world.calm.clear();
    assert_eq!(world.faults(&[world.seen()]), Vec::<String>::new());
}
