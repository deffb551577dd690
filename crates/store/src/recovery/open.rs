//! Puts the state together when a store is opened.

use std::sync::Arc;

use bytes::Bytes;
use quintet_core::cursor::Offset;
use quintet_core::error::{Error, Kind, Result};
use quintet_core::limits::Limits;

use crate::checkpoint::content::Captured;
use crate::checkpoint::files::{checkpoint_file, checkpoint_numbers, load};
use crate::commit::appender::create_segment;
use crate::copies::Copies;
use crate::disk::surviving::Surviving;
use crate::disk::{ASIDE, Disk};
use crate::format::batch::BATCH_HEAD;
use crate::format::header::{SEGMENT_HEAD, SegmentHead, SegmentKey, StoreHead};
use crate::format::walk::{Found, Loss, Survey, SurveyInput, Walk, survey};
use crate::index::file::FileIndex;
use crate::index::memory::MemoryIndex;
use crate::recovery::damage::{DamagedOffsets, remember, remembered};
use crate::recovery::layout::{
    SegmentFile, is_unborn, open_error, part_superseded, read_or_make_head, remove_leftovers, segment_files,
};
use crate::recovery::missing::{missing, orphans};
use crate::recovery::replay::Replay;
use crate::recovery::tail::{torn_bytes, unreadable_tail};
use crate::segments::rebuild::add_batch;
use crate::segments::segment::{OPEN_END, Segment};
use crate::upkeep::reclaim::Persisted;

/// A store that has been read.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) head: StoreHead,
    pub(crate) replay: Replay,
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) damaged: Vec<DamagedOffsets>,
    /// The highest number of a checkpoint file.
    pub(crate) checkpoint_number: u64,
    /// What the checkpoint holds that was used, and its size.
    pub(crate) checkpoint: Option<Persisted>,
    pub(crate) checkpoint_bytes: u64,
    /// Bytes of the log that were replayed, which the next checkpoint will save.
    pub(crate) replayed_bytes: u64,
}

/// Reads the store on this disk, or makes an empty one.
pub(crate) fn open_log(disk: &dyn Disk, limits: Limits) -> Result<Opened> {
    let names = disk.list().map_err(open_error)?;
    let head = read_or_make_head(disk, &names)?;
    let mut files = segment_files(disk, head, &names).map_err(open_error)?;
    if let Some(newest) = files.last()
        && is_unborn(newest, head.salt).map_err(open_error)?
    {
        disk.remove(&newest.key.file()).map_err(open_error)?;
        files.pop();
    }
    let (files, superseded) = part_superseded(files);
    let orphans = orphans(&names, &files);
    remove_leftovers(disk, &names, &files, &superseded, &orphans).map_err(open_error)?;
    let numbers = checkpoint_numbers(&names);
    let state = newest_checkpoint(disk, head, &numbers)?;
    let first_base = files.first().map_or(1, |file| file.key.base);
    // Before the second checkpoint nothing is given back, so that the log itself tells everything.
    let given_back = numbers.first().is_some_and(|newest| *newest > 1);
    if state.is_none() && (first_base != 1 || given_back) {
        let detail =
            "no checkpoint is intact and the log does not begin at its beginning; restore the folder from a backup";
        return Err(Error::new(Kind::StorageDamaged, detail));
    }
    let checkpoint = state.as_ref().map(|(state, _)| Persisted::new(state));
    let (state, checkpoint_bytes) = state.unwrap_or_default();
    let damaged = remembered(disk, head.salt).map_err(open_error)?;
    let n_remembered = damaged.len();
    let copies = Copies::read(disk, &names, head.salt);
    let mut opening = Opening {
        disk,
        head,
        checkpointed: state.committed,
        opened: Opened {
            head,
            replay: Replay::new(state, copies, limits),
            segments: Vec::new(),
            damaged,
            checkpoint_number: numbers.first().copied().unwrap_or(0),
            checkpoint,
            checkpoint_bytes,
            replayed_bytes: 0,
        },
    };
    let missing = missing(disk, head, &files, &orphans, &opening.opened.checkpoint.clone().unwrap_or_default());
    for missing in missing {
        opening.note_damage(missing.damaged);
    }
    // A name may be in the system's cache only, if the process ended before it was synced.
    disk.sync_names().map_err(open_error)?;
    for (i, file) in files.iter().enumerate() {
        opening.add_segment(file, files.get(i + 1)).map_err(open_error)?;
    }
    opening.opened.replay.finish();
    let noted = match opening.opened.damaged.len() {
        n_found if n_found > n_remembered => remember(disk, head.salt, &opening.opened.damaged),
        _ => Ok(()),
    };
    match noted {
        // Nobody needs what only told of it.
        Ok(()) => orphans.iter().try_for_each(|key| disk.remove(&key.index_file())).map_err(open_error)?,
        // Damage does not stop the store from opening, not even on a full disk.
        Err(error) => tracing::error!(%error, "what is damaged could not be noted down; it is tried again"),
    }
    opening.finish().map_err(open_error)?;
    Ok(opening.opened)
}

fn newest_checkpoint(disk: &dyn Disk, head: StoreHead, numbers: &[u64]) -> Result<Option<(Captured, u64)>> {
    for (i, number) in numbers.iter().enumerate() {
        let Some(state) = load(disk, head, *number).map_err(open_error)? else { continue };
        // Those that are newer must not count as some that are kept. Where none is intact they stay: that there were
        // checkpoints is what keeps the log alone from being taken for everything.
        for damaged in &numbers[..i] {
            let file = checkpoint_file(*damaged);
            let moved = disk.rename(&file, &format!("{ASIDE}/{file}")).and_then(|()| disk.sync_names());
            tracing::error!(file, ?moved, "a checkpoint is damaged and set aside; an older one is used");
        }
        return Ok(Some(state));
    }
    Ok(None)
}

struct Opening<'a> {
    disk: &'a dyn Disk,
    head: StoreHead,
    /// The checkpoint knows each topic's last message up to here.
    checkpointed: u64,
    opened: Opened,
}

impl Opening<'_> {
    fn add_segment(&mut self, file: &SegmentFile, next: Option<&SegmentFile>) -> std::io::Result<()> {
        let Some(next) = next else { return self.add_newest(file) };
        let end = next.key.base - 1;
        if end <= self.opened.replay.committed {
            self.opened.segments.push(Arc::new(Segment::new(file.key, end, file.length, None)));
            return Ok(());
        }
        let durable_through = next.head.map_or(end, |head| head.durable_through.min(end));
        let read = Surviving::read(&*file.file, &file.key.file())?;
        let (survey, index) = self.replay(file.key, &read.bytes, end.saturating_add(1), durable_through)?;
        // An index that was written before is as good, and may know of what is damaged now.
        let written = self.disk.open(&file.key.index_file()).and_then(|file| FileIndex::open(file, self.head.salt));
        let index = written.is_err().then_some(index);
        // The segment was sealed at its last committed offset, so that one must be there.
        self.note_missing(file.key, &survey, end.saturating_add(1));
        let segment = Segment::new(file.key, end, survey.end as u64, index);
        self.opened.segments.push(Arc::new(segment));
        Ok(())
    }

    /// The newest segment is cut behind its last batch and will be appended to, unless its end cannot be read.
    fn add_newest(&mut self, file: &SegmentFile) -> std::io::Result<()> {
        let known = self.opened.replay.committed.max(self.opened.replay.copies.through());
        let read = Surviving::read(&*file.file, &file.key.file())?;
        let sealed = unreadable_tail(&read, self.head.salt, file.key.base, known);
        let limit = sealed.map_or(u64::MAX, |end| end.saturating_add(1));
        let (survey, index) = self.replay(file.key, &read.bytes, limit, sealed.unwrap_or(known))?;
        self.note_missing(file.key, &survey, sealed.unwrap_or(known) + 1);
        let end = (survey.end as u64).max(SEGMENT_HEAD as u64);
        let torn = torn_bytes(&read, &survey);
        if torn > 0 {
            tracing::warn!(
                segment = file.key.file(),
                at = survey.end,
                bytes = torn,
                "the log ends in bytes that nothing shows to have been acknowledged, most likely what was being written; they are cut off"
            );
        }
        if file.length > end {
            file.file.set_len(end)?;
        }
        // What the last group wrote may be in the system's cache only, if its sync failed and only the process ended:
        // written again, it is synced for certain.
        if let Some(from) = self.uncertain_from(file, &survey, known, &read.bytes) {
            let to = read.readable_to(from).min(survey.end);
            file.file.write_at(&read.bytes[from..to], from as u64)?;
        }
        file.file.sync()?;
        // Offsets below the segment's base have been given out, whatever has become of them.
        let replay = &mut self.opened.replay;
        replay.committed = replay.committed.max(sealed.unwrap_or(file.key.base.saturating_sub(1)));
        replay.ledger.skip_to(Offset(replay.committed));
        self.opened.segments.push(Arc::new(Segment::new(file.key, sealed.unwrap_or(OPEN_END), end, Some(index))));
        Ok(())
    }

    /// Where the batches begin of which nothing says that they had been on disk.
    fn uncertain_from(&self, file: &SegmentFile, survey: &Survey, known: u64, bytes: &[u8]) -> Option<usize> {
        let known = file.head.map_or(0, |head| head.durable_through).max(survey.durable_through).max(known);
        let mut walk = Walk::new(bytes, self.head.salt, file.key.base.saturating_sub(1));
        let from = walk.find_map(|found| match found {
            Found::Batch { head, records } if head.first > known => Some(records.first()?.0 - BATCH_HEAD),
            Found::Batch { .. } | Found::Broken { .. } => None,
        })?;
        (from < survey.end).then_some(from)
    }

    fn replay(
        &mut self,
        segment: SegmentKey,
        bytes: &Bytes,
        limit: u64,
        durable_through: u64,
    ) -> std::io::Result<(Survey, MemoryIndex)> {
        self.opened.replayed_bytes += bytes.len() as u64;
        let mut index = MemoryIndex::default();
        let last = segment.base.saturating_sub(1);
        let input = SurveyInput { bytes, salt: self.head.salt, last, limit, durable_through };
        let replay = &mut self.opened.replay;
        let mut n_lost = 0u64;
        let survey = survey(input, |head, records| {
            add_batch(&mut index, head, records);
            for (_, record) in records {
                n_lost += u64::from(!replay.apply(record, bytes));
            }
        });
        if n_lost > 0 {
            tracing::error!(segment = segment.file(), records = n_lost, "records belong to topics that are lost");
        }
        if let Some((first, last)) = self.opened.replay.orphans.take() {
            let bytes = (SEGMENT_HEAD as u64, survey.end as u64);
            let (after, before) = (first - 1, last + 1);
            self.note_damage(DamagedOffsets { segment, bytes, after, before, loss: Loss::Orphans });
        }
        for (topic, entry) in &survey.suspects {
            index.insert(*topic, *entry)?;
            self.opened.replay.suspect(*topic, entry.offset);
        }
        // Topics that were created where something is lost have to learn of it too.
        self.opened.replay.apply_copies(limit);
        // At the very end only what is known to have been on disk can be missed.
        let end = if limit == u64::MAX { durable_through.saturating_add(1) } else { limit };
        for damaged in &survey.damaged {
            self.note_damage(DamagedOffsets::found(segment, damaged, end));
        }
        Ok((survey, index))
    }

    /// Notes that a segment should go on to hold what lies before this offset, and does not.
    fn note_missing(&mut self, segment: SegmentKey, survey: &Survey, before: u64) {
        let told = survey.damaged.last().is_some_and(|damaged| damaged.before == u64::MAX);
        if survey.last + 1 < before && !told {
            let bytes = (survey.end as u64, survey.end as u64);
            self.note_damage(DamagedOffsets { segment, bytes, after: survey.last, before, loss: Loss::Unknown });
        }
    }

    fn note_damage(&mut self, mut damaged: DamagedOffsets) {
        if damaged.loss == Loss::Unknown && self.opened.replay.copies.are_all_between(damaged.after, damaged.before) {
            damaged.loss = Loss::Nothing;
        }
        let file = damaged.segment.file();
        tracing::error!(file, bytes = ?damaged.bytes, after = damaged.after, before = damaged.before, "the log is damaged");
        let lost_through = damaged.before.saturating_sub(1);
        if damaged.loss == Loss::Unknown && lost_through > self.checkpointed {
            self.opened.replay.suspect_all(lost_through);
        }
        if !self.opened.damaged.contains(&damaged) {
            self.opened.damaged.push(damaged);
        }
    }

    /// Every log has a segment to append to.
    fn finish(&mut self) -> std::io::Result<()> {
        if self.opened.segments.last().is_some_and(|newest| !newest.is_sealed()) {
            return Ok(());
        }
        let committed = self.opened.replay.committed;
        let key = SegmentKey { base: committed + 1, generation: 0 };
        let head = SegmentHead { log: self.head.log, key, end: 0, durable_through: committed };
        create_segment(self.disk, &head, self.head.salt)?;
        let index = Some(MemoryIndex::default());
        self.opened.segments.push(Arc::new(Segment::new(key, OPEN_END, SEGMENT_HEAD as u64, index)));
        Ok(())
    }
}
