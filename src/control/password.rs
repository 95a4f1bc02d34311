//! A password on its way: shown nowhere, and wiped from memory when dropped.

use std::fmt;
use std::str::FromStr;

use zeroize::Zeroizing;

/// The longest password, in bytes. Hashing takes as long for a short one.
pub const MAX_PASSWORD: usize = 256;

/// Has at least one character, and no control characters.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

/// The sentence goes on after the name of the argument.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    #[error("is empty")]
    Empty,
    #[error("is longer than {MAX_PASSWORD} bytes")]
    TooLong,
    #[error("has control characters")]
    ControlCharacter,
}

impl Password {
    /// The words themselves: for hashing, and for sending.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for Password {
    type Err = PasswordError;

    fn from_str(text: &str) -> Result<Password, PasswordError> {
        match text {
            "" => Err(PasswordError::Empty),
            _ if text.len() > MAX_PASSWORD => Err(PasswordError::TooLong),
            _ if text.contains(char::is_control) => Err(PasswordError::ControlCharacter),
            _ => Ok(Password(Zeroizing::new(text.into()))),
        }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        let password: Password = "secret".parse().unwrap();
        assert_eq!(format!("{password:?}"), "Password(***)");
        assert_eq!(password.reveal(), "secret");
        for wrong in ["", "a\nb", &"x".repeat(257)] {
            assert!(wrong.parse::<Password>().is_err());
        }
    }
}
