//! Who we are to the peers of our groups, and whom of them we believe: our key, the tickets that
//! we hold, the trackers whose tickets count, and their clocks.
//!
//! A ticket is checked against the clock of the tracker that gave it, as far as we have heard of
//! that, so a machine whose own clock is wrong does no harm. Not here: fetching tickets
//! ([`super::tickets`]), and which torrents they open.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::RwLock;

use crate::control::key::{PeerKey, TrackerKey};
use crate::control::names::{GroupName, UserName};
use crate::control::reply::{IssuedTicket, LoggedIn};
use crate::control::stamp::GroupId;
use crate::control::ticket::{SignedTicket, TicketError};
use crate::control::tracker_info::TrackerAddress;

use super::noise::{KeyPair, NoiseError};

/// Shared by the engine and by everybody who meets other peers.
pub struct Membership {
    pub keys: KeyPair,
    check_tickets: bool,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    /// The keys that stand in tracker_info.txt.
    pinned: Vec<TrackerKey>,
    /// How many trackers stand there without one: of so many a key is learned.
    keyless: usize,
    user: Option<UserName>,
    learned: Vec<TrackerKey>,
    clocks: HashMap<TrackerKey, TrackerClock>,
    /// The newest of each group.
    tickets: HashMap<GroupName, SignedTicket>,
}

/// What a tracker's clock showed, and when.
#[derive(Clone, Copy)]
struct TrackerClock {
    /// In seconds since 1970.
    showed: u64,
    at: Instant,
}

/// What somebody may do who has come to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pass {
    /// Anybody: what is public.
    Public,
    /// A member of this group, as long as the ticket lives.
    Member { group: GroupId, ends: Instant },
    /// Everything: nothing was checked.
    Unchecked,
}

/// Why a ticket does not let its bearer in. The bearer never hears it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("what it shows is no ticket: {0}")]
    NoTicket(#[from] TicketError),
    #[error("its ticket is signed with {0}, which is no tracker of ours")]
    OtherTracker(TrackerKey),
    #[error("its ticket is for the peer with the key {0}")]
    OtherPeer(PeerKey),
    #[error("its ticket has ended")]
    Ended,
    #[error("its ticket is for {0}, of which we are no member")]
    OtherGroup(GroupName),
}

/// Why what a tracker gave us is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error(
        "the tracker shows the key {0}, which is not the one in tracker_info.txt or the one that \
         it had: ask whoever runs it"
    )]
    OtherTracker(TrackerKey),
    #[error("the tracker sent a ticket for somebody else")]
    NotOurs,
    #[error("the tracker sent a ticket that has ended already")]
    Ended,
}

impl Membership {
    /// With a fresh key. Without `check_tickets` everybody is let in, which only tests want.
    pub fn new(trackers: &[TrackerAddress], check_tickets: bool) -> Result<Membership, NoiseError> {
        let membership = Membership {
            keys: KeyPair::generate()?,
            check_tickets,
            state: RwLock::default(),
        };
        membership.set_trackers(trackers);
        Ok(membership)
    }

    /// Other trackers stand in tracker_info.txt. Keys that were learned are kept.
    pub fn set_trackers(&self, trackers: &[TrackerAddress]) {
        let pinned: Vec<TrackerKey> = trackers.iter().filter_map(|tracker| tracker.key).collect();
        let mut state = self.state.write();
        state.keyless = trackers.len() - pinned.len();
        state.pinned = pinned;
    }

    /// A tracker has let a user in. Their tickets stay if they were in already.
    pub fn log_in(&self, now: Instant, answer: &LoggedIn) -> Result<(), Unusable> {
        self.heard(now, answer)?;
        let mut state = self.state.write();
        if state.user.as_ref() != Some(&answer.user) {
            state.tickets.clear();
        }
        state.user = Some(answer.user.clone());
        Ok(())
    }

    /// A tracker shows its key, its clock, and the keys of those that it is in sync with.
    pub fn heard(&self, now: Instant, answer: &LoggedIn) -> Result<(), Unusable> {
        let Some((own, others)) = answer.tracker_keys.split_first() else {
            return Ok(());
        };
        self.believe(*own)?;
        for other in others {
            // Its tracker_info.txt may have more lines than ours: those are none of our trackers.
            if let Err(unknown) = self.believe(*other) {
                log::debug!(target: "tracker", "{own} names others: {unknown}");
            }
        }
        self.state.write().set_clock(*own, answer.now, now);
        Ok(())
    }

    pub fn log_out(&self) {
        let mut state = self.state.write();
        state.user = None;
        state.tickets.clear();
    }

    pub fn user(&self) -> Option<UserName> {
        self.state.read().user.clone()
    }

    /// Keeps a ticket that a tracker has issued to us. Returns the group that it is for.
    pub fn take(&self, now: Instant, issued: &IssuedTicket) -> Result<GroupId, Unusable> {
        let SignedTicket {
            ticket, tracker, ..
        } = &issued.ticket;
        self.believe(*tracker)?;
        let mut state = self.state.write();
        if ticket.peer_key != self.keys.public || state.user.as_ref() != Some(&ticket.user) {
            return Err(Unusable::NotOurs);
        }
        state.set_clock(*tracker, issued.now, now);
        if state.left(&issued.ticket, now).is_zero() {
            return Err(Unusable::Ended);
        }
        let kept = issued.ticket.clone();
        state.tickets.insert(ticket.group.clone(), kept);
        Ok(ticket.group_id)
    }

    /// We are no member of this group any more.
    pub fn drop_ticket(&self, group: &GroupName) {
        self.state.write().tickets.remove(group);
    }

    /// The ticket that we hold for a group and how long it lives, if it does.
    pub fn ticket(&self, now: Instant, group: &GroupName) -> Option<(SignedTicket, Duration)> {
        let state = self.state.read();
        let ticket = state.tickets.get(group)?;
        let left = state.left(ticket, now);
        (!left.is_zero()).then(|| (ticket.clone(), left))
    }

    /// Whether the peer with this key, which shows these bytes, is a member of one of our
    /// groups.
    pub fn check(
        &self,
        now: Instant,
        bytes: &[u8],
        peer: PeerKey,
    ) -> Result<SignedTicket, Refusal> {
        let shown = SignedTicket::parse(bytes)?;
        if !self.believes(shown.tracker) {
            return Err(Refusal::OtherTracker(shown.tracker));
        }
        if shown.ticket.peer_key != peer {
            return Err(Refusal::OtherPeer(shown.ticket.peer_key));
        }
        let state = self.state.read();
        if state.left(&shown, now).is_zero() {
            return Err(Refusal::Ended);
        }
        let ours = state.tickets.get(&shown.ticket.group);
        let is_ours = ours.is_some_and(|ours| {
            ours.ticket.group_id == shown.ticket.group_id && !state.left(ours, now).is_zero()
        });
        if !is_ours {
            return Err(Refusal::OtherGroup(shown.ticket.group));
        }
        Ok(shown)
    }

    /// What these bytes allow the peer with this key, and the ticket of ours that answers them.
    pub fn admit(
        &self,
        now: Instant,
        bytes: &[u8],
        peer: PeerKey,
    ) -> Result<(Pass, Option<SignedTicket>), Refusal> {
        match self.check(now, bytes, peer) {
            Ok(shown) => {
                let ours = self.ticket(now, &shown.ticket.group);
                let pass = self.pass(now, &shown);
                Ok((pass, ours.map(|(ticket, _)| ticket)))
            }
            Err(_) if !self.check_tickets => {
                let any = self.state.read().tickets.values().next().cloned();
                Ok((Pass::Unchecked, any))
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// What a ticket that was checked allows.
    pub fn pass(&self, now: Instant, checked: &SignedTicket) -> Pass {
        if !self.check_tickets {
            return Pass::Unchecked;
        }
        Pass::Member {
            group: checked.ticket.group_id,
            ends: now + self.state.read().left(checked, now),
        }
    }

    /// What somebody may do who shows nothing.
    pub fn pass_of_strangers(&self) -> Pass {
        if self.check_tickets {
            Pass::Public
        } else {
            Pass::Unchecked
        }
    }

    fn believes(&self, tracker: TrackerKey) -> bool {
        self.state.read().believes(tracker)
    }

    fn believe(&self, tracker: TrackerKey) -> Result<(), Unusable> {
        let mut state = self.state.write();
        if state.believes(tracker) {
            return Ok(());
        }
        if state.learned.len() >= state.keyless {
            return Err(Unusable::OtherTracker(tracker));
        }
        state.learned.push(tracker);
        Ok(())
    }
}

impl State {
    fn believes(&self, tracker: TrackerKey) -> bool {
        self.pinned.contains(&tracker) || self.learned.contains(&tracker)
    }

    fn set_clock(&mut self, tracker: TrackerKey, showed: u64, at: Instant) {
        self.clocks.insert(tracker, TrackerClock { showed, at });
    }

    /// How long a ticket lives, by the clock of its tracker. As long as we have not heard of
    /// that one's, by that of the tracker that we have heard of last.
    fn left(&self, signed: &SignedTicket, now: Instant) -> Duration {
        let its = self.clocks.get(&signed.tracker);
        let clock = its.or_else(|| self.clocks.values().max_by_key(|clock| clock.at));
        let Some(clock) = clock else {
            return Duration::ZERO;
        };
        let gone = now.saturating_duration_since(clock.at);
        let life = signed.ticket.expires.saturating_sub(clock.showed);
        // Of an absurd time in a ticket there must be no panic.
        Duration::from_secs(life.min(LONGEST_LIFE)).saturating_sub(gone)
    }
}

/// More than any tracker gives to a ticket, in seconds: a year.
const LONGEST_LIFE: u64 = 365 * 24 * 3600;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::stamp::Stamp;
    use crate::control::ticket::Ticket;
    use ed25519_dalek::SigningKey;

    const NOW: u64 = 1_800_000_000;
    const PEER: PeerKey = PeerKey([5; 32]);

    fn tracker(number: u8) -> SigningKey {
        SigningKey::from_bytes(&[number; 32])
    }

    fn key_of(tracker: &SigningKey) -> TrackerKey {
        TrackerKey(tracker.verifying_key().to_bytes())
    }

    fn id(time: u64) -> GroupId {
        GroupId(Stamp { time, tracker: 1 })
    }

    fn line(key: Option<TrackerKey>) -> TrackerAddress {
        let host = "127.0.0.1".to_string();
        TrackerAddress { host, port: 1, key }
    }

    fn answer(user: &str, tracker: &SigningKey) -> LoggedIn {
        LoggedIn {
            user: user.parse().unwrap(),
            token: "t".into(),
            tracker_keys: vec![key_of(tracker)],
            now: NOW,
        }
    }

    fn ticket(peer_key: PeerKey) -> Ticket {
        Ticket {
            user: "bob".parse().unwrap(),
            group: "cs101".parse().unwrap(),
            group_id: id(7),
            peer_key,
            expires: NOW + 60,
        }
    }

    fn issued(ticket: Ticket, tracker: &SigningKey) -> IssuedTicket {
        IssuedTicket {
            now: NOW,
            ticket: ticket.sign(tracker),
        }
    }

    /// Alice is logged in and a member of cs101; her tracker's clock shows NOW.
    fn member(start: Instant) -> Membership {
        let membership = Membership::new(&[line(None)], true).unwrap();
        membership
            .log_in(start, &answer("alice", &tracker(1)))
            .unwrap();
        let ours = Ticket {
            user: "alice".parse().unwrap(),
            ..ticket(membership.keys.public)
        };
        membership.take(start, &issued(ours, &tracker(1))).unwrap();
        membership
    }

    #[test]
    fn a_member_is_let_in_and_nobody_else() {
        let start = Instant::now();
        let membership = member(start);
        let check = |bytes: &[u8], peer, after| {
            let now = start + Duration::from_secs(after);
            membership.check(now, bytes, peer).map(|shown| shown.ticket)
        };
        let good = ticket(PEER).sign(&tracker(1));
        assert_eq!(check(good.as_bytes(), PEER, 0), Ok(ticket(PEER)));
        assert_eq!(check(good.as_bytes(), PEER, 59), Ok(ticket(PEER)));
        assert_eq!(check(good.as_bytes(), PEER, 60), Err(Refusal::Ended));
        let other = PeerKey([6; 32]);
        assert_eq!(
            check(good.as_bytes(), other, 0),
            Err(Refusal::OtherPeer(PEER))
        );
        let foreign = ticket(PEER).sign(&tracker(2));
        assert_eq!(
            check(foreign.as_bytes(), PEER, 0),
            Err(Refusal::OtherTracker(key_of(&tracker(2))))
        );
        let mut forged = good.as_bytes().to_vec();
        forged[40] ^= 1;
        assert_eq!(
            check(&forged, PEER, 0),
            Err(Refusal::NoTicket(TicketError::Signature))
        );
        assert_eq!(
            check(b"", PEER, 0),
            Err(Refusal::NoTicket(TicketError::Length(0)))
        );
        for (group, group_id) in [("cs102", id(7)), ("cs101", id(8))] {
            let elsewhere = Ticket {
                group: group.parse().unwrap(),
                group_id,
                ..ticket(PEER)
            };
            assert_eq!(
                check(elsewhere.sign(&tracker(1)).as_bytes(), PEER, 0),
                Err(Refusal::OtherGroup(group.parse().unwrap()))
            );
        }
        for expires in [0, NOW, u64::MAX] {
            let ticket = Ticket {
                expires,
                ..ticket(PEER)
            };
            let lives = check(ticket.sign(&tracker(1)).as_bytes(), PEER, 0).is_ok();
            assert_eq!(lives, expires > NOW, "{expires}");
        }
    }

    #[test]
    fn who_is_no_member_lets_nobody_in() {
        let start = Instant::now();
        let good = ticket(PEER).sign(&tracker(1));
        let refused = |membership: &Membership| {
            let refused = membership.check(start, good.as_bytes(), PEER);
            assert_eq!(refused, Err(Refusal::OtherGroup("cs101".parse().unwrap())));
        };
        let membership = member(start);
        membership.drop_ticket(&"cs101".parse().unwrap());
        refused(&membership);
        let membership = member(start);
        membership.log_out();
        refused(&membership);
        let membership = member(start);
        membership
            .log_in(start, &answer("carol", &tracker(1)))
            .unwrap();
        refused(&membership);
        // The same user again, as after a change of the password, stays.
        let membership = member(start);
        membership
            .log_in(start, &answer("Alice", &tracker(1)))
            .unwrap();
        assert!(membership.check(start, good.as_bytes(), PEER).is_ok());
        // Our own ticket has ended, the other one not.
        let long = Ticket {
            expires: NOW + 600,
            ..ticket(PEER)
        };
        let later = start + Duration::from_secs(61);
        let refused = membership.check(later, long.sign(&tracker(1)).as_bytes(), PEER);
        assert_eq!(refused, Err(Refusal::OtherGroup("cs101".parse().unwrap())));
    }

    #[test]
    fn a_tracker_keeps_its_key() {
        let start = Instant::now();
        let (one, two, three) = (tracker(1), tracker(2), tracker(3));
        let lines = [line(Some(key_of(&one))), line(None)];
        let membership = Membership::new(&lines, true).unwrap();
        let log_in = |tracker: &SigningKey| membership.log_in(start, &answer("bob", tracker));
        assert_eq!(log_in(&two), Ok(()), "learned");
        assert_eq!((log_in(&one), log_in(&two)), (Ok(()), Ok(())));
        let other = Unusable::OtherTracker(key_of(&three));
        assert_eq!(log_in(&three), Err(other.clone()));
        let ours = ticket(membership.keys.public);
        let take = |ticket: Ticket, by: &SigningKey| membership.take(start, &issued(ticket, by));
        assert_eq!(take(ours.clone(), &three), Err(other));
        assert_eq!(take(ticket(PEER), &one), Err(Unusable::NotOurs));
        let of_carol = Ticket {
            user: "carol".parse().unwrap(),
            ..ours.clone()
        };
        assert_eq!(take(of_carol, &one), Err(Unusable::NotOurs));
        let ended = Ticket {
            expires: NOW,
            ..ours.clone()
        };
        assert_eq!(take(ended, &one), Err(Unusable::Ended));
        assert_eq!(take(ours, &one), Ok(id(7)));
    }

    #[test]
    fn a_tracker_vouches_for_those_that_it_is_in_sync_with() {
        let start = Instant::now();
        let [one, two, three, four] = [1, 2, 3, 4].map(tracker);
        let says = |keys: [&SigningKey; 3]| LoggedIn {
            tracker_keys: keys.map(key_of).to_vec(),
            ..answer("alice", &one)
        };
        let membership = member(start);
        membership.set_trackers(&[line(None), line(None), line(None)]);
        membership
            .log_in(start, &says([&one, &two, &three]))
            .unwrap();
        // Of a tracker that we have not spoken to, by the clock that we know.
        for by in [&two, &three] {
            let good = ticket(PEER).sign(by);
            assert!(membership.check(start, good.as_bytes(), PEER).is_ok());
        }
        // There is room for no more, but whom we know we go on with.
        assert_eq!(membership.heard(start, &says([&two, &four, &one])), Ok(()));
        assert!(!membership.believes(key_of(&four)));
        let refused = membership.heard(start, &says([&four, &two, &one]));
        assert_eq!(refused, Err(Unusable::OtherTracker(key_of(&four))));
        // With keys in the file, nobody else's are learned.
        let lines = [line(Some(key_of(&one))), line(Some(key_of(&two)))];
        let pinned = Membership::new(&lines, true).unwrap();
        pinned.log_in(start, &says([&one, &two, &three])).unwrap();
        assert!(pinned.believes(key_of(&two)) && !pinned.believes(key_of(&three)));
    }

    #[test]
    fn every_tracker_has_its_own_clock() {
        let start = Instant::now();
        let membership = member(start);
        // Another tracker's clock is an hour ahead.
        let ahead = tracker(2);
        membership.set_trackers(&[line(None), line(None)]);
        let both = membership;
        let answer = LoggedIn {
            now: NOW + 3600,
            ..answer("alice", &ahead)
        };
        both.log_in(start, &answer).unwrap();
        let of_first = ticket(PEER).sign(&tracker(1));
        assert!(both.check(start, of_first.as_bytes(), PEER).is_ok());
        let of_second = ticket(PEER).sign(&ahead);
        let ended = both.check(start, of_second.as_bytes(), PEER);
        assert_eq!(ended, Err(Refusal::Ended));
    }

    #[test]
    fn without_the_check_everybody_passes() {
        let start = Instant::now();
        let open = Membership::new(&[], false).unwrap();
        assert_eq!(open.admit(start, b"", PEER), Ok((Pass::Unchecked, None)));
        assert_eq!(open.pass_of_strangers(), Pass::Unchecked);
        let checking = member(start);
        assert!(checking.admit(start, b"", PEER).is_err());
        assert_eq!(checking.pass_of_strangers(), Pass::Public);
        let good = ticket(PEER).sign(&tracker(1));
        let (pass, ours) = checking.admit(start, good.as_bytes(), PEER).unwrap();
        let (group, ends) = (id(7), start + Duration::from_secs(60));
        assert_eq!(pass, Pass::Member { group, ends });
        assert_eq!(ours.unwrap().ticket.user.as_str(), "alice");
    }
}
