//! A file or folder that somebody wants to share: walked into the layout of a torrent.
//!
//! The same content under the same name gives the same layout on every platform: files in the
//! order of their names' bytes, nothing of time or place. Not here: hashing, which also notices
//! what changes meanwhile (`Storage::verify_unchanged`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::disk;
use super::folder::STATE_FOLDER;
use crate::torrent::layout::{Layout, LayoutError, MAX_PIECE_LENGTH, piece_length_for};
use crate::torrent::metainfo::{MAX_NAME_BYTES, MAX_PATH_DEPTH};

/// The shortest piece that can be asked for: one block, 16 KiB.
pub const MIN_MADE_PIECE_LENGTH: u32 = crate::torrent::layout::BLOCK;

/// What was found at a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Content {
    /// Where it lies: absolute, so that it is found again after a start elsewhere.
    pub path: PathBuf,
    /// Names below the folder and lengths, in their order in the torrent; None for a single file.
    pub files: Option<Vec<(Vec<String>, u64)>>,
    /// What is not part of it and why, in words.
    pub skipped: Vec<String>,
    name: String,
    total: u64,
}

/// Why a path cannot be shared.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    #[error("there is nothing at {}", .0.display())]
    Missing(PathBuf),
    #[error("{} is neither a file nor a folder", .0.display())]
    NotAFile(PathBuf),
    #[error("the folder {} has no files to share", .0.display())]
    Empty(PathBuf),
    #[error("the name of {} is not Unicode: rename it", .0.display())]
    NotUnicode(PathBuf),
    #[error("{} has no name of its own to share it under", .0.display())]
    NoName(PathBuf),
    #[error("the name of {} is longer than {MAX_NAME_BYTES} bytes: rename it", .0.display())]
    LongName(PathBuf),
    #[error("{} lies deeper than {MAX_PATH_DEPTH} folders", .0.display())]
    TooDeep(PathBuf),
    #[error(
        "a piece length of {0} bytes: powers of two from {MIN_MADE_PIECE_LENGTH} to {MAX_PIECE_LENGTH} are possible"
    )]
    PieceLength(u32),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error("cannot read {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl Content {
    /// Looks at what is to be shared. The path itself may be a link: somebody named it.
    pub fn at(path: &Path) -> Result<Content, ContentError> {
        let metadata = fs::metadata(path).map_err(|error| failed(path, error))?;
        let path = &as_on_disk(path).map_err(|error| failed(path, error))?;
        let name = own_name(path)?;
        let path = &std::path::absolute(path).map_err(|error| failed(path, error))?;
        if metadata.is_file() {
            return Ok(Content {
                path: path.to_path_buf(),
                files: None,
                skipped: Vec::new(),
                name,
                total: metadata.len(),
            });
        }
        if !metadata.is_dir() {
            return Err(ContentError::NotAFile(path.to_path_buf()));
        }
        let mut walk = Walk {
            inside: disk::real_path(path).map_err(|error| failed(path, error))?,
            files: Vec::new(),
            skipped: Vec::new(),
        };
        walk.folder(path, &mut Vec::new())?;
        if walk.files.is_empty() {
            return Err(ContentError::Empty(path.to_path_buf()));
        }
        walk.files.sort();
        let total = walk.files.iter().map(|(_, length)| length);
        Ok(Content {
            path: path.to_path_buf(),
            total: total.fold(0, |sum, length| sum.saturating_add(*length)),
            files: Some(walk.files),
            skipped: walk.skipped,
            name,
        })
    }

    /// In bytes.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The cut into pieces: of our usual length, or of the one that is asked for.
    pub fn layout(&self, piece_length: Option<u32>) -> Result<Layout, ContentError> {
        let piece_length = piece_length.unwrap_or_else(|| piece_length_for(self.total));
        let possible = MIN_MADE_PIECE_LENGTH..=MAX_PIECE_LENGTH;
        if !piece_length.is_power_of_two() || !possible.contains(&piece_length) {
            return Err(ContentError::PieceLength(piece_length));
        }
        Ok(match &self.files {
            Some(files) => Layout::folder(self.name.clone(), files.clone(), piece_length)?,
            None => Layout::single(self.name.clone(), self.total, piece_length)?,
        })
    }
}

/// On Unix a path that leads to a file has the file's own name.
#[cfg(not(windows))]
fn as_on_disk(path: &Path) -> io::Result<PathBuf> {
    Ok(path.to_path_buf())
}

/// With the last name as the disk has it, whatever letters were typed: else one file would become
/// two torrents. A link keeps its own name.
#[cfg(windows)]
fn as_on_disk(path: &Path) -> io::Result<PathBuf> {
    use super::names::Platform;
    let real = disk::real_path(path)?;
    Ok(match (path.file_name(), real.file_name()) {
        (Some(typed), Some(real))
            if Platform::Windows.is_same_place(Path::new(typed), Path::new(real)) =>
        {
            path.with_file_name(real)
        }
        _ => path.to_path_buf(),
    })
}

/// The last name of a path; that of the folder it means for `.` and `..`.
fn own_name(path: &Path) -> Result<String, ContentError> {
    let absolute;
    let named = match path.components().next_back() {
        Some(std::path::Component::Normal(_)) => path,
        _ => {
            absolute = disk::real_path(path).map_err(|error| failed(path, error))?;
            &absolute
        }
    };
    match named.file_name() {
        Some(name) => text(name, path),
        None => Err(ContentError::NoName(path.to_path_buf())),
    }
}

fn text(name: &std::ffi::OsStr, path: &Path) -> Result<String, ContentError> {
    match name.to_str() {
        Some(name) if name.len() > MAX_NAME_BYTES => {
            Err(ContentError::LongName(path.to_path_buf()))
        }
        Some(name) => Ok(name.to_string()),
        None => Err(ContentError::NotUnicode(path.to_path_buf())),
    }
}

fn failed(path: &Path, source: io::Error) -> ContentError {
    let path = path.to_path_buf();
    match source.kind() {
        io::ErrorKind::NotFound => ContentError::Missing(path),
        _ => ContentError::Io { path, source },
    }
}

struct Walk {
    /// The shared folder without links.
    inside: PathBuf,
    files: Vec<(Vec<String>, u64)>,
    skipped: Vec<String>,
}

impl Walk {
    /// `names` lead from the shared folder to `folder`.
    fn folder(&mut self, folder: &Path, names: &mut Vec<String>) -> Result<(), ContentError> {
        for entry in fs::read_dir(folder).map_err(|error| failed(folder, error))? {
            let entry = entry.map_err(|error| failed(folder, error))?;
            let path = entry.path();
            if names.len() == MAX_PATH_DEPTH {
                return Err(ContentError::TooDeep(path));
            }
            let kind = entry.file_type().map_err(|error| failed(&path, error))?;
            if kind.is_dir() && entry.file_name() == STATE_FOLDER {
                self.skip(&path, "it is this program's own");
            } else if kind.is_dir() {
                names.push(text(&entry.file_name(), &path)?);
                self.folder(&path, names)?;
                names.pop();
            } else if kind.is_file() || self.is_link_to_file_inside(&path, kind) {
                let mut names = names.clone();
                names.push(text(&entry.file_name(), &path)?);
                let metadata = fs::metadata(&path).map_err(|error| failed(&path, error))?;
                self.files.push((names, metadata.len()));
            } else if !kind.is_symlink() {
                self.skip(&path, "it is neither a file nor a folder");
            }
        }
        Ok(())
    }

    /// Says why, if it is a link to something else.
    fn is_link_to_file_inside(&mut self, path: &Path, kind: fs::FileType) -> bool {
        if !kind.is_symlink() {
            return false;
        }
        let reason = match disk::real_path(path) {
            Err(_) => "the link leads nowhere",
            Ok(real) if !real.starts_with(&self.inside) => "the link leads out of the folder",
            Ok(real) if real.is_file() => return true,
            Ok(_) => "links to folders are not followed",
        };
        self.skip(path, reason);
        false
    }

    fn skip(&mut self, path: &Path, reason: &str) {
        let path = path.display();
        self.skipped.push(format!("{path} is left out: {reason}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(content: &Content) -> String {
        let show = |(names, length): &(Vec<String>, u64)| format!("{}:{length}", names.join("/"));
        let files = content.files.iter().flatten().map(show);
        files.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn files_come_in_the_same_order_everywhere() {
        let it = tempfile::tempdir().unwrap();
        let root = it.path().join("root");
        for path in ["b/z", "b/a", "C", "a.txt", "a/x", "é", "Z/1"] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "12").unwrap();
        }
        fs::create_dir_all(root.join("empty/inside")).unwrap();
        fs::create_dir(root.join(STATE_FOLDER)).unwrap();
        fs::write(root.join(STATE_FOLDER).join("peer-id"), "secret").unwrap();
        let content = Content::at(&root).unwrap();
        let expect = "C:2 Z/1:2 a/x:2 a.txt:2 b/a:2 b/z:2 é:2";
        assert_eq!(shown(&content), expect);
        assert_eq!(content.total(), 14);
        assert_eq!(content.layout(None).unwrap().name(), "root");
        assert_eq!(content.skipped.len(), 1);
        let dotted = Content::at(&root.join("a").join("..")).unwrap();
        assert_eq!(dotted.layout(None).unwrap(), content.layout(None).unwrap());
    }

    /// Each way to type a name was another torrent.
    #[test]
    fn a_file_is_called_as_the_disk_has_it() {
        let it = tempfile::tempdir().unwrap();
        fs::write(it.path().join("Notes.txt"), "x").unwrap();
        let typed = Content::at(&it.path().join("NOTES.TXT"));
        match typed {
            Ok(typed) if cfg!(windows) => {
                assert_eq!(typed.layout(None).unwrap().name(), "Notes.txt");
                assert!(typed.path.ends_with("Notes.txt"), "{:?}", typed.path);
            }
            Err(ContentError::Missing(_)) if !cfg!(windows) => {}
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_cannot_be_shared_is_refused_in_words() {
        let it = tempfile::tempdir().unwrap();
        let check = |path: &str, expect: &str| {
            let path = it.path().join(path);
            let error = Content::at(&path).unwrap_err().to_string();
            let expect = expect.replace("PATH", &path.display().to_string());
            assert_eq!(error, expect);
        };
        check("none", "there is nothing at PATH");
        fs::create_dir_all(it.path().join("hollow/deeper")).unwrap();
        check("hollow", "the folder PATH has no files to share");
        fs::write(it.path().join("file"), "").unwrap();
        let file = Content::at(&it.path().join("file")).unwrap();
        for wrong in [0, 1, 8192, 16385, 48 * 1024, 128 << 20] {
            let error = file.layout(Some(wrong)).unwrap_err();
            assert!(matches!(error, ContentError::PieceLength(_)), "{wrong}");
        }
        assert_eq!(file.layout(Some(16384)).unwrap().piece_length(), 16384);
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStrExt;
            let name = std::ffi::OsStr::from_bytes(b"hollow/\xff");
            fs::write(it.path().join(name), "").unwrap();
            let error = Content::at(&it.path().join("hollow")).unwrap_err();
            assert!(matches!(error, ContentError::NotUnicode(_)), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_to_files_inside_only() {
        use std::os::unix::fs::symlink;
        let it = tempfile::tempdir().unwrap();
        let root = it.path().join("root");
        fs::create_dir_all(root.join("d")).unwrap();
        fs::write(root.join("d/x"), "123").unwrap();
        fs::write(it.path().join("outside"), "secret").unwrap();
        symlink("d/x", root.join("good")).unwrap();
        symlink("../outside", root.join("out")).unwrap();
        symlink("d", root.join("folder")).unwrap();
        symlink(".", root.join("loop")).unwrap();
        symlink("nowhere", root.join("dangling")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
        let content = Content::at(&root).unwrap();
        assert_eq!(shown(&content), "d/x:3 good:3");
        assert_eq!(content.skipped.len(), 5, "{:?}", content.skipped);
        // Named by the user himself, a link is followed.
        symlink("../outside", it.path().join("root/d/named")).unwrap();
        symlink("outside", it.path().join("named")).unwrap();
        assert_eq!(Content::at(&it.path().join("named")).unwrap().total(), 6);
    }
}
