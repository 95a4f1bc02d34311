//! Proves that what people read about groups, folders, the menu, and files that they ask for is what
//! happens: transcripts of several people at their prompts are typed into real processes, and every
//! line that comes back is compared.
//! `tests/support/player.rs` says how a transcript is written.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::peers::{free_port, watchdog};
#[cfg(unix)]
use crate::support::player::at_a_terminal;
use crate::support::player::{self, at_a_pipe, matches};
use crate::support::seats::Seat;

/// A tracker process.
struct TrackerProcess {
    child: Child,
}

impl Drop for TrackerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a tracker in `folder` and returns its line of tracker_info.txt.
fn start_tracker(folder: &Path, tls: bool) -> (TrackerProcess, String) {
    fs::create_dir_all(folder).unwrap();
    let info = folder.join("tracker_info.txt");
    let mut line = free_port().to_string();
    fs::write(&info, &line).unwrap();
    let command = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tracker"));
        command.current_dir(folder).env_remove("RUST_LOG");
        command
    };
    if tls {
        let key = command().arg("--key").output().unwrap();
        assert!(key.status.success(), "{key:?}");
        line = String::from_utf8(key.stdout).unwrap().trim().to_string();
        fs::write(&info, &line).unwrap();
    }
    let mut child = command()
        .arg("--no-prompt")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 9];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
    assert_eq!(&said, b"listening");
    (TrackerProcess { child }, line)
}

/// Plays a transcript with a new tracker.
fn play(name: &str, tls: bool, sit: fn(Command) -> Box<dyn Seat>) {
    let _watchdog = watchdog(Duration::from_secs(180), "a transcript");
    let temp = tempfile::tempdir().unwrap();
    let (_tracker, line) = start_tracker(temp.path(), tls);
    player::play(name, &line, sit, &[]);
}

#[test]
fn the_life_of_two_groups() {
    play("groups.txt", false, at_a_pipe);
}

#[test]
fn the_life_of_two_groups_inside_tls() {
    play("groups.txt", true, at_a_pipe);
}

#[cfg(unix)]
#[test]
fn the_life_of_two_groups_typed_at_terminals() {
    play("groups.txt", true, at_a_terminal);
}

#[cfg(unix)]
#[test]
fn passwords_are_asked_for_and_not_shown() {
    play("passwords.txt", false, at_a_terminal);
}

#[test]
fn a_folder_that_is_shared_as_it_stands() {
    play("folders.txt", false, at_a_pipe);
}

#[test]
fn two_seeds_and_a_download_by_the_menu() {
    play("menu.txt", false, at_a_pipe);
}

#[cfg(unix)]
#[test]
fn two_seeds_and_a_download_by_the_menu_at_terminals() {
    play("menu.txt", false, at_a_terminal);
}

#[test]
fn the_tracker_asks_the_peers() {
    play("asking.txt", false, at_a_pipe);
}

#[test]
fn the_tracker_asks_the_peers_inside_tls() {
    play("asking.txt", true, at_a_pipe);
}

#[test]
fn patterns_match_what_they_should() {
    for (pattern, line, expect) in [
        ("abc", "abc", true),
        ("abc", "abcd", false),
        ("a…c", "abbbc", true),
        ("a…c", "ac", true),
        ("a…c", "abcd", false),
        ("…x…y", "axbxcy", true),
        ("…", "", true),
        ("a…", "b", false),
    ] {
        assert_eq!(matches(pattern, line), expect, "{pattern} {line}");
    }
}
