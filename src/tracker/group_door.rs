//! Requests about groups and their files. Whoever asks has been let in by `control_door`; what
//! changes something is checked again where it is decided, in the store.

use std::net::{IpAddr, SocketAddr};

use crate::announce::request::{AnnounceRequest, Event};
use crate::announce::response::AnnounceResponse;
use crate::control::names::{FileName, GroupName};
use crate::control::reply::{
    Download, FileEntry, GroupEntry, PeerEntry, Reply, Uploaded, announce_to_reply, users_to_reply,
};
use crate::control::request::{Holder, Upload};
use crate::control::stamp::UserId;
use crate::registry::change::{Change, Done, Offer};
use crate::registry::facts::Facts;
use crate::registry::group::{File, Group};
use crate::registry::refused::Refused;
use crate::registry::views;
use crate::torrent::id::InfoHash;

use super::session::Asker;
use super::state::{State, as_seed, count_peers};

/// A change that is answered with a sentence.
pub fn change(state: &State, by: Asker, change: Change) -> Result<Reply, Refused> {
    state
        .store
        .change(by.request, by.user, change)
        .map(Reply::said)
}

pub fn list_groups(state: &State, user: UserId) -> Reply {
    let groups = state.known.look(|facts| views::groups(facts, user));
    GroupEntry::list_to_reply(&groups)
}

pub fn list_members(state: &State, group: &GroupName) -> Reply {
    users_to_reply(&state.known.look(|facts| views::members(facts, group)))
}

pub fn list_requests(state: &State, group: &GroupName) -> Reply {
    users_to_reply(&state.known.look(|facts| views::requests(facts, group)))
}

pub fn list_files(state: &State, group: &GroupName) -> Reply {
    let mut files = state.known.look(|facts| views::files(facts, group));
    let crowd = &state.group_crowd;
    crowd.look(|swarms| count_peers(swarms, &mut files));
    FileEntry::list_to_reply(&files)
}

/// Shares a torrent; whoever does so is in its swarm with everything.
pub fn upload(state: &State, by: Asker, ip: IpAddr, upload: Upload) -> Result<Reply, Refused> {
    let seed = as_seed(&upload);
    let offer = Offer {
        group: upload.group,
        name: upload.name,
        metainfo: upload.metainfo,
    };
    let done = state
        .store
        .change(by.request, by.user, Change::Offer(Box::new(offer)))?;
    // It is shared. A swarm that is full finds its seed with a later announce.
    let _ = announce_in_crowd(state, ip, &seed);
    let uploaded = match done {
        Done::Offered(uploaded) => uploaded,
        _ => Uploaded::Shared,
    };
    Ok(uploaded.to_reply())
}

pub fn download(state: &State, group: &GroupName, name: &FileName) -> Result<Reply, Refused> {
    let download = |file: File<'_>| (file.info_hash, file.share.clone());
    let (info_hash, share) = of_file(state, group, name, download)?;
    let download = Download {
        info_hash,
        size: share.size,
        info: share.info.to_vec(),
        sha256: None,
    };
    Ok(download.into_reply())
}

/// Who is in the swarm of a group's file.
pub fn list_peers(state: &State, group: &GroupName, name: &FileName) -> Result<Reply, Refused> {
    let info_hash = of_file(state, group, name, |file| file.info_hash)?;
    Ok(PeerEntry::list_to_reply(
        &state.group_crowd.peers(&info_hash),
    ))
}

/// What is to be known of a group's file.
fn of_file<T>(
    state: &State,
    group: &GroupName,
    name: &FileName,
    known: impl FnOnce(File<'_>) -> T,
) -> Result<T, Refused> {
    let found = state
        .known
        .look(|facts| find(facts, group)?.file(name).map(known));
    found.ok_or_else(|| Refused::NoFile(group.clone()))
}

pub fn stop_share(
    state: &State,
    by: Asker,
    ip: IpAddr,
    (group, name, info_hash): (GroupName, FileName, InfoHash),
    holder: Holder,
) -> Result<Reply, Refused> {
    let withdraw = Change::Withdraw {
        group,
        name,
        info_hash,
    };
    let reply = change(state, by, withdraw)?;
    let address = SocketAddr::new(ip, holder.port);
    state.group_crowd.leave(state.now(), info_hash, address);
    state.tell_gone(false, info_hash, address);
    Ok(reply)
}

/// Only what the group shares has a swarm in it: so nobody fills the memory with others.
pub fn announce(
    state: &State,
    by: Asker,
    ip: IpAddr,
    group: GroupName,
    request: &AnnounceRequest,
) -> Result<Reply, Refused> {
    let hash = &request.info_hash;
    let is_shared = |facts: &Facts| {
        let group = find(facts, &group);
        group.is_some_and(|group| group.files_of(hash).next().is_some())
    };
    if !state.known.look(is_shared) {
        return Err(Refused::NoTorrent(group));
    }
    if request.event == Event::Completed && request.left == 0 {
        let info_hash = request.info_hash;
        state
            .store
            .change(by.request, by.user, Change::Completed { group, info_hash })?;
    }
    announce_in_crowd(state, ip, request)
}

/// Takes a peer out of a swarm. Anybody may say so of his own address, and learns nothing by it.
pub fn goodbye(state: &State, ip: IpAddr, request: &AnnounceRequest) -> Reply {
    let address = SocketAddr::new(ip, request.port);
    state
        .group_crowd
        .leave(state.now(), request.info_hash, address);
    state.tell_gone(false, request.info_hash, address);
    announce_to_reply(&AnnounceResponse {
        interval: state.config.interval,
        ..AnnounceResponse::default()
    })
}

fn announce_in_crowd(
    state: &State,
    ip: IpAddr,
    request: &AnnounceRequest,
) -> Result<Reply, Refused> {
    state.counters.announce();
    let answer = state.group_crowd.announce(state.now(), ip, request);
    let answer = answer.map_err(|full| Refused::Full(full.to_string()))?;
    state.tell_swarm(false, ip, request);
    Ok(announce_to_reply(&answer))
}

fn find<'a>(facts: &'a Facts, name: &GroupName) -> Option<&'a Group> {
    facts.group_named(name).map(|(_, group)| group)
}
