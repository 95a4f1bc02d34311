//! Proves what peers tell a tracker that asks for a file, and what they keep to themselves; that
//! contents of one name are told apart; and that a peer is asked by the tracker that it uses.

use std::fs;
use std::time::Duration;

use crate::support::asking::{Nc, TrackerProcess, World, wait_for};
use crate::support::peers::{Place, free_port, wait_until, watchdog};

const LIMIT: Duration = Duration::from_secs(120);

/// What a tracker finds.
fn found(world: &World, file: &str) -> String {
    let answer = Nc::new(world.tracker.at).ask(&format!("ask \"{file}\""));
    String::from_utf8(answer.body).unwrap()
}

#[test]
fn different_contents_of_one_name_are_told_apart() {
    let _watchdog = watchdog(LIMIT, "two contents");
    let world = World::new();
    let _one = world.peer("one", &[("same", b"first")]);
    let _two = world.peer("two", &[("same", b"the second")]);
    let _three = world.peer("three", &[("same", b"the second")]);
    world.wait_for(3);
    let mut asker = world.peer("asker", &[]);
    asker.type_line("1");
    asker.line_with("nothing was found to choose from");
    asker.type_line(&world.line("same"));
    // Those with more holders come first.
    asker.line("the first", |line| {
        line.starts_with("1 ") && line.contains("10 B")
    });
    asker.line("the second", |line| {
        line.starts_with("2 ") && line.contains("5 B")
    });
    asker.line_with("different files of one name");
    asker.type_line("3");
    asker.line_with("there is no 3 in the list");
    asker.type_line("1");
    asker.line_with("Downloading same");
    asker.type_line("wait");
    asker.line_with("same is complete");
    asker.type_line("2");
    asker.line_with("something of another size lies there");
    asker.type_line("2 other");
    asker.type_line("wait");
    asker.line_with("same is complete");
    let first = fs::read(world.download("asker", "same")).unwrap();
    // A destination is a path as it was typed.
    let second = fs::read(world.temp.path().join("asker/other")).unwrap();
    assert_eq!((first, second), (b"the second".into(), b"first".into()));
    // What was fetched is told on, and listed by nobody.
    assert_eq!(found(&world, "same").matches("127.0.0.1:").count(), 4);
    let listed = Nc::new(world.tracker.at).ask("list_files public");
    assert_eq!(listed.words, ["OK", "0"]);
}

#[test]
fn a_groups_file_is_told_to_nobody() {
    let _watchdog = watchdog(LIMIT, "a group's file");
    let world = World::new();
    let files: [(&str, &[u8]); 2] = [("secret", b"secret"), ("open", b"open")];
    let mut owner = world.peer("owner", &files);
    for line in [
        "create_user ann secret",
        "login ann secret",
        "create_group cs101",
        "upload_file cs101 secret",
    ] {
        owner.type_line(line);
    }
    owner.line_with("File uploaded successfully");
    world.wait_for(1);
    assert_eq!(found(&world, "secret"), "");
    assert!(found(&world, "open").contains("127.0.0.1:"));
    owner.type_line("logout");
    owner.line_with("Logged out");
    world.wait_for(1);
    assert_eq!(found(&world, "secret"), "");
}

#[test]
fn what_was_withdrawn_is_told_no_more_until_it_changes() {
    let _watchdog = watchdog(LIMIT, "a withdrawn file");
    let world = World::new();
    let mut holder = world.peer("holder", &[("notes", b"notes")]);
    world.wait_for(1);
    let first = found(&world, "notes");
    assert!(first.contains("127.0.0.1:"));
    holder.line_with("stop_share notes");
    assert_eq!(found(&world, "notes"), first, "again");
    let files = || Nc::new(world.tracker.at).ask("list_files public").words;
    assert_eq!(files(), ["OK", "0"]);
    holder.type_line("upload_file notes");
    holder.line_with("File uploaded successfully");
    assert_eq!(files(), ["OK", "1"], "now it is listed");
    holder.type_line("stop_share notes");
    holder.line_with("Stopped sharing this file: notes");
    assert_eq!(found(&world, "notes"), "");
    let path = world.temp.path().join("holder/upload/notes");
    fs::write(&path, "longer").unwrap();
    holder.type_line("upload_file notes");
    holder.line_with("File uploaded successfully");
    holder.type_line("stop_share notes");
    holder.line_with("Stopped sharing this file: notes");
    assert_eq!(
        found(&world, "notes"),
        "",
        "nor what was shared by a command"
    );
    fs::write(&path, "longer notes").unwrap();
    let second = found(&world, "notes");
    assert!(second.contains(" 12 127.0.0.1:"), "{second}");
}

#[test]
fn what_changes_after_it_was_asked_for_is_found_anew() {
    let _watchdog = watchdog(LIMIT, "a changed file");
    let world = World::new();
    let mut holder = world.peer("holder", &[("notes", b"notes")]);
    world.wait_for(1);
    assert!(found(&world, "notes").contains(" 5 127.0.0.1:"));
    fs::write(world.temp.path().join("holder/upload/notes"), "new notes").unwrap();
    // Who fetches what was there before gets nothing of it.
    let mut asker = world.peer("asker", &[]);
    asker.type_line(&world.line("notes"));
    holder.line_with("notes stopped");
    let now = found(&world, "notes");
    assert!(now.contains(" 9 127.0.0.1:"), "{now}");
    holder.type_line("stop_share notes");
    holder.line_with("Stopped sharing this file: notes");
}

#[test]
fn without_asking_only_what_is_shared_is_told() {
    let _watchdog = watchdog(LIMIT, "--no-ask");
    let world = World::new();
    let files: [(&str, &[u8]); 2] = [("shared", b"shared"), ("not", b"not")];
    let mut holder = world.place("holder", &files).start(&["--no-ask"]);
    holder.type_line("upload_file shared");
    holder.line_with("File uploaded successfully");
    world.wait_for(1);
    assert_eq!(found(&world, "not"), "");
    assert!(found(&world, "shared").contains("127.0.0.1:"));
    holder.type_line("pause shared");
    holder.line_with("shared is paused");
    assert_eq!(found(&world, "shared"), "");
}

#[test]
fn a_file_that_takes_long_to_hash_is_told_of_at_once() {
    let _watchdog = watchdog(LIMIT, "a large file");
    let world = World::new();
    let place = world.place("holder", &[("small", b"small")]);
    let large = fs::File::create(place.folder.join("upload/large")).unwrap();
    // A hole: it takes no place on the disk.
    large.set_len(1 << 40).unwrap();
    let _holder = place.start(&[]);
    world.wait_for(1);
    let text = found(&world, "large");
    let expect = format!("hashing {} 127.0.0.1:", 1u64 << 40);
    assert!(text.starts_with(&expect), "{text}");
    // One at a time: the other must wait.
    assert!(found(&world, "small").starts_with("hashing 5 "));
    let asker = world.place("asker", &[]);
    let output = asker.command(&["-c", "ask large"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("nobody can give large yet"), "{said}");
    assert!(said.contains("Still being hashed"), "{said}");
}

#[test]
fn the_asker_is_not_told_of_itself() {
    let _watchdog = watchdog(LIMIT, "one's own file");
    let world = World::new();
    let mut asker = world.peer("asker", &[("mine", b"mine")]);
    world.wait_for(1);
    asker.type_line("ask mine");
    asker.line_with("nobody has mine: no other peer is connected to the tracker");
}

/// Who is logged in is asked, too, and on the same stream.
#[test]
fn users_are_asked_as_well() {
    let _watchdog = watchdog(LIMIT, "a user");
    let world = World::new();
    let mut holder = world.peer("holder", &[("file", b"file")]);
    world.wait_for(1);
    holder.type_line("create_user ann secret");
    holder.type_line("login ann secret");
    holder.line_with("Logged in successfully");
    wait_until("one stream, again", || {
        let asked = Nc::new(world.tracker.at).ask("ask file");
        asked.words == ["OK", "1", "1"] && !asked.body.is_empty()
    });
}

/// A peer listens to the tracker that it uses, and goes with it.
#[test]
fn a_peer_is_asked_by_the_tracker_that_it_uses() {
    let _watchdog = watchdog(LIMIT, "two trackers");
    let temp = tempfile::tempdir().unwrap();
    let ports = [free_port(), free_port()];
    let info = format!("{}\n{}\n", ports[0], ports[1]);
    let start = |number: usize| {
        let folder = temp.path().join(format!("tracker{number}"));
        TrackerProcess::start(folder, &info, number)
    };
    let (first, second) = (start(1), start(2));
    let place = Place::new(temp.path(), "holder", &ports);
    fs::create_dir_all(place.folder.join("upload")).unwrap();
    fs::write(place.folder.join("upload/file"), "file").unwrap();
    let _holder = place.start(&[]);
    wait_for(first.at, 1);
    // All trackers of the file are asked: the one that no peer uses finds nothing.
    let asker = Place::new(temp.path(), "asker", &ports);
    let output = asker
        .command(&["-c", "ask file; 1; wait"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let got = fs::read(asker.download().join("file")).unwrap();
    assert_eq!(got, b"file");
    drop(first);
    wait_for(second.at, 1);
    let _first = start(1);
    wait_for(ports[0], 1);
    wait_for(second.at, 0);
}

/// A file that became a group's was given to whoever asked while it was being hashed for the
/// group, and what had been given before was given on.
#[test]
fn a_groups_file_is_told_while_it_is_hashed_for_the_group() {
    let _watchdog = watchdog(LIMIT, "a group's file");
    let world = World::new();
    let place = world.place("holder", &[("small", b"small"), ("other", b"other")]);
    let large = fs::File::create(place.folder.join("upload/large")).unwrap();
    // A hole: it takes no place on the disk, and long to hash.
    large.set_len(1 << 40).unwrap();
    let mut holder = place.start(&[]);
    world.wait_for(1);
    for line in [
        "create_user ann secret",
        "login ann secret",
        "create_group cs",
    ] {
        holder.type_line(line);
    }
    holder.line_with("Group created successfully");
    wait_until("it is told", || {
        found(&world, "small").contains("127.0.0.1:")
    });
    holder.type_line("upload_file small cs");
    holder.line_with("File uploaded successfully");
    assert_eq!(found(&world, "small"), "");
    // It is being hashed for everybody when it becomes the group's.
    assert!(found(&world, "large").starts_with("hashing "));
    holder.type_line("upload_file large cs");
    wait_until("it is not told", || {
        std::thread::sleep(Duration::from_millis(200));
        found(&world, "large").is_empty()
    });
    // What is nobody's is told as before.
    assert!(found(&world, "other").contains(" 5 127.0.0.1:"));
}

/// After a start the upload folder was told of before it was known which files are a group's.
#[test]
fn a_groups_file_is_told_when_its_record_is_damaged() {
    let _watchdog = watchdog(LIMIT, "a damaged record");
    let world = World::new();
    let place = world.place("holder", &[("small", b"small")]);
    let mut holder = place.start(&[]);
    for line in [
        "create_user ann secret",
        "login ann secret",
        "create_group cs",
        "upload_file small cs",
    ] {
        holder.type_line(line);
    }
    holder.line_with("File uploaded successfully");
    holder.type_line("quit");
    holder.ended(LIMIT);
    let state = place.download().join(".mini-bittorrent");
    let mut records = 0;
    for entry in fs::read_dir(state).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "resume") {
            fs::write(path, "torn").unwrap();
            records += 1;
        }
    }
    assert_eq!(records, 1);
    let holder = place.start(&[]);
    holder.line_with("is told only what is shared");
    world.wait_for(1);
    assert_eq!(found(&world, "small"), "");
}

/// What its user shared no longer was given again after the next start, unless the folder was watched.
#[test]
fn what_was_withdrawn_is_told_after_a_restart() {
    let _watchdog = watchdog(LIMIT, "a withdrawn file");
    let world = World::new();
    let place = world.place("holder", &[("notes", b"notes"), ("other", b"other")]);
    let mut holder = place.start(&[]);
    holder.type_line("upload_file notes");
    holder.line_with("File uploaded successfully");
    holder.type_line("stop_share notes");
    holder.line_with("Stopped sharing this file: notes");
    holder.type_line("quit");
    holder.ended(LIMIT);
    let _holder = place.start(&[]);
    world.wait_for(1);
    assert_eq!(found(&world, "notes"), "");
    assert!(found(&world, "other").contains("127.0.0.1:"));
}
