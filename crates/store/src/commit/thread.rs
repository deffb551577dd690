//! The one thread that writes. Everything that is acknowledged has gone through [`CommitThread::commit`].

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use quintet_core::cursor::Offset;
use quintet_core::engine::ledger::Ledger;
use quintet_core::engine::transaction::Record;
use quintet_core::error::{Error, Kind};

use crate::ballast::{is_full, with_room};
use crate::checkpoint::content::Captured;
use crate::commit::answers::{Answering, Answers};
use crate::commit::appender::{Appender, Written};
use crate::commit::group::{BatchContext, Change, Group, Lives};
use crate::commit::queue::{Job, Patience, Work};
use crate::index::Entry;
use crate::shared::Shared;

/// Bytes of one group; what waits beyond goes into the next one.
const GROUP_BYTES_MAX: usize = 4 << 20;
/// Memory that a group of a single large transaction leaves behind is given back beyond this.
const GROUP_BYTES_KEPT: usize = 8 << 20;
/// Nor is memory kept for more transactions than this.
const JOBS_KEPT: usize = 4_096;

/// What the thread owns.
#[derive(Debug)]
pub(crate) struct CommitThread {
    pub(crate) shared: Arc<Shared>,
    pub(crate) ledger: Ledger,
    pub(crate) appender: Appender,
    /// The last offset on disk.
    pub(crate) committed: Offset,
    pub(crate) group: Group,
    /// Whether the last group could not be written.
    pub(crate) refuses: bool,
}

/// Publishers that wait for each answer come back together. Without waiting for them a moment, the first of them would
/// get a group, and a sync, of its own. A lone publisher is never waited for.
fn patience_after(n_jobs: usize, took: Duration) -> Patience {
    Patience { jobs: n_jobs / 4 * 3, time: (took / 4).min(PATIENCE_MAX) }
}

/// However slow the disk, it is not waited longer than this.
const PATIENCE_MAX: Duration = Duration::from_micros(500);

/// However the thread ends, nobody is left waiting.
struct Refusal(Arc<Shared>);

impl Drop for Refusal {
    fn drop(&mut self) {
        self.0.queue.refuse_all();
    }
}

impl CommitThread {
    /// Works until the queue is closed and empty.
    pub(crate) fn run(mut self, answering: &Answering) {
        let _refusal = Refusal(Arc::clone(&self.shared));
        let mut patience = Patience::default();
        let mut jobs = VecDeque::new();
        loop {
            match self.shared.queue.take(&mut jobs, GROUP_BYTES_MAX, patience) {
                Work::Commit => {
                    let (n_jobs, begun) = (jobs.len(), Instant::now());
                    answering.give(self.commit(&mut jobs));
                    jobs.shrink_to(JOBS_KEPT);
                    patience = patience_after(n_jobs, begun.elapsed());
                }
                Work::Capture(to) => {
                    // Whoever asked may have given up.
                    drop(to.try_send(self.capture()));
                }
                Work::Stop => break,
            }
        }
        self.appender.release();
        let last = self.capture();
        *self.shared.last_state.lock() = Some(last);
    }

    /// Stages, writes and shows one group, and tells what to answer.
    fn commit(&mut self, jobs: &mut VecDeque<Job>) -> Answers {
        let mut answers = Answers::with_room_for(jobs.len());
        for job in jobs.drain(..) {
            let lives = Lives::before(&job.transaction, &self.ledger);
            let from = self.group.records.len();
            let answer = self.ledger.stage_behind(job.transaction, job.now, &mut self.group.records);
            if answer.is_ok() {
                let context =
                    BatchContext { salt: self.shared.head.salt, time: job.now, durable_through: self.committed };
                self.group.add(from, lives, &self.ledger, context);
            }
            answers.push(job.answer, answer);
        }
        if !self.group.is_empty() {
            match self.append() {
                Ok(written) => {
                    self.set_refusal(None);
                    self.shared.log_bytes.fetch_add(self.group.bytes.len() as u64, Ordering::Relaxed);
                    self.show(&written);
                    if written.new_segment {
                        self.shared.bell.ring();
                    }
                }
                Err(error) => {
                    self.ledger.rollback();
                    let error = write_error(error);
                    tracing::error!(%error, "a group could not be written; its transactions are refused");
                    self.set_refusal(Some(error.clone()));
                    // Also what was refused: it was judged by a state that has been taken back.
                    answers.refuse(&error);
                }
            }
            self.group.clear();
            self.group.bytes.shrink_to(GROUP_BYTES_KEPT);
        }
        self.ledger.commit();
        answers
    }

    /// Writes the group. Where there is no room, deletions are given some of what is kept for that: they make more.
    fn append(&mut self) -> io::Result<Written> {
        let Self { shared, appender, committed, group, .. } = self;
        let deletes = |record: &Record| matches!(record, Record::Deleted { .. } | Record::Hidden { .. });
        let floor = match group.records.iter().all(deletes) {
            true => shared.ballast_floor.load(Ordering::Relaxed),
            false => u64::MAX,
        };
        let bytes = group.bytes.len() as u64;
        with_room(&*shared.segments.disk, bytes, floor, || {
            let written = appender.append(&mut group.bytes, committed.0);
            shared.full.fetch_or(written.as_ref().is_err_and(is_full), Ordering::Relaxed);
            written
        })
    }

    /// Makes a group that is on disk visible.
    fn show(&mut self, written: &Written) {
        let group = &self.group;
        if let Some(last) = group.records.last() {
            self.committed = last.offset();
        }
        let base = written.position as u32;
        if let Some(index) = &mut *written.segment.memory.write() {
            for (first, at) in &group.batches {
                index.add_batch(*first, base + at);
            }
            index.extend(
                group
                    .entries
                    .iter()
                    .map(|(topic, entry)| (*topic, Entry { position: base + entry.position, ..*entry })),
            );
        }
        {
            let mut topics = self.shared.topics.lock();
            for change in &group.changes {
                match change {
                    Change::Messages(new) => topics.add_messages(new),
                    Change::Record(topic, at) => topics.apply(*topic, &group.records[*at]),
                }
            }
        }
        self.note_groups();
        if !self.group.copies.is_empty() {
            self.shared.copies.add(&self.group.copies, self.committed.0);
        }
        self.shared.tell(|observer| observer.committed(&group.records, self.committed));
    }

    /// Notes whether groups are written, which is asked for seldom and changes seldom.
    fn set_refusal(&mut self, refusal: Option<Error>) {
        if self.refuses || refusal.is_some() {
            self.refuses = refusal.is_some();
            *self.shared.refusal.lock() = refusal;
        }
    }

    /// Retention has to know what groups have settled.
    fn note_groups(&self) {
        for name in &self.group.reserved {
            self.shared.settled.note(name, self.ledger.group(name).map(|(_, group)| group));
        }
    }

    /// The state as of the last commit.
    pub(crate) fn capture(&self) -> Captured {
        let topics = self.shared.topics.lock();
        let log_bytes = self.shared.log_bytes.load(Ordering::Relaxed);
        Captured::new(self.ledger.snapshot(), &topics, self.committed.0, log_bytes)
    }
}

/// What to tell those whose transactions were not written.
fn write_error(error: io::Error) -> Error {
    if is_full(&error) {
        let detail = "the log's disk is full, so nothing is written; reading goes on; make room and try again";
        return Error::with_source(Kind::StorageFull, detail, error);
    }
    let detail = format!("the log cannot be written ({error}), so nothing is acknowledged; reading goes on");
    Error::with_source(Kind::StorageUnavailable, detail, error)
}
