//! A single flipped bit in what the log says of topics, producers and closures changes none of it.

use quintet_core::engine::transaction::{Append, Op, Outcome, ProducerStep, Retention, TopicConfig};
use quintet_core::error::Kind;
use quintet_store::StoreConfig;
use quintet_store::disk::faulty::FaultyDisk;
use quintet_store::disk::random::Random;
use quintet_store::inspect::check::check_on;
use quintet_store::inspect::repair::repair_on;

use crate::harness::{Open, append, open_config, tiny};

const TOPICS: [&str; 4] = ["t/plain", "t/with-a-longer-name-that-has-bits-to-flip", "t/produced", "t/shut"];

fn produced(seq: u64) -> Op {
    let step = ProducerStep { id: "producer-1".into(), epoch: 3, seq };
    Op::Append(Append { producer: Some(step), ..append("t/produced", &["p"]) })
}

/// A store of which no checkpoint knows anything.
async fn filled() -> FaultyDisk {
    let disk = FaultyDisk::new();
    let open = Open::on(&disk, &StoreConfig { checkpoint_log_bytes: 1 << 30, ..tiny() }).unwrap();
    open.publish("t/deleted", &["x"]).await.unwrap();
    for (i, topic) in TOPICS.into_iter().enumerate() {
        let retention = Retention { count: Some(1_000 + i as u64), ..Retention::default() };
        let create = Some(TopicConfig { retention, ..open_config() });
        open.commit(Op::Append(Append { create, ..append(topic, &["1", "2"]) })).await.unwrap();
    }
    open.delete("t/deleted").await.unwrap();
    for seq in 0..3 {
        open.commit(produced(seq)).await.unwrap();
    }
    open.commit(Op::Append(Append { close: true, ..append("t/shut", &["3"]) })).await.unwrap();
    for i in 0..20 {
        open.publish("t/plain", &[&format!("{i}-{}", "x".repeat(100))]).await.unwrap();
    }
    let copy = disk.copy();
    drop(open);
    copy
}

/// `lost`: messages that a repair may have left out.
async fn is_as_it_was(disk: &FaultyDisk, lost: usize, what: &str) {
    let open = Open::on(disk, &tiny()).unwrap_or_else(|error| panic!("{what}: {error}"));
    {
        let restored = open.seen.restored.lock();
        for (i, topic) in TOPICS.into_iter().enumerate() {
            let state = restored.get(topic).unwrap_or_else(|| panic!("{what}: {topic} is gone"));
            assert_eq!(state.config.retention.count, Some(1_000 + i as u64), "{what}: {topic}");
            assert_eq!(state.closed, topic == "t/shut", "{what}: {topic}");
        }
        assert!(!restored.contains_key("t/deleted"), "{what}: it is back");
    }
    for (topic, n) in TOPICS.into_iter().zip([22, 2, 5, 3]) {
        match open.texts(topic).await {
            Ok(texts) => assert!((n - lost..=n).contains(&texts.len()), "{what}: {topic}: {}", texts.len()),
            Err(error) => assert_eq!(error.kind(), &Kind::StorageDamaged, "{what}: {topic}: {error}"),
        }
    }
    match open.commit(produced(2)).await.unwrap() {
        Outcome::Appended(appended) => assert!(appended.duplicate, "{what}: it is stored twice"),
        other => panic!("{what}: {other:?}"),
    }
    open.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_changes_no_state() {
    let disk = filled().await;
    is_as_it_was(&disk.copy(), 0, "nothing is flipped").await;
    let mut random = Random(3);
    let logs: Vec<_> = disk.files().into_iter().filter(|(name, _)| name.ends_with(".log")).collect();
    for (i, (file, length)) in logs.iter().enumerate() {
        // Without a checkpoint behind it, the very last group cannot be told from one that was being written.
        let end = if i + 1 == logs.len() { length.saturating_sub(700) } else { *length };
        for byte in (64..end).step_by(5) {
            let flipped = disk.copy();
            let bit = random.below(8) as u8;
            flipped.flip(file, byte, bit);
            let what = format!("bit {bit} of byte {byte} of {file}");
            is_as_it_was(&flipped.copy(), 0, &what).await;
            if byte % 10 == 0 {
                repair_on(&flipped).unwrap();
                assert!(check_on(&flipped).unwrap().is_intact(), "{what}: it is repaired");
                is_as_it_was(&flipped, 1, &format!("{what}, repaired")).await;
            }
        }
    }
}
