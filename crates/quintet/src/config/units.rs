//! Sizes as people write them: `8 MiB`, `64kB`. Durations are in `quintet_wire::duration`.

use quintet_wire::duration::split_number;

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

/// Reads a number of bytes: `8 MiB`, `64kB`, `1024`.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a size; write e.g. `8 MiB`, `64 KiB` or a number of bytes");
    let (digits, unit) = split_number(text.trim()).ok_or_else(wrong)?;
    let factor = match unit {
        "" => 1,
        unit => SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(wrong)?.1,
    };
    digits.checked_mul(factor).ok_or_else(wrong)
}

/// Writes a number of bytes with the largest unit that leaves it whole.
pub(crate) fn show_size(bytes: u64) -> String {
    let unit = SIZES.iter().filter(|(name, _)| name.ends_with("iB")).find(|(_, factor)| bytes.is_multiple_of(*factor));
    match unit {
        Some((name, factor)) if bytes > 0 => format!("{} {name}", bytes / factor),
        _ => format!("{bytes} B"),
    }
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
    fn what_is_shown_is_read_again() {
        for bytes in [1, 1000, 1024, 8 << 20, 1 << 40, 3] {
            assert_eq!(parse_size(&show_size(bytes)), Ok(bytes));
        }
        assert_eq!(show_size(8 << 20), "8 MiB");
    }
}
