//! The program `tracker`: its command line and its prompt.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::control::command::{self, Kind, Place};
use crate::control::frame::split_words;
use crate::tracker::state::State;
use crate::tracker::{Config, Tracker};

use super::completion::Completion;
use super::interrupt::Interrupt;
use super::lines::{Lines, Next, Prompt};
use super::log_lines::{self, fatal};
use super::peer_shell::{ShellError, help, needed};
use super::screen::Screen;
use super::screen::say;
use super::table::{Align, table};
use super::tracker_choice::TrackerChoice;
use super::{trackers, units};

/// A BitTorrent tracker with a prompt.
#[derive(Parser, Debug)]
#[command(name = "tracker", version)]
pub struct Args {
    /// The file that names the trackers
    #[arg(default_value = "tracker_info.txt")]
    pub tracker_info: PathBuf,
    /// Which tracker of the file to be, counted from 1
    #[arg(default_value_t = 1, value_name = "N")]
    pub number: usize,
    /// Print the line for tracker_info.txt, with this tracker's key, and end
    #[arg(long)]
    pub key: bool,
    /// Where the tracker's key is kept [default: tracker-N.key beside tracker_info.txt]
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// The file with users and groups [default: tracker-N.db beside tracker_info.txt]
    #[arg(long, value_name = "FILE")]
    pub db: Option<PathBuf>,
    /// Seconds for which a ticket is good: so long somebody who has left a group may be served
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(2..=86_400))]
    pub ticket_life: u32,
    /// Be in sync with other trackers over the network though tracker_info.txt gives no keys:
    /// anybody in the network can then pretend to be a tracker, and change everything
    #[arg(long)]
    pub sync_without_keys: bool,
    /// Keep the log in this file, too: it is added to
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// Run until a signal ends it, without reading commands
    #[arg(long)]
    pub no_prompt: bool,
    /// How many connections there may be at once
    #[arg(long, value_name = "N", default_value_t = 12_000)]
    pub connections: usize,
    /// How many of them from one address
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub connections_per_address: usize,
    /// Seconds between two announces of a peer
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u32).range(5..=86_400))]
    pub interval: u32,
}

/// Runs the program to its end.
pub fn run(args: Args) -> ExitCode {
    let screen = Screen::new();
    log_lines::start(&screen, args.log_file.as_deref());
    match serve(&args, &screen) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            fatal(&error);
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &Args, screen: &Screen) -> Result<bool, ShellError> {
    let other = |error: &dyn std::fmt::Display| ShellError::Other(error.to_string());
    let choice = TrackerChoice {
        tracker_info: args.tracker_info.clone(),
        number: args.number,
        key_file: args.key_file.clone(),
        db: args.db.clone(),
        sync_without_keys: args.sync_without_keys,
    };
    if args.key {
        println!("{}", choice.line_with_key()?);
        return Ok(true);
    }
    let chosen = choice.config()?;
    let interrupt = Interrupt::on_signals().map_err(|error| other(&error))?;
    let config = Config {
        connections: args.connections,
        connections_per_address: args.connections_per_address,
        interval: args.interval,
        ticket_life: args.ticket_life,
        ..chosen
    };
    let tracker = Tracker::start(config).map_err(|error| other(&error))?;
    say!("listening on {}", tracker.local_addr());
    log::info!(target: "tracker", "listening on {}", tracker.local_addr());
    if args.no_prompt {
        let _ = interrupt.receiver().recv();
        return Ok(true);
    }
    let terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    let lines = if terminal {
        let state = tracker.state().clone();
        let names = Box::new(move |kind, _: &[String]| match kind {
            Kind::File => state.file_names(),
            _ => Vec::new(),
        });
        let completion = Completion::new(Place::TrackerPrompt, names);
        let prompt = Prompt {
            text: "tracker> ",
            completion,
            history: None,
        };
        Lines::from_terminal(prompt, screen.clone())
    } else {
        Lines::from_stdin(screen.clone())
    };
    let lines = lines.map_err(|error| other(&error))?;
    if terminal {
        say!("Type `help` for the commands; Tab completes.");
    }
    let room = Room {
        tracker: &tracker,
        choice: &choice,
    };
    Ok(take_commands(&room, &lines, &interrupt, terminal))
}

/// What to do after a command.
enum Flow {
    Next,
    Quit,
}

/// What commands work on.
struct Room<'a> {
    tracker: &'a Tracker,
    choice: &'a TrackerChoice,
}

/// False if a command that did not come from a person failed.
fn take_commands(room: &Room<'_>, lines: &Lines, interrupt: &Interrupt, terminal: bool) -> bool {
    let mut good = true;
    while let Next::Line(line) = lines.next(interrupt) {
        match run_line(room, &line) {
            Ok(Flow::Next) => {}
            Ok(Flow::Quit) => return good,
            Err(error) if terminal => say!("{error}"),
            Err(error) => {
                eprintln!("{error}");
                good = false;
            }
        }
        interrupt.forget();
    }
    good && !lines.are_broken()
}

fn run_line(room: &Room<'_>, line: &str) -> Result<Flow, ShellError> {
    let state: &State = room.tracker.state();
    let words = split_words(line)?;
    if words.is_empty() {
        return Ok(Flow::Next);
    }
    let (command, args) = command::parse(Place::TrackerPrompt, &words)?;
    let text = match command.name {
        "quit" | "exit" => return Ok(Flow::Quit),
        "help" => help(Place::TrackerPrompt, args.one("command"))?,
        "status" => status(state),
        "swarms" => swarms(state),
        "trackers" => trackers::list(&state.trackers(), &[]),
        "reload" => room.choice.reload(room.tracker)?,
        "peers" => peers(state, needed(&args, "file"))?,
        other => return Err(ShellError::Other(format!("`{other}` cannot be done yet"))),
    };
    say!("{}", text.trim_end());
    Ok(Flow::Next)
}

fn status(state: &State) -> String {
    let rows: Vec<Vec<String>> = state
        .stats()
        .0
        .into_iter()
        .map(|(name, value)| vec![name.replace('_', " "), value.to_string()])
        .collect();
    table(&[("", Align::Left), ("", Align::Right)], &rows)
}

fn swarms(state: &State) -> String {
    let rows: Vec<Vec<String>> = state
        .swarm_rows()
        .into_iter()
        .map(|row| {
            let names = if row.names.is_empty() {
                "-".into()
            } else {
                row.names.join(", ")
            };
            let counts = row.counts;
            let numbers = [counts.complete, counts.incomplete, counts.downloaded];
            let numbers = numbers.map(|number| number.to_string());
            [vec![names, row.info_hash.to_string()], numbers.to_vec()].concat()
        })
        .collect();
    if rows.is_empty() {
        return "No swarms: nobody has shared anything yet.".into();
    }
    let right = Align::Right;
    let head = [
        ("file", Align::Left),
        ("info hash", Align::Left),
        ("seeders", right),
        ("leechers", right),
        ("completed", right),
    ];
    table(&head, &rows)
}

fn peers(state: &State, file: &str) -> Result<String, ShellError> {
    let Some(members) = state.members(file) else {
        return Err(ShellError::Other(format!(
            "there is no `{file}` here; `swarms` lists all"
        )));
    };
    let rows: Vec<Vec<String>> = members
        .into_iter()
        .map(|(member, age)| {
            let seen = units::time(std::time::Duration::from_secs(age.into()));
            let role = if member.complete { "seeder" } else { "leecher" };
            vec![
                member.address.to_string(),
                member.id.client(),
                role.into(),
                format!("{seen} ago"),
            ]
        })
        .collect();
    if rows.is_empty() {
        return Ok("Nobody is in this swarm.".into());
    }
    let left = Align::Left;
    Ok(table(
        &[
            ("peer", left),
            ("client", left),
            ("", left),
            ("announced", Align::Right),
        ],
        &rows,
    ))
}
