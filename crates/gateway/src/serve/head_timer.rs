//! How long an HTTP/1.1 connection may take for a request's head, and how long it may be idle between requests.
//!
//! hyper has one timeout for both. A head that trickles in should be cut off soon, but a client that keeps a connection
//! for later should not find it closed in the very moment it uses it again. So hyper gets a timer of ours: it looks at
//! its timer whenever bytes have come that do not make a head yet, and that is how the two are told apart.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use tokio::time;

/// What hyper looks at within this time belongs to the end of the last request.
const SETTLING: Duration = Duration::from_millis(50);

/// The timer of one connection.
#[derive(Debug)]
pub(crate) struct HeadTimer {
    head: Duration,
    idle: Duration,
    /// The first head is awaited only once bytes of it are there.
    first: AtomicBool,
}

impl HeadTimer {
    pub(crate) fn new(head: Duration, idle: Duration) -> Self {
        Self { head, idle: idle.max(head), first: AtomicBool::new(true) }
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    /// hyper asks for `head` from now. Of an idle connection that is the time from its first byte.
    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let deadline = time::Instant::from_std(deadline);
        let now = time::Instant::now();
        let idle = !self.first.swap(false, Ordering::Relaxed);
        let until = if idle { now + self.idle } else { deadline };
        Box::pin(HeadSleep { since: now, idle, head: self.head, sleep: Box::pin(time::sleep_until(until)) })
    }

    fn now(&self) -> Instant {
        time::Instant::now().into_std()
    }
}

struct HeadSleep {
    since: time::Instant,
    idle: bool,
    head: Duration,
    sleep: Pin<Box<time::Sleep>>,
}

impl Sleep for HeadSleep {}

impl Future for HeadSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let now = time::Instant::now();
        if self.idle && now > self.since + SETTLING && now < self.sleep.deadline() {
            // Something has come, and it is no whole head.
            self.idle = false;
            let until = now + self.head;
            if until < self.sleep.deadline() {
                self.sleep.as_mut().reset(until);
            }
        }
        self.sleep.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_head_is_due_soon_and_later_ones_when_they_have_begun() {
        let timer = HeadTimer::new(Duration::from_secs(10), Duration::from_secs(75));
        let start = time::Instant::now();
        timer.sleep(Duration::from_secs(10)).await;
        assert_eq!(start.elapsed().as_secs(), 10);
        let start = time::Instant::now();
        timer.sleep(Duration::from_secs(10)).await;
        assert_eq!(start.elapsed().as_secs(), 75);
        let start = time::Instant::now();
        let mut sleep = timer.sleep(Duration::from_secs(10));
        assert!(time::timeout(Duration::ZERO, &mut sleep).await.is_err());
        time::advance(Duration::from_secs(30)).await;
        sleep.await;
        assert_eq!(start.elapsed().as_secs(), 40);
    }
}
