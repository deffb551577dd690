//! Where a topic's messages stand in a segment: in memory while the segment is written, in a file of its own afterwards,
//! so that memory does not grow with the number of messages.
//!
//! An index is derived from its segment: one that is missing or damaged is made again.

pub(crate) mod file;
pub(crate) mod memory;
pub(crate) mod pack;
pub(crate) mod write;

use std::hash::{BuildHasherDefault, Hasher};

/// Stands in the place of a topic for the Deleted records, which belong to no living topic.
pub(crate) const DELETIONS: u64 = 0;

/// One record of a topic that readers may want: a message, or the topic's closure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Entry {
    pub(crate) offset: u64,
    pub(crate) time: u64,
    /// Where the record begins in the segment.
    pub(crate) position: u32,
    /// Bytes it has there.
    pub(crate) length: u32,
    /// What it counts for in limits; 0 if it is no message.
    pub(crate) size: u32,
}

impl Entry {
    pub(crate) fn is_message(&self) -> bool {
        self.size > 0
    }
}

/// Some consecutive entries of one topic, summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Chunk {
    pub(crate) topic: u64,
    pub(crate) last: u64,
    pub(crate) first: u64,
    /// Where the entries stand in the index file, and how many bytes they have.
    pub(crate) at: u32,
    pub(crate) length: u32,
    pub(crate) count: u32,
    pub(crate) checksum: u32,
    /// Bytes on disk of the records.
    pub(crate) bytes: u64,
    /// The latest time of a record in it.
    pub(crate) newest: u64,
}

/// Offsets are spread by multiplication; a keyed hash would cost more than all the rest of a look-up, and no client
/// chooses offsets.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct OffsetHasher(u64);

impl Hasher for OffsetHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        let mixed = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

/// A map by offset.
pub(crate) type OffsetMap<T> = std::collections::HashMap<u64, T, BuildHasherDefault<OffsetHasher>>;
