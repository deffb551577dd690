//! Unpredictable numbers, handed into the core so that tests own them.
//!
//! They name what only those may use who were told: requests in a responder's hands, and reply topics.

use std::fmt::Debug;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// Draws unpredictable numbers.
pub trait Randomness: Send + Sync + Debug + 'static {
    /// 128 bits that nobody can guess and that never come twice.
    fn draw(&self) -> u128;
}

/// What the standard library offers: a keyed pseudo-random function (SipHash) over a counter, its key drawn from the
/// operating system. A program that has the operating system's generator at hand should hand that in instead.
#[derive(Debug, Default)]
pub struct SystemRandomness {
    key: RandomState,
    counter: AtomicU64,
}

impl Randomness for SystemRandomness {
    fn draw(&self) -> u128 {
        let n = self.counter.fetch_add(1, Ordering::Relaxed);
        let half = |side: u8| u128::from(self.key.hash_one((n, side)));
        half(0) << 64 | half(1)
    }
}

/// The same numbers for the same seed: for tests, and nowhere else.
#[derive(Debug, Default)]
pub struct SeededRandomness(AtomicU64);

impl SeededRandomness {
    /// A sequence that the seed determines.
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// One step of SplitMix64.
    fn step(&self) -> u64 {
        const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(STRIDE, Ordering::Relaxed).wrapping_add(STRIDE);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Randomness for SeededRandomness {
    fn draw(&self) -> u128 {
        u128::from(self.step()) << 64 | u128::from(self.step())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_differ_and_seeds_repeat() {
        let system = SystemRandomness::default();
        assert_ne!(system.draw(), system.draw());
        assert_ne!(system.draw(), SystemRandomness::default().draw());
        assert_eq!(SeededRandomness::new(7).draw(), SeededRandomness::new(7).draw());
        assert_ne!(SeededRandomness::new(7).draw(), SeededRandomness::new(8).draw());
    }
}
