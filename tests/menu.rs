//! Proves what the menu promises beside its transcript: a file whose SHA-256 is not the published
//! one never gets its name, the published one outlives restarts, one chosen source is the only
//! one, and every way out of the menu leads where it should.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use mini_bittorrent::control::names::{FileName, GroupName};
use mini_bittorrent::control::reply::Download;
use mini_bittorrent::control::request::Request;
use mini_bittorrent::peer::hashing::make::{Wish, make_torrent};
use mini_bittorrent::shell::peer_shell::PeerShell;
use mini_bittorrent::shell::sharing::{self, Publish, UPLOADED};
use mini_bittorrent::storage::resume::Share;
use mini_bittorrent::torrent::id::FileHash;
use mini_bittorrent::tracker::{Config, Tracker};

use crate::support::peers::{
    PATIENCE, Place, Program, make_file, sha256, start_peer, start_tracker, view, wait_until,
    watchdog,
};

const SIZE: usize = 3 << 20;

fn published(shell: &mut PeerShell, name: &str) -> Option<FileHash> {
    let request = Request::DownloadFile {
        group: GroupName::public(),
        name: name.parse().unwrap(),
    };
    let reply = shell.link.request(&request).ok()?;
    Download::from_reply(reply).ok()?.1
}

fn seed_by_menu(shell: &mut PeerShell, file: &Path) -> String {
    let public = GroupName::public();
    sharing::share(shell, file, public, Publish::TorrentAndSha256).unwrap()
}

/// Types the lines at a pipe.
fn type_lines(program: &mut Program, lines: &[&str]) {
    lines.iter().for_each(|line| program.type_line(line));
}

/// Shares a file with a SHA-256 that is not its own.
fn lie(shell: &mut PeerShell, file: &Path) {
    let (done, made) = mpsc::channel();
    let on_done = move |result| drop(done.send(result));
    let open = shell.peer.open_files.clone();
    make_torrent(&shell.peer.pool, open, file, Wish::default(), on_done).unwrap();
    let made = made.recv_timeout(PATIENCE).unwrap().unwrap();
    let name: FileName = made.metainfo.name().parse().unwrap();
    let share = Share {
        group: GroupName::public(),
        name,
        users: Vec::new(),
        sha256: Some(FileHash([0xab; 32])),
        listed: true,
    };
    let metainfo = Arc::new(made.metainfo);
    let name = metainfo.name().to_string();
    shell
        .peer
        .seed(metainfo, made.storage, Some(share), None)
        .unwrap();
    wait_until("the lie is published", || {
        published(shell, &name) == Some(FileHash([0xab; 32]))
    });
}

fn says_that_it_is_wrong(said: &str, file: &Path, place: &Place) {
    let (is, said_to_be) = (sha256(file), "ab".repeat(32));
    let loud = format!("THE SHA-256 IS WRONG: it is {is}, and {said_to_be} was published");
    assert!(said.contains(&loud), "{said}");
    assert!(!said.contains("are right"), "{said}");
    let name = place.download().join("film.bin");
    let part = place.download().join("film.bin.part");
    assert!(!name.exists(), "broken output has the real name");
    assert!(part.exists(), "what came is kept");
    let (said_name, part) = (said.matches(&part.display().to_string()).count(), part);
    assert!(said_name > 0, "{} is not named:\n{said}", part.display());
}

/// The menu that this one takes after left a file whose checksum was wrong in place, as if it were
/// good. Its checksum ignored the end of a file, too: here the lie is found by every byte.
#[test]
fn broken_output_is_left_in_place() {
    let _watchdog = watchdog(Duration::from_secs(120), "a wrong SHA-256");
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let at = tracker.local_addr();
    let file = make_file(temp.path(), "film.bin", SIZE);
    let mut liar = start_peer(&[at], &temp.path().join("liar"));
    lie(&mut liar, &file);

    let place = Place::new(temp.path(), "menu", &[at]);
    let mut program = place.start(&["--menu"]);
    type_lines(&mut program, &["2", "film.bin", "", "", "3"]);
    assert!(!program.ended(PATIENCE).success(), "{}", program.said());
    says_that_it_is_wrong(&program.said(), &file, &place);

    // The next run says it again: nothing makes it a complete file.
    let mut again = place.start(&["-c", "wait"]);
    assert!(!again.ended(PATIENCE).success(), "{}", again.said());
    says_that_it_is_wrong(&again.said(), &file, &place);

    // The same for who downloads by the command.
    let place = Place::new(temp.path(), "command", &[at]);
    let mut program = place.start(&["-c", "download_file film.bin; wait"]);
    assert!(!program.ended(PATIENCE).success(), "{}", program.said());
    says_that_it_is_wrong(&program.said(), &file, &place);

    // What was in its place before, and is the same, is not moved away: but nobody gets it from us.
    let place = Place::new(temp.path(), "there", &[at]);
    let there = make_file(&place.download(), "film.bin", SIZE);
    let mut program = place.start(&[]);
    let lines = ["menu", "2", "film.bin", "", "", "3", "show_downloads"];
    type_lines(&mut program, &lines);
    program.close_stdin();
    assert!(!program.ended(PATIENCE).success(), "{}", program.said());
    let said = program.said();
    assert!(said.contains("THE SHA-256 IS WRONG"), "{said}");
    assert!(said.contains("No downloads and no shares"), "{said}");
    assert!(there.exists());
}

#[test]
fn another_sha256_of_the_same_torrent_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let at = tracker.local_addr();
    let file = make_file(temp.path(), "film.bin", SIZE);
    let mut liar = start_peer(&[at], &temp.path().join("liar"));
    lie(&mut liar, &file);
    let mut honest = start_peer(&[at], &temp.path().join("honest"));
    let public = GroupName::public();
    let shared = sharing::share(&mut honest, &file, public, Publish::TorrentAndSha256);
    let refused = shared.unwrap_err().to_string();
    let expect = format!(
        "was said to be {}; you say {}",
        "ab".repeat(32),
        sha256(&file)
    );
    assert!(refused.contains(&expect), "{refused}");
}

#[test]
fn the_sha256_outlives_restarts_of_seed_and_tracker() {
    let _watchdog = watchdog(Duration::from_secs(120), "restarts");
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let at = tracker.local_addr();
    let file = make_file(temp.path(), "film.bin", SIZE);
    let expect: FileHash = sha256(&file).parse().unwrap();
    let mut seed = start_peer(&[at], &temp.path().join("seed"));
    let said = seed_by_menu(&mut seed, &file);
    assert!(
        said.starts_with(UPLOADED) && said.contains(&sha256(&file)),
        "{said}"
    );
    assert_eq!(published(&mut seed, "film.bin"), Some(expect));
    // Of what has several files there is none.
    let folder = temp.path().join("folder");
    make_file(&folder, "one", 10);
    make_file(&folder, "two", 10);
    seed_by_menu(&mut seed, &folder);
    assert_eq!(published(&mut seed, "folder"), None);

    let mut getter = start_peer(&[at], &temp.path().join("getter"));
    getter.run("download_file film.bin").unwrap();
    wait_until("the download", || view(&getter).finished);
    drop((seed, getter, tracker));
    // A tracker that knows nothing hears it from each of them.
    for who in ["seed", "getter"] {
        let _tracker = Tracker::start(Config::new(at)).unwrap();
        let mut peer = start_peer(&[at], &temp.path().join(who));
        wait_until(&format!("{who} tells it again"), || {
            published(&mut peer, "film.bin") == Some(expect)
        });
    }
}

#[test]
fn the_chosen_source_is_the_only_one() {
    let _watchdog = watchdog(Duration::from_secs(120), "one source");
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let at = tracker.local_addr();
    let file = make_file(temp.path(), "film.bin", SIZE);
    let [mut chosen, mut other] =
        ["chosen", "other"].map(|name| start_peer(&[at], &temp.path().join(name)));
    seed_by_menu(&mut chosen, &file);
    seed_by_menu(&mut other, &file);
    let place = Place::new(temp.path(), "getter", &[at]);
    let mut program = place.start(&["--menu"]);
    let source = chosen.peer.local_addr().to_string();
    type_lines(&mut program, &["2", "film.bin", "", &source, "3"]);
    assert!(program.ended(PATIENCE).success(), "{}", program.said());
    assert_eq!(sha256(&place.download().join("film.bin")), sha256(&file));
    assert_eq!(view(&other).uploaded, 0);
    assert_eq!(view(&chosen).uploaded, SIZE as u64);
}

/// Such as by `upload_file`, or because it lies in the watched upload folder.
#[test]
fn what_is_shared_already_gets_its_sha256_by_the_menu() {
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let at = tracker.local_addr();
    let file = make_file(temp.path(), "film.bin", SIZE);
    let expect: FileHash = sha256(&file).parse().unwrap();
    let folder = temp.path().join("seed");
    let mut seed = start_peer(&[at], &folder);
    seed.run(&format!("upload_file {}", file.display()))
        .unwrap();
    assert_eq!(published(&mut seed, "film.bin"), None);
    let said = seed_by_menu(&mut seed, &file);
    assert!(said.contains(&sha256(&file)), "{said}");
    assert_eq!(published(&mut seed, "film.bin"), Some(expect));
    let again = seed_by_menu(&mut seed, &file);
    assert!(again.contains("is shared already"), "{again}");
    drop((seed, tracker));
    let _tracker = Tracker::start(Config::new(at)).unwrap();
    let mut seed = start_peer(&[at], &folder);
    wait_until("it is told again after a restart", || {
        published(&mut seed, "film.bin") == Some(expect)
    });
}

/// A program with the menu at a pipe, and where its own files are.
fn at_the_menu(temp: &Path, more: &[&str]) -> (Program, PathBuf, Tracker) {
    let tracker = start_tracker();
    let place = Place::new(temp, "peer", &[tracker.local_addr()]);
    (place.start(more), place.folder, tracker)
}

#[test]
fn every_way_out_of_the_menu() {
    let _watchdog = watchdog(Duration::from_secs(120), "the menu's ways out");
    // Begun with the menu, its 3 ends the program.
    let temp = tempfile::tempdir().unwrap();
    let (mut program, _folder, _tracker) = at_the_menu(temp.path(), &["--menu"]);
    program.type_line("3");
    assert!(program.ended(PATIENCE).success(), "{}", program.said());
    // Typed at the prompt, it comes back there.
    let (mut program, _folder, _tracker) = at_the_menu(temp.path(), &[]);
    type_lines(&mut program, &["menu", "3", "help quit"]);
    program.line_with("Leave; downloads go on at the next start");
    // The end of the input ends menu and program, at any question.
    type_lines(&mut program, &["menu", "2", "nothing"]);
    program.close_stdin();
    assert!(program.ended(PATIENCE).success(), "{}", program.said());
    // So does a signal.
    let (mut program, _folder, _tracker) = at_the_menu(temp.path(), &["--menu"]);
    program.type_line("1");
    program.line_with("File to seed");
    program.signal("TERM");
    assert!(program.ended(PATIENCE).success(), "{}", program.said());
    // One text of commands can answer, too.
    let (mut program, folder, tracker) = at_the_menu(temp.path(), &[]);
    let file = make_file(&folder, "a file.txt", 1000);
    type_lines(&mut program, &["menu", "1", "'a file.txt'", "3"]);
    program.line_with(UPLOADED);
    program.line_with(&sha256(&file));
    let place = Place::new(temp.path(), "other", &[tracker.local_addr()]);
    let mut other = place.start(&["-c", "menu; 2; a file.txt; ; ; 3; quit"]);
    assert!(other.ended(PATIENCE).success(), "{}", other.said());
    assert!(other.said().contains("are right"), "{}", other.said());
}

fn announces(tracker: &Tracker) -> u64 {
    let stats = tracker.state().stats().0;
    let mut counts = stats.into_iter();
    counts.find(|(name, _)| name == "announces").unwrap().1
}

/// Nobody waits for ever for a source that is not there.
#[test]
fn a_file_that_nobody_has_any_more_is_told_at_once() {
    let _watchdog = watchdog(Duration::from_secs(120), "no source");
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let at = tracker.local_addr();
    let file = make_file(temp.path(), "film.bin", 1000);
    let mut seed = start_peer(&[at], &temp.path().join("seed"));
    seed_by_menu(&mut seed, &file);
    // The second is the engine's: it says goodbye only where it was announced.
    wait_until("the seed has announced itself", || announces(&tracker) >= 2);
    drop(seed);
    let place = Place::new(temp.path(), "getter", &[at]);
    let mut program = place.start(&["--menu"]);
    type_lines(&mut program, &["2", "film.bin", "", "3"]);
    assert!(!program.ended(PATIENCE).success(), "{}", program.said());
    let said = program.said();
    assert!(
        said.contains("Nobody who has film.bin is there just now"),
        "{said}"
    );
}
