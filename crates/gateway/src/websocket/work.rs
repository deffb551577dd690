//! What a connection has begun for its client and has not answered yet. Nothing is allocated while there is none.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use futures_util::stream::FuturesUnordered;

use crate::websocket::budget::Charge;

type Job<D> = Pin<Box<dyn Future<Output = Finished<D>> + Send>>;

struct Finished<D> {
    charge: Charge,
    counts: Counts,
    done: D,
}

/// Whether reading stops when there are too many of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counts {
    /// A command that the hub answers by itself.
    Yes,
    /// A request that waits for a responder, who may be this very client: reading has to go on.
    No,
}

/// Jobs under way; their first polls are in the order in which they were pushed.
pub(crate) struct Work<D> {
    jobs: Option<Box<FuturesUnordered<Job<D>>>>,
    n_counted: u32,
    n_uncounted: u32,
    bytes: usize,
}

impl<D: Send + 'static> Work<D> {
    pub(crate) fn new() -> Self {
        Self { jobs: None, n_counted: 0, n_uncounted: 0, bytes: 0 }
    }

    /// Begins a job; `charge` is what it holds of the client's bytes.
    pub(crate) fn push(&mut self, counts: Counts, charge: Charge, job: impl Future<Output = D> + Send + 'static) {
        match counts {
            Counts::Yes => self.n_counted += 1,
            Counts::No => self.n_uncounted += 1,
        }
        self.bytes += charge.bytes();
        let job = async move {
            let done = job.await;
            Finished { charge, counts, done }
        };
        self.jobs.get_or_insert_default().push(Box::pin(job));
    }

    /// Jobs that count.
    pub(crate) fn n_counted(&self) -> usize {
        self.n_counted as usize
    }

    /// Jobs that do not.
    pub(crate) fn n_uncounted(&self) -> usize {
        self.n_uncounted as usize
    }

    /// Bytes of the client that the jobs hold.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.is_none()
    }

    /// Gives everything up.
    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    /// The next result; pending also when there are no jobs.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<D> {
        let Some(jobs) = &mut self.jobs else { return Poll::Pending };
        match Pin::new(&mut **jobs).poll_next(cx) {
            Poll::Ready(Some(finished)) => {
                match finished.counts {
                    Counts::Yes => self.n_counted -= 1,
                    Counts::No => self.n_uncounted -= 1,
                }
                self.bytes -= finished.charge.bytes();
                if jobs.is_empty() {
                    self.jobs = None;
                }
                Poll::Ready(finished.done)
            }
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}
