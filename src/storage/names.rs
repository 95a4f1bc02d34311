//! Names from a torrent made possible on this machine's disk. Pure rules, testable for every
//! platform on any.
//!
//! A name that is possible stays exactly as it is. What is impossible is replaced so that one
//! sees it, the same way every time. Not here: links that lead elsewhere.

use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};

use sha1::{Digest, Sha1};
use unicode_normalization::UnicodeNormalization;

use crate::torrent::layout::{File, Layout};

/// The longest name, in bytes. Windows counts UTF-16 units, which are never more; but what is a drive
/// there may be the disk of a Unix machine.
const MAX_NAME: usize = 255;
/// What a download is called until it is complete.
pub const PART: &str = ".part";
/// Stands for every character that is not possible.
const REPLACEMENT: char = '_';
/// Longer endings are not taken for an extension when a name is shortened.
const MAX_EXTENSION: usize = 16;
/// Room for the number of a twin in its name, in bytes: ` (1234567)`. A torrent has fewer files.
const MAX_NUMBER: usize = 10;
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
    /// Of the file, or of the folder around all files: the user may have chosen another one.
    pub name: String,
    /// One path a file, below the torrent's folder; a single file's is the torrent's name.
    pub files: Vec<PathBuf>,
    /// What had to be changed, for people to see.
    pub mappings: Vec<Mapping>,
    /// [`SafePaths::new`] would give the same.
    by_rule: bool,
}

impl Platform {
    pub fn here() -> Platform {
        if cfg!(windows) {
            Platform::Windows
        } else {
            Platform::Unix
        }
    }

    /// Names with the same key are the same file, or may become it.
    ///
    /// NTFS compares names character by character in upper case: so it is done here, and not by
    /// words, where the last letter of a Greek one is special. Then in lower case, which takes more
    /// for the same: too many rather than too few. NTFS keeps `é` and `e` with an accent
    /// apart, but what packs, copies or synchronises files makes one of the two of both, and then
    /// writes one file over the other: so names are composed (NFC) before they are compared.
    /// On Linux names are bytes. A disk there that sees it otherwise is noticed when the files are made
    /// ([`super::files`]).
    pub fn key(self, name: &str) -> String {
        match self {
            Platform::Unix => name.to_string(),
            Platform::Windows => {
                let folded = name.nfc().flat_map(char::to_uppercase);
                folded.flat_map(char::to_lowercase).nfc().collect()
            }
        }
    }

    /// Whether two paths, written alike, are the same place.
    pub fn is_same_place(self, one: &Path, other: &Path) -> bool {
        one == other
            || match (one.to_str(), other.to_str()) {
                (Some(one), Some(other)) => self.key(one) == self.key(other),
                _ => false,
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
    Ok(shorten(&safe, MAX_NAME))
}

/// What a file or folder called `name` is called until it is complete.
pub fn part_name(name: &str) -> String {
    shorten(name, MAX_NAME - PART.len()) + PART
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
fn shorten(name: &str, room: usize) -> String {
    if name.len() <= room {
        return name.to_string();
    }
    let digest = Sha1::digest(name.as_bytes());
    let tag = format!("~{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2]);
    let (stem, extension) = split_extension(name);
    cut(stem, room - tag.len() - extension.len()).to_string() + &tag + extension
}

/// The stem, and the extension with its dot if there is a sensible one.
fn split_extension(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= MAX_EXTENSION => name.split_at(dot),
        _ => (name, ""),
    }
}

/// As many whole characters as `room` bytes hold.
fn cut(text: &str, room: usize) -> &str {
    let mut end = room.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl SafePaths {
    /// Names by the rules of a platform.
    pub fn new(layout: &Layout, platform: Platform) -> Result<SafePaths, NameError> {
        let name = safe_name(layout.name(), platform)?;
        let files = match layout.is_single() {
            true => vec![PathBuf::from(&name)],
            false => Tree::new(platform).place(layout)?,
        };
        Ok(SafePaths::named(layout, name, files, true))
    }

    /// The names of content that lies on this disk already, so they are possible. By the rules some
    /// might have others: a disk holds what another system put there, too.
    pub fn as_it_lies(layout: &Layout, platform: Platform) -> Result<SafePaths, NameError> {
        let by_rule = SafePaths::new(layout, platform)?;
        if by_rule.mappings.is_empty() {
            return Ok(by_rule);
        }
        let path = |file: &File| file.path.iter().collect();
        let files = match layout.is_single() {
            true => vec![PathBuf::from(layout.name())],
            false => layout.files().iter().map(path).collect(),
        };
        Ok(SafePaths::named(layout, layout.name().into(), files, false))
    }

    /// Names that were remembered. None if they are not of this layout, or lead elsewhere.
    pub fn remembered(
        layout: &Layout,
        platform: Platform,
        files: Vec<PathBuf>,
    ) -> Option<SafePaths> {
        let is_inside = |path: &PathBuf| {
            let mut parts = path.components();
            !path.as_os_str().is_empty() && parts.all(|part| matches!(part, Component::Normal(_)))
        };
        if files.len() != layout.files().len() || !files.iter().all(is_inside) {
            return None;
        }
        let name = safe_name(layout.name(), platform).ok()?;
        Some(SafePaths::named(layout, name, files, false))
    }

    /// What is to be remembered of them: nothing, if the rules say the same and changed nothing.
    pub fn to_remember(&self) -> &[PathBuf] {
        match self.by_rule && self.mappings.is_empty() {
            true => &[],
            false => &self.files,
        }
    }

    /// What lies at `target`: if it has a name of its own there, that was the user's wish, and nothing
    /// that had to be changed. Said twice, it is the same as said once.
    pub(super) fn at(self, target: &Path, layout: &Layout) -> SafePaths {
        match target.file_name().map(|name| name.to_string_lossy()) {
            Some(own) if own != self.name => {
                let unchanged = layout.name().into();
                let paths = SafePaths::named(layout, unchanged, self.files, self.by_rule);
                SafePaths {
                    name: own.into(),
                    ..paths
                }
            }
            _ => self,
        }
    }

    /// The changed names, for people to read: each in two lines.
    pub fn page(&self) -> String {
        let mut page = "Names that this machine cannot have. Each as it is in the torrent, and \
                        below it as it is on the disk:\n"
            .to_string();
        for Mapping { from, to } in &self.mappings {
            page += &format!("\n{}\n    {}\n", on_one_line(from), on_one_line(to));
        }
        page
    }

    /// The first mapping is that of the torrent's own name, if it was changed.
    fn named(layout: &Layout, name: String, files: Vec<PathBuf>, by_rule: bool) -> SafePaths {
        let mut mappings = Vec::new();
        let mut compare = |from: String, to: String| {
            if from != to {
                mappings.push(Mapping { from, to });
            }
        };
        compare(layout.name().into(), name.clone());
        if !layout.is_single() {
            for (file, path) in layout.files().iter().zip(&files) {
                let names = path.iter().map(|name| name.to_string_lossy());
                compare(file.path.join("/"), names.collect::<Vec<_>>().join("/"));
            }
        }
        SafePaths {
            name,
            files,
            mappings,
            by_rule,
        }
    }
}

/// Characters that would do something to who reads it are spelled out.
fn on_one_line(name: &str) -> String {
    let spelled = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    name.chars().map(spelled).collect()
}

/// The folders of one torrent while names are given out.
struct Tree {
    platform: Platform,
    /// By folder (0 is the torrent's own) and name in the torrent.
    folders: HashMap<(usize, String), (usize, String)>,
    /// By folder and key of a name on disk.
    taken: HashSet<(usize, String)>,
    /// The number for the next twin, by folder and key of what stands around the number. Without it
    /// the time for a torrent full of twins would grow with their square.
    next_number: HashMap<(usize, String), u32>,
}

impl Tree {
    fn new(platform: Platform) -> Tree {
        Tree {
            platform,
            folders: HashMap::new(),
            taken: HashSet::new(),
            next_number: HashMap::new(),
        }
    }

    /// Paths on disk in the order of the layout. Files whose whole path is possible choose
    /// first, so that a changed name never takes the place of one that can stay.
    fn place(mut self, layout: &Layout) -> Result<Vec<PathBuf>, NameError> {
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
        let mut paths = vec![PathBuf::new(); layout.files().len()];
        for i in first.into_iter().chain(then) {
            paths[i] = self.path(&layout.files()[i].path)?;
        }
        Ok(paths)
    }

    fn path(&mut self, names: &[String]) -> Result<PathBuf, NameError> {
        let Some((file, folders)) = names.split_last() else {
            return Err(NameError::Empty);
        };
        let mut at = 0;
        let mut path = PathBuf::new();
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
        if self.taken.insert((folder, self.platform.key(&safe))) {
            return Ok(safe);
        }
        let (stem, extension) = split_extension(&safe);
        let stem = cut(stem, MAX_NAME - MAX_NUMBER - extension.len());
        let around = self.platform.key(&format!("{stem}{extension}"));
        let number = self.next_number.entry((folder, around)).or_insert(2);
        loop {
            let free = format!("{stem} ({number}){extension}");
            *number += 1;
            if self.taken.insert((folder, self.platform.key(&free))) {
                return Ok(free);
            }
        }
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
                assert!(a.len() <= 255 && a.ends_with(".tar"), "{a}");
                assert_ne!(a, b);
                let part = part_name(&a);
                assert!(part.len() <= 255 && part.ends_with(PART));
            }
        }
        assert_eq!(part_name("a.iso"), "a.iso.part");
        // 255 bytes: it stays, but makes room for what it is called until it is complete.
        check(&"€".repeat(85), Windows, &"€".repeat(85));
        assert!(part_name(&"€".repeat(85)).starts_with(&("€".repeat(81) + "~")));
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

    /// Every twin tried all numbers from 2 on: a torrent could keep us busy for hours.
    #[test]
    fn many_twins_do_not_try_each_others_numbers() {
        let mut tree = Tree::new(Windows);
        let twin = |i: usize| -> String {
            let letter = |(at, c): (usize, char)| match i >> at & 1 {
                0 => c,
                _ => c.to_ascii_uppercase(),
            };
            "abcdefghij".chars().enumerate().map(letter).collect()
        };
        let twins: Vec<String> = (0..1024).map(twin).collect();
        for (i, name) in twins.iter().enumerate().skip(1) {
            let free = tree.free_name(0, name).unwrap();
            let expect = match i {
                1 => name.clone(),
                _ => format!("{name} ({i})"),
            };
            assert_eq!(free, expect);
        }
        let next = |tree: &Tree| Vec::from_iter(tree.next_number.values().copied());
        assert_eq!(next(&tree), [1024]);
        // Names so long that nothing of what tells them apart is left beside the number.
        let mut tree = Tree::new(Windows);
        for i in 0..100 {
            for same in ["x", "X"] {
                let name = same.to_string() + &"x".repeat(252) + &format!("{i:02}");
                assert!(tree.free_name(0, &name).unwrap().len() <= MAX_NAME);
            }
        }
        assert_eq!(next(&tree), [102]);
    }

    /// The same word written in two ways, in every combination with letters of two sizes.
    #[test]
    fn names_that_look_the_same_never_meet_on_windows() {
        let twins = ["caf\u{e9}", "cafe\u{301}", "CAF\u{c9}", "CAFE\u{301}"];
        assert_eq!(paths(Unix, &twins), twins.join(" | "));
        assert_eq!(
            paths(Windows, &twins),
            "caf\u{e9} | cafe\u{301} (2) | CAF\u{c9} (3) | CAFE\u{301} (4)"
        );
        // Three signs for one letter; the last sigma of a word is written otherwise, and is the same
        // in upper case.
        for twins in [
            ["\u{c5}", "\u{212b}", "A\u{30a}"],
            ["ΑΣ", "ας", "ασ"],
            ["ǆ", "ǅ", "Ǆ"],
            ["가", "\u{1100}\u{1161}", "가 "],
        ] {
            let keys: HashSet<String> = twins.map(|name| Windows.key(name.trim())).into();
            assert_eq!(keys.len(), 1, "{twins:?}: {keys:?}");
        }
        assert_ne!(Windows.key("a"), Windows.key("ä"));
        assert_ne!(Windows.key("1"), Windows.key("¹"));
        let place = |platform: Platform, other: &str| {
            platform.is_same_place(Path::new("C:\\Down\\Caf\u{e9}"), Path::new(other))
        };
        assert!(place(Windows, "c:\\down\\cafe\u{301}"));
        assert!(!place(Windows, "c:\\down\\cafe") && !place(Unix, "c:\\down\\cafe\u{301}"));
    }

    #[test]
    fn remembered_names_are_those_that_were_given() {
        let files = vec![(vec!["A".into(), "x".into()], 1), (vec!["a".into()], 1)];
        let layout = Layout::folder("t".into(), files, 16384).unwrap();
        let given = SafePaths::new(&layout, Windows).unwrap();
        let names = given.to_remember().to_vec();
        assert_eq!(names, [Path::new("A/x"), Path::new("a (2)")]);
        let again = SafePaths::remembered(&layout, Windows, names.clone()).unwrap();
        assert_eq!((&again.name, &again.files), (&given.name, &given.files));
        assert_eq!(again.mappings, given.mappings);
        assert_eq!(again.to_remember(), names);
        assert!(
            SafePaths::new(&layout, Unix)
                .unwrap()
                .to_remember()
                .is_empty()
        );
        // What lies there has its names, whatever the rules say of them.
        let lies = SafePaths::as_it_lies(&layout, Windows).unwrap();
        assert_eq!(lies.files, [Path::new("A/x"), Path::new("a")]);
        assert!(lies.mappings.is_empty() && lies.to_remember() == lies.files);
        let unix = SafePaths::as_it_lies(&layout, Unix).unwrap();
        assert!(unix.to_remember().is_empty());
        for wrong in [&["x"][..], &["x", "../y"], &["x", ""], &["x", "/y"], &[]] {
            let names = wrong.iter().map(PathBuf::from).collect();
            let got = SafePaths::remembered(&layout, Platform::here(), names);
            assert_eq!(got, None, "{wrong:?}");
        }
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
        assert!(
            windows
                .page()
                .ends_with("\n\nq?\n    q_\n\nCON/a\n    _CON/a\n")
        );
        // The user has chosen another place. It may be opened there again and again.
        let mine = Path::new("/down/mine");
        let elsewhere = windows.clone().at(mine, &layout);
        assert_eq!(elsewhere.mappings, [map("CON/a", "_CON/a")]);
        assert_eq!(elsewhere.clone().at(mine, &layout), elsewhere);
        let single = Layout::single("a:b.iso".into(), 3, 16384).unwrap();
        let single = SafePaths::new(&single, Windows).unwrap().at(mine, &single);
        assert_eq!(single.mappings, []);
        assert_eq!(windows.clone().at(Path::new("/down/q_"), &layout), windows);
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
                assert!(safe.len() <= MAX_NAME && !safe.contains('/'), "{safe}");
                assert!(part_name(&safe).len() <= MAX_NAME);
            }
        }
    }
}
