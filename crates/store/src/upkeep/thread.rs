//! The one thread that tidies up. Nothing waits for it, and a commit waits only while the state for a checkpoint is
//! copied.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::{Condvar, Mutex};

use crate::checkpoint::content::Captured;
use crate::checkpoint::files;
use crate::copies::{CopyWriter, remove_old};
use crate::shared::Shared;
use crate::upkeep::reclaim::{Persisted, count, give_back, reclaimable};
use crate::upkeep::retention::trim_all;

/// Written and removed to see whether the disk takes anything; opening removes one that was left.
const PROBE_FILE: &str = "probe.tmp";
const PROBE_BYTES: usize = 64 << 10;

/// Wakes the thread.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    state: Mutex<Rung>,
    rung: Condvar,
}

#[derive(Debug, Default)]
struct Rung {
    work: bool,
    stop: bool,
}

impl Bell {
    /// There may be something to do.
    pub(crate) fn ring(&self) {
        self.state.lock().work = true;
        self.rung.notify_one();
    }

    /// The thread is to end.
    pub(crate) fn stop(&self) {
        self.state.lock().stop = true;
        self.rung.notify_one();
    }

    /// Waits for a ring; false if the thread is to end.
    fn wait(&self) -> bool {
        let mut state = self.state.lock();
        while !state.work && !state.stop {
            self.rung.wait(&mut state);
        }
        state.work = false;
        !state.stop
    }

    fn is_stopped(&self) -> bool {
        self.state.lock().stop
    }
}

/// What the thread knows.
#[derive(Debug)]
pub(crate) struct Upkeep {
    pub(crate) shared: Arc<Shared>,
    /// The number of the newest checkpoint, and its size.
    pub(crate) number: u64,
    pub(crate) checkpoint_bytes: u64,
    /// What the newest checkpoint holds, and the one before it.
    pub(crate) newest: Option<Persisted>,
    pub(crate) older: Option<Persisted>,
    /// What [`Shared::log_bytes`] was at the newest checkpoint.
    pub(crate) log_bytes: u64,
    pub(crate) segment_bytes: u64,
    /// Bytes of log between checkpoints, if the checkpoint itself is not larger.
    pub(crate) checkpoint_log_bytes: u64,
    /// Whether an index could not be written the last time.
    pub(crate) index_failed: bool,
    pub(crate) copies: CopyWriter,
}

impl Upkeep {
    /// Works until the bell says stop, and hands itself back for what is left to do then.
    pub(crate) fn run(mut self) -> Self {
        while self.shared.bell.wait() {
            if let Err(error) = self.turn() {
                tracing::warn!(%error, "upkeep failed and is tried again later");
            }
        }
        self
    }

    fn turn(&mut self) -> io::Result<()> {
        self.ask_the_disk();
        self.write_copies();
        self.write_indexes();
        let now = self.shared.now.load(Ordering::Relaxed);
        while now > 0 && trim_all(&self.shared, now) {
            if self.shared.bell.is_stopped() {
                return Ok(());
            }
        }
        count(&self.shared)?;
        let reclaimable = reclaimable(&self.shared);
        if self.is_checkpoint_due(reclaimable) && !self.checkpoint_now()? {
            return Ok(());
        }
        if let Some(older) = self.older.clone().filter(|_| reclaimable > 0) {
            give_back(&self.shared, &older, self.segment_bytes)?;
        }
        Ok(())
    }

    /// Where the last group could not be written, somebody waits to hear that the disk takes something again, and may
    /// publish nothing before.
    fn ask_the_disk(&self) {
        if self.shared.refusal.lock().is_none() {
            return;
        }
        let disk = &*self.shared.segments.disk;
        let asked =
            disk.create(PROBE_FILE).and_then(|file| file.write_at(&[0; PROBE_BYTES], 0).and_then(|()| file.sync()));
        if disk.remove(PROBE_FILE).and(asked).is_ok() {
            *self.shared.refusal.lock() = None;
            tracing::info!("the disk takes something again");
        }
    }

    fn write_copies(&mut self) {
        self.copies.write(&*self.shared.segments.disk, self.shared.head.salt, &self.shared.copies);
    }

    /// Indexes of segments that are full go from memory into files. One that cannot be written, on a full disk, say,
    /// stays in memory and stops nothing: what is done behind it may make the room for it.
    fn write_indexes(&mut self) {
        let mut failed = None;
        for segment in self.shared.segments.all().iter() {
            if segment.is_sealed()
                && !segment.is_indexed()
                && let Err(error) = self.shared.segments.write_index(segment)
            {
                failed = Some(error);
            }
        }
        match &failed {
            Some(error) if !self.index_failed => {
                tracing::warn!(%error, "an index cannot be written; it stays in memory")
            }
            None if self.index_failed => tracing::info!("the indexes are written"),
            _ => {}
        }
        self.index_failed = failed.is_some();
    }

    /// When the log behind it has become long, or when space waits for it.
    fn is_checkpoint_due(&self, reclaimable: u64) -> bool {
        let log_bytes = self.shared.log_bytes.load(Ordering::Relaxed) - self.log_bytes;
        log_bytes > self.checkpoint_log_bytes.max(self.checkpoint_bytes)
            || reclaimable > (self.segment_bytes / 2).max(self.checkpoint_bytes)
    }

    /// Asks for the state and writes it; false if the store is closing.
    fn checkpoint_now(&mut self) -> io::Result<bool> {
        let (to, from) = std::sync::mpsc::sync_channel(1);
        if !self.shared.queue.request_capture(to) {
            return Ok(false);
        }
        match from.recv() {
            Ok(state) => self.write_checkpoint(&state).map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// Writes a checkpoint.
    pub(crate) fn write_checkpoint(&mut self, state: &Captured) -> io::Result<()> {
        let number = self.number + 1;
        let bytes = files::store(&*self.shared.segments.disk, self.shared.head, number, state)?;
        tracing::debug!(number, bytes, committed = state.committed, "a checkpoint is written");
        self.copies.begin(number);
        self.number = number;
        self.checkpoint_bytes = bytes;
        self.log_bytes = state.log_bytes;
        let newest = Persisted::new(state);
        self.older = self.newest.replace(newest);
        remove_old(&*self.shared.segments.disk)
    }

    /// What is left to do when the store is closed.
    pub(crate) fn finish(mut self, last: &Captured) -> io::Result<()> {
        self.write_copies();
        self.write_indexes();
        let unchanged = self.newest.as_ref().is_some_and(|newest| {
            newest.committed == last.committed && *newest.kept == last.kept && self.log_bytes == last.log_bytes
        });
        if unchanged { Ok(()) } else { self.write_checkpoint(last) }
    }
}
