//! Delivery: how a publish reaches those who wait.
//!
//! A follower is a cursor and a [`Sink`]. Followers live in shards, one task each; a publish marks its topic as dirty
//! in the shards that follow it, and a shard walks the topic's followers, reads on from each cursor and hands the
//! shared batch to the sink. There is no queue per follower: a sink that is full is left alone until it says that it
//! is ready, and its cursor lags. Everything live goes this way: pushes, long polls, in-process subscriptions.

pub(crate) mod filter_feed;
pub(crate) mod filter_tree;
pub(crate) mod follower;
pub mod mailbox;
pub(crate) mod shard;
pub(crate) mod source;

pub use crate::fanout::follower::FollowerHandle;

use std::sync::Arc;

use crate::batch::Batch;
use crate::cursor::Position;
use crate::error::Error;
use crate::name::TopicName;

/// What a follower gets.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// New messages.
    Messages {
        /// The messages and where they lead.
        batch: Arc<Batch>,
        /// Whether there was nothing more behind them when they were read.
        up_to_date: bool,
        /// Whether the topic is closed behind them; then this is the last delivery.
        closed: bool,
    },
    /// A topic is closed and all of it has been delivered. The last delivery of a topic's follower; a filter's goes on.
    Closed {
        /// The topic.
        topic: TopicName,
        /// Where it ends.
        at: Position,
    },
    /// A topic was deleted. The last delivery of a topic's follower; a filter's goes on.
    Deleted {
        /// The topic.
        topic: TopicName,
        /// Where in the log.
        at: Position,
    },
    /// Retention has removed messages that were not delivered yet.
    Gap {
        /// The topic; none if a whole log is gone.
        topic: Option<TopicName>,
        /// What is delivered of the topic next lies behind this position.
        first_available: Position,
        /// Where the follower stands now. A filter's has other topics to deliver first, so its cursor is not moved to
        /// `first_available`, but to here.
        at: Position,
    },
    /// Following ends: the hub is stopping, or the log cannot be read.
    Failed(Error),
}

/// What a sink did with a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Taken; more may come.
    Yes,
    /// Taken, and full now: nothing more until [`FollowerHandle::ready`].
    YesAndFull,
    /// Not taken: the same will be offered again after [`FollowerHandle::ready`].
    No,
    /// Nobody is there any more; the follower is forgotten.
    Gone,
}

/// Where a follower's deliveries go.
pub trait Sink: Send + 'static {
    /// Takes a delivery without ever blocking.
    fn deliver(&mut self, delivery: &Delivery) -> Taken;
}
