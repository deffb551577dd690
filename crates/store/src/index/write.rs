//! Makes an index file's bytes from the index in memory.

use crate::index::Chunk;
use crate::index::file::{FOOTER, FOOTER_MAGIC, HEAD_MAGIC, PAGE_CHUNKS};
use crate::index::memory::MemoryIndex;
use crate::index::pack::{chunk_of, put_entries};

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
    let mut end_chunk = |out: &[u8], at: usize, chunk: Chunk| {
        let (length, checksum) = ((out.len() - at) as u32, crc32c::crc32c_append(salt, &out[at..]));
        chunks.push(Chunk { at: at as u32, length, checksum, ..chunk });
    };
    for topic in topics {
        let (packed, open) = index.parts(topic);
        for (chunk, bytes) in packed {
            let at = out.len();
            out.extend_from_slice(bytes);
            end_chunk(out, at, *chunk);
        }
        if let Some(chunk) = chunk_of(topic, open) {
            let at = out.len();
            put_entries(out, open);
            end_chunk(out, at, chunk);
        }
    }
    chunks
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
