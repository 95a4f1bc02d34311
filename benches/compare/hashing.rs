//! Making a torrent, and checking what is on the disk.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::client::{ARIA2_ALONE, Client, Running, Seat};
use super::figures::{Figures, in_turns};
use super::network;
use super::process::is_installed;
use super::report::{Section, Table, Wanted, number, spread};
use super::settings::Settings;
use super::swarm;

const PIECE: u32 = 1 << 20;

/// Making a torrent of a file that is in the page cache.
pub fn make(settings: &Settings) -> Result<Section, String> {
    let mut section = Section::new("Making a torrent");
    let bytes: u64 = settings.pick(256 << 20, 2 << 30);
    let temp = tempfile::tempdir_in(&settings.folder).map_err(|error| error.to_string())?;
    let folder = temp.path();
    let file = folder.join("file.bin");
    swarm::random_file(&file, bytes)?;
    let mut makers = vec!["ours"];
    if is_installed("mktorrent") {
        makers.push("mktorrent -t 2");
    }
    let outcomes = in_turns(settings.rounds(), &makers, |maker| {
        let out = folder.join("file.bin.torrent");
        let _ = fs::remove_file(&out);
        let mut command = match *maker {
            "ours" => swarm::our_commands(
                folder,
                &format!("make_torrent file.bin --piece-length {PIECE}"),
            )?,
            _ => {
                let mut command = Command::new("mktorrent");
                command.args(["-t", "2", "-l", "20", "-o", "file.bin.torrent", "file.bin"]);
                command.current_dir(folder);
                command
            }
        };
        let time = timed(&mut command)?;
        fs::metadata(&out).map_err(|error| format!("{maker} has made no torrent: {error}"))?;
        Ok(time)
    })?;
    section.say(format!(
        "{} MiB in one file, pieces of 1 MiB, seconds.",
        bytes >> 20
    ));
    let all = tell(&mut section, &makers, outcomes);
    if let [ours, theirs] = &all[..] {
        let ratio = ours.median() / theirs.median();
        section.aim("time / mktorrent's", Wanted::AtMost(1.0), ratio);
    }
    Ok(section)
}

/// Checking a file that is there: a torrent that is new to us, or `verify`.
pub fn check(settings: &Settings) -> Result<Section, String> {
    let mut section = Section::new("Checking what is there");
    let bytes: u64 = settings.pick(256 << 20, 2 << 30);
    let temp = tempfile::tempdir_in(&settings.folder).map_err(|error| error.to_string())?;
    let folder = temp.path();
    let file = folder.join("file.bin");
    swarm::random_file(&file, bytes)?;
    let content = swarm::content(file, PIECE)?;
    let torrent = folder.join("file.bin.torrent");
    let seat = Seat {
        client: Some(Client::Transmission),
        address: network::FIRST,
        tracker: (network::FIRST, 0).into(),
        network: None,
        home: folder.join("transmission"),
        content: folder.to_path_buf(),
    };
    let clients = Client::all();
    let mut transmission = match clients.contains(&Client::Transmission) {
        true => Some(Client::Transmission.start(&seat, std::slice::from_ref(&torrent))?),
        false => None,
    };
    let names: Vec<&str> = clients.iter().map(|client| client.name()).collect();
    let outcomes = in_turns(settings.rounds(), &clients, |client| {
        match (client, &mut transmission) {
            (Client::Ours, _) => {
                let _ = fs::remove_dir_all(folder.join(".mini-bittorrent"));
                let add = format!("add \"{}\"", torrent.display());
                timed(swarm::our_commands(folder, &add)?.args(["--download", "."]))
            }
            (Client::Aria2, _) => timed(
                Command::new("aria2c")
                    .args(ARIA2_ALONE)
                    .args([
                        "--check-integrity=true",
                        "--hash-check-only=true",
                        "--seed-time=0",
                    ])
                    .arg(&torrent)
                    .current_dir(folder),
            ),
            (Client::Transmission, Some(running)) => {
                until_checked(running)?;
                let began = Instant::now();
                running.ask("torrent-verify", "")?;
                until_checked(running)?;
                Ok(began.elapsed().as_secs_f64())
            }
            (Client::Transmission, None) => Err("Transmission does not run".into()),
        }
    })?;
    section.say(format!(
        "{} MiB in one file, pieces of 1 MiB, seconds: our program and aria2 from start to end, \
         Transmission's verify alone.",
        content.bytes() >> 20
    ));
    let all = tell(&mut section, &names, outcomes);
    if let Some(at) = clients
        .iter()
        .position(|client| *client == Client::Transmission)
    {
        let ratio = all[0].median() / all[at].median();
        section.aim("time / Transmission's", Wanted::AtMost(0.5), ratio);
    }
    Ok(section)
}

/// Waits until Transmission has checked its torrent, and has all of it.
fn until_checked(running: &mut Running) -> Result<(), String> {
    loop {
        let answer = running.ask("torrent-get", r#""fields":["status","leftUntilDone"]"#)?;
        // 1: it is to be checked. 2: it is being checked.
        let busy = ["\"status\":1", "\"status\":2"];
        if !busy.iter().any(|one| answer.contains(one)) && answer.contains("\"leftUntilDone\":0") {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Seconds until it has ended, and ended well.
fn timed(command: &mut Command) -> Result<f64, String> {
    let began = Instant::now();
    let done = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let time = began.elapsed().as_secs_f64();
    match done {
        Ok(status) if status.success() => Ok(time),
        other => Err(format!("{command:?}: {other:?}")),
    }
}

fn tell(section: &mut Section, names: &[&str], outcomes: Vec<Vec<f64>>) -> Vec<Figures> {
    let all: Vec<Figures> = outcomes
        .into_iter()
        .map(|times| times.into_iter().collect())
        .collect();
    let mut table = Table::new(["", "seconds", "ours / theirs"]);
    for (name, figures) in names.iter().zip(&all) {
        table.row([
            name.to_string(),
            spread(figures),
            number(all[0].median() / figures.median()),
        ]);
    }
    section.table(&table);
    all
}
