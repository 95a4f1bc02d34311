//! Batch runs: the homework's input files, one tracker and one peer for each of them.
//!
//! Each is a process of its own, with a rank: 0 is the tracker, R the client of `in<R>.txt`. They
//! are started by us ([`launcher`]), or by `mpirun` or `srun` on any number of machines; from then
//! on it is all the same. All share one folder: the inputs are there, the outputs go there, and
//! rank 0 leaves there where it can be reached ([`meeting`]).

pub mod client;
pub mod host;
pub mod input;
pub mod launcher;
pub mod link;
pub mod meeting;
pub mod outputs;
pub mod owned;
pub mod rank;
pub mod report;
pub mod scratch;
pub mod trace;

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::control::tracker_info::TrackerAddress;
use crate::peer::PeerError;
use crate::tracker::TrackerError;

use input::InputError;
use link::LinkError;
use rank::{Rank, RankError};
use trace::{Entry, TraceError};

use super::interrupt::Interrupt;

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the inputs are and the outputs go.
    pub folder: PathBuf,
    /// Where rank 0 listens and the others find it, if they have no folder in common.
    pub tracker: Option<TrackerAddress>,
    /// Where the page about the run goes.
    pub report: Option<PathBuf>,
    /// The folder for the traces.
    pub trace: Option<PathBuf>,
}

/// Why a process of a run failed. Which one it was is said where it is printed.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    #[error(transparent)]
    Rank(#[from] RankError),
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("there is no {} in {}: it says what the first client owns and wants", input::file_name(1), .0.display())]
    NoInput(PathBuf),
    #[error("there is an {found} in {}, but no {missing}", folder.display())]
    Gap {
        folder: PathBuf,
        found: String,
        missing: String,
    },
    #[error(
        "there are {inputs} inputs, but only {clients} clients were started; with the tracker, {} \
         processes are needed: mpirun -np {}", inputs + 1, inputs + 1
    )]
    TooFew { inputs: usize, clients: usize },
    #[error("`{name}`, {}: {problem}", path.display())]
    Owned {
        name: String,
        path: PathBuf,
        problem: String,
    },
    #[error(
        "{wants} wants `{name}`, which would be written to {}, but {owns} owns that file: give it \
         another name", output.display()
    )]
    Overwritten {
        output: PathBuf,
        name: String,
        wants: String,
        owns: String,
    },
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error(transparent)]
    Tracker(#[from] TrackerError),
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// In the tracker's words.
    #[error("{0}")]
    Ended(String),
    /// Each reason has been told.
    #[error("{missing} of {wanted} wanted files could not be had")]
    Missing { missing: usize, wanted: usize },
    #[error("{failed} of {clients} clients failed")]
    Clients { failed: usize, clients: usize },
    #[error("the tracker of the run failed")]
    TrackerFailed,
    #[error("interrupted")]
    Interrupted,
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BatchError {
    let path = path.to_path_buf();
    move |source| BatchError::Io {
        doing,
        path,
        source,
    }
}

/// Runs a whole batch, or the part of it that a launcher has started this process for. An error is
/// in words that say whose it is.
pub fn run(options: &Options, interrupt: &Arc<Interrupt>) -> Result<(), String> {
    let rank = rank::from_environment(|name| env::var(name).ok());
    let (who, result) = match rank {
        Err(error) => (String::new(), Err(error.into())),
        Ok(None) => (String::new(), launcher::run(options, interrupt)),
        Ok(Some(rank)) if rank.rank == 0 => {
            ("the tracker: ".into(), host::run(options, &rank, interrupt))
        }
        Ok(Some(rank)) => {
            let who = format!("client {}: ", rank.rank);
            (who, client::run(options, &rank, interrupt))
        }
    };
    result.map_err(|error| format!("{who}{error}"))
}

/// The name of a run: the same in all of its processes.
fn job(rank: &Rank) -> &str {
    rank.job.as_deref().unwrap_or("batch")
}

/// Whether somebody wants to know what happened.
fn is_traced(options: &Options) -> bool {
    options.trace.is_some() || options.report.is_some()
}

/// Where traces go: if only the report is wanted, they are gone with the run.
fn trace_folder(options: &Options, job: &str) -> PathBuf {
    let hidden = || options.folder.join(scratch::name(job, "trace"));
    options.trace.clone().unwrap_or_else(hidden)
}

fn write_trace(options: &Options, rank: &Rank, entries: &mut [Entry]) -> Result<(), BatchError> {
    let folder = trace_folder(options, job(rank));
    fs::create_dir_all(&folder).map_err(io_error("create the folder", &folder))?;
    entries.sort_by_key(|entry| entry.at);
    let text: String = entries.iter().map(|entry| format!("{entry}\n")).collect();
    let path = folder.join(trace::file_name(rank.rank));
    fs::write(&path, text).map_err(io_error("write", &path))
}
