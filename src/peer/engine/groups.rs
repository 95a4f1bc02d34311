//! The groups of who is logged in: their tickets, and the gates before their torrents.

use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use crate::control::names::GroupName;
use crate::peer::announcer::{TicketAnswer, TicketFailure};
use crate::peer::managed::Wish;
use crate::peer::tickets::Trouble;
use crate::peer::view::News;

use super::Engine;

impl Engine {
    /// Somebody was let in, or has gone: what is theirs opens, what is others' closes.
    pub(super) fn login_changed(&mut self, now: Instant) {
        self.renewals.forget();
        self.mind_groups(now);
    }

    pub(super) fn left_group(&mut self, now: Instant, group: &GroupName) {
        self.membership.drop_ticket(group);
        self.renewals.failed(now, group, Trouble::NotMember);
        self.mind_groups(now);
    }

    pub(super) fn ask_for_tickets(&mut self, now: Instant) {
        self.renewals.ask_again(now);
        self.mind_groups(now);
    }

    /// Asks for tickets that are due, opens and closes gates, parts from former members.
    pub(super) fn mind_groups(&mut self, now: Instant) {
        let mut user = self.membership.user();
        if user.is_some() && self.account.user() != user {
            user = None;
            self.membership.log_out();
            self.renewals.forget();
            let text = "The tracker has ended your login. Log in again with: login <user>";
            self.news.send(News::Notice(text.into())).ok();
        }
        self.renew_tickets(now);
        let (us, announcer) = (self.identity, &self.announcer);
        let mut locked: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for torrent in self.torrents.values_mut() {
            let was_open = torrent.lock().is_none();
            let wish = torrent.mind_gate(now, &self.renewals, us, announcer);
            if let Some(lock) = torrent.lock().filter(|_| was_open) {
                let names = locked.entry(lock.reason.clone()).or_default();
                names.push(torrent.name().to_string());
            }
            torrent.mind_tickets(now);
            if let Some(Wish::Finish) = wish {
                self.disk.queue(torrent.finish_job());
            }
        }
        // Who has logged out knows why.
        for (reason, names) in locked.iter().filter(|_| user.is_some()) {
            let text = match names.as_slice() {
                [name] => format!("{name} is locked: {reason}"),
                names => format!("{} files are locked: {reason}", names.len()),
            };
            self.news.send(News::Notice(text)).ok();
        }
    }

    fn renew_tickets(&mut self, now: Instant) {
        let Some(user) = self.membership.user() else {
            return;
        };
        let gates = self.torrents.values().filter_map(|torrent| torrent.gate());
        let theirs = gates.filter(|gate| gate.users.contains(&user));
        let groups: HashSet<GroupName> = theirs.map(|gate| gate.group.clone()).collect();
        for group in groups {
            if self.renewals.due(now, &group) {
                self.announcer.ticket(group, user.clone());
            }
        }
    }

    pub(super) fn ticket_answered(&mut self, now: Instant, answer: TicketAnswer) {
        let TicketAnswer {
            group,
            user,
            result,
        } = answer;
        if self.membership.user() != Some(user) {
            return;
        }
        let taken = result.and_then(|issued| {
            let taken = self.membership.take(now, &issued);
            taken.map_err(|error| TicketFailure::Tracker(error.to_string()))?;
            let held = self.membership.ticket(now, &group);
            let other = || TicketFailure::Tracker("it sent a ticket for another group".into());
            held.ok_or_else(other)
        });
        match taken {
            Ok((_, life)) => self.renewals.renewed(now, &group, life),
            Err(TicketFailure::NotMember(sentence)) => {
                log::info!(target: "tracker", "no ticket for {group}: {sentence}");
                self.membership.drop_ticket(&group);
                self.renewals.failed(now, &group, Trouble::NotMember);
            }
            Err(TicketFailure::Tracker(error)) => {
                log::debug!(target: "tracker", "no ticket for {group}: {error}");
                self.renewals.failed(now, &group, Trouble::Tracker(error));
            }
        }
        self.mind_groups(now);
    }
}
