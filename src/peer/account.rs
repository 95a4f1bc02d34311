//! Who is logged in at this peer: one value, shared by every connection to our trackers.
//!
//! The password is not kept: a tracker's token stands for it, on other connections, with other
//! trackers and after a tracker's restart. Not here: tickets, which let us into groups.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::control::key::PeerKey;
use crate::control::names::UserName;
use crate::control::reply::LoggedIn;
use crate::runtime::stop::Stop;
use crate::runtime::stream::Stream;

/// Connections compare the login that they made with the one that counts now.
pub struct Account {
    /// The key by which other peers of our groups know us.
    pub peer_key: PeerKey,
    state: Mutex<State>,
    /// Told when there is a stream on which trackers speak.
    heard: Condvar,
}

#[derive(Default)]
struct State {
    login: Option<Login>,
    /// How many logins there have been.
    logins: u64,
    /// Requested when another user is logged in, or nobody any more.
    end: Stop,
    /// The stream on which trackers speak. Closed then, so that nobody waits for its next look at
    /// `end`: what happens between two streams is told on neither.
    stream: Option<Stream>,
    /// The peer ends.
    closed: bool,
}

/// A user who is logged in.
#[derive(Clone)]
pub struct Login {
    pub user: UserName,
    /// Understood by trackers only.
    pub token: String,
    /// The how manieth login it is.
    pub number: u64,
}

/// Who is logged in for now, if anybody is.
#[derive(Clone)]
pub struct Presence {
    pub user: Option<UserName>,
    /// Requested when that changes, or the peer ends.
    pub end: Stop,
}

impl Account {
    pub fn new(peer_key: PeerKey) -> Account {
        Account {
            peer_key,
            state: Mutex::default(),
            heard: Condvar::new(),
        }
    }

    pub fn login(&self) -> Option<Login> {
        self.state.lock().login.clone()
    }

    pub fn user(&self) -> Option<UserName> {
        let state = self.state.lock();
        state.login.as_ref().map(|login| login.user.clone())
    }

    /// Who is here, until when; `None` once the account is closed.
    pub fn presence(&self) -> Option<Presence> {
        let state = self.state.lock();
        (!state.closed).then(|| Presence {
            user: state.login.as_ref().map(|login| login.user.clone()),
            end: state.end.clone(),
        })
    }

    /// A tracker has let a user in. Returns the number of the login.
    pub fn log_in(&self, answer: &LoggedIn) -> u64 {
        let mut state = self.state.lock();
        state.logins += 1;
        let login = Login {
            user: answer.user.clone(),
            token: answer.token.clone(),
            number: state.logins,
        };
        state.set(Some(login));
        state.logins
    }

    /// A fresh token for the same login.
    pub fn renew(&self, number: u64, token: String) {
        if let Some(login) = &mut self.state.lock().login
            && login.number == number
        {
            login.token = token;
        }
    }

    pub fn log_out(&self) {
        self.state.lock().set(None);
    }

    /// A tracker does not accept the token any more. True if that was still the login.
    pub fn lose(&self, number: u64) -> bool {
        let mut state = self.state.lock();
        let current = state
            .login
            .as_ref()
            .is_some_and(|login| login.number == number);
        if current {
            state.set(None);
        }
        current
    }

    /// Ends whatever goes on while somebody is here, for good. The login stays: trackers are still
    /// to be told goodbye.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.end();
    }

    /// On this stream trackers speak to who is here now, unless it was opened for somebody else, and has
    /// ended already.
    pub fn listen_on(&self, stream: Stream) {
        let mut state = self.state.lock();
        if !stream.stop().is_requested() {
            state.stream = Some(stream);
            self.heard.notify_all();
        }
    }

    /// Waits until trackers speak to who is here now: news from before that are told by nobody. False
    /// if that takes longer than `patience`.
    pub fn wait_for_stream(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut state = self.state.lock();
        while state.stream.is_none() && !state.closed {
            if self.heard.wait_until(&mut state, until).timed_out() {
                return false;
            }
        }
        true
    }
}

impl State {
    fn set(&mut self, login: Option<Login>) {
        self.login = login;
        self.end();
        self.end = Stop::new();
    }

    fn end(&mut self) {
        self.end.request();
        // That is not waiting: it may happen under the lock.
        if let Some(stream) = self.stream.take() {
            stream.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::key::TrackerKey;
    use std::net::{TcpListener, TcpStream};

    fn answer(user: &str, token: &str) -> LoggedIn {
        LoggedIn {
            user: user.parse().unwrap(),
            token: token.into(),
            tracker_keys: vec![TrackerKey([2; 32])],
            now: 0,
        }
    }

    #[test]
    fn an_old_login_neither_renews_nor_ends_a_new_one() {
        let account = Account::new(PeerKey([1; 32]));
        let first = account.log_in(&answer("alice", "a"));
        let end = account.presence().unwrap().end;
        let second = account.log_in(&answer("bob", "b"));
        assert!(end.is_requested());
        account.renew(first, "c".into());
        assert!(!account.lose(first));
        assert_eq!(account.login().unwrap().token, "b");
        account.renew(second, "d".into());
        assert_eq!(account.login().unwrap().token, "d");
        assert!(account.lose(second));
        assert!(account.user().is_none());
    }

    /// A stream that ends with `end`.
    fn stream(end: &Stop) -> Stream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let long = Duration::from_secs(60);
        Stream::new(socket, end.clone(), long, long).unwrap()
    }

    /// What happened between a login and its stream was told by nobody.
    #[test]
    fn a_login_waits_until_its_own_stream_is_there() {
        let account = Account::new(PeerKey([1; 32]));
        let nobody = account.presence().unwrap();
        account.log_in(&answer("alice", "a"));
        account.listen_on(stream(&nobody.end));
        assert!(!account.wait_for_stream(Duration::from_millis(10)));
        let alice = account.presence().unwrap();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| account.wait_for_stream(Duration::from_secs(60)));
            account.listen_on(stream(&alice.end));
            assert!(waits.join().unwrap());
        });
    }

    #[test]
    fn who_listens_hears_of_a_login_and_of_the_end() {
        let account = Account::new(PeerKey([1; 32]));
        let nobody = account.presence().unwrap();
        assert!(nobody.user.is_none());
        account.log_in(&answer("alice", "a"));
        assert!(nobody.end.is_requested());
        let alice = account.presence().unwrap();
        assert_eq!(alice.user.unwrap().as_str(), "alice");
        account.log_out();
        assert!(alice.end.is_requested());
        let nobody = account.presence().unwrap();
        assert!(nobody.user.is_none() && !nobody.end.is_requested());
        account.log_in(&answer("bob", "b"));
        let bob = account.presence().unwrap();
        account.close();
        assert!(bob.end.is_requested() && account.presence().is_none());
        assert!(account.login().is_some(), "for the goodbye");
    }
}
