//! Entries of one topic as bytes: five varints each, as they stand in index files, and in memory once there are enough.

use crate::codec::{Reader, ShortBytes};
use crate::index::{Chunk, Entry};

/// Entries of one chunk at most; it is read and decoded as a whole.
pub(crate) const CHUNK_ENTRIES: usize = 256;
/// Entries that are put together before they are appended; five varints have 35 bytes at most.
const PUT_TOGETHER: usize = 8;

/// Differences to the entry before; times may go back, so theirs has a sign. What a broken record says of itself may go
/// back too, and wraps around.
pub(crate) fn put_entries(out: &mut Vec<u8>, entries: &[Entry]) {
    let mut before = Entry::default();
    for several in entries.chunks(PUT_TOGETHER) {
        let mut bytes = ShortBytes::<{ PUT_TOGETHER * 35 }>::new(0);
        for entry in several {
            bytes.put_varint(entry.offset.wrapping_sub(before.offset));
            bytes.put_varint(u64::from(entry.position.wrapping_sub(before.position)));
            bytes.put_varint(u64::from(entry.length));
            bytes.put_varint(u64::from(entry.size));
            let time = entry.time.wrapping_sub(before.time) as i64;
            bytes.put_varint(((time << 1) ^ (time >> 63)) as u64);
            before = *entry;
        }
        out.extend_from_slice(bytes.as_slice());
    }
}

/// The entries that were put; none if these bytes do not hold so many.
pub(crate) fn get_entries(bytes: &[u8], count: u32) -> Option<Vec<Entry>> {
    let mut reader = Reader::new(bytes);
    let mut entries = Vec::with_capacity(count.min(1024) as usize);
    let mut entry = Entry::default();
    for _ in 0..count {
        entry.offset = entry.offset.wrapping_add(reader.varint()?);
        entry.position = entry.position.wrapping_add(u32::try_from(reader.varint()?).ok()?);
        entry.length = u32::try_from(reader.varint()?).ok()?;
        entry.size = u32::try_from(reader.varint()?).ok()?;
        let zigzag = reader.varint()?;
        let time = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
        entry.time = entry.time.wrapping_add(time as u64);
        entries.push(entry);
    }
    Some(entries)
}

/// What a chunk of these entries is, but for where it stands; none if there are none.
pub(crate) fn chunk_of(topic: u64, entries: &[Entry]) -> Option<Chunk> {
    let (first, last) = (entries.first()?, entries.last()?);
    Some(Chunk {
        topic,
        last: last.offset,
        first: first.offset,
        count: entries.len() as u32,
        bytes: entries.iter().map(|entry| u64::from(entry.length)).sum(),
        newest: entries.iter().map(|entry| entry.time).max().unwrap_or_default(),
        ..Chunk::default()
    })
}
