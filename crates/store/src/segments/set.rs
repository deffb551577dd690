//! All segments in the order of the log.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};
use quintet_core::error::{Error, Kind};

use crate::disk::surviving::{Surviving, is_unreadable};
use crate::disk::{Disk, replace};
use crate::format::header::SegmentKey;
use crate::format::walk::Loss;
use crate::index::Entry;
use crate::index::file::FileIndex;
use crate::index::memory::MemoryIndex;
use crate::index::write::index_bytes;
use crate::recovery::damage::{DamagedOffsets, remember, remembered};
use crate::segments::handles::{Handle, Handles};
use crate::segments::rebuild::index_of;
use crate::segments::segment::Segment;

/// A segment's index, wherever it is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Index<'a> {
    Memory(&'a MemoryIndex),
    File(&'a FileIndex),
}

/// The segments, and how to read them.
#[derive(Debug)]
pub(crate) struct SegmentSet {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) salt: u32,
    /// Replaced as a whole when it changes, so that a reader keeps the one it began with.
    list: RwLock<Arc<Vec<Arc<Segment>>>>,
    handles: Handles,
    /// Stretches of the log that were found broken; the file `damage` holds them too.
    damaged: RwLock<Vec<DamagedOffsets>>,
    /// Whether it does.
    noted: AtomicBool,
    /// Held while that file is written; readers do not wait for it.
    noting: Mutex<()>,
}

impl SegmentSet {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        salt: u32,
        segments: Vec<Arc<Segment>>,
        damaged: Vec<DamagedOffsets>,
    ) -> Self {
        let (list, noted) = (RwLock::new(Arc::new(segments)), AtomicBool::new(damaged.is_empty()));
        Self {
            disk,
            salt,
            list,
            handles: Handles::default(),
            damaged: RwLock::new(damaged),
            noted,
            noting: Mutex::default(),
        }
    }

    /// The broken stretch of the log in which this offset lies.
    pub(crate) fn damage_at(&self, offset: u64) -> Option<DamagedOffsets> {
        self.damaged.read().iter().find(|damaged| damaged.covers(offset)).copied()
    }

    /// That something is damaged, if it is.
    pub(crate) fn damage_error(&self) -> Option<Error> {
        let n = self.damaged.read().len();
        let detail = format!(
            "{n} stretches of the log are damaged; `quintet store check` lists them, `quintet store repair` sets them aside"
        );
        (n > 0).then(|| Error::new(Kind::StorageDamaged, detail))
    }

    /// The segments as they are now.
    pub(crate) fn all(&self) -> Arc<Vec<Arc<Segment>>> {
        Arc::clone(&self.list.read())
    }

    /// Adds the segment that is appended to from now on.
    pub(crate) fn push(&self, segment: Arc<Segment>) {
        let mut list = self.list.write();
        let mut changed = Vec::clone(&list);
        changed.push(segment);
        *list = Arc::new(changed);
    }

    /// Puts a segment, or nothing, in the place of some neighbours.
    pub(crate) fn replace(&self, old: &[Arc<Segment>], new: Option<Arc<Segment>>) {
        {
            let mut list = self.list.write();
            let mut changed = Vec::clone(&list);
            changed.retain(|segment| !old.iter().any(|old| old.key == segment.key));
            changed.extend(new);
            changed.sort_by_key(|segment| segment.key);
            *list = Arc::new(changed);
        }
        for segment in old {
            self.handles.forget(segment.key);
        }
    }

    pub(crate) fn handle(&self, segment: &Segment) -> io::Result<Arc<Handle>> {
        self.handles.get(&*self.disk, segment.key)
    }

    /// A topic's entries in a segment behind an offset, at most so many.
    pub(crate) fn entries_after(
        &self,
        segment: &Segment,
        topic: u64,
        after: u64,
        count_max: usize,
    ) -> io::Result<Vec<Entry>> {
        self.with_index(segment, |index| match index {
            Index::Memory(index) => index.after(topic, after, count_max),
            Index::File(index) => index.after(topic, after, count_max),
        })
    }

    /// Does something with the index of a segment. An index file that is missing or damaged is made again in memory;
    /// upkeep will write it.
    pub(crate) fn with_index<T>(
        &self,
        segment: &Segment,
        mut read: impl FnMut(Index<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            if let Some(index) = &*segment.memory.read() {
                return read(Index::Memory(index));
            }
            let handle = self.handle(segment)?;
            let done = handle.index(&*self.disk, segment.key, self.salt).and_then(|index| read(Index::File(index)));
            match done {
                Err(error) if is_repairable(&error) => self.rebuild(segment, &handle)?,
                done => return done,
            }
        }
    }

    fn rebuild(&self, segment: &Segment, handle: &Handle) -> io::Result<()> {
        let guard = segment.rebuilding.lock();
        if !segment.is_indexed() {
            return Ok(());
        }
        tracing::info!(segment = segment.key.file(), "the index is missing or damaged and is made again");
        let mut bytes = Surviving::read(&*handle.data, &segment.key.file())?.bytes;
        bytes.truncate(usize::try_from(segment.length()).unwrap_or(usize::MAX));
        let (index, damaged) = index_of(&bytes, self.salt, segment.key, segment.end())?;
        self.note_damage(damaged);
        *segment.memory.write() = Some(index);
        drop(guard);
        Ok(())
    }

    /// The first stretch in which something behind `after` and up to `to` was lost that may have been anybody's.
    pub(crate) fn unknown_loss(&self, after: u64, to: u64) -> Option<DamagedOffsets> {
        let damaged = self.damaged.read();
        let inside =
            damaged.iter().filter(|d| d.loss == Loss::Unknown && d.after < to && d.before > after.saturating_add(1));
        inside.min_by_key(|damaged| damaged.after).copied()
    }

    /// Whether a segment has such a stretch.
    pub(crate) fn is_damaged(&self, key: SegmentKey) -> bool {
        self.damaged.read().iter().any(|damaged| damaged.segment == key)
    }

    /// Adds what was found broken to what is known, in the file `damage` too.
    pub(crate) fn note_damage(&self, found: Vec<DamagedOffsets>) {
        {
            let mut known = self.damaged.write();
            for damaged in found {
                if !known.iter().any(|known| known.segment == damaged.segment && known.bytes == damaged.bytes) {
                    let file = damaged.segment.file();
                    tracing::error!(file, after = damaged.after, before = damaged.before, "the log is damaged here");
                    known.push(damaged);
                    self.noted.store(false, Ordering::Relaxed);
                }
            }
        }
        if let Err(error) = self.write_damage() {
            tracing::warn!(%error, "what is damaged could not be noted down; it is tried again");
        }
    }

    /// Writes down what is damaged, if that has not been done.
    pub(crate) fn write_damage(&self) -> io::Result<()> {
        // One at a time: they would write the same file.
        let noting = self.noting.lock();
        if self.noted.load(Ordering::Relaxed) {
            return Ok(());
        }
        let damaged = self.damaged.read().clone();
        if remembered(&*self.disk, self.salt)? != damaged {
            remember(&*self.disk, self.salt, &damaged)?;
        }
        // More may have been found meanwhile.
        let known = self.damaged.read();
        self.noted.store(known.len() == damaged.len(), Ordering::Relaxed);
        drop(noting);
        Ok(())
    }

    /// Writes the index of a sealed segment into its file and drops it from memory.
    pub(crate) fn write_index(&self, segment: &Segment) -> io::Result<()> {
        let Some(bytes) = segment.memory.read().as_ref().map(|index| index_bytes(index, self.salt)) else {
            return Ok(());
        };
        replace(&*self.disk, &segment.key.index_file(), &bytes)?;
        self.handles.forget(segment.key);
        *segment.memory.write() = None;
        Ok(())
    }

    /// The entries with offsets behind `after` and up to `to` of the topics that `wants`, in log order.
    pub(crate) fn entries_between(
        &self,
        segment: &Segment,
        after: u64,
        to: u64,
        mut wants: impl FnMut(u64) -> bool,
    ) -> io::Result<Vec<(u64, Entry)>> {
        let inside = |entry: &Entry| entry.offset > after && entry.offset <= to;
        let mut found = Vec::new();
        self.with_index(segment, |index| {
            found.clear();
            match index {
                Index::Memory(index) => {
                    for topic in index.topics() {
                        if index.may_have(topic, after, to) && wants(topic) {
                            found.extend(index.between(topic, after, to)?.into_iter().map(|entry| (topic, entry)));
                        }
                    }
                }
                Index::File(index) => {
                    for chunk in index.chunks() {
                        let chunk = chunk?;
                        if chunk.last > after && chunk.first <= to && wants(chunk.topic) {
                            let entries = index.entries(&chunk)?;
                            found.extend(entries.into_iter().filter(inside).map(|entry| (chunk.topic, entry)));
                        }
                    }
                }
            }
            Ok(())
        })?;
        found.sort_unstable_by_key(|(_, entry)| entry.offset);
        Ok(found)
    }

    /// How many messages of a topic lie behind an offset in a segment.
    pub(crate) fn n_messages_after(&self, segment: &Segment, topic: u64, after: u64) -> io::Result<u64> {
        self.with_index(segment, |index| match index {
            Index::Memory(index) => index.n_messages_after(topic, after),
            Index::File(index) => index.n_messages_after(topic, after),
        })
    }

    /// The last offset of the stretch of about so many bytes that begins behind `after`.
    pub(crate) fn window_end(&self, segment: &Segment, after: u64, bytes: u32) -> io::Result<u64> {
        let end = |landmarks: &[(u64, u32)]| {
            let from = landmarks.partition_point(|(first, _)| *first <= after.saturating_add(1));
            let place = from.checked_sub(1).map_or(0, |at| landmarks[at].1);
            let next = landmarks[from..].iter().find(|(_, position)| *position >= place.saturating_add(bytes));
            next.map_or(segment.end(), |(first, _)| first - 1)
        };
        self.with_index(segment, |index| match index {
            Index::Memory(index) => Ok(end(index.landmarks())),
            Index::File(index) => Ok(end(index.landmarks())),
        })
    }

    /// Removes a segment's files; what is left of them after a failure is removed when the store is opened.
    pub(crate) fn remove_files(&self, segment: &Segment) -> io::Result<()> {
        self.handles.forget(segment.key);
        self.disk.remove(&segment.key.file())?;
        match self.disk.remove(&segment.key.index_file()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Whether an index file that gives this error can be made again. The segment's own file does not give these.
fn is_repairable(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof)
        || is_unreadable(error)
}
