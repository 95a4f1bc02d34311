use std::collections::BTreeMap;
use std::net::SocketAddr;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use super::page;
use crate::shell::batch::trace::{Entry, Event};

fn address(rank: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 10_000 + rank as u16))
}

/// A run in which every client fetches `files` files of `pieces` pieces; the first ones own all.
fn run(clients: usize, owners: usize, files: usize, pieces: u32) -> BTreeMap<usize, Vec<Entry>> {
    let mut rng = StdRng::seed_from_u64(4);
    let mut traces = BTreeMap::from([(0, Vec::new())]);
    for rank in 1..=clients {
        let start = Event::Start {
            rank,
            address: address(rank),
        };
        let mut at = 1_000_000;
        let mut entries = vec![Entry { at, event: start }];
        let mut add = |at, event| entries.push(Entry { at, event });
        for file in 0..files * usize::from(rank > owners) {
            let file = format!("file{file}");
            for index in 0..pieces {
                at += u64::from(rng.next_u32() % 900);
                let count = owners + rng.random_range(0..2) * (rank - owners - 1).min(4);
                let from = address(1 + rng.random_range(0..count));
                let event = Event::Piece {
                    file: file.clone(),
                    index,
                    pieces,
                    from,
                    bytes: 33,
                };
                add(at, event);
            }
            add(at, Event::Finished { file });
        }
        add(at, Event::Stop);
        traces.insert(rank, entries);
    }
    traces
}

/// Fails if a tag is not closed in its place. Returns all text between tags.
fn texts(page: &str) -> Vec<&str> {
    let body = page.strip_prefix("<!doctype html>\n").expect("the doctype");
    let (mut open, mut texts) = (Vec::new(), Vec::new());
    for part in body.split('<').skip(1) {
        let (tag, text) = part.split_once('>').expect("a tag that ends");
        assert_eq!(tag.matches('"').count() % 2, 0, "quotes in <{tag}>");
        let name = tag.split([' ', '/']).find(|word| !word.is_empty()).unwrap();
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "before {part:?}");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
        for entity in text.split('&').skip(1) {
            let known = ["amp;", "lt;", "gt;", "quot;", "#39;"];
            assert!(
                known.iter().any(|known| entity.starts_with(known)),
                "&{entity}"
            );
        }
        texts.push(text);
    }
    assert_eq!(open, Vec::<&str>::new());
    texts
}

/// How many pieces the marks of the timeline stand for.
fn drawn(page: &str) -> usize {
    let marks = page
        .lines()
        .filter(|line| line.starts_with("<rect class=\"p "));
    let counts = marks.map(|mark| {
        let (_, title) = mark
            .split_once("<title>")
            .expect("each mark says what it is");
        match title.split_once(" pieces from ") {
            Some((count, _)) => count.parse().unwrap(),
            None => 1,
        }
    });
    counts.sum()
}

#[test]
fn every_piece_is_drawn_once() {
    for (clients, owners, files, pieces) in [
        (3, 2, 1, 10),
        (5, 3, 2, 100),
        (10, 4, 5, 100),
        (3, 2, 1, 10_000),
        (200, 8, 1, 100),
        (600, 3, 1, 10),
    ] {
        let page = page(&run(clients, owners, files, pieces));
        texts(&page);
        let expect = (clients - owners) * files * pieces as usize;
        assert_eq!(drawn(&page), expect, "{clients} clients");
        assert!(
            page.len() < 4 << 20,
            "{clients} clients: {} bytes",
            page.len()
        );
        // To look at them in a browser.
        if let Ok(folder) = std::env::var("MINI_REPORT_PAGES") {
            let name = format!("{folder}/report-{clients}-{pieces}.html");
            std::fs::write(name, &page).unwrap();
        }
    }
}

#[test]
fn the_page_needs_nothing_beside_itself() {
    let page = page(&run(4, 2, 2, 20));
    for never in [
        "http:", "https:", "//", "<script", "src=", "href=", "@import", "url(",
    ] {
        assert!(!page.contains(never), "{never}");
    }
    assert!(page.contains("prefers-color-scheme: dark"));
}

#[test]
fn names_cannot_break_the_page() {
    let mut traces = run(3, 2, 1, 12);
    for entry in traces.values_mut().flatten() {
        if let Event::Piece { file, .. } | Event::Finished { file } = &mut entry.event {
            *file = "<b>&\"'x\u{1b}</b>".into();
        }
    }
    let page = page(&traces);
    let texts = texts(&page);
    assert!(!page.contains("<b>") && !page.contains('\u{1b}'));
    assert!(
        texts
            .iter()
            .any(|text| text.contains("&lt;b&gt;&amp;&quot;&#39;x"))
    );
}

#[test]
fn who_sent_is_named_by_rank_or_by_address() {
    let mut traces = run(3, 2, 1, 40);
    let page_of_known = page(&traces);
    assert!(page_of_known.contains("from client 2 to client 3"));
    traces.get_mut(&2).unwrap().remove(0);
    assert!(page(&traces).contains("from 127.0.0.1:10002 to client 3"));
}

#[test]
fn the_axis_has_few_lines_however_short_the_run_was() {
    for pieces in [1, 2, 10, 1000] {
        let page = page(&run(3, 2, 1, pieces));
        let lines = page.matches("<line ").count();
        assert!((2..=12).contains(&lines), "{pieces} pieces: {lines} lines");
    }
}

#[test]
fn a_run_without_pieces_has_a_page() {
    let empty = page(&BTreeMap::new());
    texts(&empty);
    let page = page(&run(3, 3, 1, 10));
    texts(&page);
    assert!(page.contains("No piece was sent"));
}
