//! Proves that trackers in sync can be trusted: some of them as processes, eight users who change
//! things all the time, and a nemesis that kills, pauses, cuts off and restarts trackers, and
//! loses their databases. In the end everything is well again, and what is there is compared with
//! what was answered.
//!
//! A short form runs with all tests; `make torture SECONDS=600 SEED=1` is the long one.
//!
//! # What is proved
//!
//! Every change that a client wants has an id. It is sent to one tracker; if there is no answer,
//! to another one, with the same id. Each of these attempts has a time at which it was sent, and
//! one at which the answer was there. Every fact in a database has a stamp, with the millisecond
//! in which it was made. Trackers and clients have the clock of one machine. So:
//!
//! - an attempt that was answered `OK` *covers* the time between the two;
//! - one that was not answered covers all time after it was sent (the tracker may have done it,
//!   or may yet do it when it goes on);
//! - one that was refused covers nothing.
//!
//! (a) **No acknowledged change is lost.** What was made (a user, a group, a share) is there,
//! with a stamp that the change covers. What is written again and again (a password, how somebody
//! stands to a group, who holds a torrent) has the stamp of the change or a later one. A change
//! that says what is true already need write nothing, as long as it stays true.
//!
//! (b) **No refused change was applied, and nothing was invented.** The stamp of every fact is
//! covered by an attempt of somebody who wanted just that.
//!
//! (c) **All trackers are equal** within ten seconds: the digests, and then the databases, fact
//! by fact.
//!
//! (d) **The earliest has the name.** By (a) and (b) every creation has its own fact, whose stamp
//! is the id. What trackers show is computed here from these facts alone, and compared: of those
//! that took a name, the earliest one that lives has it, and the others have it with a number;
//! the owner is the member of longest standing; the password of each of them opens that account.
//!
//! (e) **An id is done once.** Nothing was made more often than attempts can have made it; where
//! the first attempt was OK and all trackers were in sync until the last one, once, and the
//! answers are the same. (On two sides of a split both do it; that is counted.)
//!
//! Creations are told apart by name and maker, memberships by the name of the group and the user:
//! where two groups have taken one name, the latest of both counts for (a).
//!
//! Not here: what users are told (`tests/sync.rs`), and swarms, which are not kept.

mod checker;
mod client;
mod history;
mod ledger;
mod line;
mod nemesis;
mod rules;
mod town;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use argon2::{Argon2, PasswordHash, PasswordVerifier};
use rand::SeedableRng;
use rand::rngs::StdRng;

use mini_bittorrent::control::stamp::Stamp;

use crate::support::net::Net;
use crate::support::peers::say;
use checker::{Evidence, Fault, Seen, Verdict, check};
use client::{Client, Shared, user_name};
use history::{Answer, Operation, Wish};
use ledger::{Ledger, millis};
use line::Line;
use nemesis::{AGREE, Nemesis};
use town::Town;

const CLIENTS: usize = 8;
/// Unless the environment says otherwise.
const SECONDS: u64 = 15;
/// How much longer than planned it may take before it counts as hanging.
const GRACE: Duration = Duration::from_secs(150);
/// Groups and names that each tracker is asked about in the end.
const ASKED: usize = 20;
const LOGINS: usize = 4;
/// Lines of a timeline.
const TIMELINE: usize = 40;

#[test]
fn nothing_acknowledged_is_lost_whatever_happens_to_trackers() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|value| value.parse().ok())
    };
    let seconds = number("MINI_TORTURE_SECONDS").unwrap_or(SECONDS);
    let seed = number("MINI_TORTURE_SEED").unwrap_or_else(|| rand::random::<u32>().into());
    let total = Duration::from_secs(seconds);
    say(&format!("torture: seed {seed}, {seconds} s\n"));
    scene(3, None, total.mul_f64(0.25), seed);
    for (count, part) in [(3, 0.25), (5, 0.5)] {
        match Net::make(count) {
            Ok(net) => scene(count, Some(net), total.mul_f64(part), seed),
            Err(why) => {
                say(&format!(
                    "SKIPPED: cutting links between {count} trackers: {why}\n"
                ));
                assert_ne!(
                    std::env::var("CI").as_deref(),
                    Ok("true"),
                    "no namespaces: {why}"
                );
                scene(count, None, total.mul_f64(part), seed);
            }
        }
    }
}

/// Trackers, users and a nemesis for some time; then the proof.
fn scene(count: usize, net: Option<Net>, time: Duration, seed: u64) {
    let is_net = net.is_some();
    let _watchdog = watchdog(time + GRACE);
    let town = Town::new(count, net);
    let shared = Arc::new(Shared {
        places: town.places.clone(),
        stop: AtomicBool::new(false),
        began: Instant::now(),
    });
    let mut nemesis = Nemesis::new(town, StdRng::seed_from_u64(seed));
    nemesis.calm_down(Instant::now());
    let clients: Vec<Client> = (0..CLIENTS)
        .map(|n| Client::new(n, seed, shared.clone()))
        .collect();
    let clients = clients.into_iter().map(|mut client| {
        client.sign_up();
        std::thread::spawn(move || {
            client.live();
            client.history
        })
    });
    let clients: Vec<_> = clients.collect();
    let stop = StopAtEnd(shared.clone());
    nemesis.run(Instant::now() + time);
    drop(stop);
    let histories = clients.into_iter().map(|client| client.join().unwrap());
    let history: Vec<Operation> = histories.flatten().collect();
    nemesis.heal();
    let agreed = agree(&nemesis.town);
    let ledgers: Vec<Ledger> = nemesis.town.all().map(|n| read(&nemesis.town, n)).collect();
    let passwords = passwords(&ledgers[0], &history);
    let towns = nemesis.town.all().zip(ledgers);
    let seen = towns.map(|(n, ledger)| see(&nemesis.town, n, ledger, &passwords));
    let seen: Vec<Seen> = seen.collect();
    let verdict = check(&Evidence {
        history: &history,
        calm: &nemesis.calm,
        seen: &seen,
        passwords: &passwords,
    });
    let place = if is_net {
        "in namespaces, with keys"
    } else {
        "on loopback"
    };
    say(&format!("torture: {count} trackers {place}, {time:?}\n"));
    report(&history, &nemesis, &verdict, agreed);
    if let Some(fault) = verdict.faults.first() {
        let faults = verdict.faults.iter();
        let all: Vec<String> = faults
            .take(10)
            .map(|f| format!("({}) {}", f.rule, f.says))
            .collect();
        panic!(
            "seed {seed}, {count} trackers {place}: {} faults\n{}\n\nthe first one:\n{}\n{}",
            verdict.faults.len(),
            all.join("\n"),
            timeline(fault, &history, &nemesis),
            nemesis.town.logs()
        );
    }
}

/// Ends the clients also if the nemesis panics.
struct StopAtEnd(Arc<Shared>);

impl Drop for StopAtEnd {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::SeqCst);
    }
}

/// Ends everything if it hangs; the network is removed also then.
fn watchdog(time: Duration) -> impl Drop {
    struct Fed(Arc<AtomicBool>);
    impl Drop for Fed {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let fed = Arc::new(AtomicBool::new(false));
    let looked_at = fed.clone();
    let until = Instant::now() + time;
    std::thread::spawn(move || {
        while !looked_at.load(Ordering::SeqCst) {
            if Instant::now() > until {
                say(&format!("torture did not end within {time:?}\n"));
                Net::remove_all();
                std::process::exit(101);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    Fed(fed)
}

/// (c): how long it took until all digests were equal.
fn agree(town: &Town) -> Duration {
    let since = Instant::now();
    loop {
        let digests = town.digests();
        if digests.iter().all(|one| *one == digests[0]) && town.is_linked() {
            return since.elapsed();
        }
        let waited = since.elapsed();
        assert!(
            waited < AGREE,
            "(c) after {waited:?} trackers differ: {digests:#?}\n{}",
            town.logs()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn read(town: &Town, n: usize) -> Ledger {
    let path = town.database(n);
    Ledger::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The password that each hash was made of, of those that somebody has asked for.
fn passwords(ledger: &Ledger, history: &[Operation]) -> BTreeMap<Stamp, String> {
    let mut asked: BTreeMap<&str, Vec<(&Operation, &str)>> = BTreeMap::new();
    for operation in history {
        if let Wish::CreateUser { password, .. } | Wish::Passwd { password } = &operation.wish {
            asked
                .entry(operation.whom())
                .or_default()
                .push((operation, password));
        }
    }
    let mut found = BTreeMap::new();
    for (user, (stamp, hash)) in &ledger.passwords {
        let hash = PasswordHash::new(hash).expect("a tracker has written it");
        let asked = asked.get(ledger.user(*user)).into_iter().flatten();
        let mut asked: Vec<_> = asked.collect();
        // Hashing is slow: first those who can have been it.
        asked.sort_by_key(|(operation, _)| !operation.covers(millis(*stamp)));
        let is_it = |password: &str| {
            let verified = Argon2::default().verify_password(password.as_bytes(), &hash);
            verified.is_ok()
        };
        let word = asked.iter().find(|(_, password)| is_it(password));
        found.extend(word.map(|(_, password)| (*user, password.to_string())));
    }
    found
}

/// What a tracker tells one of the users.
fn see(town: &Town, n: usize, ledger: Ledger, passwords: &BTreeMap<Stamp, String>) -> Seen {
    let user = user_name(n);
    let shown = ledger.shown_users();
    let asker = shown
        .iter()
        .find(|(_, name)| **name == user)
        .map(|(id, _)| *id);
    let password = asker
        .and_then(|id| passwords.get(&id))
        .cloned()
        .unwrap_or_default();
    let open = || Line::open(&town.places[n - 1]).expect("it runs");
    let mut line = open();
    let is_in = log_in(&mut line, &user, &password);
    let mut list = |what: String| line.list(&what).expect("it answers");
    let mut seen = Seen {
        tracker: n,
        digest: town.digests().swap_remove(n - 1),
        asker,
        groups: list("list_groups".into())
            .unwrap_or_default()
            .into_iter()
            .collect(),
        logins: vec![(user, password, is_in)],
        ..Seen::default()
    };
    for group in ledger.shown_groups().into_values().take(ASKED) {
        // Only members are told.
        if let Some(members) = list(format!("list_members {group}")) {
            seen.members.insert(group.clone(), members);
        }
        if let Some(files) = list(format!("list_files {group}")) {
            let hashes = files.iter().filter_map(|line| line.split(' ').nth(2));
            let hashes: BTreeSet<String> = hashes.map(str::to_string).collect();
            seen.files.insert(group, hashes);
        }
    }
    let contested = shown.iter().filter(|(_, name)| name.ends_with("~2"));
    let contested: Vec<&str> = contested.map(|(_, name)| history::base(name)).collect();
    let of_contested = shown
        .iter()
        .filter(|(_, name)| contested.contains(&history::base(name)));
    for (id, name) in of_contested.take(LOGINS) {
        let password = passwords.get(id).cloned().unwrap_or_default();
        let is_right = log_in(&mut open(), name, &password);
        seen.logins.push((name.clone(), password, is_right));
    }
    seen.ledger = ledger;
    seen
}

/// Who has given wrong passwords waits a little.
fn log_in(line: &mut Line, user: &str, password: &str) -> bool {
    let until = Instant::now() + Duration::from_secs(35);
    loop {
        let said = line.say(&format!("login {user} {password} {}", "05".repeat(32)));
        let said = said.expect("it answers").words;
        let is_busy = said.get(1).is_some_and(|code| code == "busy");
        if !is_busy || Instant::now() > until {
            return said[0] == "OK";
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn report(history: &[Operation], nemesis: &Nemesis, verdict: &Verdict, agreed: Duration) {
    let acknowledged = history.iter().filter(|one| one.is_acknowledged()).count();
    let refused = history.iter().filter(|one| one.is_refused()).count();
    let unknown = history.len() - acknowledged - refused;
    let again = history.iter().filter(|one| one.attempts.len() > 1).count();
    let counts = &nemesis.counts;
    say(&format!(
        "  operations: {} tried, {acknowledged} acknowledged, {refused} refused, {unknown} unknown; \
         {again} sent more than once\n  \
         faults: {} kills, {} pauses, {} restarts, {} splits, {} one-way cuts, {} unplugged, {} lost databases\n  \
         verified: {} changes ({} of them overtaken), {} ids answered OK twice, {} ids sent again in calm, {} \
         creations done \
         on both sides of a fault, {} names taken more than once\n  \
         in sync again within {:.1?}, equal in the end after {agreed:.1?}\n",
        history.len(),
        counts.kills,
        counts.pauses,
        counts.restarts,
        counts.splits,
        counts.cuts,
        counts.unplugged,
        counts.lost_databases,
        verdict.verified,
        verdict.overtaken,
        verdict.repeated,
        verdict.in_calm,
        verdict.twice,
        verdict.contested,
        counts.slowest,
    ));
}

/// The last that happened to what a fault is about, and to the trackers meanwhile.
fn timeline(fault: &Fault, history: &[Operation], nemesis: &Nemesis) -> String {
    let mut lines: Vec<(u64, String)> = Vec::new();
    let is_about = |operation: &&Operation| {
        let of_group = fault.group.is_empty() || operation.group() == Some(fault.group.as_str());
        let of_user =
            fault.user.is_empty() || operation.by == fault.user || operation.whom() == fault.user;
        of_group && of_user
    };
    for operation in history.iter().filter(is_about) {
        for attempt in &operation.attempts {
            let refused = matches!(attempt.answer, Answer::Refused(_));
            let mark = if refused { "-" } else { "+" };
            let text = format!(
                "{mark} {operation} at tracker {}, until {}: {} [{}]",
                attempt.tracker,
                attempt.ended,
                attempt.answer,
                &operation.id[..7]
            );
            lines.push((attempt.sent, text));
        }
    }
    let first = lines.iter().map(|(at, _)| *at).min().unwrap_or(0);
    let events = nemesis.events.iter().filter(|(at, _)| *at + 5000 > first);
    lines.extend(events.map(|(at, what)| (*at, format!("      ! {what}"))));
    lines.sort();
    // Of what has happened to trackers, only what is near.
    let about: Vec<u64> = lines
        .iter()
        .filter(|(_, text)| !text.starts_with(' '))
        .map(|(at, _)| *at)
        .collect();
    let is_near = |at: u64| about.iter().any(|one| one.abs_diff(at) < 4000);
    lines.retain(|(at, _)| about.is_empty() || is_near(*at));
    let last = &lines[lines.len().saturating_sub(TIMELINE)..];
    last.iter()
        .map(|(at, text)| format!("{at} {text}\n"))
        .collect()
}
