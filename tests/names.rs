//! Proves that torrents whose names a machine cannot have are downloaded under others, that people
//! are told which, and that they are shared from there with the right info hash, after a restart,
//! too. On Linux every one of these names is possible, and stays. Peers that download are real
//! processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mini_bittorrent::shell::peer_shell::{PeerShell, quoted};
use mini_bittorrent::storage::memory::MemoryStorage;
use mini_bittorrent::storage::names::{Platform, SafePaths};
use mini_bittorrent::storage::resume::Share;
use mini_bittorrent::torrent::id::PieceHash;
use mini_bittorrent::torrent::layout::Layout;
use mini_bittorrent::torrent::metainfo::Metainfo;

use crate::support::peers::{
    Place, Program, free_port, make_file, random_bytes, start_peer, start_tracker, torrent_of,
    wait_until, watchdog,
};

const PIECE: u32 = 16384;
const SOON: Duration = Duration::from_secs(60);

/// A torrent as somebody on Linux makes it, and its bytes.
struct Made {
    metainfo: Arc<Metainfo>,
    bytes: Vec<u8>,
}

impl Made {
    fn of(layout: Layout) -> Made {
        let bytes = random_bytes(layout.name(), layout.total() as usize);
        let hashes = bytes.chunks(PIECE as usize).map(PieceHash::of).collect();
        let metainfo = Arc::new(Metainfo::build(layout, hashes, false));
        Made { metainfo, bytes }
    }

    fn single(name: &str, length: u64) -> Made {
        Made::of(Layout::single(name.into(), length, PIECE).unwrap())
    }

    fn folder(name: &str, paths: &[&str]) -> Made {
        let file = |(i, path): (usize, &&str)| {
            let names = path.split('/').map(String::from).collect();
            (names, 1000 + i as u64)
        };
        let files = paths.iter().enumerate().map(file).collect();
        Made::of(Layout::folder(name.into(), files, PIECE).unwrap())
    }

    fn name(&self) -> &str {
        self.metainfo.name()
    }

    /// Offers it to everybody, from memory: no disk has to have these names.
    fn offer(&self, shell: &PeerShell) {
        let storage = MemoryStorage::full(self.name(), self.bytes.clone());
        let share = Share::public(self.name().parse().unwrap());
        let seed = shell
            .peer
            .seed(self.metainfo.clone(), Arc::new(storage), Some(share), None);
        seed.unwrap();
    }

    fn safe(&self) -> SafePaths {
        SafePaths::new(&self.metainfo.layout, Platform::here()).unwrap()
    }

    /// Every file lies in the folder under its safe name, with its own bytes.
    fn assert_at(&self, download: &Path) {
        let layout = &self.metainfo.layout;
        let safe = self.safe();
        let mut rest = &self.bytes[..];
        for (file, path) in layout.files().iter().zip(&safe.files) {
            let bytes;
            (bytes, rest) = rest.split_at(file.length as usize);
            let path = match layout.is_single() {
                true => download.join(&safe.name),
                false => download.join(&safe.name).join(path),
            };
            let got = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            assert!(got == bytes, "{} has other bytes", path.display());
        }
    }
}

fn page_of(place: &Place, made: &Made) -> PathBuf {
    let name = format!("{}.names.txt", made.metainfo.info_hash);
    place.download().join(".mini-bittorrent").join(name)
}

#[test]
fn names_of_linux_are_made_possible_told_and_shared_from_there() {
    let _watchdog = watchdog(Duration::from_secs(300), "names of Linux");
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let at = tracker.local_addr();
    let euros = "€".repeat(85);
    let deep = "a folder with a long name/".repeat(16) + "at the end";
    let singles = ["CON", "a:b", "dots...", "space ", "q?", "nul.txt", &euros];
    let mut all: Vec<Made> = singles
        .iter()
        .map(|name| Made::single(name, 20_000))
        .collect();
    // And all of them in one folder, with twins.
    all.push(Made::folder(
        "every: kind ",
        &[
            "A",
            "a",
            "Folder/x",
            "folder/x",
            "CON",
            "aux/nul.txt",
            "a:b",
            "a_b",
            "dots...",
            "space ",
            "q?",
            "caf\u{e9}",
            "cafe\u{301}",
            "CAFE\u{301}",
            &euros,
            &deep,
        ],
    ));
    let seed = start_peer(&[at], &temp.path().join("seed"));
    for made in &all {
        made.offer(&seed);
    }
    wait_until("all are listed", || {
        tracker.state().list_files().len() == all.len()
    });

    let mut first = Place::new(temp.path(), "first", &[at]);
    first.listen = free_port();
    let mut getter = first.start(&[]);
    for made in &all {
        getter.type_line(&format!("download_file {}", quoted(made.name())));
        if made.safe().mappings.is_empty() {
            getter.line_with("Downloading ");
        } else {
            let shown = &made.safe().mappings[0];
            getter.line_with(&format!("{} is {}", shown.from, shown.to));
            let page = page_of(&first, made);
            getter.line_with(&format!("All of them: {}", page.display()));
        }
    }
    wait_until("all are complete", || {
        let listed = tracker.state().list_files();
        listed.iter().all(|file| file.seeders == 2)
    });
    getter.type_line("quit");
    assert!(getter.ended(SOON).success(), "{}", getter.said());
    for made in &all {
        made.assert_at(&first.download());
        let page = fs::read_to_string(page_of(&first, made));
        assert_eq!(page.is_ok(), !made.safe().mappings.is_empty());
        for mapping in made.safe().mappings {
            let lines = format!("\n{}\n    {}\n", mapping.from, mapping.to);
            assert!(page.as_ref().unwrap().contains(&lines), "{page:?}");
        }
    }
    let renamed = all.iter().filter(|made| !made.safe().mappings.is_empty());
    assert_eq!(renamed.count(), if cfg!(windows) { 7 } else { 0 });
    drop(seed);

    // The next run knows them, tells them again, and gives them to others.
    let mut getter = first.start(&[]);
    getter.line_with("listening on");
    getter.type_line("show_downloads");
    for made in all.iter().filter(|made| !made.safe().mappings.is_empty()) {
        let page = page_of(&first, made).display().to_string();
        wait_until("its page is named", || getter.said().contains(&page));
    }
    let second = Place::new(temp.path(), "second", &[at]);
    let mut other = second.start(&[]);
    for made in &all {
        other.type_line(&format!("download_file {}", quoted(made.name())));
    }
    other.type_line("wait");
    other.type_line("quit");
    assert!(other.ended(SOON).success(), "{}", other.said());
    for made in &all {
        made.assert_at(&second.download());
    }
    getter.type_line("quit");
    assert!(getter.ended(SOON).success(), "{}", getter.said());
    assert!(
        !getter.said().contains("is not available"),
        "{}",
        getter.said()
    );
}

/// `a.part` is what `a` is called until it is complete; on Windows so is `A.part`. Each of these once
/// wrote into the other's bytes.
#[test]
fn two_torrents_never_meet_in_one_file() {
    let _watchdog = watchdog(Duration::from_secs(120), "two torrents");
    let temp = tempfile::tempdir().unwrap();
    let add = |shell: &mut PeerShell, made: &Made| {
        let number = fs::read_dir(temp.path()).unwrap().count();
        let path = temp.path().join(format!("{number}.torrent"));
        fs::write(&path, made.metainfo.to_bytes()).unwrap();
        shell.run(&format!("add \"{}\"", path.display()))
    };
    let refused = |shell: &mut PeerShell, made: &Made| match add(shell, made) {
        Ok(_) => panic!("{} has a place", made.name()),
        Err(error) => error.to_string(),
    };
    // Nobody has them: they stay as they are.
    let mut shell = start_peer(&[], &temp.path().join("peer"));
    add(&mut shell, &Made::single("a", 20_000)).unwrap();
    let same_place = "something else is being fetched to";
    let error = refused(&mut shell, &Made::single("a.part", 20_000));
    assert!(error.contains(same_place), "{error}");
    add(&mut shell, &Made::single("b.part", 20_000)).unwrap();
    let error = refused(&mut shell, &Made::single("b", 20_001));
    assert!(error.contains(same_place), "{error}");
    for (first, other) in [("Film.mkv", "film.MKV"), ("caf\u{e9}", "cafe\u{301}")] {
        add(&mut shell, &Made::single(first, 20_000)).unwrap();
        let other = Made::single(other, 20_000);
        if cfg!(windows) {
            let error = refused(&mut shell, &other);
            assert!(error.contains(same_place), "{error}");
        } else {
            add(&mut shell, &other).unwrap();
        }
    }
    // One that is complete has the name that another would have until then.
    let mut shell = start_peer(&[], &temp.path().join("other peer"));
    let download = shell.peer.folder().to_path_buf();
    let whole = make_file(&download, "c.part", 20_000);
    let torrent = temp.path().join("c.part.torrent");
    fs::write(&torrent, torrent_of(&whole, &[])).unwrap();
    shell
        .run(&format!("add \"{}\"", torrent.display()))
        .unwrap();
    let before = fs::read(&whole).unwrap();
    let error = refused(&mut shell, &Made::single("c", 20_000));
    assert!(error.contains(same_place), "{error}");
    assert!(fs::read(&whole).unwrap() == before);
    // What lies there under another case is in the way where that is one name.
    fs::write(download.join("NOTES"), "mine").unwrap();
    let notes = Made::single("notes", 20_000);
    if cfg!(windows) {
        let error = refused(&mut shell, &notes);
        assert!(error.contains("is in the way"), "{error}");
    } else {
        add(&mut shell, &notes).unwrap();
    }
    assert_eq!(fs::read(download.join("NOTES")).unwrap(), b"mine");
}

/// A torrent that knew one of our own files by its length was taken for the beginning of a download:
/// our folder was renamed, and all that we remember with it.
#[test]
fn a_torrent_called_like_our_own_folder_is_left_alone() {
    let _watchdog = watchdog(Duration::from_secs(60), "our own folder");
    let temp = tempfile::tempdir().unwrap();
    let mut shell = start_peer(&[], &temp.path().join("peer"));
    let state = shell.peer.state_folder().to_path_buf();
    assert_eq!(fs::read(state.join("peer-id")).unwrap().len(), 20);
    for name in [".mini-bittorrent", ".MINI-bittorrent"] {
        let files = vec![(vec!["peer-id".into()], 20)];
        let made = Made::of(Layout::folder(name.into(), files, PIECE).unwrap());
        let torrent = temp.path().join("own.torrent");
        fs::write(&torrent, made.metainfo.to_bytes()).unwrap();
        let added = shell.run(&format!("add \"{}\"", torrent.display()));
        if name == ".mini-bittorrent" || cfg!(windows) {
            let error = added.err().unwrap().to_string();
            assert!(error.contains("it is this program's own folder"), "{error}");
        }
        assert!(state.join("peer-id").exists() && state.join("lock").exists());
    }
}

/// A file has one name, whatever letters it is typed with: it is one torrent.
#[test]
fn a_file_is_shared_under_the_name_that_the_disk_has() {
    let _watchdog = watchdog(Duration::from_secs(120), "names as typed");
    let temp = tempfile::tempdir().unwrap();
    let tracker = start_tracker();
    let mut shell = start_peer(&[tracker.local_addr()], &temp.path().join("peer"));
    make_file(temp.path(), "Notes.txt", 20_000);
    let typed = temp.path().join("NOTES.TXT");
    let result = shell.run(&format!("upload_file \"{}\"", typed.display()));
    assert_eq!(result.is_ok(), cfg!(windows));
    if cfg!(windows) {
        assert_eq!(shell.peer.torrents().unwrap()[0].name, "Notes.txt");
    }
}

/// Every folder of ours so deep that no path in it has less than 260 characters.
#[test]
fn paths_are_long_everywhere() {
    let _watchdog = watchdog(Duration::from_secs(180), "long paths");
    let temp = tempfile::tempdir().unwrap();
    let mut deep = temp.path().to_path_buf();
    deep.extend(["a folder whose name has some forty characters"; 7]);
    assert!(deep.as_os_str().len() > 300);
    fs::create_dir_all(&deep).unwrap();
    let at = free_port();
    let info = deep.join("tracker_info.txt");
    fs::write(&info, format!("{at}\n")).unwrap();
    // The tracker's database and key lie there, too.
    let mut tracker = std::process::Command::new(env!("CARGO_BIN_EXE_tracker"));
    tracker.current_dir(temp.path()).arg(&info).arg("1");
    let mut tracker = Program::start(tracker);
    tracker.line_with("listening on");
    let start = |name: &str, options: &[&str]| {
        let mut peer = std::process::Command::new(env!("CARGO_BIN_EXE_peer"));
        let folder = |of: &str| deep.join(name).join(of);
        fs::create_dir_all(folder("upload")).unwrap();
        peer.current_dir(temp.path());
        peer.arg("127.0.0.1:0").arg(&info);
        peer.arg("--download").arg(folder("download"));
        peer.arg("--upload").arg(folder("upload"));
        peer.arg("--log-file").arg(folder("log.txt"));
        peer.args(options);
        Program::start(peer)
    };
    let mut seed = start("seed", &["--watch", "files"]);
    seed.line_with("0 files are shared");
    let watched = make_file(&deep.join("seed").join("upload"), "watched.bin", 50_000);
    let log = deep.join("seed").join("log.txt");
    wait_until("it is shared", || {
        fs::read_to_string(&log).is_ok_and(|log| log.contains("watched.bin is shared"))
    });
    let folder = deep.join("a folder");
    make_file(&folder.join("below"), "x", 40_000);
    seed.type_line(&format!("upload_file \"{}\"", folder.display()));
    seed.line_with("File uploaded successfully");
    let mut getter = start(
        "getter",
        &[
            "-c",
            "download_file watched.bin; download_file \"a folder\"; wait",
        ],
    );
    let status = getter.ended(SOON);
    assert!(status.success(), "{}", getter.said());
    let got = deep.join("getter").join("download");
    assert!(fs::read(got.join("watched.bin")).unwrap() == fs::read(&watched).unwrap());
    let x = Path::new("a folder").join("below").join("x");
    assert!(fs::read(got.join(&x)).unwrap() == fs::read(deep.join(&x)).unwrap());
    // What was remembered is found again.
    let mut getter = start("getter", &["-c", "show_downloads"]);
    assert!(getter.ended(SOON).success(), "{}", getter.said());
    assert_eq!(
        getter.said().matches("sharing").count(),
        2,
        "{}",
        getter.said()
    );
    seed.type_line("quit");
    assert!(seed.ended(SOON).success(), "{}", seed.said());
    tracker.type_line("quit");
    assert!(tracker.ended(SOON).success(), "{}", tracker.said());
    assert!(deep.join("tracker-1.db").exists());
}
