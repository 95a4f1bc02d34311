//! Letting a peer in: whether it is welcome, and what both sides say first.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::runtime::threads::Threads;
use crate::storage::resume::Sources;
use crate::torrent::Event;
use crate::torrent::id::{ConnId, InfoHash, PeerId};
use crate::wire::extension::{self, ExtendedHandshake};
use crate::wire::handshake::Handshake;
use crate::wire::message::Message;

use super::{Conn, Identity, Managed, Wish};
use crate::peer::batch::CONNECTIONS;
use crate::peer::connection::{Connection, Direction, Handshaken};
use crate::peer::membership::Pass;

/// The most connections of one torrent.
pub const MAX_CONNECTIONS: usize = 80;
/// Two calls that cross each other are younger than this when we find out.
const CROSSING: Duration = Duration::from_secs(5);

/// Why a peer is not let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    #[error("too many connections of all torrents together")]
    FullInAll,
    #[error("it was disconnected by `disconnect`")]
    Shunned,
    #[error("no such torrent here: {0}")]
    Unknown(InfoHash),
    #[error("it has our own peer id")]
    Ourselves,
    #[error("it is banned")]
    Banned,
    #[error("nothing is fetched or served just now")]
    Closed,
    #[error("too many connections")]
    Full,
    #[error("it is connected already")]
    Twin,
    #[error("no thread for another connection")]
    NoThread,
}

impl Managed {
    /// A handshake was made: keep the connection, or drop it.
    pub fn admit(
        &mut self,
        now: Instant,
        id: ConnId,
        handshaken: Handshaken,
        us: Identity,
        threads: &Threads,
    ) -> Result<Option<Wish>, Refusal> {
        let theirs = handshaken.handshake;
        let (from, direction) = (handshaken.address, handshaken.direction);
        let listens = (direction == Direction::Outgoing).then_some(from);
        let twin = self.twin(theirs.peer_id);
        if let Some(refusal) = self.refusal(now, &handshaken, twin, us) {
            log::debug!(target: "engine", "{}: {from} turned away: {refusal}", self.name());
            if let Some(address) = listens {
                self.note_refusal(now, address, refusal, twin);
            }
            return Err(refusal);
        }
        if let Some(twin) = twin {
            self.disconnect(now, twin, true);
        }
        let ours = Handshake {
            info_hash: self.info_hash(),
            peer_id: us.peer_id,
            fast: true,
            extended: true,
        };
        let (pass, shown) = (handshaken.pass.clone(), handshaken.shown);
        let first = self.first_messages(&theirs, us, shown.is_some());
        let connection =
            match Connection::start(id, handshaken, ours, &first, self.shared.clone(), threads) {
                Ok(connection) => connection,
                Err(error) => {
                    log::warn!(target: "engine", "no thread for another connection: {error}");
                    if let Some(address) = listens {
                        self.note_refusal(now, address, Refusal::NoThread, None);
                    }
                    return Err(Refusal::NoThread);
                }
            };
        if let Some(address) = listens {
            self.book.connected(address);
        }
        log::trace!(target: "hop", "{}: {from} is connection {id}", self.name());
        let conn = Conn {
            connection,
            peer_id: theirs.peer_id,
            client: None,
            listens,
            from,
            direction,
            since: now,
            ends: match pass {
                Pass::Member { ends, .. } => Some(ends),
                Pass::Public | Pass::Unchecked => None,
            },
            shown: shown.map(|shown| shown.expires),
            takes_tickets: None,
        };
        self.conns.insert(id, conn);
        let wish = self.tell(now, Event::Connected { conn: id });
        Ok(self.mind_source(now, id).or(wish))
    }

    /// Whether it is fetched from this peer, as far as is known where that listens.
    pub(super) fn mind_source(&mut self, now: Instant, conn: ConnId) -> Option<Wish> {
        let listens = self.conns.get(&conn)?.listens;
        match self.sources {
            Sources::Anyone => None,
            Sources::Only(_) => {
                let is_source = self.sources.has(listens);
                self.tell(now, Event::Source { conn, is_source })
            }
        }
    }

    /// The connection that we have with this peer already.
    fn twin(&self, peer_id: PeerId) -> Option<ConnId> {
        let twin = self.conns.iter().find(|(_, conn)| conn.peer_id == peer_id);
        twin.map(|(&conn, _)| conn)
    }

    fn refusal(
        &self,
        now: Instant,
        handshaken: &Handshaken,
        twin: Option<ConnId>,
        us: Identity,
    ) -> Option<Refusal> {
        let them = handshaken.handshake.peer_id;
        let direction = handshaken.direction;
        if them == us.peer_id {
            Some(Refusal::Ourselves)
        } else if self.banned.contains(&them) {
            Some(Refusal::Banned)
        } else if !self.is_open() {
            Some(Refusal::Closed)
        } else if self.conns.len() >= self.most_connections() {
            Some(Refusal::Full)
        } else {
            let old = self.conns.get(&twin?)?;
            let crossed = now.saturating_duration_since(old.since) < CROSSING;
            // Both sides must keep the same one: the one that the smaller id called.
            let smaller_called = (us.peer_id < them) == (direction == Direction::Outgoing);
            (crossed && (old.direction == direction || !smaller_called)).then_some(Refusal::Twin)
        }
    }

    fn most_connections(&self) -> usize {
        match self.refresh {
            Some(_) => CONNECTIONS,
            None => MAX_CONNECTIONS,
        }
    }

    /// Somebody whom we called is not let in: when to call there again.
    fn note_refusal(
        &mut self,
        now: Instant,
        address: SocketAddr,
        refusal: Refusal,
        twin: Option<ConnId>,
    ) {
        match refusal {
            Refusal::Ourselves | Refusal::Banned => self.book.ban(address),
            Refusal::Closed => self.book.disconnected(now, address, true),
            Refusal::Full => self.book.disconnected(now, address, false),
            Refusal::NoThread => self.book.failed(now, address),
            Refusal::Twin => {
                if let Some((id, old)) =
                    twin.and_then(|twin| Some((twin, self.conns.get_mut(&twin)?)))
                {
                    old.listens = Some(address);
                    self.mind_source(now, id);
                }
                self.book.connected(address);
            }
            Refusal::FullInAll | Refusal::Shunned | Refusal::Unknown(_) => {
                self.call_later(now, address);
            }
        }
    }

    /// What we have, and how many requests we keep (BEP 3, 6, 10).
    pub(super) fn first_messages(
        &self,
        theirs: &Handshake,
        us: Identity,
        in_noise: bool,
    ) -> Vec<Message> {
        let have = self.torrent.have();
        let mut first = Vec::new();
        if theirs.fast && have.is_full() {
            first.push(Message::HaveAll);
        } else if !have.is_empty() {
            first.push(Message::Bitfield(have.as_bytes().to_vec()));
        } else if theirs.fast {
            first.push(Message::HaveNone);
        }
        if theirs.extended {
            let ours = ExtendedHandshake {
                ticket: in_noise.then_some(extension::TICKET),
                client: Some(concat!("Mini BitTorrent ", env!("CARGO_PKG_VERSION")).into()),
                reqq: Some(extension::OUR_REQQ),
                port: Some(us.port),
            };
            let payload = ours.encode();
            first.push(Message::Extended {
                extension: extension::HANDSHAKE,
                payload,
            });
        }
        first
    }

    /// What the peer said of itself (BEP 10).
    pub fn introduced(
        &mut self,
        now: Instant,
        id: ConnId,
        theirs: ExtendedHandshake,
    ) -> Option<Wish> {
        let conn = self.conns.get_mut(&id)?;
        conn.client = theirs.client;
        conn.takes_tickets = theirs.ticket;
        if let (None, Some(port)) = (conn.listens, theirs.port) {
            let address = SocketAddr::new(conn.from.ip(), port);
            conn.listens = Some(address);
            self.book.connected(address);
            return self.mind_source(now, id);
        }
        None
    }
}
