//! Proves that imports run downwards only, and that the pure rooms are pure.
//!
//! The source is read as text. Test modules, which stand last in a file, may do as they like.

use std::fs;
use std::path::{Path, PathBuf};

/// Rooms that may import each other's only downwards: a room imports from rows below its own, or
/// from itself. The order is that of docs/ARCHITECTURE.md.
const ROWS: &[&[&str]] = &[
    &["shell"],
    &["peer", "tracker"],
    &["runtime", "storage"],
    &["registry"],
    &["control"],
    &["announce", "wire"],
    &["torrent"],
];

/// Rooms that never touch the world.
const PURE: &[&str] = &["torrent", "wire", "announce", "control", "registry"];

/// What the world is made of.
const WORLD: &[&str] = &[
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "std::fs",
    "std::thread",
    "std::process",
    "std::env",
    "Mutex",
    "RwLock",
    "Condvar",
    "crossbeam",
    "Instant::now",
    "SystemTime",
    "rand::rng()",
    "from_os_rng",
    "println!",
    "print!(",
];

/// Every source file of a room, with its text up to the tests.
fn sources(room: &str) -> Vec<(PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![src.join(format!("{room}.rs"))];
    let mut folders = vec![src.join(room)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                files.push(path);
            }
        }
    }
    let is_test = |path: &PathBuf| path.file_name().is_some_and(|name| name == "tests.rs");
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a source file that was listed");
        let code = text
            .split("#[cfg(test)]\nmod tests")
            .next()
            .unwrap_or_default()
            .to_string();
        (path, code)
    };
    files
        .into_iter()
        .filter(|path| path.exists() && !is_test(path))
        .map(read)
        .collect()
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

#[test]
fn imports_run_downwards() {
    let mut wrong = Vec::new();
    for (row, rooms) in ROWS.iter().enumerate() {
        let below: Vec<&str> = ROWS[row + 1..].concat();
        for room in *rooms {
            let files = sources(room);
            assert!(!files.is_empty(), "the room {room} has no files");
            for (path, text) in files {
                for line in text.lines().filter(|line| !is_comment(line)) {
                    let imported = line.split("crate::").skip(1);
                    for name in imported.filter_map(|rest| rest.split([':', ';', ' ']).next()) {
                        let known = ROWS.iter().any(|rooms| rooms.contains(&name));
                        if known && name != *room && !below.contains(&name) {
                            wrong.push(format!("{}: {}", path.display(), line.trim()));
                        }
                    }
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "these imports do not run downwards:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn pure_rooms_do_not_touch_the_world() {
    let mut wrong = Vec::new();
    for room in PURE {
        for (path, text) in sources(room) {
            for line in text.lines().filter(|line| !is_comment(line)) {
                for thing in WORLD.iter().filter(|thing| line.contains(**thing)) {
                    wrong.push(format!("{} names {thing}: {}", path.display(), line.trim()));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "these rooms are pure:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn every_room_has_its_row() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in fs::read_dir(src).expect("src").flatten() {
        let path = entry.path();
        let name = path
            .file_stem()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let known =
            ROWS.iter().any(|rooms| rooms.contains(&name)) || ["lib", "bin"].contains(&name);
        assert!(known, "{} is in no row of this test", path.display());
    }
}

/// A file that neither names would never run.
#[test]
fn every_test_file_is_in_the_suite_or_a_program() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let [suite, cargo] =
        ["tests/suite.rs", "Cargo.toml"].map(|path| fs::read_to_string(root.join(path)).unwrap());
    for entry in fs::read_dir(root.join("tests")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if path.extension().is_some_and(|it| it == "rs") {
            let named = suite.contains(&format!("\nmod {name};\n"))
                || cargo.contains(&format!("[[test]]\nname = \"{name}\"\n"));
            assert!(named, "{} is in no program", path.display());
        }
    }
}

#[test]
fn the_test_finds_what_it_looks_for() {
    // A test that reads source as text could pass because it reads nothing.
    let text: String = sources("peer").into_iter().map(|(_, text)| text).collect();
    assert!(text.contains("crate::torrent") && text.contains("Instant::now"));
}
