//! Offering files and fetching them: the commands that take a path or a shared name.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};
use indicatif::{ProgressBar, ProgressStyle};

use crate::control::names::{FileName, GroupName};
use crate::control::reply::{Download, FileEntry, Uploaded};
use crate::control::request::{Holder, Request, Upload};
use crate::peer::hashing::make::{self, Made, Wish};
use crate::peer::tracker_link::TrackerLink;
use crate::peer::view::Status;
use crate::storage::names::{Platform, safe_name};
use crate::storage::resume::Share;
use crate::torrent::metainfo::Metainfo;

use super::listing::{self, read_torrent};
use super::peer_shell::{PeerShell, ShellError, quoted};
use super::table::{Align, table};
use super::units;

/// How often bars are drawn and Ctrl-C is looked for.
const REFRESH: Duration = Duration::from_millis(100);

/// Hashes a file or folder, offers it to everybody and serves it.
pub fn upload_file(shell: &mut PeerShell, typed: &str) -> Result<String, ShellError> {
    let path = find_upload(shell, typed)?;
    let made = hash(shell, &path, Wish::default())?;
    let metainfo = Arc::new(made.metainfo);
    let name = metainfo.name().to_string();
    let size = units::bytes(metainfo.layout.total());
    if let Some(there) = shell.peer.torrent(metainfo.info_hash)? {
        return Ok(format!(
            "{} is shared already: {}",
            there.name,
            there.path.display()
        ));
    }
    let file_name: FileName = name
        .parse()
        .map_err(|error| ShellError::Other(format!("{name} cannot be shared: {error}")))?;
    let upload = Upload {
        group: GroupName::public(),
        name: file_name,
        metainfo: (*metainfo).clone(),
        holder: holder(shell),
    };
    let (published, said) = match shell.link.request(&Request::UploadFile(Box::new(upload))) {
        Ok(reply) => {
            Uploaded::from_reply(reply)?;
            (
                true,
                format!(
                    "Shared {name} ({size}). Others get it with: download_file {}",
                    quoted(&name)
                ),
            )
        }
        Err(error) if error.is_unreachable() => (
            false,
            format!("{name} ({size}) is ready, but {error}. It is shared as soon as one answers."),
        ),
        Err(error) => return Err(error.into()),
    };
    shell
        .peer
        .seed(metainfo, made.storage, Some(public(&name)), published)?;
    Ok(said)
}

/// The files of the public group.
pub fn list_files(shell: &mut PeerShell) -> Result<String, ShellError> {
    let request = Request::ListFiles {
        group: GroupName::public(),
    };
    let entries = FileEntry::list_from_reply(shell.link.request(&request)?)?;
    if entries.is_empty() {
        return Ok("No files in the group at this time. Share one with: upload_file <path>".into());
    }
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|entry| {
            vec![
                entry.name.as_str().to_string(),
                units::bytes(entry.size),
                entry.seeders.to_string(),
                entry.leechers.to_string(),
            ]
        })
        .collect();
    let right = Align::Right;
    let head = [
        ("file", Align::Left),
        ("size", right),
        ("seeders", right),
        ("leechers", right),
    ];
    Ok(table(&head, &rows))
}

/// The names of the public group's files, for completion.
pub fn file_names(link: &mut TrackerLink) -> Vec<String> {
    let request = Request::ListFiles {
        group: GroupName::public(),
    };
    let entries = link.request(&request).ok().map(FileEntry::list_from_reply);
    let entries = entries.and_then(Result::ok).unwrap_or_default();
    entries
        .into_iter()
        .map(|entry| entry.name.as_str().to_string())
        .collect()
}

/// Fetches a file of the public group.
pub fn download_file(
    shell: &mut PeerShell,
    file: &str,
    destination: Option<&str>,
) -> Result<String, ShellError> {
    let name: FileName = file
        .parse()
        .map_err(|error| ShellError::Other(format!("`{file}` is no file name: {error}")))?;
    let request = Request::DownloadFile {
        group: GroupName::public(),
        name,
    };
    let metainfo = Arc::new(Download::from_reply(shell.link.request(&request)?)?);
    let pieces = metainfo.layout.pieces();
    log::trace!(target: "hop", "{file}: the tracker sent its torrent, pieces: {pieces}");
    if let Some(text) = there_already(shell, &metainfo)? {
        return Ok(text);
    }
    let target = target(shell, file, destination)?;
    shell
        .peer
        .download(metainfo.clone(), &target, Some(public(file)), &|| {
            shell.interrupt.came()
        })?;
    Ok(begun(shell, &metainfo, &target))
}

/// Fetches or serves what a `.torrent` file describes.
pub fn add(shell: &mut PeerShell, torrent: &str) -> Result<String, ShellError> {
    let metainfo = Arc::new(read_torrent(&expand(torrent))?);
    if let Some(text) = there_already(shell, &metainfo)? {
        return Ok(text);
    }
    let target = target(shell, metainfo.name(), None)?;
    shell
        .peer
        .download(metainfo.clone(), &target, None, &|| shell.interrupt.came())?;
    let mut text = begun(shell, &metainfo, &target);
    let http = crate::peer::announcer::http_trackers(&metainfo.trackers).count();
    if http == 0 {
        text += "\nIt names no HTTP tracker, so nobody can be found through one.";
    }
    Ok(text)
}

/// To ask again for what is under way is no mistake: a script that was killed is run again.
fn there_already(shell: &PeerShell, metainfo: &Metainfo) -> Result<Option<String>, ShellError> {
    let there = shell.peer.torrent(metainfo.info_hash)?;
    Ok(there.map(|there| {
        let (name, path) = (&there.name, there.path.display());
        format!("{name} is here already, {}: {path}", listing::state(&there))
    }))
}

fn begun(shell: &PeerShell, metainfo: &Metainfo, target: &Path) -> String {
    let size = units::bytes(metainfo.layout.total());
    let complete = shell
        .peer
        .torrent(metainfo.info_hash)
        .is_ok_and(|view| view.is_some_and(|view| view.status == Status::Seeding));
    if complete {
        return format!(
            "{} ({size}) is there already, checked, and shared.",
            target.display()
        );
    }
    format!(
        "Downloading {} ({size}) to {}. `progress` shows it.",
        metainfo.name(),
        target.display()
    )
}

/// Where a download goes: the download folder, another folder, or just this path.
fn target(shell: &PeerShell, name: &str, destination: Option<&str>) -> Result<PathBuf, ShellError> {
    let safe = safe_name(name, Platform::here())
        .map_err(|error| ShellError::Other(format!("{name} cannot be a file here: {error}")))?;
    let Some(typed) = destination else {
        return Ok(shell.peer.folder().join(safe));
    };
    let path = std::path::absolute(expand(typed)).map_err(|source| ShellError::File {
        what: "cannot use",
        path: typed.into(),
        source,
    })?;
    let folder = path.is_dir() || typed.ends_with(std::path::is_separator);
    Ok(if folder { path.join(safe) } else { path })
}

/// Shares a file no longer. It stays on the disk.
pub fn stop_share(shell: &mut PeerShell, file: &str) -> Result<String, ShellError> {
    let torrent = shell.find(file)?;
    let Some(share) = torrent.share.clone() else {
        let text = format!(
            "{file} is not shared in a group; `remove {}` ends it",
            quoted(file)
        );
        return Err(ShellError::Other(text));
    };
    shell.peer.remove(torrent.info_hash)?;
    let (group, name) = (
        share.group.parse::<GroupName>(),
        share.name.parse::<FileName>(),
    );
    if let (Ok(group), Ok(name)) = (group, name) {
        let holder = holder(shell);
        let info_hash = torrent.info_hash;
        let request = Request::StopShare {
            group,
            name,
            info_hash,
            holder,
        };
        if let Err(error) = shell.link.request(&request) {
            return Ok(format!(
                "Stopped sharing {file}, but {error}: it stays listed for a while."
            ));
        }
    }
    Ok(format!(
        "Stopped sharing {file}. It stays on the disk: {}",
        torrent.path.display()
    ))
}

/// Writes `<name>.torrent` into the current folder.
pub fn make_torrent(
    shell: &mut PeerShell,
    typed: &str,
    announce: &[&str],
    piece_length: Option<&str>,
) -> Result<String, ShellError> {
    let path = find_upload(shell, typed)?;
    let piece_length = piece_length.map(str::parse).transpose();
    let piece_length =
        piece_length.map_err(|_| ShellError::Other("--piece-length: too large a number".into()))?;
    let made = hash(
        shell,
        &path,
        Wish {
            piece_length,
            ..Wish::default()
        },
    )?;
    let mut metainfo = made.metainfo;
    metainfo.trackers = announce.iter().map(|url| vec![url.to_string()]).collect();
    let bytes = metainfo.to_bytes();
    let out = PathBuf::from(format!("{}.torrent", metainfo.name()));
    match fs::read(&out) {
        Ok(there) if there != bytes => {
            let text = format!(
                "{} is there already and differs; move it first",
                out.display()
            );
            return Err(ShellError::Other(text));
        }
        Ok(_) => {}
        Err(_) => fs::write(&out, bytes).map_err(|source| ShellError::File {
            what: "cannot write",
            path: out.clone(),
            source,
        })?,
    }
    Ok(format!(
        "Wrote {} (info hash {}).",
        out.display(),
        metainfo.info_hash
    ))
}

/// A path as typed, or below the upload folder, or the name of something that is complete here.
fn find_upload(shell: &PeerShell, typed: &str) -> Result<PathBuf, ShellError> {
    let path = expand(typed);
    let below = shell.upload.join(&path);
    if path.exists() {
        return Ok(path);
    }
    if below.exists() {
        return Ok(below);
    }
    match shell.find(typed) {
        Ok(torrent) if torrent.finished => Ok(torrent.path),
        _ => Err(ShellError::Other(format!(
            "there is no {} (and none in the upload folder {}); type the path of a file or folder",
            path.display(),
            shell.upload.display()
        ))),
    }
}

/// `~` at the beginning is the user's home.
fn expand(typed: &str) -> PathBuf {
    match (typed.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(typed),
    }
}

fn hash(shell: &PeerShell, path: &Path, wish: Wish) -> Result<Made, ShellError> {
    let (done, made) = bounded(1);
    let on_done = move |result| drop(done.send(result));
    let open = shell.peer.open_files.clone();
    let making = make::make_torrent(&shell.peer.pool, open, path, wish, on_done)?;
    for skipped in &making.skipped {
        println!("Left out: {skipped}");
    }
    let bar = ProgressBar::new(making.task.progress().total).with_style(hashing_style());
    let result = loop {
        match made.recv_timeout(REFRESH) {
            Ok(result) => break result,
            Err(RecvTimeoutError::Timeout) => bar.set_position(making.task.progress().done),
            Err(RecvTimeoutError::Disconnected) => break Err(make::MakeError::Cancelled),
        }
        if shell.interrupt.came() {
            making.task.cancel();
        }
    };
    bar.finish_and_clear();
    Ok(result?)
}

fn hashing_style() -> ProgressStyle {
    // The template is ours and right; the fallback is a bar all the same.
    ProgressStyle::with_template("hashing [{bar:40}] {percent}% {decimal_bytes_per_sec} {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

fn holder(shell: &PeerShell) -> Holder {
    Holder {
        peer_id: shell.peer.peer_id(),
        port: shell.peer.local_addr().port(),
    }
}

fn public(name: &str) -> Share {
    Share {
        group: GroupName::public().as_str().to_string(),
        name: name.to_string(),
    }
}
