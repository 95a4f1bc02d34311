//! A tracker's answer to an announce: as a value, and as bencoding (BEP 3, 23, 7).

use std::net::{IpAddr, SocketAddr};

use crate::torrent::bencode::{BencodeError, Encoder, Value};
use crate::torrent::id::PeerId;

use super::request::PeerForm;

/// The most peers that are read from one answer; further ones are left out.
pub const MAX_PEERS: usize = 1000;

/// When a tracker does not say, in seconds: what most trackers say.
const DEFAULT_INTERVAL: u32 = 1800;
/// The longest text that is read from an answer, in characters: it is shown to a person.
const MAX_TEXT: usize = 500;

/// Peers, and when to ask again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AnnounceResponse {
    /// Seconds until the next regular announce.
    pub interval: u32,
    /// Seconds within which another announce is unwelcome.
    pub min_interval: Option<u32>,
    /// How many peers have everything.
    pub complete: u32,
    /// How many peers lack something.
    pub incomplete: u32,
    /// How many peers have ever finished, as far as the tracker knows.
    pub downloaded: Option<u32>,
    /// Something for the user to read, although the answer is good.
    pub warning: Option<String>,
    pub peers: Vec<AnnouncedPeer>,
}

/// A peer as a tracker names it. Compact answers leave the id out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AnnouncedPeer {
    pub address: SocketAddr,
    pub id: Option<PeerId>,
}

impl From<SocketAddr> for AnnouncedPeer {
    fn from(address: SocketAddr) -> AnnouncedPeer {
        AnnouncedPeer { address, id: None }
    }
}

/// Why there is no answer in an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// The tracker understood and refused.
    #[error("the tracker says: {0}")]
    Failure(String),
    #[error("the tracker's answer is {0}")]
    Bencode(#[from] BencodeError),
    #[error("the tracker's answer is not a dictionary")]
    NotADictionary,
    #[error("`{key}` in the tracker's answer {reason}")]
    Key {
        key: &'static str,
        reason: &'static str,
    },
}

/// The answer to what cannot be answered.
pub fn failure(reason: &str) -> Vec<u8> {
    let mut out = Encoder::new();
    out.dict(|answer| {
        answer.text("failure reason").text(reason);
    });
    out.finish()
}

impl AnnounceResponse {
    /// Peers of both families, each in its own list if `form` is compact.
    pub fn encode(&self, form: PeerForm) -> Vec<u8> {
        let mut out = Encoder::new();
        out.dict(|answer| {
            answer.text("complete").int(self.complete.into());
            if let Some(downloaded) = self.downloaded {
                answer.text("downloaded").int(downloaded.into());
            }
            answer.text("incomplete").int(self.incomplete.into());
            answer.text("interval").int(self.interval.into());
            if let Some(seconds) = self.min_interval {
                answer.text("min interval").int(seconds.into());
            }
            match form {
                PeerForm::Compact => self.encode_compact(answer),
                PeerForm::Dictionaries => self.encode_dictionaries(answer),
            }
            if let Some(warning) = &self.warning {
                answer.text("warning message").text(warning);
            }
        });
        out.finish()
    }

    fn encode_compact(&self, answer: &mut Encoder) {
        let (mut v4, mut v6) = (Vec::with_capacity(6 * self.peers.len()), Vec::new());
        for peer in &self.peers {
            let port = peer.address.port().to_be_bytes();
            match peer.address.ip() {
                IpAddr::V4(ip) => {
                    v4.extend_from_slice(&ip.octets());
                    v4.extend_from_slice(&port);
                }
                IpAddr::V6(ip) => {
                    v6.extend_from_slice(&ip.octets());
                    v6.extend_from_slice(&port);
                }
            }
        }
        // Clients look for `peers` even when nobody has an IPv4 address.
        answer.text("peers").bytes(&v4);
        if !v6.is_empty() {
            answer.text("peers6").bytes(&v6);
        }
    }

    fn encode_dictionaries(&self, answer: &mut Encoder) {
        answer.text("peers").list(|peers| {
            for peer in &self.peers {
                peers.dict(|entry| {
                    entry.text("ip").text(&peer.address.ip().to_string());
                    if let Some(id) = peer.id {
                        entry.text("peer id").bytes(&id.0);
                    }
                    entry.text("port").int(peer.address.port().into());
                });
            }
        });
    }

    /// Reads any tracker's answer. Bytes after its end are ignored: they occur.
    pub fn decode(bytes: &[u8]) -> Result<AnnounceResponse, ResponseError> {
        let (answer, _trailing) = Value::parse_prefix(bytes)?;
        check_answer(answer)?;
        let number = |key: &str| {
            let value = answer.get(key)?.int()?;
            u32::try_from(value).ok()
        };
        let mut peers = Vec::new();
        if let Some(value) = answer.get("peers") {
            match value.bytes() {
                Some(bytes) => read_compact::<4>("peers", bytes, &mut peers)?,
                None => read_dictionaries(value, &mut peers)?,
            }
        }
        if let Some(value) = answer.get("peers6") {
            let wrong = ResponseError::Key {
                key: "peers6",
                reason: "is not a string",
            };
            read_compact::<16>("peers6", value.bytes().ok_or(wrong)?, &mut peers)?;
        }
        Ok(AnnounceResponse {
            interval: number("interval").unwrap_or(DEFAULT_INTERVAL),
            min_interval: number("min interval"),
            complete: number("complete").unwrap_or(0),
            incomplete: number("incomplete").unwrap_or(0),
            downloaded: number("downloaded"),
            warning: answer.get("warning message").and_then(text_for_people),
            peers,
        })
    }
}

/// An answer is a dictionary, and not a refusal.
pub(super) fn check_answer(answer: Value<'_>) -> Result<(), ResponseError> {
    if answer.dict().is_none() {
        return Err(ResponseError::NotADictionary);
    }
    match answer.get("failure reason") {
        None => Ok(()),
        Some(reason) => {
            let text = text_for_people(reason).unwrap_or_else(|| "(no reason)".into());
            Err(ResponseError::Failure(text))
        }
    }
}

/// A text that came from outside and goes to a terminal.
fn text_for_people(value: Value<'_>) -> Option<String> {
    let text = String::from_utf8_lossy(value.bytes()?);
    Some(
        text.chars()
            .filter(|c| !c.is_control())
            .take(MAX_TEXT)
            .collect(),
    )
}

/// Addresses of `N` bytes, each followed by a port.
fn read_compact<const N: usize>(
    key: &'static str,
    bytes: &[u8],
    peers: &mut Vec<AnnouncedPeer>,
) -> Result<(), ResponseError>
where
    IpAddr: From<[u8; N]>,
{
    if !bytes.len().is_multiple_of(N + 2) {
        return Err(ResponseError::Key {
            key,
            reason: "has a length that is not one of whole peers",
        });
    }
    for peer in bytes.chunks_exact(N + 2) {
        let (Some((ip, port)), true) = (peer.split_first_chunk::<N>(), peers.len() < MAX_PEERS)
        else {
            break;
        };
        let port = u16::from_be_bytes([port[0], port[1]]);
        push_peer(peers, IpAddr::from(*ip), port, None);
    }
    Ok(())
}

/// Entries without a usable address are left out: some trackers name hosts there.
fn read_dictionaries(
    value: Value<'_>,
    peers: &mut Vec<AnnouncedPeer>,
) -> Result<(), ResponseError> {
    let list = value.list().ok_or(ResponseError::Key {
        key: "peers",
        reason: "is neither a string nor a list",
    })?;
    for entry in list {
        if peers.len() >= MAX_PEERS {
            break;
        }
        let ip = entry.get("ip").and_then(|ip| ip.text()?.parse().ok());
        let port = entry
            .get("port")
            .and_then(|port| port.int()?.try_into().ok());
        let id = entry
            .get("peer id")
            .and_then(|id| id.bytes()?.try_into().ok());
        if let (Some(ip), Some(port)) = (ip, port) {
            push_peer(peers, ip, port, id.map(PeerId));
        }
    }
    Ok(())
}

fn push_peer(peers: &mut Vec<AnnouncedPeer>, ip: IpAddr, port: u16, id: Option<PeerId>) {
    // Nobody listens on port 0, and nobody can be reached at "any address".
    if port != 0 && !ip.is_unspecified() && !ip.is_multicast() {
        let address = SocketAddr::new(ip.to_canonical(), port);
        peers.push(AnnouncedPeer { address, id });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> AnnounceResponse {
        let peers = ["1.2.3.4:5", "127.0.0.1:6881", "[2001:db8::1]:6881"];
        AnnounceResponse {
            interval: 120,
            min_interval: Some(10),
            complete: 1,
            incomplete: 2,
            downloaded: Some(3),
            warning: Some("slow down".into()),
            peers: peers
                .map(|a| a.parse::<SocketAddr>().unwrap().into())
                .to_vec(),
        }
    }

    fn decode(text: &str) -> String {
        match AnnounceResponse::decode(text.as_bytes()) {
            Ok(answer) => {
                let peers = answer.peers.iter().map(|peer| peer.address.to_string());
                format!(
                    "{} {}",
                    answer.interval,
                    peers.collect::<Vec<_>>().join(" ")
                )
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn reads_what_it_writes_in_both_forms() {
        for form in [PeerForm::Compact, PeerForm::Dictionaries] {
            let mut sample = sample();
            if form == PeerForm::Dictionaries {
                sample.peers[0].id = Some(PeerId(*b"-mb0100-abcdefghijkl"));
            }
            let bytes = sample.encode(form);
            assert_eq!(AnnounceResponse::decode(&bytes), Ok(sample));
        }
        let compact = AnnounceResponse::default().encode(PeerForm::Compact);
        let expect = "d8:completei0e10:incompletei0e8:intervali0e5:peers0:e";
        assert_eq!(String::from_utf8(compact).unwrap(), expect);
    }

    #[test]
    fn reads_what_other_trackers_send() {
        let check = |text: &str, expect: &str| assert_eq!(decode(text).trim(), expect, "{text}");
        check("de", "1800");
        check("d8:intervali60e5:peers0:etrailing", "60");
        check("d8:intervali-60ee", "1800");
        check(
            "d5:peersld2:ip7:1.2.3.44:porti5eed2:ip4:host4:porti5eeee",
            "1800 1.2.3.4:5",
        );
        check(
            "d5:peersld2:ip3:::14:porti5eed2:ip7:1.2.3.44:porti0eeee",
            "1800 [::1]:5",
        );
        check("d5:peersld2:ip7:1.2.3.44:porti99999eei7eee", "1800");
    }

    #[test]
    fn refuses_what_is_no_answer() {
        let check = |text: &str, expect: &str| assert_eq!(decode(text), expect, "{text}");
        check("d14:failure reason5:go\naxe", "the tracker says: goax");
        check("d14:failure reasoni5ee", "the tracker says: (no reason)");
        check("le", "the tracker's answer is not a dictionary");
        check(
            "d5:peers5:abcdee",
            "`peers` in the tracker's answer has a length that is not one of whole peers",
        );
        check(
            "d5:peersi5ee",
            "`peers` in the tracker's answer is neither a string nor a list",
        );
        check(
            "d6:peers6lee",
            "`peers6` in the tracker's answer is not a string",
        );
        check(
            "<html>",
            "the tracker's answer is not bencoding: neither a digit nor `i`, `l`, `d` at byte 0",
        );
    }

    #[test]
    fn peers_are_not_endless() {
        let many = MAX_PEERS + 10;
        let compact = format!("d5:peers{}:{}e", 6 * many, "aaaabb".repeat(many));
        let dictionaries = format!("d5:peersl{}ee", "d2:ip7:1.2.3.44:porti5ee".repeat(many));
        for text in [compact, dictionaries] {
            let answer = AnnounceResponse::decode(text.as_bytes()).unwrap();
            assert_eq!(answer.peers.len(), MAX_PEERS);
        }
    }

    #[test]
    fn every_truncation_is_an_error() {
        for form in [PeerForm::Compact, PeerForm::Dictionaries] {
            let bytes = sample().encode(form);
            for cut in 0..bytes.len() {
                assert!(
                    AnnounceResponse::decode(&bytes[..cut]).is_err(),
                    "cut at {cut}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn any_peers_survive(
            v4 in proptest::collection::vec((any::<[u8; 4]>(), 1u16..), 0..9),
            v6 in proptest::collection::vec((any::<[u8; 16]>(), 1u16..), 0..9),
        ) {
            let v4 = v4.into_iter().map(|(ip, port)| SocketAddr::new(ip.into(), port));
            let v6 = v6.into_iter().map(|(ip, port)| SocketAddr::new(ip.into(), port));
            let usable = |a: &SocketAddr| {
                let ip = a.ip();
                ip == ip.to_canonical() && !ip.is_unspecified() && !ip.is_multicast()
            };
            let peers = v4.chain(v6).filter(usable).map(AnnouncedPeer::from).collect();
            let answer = AnnounceResponse { peers, ..AnnounceResponse::default() };
            let bytes = answer.encode(PeerForm::Compact);
            prop_assert_eq!(AnnounceResponse::decode(&bytes), Ok(answer));
        }
    }
}
