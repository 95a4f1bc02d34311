//! Why a user may not do something: a sentence that says what to do next, and a code.

use crate::control::knock::FIRST_PORT;
use crate::control::muster::Step;
use crate::control::names::{FileName, GroupName, UserName};
use crate::control::reply::Code;
use crate::torrent::id::InfoHash;

use super::muster::JoinError;
use super::question::Late;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("Please log in first. Log in with: login <user> <password>")]
    NotLoggedIn,
    #[error("You are already logged in! To be somebody else: logout")]
    LoggedInAlready,
    #[error("User or password is wrong. If you have no account: create_user <user>")]
    WrongPassword,
    #[error("The old password is wrong: nothing was changed. Try again")]
    WrongOldPassword,
    #[error("Your login has ended or your password was changed. Log in again: login <user>")]
    LoginEnded,
    #[error("User already exists! Choose another name, or log in: login {0}")]
    UserExists(UserName),
    #[error(
        "Your name {was} was taken earlier on another tracker: your account is {now} now, with \
         everything in it. Log in with the same password: login {now}"
    )]
    Renamed { was: UserName, now: UserName },
    #[error(
        "Your group {was} was made after another one of that name, on another tracker: yours is \
         {now} now, with everything in it"
    )]
    GroupRenamed { was: GroupName, now: GroupName },
    #[error("A name that ends in `~` and a number is given by trackers only: choose another one")]
    NumberedName,
    #[error("Group does not exist: there is no {0}. Those there are: list_groups")]
    NoGroup(GroupName),
    #[error("Group already created! Ask to join it: join_group {0}")]
    GroupExists(GroupName),
    #[error("You are not a member of {0}. Ask with: join_group {0}")]
    NotMember(GroupName),
    #[error("You are not a member of {group} yet: you have asked, and {owner}, the owner, decides")]
    NotYetMember { group: GroupName, owner: UserName },
    #[error(
        "You are not the owner of this group: {owner} is. Only the owner of {group} can do this"
    )]
    NotOwner { group: GroupName, owner: UserName },
    #[error("You have made a join request; {0}, the owner, decides about it")]
    AskedAlready(UserName),
    #[error("You are already present in the group!")]
    MemberAlready,
    #[error("No pending join requests for this group")]
    NoRequests,
    #[error("This user has not requested to join the group. Those who have: list_requests {0}")]
    NotAsked(GroupName),
    #[error(
        "Everybody is in public, and nobody owns it: it cannot be created, joined, left or managed"
    )]
    Public,
    #[error("Everybody is in public: there is no list of its members")]
    PublicMembers,
    #[error("Everybody may fetch what is in public: it needs no tickets")]
    PublicTicket,
    #[error(
        "You logged in without the key of a peer, and tickets are for peers. Log in with it: login <user> <password> <peer_key>"
    )]
    NoPeerKey,
    #[error("This file does not exist in the group. Those there are: list_files {0}")]
    NoFile(GroupName),
    #[error("nobody shares `{name}` in {group}; list_files shows what there is")]
    NotShared { group: GroupName, name: FileName },
    #[error("nobody shares {0} with everybody, and no question has found it of late: ask again")]
    NotFound(InfoHash),
    #[error(transparent)]
    Late(#[from] Late),
    #[error("No file of {0} is this torrent. Those there are: list_files {0}")]
    NoTorrent(GroupName),
    #[error("You don't have this file, so you do not share it")]
    NotHolder,
    #[error(
        "`{name}` is shared already with other content: {old_size} bytes, info hash {old_hash}; \
         yours has {new_size} bytes, info hash {new_hash}. Share it under another name"
    )]
    Conflict {
        name: FileName,
        old_size: u64,
        old_hash: InfoHash,
        new_size: u64,
        new_hash: InfoHash,
    },
    /// Somebody else's sentence: another SHA-256 was told.
    #[error("{0}")]
    OtherHash(String),
    #[error(
        "A torrent of {group} has `private` 1 and `source` {source_needed} in its info dictionary: \
         so it is another torrent in every group"
    )]
    NotOfTheGroup {
        group: GroupName,
        source_needed: String,
    },
    #[error("This tracker runs no batch")]
    NoBatch,
    #[error("This tracker runs another batch than this one")]
    OtherBatch,
    #[error("Join the batch run first: batch_join <rank> <job>")]
    NotInBatch,
    #[error("{0}")]
    CannotJoin(#[from] JoinError),
    #[error("The batch run has ended: the client with rank {0} has gone before all had finished")]
    BatchLost(u32),
    #[error("The batch run has ended: after {seconds} s these clients had not {step}: {missing}")]
    BatchLate {
        step: Step,
        seconds: u64,
        missing: String,
    },
    /// Somebody else's sentence: the tracker has no room.
    #[error("{0}")]
    Full(String),
    #[error("Nobody knocks at ports below {FIRST_PORT}: they are for a system's own programs")]
    SystemPort,
    #[error("This torrent was made for the group {0}: share it there, or make one for everybody")]
    OfAGroup(GroupName),
    #[error("{what}: {limit} are possible")]
    Limit { what: &'static str, limit: usize },
    #[error("Too many wrong passwords: try again in {0} seconds")]
    Wait(u32),
    #[error("The tracker is checking as many passwords as it can: try again in a few seconds")]
    Busy,
    /// It was no fault of the asker's, and nothing was changed.
    #[error("{0}")]
    Internal(String),
}

impl Refused {
    pub fn code(&self) -> Code {
        match self {
            Refused::NotLoggedIn
            | Refused::WrongPassword
            | Refused::WrongOldPassword
            | Refused::Wait(_)
            | Refused::Limit { .. }
            | Refused::LoginEnded
            | Refused::Renamed { .. }
            | Refused::GroupRenamed { .. }
            | Refused::NotMember(_)
            | Refused::NotYetMember { .. }
            | Refused::NotOwner { .. }
            | Refused::NoPeerKey
            | Refused::SystemPort => Code::Denied,
            Refused::LoggedInAlready
            | Refused::UserExists(_)
            | Refused::GroupExists(_)
            | Refused::AskedAlready(_)
            | Refused::MemberAlready
            | Refused::CannotJoin(_)
            | Refused::BatchLost(_)
            | Refused::BatchLate { .. }
            | Refused::Conflict { .. }
            | Refused::OtherHash(_) => Code::Conflict,
            Refused::NoGroup(_)
            | Refused::NoRequests
            | Refused::NotAsked(_)
            | Refused::NoFile(_)
            | Refused::NotShared { .. }
            | Refused::NoTorrent(_)
            | Refused::NotFound(_)
            | Refused::Late(_)
            | Refused::NotHolder => Code::NotFound,
            Refused::Public
            | Refused::PublicMembers
            | Refused::OfAGroup(_)
            | Refused::NumberedName
            | Refused::PublicTicket
            | Refused::NoBatch
            | Refused::OtherBatch
            | Refused::NotInBatch
            | Refused::NotOfTheGroup { .. } => Code::BadRequest,
            Refused::Full(_) | Refused::Busy => Code::Busy,
            Refused::Internal(_) => Code::Internal,
        }
    }
}
