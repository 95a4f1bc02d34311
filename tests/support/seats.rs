//! Where somebody sits at a real `peer` process: at a pipe, or at a terminal.
//!
//! A seat types a command and hands back the lines that it printed. A pipe shows where they end
//! by the answer to a command that always prints the same; a terminal by its next prompt.

// Only Unix has terminals that a test can open.
#[cfg(unix)]
#[path = "terminal.rs"]
mod terminal;

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

#[cfg(unix)]
pub use terminal::Terminal;

/// How long a command may take to its last line.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a pipe's commands are followed by, and what that prints.
const MARK: &str = "help quit";
const MARK_LINES: [&str; 2] = ["quit", "  Leave; downloads go on at the next start"];

pub trait Seat {
    /// Types a command, then each answer when it is asked for one, and returns what was printed:
    /// the questions, too, without the answers that stand beside them on a terminal.
    fn run(&mut self, command: &str, answers: &[String]) -> Vec<String>;
    /// What was printed since, without a command.
    fn idle(&mut self) -> Vec<String>;
}

/// Standard input, output and errors are pipes.
pub struct Pipe {
    child: Child,
    lines: Receiver<String>,
}

impl Pipe {
    pub fn start(mut command: Command) -> Pipe {
        let (output, for_child) = std::io::pipe().unwrap();
        command
            .stdin(Stdio::piped())
            .stderr(for_child.try_clone().unwrap())
            .stdout(for_child);
        let child = command.spawn().unwrap();
        drop(command);
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            let output = std::io::BufReader::new(output);
            for line in std::io::BufRead::lines(output).map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        let mut pipe = Pipe { child, lines };
        pipe.run("", &[]);
        pipe
    }
}

impl Seat for Pipe {
    fn run(&mut self, command: &str, answers: &[String]) -> Vec<String> {
        let stdin = self.child.stdin.as_mut().unwrap();
        let typed = [command]
            .into_iter()
            .chain(answers.iter().map(String::as_str))
            .chain([MARK]);
        let typed: String = typed.map(|line| format!("{line}\n")).collect();
        stdin.write_all(typed.as_bytes()).unwrap();
        let until = Instant::now() + PATIENCE;
        let mut printed = Vec::new();
        while !printed.ends_with(&MARK_LINES.map(str::to_string)) {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => printed.push(line),
                Err(error) => panic!("{command}: {error} after {printed:#?}"),
            }
        }
        printed.truncate(printed.len() - MARK_LINES.len());
        printed
    }

    fn idle(&mut self) -> Vec<String> {
        self.lines.try_iter().collect()
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
