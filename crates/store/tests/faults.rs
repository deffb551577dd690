//! A store on a disk that fails: after a crash at any point, opening gives a prefix of what was asked for that contains
//! everything that was acknowledged, in order, and nothing else.
//!
//! `QUINTET_STORE_SEED` replays one seed, `QUINTET_STORE_SEEDS` sets how many are tried. A seed fixes what is asked for and
//! what the disk does, not how the store's threads take turns, so that a failure may need some tries to show again.

use std::collections::BTreeMap;
use std::sync::Arc;

use quintet_core::clock::Timestamp;
use quintet_core::cursor::Offset;
use quintet_core::engine::Engine;
use quintet_core::engine::transaction::{
    Append, Create, Delete, Fork, Op, ProducerStep, Record, Retention, TopicConfig, Transaction,
};
use quintet_core::error::Kind;
use quintet_core::message::Message;
use quintet_store::StoreConfig;
use quintet_store::disk::faulty::FaultyDisk;
use quintet_store::disk::random::Random;
use quintet_store::inspect::check::check_on;

use crate::harness::{NOW, Open, append, name, open_config, tiny, tiny_for};

/// What the test asked for and may expect.
#[derive(Debug, Default, Clone)]
struct Model {
    /// By topic, what was published, and whether it was acknowledged. Names are used once.
    topics: BTreeMap<String, Vec<(String, bool)>>,
    /// Topics that were asked to be deleted, and whether that was acknowledged.
    deleted: BTreeMap<String, bool>,
    /// Forks, and how many of their messages are inherited.
    inherited: BTreeMap<String, usize>,
    next: u64,
}

pub(crate) fn seeds(default: u64) -> Vec<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("QUINTET_STORE_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("QUINTET_STORE_SEEDS").unwrap_or(default)).collect(),
    }
}

/// Asks for a few things at once, so that they share groups, and notes what was acknowledged.
async fn step(open: &Open, model: &mut Model, random: &mut Random) {
    let mut asked = Vec::new();
    for _ in 0..=random.below(4) {
        model.next += 1;
        let n = model.next;
        let topic = match (random.below(8), model.inherited.last_key_value()) {
            (0, Some((fork, _))) => fork.clone(),
            _ => format!("t{}", random.below(6) + model.deleted.len() as u64),
        };
        if model.deleted.contains_key(&topic) {
            continue;
        }
        if random.below(25) == 0 && model.topics.contains_key(&topic) {
            let op = Op::Delete(Delete { topic: name(&topic), created: None });
            model.deleted.insert(topic.clone(), false);
            asked.push((topic, None, open.store.commit(op.into(), NOW)));
            continue;
        }
        let texts: Vec<String> =
            (0..=random.below(3)).map(|i| format!("{n}.{i}.{}", "x".repeat(random.below(300) as usize))).collect();
        let payloads: Vec<&str> = texts.iter().map(String::as_str).collect();
        let all = model.topics.entry(topic.clone()).or_default();
        let from = all.len();
        all.extend(texts.iter().map(|text| (text.clone(), false)));
        let op = Op::Append(append(&topic, &payloads));
        asked.push((topic, Some((from, payloads.len())), open.store.commit(Transaction::from(op), NOW)));
    }
    for (topic, messages, answer) in asked {
        let acknowledged = answer.await.is_ok();
        match messages {
            Some((from, n)) => {
                for message in &mut model.topics.get_mut(&topic).unwrap()[from..from + n] {
                    message.1 = acknowledged;
                }
            }
            None => *model.deleted.get_mut(&topic).unwrap() = acknowledged,
        }
    }
}

fn shorter<'a>(texts: impl IntoIterator<Item = &'a String>) -> Vec<&'a str> {
    texts.into_iter().map(|text| text.trim_end_matches('x')).collect()
}

/// Forks a topic at its end, now and then.
async fn fork(open: &Open, model: &mut Model, random: &mut Random) {
    let living: Vec<String> =
        model.topics.keys().filter(|topic| !model.deleted.contains_key(*topic)).cloned().collect();
    if random.below(15) > 0 || living.is_empty() {
        return;
    }
    let source = &living[random.below(living.len() as u64) as usize];
    let Ok(messages) = open.all(source).await else { return };
    let Some(last) = messages.last() else { return };
    model.next += 1;
    let topic = format!("fork-{}", model.next);
    let (through, source_created) = (last.offset, open.created(source));
    let fork = Some(Fork { source: name(source), source_created, through, sub_offset: 0, anchor: through });
    let config = TopicConfig { fork, ..open_config() };
    let create = Create { topic: name(&topic), config, messages: Vec::new(), closed: false };
    let acknowledged = open.commit(Op::Create(create)).await.is_ok();
    let text = |message: &Arc<Message>| (String::from_utf8(message.payload.to_vec()).unwrap(), acknowledged);
    model.inherited.insert(topic.clone(), messages.len());
    if !acknowledged {
        // It may be there or not, so nothing is to be published in it.
        model.deleted.insert(topic.clone(), false);
    }
    model.topics.insert(topic, messages.iter().map(text).collect());
}

/// Compares a store with what may be expected of it; then what is there counts as acknowledged.
async fn check(open: &Open, model: &mut Model, seed: u64) {
    let topics: Vec<String> = model.topics.keys().cloned().collect();
    for topic in topics {
        let kept = is_there(open, &topic);
        let asked = model.topics.get_mut(&topic).unwrap();
        match model.deleted.get(&topic) {
            Some(true) => assert!(!kept, "seed {seed}: {topic} was deleted"),
            Some(false) if !kept => continue,
            _ => {}
        }
        if !kept {
            assert!(
                model.deleted.contains_key(&topic) || asked.iter().all(|(_, ok)| !ok),
                "seed {seed}: {topic} is lost"
            );
            asked.clear();
            model.inherited.remove(&topic);
            continue;
        }
        // Each transaction's messages begin with its own number, so what is there tells which transactions are.
        let found = open.texts(&topic).await.unwrap_or_else(|error| panic!("seed {seed}: {topic}: {error}"));
        let mut rest = asked.iter();
        for text in &found {
            let skipped: Vec<_> = rest.by_ref().take_while(|(asked, _)| asked != text).collect();
            let in_order = skipped.iter().all(|(_, acknowledged)| !acknowledged);
            assert!(in_order, "seed {seed}: {topic} lost an acknowledged message before {text}");
        }
        assert!(
            rest.clone().all(|(_, acknowledged)| !acknowledged),
            "seed {seed}: {topic} lost its end: {:?} behind {:?}",
            rest.map(|(t, ok)| format!("{} {ok}", t.trim_end_matches('x'))).collect::<Vec<_>>(),
            shorter(&found)
        );
        assert!(found.iter().all(|text| asked.iter().any(|(asked, _)| asked == text)), "seed {seed}: invented");
        for transaction in found.chunk_by(|a, b| a.split('.').next() == b.split('.').next()) {
            let number = transaction[0].split('.').next().unwrap();
            let whole = asked.iter().filter(|(text, _)| text.split('.').next() == Some(number)).count();
            assert_eq!(transaction.len(), whole, "seed {seed}: {topic}: a transaction is there in part");
        }
        *asked = found.into_iter().map(|text| (text, true)).collect();
    }
    for (topic, acknowledged) in &mut model.deleted {
        *acknowledged = !is_there(open, topic);
    }
    let message = |record: &Record| match record {
        Record::Message(message) => Some(String::from_utf8(message.payload.to_vec()).unwrap()),
        _ => None,
    };
    let mut scanned: Vec<String> = open.scan().await.unwrap().iter().filter_map(message).collect();
    let kept = model.topics.iter().filter(|(topic, _)| model.deleted.get(*topic) != Some(&true));
    // What is inherited is told of where its source published it, if that is still there for itself.
    let own = |(topic, messages): (&String, &Vec<(String, bool)>)| {
        let n_inherited = model.inherited.get(topic).copied().unwrap_or(0);
        messages.iter().skip(n_inherited).map(|(text, _)| text.clone()).collect::<Vec<_>>()
    };
    let mut kept: Vec<String> = kept.flat_map(own).collect();
    scanned.sort();
    kept.sort();
    assert_eq!(shorter(&scanned), shorter(&kept), "seed {seed}: a scan sees what reads see");
}

fn is_there(open: &Open, topic: &str) -> bool {
    open.seen.restored.lock().get(topic).is_some_and(|state| !state.hidden)
}

async fn crash_run(seed: u64) {
    let mut random = Random(seed);
    let mut disk = FaultyDisk::new();
    let mut model = Model::default();
    for _ in 0..4 {
        let changes = disk.changes();
        disk.crash_at(changes + 1 + random.below(120));
        let mut opened = Open::on(&disk, &tiny_for(seed));
        if let Ok(open) = &opened {
            check(open, &mut model, seed).await;
            for _ in 0..60 {
                if disk.has_crashed() {
                    break;
                }
                match random.below(40) {
                    0 => disk.fail_writes(1 + random.below(2)),
                    1 => disk.fail_syncs(1 + random.below(2)),
                    2 => {
                        let used: usize = disk.files().iter().map(|(_, length)| length).sum();
                        disk.full_at(Some(used as u64 + random.below(500)));
                    }
                    3..6 => disk.full_at(None),
                    6..10 => open.store.maintain(NOW),
                    _ => {}
                }
                step(open, &mut model, &mut random).await;
                fork(open, &mut model, &mut random).await;
            }
        }
        if random.below(4) == 0
            && let Ok(open) = opened
        {
            // The disk may be gone, and then closing fails; that is as good as a crash.
            drop(open.store.close().await);
            opened = Err(quintet_core::error::Error::new(Kind::Internal, "closed"));
        }
        let after = disk.after_crash(&mut random);
        drop(opened);
        disk = after;
    }
    let open = Open::on(&disk, &tiny_for(seed)).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    check(&open, &mut model, seed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_loses_nothing_that_was_acknowledged() {
    for seed in seeds(300) {
        println!("seed {seed}");
        crash_run(seed).await;
    }
}

/// The process ends after a failed sync, but the machine goes on: what the system's cache holds may not be on disk.
#[tokio::test]
async fn what_a_failed_sync_left_in_the_cache_is_not_trusted() {
    for seed in seeds(50) {
        let mut random = Random(seed);
        let disk = FaultyDisk::new();
        let open = Open::on(&disk, &tiny_for(seed)).unwrap();
        open.publish("a", &["1"]).await.unwrap();
        open.copied(&disk, "a").await;
        disk.fail_syncs(10);
        assert!(open.publish("a", &["2"]).await.is_err());
        drop(open);
        disk.fail_syncs(0);
        let open = Open::on(&disk, &tiny_for(seed)).unwrap();
        let seen = open.texts("a").await.unwrap();
        open.publish("a", &["3"]).await.unwrap();
        let expected: Vec<String> = seen.into_iter().chain(["3".into()]).collect();
        let disk = disk.after_crash(&mut random);
        drop(open);
        let open = Open::on(&disk, &tiny_for(seed)).unwrap();
        assert_eq!(open.texts("a").await.unwrap(), expected, "seed {seed}: what was visible stays");
    }
}

#[tokio::test]
async fn a_failing_disk_refuses_writes_and_serves_reads() {
    let disk = FaultyDisk::new();
    let open = Open::on(&disk, &StoreConfig { reserve_bytes: 0, ..tiny() }).unwrap();
    open.publish("a", &["1"]).await.unwrap();
    open.copied(&disk, "a").await;
    let used: usize = disk.files().iter().map(|(_, length)| length).sum();
    disk.full_at(Some(used as u64 + 10));
    let full = open.publish("a", &["2"]).await.unwrap_err();
    assert_eq!(full.kind(), &Kind::StorageFull);
    assert!(full.is_retryable());
    let kinds = || open.store.troubles().iter().map(|error| error.kind().clone()).collect::<Vec<_>>();
    assert_eq!(kinds(), [Kind::StorageFull]);
    open.store.maintain(NOW);
    disk.full_at(None);
    open.until(NOW, "nothing published, and yet all is well", || kinds().is_empty()).await;
    assert!(!disk.files().iter().any(|(name, _)| name.ends_with(".tmp")), "nothing is left of the question");
    disk.fail_writes(1);
    let failed = open.publish("a", &["3"]).await.unwrap_err();
    assert_eq!(failed.kind(), &Kind::StorageUnavailable);
    disk.fail_syncs(3);
    for text in ["4", "5", "6"] {
        assert_eq!(open.publish("a", &[text]).await.unwrap_err().kind(), &Kind::StorageUnavailable);
        assert_eq!(open.texts("a").await.unwrap(), ["1"], "reads go on, and see what was acknowledged");
    }
    open.publish("a", &["7"]).await.unwrap();
    assert_eq!(kinds(), []);
    assert_eq!(open.texts("a").await.unwrap(), ["1", "7"]);
    let disk = disk.after_crash(&mut Random(3));
    drop(open);
    let open = Open::on(&disk, &tiny()).unwrap();
    assert_eq!(open.texts("a").await.unwrap(), ["1", "7"]);
    assert!(open.publish("a", &["8"]).await.unwrap() > Offset::ZERO);
}

/// Room that was written ahead is used up before a full disk refuses, and where there is none for zeros a group goes
/// without them.
#[tokio::test]
async fn a_full_disk_takes_what_fits() {
    let disk = FaultyDisk::new();
    let config = StoreConfig { segment_bytes: 100_000, ..tiny() };
    let open = Open::on(&disk, &config).unwrap();
    let used = || disk.files().iter().map(|(_, length)| *length as u64).sum::<u64>();
    open.publish("a", &["0"]).await.unwrap();
    open.copied(&disk, "a").await;
    let mut expected = vec!["0".to_owned()];
    for room in [0, 100, 200, 300, 400] {
        disk.full_at(Some(used() + room));
        loop {
            let text = format!("{room}.{}", expected.len());
            match open.publish("a", &[&text]).await {
                Ok(_) => expected.push(text),
                Err(error) => break assert_eq!(error.kind(), &Kind::StorageFull),
            }
        }
        disk.full_at(None);
        open.publish("a", &["x"]).await.unwrap();
        expected.push("x".into());
    }
    assert!(expected.len() > 20, "{expected:?}");
    assert_eq!(open.texts("a").await.unwrap(), expected);
    let disk = disk.after_crash(&mut Random(3));
    drop(open);
    assert_eq!(Open::on(&disk, &config).unwrap().texts("a").await.unwrap(), expected);
}

/// A producer whose append failed sends it again, and it is neither lost nor doubled.
#[tokio::test]
async fn a_failed_append_takes_its_producers_step_back() {
    let disk = FaultyDisk::new();
    let open = Open::on(&disk, &tiny()).unwrap();
    let by = |seq| Some(ProducerStep { id: "p".into(), epoch: 0, seq });
    let send = |seq: u64, text: &str| open.commit(Op::Append(Append { producer: by(seq), ..append("a", &[text]) }));
    send(0, "0").await.unwrap();
    open.copied(&disk, "a").await;
    disk.fail_syncs(1);
    assert!(send(1, "1").await.is_err());
    send(1, "1").await.unwrap();
    send(1, "1").await.unwrap();
    send(2, "2").await.unwrap();
    assert_eq!(open.texts("a").await.unwrap(), ["0", "1", "2"]);
}

/// Trims and compaction under crashes: what is left is always the end of what was published.
async fn retention_run(seed: u64) {
    let mut random = Random(seed);
    let mut disk = FaultyDisk::new();
    let mut n_acknowledged = 0u64;
    let mut n_asked = 0u64;
    for round in 0..5u64 {
        let changes = disk.changes();
        disk.crash_at(changes + 50 + random.below(400));
        if let Ok(open) = Open::on(&disk, &tiny_for(seed)) {
            if round == 0 {
                let retention = Retention { count: Some(10), ..Retention::default() };
                let config = TopicConfig { retention, ..open_config() };
                let create = Create { topic: name("r"), config, messages: Vec::new(), closed: false };
                if open.commit(Op::Create(create)).await.is_err() {
                    return;
                }
            }
            check_tail(&open, n_acknowledged, n_asked, seed).await;
            n_acknowledged = n_acknowledged.max(last_of(&open).await);
            n_asked = n_acknowledged;
            while !disk.has_crashed() {
                n_asked += 1;
                let text = n_asked.to_string();
                let both = [append("r", &[&text]), append(&format!("long/{}", n_asked % 3), &[&text])];
                let ops =
                    both.map(Op::Append).into_iter().take(if n_asked.is_multiple_of(10) { 2 } else { 1 }).collect();
                match open.store.commit(Transaction { ops }, NOW).await {
                    Ok(_) => n_acknowledged = n_asked,
                    Err(_) => break,
                }
                open.store.maintain(Timestamp(NOW.0 + 1));
            }
        }
        disk = disk.after_crash(&mut random);
        // What giving back left unfinished is no damage.
        if let Ok(report) = check_on(&disk) {
            assert!(report.is_intact(), "seed {seed}: {report}");
        }
    }
    let open = Open::on(&disk, &tiny_for(seed)).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    check_tail(&open, n_acknowledged, n_asked, seed).await;
}

async fn last_of(open: &Open) -> u64 {
    open.texts("r").await.unwrap().last().map_or(0, |text| text.parse().unwrap())
}

async fn check_tail(open: &Open, n_acknowledged: u64, n_asked: u64, seed: u64) {
    let texts = open.texts("r").await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let numbers: Vec<u64> = texts.iter().map(|text| text.parse().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "seed {seed}: {numbers:?}");
    let last = numbers.last().copied().unwrap_or(0);
    assert!(last >= n_acknowledged && last <= n_asked, "seed {seed}: {last} of {n_acknowledged} to {n_asked}");
    assert!(numbers.len() as u64 >= n_acknowledged.min(10), "seed {seed}: too much was trimmed: {numbers:?}");
    for i in 0..3u64 {
        let expected: Vec<u64> = (1..=last).filter(|n| n % 10 == 0 && n % 3 == i).collect();
        let topic = format!("long/{i}");
        if open.created(&topic) == Offset::ZERO {
            assert!(expected.is_empty(), "seed {seed}: {topic} is lost");
            continue;
        }
        let found: Vec<u64> = open.texts(&topic).await.unwrap().iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(found, expected, "seed {seed}: {topic}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_and_compaction_survive_crashes() {
    for seed in seeds(60) {
        println!("seed {seed}");
        retention_run(seed).await;
    }
}
