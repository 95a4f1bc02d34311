//! The program `peer`: its command line, and its five ways to run: prompt, script, service, batch
//! run, demo.

use std::fs;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use zeroize::Zeroizing;

use crate::control::command::Place;
use crate::control::text::decode;
use crate::control::tracker_info::{self, TrackerAddress};
use crate::peer::{Config, Peer};
use crate::runtime::threads;
use crate::torrent::choker::DEFAULT_SLOTS;

use super::batch;
use super::completion::Completion;
use super::demo;
use super::hosting::Hosted;
use super::interrupt::Interrupt;
use super::lines::{Lines, Next, Prompt, Question};
use super::listing;
use super::log_lines::{self, fatal};
use super::menu::{self, Left, Person};
use super::news;
use super::peer_shell::{Flow, PeerShell, ShellError};
use super::screen::{Screen, complain, say};
use super::units::parse_memory;
use super::watch::{self, Mode};

/// A BitTorrent peer with a prompt.
#[derive(Parser, Debug)]
#[command(name = "peer", version)]
pub struct Args {
    /// Where other peers reach this one: address and port
    #[arg(default_value = "127.0.0.1:7600", value_parser = parse_address)]
    pub address: SocketAddr,
    /// The file that names the trackers
    #[arg(default_value = "tracker_info.txt")]
    pub tracker_info: PathBuf,
    /// Where `upload_file` looks for files that are not found as typed
    #[arg(long, value_name = "DIR", default_value = "upload")]
    pub upload: PathBuf,
    /// Tell trackers that ask for a file only what is shared, not what lies in the upload folder
    #[arg(long)]
    pub no_ask: bool,
    /// Share with everybody what lies in the upload folder, and follow its changes: its files, or
    /// its folders as well
    #[arg(long, value_name = "WHAT", default_value = "off")]
    pub watch: Mode,
    /// Where downloads go
    #[arg(long, value_name = "DIR", default_value = "download")]
    pub download: PathBuf,
    /// How many peers are served at once, a torrent
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SLOTS)]
    pub slots: NonZeroUsize,
    /// How much memory the pieces that are being fetched may take: 64M are 64 MiB
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = parse_memory)]
    pub memory: u64,
    /// Run this tracker of the file, too, in this program: its number, counted from 1
    #[arg(long, value_name = "N")]
    pub with_tracker: Option<usize>,
    /// Keep the log in this file, too: it is added to
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// Run these commands instead of a prompt
    #[arg(short, long, value_name = "\"COMMAND; COMMAND\"")]
    pub command: Option<String>,
    /// Only serve and fetch what the download folder remembers, until a signal ends it
    #[arg(long)]
    pub no_prompt: bool,
    /// Begin with the menu; its 3 ends the program
    #[arg(long, conflicts_with_all = ["no_prompt", "command"])]
    pub menu: bool,
    /// Say what a .torrent file says, and end
    #[arg(long, value_name = "FILE")]
    pub torrent_info: Option<String>,
    /// Run the batch of this folder: a tracker, and a peer for each in1.txt, in2.txt ...
    #[arg(long, value_name = "DIR")]
    pub batch: Option<PathBuf>,
    /// Where the tracker of a batch over several machines is, if they have no folder in common
    #[arg(long, value_name = "HOST:PORT", requires = "batch", value_parser = parse_tracker)]
    pub tracker: Option<TrackerAddress>,
    /// Make a page about the batch: who sent what to whom, and when
    #[arg(long, value_name = "FILE.html", requires = "batch")]
    pub report: Option<PathBuf>,
    /// Write down what every process of the batch does
    #[arg(long, value_name = "DIR", requires = "batch")]
    pub trace: Option<PathBuf>,
    /// Show a whole swarm at work on this machine, and end
    #[arg(long)]
    pub demo: bool,
}

fn parse_address(text: &str) -> Result<SocketAddr, &'static str> {
    let help = "write address and port, such as 127.0.0.1:7601; ports go up to 65535";
    text.parse().map_err(|_| help)
}

fn parse_tracker(text: &str) -> Result<TrackerAddress, &'static str> {
    let help = "write host and port of one tracker, such as node1:6000";
    match tracker_info::parse(text) {
        Ok(trackers) => <[TrackerAddress; 1]>::try_from(trackers)
            .map(|[one]| one)
            .map_err(|_| help),
        Err(_) => Err(help),
    }
}

/// Runs the program to its end.
pub fn run(args: Args) -> ExitCode {
    let screen = Screen::new();
    log_lines::start(&screen, args.log_file.as_deref());
    if let Some(file) = &args.torrent_info {
        return report(listing::torrent_info(file).map(|text| say!("{}", text.trim_end())));
    }
    let interrupt = match Interrupt::on_signals() {
        Ok(interrupt) => interrupt,
        Err(error) => return report(Err(ShellError::Other(error.to_string()))),
    };
    if let Some(folder) = args.batch {
        let options = batch::Options {
            folder,
            tracker: args.tracker,
            report: args.report,
            trace: args.trace,
        };
        return report(batch::run(&options, &interrupt).map_err(ShellError::Other));
    }
    if args.demo {
        let result = demo::run(&interrupt);
        return report(result.map_err(|error| ShellError::Other(error.to_string())));
    }
    match start(&args, interrupt) {
        Ok(shell) => serve(shell, &args, &screen),
        Err(error) => {
            fatal(&error);
            ExitCode::FAILURE
        }
    }
}

fn report(result: Result<(), ShellError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            fatal(&error);
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Args, interrupt: Arc<Interrupt>) -> Result<PeerShell, ShellError> {
    let trackers = read_tracker_info(&args.tracker_info)?;
    let config = Config {
        slots: args.slots.get(),
        memory: args.memory,
        upload: (!args.no_ask).then(|| args.upload.clone()),
        ..Config::new(args.address, trackers, &args.download)
    };
    // Before the peer, which then finds it.
    let hosted = args.with_tracker.map(|number| {
        let hosted = Hosted::start(&args.tracker_info, number)?;
        say!("{}", hosted.sentence());
        Ok::<Hosted, ShellError>(hosted)
    });
    let hosted = hosted.transpose()?;
    let (peer, notices) = Peer::start(config)?;
    notices.iter().for_each(|notice| eprintln!("{notice}"));
    say!("listening on {}", peer.local_addr());
    log::info!(target: "peer", "listening on {}", peer.local_addr());
    let terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    let (info, upload) = (args.tracker_info.clone(), args.upload.clone());
    let mut shell = PeerShell::new(peer, info, upload, interrupt, terminal);
    shell.hosted = hosted;
    if args.watch != Mode::Off {
        say!("{}", watch::begin(&mut shell, args.watch)?);
    }
    Ok(shell)
}

/// The trackers that a file names.
pub fn read_tracker_info(path: &Path) -> Result<Vec<TrackerAddress>, ShellError> {
    let failed = |source| ShellError::File {
        what: "cannot read",
        path: path.to_path_buf(),
        source,
    };
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = format!(
                "there is no {}: it names the trackers, one a line, such as 127.0.0.1:6000",
                path.display()
            );
            return Err(ShellError::Other(text));
        }
        result => result.map_err(failed)?,
    };
    let wrong =
        |error: &dyn std::fmt::Display| ShellError::Other(format!("{}: {error}", path.display()));
    let text = decode(&bytes).map_err(|error| wrong(&error))?;
    tracker_info::parse(&text).map_err(|error| wrong(&error))
}

fn serve(mut shell: PeerShell, args: &Args, screen: &Screen) -> ExitCode {
    match run_commands(&mut shell, args, screen) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            fatal(&error);
            ExitCode::FAILURE
        }
    }
}

/// False if a command of a script failed.
fn run_commands(shell: &mut PeerShell, args: &Args, screen: &Screen) -> io::Result<bool> {
    let news = news::print_news(
        shell.peer.news().clone(),
        screen.clone(),
        shell.awaited.clone(),
    )?;
    let good = if let Some(commands) = &args.command {
        let commands = split_commands(commands).into_iter();
        script(shell, commands.map(Zeroizing::new), false)
    } else if args.no_prompt {
        let _ = shell.interrupt.receiver().recv();
        true
    } else if shell.terminal {
        let prompt = Prompt {
            text: "peer> ",
            completion: Completion::new(Place::PeerPrompt, shell.names()),
            history: Some(shell.peer.state_folder().join("history")),
        };
        let lines = Lines::from_terminal(prompt, screen.clone())?;
        prompt_loop(shell, &lines, args.menu);
        true
    } else {
        let lines = Lines::from_stdin(screen.clone())?;
        let interrupt = shell.interrupt.clone();
        let next = || match lines.next(&interrupt) {
            Next::Line(line) => Some(line),
            Next::End | Next::Signal => None,
        };
        script(shell, std::iter::from_fn(next), args.menu) && !lines.are_broken()
    };
    shell.watch = None;
    // The news end with the engine.
    shell.peer.stop();
    threads::join(news);
    Ok(good)
}

/// Somebody at a terminal.
struct AtPrompt<'a> {
    lines: &'a Lines,
    interrupt: Arc<Interrupt>,
}

impl Person for AtPrompt<'_> {
    fn ask(&mut self, question: Question) -> Next {
        self.interrupt.forget();
        self.lines.answer(question, &self.interrupt)
    }

    fn hear(&mut self, error: &ShellError) {
        say!("{error}");
    }
}

/// Takes commands from a person: an error is told, and the prompt comes back.
fn prompt_loop(shell: &mut PeerShell, lines: &Lines, menu: bool) {
    let interrupt = shell.interrupt.clone();
    let mut person = AtPrompt { lines, interrupt };
    if menu && menu::run(shell, &mut person) != Left::GivenUp {
        return;
    }
    say!("Type `help` for the commands; Tab completes.");
    loop {
        person.interrupt.forget();
        match lines.next(&person.interrupt) {
            Next::Line(line) => match shell.run(&line) {
                Ok(Flow::Next) => {}
                Ok(Flow::Menu) => {
                    if menu::run(shell, &mut person) == Left::Signal {
                        return;
                    }
                }
                Ok(Flow::Quit) => return,
                Err(error) => say!("{error}"),
            },
            Next::End | Next::Signal => return,
        }
    }
}

/// Lines that were written before anybody asked for them.
struct InScript<I> {
    lines: I,
    interrupt: Arc<Interrupt>,
    /// Nothing has failed.
    good: bool,
}

impl<I: Iterator<Item = Zeroizing<String>>> Person for InScript<I> {
    /// The question is a line of its own.
    fn ask(&mut self, question: Question) -> Next {
        if self.interrupt.came() {
            return Next::Signal;
        }
        say!("{}", question.text.trim_end());
        self.lines.next().map_or(Next::End, Next::Line)
    }

    fn hear(&mut self, error: &ShellError) {
        complain(error);
        self.good = false;
    }
}

/// Runs commands to their end or to `quit`. False if any of them failed.
fn script(
    shell: &mut PeerShell,
    lines: impl Iterator<Item = Zeroizing<String>>,
    menu: bool,
) -> bool {
    let interrupt = shell.interrupt.clone();
    let mut person = InScript {
        lines,
        interrupt,
        good: true,
    };
    if menu {
        menu::run(shell, &mut person);
        return person.good;
    }
    while let Some(line) = person.lines.next() {
        // It was meant for the whole script, whatever was being done.
        if shell.interrupt.came() {
            complain(&ShellError::Interrupted);
            return false;
        }
        match shell.run(&line) {
            Ok(Flow::Next) => {}
            // Given up here means that nothing more comes, or that nothing more shall be done.
            Ok(Flow::Menu) if menu::run(shell, &mut person) == Left::Exit => {}
            Ok(Flow::Menu | Flow::Quit) => break,
            Err(error) => {
                person.hear(&error);
                if matches!(error, ShellError::Interrupted) {
                    break;
                }
            }
        }
    }
    person.good
}

/// Commands that stand in one text, between semicolons outside of quotes.
fn split_commands(text: &str) -> Vec<String> {
    let mut quoted = false;
    let between = |c: char| {
        quoted ^= c == '"';
        c == ';' && !quoted
    };
    text.split(between)
        .map(|command| command.trim().to_string())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_split_outside_of_quotes() {
        let split = split_commands("a b; \"c;d\" e ;quit");
        assert_eq!(split, ["a b", "\"c;d\" e", "quit"]);
    }
}
