//! A number of bytes that all connections share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// What is in use, and how much may be.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    max: usize,
}

/// A share of a budget, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

/// Bytes that count for as long as somebody holds them.
struct Counted {
    bytes: Vec<u8>,
    _charge: Charge,
}

impl Budget {
    /// A budget of so many bytes.
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), max })
    }

    /// Whether more is in use than may be.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.max
    }

    /// Counts bytes, whether there is room for them or not.
    pub(crate) fn charge(self: &Arc<Self>, bytes: usize) -> Charge {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Charge { budget: Arc::clone(self), bytes }
    }

    /// Bytes that are counted once, however often they are shared, until the last holder drops them.
    pub(crate) fn count(self: &Arc<Self>, bytes: Vec<u8>) -> Bytes {
        let charge = self.charge(bytes.len());
        Bytes::from_owner(Counted { bytes, _charge: charge })
    }
}

impl Charge {
    /// Makes the share another size.
    pub(crate) fn resize(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.budget.used.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else {
            self.budget.used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }

    /// How large it is.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_bytes_count_once_and_until_the_last_is_gone() {
        let budget = Budget::new(10);
        let bytes = budget.count(vec![0; 11]);
        let part = bytes.slice(3..5);
        assert_eq!(budget.used.load(Ordering::Relaxed), 11);
        drop(bytes);
        assert!(budget.is_exceeded());
        drop(part);
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
        let mut charge = budget.charge(4);
        charge.resize(10);
        charge.resize(2);
        assert_eq!((charge.bytes(), budget.used.load(Ordering::Relaxed)), (2, 2));
    }
}
