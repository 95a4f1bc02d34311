//! The log: lines of `[YYYY-mm-dd HH:MM:SS] [LEVEL] text`, for standard error and for a file.
//!
//! The time is UTC: the logs of several machines can be laid side by side, and no hour comes twice
//! in autumn. Levels are DEBUG, INFO, WARNING, ERROR and FATAL; FATAL is what ends the program. A
//! DEBUG line begins with its target, such as `hop: `; it stands for `log`'s `debug` and `trace`.
//!
//! RUST_LOG chooses what is logged. Without it warnings and errors are shown; a log file gets what
//! an administrator may want to know, too.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use env_logger::Target;
use jiff::Timestamp;
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::control::names::is_plain;

use super::screen::{Screen, complain};

/// What chooses the lines, and what counts without it: on the screen, and in a file.
const CHOICE: &str = "RUST_LOG";
const ON_SCREEN: &str = "warn";
const IN_FILE: &str = "info";

/// The target of what ends the program.
const FATAL: &str = "fatal";

/// What logs each key that is typed at the prompt, and so each password: never heard, whatever
/// RUST_LOG says.
const EAVESDROPPER: &str = "rustyline";

/// Starts logging, to `file` as well if there is one: it is added to.
pub fn start(screen: &Screen, file: Option<&Path>) {
    // What is fatal was said on the screen in other words.
    let on_screen = format!("{},{FATAL}=off", chosen_or(ON_SCREEN));
    let in_file = format!("{},{FATAL}=error", chosen_or(IN_FILE));
    let file = file.and_then(LogFile::open);
    let logger = Both {
        on_screen: logger(&on_screen, Box::new(LogScreen(screen.clone()))),
        in_file: file.map(|file| logger(&in_file, Box::new(file))),
    };
    log::set_max_level(logger.most());
    // The first one stays, if a test has set its own.
    let _ = log::set_boxed_logger(Box::new(logger));
}

/// Says what ends the program: to standard error for people, and into the log file.
pub fn fatal(error: &dyn std::fmt::Display) {
    complain(error);
    log::error!(target: FATAL, "{error}");
}

fn chosen_or(otherwise: &str) -> String {
    let chosen = env::var(CHOICE).ok().filter(|chosen| !chosen.is_empty());
    chosen.unwrap_or(otherwise.into())
}

fn logger(chosen: &str, target: Box<dyn Write + Send>) -> env_logger::Logger {
    env_logger::Builder::new()
        .parse_filters(chosen)
        .format(|out, record| out.write_all(line(Timestamp::now(), record).as_bytes()))
        .target(Target::Pipe(target))
        .build()
}

/// The two places where a line may go, each with its own choice.
struct Both {
    on_screen: env_logger::Logger,
    in_file: Option<env_logger::Logger>,
}

impl Both {
    fn each(&self) -> impl Iterator<Item = &env_logger::Logger> {
        std::iter::once(&self.on_screen).chain(&self.in_file)
    }

    fn most(&self) -> LevelFilter {
        let most = self.each().map(env_logger::Logger::filter).max();
        most.unwrap_or(LevelFilter::Off)
    }
}

impl Log for Both {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() != EAVESDROPPER && self.each().any(|logger| logger.enabled(metadata))
    }

    fn log(&self, record: &Record<'_>) {
        if record.target() != EAVESDROPPER {
            self.each().for_each(|logger| logger.log(record));
        }
    }

    fn flush(&self) {}
}

/// One line with its end. What is no plain character is spelled out: what a peer says makes no second
/// line, and moves no cursor.
fn line(now: Timestamp, record: &Record<'_>) -> String {
    let level = match record.level() {
        Level::Error if record.target() == FATAL => "FATAL",
        Level::Error => "ERROR",
        Level::Warn => "WARNING",
        Level::Info => "INFO",
        Level::Debug | Level::Trace => "DEBUG",
    };
    let mut line = format!("[{}] [{level}] ", now.strftime("%Y-%m-%d %H:%M:%S"));
    if level == "DEBUG" {
        line += &format!("{}: ", record.target());
    }
    line += &spelled(record.args().to_string().trim_end());
    line.push('\n');
    line
}

/// A text on one line: characters that would do something are spelled out.
pub fn spelled(text: &str) -> String {
    let mut spelled = String::new();
    for c in text.chars() {
        match is_plain(c) {
            true => spelled.push(c),
            false => spelled.extend(c.escape_default()),
        }
    }
    spelled
}

struct LogScreen(Screen);

impl Write for LogScreen {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.print_log(&String::from_utf8_lossy(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that lines are added to. Each is with the system when [`LogFile::write`] returns.
struct LogFile {
    file: File,
    path: PathBuf,
    /// The user knows that it cannot be written.
    told: bool,
}

impl LogFile {
    /// None if it cannot be opened, which is told.
    fn open(path: &Path) -> Option<LogFile> {
        let file = OpenOptions::new().append(true).create(true).open(path);
        let file = file.map_err(|error| complain_of(path, &error)).ok()?;
        Some(LogFile {
            file,
            path: path.to_path_buf(),
            told: false,
        })
    }
}

impl Write for LogFile {
    /// All of it, or it is told once that it is lost.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.file.write_all(line)
            && !std::mem::replace(&mut self.told, true)
        {
            complain_of(&self.path, &error);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn complain_of(path: &Path, error: &io::Error) {
    complain(&format!(
        "the log file {} cannot be written: {error}; what is lost of it is not told again",
        path.display()
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(level: Level, target: &str, text: &str) -> String {
        let now = Timestamp::from_second(1_769_860_800).unwrap();
        let args = format_args!("{text}").to_string();
        let mut record = Record::builder();
        record.level(level).target(target);
        line(now, &record.args(format_args!("{args}")).build())
    }

    #[test]
    fn a_line_has_time_level_and_text() {
        let check = |level, target, text, expect: &str| {
            let expect = format!("[2026-01-31 12:00:00] {expect}\n");
            assert_eq!(shown(level, target, text), expect);
        };
        check(Level::Info, "tracker", "x is shared", "[INFO] x is shared");
        check(Level::Warn, "watch", "no", "[WARNING] no");
        check(Level::Error, "disk", "full", "[ERROR] full");
        check(Level::Error, FATAL, "no port", "[FATAL] no port");
        check(Level::Debug, "dial", "gone", "[DEBUG] dial: gone");
        check(Level::Trace, "hop", "piece 0", "[DEBUG] hop: piece 0");
    }

    #[test]
    fn what_a_stranger_says_makes_no_second_line() {
        let line = shown(Level::Info, "x", "a\n[..] [FATAL] b\u{1b}[2J\n");
        assert!(
            line.ends_with("[INFO] a\\n[..] [FATAL] b\\u{1b}[2J\n"),
            "{line}"
        );
    }

    #[test]
    fn a_name_turns_the_rest_of_the_line_round() {
        assert_eq!(spelled("a\u{202e}txt.exe"), "a\\u{202e}txt.exe");
        assert_eq!(spelled("ä 文件"), "ä 文件");
    }
}
