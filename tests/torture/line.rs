//! A connection on which control lines are spoken, plain or inside TLS.

use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use mini_bittorrent::control::frame::{Frame, read_frame};
use mini_bittorrent::control::reply::{Reply, TrackerEntry};
use mini_bittorrent::control::tracker_info::TrackerAddress;
use mini_bittorrent::runtime::channel::Channel;
use mini_bittorrent::runtime::stop::Stop;
use mini_bittorrent::runtime::stream::Stream;
use mini_bittorrent::runtime::tls;

const CONNECT: Duration = Duration::from_millis(700);
/// A tracker waits a second for its neighbours. One that takes longer is paused, or gone.
const ANSWER: Duration = Duration::from_secs(4);
const POLL: Duration = Duration::from_millis(50);

pub struct Line(BufReader<Channel>);

impl Line {
    pub fn open(at: &TrackerAddress) -> io::Result<Line> {
        let ip = at.host.parse().map_err(io::Error::other)?;
        let socket = TcpStream::connect_timeout(&SocketAddr::new(ip, at.port), CONNECT)?;
        let stream = Stream::new(socket, Stop::new(), POLL, CONNECT)?;
        let channel = match at.key {
            Some(key) => tls::connect(stream, key.0).map_err(io::Error::other)?,
            None => stream.into(),
        };
        Ok(Line(BufReader::new(channel)))
    }

    /// An error if there is no answer in time.
    pub fn ask(&mut self, bytes: &[u8]) -> io::Result<Frame> {
        let channel = self.0.get_mut();
        channel.set_patience(ANSWER);
        channel.set_deadline(Some(Instant::now() + ANSWER));
        channel.write_all(bytes)?;
        let frame = read_frame(&mut self.0).map_err(io::Error::other)?;
        frame.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    pub fn say(&mut self, line: &str) -> io::Result<Frame> {
        self.ask(format!("{line}\n").as_bytes())
    }

    /// The lines of a list; nothing if it is refused.
    pub fn list(&mut self, line: &str) -> io::Result<Option<Vec<String>>> {
        let frame = self.say(line)?;
        let body = String::from_utf8_lossy(&frame.body).into_owned();
        let is_ok = frame.words.first().is_some_and(|word| word == "OK");
        Ok(is_ok.then(|| body.lines().map(str::to_string).collect()))
    }

    pub fn trackers(&mut self) -> io::Result<Vec<TrackerEntry>> {
        let reply = Reply::parse(self.say("trackers")?).map_err(io::Error::other)?;
        TrackerEntry::list_from_reply(reply).map_err(io::Error::other)
    }
}
