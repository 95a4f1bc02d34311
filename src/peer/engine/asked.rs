//! A tracker asks whether we have a file of some name, and is told.
//!
//! What is served to everybody is told at once. What only lies in the upload folder is looked for by
//! the thread `answer` ([`UploadFolder`](crate::peer::upload_folder::UploadFolder)), which comes back with a
//! [`Looked`]: by then the file may be served. What is a group's is never told.

use std::path::PathBuf;

use crate::control::names::FileName;
use crate::control::question::QuestionNumber;
use crate::control::request::{Have, Holder, Request};
use crate::peer::managed::{Managed, State};
use crate::peer::upload_folder::{Asked, Looked};

use super::Engine;

impl Engine {
    pub(super) fn asked(&mut self, asked: Asked) {
        if let Some(answer) = self.answer(asked.question, &asked.file) {
            self.announcer.answer(answer);
        } else if let Some(folder) = &self.upload_folder
            // To look for a file elsewhere is no reason to serve one's own.
            && self.asking.as_ref() != Some(&asked.file)
        {
            // What is known here is served, or is not to be.
            let known: Vec<PathBuf> = self.torrents.values().map(Managed::path).collect();
            folder.look(asked, known);
        } else {
            self.answer_no(asked.question);
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
                holder: self.holder(),
            }),
            (None, None) => self.answer_no(question),
        }
    }

    /// What is served under this name, or being checked.
    fn answer(&self, question: QuestionNumber, file: &FileName) -> Option<Request> {
        let holder = self.holder();
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

    fn holder(&self) -> Holder {
        Holder {
            peer_id: self.identity.peer_id,
            port: self.identity.port,
        }
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
