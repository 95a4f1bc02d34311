//! The command line: which scenarios run, and where what they found is written.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use super::report::Section;
use super::settings::Settings;
use super::{
    announces, bare, document, hashing, idle, load, memory, metadata, network, picker, report,
    start, transfers,
};

/// Set in the network of its own.
const INSIDE: &str = "MINI_BENCH_NETWORK";

/// Where files lie: in memory, because programs are measured and not the disk.
const MEMORY: &str = "/dev/shm";

type Scenario = fn(&Settings) -> Result<Section, String>;

/// In the order of the document.
const SCENARIOS: &[(&str, Scenario)] = &[
    ("one-to-one", transfers::one_to_one),
    ("many", transfers::many),
    ("small-files", transfers::small_files),
    ("many-torrents", transfers::many_torrents),
    ("long-way", transfers::long_way),
    ("make", hashing::make),
    ("check", hashing::check),
    ("start", start::run),
    ("picker", picker::run),
    ("metadata", metadata::run),
    ("memory", memory::run),
    ("announce", announces::announce),
    ("clients", announces::clients),
    ("idle", idle::idle),
];

pub fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    // cargo says so.
    words.retain(|word| word != "--bench");
    let role = bare::role(&words).or_else(|| load::role(&words));
    match role.unwrap_or_else(|| run(&words)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> Result<(), String> {
    if std::env::var_os(INSIDE).is_none() {
        return Err(run_inside(words));
    }
    network::up()?;
    let flag = |flag: &str| words.iter().any(|word| word == flag);
    let (quick, write) = (flag("--quick"), flag("--write"));
    if write && (quick || words.len() > 1) {
        return Err(
            "The document is written of all scenarios, measured whole: --write alone".into(),
        );
    }
    let wanted: Vec<&String> = words
        .iter()
        .filter(|word| !word.starts_with("--"))
        .collect();
    for word in &wanted {
        if !SCENARIOS.iter().any(|(name, _)| name == word) {
            let names: Vec<&str> = SCENARIOS.iter().map(|(name, _)| *name).collect();
            return Err(format!(
                "There is no {word}. There are: {}",
                names.join(", ")
            ));
        }
    }
    let temp = tempfile::Builder::new();
    let temp = match Path::new(MEMORY).is_dir() {
        true => temp.tempdir_in(MEMORY),
        false => temp.tempdir(),
    };
    let temp = temp.map_err(|error| format!("no folder for the files: {error}"))?;
    let settings = Settings {
        quick,
        folder: temp.path().to_path_buf(),
    };
    let mut sections = Vec::new();
    for (name, scenario) in SCENARIOS {
        if !wanted.is_empty() && !wanted.contains(&&name.to_string()) {
            continue;
        }
        println!("\n== {name}");
        let section = scenario(&settings)?;
        println!("## {}\n\n{}", section.title, section.text);
        sections.push(section);
    }
    println!("{}", report::aims(&sections).markdown());
    match write {
        true => document::write(&sections),
        false => Ok(()),
    }
}

/// Runs this program once more in a network of its own, with as many descriptors as it may have:
/// ten thousand clients need one each. Returns only why it cannot.
fn run_inside(words: &[String]) -> String {
    let this = match std::env::current_exe() {
        Ok(this) => this,
        Err(error) => return error.to_string(),
    };
    let script = "ulimit -n $(ulimit -Hn); exec unshare --net --map-root-user \"$@\"";
    let error = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(this)
        .args(words)
        .env(INSIDE, "1")
        .exec();
    format!("unshare (of util-linux) is needed for a network of its own: {error}")
}
