//! Where somebody sits at a real `peer` process: at a pipe, or at a terminal.
//!
//! A seat types a command and hands back the lines that it printed. A pipe shows where they end
//! by the answer to a command that always prints the same; a terminal by its next prompt.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// How long a command may take to its last line.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a pipe's commands are followed by, and what that prints.
const MARK: &str = "help quit";
const MARK_LINES: [&str; 2] = ["quit", "  Leave; downloads go on at the next start"];
/// Rows of a terminal: so many that nothing scrolls away.
const ROWS: u16 = 2000;
const COLUMNS: u16 = 300;
const PROMPT: &str = "peer>";

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

/// A terminal as people have it; its screen is kept by a program that understands what is sent.
pub struct Terminal {
    child: Child,
    keys: File,
    bytes: Receiver<Vec<u8>>,
    screen: vt100::Parser,
    /// The first row that was not handed back yet.
    row: u16,
}

impl Terminal {
    pub fn start(mut command: Command) -> Terminal {
        let size = nix::pty::Winsize {
            ws_row: ROWS,
            ws_col: COLUMNS,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let ends = nix::pty::openpty(Some(&size), None).unwrap();
        let slave: OwnedFd = ends.slave;
        command
            .stdin(slave.try_clone().unwrap())
            .stdout(slave.try_clone().unwrap())
            .stderr(slave)
            .env("TERM", "xterm-256color");
        let child = command.spawn().unwrap();
        // The command holds the slave's end until it is dropped.
        drop(command);
        let keys = File::from(ends.master);
        let mut output = keys.try_clone().unwrap();
        let (send, bytes) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(got @ 1..) = output.read(&mut buffer) {
                if send.send(buffer[..got].to_vec()).is_err() {
                    return;
                }
            }
        });
        let mut terminal = Terminal {
            child,
            keys,
            bytes,
            screen: vt100::Parser::new(ROWS, COLUMNS, 0),
            row: 0,
        };
        terminal.wait_for_row("the first prompt", |row| row == PROMPT);
        terminal.take();
        terminal
    }

    /// Everything on the screen.
    pub fn contents(&self) -> String {
        self.screen.screen().contents()
    }

    fn rows(&self) -> Vec<String> {
        let rows = self.screen.screen().rows(0, COLUMNS);
        rows.map(|row| row.trim_end().to_string()).collect()
    }

    fn cursor_row(&self) -> u16 {
        self.screen.screen().cursor_position().0
    }

    /// Waits until the row of the cursor, below those handed back, is as wanted.
    fn wait_for_row(&mut self, what: &str, wanted: impl Fn(&str) -> bool) {
        let until = Instant::now() + PATIENCE;
        loop {
            let row = self.cursor_row();
            if row >= self.row && wanted(&self.rows()[usize::from(row)]) {
                return;
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.bytes.recv_timeout(left) {
                Ok(bytes) => self.screen.process(&bytes),
                Err(error) => panic!("{what}: {error}; the screen:\n{}", self.contents()),
            }
        }
    }

    /// The rows above the cursor's that were not handed back yet.
    fn take(&mut self) -> Vec<String> {
        let end = self.cursor_row();
        let rows = self.rows();
        let taken = rows[usize::from(self.row)..usize::from(end)].to_vec();
        self.row = end;
        taken
    }
}

impl Seat for Terminal {
    fn run(&mut self, command: &str, answers: &[String]) -> Vec<String> {
        let before = self.idle();
        self.keys
            .write_all(format!("{command}\r").as_bytes())
            .unwrap();
        let typed = format!("{PROMPT} {command}");
        // The prompt with the command stays above; news may push it down.
        let until = Instant::now() + PATIENCE;
        while !self.rows()[usize::from(self.row)..]
            .iter()
            .any(|row| row.starts_with(&typed))
        {
            let left = until.saturating_duration_since(Instant::now());
            match self.bytes.recv_timeout(left) {
                Ok(bytes) => self.screen.process(&bytes),
                Err(error) => panic!("{command}: {error}; the screen:\n{}", self.contents()),
            }
        }
        // Rows as they are once the answer stands there, and as they were.
        let mut answered: VecDeque<(String, String)> = VecDeque::new();
        for answer in answers {
            let asked = self.row;
            self.wait_for_row(command, |row| row.ends_with(':'));
            let question = self.rows()[usize::from(self.cursor_row())].clone();
            let row = format!("{question} {answer}");
            answered.push_back((row.trim_end().to_string(), question));
            self.keys
                .write_all(format!("{answer}\r").as_bytes())
                .unwrap();
            self.row = self.cursor_row() + 1;
            self.wait_for_row(command, |_| true);
            self.row = asked;
        }
        self.wait_for_row(command, |row| row == PROMPT);
        let mut printed = before;
        for row in self.take() {
            match answered.front() {
                Some((with_answer, _)) if *with_answer == row => {
                    printed.extend(answered.pop_front().map(|(_, question)| question));
                }
                _ if row.starts_with(PROMPT) => {}
                _ => printed.push(row),
            }
        }
        printed
    }

    fn idle(&mut self) -> Vec<String> {
        while let Ok(bytes) = self.bytes.try_recv() {
            self.screen.process(&bytes);
        }
        // Between taking the prompt away and drawing it again below.
        self.wait_for_row("the prompt", |row| row == PROMPT);
        self.take()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
