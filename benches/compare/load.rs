//! Announces by HTTP from many clients at once: what a tracker is asked in a measurement.
//!
//! A process of its own, so that its CPU is not counted as the tracker's. A client is a thread that
//! waits for its answer, and asks for the next peer. Requests are those of a real client, but are
//! made beforehand: only a swarm, a peer id and a port are written into them.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The first word of the command line of this process.
const WORD: &str = "load";

/// How long a client waits for an answer before it counts a failure.
const PATIENCE: Duration = Duration::from_secs(10);
/// The port of the first peer of each swarm.
const FIRST_PORT: u32 = 10_000;
/// More than an answer with 200 peers has.
const MAX_ANSWER: usize = 4096;
/// Failures after which a client gives up: the tracker is gone.
const MAX_FAILURES: u32 = 100;
/// Stack of a client, in bytes.
const STACK: usize = 128 * 1024;

/// Whether a client keeps its connection for the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connections {
    Each,
    Kept,
}

/// Who announces what to whom.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub tracker: SocketAddr,
    pub clients: u32,
    pub connections: Connections,
    pub swarms: u32,
    /// In all swarms together. They all have this machine's address, and differ in their ports.
    pub peers: u32,
    /// How many peers an answer shall name.
    pub wanted: u32,
    /// `None`: until each peer has announced itself once.
    pub time: Option<Duration>,
}

/// How it went.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outcome {
    pub answers: u64,
    /// Connections that broke, refusals, and answers with fewer peers than were wanted.
    pub failures: u64,
    pub seconds: f64,
    /// From before connecting, if there is a connection each, to the last byte; in microseconds.
    pub median: f64,
    pub p99: f64,
}

impl Outcome {
    /// Answers a second.
    pub fn rate(&self) -> f64 {
        self.answers as f64 / self.seconds
    }
}

/// The info hash of a swarm: spread evenly, and the same at each start.
pub fn info_hash(swarm: u32) -> [u8; 20] {
    let mut state = u64::from(swarm);
    std::array::from_fn(|_| {
        // The generator `splitmix64`.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 56) as u8
    })
}

impl Plan {
    /// Carries it out in a process of its own.
    pub fn run(&self) -> Result<Outcome, String> {
        self.run_process()
            .map_err(|error| format!("the load generator failed: {error}"))
    }

    fn run_process(&self) -> io::Result<Outcome> {
        let connections = match self.connections {
            Connections::Each => "each",
            Connections::Kept => "kept",
        };
        let time = self.time.unwrap_or_default().as_millis();
        let numbers = [self.clients, self.swarms, self.peers, self.wanted].map(|n| n.to_string());
        let output = Command::new(std::env::current_exe()?)
            .args([WORD, &self.tracker.to_string(), connections])
            .args(numbers)
            .arg(time.to_string())
            .stderr(Stdio::inherit())
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let numbers: Vec<f64> = said
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        let [answers, failures, seconds, median, p99] = numbers[..] else {
            return Err(io::Error::other(format!("it says `{said}`")));
        };
        Ok(Outcome {
            answers: answers as u64,
            failures: failures as u64,
            seconds,
            median,
            p99,
        })
    }

    /// The words that `run_process` has written.
    fn from_words(words: &[String]) -> Option<Plan> {
        let [tracker, connections, clients, swarms, peers, wanted, time] = words else {
            return None;
        };
        let time = Duration::from_millis(number(time)?);
        Some(Plan {
            tracker: number(tracker)?,
            connections: match connections.as_str() {
                "each" => Connections::Each,
                _ => Connections::Kept,
            },
            clients: number(clients)?,
            swarms: number(swarms)?,
            peers: number(peers)?,
            wanted: number(wanted)?,
            time: (!time.is_zero()).then_some(time),
        })
    }
}

fn number<T: FromStr>(word: &str) -> Option<T> {
    word.parse().ok()
}

/// What this process does if `words`, its command line, begins with [`WORD`]: it prints the outcome.
pub fn role(words: &[String]) -> Option<Result<(), String>> {
    let (_, words) = words.split_first().filter(|(first, _)| *first == WORD)?;
    Some(match Plan::from_words(words) {
        None => Err(format!("no plan for a load: {words:?}")),
        Some(plan) => {
            let it = clients(&plan);
            print!("{} {} ", it.answers, it.failures);
            println!("{} {} {}", it.seconds, it.median, it.p99);
            Ok(())
        }
    })
}

fn clients(plan: &Plan) -> Outcome {
    let next = AtomicU32::new(0);
    let hashes: Vec<String> = (0..plan.swarms).map(escaped_hash).collect();
    let began = Instant::now();
    let mut results: Vec<Client> = std::thread::scope(|scope| {
        let client = |_| {
            let builder = std::thread::Builder::new().stack_size(STACK);
            let run = || Client::new(plan, &hashes).run(&next, began);
            builder.spawn_scoped(scope, run).expect("a thread")
        };
        let running: Vec<_> = (0..plan.clients).map(client).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| thread.join().expect("no panic");
        running.into_iter().map(join).collect()
    });
    let seconds = began.elapsed().as_secs_f64();
    let mut times: Vec<u32> = Vec::new();
    for client in &mut results {
        times.append(&mut client.times);
    }
    times.sort_unstable();
    let at = |part: f64| {
        let place = (times.len() as f64 * part) as usize;
        let nanoseconds = times.get(place.min(times.len().saturating_sub(1)));
        f64::from(nanoseconds.copied().unwrap_or(0)) / 1000.0
    };
    Outcome {
        answers: times.len() as u64,
        failures: results
            .iter()
            .map(|client| u64::from(client.failures))
            .sum(),
        seconds,
        median: at(0.5),
        p99: at(0.99),
    }
}

/// One of those who ask.
struct Client<'a> {
    plan: &'a Plan,
    request: Request<'a>,
    connection: Option<TcpStream>,
    buffer: [u8; MAX_ANSWER],
    /// How long each answer took, in nanoseconds.
    times: Vec<u32>,
    failures: u32,
}

impl<'a> Client<'a> {
    fn new(plan: &'a Plan, hashes: &'a [String]) -> Client<'a> {
        Client {
            plan,
            request: Request::new(plan, hashes),
            connection: None,
            buffer: [0; MAX_ANSWER],
            times: Vec::with_capacity(1 << 16),
            failures: 0,
        }
    }

    fn run(mut self, next: &AtomicU32, began: Instant) -> Self {
        let plan = self.plan;
        while self.failures < MAX_FAILURES {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let before = Instant::now();
            let over = match plan.time {
                Some(time) => before - began >= time,
                None => number >= plan.peers,
            };
            if over {
                break;
            }
            self.request.set_peer(number % plan.peers);
            match self.ask() {
                Ok(()) => self.times.push(before.elapsed().as_nanos() as u32),
                Err(error) => {
                    if self.failures == 0 {
                        eprintln!("an announce failed: {error}");
                    }
                    self.failures += 1;
                    self.connection = None;
                }
            }
        }
        self
    }

    fn ask(&mut self) -> io::Result<()> {
        let mut stream = match self.connection.take() {
            Some(stream) => stream,
            None => connect(self.plan.tracker)?,
        };
        stream.write_all(&self.request.bytes)?;
        let length = self.read_answer(&mut stream)?;
        // Six bytes a peer.
        if length < 6 * self.plan.wanted as usize {
            let text = String::from_utf8_lossy(&self.buffer[..length]);
            return Err(io::Error::other(format!("an answer is short: {text}")));
        }
        if self.plan.connections == Connections::Kept {
            self.connection = Some(stream);
        }
        Ok(())
    }

    /// Reads to the answer's end, which is the connection's if that is not kept.
    fn read_answer(&mut self, stream: &mut TcpStream) -> io::Result<usize> {
        let mut filled = 0;
        loop {
            let got = stream.read(&mut self.buffer[filled..])?;
            filled += got;
            if got == 0 {
                return match self.plan.connections {
                    Connections::Each => Ok(filled),
                    Connections::Kept => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
            if self.plan.connections == Connections::Kept && is_whole(&self.buffer[..filled]) {
                return Ok(filled);
            }
        }
    }
}

fn connect(tracker: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(tracker)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Whether an answer has as many bytes as its head promises.
fn is_whole(answer: &[u8]) -> bool {
    const FIELD: &[u8] = b"Content-Length: ";
    const END: &[u8] = b"\r\n\r\n";
    let place = |word: &[u8]| answer.windows(word.len()).position(|part| part == word);
    let (Some(field), Some(end)) = (place(FIELD), place(END)) else {
        return false;
    };
    let digits = answer[field + FIELD.len()..].iter();
    let digits = digits.take_while(|byte| byte.is_ascii_digit());
    let length = digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
    answer.len() >= end + END.len() + length
}

fn escaped_hash(swarm: u32) -> String {
    let mut text = String::new();
    for byte in info_hash(swarm) {
        // Writing to memory does not fail.
        let _ = write!(text, "%{byte:02X}");
    }
    text
}

/// The bytes of an announce, and where in it the peer's own are.
struct Request<'a> {
    bytes: Vec<u8>,
    hash_at: usize,
    id_at: usize,
    port_at: usize,
    /// As they stand in a request.
    hashes: &'a [String],
}

impl<'a> Request<'a> {
    fn new(plan: &Plan, hashes: &'a [String]) -> Request<'a> {
        let (hash, id, port) = ("%00".repeat(20), "0".repeat(12), "00000");
        let head = "GET /announce?info_hash=";
        let after_hash = "&peer_id=-CM0001-";
        let after_id = "&port=";
        let connection = match plan.connections {
            Connections::Each => "close",
            Connections::Kept => "keep-alive",
        };
        let rest = format!(
            "&uploaded=0&downloaded=0&left=1048576&corrupt=0&key=1A2B3C4D&numwant={}&compact=1\
             &no_peer_id=1 HTTP/1.1\r\nHost: {}\r\nUser-Agent: compare/1.0\r\n\
             Accept-Encoding: gzip\r\nConnection: {connection}\r\n\r\n",
            plan.wanted, plan.tracker
        );
        let bytes = format!("{head}{hash}{after_hash}{id}{after_id}{port}{rest}").into_bytes();
        let hash_at = head.len();
        let id_at = hash_at + hash.len() + after_hash.len();
        let port_at = id_at + id.len() + after_id.len();
        Request {
            bytes,
            hash_at,
            id_at,
            port_at,
            hashes,
        }
    }

    /// Neighbouring numbers are in different swarms.
    fn set_peer(&mut self, number: u32) {
        let swarms = self.hashes.len() as u32;
        let hash = self.hashes[(number % swarms) as usize].as_bytes();
        self.bytes[self.hash_at..self.hash_at + hash.len()].copy_from_slice(hash);
        write_digits(&mut self.bytes[self.id_at..self.id_at + 12], number);
        let port = FIRST_PORT + number / swarms;
        write_digits(&mut self.bytes[self.port_at..self.port_at + 5], port);
    }
}

fn write_digits(place: &mut [u8], mut number: u32) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}
