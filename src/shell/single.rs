//! Single peers at the prompt: `connect` and `disconnect`.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};

use crate::control::command::ALL;

use super::peer_shell::{PeerShell, ShellError};

/// Calls a peer, and tells what came of it.
pub fn connect(shell: &PeerShell, typed: &str) -> Result<String, ShellError> {
    let address = resolve(typed)?;
    let outcomes = shell.peer.connect(address, &|| shell.interrupt.came())?;
    if outcomes.is_empty() {
        return Ok(format!(
            "Nothing is fetched or shared here just now, so there is nothing to call {address} for."
        ));
    }
    let mut connected = Vec::new();
    let mut failed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for outcome in outcomes {
        match outcome.result {
            Ok(()) => connected.push(outcome.torrent),
            Err(reason) => failed.entry(reason).or_default().push(outcome.torrent),
        }
    }
    let mut lines = Vec::new();
    if !connected.is_empty() {
        lines.push(format!("Connected to {address} for {}.", named(&connected)));
    }
    for (reason, torrents) in failed {
        let torrents = named(&torrents);
        lines.push(format!(
            "No connection to {address} for {torrents}: {reason}"
        ));
    }
    Ok(lines.join("\n"))
}

/// Parts from a peer, or from all, and leaves them alone.
pub fn disconnect(shell: &PeerShell, typed: &str) -> Result<String, ShellError> {
    if typed == ALL {
        let addresses = shell.peer.disconnect_all()?;
        if addresses.is_empty() {
            return Ok("Nobody is connected.".into());
        }
        let addresses: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
        let (addresses, one) = (addresses.join(", "), &addresses[0]);
        return Ok(format!(
            "Disconnected, and left alone from now on: {addresses}. Back with: connect {one}"
        ));
    }
    let address = resolve(typed)?;
    let so_far = match shell.peer.disconnect(address)? {
        0 => "was not connected, and is",
        _ => "is disconnected, and",
    };
    Ok(format!(
        "{address} {so_far} left alone from now on. Back with: connect {address}"
    ))
}

fn resolve(typed: &str) -> Result<SocketAddr, ShellError> {
    let unknown = |why: String| ShellError::Other(format!("cannot find {typed}: {why}"));
    let found = typed
        .to_socket_addrs()
        .map_err(|error| unknown(error.to_string()))?;
    // A name such as localhost has both, and peers are started with the first far more often.
    let found = found.min_by_key(SocketAddr::is_ipv6);
    found.ok_or_else(|| unknown("it has no address".into()))
}

fn named(torrents: &[String]) -> String {
    match torrents {
        [one] => one.clone(),
        several => format!("{} files", several.len()),
    }
}
