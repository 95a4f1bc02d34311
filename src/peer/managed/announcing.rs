//! A torrent and its trackers: what they are told, and what their answers are good for.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::announce::request::{AnnounceRequest, Event};
use crate::control::request::Upload;
use crate::peer::announcer::{Announced, Announcer, Tracker};
use crate::storage::resume::Share;

use super::{Beginning, Identity, Managed, Published};

/// A seed calls addresses that it learns of a little later: downloaders call it first.
const SEED_CALLS_AFTER: Duration = Duration::from_secs(3);

impl Managed {
    pub(super) fn announce_if_due(&mut self, now: Instant, us: Identity, announcer: &Announcer) {
        let request = self.announce_request(us);
        let group = self.gate.as_ref().map(|gate| &gate.group);
        for schedule in &mut self.trackers {
            if let Some(event) = schedule.due(now) {
                log::trace!(target: "hop", "{}: announcing `{event}`", self.shared.metainfo.name());
                if let Some(refresh) = &mut self.refresh {
                    refresh.announced(request.uploaded);
                }
                announcer.announce(
                    schedule.tracker.clone(),
                    AnnounceRequest { event, ..request },
                    group.cloned(),
                );
            }
        }
    }

    pub(super) fn announce_request(&self, us: Identity) -> AnnounceRequest {
        let (downloaded, uploaded) = self.carried();
        AnnounceRequest {
            info_hash: self.info_hash(),
            peer_id: us.peer_id,
            port: us.port,
            uploaded,
            downloaded,
            left: self.torrent.left(),
            event: Event::None,
            numwant: None,
        }
    }

    /// This tracker may have forgotten us.
    pub fn announce_again(&mut self, now: Instant, tracker: &Tracker) {
        let schedules = self.trackers.iter_mut();
        for schedule in schedules.filter(|schedule| schedule.tracker == *tracker) {
            schedule.restart(now);
        }
    }

    /// Tells every tracker that knows us that we are gone.
    pub fn announce_stopped(&mut self, us: Identity, announcer: &Announcer) {
        let request = self.announce_request(us);
        let group = self.gate.as_ref().map(|gate| &gate.group);
        for schedule in &mut self.trackers {
            if let Some(event) = schedule.stop() {
                announcer.announce(
                    schedule.tracker.clone(),
                    AnnounceRequest { event, ..request },
                    group.cloned(),
                );
            }
        }
    }

    pub fn announced(
        &mut self,
        now: Instant,
        announced: Announced,
        us: Identity,
        announcer: &Announcer,
    ) {
        let hungry = self.torrent.stall().is_some();
        let Some(schedule) = self
            .trackers
            .iter_mut()
            .find(|schedule| schedule.tracker == announced.tracker)
        else {
            return;
        };
        match announced.result {
            Ok(response) => {
                schedule.answered(now, response.interval, hungry);
                let (name, count) = (self.shared.metainfo.name(), response.peers.len());
                log::trace!(target: "hop", "{name}: the tracker names peers: {count}");
                let delay = if self.torrent.is_complete() {
                    SEED_CALLS_AFTER
                } else {
                    Duration::ZERO
                };
                for peer in response
                    .peers
                    .iter()
                    .filter(|peer| peer.id != Some(us.peer_id))
                {
                    self.book.learn(now, peer.address, delay);
                }
                if announced.tracker == Tracker::Ours {
                    self.publish_again(announced.connections, announced.at, us, announcer);
                }
            }
            Err(error) => {
                log::debug!(target: "tracker", "{}: {error}", self.shared.metainfo.name());
                schedule.failed(now, error.to_string());
            }
        }
    }

    /// A tracker that we have not talked to before may not know the share.
    pub(super) fn publish_again(
        &mut self,
        connections: u64,
        at: Option<SocketAddr>,
        us: Identity,
        announcer: &Announcer,
    ) {
        if !self.torrent.is_complete() || self.lock().is_some() {
            return;
        }
        let known = match self.published {
            // What a group shares the trackers keep.
            Some(_) if self.gate.is_some() => true,
            Some(Published::At(there)) => at == Some(there),
            Some(Published::On(connection)) => connection == connections,
            None => false,
        };
        self.published = Some(Published::On(connections));
        if !known {
            self.offer(us, announcer);
        }
    }

    /// What was served because it was asked for is shared from now on, if that is what somebody
    /// begins. Whether it is.
    pub fn list(&mut self, begin: &Beginning) -> bool {
        let listed = |share: &&Share| share.listed && share.group.is_public();
        let listed = begin.share.as_ref().filter(listed);
        let (true, Some(share)) = (self.is_unlisted(), listed) else {
            return false;
        };
        self.share = Some(share.clone());
        self.published = begin.published.map(Published::At);
        true
    }

    /// Offers what is complete to its group: the user is a holder from now on, if that was not so.
    pub(super) fn offer(&self, us: Identity, announcer: &Announcer) {
        if let Some(share) = self.share.as_ref().filter(|share| share.listed) {
            let metainfo = (*self.shared.metainfo).clone();
            announcer.publish(Upload {
                group: share.group.clone(),
                name: share.name.clone(),
                metainfo,
                holder: us.holder(),
                sha256: share.sha256,
            });
        }
    }
}
