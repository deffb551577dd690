//! Tells what stands in its place from copies in a wrong one: of all intact batches, or records, that were found in a
//! segment, those count whose offsets rise from place to place.

use std::collections::BTreeMap;

use crate::format::batch::BATCH_HEAD;
use crate::format::record::RawRecord;
use crate::format::walk::Found;

/// Something intact: its bytes from and to, its first and last offset, and how many records it has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placed {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) records: u64,
}

impl Placed {
    pub(crate) fn record((at, record): &(usize, RawRecord<'_>)) -> Self {
        let (first, last) = (record.offset, record.offset);
        Self { from: *at, to: at + record.length as usize, first, last, records: 1 }
    }

    fn batch(records: &[(usize, RawRecord<'_>)]) -> Option<Self> {
        let (first, last) = (Self::record(records.first()?), Self::record(records.last()?));
        let from = first.from.saturating_sub(BATCH_HEAD);
        Some(Self { from, first: first.first, records: records.len() as u64, ..last })
    }

    /// Whether this comes right behind another, in the file and in the log.
    fn follows(&self, other: &Self) -> bool {
        self.from <= other.to + BATCH_HEAD && Some(self.first) == other.last.checked_add(1)
    }
}

/// Whether offsets rise.
fn is_rising(mut all: impl Iterator<Item = (u64, u64)>) -> bool {
    let mut before = None;
    all.all(|(first, last)| before.replace(last).is_none_or(|before| before < first))
}

/// Which of these, in the order of their places, count: as many records as have rising offsets. Of a record and its copy
/// it is the one that has its neighbours beside it; `begin` is what comes before the first.
pub(crate) fn rising(begin: Placed, all: &[Placed]) -> Vec<usize> {
    if is_rising(all.iter().map(|placed| (placed.first, placed.last))) {
        return (0..all.len()).collect();
    }
    // By the offset that they end with, the weightiest rows: one that ends later weighs more. For each item, the weight
    // of its row, and the one before it there.
    let mut rows = BTreeMap::<u64, usize>::new();
    let mut best: Vec<(u64, Option<usize>)> = Vec::with_capacity(all.len());
    for (i, placed) in all.iter().enumerate() {
        let row = rows.range(..placed.first).next_back().map(|(_, row)| *row);
        let mut before = (row.map_or(0, |row| best[row].0), row);
        let neighbour = i.checked_sub(1);
        if placed.follows(neighbour.map_or(&begin, |i| &all[i])) {
            let beside = (neighbour.map_or(0, |i| best[i].0) + 1, neighbour);
            before = if beside.0 > before.0 { beside } else { before };
        }
        let weight = before.0 + placed.records * 2;
        best.push((weight, before.1));
        if rows.range(..=placed.last).next_back().is_some_and(|(_, row)| best[*row].0 >= weight) {
            continue;
        }
        while let Some((end, _)) = rows.range(placed.last..).next().filter(|(_, row)| best[**row].0 <= weight) {
            let end = *end;
            rows.remove(&end);
        }
        rows.insert(placed.last, i);
    }
    let mut kept = Vec::new();
    let mut next = rows.last_key_value().map(|(_, row)| *row);
    while let Some(i) = next {
        kept.push(i);
        next = best[i].1;
    }
    kept.reverse();
    kept
}

/// Makes broken bytes of batches that do not stand in their place. At the end there may be some at or above `limit`, which
/// a group wrote whose sync failed; they stay, if everything `durable_through` is there before them.
pub(crate) fn in_order(found: Vec<Found<'_>>, begin: Placed, limit: u64, durable_through: u64) -> Vec<Found<'_>> {
    let spans = |item: &Found<'_>| match item {
        Found::Batch { records, .. } => Placed::batch(records).map(|placed| (placed.first, placed.last)),
        Found::Broken { .. } => None,
    };
    let highest = found.iter().filter_map(spans).next_back().map_or(begin.last, |(_, last)| last);
    if is_rising(found.iter().filter_map(spans)) && highest < limit {
        return found;
    }
    let (mut items, mut batches) = (Vec::new(), Vec::new());
    for (i, item) in found.iter().enumerate() {
        if let Found::Batch { records, .. } = item
            && let Some(placed) = Placed::batch(records).filter(|placed| placed.first < limit)
        {
            items.push(i);
            batches.push(placed);
        }
    }
    let kept = rising(begin, &batches);
    let is_whole = kept.last().map_or(begin.last, |i| batches[*i].last) >= durable_through;
    let last = if is_whole { kept.last().map(|i| items[*i]) } else { Some(usize::MAX) };
    let mut counts = vec![false; found.len()];
    kept.iter().for_each(|i| counts[items[*i]] = true);
    let is_kept = |placed: &Placed| kept.binary_search_by_key(&placed.first, |i| batches[*i].first).is_ok();
    let mut ordered: Vec<Found<'_>> = Vec::with_capacity(found.len());
    for (i, item) in found.into_iter().enumerate() {
        let (from, to, missed) = match &item {
            Found::Broken { from, to, missed } => (*from, *to, *missed),
            Found::Batch { records, .. } => match Placed::batch(records) {
                Some(placed) if !counts[i] && (placed.first < limit || Some(i) < last) => {
                    (placed.from, placed.to, placed.first < limit && !is_kept(&placed))
                }
                _ => {
                    ordered.push(item);
                    continue;
                }
            },
        };
        if let Some(Found::Broken { to: end, missed: any, .. }) = ordered.last_mut() {
            (*end, *any) = (to, *any || missed);
        } else {
            ordered.push(Found::Broken { from, to, missed });
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What counts of batches of one record each, one behind the other; 0: broken bytes.
    fn counting(offsets: &[u64]) -> Vec<usize> {
        let placed = |(i, offset): (usize, &u64)| {
            let (from, to) = (i * 100, i * 100 + 100);
            (*offset > 0).then_some(Placed { from, to, first: *offset, last: *offset, records: 1 })
        };
        let all: Vec<Placed> = offsets.iter().enumerate().filter_map(placed).collect();
        let begin = Placed { from: 0, to: 0, first: 0, last: 0, records: 0 };
        rising(begin, &all).into_iter().map(|i| all[i].from / 100).collect()
    }

    #[test]
    fn what_rises_counts() {
        assert_eq!(counting(&[]), Vec::<usize>::new());
        assert_eq!(counting(&[1, 2, 5, 9]), [0, 1, 2, 3]);
        assert_eq!(counting(&[1, 2, 9, 4, 5, 9]), [0, 1, 3, 4, 5], "a later one in a wrong place");
        assert_eq!(counting(&[4, 5, 6, 5, 8]), [0, 1, 2, 4], "an earlier one");
        assert_eq!(counting(&[1, 3, 3, 4]), [0, 2, 3], "over the one before it");
        assert_eq!(counting(&[1, 2, 2, 4]), [0, 1, 3], "over the one behind it");
        assert_eq!(counting(&[1, 0, 5, 0, 5, 6]), [0, 4, 5], "among broken bytes");
        assert_eq!(counting(&[1, 2, 0, 2, 0, 5, 6]), [0, 1, 5, 6]);
        assert_eq!(counting(&[1, 8, 9, 10, 5, 6, 7, 8, 9, 10, 11]), [0, 4, 5, 6, 7, 8, 9, 10], "a block of them");
    }
}
