//! Bytes, rates and times as people read and type them.
//!
//! Units are decimal (1 kB = 1000 bytes), as disks and networks are sold, and always named.

use std::time::Duration;

const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];

/// Such as `1.2 MB`.
pub fn bytes(count: u64) -> String {
    let mut value = count as f64;
    let mut unit = 0;
    // 999.95 would be shown as 1000.0.
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{count} B"),
        _ => format!("{value:.1} {}", UNITS[unit]),
    }
}

/// Such as `1.2 MB/s`.
pub fn rate(bytes_per_second: u64) -> String {
    format!("{}/s", bytes(bytes_per_second))
}

/// Such as `3 s`, `2 min 05 s`, `1 h 10 min`.
pub fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Such as `1 peer`, `2 peers`.
pub fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

/// A rate as typed: `500K`, `2.5M`, `1G`, `80000`, with or without `B` and `/s`; `off` is none.
pub fn parse_rate(text: &str) -> Result<Option<u64>, String> {
    let lower = text.to_ascii_lowercase();
    if matches!(lower.as_str(), "off" | "none" | "0") {
        return Ok(None);
    }
    let plain = lower
        .trim_end_matches("/s")
        .trim_end_matches('b')
        .trim_end();
    match number(plain, 1e3) {
        Some(rate) if (1000.0..1e12).contains(&rate) => Ok(Some(rate as u64)),
        Some(_) => Err(format!(
            "`{text}` is out of range: from 1K (1 kB/s) on, or off"
        )),
        None => Err(format!(
            "`{text}` is no rate: bytes a second such as 500K or 2.5M, or off"
        )),
    }
}

/// An amount of memory as typed: `64M`, `1.5G`, with or without `B` or `iB`. As memory is sold, a K
/// is 1024 bytes here.
pub fn parse_memory(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let plain = lower.trim_end_matches('b').trim_end_matches('i');
    match number(plain, 1024.0) {
        Some(bytes) if (1_048_576.0..1e15).contains(&bytes) => Ok(bytes as u64),
        Some(_) => Err("from 1M (1 MiB) on".into()),
        None => Err("write an amount such as 64M or 1G".into()),
    }
}

/// A number that may end in k, m or g: once, twice or three times `step`.
fn number(text: &str, step: f64) -> Option<f64> {
    let (number, power) = match text.char_indices().next_back()? {
        (at, 'k') => (&text[..at], 1),
        (at, 'm') => (&text[..at], 2),
        (at, 'g') => (&text[..at], 3),
        _ => (text, 0),
    };
    let number: f64 = number.trim_end().parse().ok()?;
    Some(number * step.powi(power))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_short_and_have_a_unit() {
        let shown = [0, 999, 1000, 999_949, 999_950, 1_500_000_000].map(bytes);
        assert_eq!(
            shown,
            ["0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "1.5 GB"]
        );
        assert_eq!(bytes(u64::MAX), "18446.7 PB");
        let shown = [3, 125, 4200, 200_000].map(|s| time(Duration::from_secs(s)));
        assert_eq!(shown, ["3 s", "2 min 05 s", "1 h 10 min", "2 days"]);
    }

    #[test]
    fn rates_are_read_as_people_write_them() {
        for (text, rate) in [
            ("500K", Some(500_000)),
            ("500kB/s", Some(500_000)),
            ("2.5M", Some(2_500_000)),
            ("1G", Some(1_000_000_000)),
            ("80000", Some(80_000)),
            ("off", None),
        ] {
            assert_eq!(parse_rate(text), Ok(rate), "{text}");
        }
        for text in ["", "fast", "-5M", "K", "1", "9e99", "nan", "5MM"] {
            assert!(parse_rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn amounts_of_memory_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("64M", 64 << 20),
            ("64 MiB", 64 << 20),
            ("1.5gb", 3 << 29),
            ("1048576", 1 << 20),
        ] {
            assert_eq!(parse_memory(text), Ok(bytes), "{text}");
        }
        for text in ["", "much", "-64M", "64", "1K", "inf", "nan", "M"] {
            assert!(parse_memory(text).is_err(), "{text}");
        }
    }
}
