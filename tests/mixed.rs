//! Proves that the programs of Linux and those of Windows are trackers and peers of each other, on real
//! sockets: everybody's files and a group's, in both directions, with and without TLS.
//!
//! It needs the programs of Windows and Wine: `make test-mixed` runs it.
#![cfg(target_os = "linux")]

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::peers::{Program, any_port, free_port, make_file, say, sha256, watchdog};

const LIMIT: Duration = Duration::from_secs(180);
const SIZE: usize = 3_000_000;
const GROUP: &str = "cs101";
/// All that one system may do to another's names is done to these, too.
const EVERYBODYS: [&str; 2] = ["für alle ☃.bin", "plain.bin"];
const GROUPS: [&str; 2] = ["for us.bin", "nur für uns.bin"];

#[derive(Clone, Copy, PartialEq, Debug)]
enum System {
    Linux,
    Windows,
}
use System::{Linux, Windows};

/// Wine, and the folder of Windows' programs, if we are told.
fn windows() -> Option<[PathBuf; 2]> {
    let said = |name| env::var_os(name).map(PathBuf::from);
    Some([said("MINI_WINE")?, said("MINI_WINDOWS_PROGRAMS")?])
}

impl System {
    fn command(self, program: &str) -> Command {
        match (self, program) {
            (Linux, "tracker") => Command::new(env!("CARGO_BIN_EXE_tracker")),
            (Linux, _) => Command::new(env!("CARGO_BIN_EXE_peer")),
            (Windows, _) => {
                let [wine, folder] = windows().unwrap();
                let mut command = Command::new(wine);
                command.arg(folder.join(format!("{program}.exe")));
                command
            }
        }
    }
}

/// A tracker process; and the line for everybody's tracker_info.txt, with its key if it is to be
/// spoken to in TLS.
fn start_tracker(system: System, folder: &Path, tls: bool) -> (Program, String) {
    fs::create_dir_all(folder).unwrap();
    let info = folder.join("tracker_info.txt");
    let mut line = free_port().to_string();
    fs::write(&info, &line).unwrap();
    let command = |more: &str| {
        let mut command = system.command("tracker");
        command.current_dir(folder).arg(more).env_remove("RUST_LOG");
        command
    };
    if tls {
        let told = command("--key").output().unwrap();
        line = String::from_utf8(told.stdout).unwrap().trim().to_string();
        assert!(line.contains(' '), "no key in {line:?}");
        fs::write(&info, &line).unwrap();
    }
    let tracker = Program::start(command("--no-prompt"));
    tracker.line_with("listening on");
    (tracker, line)
}

struct Member {
    name: String,
    folder: PathBuf,
    program: Program,
}

impl Member {
    /// A peer process that is logged in.
    fn start(system: System, number: usize, temp: &Path, line: &str) -> Member {
        let name = format!("{system:?}{number}").to_lowercase();
        let folder = temp.join(&name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("tracker_info.txt"), line).unwrap();
        let mut command = system.command("peer");
        let listen: SocketAddr = any_port();
        command
            .current_dir(&folder)
            .args([&listen.to_string(), "tracker_info.txt"])
            .env_remove("RUST_LOG");
        let program = Program::start(command);
        program.line_with("listening on");
        let mut member = Member {
            name,
            folder,
            program,
        };
        let name = member.name.clone();
        member.expect(&format!("create_user {name} secret"), "User created!");
        member.expect(&format!("login {name} secret"), "Logged in");
        member
    }

    fn expect(&mut self, command: &str, answer: &str) {
        self.program.type_line(command);
        self.program.line_with(answer);
    }

    fn share(&mut self, group: &str, name: &str) -> PathBuf {
        let file = make_file(&self.folder, name, SIZE);
        let command = format!("upload_file {group} \"{name}\"");
        self.expect(&command, "File uploaded successfully");
        file
    }

    fn fetch(&mut self, group: &str, name: &str, original: &Path) {
        let command = format!("download_file {group} \"{name}\"");
        self.expect(&command, &format!("{name} is complete"));
        let got = self.folder.join("download").join(name);
        assert_eq!(sha256(&got), sha256(original), "{}: {name}", self.name);
    }

    fn quit(mut self) {
        self.program.type_line("quit");
        assert!(self.program.ended(Duration::from_secs(20)).success());
    }
}

fn a_swarm(tracker: System, tls: bool) {
    if windows().is_none() {
        say("SKIPPED a mixed swarm: it needs programs of Windows. Run: make test-mixed\n");
        return;
    }
    let _watchdog = watchdog(LIMIT, "a mixed swarm");
    let temp = tempfile::tempdir().unwrap();
    let (_tracker, line) = start_tracker(tracker, &temp.path().join("tracker"), tls);
    let mut members: Vec<Member> = [Linux, Windows, Linux, Windows]
        .into_iter()
        .enumerate()
        .map(|(i, system)| Member::start(system, i, temp.path(), &line))
        .collect();
    let names: Vec<String> = members.iter().map(|it| it.name.clone()).collect();
    members[0].expect(&format!("create_group {GROUP}"), "Group created");
    for i in 1..members.len() {
        members[i].expect(
            &format!("join_group {GROUP}"),
            "Join request made successfully",
        );
        let accept = format!("accept_request {GROUP} {}", names[i]);
        members[0].expect(&accept, "User accepted");
    }
    for (group, files) in [("", EVERYBODYS), (GROUP, GROUPS)] {
        // The first of Linux, and the first of Windows.
        for (holder, name) in files.into_iter().enumerate() {
            let original = members[holder].share(group, name);
            for (i, member) in members.iter_mut().enumerate() {
                if i != holder {
                    member.fetch(group, name, &original);
                }
            }
        }
    }
    members.into_iter().for_each(Member::quit);
}

#[test]
fn under_a_tracker_of_linux() {
    a_swarm(Linux, false);
}

#[test]
fn under_a_tracker_of_windows() {
    a_swarm(Windows, false);
}

#[test]
fn under_a_tracker_of_linux_in_tls() {
    a_swarm(Linux, true);
}

#[test]
fn under_a_tracker_of_windows_in_tls() {
    a_swarm(Windows, true);
}
