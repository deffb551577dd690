//! Durations as people write them: `500ms`, `30s`, `1h30m`, `7d`. In JSON a bare number is seconds.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const UNITS_MS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A text that is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration; write e.g. `500ms`, `30s`, `5m`, `2h` or `7d`")]
pub struct BadDuration(String);

/// Reads a duration: numbers, each with its unit. A number without a unit is refused; see [`Span`].
///
/// # Errors
/// When the text is not one.
pub fn parse(text: &str) -> Result<Duration, BadDuration> {
    let wrong = || BadDuration(text.to_owned());
    let mut rest = text.trim();
    let mut total: u64 = 0;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let (number, behind) = split_number(rest).ok_or_else(wrong)?;
        let end = behind.find(|c: char| c.is_ascii_digit() || c.is_whitespace()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let (_, factor) = UNITS_MS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        total = number.checked_mul(*factor).and_then(|ms| total.checked_add(ms)).ok_or_else(wrong)?;
        rest = behind.trim_start();
    }
    Ok(Duration::from_millis(total))
}

/// Writes a duration with the largest unit that leaves it whole; what is shorter than a millisecond is left out.
#[must_use]
pub fn format(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    // Days are left out below a week: `24h` reads better than `1d`.
    let unit = UNITS_MS.iter().find(|(name, factor)| ms.is_multiple_of(*factor) && (*name != "d" || ms > 86_400_000));
    match unit {
        Some((name, factor)) if ms > 0 => format!("{}{name}", ms / factor),
        _ => "0s".to_owned(),
    }
}

/// A duration in JSON and in queries: written as text, read from text or from a number of seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format(self.0))
    }
}

impl FromStr for Span {
    type Err = BadDuration;

    fn from_str(text: &str) -> Result<Self, BadDuration> {
        if text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
            && let Ok(seconds) = text.parse()
        {
            return of_seconds(seconds);
        }
        parse(text).map(Span)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a duration is text such as \"30s\", or a number of seconds")]
        enum Either {
            Text(String),
            Seconds(f64),
        }
        match Either::deserialize(deserializer)? {
            Either::Text(text) => text.parse(),
            Either::Seconds(seconds) => of_seconds(seconds),
        }
        .map_err(serde::de::Error::custom)
    }
}

fn of_seconds(seconds: f64) -> Result<Span, BadDuration> {
    let whole = Duration::try_from_secs_f64(seconds).map_err(|_| BadDuration(seconds.to_string()))?;
    let ms = u64::try_from(whole.as_millis()).map_err(|_| BadDuration(seconds.to_string()))?;
    Ok(Span(Duration::from_millis(ms)))
}

/// The number at the beginning, in which `_` may part digits, and what follows it: for whatever has a unit.
#[must_use]
pub fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.replace('_', "").parse().ok()?, rest.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in
            [("500ms", 500), ("30s", 30_000), ("1h30m", 5_400_000), ("7d", 604_800_000), ("0s", 0), ("1m 5s", 65_000)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "30", "s", "30 sec", "-1s", "1.5s", "99999999999999d"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_is_read_again() {
        for ms in [0, 1, 500, 1_000, 90_000, 86_400_000, 604_800_000] {
            let duration = Duration::from_millis(ms);
            assert_eq!(parse(&format(duration)), Ok(duration));
        }
        assert_eq!(format(Duration::from_secs(86_400)), "24h");
    }

    #[test]
    fn in_json_a_number_is_seconds() {
        for (json, ms) in [("\"1m\"", 60_000), ("30", 30_000), ("0.25", 250), ("\"2\"", 2_000), ("\"0.5\"", 500)] {
            let span: Span = serde_json::from_str(json).unwrap();
            assert_eq!(span, Span(Duration::from_millis(ms)), "{json}");
        }
        for json in ["\"soon\"", "-1", "1e300", "true", "\"\"", "\".\"", "\"1e3\""] {
            assert!(serde_json::from_str::<Span>(json).is_err(), "{json}");
        }
        assert_eq!(serde_json::to_string(&Span(Duration::from_secs(90))).unwrap(), "\"90s\"");
    }
}
