//! `check_network`: what works between this machine, the trackers and the peers, and which side
//! blocks if something does not.
//!
//! Not here: trying it (`peer::network`).

mod verdict;

use crate::control::knock::Outcome;
use crate::peer::network::{Met, Network, Unasked};
use crate::peer::tracker_link::Unmet;

use self::verdict::{Attempt, attempts, judge};
use super::peer_shell::{PeerShell, ShellError};
use super::screen::say;
use super::table::{Align, table};
use super::units::count;

/// Tries everything, and tells what came of it.
pub fn check_network(shell: &PeerShell) -> Result<String, ShellError> {
    say!("Checking the network, at most 10 s; Ctrl-C ends it.");
    let network = shell.peer.check_network(&shell.interrupt.stop())?;
    if shell.interrupt.came() {
        return Err(ShellError::Interrupted);
    }
    Ok(report(&network))
}

/// Whether it works.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Ok,
    Fails,
    /// It could not be tried.
    Unknown,
    None,
}

impl Mark {
    fn word(self) -> &'static str {
        match self {
            Mark::Ok => "ok",
            Mark::Fails => "fails",
            Mark::Unknown => "?",
            Mark::None => "",
        }
    }
}

type Row = (&'static str, String, Mark);

/// A line for each part of the way, and the verdict.
fn report(network: &Network) -> String {
    let mut rows = vec![port(network)];
    rows.extend(trackers(network));
    rows.push(from_peers(network));
    rows.push(to_peers(network));
    rows.push(("multicast", "is not needed".into(), Mark::None));
    let cells = rows
        .into_iter()
        .map(|(what, said, mark)| vec![what.to_string(), mark.word().to_string(), said]);
    let cells: Vec<Vec<String>> = cells.collect();
    // The columns need no names.
    let lines = table(&[("", Align::Left); 3], &cells);
    format!("{}\n{}", lines.trim_start_matches('\n'), judge(network))
}

fn port(network: &Network) -> Row {
    let (port, ip) = (network.bound.port(), network.bound.ip());
    let place = match ip.is_unspecified() {
        true => "every address of this machine".to_string(),
        false => ip.to_string(),
    };
    let (said, mark) = match network.is_open {
        true => (format!("{port} is open at {place}"), Mark::Ok),
        false => (format!("{port} does not answer at {place}"), Mark::Fails),
    };
    ("port", said, mark)
}

fn trackers(network: &Network) -> Vec<Row> {
    if network.trackers.is_empty() {
        let said = "tracker_info.txt names none".to_string();
        return vec![("tracker", said, Mark::Fails)];
    }
    let mut rows = Vec::new();
    for (tracker, met) in &network.trackers {
        let row = |said: String, mark| ("tracker", format!("{tracker} {said}"), mark);
        rows.push(match met {
            Ok(met) => {
                let ms = met.took.as_millis().max(1);
                let tls = match tracker.key {
                    Some(_) => ", inside TLS and with the right key",
                    None => "",
                };
                row(format!("answers, in {ms} ms{tls}"), Mark::Ok)
            }
            Err(unmet) => row(no_answer(unmet), Mark::Fails),
        });
        if let Ok(met) = met {
            rows.push(from_there(&tracker.to_string(), met));
        }
    }
    rows
}

fn no_answer(unmet: &Unmet) -> String {
    match unmet {
        Unmet::NoConnection(Outcome::Refused, _) => "refuses: no tracker runs there".into(),
        Unmet::NoConnection(Outcome::Silent, _) => "does not answer".into(),
        Unmet::NoConnection(_, why) => format!("cannot be reached: {why}"),
        Unmet::Distrusted(why) => format!("is not trusted: {why}"),
        Unmet::Other(why) => format!("is there, and does not answer as trackers do: {why}"),
    }
}

fn from_there(tracker: &str, met: &Met) -> Row {
    let (said, mark) = match &met.seen {
        Ok(seen) => {
            let at = seen.knocks.address;
            match seen.knocks.outcome {
                Outcome::Connected if seen.came > 0 => {
                    (format!("can connect to us at {at}"), Mark::Ok)
                }
                Outcome::Connected => (
                    format!("reaches another program than this one at {at}"),
                    Mark::Fails,
                ),
                outcome => (
                    format!("cannot connect to us at {at}: {}", why(outcome)),
                    Mark::Fails,
                ),
            }
        }
        Err(Unasked::TooOld) => (
            "cannot try to connect to us: it is of an older version".into(),
            Mark::Unknown,
        ),
        Err(Unasked::Refused(sentence)) => (
            format!("does not try to connect to us: {sentence}"),
            Mark::Unknown,
        ),
    };
    ("from there", format!("{tracker} {said}"), mark)
}

fn why(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Connected => "connected",
        Outcome::Refused => "refused",
        Outcome::Silent => "no answer",
        Outcome::Unreachable => "no way there",
    }
}

fn from_peers(network: &Network) -> Row {
    let seen = network.met().filter_map(|met| met.seen.as_ref().ok());
    let asked: u32 = seen.map(|seen| seen.knocks.asked).sum();
    let tried: Vec<Attempt> = attempts(network).filter(|one| one.by_peer).collect();
    if asked == 0 {
        let said = "nobody could try: no other peer is connected to a tracker".to_string();
        return ("from peers", said, Mark::Unknown);
    }
    let came = tried.iter().filter(|one| one.came).count();
    let near = tried.iter().filter(|one| one.is_near).count();
    let mut said = format!("{came} of {} could connect to us", peers(asked as usize));
    match asked as usize - tried.len() {
        0 => {}
        silent => said += &format!("; {silent} did not say"),
    }
    if near > 0 {
        said += &format!("; {near} of them at our own address");
    }
    let mark = match (came, tried.len()) {
        (_, 0) => Mark::Unknown,
        (came, tried) if came == tried => Mark::Ok,
        _ => Mark::Fails,
    };
    ("from peers", said, mark)
}

fn to_peers(network: &Network) -> Row {
    let connected = |outcome: Outcome| outcome == Outcome::Connected;
    let tried = network.peers.len();
    let reached = network.peers.iter();
    let reached = reached.filter(|(_, outcome)| connected(*outcome)).count();
    if tried == 0 {
        let said = "no peer is known to try: nothing is fetched from or shared with others yet";
        return ("to peers", said.into(), Mark::Unknown);
    }
    let mut said = format!("{reached} of {} can be connected to", peers(tried));
    for (address, outcome) in &network.peers {
        if !connected(*outcome) {
            said += &format!("; {address}: {}", why(*outcome));
        }
    }
    let mark = if reached == tried {
        Mark::Ok
    } else {
        Mark::Fails
    };
    ("to peers", said, mark)
}

fn peers(number: usize) -> String {
    count(number, "peer")
}

#[cfg(test)]
mod tests;
