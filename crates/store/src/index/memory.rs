//! The index of a segment that is being written.

use crate::index::{Entry, OffsetMap};

/// A batch's place is noted every so many bytes, for readers that go through the log in its order.
const LANDMARK_BYTES: u32 = 64 * 1024;

/// The index of one segment.
#[derive(Debug, Default)]
pub(crate) struct MemoryIndex {
    topics: OffsetMap<Vec<Entry>>,
    /// Offsets of batches and their places, in order.
    landmarks: Vec<(u64, u32)>,
}

impl MemoryIndex {
    pub(crate) fn add(&mut self, topic: u64, entry: Entry) {
        self.topics.entry(topic).or_default().push(entry);
    }

    /// Adds entries with their topics. Most follow one of the same topic, which is looked up once.
    pub(crate) fn extend(&mut self, entries: impl Iterator<Item = (u64, Entry)>) {
        let mut entries = entries.peekable();
        while let Some((topic, entry)) = entries.next() {
            let of_topic = self.topics.entry(topic).or_default();
            of_topic.push(entry);
            while let Some((_, entry)) = entries.next_if(|(next, _)| *next == topic) {
                of_topic.push(entry);
            }
        }
    }

    /// Adds an entry that does not come in order.
    pub(crate) fn insert(&mut self, topic: u64, entry: Entry) {
        let entries = self.topics.entry(topic).or_default();
        let at = entries.partition_point(|known| known.offset < entry.offset);
        if entries.get(at).is_none_or(|known| known.offset != entry.offset) {
            entries.insert(at, entry);
        }
    }

    /// Notes where a batch stands.
    pub(crate) fn add_batch(&mut self, first: u64, position: u32) {
        if self.landmarks.last().is_none_or(|(_, last)| position - last >= LANDMARK_BYTES) {
            self.landmarks.push((first, position));
        }
    }

    /// A topic's entries behind an offset, at most so many.
    pub(crate) fn after(&self, topic: u64, after: u64, count_max: usize) -> Vec<Entry> {
        let Some(all) = self.topics.get(&topic) else { return Vec::new() };
        let from = all.partition_point(|entry| entry.offset <= after);
        all[from..].iter().take(count_max).copied().collect()
    }

    /// The topics in the segment; `DELETIONS` among them if topics were deleted in it.
    pub(crate) fn topics(&self) -> impl Iterator<Item = u64> {
        self.topics.keys().copied()
    }

    pub(crate) fn entries(&self, topic: u64) -> &[Entry] {
        self.topics.get(&topic).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn landmarks(&self) -> &[(u64, u32)] {
        &self.landmarks
    }
}
