//! What is named by a number or a hash: torrents, pieces' contents, peers, connections.

use std::fmt;
use std::str::FromStr;

use sha1::{Digest, Sha1};

/// SHA-1 of the raw bytes of a torrent's info dictionary (BEP 3): its name everywhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InfoHash(pub [u8; 20]);

/// SHA-1 of one piece's bytes (BEP 3, `pieces`).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PieceHash(pub [u8; 20]);

/// SHA-256 of a whole file's bytes: what people compare. It says the same as all of the pieces'
/// hashes together, and nobody has to believe in SHA-1 for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileHash(pub [u8; 32]);

/// The 20 bytes by which a peer calls itself (BEP 3; the prefix is BEP 20's).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub [u8; 20]);

/// One connection to one peer, by a number that is never used again while the program runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// What our peer ids begin with (BEP 20): client `mb`, version 0.1.0.
pub const PEER_ID_PREFIX: &[u8; 8] = b"-mb0100-";

impl InfoHash {
    pub fn of(info: &[u8]) -> InfoHash {
        InfoHash(Sha1::digest(info).into())
    }
}

impl PieceHash {
    pub fn of(piece: &[u8]) -> PieceHash {
        PieceHash(Sha1::digest(piece).into())
    }
}

impl PeerId {
    /// Our own kind of id: the prefix, then twelve bytes that the caller drew at random.
    pub fn ours(random: [u8; 12]) -> PeerId {
        let mut id = [0; 20];
        id[..8].copy_from_slice(PEER_ID_PREFIX);
        id[8..].copy_from_slice(&random);
        PeerId(id)
    }

    /// Which program this peer says it runs, as far as the id tells (BEP 20).
    pub fn client(&self) -> String {
        if let [b'A', b'2', b'-', version @ ..] = &self.0[..9] {
            let version = String::from_utf8_lossy(version).replace('-', ".");
            return format!("aria2 {}", version.trim_end_matches('.'));
        }
        let [b'-', a, b, version @ .., _] = &self.0[..8] else {
            return "unknown".into();
        };
        let name = match [*a, *b] {
            [b'm', b'b'] => return format!("Mini BitTorrent {}", dotted(&version[..3])),
            [b'T', b'R'] => "Transmission",
            [b'q', b'B'] => "qBittorrent",
            [b'L', b'T'] | [b'l', b't'] => "libtorrent",
            [b'D', b'E'] => "Deluge",
            [b'U', b'T'] => "uTorrent",
            [b'r', b'Q'] => "rqbit",
            _ => return "unknown".into(),
        };
        format!("{name} {}", String::from_utf8_lossy(version))
    }
}

/// `010` is version 0.1.0.
fn dotted(digits: &[u8]) -> String {
    let digits: Vec<String> = digits
        .iter()
        .map(|&digit| (digit as char).to_string())
        .collect();
    digits.join(".")
}

/// Why a text is not an [`InfoHash`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an info hash is 40 hexadecimal digits, not `{0}`")]
pub struct NotAnInfoHash(pub String);

impl FromStr for InfoHash {
    type Err = NotAnInfoHash;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || NotAnInfoHash(text.chars().take(60).collect());
        read_hex(text).map(InfoHash).ok_or_else(refuse)
    }
}

/// Why a text is not a [`FileHash`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 is 64 hexadecimal digits, not `{0}`")]
pub struct NotAFileHash(pub String);

impl FromStr for FileHash {
    type Err = NotAFileHash;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || NotAFileHash(text.chars().take(80).collect());
        read_hex(text).map(FileHash).ok_or_else(refuse)
    }
}

/// Two digits a byte, and nothing else.
fn read_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let digit = |c: u8| (c as char).to_digit(16);
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = (digit(digits[0])? * 16 + digit(digits[1])?) as u8;
    }
    Some(bytes)
}

/// Why a text is not a [`PeerId`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a peer id is 20 bytes, with %XX for those that cannot be typed")]
pub struct NotAPeerId;

/// Reads what `Display` writes.
impl FromStr for PeerId {
    type Err = NotAPeerId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut id = [0; 20];
        let mut bytes = percent_encoding::percent_decode_str(text);
        for byte in &mut id {
            *byte = bytes.next().ok_or(NotAPeerId)?;
        }
        match bytes.next() {
            None => Ok(PeerId(id)),
            Some(_) => Err(NotAPeerId),
        }
    }
}

fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Display for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Display for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for PieceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

/// Printable bytes as they are, the others as `%XX`.
impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|&byte| match byte {
            b'-' | b'.' | b'_' | b'~' => write!(f, "{}", byte as char),
            _ if byte.is_ascii_alphanumeric() => write!(f, "{}", byte as char),
            _ => write!(f, "%{byte:02X}"),
        })
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.0)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_hash_reads_what_it_prints() {
        let hash = InfoHash::of(b"d4:name1:ae");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        for wrong in ["", "abc", &"g".repeat(40), &"é".repeat(20)] {
            assert!(wrong.parse::<InfoHash>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn file_hash_reads_what_it_prints() {
        let hash = FileHash([0xa7; 32]);
        assert_eq!(hash.to_string(), "a7".repeat(32));
        assert_eq!(hash.to_string().parse(), Ok(hash));
        for wrong in ["", "abc", &"g".repeat(64), &"a".repeat(40), &"é".repeat(32)] {
            assert!(wrong.parse::<FileHash>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn peer_id_reads_what_it_prints() {
        let id = PeerId(*b"-mb0100-%\0 \"\xff~defghi");
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", "short", "-mb0100-abcdefghijkl%20"] {
            assert_eq!(wrong.parse::<PeerId>(), Err(NotAPeerId), "{wrong}");
        }
    }

    #[test]
    fn peer_ids_name_their_client() {
        assert_eq!(PeerId::ours([7; 12]).client(), "Mini BitTorrent 0.1.0");
        assert_eq!(
            PeerId(*b"-TR3000-abcdefghijkl").client(),
            "Transmission 3000"
        );
        assert_eq!(PeerId(*b"A2-1-36-0-abcdefghij").client(), "aria2 1.36.0");
        assert_eq!(PeerId(*b"xxxxxxxxxxxxxxxxxxxx").client(), "unknown");
        assert_eq!(
            PeerId(*b"-mb0100-\0\x01cdefghijkl").to_string(),
            "-mb0100-%00%01cdefghijkl"
        );
    }
}
