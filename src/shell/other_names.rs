//! Names of a torrent that this machine cannot have, and what they are on its disk, as text.
//!
//! Not here: which those are ([`crate::storage::names`]), and the page with all of them
//! ([`crate::storage::folder::DownloadFolder::tell_names`]).

use crate::peer::Peer;
use crate::peer::view::TorrentView;
use crate::storage::names::Mapping;

use super::log_lines::spelled;

/// How many are shown when a download begins.
const SHOWN: usize = 3;

/// What is said when a download begins: how many, the first of them, and where all are. None if all
/// names are as in the torrent.
pub fn first(peer: &Peer, torrent: &TorrentView) -> Option<String> {
    let mappings = mappings(torrent)?;
    let page = peer.names_file(torrent.info_hash);
    Some(sentence(mappings, &page.display().to_string()))
}

fn sentence(mappings: &[Mapping], page: &str) -> String {
    let shown = mappings.iter().take(SHOWN);
    let shown = shown.map(|it| format!("\n  {} is {}", spelled(&it.from), spelled(&it.to)));
    let shown: String = shown.collect();
    let more = match mappings.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!("\n  and {more} more"),
    };
    let names = match mappings.len() {
        1 => "1 name is".into(),
        count => format!("{count} names are"),
    };
    format!("{names} not possible here and another on the disk:{shown}{more}\nAll of them: {page}")
}

/// One line for each torrent that has such names: where they are.
pub fn pages(peer: &Peer, torrents: &[TorrentView]) -> String {
    let line = |torrent: &TorrentView| {
        let count = mappings(torrent)?.len();
        let page = peer.names_file(torrent.info_hash);
        let name = spelled(&torrent.name);
        let page = page.display();
        Some(format!(
            "\nOther names on the disk, of {name}: {count}, see {page}"
        ))
    };
    torrents.iter().filter_map(line).collect()
}

fn mappings(torrent: &TorrentView) -> Option<&[Mapping]> {
    let mappings = &torrent.names.as_ref()?.mappings;
    (!mappings.is_empty()).then_some(mappings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_names_are_shown_and_the_rest_is_counted() {
        let mapping = |from: &str, to: &str| Mapping {
            from: from.into(),
            to: to.into(),
        };
        let all = [
            mapping("q?", "q_"),
            mapping("tab\t", "tab_"),
            mapping("CON/a", "_CON/a"),
            mapping("a", "a (2)"),
        ];
        assert_eq!(
            sentence(&all[..1], "names.txt"),
            "1 name is not possible here and another on the disk:\n  q? is q_\nAll of them: names.txt"
        );
        assert_eq!(
            sentence(&all, "names.txt"),
            "4 names are not possible here and another on the disk:\n  q? is q_\n  tab\\t is tab_\n  \
             CON/a is _CON/a\n  and 1 more\nAll of them: names.txt"
        );
    }
}
