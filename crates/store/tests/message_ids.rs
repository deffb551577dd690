//! Message ids on a disk: what was acknowledged is known after closing, crashes and failures, and what was not is not.

use std::collections::BTreeMap;

use quintet_core::clock::Timestamp;
use quintet_core::cursor::Offset;
use quintet_core::engine::Engine;
use quintet_core::engine::transaction::{Append, Appended, Op, Outcome, Transaction};
use quintet_core::error::Result;
use quintet_core::limits::Limits;
use quintet_store::disk::faulty::FaultyDisk;
use quintet_store::disk::random::Random;

use crate::harness::{NOW, Open, append, tiny};

async fn send_at(open: &Open, now: Timestamp, topic: &str, id: &str, texts: &[&str]) -> Result<Appended> {
    let append = Append { message_id: Some(id.into()), ..append(topic, texts) };
    match open.store.commit(Transaction::from(Op::Append(append)), now).await?.pop() {
        Some(Outcome::Appended(appended)) => Ok(appended),
        other => panic!("an append was answered by {other:?}"),
    }
}

async fn send(open: &Open, topic: &str, id: &str, texts: &[&str]) -> Result<Appended> {
    send_at(open, NOW, topic, id, texts).await
}

async fn reopened(crash: bool) {
    let mut disk = FaultyDisk::new();
    let mut random = Random(7);
    let mut tails: BTreeMap<(String, String), Offset> = BTreeMap::new();
    for round in 0..4 {
        let open = Open::on(&disk, &tiny()).unwrap();
        for ((topic, id), tail) in &tails {
            let again = send(&open, topic, id, &["again"]).await.unwrap();
            assert!(again.duplicate && again.tail == *tail, "round {round}: {topic} {id}");
        }
        for i in 0..60 {
            let (topic, id) = (format!("t/{}", i % 7), format!("{round}.{i}"));
            let appended = send(&open, &topic, &id, &["1", "2"]).await.unwrap();
            assert!(!appended.duplicate);
            tails.insert((topic, id), appended.tail);
        }
        assert!(!send(&open, "gone", "x", &["1"]).await.unwrap().duplicate, "it went with the topic");
        open.delete("gone").await.unwrap();
        if crash {
            disk = disk.after_crash(&mut random);
        } else {
            open.close().await;
        }
    }
    let open = Open::on(&disk, &tiny()).unwrap();
    let over = NOW.plus(Limits::default().message_id_window);
    for (topic, id) in tails.keys() {
        assert!(!send_at(&open, over, topic, id, &["anew"]).await.unwrap().duplicate, "its window is over");
    }
}

#[tokio::test]
async fn ids_are_known_after_closing() {
    reopened(false).await;
}

#[tokio::test]
async fn ids_are_known_after_a_power_cut() {
    reopened(true).await;
}

/// A publish that failed is sent again, and is neither lost nor doubled.
#[tokio::test]
async fn a_failed_append_takes_its_id_back() {
    let disk = FaultyDisk::new();
    let open = Open::on(&disk, &tiny()).unwrap();
    let first = send(&open, "a", "x", &["0"]).await.unwrap();
    open.copied(&disk, "a").await;
    disk.fail_syncs(1);
    // Both are in the group that fails, or the second one is new.
    let (one, two) = tokio::join!(send(&open, "a", "y", &["1"]), send(&open, "a", "y", &["1"]));
    assert!(one.is_err(), "{one:?}");
    assert!(two.is_err() || !two.unwrap().duplicate, "a repeat is not answered before its original is committed");
    send(&open, "a", "y", &["1"]).await.unwrap();
    assert!(send(&open, "a", "y", &["1"]).await.unwrap().duplicate);
    assert_eq!(send(&open, "a", "x", &["0"]).await.unwrap().tail, first.tail);
    assert_eq!(open.texts("a").await.unwrap(), ["0", "1"]);
}

/// Publishers that send until they are answered, over crashes and failures: each message is there once.
async fn exactly_once(seed: u64) {
    let mut random = Random(seed);
    let mut disk = FaultyDisk::new();
    let mut to_send: Vec<u64> = (0..60).collect();
    while !to_send.is_empty() {
        disk.crash_at(disk.changes() + 5 + random.below(120));
        if let Ok(open) = Open::on(&disk, &tiny()) {
            while !disk.has_crashed() && !to_send.is_empty() {
                if random.below(10) == 0 {
                    disk.fail_syncs(1);
                }
                let mut under_way = Vec::new();
                for _ in 0..=random.below(4) {
                    let n = to_send[random.below(to_send.len() as u64) as usize];
                    let message_id = Some(format!("id-{n}").into());
                    let op = Op::Append(Append { message_id, ..append(&format!("t/{}", n % 3), &[&n.to_string()]) });
                    under_way.push((n, open.store.commit(op.into(), NOW)));
                }
                for (n, answer) in under_way {
                    // Some that are answered are sent once more all the same.
                    if answer.await.is_ok() && random.below(3) > 0 {
                        to_send.retain(|other| *other != n);
                    }
                }
            }
        }
        disk = disk.after_crash(&mut random);
    }
    let open = Open::on(&disk, &tiny()).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let mut seen = Vec::new();
    for topic in ["t/0", "t/1", "t/2"] {
        seen.extend(open.texts(topic).await.unwrap().iter().map(|text| text.parse::<u64>().unwrap()));
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..60).collect::<Vec<_>>(), "seed {seed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_until_it_is_answered_is_there_once() {
    for seed in 1..=60 {
        exactly_once(seed).await;
    }
}
