//! `in<R>.txt`: what the client of rank R owns, and what it wants.
//!
//! ```text
//! 2                                  files that it owns
//! file1 3                            a name, and of how many hashes the file is made
//! 5d0d3e1f0c6c5a3e0b7a9a4f2c1d8e7b   the hashes, 32 characters each, one a line
//! 11c1b0a5c3ef0f2d6f4f1b5e5b0d9c8a
//! 9e107d9d372bb6826bd81d3542a419d6
//! lecture @media/lecture.mp4         a real file, beside in<R>.txt or wherever the path leads
//! 1                                  files that it wants
//! file2
//! ```
//!
//! Lines may end as on Windows, blanks at the end of a line count for nothing, and blank lines may
//! follow the last one. All else must be as it stands above. Not here: real files are opened by who
//! shares them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::control::text::decode;
use crate::storage::names::{Platform, safe_name};

use super::rank::MAX_SIZE;

/// Characters of a hash.
pub const HASH: usize = 32;
/// The longest `in<R>.txt`, in bytes: 64 MiB.
pub const MAX_INPUT: u64 = 64 << 20;
/// The most files that one client owns, and the most that it wants.
pub const MAX_FILES: usize = 1000;
/// The most hashes of one file.
pub const MAX_HASHES: usize = 100_000;
/// The longest name, in bytes: with `client<R>_` before it, any disk takes it.
pub const MAX_NAME: usize = 200;
/// How much of a line is repeated in a message.
const SHOWN: usize = 40;

/// What one client owns and wants. Names are possible on every platform, have no blanks, and none is
/// here twice.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Input {
    pub owned: Vec<Owned>,
    pub wanted: Vec<String>,
}

/// A file that a client owns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owned {
    pub name: String,
    pub content: Content,
    /// The line that names it, from 1.
    pub line: usize,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// Each has [`HASH`] characters, and there is one at least.
    Hashes(Vec<String>),
    /// A real file; a relative path begins at the folder of `in<R>.txt`.
    Path(PathBuf),
}

/// Why there is no input, and where to look.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    #[error("cannot read {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} is no file")]
    NoFile { path: PathBuf },
    #[error("{path} is longer than {MAX_INPUT} bytes")]
    TooLong { path: PathBuf },
    #[error("{path}, line {line}: {problem}")]
    Malformed {
        path: PathBuf,
        line: usize,
        problem: Problem,
    },
}

/// What is wrong with a line.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    #[error("the file ends here, but {0} should follow")]
    Ends(Expected),
    #[error("this line is blank, but {0} should stand here")]
    Blank(Expected),
    #[error("`{found}` is not {expected}")]
    Wrong { expected: Expected, found: String },
    #[error("{found} is too many {what}: at most {max} are possible")]
    TooMany {
        what: &'static str,
        found: String,
        max: usize,
    },
    #[error("the file `{0}` has no hashes: one at least is needed")]
    NoHashes(String),
    #[error("`{found}` is no hash of `{file}`: {HASH} characters without blanks, here are {count}")]
    Hash {
        file: String,
        found: String,
        count: usize,
    },
    #[error(
        "`{0}` cannot be the name of a file everywhere: no blanks, none of < > : \" / \\ | ? *, \
         no name with a meaning of its own such as .. or NUL, at most {MAX_NAME} bytes"
    )]
    Name(String),
    #[error("`{name}` stands in line {first} already")]
    Twice { name: String, first: usize },
    #[error(
        "`{0}` follows the last wanted file: nothing should; is the number of wanted files right?"
    )]
    Extra(String),
    #[error("this line is not UTF-8 text")]
    NotText,
}

/// What should have been there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expected {
    OwnedCount,
    Owned,
    Hash,
    WantedCount,
    Wanted,
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Expected::OwnedCount => "the number of files that are owned",
            Expected::Owned => "an owned file: `name count`, or `name @path`",
            Expected::Hash => "the next hash",
            Expected::WantedCount => "the number of files that are wanted",
            Expected::Wanted => "the name of a wanted file",
        })
    }
}

/// The name of a client's input.
pub fn file_name(rank: usize) -> String {
    format!("in{rank}.txt")
}

/// How many clients have an input in `folder`, from the first one on.
pub fn count(folder: &Path) -> usize {
    let exists = |rank: &usize| folder.join(file_name(*rank)).exists();
    (1..MAX_SIZE).take_while(exists).count()
}

/// Reads `path`.
pub fn read(path: &Path) -> Result<Input, InputError> {
    let failed = |source| InputError::Io {
        path: path.to_path_buf(),
        source,
    };
    let mut bytes = Vec::new();
    // To open a pipe would wait for somebody at its other end.
    if !path.metadata().map_err(failed)?.is_file() {
        let path = path.to_path_buf();
        return Err(InputError::NoFile { path });
    }
    let file = File::open(path).map_err(failed)?;
    let read = file.take(MAX_INPUT + 1).read_to_end(&mut bytes);
    if read.map_err(failed)? as u64 > MAX_INPUT {
        let path = path.to_path_buf();
        return Err(InputError::TooLong { path });
    }
    parse(&bytes).map_err(|(line, problem)| InputError::Malformed {
        path: path.to_path_buf(),
        line,
        problem,
    })
}

/// The input that the text of a file says; else the line, from 1, and what is wrong with it.
pub fn parse(text: &[u8]) -> Result<Input, (usize, Problem)> {
    let text = decode(text).map_err(|error| (error.line, Problem::NotText))?;
    let mut lines = Lines::of(&text);
    let mut input = Input::default();
    let mut names = Names::default();
    for _ in 0..lines.count(Expected::OwnedCount)? {
        let owned = lines.owned()?;
        names.add(&owned.name, owned.line)?;
        input.owned.push(owned);
    }
    for _ in 0..lines.count(Expected::WantedCount)? {
        let (line, name) = lines.next(Expected::Wanted)?;
        check_name(line, name)?;
        names.add(name, line)?;
        input.wanted.push(name.to_string());
    }
    match lines.rest.next() {
        None => Ok(input),
        Some((line, extra)) => Err((line, Problem::Extra(shown(extra)))),
    }
}

impl Content {
    /// What a file of hashes holds: its hashes with LF between them. Of a real file nothing is known
    /// here.
    pub fn text(&self) -> Option<String> {
        match self {
            Content::Hashes(hashes) => Some(hashes.join("\n")),
            Content::Path(_) => None,
        }
    }
}

/// The lines that were not read yet, with their numbers from 1.
struct Lines<'a> {
    rest: Box<dyn Iterator<Item = (usize, &'a str)> + 'a>,
    /// How many there are.
    count: usize,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Lines<'a> {
        let text = text.trim_end();
        let lines = text.lines().enumerate();
        Lines {
            rest: Box::new(lines.map(|(i, line)| (i + 1, line.trim_end()))),
            count: text.lines().count(),
        }
    }

    fn next(&mut self, expected: Expected) -> Result<(usize, &'a str), (usize, Problem)> {
        match self.rest.next() {
            None => Err((self.count + 1, Problem::Ends(expected))),
            Some((line, "")) => Err((line, Problem::Blank(expected))),
            Some(found) => Ok(found),
        }
    }

    /// A line with a number of files.
    fn count(&mut self, expected: Expected) -> Result<usize, (usize, Problem)> {
        let (line, text) = self.next(expected)?;
        let count = number(text, MAX_FILES, "files", || Problem::Wrong {
            expected,
            found: shown(text),
        });
        count.map_err(|problem| (line, problem))
    }

    /// The line of an owned file, and its hashes.
    fn owned(&mut self) -> Result<Owned, (usize, Problem)> {
        let (line, text) = self.next(Expected::Owned)?;
        let wrong = || Problem::Wrong {
            expected: Expected::Owned,
            found: shown(text),
        };
        let (name, rest) = text.split_once([' ', '\t']).ok_or((line, wrong()))?;
        check_name(line, name)?;
        let rest = rest.trim_start();
        let content = match rest.strip_prefix('@') {
            Some("") => return Err((line, wrong())),
            Some(path) => Content::Path(path.into()),
            None => {
                let count = number(rest, MAX_HASHES, "hashes", wrong);
                let count = count.map_err(|problem| (line, problem))?;
                if count == 0 {
                    return Err((line, Problem::NoHashes(name.to_string())));
                }
                Content::Hashes(
                    (0..count)
                        .map(|_| self.hash(name))
                        .collect::<Result<_, _>>()?,
                )
            }
        };
        Ok(Owned {
            name: name.to_string(),
            content,
            line,
        })
    }

    fn hash(&mut self, file: &str) -> Result<String, (usize, Problem)> {
        let (line, text) = self.next(Expected::Hash)?;
        if text.len() == HASH && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(text.to_string());
        }
        let problem = Problem::Hash {
            file: file.to_string(),
            found: shown(text),
            count: text.chars().count(),
        };
        Err((line, problem))
    }
}

/// A number in digits alone.
fn number(
    text: &str,
    max: usize,
    what: &'static str,
    wrong: impl FnOnce() -> Problem,
) -> Result<usize, Problem> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    match text.parse() {
        Ok(number) if number <= max => Ok(number),
        _ => Err(Problem::TooMany {
            what,
            found: shown(text),
            max,
        }),
    }
}

fn check_name(line: usize, name: &str) -> Result<(), (usize, Problem)> {
    let possible = |platform| safe_name(name, platform).is_ok_and(|safe| safe == name);
    // The folder of a run is often shared by machines of several kinds.
    let good = name.len() <= MAX_NAME
        && !name.contains(char::is_whitespace)
        && [Platform::Unix, Platform::Windows]
            .into_iter()
            .all(possible);
    match good {
        true => Ok(()),
        false => Err((line, Problem::Name(shown(name)))),
    }
}

/// The names so far, as this machine tells them apart, with their lines. What is owned is not wanted,
/// too.
#[derive(Default)]
struct Names(HashMap<String, usize>);

impl Names {
    fn add(&mut self, name: &str, line: usize) -> Result<(), (usize, Problem)> {
        match self.0.insert(Platform::here().key(name), line) {
            None => Ok(()),
            Some(first) => {
                let name = name.to_string();
                Err((line, Problem::Twice { name, first }))
            }
        }
    }
}

/// As much of a line as a message has room for, without what terminals take for orders.
fn shown(text: &str) -> String {
    let printable = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut shown: String = text.chars().take(SHOWN).map(printable).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn check(text: &str, expect: &str) {
        let text = text.replace("AA", A).replace("BB", B);
        let got = match parse(text.as_bytes()) {
            Ok(input) => {
                let owned = input.owned.iter().map(|owned| match &owned.content {
                    Content::Path(path) => format!("{}@{}", owned.name, path.display()),
                    Content::Hashes(hashes) => format!("{}:{}", owned.name, hashes.len()),
                });
                let owned: Vec<_> = owned.collect();
                format!("{} wants {}", owned.join(" "), input.wanted.join(" "))
            }
            Err((line, problem)) => format!("line {line}: {problem}"),
        };
        assert_eq!(got, expect, "for {text:?}");
    }

    /// They would be written to one file.
    #[test]
    fn names_that_are_one_file_on_windows_are_one_name_there() {
        let expect = match cfg!(windows) {
            true => "line 4: `a` stands in line 3 already",
            false => " wants A a",
        };
        check("0\n2\nA\na\n", expect);
    }

    #[test]
    fn reads_what_the_homework_writes() {
        check("1\nf1 2\nAA\nBB\n2\nf2\nf3\n", "f1:2 wants f2 f3");
        check("1\nf1 2\nAA\nBB\n2\nf2\nf3", "f1:2 wants f2 f3");
        check("0\n0\n", " wants ");
        check("2\na 1\nAA\nb 1\nAA\n0", "a:1 b:1 wants ");
        check(
            "\u{feff}1\r\nf1 1\r\nAA\r\n1 \r\nf2\r\n\r\n \r\n",
            "f1:1 wants f2",
        );
        check(
            "1\nlecture @/srv/my lecture.mp4\n0\n",
            "lecture@/srv/my lecture.mp4 wants ",
        );
    }

    #[test]
    fn fixed_size_name_buffers() {
        // The original had room for 15 characters, 10 files and 100 hashes, and wrote beyond it.
        let name = "n".repeat(MAX_NAME);
        check(&format!("0\n1\n{name}"), &format!(" wants {name}"));
        let hashes = format!("{A}\n").repeat(5000);
        check(&format!("1\nf 5000\n{hashes}0"), "f:5000 wants ");
        let wanted: Vec<_> = (0..MAX_FILES).map(|i| format!("file{i}")).collect();
        check(
            &format!("0\n{MAX_FILES}\n{}", wanted.join("\n")),
            &format!(" wants {}", wanted.join(" ")),
        );
    }

    #[test]
    fn errors_name_the_line_and_what_should_be_there() {
        for (text, expect) in [
            (
                "",
                "line 1: the file ends here, but the number of files that are owned should follow",
            ),
            ("x", "line 1: `x` is not the number of files that are owned"),
            (
                "-1",
                "line 1: `-1` is not the number of files that are owned",
            ),
            (
                "1 2",
                "line 1: `1 2` is not the number of files that are owned",
            ),
            (
                "1001",
                "line 1: 1001 is too many files: at most 1000 are possible",
            ),
            (
                "99999999999999999999999",
                "line 1: 99999999999999999999999 is too many files: at most 1000 are possible",
            ),
            (
                "1\n\nAA",
                "line 2: this line is blank, but an owned file: `name count`, or `name @path` should stand here",
            ),
            (
                "1\nf",
                "line 2: `f` is not an owned file: `name count`, or `name @path`",
            ),
            (
                "1\nf two",
                "line 2: `f two` is not an owned file: `name count`, or `name @path`",
            ),
            (
                "1\nf @",
                "line 2: `f @` is not an owned file: `name count`, or `name @path`",
            ),
            (
                "1\nf 0",
                "line 2: the file `f` has no hashes: one at least is needed",
            ),
            (
                "1\nf 100001",
                "line 2: 100001 is too many hashes: at most 100000 are possible",
            ),
            (
                "1\nf 2\nAA",
                "line 4: the file ends here, but the next hash should follow",
            ),
            (
                "1\nf 2\nAA\n1\nf2",
                "line 4: `1` is no hash of `f`: 32 characters without blanks, here are 1",
            ),
            (
                "1\nf 1\nAAx\n0",
                "line 3: `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaax` is no hash of `f`: 32 characters without blanks, here are 33",
            ),
            (
                "1\nf 1\nAA",
                "line 4: the file ends here, but the number of files that are wanted should follow",
            ),
            (
                "1\nf 1\nAA\nBB\n0",
                "line 4: `bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb` is not the number of files that are wanted",
            ),
            (
                "0\n2\na",
                "line 4: the file ends here, but the name of a wanted file should follow",
            ),
            (
                "0\n2\na\n\nb",
                "line 4: this line is blank, but the name of a wanted file should stand here",
            ),
            ("0\n2\na\na", "line 4: `a` stands in line 3 already"),
            (
                "2\na 1\nAA\na 1\nBB\n0",
                "line 4: `a` stands in line 2 already",
            ),
            ("1\na 1\nAA\n1\na", "line 5: `a` stands in line 2 already"),
            (
                "0\n1\na\nb\n",
                "line 4: `b` follows the last wanted file: nothing should; is the number of wanted files right?",
            ),
        ] {
            check(text, expect);
        }
    }

    #[test]
    fn names_that_are_no_file_names_are_refused() {
        let long = "n".repeat(MAX_NAME + 1);
        for name in [
            "..", ".", "a/b", "a\\b", "C:", "NUL", "nul.txt", "a b", "a.", "a*", "\u{1}", &long,
        ] {
            for text in [format!("0\n1\n{name}"), format!("1\n{name} 1\n{A}\n0")] {
                let (line, problem) = parse(text.as_bytes()).unwrap_err();
                let refused = matches!(problem, Problem::Name(_));
                // What has a blank is no line of an owned file.
                let not_a_line = name.contains(' ') && matches!(problem, Problem::Wrong { .. });
                assert!(refused || not_a_line, "{text:?}: line {line}: {problem}");
            }
        }
    }

    #[test]
    fn no_bytes_are_a_panic() {
        assert_eq!(parse(b"0\n1\n\xff"), Err((3, Problem::NotText)));
        let text = format!("2\nf1 2\n{A}\n{B}\ng @x\n2\nf2\nf3");
        for end in 0..text.len() - 1 {
            let _ = parse(&text.as_bytes()[..end]);
        }
    }

    #[test]
    fn the_file_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let error = read(temp.path()).unwrap_err();
        assert!(matches!(error, InputError::NoFile { .. }), "{error}");
        let path = temp.path().join(file_name(3));
        assert!(read(&path).unwrap_err().to_string().contains("in3.txt"));
        std::fs::write(&path, "0\nx\n").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(
            error.ends_with("in3.txt, line 2: `x` is not the number of files that are wanted"),
            "{error}"
        );
        std::fs::write(&path, format!("1\nf 2\n{A}\n{B}\n0")).unwrap();
        let input = read(&path).unwrap();
        assert_eq!(input.owned[0].content.text(), Some(format!("{A}\n{B}")));
    }
}
