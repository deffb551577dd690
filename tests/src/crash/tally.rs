//! What one reader has read, of each publisher.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Shared by a reader and the test.
#[derive(Debug)]
pub(crate) struct Tally {
    reader: &'static str,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: BTreeMap<usize, u64>,
    end: Option<BTreeMap<usize, u64>>,
}

impl Tally {
    pub(crate) fn new(reader: &'static str) -> Arc<Self> {
        Arc::new(Self { reader, state: Mutex::default() })
    }

    /// Takes a message, `<publisher> <number>`, which has to be that publisher's next one.
    pub(crate) fn take(&self, text: &str) {
        let (id, number) = text.split_once(' ').unwrap_or_else(|| panic!("not a message of ours: {text:?}"));
        let (id, number): (usize, u64) = (id.parse().unwrap(), number.parse().unwrap());
        let mut state = self.state.lock().unwrap();
        let next = state.next.entry(id).or_default();
        assert_eq!(number, *next, "by {}, of publisher {id}: read {number} where {next} comes next", self.reader);
        *next += 1;
    }

    /// From now on it is known how many there are.
    pub(crate) fn end_at(&self, acknowledged: &[u64]) {
        self.state.lock().unwrap().end = Some(acknowledged.iter().copied().enumerate().collect());
    }

    /// Whether everything has been read.
    pub(crate) fn is_complete(&self) -> bool {
        let state = self.state.lock().unwrap();
        state.end.as_ref().is_some_and(|end| *end == state.next)
    }

    pub(crate) fn count(&self) -> u64 {
        self.state.lock().unwrap().next.values().sum()
    }
}
