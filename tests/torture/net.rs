//! A network of namespaces: one for each tracker, all on one bridge, on which the clients are.
//!
//! A link between two trackers is cut by telling one of them a wrong hardware address for the
//! other: its packets go nowhere, and nobody says so. Each direction is cut by itself. A tracker
//! is unplugged by taking its end of the bridge down: then clients do not reach it either.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;

/// Where nobody is.
const NOWHERE: &str = "02:00:00:00:00:99";
const PREFIX: &str = "mbt";

pub struct Net {
    tag: u32,
    count: usize,
}

impl Net {
    /// Needs root, and a kernel that has namespaces.
    pub fn make(count: usize) -> Result<Net, String> {
        remove_leftovers();
        let tag = std::process::id();
        // From here on, whatever fails, what was made is removed.
        let net = Net { tag, count };
        let bridge = net.bridge();
        ip(&format!("link add {bridge} type bridge"))?;
        let own = net.address(254);
        ip(&format!("addr add {own}/24 dev {bridge}"))?;
        ip(&format!("link set {bridge} up"))?;
        for n in 1..=count {
            let (room, plug, address) = (net.room(n), net.plug(n), net.address(n));
            ip(&format!("netns add {room}"))?;
            ip(&format!(
                "link add {plug} type veth peer name eth0 netns {room}"
            ))?;
            ip(&format!("link set {plug} master {bridge} up"))?;
            ip(&format!("-n {room} addr add {address}/24 dev eth0"))?;
            ip(&format!("-n {room} link set eth0 up"))?;
            ip(&format!("-n {room} link set lo up"))?;
        }
        Ok(net)
    }

    pub fn address(&self, n: usize) -> IpAddr {
        let [net, n] = [self.tag % 250 + 1, n as u32].map(|part| part as u8);
        Ipv4Addr::new(10, 213, net, n).into()
    }

    /// The namespace.
    pub fn room(&self, n: usize) -> String {
        format!("{PREFIX}-{}-{n}", self.tag)
    }

    fn plug(&self, n: usize) -> String {
        format!("{PREFIX}{}v{n}", self.tag)
    }

    fn bridge(&self) -> String {
        format!("{PREFIX}{}b", self.tag)
    }

    /// What `from` sends to `to` gets lost.
    pub fn cut(&self, from: usize, to: usize) {
        let (room, to) = (self.room(from), self.address(to));
        let command =
            format!("-n {room} neigh replace {to} lladdr {NOWHERE} dev eth0 nud permanent");
        ip(&command).expect("a link is cut");
    }

    pub fn mend(&self, from: usize, to: usize) {
        let (room, to) = (self.room(from), self.address(to));
        ip(&format!("-n {room} neigh del {to} dev eth0")).expect("a link is mended");
    }

    pub fn unplug(&self, n: usize) {
        ip(&format!("link set {} down", self.plug(n))).expect("a tracker is unplugged");
    }

    pub fn plug_in(&self, n: usize) {
        ip(&format!("link set {} up", self.plug(n))).expect("a tracker is plugged in");
    }

    /// Also what a test does that must end at once.
    pub fn remove(tag: u32) {
        let rooms = list(&["netns", "list"]).into_iter();
        for room in rooms.filter(|room| room.starts_with(&format!("{PREFIX}-{tag}-"))) {
            let _ = ip(&format!("netns del {room}"));
        }
        for n in 1..=9 {
            // Gone with its namespace, but perhaps not yet.
            let _ = ip(&format!("link del {PREFIX}{tag}v{n}"));
        }
        let _ = ip(&format!("link del {PREFIX}{tag}b"));
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        Net::remove(self.tag);
        let is_ours = |room: &String| (1..=self.count).any(|n| *room == self.room(n));
        let left = list(&["netns", "list"]).into_iter().filter(is_ours).count();
        if left > 0 && !std::thread::panicking() {
            panic!("{left} network namespaces could not be removed");
        }
    }
}

/// What a test has left behind that was killed.
fn remove_leftovers() {
    for room in list(&["netns", "list"]) {
        let tag = room.split('-').nth(1).and_then(|tag| tag.parse().ok());
        let Some(tag) = tag.filter(|_| room.starts_with(PREFIX)) else {
            continue;
        };
        if fs::metadata(format!("/proc/{tag}")).is_err() {
            Net::remove(tag);
        }
    }
}

fn list(words: &[&str]) -> Vec<String> {
    let out = Command::new("ip").args(words).output();
    let text = out.map(|out| String::from_utf8_lossy(&out.stdout).into_owned());
    let text = text.unwrap_or_default();
    let first = |line: &str| line.split_whitespace().next().map(str::to_string);
    text.lines().filter_map(first).collect()
}

fn ip(words: &str) -> Result<(), String> {
    let done = Command::new("ip").args(words.split(' ')).output();
    let done = done.map_err(|error| format!("ip: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&done.stderr);
    Err(format!("ip {words}: {}", why.trim()))
}
