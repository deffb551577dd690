//! Flipped bits: whatever is flipped, a reader gets what was written or an error, never something else and never less.

use quintet_core::cursor::Offset;
use quintet_core::engine::Engine;
use quintet_core::error::Kind;
use quintet_store::disk::faulty::FaultyDisk;
use quintet_store::disk::random::Random;
use quintet_store::inspect::check::check_on;
use quintet_store::inspect::repair::repair_on;
use quintet_store::{Store, StoreConfig, check, repair};

use crate::harness::{NOW, Open, tiny};

/// A store with some topics, some of it behind checkpoints and some not.
pub(crate) async fn filled(close: bool) -> (FaultyDisk, Vec<(String, Vec<String>)>) {
    let disk = FaultyDisk::new();
    let open = Open::on(&disk, &tiny()).unwrap();
    for i in 0..60 {
        let texts = [format!("{i}-1-{}", "x".repeat(i * 7 % 200)), format!("{i}-2")];
        open.publish(&format!("t{}", i % 5), &[&texts[0], &texts[1]]).await.unwrap();
        if i % 10 == 0 {
            open.store.maintain(NOW);
        }
    }
    let mut expected = Vec::new();
    for topic in ["t0", "t1", "t2", "t3", "t4"] {
        expected.push((topic.to_owned(), open.texts(topic).await.unwrap()));
    }
    if close {
        open.close().await;
    } else {
        open.copied(&disk, "t4").await;
        let copy = disk.copy();
        drop(open);
        return (copy, expected);
    }
    (disk, expected)
}

/// Whether damage was told of; panics if a reader gets anything wrong.
async fn is_told(disk: &FaultyDisk, expected: &[(String, Vec<String>)], what: &str) -> bool {
    let open = match Open::on(disk, &tiny()) {
        Ok(open) => open,
        Err(error) => {
            assert_eq!(error.kind(), &Kind::StorageDamaged, "{what}: {error}");
            return true;
        }
    };
    let mut told = false;
    for (topic, texts) in expected {
        match open.texts(topic).await {
            Ok(found) => {
                let wrong: Vec<_> = texts.iter().filter(|text| !found.contains(text)).collect();
                assert_eq!(found.len(), texts.len(), "{what}: {topic} lost {wrong:?}");
                assert_eq!(&found, texts, "{what}: {topic}");
            }
            Err(error) => {
                assert_eq!(error.kind(), &Kind::StorageDamaged, "{what}: {error}");
                assert!(error.to_string().contains(topic.as_str()), "{what}: it names the topic: {error}");
                told = true;
            }
        }
    }
    match open.scan().await {
        Ok(found) => assert_eq!(found.len(), 120, "{what}"),
        Err(error) => {
            assert_eq!(error.kind(), &Kind::StorageDamaged, "{what}: {error}");
            told = true;
        }
    }
    told
}

async fn flip_everywhere(close: bool) {
    let (disk, expected) = filled(close).await;
    assert!(!is_told(&disk.copy(), &expected, "nothing is flipped").await);
    let mut random = Random(11);
    for (file, length) in disk.files() {
        let newest = disk.files().iter().rev().find(|(name, _)| name.ends_with(".log")).map(|(name, _)| name.clone());
        for _ in 0..length.min(25) {
            let byte = random.below(length as u64) as usize;
            // Without a checkpoint behind it, the very last group cannot be told from one that was being written.
            if !close && newest.as_ref() == Some(&file) && byte + 400 > length {
                continue;
            }
            let bit = random.below(8) as u8;
            let flipped = disk.copy();
            flipped.flip(&file, byte, bit);
            let what = format!("bit {bit} of byte {byte} of {file} ({length} bytes)");
            let told = is_told(&flipped, &expected, &what).await;
            if file.ends_with(".index") || file.ends_with(".checkpoint") {
                assert!(!told, "{what}: it can be made again, or an older one serves");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_is_told_of_after_closing() {
    flip_everywhere(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_is_told_of_without_closing() {
    flip_everywhere(false).await;
}

/// After a repair everything works again, and what was lost is a gap and not silence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repair_sets_damage_aside() {
    for close in [true, false] {
        let (disk, expected) = filled(close).await;
        let intact = check_on(&disk.copy()).unwrap();
        assert!(intact.is_intact() && intact.torn_bytes == 0, "{intact}");
        assert_eq!(intact.topics, 5);
        let mut random = Random(5);
        let files: Vec<_> = disk.files().into_iter().filter(|(name, _)| name.ends_with(".log")).collect();
        for i in 0..40 {
            let flipped = disk.copy();
            let (file, length) = &files[i % files.len()];
            let byte = random.below(*length as u64) as usize;
            flipped.flip(file, byte, random.below(8) as u8);
            let what = format!("byte {byte} of {file}, closed: {close}");
            let found = check_on(&flipped).unwrap();
            let report = repair_on(&flipped).unwrap();
            assert_eq!(found.damages, report.damages, "{what}");
            if report.is_intact() {
                assert!(!close || *length == 64, "{what}: it was not found");
                continue;
            }
            assert_eq!(report.set_aside, [format!("damaged/{file}")], "{what}");
            let again = check_on(&flipped).unwrap();
            assert!(again.is_intact() && again.torn_bytes == 0, "{what}: {again}");
            let open = Open::on(&flipped, &tiny()).unwrap();
            let mut n_lost = 0;
            for (topic, texts) in &expected {
                let mut after = Offset::ZERO;
                let mut left = texts.iter();
                loop {
                    let page = open.page(topic, after, 3).await.unwrap_or_else(|error| panic!("{what}: {error}"));
                    if page.trimmed_through > after {
                        n_lost += 1;
                        after = page.trimmed_through;
                    }
                    for message in &page.messages {
                        assert!(left.any(|text| text.as_bytes() == message.payload), "{what}: in order");
                        after = message.offset;
                    }
                    if page.complete {
                        break;
                    }
                }
                open.publish(topic, &["more"]).await.unwrap();
                let restored = open.seen.restored.lock()[topic].messages;
                assert_eq!(restored + 1, open.texts(topic).await.unwrap().len() as u64, "{what}: counted anew");
            }
            let named: usize = report.damages.iter().map(|damage| damage.messages.len()).sum();
            assert!(n_lost <= 2 && (n_lost > 0) == (named > 0), "{what}: {n_lost} gaps\n{report}");
            open.scan().await.unwrap();
        }
    }
}

fn checkpoints(disk: &FaultyDisk) -> Vec<String> {
    let names = disk.files().into_iter().map(|(name, _)| name);
    names.filter(|name| name.ends_with(".checkpoint") && !name.contains('/')).collect()
}

/// The same with both checkpoints: an orderly end writes one if anything has changed.
async fn filled_with_checkpoints() -> (FaultyDisk, Vec<(String, Vec<String>)>) {
    let (disk, mut expected) = filled(true).await;
    while checkpoints(&disk).len() < 2 {
        let open = Open::on(&disk, &tiny()).unwrap();
        open.publish("t4", &["more"]).await.unwrap();
        expected[4].1.push("more".to_owned());
        open.close().await;
    }
    (disk, expected)
}

/// A damaged checkpoint is not one of the two that are kept: the intact one that served stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_checkpoint_pushes_no_intact_one_out() {
    let (disk, expected) = filled_with_checkpoints().await;
    let before = checkpoints(&disk);
    let [older, newest] = &before[..] else { panic!("{before:?}") };
    disk.flip(newest, 40, 1);
    let open = Open::on(&disk, &tiny()).unwrap();
    open.publish("t0", &["more"]).await.unwrap();
    open.close().await;
    let after = checkpoints(&disk);
    assert!(after.contains(older) && after.len() == 2, "{before:?} became {after:?}");
    // The newest may break again.
    disk.flip(after.last().unwrap(), 40, 1);
    let open = Open::on(&disk, &tiny()).unwrap();
    assert_eq!(open.texts("t1").await.unwrap(), expected[1].1);
    assert_eq!(open.texts("t0").await.unwrap().last().unwrap(), "more");
}

/// Where space has been given back the log alone does not tell everything, at no start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_intact_checkpoint_the_log_is_not_taken_for_everything() {
    let (disk, _) = filled_with_checkpoints().await;
    checkpoints(&disk).iter().for_each(|name| disk.flip(name, 40, 1));
    for start in 1..4 {
        let error = Open::on(&disk, &tiny()).err().unwrap_or_else(|| panic!("start {start} opened it"));
        assert_eq!(error.kind(), &Kind::StorageDamaged, "start {start}: {error}");
    }
}

/// An older checkpoint that is damaged is set aside by a repair.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repair_sets_damaged_checkpoints_aside() {
    for which in [0, 1] {
        let (disk, _) = filled_with_checkpoints().await;
        let damaged = checkpoints(&disk).swap_remove(which);
        disk.flip(&damaged, 40, 1);
        let aside = format!("damaged/{damaged}");
        assert_eq!(repair_on(&disk).unwrap().set_aside, std::slice::from_ref(&aside));
        assert!(disk.files().iter().any(|(name, _)| *name == aside), "{aside} is there");
        assert!(check_on(&disk).unwrap().is_intact());
    }
}

/// The same on a real disk, as the command line does it.
#[tokio::test]
async fn a_folder_is_checked_and_repaired() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig::new(folder.path());
    let open = Open::attach(Store::open(&config).unwrap()).unwrap();
    for text in ["1", "2", "3"] {
        open.publish("a", &[text]).await.unwrap();
    }
    assert!(check(folder.path()).unwrap_err().to_string().contains("another process"));
    open.close().await;
    assert!(check(folder.path()).unwrap().is_intact());
    assert!(check(&folder.path().join("nothing")).is_err());
    let log = folder.path().join("0000000000000001-00000000.log");
    let mut bytes = std::fs::read(&log).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    let report = repair(folder.path()).unwrap();
    assert_eq!(report.damages[0].messages.len(), 1);
    assert!(report.to_string().contains("lost: a message of a at offset 4"), "{report}");
    assert!(folder.path().join("damaged/0000000000000001-00000000.log").exists());
    assert!(check(folder.path()).unwrap().is_intact());
    let open = Open::attach(Store::open(&config).unwrap()).unwrap();
    let page = open.page("a", Offset::ZERO, 9).await.unwrap();
    assert_eq!(page.messages.len(), 2);
    open.publish("a", &["4"]).await.unwrap();
    let last = page.messages[1].offset;
    let page = open.page("a", last, 9).await.unwrap();
    assert!(page.trimmed_through > last, "the lost message is a gap");
    assert_eq!(page.messages[0].payload, "4");
}

/// A check changes nothing, so that it works on a backup or a snapshot, and beside another check.
#[tokio::test]
async fn a_check_leaves_the_folder_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let open = Open::attach(Store::open(&StoreConfig::new(folder.path())).unwrap()).unwrap();
    open.publish("a", &["1"]).await.unwrap();
    open.close().await;
    let lock = std::fs::File::open(folder.path().join("lock")).unwrap();
    lock.lock_shared().unwrap();
    assert!(check(folder.path()).unwrap().is_intact(), "another check runs");
    drop(lock);
    std::fs::remove_file(folder.path().join("lock")).unwrap();
    let files = || {
        let entries = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap());
        let mut files: Vec<_> = entries.map(|entry| (entry.path(), std::fs::read(entry.path()).unwrap())).collect();
        files.sort();
        files
    };
    let before = files();
    assert!(check(folder.path()).unwrap().is_intact());
    assert!(files() == before);
}
