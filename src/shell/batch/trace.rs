//! What a process of a batch run did, one event a line: for tests, and for the report.
//!
//! ```text
//! 1763715600000000 start 2 127.0.0.1:40123
//! 1763715600000310 told announce 5d0d… event=started left=99
//! 1763715600000520 swarm file1 2 127.0.0.1:40121=0 127.0.0.1:40122=3 127.0.0.1:40123=0
//! 1763715600001200 piece file1 7 100 127.0.0.1:40121 33
//! 1763715600004000 finished file1
//! 1763715600004100 stop
//! ```
//!
//! The first word is the time, in microseconds since 1970: so the traces of all processes fit
//! together. Peers are named by address, as everywhere; `start` says whose address that is.

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

/// The longest trace that is read, in bytes: 256 MiB, some millions of pieces.
pub const MAX_TRACE: u64 = 256 << 20;

/// Something that happened, and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Microseconds since 1970.
    pub at: u64,
    pub event: Event,
}

/// Files have no blanks in their names: [`super::input`] sees to that.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// `start <rank> <address>`: this process is up, and is reached there.
    Start { rank: usize, address: SocketAddr },
    /// `told <line>`: what a peer said to the tracker, word by word.
    Told { line: String },
    /// `swarm <file> <asker's rank> <address>=<pieces uploaded> ...`: what the tracker answered, in
    /// this order.
    Swarm {
        file: String,
        asker: usize,
        peers: Vec<(SocketAddr, u64)>,
    },
    /// `piece <file> <index> <pieces in all> <from> <bytes>`: a piece came, was right and is kept.
    Piece {
        file: String,
        index: u32,
        pieces: u32,
        from: SocketAddr,
        bytes: u32,
    },
    /// `finished <file>`: all its pieces are here, and it is written.
    Finished { file: String },
    /// `stop`: the tracker said that all have finished.
    Stop,
}

/// Why a trace cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    #[error("cannot read the trace {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("the trace {path} is longer than {MAX_TRACE} bytes")]
    TooLong { path: PathBuf },
    #[error("the trace {path}, line {line}: `{found}` is no event of a trace")]
    Malformed {
        path: PathBuf,
        line: usize,
        found: String,
    },
}

/// The name of a process's trace.
pub fn file_name(rank: usize) -> String {
    format!("trace{rank}.txt")
}

impl Entry {
    /// What happens just now.
    pub fn now(event: Event) -> Entry {
        Entry::at(SystemTime::now(), event)
    }

    pub fn at(time: SystemTime, event: Event) -> Entry {
        // A clock before 1970 is nobody's.
        let since = time.duration_since(UNIX_EPOCH);
        Entry {
            at: since.unwrap_or_default().as_micros() as u64,
            event,
        }
    }
}

/// The line, without its end.
impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ", self.at)?;
        match &self.event {
            Event::Start { rank, address } => write!(f, "start {rank} {address}"),
            Event::Told { line } => {
                // One event is one line, whatever was said.
                let visible = |c: char| if c.is_control() { '\u{fffd}' } else { c };
                let line: String = line.chars().map(visible).collect();
                write!(f, "told {line}")
            }
            Event::Swarm { file, asker, peers } => {
                write!(f, "swarm {file} {asker}")?;
                let mut peers = peers.iter();
                peers.try_for_each(|(address, uploaded)| write!(f, " {address}={uploaded}"))
            }
            Event::Piece {
                file,
                index,
                pieces,
                from,
                bytes,
            } => write!(f, "piece {file} {index} {pieces} {from} {bytes}"),
            Event::Finished { file } => write!(f, "finished {file}"),
            Event::Stop => write!(f, "stop"),
        }
    }
}

/// `Err` says nothing more: the line is no event.
impl FromStr for Entry {
    type Err = ();

    fn from_str(line: &str) -> Result<Entry, ()> {
        let (at, rest) = line.split_once(' ').ok_or(())?;
        let at = number(at)?;
        let (kind, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let words: Vec<&str> = rest.split(' ').filter(|word| !word.is_empty()).collect();
        let event = match (kind, words.as_slice()) {
            ("told", _) => Event::Told { line: rest.into() },
            ("start", [rank, address]) => Event::Start {
                rank: number(rank)?,
                address: number(address)?,
            },
            ("swarm", [file, asker, peers @ ..]) => {
                let peer = |peer: &&str| {
                    let (address, uploaded) = peer.split_once('=').ok_or(())?;
                    Ok((number(address)?, number(uploaded)?))
                };
                Event::Swarm {
                    file: file.to_string(),
                    asker: number(asker)?,
                    peers: peers.iter().map(peer).collect::<Result<_, ()>>()?,
                }
            }
            ("piece", [file, index, pieces, from, bytes]) => {
                let (index, pieces) = (number(index)?, number(pieces)?);
                if index >= pieces {
                    return Err(());
                }
                Event::Piece {
                    file: file.to_string(),
                    index,
                    pieces,
                    from: number(from)?,
                    bytes: number(bytes)?,
                }
            }
            ("finished", [file]) => Event::Finished {
                file: file.to_string(),
            },
            ("stop", []) => Event::Stop,
            _ => return Err(()),
        };
        Ok(Entry { at, event })
    }
}

/// A number, or an address.
fn number<T: FromStr>(word: &str) -> Result<T, ()> {
    word.parse().map_err(|_| ())
}

/// Reads a trace.
pub fn read(path: &Path) -> Result<Vec<Entry>, TraceError> {
    let failed = |source| TraceError::Io {
        path: path.to_path_buf(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mut text = String::new();
    let read = file.take(MAX_TRACE + 1).read_to_string(&mut text);
    if read.map_err(failed)? as u64 > MAX_TRACE {
        let path = path.to_path_buf();
        return Err(TraceError::TooLong { path });
    }
    let entries = text.lines().enumerate().map(|(i, line)| {
        line.parse().map_err(|()| TraceError::Malformed {
            path: path.to_path_buf(),
            line: i + 1,
            found: line.chars().take(100).collect(),
        })
    });
    entries.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "\
5 start 2 127.0.0.1:40123
5 told announce 5d0d left=99  \"two words\"
6 swarm file1 2 127.0.0.1:1=0 [::1]:2=3
6 swarm file1 2
7 piece file1 7 100 127.0.0.1:1 33
8 finished file1
9 stop";

    #[test]
    fn reads_what_it_writes() {
        for line in LINES.lines() {
            let entry: Entry = line.parse().unwrap_or_else(|()| panic!("{line}"));
            assert_eq!(entry.to_string(), line);
        }
        let told = Event::Told {
            line: "a\nb".into(),
        };
        let entry = Entry::now(told);
        assert_eq!(entry.to_string().lines().count(), 1);
        assert!(entry.at > 1_700_000_000_000_000);
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for line in [
            "",
            "5",
            "x stop",
            "5 stop now",
            "5 start 2",
            "5 swarm",
            "5 swarm f 2 127.0.0.1:1",
            "5 piece f 100 100 127.0.0.1:1 33",
            "5 piece f 1 100 here 33",
            "-1 stop",
        ] {
            assert!(line.parse::<Entry>().is_err(), "{line:?}");
        }
    }

    #[test]
    fn a_trace_that_is_no_trace_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join(file_name(1));
        assert!(read(&path).unwrap_err().to_string().contains("trace1.txt"));
        std::fs::write(&path, LINES).unwrap();
        assert_eq!(read(&path).unwrap().len(), LINES.lines().count());
        std::fs::write(&path, "5 stop\nx").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(
            error.ends_with("line 2: `x` is no event of a trace"),
            "{error}"
        );
    }
}
