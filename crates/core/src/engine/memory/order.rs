//! The log's order over all topics, for readers of filters that lag: which topic each record was of.
//!
//! What retention and deletions take away is only forgotten here later, a little at every record; readers pass it by.

use std::collections::{BTreeSet, VecDeque};

use crate::cursor::Offset;
use crate::name::TopicName;

/// Records that are passed by before forgetting them is worth the work.
const DEAD_MIN: usize = 1_024;

/// Messages and closures in log order, and where topics were trimmed.
#[derive(Debug, Default)]
pub(super) struct Order {
    records: VecDeque<(Offset, TopicName)>,
    trims: BTreeSet<(Offset, TopicName)>,
}

impl Order {
    pub(super) fn push(&mut self, offset: Offset, topic: &TopicName) {
        self.records.push_back((offset, topic.clone()));
    }

    /// Forgets what is no longer there, when it is more than half; `n_live` is how much is.
    pub(super) fn forget_dead(&mut self, n_live: usize, mut is_live: impl FnMut(Offset, &TopicName) -> bool) {
        // The oldest go first, as a rule.
        for _ in 0..2 {
            if self.records.front().is_some_and(|(offset, topic)| !is_live(*offset, topic)) {
                self.records.pop_front();
            }
        }
        if self.records.len() > 2 * n_live + DEAD_MIN {
            self.records.retain(|(offset, topic)| is_live(*offset, topic));
        }
    }

    /// Records behind an offset, in order.
    pub(super) fn after(&self, after: Offset) -> impl Iterator<Item = (Offset, &TopicName)> {
        let first = self.records.partition_point(|(offset, _)| *offset <= after);
        self.records.range(first..).map(|(offset, topic)| (*offset, topic))
    }

    /// Notes that a topic was trimmed further than before, or (by zero) that it is gone.
    pub(super) fn trim(&mut self, topic: &TopicName, before: Offset, through: Offset) {
        self.trims.remove(&(before, topic.clone()));
        if through > Offset::ZERO {
            self.trims.insert((through, topic.clone()));
        }
    }

    /// Topics of which something behind an offset was trimmed, and up to where.
    pub(super) fn trimmed_behind(&self, after: Offset) -> impl Iterator<Item = (Offset, &TopicName)> {
        self.trims.iter().rev().take_while(move |(through, _)| *through > after).map(|(through, name)| (*through, name))
    }
}
