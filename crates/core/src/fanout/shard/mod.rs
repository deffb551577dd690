//! A fan-out shard: one task that serves its share of all followers.

mod run;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};

use crate::cursor::Offset;
use crate::engine::{Engine, ReadPage, ScanPage};
use crate::error::Result;
use crate::fanout::follower::Follower;
use crate::fanout::source::{SHARDS_MAX, Source};
use crate::name::TopicName;

pub(crate) use self::run::run;

/// All shards.
pub(crate) struct Shards {
    shards: Box<[Shard]>,
    next_follower: AtomicU64,
    history_reads: Arc<Semaphore>,
}

struct Shard {
    inbox: Mutex<Inbox>,
    wake: Notify,
}

/// What others have for a shard. It is bounded by what there is: a source is in it once, a follower adds, readies
/// and removes itself.
#[derive(Default)]
pub(crate) struct Inbox {
    pub(crate) commands: Vec<Command>,
    pub(crate) dirty: Vec<Arc<dyn Source>>,
    /// Nobody looks any more: what comes is dropped.
    closed: bool,
}

/// What a shard is asked to do.
pub(crate) enum Command {
    Add(Box<Follower>),
    Ready { id: u64 },
    Remove { id: u64 },
    Loaded { id: u64, leg: usize, loaded: Result<Loaded> },
    Stop,
}

/// What a history read brought.
pub(crate) enum Loaded {
    /// The page of a topic, and the offset behind which everything is in memory.
    Topic(ReadPage, TopicName, Offset),
    Filter(ScanPage),
}

impl Shards {
    /// As many shards as asked for, within 1 and 64.
    pub(crate) fn new(n_shards: usize, n_history_reads: usize) -> Self {
        let shards = (0..n_shards.clamp(1, SHARDS_MAX))
            .map(|_| Shard { inbox: Mutex::new(Inbox::default()), wake: Notify::new() });
        Self {
            shards: shards.collect(),
            next_follower: AtomicU64::new(0),
            history_reads: Arc::new(Semaphore::new(n_history_reads)),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.len()
    }

    /// Draws a follower's id, which also decides on its shard.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_follower.fetch_add(1, Ordering::Relaxed)
    }

    /// Gives a command to the shard of a follower.
    pub(crate) fn command(&self, follower: u64, command: Command) {
        let n_shards = self.shards.len() as u64;
        if let Some(shard) = usize::try_from(follower % n_shards).ok().and_then(|i| self.shards.get(i)) {
            let mut inbox = shard.inbox.lock();
            if !inbox.closed {
                inbox.commands.push(command);
                shard.wake.notify_one();
            }
        }
    }

    /// Drops what the shards have not seen, and what comes from now on: they are not run any more.
    pub(crate) fn close(&self) {
        for shard in &self.shards {
            let unseen = std::mem::replace(&mut *shard.inbox.lock(), Inbox { closed: true, ..Inbox::default() });
            drop(unseen);
        }
    }

    /// Tells every shard to end its followers.
    pub(crate) fn stop(&self) {
        for shard in &self.shards {
            shard.inbox.lock().commands.push(Command::Stop);
            shard.wake.notify_one();
        }
    }

    /// Tells a shard that a source has something new.
    pub(crate) fn mark_dirty(&self, shard: usize, source: &Arc<dyn Source>) {
        if let Some(shard) = self.shards.get(shard) {
            let mut inbox = shard.inbox.lock();
            if !inbox.closed {
                inbox.dirty.push(Arc::clone(source));
                shard.wake.notify_one();
            }
        }
    }

    fn take_inbox(&self, shard: usize) -> Inbox {
        let Some(shard) = self.shards.get(shard) else { return Inbox::default() };
        let mut inbox = shard.inbox.lock();
        let closed = inbox.closed;
        std::mem::replace(&mut *inbox, Inbox { closed, ..Inbox::default() })
    }

    async fn wait(&self, shard: usize) {
        if let Some(shard) = self.shards.get(shard) {
            shard.wake.notified().await;
        }
    }
}

impl fmt::Debug for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shards").field("n_shards", &self.shards.len()).finish_non_exhaustive()
    }
}

/// The engines that history is read from.
pub(crate) type Engines = Arc<[Arc<dyn Engine>]>;
