//! One message of the control protocol: a line of words, and perhaps a body of bytes.
//!
//! ```text
//! upload_file public "my holiday.iso" 5 ... +3\n
//! abc
//! ```
//!
//! Words are separated by spaces. A word in double quotes may have spaces; inside the quotes
//! `""` is one quote, and nothing else is special, so Windows paths need no doubling. A last
//! word `+N` without quotes says that N bytes follow the line. No word has control characters.

use std::io::{self, BufRead, Read, Write};

use zeroize::Zeroizing;

/// The longest line, in bytes, its line feed not counted: room for any command many times over.
pub const MAX_LINE: usize = 64 * 1024;
/// The longest body, in bytes: the info dictionary of 200,000 pieces.
pub const MAX_BODY: usize = 4 * 1024 * 1024;

/// The words of a message, and its body (empty if there is none).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frame {
    pub words: Vec<String>,
    pub body: Vec<u8>,
}

/// The first line of a [`Frame`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line {
    pub words: Vec<String>,
    /// How many bytes follow the line.
    pub body_len: usize,
}

/// Why a text is not a line of words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    #[error("a quote (\") is not closed")]
    OpenQuote,
    #[error(
        "a quote (\") in the middle of a word: put quotes around the whole word, and write \"\" for a quote inside"
    )]
    StrayQuote,
    #[error("a control character in the line")]
    ControlCharacter,
    #[error("`+` begins the length of a body: `+N` with N up to {MAX_BODY}")]
    BodyLength,
    #[error("a line of more than {MAX_LINE} bytes")]
    TooLong,
    #[error("a body of {0} bytes: {MAX_BODY} are possible")]
    BodyTooLong(usize),
}

/// Why no frame could be read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error(transparent)]
    Line(#[from] LineError),
    #[error("a line that is not UTF-8")]
    NotUtf8,
    #[error("the connection ended in the middle of a message")]
    Truncated,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl FrameError {
    /// Whether the next frame can be read all the same: the bad line was read to its end, and
    /// no body follows it.
    pub fn is_in_step(&self) -> bool {
        match self {
            FrameError::Line(error) => matches!(
                error,
                LineError::OpenQuote | LineError::StrayQuote | LineError::ControlCharacter
            ),
            FrameError::NotUtf8 | FrameError::Truncated | FrameError::Io(_) => false,
        }
    }
}

impl Line {
    /// A line without its line feed.
    pub fn parse(text: &str) -> Result<Line, LineError> {
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.len() > MAX_LINE {
            return Err(LineError::TooLong);
        }
        let split = split(text);
        if let Err(error) = split {
            // What may be a body must not be taken for the next line.
            let may_have_body = text.rsplit(' ').next().is_some_and(|w| w.starts_with('+'));
            return Err(if may_have_body {
                LineError::BodyLength
            } else {
                error
            });
        }
        let mut words = split?;
        let body_len = match words.last() {
            Some((word, Quoted::No)) if word.starts_with('+') => {
                let length = parse_body_len(word).ok_or(LineError::BodyLength)?;
                words.pop();
                length
            }
            _ => 0,
        };
        Ok(Line {
            words: words.into_iter().map(|(word, _)| word).collect(),
            body_len,
        })
    }

    /// The line without its line feed.
    pub fn encode(&self) -> Result<String, LineError> {
        let mut line = String::new();
        for word in &self.words {
            if word.contains(char::is_control) {
                return Err(LineError::ControlCharacter);
            }
            if !line.is_empty() {
                line.push(' ');
            }
            push_word(&mut line, word);
        }
        match self.body_len {
            0 => {}
            length if length > MAX_BODY => return Err(LineError::BodyTooLong(length)),
            length => {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(&format!("+{length}"));
            }
        }
        if line.len() > MAX_LINE {
            return Err(LineError::TooLong);
        }
        Ok(line)
    }
}

impl Frame {
    pub fn new<W: Into<String>>(words: impl IntoIterator<Item = W>) -> Frame {
        Frame {
            words: words.into_iter().map(Into::into).collect(),
            body: Vec::new(),
        }
    }

    pub fn with_body(self, body: Vec<u8>) -> Frame {
        Frame { body, ..self }
    }

    /// The bytes of the message: to be sent by one write.
    pub fn encode(&self) -> Result<Vec<u8>, LineError> {
        let line = Line {
            words: self.words.clone(),
            body_len: self.body.len(),
        };
        let mut bytes = line.encode()?.into_bytes();
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.body);
        Ok(bytes)
    }
}

/// The words of a line that a person typed: what a prompt uses. A last `+N` is a word here.
pub fn split_words(text: &str) -> Result<Vec<String>, LineError> {
    Ok(split(text)?.into_iter().map(|(word, _)| word).collect())
}

/// The word as it must be typed: in quotes where it needs them.
pub fn quote_word(word: &str) -> String {
    let mut quoted = String::new();
    push_word(&mut quoted, word);
    quoted
}

/// The next message, or `None` at a clean end.
pub fn read_frame(reader: &mut impl BufRead) -> Result<Option<Frame>, FrameError> {
    let Some(line) = read_line(reader)? else {
        return Ok(None);
    };
    let body = read_body(reader, line.body_len)?;
    Ok(Some(Frame {
        words: line.words,
        body,
    }))
}

/// The next message's line, or `None` at a clean end. Its body must be read next: apart, so
/// that whoever reads can first see whether there is room for it.
pub fn read_line(reader: &mut impl BufRead) -> Result<Option<Line>, FrameError> {
    let text = read_text(reader)?;
    Ok(text.map(|text| Line::parse(&text)).transpose()?)
}

/// The next line as it was sent, without its line feed, or `None` at a clean end. There may be a
/// password in it.
pub fn read_text(reader: &mut impl BufRead) -> Result<Option<Zeroizing<String>>, FrameError> {
    let mut line = Vec::new();
    // One more for the line feed, and one to tell "too long" from "just fits".
    let limit = MAX_LINE as u64 + 2;
    reader
        .by_ref()
        .take(limit)
        .read_until(b'\n', &mut line)
        .map_err(FrameError::Io)?;
    match line.pop() {
        None => return Ok(None),
        Some(b'\n') => {}
        Some(_) if line.len() >= MAX_LINE => return Err(LineError::TooLong.into()),
        Some(_) => return Err(FrameError::Truncated),
    }
    let line = String::from_utf8(line).map_err(|_| FrameError::NotUtf8)?;
    Ok(Some(Zeroizing::new(line)))
}

/// Memory is taken as bytes arrive, not as they are promised.
pub fn read_body(reader: &mut impl BufRead, length: usize) -> Result<Vec<u8>, FrameError> {
    let mut body = Vec::new();
    reader
        .by_ref()
        .take(length as u64)
        .read_to_end(&mut body)
        .map_err(FrameError::Io)?;
    if body.len() < length {
        return Err(FrameError::Truncated);
    }
    Ok(body)
}

/// Sends a message with one write.
pub fn write_frame(writer: &mut impl Write, frame: &Frame) -> Result<(), FrameError> {
    writer.write_all(&frame.encode()?)?;
    writer.flush()?;
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quoted {
    Yes,
    No,
}

fn split(text: &str) -> Result<Vec<(String, Quoted)>, LineError> {
    if text.contains(char::is_control) {
        return Err(LineError::ControlCharacter);
    }
    let mut words = Vec::new();
    let mut rest = text.trim_start_matches(' ');
    while !rest.is_empty() {
        let after = match rest.strip_prefix('"') {
            Some(inside) => {
                let (word, after) = quoted_word(inside)?;
                words.push((word, Quoted::Yes));
                after
            }
            None => {
                let end = rest.find(' ').unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                if word.contains('"') {
                    return Err(LineError::StrayQuote);
                }
                words.push((word.to_string(), Quoted::No));
                after
            }
        };
        rest = after.trim_start_matches(' ');
    }
    Ok(words)
}

/// The word up to the closing quote, and what comes after it.
fn quoted_word(inside: &str) -> Result<(String, &str), LineError> {
    let mut word = String::new();
    let mut rest = inside;
    loop {
        let quote = rest.find('"').ok_or(LineError::OpenQuote)?;
        word.push_str(&rest[..quote]);
        rest = &rest[quote + 1..];
        match rest.as_bytes().first() {
            Some(b'"') => {
                word.push('"');
                rest = &rest[1..];
            }
            Some(b' ') | None => return Ok((word, rest)),
            Some(_) => return Err(LineError::StrayQuote),
        }
    }
}

fn push_word(line: &mut String, word: &str) {
    let plain = !word.is_empty() && !word.starts_with('+') && !word.contains([' ', '"']);
    if plain {
        line.push_str(word);
    } else {
        line.push('"');
        line.push_str(&word.replace('"', "\"\""));
        line.push('"');
    }
}

fn parse_body_len(word: &str) -> Option<usize> {
    let digits = word.strip_prefix('+')?;
    let all_digits = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    let length = digits.parse().ok()?;
    (all_digits && length <= MAX_BODY).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The words in `|`, then the body's length.
    fn check(line: &str, expect: &str) {
        let got = match Line::parse(line) {
            Ok(line) => format!("{} +{}", line.words.join("|"), line.body_len),
            Err(error) => format!("{error:?}"),
        };
        assert_eq!(got, expect, "for {line}");
    }

    #[test]
    fn splits_words() {
        check("", " +0");
        check("ping", "ping +0");
        check("  a  b ", "a|b +0");
        check("a \"b c\" d\r", "a|b c|d +0");
        check(r#"a "" "say ""hi""" """""#, r#"a||say "hi"|" +0"#);
        check(r#"up "C:\My Files\x.iso""#, r"up|C:\My Files\x.iso +0");
        check(r"up C:\Users\ann\x.iso", r"up|C:\Users\ann\x.iso +0");
        check(r#"up "C:\My Files\" cs101"#, r"up|C:\My Files\|cs101 +0");
        check(r#"up "\\server\my share\x""#, r"up|\\server\my share\x +0");
        check(r"up \\server\share\x", r"up|\\server\share\x +0");
        check("a +5", "a +5");
        check("+0", " +0");
        check("a \"+5\"", "a|+5 +0");
        check("a +5 b", "a|+5|b +0");
    }

    #[test]
    fn refuses_what_is_ambiguous() {
        check("a \"b", "OpenQuote");
        check("a b\"c", "StrayQuote");
        check("a \"b\"c", "StrayQuote");
        check("a\tb", "ControlCharacter");
        check("a \u{85}", "ControlCharacter");
        for length in [
            "+",
            "+x",
            "+-1",
            "++1",
            "+ 1 +",
            "+4194305",
            "+99999999999999999999",
        ] {
            check(&format!("a {length}"), "BodyLength");
        }
        check("a \"b +5", "BodyLength");
    }

    fn read(bytes: &[u8]) -> Result<Option<Frame>, FrameError> {
        read_frame(&mut io::BufReader::with_capacity(3, bytes))
    }

    #[test]
    fn every_truncation_is_an_error_and_none_is_a_clean_end() {
        let frame = Frame::new(["upload", "a b"]).with_body(b"12345".to_vec());
        let bytes = frame.encode().unwrap();
        assert_eq!(bytes, b"upload \"a b\" +5\n12345");
        assert_eq!(read(&bytes).unwrap(), Some(frame));
        assert!(read(b"").unwrap().is_none());
        for cut in 1..bytes.len() {
            let error = read(&bytes[..cut]).unwrap_err();
            assert!(matches!(error, FrameError::Truncated), "cut at {cut}");
        }
    }

    #[test]
    fn lines_end_at_their_limit() {
        let longest = "x".repeat(MAX_LINE);
        assert!(read(format!("{longest}\n").as_bytes()).unwrap().is_some());
        for tail in ["", "\n", "x", "x\n", "xx"] {
            let error = read(format!("{longest}x{tail}").as_bytes()).unwrap_err();
            let expected = matches!(error, FrameError::Line(LineError::TooLong));
            assert!(expected, "{tail:?}: {error}");
        }
        assert!(matches!(read(b"\xff\n"), Err(FrameError::NotUtf8)));
    }

    #[test]
    fn control_characters_cannot_be_sent() {
        let error = Frame::new(["a\nb"]).encode();
        assert_eq!(error, Err(LineError::ControlCharacter));
        let error = Frame::new(["a"]).with_body(vec![0; MAX_BODY + 1]).encode();
        assert_eq!(error, Err(LineError::BodyTooLong(MAX_BODY + 1)));
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(
            words in proptest::collection::vec("[^\\p{Cc}]{0,12}|\\+[0-9]{1,3}|[a\" +]{0,6}", 1..8),
            body in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let frame = Frame { words, body };
            let bytes = frame.encode().unwrap();
            prop_assert_eq!(read(&bytes).unwrap(), Some(frame));
        }

        #[test]
        fn no_line_is_a_panic(line in "\\PC{0,40}|[a\"+ 0-9]{0,20}") {
            let _ = Line::parse(&line);
        }
    }
}
