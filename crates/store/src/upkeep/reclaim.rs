//! Finds out how much of each segment is still wanted, and gives back what is not. A segment that cannot be read, or
//! written anew, keeps no other from its turn.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::ballast::is_full;
use crate::checkpoint::content::{Captured, Kept};
use crate::format::header::SegmentKey;
use crate::index::pack::{chunk_of, get_entries};
use crate::index::{Chunk, DELETIONS, Entry, OffsetMap};
use crate::lineage::Pins;
use crate::segments::segment::{Segment, Usage};
use crate::segments::set::Index;
use crate::shared::Shared;
use crate::upkeep::compact::compact;
use crate::upkeep::trouble::Trouble;

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

/// What of a segment's records readers may still ask for.
pub(crate) fn usage(
    shared: &Shared,
    segment: &Segment,
    pins: &Pins,
    is_own: impl Fn(u64, u64) -> bool,
) -> io::Result<Usage> {
    let is_live = |topic, offset| is_own(topic, offset) || pins.hold(topic, offset);
    shared.segments.with_index(segment, |index| {
        let mut usage = Usage { counted: true, ..Usage::default() };
        match index {
            Index::File(index) => {
                for chunk in index.chunks() {
                    let chunk = chunk?;
                    add_chunk(&mut usage, &chunk, pins, is_live, || index.entries(&chunk))?;
                }
            }
            Index::Memory(index) => {
                for topic in index.topics() {
                    let (packed, open) = index.parts(topic);
                    for (chunk, bytes) in packed {
                        let entries =
                            || get_entries(bytes, chunk.count).ok_or_else(|| io::ErrorKind::InvalidData.into());
                        add_chunk(&mut usage, chunk, pins, is_live, entries)?;
                    }
                    if let Some(chunk) = chunk_of(topic, open) {
                        add_chunk(&mut usage, &chunk, pins, is_live, || Ok(open.to_vec()))?;
                    }
                }
            }
        }
        Ok(usage)
    })
}

/// Counts a chunk; its entries are only looked at if neither all nor none of it may live.
fn add_chunk(
    usage: &mut Usage,
    chunk: &Chunk,
    pins: &Pins,
    is_live: impl Fn(u64, u64) -> bool,
    entries: impl FnOnce() -> io::Result<Vec<Entry>>,
) -> io::Result<()> {
    usage.all_bytes += chunk.bytes;
    if chunk.topic == DELETIONS {
        return Ok(());
    }
    // Without forks, everything behind a live record lives too.
    if !pins.concern(chunk.topic) {
        if is_live(chunk.topic, chunk.first) {
            usage.live_bytes += chunk.bytes;
            return Ok(());
        }
        if !is_live(chunk.topic, chunk.last) {
            return Ok(());
        }
    }
    let entries = entries()?;
    let kept = entries.iter().filter(|entry| is_live(chunk.topic, entry.offset));
    usage.live_bytes += kept.map(|entry| u64::from(entry.length)).sum::<u64>();
    Ok(())
}

/// A segment that may be given back, and how much of it lives.
type Candidate = (Arc<Segment>, u64);

/// Counts segments and gives them back.
#[derive(Debug, Default)]
pub(crate) struct Reclaim {
    /// Segments with which something failed.
    troubles: BTreeMap<SegmentKey, Trouble>,
}

impl Reclaim {
    /// A turn begins.
    pub(crate) fn turn(&mut self, shared: &Shared) {
        if !self.troubles.is_empty() {
            let segments = shared.segments.all();
            self.troubles.retain(|key, _| segments.iter().any(|segment| segment.key == *key));
        }
        self.troubles.values_mut().for_each(Trouble::turn);
    }

    /// There is room again for what there was none.
    pub(crate) fn hope(&mut self) {
        self.troubles.values_mut().for_each(Trouble::hope);
    }

    fn is_waiting(&self, segment: &Segment) -> bool {
        self.troubles.get(&segment.key).is_some_and(Trouble::is_waiting)
    }

    fn note<T>(&mut self, segment: &Segment, what: &str, result: io::Result<T>) -> Option<T> {
        if result.is_err() || self.troubles.contains_key(&segment.key) {
            let what = format!("{what} the segment {}", segment.key.file());
            self.troubles.entry(segment.key).or_default().note(&what, &result);
        }
        result.ok()
    }

    /// Marks the segments in which something died since the last time, and counts some of those that are marked.
    pub(crate) fn count(&mut self, shared: &Shared) {
        let dead = shared.topics.lock().take_dead();
        let segments = shared.segments.all();
        for (from, to) in dead {
            let first = segments.partition_point(|segment| segment.end() < from);
            for segment in segments[first..].iter().take_while(|segment| segment.base() <= to) {
                segment.stale.store(true, Ordering::Relaxed);
            }
        }
        let stale = segments.iter().filter(|s| s.is_sealed() && s.stale.load(Ordering::Relaxed));
        let stale: Vec<_> = stale.filter(|segment| !self.is_waiting(segment)).take(COUNT_TURN_MAX).collect();
        let pins = shared.topics.lock().pins();
        for segment in stale {
            // What dies meanwhile marks it again.
            segment.stale.store(false, Ordering::Relaxed);
            let usage = usage(shared, segment, &pins, |topic, offset| shared.topics.lock().is_live(topic, offset));
            match self.note(segment, "counting", usage) {
                Some(usage) => *segment.usage.lock() = usage,
                None => segment.stale.store(true, Ordering::Relaxed),
            }
        }
    }

    /// Whether a segment is worth the work. Where something is damaged, or a whole segment is missing before the next
    /// one, nothing is touched before a repair.
    fn is_wasteful(&self, shared: &Shared, segment: &Segment) -> bool {
        segment.is_sealed()
            && !self.is_waiting(segment)
            && segment.usage.lock().is_wasteful(segment.length())
            && !shared.segments.is_damaged(segment.key)
            && shared.segments.unknown_loss(segment.base().saturating_sub(1), segment.end()).is_none()
    }

    /// Bytes that could be given back if the checkpoints knew all that is known now.
    pub(crate) fn reclaimable(&self, shared: &Shared) -> u64 {
        let segments = shared.segments.all();
        let wasteful = segments.iter().filter(|segment| self.is_wasteful(shared, segment));
        wasteful.map(|segment| segment.length().saturating_sub(segment.usage.lock().live_bytes)).sum()
    }

    /// Removes segments in which nothing lives and compacts those of which less than half does, as far as the older
    /// checkpoint allows. Tells whether anything was given back.
    pub(crate) fn give_back(&mut self, shared: &Shared, persisted: &Persisted, segment_bytes: u64) -> bool {
        let (mut dead, mut runs, mut run) = (Vec::new(), Vec::new(), Vec::<Candidate>::new());
        for segment in shared.segments.all().iter() {
            let live = self.live_bytes(shared, persisted, segment);
            if live == Some(0) {
                dead.push(Arc::clone(segment));
                continue;
            }
            // Neighbours are compacted into one, as long as it does not become too large.
            let run_bytes: u64 = run.iter().map(|(_, live)| live).sum();
            if live.is_none_or(|live| run_bytes + live > segment_bytes) {
                runs.push(std::mem::take(&mut run));
            }
            run.extend(live.map(|live| (Arc::clone(segment), live)));
        }
        runs.push(run);
        // What needs no room makes it for the rest.
        let mut given = !dead.is_empty() && self.remove(shared, &dead);
        for run in runs.into_iter().filter(|run| !run.is_empty()) {
            given |= self.compact(shared, persisted, &run);
        }
        given
    }

    /// How much of a segment lives, by the checkpoint; none if it is not to be given back.
    fn live_bytes(&mut self, shared: &Shared, persisted: &Persisted, segment: &Segment) -> Option<u64> {
        if !self.is_wasteful(shared, segment) || segment.end() > persisted.committed {
            return None;
        }
        let usage = usage(shared, segment, &persisted.pins, |topic, offset| persisted.is_live(topic, offset));
        let usage = self.note(segment, "counting", usage)?;
        usage.is_wasteful(segment.length()).then_some(usage.live_bytes)
    }

    /// Removes segments of which nothing lives. Neither an index file nor room is needed for it.
    fn remove(&mut self, shared: &Shared, dead: &[Arc<Segment>]) -> bool {
        let bytes = dead.iter().map(|segment| segment.length()).sum::<u64>();
        tracing::info!(segments = dead.len(), bytes, "segments in which nothing lives are given back");
        shared.segments.replace(dead, None);
        let mut given = false;
        for segment in dead {
            let removed = shared.segments.remove_files(segment);
            given |= self.note(segment, "removing", removed).is_some();
        }
        given && shared.segments.disk.sync_names().is_ok()
    }

    fn compact(&mut self, shared: &Shared, persisted: &Persisted, run: &[Candidate]) -> bool {
        // One that has been replaced, though not all was done behind that, must not be written a second time.
        let is_there = |key| shared.segments.all().iter().any(|segment| segment.key == key);
        let Some((first, _)) = run.first().filter(|_| run.iter().all(|(segment, _)| is_there(segment.key))) else {
            return false;
        };
        let result = compact(shared, persisted, run);
        if result.as_ref().is_err_and(|error| run.len() > 1 && !is_full(error)) {
            // It is the fault of one of them.
            return run
                .iter()
                .fold(false, |given, one| given | self.compact(shared, persisted, std::slice::from_ref(one)));
        }
        for (segment, _) in &run[1..] {
            let result = result.as_ref().map_err(|error| error.kind().into()).copied();
            self.note(segment, "compacting", result);
        }
        self.note(first, "compacting", result).is_some()
    }
}
