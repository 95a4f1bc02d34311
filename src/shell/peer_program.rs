//! The program `peer`: its command line, and its four ways to run: prompt, batch, service, demo.

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
use crate::control::tracker_info::{self, TrackerAddress};
use crate::peer::{Config, Peer};
use crate::runtime::threads;
use crate::torrent::choker::DEFAULT_SLOTS;

use super::completion::Completion;
use super::demo;
use super::hosting::Hosted;
use super::interrupt::Interrupt;
use super::lines::{Lines, Next, Prompt};
use super::listing;
use super::news;
use super::peer_shell::{Flow, PeerShell, ShellError};
use super::screen::{Screen, complain, say};

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
    /// Where downloads go
    #[arg(long, value_name = "DIR", default_value = "download")]
    pub download: PathBuf,
    /// How many peers are served at once, a torrent
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SLOTS)]
    pub slots: NonZeroUsize,
    /// Run this tracker of the file, too, in this program: its number, counted from 1
    #[arg(long, value_name = "N")]
    pub with_tracker: Option<usize>,
    /// Run these commands instead of a prompt
    #[arg(short, long, value_name = "\"COMMAND; COMMAND\"")]
    pub command: Option<String>,
    /// Only serve and fetch what the download folder remembers, until a signal ends it
    #[arg(long)]
    pub no_prompt: bool,
    /// Say what a .torrent file says, and end
    #[arg(long, value_name = "FILE")]
    pub torrent_info: Option<String>,
    /// Show a whole swarm at work on this machine, and end
    #[arg(long)]
    pub demo: bool,
}

fn parse_address(text: &str) -> Result<SocketAddr, &'static str> {
    let help = "write address and port, such as 127.0.0.1:7601; ports go up to 65535";
    text.parse().map_err(|_| help)
}

/// Runs the program to its end.
pub fn run(args: Args) -> ExitCode {
    let screen = Screen::new();
    screen.init_logging();
    if let Some(file) = &args.torrent_info {
        return report(listing::torrent_info(file).map(|text| say!("{}", text.trim_end())));
    }
    let interrupt = match Interrupt::on_signals() {
        Ok(interrupt) => interrupt,
        Err(error) => return report(Err(ShellError::Other(error.to_string()))),
    };
    if args.demo {
        let result = demo::run(&interrupt);
        return report(result.map_err(|error| ShellError::Other(error.to_string())));
    }
    match start(&args, interrupt) {
        Ok(shell) => serve(shell, &args, &screen),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn report(result: Result<(), ShellError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Args, interrupt: Arc<Interrupt>) -> Result<PeerShell, ShellError> {
    let trackers = read_tracker_info(&args.tracker_info)?;
    let config = Config {
        slots: args.slots.get(),
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
    let terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    let (info, upload) = (args.tracker_info.clone(), args.upload.clone());
    let mut shell = PeerShell::new(peer, info, upload, interrupt, terminal);
    shell.hosted = hosted;
    Ok(shell)
}

/// The trackers that a file names.
pub fn read_tracker_info(path: &Path) -> Result<Vec<TrackerAddress>, ShellError> {
    let failed = |source| ShellError::File {
        what: "cannot read",
        path: path.to_path_buf(),
        source,
    };
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = format!(
                "there is no {}: it names the trackers, one a line, such as 127.0.0.1:6000",
                path.display()
            );
            return Err(ShellError::Other(text));
        }
        result => result.map_err(failed)?,
    };
    tracker_info::parse(&text)
        .map_err(|error| ShellError::Other(format!("{}: {error}", path.display())))
}

fn serve(mut shell: PeerShell, args: &Args, screen: &Screen) -> ExitCode {
    match run_commands(&mut shell, args, screen) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// False if a command of a batch failed.
fn run_commands(shell: &mut PeerShell, args: &Args, screen: &Screen) -> io::Result<bool> {
    let news = news::print_news(shell.peer.news().clone(), screen.clone())?;
    let good = if let Some(commands) = &args.command {
        {
            let commands = split_commands(commands).into_iter();
            batch(shell, commands.map(Zeroizing::new))
        }
    } else if args.no_prompt {
        let _ = shell.interrupt.receiver().recv();
        true
    } else if shell.terminal {
        let prompt = Prompt {
            text: "peer> ",
            completion: Completion::new(Place::PeerPrompt, shell.names()),
            history: Some(shell.peer.state_folder().join("history")),
        };
        prompt_loop(shell, &Lines::from_terminal(prompt, screen.clone())?);
        true
    } else {
        let lines = Lines::from_stdin(screen.clone())?;
        let interrupt = shell.interrupt.clone();
        let next = || match lines.next(&interrupt) {
            Next::Line(line) => Some(line),
            Next::End | Next::Signal => None,
        };
        batch(shell, std::iter::from_fn(next))
    };
    // The news end with the engine.
    shell.peer.stop();
    threads::join(news);
    Ok(good)
}

/// Takes commands from a person: an error is told, and the prompt comes back.
fn prompt_loop(shell: &mut PeerShell, lines: &Lines) {
    say!("Type `help` for the commands; Tab completes.");
    loop {
        shell.interrupt.forget();
        let interrupt = shell.interrupt.clone();
        match lines.next(&interrupt) {
            Next::Line(line) => match shell.run(&line) {
                Ok(Flow::Next) => {}
                Ok(Flow::Quit) => return,
                Err(error) => say!("{error}"),
            },
            Next::End | Next::Signal => return,
        }
    }
}

/// Runs commands to their end or to `quit`. False if any of them failed.
fn batch(shell: &mut PeerShell, lines: impl Iterator<Item = Zeroizing<String>>) -> bool {
    let mut good = true;
    for line in lines {
        // It was meant for the whole batch, whatever was being done.
        if shell.interrupt.came() {
            complain(&ShellError::Interrupted);
            return false;
        }
        match shell.run(&line) {
            Ok(Flow::Next) => {}
            Ok(Flow::Quit) => break,
            Err(error) => {
                complain(&error);
                good = false;
                if matches!(error, ShellError::Interrupted) {
                    break;
                }
            }
        }
    }
    good
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
