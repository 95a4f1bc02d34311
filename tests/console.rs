//! Proves that people get clean text wherever they read it, and may write theirs in any editor: no
//! escape codes go into pipes or to terminals that know none, files are read as Windows saves them,
//! and a port that is taken is called so.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::support::peers::{PATIENCE, Place, Program, make_file, start_tracker, watchdog};

const ESCAPE: char = '\u{1b}';

#[test]
fn no_escape_codes_go_into_a_pipe() {
    let _watchdog = watchdog(Duration::from_secs(60), "a pipe");
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let seed = Place::new(temp.path(), "seed", &[tracker.local_addr()]);
    // A bar is drawn for what takes long, and for downloads.
    make_file(&seed.folder, "ü ☃.bin", 20 << 20);
    let mut seeding = seed.start(&[]);
    seeding.type_line("upload_file \"ü ☃.bin\"");
    seeding.line_with("ü ☃.bin (21.0 MB) is shared");
    let getter = Place::new(temp.path(), "getter", &[tracker.local_addr()]);
    let commands = "list_files; download_file \"ü ☃.bin\"; progress; wait; help; nonsense";
    let mut getting = getter.start(&["-c", commands]);
    getting.ended(PATIENCE);
    assert!(getter.download().join("ü ☃.bin").exists());
    for said in [seeding.said(), getting.said()] {
        assert!(!said.contains(ESCAPE), "{said}");
    }
}

/// A file of text in UTF-16, as `>` makes it in the PowerShell of Windows.
fn powershell_saves(text: &str) -> Vec<u8> {
    let units = std::iter::once(0xfeff).chain(text.encode_utf16());
    units.flat_map(u16::to_le_bytes).collect()
}

#[test]
fn files_and_scripts_are_read_as_windows_saves_them() {
    let _watchdog = watchdog(Duration::from_secs(60), "text of Windows");
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let line = format!("{}\r\n", tracker.local_addr());
    for (nth, info) in [
        powershell_saves(&line),
        format!("\u{feff}{line}").into_bytes(),
        line.clone().into_bytes(),
    ]
    .into_iter()
    .enumerate()
    {
        let place = Place::new(temp.path(), &nth.to_string(), &[]);
        fs::write(place.folder.join("tracker_info.txt"), info).unwrap();
        let mut peer = place.start(&[]);
        peer.type_line("\u{feff}list_files\r");
        peer.line_with("No files in the group at this time");
        peer.type_line("quit\r");
        let status = peer.ended(PATIENCE);
        assert!(status.success(), "{}", peer.said());
    }
}

/// The rest of a script was left out without a word, and the program was content.
#[test]
fn a_script_in_another_encoding_is_no_success() {
    let _watchdog = watchdog(Duration::from_secs(60), "a script");
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let place = Place::new(temp.path(), "peer", &[tracker.local_addr()]);
    let mut peer = place.start(&[]);
    // As cmd.exe pipes an umlaut.
    peer.type_bytes(b"list_files\r\nupload_file \x84.txt\r\n");
    peer.line_with("standard input cannot be read");
    assert_eq!(peer.ended(PATIENCE).code(), Some(1));
}

#[test]
fn a_port_that_is_taken_is_called_so() {
    let _watchdog = watchdog(Duration::from_secs(60), "a taken port");
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let at = tracker.local_addr();
    let expect = format!("port {} is taken: is a tracker or peer running", at.port());
    let mut place = Place::new(temp.path(), "place", &[at]);
    place.listen = at;
    let mut programs = [
        place.command(&["--no-prompt"]),
        Command::new(env!("CARGO_BIN_EXE_tracker")),
    ];
    programs[1].current_dir(&place.folder).arg("--no-prompt");
    for command in programs {
        let mut program = Program::start(command);
        assert_eq!(program.ended(PATIENCE).code(), Some(1));
        program.line_with(&expect);
    }
}

/// What a peer sends to a terminal that says so of itself, while these lines are typed.
#[cfg(unix)]
fn at_a_terminal(settings: &[(&str, &str)], lines: &[&str]) -> String {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::process::Stdio;
    use std::sync::mpsc;
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let place = Place::new(temp.path(), "peer", &[tracker.local_addr()]);
    make_file(&place.folder, "file.bin", 20 << 20);
    let ends = nix::pty::openpty(None, None).unwrap();
    let mut command = place.command(&[]);
    command
        .envs(settings.iter().copied())
        .stdin(Stdio::from(ends.slave.try_clone().unwrap()))
        .stdout(Stdio::from(ends.slave.try_clone().unwrap()))
        .stderr(Stdio::from(ends.slave));
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut keys = File::from(ends.master);
    let mut screen = keys.try_clone().unwrap();
    let (send, pieces) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(got @ 1..) = screen.read(&mut buffer) {
            let _ = send.send(buffer[..got].to_vec());
        }
    });
    let mut shown = Vec::new();
    let (mut prompts, mut lines) = (0, lines.iter());
    // The terminal's own end may be late: other tests' programs may have inherited it.
    let status = loop {
        let ended = child.try_wait().unwrap();
        while let Ok(piece) = pieces.recv_timeout(Duration::from_millis(50)) {
            shown.extend(piece);
            let seen = String::from_utf8_lossy(&shown).matches("peer> ").count();
            if seen > prompts {
                prompts = seen;
                if let Some(line) = lines.next() {
                    keys.write_all(format!("{line}\r").as_bytes()).unwrap();
                }
            }
        }
        if let Some(status) = ended {
            break status;
        }
    };
    let shown = String::from_utf8_lossy(&shown).into_owned();
    assert!(status.success(), "{shown}");
    shown
}

/// The terminal was refused, and the program ended: "ENOTTY: Not a typewriter".
#[cfg(unix)]
#[test]
fn a_dumb_terminal_has_a_prompt_and_no_escape_codes() {
    let _watchdog = watchdog(Duration::from_secs(60), "a dumb terminal");
    let lines = ["upload_file file.bin", "progress", "wait", "quit"];
    let shown = at_a_terminal(&[("TERM", "dumb")], &lines);
    assert!(shown.contains("file.bin (21.0 MB) is shared"), "{shown}");
    assert!(!shown.contains(ESCAPE), "{shown:?}");
}

#[cfg(unix)]
#[test]
fn hints_are_dim_unless_no_colour_is_wanted() {
    let _watchdog = watchdog(Duration::from_secs(60), "colours");
    let dim = format!("{ESCAPE}[2m");
    // The hint of the first line is shown when its blank is typed.
    let lines = ["pause ", "quit"];
    let xterm = ("TERM", "xterm-256color");
    let shown = at_a_terminal(&[xterm, ("NO_COLOR", "")], &lines);
    assert!(shown.contains(&dim), "{shown:?}");
    let shown = at_a_terminal(&[xterm, ("NO_COLOR", "1")], &lines);
    assert!(!shown.contains(&dim), "{shown:?}");
}
