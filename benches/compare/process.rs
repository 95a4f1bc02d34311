//! A program that is measured: its processor time and its memory, from `/proc`.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::figures::worked;

/// How often the memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Runs until this is dropped.
pub struct Process {
    child: Child,
    ended: Arc<AtomicBool>,
    anonymous: Arc<AtomicU64>,
    sampler: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts it. What it prints goes to `log`.
    pub fn start(command: &mut Command, log: &Path) -> Result<Process, String> {
        let out = File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
        let err = out.try_clone().map_err(|error| error.to_string())?;
        let child = command
            .stdin(Stdio::piped())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        let (ended, anonymous) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let sampler = {
            let (pid, ended) = (child.id(), ended.clone());
            let most: Arc<AtomicU64> = Arc::clone(&anonymous);
            std::thread::spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    let now = memory(pid, "RssAnon:").unwrap_or(0);
                    most.fetch_max(now, Ordering::Relaxed);
                    std::thread::sleep(LOOK_EVERY);
                }
            })
        };
        Ok(Process {
            child,
            ended,
            anonymous,
            sampler: Some(sampler),
        })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn stdin(&mut self) -> Option<&mut ChildStdin> {
        self.child.stdin.as_mut()
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Seconds of one processor until now.
    pub fn worked(&self) -> f64 {
        worked(self.child.id()).0
    }

    /// The most resident memory until now, in bytes; while it runs.
    pub fn most_resident(&self) -> u64 {
        memory(self.child.id(), "VmHWM:").unwrap_or(0)
    }

    /// The most anonymous memory until now, in bytes: what is its own, without files.
    pub fn most_anonymous(&self) -> u64 {
        self.anonymous.load(Ordering::Relaxed)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.ended.store(true, Ordering::Relaxed);
        if let Some(sampler) = self.sampler.take() {
            let _ = sampler.join();
        }
    }
}

/// A line of a process's status, in bytes.
pub fn memory(pid: u32, name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// One of our two programs, as `cargo bench` has built it.
pub fn ours(program: &str) -> &'static str {
    match program {
        "tracker" => env!("CARGO_BIN_EXE_tracker"),
        _ => env!("CARGO_BIN_EXE_peer"),
    }
}
