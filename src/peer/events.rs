//! The thread `events`: hears from the tracker what happens in the user's groups.
//!
//! It keeps a connection that `subscribe` has turned into a stream of news, as long as somebody
//! is logged in. A stream that breaks is taken up again where it ended, so that nothing is missed
//! or told twice.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::Sender;

use crate::control::names::UserName;
use crate::control::news::NewsLine;
use crate::control::stamp::Stamp;
use crate::control::tracker_info::TrackerAddress;
use crate::runtime::stop::Stop;
use crate::runtime::threads;

use super::account::{Account, Login};
use super::tracker_link::{LinkError, TrackerLink};
use super::view::News;

/// The pauses between two attempts to find a tracker, doubled from one to the next.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The running thread. Dropping it closes the account, which ends it.
pub struct Events {
    account: Arc<Account>,
    thread: Option<JoinHandle<()>>,
}

impl Events {
    pub fn start(
        trackers: Vec<TrackerAddress>,
        account: Arc<Account>,
        news: Sender<News>,
    ) -> io::Result<Events> {
        let for_thread = account.clone();
        let run = move || run(trackers, &for_thread, &news);
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

fn run(trackers: Vec<TrackerAddress>, account: &Arc<Account>, news: &Sender<News>) {
    let mut link = TrackerLink::new(trackers, account.clone(), Stop::new());
    // How far each user has been told.
    let mut told: HashMap<UserName, Stamp> = HashMap::new();
    let mut pause = FIRST_PAUSE;
    while let Some(login) = account.wait_for_login() {
        link.set_stop(login.end.clone());
        match listen(&mut link, &login, &mut told, news) {
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
    told: &mut HashMap<UserName, Stamp>,
    news: &Sender<News>,
) -> Result<(), LinkError> {
    let since = told.get(&login.user).copied();
    link.subscribe(since)?;
    loop {
        match link.next_news() {
            Ok(NewsLine::Ping) => {}
            Ok(NewsLine::News { cursor, news: item }) => {
                told.insert(login.user.clone(), cursor);
                // The user may have gone while it came.
                if !login.end.is_requested() && news.send(News::Group(item)).is_err() {
                    return Ok(());
                }
            }
            Err(error) => {
                log::debug!(target: "tracker", "the stream of news broke: {error}");
                return Ok(());
            }
        }
    }
}
