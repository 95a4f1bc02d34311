//! Inputs of batch runs, drawn from a seed, and what must come of them; folders in which runs are
//! started with the real program.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::Command;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use mini_bittorrent::shell::batch::{input, trace};
use trace::Entry;

/// What all clients own and want.
#[derive(Debug)]
pub struct Homework {
    /// By name: the hashes.
    pub files: BTreeMap<String, Vec<String>>,
    /// That of rank 1 first.
    pub clients: Vec<Client>,
}

#[derive(Debug, Default)]
pub struct Client {
    pub owned: BTreeSet<String>,
    pub wanted: BTreeSet<String>,
}

/// How much is drawn.
pub struct Size {
    pub clients: RangeInclusive<usize>,
    /// Of the whole run.
    pub files: RangeInclusive<usize>,
    pub hashes: RangeInclusive<usize>,
    /// The most owners of a file.
    pub owners: usize,
    /// The most files that a client wants, and the most that it owns.
    pub each: usize,
}

/// As the homework has it.
pub const HOMEWORK: Size = Size {
    clients: 4..=10,
    files: 1..=14,
    hashes: 1..=100,
    owners: 5,
    each: 10,
};

impl Homework {
    /// The same for the same seed. Some clients own nothing, some want nothing.
    pub fn draw(seed: u64, size: &Size) -> Homework {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut clients: Vec<Client> = Vec::new();
        clients.resize_with(rng.random_range(size.clients.clone()), Client::default);
        let mut files = BTreeMap::new();
        for nth in 1..=rng.random_range(size.files.clone()) {
            let name = format!("file{nth}");
            let count = rng.random_range(size.hashes.clone());
            files.insert(name.clone(), (0..count).map(|_| hash(&mut rng)).collect());
            // Half of the files have one owner, or two: that is where spreading is hard.
            let owners = match rng.random_range(0..4) {
                0 => 1,
                1 => 2,
                _ => rng.random_range(1..=size.owners),
            };
            for _ in 0..owners {
                let client = rng.random_range(0..clients.len());
                // The first one always owns something; a few never do.
                let client = if client % 7 == 6 { 0 } else { client };
                if clients[client].owned.len() < size.each {
                    clients[client].owned.insert(name.clone());
                }
            }
        }
        let is_owned = |name: &&String| clients.iter().any(|client| client.owned.contains(*name));
        let names: Vec<String> = files.keys().filter(is_owned).cloned().collect();
        files.retain(|name, _| names.contains(name));
        for client in &mut clients {
            let eagerness = [0, 30, 60, 100][rng.random_range(0..4)];
            for name in &names {
                let wants = rng.random_range(0..100) < eagerness;
                if wants && !client.owned.contains(name) && client.wanted.len() < size.each {
                    client.wanted.insert(name.clone());
                }
            }
        }
        Homework { files, clients }
    }

    /// Writes all inputs.
    pub fn write(&self, folder: &Path) {
        for (place, client) in self.clients.iter().enumerate() {
            let mut text = format!("{}\n", client.owned.len());
            for name in &client.owned {
                let hashes = &self.files[name];
                text += &format!("{name} {}\n{}\n", hashes.len(), hashes.join("\n"));
            }
            text += &format!("{}\n", client.wanted.len());
            for name in &client.wanted {
                text += &format!("{name}\n");
            }
            fs::write(folder.join(input::file_name(place + 1)), text).unwrap();
        }
    }

    /// Every output that must be there, by name.
    pub fn outputs(&self) -> BTreeMap<String, String> {
        let mut outputs = BTreeMap::new();
        for (place, client) in self.clients.iter().enumerate() {
            for name in &client.wanted {
                let output = format!("client{}_{name}", place + 1);
                outputs.insert(output, self.files[name].join("\n"));
            }
        }
        outputs
    }

    /// How many clients own a file.
    pub fn owners(&self, name: &str) -> usize {
        let owns = |client: &&Client| client.owned.contains(name);
        self.clients.iter().filter(owns).count()
    }
}

fn hash(rng: &mut StdRng) -> String {
    format!("{:016x}{:016x}", rng.next_u64(), rng.next_u64())
}

/// `peer --batch` of a folder.
pub fn batch(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peer"));
    command.arg("--batch").arg(folder).env_remove("RUST_LOG");
    command
}

/// What is in a folder beside the inputs; of folders their names only.
pub fn outputs_in(folder: &Path) -> BTreeMap<String, String> {
    let mut outputs = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        if !name.starts_with("in") {
            let text = match path.is_dir() {
                true => String::new(),
                false => fs::read_to_string(&path).unwrap(),
            };
            outputs.insert(name, text);
        }
    }
    outputs
}

/// The traces of all processes of a run, by rank.
pub fn traces(folder: &Path, clients: usize) -> BTreeMap<usize, Vec<Entry>> {
    let path = |rank| -> PathBuf { folder.join(trace::file_name(rank)) };
    let read = |rank| (rank, trace::read(&path(rank)).unwrap());
    (0..=clients).map(read).collect()
}
