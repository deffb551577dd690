//! Disks that are full, or refuse something: space comes back by itself, and nothing is forgotten over it.

use std::io;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use quintet_core::clock::Timestamp;
use quintet_core::engine::Engine;
use quintet_core::engine::transaction::Retention;
use quintet_core::error::Kind;
use quintet_store::StoreConfig;
use quintet_store::disk::faulty::FaultyDisk;
use quintet_store::disk::{Disk, File, Lock};
use quintet_store::inspect::check::check_on;

use crate::damage::filled;
use crate::harness::{NOW, Open, tiny};
use crate::space::{create, segment_bytes, small};

/// A disk that refuses some things while it is told to.
#[derive(Debug, Clone, Default)]
struct Moody {
    disk: FaultyDisk,
    mood: Arc<Mood>,
}

#[derive(Debug, Default)]
struct Mood {
    /// Files with this in their names are not made; how often it was tried.
    no_create: Mutex<Option<&'static str>>,
    tries: AtomicUsize,
    /// Files with this in their names cannot be read.
    no_read: Mutex<Option<String>>,
    /// Reading an index waits; whether somebody does.
    slow: AtomicBool,
    waits: AtomicBool,
    /// A full disk says that the user has no more of it.
    quota: AtomicBool,
}

impl Mood {
    fn say(&self, error: io::Error) -> io::Error {
        let quota = self.quota.load(Ordering::Relaxed) && error.kind() == ErrorKind::StorageFull;
        if quota { ErrorKind::QuotaExceeded.into() } else { error }
    }
}

impl Moody {
    fn file(&self, name: &str, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(MoodyFile { name: name.to_owned(), file, mood: Arc::clone(&self.mood) })
    }
}

impl Disk for Moody {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        if self.mood.no_create.lock().is_some_and(|part| name.contains(part)) {
            self.mood.tries.fetch_add(1, Ordering::Relaxed);
            return Err(self.mood.say(ErrorKind::StorageFull.into()));
        }
        Ok(self.file(name, self.disk.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(self.file(name, self.disk.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.disk.sync_names()
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Lock>>> {
        self.disk.lock(name)
    }
}

#[derive(Debug)]
struct MoodyFile {
    name: String,
    file: Arc<dyn File>,
    mood: Arc<Mood>,
}

impl File for MoodyFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        while self.name.ends_with(".index") && self.mood.slow.load(Ordering::Relaxed) {
            self.mood.waits.store(true, Ordering::Relaxed);
            std::thread::yield_now();
        }
        if self.mood.no_read.lock().as_ref().is_some_and(|part| self.name.contains(part)) {
            return Err(io::Error::other("a sector cannot be read"));
        }
        self.file.read_at(buffer, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.file.write_at(bytes, position).map_err(|error| self.mood.say(error))
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.file.allocate(length).map_err(|error| self.mood.say(error))
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
}

fn count(disk: &FaultyDisk, ending: &str) -> usize {
    disk.files().iter().filter(|(name, _)| name.ends_with(ending)).count()
}

fn used(disk: &FaultyDisk) -> u64 {
    disk.files().iter().map(|(_, length)| *length as u64).sum()
}

fn later() -> Timestamp {
    NOW.plus(Duration::from_secs(20))
}

/// Retention and deletion make room on a disk that is full, though a checkpoint has to be written for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_recovers_by_retention() {
    let disk = FaultyDisk::new();
    let open = Open::on(&disk, &StoreConfig { reserve_bytes: 0, ..small() }).unwrap();
    create(&open, "aged", Retention { age: Some(Duration::from_secs(10)), ..Retention::default() }).await;
    let payload = "x".repeat(500);
    let publish = || async { open.publish("aged", &[&payload]).await };
    for i in 0.. {
        publish().await.unwrap();
        if i >= 300 && count(&disk, ".checkpoint") == 2 {
            break;
        }
        assert!(i < 10_000, "there are two checkpoints");
    }
    disk.full_at(Some(used(&disk) + 20));
    assert_eq!(publish().await.unwrap_err().kind(), &Kind::StorageFull);
    open.until(later(), "space is given back", || segment_bytes(&disk) < 25_000).await;
    publish().await.unwrap();
}

/// An index that cannot be written stops neither retention nor checkpoints, which make the room for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn space_is_given_back_although_an_index_cannot_be_written() {
    let disk = Moody::default();
    let open = Open::on(&disk, &StoreConfig { reserve_bytes: 0, ..small() }).unwrap();
    create(&open, "aged", Retention { age: Some(Duration::from_secs(10)), ..Retention::default() }).await;
    let payload = "x".repeat(500);
    for i in 0..300 {
        if i == 200 {
            *disk.mood.no_create.lock() = Some(".index");
        }
        open.publish("aged", &[&payload]).await.unwrap();
    }
    open.until(later(), "all but the newest is given back", || segment_bytes(&disk.disk) < 25_000).await;
    for _ in 0..100 {
        open.publish("aged", &[&payload]).await.unwrap();
    }
    // The last checkpoint is written all the same.
    open.close().await;
}

/// A store whose full segments have no index files and no checkpoint, on a disk that is full from now on.
async fn full_before_any_index(quota: bool, room: u64) -> (Moody, Open) {
    let disk = Moody::default();
    disk.mood.quota.store(quota, Ordering::Relaxed);
    *disk.mood.no_create.lock() = Some(".index");
    let open = Open::on(&disk, &roomy()).unwrap();
    open.until(NOW, "room is kept", || disk.disk.files().contains(&("ballast".to_owned(), 64_000))).await;
    create(&open, "aged", Retention { age: Some(Duration::from_secs(10)), ..Retention::default() }).await;
    let payload = "x".repeat(500);
    for _ in 0..300 {
        open.publish("aged", &[&payload]).await.unwrap();
    }
    disk.disk.full_at(Some(used(&disk.disk) + room));
    *disk.mood.no_create.lock() = None;
    assert_eq!(open.publish("aged", &[&payload]).await.unwrap_err().kind(), &Kind::StorageFull);
    assert_eq!((count(&disk.disk, ".index"), count(&disk.disk, ".checkpoint")), (0, 0));
    (disk, open)
}

/// Room for checkpoints, which none of the first gigabyte of log asks for.
fn roomy() -> StoreConfig {
    StoreConfig { reserve_bytes: 0, ballast_bytes: 64_000, checkpoint_log_bytes: 1 << 30, ..small() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_makes_room_before_any_index_is_written() {
    for quota in [false, true] {
        let (disk, open) = full_before_any_index(quota, 20).await;
        open.until(later(), "space is given back", || segment_bytes(&disk.disk) < 25_000).await;
        for _ in 0..50 {
            open.publish("aged", &[&"x".repeat(500)]).await.unwrap();
        }
        open.until(NOW, "room is kept again", || disk.disk.files().contains(&("ballast".to_owned(), 64_000))).await;
        open.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletion_makes_room_before_any_index_is_written() {
    let (disk, open) = full_before_any_index(false, 0).await;
    assert_eq!(open.publish("aged", &[""]).await.unwrap_err().kind(), &Kind::StorageFull);
    open.delete("aged").await.unwrap();
    open.until(NOW, "space is given back", || segment_bytes(&disk.disk) < 25_000).await;
    open.publish("new", &[&"x".repeat(500)]).await.unwrap();
}

/// On a full disk a little is given back too, for which no checkpoint would be written otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_given_back_what_there_is() {
    let disk = FaultyDisk::new();
    let open = Open::on(&disk, &roomy()).unwrap();
    for (topic, length) in [("gone", 8_000), ("stays", 15_000), ("stays", 15_000)] {
        open.publish(topic, &[&"x".repeat(length)]).await.unwrap();
    }
    let logs = || count(&disk, ".log");
    open.until(NOW, "indexes are written, room is kept", || {
        count(&disk, ".index") == 2 && disk.files().contains(&("ballast".to_owned(), 64_000))
    })
    .await;
    disk.full_at(Some(used(&disk)));
    open.publish("stays", &["x"]).await.unwrap_err();
    assert_eq!(logs(), 3);
    open.delete("gone").await.unwrap();
    open.until(NOW, "the segment is given back", || logs() == 2).await;
    open.publish("stays", &["x"]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_makes_room_when_a_full_store_is_opened_again() {
    for close in [false, true] {
        let (disk, open) = full_before_any_index(false, 20).await;
        if close {
            open.close().await;
        } else {
            drop(open);
        }
        let disk = disk.disk.copy();
        disk.full_at(Some(used(&disk) + 20));
        let open = Open::on(&disk, &roomy()).unwrap();
        open.until(later(), "space is given back", || segment_bytes(&disk) < 25_000).await;
        open.publish("aged", &[&"x".repeat(500)]).await.unwrap();
        open.close().await;
    }
}

/// What is found damaged on a full disk is told of, and noted down as soon as there is room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_told_of_on_a_full_disk() {
    let (filled, expected) = filled(false).await;
    let (file, _) = filled.files().into_iter().rfind(|(name, _)| name.ends_with(".log")).unwrap();
    let file = filled.files().into_iter().rev().find(|(name, _)| name.ends_with(".log") && *name != file).unwrap().0;
    filled.open(&file).unwrap().write_at(&[0; 600], 300).unwrap();
    for ballast in [true, false] {
        let disk = Moody { disk: filled.copy(), ..Moody::default() };
        if !ballast {
            disk.disk.remove("ballast").unwrap();
        }
        disk.disk.full_at(Some(used(&disk.disk)));
        *disk.mood.no_create.lock() = Some("damage").filter(|_| !ballast);
        let tells = async |open: &Open| {
            let mut told = 0;
            for (topic, texts) in &expected {
                match open.texts(topic).await {
                    Ok(found) => assert_eq!(&found, texts),
                    Err(error) => {
                        assert_eq!(error.kind(), &Kind::StorageDamaged);
                        told += 1;
                    }
                }
            }
            told > 0
        };
        let open = Open::on(&disk, &tiny()).unwrap();
        assert!(tells(&open).await);
        if !ballast {
            assert_eq!(count(&disk.disk, "damage"), 0);
            disk.disk.full_at(None);
            *disk.mood.no_create.lock() = None;
        }
        open.until(NOW, "it is noted down", || count(&disk.disk, "damage") == 1).await;
        disk.disk.full_at(None);
        open.close().await;
        assert!(!check_on(&disk).unwrap().is_intact());
        assert!(tells(&Open::on(&disk, &tiny()).unwrap()).await, "and again");
    }
}

/// A checkpoint that was damaged while the store was open does not push out the intact one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_two_newest_intact_checkpoints_are_kept() {
    let disk = FaultyDisk::new();
    let checkpoints = || {
        let names = disk.files().into_iter().map(|(name, _)| name);
        names.filter(|name| name.ends_with(".checkpoint") && !name.contains('/')).collect::<Vec<_>>()
    };
    for text in ["1", "2"] {
        let open = Open::on(&disk, &small()).unwrap();
        open.publish("a", &[text]).await.unwrap();
        open.close().await;
    }
    let before = checkpoints();
    let open = Open::on(&disk, &small()).unwrap();
    open.publish("a", &["3"]).await.unwrap();
    disk.flip(&before[1], 50, 3);
    open.close().await;
    let after = checkpoints();
    assert_eq!(after.len(), 2);
    assert_eq!(after[0], before[0], "the damaged one does not count");
    disk.flip(&after[1], 50, 3);
    let open = Open::on(&disk, &small()).unwrap();
    assert_eq!(open.texts("a").await.unwrap(), ["1", "2", "3"]);
}

/// On a full disk an index that does not fit is not encoded and tried in every turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_does_not_fit_is_tried_now_and_then() {
    let disk = Moody::default();
    let open = Open::on(&disk, &StoreConfig { checkpoint_log_bytes: 1 << 30, ..small() }).unwrap();
    create(&open, "probe", Retention { count: Some(1), ..Retention::default() }).await;
    *disk.mood.no_create.lock() = Some(".index");
    for _ in 0..300 {
        open.publish("kept", &[&"x".repeat(500)]).await.unwrap();
    }
    open.publish("probe", &["0"]).await.unwrap();
    disk.mood.tries.store(0, Ordering::Relaxed);
    for _ in 0..60 {
        let before = open.seen.trims.lock().len();
        open.publish("probe", &["next"]).await.unwrap();
        open.until(NOW, "a turn has been taken", || open.seen.trims.lock().len() > before).await;
    }
    let tries = disk.mood.tries.load(Ordering::Relaxed);
    assert!(tries < 60, "{tries} tries in some more than 60 turns");
    *disk.mood.no_create.lock() = None;
    open.until(NOW, "the indexes are written", || count(&disk.disk, ".index") >= 7).await;
}

/// A segment that cannot be read keeps neither others from being given back, nor itself when it can be read again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_that_cannot_be_read_stops_no_other() {
    let disk = Moody::default();
    let open = Open::on(&disk, &small()).unwrap();
    for _ in 0..300 {
        open.publish("a", &[&"x".repeat(500)]).await.unwrap();
    }
    open.until(NOW, "indexes are written", || count(&disk.disk, ".index") >= 7).await;
    let logs = disk.disk.files().into_iter().filter(|(name, _)| name.ends_with(".log"));
    let bad = logs.map(|(name, _)| name).nth(1).unwrap();
    *disk.mood.no_read.lock() = Some(bad.trim_end_matches("log").to_owned());
    open.delete("a").await.unwrap();
    open.publish("b", &["stays"]).await.unwrap();
    open.until(NOW, "the others are given back", || segment_bytes(&disk.disk) < 45_000).await;
    assert!(disk.list().unwrap().contains(&bad));
    *disk.mood.no_read.lock() = None;
    open.until(NOW, "it is given back", || !disk.list().unwrap().contains(&bad)).await;
    assert_eq!(open.texts("b").await.unwrap(), ["stays"]);
}

/// What comes while a topic is trimmed by a clock that is ahead has its own age, and not that clock's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_while_a_topic_is_trimmed_has_its_own_age() {
    let disk = Moody::default();
    let open = Open::on(&disk, &small()).unwrap();
    create(&open, "aged", Retention { age: Some(Duration::from_secs(10)), ..Retention::default() }).await;
    for _ in 0..100 {
        open.publish("aged", &[&"x".repeat(500)]).await.unwrap();
    }
    open.until(NOW, "indexes are written", || count(&disk.disk, ".index") >= 2).await;
    disk.mood.slow.store(true, Ordering::Relaxed);
    let next_year = NOW.plus(Duration::from_secs(365 * 24 * 3_600));
    open.until(next_year, "it is being trimmed", || disk.mood.waits.load(Ordering::Relaxed)).await;
    open.publish("aged", &["new"]).await.unwrap();
    open.store.maintain(NOW);
    disk.mood.slow.store(false, Ordering::Relaxed);
    let trimmed = || open.seen.trims.lock().iter().map(|(_, trimmed)| trimmed.messages).sum::<u64>();
    open.until(NOW, "what was there is trimmed", || trimmed() == 100).await;
    assert_eq!(open.texts("aged").await.unwrap(), ["new"]);
    open.until(later(), "it is too old", || trimmed() == 101).await;
}
