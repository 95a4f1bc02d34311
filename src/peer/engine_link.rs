//! A way to the engine, for any thread that has something to ask of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use crossbeam_channel::{Sender, bounded};

use crate::storage::Storage;
use crate::storage::resume::{Share, Sources};
use crate::torrent::bitfield::Bitfield;
use crate::torrent::id::InfoHash;
use crate::torrent::metainfo::Metainfo;

use super::PeerError;
use super::engine::{Addition, Command, Input, Start};
use super::managed::Beginning;
use super::view::TorrentView;

/// Copies lead to the same engine. Once that has ended, every answer is [`PeerError::Stopped`].
#[derive(Clone)]
pub struct EngineLink {
    inputs: Sender<Input>,
}

impl EngineLink {
    pub fn new(inputs: Sender<Input>) -> EngineLink {
        EngineLink { inputs }
    }

    pub fn torrents(&self) -> Result<Vec<TorrentView>, PeerError> {
        self.ask(|reply| Command::Torrents { reply })
    }

    pub fn torrent(&self, info_hash: InfoHash) -> Result<Option<TorrentView>, PeerError> {
        self.ask(|reply| Command::Torrent { info_hash, reply })
    }

    /// Where a torrent's bytes are.
    pub fn storage(&self, info_hash: InfoHash) -> Result<Option<Arc<dyn Storage>>, PeerError> {
        self.ask(|reply| Command::Storage { info_hash, reply })
    }

    /// Serves content that was hashed just now. `published` is the tracker of ours that
    /// knows the share already.
    pub fn seed(
        &self,
        metainfo: Arc<Metainfo>,
        storage: Arc<dyn Storage>,
        share: Option<Share>,
        published: Option<SocketAddr>,
    ) -> Result<(), PeerError> {
        let have = Bitfield::all(metainfo.layout.pieces());
        let beginning = Beginning {
            published,
            ..new_beginning(metainfo, share)
        };
        self.add(Addition {
            beginning,
            storage,
            start: Start::Have(have),
            paused: false,
            remembered: false,
        })
    }

    pub(super) fn add(&self, addition: Addition) -> Result<(), PeerError> {
        let addition = Box::new(addition);
        Ok(self.ask(|reply| Command::Add { addition, reply })??)
    }

    /// Forgets a torrent. Its files stay.
    pub fn remove(&self, info_hash: InfoHash) -> Result<(), PeerError> {
        Ok(self.ask(|reply| Command::Remove { info_hash, reply })??)
    }

    /// Gives the engine a command that brings its own way back.
    pub(super) fn ask<T>(
        &self,
        command: impl FnOnce(Sender<T>) -> Command,
    ) -> Result<T, PeerError> {
        let (reply, answer) = bounded(1);
        self.inputs
            .send(Input::Command(command(reply)))
            .map_err(|_| PeerError::Stopped)?;
        answer.recv().map_err(|_| PeerError::Stopped)
    }
}

/// A torrent that was not here before.
pub(super) fn new_beginning(metainfo: Arc<Metainfo>, share: Option<Share>) -> Beginning {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let added = since_1970.unwrap_or_default().as_secs();
    Beginning {
        metainfo,
        share,
        sources: Sources::Anyone,
        added,
        downloaded: 0,
        uploaded: 0,
        published: None,
    }
}
