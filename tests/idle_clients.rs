//! Proves that ten thousand idle clients keep nobody from being served, in little memory.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::support::descriptors::descriptors;

const CLIENTS: usize = 10_000;
/// One address may have 1024 connections.
const CLIENTS_PER_ADDRESS: usize = 250;
/// What the tracker may take with all of them, in kB.
const MEMORY_KB: u64 = 300 * 1024;
/// Descriptors that the test itself needs beside its clients.
const SPARE: u64 = 200;

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A connection from one of our own loopback addresses.
fn connect(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddrV4::new(from, 0).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream
}

fn ping(stream: &mut TcpStream) {
    stream.write_all(b"ping\n").unwrap();
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"OK pong\n");
}

#[test]
fn ten_thousand_idle_clients_keep_nobody_out() {
    if descriptors() < CLIENTS as u64 + SPARE {
        let text = format!(
            "SKIPPED: {CLIENTS} idle clients need `ulimit -n {}`\n",
            CLIENTS * 2
        );
        std::io::stderr().write_all(text.as_bytes()).unwrap();
        assert!(std::env::var_os("CI").is_none(), "{text}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let info = folder.path().join("tracker_info.txt");
    std::fs::write(&info, "127.0.0.1:0\n").unwrap();
    let mut tracker = Killed(
        Command::new(env!("CARGO_BIN_EXE_tracker"))
            .arg(&info)
            .args(["1", "--no-prompt"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut line = String::new();
    BufReader::new(tracker.0.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address: SocketAddr = line
        .trim()
        .strip_prefix("listening on ")
        .unwrap()
        .parse()
        .unwrap();

    let began = Instant::now();
    let mut idle = Vec::with_capacity(CLIENTS);
    for i in 0..CLIENTS {
        let from = Ipv4Addr::new(127, 0, 0, 2 + (i / CLIENTS_PER_ADDRESS) as u8);
        let mut stream = connect(from, address);
        ping(&mut stream);
        idle.push(stream);
    }
    println!(
        "{CLIENTS} clients connected and served in {:?}",
        began.elapsed()
    );
    let mut slowest = Duration::ZERO;
    for _ in 0..100 {
        let began = Instant::now();
        ping(&mut connect(Ipv4Addr::LOCALHOST, address));
        slowest = slowest.max(began.elapsed());
    }
    println!("the slowest of 100 new ones was served in {slowest:?} beside them");
    idle.iter_mut().step_by(97).for_each(ping);

    let status = std::fs::read_to_string(format!("/proc/{}/status", tracker.0.id())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let memory: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    println!("the tracker has {} MB resident", memory / 1024);
    assert!(memory < MEMORY_KB, "{memory} kB");
}
