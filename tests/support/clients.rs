//! Other people's programs, started and asked by tests: aria2, Transmission, opentracker.
//!
//! Each runs in a temporary folder, on loopback addresses only, with everything switched off
//! that would look for peers by itself, and is killed by its own process id when dropped.
//!
//! Transmission 3.00 keeps one peer an address, whatever the port, and never calls an address
//! that begins with 127. So each program has a loopback address of its own, and it is the others
//! that call Transmission.

use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

pub const ARIA2_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
pub const TRANSMISSION_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// How long one question to a program may take.
const ANSWER: Duration = Duration::from_secs(10);
/// How often a program that did not start is started again, on other ports.
const STARTS: usize = 3;
/// Lines of a program's log that are shown when a test fails.
const LOG_LINES: usize = 40;

/// A test with a temporary folder, a deadline, and the programs that it has started.
#[derive(Clone)]
pub struct Scene {
    folder: PathBuf,
    deadline: Instant,
    programs: Arc<Mutex<Vec<Arc<Program>>>>,
}

/// A program that runs until this is dropped.
pub struct Program {
    name: String,
    child: Mutex<Child>,
    log: PathBuf,
}

impl Program {
    fn is_running(&self) -> bool {
        matches!(self.child.lock().unwrap().try_wait(), Ok(None))
    }

    fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        // Both fail only if it has ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }

    fn log(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a test that needs `programs`, or says that it was skipped because one is missing; in CI
/// that is a failure. A test that does not end within `limit` fails, and its programs are killed.
pub fn scene(programs: &[&str], limit: Duration, test: impl FnOnce(&Scene) + Send + 'static) {
    for program in programs {
        if !is_installed(program) {
            assert_ne!(
                std::env::var("CI").as_deref(),
                Ok("true"),
                "{program} is not installed"
            );
            // The test harness does not catch what is written so.
            let text = format!("SKIPPED: {program} is not installed\n");
            std::io::stderr().write_all(text.as_bytes()).unwrap();
            return;
        }
    }
    let _ = env_logger::builder().is_test(true).try_init();
    let temp = tempfile::tempdir().unwrap();
    let scene = Scene {
        folder: temp.path().to_path_buf(),
        deadline: Instant::now() + limit,
        programs: Arc::default(),
    };
    let (done, ended) = mpsc::channel::<()>();
    let for_test = scene.clone();
    let runner = std::thread::spawn(move || {
        let _done = done;
        test(&for_test);
    });
    // Nothing is ever sent. A test that waits properly fails by its own deadline before this.
    let grace = limit + Duration::from_secs(5);
    if ended.recv_timeout(grace) == Err(mpsc::RecvTimeoutError::Timeout) {
        let logs = scene.logs();
        scene.kill_all();
        panic!("the test hangs after {} s\n{logs}", grace.as_secs());
    }
    let result = runner.join();
    scene.kill_all();
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

impl Scene {
    /// A new folder in the test's temporary one.
    pub fn folder(&self, name: &str) -> PathBuf {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Waits until `done` says so, or fails with what `done` says instead and the logs.
    pub fn wait_until(&self, what: &str, mut done: impl FnMut() -> Result<(), String>) {
        while let Err(instead) = done() {
            if Instant::now() >= self.deadline {
                panic!(
                    "waited in vain until {what}; instead: {instead}\n{}",
                    self.logs()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the programs have said last.
    pub fn logs(&self) -> String {
        let programs = self.programs.lock().unwrap();
        let log =
            |program: &Arc<Program>| format!("--- log of {}\n{}\n", program.name, program.log());
        programs.iter().map(log).collect()
    }

    fn kill_all(&self) {
        let programs = std::mem::take(&mut *self.programs.lock().unwrap());
        programs.iter().for_each(|program| program.kill());
    }

    /// Starts a program and waits until `door` lets us in. `command` makes its command line and
    /// names the door, each time with other ports.
    fn start(
        &self,
        name: &str,
        mut command: impl FnMut() -> (Command, SocketAddr),
    ) -> (Arc<Program>, SocketAddr) {
        for _ in 0..STARTS {
            let (mut command, door) = command();
            let log = self.folder.join(format!("{name}.log"));
            let out = File::create(&log).unwrap();
            for proxy in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
                command.env_remove(proxy);
            }
            command
                .stdin(Stdio::null())
                .stdout(out.try_clone().unwrap())
                .stderr(out);
            let child = command.spawn().unwrap();
            let program = Arc::new(Program {
                name: name.to_string(),
                child: Mutex::new(child),
                log,
            });
            self.programs.lock().unwrap().push(program.clone());
            let patience = Instant::now() + ANSWER;
            while program.is_running() && Instant::now() < patience {
                if TcpStream::connect_timeout(&door, ANSWER).is_ok() {
                    return (program, door);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            program.kill();
        }
        panic!("{name} does not start\n{}", self.logs());
    }
}

/// A port on which nobody listens at `address`, and which is not given out twice.
///
/// Below the range from which the system takes ports by itself: it cannot be taken for a
/// connection between now and its use.
pub fn free_port(address: Ipv4Addr) -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = std::process::id().wrapping_mul(97) % u32::from(COUNT);
    for _ in 0..COUNT {
        let nth = u32::from(NEXT.fetch_add(1, Ordering::SeqCst)) + start;
        let port = FIRST + (nth % u32::from(COUNT)) as u16;
        if TcpListener::bind((address, port)).is_ok() {
            return port;
        }
    }
    panic!("no port of {address} is free");
}

/// The number that follows `"key":` in a JSON text, quoted or not.
fn number(json: &str, key: &str) -> Option<u64> {
    let (_, rest) = json.split_once(&format!("\"{key}\":"))?;
    let rest = rest.trim_start_matches(['"', ' ']);
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    rest[..end].parse().ok()
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(ANSWER))
        .http_status_as_error(false)
        .proxy(None);
    ureq::Agent::new_with_config(config.build())
}

/// How a program stands with its one torrent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Bytes it has, of all.
    pub have: u64,
    pub size: u64,
    /// Bytes it has carried since it started.
    pub downloaded: u64,
    pub uploaded: u64,
    pub complete: bool,
}

/// A program that fetches and shares one torrent.
pub trait Client {
    fn standing(&self) -> Option<Standing>;
    /// Ends it as a user would, so that it says goodbye.
    fn quit(&self);
}

pub struct Aria2 {
    program: Arc<Program>,
    rpc: String,
}

impl Aria2 {
    /// Fetches `torrent` into `folder`, where it uses what lies there, and shares it on.
    pub fn start(scene: &Scene, torrent: &Path, folder: &Path, up: Option<u64>) -> Aria2 {
        let (program, rpc) = scene.start("aria2c", || {
            let rpc = free_port(Ipv4Addr::LOCALHOST);
            let mut command = Command::new("aria2c");
            command
                .args(["--no-conf", "--disable-ipv6=true", "--enable-dht=false"])
                .args(["--bt-enable-lpd=false", "--enable-peer-exchange=false"])
                .args(["--check-integrity=true", "--allow-overwrite=true"])
                .args(["--file-allocation=none", "--summary-interval=0"])
                .args(["--seed-ratio=0.0", "--seed-time=60", "--enable-color=false"])
                .args(["--enable-rpc=true", "--show-console-readout=false"])
                .arg(format!("--interface={ARIA2_ADDRESS}"))
                .arg(format!("--listen-port={}", free_port(ARIA2_ADDRESS)))
                .arg(format!("--rpc-listen-port={rpc}"))
                .arg(format!("--stop-with-process={}", std::process::id()))
                .arg(format!("--max-overall-upload-limit={}", up.unwrap_or(0)))
                .arg(format!("--dir={}", folder.display()))
                .arg(torrent);
            (command, SocketAddr::from((Ipv4Addr::LOCALHOST, rpc)))
        });
        let rpc = format!("http://{rpc}/jsonrpc");
        Aria2 { program, rpc }
    }

    fn ask(&self, method: &str) -> Option<String> {
        let question = format!(r#"{{"jsonrpc":"2.0","id":"t","method":"aria2.{method}"}}"#);
        let mut answer = agent().post(&self.rpc).send(question).ok()?;
        answer.body_mut().read_to_string().ok()
    }
}

impl Client for Aria2 {
    fn standing(&self) -> Option<Standing> {
        let text = self.ask("tellActive")?;
        // The files have these keys, too, and come later or earlier: they are cut out.
        let (before, rest) = text.split_once("\"files\":[")?;
        let (_, after) = rest.split_once("}],\"")?;
        let text = format!("{before}\"{after}");
        let (have, size) = (
            number(&text, "completedLength")?,
            number(&text, "totalLength")?,
        );
        Some(Standing {
            have,
            size,
            // It counts all that came, but not as a number that it tells; what it has is as good.
            downloaded: have,
            uploaded: number(&text, "uploadLength")?,
            complete: text.contains("\"seeder\":\"true\"") && have == size,
        })
    }

    fn quit(&self) {
        self.ask("shutdown");
    }
}

impl Aria2 {
    pub fn has_ended(&self) -> bool {
        !self.program.is_running()
    }
}

pub struct Transmission {
    program: Arc<Program>,
    rpc: String,
    session: Mutex<String>,
}

impl Transmission {
    /// Starts with nothing to do, and `folder` for what comes. `up` is in bytes a second.
    pub fn start(scene: &Scene, folder: &Path, up: Option<u64>) -> Transmission {
        let home = scene.folder("transmission");
        let (program, rpc) = scene.start("transmission-daemon", || {
            let rpc = free_port(Ipv4Addr::LOCALHOST);
            let settings = format!(
                r#"{{
                "bind-address-ipv4": "{TRANSMISSION_ADDRESS}", "bind-address-ipv6": "::1",
                "peer-port": {}, "peer-port-random-on-start": false,
                "rpc-bind-address": "127.0.0.1", "rpc-port": {rpc}, "rpc-enabled": true,
                "rpc-authentication-required": false, "rpc-host-whitelist-enabled": false,
                "dht-enabled": false, "lpd-enabled": false, "pex-enabled": false,
                "utp-enabled": false, "port-forwarding-enabled": false,
                "ratio-limit-enabled": false, "idle-seeding-limit-enabled": false,
                "download-dir": "{}", "incomplete-dir-enabled": false,
                "speed-limit-up-enabled": {}, "speed-limit-up": {}, "message-level": 3
            }}"#,
                free_port(TRANSMISSION_ADDRESS),
                folder.display(),
                up.is_some(),
                up.unwrap_or(0) / 1000,
            );
            fs::write(home.join("settings.json"), settings).unwrap();
            let mut command = Command::new("transmission-daemon");
            command.arg("--foreground").arg("--config-dir").arg(&home);
            (command, SocketAddr::from((Ipv4Addr::LOCALHOST, rpc)))
        });
        Transmission {
            program,
            rpc: format!("http://{rpc}/transmission/rpc"),
            session: Mutex::default(),
        }
    }

    /// Fetches `torrent`, using what lies in its folder, and shares it on.
    pub fn add(&self, torrent: &Path) {
        let arguments = format!(r#""filename":"{}""#, torrent.display());
        let answer = self.ask("torrent-add", &arguments).unwrap_or_default();
        assert!(answer.contains("success"), "torrent-add: {answer}");
    }

    /// Forgets its torrent, and tells the tracker so.
    pub fn remove(&self) {
        self.ask("torrent-remove", "");
    }

    fn ask(&self, method: &str, arguments: &str) -> Option<String> {
        let question = format!(r#"{{"method":"{method}","arguments":{{{arguments}}}}}"#);
        for _ in 0..2 {
            let session = self.session.lock().unwrap().clone();
            let request = agent().post(&self.rpc);
            let request = request.header("X-Transmission-Session-Id", session);
            let mut answer = request.send(&question).ok()?;
            if answer.status() != 409 {
                return answer.body_mut().read_to_string().ok();
            }
            // The first answer of each run names the session.
            let session = answer.headers().get("X-Transmission-Session-Id")?;
            *self.session.lock().unwrap() = session.to_str().ok()?.to_string();
        }
        None
    }
}

impl Client for Transmission {
    fn standing(&self) -> Option<Standing> {
        let fields =
            r#""fields":["sizeWhenDone","leftUntilDone","downloadedEver","uploadedEver","status"]"#;
        let text = self.ask("torrent-get", fields)?;
        let (size, left) = (
            number(&text, "sizeWhenDone")?,
            number(&text, "leftUntilDone")?,
        );
        const SEEDING: u64 = 6;
        Some(Standing {
            have: size - left,
            size,
            downloaded: number(&text, "downloadedEver")?,
            uploaded: number(&text, "uploadedEver")?,
            complete: left == 0 && number(&text, "status")? == SEEDING,
        })
    }

    fn quit(&self) {
        self.ask("session-close", "");
    }
}

impl Transmission {
    pub fn has_ended(&self) -> bool {
        !self.program.is_running()
    }
}

/// A tracker of somebody else.
pub struct Opentracker {
    pub announce: String,
}

impl Opentracker {
    /// Debian's serves only torrents that a list names.
    pub fn start(scene: &Scene, info_hashes: &[String]) -> Opentracker {
        let home = scene.folder("opentracker");
        fs::write(home.join("whitelist.txt"), info_hashes.join("\n") + "\n").unwrap();
        // Started by root it makes the folder its root, and reads the list as nobody.
        #[cfg(unix)]
        fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let (_, door) = scene.start("opentracker", || {
            let port = free_port(Ipv4Addr::LOCALHOST);
            let mut command = Command::new("opentracker");
            command
                .args(["-i", "127.0.0.1", "-p", &port.to_string()])
                .arg("-d")
                .arg(&home)
                .args(["-w", "whitelist.txt"])
                .current_dir(&home);
            (command, SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        });
        Opentracker {
            announce: format!("http://{door}/announce"),
        }
    }
}
