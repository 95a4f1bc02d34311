//! `tracker_info.txt`: where the trackers are, in the order in which they are tried.
//!
//! ```text
//! # one tracker a line
//! 192.168.1.10:6000
//! 192.168.1.11 6000
//! [2001:db8::1]:6000
//! ```
//!
//! A tracker's key may follow. The original's form, address and port on lines of their own, is read
//! too. Host names are kept as they are: looking them up is the program's.

use std::net::Ipv4Addr;

use super::key::TrackerKey;

/// The most trackers in one file.
pub const MAX_TRACKERS: usize = 100;

/// One tracker of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackerAddress {
    /// An IP address (IPv6 without brackets) or a name.
    pub host: String,
    /// 0 lets the tracker's system choose: for tests.
    pub port: u16,
    /// The word after the address: the key of the tracker. With it, TLS is spoken.
    pub key: Option<TrackerKey>,
}

/// Why a text is not a list of trackers, and where in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct TrackerInfoError {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub problem: Problem,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("no tracker is named; write a line such as `127.0.0.1:6000`")]
    Empty,
    #[error("this looks like JSON; write one tracker a line, such as `127.0.0.1:6000`")]
    Json,
    #[error("`{0}` is neither an IP address nor a host name")]
    Host(String),
    #[error("`{0}` is not a port (0 to 65535)")]
    Port(String),
    #[error("the port of `{0}` is missing; write `{0}:6000`")]
    NoPort(String),
    #[error("`{0}` is one word too many; a line has an address and perhaps a key")]
    TooMany(String),
    #[error("`{0}` is not a key: 64 hexadecimal digits, which `tracker --key` prints")]
    Key(String),
    #[error("`{0}` is there already")]
    Twice(String),
    #[error("more than {MAX_TRACKERS} trackers")]
    TooManyTrackers,
}

/// Shows `host:port` as it is written in the file.
impl std::fmt::Display for TrackerAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A word and where it begins.
#[derive(Clone, Copy)]
struct Word<'a> {
    line: usize,
    column: usize,
    text: &'a str,
}

impl Word<'_> {
    fn error(self, problem: impl FnOnce(String) -> Problem) -> TrackerInfoError {
        TrackerInfoError {
            line: self.line,
            column: self.column,
            // A message repeats no more than the beginning of what may be any file.
            problem: problem(self.text.chars().take(60).collect()),
        }
    }
}

/// The trackers that the text names: at least one.
pub fn parse(text: &str) -> Result<Vec<TrackerAddress>, TrackerInfoError> {
    let mut trackers: Vec<TrackerAddress> = Vec::new();
    let mut lines = text
        .lines()
        .enumerate()
        .map(|(number, line)| words(number + 1, line))
        .filter(|words| !words.is_empty());
    while let Some(line) = lines.next() {
        let first = line[0];
        if trackers.is_empty() && looks_like_json(first.text) {
            return Err(first.error(|_| Problem::Json));
        }
        let (host, port, rest) = match split_port(first)? {
            (host, Some(port)) => (host, port, &line[1..]),
            (host, None) if line.len() > 1 => (host, parse_port(line[1])?, &line[2..]),
            // The original's form: the port is alone on the next line.
            (host, None) => match lines.next().as_deref() {
                Some([port]) if port.text.bytes().all(|b| b.is_ascii_digit()) => {
                    (host, parse_port(*port)?, &line[1..])
                }
                _ => return Err(first.error(Problem::NoPort)),
            },
        };
        let host = parse_host(first, host)?;
        if let Some(extra) = rest.get(1) {
            return Err(extra.error(Problem::TooMany));
        }
        let tracker = TrackerAddress {
            host,
            port,
            key: rest.first().map(parse_key).transpose()?.flatten(),
        };
        let same = |other: &TrackerAddress| (&other.host, other.port) == (&tracker.host, port);
        if port != 0 && trackers.iter().any(same) {
            return Err(first.error(|_| Problem::Twice(tracker.to_string())));
        }
        if trackers.len() == MAX_TRACKERS {
            return Err(first.error(|_| Problem::TooManyTrackers));
        }
        trackers.push(tracker);
    }
    if trackers.is_empty() {
        return Err(TrackerInfoError {
            line: 1,
            column: 1,
            problem: Problem::Empty,
        });
    }
    Ok(trackers)
}

/// The words of a line up to a comment.
fn words(number: usize, line: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut rest = line;
    let mut column = 1;
    loop {
        let trimmed = rest.trim_start();
        column += rest[..rest.len() - trimmed.len()].chars().count();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            return words;
        }
        let end = trimmed
            .find(|c: char| c.is_whitespace() || c == '#')
            .unwrap_or(trimmed.len());
        let (text, after) = trimmed.split_at(end);
        words.push(Word {
            line: number,
            column,
            text,
        });
        column += text.chars().count();
        rest = after;
    }
}

fn looks_like_json(first: &str) -> bool {
    first.starts_with('{') || first == "[" || first.starts_with("[{") || first.starts_with("[\"")
}

/// Host and port of `host:port`; a port may also be missing.
fn split_port(word: Word<'_>) -> Result<(&str, Option<u16>), TrackerInfoError> {
    let text = word.text;
    let port_of = |text| {
        parse_port(Word {
            text,
            column: word.column + word.text.chars().count() - text.chars().count(),
            ..word
        })
        .map(Some)
    };
    if let Some(inside) = text.strip_prefix('[') {
        let Some((host, after)) = inside.split_once(']') else {
            return Err(word.error(Problem::Host));
        };
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(word.error(Problem::Host));
        }
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, port_of(port)?)),
            None if after.is_empty() => Ok((host, None)),
            None => Err(word.error(Problem::Host)),
        };
    }
    match text.split_once(':') {
        None => Ok((text, None)),
        // A bare IPv6 address; its port is the next word.
        Some((_, port)) if port.contains(':') => Ok((text, None)),
        Some((host, port)) => Ok((host, port_of(port)?)),
    }
}

/// The word after an address. Some files of the original's kin have a second port there.
fn parse_key(word: &Word<'_>) -> Result<Option<TrackerKey>, TrackerInfoError> {
    match word.text.parse() {
        Ok(key) => Ok(Some(key)),
        Err(_) if parse_port(*word).is_ok() => Ok(None),
        Err(_) => Err(word.error(Problem::Key)),
    }
}

fn parse_port(word: Word<'_>) -> Result<u16, TrackerInfoError> {
    let digits = word.text.bytes().all(|byte| byte.is_ascii_digit());
    match word.text.parse() {
        Ok(port) if digits => Ok(port),
        _ => Err(word.error(Problem::Port)),
    }
}

fn parse_host(word: Word<'_>, host: &str) -> Result<String, TrackerInfoError> {
    let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let is_name = |text: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        text.len() <= 253 && text.bytes().all(allowed)
    };
    let good = if host.contains(':') {
        host.parse::<std::net::Ipv6Addr>().is_ok()
    } else if is_number(host) {
        host.parse::<Ipv4Addr>().is_ok()
    } else {
        is_name(host)
    };
    if good {
        Ok(host.to_string())
    } else {
        Err(word.error(Problem::Host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        let got = match parse(text) {
            Ok(trackers) => {
                let show = |tracker: &TrackerAddress| match &tracker.key {
                    None => tracker.to_string(),
                    Some(key) => format!("{tracker} key {key}"),
                };
                trackers.iter().map(show).collect::<Vec<_>>().join(", ")
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expect, "for {text:?}");
    }

    #[test]
    fn reads_every_form() {
        check("127.0.0.1:6000", "127.0.0.1:6000");
        check(
            "# ours\r\n\r\n 10.0.0.1 6000 # first\r\nlocalhost:0\r\n",
            "10.0.0.1:6000, localhost:0",
        );
        check(
            "10.0.0.1\n6000\n\n10.0.0.2\n6001\n",
            "10.0.0.1:6000, 10.0.0.2:6001",
        );
        check(
            "[::1]:6000\n::2 6000\n[::3] 6000\n::4\n6000",
            "[::1]:6000, [::2]:6000, [::3]:6000, [::4]:6000",
        );
        let (k1, k2) = ("1".repeat(64), "2".repeat(64));
        check(
            &format!("a:1 {k1}\nb 2 {k2}"),
            &format!("a:1 key {k1}, b:2 key {k2}"),
        );
        check("a 1 2\nb 2 3", "a:1, b:2");
        let zeros = "0".repeat(64);
        check(&format!("a 1 {zeros}"), &format!("a:1 key {zeros}"));
        check("127.0.0.1:0\n127.0.0.1:0", "127.0.0.1:0, 127.0.0.1:0");
    }

    #[test]
    fn errors_name_line_and_column() {
        check(
            "",
            "line 1, column 1: no tracker is named; write a line such as `127.0.0.1:6000`",
        );
        check(
            "\n {\"a\": 1}",
            "line 2, column 2: this looks like JSON; write one tracker a line, such as `127.0.0.1:6000`",
        );
        check(
            "[\n\"a:1\"]",
            "line 1, column 1: this looks like JSON; write one tracker a line, such as `127.0.0.1:6000`",
        );
        check(
            "a:1\n  b:99999",
            "line 2, column 5: `99999` is not a port (0 to 65535)",
        );
        check("a:", "line 1, column 3: `` is not a port (0 to 65535)");
        check("a:+1", "line 1, column 3: `+1` is not a port (0 to 65535)");
        check(
            "10.0.0.1 port",
            "line 1, column 10: `port` is not a port (0 to 65535)",
        );
        check(
            "10.0.0.1\n10.0.0.2",
            "line 1, column 1: the port of `10.0.0.1` is missing; write `10.0.0.1:6000`",
        );
        check(
            "10.0.0.1",
            "line 1, column 1: the port of `10.0.0.1` is missing; write `10.0.0.1:6000`",
        );
        check(
            "999.0.0.1:1",
            "line 1, column 1: `999.0.0.1:1` is neither an IP address nor a host name",
        );
        check(
            "[::g]:1",
            "line 1, column 1: `[::g]:1` is neither an IP address nor a host name",
        );
        check(
            "ä:1",
            "line 1, column 1: `ä:1` is neither an IP address nor a host name",
        );
        check(
            "a:1 k",
            "line 1, column 5: `k` is not a key: 64 hexadecimal digits, which `tracker --key` prints",
        );
        check(
            "a:1 2 what",
            "line 1, column 7: `what` is one word too many; a line has an address and perhaps a key",
        );
        check("a:1\na 1", "line 2, column 1: `a:1` is there already");
        let many: String = (1..=101).map(|port| format!("a:{port}\n")).collect();
        check(&many, "line 101, column 1: more than 100 trackers");
    }
}
