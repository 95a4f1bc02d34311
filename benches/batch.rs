//! What a batch run with many clients costs: seconds, and the memory of all its processes.
//!
//! `make bench-batch CLIENTS=200`. It fails if the run does, or if it needs more than the budget of
//! 60 seconds and 2 GiB. Memory is what `/proc` says, so it is for Linux only: of what several
//! processes have in common, such as the program itself, each is given its part.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
// It needs little of it.
#[allow(dead_code)]
#[path = "../tests/support/homework.rs"]
mod homework;

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    println!("SKIPPED: memory is measured on Linux only");
    ExitCode::SUCCESS
}

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    linux::main()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::BTreeMap;
    use std::fs;
    use std::process::{Child, ExitCode, Stdio};
    use std::time::{Duration, Instant};

    use super::homework::{Homework, Size, batch, outputs_in};

    /// Unless the environment says otherwise.
    const CLIENTS: usize = 200;
    /// What is drawn.
    const SEED: u64 = 4;
    const BUDGET: Duration = Duration::from_secs(60);
    /// In bytes: 2 GiB.
    const MEMORY: u64 = 2 << 30;
    const LOOK_EVERY: Duration = Duration::from_millis(100);

    /// Memory of all processes, in bytes.
    #[derive(Default)]
    struct Memory {
        /// The most that each has ever used, with what it has in common with others.
        peaks: BTreeMap<u32, u64>,
        /// The most that all together had at one time; what several have is counted once.
        together: u64,
    }

    pub fn main() -> ExitCode {
        let clients = std::env::var("MINI_BENCH_CLIENTS").ok();
        let clients = clients.and_then(|clients| clients.parse().ok());
        let clients = clients.unwrap_or(CLIENTS);
        let size = Size {
            clients: clients..=clients,
            files: 10..=10,
            hashes: 20..=100,
            owners: 5,
            each: 10,
        };
        let homework = Homework::draw(SEED, &size);
        let temp = tempfile::tempdir().expect("a folder");
        homework.write(temp.path());
        let outputs = homework.outputs();
        println!("{clients} clients, {} files to fetch", outputs.len());
        let since = Instant::now();
        let child = batch(temp.path()).stdout(Stdio::null()).spawn();
        let (good, memory) = watch(child.expect("the program"));
        let time = since.elapsed();
        let peaks: u64 = memory.peaks.values().sum();
        let mib = |bytes: u64| bytes >> 20;
        println!(
            "{:.1} s; {} processes; together at one time: {} MiB; peaks of all added up, what they have in common each time: {} MiB",
            time.as_secs_f64(),
            memory.peaks.len(),
            mib(memory.together),
            mib(peaks),
        );
        let right = outputs_in(temp.path()) == outputs;
        let within = time <= BUDGET && memory.together <= MEMORY;
        for (is, says) in [
            (good, "the run failed"),
            (right, "the outputs are wrong"),
            (within, "that is beyond 60 s or 2 GiB"),
        ] {
            if !is {
                println!("{says}");
            }
        }
        match good && right && within {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }
    }

    /// Whether it ended well, and what it used until then.
    fn watch(mut child: Child) -> (bool, Memory) {
        let mut memory = Memory::default();
        loop {
            if let Some(status) = child.try_wait().expect("our child") {
                return (status.success(), memory);
            }
            let pids = processes(child.id());
            let together = pids
                .iter()
                .filter_map(|pid| field(*pid, "smaps_rollup", "Pss:"));
            memory.together = memory.together.max(together.sum());
            for pid in pids {
                if let Some(peak) = field(pid, "status", "VmHWM:") {
                    memory.peaks.insert(pid, peak);
                }
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// A process, and all that it started.
    fn processes(pid: u32) -> Vec<u32> {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.unwrap_or_default();
        let started = children.split(' ').filter_map(|pid| pid.parse().ok());
        [pid]
            .into_iter()
            .chain(started.flat_map(processes))
            .collect()
    }

    /// A line of a process's file, in bytes. None: it has just ended.
    fn field(pid: u32, file: &str, name: &str) -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
        let line = text.lines().find(|line| line.starts_with(name))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib * 1024)
    }
}
