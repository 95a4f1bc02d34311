//! What of the watched folder is shared with groups, and so not with everybody by itself.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::control::names::GroupName;
use crate::peer::view::TorrentView;
use crate::storage::real_path;

/// Where the content of groups lies.
pub struct Groups {
    /// Without links, as all paths here.
    folder: PathBuf,
    paths: Vec<(PathBuf, GroupName)>,
}

impl Groups {
    /// Of torrents that may lie in `folder`, also through a link.
    pub fn of(torrents: &[TorrentView], folder: &Path) -> Groups {
        let real = |path: &Path| real_path(path).unwrap_or_else(|_| path.to_path_buf());
        let of_group = |torrent: &TorrentView| {
            let share = torrent.share.as_ref()?;
            (!share.group.is_public()).then(|| (real(&torrent.path), share.group.clone()))
        };
        Groups {
            folder: real(folder),
            paths: torrents.iter().filter_map(of_group).collect(),
        }
    }

    /// The group with which something in the folder is shared: itself, some of it, or all around it.
    pub fn group_of(&self, name: &OsStr) -> Option<&GroupName> {
        let path = self.folder.join(name);
        let is_of = |of: &Path| of.starts_with(&path) || path.starts_with(of);
        let (_, group) = self.paths.iter().find(|(of, _)| is_of(of))?;
        Some(group)
    }
}

/// Why it is left alone, in words.
pub fn of_group(group: &GroupName) -> String {
    format!("is shared with {group}, and not with everybody")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_group_shares_is_shared_with_everybody() {
        let cs: GroupName = "cs".parse().unwrap();
        let groups = |path: &str| Groups {
            folder: "/up".into(),
            paths: vec![(path.into(), cs.clone())],
        };
        for (path, name, expect) in [
            ("/up/a", "a", true),
            ("/up/a", "b", false),
            ("/up/a", "ab", false),
            ("/up/d/a", "d", true),
            ("/up", "a", true),
            ("/", "a", true),
            ("/other/a", "a", false),
        ] {
            let is_of = groups(path).group_of(OsStr::new(name)).is_some();
            assert_eq!(is_of, expect, "{path} {name}");
        }
    }
}
