//! Whole segments that are not there. One that was given back leaves nothing behind that is wanted; so what the
//! checkpoint still wants of an index whose segment is gone was lost, and so is what lies between the checkpoint and the
//! first segment that there is.

use std::io;

use crate::disk::Disk;
use crate::format::header::{SegmentKey, StoreHead};
use crate::format::walk::Loss;
use crate::index::DELETIONS;
use crate::index::file::FileIndex;
use crate::recovery::damage::DamagedOffsets;
use crate::recovery::layout::SegmentFile;
use crate::upkeep::reclaim::Persisted;

/// A segment that is missing, and the messages that its index knows of, if it can be read: topic and offset.
#[derive(Debug)]
pub(crate) struct Missing {
    pub(crate) damaged: DamagedOffsets,
    pub(crate) messages: Vec<(u64, u64)>,
}

/// Indexes without their segment, if no segment of a later generation stands in its place.
pub(crate) fn orphans(names: &[String], files: &[SegmentFile]) -> Vec<SegmentKey> {
    let keys = names.iter().filter_map(|name| SegmentKey::from_file(name, "index"));
    let covers = |file: &SegmentFile, key: SegmentKey| {
        let inside = file.key.base <= key.base && key.base <= file.compacted_end().max(file.key.base);
        file.key == key || file.key.generation > key.generation && inside
    };
    let mut orphans: Vec<_> = keys.filter(|key| !files.iter().any(|file| covers(file, *key))).collect();
    orphans.sort_unstable();
    orphans
}

/// What is missing of the log, as far as the checkpoint covers it or it lies before the first segment; what is missing
/// behind that shows when the segment before is read.
pub(crate) fn missing(
    disk: &dyn Disk,
    head: StoreHead,
    files: &[SegmentFile],
    orphans: &[SegmentKey],
    checkpoint: &Persisted,
) -> Vec<Missing> {
    let mut all = Vec::new();
    for (i, key) in orphans.iter().enumerate() {
        let next_file = files.iter().map(|file| file.key.base).find(|base| *base > key.base);
        let next_orphan = orphans[i + 1..].iter().map(|key| key.base).find(|base| *base > key.base);
        let before = next_file.unwrap_or(u64::MAX).min(next_orphan.unwrap_or(u64::MAX));
        let is_behind = |file: &SegmentFile| file.key.base < key.base;
        if before.saturating_sub(1) > checkpoint.committed && files.iter().any(is_behind) {
            continue;
        }
        let messages = match wanted(disk, head, *key, checkpoint) {
            Ok(messages) if messages.is_empty() => continue,
            Ok(messages) => messages,
            Err(error) => {
                tracing::error!(file = key.index_file(), %error, "an index without its segment cannot be read");
                Vec::new()
            }
        };
        let before = if before == u64::MAX { messages.last().map_or(key.base, |(_, last)| *last) + 1 } else { before };
        all.push(Missing { damaged: lost(*key, key.base.saturating_sub(1), before), messages });
    }
    let first = files.first().map(|file| file.key.base);
    let unread = checkpoint.committed + 1;
    let known = |through: u64| all.iter().any(|missing| missing.damaged.before >= through);
    match first {
        Some(first) if first > unread && !known(first) => {
            let key = SegmentKey { base: unread, generation: 0 };
            all.push(Missing { damaged: lost(key, checkpoint.committed, first), messages: Vec::new() });
        }
        None if all.is_empty() && checkpoint.kept.values().any(|kept| kept.messages > 0) => {
            let key = SegmentKey { base: 1, generation: 0 };
            all.push(Missing { damaged: lost(key, 0, unread), messages: Vec::new() });
        }
        _ => {}
    }
    all
}

fn lost(segment: SegmentKey, after: u64, before: u64) -> DamagedOffsets {
    DamagedOffsets { segment, bytes: (0, 0), after, before, loss: Loss::Unknown }
}

/// The messages in an index that the checkpoint wants, in log order.
fn wanted(disk: &dyn Disk, head: StoreHead, key: SegmentKey, checkpoint: &Persisted) -> io::Result<Vec<(u64, u64)>> {
    let index = FileIndex::open(disk.open(&key.index_file())?, head.salt)?;
    let mut all = Vec::new();
    for chunk in index.chunks() {
        let chunk = chunk?;
        if chunk.topic == DELETIONS {
            continue;
        }
        let entries = index.entries(&chunk)?;
        let offsets = entries.iter().map(|entry| entry.offset).filter(|at| checkpoint.is_live(chunk.topic, *at));
        all.extend(offsets.map(|at| (chunk.topic, at)));
    }
    all.sort_unstable_by_key(|(_, offset)| *offset);
    Ok(all)
}
