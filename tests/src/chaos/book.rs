//! The workers' own store. A result goes in together with the offset of the message that it is of, as one transaction;
//! an offset that is there already was done before, and is not done again. That is the recipe for effectively once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Survives all workers.
#[derive(Debug, Clone)]
pub(crate) struct Book(Arc<Mutex<Pages>>);

#[derive(Debug, Default)]
struct Pages {
    by_offset: BTreeMap<String, String>,
    /// How often each text was done: once, if the recipe holds.
    by_text: BTreeMap<String, u32>,
}

impl Book {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// Does a message, unless it was done before.
    pub(crate) fn write(&self, offset: &str, text: &str) {
        let mut pages = self.0.lock().unwrap();
        if pages.by_offset.contains_key(offset) {
            return;
        }
        pages.by_offset.insert(offset.to_owned(), text.to_owned());
        let n = pages.by_text.entry(text.to_owned()).or_default();
        *n += 1;
        assert_eq!(*n, 1, "{text} was done twice: it is in the log twice");
    }

    pub(crate) fn n_done(&self) -> u64 {
        self.0.lock().unwrap().by_offset.len() as u64
    }

    pub(crate) fn is_done(&self, text: &str) -> bool {
        self.0.lock().unwrap().by_text.contains_key(text)
    }
}
