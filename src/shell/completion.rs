//! Completion and hints at a prompt, made from the table of commands.

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use rustyline::completion::{Completer, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};

use crate::control::command::{self, Arg, Command, Kind, Place, Presence};
use crate::control::frame::quote_word;
use crate::storage::names::Platform;

/// What the prompt's owner knows of the things that an argument can be: names of files, groups.
/// The second argument are the words before it.
pub type Names = Box<dyn Fn(Kind, &[String]) -> Vec<String> + Send>;

/// What is being typed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Typing {
    Command,
    /// The whole line is a path on this machine.
    Path,
    /// Something that nobody can complete.
    Answer,
}

pub struct Completion {
    place: Place,
    names: Names,
    pub typing: Typing,
    platform: Platform,
}

impl Completion {
    pub fn new(place: Place, names: Names) -> Completion {
        Completion {
            place,
            names,
            typing: Typing::Command,
            platform: Platform::here(),
        }
    }

    /// Whose commands are completed.
    pub fn place(&self) -> Place {
        self.place
    }
}

/// A line up to the cursor: the complete words, and where the last, unfinished one begins.
struct Typed {
    words: Vec<String>,
    last: String,
    last_start: usize,
}

fn typed(line: &str) -> Typed {
    let mut typed = Typed {
        words: Vec::new(),
        last: String::new(),
        last_start: 0,
    };
    let mut quoted = false;
    for (at, c) in line.char_indices() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => {
                let word = std::mem::take(&mut typed.last);
                if at > typed.last_start {
                    typed.words.push(word);
                }
                typed.last_start = at + 1;
            }
            _ => typed.last.push(c),
        }
    }
    typed
}

impl Typed {
    /// The commands that it can be: a name may stand for several.
    fn commands(&self, place: Place) -> Vec<&'static Command> {
        let name = self.words.first();
        let named = name.and_then(|name| command::find(place, name).ok());
        named.unwrap_or_default()
    }

    /// The argument that the last word is.
    fn arg(&self, command: &Command) -> Option<&'static Arg> {
        let before = self.words.last().filter(|word| word.starts_with("--"));
        if let Some(flag) = before {
            return command.args.iter().find(|arg| arg.flag() == Some(flag));
        }
        command
            .args
            .iter()
            .filter(|arg| arg.flag().is_none())
            .nth(self.positional())
    }

    /// How many complete words after the command are neither options nor their values.
    fn positional(&self) -> usize {
        let options = self
            .words
            .iter()
            .filter(|word| word.starts_with("--"))
            .count();
        (self.words.len() - 1).saturating_sub(2 * options)
    }
}

impl Completion {
    /// Every word that can stand at the end of `line`, with the place where it begins.
    fn candidates(&self, line: &str) -> (usize, Vec<Pair>) {
        match self.typing {
            Typing::Command => {}
            Typing::Path => return (0, whole_lines(line, self.platform)),
            Typing::Answer => return (0, Vec::new()),
        }
        let typed = typed(line);
        let mut pairs: Vec<Pair> = if typed.words.is_empty() {
            command::commands(self.place)
                .map(|command| word(command.name))
                .collect()
        } else {
            let commands = typed.commands(self.place);
            let mut pairs = Vec::new();
            for command in commands {
                if typed.last.starts_with("--") {
                    pairs.extend(command.args.iter().filter_map(Arg::flag).map(word));
                } else if let Some(arg) = typed.arg(command) {
                    pairs.extend(self.values(arg.kind, &typed));
                }
            }
            pairs
        };
        pairs.retain(|pair| begins(&pair.display, &typed.last, self.platform));
        pairs.sort_by(|a, b| a.display.cmp(&b.display));
        pairs.dedup_by(|a, b| a.display == b.display);
        (typed.last_start, pairs)
    }

    fn values(&self, kind: Kind, typed: &Typed) -> Vec<Pair> {
        let names = || {
            let names = (self.names)(kind, &typed.words);
            names.iter().map(|name| word(name)).collect::<Vec<Pair>>()
        };
        match kind {
            Kind::Path | Kind::PathOrGroup | Kind::Destination => {
                let mut pairs = paths(&typed.last, self.platform, |_| true);
                pairs.extend(names());
                pairs
            }
            Kind::TorrentFile => {
                let is_torrent = |name: &str| name.ends_with(".torrent");
                paths(&typed.last, self.platform, is_torrent)
            }
            Kind::OneOf(words) => words.iter().map(|value| word(value)).collect(),
            Kind::Command => command::commands(self.place)
                .map(|c| word(c.name))
                .collect(),
            _ => names(),
        }
    }
}

/// A word that is complete once it is chosen.
fn word(text: &str) -> Pair {
    Pair {
        display: text.to_string(),
        replacement: quote_word(text) + " ",
    }
}

/// Paths as they are, without quotes or a space behind: nothing else is on the line.
fn whole_lines(line: &str, platform: Platform) -> Vec<Pair> {
    let mut paths = paths(line, platform, |_| true);
    paths.retain(|pair| begins(&pair.display, line, platform));
    for pair in &mut paths {
        pair.replacement.clone_from(&pair.display);
    }
    paths
}

/// Files that `keep`, and folders, which go on.
fn paths(last: &str, platform: Platform, keep: impl Fn(&str) -> bool) -> Vec<Pair> {
    let (folder, begin) = split_path(last, platform);
    let read = fs::read_dir(if folder.is_empty() {
        Path::new(".")
    } else {
        Path::new(folder)
    });
    let entries = read.into_iter().flatten().flatten();
    let pair = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let is_folder = entry.path().is_dir();
        let hidden = name.starts_with('.') && !begin.starts_with('.');
        if hidden || !(is_folder || keep(&name)) {
            return None;
        }
        match is_folder {
            true => Some(folder_in(folder, &name, platform)),
            false => Some(word(&format!("{folder}{name}"))),
        }
    };
    entries.filter_map(pair).collect()
}

/// A folder of `folder`: more of the path follows.
fn folder_in(folder: &str, name: &str, platform: Platform) -> Pair {
    // On Windows both kinds are typed: it goes on as it began.
    let last = folder.chars().next_back();
    let separator = match (last.filter(|c| is_separator(*c, platform)), platform) {
        (Some(separator), _) => separator,
        (None, Platform::Unix) => '/',
        (None, Platform::Windows) => '\\',
    };
    let display = format!("{folder}{name}{separator}");
    // The closing quote is left out.
    let quoted = quote_word(&display);
    let replacement = quoted.strip_suffix('"').unwrap_or(&quoted).to_string();
    Pair {
        display,
        replacement,
    }
}

/// The folder of a path, with what separates it, and the beginning of a name in it.
fn split_path(typed: &str, platform: Platform) -> (&str, &str) {
    let drive = match (platform, typed.as_bytes()) {
        (Platform::Windows, [letter, b':', ..]) if letter.is_ascii_alphabetic() => 2,
        _ => 0,
    };
    let separator = typed.rfind(|c| is_separator(c, platform));
    typed.split_at(separator.map_or(drive, |at| at + 1))
}

fn is_separator(c: char, platform: Platform) -> bool {
    c == '/' || platform == Platform::Windows && c == '\\'
}

/// Whether a word can be what is being typed. On Windows nobody minds capital letters.
fn begins(word: &str, typed: &str, platform: Platform) -> bool {
    match platform {
        Platform::Unix => word.starts_with(typed),
        Platform::Windows => word.to_lowercase().starts_with(&typed.to_lowercase()),
    }
}

impl Completer for Completion {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        Ok(self.candidates(&line[..pos]))
    }
}

impl Hinter for Completion {
    type Hint = String;

    /// The arguments that are still to be typed.
    fn hint(&self, line: &str, pos: usize, _: &Context<'_>) -> Option<String> {
        if pos < line.len() || self.typing != Typing::Command {
            return None;
        }
        let typed = typed(line);
        // The one with the most arguments tells the most.
        let command = *typed.commands(self.place).last()?;
        if !typed.last.is_empty() {
            return None;
        }
        let rest = command
            .args
            .iter()
            .filter(|arg| arg.flag().is_none())
            .skip(typed.positional());
        let show = |arg: &Arg| match arg.presence {
            Presence::Optional => format!("[{}]", arg.name),
            _ => format!("<{}>", arg.name),
        };
        Some(rest.map(show).collect::<Vec<_>>().join(" ")).filter(|hint| !hint.is_empty())
    }
}

impl Highlighter for Completion {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(format!("\x1b[2m{hint}\x1b[0m"))
    }
}

impl Validator for Completion {}
impl Helper for Completion {}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(line: &str) -> String {
        let names = |kind, words: &[String]| match kind {
            Kind::File if words.len() > 1 => vec!["of the group".into()],
            Kind::File => vec!["big file.iso".into(), "bigger.iso".into()],
            Kind::Group => vec!["biology".into()],
            _ => Vec::new(),
        };
        let completion = Completion::new(Place::PeerPrompt, Box::new(names));
        let (start, pairs) = completion.candidates(line);
        let shown: Vec<String> = pairs.into_iter().map(|pair| pair.replacement).collect();
        format!("{start}: {}", shown.join("|"))
    }

    #[test]
    fn commands_and_names_are_completed() {
        assert_eq!(complete("down"), "0: download_file ");
        assert_eq!(
            complete("download_file bi"),
            "14: \"big file.iso\" |bigger.iso |biology "
        );
        assert_eq!(complete("download_file biology o"), "22: \"of the group\" ");
        assert_eq!(complete("download_file \"big f"), "14: \"big file.iso\" ");
        assert_eq!(complete("limit u"), "6: up ");
        assert_eq!(complete("make_torrent --an"), "13: --announce ");
        assert_eq!(complete("help wai"), "5: wait ");
        assert_eq!(complete("nonsense x"), "9: ");
    }

    #[test]
    fn paths_go_on_through_folders() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("my dir")).unwrap();
        fs::write(temp.path().join("a.torrent"), "").unwrap();
        fs::write(temp.path().join("a.txt"), "").unwrap();
        let base = format!("{}/", temp.path().display());
        let shown = complete(&format!("upload_file {base}m"));
        assert_eq!(shown, format!("12: \"{base}my dir/"));
        assert_eq!(
            complete(&format!("add {base}a")),
            format!("4: {base}a.torrent ")
        );
    }

    #[test]
    fn paths_of_windows_are_split_and_go_on_with_backslashes() {
        use Platform::{Unix, Windows};
        for (typed, platform, expect) in [
            (r"C:\Users\ann\my le", Windows, (r"C:\Users\ann\", "my le")),
            (r"C:\", Windows, (r"C:\", "")),
            ("C:/Users/an", Windows, ("C:/Users/", "an")),
            (r"\\server\share\x", Windows, (r"\\server\share\", "x")),
            // In the folder where that drive is just now.
            ("C:not", Windows, ("C:", "not")),
            ("notes.txt", Windows, ("", "notes.txt")),
            (r"a\b/c:d\e", Unix, (r"a\b/", r"c:d\e")),
            ("C:not", Unix, ("", "C:not")),
        ] {
            assert_eq!(split_path(typed, platform), expect, "{typed}");
        }
        for (folder, name, platform, expect) in [
            (r"C:\Users\", "ann", Windows, r"C:\Users\ann\"),
            (r"C:\Users\", "my dir", Windows, "\"C:\\Users\\my dir\\"),
            ("C:/Users/", "ann", Windows, "C:/Users/ann/"),
            ("C:", "ann", Windows, r"C:ann\"),
            ("", "ann", Windows, r"ann\"),
            ("", r"back\slash", Unix, r"back\slash/"),
        ] {
            assert_eq!(folder_in(folder, name, platform).replacement, expect);
        }
    }

    #[test]
    fn capital_letters_matter_where_they_do_on_the_disk() {
        let path = r"C:\Users\Änne";
        assert!(begins(path, r"c:\users\än", Platform::Windows));
        assert!(!begins(path, r"c:\users\b", Platform::Windows));
        assert!(begins(path, r"C:\Users\Ä", Platform::Unix));
        assert!(!begins(path, r"c:\users\än", Platform::Unix));
    }

    #[test]
    fn a_path_that_is_the_whole_line_needs_no_quotes() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("my dir")).unwrap();
        fs::write(temp.path().join("my file"), "").unwrap();
        let mut completion = Completion::new(Place::PeerPrompt, Box::new(|_, _| Vec::new()));
        completion.typing = Typing::Path;
        let base = format!("{}/", temp.path().display());
        let (start, pairs) = completion.candidates(&format!("{base}my"));
        let mut shown: Vec<String> = pairs.into_iter().map(|pair| pair.replacement).collect();
        shown.sort();
        assert_eq!(start, 0);
        assert_eq!(shown, [format!("{base}my dir/"), format!("{base}my file")]);
        completion.typing = Typing::Answer;
        assert!(completion.candidates("do").1.is_empty());
    }

    #[test]
    fn hints_name_what_is_still_to_be_typed() {
        let completion = Completion::new(Place::PeerPrompt, Box::new(|_, _| Vec::new()));
        let history = rustyline::history::MemHistory::new();
        let hint = |line: &str| completion.hint(line, line.len(), &Context::new(&history));
        assert_eq!(
            hint("download_file ").as_deref(),
            Some("<group> <file> [destination]")
        );
        assert_eq!(hint("download_file x y ").as_deref(), Some("[destination]"));
        assert_eq!(hint("download_file x"), None);
        assert_eq!(hint("wait "), None);
    }
}
