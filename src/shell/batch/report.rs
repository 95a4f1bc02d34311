//! The picture of a batch run: who sent which piece to whom, and when, as one page of HTML.
//!
//! The page needs nothing beside itself: no network, no script. It is made of the traces of all
//! processes ([`super::trace`]). However large the run was, the page stays below a few megabytes:
//! with many pieces a mark stands for several, with many clients a row does.

mod run;
mod shares;
mod timeline;

use std::collections::BTreeMap;

use crate::shell::units;

use super::trace::Entry;
use run::Run;

/// Colours that people with any kind of colour vision tell apart; with more sources they repeat.
/// For a light page, for a dark one, and for text on them.
const COLOURS: [[&str; 3]; 10] = [
    ["#0072b2", "#1f86c8", "#fff"],
    ["#e69f00", "#e69f00", "#000"],
    ["#009e73", "#1fb48a", "#000"],
    ["#cc79a7", "#d68ab5", "#000"],
    ["#56b4e9", "#8fd0f7", "#000"],
    ["#d55e00", "#e0702a", "#000"],
    ["#dcc900", "#f0e442", "#000"],
    ["#882255", "#a8467d", "#fff"],
    ["#8a8a2d", "#aeae4e", "#000"],
    ["#8c8c8c", "#9d9d9d", "#000"],
];
/// Rows of the table and of the timeline.
const MAX_ROWS: usize = 250;
/// Names are cut to so many characters where there is little room.
const MAX_LABEL: usize = 24;
/// Of all drawings, in pixels of a wide window.
const WIDTH: f64 = 1100.0;

/// The page of a run, from the traces of its processes by rank.
pub fn page(traces: &BTreeMap<usize, Vec<Entry>>) -> String {
    let run = Run::of(traces);
    let title = format!(
        "Batch run: {}, {}",
        units::count(run.clients.len(), "client"),
        units::count(run.pieces.len(), "piece")
    );
    let parts = [
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width\"/>\n<title>{title}</title>\n\
             <style>\n{STYLE}{}</style>\n</head>\n<body>\n<h1>{title}</h1>\n",
            colours()
        ),
        totals(&run),
        legend(&run),
        timeline::section(&run),
        shares::section(&run),
        table(&run),
        "</body>\n</html>\n".to_string(),
    ];
    parts.concat()
}

const STYLE: &str = "\
:root { color-scheme: light dark; --back: #fff; --text: #1b1f24; --faint: #68707a; --line: #d9dee4; --band: #f4f6f8; }
body { margin: 2rem auto; max-width: 1100px; padding: 0 1.25rem; background: var(--back); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 1rem; }
h2 { font-size: 1.2rem; margin: 2.25rem 0 .25rem; }
p { margin: .25rem 0 .75rem; color: var(--faint); }
.totals { display: flex; flex-wrap: wrap; gap: .75rem; margin: 0 0 1rem; }
.totals div { background: var(--band); border-radius: 8px; padding: .5rem .9rem; }
.totals dt { color: var(--faint); font-size: .8rem; }
.totals dd { margin: 0; font-size: 1.15rem; font-weight: 600; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1rem; list-style: none; margin: 0; padding: 0; }
.legend svg { width: 12px; height: 12px; margin-right: .4rem; vertical-align: -1px; }
.wide { overflow-x: auto; }
.wide svg { display: block; width: 100%; min-width: 760px; height: auto; }
text { font: 12px system-ui, sans-serif; fill: var(--text); }
text.faint { fill: var(--faint); }
text.small { font-size: 11px; }
text.end { text-anchor: end; }
text.middle { text-anchor: middle; }
.band { fill: var(--band); }
.line { stroke: var(--line); stroke-width: 1; }
.done { fill: var(--text); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem 1.5rem .2rem 0; text-align: right; }
th { color: var(--faint); font-weight: 400; font-size: .85rem; }
th:first-child, td:first-child { text-align: left; }
tbody tr { border-top: 1px solid var(--line); }
";

/// The rules for colours, light and dark.
fn colours() -> String {
    let each = |rule: &dyn Fn(usize, &[&str; 3]) -> String| -> String {
        let rules = COLOURS.iter().enumerate();
        rules.map(|(i, colour)| rule(i, colour)).collect()
    };
    let classes = each(&|i, _| format!(".s{i} {{ fill: var(--s{i}); }}\n"));
    let light = each(&|i, [light, _, _]| format!("--s{i}: {light}; "));
    let dark = each(&|i, [_, dark, _]| format!("--s{i}: {dark}; "));
    let texts = each(&|i, [_, _, text]| format!("text.t{i} {{ fill: {text}; }}\n"));
    format!(
        ":root {{ {light}--s-other: #c3c9d0; }}\n.other {{ fill: var(--s-other); }}\n{classes}{texts}\
         @media (prefers-color-scheme: dark) {{\n:root {{ --back: #14181d; --text: #e8ebee; \
         --faint: #9aa4af; --line: #333b44; --band: #1c2229; {dark}--s-other: #4a535d; }}\n}}\n"
    )
}

fn totals(run: &Run) -> String {
    let bytes: u64 = run.pieces.iter().map(|piece| u64::from(piece.bytes)).sum();
    let mut cards = vec![
        ("Clients", run.clients.len().to_string()),
        ("Files fetched", run.finishes.len().to_string()),
        ("Pieces sent", run.pieces.len().to_string()),
        ("Content sent", units::bytes(bytes)),
        ("First piece to last", timeline::time(run.span())),
        ("Swarm answers", run.swarm_answers.to_string()),
    ];
    if let Some(most) = shares::largest(run) {
        cards.push(("Largest share of one source", most));
    }
    let cards = cards
        .iter()
        .map(|(name, value)| format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", escape(value)));
    format!(
        "<dl class=\"totals\">\n{}</dl>\n",
        cards.collect::<String>()
    )
}

/// The colour of each source.
fn legend(run: &Run) -> String {
    if run.sources.len() > 2 * COLOURS.len() {
        return format!(
            "<p>{} sent pieces, so each of the {} colours stands for several of them: point at a \
             mark to see who it was.</p>\n",
            units::count(run.sources.len(), "client"),
            COLOURS.len()
        );
    }
    let items = run.sources.iter().enumerate().map(|(i, source)| {
        format!(
            "<li><svg viewBox=\"0 0 12 12\"><rect class=\"s{}\" width=\"12\" height=\"12\" rx=\"2\"/></svg>{}</li>\n",
            i % COLOURS.len(),
            escape(source)
        )
    });
    let items: String = items.collect();
    let repeat = match run.sources.len() > COLOURS.len() {
        true => " Colours repeat: point at a mark to see who it was.",
        false => "",
    };
    format!("<p>The colour is the sender.{repeat}</p>\n<ul class=\"legend\">\n{items}</ul>\n")
}

/// Sums of each client.
fn table(run: &Run) -> String {
    let rows = run.clients.iter().take(MAX_ROWS).map(|client| {
        let got = run.pieces.iter().filter(|piece| piece.client == *client);
        let last = got.clone().map(|piece| piece.at).max();
        let mut sources: Vec<usize> = got.clone().map(|piece| piece.source).collect();
        let pieces = sources.len();
        sources.sort_unstable();
        sources.dedup();
        let name = run::client(*client);
        let own = run.sources.iter().position(|source| *source == name);
        let gave = run.pieces.iter().filter(|piece| Some(piece.source) == own);
        let files = run.finishes.iter().filter(|finish| finish.client == *client);
        format!(
            "<tr><td>{name}</td><td>{}</td><td>{pieces}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
            files.count(),
            sources.len(),
            gave.count(),
            last.map_or("–".to_string(), timeline::time),
        )
    });
    let rows: String = rows.collect();
    let more = match run.clients.len().saturating_sub(MAX_ROWS) {
        0 => String::new(),
        more => format!("<p>And {} more.</p>\n", units::count(more, "client")),
    };
    format!(
        "<h2>Each client</h2>\n<div class=\"wide\"><table>\n<thead><tr><th></th><th>files fetched</th>\
         <th>pieces received</th><th>from so many</th><th>pieces sent</th><th>last piece at</th></tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table></div>\n{more}"
    )
}

/// Text as it may stand in HTML, also inside of quotes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A name in little room, escaped; the whole of it is shown when one points at it.
fn label(name: &str) -> String {
    if name.chars().count() <= MAX_LABEL {
        return escape(name);
    }
    let kept: String = name.chars().take(MAX_LABEL - 1).collect();
    escape(&(kept + "…"))
}

#[cfg(test)]
mod tests;
