//! A tracker asks whether we have a file of some name, and is told.
//!
//! What is served to everybody is told at once. What only lies in the upload folder is looked for by
//! the thread `answer` ([`UploadFolder`](crate::peer::upload_folder::UploadFolder)), which comes back with a
//! [`Looked`]: by then the file may be served. What is a group's is never told.

use std::path::PathBuf;
use std::time::Instant;

use crate::control::names::FileName;
use crate::control::question::QuestionNumber;
use crate::control::request::{Have, Request};
use crate::peer::managed::{Managed, State};
use crate::peer::upload_folder::{Asked, Looked};
use crate::storage::StorageError;

use super::Engine;

/// Torrents that are here only because they were asked for. Each is remembered, and announced.
const MAX_UNLISTED: usize = 1_000;

impl Engine {
    pub(super) fn asked(&mut self, now: Instant, asked: Asked) {
        if let Some(answer) = self.answer(asked.question, &asked.file) {
            return self.announcer.answer(answer);
        }
        self.forget_changed(now, &asked.file);
        if let Some(folder) = &self.upload_folder
            // To look for a file elsewhere is no reason to serve one's own.
            && self.asking.as_ref() != Some(&asked.file)
        {
            let unlisted = self.torrents.values().filter(|it| it.is_unlisted());
            if unlisted.count() >= MAX_UNLISTED {
                log::info!(target: "tracker", "{} is not looked for: too much was asked for", asked.file);
                return self.answer_no(asked.question);
            }
            // What is known here is served, or is not to be. What was only asked for has its own name.
            let is_near = |it: &&Managed| !it.is_unlisted() || it.name() == asked.file.as_str();
            let known = self.torrents.values().filter(is_near);
            let known: Vec<PathBuf> = known.map(Managed::path).collect();
            folder.look(asked, known);
        } else {
            self.answer_no(asked.question);
        }
    }

    /// A file of the upload folder that was served because it was asked for, and is another by now,
    /// is looked at anew: nobody has named it here.
    fn forget_changed(&mut self, now: Instant, file: &FileName) {
        let Some(folder) = &self.upload_folder else {
            return;
        };
        let has_changed = |torrent: &Managed| {
            let State::Stopped(error) = &torrent.state else {
                return false;
            };
            let gone = matches!(
                error,
                StorageError::Changed { .. } | StorageError::Missing { .. }
            );
            gone && torrent.is_unlisted() && folder.is_around(&torrent.path())
        };
        let named = self.torrents.values();
        let mut named = named.filter(|torrent| torrent.name() == file.as_str());
        if let Some(torrent) = named.find(|torrent| has_changed(torrent)) {
            let info_hash = torrent.info_hash();
            // It is there: it was found just now.
            let _ = self.forget(now, info_hash);
        }
    }

    /// It was looked for in the upload folder.
    pub(super) fn looked(&mut self, looked: Looked) {
        let Asked { question, file } = looked.asked;
        match (self.answer(question, &file), looked.hashing) {
            (Some(answer), _) => self.announcer.answer(answer),
            (None, Some(size)) => self.announcer.answer(Request::Hashing {
                question,
                size,
                holder: self.identity.holder(),
            }),
            (None, None) => self.answer_no(question),
        }
    }

    /// What is served under this name, or being checked.
    fn answer(&self, question: QuestionNumber, file: &FileName) -> Option<Request> {
        let holder = self.identity.holder();
        let named = |torrent: &&Managed| torrent.name() == file.as_str();
        let mut torrents: Vec<&Managed> = self.torrents.values().filter(named).collect();
        torrents.sort_by_key(|torrent| (torrent.added, torrent.info_hash()));
        let find = |wanted| torrents.iter().find(|torrent| standing(torrent) == wanted);
        if let Some(torrent) = find(Standing::Served) {
            let metainfo = (*torrent.shared.metainfo).clone();
            return Some(Request::Have(Box::new(Have {
                question,
                metainfo,
                holder,
            })));
        }
        find(Standing::Checked).map(|torrent| Request::Hashing {
            question,
            size: torrent.shared.metainfo.layout.total(),
            holder,
        })
    }

    fn answer_no(&self, question: QuestionNumber) {
        let peer_id = self.identity.peer_id;
        let answer = Request::HaveNot { question, peer_id };
        self.announcer.answer(answer);
    }
}

/// How a torrent stands to who asks for it by name.
#[derive(PartialEq, Eq)]
enum Standing {
    /// All of it is served to everybody.
    Served,
    /// It will be, if what is on the disk is right.
    Checked,
    /// It is not for everybody, not complete, or paused.
    Not,
}

fn standing(torrent: &Managed) -> Standing {
    if torrent.gate().is_some() || torrent.shared.metainfo.private {
        return Standing::Not;
    }
    match &torrent.state {
        State::Running | State::Finishing if torrent.torrent.is_complete() => Standing::Served,
        State::Checking(_) if torrent.shared.storage.is_finished() => Standing::Checked,
        _ => Standing::Not,
    }
}
