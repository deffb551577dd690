//! What can be followed: something that knows, for a cursor, what comes next.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::cursor::{LogId, Offset, Position};
use crate::engine::{ReadRequest, ScanRequest};
use crate::fanout::Delivery;
use crate::fanout::shard::Shards;
use crate::name::TopicName;

/// Shards are told apart by the bits of one word.
pub(crate) const SHARDS_MAX: usize = 64;

/// A place in one source.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// What was delivered last.
    pub(crate) at: Position,
    /// Set while the topic did not exist when it was looked up: whatever is created then is followed from its start.
    pub(crate) unborn: bool,
    /// For filters: trims that the reader knows of, or that happened before it began at the start. Forgotten once it
    /// has caught up, for then it is behind them.
    pub(crate) known_trims: HashMap<TopicName, Offset>,
}

impl Place {
    pub(crate) fn at(at: Position) -> Self {
        Self { at, unborn: false, known_trims: HashMap::new() }
    }

    /// The reader was told of a gap.
    pub(crate) fn knows(&mut self, topic: TopicName, first_available: Position) {
        self.known_trims.insert(topic, first_available.offset);
    }
}

/// What comes next for a place.
#[derive(Debug)]
pub(crate) enum Step {
    /// Nothing now.
    CaughtUp,
    /// This, and then the place is at `next`.
    Deliver { delivery: Delivery, next: Position },
    /// This, and it is the last.
    End(Delivery),
    /// It is no longer in memory and has to be read.
    Behind(History),
}

/// What has to be read from an engine.
#[derive(Debug, Clone)]
pub(crate) enum History {
    Topic {
        log: LogId,
        request: ReadRequest,
        /// What lies behind this is in memory.
        until: Offset,
    },
    Filter {
        log: LogId,
        request: ScanRequest,
    },
}

/// Something that can be followed.
pub(crate) trait Source: Send + Sync {
    /// Tells it apart from all others.
    fn id(&self) -> u64;

    /// Who follows it.
    fn interest(&self) -> &Interest;

    /// What comes next.
    fn step(&self, place: &mut Place) -> Step;

    /// Everybody in a shard has been served for now: shared batches can go.
    fn rest(&self);
}

/// Draws source ids.
pub(crate) fn next_source_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Which shards follow a source, and which of them have yet to look at what is new.
#[derive(Debug, Default)]
pub(crate) struct Interest {
    following: AtomicU64,
    dirty: AtomicU64,
    n_followers: AtomicU32,
    /// Those of them that are no groups.
    n_readers: AtomicU32,
}

impl Interest {
    pub(crate) fn n_followers(&self) -> usize {
        self.n_followers.load(Ordering::Relaxed) as usize
    }

    pub(crate) fn n_readers(&self) -> usize {
        self.n_readers.load(Ordering::Relaxed) as usize
    }

    /// A follower was added in a shard. It must read the source after this.
    pub(crate) fn join(&self, shard: usize, is_group: bool) {
        self.n_followers.fetch_add(1, Ordering::Relaxed);
        self.n_readers.fetch_add(u32::from(!is_group), Ordering::Relaxed);
        // SeqCst pairs with `wake`: either the publisher sees the bit, or the shard's read sees the publish.
        self.following.fetch_or(1 << shard, Ordering::SeqCst);
    }

    /// A follower left; `last` tells that it was the shard's last one.
    pub(crate) fn leave(&self, shard: usize, is_group: bool, last: bool) {
        self.n_followers.fetch_sub(1, Ordering::Relaxed);
        self.n_readers.fetch_sub(u32::from(!is_group), Ordering::Relaxed);
        if last {
            self.following.fetch_and(!(1 << shard), Ordering::SeqCst);
        }
    }

    /// A shard is about to look.
    pub(crate) fn seen(&self, shard: usize) {
        self.dirty.fetch_and(!(1 << shard), Ordering::SeqCst);
    }
}

/// Tells every shard that follows a source that there is something new, once until it has looked.
pub(crate) fn wake(source: &Arc<dyn Source>, shards: &Shards) {
    let interest = source.interest();
    let mut following = interest.following.load(Ordering::SeqCst);
    while following != 0 {
        let shard = following.trailing_zeros() as usize;
        following &= following - 1;
        if interest.dirty.fetch_or(1 << shard, Ordering::SeqCst) & (1 << shard) == 0 {
            shards.mark_dirty(shard, source);
        }
    }
}
