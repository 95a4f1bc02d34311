//! Offering files and fetching them: the commands that take a path or a shared name.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::control::names::{FileName, GroupName, UserName};
use crate::control::reply::{Download, FileEntry};
use crate::control::request::Request;
use crate::control::stamp::GroupId;
use crate::peer::hashing::make::Wish;
use crate::peer::tracker_link::{LinkError, TrackerLink};
use crate::peer::view::{Status, TorrentView};
use crate::storage::names::{Platform, safe_name};
use crate::storage::real_path;
use crate::storage::resume::{Share, Sources};
use crate::torrent::id::FileHash;
use crate::torrent::metainfo::Metainfo;

use super::groups;
use super::hashing::{hash, sha256};
use super::listing::{self, read_torrent};
use super::offering::{self, Offered};
use super::other_names;
use super::peer_shell::{PeerShell, ShellError, quoted};
use super::table::{Align, table};
use super::units;
use super::watch;

/// How the answer to a successful `upload_file` begins. Programs look for it.
pub const UPLOADED: &str = "File uploaded successfully";

/// What is shared, and with whom. The two words of `upload_file` may come in either order: one is
/// a path that exists, the other a group.
fn path_and_group(
    shell: &mut PeerShell,
    first: &str,
    second: Option<&str>,
) -> Result<(PathBuf, GroupName), ShellError> {
    let Some(second) = second else {
        return Ok((find_upload(shell, first)?, GroupName::public()));
    };
    let together = format!("{first} {second}");
    if find_upload(shell, first).is_err() && find_upload(shell, &together).is_ok() {
        return Err(ShellError::Other(format!(
            "put quotes around a name with spaces: upload_file {}",
            quoted(&together)
        )));
    }
    let public = GroupName::public();
    let groups =
        if shell.peer.account.user().is_none() && [first, second].contains(&public.as_str()) {
            vec![public]
        } else {
            groups::needs_login(shell)?;
            groups::group_names(&mut shell.link)?
        };
    let group = |word: &str| {
        let name: GroupName = word.parse().ok()?;
        groups.iter().find(|group| **group == name).cloned()
    };
    let (first_path, second_path) = (find_upload(shell, first), find_upload(shell, second));
    match (first_path, group(second), second_path, group(first)) {
        (Ok(_), Some(_), Ok(_), Some(_)) => Err(ShellError::Other(format!(
            "`{first}` and `{second}` are both a file here and a group: write the path of the \
             file as ./{first} or ./{second}"
        ))),
        (Ok(path), Some(group), _, _) | (_, _, Ok(path), Some(group)) => Ok((path, group)),
        (Ok(_), None, _, _) => Err(no_group(second)),
        (_, _, Ok(_), None) => Err(no_group(first)),
        (Err(error), Some(_), _, _) | (_, _, Err(error), Some(_)) => Err(error),
        (Err(_), None, Err(_), None) => Err(ShellError::Other(format!(
            "`{first}` is no file here and `{second}` is no group: upload_file <path> <group>"
        ))),
    }
}

fn no_group(word: &str) -> ShellError {
    ShellError::Other(format!(
        "Group does not exist: {word}. list_groups shows all, create_group makes one"
    ))
}

/// Hashes a file or folder, offers it to a group and serves it.
pub fn upload_file(
    shell: &mut PeerShell,
    first: &str,
    second: Option<&str>,
) -> Result<String, ShellError> {
    let (path, group) = path_and_group(shell, first, second)?;
    share(shell, &path, group, Publish::Torrent)
}

/// What is told with a share.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Publish {
    Torrent,
    /// The SHA-256 of the whole file, too, if it is one file. It is read once more for that.
    TorrentAndSha256,
}

/// Hashes what lies at `path`, offers it to a group and serves it.
pub fn share(
    shell: &mut PeerShell,
    path: &Path,
    group: GroupName,
    publish: Publish,
) -> Result<String, ShellError> {
    let (user, id) = if group.is_public() {
        (None, None)
    } else {
        let ticket = groups::ticket(shell, &group)?;
        // Before it is hashed, which may take long.
        shell.peer.withhold(path)?;
        (Some(ticket.user), Some(ticket.group_id))
    };
    let wish = Wish {
        group: id,
        ..Wish::default()
    };
    let made = hash(shell, path, wish)?;
    let metainfo = Arc::new(made.metainfo);
    let name = metainfo.name().to_string();
    let size = units::bytes(metainfo.layout.total());
    let there = shell.peer.torrent(metainfo.info_hash)?;
    if let Some(there) = &there {
        let (name, path) = (&there.name, there.path.display());
        let theirs = is_for(there, user.as_ref());
        match (&there.status, &user) {
            (Status::Paused, _) => {
                let typed = quoted(name);
                return Ok(format!("{name} is shared, but paused: resume {typed}"));
            }
            (_, Some(user)) if !theirs => shell.peer.add_user(there.info_hash, user.clone())?,
            // Its SHA-256 is still to be told.
            (Status::Seeding, None)
                if publish == Publish::TorrentAndSha256 && lacks_sha256(there) => {}
            _ if there.is_unlisted() => {}
            _ => return Ok(format!("{name} is shared already: {path}")),
        }
    }
    let sha256 = match publish {
        Publish::TorrentAndSha256 if metainfo.layout.is_single() => {
            Some(sha256(shell, &*made.storage, metainfo.layout.total())?)
        }
        _ => None,
    };
    let users = user.into_iter().collect();
    let share = Share {
        sha256,
        ..offering::share(&metainfo, group.clone(), users)?
    };
    let holder = shell.peer.holder();
    let (published, mut said) = match offering::publish(&mut shell.link, holder, &metainfo, &share)?
    {
        Offered::At(tracker) => {
            let (with, how) = match group.is_public() {
                true => (String::new(), String::new()),
                false => (format!(" with {group}"), format!("{group} ")),
            };
            let how = format!("download_file {how}{}", quoted(&name));
            let said =
                format!("{UPLOADED}: {name} ({size}) is shared{with}. Others get it with: {how}");
            (tracker, said)
        }
        Offered::Later(error) => {
            let said = format!(
                "{name} ({size}) is ready, but {error}. It is shared as soon as one answers."
            );
            (None, said)
        }
    };
    if !group.is_public() && is_shared_with_everybody(shell, path)? {
        said += &format!("\n{name} is shared with everybody, too.");
    }
    if let Some(sha256) = sha256 {
        said += &format!("\nIts SHA-256 is {sha256}");
    }
    match (there, sha256) {
        (there, _) if there.as_ref().is_none_or(TorrentView::is_unlisted) => {
            shell
                .peer
                .seed(metainfo, made.storage, Some(share), published)?
        }
        (Some(there), Some(sha256)) => shell.peer.learn_sha256(there.info_hash, sha256)?,
        _ => {}
    }
    Ok(said)
}

/// Whether what lies at `path` is shared with everybody just now, by the user or by the watched
/// folder.
fn is_shared_with_everybody(shell: &PeerShell, path: &Path) -> Result<bool, ShellError> {
    let real = |path: &Path| real_path(path).ok();
    let wanted = real(path);
    let is_public = |share: &Share| share.group.is_public() && share.listed;
    let torrents = shell.peer.torrents()?;
    let mut public = torrents
        .iter()
        .filter(|torrent| torrent.share.as_ref().is_some_and(is_public));
    Ok(public.any(|torrent| real(&torrent.path) == wanted))
}

/// Whether it is shared with everybody, under its own name, without the SHA-256 of its one file.
fn lacks_sha256(torrent: &TorrentView) -> bool {
    let metainfo = &torrent.metainfo;
    let lacks = |share: &Share| {
        let own_name = share.name.as_str() == metainfo.name();
        share.group.is_public() && own_name && share.sha256.is_none()
    };
    metainfo.layout.is_single() && torrent.share.as_ref().is_some_and(lacks)
}

/// The files of a group.
pub fn list_files(shell: &mut PeerShell, group: Option<&str>) -> Result<String, ShellError> {
    let group = parse_group(shell, group)?;
    let entries = entries(&mut shell.link, &group)?;
    if entries.is_empty() {
        let to = match group.is_public() {
            true => String::new(),
            false => format!(" {group}"),
        };
        return Ok(format!(
            "No files in the group at this time. Share one with: upload_file <path>{to}"
        ));
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

/// The files of a group, as the tracker lists them.
pub fn entries(link: &mut TrackerLink, group: &GroupName) -> Result<Vec<FileEntry>, LinkError> {
    let group = group.clone();
    let reply = link.request(&Request::ListFiles { group })?;
    Ok(FileEntry::list_from_reply(reply)?)
}

/// The names of a group's files, for completion.
pub fn file_names(link: &mut TrackerLink, group: &GroupName) -> Vec<String> {
    let entries = entries(link, group).unwrap_or_default();
    let name = |entry: FileEntry| entry.name.as_str().to_string();
    entries.into_iter().map(name).collect()
}

/// The group that a command names, or the public one. For any other one must be logged in.
fn parse_group(shell: &PeerShell, word: Option<&str>) -> Result<GroupName, ShellError> {
    let Some(word) = word else {
        return Ok(GroupName::public());
    };
    let group: GroupName = word
        .parse()
        .map_err(|error| ShellError::Other(format!("`{word}` is no group: its name {error}")))?;
    if !group.is_public() {
        groups::needs_login(shell)?;
    }
    Ok(group)
}

/// A name as it was typed.
pub fn file_name(typed: &str) -> Result<FileName, ShellError> {
    let wrong = |error| ShellError::Other(format!("`{typed}` is no file name: {error}"));
    typed.parse().map_err(wrong)
}

/// Fetches a file of a group.
pub fn download_file(
    shell: &mut PeerShell,
    group: Option<&str>,
    file: &str,
    destination: Option<&str>,
) -> Result<String, ShellError> {
    let group = parse_group(shell, group)?;
    let name = file_name(file)?;
    let user = match group.is_public() {
        true => None,
        false => Some(groups::ticket(shell, &group)?.user),
    };
    let (metainfo, sha256) = torrent_of(shell, &group, &name)?;
    let metainfo = Arc::new(metainfo);
    let pieces = metainfo.layout.pieces();
    log::trace!(target: "hop", "{file}: the tracker sent its torrent, pieces: {pieces}");
    if let Some(text) = there_already(shell, &metainfo, user.as_ref())? {
        return Ok(text);
    }
    let share = Share {
        group,
        name,
        users: user.into_iter().collect(),
        sha256,
        listed: true,
    };
    fetch(shell, &metainfo, share, destination)
}

/// Begins a download that is not here yet.
pub fn fetch(
    shell: &PeerShell,
    metainfo: &Arc<Metainfo>,
    share: Share,
    destination: Option<&str>,
) -> Result<String, ShellError> {
    let target = target(shell, share.name.as_str(), destination)?;
    let watch = shell.watch.as_ref();
    if let Some(watch) = watch.filter(|watch| watch.is_around(&target))
        && !share.group.is_public()
    {
        return Err(ShellError::Other(format!(
            "{} is shared with everybody, and {} is for {} only: name another destination",
            watch.name(),
            share.name,
            share.group
        )));
    }
    shell.peer.download(
        metainfo.clone(),
        &target,
        Some(share),
        Sources::Anyone,
        &|| shell.interrupt.came(),
    )?;
    Ok(begun(shell, metainfo, &target))
}

/// The torrent that a group knows by this name, and what the whole file's SHA-256 shall be.
pub fn torrent_of(
    shell: &mut PeerShell,
    group: &GroupName,
    name: &FileName,
) -> Result<(Metainfo, Option<FileHash>), ShellError> {
    let request = Request::DownloadFile {
        group: group.clone(),
        name: name.clone(),
    };
    Ok(Download::from_reply(shell.link.request(&request)?)?)
}

/// Fetches or serves what a `.torrent` file describes.
pub fn add(shell: &mut PeerShell, torrent: &str) -> Result<String, ShellError> {
    let metainfo = Arc::new(read_torrent(&expand(torrent))?);
    let source = metainfo.source.as_deref().filter(|_| metainfo.private);
    if source.is_some_and(|source| source.parse::<GroupId>().is_ok()) {
        return Err(ShellError::Other(format!(
            "{torrent} is a group's: its members fetch it with download_file <group> {}",
            quoted(metainfo.name())
        )));
    }
    if let Some(text) = there_already(shell, &metainfo, None)? {
        return Ok(text);
    }
    let target = target(shell, metainfo.name(), None)?;
    shell
        .peer
        .download(metainfo.clone(), &target, None, Sources::Anyone, &|| {
            shell.interrupt.came()
        })?;
    let mut text = begun(shell, &metainfo, &target);
    let http = crate::peer::announcer::http_trackers(&metainfo.trackers).count();
    if http == 0 {
        text += "\nIt names no HTTP tracker, so nobody can be found through one.";
    }
    Ok(text)
}

/// To ask again for what is under way is no mistake: a script that was killed is run again.
/// What another user of this peer has fetched into a group is `user`'s, too, from now on.
pub fn there_already(
    shell: &PeerShell,
    metainfo: &Metainfo,
    user: Option<&UserName>,
) -> Result<Option<String>, ShellError> {
    let Some(mut there) = shell.peer.torrent(metainfo.info_hash)? else {
        return Ok(None);
    };
    if let Some(user) = user.filter(|user| !is_for(&there, Some(user))) {
        shell.peer.add_user(there.info_hash, user.clone())?;
        there = shell.peer.torrent(metainfo.info_hash)?.unwrap_or(there);
    }
    let (name, path) = (&there.name, there.path.display());
    let state = listing::state(&there);
    Ok(Some(format!("{name} is here already, {state}: {path}")))
}

/// Whether it is this user's, or everybody's.
fn is_for(torrent: &TorrentView, user: Option<&UserName>) -> bool {
    let users = torrent.share.as_ref().map(|share| share.users.as_slice());
    users.is_none_or(|users| users.is_empty() || user.is_some_and(|user| users.contains(user)))
}

fn begun(shell: &PeerShell, metainfo: &Metainfo, target: &Path) -> String {
    let size = units::bytes(metainfo.layout.total());
    let torrent = shell.peer.torrent(metainfo.info_hash).ok().flatten();
    let is_complete = |it: &TorrentView| it.status == Status::Seeding;
    let to = target.display();
    let mut said = match torrent.as_ref().is_some_and(is_complete) {
        true => format!("{to} ({size}) is there already, checked, and shared."),
        false => {
            let name = metainfo.name();
            format!("Downloading {name} ({size}) to {to}. `progress` shows it.")
        }
    };
    if let Some(names) = torrent.and_then(|it| other_names::first(&shell.peer, &it)) {
        said += &format!("\n{names}");
    }
    said
}

/// Where a download goes: the download folder, another folder, or just this path.
pub fn target(
    shell: &PeerShell,
    name: &str,
    destination: Option<&str>,
) -> Result<PathBuf, ShellError> {
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
pub fn stop_share(
    shell: &mut PeerShell,
    group: Option<&str>,
    file: &str,
) -> Result<String, ShellError> {
    let torrent = match group {
        None => Some(shell.find(file)?),
        Some(_) => {
            let group = parse_group(shell, group)?;
            let user = shell.peer.account.user();
            let is_it = |share: &Share| share.group == group && share.name.as_str() == file;
            let torrents = shell.peer.torrents()?;
            torrents.into_iter().find(|torrent| {
                torrent.share.as_ref().is_some_and(is_it) && is_for(torrent, user.as_ref())
            })
        }
    };
    let Some(torrent) = torrent else {
        return stop_share_elsewhere(shell, group, file);
    };
    let Some(share) = torrent.share.clone() else {
        let text = format!(
            "{file} is not shared in a group; `remove {}` ends it",
            quoted(file)
        );
        return Err(ShellError::Other(text));
    };
    shell.peer.remove(torrent.info_hash)?;
    watch::keep_unshared(shell, &torrent.path);
    let path = torrent.path.display();
    if !share.listed {
        return Ok(format!(
            "Stopped sharing this file: {file}. It stays on the disk: {path}"
        ));
    }
    let (holder, held) = (shell.peer.holder(), torrent.finished);
    let told = offering::withdraw(&mut shell.link, holder, torrent.info_hash, share, held);
    let told = told.map_err(ShellError::from);
    Ok(match told.and_then(groups::sentence) {
        Ok(_) => format!("Stopped sharing this file: {file}. It stays on the disk: {path}"),
        Err(error) => format!("Stopped sharing {file} here ({path}), but {error}"),
    })
}

/// What the user shares from another peer.
fn stop_share_elsewhere(
    shell: &mut PeerShell,
    group: Option<&str>,
    file: &str,
) -> Result<String, ShellError> {
    let group = parse_group(shell, group)?;
    let name = file_name(file)?;
    if group.is_public() {
        return Err(ShellError::NotHere(file.into()));
    }
    let info_hash = torrent_of(shell, &group, &name)?.0.info_hash;
    let share = Share {
        group,
        name,
        users: Vec::new(),
        sha256: None,
        listed: true,
    };
    let holder = shell.peer.holder();
    let reply = offering::withdraw(&mut shell.link, holder, info_hash, share, false);
    groups::sentence(reply?)
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
pub fn find_upload(shell: &PeerShell, typed: &str) -> Result<PathBuf, ShellError> {
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

/// What lies in the upload folder, for completion.
pub fn in_upload_folder(upload: &Path) -> Vec<String> {
    let entries = fs::read_dir(upload).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| !name.starts_with('.')).collect()
}

/// `~` at the beginning is the user's home.
pub fn expand(typed: &str) -> PathBuf {
    let rest = typed.strip_prefix('~');
    let rest = rest.and_then(|rest| rest.strip_prefix(std::path::is_separator));
    match (rest, std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(typed),
    }
}
