//! Delivery receipts: how many a publish finds at the moment when it becomes visible.
//!
//! Who publishes learns of its commit a little later, when those who waited may have got the message and gone. So the
//! count is taken where messages become visible, and only for topics to which somebody publishes who asks.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::cursor::Position;
use crate::name::TopicName;

/// Counts of one topic that are kept for publishers that have not come for theirs. Whoever comes later than that gets
/// the next one that is left.
const COUNTS_MAX: usize = 64;

/// Who is there to see a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Readers that waited for the topic or were pushed to, by its name or by a filter that matches it. One that
    /// follows it twice counts twice.
    pub readers: usize,
    /// Consumer groups that will hand it out.
    pub groups: usize,
}

/// The publishes under way that ask for a receipt.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    n_wanted: AtomicUsize,
    topics: Mutex<HashMap<TopicName, Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    n_wanted: usize,
    /// In log order, each with the end of what became visible then.
    taken: VecDeque<(Position, Receipt)>,
}

impl Receipts {
    /// Has counts taken of what becomes visible in a topic until the answer is dropped.
    pub(crate) fn want(self: &Arc<Self>, topic: &TopicName) -> Wanted {
        self.topics.lock().entry(topic.clone()).or_default().n_wanted += 1;
        self.n_wanted.fetch_add(1, Ordering::SeqCst);
        Wanted { receipts: Arc::clone(self), topic: topic.clone() }
    }

    /// Something of a topic is about to become visible, up to this position: counts, if somebody wants to know.
    pub(crate) fn take(&self, topic: &TopicName, through: Position, count: impl FnOnce() -> Receipt) {
        if self.n_wanted.load(Ordering::SeqCst) == 0 {
            return;
        }
        if let Some(counts) = self.topics.lock().get_mut(topic) {
            counts.taken.push_back((through, count()));
            if counts.taken.len() > COUNTS_MAX {
                counts.taken.pop_front();
            }
        }
    }
}

/// A publish that asks for a receipt.
#[derive(Debug)]
pub(crate) struct Wanted {
    receipts: Arc<Receipts>,
    topic: TopicName,
}

impl Wanted {
    /// What was counted when the message at this position became visible.
    pub(crate) fn at(&self, position: Position) -> Option<Receipt> {
        let topics = self.receipts.topics.lock();
        let mut taken = topics.get(&self.topic)?.taken.iter();
        let found = taken.find(|(through, _)| through.log == position.log && through.offset >= position.offset);
        found.map(|(_, receipt)| *receipt)
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.receipts.n_wanted.fetch_sub(1, Ordering::SeqCst);
        let mut topics = self.receipts.topics.lock();
        let Some(counts) = topics.get_mut(&self.topic) else { return };
        counts.n_wanted -= 1;
        if counts.n_wanted == 0 {
            topics.remove(&self.topic);
        }
    }
}
