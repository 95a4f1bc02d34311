//! Bencoding (BEP 3): integers, byte strings, lists, dictionaries.
//!
//! Reading makes no tree. [`Value::parse`] walks the bytes once to prove them well formed and
//! returns a view of them; what is inside is found by walking again. So a document takes no
//! memory beside its own bytes whatever it claims, and the raw bytes of every part are at hand:
//! the info hash is of what was received, not of what we would have written.
//!
//! Lenient where the wild is: dictionary keys may be unsorted, trailing bytes are reported by
//! [`Value::parse_prefix`] for the caller to judge. Strict elsewhere: no leading zeros, no `-0`,
//! no repeated key is ever looked at (the first one counts).

/// How deep lists and dictionaries may nest. Torrents need 5; recursion must end somewhere.
pub const MAX_DEPTH: usize = 32;

/// Why bytes are not bencoding, and at which byte.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not bencoding: {problem} at byte {at}")]
pub struct BencodeError {
    pub at: usize,
    pub problem: Problem,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("the data ends in the middle of a value")]
    Truncated,
    #[error("neither a digit nor `i`, `l`, `d`")]
    UnknownType,
    #[error("a number that is malformed or over 63 bits")]
    BadNumber,
    #[error("a dictionary key that is not a string")]
    KeyNotString,
    #[error("more than {MAX_DEPTH} levels of nesting")]
    TooDeep,
    #[error("more data after the end of the value")]
    Trailing,
}

/// One well-formed value: a view of its bytes. Made by [`Value::parse`] alone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Value<'a> {
    raw: &'a [u8],
}

impl<'a> Value<'a> {
    /// The one value that `bytes` are.
    pub fn parse(bytes: &'a [u8]) -> Result<Value<'a>, BencodeError> {
        let (value, rest) = Value::parse_prefix(bytes)?;
        if rest.is_empty() {
            Ok(value)
        } else {
            Err(BencodeError {
                at: value.raw.len(),
                problem: Problem::Trailing,
            })
        }
    }

    /// The value that `bytes` begin with, and the bytes after it.
    pub fn parse_prefix(bytes: &'a [u8]) -> Result<(Value<'a>, &'a [u8]), BencodeError> {
        let end = skip(bytes, 0, 0)?;
        let (raw, rest) = bytes.split_at(end);
        Ok((Value { raw }, rest))
    }

    /// The bytes of this value as they were received.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    pub fn int(&self) -> Option<i64> {
        match self.raw {
            [b'i', digits @ .., b'e'] => std::str::from_utf8(digits).ok()?.parse().ok(),
            _ => None,
        }
    }

    pub fn bytes(&self) -> Option<&'a [u8]> {
        match self.raw.first()? {
            b'0'..=b'9' => {
                let colon = self.raw.iter().position(|&byte| byte == b':')?;
                Some(&self.raw[colon + 1..])
            }
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// The elements, if this is a list.
    pub fn list(&self) -> Option<impl Iterator<Item = Value<'a>> + use<'a>> {
        self.inside(b'l')
    }

    /// Keys and values in the order in which they stand, if this is a dictionary.
    pub fn dict(&self) -> Option<impl Iterator<Item = (&'a [u8], Value<'a>)> + use<'a>> {
        let mut parts = self.inside(b'd')?;
        Some(std::iter::from_fn(move || {
            Some((parts.next()?.bytes()?, parts.next()?))
        }))
    }

    /// The value of the first `key`, if this is a dictionary that has it.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        self.dict()?
            .find(|(name, _)| *name == key.as_bytes())
            .map(|(_, value)| value)
    }

    fn inside(&self, kind: u8) -> Option<impl Iterator<Item = Value<'a>> + use<'a>> {
        let mut rest = match self.raw {
            [first, inner @ .., b'e'] if *first == kind => inner,
            _ => return None,
        };
        Some(std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            // Proven well formed when the outermost value was parsed.
            let (value, after) = Value::parse_prefix(rest).ok()?;
            rest = after;
            Some(value)
        }))
    }
}

/// Where the value that begins at `start` ends.
fn skip(bytes: &[u8], start: usize, depth: usize) -> Result<usize, BencodeError> {
    let fail = |at, problem| Err(BencodeError { at, problem });
    match bytes.get(start) {
        None => fail(start, Problem::Truncated),
        Some(b'i') => {
            let (digits, minus) = match bytes.get(start + 1) {
                Some(b'-') => (start + 2, "-"),
                _ => (start + 1, ""),
            };
            let (magnitude, end) = number(bytes, digits, b'e')?;
            if minus == "-" && magnitude == 0 {
                return fail(start, Problem::BadNumber);
            }
            Ok(end)
        }
        Some(b'0'..=b'9') => {
            let (length, end) = number(bytes, start, b':')?;
            match usize::try_from(length)
                .ok()
                .and_then(|length| end.checked_add(length))
            {
                Some(end) if end <= bytes.len() => Ok(end),
                _ => fail(start, Problem::Truncated),
            }
        }
        Some(&kind @ (b'l' | b'd')) => {
            if depth == MAX_DEPTH {
                return fail(start, Problem::TooDeep);
            }
            let mut at = start + 1;
            loop {
                match bytes.get(at) {
                    None => return fail(at, Problem::Truncated),
                    Some(b'e') => return Ok(at + 1),
                    Some(b'0'..=b'9') => at = skip(bytes, at, depth + 1)?,
                    Some(_) if kind == b'd' => return fail(at, Problem::KeyNotString),
                    Some(_) => at = skip(bytes, at, depth + 1)?,
                }
                if kind == b'd' {
                    at = skip(bytes, at, depth + 1)?;
                }
            }
        }
        Some(_) => fail(start, Problem::UnknownType),
    }
}

/// The decimal number at `start` and the position after its `end` byte.
fn number(bytes: &[u8], start: usize, end: u8) -> Result<(i64, usize), BencodeError> {
    let fail = |problem| Err(BencodeError { at: start, problem });
    let mut value: i64 = 0;
    let mut at = start;
    loop {
        match bytes.get(at) {
            None => return fail(Problem::Truncated),
            Some(digit @ b'0'..=b'9') => {
                let digit = i64::from(digit - b'0');
                let Some(next) = value.checked_mul(10).and_then(|v| v.checked_add(digit)) else {
                    return fail(Problem::BadNumber);
                };
                value = next;
                at += 1;
            }
            Some(&byte) if byte == end && at > start => {
                let leading_zero = bytes[start] == b'0' && at > start + 1;
                return if leading_zero {
                    fail(Problem::BadNumber)
                } else {
                    Ok((value, at + 1))
                };
            }
            Some(_) => return fail(Problem::BadNumber),
        }
    }
}

/// Writes bencoding. Dictionary keys come out in the order of the calls: give them sorted.
#[derive(Default)]
pub struct Encoder {
    out: Vec<u8>,
}

impl Encoder {
    pub fn new() -> Encoder {
        Encoder::default()
    }

    pub fn int(&mut self, value: i64) -> &mut Self {
        self.out.extend_from_slice(format!("i{value}e").as_bytes());
        self
    }

    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.out
            .extend_from_slice(format!("{}:", value.len()).as_bytes());
        self.out.extend_from_slice(value);
        self
    }

    /// A byte string, as the key of the value that follows or as a value.
    pub fn text(&mut self, value: &str) -> &mut Self {
        self.bytes(value.as_bytes())
    }

    /// A byte string whose content is bencoding itself. It is written where it shall stand, because
    /// it may be long.
    pub fn nested(&mut self, fill: impl FnOnce(&mut Encoder)) -> &mut Self {
        let start = self.out.len();
        fill(self);
        let length = format!("{}:", self.out.len() - start);
        self.out.splice(start..start, length.into_bytes());
        self
    }

    /// A value that is bencoding already.
    pub fn raw(&mut self, value: &[u8]) -> &mut Self {
        self.out.extend_from_slice(value);
        self
    }

    pub fn list(&mut self, fill: impl FnOnce(&mut Encoder)) -> &mut Self {
        self.nest(b'l', fill)
    }

    pub fn dict(&mut self, fill: impl FnOnce(&mut Encoder)) -> &mut Self {
        self.nest(b'd', fill)
    }

    fn nest(&mut self, kind: u8, fill: impl FnOnce(&mut Encoder)) -> &mut Self {
        self.out.push(kind);
        fill(self);
        self.out.push(b'e');
        self
    }

    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value as text: strings as they are, lists in `[]`, dictionaries in `{}`.
    fn show(value: Value<'_>) -> String {
        if let Some(int) = value.int() {
            return int.to_string();
        }
        if let Some(text) = value.text() {
            return format!("'{text}'");
        }
        if let Some(list) = value.list() {
            return format!("[{}]", list.map(show).collect::<Vec<_>>().join(" "));
        }
        let entries = value.dict().expect("one of the four kinds");
        let show_entry = |(key, value)| format!("{}={}", String::from_utf8_lossy(key), show(value));
        format!(
            "{{{}}}",
            entries.map(show_entry).collect::<Vec<_>>().join(" ")
        )
    }

    fn check(input: &str, expect: &str) {
        let got = match Value::parse(input.as_bytes()) {
            Ok(value) => show(value),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expect, "for {input}");
    }

    #[test]
    fn reads_every_kind() {
        check("i42e", "42");
        check("i-7e", "-7");
        check("i9223372036854775807e", "9223372036854775807");
        check("0:", "''");
        check("5:ab:cd", "'ab:cd'");
        check("le", "[]");
        check("l1:ai2el0:ee", "['a' 2 ['']]");
        check("d1:bi1e1:ai2ee", "{b=1 a=2}");
        check("de", "{}");
    }

    #[test]
    fn refuses_what_is_malformed() {
        check(
            "",
            "not bencoding: the data ends in the middle of a value at byte 0",
        );
        check(
            "x",
            "not bencoding: neither a digit nor `i`, `l`, `d` at byte 0",
        );
        for number in [
            "ie",
            "i-e",
            "i-0e",
            "i01e",
            "i1",
            "i--1e",
            "i9223372036854775808e",
            "1x",
            "01:a",
        ] {
            assert!(Value::parse(number.as_bytes()).is_err(), "{number}");
        }
        check(
            "999999999:a",
            "not bencoding: the data ends in the middle of a value at byte 0",
        );
        check(
            "di1ei2ee",
            "not bencoding: a dictionary key that is not a string at byte 1",
        );
        check(
            "d1:ae",
            "not bencoding: neither a digit nor `i`, `l`, `d` at byte 4",
        );
        check(
            "i1ei2e",
            "not bencoding: more data after the end of the value at byte 3",
        );
        let deep = "l".repeat(33) + &"e".repeat(33);
        check(
            &deep,
            "not bencoding: more than 32 levels of nesting at byte 32",
        );
        check(
            &"l".repeat(10_000_000),
            "not bencoding: more than 32 levels of nesting at byte 32",
        );
    }

    #[test]
    fn every_truncation_is_an_error() {
        let whole = b"d4:infod6:lengthi5e4:name1:ae5:otherl1:xi-3eee";
        assert!(Value::parse(whole).is_ok());
        for cut in 0..whole.len() {
            assert!(Value::parse(&whole[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_view_keeps_the_raw_bytes() {
        let value = Value::parse(b"d1:zi1e4:infod1:bi1e1:ai2eee").unwrap();
        assert_eq!(value.get("info").unwrap().raw(), b"d1:bi1e1:ai2ee");
    }

    #[test]
    fn writes_what_it_reads() {
        let mut encoder = Encoder::new();
        encoder.dict(|d| {
            d.text("a").int(-5).text("l").list(|l| {
                l.text("x").raw(b"de");
            });
        });
        let out = encoder.finish();
        assert_eq!(out, b"d1:ai-5e1:ll1:xdeee");
        assert!(Value::parse(&out).is_ok());
    }
}
