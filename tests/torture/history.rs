//! What was asked and what was answered, with the times: all that the checker believes in beside
//! the databases.
//!
//! Times are milliseconds since 1970. All trackers and clients have one machine's clock, so a
//! stamp that a tracker gave can be compared with them.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

pub type Millis = u64;

/// The end of what was never answered.
pub const NEVER: Millis = Millis::MAX;

pub fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(0)
}

/// A change that a client wanted. It is sent to one tracker after another, with the same id,
/// until it is answered.
#[derive(Debug, Clone)]
pub struct Operation {
    pub id: String,
    /// The user, or nothing where nobody need be logged in.
    pub by: String,
    pub wish: Wish,
    pub attempts: Vec<Attempt>,
}

#[derive(Debug, Clone)]
pub enum Wish {
    CreateUser { name: String, password: String },
    Passwd { password: String },
    CreateGroup { group: String },
    Join { group: String },
    Leave { group: String },
    Accept { group: String, user: String },
    Reject { group: String, user: String },
    Upload(File),
    Stop(File),
}

/// A torrent of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub group: String,
    pub group_id: String,
    pub name: String,
    pub info_hash: String,
}

/// Sent to one tracker.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub tracker: usize,
    pub sent: Millis,
    pub ended: Millis,
    pub answer: Answer,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Ok(String),
    /// The tracker says that it did nothing.
    Refused(String),
    /// There was none, or the tracker itself does not know.
    Unknown(String),
}

impl Operation {
    /// Somebody has said `OK`.
    pub fn is_acknowledged(&self) -> bool {
        self.attempts.iter().any(Attempt::is_ok)
    }

    /// It can have done nothing, anywhere.
    pub fn is_refused(&self) -> bool {
        self.attempts.iter().all(|a| a.span().is_none())
    }

    /// When it was sent for the first time.
    pub fn first(&self) -> Millis {
        self.attempts.first().map_or(NEVER, |attempt| attempt.sent)
    }

    /// Whether a tracker can have done it at that time. Stamps know no part of a millisecond.
    pub fn covers(&self, time: Millis) -> bool {
        let spans = self.attempts.iter().filter_map(Attempt::span);
        spans
            .into_iter()
            .any(|(from, to)| from <= time.saturating_add(1) && time <= to.saturating_add(1))
    }

    pub fn group(&self) -> Option<&str> {
        match &self.wish {
            Wish::CreateUser { .. } | Wish::Passwd { .. } => None,
            Wish::CreateGroup { group }
            | Wish::Join { group }
            | Wish::Leave { group }
            | Wish::Accept { group, .. }
            | Wish::Reject { group, .. } => Some(base(group)),
            Wish::Upload(file) | Wish::Stop(file) => Some(base(&file.group)),
        }
    }

    /// Whose account or standing it changes.
    pub fn whom(&self) -> &str {
        match &self.wish {
            Wish::CreateUser { name, .. } => name,
            Wish::Accept { user, .. } | Wish::Reject { user, .. } => base(user),
            _ => &self.by,
        }
    }
}

impl Attempt {
    pub fn is_ok(&self) -> bool {
        matches!(self.answer, Answer::Ok(_))
    }

    /// When it can have been done. What was not answered may lie in the socket of a tracker that
    /// is paused, or on the disk of one that is down.
    pub fn span(&self) -> Option<(Millis, Millis)> {
        match self.answer {
            Answer::Ok(_) => Some((self.sent, self.ended)),
            Answer::Refused(_) => None,
            Answer::Unknown(_) => Some((self.sent, NEVER)),
        }
    }
}

/// `bob~2` has taken the name `bob` when another could not be seen.
pub fn base(name: &str) -> &str {
    name.split('~').next().unwrap_or(name)
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}",
            if self.by.is_empty() {
                "somebody"
            } else {
                &self.by
            },
            self.wish
        )
    }
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wish::CreateUser { name, password } => write!(f, "create_user {name} {password}"),
            Wish::Passwd { password } => write!(f, "passwd … {password}"),
            Wish::CreateGroup { group } => write!(f, "create_group {group}"),
            Wish::Join { group } => write!(f, "join_group {group}"),
            Wish::Leave { group } => write!(f, "leave_group {group}"),
            Wish::Accept { group, user } => write!(f, "accept_request {group} {user}"),
            Wish::Reject { group, user } => write!(f, "reject_request {group} {user}"),
            Wish::Upload(file) => write!(f, "upload_file {file}"),
            Wish::Stop(file) => write!(f, "stop_share {file}"),
        }
    }
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({}) {} {}",
            self.group,
            self.group_id,
            self.name,
            &self.info_hash[..8]
        )
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Ok(said) => write!(f, "OK {said}"),
            Answer::Refused(said) => write!(f, "ERR {said}"),
            Answer::Unknown(why) => write!(f, "? {why}"),
        }
    }
}
