//! The file with the facts: SQLite, one table for each kind of fact, for anybody to look at.
//!
//! Columns `stamp` order facts, columns `at` say for people when that was. What the tables mean
//! together (who owns a group, which share counts) is decided in `registry`.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, Row, ToSql, params};

use crate::control::stamp::{GroupId, Stamp, UserId};
use crate::registry::fact::{Entry, Fact, Membership, Share};
use crate::registry::facts::Facts;

/// Says in the file whose it is: "MBTf".
const APPLICATION: i32 = 0x4d42_5466;
/// Of the tables.
const VERSION: i32 = 1;
/// How long we wait for somebody who is writing with `sqlite3`.
const PATIENCE: Duration = Duration::from_secs(5);
/// How a SQLite file begins.
const MAGIC: &[u8] = b"SQLite format 3\0";

const TABLES: &str = "
CREATE TABLE users (id TEXT PRIMARY KEY, name TEXT NOT NULL, at TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE passwords (user TEXT PRIMARY KEY, hash TEXT NOT NULL,
    stamp TEXT NOT NULL, at TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE groups (id TEXT PRIMARY KEY, name TEXT NOT NULL, made_by TEXT NOT NULL,
    at TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE members (group_id TEXT NOT NULL, user TEXT NOT NULL,
    membership TEXT NOT NULL, -- requested, member, left, rejected
    joined TEXT, -- who has left was a member since then
    stamp TEXT NOT NULL, at TEXT NOT NULL, PRIMARY KEY (group_id, user)) WITHOUT ROWID;
CREATE TABLE shares (group_id TEXT NOT NULL, name TEXT NOT NULL, info_hash TEXT NOT NULL,
    size INTEGER NOT NULL, info BLOB NOT NULL, shared_by TEXT NOT NULL,
    stamp TEXT NOT NULL, at TEXT NOT NULL, PRIMARY KEY (group_id, name, info_hash));
CREATE TABLE holders (group_id TEXT NOT NULL, name TEXT NOT NULL, info_hash TEXT NOT NULL,
    user TEXT NOT NULL, holds INTEGER NOT NULL, -- 1 yes, 0 no longer
    stamp TEXT NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (group_id, name, info_hash, user)) WITHOUT ROWID;
-- To look at: names in place of ids.
CREATE VIEW who AS SELECT groups.name AS \"group\", users.name AS user, membership, members.at
    FROM members JOIN groups ON groups.id = group_id JOIN users ON users.id = user
    ORDER BY groups.name, members.at;
CREATE VIEW files AS SELECT groups.name AS \"group\", holders.name AS file, size,
    users.name AS holder, holders.at
    FROM holders JOIN shares USING (group_id, name, info_hash)
    JOIN groups ON groups.id = holders.group_id JOIN users ON users.id = holders.user
    WHERE holds ORDER BY groups.name, holders.name;
";

/// An open file of facts. Nobody else writes to it.
pub struct Database {
    path: PathBuf,
    connection: Connection,
    /// Held for as long as it is open.
    _lock: Option<File>,
}

/// Why a file of facts cannot be used. It is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error("another tracker uses {}: give each tracker its own with --db", .0.display())]
    InUse(PathBuf),
    #[error("{} is not a tracker's database: name another file with --db", .0.display())]
    Foreign(PathBuf),
    #[error("{} was written by a newer version of this program (tables of version {version}, this one knows {VERSION})", path.display())]
    Newer { path: PathBuf, version: i32 },
    #[error("{} is damaged: {reason}. Nothing was written to it; put a copy in its place, or move it away to begin anew", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error("cannot open {}: {reason}", path.display())]
    Open { path: PathBuf, reason: String },
}

impl Database {
    /// Opens a file, or makes it. Without a path: in memory, and gone with the process.
    pub fn open(path: Option<&Path>) -> Result<Database, DatabaseError> {
        let Some(path) = path else {
            let path = PathBuf::from("(in memory)");
            let connection = Connection::open_in_memory().map_err(|e| failed(&path, &e))?;
            return Database::set_up(path, connection, None);
        };
        let path = path.to_path_buf();
        let lock = claim(&path)?;
        check_magic(&path)?;
        let connection = Connection::open(&path).map_err(|error| failed(&path, &error))?;
        Database::set_up(path, connection, Some(lock))
    }

    fn set_up(
        path: PathBuf,
        mut connection: Connection,
        lock: Option<File>,
    ) -> Result<Database, DatabaseError> {
        let wrong = |error: rusqlite::Error| failed(&path, &error);
        connection.busy_timeout(PATIENCE).map_err(wrong)?;
        let pragma = |connection: &Connection, name: &str| {
            connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0))
        };
        let application = pragma(&connection, "application_id").map_err(wrong)?;
        let version = pragma(&connection, "user_version").map_err(wrong)?;
        let count = "SELECT count(*) FROM sqlite_master";
        let tables: i64 = connection
            .query_row(count, [], |row| row.get(0))
            .map_err(wrong)?;
        match (application, version, tables) {
            (0, 0, 0) => create(&mut connection).map_err(wrong)?,
            (APPLICATION, VERSION, _) => check(&path, &connection)?,
            (APPLICATION, version, _) if version > VERSION => {
                return Err(DatabaseError::Newer { path, version });
            }
            _ => return Err(DatabaseError::Foreign(path)),
        }
        // Readers do not hold up the writer; and what is committed is on the disk.
        connection
            .pragma_update(None, "journal_mode", "WAL")
            .and_then(|()| connection.pragma_update(None, "synchronous", "FULL"))
            .map_err(wrong)?;
        Ok(Database {
            path,
            connection,
            _lock: lock,
        })
    }

    /// Every fact.
    pub fn load(&self) -> Result<Facts, DatabaseError> {
        let mut facts = Facts::default();
        for (table, read) in READERS {
            let mut take = |entry: Entry| {
                facts.apply(&entry);
            };
            self.read(table, *read, &mut take)?;
        }
        Ok(facts)
    }

    /// Writes the facts in one transaction: all, or none.
    pub fn write(&mut self, entries: &[Entry]) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        for entry in entries {
            write_entry(&transaction, entry)?;
        }
        transaction.commit()
    }

    fn read(
        &self,
        table: &str,
        read: fn(&Row) -> Result<Entry, RowError>,
        take: &mut dyn FnMut(Entry),
    ) -> Result<(), DatabaseError> {
        let path = || self.path.clone();
        let wrong = |error: rusqlite::Error| failed(&self.path, &error);
        let query = format!("SELECT * FROM {table}");
        let mut statement = self.connection.prepare(&query).map_err(wrong)?;
        let mut rows = statement.query([]).map_err(wrong)?;
        while let Some(row) = rows.next().map_err(wrong)? {
            let entry = read(row).map_err(|error| DatabaseError::Damaged {
                path: path(),
                reason: format!("a row of `{table}`: {error}"),
            })?;
            take(entry);
        }
        Ok(())
    }
}

/// The lock is on a file of its own: SQLite locks its own file as it likes.
fn claim(path: &Path) -> Result<File, DatabaseError> {
    let mut lock_path = path.as_os_str().to_os_string();
    lock_path.push(".lock");
    let open = |reason: std::io::Error| DatabaseError::Open {
        path: path.into(),
        reason: reason.to_string(),
    };
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(open)?;
    match fs4::FileExt::try_lock(&lock) {
        Ok(()) => Ok(lock),
        Err(fs4::TryLockError::WouldBlock) => Err(DatabaseError::InUse(path.into())),
        Err(fs4::TryLockError::Error(error)) => Err(open(error)),
    }
}

/// SQLite would take a short file for an empty one.
fn check_magic(path: &Path) -> Result<(), DatabaseError> {
    let mut beginning = Vec::new();
    let read = match File::open(path) {
        Ok(file) => file.take(MAGIC.len() as u64).read_to_end(&mut beginning),
        Err(error) => Err(error),
    };
    match read {
        Ok(0) => Ok(()),
        Ok(_) if beginning == MAGIC => Ok(()),
        Ok(_) => Err(DatabaseError::Foreign(path.into())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(DatabaseError::Open {
            path: path.into(),
            reason: error.to_string(),
        }),
    }
}

fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

fn check(path: &Path, connection: &Connection) -> Result<(), DatabaseError> {
    let answer: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| failed(path, &error))?;
    if answer == "ok" {
        return Ok(());
    }
    Err(DatabaseError::Damaged {
        path: path.into(),
        reason: answer.split_whitespace().collect::<Vec<_>>().join(" "),
    })
}

fn failed(path: &Path, error: &rusqlite::Error) -> DatabaseError {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    let (path, reason) = (path.into(), error.to_string());
    match error.sqlite_error_code() {
        Some(DatabaseCorrupt | NotADatabase) => DatabaseError::Damaged { path, reason },
        // Tables without the columns that they had.
        None if !matches!(error, rusqlite::Error::SqliteFailure(..)) => {
            DatabaseError::Damaged { path, reason }
        }
        _ => DatabaseError::Open { path, reason },
    }
}

fn write_entry(connection: &Connection, entry: &Entry) -> rusqlite::Result<()> {
    let stamp = entry.stamp.to_string();
    let seconds = i64::try_from(entry.stamp.unix_ms() / 1000).unwrap_or(i64::MAX);
    let insert = |table: &str, values: &[&dyn ToSql]| {
        let places: String = (0..values.len()).map(|i| format!("?{}, ", i + 1)).collect();
        let last = values.len() + 1;
        let query = format!(
            "INSERT OR REPLACE INTO {table} VALUES ({places}datetime(?{last}, 'unixepoch'))"
        );
        let seconds: &dyn ToSql = &seconds;
        let values = [values, &[seconds]].concat();
        connection.prepare_cached(&query)?.execute(&values[..])
    };
    match &entry.fact {
        Fact::User { id, name } => insert("users", &[&id.to_string(), &name.as_str()]),
        Fact::Password { user, hash } => insert("passwords", &[&user.to_string(), hash, &stamp]),
        Fact::Group { id, name, by } => insert(
            "groups",
            &[&id.to_string(), &name.as_str(), &by.to_string()],
        ),
        Fact::Member {
            group,
            user,
            membership,
        } => {
            let (word, joined) = match membership {
                Membership::Requested => ("requested", None),
                Membership::Member => ("member", None),
                Membership::Left { joined } => ("left", Some(joined.to_string())),
                Membership::Rejected => ("rejected", None),
            };
            let (group, user) = (group.to_string(), user.to_string());
            insert("members", &[&group, &user, &word, &joined, &stamp])
        }
        Fact::Share {
            group,
            name,
            info_hash,
            share,
        } => insert(
            "shares",
            params![
                group.to_string(),
                name.as_str(),
                info_hash.to_string(),
                // The layout of a torrent has no larger ones.
                i64::try_from(share.size).unwrap_or(i64::MAX),
                &share.info[..],
                share.by.to_string(),
                stamp
            ],
        ),
        Fact::Holder {
            group,
            name,
            info_hash,
            user,
            holds,
        } => {
            let (group, hash) = (group.to_string(), info_hash.to_string());
            let name = name.as_str();
            insert(
                "holders",
                &[&group, &name, &hash, &user.to_string(), holds, &stamp],
            )
        }
    }?;
    Ok(())
}

/// Why a row is no fact.
#[derive(Debug, thiserror::Error)]
enum RowError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("`{0}` is not right: {1}")]
    Column(&'static str, String),
}

type Reader = fn(&Row) -> Result<Entry, RowError>;

const READERS: &[(&str, Reader)] = &[
    ("users", read_user),
    ("passwords", read_password),
    ("groups", read_group),
    ("members", read_member),
    ("shares", read_share),
    ("holders", read_holder),
];

fn read_user(row: &Row) -> Result<Entry, RowError> {
    let id: UserId = parse(row, "id")?;
    let name = parse(row, "name")?;
    Ok(Entry {
        stamp: id.0,
        fact: Fact::User { id, name },
    })
}

fn read_password(row: &Row) -> Result<Entry, RowError> {
    let (user, hash) = (parse(row, "user")?, row.get("hash")?);
    stamped(row, Fact::Password { user, hash })
}

fn read_group(row: &Row) -> Result<Entry, RowError> {
    let id: GroupId = parse(row, "id")?;
    let (name, by) = (parse(row, "name")?, parse(row, "made_by")?);
    Ok(Entry {
        stamp: id.0,
        fact: Fact::Group { id, name, by },
    })
}

fn read_member(row: &Row) -> Result<Entry, RowError> {
    let word: String = row.get("membership")?;
    let membership = match word.as_str() {
        "requested" => Membership::Requested,
        "member" => Membership::Member,
        "left" => Membership::Left {
            joined: parse(row, "joined")?,
        },
        "rejected" => Membership::Rejected,
        _ => return Err(RowError::Column("membership", word)),
    };
    let (group, user) = (parse(row, "group_id")?, parse(row, "user")?);
    stamped(
        row,
        Fact::Member {
            group,
            user,
            membership,
        },
    )
}

fn read_share(row: &Row) -> Result<Entry, RowError> {
    let size: i64 = row.get("size")?;
    let info: Vec<u8> = row.get("info")?;
    let share = Share {
        size: u64::try_from(size).map_err(|_| RowError::Column("size", size.to_string()))?,
        info: info.into(),
        by: parse(row, "shared_by")?,
    };
    let fact = Fact::Share {
        group: parse(row, "group_id")?,
        name: parse(row, "name")?,
        info_hash: parse(row, "info_hash")?,
        share,
    };
    stamped(row, fact)
}

fn read_holder(row: &Row) -> Result<Entry, RowError> {
    let fact = Fact::Holder {
        group: parse(row, "group_id")?,
        name: parse(row, "name")?,
        info_hash: parse(row, "info_hash")?,
        user: parse(row, "user")?,
        holds: row.get("holds")?,
    };
    stamped(row, fact)
}

fn stamped(row: &Row, fact: Fact) -> Result<Entry, RowError> {
    let stamp: Stamp = parse(row, "stamp")?;
    Ok(Entry { stamp, fact })
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(
    row: &Row,
    column: &'static str,
) -> Result<T, RowError> {
    let text: String = row.get(column)?;
    text.parse()
        .map_err(|error| RowError::Column(column, format!("{text} {error}")))
}
