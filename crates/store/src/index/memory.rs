//! The index of a segment that is being written.
//!
//! Of each topic only the newest entries are kept as such; those before them are packed as they will stand in the index
//! file, in a quarter of the memory. Memory that has to be taken anew costs a commit more than packing does.

use std::io;

use crate::index::pack::{CHUNK_ENTRIES, chunk_of, get_entries, put_entries};
use crate::index::{Chunk, Entry, OffsetMap};

/// A batch's place is noted every so many bytes, for readers that go through the log in its order.
const LANDMARK_BYTES: u32 = 64 * 1024;

/// The index of one segment.
#[derive(Debug, Default)]
pub(crate) struct MemoryIndex {
    topics: OffsetMap<Entries>,
    /// Offsets of batches and their places, in order.
    landmarks: Vec<(u64, u32)>,
    /// Where chunks are packed before they are put into memory of their length.
    room: Vec<u8>,
}

/// The entries of one topic, in order.
#[derive(Debug, Default)]
struct Entries {
    packed: Vec<Packed>,
    /// Behind what is packed; fewer than fill a chunk.
    open: Vec<Entry>,
}

/// A chunk, and its bytes.
#[derive(Debug)]
struct Packed {
    chunk: Chunk,
    bytes: Box<[u8]>,
}

impl Packed {
    fn entries(&self) -> io::Result<Vec<Entry>> {
        let entries = get_entries(&self.bytes, self.chunk.count);
        entries.ok_or_else(|| io::Error::other("a packed chunk of an index in memory cannot be read"))
    }
}

impl Entries {
    fn push(&mut self, topic: u64, entry: Entry, room: &mut Vec<u8>) {
        self.open.push(entry);
        if self.open.len() == CHUNK_ENTRIES {
            self.packed.extend(pack(topic, &self.open, room));
            self.open.clear();
        }
    }

    /// The packed chunks that hold something behind an offset.
    fn packed_after(&self, after: u64) -> &[Packed] {
        &self.packed[self.packed.partition_point(|packed| packed.chunk.last <= after)..]
    }

    fn open_after(&self, after: u64) -> &[Entry] {
        &self.open[self.open.partition_point(|entry| entry.offset <= after)..]
    }
}

fn pack(topic: u64, entries: &[Entry], room: &mut Vec<u8>) -> Option<Packed> {
    room.clear();
    put_entries(room, entries);
    let chunk = chunk_of(topic, entries)?;
    Some(Packed { chunk: Chunk { length: room.len() as u32, ..chunk }, bytes: room[..].into() })
}

impl MemoryIndex {
    pub(crate) fn add(&mut self, topic: u64, entry: Entry) {
        self.topics.entry(topic).or_default().push(topic, entry, &mut self.room);
    }

    /// Adds entries with their topics. Most follow one of the same topic, which is looked up once.
    pub(crate) fn extend(&mut self, entries: impl Iterator<Item = (u64, Entry)>) {
        let mut entries = entries.peekable();
        while let Some((topic, entry)) = entries.next() {
            let of_topic = self.topics.entry(topic).or_default();
            of_topic.push(topic, entry, &mut self.room);
            while let Some((_, entry)) = entries.next_if(|(next, _)| *next == topic) {
                of_topic.push(topic, entry, &mut self.room);
            }
        }
    }

    /// Adds an entry that does not come in order.
    pub(crate) fn insert(&mut self, topic: u64, entry: Entry) -> io::Result<()> {
        let of_topic = self.topics.entry(topic).or_default();
        let before = of_topic.packed.partition_point(|packed| packed.chunk.last < entry.offset);
        let mut entries = match of_topic.packed.get(before) {
            Some(packed) => packed.entries()?,
            None => std::mem::take(&mut of_topic.open),
        };
        let at = entries.partition_point(|known| known.offset < entry.offset);
        if entries.get(at).is_none_or(|known| known.offset != entry.offset) {
            entries.insert(at, entry);
        }
        if before < of_topic.packed.len() {
            let chunks = entries.chunks(CHUNK_ENTRIES).filter_map(|entries| pack(topic, entries, &mut self.room));
            of_topic.packed.splice(before..=before, chunks);
        } else {
            entries.into_iter().for_each(|entry| of_topic.push(topic, entry, &mut self.room));
        }
        Ok(())
    }

    /// Notes where a batch stands.
    pub(crate) fn add_batch(&mut self, first: u64, position: u32) {
        if self.landmarks.last().is_none_or(|(_, last)| position - last >= LANDMARK_BYTES) {
            self.landmarks.push((first, position));
        }
    }

    /// A topic's entries behind an offset, at most so many.
    pub(crate) fn after(&self, topic: u64, after: u64, count_max: usize) -> io::Result<Vec<Entry>> {
        let Some(all) = self.topics.get(&topic) else { return Ok(Vec::new()) };
        let mut entries = Vec::new();
        for packed in all.packed_after(after) {
            entries.extend(packed.entries()?.into_iter().filter(|entry| entry.offset > after));
            if entries.len() >= count_max {
                break;
            }
        }
        let n_open = count_max.saturating_sub(entries.len());
        entries.extend(all.open_after(after).iter().take(n_open));
        entries.truncate(count_max);
        Ok(entries)
    }

    /// A topic's entries with offsets behind `after` and up to `to`.
    pub(crate) fn between(&self, topic: u64, after: u64, to: u64) -> io::Result<Vec<Entry>> {
        let Some(all) = self.topics.get(&topic) else { return Ok(Vec::new()) };
        let inside = |entry: &Entry| entry.offset > after && entry.offset <= to;
        let mut entries = Vec::new();
        for packed in all.packed_after(after).iter().take_while(|packed| packed.chunk.first <= to) {
            entries.extend(packed.entries()?.into_iter().filter(inside));
        }
        entries.extend(all.open_after(after).iter().take_while(|entry| inside(entry)));
        Ok(entries)
    }

    /// Whether a topic may have entries with offsets behind `after` and up to `to`.
    pub(crate) fn may_have(&self, topic: u64, after: u64, to: u64) -> bool {
        let first = self.topics.get(&topic).and_then(|all| match all.packed_after(after) {
            [] => all.open_after(after).first().map(|entry| entry.offset),
            [packed, ..] => Some(packed.chunk.first),
        });
        first.is_some_and(|first| first <= to)
    }

    /// How many messages of a topic lie behind an offset.
    pub(crate) fn n_messages_after(&self, topic: u64, after: u64) -> io::Result<u64> {
        let Some(all) = self.topics.get(&topic) else { return Ok(0) };
        let wanted = |entry: &&Entry| entry.offset > after && entry.is_message();
        let mut n = all.open_after(after).iter().filter(wanted).count() as u64;
        for packed in all.packed_after(after) {
            n += packed.entries()?.iter().filter(wanted).count() as u64;
        }
        Ok(n)
    }

    /// The topics in the segment; `DELETIONS` among them if topics were deleted in it.
    pub(crate) fn topics(&self) -> impl Iterator<Item = u64> {
        self.topics.keys().copied()
    }

    /// A topic's packed chunks and their bytes, and the entries behind them.
    pub(crate) fn parts(&self, topic: u64) -> (impl Iterator<Item = (&Chunk, &[u8])>, &[Entry]) {
        let all = self.topics.get(&topic);
        let packed = all.map_or(&[][..], |all| &all.packed[..]);
        (packed.iter().map(|packed| (&packed.chunk, &*packed.bytes)), all.map_or(&[], |all| &all.open[..]))
    }

    pub(crate) fn landmarks(&self) -> &[(u64, u32)] {
        &self.landmarks
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(offset: u64) -> Entry {
        Entry { offset, time: 1_000 - offset % 7, position: offset as u32 * 10, length: 9, size: (offset % 3) as u32 }
    }

    proptest! {
        #[test]
        fn packed_or_not_it_tells_the_same(
            steps in prop::collection::vec(1..4_u64, 0..1_200),
            late in prop::collection::vec(1..2_500_u64, 0..20),
            (after, span, count_max) in (0..2_500_u64, 0..1_000_u64, 1..700_usize),
        ) {
            let (mut index, mut model, mut last) = (MemoryIndex::default(), Vec::new(), 0);
            for step in steps {
                last += step;
                index.add(5, entry(last));
                model.push(entry(last));
            }
            for offset in late {
                index.insert(5, entry(offset)).unwrap();
                model.push(entry(offset));
                last = last.max(offset);
            }
            index.extend([(5, entry(last + 1)), (6, entry(last + 2))].into_iter());
            model.push(entry(last + 1));
            model.sort_by_key(|entry| entry.offset);
            model.dedup();
            let behind: Vec<Entry> = model.iter().filter(|entry| entry.offset > after).copied().collect();
            let first: Vec<Entry> = behind.iter().take(count_max).copied().collect();
            prop_assert_eq!(index.after(5, after, count_max).unwrap(), first);
            let inside: Vec<Entry> = behind.iter().filter(|entry| entry.offset <= after + span).copied().collect();
            prop_assert!(inside.is_empty() || index.may_have(5, after, after + span));
            prop_assert_eq!(index.between(5, after, after + span).unwrap(), inside);
            let n = behind.iter().filter(|entry| entry.is_message()).count() as u64;
            prop_assert_eq!(index.n_messages_after(5, after).unwrap(), n);
            prop_assert_eq!(index.after(6, 0, 9).unwrap(), [entry(last + 2)]);
            prop_assert!(index.parts(5).0.all(|(chunk, _)| chunk.count as usize <= CHUNK_ENTRIES));
        }
    }
}
