//! When to announce a torrent to one tracker, and as what.
//!
//! Pure: time is an argument. Not here: the asking.

use std::time::{Duration, Instant};

use crate::announce::request::Event;

use super::announcer::Tracker;

/// The shortest and the longest pause that a tracker can ask for.
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(3600);
/// A downloader with nobody to fetch from asks again soon, then with doubled pauses.
const HUNGRY_PAUSE: Duration = Duration::from_secs(2);
/// The same in a batch run.
const EAGER_PAUSE: Duration = Duration::from_millis(50);
/// Other people's trackers are not asked more often than this.
const POLITE_PAUSE: Duration = Duration::from_secs(30);
/// A tracker that did not answer is asked again with doubled pauses up to this.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

pub struct Schedule {
    pub tracker: Tracker,
    due: Instant,
    /// What is being said right now.
    under_way: Option<Event>,
    /// The tracker knows us.
    started: bool,
    /// We became complete and it does not know yet.
    completed: bool,
    /// In a row.
    failures: u32,
    hungry: u32,
    hungry_pause: Duration,
    /// To be asked again as soon as it has answered.
    again: bool,
    answered: Instant,
    error: Option<String>,
}

impl Schedule {
    /// Due at once.
    pub fn new(now: Instant, tracker: Tracker) -> Schedule {
        Schedule {
            tracker,
            due: now,
            under_way: None,
            started: false,
            completed: false,
            failures: 0,
            hungry: 0,
            hungry_pause: HUNGRY_PAUSE,
            again: false,
            answered: now,
            error: None,
        }
    }

    /// One for a batch run: the hungry ask much sooner.
    pub fn eager(now: Instant, tracker: Tracker) -> Schedule {
        Schedule {
            hungry_pause: EAGER_PAUSE,
            ..Schedule::new(now, tracker)
        }
    }

    /// The event to announce now, if it is time. It then counts as under way.
    pub fn due(&mut self, now: Instant) -> Option<Event> {
        if self.under_way.is_some() || now < self.due {
            return None;
        }
        self.under_way = Some(match (self.started, self.completed) {
            (false, _) => Event::Started,
            (true, true) => Event::Completed,
            (true, false) => Event::None,
        });
        self.under_way
    }

    /// We have become complete.
    pub fn completed(&mut self, now: Instant) {
        self.completed = true;
        self.due = now;
    }

    /// We leave. Returns what to say, if the tracker knows us or may know us soon.
    pub fn stop(&mut self) -> Option<Event> {
        let asked = self.under_way.take().is_some();
        (std::mem::take(&mut self.started) | asked).then_some(Event::Stopped)
    }

    /// To be asked again now: after a pause. If it is just being asked, once more after that.
    pub fn restart(&mut self, now: Instant) {
        self.due = now;
        self.again = self.under_way.is_some();
    }

    /// Nobody has what is missing: to be asked again soon, if it was not asked just now.
    pub fn hurry(&mut self, now: Instant) {
        if self.started && self.failures == 0 {
            let soon = self.answered + self.hungry_pause * 2u32.saturating_pow(self.hungry.min(10));
            self.due = self.due.min(soon.max(now));
        }
    }

    /// How often in a row it had nobody for us, or nobody with what is missing.
    pub fn hungry(&self) -> u32 {
        self.hungry
    }

    /// The tracker answered and asks to be left alone for `interval` seconds.
    pub fn answered(&mut self, now: Instant, interval: u32, hungry: bool) {
        match self.under_way.take() {
            // The answer to `stopped`, or to what was said before it.
            None => return,
            Some(Event::Completed) => self.completed = false,
            Some(_) => {}
        }
        self.started = true;
        self.failures = 0;
        self.error = None;
        self.answered = now;
        let again = std::mem::take(&mut self.again);
        let mut pause = Duration::from_secs(interval.into()).clamp(SHORTEST, LONGEST);
        if self.completed || again {
            pause = Duration::ZERO;
        } else if hungry {
            let soon = self.hungry_pause * 2u32.saturating_pow(self.hungry.min(10));
            let soon = if self.tracker == Tracker::Ours {
                soon
            } else {
                soon.max(POLITE_PAUSE)
            };
            pause = pause.min(soon);
            self.hungry += 1;
        } else {
            self.hungry = 0;
        }
        self.due = now + pause;
    }

    pub fn failed(&mut self, now: Instant, error: String) {
        if self.under_way.take().is_none() {
            return;
        }
        self.failures += 1;
        self.error = Some(error);
        let pause = Duration::from_secs(1) * 2u32.saturating_pow(self.failures.min(10) - 1);
        self.due = now + pause.min(LONGEST_RETRY);
    }

    /// The tracker has not answered yet, for good or ill.
    pub fn is_first_asked(&self) -> bool {
        !self.started && self.failures == 0
    }

    /// Why the tracker did not answer the last time.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_announced_from_start_to_stop() {
        let mut now = Instant::now();
        let mut schedule = Schedule::new(now, Tracker::Ours);
        assert_eq!(schedule.stop(), None, "unknown to the tracker");
        assert_eq!(schedule.due(now), Some(Event::Started));
        assert_eq!(schedule.due(now), None, "under way");
        schedule.answered(now, 120, false);
        now += Duration::from_secs(119);
        assert_eq!(schedule.due(now), None);
        now += Duration::from_secs(1);
        assert_eq!(schedule.due(now), Some(Event::None));
        schedule.answered(now, 120, false);
        schedule.completed(now);
        assert_eq!(schedule.due(now), Some(Event::Completed));
        schedule.answered(now, 120, false);
        now += Duration::from_secs(120);
        assert_eq!(schedule.due(now), Some(Event::None));
        assert_eq!(schedule.stop(), Some(Event::Stopped));
    }

    #[test]
    fn completed_while_an_announce_is_under_way_is_told_with_the_next() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now, Tracker::Ours);
        schedule.due(now);
        schedule.answered(now, 120, false);
        let later = now + Duration::from_secs(120);
        assert_eq!(schedule.due(later), Some(Event::None));
        schedule.completed(later);
        schedule.answered(later, 120, false);
        assert_eq!(schedule.due(later), Some(Event::Completed));
    }

    #[test]
    fn the_hungry_ask_sooner_and_failures_pause_longer() {
        let start = Instant::now();
        let pauses = |tracker: Tracker, fails: bool| {
            let mut schedule = Schedule::new(start, tracker);
            let mut now = start;
            let mut pauses = Vec::new();
            for _ in 0..8 {
                let asked = now;
                schedule.due(now);
                if fails {
                    schedule.failed(now, "no".into());
                } else {
                    schedule.answered(now, 120, true);
                }
                now = schedule.due;
                pauses.push((now - asked).as_secs());
            }
            pauses
        };
        assert_eq!(
            pauses(Tracker::Ours, false),
            [2, 4, 8, 16, 32, 64, 120, 120]
        );
        assert_eq!(
            pauses(Tracker::Http("x".into()), false),
            [30, 30, 30, 30, 32, 64, 120, 120]
        );
        assert_eq!(pauses(Tracker::Ours, true), [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn a_wish_while_it_is_being_asked_is_not_forgotten() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now, Tracker::Ours);
        schedule.due(now);
        schedule.restart(now);
        assert_eq!(schedule.due(now), None, "under way");
        schedule.answered(now, 120, false);
        assert_eq!(schedule.due(now), Some(Event::None));
        schedule.answered(now, 120, false);
        assert_eq!(schedule.due(now), None, "once");
    }

    #[test]
    fn in_a_batch_run_the_hungry_need_not_wait_for_the_next_turn() {
        let mut now = Instant::now();
        let mut schedule = Schedule::eager(now, Tracker::Ours);
        schedule.due(now);
        schedule.hurry(now);
        schedule.answered(now, 120, false);
        now += Duration::from_secs(1);
        assert_eq!(schedule.due(now), None);
        schedule.hurry(now);
        assert_eq!(schedule.due(now), Some(Event::None));
        schedule.answered(now, 120, true);
        schedule.hurry(now);
        assert_eq!(schedule.due(now), None, "not at once again");
        assert_eq!(schedule.due(now + EAGER_PAUSE), Some(Event::None));
    }
}
