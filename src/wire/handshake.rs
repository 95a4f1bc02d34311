//! The first 68 bytes in each direction (BEP 3; reserved bits BEP 6 and 10).
//!
//! `<19>"BitTorrent protocol"<reserved: 8><info hash: 20><peer id: 20>`

use crate::torrent::id::{InfoHash, PeerId};

/// In bytes.
pub const HANDSHAKE_LENGTH: usize = 68;

/// The length of the protocol's name.
pub const FIRST_BYTE: u8 = 19;

const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";
const RESERVED: std::ops::Range<usize> = 20..28;
const INFO_HASH: std::ops::Range<usize> = 28..48;
const PEER_ID: std::ops::Range<usize> = 48..68;

/// Reserved byte 7: the fast extension (BEP 6).
const FAST: u8 = 0x04;
/// Reserved byte 5: the extension protocol (BEP 10).
const EXTENDED: u8 = 0x10;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handshake {
    pub info_hash: InfoHash,
    pub peer_id: PeerId,
    /// The sender knows the fast extension (BEP 6).
    pub fast: bool,
    /// The sender knows the extension protocol (BEP 10).
    pub extended: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the other side does not speak the BitTorrent protocol")]
pub struct NotBitTorrent;

impl Handshake {
    /// Of somebody who knows no extension, or needs none.
    pub fn bare(info_hash: InfoHash, peer_id: PeerId) -> Handshake {
        Handshake {
            info_hash,
            peer_id,
            fast: false,
            extended: false,
        }
    }

    pub fn encode(&self) -> [u8; HANDSHAKE_LENGTH] {
        let mut bytes = [0; HANDSHAKE_LENGTH];
        bytes[..20].copy_from_slice(PROTOCOL);
        bytes[RESERVED.start + 5] = if self.extended { EXTENDED } else { 0 };
        bytes[RESERVED.start + 7] = if self.fast { FAST } else { 0 };
        bytes[INFO_HASH].copy_from_slice(&self.info_hash.0);
        bytes[PEER_ID].copy_from_slice(&self.peer_id.0);
        bytes
    }

    pub fn decode(bytes: &[u8; HANDSHAKE_LENGTH]) -> Result<Handshake, NotBitTorrent> {
        if !bytes.starts_with(PROTOCOL) {
            return Err(NotBitTorrent);
        }
        let mut handshake = Handshake {
            info_hash: InfoHash([0; 20]),
            peer_id: PeerId([0; 20]),
            fast: bytes[RESERVED.start + 7] & FAST != 0,
            extended: bytes[RESERVED.start + 5] & EXTENDED != 0,
        };
        handshake.info_hash.0.copy_from_slice(&bytes[INFO_HASH]);
        handshake.peer_id.0.copy_from_slice(&bytes[PEER_ID]);
        Ok(handshake)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for (fast, extended) in [(true, true), (true, false), (false, true), (false, false)] {
            let handshake = Handshake {
                info_hash: InfoHash([7; 20]),
                peer_id: PeerId(*b"-mb0100-abcdefghijkl"),
                fast,
                extended,
            };
            assert_eq!(Handshake::decode(&handshake.encode()), Ok(handshake));
        }
        assert_eq!(Handshake::decode(&[19; 68]), Err(NotBitTorrent));
    }
}
