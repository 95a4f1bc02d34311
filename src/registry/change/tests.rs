use super::super::script::Script;
use super::Limits;

/// Each line and its answer.
fn check(script: &mut Script, lines: &[(&str, &str)]) {
    for (line, expect) in lines {
        assert_eq!(script.run(line), *expect, "{line}");
    }
}

#[test]
fn the_life_of_a_group() {
    let mut script = Script::new();
    check(
        &mut script,
        &[
            ("alice create_user alice", "User created!"),
            (
                "alice create_user ALICE",
                "conflict User already exists! Choose another name, or log in: login ALICE",
            ),
            ("bob create_user bob", "User created!"),
            ("bob passwd", "Password changed"),
            ("carol create_user carol", "User created!"),
            (
                "dave create_group cs101",
                "denied Please log in first. Log in with: login <user> <password>",
            ),
            ("alice create_group CS101", "Group created successfully"),
            (
                "bob create_group cs101",
                "conflict Group already created! Ask to join it: join_group CS101",
            ),
            (
                "bob join_group none",
                "not_found Group does not exist: there is no none. Those there are: list_groups",
            ),
            (
                "alice join_group cs101",
                "conflict You are already present in the group!",
            ),
            (
                "alice accept_request cs101 bob",
                "not_found No pending join requests for this group",
            ),
            ("bob join_group cs101", "Join request made successfully"),
            (
                "bob join_group cs101",
                "conflict You have made a join request; alice, the owner, decides about it",
            ),
            (
                "bob leave_group cs101",
                "denied You are not a member of CS101 yet: you have asked, and alice, the owner, decides",
            ),
            (
                "bob accept_request cs101 bob",
                "denied You are not the owner of this group: alice is. Only the owner of CS101 can do this",
            ),
            (
                "alice accept_request cs101 carol",
                "not_found This user has not requested to join the group. Those who have: list_requests CS101",
            ),
            ("alice accept_request cs101 bob", "User accepted"),
            (
                "carol leave_group cs101",
                "denied You are not a member of CS101. Ask with: join_group CS101",
            ),
            ("carol join_group cs101", "Join request made successfully"),
            ("alice reject_request cs101 carol", "User rejected"),
            ("carol join_group cs101", "Join request made successfully"),
            ("alice leave_group cs101", "You left the group!"),
            (
                "alice accept_request cs101 carol",
                "denied You are not the owner of this group: bob is. Only the owner of CS101 can do this",
            ),
            ("bob accept_request cs101 carol", "User accepted"),
        ],
    );
    assert_eq!(script.shown("cs101"), "bob carol, ");
    check(
        &mut script,
        &[
            ("alice join_group cs101", "Join request made successfully"),
            ("bob leave_group cs101", "You left the group!"),
            (
                "carol leave_group cs101",
                "Group deleted as you were the only person in the group",
            ),
            (
                "carol leave_group cs101",
                "not_found Group does not exist: there is no cs101. Those there are: list_groups",
            ),
            ("alice create_group cs101", "Group created successfully"),
        ],
    );
    assert_eq!(
        script.shown("cs101"),
        "alice, ",
        "another group, with none of the old one's members"
    );
}

#[test]
fn public_is_nobodys() {
    let mut script = Script::group(&["alice"]);
    let refusal = "bad_request Everybody is in public, and nobody owns it: it cannot be created, joined, left or managed";
    for command in ["create_group", "join_group", "leave_group"] {
        assert_eq!(script.run(&format!("alice {command} PUBLIC")), refusal);
    }
    assert_eq!(script.run("alice accept_request public bob"), refusal);
}

#[test]
fn files_live_while_somebody_holds_them() {
    let mut script = Script::group(&["alice", "bob", "carol"]);
    check(
        &mut script,
        &[
            ("alice upload_file cs101 a 5", "File uploaded successfully"),
            ("alice upload_file cs101 a 5", "File uploaded successfully"),
            ("bob completed cs101 5", "Downloaded file successfully!"),
            (
                "bob completed cs101 6",
                "not_found No file of cs101 is this torrent. Those there are: list_files cs101",
            ),
            ("carol upload_file cs101 b 7", "File uploaded successfully"),
            (
                "carol stop_share cs101 a 5",
                "not_found You don't have this file, so you do not share it",
            ),
            (
                "carol stop_share cs101 c 5",
                "not_found This file does not exist in the group. Those there are: list_files cs101",
            ),
        ],
    );
    assert_eq!(
        script.shown("cs101"),
        "alice bob carol, a:alice:bob b:carol"
    );
    let refusal = script.run("carol upload_file cs101 a 6");
    assert!(
        refusal
            .starts_with("conflict `a` is shared already with other content: 5 bytes, info hash"),
        "{refusal}"
    );
    check(
        &mut script,
        &[
            ("alice stop_share cs101 a 5", "Stopped sharing this file"),
            ("carol leave_group cs101", "You left the group!"),
        ],
    );
    assert_eq!(script.shown("cs101"), "alice bob, a:bob");
    check(
        &mut script,
        &[
            ("bob stop_share cs101 a 5", "Stopped sharing this file"),
            // Nobody holds the old one: the name is free.
            ("alice upload_file cs101 a 6", "File uploaded successfully"),
            ("carol join_group cs101", "Join request made successfully"),
            ("alice accept_request cs101 carol", "User accepted"),
        ],
    );
    assert_eq!(
        script.shown("cs101"),
        "alice bob carol, a:alice",
        "who comes back has shared nothing yet"
    );
}

#[test]
fn a_torrent_of_another_group_is_refused() {
    let mut script = Script::group(&["alice"]);
    script.run("alice create_group other");
    script.run("alice leave_group cs101");
    script.run("alice create_group cs101");
    let refusal = script.run("alice upload_file cs101 a 5");
    assert_eq!(refusal, "File uploaded successfully");
    let (facts, limits) = (&script.facts, &Limits::default());
    let alice = facts.user_named(&"alice".parse().unwrap());
    let info = facts
        .group_named(&"cs101".parse().unwrap())
        .unwrap()
        .1
        .files()
        .next()
        .unwrap()
        .share
        .info
        .clone();
    let metainfo = crate::torrent::metainfo::Metainfo::parse_info(&info).unwrap();
    let change = super::Change::Offer(Box::new(super::Offer {
        group: "other".parse().unwrap(),
        name: "a".parse().unwrap(),
        metainfo,
    }));
    let mut clock = crate::control::stamp::Clock::new(1, u64::MAX / 2);
    let refused = super::decide(facts, limits, alice, &change, &mut clock, 0).unwrap_err();
    assert!(
        refused
            .to_string()
            .starts_with("A torrent of other has `private` 1 and `source`"),
        "{refused}"
    );
}

#[test]
fn everything_that_grows_has_its_limit() {
    let check = |limits: Limits, line: &str, expect: &str| {
        let mut script = Script::group(&["alice", "bob"]);
        script.run("carol create_user carol");
        script.run("carol join_group cs101");
        script.run("alice upload_file cs101 a 5");
        script.limits = limits;
        assert_eq!(
            script.run(line),
            format!("denied {expect} are possible"),
            "{line}"
        );
    };
    let limits = Limits::default();
    check(
        Limits { users: 3, ..limits },
        "dave create_user dave",
        "This tracker has as many users as it can: 3",
    );
    check(
        Limits {
            groups: 1,
            ..limits
        },
        "alice create_group x",
        "This tracker has as many groups as it can: 1",
    );
    check(
        Limits {
            groups_made: 1,
            ..limits
        },
        "alice create_group x",
        "You have made as many groups as one user can: 1",
    );
    check(
        Limits {
            groups_joined: 1,
            ..limits
        },
        "bob create_group x",
        "You are in as many groups as one user can be: 1",
    );
    check(
        Limits {
            members: 2,
            ..limits
        },
        "alice accept_request cs101 carol",
        "This group has as many members as it can: 2",
    );
    check(
        Limits {
            shares: 1,
            ..limits
        },
        "alice upload_file cs101 b 6",
        "This group has as many files as it can: 1",
    );
    check(
        Limits {
            info_bytes: 200,
            ..limits
        },
        "alice upload_file cs101 b 6",
        "This tracker keeps as many bytes of torrents as it can: 200",
    );
    check(
        Limits { facts: 5, ..limits },
        "alice create_group x",
        "This tracker keeps as many facts as it can: 5",
    );
    let mut script = Script::group(&["alice"]);
    script.limits.requests = 0;
    script.run("bob create_user bob");
    assert_eq!(
        script.run("bob join_group cs101"),
        "denied This group has as many join requests as it can: 0 are possible"
    );
    script.limits.facts = 0;
    assert_eq!(
        script.run("alice leave_group cs101"),
        "Group deleted as you were the only person in the group",
        "leaving is always possible"
    );
}

/// Alice shares a file and stops doing so on one side of a split; on the other side, where that
/// is not known, she shares it again. That was OK, but nothing was written, as she held it
/// already: after the split she did not share it. Found by `make torture`.
#[test]
fn who_shares_again_what_was_shared_already_says_so_later() {
    let mut script = Script::group(&["alice", "bob"]);
    for line in ["alice upload_file cs101 a 5", "alice completed cs101 5"] {
        script.run("alice upload_file cs101 a 5");
        let before = script.now();
        script.run(line);
        assert!(script.now() > before, "{line}");
    }
}
