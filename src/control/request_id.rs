//! The number of a request: who sends it again, to the same tracker or another one, is answered
//! as the first time, and nothing is done twice.
//!
//! ```text
//! @7f3a…c1 create_group cs101
//! ```
//!
//! An optional first word of any control line. Trackers remember the last ones, with the facts
//! that came of them.

use std::fmt;
use std::str::FromStr;

/// 16 bytes that the asker drew at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub [u8; 16]);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not the number of a request: `@` and 32 hexadecimal digits")]
pub struct RequestIdError;

impl RequestId {
    /// Takes the number off the front of a line's words, if there is one.
    pub fn take(words: &mut Vec<String>) -> Result<Option<RequestId>, RequestIdError> {
        match words.first() {
            Some(first) if first.starts_with('@') => {
                let id = first.parse()?;
                words.remove(0);
                Ok(Some(id))
            }
            _ => Ok(None),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("@")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for RequestId {
    type Err = RequestIdError;

    fn from_str(text: &str) -> Result<RequestId, RequestIdError> {
        let digits = text.strip_prefix('@').ok_or(RequestIdError)?;
        if digits.len() != 32 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(RequestIdError);
        }
        let number = u128::from_str_radix(digits, 16).map_err(|_| RequestIdError)?;
        Ok(RequestId(number.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_in_front_of_the_words() {
        let id = RequestId(std::array::from_fn(|i| i as u8 * 17));
        let mut words = vec![id.to_string(), "ping".into()];
        assert_eq!(RequestId::take(&mut words), Ok(Some(id)));
        assert_eq!(RequestId::take(&mut words), Ok(None));
        assert_eq!(words, ["ping"]);
        for wrong in [
            "@",
            "@12",
            &format!("@{}", "g".repeat(32)),
            &format!("@{}", "0".repeat(33)),
        ] {
            assert!(
                RequestId::take(&mut vec![wrong.to_string()]).is_err(),
                "{wrong}"
            );
        }
    }
}
