//! Public keys, by which trackers and peers are known.

use std::fmt;
use std::str::FromStr;

/// A tracker's Ed25519 key: in tracker_info.txt, in its certificate, under its tickets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackerKey(pub [u8; 32]);

/// A peer's X25519 key in the Noise protocol. A ticket is good for the peer with this key only.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerKey(pub [u8; 32]);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not a key: 64 hexadecimal digits")]
pub struct KeyError;

macro_rules! shown_in_hex {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = KeyError;

            fn from_str(text: &str) -> Result<$name, KeyError> {
                parse_hex(text).map($name)
            }
        }
    )*};
}

shown_in_hex!(TrackerKey PeerKey);

fn parse_hex(text: &str) -> Result<[u8; 32], KeyError> {
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(KeyError);
    }
    let mut key = [0; 32];
    for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).map_err(|_| KeyError)?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| KeyError)?;
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_shown() {
        let key = TrackerKey(std::array::from_fn(|i| i as u8 * 7));
        assert_eq!(key.to_string().parse(), Ok(key));
        for wrong in [
            "",
            "00",
            &"0".repeat(63),
            &"0".repeat(65),
            &"g".repeat(64),
            &"ä".repeat(32),
        ] {
            assert_eq!(wrong.parse::<TrackerKey>(), Err(KeyError), "{wrong}");
        }
    }
}
