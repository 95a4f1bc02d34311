//! Our trackers, in the order in which they are tried, and which of them answer.
//!
//! One value for all connections of a peer: what one of them finds out, all know, and the user is
//! told once. The first of the file that lives is the one that is used; so all peers of a file meet
//! at the same one, without a vote.
//!
//! A tracker that failed is left alone for a pause, which doubles from failure to failure. If none
//! is left, pauses count for nothing. Not here: connections ([`super::tracker_link`]).

use std::fmt;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use crate::control::tracker_info::TrackerAddress;

use super::view::News;

/// How long a tracker that failed is left alone, doubled from one failure to the next.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A tracker that has not failed for so long begins anew with the shortest pause. One that answers
/// only now and then does not.
const FORGIVEN: Duration = Duration::from_secs(60);

/// Why a tracker is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    NoAnswer(String),
    /// It lacks facts that others have.
    CatchingUp(String),
    /// It is not the one that tracker_info.txt means.
    Distrusted(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::NoAnswer(_) => f.write_str("does not answer"),
            Trouble::CatchingUp(_) => f.write_str("is catching up"),
            Trouble::Distrusted(why) => write!(f, "is not trusted ({why})"),
        }
    }
}

impl Trouble {
    /// In full, for a list.
    pub fn why(&self) -> &str {
        match self {
            Trouble::NoAnswer(why) | Trouble::CatchingUp(why) | Trouble::Distrusted(why) => why,
        }
    }
}

/// What is known of one tracker without asking it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackerView {
    pub tracker: TrackerAddress,
    /// The one that this peer uses.
    pub used: bool,
    pub trouble: Option<Trouble>,
}

/// The trackers of tracker_info.txt.
pub struct Trackers {
    rules: Mutex<Rules>,
    people: Mutex<Option<Sender<News>>>,
    /// Whoever has nothing to ask hears of a change, too. Holds at most one.
    change: Sender<()>,
    changed: Receiver<()>,
}

impl Trackers {
    /// `people` are told when another tracker is used, or none.
    pub fn new(list: Vec<TrackerAddress>, people: Sender<News>) -> Trackers {
        let (change, changed) = bounded(1);
        Trackers {
            rules: Mutex::new(Rules::new(list)),
            people: Mutex::new(Some(people)),
            change,
            changed,
        }
    }

    /// As they stand in the file.
    pub fn list(&self) -> Vec<TrackerAddress> {
        let rules = self.rules.lock();
        rules
            .lines
            .iter()
            .map(|line| line.tracker.clone())
            .collect()
    }

    pub fn view(&self) -> Vec<TrackerView> {
        self.rules.lock().view()
    }

    /// All of them, in the order in which a request tries them.
    pub fn to_try(&self) -> Vec<TrackerAddress> {
        self.rules.lock().to_try(Instant::now())
    }

    /// Those that may have come back and would be used then.
    pub fn to_look_at(&self) -> Vec<TrackerAddress> {
        self.rules.lock().to_look_at(Instant::now())
    }

    /// In which time [`to_look_at`](Self::to_look_at) names one, if ever.
    pub fn next_look(&self) -> Option<Duration> {
        let now = Instant::now();
        let next = self.rules.lock().next_look(now);
        next.map(|next| next.saturating_duration_since(now))
    }

    /// Whether a connection to this tracker is still the right one.
    pub fn is_used(&self, tracker: &TrackerAddress) -> bool {
        self.rules.lock().used.as_ref() == Some(tracker)
    }

    /// The one that is used.
    pub fn used(&self) -> Option<TrackerAddress> {
        self.rules.lock().used.clone()
    }

    /// A tracker has answered on a new connection.
    pub fn answered(&self, tracker: &TrackerAddress) {
        self.change(|rules| rules.answered(Instant::now(), tracker));
    }

    pub fn failed(&self, tracker: &TrackerAddress, trouble: Trouble) {
        self.rules.lock().failed(Instant::now(), tracker, trouble);
    }

    /// All were tried, and none has answered.
    pub fn none_left(&self) {
        self.change(Rules::none_left);
    }

    /// The file has changed. Trackers that stay keep what is known of them.
    pub fn replace(&self, list: Vec<TrackerAddress>) {
        self.rules.lock().replace(list);
        let _ = self.change.try_send(());
    }

    /// A tracker was started just now: no pause counts any more.
    pub fn try_at_once(&self) {
        self.rules.lock().try_at_once();
        let _ = self.change.try_send(());
    }

    /// The peer ends: nobody is told of anything any more.
    pub fn close(&self) {
        *self.people.lock() = None;
    }

    /// Something to receive when another tracker is used, or the list is another.
    pub fn changed(&self) -> &Receiver<()> {
        &self.changed
    }

    fn change(&self, change: impl FnOnce(&mut Rules) -> Change) {
        let change = change(&mut self.rules.lock());
        if let Change::Other | Change::Told(_) = change {
            let _ = self.change.try_send(());
        }
        let people = self.people.lock().clone();
        if let (Change::Told(text), Some(people)) = (change, people) {
            // Nobody listens any more when the peer ends.
            let _ = people.send(News::Notice(text));
        }
    }
}

/// What has become of the tracker that is used.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    Same,
    /// Another one, and nobody need know.
    Other,
    /// Another one, or none: in words.
    Told(String),
}

/// Which tracker to try when: time is an argument.
struct Rules {
    lines: Vec<Line>,
    used: Option<TrackerAddress>,
    /// The user knows that none answers.
    none: bool,
}

struct Line {
    tracker: TrackerAddress,
    /// Why it did not answer the last time.
    trouble: Option<Trouble>,
    /// In a row, or nearly so.
    failures: u32,
    failed_at: Option<Instant>,
    not_before: Option<Instant>,
}

impl Line {
    fn new(tracker: TrackerAddress) -> Line {
        Line {
            tracker,
            trouble: None,
            failures: 0,
            failed_at: None,
            not_before: None,
        }
    }

    fn pauses(&self, now: Instant) -> bool {
        self.not_before.is_some_and(|end| now < end)
    }
}

impl Rules {
    fn new(list: Vec<TrackerAddress>) -> Rules {
        Rules {
            lines: list.into_iter().map(Line::new).collect(),
            used: None,
            none: false,
        }
    }

    fn to_try(&self, now: Instant) -> Vec<TrackerAddress> {
        let (pausing, ready): (Vec<&Line>, Vec<&Line>) =
            self.lines.iter().partition(|line| line.pauses(now));
        let lines = ready.into_iter().chain(pausing);
        lines.map(|line| line.tracker.clone()).collect()
    }

    /// Before the one that is used.
    fn better(&self) -> impl Iterator<Item = &Line> {
        let is_worse = |line: &&Line| self.used.as_ref() != Some(&line.tracker);
        self.lines.iter().take_while(is_worse)
    }

    fn to_look_at(&self, now: Instant) -> Vec<TrackerAddress> {
        let due = self.better().filter(|line| !line.pauses(now));
        due.map(|line| line.tracker.clone()).collect()
    }

    fn next_look(&self, now: Instant) -> Option<Instant> {
        self.better()
            .map(|line| line.not_before.unwrap_or(now).max(now))
            .min()
    }

    fn place(&self, tracker: &TrackerAddress) -> Option<usize> {
        self.lines.iter().position(|line| line.tracker == *tracker)
    }

    fn answered(&mut self, now: Instant, tracker: &TrackerAddress) -> Change {
        // It may have gone from the file while it was asked.
        let Some(place) = self.place(tracker) else {
            return Change::Same;
        };
        let line = &mut self.lines[place];
        line.trouble = None;
        line.not_before = None;
        if line
            .failed_at
            .is_some_and(|at| now.saturating_duration_since(at) > FORGIVEN)
        {
            line.failures = 0;
        }
        let change = match self.used.as_ref().and_then(|used| self.place(used)) {
            Some(used) if used == place => return Change::Same,
            Some(used) => match &self.lines[used].trouble {
                Some(trouble) => {
                    Change::Told(going_on(&self.lines[used].tracker, trouble, tracker))
                }
                None if place < used => Change::Told(format!("tracker {tracker} answers again")),
                // Whoever asked it did not know that a better one had come back.
                None => return Change::Same,
            },
            None if self.none => Change::Told(format!("tracker {tracker} answers again")),
            None => {
                let earlier = &self.lines[..place];
                let distrusted = earlier.iter().find_map(|line| match &line.trouble {
                    Some(trouble @ Trouble::Distrusted(_)) => {
                        Some(going_on(&line.tracker, trouble, tracker))
                    }
                    _ => None,
                });
                distrusted.map_or(Change::Other, Change::Told)
            }
        };
        self.used = Some(tracker.clone());
        self.none = false;
        change
    }

    fn failed(&mut self, now: Instant, tracker: &TrackerAddress, trouble: Trouble) {
        let Some(place) = self.place(tracker) else {
            return;
        };
        let line = &mut self.lines[place];
        line.trouble = Some(trouble);
        // Several connections may find out at once: that is one failure.
        if !line.pauses(now) {
            let pause = FIRST_PAUSE * 2u32.saturating_pow(line.failures.min(10));
            line.failures += 1;
            line.failed_at = Some(now);
            line.not_before = Some(now + pause.min(LONGEST_PAUSE));
        }
    }

    fn none_left(&mut self) -> Change {
        let all_failed = self.lines.iter().all(|line| line.trouble.is_some());
        if self.none || self.lines.is_empty() || !all_failed {
            return Change::Same;
        }
        self.none = true;
        self.used = None;
        let distrusted = self.lines.iter().find_map(|line| match &line.trouble {
            Some(trouble @ Trouble::Distrusted(_)) => Some(format!(
                "tracker {} {trouble}, and no other answers",
                line.tracker
            )),
            _ => None,
        });
        Change::Told(distrusted.unwrap_or_else(|| NONE_LEFT.into()))
    }

    fn replace(&mut self, list: Vec<TrackerAddress>) {
        let mut old = std::mem::take(&mut self.lines);
        let line = |tracker: TrackerAddress| {
            let known = old.iter().position(|line| line.tracker == tracker);
            known.map_or_else(|| Line::new(tracker), |place| old.swap_remove(place))
        };
        self.lines = list.into_iter().map(line).collect();
        self.used = self.used.take().filter(|used| self.place(used).is_some());
    }

    fn try_at_once(&mut self) {
        for line in &mut self.lines {
            line.not_before = None;
        }
    }

    fn view(&self) -> Vec<TrackerView> {
        let view = |line: &Line| TrackerView {
            tracker: line.tracker.clone(),
            used: self.used.as_ref() == Some(&line.tracker),
            trouble: line.trouble.clone(),
        };
        self.lines.iter().map(view).collect()
    }
}

/// Said once, until one answers again.
const NONE_LEFT: &str = "no tracker answers: what goes on between peers goes on, and what you \
    share waits for one. A tracker of tracker_info.txt that is on this machine runs in this \
    program with: host_tracker";

fn going_on(old: &TrackerAddress, trouble: &Trouble, new: &TrackerAddress) -> String {
    format!("tracker {old} {trouble}; going on with {new}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracker(port: u16) -> TrackerAddress {
        TrackerAddress {
            host: "127.0.0.1".into(),
            port,
            key: None,
        }
    }

    fn three() -> Rules {
        Rules::new([1, 2, 3].map(tracker).to_vec())
    }

    fn silent() -> Trouble {
        Trouble::NoAnswer("refused".into())
    }

    fn ports(trackers: Vec<TrackerAddress>) -> Vec<u16> {
        trackers.iter().map(|tracker| tracker.port).collect()
    }

    fn told(change: Change) -> String {
        match change {
            Change::Told(text) => text,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn who_failed_comes_last_for_a_pause_that_grows() {
        let mut rules = three();
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            assert_eq!(ports(rules.to_try(now)), [1, 2, 3]);
            rules.failed(now, &tracker(1), silent());
            rules.failed(now, &tracker(1), silent());
            assert_eq!(ports(rules.to_try(now)), [2, 3, 1]);
            let end = rules.lines[0].not_before.unwrap();
            pauses.push((end - now).as_secs());
            now = end;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
        // A short life is not forgiven, a long one is.
        rules.answered(now, &tracker(1));
        rules.failed(now, &tracker(1), silent());
        assert_eq!(rules.lines[0].not_before.unwrap() - now, LONGEST_PAUSE);
        now += FORGIVEN + LONGEST_PAUSE;
        rules.answered(now, &tracker(1));
        rules.failed(now, &tracker(1), silent());
        assert_eq!(rules.lines[0].not_before.unwrap() - now, FIRST_PAUSE);
    }

    #[test]
    fn the_user_is_told_once() {
        let mut rules = three();
        let now = Instant::now();
        assert_eq!(rules.answered(now, &tracker(1)), Change::Other);
        rules.failed(now, &tracker(1), silent());
        assert_eq!(
            told(rules.answered(now, &tracker(2))),
            "tracker 127.0.0.1:1 does not answer; going on with 127.0.0.1:2"
        );
        assert_eq!(rules.answered(now, &tracker(2)), Change::Same);
        assert_eq!(
            rules.answered(now, &tracker(3)),
            Change::Same,
            "2 is better"
        );
        rules.failed(now, &tracker(2), silent());
        assert_eq!(rules.none_left(), Change::Same, "3 is not known to fail");
        rules.failed(now, &tracker(3), silent());
        assert_eq!(told(rules.none_left()), NONE_LEFT);
        assert_eq!(rules.none_left(), Change::Same);
        assert_eq!(
            told(rules.answered(now, &tracker(3))),
            "tracker 127.0.0.1:3 answers again"
        );
        assert_eq!(
            told(rules.answered(now, &tracker(1))),
            "tracker 127.0.0.1:1 answers again"
        );
        assert_eq!(rules.used, Some(tracker(1)));
        assert_eq!(Rules::new(Vec::new()).none_left(), Change::Same);
    }

    #[test]
    fn a_tracker_that_is_not_trusted_is_told_of_at_once() {
        let mut rules = three();
        let now = Instant::now();
        rules.failed(now, &tracker(1), Trouble::Distrusted("another key".into()));
        assert_eq!(
            told(rules.answered(now, &tracker(2))),
            "tracker 127.0.0.1:1 is not trusted (another key); going on with 127.0.0.1:2"
        );
        rules.failed(now, &tracker(2), silent());
        rules.failed(now, &tracker(3), silent());
        assert_eq!(
            told(rules.none_left()),
            "tracker 127.0.0.1:1 is not trusted (another key), and no other answers"
        );
    }

    #[test]
    fn only_what_is_before_the_used_one_is_looked_for() {
        let mut rules = three();
        let now = Instant::now();
        assert_eq!(ports(rules.to_look_at(now)), [1, 2, 3], "nothing is known");
        assert_eq!(rules.next_look(now), Some(now));
        rules.failed(now, &tracker(1), silent());
        rules.answered(now, &tracker(2));
        assert_eq!(rules.to_look_at(now), []);
        assert_eq!(rules.next_look(now), Some(now + FIRST_PAUSE));
        assert_eq!(ports(rules.to_look_at(now + FIRST_PAUSE)), [1]);
        rules.answered(now, &tracker(1));
        assert_eq!(rules.next_look(now), None);
    }

    #[test]
    fn another_file_keeps_what_is_known() {
        let mut rules = three();
        let now = Instant::now();
        rules.failed(now, &tracker(1), silent());
        rules.answered(now, &tracker(2));
        rules.replace([4, 2, 1].map(tracker).to_vec());
        assert_eq!(ports(rules.to_try(now)), [4, 2, 1]);
        assert_eq!(rules.used, Some(tracker(2)));
        rules.replace(vec![tracker(4)]);
        assert_eq!(rules.used, None);
        assert_eq!(rules.answered(now, &tracker(1)), Change::Same);
        assert_eq!(rules.answered(now, &tracker(4)), Change::Other);
    }
}
