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

/// The near end of [`super::long_way::LongWay`].
pub const NEAR: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);
/// Its far end: an address for each kind of client. Who is not told to use another calls from the
/// first.
pub const FAR: [Ipv4Addr; 3] = [
    Ipv4Addr::new(10, 78, 1, 1),
    Ipv4Addr::new(10, 78, 1, 2),
    Ipv4Addr::new(10, 78, 1, 3),
];

pub fn ip(words: &str) -> Result<(), String> {
    run(Command::new("ip").args(words.split(' ')))
}

pub fn run(command: &mut Command) -> Result<(), String> {
    match command.stdout(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!(
            "{command:?} failed (is iproute2 there?): {other:?}"
        )),
    }
}

/// A program in our network, or in that of a process.
pub fn command_in(network: Option<u32>, program: &str) -> Command {
    match network {
        None => Command::new(program),
        Some(pid) => {
            let mut command = Command::new("nsenter");
            command
                .arg(format!("--net=/proc/{pid}/ns/net"))
                .arg(program);
            command
        }
    }
}
