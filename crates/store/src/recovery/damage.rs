//! What opening found broken.

use crate::format::header::SegmentKey;
use crate::format::walk::{DamagedBytes, Loss};

/// A stretch of the log that had been on disk and is broken now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DamagedOffsets {
    pub(crate) segment: SegmentKey,
    /// Where in the segment, from and to.
    pub(crate) bytes: (u64, u64),
    /// What is lost lies behind this offset and before the other.
    pub(crate) after: u64,
    pub(crate) before: u64,
    pub(crate) loss: Loss,
}

impl DamagedOffsets {
    /// What a survey found, as a part of the log. Behind the last of a segment comes `limit`.
    pub(crate) fn found(segment: SegmentKey, damaged: &DamagedBytes, limit: u64) -> Self {
        let bytes = (damaged.from as u64, damaged.to as u64);
        let before = if damaged.before == u64::MAX { limit } else { damaged.before };
        Self { segment, bytes, after: damaged.after, before, loss: damaged.loss }
    }

    /// Whether this offset may be what was lost.
    pub(crate) fn covers(&self, offset: u64) -> bool {
        self.loss != Loss::Nothing && offset > self.after && offset < self.before
    }
}
