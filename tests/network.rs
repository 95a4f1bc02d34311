//! Proves what `check_network` says: of real trackers and peers, of those that are older, gone,
//! strangers or silent, and, between network namespaces, which side's firewall it is that blocks; and
//! that nobody can have strangers knocked at, or knock often.

use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use mini_bittorrent::control::frame::read_frame;
use mini_bittorrent::shell::peer_shell::ShellError;
use mini_bittorrent::tracker::{Config, Tracker};

use crate::support::asking::{Nc, World};
use crate::support::peers::{
    self, Place, Program, any_port, free_port, start_peer, wait_until, watchdog,
};

const LIMIT: Duration = Duration::from_secs(120);

/// What a peer that is started for it says, with `US` and `PORT` for where it listens, and `N` for
/// times.
fn check_network(place: &Place) -> Vec<String> {
    said_by(place, place.command(&["-c", "check_network"]))
}

fn said_by(place: &Place, mut command: Command) -> Vec<String> {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
    let text = String::from_utf8(output.stdout).unwrap();
    let text = text.replace(&place.listen.to_string(), "US");
    let text = text.replace(&place.listen.port().to_string(), "PORT");
    let lines = text
        .lines()
        .skip_while(|line| !line.starts_with("Checking the network"));
    // What the peer has to tell besides may come in between.
    let lines = lines.filter(|line| !is_notice(line));
    lines.map(masked).collect()
}

/// What it comes to: after the table and an empty line.
fn verdict(said: &[String]) -> &str {
    said.split(String::is_empty)
        .nth(1)
        .map_or("", |rest| &rest[0])
}

fn is_notice(line: &str) -> bool {
    line.starts_with("no tracker answers: ")
        || line.starts_with("tracker ") && !line.starts_with("tracker  ")
}

/// A time in milliseconds is `N`, and columns are two spaces apart.
fn masked(line: &str) -> String {
    let columns = line.split("  ").map(str::trim);
    let columns: Vec<&str> = columns.filter(|column| !column.is_empty()).collect();
    let line = columns.join("  ");
    let Some((before, rest)) = line.split_once(" answers, in ") else {
        return line;
    };
    let rest = rest.trim_start_matches(|letter: char| letter.is_ascii_digit());
    format!("{before} answers, in N{rest}")
}

/// A peer's place, at a port that is known before it starts.
fn place(world: &World, name: &str) -> Place {
    let mut place = world.place(name, &[]);
    place.listen.set_port(free_port().port());
    place
}

fn write_trackers(place: &Place, lines: &[String]) {
    let path = place.folder.join("tracker_info.txt");
    fs::write(path, lines.join("\n") + "\n").unwrap();
}

const FIRST: &str = "Checking the network, at most 10 s; Ctrl-C ends it.";
const NO_PEERS_KNOWN: &str =
    "to peers  ?  no peer is known to try: nothing is fetched from or shared with others yet";
const NOBODY_COULD: &str =
    "from peers  ?  nobody could try: no other peer is connected to a tracker";
const MULTICAST: &str = "multicast  is not needed";
const ONLY_HERE: &str =
    "This machine only: all works among its own programs, and no other machine reaches";

#[test]
fn on_one_machine_all_works_and_it_says_that_nobody_else_comes_in() {
    let _watchdog = watchdog(LIMIT, "one machine");
    let world = World::new();
    let _others = [world.peer("one", &[]), world.peer("two", &[])];
    world.wait_for(2);
    let tracker = world.tracker.at;
    let mut said = check_network(&place(&world, "asker"));
    let verdict = said.pop().unwrap();
    assert_eq!(
        said,
        [
            FIRST,
            "port  ok  PORT is open at 127.0.0.1",
            &format!("tracker  ok  {tracker} answers, in N ms"),
            &format!("from there  ok  {tracker} can connect to us at US"),
            "from peers  ok  2 of 2 peers could connect to us; 2 of them at our own address",
            NO_PEERS_KNOWN,
            MULTICAST,
            "",
        ]
    );
    assert!(verdict.starts_with(ONLY_HERE), "{verdict}");
}

#[test]
fn it_works_with_ipv6() {
    let _watchdog = watchdog(LIMIT, "IPv6");
    if TcpListener::bind("[::1]:0").is_err() {
        peers::say("SKIPPED it_works_with_ipv6: no IPv6 here\n");
        return;
    }
    let world = World::at("[::1]:0");
    let _other = world.peer("one", &[]);
    world.wait_for(1);
    let tracker = world.tracker.at;
    let said = check_network(&place(&world, "asker"));
    assert_eq!(
        said[1..5],
        [
            "port  ok  PORT is open at ::1",
            &format!("tracker  ok  {tracker} answers, in N ms"),
            &format!("from there  ok  {tracker} can connect to us at US"),
            "from peers  ok  1 of 1 peer could connect to us; 1 of them at our own address",
        ]
    );
}

#[test]
fn trackers_that_are_gone_older_strange_or_none_are_told() {
    let _watchdog = watchdog(LIMIT, "other trackers");
    let world = World::new();
    let place = place(&world, "asker");
    let check = |trackers: &[String], expect: &[&str], verdict: &str| {
        write_trackers(&place, trackers);
        let said = check_network(&place);
        assert_eq!(said[..2], [FIRST, "port  ok  PORT is open at 127.0.0.1"]);
        let (lines, last) = said[2..].split_at(expect.len());
        assert_eq!(lines, expect);
        assert_eq!(last[..4], [NOBODY_COULD, NO_PEERS_KNOWN, MULTICAST, ""]);
        assert!(last[4].starts_with(verdict), "{said:#?}");
    };
    let (here, gone) = (world.tracker.at, free_port());
    let refuses = format!("tracker  fails  {gone} refuses: no tracker runs there");
    let answers = |at| format!("tracker  ok  {at} answers, in N ms");
    check(
        &[gone.to_string()],
        &[&refuses],
        "The tracker's side: its machine answers, and no tracker runs at",
    );
    check(
        &[gone.to_string(), here.to_string()],
        &[
            &refuses,
            &answers(here),
            &format!("from there  ok  {here} can connect to us at US"),
        ],
        ONLY_HERE,
    );
    let older = fake_tracker(|words, _| match words[0].as_str() {
        "ping" => "OK pong\n".into(),
        _ => "ERR bad_request \"unknown command `knock`\"\n".into(),
    });
    check(
        &[older.to_string()],
        &[
            &answers(older),
            &format!(
                "from there  ?  {older} cannot try to connect to us: it is of an older version"
            ),
        ],
        ONLY_HERE,
    );
    let strange = fake_tracker(|_, _| "220 mail ready\n".into());
    write_trackers(&place, &[strange.to_string()]);
    let said = check_network(&place);
    let line = format!("tracker  fails  {strange} is there, and does not answer as trackers do: ");
    assert!(said[2].starts_with(&line), "{said:#?}");
    assert!(
        verdict(&said).contains("does not speak as trackers do"),
        "{said:#?}"
    );
}

#[test]
fn a_tracker_with_another_key_is_told() {
    let _watchdog = watchdog(LIMIT, "keys");
    let mut config = Config::new(any_port());
    config.tls_required = true;
    let tracker = Tracker::start(config).unwrap();
    let (at, key) = (tracker.local_addr(), tracker.state().config.identity.key());
    let temp = tempfile::tempdir().unwrap();
    let mut place = Place::new(temp.path(), "asker", &[]);
    place.listen = free_port();
    write_trackers(&place, &[format!("{at} {key}")]);
    let said = check_network(&place);
    let line = format!("tracker  ok  {at} answers, in N ms, inside TLS and with the right key");
    assert_eq!(said[2], line);
    assert!(said[3].starts_with("from there  ok"), "{said:#?}");
    // Another peer answers inside TLS, too.
    let other = Place::new(temp.path(), "other", &[]);
    write_trackers(&other, &[format!("{at} {key}")]);
    let _other = other.start(&["--no-prompt"]);
    wait_until("the other peer has knocked", || {
        check_network(&place)[4].starts_with("from peers  ok  1 of 1 peer")
    });
    let other = Tracker::start(Config::new(any_port())).unwrap();
    let wrong = other.state().config.identity.key();
    write_trackers(&place, &[format!("{at} {wrong}")]);
    let said = check_network(&place);
    let line =
        format!("tracker  fails  {at} is not trusted: the key in tracker_info.txt ({wrong})");
    assert!(said[2].starts_with(&line), "{said:#?}");
    assert!(
        verdict(&said).contains("Ask who runs it for its line"),
        "{said:#?}"
    );
    write_trackers(&place, &[at.to_string()]);
    let said = check_network(&place);
    assert!(
        said[2].contains("is there, and does not answer as trackers do"),
        "{said:#?}"
    );
    assert!(verdict(&said).contains("lack its key?"), "{said:#?}");
}

/// The line that begins so, once it is not the one that says that nothing can be told.
fn line_once_known(peer: &mut Program, begin: &str) -> String {
    let mut found = String::new();
    wait_until(&format!("a line with {begin}"), || {
        peer.type_line("check_network");
        found = masked(&peer.line(begin, |line| line.starts_with(begin)));
        !found.contains("  ?  ")
    });
    found
}

#[test]
fn peers_are_tried_during_a_download() {
    let _watchdog = watchdog(LIMIT, "a download");
    let world = World::new();
    let content = vec![7; 3 << 20];
    let mut seed = world.peer("seed", &[("file", &content)]);
    for line in ["limit up 20K", "upload_file file"] {
        seed.type_line(line);
    }
    seed.line_with("File uploaded successfully");
    let mut getter = world.peer("getter", &[]);
    getter.type_line("download_file file");
    getter.line_with("Downloading file");
    let line = line_once_known(&mut getter, "to peers");
    assert_eq!(line, "to peers  ok  1 of 1 peer can be connected to");
    seed.kill_9();
    let mut last = String::new();
    wait_until("the seed is gone", || {
        getter.type_line("check_network");
        last = masked(&getter.line("to peers", |line| line.starts_with("to peers")));
        last.contains("fails")
    });
    assert!(last.starts_with("to peers  fails  0 of 1 peer"), "{last}");
    assert!(last.ends_with(": refused"), "{last}");
}

#[test]
fn ctrl_c_ends_it() {
    let _watchdog = watchdog(LIMIT, "Ctrl-C");
    let (asked, was_asked) = std::sync::mpsc::channel();
    let (answer, answered) = std::sync::mpsc::channel::<()>();
    let (asked, answered) = (
        std::sync::Mutex::new(asked),
        std::sync::Mutex::new(answered),
    );
    let silent = fake_tracker(move |words, _| {
        if words[0] == "ping" {
            let _ = asked.lock().unwrap().send(());
            let _ = answered.lock().unwrap().recv();
        }
        "OK\n".into()
    });
    let temp = tempfile::tempdir().unwrap();
    let mut peer = start_peer(&[silent], temp.path());
    let interrupt = peer.interrupt.clone();
    let presser = std::thread::spawn(move || {
        was_asked.recv().unwrap();
        interrupt.trigger();
    });
    let ended = peer.run("check_network");
    assert!(matches!(ended, Err(ShellError::Interrupted)), "{ended:?}");
    presser.join().unwrap();
    drop(answer);
}

#[test]
fn only_the_asker_is_knocked_at_and_not_often() {
    let _watchdog = watchdog(LIMIT, "knocks");
    let world = World::new();
    let door = TcpListener::bind(any_port()).unwrap();
    let port = door.local_addr().unwrap().port();
    let hash = "5c".repeat(20);
    let mut nc = Nc::new(world.tracker.at);
    for wrong in [
        format!("knock 0 {hash}"),
        format!("knock 70000 {hash}"),
        "knock 7600 5c".into(),
        format!("knock 192.0.2.1:7600 {hash}"),
        format!("knock {port} {hash} 192.0.2.1"),
    ] {
        let words = nc.ask(&wrong).words;
        assert_eq!(words[..2], ["ERR", "bad_request"], "{wrong}: {words:?}");
    }
    for late in [
        "knocked 00000000000000ff silent",
        "not_knocked 00000000000000ff",
    ] {
        assert_eq!(nc.ask(late).words[1], "not_found", "{late}");
    }
    // What it says there is a handshake for what was named.
    let heard = std::thread::spawn(move || {
        let mut hello = [0; 68];
        let (mut socket, from) = door.accept().unwrap();
        socket.read_exact(&mut hello).unwrap();
        (hello, from)
    });
    let words = nc.ask(&format!("knock {port} {hash}")).words;
    assert_eq!(
        words,
        ["OK", &format!("127.0.0.1:{port}"), "connected", "0"]
    );
    let (hello, from) = heard.join().unwrap();
    assert!(hello.starts_with(b"\x13BitTorrent protocol") && hello[28..48] == [0x5c; 20]);
    assert!(from.ip().is_loopback());
    let mut answers = (0..40).map(|_| nc.ask(&format!("knock {port} {hash}")).words);
    let refused = answers.find(|words| words[0] == "ERR").unwrap();
    assert_eq!(refused[1], "busy", "{refused:?}");
    assert!(refused.join(" ").contains("wait a minute"), "{refused:?}");
}

/// Whoever runs a tracker could otherwise have its peers attack somebody, or look for open ports.
#[test]
fn a_tracker_that_floods_peers_with_knocks_is_not_obeyed() {
    let _watchdog = watchdog(LIMIT, "a flood");
    let door = TcpListener::bind(any_port()).unwrap();
    let address = door.local_addr().unwrap();
    let visitors = std::thread::spawn(move || {
        let from: Vec<bool> = door
            .incoming()
            .map(|socket| {
                let mut socket = socket.unwrap();
                let mut first = [0];
                socket.read_exact(&mut first).unwrap();
                first[0] == 19
            })
            .take_while(|is_knock| *is_knock)
            .collect();
        from.len()
    });
    let (say, said) = std::sync::mpsc::channel();
    let say = std::sync::Mutex::new(say);
    let tracker = fake_tracker(move |words, mut stream| {
        stream.write_all(b"OK\n").unwrap();
        let told = if words[0] == "subscribe" {
            Said::Subscribed(stream.try_clone().unwrap())
        } else if words[0].ends_with("knocked") {
            // Once it has hung up, there is room for another.
            while stream.read(&mut [0]).is_ok_and(|bytes| bytes > 0) {}
            Said::Answered(words[0].clone())
        } else {
            return String::new();
        };
        let _ = say.lock().unwrap().send(told);
        String::new()
    });
    let temp = tempfile::tempdir().unwrap();
    let _peer = Place::new(temp.path(), "peer", &[tracker]).start(&["--no-prompt"]);
    let next = || said.recv_timeout(Duration::from_secs(60)).unwrap();
    let Said::Subscribed(mut stream) = next() else {
        panic!("an answer to nothing");
    };
    let hash = "5c".repeat(20);
    let mut ask = |address: &SocketAddr| {
        let line = format!("KNOCK 00000000000000ff {address} {hash}\n");
        stream.write_all(line.as_bytes()).unwrap();
        match next() {
            Said::Answered(word) => word,
            Said::Subscribed(_) => panic!("the stream ended"),
        }
    };
    // Neither the system's programs, nor other machines on behalf of a tracker on this one.
    for never in ["127.0.0.1:22", "192.0.2.1:7600"] {
        assert_eq!(ask(&never.parse().unwrap()), "not_knocked");
    }
    let answers: Vec<String> = (0..25).map(|_| ask(&address)).collect();
    let knocked = answers.iter().filter(|word| *word == "knocked").count();
    assert_eq!(knocked, 10, "{answers:?}");
    TcpStream::connect(address)
        .unwrap()
        .write_all(b"x")
        .unwrap();
    assert_eq!(visitors.join().unwrap(), 10);
}

enum Said {
    Subscribed(TcpStream),
    Answered(String),
}

/// Answers each line with what it is told to.
fn fake_tracker(
    answer: impl Fn(&[String], &TcpStream) -> String + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind(any_port()).unwrap();
    let at = listener.local_addr().unwrap();
    let answer = std::sync::Arc::new(answer);
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let answer = answer.clone();
            std::thread::spawn(move || {
                let mut reader = BufReader::new(socket.try_clone().unwrap());
                while let Ok(Some(frame)) = read_frame(&mut reader) {
                    let reply = answer(&frame.words, &socket);
                    if (&socket).write_all(reply.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    at
}

#[cfg(target_os = "linux")]
mod between_machines {
    use super::*;
    use crate::support::net::Net;

    /// The rooms of the tracker, of who asks, and of another peer.
    const TRACKER: usize = 1;
    const ASKER: usize = 2;
    const OTHER: usize = 3;

    /// The same program on the machine that is room `n`.
    fn inside(net: &Net, n: usize, command: &Command) -> Command {
        let mut inside = Command::new("ip");
        inside
            .args(["netns", "exec", &net.room(n)])
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(command.get_current_dir().unwrap())
            .env_remove("RUST_LOG");
        inside
    }

    fn ip(room: &str, words: &str) {
        let mut command = Command::new("ip");
        let status = command.args(["-n", room]).args(words.split(' ')).status();
        assert!(status.unwrap().success(), "ip -n {room} {words}");
    }

    /// From here on a machine drops what comes in for a port, as firewalls do.
    fn block(net: &Net, n: usize, port: u16) {
        let rule = format!("rule add pref 5 iif eth0 ipproto tcp dport {port} blackhole");
        ip(&net.room(n), &rule);
    }

    fn allow(net: &Net, n: usize) {
        ip(&net.room(n), "rule del pref 5");
    }

    fn place(net: &Net, n: usize, temp: &std::path::Path) -> Place {
        let tracker = SocketAddr::new(net.address(TRACKER), 6000);
        let mut place = Place::new(temp, &n.to_string(), &[tracker]);
        place.listen = SocketAddr::new(net.address(n), 7600);
        place
    }

    #[test]
    fn it_is_told_whose_firewall_blocks() {
        let _watchdog = watchdog(LIMIT, "firewalls");
        let net = match Net::make(3) {
            Ok(net) => net,
            Err(why) => {
                peers::say(&format!(
                    "SKIPPED it_is_told_whose_firewall_blocks: {why}\n"
                ));
                return;
            }
        };
        for n in [TRACKER, ASKER, OTHER] {
            // The rule that says which addresses are our own comes after ours.
            ip(&net.room(n), "rule add pref 10 lookup local");
            ip(&net.room(n), "rule del pref 0");
        }
        let temp = tempfile::tempdir().unwrap();
        let at = SocketAddr::new(net.address(TRACKER), 6000);
        let mut tracker = Command::new(env!("CARGO_BIN_EXE_tracker"));
        fs::write(temp.path().join("tracker_info.txt"), format!("{at}\n")).unwrap();
        tracker
            .args(["tracker_info.txt", "1", "--no-prompt"])
            .current_dir(temp.path());
        let tracker = Program::start(inside(&net, TRACKER, &tracker));
        tracker.line_with("listening on");

        let mut asker = place(&net, ASKER, temp.path());
        let checked = |asker: &Place| {
            let command = asker.command(&["-c", "check_network"]);
            said_by(asker, inside(&net, ASKER, &command))
        };
        let other = place(&net, OTHER, temp.path());
        fs::write(other.folder.join("file"), [7; 100_000]).unwrap();
        let mut other = Program::start(inside(&net, OTHER, &other.command(&[])));
        other.type_line("upload_file file");
        other.line_with("File uploaded successfully");
        wait_until("the other peer can be asked", || {
            checked(&asker)[4].contains(" 1 peer ")
        });

        let answers = format!("tracker  ok  {at} answers, in N ms");
        assert_eq!(
            checked(&asker),
            [
                FIRST,
                &format!("port  ok  PORT is open at {}", asker.listen.ip()),
                &answers,
                &format!("from there  ok  {at} can connect to us at US"),
                "from peers  ok  1 of 1 peer could connect to us",
                NO_PEERS_KNOWN,
                MULTICAST,
                "",
                "Nobody blocks: others can connect to this peer, and it to them.",
            ]
        );

        block(&net, ASKER, 7600);
        assert_eq!(
            checked(&asker)[2..9],
            [
                &answers,
                &format!("from there  fails  {at} cannot connect to us at US: no answer"),
                "from peers  fails  0 of 1 peer could connect to us",
                NO_PEERS_KNOWN,
                MULTICAST,
                "",
                "This side: a firewall on this machine, or in front of it, blocks incoming \
                 connections to port PORT. Allow it:",
            ]
        );
        allow(&net, ASKER);

        block(&net, TRACKER, 6000);
        let said = checked(&asker);
        assert_eq!(said[2], format!("tracker  fails  {at} does not answer"));
        let expect = format!("The tracker's side: the machine of {at} does not answer.");
        assert!(verdict(&said).starts_with(&expect), "{said:#?}");
        allow(&net, TRACKER);

        // A peer that was started for this machine only.
        let listen = asker.listen;
        asker.listen = SocketAddr::from(([127, 0, 0, 1], 7600));
        let said = checked(&asker);
        let refused = format!(
            "from there  fails  {at} cannot connect to us at {}:PORT: refused",
            listen.ip()
        );
        assert_eq!(said[3], refused);
        let expect = format!(
            "Start this peer with an address that others reach: {}:PORT",
            listen.ip()
        );
        assert!(verdict(&said).ends_with(&expect), "{said:#?}");
        asker.listen = listen;

        block(&net, OTHER, 7600);
        let mut getter = Program::start(inside(&net, ASKER, &asker.command(&[])));
        getter.type_line("download_file file");
        getter.line_with("Downloading file");
        let there = SocketAddr::new(net.address(OTHER), 7600);
        let line = line_once_known(&mut getter, "to peers");
        let expect =
            format!("to peers  fails  0 of 1 peer can be connected to; {there}: no answer");
        assert_eq!(line, expect);
        let blamed = getter.line_with("A peer's side:");
        assert!(
            blamed.contains(&format!("{there} does not answer")),
            "{blamed}"
        );
        allow(&net, OTHER);
        getter.line_with("file is complete");
    }
}
