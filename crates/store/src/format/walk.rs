//! Walks over a segment's bytes, batch by batch, and tells a torn tail from damage.

use crate::format::batch::{BatchHead, find_magic, parse_batch};
use crate::format::header::SEGMENT_HEAD;
use crate::format::order::{Placed, in_order};
use crate::format::record::RawRecord;
use crate::format::salvage::{Stretch, salvage};
use crate::index::Entry;

/// What stands at a place in a segment.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    /// An intact batch, and its records with their places in the segment.
    Batch { head: BatchHead, records: Vec<(usize, RawRecord<'a>)> },
    /// Bytes that are no intact batch, up to the next intact one or the end. `missed`: with one that does not count
    /// although it stands nowhere else.
    Broken { from: usize, to: usize, missed: bool },
}

/// The walk.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    bytes: &'a [u8],
    salt: u32,
    at: usize,
    /// The last offset before the segment.
    last: u64,
}

impl<'a> Walk<'a> {
    /// Begins behind the segment's head. No offset at or below `last` is taken for part of the log. What stands in a
    /// wrong place is not told from the rest.
    pub(crate) fn new(bytes: &'a [u8], salt: u32, last: u64) -> Self {
        Self { bytes, salt, at: SEGMENT_HEAD.min(bytes.len()), last }
    }

    fn batch_at(&self, at: usize) -> Option<Found<'a>> {
        let (head, mut records) = parse_batch(self.bytes.get(at..)?, self.salt)?;
        if head.first <= self.last || records.is_empty() {
            return None;
        }
        for (place, _) in &mut records {
            *place += at;
        }
        Some(Found::Batch { head, records })
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let at = self.at;
        let found = self.batch_at(at).unwrap_or_else(|| {
            let mut next = at + 1;
            let to = loop {
                match find_magic(self.bytes, next) {
                    None => break self.bytes.len(),
                    Some(place) if self.batch_at(place).is_some() => break place,
                    Some(place) => next = place + 1,
                }
            };
            Found::Broken { from: at, to, missed: false }
        });
        self.at = match &found {
            Found::Batch { head, .. } => at + head.whole(),
            Found::Broken { to, .. } => *to,
        };
        Some(found)
    }
}

/// A stretch of broken bytes that had been on disk whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DamagedBytes {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// What was lost lies behind this offset …
    pub(crate) after: u64,
    /// … and before this one (`u64::MAX`: the end of the segment).
    pub(crate) before: u64,
    pub(crate) loss: Loss,
}

/// What was lost in a broken stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Only a batch's head is broken.
    Nothing,
    /// Messages of topics that are known: index entries point to them.
    Known,
    /// It cannot be told whose messages, or what else.
    Unknown,
    /// Nothing, but there are messages of topics whose creation is lost, so that nobody can ask for them.
    Orphans,
}

/// What a segment holds.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// Behind the last batch that counts.
    pub(crate) end: usize,
    /// The offset of the last record that counts.
    pub(crate) last: u64,
    /// What the batches themselves know to have been on disk.
    pub(crate) durable_through: u64,
    pub(crate) damaged: Vec<DamagedBytes>,
    /// Whose messages seem to have been there: topics and index entries.
    pub(crate) suspects: Vec<(u64, Entry)>,
    /// Bytes behind `end` that nothing shows to have been on disk whole; not the zeros behind them, which were written
    /// ahead.
    pub(crate) torn: usize,
}

/// What to make of a segment's bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SurveyInput<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) salt: u32,
    /// The last offset before the segment.
    pub(crate) last: u64,
    /// Records at or above this offset do not count (`u64::MAX` in the last segment).
    pub(crate) limit: u64,
    /// What the next segment knows to have been on disk; 0 if there is none.
    pub(crate) durable_through: u64,
}

/// A batch below the limit.
fn counting<'s, 'a>(item: &'s Found<'a>, limit: u64) -> Option<(&'s BatchHead, &'s [(usize, RawRecord<'a>)])> {
    match item {
        Found::Batch { head, records } if head.first < limit => Some((head, records)),
        Found::Batch { .. } | Found::Broken { .. } => None,
    }
}

/// Walks over a segment: broken bytes are damage if something behind them knows that they had been on disk; otherwise
/// the log ends there. `each` gets every batch that counts.
pub(crate) fn survey<'a>(
    input: SurveyInput<'a>,
    mut each: impl FnMut(&BatchHead, &[(usize, RawRecord<'_>)]),
) -> Survey {
    let begins = SEGMENT_HEAD.min(input.bytes.len());
    let begin = Placed { from: begins, to: begins, first: input.last, last: input.last, records: 0 };
    let walk = Walk::new(input.bytes, input.salt, input.last);
    let found = in_order(walk.collect(), begin, input.limit, input.durable_through);
    // For each, what those behind it know to have been on disk.
    let mut durable_after = vec![input.durable_through; found.len() + 1];
    for (i, item) in found.iter().enumerate().rev() {
        let own = counting(item, input.limit).map_or(0, |(head, _)| head.durable_through);
        durable_after[i] = durable_after[i + 1].max(own);
    }
    let highest = found.iter().rev().find_map(|item| Some(counting(item, input.limit)?.1.last()?.1.offset));
    let mut survey = Survey { end: begins, last: input.last, ..Survey::default() };
    for (i, item) in found.iter().enumerate() {
        match item {
            Found::Batch { head, .. } if head.first >= input.limit => break,
            Found::Batch { head, records } => {
                each(head, records);
                survey.durable_through = survey.durable_through.max(head.durable_through);
                survey.last = records.last().map_or(survey.last, |(_, record)| record.offset);
                survey.end = records.first().map_or(survey.end, |(at, _)| at + head.length as usize);
            }
            Found::Broken { from, to, missed } if durable_after[i] > survey.last => {
                let next = found.get(i + 1).and_then(|next| counting(next, input.limit));
                let before = next.map_or(u64::MAX, |(head, _)| head.first);
                let misplaced = (input.last, next.and(highest).map_or(u64::MAX, |highest| highest.saturating_add(1)));
                let SurveyInput { bytes, salt, limit, .. } = input;
                let (from, to, after, missed) = (*from, *to, survey.last, *missed);
                let salvaged = salvage(Stretch { bytes, salt, from, to, after, before, limit, misplaced, missed });
                survey.damaged.extend_from_slice(&salvaged.damaged);
                survey.suspects.extend_from_slice(&salvaged.suspects);
                // What is intact in it had been on disk like the rest, and so had been acknowledged.
                let records = salvaged.all(salt);
                if let (Some((_, first)), Some((_, last))) = (records.first(), records.last()) {
                    survey.last = last.offset;
                    let count = records.len() as u32;
                    each(&BatchHead { length: 0, count, first: first.offset, durable_through: 0 }, &records);
                }
                survey.end = to;
            }
            Found::Broken { .. } => break,
        }
    }
    survey.torn = input.bytes[survey.end..].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    survey
}
