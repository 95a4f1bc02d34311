//! Values of several runs, and runs in turns on a machine that others use, too.

use std::fs;
use std::time::{Duration, Instant};

/// How often a round is run again because the machine had other things to do.
const AGAIN: usize = 2;

/// The most of the machine's time that others may take in a round.
const MOST_FOR_OTHERS: f64 = 0.05;

/// What was measured in several runs.
#[derive(Clone, Debug, Default)]
pub struct Figures(Vec<f64>);

impl Figures {
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
        self.0.sort_by(f64::total_cmp);
    }

    /// NaN if there is none, as for the others.
    pub fn median(&self) -> f64 {
        let half = self.0.len() / 2;
        match self.0.len() {
            0 => f64::NAN,
            odd if odd % 2 == 1 => self.0[half],
            _ => (self.0[half - 1] + self.0[half]) / 2.0,
        }
    }

    pub fn least(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }

    pub fn most(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }
}

impl FromIterator<f64> for Figures {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Figures {
        let mut figures = Figures::default();
        values.into_iter().for_each(|value| figures.push(value));
        figures
    }
}

/// Runs everybody in turns, `rounds` times: A B A B. What `run` makes comes back by who made it.
/// A round in which others had too much of the machine is told, thrown away, and run again.
pub fn in_turns<C, O>(
    rounds: usize,
    contestants: &[C],
    mut run: impl FnMut(&C) -> Result<O, String>,
) -> Result<Vec<Vec<O>>, String> {
    let mut outcomes: Vec<Vec<O>> = contestants.iter().map(|_| Vec::new()).collect();
    let mut again = 0;
    for round in 1..=rounds {
        loop {
            let machine = Machine::look();
            let of_round: Vec<O> = contestants.iter().map(&mut run).collect::<Result<_, _>>()?;
            let others = machine.taken_by_others();
            if others > MOST_FOR_OTHERS && again < AGAIN {
                again += 1;
                println!(
                    "  round {round}: others took {:.0} % of the machine; it is run again",
                    others * 100.0
                );
                continue;
            }
            if others > MOST_FOR_OTHERS {
                println!(
                    "  round {round}: others took {:.0} % of the machine, and still do: \
                     mind that when you read this",
                    others * 100.0
                );
            }
            for (all, outcome) in outcomes.iter_mut().zip(of_round) {
                all.push(outcome);
            }
            break;
        }
    }
    Ok(outcomes)
}

/// What the machine and we have worked until now, in seconds of one processor.
struct Machine {
    at: Instant,
    all: f64,
    ours: f64,
}

impl Machine {
    fn look() -> Machine {
        // user nice system idle iowait irq softirq steal; interrupts are of everybody.
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let fields: Vec<f64> = (stat.lines().next().unwrap_or_default().split_whitespace())
            .filter_map(|field| field.parse().ok())
            .collect();
        let ticks: f64 = [0, 1, 2, 7].iter().filter_map(|&at| fields.get(at)).sum();
        Machine {
            at: Instant::now(),
            all: seconds(ticks),
            ours: all_of_us(std::process::id()),
        }
    }

    /// The share of the whole machine that was spent on what is not ours since the look. What we
    /// have started must have been waited for, or still run.
    fn taken_by_others(&self) -> f64 {
        let now = Machine::look();
        let others = (now.all - self.all) - (now.ours - self.ours);
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let time = (now.at - self.at).max(Duration::from_millis(1));
        (others / time.as_secs_f64() / processors as f64).max(0.0)
    }
}

/// `/proc` counts in hundredths on every Linux.
pub fn seconds(ticks: f64) -> f64 {
    ticks / 100.0
}

/// What a process has worked, in seconds: itself; its children that were waited for.
pub fn worked(pid: u32) -> (f64, f64) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name may have spaces; behind its bracket the state is the third field.
    let fields: Vec<f64> = (stat.rsplit(") ").next().unwrap_or_default())
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0.0))
        .collect();
    let sum = |from: usize| seconds(fields.iter().skip(from).take(2).sum());
    (sum(11), sum(13))
}

/// What a process and all that it has started have worked.
fn all_of_us(pid: u32) -> f64 {
    let (own, waited) = worked(pid);
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    let tasks = tasks.into_iter().flatten().flatten();
    let running: f64 = tasks
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| {
            let pids: Vec<u32> = (list.split_whitespace())
                .filter_map(|pid| pid.parse().ok())
                .collect();
            pids
        })
        .map(all_of_us)
        .sum();
    own + waited + running
}
