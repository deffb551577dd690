//! The end of the log: writes groups into the newest segment, and begins a new one when it is full or can no longer be
//! trusted.

use std::io;
use std::sync::Arc;

use crate::disk::{Disk, File};
use crate::format::header::{SEGMENT_HEAD, SegmentHead, SegmentKey, StoreHead};
use crate::index::memory::MemoryIndex;
use crate::segments::segment::{OPEN_END, Segment};
use crate::segments::set::SegmentSet;

/// The end of the log.
#[derive(Debug)]
pub(crate) struct Appender {
    pub(crate) segments: Arc<SegmentSet>,
    pub(crate) head: StoreHead,
    pub(crate) segment_bytes: u64,
    file: Arc<dyn File>,
    segment: Arc<Segment>,
    /// Bytes of the segment that count.
    length: u64,
    /// After a failed sync nobody knows what is on disk, and syncing again would not tell: the segment ends where it was
    /// known to be whole, and a new one has to be begun before anything more is written.
    spoilt: bool,
}

/// Where a group was written.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) segment: Arc<Segment>,
    pub(crate) position: u64,
    /// Whether the segment was begun for it, so that the one before is full.
    pub(crate) new_segment: bool,
}

impl Appender {
    /// Goes on at the end of the newest segment.
    pub(crate) fn resume(
        segments: Arc<SegmentSet>,
        head: StoreHead,
        segment_bytes: u64,
        segment: Arc<Segment>,
    ) -> io::Result<Self> {
        let file = Arc::clone(&segments.handle(&segment)?.data);
        let length = segment.length();
        Ok(Self { segments, head, segment_bytes, file, segment, length, spoilt: false })
    }

    /// Writes a group behind everything else and makes it durable. `committed` is the last offset that is.
    pub(crate) fn append(&mut self, bytes: &[u8], committed: u64) -> io::Result<Written> {
        let full = self.length + bytes.len() as u64 > self.segment_bytes && self.length > SEGMENT_HEAD as u64;
        let new_segment = full || self.spoilt;
        if new_segment && let Err(error) = self.begin_segment(committed) {
            // A part of the new segment may be on disk, so nothing may follow in the old one.
            self.spoilt = true;
            return Err(error);
        }
        let position = self.length;
        if let Err(error) = self.file.write_at(bytes, position) {
            // What was written in part is cut off again, so that the next group can stand there.
            if self.file.set_len(position).is_err() {
                self.spoilt = true;
            }
            return Err(error);
        }
        if let Err(error) = self.file.sync() {
            self.spoilt = true;
            return Err(error);
        }
        self.length += bytes.len() as u64;
        self.segment.set_length(self.length);
        Ok(Written { segment: Arc::clone(&self.segment), position, new_segment })
    }

    /// Seals the segment behind the last committed offset and begins the next one there.
    fn begin_segment(&mut self, committed: u64) -> io::Result<()> {
        let base = committed + 1;
        let same_base = |segment: &&Arc<Segment>| segment.base() == base;
        let generation = self.segments.all().iter().rev().find(same_base).map_or(0, |s| s.key.generation + 1);
        let key = SegmentKey { base, generation };
        let head = SegmentHead { log: self.head.log, key, end: 0, durable_through: committed };
        self.file = create_segment(&*self.segments.disk, &head, self.head.salt)?;
        let length = SEGMENT_HEAD as u64;
        let segment = Arc::new(Segment::new(key, OPEN_END, length, Some(MemoryIndex::default())));
        if generation == 0 {
            self.segment.seal(committed);
            self.segments.push(Arc::clone(&segment));
        } else {
            // The old segment of this base holds nothing that was committed.
            self.segments.replace(&[Arc::clone(&self.segment)], Some(Arc::clone(&segment)));
        }
        self.segment = segment;
        self.length = length;
        self.spoilt = false;
        Ok(())
    }
}

/// A new segment file with its head, durable under its name.
pub(crate) fn create_segment(disk: &dyn Disk, head: &SegmentHead, salt: u32) -> io::Result<Arc<dyn File>> {
    let file = disk.create(&head.key.file())?;
    file.write_at(&head.encode(salt), 0)?;
    file.sync()?;
    disk.sync_names()?;
    Ok(file)
}
