//! How long to wait before another try: at random between nothing and a time that doubles ("full jitter"), so that
//! the clients of a hub that comes back do not all come at once. It does not wait itself.

use std::time::Duration;

use crate::limits::{BACKOFF_MAX, BACKOFF_MIN};

#[derive(Debug, Default)]
pub(crate) struct Backoff {
    n_failures: u32,
}

impl Backoff {
    /// The time to wait after one more failure; never less than what the hub asked for.
    pub(crate) fn failed(&mut self, retry_after: Option<Duration>) -> Duration {
        let ceiling = BACKOFF_MIN.saturating_mul(1 << self.n_failures.min(16)).min(BACKOFF_MAX);
        self.n_failures = self.n_failures.saturating_add(1);
        retry_after.unwrap_or_default() + ceiling.mul_f64(random_fraction())
    }

    /// Something worked: the next failure is the first again.
    pub(crate) fn succeeded(&mut self) {
        self.n_failures = 0;
    }
}

/// A random number from 0 to 1. Without randomness every client waits the full time, which is slow but not wrong.
fn random_fraction() -> f64 {
    getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_bounded_and_begin_again() {
        let mut backoff = Backoff::default();
        assert!(backoff.failed(None) <= BACKOFF_MIN);
        for _ in 0..100 {
            assert!(backoff.failed(None) <= BACKOFF_MAX);
        }
        backoff.succeeded();
        assert!(backoff.failed(None) <= BACKOFF_MIN);
        assert!(backoff.failed(Some(Duration::from_secs(9))) >= Duration::from_secs(9));
    }
}
