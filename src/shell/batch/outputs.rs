//! Where what the clients want goes in the end: beside the inputs, and over none of them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::BatchError;
use super::input::{self, Content, Input};
use crate::storage::real_path;

/// The file that a client's wanted `name` is written to.
pub fn path(folder: &Path, rank: usize, name: &str) -> PathBuf {
    folder.join(format!("client{rank}_{name}"))
}

/// Looks whether an output would replace a real file that a client owns, by whatever path. `inputs`
/// are those that can be read here, each with its client's rank.
pub fn check(
    folder: &Path,
    inputs: impl IntoIterator<Item = (usize, Input)>,
) -> Result<(), BatchError> {
    let mut owned = HashMap::new();
    let mut outputs = Vec::new();
    for (rank, input) in inputs {
        for file in input.owned {
            // What is not there is nothing that could be replaced.
            if let Content::Path(path) = file.content
                && let Ok(path) = real_path(&folder.join(path))
            {
                owned.insert(path, rank);
            }
        }
        outputs.extend(input.wanted.into_iter().map(|name| (rank, name)));
    }
    if owned.is_empty() {
        return Ok(());
    }
    for (rank, name) in outputs {
        let output = path(folder, rank, &name);
        let there = real_path(&output).ok();
        if let Some(owner) = there.and_then(|there| owned.get(&there)) {
            return Err(BatchError::Overwritten {
                output,
                name,
                wants: input::file_name(rank),
                owns: input::file_name(*owner),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn inputs(owned: &Path) -> [(usize, Input); 2] {
        let wants = input::parse(b"0\n1\nb\n").unwrap();
        let text = format!("1\nc @{}\n0\n", owned.display());
        let owns = input::parse(text.as_bytes()).unwrap();
        [(1, wants), (2, owns)]
    }

    #[test]
    fn an_output_replaces_an_input() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path();
        let output = path(folder, 1, "b");
        let sub = folder.join("sub");
        fs::create_dir(&sub).unwrap();
        // It is not there yet: who owns it is told so.
        assert!(check(folder, inputs(&output)).is_ok());
        fs::write(&output, "an input").unwrap();
        fs::write(folder.join("client1_c"), "of nobody").unwrap();
        for owned in [
            PathBuf::from("client1_b"),
            PathBuf::from("./client1_b"),
            PathBuf::from("sub/../client1_b"),
            output.clone(),
        ] {
            let error = check(folder, inputs(&owned)).unwrap_err().to_string();
            assert!(error.contains("in1.txt wants `b`"), "{error}");
            assert!(error.contains("in2.txt owns that file"), "{error}");
        }
        assert!(check(folder, inputs(Path::new("client1_c"))).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn an_output_replaces_an_input_by_a_link() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path();
        fs::write(path(folder, 1, "b"), "an input").unwrap();
        std::os::unix::fs::symlink("client1_b", folder.join("link")).unwrap();
        assert!(check(folder, inputs(Path::new("link"))).is_err());
    }
}
