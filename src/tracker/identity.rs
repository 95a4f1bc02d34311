//! Who a tracker is: an Ed25519 key that is made at its first start and kept in a file.
//!
//! ```text
//! # The secret key of a Mini BitTorrent tracker. Who has it can pose as this tracker.
//! 9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60
//! ```
//!
//! The digits are the key's seed. On Unix only the file's owner may read it. A file that is damaged
//! is never written over: with another key, nobody would believe this tracker any longer.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use zeroize::Zeroizing;

use crate::control::key::TrackerKey;
use crate::runtime::tls::Acceptor;

/// The longest key file that is read, in bytes: several times what we write.
const MAX_FILE: u64 = 4096;

const COMMENT: &str =
    "# The secret key of a Mini BitTorrent tracker. Who has it can pose as this tracker.\n";

/// A tracker's key pair. The secret half is wiped from memory when dropped.
pub struct Identity {
    signing: SigningKey,
    acceptor: Acceptor,
}

/// Why there is no identity. For the person who starts the tracker.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error(
        "{} is not a tracker's key ({problem}): put it back from a copy, or move it away, and a \
         new key is made (tracker_info.txt then needs the new one, too)",
        path.display()
    )]
    Damaged {
        path: PathBuf,
        problem: &'static str,
    },
    #[error("cannot {doing} the tracker's key {}: {source}", path.display())]
    Io {
        path: PathBuf,
        /// As a verb.
        doing: &'static str,
        source: io::Error,
    },
}

impl Identity {
    /// The identity in the file, or a new one that is there when this returns.
    pub fn load_or_create(path: &Path) -> Result<Identity, IdentityError> {
        if let Some(identity) = Identity::load(path)? {
            return Ok(identity);
        }
        let new = Identity::ephemeral();
        match new.create(path) {
            Ok(()) => {
                log::info!(target: "tracker", "made a key in {}", path.display());
                Ok(new)
            }
            // Somebody else was faster, such as `tracker --key` in another window.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Identity::load(path)?.ok_or_else(|| failed("read", path, error))
            }
            Err(error) => Err(failed("write", path, error)),
        }
    }

    /// An identity that ends with the program: for tests.
    pub fn ephemeral() -> Identity {
        Identity::from_seed(&Zeroizing::new(rand::random()))
    }

    fn from_seed(seed: &Zeroizing<[u8; 32]>) -> Identity {
        let signing = SigningKey::from_bytes(seed);
        let acceptor = Acceptor::new(&signing).expect("there is a certificate for every key");
        Identity { signing, acceptor }
    }

    /// The identity in the text of a key file, or why there is none.
    pub fn parse(text: &[u8]) -> Result<Identity, &'static str> {
        parse_seed(text).map(|seed| Identity::from_seed(&seed))
    }

    /// The public half: what tracker_info.txt names.
    pub fn key(&self) -> TrackerKey {
        TrackerKey(self.signing.verifying_key().to_bytes())
    }

    /// The secret half: signs tickets.
    pub fn signing(&self) -> &SigningKey {
        &self.signing
    }

    /// Shows the key to clients that speak TLS.
    pub fn acceptor(&self) -> &Acceptor {
        &self.acceptor
    }

    fn load(path: &Path) -> Result<Option<Identity>, IdentityError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", path, error)),
        };
        // As large as it will ever be: memory that grows leaves copies behind.
        let mut text = Zeroizing::new(Vec::with_capacity(MAX_FILE as usize));
        let read = file.take(MAX_FILE).read_to_end(&mut text);
        read.map_err(|error| failed("read", path, error))?;
        let identity = Identity::parse(&text).map_err(|problem| IdentityError::Damaged {
            path: path.into(),
            problem,
        })?;
        Ok(Some(identity))
    }

    /// Writes the key to a file that must not exist. A crash leaves the whole file or none.
    fn create(&self, path: &Path) -> io::Result<()> {
        let mut new = path.as_os_str().to_os_string();
        new.push(format!(".{:08x}.new", rand::random::<u32>()));
        let new = PathBuf::from(new);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let written = options.open(&new).and_then(|mut file| {
            file.write_all(&self.text())?;
            file.sync_all()
        });
        let placed = written.and_then(|()| place(&new, path));
        // It has been renamed, or is of no use.
        let _ = fs::remove_file(&new);
        placed
    }

    /// What is written to the file.
    fn text(&self) -> Zeroizing<Vec<u8>> {
        let mut text = Zeroizing::new(Vec::with_capacity(MAX_FILE as usize));
        text.extend_from_slice(COMMENT.as_bytes());
        for byte in Zeroizing::new(self.signing.to_bytes()).iter() {
            text.extend([byte >> 4, byte & 15].map(hex_digit));
        }
        text.push(b'\n');
        text
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.key())
    }
}

fn failed(doing: &'static str, path: &Path, source: io::Error) -> IdentityError {
    IdentityError::Io {
        path: path.into(),
        doing,
        source,
    }
}

/// Gives a file its name, if no other file has it. Renaming alone would replace another's key.
fn place(new: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(new, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
        // Not every file system has hard links.
        Err(_) => fs::rename(new, path)?,
        Ok(()) => {}
    }
    sync_folder(path)
}

/// A new name survives a power failure only if its folder is synced, too.
#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    match File::open(folder)?.sync_all() {
        // Some network file systems cannot; the file is there all the same.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        result => result,
    }
}

/// Folders cannot be opened like files; NTFS keeps its own journal.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// The seed in the text of a key file: 64 hexadecimal digits beside comments.
fn parse_seed(text: &[u8]) -> Result<Zeroizing<[u8; 32]>, &'static str> {
    let mut lines = text
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty() && !line.starts_with(b"#"));
    let digits = lines.next().ok_or("it is empty")?;
    if lines.next().is_some() {
        return Err("it has more than one line");
    }
    if digits.len() != 64 {
        return Err("a line of 64 hexadecimal digits is expected");
    }
    let mut seed = Zeroizing::new([0; 32]);
    for (byte, digits) in seed.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in digits {
            let value = (*digit as char)
                .to_digit(16)
                .ok_or("not all of its digits are hexadecimal")?;
            *byte = *byte << 4 | value as u8;
        }
    }
    Ok(seed)
}

fn hex_digit(value: u8) -> u8 {
    b"0123456789abcdef"[usize::from(value & 15)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_first_start_is_the_key_of_every_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tracker-1.key");
        let first = Identity::load_or_create(&path).unwrap();
        let again = Identity::load_or_create(&path).unwrap();
        assert_eq!(first.key(), again.key());
        let other = Identity::load_or_create(&folder.path().join("tracker-2.key")).unwrap();
        assert_ne!(first.key(), other.key());
        let names = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(names, 2, "nothing else is left behind");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let debug = format!("{first:?}");
        let secret = String::from_utf8(first.text()[COMMENT.len()..][..64].to_vec()).unwrap();
        assert!(!debug.contains(&secret), "{debug}");
    }

    #[test]
    fn the_file_of_the_documentation_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        fs::write(&path, format!("{COMMENT}{seed}\r\n")).unwrap();
        // The first test vector of RFC 8032.
        assert_eq!(
            Identity::load_or_create(&path).unwrap().key().to_string(),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
    }

    #[test]
    fn a_damaged_file_is_named_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let key = "ab".repeat(32);
        let texts = [
            String::new(),
            "# only a comment\n".into(),
            key[..63].into(),
            format!("{key}0"),
            key.replacen('a', "g", 1),
            format!("{key}\n{key}\n"),
            "ä".repeat(32),
        ];
        for text in texts {
            fs::write(&path, &text).unwrap();
            let error = Identity::load_or_create(&path).unwrap_err().to_string();
            assert!(error.contains(path.to_str().unwrap()), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        let error = Identity::load_or_create(folder.path()).unwrap_err();
        assert!(matches!(error, IdentityError::Io { .. }), "{error}");
    }

    #[test]
    fn who_comes_second_takes_the_key_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let start = || Identity::load_or_create(&path).unwrap().key();
        let keys: Vec<TrackerKey> = std::thread::scope(|scope| {
            let starting: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            starting.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == start()), "{keys:?}");
    }
}
