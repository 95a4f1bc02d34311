//! Proves what the tracker answers, by sockets, in both dialects; and that nobody can keep it
//! from answering others.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use mini_bittorrent::announce::response::AnnounceResponse;
use mini_bittorrent::announce::scrape::ScrapeResponse;
use mini_bittorrent::torrent::id::{InfoHash, PieceHash};
use mini_bittorrent::torrent::layout::Layout;
use mini_bittorrent::torrent::metainfo::Metainfo;
use mini_bittorrent::tracker::{Config, Tracker};

/// How long any answer may take.
const DEADLINE: Duration = Duration::from_secs(20);

fn start(change: impl FnOnce(&mut Config)) -> Tracker {
    let mut config = Config::new("127.0.0.1:0".parse().unwrap());
    change(&mut config);
    Tracker::start(config).unwrap()
}

fn connect(tracker: &Tracker) -> TcpStream {
    let stream = TcpStream::connect(tracker.local_addr()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Sends bytes and reads what comes until the tracker closes.
fn say(tracker: &Tracker, bytes: &[u8]) -> String {
    let mut stream = connect(tracker);
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// A conversation of control lines: one answer line each.
fn talk(tracker: &Tracker, lines: &[&str]) -> Vec<String> {
    let mut stream = connect(tracker);
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let ask = |line: &&str| {
        stream.write_all(format!("{line}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        reader.read_line(&mut answer).unwrap();
        answer.trim_end().to_string()
    };
    lines.iter().map(ask).collect()
}

fn get(tracker: &Tracker, path: &str) -> Vec<u8> {
    let mut stream = connect(tracker);
    stream
        .write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let head = answer
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .expect("an HTTP head");
    answer.split_off(head + 4)
}

/// An announce of the peer that listens on `port`, for the torrent `hash` times 20.
fn announce(tracker: &Tracker, hash: char, port: u16, left: u64, more: &str) -> AnnounceResponse {
    let hash = hash.to_string().repeat(20);
    let path = format!(
        "/announce?info_hash={hash}&peer_id=-xx0001-{port:012}&port={port}&left={left}&uploaded=0&downloaded=0{more}"
    );
    AnnounceResponse::decode(&get(tracker, &path)).unwrap()
}

fn ports(response: &AnnounceResponse) -> Vec<u16> {
    let mut ports: Vec<u16> = response
        .peers
        .iter()
        .map(|peer| peer.address.port())
        .collect();
    ports.sort_unstable();
    ports
}

#[test]
fn an_announce_counts_and_names_the_others() {
    let tracker = start(|_| {});
    let counts = |response: &AnnounceResponse| (response.complete, response.incomplete);
    let first = announce(&tracker, 'a', 1001, 5, "&event=started");
    assert_eq!(
        (counts(&first), ports(&first)),
        ((0, 1), vec![]),
        "not itself"
    );
    let second = announce(&tracker, 'a', 1002, 0, "&event=started");
    assert_eq!((counts(&second), ports(&second)), ((1, 1), vec![1001]));
    let third = announce(&tracker, 'a', 1003, 5, "&event=started&compact=1");
    assert_eq!((counts(&third), ports(&third)), ((1, 2), vec![1001, 1002]));
    announce(&tracker, 'a', 1003, 0, "&event=completed");
    announce(&tracker, 'a', 1003, 0, "&event=completed");
    let seed = announce(&tracker, 'a', 1002, 0, "");
    assert_eq!(ports(&seed), [1001], "a seed has no use for seeds");
    announce(&tracker, 'a', 1002, 0, "&event=stopped");
    let last = announce(&tracker, 'a', 1001, 5, "");
    assert_eq!((counts(&last), ports(&last)), ((1, 1), vec![1003]));
    assert!(
        last.peers[0].address.ip().is_loopback(),
        "the address is the connection's"
    );
    let other = announce(&tracker, 'b', 1004, 5, "");
    assert_eq!(ports(&other), [0; 0], "another torrent");

    let scraped = get(&tracker, &format!("/scrape?info_hash={}", "a".repeat(20)));
    let scraped = ScrapeResponse::decode(&scraped).unwrap();
    let (hash, counts) = scraped.files[0];
    assert_eq!(hash, InfoHash([b'a'; 20]));
    assert_eq!(
        (counts.complete, counts.incomplete, counts.downloaded),
        (1, 1, 1)
    );
}

#[test]
fn numwant_is_kept_and_capped_and_the_sample_is_random() {
    let tracker = start(|_| {});
    for port in 2000..2300 {
        announce(&tracker, 'a', port, 5, "&numwant=0");
    }
    let few = |numwant: &str| ports(&announce(&tracker, 'a', 1999, 5, numwant));
    assert_eq!(few("&numwant=7").len(), 7);
    assert_eq!(few("&numwant=0").len(), 0);
    assert_eq!(few("").len(), 50);
    assert!(few("&numwant=100000").len() <= 200);
    let samples: std::collections::HashSet<Vec<u16>> = (0..5).map(|_| few("&numwant=5")).collect();
    assert!(
        samples.len() > 1,
        "five samples of five are hardly ever all the same"
    );
}

#[test]
fn failures_say_what_is_wrong() {
    let tracker = start(|_| {});
    let hash = "a".repeat(20);
    for (query, expect) in [
        ("".to_string(), "info_hash"),
        (
            format!("info_hash=abc&peer_id={hash}&port=1&left=0"),
            "info_hash",
        ),
        (format!("info_hash={hash}&port=1&left=0"), "peer_id"),
        (format!("info_hash={hash}&peer_id={hash}&left=0"), "port"),
        (
            format!("info_hash={hash}&peer_id={hash}&port=99999&left=0"),
            "port",
        ),
        (
            format!("info_hash={hash}&peer_id={hash}&port=1&left=x"),
            "left",
        ),
    ] {
        let body = get(&tracker, &format!("/announce?{query}"));
        let text = String::from_utf8_lossy(&body);
        assert!(text.starts_with("d14:failure reason"), "{query}: {text}");
        assert!(text.contains(expect), "{query}: {text}");
    }
    assert!(say(&tracker, b"GET /nothing HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 404"));
    assert!(say(&tracker, b"POST /announce HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 4"));
    assert!(say(&tracker, b"GET / HTTP/1.0\r\n\r\n").contains("uptime"));
}

#[test]
fn a_connection_that_is_kept_alive_carries_many_announces() {
    let tracker = start(|_| {});
    let mut stream = connect(&tracker);
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let hash = "a".repeat(20);
    for port in 1..=100 {
        let request = format!(
            "GET /announce?info_hash={hash}&peer_id={hash}&port={port}&left=1 HTTP/1.1\r\nHost: x\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut length = None;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if line.trim().is_empty() {
                break;
            }
            let name_and_value = line
                .split_once(':')
                .map(|(n, v)| (n.to_ascii_lowercase(), v));
            if let Some((_, value)) = name_and_value.filter(|(name, _)| name == "content-length") {
                length = value.trim().parse::<usize>().ok();
            }
        }
        let mut body = vec![0; length.expect("a length")];
        reader.read_exact(&mut body).unwrap();
        let response = AnnounceResponse::decode(&body).unwrap();
        assert_eq!(response.incomplete, port);
    }
}

#[test]
fn v4_and_v6_are_listed_apart() {
    let mut config = Config::new("[::]:0".parse().unwrap());
    config.interval = 60;
    let Ok(tracker) = Tracker::start(config) else {
        // Not a skipped test: where the system has no IPv6 there is nothing to list.
        return;
    };
    let port = tracker.local_addr().port();
    let announce = |host: &str, own: u16| {
        let mut stream = TcpStream::connect((host, port)).unwrap();
        let hash = "a".repeat(20);
        let query = format!("info_hash={hash}&peer_id={hash}&port={own}&left=1&compact=1");
        stream
            .write_all(format!("GET /announce?{query} HTTP/1.0\r\n\r\n").as_bytes())
            .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    };
    announce("127.0.0.1", 11);
    announce("::1", 12);
    let both = announce("127.0.0.1", 13);
    assert!(
        both.contains("5:peers6:") && both.contains("6:peers618:"),
        "{both}"
    );
}

/// A control line that shares 9 bytes of content under a name.
fn upload(name: &str, content: u8, port: u16) -> (Vec<u8>, InfoHash) {
    let layout = Layout::single(name.into(), 9, 16384).unwrap();
    let metainfo = Metainfo::build(layout, vec![PieceHash([content; 20])], false);
    let info = metainfo.info_bytes();
    let hash = metainfo.info_hash;
    let id = "-mb0010-abcdefghijkl";
    let line = format!(
        "upload_file public {name} 9 {hash} {id} {port} +{}\n",
        info.len()
    );
    ([line.as_bytes(), info].concat(), hash)
}

#[test]
fn files_are_shared_listed_fetched_and_withdrawn() {
    let tracker = start(|_| {});
    let (line, hash) = upload("a.txt", 1, 7001);
    let quit = |mut bytes: Vec<u8>| {
        bytes.extend_from_slice(b"quit\n");
        bytes
    };
    assert!(say(&tracker, &quit(line.clone())).starts_with("OK"));
    let (other, _) = upload("a.txt", 2, 7002);
    let conflict = say(&tracker, &quit(other));
    assert!(conflict.starts_with("ERR conflict") && conflict.contains(&hash.to_string()));
    let (same, _) = upload("a.txt", 1, 7003);
    assert!(
        say(&tracker, &quit(same)).starts_with("OK"),
        "one more holder"
    );
    let list = say(&tracker, b"list_files public\nquit\n");
    assert!(list.contains(&format!("a.txt 9 {hash} 2 0")), "{list}");
    let file = say(&tracker, b"download_file public a.txt\nquit\n");
    assert!(
        file.contains(&hash.to_string()) && file.contains("6:pieces20:"),
        "{file}"
    );
    let id = "-mb0010-abcdefghijkl";
    for (port, still_there) in [(7001, true), (7003, false)] {
        let answers = talk(
            &tracker,
            &[&format!("stop_share public a.txt {hash} {id} {port}")],
        );
        assert_eq!(answers, ["OK"]);
        let list = say(&tracker, b"list_files public\nquit\n");
        assert_eq!(list.contains("a.txt"), still_there, "after {port}: {list}");
    }
}

#[test]
fn control_lines_are_answered_or_refused_in_words() {
    let tracker = start(|_| {});
    let answers = talk(
        &tracker,
        &[
            "ping",
            "",
            "pnig",
            "list_files",
            "list_files public x",
            "list_files nogroup",
            "download_file public nofile",
            "ping",
        ],
    );
    let expect = [
        "OK pong",
        "ERR bad_request ",
        "ERR bad_request unknown command `pnig`, did you mean `ping`?",
        "ERR bad_request `group` is missing",
        "ERR bad_request `x` is one word too many",
        "ERR denied Please log in first.",
        "ERR not_found ",
        "OK pong",
    ];
    for (answer, expect) in answers.iter().zip(expect) {
        assert!(answer.starts_with(expect), "{answer}");
    }
}

#[test]
fn a_torrent_that_is_not_what_the_line_says_is_refused() {
    let tracker = start(|_| {});
    let (line, hash) = upload("a.txt", 1, 7001);
    let text = String::from_utf8_lossy(&line).into_owned();
    for wrong in [
        text.replace(" 9 ", " 10 "),
        text.replace(&hash.to_string(), &"0".repeat(40)),
    ] {
        let answer = say(&tracker, format!("{wrong}quit\n").as_bytes());
        assert!(answer.starts_with("ERR bad_request"), "{answer}");
    }
    assert!(!say(&tracker, b"list_files public\nquit\n").contains("a.txt"));
}

#[test]
fn what_is_too_long_is_refused_before_it_is_read() {
    let tracker = start(|_| {});
    let long_line = say(&tracker, &[b'x'; 70_000]);
    assert!(long_line.starts_with("ERR bad_request"), "{long_line}");
    let body = say(&tracker, b"upload_file public x 1 0000000000000000000000000000000000000000 -mb0010-abcdefghijkl 1 +999999999999\n");
    assert!(body.starts_with("ERR bad_request"), "{body}");
    let head = [b"GET /".as_slice(), &[b'a'; 20_000]].concat();
    assert!(say(&tracker, &head).starts_with("HTTP/1.1 4"));
    let record = say(&tracker, &[0x16, 3, 1, 0xff, 0xff]);
    assert!(record.starts_with('\x15'), "a TLS alert: {record:?}");
    assert_eq!(talk(&tracker, &["ping"]), ["OK pong"]);
}

#[test]
fn the_slow_and_the_silent_do_not_keep_a_place() {
    let short = Duration::from_millis(200);
    let tracker = start(|config| {
        config.first_byte = short;
        config.request = short;
        config.poll = Duration::from_millis(50);
    });
    let began = Instant::now();
    assert_eq!(say(&tracker, b""), "", "no first byte");
    say(&tracker, b"list_fi");
    say(&tracker, b"GET /annou");
    assert!(began.elapsed() < DEADLINE);
    let deadline = Instant::now() + DEADLINE;
    while tracker
        .stats()
        .0
        .iter()
        .any(|(name, count)| name == "connections" && *count > 0)
    {
        assert!(Instant::now() < deadline, "all of them are gone");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn one_address_cannot_take_all_places() {
    let tracker = start(|config| config.connections_per_address = 3);
    let mut guests: Vec<TcpStream> = (0..3).map(|_| connect(&tracker)).collect();
    for guest in &mut guests {
        guest.write_all(b"ping\n").unwrap();
        guest.read_exact(&mut [0; 8]).unwrap();
    }
    assert!(say(&tracker, b"ping\n").starts_with("ERR busy"));
    assert!(say(&tracker, b"GET / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 503"));
    drop(guests);
    let deadline = Instant::now() + DEADLINE;
    while !say(&tracker, b"ping\nquit\n").starts_with("OK pong") {
        assert!(Instant::now() < deadline, "places are free again");
    }
}

#[test]
fn a_silent_peer_is_forgotten() {
    let tracker = start(|config| config.interval = 1);
    announce(&tracker, 'a', 1001, 5, "&event=started");
    let deadline = Instant::now() + DEADLINE;
    loop {
        let answer = announce(&tracker, 'a', 1002, 5, "");
        if answer.incomplete == 1 {
            break;
        }
        assert!(Instant::now() < deadline, "1001 is still there");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn stopping_ends_open_connections_at_once() {
    let tracker = start(|_| {});
    let mut guest = connect(&tracker);
    guest.write_all(b"ping\n").unwrap();
    guest.read_exact(&mut [0; 8]).unwrap();
    let address: SocketAddr = tracker.local_addr();
    let began = Instant::now();
    tracker.stop();
    assert!(began.elapsed() < Duration::from_secs(3));
    assert_eq!(guest.read(&mut [0; 8]).unwrap_or(0), 0);
    assert!(TcpStream::connect(address).is_err());
}
