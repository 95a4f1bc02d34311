//! Proves that the documents speak of the program that is there.
//!
//! What is looked at: README.md and docs/*.md; the code is src/**/*.rs and tests/*.rs.
//!
//! 1. A word in backticks with `::` in it, such as `Torrent::handle` or `codec::MAX_FRAME`, must be
//!    in the code. Its last part is a function, type, constant, variant, field or module; the part
//!    before it is the type that it belongs to, or the file or folder that it is in (`tests` counts
//!    for nothing). Names of the standard library and of other crates are not looked at.
//! 2. A word in backticks that is a path, such as `src/peer.rs`, must be a file or a folder.
//! 3. A link must lead to a file, and to a heading in it.
//! 4. In a table whose first column is `thread`, the code must have each name.
//! 5. In a table whose first column is `room` and whose third is `uses`, a room uses only what stands
//!    there, and no room is missing.
//! 6. In a table whose last column is `proved by`, each row names tests, which must be tests.
//! 7. Between two marks in docs/PROTOCOL.md stands what `command::markdown` says.
//!    `UPDATE_DOCS=1 cargo test --test suite docs::` puts it there.
//! 8. Blocks that begin with ```` ```nc ```` in docs/PROTOCOL.md are typed to a tracker, one block a
//!    connection: lines after `>` are sent, the others must come back. `…` is any text.
//! 9. `.vscode/launch.json` names tests that exist, and the three rungs of docs/ONE_PIECE.md.
//!
//! Blocks of code are not looked at, but for the last rule.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mini_bittorrent::control::command;
use mini_bittorrent::tracker::{Config, Tracker};

const BEGIN: &str = "<!-- made from control::command";
const END: &str = "<!-- end of what is made from control::command -->";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn documents() -> BTreeMap<PathBuf, String> {
    let in_docs = fs::read_dir(root().join("docs")).unwrap();
    let mut paths: Vec<PathBuf> = in_docs.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    paths.push(root().join("README.md"));
    paths
        .into_iter()
        .filter_map(|path| Some((path.clone(), fs::read_to_string(path).ok()?)))
        .collect()
}

/// Every file of the code, by its path from the root.
fn code() -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root().join("src"), root().join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                files.insert(path.strip_prefix(root()).unwrap().to_path_buf(), text);
            }
        }
    }
    files
}

/// The lines of a document that are not in a block of code.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(i, line)| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        (!in_code && !fence).then_some((i + 1, line))
    })
}

/// What stands in backticks.
fn marked(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Calls `check` with every line of prose; what it complains about is shown with its place.
fn check_prose(check: impl Fn(&Path, &str) -> Vec<String>) {
    let mut wrong = Vec::new();
    for (path, text) in documents() {
        for (number, line) in prose(&text) {
            for complaint in check(&path, line) {
                wrong.push(format!("{}:{number}: {complaint}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

fn is_identifier(word: &str) -> bool {
    let mut chars = word.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && chars.all(|c| c.is_alphanumeric() || c == '_')
}

/// Whether `text` defines `name`: as a function, a type, a constant, a module, a variant or a field.
fn defines(text: &str, name: &str) -> bool {
    const KINDS: [&str; 8] = [
        "fn ", "struct ", "enum ", "trait ", "const ", "static ", "mod ", "type ",
    ];
    let word_at = |line: &str, at: usize| {
        let rest = &line[at..];
        rest.strip_prefix(name)
            .is_some_and(|after| !after.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    };
    text.lines().any(|line| {
        let line = line.trim_start();
        let item = line.strip_prefix("pub ").unwrap_or(line);
        let item = item.strip_prefix("pub(super) ").unwrap_or(item);
        let kind = KINDS
            .iter()
            .find_map(|kind| item.find(kind).map(|at| at + kind.len()));
        let defined = kind.is_some_and(|at| item.is_char_boundary(at) && word_at(item, at));
        let after = item.strip_prefix(name).unwrap_or("-");
        let variant_or_field = [",", " {", "(", ":"]
            .iter()
            .any(|end| after.starts_with(end));
        defined || (variant_or_field && !after.starts_with("::"))
    })
}

/// Whether the code has `path`, such as `Torrent::handle`, after rule 1.
fn exists(code: &BTreeMap<PathBuf, String>, path: &str) -> bool {
    let parts: Vec<&str> = path.split("::").filter(|part| *part != "tests").collect();
    let (name, owners) = parts.split_last().unwrap();
    let Some(owner) = owners.last() else {
        return false;
    };
    code.iter().any(|(file, text)| {
        let is_type = owner.starts_with(char::is_uppercase);
        let in_file = file.file_stem().is_some_and(|stem| stem == *owner);
        let in_folder = file.iter().any(|folder| folder == *owner);
        let here = if is_type {
            // The type, or methods of it.
            let has_methods = text.lines().any(|line| {
                line.starts_with("impl")
                    && line
                        .split(|c: char| !c.is_alphanumeric())
                        .any(|w| w == *owner)
            });
            has_methods || defines(text, owner)
        } else {
            in_file || in_folder
        };
        let modules = owners
            .iter()
            .filter(|part| part.starts_with(char::is_lowercase));
        let in_modules = modules.clone().all(|module| {
            let stem = file.file_stem().is_some_and(|stem| stem == *module);
            stem || file.iter().any(|part| part == *module)
        });
        here && in_modules && defines(text, name)
    })
}

/// The crates that the names of may be written down.
fn other_crates() -> Vec<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let names = manifest
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name.replace('-', "_"));
    names
        .chain(["std".to_string(), "core".to_string()])
        .collect()
}

#[test]
fn names_in_the_documents_are_in_the_code() {
    let (code, crates) = (code(), other_crates());
    check_prose(|_, line| {
        let names =
            marked(line).filter(|word| word.contains("::") && word.split("::").all(is_identifier));
        names
            .filter(|name| {
                !crates
                    .iter()
                    .any(|c| Some(c.as_str()) == name.split("::").next())
            })
            .filter(|name| !exists(&code, name.trim_start_matches("mini_bittorrent::")))
            .map(|name| format!("`{name}` is not in the code"))
            .collect()
    });
}

#[test]
fn the_rule_for_names_finds_what_is_missing() {
    let code = code();
    for there in [
        "Torrent::handle",
        "peer::engine::Engine::add",
        "Effect::Fetch",
        "Config::first_byte",
        "codec::MAX_FRAME",
        "control::command",
        "swarm::silent_peers_are_snubbed_and_replaced",
        "wire::codec::tests::reads_what_it_writes",
    ] {
        assert!(exists(&code, there), "{there} is there");
    }
    for missing in [
        "Torrent::handles",
        "Picker::write_spans",
        "tracker::engine::Engine::add",
        "codec::MAX_FRAMES",
        "torrent::engine",
        "Effect::Retreat",
    ] {
        assert!(!exists(&code, missing), "{missing} is not there");
    }
}

#[test]
fn paths_in_the_documents_exist() {
    check_prose(|_, line| {
        let is_path = |word: &&str| {
            let first = word.split('/').next().unwrap_or_default();
            let begins = ["src", "tests", "docs", ".vscode", ".ci", "benches"].contains(&first);
            let ends = [".rs", ".md", ".toml"]
                .iter()
                .any(|end| word.ends_with(end));
            !word.contains([' ', '*', '<', ':']) && ((begins && word.contains('/')) || ends)
        };
        marked(line)
            .filter(is_path)
            .filter(|path| !root().join(path).exists())
            .map(|path| format!("there is no `{path}`"))
            .collect()
    });
}

/// What a heading is called in a link: as GitHub does it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[test]
fn links_lead_somewhere() {
    let documents = documents();
    check_prose(|document, line| {
        let targets = line
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'));
        let broken = |target: &&str| {
            if target.starts_with("http") {
                return false;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = match file {
                "" => document.to_path_buf(),
                _ => document.parent().unwrap().join(file),
            };
            let Ok(path) = path.canonicalize() else {
                return true;
            };
            let has_heading = |text: &String| {
                prose(text).any(|(_, line)| line.starts_with('#') && anchor(line) == heading)
            };
            let text = documents
                .iter()
                .find(|(other, _)| other.canonicalize().is_ok_and(|other| other == path));
            !heading.is_empty() && !text.is_some_and(|(_, text)| has_heading(text))
        };
        targets
            .map(|(target, _)| target)
            .filter(broken)
            .map(|target| format!("the link to `{target}` leads nowhere"))
            .collect()
    });
}

/// The rows of every table whose head `is_wanted`, as cells, with the place of each.
fn rows(is_wanted: impl Fn(&[&str]) -> bool) -> Vec<(String, Vec<String>)> {
    let mut rows = Vec::new();
    for (path, text) in documents() {
        let mut head: Option<bool> = None;
        for (number, line) in prose(&text) {
            let Some(inside) = line.strip_prefix('|').and_then(|l| l.strip_suffix('|')) else {
                head = None;
                continue;
            };
            let cells: Vec<&str> = inside.split('|').map(str::trim).collect();
            match head {
                None => head = Some(is_wanted(&cells)),
                Some(true) if !line.starts_with("|-") => {
                    let cells = cells.into_iter().map(str::to_string).collect();
                    rows.push((format!("{}:{number}", path.display()), cells));
                }
                Some(_) => {}
            }
        }
    }
    rows
}

#[test]
fn threads_in_the_documents_are_started_in_the_code() {
    let code = code();
    let rows = rows(|head| head.first() == Some(&"thread"));
    assert!(rows.len() > 10, "the tables of threads were not found");
    for (place, cells) in rows {
        for name in marked(&cells[0]).filter(|name| *name != "main") {
            let stem = name.strip_suffix("-N").unwrap_or(name);
            let (alone, numbered) = (format!("\"{stem}\""), format!("\"{stem}-{{"));
            let started = code
                .iter()
                .filter(|(file, _)| file.starts_with("src"))
                .any(|(_, text)| text.contains(&alone) || text.contains(&numbered));
            assert!(started, "{place}: no thread is called `{name}`");
        }
    }
}

#[test]
fn rooms_use_only_what_the_table_allows() {
    let rows = rows(|head| head.first() == Some(&"room") && head.get(2) == Some(&"uses"));
    let allowed: BTreeMap<String, Vec<String>> = rows
        .into_iter()
        .map(|(_, cells)| {
            let uses = marked(&cells[2]).map(str::to_string).collect();
            (cells[0].trim_matches('`').to_string(), uses)
        })
        .collect();
    for (file, text) in code().iter().filter(|(file, _)| file.starts_with("src")) {
        let room = file.iter().nth(1).unwrap().to_string_lossy();
        let room = room.trim_end_matches(".rs").to_string();
        if room == "lib" || room == "bin" {
            continue;
        }
        let uses = allowed.get(&room);
        let uses = uses.unwrap_or_else(|| panic!("the room `{room}` is not in the table"));
        for after in text.split("crate::").skip(1) {
            let other = after
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .next();
            let other = other.unwrap_or_default().to_string();
            let known = other == room || uses.contains(&other) || !allowed.contains_key(&other);
            assert!(
                known,
                "{} uses `{other}`, which `{room}` must not",
                file.display()
            );
        }
    }
}

#[test]
fn every_bep_names_the_tests_that_prove_it() {
    let code = code();
    let rows = rows(|head| head.last() == Some(&"proved by"));
    assert!(rows.len() >= 9, "the table of BEPs was not found");
    for (place, cells) in rows {
        let tests: Vec<&str> = marked(cells.last().unwrap()).collect();
        assert!(!tests.is_empty(), "{place}: no test is named");
        for test in tests {
            let name = test.rsplit("::").next().unwrap();
            let is_test = |text: &String| {
                let lines: Vec<&str> = text.lines().map(str::trim).collect();
                lines.iter().enumerate().any(|(i, line)| {
                    line.starts_with(&format!("fn {name}("))
                        && lines[..i]
                            .iter()
                            .rev()
                            .take(3)
                            .any(|line| *line == "#[test]")
                })
            };
            assert!(
                exists(&code, test) && code.values().any(is_test),
                "{place}: there is no test `{test}`"
            );
        }
    }
}

#[test]
fn the_table_of_commands_is_the_programs() {
    let path = root().join("docs/PROTOCOL.md");
    let text = fs::read_to_string(&path).unwrap();
    let begin = text.find(BEGIN).expect("the mark where the table begins");
    let begin = begin + text[begin..].find('\n').unwrap() + 1;
    let end = text.find(END).expect("the mark where the table ends");
    let made = format!("\n{}", command::markdown());
    if text[begin..end] == made {
        return;
    }
    assert!(
        std::env::var("UPDATE_DOCS").is_ok_and(|update| update == "1"),
        "docs/PROTOCOL.md has an old table. Run: UPDATE_DOCS=1 cargo test --test suite docs::"
    );
    let text = format!("{}{made}{}", &text[..begin], &text[end..]);
    fs::write(path, text).unwrap();
}

/// What is sent, and what comes back.
type Exchange = (String, String);

/// The blocks of examples, each as its exchanges.
fn examples(text: &str) -> Vec<Vec<Exchange>> {
    let mut examples = Vec::new();
    let mut lines = text.lines();
    while lines.by_ref().any(|line| line == "```nc") {
        let mut exchanges: Vec<Exchange> = Vec::new();
        for line in lines.by_ref().take_while(|line| *line != "```") {
            match line.strip_prefix("> ").or((line == ">").then_some("")) {
                Some(sent) => {
                    if exchanges
                        .last()
                        .is_none_or(|(_, answer)| !answer.is_empty())
                    {
                        exchanges.push(Exchange::default());
                    }
                    exchanges.last_mut().unwrap().0 += &format!("{sent}\n");
                }
                None => {
                    let exchange = exchanges.last_mut().expect("an answer to something");
                    exchange.1 += &format!("{line}\n");
                }
            }
        }
        examples.push(exchanges);
    }
    examples
}

/// Whether `text` is `pattern`, in which `…` is any text.
fn is_like(text: &str, pattern: &str) -> bool {
    let Some((before, after)) = pattern.split_once('…') else {
        return text == pattern;
    };
    let Some(rest) = text.strip_prefix(before) else {
        return false;
    };
    let places = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    places.into_iter().any(|at| is_like(&rest[at..], after))
}

#[test]
fn the_examples_are_what_a_tracker_says() {
    let text = fs::read_to_string(root().join("docs/PROTOCOL.md")).unwrap();
    let examples = examples(&text);
    assert!(examples.len() >= 5, "the examples were not found");
    let tracker = Tracker::start(Config::new("127.0.0.1:0".parse().unwrap())).unwrap();
    for exchanges in examples {
        let mut socket = TcpStream::connect(tracker.local_addr()).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        for (sent, expected) in exchanges {
            socket.write_all(sent.as_bytes()).unwrap();
            let deadline = Instant::now() + Duration::from_secs(10);
            let mut came = Vec::new();
            loop {
                // People see no difference between the ends of lines.
                let text = String::from_utf8_lossy(&came).replace("\r\n", "\n");
                if is_like(text.trim_end(), expected.trim_end()) {
                    break;
                }
                assert!(
                    Instant::now() < deadline,
                    "to this:\n{sent}\nthis was expected:\n{expected}\nand this came:\n{text}"
                );
                let mut buffer = [0; 4096];
                match socket.read(&mut buffer) {
                    Ok(got) => came.extend_from_slice(&buffer[..got]),
                    Err(error)
                        if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                    Err(error) => panic!("after {sent}: {error}"),
                }
            }
        }
        // A real client's end: the tracker counts connections.
        drop(socket);
        let gone = Instant::now() + Duration::from_secs(10);
        while tracker
            .stats()
            .0
            .iter()
            .any(|(name, value)| name == "connections" && *value > 0)
        {
            assert!(Instant::now() < gone, "the connection stays");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn the_debugger_is_told_of_tests_that_exist() {
    let text = fs::read_to_string(root().join(".vscode/launch.json")).unwrap();
    let page = fs::read_to_string(root().join("docs/ONE_PIECE.md")).unwrap();
    for heading in page.lines().filter_map(|line| line.strip_prefix("## ")) {
        let name = heading.to_lowercase();
        assert!(
            !name.starts_with("rung") || text.to_lowercase().contains(&format!("\"{name}\"")),
            "no entry is called `{heading}`"
        );
    }
    let mut file = String::new();
    let mut found = 0;
    for word in text.split('"') {
        if let Some(name) = word.strip_prefix("--test=") {
            file = fs::read_to_string(root().join(format!("tests/{name}.rs"))).unwrap();
        } else if word.contains('_') && is_identifier(word) {
            assert!(
                file.contains(&format!("fn {word}(")),
                "there is no test `{word}`"
            );
            found += 1;
        }
    }
    assert_eq!(found, 2, "tests named in .vscode/launch.json");
}
