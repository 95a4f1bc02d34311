//! The thread `answer`: looks in the upload folder for a file that a tracker asks for and nobody
//! has shared yet.
//!
//! A file is hashed by the pool, one at a time, and is served from then on, to everybody, without
//! being listed. What was hashed once, or withdrawn by its user, is not hashed again while it is
//! unchanged: if it is not served, that is the user's wish. Never told: what lies elsewhere (a name
//! has no separators), what is not [`shareable`], and what the peer knows already, such as the files
//! of groups.

use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, at, bounded, never, select, unbounded};

use crate::control::frame::quote_word;
use crate::control::names::FileName;
use crate::control::question::QuestionNumber;
use crate::runtime::threads;
use crate::storage::names::{Platform, safe_name};
use crate::storage::open_files::OpenFiles;
use crate::storage::resume::Share;
use crate::storage::shareable::shareable;
use crate::storage::unshared;
use crate::storage::{FileStamp, Storage, real_path};
use crate::torrent::bitfield::Bitfield;

use super::engine::{Addition, Command, Input, Start};
use super::hashing::HashPool;
use super::hashing::make::{Made, MakeError, Making, Wish, make_torrent};
use super::new_beginning;
use super::view::News;

/// Questions that may wait. One more is not answered.
const QUEUE: usize = 64;
/// A question waits so long for a file to be hashed; then the answer is that it is being hashed.
/// The asker waits for two seconds.
const SOON: Duration = Duration::from_secs(1);
/// Files of which it is remembered that they were hashed.
const MAX_REMEMBERED: usize = 10_000;

/// A question of a tracker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub question: QuestionNumber,
    pub file: FileName,
}

/// What came of looking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    pub asked: Asked,
    /// It is there, has so many bytes, and is not hashed yet.
    pub hashing: Option<u64>,
}

/// What the thread needs.
pub struct Tools {
    pub folder: PathBuf,
    /// Where it is remembered what is not to be shared.
    pub state: PathBuf,
    pub pool: Arc<HashPool>,
    pub open_files: Arc<OpenFiles>,
    pub engine: Sender<Input>,
    pub people: Sender<News>,
}

/// The running thread. Dropping it ends it, and what it hashes.
pub struct UploadFolder {
    /// Absolute.
    folder: PathBuf,
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

enum Job {
    Look {
        asked: Asked,
        /// Not to be told: where the content of known torrents lies.
        known: Vec<PathBuf>,
    },
    /// The user shares what lies there no longer.
    Withdrawn(PathBuf),
    /// What lies there becomes a group's.
    Withhold { path: PathBuf, done: Sender<()> },
}

impl UploadFolder {
    /// # Errors
    /// The system's, if no thread can be started.
    pub fn start(tools: Tools) -> io::Result<UploadFolder> {
        let folder = std::path::absolute(&tools.folder)?;
        let (jobs, inbox) = unbounded();
        let answering = Answering {
            hashed: unshared_in(&folder, &tools.state),
            withheld: Vec::new(),
            tools,
            making: None,
        };
        let thread = threads::spawn("answer", None, move || answering.run(&inbox))?;
        Ok(UploadFolder {
            folder,
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Whether this lies directly in the folder.
    pub fn is_around(&self, path: &Path) -> bool {
        path.parent() == Some(&self.folder)
    }

    /// The engine hears of it as [`Looked`], unless too many questions wait already.
    pub fn look(&self, asked: Asked, known: Vec<PathBuf>) {
        match &self.jobs {
            Some(jobs) if jobs.len() >= QUEUE => {
                log::info!(target: "tracker", "too many questions at once: one is not answered");
            }
            _ => self.queue(Job::Look { asked, known }),
        }
    }

    /// A file that its user shares no longer is not told while it is unchanged.
    pub fn withdrawn(&self, path: PathBuf) {
        self.queue(Job::Withdrawn(path));
    }

    /// What lies at `path` or below is not told from now on, and nothing of it is being hashed once
    /// `done` hears of it.
    pub fn withhold(&self, path: PathBuf, done: Sender<()>) {
        self.queue(Job::Withhold { path, done });
    }

    fn queue(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // The thread ends only after us.
            let _ = jobs.send(job);
        }
    }
}

impl Drop for UploadFolder {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            threads::join(thread);
        }
    }
}

/// A file that is being hashed.
struct Hashing {
    file: FileName,
    stamp: FileStamp,
    making: Making,
    made: Receiver<Result<Made, MakeError>>,
    /// Who waits for it, and until when.
    waiting: Vec<(Instant, Asked)>,
}

/// The thread's own.
struct Answering {
    tools: Tools,
    hashed: HashMap<FileName, FileStamp>,
    /// What the user has shared with groups in this run, also before it was hashed.
    withheld: Vec<PathBuf>,
    making: Option<Hashing>,
}

impl Answering {
    fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            let made = self.making.as_ref().map(|hashing| hashing.made.clone());
            let made = made.unwrap_or_else(never);
            let first = self.making.as_ref().and_then(|hashing| {
                let deadlines = hashing.waiting.iter().map(|(until, _)| *until);
                deadlines.min()
            });
            let soon = first.map_or_else(never, at);
            select! {
                recv(jobs) -> job => match job {
                    Ok(Job::Look { asked, known }) => self.look(asked, known),
                    Ok(Job::Withdrawn(path)) => self.withdrawn(&path),
                    Ok(Job::Withhold { path, done }) => {
                        self.withhold(path);
                        let _ = done.send(());
                    }
                    Err(_) => break,
                },
                recv(made) -> made => self.made(made.unwrap_or(Err(MakeError::Cancelled))),
                recv(soon) -> _ => self.answer_those_who_wait(),
            }
        }
        if let Some(hashing) = &self.making {
            hashing.making.task.cancel();
        }
    }

    fn withdrawn(&mut self, path: &Path) {
        let real = |path: &Path| real_path(path).ok();
        let here = path.parent().and_then(real) == real(&self.tools.folder);
        let name = path.file_name().and_then(|name| name.to_str());
        let file = name.filter(|_| here).and_then(|name| name.parse().ok());
        let found = file.and_then(|file| Some((find(&self.tools.folder, &file, &[])?.1, file)));
        if let Some((stamp, file)) = found {
            self.remember(file, stamp);
        }
    }

    fn withhold(&mut self, path: PathBuf) {
        if !self.withheld.contains(&path) {
            self.withheld.push(path);
        }
        let is_withheld =
            |making: &mut Hashing| find(&self.tools.folder, &making.file, &self.withheld).is_none();
        if let Some(making) = self.making.take_if(is_withheld) {
            making.making.task.cancel();
            for (_, asked) in making.waiting {
                self.tell(asked, None);
            }
        }
    }

    fn look(&mut self, asked: Asked, mut known: Vec<PathBuf>) {
        let file = asked.file.clone();
        known.extend_from_slice(&self.withheld);
        let there = find(&self.tools.folder, &file, &known);
        let is_new = |(_, stamp): &(PathBuf, FileStamp)| self.hashed.get(&file) != Some(stamp);
        let Some((path, stamp)) = there.filter(is_new) else {
            return self.tell(asked, None);
        };
        match &mut self.making {
            Some(hashing) if hashing.file == file && hashing.stamp == stamp => {
                hashing.waiting.push((Instant::now() + SOON, asked));
            }
            // One at a time: whoever asks again finds this one hashed later.
            Some(_) => self.tell(asked, Some(stamp.length)),
            None => self.hash(asked, &path, stamp),
        }
    }

    fn hash(&mut self, asked: Asked, path: &Path, stamp: FileStamp) {
        let (done, made) = bounded(1);
        let on_done = move |result| drop(done.send(result));
        let open_files = self.tools.open_files.clone();
        let wish = Wish::default();
        let file = asked.file.clone();
        match make_torrent(&self.tools.pool, open_files, path, wish, on_done) {
            Ok(making) => {
                self.making = Some(Hashing {
                    file,
                    stamp,
                    making,
                    made,
                    waiting: vec![(Instant::now() + SOON, asked)],
                });
            }
            Err(error) => {
                log::info!(target: "tracker", "{file} was asked for, and cannot be shared: {error}");
                self.remember(file, stamp);
                self.tell(asked, None);
            }
        }
    }

    fn made(&mut self, made: Result<Made, MakeError>) {
        let Some(hashing) = self.making.take() else {
            return;
        };
        let file = hashing.file;
        match made {
            Ok(made) if self.is_still_there(&file, &hashing.stamp, &made) => {
                self.serve(&file, made)
            }
            Ok(_) => log::info!(target: "tracker", "{file} was asked for, and is another by now"),
            Err(error) => {
                log::info!(target: "tracker", "{file} was asked for, and cannot be shared: {error}");
            }
        }
        self.remember(file, hashing.stamp);
        // By now the engine knows it.
        for (_, asked) in hashing.waiting {
            self.tell(asked, None);
        }
    }

    /// A link may have been put in its place, and taken away again.
    fn is_still_there(&self, file: &FileName, stamp: &FileStamp, made: &Made) -> bool {
        let there = find(&self.tools.folder, file, &self.withheld);
        there.is_some_and(|(_, now)| now == *stamp)
            && made.storage.is_plain_file()
            && made.storage.verify_unchanged().is_ok()
    }

    fn answer_those_who_wait(&mut self) {
        let now = Instant::now();
        let Some(hashing) = &mut self.making else {
            return;
        };
        let late = hashing.waiting.extract_if(.., |(until, _)| *until <= now);
        let late: Vec<Asked> = late.map(|(_, asked)| asked).collect();
        let size = hashing.stamp.length;
        for asked in late {
            self.tell(asked, Some(size));
        }
    }

    fn serve(&self, file: &FileName, made: Made) {
        let share = Share::unlisted(file.clone());
        let have = Bitfield::all(made.metainfo.layout.pieces());
        let addition = Addition {
            beginning: new_beginning(Arc::new(made.metainfo), Some(share)),
            storage: made.storage,
            start: Start::Have(have),
            paused: false,
            remembered: false,
        };
        // It is there already, perhaps: that is as good.
        let (reply, _) = bounded(1);
        let addition = Box::new(addition);
        let _ = self
            .tools
            .engine
            .send(Input::Command(Command::Add { addition, reply }));
        let text = format!(
            "{file} was asked for: it is served from now on, to everybody who asks. End that with: \
             stop_share {}",
            quote_word(file.as_str())
        );
        let _ = self.tools.people.send(News::Notice(text));
    }

    fn remember(&mut self, file: FileName, stamp: FileStamp) {
        if self.hashed.len() >= MAX_REMEMBERED {
            self.hashed.clear();
        }
        self.hashed.insert(file, stamp);
    }

    fn tell(&self, asked: Asked, hashing: Option<u64>) {
        // The engine is gone only when everything ends.
        let _ = self
            .tools
            .engine
            .send(Input::Looked(Looked { asked, hashing }));
    }
}

/// A file of this name that lies in the folder itself, and none of what is `known`.
fn find(folder: &Path, file: &FileName, known: &[PathBuf]) -> Option<(PathBuf, FileStamp)> {
    let name = file.as_str();
    if !safe_name(name, Platform::here()).is_ok_and(|safe| safe == name) {
        return None;
    }
    let path = folder.join(name);
    let metadata = shareable(&path).filter(Metadata::is_file)?;
    // A known torrent may have been shared under another path, through a link, or as a folder.
    let real = real_path(&path).ok()?;
    // On Windows a file answers to other names, too, and under those nobody would know that it is not
    // to be shared.
    if real.file_name()? != name {
        return None;
    }
    let mut known = known.iter().filter_map(|path| real_path(path).ok());
    if known.any(|known| real.starts_with(known)) {
        return None;
    }
    Some((path, FileStamp::of(name.into(), &metadata)))
}

/// The files of the folder that were not to be shared in the last run, and what they looked like.
fn unshared_in(folder: &Path, state: &Path) -> HashMap<FileName, FileStamp> {
    let unshared = unshared::read(state).into_iter();
    let here = unshared.filter(|(path, _)| path.parent() == Some(folder));
    let file = |(path, files): (PathBuf, Vec<FileStamp>)| {
        let name = path.file_name()?.to_str()?;
        Some((name.parse().ok()?, files.into_iter().next()?))
    };
    here.filter_map(file).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_plain_files_of_the_folder_are_found() {
        let temp = tempfile::tempdir().unwrap();
        let upload = temp.path().join("upload");
        fs::create_dir_all(upload.join("folder")).unwrap();
        let outside = temp.path().join("outside");
        fs::write(&outside, "secret").unwrap();
        for name in ["a", ".hidden", "b.part", "group", "folder/c"] {
            fs::write(upload.join(name), name).unwrap();
        }
        let known = [upload.join("group"), temp.path().join("gone")];
        let found = |name: &str| {
            let file: FileName = name.parse().unwrap();
            find(&upload, &file, &known).map(|(path, stamp)| (path, stamp.length))
        };
        assert_eq!(found("a"), Some((upload.join("a"), 1)));
        for name in [
            ".hidden",
            "b.part",
            "group",
            "folder",
            "nothing",
            "..\\outside",
            "A",
        ] {
            assert_eq!(found(name), None, "{name}");
        }
        #[cfg(unix)]
        {
            fs::write(upload.join("a: b"), "four").unwrap();
            assert_eq!(found("a: b"), Some((upload.join("a: b"), 4)));
            std::os::unix::fs::symlink(&outside, upload.join("link")).unwrap();
            assert_eq!(found("link"), None);
            let file: FileName = "a".parse().unwrap();
            assert!(find(&upload, &file, std::slice::from_ref(&upload)).is_none());
        }
    }
}
