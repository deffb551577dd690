//! The contents of a file on the faulty disk: what is seen, what is durable, and what is between.

use std::ops::Range;

use crate::disk::random::Random;

#[derive(Debug, Default, Clone)]
pub(super) struct Contents {
    pub(super) seen: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) pending: Vec<Change>,
    /// Bytes that the disk does not give any more.
    pub(super) unreadable: Vec<Range<usize>>,
}

impl Contents {
    /// Whether something in this range is unreadable.
    pub(super) fn is_unreadable(&self, from: usize, to: usize) -> bool {
        self.unreadable.iter().any(|bad| bad.start < to && bad.end > from)
    }

    /// A sector that is written, or cut off, is a good one again.
    pub(super) fn heal(&mut self, from: usize, to: usize) {
        let parts = std::mem::take(&mut self.unreadable).into_iter().flat_map(|bad| {
            let (before, behind) = (bad.start..bad.end.min(from), bad.start.max(to)..bad.end);
            [before, behind]
        });
        self.unreadable = parts.filter(|bad| !bad.is_empty()).collect();
    }
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    Write { position: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Change {
    pub(super) fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write { position, bytes } => {
                if to.len() < position + bytes.len() {
                    to.resize(position + bytes.len(), 0);
                }
                to[*position..position + bytes.len()].copy_from_slice(bytes);
            }
            Self::Length(length) => to.resize(*length, 0),
        }
    }
}

/// A write that was not synced may be on the disk, in part or not at all.
pub(super) fn tear(change: &Change, durable: &mut Vec<u8>, random: &mut Random) {
    match (random.below(4), change) {
        (0, _) => {}
        (1, Change::Write { position, bytes }) => {
            let kept = random.below(bytes.len() as u64 + 1) as usize;
            Change::Write { position: *position, bytes: bytes[..kept].to_vec() }.apply(durable);
        }
        (2, Change::Write { position, bytes }) => {
            // The length is there, and some of the pages; the others are what they were, or zeros if they were not.
            let mut torn = durable.get(*position..).unwrap_or_default().to_vec();
            torn.resize(bytes.len(), 0);
            for (from, to) in bytes.chunks(TORN_PAGE).zip(torn.chunks_mut(TORN_PAGE)) {
                if random.below(2) == 0 {
                    to.copy_from_slice(from);
                }
            }
            Change::Write { position: *position, bytes: torn }.apply(durable);
        }
        _ => change.apply(durable),
    }
}

/// Smaller than a page of a real disk, so that small batches are torn too.
const TORN_PAGE: usize = 64;
