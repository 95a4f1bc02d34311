//! What an answer to one of the menu's questions means: strings in, values out.
//!
//! An answer that means nothing is refused in words, and the question asked again.

use std::net::SocketAddr;

use crate::control::reply::PeerEntry;
use crate::storage::resume::Sources;

/// What can be chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    Seed,
    Download,
    Exit,
}

/// A choice by its number, or by its name or the beginning of it.
pub fn choice(typed: &str) -> Result<Choice, String> {
    let typed = typed.trim().to_lowercase();
    let is = |name: &str| !typed.is_empty() && name.starts_with(&typed);
    match typed.as_str() {
        "1" => Ok(Choice::Seed),
        "2" => Ok(Choice::Download),
        "3" => Ok(Choice::Exit),
        _ if is("seed") => Ok(Choice::Seed),
        _ if is("download") => Ok(Choice::Download),
        _ if is("exit") => Ok(Choice::Exit),
        "" => Err("Type 1, 2 or 3.".into()),
        _ => Err(format!("`{typed}` is not in the menu: type 1, 2 or 3.")),
    }
}

/// A path or a name without the quotes around it, which a shell or a file manager may have put
/// there.
pub fn unquoted(typed: &str) -> &str {
    let typed = typed.trim();
    let without = |quote: char| typed.strip_prefix(quote)?.strip_suffix(quote);
    without('"').or_else(|| without('\'')).unwrap_or(typed)
}

/// A name, or the number of one that was shown, counted from 1. A name that is shown wins over
/// a number.
pub fn name_or_number(typed: &str, shown: &[String]) -> Result<String, String> {
    let name = unquoted(typed);
    let number = name.parse::<usize>().ok().filter(|_| !shown.is_empty());
    match number {
        Some(_) if shown.iter().any(|shown| shown == name) => Ok(name.into()),
        Some(number) => {
            let place = number.checked_sub(1);
            let found = place.and_then(|place| shown.get(place));
            found.cloned().ok_or_else(|| no_number(number, shown.len()))
        }
        None => Ok(name.into()),
    }
}

/// From whom to download: nothing or 0 is everybody. A source is chosen by its number, counted
/// from 1, or by its address.
pub fn source(typed: &str, sources: &[PeerEntry]) -> Result<Sources, String> {
    let typed = typed.trim();
    let address = typed.parse::<SocketAddr>().ok();
    let number = typed.parse::<usize>().ok();
    let place = match (address, number) {
        _ if matches!(typed, "" | "0" | "all") => return Ok(Sources::Anyone),
        (Some(address), _) => sources.iter().position(|peer| peer.address == address),
        (_, Some(number)) => number.checked_sub(1),
        _ => None,
    };
    let found = place.and_then(|place| sources.get(place));
    match (found, number) {
        (Some(peer), _) => Ok(Sources::Only(vec![peer.address])),
        (None, Some(number)) => Err(no_number(number, sources.len())),
        (None, None) => Err(format!(
            "`{typed}` is none of them: type a number, or 0 for all."
        )),
    }
}

fn no_number(number: usize, count: usize) -> String {
    match count {
        1 => format!("There is no number {number}, only 1."),
        _ => format!("There is no number {number}: 1 to {count}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_have_a_number_and_a_name() {
        for (typed, expect) in [
            ("1", Choice::Seed),
            (" 2 ", Choice::Download),
            ("3", Choice::Exit),
            ("Seed", Choice::Seed),
            ("d", Choice::Download),
            ("EXIT", Choice::Exit),
        ] {
            assert_eq!(choice(typed), Ok(expect), "{typed}");
        }
        assert_eq!(choice("  "), Err("Type 1, 2 or 3.".into()));
        for wrong in ["4", "0", "11", "-1", "seeds", "x"] {
            let refused = choice(wrong).unwrap_err();
            let expect = format!("`{wrong}` is not in the menu: type 1, 2 or 3.");
            assert_eq!(refused, expect);
        }
    }

    #[test]
    fn quotes_around_a_path_are_no_part_of_it() {
        for (typed, expect) in [
            ("plain", "plain"),
            (" my file.txt ", "my file.txt"),
            ("\"my file.txt\"", "my file.txt"),
            ("'my file.txt'", "my file.txt"),
            ("C:\\My Files\\x", "C:\\My Files\\x"),
            ("it's", "it's"),
            ("\"half", "\"half"),
            ("\"", "\""),
            ("\"\"", ""),
            ("", ""),
        ] {
            assert_eq!(unquoted(typed), expect, "{typed}");
        }
    }

    #[test]
    fn what_is_shown_can_be_named_by_its_number() {
        let shown = ["a b.txt", "2", "c"].map(str::to_string);
        for (typed, expect) in [
            ("1", "a b.txt"),
            ("3", "c"),
            ("2", "2"),
            ("\"a b.txt\"", "a b.txt"),
            ("other", "other"),
        ] {
            assert_eq!(name_or_number(typed, &shown).as_deref(), Ok(expect));
        }
        for wrong in ["0", "4", "99999"] {
            let refused = name_or_number(wrong, &shown);
            assert_eq!(refused, Err(format!("There is no number {wrong}: 1 to 3.")));
        }
        // Nothing was shown: it is a name.
        assert_eq!(name_or_number("7", &[]).as_deref(), Ok("7"));
    }

    #[test]
    fn a_source_is_a_number_an_address_or_all() {
        let sources = ["127.0.0.1:7601", "[::1]:7602"].map(|address| PeerEntry {
            address: address.parse().unwrap(),
            seeder: true,
        });
        let [one, two] = sources.map(|peer| Ok(Sources::Only(vec![peer.address])));
        for (typed, expect) in [
            ("", Ok(Sources::Anyone)),
            ("0", Ok(Sources::Anyone)),
            (" all ", Ok(Sources::Anyone)),
            ("1", one.clone()),
            ("127.0.0.1:7601", one),
            ("2", two),
            ("3", Err("There is no number 3: 1 to 2.".to_string())),
            (
                "127.0.0.1:9",
                Err("`127.0.0.1:9` is none of them: type a number, or 0 for all.".into()),
            ),
        ] {
            assert_eq!(source(typed, &sources), expect, "{typed}");
        }
    }
}
