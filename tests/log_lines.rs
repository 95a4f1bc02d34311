//! Proves that the log of both programs is lines of one form, whatever happens to them, and that no
//! password is in it.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::peers::{Place, Program, any_port, free_port, make_file, wait_until, watchdog};
#[cfg(unix)]
use crate::support::seats::{Seat, Terminal};

const LEVELS: [&str; 5] = ["DEBUG", "INFO", "WARNING", "ERROR", "FATAL"];
const PASSWORDS: [&str; 2] = ["wonderland", "looking-glass"];
const LOG: &str = "log.txt";
const SOON: Duration = Duration::from_secs(30);

/// A tracker process with its files in `folder`, where its log goes, too.
fn tracker(folder: &Path, at: SocketAddr, more: &[&str]) -> Command {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("tracker_info.txt"), format!("{at}\n")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracker"));
    command.current_dir(folder).args(["--log-file", LOG]);
    command.args(more).env_remove("RUST_LOG");
    command
}

/// What stands in the log, by level; each line is of the one form.
fn read_log(folder: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(folder.join(LOG)).unwrap_or_default();
    for password in PASSWORDS {
        assert!(!text.contains(password), "{password} in the log:\n{text}");
    }
    text.lines().map(parse).collect()
}

fn parse(line: &str) -> (String, String) {
    let parts = || {
        let (time, rest) = line.strip_prefix('[')?.split_once("] [")?;
        let (level, text) = rest.split_once("] ")?;
        let shape: String = time
            .chars()
            .map(|c| if c.is_ascii_digit() { '9' } else { c })
            .collect();
        let good = shape == "9999-99-99 99:99:99" && LEVELS.contains(&level) && !text.is_empty();
        good.then(|| (level.to_string(), text.to_string()))
    };
    parts().unwrap_or_else(|| panic!("not a line of a log: {line}"))
}

fn has(log: &[(String, String)], level: &str, part: &str) -> bool {
    log.iter()
        .any(|(l, text)| l == level && text.contains(part))
}

/// Runs to its end, and fails. Returns what it said.
fn fails(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn every_line_of_a_busy_day_has_the_form() {
    let _watchdog = watchdog(Duration::from_secs(120), "a busy day");
    let temp = tempfile::tempdir().unwrap();
    let (at, home) = (free_port(), temp.path().join("tracker"));
    let mut command = tracker(&home, at, &["--connections-per-address", "8"]);
    let tracker = Program::start({
        command.env("RUST_LOG", "trace").arg("--no-prompt");
        command
    });
    tracker.line_with("listening on");

    let place = Place::new(temp.path(), "alice", &[at]);
    let file = make_file(&place.folder, "notes.txt", 3_000);
    let mut command = place.command(&["--log-file", LOG]);
    command.env("RUST_LOG", "trace");
    let mut alice = Program::start(command);
    alice.line_with("listening on");
    for line in [
        "create_user alice wonderland",
        "login alice wrong-wonderland",
        "login alice wonderland",
        "passwd wonderland looking-glass",
        "create_group cs101",
        "logn alice looking-glass",
    ] {
        alice.type_line(line);
    }
    alice.line_with("Group created");
    // Nothing can be remembered there any more. On Windows a folder with an open file stays.
    let state_is_gone = cfg!(unix);
    if state_is_gone {
        fs::remove_dir_all(place.download().join(".mini-bittorrent")).unwrap();
    }
    alice.type_line(&format!("upload_file {}", file.display()));
    alice.line_with("File uploaded");
    wait_until("the peer's log tells of the disk", || {
        !state_is_gone || has(&read_log(&place.folder), "ERROR", "could not be saved")
    });
    let calls: Vec<_> = (0..12).map(|_| TcpStream::connect(at).unwrap()).collect();
    wait_until("the tracker's log tells of the crowd", || {
        has(&read_log(&home), "WARNING", "is refused")
    });
    drop(calls);
    let log = read_log(&place.folder);
    assert!(has(&log, "DEBUG", "hop: prompt: login alice"), "{log:#?}");
    assert!(has(
        &read_log(&home),
        "INFO",
        "notes.txt is shared in public"
    ));
    alice.close_stdin();
    alice.ended(SOON);
    // The screen's lines are the same.
    let said = alice.said();
    let lines: Vec<_> = said.lines().filter(|line| line.starts_with('[')).collect();
    assert!(lines.len() > 5, "{said}");
    lines.into_iter().for_each(|line| drop(parse(line)));
}

#[test]
fn what_ends_a_program_is_fatal_and_in_the_file() {
    let _watchdog = watchdog(Duration::from_secs(60), "fatal ends");
    let temp = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind(any_port()).unwrap();
    let mut place = Place::new(temp.path(), "peer", &[free_port()]);
    place.listen = listener.local_addr().unwrap();
    let said = fails(place.command(&["--log-file", LOG, "--no-prompt"]));
    let taken = format!("port {} is taken", place.listen.port());
    assert!(said.starts_with(&taken), "{said}");
    assert!(has(&read_log(&place.folder), "FATAL", &taken));

    let damaged = temp.path().join("damaged");
    fs::create_dir_all(&damaged).unwrap();
    let database = damaged.join("tracker-1.db");
    fs::write(
        &database,
        "no database at all, and long enough for that".repeat(100),
    )
    .unwrap();
    for times in 1..=2 {
        let mut command = tracker(&damaged, free_port(), &[]);
        command.env("RUST_LOG", "off");
        let said = fails(command);
        assert!(said.contains("tracker-1.db"), "{said}");
        // The file is added to.
        let log = read_log(&damaged);
        assert_eq!(log.len(), times, "{log:#?}");
        assert!(has(&log, "FATAL", "tracker-1.db"), "{log:#?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_log_file_that_cannot_be_written_is_told_once() {
    let _watchdog = watchdog(Duration::from_secs(60), "a full disk");
    let temp = tempfile::tempdir().unwrap();
    let nowhere = Path::new("no/such/folder/log.txt");
    for file in [Path::new("/dev/full"), nowhere] {
        let mut place = Place::new(temp.path(), "peer", &[free_port()]);
        place.listen = any_port();
        let file = file.display().to_string();
        let mut command = place.command(&["--log-file", &file, "-c", "list_files; info; whoami"]);
        command.env("RUST_LOG", "trace");
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let told = format!("the log file {file} cannot be written");
        assert_eq!(said.matches(&told).count(), 1, "{said}");
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains("Current status"), "{said}");
    }
}

/// The library behind the prompt logs each key.
#[cfg(unix)]
#[test]
fn a_password_typed_at_a_terminal_is_in_no_log() {
    let _watchdog = watchdog(Duration::from_secs(60), "a password");
    let temp = tempfile::tempdir().unwrap();
    let at = free_port();
    let tracker = Program::start(tracker(&temp.path().join("tracker"), at, &["--no-prompt"]));
    tracker.line_with("listening on");
    let place = Place::new(temp.path(), "alice", &[at]);
    let mut command = place.command(&["--log-file", LOG]);
    // Not the others: they would fill the screen.
    command.env("RUST_LOG", "rustyline=trace,hop=off,warn");
    let mut alice = Terminal::start(command);
    let said = alice.run("create_user alice wonderland", &[]);
    assert!(
        said.iter().any(|line| line.contains("User created!")),
        "{said:?}"
    );
    let log = fs::read_to_string(place.folder.join(LOG)).unwrap();
    assert_eq!(log, "");
}
