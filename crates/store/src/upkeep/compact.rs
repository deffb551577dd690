//! Writes what still lives of some neighbouring segments into one new segment that takes their place. Records are copied
//! as they are, with their offsets and checksums.

use std::io;
use std::sync::Arc;

use crate::format::header::{SegmentHead, SegmentKey};
use crate::format::walk::Loss;
use crate::index::memory::MemoryIndex;
use crate::index::{DELETIONS, Entry};
use crate::read::fetch::{Fetched, fetch};
use crate::recovery::damage::DamagedOffsets;
use crate::segments::segment::Segment;
use crate::shared::Shared;
use crate::upkeep::output::Output;
use crate::upkeep::reclaim::Persisted;

/// Puts one segment in the place of these; none if nothing lives. One in which something that lives is damaged, or cannot
/// be read, is noted as damaged and all stay: it is left alone from then on until a repair.
pub(crate) fn compact(shared: &Shared, persisted: &Persisted, run: &[(Arc<Segment>, u64)]) -> io::Result<()> {
    let old: Vec<Arc<Segment>> = run.iter().map(|(segment, _)| Arc::clone(segment)).collect();
    let live: u64 = run.iter().map(|(_, live)| live).sum();
    let new = match live {
        0 => None,
        _ => match write(shared, persisted, &old)? {
            Some(segment) => Some(segment),
            // The others have their turn without the damaged one.
            None => return Ok(()),
        },
    };
    tracing::info!(
        segments = old.len(),
        bytes = old.iter().map(|segment| segment.length()).sum::<u64>(),
        live,
        "segments of which little lives are given back"
    );
    shared.segments.replace(&old, new);
    for segment in &old {
        shared.segments.remove_files(segment)?;
    }
    shared.segments.disk.sync_names()
}

fn write(shared: &Shared, persisted: &Persisted, old: &[Arc<Segment>]) -> io::Result<Option<Arc<Segment>>> {
    let (Some(first), Some(last)) = (old.first(), old.last()) else { return Ok(None) };
    let generation = old.iter().map(|segment| segment.key.generation).max().unwrap_or(0) + 1;
    let key = SegmentKey { base: first.base(), generation };
    let head = SegmentHead { log: shared.head.log, key, end: last.end(), durable_through: persisted.committed };
    let disk = &*shared.segments.disk;
    let mut output = Output::create(disk, &head, shared.head.salt)?;
    let mut index = MemoryIndex::default();
    for segment in old {
        match copy(shared, persisted, segment, &mut output, &mut index) {
            Ok(None) => {}
            Ok(Some(damaged)) => {
                output.abandon(disk)?;
                shared.segments.note_damage(vec![damaged]);
                return Ok(None);
            }
            Err(error) => {
                output.abandon(disk)?;
                return Err(error);
            }
        }
    }
    let (length, batches) = output.finish(disk)?;
    batches.iter().for_each(|(first, at)| index.add_batch(*first, *at));
    // The index goes into a file with those of other full segments.
    Ok(Some(Arc::new(Segment::new(key, last.end(), length, Some(index)))))
}

/// Copies what lives of a segment, as far as the first of it that is damaged, which is told.
fn copy(
    shared: &Shared,
    persisted: &Persisted,
    segment: &Segment,
    output: &mut Output,
    index: &mut MemoryIndex,
) -> io::Result<Option<DamagedOffsets>> {
    let entries = shared.segments.entries_between(segment, 0, u64::MAX, |topic| topic != DELETIONS)?;
    let (topics, entries): (Vec<u64>, Vec<Entry>) =
        entries.into_iter().filter(|(topic, entry)| persisted.is_live(*topic, entry.offset)).unzip();
    let handle = shared.segments.handle(segment)?;
    let mut topics = topics.into_iter();
    let mut outcome = Ok(None);
    fetch(&*handle.data, shared.head.salt, &entries, |entry, fetched| {
        let topic = topics.next().unwrap_or(DELETIONS);
        outcome = match fetched {
            Fetched::Intact { record, .. } => output.position(record.bytes()).and_then(|position| {
                index.add(topic, Entry { position, ..*entry });
                output.add(entry.offset, record.bytes()).map(|()| None)
            }),
            Fetched::Damaged => Ok(Some(damaged(segment.key, entry))),
        };
        matches!(outcome, Ok(None))
    })?;
    outcome
}

/// Where readers ask for it by its index entry, they find out themselves how it is then.
fn damaged(segment: SegmentKey, entry: &Entry) -> DamagedOffsets {
    let from = u64::from(entry.position);
    let bytes = (from, from + u64::from(entry.length));
    DamagedOffsets { segment, bytes, after: entry.offset - 1, before: entry.offset + 1, loss: Loss::Known }
}
