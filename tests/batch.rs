//! Proves that batch runs are right again and again, whatever is drawn for them and whoever starts
//! them, and that their traces show how pieces are shared. Real processes of the real program.
//!
//! `MINI_BATCH_RUNS=100 cargo test --release --test suite batch:: -- --nocapture` is the long form;
//! `MINI_BATCH_SEED` chooses what is drawn.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use mini_bittorrent::peer::batch::REFRESH;
use mini_bittorrent::shell::batch::trace::{Entry, Event};

use crate::support::homework::{HOMEWORK, Homework, batch, outputs_in, traces};
use crate::support::peers::{self, Program, say};

/// What lasts longer hangs.
const LIMIT: Duration = Duration::from_secs(60);
/// Runs of each kind, unless the environment says otherwise.
const RUNS: usize = 5;
/// No source gives more of a file, in percent, if there are two that have it.
const MOST: usize = 70;
/// A file of fewer pieces cannot be spread so evenly.
const ENOUGH: u32 = 10;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs to its end, which must be a good one.
fn succeed(command: Command) {
    let mut program = Program::start(command);
    let status = program.ended(LIMIT);
    assert!(status.success(), "{status}: {}", program.said());
}

/// Runs what is drawn from one seed after the other. `start` makes the command line of a run with so
/// many clients in a folder.
fn run_again_and_again(what: &str, start: impl Fn(&Path, usize) -> Command) {
    let seed = setting("MINI_BATCH_SEED").unwrap_or_else(|| rand::random::<u32>().into());
    let runs = setting("MINI_BATCH_RUNS").unwrap_or(RUNS as u64);
    say(&format!("{what}: {runs} runs, from seed {seed} on\n"));
    let mut times = Vec::new();
    for seed in seed..seed + runs {
        let homework = Homework::draw(seed, &HOMEWORK);
        let clients = homework.clients.len();
        let temp = tempfile::tempdir().unwrap();
        homework.write(temp.path());
        let trace = temp.path().join("trace");
        let mut command = start(temp.path(), clients);
        command.arg("--trace").arg(&trace);
        let since = Instant::now();
        let mut program = Program::start(command);
        let status = program.ended(LIMIT);
        times.push(since.elapsed());
        assert!(
            status.success(),
            "seed {seed}: {status}: {}",
            program.said()
        );
        let mut expect = homework.outputs();
        expect.insert("trace".into(), String::new());
        assert_eq!(outputs_in(temp.path()), expect, "seed {seed}");
        let run = Run::new(traces(&trace, clients));
        run.each_piece_came_once(&homework, seed);
        run.nobody_gave_too_much(&homework, seed);
        run.swarms_are_in_order();
        run.the_tracker_knows_no_pieces();
    }
    times.sort();
    say(&format!(
        "{what}: {runs} runs were right; the fastest {:.2?}, the median {:.2?}, the slowest {:.2?}\n",
        times[0],
        times[times.len() / 2],
        times[times.len() - 1]
    ));
}

/// The traces of a run.
struct Run {
    traces: BTreeMap<usize, Vec<Entry>>,
    /// Whose address it is.
    ranks: BTreeMap<SocketAddr, usize>,
}

impl Run {
    fn new(traces: BTreeMap<usize, Vec<Entry>>) -> Run {
        let events = traces.values().flatten().map(|entry| &entry.event);
        let ranks = events.filter_map(|event| match event {
            Event::Start { rank, address } => Some((*address, *rank)),
            _ => None,
        });
        let ranks = ranks.collect();
        Run { traces, ranks }
    }

    fn events(&self) -> impl Iterator<Item = (usize, &Event)> {
        let all = self.traces.iter();
        all.flat_map(|(rank, entries)| entries.iter().map(|entry| (*rank, &entry.event)))
    }

    /// The pieces that came: of which client's which file, which one, of how many, from whom.
    fn pieces(&self) -> impl Iterator<Item = ((usize, &str), u32, u32, usize)> {
        self.events().filter_map(|(rank, event)| match event {
            Event::Piece {
                file,
                index,
                pieces,
                from,
                ..
            } => Some(((rank, file.as_str()), *index, *pieces, self.ranks[from])),
            _ => None,
        })
    }

    fn each_piece_came_once(&self, homework: &Homework, seed: u64) {
        let mut came: BTreeMap<(usize, &str), BTreeSet<u32>> = BTreeMap::new();
        for (copy, index, pieces, _) in self.pieces() {
            assert_eq!(pieces as usize, homework.files[copy.1].len(), "{copy:?}");
            assert!(
                came.entry(copy).or_default().insert(index),
                "{copy:?} {index}"
            );
        }
        for (place, client) in homework.clients.iter().enumerate() {
            for name in &client.wanted {
                let came = came.remove(&(place + 1, name)).unwrap_or_default();
                let of = homework.files[name].len();
                assert_eq!(
                    came.len(),
                    of,
                    "seed {seed}: client {}, {name}: {came:?}",
                    place + 1
                );
            }
        }
        assert!(came.is_empty(), "nobody wants {came:?}");
    }

    fn nobody_gave_too_much(&self, homework: &Homework, seed: u64) {
        let mut gave: BTreeMap<(usize, &str), BTreeMap<usize, usize>> = BTreeMap::new();
        for (copy, _, pieces, from) in self.pieces() {
            if pieces >= ENOUGH && homework.owners(copy.1) > 1 {
                *gave.entry(copy).or_default().entry(from).or_default() += 1;
            }
        }
        for (copy, sources) in gave {
            let most = sources.values().max().unwrap();
            let all: usize = sources.values().sum();
            assert!(
                most * 100 <= all * MOST,
                "seed {seed}: {copy:?} {sources:?}"
            );
        }
    }

    /// Who has uploaded least comes first, the asker last.
    fn swarms_are_in_order(&self) {
        let mut answers = 0;
        for (_, event) in self.events() {
            let Event::Swarm { asker, peers, .. } = event else {
                continue;
            };
            answers += 1;
            let is_asker = |address: &SocketAddr| self.ranks.get(address) == Some(asker);
            let place = peers.iter().position(|(address, _)| is_asker(address));
            assert!(
                place.is_none_or(|place| place + 1 == peers.len()),
                "{event:?}"
            );
            let others = &peers[..peers.len() - usize::from(place.is_some())];
            assert!(
                others.is_sorted_by_key(|(_, uploaded)| *uploaded),
                "{event:?}"
            );
        }
        let wants = self.pieces().next().is_some();
        assert!(!wants || answers > 0);
    }

    /// Whatever is said to it has no room for the number of a piece: names, hashes, and sums of
    /// bytes.
    fn the_tracker_knows_no_pieces(&self) {
        for (rank, event) in self.events() {
            let Event::Told { line } = event else {
                continue;
            };
            let mut words: Vec<&str> = line.split(' ').collect();
            // The id of a request that may be sent twice.
            words.retain(|word| !word.starts_with('@'));
            let known = match words.as_slice() {
                // This client, of this run.
                ["batch_join", number, _job] => number.parse() == Ok(rank),
                ["batch_wait", step] => ["offered", "shared", "finished"].contains(step),
                ["batch_offer", _name, info_hash] => info_hash.len() == 40,
                // The torrent follows: it says what the file is. Who offers it has all of it.
                [
                    "upload_file",
                    "public",
                    _name,
                    size,
                    info_hash,
                    _peer_id,
                    _port,
                    _torrent,
                ] => info_hash.len() == 40 && size.parse::<u64>().is_ok(),
                ["download_file", "public", _name] => true,
                [
                    "announce",
                    info_hash,
                    _peer_id,
                    port,
                    uploaded,
                    downloaded,
                    left,
                    _event,
                ] => {
                    let sums = [uploaded, downloaded, left];
                    info_hash.len() == 40
                        && port.parse::<u16>().is_ok()
                        && sums.iter().all(|sum| sum.parse::<u64>().is_ok())
                }
                _ => false,
            };
            assert!(known, "client {rank} said: {line}");
        }
    }
}

#[test]
fn drawn_runs_are_right() {
    run_again_and_again("peer --batch", |folder, _| batch(folder));
}

#[cfg(unix)]
fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

#[cfg(unix)]
#[test]
fn drawn_runs_are_right_under_mpirun() {
    if !is_installed("mpirun") {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "no mpirun");
        say("SKIPPED: mpirun is not installed\n");
        return;
    }
    run_again_and_again("mpirun", |folder, clients| {
        let mut command = Command::new("mpirun");
        command
            .args(["--oversubscribe", "--allow-run-as-root", "-np"])
            .arg((clients + 1).to_string())
            .arg(env!("CARGO_BIN_EXE_peer"))
            .args(["--batch", "."])
            .current_dir(folder);
        command
    });
}

/// Two clients own a file of a hundred pieces, a third fetches it.
#[test]
fn the_swarm_is_asked_for_again_every_ten_pieces() {
    let mut homework = Homework::draw(1, &HOMEWORK);
    homework.clients.truncate(3);
    let hashes = (0..100).map(|nth| format!("{nth:032}")).collect();
    homework.files = BTreeMap::from([("file".to_string(), hashes)]);
    for (place, client) in homework.clients.iter_mut().enumerate() {
        let (owned, wanted) = match place {
            2 => (None, Some("file")),
            _ => (Some("file"), None),
        };
        client.owned = owned.into_iter().map(String::from).collect();
        client.wanted = wanted.into_iter().map(String::from).collect();
    }
    let temp = tempfile::tempdir().unwrap();
    homework.write(temp.path());
    let trace = temp.path().join("trace");
    let mut command = batch(temp.path());
    command.arg("--trace").arg(&trace);
    succeed(command);
    let run = Run::new(traces(&trace, 3));
    run.nobody_gave_too_much(&homework, 0);
    let (mut came, mut counts) = (0, Vec::new());
    for (_, event) in run.events().filter(|(rank, _)| *rank == 3) {
        match event {
            Event::Piece { .. } => came += 1,
            Event::Told { line } if line.starts_with("announce") => counts.push(came),
            _ => {}
        }
    }
    // Beside those at the start and at the end, one for each ten pieces; on a busy machine some are
    // one with the next, because pieces go on coming while one is on its way.
    let refreshes = 100 / REFRESH as usize;
    let between = counts.iter().filter(|came| (1..100).contains(*came));
    assert!(between.count() >= refreshes / 2, "{counts:?}");
    let asked = run
        .events()
        .filter(|(_, event)| matches!(event, Event::Swarm { asker: 3, .. }));
    assert!(asked.count() >= refreshes / 2);
}

#[test]
fn a_real_file_is_fetched_too() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path();
    let original = peers::make_file(&folder.join("media"), "my lecture.mp4", 20_000_000);
    let line = "lecture @media/my lecture.mp4";
    let hash = "a".repeat(32);
    fs::write(folder.join("in1.txt"), format!("1\n{line}\n1\nsmall\n")).unwrap();
    fs::write(
        folder.join("in2.txt"),
        format!("2\nsmall 1\n{hash}\n{line}\n0\n"),
    )
    .unwrap();
    fs::write(folder.join("in3.txt"), "0\n2\nlecture\nsmall\n").unwrap();
    succeed(batch(folder));
    assert_eq!(
        peers::sha256(&folder.join("client3_lecture")),
        peers::sha256(&original)
    );
    assert_eq!(
        fs::read_to_string(folder.join("client3_small")).unwrap(),
        hash
    );
    assert_eq!(
        fs::read_to_string(folder.join("client1_small")).unwrap(),
        hash
    );
}

#[test]
fn malformed_input_is_told_before_anything_starts() {
    let temp = tempfile::tempdir().unwrap();
    for (inputs, expect) in [
        (
            vec!["0\n0\n", "1\nfile 2\nabc\n"],
            "in2.txt, line 3: `abc` is no hash of `file`",
        ),
        (
            vec!["0\n0\n", "one\n"],
            "in2.txt, line 1: `one` is not the number of files",
        ),
        (
            vec!["0\n1\n../x\n"],
            "in1.txt, line 3: `../x` cannot be the name of a file",
        ),
        (
            vec!["0\n0\n", "1\nfile @nothing\n0\n"],
            "; in2.txt names it",
        ),
        (vec![], "there is no in1.txt in "),
    ] {
        let folder: PathBuf = temp.path().join(expect.len().to_string());
        fs::create_dir(&folder).unwrap();
        for (place, text) in inputs.iter().enumerate() {
            fs::write(folder.join(format!("in{}.txt", place + 1)), text).unwrap();
        }
        let mut program = Program::start(batch(&folder));
        let status = program.ended(LIMIT);
        // What it has said last may still be on its way to us.
        peers::wait_until(expect, || program.said().contains(expect));
        assert_eq!(status.code(), Some(1), "{}", program.said());
        assert!(outputs_in(&folder).is_empty());
    }
}

#[test]
fn the_report_is_there_and_nothing_else_is_left() {
    let temp = tempfile::tempdir().unwrap();
    let homework = Homework::draw(3, &HOMEWORK);
    homework.write(temp.path());
    let mut command = batch(temp.path());
    command.arg("--report").arg(temp.path().join("run.html"));
    succeed(command);
    let mut outputs = outputs_in(temp.path());
    let page = outputs.remove("run.html").unwrap();
    assert_eq!(outputs, homework.outputs());
    let pieces: usize = outputs.values().map(|text| text.lines().count()).sum();
    assert!(
        pieces > 0 && page.contains(&format!("{pieces} pieces</title>")),
        "{pieces}"
    );
}

/// `tests/homework` is a folder as a student has it, with the outputs that belong to it, and with
/// what is printed: in any order, and `…` is any text.
#[test]
fn a_folder_written_by_hand() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/homework");
    let temp = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(&golden).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if name.to_str().unwrap().starts_with("in") {
            fs::copy(&path, temp.path().join(name)).unwrap();
        }
    }
    let mut command = batch(Path::new("."));
    command.current_dir(temp.path());
    let mut program = Program::start(command);
    let status = program.ended(LIMIT);
    assert!(status.success(), "{}", program.said());
    let mut expect = outputs_in(&golden);
    let printed = expect.remove("printed.txt").unwrap();
    assert_eq!(outputs_in(temp.path()), expect);
    let lines = printed.lines().count();
    peers::wait_until("the last line", || program.said().lines().count() >= lines);
    let (said, mut expected) = (program.said(), printed.lines().collect::<Vec<_>>());
    for line in said.lines() {
        let fits = |pattern: &&str| {
            let (begin, end) = pattern.split_once('…').unwrap_or((pattern, ""));
            line.starts_with(begin) && line.ends_with(end)
        };
        let place = expected.iter().position(fits);
        expected.remove(place.unwrap_or_else(|| panic!("`{line}` is new in\n{said}")));
    }
}
