//! Reads everything in a store and tells what is damaged. Changes nothing.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use quintet_core::cursor::{LogId, Offset};
use quintet_core::error::{Error, Kind, Result};
use quintet_core::name::TopicName;

use crate::checkpoint::content::Captured;
use crate::checkpoint::files::{checkpoint_file, checkpoint_numbers, load};
use crate::copies::Copies;
use crate::disk::read_only::ReadOnlyDisk;
use crate::disk::surviving::Surviving;
use crate::disk::{Disk, File, Lock};
use crate::format::header::{LOCK_FILE, SEGMENT_HEAD, StoreHead};
use crate::format::record::RecordKind;
use crate::format::walk::{Loss, Survey, SurveyInput, survey};
use crate::index::OffsetMap;
use crate::index::file::FileIndex;
use crate::inspect::report::{Damage, Report, Unreadable};
use crate::recovery::damage::{DamagedOffsets, remembered};
use crate::recovery::layout::{SegmentFile, is_unborn, open_error, part_superseded, read_head, segment_files};
use crate::recovery::missing::{Missing, missing, orphans};
use crate::recovery::tail::{torn_bytes, unreadable_tail};
use crate::upkeep::reclaim::Persisted;

/// Checks the store in a folder, which no process may be using. The folder may be one that cannot be written to.
pub fn check(folder: &Path) -> Result<Report> {
    if !folder.is_dir() {
        return Err(Error::new(Kind::BadRequest, format!("there is no folder {}", folder.display())));
    }
    check_on(&ReadOnlyDisk::new(folder))
}

/// Checks the store on a disk.
pub fn check_on(disk: &dyn Disk) -> Result<Report> {
    let lock = lock(disk)?;
    let report = Checking::new(disk)?.run().map_err(open_error);
    drop(lock);
    report
}

pub(crate) fn lock(disk: &dyn Disk) -> Result<Box<dyn Lock>> {
    disk.lock(LOCK_FILE)
        .map_err(open_error)?
        .ok_or_else(|| Error::new(Kind::StorageUnavailable, "another process uses the store; stop it first"))
}

struct Checking<'a> {
    disk: &'a dyn Disk,
    head: StoreHead,
    report: Report,
    /// Names of topics, living and deleted, as far as they were met.
    names: OffsetMap<TopicName>,
    living: BTreeSet<u64>,
    /// What the newest intact checkpoint holds.
    committed: u64,
    copies: Copies,
    /// What earlier starts found damaged.
    remembered: Vec<DamagedOffsets>,
    /// And what of the log is wanted by it.
    checkpoint: Persisted,
}

impl<'a> Checking<'a> {
    fn new(disk: &'a dyn Disk) -> Result<Self> {
        let head = read_head(disk)?;
        let report = Report { log: Some(LogId(head.log)), ..Report::default() };
        let names = disk.list().map_err(open_error)?;
        let copies = Copies::read(disk, &names, head.salt);
        let remembered = remembered(disk, head.salt).map_err(open_error)?;
        Ok(Self {
            disk,
            head,
            report,
            names: OffsetMap::default(),
            living: BTreeSet::new(),
            committed: 0,
            copies,
            remembered,
            checkpoint: Persisted::default(),
        })
    }

    fn run(mut self) -> std::io::Result<Report> {
        let names = self.disk.list()?;
        self.check_checkpoints(&names)?;
        self.take_copied_names();
        let mut files = segment_files(self.disk, self.head, &names)?;
        if let Some(newest) = files.last()
            && is_unborn(newest, self.head.salt)?
        {
            self.report.torn_bytes += newest.length;
            files.pop();
        }
        let (files, _) = part_superseded(files);
        for (i, file) in files.iter().enumerate() {
            self.check_segment(file, files.get(i + 1))?;
        }
        self.add_missing(&names, &files);
        self.add_remembered();
        self.report.topics = self.living.len();
        Ok(self.report)
    }

    fn check_checkpoints(&mut self, names: &[String]) -> std::io::Result<()> {
        for number in checkpoint_numbers(names) {
            match load(self.disk, self.head, number)? {
                Some((state, _)) => {
                    self.report.checkpoints += 1;
                    if state.committed >= self.committed {
                        self.take_names(&state);
                    }
                }
                None => {
                    let file = checkpoint_file(number);
                    let to = self.read(&*self.disk.open(&file)?, &file)?.bytes.len() as u64;
                    self.report.damages.push(Damage::at(file, (0, to), (0, 0)));
                }
            }
        }
        Ok(())
    }

    /// Reads what can be read of a file, and notes what cannot.
    fn read(&mut self, file: &dyn File, name: &str) -> std::io::Result<Surviving> {
        let read = Surviving::read(file, name)?;
        self.report.unreadable.extend(read.unreadable.iter().map(|range| Unreadable {
            file: name.to_owned(),
            from: range.start as u64,
            to: range.end as u64,
        }));
        Ok(read)
    }

    fn take_names(&mut self, state: &Captured) {
        self.committed = state.committed;
        self.checkpoint = Persisted::new(state);
        self.living.clear();
        for (name, topic) in &state.ledger.topics {
            self.names.insert(topic.created.0, name.clone());
            self.living.insert(topic.created.0);
        }
    }

    /// Names that the log may have lost.
    fn take_copied_names(&mut self) {
        let behind = self.copies.records().filter(|record| record.offset > self.committed);
        for record in behind {
            match (record.kind, record.name()) {
                (RecordKind::Created, Some(name)) => {
                    self.names.insert(record.topic, name);
                    self.living.insert(record.topic);
                }
                (RecordKind::Deleted, _) => {
                    self.living.remove(&record.topic);
                }
                _ => {}
            }
        }
    }

    fn check_segment(&mut self, file: &SegmentFile, next: Option<&SegmentFile>) -> std::io::Result<()> {
        let read = self.read(&*file.file, &file.key.file())?;
        self.report.segments += 1;
        self.report.bytes += file.length;
        let (end, durable_through) = match next {
            Some(next) => {
                let end = next.key.base - 1;
                (end, next.head.map_or(end, |head| head.durable_through.min(end)))
            }
            None => {
                let known = self.committed.max(self.copies.through());
                let sealed = unreadable_tail(&read, self.head.salt, file.key.base, known);
                sealed.map_or((u64::MAX, known), |end| (end, end))
            }
        };
        let input = SurveyInput {
            bytes: &read.bytes,
            salt: self.head.salt,
            last: file.key.base.saturating_sub(1),
            limit: end.saturating_add(1),
            durable_through,
        };
        let (names, living, records) = (&mut self.names, &mut self.living, &mut self.report.records);
        let committed = self.committed;
        let mut nameless: Option<(u64, u64)> = None;
        let survey = survey(input, |_, found| {
            *records += found.len() as u64;
            for (_, record) in found.iter().filter(|(_, record)| record.offset > committed) {
                match (record.kind, record.name()) {
                    (RecordKind::Created, Some(name)) => {
                        names.insert(record.topic, name);
                        living.insert(record.topic);
                    }
                    (RecordKind::Deleted, _) => {
                        living.remove(&record.topic);
                    }
                    (RecordKind::Message, _) if !names.contains_key(&record.topic) => {
                        nameless = Some((nameless.map_or(record.offset, |(first, _)| first), record.offset));
                    }
                    _ => {}
                }
            }
        });
        if let Some((first, last)) = nameless {
            let bytes = (SEGMENT_HEAD as u64, survey.end as u64);
            let damage = Damage::at(file.key.file(), bytes, (first - 1, last + 1));
            self.report.damages.push(Damage { nameless: true, ..damage });
        }
        if next.is_none() {
            self.report.torn_bytes += torn_bytes(&read, &survey) as u64;
        }
        if file.head.is_none() {
            let (bytes, offsets) = ((0, SEGMENT_HEAD as u64), (input.last, file.key.base));
            self.report.damages.push(Damage::at(file.key.file(), bytes, offsets));
        }
        let index = self.check_index(file, next.is_some())?;
        self.note(file, &survey, input.limit, index.as_ref())?;
        // A segment was sealed at its last offset, unless it was compacted since, which the checkpoint allows.
        let through = if next.is_none() {
            committed.max(self.copies.through())
        } else if end > committed {
            end
        } else {
            0
        };
        self.note_missing(file, &survey, through, index.as_ref())
    }

    /// The segment's index file, if it is there and intact. The newest segment has none.
    fn check_index(&mut self, file: &SegmentFile, sealed: bool) -> std::io::Result<Option<FileIndex>> {
        let name = file.key.index_file();
        let index = self.disk.open(&name).and_then(|index| FileIndex::open(Arc::clone(&index), self.head.salt));
        let index = index.ok().filter(|index| {
            index.chunks().all(|chunk| chunk.and_then(|chunk| index.entries(&chunk).map(drop)).is_ok())
        });
        if sealed && index.is_none() {
            self.report.indexes_to_make.push(name);
        }
        Ok(index)
    }

    /// Segments that are not there.
    fn add_missing(&mut self, names: &[String], files: &[SegmentFile]) {
        for Missing { damaged, messages } in
            missing(self.disk, self.head, files, &orphans(names, files), &self.checkpoint)
        {
            let named = messages.iter().filter_map(|(t, o)| Some((self.names.get(t)?.clone(), Offset(*o)))).collect();
            let damage = Damage::at(damaged.segment.file(), damaged.bytes, (damaged.after, damaged.before));
            self.report.damages.push(Damage { messages: named, more: true, ..damage });
        }
    }

    /// What was found damaged before, of which nothing else may tell any more.
    fn add_remembered(&mut self) {
        for damaged in std::mem::take(&mut self.remembered) {
            let file = damaged.segment.file();
            let (nameless, (from, to)) = (damaged.loss == Loss::Orphans, damaged.bytes);
            let is_in = |known: &Damage| known.from == from || known.from <= from && known.to >= to;
            let is_it = |known: &Damage| known.file == file && known.nameless == nameless && is_in(known);
            if self.report.damages.iter().any(is_it) {
                continue;
            }
            let more = matches!(damaged.loss, Loss::Known | Loss::Unknown);
            let damage = Damage::at(file, damaged.bytes, (damaged.after, damaged.before));
            self.report.damages.push(Damage { more, nameless, ..damage });
        }
    }

    /// What should stand behind a segment's last batch: up to an offset that was on disk, or where its index points to.
    fn note_missing(
        &mut self,
        file: &SegmentFile,
        survey: &Survey,
        through: u64,
        index: Option<&FileIndex>,
    ) -> std::io::Result<()> {
        let from = survey.end as u64;
        let (mut to, mut lost) = (from, BTreeSet::new());
        for chunk in index.iter().flat_map(|index| index.chunks()).filter_map(|chunk| chunk.ok()) {
            let entries = index.map_or(Ok(Vec::new()), |index| index.entries(&chunk))?;
            for entry in entries.iter().filter(|entry| u64::from(entry.position) >= from) {
                to = to.max(u64::from(entry.position) + u64::from(entry.length));
                lost.insert((entry.offset, chunk.topic));
            }
        }
        let told = survey.damaged.last().is_some_and(|damaged| damaged.before == u64::MAX);
        if told || (lost.is_empty() && survey.last >= through) {
            return Ok(());
        }
        let before = through.max(lost.last().map_or(0, |(offset, _)| *offset)) + 1;
        let named = lost.iter().filter_map(|(o, t)| Some((self.names.get(t)?.clone(), Offset(*o)))).collect();
        let damage = Damage::at(file.key.file(), (from, to), (survey.last, before));
        self.report.damages.push(Damage { messages: named, more: true, ..damage });
        Ok(())
    }

    fn note(
        &mut self,
        file: &SegmentFile,
        survey: &Survey,
        limit: u64,
        index: Option<&FileIndex>,
    ) -> std::io::Result<()> {
        for damaged in &survey.damaged {
            let inside = |position: u32| (damaged.from..damaged.to).contains(&(position as usize));
            let mut lost = BTreeSet::new();
            lost.extend(survey.suspects.iter().filter(|(_, e)| inside(e.position)).map(|(t, e)| (e.offset, *t)));
            // An index that was made before the damage knows best.
            for chunk in index.iter().flat_map(|index| index.chunks()).filter_map(|chunk| chunk.ok()) {
                let entries = index.map_or(Ok(Vec::new()), |index| index.entries(&chunk))?;
                lost.extend(entries.iter().filter(|e| inside(e.position)).map(|e| (e.offset, chunk.topic)));
            }
            let named = lost.iter().filter_map(|(o, t)| Some((self.names.get(t)?.clone(), Offset(*o)))).collect();
            let before = if damaged.before == u64::MAX { limit } else { damaged.before };
            let bytes = (damaged.from as u64, damaged.to as u64);
            // The start that found it may have known more, by copies that are gone since.
            let known = self.remembered.iter().find(|known| known.segment == file.key && known.bytes == bytes);
            let loss = known.map_or(damaged.loss, |known| known.loss);
            let more = loss == Loss::Unknown && !self.copies.are_all_between(damaged.after, before);
            let damage = Damage::at(file.key.file(), bytes, (damaged.after, before));
            self.report.damages.push(Damage { messages: named, more, ..damage });
        }
        Ok(())
    }
}
