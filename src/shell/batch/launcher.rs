//! Starts the processes of a run on this machine: this program once more for each rank.

use std::env;
use std::fs::{self, OpenOptions};
use std::path::Path;
use std::process::{self, Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::shell::interrupt::Interrupt;
use crate::shell::screen::{complain, say};

use super::input::{self, Content};
use super::{BatchError, Options, io_error, outputs, rank, scratch};

/// Linux's allocator has a pool of memory for each of many threads. That is fast, and with hundreds of
/// processes on one machine too much.
const ARENAS: &str = "MALLOC_ARENA_MAX";
/// How long clients may take to end when their tracker has failed.
const GRACE: Duration = Duration::from_secs(5);
/// How often it is looked who has ended.
const GLANCE: Duration = Duration::from_millis(5);

/// Runs a whole batch.
pub fn run(options: &Options, interrupt: &Arc<Interrupt>) -> Result<(), BatchError> {
    let clients = check_inputs(&options.folder)?;
    check_report(options)?;
    let since = Instant::now();
    // Nobody else has this number now, and nobody had it in this millisecond.
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    let time = time.unwrap_or_default().as_millis();
    let job = format!("{}-{time}", process::id());
    let mut swarm = Swarm {
        processes: Vec::new(),
        folder: &options.folder,
        job: &job,
    };
    for rank in 0..=clients {
        swarm.start(options, rank, clients + 1)?;
    }
    let failed = swarm.wait(interrupt)?;
    if failed > 0 {
        return Err(BatchError::Clients { failed, clients });
    }
    let (time, folder) = (since.elapsed().as_secs_f64(), options.folder.display());
    say!("all clients have finished: {clients}, in {time:.2} s; their files are in {folder}");
    if let Some(report) = &options.report {
        say!("who sent what to whom: {}", report.display());
    }
    Ok(())
}

/// How many clients there are. Reads what all of them own and want: a mistake is told before
/// anything starts.
fn check_inputs(folder: &Path) -> Result<usize, BatchError> {
    let clients = input::count(folder);
    if clients == 0 {
        return Err(BatchError::NoInput(folder.to_path_buf()));
    }
    let exists = |rank: &usize| folder.join(input::file_name(*rank)).exists();
    if let Some(beyond) = (clients + 2..rank::MAX_SIZE).find(exists) {
        return Err(BatchError::Gap {
            folder: folder.to_path_buf(),
            found: input::file_name(beyond),
            missing: input::file_name(clients + 1),
        });
    }
    let mut inputs = Vec::new();
    for rank in 1..=clients {
        let file = input::file_name(rank);
        let mut input = input::read(&folder.join(&file))?;
        // Hashes may be many, and are of no use here.
        input
            .owned
            .retain(|owned| matches!(owned.content, Content::Path(_)));
        for owned in &input.owned {
            let Content::Path(path) = &owned.content else {
                continue;
            };
            let path = folder.join(path);
            fs::metadata(&path).map_err(|error| BatchError::Owned {
                name: owned.name.clone(),
                path,
                problem: format!("{error}; {file} names it"),
            })?;
        }
        inputs.push((rank, input));
    }
    outputs::check(folder, inputs)?;
    Ok(clients)
}

/// A run is not to be made for a page that cannot be written.
fn check_report(options: &Options) -> Result<(), BatchError> {
    let Some(report) = &options.report else {
        return Ok(());
    };
    let file = OpenOptions::new().append(true).create(true).open(report);
    file.map_err(io_error("write", report))?;
    Ok(())
}

/// The processes of a run. Those that are still there when it is dropped are killed, and what they
/// leave behind is removed.
struct Swarm<'a> {
    /// By rank; None: it has ended.
    processes: Vec<Option<Child>>,
    folder: &'a Path,
    job: &'a str,
}

impl Swarm<'_> {
    fn start(&mut self, options: &Options, rank: usize, size: usize) -> Result<(), BatchError> {
        let program = env::current_exe().map_err(io_error("find", Path::new("this program")))?;
        let mut command = Command::new(&program);
        command.arg("--batch").arg(&options.folder);
        if let Some(tracker) = &options.tracker {
            command.arg("--tracker").arg(tracker.to_string());
        }
        let files = [("--report", &options.report), ("--trace", &options.trace)];
        for (option, path) in files {
            if let Some(path) = path {
                command.arg(option).arg(path);
            }
        }
        let child = command
            .env(rank::RANK, rank.to_string())
            .env(rank::SIZE, size.to_string())
            .env(rank::JOB, self.job)
            .env(ARENAS, "1")
            .stdin(Stdio::null())
            .spawn()
            .map_err(io_error("start", &program))?;
        self.processes.push(Some(child));
        Ok(())
    }

    /// Waits for all. How many clients have failed.
    fn wait(&mut self, interrupt: &Interrupt) -> Result<usize, BatchError> {
        let mut failed = 0;
        let mut tracker_failed: Option<Instant> = None;
        while self.processes.iter().any(Option::is_some) {
            if tracker_failed.is_some_and(|since| since.elapsed() > GRACE) {
                return Err(BatchError::TrackerFailed);
            }
            for (rank, place) in self.processes.iter_mut().enumerate() {
                let ended = match place {
                    Some(child) => child.try_wait(),
                    None => continue,
                };
                // One that cannot be waited for is as good as failed.
                if let Ok(Some(status)) = &ended
                    && status.code().is_none()
                {
                    let who = if rank == 0 {
                        "the tracker".into()
                    } else {
                        format!("client {rank}")
                    };
                    complain(&format!("{who} was killed ({status})"));
                }
                if let Some(good) = ended.map_or(Some(false), |status| Some(status?.success())) {
                    *place = None;
                    failed += usize::from(!good && rank > 0);
                    if !good && rank == 0 {
                        tracker_failed = Some(Instant::now());
                    }
                }
            }
            if interrupt.wait(GLANCE) {
                return Err(BatchError::Interrupted);
            }
        }
        match tracker_failed {
            Some(_) if failed == 0 => Err(BatchError::TrackerFailed),
            _ => Ok(failed),
        }
    }
}

impl Drop for Swarm<'_> {
    fn drop(&mut self) {
        for child in self.processes.iter_mut().flatten() {
            // It may have ended just now.
            let _ = child.kill();
            let _ = child.wait();
        }
        scratch::sweep(self.folder, self.job);
    }
}
