//! A batch: the records of one transaction behind a head. It counts as a whole or not at all.

use crate::codec::Reader;
use crate::format::record::RawRecord;

/// Bytes of a batch's head.
pub(crate) const BATCH_HEAD: usize = 36;
pub(crate) const MAGIC: [u8; 4] = *b"QBAT";

/// What stands before a batch's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHead {
    /// Bytes of the records.
    pub(crate) length: u32,
    /// How many there are.
    pub(crate) count: u32,
    /// The offset of the first.
    pub(crate) first: u64,
    /// Everything up to this offset was on disk when the batch was written.
    pub(crate) durable_through: u64,
}

impl BatchHead {
    /// Puts the head into the place that was kept for it.
    pub(crate) fn put(&self, place: &mut [u8], salt: u32) {
        place[0..4].copy_from_slice(&MAGIC);
        place[8..12].copy_from_slice(&self.length.to_le_bytes());
        place[12..16].copy_from_slice(&self.count.to_le_bytes());
        place[16..24].copy_from_slice(&self.first.to_le_bytes());
        place[24..32].copy_from_slice(&self.durable_through.to_le_bytes());
        place[32..36].copy_from_slice(&0u32.to_le_bytes());
        let checksum = crc32c::crc32c_append(salt, &place[8..BATCH_HEAD]);
        place[4..8].copy_from_slice(&checksum.to_le_bytes());
    }

    /// The head at the front of these bytes, if it is intact.
    pub(crate) fn parse(bytes: &[u8], salt: u32) -> Option<Self> {
        let head = bytes.get(..BATCH_HEAD)?;
        if head[0..4] != MAGIC {
            return None;
        }
        let mut reader = Reader::new(&head[4..]);
        let checksum = reader.u32()?;
        if crc32c::crc32c_append(salt, reader.rest()) != checksum {
            return None;
        }
        Some(Self { length: reader.u32()?, count: reader.u32()?, first: reader.u64()?, durable_through: reader.u64()? })
    }

    /// Bytes of the whole batch.
    pub(crate) fn whole(&self) -> usize {
        BATCH_HEAD + self.length as usize
    }
}

/// The records of a batch that begins these bytes, if all of it is there and intact.
pub(crate) fn parse_batch(bytes: &[u8], salt: u32) -> Option<(BatchHead, Vec<(usize, RawRecord<'_>)>)> {
    let head = BatchHead::parse(bytes, salt)?;
    let whole = bytes.get(..head.whole())?;
    let mut records = Vec::with_capacity(head.count.min(100_000) as usize);
    let mut at = BATCH_HEAD;
    let mut last = head.first.saturating_sub(1);
    while at < whole.len() {
        let record = RawRecord::parse(&whole[at..], salt)?;
        if record.offset <= last {
            return None;
        }
        last = record.offset;
        records.push((at, record));
        at += record.length as usize;
    }
    (records.len() == head.count as usize).then_some((head, records))
}

/// Where the next possible head stands at or behind `from`.
pub(crate) fn find_magic(bytes: &[u8], from: usize) -> Option<usize> {
    let tail = bytes.get(from..)?;
    tail.windows(MAGIC.len()).position(|window| window == MAGIC).map(|found| from + found)
}
