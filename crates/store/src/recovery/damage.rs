//! What was found broken. It is remembered in a file until a repair, since later nothing else may tell of it: an index
//! that is made again does not know what it misses, nor does a segment that goes on behind what it has lost.

use std::io;

use crate::codec::Reader;
use crate::disk::surviving::is_unreadable;
use crate::disk::{Disk, read_all, replace};
use crate::format::header::SegmentKey;
use crate::format::walk::{DamagedBytes, Loss};

/// Where it is remembered.
pub(crate) const DAMAGE_FILE: &str = "damage";

const MAGIC: [u8; 8] = *b"QNTDAMG1";

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
        matches!(self.loss, Loss::Known | Loss::Unknown) && offset > self.after && offset < self.before
    }
}

/// What the file says; nothing if there is none, or if it is damaged itself.
pub(crate) fn remembered(disk: &dyn Disk, salt: u32) -> io::Result<Vec<DamagedOffsets>> {
    let file = match disk.open(DAMAGE_FILE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened?,
    };
    let all = match read_all(&*file) {
        Err(error) if is_unreadable(&error) => None,
        read => decode(&read?, salt),
    };
    if all.is_none() {
        tracing::error!(
            file = DAMAGE_FILE,
            "the list of what is damaged is damaged itself; what is found now begins it anew"
        );
    }
    Ok(all.unwrap_or_default())
}

/// Writes the file.
pub(crate) fn remember(disk: &dyn Disk, salt: u32, all: &[DamagedOffsets]) -> io::Result<()> {
    replace(disk, DAMAGE_FILE, &encode(all, salt))
}

fn encode(all: &[DamagedOffsets], salt: u32) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&(all.len() as u32).to_le_bytes());
    for damaged in all {
        out.extend_from_slice(&damaged.segment.base.to_le_bytes());
        out.extend_from_slice(&damaged.segment.generation.to_le_bytes());
        for number in [damaged.bytes.0, damaged.bytes.1, damaged.after, damaged.before] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.push(match damaged.loss {
            Loss::Nothing => 0,
            Loss::Known => 1,
            Loss::Unknown => 2,
            Loss::Orphans => 3,
        });
    }
    out.extend_from_slice(&crc32c::crc32c_append(salt, &out).to_le_bytes());
    out
}

fn decode(bytes: &[u8], salt: u32) -> Option<Vec<DamagedOffsets>> {
    let (covered, checksum) = bytes.split_last_chunk()?;
    if crc32c::crc32c_append(salt, covered) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let mut from = Reader::new(covered.strip_prefix(&MAGIC)?);
    let mut all = Vec::new();
    for _ in 0..from.u32()? {
        all.push(DamagedOffsets {
            segment: SegmentKey { base: from.u64()?, generation: from.u32()? },
            bytes: (from.u64()?, from.u64()?),
            after: from.u64()?,
            before: from.u64()?,
            loss: match from.u8()? {
                0 => Loss::Nothing,
                1 => Loss::Known,
                2 => Loss::Unknown,
                3 => Loss::Orphans,
                _ => return None,
            },
        });
    }
    from.rest().is_empty().then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::faulty::FaultyDisk;

    #[test]
    fn it_is_remembered_and_a_flipped_bit_is_found() {
        let disk = FaultyDisk::new();
        assert_eq!(remembered(&disk, 7).unwrap(), []);
        let segment = SegmentKey { base: 5, generation: 2 };
        let damaged = |loss| DamagedOffsets { segment, bytes: (64, 900), after: 4, before: u64::MAX, loss };
        let all = [damaged(Loss::Nothing), damaged(Loss::Known), damaged(Loss::Unknown), damaged(Loss::Orphans)];
        remember(&disk, 7, &all).unwrap();
        assert_eq!(remembered(&disk, 7).unwrap(), all);
        let (name, length) = disk.files().pop().unwrap();
        for byte in 0..length {
            let flipped = disk.copy();
            flipped.flip(&name, byte, (byte % 8) as u8);
            assert_eq!(remembered(&flipped, 7).unwrap(), [], "byte {byte}");
        }
    }
}
