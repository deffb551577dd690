//! What keeps the log: everything below the hub is an [`Engine`].
//!
//! An engine takes transactions in, makes them as durable as it promises, and then tells its [`Observer`] in log order;
//! only what the observer has been told is visible to readers. The rules of what a transaction may do are not an
//! engine's own: they are the [`ledger`]'s. The memory engine is the executable specification, and [`contract`] is the
//! suite that every engine passes.

pub mod age;
pub mod contract;
pub mod ledger;
pub mod memory;
pub mod transaction;

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::cursor::{LogId, Offset};
use crate::engine::transaction::{Outcome, Record, TopicState, Transaction};
use crate::error::{Error, Result};
use crate::group::GroupState;
use crate::message::Message;
use crate::name::TopicName;

/// What an engine answers later. Dropping it does not take back what was asked.
pub type Pending<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// How long a log's acknowledged messages live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Durability {
    /// Acknowledged once in memory; gone with the process.
    Memory,
    /// Acknowledged once on disk.
    Disk,
}

impl Durability {
    /// `memory` or `disk`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
        }
    }
}

/// One log and all that is in it.
pub trait Engine: Send + Sync + Debug + 'static {
    /// The log's id: new for a new log, and for a memory log new at every start.
    fn log(&self) -> LogId;

    /// What an acknowledgement is worth.
    fn durability(&self) -> Durability;

    /// Hands over the observer, once, before anything else. Before it returns, the engine has told the observer by
    /// [`Observer::restored`] of every topic that the log already holds, and by [`Observer::committed`], without
    /// records, of where the log ends.
    fn attach(&self, observer: Arc<dyn Observer>) -> Result<()>;

    /// Commits a transaction: all of its operations or none.
    ///
    /// The answer comes after the commit is as durable as promised and after the observer was told of it. A
    /// duplicate is answered no earlier than its original is committed. The transaction goes its way even if the
    /// answer is dropped.
    fn commit(&self, transaction: Transaction, now: Timestamp) -> Pending<Vec<Outcome>>;

    /// Reads a topic's messages in order.
    fn read(&self, request: ReadRequest) -> Pending<ReadPage>;

    /// How many messages of a topic that are kept lie behind an offset.
    fn count(&self, topic: TopicName, created: Offset, after: Offset) -> Pending<u64>;

    /// Reads the log in log order, keeping what is wanted; for readers of filters that lag.
    fn scan(&self, request: ScanRequest) -> Pending<ScanPage>;

    /// Does what time demands: retention by age, forgetting idle producers. Called about once a second; it must not
    /// hold up a commit for long. A message whose time is ahead of `now` is judged by [`age::Ahead`].
    fn maintain(&self, now: Timestamp);

    /// What is wrong at present, for whoever watches over it: why nothing is taken, what is lost. Nothing if all is well.
    fn troubles(&self) -> Vec<Error> {
        Vec::new()
    }

    /// Finishes what was accepted and refuses the rest.
    fn close(&self) -> Pending<()>;
}

/// Learns what an engine has committed, in log order, from one caller at a time.
pub trait Observer: Send + Sync + 'static {
    /// A topic that was there when the engine started.
    fn restored(&self, topic: &TopicName, state: &TopicState);

    /// A group that was there when the engine started, told behind its topic: where it was created, and its state.
    fn group_restored(&self, _topic: &TopicName, _created: Offset, _state: &GroupState) {}

    /// Records that have become visible, and the offset up to which the log is now complete: nothing below it will
    /// appear later.
    fn committed(&self, records: &[Record], through: Offset);

    /// A topic's oldest messages have been removed by retention.
    fn trimmed(&self, topic: &TopicName, trimmed: Trimmed);
}

/// What retention removed from a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trimmed {
    /// Everything up to and including this offset is gone.
    pub through: Offset,
    /// Messages that went this time.
    pub messages: u64,
    /// Their bytes ([`Message::size`]).
    pub bytes: u64,
}

/// What to read of a topic.
#[derive(Debug, Clone)]
pub struct ReadRequest {
    /// The topic.
    pub topic: TopicName,
    /// The offset of the topic's creation, so that a read never returns messages of another life of that name.
    pub created: Offset,
    /// Read what lies behind this offset.
    pub after: Offset,
    /// At most so many messages, and at least one if there is one.
    pub messages: usize,
    /// At most so many payload bytes; a single larger message is returned whole.
    pub bytes: usize,
}

/// What was read of a topic.
#[derive(Debug, Clone, Default)]
pub struct ReadPage {
    /// The messages in order.
    pub messages: Vec<Arc<Message>>,
    /// What lies at or below this offset has been trimmed; if it is above the request's `after`, the reader has
    /// missed something, and the messages begin behind it.
    pub trimmed_through: Offset,
    /// Whether there is nothing more behind the last message now.
    pub complete: bool,
}

/// Tells which topics a scan wants.
pub type Wanted = Arc<dyn Fn(&TopicName) -> bool + Send + Sync>;

/// What to read of a log.
#[derive(Clone)]
pub struct ScanRequest {
    /// Read what lies behind this offset.
    pub after: Offset,
    /// And not beyond this one.
    pub through: Offset,
    /// Whether a topic's records are wanted.
    pub wanted: Wanted,
    /// At most so many messages, and at least one if there is one.
    pub messages: usize,
    /// At most so many payload bytes; a single larger message is returned whole.
    pub bytes: usize,
}

impl Debug for ScanRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScanRequest")
            .field("after", &self.after)
            .field("through", &self.through)
            .finish_non_exhaustive()
    }
}

/// What was read of a log.
#[derive(Debug, Clone, Default)]
pub struct ScanPage {
    /// Messages, closures and deletions of wanted topics, in log order.
    pub records: Vec<Record>,
    /// The scan has seen everything up to this offset, matching or not.
    pub through: Offset,
    /// Wanted topics of which messages behind `after` may have been trimmed before they could be read, and up to
    /// where, at most `through`. Telling of too many is harmless, leaving one out is not.
    pub gaps: Vec<(TopicName, Offset)>,
}
