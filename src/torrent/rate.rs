//! Bytes per second, from a counter that is looked at now and then.

use std::time::{Duration, Instant};

/// How long ago what was counted still matters.
const MEMORY: Duration = Duration::from_secs(3);

/// A smoothed rate of a growing counter.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    last: Option<(Instant, u64)>,
    bytes_per_second: f64,
}

impl Rate {
    /// The counter stands at `total` now.
    pub fn update(&mut self, now: Instant, total: u64) {
        let Some((since, before)) = self.last.replace((now, total)) else {
            return;
        };
        let time = now.saturating_duration_since(since).as_secs_f64();
        if time > 0.0 {
            let sample = total.saturating_sub(before) as f64 / time;
            let weight = (time / MEMORY.as_secs_f64()).min(1.0);
            // A first sample counts in full: nothing is known that would smooth it.
            let weight = if self.bytes_per_second == 0.0 {
                1.0
            } else {
                weight
            };
            self.bytes_per_second += (sample - self.bytes_per_second) * weight;
        }
    }

    pub fn bytes_per_second(&self) -> u64 {
        self.bytes_per_second as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_counter_has_a_steady_rate() {
        let start = Instant::now();
        let mut rate = Rate::default();
        for second in 0..20 {
            rate.update(start + Duration::from_secs(second), second * 1000);
        }
        assert_eq!(rate.bytes_per_second(), 1000);
        for second in 20..60 {
            rate.update(start + Duration::from_secs(second), 20_000);
        }
        assert!(rate.bytes_per_second() < 5, "{}", rate.bytes_per_second());
    }
}
