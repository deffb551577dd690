//! What a store holds when it is opened again.

use std::sync::Arc;

use quintet_core::cursor::Offset;
use quintet_core::engine::Engine;
use quintet_core::engine::transaction::{Append, Op, Outcome, ProducerStep};
use quintet_core::error::Kind;
use quintet_store::disk::faulty::FaultyDisk;
use quintet_store::disk::random::Random;
use quintet_store::{Store, StoreConfig};

use crate::harness::{NOW, Open, append, tiny};

/// Publishes in several topics, with a closure, a producer, and a deletion among it.
async fn fill(open: &Open, rounds: u64, round: &str) {
    for i in 0..rounds {
        open.publish("a", &[&format!("{round}a{i}"), &format!("{round}b{i}")]).await.unwrap();
        open.publish(&format!("t/{}", i % 10), &[&format!("{round}{i}")]).await.unwrap();
        let producer = Some(ProducerStep { id: format!("p{round}").into(), epoch: 0, seq: i });
        open.commit(Op::Append(Append { producer, ..append("p", &["x"]) })).await.unwrap();
    }
    open.publish("gone", &["x"]).await.unwrap();
    open.delete("gone").await.unwrap();
    open.commit(Op::Append(Append { close: true, ..append(&format!("closed-{round}"), &["last"]) })).await.unwrap();
}

async fn check(open: &Open, rounds: u64, all_rounds: &[&str]) {
    let each =
        |round: &&str| (0..rounds).flat_map(|i| [format!("{round}a{i}"), format!("{round}b{i}")]).collect::<Vec<_>>();
    assert_eq!(open.texts("a").await.unwrap(), all_rounds.iter().flat_map(each).collect::<Vec<_>>());
    let states = open.seen.restored.lock().clone();
    assert!(!states.contains_key("gone"));
    assert_eq!(states["a"].messages, rounds * 2 * all_rounds.len() as u64);
    for round in all_rounds {
        assert!(states[&format!("closed-{round}")].closed);
        let last = ProducerStep { id: format!("p{round}").into(), epoch: 0, seq: rounds - 1 };
        let again = open.commit(Op::Append(Append { producer: Some(last), ..append("p", &["x"]) })).await.unwrap();
        assert!(matches!(again, Outcome::Appended(appended) if appended.duplicate), "the producer is remembered");
    }
    let mut previous = Offset::ZERO;
    for message in open.all("a").await.unwrap() {
        assert_eq!(message.previous, previous);
        previous = message.offset;
    }
}

#[tokio::test]
async fn everything_is_there_after_closing() {
    let disk = FaultyDisk::new();
    for (n, round) in ["x", "y", "z"].iter().enumerate() {
        let open = Open::on(&disk, &tiny()).unwrap();
        if n > 0 {
            check(&open, 40, &["x", "y", "z"][..n]).await;
        }
        fill(&open, 40, round).await;
        open.close().await;
    }
    check(&Open::on(&disk, &tiny()).unwrap(), 40, &["x", "y", "z"]).await;
}

#[tokio::test]
async fn everything_is_there_after_a_power_cut() {
    let mut disk = FaultyDisk::new();
    let mut random = Random(1);
    for (n, round) in ["x", "y", "z"].iter().enumerate() {
        let open = Open::on(&disk, &tiny()).unwrap();
        if n > 0 {
            check(&open, 40, &["x", "y", "z"][..n]).await;
        }
        fill(&open, 40, round).await;
        disk = disk.after_crash(&mut random);
    }
    check(&Open::on(&disk, &tiny()).unwrap(), 40, &["x", "y", "z"]).await;
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig::new(folder.path());
    let first = Open::attach(Store::open(&config).unwrap()).unwrap();
    let refused = Store::open(&config).unwrap_err();
    assert_eq!(refused.kind(), &Kind::StorageUnavailable);
    assert!(refused.to_string().contains("another process"), "{refused}");
    let log = first.store.log();
    first.close().await;
    let again = Store::open(&config).unwrap();
    assert_eq!(again.log(), log, "the log keeps its id");
}

#[tokio::test]
async fn a_store_that_is_dropped_lets_go_of_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig::new(folder.path());
    let open = Open::attach(Store::open(&config).unwrap()).unwrap();
    open.publish("a", &["1"]).await.unwrap();
    drop(open);
    let open = Open::attach(Store::open(&config).unwrap()).unwrap();
    assert_eq!(open.texts("a").await.unwrap(), ["1"]);
}

#[tokio::test]
async fn another_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig::new(folder.path());
    drop(Store::open(&config).unwrap());
    let path = folder.path().join("store");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8] = 9;
    std::fs::write(&path, bytes).unwrap();
    let refused = Store::open(&config).unwrap_err();
    assert!(refused.to_string().contains("version 9"), "{refused}");
}

#[tokio::test]
async fn a_scan_gives_the_whole_log() {
    let disk = FaultyDisk::new();
    let open = Open::on(&disk, &tiny()).unwrap();
    fill(&open, 40, "x").await;
    let all = open.scan().await.unwrap();
    assert!(all.windows(2).all(|pair| pair[0].offset() < pair[1].offset()));
    // 40 rounds of four messages, one closed topic with its message, and one deletion.
    assert_eq!(all.len(), 40 * 4 + 2 + 1);
    assert_eq!(
        NOW.0,
        all.iter()
            .find_map(|r| match r {
                quintet_core::engine::transaction::Record::Message(m) => Some(m.time.0),
                _ => None,
            })
            .unwrap()
    );
    let shared: Arc<Store> = Arc::clone(&open.store);
    assert_eq!(shared.durability().name(), "disk");
}
