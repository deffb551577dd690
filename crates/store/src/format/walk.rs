//! Walks over a segment's bytes, batch by batch, and tells a torn tail from damage.

use crate::format::batch::{BatchHead, find_magic, parse_batch};
use crate::format::header::SEGMENT_HEAD;
use crate::format::record::RawRecord;
use crate::format::salvage::salvage;
use crate::index::Entry;

/// What stands at a place in a segment.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    /// An intact batch, and its records with their places in the segment.
    Batch { head: BatchHead, records: Vec<(usize, RawRecord<'a>)> },
    /// Bytes that are no intact batch, up to the next intact one or the end.
    Broken { from: usize, to: usize },
}

/// The walk.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    bytes: &'a [u8],
    salt: u32,
    at: usize,
    /// The last offset that was found.
    last: u64,
}

impl<'a> Walk<'a> {
    /// Begins behind the segment's head. No offset at or below `last` is taken for part of the log.
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

    fn step_over(&mut self, at: usize, found: &Found<'a>) {
        match found {
            Found::Batch { head, records } => {
                self.at = at + head.whole();
                self.last = records.last().map_or(self.last, |(_, record)| record.offset);
            }
            Found::Broken { to, .. } => self.at = *to,
        }
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
            Found::Broken { from: at, to }
        });
        self.step_over(at, &found);
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
    /// Bytes behind `end` that were being written when the process or the machine stopped; not the zeros behind them,
    /// which were written ahead.
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

/// Walks over a segment: broken bytes are damage if something behind them knows that they had been on disk; otherwise
/// the log ends there. `each` gets every batch that counts.
pub(crate) fn survey<'a>(
    input: SurveyInput<'a>,
    mut each: impl FnMut(&BatchHead, &[(usize, RawRecord<'_>)]),
) -> Survey {
    let found: Vec<Found<'a>> = Walk::new(input.bytes, input.salt, input.last).collect();
    let mut durable_after = vec![input.durable_through; found.len() + 1];
    for (i, item) in found.iter().enumerate().rev() {
        let own = match item {
            Found::Batch { head, .. } if head.first < input.limit => head.durable_through,
            Found::Batch { .. } | Found::Broken { .. } => 0,
        };
        durable_after[i] = durable_after[i + 1].max(own);
    }
    let mut survey = Survey { end: SEGMENT_HEAD.min(input.bytes.len()), last: input.last, ..Survey::default() };
    for (i, item) in found.iter().enumerate() {
        match item {
            Found::Batch { head, .. } if head.first >= input.limit => break,
            Found::Batch { head, records } => {
                each(head, records);
                survey.durable_through = survey.durable_through.max(head.durable_through);
                survey.last = records.last().map_or(survey.last, |(_, record)| record.offset);
                survey.end = records.first().map_or(survey.end, |(at, _)| at + head.length as usize);
                if let Some(damaged) = survey.damaged.last_mut().filter(|damaged| damaged.before == u64::MAX) {
                    damaged.before = head.first;
                }
            }
            Found::Broken { from, to } if durable_after[i] > survey.last => {
                let salvaged = salvage(input.bytes, (*from, *to), input.salt, survey.last);
                survey.damaged.extend_from_slice(&salvaged.damaged);
                survey.suspects.extend_from_slice(&salvaged.suspects);
                // What is intact in it had been on disk like the rest, and so had been acknowledged.
                let mut records = salvaged.all(input.salt);
                records.retain(|(_, record)| record.offset < input.limit);
                if let (Some((_, first)), Some((_, last))) = (records.first(), records.last()) {
                    survey.last = last.offset;
                    let count = records.len() as u32;
                    each(&BatchHead { length: 0, count, first: first.offset, durable_through: 0 }, &records);
                }
                survey.end = *to;
            }
            Found::Broken { .. } => break,
        }
    }
    survey.torn = input.bytes[survey.end..].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    survey
}
