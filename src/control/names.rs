//! Names that people give: of a group, of a user, of a file in a group.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// The longest name of a group or a user, in characters.
pub const MAX_NAME: usize = 32;
/// Digits of the number in a name that was taken twice.
const MAX_DIGITS: usize = 5;
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

/// Whether a character is shown where it stands, and does nothing else: it is no control character, ends
/// no line, and does not turn the direction of what is shown after it (Unicode's bidirectional
/// controls), by which `exe.txt` may be shown for `txt.exe`.
pub fn is_plain(c: char) -> bool {
    let ends_line = matches!(c, '\u{2028}' | '\u{2029}');
    let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !c.is_control() && !ends_line && !turns
}

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
    /// The name of the how manieth that has taken it: `bob`, then `bob~2`, `bob~3`. Nobody can
    /// choose such a name; whoever has it took `bob` while an earlier one could not be seen.
    pub fn numbered(&self, number: usize) -> GroupName {
        GroupName(Caseless(add_number(self.as_str(), number)))
    }

    /// The name that was taken, and the number; 1 if there is none.
    pub fn split(&self) -> (GroupName, usize) {
        let (base, number) = split_number(self.as_str());
        (GroupName(Caseless(base.into())), number)
    }

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
    /// The name of the how manieth that has taken it: `bob`, then `bob~2`, `bob~3`. Nobody can
    /// choose such a name; whoever has it took `bob` while an earlier one could not be seen.
    pub fn numbered(&self, number: usize) -> UserName {
        UserName(Caseless(add_number(self.as_str(), number)))
    }

    /// The name that was taken, and the number; 1 if there is none.
    pub fn split(&self) -> (UserName, usize) {
        let (base, number) = split_number(self.as_str());
        (UserName(Caseless(base.into())), number)
    }

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

    /// See [`UserName::numbered`].
    pub fn numbered(&self, number: usize) -> FileName {
        FileName(add_number(&self.0, number))
    }

    pub fn split(&self) -> (FileName, usize) {
        let (base, number) = split_number(&self.0);
        (FileName(base.into()), number)
    }
}

/// The name that was given, and the how manieth of that name it is.
fn split_number(text: &str) -> (&str, usize) {
    let split = text.rsplit_once('~').and_then(|(base, digits)| {
        let plain = digits.len() <= MAX_DIGITS && !digits.starts_with(['0', '+']);
        let number = digits.parse().ok().filter(|number| *number >= 2);
        Some((base, number.filter(|_| plain && !base.is_empty())?))
    });
    split.unwrap_or((text, 1))
}

fn add_number(base: &str, number: usize) -> String {
    match number {
        0 | 1 => base.into(),
        number => format!("{base}~{number}"),
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
        let (base, _) = split_number(text);
        match base {
            "" => Err(NameError::Empty),
            _ if !base.chars().all(allowed) => Err(NameError::Character),
            _ if base.len() > MAX_NAME => Err(NameError::TooLong("32 characters")),
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
            _ if text.contains('/') || !text.chars().all(is_plain) => Err(NameError::FileCharacter),
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
    fn a_name_that_was_taken_twice_has_a_number() {
        let name = |text: &str| text.parse::<UserName>().unwrap();
        assert_eq!(name("Bob").numbered(2).to_string(), "Bob~2");
        assert_eq!(name("Bob").numbered(1).to_string(), "Bob");
        assert_eq!(name("bob~12").split(), (name("bob"), 12));
        assert_eq!(name("bob").split(), (name("bob"), 1));
        let long = format!("{}~2", "x".repeat(32));
        assert_eq!(name(&long).split().1, 2);
        for wrong in [
            "bob~",
            "bob~1",
            "bob~02",
            "bob~x",
            "~2",
            "b~2~3",
            "bob~123456",
        ] {
            assert!(wrong.parse::<UserName>().is_err(), "{wrong}");
        }
        let file: FileName = "a~2.txt~3".parse().unwrap();
        assert_eq!(file.split(), ("a~2.txt".parse().unwrap(), 3));
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

    #[test]
    fn a_name_is_shown_as_another_one() {
        for c in ['\u{202e}', '\u{2066}', '\u{2028}', '\u{2029}', '\u{1b}'] {
            assert!(format!("a{c}b").parse::<FileName>().is_err(), "{c:?}");
        }
        for right in ["שלום.txt", "a\u{200d}b", "é"] {
            assert!(right.parse::<FileName>().is_ok(), "{right}");
        }
    }
}
