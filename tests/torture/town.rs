//! The trackers: processes that are started, paused and killed, each with files of its own.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use mini_bittorrent::control::reply::{TrackerEntry, TrackerState};
use mini_bittorrent::control::tracker_info::{self, TrackerAddress};

use super::ledger::{self, Heard};
use super::line::Line;
use crate::support::net::Net;
use crate::support::peers::{Program, free_port};

const PORT: u16 = 6000;

pub struct Town {
    folder: tempfile::TempDir,
    pub net: Option<Net>,
    pub places: Vec<TrackerAddress>,
    /// None: it is down.
    programs: Vec<Option<Program>>,
    paused: BTreeSet<usize>,
    unplugged: BTreeSet<usize>,
    /// From and to.
    cuts: BTreeSet<(usize, usize)>,
}

impl Town {
    /// On this machine's loopback address without keys, or in a network with keys.
    pub fn new(count: usize, net: Option<Net>) -> Town {
        let mut town = Town {
            folder: tempfile::tempdir().unwrap(),
            net,
            places: Vec::new(),
            programs: (0..count).map(|_| None).collect(),
            paused: BTreeSet::new(),
            unplugged: BTreeSet::new(),
            cuts: BTreeSet::new(),
        };
        let mut lines: Vec<String> = match &town.net {
            Some(net) => (1..=count)
                .map(|n| format!("{}:{PORT}\n", net.address(n)))
                .collect(),
            None => (0..count).map(|_| format!("{}\n", free_port())).collect(),
        };
        town.write_lists(&lines.concat());
        if town.net.is_some() {
            let key = |n| town.command(n).arg("--key").output().unwrap().stdout;
            lines = (1..=count)
                .map(|n| String::from_utf8(key(n)).unwrap())
                .collect();
            town.write_lists(&lines.concat());
        }
        town.places = tracker_info::parse(&lines.concat()).unwrap();
        town.all().for_each(|n| town.start(n));
        town
    }

    pub fn all(&self) -> impl Iterator<Item = usize> + use<> {
        1..=self.programs.len()
    }

    fn home(&self, n: usize) -> PathBuf {
        self.folder.path().join(n.to_string())
    }

    pub fn database(&self, n: usize) -> PathBuf {
        self.home(n).join(format!("tracker-{n}.db"))
    }

    fn write_lists(&self, text: &str) {
        for n in self.all() {
            fs::create_dir_all(self.home(n)).unwrap();
            fs::write(self.home(n).join("tracker_info.txt"), text).unwrap();
        }
    }

    fn command(&self, n: usize) -> Command {
        let tracker = env!("CARGO_BIN_EXE_tracker");
        let mut command = match &self.net {
            Some(net) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", &net.room(n), tracker]);
                command
            }
            None => Command::new(tracker),
        };
        let list = self.home(n).join("tracker_info.txt");
        command.arg(list).arg(n.to_string()).arg("--no-prompt");
        command.env("RUST_LOG", "warn,sync=info");
        command
    }

    pub fn start(&mut self, n: usize) {
        let program = Program::start(self.command(n));
        program.line_with("listening on");
        self.programs[n - 1] = Some(program);
    }

    pub fn kill(&mut self, n: usize) {
        if let Some(program) = self.programs[n - 1].take() {
            program.kill_9();
        }
        self.paused.remove(&n);
    }

    pub fn pause(&mut self, n: usize) {
        if let Some(program) = &self.programs[n - 1] {
            program.signal("STOP");
            self.paused.insert(n);
        }
    }

    pub fn resume(&mut self, n: usize) {
        if let Some(program) = &self.programs[n - 1] {
            program.signal("CONT");
        }
        self.paused.remove(&n);
    }

    /// Each direction by itself.
    pub fn cut(&mut self, from: usize, to: usize) {
        if let Some(net) = &self.net
            && self.cuts.insert((from, to))
        {
            net.cut(from, to);
        }
    }

    pub fn unplug(&mut self, n: usize) {
        if let Some(net) = &self.net
            && self.unplugged.insert(n)
        {
            net.unplug(n);
        }
    }

    /// True if something had been cut.
    pub fn mend(&mut self) -> bool {
        let was = !self.cuts.is_empty() || !self.unplugged.is_empty();
        if let Some(net) = &self.net {
            let cuts = std::mem::take(&mut self.cuts);
            cuts.into_iter().for_each(|(from, to)| net.mend(from, to));
            let unplugged = std::mem::take(&mut self.unplugged);
            unplugged.into_iter().for_each(|n| net.plug_in(n));
        }
        was
    }

    pub fn down(&self) -> Vec<usize> {
        let is_down = |n: &usize| self.programs[n - 1].is_none();
        self.all().filter(is_down).collect()
    }

    pub fn paused(&self) -> Vec<usize> {
        self.paused.iter().copied().collect()
    }

    /// Those that clients reach and that answer.
    pub fn serving(&self) -> Vec<usize> {
        let is_running = |n: &usize| self.programs[n - 1].is_some();
        let all = self.all().filter(is_running);
        all.filter(|n| !self.paused.contains(n) && !self.unplugged.contains(n))
            .collect()
    }

    /// Deletes the database of a tracker that is down, if one that runs has heard everything
    /// that it has.
    pub fn lose_database(&mut self, n: usize) -> bool {
        assert!(self.programs[n - 1].is_none());
        let Ok(lost) = ledger::heard(&self.database(n)) else {
            return false;
        };
        let knows_all = |other: usize| {
            let known: Heard = ledger::heard(&self.database(other)).unwrap_or_default();
            lost.iter().all(|(n, stamp)| known.get(n) >= Some(stamp))
        };
        if !self.serving().into_iter().any(knows_all) {
            return false;
        }
        for ending in ["db", "db-wal", "db-shm"] {
            let path = self.home(n).join(format!("tracker-{n}.{ending}"));
            // The last two need not be there.
            let _ = fs::remove_file(path);
        }
        true
    }

    /// What a tracker says of all.
    pub fn rows(&self, n: usize) -> Option<Vec<TrackerEntry>> {
        Line::open(&self.places[n - 1]).ok()?.trackers().ok()
    }

    /// Everybody is in sync with everybody.
    pub fn is_linked(&self) -> bool {
        self.all().all(|n| {
            let rows = self.rows(n).unwrap_or_default();
            let is_good = |row: &TrackerEntry| match usize::from(row.number) == n {
                true => row.state == TrackerState::Itself,
                false => row.state == TrackerState::InSync,
            };
            !rows.is_empty() && rows.iter().all(is_good)
        })
    }

    /// The digest of each tracker, by itself.
    pub fn digests(&self) -> Vec<String> {
        let own = |n: usize| {
            let rows = self.rows(n)?;
            let own = rows.into_iter().find(|row| usize::from(row.number) == n)?;
            Some(format!("{} of {} facts", own.digest, own.facts))
        };
        let all = self.all();
        all.map(|n| own(n).unwrap_or_else(|| format!("none: tracker {n} does not answer")))
            .collect()
    }

    /// The last lines that the trackers have logged.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for n in self.all() {
            let said = self.programs[n - 1].as_ref().map(Program::said);
            let said = said.unwrap_or_default();
            let lines: Vec<&str> = said.lines().collect();
            let last = &lines[lines.len().saturating_sub(12)..];
            text += &format!("--- tracker {n}\n{}\n", last.join("\n"));
        }
        text
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        // First the processes, then their network.
        self.programs.clear();
    }
}
