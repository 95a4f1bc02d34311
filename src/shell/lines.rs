//! Where commands come from: a prompt with editing and history on a terminal, or standard input
//! line by line.
//!
//! A thread of its own (`prompt`) reads, because a read from standard input cannot be ended from
//! outside; the program waits for lines and signals in one place. It is the one thread that is
//! not joined when a signal ends the program in the middle of a line: it holds nothing, and the
//! terminal is given back by [`Lines`].

#[cfg(windows)]
use std::io::IsTerminal;
use std::io::{self, BufRead};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded, select};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};
use zeroize::Zeroizing;

use crate::control::command::{self, Place};
use crate::control::frame::{quote_word, split_words};
use crate::control::text::without_mark;
use crate::runtime::threads;

use super::completion::{Completion, Typing};
use super::interrupt::Interrupt;
use super::screen::{Screen, complain, say};

/// How a prompt shall be.
pub struct Prompt {
    /// What stands before the line, such as `peer> `.
    pub text: &'static str,
    pub completion: Completion,
    /// Where the history is kept from one run to the next, if anywhere.
    pub history: Option<PathBuf>,
}

/// What is asked between commands.
#[derive(Clone, Debug)]
pub struct Question {
    /// Stands before the answer, such as `File: `.
    pub text: String,
    /// What Tab completes in the answer.
    pub typing: Typing,
}

/// What came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// Wiped when dropped: there may be a password in it.
    Line(Zeroizing<String>),
    /// The end of the input, or Ctrl-D.
    End,
    /// A signal asks the program to end.
    Signal,
}

/// Lines, one when asked for one.
pub struct Lines {
    ask: Sender<Option<Question>>,
    answers: Receiver<Option<Zeroizing<String>>>,
    /// The input could not be read to its end.
    broken: Arc<AtomicBool>,
    screen: Screen,
    terminal: Terminal,
}

impl Lines {
    /// Reads from the terminal with a prompt.
    ///
    /// # Errors
    /// The system's, if the terminal cannot be used or no thread can be started.
    pub fn from_terminal(prompt: Prompt, screen: Screen) -> io::Result<Lines> {
        let terminal = Terminal::remember();
        let (ask, asked) = bounded(1);
        let (answer, answers) = bounded(1);
        let for_thread = screen.clone();
        threads::spawn("prompt", None, move || {
            if let Err(error) = edit_lines(prompt, &for_thread, &asked, &answer) {
                log::error!(target: "prompt", "the terminal cannot be used: {error}");
            }
        })?;
        Ok(Lines {
            ask,
            answers,
            broken: Arc::default(),
            screen,
            terminal,
        })
    }

    /// Reads standard input as it is.
    ///
    /// # Errors
    /// The system's, if no thread can be started.
    pub fn from_stdin(screen: Screen) -> io::Result<Lines> {
        let (ask, asked) = bounded(1);
        let (answer, answers) = bounded(1);
        let broken = Arc::new(AtomicBool::new(false));
        let told = broken.clone();
        threads::spawn("prompt", None, move || {
            let mut input = io::stdin().lock();
            let mut first = true;
            for _ in asked {
                let line = read_line(&mut input, std::mem::take(&mut first));
                let line = line.unwrap_or_else(|error| {
                    complain(&format!("standard input cannot be read: {error}"));
                    told.store(true, Ordering::SeqCst);
                    None
                });
                if answer.send(line).is_err() {
                    return;
                }
            }
        })?;
        Ok(Lines {
            ask,
            answers,
            broken,
            screen,
            terminal: Terminal::remember(),
        })
    }

    /// The end was none: what followed could not be read, which was told.
    pub fn are_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }

    /// The next line; shows the prompt until it comes.
    pub fn next(&self, interrupt: &Interrupt) -> Next {
        self.read(None, interrupt)
    }

    /// The answer to a question, which is shown in place of the prompt. Ctrl-C is the end, too.
    pub fn answer(&self, question: Question, interrupt: &Interrupt) -> Next {
        self.read(Some(question), interrupt)
    }

    fn read(&self, question: Option<Question>, interrupt: &Interrupt) -> Next {
        if self.ask.send(question).is_err() {
            return Next::End;
        }
        select! {
            recv(self.answers) -> line => match line {
                Ok(Some(line)) => Next::Line(line),
                Ok(None) | Err(_) => Next::End,
            },
            recv(interrupt.receiver()) -> _ => Next::Signal,
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.screen.detach();
        self.terminal.restore();
    }
}

fn edit_lines(
    prompt: Prompt,
    screen: &Screen,
    asked: &Receiver<Option<Question>>,
    answer: &Sender<Option<Zeroizing<String>>>,
) -> rustyline::Result<()> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .auto_add_history(false);
    let mut editor: Editor<Completion, FileHistory> = Editor::with_config(config.build())?;
    let place = prompt.completion.place();
    editor.set_helper(Some(prompt.completion));
    if let Some(history) = &prompt.history {
        // The first time there is none.
        let _ = editor.load_history(history);
    }
    // A dumb terminal has none: there, what is printed meanwhile goes through the line.
    if let Ok(printer) = editor.create_external_printer() {
        screen.attach(Box::new(printer))?;
    }
    for question in asked {
        let (text, typing) = match &question {
            None => (prompt.text, Typing::Command),
            Some(question) => (question.text.as_str(), question.typing),
        };
        if let Some(completion) = editor.helper_mut() {
            completion.typing = typing;
        }
        let line = loop {
            match editor.readline(text) {
                Ok(line) => break Some(Zeroizing::new(line)),
                Err(ReadlineError::Interrupted) if question.is_some() => break None,
                // Ctrl-C gives up the line, not the program.
                Err(ReadlineError::Interrupted) => say!("`quit` or Ctrl-D leaves."),
                Err(ReadlineError::Signal(_)) => {}
                Err(ReadlineError::Eof) => break None,
                Err(error) => return Err(error),
            }
        };
        let command = line.as_deref().filter(|_| question.is_none());
        if let Some(kept) = command.and_then(|line| kept(place, line)) {
            editor.add_history_entry(kept)?;
        }
        if let Some(history) = &prompt.history {
            let _ = editor.save_history(history);
        }
        if answer.send(line).is_err() {
            break;
        }
    }
    Ok(())
}

/// The next line of a script, without its end; None at the end. The first may have a mark.
fn read_line(input: &mut impl BufRead, first: bool) -> io::Result<Option<Zeroizing<String>>> {
    let mut line = Zeroizing::new(String::new());
    if input.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let text = line.trim_end_matches(['\r', '\n']);
    let text = if first { without_mark(text) } else { text };
    Ok(Some(Zeroizing::new(text.to_string())))
}

/// What the history keeps of a line: no password.
fn kept(place: Place, line: &str) -> Option<String> {
    let words = Zeroizing::new(split_words(line).ok()?);
    let kept = command::without_secrets(place, &words);
    let kept: Vec<String> = kept.iter().map(|word| quote_word(word)).collect();
    Some(kept.join(" ")).filter(|kept| !kept.is_empty())
}

/// The terminal as it was before we used it.
struct Terminal {
    #[cfg(unix)]
    settings: Option<nix::sys::termios::Termios>,
}

impl Terminal {
    #[cfg(unix)]
    fn remember() -> Terminal {
        Terminal {
            settings: nix::sys::termios::tcgetattr(io::stdin()).ok(),
        }
    }

    #[cfg(unix)]
    fn restore(&self) {
        use nix::sys::termios::{SetArg, tcsetattr};
        if let Some(settings) = &self.settings {
            let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, settings);
        }
    }

    #[cfg(not(unix))]
    fn remember() -> Terminal {
        Terminal {}
    }

    /// The console stays as it is when a program ends: what is typed would not be shown. This is how
    /// every console begins.
    #[cfg(not(unix))]
    fn restore(&self) {
        if io::stdin().is_terminal() {
            let _ = crossterm::terminal::disable_raw_mode();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_script_end_as_any_system_ends_them() {
        let mut input = "\u{feff}list_files\r\nquit\n\n\u{feff}x".as_bytes();
        let mut lines = Vec::new();
        while let Some(line) = read_line(&mut input, lines.is_empty()).unwrap() {
            lines.push(line.to_string());
        }
        assert_eq!(lines, ["list_files", "quit", "", "\u{feff}x"]);
        // As cmd.exe pipes an umlaut.
        assert!(read_line(&mut &b"upload_file \x84.txt\r\n"[..], true).is_err());
    }
}
