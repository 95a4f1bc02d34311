//! An announce (BEP 3): a peer says how it stands with a torrent and asks for others.
//!
//! As a value, and as the query of a URL. `ip` in a query is ignored: the peer's address is the
//! connection's, or anybody could send a swarm to a victim. So are `key` and unknown names.

use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

use crate::torrent::id::{InfoHash, PeerId};

/// What a URL may have as it is (RFC 3986, unreserved).
pub(super) const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The peer's address is not in it: that is the connection's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnnounceRequest {
    pub info_hash: InfoHash,
    pub peer_id: PeerId,
    /// Where the peer listens; never 0.
    pub port: u16,
    /// Bytes since `started`.
    pub uploaded: u64,
    /// Bytes since `started`.
    pub downloaded: u64,
    /// Bytes still missing; 0 makes a seed.
    pub left: u64,
    pub event: Event,
    /// How many peers the asker would like; the tracker decides if it does not say.
    pub numwant: Option<u32>,
}

/// What has just happened at the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Event {
    Started,
    Completed,
    Stopped,
    /// One of the regular announces between the others.
    #[default]
    None,
}

impl Event {
    pub const NAMES: &[&str] = &["started", "completed", "stopped", "none"];

    pub fn as_str(self) -> &'static str {
        match self {
            Event::Started => "started",
            Event::Completed => "completed",
            Event::Stopped => "stopped",
            Event::None => "none",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a word is not an [`Event`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is none of started, completed, stopped, none")]
pub struct NotAnEvent;

impl FromStr for Event {
    type Err = NotAnEvent;

    fn from_str(text: &str) -> Result<Event, NotAnEvent> {
        match text {
            "started" => Ok(Event::Started),
            "completed" => Ok(Event::Completed),
            "stopped" => Ok(Event::Stopped),
            "none" => Ok(Event::None),
            _ => Err(NotAnEvent),
        }
    }
}

/// How the asker wants peers to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerForm {
    /// Six or eighteen bytes a peer (BEP 23, BEP 7).
    Compact,
    /// A dictionary a peer (BEP 3).
    Dictionaries,
}

/// Why a query is not an announce or a scrape. For the asker, who learns which parameter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("`{parameter}` has {got} bytes, 20 are right")]
    Length { parameter: &'static str, got: usize },
    #[error("`{0}` is not a number")]
    NotANumber(&'static str),
    #[error("`port` is not a port (1 to 65535)")]
    Port,
    #[error("more than {0} torrents in one scrape")]
    TooMany(usize),
}

impl AnnounceRequest {
    /// Of a peer that has everything, and has carried nothing yet; it asks for nobody.
    pub fn of_seed(info_hash: InfoHash, peer_id: PeerId, port: u16) -> AnnounceRequest {
        AnnounceRequest {
            info_hash,
            peer_id,
            port,
            uploaded: 0,
            downloaded: 0,
            left: 0,
            event: Event::None,
            numwant: Some(0),
        }
    }

    /// Reads what follows the `?` of an announce URL.
    pub fn from_query(query: &str) -> Result<(AnnounceRequest, PeerForm), QueryError> {
        let (mut info_hash, mut peer_id, mut port, mut left) = (None, None, None, None);
        let (mut uploaded, mut downloaded) = (0, 0);
        let mut event = Event::None;
        let mut numwant = None;
        let mut form = PeerForm::Dictionaries;
        for (name, value) in parameters(query) {
            match name {
                "info_hash" => info_hash = Some(InfoHash(twenty_bytes("info_hash", value)?)),
                "peer_id" => peer_id = Some(PeerId(twenty_bytes("peer_id", value)?)),
                "port" => match value.parse() {
                    Ok(number @ 1..) => port = Some(number),
                    _ => return Err(QueryError::Port),
                },
                "uploaded" => uploaded = number("uploaded", value)?,
                "downloaded" => downloaded = number("downloaded", value)?,
                "left" => left = Some(number("left", value)?),
                // Unknown events exist (BEP 21's `paused`); they are regular announces to us.
                "event" => event = value.parse().unwrap_or_default(),
                // Some say -1 for "as you like".
                "numwant" if value.starts_with('-') || value.is_empty() => numwant = None,
                "numwant" => {
                    let number = number("numwant", value)?;
                    numwant = Some(u32::try_from(number).unwrap_or(u32::MAX));
                }
                "compact" if value == "1" => form = PeerForm::Compact,
                _ => {}
            }
        }
        let request = AnnounceRequest {
            info_hash: info_hash.ok_or(QueryError::Missing("info_hash"))?,
            peer_id: peer_id.ok_or(QueryError::Missing("peer_id"))?,
            port: port.ok_or(QueryError::Missing("port"))?,
            uploaded,
            downloaded,
            left: left.ok_or(QueryError::Missing("left"))?,
            event,
            numwant,
        };
        Ok((request, form))
    }

    /// The URL to fetch, made from a torrent's announce URL; a query that it has stays (private
    /// trackers keep the user's key there).
    pub fn to_url(&self, announce: &str) -> String {
        let mut url = extend(announce);
        url += &format!(
            "info_hash={}&peer_id={}&port={}&uploaded={}&downloaded={}&left={}&compact=1",
            percent_encode(&self.info_hash.0, ESCAPED),
            percent_encode(&self.peer_id.0, ESCAPED),
            self.port,
            self.uploaded,
            self.downloaded,
            self.left
        );
        if self.event != Event::None {
            url += &format!("&event={}", self.event);
        }
        if let Some(numwant) = self.numwant {
            url += &format!("&numwant={numwant}");
        }
        url
    }
}

/// The URL without its fragment, ready for more parameters.
pub(super) fn extend(url: &str) -> String {
    let url = url.split('#').next().unwrap_or(url);
    let joint = match url.split_once('?') {
        None => "?",
        Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
        Some(_) => "&",
    };
    format!("{url}{joint}")
}

/// Names and values of a query, values as they were sent.
pub(super) fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query
        .split('&')
        .map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
}

/// The 20 bytes that a value stands for, whatever it escapes.
pub(super) fn twenty_bytes(parameter: &'static str, value: &str) -> Result<[u8; 20], QueryError> {
    let mut bytes = [0; 20];
    let mut got = 0;
    for byte in percent_decode(value.as_bytes()) {
        if let Some(place) = bytes.get_mut(got) {
            *place = byte;
        }
        got += 1;
    }
    if got == 20 {
        Ok(bytes)
    } else {
        Err(QueryError::Length { parameter, got })
    }
}

fn number(parameter: &'static str, value: &str) -> Result<u64, QueryError> {
    value.parse().map_err(|_| QueryError::NotANumber(parameter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str =
        "info_hash=%00aaaaaaaaaaaaaaaaaa%ff&peer_id=-mb0100-abcdefghijkl&port=6881&left=5";

    fn query_of(url: &str) -> &str {
        url.split_once('?').unwrap().1
    }

    #[test]
    fn reads_what_clients_send() {
        let query = format!(
            "{GOOD}&uploaded=1&downloaded=2&event=started&numwant=9&compact=1&key=x&ip=9.9.9.9&supportcrypto=1&x"
        );
        let (request, form) = AnnounceRequest::from_query(&query).unwrap();
        assert_eq!(form, PeerForm::Compact);
        let mut hash = [b'a'; 20];
        (hash[0], hash[19]) = (0, 0xff);
        let expect = AnnounceRequest {
            info_hash: InfoHash(hash),
            peer_id: PeerId(*b"-mb0100-abcdefghijkl"),
            port: 6881,
            uploaded: 1,
            downloaded: 2,
            left: 5,
            event: Event::Started,
            numwant: Some(9),
        };
        assert_eq!(request, expect);
    }

    #[test]
    fn is_lenient_where_clients_differ() {
        for (extra, event, numwant) in [
            ("", Event::None, None),
            ("&event=", Event::None, None),
            ("&event=paused", Event::None, None),
            ("&numwant=-1", Event::None, None),
            ("&numwant=0&event=stopped", Event::Stopped, Some(0)),
            ("&numwant=99999999999", Event::None, Some(u32::MAX)),
        ] {
            let query = format!("{GOOD}{extra}");
            let (request, form) = AnnounceRequest::from_query(&query).unwrap();
            assert_eq!(
                (request.event, request.numwant),
                (event, numwant),
                "{extra}"
            );
            assert_eq!(form, PeerForm::Dictionaries);
        }
    }

    #[test]
    fn refusals_name_the_parameter() {
        let check = |query: &str, expect: &str| {
            let error = AnnounceRequest::from_query(query).unwrap_err();
            assert_eq!(error.to_string(), expect, "{query}");
        };
        check("", "`info_hash` is missing");
        check("info_hash=abc", "`info_hash` has 3 bytes, 20 are right");
        let long = "a".repeat(5000);
        check(
            &format!("info_hash={long}"),
            "`info_hash` has 5000 bytes, 20 are right",
        );
        for name in ["info_hash", "peer_id", "port", "left"] {
            let others = GOOD.split('&').filter(|p| !p.starts_with(name));
            let query = others.collect::<Vec<_>>().join("&");
            check(&query, &format!("`{name}` is missing"));
        }
        for port in ["0", "65536", "-1", "x", ""] {
            check(&format!("port={port}"), "`port` is not a port (1 to 65535)");
        }
        check("left=-1", "`left` is not a number");
        check("uploaded=1e3", "`uploaded` is not a number");
    }

    #[test]
    fn the_query_of_the_announce_url_stays() {
        let (request, _) = AnnounceRequest::from_query(GOOD).unwrap();
        for (url, expect) in [
            ("http://t/announce", "http://t/announce?info_hash=%00aaa"),
            ("http://t/a?", "http://t/a?info_hash=%00aaa"),
            ("http://t/a?key=1", "http://t/a?key=1&info_hash=%00aaa"),
            ("http://t/a?key=1#x", "http://t/a?key=1&info_hash=%00aaa"),
        ] {
            let got = request.to_url(url);
            assert!(got.starts_with(expect), "{got}");
            let back = AnnounceRequest::from_query(query_of(&got)).unwrap();
            assert_eq!(back, (request, PeerForm::Compact));
        }
    }

    #[test]
    fn truncations_are_no_panics() {
        for cut in 0..GOOD.len() {
            let _ = AnnounceRequest::from_query(&GOOD[..cut]);
        }
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(
            hash: [u8; 20], id: [u8; 20], port in 1u16.., numbers: [u64; 3], numwant: Option<u32>,
        ) {
            let request = AnnounceRequest {
                info_hash: InfoHash(hash),
                peer_id: PeerId(id),
                port,
                uploaded: numbers[0],
                downloaded: numbers[1],
                left: numbers[2],
                event: Event::Completed,
                numwant,
            };
            let url = request.to_url("http://t/announce");
            let back = AnnounceRequest::from_query(query_of(&url));
            prop_assert_eq!(back, Ok((request, PeerForm::Compact)));
        }
    }
}
