//! The upload folder, watched: what lies there is shared with everybody, and what changes there
//! follows by itself.
//!
//! A thread looks at the folder once a second. Notices of the system would be quicker, and are not
//! sent at all for most network drives, come too early for files that are still being written, and
//! get lost when there are many at once: whoever uses them must look, too. A look at a
//! thousand files takes some milliseconds, and works the same everywhere.
//!
//! | thread | owns | waits on | ends when |
//! |---|---|---|---|
//! | `watch` | what is known of the folder, a connection to our tracker | orders, hashes, the next look | [`Watch`] is dropped |
//!
//! In scope: the command, the option, and what others need to know of it. Not here: what is seen
//! (`look`), what of it is a group's (`groups`), what follows from it (`changes`), doing that
//! (`watcher`).

mod changes;
mod groups;
mod look;
mod watcher;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use clap::ValueEnum;
use crossbeam_channel::{Sender, bounded};
use parking_lot::Mutex;

use crate::peer::Peer;
use crate::runtime::stop::Stop;
use crate::runtime::threads;
use crate::storage::real_path;
use crate::storage::unshared::{self, Unshared};

use self::changes::MAX_SHARED;
use self::groups::{Groups, of_group};
use self::look::{Look, MAX_SEEN, files_at};
use self::watcher::Watcher;
use super::log_lines::spelled;
use super::peer_shell::{PeerShell, ShellError};

/// What of the folder is shared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Mode {
    /// Nothing: it is not watched
    Off,
    /// The files directly in it
    Files,
    /// Those, and each folder directly in it as one torrent
    Folders,
}

/// What was found in the folder.
#[derive(Clone, Default)]
struct Found {
    shared: usize,
    /// Not at rest yet, or being hashed.
    waiting: usize,
    /// The user shares them no longer.
    unshared: Vec<String>,
    /// Names, and why they cannot be shared.
    left_alone: Vec<(String, String)>,
    /// There are more than are looked at, or shared.
    more: bool,
}

/// A folder that is watched. Dropping it ends the watching; what is shared stays so.
pub struct Watch {
    /// Absolute.
    folder: PathBuf,
    /// As the user knows it.
    name: String,
    mode: Mode,
    found: Arc<Mutex<Found>>,
    orders: Option<Sender<Mode>>,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

/// The command `watch`.
pub fn watch(shell: &mut PeerShell, what: Option<&str>) -> Result<String, ShellError> {
    let mode = what.map(|what| Mode::from_str(what, false).map_err(ShellError::Other));
    match (mode.transpose()?, &mut shell.watch) {
        (None | Some(Mode::Off), None) => Ok(format!(
            "{} is not watched. `watch files` shares its files with everybody, `watch folders` its \
             folders as well.",
            name_of(&shell.upload)
        )),
        (None, Some(watch)) => Ok(watch.status()),
        (Some(Mode::Off), Some(_)) => {
            let watch = shell.watch.take();
            Ok(watch.map(Watch::off).unwrap_or_default())
        }
        (Some(mode), Some(watch)) => {
            watch.set(mode);
            Ok(watch.status())
        }
        (Some(mode), None) => begin(shell, mode),
    }
}

/// Begins to watch the upload folder, which is made if it is not there. Returns what that means,
/// in words.
pub fn begin(shell: &mut PeerShell, mode: Mode) -> Result<String, ShellError> {
    let failed = |source| ShellError::File {
        what: "cannot watch",
        path: shell.upload.clone(),
        source,
    };
    fs::create_dir_all(&shell.upload).map_err(failed)?;
    let folder = std::path::absolute(&shell.upload).map_err(failed)?;
    if is_same(&folder, shell.peer.folder()) {
        return Err(ShellError::Other(format!(
            "{} cannot be watched, as downloads go there: what a group shares would be shared with \
             everybody. Choose another folder (--upload DIR; with make UPLOAD=DIR)",
            name_of(&shell.upload)
        )));
    }
    let look = Look::at(&folder, mode, std::iter::empty()).map_err(failed)?;
    let (watch, said) = Watch::start(&shell.peer, folder, name_of(&shell.upload), mode, look)?;
    shell.watch = Some(watch);
    Ok(said)
}

/// The user shares what lies at `path` no longer. If that is the upload folder, it is not shared again in
/// another run either, until it changes: whether the folder is watched then, or only asked about.
pub fn keep_unshared(shell: &PeerShell, path: &Path) {
    let Ok(folder) = std::path::absolute(&shell.upload) else {
        return;
    };
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return;
    };
    // By the path that is asked for and watched.
    let path = folder.join(name);
    if !is_same(parent, &folder) {
        return;
    }
    let Some(files) = files_at(&path, Mode::Folders) else {
        return;
    };
    let insert = |all: &mut Unshared| drop(all.insert(path, files));
    if let Err(error) = unshared::change(shell.peer.state_folder(), insert) {
        log::error!(target: "watch", "what is not to be shared could not be kept: {error}");
    }
}

impl Watch {
    fn start(
        peer: &Peer,
        folder: PathBuf,
        name: String,
        mode: Mode,
        look: Look,
    ) -> Result<(Watch, String), ShellError> {
        let stop = Stop::new();
        let found = Arc::new(Mutex::new(Found::default()));
        let (orders, inbox) = bounded(1);
        let unshared = unshared::read(peer.state_folder());
        let groups = Groups::of(&peer.torrents()?, &folder);
        let will_be_shared = look.entries.iter().filter(|(name, seen)| {
            let unshared = unshared.get(&folder.join(name));
            groups.group_of(name).is_none() && unshared.is_none_or(|files| *files != seen.files)
        });
        let count = will_be_shared.count();
        let mut said = format!(
            "{name}: {} shared with everybody; watch off ends that",
            amount(count.min(MAX_SHARED), mode)
        );
        for of in look.entries.keys() {
            if let Some(group) = groups.group_of(of) {
                said += &format!("\n{} {}", spelled(&of.to_string_lossy()), of_group(group));
            }
        }
        if count > MAX_SHARED || look.more {
            said += &format!("\n{}", too_many(&name));
        }
        let watcher = Watcher::new(
            peer,
            (folder.clone(), mode),
            (look, unshared),
            found.clone(),
            stop.clone(),
        );
        let thread = threads::spawn("watch", None, move || watcher.run(&inbox));
        let thread = thread.map_err(crate::peer::PeerError::Thread)?;
        let watch = Watch {
            folder,
            name,
            mode,
            found,
            orders: Some(orders),
            stop,
            thread: Some(thread),
        };
        Ok((watch, said))
    }

    /// From the next look on this is what is shared.
    fn set(&mut self, mode: Mode) {
        self.mode = mode;
        if let Some(orders) = &self.orders {
            // The thread ends only after us; it takes what is sent within seconds.
            let _ = orders.send(mode);
        }
    }

    /// Ends the sharing, too.
    fn off(mut self) -> String {
        let mode = self.mode;
        self.set(Mode::Off);
        self.join();
        let shared = amount(self.found.lock().shared, mode);
        format!(
            "{} is not watched any more: {shared} no longer shared with everybody. Nothing was \
             deleted.",
            self.name
        )
    }

    /// As the user knows the folder: `upload/`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether `path`, which need not exist, lies directly in the folder, or below it if that is
    /// shared, too.
    pub fn is_around(&self, path: &Path) -> bool {
        let parents = path.ancestors().skip(1);
        let near = if self.mode == Mode::Folders { 64 } else { 1 };
        let mut parents = parents.take(near);
        parents.any(|parent| is_same(parent, &self.folder))
    }

    fn status(&self) -> String {
        let found = self.found.lock().clone();
        let with = match self.mode {
            Mode::Folders => ", with its folders",
            Mode::Off | Mode::Files => "",
        };
        let mut text = format!(
            "{} is watched{with}: {} shared with everybody; watch off ends that",
            self.name,
            amount(found.shared, self.mode)
        );
        if found.waiting > 0 {
            text += &format!(
                "\n{} not shared yet: looked at until at rest, then hashed",
                amount(found.waiting, self.mode)
            );
        }
        for name in &found.unshared {
            let name = spelled(name);
            text += &format!("\n{name} is not shared, as you wished, until it changes");
        }
        for (name, why) in &found.left_alone {
            text += &format!("\n{} {}", spelled(name), spelled(why));
        }
        if found.more {
            text += &format!("\n{}", too_many(&self.name));
        }
        text
    }

    fn join(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            threads::join(thread);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.request();
        self.join();
    }
}

fn amount(count: usize, mode: Mode) -> String {
    let (one, many) = match mode {
        Mode::Folders => ("file or folder", "files and folders"),
        Mode::Off | Mode::Files => ("file", "files"),
    };
    match count {
        1 => format!("1 {one} is"),
        _ => format!("{count} {many} are"),
    }
}

fn too_many(folder: &str) -> String {
    format!(
        "{folder} holds too much: at most {MAX_SHARED} are shared, of the first {MAX_SEEN} that \
         are found. Put files into folders, and share those: watch folders"
    )
}

/// A folder with a slash behind it, so that it reads as one.
fn name_of(folder: &Path) -> String {
    let shown = folder.display().to_string();
    match shown.ends_with(std::path::is_separator) {
        true => shown,
        false => shown + "/",
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    one == other
        || matches!(
            (real_path(one), real_path(other)),
            (Ok(one), Ok(other)) if one == other
        )
}
