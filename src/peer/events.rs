//! The thread `events`: hears from the tracker what happens in the user's groups, and which files
//! are asked for; and at whom we are asked to knock.
//!
//! It keeps a connection that `subscribe` has turned into a stream, at the tracker that is used; a
//! login or logout begins another one. A stream that breaks is taken up again where it ended, at
//! the next tracker if its own is gone, so that no news are missed or told twice. A question that
//! is missed is lost: its asker waits no longer than two seconds.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use crate::control::names::UserName;
use crate::control::news::{self, NewsLine};
use crate::control::stamp::Stamp;
use crate::runtime::stop::Stop;
use crate::runtime::threads;

use super::account::{Account, Presence};
use super::engine::{Command, Input};
use super::knocker::{Knocker, Wanted};
use super::tracker_link::{Contacts, LinkError, TrackerLink};
use super::upload_folder::Asked;
use super::view::News;

/// The pauses between two attempts to find a tracker, doubled from one to the next.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Who is told.
pub struct Told {
    pub people: Sender<News>,
    pub engine: Sender<Input>,
}

/// The running thread. Dropping it closes the account, which ends it.
pub struct Events {
    account: Arc<Account>,
    thread: Option<JoinHandle<()>>,
}

impl Events {
    pub fn start(contacts: Contacts, told: Told, knocker: Knocker) -> io::Result<Events> {
        let account = contacts.account.clone();
        let run = move || run(contacts, &told, knocker);
        Ok(Events {
            account,
            thread: Some(threads::spawn("events", None, run)?),
        })
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.account.close();
        if let Some(thread) = self.thread.take() {
            threads::join(thread);
        }
    }
}

fn run(contacts: Contacts, told: &Told, mut knocker: Knocker) {
    let account = contacts.account.clone();
    let mut link = TrackerLink::new(contacts, Stop::new());
    // How far each user has been told.
    let mut cursors: HashMap<UserName, Stamp> = HashMap::new();
    let mut pause = FIRST_PAUSE;
    while let Some(presence) = account.presence() {
        link.set_stop(presence.end.clone());
        match listen(&mut link, &presence, &mut cursors, told, &mut knocker) {
            Ok(()) => pause = FIRST_PAUSE,
            Err(error) => {
                log::debug!(target: "tracker", "no news: {error}");
                rest(&link, &presence.end, pause, &error);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Waits; if no tracker answers, no longer than until another connection has found one.
fn rest(link: &TrackerLink, end: &Stop, pause: Duration, why: &LinkError) {
    let until = Instant::now() + pause;
    let found = || why.is_unreachable() && link.trackers().used().is_some();
    while !end.sleep(FIRST_PAUSE) && Instant::now() < until && !found() {}
}

/// Passes on what comes, until the stream breaks. An error if there was no stream.
fn listen(
    link: &mut TrackerLink,
    presence: &Presence,
    cursors: &mut HashMap<UserName, Stamp>,
    told: &Told,
    knocker: &mut Knocker,
) -> Result<(), LinkError> {
    let since = presence.user.as_ref().and_then(|user| cursors.get(user));
    let since = since.copied();
    let begin = link.subscribe(since)?;
    if let (None, Some(begin), Some(user)) = (since, begin, &presence.user) {
        cursors.insert(user.clone(), begin);
    }
    loop {
        let line = match link.next_news() {
            Ok(line) => line,
            Err(error) => {
                log::debug!(target: "tracker", "the stream of news broke: {error}");
                return Ok(());
            }
        };
        // The engine is gone only when everything ends.
        match line {
            NewsLine::Ping => {}
            NewsLine::Who { question, file } => {
                let _ = told.engine.send(Input::Asked(Asked { question, file }));
            }
            NewsLine::Knock {
                question,
                address,
                info_hash,
            } => {
                let wanted = Wanted {
                    question,
                    address,
                    info_hash,
                };
                if let (Some(tracker), Some(at)) = (link.tracker(), link.address()) {
                    knocker.knock(tracker.clone(), at, wanted, &presence.end);
                }
            }
            NewsLine::News { cursor, news: item } => {
                // The user may have gone while it came: it is told after the next login.
                if presence.end.is_requested() {
                    return Ok(());
                }
                let Some(user) = &presence.user else {
                    continue;
                };
                cursors.insert(user.clone(), cursor);
                if let news::News::Accepted { .. } = item {
                    let ask = Input::Command(Command::AskForTickets);
                    let _ = told.engine.send(ask);
                }
                let _ = told.people.send(News::Group(item));
            }
        }
    }
}
