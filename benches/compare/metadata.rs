//! The memory of a torrent of 1 TiB: its description, and what is kept of it and of its peers. The file
//! is sparse, and its hashes are of nothing.

use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mini_bittorrent::storage::FileStamp;
use mini_bittorrent::storage::folder::DownloadFolder;
use mini_bittorrent::storage::resume::{Record, Sources};
use mini_bittorrent::torrent::bitfield::Bitfield;
use mini_bittorrent::torrent::id::PieceHash;
use mini_bittorrent::torrent::layout::{Layout, piece_length_for};
use mini_bittorrent::torrent::metainfo::Metainfo;
use mini_bittorrent::wire::message::Message;

use super::network::FIRST;
use super::process::{Process, memory, ours};
use super::report::{Section, Table, Wanted, mib, number};
use super::settings::Settings;
use super::visitor::Visitor;

const TIB: u64 = 1 << 40;
const MIB: u32 = 1 << 20;

/// The most that it may take, in MiB.
const LIMIT: f64 = 64.0;
const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(FIRST), 7600);
/// How long a step may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub fn run(settings: &Settings) -> Result<Section, String> {
    let mut section = Section::new("Memory of a torrent of 1 TiB");
    section.say(format!(
        "One sparse file; to reach: under {LIMIT} MiB of anonymous memory at any time. The pieces of \
         16 MiB are what `make_torrent` chooses. *Now* is a second after the last thing happened."
    ));
    let mut table = Table::new(["", "pieces", ".torrent, MiB", "now, MiB", "most, MiB"]);
    for piece_length in [piece_length_for(TIB), MIB] {
        let torrent = sparse(piece_length);
        for (case, complete, peers) in CASES {
            let folder = settings.folder.join(format!("{case}, {piece_length}"));
            fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
            let (now, most) = run_case(&folder, &torrent, complete, peers)?;
            fs::remove_dir_all(&folder).map_err(|error| error.to_string())?;
            let what = format!("{case}, pieces of {} MiB", piece_length / MIB);
            let most_mib = most as f64 / f64::from(MIB);
            section.aim(format!("{what}, MiB"), Wanted::AtMost(LIMIT), most_mib);
            let size = torrent.to_bytes().len() as f64;
            table.row([
                what,
                number(torrent.layout.pieces().into()),
                mib(size),
                mib(now as f64),
                mib(most as f64),
            ]);
        }
    }
    section.table(&table);
    Ok(section)
}

/// Whether it has everything, and how many peers are there that have the contrary.
const CASES: [(&str, bool, u8); 3] = [
    ("a download that waits", false, 0),
    ("a download, and 10 peers that have all", false, 10),
    ("a seed, and 10 peers that have nothing", true, 10),
];

fn sparse(piece_length: u32) -> Arc<Metainfo> {
    let layout = Layout::single("sparse.bin".into(), TIB, piece_length).expect("it can be cut");
    let hash = |piece: u32| {
        let mut hash = [0; 20];
        hash[..4].copy_from_slice(&piece.to_be_bytes());
        PieceHash(hash)
    };
    let hashes = (0..layout.pieces()).map(hash).collect();
    Arc::new(Metainfo::build(layout, hashes, false))
}

/// What a fresh peer takes that remembers the torrent: a second after its peers have come, and the
/// most until then.
fn run_case(
    folder: &Path,
    torrent: &Arc<Metainfo>,
    complete: bool,
    peers: u8,
) -> Result<(u64, u64), String> {
    remember(&folder.join("download"), torrent, complete)?;
    fs::write(folder.join("tracker_info.txt"), nobody()).map_err(|error| error.to_string())?;
    let mut command = Command::new(ours("peer"));
    command
        .current_dir(folder)
        .arg(ADDRESS.to_string())
        .arg("--no-prompt");
    let process = Process::start(&mut command, &folder.join("log"))?;
    let hello = match complete {
        true => Message::HaveNone,
        false => Message::HaveAll,
    };
    let visitors = call(torrent, peers.max(1), &hello)?;
    let _stay = (peers > 0).then_some(visitors);
    std::thread::sleep(Duration::from_secs(1));
    let now = memory(process.pid(), "RssAnon:").ok_or("the peer has ended")?;
    Ok((now, process.most_anonymous()))
}

/// A tracker_info.txt of a tracker that does not run.
pub fn nobody() -> String {
    format!("{FIRST}:1\n")
}

/// Makes the download folder of a peer that has all of a torrent of one file, whose bytes are holes, or
/// nothing of it.
pub fn remember(download: &Path, torrent: &Arc<Metainfo>, complete: bool) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", download.display());
    fs::create_dir_all(download).map_err(|error| failed(&error))?;
    let target = download.join(torrent.name());
    let lies_at = match complete {
        true => target.clone(),
        false => download.join(format!("{}.part", torrent.name())),
    };
    let file = File::create(&lies_at).map_err(|error| failed(&error))?;
    file.set_len(torrent.layout.total())
        .map_err(|error| failed(&error))?;
    let metadata = file.metadata().map_err(|error| failed(&error))?;
    let pieces = torrent.layout.pieces();
    let record = Record {
        metainfo: torrent.clone(),
        have: match complete {
            true => Bitfield::all(pieces),
            false => Bitfield::none(pieces),
        },
        finished: complete,
        clean: true,
        files: vec![FileStamp::of(torrent.name().into(), &metadata)],
        target,
        names: Vec::new(),
        uploaded: 0,
        downloaded: 0,
        paused: false,
        share: None,
        sources: Sources::Anyone,
        added: 1,
    };
    let folder = DownloadFolder::open(download).map_err(|error| failed(&error))?;
    folder.remember(&record).map_err(|error| failed(&error))
}

/// Calls so many times. The peer has the torrent when it answers.
fn call(torrent: &Metainfo, peers: u8, hello: &Message) -> Result<Vec<Visitor>, String> {
    let give_up = Instant::now() + PATIENCE;
    let mut visitors = Vec::new();
    while visitors.len() < usize::from(peers) {
        let visitor = Visitor::call(ADDRESS, torrent.info_hash, visitors.len() as u8);
        match visitor.and_then(|mut visitor| visitor.say(hello).map(|()| visitor)) {
            Ok(visitor) => visitors.push(visitor),
            Err(error) if Instant::now() > give_up => {
                return Err(format!("nobody answers at {ADDRESS}: {error}"));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    Ok(visitors)
}
