//! Lists and descriptions, as text: downloads, peers, torrent files, ourselves.

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;

use crate::peer::view::{PeerRow, Status, TorrentView};
use crate::torrent::metainfo::{MAX_TORRENT_BYTES, Metainfo};

use super::peer_shell::{PeerShell, ShellError};
use super::sharing::expand;
use super::table::{Align, table};
use super::units;

/// How many files of a torrent are listed before "and N more".
const LISTED_FILES: usize = 50;

/// One line a torrent: `[D] [group] name`, then how far, how fast, and why not.
pub fn show_downloads(torrents: &[TorrentView]) -> String {
    if torrents.is_empty() {
        return "No downloads and no shares. Try: list_files".into();
    }
    let rows: Vec<Vec<String>> = torrents
        .iter()
        .map(|torrent| {
            let group = torrent
                .share
                .as_ref()
                .map_or("-", |share| share.group.as_str());
            vec![
                format!("[{}] [{group}] {}", letter(torrent), torrent.name),
                units::bytes(torrent.size),
                format!("{} %", torrent.percent()),
                units::rate(torrent.rate_down),
                units::rate(torrent.rate_up),
                torrent.peers.to_string(),
                state(torrent),
            ]
        })
        .collect();
    let right = Align::Right;
    let head = [
        ("", Align::Left),
        ("size", right),
        ("done", right),
        ("down", right),
        ("up", right),
        ("peers", right),
        ("", Align::Left),
    ];
    table(&head, &rows)
}

/// `D` downloading, `C` complete, `P` paused, `E` stopped by an error.
fn letter(torrent: &TorrentView) -> char {
    match torrent.status {
        Status::Checking { .. } | Status::Downloading | Status::Finishing => 'D',
        Status::Seeding => 'C',
        Status::Paused => 'P',
        Status::Locked { .. } => 'L',
        Status::Stopped { .. } => 'E',
    }
}

/// What a torrent is doing, or why it is not.
pub fn state(torrent: &TorrentView) -> String {
    match &torrent.status {
        Status::Checking { .. } => "checking what is on the disk".into(),
        Status::Downloading => match (&torrent.why, torrent.eta()) {
            (Some(why), _) => why.to_string(),
            (None, Some(eta)) => format!("{} left", units::time(eta)),
            (None, None) => "waiting for the first bytes".into(),
        },
        Status::Finishing if torrent.sha256().is_some() => "comparing the SHA-256".into(),
        Status::Finishing => "moving the files to their place".into(),
        Status::Seeding => format!("sharing, {} given", units::bytes(torrent.uploaded)),
        Status::Paused => "paused".into(),
        Status::Locked { reason, .. } => format!("locked: {reason}"),
        Status::Stopped {
            reason,
            waits_for_space: true,
        } => format!("waiting: {reason}"),
        Status::Stopped { reason, .. } => format!("stopped: {reason}"),
    }
}

/// The peers of all torrents, or of the one called `file`.
pub fn show_peers(peers: &[PeerRow], file: Option<&str>, shunned: &[SocketAddr]) -> String {
    let wanted = peers
        .iter()
        .filter(|peer| file.is_none_or(|file| peer.torrent == file));
    let rows: Vec<Vec<String>> = wanted
        .map(|peer| {
            let (down, up, state) = match &peer.connected {
                None => (0, 0, "gone".to_string()),
                Some(view) => (view.rate_from, view.rate_to, peer_state(view)),
            };
            vec![
                peer.torrent.clone(),
                peer.address.to_string(),
                peer.client.clone(),
                units::bytes(peer.downloaded),
                units::rate(down),
                units::bytes(peer.uploaded),
                units::rate(up),
                state,
            ]
        })
        .collect();
    let shunned: Vec<String> = shunned.iter().map(SocketAddr::to_string).collect();
    let alone = match shunned.is_empty() {
        true => String::new(),
        false => format!(
            "\nLeft alone until `connect` names them: {}",
            shunned.join(", ")
        ),
    };
    if rows.is_empty() {
        let none = "No peers. They are found through the trackers, which `info` names.";
        return format!("{none}{alone}");
    }
    let (left, right) = (Align::Left, Align::Right);
    let head = [
        ("file", left),
        ("peer", left),
        ("client", left),
        ("got", right),
        ("down", right),
        ("gave", right),
        ("up", right),
        ("", left),
    ];
    format!("{}{alone}", table(&head, &rows).trim_end())
}

fn peer_state(view: &crate::torrent::PeerView) -> String {
    let mut words = vec![format!("has {} pieces", view.pieces)];
    if !view.is_source {
        words.push("is not asked: other sources were chosen".into());
    } else if view.snubbed {
        words.push("sends nothing".into());
    } else if view.we_are_interested && view.chokes_us {
        words.push("does not serve us now".into());
    }
    if view.interested_in_us && !view.unchoked {
        words.push("waits for us".into());
    }
    words.join(", ")
}

/// What a `.torrent` file says.
pub fn torrent_info(path: &str) -> Result<String, ShellError> {
    let metainfo = read_torrent(&expand(path))?;
    let layout = &metainfo.layout;
    let mut text = format!(
        "name          {}\ninfo hash     {}\nsize          {} ({} bytes)\npieces        {} of {} bytes\nprivate       {}\n",
        metainfo.name(),
        metainfo.info_hash,
        units::bytes(layout.total()),
        layout.total(),
        layout.pieces(),
        layout.piece_length(),
        if metainfo.private { "yes" } else { "no" },
    );
    if metainfo.trackers.is_empty() {
        text += "trackers      none\n";
    }
    for (tier, urls) in metainfo.trackers.iter().enumerate() {
        text += &format!("tracker {}     {}\n", tier + 1, urls.join(" "));
    }
    for file in layout.files().iter().take(LISTED_FILES) {
        let size = units::bytes(file.length);
        text += &format!("file          {size:>10}  {}\n", file.path.join("/"));
    }
    if layout.files().len() > LISTED_FILES {
        text += &format!(
            "file          and {} more\n",
            layout.files().len() - LISTED_FILES
        );
    }
    Ok(text)
}

/// Reads a `.torrent` file, no more of it than we would parse.
pub fn read_torrent(path: &Path) -> Result<Metainfo, ShellError> {
    let failed = |source| ShellError::File {
        what: "cannot read",
        path: path.to_path_buf(),
        source,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_TORRENT_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    let path = path.display().to_string();
    Metainfo::parse(&bytes).map_err(|source| ShellError::Torrent { path, source })
}

/// Our address, folders, tracker, limits and totals.
pub fn info(shell: &PeerShell) -> Result<String, ShellError> {
    let torrents = shell.peer.torrents()?;
    let sum = |of: fn(&TorrentView) -> u64| torrents.iter().map(of).sum::<u64>();
    let limit = |limit: Option<u64>| limit.map_or("none".into(), units::rate);
    let trackers = shell
        .peer
        .trackers
        .view()
        .into_iter()
        .map(|view| match view.used {
            true => format!("{} (in use)", view.tracker),
            false => view.tracker.to_string(),
        });
    let trackers: Vec<String> = trackers.collect();
    let seeds = |torrent: &TorrentView| torrent.status == Status::Seeding;
    let user = match shell.peer.account.user() {
        Some(user) => user.to_string(),
        None => "nobody is logged in".into(),
    };
    Ok(format!(
        "address       {}\nid            {}\nuser          {user}\nupload        {}\ndownload      {}\ntrackers      {}\nlimits        up {}, down {}\ngot           {} at {}\ngave          {} at {}\nCurrent status: {}.",
        shell.peer.local_addr(),
        shell.peer.peer_id(),
        shell.upload.display(),
        shell.peer.folder().display(),
        trackers.join(", "),
        limit(shell.peer.limits.up.limit()),
        limit(shell.peer.limits.down.limit()),
        units::bytes(sum(|torrent| torrent.downloaded)),
        units::rate(sum(|torrent| torrent.rate_down)),
        units::bytes(sum(|torrent| torrent.uploaded)),
        units::rate(sum(|torrent| torrent.rate_up)),
        if torrents.iter().any(seeds) {
            "Seeder"
        } else {
            "Leecher"
        },
    ))
}
