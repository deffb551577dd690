//! One segment: a stretch of the log in one file.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::format::header::SegmentKey;
use crate::index::memory::MemoryIndex;

/// The end of the segment that is appended to.
pub(crate) const OPEN_END: u64 = u64::MAX;

/// One segment.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) key: SegmentKey,
    /// The last offset that can be in it.
    end: AtomicU64,
    /// Bytes of it that count.
    length: AtomicU64,
    /// Until the index file is written.
    pub(crate) memory: RwLock<Option<MemoryIndex>>,
    /// Held while the index file is made again, so that one reader does it.
    pub(crate) rebuilding: Mutex<()>,
    pub(crate) usage: Mutex<Usage>,
    /// Whether `usage` has to be counted again.
    pub(crate) stale: AtomicBool,
}

/// How much of a segment is still wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Bytes of records that readers can ask for.
    pub(crate) live_bytes: u64,
    /// The same of all records that readers ever could ask for; heads of batches and records of state are not counted,
    /// since a segment of many small messages would never be good enough.
    pub(crate) all_bytes: u64,
    /// Whether it has been counted at all.
    pub(crate) counted: bool,
}

impl Usage {
    /// Whether of a segment of this length nothing is wanted any more, or less than half of what could be; or so little
    /// that records of state take most of it, as of a group whose messages are handed out again and again.
    pub(crate) fn is_wasteful(self, length: u64) -> bool {
        let is_mostly_dead = self.live_bytes * 2 < self.all_bytes;
        let is_mostly_state = self.live_bytes.saturating_mul(4) < length;
        self.counted && (self.live_bytes == 0 || is_mostly_dead || is_mostly_state)
    }
}

impl Segment {
    pub(crate) fn new(key: SegmentKey, end: u64, length: u64, memory: Option<MemoryIndex>) -> Self {
        Self {
            key,
            end: AtomicU64::new(end),
            length: AtomicU64::new(length),
            memory: RwLock::new(memory),
            rebuilding: Mutex::new(()),
            usage: Mutex::default(),
            stale: AtomicBool::new(true),
        }
    }

    pub(crate) fn base(&self) -> u64 {
        self.key.base
    }

    pub(crate) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.end() != OPEN_END
    }

    /// Nothing is appended from now on.
    pub(crate) fn seal(&self, end: u64) {
        self.end.store(end, Ordering::Release);
    }

    pub(crate) fn length(&self) -> u64 {
        self.length.load(Ordering::Acquire)
    }

    pub(crate) fn set_length(&self, length: u64) {
        self.length.store(length, Ordering::Release);
    }

    /// Whether its index is in a file.
    pub(crate) fn is_indexed(&self) -> bool {
        self.memory.read().is_none()
    }
}
