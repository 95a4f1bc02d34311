use super::super::script::Script;

/// What is heard by everybody when a line is run.
fn check(script: &mut Script, line: &str, expect: &[&str]) {
    script.news.clear();
    script.run(line);
    let mut news = script.news.clone();
    let mut expect = expect.to_vec();
    news.sort();
    expect.sort_unstable();
    assert_eq!(news, expect, "{line}");
}

#[test]
fn news_reach_whom_they_concern() {
    let mut script = Script::group(&["alice", "bob"]);
    script.run("carol create_user carol");
    let script = &mut script;
    check(script, "carol create_group other", &[]);
    check(
        script,
        "carol join_group cs101",
        &["alice: asks cs101 carol"],
    );
    check(
        script,
        "alice reject_request cs101 carol",
        &["carol: rejected cs101"],
    );
    check(
        script,
        "carol join_group cs101",
        &["alice: asks cs101 carol"],
    );
    check(
        script,
        "alice accept_request cs101 carol",
        &[
            "carol: accepted cs101",
            "alice: joined cs101 carol",
            "bob: joined cs101 carol",
        ],
    );
    check(
        script,
        "carol upload_file cs101 a 5",
        &[
            "alice: shares cs101 a 5 carol",
            "bob: shares cs101 a 5 carol",
        ],
    );
    check(
        script,
        "bob completed cs101 5",
        &["alice: has cs101 a bob", "carol: has cs101 a bob"],
    );
    check(script, "bob completed cs101 5", &[]);
    check(script, "carol stop_share cs101 a 5", &[]);
    check(
        script,
        "bob stop_share cs101 a 5",
        &["alice: gone cs101 a", "carol: gone cs101 a"],
    );
    check(
        script,
        "bob upload_file cs101 b 6",
        &["alice: shares cs101 b 6 bob", "carol: shares cs101 b 6 bob"],
    );
    check(
        script,
        "bob leave_group cs101",
        &[
            "alice: gone cs101 b",
            "carol: gone cs101 b",
            "alice: left cs101 bob",
            "carol: left cs101 bob",
        ],
    );
    check(script, "bob join_group cs101", &["alice: asks cs101 bob"]);
    check(
        script,
        "alice leave_group cs101",
        &[
            "carol: left cs101 alice",
            "carol: owns cs101",
            "carol: asks cs101 bob",
        ],
    );
}

#[test]
fn who_comes_back_hears_what_was_missed_and_nothing_twice() {
    let mut script = Script::group(&["alice", "bob", "carol"]);
    script.run("dave create_user dave");
    script.run("carol upload_file cs101 old 5");
    let start = script.now();
    script.run("dave join_group cs101");
    script.run("bob upload_file cs101 a 6");
    script.run("carol completed cs101 6");
    script.run("carol stop_share cs101 old 5");
    script.run("bob upload_file cs101 short 7");
    script.run("bob stop_share cs101 short 7");
    assert_eq!(
        script.missed("alice", Some(start)),
        [
            "asks cs101 dave",
            "shares cs101 a 6 bob",
            "has cs101 a carol",
            "gone cs101 old",
        ]
    );
    assert_eq!(script.missed("alice", None), ["asks cs101 dave"]);
    assert_eq!(script.missed("bob", None), [""; 0]);
    assert_eq!(script.missed("dave", Some(start)), [""; 0]);
    let middle = script.now();
    assert_eq!(script.missed("alice", Some(middle)), [""; 0]);
    script.run("alice accept_request cs101 dave");
    assert_eq!(script.missed("dave", Some(start)), ["accepted cs101"]);
    assert_eq!(script.missed("bob", Some(middle)), ["joined cs101 dave"]);
    script.run("erin create_user erin");
    script.run("erin join_group cs101");
    script.run("alice leave_group cs101");
    assert_eq!(
        script.missed("bob", Some(middle)),
        [
            "joined cs101 dave",
            "left cs101 alice",
            "owns cs101",
            "asks cs101 erin",
        ]
    );
    assert_eq!(
        script.missed("carol", Some(middle)),
        ["joined cs101 dave", "left cs101 alice"]
    );
    let end = script.now();
    script.run("carol leave_group cs101");
    assert_eq!(script.missed("bob", Some(end)), ["left cs101 carol"]);
    assert_eq!(
        script.missed("alice", Some(start)),
        [""; 0],
        "who has left hears nothing more"
    );
}
