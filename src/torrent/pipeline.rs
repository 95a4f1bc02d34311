//! How many blocks to have asked for at once on one connection.
//!
//! Too few, and the pipe runs dry for a round trip; too many, and a cancel comes too late. So
//! the depth follows the measured rate: what arrives in [`AHEAD`].
//!
//! That must be longer than any client pauses between two helpings, or else the depth limits the
//! rate that it follows, and never grows.

use std::time::{Duration, Instant};

use super::layout::BLOCK;

/// How much time's worth of blocks to have asked for. Transmission sends what it was asked for
/// every 500 ms.
pub const AHEAD: Duration = Duration::from_secs(2);
/// The depth to begin with, in blocks.
pub const MIN_DEPTH: u32 = 16;
/// The greatest depth, in blocks: 8 MiB.
pub const MAX_DEPTH: u32 = 512;
/// The depth that a peer bears which does not say (`reqq`, BEP 10): libtorrent's old limit.
pub const DEFAULT_REQQ: u32 = 250;

/// Rates are measured over at least this long.
const WINDOW: Duration = Duration::from_millis(50);

pub struct Pipeline {
    depth: u32,
    limit: u32,
    window: Option<(Instant, u64)>,
}

impl Pipeline {
    pub fn new() -> Pipeline {
        Pipeline {
            depth: MIN_DEPTH,
            limit: DEFAULT_REQQ,
            window: None,
        }
    }

    /// In blocks.
    pub fn depth(&self) -> u32 {
        self.depth.min(self.limit).min(MAX_DEPTH)
    }

    /// The peer said how many requests it keeps (`reqq`, BEP 10). We stay a little below:
    /// Transmission, which says 512, rejects the 512th.
    pub fn set_limit(&mut self, reqq: u32) {
        self.limit = (reqq - reqq / 16).saturating_sub(1).max(1);
    }

    /// How many blocks to ask for now, with `in_flight` asked for: none until some can be asked
    /// for together, so that the writer is woken seldom. With a peer that sends in pulses the
    /// ones held back until then miss a pulse, so they must be few.
    pub fn room(&self, in_flight: u32) -> u32 {
        let depth = self.depth();
        let together = (depth / 8).max(MIN_DEPTH / 2).min(depth);
        let room = depth.saturating_sub(in_flight);
        if room >= together { room } else { 0 }
    }

    /// Some bytes of a block have come.
    pub fn received(&mut self, now: Instant, bytes: u32) {
        let (since, sum) = self.window.get_or_insert((now, 0));
        let time = now.saturating_duration_since(*since);
        if time < WINDOW {
            *sum += u64::from(bytes);
            return;
        }
        let ahead = *sum as f64 * AHEAD.as_secs_f64() / time.as_secs_f64() / f64::from(BLOCK);
        let wanted = (ahead as u32).clamp(MIN_DEPTH, MAX_DEPTH);
        // Grows at once, shrinks slowly: a short pause must not empty the pipe.
        self.depth = wanted.max(self.depth - self.depth / 8);
        self.window = Some((now, u64::from(bytes)));
    }

    /// Nothing was asked for in the meantime: the pause says nothing about the rate.
    pub fn rested(&mut self) {
        self.window = None;
    }
}

impl Default for Pipeline {
    fn default() -> Self {
        Pipeline::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn depth_at(bytes_per_second: u64, limit: u32) -> u32 {
        let mut pipeline = Pipeline::new();
        pipeline.set_limit(limit);
        let start = Instant::now();
        for ms in 0..3000 {
            let bytes = (bytes_per_second / 1000) as u32;
            pipeline.received(start + Duration::from_millis(ms), bytes);
        }
        pipeline.depth()
    }

    #[test]
    fn depth_follows_the_rate_within_limits() {
        assert_eq!(depth_at(10_000, 5000), MIN_DEPTH);
        assert_eq!(depth_at(2_048_000, 5000), 250);
        assert_eq!(depth_at(1_000_000_000, 5000), MAX_DEPTH);
        assert_eq!(depth_at(1_000_000_000, 512), 479);
        assert_eq!(depth_at(1_000_000_000, 1), 1);
    }

    /// Transmission sends every half a second what it was asked for, and nothing in between. We
    /// asked for what had come in a quarter of a second, and so stayed at the least depth: 0.5 MB/s
    /// over loopback. And half of the depth was held back in each pulse.
    #[test]
    fn the_depth_grows_with_a_peer_that_sends_in_pulses() {
        let mut pipeline = Pipeline::new();
        let mut now = Instant::now();
        let mut in_flight = 0;
        for _ in 0..12 {
            in_flight += pipeline.room(in_flight);
            for _ in 0..std::mem::take(&mut in_flight) {
                now += Duration::from_micros(50);
                pipeline.received(now, BLOCK);
            }
            // What is asked for now comes with the next pulse; the least there can be.
            in_flight = pipeline.depth() * 7 / 8;
            now += Duration::from_millis(500);
        }
        assert_eq!(pipeline.depth(), DEFAULT_REQQ);
    }

    #[test]
    fn refills_several_blocks_at_a_time() {
        let mut pipeline = Pipeline::new();
        assert_eq!(pipeline.room(0), 16);
        assert_eq!(pipeline.room(9), 0);
        assert_eq!(pipeline.room(8), 8);
        assert_eq!(pipeline.room(99), 0);
        pipeline.depth = 240;
        assert_eq!(pipeline.room(211), 0);
        assert_eq!(pipeline.room(210), 30);
        pipeline.set_limit(1);
        assert_eq!((pipeline.room(0), pipeline.room(1)), (1, 0));
    }
}
