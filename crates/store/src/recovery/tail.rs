//! An end of the newest segment that cannot be read. Whether it was acknowledged cannot be told, so it is neither cut off
//! nor written over: the log goes on in a new segment.

use crate::disk::surviving::Surviving;
use crate::format::batch::MAGIC;
use crate::format::walk::{Survey, SurveyInput, survey};

/// Refused transactions take offsets too, of which the log says nothing; so many are left out besides one for each byte.
const OFFSETS_SPARED: u64 = 1 << 20;

/// Up to which offset something may have stood in the newest segment, if that cannot be told because its end cannot be
/// read; none if it can. `base` is the segment's, and everything up to `known` had been on disk.
pub(crate) fn unreadable_tail(read: &Surviving, salt: u32, base: u64, known: u64) -> Option<u64> {
    let last_unreadable = read.unreadable.last()?;
    let survey_as = |durable_through| -> Survey {
        let (bytes, last) = (&read.bytes[..], base.saturating_sub(1));
        survey(SurveyInput { bytes, salt, last, limit: u64::MAX, durable_through }, |_, _| {})
    };
    // What is intact proves what lies before it.
    let end = survey_as(0).end;
    if last_unreadable.end <= end || is_free(read, end) {
        return None;
    }
    let all = survey_as(u64::MAX - 1);
    let last = all.last.max(known);
    let open = all.damaged.last().filter(|damaged| damaged.before == u64::MAX && !is_free(read, damaged.from));
    // Zeros behind it were written ahead.
    let written = read.bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    Some(open.map_or(last, |open| last + written.saturating_sub(open.from) as u64 + OFFSETS_SPARED))
}

/// How much of what lies behind the log's end was being written ([`Survey::torn`]), as far as it can be read.
pub(crate) fn torn_bytes(read: &Surviving, survey: &Survey) -> usize {
    let is_written = |at: &usize| read.bytes[*at] != 0 && !read.unreadable.iter().any(|range| range.contains(at));
    match read.unreadable.is_empty() {
        true => survey.torn,
        false => (survey.end..read.bytes.len()).rfind(is_written).map_or(0, |last| last + 1 - survey.end),
    }
}

/// Whether zeros that can be read say that no batch begins here.
fn is_free(read: &Surviving, at: usize) -> bool {
    let head = read.bytes.get(at..at + MAGIC.len());
    head.is_some_and(|head| head.iter().all(|byte| *byte == 0)) && read.readable_to(at) >= at + MAGIC.len()
}
