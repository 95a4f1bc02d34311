//! One swarm on this machine: so many seeds, so many who fetch, all of one kind.

use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use mini_bittorrent::announce::scrape::{ScrapeRequest, ScrapeResponse};
use mini_bittorrent::torrent::id::InfoHash;
use mini_bittorrent::torrent::metainfo::Metainfo;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::client::{Client, Running, Seat};
use super::long_way::LongWay;
use super::network;
use super::process::{Process, ours};

/// Bytes on the network that are more than talk.
const FIRST_BYTES: u64 = 256 * 1024;
/// How long a download or a check of what is there may take.
const LONGEST: Duration = Duration::from_secs(600);

/// What is shared.
pub struct Content {
    metainfo: Metainfo,
    /// The file or folder.
    pub path: PathBuf,
}

/// What one download has cost.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Seconds from the first byte on the network until all have everything.
    pub transfer: f64,
    /// Seconds from the start of those who fetch.
    pub whole: f64,
    /// Bytes that were wanted, by all together.
    pub bytes: u64,
    /// Seconds of one processor, of all together.
    pub sent_with: f64,
    pub received_with: f64,
    /// The most memory of one of them, in bytes.
    pub resident: [u64; 2],
    pub anonymous: [u64; 2],
}

impl Outcome {
    /// MB/s.
    pub fn rate(&self) -> f64 {
        self.bytes as f64 / self.transfer / 1e6
    }

    /// MB/s, with the start of the program and all that it does before the first byte.
    pub fn whole_rate(&self) -> f64 {
        self.bytes as f64 / self.whole / 1e6
    }

    /// CPU seconds for a GB: of the seeds, of those who fetch.
    pub fn cost(&self) -> [f64; 2] {
        [self.sent_with, self.received_with].map(|seconds| seconds / self.bytes as f64 * 1e9)
    }
}

/// The tracker of everybody: ours, whose work is not counted. It listens on all addresses.
pub struct Tracker {
    _process: Process,
}

const TRACKER_PORT: u16 = 6969;
/// One of its addresses.
const TRACKER: &str = "10.77.0.1:6969";

impl Tracker {
    pub fn start(folder: &Path) -> Result<Tracker, String> {
        let home = folder.join("tracker");
        fs::create_dir_all(&home).map_err(|error| error.to_string())?;
        let info = home.join("tracker_info.txt");
        fs::write(&info, format!("0.0.0.0:{TRACKER_PORT}\n")).map_err(|error| error.to_string())?;
        let process = Process::start(
            Command::new(ours("tracker"))
                .arg(&info)
                .arg("1")
                .current_dir(&home),
            &home.join("log"),
        )?;
        wait("the tracker listens", || {
            TcpStream::connect(TRACKER).is_ok()
        })?;
        Ok(Tracker { _process: process })
    }

    /// How many have all of it.
    fn seeds(&self, info_hash: InfoHash) -> Option<u32> {
        let request = ScrapeRequest {
            info_hashes: vec![info_hash],
        };
        let url = request.to_url(&format!("http://{TRACKER}/announce"))?;
        let bytes = ureq::get(&url).call().ok()?.body_mut().read_to_vec().ok()?;
        let counts = ScrapeResponse::decode(&bytes).ok()?;
        counts.files.first().map(|(_, counts)| counts.complete)
    }
}

/// Makes a file of random bytes.
pub fn random_file(path: &Path, bytes: u64) -> Result<(), String> {
    let write = || {
        let mut rng = StdRng::seed_from_u64(bytes);
        let mut file = File::create(path)?;
        let mut chunk = vec![0; 1 << 20];
        let mut left = bytes;
        while left > 0 {
            rng.fill_bytes(&mut chunk);
            let length = left.min(chunk.len() as u64);
            file.write_all(&chunk[..length as usize])?;
            left -= length;
        }
        Ok(())
    };
    write().map_err(|error: std::io::Error| format!("{}: {error}", path.display()))
}

/// Our peer, which runs these commands in this folder and ends.
pub fn our_commands(folder: &Path, commands: &str) -> Result<Command, String> {
    let info = folder.join("tracker_info.txt");
    // Nobody is there, and nobody is needed.
    fs::write(&info, format!("{}:1\n", network::FIRST)).map_err(|error| error.to_string())?;
    let mut command = Command::new(ours("peer"));
    command
        .arg(format!("{}:0", network::FIRST))
        .arg(info)
        .args(["-c", commands])
        .current_dir(folder);
    Ok(command)
}

/// Makes a torrent of what lies at `path`, with our own program.
pub fn content(path: PathBuf, piece: u32) -> Result<Content, String> {
    let folder = path
        .parent()
        .ok_or("the content lies in no folder")?
        .to_path_buf();
    let command = format!("make_torrent \"{}\" --piece-length {piece}", path.display());
    let made = our_commands(&folder, &command)?
        .arg("--download")
        .arg(folder.join("no downloads"))
        .output()
        .map_err(|error| error.to_string())?;
    let torrent = PathBuf::from(format!("{}.torrent", path.display()));
    let bytes =
        fs::read(&torrent).map_err(|error| format!("no torrent was made: {error}\n{made:?}"))?;
    let metainfo = Metainfo::parse(&bytes).map_err(|error| error.to_string())?;
    Ok(Content { metainfo, path })
}

impl Content {
    pub fn bytes(&self) -> u64 {
        self.metainfo.layout.total()
    }

    fn files(&self) -> usize {
        self.metainfo.layout.files().len()
    }

    /// The torrent for whoever sits there, with the tracker as it reaches it.
    fn torrent(&self, seat: &Seat) -> Result<PathBuf, String> {
        let mut metainfo = self.metainfo.clone();
        let tracker = format!("http://{}/announce", seat.tracker);
        metainfo.trackers = vec![vec![tracker]];
        let path = seat.home.join(format!("{}.torrent", metainfo.info_hash));
        let written =
            fs::create_dir_all(&seat.home).and_then(|()| fs::write(&path, metainfo.to_bytes()));
        written.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }
}

/// Seeds of one kind that are ready.
pub struct Seeds {
    pub running: Vec<Running>,
}

/// Starts seeds, and waits until the tracker knows that all of them have all of it.
pub fn seeds(
    place: Place,
    client: Client,
    count: u8,
    folder: &Path,
    tracker: &Tracker,
    contents: &[Content],
) -> Result<Seeds, String> {
    let mut running = Vec::new();
    for nth in 0..count {
        let seat = place.seat(client, folder, Part::Seed, nth)?;
        fs::create_dir_all(&seat.content).map_err(|error| error.to_string())?;
        for content in contents {
            let name = content.path.file_name().unwrap_or_default();
            link(&content.path, &seat.content.join(name))?;
        }
        let torrents = contents.iter().map(|content| content.torrent(&seat));
        let torrents: Vec<PathBuf> = torrents.collect::<Result<_, _>>()?;
        running.push(client.start(&seat, &torrents)?);
    }
    for content in contents {
        let mut alive = true;
        wait(&format!("{} seeds", client.name()), || {
            alive = running.iter_mut().all(|one| one.process.is_running());
            !alive || tracker.seeds(content.metainfo.info_hash) == Some(count.into())
        })?;
        if !alive {
            return Err(format!(
                "{} has ended; see {}",
                client.name(),
                folder.display()
            ));
        }
    }
    Ok(Seeds { running })
}

/// One download of `content` by `count` fresh clients, which are gone after it.
pub fn fetch(
    place: Place,
    client: Client,
    count: u8,
    folder: &Path,
    seeds: &Seeds,
    content: &Content,
) -> Result<Outcome, String> {
    let seats: Vec<Seat> = (0..count)
        .map(|nth| place.seat(client, folder, Part::Fetch, nth))
        .collect::<Result<_, _>>()?;
    let mut meter = Meter::begin();
    let sent_before: f64 = seeds.running.iter().map(|seed| seed.process.worked()).sum();
    let mut fetching = Vec::new();
    for seat in &seats {
        let torrents = [content.torrent(seat)?];
        fetching.push(client.start(seat, &torrents)?);
    }
    meter.until_complete(&seats, content.files())?;
    let of_seeds: Vec<&Process> = seeds.running.iter().map(|seed| &seed.process).collect();
    let of_fetching: Vec<&Process> = fetching.iter().map(|one| &one.process).collect();
    let outcome = meter.outcome(
        content.bytes() * u64::from(count),
        sent_before,
        &of_seeds,
        &of_fetching,
    );
    for seat in &seats {
        let name = content.path.file_name().unwrap_or_default();
        // aria2 has some of it in memory for a while.
        wait("what came is what was sent", || {
            is_same(&content.path, &seat.content.join(name)).unwrap_or(false)
        })?;
    }
    drop(fetching);
    for seat in &seats {
        let _ = fs::remove_dir_all(&seat.content);
        let _ = fs::remove_dir_all(&seat.home);
    }
    Ok(outcome)
}

/// Looks at the network and the files until a download is over.
pub struct Meter {
    began: Instant,
    carried_before: u64,
    first: Option<Instant>,
    done: Instant,
}

impl Meter {
    pub fn begin() -> Meter {
        Meter {
            began: Instant::now(),
            carried_before: carried(),
            first: None,
            done: Instant::now(),
        }
    }

    pub fn until_complete(&mut self, seats: &[Seat], files: usize) -> Result<(), String> {
        // Looking at thousands of files takes time itself.
        let pause = Duration::from_millis(if files > 100 { 20 } else { 1 });
        loop {
            if self.first.is_none() && carried() > self.carried_before + FIRST_BYTES {
                self.first = Some(Instant::now());
            }
            if (seats.iter()).all(|seat| seat.is_complete(files)) {
                self.done = Instant::now();
                return Ok(());
            }
            if self.began.elapsed() > LONGEST {
                let homes: Vec<_> = seats.iter().map(|seat| &seat.home).collect();
                return Err(format!("a download did not end; see {homes:?}"));
            }
            std::thread::sleep(pause);
        }
    }

    pub fn outcome(
        &self,
        bytes: u64,
        sent_before: f64,
        seeds: &[&Process],
        fetching: &[&Process],
    ) -> Outcome {
        let sum = |all: &[&Process]| all.iter().map(|one| one.worked()).sum::<f64>();
        let most = |of: fn(&Process) -> u64| {
            [seeds, fetching].map(|all| all.iter().map(|one| of(one)).max().unwrap_or(0))
        };
        Outcome {
            transfer: (self.done - self.first.unwrap_or(self.began)).as_secs_f64(),
            whole: (self.done - self.began).as_secs_f64(),
            bytes,
            sent_with: sum(seeds) - sent_before,
            received_with: sum(fetching),
            resident: most(Process::most_resident),
            anonymous: most(Process::most_anonymous),
        }
    }
}

/// Bytes that our network has carried.
fn carried() -> u64 {
    let text = fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    let received = text.lines().filter_map(|line| {
        let (_, counts) = line.split_once(':')?;
        counts.split_whitespace().next()?.parse::<u64>().ok()
    });
    received.sum()
}

/// Where the clients of a swarm sit.
#[derive(Clone, Copy)]
pub enum Place<'a> {
    /// All on our loopback.
    Here,
    /// Seeds at the far end of it, who fetches at the near one: one client each.
    Apart(&'a LongWay),
}

#[derive(Clone, Copy)]
enum Part {
    Seed,
    Fetch,
}

impl Place<'_> {
    fn seat(self, client: Client, folder: &Path, part: Part, nth: u8) -> Result<Seat, String> {
        let name = match part {
            Part::Seed => format!("{}-seed{nth}", client.name()),
            Part::Fetch => format!("{}-fetch{nth}", client.name()),
        };
        let (address, tracker, network) = match (self, part) {
            (Place::Here, part) => {
                let host = match part {
                    Part::Seed => 10 + nth,
                    Part::Fetch => 100 + nth,
                };
                let address = Ipv4Addr::new(10, 77, 1 + client as u8, host);
                network::add(address)?;
                (address, address, None)
            }
            (Place::Apart(way), Part::Seed) => (
                network::FAR[client as usize],
                network::NEAR,
                Some(way.network()),
            ),
            (Place::Apart(_), Part::Fetch) => (network::NEAR, network::NEAR, None),
        };
        let home = folder.join(name);
        Ok(Seat {
            client: Some(client),
            address,
            tracker: (tracker, TRACKER_PORT).into(),
            network,
            content: home.join("content"),
            home,
        })
    }
}

/// The same file or folder in another place.
fn link(from: &Path, to: &Path) -> Result<(), String> {
    let told = |error: std::io::Error| format!("{}: {error}", to.display());
    if !from.is_dir() {
        return fs::hard_link(from, to).map_err(told);
    }
    fs::create_dir_all(to).map_err(told)?;
    for entry in fs::read_dir(from).map_err(told)? {
        let entry = entry.map_err(told)?;
        link(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Whether the first, the middle and the last bytes of every file are the same.
fn is_same(one: &Path, other: &Path) -> std::io::Result<bool> {
    if one.is_dir() {
        for entry in fs::read_dir(one)? {
            let entry = entry?;
            if !is_same(&entry.path(), &other.join(entry.file_name()))? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    use std::os::unix::fs::FileExt;
    let (one, other) = (File::open(one)?, File::open(other)?);
    let length = one.metadata()?.len();
    if length != other.metadata()?.len() {
        return Ok(false);
    }
    let sample = length.min(64 * 1024);
    let (mut left, mut right) = (vec![0; sample as usize], vec![0; sample as usize]);
    for at in [0, (length - sample) / 2, length - sample] {
        one.read_exact_at(&mut left, at)?;
        other.read_exact_at(&mut right, at)?;
        if left != right {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Waits until it is so.
pub fn wait(what: &str, mut is_so: impl FnMut() -> bool) -> Result<(), String> {
    let deadline = Instant::now() + LONGEST;
    while !is_so() {
        if Instant::now() > deadline {
            return Err(format!("waited in vain: {what}"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
