//! What a tracker knows: which torrents are shared under which name, and who is in their swarms.
//!
//! Pure: time and randomness are arguments. Not here: who may ask, and how it is answered.

pub mod attempts;
pub mod shares;
pub mod swarms;

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
