//! The trackers, as text: how they stand, and which of them this peer uses.

use std::time::Duration;

use crate::control::reply::{TrackerEntry, TrackerState};
use crate::control::request::Request;
use crate::control::tracker_info::TrackerAddress;
use crate::peer::trackers::TrackerView;

use super::peer_program::read_tracker_info;
use super::peer_shell::{PeerShell, ShellError};
use super::table::{Align, table};
use super::units;

/// How much of a digest is shown: enough to see whether two are equal.
const DIGEST: usize = 12;

/// Every tracker as the one sees it that this peer uses; without one, as this peer does.
pub fn trackers(shell: &mut PeerShell) -> Result<String, ShellError> {
    let asked = shell.link.request(&Request::Trackers);
    let known = shell.peer.trackers.view();
    match asked {
        Ok(reply) => Ok(list(&TrackerEntry::list_from_reply(reply)?, &known)),
        Err(error) if error.is_unreachable() => Ok(without_answer(&known)),
        Err(error) => Err(error.into()),
    }
}

/// A table of what a tracker says of itself and the others. `known` is what this peer knows.
pub fn list(entries: &[TrackerEntry], known: &[TrackerView]) -> String {
    if entries.is_empty() {
        return "This tracker is alone: it was given no tracker_info.txt.".into();
    }
    let used = known.iter().find(|view| view.used);
    let used = used.map(|view| view.tracker.to_string());
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|entry| {
            let is_used = used.as_ref() == Some(&entry.address);
            vec![
                entry.number.to_string(),
                entry.address.clone(),
                state(entry.state).into(),
                lag(entry),
                entry.facts.to_string(),
                entry.digest.chars().take(DIGEST).collect(),
                if is_used { "used here" } else { "" }.into(),
                entry.why.clone(),
            ]
        })
        .collect();
    let (left, right) = (Align::Left, Align::Right);
    let head = [
        ("", right),
        ("tracker", left),
        ("state", left),
        ("lag", right),
        ("facts", right),
        ("digest", left),
        ("", left),
        ("", left),
    ];
    table(&head, &rows)
}

fn state(state: TrackerState) -> &'static str {
    match state {
        TrackerState::Itself => "answers",
        TrackerState::CatchingUp => "catching up",
        TrackerState::InSync => "in sync",
        TrackerState::Behind => "behind",
        TrackerState::Unreachable => "unreachable",
        TrackerState::Refused => "refused",
    }
}

fn lag(entry: &TrackerEntry) -> String {
    match entry.lag {
        0 => "none".into(),
        ms @ 1..1000 => format!("{ms} ms"),
        ms => units::time(Duration::from_millis(ms)),
    }
}

/// What this peer knows itself.
fn without_answer(known: &[TrackerView]) -> String {
    let rows: Vec<Vec<String>> = known
        .iter()
        .enumerate()
        .map(|(index, view)| {
            let (state, why) = match &view.trouble {
                Some(trouble) => ("unreachable", trouble.why()),
                None => ("not tried yet", ""),
            };
            vec![
                (index + 1).to_string(),
                view.tracker.to_string(),
                state.into(),
                why.into(),
            ]
        })
        .collect();
    let left = Align::Left;
    let head = [
        ("", Align::Right),
        ("tracker", left),
        ("state", left),
        ("", left),
    ];
    let offer = "If one of them is this machine, it runs in this program with: host_tracker";
    format!(
        "No tracker answers.\n{}\n{offer}",
        table(&head, &rows).trim_end()
    )
}

/// Takes up what has changed in tracker_info.txt.
pub fn reload(shell: &mut PeerShell) -> Result<String, ShellError> {
    let trackers = read_tracker_info(&shell.tracker_info)?;
    let (before, count) = (shell.peer.trackers.list(), trackers.len());
    let file = shell.tracker_info.display();
    let said = match before == trackers {
        true => format!("{file} names the same {count} tracker(s) as before."),
        false => {
            let not_in = |some: &[TrackerAddress], others: &[TrackerAddress]| {
                let missing = some.iter().filter(|tracker| !others.contains(tracker));
                missing.count()
            };
            let (new, gone) = (not_in(&trackers, &before), not_in(&before, &trackers));
            format!("{file} names {count} tracker(s): {new} new, {gone} gone.")
        }
    };
    // The tracker inside may have missed what the peer has read.
    if let Some(hosted) = &shell.hosted {
        hosted.choice.reload(&hosted.tracker)?;
    }
    shell.peer.set_trackers(trackers);
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::trackers::Trouble;

    fn known(port: u16, used: bool, trouble: Option<Trouble>) -> TrackerView {
        let tracker = TrackerAddress {
            host: "10.0.0.1".into(),
            port,
            key: None,
        };
        TrackerView {
            tracker,
            used,
            trouble,
        }
    }

    #[test]
    fn the_list_shows_who_is_used() {
        let entry = |number, state, lag, digest: &str, why: &str| TrackerEntry {
            number,
            address: format!("10.0.0.1:{number}"),
            state,
            lag,
            facts: 7,
            digest: digest.into(),
            why: why.into(),
        };
        let entries = [
            entry(1, TrackerState::Unreachable, 90_000, "", "refused"),
            entry(2, TrackerState::Itself, 0, "0123456789abcdef", ""),
            entry(3, TrackerState::Behind, 12, "fedc", ""),
        ];
        let text = list(&entries, &[known(2, true, None)]);
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert_eq!(
            lines,
            [
                "   tracker     state               lag  facts  digest",
                "1  10.0.0.1:1  unreachable  1 min 30 s      7                           refused",
                "2  10.0.0.1:2  answers            none      7  0123456789ab  used here",
                "3  10.0.0.1:3  behind            12 ms      7  fedc",
            ]
        );
    }

    #[test]
    fn without_an_answer_it_says_why() {
        let trouble = Trouble::NoAnswer("Connection refused".into());
        let text = without_answer(&[known(1, false, Some(trouble)), known(2, false, None)]);
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert_eq!(lines[2], "1  10.0.0.1:1  unreachable    Connection refused");
        assert_eq!(lines[3], "2  10.0.0.1:2  not tried yet");
        assert!(lines[4].ends_with("host_tracker"), "{text}");
    }
}
