//! What a connection knows of who speaks on it.

use crate::control::key::PeerKey;
use crate::control::request_id::RequestId;
use crate::control::stamp::{Stamp, UserId};
use crate::registry::facts::Facts;

/// Seconds for which a token is good. Each `resume` gives a fresh one.
pub const TOKEN_LIFE: u64 = 12 * 3600;

/// Of one connection.
#[derive(Debug, Default)]
pub struct Session {
    login: Option<Login>,
    /// A login has ended by itself: the user is to be told so.
    pub has_ended: bool,
    /// The number of the request that is being answered.
    pub request: Option<RequestId>,
}

/// Who asks, and the number of the request if it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    pub user: Option<UserId>,
    pub request: Option<RequestId>,
}

/// Who has logged in on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    pub user: UserId,
    /// The stamp of the password that was given.
    pub password: Stamp,
    /// Of the peer at the other end: tickets are for it.
    pub peer_key: Option<PeerKey>,
}

impl Session {
    pub fn log_in(&mut self, login: Login) {
        self.login = Some(login);
        self.has_ended = false;
    }

    pub fn log_out(&mut self) {
        self.login = None;
        self.has_ended = false;
    }

    pub fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    pub fn user(&self) -> Option<UserId> {
        self.login.as_ref().map(|login| login.user)
    }

    pub fn asker(&self) -> Asker {
        Asker {
            user: self.user(),
            request: self.request,
        }
    }

    /// Ends a login whose password counts no longer.
    pub fn look(&mut self, facts: &Facts) {
        if self
            .login
            .as_ref()
            .is_some_and(|login| !login.counts(facts))
        {
            self.login = None;
            self.has_ended = true;
        }
    }
}

impl Login {
    /// Whether the password that was given is still the user's.
    pub fn counts(&self, facts: &Facts) -> bool {
        let password = facts.password(self.user);
        password.is_some_and(|latest| latest.stamp == self.password)
    }
}
