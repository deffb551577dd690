//! A segment that is written anew from records of others, as they are.

use std::io;
use std::sync::Arc;

use crate::disk::{Disk, File, TEMPORARY};
use crate::format::batch::{BATCH_HEAD, BatchHead};
use crate::format::header::{SEGMENT_HEAD, SegmentHead};

/// Bytes of records in one batch.
const BATCH_BYTES: usize = 256 * 1024;

/// The new segment while it is written, under a temporary name.
#[derive(Debug)]
pub(crate) struct Output {
    head: SegmentHead,
    salt: u32,
    file: Arc<dyn File>,
    at: u64,
    /// The batch that is being filled, behind room for its head.
    batch: Vec<u8>,
    count: u32,
    first: u64,
    /// The first offset of each batch, and its place.
    batches: Vec<(u64, u32)>,
}

impl Output {
    pub(crate) fn create(disk: &dyn Disk, head: &SegmentHead, salt: u32) -> io::Result<Self> {
        let file = disk.create(&temporary(head))?;
        file.write_at(&head.encode(salt), 0)?;
        let batch = vec![0; BATCH_HEAD];
        let (at, batches) = (SEGMENT_HEAD as u64, Vec::new());
        Ok(Self { head: *head, salt, file, at, batch, count: 0, first: 0, batches })
    }

    /// Where the next record will stand.
    pub(crate) fn position(&mut self, record: &[u8]) -> io::Result<u32> {
        if self.batch.len() + record.len() > BATCH_BYTES && self.count > 0 {
            self.end_batch()?;
        }
        Ok(self.at as u32 + self.batch.len() as u32)
    }

    /// Adds a record.
    pub(crate) fn add(&mut self, offset: u64, record: &[u8]) -> io::Result<()> {
        self.position(record)?;
        if self.count == 0 {
            self.first = offset;
        }
        self.batch.extend_from_slice(record);
        self.count += 1;
        Ok(())
    }

    fn end_batch(&mut self) -> io::Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let head = BatchHead {
            length: (self.batch.len() - BATCH_HEAD) as u32,
            count: self.count,
            first: self.first,
            durable_through: self.head.durable_through,
        };
        head.put(&mut self.batch[..BATCH_HEAD], self.salt);
        self.batches.push((self.first, self.at as u32));
        self.file.write_at(&self.batch, self.at)?;
        self.at += self.batch.len() as u64;
        self.batch.truncate(BATCH_HEAD);
        self.count = 0;
        Ok(())
    }

    /// Makes the segment durable under its own name. Tells its length and the places of its batches.
    pub(crate) fn finish(mut self, disk: &dyn Disk) -> io::Result<(u64, Vec<(u64, u32)>)> {
        if let Err(error) = self.end_batch().and_then(|()| self.file.sync()) {
            self.abandon(disk)?;
            return Err(error);
        }
        let name = self.head.key.file();
        disk.rename(&temporary(&self.head), &name)?;
        if let Err(error) = disk.sync_names() {
            // It must not come back beside what becomes of the old segments.
            disk.remove(&name)?;
            return Err(error);
        }
        Ok((self.at, self.batches))
    }

    /// Gives up, and leaves nothing behind.
    pub(crate) fn abandon(self, disk: &dyn Disk) -> io::Result<()> {
        disk.remove(&temporary(&self.head))
    }
}

fn temporary(head: &SegmentHead) -> String {
    format!("{}{TEMPORARY}", head.key.file())
}
