//! Whatever can happen to trackers, at random.

use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};

use super::history::{Millis, now};
use super::town::Town;

/// How long trackers may take to agree after everything is well again.
pub const AGREE: Duration = Duration::from_secs(10);

#[derive(Debug, Default, Clone)]
pub struct Counts {
    pub kills: usize,
    pub pauses: usize,
    pub restarts: usize,
    /// Of all links between two halves.
    pub splits: usize,
    /// Of one link, in one direction.
    pub cuts: usize,
    pub unplugged: usize,
    pub lost_databases: usize,
    /// The longest time until all were linked again.
    pub slowest: Duration,
}

pub struct Nemesis {
    pub town: Town,
    pub rng: StdRng,
    pub counts: Counts,
    pub events: Vec<(Millis, String)>,
    /// When everybody was in sync with everybody.
    pub calm: Vec<(Millis, Millis)>,
}

impl Nemesis {
    pub fn new(town: Town, rng: StdRng) -> Nemesis {
        Nemesis {
            town,
            rng,
            counts: Counts::default(),
            events: Vec::new(),
            calm: Vec::new(),
        }
    }

    /// Each action says whether anything has happened.
    pub fn run(&mut self, until: Instant) {
        while Instant::now() < until {
            let has_happened = match self.rng.random_range(0..100) {
                0..20 => self.kill(),
                20..40 => self.restart(),
                40..50 => self.pause(),
                50..65 => self.resume(),
                65..78 => self.cut(),
                78..88 => self.mend(),
                88..97 => self.lose_database(),
                _ => {
                    self.calm_down(until);
                    true
                }
            };
            if has_happened {
                let rest = self.rng.random_range(50..700);
                std::thread::sleep(Duration::from_millis(rest));
            }
        }
    }

    fn note(&mut self, what: String) {
        self.events.push((now(), what));
    }

    /// One of those that serve, if another one is left.
    fn victim(&mut self) -> Option<usize> {
        let serving = self.town.serving();
        serving
            .choose(&mut self.rng)
            .copied()
            .filter(|_| serving.len() > 1)
    }

    fn kill(&mut self) -> bool {
        let Some(n) = self.victim() else {
            return false;
        };
        self.note(format!("kill -9 of tracker {n}"));
        self.town.kill(n);
        self.counts.kills += 1;
        true
    }

    fn restart(&mut self) -> bool {
        let down = self.town.down().choose(&mut self.rng).copied();
        down.inspect(|n| self.start(*n)).is_some()
    }

    fn start(&mut self, n: usize) {
        self.town.start(n);
        self.note(format!("tracker {n} runs again"));
        self.counts.restarts += 1;
    }

    fn pause(&mut self) -> bool {
        let Some(n) = self.victim() else {
            return false;
        };
        self.note(format!("tracker {n} is paused"));
        self.town.pause(n);
        self.counts.pauses += 1;
        true
    }

    fn resume(&mut self) -> bool {
        let Some(n) = self.town.paused().choose(&mut self.rng).copied() else {
            return false;
        };
        self.town.resume(n);
        self.note(format!("tracker {n} goes on"));
        true
    }

    /// Two halves, or one link in one direction, or one tracker from everything.
    fn cut(&mut self) -> bool {
        if self.town.net.is_none() {
            return false;
        }
        let mut all: Vec<usize> = self.town.all().collect();
        all.shuffle(&mut self.rng);
        match self.rng.random_range(0..10) {
            0..6 => self.split(&all),
            6..8 => {
                let (from, to) = (all[0], all[1]);
                self.note(format!("cut: what {from} sends to {to} is lost"));
                self.town.cut(from, to);
                self.counts.cuts += 1;
            }
            _ => {
                let Some(n) = self.victim() else {
                    return false;
                };
                self.note(format!("tracker {n} is unplugged"));
                self.town.unplug(n);
                self.counts.unplugged += 1;
            }
        }
        true
    }

    fn split(&mut self, all: &[usize]) {
        let (left, right) = all.split_at(self.rng.random_range(1..all.len()));
        self.note(format!("split: {left:?} from {right:?}"));
        for (a, b) in left.iter().flat_map(|a| right.iter().map(|b| (*a, *b))) {
            self.town.cut(a, b);
            self.town.cut(b, a);
        }
        self.counts.splits += 1;
    }

    fn mend(&mut self) -> bool {
        let was_cut = self.town.mend();
        if was_cut {
            self.note("every link is mended".into());
        }
        was_cut
    }

    fn lose_database(&mut self) -> bool {
        let down = self.town.down().choose(&mut self.rng).copied();
        let lost = down.filter(|n| self.town.lose_database(*n));
        let Some(n) = lost else {
            return false;
        };
        self.note(format!("the database of tracker {n} is lost"));
        self.counts.lost_databases += 1;
        true
    }

    /// Everything is well again.
    pub fn heal(&mut self) {
        self.mend();
        for n in self.town.paused() {
            self.town.resume(n);
            self.note(format!("tracker {n} goes on"));
        }
        for n in self.town.down() {
            self.start(n);
        }
    }

    /// Heals, waits until all are linked, and looks on for a while.
    pub fn calm_down(&mut self, until: Instant) {
        self.heal();
        let since = Instant::now();
        while !self.town.is_linked() {
            let waited = since.elapsed();
            assert!(
                waited < AGREE,
                "not in sync after {waited:?}\n{}",
                self.town.logs()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        self.counts.slowest = self.counts.slowest.max(since.elapsed());
        self.note("all are in sync".into());
        let end = Instant::now() + Duration::from_millis(self.rng.random_range(500..2500));
        let mut from = now();
        while Instant::now() < end.min(until) {
            std::thread::sleep(Duration::from_millis(100));
            let looked = now();
            if !self.town.is_linked() {
                self.note("not in sync, though nobody did anything".into());
                return;
            }
            match self.calm.last_mut() {
                Some((_, to)) if *to == from => *to = looked,
                _ => self.calm.push((from, looked)),
            }
            from = looked;
        }
    }
}
