//! Which files a store consists of.

use std::io;
use std::sync::Arc;

use quintet_core::error::{Error, Kind, Result};

use crate::disk::surviving::{Surviving, is_unreadable};
use crate::disk::{Disk, File, TEMPORARY, read_all, replace};
use crate::format::header::{SEGMENT_HEAD, STORE_FILE, SegmentHead, SegmentKey, StoreHead};

/// A segment file.
#[derive(Debug, Clone)]
pub(crate) struct SegmentFile {
    pub(crate) key: SegmentKey,
    /// None if it is broken; the name tells the most of it.
    pub(crate) head: Option<SegmentHead>,
    pub(crate) length: u64,
    pub(crate) file: Arc<dyn File>,
}

impl SegmentFile {
    /// The last offset that a compacted segment stands for.
    pub(crate) fn compacted_end(&self) -> u64 {
        self.head.map_or(0, |head| head.end)
    }
}

/// The store's own file, made if the folder holds no store yet.
pub(crate) fn read_or_make_head(disk: &dyn Disk, names: &[String]) -> Result<StoreHead> {
    if names.iter().any(|name| name == STORE_FILE) {
        return read_head(disk);
    }
    if names.iter().any(|name| SegmentKey::from_file(name, "log").is_some()) {
        let detail = "the folder holds segments but no file `store`; restore it from a backup";
        return Err(Error::new(Kind::StorageDamaged, detail));
    }
    let mut random = [0; 8];
    getrandom::fill(&mut random)
        .map_err(|error| Error::new(Kind::Internal, format!("there are no random numbers: {error}")))?;
    let [a, b, c, d, e, f, g, h] = random;
    let head = StoreHead { log: u32::from_le_bytes([a, b, c, d]).max(1), salt: u32::from_le_bytes([e, f, g, h]) };
    replace(disk, STORE_FILE, &head.encode()).map_err(open_error)?;
    Ok(head)
}

/// The store's own file.
pub(crate) fn read_head(disk: &dyn Disk) -> Result<StoreHead> {
    let bytes = disk.open(STORE_FILE).and_then(|file| read_all(&*file)).map_err(open_error)?;
    StoreHead::parse(&bytes).map_err(|detail| Error::new(Kind::StorageDamaged, detail))
}

/// All segment files in the order of the log, superseded ones too.
pub(crate) fn segment_files(disk: &dyn Disk, head: StoreHead, names: &[String]) -> io::Result<Vec<SegmentFile>> {
    let mut files = Vec::new();
    for key in names.iter().filter_map(|name| SegmentKey::from_file(name, "log")) {
        let file = disk.open(&key.file())?;
        let length = file.length()?;
        let mut bytes = [0; SEGMENT_HEAD];
        let whole = length >= SEGMENT_HEAD as u64;
        match if whole { file.read_at(&mut bytes, 0) } else { Ok(()) } {
            // The name tells the most of it.
            Err(error) if is_unreadable(&error) => {}
            read => read?,
        }
        let parsed = SegmentHead::parse(&bytes, head.salt).filter(|h| whole && h.key == key && h.log == head.log);
        files.push(SegmentFile { key, head: parsed, length, file });
    }
    files.sort_by_key(|file| file.key);
    Ok(files)
}

/// The newest file without a readable head never held anything that was acknowledged, unless batches follow.
pub(crate) fn is_unborn(file: &SegmentFile, salt: u32) -> io::Result<bool> {
    if file.head.is_some() {
        return Ok(false);
    }
    let read = Surviving::read(&*file.file, &file.key.file())?;
    // Nobody knows what stood behind a head that is unreadable with it.
    if read.unreadable.last().is_some_and(|range| range.end > SEGMENT_HEAD) {
        return Ok(false);
    }
    let mut walk = crate::format::walk::Walk::new(&read.bytes, salt, 0);
    Ok(!walk.any(|found| matches!(found, crate::format::walk::Found::Batch { .. })))
}

/// Parts the files into those that make up the log and those whose place a later generation has taken.
pub(crate) fn part_superseded(files: Vec<SegmentFile>) -> (Vec<SegmentFile>, Vec<SegmentFile>) {
    let covers = |by: &SegmentFile, file: &SegmentFile| {
        by.key.generation > file.key.generation
            && by.key.base <= file.key.base
            && file.key.base <= by.compacted_end().max(by.key.base)
    };
    let superseded: Vec<bool> = files.iter().map(|file| files.iter().any(|by| covers(by, file))).collect();
    let mut parted = (Vec::new(), Vec::new());
    for (file, superseded) in files.into_iter().zip(superseded) {
        if superseded { parted.1.push(file) } else { parted.0.push(file) }
    }
    parted
}

/// Removes files that no longer belong to the store: unfinished, superseded, and indexes of what is superseded. Indexes
/// whose segment is missing stay until it is known what they tell.
pub(crate) fn remove_leftovers(
    disk: &dyn Disk,
    names: &[String],
    kept: &[SegmentFile],
    superseded: &[SegmentFile],
    orphans: &[SegmentKey],
) -> io::Result<()> {
    for file in superseded {
        disk.remove(&file.key.file())?;
    }
    let is_wanted = |key: SegmentKey| orphans.contains(&key) || kept.iter().any(|file| file.key == key);
    for name in names {
        let leftover = SegmentKey::from_file(name, "index").is_some_and(|key| !is_wanted(key));
        if leftover || name.ends_with(TEMPORARY) {
            disk.remove(name)?;
        }
    }
    Ok(())
}

/// What to say when a file cannot be opened, read or made.
pub(crate) fn open_error(error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::StorageFull,
        _ => Kind::StorageUnavailable,
    };
    let detail = format!("the store cannot be opened: {error}");
    Error::with_source(kind, detail, error)
}
