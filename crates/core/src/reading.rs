//! What readers ask for and what they are given, in whatever pattern they read.

use std::sync::Arc;

use crate::batch::Batch;
use crate::cursor::{Position, Since};
use crate::name::TopicName;
use crate::topic::TopicInfo;

/// What to read.
#[derive(Debug, Clone)]
pub struct Read {
    /// Of which topic.
    pub topic: TopicName,
    /// From where.
    pub since: Since,
    /// At most so many messages; the hub's limit holds too.
    pub messages: usize,
    /// What a topic that does not exist is.
    pub absent: Absent,
}

impl Read {
    /// Read from here, as much as the hub gives, taking an absent topic as empty.
    pub fn new(topic: TopicName, since: Since) -> Self {
        Self { topic, since, messages: usize::MAX, absent: Absent::Empty }
    }
}

/// What a topic that does not exist is to a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// Empty and open: waiting for it waits for its creation.
    Empty,
    /// An error.
    Error,
}

/// What was read.
#[derive(Debug, Clone)]
pub struct Page {
    /// The topic as it was then; none if it does not exist.
    pub info: Option<TopicInfo>,
    /// Where the read began: behind this position.
    pub from: Position,
    /// The messages, and the position to read on from.
    pub batch: Arc<Batch>,
    /// Whether there was nothing more.
    pub up_to_date: bool,
    /// Whether there will never be more.
    pub closed: bool,
}
