//! The one thread that tidies up. Nothing waits for it, and a commit waits only while the state for a checkpoint is
//! copied.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::{Condvar, Mutex};

use crate::ballast::{keep, with_room};
use crate::checkpoint::content::Captured;
use crate::checkpoint::files;
use crate::copies::{CopyWriter, remove_old};
use crate::shared::Shared;
use crate::upkeep::reclaim::{Persisted, Reclaim};
use crate::upkeep::retention::trim_all;
use crate::upkeep::trouble::Trouble;

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
    pub(crate) copies: CopyWriter,
    /// Room that is kept for checkpoints on a full disk, if they do not need more.
    pub(crate) ballast_bytes: u64,
    pub(crate) reclaim: Reclaim,
    /// What failed the last time.
    pub(crate) troubles: Troubles,
}

/// What may fail again and again while the disk is full.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    damage: Trouble,
    indexes: Trouble,
    trimming: Trouble,
    checkpoint: Trouble,
    ballast: Trouble,
}

impl Troubles {
    fn each(&mut self, change: impl FnMut(&mut Trouble)) {
        [&mut self.damage, &mut self.indexes, &mut self.checkpoint, &mut self.ballast].into_iter().for_each(change);
    }
}

impl Upkeep {
    /// Works until the bell says stop, and hands itself back for what is left to do then.
    pub(crate) fn run(mut self) -> Self {
        while self.shared.bell.wait() {
            self.turn();
            self.ask_the_disk();
        }
        self
    }

    /// What fails stops nothing behind it: that may make the room for it.
    fn turn(&mut self) {
        self.reclaim.turn(&self.shared);
        self.troubles.each(Trouble::turn);
        self.write_damage();
        self.write_copies();
        self.write_indexes();
        let now = self.shared.now.load(Ordering::Relaxed);
        if now > 0 && !self.trim(now) {
            return;
        }
        self.reclaim.count(&self.shared);
        let reclaimable = self.reclaim.reclaimable(&self.shared);
        if self.is_checkpoint_due(reclaimable) && !self.troubles.checkpoint.is_waiting() {
            let written = self.checkpoint_now();
            self.troubles.checkpoint.note("writing a checkpoint", &written);
            if matches!(written, Ok(false)) {
                return;
            }
        }
        if let Some(older) = self.older.clone().filter(|_| reclaimable > 0)
            && self.reclaim.give_back(&self.shared, &older, self.segment_bytes)
        {
            self.shared.full.store(false, Ordering::Relaxed);
            self.reclaim.hope();
            self.troubles.each(Trouble::hope);
        }
        self.keep_ballast();
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
            self.shared.full.store(false, Ordering::Relaxed);
            tracing::info!("the disk takes something again");
        }
    }

    fn write_copies(&mut self) {
        self.copies.write(&*self.shared.segments.disk, self.shared.head.salt, &self.shared.copies);
    }

    /// Trims all topics; false if the store is closing.
    fn trim(&mut self, now: u64) -> bool {
        loop {
            let (more, trimmed) = trim_all(&self.shared, now);
            self.troubles.trimming.note("trimming topics", &trimmed);
            if !more {
                return true;
            }
            if self.shared.bell.is_stopped() {
                return false;
            }
        }
    }

    /// What was found damaged and could not be noted down then, on a full disk, say.
    fn write_damage(&mut self) {
        if !self.troubles.damage.is_waiting() {
            let written = with_room(&*self.shared.segments.disk, 0, 0, || self.shared.segments.write_damage());
            self.troubles.damage.note("noting down what is damaged", &written);
        }
    }

    /// Room for two checkpoints, since space is given back behind the second one, and some for deletions. It is made when
    /// everything else is done, so that it takes room from nothing that is needed now.
    fn keep_ballast(&mut self) {
        if !self.troubles.ballast.is_waiting() && self.ballast_bytes > 0 {
            let for_deletions = self.ballast_bytes / 2;
            let floor = (2 * self.checkpoint_bytes).max(self.ballast_bytes - for_deletions);
            self.shared.ballast_floor.store(floor, Ordering::Relaxed);
            let bytes = floor + for_deletions;
            let kept = keep(&*self.shared.segments.disk, bytes);
            self.troubles.ballast.note("keeping room for checkpoints", &kept);
        }
    }

    /// Indexes of segments that are full go from memory into files. One that cannot be written stays in memory.
    fn write_indexes(&mut self) {
        let segments = self.shared.segments.all();
        let mut full = segments.iter().filter(|segment| segment.is_sealed() && !segment.is_indexed()).peekable();
        if self.troubles.indexes.is_waiting() || full.peek().is_none() {
            return;
        }
        let written = full.try_for_each(|segment| self.shared.segments.write_index(segment));
        self.troubles.indexes.note("writing an index", &written);
    }

    /// When the log behind it has become long, or when space waits for it.
    fn is_checkpoint_due(&self, reclaimable: u64) -> bool {
        let log_bytes = self.shared.log_bytes.load(Ordering::Relaxed) - self.log_bytes;
        // On a full disk, anything is.
        let worthwhile = if self.shared.full.load(Ordering::Relaxed) { 0 } else { self.segment_bytes / 2 };
        log_bytes > self.checkpoint_log_bytes.max(self.checkpoint_bytes)
            || reclaimable > worthwhile.max(self.checkpoint_bytes)
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
        self.troubles = Troubles::default();
        self.write_damage();
        self.write_copies();
        self.write_indexes();
        let unchanged = self.newest.as_ref().is_some_and(|newest| {
            newest.committed == last.committed && *newest.kept == last.kept && self.log_bytes == last.log_bytes
        });
        if unchanged { Ok(()) } else { self.write_checkpoint(last) }
    }
}
