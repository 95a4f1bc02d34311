//! A scrape (BEP 48): how many peers some torrents have, without asking for any of them.

use percent_encoding::percent_encode;

use crate::torrent::bencode::{Encoder, Value};
use crate::torrent::id::InfoHash;

use super::request::{ESCAPED, QueryError, extend, parameters, twenty_bytes};
use super::response::{ResponseError, check_answer};

/// The most torrents in one scrape: what fits into a request of 8 KiB.
pub const MAX_TORRENTS: usize = 100;

/// Which torrents. Asking for all that a tracker has is not possible here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrapeRequest {
    pub info_hashes: Vec<InfoHash>,
}

/// How a torrent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// How many peers have everything.
    pub complete: u32,
    /// How many peers lack something.
    pub incomplete: u32,
    /// How many peers have ever finished.
    pub downloaded: u32,
}

/// The torrents that the tracker knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrapeResponse {
    pub files: Vec<(InfoHash, Counts)>,
}

impl ScrapeRequest {
    /// Reads what follows the `?` of a scrape URL.
    pub fn from_query(query: &str) -> Result<ScrapeRequest, QueryError> {
        let mut info_hashes = Vec::new();
        for (name, value) in parameters(query) {
            if name != "info_hash" {
                continue;
            }
            if info_hashes.len() == MAX_TORRENTS {
                return Err(QueryError::TooMany(MAX_TORRENTS));
            }
            info_hashes.push(InfoHash(twenty_bytes("info_hash", value)?));
        }
        if info_hashes.is_empty() {
            return Err(QueryError::Missing("info_hash"));
        }
        Ok(ScrapeRequest { info_hashes })
    }

    /// The URL to fetch, or `None` if the tracker's announce URL does not tell it: the last part
    /// of its path must begin with `announce`, which becomes `scrape`.
    pub fn to_url(&self, announce: &str) -> Option<String> {
        let path_end = announce.find(['?', '#']).unwrap_or(announce.len());
        let (path, query) = announce.split_at(path_end);
        let (folder, last) = path.rsplit_once('/')?;
        let after = last.strip_prefix("announce")?;
        let mut url = extend(&format!("{folder}/scrape{after}{query}"));
        for (i, hash) in self.info_hashes.iter().enumerate() {
            let joint = if i == 0 { "" } else { "&" };
            let hash = percent_encode(&hash.0, ESCAPED);
            url += &format!("{joint}info_hash={hash}");
        }
        Some(url)
    }
}

impl ScrapeResponse {
    pub fn encode(&self) -> Vec<u8> {
        let mut files = self.files.clone();
        // Dictionary keys are sorted, and none is there twice.
        files.sort_unstable_by_key(|(hash, _)| *hash);
        files.dedup_by_key(|(hash, _)| *hash);
        let mut out = Encoder::new();
        out.dict(|answer| {
            answer.text("files").dict(|list| {
                for (hash, counts) in &files {
                    list.bytes(&hash.0).dict(|entry| {
                        entry.text("complete").int(counts.complete.into());
                        entry.text("downloaded").int(counts.downloaded.into());
                        entry.text("incomplete").int(counts.incomplete.into());
                    });
                }
            });
        });
        out.finish()
    }

    /// Reads any tracker's answer. Entries that are malformed are left out.
    pub fn decode(bytes: &[u8]) -> Result<ScrapeResponse, ResponseError> {
        let (answer, _trailing) = Value::parse_prefix(bytes)?;
        check_answer(answer)?;
        let wrong = ResponseError::Key {
            key: "files",
            reason: "is not a dictionary",
        };
        let entries = answer.get("files").and_then(|files| files.dict());
        let entry = |(hash, counts): (&[u8], Value<'_>)| {
            let number = |key: &str| {
                let value = counts.get(key)?.int()?;
                u32::try_from(value).ok()
            };
            let counts = Counts {
                complete: number("complete")?,
                incomplete: number("incomplete")?,
                downloaded: number("downloaded").unwrap_or(0),
            };
            Some((InfoHash(hash.try_into().ok()?), counts))
        };
        let files = entries.ok_or(wrong)?.filter_map(entry);
        Ok(ScrapeResponse {
            files: files.take(MAX_TORRENTS).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let request = ScrapeRequest {
            info_hashes: vec![InfoHash([1; 20]), InfoHash(*b"&=?#% abcdefghijklmn")],
        };
        let url = request.to_url("http://t/x/announce.php?key=1").unwrap();
        let (path, query) = url.split_once('?').unwrap();
        assert_eq!(path, "http://t/x/scrape.php");
        assert!(query.starts_with("key=1&info_hash=%01%01"));
        assert_eq!(ScrapeRequest::from_query(query), Ok(request.clone()));
        for url in ["http://t/a", "http://t/announce/x", "announce"] {
            assert_eq!(request.to_url(url), None, "{url}");
        }

        let counts = Counts {
            complete: 1,
            incomplete: 2,
            downloaded: 3,
        };
        let response = ScrapeResponse {
            files: vec![
                (InfoHash([1; 20]), counts),
                (InfoHash([2; 20]), Counts::default()),
            ],
        };
        let bytes = response.encode();
        assert_eq!(ScrapeResponse::decode(&bytes), Ok(response));
        for cut in 0..bytes.len() {
            assert!(ScrapeResponse::decode(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn refuses_all_and_too_many() {
        let refused = |query: &str| ScrapeRequest::from_query(query).unwrap_err().to_string();
        assert_eq!(refused(""), "`info_hash` is missing");
        assert_eq!(
            refused("info_hash=x"),
            "`info_hash` has 1 bytes, 20 are right"
        );
        let one = "info_hash=aaaaaaaaaaaaaaaaaaaa&";
        assert_eq!(
            refused(&one.repeat(101)),
            "more than 100 torrents in one scrape"
        );
        assert!(ScrapeResponse::decode(b"de").is_err());
    }
}
