//! Finds the records that are still intact in a broken stretch of a segment.

use crate::format::batch::{BATCH_HEAD, BatchHead, MAGIC};
use crate::format::record::{RECORD_HEAD, RawRecord, RecordKind};
use crate::format::walk::{DamagedBytes, Loss};
use crate::index::Entry;

/// What a broken stretch still holds.
#[derive(Debug, Default)]
pub(crate) struct Salvaged<'a> {
    /// Intact records and their places in the segment, in order.
    pub(crate) records: Vec<(usize, RawRecord<'a>)>,
    /// What is between them.
    pub(crate) damaged: Vec<DamagedBytes>,
    /// Whose records that seems to have been: topic and index entry.
    pub(crate) suspects: Vec<(u64, Entry)>,
    /// Records of state of which one bit was flipped, as they had been written, and their places.
    pub(crate) mended: Vec<(usize, Vec<u8>)>,
}

impl Salvaged<'_> {
    /// Everything that counts, in order.
    pub(crate) fn all(&self, salt: u32) -> Vec<(usize, RawRecord<'_>)> {
        let mended = self.mended.iter().filter_map(|(at, bytes)| Some((*at, RawRecord::parse(bytes, salt)?)));
        let mut all: Vec<(usize, RawRecord<'_>)> = self.records.iter().copied().chain(mended).collect();
        all.sort_by_key(|(_, record)| record.offset);
        all
    }
}

/// Looks through `bytes[from..to]`. No offset at or below `last` is taken for part of the log.
pub(crate) fn salvage(bytes: &[u8], (from, to): (usize, usize), salt: u32, last: u64) -> Salvaged<'_> {
    let mut salvaged = Salvaged::default();
    let (mut at, mut last) = (from, last);
    let mut broken_from = from;
    while at < to {
        if let Some(record) =
            plausible(&bytes[at..to]).and_then(|b| RawRecord::parse(b, salt)).filter(|r| r.offset > last)
        {
            let before = record.offset;
            note_broken(&mut salvaged, Stretch { bytes, from: broken_from, to: at, after: last, before }, salt);
            last = record.offset;
            at += record.length as usize;
            broken_from = at;
            salvaged.records.push((at - record.length as usize, record));
        } else if at == broken_from && BatchHead::parse(&bytes[at..to], salt).is_some() {
            at += BATCH_HEAD;
            broken_from = at;
        } else {
            at += 1;
        }
    }
    let before = u64::MAX;
    note_broken(&mut salvaged, Stretch { bytes, from: broken_from, to, after: last, before }, salt);
    salvaged
}

/// Spares most places the checksum: a record says its length and its kind.
fn plausible(bytes: &[u8]) -> Option<&[u8]> {
    let length = u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?) as usize;
    let kind = *bytes.get(8)?;
    (RecordKind::from_number(kind).is_some() && length <= bytes.len() - 8).then_some(bytes)
}

/// A broken stretch, and the offsets around it.
#[derive(Debug, Clone, Copy)]
struct Stretch<'a> {
    bytes: &'a [u8],
    from: usize,
    to: usize,
    after: u64,
    before: u64,
}

fn note_broken(salvaged: &mut Salvaged<'_>, stretch: Stretch<'_>, salt: u32) {
    let Stretch { bytes, from, to, after, before } = stretch;
    if from >= to {
        return;
    }
    let only_head = to - from == BATCH_HEAD && bytes[from..].starts_with(&MAGIC);
    let loss = if before == after + 1 || only_head {
        Loss::Nothing
    } else if note_suspects(salvaged, stretch, salt) {
        Loss::Known
    } else {
        Loss::Unknown
    };
    salvaged.damaged.push(DamagedBytes { from, to, after, before, loss });
}

/// Finds out whose messages were in a broken stretch, and notes index entries that point to them, so that reading them
/// fails, as it should; and mends records of state. False if that cannot be done with all of it.
fn note_suspects(salvaged: &mut Salvaged<'_>, stretch: Stretch<'_>, salt: u32) -> bool {
    let Stretch { bytes, from, to, mut after, before } = stretch;
    let mut at = from;
    while at < to {
        let Some(suspect) = suspect(&bytes[at..to], salt).filter(|s| s.offset > after && s.offset < before) else {
            return false;
        };
        let length = suspect.length as usize;
        after = suspect.offset;
        if suspect.kind == RecordKind::Message {
            let Suspect { offset, time, length, .. } = suspect;
            let entry = Entry { offset, time, position: at as u32, length, size: length.max(1) };
            salvaged.suspects.push((suspect.topic, entry));
        } else if let Some(bytes) = suspect.mended {
            salvaged.mended.push((at, bytes));
        } else {
            // A record of state: what it changed is lost for whichever topics depend on it.
            return false;
        }
        at += length;
    }
    true
}

/// What a broken record seems to have been.
#[derive(Debug, Clone)]
struct Suspect {
    kind: RecordKind,
    offset: u64,
    topic: u64,
    time: u64,
    length: u32,
    /// The record itself, if its checksum is right once a bit is turned back.
    mended: Option<Vec<u8>>,
}

/// Everything that tells what a record is lies in its first bytes; behind them comes the payload.
const HEAD_BYTES: usize = 48;
/// Larger records are not worth the checksums.
const MENDED_BYTES_MAX: usize = 256 * 1024;
/// Of records of state every bit is tried, as long as they are not longer than this.
const STATE_BYTES_MAX: usize = 4 * 1024;

/// How much of a record may hold the flipped bit.
fn tried_bytes(bytes: &[u8]) -> usize {
    let is_state = |kind: &u8| RecordKind::from_number(*kind).is_some_and(|kind| kind != RecordKind::Message);
    let length = bytes.get(4..).and_then(|rest| rest.first_chunk()).map_or(0, |length| u32::from_le_bytes(*length));
    match length as usize + RECORD_HEAD {
        whole if bytes.get(8).is_some_and(is_state) && whole <= STATE_BYTES_MAX => whole.max(HEAD_BYTES),
        _ => HEAD_BYTES,
    }
}

/// A single bit in the record's head that was flipped is found by trying; otherwise the head is likely to be right.
fn suspect(bytes: &[u8], salt: u32) -> Option<Suspect> {
    let of = |record: RawRecord<'_>, mended| Suspect {
        mended,
        kind: record.kind,
        offset: record.offset,
        topic: record.topic,
        time: record.time,
        length: record.length,
    };
    let mut copy = bytes[..bytes.len().min(MENDED_BYTES_MAX)].to_vec();
    for bit in 0..copy.len().min(tried_bytes(bytes)) * 8 {
        copy[bit / 8] ^= 1 << (bit % 8);
        if let Some(record) = plausible(&copy).and_then(|bytes| RawRecord::parse(bytes, salt)) {
            return Some(of(record, Some(record.bytes().to_vec())));
        }
        copy[bit / 8] ^= 1 << (bit % 8);
    }
    RawRecord::parse_broken(bytes).map(|record| of(record, None))
}
