//! A torrent as people are shown it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::peer::schedule::Schedule;
use crate::peer::view::{PeerRow, Status, TorrentView, Why};

use super::{Conn, Managed, State};

impl Managed {
    pub fn view(&self) -> TorrentView {
        let layout = &self.shared.metainfo.layout;
        let views: Vec<_> = self
            .conns
            .keys()
            .filter_map(|&conn| self.torrent.peer(conn))
            .collect();
        let status = match &self.state {
            State::Checking(task) => {
                let progress = task.progress();
                Status::Checking {
                    done: progress.done,
                    total: progress.total,
                }
            }
            State::Running => match self.lock() {
                Some(lock) => Status::Locked {
                    reason: lock.reason.clone(),
                    goes_on: lock.opens_by_itself,
                },
                None if self.torrent.is_complete() => Status::Seeding,
                None => Status::Downloading,
            },
            State::Finishing => Status::Finishing,
            State::Paused => Status::Paused,
            State::Stopped(error) => Status::Stopped {
                reason: error.to_string(),
                waits_for_space: error.is_no_space(),
            },
        };
        let (downloaded, uploaded) = self.carried();
        TorrentView {
            info_hash: self.info_hash(),
            metainfo: self.shared.metainfo.clone(),
            name: self.name().to_string(),
            share: self.share.clone(),
            path: self.path(),
            names: self.shared.storage.names(),
            why: self.why().filter(|_| status == Status::Downloading),
            status,
            finished: self.shared.storage.is_finished(),
            have: layout.total() - self.torrent.left(),
            size: layout.total(),
            rate_down: views.iter().map(|peer| peer.rate_from).sum(),
            rate_up: views.iter().map(|peer| peer.rate_to).sum(),
            downloaded,
            uploaded,
            peers: views.len(),
            seeds: views
                .iter()
                .filter(|peer| peer.pieces == layout.pieces())
                .count(),
        }
    }

    pub(super) fn why(&self) -> Option<Why> {
        let stall = self.torrent.stall()?;
        if self.conns.is_empty() && self.trackers.iter().any(Schedule::is_first_asked) {
            return None;
        }
        let mut errors = self.trackers.iter().filter_map(|schedule| schedule.error());
        match errors.next_back() {
            Some(error) if self.conns.is_empty() => Some(Why::TrackerUnreachable(error.into())),
            _ => Some(Why::Rules(stall)),
        }
    }

    /// Where peers may be, and whether we are connected to them.
    pub fn addresses(&self) -> impl Iterator<Item = (SocketAddr, bool)> {
        self.book.all()
    }

    pub fn peers(&self) -> Vec<PeerRow> {
        let mut rows: BTreeMap<(IpAddr, u16), PeerRow> = BTreeMap::new();
        for (address, past) in &self.past {
            let row = PeerRow {
                torrent: self.name().to_string(),
                address: *address,
                client: past.client.clone(),
                downloaded: past.downloaded,
                uploaded: past.uploaded,
                connected: None,
            };
            rows.insert((address.ip(), address.port()), row);
        }
        for (&id, conn) in &self.conns {
            let address = conn.address();
            let row = rows
                .entry((address.ip(), address.port()))
                .or_insert_with(|| PeerRow {
                    torrent: self.name().to_string(),
                    address,
                    client: String::new(),
                    downloaded: 0,
                    uploaded: 0,
                    connected: None,
                });
            row.client = client_name(conn);
            row.downloaded += conn.connection.counters.downloaded();
            row.uploaded += conn.connection.counters.uploaded();
            row.connected = self.torrent.peer(id);
        }
        rows.into_values().collect()
    }
}

pub(super) fn client_name(conn: &Conn) -> String {
    conn.client.clone().unwrap_or_else(|| conn.peer_id.client())
}
