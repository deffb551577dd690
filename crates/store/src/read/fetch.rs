//! Fetches records from a segment by their index entries, neighbours with one read, and verifies each.

use std::io;

use bytes::Bytes;

use crate::disk::File;
use crate::disk::surviving::is_unreadable;
use crate::format::record::RawRecord;
use crate::index::Entry;

/// Entries with no more than this between them are read together.
const GAP_BYTES_MAX: u32 = 16 * 1024;
/// Bytes of one read, unless a single record is larger.
const RUN_BYTES_MAX: u32 = 1 << 20;

/// What stands where an entry points to.
#[derive(Debug)]
pub(crate) enum Fetched<'a> {
    /// The record, and the bytes that it is a part of if they are worth keeping.
    Intact { record: RawRecord<'a>, source: Option<&'a Bytes> },
    /// Its checksum, or the record as a whole, is wrong; or the disk cannot read it, now at least.
    Damaged,
}

/// Reads the entries in order and hands each to `each`, until it returns false.
pub(crate) fn fetch(
    file: &dyn File,
    salt: u32,
    entries: &[Entry],
    mut each: impl FnMut(&Entry, Fetched<'_>) -> bool,
) -> io::Result<()> {
    let mut rest = entries;
    while let Some(first) = rest.first() {
        let n = run_length(rest);
        let (run, behind) = rest.split_at(n);
        rest = behind;
        let end = run.last().map_or(first.position, |last| last.position.saturating_add(last.length));
        let more = match read(file, first.position, end)? {
            Some(bytes) => each_of(&bytes, run, salt, &mut each),
            // What lies beside a bad sector is read without it.
            None => each_alone(file, run, salt, &mut each)?,
        };
        if !more {
            return Ok(());
        }
    }
    Ok(())
}

/// The bytes of a stretch; none if the disk cannot read some of them.
fn read(file: &dyn File, from: u32, to: u32) -> io::Result<Option<Bytes>> {
    let mut buffer = vec![0; (to - from) as usize];
    match file.read_at(&mut buffer, u64::from(from)) {
        Ok(()) => Ok(Some(Bytes::from(buffer))),
        // A file that is too short is damage to whatever should stand there.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Some(Bytes::new())),
        Err(error) if is_unreadable(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Hands on each entry of a run; false if `each` has enough.
fn each_of(buffer: &Bytes, run: &[Entry], salt: u32, each: &mut impl FnMut(&Entry, Fetched<'_>) -> bool) -> bool {
    let from = run.first().map_or(0, |first| first.position);
    let used: u64 = run.iter().map(|entry| u64::from(entry.length)).sum();
    // Messages that share the buffer keep all of it alive, so it has to be mostly theirs.
    let source = (used * 2 >= buffer.len() as u64).then_some(buffer);
    run.iter().all(|entry| {
        let at = (entry.position - from) as usize;
        let bytes = buffer.get(at..at + entry.length as usize);
        let record = bytes.and_then(|bytes| RawRecord::parse(bytes, salt));
        let fetched = match record {
            Some(record) if record.offset == entry.offset && record.length == entry.length => {
                Fetched::Intact { record, source }
            }
            Some(_) | None => Fetched::Damaged,
        };
        each(entry, fetched)
    })
}

fn each_alone(
    file: &dyn File,
    run: &[Entry],
    salt: u32,
    each: &mut impl FnMut(&Entry, Fetched<'_>) -> bool,
) -> io::Result<bool> {
    for entry in run {
        let bytes = read(file, entry.position, entry.position.saturating_add(entry.length))?;
        let more = match bytes {
            Some(bytes) => each_of(&bytes, std::slice::from_ref(entry), salt, each),
            None => each(entry, Fetched::Damaged),
        };
        if !more {
            return Ok(false);
        }
    }
    Ok(true)
}

/// How many entries at the front are read together.
fn run_length(entries: &[Entry]) -> usize {
    let Some(first) = entries.first() else { return 0 };
    let mut end = first.position.saturating_add(first.length);
    let mut n = 1;
    for entry in &entries[1..] {
        let entry_end = entry.position.saturating_add(entry.length);
        if entry.position.saturating_sub(end) > GAP_BYTES_MAX || entry_end - first.position > RUN_BYTES_MAX {
            break;
        }
        end = entry_end;
        n += 1;
    }
    n
}

/// The payload as it is kept: a part of the bytes that were read, or a copy.
pub(crate) fn keep(payload: &[u8], source: Option<&Bytes>) -> Bytes {
    match source {
        Some(source) if !payload.is_empty() => source.slice_ref(payload),
        _ => Bytes::copy_from_slice(payload),
    }
}
