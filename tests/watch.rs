//! Proves that a watched upload folder is what everybody can fetch: files that are new, changed or
//! gone follow by themselves, and nothing is shared that is still being written, that the user
//! has withdrawn, or that is not what was hashed. Peers are real processes.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mini_bittorrent::control::reply::FileEntry;
use mini_bittorrent::tracker::{self, Tracker};

use crate::support::peers::{
    Place, Program, free_port, make_file, random_bytes, sha256, start_tracker, wait_at_most,
    wait_until, watchdog,
};

const LOG: &str = "log.txt";
const SOON: Duration = Duration::from_secs(60);

/// A peer that watches its upload folder, with its log.
struct Watcher {
    place: Place,
    program: Program,
}

impl Watcher {
    fn place(temp: &Path, name: &str, tracker: std::net::SocketAddr) -> Place {
        let mut place = Place::new(temp, name, &[tracker]);
        // The same after a restart, as it is for people.
        place.listen = free_port();
        fs::create_dir_all(place.folder.join("upload")).unwrap();
        place
    }

    fn start(place: &Place, mode: &str) -> Watcher {
        let options = ["--upload", "upload", "--watch", mode, "--log-file", LOG];
        let program = place.start(&options);
        Watcher {
            place: place.clone(),
            program,
        }
    }

    fn upload(&self) -> PathBuf {
        self.place.folder.join("upload")
    }

    /// How often the log has a line with this text.
    fn logged(&self, text: &str) -> usize {
        let log = fs::read_to_string(self.place.folder.join(LOG)).unwrap_or_default();
        log.lines().filter(|line| line.contains(text)).count()
    }

    /// Waits until the folder was looked at at least twice more: a new file is shared only then.
    fn look_twice(&self, tracker: &Tracker) {
        let name = format!("look-{}", fs::read_dir(self.upload()).unwrap().count());
        make_file(&self.upload(), &name, 100);
        wait_for(tracker, &name, 100);
    }

    fn quit(mut self) {
        self.program.type_line("quit");
        self.program.ended(SOON);
    }
}

/// What it did is all that explains a test that failed.
impl Drop for Watcher {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.place.folder.join(LOG)).unwrap_or_default();
            println!("its log:\n{log}it said:\n{}", self.program.said());
        }
    }
}

fn entry(tracker: &Tracker, name: &str) -> Option<FileEntry> {
    let mut files = tracker.state().list_files().into_iter();
    files.find(|file| file.name.as_str() == name)
}

fn names(tracker: &Tracker) -> Vec<String> {
    let files = tracker.state().list_files();
    files.iter().map(|file| file.name.to_string()).collect()
}

/// Until the tracker lists a file with this many bytes.
fn wait_for(tracker: &Tracker, name: &str, size: u64) {
    wait_until(&format!("{name} is listed with {size} bytes"), || {
        entry(tracker, name).is_some_and(|file| file.size == size)
    });
}

fn wait_for_none(tracker: &Tracker, name: &str) {
    wait_until(&format!("{name} is listed no more"), || {
        entry(tracker, name).is_none()
    });
}

/// Another peer fetches a file, compares it with what lies in the folder, and goes.
fn fetch(temp: &Path, tracker: &Tracker, name: &str, file: &Path) {
    let getter = temp.join("getters");
    let number = fs::read_dir(&getter).map_or(0, Iterator::count);
    let place = Place::new(&getter, &number.to_string(), &[tracker.local_addr()]);
    let command = format!("download_file \"{name}\"; wait");
    let mut program = place.start(&["-c", &command]);
    let status = program.ended(SOON);
    assert!(status.success(), "{}", program.said());
    assert_eq!(sha256(&place.download().join(name)), sha256(file), "{name}");
}

#[test]
fn what_lies_in_the_folder_is_shared_and_what_changes_follows() {
    let _watchdog = watchdog(Duration::from_secs(240), "the watched folder");
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let place = Watcher::place(temp.path(), "seed", tracker.local_addr());
    let upload = place.folder.join("upload");
    let plain = make_file(&upload, "plain.bin", 700_000);
    let spaces = make_file(&upload, "häß lich 文件.txt", 3_000);
    make_file(&upload, ".hidden", 100);
    make_file(&upload, "film.mkv.part", 100);
    make_file(&upload, "empty", 0);
    make_file(&upload.join("below"), "x", 100);
    make_file(temp.path(), "secret.txt", 100);
    // On Windows a link needs an administrator.
    #[cfg(unix)]
    std::os::unix::fs::symlink(temp.path().join("secret.txt"), upload.join("link.txt")).unwrap();

    let seed = Watcher::start(&place, "files");
    let line = "upload/: 2 files are shared with everybody; watch off ends that";
    seed.program.line_with(line);
    for (name, file) in [("plain.bin", &plain), ("häß lich 文件.txt", &spaces)] {
        wait_for(&tracker, name, fs::metadata(file).unwrap().len());
        fetch(temp.path(), &tracker, name, file);
    }

    // A new one; one that changes, also without another length; one that goes.
    let new = make_file(&upload, "new.txt", 5_000);
    wait_for(&tracker, "new.txt", 5_000);
    fetch(temp.path(), &tracker, "new.txt", &new);
    let old = entry(&tracker, "plain.bin").unwrap().info_hash;
    fs::write(&plain, random_bytes("other", 700_000)).unwrap();
    wait_until("the changed file is shared", || {
        entry(&tracker, "plain.bin").is_some_and(|file| file.info_hash != old)
    });
    fetch(temp.path(), &tracker, "plain.bin", &plain);
    fs::remove_file(&new).unwrap();
    wait_for_none(&tracker, "new.txt");
    // A rename is both.
    fs::rename(&plain, upload.join("moved.bin")).unwrap();
    wait_for(&tracker, "moved.bin", 700_000);
    wait_for_none(&tracker, "plain.bin");
    assert_eq!(names(&tracker), ["häß lich 文件.txt", "moved.bin"]);
    assert_eq!(seed.program.said().matches("is not shared").count(), 0);
    seed.quit();
}

#[test]
fn a_file_that_is_still_being_written_is_left_until_it_rests() {
    let _watchdog = watchdog(Duration::from_secs(240), "half-written files");
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let place = Watcher::place(temp.path(), "seed", tracker.local_addr());
    let seed = Watcher::start(&place, "files");
    seed.program.line_with("0 files are shared");
    // A busy machine may not let us write often enough: then it was at rest, and nothing is proved.
    for attempt in 0..10 {
        let name = format!("slow-{attempt}.bin");
        let content = random_bytes(&name, 3_000_000);
        let path = seed.upload().join(&name);
        let mut file = OpenOptions::new()
            .create_new(true)
            .append(true)
            .open(&path)
            .unwrap();
        let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
        for part in content.chunks(content.len() / 60 + 1) {
            file.write_all(part).unwrap();
            longest = longest.max(last.elapsed());
            last = Instant::now();
            std::thread::sleep(Duration::from_millis(60));
        }
        drop(file);
        wait_for(&tracker, &name, content.len() as u64);
        fetch(temp.path(), &tracker, &name, &path);
        if longest < Duration::from_millis(800) {
            let hashed = seed.logged(&format!("{name} is being hashed"));
            assert_eq!(hashed, 1, "while it was written");
            seed.quit();
            return;
        }
    }
    panic!("this machine is too busy to write a file without long pauses");
}

#[test]
fn a_file_that_changes_while_it_is_fetched_gives_no_wrong_byte() {
    let _watchdog = watchdog(Duration::from_secs(240), "a file that changes");
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let place = Watcher::place(temp.path(), "seed", tracker.local_addr());
    let path = make_file(&place.folder.join("upload"), "big.bin", 8_000_000);
    let mut seed = Watcher::start(&place, "files");
    seed.program.type_line("limit up 1M");
    wait_for(&tracker, "big.bin", 8_000_000);
    let old = entry(&tracker, "big.bin").unwrap().info_hash;

    let getter = Place::new(temp.path(), "getter", &[tracker.local_addr()]);
    let mut getter = getter.start(&[]);
    getter.type_line("download_file big.bin");
    getter.type_line("wait");
    getter.percent(20);
    // In place, and as long as before.
    let mut file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all(&random_bytes("changed", 8_000_000)).unwrap();
    drop(file);
    wait_until("the changed file is shared", || {
        entry(&tracker, "big.bin").is_some_and(|file| file.info_hash != old)
    });
    seed.program.type_line("limit up off");
    fetch(temp.path(), &tracker, "big.bin", &path);
    let said = getter.kill_9();
    assert!(!said.contains("wrong hash"), "{said}");
    assert!(!said.contains("is complete"), "{said}");
    // Nor did the seed hear of anything wrong but the change.
    assert_eq!(
        seed.logged("big.bin is shared no longer: it has changed"),
        1
    );
    seed.quit();
}

#[test]
fn a_name_that_is_taken_is_told_once_and_used_when_it_is_free() {
    let _watchdog = watchdog(Duration::from_secs(240), "a name that is taken");
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let place = |name| Watcher::place(temp.path(), name, tracker.local_addr());
    let (one, two) = (place("one"), place("two"));
    fs::write(one.folder.join("upload/same.txt"), "one").unwrap();
    fs::write(two.folder.join("upload/same.txt"), "the other").unwrap();
    let first = Watcher::start(&one, "files");
    wait_for(&tracker, "same.txt", 3);
    let mut second = Watcher::start(&two, "files");
    second
        .program
        .line_with("same.txt is not shared: others share other content under this name");
    second.look_twice(&tracker);
    second.look_twice(&tracker);
    assert_eq!(second.logged("same.txt is not shared"), 1);
    second.program.type_line("watch");
    wait_until("it is told to who asks", || {
        let said = second.program.said();
        said.lines()
            .any(|line| line.starts_with("same.txt is not shared"))
    });
    assert_eq!(entry(&tracker, "same.txt").unwrap().size, 3);
    fs::remove_file(first.upload().join("same.txt")).unwrap();
    wait_for(&tracker, "same.txt", 9);
    let path = second.upload().join("same.txt");
    fetch(temp.path(), &tracker, "same.txt", &path);
    second.quit();
    first.quit();
}

#[test]
fn what_the_user_withdraws_stays_so_until_it_changes_also_after_a_restart() {
    let _watchdog = watchdog(Duration::from_secs(240), "what is withdrawn");
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let place = Watcher::place(temp.path(), "seed", tracker.local_addr());
    let upload = place.folder.join("upload");
    let kept = make_file(&upload, "kept.bin", 600_000);
    let diary = make_file(&upload, "diary.txt", 2_000);
    let mut seed = Watcher::start(&place, "files");
    wait_for(&tracker, "kept.bin", 600_000);
    wait_for(&tracker, "diary.txt", 2_000);
    seed.program.type_line("stop_share diary.txt");
    seed.program
        .line_with("Stopped sharing this file: diary.txt");
    seed.look_twice(&tracker);
    seed.program.type_line("watch");
    seed.program
        .line_with("diary.txt is not shared, as you wished");
    assert!(entry(&tracker, "diary.txt").is_none());
    let hashed = seed.logged("is being hashed");
    assert_eq!(hashed, 3);
    // One that goes with its command has no time to look.
    seed.program.type_line("stop_share look-2");
    seed.quit();

    let seed = Watcher::start(&place, "files");
    seed.program
        .line_with("upload/: 1 file is shared with everybody");
    wait_for(&tracker, "kept.bin", 600_000);
    fetch(temp.path(), &tracker, "kept.bin", &kept);
    seed.look_twice(&tracker);
    assert_eq!(names(&tracker), ["kept.bin", "look-3"]);
    // What is remembered is not hashed again.
    assert_eq!(seed.logged("is being hashed"), hashed + 1);
    // Nor is it told to who asks for it.
    wait_until("the peer can be asked", || {
        !tracker.state().hub.everybody().is_empty()
    });
    let asker = Place::new(temp.path(), "asker", &[tracker.local_addr()]);
    let mut asker = asker.start(&["-c", "ask diary.txt"]);
    asker.ended(SOON);
    asker.line_with("nobody has diary.txt");
    fs::write(&diary, "for everybody").unwrap();
    wait_for(&tracker, "diary.txt", 13);
    seed.quit();
}

#[test]
fn what_changed_while_the_peer_was_away_follows_at_its_start() {
    let _watchdog = watchdog(Duration::from_secs(240), "changes while away");
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let place = Watcher::place(temp.path(), "seed", tracker.local_addr());
    let upload = place.folder.join("upload");
    let changed = make_file(&upload, "changed.txt", 4_000);
    let gone = make_file(&upload, "gone.txt", 2_000);
    let seed = Watcher::start(&place, "files");
    wait_for(&tracker, "changed.txt", 4_000);
    wait_for(&tracker, "gone.txt", 2_000);
    seed.quit();
    fs::write(&changed, random_bytes("another", 4_000)).unwrap();
    fs::remove_file(&gone).unwrap();
    make_file(&upload, "new.txt", 1_000);
    let old = entry(&tracker, "changed.txt").unwrap().info_hash;
    let mut seed = Watcher::start(&place, "files");
    wait_for(&tracker, "new.txt", 1_000);
    wait_for_none(&tracker, "gone.txt");
    wait_until("the changed file is shared", || {
        entry(&tracker, "changed.txt").is_some_and(|file| file.info_hash != old)
    });
    fetch(temp.path(), &tracker, "changed.txt", &changed);
    seed.program.type_line("show_downloads");
    let said = seed.program.line_with("new.txt");
    assert!(said.contains("sharing"), "{said}");
    seed.quit();
}

#[test]
fn a_tracker_that_was_away_hears_of_everything() {
    let _watchdog = watchdog(Duration::from_secs(300), "a tracker that was away");
    let temp = tempfile::tempdir().unwrap();
    let at = free_port();
    let start = || Tracker::start(tracker::Config::new(at)).unwrap();
    let place = Watcher::place(temp.path(), "seed", at);
    let upload = place.folder.join("upload");
    make_file(&upload, "kept.bin", 100_000);
    let gone = make_file(&upload, "gone.txt", 1_000);
    let changed = make_file(&upload, "changed.txt", 1_000);
    // It is not there yet, either.
    let seed = Watcher::start(&place, "files");
    wait_until("all are ready", || {
        seed.logged("is shared with everybody") == 3
    });
    let tracker = start();
    for (name, size) in [
        ("kept.bin", 100_000),
        ("gone.txt", 1_000),
        ("changed.txt", 1_000),
    ] {
        wait_for(&tracker, name, size);
    }
    tracker.stop();
    let new = make_file(&upload, "new.txt", 2_000);
    fs::write(&changed, random_bytes("another", 3_000)).unwrap();
    fs::remove_file(&gone).unwrap();
    wait_until("what is gone is withdrawn", || {
        seed.logged("gone.txt is shared no longer") == 1
    });
    let tracker = start();
    wait_for(&tracker, "new.txt", 2_000);
    wait_for(&tracker, "changed.txt", 3_000);
    wait_for(&tracker, "kept.bin", 100_000);
    assert!(entry(&tracker, "gone.txt").is_none());
    fetch(temp.path(), &tracker, "new.txt", &new);
    fetch(temp.path(), &tracker, "changed.txt", &changed);
    seed.quit();
}

#[test]
fn folders_are_shared_if_asked_and_everything_ends_with_off() {
    let _watchdog = watchdog(Duration::from_secs(240), "folders and off");
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let place = Watcher::place(temp.path(), "seed", tracker.local_addr());
    let upload = place.folder.join("upload");
    make_file(&upload.join("course/week 1"), "notes.txt", 3_000);
    make_file(&upload.join("course"), "plan.txt", 1_000);
    make_file(&upload, "file.txt", 1_000);
    let mut seed = Watcher::start(&place, "off");
    seed.program.line_with("listening on");
    seed.program.type_line("watch");
    seed.program.line_with("upload/ is not watched");
    seed.program.type_line("watch files");
    seed.program
        .line_with("upload/: 1 file is shared with everybody");
    wait_for(&tracker, "file.txt", 1_000);
    assert!(entry(&tracker, "course").is_none());
    seed.program.type_line("watch folders");
    wait_for(&tracker, "course", 4_000);
    make_file(&upload.join("course/week 2"), "notes.txt", 2_000);
    wait_for(&tracker, "course", 6_000);
    let getter = Place::new(temp.path(), "getter", &[tracker.local_addr()]);
    let mut getting = getter.start(&["-c", "download_file course; wait"]);
    assert!(getting.ended(SOON).success(), "{}", getting.said());
    let path = "course/week 2/notes.txt";
    assert_eq!(
        fs::read(getter.download().join(path)).unwrap(),
        fs::read(upload.join(path)).unwrap()
    );
    seed.program.type_line("watch files");
    wait_for_none(&tracker, "course");
    assert!(entry(&tracker, "file.txt").is_some());

    // What is everybody's already can be a group's, too, and this is said.
    for line in [
        "create_user alice wonderland",
        "login alice wonderland",
        "create_group cs101",
        "upload_file cs101 file.txt",
    ] {
        seed.program.type_line(line);
    }
    seed.program
        .line_with("File uploaded successfully: file.txt");
    seed.program
        .line_with("file.txt is shared with everybody, too.");
    // What others share with the group does not get into such a folder at all.
    let bob = Watcher::place(temp.path(), "bob", tracker.local_addr());
    let mut bob = Watcher::start(&bob, "files");
    for line in [
        "create_user bob builder",
        "login bob builder",
        "join_group cs101",
    ] {
        bob.program.type_line(line);
    }
    bob.program.line_with("Join request made");
    seed.program.type_line("accept_request cs101 bob");
    seed.program.line_with("User accepted");
    bob.program
        .type_line("download_file cs101 file.txt upload/");
    bob.program
        .line_with("upload/ is shared with everybody, and file.txt is for cs101 only");
    bob.quit();
    seed.program.type_line("watch off");
    seed.program
        .line_with("upload/ is not watched any more: 1 file is no longer shared");
    wait_for_none(&tracker, "file.txt");
    make_file(&upload, "later.txt", 1_000);
    seed.program.type_line("show_downloads");
    seed.program.line_with("[cs101] file.txt");
    seed.quit();
    assert!(names(&tracker).is_empty(), "{:?}", names(&tracker));
}

#[test]
fn the_download_folder_is_not_watched() {
    let _watchdog = watchdog(Duration::from_secs(60), "the download folder");
    let temp = tempfile::tempdir().unwrap();
    let place = Place::new(temp.path(), "peer", &[free_port()]);
    let mut peer = place.start(&["--upload", "./download", "--watch", "files"]);
    assert!(!peer.ended(SOON).success());
    peer.line_with("./download/ cannot be watched, as downloads go there");
}

#[test]
fn ten_thousand_files_neither_hang_the_peer_nor_flood_the_tracker() {
    let _watchdog = watchdog(Duration::from_secs(400), "ten thousand files");
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let place = Watcher::place(temp.path(), "seed", tracker.local_addr());
    let upload = place.folder.join("upload");
    for i in 0..10_000 {
        fs::write(upload.join(format!("{i:05}")), i.to_string()).unwrap();
    }
    let mut seed = Watcher::start(&place, "files");
    seed.program
        .line_with("upload/: 1000 files are shared with everybody");
    seed.program
        .line_with("upload/ holds too much: at most 1000 are shared");
    // It answers meanwhile.
    seed.program.type_line("info");
    seed.program.line_with("Current status");
    wait_at_most(Duration::from_secs(240), "a thousand are shared", || {
        names(&tracker).len() == 1_000
    });
    // When one goes, there is room for one.
    fs::remove_file(upload.join("00000")).unwrap();
    wait_until("another takes its place", || {
        let names = names(&tracker);
        names.len() == 1_000 && !names.contains(&"00000".to_string())
    });
    seed.program.type_line("watch off");
    seed.program.line_with("1000 files are no longer shared");
    assert!(names(&tracker).is_empty());
    seed.quit();
}

#[test]
fn what_a_group_shares_is_shared_with_everybody() {
    let _watchdog = watchdog(Duration::from_secs(240), "a group's file");
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let place = Watcher::place(temp.path(), "seed", tracker.local_addr());
    let upload = place.folder.join("upload");
    make_file(&upload, "exam.bin", 3_000);
    // Windows has no such names.
    let odd = if cfg!(unix) {
        "a\u{1b}b.bin"
    } else {
        "odd.part"
    };
    make_file(&upload, odd, 2_000);
    let mut seed = Watcher {
        program: place.start(&["--upload", "upload", "--log-file", LOG]),
        place,
    };
    for line in [
        "create_user ann secret",
        "login ann secret",
        "create_group cs",
        "upload_file exam.bin cs",
    ] {
        seed.program.type_line(line);
    }
    seed.program.line_with("File uploaded successfully");
    seed.program.type_line("watch files");
    let line = "exam.bin is shared with cs, and not with everybody";
    seed.program.line_with(line);
    seed.look_twice(&tracker);
    assert_eq!(names(&tracker), ["look-2"]);
    let said = seed.program.said().len();
    seed.program.type_line("watch");
    wait_until("it is told again", || {
        let said = &seed.program.said()[said..];
        // Its name moves no cursor.
        let odd = "a\\u{1b}b.bin is left alone";
        said.contains(line) && (cfg!(windows) || said.contains(odd))
    });
    seed.program.type_line("stop_share cs exam.bin");
    seed.program
        .line_with("Stopped sharing this file: exam.bin");
    seed.look_twice(&tracker);
    assert_eq!(names(&tracker), ["look-2", "look-3"]);
    seed.quit();
}
