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

/// The name of something that a run keeps for itself.
pub fn name(job: &str, what: &str) -> String {
    format!("{PREFIX}{job}-{what}")
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
