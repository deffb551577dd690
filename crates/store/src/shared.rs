//! What the threads of a store share.
//!
//! Locks, in the order in which more than one may be held: the observer's, the topics'. No disk is touched under them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use parking_lot::Mutex;
use quintet_core::engine::Observer;
use quintet_core::error::Error;

use crate::checkpoint::content::Captured;
use crate::commit::queue::Queue;
use crate::copies::Waiting;
use crate::format::header::StoreHead;
use crate::segments::set::SegmentSet;
use crate::settled::Settled;
use crate::topics::Topics;
use crate::upkeep::thread::Bell;

/// What the threads of a store share.
pub(crate) struct Shared {
    pub(crate) head: StoreHead,
    pub(crate) segments: Arc<SegmentSet>,
    pub(crate) topics: Mutex<Topics>,
    /// What retention has to leave for groups.
    pub(crate) settled: Settled,
    pub(crate) queue: Queue,
    /// Second copies of records that upkeep is to write.
    pub(crate) copies: Waiting,
    /// Held while it is told something, so that it hears one thing at a time.
    pub(crate) observer: Mutex<Option<Arc<dyn Observer>>>,
    /// Why the last group was not written; none if it was, or since the disk was seen to take something again.
    pub(crate) refusal: Mutex<Option<Error>>,
    /// What the commit thread leaves behind when it ends.
    pub(crate) last_state: Mutex<Option<Captured>>,
    /// The newest time that [`quintet_core::engine::Engine::maintain`] was called with.
    pub(crate) now: AtomicU64,
    /// Bytes of log that were replayed and written since the store was opened.
    pub(crate) log_bytes: AtomicU64,
    /// Whether a group found no room since space was given back.
    pub(crate) full: AtomicBool,
    /// What deletions leave of the ballast.
    pub(crate) ballast_floor: AtomicU64,
    /// Wakes the upkeep thread.
    pub(crate) bell: Bell,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("head", &self.head).finish_non_exhaustive()
    }
}

impl Shared {
    /// Tells the observer something.
    pub(crate) fn tell(&self, what: impl FnOnce(&dyn Observer)) {
        if let Some(observer) = &*self.observer.lock() {
            what(&**observer);
        }
    }
}
