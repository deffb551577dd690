//! Which messages of a log are in memory, oldest first, and when the oldest have to go.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::cursor::Offset;
use crate::message::Message;
use crate::topic::Topic;

/// The bounded tail of one log, over all its topics.
pub(super) struct LogTail {
    entries: VecDeque<(Arc<Topic>, Offset, usize)>,
    bytes: usize,
    bytes_max: usize,
    messages_max: usize,
}

impl LogTail {
    pub(super) fn new(bytes_max: usize, messages_max: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, bytes_max, messages_max }
    }

    pub(super) fn push(&mut self, topic: Arc<Topic>, message: &Message) {
        self.bytes += message.size();
        self.entries.push_back((topic, message.offset, message.size()));
    }

    /// The oldest message, if there is too much; it is to be evicted from its topic.
    pub(super) fn pop_excess(&mut self) -> Option<(Arc<Topic>, Offset)> {
        if self.bytes <= self.bytes_max && self.entries.len() <= self.messages_max {
            return None;
        }
        let (topic, offset, size) = self.entries.pop_front()?;
        self.bytes -= size;
        Some((topic, offset))
    }
}
