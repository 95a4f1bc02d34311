//! Who is logged in at this peer: one value, shared by every connection to our trackers.
//!
//! The password is not kept: a tracker's token stands for it, on other connections, with other
//! trackers and after a tracker's restart. Not here: tickets, which let us into groups.

use parking_lot::{Condvar, Mutex};

use crate::control::key::PeerKey;
use crate::control::names::UserName;
use crate::control::reply::LoggedIn;
use crate::runtime::stop::Stop;

/// Connections compare the login that they made with the one that counts now.
pub struct Account {
    /// The key by which other peers of our groups know us.
    pub peer_key: PeerKey,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    login: Option<Login>,
    /// How many logins there have been.
    logins: u64,
    /// The peer ends: there will be no more.
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
    /// Requested when it ends.
    pub end: Stop,
}

impl Account {
    pub fn new(peer_key: PeerKey) -> Account {
        Account {
            peer_key,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    pub fn login(&self) -> Option<Login> {
        self.state.lock().login.clone()
    }

    pub fn user(&self) -> Option<UserName> {
        let state = self.state.lock();
        state.login.as_ref().map(|login| login.user.clone())
    }

    /// Waits until somebody is logged in; `None` once the account is closed.
    pub fn wait_for_login(&self) -> Option<Login> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(login) = &state.login {
                return Some(login.clone());
            }
            self.changed.wait(&mut state);
        }
    }

    /// A tracker has let a user in. Returns the number of the login.
    pub fn log_in(&self, answer: &LoggedIn) -> u64 {
        let mut state = self.state.lock();
        state.end();
        state.logins += 1;
        state.login = Some(Login {
            user: answer.user.clone(),
            token: answer.token.clone(),
            number: state.logins,
            end: Stop::new(),
        });
        self.changed.notify_all();
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
        self.state.lock().end();
    }

    /// A tracker does not accept the token any more. True if that was still the login.
    pub fn lose(&self, number: u64) -> bool {
        let mut state = self.state.lock();
        let current = state
            .login
            .as_ref()
            .is_some_and(|login| login.number == number);
        if current {
            state.end();
        }
        current
    }

    /// Ends whatever waits for a login, for good.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.end();
        self.changed.notify_all();
    }
}

impl State {
    fn end(&mut self) {
        if let Some(login) = self.login.take() {
            login.end.request();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::key::TrackerKey;

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
        let end = account.login().unwrap().end;
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

    #[test]
    fn who_waits_hears_of_a_login_and_of_the_end() {
        let account = Account::new(PeerKey([1; 32]));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| account.wait_for_login().map(|login| login.user));
            account.log_in(&answer("alice", "a"));
            assert_eq!(waiting.join().unwrap().unwrap().as_str(), "alice");
            account.log_out();
            let waiting = scope.spawn(|| account.wait_for_login().is_none());
            account.close();
            assert!(waiting.join().unwrap());
        });
    }
}
