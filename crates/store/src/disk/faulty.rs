//! A disk in memory that fails on demand: it forgets what was not synced, tears writes at any byte, refuses writes and
//! syncs, flips bits, and cannot read sectors. Every choice comes from a seed.
//!
//! Names are made durable in order, as a journalling file system does it; written bytes in any order.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::contents::{Change, Contents, tear};
use crate::disk::random::Random;
use crate::disk::{Disk, File, Lock};

/// A disk in memory. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct FaultyDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// What a running process sees.
    names: BTreeMap<String, u64>,
    /// What is certain to be there after a crash.
    names_durable: BTreeMap<String, u64>,
    /// Changes of names since they were last synced.
    names_pending: Vec<BTreeMap<String, u64>>,
    files: BTreeMap<u64, Contents>,
    next_file: u64,
    locked: bool,
    faults: Faults,
    /// Counts every change that was asked for.
    n_changes: u64,
    /// Counts every read of what cannot be read.
    n_failed_reads: u64,
    crashed: bool,
}

#[derive(Debug, Default)]
struct Faults {
    writes_to_fail: u64,
    syncs_to_fail: u64,
    full_at_bytes: Option<u64>,
    crash_at_change: Option<u64>,
}

impl FaultyDisk {
    /// An empty disk without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next writes fail.
    pub fn fail_writes(&self, n: u64) {
        self.state.lock().faults.writes_to_fail = n;
    }

    /// The next syncs fail, and what they were to sync is lost at the next crash, although it can be read until then.
    pub fn fail_syncs(&self, n: u64) {
        self.state.lock().faults.syncs_to_fail = n;
    }

    /// All files together take no more than this; none: there is room.
    pub fn full_at(&self, bytes: Option<u64>) {
        self.state.lock().faults.full_at_bytes = bytes;
    }

    /// The change of this number is torn, and everything behind it fails.
    pub fn crash_at(&self, change: u64) {
        self.state.lock().faults.crash_at_change = Some(change);
    }

    /// How many changes were asked for so far.
    pub fn changes(&self) -> u64 {
        self.state.lock().n_changes
    }

    /// Whether the crash that was asked for has happened.
    pub fn has_crashed(&self) -> bool {
        self.state.lock().crashed
    }

    /// What is left after a power cut now: a new disk, without faults.
    pub fn after_crash(&self, random: &mut Random) -> Self {
        let state = self.state.lock();
        let n_names = random.below(state.names_pending.len() as u64 + 1) as usize;
        let names = match n_names {
            0 => state.names_durable.clone(),
            n => state.names_pending[n - 1].clone(),
        };
        let mut files = BTreeMap::new();
        for id in names.values() {
            let Some(contents) = state.files.get(id) else { continue };
            let mut durable = contents.durable.clone();
            for change in &contents.pending {
                tear(change, &mut durable, random);
            }
            let unreadable = contents.unreadable.clone();
            files.insert(*id, Contents { seen: durable.clone(), durable, pending: Vec::new(), unreadable });
        }
        let state =
            State { names_durable: names.clone(), names, files, next_file: state.next_file, ..State::default() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The names and lengths of all files.
    pub fn files(&self) -> Vec<(String, usize)> {
        let state = self.state.lock();
        let length = |id| state.files.get(id).map_or(0, |contents| contents.seen.len());
        state.names.iter().map(|(name, id)| (name.clone(), length(id))).collect()
    }

    /// Flips one bit, on the disk and in the cache.
    pub fn flip(&self, name: &str, byte: usize, bit: u8) {
        let mut state = self.state.lock();
        let Some(id) = state.names.get(name).copied() else { return };
        let Some(contents) = state.files.get_mut(&id) else { return };
        for bytes in [&mut contents.seen, &mut contents.durable] {
            if let Some(byte) = bytes.get_mut(byte) {
                *byte ^= 1 << (bit & 7);
            }
        }
    }

    /// Makes a part of a file unreadable, under whatever name it has later: reads that meet it fail with EIO, until it is
    /// written anew or cut off.
    pub fn make_unreadable(&self, name: &str, bytes: Range<usize>) {
        let mut state = self.state.lock();
        let Some(id) = state.names.get(name).copied() else { return };
        if let Some(contents) = state.files.get_mut(&id) {
            contents.unreadable.push(bytes);
        }
    }

    /// How many reads have met what cannot be read.
    pub fn failed_reads(&self) -> u64 {
        self.state.lock().n_failed_reads
    }

    /// A deep copy without faults but for what is unreadable, as if the process had ended and everything had reached the
    /// disk.
    pub fn copy(&self) -> Self {
        let state = self.state.lock();
        let files = state.files.iter().map(|(id, contents)| {
            let seen = contents.seen.clone();
            let unreadable = contents.unreadable.clone();
            (*id, Contents { durable: seen.clone(), seen, pending: Vec::new(), unreadable })
        });
        let state = State {
            names: state.names.clone(),
            names_durable: state.names.clone(),
            files: files.collect(),
            next_file: state.next_file,
            ..State::default()
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }
}

impl State {
    /// Counts a change, and says whether it is the one that is torn by the crash.
    fn change(&mut self) -> io::Result<bool> {
        if self.crashed {
            return Err(io::Error::other("the disk is gone"));
        }
        self.n_changes += 1;
        self.crashed = self.faults.crash_at_change.is_some_and(|at| self.n_changes >= at);
        Ok(self.crashed)
    }

    fn change_names(&mut self, change: impl FnOnce(&mut BTreeMap<String, u64>)) -> io::Result<()> {
        if self.change()? {
            return Err(io::Error::other("the disk is gone"));
        }
        change(&mut self.names);
        self.names_pending.push(self.names.clone());
        Ok(())
    }

    fn used(&self) -> u64 {
        self.names.values().filter_map(|id| self.files.get(id)).map(|contents| contents.seen.len() as u64).sum()
    }
}

impl Disk for FaultyDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state.lock().names.keys().filter(|name| !name.contains('/')).cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut state = self.state.lock();
        state.next_file += 1;
        let id = state.next_file;
        state.change_names(|names| {
            names.insert(name.to_owned(), id);
        })?;
        state.files.insert(id, Contents::default());
        Ok(Arc::new(FaultyFile { state: Arc::clone(&self.state), id }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let state = self.state.lock();
        let id = state.names.get(name).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(FaultyFile { state: Arc::clone(&self.state), id }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let id = state.names.get(from).copied().ok_or(io::ErrorKind::NotFound)?;
        state.change_names(|names| {
            names.remove(from);
            names.insert(to.to_owned(), id);
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_names(|names| {
            names.remove(name);
        })
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.change()? {
            return Err(io::Error::other("the disk is gone"));
        }
        state.names_durable = state.names.clone();
        state.names_pending.clear();
        Ok(())
    }

    fn lock(&self, _name: &str) -> io::Result<Option<Box<dyn Lock>>> {
        let mut state = self.state.lock();
        if state.locked {
            return Ok(None);
        }
        state.locked = true;
        Ok(Some(Box::new(FaultyLock(Arc::clone(&self.state)))))
    }
}

#[derive(Debug)]
struct FaultyLock(Arc<Mutex<State>>);

impl Lock for FaultyLock {}

impl Drop for FaultyLock {
    fn drop(&mut self) {
        self.0.lock().locked = false;
    }
}

/// What the system says of a bad sector.
const EIO: i32 = 5;

#[derive(Debug)]
struct FaultyFile {
    state: Arc<Mutex<State>>,
    id: u64,
}

impl FaultyFile {
    fn record(contents: &mut Contents, change: Change) {
        change.apply(&mut contents.seen);
        contents.pending.push(change);
    }
}

impl File for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        let contents = state.files.get(&self.id).ok_or(io::ErrorKind::NotFound)?;
        let from = usize::try_from(position).map_err(io::Error::other)?;
        if contents.is_unreadable(from, from + buffer.len()) {
            state.n_failed_reads += 1;
            return Err(io::Error::from_raw_os_error(EIO));
        }
        let bytes = contents.seen.get(from..from + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        let crash = state.change()?;
        let fails = state.faults.writes_to_fail > 0;
        state.faults.writes_to_fail = state.faults.writes_to_fail.saturating_sub(1);
        let room = state.faults.full_at_bytes.map(|full| full.saturating_sub(state.used()));
        let position = usize::try_from(position).map_err(io::Error::other)?;
        let contents = state.files.get_mut(&self.id).ok_or(io::ErrorKind::NotFound)?;
        let growth = (position + bytes.len()).saturating_sub(contents.seen.len()) as u64;
        let full = room.is_some_and(|room| growth > room);
        let kept = if fails || full || crash { bytes.len() / 2 } else { bytes.len() };
        let whole = if crash { bytes.len() } else { kept };
        contents.heal(position, position + whole);
        Self::record(contents, Change::Write { position, bytes: bytes[..whole].to_vec() });
        match (full, fails || crash) {
            (true, _) => Err(io::ErrorKind::StorageFull.into()),
            (_, true) => Err(io::Error::other("the write failed")),
            _ => Ok(()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.change()? {
            return Err(io::Error::other("the disk is gone"));
        }
        let fails = state.faults.syncs_to_fail > 0;
        state.faults.syncs_to_fail = state.faults.syncs_to_fail.saturating_sub(1);
        let contents = state.files.get_mut(&self.id).ok_or(io::ErrorKind::NotFound)?;
        let pending = std::mem::take(&mut contents.pending);
        if fails {
            return Err(io::Error::other("the sync failed"));
        }
        // What an earlier failed sync lost stays lost, though a later one succeeds: that is what Linux does.
        for change in pending {
            change.apply(&mut contents.durable);
        }
        Ok(())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let growth = length.saturating_sub(self.length()?);
        let room = {
            let state = self.state.lock();
            state.faults.full_at_bytes.map(|full| full.saturating_sub(state.used()))
        };
        if room.is_some_and(|room| growth > room) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.set_len(length)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        let crash = state.change()?;
        let length = usize::try_from(length).map_err(io::Error::other)?;
        let contents = state.files.get_mut(&self.id).ok_or(io::ErrorKind::NotFound)?;
        contents.heal(length, usize::MAX);
        Self::record(contents, Change::Length(length));
        if crash { Err(io::Error::other("the disk is gone")) } else { Ok(()) }
    }

    fn length(&self) -> io::Result<u64> {
        let state = self.state.lock();
        Ok(state.files.get(&self.id).map_or(0, |contents| contents.seen.len() as u64))
    }
}
