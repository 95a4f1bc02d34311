//! What traces say about a run, put together.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::shell::batch::trace::{Entry, Event};

/// A whole run. Times are in microseconds since the first piece.
pub(super) struct Run<'a> {
    /// Ranks, ascending.
    pub clients: Vec<usize>,
    /// Who sent something: clients by rank, then addresses that no client has.
    pub sources: Vec<String>,
    /// By name; `file2` stands before `file10`.
    pub files: Vec<&'a str>,
    /// By time.
    pub pieces: Vec<Piece>,
    pub finishes: Vec<Finish>,
    /// How often the tracker said who has a file.
    pub swarm_answers: usize,
}

/// A piece that came.
pub(super) struct Piece {
    pub at: u64,
    /// The rank of who received it.
    pub client: usize,
    /// The place in [`Run::files`].
    pub file: usize,
    pub index: u32,
    /// How many the file has.
    pub of: u32,
    /// The place in [`Run::sources`].
    pub source: usize,
    pub bytes: u32,
}

/// A file that a client has in whole.
pub(super) struct Finish {
    pub at: u64,
    pub client: usize,
    pub file: String,
}

/// Sorts clients before unknown addresses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Client(usize),
    Unknown(SocketAddr),
}

/// What a client is called on the page.
pub(super) fn client(rank: usize) -> String {
    format!("client {rank}")
}

impl<'a> Run<'a> {
    pub fn of(traces: &'a BTreeMap<usize, Vec<Entry>>) -> Run<'a> {
        let all = || {
            let entries = |(rank, entries): (&'a usize, &'a Vec<Entry>)| {
                let rank = *rank;
                entries.iter().map(move |entry| (rank, entry))
            };
            traces.iter().flat_map(entries)
        };
        let mut ranks = BTreeMap::new();
        let (mut sources, mut files) = (BTreeSet::new(), BTreeSet::new());
        let mut first = u64::MAX;
        for (_, entry) in all() {
            if let Event::Start { rank, address } = &entry.event {
                ranks.insert(*address, *rank);
            }
        }
        let source = |address: &SocketAddr| match ranks.get(address) {
            Some(rank) => Source::Client(*rank),
            None => Source::Unknown(*address),
        };
        for (_, entry) in all() {
            if let Event::Piece { file, from, .. } = &entry.event {
                sources.insert(source(from));
                files.insert((natural(file), file.as_str()));
                first = first.min(entry.at);
            }
        }
        let sources: Vec<Source> = sources.into_iter().collect();
        let files: Vec<_> = files.into_iter().collect();
        let mut run = Run {
            clients: traces.keys().copied().filter(|rank| *rank > 0).collect(),
            sources: sources.iter().map(Source::to_string).collect(),
            files: files.iter().map(|(_, file)| *file).collect(),
            pieces: Vec::new(),
            finishes: Vec::new(),
            swarm_answers: 0,
        };
        for (rank, entry) in all() {
            let at = entry.at.saturating_sub(first);
            match &entry.event {
                Event::Piece {
                    file,
                    index,
                    pieces,
                    from,
                    bytes,
                } => run.pieces.push(Piece {
                    at,
                    client: rank,
                    file: files
                        .binary_search(&(natural(file), file))
                        .unwrap_or_default(),
                    index: *index,
                    of: *pieces,
                    source: sources.binary_search(&source(from)).unwrap_or_default(),
                    bytes: *bytes,
                }),
                Event::Finished { file } => run.finishes.push(Finish {
                    at,
                    client: rank,
                    file: file.clone(),
                }),
                Event::Swarm { .. } => run.swarm_answers += 1,
                _ => {}
            }
        }
        run.pieces.sort_by_key(|piece| piece.at);
        run
    }

    /// From the first piece to the last, in microseconds.
    pub fn span(&self) -> u64 {
        self.pieces.last().map_or(0, |piece| piece.at)
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Client(rank) => f.write_str(&client(*rank)),
            Source::Unknown(address) => write!(f, "{address}"),
        }
    }
}

/// By which names are sorted as people expect it: numbers in them by value.
fn natural(name: &str) -> Vec<(u64, &str)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit());
        let (number, after) = rest.split_at(digits.unwrap_or(rest.len()));
        let text = after.find(|c: char| c.is_ascii_digit());
        let (text, after) = after.split_at(text.unwrap_or(after.len()));
        parts.push((number.parse().unwrap_or(0), text));
        rest = after;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_are_sorted_by_value() {
        let mut names = vec!["file10", "file2", "a", "file1b", "7", "file1"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["a", "file1", "file1b", "file2", "file10", "7"]);
    }
}
