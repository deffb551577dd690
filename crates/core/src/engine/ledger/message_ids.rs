//! What a log remembers of publishes that bear a `Message-Id`, so that a repeat within the window is known.
//!
//! An id belongs to one life of a topic, which is named by the offset of its creation: what was remembered of a deleted
//! topic is never found again, and goes when its time is over. Its room is taken until then, so that no window is ever
//! shortened and nobody gets more room by deleting topics. What a clock that was ahead has stamped is judged by [`Ahead`].

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::cursor::Offset;
use crate::engine::age::Ahead;
use crate::engine::ledger::Ledger;
use crate::engine::ledger::state::Undo;
use crate::error::{Error, Kind, Result};
use crate::limits::MESSAGE_ID_OVERHEAD_BYTES;
use crate::name::TopicName;

/// Ids that one transaction forgets at most, so that none pays for all.
const FORGET_MAX: usize = 32;
/// Ids that may be forgotten for each that is remembered. The room of two without a letter is more than the longest
/// takes, so that none is refused while there is something to forget.
const FORGET_EACH: usize = 2;

/// A publish that is remembered by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RememberedId {
    /// The topic, by the offset of its creation.
    pub topic: Offset,
    /// The publisher's id.
    pub id: Arc<str>,
    /// The topic's last message behind it.
    pub message: Offset,
    /// When it was published.
    pub time: Timestamp,
}

/// All that is remembered in a log. It is kept in pieces, so that none is ever copied or rehashed as a whole while
/// publishers wait.
#[derive(Debug, Default)]
pub(super) struct MessageIds {
    queue: Queue,
    /// The newest one's number, in one of [`SHARDS`] maps; there are none while nothing is remembered.
    numbers: Vec<HashMap<(Offset, Arc<str>), u64>>,
    sharding: RandomState,
    bytes: usize,
    /// What the oldest one's time counts as, if it was ahead when it was looked at.
    ahead: Option<Ahead>,
}

/// Maps that the ids are parted among.
const SHARDS: usize = 256;
/// Entries of a block of the queue.
const BLOCK: usize = 1_024;

/// What is remembered, the oldest first, each with a number. Blocks begin at multiples of their size.
#[derive(Debug, Default)]
struct Queue {
    blocks: VecDeque<Vec<Option<RememberedId>>>,
    /// The oldest one's number, and the next one's.
    first: u64,
    next: u64,
}

impl Queue {
    /// The block that holds a number, and where in it.
    fn place(&self, number: u64) -> Option<(usize, usize)> {
        if !(self.first..self.next).contains(&number) {
            return None;
        }
        let block = number / BLOCK as u64 - self.first / BLOCK as u64;
        Some((usize::try_from(block).ok()?, usize::try_from(number % BLOCK as u64).ok()?))
    }

    fn get(&self, number: u64) -> Option<&RememberedId> {
        let (block, at) = self.place(number)?;
        self.blocks.get(block)?.get(at)?.as_ref()
    }

    fn push(&mut self, new: RememberedId) -> u64 {
        if self.next.is_multiple_of(BLOCK as u64) {
            self.blocks.push_back(Vec::with_capacity(BLOCK));
        }
        if let Some(block) = self.blocks.back_mut() {
            block.push(Some(new));
        }
        self.next += 1;
        self.next - 1
    }

    fn pop_newest(&mut self) -> Option<RememberedId> {
        if self.first == self.next {
            return None;
        }
        let newest = self.blocks.back_mut().and_then(Vec::pop).flatten();
        self.next -= 1;
        if self.blocks.back().is_some_and(Vec::is_empty) {
            self.blocks.pop_back();
        }
        newest
    }

    fn pop_oldest(&mut self) -> Option<RememberedId> {
        let (block, at) = self.place(self.first)?;
        let oldest = self.blocks.get_mut(block)?.get_mut(at)?.take();
        self.first += 1;
        if self.first.is_multiple_of(BLOCK as u64) {
            self.blocks.pop_front();
        }
        oldest
    }

    fn iter(&self) -> impl Iterator<Item = &RememberedId> {
        self.blocks.iter().flatten().flatten()
    }
}

/// How to take back that an id was remembered.
#[derive(Debug)]
pub(super) struct Remembered {
    number: u64,
    /// An older one of the same id, whose time was over.
    before: Option<u64>,
}

fn cost(id: &str) -> usize {
    id.len() + MESSAGE_ID_OVERHEAD_BYTES
}

impl MessageIds {
    fn shard(&self, key: &(Offset, Arc<str>)) -> usize {
        self.sharding.hash_one(key) as usize % SHARDS
    }

    /// Where the publish with this id ended, if it is remembered.
    fn find(&self, topic: Offset, id: &Arc<str>, now: Timestamp, window: Duration) -> Option<Offset> {
        let key = (topic, Arc::clone(id));
        let known = self.queue.get(*self.numbers.get(self.shard(&key))?.get(&key)?)?;
        (now.since(known.time) < window).then_some(known.message)
    }

    fn remember(&mut self, new: RememberedId) -> Remembered {
        if self.numbers.is_empty() {
            self.numbers.resize_with(SHARDS, HashMap::new);
        }
        self.bytes += cost(&new.id);
        let key = (new.topic, Arc::clone(&new.id));
        let shard = self.shard(&key);
        let number = self.queue.push(new);
        Remembered { number, before: self.numbers[shard].insert(key, number) }
    }

    fn take_back(&mut self, remembered: &Remembered) {
        // What is behind it has been taken back before; it may have been forgotten in the meantime.
        if remembered.number < self.queue.first {
            return;
        }
        let Some(known) = self.queue.pop_newest() else { return };
        self.bytes -= cost(&known.id);
        let key = (known.topic, known.id);
        let shard = self.shard(&key);
        match remembered.before.filter(|before| *before >= self.queue.first) {
            Some(before) => self.numbers[shard].insert(key, before),
            None => self.numbers[shard].remove(&key),
        };
    }

    /// Forgets some of those whose time is over.
    fn forget(&mut self, now: Timestamp, window: Duration, n_max: usize) {
        for _ in 0..n_max {
            let number = self.queue.first;
            let Some(oldest) = self.queue.get(number) else { return };
            let (counts_as, ahead) = Ahead::judge(oldest.time, now, self.ahead);
            self.ahead = ahead;
            if now.since(counts_as) < window {
                return;
            }
            let Some(known) = self.queue.pop_oldest() else { return };
            self.bytes -= cost(&known.id);
            let key = (known.topic, known.id);
            let shard = self.shard(&key);
            if self.numbers[shard].get(&key) == Some(&number) {
                self.numbers[shard].remove(&key);
            }
            // A map that was large gives its room back when nothing is in it.
            if self.numbers[shard].is_empty() {
                self.numbers[shard] = HashMap::new();
            }
        }
    }
}

impl Ledger {
    /// Forgets some ids whose time is over. Called with each transaction.
    pub(super) fn forget_message_ids(&mut self, now: Timestamp) {
        self.message_ids.forget(now, self.limits.message_id_window, FORGET_MAX);
    }

    /// Where the publish of this id in this topic ended, if it is remembered.
    pub(super) fn known_message_id(&self, topic: Offset, id: &Arc<str>, now: Timestamp) -> Option<Offset> {
        self.message_ids.find(topic, id, now, self.limits.message_id_window)
    }

    /// Refuses an id for which there is no room.
    pub(super) fn check_message_id_room(&self, id: &str) -> Result<()> {
        let max = self.limits.message_id_bytes;
        if self.message_ids.bytes.saturating_add(cost(id)) <= max {
            return Ok(());
        }
        let detail = format!(
            "the log remembers its limit of {max} bytes of Message-Ids; try again when the oldest have been forgotten, \
             or publish without one"
        );
        Err(Error::new(Kind::TooMany, detail))
    }

    /// Folds in a publish that bears an id.
    pub(super) fn apply_message_id(&mut self, topic: &TopicName, id: &Arc<str>, message: Offset, time: Timestamp) {
        let Some(topic) = self.topics.get(topic).map(|topic| topic.created) else { return };
        self.message_ids.forget(time, self.limits.message_id_window, FORGET_EACH);
        let remembered = self.message_ids.remember(RememberedId { topic, id: Arc::clone(id), message, time });
        self.journal.push(Undo::MessageId(remembered));
    }

    /// Takes the last one back.
    pub(super) fn undo_message_id(&mut self, remembered: &Remembered) {
        self.message_ids.take_back(remembered);
    }

    /// What is remembered of the topics that there are, the oldest first.
    pub(super) fn remembered_ids(&self) -> Vec<RememberedId> {
        if self.message_ids.bytes == 0 {
            return Vec::new();
        }
        let living: HashSet<Offset> = self.topics.values().map(|topic| topic.created).collect();
        self.message_ids.queue.iter().filter(|known| living.contains(&known.topic)).cloned().collect()
    }

    /// Takes over what a snapshot remembers.
    pub(super) fn restore_message_ids(&mut self, known: Vec<RememberedId>) {
        for known in known {
            self.message_ids.remember(known);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(n: u64) -> RememberedId {
        RememberedId { topic: Offset(1), id: "x".into(), message: Offset(n), time: Timestamp(n) }
    }

    proptest! {
        #[test]
        fn the_queue_is_one_over_all_its_blocks(steps in prop::collection::vec((0..3_u8, 0..1_500_u64), 1..40)) {
            let (mut queue, mut model, mut first) = (Queue::default(), VecDeque::new(), 0);
            for (step, times) in steps {
                for i in 0..times {
                    match step {
                        0 => {
                            prop_assert_eq!(queue.push(entry(i)), first + model.len() as u64);
                            model.push_back(entry(i));
                        }
                        1 => {
                            let oldest = model.pop_front();
                            first += u64::from(oldest.is_some());
                            prop_assert_eq!(queue.pop_oldest(), oldest);
                        }
                        _ => prop_assert_eq!(queue.pop_newest(), model.pop_back()),
                    }
                }
                prop_assert!(queue.iter().eq(&model));
                for (i, known) in model.iter().enumerate().step_by(97) {
                    prop_assert_eq!(queue.get(first + i as u64), Some(known));
                }
                prop_assert_eq!(queue.get(first + model.len() as u64), None);
                prop_assert!(queue.blocks.len() <= model.len() / BLOCK + 2, "what is forgotten takes no room");
            }
        }
    }
}
