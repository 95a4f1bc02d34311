//! The gate before a group's torrent: it is open only while its user is logged in here and holds
//! a ticket. Closed, nothing is fetched, served, announced or called.

use std::time::Instant;

use crate::control::names::{GroupName, UserName};
use crate::control::stamp::GroupId;
use crate::control::ticket::SignedTicket;
use crate::peer::announcer::Announcer;
use crate::peer::connection::Order;
use crate::peer::dial::Manner;
use crate::peer::membership::Pass;
use crate::peer::tickets::{Renewals, Trouble};
use crate::storage::resume::Share;
use crate::torrent::id::ConnId;
use crate::torrent::metainfo::Metainfo;
use crate::wire::message::Message;

use super::{Conn, Identity, Managed, Published, State, Wish};

pub struct Gate {
    pub group: GroupName,
    /// Which group of that name: it is the torrent's source. A group that was deleted and made
    /// anew is another one.
    id: Option<GroupId>,
    /// For whom it opens.
    pub users: Vec<UserName>,
    lock: Option<Lock>,
}

/// Why a gate is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// In words.
    pub reason: String,
    /// It will open without the user.
    pub opens_by_itself: bool,
}

impl Gate {
    /// Closed at first. None if the share is for everybody.
    pub fn of(share: &Share, metainfo: &Metainfo) -> Option<Gate> {
        if share.group.is_public() {
            return None;
        }
        Some(Gate {
            id: metainfo.source.as_ref().and_then(|id| id.parse().ok()),
            group: share.group.clone(),
            users: share.users.clone(),
            lock: Some(Lock::after("waits for the login")),
        })
    }

    /// Whether it has to be closed now.
    fn judge(&self, now: Instant, whose: &Managed, renewals: &Renewals) -> Option<Lock> {
        let membership = &whose.shared.membership;
        if !membership
            .user()
            .is_some_and(|user| self.users.contains(&user))
        {
            let users: Vec<&str> = self.users.iter().map(UserName::as_str).collect();
            let reason = format!("waits for the login of {}", users.join(" or "));
            return Some(Lock::after(&reason));
        }
        let group = &self.group;
        match (membership.ticket(now, group), renewals.trouble(group)) {
            (Some((ticket, _)), _) if Some(ticket.ticket.group_id) == self.id => None,
            (Some(_), _) => {
                let reason = format!("it was shared in another group that was called {group}");
                Some(Lock::after(&reason))
            }
            (None, Some(Trouble::NotMember)) => {
                let reason = format!("you are not a member of {group} any more");
                Some(Lock::after(&reason))
            }
            (None, Some(Trouble::Tracker(error))) => Some(Lock {
                reason: format!("no tracker renews the ticket: {error}"),
                opens_by_itself: true,
            }),
            (None, None) => Some(Lock {
                reason: "waits for the tracker's ticket".into(),
                opens_by_itself: true,
            }),
        }
    }
}

impl Lock {
    fn after(reason: &str) -> Lock {
        Lock {
            reason: reason.into(),
            opens_by_itself: false,
        }
    }
}

impl Managed {
    pub fn gate(&self) -> Option<&Gate> {
        self.gate.as_ref()
    }

    /// From now on it is this user's, too.
    pub fn add_user(&mut self, user: &UserName) {
        let share = self.share.as_mut().map(|share| &mut share.users);
        let gate = self.gate.as_mut().map(|gate| &mut gate.users);
        for users in share.into_iter().chain(gate) {
            if !users.contains(user) {
                users.push(user.clone());
            }
        }
    }

    pub fn lock(&self) -> Option<&Lock> {
        self.gate.as_ref()?.lock.as_ref()
    }

    /// Our ticket for its group, if it is a group's and open.
    pub fn ticket(&self, now: Instant) -> Option<SignedTicket> {
        let gate = self.gate.as_ref().filter(|gate| gate.lock.is_none())?;
        let (ticket, _) = self.shared.membership.ticket(now, &gate.group)?;
        Some(ticket)
    }

    /// How it calls others. None if it must not: a group's info hash is never said in plain,
    /// also not in the moment in which somebody logs out.
    pub fn manner(&self, now: Instant) -> Option<Manner> {
        match &self.gate {
            None => Some(Manner::Plain),
            Some(_) => Some(Manner::Member(Box::new(self.ticket(now)?))),
        }
    }

    /// Whether somebody who may do this may know that the torrent is here.
    pub fn is_for(&self, now: Instant, pass: &Pass) -> bool {
        match (pass, &self.gate) {
            (Pass::Unchecked, _) | (Pass::Public, None) => true,
            (Pass::Member { group, ends }, Some(gate)) => {
                gate.lock.is_none() && gate.id == Some(*group) && *ends > now
            }
            (Pass::Public, Some(_)) | (Pass::Member { .. }, None) => false,
        }
    }

    /// Opens or closes the gate as it must be now. Closing ends every connection at once.
    pub fn mind_gate(
        &mut self,
        now: Instant,
        renewals: &Renewals,
        us: Identity,
        announcer: &Announcer,
    ) -> Option<Wish> {
        let gate = self.gate.as_ref()?;
        let lock = gate.judge(now, self, renewals);
        let was_open = gate.lock.is_none();
        let opens = !was_open && lock.is_none();
        let closes = was_open && lock.is_some();
        if let Some(gate) = &mut self.gate {
            gate.lock = lock;
        }
        if closes {
            // Who leaves a group and comes back holds nothing in it.
            self.published = None;
            log::debug!(target: "engine", "{}: locked", self.name());
            self.disconnect_all(now);
            self.announce_stopped(us, announcer);
        }
        // Before the first announce: that is for what is shared.
        if opens && self.published.is_none() && self.torrent.is_complete() {
            self.published = Some(Published::On(0));
            self.offer(us, announcer);
        }
        if opens && matches!(self.state, State::Running) {
            log::debug!(target: "engine", "{}: unlocked", self.name());
            return self.run(now);
        }
        None
    }

    /// Goes on, after a pause.
    pub fn run(&mut self, now: Instant) -> Option<Wish> {
        self.trackers
            .iter_mut()
            .for_each(|schedule| schedule.restart(now));
        let finish = self.torrent.is_complete() && !self.shared.storage.is_finished();
        self.state = if finish {
            State::Finishing
        } else {
            State::Running
        };
        finish.then_some(Wish::Finish)
    }

    /// Parts from those whose tickets have ended, and shows our new one to the others.
    pub fn mind_tickets(&mut self, now: Instant) {
        if self.conns.is_empty() {
            return;
        }
        let Some(ours) = self.ticket(now) else {
            return;
        };
        let ended = |conn: &Conn| conn.ends.is_some_and(|ends| ends <= now);
        let (ended, others): (Vec<ConnId>, Vec<ConnId>) =
            self.conns.keys().partition(|conn| ended(&self.conns[conn]));
        for conn in ended {
            log::debug!(target: "engine", "{}: the ticket of connection {conn} has ended", self.name());
            self.disconnect(now, conn, true);
        }
        for conn in others {
            self.show_ticket(now, conn, &ours);
        }
    }

    /// Shows a ticket that is newer than the one shown before, if the peer takes it.
    fn show_ticket(&mut self, now: Instant, id: ConnId, ours: &SignedTicket) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let newer = conn.shown.filter(|shown| *shown < ours.ticket.expires);
        if let (Some(_), Some(extension)) = (newer, conn.takes_tickets) {
            conn.shown = Some(ours.ticket.expires);
            let payload = ours.as_bytes().to_vec();
            self.order(
                now,
                id,
                Order::Send(Message::Extended { extension, payload }),
            );
        }
    }

    /// A peer has shown another ticket.
    pub fn renewed(&mut self, now: Instant, id: ConnId, pass: Pass) -> Option<Wish> {
        if !self.is_for(now, &pass) {
            log::debug!(target: "engine", "{}: connection {id} showed a ticket for something else", self.name());
            return self.disconnect(now, id, true);
        }
        if let (Pass::Member { ends, .. }, Some(conn)) = (pass, self.conns.get_mut(&id)) {
            conn.ends = Some(ends);
        }
        None
    }
}
