//! The queue in front of the commit thread, bounded by bytes.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use quintet_core::clock::Timestamp;
use quintet_core::engine::transaction::{Op, Outcome, Transaction};
use quintet_core::error::{Error, Kind, Result};
use tokio::sync::oneshot;

use crate::checkpoint::content::Captured;

/// A transaction that waits.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) transaction: Transaction,
    pub(crate) now: Timestamp,
    pub(crate) answer: oneshot::Sender<Result<Vec<Outcome>>>,
    bytes: usize,
}

/// What the commit thread is asked for between transactions.
#[derive(Debug)]
pub(crate) enum Work {
    /// Transactions have been handed out.
    Commit,
    /// The state as of the last commit, for a checkpoint.
    Capture(std::sync::mpsc::SyncSender<Captured>),
    Stop,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    bytes: usize,
    capture: Option<std::sync::mpsc::SyncSender<Captured>>,
    closed: bool,
    /// How many transactions wake the commit thread, if it sleeps.
    wakes_at: Option<usize>,
}

/// How long it pays to wait for a larger group.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Patience {
    /// Transactions that are likely to come at once: those whose publishers have just got their answers.
    pub(crate) jobs: usize,
    /// No longer than this.
    pub(crate) time: Duration,
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    bytes_max: usize,
}

/// Places in a segment have 32 bits.
const TRANSACTION_BYTES_MAX: usize = 1 << 30;
/// What a transaction counts for besides its payloads and headers.
const OP_BYTES: usize = 256;
/// What a message that a group claims or settles counts for.
const GROUP_ENTRY_BYTES: usize = 64;

impl Queue {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { state: Mutex::default(), filled: Condvar::new(), bytes_max }
    }

    /// Queues a transaction, or says why not.
    pub(crate) fn push(
        &self,
        transaction: Transaction,
        now: Timestamp,
        answer: oneshot::Sender<Result<Vec<Outcome>>>,
    ) -> Result<()> {
        let bytes = size_of(&transaction);
        if bytes > TRANSACTION_BYTES_MAX {
            return Err(Error::new(Kind::TooLarge, "more than 1 GiB at once cannot be written; publish it in several"));
        }
        let mut state = self.state.lock();
        if state.closed {
            return Err(Error::new(Kind::ShuttingDown, "the store is closing; try again when it has been restarted"));
        }
        // An empty queue takes anything, so that no transaction is too large for ever.
        if state.bytes + bytes > self.bytes_max && !state.jobs.is_empty() {
            return Err(Error::new(
                Kind::Overloaded,
                "more is waiting to be written than may wait; try again in a moment",
            ));
        }
        state.bytes += bytes;
        state.jobs.push_back(Job { transaction, now, answer, bytes });
        let wake = state.wakes_at.is_some_and(|n| state.jobs.len() >= n);
        if wake {
            state.wakes_at = None;
        }
        drop(state);
        if wake {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Asks for the state; false if nobody will answer.
    pub(crate) fn request_capture(&self, to: std::sync::mpsc::SyncSender<Captured>) -> bool {
        let mut state = self.state.lock();
        if state.closed {
            return false;
        }
        state.capture = Some(to);
        state.wakes_at = None;
        drop(state);
        self.filled.notify_one();
        true
    }

    /// Accepts nothing more; what is queued is still handed out.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.wakes_at = None;
        drop(state);
        self.filled.notify_one();
    }

    /// Waits for work: transactions of at most about so many bytes, at least one. They are put into `jobs`, which is
    /// empty; its memory is used for those that come next, so that it is not taken anew for every group.
    pub(crate) fn take(&self, jobs: &mut VecDeque<Job>, group_bytes_max: usize, patience: Patience) -> Work {
        let mut state = self.state.lock();
        let mut patient = patience.jobs > 1;
        loop {
            if let Some(to) = state.capture.take() {
                return Work::Capture(to);
            }
            if patient && !state.closed && state.jobs.len() < patience.jobs && state.bytes < group_bytes_max {
                patient = false;
                state.wakes_at = Some(patience.jobs);
                self.filled.wait_for(&mut state, patience.time);
                state.wakes_at = None;
                continue;
            }
            if !state.jobs.is_empty() {
                break;
            }
            if state.closed {
                return Work::Stop;
            }
            state.wakes_at = Some(1);
            self.filled.wait(&mut state);
        }
        if state.bytes <= group_bytes_max {
            state.bytes = 0;
            std::mem::swap(&mut state.jobs, jobs);
            return Work::Commit;
        }
        let mut bytes = 0;
        while let Some(job) = state.jobs.front() {
            if bytes + job.bytes > group_bytes_max && !jobs.is_empty() {
                break;
            }
            bytes += job.bytes;
            jobs.extend(state.jobs.pop_front());
        }
        state.bytes -= bytes;
        Work::Commit
    }

    /// Refuses whatever still waits, when nobody will write it.
    pub(crate) fn refuse_all(&self) {
        let jobs = {
            let mut state = self.state.lock();
            state.closed = true;
            state.bytes = 0;
            // Whoever waits for the state learns by this that it will not come.
            state.capture = None;
            std::mem::take(&mut state.jobs)
        };
        for job in jobs {
            let error = Error::new(Kind::ShuttingDown, "the store was closed before this was written");
            // The caller may have gone.
            drop(job.answer.send(Err(error)));
        }
    }
}

fn size_of(transaction: &Transaction) -> usize {
    let ops = transaction.ops.iter().map(|op| {
        let messages = match op {
            Op::Create(create) => &create.messages[..],
            Op::Append(append) => &append.messages[..],
            Op::StepGroup(change) => {
                return OP_BYTES + GROUP_ENTRY_BYTES * (change.step.held.len() + change.step.settled.len());
            }
            Op::Delete(_) | Op::PutGroup(_) | Op::DeleteGroup(..) => &[],
        };
        OP_BYTES
            + messages.iter().map(|message| OP_BYTES + message.payload.len() + message.headers.size()).sum::<usize>()
    });
    ops.sum()
}
