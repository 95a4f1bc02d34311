//! A tracker inside the peer: the same tracker as the program `tracker` runs, with the same files.
//!
//! Who hosts it for the others is decided by the order of tracker_info.txt: everybody uses the
//! first one of the file that answers.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use crate::control::tracker_info::TrackerAddress;
use crate::tracker::Tracker;

use super::peer_program::read_tracker_info;
use super::peer_shell::{PeerShell, ShellError};
use super::tracker_choice::TrackerChoice;

/// How long a tracker of this machine may take to accept a connection.
const CONNECT: Duration = Duration::from_millis(500);

/// A tracker that runs in this program. Dropping it stops it.
pub struct Hosted {
    pub choice: TrackerChoice,
    pub tracker: Tracker,
}

impl Hosted {
    pub fn start(tracker_info: &Path, number: usize) -> Result<Hosted, ShellError> {
        let choice = TrackerChoice::new(tracker_info.to_path_buf(), number);
        let tracker = Tracker::start(choice.config()?);
        let tracker = tracker.map_err(|error| ShellError::Other(error.to_string()))?;
        Ok(Hosted { choice, tracker })
    }

    /// For the one who started it.
    pub fn sentence(&self) -> String {
        let (number, address) = (self.choice.number, self.tracker.local_addr());
        format!("Tracker {number} runs in this program until it ends: {address}")
    }
}

/// Runs a tracker of the file here: the one with this number, or the first that can.
pub fn host_tracker(shell: &mut PeerShell, number: Option<&str>) -> Result<String, ShellError> {
    if let Some(hosted) = &shell.hosted {
        let number = hosted.choice.number;
        return Err(ShellError::Other(format!(
            "Tracker {number} runs in this program already"
        )));
    }
    let number = match number {
        Some(typed) => typed
            .parse()
            .map_err(|_| ShellError::Other(format!("`{typed}` is too large a number")))?,
        None => first_free(&shell.tracker_info)?,
    };
    let hosted = Hosted::start(&shell.tracker_info, number)?;
    let said = hosted.sentence();
    shell.hosted = Some(hosted);
    shell.peer.trackers.try_at_once();
    Ok(said)
}

/// The number of the first tracker whose address is of this machine and where nobody answers.
fn first_free(tracker_info: &Path) -> Result<usize, ShellError> {
    let trackers = read_tracker_info(tracker_info)?;
    let free = trackers.iter().position(|tracker| {
        let addresses = addresses(tracker);
        addresses.first().is_some_and(|first| is_here(*first)) && !answers(&addresses)
    });
    free.map(|index| index + 1).ok_or_else(|| {
        ShellError::Other(format!(
            "No tracker of {} can run here: each is on another machine, or runs already",
            tracker_info.display()
        ))
    })
}

fn addresses(tracker: &TrackerAddress) -> Vec<SocketAddr> {
    let found = (tracker.host.as_str(), tracker.port).to_socket_addrs();
    found.map(Iterator::collect).unwrap_or_default()
}

/// Whether an address is of this machine.
fn is_here(address: SocketAddr) -> bool {
    let any_port = SocketAddr::new(address.ip(), 0);
    !matches!(TcpListener::bind(any_port), Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable)
}

fn answers(addresses: &[SocketAddr]) -> bool {
    let connects = |address: &SocketAddr| TcpStream::connect_timeout(address, CONNECT).is_ok();
    addresses.iter().any(connects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_is_here_and_free_is_chosen() {
        let temp = tempfile::tempdir().unwrap();
        let info = temp.path().join("tracker_info.txt");
        let running = TcpListener::bind("127.0.0.1:0").unwrap();
        let running = (running.local_addr().unwrap(), running);
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
        // 192.0.2.1 is nobody's, after RFC 5737.
        let mut lines = format!("192.0.2.1:6000\n{}\n", running.0);
        std::fs::write(&info, &lines).unwrap();
        assert!(first_free(&info).is_err());
        lines += &free.unwrap().to_string();
        std::fs::write(&info, &lines).unwrap();
        assert_eq!(first_free(&info).unwrap(), 3);
    }
}
