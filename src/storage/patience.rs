//! Patience with files that somebody else has in use: virus scanners on Windows do for a moment.
//!
//! Not here: what is an obstacle at all (`Obstacle`).

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::disk::{Obstacle, is_for_reading};
use super::names::Platform;

/// How long one file is waited for. Virus scanners take about a second.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long a peer that ends waits for all files together: who closes a console on Windows has five
/// seconds for everything.
const AT_THE_END: Duration = Duration::from_secs(1);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// Tries again, for as long as there is time. Copies are the same one.
#[derive(Clone, Default)]
pub struct Patience {
    /// When it is over for everybody. Not set while a peer runs.
    over_at: Arc<OnceLock<Instant>>,
}

impl Patience {
    /// For a job of several steps: what one waits, the others cannot wait any more.
    pub fn for_one_job() -> Patience {
        let patience = Patience::default();
        patience.end_in(PATIENCE);
        patience
    }

    /// The peer ends.
    pub fn end_soon(&self) {
        self.end_in(AT_THE_END);
    }

    fn end_in(&self, time: Duration) {
        // The first end counts.
        let _ = self.over_at.set(Instant::now() + time);
    }

    fn is_over(&self) -> bool {
        self.over_at.get().is_some_and(|at| *at <= Instant::now())
    }

    /// Does something with the file at `path`, and tries again for some seconds while another program
    /// has it in use.
    ///
    /// Whoever calls this may wait: `main` for a command, and the threads `disk`, `hash-N`,
    /// `conn-r-N`, `conn-w-N`, `watch` and `answer`, each for its own work. The engine touches no
    /// file.
    pub fn retry<T>(&self, path: &Path, attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        self.retry_on(Platform::here(), path, PATIENCE, attempt)
    }

    fn retry_on<T>(
        &self,
        platform: Platform,
        path: &Path,
        mut left: Duration,
        mut attempt: impl FnMut() -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            let error = match attempt() {
                Err(error) if !left.is_zero() && !self.is_over() => error,
                result => return result,
            };
            match Obstacle::of(platform, &error) {
                // Nothing to wait for.
                Some(Obstacle::Denied) if is_for_reading(path) => return Err(error),
                Some(_) => {
                    std::thread::sleep(PAUSE);
                    left = left.saturating_sub(PAUSE);
                }
                None => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn who_has_a_file_open_is_waited_for_but_not_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "").unwrap();
        // How often it is tried when the first so many tries fail with this error.
        let patience = Patience::default();
        let tries = |code: i32, fail: u32, left: Duration| {
            let mut tries = 0;
            let result = patience.retry_on(Platform::Windows, &path, left, || {
                tries += 1;
                if tries <= fail {
                    Err(io::Error::from_raw_os_error(code))
                } else {
                    Ok(())
                }
            });
            (tries, result.is_ok())
        };
        assert_eq!(tries(32, 3, PATIENCE), (4, true));
        assert_eq!(tries(5, 3, PATIENCE), (4, true));
        assert_eq!(tries(2, 3, PATIENCE), (1, false));
        // Not for ever.
        assert_eq!(tries(33, 1000, 4 * PAUSE), (5, false));
        // A file for reading only stays so.
        let set = |readonly: bool| {
            let mut permissions = fs::metadata(&path).unwrap().permissions();
            permissions.set_readonly(readonly);
            fs::set_permissions(&path, permissions).unwrap();
        };
        set(true);
        assert_eq!(tries(5, 3, PATIENCE), (1, false));
        assert_eq!(tries(32, 3, PATIENCE), (4, true));
        set(false);
        // Nor when the peer ends, whoever waits and for how many files.
        patience.end_in(Duration::ZERO);
        assert_eq!(tries(32, 3, PATIENCE), (1, false));
    }
}
