//! The thread `sweeper`: forgets silent peers, and shares that nobody holds any longer.

use std::time::Duration;

use super::state::State;

/// Sweeps until told to stop.
pub fn run(state: &State) {
    // Often enough that a peer outlives its time by little, seldom enough to cost nothing.
    let period = Duration::from_secs(u64::from(state.config.interval / 8).clamp(1, 30));
    while !state.stop.sleep(period) {
        state.sweep();
    }
}
