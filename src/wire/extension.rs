//! The handshake of the extension protocol (BEP 10): a dictionary that both sides send once.
//!
//! Extensions are named in `m`, each with the number that the sender gives it. We have one,
//! `mb_ticket`, inside Noise only: its payload is a ticket that renews the one shown before.
//! Besides we read how many requests the other keeps (`reqq`) and what it calls itself (`v`).

use crate::torrent::bencode::{BencodeError, Encoder, Value};

/// The extension number of this handshake.
pub const HANDSHAKE: u8 = 0;

/// The number that we give to `mb_ticket`.
pub const TICKET: u8 = 1;
/// Its name.
const TICKET_NAME: &str = "mb_ticket";

/// How many requests of one peer we keep before we refuse more; the writer works them off.
pub const OUR_REQQ: u32 = 2000;

/// The longest client name that is kept, in bytes.
const MAX_CLIENT: usize = 64;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExtendedHandshake {
    /// The sender's number for `mb_ticket`, if it takes one.
    pub ticket: Option<u8>,
    /// The sender's program and version.
    pub client: Option<String>,
    /// How many requests the sender keeps.
    pub reqq: Option<u32>,
    /// The port on which the sender listens.
    pub port: Option<u16>,
}

impl ExtendedHandshake {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.dict(|d| {
            d.text("m").dict(|m| {
                if let Some(number) = self.ticket {
                    m.text(TICKET_NAME).int(number.into());
                }
            });
            if let Some(port) = self.port {
                d.text("p").int(port.into());
            }
            if let Some(reqq) = self.reqq {
                d.text("reqq").int(reqq.into());
            }
            if let Some(client) = &self.client {
                d.text("v").text(client);
            }
        });
        out.finish()
    }

    /// Values that make no sense are left out: none of them is needed.
    pub fn decode(payload: &[u8]) -> Result<ExtendedHandshake, BencodeError> {
        let (dict, _rest) = Value::parse_prefix(payload)?;
        let int = |key| dict.get(key).and_then(|value| value.int());
        let named = dict.get("m").and_then(|m| m.get(TICKET_NAME));
        Ok(ExtendedHandshake {
            // 0 says that it does not take one (any more).
            ticket: named
                .and_then(|number| u8::try_from(number.int()?).ok())
                .filter(|number| *number > 0),
            client: dict.get("v").and_then(|v| v.text()).map(|v| {
                v.chars()
                    .filter(|c| !c.is_control())
                    .take(MAX_CLIENT)
                    .collect()
            }),
            reqq: int("reqq")
                .and_then(|reqq| u32::try_from(reqq).ok())
                .filter(|reqq| *reqq > 0),
            port: int("p")
                .and_then(|port| u16::try_from(port).ok())
                .filter(|port| *port > 0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let full = ExtendedHandshake {
            ticket: Some(TICKET),
            client: Some("Mini BitTorrent 0.1.0".into()),
            reqq: Some(OUR_REQQ),
            port: Some(7600),
        };
        for handshake in [full, ExtendedHandshake::default()] {
            assert_eq!(
                ExtendedHandshake::decode(&handshake.encode()),
                Ok(handshake)
            );
        }
    }

    #[test]
    fn nonsense_is_left_out() {
        let odd = b"d1:md9:mb_ticketi0ee1:pi70000e4:reqqi-1e1:v3:a\x1bbe";
        let got = ExtendedHandshake::decode(odd).unwrap();
        let client = Some("ab".into());
        assert_eq!(
            got,
            ExtendedHandshake {
                client,
                ..ExtendedHandshake::default()
            }
        );
        assert_eq!(
            ExtendedHandshake::decode(b"le"),
            Ok(ExtendedHandshake::default())
        );
        assert!(ExtendedHandshake::decode(b"d").is_err());
    }
}
