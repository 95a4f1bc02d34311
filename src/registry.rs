//! What a tracker knows: users, groups and what they share, kept for ever; what everybody shares
//! and who is in which swarm, for as long as it is announced.
//!
//! What is kept is a set of [`fact`]s, merged into [`facts`]; what a user may do to them is
//! decided in [`change`]. Pure: time and randomness are arguments. Not here: sockets and files,
//! and how a request is answered.

pub mod access;
pub mod allowance;
pub mod answered;
pub mod attempts;
pub mod batch;
pub mod busy;
pub mod change;
pub mod digest;
pub mod entry;
pub mod fact;
pub mod facts;
pub mod group;
pub mod latest;
pub mod missed;
pub mod muster;
pub mod news;
pub mod question;
pub mod refused;
#[cfg(test)]
mod script;
pub mod shares;
pub mod swarms;
pub mod versions;
pub mod views;

/// Seconds on a clock that never goes back, such as since the tracker's start. Small, because
/// every peer of every swarm carries one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Seconds(pub u32);

impl Seconds {
    /// How long ago `earlier` was.
    pub fn since(self, earlier: Seconds) -> u32 {
        self.0.saturating_sub(earlier.0)
    }
}
