//! What can be asked of a log, what it answers, and the records it keeps.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::cursor::Offset;
use crate::group::{GroupConfig, GroupName, GroupStep};
use crate::message::{ContentType, Message, NewMessage};
use crate::name::TopicName;

/// Operations that are committed together: all or none.
#[derive(Debug, Clone, Default)]
pub struct Transaction {
    /// The operations in order.
    pub ops: Vec<Op>,
}

impl From<Op> for Transaction {
    fn from(op: Op) -> Self {
        Self { ops: vec![op] }
    }
}

/// One change of the log.
#[derive(Debug, Clone)]
pub enum Op {
    /// Create a topic, or confirm that it exists as asked.
    Create(Create),
    /// Append to a topic, and close it if asked.
    Append(Append),
    /// Delete a topic with all that is in it.
    Delete(Delete),
    /// Create a group, or change how it is set up.
    PutGroup(PutGroup),
    /// Change a group's state.
    StepGroup(StepGroup),
    /// Delete a group; none: whichever life of it there is.
    DeleteGroup(GroupName, Option<Offset>),
}

/// Create a group, or change how it is set up.
#[derive(Debug, Clone)]
pub struct PutGroup {
    /// Its name.
    pub group: GroupName,
    /// How it is to be.
    pub config: GroupConfig,
    /// A new group begins behind this offset.
    pub start: Offset,
}

/// Change a group's state.
#[derive(Debug, Clone)]
pub struct StepGroup {
    /// Its name.
    pub group: GroupName,
    /// The life of it that is meant.
    pub created: Offset,
    /// The change.
    pub step: GroupStep,
}

/// Create a topic with its first messages.
#[derive(Debug, Clone)]
pub struct Create {
    /// Its name.
    pub topic: TopicName,
    /// How it is to be.
    pub config: TopicConfig,
    /// Its first messages.
    pub messages: Vec<NewMessage>,
    /// Whether it is complete with them.
    pub closed: bool,
}

/// How a topic is set up. Two are the same topic if all of this is equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfig {
    /// The type of messages that do not say theirs.
    pub content_type: ContentType,
    /// Whether messages of any other type are refused.
    pub fixed_type: bool,
    /// Delete the topic when nobody has read or written it for so long.
    pub ttl: Option<Duration>,
    /// Delete the topic at this time.
    pub expires_at: Option<Timestamp>,
    /// What of it is kept.
    pub retention: Retention,
    /// What it begins with, if it is a fork.
    pub fork: Option<Fork>,
}

/// Where a fork leaves its source (Durable Streams section 4.2).
///
/// The fork shows the source's messages up to and including `through` as its own, at their own offsets, whatever
/// becomes of the source: it shares them, they are not copied. They are no news to filters, and do not count for the
/// fork's retention by count and bytes; but they are its oldest, and are trimmed before its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    /// The source, which may be a fork itself. It is in the same log.
    pub source: TopicName,
    /// The life of the source that is meant.
    pub source_created: Offset,
    /// The last offset that is inherited.
    pub through: Offset,
    /// The sub-offset that was asked for; it only tells one fork from another.
    pub sub_offset: u64,
    /// The anchor that was asked for; it only tells one fork from another.
    pub anchor: Offset,
}

impl TopicConfig {
    /// A topic of this type that keeps everything and takes other types too.
    pub fn open(content_type: ContentType) -> Self {
        Self {
            content_type,
            fixed_type: false,
            ttl: None,
            expires_at: None,
            retention: Retention::default(),
            fork: None,
        }
    }
}

/// How much of a topic is kept; what exceeds any of these is trimmed, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Messages older than this go.
    pub age: Option<Duration>,
    /// Only so many messages stay.
    pub count: Option<u64>,
    /// Only so many bytes stay ([`Message::size`] each).
    pub bytes: Option<u64>,
}

/// Append messages to a topic.
#[derive(Debug, Clone)]
pub struct Append {
    /// The topic.
    pub topic: TopicName,
    /// The messages, in order. May be empty if `close` is set.
    pub messages: Vec<NewMessage>,
    /// Create the topic like this if it does not exist; none: refuse.
    pub create: Option<TopicConfig>,
    /// Makes the append exactly-once.
    pub producer: Option<ProducerStep>,
    /// Must be greater, byte by byte, than the last one of the topic.
    pub stream_seq: Option<Box<str>>,
    /// What the publisher calls these messages: if it has come before within the window, nothing is appended.
    pub message_id: Option<Box<str>>,
    /// Close the topic behind these messages.
    pub close: bool,
}

impl Append {
    /// Append to an existing topic, nothing else.
    pub fn new(topic: TopicName, messages: Vec<NewMessage>) -> Self {
        Self { topic, messages, create: None, producer: None, stream_seq: None, message_id: None, close: false }
    }
}

/// A producer's claim to a place in its own sequence (Durable Streams section 5.2.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProducerStep {
    /// The producer's own name.
    pub id: Box<str>,
    /// Its incarnation.
    pub epoch: u64,
    /// The number of this append within the epoch, from 0.
    pub seq: u64,
}

/// Delete a topic.
#[derive(Debug, Clone)]
pub struct Delete {
    /// The topic.
    pub topic: TopicName,
    /// Only the life of it that was created at this offset; none: whichever there is.
    pub created: Option<Offset>,
}

/// The answer to one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Of [`Op::Create`].
    Created {
        /// Whether it is new; otherwise it existed as asked.
        new: bool,
        /// The topic's tail.
        tail: Offset,
    },
    /// Of [`Op::Append`].
    Appended(Appended),
    /// Of [`Op::Delete`] and [`Op::DeleteGroup`].
    Deleted {
        /// Where in the log.
        at: Offset,
    },
    /// Of [`Op::PutGroup`].
    GroupPut {
        /// Whether it is new.
        new: bool,
        /// Where it was created.
        created: Offset,
    },
    /// Of [`Op::StepGroup`].
    GroupStepped,
}

/// What became of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The topic's tail behind it; of a repeated message id, the tail behind the first one.
    pub tail: Offset,
    /// Whether it had been taken before and so changed nothing.
    pub duplicate: bool,
    /// Whether the topic was created by it.
    pub created: bool,
    /// Whether the topic is closed.
    pub closed: bool,
    /// The producer's epoch and highest sequence number.
    pub producer: Option<(u64, u64)>,
}

/// What a log consists of. Each takes one offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A topic begins.
    Created {
        /// Its name.
        topic: TopicName,
        /// Where it begins; its tail until it has a message.
        offset: Offset,
        /// When.
        time: Timestamp,
        /// How it is set up.
        config: Arc<TopicConfig>,
        /// Where this name was last deleted (0: never); older cursors are stale.
        deleted_at: Offset,
    },
    /// A message.
    Message(Arc<Message>),
    /// A producer's last step; it belongs to the messages before it in the same transaction.
    Producer {
        /// The topic.
        topic: TopicName,
        /// Where.
        offset: Offset,
        /// When.
        time: Timestamp,
        /// The step.
        step: ProducerStep,
    },
    /// The last `Stream-Seq` of a topic.
    StreamSeq {
        /// The topic.
        topic: TopicName,
        /// Where.
        offset: Offset,
        /// The value.
        value: Box<str>,
    },
    /// What the messages before it in the same transaction are called by their publisher.
    MessageId {
        /// The topic.
        topic: TopicName,
        /// Where.
        offset: Offset,
        /// When.
        time: Timestamp,
        /// The publisher's id.
        id: Arc<str>,
        /// The topic's tail behind the messages.
        message: Offset,
    },
    /// A topic ends: no more messages.
    Closed {
        /// The topic.
        topic: TopicName,
        /// Where.
        offset: Offset,
        /// The producer's step that closed it, if one did.
        by: Option<ProducerStep>,
    },
    /// A topic that has forks was deleted: it can no longer be used, but what its forks inherit stays until the last
    /// of them is gone; then its [`Record::Deleted`] follows.
    Hidden {
        /// The topic.
        topic: TopicName,
        /// Where.
        offset: Offset,
    },
    /// A topic is gone with all its messages; or a group, if it is a group's.
    Deleted {
        /// The topic.
        topic: TopicName,
        /// Where.
        offset: Offset,
    },
    /// A topic becomes a group's, or the group is set up differently.
    Group {
        /// The group's topic ([`GroupName::topic`]).
        topic: TopicName,
        /// Where.
        offset: Offset,
        /// How it is set up.
        config: Arc<GroupConfig>,
        /// A new group begins behind this offset.
        start: Offset,
    },
    /// A group's state changes.
    GroupStep {
        /// The group's topic.
        topic: TopicName,
        /// Where.
        offset: Offset,
        /// The change.
        step: Box<GroupStep>,
    },
}

impl Record {
    /// The topic it belongs to.
    pub fn topic(&self) -> &TopicName {
        match self {
            Self::Message(message) => &message.topic,
            Self::Created { topic, .. }
            | Self::Producer { topic, .. }
            | Self::StreamSeq { topic, .. }
            | Self::MessageId { topic, .. }
            | Self::Closed { topic, .. }
            | Self::Hidden { topic, .. }
            | Self::Deleted { topic, .. }
            | Self::Group { topic, .. }
            | Self::GroupStep { topic, .. } => topic,
        }
    }

    /// Its place in the log.
    pub fn offset(&self) -> Offset {
        match self {
            Self::Message(message) => message.offset,
            Self::Created { offset, .. }
            | Self::Producer { offset, .. }
            | Self::StreamSeq { offset, .. }
            | Self::MessageId { offset, .. }
            | Self::Closed { offset, .. }
            | Self::Hidden { offset, .. }
            | Self::Deleted { offset, .. }
            | Self::Group { offset, .. }
            | Self::GroupStep { offset, .. } => *offset,
        }
    }
}

/// A topic's visible state, as an engine tells it when it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicState {
    /// How it is set up.
    pub config: Arc<TopicConfig>,
    /// Where it begins.
    pub created: Offset,
    /// When it was created.
    pub created_at: Timestamp,
    /// Where this name was last deleted.
    pub deleted_at: Offset,
    /// Its last message (0: none).
    pub last: Offset,
    /// What lies at or below has been trimmed.
    pub trimmed_through: Offset,
    /// Whether it is closed.
    pub closed: bool,
    /// Whether it was deleted but still has forks.
    pub hidden: bool,
    /// Messages that are kept.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
}
