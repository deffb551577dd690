//! A follower inside a shard, and the handle that its owner holds.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use smallvec::SmallVec;

use crate::error::{Error, Kind, Result};
use crate::fanout::Sink;
use crate::fanout::shard::{Command, Shards};
use crate::fanout::source::{Place, Source};

/// One source that a follower follows: a topic has one, a filter one per log.
pub(crate) struct Leg {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) place: Place,
    /// Where the leg stands in its shard's list of the source.
    pub(crate) slot: usize,
    /// A history read is under way; until it is back, nothing is delivered.
    pub(crate) reading: bool,
    /// Counts the leg in what needs to know whether it is still in use.
    pub(crate) _usage: Option<Usage>,
}

/// A cursor and a sink.
pub(crate) struct Follower {
    pub(crate) id: u64,
    pub(crate) sink: Box<dyn Sink>,
    pub(crate) legs: SmallVec<[Leg; 1]>,
    /// It reads on for a group, and is no reader itself.
    pub(crate) is_group: bool,
    /// The sink is full.
    pub(crate) blocked: bool,
    /// The leg that is served first when the sink is ready, so that a busy log does not keep the other one waiting.
    pub(crate) turn: usize,
    /// A leg whose history came when the sink was full: nothing of the others is delivered before it.
    pub(crate) owed: Option<usize>,
    pub(crate) _usage: Usage,
}

/// Keeps a follower going until it is dropped.
#[must_use = "dropping the handle ends the follower"]
pub struct FollowerHandle {
    pub(crate) shards: Arc<Shards>,
    pub(crate) id: u64,
}

impl FollowerHandle {
    /// Says that a sink that was full can take more. Calling it at other times does no harm.
    pub fn ready(&self) {
        self.shards.command(self.id, Command::Ready { id: self.id });
    }
}

impl Drop for FollowerHandle {
    fn drop(&mut self) {
        self.shards.command(self.id, Command::Remove { id: self.id });
    }
}

impl fmt::Debug for FollowerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FollowerHandle").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A count that goes down again when this is dropped.
#[derive(Debug)]
pub(crate) struct Usage(Arc<AtomicUsize>);

impl Usage {
    pub(crate) fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }

    /// Counts one more unless there are `max` already.
    pub(crate) fn within(count: &Arc<AtomicUsize>, max: usize, what: &'static str) -> Result<Self> {
        let usage = Self::new(count);
        if count.load(Ordering::Acquire) > max {
            return Err(Error::new(Kind::TooMany, format!("the hub holds its limit of {max} {what}; try again later")));
        }
        Ok(usage)
    }
}

impl Drop for Usage {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
