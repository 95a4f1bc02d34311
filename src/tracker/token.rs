//! Tokens: a tracker's word that somebody has logged in, for `resume` on other connections.
//!
//! A bencoded dictionary, [`signed`], in hexadecimal. Not here: whose tokens are believed, and
//! whether the password has been changed since.

use ed25519_dalek::SigningKey;

use crate::control::key::{PeerKey, TrackerKey};
use crate::control::names::UserName;
use crate::control::signed;
use crate::control::stamp::{Stamp, UserId};
use crate::torrent::bencode::{Encoder, Value};

/// The longest token, in characters: twice what is needed.
const MAX_TOKEN: usize = 1024;
/// What is signed begins so: a signature for anything else is no token.
const PURPOSE: &[u8] = b"mini-bittorrent session 1\0";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub user: UserId,
    /// By which the user was known then.
    pub name: UserName,
    /// The stamp of the password that was given: with another one the token ends.
    pub password: Stamp,
    /// Of the peer that logged in.
    pub peer_key: Option<PeerKey>,
    /// In seconds since 1970.
    pub expires: u64,
}

/// The word is no token that a tracker has given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no token of a tracker")]
pub struct TokenError;

impl Token {
    /// The word to be sent.
    pub fn sign(&self, key: &SigningKey) -> String {
        let bytes = signed::sign(PURPOSE, &self.encode(), key);
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads a token, and with whose key it was signed.
    pub fn parse(text: &str) -> Result<(Token, TrackerKey), TokenError> {
        let bytes = from_hex(text).ok_or(TokenError)?;
        let (tracker, body) = signed::open(PURPOSE, &bytes).ok_or(TokenError)?;
        let token = Token::decode(body).ok_or(TokenError)?;
        Ok((token, tracker))
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.dict(|token| {
            let expires = i64::try_from(self.expires).unwrap_or(i64::MAX);
            token.text("expires").int(expires);
            if let Some(key) = &self.peer_key {
                token.text("key").bytes(&key.0);
            }
            token.text("name").text(self.name.as_str());
            token.text("password").text(&self.password.to_string());
            token.text("user").text(&self.user.to_string());
        });
        out.finish()
    }

    fn decode(body: &[u8]) -> Option<Token> {
        let token = Value::parse(body).ok()?;
        let stamp = |name| token.get(name)?.text()?.parse::<Stamp>().ok();
        let peer_key = match token.get("key") {
            Some(key) => Some(PeerKey(key.bytes()?.try_into().ok()?)),
            None => None,
        };
        Some(Token {
            user: UserId(stamp("user")?),
            name: token.get("name")?.text()?.parse().ok()?,
            password: stamp("password")?,
            peer_key,
            expires: token.get("expires")?.int()?.try_into().ok()?,
        })
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if text.len() > MAX_TOKEN {
        return None;
    }
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let byte = |pair: &[u8; 2]| u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok();
    let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
    bytes.filter(|_| rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::names::GroupName;
    use crate::control::stamp::GroupId;
    use crate::control::ticket::{SignedTicket, Ticket};

    fn token() -> Token {
        let stamp = |time| Stamp { time, tracker: 1 };
        Token {
            user: UserId(stamp(5)),
            name: "Bob~2".parse().unwrap(),
            password: stamp(6),
            peer_key: Some(PeerKey([9; 32])),
            expires: 1_800_000_000,
        }
    }

    #[test]
    fn a_token_is_read_as_it_was_signed() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let word = token().sign(&key);
        let tracker = TrackerKey(key.verifying_key().to_bytes());
        assert_eq!(Token::parse(&word), Ok((token(), tracker)));
        let bare = Token {
            peer_key: None,
            ..token()
        };
        assert_eq!(Token::parse(&bare.sign(&key)), Ok((bare, tracker)));
        for i in 0..word.len() {
            let digit = if word.as_bytes()[i] == b'0' { "1" } else { "0" };
            let mut changed = word.clone();
            changed.replace_range(i..=i, digit);
            assert!(Token::parse(&changed).is_err(), "digit {i} changed");
            assert!(Token::parse(&word[..i]).is_err(), "cut at {i}");
        }
        assert!(Token::parse("ä").is_err() && Token::parse(&"0".repeat(2000)).is_err());
    }

    #[test]
    fn tickets_and_tokens_are_not_each_other() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let (user, group): (UserName, GroupName) = ("a".parse().unwrap(), "g".parse().unwrap());
        let ticket = Ticket {
            user,
            group,
            group_id: GroupId(token().password),
            peer_key: PeerKey([9; 32]),
            expires: 5,
        };
        let hex = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
        assert!(Token::parse(&hex(ticket.sign(&key).as_bytes())).is_err());
        let token = from_hex(&token().sign(&key)).unwrap();
        assert!(SignedTicket::parse(&token).is_err());
    }
}
