//! A run of messages that many readers share, with its encodings.
//!
//! The core knows no format: a sink asks for its encoding and makes it if it is the first to need it.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::cursor::Position;
use crate::message::Message;

/// Names a wire format; the gateway gives out the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Format(pub u32);

/// Messages in log order, and the position behind them.
#[derive(Debug)]
pub struct Batch {
    messages: Box<[Arc<Message>]>,
    next: Position,
    /// Few formats are ever used on one batch, so a list is searched; the lock is held while one is made, so that
    /// it is made once.
    encodings: Mutex<SmallVec<[(Format, Bytes); 2]>>,
}

impl Batch {
    /// A batch of these messages that leads up to `next`.
    pub fn new(messages: impl Into<Box<[Arc<Message>]>>, next: Position) -> Self {
        Self { messages: messages.into(), next, encodings: Mutex::new(SmallVec::new()) }
    }

    /// The messages; empty when there is nothing new.
    pub fn messages(&self) -> &[Arc<Message>] {
        &self.messages
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Where to read on. It may lie behind the last message, never before it.
    pub fn next(&self) -> Position {
        self.next
    }

    /// The batch in a wire format, made by the first who needs it and shared by all others.
    pub fn encoding(&self, format: Format, encode: impl FnOnce(&Self) -> Bytes) -> Bytes {
        let mut encodings = self.encodings.lock();
        if let Some((_, bytes)) = encodings.iter().find(|(f, _)| *f == format) {
            return bytes.clone();
        }
        let bytes = encode(self);
        encodings.push((format, bytes.clone()));
        bytes
    }
}
