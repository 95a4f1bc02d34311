//! How much is measured, and where.

use std::path::PathBuf;

/// What every scenario is given.
pub struct Settings {
    /// For a look: fewer rounds, smaller files.
    pub quick: bool,
    /// A folder of this run's own, which is removed after it.
    pub folder: PathBuf,
}

impl Settings {
    /// How often each contestant runs.
    pub fn rounds(&self) -> usize {
        self.pick(1, 5)
    }

    /// The one for a look, or the one that counts.
    pub fn pick<T>(&self, quick: T, whole: T) -> T {
        if self.quick { quick } else { whole }
    }
}
