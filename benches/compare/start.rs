//! How long a program takes from its start until its port is open, and until the first block of a torrent
//! that it remembers has come to somebody.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mini_bittorrent::torrent::id::PieceHash;
use mini_bittorrent::torrent::layout::Layout;
use mini_bittorrent::torrent::metainfo::Metainfo;

use super::client::ARIA2_ALONE;
use super::figures::{Figures, in_turns};
use super::metadata::{nobody, remember};
use super::network::FIRST;
use super::process::{Process, is_installed, ours};
use super::report::{Section, Table, Wanted, spread};
use super::settings::Settings;
use super::visitor::Visitor;

const GIB: u64 = 1 << 30;
const PIECE: u32 = 1 << 20;
/// The torrent's one file.
const NAME: &str = "zeros.bin";
const PORT: u16 = 7600;
/// How often a port is tried.
const TRY_EVERY: Duration = Duration::from_micros(200);
const PATIENCE: Duration = Duration::from_secs(60);

pub fn run(settings: &Settings) -> Result<Section, String> {
    let mut section = Section::new("Start");
    section.say(
        "From the start of the program until its port is open, and until a peer that calls it then has \
         a block of 16 KiB of a torrent of 1 GiB, which it remembers from before. To reach: 50 ms. In ms.",
    );
    let torrent = zeros();
    let mut contestants = vec![Contestant::peer(settings, &torrent)?];
    if is_installed("aria2c") {
        contestants.push(Contestant::aria2(settings, &torrent)?);
    }
    // It takes twelve seconds, which is too long for a look.
    if !settings.quick && is_installed("transmission-daemon") {
        contestants.push(Contestant::transmission(settings, &torrent)?);
    }
    contestants.push(Contestant::tracker(settings)?);
    let rounds = settings.pick(3, 7);
    let outcomes = in_turns(rounds, &contestants, Contestant::start)?;
    let mut table = Table::new(["", "port is open", "first block"]);
    for (contestant, times) in contestants.iter().zip(outcomes) {
        let [open, block] = [0, 1].map(|nth| {
            let times: Figures = (times.iter().filter_map(|times: &Times| times[nth]))
                .map(|time| time.as_secs_f64() * 1e3)
                .collect();
            times
        });
        if contestant.name.starts_with("our") {
            for (what, times) in [("port is open", &open), ("first block", &block)] {
                let what = format!("{}, ms until {what}", contestant.name);
                section.aim(what, Wanted::AtMost(50.0), times.median());
            }
        }
        table.row([contestant.name.to_string(), spread(&open), spread(&block)]);
    }
    section.table(&table);
    Ok(section)
}

/// Until the port is open, and until a block has come.
type Times = [Option<Duration>; 2];

struct Contestant {
    name: &'static str,
    folder: PathBuf,
    command: Box<dyn Fn(&Path) -> Command>,
    /// What a peer remembers.
    torrent: Option<Arc<Metainfo>>,
}

impl Contestant {
    fn peer(settings: &Settings, torrent: &Arc<Metainfo>) -> Result<Contestant, String> {
        let it = Contestant::new(settings, "ours", Some(torrent), |folder| {
            let mut command = Command::new(ours("peer"));
            command
                .arg(address().to_string())
                .arg(folder.join("tracker_info.txt"))
                .arg("--no-prompt")
                .args(["--download".as_ref(), folder.as_os_str()]);
            command
        })?;
        it.write("tracker_info.txt", nobody().as_bytes())?;
        remember(&it.folder, torrent, true)?;
        Ok(it)
    }

    fn tracker(settings: &Settings) -> Result<Contestant, String> {
        let it = Contestant::new(settings, "our tracker", None, |folder| {
            let mut command = Command::new(ours("tracker"));
            command.arg(folder.join("tracker_info.txt")).arg("1");
            command
        })?;
        it.write("tracker_info.txt", format!("{}\n", address()).as_bytes())?;
        Ok(it)
    }

    fn aria2(settings: &Settings, torrent: &Arc<Metainfo>) -> Result<Contestant, String> {
        let it = Contestant::new(settings, "aria2", Some(torrent), |folder| {
            let mut command = Command::new("aria2c");
            command
                .args(ARIA2_ALONE)
                // It believes what lies there.
                .arg("--bt-seed-unverified=true")
                .args(["--seed-ratio=0.0", "--seed-time=60"])
                .arg(format!("--listen-port={PORT}"))
                .args(["--dir".as_ref(), folder.as_os_str()])
                .arg(folder.join("torrent"));
            command
        })?;
        it.write("torrent", &torrent.to_bytes())?;
        it.write_zeros(torrent)?;
        Ok(it)
    }

    fn transmission(settings: &Settings, torrent: &Arc<Metainfo>) -> Result<Contestant, String> {
        let it = Contestant::new(settings, "Transmission", Some(torrent), |folder| {
            let mut command = Command::new("transmission-daemon");
            command.args([
                "--foreground".as_ref(),
                "--config-dir".as_ref(),
                folder.as_os_str(),
            ]);
            command
        })?;
        let wants = format!(
            r#"{{"bind-address-ipv4": "{}", "peer-port": {PORT}, "rpc-enabled": false,
            "dht-enabled": false, "lpd-enabled": false, "pex-enabled": false, "utp-enabled": false,
            "port-forwarding-enabled": false, "download-dir": "{}"}}"#,
            address().ip(),
            it.folder.display()
        );
        it.write("settings.json", wants.as_bytes())?;
        it.write("torrents/zeros.torrent", &torrent.to_bytes())?;
        it.write_zeros(torrent)?;
        // The first time it hashes everything. It remembers that when it ends well.
        let mut process = it.process()?;
        it.first_block(torrent, Instant::now())?;
        let pid = process.pid().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status();
        told.map_err(|error| format!("kill: {error}"))?;
        let give_up = Instant::now() + PATIENCE;
        while process.is_running() {
            if Instant::now() > give_up {
                return Err("Transmission does not end".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(it)
    }

    fn new(
        settings: &Settings,
        name: &'static str,
        torrent: Option<&Arc<Metainfo>>,
        command: impl Fn(&Path) -> Command + 'static,
    ) -> Result<Contestant, String> {
        let folder = settings
            .folder
            .join(format!("start-{}", name.replace(' ', "-")));
        fs::create_dir_all(folder.join("torrents")).map_err(|error| error.to_string())?;
        Ok(Contestant {
            name,
            folder,
            command: Box::new(command),
            torrent: torrent.cloned(),
        })
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        fs::write(self.folder.join(name), bytes).map_err(|error| format!("{name}: {error}"))
    }

    fn write_zeros(&self, torrent: &Metainfo) -> Result<(), String> {
        let file = fs::File::create(self.folder.join(NAME));
        file.and_then(|file| file.set_len(torrent.layout.total()))
            .map_err(|error| format!("{NAME}: {error}"))
    }

    fn process(&self) -> Result<Process, String> {
        Process::start(&mut (self.command)(&self.folder), &self.folder.join("log"))
    }

    fn start(&self) -> Result<Times, String> {
        let began = Instant::now();
        let _process = self.process()?;
        while TcpStream::connect(address()).is_err() {
            self.wait_since(began)?;
        }
        let open = began.elapsed();
        let block = match &self.torrent {
            Some(torrent) => Some(self.first_block(torrent, began)?),
            None => None,
        };
        Ok([Some(open), block])
    }

    /// How long after `began` somebody has a block.
    fn first_block(&self, torrent: &Metainfo, began: Instant) -> Result<Duration, String> {
        loop {
            let visit = Visitor::call(address(), torrent.info_hash, 1);
            if visit
                .and_then(|mut visitor| visitor.fetch_a_block())
                .is_ok()
            {
                return Ok(began.elapsed());
            }
            self.wait_since(began)?;
        }
    }

    fn wait_since(&self, began: Instant) -> Result<(), String> {
        if began.elapsed() > PATIENCE {
            let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            return Err(format!("{} does not start:\n{log}", self.name));
        }
        std::thread::sleep(TRY_EVERY);
        Ok(())
    }
}

fn address() -> SocketAddr {
    SocketAddr::from((FIRST, PORT))
}

fn zeros() -> Arc<Metainfo> {
    let layout = Layout::single(NAME.into(), GIB, PIECE).expect("it can be cut");
    let hash = PieceHash::of(&vec![0; PIECE as usize]);
    let hashes = (0..layout.pieces()).map(|_| hash).collect();
    Arc::new(Metainfo::build(layout, hashes, false))
}
