//! What a connection knows of who speaks on it.

use crate::control::key::PeerKey;
use crate::control::names::UserName;
use crate::control::request_id::RequestId;
use crate::control::stamp::{Stamp, UserId};
use crate::registry::facts::Facts;
use crate::registry::refused::Refused;

use super::batch_door::Seat;

/// Seconds for which a token is good. Each `resume` gives a fresh one.
pub const TOKEN_LIFE: u64 = 12 * 3600;

/// Of one connection.
#[derive(Debug, Default)]
pub struct Session {
    login: Option<Login>,
    /// A login has ended by itself: what the user is to be told.
    pub ended: Option<Refused>,
    /// The number of the request that is being answered.
    pub request: Option<RequestId>,
    /// Of a client of a batch run.
    pub seat: Option<Seat>,
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
    /// By which the user was known then.
    pub name: UserName,
    /// The stamp of the password that was given.
    pub password: Stamp,
    /// Of the peer at the other end: tickets are for it.
    pub peer_key: Option<PeerKey>,
}

impl Session {
    pub fn log_in(&mut self, login: Login) {
        self.login = Some(login);
        self.ended = None;
    }

    pub fn log_out(&mut self) {
        self.login = None;
        self.ended = None;
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

    /// Ends a login that counts no longer.
    pub fn look(&mut self, facts: &Facts) {
        let checked = self.login.as_ref().map(|login| login.check(facts));
        if let Some(Err(why)) = checked {
            self.login = None;
            self.ended = Some(why);
        }
    }
}

impl Login {
    /// Whether the password that was given is still the user's, and the name, too.
    pub fn check(&self, facts: &Facts) -> Result<(), Refused> {
        let password = facts.password(self.user);
        if password.is_none_or(|latest| latest.stamp != self.password) {
            return Err(Refused::LoginEnded);
        }
        match facts.user_name(self.user) {
            Some(now) if *now != self.name => {
                let (was, now) = (self.name.clone(), now.clone());
                Err(Refused::Renamed { was, now })
            }
            Some(_) => Ok(()),
            None => Err(Refused::LoginEnded),
        }
    }

    pub fn counts(&self, facts: &Facts) -> bool {
        self.check(facts).is_ok()
    }
}
