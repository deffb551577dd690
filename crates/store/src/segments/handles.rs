//! Open files of segments, the most recently used ones only, so that a log of any length needs few file descriptors.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::disk::{Disk, File};
use crate::format::header::SegmentKey;
use crate::index::file::FileIndex;

/// Segments whose files are kept open.
const HANDLES_MAX: usize = 64;

/// The open files of one segment.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) data: Arc<dyn File>,
    index: OnceLock<FileIndex>,
}

impl Handle {
    /// The segment's index file; fails with `InvalidData` or `NotFound` if it has to be made again.
    pub(crate) fn index(&self, disk: &dyn Disk, key: SegmentKey, salt: u32) -> io::Result<&FileIndex> {
        if let Some(index) = self.index.get() {
            return Ok(index);
        }
        let index = FileIndex::open(disk.open(&key.index_file())?, salt)?;
        Ok(self.index.get_or_init(|| index))
    }
}

/// The most recently used handles, the newest at the back.
#[derive(Debug, Default)]
pub(crate) struct Handles {
    recent: Mutex<VecDeque<(SegmentKey, Arc<Handle>)>>,
}

impl Handles {
    pub(crate) fn get(&self, disk: &dyn Disk, key: SegmentKey) -> io::Result<Arc<Handle>> {
        let mut recent = self.recent.lock();
        if let Some(at) = recent.iter().rposition(|(k, _)| *k == key)
            && let Some(found) = recent.remove(at)
        {
            let handle = Arc::clone(&found.1);
            recent.push_back(found);
            return Ok(handle);
        }
        let handle = Arc::new(Handle { data: disk.open(&key.file())?, index: OnceLock::new() });
        if recent.len() >= HANDLES_MAX {
            recent.pop_front();
        }
        recent.push_back((key, Arc::clone(&handle)));
        Ok(handle)
    }

    /// Forgets a segment's files, so that they are opened anew.
    pub(crate) fn forget(&self, key: SegmentKey) {
        self.recent.lock().retain(|(k, _)| *k != key);
    }
}
