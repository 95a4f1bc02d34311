//! Plays transcripts: what several people type at their prompts, and what they see.
//!
//! ```text
//! # a comment
//! alice> list_groups                 a command that alice types
//! alice~ show_downloads              the same, again and again until it prints what it should
//! * wonderland                       what she answers when she is asked for something; `*` is Enter
//! group  owner  members  you         what it prints; … stands for anything
//! alice! bob asks to join cs101      a line that appears by itself, once
//! = alice/upload/x bob/download/x    two files that are equal by now
//! ```
//!
//! `$port` in a command is the port of the first tracker.
//!
//! `UPDATE_TRANSCRIPTS=1 cargo test --test suite transcripts::` writes what was printed into them: look at
//! the difference before you keep it.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::peers::{PATIENCE, Place, any_port, make_file, wait_until};
#[cfg(unix)]
use crate::support::seats::Terminal;
use crate::support::seats::{Pipe, Seat};

/// Set if what is printed is to be written into the transcripts.
const UPDATE: &str = "UPDATE_TRANSCRIPTS";

/// Every password in the transcripts.
const PASSWORDS: [&str; 6] = [
    "wonderland",
    "wunderland",
    "looking",
    "builder",
    "christmas",
    "wrong",
];

/// One step of a transcript, with the lines that belong to it.
enum Step {
    Comment(String),
    Run {
        who: String,
        command: String,
        /// Until it prints what it should.
        again: bool,
        answers: Vec<String>,
        printed: Vec<String>,
    },
    News {
        who: String,
        line: String,
    },
    Equal {
        files: Vec<String>,
    },
}

fn parse(text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for line in text.lines() {
        let name_end = line.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(0);
        let (who, rest) = line.split_at(name_end);
        let step = if line.is_empty() || line.starts_with('#') {
            Step::Comment(line.into())
        } else if let ("> " | "~ ", command) = rest.split_at(rest.len().min(2))
            && name_end > 0
        {
            Step::Run {
                who: who.into(),
                command: command.into(),
                again: rest.starts_with('~'),
                answers: Vec::new(),
                printed: Vec::new(),
            }
        } else if let Some(news) = rest.strip_prefix("! ").filter(|_| name_end > 0) {
            Step::News {
                who: who.into(),
                line: news.into(),
            }
        } else if let Some(files) = line.strip_prefix("= ") {
            Step::Equal {
                files: files.split(' ').map(str::to_string).collect(),
            }
        } else {
            match steps.last_mut() {
                Some(Step::Run {
                    answers, printed, ..
                }) => match line.strip_prefix('*') {
                    Some(answer) => answers.push(answer.trim_start().into()),
                    None => printed.push(line.into()),
                },
                _ => panic!("a line of no command: {line}"),
            }
            continue;
        };
        steps.push(step);
    }
    steps
}

/// Whether a line is what a pattern says, in which `…` stands for anything.
pub fn matches(pattern: &str, line: &str) -> bool {
    // Paths look different there.
    #[cfg(windows)]
    let line = &line.replace('\\', "/");
    let mut parts = pattern.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

fn all_match(patterns: &[String], lines: &[String]) -> bool {
    let mut pairs = patterns.iter().zip(lines);
    patterns.len() == lines.len() && pairs.all(|(pattern, line)| matches(pattern, line))
}

/// One person, and the news that have come and were not spoken of yet.
struct Person {
    seat: Box<dyn Seat>,
    /// How the lines look that may appear at any time, and of which no transcript speaks.
    besides: Vec<String>,
    /// Those that appeared.
    aside: Vec<String>,
    /// How the news look that a transcript speaks of.
    patterns: Vec<String>,
    news: VecDeque<String>,
}

impl Person {
    /// Puts aside the news among what was printed.
    fn sort(&mut self, lines: Vec<String>) -> Vec<String> {
        let is_aside = |line: &String| self.besides.iter().any(|pattern| matches(pattern, line));
        let (aside, lines): (Vec<_>, Vec<_>) = lines.into_iter().partition(is_aside);
        self.aside.extend(aside);
        let is_news = |line: &String| self.patterns.iter().any(|pattern| matches(pattern, line));
        let (news, printed): (Vec<_>, Vec<_>) = lines.into_iter().partition(is_news);
        self.news.extend(news);
        printed
    }

    fn wait_for_news(&mut self, who: &str, pattern: &str) {
        let mut other = Vec::new();
        wait_until(&format!("{who} is told: {pattern}"), || {
            let lines = self.seat.idle();
            other.extend(self.sort(lines));
            let place = self.news.iter().position(|line| matches(pattern, line));
            place.map(|place| self.news.remove(place)).is_some()
        });
        assert!(other.is_empty(), "{who} was told, too: {other:#?}");
    }
}

/// What was printed so far, kept if that is wished for, also if the rest fails.
struct Played {
    path: PathBuf,
    text: String,
}

impl Drop for Played {
    fn drop(&mut self) {
        if std::env::var_os(UPDATE).is_some() {
            fs::write(&self.path, &self.text).unwrap();
        }
    }
}

/// Plays a transcript with the trackers of `tracker_info`. `sit` seats everybody. Returns who was
/// shown which lines of those that may appear besides.
pub fn play(
    name: &str,
    tracker_info: &str,
    sit: fn(Command) -> Box<dyn Seat>,
    besides: &[&str],
) -> BTreeMap<String, Vec<String>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/transcripts")
        .join(name);
    let text = fs::read_to_string(&path).unwrap();
    let steps = parse(&text);
    let first = tracker_info.split_whitespace().next().unwrap_or_default();
    let port = first.rsplit(':').next().unwrap_or_default();
    let temp = tempfile::tempdir().unwrap();
    let mut people: BTreeMap<String, Person> = BTreeMap::new();
    for step in &steps {
        if let Step::Run { who, .. } = step
            && !people.contains_key(who)
        {
            let place = Place::new(temp.path(), who, &[any_port()]);
            fs::write(place.folder.join("tracker_info.txt"), tracker_info).unwrap();
            let upload = place.folder.join("upload");
            make_file(&upload, &format!("{who}.txt"), 3_000);
            make_file(&upload, &format!("{who}.bin"), 2_000_000);
            let command = place.command(&["--upload", "upload"]);
            let person = Person {
                seat: sit(command),
                besides: besides.iter().map(|pattern| pattern.to_string()).collect(),
                aside: Vec::new(),
                patterns: Vec::new(),
                news: VecDeque::new(),
            };
            people.insert(who.clone(), person);
        }
    }
    for step in &steps {
        if let Step::News { who, line } = step {
            people.get_mut(who).unwrap().patterns.push(line.clone());
        }
    }

    let mut played = Played {
        path: path.clone(),
        text: String::new(),
    };
    let mut wrong = Vec::new();
    for step in steps {
        match step {
            Step::Comment(line) => played.text += &format!("{line}\n"),
            Step::Run {
                who,
                command,
                again,
                answers,
                printed,
            } => {
                let person = people.get_mut(&who).unwrap();
                let until = Instant::now() + PATIENCE;
                let typed = command.replace("$port", port);
                let mut lines = person.seat.run(&typed, &answers);
                while again && !all_match(&printed, &lines) && Instant::now() < until {
                    std::thread::sleep(Duration::from_millis(50));
                    lines = person.seat.run(&typed, &answers);
                }
                let mut got = person.sort(lines);
                // An empty line ends a step of the transcript.
                got.retain(|line| !line.is_empty());
                let same = all_match(&printed, &got);
                let sign = if again { '~' } else { '>' };
                played.text += &format!("{who}{sign} {command}\n");
                for answer in &answers {
                    let line = format!("* {answer}");
                    played.text += &format!("{}\n", line.trim_end());
                }
                let shown = if same { &printed } else { &got };
                shown
                    .iter()
                    .for_each(|line| played.text += &format!("{line}\n"));
                if !same {
                    wrong.push(format!(
                        "{who}> {command}\nexpected:\n{}\ngot:\n{}",
                        printed.join("\n"),
                        got.join("\n")
                    ));
                }
            }
            Step::News { who, line } => {
                people.get_mut(&who).unwrap().wait_for_news(&who, &line);
                played.text += &format!("{who}! {line}\n");
            }
            Step::Equal { files } => {
                let [one, two] = [0, 1].map(|nth| fs::read(temp.path().join(&files[nth])).unwrap());
                assert!(one == two, "{files:?} differ");
                played.text += &format!("= {}\n", files.join(" "));
            }
        }
    }
    if std::env::var_os(UPDATE).is_none() {
        assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n\n"));
    }
    for (who, person) in &mut people {
        let history = temp
            .path()
            .join(who)
            .join("download/.mini-bittorrent/history");
        let history = fs::read_to_string(history).unwrap_or_default();
        for password in PASSWORDS {
            assert!(!history.contains(password), "{who}'s history: {history}");
        }
        let rest = person.seat.idle();
        let rest = person.sort(rest);
        assert!(rest.is_empty(), "{who} was told at the end: {rest:#?}");
        assert!(
            person.news.is_empty(),
            "{who} was told twice: {:?}",
            person.news
        );
    }
    let aside = |(who, person): (String, Person)| (who, person.aside);
    people.into_iter().map(aside).collect()
}

pub fn at_a_pipe(command: Command) -> Box<dyn Seat> {
    Box::new(Pipe::start(command))
}

#[cfg(unix)]
pub fn at_a_terminal(command: Command) -> Box<dyn Seat> {
    Box::new(Terminal::start(command))
}
