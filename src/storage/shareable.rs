//! What lies in an upload folder and may be shared though nobody has named it: because the folder is
//! watched, or because a tracker asks for it.

use std::fs::{self, Metadata};
use std::path::Path;

use super::names::PART;

/// What a file or folder looks like; None if it is not to be shared.
///
/// Left alone are: what is hidden, or ends with `.part`; and links, which may lead anywhere.
pub fn shareable(path: &Path) -> Option<Metadata> {
    let name = path.file_name()?.to_string_lossy();
    if name.starts_with('.') || name.ends_with(PART) {
        return None;
    }
    let metadata = fs::symlink_metadata(path).ok()?;
    let is_content = metadata.is_file() || metadata.is_dir();
    (is_content && !is_hidden(&metadata)).then_some(metadata)
}

#[cfg(windows)]
fn is_hidden(metadata: &Metadata) -> bool {
    const FILE_ATTRIBUTE_HIDDEN: u32 = 2;
    std::os::windows::fs::MetadataExt::file_attributes(metadata) & FILE_ATTRIBUTE_HIDDEN != 0
}

/// Its name says it.
#[cfg(not(windows))]
fn is_hidden(_: &Metadata) -> bool {
    false
}
