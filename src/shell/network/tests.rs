//! Strings in, strings out: what was tried, and what is said of it.

use std::time::Duration;

use super::*;
use crate::control::knock::{Knocks, PeerKnock};
use crate::control::tracker_info;
use crate::peer::network::Seen;

/// `port <ip:port> open|closed`, `peer <ip:port> <outcome>`, `tracker <ip:port>` and what came of it:
/// an outcome, `distrusted` or `other`; `ours <ip>` and `old` or `busy`; or `ours <ip> told <ip>`,
/// its outcome, how many knocks came, how many peers were asked, and what they say.
fn network(text: &str) -> Network {
    let mut network = Network {
        bound: "192.168.1.23:7600".parse().unwrap(),
        is_open: true,
        trackers: Vec::new(),
        peers: Vec::new(),
    };
    for line in text.split(';').map(str::trim) {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["port", bound, state] => {
                network.bound = bound.parse().unwrap();
                network.is_open = *state == "open";
            }
            ["peer", address, outcome] => {
                let peer = (address.parse().unwrap(), outcome.parse().unwrap());
                network.peers.push(peer);
            }
            ["tracker", at, rest @ ..] => {
                let tracker = tracker_info::parse(at).unwrap().remove(0);
                let met = met(at, network.bound.port(), rest);
                network.trackers.push((tracker, met));
            }
            [""] => {}
            other => panic!("{other:?}"),
        }
    }
    network
}

fn met(at: &str, port: u16, words: &[&str]) -> Result<Met, Unmet> {
    let there = at.rsplit_once(':').unwrap().0;
    let met = |ours: &str, seen| Met {
        took: Duration::from_micros(2900),
        there: there.trim_matches(['[', ']']).parse().unwrap(),
        ours: ours.parse().unwrap(),
        seen,
    };
    match words {
        ["distrusted"] => Err(Unmet::Distrusted("it has another key".into())),
        ["other"] => Err(Unmet::Other("the line is too long".into())),
        [outcome] => {
            let why = "Network is unreachable".into();
            Err(Unmet::NoConnection(outcome.parse().unwrap(), why))
        }
        ["ours", ours, "old"] => Ok(met(ours, Err(Unasked::TooOld))),
        ["ours", ours, "busy"] => Ok(met(ours, Err(Unasked::Refused("wait a minute".into())))),
        ["ours", ours, "told", told, outcome, came, asked, peers @ ..] => {
            let peer = |word: &&str| {
                let (outcome, place) = word.split_once('-').unwrap();
                PeerKnock {
                    outcome: outcome.parse().unwrap(),
                    is_near: place == "near",
                }
            };
            let knocks = Knocks {
                address: format!("{told}:{port}").parse().unwrap(),
                outcome: outcome.parse().unwrap(),
                asked: asked.parse().unwrap(),
                peers: peers.iter().map(peer).collect(),
            };
            let came = came.parse().unwrap();
            Ok(met(ours, Ok(Seen { knocks, came })))
        }
        other => panic!("{other:?}"),
    }
}

const GOOD: &str = "tracker 192.168.1.10:6000 ours 192.168.1.23 told 192.168.1.23 connected 1 0";

#[test]
fn the_verdict_names_the_side() {
    let check = |tried: &str, expect: &str| {
        let said = judge(&network(tried)).to_string();
        assert!(said.contains(expect), "{tried}\n{said}\n{expect}");
    };
    // Ourselves.
    check(
        "port 10.0.0.1:7600 closed",
        "This side: 10.0.0.1:7600 does not answer",
    );
    check(
        &format!("port 10.0.0.1:7600 closed; {GOOD}"),
        "not even to this machine",
    );
    check("", "tracker_info.txt names no tracker");
    // The tracker's machine.
    check(
        "tracker 192.168.1.10:6000 refused",
        "The tracker's side: its machine answers, and no tracker runs at 192.168.1.10:6000",
    );
    check(
        "tracker 192.168.1.10:6000 silent",
        "The tracker's side: the machine of 192.168.1.10:6000 does not answer",
    );
    check(
        "tracker 192.168.1.10:6000 silent",
        "sudo ufw allow 6000/tcp",
    );
    check(
        "tracker 192.168.1.10:6000 unreachable",
        "no way leads from here",
    );
    check(
        "tracker 192.168.1.10:6000 distrusted",
        "is not the tracker that",
    );
    check(
        "tracker 192.168.1.10:6000 other",
        "does not speak as trackers do",
    );
    check(
        &format!("tracker 192.168.1.11:6000 silent; {GOOD}"),
        "the machine of 192.168.1.11:6000 does not answer",
    );
    // Addresses.
    check(
        "port 127.0.0.1:7600 open; tracker 127.0.0.1:6000 ours 127.0.0.1 told 127.0.0.1 connected 1 0",
        "This machine only",
    );
    check(
        "port 127.0.0.1:7600 open; tracker 192.168.1.10:6000 ours 192.168.1.23 told 192.168.1.23 \
         refused 0 0",
        "Start this peer with an address that others reach: 192.168.1.23:7600",
    );
    check(
        "tracker 127.0.0.1:6000 ours 127.0.0.1 told 127.0.0.1 refused 0 0",
        "tracker_info.txt names the tracker as 127.0.0.1:6000",
    );
    check(
        "tracker 198.51.100.1:6000 ours 192.168.1.23 told 203.0.113.5 silent 0 0",
        "Others are told 203.0.113.5:7600, which is the router",
    );
    check(
        "tracker 198.51.100.1:6000 ours 192.168.1.23 told 203.0.113.5 connected 1 0",
        "Nobody blocks: others can",
    );
    check(
        "port 10.0.0.5:7600 open; tracker 192.168.1.10:6000 ours 192.168.1.23 told 192.168.1.23 \
         refused 0 0",
        "listens at 10.0.0.5:7600, and others are told 192.168.1.23:7600",
    );
    check(
        "port 0.0.0.0:7600 open; tracker [2001:db8::1]:6000 ours 2001:db8::2 told [2001:db8::2] \
         refused 0 0",
        "listens at 0.0.0.0:7600, and others are told [2001:db8::2]:7600",
    );
    check(
        "port [::]:7600 open; tracker 192.168.1.10:6000 ours 192.168.1.23 told 192.168.1.23 silent \
         0 0",
        "blocks incoming connections to port 7600",
    );
    check(
        "tracker 192.168.1.10:6000 ours 192.168.1.23 told 192.168.1.23 connected 0 0",
        "another program answers",
    );
    // Our firewall.
    for outcome in ["silent", "refused", "unreachable"] {
        let tracker = "tracker 192.168.1.10:6000 ours 192.168.1.23 told 192.168.1.23";
        let blocked = "This side: a firewall on this machine";
        check(&format!("{tracker} {outcome} 0 0"), blocked);
        check(
            &format!("{tracker} {outcome} 0 2 {outcome}-far silent-far"),
            blocked,
        );
        // Our own machine gets in.
        check(&format!("{tracker} {outcome} 1 1 connected-near"), blocked);
    }
    check(
        "tracker 192.168.1.23:6000 ours 192.168.1.23 told 192.168.1.23 connected 1 1 silent-far",
        "This side: a firewall on this machine",
    );
    check(
        "tracker 192.168.1.23:6000 ours 192.168.1.23 told 192.168.1.23 connected 1 1 connected-near",
        "only this machine, or one at the same address, has tried",
    );
    // A tracker on this machine, and one that is not.
    check(
        "tracker 127.0.0.1:6000 ours 127.0.0.1 told 127.0.0.1 refused 0 0; \
         tracker 192.168.1.10:6000 ours 192.168.1.23 told 192.168.1.23 silent 0 0",
        "This side: a firewall on this machine",
    );
    // Some say that they have connected, and fewer knocks came.
    check(
        "tracker 192.168.1.23:6000 ours 192.168.1.23 told 192.168.1.23 connected 1 1 connected-far",
        "This side: a firewall on this machine",
    );
    check(
        "tracker 192.168.1.10:6000 ours 192.168.1.23 told 192.168.1.23 silent 1 2 connected-far \
         connected-near",
        "This side: a firewall on this machine",
    );
    check(
        "tracker 192.168.1.23:6000 ours 192.168.1.23 told 192.168.1.23 connected 2 1 connected-far",
        "Nobody blocks: others can",
    );
    for why in ["old", "busy"] {
        let asked = format!("tracker 192.168.1.10:6000 ours 192.168.1.23 {why}");
        check(&asked, "Not known: the tracker answers");
    }
    // Others.
    let reached = "tracker 192.168.1.10:6000 ours 192.168.1.23 told 192.168.1.23";
    check(
        &format!("{reached} silent 1 2 connected-far connected-far"),
        "Another side: some connect to this peer",
    );
    check(
        &format!("{reached} connected 2 2 connected-far unreachable-far"),
        "Another side: some connect to this peer",
    );
    check(
        &format!("{GOOD}; peer 10.0.0.9:7601 silent; peer 10.0.0.8:7602 connected"),
        "A peer's side: 10.0.0.9:7601 does not answer",
    );
    check(
        &format!("{GOOD}; peer 10.0.0.9:7601 silent; peer 10.0.0.8:7602 connected"),
        "sudo ufw allow 7601/tcp",
    );
    check(
        &format!("{GOOD}; peer 10.0.0.9:7601 refused"),
        "no peer runs at 10.0.0.9:7601 any more",
    );
    check(
        &format!("{GOOD}; peer 10.0.0.9:7601 silent; peer 10.0.0.8:7602 unreachable"),
        "it reaches none of them",
    );
    check(
        &format!("{GOOD}; peer 10.0.0.9:7601 connected"),
        "Nobody blocks: others can connect to this peer, and it to them.",
    );
    check(GOOD, "Nobody blocks: others can");
}

#[test]
fn a_report_has_a_line_for_each_part_of_the_way() {
    let check = |tried: &str, expect: &[&str]| {
        let said = report(&network(tried));
        let said: Vec<&str> = said.lines().collect();
        assert_eq!(said, expect, "{tried}");
    };
    check(
        "tracker 192.168.1.10:6000 ours 192.168.1.23 told 192.168.1.23 silent 0 3 silent-far \
         connected-near; peer 192.168.1.24:7600 connected; peer 192.168.1.25:7600 silent",
        &[
            "port        ok     7600 is open at 192.168.1.23",
            "tracker     ok     192.168.1.10:6000 answers, in 2 ms",
            "from there  fails  192.168.1.10:6000 cannot connect to us at 192.168.1.23:7600: no answer",
            "from peers  fails  0 of 3 peers could connect to us; 1 did not say; 1 of them at our own address",
            "to peers    fails  1 of 2 peers can be connected to; 192.168.1.25:7600: no answer",
            "multicast          is not needed",
            "",
            "This side: a firewall on this machine, or in front of it, blocks incoming connections to port 7600. Allow it:",
            "  Windows, as administrator: netsh advfirewall firewall add rule name=\"Mini BitTorrent\" dir=in action=allow profile=private protocol=TCP localport=7600",
            "  Linux: sudo ufw allow 7600/tcp, or sudo firewall-cmd --add-port=7600/tcp",
        ],
    );
    let key = "5c".repeat(32);
    let tried = "port [::]:7600 open; tracker 192.168.1.10:6000 ours 192.168.1.23 old; \
         tracker 192.168.1.11:6000 refused; tracker 192.168.1.12:6000 ours 192.168.1.23 busy";
    let mut with_key = network(tried);
    with_key.trackers[0].0.key = Some(key.parse().unwrap());
    let said = report(&with_key);
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(
        said,
        [
            "port        ok     7600 is open at every address of this machine",
            "tracker     ok     192.168.1.10:6000 answers, in 2 ms, inside TLS and with the right key",
            "from there  ?      192.168.1.10:6000 cannot try to connect to us: it is of an older version",
            "tracker     fails  192.168.1.11:6000 refuses: no tracker runs there",
            "tracker     ok     192.168.1.12:6000 answers, in 2 ms",
            "from there  ?      192.168.1.12:6000 does not try to connect to us: wait a minute",
            "from peers  ?      nobody could try: no other peer is connected to a tracker",
            "to peers    ?      no peer is known to try: nothing is fetched from or shared with others yet",
            "multicast          is not needed",
            "",
            "Not known: the tracker answers, and has not tried to connect to this peer (see above), so nobody has seen what comes in.",
        ]
    );
}
