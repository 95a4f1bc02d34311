//! How the clients of a run find its tracker: rank 0 writes its address into a file of the folder,
//! with a word that nobody else can know, by which the tracker tells its clients from strangers.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::control::tracker_info::TrackerAddress;
use crate::runtime::stop::Stop;
use crate::storage::patience::Patience;
use crate::storage::rename_for_now;

use super::link::{Link, LinkError};
use super::rank::{Launcher, Rank};
use super::{BatchError, Options, io_error, job, scratch};

/// How long clients look for the tracker: on a cluster, processes start when it has room.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often they look.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Nobody's address (RFC 5737), with the port for what is to be thrown away: nothing is sent there.
const ELSEWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);

/// Where the tracker listens.
pub fn listen_at(options: &Options, rank: &Rank) -> SocketAddr {
    let port = options.tracker.as_ref().map_or(0, |tracker| tracker.port);
    match rank.launcher {
        Launcher::Own => (Ipv4Addr::LOCALHOST, port).into(),
        _ => (Ipv4Addr::UNSPECIFIED, port).into(),
    }
}

/// What clients say to be let in: the job, and a secret if there is a file to tell it.
pub fn word(options: &Options, rank: &Rank) -> String {
    let job = job(rank);
    match options.tracker {
        Some(_) => job.into(),
        None => format!("{job}+{:032x}", rand::random::<u128>()),
    }
}

/// The file with the tracker's address and the word, gone when this is dropped.
pub struct Sign {
    path: PathBuf,
}

impl Sign {
    /// Tells everybody who has the folder where the tracker is.
    pub fn put_up(
        options: &Options,
        rank: &Rank,
        address: SocketAddr,
        word: &str,
    ) -> Result<Sign, BatchError> {
        let path = path(&options.folder, rank);
        let ip = match address.ip() {
            ip if ip.is_unspecified() => own_ip(),
            ip => ip,
        };
        let address = SocketAddr::new(ip, address.port());
        // Nobody shall read half of it.
        let new = options.folder.join(scratch::name(job(rank), "tracker.new"));
        // Of a run that was killed and had the same name.
        let _ = fs::remove_file(&new);
        let mut open = OpenOptions::new();
        open.write(true).create_new(true);
        // The word is for the clients of this run alone, who are all of one user.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut open, 0o600);
        let mut file = open.open(&new).map_err(io_error("write", &new))?;
        write!(file, "{address} {word}").map_err(io_error("write", &new))?;
        // Windows renames no file that is open.
        drop(file);
        // Clients read it again and again.
        rename_for_now(&new, &path, &Patience::default()).map_err(io_error("write", &path))?;
        Ok(Sign { path })
    }
}

impl Drop for Sign {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Finds the tracker and joins its run.
///
/// # Errors
/// If nobody is found in time, or the tracker does not want this client.
pub fn join(options: &Options, rank: &Rank, stop: &Stop) -> Result<Link, BatchError> {
    let path = path(&options.folder, rank);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = match &options.tracker {
            Some(tracker) => look_up(tracker).map(|address| (address, job(rank).into())),
            None => read(&path),
        };
        let last = match found {
            None => LinkError::NoTracker(path.clone()),
            Some((address, word)) => match Link::join(address, rank.rank, &word, stop) {
                Ok(link) => return Ok(link),
                // An address that was left by a run that was killed.
                Err(error) if error.is_elsewhere() => error,
                Err(error) => return Err(error.into()),
            },
        };
        if Instant::now() >= deadline {
            return Err(last.into());
        }
        if stop.sleep(LOOK_EVERY) {
            return Err(BatchError::Interrupted);
        }
    }
}

fn path(folder: &Path, rank: &Rank) -> PathBuf {
    folder.join(scratch::name(job(rank), "tracker"))
}

fn look_up(tracker: &TrackerAddress) -> Option<SocketAddr> {
    let addresses = (tracker.host.as_str(), tracker.port).to_socket_addrs();
    addresses.ok()?.next()
}

/// The address and the word that the sign tells.
fn read(path: &Path) -> Option<(SocketAddr, String)> {
    let text = fs::read_to_string(path).ok()?;
    let (address, word) = text.split_once(' ')?;
    Some((address.parse().ok()?, word.to_string()))
}

/// The address by which other machines reach this one; loopback if it has no network.
fn own_ip() -> IpAddr {
    let outwards = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        // Only asks which way it would go.
        socket.connect(ELSEWHERE)?;
        socket.local_addr()
    };
    outwards().map_or(Ipv4Addr::LOCALHOST.into(), |address| address.ip())
}
