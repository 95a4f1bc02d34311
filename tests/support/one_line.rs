//! A tracker process that is asked in one line, byte by byte.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;

use crate::support::peers::{PATIENCE, Program, free_port};

/// A `tracker` process. Killed when dropped.
pub struct TrackerProgram {
    pub address: SocketAddr,
    _program: Program,
    _folder: tempfile::TempDir,
}

impl TrackerProgram {
    pub fn start() -> TrackerProgram {
        let folder = tempfile::tempdir().unwrap();
        let address = free_port();
        fs::write(folder.path().join("tracker_info.txt"), address.to_string()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tracker"));
        command.current_dir(folder.path()).arg("--no-prompt");
        let program = Program::start(command);
        program.line_with("listening");
        TrackerProgram {
            address,
            _program: program,
            _folder: folder,
        }
    }
}

/// How bytes are sent: what TCP may do to them by itself.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    Nowhere,
    EveryByte,
}

pub fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

pub fn send(stream: &mut TcpStream, bytes: &[u8], cut: Cut) {
    match cut {
        Cut::Nowhere => stream.write_all(bytes).unwrap(),
        Cut::EveryByte => bytes
            .iter()
            .for_each(|byte| stream.write_all(&[*byte]).unwrap()),
    }
}

/// All that is answered to these bytes, until the tracker has closed the connection.
pub fn said(to: SocketAddr, bytes: &[u8], cut: Cut) -> String {
    let mut stream = connect(to);
    send(&mut stream, bytes, cut);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

/// The answer to one line.
pub fn ask(to: SocketAddr, line: &str) -> String {
    said(to, format!("{line}\n").as_bytes(), Cut::Nowhere)
}
