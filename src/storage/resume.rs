//! What is remembered about one torrent between two runs, as bencoded bytes; and when to
//! believe it. Pure: values in, values out.
//!
//! Not here: where the bytes are kept ([`super::folder`]).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::FileStamp;
use crate::control::names::{FileName, GroupName, UserName};
use crate::torrent::bencode::{BencodeError, Encoder, Value};
use crate::torrent::bitfield::Bitfield;
use crate::torrent::id::FileHash;
use crate::torrent::metainfo::{MAX_TORRENT_BYTES, Metainfo, MetainfoError};

/// The form of record that we write and read.
pub const VERSION: i64 = 1;
/// The largest record that is read, in bytes: the largest torrent, and four times as much for what
/// its files look like. A file with the shortest name takes 23 bytes of a torrent (`d6:lengthi1e4:\
/// pathl1:aee`), and 53 here with its time; with a number in its name it takes nine more. A folder
/// around it takes 3 bytes there (`1:a`), and 11 here with such a number.
pub const MAX_RECORD_BYTES: usize = 5 * MAX_TORRENT_BYTES;

/// What is remembered about one torrent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    pub metainfo: Arc<Metainfo>,
    /// The final place, of the file or of the folder around all files.
    pub target: PathBuf,
    /// Verified pieces.
    pub have: Bitfield,
    /// All of them, and under the final name.
    pub finished: bool,
    /// Written after everything else was, with nothing under way.
    pub clean: bool,
    /// What the files looked like, in the order of the layout.
    pub files: Vec<FileStamp>,
    /// What they are called on the disk, if that is not what the torrent says; else empty.
    pub names: Vec<PathBuf>,
    /// Bytes that others got from us, ever.
    pub uploaded: u64,
    /// Bytes that we got from others, ever.
    pub downloaded: u64,
    pub paused: bool,
    /// As what it is offered, if a tracker of ours lists it.
    pub share: Option<Share>,
    pub sources: Sources,
    /// When it was added, in seconds since 1970.
    pub added: u64,
}

/// From whom a torrent is fetched. Who is none of them may still be served.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Sources {
    #[default]
    Anyone,
    /// From the peers that listen there.
    Only(Vec<SocketAddr>),
}

impl Sources {
    /// Whether it is fetched from the peer that listens there, if that is known.
    pub fn has(&self, address: Option<SocketAddr>) -> bool {
        match self {
            Sources::Anyone => true,
            Sources::Only(addresses) => address.is_some_and(|it| addresses.contains(&it)),
        }
    }

    /// One more. Whether that is news.
    pub fn add(&mut self, address: SocketAddr) -> bool {
        match self {
            Sources::Only(addresses) if !addresses.contains(&address) => {
                addresses.push(address);
                true
            }
            Sources::Only(_) | Sources::Anyone => false,
        }
    }
}

/// Under which name which group finds a torrent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Share {
    pub group: GroupName,
    pub name: FileName,
    /// Whose it is: of several who use this peer one after another. Nobody's in the public group.
    pub users: Vec<UserName>,
    /// What the whole file's SHA-256 shall be, if who shares it has told.
    pub sha256: Option<FileHash>,
    /// Whether trackers list it. What is served because it was asked for is found by asking only.
    pub listed: bool,
}

impl Share {
    /// With everybody, in the list of trackers.
    pub fn public(name: FileName) -> Share {
        Share {
            group: GroupName::public(),
            name,
            users: Vec::new(),
            sha256: None,
            listed: true,
        }
    }

    /// With everybody who asks for it.
    pub fn unlisted(name: FileName) -> Share {
        Share {
            listed: false,
            ..Share::public(name)
        }
    }
}

/// How far a record can be believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trust {
    /// Everything is there and verified.
    All,
    /// These pieces are.
    These(Bitfield),
    /// Nobody knows: what is there must be hashed.
    Check,
}

/// Why bytes are not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("it has {0} bytes, at most {MAX_RECORD_BYTES} are read")]
    TooLarge(usize),
    #[error("it is {0}")]
    Bencode(#[from] BencodeError),
    #[error("it is of version {0}, this program reads version {VERSION}")]
    Version(i64),
    #[error("its `{0}` is missing or not as it should be")]
    Key(&'static str),
    #[error("its torrent: {0}")]
    Torrent(#[from] MetainfoError),
}

impl Record {
    /// Whether hashing can be spared, given what the files look like `now`.
    ///
    /// A finished torrent's record was written after its files, so unchanged files are enough,
    /// also after a crash. What is not finished may have been written to after its record,
    /// unless that was the last act of a clean stop.
    pub fn trust(&self, now: &[FileStamp]) -> Trust {
        if self.files != now {
            Trust::Check
        } else if self.finished {
            Trust::All
        } else if self.clean {
            Trust::These(self.have.clone())
        } else {
            Trust::Check
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.dict(|record| {
            record.text("added").int(int(self.added));
            record.text("clean").int(self.clean.into());
            record.text("downloaded").int(int(self.downloaded));
            write_files(record.text("files"), &self.files);
            record.text("finished").int(self.finished.into());
            record.text("have").bytes(self.have.as_bytes());
            if !self.names.is_empty() {
                // Those of `files` are not written twice.
                let is_known = self.files.iter().map(|file| &file.path).eq(&self.names);
                let names = if is_known { &[][..] } else { &self.names };
                record.text("names").list(|list| {
                    for name in names {
                        list.bytes(&path_bytes(name));
                    }
                });
            }
            record.text("paused").int(self.paused.into());
            if let Some(share) = &self.share {
                record.text("share").dict(|entry| {
                    entry.text("group").text(share.group.as_str());
                    if !share.listed {
                        entry.text("listed").int(0);
                    }
                    entry.text("name").text(share.name.as_str());
                    if let Some(sha256) = &share.sha256 {
                        entry.text("sha256").bytes(&sha256.0);
                    }
                    if !share.users.is_empty() {
                        entry.text("users").list(|users| {
                            for user in &share.users {
                                users.text(user.as_str());
                            }
                        });
                    }
                });
            }
            if let Sources::Only(addresses) = &self.sources {
                record.text("sources").list(|list| {
                    for address in addresses {
                        list.text(&address.to_string());
                    }
                });
            }
            record.text("target").bytes(&path_bytes(&self.target));
            record
                .text("torrent")
                .nested(|torrent| self.metainfo.write(torrent));
            record.text("uploaded").int(int(self.uploaded));
            record.text("version").int(VERSION);
        });
        out.finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<Record, RecordError> {
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(RecordError::TooLarge(bytes.len()));
        }
        let record = Value::parse(bytes)?;
        match find(record, "version", |v| v.int())? {
            VERSION => {}
            other => return Err(RecordError::Version(other)),
        }
        let torrent = find(record, "torrent", |v| v.bytes())?;
        let metainfo = Arc::new(Metainfo::parse(torrent)?);
        let have = find(record, "have", |v| v.bytes())?;
        let have = Bitfield::from_bytes(have, metainfo.layout.pieces())
            .map_err(|_| RecordError::Key("have"))?;
        let files = read_files(record)?;
        // None for content that is not in files.
        if !files.is_empty() && files.len() != metainfo.layout.files().len() {
            return Err(RecordError::Key("files"));
        }
        let mut names: Vec<PathBuf> = Vec::new();
        if record.get("names").is_some() {
            names = find(record, "names", |names| names.list()?.map(path).collect())?;
            if names.is_empty() {
                names = files.iter().map(|file| file.path.clone()).collect();
            }
        }
        if !names.is_empty() && names.len() != metainfo.layout.files().len() {
            return Err(RecordError::Key("names"));
        }
        let finished = find(record, "finished", flag)?;
        if finished && !have.is_full() {
            return Err(RecordError::Key("finished"));
        }
        let share = match record.get("share") {
            Some(share) => Some(Share {
                group: find(share, "group", |v| v.text()?.parse().ok())?,
                name: find(share, "name", |v| v.text()?.parse().ok())?,
                users: match share.get("users") {
                    Some(_) => find(share, "users", |users| {
                        users
                            .list()?
                            .map(|user| user.text()?.parse().ok())
                            .collect()
                    })?,
                    None => Vec::new(),
                },
                sha256: match share.get("sha256") {
                    Some(_) => {
                        let read = |v: Value<'_>| Some(FileHash(v.bytes()?.try_into().ok()?));
                        Some(find(share, "sha256", read)?)
                    }
                    None => None,
                },
                listed: match share.get("listed") {
                    Some(_) => find(share, "listed", flag)?,
                    None => true,
                },
            }),
            None => None,
        };
        let sources = match record.get("sources") {
            Some(_) => Sources::Only(find(record, "sources", |sources| {
                let addresses = sources.list()?;
                addresses.map(|it| it.text()?.parse().ok()).collect()
            })?),
            None => Sources::Anyone,
        };
        Ok(Record {
            metainfo,
            target: find(record, "target", path)?,
            have,
            finished,
            clean: find(record, "clean", flag)?,
            files,
            names,
            uploaded: find(record, "uploaded", size)?,
            downloaded: find(record, "downloaded", size)?,
            paused: find(record, "paused", flag)?,
            share,
            sources,
            added: find(record, "added", size)?,
        })
    }
}

/// What files look like, as a list.
pub(super) fn write_files(out: &mut Encoder, files: &[FileStamp]) {
    out.list(|list| {
        for file in files {
            list.dict(|entry| {
                entry.text("length").int(int(file.length));
                entry.text("modified").int(file.modified);
                entry.text("path").bytes(&path_bytes(&file.path));
            });
        }
    });
}

/// What stands in a dictionary under `files`.
pub(super) fn read_files(dict: Value<'_>) -> Result<Vec<FileStamp>, RecordError> {
    find(dict, "files", |v| v.list())?.map(file).collect()
}

fn file(entry: Value<'_>) -> Result<FileStamp, RecordError> {
    Ok(FileStamp {
        path: find(entry, "path", path)?,
        length: find(entry, "length", size)?,
        modified: find(entry, "modified", |v| v.int())?,
    })
}

pub(super) fn find<'a, T>(
    dict: Value<'a>,
    key: &'static str,
    read: impl FnOnce(Value<'a>) -> Option<T>,
) -> Result<T, RecordError> {
    dict.get(key).and_then(read).ok_or(RecordError::Key(key))
}

fn flag(value: Value<'_>) -> Option<bool> {
    match value.int()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn size(value: Value<'_>) -> Option<u64> {
    u64::try_from(value.int()?).ok()
}

/// Bencoding knows 63 bits; more than that nobody transfers.
fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// On Unix a path is bytes, and need not be text.
#[cfg(unix)]
pub(super) fn path_bytes(path: &Path) -> Vec<u8> {
    std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()).to_vec()
}

#[cfg(unix)]
pub(super) fn path(value: Value<'_>) -> Option<PathBuf> {
    let bytes: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(value.bytes()?);
    Some(bytes.into())
}

/// A path that is not Unicode is not found again, and the content then checked.
#[cfg(windows)]
pub(super) fn path_bytes(path: &Path) -> Vec<u8> {
    path.to_string_lossy().into_owned().into_bytes()
}

#[cfg(windows)]
pub(super) fn path(value: Value<'_>) -> Option<PathBuf> {
    value.text().map(PathBuf::from)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::torrent::id::PieceHash;
    use crate::torrent::layout::Layout;

    /// Half a download of two files.
    pub(in crate::storage) fn example() -> Record {
        let files = vec![(vec!["d".into(), "a".into()], 9), (vec!["e".into()], 3)];
        let layout = Layout::folder("f".into(), files, 4).unwrap();
        let mut have = Bitfield::none(3);
        have.insert(layout.piece(1).unwrap());
        let stamp = |path: &str, length, modified| FileStamp {
            path: path.into(),
            length,
            modified,
        };
        Record {
            metainfo: Arc::new(Metainfo::build(layout, vec![PieceHash([7; 20]); 3], false)),
            target: "/download/f".into(),
            have,
            finished: false,
            clean: true,
            files: vec![
                stamp("d/a", 9, 1_700_000_000_000_000_001),
                stamp("e", 3, -5),
            ],
            names: Vec::new(),
            uploaded: 0,
            downloaded: u64::from(u32::MAX) * 10,
            paused: true,
            share: Some(Share {
                group: "CS101".parse().unwrap(),
                name: "f".parse().unwrap(),
                users: vec!["bob".parse().unwrap(), "alice".parse().unwrap()],
                sha256: Some(FileHash([8; 32])),
                listed: true,
            }),
            sources: Sources::Only(vec!["[::1]:7600".parse().unwrap()]),
            added: 1_700_000_000,
        }
    }

    #[test]
    fn reads_what_it_writes() {
        let record = example();
        assert_eq!(Record::decode(&record.encode()), Ok(record.clone()));
        let unlisted = record.share.clone().map(|share| Share {
            listed: false,
            ..share
        });
        let unlisted = Record {
            share: unlisted,
            ..record.clone()
        };
        assert_eq!(Record::decode(&unlisted.encode()), Ok(unlisted));
        let named = Record {
            names: vec!["d/_aux".into(), "e (2)".into()],
            ..record.clone()
        };
        assert_eq!(Record::decode(&named.encode()), Ok(named));
        let named_by_its_files = Record {
            names: record.files.iter().map(|file| file.path.clone()).collect(),
            ..record.clone()
        };
        let bytes = named_by_its_files.encode();
        assert_eq!(Record::decode(&bytes), Ok(named_by_its_files));
        let other = Record {
            share: None,
            sources: Sources::Anyone,
            have: Bitfield::all(3),
            finished: true,
            files: Vec::new(),
            ..record
        };
        assert_eq!(Record::decode(&other.encode()), Ok(other));
    }

    /// A record was written that was too large to be read again: all names stood in it twice.
    #[test]
    fn a_record_is_never_too_large_to_be_read() {
        // As many files as short names allow, and twins that get a number; and deep folders.
        let leaf = |i: u32| vec![if i.is_multiple_of(2) { "a" } else { "A" }.to_string()];
        let deep = |i: u32| {
            let twin = if i.is_multiple_of(2) { "b" } else { "B" };
            vec![twin.to_string(); 60]
        };
        for path in [&leaf as &dyn Fn(u32) -> Vec<String>, &deep] {
            let files: Vec<_> = (0..1000).map(|i| (path(i), 1)).collect();
            let layout = Layout::folder("f".into(), files, 16384).unwrap();
            let numbered = |name: &String| format!("{name} (100000)");
            let names: Vec<PathBuf> = layout
                .files()
                .iter()
                .map(|file| file.path.iter().map(numbered).collect())
                .collect();
            let stamp = |path: &PathBuf| FileStamp {
                path: path.clone(),
                length: 1,
                modified: 1_700_000_000_000_000_001,
            };
            let metainfo = Arc::new(Metainfo::build(layout, vec![PieceHash([7; 20])], false));
            let torrent = metainfo.to_bytes().len();
            let record = Record {
                files: names.iter().map(stamp).collect(),
                names,
                have: Bitfield::none(1),
                metainfo,
                ..example()
            };
            let times = record.encode().len() as f64 / torrent as f64;
            let limit = MAX_RECORD_BYTES as f64 / MAX_TORRENT_BYTES as f64;
            assert!(times < limit, "{times}");
        }
    }

    #[test]
    fn every_truncation_is_an_error() {
        let whole = example().encode();
        for cut in 0..whole.len() {
            assert!(Record::decode(&whole[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn every_changed_byte_is_an_error_or_another_record() {
        let whole = example().encode();
        for at in 0..whole.len() {
            for byte in [0, b'0', b'9', b'e', 0xff] {
                let mut changed = whole.clone();
                changed[at] = byte;
                let _ = Record::decode(&changed);
            }
        }
    }

    #[test]
    fn contradictions_are_refused() {
        let check = |from: &str, to: &str, expect: RecordError| {
            let bytes = example().encode();
            let text = String::from_utf8_lossy(&bytes);
            assert!(text.contains(from), "{from}");
            let at = bytes
                .windows(from.len())
                .position(|window| window == from.as_bytes())
                .unwrap();
            let mut changed = bytes[..at].to_vec();
            changed.extend_from_slice(to.as_bytes());
            changed.extend_from_slice(&bytes[at + from.len()..]);
            assert_eq!(Record::decode(&changed), Err(expect), "{from} {to}");
        };
        check("7:versioni1e", "7:versioni2e", RecordError::Version(2));
        check("7:versioni1e", "", RecordError::Key("version"));
        check(
            "8:finishedi0e",
            "8:finishedi1e",
            RecordError::Key("finished"),
        );
        check("4:have1:@", "4:have1:\u{1}", RecordError::Key("have"));
        check("6:pausedi1e", "6:pausedi2e", RecordError::Key("paused"));
        check(
            "8:uploadedi0e",
            "8:uploadedi-1e",
            RecordError::Key("uploaded"),
        );
        check("5:group", "5:graup", RecordError::Key("group"));
        check(
            "6:sha25632:\u{8}",
            "6:sha25631:",
            RecordError::Key("sha256"),
        );
        let one_file = "d6:lengthi3e8:modifiedi-5e4:path1:ee";
        check(one_file, "", RecordError::Key("files"));
    }

    #[test]
    fn belief_depends_on_how_it_ended_and_what_is_there() {
        let now = example().files;
        let check = |finished, clean, now: &[FileStamp], expect: Trust| {
            let record = Record {
                finished,
                clean,
                ..example()
            };
            assert_eq!(record.trust(now), expect, "{finished} {clean} {now:?}");
        };
        check(false, true, &now, Trust::These(example().have));
        check(false, false, &now, Trust::Check);
        check(true, false, &now, Trust::All);
        check(true, true, &now, Trust::All);
        let mut touched = now.clone();
        touched[1].modified += 1;
        check(false, true, &touched, Trust::Check);
        check(true, true, &touched, Trust::Check);
        check(true, true, &now[..1], Trust::Check);
    }
}
