//! A seat at a terminal, for programs that show their prompt there.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::mpsc::{self, Receiver};
use std::time::Instant;

use super::{PATIENCE, Seat};

/// Rows of a terminal: so many that nothing scrolls away.
const ROWS: u16 = 2000;
const COLUMNS: u16 = 300;
const PROMPT: &str = "peer>";

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
