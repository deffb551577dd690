//! Finds out how much of each segment is still wanted, and gives back what is not.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::checkpoint::content::{Captured, Kept};
use crate::index::{DELETIONS, OffsetMap};
use crate::lineage::Pins;
use crate::segments::segment::{Segment, Usage};
use crate::segments::set::Index;
use crate::shared::Shared;
use crate::upkeep::compact::compact;

/// Segments that are counted anew in one turn.
const COUNT_TURN_MAX: usize = 32;

/// The state in the older of the checkpoints that are kept. What it does not want, no opening will ever want.
#[derive(Debug, Default, Clone)]
pub(crate) struct Persisted {
    pub(crate) committed: u64,
    pub(crate) kept: Arc<OffsetMap<Kept>>,
    pins: Arc<Pins>,
}

impl Persisted {
    pub(crate) fn new(state: &Captured) -> Self {
        let lineage_of = |id| state.kept.get(&id).map(|kept| kept.lineage);
        let mut pins = Pins::default();
        let forks = state.kept.iter().filter(|(_, kept)| kept.lineage.source.is_some() && !kept.lineage.hidden);
        forks.for_each(|(id, kept)| pins.add(*id, kept.trimmed_through, lineage_of));
        Self { committed: state.committed, kept: Arc::new(state.kept.clone()), pins: Arc::new(pins) }
    }

    /// Whether a record of a topic may still be asked for, also after a crash.
    pub(crate) fn is_live(&self, topic: u64, offset: u64) -> bool {
        topic > self.committed
            || offset > self.committed
            || self.kept.get(&topic).is_some_and(|kept| !kept.lineage.hidden && offset > kept.trimmed_through)
            || self.pins.hold(topic, offset)
    }
}

/// Marks the segments in which something died since the last time, and counts some of those that are marked.
pub(crate) fn count(shared: &Shared) -> io::Result<()> {
    let dead = shared.topics.lock().take_dead();
    let segments = shared.segments.all();
    for (from, to) in dead {
        let first = segments.partition_point(|segment| segment.end() < from);
        for segment in segments[first..].iter().take_while(|segment| segment.base() <= to) {
            segment.stale.store(true, Ordering::Relaxed);
        }
    }
    let stale = segments.iter().filter(|s| s.is_sealed() && s.is_indexed() && s.stale.load(Ordering::Relaxed));
    let pins = shared.topics.lock().pins();
    for segment in stale.take(COUNT_TURN_MAX) {
        segment.stale.store(false, Ordering::Relaxed);
        let usage = usage(shared, segment, &pins, |topic, offset| shared.topics.lock().is_live(topic, offset))?;
        segment.stale.fetch_or(!usage.counted, Ordering::Relaxed);
        *segment.usage.lock() = usage;
    }
    Ok(())
}

/// What of a segment's records readers may still ask for.
pub(crate) fn usage(
    shared: &Shared,
    segment: &Segment,
    pins: &Pins,
    is_own: impl Fn(u64, u64) -> bool,
) -> io::Result<Usage> {
    let is_live = |topic, offset| is_own(topic, offset) || pins.hold(topic, offset);
    shared.segments.with_index(segment, |index| {
        // What is not in a file yet is counted another time.
        let Index::File(index) = index else { return Ok(Usage::default()) };
        let mut usage = Usage { counted: true, ..Usage::default() };
        for chunk in index.chunks() {
            let chunk = chunk?;
            usage.all_bytes += chunk.bytes;
            if chunk.topic == DELETIONS {
                continue;
            }
            // Without forks, everything behind a live record lives too.
            if !pins.concern(chunk.topic) {
                if is_live(chunk.topic, chunk.first) {
                    usage.live_bytes += chunk.bytes;
                    continue;
                }
                if !is_live(chunk.topic, chunk.last) {
                    continue;
                }
            }
            let entries = index.entries(&chunk)?;
            let kept = entries.iter().filter(|entry| is_live(chunk.topic, entry.offset));
            usage.live_bytes += kept.map(|entry| u64::from(entry.length)).sum::<u64>();
        }
        Ok(usage)
    })
}

/// Whether a segment is worth the work. Where something is damaged, nothing is touched before a repair.
fn is_wasteful(shared: &Shared, segment: &Segment) -> bool {
    segment.is_sealed()
        && segment.usage.lock().is_wasteful(segment.length())
        && !shared.segments.is_damaged(segment.key)
}

/// Bytes that could be given back if the checkpoints knew all that is known now.
pub(crate) fn reclaimable(shared: &Shared) -> u64 {
    let segments = shared.segments.all();
    let wasteful = segments.iter().filter(|segment| is_wasteful(shared, segment));
    wasteful.map(|segment| segment.length().saturating_sub(segment.usage.lock().live_bytes)).sum()
}

/// Removes segments in which nothing lives and compacts those of which less than half does, as far as the older
/// checkpoint allows.
pub(crate) fn give_back(shared: &Shared, persisted: &Persisted, segment_bytes: u64) -> io::Result<()> {
    let mut run: Vec<(Arc<Segment>, u64)> = Vec::new();
    let mut run_bytes = 0;
    for segment in shared.segments.all().iter() {
        let candidate = is_wasteful(shared, segment) && segment.is_indexed() && segment.end() <= persisted.committed;
        let live = match candidate {
            true => Some(usage(shared, segment, &persisted.pins, |topic, offset| persisted.is_live(topic, offset))?),
            false => None,
        };
        let live = live.filter(|usage| usage.is_wasteful(segment.length())).map(|usage| usage.live_bytes);
        // Neighbours are compacted into one, as long as it does not become too large.
        if !run.is_empty() && live.is_none_or(|live| run_bytes + live > segment_bytes) {
            compact(shared, persisted, &std::mem::take(&mut run))?;
            run_bytes = 0;
        }
        if let Some(live) = live {
            run_bytes += live;
            run.push((Arc::clone(segment), live));
        }
    }
    if run.is_empty() { Ok(()) } else { compact(shared, persisted, &run) }
}
