//! Where text for people goes: above the line that is being typed, never through it.
//!
//! Only the thread `screen` touches the prompt's printer, which blocks while the prompt is busy.
//! Whoever prints hands the text over and never waits: the engine logs, too.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

use crossbeam_channel::{Sender, bounded};
use indicatif::ProgressDrawTarget;
use parking_lot::Mutex;
use rustyline::ExternalPrinter;

use crate::runtime::threads;

/// Prints a line as `println!` does, but is content if nobody reads it any more: the end of
/// `peer -c ... | head` is not a mistake of ours.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::shell::screen::print_line(&format!($($text)*))
    };
}
pub(super) use say;

/// Prints a line; what nobody reads is no error.
pub fn print_line(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// An error of a command, to standard error: in one piece, because news may come at the same time.
pub fn complain(error: &dyn std::fmt::Display) {
    let _ = io::stderr().write_all(format!("{error}\n").as_bytes());
}

/// Whether bars can be drawn on the terminal, for which the cursor is moved about. A dumb one cannot; a
/// console of Windows can if it understands escape codes.
pub fn can_draw() -> bool {
    let term = std::env::var("TERM");
    !is_dumb(term.as_deref().unwrap_or_default()) && understands_escape_codes()
}

/// What TERM says of a terminal that knows nothing but text.
fn is_dumb(term: &str) -> bool {
    term.eq_ignore_ascii_case("dumb")
}

#[cfg(windows)]
fn understands_escape_codes() -> bool {
    crossterm::ansi_support::supports_ansi()
}

#[cfg(not(windows))]
fn understands_escape_codes() -> bool {
    true
}

/// Where bars go.
pub fn bars() -> ProgressDrawTarget {
    match can_draw() {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    }
}

/// Texts that may wait for the prompt; further ones are lost.
const WAITING: usize = 4096;

/// Copies print to the same place.
#[derive(Clone, Default)]
pub struct Screen {
    /// There once a prompt is shown on a terminal.
    prompt: Arc<Mutex<Option<Sender<String>>>>,
}

impl Screen {
    pub fn new() -> Screen {
        Screen::default()
    }

    /// From now on a prompt is shown, and this prints above it.
    ///
    /// # Errors
    /// The system's, if no thread can be started.
    pub fn attach(&self, mut printer: Box<dyn ExternalPrinter + Send>) -> io::Result<()> {
        let (sender, texts) = bounded::<String>(WAITING);
        // Not joined: while the prompt is busy it may be blocked in the printer, and holds
        // nothing else.
        threads::spawn("screen", None, move || {
            for text in texts {
                if printer.print(text).is_err() {
                    return;
                }
            }
        })?;
        *self.prompt.lock() = Some(sender);
        Ok(())
    }

    pub fn detach(&self) {
        *self.prompt.lock() = None;
    }

    /// Prints a line (or several): above the prompt, or to `otherwise` where there is none.
    fn print_or(&self, text: &str, otherwise: &mut dyn Write) {
        let mut text = text.trim_end().to_string();
        text.push('\n');
        let prompt = self.prompt.lock().clone();
        match prompt {
            Some(prompt) => drop(prompt.try_send(text)),
            None => {
                // Nobody is left to tell that standard output is gone.
                let _ = otherwise.write_all(text.as_bytes());
                let _ = otherwise.flush();
            }
        }
    }

    /// News: to standard output where there is no prompt.
    pub fn print(&self, text: &str) {
        self.print_or(text, &mut io::stdout());
    }

    /// A line of the log: above the prompt if there is one, unless standard error goes elsewhere.
    pub fn print_log(&self, line: &str) {
        if io::stderr().is_terminal() {
            self.print_or(line, &mut io::stderr());
        } else {
            // Nobody is left to tell that standard error is gone.
            let _ = io::stderr().write_all(line.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dumb_terminals_are_told_from_others() {
        assert!(is_dumb("dumb") && is_dumb("DUMB"));
        // Windows sets none.
        assert!(!is_dumb("xterm-256color") && !is_dumb(""));
    }
}
