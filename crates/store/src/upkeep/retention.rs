//! Trims topics that keep more than they should.

use std::io;

use quintet_core::cursor::Offset;
use quintet_core::engine::Trimmed;
use quintet_core::engine::transaction::Retention;

use crate::index::Entry;
use crate::shared::Shared;
use crate::topics::Trim;

/// Messages that are trimmed of one topic before the others get their turn.
const TURN_MESSAGES_MAX: usize = 4_096;

/// Topics that are looked at while the lock is held.
const TURN_TOPICS_MAX: usize = 1_000;

/// Trims what has to go now. Tells whether there is more to do.
pub(crate) fn trim_all(shared: &Shared, now: u64) -> bool {
    let (mut more, mut after) = (false, 0);
    loop {
        let (overfull, last) = shared.topics.lock().overfull(now, after, TURN_TOPICS_MAX);
        for id in overfull {
            match trim_topic(shared, id, now) {
                Ok(again) => more |= again,
                Err(error) => tracing::warn!(topic = id, %error, "a topic could not be trimmed now"),
            }
        }
        match last {
            Some(last) => after = last,
            None => return more,
        }
    }
}

fn trim_topic(shared: &Shared, id: u64, now: u64) -> io::Result<bool> {
    let Some(found) = shared.topics.lock().get(id).cloned() else { return Ok(false) };
    let mut trimming = Trimming {
        retention: found.config.retention,
        now,
        messages: found.messages,
        bytes: found.bytes,
        trim: Trim { through: found.trimmed_through, messages: 0, bytes: 0, oldest: found.oldest },
    };
    let mut n_left = TURN_MESSAGES_MAX;
    let segments = shared.segments.all();
    let first = segments.partition_point(|segment| segment.end() <= found.trimmed_through.max(id));
    'segments: for segment in &segments[first..] {
        if segment.base() > found.last {
            break;
        }
        loop {
            let after = trimming.trim.through.max(id);
            let entries = shared.segments.entries_after(segment, id, after, n_left.min(512))?;
            let n = entries.len();
            for entry in entries.iter().filter(|entry| entry.is_message() && entry.offset <= found.last) {
                if n_left == 0 || !trimming.step(entry) {
                    break 'segments;
                }
                n_left -= 1;
            }
            if n < 512 || n_left == 0 {
                break;
            }
        }
        if n_left == 0 {
            break;
        }
    }
    if trimming.trim.messages == 0 {
        // Only the time of the oldest message had to be corrected.
        shared.topics.lock().trim(id, trimming.trim);
        return Ok(false);
    }
    let trim = trimming.trim;
    // The observer hears of it in one piece with the change, so that it never reads of a trim before it is told of one.
    if shared.topics.lock().trim(id, trim) {
        let trimmed = Trimmed { through: Offset(trim.through), messages: trim.messages, bytes: trim.bytes };
        shared.tell(|observer| observer.trimmed(&found.name, trimmed));
    }
    Ok(n_left == 0)
}

struct Trimming {
    retention: Retention,
    now: u64,
    messages: u64,
    bytes: u64,
    trim: Trim,
}

impl Trimming {
    /// Takes the oldest message off if it has to go; false if it stays.
    fn step(&mut self, entry: &Entry) -> bool {
        let age = self.retention.age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        let goes = self.retention.count.is_some_and(|count| self.messages > count)
            || self.retention.bytes.is_some_and(|bytes| self.bytes > bytes)
            || age.is_some_and(|age| self.now.saturating_sub(entry.time) > age);
        self.trim.oldest = entry.time;
        if !goes {
            return false;
        }
        let size = u64::from(entry.size);
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(size);
        self.trim.through = entry.offset;
        self.trim.messages += 1;
        self.trim.bytes += size;
        true
    }
}
