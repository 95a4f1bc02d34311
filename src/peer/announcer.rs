//! Talking to trackers: our own by control lines, other people's by HTTP.
//!
//! | thread | does |
//! |---|---|
//! | `announce` | announces, publishes, answers and fetches tickets at our tracker, one request after another; between them it looks whether a better tracker has come back |
//! | `http-N` | announces at the HTTP trackers that torrents name |
//!
//! When to announce is the engine's to say; here is only the doing, because it may block.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, after, bounded, never, select, unbounded};

use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{
    ConnectProxyConnector, Connector, RustlsConnector, TcpConnector,
};

use crate::announce::request::AnnounceRequest;
use crate::announce::response::AnnounceResponse;
use crate::control::names::{GroupName, UserName};
use crate::control::reply::{Code, IssuedTicket, ReplyError, Uploaded, announce_from_reply};
use crate::control::request::{Request, Upload};
use crate::runtime::stop::Stop;
use crate::runtime::threads;
use crate::torrent::id::InfoHash;

use super::engine::Input;
use super::stoppable::StoppableConnector;
use super::tracker_link::{Contacts, LinkError, TrackerLink};

const HTTP_THREADS: usize = 2;
/// How long an HTTP tracker may take to accept a connection (which cannot be cut short when the
/// program ends), and to answer in all.
const HTTP_CONNECT: Duration = Duration::from_millis(1500);
const HTTP_ANSWER: Duration = Duration::from_secs(10);
/// The longest answer that is read from an HTTP tracker, in bytes: more peers than we take.
const MAX_ANSWER: u64 = 1024 * 1024;

/// Answers that may wait for our tracker: each may hold a whole torrent, and nobody waits long for
/// one.
const MAX_ANSWERS: usize = 64;

/// An answer that waits has a copy: so they are counted.
type Waiting = Arc<()>;

/// Whom to ask.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Tracker {
    /// The first living one of tracker_info.txt.
    Ours,
    Http(String),
}

/// What a tracker answered.
#[derive(Debug)]
pub struct Announced {
    pub info_hash: InfoHash,
    pub tracker: Tracker,
    pub result: Result<AnnounceResponse, AnnounceFailure>,
    /// Our tracker's: how many connections have been made. A new one may know nothing of us.
    pub connections: u64,
    /// Where our tracker is.
    pub at: Option<SocketAddr>,
}

#[derive(Debug, thiserror::Error)]
pub enum AnnounceFailure {
    #[error("{0}")]
    Unreachable(String),
    #[error("{0}")]
    Refused(String),
}

/// What our tracker answered when it was asked for a ticket.
#[derive(Debug)]
pub struct TicketAnswer {
    pub group: GroupName,
    /// Who was logged in when it was asked for.
    pub user: UserName,
    pub result: Result<IssuedTicket, TicketFailure>,
}

#[derive(Debug)]
pub enum TicketFailure {
    /// The user is no member, or there is no such group.
    NotMember(String),
    /// The tracker cannot be reached, or cannot say.
    Tracker(String),
}

enum Job {
    Announce {
        request: AnnounceRequest,
        tracker: Tracker,
        /// Of a group's torrent. Only our tracker hears of it.
        group: Option<GroupName>,
    },
    Publish(Box<Upload>),
    /// What our tracker has asked for: `have`, `hashing` or `have_not`.
    Answer(Request, Waiting),
    Ticket {
        group: GroupName,
        user: UserName,
    },
}

pub struct Announcer {
    ours: Option<Sender<Job>>,
    waiting: Waiting,
    http: Option<Sender<Job>>,
    stop: Stop,
    threads: Vec<JoinHandle<()>>,
    /// Closed when the last thread has ended.
    ended: Receiver<()>,
}

impl Announcer {
    pub fn start(contacts: Contacts, engine: &Sender<Input>) -> io::Result<Announcer> {
        let stop = Stop::new();
        let agent = http_agent(stop.clone());
        let (ours, our_jobs) = unbounded();
        let (http, http_jobs) = unbounded();
        let (end, ended) = bounded::<()>(0);
        let mut announcer = Announcer {
            ours: Some(ours),
            waiting: Waiting::default(),
            http: Some(http),
            stop: stop.clone(),
            threads: Vec::new(),
            ended,
        };
        let (to_engine, end_of_ours) = (engine.clone(), end.clone());
        announcer
            .threads
            .push(threads::spawn("announce", None, move || {
                let link = TrackerLink::new(contacts, stop);
                serve_ours(link, &our_jobs, &to_engine);
                drop(end_of_ours);
            })?);
        for i in 0..HTTP_THREADS {
            let (jobs, to_engine, end) = (http_jobs.clone(), engine.clone(), end.clone());
            let (agent, stop) = (agent.clone(), announcer.stop.clone());
            announcer
                .threads
                .push(threads::spawn(&format!("http-{i}"), None, move || {
                    for job in jobs.iter().take_while(|_| !stop.is_requested()) {
                        ask_http(&agent, job, &to_engine);
                    }
                    drop(end);
                })?);
        }
        Ok(announcer)
    }

    pub fn announce(&self, tracker: Tracker, request: AnnounceRequest, group: Option<GroupName>) {
        let jobs = match tracker {
            Tracker::Ours => &self.ours,
            Tracker::Http(_) => &self.http,
        };
        if let Some(jobs) = jobs {
            // The threads wait as long as there is a sender.
            let _ = jobs.send(Job::Announce {
                request,
                tracker,
                group,
            });
        }
    }

    /// Asks our tracker for a ticket, for who is logged in.
    pub fn ticket(&self, group: GroupName, user: UserName) {
        if let Some(jobs) = &self.ours {
            let _ = jobs.send(Job::Ticket { group, user });
        }
    }

    /// Offers a torrent to a group at our tracker.
    pub fn publish(&self, upload: Upload) {
        if let Some(jobs) = &self.ours {
            let _ = jobs.send(Job::Publish(Box::new(upload)));
        }
    }

    /// Answers a question of our tracker, unless too many answers wait already.
    pub fn answer(&self, answer: Request) {
        if Arc::strong_count(&self.waiting) > MAX_ANSWERS {
            log::info!(target: "tracker", "too many questions at once: one is not answered");
        } else if let Some(jobs) = &self.ours {
            let _ = jobs.send(Job::Answer(answer, self.waiting.clone()));
        }
    }

    /// Finishes what is queued, but no longer than `patience`, whatever the trackers do.
    pub fn finish(mut self, patience: Duration) {
        self.ours = None;
        self.http = None;
        // Nothing is ever sent: it ends with the last thread, or with our patience.
        let _ = self.ended.recv_timeout(patience);
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        self.ours = None;
        self.http = None;
        self.stop.request();
        self.threads.drain(..).for_each(|thread| {
            threads::join(thread);
        });
    }
}

/// What speaks with HTTP trackers, until the stop.
fn http_agent(stop: Stop) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .timeout_connect(Some(HTTP_CONNECT))
        .timeout_global(Some(HTTP_ANSWER))
        .user_agent(concat!("mini-bittorrent/", env!("CARGO_PKG_VERSION")))
        .build();
    let connector =
        ().chain(ConnectProxyConnector::default())
            .chain(TcpConnector::default())
            .chain(StoppableConnector(stop))
            .chain(RustlsConnector::default());
    ureq::Agent::with_parts(config, connector, DefaultResolver::default())
}

/// Does what is asked for, until nobody can ask any more. In between it keeps the link with the
/// tracker that is used, and tells the engine of a new connection: its tracker may not know us.
fn serve_ours(mut link: TrackerLink, jobs: &Receiver<Job>, engine: &Sender<Input>) {
    let changed = link.trackers().changed().clone();
    loop {
        let connections = link.connections();
        let look = link.next_look().map_or_else(never, after);
        select! {
            recv(jobs) -> job => match job {
                Ok(job) => ask_ours(&mut link, job, engine),
                Err(_) => return,
            },
            recv(changed) -> _ => link.look(),
            recv(look) -> _ => link.look(),
        }
        if link.connections() != connections {
            // The engine is gone only when everything ends.
            let _ = engine.send(Input::NewTracker {
                connections: link.connections(),
            });
        }
    }
}

fn ask_ours(link: &mut TrackerLink, job: Job, engine: &Sender<Input>) {
    match job {
        Job::Announce {
            request,
            tracker,
            group,
        } => {
            let info_hash = request.info_hash;
            let result = link
                .request(&Request::Announce {
                    announce: request,
                    group,
                })
                .and_then(|reply| announce_from_reply(reply).map_err(LinkError::Refused))
                .map_err(AnnounceFailure::from);
            let connections = link.connections();
            let announced = Announced {
                info_hash,
                tracker,
                result,
                connections,
                at: link.address(),
            };
            let _ = engine.send(Input::Announced(announced));
        }
        Job::Publish(upload) => {
            let name = upload.name.clone();
            let result = link
                .request(&Request::UploadFile(upload))
                .and_then(|reply| Uploaded::from_reply(reply).map_err(LinkError::Refused));
            if let Err(error) = result {
                log::warn!(target: "tracker", "{} could not be offered: {error}", name.as_str());
            }
        }
        Job::Answer(answer, _waiting) => {
            // Late, or to another tracker than the one that has asked: nobody waits for it.
            if let Err(error) = link.request(&answer).and_then(|reply| Ok(reply.into_ok()?)) {
                log::debug!(target: "tracker", "an answer was not taken: {error}");
            }
        }
        Job::Ticket { group, user } => {
            let request = Request::Ticket {
                group: group.clone(),
            };
            let result = link
                .request(&request)
                .and_then(|reply| IssuedTicket::from_reply(reply).map_err(LinkError::Refused))
                .map_err(TicketFailure::from);
            let _ = engine.send(Input::Ticket(TicketAnswer {
                group,
                user,
                result,
            }));
        }
    }
}

impl From<LinkError> for AnnounceFailure {
    fn from(error: LinkError) -> Self {
        if error.is_unreachable() {
            AnnounceFailure::Unreachable(error.to_string())
        } else {
            AnnounceFailure::Refused(error.to_string())
        }
    }
}

impl From<LinkError> for TicketFailure {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Refused(ReplyError::Refused {
                code: Code::Denied | Code::NotFound,
                sentence,
            }) => TicketFailure::NotMember(sentence),
            error => TicketFailure::Tracker(error.to_string()),
        }
    }
}

fn ask_http(agent: &ureq::Agent, job: Job, engine: &Sender<Input>) {
    let Job::Announce {
        request,
        tracker: Tracker::Http(url),
        group: None,
    } = job
    else {
        return;
    };
    let result = announce_over_http(agent, &request, &url);
    let tracker = Tracker::Http(url);
    let announced = Announced {
        info_hash: request.info_hash,
        tracker,
        result,
        connections: 0,
        at: None,
    };
    let _ = engine.send(Input::Announced(announced));
}

fn announce_over_http(
    agent: &ureq::Agent,
    request: &AnnounceRequest,
    url: &str,
) -> Result<AnnounceResponse, AnnounceFailure> {
    let unreachable =
        |error: ureq::Error| AnnounceFailure::Unreachable(format!("no answer from {url}: {error}"));
    let mut answer = agent.get(request.to_url(url)).call().map_err(unreachable)?;
    let body = answer
        .body_mut()
        .with_config()
        .limit(MAX_ANSWER)
        .read_to_vec();
    let body = body.map_err(unreachable)?;
    AnnounceResponse::decode(&body)
        .map_err(|error| AnnounceFailure::Refused(format!("{url}: {error}")))
}

/// Which trackers of a torrent we can talk to.
pub fn http_trackers(tiers: &[Vec<String>]) -> impl Iterator<Item = Tracker> + '_ {
    let is_http = |url: &&String| url.starts_with("http://") || url.starts_with("https://");
    tiers
        .iter()
        .flatten()
        .filter(is_http)
        .cloned()
        .map(Tracker::Http)
}
