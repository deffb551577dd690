//! Time as text: RFC 3339 in UTC with milliseconds, from and to milliseconds since 1970. Not a calendar library.

const DAY_MS: u64 = 86_400_000;
/// The last millisecond of the year 9999, after which RFC 3339 has no more years.
pub const UNIX_MS_MAX: u64 = 253_402_300_799_999;

/// Appends `2026-01-01T00:00:00.123Z`; a time beyond the year 9999 is written as its last millisecond.
pub fn write(out: &mut Vec<u8>, unix_ms: u64) {
    let unix_ms = unix_ms.min(UNIX_MS_MAX);
    let (year, month, day) = civil_of_days(unix_ms / DAY_MS);
    let ms = unix_ms % DAY_MS;
    let mut text = *b"0000-00-00T00:00:00.000Z";
    write_digits(&mut text[0..4], year);
    write_digits(&mut text[5..7], month);
    write_digits(&mut text[8..10], day);
    write_digits(&mut text[11..13], ms / 3_600_000);
    write_digits(&mut text[14..16], ms / 60_000 % 60);
    write_digits(&mut text[17..19], ms / 1000 % 60);
    write_digits(&mut text[20..23], ms % 1000);
    out.extend_from_slice(&text);
}

/// The same as [`write()`], as a string.
#[must_use]
pub fn format(unix_ms: u64) -> String {
    let mut out = Vec::with_capacity(24);
    write(&mut out, unix_ms);
    String::from_utf8(out).expect("a time's text is ASCII")
}

/// Reads any RFC 3339 time (section 5.6): offset from UTC and any number of fraction digits (cut to milliseconds).
/// A time before 1970 reads as zero. `None` when the text is no such time.
#[must_use]
pub fn parse(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    if bytes.len() < 20 || bytes[4] != b'-' || bytes[7] != b'-' || bytes[13] != b':' || bytes[16] != b':' {
        return None;
    }
    if !matches!(bytes[10], b'T' | b't' | b' ') {
        return None;
    }
    let (year, month, day) = (digits(&bytes[..4])?, digits(&bytes[5..7])?, digits(&bytes[8..10])?);
    let (hour, minute, second) = (digits(&bytes[11..13])?, digits(&bytes[14..16])?, digits(&bytes[17..19])?);
    if !(1..=12).contains(&month) || !(1..=days_of_month(year, month)).contains(&day) {
        return None;
    }
    // Second 60 is a leap second; Unix time has none, so it reads as the one that follows.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (ms, zone) = fraction(&bytes[19..])?;
    let shift_min = zone_minutes(zone)?;
    let seconds = days_of_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - shift_min * 60;
    Some(u64::try_from(seconds * 1000 + ms).unwrap_or(0))
}

/// A serde field as RFC 3339 text: `#[serde(with = "quintet_wire::time::rfc3339")]` on a `u64` of Unix milliseconds.
pub mod rfc3339 {
    use std::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Serializes as [`format`](super::format) writes it.
    ///
    /// # Errors
    /// When the serializer fails.
    pub fn serialize<S: Serializer>(unix_ms: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::format(*unix_ms))
    }

    /// Deserializes as [`parse`](super::parse) reads it.
    ///
    /// # Errors
    /// When the value is no RFC 3339 text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        super::parse(&text).ok_or_else(|| serde::de::Error::custom("a time is RFC 3339 text"))
    }
}

/// The civil date of a day number since 1970, by Howard Hinnant's algorithm: years begin in March, so that the leap
/// day is the last of its year.
fn civil_of_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

fn days_of_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Splits `.123Z` into 123 and `Z`.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some(rest) = text.strip_prefix(b".") else {
        return Some((0, text));
    };
    let len = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    if len == 0 {
        return None;
    }
    let ms = (0..3).fold(0, |ms, i| ms * 10 + if i < len { i64::from(rest[i] - b'0') } else { 0 });
    Some((ms, &rest[len..]))
}

fn zone_minutes(zone: &[u8]) -> Option<i64> {
    match zone {
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
            let shift = hours * 60 + minutes;
            (hours < 24 && minutes < 60).then_some(if *sign == b'-' { -shift } else { shift })
        }
        _ => None,
    }
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |value, b| b.is_ascii_digit().then(|| value * 10 + i64::from(b - b'0')))
}

fn write_digits(out: &mut [u8], mut value: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_times() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_767_225_600_123, "2026-01-01T00:00:00.123Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (UNIX_MS_MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(format(ms), text);
            assert_eq!(parse(text), Some(ms));
        }
        assert_eq!(format(u64::MAX), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn other_spellings() {
        assert_eq!(parse("2026-01-01T01:00:00+01:00"), parse("2026-01-01T00:00:00Z"));
        assert_eq!(parse("2025-12-31t22:30:00.5-01:30"), Some(1_767_225_600_500));
        assert_eq!(parse("2026-01-01T00:00:00.123456789Z"), Some(1_767_225_600_123));
        assert_eq!(parse("1969-07-20T20:17:40Z"), Some(0));
    }

    #[test]
    fn no_times() {
        for bad in [
            "",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+1:00",
            "2026-01-01T00:00:00Zx",
            "2026-01-0aT00:00:00Z",
        ] {
            assert_eq!(parse(bad), None, "{bad:?} was taken");
        }
    }

    proptest! {
        #[test]
        fn every_time_comes_back(ms in 0..=UNIX_MS_MAX) {
            prop_assert_eq!(parse(&format(ms)), Some(ms));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}") {
            std::hint::black_box(parse(&text));
        }
    }
}
