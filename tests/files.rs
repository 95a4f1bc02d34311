//! Proves what happens to real files: changed behind our back, in the way, too large for the
//! disk, empty, many, in use by another peer.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
#[cfg(target_os = "linux")]
use std::process::Command;
use std::time::Duration;

use mini_bittorrent::peer::view::Status;
use mini_bittorrent::shell::peer_shell::PeerShell;
use mini_bittorrent::tracker::Tracker;

use crate::support::peers::{
    Place, any_port, make_file, random_bytes, sha256, shown, start_peer, start_peer_at,
    start_tracker, torrent_of, view, wait_until, watchdog,
};
#[cfg(target_os = "linux")]
use crate::support::peers::{say, wait_at_most};

const SIZE: usize = 3 << 20;

/// A tracker, a seed of one file, and one who may fetch it.
struct Pair {
    tracker: Tracker,
    seed: PeerShell,
    getter: PeerShell,
    file: PathBuf,
}

impl Pair {
    fn start(temp: &Path) -> Pair {
        let tracker = start_tracker();
        let at = tracker.local_addr();
        let mut seed = start_peer(&[at], &temp.join("seed"));
        let getter = start_peer(&[at], &temp.join("getter"));
        let file = make_file(&temp.join("files"), "file.bin", SIZE);
        upload(&mut seed, &file);
        Pair {
            tracker,
            seed,
            getter,
            file,
        }
    }

    fn got(&self) -> PathBuf {
        self.getter.peer.folder().join("file.bin")
    }
}

fn upload(seed: &mut PeerShell, path: &Path) {
    seed.run(&format!("upload_file \"{}\"", path.display()))
        .unwrap();
}

fn is_stopped(shell: &PeerShell) -> bool {
    matches!(view(shell).status, Status::Stopped { .. })
}

/// The error of a command that must fail.
fn refused(shell: &mut PeerShell, command: &str) -> String {
    match shell.run(command) {
        Ok(_) => panic!("`{command}` was carried out"),
        Err(error) => error.to_string(),
    }
}

/// One way to change a file, and what people are told then.
struct Change {
    what: &'static str,
    change: fn(&Path),
    /// In `show_downloads`, when somebody asks for it.
    noticed: &'static str,
    /// After `recheck`: in `show_downloads`, or as its error. Empty where all is well.
    rechecked: &'static str,
}

const CHANGES: &[Change] = &[
    Change {
        what: "written to",
        change: |path| {
            let mut file = File::options().write(true).open(path).unwrap();
            file.seek(SeekFrom::Start(1_000_000)).unwrap();
            file.write_all(b"something else").unwrap();
        },
        noticed: "has changed (somebody wrote to it)",
        rechecked: "1 of its pieces are not what was shared",
    },
    Change {
        what: "touched",
        change: |path| {
            let file = File::options().write(true).open(path).unwrap();
            file.set_modified(std::time::SystemTime::UNIX_EPOCH)
                .unwrap();
        },
        noticed: "has changed (somebody wrote to it)",
        rechecked: "",
    },
    Change {
        what: "cut short",
        change: |path| {
            let file = File::options().write(true).open(path).unwrap();
            file.set_len(1_000_000).unwrap();
        },
        noticed: "file.bin has changed (it ",
        rechecked: "it has 1000000 bytes, 3145728 are right",
    },
    Change {
        what: "made longer",
        change: |path| {
            let mut file = File::options().append(true).open(path).unwrap();
            file.write_all(b"more").unwrap();
        },
        noticed: "it has 3145732 bytes, 3145728 are right",
        rechecked: "it has 3145732 bytes, 3145728 are right",
    },
    Change {
        what: "deleted",
        change: |path| {
            fs::remove_file(path).unwrap();
            wait_until("it is gone", || fs::symlink_metadata(path).is_err());
        },
        noticed: "file.bin is missing: put it back",
        rechecked: "file.bin is missing: put it back",
    },
    Change {
        what: "replaced by another",
        change: |path| {
            let other = path.with_extension("new");
            fs::write(&other, random_bytes("other", SIZE)).unwrap();
            wait_until("it is replaced", || fs::rename(&other, path).is_ok());
        },
        noticed: "has changed (somebody wrote to it)",
        rechecked: "6 of its pieces are not what was shared",
    },
];

#[test]
fn a_file_changed_behind_our_back_is_not_served() {
    let _watchdog = watchdog(Duration::from_secs(90), "changed files");
    // On some disks of Windows, and under Wine, a file goes only once nobody has it open: so what
    // nobody fetches is closed soon.
    for change in CHANGES {
        let temp = tempfile::tempdir().unwrap();
        let mut pair = Pair::start(temp.path());
        (change.change)(&pair.file);
        pair.getter.run("download_file file.bin").unwrap();
        wait_until(change.what, || is_stopped(&pair.seed));
        let what = change.what;
        let said = shown(&pair.seed);
        assert!(said.contains(change.noticed), "{what}: {said}");
        assert_eq!(view(&pair.getter).have, 0, "{what}");

        let error = pair.seed.run("recheck file.bin").err();
        wait_until("the recheck ends", || {
            !matches!(view(&pair.seed).status, Status::Checking { .. })
        });
        let said = shown(&pair.seed) + &error.map(|e| e.to_string()).unwrap_or_default();
        assert!(said.contains(change.rechecked), "{what}, rechecked: {said}");
        if change.rechecked.is_empty() {
            assert_eq!(view(&pair.seed).status, Status::Seeding, "{what}");
        } else {
            assert!(is_stopped(&pair.seed), "{what}, rechecked: {said}");
        }

        // Put right again: it is checked once more, and served.
        fs::write(&pair.file, random_bytes("file.bin", SIZE)).unwrap();
        pair.seed.run("recheck file.bin").unwrap();
        pair.getter.run("wait").unwrap();
        assert_eq!(sha256(&pair.got()), sha256(&pair.file), "{what}");
    }
}

#[test]
fn a_file_changed_while_no_peer_ran_is_not_served_either() {
    let _watchdog = watchdog(Duration::from_secs(90), "files changed meanwhile");
    for change in CHANGES {
        let temp = tempfile::tempdir().unwrap();
        let Pair {
            tracker,
            seed,
            getter,
            file,
        } = Pair::start(temp.path());
        drop((seed, getter));
        (change.change)(&file);
        let at = tracker.local_addr();
        let (seed, notices) = start_peer_at(any_port(), &[at], &temp.path().join("seed"));
        wait_until("the check ends", || {
            !matches!(view(&seed).status, Status::Checking { .. })
        });
        let what = change.what;
        let said = shown(&seed) + &notices.join("\n");
        assert!(said.contains(change.rechecked), "{what}: {said}");
        assert_eq!(
            is_stopped(&seed),
            !change.rechecked.is_empty(),
            "{what}: {said}"
        );
    }
}

#[test]
fn a_seed_that_is_started_again_serves_without_hashing() {
    let _watchdog = watchdog(Duration::from_secs(60), "a seed started again");
    let temp = tempfile::tempdir().unwrap();
    let Pair {
        tracker,
        seed,
        mut getter,
        file,
    } = Pair::start(temp.path());
    drop(seed);
    let seed = start_peer(&[tracker.local_addr()], &temp.path().join("seed"));
    assert_eq!(view(&seed).status, Status::Seeding, "at once");
    getter.run("download_file file.bin").unwrap();
    getter.run("wait").unwrap();
    assert_eq!(
        sha256(&getter.peer.folder().join("file.bin")),
        sha256(&file)
    );
    // The downloader is a seed now, and is one after its next start.
    drop(getter);
    let getter = start_peer(&[], &temp.path().join("getter"));
    assert_eq!(view(&getter).status, Status::Seeding, "at once");
}

#[test]
fn what_is_there_already_is_checked_and_shared() {
    let _watchdog = watchdog(Duration::from_secs(60), "existing files");
    let temp = tempfile::tempdir().unwrap();
    let mut pair = Pair::start(temp.path());
    fs::copy(&pair.file, pair.got()).unwrap();
    pair.getter.run("download_file file.bin").unwrap();
    let there = view(&pair.getter);
    assert_eq!((there.status, there.downloaded), (Status::Seeding, 0));
}

#[test]
fn what_is_partly_right_is_the_beginning() {
    let _watchdog = watchdog(Duration::from_secs(60), "partly right files");
    let temp = tempfile::tempdir().unwrap();
    let mut pair = Pair::start(temp.path());
    let mut bytes = fs::read(&pair.file).unwrap();
    bytes[SIZE / 2] ^= 1;
    fs::write(pair.got(), bytes).unwrap();
    pair.getter.run("download_file file.bin").unwrap();
    pair.getter.run("wait").unwrap();
    assert_eq!(sha256(&pair.got()), sha256(&pair.file));
    assert_eq!(view(&pair.getter).downloaded, 512 << 10, "one piece");
}

#[test]
fn a_foreign_file_of_the_same_name_is_left_alone() {
    let _watchdog = watchdog(Duration::from_secs(60), "foreign files");
    let temp = tempfile::tempdir().unwrap();
    let mut pair = Pair::start(temp.path());
    let got = pair.got();
    // One piece in common, such as zeros, does not make it ours.
    let mut akin = random_bytes("foreign", SIZE);
    akin[..512 << 10].copy_from_slice(&fs::read(&pair.file).unwrap()[..512 << 10]);
    for (foreign, why) in [
        (
            random_bytes("foreign", SIZE),
            "something of the same size lies there",
        ),
        (akin, "most of it is not what is wanted"),
        (b"my own notes".to_vec(), "something of another size"),
    ] {
        fs::write(&got, &foreign).unwrap();
        let error = refused(&mut pair.getter, "download_file file.bin");
        assert!(error.contains("file.bin is in the way"), "{error}");
        assert!(error.contains(why), "{error}");
        assert!(fs::read(&got).unwrap() == foreign);
    }
    fs::remove_file(&got).unwrap();
    fs::create_dir(&got).unwrap();
    fs::write(got.join("mine"), "mine").unwrap();
    let error = refused(&mut pair.getter, "download_file file.bin");
    assert!(error.contains("file.bin is in the way"), "{error}");
    assert_eq!(fs::read(got.join("mine")).unwrap(), b"mine");
    // Somewhere else there is room for it.
    pair.getter
        .run(&format!(
            "download_file public file.bin \"{}\"",
            temp.path().join("else.bin").display()
        ))
        .unwrap();
    pair.getter.run("wait").unwrap();
    assert_eq!(sha256(&temp.path().join("else.bin")), sha256(&pair.file));
}

/// What aria2 or Transmission leaves when it is stopped: a file of full length under its final
/// name, with zeros where nothing has come yet. Once, less than half of a file was not enough.
#[test]
fn a_third_that_another_program_left_is_gone_on_with() {
    let _watchdog = watchdog(Duration::from_secs(60), "a third");
    let temp = tempfile::tempdir().unwrap();
    let mut pair = Pair::start(temp.path());
    let got = pair.got();
    let mut third = fs::read(&pair.file).unwrap();
    third[SIZE / 3..].fill(0);
    fs::write(&got, &third).unwrap();
    pair.getter.run("download_file file.bin").unwrap();
    pair.getter.run("wait").unwrap();
    assert_eq!(sha256(&got), sha256(&pair.file));
    let (asked, size) = (
        pair.getter.peer.torrents().unwrap()[0].downloaded,
        SIZE as u64,
    );
    assert!(asked < size * 3 / 4, "{asked} of {size} were fetched");
}

fn make_folder(root: &Path) {
    for (path, size) in [
        ("a", 10),
        ("b/empty", 0),
        ("b/c/large file.bin", 1_500_000),
        ("grüße 你好", 700_000),
        ("readme.txt", 100),
    ] {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        fs::write(&path, random_bytes(name, size)).unwrap();
    }
}

/// Every file below `root` with its bytes.
fn contents(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let below = path.strip_prefix(root).unwrap().to_path_buf();
                found.push((below, fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn folders_and_empty_files_arrive_whole() {
    let _watchdog = watchdog(Duration::from_secs(60), "folders");
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let at = tracker.local_addr();
    let mut seed = start_peer(&[at], &temp.path().join("seed"));
    let mut getter = start_peer(&[at], &temp.path().join("getter"));
    let folder = temp.path().join("a folder");
    make_folder(&folder);
    upload(&mut seed, &folder);
    let empty = make_file(temp.path(), "nothing", 0);
    upload(&mut seed, &empty);
    getter.run("download_file \"a folder\"").unwrap();
    getter.run("download_file nothing").unwrap();
    getter.run("wait").unwrap();
    let got = getter.peer.folder().to_path_buf();
    assert!(contents(&got.join("a folder")) == contents(&folder));
    assert_eq!(fs::read(got.join("nothing")).unwrap(), b"");
    // They are shared after the next start, too.
    drop(getter);
    let getter = start_peer(&[at], &temp.path().join("getter"));
    let all = getter.peer.torrents().unwrap();
    assert!(all.iter().all(|torrent| torrent.status == Status::Seeding));
}

/// A folder of our own that happens to have the torrent's name was renamed to `.part`, and what
/// in it had the name of a file of the torrent was overwritten.
#[test]
fn a_foreign_folder_of_the_same_name_is_left_alone() {
    let _watchdog = watchdog(Duration::from_secs(60), "foreign folders");
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let at = tracker.local_addr();
    let mut seed = start_peer(&[at], &temp.path().join("seed"));
    let mut getter = start_peer(&[at], &temp.path().join("getter"));
    let folder = temp.path().join("photos");
    make_folder(&folder);
    upload(&mut seed, &folder);
    let mine = getter.peer.folder().join("photos");
    fs::create_dir(&mine).unwrap();
    fs::write(mine.join("holiday.jpg"), "mine").unwrap();
    fs::write(mine.join("readme.txt"), "my own notes").unwrap();
    let before = contents(&mine);
    let error = refused(&mut getter, "download_file photos");
    assert!(error.contains("photos is in the way"), "{error}");
    assert!(contents(&mine) == before);
    // An empty one is nobody's.
    fs::remove_dir_all(&mine).unwrap();
    fs::create_dir(&mine).unwrap();
    getter.run("download_file photos").unwrap();
    getter.run("wait").unwrap();
    assert!(contents(&mine) == contents(&folder));
    // A part of it is its beginning.
    getter.run("remove photos").unwrap();
    fs::remove_file(mine.join("b/c/large file.bin")).unwrap();
    getter.run("download_file photos").unwrap();
    getter.run("wait").unwrap();
    assert!(contents(&mine) == contents(&folder));
    let got = view(&getter).downloaded;
    assert!(got < 2_200_000, "{got} bytes, though a part was there");
}

#[test]
fn two_peers_do_not_use_one_folder() {
    let _watchdog = watchdog(Duration::from_secs(60), "two peers");
    let temp = tempfile::tempdir().unwrap();
    let place = Place::new(temp.path(), "peer", &[any_port()]);
    let first = place.start(&["--no-prompt"]);
    first.line_with("listening on");
    let mut second = place.start(&["--no-prompt"]);
    let status = second.ended(Duration::from_secs(10));
    assert_eq!(status.code(), Some(1));
    let wanted = format!(
        "another peer (process {}) uses the download folder",
        first.pid()
    );
    second.line_with(&wanted);
    assert_eq!(second.said().lines().count(), 1, "{}", second.said());
    // A folder whose peer was killed is free at once.
    first.kill_9();
    let third = place.start(&["--no-prompt"]);
    third.line_with("listening on");
}

/// Runs a test once more with a small disk of its own, mounted where only it sees it, and
/// returns None; in that second run, where that disk is.
#[cfg(target_os = "linux")]
fn with_small_disk(test: &str, mebibytes: u32) -> Option<PathBuf> {
    const DISK: &str = "TEST_SMALL_DISK";
    if let Some(disk) = std::env::var_os(DISK) {
        return Some(disk.into());
    }
    let flags = ["-m", "-rm"];
    let works = |flags: &&str| {
        let tried = Command::new("unshare")
            .args([flags, "mount", "-t", "tmpfs", "tmpfs", "/mnt"])
            .output();
        tried.is_ok_and(|tried| tried.status.success())
    };
    let Some(flags) = flags.into_iter().find(works) else {
        say(&format!(
            "SKIPPED {test}: no private mounts (unshare -m) here\n"
        ));
        return None;
    };
    let temp = tempfile::tempdir().unwrap();
    let script = format!("mount -t tmpfs -o size={mebibytes}m tmpfs \"$0\" && exec \"$@\"");
    let path = format!("files::{test}");
    let run = Command::new("unshare")
        .args([flags, "sh", "-c", &script])
        .arg(temp.path())
        .arg(std::env::current_exe().unwrap())
        .args([&path, "--exact", "--nocapture"])
        .env(DISK, temp.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
    assert!(
        run.status.success() && told.contains("1 passed"),
        "on a small disk: {told}"
    );
    None
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_pauses_a_download_until_there_is_room() {
    let _watchdog = watchdog(Duration::from_secs(90), "the full disk");
    let test = "a_full_disk_pauses_a_download_until_there_is_room";
    let Some(disk) = with_small_disk(test, 16) else {
        return;
    };
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let at = tracker.local_addr();
    let mut seed = start_peer(&[at], &temp.path().join("seed"));
    let file = make_file(temp.path(), "file.bin", 12 << 20);
    upload(&mut seed, &file);
    let mut getter = start_peer(&[at], &disk);
    getter.run("limit down 4M").unwrap();
    getter.run("download_file file.bin").unwrap();
    wait_until("it has begun", || view(&getter).have > 1 << 20);
    // Somebody else fills the disk.
    let ballast = disk.join("ballast");
    let mut filling = File::create(&ballast).unwrap();
    while filling.write_all(&[1; 65536]).is_ok() {}
    drop(filling);
    wait_until("it waits for space", || is_stopped(&getter));
    let said = shown(&getter);
    assert!(
        said.contains("waiting: not enough disk space for"),
        "{said}"
    );
    assert!(said.contains("needed") && said.contains("free"), "{said}");
    let had = view(&getter).have;
    assert!(had < 12 << 20, "it was stopped in the middle");
    // What is there is served meanwhile to nobody, and nothing moves.
    fs::remove_file(&ballast).unwrap();
    let mut checked = false;
    wait_at_most(Duration::from_secs(30), "it goes on and ends", || {
        let now = view(&getter);
        checked |= matches!(now.status, Status::Checking { .. });
        assert!(now.have >= had, "it began again");
        now.status == Status::Seeding
    });
    assert!(!checked, "it was hashed again");
    let got = view(&getter).downloaded;
    println!("{had} bytes were there when the disk was full; {got} fetched in all");
    assert!(got < (12 << 20) * 12 / 10, "{got}");
    assert_eq!(
        sha256(&getter.peer.folder().join("file.bin")),
        sha256(&file)
    );
}

/// Also across a stop while the disk is full.
#[cfg(target_os = "linux")]
#[test]
fn a_download_that_waits_for_space_waits_after_the_next_start_too() {
    let _watchdog = watchdog(Duration::from_secs(90), "the disk that stays full");
    let test = "a_download_that_waits_for_space_waits_after_the_next_start_too";
    let Some(disk) = with_small_disk(test, 16) else {
        return;
    };
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let at = tracker.local_addr();
    let mut seed = start_peer(&[at], &temp.path().join("seed"));
    let file = make_file(temp.path(), "file.bin", 12 << 20);
    upload(&mut seed, &file);
    let mut getter = start_peer(&[at], &disk);
    getter.run("limit down 4M").unwrap();
    getter.run("download_file file.bin").unwrap();
    wait_until("it has begun", || view(&getter).have > 1 << 20);
    let ballast = disk.join("ballast");
    let mut filling = File::create(&ballast).unwrap();
    while filling.write_all(&[1; 65536]).is_ok() {}
    drop(filling);
    wait_until("it waits for space", || is_stopped(&getter));
    let had = view(&getter).have;
    drop(getter);
    // Still full: neither lost nor begun again.
    let (getter, notices) = start_peer_at(any_port(), &[at], &disk);
    println!("{notices:?}");
    wait_until("it waits for space again", || {
        let said = shown(&getter);
        said.contains("not enough disk space")
    });
    fs::remove_file(&ballast).unwrap();
    wait_at_most(Duration::from_secs(30), "it goes on and ends", || {
        view(&getter).status == Status::Seeding
    });
    let got = view(&getter).downloaded;
    println!("{had} bytes were there when the disk was full; {got} fetched in all");
    assert_eq!(
        sha256(&getter.peer.folder().join("file.bin")),
        sha256(&file)
    );
}

#[cfg(target_os = "linux")]
#[test]
fn no_room_is_said_before_the_first_byte() {
    let _watchdog = watchdog(Duration::from_secs(60), "no room");
    let Some(disk) = with_small_disk("no_room_is_said_before_the_first_byte", 8) else {
        return;
    };
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let at = tracker.local_addr();
    let mut seed = start_peer(&[at], &temp.path().join("seed"));
    upload(&mut seed, &make_file(temp.path(), "file.bin", 12 << 20));
    let mut getter = start_peer(&[at], &disk);
    let error = refused(&mut getter, "download_file file.bin");
    for part in [
        "not enough disk space",
        "file.bin",
        "12.0 MiB needed",
        "MiB free",
    ] {
        assert!(error.contains(part), "{error}");
    }
    let there: Vec<_> = fs::read_dir(getter.peer.folder()).unwrap().collect();
    assert_eq!(there.len(), 1, "only our own state: {there:?}");
    assert_eq!(getter.peer.torrents().unwrap().len(), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_for_reading_only_is_refused_in_one_line() {
    let _watchdog = watchdog(Duration::from_secs(60), "the folder for reading");
    let Some(disk) = with_small_disk("a_folder_for_reading_only_is_refused_in_one_line", 8) else {
        return;
    };
    let remounted = Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(&disk)
        .status();
    assert!(remounted.unwrap().success());
    let temp = tempfile::tempdir().unwrap();
    let place = Place::new(temp.path(), "peer", &[any_port()]);
    let mut peer = place.start(&["--no-prompt", "--download", disk.to_str().unwrap()]);
    let status = peer.ended(Duration::from_secs(10));
    assert_eq!(status.code(), Some(1));
    let line = peer.line_with("cannot create the folder");
    assert!(line.contains("Read-only file system"), "{line}");
    assert_eq!(peer.said().lines().count(), 1, "{}", peer.said());
}

/// A player, a virus scanner: on Windows they keep a file from getting its name. That is told in words,
/// and mended by closing the file; on Unix it is no obstacle.
#[test]
fn a_download_that_another_program_has_open_is_told_and_goes_on() {
    let _watchdog = watchdog(Duration::from_secs(120), "a file open elsewhere");
    let temp = tempfile::tempdir().unwrap();
    let mut pair = Pair::start(temp.path());
    pair.getter.run("limit down 1M").unwrap();
    pair.getter.run("download_file file.bin").unwrap();
    let part = pair.getter.peer.folder().join("file.bin.part");
    let mut options = File::options();
    options.read(true);
    // Others may read and write meanwhile, but neither rename nor delete.
    #[cfg(windows)]
    std::os::windows::fs::OpenOptionsExt::share_mode(&mut options, 3);
    let opened = options.open(&part).unwrap();
    pair.getter.run("limit down off").unwrap();
    if cfg!(windows) {
        wait_until("it is told", || is_stopped(&pair.getter));
        let said = shown(&pair.getter);
        assert!(
            said.contains("file.bin.part: another program has it open"),
            "{said}"
        );
        assert!(said.contains("Close it there, then `resume`"), "{said}");
        drop(opened);
        pair.getter.run("resume file.bin").unwrap();
    }
    pair.getter.run("wait").unwrap();
    assert_eq!(sha256(&pair.got()), sha256(&pair.file));
    assert!(view(&pair.getter).downloaded < SIZE as u64 * 3 / 2);
}

#[test]
fn a_file_for_reading_only_in_the_place_of_a_download_is_told() {
    let _watchdog = watchdog(Duration::from_secs(60), "a file for reading only");
    let temp = tempfile::tempdir().unwrap();
    let mut pair = Pair::start(temp.path());
    let part = make_file(pair.getter.peer.folder(), "file.bin.part", 1000);
    let before = fs::metadata(&part).unwrap().permissions();
    let mut readonly = before.clone();
    readonly.set_readonly(true);
    fs::set_permissions(&part, readonly).unwrap();
    let error = refused(&mut pair.getter, "download_file file.bin");
    assert!(
        error.contains("file.bin.part: it is read-only. Allow it"),
        "{error}"
    );
    fs::set_permissions(&part, before).unwrap();
    pair.getter.run("download_file file.bin").unwrap();
    pair.getter.run("wait").unwrap();
    assert_eq!(sha256(&pair.got()), sha256(&pair.file));
}

/// A moment later it would have been free: the seed goes on, and nobody is told anything.
#[test]
fn a_file_that_is_locked_for_a_moment_is_served_all_the_same() {
    let _watchdog = watchdog(Duration::from_secs(120), "a lock for a moment");
    let temp = tempfile::tempdir().unwrap();
    let mut pair = Pair::start(temp.path());
    let mut options = File::options();
    options.read(true);
    #[cfg(windows)]
    std::os::windows::fs::OpenOptionsExt::share_mode(&mut options, 0);
    // Once the seed has closed it, as a virus scanner would.
    let mut opened = None;
    wait_until("the seed has closed it", || {
        opened = options.open(&pair.file).ok();
        opened.is_some()
    });
    let scanner = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(800));
        drop(opened);
    });
    pair.getter.run("download_file file.bin").unwrap();
    pair.getter.run("wait").unwrap();
    scanner.join().unwrap();
    assert_eq!(sha256(&pair.got()), sha256(&pair.file));
    assert_eq!(view(&pair.seed).status, Status::Seeding);
}

/// Two torrents of one name, and so of one place: the second once wrote into the first's bytes.
#[test]
fn two_downloads_never_go_to_one_place() {
    let _watchdog = watchdog(Duration::from_secs(60), "one place");
    let temp = tempfile::tempdir().unwrap();
    let mut pair = Pair::start(temp.path());
    let other = temp.path().join("other");
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("file.bin"), random_bytes("other", SIZE)).unwrap();
    let torrent = temp.path().join("other.torrent");
    fs::write(&torrent, torrent_of(&other.join("file.bin"), &[])).unwrap();
    pair.getter.run("limit down 1M").unwrap();
    pair.getter.run("download_file file.bin").unwrap();
    let add = format!("add \"{}\"", torrent.display());
    let error = refused(&mut pair.getter, &add);
    assert!(
        error.contains("something else is being fetched to"),
        "{error}"
    );
    pair.getter.run("limit down off").unwrap();
    pair.getter.run("wait").unwrap();
    assert_eq!(sha256(&pair.got()), sha256(&pair.file));
}
