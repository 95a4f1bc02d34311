//! A request that was answered: who sends it again, to whichever tracker, is answered the same.

use std::collections::{HashMap, VecDeque};

use crate::control::reply::Uploaded;
use crate::control::request_id::RequestId;
use crate::control::stamp::{GroupId, Stamp, UserId};
use crate::torrent::bencode::{Encoder, Value};

use super::change::Done;

/// How many answers are remembered. Nobody sends a request again after so many others.
pub const MAX_ANSWERED: usize = 10_000;

/// What came of a request, and the stamp of the last fact that came of it: so an answer is passed
/// on in order with the facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered {
    pub id: RequestId,
    pub done: Done,
    pub stamp: Stamp,
}

/// The last answers.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    by_id: HashMap<RequestId, Done>,
    order: VecDeque<RequestId>,
}

impl Answers {
    pub fn get(&self, id: &RequestId) -> Option<Done> {
        self.by_id.get(id).copied()
    }

    /// False if it was known.
    pub fn put(&mut self, answered: &Answered) -> bool {
        if self.by_id.contains_key(&answered.id) {
            return false;
        }
        self.by_id.insert(answered.id, answered.done);
        self.order.push_back(answered.id);
        if self.order.len() > MAX_ANSWERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_id.remove(&oldest);
        }
        true
    }
}

impl Answered {
    pub fn encode_into(&self, out: &mut Encoder) {
        out.list(|out| {
            out.bytes(&self.id.0).text(&self.stamp.to_string());
            out.text(&self.done.to_words());
        });
    }

    pub fn decode(value: Value<'_>) -> Option<Answered> {
        let mut fields = value.list()?;
        let id = RequestId(fields.next()?.bytes()?.try_into().ok()?);
        let stamp = fields.next()?.text()?.parse().ok()?;
        let done = Done::from_words(fields.next()?.text()?)?;
        fields
            .next()
            .is_none()
            .then_some(Answered { id, done, stamp })
    }
}

impl Done {
    /// As it is kept and passed on.
    pub fn to_words(self) -> String {
        match self {
            Done::UserCreated(user) => format!("user_created {user}"),
            Done::PasswordSet(stamp) => format!("password_set {stamp}"),
            Done::GroupCreated(group) => format!("group_created {group}"),
            Done::Requested => "requested".into(),
            Done::Left => "left".into(),
            Done::GroupDeleted => "group_deleted".into(),
            Done::Accepted => "accepted".into(),
            Done::Rejected => "rejected".into(),
            Done::Offered(Uploaded::Shared) => "offered shared".into(),
            Done::Offered(Uploaded::Joined) => "offered joined".into(),
            Done::Offered(Uploaded::Replaced) => "offered replaced".into(),
            Done::Withdrawn => "withdrawn".into(),
            Done::Completed => "completed".into(),
        }
    }

    pub fn from_words(words: &str) -> Option<Done> {
        let (kind, rest) = words.split_once(' ').unwrap_or((words, ""));
        Some(match (kind, rest) {
            ("user_created", id) => Done::UserCreated(UserId(id.parse().ok()?)),
            ("password_set", stamp) => Done::PasswordSet(stamp.parse().ok()?),
            ("group_created", id) => Done::GroupCreated(GroupId(id.parse().ok()?)),
            ("requested", "") => Done::Requested,
            ("left", "") => Done::Left,
            ("group_deleted", "") => Done::GroupDeleted,
            ("accepted", "") => Done::Accepted,
            ("rejected", "") => Done::Rejected,
            ("offered", "shared") => Done::Offered(Uploaded::Shared),
            ("offered", "joined") => Done::Offered(Uploaded::Joined),
            ("offered", "replaced") => Done::Offered(Uploaded::Replaced),
            ("withdrawn", "") => Done::Withdrawn,
            ("completed", "") => Done::Completed,
            _ => return None,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn samples() -> Vec<Answered> {
        let stamp = Stamp {
            time: 0x0190_abcd_0001,
            tracker: 3,
        };
        let done = [
            Done::UserCreated(UserId(stamp)),
            Done::PasswordSet(stamp),
            Done::GroupCreated(GroupId(stamp)),
            Done::Requested,
            Done::Left,
            Done::GroupDeleted,
            Done::Accepted,
            Done::Rejected,
            Done::Offered(Uploaded::Shared),
            Done::Offered(Uploaded::Joined),
            Done::Offered(Uploaded::Replaced),
            Done::Withdrawn,
            Done::Completed,
        ];
        let numbered = done.into_iter().enumerate();
        let answered = |(i, done)| Answered {
            id: RequestId([i as u8; 16]),
            done,
            stamp,
        };
        numbered.map(answered).collect()
    }

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        for answered in samples() {
            assert_eq!(
                Done::from_words(&answered.done.to_words()),
                Some(answered.done)
            );
            let mut out = Encoder::new();
            answered.encode_into(&mut out);
            let bytes = out.finish();
            assert_eq!(
                Answered::decode(Value::parse(&bytes).unwrap()),
                Some(answered)
            );
        }
        assert_eq!(Done::from_words("left twice"), None);
    }

    #[test]
    fn the_first_answer_counts_and_the_oldest_are_forgotten() {
        let mut answers = Answers::default();
        let answered = |i: u32, done| {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&i.to_be_bytes());
            Answered {
                id: RequestId(id),
                done,
                stamp: Stamp {
                    time: 1,
                    tracker: 1,
                },
            }
        };
        assert!(answers.put(&answered(0, Done::Left)));
        assert!(!answers.put(&answered(0, Done::Accepted)));
        assert_eq!(answers.get(&answered(0, Done::Left).id), Some(Done::Left));
        (1..=MAX_ANSWERED as u32).for_each(|i| assert!(answers.put(&answered(i, Done::Left))));
        assert_eq!(answers.get(&answered(0, Done::Left).id), None);
        assert_eq!(answers.by_id.len(), MAX_ANSWERED);
    }
}
