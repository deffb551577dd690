//! Finds the records that are still intact in a broken stretch of a segment.
//!
//! The work is in proportion to the bytes, whatever clients published: when so much has been checksummed, what is left
//! counts as lost.

use crate::format::batch::{BATCH_HEAD, BatchHead, MAGIC};
use crate::format::flip::{HEAD_BYTES, SHORT_BYTES, Work, flip_in_record};
use crate::format::order::{Placed, rising};
use crate::format::record::{RECORD_HEAD, RawRecord, RecordKind};
use crate::format::walk::{DamagedBytes, Loss};
use crate::index::Entry;

/// So many times its length is checksummed while a broken stretch is searched …
const SEARCH_TIMES: usize = 8;
/// … and while flipped bits are looked for.
const FLIP_TIMES: usize = 64;

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

/// A broken stretch of a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stretch<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) salt: u32,
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// What was there has offsets behind this one …
    pub(crate) after: u64,
    /// … and before this one (`u64::MAX`: the end of the segment) …
    pub(crate) before: u64,
    /// … which is below this one.
    pub(crate) limit: u64,
    /// Where something may be lost if it is seen that not everything stands in its place.
    pub(crate) misplaced: (u64, u64),
    /// Whether something intact in it does not count although it stands nowhere else.
    pub(crate) missed: bool,
}

/// Looks through a broken stretch.
pub(crate) fn salvage(mut stretch: Stretch<'_>) -> Salvaged<'_> {
    let mut salvaged = Salvaged::default();
    let mut search = Work::for_bytes(stretch.to - stretch.from, SEARCH_TIMES);
    let mut flips = Work::for_bytes(stretch.to - stretch.from, FLIP_TIMES);
    let found = stretch.search(&mut search);
    let kept = stretch.in_order(&found);
    stretch.missed |= found.iter().any(|(_, r)| kept.binary_search_by_key(&r.offset, |(_, k)| k.offset).is_err());
    let mut rest = stretch;
    for (at, record) in kept {
        let broken = Stretch { to: at, before: record.offset, ..rest };
        note_broken(&mut salvaged, broken, &mut flips);
        (rest.from, rest.after) = (at + record.length as usize, record.offset);
        salvaged.records.push((at, record));
    }
    if search.is_over() {
        let Stretch { from, to, after, before, .. } = rest;
        salvaged.damaged.push(DamagedBytes { from, to, after, before, loss: Loss::Unknown });
    } else {
        note_broken(&mut salvaged, rest, &mut flips);
    }
    if salvaged.damaged.is_empty() {
        // All records are intact: a head stands where another belongs.
        let Stretch { from, to, after, before, .. } = stretch;
        salvaged.damaged.push(DamagedBytes { from, to, after, before, loss: Loss::Nothing });
    }
    salvaged
}

impl<'a> Stretch<'a> {
    fn rest(&self, at: usize) -> &'a [u8] {
        &self.bytes[at..self.to]
    }

    /// Whether a record may have its place here.
    fn fits(&self, record: &RawRecord<'_>) -> bool {
        (self.after + 1..self.before.min(self.limit)).contains(&record.offset) && record.topic <= record.offset
    }

    /// What seems to be at a place, if that has its place here, whole.
    fn told_at(&self, at: usize) -> Option<RawRecord<'a>> {
        let rest = self.rest(at);
        let length = u32::from_le_bytes(*rest.get(4..)?.first_chunk()?) as usize;
        let fits = length <= rest.len() - RECORD_HEAD && RecordKind::from_number(*rest.get(RECORD_HEAD)?).is_some();
        fits.then(|| RawRecord::parse_broken(rest)).flatten().filter(|record| self.fits(record))
    }

    fn is_head(&self, at: usize) -> bool {
        BatchHead::parse(self.rest(at), self.salt).is_some()
    }

    /// All intact records, wherever they are.
    fn search(&self, work: &mut Work) -> Vec<(usize, RawRecord<'a>)> {
        let mut found = Vec::new();
        let mut at = self.from;
        while at < self.to && !work.is_over() {
            // Most places are spared the checksum: a record says what it is, and where it belongs.
            let told = self.told_at(at).filter(|told| work.take(told.length as usize));
            if let Some(record) = told.and_then(|told| RawRecord::parse(told.bytes(), self.salt)) {
                found.push((at, record));
                at += record.length as usize;
            } else {
                at += 1;
            }
        }
        found
    }

    /// Those that stand in their place.
    fn in_order(&self, found: &[(usize, RawRecord<'a>)]) -> Vec<(usize, RawRecord<'a>)> {
        let placed: Vec<Placed> = found.iter().map(Placed::record).collect();
        let begin = Placed { from: self.from, to: self.from, first: self.after, last: self.after, records: 0 };
        rising(begin, &placed).into_iter().map(|i| found[i]).collect()
    }
}

fn note_broken(salvaged: &mut Salvaged<'_>, mut stretch: Stretch<'_>, work: &mut Work) {
    while stretch.from < stretch.to && stretch.is_head(stretch.from) {
        stretch.from += BATCH_HEAD;
    }
    let Stretch { bytes, from, to, after, before, .. } = stretch;
    if from >= to {
        return;
    }
    let is_head = to - from == BATCH_HEAD && (before == after + 1 || bytes[from..].starts_with(&MAGIC));
    let mut note = |(after, before), loss| salvaged.damaged.push(DamagedBytes { from, to, after, before, loss });
    if stretch.missed || (before == after + 1 && !is_head) {
        // There is no room for what was in these bytes, so something around them has taken its place.
        note(stretch.misplaced, Loss::Unknown);
    } else if is_head {
        note((after, before), Loss::Nothing);
    } else {
        let known = note_suspects(salvaged, stretch, work);
        let loss = if known { Loss::Known } else { Loss::Unknown };
        salvaged.damaged.push(DamagedBytes { from, to, after, before, loss });
    }
}

/// Finds out whose messages were in a broken stretch, and notes index entries that point to them, so that reading them
/// fails, as it should; and mends records of state. False if that cannot be done with all of it.
fn note_suspects(salvaged: &mut Salvaged<'_>, mut stretch: Stretch<'_>, work: &mut Work) -> bool {
    let mut at = stretch.from;
    while at < stretch.to {
        if stretch.is_head(at) {
            at += BATCH_HEAD;
            continue;
        }
        let Some(Suspect { kind, entry, topic, mended }) = suspect(&stretch, at, work) else { return false };
        stretch.after = entry.offset;
        if kind == RecordKind::Message {
            salvaged.suspects.push((topic, entry));
        } else if let Some(bytes) = mended {
            salvaged.mended.push((at, bytes));
        } else {
            // A record of state: what it changed is lost for whichever topics depend on it.
            return false;
        }
        at += entry.length as usize;
    }
    true
}

/// What a broken record seems to have been.
#[derive(Debug, Clone)]
struct Suspect {
    kind: RecordKind,
    topic: u64,
    entry: Entry,
    /// The record itself, if its checksum is right once a bit is turned back.
    mended: Option<Vec<u8>>,
}

/// A single bit that was flipped is found; otherwise the head is likely to be right.
fn suspect(stretch: &Stretch<'_>, at: usize, work: &mut Work) -> Option<Suspect> {
    let of = |record: RawRecord<'_>, length, mended| {
        let RawRecord { kind, offset, topic, time, .. } = record;
        let entry = Entry { offset, time, position: at as u32, length, size: length.max(1) };
        stretch.fits(&record).then_some(Suspect { kind, topic, entry, mended })
    };
    let rest = stretch.rest(at);
    let is_end = |end: usize| {
        let next = at + end;
        next == stretch.to || rest[end..].starts_with(&MAGIC) || stretch.told_at(next).is_some()
    };
    let Some((flip, length)) = flip_in_record(rest, stretch.salt, is_end, work) else {
        let told = stretch.told_at(at).filter(|_| !work.is_over())?;
        return of(told, told.length, None);
    };
    let mut mended = rest[..if length <= SHORT_BYTES { length } else { HEAD_BYTES }].to_vec();
    mended[flip.at] ^= flip.mask;
    let record = RawRecord::parse_broken(&mended)?;
    of(record, length as u32, (length <= SHORT_BYTES).then(|| mended.clone()))
}
