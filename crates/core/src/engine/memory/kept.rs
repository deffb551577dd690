//! The messages that are kept of one topic.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::cursor::Offset;
use crate::engine::Trimmed;
use crate::engine::age::Ahead;
use crate::engine::ledger::TopicLedger;
use crate::engine::transaction::{Record, TopicState};
use crate::message::{MESSAGE_OVERHEAD_BYTES, Message};
use crate::name::TopicName;

/// One topic's messages in order.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) created: Offset,
    pub(super) trimmed_through: Offset,
    pub(super) closed: Option<Offset>,
    pub(super) hidden: bool,
    /// The oldest messages of a fork, whose payloads it shares with its source. They do not count for its retention.
    inherited: VecDeque<Arc<Message>>,
    messages: VecDeque<Arc<Message>>,
    bytes: u64,
    /// What the oldest one's time counts as, if it was ahead when retention looked at it.
    ahead: Option<Ahead>,
}

impl Kept {
    pub(super) fn new(created: Offset) -> Self {
        Self {
            created,
            trimmed_through: Offset::ZERO,
            closed: None,
            hidden: false,
            inherited: VecDeque::new(),
            messages: VecDeque::new(),
            bytes: 0,
            ahead: None,
        }
    }

    /// A fork that shares what there is of its source up to an offset.
    pub(super) fn fork(created: Offset, name: &TopicName, source: &Self, through: Offset) -> Self {
        let all = source.after(Offset::ZERO).take_while(|message| message.offset <= through);
        let own = |message: &Arc<Message>| Arc::new(Message { topic: name.clone(), ..Message::clone(message) });
        let trimmed_through = source.trimmed_through.min(through);
        Self { inherited: all.map(own).collect(), trimmed_through, ahead: source.ahead, ..Self::new(created) }
    }

    pub(super) fn push(&mut self, message: Arc<Message>) {
        self.bytes += message.size() as u64;
        self.messages.push_back(message);
    }

    pub(super) fn len(&self) -> u64 {
        self.messages.len() as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes that it takes in memory: an inherited message is a copy of all but what it shares.
    pub(super) fn held(&self) -> u64 {
        self.bytes + (self.inherited.len() * MESSAGE_OVERHEAD_BYTES) as u64
    }

    /// Bytes that a fork of it would take.
    pub(super) fn held_by_fork(&self, through: Offset) -> u64 {
        let n_through =
            |messages: &VecDeque<Arc<Message>>| messages.partition_point(|message| message.offset <= through);
        ((n_through(&self.inherited) + n_through(&self.messages)) * MESSAGE_OVERHEAD_BYTES) as u64
    }

    pub(super) fn oldest(&self) -> Option<&Message> {
        self.inherited.front().or(self.messages.front()).map(|message| &**message)
    }

    /// What the oldest message's age is counted from at this time.
    pub(super) fn oldest_counts_as(&mut self, now: Timestamp) -> Option<Timestamp> {
        let (counts_as, ahead) = Ahead::judge(self.oldest()?.time, now, self.ahead);
        self.ahead = ahead;
        Some(counts_as)
    }

    /// Whether the oldest message lies at or below an offset.
    pub(super) fn is_settled(&self, through: Offset) -> bool {
        self.oldest().is_some_and(|message| message.offset <= through)
    }

    /// How many messages lie behind an offset, and have not been inherited.
    pub(super) fn n_after(&self, after: Offset) -> u64 {
        (self.messages.len() - self.messages.partition_point(|message| message.offset <= after)) as u64
    }

    /// Removes the oldest messages while they are too much; tells what was removed.
    pub(super) fn trim(&mut self, mut too_much: impl FnMut(&mut Self) -> bool) -> Option<Trimmed> {
        let (n_before, bytes_before, trimmed_before) = (self.len(), self.bytes, self.trimmed_through);
        while self.oldest().is_some() && too_much(self) {
            if let Some(message) = self.inherited.pop_front() {
                self.trimmed_through = message.offset;
            } else if let Some(message) = self.messages.pop_front() {
                self.bytes -= message.size() as u64;
                self.trimmed_through = message.offset;
            }
        }
        let (messages, bytes) = (n_before - self.len(), bytes_before - self.bytes);
        (self.trimmed_through > trimmed_before).then_some(Trimmed { through: self.trimmed_through, messages, bytes })
    }

    pub(super) fn after(&self, after: Offset) -> impl Iterator<Item = &Arc<Message>> {
        let first = self.messages.partition_point(|message| message.offset <= after);
        let inherited = self.inherited.partition_point(|message| message.offset <= after);
        self.inherited.range(inherited..).chain(self.messages.range(first..))
    }

    /// The message or closure at an offset, unless it is gone. What a fork inherits is in the log where its source
    /// published it.
    pub(super) fn record_at(&self, name: &TopicName, offset: Offset) -> Option<Record> {
        if self.closed == Some(offset) {
            return Some(Record::Closed { topic: name.clone(), offset, by: None });
        }
        let at = self.messages.binary_search_by_key(&offset, |message| message.offset).ok()?;
        Some(Record::Message(Arc::clone(&self.messages[at])))
    }

    /// Whether there is a message or closure at an offset.
    pub(super) fn holds(&self, offset: Offset) -> bool {
        self.closed == Some(offset) || self.messages.binary_search_by_key(&offset, |message| message.offset).is_ok()
    }

    /// Records of it in the log's order.
    pub(super) fn n_records(&self) -> usize {
        self.messages.len() + usize::from(self.closed.is_some())
    }

    pub(super) fn state(&self, topic: &TopicLedger) -> TopicState {
        TopicState {
            config: Arc::clone(&topic.config),
            created: topic.created,
            created_at: topic.created_at,
            deleted_at: topic.deleted_at,
            last: topic.last,
            trimmed_through: self.trimmed_through,
            closed: topic.closed.is_some(),
            hidden: topic.hidden,
            messages: self.len(),
            bytes: self.bytes,
        }
    }
}
