//! How much memory a downloader takes under `--memory`, with long pieces and many seeds.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use mini_bittorrent::peer::hashing::HashPool;
use mini_bittorrent::peer::hashing::make::{Made, Wish, make_torrent};
use mini_bittorrent::peer::{self, Peer};
use mini_bittorrent::tracker::{self, Tracker};

use super::figures::{Figures, in_turns};
use super::process::{Process, ours};
use super::report::{Section, Table, Wanted, mib, number, spread};
use super::settings::Settings;
use super::swarm;

const SEEDS: usize = 50;
const MIB: u64 = 1 << 20;
/// What the downloader is told, and what it may take in all, in MiB.
const BUDGET: u64 = 64;
const LIMIT: f64 = 96.0;
/// In bytes.
const PIECES: [u32; 2] = [16 << 20, 256 << 10];
/// How long one download may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// What a download has shown.
struct Seen {
    /// In bytes.
    anonymous: u64,
    /// In MB/s, from the start of the program to its end.
    rate: f64,
    /// Seeds that gave something.
    givers: usize,
}

pub fn run(settings: &Settings) -> Result<Section, String> {
    let size = settings.pick(400, 1024) * MIB;
    let folder = settings.folder.join("memory");
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let file = folder.join("file.bin");
    swarm::random_file(&file, size)?;
    let swarms = PIECES.map(|piece_length| Swarm::start(&folder, &file, piece_length));
    let swarms = swarms.into_iter().collect::<Result<Vec<_>, _>>()?;
    let seen = in_turns(settings.rounds(), &swarms, Swarm::download)?;
    drop(swarms);
    // The next scenario needs the room.
    let _ = fs::remove_dir_all(&folder);

    let mut section = Section::new("Memory of a downloader");
    section.say(format!(
        "`peer --memory {BUDGET}M` fetches {} MiB from {SEEDS} seeds, which are peers of ours. Its \
         anonymous memory is looked at every 10 ms; of each run the most counts.",
        size / MIB
    ));
    let columns = ["pieces", "anonymous, MiB", "MB/s", "seeds that gave"];
    let mut table = Table::new(columns);
    let mut most = 0;
    for (piece_length, runs) in PIECES.iter().zip(&seen) {
        let anonymous: Figures = runs.iter().map(|run| run.anonymous as f64).collect();
        let rate: Figures = runs.iter().map(|run| run.rate).collect();
        let givers: Figures = runs.iter().map(|run| run.givers as f64).collect();
        most = most.max(anonymous.most() as u64);
        table.row([
            format!("{} KiB", piece_length / 1024),
            format!(
                "{} ({}–{})",
                mib(anonymous.median()),
                mib(anonymous.least()),
                mib(anonymous.most())
            ),
            spread(&rate),
            number(givers.median()),
        ]);
    }
    section.table(&table);
    let most = most as f64 / MIB as f64;
    section.aim(
        "MiB of anonymous memory, at most",
        Wanted::AtMost(LIMIT),
        most,
    );
    Ok(section)
}

/// A torrent, its seeds and their tracker.
struct Swarm {
    folder: PathBuf,
    size: u64,
    torrent: PathBuf,
    tracker: Tracker,
    seeds: Vec<Peer>,
}

impl Swarm {
    fn start(folder: &Path, file: &Path, piece_length: u32) -> Result<Swarm, String> {
        let folder = folder.join(piece_length.to_string());
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let tracker = Tracker::start(tracker::Config::new(any_port));
        let tracker = tracker.map_err(|error| error.to_string())?;
        let mut made = make(file, piece_length)?;
        let announce = format!("http://{}/announce", tracker.local_addr());
        made.metainfo.trackers = vec![vec![announce]];
        let torrent = folder.join("file.torrent");
        fs::write(&torrent, made.metainfo.to_bytes()).map_err(|error| error.to_string())?;
        let size = made.metainfo.layout.total();
        let metainfo = Arc::new(made.metainfo);
        let mut seeds = Vec::new();
        for nth in 0..SEEDS {
            let download = folder.join(format!("seed-{nth}"));
            let config = peer::Config::new(any_port, Vec::new(), &download);
            let (seed, _) = Peer::start(config).map_err(|error| error.to_string())?;
            (seed.engine_link())
                .seed(metainfo.clone(), made.storage.clone(), None, None)
                .map_err(|error| error.to_string())?;
            seeds.push(seed);
        }
        Ok(Swarm {
            folder,
            size,
            torrent,
            tracker,
            seeds,
        })
    }

    /// By a fresh peer.
    fn download(&self) -> Result<Seen, String> {
        let before = self.given()?;
        let (download, log) = (self.folder.join("download"), self.folder.join("log"));
        let info = self.folder.join("tracker_info.txt");
        let named = self.tracker.local_addr().to_string();
        fs::write(&info, named).map_err(|error| error.to_string())?;
        let mut command = Command::new(ours("peer"));
        command
            .args(["127.0.0.1:0"])
            .arg(&info)
            .arg("--download")
            .arg(&download)
            .args(["--no-ask", "--memory", &format!("{BUDGET}M"), "--command"])
            .arg(format!("add {}; wait; quit", self.torrent.display()));
        let start = Instant::now();
        let mut process = Process::start(&mut command, &log)?;
        while process.is_running() {
            if start.elapsed() > PATIENCE {
                return Err("the download does not end".into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let time = start.elapsed();
        let anonymous = process.most_anonymous();
        drop(process);
        let came = fs::metadata(download.join("file.bin")).map_or(0, |file| file.len());
        if came != self.size {
            let log = fs::read_to_string(&log).unwrap_or_default();
            return Err(format!("nothing was downloaded:\n{log}"));
        }
        let _ = fs::remove_dir_all(&download);
        let after = self.given()?;
        Ok(Seen {
            anonymous,
            rate: self.size as f64 / time.as_secs_f64() / 1e6,
            givers: after.iter().zip(&before).filter(|(a, b)| a > b).count(),
        })
    }

    /// Bytes that each seed has given.
    fn given(&self) -> Result<Vec<u64>, String> {
        let given = |seed: &Peer| {
            let torrents = seed.torrents().map_err(|error| error.to_string())?;
            Ok(torrents.iter().map(|torrent| torrent.uploaded).sum())
        };
        self.seeds.iter().map(given).collect()
    }
}

fn make(file: &Path, piece_length: u32) -> Result<Made, String> {
    let pool = HashPool::new().map_err(|error| error.to_string())?;
    let (done, made) = mpsc::channel();
    let wish = Wish {
        piece_length: Some(piece_length),
        group: None,
    };
    let on_done = move |result| drop(done.send(result));
    make_torrent(&pool, Arc::default(), file, wish, on_done).map_err(|error| error.to_string())?;
    let made = made.recv_timeout(PATIENCE);
    let made = made.map_err(|_| "hashing takes too long".to_string())?;
    made.map_err(|error| error.to_string())
}
