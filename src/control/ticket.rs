//! Tickets: a tracker's word that a user is a member of a group, shown from peer to peer.
//!
//! A bencoded dictionary, [`signed`]. A ticket is good for one peer (by its Noise key), and for
//! minutes: who leaves a group is out when it ends. Not here: whose tickets are believed, and what
//! time it is.

use ed25519_dalek::SigningKey;

use crate::torrent::bencode::{BencodeError, Encoder, Value};

use super::key::{PeerKey, TrackerKey};
use super::names::{GroupName, UserName};
use super::signed;
use super::stamp::GroupId;

/// The longest signed ticket, in bytes: twice what the longest names need.
pub const MAX_TICKET: usize = 1024;
/// What is signed begins so: a signature for anything else is no ticket.
const PURPOSE: &[u8] = b"mini-bittorrent ticket 1\0";

/// What a tracker vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    pub user: UserName,
    pub group: GroupName,
    pub group_id: GroupId,
    /// The peer that may show it.
    pub peer_key: PeerKey,
    /// In seconds since 1970, by the tracker's clock.
    pub expires: u64,
}

/// A ticket with the key and the signature of the tracker that gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedTicket {
    pub ticket: Ticket,
    pub tracker: TrackerKey,
    bytes: Vec<u8>,
}

/// Why bytes are not a ticket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    #[error("it has {0} bytes: between 96 and {MAX_TICKET} are possible")]
    Length(usize),
    #[error("its signature is wrong")]
    Signature,
    #[error("it is {0}")]
    Bencode(#[from] BencodeError),
    #[error("its `{0}` is missing or not as it should be")]
    Key(&'static str),
}

impl Ticket {
    pub fn sign(self, key: &SigningKey) -> SignedTicket {
        SignedTicket {
            tracker: TrackerKey(key.verifying_key().to_bytes()),
            bytes: signed::sign(PURPOSE, &self.encode(), key),
            ticket: self,
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.dict(|ticket| {
            ticket
                .text("expires")
                .int(i64::try_from(self.expires).unwrap_or(i64::MAX));
            ticket.text("group").text(self.group.as_str());
            ticket.text("id").text(&self.group_id.to_string());
            ticket.text("key").bytes(&self.peer_key.0);
            ticket.text("user").text(self.user.as_str());
        });
        out.finish()
    }

    fn decode(body: &[u8]) -> Result<Ticket, TicketError> {
        let ticket = Value::parse(body)?;
        let text = |name: &'static str| {
            let bytes = ticket.get(name).and_then(|value| value.bytes());
            let text = bytes.and_then(|bytes| std::str::from_utf8(bytes).ok());
            text.ok_or(TicketError::Key(name))
        };
        let key = ticket.get("key").and_then(|value| value.bytes());
        let expires = ticket.get("expires").and_then(|value| value.int());
        let expires = expires.and_then(|time| u64::try_from(time).ok());
        Ok(Ticket {
            user: text("user")?
                .parse()
                .map_err(|_| TicketError::Key("user"))?,
            group: text("group")?
                .parse()
                .map_err(|_| TicketError::Key("group"))?,
            group_id: text("id")?.parse().map_err(|_| TicketError::Key("id"))?,
            peer_key: PeerKey(
                key.and_then(|key| key.try_into().ok())
                    .ok_or(TicketError::Key("key"))?,
            ),
            expires: expires.ok_or(TicketError::Key("expires"))?,
        })
    }
}

impl SignedTicket {
    /// Reads a ticket and checks that it was signed with the key that it names. Whether that is
    /// the key of a tracker to be believed is not said.
    pub fn parse(bytes: &[u8]) -> Result<SignedTicket, TicketError> {
        if !(signed::OVERHEAD..=MAX_TICKET).contains(&bytes.len()) {
            return Err(TicketError::Length(bytes.len()));
        }
        let (tracker, body) = signed::open(PURPOSE, bytes).ok_or(TicketError::Signature)?;
        Ok(SignedTicket {
            ticket: Ticket::decode(body)?,
            tracker,
            bytes: bytes.to_vec(),
        })
    }

    /// As it is sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::stamp::Stamp;

    fn ticket() -> Ticket {
        Ticket {
            user: "Bob".parse().unwrap(),
            group: "cs101".parse().unwrap(),
            group_id: GroupId(Stamp {
                time: 77,
                tracker: 1,
            }),
            peer_key: PeerKey([5; 32]),
            expires: 1_800_000_000,
        }
    }

    #[test]
    fn a_ticket_is_read_as_it_was_signed() {
        let signed = ticket().sign(&SigningKey::from_bytes(&[7; 32]));
        assert_eq!(SignedTicket::parse(signed.as_bytes()), Ok(signed.clone()));
        assert_eq!(signed.ticket, ticket());
    }

    #[test]
    fn no_byte_can_be_changed_or_cut() {
        let signed = ticket().sign(&SigningKey::from_bytes(&[7; 32]));
        for i in 0..signed.as_bytes().len() {
            let mut changed = signed.as_bytes().to_vec();
            changed[i] ^= 1;
            assert!(SignedTicket::parse(&changed).is_err(), "byte {i} changed");
            assert!(
                SignedTicket::parse(&signed.as_bytes()[..i]).is_err(),
                "cut at {i}"
            );
        }
        let longer = [signed.as_bytes(), b"x"].concat();
        assert_eq!(SignedTicket::parse(&longer), Err(TicketError::Signature));
        let endless = vec![0; MAX_TICKET + 1];
        assert_eq!(
            SignedTicket::parse(&endless),
            Err(TicketError::Length(MAX_TICKET + 1))
        );
    }

    #[test]
    fn a_signature_for_something_else_is_no_ticket() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let body = ticket().encode();
        let bytes = signed::sign(b"something else", &body, &key);
        assert_eq!(SignedTicket::parse(&bytes), Err(TicketError::Signature));
    }
}
