//! The `.torrent` file (BEP 3; trackers in tiers BEP 12; private torrents BEP 27).
//!
//! Parsing proves everything that later code relies on: sizes, piece count, and paths that stay
//! inside the torrent's folder. What platform-specific names become on disk is not decided here.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use super::bencode::{BencodeError, Encoder, Value};
use super::id::{InfoHash, PieceHash};
use super::layout::{Layout, LayoutError, MAX_PIECES, PieceIndex};

/// The largest torrent file that we read, in bytes: the hashes of [`MAX_PIECES`] pieces, and 4 MiB
/// for names.
pub const MAX_TORRENT_BYTES: usize = MAX_PIECES as usize * PIECE_HASH + 4 * 1024 * 1024;
/// The length of a piece's hash, in bytes.
const PIECE_HASH: usize = 20;
/// The longest name of a file or folder in a torrent, in bytes. No file system takes more.
pub const MAX_NAME_BYTES: usize = 255;
/// The deepest path in a torrent, in names.
pub const MAX_PATH_DEPTH: usize = 64;
/// The most trackers that are read from one torrent; further ones are left out.
pub const MAX_TRACKERS: usize = 100;
/// The longest tracker URL that is read, in bytes; longer ones are left out.
pub const MAX_URL_BYTES: usize = 2048;

/// What a `.torrent` file says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metainfo {
    /// SHA-1 of the info dictionary's bytes as they were received.
    pub info_hash: InfoHash,
    pub layout: Arc<Layout>,
    /// Only the named trackers may be asked for peers (BEP 27).
    pub private: bool,
    /// Where it is from, if it says so. In a torrent of a group, the group's id: so the same
    /// content has another info hash in every group.
    pub source: Option<String>,
    /// Announce URLs in tiers (BEP 12).
    pub trackers: Vec<Vec<String>>,
    /// The info dictionary's bytes as they were received.
    info: Vec<u8>,
    /// Where in `info` the hashes of the pieces stand, one behind the other. They may be 20 MiB,
    /// and are not kept twice.
    hashes: Range<usize>,
}

/// Why bytes are not a torrent that we can use. Names the key and the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetainfoError {
    #[error("the torrent file has {0} bytes, at most {MAX_TORRENT_BYTES} are read")]
    TooLarge(usize),
    #[error("the torrent file is {0}")]
    Bencode(#[from] BencodeError),
    #[error("`{key}` {reason}")]
    Key { key: String, reason: String },
    #[error("`info`: {0}")]
    Layout(#[from] LayoutError),
}

fn wrong(key: impl Into<String>, reason: impl Into<String>) -> MetainfoError {
    MetainfoError::Key {
        key: key.into(),
        reason: reason.into(),
    }
}

impl Metainfo {
    /// Reads a `.torrent` file. Bytes after the end of the dictionary are ignored: they occur.
    pub fn parse(bytes: &[u8]) -> Result<Metainfo, MetainfoError> {
        if bytes.len() > MAX_TORRENT_BYTES {
            return Err(MetainfoError::TooLarge(bytes.len()));
        }
        let (torrent, _trailing) = Value::parse_prefix(bytes)?;
        if torrent.dict().is_none() {
            return Err(wrong("(the whole file)", "is not a dictionary"));
        }
        let info = torrent
            .get("info")
            .ok_or_else(|| wrong("info", "is missing"))?;
        Ok(Metainfo {
            trackers: parse_trackers(torrent),
            ..Metainfo::parse_info(info.raw())?
        })
    }

    /// Reads an info dictionary alone: a torrent without trackers.
    pub fn parse_info(bytes: &[u8]) -> Result<Metainfo, MetainfoError> {
        let info = Value::parse(bytes)?;
        if info.dict().is_none() {
            return Err(wrong("info", "is not a dictionary"));
        }
        let layout = parse_layout(info)?;
        let hashes = parse_pieces(info, layout.pieces())?;
        let private = info.get("private").and_then(|v| v.int()) == Some(1);
        let source = info.get("source").and_then(|v| v.text());
        let source = source.map(str::to_string);
        Ok(Metainfo {
            info_hash: InfoHash::of(bytes),
            layout: Arc::new(layout),
            private,
            source,
            trackers: Vec::new(),
            info: bytes.to_vec(),
            hashes,
        })
    }

    /// Describes content whose pieces have been hashed. The same content under the same name
    /// always gives the same info hash: nothing of time, place or program is in it.
    ///
    /// # Panics
    /// If there is not one hash a piece: both come from the caller's own work.
    pub fn build(layout: Layout, pieces: Vec<PieceHash>, private: bool) -> Metainfo {
        build(layout, pieces, private, None)
    }

    /// The same for a group: private, and with a source that no other group has.
    ///
    /// # Panics
    /// As `build`.
    pub fn build_for_group(layout: Layout, pieces: Vec<PieceHash>, source: &str) -> Metainfo {
        build(layout, pieces, true, Some(source))
    }

    /// The bytes of a `.torrent` file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        self.write(&mut out);
        out.finish()
    }

    /// Writes what [`Metainfo::to_bytes`] makes.
    pub fn write(&self, out: &mut Encoder) {
        out.dict(|torrent| {
            if let Some(first) = self.trackers.first().and_then(|tier| tier.first()) {
                torrent.text("announce").text(first);
            }
            if self.trackers.iter().map(Vec::len).sum::<usize>() > 1 {
                torrent.text("announce-list").list(|tiers| {
                    for tier in &self.trackers {
                        tiers.list(|urls| {
                            tier.iter().for_each(|url| {
                                urls.text(url);
                            });
                        });
                    }
                });
            }
            torrent.text("info").raw(&self.info);
        });
    }

    pub fn name(&self) -> &str {
        self.layout.name()
    }

    pub fn piece_hash(&self, piece: PieceIndex) -> PieceHash {
        let (hashes, _) = self.info[self.hashes.clone()].as_chunks::<PIECE_HASH>();
        PieceHash(hashes[piece.as_usize()])
    }

    /// The info dictionary's bytes as they were received.
    pub fn info_bytes(&self) -> &[u8] {
        &self.info
    }
}

fn build(layout: Layout, pieces: Vec<PieceHash>, private: bool, source: Option<&str>) -> Metainfo {
    assert_eq!(layout.pieces() as usize, pieces.len(), "one hash a piece");
    let mut out = Encoder::new();
    out.dict(|info| {
        if layout.is_single() {
            info.text("length").int(layout.total() as i64);
        } else {
            info.text("files").list(|files| {
                for file in layout.files() {
                    files.dict(|entry| {
                        entry.text("length").int(file.length as i64);
                        entry.text("path").list(|path| {
                            file.path.iter().for_each(|name| {
                                path.text(name);
                            });
                        });
                    });
                }
            });
        }
        info.text("name").text(layout.name());
        info.text("piece length").int(layout.piece_length().into());
        let hashes: Vec<u8> = pieces.iter().flat_map(|hash| hash.0).collect();
        info.text("pieces").bytes(&hashes);
        if private {
            info.text("private").int(1);
        }
        if let Some(source) = source {
            info.text("source").text(source);
        }
    });
    let info = out.finish();
    let info_hash = InfoHash::of(&info);
    let hashes = Value::parse(&info).map_err(MetainfoError::from);
    let hashes = hashes.and_then(|info| parse_pieces(info, layout.pieces()));
    Metainfo {
        info_hash,
        layout: Arc::new(layout),
        private,
        source: source.map(str::to_string),
        trackers: Vec::new(),
        hashes: hashes.expect("just written"),
        info,
    }
}

fn parse_layout(info: Value<'_>) -> Result<Layout, MetainfoError> {
    let name = info
        .get("name")
        .ok_or_else(|| wrong("info.name", "is missing"))?;
    let name = parse_name(name, "info.name")?;
    let piece_length = parse_size(info, "piece length", "info.piece length")?;
    let piece_length =
        u32::try_from(piece_length).map_err(|_| LayoutError::PieceLength(piece_length))?;
    let layout = match (info.get("length"), info.get("files")) {
        (Some(_), Some(_)) => return Err(wrong("info", "has both `length` and `files`")),
        (Some(_), None) => {
            let length = parse_size(info, "length", "info.length")?;
            Layout::single(name, length, piece_length)?
        }
        (None, Some(files)) => Layout::folder(name, parse_files(files)?, piece_length)?,
        (None, None) => return Err(wrong("info", "has neither `length` nor `files`")),
    };
    Ok(layout)
}

fn parse_size(dict: Value<'_>, key: &str, full_key: &str) -> Result<u64, MetainfoError> {
    let value = dict.get(key).ok_or_else(|| wrong(full_key, "is missing"))?;
    let int = value
        .int()
        .ok_or_else(|| wrong(full_key, "is not a number"))?;
    u64::try_from(int).map_err(|_| wrong(full_key, format!("is negative: {int}")))
}

fn parse_files(files: Value<'_>) -> Result<Vec<(Vec<String>, u64)>, MetainfoError> {
    let files = files
        .list()
        .ok_or_else(|| wrong("info.files", "is not a list"))?;
    let mut found = Vec::new();
    for (i, file) in files.enumerate() {
        let key = |part: &str| format!("info.files[{i}].{part}");
        let length = parse_size(file, "length", &key("length"))?;
        let path = file
            .get("path")
            .ok_or_else(|| wrong(key("path"), "is missing"))?;
        let names = path
            .list()
            .ok_or_else(|| wrong(key("path"), "is not a list"))?;
        let mut path = Vec::new();
        for name in names {
            if path.len() == MAX_PATH_DEPTH {
                return Err(wrong(
                    key("path"),
                    format!("is deeper than {MAX_PATH_DEPTH} folders"),
                ));
            }
            path.push(parse_name(name, &key("path"))?);
        }
        if path.is_empty() {
            return Err(wrong(key("path"), "is empty"));
        }
        found.push((path, length));
    }
    if found.is_empty() {
        return Err(wrong("info.files", "is empty"));
    }
    refuse_clashes(&found)?;
    Ok(found)
}

/// Two files of one path, or a file where another needs a folder.
fn refuse_clashes(files: &[(Vec<String>, u64)]) -> Result<(), MetainfoError> {
    let mut seen = HashSet::with_capacity(files.len());
    for (i, (path, _)) in files.iter().enumerate() {
        if !seen.insert(path.as_slice()) {
            let reason = format!("is there twice: {}", path.join("/"));
            return Err(wrong(format!("info.files[{i}].path"), reason));
        }
    }
    for (i, (path, _)) in files.iter().enumerate() {
        if let Some(depth) = (1..path.len()).find(|&depth| seen.contains(&path[..depth])) {
            let reason = format!("has a file as its folder: {}", path[..depth].join("/"));
            return Err(wrong(format!("info.files[{i}].path"), reason));
        }
    }
    Ok(())
}

/// One name of a path. Names that mean "elsewhere" are refused; names that merely are not
/// possible on some platform are left to the storage, which gives them another.
fn parse_name(value: Value<'_>, key: &str) -> Result<String, MetainfoError> {
    let bytes = value.bytes().ok_or_else(|| wrong(key, "is not a string"))?;
    let refuse = |reason: &str| Err(wrong(key, reason));
    if bytes.len() > MAX_NAME_BYTES {
        return refuse(&format!(
            "has a name of {} bytes, over {MAX_NAME_BYTES}",
            bytes.len()
        ));
    }
    match bytes {
        b"" => refuse("has an empty name"),
        b"." | b".." => refuse("leaves the torrent's folder with `.` or `..`"),
        _ if bytes.contains(&b'/') => refuse("has a `/` inside a name"),
        _ if bytes.contains(&0) => refuse("has a NUL inside a name"),
        _ => match std::str::from_utf8(bytes) {
            Ok(name) => Ok(name.to_string()),
            Err(_) => refuse("has a name that is not UTF-8"),
        },
    }
}

/// Where the hashes stand in the bytes of `info`.
fn parse_pieces(info: Value<'_>, want: u32) -> Result<Range<usize>, MetainfoError> {
    let key = "info.pieces";
    let pieces = info.get("pieces").ok_or_else(|| wrong(key, "is missing"))?;
    let pieces = pieces
        .bytes()
        .ok_or_else(|| wrong(key, "is not a string"))?;
    if pieces.len() != want as usize * PIECE_HASH {
        let got = pieces.len();
        let reason = format!(
            "has {got} bytes; {want} pieces need {}",
            u64::from(want) * 20
        );
        return Err(wrong(key, reason));
    }
    // A view of the same bytes.
    let start = pieces.as_ptr().addr() - info.raw().as_ptr().addr();
    Ok(start..start + pieces.len())
}

/// `announce-list` if it names anybody, else `announce`. Trackers are a convenience: what is
/// malformed here is left out, it does not make the torrent useless.
fn parse_trackers(torrent: Value<'_>) -> Vec<Vec<String>> {
    let url = |value: Value<'_>| {
        let url = value.text()?.trim();
        (!url.is_empty() && url.len() <= MAX_URL_BYTES).then(|| url.to_string())
    };
    let mut tiers = Vec::new();
    let mut room = MAX_TRACKERS;
    for tier in torrent
        .get("announce-list")
        .and_then(|v| v.list())
        .into_iter()
        .flatten()
    {
        let urls: Vec<String> = tier
            .list()
            .into_iter()
            .flatten()
            .filter_map(url)
            .take(room)
            .collect();
        room -= urls.len();
        if !urls.is_empty() {
            tiers.push(urls);
        }
    }
    if tiers.is_empty() {
        tiers.extend(torrent.get("announce").and_then(url).map(|url| vec![url]));
    }
    tiers
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "20:aaaaaaaaaaaaaaaaaaaa";

    fn parse(text: &str) -> Result<Metainfo, String> {
        Metainfo::parse(text.as_bytes()).map_err(|error| error.to_string())
    }

    /// A torrent whose info dictionary has this inside.
    fn with_info(inside: &str) -> String {
        format!("d4:infod{inside}ee")
    }

    fn refused(inside: &str, expect: &str) {
        assert_eq!(
            parse(&with_info(inside)).map(|m| m.info_hash),
            Err(expect.into()),
            "{inside}"
        );
    }

    #[test]
    fn reads_unsorted_keys_and_trailing_bytes() {
        let info = format!("d12:piece lengthi16384e6:pieces{HASH}4:name1:x6:lengthi5e3:fooi1ee");
        let torrent = format!("d4:info{info}8:announce8:http://te\r\n");
        let metainfo = parse(&torrent).unwrap();
        assert_eq!(metainfo.info_hash, InfoHash::of(info.as_bytes()));
        assert_eq!(metainfo.trackers, [["http://t"]]);
        assert_eq!((metainfo.name(), metainfo.layout.total()), ("x", 5));
        assert_eq!(Metainfo::parse(&metainfo.to_bytes()), Ok(metainfo));
    }

    #[test]
    fn what_we_build_is_what_we_read() {
        let files = vec![(vec!["d".into(), "a".into()], 9), (vec!["e".into()], 0)];
        let layout = Layout::folder("f".into(), files, 4).unwrap();
        let hashes = vec![PieceHash([1; 20]), PieceHash([2; 20]), PieceHash([3; 20])];
        let mut built = Metainfo::build(layout, hashes, true);
        built.trackers = vec![
            vec!["http://a/".into()],
            vec!["http://b/".into(), "udp://c".into()],
        ];
        assert_eq!(Metainfo::parse(&built.to_bytes()), Ok(built));
    }

    #[test]
    fn the_same_content_is_another_torrent_in_another_group() {
        let build = |source| {
            let layout = Layout::single("x".into(), 5, 1 << 14).unwrap();
            Metainfo::build_for_group(layout, vec![PieceHash([1; 20])], source)
        };
        let (one, other) = (build("19-1"), build("1a-1"));
        assert_ne!(one.info_hash, other.info_hash);
        assert_eq!(Metainfo::parse_info(one.info_bytes()), Ok(one.clone()));
        assert_eq!((one.private, one.source.as_deref()), (true, Some("19-1")));
    }

    #[test]
    fn every_refusal_names_the_key_and_the_reason() {
        let rest = format!("4:name1:x12:piece lengthi4e6:pieces{HASH}");
        refused(&rest, "`info` has neither `length` nor `files`");
        refused(
            &format!("5:filesle6:lengthi1e{rest}"),
            "`info` has both `length` and `files`",
        );
        refused(
            &format!("6:lengthi-1e{rest}"),
            "`info.length` is negative: -1",
        );
        refused(
            &format!("6:length1:a{rest}"),
            "`info.length` is not a number",
        );
        refused(&format!("5:filesle{rest}"), "`info.files` is empty");
        refused(
            &format!("6:lengthi9e{rest}"),
            "`info.pieces` has 20 bytes; 3 pieces need 60",
        );
        refused("6:lengthi9e4:name1:x", "`info.piece length` is missing");
        refused(
            "6:lengthi9e4:name1:x12:piece lengthi0e",
            "`info`: a piece length of 0 bytes: 1 to 67108864 is possible",
        );
        refused(
            "6:lengthi9e4:name1:x12:piece lengthi99999999999e",
            "`info`: a piece length of 99999999999 bytes: 1 to 67108864 is possible",
        );
        refused(
            "6:lengthi9223372036854775807e4:name1:x12:piece lengthi1e",
            "`info`: 9223372036854775807 pieces: at most 1048576 are possible, choose longer pieces",
        );
        refused("6:lengthi1e", "`info.name` is missing");
        refused(
            "4:name2:..",
            "`info.name` leaves the torrent's folder with `.` or `..`",
        );
        refused("4:name3:a/b", "`info.name` has a `/` inside a name");
        refused("4:name0:", "`info.name` has an empty name");
        let long = "n".repeat(256);
        refused(
            &format!("4:name256:{long}"),
            "`info.name` has a name of 256 bytes, over 255",
        );
    }

    #[test]
    fn paths_stay_inside_and_apart() {
        let check = |paths: &[&[&str]], expect: &str| {
            let files: String = paths
                .iter()
                .map(|path| {
                    let names = path.iter().map(|name| format!("{}:{name}", name.len()));
                    format!("d6:lengthi1e4:pathl{}ee", names.collect::<String>())
                })
                .collect();
            refused(
                &format!("5:filesl{files}e4:name1:x12:piece lengthi4e"),
                expect,
            );
        };
        let leaves = "`info.files[1].path` leaves the torrent's folder with `.` or `..`";
        check(&[&["a"], &["b", "..", "c"]], leaves);
        check(&[&["a"], &[]], "`info.files[1].path` is empty");
        check(
            &[&["a", "b"], &["a", "b"]],
            "`info.files[1].path` is there twice: a/b",
        );
        check(
            &[&["a", "b"], &["a"]],
            "`info.files[0].path` has a file as its folder: a",
        );
        check(
            &[&["a"; 65]],
            "`info.files[0].path` is deeper than 64 folders",
        );
    }

    #[test]
    fn hostile_headers_take_no_memory() {
        for text in [
            "d4:info1000000000:",
            "d4:infod4:name999999999999999999:x",
            "li1e",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(
            Metainfo::parse(&vec![b'l'; MAX_TORRENT_BYTES + 1]),
            Err(MetainfoError::TooLarge(MAX_TORRENT_BYTES + 1))
        );
    }

    #[test]
    fn every_truncation_is_an_error() {
        let whole = with_info(&format!(
            "6:lengthi4e4:name1:x12:piece lengthi4e6:pieces{HASH}"
        ));
        assert!(parse(&whole).is_ok());
        for cut in 0..whole.len() {
            assert!(parse(&whole[..cut]).is_err(), "cut at {cut}");
        }
    }
}
