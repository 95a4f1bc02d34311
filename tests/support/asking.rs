//! A tracker process, peer processes with files in their upload folders, and people with `nc`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mini_bittorrent::control::frame::{Frame, read_frame};

use crate::support::peers::{Place, Program, wait_until};

pub struct World {
    pub temp: tempfile::TempDir,
    pub tracker: TrackerProcess,
}

pub struct TrackerProcess {
    child: Child,
    pub at: SocketAddr,
}

impl TrackerProcess {
    /// `info` is its tracker_info.txt, `number` its own in it.
    pub fn start(folder: PathBuf, info: &str, number: usize) -> TrackerProcess {
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("tracker_info.txt"), info).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_tracker"))
            .current_dir(&folder)
            .args(["tracker_info.txt", &number.to_string(), "--no-prompt"])
            .env_remove("RUST_LOG")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let at = line.trim().strip_prefix("listening on ").unwrap();
        let at = at.parse().unwrap();
        TrackerProcess { child, at }
    }
}

impl Drop for TrackerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl World {
    pub fn new() -> World {
        World::at("127.0.0.1:0")
    }

    pub fn at(tracker: &str) -> World {
        let temp = tempfile::tempdir().unwrap();
        let tracker = TrackerProcess::start(temp.path().join("tracker"), tracker, 1);
        World { temp, tracker }
    }

    /// Where a peer works whose upload folder has these files.
    pub fn place(&self, name: &str, files: &[(&str, &[u8])]) -> Place {
        let mut place = Place::new(self.temp.path(), name, &[self.tracker.at]);
        place.listen.set_ip(self.tracker.at.ip());
        let upload = place.folder.join("upload");
        fs::create_dir_all(&upload).unwrap();
        for (name, bytes) in files {
            fs::write(upload.join(name), bytes).unwrap();
        }
        place
    }

    pub fn peer(&self, name: &str, files: &[(&str, &[u8])]) -> Program {
        self.place(name, files).start(&[])
    }

    /// Where the download of somebody is.
    pub fn download(&self, name: &str, file: &str) -> PathBuf {
        self.temp.path().join(name).join("download").join(file)
    }

    /// A line that asks for a file at this tracker.
    pub fn line(&self, file: &str) -> String {
        let at = self.tracker.at;
        format!("{} {} \"{file}\"", at.ip(), at.port())
    }

    /// Waits until so many can be asked.
    pub fn wait_for(&self, peers: u32) {
        wait_for(self.tracker.at, peers);
    }
}

/// Waits until so many can be asked by a tracker.
pub fn wait_for(tracker: SocketAddr, peers: u32) {
    wait_until(&format!("{peers} peers can be asked"), || {
        // An address may ask some questions a second, and no more.
        std::thread::sleep(Duration::from_millis(200));
        let mut nc = Nc::new(tracker);
        nc.ask("ask \"a file that nobody has\"").words[1] == peers.to_string()
    });
}

/// Somebody with `nc`.
pub struct Nc(pub BufReader<TcpStream>);

impl Nc {
    pub fn new(at: SocketAddr) -> Nc {
        let stream = TcpStream::connect(at).unwrap();
        let patience = Some(Duration::from_secs(30));
        stream.set_read_timeout(patience).unwrap();
        Nc(BufReader::new(stream))
    }

    pub fn say(&mut self, line: &str) {
        self.send(&format!("{line}\n"));
    }

    pub fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    pub fn hear(&mut self) -> Frame {
        read_frame(&mut self.0).unwrap().expect("a frame")
    }

    pub fn ask(&mut self, line: &str) -> Frame {
        self.say(line);
        self.hear()
    }

    /// The next question of the stream: its number and the file.
    pub fn question(&mut self) -> (String, String) {
        let words = self.hear().words;
        assert_eq!(words[0], "WHO", "{words:?}");
        (words[1].clone(), words[2].clone())
    }
}
