//! The thread `sync-N`: tells tracker N whatever it lacks.
//!
//! There are two connections between two trackers, each in one direction: the one that calls
//! speaks, the other one answers. So each thread waits for one thing. Not here: being called
//! (`sync_door`), and what is to be told (`neighbours`).

use std::io::{self, BufReader, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::control::frame::{Frame, FrameError, LineError, read_frame};
use crate::control::reply::{Reply, ReplyError};
use crate::control::sync::{MAX_SWARM_LINES, ShareLine, Standing, SyncMessage, Welcome};
use crate::registry::batch::Batch;
use crate::registry::versions::Versions;
use crate::runtime::channel::Channel;
use crate::runtime::stream::Stream;
use crate::runtime::tls::TlsError;

use super::neighbours::{NotAdmitted, Soft, Work};
use super::state::State;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(1);
/// How long an answer may take, and one that waits for the other's disk.
const ANSWER: Duration = Duration::from_secs(2);
const COMMIT: Duration = Duration::from_secs(20);
/// How often both compare what they know.
const BEAT: Duration = Duration::from_secs(1);
/// The first pause after a failed call; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often a blocked call looks whether it shall stop.
const POLL: Duration = Duration::from_millis(100);
/// So many beats in a row with different digests and nothing to tell: then everything is told
/// again. It cannot happen, but for a database that somebody has changed or put back.
const MAX_DIFFERENT: u32 = 5;

/// Why there is no link, or no longer.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("{0} has no address")]
    NoAddress(String),
    #[error("{}", in_words(.0))]
    Io(#[from] io::Error),
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Line(#[from] LineError),
    #[error("it has ended the connection")]
    Ended,
    #[error(transparent)]
    Reply(#[from] ReplyError),
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    #[error("our own database cannot be read")]
    Store,
}

impl LinkError {
    /// Whether calling again is of little use before somebody has changed something.
    fn is_refusal(&self) -> bool {
        use crate::control::reply::Code::Denied;
        matches!(
            self,
            LinkError::Reply(ReplyError::Refused { code: Denied, .. })
                | LinkError::NotAdmitted(_)
                | LinkError::Tls(TlsError::WrongKey(_) | TlsError::NoKey | TlsError::NotTls)
        )
    }
}

/// Calls the neighbour and tells it things, until the tracker ends or has another list.
pub fn run(state: &State, number: u16, generation: u64) {
    let neighbours = &state.neighbours;
    let mut pause = FIRST_PAUSE;
    while neighbours.counts(generation) {
        let mut link = Link {
            state,
            number,
            generation,
            told: 0,
        };
        match link.call() {
            // It was up: whatever ended it may be over soon.
            Ok(why) => {
                if neighbours.link_down(number, false, &why.to_string()) {
                    log::info!(target: "sync", "tracker {number}: {why}");
                }
                pause = FIRST_PAUSE;
            }
            Err(why) => {
                if neighbours.link_down(number, why.is_refusal(), &why.to_string()) {
                    log::warn!(target: "sync", "tracker {number}: {why}");
                }
            }
        }
        if neighbours.rest(number, generation, pause) {
            pause = FIRST_PAUSE;
        } else {
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

struct Link<'a> {
    state: &'a State,
    number: u16,
    generation: u64,
    /// Messages with facts.
    told: u64,
}

type Reader = BufReader<Channel>;

impl Link<'_> {
    /// One connection, from the call to its end: why it has ended. An error if it never came up.
    fn call(&mut self) -> Result<LinkError, LinkError> {
        let (state, number) = (self.state, self.number);
        let own = state.config.identity.key();
        let hello = state.neighbours.hello(number, own);
        let (address, hello) = hello.ok_or(LinkError::Ended)?;
        let found = (address.host.as_str(), address.port).to_socket_addrs();
        let found = found.ok().and_then(|mut found| found.next());
        let found = found.ok_or_else(|| LinkError::NoAddress(address.to_string()))?;
        let is_near = found.ip().is_loopback() && state.config.address.ip().is_loopback();
        let has_keys = state.neighbours.have_keys(number);
        if !has_keys && !is_near && !state.config.sync_without_keys {
            return Err(NotAdmitted::NoKeys.into());
        }
        let socket = TcpStream::connect_timeout(&found, CONNECT)?;
        let mut stream = Stream::new(socket, state.stop.child(), POLL, ANSWER)?;
        stream.set_deadline(Some(Instant::now() + ANSWER));
        let ends = stream.clone();
        let channel = match address.key {
            Some(key) => state.config.identity.acceptor().connect(stream, key.0)?,
            None => stream.into(),
        };
        let mut reader = BufReader::new(channel);
        let welcome = Welcome::from_reply(ask(&mut reader, &hello.to_frame(), ANSWER)?)?;
        let theirs: Versions = welcome.versions.into_iter().collect();
        state.neighbours.link_up(number, welcome.key, &theirs, ends);
        log::info!(target: "sync", "tracker {number} is reached");
        Ok(match self.speak(&mut reader, theirs) {
            Ok(()) => LinkError::Ended,
            Err(why) => why,
        })
    }

    fn speak(&mut self, reader: &mut Reader, theirs: Versions) -> Result<(), LinkError> {
        let (state, number) = (self.state, self.number);
        self.catch_up(reader, theirs)?;
        // The first beat says that everything was told: the neighbour may wait for that.
        let mut beats = Beats::default();
        self.beat(reader, &mut beats)?;
        for soft in everything_soft(state) {
            tell_soft(reader, soft)?;
        }
        let mut beat = Instant::now();
        loop {
            match state.neighbours.next(number, self.generation, beat) {
                Work::End => return Ok(()),
                Work::Facts { until, batch } => {
                    let versions = batch.versions.clone();
                    for piece in batch.split() {
                        self.tell(reader, &piece)?;
                    }
                    state.neighbours.link_has(number, until, &versions);
                    beats = Beats::default();
                }
                Work::Again(theirs) => self.catch_up(reader, theirs)?,
                Work::Soft(soft) => tell_soft(reader, soft)?,
                Work::Beat => {
                    self.beat(reader, &mut beats)?;
                    beat = Instant::now() + BEAT;
                }
            }
        }
    }

    /// Both say how they stand.
    fn beat(&mut self, reader: &mut Reader, beats: &mut Beats) -> Result<(), LinkError> {
        let (state, number) = (self.state, self.number);
        let ours = state.standing();
        let message = SyncMessage::Beat(ours.clone());
        let reply = ask(reader, &message.to_frame(), ANSWER)?;
        let theirs = Standing::from_reply(reply)?;
        state.neighbours.link_stands(number, theirs.clone());
        if beats.differ(ours, theirs) {
            log::warn!(target: "sync", "tracker {number} has other facts: it is told all of ours");
            self.catch_up(reader, Versions::default())?;
        }
        Ok(())
    }

    /// Tells what is in the file and is not known to whoever has heard `theirs`.
    fn catch_up(&mut self, reader: &mut Reader, theirs: Versions) -> Result<(), LinkError> {
        let state = self.state;
        // First we listen, then we look: what is committed in between is told twice, not never.
        state.neighbours.link_reads(self.number);
        let ours = state.known.versions();
        let mut told = theirs;
        while told.lacks(&ours) {
            let batch = state.store.after(told.clone(), ours.clone());
            let batch = batch.filter(|batch| !batch.is_empty());
            let batch = batch.ok_or(LinkError::Store)?;
            self.tell(reader, &batch)?;
            told.merge(&batch.versions);
        }
        state.neighbours.link_has_read(self.number, &told);
        Ok(())
    }

    fn tell(&mut self, reader: &mut Reader, batch: &Batch) -> Result<(), LinkError> {
        self.told += 1;
        let number = self.told;
        let body = batch.encode();
        let frame = SyncMessage::Facts { number, body }.to_frame();
        let (words, _) = ask(reader, &frame, COMMIT)?.into_ok()?;
        if words != [number.to_string()] {
            return Err(ReplyError::Unexpected("the number of the facts was expected").into());
        }
        Ok(())
    }
}

/// Says something and waits for the answer.
fn ask(reader: &mut Reader, frame: &Frame, time: Duration) -> Result<Reply, LinkError> {
    let channel = reader.get_mut();
    channel.set_patience(time);
    channel.set_deadline(Some(Instant::now() + time));
    channel.write_all(&frame.encode()?)?;
    let frame = read_frame(reader)?.ok_or(LinkError::Ended)?;
    Ok(Reply::parse(frame)?)
}

/// Everything that a neighbour must hear whose swarms are empty.
fn everything_soft(state: &State) -> impl Iterator<Item = Soft> {
    let shares = state.all_shares();
    let swarms = state.all_swarms();
    let share = |line: ShareLine| Soft {
        shares: [(line.name.clone(), line)].into(),
        ..Soft::default()
    };
    let lines = swarms.chunks(MAX_SWARM_LINES).map(|lines| Soft {
        swarms: lines
            .iter()
            .map(|line| ((line.public, line.info_hash, line.address), line.clone()))
            .collect(),
        ..Soft::default()
    });
    let lines: Vec<Soft> = lines.collect();
    lines.into_iter().chain(shares.into_iter().map(share))
}

fn tell_soft(reader: &mut Reader, soft: Soft) -> Result<(), LinkError> {
    if !soft.swarms.is_empty() {
        let lines = soft.swarms.into_values().collect();
        let frame = SyncMessage::Swarms(lines).to_frame();
        ask(reader, &frame, ANSWER)?.into_ok()?;
    }
    if !soft.shares.is_empty() {
        let lines = soft.shares.into_values().collect();
        let frame = SyncMessage::Shares(lines).to_frame();
        ask(reader, &frame, ANSWER)?.into_ok()?;
    }
    Ok(())
}

/// How both stood at the last beats.
#[derive(Default)]
struct Beats {
    last: Option<(Standing, Standing)>,
    different: u32,
}

impl Beats {
    /// True if both have stood still for some beats, and differ.
    fn differ(&mut self, ours: Standing, theirs: Standing) -> bool {
        let now = (ours, theirs);
        let still = self.last.as_ref() == Some(&now) && now.0.digest != now.1.digest;
        self.different = if still { self.different + 1 } else { 0 };
        self.last = Some(now);
        let differ = self.different >= MAX_DIFFERENT;
        if differ {
            *self = Beats::default();
        }
        differ
    }
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "it does not answer".into(),
        io::ErrorKind::ConnectionRefused => "nobody listens there".into(),
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionAborted => "the connection has ended".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stands_still_and_differs_is_told_everything_again() {
        let standing = |digest: &str| Standing {
            facts: 1,
            digest: digest.into(),
        };
        let mut beats = Beats::default();
        let mut beat = |ours: &str, theirs: &str| beats.differ(standing(ours), standing(theirs));
        for _ in 0..20 {
            assert!(!beat("a", "a"));
        }
        for i in 0..20 {
            assert!(!beat("a", &i.to_string()), "it moves");
        }
        assert!(!beat("a", "b"));
        let last = (1..=MAX_DIFFERENT)
            .map(|_| beat("a", "b"))
            .collect::<Vec<_>>();
        assert_eq!(last.iter().position(|differ| *differ), Some(last.len() - 1));
    }
}
