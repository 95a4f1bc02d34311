//! Entries as bytes: what trackers tell each other, and what the digest is made of.
//!
//! ```text
//! l<kind><stamp><fields>e
//! ```
//!
//! A bencoded list; ids and stamps as they are shown.

use crate::control::names::FileName;
use crate::control::stamp::GroupId;
use crate::torrent::bencode::{Encoder, Value};
use crate::torrent::id::InfoHash;
use crate::torrent::metainfo::Metainfo;

use super::fact::{Entry, Fact, Membership, Share};

/// The longest password hash, in bytes: several times what Argon2 writes.
const MAX_HASH: usize = 512;

/// Why bytes are no fact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is no fact: {0}")]
pub struct EntryError(&'static str);

impl Entry {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        self.encode_into(&mut out);
        out.finish()
    }

    pub fn encode_into(&self, out: &mut Encoder) {
        let stamp = self.stamp.to_string();
        out.list(|out| match &self.fact {
            // l<user><id><name>e
            Fact::User { id, name } => {
                out.text("user").text(&id.to_string()).text(name.as_str());
            }
            // l<password><stamp><user><hash>e
            Fact::Password { user, hash } => {
                out.text("password").text(&stamp);
                out.text(&user.to_string()).text(hash);
            }
            // l<group><id><name><by>e
            Fact::Group { id, name, by } => {
                out.text("group").text(&id.to_string());
                out.text(name.as_str()).text(&by.to_string());
            }
            // l<member><stamp><group><user><membership>[joined]e
            Fact::Member {
                group,
                user,
                membership,
            } => {
                out.text("member").text(&stamp);
                out.text(&group.to_string()).text(&user.to_string());
                match membership {
                    Membership::Requested => out.text("requested"),
                    Membership::Member => out.text("member"),
                    Membership::Rejected => out.text("rejected"),
                    Membership::Left { joined } => out.text("left").text(&joined.to_string()),
                };
            }
            // l<share><stamp><group><name><info_hash><size><info><by>e
            Fact::Share {
                group,
                name,
                info_hash,
                share,
            } => {
                out.text("share").text(&stamp);
                put_file(out, *group, name, info_hash);
                out.int(i64::try_from(share.size).unwrap_or(i64::MAX));
                out.bytes(&share.info).text(&share.by.to_string());
            }
            // l<holder><stamp><group><name><info_hash><user><1 or 0>e
            Fact::Holder {
                group,
                name,
                info_hash,
                user,
                holds,
            } => {
                out.text("holder").text(&stamp);
                put_file(out, *group, name, info_hash);
                out.text(&user.to_string()).int(i64::from(*holds));
            }
        });
    }

    /// About how many bytes it has, rather more.
    pub fn size(&self) -> usize {
        match &self.fact {
            Fact::Share { share, .. } => 1024 + share.info.len(),
            _ => 1024,
        }
    }

    pub fn decode(value: Value<'_>) -> Result<Entry, EntryError> {
        let mut fields = Fields(value.list().ok_or(EntryError("a list was expected"))?);
        let kind = fields.text()?;
        let entry = match kind {
            "user" => {
                let id: crate::control::stamp::UserId = fields.parse()?;
                let name = fields.parse()?;
                Entry {
                    stamp: id.0,
                    fact: Fact::User { id, name },
                }
            }
            "group" => {
                let id: GroupId = fields.parse()?;
                let (name, by) = (fields.parse()?, fields.parse()?);
                Entry {
                    stamp: id.0,
                    fact: Fact::Group { id, name, by },
                }
            }
            _ => {
                let stamp = fields.parse()?;
                let fact = match kind {
                    "password" => fields.password()?,
                    "member" => fields.member()?,
                    "share" => fields.share()?,
                    "holder" => fields.holder()?,
                    _ => return Err(EntryError("an unknown kind")),
                };
                Entry { stamp, fact }
            }
        };
        match fields.0.next() {
            None => Ok(entry),
            Some(_) => Err(EntryError("a field too many")),
        }
    }
}

fn put_file(out: &mut Encoder, group: GroupId, name: &FileName, info_hash: &InfoHash) {
    out.text(&group.to_string()).text(name.as_str());
    out.bytes(&info_hash.0);
}

/// The fields of a fact that were not read yet.
struct Fields<I>(I);

impl<'a, I: Iterator<Item = Value<'a>>> Fields<I> {
    fn next(&mut self) -> Result<Value<'a>, EntryError> {
        self.0.next().ok_or(EntryError("a field is missing"))
    }

    fn text(&mut self) -> Result<&'a str, EntryError> {
        self.next()?.text().ok_or(EntryError("a text was expected"))
    }

    fn parse<T: std::str::FromStr>(&mut self) -> Result<T, EntryError> {
        self.text()?
            .parse()
            .map_err(|_| EntryError("a word is not right"))
    }

    fn info_hash(&mut self) -> Result<InfoHash, EntryError> {
        let bytes = self.next()?.bytes().and_then(|bytes| bytes.try_into().ok());
        bytes.map(InfoHash).ok_or(EntryError("no info hash"))
    }

    fn password(&mut self) -> Result<Fact, EntryError> {
        let (user, hash) = (self.parse()?, self.text()?.to_string());
        if hash.len() > MAX_HASH {
            return Err(EntryError("a hash that is too long"));
        }
        Ok(Fact::Password { user, hash })
    }

    fn member(&mut self) -> Result<Fact, EntryError> {
        let (group, user) = (self.parse()?, self.parse()?);
        let membership = match self.text()? {
            "requested" => Membership::Requested,
            "member" => Membership::Member,
            "rejected" => Membership::Rejected,
            "left" => Membership::Left {
                joined: self.parse()?,
            },
            _ => return Err(EntryError("an unknown membership")),
        };
        Ok(Fact::Member {
            group,
            user,
            membership,
        })
    }

    fn share(&mut self) -> Result<Fact, EntryError> {
        let (group, name, info_hash) = (self.parse()?, self.parse()?, self.info_hash()?);
        let size = self.next()?.int().and_then(|size| u64::try_from(size).ok());
        let size = size.ok_or(EntryError("no size"))?;
        let info = self.next()?.bytes().ok_or(EntryError("no torrent"))?;
        // Every tracker would hand it out to its peers.
        let metainfo = Metainfo::parse_info(info).map_err(|_| EntryError("no torrent"))?;
        if metainfo.info_hash != info_hash || metainfo.layout.total() != size {
            return Err(EntryError("another torrent than it says"));
        }
        let share = Share {
            size,
            info: info.into(),
            by: self.parse()?,
        };
        Ok(Fact::Share {
            group,
            name,
            info_hash,
            share,
        })
    }

    fn holder(&mut self) -> Result<Fact, EntryError> {
        let (group, name, info_hash) = (self.parse()?, self.parse()?, self.info_hash()?);
        let user = self.parse()?;
        let holds = match self.next()?.int() {
            Some(0) => false,
            Some(1) => true,
            _ => return Err(EntryError("neither yes nor no")),
        };
        Ok(Fact::Holder {
            group,
            name,
            info_hash,
            user,
            holds,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::control::stamp::{Stamp, UserId};
    use crate::torrent::id::PieceHash;
    use crate::torrent::layout::Layout;

    /// One of each kind.
    pub fn samples() -> Vec<Entry> {
        let stamp = |time| Stamp { time, tracker: 2 };
        let (user, group) = (UserId(stamp(1)), GroupId(stamp(2)));
        let layout = Layout::single("x".into(), 5, 1 << 14).unwrap();
        let metainfo = Metainfo::build(layout, vec![PieceHash([7; 20])], false);
        let (name, info_hash): (FileName, _) = ("a \"b\" ä".parse().unwrap(), metainfo.info_hash);
        let member = |membership| Fact::Member {
            group,
            user,
            membership,
        };
        let facts = [
            Fact::Password {
                user,
                hash: "$argon2id$v=19$x".into(),
            },
            member(Membership::Requested),
            member(Membership::Member),
            member(Membership::Rejected),
            member(Membership::Left { joined: stamp(3) }),
            Fact::Share {
                group,
                name: name.clone(),
                info_hash,
                share: Share {
                    size: 5,
                    info: metainfo.info_bytes().into(),
                    by: user,
                },
            },
            Fact::Holder {
                group,
                name: name.clone(),
                info_hash,
                user,
                holds: true,
            },
            Fact::Holder {
                group,
                name,
                info_hash,
                user,
                holds: false,
            },
        ];
        let numbered = facts.into_iter().enumerate();
        let later = numbered.map(|(i, fact)| Entry {
            stamp: stamp(10 + i as u64),
            fact,
        });
        let user = Fact::User {
            id: user,
            name: "Bob".parse().unwrap(),
        };
        let group = Fact::Group {
            id: group,
            name: "CS-1".parse().unwrap(),
            by: UserId(stamp(1)),
        };
        let first = [(1, user), (2, group)].map(|(time, fact)| Entry {
            stamp: stamp(time),
            fact,
        });
        first.into_iter().chain(later).collect()
    }

    fn decode(bytes: &[u8]) -> Result<Entry, EntryError> {
        Entry::decode(Value::parse(bytes).map_err(|_| EntryError("no bencoding"))?)
    }

    #[test]
    fn every_kind_is_read_as_it_was_written_and_nothing_that_is_cut() {
        for entry in samples() {
            let bytes = entry.encode();
            assert_eq!(decode(&bytes), Ok(entry));
            for cut in 0..bytes.len() {
                assert!(decode(&bytes[..cut]).is_err(), "cut at {cut}");
            }
            let more = [&bytes[..bytes.len() - 1], b"i1ee"].concat();
            assert!(decode(&more).is_err());
        }
    }

    #[test]
    fn a_torrent_is_what_it_says() {
        let share = samples()
            .into_iter()
            .find(|entry| matches!(entry.fact, Fact::Share { .. }));
        let mut share = share.unwrap();
        if let Fact::Share { info_hash, .. } = &mut share.fact {
            info_hash.0[0] ^= 1;
        }
        assert!(decode(&share.encode()).is_err());
    }
}
