//! Trims topics that keep more than they should.

use std::io;

use quintet_core::cursor::Offset;
use quintet_core::engine::Trimmed;
use quintet_core::engine::transaction::Retention;

use crate::index::Entry;
use crate::lineage::Stretch;
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
    let (found, stretches) = {
        let topics = shared.topics.lock();
        let Some(found) = topics.get(id).cloned() else { return Ok(false) };
        (found, topics.stretches(id))
    };
    let mut trimming = Trimming {
        retention: found.config.retention,
        now,
        settled: shared.settled.through(&found.name),
        messages: found.messages,
        bytes: found.bytes,
        trim: Trim { through: found.trimmed_through, messages: 0, bytes: 0, oldest: found.oldest },
        n_left: TURN_MESSAGES_MAX,
    };
    let mut stays = false;
    for stretch in stretches {
        let own = stretch.topic == id;
        let stretch = Stretch { to: stretch.to.min(found.last), ..stretch };
        if !trim_stretch(shared, stretch, own, &mut trimming)? {
            stays = true;
            break;
        }
    }
    if !stays {
        // Nothing is left that was there; what comes is not older than now.
        trimming.trim.oldest = now;
    }
    let trim = trimming.trim;
    // The observer is told behind the change: whoever it tells and then reads finds it done.
    let told = shared.topics.lock().trim(id, trim) && trim.through > found.trimmed_through;
    if told {
        let trimmed = Trimmed { through: Offset(trim.through), messages: trim.messages, bytes: trim.bytes };
        shared.tell(|observer| observer.trimmed(&found.name, trimmed));
    }
    Ok(trimming.n_left == 0)
}

/// Takes messages off the front; false if one stays, or it is enough for now.
fn trim_stretch(shared: &Shared, stretch: Stretch, own: bool, trimming: &mut Trimming) -> io::Result<bool> {
    let segments = shared.segments.all();
    let first = segments.partition_point(|segment| segment.end() <= stretch.after.max(trimming.trim.through));
    for segment in segments[first..].iter().take_while(|segment| segment.base() <= stretch.to) {
        loop {
            let after = stretch.after.max(trimming.trim.through);
            let entries = shared.segments.entries_after(segment, stretch.topic, after, ENTRIES_MAX)?;
            for entry in entries.iter().filter(|entry| entry.is_message() && entry.offset <= stretch.to) {
                if trimming.n_left == 0 || !trimming.step(entry, own) {
                    return Ok(false);
                }
                trimming.n_left -= 1;
            }
            if entries.len() < ENTRIES_MAX || entries.last().is_some_and(|entry| entry.offset > stretch.to) {
                break;
            }
        }
    }
    Ok(true)
}

/// Entries looked up at once.
const ENTRIES_MAX: usize = 512;

struct Trimming {
    retention: Retention,
    now: u64,
    /// Only bytes take what lies behind this.
    settled: u64,
    messages: u64,
    bytes: u64,
    trim: Trim,
    n_left: usize,
}

impl Trimming {
    /// Takes the oldest message off if it has to go; false if it stays.
    fn step(&mut self, entry: &Entry, own: bool) -> bool {
        let age = self.retention.age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        let is_too_many = self.retention.count.is_some_and(|count| self.messages > count)
            || age.is_some_and(|age| self.now.saturating_sub(entry.time) > age);
        let goes =
            self.retention.bytes.is_some_and(|bytes| self.bytes > bytes) || is_too_many && entry.offset <= self.settled;
        self.trim.oldest = entry.time;
        if !goes {
            return false;
        }
        self.trim.through = entry.offset;
        // What a fork inherits does not count.
        if own {
            let size = u64::from(entry.size);
            self.messages = self.messages.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(size);
            self.trim.messages += 1;
            self.trim.bytes += size;
        }
        true
    }
}
