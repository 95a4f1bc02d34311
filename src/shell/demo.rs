//! `peer --demo`: a whole swarm at work on this machine, for newcomers.
//!
//! A tracker and four peers run as processes of their own, on free ports, in a temporary folder
//! that is gone afterwards. Nothing is simulated: what is shown is what the processes say.

use std::collections::HashMap;
use std::env;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

use crate::runtime::threads;

use super::interrupt::Interrupt;
use super::screen;
use super::sharing::UPLOADED;
use super::units;

/// Bytes of the file that is shared: 256 MiB.
const SIZE: u64 = 256 << 20;
const FILE: &str = "lecture.mp4";
const SEEDS: [&str; 2] = ["ann", "bob"];
const DOWNLOADERS: [&str; 2] = ["cem", "dia"];
/// How long the whole demo may take before it gives up.
const LIMIT: Duration = Duration::from_secs(55);
/// How long a process may take to end when asked to.
const FAREWELL: Duration = Duration::from_secs(5);

/// Why the demo did not show what it should.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("{0}")]
    Failed(String),
    #[error("interrupted")]
    Interrupted,
}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> DemoError {
    move |source| DemoError::Io {
        what: what.into(),
        source,
    }
}

/// Runs the demo to its end. Leaves nothing behind.
pub fn run(interrupt: &Arc<Interrupt>) -> Result<(), DemoError> {
    let folder = TempFolder::new()?;
    let deadline = Instant::now() + LIMIT;
    let swarm = Swarm {
        folder: &folder.path,
        interrupt,
        deadline,
    };
    println!(
        "A tracker and four peers start as processes of their own in {}.",
        folder.path.display()
    );
    let (mut tracker, tracker_info) = swarm.start_tracker()?;
    let original = folder.path.join(FILE);
    make_file(&original)?;
    let sha256 = sha256(&original)?;
    println!(
        "{FILE}: {} of random bytes, SHA-256 {}…",
        units::bytes(SIZE),
        &sha256[..16]
    );

    let mut peers = Vec::new();
    for name in SEEDS.into_iter().chain(DOWNLOADERS) {
        peers.push(swarm.start_peer(name, &tracker_info)?);
    }
    for peer in &mut peers[..SEEDS.len()] {
        let copy = folder.path.join(&peer.name).join(FILE);
        fs::copy(&original, &copy).map_err(io_error("cannot copy the file"))?;
        peer.say(&format!("upload_file \"{}\"", copy.display()))?;
        let said = swarm.wait_for(peer, |line| line.starts_with(UPLOADED))?;
        println!("  {} hashed and shared its copy: \"{said}\"", peer.name);
    }
    println!(
        "{} fetch it: from the seeds, and from each other.",
        DOWNLOADERS.join(" and ")
    );
    let start = Instant::now();
    for peer in &mut peers[SEEDS.len()..] {
        peer.say(&format!("download_file {FILE}\nwait\nshow_peers"))?;
    }
    let names: HashMap<String, String> = peers
        .iter()
        .map(|peer| (peer.address.clone(), peer.name.clone()))
        .collect();
    let gifts = swarm.watch(&mut peers[SEEDS.len()..], &names)?;
    let took = start.elapsed();

    let mut good = true;
    println!();
    for (peer, gifts) in peers[SEEDS.len()..].iter().zip(&gifts) {
        let copy = folder.path.join(&peer.name).join("download").join(FILE);
        let equal = self::sha256(&copy)? == sha256;
        let from_all = gifts.len() == 3 && gifts.iter().all(|gift| gift.amount != "0 B");
        good &= equal && from_all;
        let verdict = if equal {
            "the SHA-256 is right"
        } else {
            "THE SHA-256 IS WRONG"
        };
        println!(
            "{} has the whole file, and {verdict}. It came from:",
            peer.name
        );
        for gift in gifts {
            println!("  {:>9}  {} ({})", gift.amount, gift.from, role(&gift.from));
        }
        if !from_all {
            println!("  which is NOT from everybody, as it should be");
        }
    }
    let rate = (SIZE * DOWNLOADERS.len() as u64) as f64 / took.as_secs_f64();
    println!(
        "\n{} copies of {} took {:.1} s, {} in all.",
        DOWNLOADERS.len(),
        units::bytes(SIZE),
        took.as_secs_f64(),
        units::rate(rate as u64)
    );
    println!(
        "Each piece was hashed by the one who fetched it, and passed on as soon as it was right."
    );
    for peer in &mut peers {
        peer.quit()?;
    }
    tracker.end();
    match good {
        true => Ok(()),
        false => Err(DemoError::Failed(
            "something above is not as it should be".into(),
        )),
    }
}

fn role(name: &str) -> &'static str {
    if SEEDS.contains(&name) {
        "a seed"
    } else {
        "a downloader like itself"
    }
}

/// What everything in the demo needs.
struct Swarm<'a> {
    folder: &'a Path,
    interrupt: &'a Interrupt,
    deadline: Instant,
}

/// A process of ours, and what it says. Killed when dropped.
struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    reader: Option<JoinHandle<()>>,
    /// Where it listens.
    address: String,
}

/// How much a downloader got from whom.
struct Gift {
    from: String,
    amount: String,
}

impl Swarm<'_> {
    fn start_tracker(&self) -> Result<(Process, PathBuf), DemoError> {
        let info = self.folder.join("tracker_info.txt");
        fs::write(&info, "127.0.0.1:0\n").map_err(io_error("cannot write tracker_info.txt"))?;
        let mut command = Command::new(program("tracker")?);
        command.arg(&info).args(["1", "--no-prompt"]);
        let tracker = self.start("tracker", command)?;
        fs::write(&info, format!("{}\n", tracker.address))
            .map_err(io_error("cannot write tracker_info.txt"))?;
        println!("  tracker listens on {}", tracker.address);
        Ok((tracker, info))
    }

    fn start_peer(&self, name: &str, tracker_info: &Path) -> Result<Process, DemoError> {
        let home = self.folder.join(name);
        fs::create_dir_all(&home).map_err(io_error("cannot create a folder"))?;
        let mut command = Command::new(program("peer")?);
        command.arg("127.0.0.1:0").arg(tracker_info);
        command
            .arg("--download")
            .arg(home.join("download"))
            .arg("--upload")
            .arg(&home);
        let peer = self.start(name, command)?;
        println!("  {name} listens on {}", peer.address);
        Ok(peer)
    }

    fn start(&self, name: &str, mut command: Command) -> Result<Process, DemoError> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let what = format!("cannot start {}", command.get_program().display());
        let mut child = command.spawn().map_err(io_error(what))?;
        let (sender, lines) = unbounded();
        let reader = match child.stdout.take() {
            Some(out) => {
                let run = move || pass_on(out, &sender);
                Some(threads::spawn("demo-read", None, run).map_err(io_error("no thread"))?)
            }
            None => None,
        };
        let stdin = child.stdin.take();
        let name = name.to_string();
        let mut process = Process {
            name,
            child,
            stdin,
            lines,
            reader,
            address: String::new(),
        };
        let line = self.wait_for(&process, |line| line.starts_with("listening on "))?;
        process.address = line.trim_start_matches("listening on ").to_string();
        Ok(process)
    }

    /// The next line that fits.
    fn wait_for(
        &self,
        process: &Process,
        fits: impl Fn(&str) -> bool,
    ) -> Result<String, DemoError> {
        loop {
            let line = self.next_line(process)?;
            if fits(&line) {
                return Ok(line);
            }
        }
    }

    fn next_line(&self, process: &Process) -> Result<String, DemoError> {
        loop {
            match process.lines.recv_timeout(Duration::from_millis(100)) {
                Ok(line) => return Ok(line),
                Err(error) if error.is_disconnected() => {
                    return Err(DemoError::Failed(format!(
                        "{} ended by itself",
                        process.name
                    )));
                }
                Err(_) => self.check_time(&process.name)?,
            }
        }
    }

    fn check_time(&self, name: &str) -> Result<(), DemoError> {
        if self.interrupt.came() {
            return Err(DemoError::Interrupted);
        }
        if Instant::now() > self.deadline {
            return Err(DemoError::Failed(format!(
                "{name} took longer than {}",
                units::time(LIMIT)
            )));
        }
        Ok(())
    }

    /// Shows bars until every downloader has listed its peers after its `wait`.
    fn watch(
        &self,
        downloaders: &mut [Process],
        names: &HashMap<String, String>,
    ) -> Result<Vec<Vec<Gift>>, DemoError> {
        let all = MultiProgress::with_draw_target(screen::bars());
        let bars: Vec<ProgressBar> = downloaders
            .iter()
            .map(|peer| {
                all.add(
                    ProgressBar::new(100)
                        .with_style(style())
                        .with_prefix(peer.name.clone()),
                )
            })
            .collect();
        let mut gifts: Vec<Vec<Gift>> = downloaders.iter().map(|_| Vec::new()).collect();
        while gifts.iter().any(|gifts| gifts.len() < names.len() - 1) {
            for ((peer, bar), gifts) in downloaders.iter().zip(&bars).zip(&mut gifts) {
                for line in peer.lines.try_iter() {
                    if let Some((percent, rest)) = progress(&line) {
                        bar.set_position(percent);
                        bar.set_message(rest);
                    }
                    gifts.extend(gift(&line, names));
                }
            }
            let done = downloaders.iter().zip(&gifts).find(|(peer, gifts)| {
                gifts.len() < names.len() - 1
                    && peer.reader.as_ref().is_none_or(|r| r.is_finished())
            });
            if let Some((peer, _)) = done {
                return Err(DemoError::Failed(format!("{} ended by itself", peer.name)));
            }
            self.check_time("the download")?;
            std::thread::sleep(Duration::from_millis(20));
        }
        for bar in bars {
            bar.set_position(100);
            bar.abandon_with_message("complete");
        }
        Ok(gifts)
    }
}

/// `lecture.mp4 42 %, 120.0 MB/s, 3 peers`: the percentage and the rest.
fn progress(line: &str) -> Option<(u64, String)> {
    let (percent, rest) = line.strip_prefix(FILE)?.trim_start().split_once(" %, ")?;
    Some((percent.parse().ok()?, rest.to_string()))
}

/// A row of `show_peers`: columns are two spaces apart.
fn gift(line: &str, names: &HashMap<String, String>) -> Option<Gift> {
    let mut columns = line
        .split("  ")
        .map(str::trim)
        .filter(|column| !column.is_empty());
    let from = names.get(columns.nth(1)?)?.clone();
    let amount = columns.nth(1)?.to_string();
    Some(Gift { from, amount })
}

fn style() -> ProgressStyle {
    // The template is ours and right; the fallback is a bar all the same.
    ProgressStyle::with_template("  {prefix} [{bar:40}] {percent:>3}%  {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

impl Process {
    fn say(&mut self, commands: &str) -> Result<(), DemoError> {
        match &mut self.stdin {
            Some(stdin) => {
                writeln!(stdin, "{commands}").map_err(io_error(format!("{} is gone", self.name)))
            }
            None => Ok(()),
        }
    }

    /// Ends as a user would end it.
    fn quit(&mut self) -> Result<(), DemoError> {
        self.say("quit")?;
        let deadline = Instant::now() + FAREWELL;
        while Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => {
                    return Err(DemoError::Failed(format!(
                        "{} ended with {status}",
                        self.name
                    )));
                }
                Ok(None) => std::thread::sleep(Duration::from_millis(10)),
                Err(source) => return Err(io_error("cannot wait for a process")(source)),
            }
        }
        Err(DemoError::Failed(format!(
            "{} did not end when told to",
            self.name
        )))
    }

    fn end(&mut self) {
        self.stdin = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            threads::join(reader);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

fn pass_on(out: impl Read, sender: &Sender<String>) {
    for line in BufReader::new(out).lines().map_while(Result::ok) {
        if sender.send(line).is_err() {
            return;
        }
    }
}

/// The other program, which lies beside this one.
fn program(name: &str) -> Result<PathBuf, DemoError> {
    let this = env::current_exe().map_err(io_error("cannot find this program"))?;
    let path = this.with_file_name(format!("{name}{}", env::consts::EXE_SUFFIX));
    match path.exists() {
        true => Ok(path),
        false => {
            let text = format!(
                "{} is missing; build it with: cargo build --release",
                path.display()
            );
            Err(DemoError::Failed(text))
        }
    }
}

fn make_file(path: &Path) -> Result<(), DemoError> {
    let mut rng = StdRng::seed_from_u64(u64::from(std::process::id()));
    let mut file = File::create(path).map_err(io_error("cannot create the file to share"))?;
    let mut part = vec![0; 1 << 20];
    for _ in 0..SIZE / part.len() as u64 {
        rng.fill_bytes(&mut part);
        file.write_all(&part)
            .map_err(io_error("cannot write the file to share"))?;
    }
    Ok(())
}

fn sha256(path: &Path) -> Result<String, DemoError> {
    let failed = || io_error(format!("cannot read {}", path.display()));
    let mut file = File::open(path).map_err(failed())?;
    let mut hasher = Sha256::new();
    let mut part = vec![0; 1 << 20];
    loop {
        match file.read(&mut part).map_err(failed())? {
            0 => break,
            count => hasher.update(&part[..count]),
        }
    }
    Ok(hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// Gone when dropped.
struct TempFolder {
    path: PathBuf,
}

impl TempFolder {
    fn new() -> Result<TempFolder, DemoError> {
        let path = env::temp_dir().join(format!("mini-bittorrent-demo-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(io_error(format!("cannot create {}", path.display())))?;
        Ok(TempFolder { path })
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("{} could not be removed: {error}", self.path.display());
        }
    }
}
