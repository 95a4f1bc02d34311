//! Files that move from seeds to those who fetch them.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use super::bare;
use super::client::{Client, Seat};
use super::figures::{Figures, in_turns};
use super::long_way::LongWay;
use super::network;
use super::report::{Section, Table, Wanted, mib, number, spread};
use super::settings::Settings;
use super::swarm::{self, Content, Meter, Outcome, Place, Seeds, Tracker};

const MIB: u64 = 1 << 20;

/// Who takes part: a client, or the bare program.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Contestant {
    Bare,
    Client(Client),
}

impl Contestant {
    fn name(self) -> &'static str {
        match self {
            Contestant::Bare => "bare program",
            Contestant::Client(client) => client.name(),
        }
    }
}

/// A row of tables: who, and what it took.
struct Row {
    name: &'static str,
    outcomes: Vec<Outcome>,
}

impl Row {
    fn figures(&self, of: impl Fn(&Outcome) -> f64) -> Figures {
        self.outcomes.iter().map(of).collect()
    }
}

impl Row {
    fn rate(&self) -> f64 {
        self.figures(Outcome::rate).median()
    }

    /// CPU seconds for a GB, of both ends.
    fn cost(&self) -> f64 {
        self.figures(|outcome| outcome.cost().iter().sum()).median()
    }
}

/// The other clients; the first row is ours.
fn others(rows: &[Row]) -> impl Iterator<Item = &Row> {
    let bare = Contestant::Bare.name();
    rows[1..].iter().filter(move |row| row.name != bare)
}

/// How far we are to be ahead of the faster one of the others: from the start of who fetches, as its
/// user sees it; and at least ahead once bytes travel.
fn ahead(section: &mut Section, what: &str, rows: &[Row], wanted: f64) {
    let mut compare = |how: &str, rate: fn(&Outcome) -> f64, wanted| {
        let median = |row: &Row| row.figures(rate).median();
        let faster = others(rows).map(median).fold(f64::NAN, f64::max);
        section.aim(
            format!("{what}, {how}, rate / the faster client's"),
            Wanted::AtLeast(wanted),
            median(&rows[0]) / faster,
        );
    };
    compare("from the start", Outcome::whole_rate, wanted);
    compare("first byte to last", Outcome::rate, 1.0);
}

const SLOW: &str = "Transmission would take minutes for it, so it moves a thirty-second part.";

/// One seed, one who fetches, pieces of three sizes; beside the bare program.
pub fn one_to_one(settings: &Settings) -> Result<Section, String> {
    let mut section = Section::new("One seed, one downloader");
    let size = settings.pick(128, 1024) * MIB;
    let pieces: &[u32] = settings.pick(&[1024], &[256, 1024, 4096]);
    section.say(format!(
        "{} MiB in one file. The bare program reads, sends, receives, hashes and writes, and has \
         no protocol: what the machine can do. {SLOW}",
        size / MIB
    ));
    for &kib in pieces {
        let rows = race(settings, Place::Here, true, 1, 1, |own| {
            one_file(own, "", size, kib * 1024)
        })?;
        section.say(format!("**Pieces of {kib} KiB**"));
        tell(&mut section, &rows);
        let what = format!("pieces of {kib} KiB");
        if let Some(bare) = rows.iter().find(|row| row.name == Contestant::Bare.name()) {
            let share = rows[0].rate() / bare.rate();
            let wanted = Wanted::AtLeast(0.85);
            section.aim(format!("{what}, rate / the bare program's"), wanted, share);
        }
        ahead(&mut section, &what, &rows, 2.0);
        let theirs = others(&rows).map(Row::cost).fold(f64::NAN, f64::min);
        section.aim(
            format!("{what}, CPU of both / the leaner client's"),
            Wanted::AtMost(0.65),
            rows[0].cost() / theirs,
        );
    }
    Ok(section)
}

/// Four seeds to one, and one seed to four.
pub fn many(settings: &Settings) -> Result<Section, String> {
    let mut section = Section::new("Several seeds, several downloaders");
    let size = settings.pick(64, 512) * MIB;
    for (seeds, fetching) in [(4, 1), (1, 4)] {
        let rows = race(settings, Place::Here, false, seeds, fetching, |own| {
            one_file(own, "", size, 1024 * 1024)
        })?;
        section.say(format!(
            "**{seeds} to {fetching}**, {} MiB, pieces of 1 MiB; until all have it, all bytes \
             together. {SLOW}",
            size / MIB
        ));
        tell(&mut section, &rows);
        ahead(&mut section, &format!("{seeds} to {fetching}"), &rows, 2.0);
    }
    Ok(section)
}

/// A folder of very many small files.
pub fn small_files(settings: &Settings) -> Result<Section, String> {
    let files = settings.pick(1_000, 10_000);
    let mut section = Section::new("Many small files");
    let rows = race(settings, Place::Here, false, 1, 1, |own| {
        let path = own.folder.join(&own.name);
        let files = own.client.map_or(files, |client| client.part_of(files));
        for nth in 0..files {
            let inner = path.join(format!("{}", nth / 100));
            std::fs::create_dir_all(&inner).map_err(|error| error.to_string())?;
            swarm::random_file(&inner.join(format!("{nth}.bin")), 10 * 1024 + nth % 7)?;
        }
        Ok(vec![swarm::content(path, 256 * 1024)?])
    })?;
    section.say(format!("A folder of {files} files of 10 KiB. {SLOW}"));
    tell(&mut section, &rows);
    ahead(&mut section, "all of them", &rows, 1.0);
    Ok(section)
}

/// Whether other torrents that are seeded slow one down.
pub fn many_torrents(settings: &Settings) -> Result<Section, String> {
    let others: u64 = settings.pick(20, 199);
    let size = settings.pick(64, 512) * MIB;
    let mut section = Section::new("One of 200 torrents");
    let mut alone_and_not = Vec::new();
    for others in [0, others] {
        let rows = race(settings, Place::Here, false, 1, 1, |own| {
            let mut contents = one_file(own, "", size, 1024 * 1024)?;
            for nth in 0..others {
                let suffix = format!("-{nth}");
                contents.extend(one_file(own, &suffix, 64 * 1024 + nth, 64 * 1024)?);
            }
            Ok(contents)
        })?;
        section.say(format!(
            "**{} MiB is fetched; the seed has {others} other torrents.** {SLOW}",
            size / MIB
        ));
        tell(&mut section, &rows);
        alone_and_not.push(rows);
    }
    let mut table = Table::new(["", "rate among 200, of the rate alone"]);
    for (alone, among) in alone_and_not[0].iter().zip(&alone_and_not[1]) {
        table.row([
            alone.name.to_string(),
            format!("{:.0} %", among.rate() / alone.rate() * 100.0),
        ]);
    }
    section.table(&table);
    section.aim(
        "rate among 200 / alone",
        Wanted::AtLeast(0.9),
        alone_and_not[1][0].rate() / alone_and_not[0][0].rate(),
    );
    Ok(section)
}

/// Where somebody's content is made.
struct Own<'a> {
    folder: &'a Path,
    /// The content's, which no other contestant's has: so they are different torrents.
    name: String,
    client: Option<Client>,
}

/// A way on which packets take their time, and some are lost.
pub fn long_way(settings: &Settings) -> Result<Section, String> {
    const DELAY: Duration = Duration::from_millis(50);
    const ONE_IN: u32 = 100;
    let mut section = Section::new("A long way");
    let size = settings.pick(2, 8) * MIB;
    let way = LongWay::open(DELAY / 2, ONE_IN)?;
    let rows = race(settings, Place::Apart(&way), false, 1, 1, |own| {
        let path = own.folder.join(format!("{}.bin", own.name));
        swarm::random_file(&path, size)?;
        Ok(vec![swarm::content(path, 256 * 1024)?])
    })?;
    section.say(format!(
        "{} MiB in pieces of 256 KiB. From one end to the other and back a packet takes {} ms; in \
         each direction one of {ONE_IN} is lost.",
        size / MIB,
        DELAY.as_millis()
    ));
    tell(&mut section, &rows);
    ahead(&mut section, "50 ms, 1 % lost", &rows, 1.0);
    Ok(section)
}

fn one_file(own: &Own, suffix: &str, size: u64, piece: u32) -> Result<Vec<Content>, String> {
    let path = own.folder.join(format!("{}{suffix}.bin", own.name));
    let part = own.client.map(|client| client.part_of(size));
    swarm::random_file(&path, part.unwrap_or(size))?;
    Ok(vec![swarm::content(path, piece)?])
}

/// Everybody fetches the first of the contents that `make` makes for it, in turns.
fn race(
    settings: &Settings,
    place: Place,
    with_bare: bool,
    seeds: u8,
    fetching: u8,
    make: impl Fn(&Own) -> Result<Vec<Content>, String>,
) -> Result<Vec<Row>, String> {
    let temp = tempfile::tempdir_in(&settings.folder).map_err(|error| error.to_string())?;
    let folder = temp.path();
    let tracker = Tracker::start(folder)?;
    let bare = with_bare.then_some(Contestant::Bare);
    let mut clients = Client::all();
    if settings.quick {
        // A quarter of a minute before it begins, in each scenario.
        clients.retain(|client| *client != Client::Transmission);
    }
    let clients = clients.into_iter().map(Contestant::Client);
    let mut places = Vec::new();
    for contestant in clients.chain(bare) {
        let contents = make(&Own {
            folder,
            name: contestant.name().replace(' ', "-").to_lowercase(),
            client: match contestant {
                Contestant::Bare => None,
                Contestant::Client(client) => Some(client),
            },
        })?;
        let ready = match contestant {
            Contestant::Bare => Ready::bare(folder, &contents[0])?,
            Contestant::Client(client) => Ready::Client(swarm::seeds(
                place, client, seeds, folder, &tracker, &contents,
            )?),
        };
        places.push((contestant, contents, ready));
    }
    let outcomes = in_turns(
        settings.rounds(),
        &places,
        |(contestant, contents, ready)| {
            let content = &contents[0];
            let outcome = match (ready, contestant) {
                (Ready::Client(seeds), Contestant::Client(client)) => {
                    swarm::fetch(place, *client, fetching, folder, seeds, content)
                }
                (Ready::Bare(sender), _) => fetch_barely(folder, sender, content),
                _ => Err("a seed of another kind".into()),
            }?;
            println!(
                "  {}: {} MB/s, {} s in all",
                contestant.name(),
                number(outcome.rate()),
                number(outcome.whole)
            );
            Ok(outcome)
        },
    )?;
    let names = places.iter().map(|(contestant, ..)| contestant.name());
    Ok(names
        .zip(outcomes)
        .map(|(name, outcomes)| Row { name, outcomes })
        .collect())
}

/// Who can give.
enum Ready {
    Bare(super::process::Process),
    Client(Seeds),
}

const BARE: Ipv4Addr = Ipv4Addr::new(10, 77, 200, 1);

impl Ready {
    fn bare(folder: &Path, content: &Content) -> Result<Ready, String> {
        network::add(BARE)?;
        let sender = bare::sender(BARE, &content.path, &folder.join("bare-send.log"))?;
        swarm::wait("the bare program listens", || {
            // A call would be served; a listener is seen without one.
            std::fs::read_to_string("/proc/self/net/tcp")
                .is_ok_and(|text| text.contains("01C84D0A"))
        })?;
        Ok(Ready::Bare(sender))
    }
}

fn fetch_barely(
    folder: &Path,
    sender: &super::process::Process,
    content: &Content,
) -> Result<Outcome, String> {
    let seat = Seat {
        client: None,
        address: BARE,
        tracker: (BARE, 0).into(),
        network: None,
        home: folder.join("bare"),
        content: folder.join("bare/content"),
    };
    std::fs::create_dir_all(&seat.content).map_err(|error| error.to_string())?;
    let mut meter = Meter::begin();
    let before = sender.worked();
    let path = seat.content.join("bare.bin");
    let receiver = bare::receiver(BARE, &path, 1 << 20, &folder.join("bare-receive.log"))?;
    meter.until_complete(std::slice::from_ref(&seat), 1)?;
    let outcome = meter.outcome(content.bytes(), before, &[sender], &[&receiver]);
    drop(receiver);
    let _ = std::fs::remove_dir_all(&seat.home);
    Ok(outcome)
}

/// Rates, costs, memory.
fn tell(section: &mut Section, rows: &[Row]) {
    let mut table = Table::new([
        "",
        "MB/s, from the start",
        "first byte to last",
        "ours / theirs",
        "CPU s/GB, sender",
        "receiver",
        "both",
        "theirs × 0.65",
        "MiB resident, sender",
        "receiver",
        "MiB anonymous, sender",
        "receiver ",
    ]);
    let ours = rows[0].rate();
    for row in rows {
        let rate = row.figures(Outcome::rate);
        let cost = |end: usize| row.figures(|outcome| outcome.cost()[end]).median();
        let both = row.cost();
        let memory = |of: fn(&Outcome) -> [u64; 2], end: usize| {
            mib(row.figures(|outcome| of(outcome)[end] as f64).most())
        };
        table.row([
            row.name.to_string(),
            spread(&row.figures(Outcome::whole_rate)),
            spread(&rate),
            number(ours / rate.median()),
            number(cost(0)),
            number(cost(1)),
            number(both),
            number(both * 0.65),
            memory(|outcome| outcome.resident, 0),
            memory(|outcome| outcome.resident, 1),
            memory(|outcome| outcome.anonymous, 0),
            memory(|outcome| outcome.anonymous, 1),
        ]);
    }
    section.table(&table);
}
