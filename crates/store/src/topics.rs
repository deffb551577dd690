//! What the store knows of each topic besides the ledger: how much of it is kept, and where it was trimmed.

use std::collections::BTreeSet;
use std::sync::Arc;

use quintet_core::engine::transaction::{Record, TopicConfig};
use quintet_core::name::TopicName;

use crate::index::OffsetMap;
use crate::lineage::{Lineage, Pins, Stretch, stretches};

/// A living topic.
#[derive(Debug, Clone)]
pub(crate) struct TopicEntry {
    pub(crate) name: TopicName,
    pub(crate) config: Arc<TopicConfig>,
    /// What lies at or below has been trimmed.
    pub(crate) trimmed_through: u64,
    /// Its last message (0: none).
    pub(crate) last: u64,
    /// Messages that are kept, and what they count for.
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// What the oldest kept message's age is counted from, or something earlier; [`u64::MAX`] if there is none.
    pub(crate) oldest: u64,
    /// The same of those that have come since retention looked last.
    pub(crate) newcomers: u64,
    pub(crate) lineage: Lineage,
}

/// Messages that one topic got, summed up.
#[derive(Debug)]
pub(crate) struct NewMessages {
    pub(crate) topic: u64,
    last: u64,
    count: u64,
    bytes: u64,
    /// The earliest time of one of them.
    oldest: u64,
}

impl NewMessages {
    /// One message.
    pub(crate) fn new(topic: u64, offset: u64, time: u64, size: u64) -> Self {
        Self { topic, last: offset, count: 1, bytes: size, oldest: time }
    }

    /// And one behind it.
    pub(crate) fn add(&mut self, offset: u64, time: u64, size: u64) {
        self.last = offset;
        self.count += 1;
        self.bytes += size;
        self.oldest = self.oldest.min(time);
    }
}

/// All living topics, by the offset of their creation.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    by_id: OffsetMap<TopicEntry>,
    /// Those that are forks.
    forks: BTreeSet<u64>,
    /// Those that do not keep everything.
    limited: BTreeSet<u64>,
    /// Trimmed topics by where they were trimmed, for readers of the whole log.
    trims: BTreeSet<(u64, u64)>,
    /// The last offset that was committed.
    pub(crate) last: u64,
    /// Stretches of the log in which something died since this was last taken: first and last offset.
    dead: Vec<(u64, u64)>,
}

impl Topics {
    pub(crate) fn get(&self, id: u64) -> Option<&TopicEntry> {
        self.by_id.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &TopicEntry)> {
        self.by_id.iter().map(|(id, entry)| (*id, entry))
    }

    pub(crate) fn insert(&mut self, id: u64, entry: TopicEntry) {
        let retention = entry.config.retention;
        let is_limited = retention.age.is_some() || retention.count.is_some() || retention.bytes.is_some();
        if is_limited && !entry.lineage.hidden {
            self.limited.insert(id);
        }
        if entry.trimmed_through > 0 && !entry.lineage.hidden {
            self.trims.insert((entry.trimmed_through, id));
        }
        if entry.lineage.source.is_some() {
            self.forks.insert(id);
        }
        self.by_id.insert(id, entry);
    }

    fn create(&mut self, id: u64, name: &TopicName, config: &Arc<TopicConfig>) {
        let lineage = Lineage::of(config, false);
        let mut entry = TopicEntry {
            name: name.clone(),
            config: Arc::clone(config),
            trimmed_through: 0,
            last: lineage.through,
            messages: 0,
            bytes: 0,
            oldest: u64::MAX,
            newcomers: u64::MAX,
            lineage,
        };
        if let Some(source) = lineage.source.and_then(|source| self.by_id.get(&source)) {
            entry.trimmed_through = source.trimmed_through.min(lineage.through);
            // What is inherited is no older than the oldest of the source.
            entry.oldest = if entry.trimmed_through < lineage.through { source.oldest } else { u64::MAX };
        }
        self.insert(id, entry);
    }

    /// Whose messages make up a topic, the oldest first.
    pub(crate) fn stretches(&self, id: u64) -> Vec<Stretch> {
        stretches(id, |id| self.by_id.get(&id).map(|entry| entry.lineage))
    }

    /// What is kept for forks.
    pub(crate) fn pins(&self) -> Pins {
        let mut pins = Pins::default();
        for id in &self.forks {
            let Some(entry) = self.by_id.get(id).filter(|entry| !entry.lineage.hidden) else { continue };
            pins.add(*id, entry.trimmed_through, |id| self.by_id.get(&id).map(|entry| entry.lineage));
        }
        pins
    }

    /// Topics of which something behind `after` and up to `to` may have been trimmed.
    pub(crate) fn trimmed_behind(&self, after: u64, to: u64) -> Vec<(TopicName, u64)> {
        let trims = self.trims.range((after.saturating_add(1), 0)..);
        // What a fork inherits that its source had trimmed is no news.
        let trims = trims.filter(|(through, id)| id < through && *id < to);
        trims.filter_map(|(through, id)| Some((self.by_id.get(id)?.name.clone(), to.min(*through)))).collect()
    }

    /// Folds in committed messages.
    pub(crate) fn add_messages(&mut self, new: &NewMessages) {
        self.last = self.last.max(new.last);
        let Some(entry) = self.by_id.get_mut(&new.topic) else { return };
        entry.last = new.last;
        entry.messages += new.count;
        entry.bytes += new.bytes;
        entry.oldest = entry.oldest.min(new.oldest);
        entry.newcomers = entry.newcomers.min(new.oldest);
    }

    /// Folds in a committed record of the topic with this id.
    pub(crate) fn apply(&mut self, id: u64, record: &Record) {
        match record {
            Record::Message(message) => {
                self.count_message(id, message.offset.0, message.time.0, message.size() as u64);
            }
            Record::Created { topic, config, .. } => self.create(id, topic, config),
            Record::Deleted { offset, .. } => {
                self.limited.remove(&id);
                if let Some(entry) = self.by_id.remove(&id) {
                    self.trims.remove(&(entry.trimmed_through, id));
                    self.forks.remove(&id);
                    self.dead.push((entry.trimmed_through.min(id), offset.0));
                }
            }
            Record::Hidden { offset, .. } => {
                self.limited.remove(&id);
                if let Some(entry) = self.by_id.get_mut(&id) {
                    entry.lineage.hidden = true;
                    self.trims.remove(&(entry.trimmed_through, id));
                    self.dead.push((entry.trimmed_through.min(id), offset.0));
                }
            }
            Record::Producer { .. }
            | Record::StreamSeq { .. }
            | Record::MessageId { .. }
            | Record::Closed { .. }
            | Record::Group { .. }
            | Record::GroupStep { .. } => {}
        }
        self.last = self.last.max(record.offset().0);
    }

    /// Topics that may have had a message at this offset, behind their last one.
    pub(crate) fn may_have_reached(&mut self, offset: u64) {
        let all = self.by_id.iter_mut();
        for (_, entry) in all.filter(|(id, entry)| **id < offset && entry.last < offset && !entry.lineage.hidden) {
            entry.last = offset;
        }
    }

    /// Notes a message; false if there is no such topic.
    pub(crate) fn count_message(&mut self, id: u64, offset: u64, time: u64, size: u64) -> bool {
        self.last = self.last.max(offset);
        if !self.by_id.contains_key(&id) {
            return false;
        }
        self.add_messages(&NewMessages::new(id, offset, time, size));
        true
    }

    /// Topics that keep more than they should at this time, out of so many of those with limits behind `after`; and where
    /// to go on, so that the lock is never held for long.
    pub(crate) fn overfull(&self, now: u64, after: u64, turn: usize) -> (Vec<u64>, Option<u64>) {
        let is_overfull = |id: &u64| {
            let Some(entry) = self.by_id.get(id) else { return false };
            let retention = entry.config.retention;
            let age = retention.age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
            retention.count.is_some_and(|count| entry.messages > count)
                || retention.bytes.is_some_and(|bytes| entry.bytes > bytes)
                || age.is_some_and(|age| now.saturating_sub(entry.oldest) > age || is_ahead(entry.oldest, now))
        };
        let turn: Vec<u64> = self.limited.range(after + 1..).take(turn).copied().collect();
        let last = turn.last().copied();
        (turn.into_iter().filter(is_overfull).collect(), last)
    }

    /// A topic that is looked at by retention now.
    pub(crate) fn look_at(&mut self, id: u64) -> Option<TopicEntry> {
        let entry = self.by_id.get_mut(&id)?;
        entry.newcomers = u64::MAX;
        Some(entry.clone())
    }

    /// Notes that a topic's oldest messages are gone; false if the topic is.
    pub(crate) fn trim(&mut self, id: u64, trim: Trim) -> bool {
        let Some(entry) = self.by_id.get_mut(&id) else { return false };
        if trim.through > entry.trimmed_through {
            self.dead.push((entry.trimmed_through, trim.through));
            self.trims.remove(&(entry.trimmed_through, id));
            self.trims.insert((trim.through, id));
            entry.trimmed_through = trim.through;
        }
        entry.messages = entry.messages.saturating_sub(trim.messages);
        entry.bytes = entry.bytes.saturating_sub(trim.bytes);
        entry.oldest = trim.oldest.unwrap_or(u64::MAX).min(entry.newcomers);
        true
    }

    /// Whether a record of a topic can still be asked for.
    pub(crate) fn is_live(&self, id: u64, offset: u64) -> bool {
        self.by_id.get(&id).is_some_and(|entry| !entry.lineage.hidden && offset > entry.trimmed_through)
    }

    pub(crate) fn take_dead(&mut self) -> Vec<(u64, u64)> {
        std::mem::take(&mut self.dead)
    }
}

/// What is taken off the front of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trim {
    pub(crate) through: u64,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// What the age of the oldest message that stays is counted from; none if nothing stays of what there was.
    pub(crate) oldest: Option<u64>,
}

/// Whether a topic's oldest message is from a clock that was ahead, and that has not been seen yet.
fn is_ahead(oldest: u64, now: u64) -> bool {
    oldest > now && oldest != u64::MAX
}
