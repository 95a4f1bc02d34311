//! Proves that asking peers for a file has none of the defects of the program that it was made
//! after: a tracker that polls its peers, and a peer that joins segments. Each test is named after
//! one, and runs real trackers and peers.

use std::fs;
use std::io::ErrorKind;
use std::time::Duration;

use crate::support::asking::{Nc, World};
use crate::support::peers::{self, Program, random_bytes, watchdog};

const LIMIT: Duration = Duration::from_secs(120);

/// Asks for a file in the bare form and waits until it is there.
fn fetch(world: &World, name: &str, file: &str) -> Program {
    let mut asker = world.peer(name, &[]);
    asker.type_line(&world.line(file));
    asker.type_line("wait");
    asker.line_with(&format!("{file} is complete"));
    asker
}

/// Two peers on one host never saw each other.
#[test]
fn the_tracker_skips_every_peer_with_the_askers_address() {
    let _watchdog = watchdog(LIMIT, "two peers on one host");
    let world = World::new();
    let bytes = random_bytes("lecture", 700_000);
    let holder = world.peer("holder", &[("lecture.mp4", &bytes)]);
    world.wait_for(1);
    let asker = fetch(&world, "asker", "lecture.mp4");
    assert!(asker.said().contains("127.0.0.1:"), "{}", asker.said());
    let got = fs::read(world.download("asker", "lecture.mp4")).unwrap();
    assert!(got == bytes);
    holder.line_with("lecture.mp4 was asked for");
}

/// The packets had colons between their parts.
#[test]
fn a_colon_in_a_name_breaks_the_format() {
    let _watchdog = watchdog(LIMIT, "a colon");
    let world = World::new();
    // Not a name that Windows knows: there it is the file that is not found.
    let name = if cfg!(windows) { "a b" } else { "a: b:8000:1" };
    let _holder = world.peer("holder", &[(name, b"colons")]);
    world.wait_for(1);
    fetch(&world, "asker", name);
    let got = fs::read(world.download("asker", name)).unwrap();
    assert_eq!(got, b"colons");
}

#[test]
fn an_ipv6_address_breaks_the_format() {
    let _watchdog = watchdog(LIMIT, "IPv6");
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        peers::say("SKIPPED: this machine has no IPv6\n");
        assert!(std::env::var_os("CI").is_none());
        return;
    }
    let world = World::at("[::1]:0");
    let _holder = world.peer("holder", &[("six", b"666666")]);
    world.wait_for(1);
    let asker = fetch(&world, "asker", "six");
    assert!(asker.said().contains("[::1]:"), "{}", asker.said());
    assert_eq!(fs::read(world.download("asker", "six")).unwrap(), b"666666");
}

/// Who waited for a segment of a peer that had died waited on.
#[test]
fn a_lost_segment_loops_for_ever() {
    let _watchdog = watchdog(LIMIT, "a peer that dies");
    let world = World::new();
    let bytes = random_bytes("two", 4_000_000);
    let mut holders: Vec<Program> = (0..2)
        .map(|nth| {
            let mut holder = world.peer(&format!("holder{nth}"), &[("two.bin", &bytes)]);
            holder.type_line("limit up 1M");
            holder.line_with("Upload limit");
            holder
        })
        .collect();
    world.wait_for(2);
    let mut asker = world.peer("asker", &[]);
    asker.type_line(&world.line("two.bin"));
    asker.type_line("wait");
    asker.percent(10);
    holders.pop().unwrap().kill_9();
    asker.line_with("two.bin is complete");
    let got = fs::read(world.download("asker", "two.bin")).unwrap();
    assert!(got == bytes);
}

/// With more peers than pages some were asked for nothing, and the file was never joined.
#[test]
fn more_peers_than_pages_gives_empty_segments() {
    let _watchdog = watchdog(LIMIT, "more peers than pages");
    let world = World::new();
    let files: [(&str, &[u8]); 2] = [("one", b"1"), ("none", b"")];
    let _holders: Vec<Program> = (0..4)
        .map(|nth| world.peer(&format!("holder{nth}"), &files))
        .collect();
    world.wait_for(4);
    let mut asker = fetch(&world, "asker", "one");
    asker.type_line(&world.line("none"));
    asker.type_line("wait");
    asker.line_with("none is complete");
    assert_eq!(fs::read(world.download("asker", "one")).unwrap(), b"1");
    assert_eq!(fs::read(world.download("asker", "none")).unwrap(), b"");
}

/// Segments lay beside the file when it was complete.
#[test]
fn parts_stay_on_the_disk() {
    let _watchdog = watchdog(LIMIT, "parts");
    let world = World::new();
    let bytes = random_bytes("whole", 2_000_000);
    let _holders: Vec<Program> = (0..3)
        .map(|nth| world.peer(&format!("holder{nth}"), &[("whole", &bytes)]))
        .collect();
    world.wait_for(3);
    fetch(&world, "asker", "whole");
    let entries = fs::read_dir(world.temp.path().join("asker/download")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [".mini-bittorrent", "whole"]);
}

/// The asker waited for an answer that was never sent.
#[test]
fn no_answer_when_the_file_is_unknown() {
    let _watchdog = watchdog(LIMIT, "an unknown file");
    let world = World::new();
    let ask = |place: &peers::Place, line: &str| {
        let output = place.command(&["-c", line]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let asker = world.place("asker", &[]);
    let alone = ask(&asker, "ask nothing");
    let no_one = "nobody has nothing: no other peer is connected to the tracker";
    assert!(alone.contains(no_one), "{alone}");
    let _others = [world.peer("one", &[]), world.peer("two", &[])];
    world.wait_for(2);
    for line in ["ask nothing", &world.line("nothing")] {
        let said = ask(&asker, line);
        let expect = "nobody has nothing: 2 peers were asked";
        assert!(said.contains(expect), "{said}");
    }
    let closed = peers::free_port();
    let nowhere = ask(&asker, &format!("127.0.0.1 {} nothing", closed.port()));
    assert!(nowhere.contains("no tracker answers"), "{nowhere}");
    assert!(nowhere.contains(&closed.to_string()), "{nowhere}");
}

/// Whatever path a name was, it was opened.
#[test]
fn path_traversal() {
    let _watchdog = watchdog(LIMIT, "path traversal");
    let world = World::new();
    let place = world.place("holder", &[("open", b"open")]);
    fs::write(place.folder.join("secret"), "secret").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("../secret", place.folder.join("upload/link")).unwrap();
    let _holder = place.start(&[]);
    world.wait_for(1);
    let mut nc = Nc::new(world.tracker.at);
    for wrong in ["../secret", "/etc/passwd", "..", "upload/../../secret"] {
        let words = nc.ask(&format!("ask {wrong}")).words;
        assert_eq!(words[..2], ["ERR", "bad_request"], "{words:?}");
    }
    for name in ["secret", "link", "..\\secret", "tracker_info.txt"] {
        let answer = nc.ask(&format!("ask {name}"));
        assert_eq!(answer.words, ["OK", "1", "1"], "{name}");
        assert!(answer.body.is_empty(), "{name}");
    }
    assert!(!nc.ask("ask open").body.is_empty());
    // A tracker that sends such a name finds no ear.
    let mut asker = world.peer("asker", &[]);
    asker.type_line(&world.line("../secret"));
    asker.line_with("is no file name");
}

/// What came was taken for the file.
#[test]
fn no_integrity() {
    let _watchdog = watchdog(LIMIT, "a holder with other bytes");
    let world = World::new();
    let bytes = random_bytes("true", 2_000_000);
    let _good = world.peer("good", &[("true", &bytes)]);
    let _bad = world.peer("bad", &[("true", &bytes)]);
    world.wait_for(2);
    let found = Nc::new(world.tracker.at).ask("ask true");
    let found = String::from_utf8(found.body).unwrap();
    assert_eq!(found.matches("127.0.0.1:").count(), 2, "{found}");
    // Behind the back of the one, who still says that it has the file.
    let false_bytes = random_bytes("false", bytes.len());
    fs::write(world.temp.path().join("bad/upload/true"), false_bytes).unwrap();
    fetch(&world, "asker", "true");
    let got = fs::read(world.download("asker", "true")).unwrap();
    assert!(got == bytes);
}

/// Nobody else was served while peers were polled, and one that did not answer held up all.
#[test]
fn the_lock_is_held_while_peers_are_polled() {
    let _watchdog = watchdog(LIMIT, "a silent peer");
    let world = World::new();
    let mut silent = Nc::new(world.tracker.at);
    assert_eq!(silent.ask("subscribe").words, ["OK"]);
    let _holder = world.peer("holder", &[("file", b"bytes")]);
    let mut asker = Nc::new(world.tracker.at);
    peers::wait_until("the holder is there", || {
        asker.ask("ask file").words == ["OK", "2", "1"]
    });
    asker.say("ask file");
    silent.question();
    let mut other = Nc::new(world.tracker.at);
    for (request, answer) in [("ping", "pong"), ("list_files public", "0")] {
        assert_eq!(other.ask(request).words, ["OK", answer]);
    }
    let socket = asker.0.get_ref();
    socket.set_nonblocking(true).unwrap();
    let early = socket.peek(&mut [0]).map_err(|error| error.kind());
    assert_eq!(
        early,
        Err(ErrorKind::WouldBlock),
        "others were served first"
    );
    socket.set_nonblocking(false).unwrap();
    let answer = asker.hear();
    assert_eq!(answer.words, ["OK", "2", "1"]);
    assert!(!answer.body.is_empty(), "who has it is told all the same");
}

/// A tracker knew eight peers.
#[test]
fn there_are_no_more_than_eight_peers() {
    let _watchdog = watchdog(LIMIT, "twelve peers");
    let world = World::new();
    let at = world.tracker.at;
    let mut holders: Vec<(Nc, Nc)> = (0..12).map(|_| (Nc::new(at), Nc::new(at))).collect();
    for (stream, _) in &mut holders {
        assert_eq!(stream.ask("subscribe").words, ["OK"]);
    }
    let mut asker = Nc::new(at);
    asker.say("ask hello.txt");
    let info =
        "d6:lengthi5e4:name9:hello.txt12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae";
    for (nth, (stream, answers)) in holders.iter_mut().enumerate() {
        let (question, file) = stream.question();
        assert_eq!(file, "hello.txt");
        let hash = "437508178ef8f5a1abf3d9a5f3fd797f28a4d86e";
        let line = format!(
            "have {question} 5 {hash} -xx0001-{nth:012} {} +83\n{info}",
            7000 + nth
        );
        answers.send(&line);
        assert_eq!(answers.hear().words, ["OK"]);
        // Once is enough, and only who was asked may answer.
        for late in [question.as_str(), "0123456789abcdef"] {
            let words = answers
                .ask(&format!("have_not {late} -xx0001-{nth:012}"))
                .words;
            assert_eq!(words[..2], ["ERR", "not_found"], "{words:?}");
        }
    }
    let answer = asker.hear();
    assert_eq!(answer.words, ["OK", "12", "12"]);
    let text = String::from_utf8(answer.body).unwrap();
    assert_eq!(text.lines().count(), 1, "one content: {text}");
    assert_eq!(text.matches("127.0.0.1:70").count(), 12, "{text}");
    let torrent = asker.ask("metainfo 437508178ef8f5a1abf3d9a5f3fd797f28a4d86e");
    assert_eq!(torrent.body, info.as_bytes());
    let unknown = asker.ask("metainfo 0000000000000000000000000000000000000000");
    assert_eq!(unknown.words[..2], ["ERR", "not_found"]);
}
