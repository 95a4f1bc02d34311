//! The file with the facts: SQLite, one table for each kind of fact, for anybody to look at.
//!
//! Columns `stamp` order facts, columns `at` say for people when that was. What the tables mean
//! together (who owns a group, which share counts) is decided in `registry`.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Row, ToSql, params};

use crate::control::stamp::{GroupId, Stamp, UserId};
use crate::registry::answered::{Answered, Answers, MAX_ANSWERED};
use crate::registry::batch::{Batch, MAX_BYTES, MAX_FACTS};
use crate::registry::change::Done;
use crate::registry::fact::{Entry, Fact, Membership, Share};
use crate::registry::facts::Facts;
use crate::registry::versions::Versions;

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

/// What came later: a file of before gets it when it is opened.
///
/// Stamps are texts, for people. The indexes order them as stamps: the tracker, then the number
/// of digits, then the digits.
const LATER: &str = "
CREATE TABLE IF NOT EXISTS versions (tracker INTEGER PRIMARY KEY,
    stamp TEXT NOT NULL -- up to here everything of that tracker is known
    ) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS done (id TEXT PRIMARY KEY, -- of a request that was answered
    done TEXT NOT NULL, stamp TEXT NOT NULL, at TEXT NOT NULL) WITHOUT ROWID;
";

/// An open file of facts. Nobody else writes to it.
pub struct Database {
    path: PathBuf,
    connection: Connection,
    /// Held for as long as it is open.
    _lock: Option<File>,
}

/// What a file has.
#[derive(Default)]
pub struct Loaded {
    pub facts: Facts,
    pub versions: Versions,
    pub answers: Answers,
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
        let wrong = |error: rusqlite::Error| failed(&path, &error);
        let connection = connect(&path).map_err(wrong)?;
        // What a killed tracker left in the log beside the file goes into it only once the file is
        // known to be good.
        let keep = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        connection.set_db_config(keep, true).map_err(wrong)?;
        let database = Database::set_up(path.clone(), connection, Some(lock))?;
        database
            .connection
            .set_db_config(keep, false)
            .map_err(wrong)?;
        Ok(database)
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
        later(&connection).map_err(wrong)?;
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

    /// Everything.
    pub fn load(&self) -> Result<Loaded, DatabaseError> {
        let mut loaded = Loaded::default();
        for table in TABLES_OF_FACTS {
            let mut take = |entry: Entry| {
                loaded.facts.apply(&entry);
                loaded.versions.see(entry.stamp);
            };
            self.read(table.name, table.read, &mut take)?;
        }
        let mut versions = Vec::new();
        self.read("versions", |row| parse(row, "stamp"), &mut |stamp| {
            versions.push(stamp);
        })?;
        versions
            .into_iter()
            .for_each(|stamp| loaded.versions.see(stamp));
        let mut answered = Vec::new();
        self.read("done", read_answered, &mut |one| answered.push(one))?;
        answered.sort_by_key(|one| one.stamp);
        for one in answered {
            loaded.answers.put(&one);
        }
        Ok(loaded)
    }

    /// Writes a batch in one transaction: all, or nothing.
    pub fn write(&mut self, batch: &Batch) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        for entry in &batch.entries {
            write_entry(&transaction, entry)?;
        }
        for stamp in batch.versions.stamps() {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO versions VALUES (?1, ?2)")?
                .execute(params![stamp.tracker, stamp.to_string()])?;
        }
        for one in &batch.answered {
            transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO done VALUES (?1, ?2, ?3, datetime(?4, 'unixepoch'))",
                )?
                .execute(params![
                    one.id.to_string(),
                    one.done.to_words(),
                    one.stamp.to_string(),
                    seconds(one.stamp)
                ])?;
        }
        transaction.commit()
    }

    /// Forgets the answers that nobody will ask for again.
    pub fn forget_answers(&mut self) -> rusqlite::Result<()> {
        let forget = "DELETE FROM done WHERE id NOT IN (
            SELECT id FROM done ORDER BY at DESC, instr(stamp, '-') DESC, stamp DESC LIMIT ?1)";
        let most = i64::try_from(MAX_ANSWERED).unwrap_or(i64::MAX);
        self.connection.prepare_cached(forget)?.execute([most])?;
        Ok(())
    }

    /// What of `ours` whoever has heard `theirs` lacks, as much of it as is a message: of one
    /// origin, in the order of its stamps. Empty if it lacks nothing.
    pub fn after(&self, theirs: &Versions, ours: &Versions) -> Result<Batch, DatabaseError> {
        let lacking = ours
            .stamps()
            .find(|stamp| theirs.of(stamp.tracker) < stamp.time);
        let Some(last) = lacking else {
            return Ok(Batch::default());
        };
        let wrong = |error: rusqlite::Error| failed(&self.path, &error);
        let since = Stamp {
            time: theirs.of(last.tracker),
            tracker: last.tracker,
        };
        let mut statements = Vec::new();
        for table in TABLES_OF_FACTS {
            let query = ordered(table.name, table.stamp);
            statements.push(self.connection.prepare_cached(&query).map_err(wrong)?);
        }
        let query = ordered("done", "stamp");
        let mut done = self.connection.prepare_cached(&query).map_err(wrong)?;
        let text = since.to_string();
        let dash = text.find('-').map_or(0, |at| at + 1);
        let dash = i64::try_from(dash).unwrap_or(0);
        let bounds = || (i64::from(since.tracker), dash, text.as_str());
        let mut rows = Vec::new();
        for statement in &mut statements {
            rows.push(statement.query(bounds()).map_err(wrong)?);
        }
        let mut done = done.query(bounds()).map_err(wrong)?;
        let damaged = |table: &str, error: RowError| DatabaseError::Damaged {
            path: self.path.clone(),
            reason: format!("a row of `{table}`: {error}"),
        };
        // One entry of each table at a time: the torrents among them may be large.
        let mut heads = Vec::new();
        let mut next = |place: usize| {
            let table = &TABLES_OF_FACTS[place];
            let row = rows[place].next().map_err(wrong)?;
            let entry = row.map(table.read).transpose();
            entry.map_err(|error| damaged(table.name, error))
        };
        for place in 0..TABLES_OF_FACTS.len() {
            heads.push(next(place)?);
        }
        let mut batch = Batch::default();
        let mut bytes = 0;
        let least = |heads: &[Option<Entry>]| {
            let stamps = heads.iter().enumerate();
            let stamps = stamps.filter_map(|(place, head)| Some((head.as_ref()?.stamp, place)));
            stamps.min()
        };
        while let Some((_, place)) = least(&heads) {
            let size = heads[place].as_ref().map_or(0, Entry::size);
            let full = batch.entries.len() >= MAX_FACTS || bytes + size > MAX_BYTES;
            if full && !batch.entries.is_empty() {
                break;
            }
            bytes += size;
            batch.entries.extend(heads[place].take());
            heads[place] = next(place)?;
        }
        let cut = least(&heads).is_some();
        // With the last of them, what was superseded before is known to be so.
        let until = match batch.entries.last() {
            Some(entry) if cut => entry.stamp,
            _ => last,
        };
        batch.versions.see(until);
        while let Some(row) = done.next().map_err(wrong)? {
            let one = read_answered(row).map_err(|error| damaged("done", error))?;
            if one.stamp > until || batch.answered.len() == MAX_FACTS {
                break;
            }
            batch.answered.push(one);
        }
        Ok(batch)
    }

    fn read<T>(
        &self,
        table: &str,
        read: fn(&Row) -> Result<T, RowError>,
        take: &mut dyn FnMut(T),
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

/// SQLite would take a short file for an empty one. A new one is made for our eyes only: there
/// are hashes of passwords in it.
fn check_magic(path: &Path) -> Result<(), DatabaseError> {
    let mut beginning = Vec::new();
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let read = match options.open(path) {
        Ok(file) => file.take(MAGIC.len() as u64).read_to_end(&mut beginning),
        Err(error) => Err(error),
    };
    match read {
        Ok(0) => Ok(()),
        Ok(_) if beginning == MAGIC => Ok(()),
        Ok(_) => Err(DatabaseError::Foreign(path.into())),
        Err(error) => Err(DatabaseError::Open {
            path: path.into(),
            reason: error.to_string(),
        }),
    }
}

#[cfg(not(windows))]
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    Connection::open(path)
}

/// SQLite does not take a path of more than 260 characters on Windows, unless it is told to and the
/// path is in the form that has no limit.
#[cfg(windows)]
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    use std::path::{Component, Prefix};
    let mut path = std::path::absolute(path).unwrap_or_else(|_| path.into());
    if let Some(Component::Prefix(prefix)) = path.components().next()
        && let Prefix::Disk(_) = prefix.kind()
    {
        let mut verbatim = std::ffi::OsString::from(r"\\?\");
        verbatim.push(path);
        path = verbatim.into();
    }
    Connection::open_with_flags_and_vfs(path, rusqlite::OpenFlags::default(), c"win32-longpath")
}

fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

fn later(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(LATER)?;
    let facts = TABLES_OF_FACTS
        .iter()
        .map(|table| (table.name, table.stamp));
    for (table, stamp) in facts.chain([("done", "stamp")]) {
        let order = order(stamp);
        connection.execute_batch(&format!(
            "CREATE INDEX IF NOT EXISTS {table}_order ON {table} ({}, {order})",
            origin(stamp)
        ))?;
    }
    Ok(())
}

/// The rows of one tracker after a stamp, in the order of their stamps.
fn ordered(table: &str, stamp: &str) -> String {
    let (origin, order) = (origin(stamp), order(stamp));
    format!("SELECT * FROM {table} WHERE {origin} = ?1 AND ({order}) > (?2, ?3) ORDER BY {order}")
}

/// The tracker of a stamp.
fn origin(stamp: &str) -> String {
    format!("CAST(substr({stamp}, instr({stamp}, '-') + 1) AS INTEGER)")
}

/// What orders the stamps of one tracker.
fn order(stamp: &str) -> String {
    format!("instr({stamp}, '-'), {stamp}")
}

fn seconds(stamp: Stamp) -> i64 {
    i64::try_from(stamp.unix_ms() / 1000).unwrap_or(i64::MAX)
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
    let seconds = seconds(entry.stamp);
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

/// A table of facts.
struct Table {
    name: &'static str,
    /// The column with the stamp.
    stamp: &'static str,
    read: fn(&Row) -> Result<Entry, RowError>,
}

const fn table(
    name: &'static str,
    stamp: &'static str,
    read: fn(&Row) -> Result<Entry, RowError>,
) -> Table {
    Table { name, stamp, read }
}

const TABLES_OF_FACTS: &[Table] = &[
    table("users", "id", read_user),
    table("passwords", "stamp", read_password),
    table("groups", "id", read_group),
    table("members", "stamp", read_member),
    table("shares", "stamp", read_share),
    table("holders", "stamp", read_holder),
];

fn read_answered(row: &Row) -> Result<Answered, RowError> {
    let words: String = row.get("done")?;
    let done = Done::from_words(&words).ok_or(RowError::Column("done", words))?;
    let (id, stamp) = (parse(row, "id")?, parse(row, "stamp")?);
    Ok(Answered { id, done, stamp })
}

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
