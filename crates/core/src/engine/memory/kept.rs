//! The messages that are kept of one topic.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::cursor::Offset;
use crate::engine::Trimmed;
use crate::engine::ledger::TopicLedger;
use crate::engine::transaction::{Record, TopicState};
use crate::message::Message;
use crate::name::TopicName;

/// One topic's messages in order.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) created: Offset,
    pub(super) trimmed_through: Offset,
    pub(super) closed: Option<Offset>,
    messages: VecDeque<Arc<Message>>,
    bytes: u64,
}

impl Kept {
    pub(super) fn new(created: Offset) -> Self {
        Self { created, trimmed_through: Offset::ZERO, closed: None, messages: VecDeque::new(), bytes: 0 }
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

    pub(super) fn oldest(&self) -> Option<&Message> {
        self.messages.front().map(|message| &**message)
    }

    /// Removes the oldest messages while they are too much; tells what was removed.
    pub(super) fn trim(&mut self, mut too_much: impl FnMut(&Self) -> bool) -> Option<Trimmed> {
        let (n_before, bytes_before) = (self.len(), self.bytes);
        while !self.messages.is_empty() && too_much(self) {
            let Some(message) = self.messages.pop_front() else { break };
            self.bytes -= message.size() as u64;
            self.trimmed_through = message.offset;
        }
        let messages = n_before - self.len();
        (messages > 0).then(|| Trimmed { through: self.trimmed_through, messages, bytes: bytes_before - self.bytes })
    }

    pub(super) fn after(&self, after: Offset) -> impl Iterator<Item = &Arc<Message>> {
        let first = self.messages.partition_point(|message| message.offset <= after);
        self.messages.range(first..)
    }

    /// Messages and closure behind an offset, as records.
    pub(super) fn records_after(&self, name: &TopicName, after: Offset) -> Box<dyn Iterator<Item = Record> + '_> {
        let name = name.clone();
        let closed = self.closed.filter(|closed| *closed > after);
        let closed = closed.map(|offset| Record::Closed { topic: name, offset, by: None });
        Box::new(self.after(after).map(|message| Record::Message(Arc::clone(message))).chain(closed))
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
            messages: self.len(),
            bytes: self.bytes,
        }
    }
}
