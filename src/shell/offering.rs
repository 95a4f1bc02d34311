//! Offering content that was hashed: what `upload_file` and the watched folder have in common.

use std::net::SocketAddr;

use crate::announce::request::AnnounceRequest;
use crate::control::names::{FileName, GroupName, UserName};
use crate::control::reply::{Reply, Uploaded};
use crate::control::request::{Holder, Request, Upload};
use crate::peer::tracker_link::{LinkError, TrackerLink};
use crate::storage::resume::Share;
use crate::torrent::id::InfoHash;
use crate::torrent::metainfo::Metainfo;

use super::peer_shell::ShellError;

/// What our trackers know of an offer.
pub enum Offered {
    /// This one has it; it is not known any more where that is if the connection broke.
    At(Option<SocketAddr>),
    /// None answers: what serves the content offers it as soon as one does.
    Later(LinkError),
}

/// As what a torrent is offered: under its own name.
pub fn share(
    metainfo: &Metainfo,
    group: GroupName,
    users: Vec<UserName>,
) -> Result<Share, ShellError> {
    let name = metainfo.name();
    let file_name: FileName = name
        .parse()
        .map_err(|error| ShellError::Other(format!("{name} cannot be shared: it {error}")))?;
    Ok(Share {
        group,
        name: file_name,
        users,
        sha256: None,
        listed: true,
    })
}

/// Offers a torrent to its group.
///
/// # Errors
/// The tracker's refusal, such as that the name is taken.
pub fn publish(
    link: &mut TrackerLink,
    holder: Holder,
    metainfo: &Metainfo,
    share: &Share,
) -> Result<Offered, LinkError> {
    let upload = Upload {
        group: share.group.clone(),
        name: share.name.clone(),
        metainfo: metainfo.clone(),
        holder,
        sha256: share.sha256,
    };
    match link.request(&Request::UploadFile(Box::new(upload))) {
        Ok(reply) => {
            Uploaded::from_reply(reply)?;
            Ok(Offered::At(link.address()))
        }
        Err(error) if error.is_unreachable() => Ok(Offered::Later(error)),
        Err(error) => Err(error),
    }
}

/// Takes an offer back. `held` says that we had all of it: a tracker lets only a holder end a share
/// while others fetch it, and the engine may have said goodbye already, so this is said again.
pub fn withdraw(
    link: &mut TrackerLink,
    holder: Holder,
    info_hash: InfoHash,
    share: Share,
    held: bool,
) -> Result<Reply, LinkError> {
    if held && share.group.is_public() {
        let announce = AnnounceRequest::of_seed(info_hash, holder.peer_id, holder.port);
        let group = None;
        link.request(&Request::Announce { announce, group })?;
    }
    link.request(&Request::StopShare {
        group: share.group,
        name: share.name,
        info_hash,
        holder,
    })
}
