//! The least that moving a file takes: read, send, receive, hash, write; no protocol.
//!
//! This program runs itself once more for each of the two ends.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use sha1::{Digest, Sha1};

use super::process::Process;

const PORT: u16 = 7600;
/// How much is read, sent and hashed at once.
const CHUNK: usize = 256 * 1024;

const SEND: &str = "bare-send";
const RECEIVE: &str = "bare-receive";

/// What this program was started for, if it is one of the two ends.
pub fn role(words: &[String]) -> Option<Result<(), String>> {
    let done = match words {
        [role, address, path] if role == SEND => send(address, Path::new(path)),
        [role, address, path, piece] if role == RECEIVE => {
            receive(address, Path::new(path), piece.parse().unwrap_or(CHUNK))
        }
        _ => return None,
    };
    Some(done.map_err(|error| error.to_string()))
}

/// Sends the file to whoever calls, one after the other.
pub fn sender(address: Ipv4Addr, path: &Path, log: &Path) -> Result<Process, String> {
    start(
        &[SEND, &address.to_string(), &path.display().to_string()],
        log,
    )
}

/// Fetches the file: its pieces are written when their hash is known.
pub fn receiver(from: Ipv4Addr, path: &Path, piece: u32, log: &Path) -> Result<Process, String> {
    let path = path.display().to_string();
    start(
        &[RECEIVE, &from.to_string(), &path, &piece.to_string()],
        log,
    )
}

fn start(words: &[&str], log: &Path) -> Result<Process, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    Process::start(Command::new(this).args(words), log)
}

fn send(address: &str, path: &Path) -> std::io::Result<()> {
    let listener = TcpListener::bind(format!("{address}:{PORT}"))?;
    let mut chunk = vec![0; CHUNK];
    loop {
        let mut stream = listener.accept()?.0;
        let mut file = File::open(path)?;
        loop {
            match file.read(&mut chunk)? {
                0 => break,
                length => stream.write_all(&chunk[..length])?,
            }
        }
    }
}

fn receive(address: &str, path: &Path, piece: usize) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(format!("{address}:{PORT}"))?;
    let part = PathBuf::from(format!("{}.part", path.display()));
    let mut file = File::create(&part)?;
    let mut buffer = vec![0; piece];
    loop {
        let (mut filled, mut hasher) = (0, Sha1::new());
        while filled < piece {
            let end = piece.min(filled + CHUNK);
            match stream.read(&mut buffer[filled..end])? {
                0 => break,
                length => {
                    hasher.update(&buffer[filled..filled + length]);
                    filled += length;
                }
            }
        }
        std::hint::black_box(hasher.finalize());
        file.write_all(&buffer[..filled])?;
        if filled < piece {
            return fs::rename(&part, path);
        }
    }
}
