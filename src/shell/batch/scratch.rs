//! What a run keeps in its folder while it lasts: all names begin alike, and nothing stays.

use std::fs;
use std::path::{Path, PathBuf};

use super::{BatchError, io_error};

/// The beginning of every name, before the job.
const PREFIX: &str = ".batch-";

/// A folder that is gone when this is dropped.
pub struct Scratch {
    pub path: PathBuf,
}

/// Between the job and what it is: no job has it in its name, so no job's name begins like another's.
const SEPARATOR: char = '+';

/// The name of something that a run keeps for itself.
pub fn name(job: &str, what: &str) -> String {
    format!("{PREFIX}{job}{SEPARATOR}{what}")
}

impl Scratch {
    pub fn new(folder: &Path, job: &str, what: &str) -> Result<Scratch, BatchError> {
        let path = folder.join(name(job, what));
        // Of a run that was killed and had the same name.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).map_err(io_error("create the folder", &path))?;
        Ok(Scratch { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes what is left of a run: some of its processes may have been killed.
pub fn sweep(folder: &Path, job: &str) {
    let ours = name(job, "");
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&ours) {
            let path = entry.path();
            // One of both fits.
            let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_run_sweeps_away_another_ones_files() {
        let temp = tempfile::tempdir().unwrap();
        let others = ["hw-2", "hw.2", "hw_2", "hw2"].map(|job| name(job, "tracker"));
        let ours = [name("hw", "tracker"), name("hw", "1")];
        for file in others.iter().chain(&ours) {
            fs::write(temp.path().join(file), "").unwrap();
        }
        sweep(temp.path(), "hw");
        for file in &others {
            assert!(temp.path().join(file).exists(), "{file}");
        }
        for file in &ours {
            assert!(!temp.path().join(file).exists(), "{file}");
        }
    }
}
