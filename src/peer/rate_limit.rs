//! A limit on bytes per second that all connections share, one for each direction.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::runtime::stop::Stop;

/// What may be spent at once after a pause: this long at the limited rate.
const BURST: Duration = Duration::from_millis(100);

/// How long anybody waits at once, at most and at least.
const NAP: Duration = Duration::from_millis(250);
const SHORTEST_NAP: Duration = Duration::from_millis(1);

/// Whoever wants to send or read takes bytes first, and waits where there are none.
pub struct RateLimit {
    /// 0 for no limit.
    bytes_per_second: AtomicU64,
    account: Mutex<Account>,
}

struct Account {
    /// Negative: spent in advance, to be waited for.
    balance: f64,
    at: Instant,
}

impl RateLimit {
    pub fn none() -> RateLimit {
        let account = Account {
            balance: 0.0,
            at: Instant::now(),
        };
        RateLimit {
            bytes_per_second: AtomicU64::new(0),
            account: Mutex::new(account),
        }
    }

    /// Bytes per second, or `None` for no limit.
    pub fn set(&self, limit: Option<u64>) {
        self.bytes_per_second
            .store(limit.unwrap_or(0), Ordering::Relaxed);
    }

    pub fn limit(&self) -> Option<u64> {
        Some(self.bytes_per_second.load(Ordering::Relaxed)).filter(|limit| *limit > 0)
    }

    /// Takes `bytes` if the limit allows them now; else takes nothing and says how long to wait
    /// before asking again.
    pub fn try_take(&self, bytes: u32) -> Duration {
        match self.limit() {
            Some(limit) => {
                let wait = self.account.lock().spend(Instant::now(), limit, bytes);
                // By then somebody may have changed the limit.
                wait.min(NAP)
            }
            None => Duration::ZERO,
        }
    }

    /// Takes `bytes`, and sleeps until the limit allows them or a stop is requested.
    pub fn take(&self, bytes: u32, stop: &Stop) {
        loop {
            let wait = self.try_take(bytes);
            if wait.is_zero() || stop.sleep(wait) {
                return;
            }
        }
    }
}

impl Account {
    /// Takes the bytes if nothing is owed, and then owes what was not there. Else says how long
    /// to wait.
    fn spend(&mut self, now: Instant, limit: u64, bytes: u32) -> Duration {
        let rate = limit as f64;
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * rate;
        self.at = now;
        self.balance = (self.balance + earned).min(rate * BURST.as_secs_f64());
        if self.balance < 0.0 {
            return Duration::from_secs_f64(-self.balance / rate).max(SHORTEST_NAP);
        }
        self.balance -= f64::from(bytes);
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_kept_over_time() {
        let start = Instant::now();
        let mut account = Account {
            balance: 0.0,
            at: start,
        };
        let mut now = start;
        for _ in 0..100 {
            loop {
                let wait = account.spend(now, 100_000, 16_384);
                if wait.is_zero() {
                    break;
                }
                now += wait;
            }
        }
        let took = (now - start).as_secs_f64();
        assert!(
            (16.0..16.5).contains(&took),
            "100 blocks at 100 kB/s took {took} s"
        );
    }
}
