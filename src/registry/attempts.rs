//! Who has given wrong passwords, and how long they must wait.
//!
//! Failures are counted for the account (whether there is one or not) and for the address. The
//! first ones are free; then each further one doubles a pause, up to half a minute. Counts sink as
//! time goes by.
//!
//! Nobody can lock a user out by being wrong on purpose: an address from which the user has logged
//! in has a count of its own for that account, and is not held up by the failures of strangers.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};

use crate::control::names::UserName;

use super::Seconds;

/// How many failures are free. A classroom behind one router is one address.
const FREE_ACCOUNT: u32 = 3;
const FREE_ADDRESS: u32 = 50;
/// How many passwords are looked at for one account at once.
const AT_ONCE: u32 = 8;
/// The longest pause, in seconds.
const MAX_PAUSE: u32 = 30;
/// After so many seconds without another failure, one is forgotten.
const FORGET_ACCOUNT: u32 = 120;
const FORGET_ADDRESS: u32 = 15;
/// How long an address is known after a login, in seconds: a week.
const KNOWN: u32 = 7 * 24 * 3600;
/// The most entries of each kind: about a megabyte.
const MAX_ENTRIES: usize = 10_000;

/// Failed logins of late.
#[derive(Default)]
pub struct Attempts {
    accounts: Counts<(String, Option<IpAddr>)>,
    addresses: Counts<IpAddr>,
    /// Passwords that are being looked at now: as many guesses come before the first counts.
    tried: HashMap<(String, Option<IpAddr>), u32>,
    /// From where users have logged in, and when last.
    known: HashMap<(String, IpAddr), Seconds>,
}

/// Why a login is not even looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// After too many wrong passwords.
    Seconds(u32),
    /// Others are being tried for this account.
    Busy,
}

struct Counts<K> {
    entries: HashMap<K, Failures>,
    free: u32,
    /// Seconds.
    forget: u32,
}

/// Is forgotten when `count` has sunk to nothing.
#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Seconds,
}

impl Attempts {
    pub fn new() -> Attempts {
        Attempts::default()
    }

    /// Whether a password may be tried now. If so, one of [`succeeded`](Attempts::succeeded),
    /// [`failed`](Attempts::failed) and [`not_tried`](Attempts::not_tried) must follow.
    pub fn begin(&mut self, now: Seconds, user: &UserName, from: IpAddr) -> Result<(), Wait> {
        self.check(now, user, from)?;
        let tried = self.tried.entry(self.account(now, user, from)).or_default();
        if *tried >= AT_ONCE {
            return Err(Wait::Busy);
        }
        *tried += 1;
        Ok(())
    }

    fn check(&self, now: Seconds, user: &UserName, from: IpAddr) -> Result<(), Wait> {
        let account = self.accounts.pause(now, &self.account(now, user, from));
        let address = self.addresses.pause(now, &network(from));
        match account.max(address) {
            0 => Ok(()),
            seconds => Err(Wait::Seconds(seconds)),
        }
    }

    /// The password was wrong, or there is no such user.
    pub fn failed(&mut self, now: Seconds, user: &UserName, from: IpAddr) {
        self.not_tried(now, user, from);
        let account = self.account(now, user, from);
        self.accounts.count(now, account);
        self.addresses.count(now, network(from));
    }

    /// The password was not looked at after all.
    pub fn not_tried(&mut self, now: Seconds, user: &UserName, from: IpAddr) {
        // The place may have become known meanwhile: then its count was the strangers'.
        let (name, place) = self.account(now, user, from);
        for account in [(name.clone(), place), (name, None)] {
            if let Some(tried) = self.tried.get_mut(&account) {
                *tried -= 1;
                if *tried == 0 {
                    self.tried.remove(&account);
                }
                return;
            }
        }
    }

    /// The password was right. The address keeps its count: else whoever has an account could
    /// guess at those of others for ever.
    pub fn succeeded(&mut self, now: Seconds, user: &UserName, from: IpAddr) {
        self.not_tried(now, user, from);
        let account = self.account(now, user, from);
        self.accounts.entries.remove(&account);
        let place = (user.folded(), network(from));
        if self.known.len() >= MAX_ENTRIES && !self.known.contains_key(&place) {
            self.known.retain(|_, at| now.since(*at) < KNOWN);
            make_room(&mut self.known, |at| at.0);
        }
        self.known.insert(place, now);
    }

    /// Whose count it is: that of a known place, or that of all strangers together.
    fn account(&self, now: Seconds, user: &UserName, from: IpAddr) -> (String, Option<IpAddr>) {
        let (name, place) = (user.folded(), network(from));
        match self.known.get(&(name.clone(), place)) {
            Some(at) if now.since(*at) < KNOWN => (name, Some(place)),
            _ => (name, None),
        }
    }
}

impl Default for Counts<(String, Option<IpAddr>)> {
    fn default() -> Self {
        Counts::new(FREE_ACCOUNT, FORGET_ACCOUNT)
    }
}

impl Default for Counts<IpAddr> {
    fn default() -> Self {
        Counts::new(FREE_ADDRESS, FORGET_ADDRESS)
    }
}

impl<K: Eq + Hash + Clone> Counts<K> {
    fn new(free: u32, forget: u32) -> Counts<K> {
        Counts {
            entries: HashMap::new(),
            free,
            forget,
        }
    }

    /// How many seconds the pause still takes.
    fn pause(&self, now: Seconds, key: &K) -> u32 {
        let Some(failures) = self.entries.get(key) else {
            return 0;
        };
        let over = self.sunk(now, failures).saturating_sub(self.free);
        let pause = match over {
            0 => 0,
            over => 1u32.checked_shl(over - 1).unwrap_or(MAX_PAUSE),
        };
        pause
            .min(MAX_PAUSE)
            .saturating_sub(now.since(failures.last))
    }

    fn count(&mut self, now: Seconds, key: K) {
        if self.entries.len() >= MAX_ENTRIES && !self.entries.contains_key(&key) {
            let forget = self.forget;
            self.entries
                .retain(|_, failures| sunk(failures, forget, now) > 0);
            // Those who were wrong often stay.
            make_room(&mut self.entries, |failures| {
                (failures.count, failures.last.0)
            });
        }
        let before = self.entries.get(&key);
        let count = before.map_or(0, |failures| self.sunk(now, failures));
        // More than what makes the longest pause would take too long to be forgotten.
        let most = self.free + 1 + MAX_PAUSE.ilog2() + 1;
        let failures = Failures {
            count: (count + 1).min(most),
            last: now,
        };
        self.entries.insert(key, failures);
    }

    fn sunk(&self, now: Seconds, failures: &Failures) -> u32 {
        sunk(failures, self.forget, now)
    }
}

/// What is left of a count.
fn sunk(failures: &Failures, forget: u32, now: Seconds) -> u32 {
    let forgotten = now.since(failures.last) / forget;
    failures.count.saturating_sub(forgotten)
}

/// Removes the least entry, if there are too many.
fn make_room<K: Eq + Hash + Clone, V, O: Ord>(
    entries: &mut HashMap<K, V>,
    order: impl Fn(&V) -> O,
) {
    if entries.len() < MAX_ENTRIES {
        return;
    }
    let least = entries.iter().min_by_key(|(_, value)| order(value));
    if let Some(key) = least.map(|(key, _)| key.clone()) {
        entries.remove(&key);
    }
}

/// What one person can easily have is one address: with IPv6 that is a /64.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let prefix = u128::from(address) & (u128::MAX << 64);
            Ipv6Addr::from(prefix).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn user(name: &str) -> UserName {
        name.parse().unwrap()
    }

    fn wait(attempts: &Attempts, now: u32, name: &str, from: IpAddr) -> u32 {
        let checked = attempts.check(Seconds(now), &user(name), from);
        match checked {
            Err(Wait::Seconds(seconds)) => seconds,
            _ => 0,
        }
    }

    #[test]
    fn few_passwords_are_looked_at_at_once() {
        let mut attempts = Attempts::new();
        let (now, bob) = (Seconds(5), user("bob"));
        let begun = (0..100).filter(|_| attempts.begin(now, &bob, HERE).is_ok());
        assert_eq!(begun.count() as u32, AT_ONCE);
        assert_eq!(attempts.begin(now, &bob, HERE), Err(Wait::Busy));
        assert_eq!(attempts.begin(now, &user("alice"), HERE), Ok(()));
        attempts.succeeded(now, &bob, HERE);
        assert_eq!(
            attempts.begin(now, &bob, HERE),
            Ok(()),
            "a known place by now"
        );
        (1..AT_ONCE).for_each(|_| attempts.failed(now, &bob, THERE));
        attempts.not_tried(now, &bob, HERE);
        attempts.not_tried(now, &user("alice"), HERE);
        assert!(attempts.tried.is_empty());
    }

    #[test]
    fn pauses_double_up_to_half_a_minute() {
        let mut attempts = Attempts::new();
        let mut now = 100;
        let mut pauses = Vec::new();
        for _ in 0..12 {
            attempts.failed(Seconds(now), &user("Bob"), HERE);
            let pause = wait(&attempts, now, "bob", THERE);
            pauses.push(pause);
            assert_eq!(wait(&attempts, now + pause, "bob", THERE), 0);
            now += pause;
        }
        assert_eq!(pauses, [0, 0, 0, 1, 2, 4, 8, 16, 30, 30, 30, 30]);
        assert_eq!(wait(&attempts, now - 1, "alice", HERE), 0);
        let said = attempts.check(Seconds(now - 10), &user("bob"), HERE);
        assert_eq!(said, Err(Wait::Seconds(10)));
    }

    #[test]
    fn failures_are_forgotten_one_by_one() {
        let mut attempts = Attempts::new();
        for _ in 0..100 {
            attempts.failed(Seconds(0), &user("bob"), HERE);
        }
        let later = |forgotten: u32| {
            let mut attempts = Attempts {
                accounts: Counts {
                    entries: attempts.accounts.entries.clone(),
                    ..Counts::default()
                },
                ..Attempts::new()
            };
            let now = forgotten * FORGET_ACCOUNT;
            attempts.failed(Seconds(now), &user("bob"), THERE);
            wait(&attempts, now, "bob", THERE)
        };
        assert_eq!([1, 3, 5, 7].map(later), [30, 8, 2, 0]);
    }

    #[test]
    fn a_right_password_ends_it() {
        let mut attempts = Attempts::new();
        for _ in 0..9 {
            attempts.failed(Seconds(0), &user("bob"), HERE);
        }
        assert_eq!(wait(&attempts, 0, "bob", HERE), 30);
        attempts.succeeded(Seconds(30), &user("BOB"), HERE);
        assert_eq!(wait(&attempts, 30, "bob", HERE), 0);
        assert_eq!(wait(&attempts, 30, "bob", THERE), 0);
    }

    #[test]
    fn strangers_do_not_lock_a_user_out_of_a_known_place() {
        let mut attempts = Attempts::new();
        attempts.succeeded(Seconds(0), &user("bob"), HERE);
        for _ in 0..20 {
            attempts.failed(Seconds(10), &user("bob"), THERE);
        }
        assert_eq!(wait(&attempts, 10, "bob", THERE), 30);
        assert_eq!(wait(&attempts, 10, "bob", HERE), 0);
        for _ in 0..20 {
            attempts.failed(Seconds(10), &user("bob"), HERE);
        }
        assert_eq!(
            wait(&attempts, 10, "bob", HERE),
            30,
            "nor is it a free pass"
        );
        assert_eq!(wait(&attempts, KNOWN, "bob", HERE), 0);
    }

    #[test]
    fn an_address_is_slowed_down_whatever_names_it_tries() {
        let mut attempts = Attempts::new();
        let guess = |attempts: &mut Attempts, i: u32| {
            attempts.failed(Seconds(0), &user(&format!("u{i}")), HERE);
        };
        (0..FREE_ADDRESS).for_each(|i| guess(&mut attempts, i));
        assert_eq!(wait(&attempts, 0, "new", HERE), 0, "a classroom's slips");
        (0..9).for_each(|i| guess(&mut attempts, i));
        assert_eq!(wait(&attempts, 0, "new", HERE), 30);
        attempts.succeeded(Seconds(0), &user("own"), HERE);
        assert_eq!(wait(&attempts, 0, "new", HERE), 30);
        assert_eq!(wait(&attempts, 0, "new", THERE), 0);
        assert_eq!(wait(&attempts, 30, "new", HERE), 0);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let mut attempts = Attempts::new();
        for i in 0..FREE_ADDRESS + 9 {
            let from: Ipv6Addr = format!("2001:db8::{i:x}").parse().unwrap();
            attempts.failed(Seconds(0), &user(&format!("u{i}")), from.into());
        }
        let there = |text: &str| wait(&attempts, 0, "x", text.parse().unwrap());
        assert_eq!(there("2001:db8::ffff:1"), 30);
        assert_eq!(there("2001:db8:0:1::1"), 0);
        assert_eq!(there("::ffff:10.0.0.1"), 0);
    }

    #[test]
    fn memory_is_bounded_and_the_worst_are_kept() {
        let mut attempts = Attempts::new();
        for _ in 0..9 {
            attempts.failed(Seconds(0), &user("bob"), HERE);
        }
        for i in 0..MAX_ENTRIES as u32 + 100 {
            let from = IpAddr::from(i.to_be_bytes());
            attempts.failed(Seconds(1), &user(&format!("u{i}")), from);
            attempts.succeeded(Seconds(1), &user(&format!("v{i}")), from);
        }
        assert_eq!(attempts.accounts.entries.len(), MAX_ENTRIES);
        assert_eq!(attempts.addresses.entries.len(), MAX_ENTRIES);
        assert_eq!(attempts.known.len(), MAX_ENTRIES);
        assert_eq!(wait(&attempts, 1, "bob", HERE), 29);
        attempts.failed(Seconds(10_000), &user("new"), HERE);
        assert_eq!(attempts.accounts.entries.len(), 1, "the old are forgotten");
    }
}
