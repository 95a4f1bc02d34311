//! A network of namespaces, each as a machine of its own: for trackers, say, with their clients on the
//! bridge between them.
//!
//! A link between two trackers is cut by telling one of them a wrong hardware address for the
//! other: its packets go nowhere, and nobody says so. Each direction is cut by itself. A tracker
//! is unplugged by taking its end of the bridge down: then clients do not reach it either.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where nobody is.
const NOWHERE: &str = "02:00:00:00:00:99";
const PREFIX: &str = "mbt";
/// The ids of processes are smaller. A tag is such an id, and how many networks were made before.
const PIDS: u32 = 1 << 22;
const PER_PROCESS: u32 = 1 << 10;

static MADE: AtomicU32 = AtomicU32::new(0);

pub struct Net {
    tag: u32,
    count: usize,
}

impl Net {
    /// Needs root, and a kernel that has namespaces.
    pub fn make(count: usize) -> Result<Net, String> {
        remove_leftovers();
        let made = MADE.fetch_add(1, Ordering::Relaxed) % PER_PROCESS;
        let tag = made * PIDS + std::process::id();
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

    /// What a test does that must end at once.
    pub fn remove_all() {
        let ours = |tag: &u32| tag % PIDS == std::process::id();
        tags().into_iter().filter(ours).for_each(Net::remove);
    }

    fn remove(tag: u32) {
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
    for tag in tags() {
        if fs::metadata(format!("/proc/{}", tag % PIDS)).is_err() {
            Net::remove(tag);
        }
    }
}

/// Of all networks that there are.
fn tags() -> BTreeSet<u32> {
    let rooms = list(&["netns", "list"]);
    let ours = rooms.iter().filter(|room| room.starts_with(PREFIX));
    let tag = |room: &String| room.split('-').nth(1)?.parse().ok();
    ours.filter_map(tag).collect()
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
