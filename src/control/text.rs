//! The text of a file that a person has written, in whatever editor, on whatever system.
//!
//! Windows saves text in three ways: as UTF-8; as UTF-8 behind a mark, which some of its editors
//! make; and as UTF-16 behind a mark, which is what `>` makes in its older PowerShell. A mark is no
//! part of the text. Not here: ends of lines; [`str::lines`] takes both kinds.

/// What may stand before a text, as a character of it.
pub const MARK: char = '\u{feff}';

/// The same in bytes: of UTF-16 with the low byte first, and with the high byte first.
const UTF16_LOW_FIRST: [u8; 2] = [0xff, 0xfe];
const UTF16_HIGH_FIRST: [u8; 2] = [0xfe, 0xff];

/// Why bytes are no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is no text that can be read: save the file as UTF-8")]
pub struct NotText {
    /// From 1.
    pub line: usize,
}

/// The text of a whole file, without its mark.
pub fn decode(bytes: &[u8]) -> Result<String, NotText> {
    if let Some(rest) = bytes.strip_prefix(&UTF16_LOW_FIRST) {
        return utf16(rest, u16::from_le_bytes);
    }
    if let Some(rest) = bytes.strip_prefix(&UTF16_HIGH_FIRST) {
        return utf16(rest, u16::from_be_bytes);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(without_mark(text).into()),
        Err(error) => {
            let before = &bytes[..error.valid_up_to()];
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            Err(NotText { line })
        }
    }
}

/// A text that may begin with a mark, without it.
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix(MARK).unwrap_or(text)
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, NotText> {
    let (pairs, odd) = bytes.as_chunks();
    let units = pairs.iter().map(|pair| unit(*pair));
    let mut text = String::with_capacity(bytes.len());
    for c in char::decode_utf16(units) {
        text.push(c.map_err(|_| not_text(&text))?);
    }
    match odd {
        [] => Ok(text),
        _ => Err(not_text(&text)),
    }
}

/// What follows `before` is none.
fn not_text(before: &str) -> NotText {
    NotText {
        line: 1 + before.matches('\n').count(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        let units = std::iter::once(0xfeff).chain(text.encode_utf16());
        units.flat_map(bytes).collect()
    }

    #[test]
    fn what_notepad_and_powershell_save_is_the_same_text() {
        let text = "10.0.0.1:6000\r\n# über 文件 ☃ 🦀\r\n";
        assert_eq!(decode(text.as_bytes()).unwrap(), text);
        assert_eq!(decode(format!("{MARK}{text}").as_bytes()).unwrap(), text);
        assert_eq!(decode(&utf16(text, u16::to_le_bytes)).unwrap(), text);
        assert_eq!(decode(&utf16(text, u16::to_be_bytes)).unwrap(), text);
        assert_eq!(decode(b"").unwrap(), "");
    }

    #[test]
    fn what_is_no_text_is_told_with_its_line() {
        let line = |bytes: &[u8]| decode(bytes).unwrap_err().line;
        // As Windows saved it before UTF-8: one byte a character.
        assert_eq!(line(b"a\nb\n\xfcber"), 3);
        let mut cut = utf16("a\nb", u16::to_le_bytes);
        cut.push(b'x');
        assert_eq!(line(&cut), 2);
        let lone = [0xff, 0xfe, b'\n', 0, 0x00, 0xd8];
        assert_eq!(line(&lone), 2);
    }
}
