//! Waiting for a condition, never for a time. A deadline here is only how long a broken hub may hang a test.

use std::future::Future;
use std::time::Duration;

/// How long anything may take that should take no time. Generous: two cores may be shared with a compiler.
pub const SOON: Duration = Duration::from_secs(60);

/// How long a load may take.
pub const LATER: Duration = Duration::from_secs(240);

/// The future's value, or a panic that names what was awaited.
#[track_caller]
pub fn within<F: Future>(limit: Duration, what: &str, future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(limit, future).await {
            Ok(value) => value,
            Err(_) => panic!("{what}: not within {limit:?} (awaited at {caller})"),
        }
    }
}

/// Asks until the answer is there, or panics after the limit.
#[track_caller]
pub fn until<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> impl Future<Output = T> {
    within(limit, what, async move {
        loop {
            if let Some(value) = ask() {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
}
