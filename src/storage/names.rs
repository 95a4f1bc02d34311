//! Names from a torrent made possible on this machine's disk. Pure rules, testable for every
//! platform on any.
//!
//! A name that is possible stays exactly as it is. What is impossible is replaced so that one
//! sees it, the same way every time. Not here: links that lead elsewhere.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use sha1::{Digest, Sha1};

use crate::torrent::layout::Layout;

/// The longest name: in bytes on Unix, in UTF-16 units on Windows.
const MAX_NAME: usize = 255;
/// What a download is called until it is complete.
pub const PART: &str = ".part";
/// Stands for every character that is not possible.
const REPLACEMENT: char = '_';
/// Longer endings are not taken for an extension when a name is shortened.
const MAX_EXTENSION: usize = 16;
/// Impossible in names on Windows, beside control characters.
const WINDOWS_FORBIDDEN: &str = "<>:\"/\\|?*";

/// Whose rules for names hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Platform {
    Unix,
    Windows,
}

/// Why a name cannot be made safe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("the torrent has a file or folder without a name")]
    Empty,
    #[error("the torrent has a file or folder called `{0}`, which means elsewhere")]
    Elsewhere(String),
}

/// A name that had to be changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// As in the torrent, folders separated by `/`.
    pub from: String,
    /// As on disk, folders separated by `/`.
    pub to: String,
}

/// The names on disk of one torrent's files; no two are the same to the platform.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SafePaths {
    /// Of the file, or of the folder around all files.
    pub name: String,
    /// One path a file, below the torrent's folder; a single file's is `name`.
    pub files: Vec<PathBuf>,
    /// What had to be changed, for people to see.
    pub mappings: Vec<Mapping>,
}

impl Platform {
    pub fn here() -> Platform {
        if cfg!(windows) {
            Platform::Windows
        } else {
            Platform::Unix
        }
    }

    fn length(self, name: &str) -> usize {
        match self {
            Platform::Unix => name.len(),
            Platform::Windows => name.encode_utf16().count(),
        }
    }

    /// Names with the same key are the same file.
    fn key(self, name: &str) -> String {
        match self {
            Platform::Unix => name.to_string(),
            Platform::Windows => name.to_lowercase(),
        }
    }
}

/// `name` if it is possible as the name of one file, else the nearest name that is.
pub fn safe_name(name: &str, platform: Platform) -> Result<String, NameError> {
    match name {
        "" => return Err(NameError::Empty),
        "." | ".." => return Err(NameError::Elsewhere(name.into())),
        _ => {}
    }
    let mut safe: String = match platform {
        Platform::Unix => name.replace(['/', '\0'], &REPLACEMENT.to_string()),
        Platform::Windows => {
            let forbidden = |c: char| c < ' ' || WINDOWS_FORBIDDEN.contains(c);
            name.replace(forbidden, &REPLACEMENT.to_string())
        }
    };
    if platform == Platform::Windows {
        // Windows drops them silently, and then does not find the file.
        let kept = safe.trim_end_matches([' ', '.']).len();
        let dropped = safe.len() - kept;
        safe.truncate(kept);
        safe.extend(std::iter::repeat_n(REPLACEMENT, dropped));
        if is_device(&safe) {
            safe.insert(0, REPLACEMENT);
        }
    }
    Ok(shorten(&safe, MAX_NAME, platform))
}

/// What a file or folder called `name` is called until it is complete.
pub fn part_name(name: &str, platform: Platform) -> String {
    let room = MAX_NAME - PART.len();
    shorten(name, room, platform) + PART
}

/// Names that Windows takes for a device, whatever extension follows.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name);
    let stem = stem.trim_end_matches(' ').to_uppercase();
    match stem.as_str() {
        "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$" => true,
        _ => ["COM", "LPT"].iter().any(|port| {
            let number = stem.strip_prefix(port).unwrap_or_default();
            let mut digits = number.chars();
            digits.next().is_some_and(|c| "0123456789¹²³".contains(c)) && digits.next().is_none()
        }),
    }
}

/// Cuts a long name in front of its extension. A tag made of the whole name keeps long names
/// with the same beginning apart.
fn shorten(name: &str, room: usize, platform: Platform) -> String {
    if platform.length(name) <= room {
        return name.to_string();
    }
    let digest = Sha1::digest(name.as_bytes());
    let tag = format!("~{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2]);
    let (stem, extension) = split_extension(name);
    let room = room - platform.length(&tag) - platform.length(extension);
    cut(stem, room, platform) + &tag + extension
}

/// The stem, and the extension with its dot if there is a sensible one.
fn split_extension(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= MAX_EXTENSION => name.split_at(dot),
        _ => (name, ""),
    }
}

/// As many whole characters as `room` holds.
fn cut(text: &str, room: usize, platform: Platform) -> String {
    let mut used = 0;
    text.chars()
        .take_while(|&c| {
            used += match platform {
                Platform::Unix => c.len_utf8(),
                Platform::Windows => c.len_utf16(),
            };
            used <= room
        })
        .collect()
}

impl SafePaths {
    pub fn new(layout: &Layout, platform: Platform) -> Result<SafePaths, NameError> {
        let name = safe_name(layout.name(), platform)?;
        let mut mappings = Vec::new();
        if name != layout.name() {
            mappings.push(Mapping {
                from: layout.name().into(),
                to: name.clone(),
            });
        }
        if layout.is_single() {
            let files = vec![PathBuf::from(&name)];
            return Ok(SafePaths {
                name,
                files,
                mappings,
            });
        }
        let paths = Tree::new(platform).place(layout)?;
        for (file, path) in layout.files().iter().zip(&paths) {
            if file.path != *path {
                mappings.push(Mapping {
                    from: file.path.join("/"),
                    to: path.join("/"),
                });
            }
        }
        let files = paths.iter().map(|path| path.iter().collect()).collect();
        Ok(SafePaths {
            name,
            files,
            mappings,
        })
    }
}

/// The folders of one torrent while names are given out.
struct Tree {
    platform: Platform,
    /// By folder (0 is the torrent's own) and name in the torrent.
    folders: HashMap<(usize, String), (usize, String)>,
    /// By folder and key of a name on disk.
    taken: HashSet<(usize, String)>,
}

impl Tree {
    fn new(platform: Platform) -> Tree {
        Tree {
            platform,
            folders: HashMap::new(),
            taken: HashSet::new(),
        }
    }

    /// Paths on disk in the order of the layout. Files whose whole path is possible choose
    /// first, so that a changed name never takes the place of one that can stay.
    fn place(mut self, layout: &Layout) -> Result<Vec<Vec<String>>, NameError> {
        let mut first = Vec::new();
        let mut then = Vec::new();
        for (i, file) in layout.files().iter().enumerate() {
            if file.path.is_empty() {
                return Err(NameError::Empty);
            }
            let mut stays = true;
            for name in &file.path {
                stays &= safe_name(name, self.platform)? == *name;
            }
            if stays { &mut first } else { &mut then }.push(i);
        }
        let mut paths = vec![Vec::new(); layout.files().len()];
        for i in first.into_iter().chain(then) {
            paths[i] = self.path(&layout.files()[i].path)?;
        }
        Ok(paths)
    }

    fn path(&mut self, names: &[String]) -> Result<Vec<String>, NameError> {
        let Some((file, folders)) = names.split_last() else {
            return Err(NameError::Empty);
        };
        let mut at = 0;
        let mut path = Vec::with_capacity(names.len());
        for name in folders {
            let known = self.folders.get(&(at, name.clone())).cloned();
            let (id, safe) = match known {
                Some(folder) => folder,
                None => {
                    let folder = (self.folders.len() + 1, self.free_name(at, name)?);
                    self.folders.insert((at, name.clone()), folder.clone());
                    folder
                }
            };
            path.push(safe);
            at = id;
        }
        path.push(self.free_name(at, file)?);
        Ok(path)
    }

    /// Takes the safe name, or the first of `name (2)`, `name (3)`, … that nobody has.
    fn free_name(&mut self, folder: usize, name: &str) -> Result<String, NameError> {
        let safe = safe_name(name, self.platform)?;
        let mut free = safe.clone();
        let mut number = 2;
        while !self.taken.insert((folder, self.platform.key(&free))) {
            let (stem, extension) = split_extension(&safe);
            let suffix = format!(" ({number}){extension}");
            let room = MAX_NAME - self.platform.length(&suffix);
            free = cut(stem, room, self.platform) + &suffix;
            number += 1;
        }
        Ok(free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Platform::{Unix, Windows};

    fn check(name: &str, platform: Platform, expect: &str) {
        let got = safe_name(name, platform).unwrap_or_else(|error| error.to_string());
        assert_eq!(got, expect, "for {name:?} on {platform:?}");
    }

    #[test]
    fn unix_keeps_what_is_possible() {
        for name in [
            "a",
            "CON",
            "a:b",
            "q?",
            "dot.",
            "space ",
            "\\",
            "C:",
            "tab\t",
            "ä€🎈",
            &"n".repeat(255),
        ] {
            check(name, Unix, name);
        }
        check("../etc", Unix, ".._etc");
        check("a\0b", Unix, "a_b");
    }

    #[test]
    fn windows_names_become_possible() {
        for (name, expect) in [
            ("plain.txt", "plain.txt"),
            ("a:b", "a_b"),
            ("C:\\evil", "C__evil"),
            ("<>\"/|?*", "_______"),
            ("tab\t\u{1}", "tab__"),
            ("dots...", "dots___"),
            ("space ", "space_"),
            ("...", "___"),
            ("CON", "_CON"),
            ("con.txt", "_con.txt"),
            ("Aux .tar.gz", "_Aux .tar.gz"),
            ("COM1", "_COM1"),
            ("lpt¹.x", "_lpt¹.x"),
            ("COM¹", "_COM¹"),
            ("COM10", "COM10"),
            ("CONSOLE", "CONSOLE"),
            ("NUL.", "NUL_"),
            ("conin$", "_conin$"),
        ] {
            check(name, Windows, expect);
            check(expect, Windows, expect);
        }
    }

    #[test]
    fn elsewhere_is_refused() {
        for platform in [Unix, Windows] {
            assert_eq!(safe_name("", platform), Err(NameError::Empty));
            for name in [".", ".."] {
                let refused = Err(NameError::Elsewhere(name.into()));
                assert_eq!(safe_name(name, platform), refused);
            }
        }
    }

    #[test]
    fn long_names_keep_their_extension_and_stay_apart() {
        for platform in [Unix, Windows] {
            for long in ["x".repeat(300) + ".tar", "é🎈".repeat(100) + ".tar"] {
                let other = format!("y{long}");
                let (a, b) = (safe_name(&long, platform), safe_name(&other, platform));
                let (a, b) = (a.unwrap(), b.unwrap());
                assert!(platform.length(&a) <= 255 && a.ends_with(".tar"), "{a}");
                assert_ne!(a, b);
                let part = part_name(&a, platform);
                assert!(platform.length(&part) <= 255 && part.ends_with(PART));
            }
        }
        assert_eq!(part_name("a.iso", Unix), "a.iso.part");
        // 255 bytes in UTF-8, but few enough units: stays on Windows.
        check(&"€".repeat(85), Windows, &"€".repeat(85));
        // No extension to keep, and none longer than the name.
        let dotted = format!(".{}", "x".repeat(300));
        assert_eq!(safe_name(&dotted, Unix).unwrap().len(), 255);
    }

    fn paths(platform: Platform, files: &[&str]) -> String {
        let files = files
            .iter()
            .map(|path| (path.split('/').map(String::from).collect(), 1));
        let layout = Layout::folder("t".into(), files.collect(), 16384).unwrap();
        let safe = SafePaths::new(&layout, platform).unwrap();
        let show = |path: &PathBuf| path.display().to_string().replace('\\', "/");
        let files: Vec<_> = safe.files.iter().map(show).collect();
        files.join(" | ")
    }

    #[test]
    fn names_that_would_collide_get_different_ones() {
        let two = ["A.txt", "a.txt", "a.TXT"];
        assert_eq!(paths(Unix, &two), "A.txt | a.txt | a.TXT");
        assert_eq!(paths(Windows, &two), "A.txt | a (2).txt | a (3).TXT");
        assert_eq!(
            paths(Windows, &["D/x", "d/x", "D/X"]),
            "D/x | d (2)/x | D/X (2)"
        );
        // A file and a folder.
        assert_eq!(paths(Windows, &["a", "A/b"]), "a | A (2)/b");
        // The possible name stays though the changed one comes first.
        assert_eq!(paths(Windows, &["a:b", "a_b"]), "a_b (2) | a_b");
        assert_eq!(paths(Windows, &["É", "é"]), "É | é (2)");
    }

    #[test]
    fn mappings_tell_what_was_changed() {
        let files = vec![(vec!["CON".into(), "a".into()], 1), (vec!["b".into()], 1)];
        let layout = Layout::folder("q?".into(), files, 16384).unwrap();
        let map = |from: &str, to: &str| Mapping {
            from: from.into(),
            to: to.into(),
        };
        let windows = SafePaths::new(&layout, Windows).unwrap();
        assert_eq!(windows.mappings, [map("q?", "q_"), map("CON/a", "_CON/a")]);
        assert_eq!(SafePaths::new(&layout, Unix).unwrap().mappings, []);
    }

    proptest::proptest! {
        #[test]
        fn a_safe_name_is_possible_and_stays(name in "\\PC{1,300}|[A-Z. 0-9:/]{1,9}") {
            for platform in [Unix, Windows] {
                let Ok(safe) = safe_name(&name, platform) else {
                    assert!(name == "." || name == "..");
                    continue;
                };
                assert_eq!(safe_name(&safe, platform), Ok(safe.clone()));
                assert!(platform.length(&safe) <= MAX_NAME && !safe.contains('/'), "{safe}");
                assert!(platform.length(&part_name(&safe, platform)) <= MAX_NAME);
            }
        }
    }
}
