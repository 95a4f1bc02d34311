//! Requests about accounts: who somebody is, and the proofs of it.

use std::net::IpAddr;

use crate::control::key::PeerKey;
use crate::control::names::{GroupName, UserName};
use crate::control::password::Password;
use crate::control::reply::{IssuedTicket, LoggedIn, Reply};
use crate::control::request_id::RequestId;
use crate::control::stamp::UserId;
use crate::control::ticket::Ticket;
use crate::registry::attempts::Wait;
use crate::registry::change::{Change, Done};
use crate::registry::facts::Facts;
use crate::registry::refused::Refused;

use super::session::{Login, Session, TOKEN_LIFE};
use super::state::State;
use super::store::unix_ms;
use super::token::Token;

/// Others of the same name whose passwords are looked at: each takes as long as one.
const MAX_OTHERS: usize = 4;

pub fn create_user(
    state: &State,
    request: Option<RequestId>,
    name: UserName,
    password: &Password,
) -> Result<Reply, Refused> {
    // Said before the password is hashed, because that is slow; the store looks once more.
    if state.known.look(|facts| facts.user_named(&name)).is_some() {
        return Err(Refused::UserExists(name));
    }
    let hash = hash(state, password)?;
    let done = state
        .store
        .change(request, None, Change::CreateUser { name, hash })?;
    Ok(Reply::said(done))
}

pub fn log_in(
    state: &State,
    session: &mut Session,
    ip: IpAddr,
    user: &UserName,
    password: &Password,
    peer_key: Option<PeerKey>,
) -> Result<Reply, Refused> {
    if session.login().is_some() {
        return Err(Refused::LoggedInAlready);
    }
    let (user, stamp) = verify(state, ip, user, password)?;
    session.log_in(Login {
        name: name(state, user)?,
        user,
        password: stamp,
        peer_key,
    });
    welcome(state, session)
}

/// Logs in by a token that another connection was given.
pub fn resume(state: &State, session: &mut Session, word: &str) -> Result<Reply, Refused> {
    if session.login().is_some() {
        return Err(Refused::LoggedInAlready);
    }
    let (token, tracker) = Token::parse(word).map_err(|_| Refused::LoginEnded)?;
    let ours = tracker == state.config.identity.key() || state.neighbours.has_key(tracker);
    if !ours || token.expires <= unix_ms() / 1000 {
        return Err(Refused::LoginEnded);
    }
    let login = Login {
        user: token.user,
        name: token.name,
        password: token.password,
        peer_key: token.peer_key,
    };
    state.known.look(|facts| login.check(facts))?;
    session.log_in(login);
    welcome(state, session)
}

/// Changes the password: every token, and every connection that is logged in with the old one,
/// ends.
pub fn passwd(
    state: &State,
    session: &mut Session,
    ip: IpAddr,
    old: &Password,
    new: &Password,
) -> Result<Reply, Refused> {
    let login = session.login().cloned().ok_or(Refused::NotLoggedIn)?;
    let name = name(state, login.user)?;
    let verified = verify(state, ip, &name, old).map_err(|refused| match refused {
        Refused::WrongPassword => Refused::WrongOldPassword,
        other => other,
    });
    let (user, was) = verified?;
    let hash = hash(state, new)?;
    match state.store.change(
        session.request,
        Some(user),
        Change::SetPassword { was, hash },
    )? {
        Done::PasswordSet(password) => session.log_in(Login { password, ..login }),
        done => return Ok(Reply::said(done)),
    }
    welcome(state, session)
}

pub fn log_out(session: &mut Session) -> Reply {
    session.log_out();
    Reply::said("Logged out successfully")
}

pub fn whoami(state: &State, session: &Session) -> Result<Reply, Refused> {
    let user = session.user().ok_or(Refused::NotLoggedIn)?;
    Ok(Reply::ok([name(state, user)?.to_string()]))
}

/// Vouches for a member. That it is one has been checked; it is looked at again, because the
/// names in a ticket are those that others read.
pub fn ticket(state: &State, session: &Session, group: &GroupName) -> Result<Reply, Refused> {
    if group.is_public() {
        return Err(Refused::PublicTicket);
    }
    let login = session.login().ok_or(Refused::NotLoggedIn)?;
    let peer_key = login.peer_key.ok_or(Refused::NoPeerKey)?;
    let now = unix_ms() / 1000;
    let ticket = |facts: &Facts| {
        let (group_id, group) = facts.group_named(group)?;
        Some(Ticket {
            user: facts.user_name(login.user)?.clone(),
            group: facts.group_name(group_id)?,
            group_id,
            peer_key,
            expires: now + u64::from(state.config.ticket_life),
        })
        .filter(|_| group.is_member(login.user))
    };
    let ticket = state.known.look(ticket);
    let ticket = ticket.ok_or_else(|| Refused::NotMember(group.clone()))?;
    let ticket = ticket.sign(state.config.identity.signing());
    Ok(IssuedTicket { now, ticket }.to_reply())
}

/// Who it is, if the password is right, and the password's stamp. An unknown user is refused in
/// the same words, after the same time.
fn verify(
    state: &State,
    ip: IpAddr,
    user: &UserName,
    password: &Password,
) -> Result<(UserId, crate::control::stamp::Stamp), Refused> {
    let now = state.now();
    let wait = state.attempts.lock().begin(now, user, ip);
    wait.map_err(|wait| match wait {
        Wait::Seconds(seconds) => Refused::Wait(seconds),
        Wait::Busy => Refused::Busy,
    })?;
    let known = state.known.look(|facts| {
        let id = facts.user_named(user)?;
        Some((id, facts.password(id)?.clone()))
    });
    let hash = known.as_ref().map(|(_, hash)| hash.value.as_str());
    let verified = state.passwords.verify(password, hash);
    let right = verified.map_err(|_| {
        state.attempts.lock().not_tried(now, user, ip);
        Refused::Busy
    })?;
    match known {
        Some((id, hash)) if right => {
            state.attempts.lock().succeeded(now, user, ip);
            Ok((id, hash.stamp))
        }
        _ => {
            // Right for somebody who took the same name later, elsewhere?
            let other = other_of_the_name(state, user, password);
            if !matches!(other, Ok(None)) {
                // It was no guess, or nobody knows whether it was one.
                state.attempts.lock().not_tried(now, user, ip);
            }
            if let Some(id) = other? {
                let (was, now) = (user.clone(), name(state, id)?);
                return Err(Refused::Renamed { was, now });
            }
            state.attempts.lock().failed(now, user, ip);
            Err(Refused::WrongPassword)
        }
    }
}

/// Who took the name, too, and has this password: while trackers could not see each other.
fn other_of_the_name(
    state: &State,
    user: &UserName,
    password: &Password,
) -> Result<Option<UserId>, Refused> {
    let others = state.known.look(|facts| {
        let others = facts.users_named(user).skip(1).take(MAX_OTHERS);
        let with_hash = others.filter_map(|id| Some((id, facts.password(id)?.value.clone())));
        with_hash.collect::<Vec<_>>()
    });
    for (id, hash) in others {
        let verified = state.passwords.verify(password, Some(&hash));
        if verified.map_err(|_| Refused::Busy)? {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

fn hash(state: &State, password: &Password) -> Result<String, Refused> {
    state.passwords.hash(password).map_err(|_| Refused::Busy)
}

fn name(state: &State, user: UserId) -> Result<UserName, Refused> {
    let name = state.known.look(|facts| facts.user_name(user).cloned());
    name.ok_or(Refused::LoginEnded)
}

/// The answer to everybody who is logged in now.
pub(super) fn welcome(state: &State, session: &Session) -> Result<Reply, Refused> {
    let login = session.login().ok_or(Refused::NotLoggedIn)?;
    let now = unix_ms() / 1000;
    let token = Token {
        user: login.user,
        name: login.name.clone(),
        password: login.password,
        peer_key: login.peer_key,
        expires: now + TOKEN_LIFE,
    };
    let identity = &state.config.identity;
    let mut tracker_keys = vec![identity.key()];
    tracker_keys.extend(state.neighbours.keys());
    let welcome = LoggedIn {
        user: name(state, login.user)?,
        token: token.sign(identity.signing()),
        tracker_keys,
        now,
    };
    Ok(welcome.to_reply())
}
