//! What one tracker tells another at once: facts, the answers that belong to them, and how far
//! whoever takes them in will then have heard of each origin.
//!
//! ```text
//! d 8:answered l…e 5:facts l…e 8:versions l<stamp>…e e
//! ```
//!
//! The versions say more than the facts: a fact that was superseded is not passed on, and must
//! not be asked for again for ever.

use crate::control::stamp::Stamp;
use crate::control::tracker_info::MAX_TRACKERS;
use crate::torrent::bencode::{Encoder, Value};

use super::answered::Answered;
use super::entry::EntryError;
use super::fact::Entry;
use super::versions::Versions;

/// The most facts in one message. (Its bytes have their limit, too: `control::frame`.)
pub const MAX_FACTS: usize = 4096;

/// About how many bytes of facts are in one message, unless one of them has more.
pub const MAX_BYTES: usize = 1024 * 1024;

/// How far ahead of this machine's clock a stamp may be, in milliseconds: a day. Time zones that
/// were set wrongly do no harm; a clock that is years ahead would carry all others along.
pub const MAX_AHEAD: u64 = 24 * 3600 * 1000;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    pub entries: Vec<Entry>,
    pub answered: Vec<Answered>,
    pub versions: Versions,
}

/// Why bytes are no batch, or not one to be taken in. For people on both sides.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("it is no list of facts")]
    Malformed,
    #[error("more than {MAX_FACTS} facts in one message")]
    TooMany,
    #[error(transparent)]
    Entry(#[from] EntryError),
    #[error(
        "the stamp {0} is more than a day ahead of this machine's clock: set the clocks of both \
         machines"
    )]
    Future(Stamp),
    #[error("the stamp {0} is of a tracker that is not in tracker_info.txt")]
    UnknownTracker(Stamp),
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.answered.is_empty() && self.versions.is_empty()
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.dict(|out| {
            let answered = |out: &mut Encoder| {
                self.answered.iter().for_each(|one| one.encode_into(out));
            };
            let facts = |out: &mut Encoder| {
                self.entries.iter().for_each(|entry| entry.encode_into(out));
            };
            let versions = |out: &mut Encoder| {
                self.versions.stamps().for_each(|stamp| {
                    out.text(&stamp.to_string());
                });
            };
            out.text("answered").list(answered);
            out.text("facts").list(facts);
            out.text("versions").list(versions);
        });
        out.finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<Batch, BatchError> {
        let batch = Value::parse(bytes).map_err(|_| BatchError::Malformed)?;
        let list = |key| {
            let list = batch.get(key).and_then(|list| list.list());
            list.ok_or(BatchError::Malformed)
        };
        let mut entries = Vec::new();
        for value in list("facts")? {
            if entries.len() == MAX_FACTS {
                return Err(BatchError::TooMany);
            }
            entries.push(Entry::decode(value)?);
        }
        let answered = list("answered")?.take(MAX_FACTS).map(Answered::decode);
        let versions = list("versions")?.take(MAX_TRACKERS);
        let versions = versions.map(|stamp| stamp.text()?.parse::<Stamp>().ok());
        Ok(Batch {
            entries,
            answered: answered
                .collect::<Option<_>>()
                .ok_or(BatchError::Malformed)?,
            versions: versions
                .collect::<Option<_>>()
                .ok_or(BatchError::Malformed)?,
        })
    }

    /// The same as messages that are not too long. Only the last of them says how far it goes:
    /// if the others are lost, they are asked for again.
    pub fn split(mut self) -> Vec<Batch> {
        let mut pieces = vec![Batch::default()];
        let mut bytes = 0;
        for entry in std::mem::take(&mut self.entries) {
            let last = pieces.last().map_or(0, |piece| piece.entries.len());
            bytes += entry.size();
            if last > 0 && (last == MAX_FACTS || bytes > MAX_BYTES) {
                pieces.push(Batch::default());
                bytes = entry.size();
            }
            if let Some(piece) = pieces.last_mut() {
                piece.entries.push(entry);
            }
        }
        for answered in std::mem::take(&mut self.answered) {
            if pieces
                .last()
                .is_some_and(|piece| piece.answered.len() == MAX_FACTS)
            {
                pieces.push(Batch::default());
            }
            if let Some(piece) = pieces.last_mut() {
                piece.answered.push(answered);
            }
        }
        if let Some(piece) = pieces.last_mut() {
            piece.versions = self.versions;
        }
        pieces
    }

    /// Whether it may be taken in. `trackers` is how many there are, `unix_ms` the time.
    pub fn check(&self, trackers: usize, unix_ms: u64) -> Result<(), BatchError> {
        let stamps = self.entries.iter().map(|entry| entry.stamp);
        let of_answers = self.answered.iter().map(|one| one.stamp);
        for stamp in stamps.chain(of_answers).chain(self.versions.stamps()) {
            if stamp.unix_ms() > unix_ms.saturating_add(MAX_AHEAD) {
                return Err(BatchError::Future(stamp));
            }
            if stamp.tracker == 0 || usize::from(stamp.tracker) > trackers {
                return Err(BatchError::UnknownTracker(stamp));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{answered, entry};

    fn sample() -> Batch {
        let entries = entry::tests::samples();
        Batch {
            versions: entries.iter().map(|entry| entry.stamp).collect(),
            answered: answered::tests::samples(),
            entries,
        }
    }

    #[test]
    fn a_batch_is_read_as_it_was_written_and_not_when_it_is_cut() {
        let batch = sample();
        let bytes = batch.encode();
        assert_eq!(Batch::decode(&bytes), Ok(batch));
        for cut in 0..bytes.len() {
            assert!(Batch::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        let empty = Batch::default();
        assert_eq!(Batch::decode(&empty.encode()), Ok(empty));
    }

    #[test]
    fn stamps_of_the_far_future_and_of_strangers_are_refused_in_words() {
        let check = |stamp: Stamp, trackers| {
            let versions = [stamp].into_iter().collect();
            let batch = Batch {
                versions,
                ..Batch::default()
            };
            let checked = batch.check(trackers, 1_000_000);
            checked.map_err(|error| error.to_string())
        };
        let at = |unix_ms: u64| Stamp {
            time: unix_ms << 16,
            tracker: 2,
        };
        assert_eq!(check(at(1_000_000 + MAX_AHEAD), 2), Ok(()));
        let late = check(at(1_000_001 + MAX_AHEAD), 2).unwrap_err();
        assert!(late.contains("more than a day ahead"), "{late}");
        let stranger = check(at(5), 1).unwrap_err();
        assert!(stranger.contains("not in tracker_info.txt"), "{stranger}");
        assert_eq!(sample().check(3, u64::MAX), Ok(()));
    }
}
