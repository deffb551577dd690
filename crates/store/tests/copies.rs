//! The records that tell which topics there are have second copies: no lost sector takes a topic with it.

use quintet_core::engine::Engine;
use quintet_core::engine::transaction::Op;
use quintet_core::error::Kind;
use quintet_store::StoreConfig;
use quintet_store::disk::Disk;
use quintet_store::disk::faulty::FaultyDisk;
use quintet_store::inspect::check::check_on;
use quintet_store::inspect::repair::repair_on;

use crate::harness::{NOW, Open, append, tiny};

/// Nothing but the log and the copies tells of what is published.
fn unchecked() -> StoreConfig {
    StoreConfig { checkpoint_log_bytes: 1 << 30, ..tiny() }
}

fn with_ending(disk: &FaultyDisk, ending: &str) -> Vec<(String, usize)> {
    disk.files().into_iter().filter(|(name, _)| name.ends_with(ending)).collect()
}

fn bytes_of(disk: &FaultyDisk, (name, length): &(String, usize)) -> Vec<u8> {
    let mut bytes = vec![0; *length];
    disk.open(name).unwrap().read_at(&mut bytes, 0).unwrap();
    bytes
}

/// Breaks the log around each place where it holds this text.
fn lose(disk: &FaultyDisk, text: &str) {
    for file in with_ending(disk, ".log") {
        let bytes = bytes_of(disk, &file);
        let places = bytes.windows(text.len()).enumerate().filter(|(_, window)| *window == text.as_bytes());
        for (at, _) in places {
            disk.open(&file.0).unwrap().write_at(&vec![0; text.len() + 4], at as u64 - 4).unwrap();
        }
    }
}

/// Topics that were created, deleted and closed, each alone, with messages of others between.
async fn filled(disk: &FaultyDisk) -> Open {
    let open = Open::on(disk, &unchecked()).unwrap();
    for i in 0..60 {
        match i {
            10 => drop(open.publish("orders/eu", &["first"]).await.unwrap()),
            20 => drop(open.publish("gone", &["x"]).await.unwrap()),
            30 => open.delete("gone").await.unwrap(),
            _ => drop(open.publish(if i % 2 == 0 { "even" } else { "odd" }, &["much to say"]).await.unwrap()),
        }
        if i > 40 {
            open.publish("orders/eu", &["more"]).await.unwrap();
        }
    }
    open.publish("newest", &["x"]).await.unwrap();
    open.copied(disk, "newest").await;
    open
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_outlives_the_record_of_its_creation() {
    let disk = FaultyDisk::new();
    drop(filled(&disk).await);
    lose(&disk, "orders/eu");
    for start in 1..3 {
        let open = Open::on(&disk, &unchecked()).unwrap();
        let restored = open.seen.restored.lock().get("orders/eu").cloned();
        assert!(restored.is_some(), "start {start}: it is there");
        let troubles: Vec<Kind> = open.store.troubles().iter().map(|error| error.kind().clone()).collect();
        assert_eq!(troubles, [Kind::StorageDamaged], "start {start}");
        // Its first message stood in the same batch, and may have been lost with it: that is told.
        match open.texts("orders/eu").await {
            Ok(texts) => assert_eq!(texts.first().unwrap(), "first"),
            Err(error) => assert_eq!(error.kind(), &Kind::StorageDamaged),
        }
        open.close().await;
    }
    assert!(!check_on(&disk).unwrap().is_intact());
    repair_on(&disk).unwrap();
    let open = Open::on(&disk, &unchecked()).unwrap();
    let texts = open.texts("orders/eu").await.unwrap();
    assert!(texts.ends_with(&vec!["more".to_owned(); 19]), "{texts:?}");
    assert!(open.store.troubles().is_empty());
    assert!(check_on(&disk).is_err(), "in use");
    open.close().await;
    assert!(check_on(&disk).unwrap().is_intact());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_topic_does_not_come_back() {
    let disk = FaultyDisk::new();
    drop(filled(&disk).await);
    lose(&disk, "gone");
    let open = Open::on(&disk, &unchecked()).unwrap();
    assert!(!open.seen.restored.lock().contains_key("gone"));
}

/// What a copy replaces is not lost: nobody has to be told of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_a_copy_is_not_lost() {
    let disk = FaultyDisk::new();
    let open = Open::on(&disk, &unchecked()).unwrap();
    open.publish("kept", &["1"]).await.unwrap();
    open.publish("gone", &["x"]).await.unwrap();
    open.delete("gone").await.unwrap();
    open.publish("newest", &["2"]).await.unwrap();
    open.copied(&disk, "newest").await;
    let copy = disk.copy();
    drop(open);
    // The batch that deleted it: its record, and its name stands there for the last time.
    let log = with_ending(&copy, ".log").pop().unwrap();
    let at = bytes_of(&copy, &log).windows(4).rposition(|window| window == b"gone").unwrap();
    copy.open(&log.0).unwrap().write_at(&[0; 12], at as u64 - 8).unwrap();
    let open = Open::on(&copy, &unchecked()).unwrap();
    assert_eq!(open.texts("kept").await.unwrap(), ["1"]);
    assert_eq!(open.texts("newest").await.unwrap(), ["2"]);
    assert!(!open.seen.restored.lock().contains_key("gone"));
    open.close().await;
    let report = check_on(&copy).unwrap();
    assert!(!report.is_intact() && report.damages.iter().all(|damage| !damage.more), "{report}");
}

/// The log's end may be lost to the last byte without anything broken in it; a copy knows how far it went.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_end_is_known_by_its_copies() {
    let disk = FaultyDisk::new();
    drop(filled(&disk).await);
    let log = with_ending(&disk, ".log").pop().unwrap();
    let begins = bytes_of(&disk, &log).windows(4).rposition(|window| window == b"QBAT").unwrap();
    disk.open(&log.0).unwrap().set_len(begins as u64).unwrap();
    assert!(!check_on(&disk).unwrap().is_intact());
    let open = Open::on(&disk, &unchecked()).unwrap();
    let last = open.seen.restored.lock().get("newest").map(|state| state.created).unwrap();
    assert_eq!(open.texts("newest").await.unwrap_err().kind(), &Kind::StorageDamaged);
    assert!(open.publish("odd", &["behind it"]).await.unwrap() > last);
}

/// Broken or missing copies change nothing as long as the log is whole; they are made again from it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_that_are_torn_are_made_again() {
    let disk = FaultyDisk::new();
    let open = filled(&disk).await;
    let even = open.texts("even").await.unwrap();
    let copy = disk.copy();
    drop(open);
    let copies = with_ending(&copy, ".copies").pop().unwrap();
    for length in (0..copies.1).step_by(7) {
        let torn = copy.copy();
        torn.open(&copies.0).unwrap().set_len(length as u64).unwrap();
        let open = Open::on(&torn, &unchecked()).unwrap();
        assert_eq!(open.texts("even").await.unwrap(), even, "{length} bytes");
        open.copied(&torn, "newest").await;
        let crashed = torn.copy();
        drop(open);
        lose(&crashed, "orders/eu");
        let open = Open::on(&crashed, &unchecked()).unwrap();
        assert!(open.seen.restored.lock().contains_key("orders/eu"), "{length} bytes");
    }
}

/// Where both are lost, what remains of the topic is kept, and told of, until a repair sets it aside.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_without_a_name_are_kept_and_told_of() {
    let disk = FaultyDisk::new();
    drop(filled(&disk).await);
    lose(&disk, "orders/eu");
    let copies = with_ending(&disk, ".copies").pop().unwrap();
    disk.remove(&copies.0).unwrap();
    for start in 1..4 {
        let report = check_on(&disk).unwrap();
        assert!(report.damages.iter().any(|damage| damage.nameless), "start {start}: {report}");
        assert!(report.to_string().contains("creation is lost"), "start {start}: {report}");
        let open = Open::on(&disk, &tiny()).unwrap();
        open.delete("even").await.unwrap();
        open.delete("odd").await.unwrap();
        for i in 0..60 {
            open.publish(["even", "odd"][i % 2], &["much to say, and to forget"]).await.unwrap();
        }
        open.store.maintain(NOW);
        open.close().await;
    }
    let before = with_ending(&disk, ".log");
    let held = before.iter().filter(|file| bytes_of(&disk, file).windows(4).any(|window| window == b"more"));
    assert!(held.count() > 0, "what it held is still there");
    let report = repair_on(&disk).unwrap();
    assert!(report.set_aside.iter().any(|file| file.ends_with(".log")), "{report}");
    assert!(check_on(&disk).unwrap().is_intact());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_go_with_their_checkpoint() {
    let disk = FaultyDisk::new();
    let open = Open::on(&disk, &tiny()).unwrap();
    for i in 0..200 {
        open.publish(&format!("t{i}"), &[&"x".repeat(100)]).await.unwrap();
        open.copied(&disk, &format!("t{i}")).await;
        let (checkpoints, copies) = (with_ending(&disk, ".checkpoint"), with_ending(&disk, ".copies"));
        assert!(copies.len() <= checkpoints.len() + 1, "{copies:?} for {checkpoints:?}");
    }
    assert!(with_ending(&disk, ".checkpoint").len() == 2, "there were checkpoints");
}

/// The newest checkpoint may be damaged: the copies behind the older one are there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_the_older_checkpoint_there_are_copies_too() {
    let disk = FaultyDisk::new();
    let mut n_checkpoints = 0;
    for i in 0..9 {
        let open = Open::on(&disk, &unchecked()).unwrap();
        for text in ["1", "2"] {
            open.publish(&format!("topic-{i}"), &[text]).await.unwrap();
        }
        open.copied(&disk, &format!("topic-{i}")).await;
        open.close().await;
        n_checkpoints = with_ending(&disk, ".checkpoint").len();
    }
    assert_eq!(n_checkpoints, 2);
    let newest = with_ending(&disk, ".checkpoint").pop().unwrap();
    disk.flip(&newest.0, 40, 1);
    lose(&disk, "topic-8");
    let open = Open::on(&disk, &unchecked()).unwrap();
    assert!(open.seen.restored.lock().contains_key("topic-8"));
    assert!(open.texts("topic-7").await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_copy_can_be_written_everything_else_goes_on() {
    let disk = FaultyDisk::new();
    let open = Open::on(&disk, &tiny()).unwrap();
    open.publish("first", &["x"]).await.unwrap();
    let used = disk.files().iter().map(|(_, length)| *length as u64).sum::<u64>();
    disk.full_at(Some(used));
    for i in 0..3 {
        open.store.maintain(NOW);
        // There is room written ahead for a few.
        drop(open.commit(Op::Append(append(&format!("t{i}"), &["x"]))).await);
    }
    disk.full_at(None);
    open.publish("newest", &["x"]).await.unwrap();
    open.copied(&disk, "newest").await;
    let crashed = disk.copy();
    drop(open);
    lose(&crashed, "first");
    let open = Open::on(&crashed, &tiny()).unwrap();
    assert!(open.seen.restored.lock().contains_key("first"));
}
