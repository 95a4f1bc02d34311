//! The thread `events`: hears from the tracker what happens in the user's groups.
//!
//! It keeps a connection that `subscribe` has turned into a stream of news, as long as somebody
//! is logged in. A stream that breaks is taken up again where it ended, at the next tracker if its
//! own is gone, so that nothing is missed or told twice.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::Sender;

use crate::control::names::UserName;
use crate::control::news::{self, NewsLine};
use crate::control::stamp::Stamp;
use crate::runtime::stop::Stop;
use crate::runtime::threads;

use super::account::{Account, Login};
use super::engine::{Command, Input};
use super::tracker_link::{Contacts, LinkError, TrackerLink};
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
    pub fn start(contacts: Contacts, told: Told) -> io::Result<Events> {
        let account = contacts.account.clone();
        let run = move || run(contacts, &told);
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

fn run(contacts: Contacts, told: &Told) {
    let account = contacts.account.clone();
    let mut link = TrackerLink::new(contacts, Stop::new());
    // How far each user has been told.
    let mut cursors: HashMap<UserName, Stamp> = HashMap::new();
    let mut pause = FIRST_PAUSE;
    while let Some(login) = account.wait_for_login() {
        link.set_stop(login.end.clone());
        match listen(&mut link, &login, &mut cursors, told) {
            Ok(()) => pause = FIRST_PAUSE,
            Err(error) => {
                log::debug!(target: "tracker", "no news: {error}");
                login.end.sleep(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Passes on what comes, until the stream breaks. An error if there was no stream.
fn listen(
    link: &mut TrackerLink,
    login: &Login,
    cursors: &mut HashMap<UserName, Stamp>,
    told: &Told,
) -> Result<(), LinkError> {
    let since = cursors.get(&login.user).copied();
    let begin = link.subscribe(since)?;
    if let (None, Some(begin)) = (since, begin) {
        cursors.insert(login.user.clone(), begin);
    }
    loop {
        match link.next_news() {
            Ok(NewsLine::Ping) => {}
            Ok(NewsLine::News { cursor, news: item }) => {
                // The user may have gone while it came: it is told after the next login.
                if login.end.is_requested() {
                    return Ok(());
                }
                cursors.insert(login.user.clone(), cursor);
                if let news::News::Accepted { .. } = item {
                    let ask = Input::Command(Command::AskForTickets);
                    // The engine is gone only when everything ends.
                    let _ = told.engine.send(ask);
                }
                let _ = told.people.send(News::Group(item));
            }
            Err(error) => {
                log::debug!(target: "tracker", "the stream of news broke: {error}");
                return Ok(());
            }
        }
    }
}
