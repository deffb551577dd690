//! Forks share what is in their sources' segments: it stays while they need it, and goes with them.

use quintet_core::cursor::Offset;
use quintet_core::engine::Engine;
use quintet_core::engine::transaction::{Create, Fork, Op, Record, Retention, TopicConfig};
use quintet_store::disk::faulty::FaultyDisk;
use quintet_store::disk::random::Random;

use crate::harness::{NOW, Open, name, open_config, tiny};

fn log_bytes(disk: &FaultyDisk) -> usize {
    disk.files().iter().filter(|(name, _)| name.ends_with(".log")).map(|(_, length)| length).sum()
}

async fn fork(open: &Open, topic: &str, source: &str, through: Offset, retention: Retention) {
    let source_created = open.created(source);
    let fork = Some(Fork { source: name(source), source_created, through, sub_offset: 0, anchor: through });
    let config = TopicConfig { fork, retention, ..open_config() };
    let create = Create { topic: name(topic), config, messages: Vec::new(), closed: false };
    open.commit(Op::Create(create)).await.unwrap();
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_source_lives_on_in_its_forks() {
    let mut disk = FaultyDisk::new();
    let mut open = Open::on(&disk, &tiny()).unwrap();
    let mut tails = Vec::new();
    for text in numbers(0..60) {
        tails.push(open.publish("a", &[&text]).await.unwrap());
        open.publish("noise", &[&"x".repeat(500)]).await.unwrap();
    }
    fork(&open, "f", "a", tails[39], Retention::default()).await;
    open.publish("f", &["own"]).await.unwrap();
    fork(&open, "g", "f", tails[19], Retention::default()).await;
    open.delete("a").await.unwrap();
    open.delete("noise").await.unwrap();
    let f: Vec<String> = numbers(0..40).into_iter().chain(["own".into()]).collect();
    open.until(NOW, "the noise is given back", || log_bytes(&disk) < 12_000).await;
    for round in 0..3 {
        assert_eq!(open.texts("f").await.unwrap(), f, "round {round}");
        assert_eq!(open.texts("g").await.unwrap(), numbers(0..20), "round {round}");
        let scanned = open.scan().await.unwrap();
        let told = scanned.iter().filter(|record| matches!(record, Record::Message(_))).count();
        assert_eq!(told, 1, "only what is a fork's own is news");
        if round == 1 {
            open.close().await;
        } else {
            disk = disk.after_crash(&mut Random(round));
            drop(open);
        }
        open = Open::on(&disk, &tiny()).unwrap();
        assert!(open.seen.restored.lock()["a"].hidden);
    }
    open.delete("f").await.unwrap();
    assert_eq!(open.texts("g").await.unwrap(), numbers(0..20));
    open.delete("g").await.unwrap();
    open.publish("b", &["stays"]).await.unwrap();
    open.until(NOW, "all is given back", || log_bytes(&disk) < 4_500).await;
    open.close().await;
    let open = Open::on(&disk, &tiny()).unwrap();
    let left: Vec<String> = open.seen.restored.lock().keys().cloned().collect();
    assert_eq!(left, ["b"], "the sources went with their last fork");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forks_retention_begins_with_what_it_inherits() {
    let disk = FaultyDisk::new();
    let open = Open::on(&disk, &tiny()).unwrap();
    let mut tail = Offset::ZERO;
    for text in numbers(0..30) {
        tail = open.publish("a", &[&text]).await.unwrap();
    }
    fork(&open, "f", "a", tail, Retention { count: Some(5), ..Retention::default() }).await;
    for text in numbers(30..35) {
        open.publish("f", &[&text]).await.unwrap();
    }
    open.store.maintain(NOW);
    assert_eq!(open.texts("f").await.unwrap(), numbers(0..35), "what is inherited does not count");
    open.publish("f", &["35"]).await.unwrap();
    let trimmed = || open.seen.trims.lock().iter().map(|(_, trimmed)| trimmed.messages).sum::<u64>();
    open.until(NOW, "one is trimmed", || trimmed() == 1).await;
    assert_eq!(open.texts("f").await.unwrap(), numbers(31..36));
    assert_eq!(open.texts("a").await.unwrap(), numbers(0..30));
    open.close().await;
    let open = Open::on(&disk, &tiny()).unwrap();
    assert_eq!(open.texts("f").await.unwrap(), numbers(31..36));
    assert_eq!(open.seen.restored.lock()["f"].messages, 5);
}
