//! The cursor that live answers carry for caches, so that an answer that was cached once is not handed out for ever
//! (Durable Streams section 10.1). It says nothing about the topic; that is the offset.

use quintet_core::clock::Timestamp;

/// 2024-10-09T00:00:00Z, from which intervals are counted.
const EPOCH_SECONDS: u64 = 1_728_432_000;
const INTERVAL_SECONDS: u64 = 20;
const JITTER_SECONDS_MAX: u64 = 3_600;

/// The number of the current interval; a client that has been told that one already gets a later one.
pub(crate) fn stream_cursor(known: Option<&str>, now: Timestamp) -> u64 {
    let current = (now.0 / 1000).saturating_sub(EPOCH_SECONDS) / INTERVAL_SECONDS;
    match known.and_then(|known| known.parse::<u64>().ok()) {
        Some(known) if known >= current => known.saturating_add(jitter()),
        _ => current,
    }
}

/// 1 to 3600 seconds in intervals, and at least one.
fn jitter() -> u64 {
    let seconds = 1 + u64::from(getrandom::u32().unwrap_or(0)) % JITTER_SECONDS_MAX;
    (seconds / INTERVAL_SECONDS).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_only_grow() {
        let now = Timestamp((EPOCH_SECONDS + 1000 * INTERVAL_SECONDS + 5) * 1000);
        assert_eq!(stream_cursor(None, now), 1000);
        assert_eq!(stream_cursor(Some("999"), now), 1000);
        assert_eq!(stream_cursor(Some("abc"), now), 1000);
        for known in [1000, 1001, 5000] {
            let next = stream_cursor(Some(&known.to_string()), now);
            assert!((known + 1..=known + 180).contains(&next), "{known} {next}");
        }
    }
}
