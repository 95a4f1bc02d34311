//! What a tracker's database says, read while the tracker runs, and what follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::{Connection, OpenFlags, Row};

use mini_bittorrent::control::stamp::Stamp;

use super::history::Millis;

/// Every fact, by its key. Ids are the stamps of creations; the order of stamps is theirs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The name of a user.
    pub users: BTreeMap<Stamp, String>,
    /// The hash, of a user.
    pub passwords: BTreeMap<Stamp, (Stamp, String)>,
    /// Name and maker.
    pub groups: BTreeMap<Stamp, (String, Stamp)>,
    /// How a user stands to a group.
    pub members: BTreeMap<(Stamp, Stamp), (Stamp, String)>,
    /// Who has shared a torrent, by group, name and info hash.
    pub shares: BTreeMap<Torrent, (Stamp, Stamp)>,
    /// Whether a user has it.
    pub holders: BTreeMap<(Torrent, Stamp), (Stamp, bool)>,
}

/// Group, name, info hash.
pub type Torrent = (Stamp, String, String);

/// Up to where a tracker knows everything of each tracker.
pub type Heard = BTreeMap<u16, Stamp>;

pub fn millis(stamp: Stamp) -> Millis {
    stamp.unix_ms()
}

impl Ledger {
    pub fn read(path: &Path) -> rusqlite::Result<Ledger> {
        let file = open(path)?;
        Ok(Ledger {
            users: rows(&file, "SELECT id, name FROM users", |row| {
                Ok((stamp(row, 0)?, row.get(1)?))
            })?,
            passwords: rows(&file, "SELECT user, stamp, hash FROM passwords", |row| {
                Ok((stamp(row, 0)?, (stamp(row, 1)?, row.get(2)?)))
            })?,
            groups: rows(&file, "SELECT id, name, made_by FROM groups", |row| {
                Ok((stamp(row, 0)?, (row.get(1)?, stamp(row, 2)?)))
            })?,
            members: rows(
                &file,
                "SELECT group_id, user, stamp, membership FROM members",
                |row| {
                    let key = (stamp(row, 0)?, stamp(row, 1)?);
                    Ok((key, (stamp(row, 2)?, row.get(3)?)))
                },
            )?,
            shares: rows(
                &file,
                "SELECT group_id, name, info_hash, stamp, shared_by FROM shares",
                |row| Ok((torrent(row)?, (stamp(row, 3)?, stamp(row, 4)?))),
            )?,
            holders: rows(
                &file,
                "SELECT group_id, name, info_hash, user, stamp, holds FROM holders",
                |row| {
                    let key = (torrent(row)?, stamp(row, 3)?);
                    Ok((key, (stamp(row, 4)?, row.get::<_, i64>(5)? != 0)))
                },
            )?,
        })
    }

    pub fn user(&self, id: Stamp) -> &str {
        self.users.get(&id).map_or("", String::as_str)
    }

    /// The name that the group was made with.
    pub fn group(&self, id: Stamp) -> &str {
        self.groups.get(&id).map_or("", |(name, _)| name)
    }

    /// The members in the order in which they joined: the first one owns the group.
    pub fn members_of(&self, group: Stamp) -> Vec<Stamp> {
        let rows = self.members.range((group, LEAST)..);
        let rows = rows.take_while(|((of, _), _)| *of == group);
        let mut members: Vec<(Stamp, Stamp)> = rows
            .filter(|(_, (_, standing))| standing == "member")
            .map(|((_, user), (since, _))| (*since, *user))
            .collect();
        members.sort_unstable();
        members.into_iter().map(|(_, user)| user).collect()
    }

    /// By which name everybody knows a user: the earliest has the name itself.
    pub fn shown_users(&self) -> BTreeMap<Stamp, String> {
        numbered(self.users.iter().map(|(id, name)| (*id, name.as_str())))
    }

    /// The same for the groups that live.
    pub fn shown_groups(&self) -> BTreeMap<Stamp, String> {
        let living = self
            .groups
            .iter()
            .filter(|(id, _)| !self.members_of(**id).is_empty());
        numbered(living.map(|(id, (name, _))| (*id, name.as_str())))
    }

    /// The info hashes of what members of a group hold.
    pub fn files_of(&self, group: Stamp) -> BTreeSet<String> {
        let members = self.members_of(group);
        let held = self
            .holders
            .iter()
            .filter(|(((of, ..), user), (_, holds))| {
                *of == group && *holds && members.contains(user)
            });
        held.map(|((torrent, _), _)| torrent)
            .filter(|torrent| self.shares.contains_key(*torrent))
            .map(|(_, _, info_hash)| info_hash.clone())
            .collect()
    }
}

const LEAST: Stamp = Stamp {
    time: 0,
    tracker: 0,
};

/// What a tracker has heard of, for somebody who wants to delete its database.
pub fn heard(path: &Path) -> rusqlite::Result<Heard> {
    rows(&open(path)?, "SELECT tracker, stamp FROM versions", |row| {
        Ok((row.get(0)?, stamp(row, 1)?))
    })
}

fn numbered<'a>(named: impl Iterator<Item = (Stamp, &'a str)>) -> BTreeMap<Stamp, String> {
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    let mut shown = BTreeMap::new();
    for (id, name) in named {
        let number = taken.entry(name.to_ascii_lowercase()).or_default();
        *number += 1;
        let name = match number {
            1 => name.to_string(),
            number => format!("{name}~{number}"),
        };
        shown.insert(id, name);
    }
    shown
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let file = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    file.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(file)
}

fn rows<K: Ord, V>(
    file: &Connection,
    query: &str,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<(K, V)>,
) -> rusqlite::Result<BTreeMap<K, V>> {
    file.prepare(query)?
        .query_map([], |row| read(row))?
        .collect()
}

fn torrent(row: &Row<'_>) -> rusqlite::Result<Torrent> {
    Ok((stamp(row, 0)?, row.get(1)?, row.get(2)?))
}

fn stamp(row: &Row<'_>, column: usize) -> rusqlite::Result<Stamp> {
    let text: String = row.get(column)?;
    text.parse().map_err(|_| rusqlite::Error::InvalidQuery)
}
