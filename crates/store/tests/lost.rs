//! Lost sectors and lost ends of files: what had been acknowledged is read, or its loss is told, at every start until a
//! repair; nothing that is published later hides it.

use quintet_core::cursor::Offset;
use quintet_core::error::Kind;
use quintet_store::StoreConfig;
use quintet_store::disk::Disk;
use quintet_store::disk::faulty::FaultyDisk;
use quintet_store::inspect::check::check_on;
use quintet_store::inspect::repair::repair_on;

use crate::damage::filled;
use crate::harness::{Open, tiny};

type Expected = [(String, Vec<String>)];

/// Opens, reads everything, and publishes `then` to every topic. Tells of how many topics a loss was told.
async fn start(disk: &FaultyDisk, expected: &Expected, then: &str, what: &str) -> usize {
    let open = Open::on(disk, &tiny()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut told = 0;
    for (topic, texts) in expected {
        let restored = open.seen.restored.lock().get(topic).map(|state| state.last);
        assert!(restored.is_some(), "{what}: {topic} is gone");
        match open.all(topic).await {
            Ok(all) => {
                let found: Vec<_> = all.iter().map(|message| String::from_utf8_lossy(&message.payload)).collect();
                assert_eq!(&found, texts, "{what}: {topic}");
                let last = all.last().map(|message| message.offset);
                assert_eq!(restored, last, "{what}: {topic} has nothing that was not read");
            }
            Err(error) => {
                assert_eq!(error.kind(), &Kind::StorageDamaged, "{what}: {error}");
                told += 1;
            }
        }
        if !then.is_empty() {
            open.publish(topic, &[then]).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        }
    }
    open.close().await;
    told
}

/// After a repair everything is read that is left, and what is not left is a gap.
async fn is_a_gap_after_repair(disk: &FaultyDisk, expected: &Expected, what: &str) {
    let report = repair_on(disk).unwrap();
    assert!(!report.is_intact(), "{what}: it is found");
    let again = check_on(disk).unwrap();
    assert!(again.is_intact(), "{what}: {again}");
    let open = Open::on(disk, &tiny()).unwrap();
    for (topic, texts) in expected {
        let (mut after, mut gaps, mut found) = (Offset::ZERO, 0, Vec::new());
        loop {
            let page = open.page(topic, after, 3).await.unwrap_or_else(|error| panic!("{what}: {error}"));
            if page.trimmed_through > after {
                gaps += 1;
                after = page.trimmed_through;
            }
            after = page.messages.last().map_or(after, |message| message.offset);
            found.extend(page.messages.iter().map(|m| String::from_utf8_lossy(&m.payload).into_owned()));
            if page.complete {
                break;
            }
        }
        assert!(gaps > 0 || found == *texts, "{what}: {topic} has no gap, and {found:?}");
    }
    open.close().await;
}

/// The topics' texts with one more each.
fn with(expected: &Expected, then: &str) -> Vec<(String, Vec<String>)> {
    let more = |texts: &[String]| texts.iter().cloned().chain([then.to_owned()]).collect();
    expected.iter().map(|(topic, texts)| (topic.clone(), more(texts))).collect()
}

async fn is_told_until_repaired(broken: &FaultyDisk, expected: &Expected, indexes_too: bool, what: &str) {
    let found = !check_on(broken).unwrap().is_intact();
    let told = start(broken, expected, "new", what).await > 0;
    assert!(found || !told, "{what}: a check finds it");
    // What was published behind it does not hide it, nor does a checkpoint, nor an index that is made again.
    let indexes = broken.files().into_iter().filter(|(name, _)| indexes_too && name.ends_with(".index"));
    indexes.for_each(|(name, _)| broken.remove(&name).unwrap());
    let then = with(expected, "new");
    start(broken, &then, "", &format!("{what}, again")).await;
    if told {
        assert!(!check_on(broken).unwrap().is_intact(), "{what}: a check finds it again");
        is_a_gap_after_repair(broken, &then, what).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_sector_is_told_of_until_it_is_repaired() {
    const SECTOR: usize = 256;
    for close in [true, false] {
        let (disk, expected) = filled(close).await;
        let logs: Vec<_> = disk.files().into_iter().filter(|(name, _)| name.ends_with(".log")).collect();
        for (i, (file, length)) in logs.iter().enumerate() {
            for at in (0..*length).step_by(SECTOR / 2) {
                // Without a checkpoint behind it, the very last group cannot be told from one that was being written.
                let newest = i + 1 == logs.len();
                if newest && !close && at + SECTOR + 700 > *length {
                    continue;
                }
                let broken = disk.copy();
                let n = SECTOR.min(length - at);
                broken.open(file).unwrap().write_at(&vec![0; n], at as u64).unwrap();
                let what = format!("{n} bytes at {at} of {file} ({length} bytes), closed: {close}");
                is_told_until_repaired(&broken.copy(), &expected, true, &what).await;
            }
        }
    }
}

/// Topics that have nothing behind the middle of the log, which no checkpoint knows of.
async fn quiet_in_the_end() -> (FaultyDisk, Vec<(String, Vec<String>)>) {
    let disk = FaultyDisk::new();
    let config = StoreConfig { checkpoint_log_bytes: 1 << 30, ..tiny() };
    let open = Open::on(&disk, &config).unwrap();
    for i in 0..40 {
        let topic = if i < 20 { format!("t{}", i % 5) } else { format!("t{}", i % 2) };
        open.publish(&topic, &[&format!("{i}-{}", "x".repeat(i * 7 % 200))]).await.unwrap();
    }
    let mut expected = Vec::new();
    for topic in ["t0", "t1", "t2", "t3", "t4"] {
        expected.push((topic.to_owned(), open.texts(topic).await.unwrap()));
    }
    open.copied(&disk, "t4").await;
    let copy = disk.copy();
    drop(open);
    (copy, expected)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_ends_in_a_lost_sector_is_told_of() {
    let (disk, expected) = quiet_in_the_end().await;
    let logs: Vec<_> = disk.files().into_iter().filter(|(name, _)| name.ends_with(".log")).collect();
    for (i, (file, length)) in logs.iter().enumerate() {
        for at in (0..*length).step_by(100) {
            let n = 200.min(length - at);
            if i + 1 == logs.len() && at + n + 700 > *length {
                continue;
            }
            let broken = disk.copy();
            broken.open(file).unwrap().write_at(&vec![0; n], at as u64).unwrap();
            let what = format!("{n} bytes at {at} of {file} ({length} bytes)");
            is_told_until_repaired(&broken.copy(), &expected, true, &what).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_end_is_told_of_until_it_is_repaired() {
    let (disk, expected) = filled(true).await;
    for (file, length) in disk.files().into_iter().filter(|(name, _)| name.ends_with(".log")) {
        for at in (64..length).step_by(61) {
            let broken = disk.copy();
            broken.open(&file).unwrap().set_len(at as u64).unwrap();
            let what = format!("{file} ends at {at} of {length} bytes");
            is_told_until_repaired(&broken.copy(), &expected, false, &what).await;
        }
    }
}

/// A segment's file is gone as a whole; its index is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_segment_is_told_of_until_it_is_repaired() {
    for close in [true, false] {
        let (disk, expected) = filled(close).await;
        let indexes: Vec<_> = disk.files().into_iter().filter(|(name, _)| name.ends_with(".index")).collect();
        assert!(!close || indexes.len() > 3, "{indexes:?}");
        for (index, _) in &indexes {
            let file = index.replace(".index", ".log");
            let broken = disk.copy();
            broken.remove(&file).unwrap();
            let what = format!("{file} is gone, closed: {close}");
            assert!(check_on(&broken).unwrap().damages.iter().any(|d| d.after < d.before), "{what}: a check finds it");
            is_told_until_repaired(&broken.copy(), &expected, true, &what).await;
            // An index that cannot be read tells as much.
            broken.flip(index, 20, 1);
            broken.flip(index, 50, 1);
            is_told_until_repaired(&broken, &expected, true, &format!("{what}, its index broken")).await;
        }
        // Of several neighbours too, and of all before the checkpoint.
        let logs: Vec<_> = disk.files().into_iter().filter(|(name, _)| name.ends_with(".log")).collect();
        for gone in [&logs[..3], &logs[1..3], &logs[..logs.len() - 1]] {
            let broken = disk.copy();
            gone.iter().for_each(|(file, _)| broken.remove(file).unwrap());
            let has_index =
                |file: &str| indexes.iter().any(|(index, _)| index.strip_suffix(".index") == file.strip_suffix(".log"));
            assert!(!close || gone.iter().all(|(file, _)| has_index(file)));
            if !gone.iter().all(|(file, _)| has_index(file)) {
                continue;
            }
            let what = format!("{gone:?} are gone, closed: {close}");
            is_told_until_repaired(&broken, &expected, true, &what).await;
        }
    }
}
