//! One life of a topic, from its creation to its deletion: what of it is visible, and its newest messages in memory.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::batch::Batch;
use crate::clock::Timestamp;
use crate::cursor::{LogId, Offset, Position};
use crate::engine::Durability;
use crate::engine::transaction::TopicConfig;
use crate::limits::{DELIVERY_BYTES_MAX, DELIVERY_MESSAGES_MAX};
use crate::message::Message;

/// What is visible of an existing topic.
pub(super) struct Life {
    pub(super) log: LogId,
    pub(super) durability: Durability,
    pub(super) config: Arc<TopicConfig>,
    pub(super) created: Offset,
    pub(super) created_at: Timestamp,
    pub(super) deleted_at: Offset,
    pub(super) last: Offset,
    pub(super) trimmed_through: Offset,
    pub(super) closed: bool,
    /// Deleted, but kept for its forks.
    pub(super) hidden: bool,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    /// When it was last read or written; for TTL.
    pub(super) used_at: Timestamp,
    /// It was found to be over: its deletion is on its way, and no use puts it off any more.
    pub(super) condemned: bool,
    /// The newest messages, all that lie behind `tail_from`.
    pub(super) tail: VecDeque<Arc<Message>>,
    pub(super) tail_from: Offset,
    /// The batch that was made last and the offset it was made for: most followers are at the same one.
    pub(super) latest: Option<(Offset, Arc<Batch>)>,
}

impl Life {
    /// Reading behind this gives the oldest message.
    pub(super) fn first(&self) -> Offset {
        if self.inherits() { self.trimmed_through } else { self.created.max(self.trimmed_through) }
    }

    /// Whether it has messages from before it was created. A fork of nothing has none.
    pub(super) fn inherits(&self) -> bool {
        self.config.fork.as_ref().is_some_and(|fork| fork.through > Offset::ZERO)
    }

    /// A place from before the topic was created is its beginning. A fork has messages from before it was.
    pub(super) fn not_before(&self, offset: Offset) -> Offset {
        if self.inherits() { offset } else { offset.max(self.created) }
    }

    /// Its last message, a fork's last inherited one, or else its creation.
    pub(super) fn tail_end(&self) -> Offset {
        if self.last == Offset::ZERO { self.created } else { self.last }
    }

    /// Whether an offset belongs to an earlier life of the name. A fork's may be as old as what it inherits.
    pub(super) fn is_stale(&self, offset: Offset) -> bool {
        offset < self.deleted_at && self.config.fork.as_ref().is_none_or(|fork| offset > fork.through)
    }

    pub(super) fn evict(&mut self, through: Offset) {
        while self.tail.front().is_some_and(|message| message.offset <= through) {
            if let Some(message) = self.tail.pop_front() {
                self.tail_from = message.offset;
            }
        }
        self.latest = None;
        if self.tail.is_empty() {
            self.tail.shrink_to(4);
        }
    }

    pub(super) fn make_batch(&self, after: Offset, n_messages_max: usize, n_bytes_max: usize) -> Arc<Batch> {
        let first = self.tail.partition_point(|message| message.offset <= after);
        let mut messages = Vec::new();
        let mut bytes = 0;
        for message in self.tail.range(first..) {
            bytes += message.payload.len();
            let full = messages.len() >= n_messages_max || bytes > n_bytes_max;
            if full && !messages.is_empty() {
                break;
            }
            messages.push(Arc::clone(message));
        }
        let offset = messages.last().map_or(after, |message| message.offset);
        Arc::new(Batch::new(messages, Position { log: self.log, offset }))
    }

    /// The batch behind an offset, shared by all that are at the same one.
    pub(super) fn shared_batch(&mut self, after: Offset) -> Arc<Batch> {
        if let Some((made_for, batch)) = &self.latest
            && *made_for == after
        {
            return Arc::clone(batch);
        }
        let batch = self.make_batch(after, DELIVERY_MESSAGES_MAX, DELIVERY_BYTES_MAX);
        self.latest = Some((after, Arc::clone(&batch)));
        batch
    }
}
