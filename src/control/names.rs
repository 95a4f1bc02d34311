//! Names that people give: of a group, of a user, of a file in a group.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// The longest name of a group or a user, in characters.
pub const MAX_NAME: usize = 32;
/// The longest file name, in bytes. No file system takes more.
pub const MAX_FILE_NAME: usize = 255;

/// 1 to 32 ASCII letters, digits, `-`, `_`, `.`; compares without case, shows with it.
#[derive(Debug, Clone)]
struct Caseless(String);

/// The name of a group: 1 to 32 ASCII letters, digits, `-`, `_`, `.`; compares without case,
/// shows with it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupName(Caseless);

/// The name of an account, as free as that of a group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserName(Caseless);

/// One file (or folder) of a group: 1 to 255 bytes, no `/`, no control characters, not `.`
/// or `..`. What it becomes on somebody's disk is decided there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileName(String);

/// Why a word is not a name. The sentence goes on after the name of the argument.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("is empty")]
    Empty,
    #[error("is longer than {0}")]
    TooLong(&'static str),
    #[error("may have letters, digits, `-`, `_` and `.` only")]
    Character,
    #[error("is a file name: it has no `/`, no control characters, and is not `.` or `..`")]
    FileCharacter,
}

impl GroupName {
    /// The built-in group that needs no account.
    pub fn public() -> GroupName {
        GroupName(Caseless("public".into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0.0
    }

    /// What is compared.
    pub fn folded(&self) -> String {
        self.0.folded()
    }

    pub fn is_public(&self) -> bool {
        *self == GroupName::public()
    }
}

impl UserName {
    pub fn as_str(&self) -> &str {
        &self.0.0
    }

    /// What is compared.
    pub fn folded(&self) -> String {
        self.0.folded()
    }
}

impl FileName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Caseless {
    fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl PartialEq for Caseless {
    fn eq(&self, other: &Caseless) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Caseless {}

impl Hash for Caseless {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded().hash(state);
    }
}

impl PartialOrd for Caseless {
    fn partial_cmp(&self, other: &Caseless) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Caseless {
    fn cmp(&self, other: &Caseless) -> Ordering {
        self.folded().cmp(&other.folded())
    }
}

impl FromStr for Caseless {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Caseless, NameError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        match text {
            "" => Err(NameError::Empty),
            _ if !text.chars().all(allowed) => Err(NameError::Character),
            _ if text.len() > MAX_NAME => Err(NameError::TooLong("32 characters")),
            _ => Ok(Caseless(text.into())),
        }
    }
}

impl FromStr for GroupName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<GroupName, NameError> {
        text.parse().map(GroupName)
    }
}

impl FromStr for UserName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<UserName, NameError> {
        text.parse().map(UserName)
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for FileName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<FileName, NameError> {
        match text {
            "" => Err(NameError::Empty),
            "." | ".." => Err(NameError::FileCharacter),
            _ if text.contains('/') || text.contains(char::is_control) => {
                Err(NameError::FileCharacter)
            }
            _ if text.len() > MAX_FILE_NAME => Err(NameError::TooLong("255 bytes")),
            _ => Ok(FileName(text.into())),
        }
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_names_compare_without_case_and_show_with_it() {
        let (a, b): (GroupName, GroupName) = ("CS101".parse().unwrap(), "cs101".parse().unwrap());
        assert_eq!(a, b);
        assert_eq!(a.to_string(), "CS101");
        let set = std::collections::HashSet::from([a]);
        assert!(set.contains(&b));
        for wrong in ["", "a b", "ä", "a/b", &"x".repeat(33)] {
            assert!(wrong.parse::<GroupName>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn user_names_are_as_caseless() {
        let name = |text: &str| text.parse::<UserName>().unwrap();
        assert_eq!(name("Bob"), name("bOB"));
        assert!(name("Bob") < name("carol"));
        assert!("x y".parse::<UserName>().is_err());
    }

    #[test]
    fn file_names_are_one_name() {
        for right in ["a", "big file.iso", "ä\"+x", "C:\\x", &"x".repeat(255)] {
            assert!(right.parse::<FileName>().is_ok(), "{right}");
        }
        for wrong in ["", ".", "..", "a/b", "a\nb", "\0", &"x".repeat(256)] {
            assert!(wrong.parse::<FileName>().is_err(), "{wrong}");
        }
    }
}
