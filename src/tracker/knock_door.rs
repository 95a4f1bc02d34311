//! `knock`: can anybody connect to who asks? The tracker tries, and asks some peers to try, too.
//!
//! Nobody can have a third party knocked at: the address is the one from which the request came.
//! How often an address may ask is bounded, and so is how many requests are under way, of all
//! addresses and of each. The asker's own thread knocks, without a lock, while the peers do.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use crate::control::knock::{FIRST_PORT, Knocks, MAX_PEERS, Outcome, PeerKnock};
use crate::control::question::QuestionNumber;
use crate::control::reply::Reply;
use crate::registry::Seconds;
use crate::registry::allowance::{Allowance, Exhausted};
use crate::registry::attempts::network;
use crate::registry::question::Late;
use crate::registry::refused::Refused;
use crate::runtime::knock;
use crate::torrent::id::{InfoHash, PeerId};
use crate::wire::handshake::Handshake;

use super::hub::Listening;
use super::state::State;

/// How long the peers' answers are waited for: their knocks take a little less. Askers wait for a
/// little longer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Requests that may be under way: each keeps a thread, and up to [`MAX_PEERS`] peers, busy.
const MAX_UNDER_WAY: usize = 16;
/// Those of one address: one to whom nobody gets through shall not take all the places.
const MAX_OF_ADDRESS: usize = 2;
/// How many an address may ask in [`WINDOW`] seconds. A classroom behind one router is one address; to
/// look at all ports of that router so would take a day and a half.
const MAX_ASKED: u32 = 30;
const WINDOW: u32 = 60;

/// A tracker is no peer, and says so where a peer says its id.
const TRACKER: PeerId = PeerId(*b"-mb0100-this.tracker");

/// Who is waited for.
#[derive(Default)]
pub struct Knocking {
    state: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    asked: Allowance<MAX_ASKED, WINDOW>,
    /// Whence each request under way came.
    under_way: Vec<IpAddr>,
    /// Peers that were asked. The sender is dropped when nothing is to be heard from them any more.
    peers: HashMap<QuestionNumber, Sender<Outcome>>,
    closed: bool,
}

/// A request under way. Its end is when it is dropped.
struct UnderWay<'a> {
    knocking: &'a Knocking,
    from: IpAddr,
    numbers: Vec<QuestionNumber>,
}

/// Why nobody knocks. For the asker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum TooMany {
    #[error(
        "this tracker knocks at as many peers as it can ({MAX_UNDER_WAY}); try again in a moment"
    )]
    UnderWay,
    #[error("your address waits for {MAX_OF_ADDRESS} knocks already; try again in a moment")]
    OfAddress,
    #[error("your address has asked {MAX_ASKED} times in {WINDOW} s: wait a minute")]
    Asked,
}

impl Knocking {
    fn begin(&self, now: Seconds, from: IpAddr) -> Result<UnderWay<'_>, TooMany> {
        let from = network(from);
        let mut state = self.state.lock();
        if state.under_way.len() >= MAX_UNDER_WAY {
            return Err(TooMany::UnderWay);
        }
        let of_address = state.under_way.iter().filter(|other| **other == from);
        if of_address.count() >= MAX_OF_ADDRESS {
            return Err(TooMany::OfAddress);
        }
        state.asked.take(now, from).map_err(|none| match none {
            Exhausted::UsedUp => TooMany::Asked,
            Exhausted::NoRoom => TooMany::UnderWay,
        })?;
        state.under_way.push(from);
        Ok(UnderWay {
            knocking: self,
            from,
            numbers: Vec::new(),
        })
    }

    /// Nothing is heard from this peer: it has gone, or does not knock.
    pub fn forget(&self, number: QuestionNumber) -> Result<(), Late> {
        let removed = self.state.lock().peers.remove(&number);
        removed.map(drop).ok_or(Late)
    }

    /// Ends all waiting: the tracker stops.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.peers.clear();
    }
}

impl UnderWay<'_> {
    /// A number for one more peer, and what it will say. Nothing if it does not.
    fn expect(&mut self) -> (QuestionNumber, Receiver<Outcome>) {
        let number = QuestionNumber(rand::random());
        let (sender, said) = bounded(1);
        let mut state = self.knocking.state.lock();
        if !state.closed {
            state.peers.insert(number, sender);
            self.numbers.push(number);
        }
        (number, said)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut state = self.knocking.state.lock();
        let place = state.under_way.iter().position(|from| *from == self.from);
        if let Some(place) = place {
            state.under_way.swap_remove(place);
        }
        for number in &self.numbers {
            state.peers.remove(number);
        }
    }
}

/// Knocks, and collects what the peers say.
pub fn knock(state: &State, ip: IpAddr, port: u16, info_hash: InfoHash) -> Result<Reply, Refused> {
    // Behind a proxy on this machine everybody seems to be here; and who is elsewhere shall not learn
    // which programs of the system run beside the one that asks.
    if port < FIRST_PORT {
        return Err(Refused::SystemPort);
    }
    let address = SocketAddr::new(ip, port);
    let deadline = Instant::now() + PATIENCE;
    let begun = state.knocking.begin(state.now(), ip);
    let mut under_way = begun.map_err(|many| Refused::Full(many.to_string()))?;
    let mut peers = Vec::new();
    for Listening { id, is_near } in state.hub.some_beside(ip, MAX_PEERS) {
        let (number, said) = under_way.expect();
        match state.hub.knock(id, number, address, info_hash) {
            true => peers.push((is_near, said)),
            // One that has gone since is not asked.
            false => {
                let _ = state.knocking.forget(number);
            }
        }
    }
    let hello = Handshake::bare(info_hash, TRACKER).encode();
    let knocked = knock::knock(address, &hello, &state.stop);
    let outcome = Outcome::of(knocked).map_err(|why| {
        Refused::Full(format!(
            "this tracker can connect to nobody just now: {why}"
        ))
    })?;
    let mut knocks = Knocks {
        address,
        outcome,
        asked: 0,
        peers: Vec::new(),
    };
    for (is_near, said) in peers {
        match said.recv_deadline(deadline) {
            Ok(outcome) => knocks.peers.push(PeerKnock { outcome, is_near }),
            Err(error) if error.is_timeout() => {}
            // It does not knock, or has gone.
            Err(_) => continue,
        }
        knocks.asked += 1;
    }
    Ok(knocks.to_reply())
}

/// A peer has knocked.
pub fn knocked(state: &State, number: QuestionNumber, outcome: Outcome) -> Result<Reply, Refused> {
    let waiting = state.knocking.state.lock().peers.remove(&number);
    // There is room for its one word; the asker may have gone.
    let _ = waiting.ok_or(Late)?.try_send(outcome);
    Ok(Reply::ok([""; 0]))
}

/// A peer does not: the knock is at itself, or it has knocked too often.
pub fn not_knocked(state: &State, number: QuestionNumber) -> Result<Reply, Refused> {
    state.knocking.forget(number)?;
    Ok(Reply::ok([""; 0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(i: u32) -> IpAddr {
        IpAddr::from(i.to_be_bytes())
    }

    #[test]
    fn few_are_under_way_and_an_address_asks_seldom() {
        let knocking = Knocking::default();
        let begin = |now, i| knocking.begin(Seconds(now), address(i));
        let open: Vec<_> = (0..MAX_UNDER_WAY as u32).map(|i| begin(0, i)).collect();
        assert!(open.iter().all(Result::is_ok));
        assert_eq!(begin(0, 99).err(), Some(TooMany::UnderWay));
        drop(open);
        let asked = (0..2 * MAX_ASKED).filter(|_| begin(1, 99).is_ok());
        assert_eq!(asked.count() as u32, MAX_ASKED);
        assert_eq!(begin(1, 99).err(), Some(TooMany::Asked));
        assert!(begin(1 + WINDOW, 99).is_ok());
    }

    #[test]
    fn one_address_does_not_take_all_the_places() {
        let knocking = Knocking::default();
        let begin = |from: &str| knocking.begin(Seconds(0), from.parse().unwrap());
        let (one, two) = (begin("2001:db8::1"), begin("2001:db8::2"));
        assert!(one.is_ok() && two.is_ok());
        let third = begin("2001:db8::3").err();
        assert_eq!(third, Some(TooMany::OfAddress), "the same network");
        assert!(begin("2001:db8:0:1::1").is_ok() && begin("10.0.0.1").is_ok());
        drop(one);
        assert!(begin("2001:db8::3").is_ok());
        drop(two);
        assert!(knocking.state.lock().under_way.is_empty());
    }

    #[test]
    fn a_peer_is_heard_once_and_only_if_it_was_asked() {
        let knocking = Knocking::default();
        let mut one = knocking.begin(Seconds(0), address(1)).unwrap();
        let (number, said) = one.expect();
        assert_eq!(knocking.forget(QuestionNumber(!number.0)), Err(Late));
        assert_eq!(knocking.forget(number), Ok(()));
        assert_eq!(knocking.forget(number), Err(Late));
        assert!(said.recv().is_err(), "nobody waits for it");
        let (number, _) = one.expect();
        drop(one);
        assert_eq!(knocking.forget(number), Err(Late), "it is over");
        assert!(knocking.state.lock().peers.is_empty());
        knocking.close();
        let mut late = knocking.begin(Seconds(0), address(1)).unwrap();
        assert!(late.expect().1.recv().is_err());
    }
}
