//! Second copies of the records that tell which topics and groups there are, in files of their own.
//!
//! A message that is lost with its sector is one message, and its topic tells of it; with the record of a topic's
//! creation the whole topic would be lost, and nobody would know of whom to tell. So the upkeep thread writes these few
//! records once more, behind their commit. A file belongs to a checkpoint, holds what came behind it, and goes with it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use quintet_core::engine::transaction::Record;

use crate::checkpoint::files::checkpoint_numbers;
use crate::disk::{Disk, File, read_all};
use crate::format::record::{RawRecord, RecordKind};

/// What one file holds at most, and what may wait to be written; beyond that there are no second copies before the next
/// checkpoint.
const COPIES_BYTES_MAX: u64 = 64 << 20;

/// The name of the file that goes with the checkpoint of this number.
pub(crate) fn copies_file(number: u64) -> String {
    format!("{number:016x}.copies")
}

fn number_of(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_suffix(".copies")?, 16).ok().filter(|number| copies_file(*number) == name)
}

/// Whether a record is written twice.
pub(crate) fn is_copied(record: &Record) -> bool {
    match record {
        Record::Created { .. }
        | Record::Deleted { .. }
        | Record::Hidden { .. }
        | Record::Closed { .. }
        | Record::Group { .. } => true,
        Record::Message(_)
        | Record::Producer { .. }
        | Record::StreamSeq { .. }
        | Record::MessageId { .. }
        | Record::GroupStep { .. } => false,
    }
}

fn is_copied_kind(kind: RecordKind) -> bool {
    match kind {
        RecordKind::Created | RecordKind::Deleted | RecordKind::Hidden | RecordKind::Closed | RecordKind::Group => true,
        RecordKind::Message
        | RecordKind::Producer
        | RecordKind::StreamSeq
        | RecordKind::MessageId
        | RecordKind::GroupStep => false,
    }
}

/// The copies that were found when the store was opened, by offset.
#[derive(Debug)]
pub(crate) struct Copies {
    salt: u32,
    by_offset: BTreeMap<u64, Bytes>,
    /// The first that was not asked for yet (`u64::MAX`: none).
    next: u64,
    /// So far the log had been on disk, by what the files say.
    through: u64,
    /// What the log holds and the files do not.
    missing: Vec<u8>,
    /// The length of each file as far as it is whole.
    lengths: BTreeMap<u64, u64>,
}

impl Copies {
    /// Reads all files. What is broken ends a file: it may have been written when the machine stopped.
    pub(crate) fn read(disk: &dyn Disk, names: &[String], salt: u32) -> Self {
        let (by_offset, lengths) = (BTreeMap::new(), BTreeMap::new());
        let mut copies = Self { salt, by_offset, next: u64::MAX, through: 0, missing: Vec::new(), lengths };
        for (name, number) in names.iter().filter_map(|name| Some((name, number_of(name)?))) {
            match disk.open(name).and_then(|file| read_all(&*file)) {
                Ok(bytes) => copies.add_file(number, &Bytes::from(bytes)),
                Err(error) => tracing::error!(file = name, %error, "second copies of records cannot be read"),
            }
        }
        copies
    }

    fn add_file(&mut self, number: u64, bytes: &Bytes) {
        let mut at = 0;
        loop {
            if let Some(record) = RawRecord::parse(&bytes[at..], self.salt) {
                let end = at + record.length as usize;
                self.by_offset.insert(record.offset, bytes.slice(at..end));
                at = end;
            } else if let Some(through) = parse_mark(&bytes[at..], self.salt) {
                self.through = self.through.max(through);
                at += MARK_BYTES;
            } else {
                break;
            }
        }
        self.lengths.insert(number, at as u64);
        self.next = self.by_offset.first_key_value().map_or(u64::MAX, |(offset, _)| *offset);
    }

    /// Whether one lies before this offset that was not asked for yet.
    pub(crate) fn has_before(&self, offset: u64) -> bool {
        self.next < offset
    }

    /// The next one before an offset, with its bytes.
    pub(crate) fn take_before(&mut self, offset: u64) -> Option<Bytes> {
        let (found, bytes) = self.by_offset.range(self.next..offset.max(self.next)).next()?;
        let (found, bytes) = (*found, bytes.clone());
        self.move_behind(found);
        Some(bytes)
    }

    /// Goes on behind an offset that is known without a copy.
    pub(crate) fn move_behind(&mut self, offset: u64) {
        if self.next <= offset {
            let behind = self.by_offset.range(offset.saturating_add(1)..).next();
            self.next = behind.map_or(u64::MAX, |(offset, _)| *offset);
        }
    }

    /// Takes note of a record that the log holds.
    pub(crate) fn note(&mut self, record: &RawRecord<'_>) {
        if is_copied_kind(record.kind) && !self.by_offset.contains_key(&record.offset) {
            self.missing.extend_from_slice(record.bytes());
        }
    }

    /// So far the log had been on disk. 0 if nothing is known.
    pub(crate) fn through(&self) -> u64 {
        self.through.max(self.by_offset.last_key_value().map_or(0, |(offset, _)| *offset))
    }

    /// Whether there is a copy of every offset between these two.
    pub(crate) fn are_all_between(&self, after: u64, before: u64) -> bool {
        let first = after.saturating_add(1);
        first <= before && self.by_offset.range(first..before).count() as u64 == before - first
    }

    /// What a copy says.
    pub(crate) fn parse<'a>(&self, bytes: &'a [u8]) -> Option<RawRecord<'a>> {
        RawRecord::parse(bytes, self.salt)
    }

    /// All of them, in the order of the log.
    pub(crate) fn records(&self) -> impl Iterator<Item = RawRecord<'_>> {
        self.by_offset.values().filter_map(|bytes| self.parse(bytes))
    }

    /// Goes on writing where the files end, beginning with what they lack.
    pub(crate) fn into_writer(self, number: u64) -> (Waiting, CopyWriter) {
        let waiting = Waiting::default();
        waiting.add(&self.missing, self.through());
        let length = self.lengths.get(&number).copied();
        let writer =
            CopyWriter { number, length: length.unwrap_or(0), exists: length.is_some(), ..CopyWriter::default() };
        (waiting, writer)
    }
}

/// Behind the copies that were written together stands how far the log was on disk.
const MARK: [u8; 4] = *b"QTHR";
const MARK_BYTES: usize = 16;

fn mark(through: u64, salt: u32) -> [u8; MARK_BYTES] {
    let mut mark = [0; MARK_BYTES];
    mark[..4].copy_from_slice(&MARK);
    mark[4..12].copy_from_slice(&through.to_le_bytes());
    let checksum = crc32c::crc32c_append(salt, &mark[..12]);
    mark[12..].copy_from_slice(&checksum.to_le_bytes());
    mark
}

fn parse_mark(bytes: &[u8], salt: u32) -> Option<u64> {
    let found: &[u8; MARK_BYTES] = bytes.first_chunk()?;
    let through = u64::from_le_bytes(*found.get(4..)?.first_chunk()?);
    (*found == mark(through, salt)).then_some(through)
}

/// Copies that wait to be written.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Mutex<Waits>);

#[derive(Debug, Default)]
struct Waits {
    bytes: Vec<u8>,
    /// How far the log was on disk when the last of them was added.
    through: u64,
}

impl Waiting {
    /// Adds some records' bytes, once the log is on disk up to this offset.
    pub(crate) fn add(&self, bytes: &[u8], through: u64) {
        let mut waiting = self.0.lock();
        waiting.through = waiting.through.max(through);
        if (waiting.bytes.len() + bytes.len()) as u64 <= COPIES_BYTES_MAX {
            waiting.bytes.extend_from_slice(bytes);
        } else {
            tracing::warn!(bytes = bytes.len(), "too many copies of records wait to be written; these get none");
        }
    }
}

/// Writes the copies.
#[derive(Debug, Default)]
pub(crate) struct CopyWriter {
    /// Of the checkpoint that they come behind.
    number: u64,
    file: Option<Arc<dyn File>>,
    /// Whether the file is there.
    exists: bool,
    length: u64,
    /// Whether it was said that no more can be written.
    told: bool,
}

impl CopyWriter {
    /// Writes what waits. What cannot be written waits on; it stops nothing.
    pub(crate) fn write(&mut self, disk: &dyn Disk, salt: u32, waiting: &Waiting) {
        let Waits { mut bytes, through } = std::mem::take(&mut *waiting.0.lock());
        if bytes.is_empty() {
            return;
        }
        let n_copies = bytes.len();
        bytes.extend_from_slice(&mark(through, salt));
        if self.length + bytes.len() as u64 > COPIES_BYTES_MAX {
            self.tell(|| {
                tracing::warn!("no second copies of records are written before the next checkpoint: too many")
            });
            return;
        }
        match self.append(disk, &bytes) {
            Ok(()) => {
                self.length += bytes.len() as u64;
                self.told = false;
            }
            Err(error) => {
                self.file = None;
                self.tell(|| tracing::warn!(%error, "second copies of records cannot be written now"));
                bytes.truncate(n_copies);
                let mut waiting = waiting.0.lock();
                let since = std::mem::replace(&mut waiting.bytes, bytes);
                waiting.bytes.extend_from_slice(&since);
                waiting.through = waiting.through.max(through);
            }
        }
    }

    fn append(&mut self, disk: &dyn Disk, bytes: &[u8]) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => self.open(disk)?,
        };
        file.write_at(bytes, self.length)?;
        file.sync()?;
        self.file = Some(file);
        Ok(())
    }

    fn open(&mut self, disk: &dyn Disk) -> io::Result<Arc<dyn File>> {
        let name = copies_file(self.number);
        if self.exists {
            let file = disk.open(&name)?;
            // A torn end goes, so that nothing of it is ever taken for what follows.
            file.set_len(self.length)?;
            return Ok(file);
        }
        let file = disk.create(&name)?;
        disk.sync_names()?;
        self.exists = true;
        Ok(file)
    }

    fn tell(&mut self, what: impl FnOnce()) {
        if !self.told {
            what();
        }
        self.told = true;
    }

    /// Goes on with the file of a new checkpoint.
    pub(crate) fn begin(&mut self, number: u64) {
        *self = Self { number, ..Self::default() };
    }
}

/// Removes the files that go with checkpoints older than those that are kept.
pub(crate) fn remove_old(disk: &dyn Disk) -> io::Result<()> {
    let names = disk.list()?;
    let Some(oldest) = checkpoint_numbers(&names).last().copied() else { return Ok(()) };
    for name in names.iter().filter(|name| number_of(name).is_some_and(|number| number < oldest)) {
        disk.remove(name)?;
    }
    Ok(())
}
