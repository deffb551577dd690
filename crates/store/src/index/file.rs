//! Reads a sealed segment's index file: entries in chunks, a directory of the chunks in pages, and a small tail that is
//! held in memory while the segment is in use.

use std::io;
use std::sync::Arc;

use crate::codec::Reader;
use crate::disk::File;
use crate::index::pack::get_entries;
use crate::index::write::CHUNK_BYTES;
use crate::index::{Chunk, Entry};

pub(crate) const HEAD_MAGIC: [u8; 8] = *b"QNTINDX1";
pub(crate) const FOOTER_MAGIC: [u8; 8] = *b"QNTINDXE";
/// Bytes of the footer.
pub(crate) const FOOTER: usize = 24;
/// Chunks on a page of the directory.
pub(crate) const PAGE_CHUNKS: usize = 64;
const PAGE_BYTES: usize = PAGE_CHUNKS * CHUNK_BYTES + 4;

/// An open index file.
#[derive(Debug)]
pub(crate) struct FileIndex {
    file: Arc<dyn File>,
    salt: u32,
    directory_at: u64,
    n_chunks: usize,
    /// Topic and last offset of each page's last chunk.
    fences: Vec<(u64, u64)>,
    landmarks: Vec<(u64, u32)>,
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the index file is damaged")
}

impl FileIndex {
    /// Reads the tail; fails with `InvalidData` if the index has to be made again.
    pub(crate) fn open(file: Arc<dyn File>, salt: u32) -> io::Result<Self> {
        let length = file.length()?;
        let footer_at = length.checked_sub(FOOTER as u64).ok_or_else(damaged)?;
        let mut footer = [0; FOOTER];
        file.read_at(&mut footer, footer_at)?;
        let mut reader = Reader::new(&footer);
        let parsed = (|| Some((reader.u64()?, reader.u32()?, reader.u32()?)))();
        let (tail_at, tail_checksum, checksum) = parsed.ok_or_else(damaged)?;
        let intact = reader.rest() == FOOTER_MAGIC && crc32c::crc32c_append(salt, &footer[..12]) == checksum;
        if !intact || tail_at > footer_at {
            return Err(damaged());
        }
        let mut tail = vec![0; usize::try_from(footer_at - tail_at).map_err(io::Error::other)?];
        file.read_at(&mut tail, tail_at)?;
        if crc32c::crc32c_append(salt, &tail) != tail_checksum {
            return Err(damaged());
        }
        Self::parse_tail(file, salt, &tail).ok_or_else(damaged)
    }

    fn parse_tail(file: Arc<dyn File>, salt: u32, tail: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(tail);
        let directory_at = reader.u64()?;
        let n_chunks = reader.u32()? as usize;
        let fences = (0..n_chunks.div_ceil(PAGE_CHUNKS)).map(|_| Some((reader.u64()?, reader.u64()?)));
        let fences = fences.collect::<Option<Vec<_>>>()?;
        let n_landmarks = reader.u32()?;
        let landmarks = (0..n_landmarks).map(|_| Some((reader.u64()?, reader.u32()?)));
        let landmarks = landmarks.collect::<Option<Vec<_>>>()?;
        Some(Self { file, salt, directory_at, n_chunks, fences, landmarks })
    }

    /// The chunks of a directory page.
    fn page(&self, page: usize) -> io::Result<Vec<Chunk>> {
        let mut bytes = [0; PAGE_BYTES];
        self.file.read_at(&mut bytes, self.directory_at + (page * PAGE_BYTES) as u64)?;
        let (chunks, checksum) = bytes.split_at(PAGE_BYTES - 4);
        if crc32c::crc32c_append(self.salt, chunks).to_le_bytes() != checksum {
            return Err(damaged());
        }
        let n = (self.n_chunks - page * PAGE_CHUNKS).min(PAGE_CHUNKS);
        chunks.chunks_exact(CHUNK_BYTES).take(n).map(|bytes| get_chunk(bytes).ok_or_else(damaged)).collect()
    }

    /// All chunks, ordered by topic and offset.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = io::Result<Chunk>> {
        let mut failed = false;
        (0..self.fences.len())
            .flat_map(move |page| match self.page(page) {
                Ok(chunks) => chunks.into_iter().map(Ok).collect::<Vec<_>>(),
                Err(error) => vec![Err(error)],
            })
            .take_while(move |chunk| !std::mem::replace(&mut failed, chunk.is_err()))
    }

    /// A topic's chunks that hold entries behind an offset, in order.
    fn chunks_after(&self, topic: u64, after: u64) -> impl Iterator<Item = io::Result<Chunk>> {
        let key = (topic, after.saturating_add(1));
        let first_page = self.fences.partition_point(|fence| *fence < key);
        (first_page..self.fences.len())
            .flat_map(move |page| match self.page(page) {
                Ok(chunks) => chunks.into_iter().map(Ok).collect::<Vec<_>>(),
                Err(error) => vec![Err(error)],
            })
            .skip_while(move |chunk| chunk.as_ref().is_ok_and(|chunk| (chunk.topic, chunk.last) < key))
            .take_while(move |chunk| chunk.as_ref().is_ok_and(|chunk| chunk.topic == topic) || chunk.is_err())
    }

    /// A topic's entries behind an offset, at most so many.
    pub(crate) fn after(&self, topic: u64, after: u64, count_max: usize) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for chunk in self.chunks_after(topic, after) {
            let chunk = self.entries(&chunk?)?;
            entries.extend(chunk.into_iter().filter(|entry| entry.offset > after));
            if entries.len() >= count_max {
                entries.truncate(count_max);
                break;
            }
        }
        Ok(entries)
    }

    /// How many messages of a topic lie behind an offset.
    pub(crate) fn n_messages_after(&self, topic: u64, after: u64) -> io::Result<u64> {
        let chunks = self.chunks_after(topic, after).collect::<io::Result<Vec<_>>>()?;
        let mut n = 0;
        for (i, chunk) in chunks.iter().enumerate() {
            // The first may begin before the offset; the last may end with the topic's closure, which is no message.
            if i == 0 || i + 1 == chunks.len() {
                let entries = self.entries(chunk)?;
                n += entries.iter().filter(|entry| entry.offset > after && entry.is_message()).count() as u64;
            } else {
                n += u64::from(chunk.count);
            }
        }
        Ok(n)
    }

    /// The entries of a chunk.
    pub(crate) fn entries(&self, chunk: &Chunk) -> io::Result<Vec<Entry>> {
        let mut bytes = vec![0; chunk.length as usize];
        self.file.read_at(&mut bytes, u64::from(chunk.at))?;
        if crc32c::crc32c_append(self.salt, &bytes) != chunk.checksum {
            return Err(damaged());
        }
        get_entries(&bytes, chunk.count).ok_or_else(damaged)
    }

    /// Offsets of batches and their places, in order.
    pub(crate) fn landmarks(&self) -> &[(u64, u32)] {
        &self.landmarks
    }
}

fn get_chunk(bytes: &[u8]) -> Option<Chunk> {
    let mut reader = Reader::new(bytes);
    Some(Chunk {
        topic: reader.u64()?,
        last: reader.u64()?,
        first: reader.u64()?,
        at: reader.u32()?,
        length: reader.u32()?,
        count: reader.u32()?,
        checksum: reader.u32()?,
        bytes: reader.u64()?,
        newest: reader.u64()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Disk;
    use crate::disk::faulty::FaultyDisk;
    use crate::disk::random::Random;
    use crate::index::memory::MemoryIndex;
    use crate::index::write::index_bytes;

    /// An index of some topics of very different sizes, in memory and as a file.
    fn both(n_topics: u64, n_entries: u64) -> (MemoryIndex, FileIndex) {
        let mut memory = MemoryIndex::default();
        let mut random = Random(7);
        for i in 0..n_entries {
            let topic = random.below(n_topics).min(random.below(n_topics));
            let position = 64 + i as u32 * 300;
            memory.add_batch(i * 2 + 10, position);
            memory.add(topic, Entry { offset: i * 2 + 10, time: 1_000_000 - i, position, length: 290, size: 280 });
        }
        let disk = FaultyDisk::new();
        let file = disk.create("index").unwrap();
        file.write_at(&index_bytes(&memory, 99), 0).unwrap();
        (memory, FileIndex::open(file, 99).unwrap())
    }

    #[test]
    fn the_file_tells_what_memory_tells() {
        let (memory, file) = both(500, 20_000);
        for topic in 0..510 {
            for after in [0, 9, 10, 11, 500, 20_000, 39_999, 50_000] {
                for count_max in [1, 100, 100_000] {
                    let expected = memory.after(topic, after, count_max).unwrap();
                    assert_eq!(file.after(topic, after, count_max).unwrap(), expected, "{topic} after {after}");
                }
            }
        }
        assert_eq!(file.landmarks(), memory.landmarks());
        let count: u32 = file.chunks().map(|chunk| chunk.unwrap().count).sum();
        assert_eq!(count, 20_000);
    }

    #[test]
    fn a_flipped_bit_is_found() {
        let (memory, _) = both(40, 500);
        let bytes = index_bytes(&memory, 99);
        for byte in 8..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[byte] ^= 1 << (byte % 8);
            let disk = FaultyDisk::new();
            let file = disk.create("index").unwrap();
            file.write_at(&flipped, 0).unwrap();
            let read = FileIndex::open(file, 99).and_then(|index| {
                let chunks = index.chunks().collect::<io::Result<Vec<_>>>()?;
                chunks.iter().map(|chunk| index.entries(chunk)).collect::<io::Result<Vec<_>>>()
            });
            assert!(read.is_err(), "byte {byte}");
        }
    }
}
