//! Makes a segment's index from the segment itself.

use std::io;

use crate::format::batch::BatchHead;
use crate::format::header::SegmentKey;
use crate::format::record::{RawRecord, RecordKind};
use crate::format::walk::{SurveyInput, survey};
use crate::index::memory::MemoryIndex;
use crate::index::{DELETIONS, Entry};
use crate::recovery::damage::DamagedOffsets;

/// The index entry of a record, and the topic under which it stands; none if readers never ask for it.
pub(crate) fn index_entry(record: &RawRecord<'_>, position: u32) -> Option<(u64, Entry)> {
    let size = record.message_size()?;
    let entry = Entry { offset: record.offset, time: record.time, position, length: record.length, size };
    match record.kind {
        RecordKind::Message | RecordKind::Closed => Some((record.topic, entry)),
        RecordKind::Deleted | RecordKind::Hidden => record.tells_of_deletion().then_some((DELETIONS, entry)),
        RecordKind::Created
        | RecordKind::Producer
        | RecordKind::StreamSeq
        | RecordKind::MessageId
        | RecordKind::Group
        | RecordKind::GroupStep => None,
    }
}

/// Adds a batch that was read back from its segment.
pub(crate) fn add_batch(index: &mut MemoryIndex, head: &BatchHead, records: &[(usize, RawRecord<'_>)]) {
    if let Some((first, _)) = records.first() {
        index.add_batch(head.first, *first as u32);
    }
    for (position, record) in records {
        if let Some((topic, entry)) = index_entry(record, *position as u32) {
            index.add(topic, entry);
        }
    }
}

/// The index of a sealed segment's bytes, and what of them is broken.
pub(crate) fn index_of(
    bytes: &[u8],
    salt: u32,
    key: SegmentKey,
    end: u64,
) -> io::Result<(MemoryIndex, Vec<DamagedOffsets>)> {
    let mut index = MemoryIndex::default();
    let limit = end.saturating_add(1);
    let last = key.base.saturating_sub(1);
    // A sealed segment had been on disk whole up to its end.
    let input = SurveyInput { bytes, salt, last, limit, durable_through: end };
    let survey = survey(input, |head, records| add_batch(&mut index, head, records));
    for (topic, entry) in &survey.suspects {
        index.insert(*topic, *entry)?;
    }
    let damaged = survey.damaged.iter().map(|damaged| DamagedOffsets::found(key, damaged, limit));
    Ok((index, damaged.collect()))
}
