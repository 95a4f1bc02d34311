//! Proves that a batch run has none of the defects of the homework's programs, each test named
//! after one of them, and that nobody hangs when a client dies. Real processes of the real program.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use mini_bittorrent::shell::batch::input::{HASH, MAX_NAME};
use mini_bittorrent::shell::batch::rank;
use mini_bittorrent::shell::batch::scratch;
use mini_bittorrent::shell::batch::trace::{self, Entry, Event};
use mini_bittorrent::tracker::batch_door::Plan;
use mini_bittorrent::tracker::{Config, Tracker};

/// What lasts longer hangs.
const LIMIT: Duration = Duration::from_secs(60);
/// How often a process is looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// A folder with inputs.
struct Run {
    folder: tempfile::TempDir,
}

/// A file that some client owns: its name, and its hashes.
type Owned<'a> = (&'a str, &'a [String]);

impl Run {
    fn new() -> Run {
        Run {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes `in<rank>.txt`.
    fn client(&self, rank: usize, owned: &[Owned], wanted: &[&str]) {
        let mut text = format!("{}\n", owned.len());
        for (name, hashes) in owned {
            text += &format!("{name} {}\n{}\n", hashes.len(), hashes.join("\n"));
        }
        text += &format!("{}\n", wanted.len());
        text += &wanted
            .iter()
            .map(|name| format!("{name}\n"))
            .collect::<String>();
        fs::write(self.path().join(format!("in{rank}.txt")), text).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_peer"));
        command.arg("--batch").arg(self.path());
        command.stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it to its end, with traces.
    fn run(&self) -> Output {
        let traces = self.path().join("traces");
        let child = self.command().arg("--trace").arg(traces).spawn();
        end(child.unwrap())
    }

    /// One process of a run that the test launches itself.
    fn rank(&self, rank: usize, size: usize) -> Child {
        let mut command = self.command();
        command.env(rank::RANK, rank.to_string());
        command.env(rank::SIZE, size.to_string());
        command.env(rank::JOB, "test").spawn().unwrap()
    }

    fn output(&self, rank: usize, name: &str) -> Option<String> {
        fs::read_to_string(self.path().join(format!("client{rank}_{name}"))).ok()
    }

    fn trace(&self, rank: usize) -> Vec<Entry> {
        let traces = self.path().join("traces");
        trace::read(&traces.join(trace::file_name(rank))).unwrap()
    }

    /// What is in the folder beside the inputs.
    fn left(&self) -> Vec<String> {
        let names = fs::read_dir(self.path()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with("in")).collect();
        names.sort();
        names
    }
}

/// Waits for a process; one that hangs is killed, and the test fails.
fn end(mut child: Child) -> Output {
    let deadline = Instant::now() + LIMIT;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            let output = child.wait_with_output().unwrap();
            panic!("it hangs: {output:?}");
        }
        std::thread::sleep(GLANCE);
    }
    child.wait_with_output().unwrap()
}

fn appears(path: &Path) {
    let deadline = Instant::now() + LIMIT;
    while !path.exists() {
        assert!(Instant::now() < deadline, "there is no {}", path.display());
        std::thread::sleep(GLANCE);
    }
}

/// Says a line to a tracker. The connection, and the first line of the answer.
fn say(address: SocketAddr, line: &str) -> (TcpStream, String) {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    client.write_all(format!("{line}\n").as_bytes()).unwrap();
    let mut answer = String::new();
    BufReader::new(&client).read_line(&mut answer).unwrap();
    (client, answer)
}

fn good(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn hashes(of: &str, count: usize) -> Vec<String> {
    let hash = |nth| format!("{of}{nth:0width$x}", width = HASH - of.len());
    (0..count).map(hash).collect()
}

/// One client owns more files than there are clients: a tracker that counts files would begin
/// before the last client has said what it owns.
#[test]
fn counts_files_instead_of_clients_at_start() {
    let run = Run::new();
    let contents: Vec<Vec<String>> = ["a", "b", "c", "d", "e"].map(|of| hashes(of, 3)).into();
    let late = hashes("f", 3);
    let names = ["a", "b", "c", "d", "e"];
    let owned = names.into_iter().zip(contents.iter().map(Vec::as_slice));
    run.client(1, &owned.collect::<Vec<_>>(), &["late"]);
    run.client(2, &[], &["a", "late"]);
    run.client(3, &[("late", &late)], &["e"]);
    good(&run.run());
    assert_eq!(run.output(2, "late").unwrap(), late.join("\n"));
    assert_eq!(run.output(1, "late").unwrap(), late.join("\n"));
    let told = |word: &str| {
        let entries = (1..=3).flat_map(|rank| run.trace(rank));
        let says =
            |entry: &Entry| matches!(&entry.event, Event::Told { line } if line.starts_with(word));
        let times = entries.filter(says).map(|entry| entry.at);
        times.collect::<Vec<u64>>()
    };
    let (offered, asked) = (told("batch_wait offered"), told("download_file"));
    assert_eq!((offered.len(), asked.len()), (3, 4));
    assert!(offered.iter().max() < asked.iter().min());
}

/// Who is connected first would give everything: pieces are tiny.
#[test]
fn all_segments_from_one_provider() {
    let run = Run::new();
    let content = hashes("a", 100);
    let owned: [Owned; 1] = [("file", &content)];
    run.client(1, &owned, &[]);
    run.client(2, &owned, &[]);
    run.client(3, &[], &["file"]);
    good(&run.run());
    assert_eq!(run.output(3, "file").unwrap(), content.join("\n"));
    let mut gave: BTreeMap<SocketAddr, u32> = BTreeMap::new();
    for entry in run.trace(3) {
        if let Event::Piece { from, .. } = entry.event {
            *gave.entry(from).or_default() += 1;
        }
    }
    assert_eq!(gave.values().sum::<u32>(), 100);
    assert!(gave.values().all(|given| *given <= 70), "{gave:?}");
}

#[test]
fn a_wanted_file_nobody_owns_hangs() {
    let run = Run::new();
    let content = hashes("a", 20);
    run.client(1, &[("file", &content)], &[]);
    run.client(2, &[], &["nobodys", "file"]);
    run.client(3, &[], &["file"]);
    let output = run.run();
    assert_eq!(output.status.code(), Some(1));
    let errors = errors(&output);
    assert!(
        errors.contains("client 2: nobody owns `nobodys`"),
        "{errors}"
    );
    assert!(errors.contains("1 of 3 clients failed"), "{errors}");
    // What somebody owns is there all the same.
    for rank in [2, 3] {
        assert_eq!(run.output(rank, "file").unwrap(), content.join("\n"));
    }
    assert_eq!(run.left(), ["client2_file", "client3_file", "traces"]);
}

/// Ten files, names of fifteen characters and a hundred hashes were the most.
#[test]
fn fixed_size_name_buffers() {
    let run = Run::new();
    let names: Vec<String> = (0..12)
        .map(|nth| format!("{nth:02}{}", "n".repeat(MAX_NAME - 2)))
        .collect();
    let content = hashes("a", 150);
    let owned: Vec<Owned> = names
        .iter()
        .map(|name| (name.as_str(), &*content))
        .collect();
    let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    run.client(1, &owned, &[]);
    run.client(2, &[], &wanted);
    good(&run.run());
    for name in &names {
        assert_eq!(run.output(2, name).unwrap(), content.join("\n"));
    }
}

/// The lowest rank decides, whoever was first; who is not used hears it, and gets the chosen one.
#[test]
fn equal_names_with_different_content_are_never_mixed() {
    let run = Run::new();
    let (mine, other) = (hashes("a", 30), hashes("b", 40));
    run.client(1, &[], &["file"]);
    run.client(2, &[("file", &mine)], &[]);
    run.client(3, &[("file", &other)], &[]);
    run.client(4, &[("file", &other)], &[]);
    let output = run.run();
    good(&output);
    assert_eq!(run.output(1, "file").unwrap(), mine.join("\n"));
    let errors = errors(&output);
    for rank in [3, 4] {
        let not_used = format!("client {rank}: its `file` is not used: client 2");
        assert!(errors.contains(&not_used), "{errors}");
    }
}

/// What lies where an output goes is of an earlier run.
#[test]
fn outputs_of_an_earlier_run_are_replaced() {
    let run = Run::new();
    let content = hashes("a", 3);
    run.client(1, &[("file", &content)], &[]);
    run.client(2, &[], &["file"]);
    fs::write(
        run.path().join("client2_file"),
        "something that is much longer".repeat(9),
    )
    .unwrap();
    good(&run.run());
    assert_eq!(run.output(2, "file").unwrap(), content.join("\n"));
    assert_eq!(run.left(), ["client2_file", "traces"]);
}

/// What a client owns lies where another one's output goes.
#[test]
fn an_output_replaces_an_input() {
    let run = Run::new();
    let owned = run.path().join("client1_b");
    fs::write(&owned, "all that there is").unwrap();
    run.client(1, &[], &["b"]);
    fs::write(run.path().join("in2.txt"), "1\nb @client1_b\n0\n").unwrap();
    let launched = run.run();
    let by_another = end(run.rank(0, 3));
    for output in [launched, by_another] {
        assert_eq!(output.status.code(), Some(1));
        let errors = errors(&output);
        assert!(errors.contains("in2.txt owns that file"), "{errors}");
    }
    assert_eq!(fs::read_to_string(&owned).unwrap(), "all that there is");
    assert_eq!(run.left(), ["client1_b"]);
}

/// What is there may be all that somebody has: nothing goes before the new one is there.
#[test]
fn outputs_are_removed_before_the_new_ones_are_there() {
    let run = Run::new();
    run.client(1, &[], &["nobodys"]);
    fs::write(run.path().join("client1_nobodys"), "old").unwrap();
    let output = run.run();
    assert_eq!(output.status.code(), Some(1));
    let errors = errors(&output);
    assert!(errors.contains("is not of this run"), "{errors}");
    assert_eq!(run.output(1, "nobodys").unwrap(), "old");
}

/// Nobody writes into it: to open it would wait for ever.
#[cfg(unix)]
#[test]
fn a_pipe_in_place_of_an_input_hangs() {
    let run = Run::new();
    run.client(1, &[], &[]);
    let pipe = run.path().join("in2.txt");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let output = run.run();
    assert_eq!(output.status.code(), Some(1));
    let errors = errors(&output);
    assert!(errors.contains("in2.txt is no file"), "{errors}");
}

/// A client joins and dies. The others end with an error that names it, and leave nothing.
#[test]
fn a_client_that_dies_ends_the_run() {
    let run = Run::new();
    let content = hashes("a", 30);
    run.client(1, &[("file", &content)], &["other"]);
    let tracker = run.rank(0, 3);
    let sign = run.path().join(scratch::name("test", "tracker"));
    appears(&sign);
    let text = fs::read_to_string(&sign).unwrap();
    let (address, word) = text.split_once(' ').unwrap();
    let address: SocketAddr = address.parse().unwrap();
    let (doomed, answer) = say(address, &format!("batch_join 2 {word}"));
    assert_eq!(answer.trim(), "OK");
    let client = run.rank(1, 3);
    // Who comes after the end may find nobody.
    appears(&run.path().join(scratch::name("test", "1")));
    drop(doomed);
    for process in [client, tracker] {
        let output = end(process);
        assert_eq!(output.status.code(), Some(1));
        let errors = errors(&output);
        assert!(errors.contains("client with rank 2 has gone"), "{errors}");
    }
    assert_eq!(run.left(), Vec::<String>::new());
}

/// The job's name is in the folder and in the launcher's environment. It is not enough to join.
#[test]
fn strangers_join_with_the_job_s_name() {
    let run = Run::new();
    let content = hashes("a", 30);
    run.client(1, &[("file", &content)], &[]);
    run.client(2, &[], &["file"]);
    let tracker = run.rank(0, 3);
    let sign = run.path().join(scratch::name("test", "tracker"));
    appears(&sign);
    #[cfg(unix)]
    {
        let mode = fs::metadata(&sign).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&mode.permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
    let text = fs::read_to_string(&sign).unwrap();
    let address: SocketAddr = text.split_once(' ').unwrap().0.parse().unwrap();
    for line in ["batch_join 1 test", "batch_join 1 test+"] {
        let (_, answer) = say(address, line);
        assert!(answer.starts_with("ERR bad_request"), "{answer}");
    }
    let clients = [run.rank(1, 3), run.rank(2, 3)];
    let processes = clients.into_iter().chain([tracker]);
    processes.for_each(|process| good(&end(process)));
    assert_eq!(run.output(2, "file").unwrap(), content.join("\n"));
}

/// A run of the same name was killed, and where its tracker was somebody else is now, or nobody.
#[test]
fn the_address_of_an_earlier_tracker_misleads_nobody() {
    let run = Run::new();
    let content = hashes("a", 30);
    run.client(1, &[("file", &content)], &[]);
    run.client(2, &[], &["file"]);
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = gone.local_addr().unwrap().to_string();
    drop(gone);
    let sign = format!("{nobody} test+5d");
    fs::write(run.path().join(scratch::name("test", "tracker")), sign).unwrap();
    let clients = [run.rank(1, 3), run.rank(2, 3)];
    let tracker = run.rank(0, 3);
    clients
        .into_iter()
        .chain([tracker])
        .for_each(|process| good(&end(process)));
    assert_eq!(run.output(2, "file").unwrap(), content.join("\n"));
    assert_eq!(run.left(), ["client2_file"]);
}

/// What only a batch run has, an ordinary tracker does not pretend to have.
#[test]
fn other_trackers_run_no_batch() {
    let ordinary = Config::new("127.0.0.1:0".parse().unwrap());
    let plan = Plan {
        clients: 2,
        job: "mine".into(),
        witness: None,
    };
    let batch = Config {
        batch: Some(plan),
        ..ordinary.clone()
    };
    let offer = format!("batch_offer file {}", "5d".repeat(20));
    let talks = [
        (
            ordinary,
            "batch_join 1 mine",
            "ERR bad_request This tracker runs no batch",
        ),
        (
            batch.clone(),
            "batch_join 1 other",
            "ERR bad_request This tracker runs another batch",
        ),
        (
            batch.clone(),
            "batch_join 3 mine",
            "ERR conflict rank 3 is not in this run",
        ),
        (
            batch.clone(),
            &offer,
            "ERR bad_request Join the batch run first",
        ),
        (
            batch.clone(),
            "batch_wait offered",
            "ERR bad_request Join the batch run first",
        ),
        (batch, "batch_join 1 mine", "OK"),
    ];
    for (config, line, expected) in talks {
        let tracker = Tracker::start(config).unwrap();
        let (_, answer) = say(tracker.local_addr(), line);
        assert!(answer.starts_with(expected), "{line}: {answer}");
    }
}
