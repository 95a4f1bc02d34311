//! The first words of a connection, up to the handshake of BEP 3: plain, or inside Noise and after
//! a ticket from each side.
//!
//! ```text
//! caller                                   called
//!    Noise: e               ──────────►    (a first byte of 19 is the plain handshake)
//!                           ◄──────────    Noise: e, ee, s, es
//!    s, se, my ticket       ──────────►    is it good? if not: closed, without a word
//!    is it good? if not:    ◄──────────    my ticket for the same group
//!    closed
//!    handshake of BEP 3     ──────────►    and so on, as on any connection
//! ```
//!
//! Whether there is such a torrent here, and for this group, is asked by the engine: whoever
//! asks for another one sees the same closed connection.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::control::ticket::{MAX_TICKET, SignedTicket};
use crate::runtime::stream::Stream;
use crate::wire::handshake::{self, HANDSHAKE_LENGTH, Handshake, NotBitTorrent};

use super::channel::{self, Sink, Source};
use super::connection::{Direction, Handshaken};
use super::membership::{Membership, Pass, Refusal};
use super::noise::{self, NoiseError};

/// How long the other side may take for all of it, from the first byte to the last.
pub const HANDSHAKE: Duration = Duration::from_secs(10);

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    NotBitTorrent(#[from] NotBitTorrent),
    #[error("it hung up: it does not share this, or does not want to")]
    HungUp,
    #[error("it answered for another torrent")]
    OtherTorrent,
    #[error(transparent)]
    Noise(#[from] NoiseError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("it answered for another group")]
    OtherGroup,
}

/// Hears somebody who has called us.
pub fn answer(
    mut stream: Stream,
    address: SocketAddr,
    membership: &Membership,
) -> Result<Handshaken, CallError> {
    stream.set_deadline(Some(Instant::now() + HANDSHAKE));
    let mut first = [0; 1];
    if stream.peek(&mut first)? == 0 {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    let (ends, pass, shown) = match first[0] {
        handshake::FIRST_BYTE => {
            let pass = membership.pass_of_strangers();
            (channel::plain(&stream), pass, None)
        }
        noise::FIRST_BYTE => answer_member(&mut stream, membership)?,
        _ => return Err(NotBitTorrent.into()),
    };
    finish(stream, ends, address, Direction::Incoming, pass, shown)
}

/// Says our handshake to somebody whom we have called.
pub fn call(
    mut stream: Stream,
    address: SocketAddr,
    ours: &Handshake,
) -> Result<Handshaken, CallError> {
    stream.set_deadline(Some(Instant::now() + HANDSHAKE));
    let mut ends = channel::plain(&stream);
    ends.1.write_all(&ours.encode())?;
    let (direction, pass) = (Direction::Outgoing, Pass::Public);
    for_torrent(ours, finish(stream, ends, address, direction, pass, None)?)
}

/// The same, to a member of the group that our ticket is for.
pub fn call_member(
    mut stream: Stream,
    address: SocketAddr,
    ours: &Handshake,
    ticket: &SignedTicket,
    membership: &Membership,
) -> Result<Handshaken, CallError> {
    stream.set_deadline(Some(Instant::now() + HANDSHAKE));
    let agreed = noise::call(&mut stream, &membership.keys, ticket.as_bytes())?;
    let peer = agreed.peer;
    let (mut source, mut sink) = channel::sealed(&stream, agreed);
    let theirs = read_ticket(&mut source)?;
    let (pass, _) = membership.admit(Instant::now(), &theirs, peer)?;
    if matches!(pass, Pass::Member { group, .. } if group != ticket.ticket.group_id) {
        return Err(CallError::OtherGroup);
    }
    sink.write_all(&ours.encode())?;
    let (ends, direction) = ((source, sink), Direction::Outgoing);
    let shown = Some(Shown {
        expires: ticket.ticket.expires,
        peer,
    });
    for_torrent(ours, finish(stream, ends, address, direction, pass, shown)?)
}

/// What was shown, and to whom, inside Noise.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    /// When the ticket ends that we have shown, in seconds since 1970.
    pub expires: u64,
    /// The key of the other side.
    pub peer: crate::control::key::PeerKey,
}

type Answered = ((Source, Sink), Pass, Option<Shown>);

fn answer_member(stream: &mut Stream, membership: &Membership) -> Result<Answered, CallError> {
    let (agreed, theirs) = noise::answer(stream, &membership.keys)?;
    let peer = agreed.peer;
    let (pass, ours) = membership.admit(Instant::now(), &theirs, peer)?;
    let (source, mut sink) = channel::sealed(stream, agreed);
    // Without a ticket only somebody who is not checked gets here, and does not look at it.
    sink.write_all(ours.as_ref().map_or(&[0], SignedTicket::as_bytes))?;
    let expires = ours.map_or(0, |ours| ours.ticket.expires);
    Ok(((source, sink), pass, Some(Shown { expires, peer })))
}

/// What the called side shows: its first message.
fn read_ticket(source: &mut Source) -> Result<Vec<u8>, CallError> {
    // One message is one read; of a longer one the rest is no handshake.
    let mut ticket = vec![0; MAX_TICKET];
    let length = source.read(&mut ticket)?;
    ticket.truncate(length);
    Ok(ticket)
}

/// The other side's handshake. One that trickles in byte by byte is not waited for either.
fn finish(
    mut stream: Stream,
    (mut source, mut sink): (Source, Sink),
    address: SocketAddr,
    direction: Direction,
    pass: Pass,
    shown: Option<Shown>,
) -> Result<Handshaken, CallError> {
    let mut bytes = [0; HANDSHAKE_LENGTH];
    source
        .read_exact(&mut bytes)
        .map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => CallError::HungUp,
            _ => error.into(),
        })?;
    let handshake = Handshake::decode(&bytes)?;
    stream.set_deadline(None);
    source.stream_mut().set_deadline(None);
    sink.stream_mut().set_deadline(None);
    Ok(Handshaken {
        stream,
        source,
        sink,
        address,
        handshake,
        direction,
        pass,
        shown,
    })
}

fn for_torrent(ours: &Handshake, handshaken: Handshaken) -> Result<Handshaken, CallError> {
    if handshaken.handshake.info_hash != ours.info_hash {
        return Err(CallError::OtherTorrent);
    }
    Ok(handshaken)
}
