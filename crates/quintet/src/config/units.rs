//! Sizes and durations as people write them: `8 MiB`, `30s`, `1h30m`.

use std::time::Duration;

const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

const TIMES_MS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a number of bytes: `8 MiB`, `64kB`, `1024`.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a size; write e.g. `8 MiB`, `64 KiB` or a number of bytes");
    let (digits, unit) = split(text.trim()).ok_or_else(wrong)?;
    let factor = match unit {
        "" => 1,
        unit => SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(wrong)?.1,
    };
    digits.checked_mul(factor).ok_or_else(wrong)
}

/// Reads a duration: `500ms`, `30s`, `1h30m`, `7d`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration; write e.g. `500ms`, `30s`, `5m`, `2h` or `7d`");
    let mut rest = text.trim();
    let mut total: u64 = 0;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let (number, behind) = split(rest).ok_or_else(wrong)?;
        let end = behind.find(|c: char| c.is_ascii_digit() || c.is_whitespace()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let (_, factor) = TIMES_MS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        total = number.checked_mul(*factor).and_then(|ms| total.checked_add(ms)).ok_or_else(wrong)?;
        rest = behind.trim_start();
    }
    Ok(Duration::from_millis(total))
}

/// Writes a number of bytes with the largest unit that leaves it whole.
pub(crate) fn show_size(bytes: u64) -> String {
    let unit = SIZES.iter().filter(|(name, _)| name.ends_with("iB")).find(|(_, factor)| bytes.is_multiple_of(*factor));
    match unit {
        Some((name, factor)) if bytes > 0 => format!("{} {name}", bytes / factor),
        _ => format!("{bytes} B"),
    }
}

/// Writes a duration with the largest unit that leaves it whole.
pub(crate) fn show_duration(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    // Days are left out below a week: `24h` reads better than `1d`.
    let unit = TIMES_MS.iter().find(|(name, factor)| ms.is_multiple_of(*factor) && (*name != "d" || ms > 86_400_000));
    match unit {
        Some((name, factor)) if ms > 0 => format!("{}{name}", ms / factor),
        _ => "0s".to_owned(),
    }
}

/// The number at the beginning, and what follows it.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.replace('_', "").parse().ok()?, rest.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("8 MiB", 8 << 20),
            ("8mib", 8 << 20),
            ("64 kB", 64_000),
            ("1024", 1024),
            ("1_000_000", 1_000_000),
            ("3 B", 3),
            (" 2GiB ", 2 << 30),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "8 MB2", "-1", "1.5 GiB", "8 m", "99999999999 TiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, ms) in
            [("500ms", 500), ("30s", 30_000), ("1h30m", 5_400_000), ("7d", 604_800_000), ("0s", 0), ("1m 5s", 65_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "30", "s", "30 sec", "-1s", "1.5s", "99999999999999d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_is_read_again() {
        for bytes in [1, 1000, 1024, 8 << 20, 1 << 40, 3] {
            assert_eq!(parse_size(&show_size(bytes)), Ok(bytes));
        }
        for ms in [0, 1, 500, 1_000, 90_000, 86_400_000, 604_800_000] {
            let duration = Duration::from_millis(ms);
            assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
        }
        assert_eq!((show_size(8 << 20), show_duration(Duration::from_secs(86_400))), ("8 MiB".into(), "24h".into()));
    }
}
