//! The end of the log: writes groups into the newest segment, and begins a new one when it is full or can no longer be
//! trusted.

use std::io;
use std::sync::Arc;

use crate::ballast::is_full;
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
    pub(crate) reserve_bytes: u64,
    file: Arc<dyn File>,
    segment: Arc<Segment>,
    /// Bytes of the segment that count.
    length: u64,
    /// Where the file ends. What lies between is zeros …
    reserved: u64,
    /// … that were written up to here; behind it their place was only made.
    written: u64,
    /// After a failed sync nobody knows what is on disk, and syncing again would not tell: the segment ends where it was
    /// known to be whole, and a new one has to be begun before anything more is written.
    spoilt: bool,
}

/// Larger groups get no zeros written behind them, which would cost more than they save: only their place is made, for
/// so many times as much.
const RESERVING_GROUP_MAX: usize = 128 << 10;
const ALLOCATED_TIMES: u64 = 16;

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
        reserve_bytes: u64,
        segment: Arc<Segment>,
    ) -> io::Result<Self> {
        let file = Arc::clone(&segments.handle(&segment)?.data);
        let length = segment.length();
        Ok(Self {
            segments,
            head,
            segment_bytes,
            reserve_bytes,
            file,
            segment,
            length,
            reserved: length,
            written: length,
            spoilt: false,
        })
    }

    /// Writes a group behind everything else and makes it durable. `committed` is the last offset that is.
    pub(crate) fn append(&mut self, bytes: &mut Vec<u8>, committed: u64) -> io::Result<Written> {
        let full = self.length + bytes.len() as u64 > self.segment_bytes && self.length > SEGMENT_HEAD as u64;
        let new_segment = full || self.spoilt;
        if new_segment && let Err(error) = self.begin_segment(committed) {
            // A part of the new segment may be on disk, so nothing may follow in the old one.
            self.spoilt = true;
            return Err(error);
        }
        let position = self.length;
        if let Err(error) = self.write(bytes, position) {
            self.cut(position);
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

    /// Writes a group, and makes room behind it if the file has to grow for it: as long as groups fit into that, a sync
    /// has neither a new length nor new blocks to write besides the group, which is most of what it costs.
    fn write(&mut self, bytes: &mut Vec<u8>, position: u64) -> io::Result<()> {
        let end = position + bytes.len() as u64;
        if bytes.len() > RESERVING_GROUP_MAX {
            let reserved = (end + self.reserve_bytes * ALLOCATED_TIMES).min(self.segment_bytes);
            // Where no place can be made, the group itself may have room, or will fail.
            if end > self.reserved && end < reserved && self.file.allocate(reserved).is_ok() {
                self.reserved = reserved;
            }
        } else if end > self.written && self.write_with_zeros(bytes, position, end)? {
            return Ok(());
        }
        self.file.write_at(bytes, position)?;
        self.written = self.written.max(end);
        self.reserved = self.reserved.max(end);
        Ok(())
    }

    /// Writes a group and zeros behind it; false if there is no room for these, and nothing is written.
    fn write_with_zeros(&mut self, bytes: &mut Vec<u8>, position: u64, end: u64) -> io::Result<bool> {
        let written = (end + self.reserve_bytes).min(self.segment_bytes);
        if written <= end {
            return Ok(false);
        }
        let n_bytes = bytes.len();
        bytes.resize(n_bytes + (written - end) as usize, 0);
        let result = self.file.write_at(bytes, position);
        bytes.truncate(n_bytes);
        match result {
            Err(error) if is_full(&error) => {
                self.cut(position);
                Ok(false)
            }
            Err(error) => Err(error),
            Ok(()) => {
                self.written = written;
                self.reserved = self.reserved.max(written);
                Ok(true)
            }
        }
    }

    /// Cuts off what was written in part, so that the next group can stand there.
    fn cut(&mut self, position: u64) {
        if self.file.set_len(position).is_err() {
            self.spoilt = true;
        }
        (self.reserved, self.written) = (position, position);
    }

    /// Gives the zeros at the end of the file back. They do no harm where that fails, or is lost in a crash.
    pub(crate) fn release(&mut self) {
        if self.reserved > self.length && self.file.set_len(self.length).is_ok() {
            (self.reserved, self.written) = (self.length, self.length);
        }
    }

    /// Seals the segment behind the last committed offset and begins the next one there.
    fn begin_segment(&mut self, committed: u64) -> io::Result<()> {
        self.release();
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
        (self.length, self.reserved, self.written) = (length, length, length);
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
