//! The store as an [`Engine`].

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use quintet_core::clock::Timestamp;
use quintet_core::cursor::{LogId, Offset};
use quintet_core::engine::transaction::{Outcome, TopicState, Transaction};
use quintet_core::engine::{Durability, Engine, Observer, Pending, ReadPage, ReadRequest, ScanPage, ScanRequest};
use quintet_core::error::{Error, Kind, Result};
use quintet_core::limits::Limits;
use quintet_core::name::TopicName;
use tokio::sync::oneshot;

use crate::commit::answers::Answering;
use crate::commit::appender::Appender;
use crate::commit::group::Group;
use crate::commit::queue::Queue;
use crate::commit::thread::CommitThread;
use crate::disk::real::RealDisk;
use crate::disk::{Disk, Lock};
use crate::format::header::LOCK_FILE;
use crate::read::pool::ReadPool;
use crate::read::{scan, topic};
use crate::recovery::layout::open_error;
use crate::recovery::open::open_log;
use crate::segments::set::SegmentSet;
use crate::settled::Settled;
use crate::shared::Shared;
use crate::upkeep::reclaim::Reclaim;
use crate::upkeep::thread::{Bell, Troubles, Upkeep};

/// How a store is set up.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The folder; it is created if it does not exist.
    pub dir: PathBuf,
    /// The bounds of the hub.
    pub limits: Limits,
    /// Bytes of a segment before the next one is begun; a single larger transaction goes alone. Default 64 MiB.
    pub segment_bytes: u64,
    /// Bytes of zeros that are written ahead into the newest segment, so that small groups find their place made and cost
    /// the disk less. Default 1 MiB.
    pub reserve_bytes: u64,
    /// Bytes of log between checkpoints, unless the checkpoint itself is larger. Default 256 MiB.
    pub checkpoint_log_bytes: u64,
    /// Bytes that are kept for the checkpoints without which a full disk gets no room again, unless two checkpoints take
    /// more. Default 1 MiB; 0 keeps none.
    pub ballast_bytes: u64,
    /// Bytes of transactions that may wait to be written. Default 64 MiB.
    pub queue_bytes: usize,
    /// Threads that read. Default 4.
    pub read_threads: usize,
}

impl StoreConfig {
    /// The defaults, in this folder.
    pub fn new(dir: impl AsRef<Path>) -> Self {
        Self {
            dir: dir.as_ref().to_owned(),
            limits: Limits::default(),
            segment_bytes: 64 << 20,
            reserve_bytes: 1 << 20,
            checkpoint_log_bytes: 256 << 20,
            ballast_bytes: 1 << 20,
            queue_bytes: 64 << 20,
            read_threads: 4,
        }
    }
}

/// Positions in a segment are 32 bits wide, and a transaction may go beyond the segment's size.
const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// A durable log in a folder.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    pool: ReadPool,
    stage: Mutex<Stage>,
}

/// Where the store is in its life.
#[derive(Debug)]
enum Stage {
    /// Read, but nobody observes it yet.
    Opened {
        commit: Box<CommitThread>,
        upkeep: Box<Upkeep>,
        lock: Box<dyn Lock>,
    },
    Running {
        commit: JoinHandle<()>,
        upkeep: JoinHandle<Upkeep>,
        lock: Box<dyn Lock>,
    },
    Closed,
}

impl Store {
    /// Opens the store in a folder, or makes an empty one.
    ///
    /// Within a runtime of several threads, that runtime gives the answers; its I/O has to be enabled (`enable_all`).
    pub fn open(config: &StoreConfig) -> Result<Arc<Self>> {
        let disk = RealDisk::open(&config.dir).map_err(open_error)?;
        Self::open_on(Arc::new(disk), config)
    }

    /// Opens the store on a disk.
    pub fn open_on(disk: Arc<dyn Disk>, config: &StoreConfig) -> Result<Arc<Self>> {
        let lock = disk.lock(LOCK_FILE).map_err(open_error)?.ok_or_else(|| {
            let detail = format!("another process uses the store in {}; stop it first", config.dir.display());
            Error::new(Kind::StorageUnavailable, detail)
        })?;
        let segment_bytes = config.segment_bytes.min(SEGMENT_BYTES_MAX);
        let opened = open_log(&*disk, config.limits.clone())?;
        let newest = opened.segments.last().cloned();
        let newest = newest.ok_or_else(|| Error::new(Kind::Internal, "an opened log has no segment"))?;
        let segments = Arc::new(SegmentSet::new(disk, opened.head.salt, opened.segments, opened.damaged));
        let appender =
            Appender::resume(Arc::clone(&segments), opened.head, segment_bytes, config.reserve_bytes, newest)
                .map_err(open_error)?;
        let (copies, copy_writer) = opened.replay.copies.into_writer(opened.checkpoint_number);
        let shared = Arc::new(Shared {
            head: opened.head,
            segments,
            topics: Mutex::new(opened.replay.topics),
            settled: Settled::default(),
            queue: Queue::new(config.queue_bytes),
            copies,
            observer: Mutex::new(None),
            refusal: Mutex::new(None),
            last_state: Mutex::new(None),
            now: AtomicU64::new(0),
            log_bytes: AtomicU64::new(opened.replayed_bytes),
            full: AtomicBool::new(false),
            ballast_floor: AtomicU64::new(u64::MAX),
            bell: Bell::default(),
        });
        let commit = CommitThread {
            shared: Arc::clone(&shared),
            ledger: opened.replay.ledger,
            appender,
            committed: Offset(opened.replay.committed),
            group: Group::default(),
            refuses: false,
        };
        let upkeep = Upkeep {
            shared: Arc::clone(&shared),
            number: opened.checkpoint_number,
            checkpoint_bytes: opened.checkpoint_bytes,
            newest: opened.checkpoint,
            older: None,
            log_bytes: 0,
            segment_bytes,
            checkpoint_log_bytes: config.checkpoint_log_bytes,
            copies: copy_writer,
            ballast_bytes: config.ballast_bytes,
            reclaim: Reclaim::default(),
            troubles: Troubles::default(),
        };
        let pool = ReadPool::start(config.read_threads.max(1)).map_err(open_error)?;
        let stage = Stage::Opened { commit: Box::new(commit), upkeep: Box::new(upkeep), lock };
        Ok(Arc::new(Self { shared, pool, stage: Mutex::new(stage) }))
    }

    /// Tells the observer of everything that was there when the store was opened.
    fn restore(&self, commit: &CommitThread, observer: &dyn Observer) {
        let topics = self.shared.topics.lock();
        for (name, topic) in commit.ledger.topics() {
            let Some(entry) = topics.get(topic.created.0) else { continue };
            let state = TopicState {
                config: Arc::clone(&topic.config),
                created: topic.created,
                created_at: topic.created_at,
                deleted_at: topic.deleted_at,
                last: topic.last,
                trimmed_through: Offset(entry.trimmed_through),
                closed: topic.closed.is_some(),
                hidden: topic.hidden,
                messages: entry.messages,
                bytes: entry.bytes,
            };
            observer.restored(name, &state);
        }
        for (name, created, group) in commit.ledger.groups() {
            self.shared.settled.note(name, Some(group));
            observer.group_restored(name, created, group);
        }
        observer.committed(&[], commit.committed);
    }

    fn run<T: Send + 'static>(&self, work: impl FnOnce(&Shared) -> Result<T> + Send + 'static) -> Pending<T> {
        let (to, from) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        self.pool.run(move || {
            // The reader may have gone.
            drop(to.send(work(&shared)));
        });
        Box::pin(async move { from.await.unwrap_or_else(|_| Err(gone())) })
    }
}

impl Engine for Store {
    fn log(&self) -> LogId {
        LogId(self.shared.head.log)
    }

    fn durability(&self) -> Durability {
        Durability::Disk
    }

    fn attach(&self, observer: Arc<dyn Observer>) -> Result<()> {
        let mut stage = self.stage.lock();
        let (commit, upkeep, lock) = match std::mem::replace(&mut *stage, Stage::Closed) {
            Stage::Opened { commit, upkeep, lock } => (commit, upkeep, lock),
            other => {
                *stage = other;
                return Err(Error::new(Kind::Internal, "a store takes one observer, once, while it is open"));
            }
        };
        self.restore(&commit, &*observer);
        *self.shared.observer.lock() = Some(observer);
        let spawn = |name: &str| std::thread::Builder::new().name(name.into());
        let answering = Answering::start();
        let commit = spawn("quintet-commit").spawn(move || commit.run(&answering)).map_err(open_error)?;
        let upkeep = spawn("quintet-upkeep").spawn(move || upkeep.run()).map_err(open_error)?;
        *stage = Stage::Running { commit, upkeep, lock };
        self.shared.bell.ring();
        Ok(())
    }

    fn commit(&self, transaction: Transaction, now: Timestamp) -> Pending<Vec<Outcome>> {
        let (to, from) = oneshot::channel();
        match self.shared.queue.push(transaction, now, to) {
            Ok(()) => Box::pin(async move { from.await.unwrap_or_else(|_| Err(gone())) }),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn read(&self, request: ReadRequest) -> Pending<ReadPage> {
        self.run(move |shared| topic::read(shared, &request))
    }

    fn count(&self, topic: TopicName, created: Offset, after: Offset) -> Pending<u64> {
        self.run(move |shared| topic::count(shared, &topic, created, after))
    }

    fn scan(&self, request: ScanRequest) -> Pending<ScanPage> {
        self.run(move |shared| scan::scan(shared, &request))
    }

    fn maintain(&self, now: Timestamp) {
        // The last reading and not the highest: a clock that was wrong once would otherwise be so for ever.
        self.shared.now.store(now.0, Ordering::Relaxed);
        self.shared.bell.ring();
    }

    fn troubles(&self) -> Vec<Error> {
        let refusal = self.shared.refusal.lock().clone();
        refusal.into_iter().chain(self.shared.segments.damage_error()).collect()
    }

    fn close(&self) -> Pending<()> {
        let (to, from) = oneshot::channel();
        let stage = std::mem::replace(&mut *self.stage.lock(), Stage::Closed);
        let shared = Arc::clone(&self.shared);
        shared.queue.close();
        // Closing waits for disks and threads, which is nothing for an executor.
        let closing = std::thread::Builder::new().name("quintet-close".into()).spawn(move || {
            drop(to.send(end(&shared, stage)));
        });
        if let Err(error) = closing {
            return Box::pin(std::future::ready(Err(open_error(error))));
        }
        Box::pin(async move { from.await.unwrap_or_else(|_| Err(gone())) })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.shared.queue.close();
        self.shared.bell.stop();
        if let Stage::Running { commit, upkeep, lock } = std::mem::replace(self.stage.get_mut(), Stage::Closed) {
            // Without `close` nothing more is written than what was accepted; opening replays the rest.
            if commit.join().is_err() || upkeep.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
            drop(lock);
        }
    }
}

/// Lets both threads finish and leaves a checkpoint behind.
fn end(shared: &Shared, stage: Stage) -> Result<()> {
    let (upkeep, lock) = match stage {
        Stage::Running { commit, upkeep, lock } => {
            let committed = commit.join();
            shared.bell.stop();
            let upkeep = upkeep.join().map_err(|_| gone())?;
            committed.map_err(|_| gone())?;
            (upkeep, lock)
        }
        Stage::Opened { commit, upkeep, lock } => {
            *shared.last_state.lock() = Some(commit.capture());
            (*upkeep, lock)
        }
        Stage::Closed => return Ok(()),
    };
    *shared.observer.lock() = None;
    let last = shared.last_state.lock().take();
    let written = last.map_or(Ok(()), |last| upkeep.finish(&last));
    drop(lock);
    written.map_err(|error| {
        let detail = format!("the last checkpoint could not be written ({error}); the next start takes longer");
        Error::with_source(Kind::StorageUnavailable, detail, error)
    })
}

fn gone() -> Error {
    Error::new(Kind::Internal, "a thread of the store has ended; restart the server and look at its log")
}
