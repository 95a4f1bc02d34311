//! Rank R: a peer that shares what `in<R>.txt` says and fetches what it wants.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, select, tick, unbounded};

use crate::control::muster::{Choice, Step, peer_id};
use crate::control::names::{FileName, GroupName, NameError};
use crate::control::reply::{Code, Download, ReplyError};
use crate::control::request::{Request, Upload};
use crate::control::tracker_info::TrackerAddress;
use crate::peer::batch::{Batch, Note, Noted};
use crate::peer::view::{News, Status, TorrentView};
use crate::peer::{Config, Peer, PeerError};
use crate::shell::interrupt::Interrupt;
use crate::shell::screen::{complain, say};
use crate::storage::patience::Patience;
use crate::storage::rename_for_now;
use crate::storage::resume::{Share, Sources};
use crate::torrent::metainfo::Metainfo;

use super::input::{self, Input};
use super::link::{Link, LinkError};
use super::meeting;
use super::outputs;
use super::owned::{self, Torrent};
use super::rank::Rank;
use super::scratch::Scratch;
use super::trace::{Entry, Event};
use super::{BatchError, Options, io_error, is_traced, job, write_trace};

/// How often it is looked whether the tracker has gone, or nothing comes.
const GLANCE: Duration = Duration::from_millis(100);
/// A client that gets nothing for so long gives up what is missing.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many files a client fetches at once: each takes connections, and those take threads.
const AT_ONCE: usize = 2;
/// Nobody waits for a slot: pieces are small, and a run is short.
const SLOTS: usize = usize::MAX;

/// Runs the client to the end of the run.
pub fn run(options: &Options, rank: &Rank, interrupt: &Arc<Interrupt>) -> Result<(), BatchError> {
    // First of all: if it fails from here on, the others know it at once.
    let stop = interrupt.stop();
    let link = meeting::join(options, rank, &stop)?;
    let result = take_part(options, rank, interrupt, link);
    match result {
        Err(_) if interrupt.came() => Err(BatchError::Interrupted),
        result => result,
    }
}

fn take_part(
    options: &Options,
    rank: &Rank,
    interrupt: &Interrupt,
    link: Link,
) -> Result<(), BatchError> {
    let since = Instant::now();
    let input = input::read(&options.folder.join(input::file_name(rank.rank)))?;
    let scratch = Scratch::new(&options.folder, job(rank), &rank.rank.to_string())?;
    let (notes, noted) = unbounded();
    let batch = Batch {
        peer_id: peer_id(rank.rank as u32),
        notes: is_traced(options).then_some(notes),
    };
    let tracker = TrackerAddress {
        host: link.tracker.ip().to_string(),
        port: link.tracker.port(),
        key: None,
    };
    // Whoever finds the tracker on this machine finds the peers there, too.
    let ip = match link.tracker.ip().is_loopback() {
        true => Ipv4Addr::LOCALHOST,
        false => Ipv4Addr::UNSPECIFIED,
    };
    let (peer, _) = Peer::start(Config {
        slots: SLOTS,
        batch: Some(batch),
        ..Config::new((ip, 0).into(), vec![tracker], &scratch.path)
    })?;
    let mut client = Client {
        options,
        rank,
        interrupt,
        link,
        peer,
        scratch,
        trace: Vec::new(),
        had: BTreeMap::new(),
    };
    client.note_start()?;
    client.share(&input)?;
    let missing = client.fetch(&input.wanted)?;
    let over = client.link.wait(Step::Finished).map_err(client.ended());
    // What has come is right, whatever became of the others.
    client.finish(&input.wanted, &noted)?;
    over?;
    let wanted = input.wanted.len();
    if missing > 0 {
        return Err(BatchError::Missing { missing, wanted });
    }
    let number = rank.rank;
    let time = since.elapsed().as_secs_f64();
    say!("client {number} has all that it wants, files: {wanted} ({time:.2} s)");
    Ok(())
}

struct Client<'a> {
    options: &'a Options,
    rank: &'a Rank,
    interrupt: &'a Interrupt,
    link: Link,
    peer: Peer,
    /// Where downloads lie until the run is over.
    scratch: Scratch,
    trace: Vec<Entry>,
    /// What has come, and where it lies.
    had: BTreeMap<String, PathBuf>,
}

impl Client<'_> {
    fn complain(&self, what: impl std::fmt::Display) {
        complain(&format!("client {}: {what}", self.rank.rank));
    }

    /// What an error of the link means for the run.
    fn ended(&self) -> impl Fn(LinkError) -> BatchError + use<> {
        |error| match error {
            error if error.is_stop() => BatchError::Interrupted,
            error => error.into(),
        }
    }

    fn note_start(&mut self) -> Result<(), BatchError> {
        let ip = self.link.own_ip()?;
        let address = SocketAddr::new(ip, self.peer.local_addr().port());
        let rank = self.rank.rank;
        self.trace.push(Entry::now(Event::Start { rank, address }));
        Ok(())
    }

    /// Offers what is owned, and shares what of it was chosen.
    fn share(&mut self, input: &Input) -> Result<(), BatchError> {
        let mut owned = Vec::new();
        for file in &input.owned {
            let torrent = owned::torrent(&self.peer, &self.options.folder, file, self.interrupt)?;
            let name = file_name(&file.name)?;
            let info_hash = torrent.metainfo.info_hash;
            let offer = Request::BatchOffer {
                name: name.clone(),
                info_hash,
            };
            self.link.ask(&offer)?;
            owned.push((name, torrent));
        }
        let choices = self.link.choices().map_err(self.ended())?;
        let choice = |name: &FileName| choices.iter().find(|choice| choice.name == *name);
        for (name, torrent) in owned {
            match choice(&name) {
                Some(chosen) if chosen.info_hash != torrent.metainfo.info_hash => {
                    let Choice { rank, .. } = chosen;
                    self.complain(format!(
                        "its `{name}` is not used: client {rank} owns other content of that name, \
                         which everybody gets"
                    ));
                }
                _ => self.upload(name, torrent)?,
            }
        }
        self.link.wait(Step::Shared).map_err(self.ended())?;
        Ok(())
    }

    fn upload(&mut self, name: FileName, torrent: Torrent) -> Result<(), BatchError> {
        let upload = Upload {
            group: GroupName::public(),
            name: name.clone(),
            metainfo: Metainfo::clone(&torrent.metainfo),
            holder: self.peer.holder(),
            // The pieces' own hashes are enough: nobody compares copies by eye.
            sha256: None,
        };
        let upload = Request::UploadFile(Box::new(upload));
        self.link.ask(&upload)?;
        let (share, tracker) = (Some(Share::public(name)), Some(self.link.tracker));
        self.peer
            .seed(torrent.metainfo, torrent.storage, share, tracker)?;
        Ok(())
    }

    /// Fetches what is wanted, some files at once. How many could not be had: why, is told here.
    fn fetch(&mut self, wanted: &[String]) -> Result<usize, BatchError> {
        let mut to_begin = wanted.iter();
        let (mut under_way, mut missing) = (Vec::new(), 0);
        let news = self.peer.news().clone();
        let glance = tick(GLANCE);
        let (mut bytes, mut since) = (0, Instant::now());
        loop {
            while under_way.len() < AT_ONCE
                && let Some(name) = to_begin.next()
            {
                match self.begin(name)? {
                    true => under_way.push(name.clone()),
                    false => missing += 1,
                }
            }
            if under_way.is_empty() {
                return Ok(missing);
            }
            select! {
                recv(news) -> news => match news {
                    Ok(News::Completed { name, path, .. }) => {
                        under_way.retain(|wanted| *wanted != name);
                        let file = name.clone();
                        self.trace.push(Entry::now(Event::Finished { file }));
                        self.had.insert(name, path);
                    }
                    Ok(News::Stopped { name, reason, .. }) => {
                        self.complain(format!("`{name}` stopped: {reason}"));
                    }
                    Ok(News::Notice(notice)) => self.complain(notice),
                    Ok(News::Group(_)) => {}
                    Err(_) => return Err(PeerError::Stopped.into()),
                },
                recv(self.interrupt.receiver()) -> _ => return Err(BatchError::Interrupted),
                recv(glance) -> _ => {
                    if self.link.is_over() {
                        return Err(LinkError::Gone.into());
                    }
                    let torrents = self.peer.torrents()?;
                    let have = torrents.iter().map(|torrent| torrent.have).sum();
                    if have > bytes {
                        (bytes, since) = (have, Instant::now());
                    }
                    let waited = since.elapsed();
                    under_way.retain(|name| {
                        let goes_on = self.goes_on(name, &torrents, waited);
                        missing += usize::from(!goes_on);
                        goes_on
                    });
                }
            }
        }
    }

    /// Whether a file may still come. If not, it is told why.
    fn goes_on(&self, name: &str, torrents: &[TorrentView], waited: Duration) -> bool {
        let torrent = torrents.iter().find(|torrent| torrent.name == name);
        let Some(torrent) = torrent else {
            return true;
        };
        if let Status::Stopped { .. } = torrent.status {
            // The peer has said why.
            return false;
        }
        if waited >= PATIENCE {
            let (have, size, seconds) = (torrent.have, torrent.size, waited.as_secs());
            self.complain(format!(
                "gives up `{name}`: for {seconds} s nobody gave more than {have} of its {size} bytes"
            ));
        }
        waited < PATIENCE
    }

    /// Begins to fetch a file. False if nobody owns it.
    fn begin(&mut self, name: &str) -> Result<bool, BatchError> {
        let file = file_name(name)?;
        let ask = Request::DownloadFile {
            group: GroupName::public(),
            name: file.clone(),
        };
        let reply = match self.link.ask(&ask) {
            Err(LinkError::Refused(ReplyError::Refused {
                code: Code::NotFound,
                ..
            })) => {
                self.complain(format!("nobody owns `{name}`, which it wants"));
                return Ok(false);
            }
            answer => answer?,
        };
        let (metainfo, _) = Download::from_reply(reply).map_err(LinkError::from)?;
        let target = self.scratch.path.join(name);
        let share = Some(Share::public(file));
        self.peer
            .download(Arc::new(metainfo), &target, share, Sources::Anyone, &|| {
                false
            })?;
        Ok(true)
    }

    /// The run is over: writes the trace, ends the peer, and gives the files their names. Only a new
    /// file takes the place of an old one: what is there may be all that somebody has.
    fn finish(mut self, wanted: &[String], noted: &Receiver<Note>) -> Result<(), BatchError> {
        self.trace.push(Entry::now(Event::Stop));
        if is_traced(self.options) {
            self.trace.append(&mut self.link.told);
            self.trace.extend(noted.try_iter().map(entry));
            write_trace(self.options, self.rank, &mut self.trace)?;
        }
        self.peer.stop();
        for name in wanted {
            let output = outputs::path(&self.options.folder, self.rank.rank, name);
            if let Some(path) = self.had.get(name) {
                rename_for_now(path, &output, &Patience::default())
                    .map_err(io_error("write", &output))?;
            } else if output.exists() {
                let output = output.display();
                self.complain(format!("{output} is not of this run, but was there before"));
            }
        }
        Ok(())
    }
}

fn entry(note: Note) -> Entry {
    let event = match note.what {
        Noted::Told(line) => Event::Told { line },
        Noted::Piece {
            file,
            index,
            pieces,
            from,
            bytes,
        } => Event::Piece {
            file,
            index,
            pieces,
            from,
            bytes,
        },
    };
    Entry::at(note.at, event)
}

/// A name as the tracker takes it.
fn file_name(name: &str) -> Result<FileName, BatchError> {
    name.parse()
        .map_err(|error: NameError| BatchError::Ended(format!("`{name}` {error}")))
}
