//! The loopback of a network of our own, and the addresses on it.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

/// Of the tracker, and of whoever needs none of its own.
pub const FIRST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// Brings up the loopback. Nobody runs on 127.x: Transmission calls nobody there.
pub fn up() -> Result<(), String> {
    ip("link set lo up")?;
    add(FIRST)
}

/// Makes an address. Who calls it calls from it, too: so a tracker sees where a peer is.
pub fn add(address: Ipv4Addr) -> Result<(), String> {
    ip(&format!("addr replace {address}/32 dev lo"))
}

fn ip(words: &str) -> Result<(), String> {
    let done = Command::new("ip")
        .args(words.split(' '))
        .stdout(Stdio::null())
        .status();
    match done {
        Ok(status) if status.success() => Ok(()),
        _ => Err(format!("ip {words} failed: iproute2 is needed")),
    }
}
