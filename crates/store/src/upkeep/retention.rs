//! Trims topics that keep more than they should.

use std::io;

use quintet_core::clock::Timestamp;
use quintet_core::cursor::Offset;
use quintet_core::engine::Trimmed;
use quintet_core::engine::age::Ahead;
use quintet_core::engine::transaction::Retention;

use crate::index::Entry;
use crate::lineage::Stretch;
use crate::shared::Shared;
use crate::topics::Trim;

/// Messages that are trimmed of one topic before the others get their turn.
const TURN_MESSAGES_MAX: usize = 4_096;

/// Topics that are looked at while the lock is held.
const TURN_TOPICS_MAX: usize = 1_000;

/// Trims what has to go now. Tells whether there is more to do, and what kept a topic from being trimmed.
pub(crate) fn trim_all(shared: &Shared, now: u64) -> (bool, io::Result<()>) {
    let (mut more, mut after, mut result) = (false, 0, Ok(()));
    loop {
        let (overfull, last) = shared.topics.lock().overfull(now, after, TURN_TOPICS_MAX);
        for id in overfull {
            match trim_topic(shared, id, now) {
                Ok(again) => more |= again,
                Err(error) if result.is_ok() => {
                    result = Err(io::Error::new(error.kind(), format!("{error} (topic {id})")));
                }
                Err(_) => {}
            }
        }
        match last {
            Some(last) => after = last,
            None => return (more, result),
        }
    }
}

fn trim_topic(shared: &Shared, id: u64, now: u64) -> io::Result<bool> {
    let (found, stretches) = {
        let mut topics = shared.topics.lock();
        let Some(found) = topics.look_at(id) else { return Ok(false) };
        (found, topics.stretches(id))
    };
    let mut trimming = Trimming {
        retention: found.config.retention,
        now,
        ahead: Trimming::known_ahead(found.oldest, now),
        settled: shared.settled.through(&found.name),
        messages: found.messages,
        bytes: found.bytes,
        trim: Trim { through: found.trimmed_through, messages: 0, bytes: 0, oldest: None },
        n_left: TURN_MESSAGES_MAX,
    };
    for stretch in stretches {
        let own = stretch.topic == id;
        let stretch = Stretch { to: stretch.to.min(found.last), ..stretch };
        if !trim_stretch(shared, stretch, own, &mut trimming)? {
            break;
        }
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
                if !trimming.step(entry, own) {
                    return Ok(false);
                }
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
    /// What is known of the message that is next, or the one before it, if that was ahead.
    ahead: Option<Ahead>,
    /// Only bytes take what lies behind this.
    settled: u64,
    messages: u64,
    bytes: u64,
    trim: Trim,
    n_left: usize,
}

impl Trimming {
    /// What was remembered of the oldest message, should its time be ahead: of what stands in the log only what it
    /// counts as is kept, so that it is the same after a restart.
    fn known_ahead(oldest: u64, now: u64) -> Option<Ahead> {
        let known = Ahead { stamp: Timestamp(u64::MAX), counts_as: Timestamp(oldest) };
        (oldest <= now).then_some(known)
    }

    /// Takes the oldest message off if it has to go, and others have not waited long enough; false if it stays.
    fn step(&mut self, entry: &Entry, own: bool) -> bool {
        let (counts_as, ahead) = Ahead::judge(Timestamp(entry.time), Timestamp(self.now), self.ahead);
        self.ahead = ahead;
        let age = self.retention.age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        let is_too_many = self.retention.count.is_some_and(|count| self.messages > count)
            || age.is_some_and(|age| self.now.saturating_sub(counts_as.0) > age);
        let goes =
            self.retention.bytes.is_some_and(|bytes| self.bytes > bytes) || is_too_many && entry.offset <= self.settled;
        if !goes || self.n_left == 0 {
            self.trim.oldest = Some(counts_as.0);
            return false;
        }
        self.n_left -= 1;
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
