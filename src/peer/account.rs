//! Who is logged in at this peer: one value, shared by every connection to our trackers.
//!
//! The password is not kept: a tracker's token stands for it, on other connections, with other
//! trackers and after a tracker's restart. Not here: tickets, which let us into groups.

use parking_lot::RwLock;

use crate::control::key::PeerKey;
use crate::control::names::UserName;
use crate::control::reply::LoggedIn;

/// Connections compare the login that they made with the one that counts now.
pub struct Account {
    /// The key by which other peers of our groups know us.
    pub peer_key: PeerKey,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    login: Option<Login>,
    /// How many logins there have been.
    logins: u64,
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

impl Account {
    pub fn new(peer_key: PeerKey) -> Account {
        Account {
            peer_key,
            state: RwLock::default(),
        }
    }

    pub fn login(&self) -> Option<Login> {
        self.state.read().login.clone()
    }

    pub fn user(&self) -> Option<UserName> {
        self.state
            .read()
            .login
            .as_ref()
            .map(|login| login.user.clone())
    }

    /// A tracker has let a user in. Returns the number of the login.
    pub fn log_in(&self, answer: &LoggedIn) -> u64 {
        let mut state = self.state.write();
        state.logins += 1;
        state.login = Some(Login {
            user: answer.user.clone(),
            token: answer.token.clone(),
            number: state.logins,
        });
        state.logins
    }

    /// A fresh token for the same login.
    pub fn renew(&self, number: u64, token: String) {
        if let Some(login) = &mut self.state.write().login
            && login.number == number
        {
            login.token = token;
        }
    }

    pub fn log_out(&self) {
        self.state.write().login = None;
    }

    /// A tracker does not accept the token any more. True if that was still the login.
    pub fn lose(&self, number: u64) -> bool {
        let mut state = self.state.write();
        let current = state
            .login
            .as_ref()
            .is_some_and(|login| login.number == number);
        if current {
            state.login = None;
        }
        current
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::key::TrackerKey;

    #[test]
    fn an_old_login_neither_renews_nor_ends_a_new_one() {
        let account = Account::new(PeerKey([1; 32]));
        let answer = |user: &str, token: &str| LoggedIn {
            user: user.parse().unwrap(),
            token: token.into(),
            tracker_key: TrackerKey([2; 32]),
            now: 0,
        };
        let first = account.log_in(&answer("alice", "a"));
        let second = account.log_in(&answer("bob", "b"));
        account.renew(first, "c".into());
        assert!(!account.lose(first));
        assert_eq!(account.login().unwrap().token, "b");
        account.renew(second, "d".into());
        assert_eq!(account.login().unwrap().token, "d");
        assert!(account.lose(second));
        assert!(account.user().is_none());
    }
}
