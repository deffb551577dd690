//! Makes an index file's bytes from the index in memory.

use crate::codec::ShortBytes;
use crate::index::file::{FOOTER, FOOTER_MAGIC, HEAD_MAGIC, PAGE_CHUNKS};
use crate::index::memory::MemoryIndex;
use crate::index::{Chunk, Entry};

/// Entries of one chunk at most; it is read and decoded as a whole.
const CHUNK_ENTRIES: usize = 256;

/// The bytes of the file.
pub(crate) fn index_bytes(index: &MemoryIndex, salt: u32) -> Vec<u8> {
    let mut out = HEAD_MAGIC.to_vec();
    let chunks = put_chunks(&mut out, index, salt);
    let mut fences = Vec::new();
    let directory_at = out.len() as u64;
    for page in chunks.chunks(PAGE_CHUNKS) {
        let from = out.len();
        for chunk in page {
            put_chunk(&mut out, chunk);
        }
        // Pages have one length, so that their places need not be kept.
        out.resize(from + PAGE_CHUNKS * CHUNK_BYTES, 0);
        let checksum = crc32c::crc32c_append(salt, &out[from..]);
        out.extend_from_slice(&checksum.to_le_bytes());
        if let Some(last) = page.last() {
            fences.push((last.topic, last.last));
        }
    }
    let tail_at = out.len();
    out.extend_from_slice(&directory_at.to_le_bytes());
    out.extend_from_slice(&(chunks.len() as u32).to_le_bytes());
    for (topic, last) in fences {
        out.extend_from_slice(&topic.to_le_bytes());
        out.extend_from_slice(&last.to_le_bytes());
    }
    out.extend_from_slice(&(index.landmarks().len() as u32).to_le_bytes());
    for (offset, position) in index.landmarks() {
        out.extend_from_slice(&offset.to_le_bytes());
        out.extend_from_slice(&position.to_le_bytes());
    }
    let checksum = crc32c::crc32c_append(salt, &out[tail_at..]);
    let footer_at = out.len();
    out.extend_from_slice(&(tail_at as u64).to_le_bytes());
    out.extend_from_slice(&checksum.to_le_bytes());
    let checksum = crc32c::crc32c_append(salt, &out[footer_at..]);
    out.extend_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(&FOOTER_MAGIC);
    debug_assert_eq!(out.len() - footer_at, FOOTER);
    out
}

fn put_chunks(out: &mut Vec<u8>, index: &MemoryIndex, salt: u32) -> Vec<Chunk> {
    let mut topics: Vec<u64> = index.topics().collect();
    topics.sort_unstable();
    let mut chunks = Vec::new();
    for topic in topics {
        for entries in index.entries(topic).chunks(CHUNK_ENTRIES) {
            let (Some(first), Some(last)) = (entries.first(), entries.last()) else { continue };
            let at = out.len();
            put_entries(out, entries);
            chunks.push(Chunk {
                topic,
                last: last.offset,
                first: first.offset,
                at: at as u32,
                length: (out.len() - at) as u32,
                count: entries.len() as u32,
                checksum: crc32c::crc32c_append(salt, &out[at..]),
                bytes: entries.iter().map(|entry| u64::from(entry.length)).sum(),
                newest: entries.iter().map(|entry| entry.time).max().unwrap_or_default(),
            });
        }
    }
    chunks
}

/// Differences to the entry before; times may go back, so theirs has a sign.
fn put_entries(out: &mut Vec<u8>, entries: &[Entry]) {
    let mut before = Entry::default();
    for entry in entries {
        let mut bytes = ShortBytes::<35>::new(0);
        bytes.put_varint(entry.offset - before.offset);
        bytes.put_varint(u64::from(entry.position - before.position));
        bytes.put_varint(u64::from(entry.length));
        bytes.put_varint(u64::from(entry.size));
        let time = entry.time.wrapping_sub(before.time) as i64;
        bytes.put_varint(((time << 1) ^ (time >> 63)) as u64);
        out.extend_from_slice(bytes.as_slice());
        before = *entry;
    }
}

/// Bytes of a chunk in the directory.
pub(crate) const CHUNK_BYTES: usize = 56;

fn put_chunk(out: &mut Vec<u8>, chunk: &Chunk) {
    for number in [chunk.topic, chunk.last, chunk.first] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    for number in [chunk.at, chunk.length, chunk.count, chunk.checksum] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    for number in [chunk.bytes, chunk.newest] {
        out.extend_from_slice(&number.to_le_bytes());
    }
}
