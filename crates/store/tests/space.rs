//! Retention, and space that is given back.

use std::time::Duration;

use quintet_core::clock::Timestamp;
use quintet_core::cursor::Offset;
use quintet_core::engine::Engine;
use quintet_core::engine::transaction::{
    Append, Create, Op, Outcome, PutGroup, Retention, StepGroup, TopicConfig, Transaction,
};
use quintet_core::group::{GroupConfig, GroupName, GroupStep, Held, HeldState};
use quintet_core::name::Filter;
use quintet_store::StoreConfig;
use quintet_store::disk::faulty::FaultyDisk;

use crate::harness::{NOW, Open, append, name, open_config, tiny};

pub(crate) fn small() -> StoreConfig {
    StoreConfig { segment_bytes: 20_000, checkpoint_log_bytes: 60_000, read_threads: 1, ..StoreConfig::new("small") }
}

pub(crate) async fn create(open: &Open, topic: &str, retention: Retention) {
    let config = TopicConfig { retention, ..open_config() };
    let create = Create { topic: name(topic), config, messages: Vec::new(), closed: false };
    open.commit(Op::Create(create)).await.unwrap();
}

pub(crate) fn segment_bytes(disk: &FaultyDisk) -> usize {
    disk.files().iter().filter(|(name, _)| name.ends_with(".log")).map(|(_, length)| length).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_lived_topic_does_not_pin_short_lived_data() {
    let disk = FaultyDisk::new();
    let config = small();
    let open = Open::on(&disk, &config).unwrap();
    create(&open, "short", Retention { count: Some(50), ..Retention::default() }).await;
    let payload = "x".repeat(200);
    let mut kept = Vec::new();
    for i in 0..3_000 {
        open.publish("short", &[&format!("{i} {payload}")]).await.unwrap();
        if i % 20 == 0 {
            open.publish("long", &[&format!("{i} {payload}")]).await.unwrap();
            kept.push(format!("{i} {payload}"));
            open.store.maintain(NOW);
        }
    }
    let live = (50 + kept.len()) * 290;
    let allowed = live * 2 + 2 * config.segment_bytes as usize;
    let trimmed = || open.seen.trims.lock().iter().map(|(_, trimmed)| trimmed.messages).sum::<u64>();
    open.until(NOW, "space is given back", || trimmed() == 2_950 && segment_bytes(&disk) < allowed).await;
    assert_eq!(open.texts("long").await.unwrap(), kept);
    let short = open.texts("short").await.unwrap();
    assert_eq!(short.len(), 50);
    assert!(short[49].starts_with("2999 "));
    open.close().await;
    let open = Open::on(&disk, &config).unwrap();
    assert_eq!(open.texts("long").await.unwrap(), kept, "and all is there after opening again");
    assert_eq!(open.seen.restored.lock()["short"].messages, 50);
    let scanned = open.scan().await.unwrap();
    assert_eq!(scanned.len(), 50 + kept.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_frees_space() {
    let disk = FaultyDisk::new();
    let open = Open::on(&disk, &small()).unwrap();
    let payload = "x".repeat(1_000);
    for _ in 0..300 {
        open.publish("a", &[&payload]).await.unwrap();
    }
    assert!(segment_bytes(&disk) > 300_000);
    open.delete("a").await.unwrap();
    open.publish("b", &["stays"]).await.unwrap();
    open.until(NOW, "space is given back", || segment_bytes(&disk) < 45_000).await;
    let open = {
        open.close().await;
        Open::on(&disk, &small()).unwrap()
    };
    assert_eq!(open.texts("b").await.unwrap(), ["stays"]);
    assert!(!open.seen.restored.lock().contains_key("a"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_keeps_exactly_what_it_should_over_many_segments() {
    let disk = FaultyDisk::new();
    let open = Open::on(&disk, &tiny()).unwrap();
    create(&open, "count", Retention { count: Some(7), ..Retention::default() }).await;
    create(&open, "bytes", Retention { bytes: Some(1_000), ..Retention::default() }).await;
    create(&open, "age", Retention { age: Some(Duration::from_secs(100)), ..Retention::default() }).await;
    for i in 0..200u64 {
        let now = Timestamp(NOW.0 + i * 1_000);
        let ops = ["count", "bytes", "age", "all"].map(|topic| Op::Append(append(topic, &[&i.to_string()])));
        open.store.commit(Transaction { ops: ops.into() }, now).await.unwrap();
    }
    let now = Timestamp(NOW.0 + 199_000);
    let trimmed = |topic: &str| -> u64 {
        open.seen.trims.lock().iter().filter(|(name, _)| name == topic).map(|(_, trimmed)| trimmed.messages).sum()
    };
    open.until(now, "everything is trimmed", || trimmed("count") == 193 && trimmed("age") == 99).await;
    let numbers = |range: std::ops::Range<u64>| range.map(|n| n.to_string()).collect::<Vec<_>>();
    assert_eq!(open.texts("count").await.unwrap(), numbers(193..200));
    assert_eq!(open.texts("age").await.unwrap(), numbers(99..200));
    assert_eq!(open.texts("all").await.unwrap(), numbers(0..200));
    open.until(now, "bytes are trimmed", || trimmed("bytes") == 186).await;
    let bytes: usize = open.all("bytes").await.unwrap().iter().map(|message| message.size()).sum();
    assert!(bytes <= 1_000 && bytes > 900, "{bytes}");
    let page = open.page("count", Offset(1), 3).await.unwrap();
    assert!(page.trimmed_through > Offset(1), "a reader that missed something is told");
}

/// What a lagging filter is told of trimmed topics.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_tells_of_gaps() {
    let disk = FaultyDisk::new();
    let open = Open::on(&disk, &tiny()).unwrap();
    create(&open, "count", Retention { count: Some(5), ..Retention::default() }).await;
    for i in 0..40 {
        open.publish("count", &[&i.to_string()]).await.unwrap();
        open.publish("all", &[&i.to_string()]).await.unwrap();
    }
    open.until(NOW, "35 are trimmed", || open.seen.trims.lock().iter().map(|(_, t)| t.messages).sum::<u64>() == 35)
        .await;
    let through = *open.seen.through.lock();
    let (mut after, mut gaps, mut n_records) = (Offset::ZERO, Vec::new(), 0);
    while after < through {
        let wanted: quintet_core::engine::Wanted = std::sync::Arc::new(|_| true);
        let request = quintet_core::engine::ScanRequest { after, through, wanted, messages: 4, bytes: 1 << 20 };
        let page = open.store.scan(request).await.unwrap();
        gaps.extend(page.gaps);
        n_records += page.records.len();
        after = page.through;
    }
    assert_eq!(n_records, 45);
    assert!(!gaps.is_empty() && gaps.iter().all(|(topic, _)| *topic == name("count")));
    assert!(gaps.is_sorted_by_key(|(_, through)| *through));
}

/// Readers go on while what they read is trimmed and compacted under them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_go_on_while_segments_are_compacted() {
    let disk = FaultyDisk::new();
    let open = std::sync::Arc::new(Open::on(&disk, &tiny()).unwrap());
    create(&open, "short", Retention { count: Some(3), ..Retention::default() }).await;
    let writer = {
        let open = std::sync::Arc::clone(&open);
        tokio::spawn(async move {
            for i in 0..1_500 {
                open.commit(Op::Append(Append { ..append("short", &["x"]) })).await.unwrap();
                if i % 10 == 0 {
                    open.publish("long", &[&(i / 10).to_string()]).await.unwrap();
                }
                open.store.maintain(NOW);
            }
        })
    };
    while !writer.is_finished() {
        if open.created("long") == Offset::ZERO {
            tokio::task::yield_now().await;
            continue;
        }
        let found = open.texts("long").await.unwrap();
        let expected: Vec<String> = (0..found.len()).map(|i| i.to_string()).collect();
        assert_eq!(found, expected);
        let scanned = open.scan().await.unwrap();
        assert!(scanned.windows(2).all(|pair| pair[0].offset() < pair[1].offset()));
    }
    writer.await.unwrap();
}

/// A clock that was wrong once takes what was too old then, and nothing that comes when it is right again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumped_once_takes_nothing_later() {
    let open = Open::on(&FaultyDisk::new(), &small()).unwrap();
    create(&open, "aged", Retention { age: Some(Duration::from_secs(3_600)), ..Retention::default() }).await;
    create(&open, "probe", Retention { count: Some(1), ..Retention::default() }).await;
    let trims = |topic: &str| open.seen.trims.lock().iter().filter(|(name, _)| name == topic).count();
    open.publish("aged", &["old"]).await.unwrap();
    let next_year = Timestamp(NOW.0 + 365 * 24 * 3_600_000);
    open.until(next_year, "it is too old", || trims("aged") == 1).await;
    open.store.maintain(NOW);
    open.publish("probe", &["0"]).await.unwrap();
    // The first turn may have begun with the wrong time; each turn looks at the probe last.
    for turn in 0..3 {
        let before = trims("probe");
        if turn == 2 {
            open.publish("aged", &["new"]).await.unwrap();
        }
        open.publish("probe", &["next"]).await.unwrap();
        open.until(NOW, "upkeep has looked at both", || trims("probe") > before).await;
    }
    assert_eq!(open.texts("aged").await.unwrap(), ["new"]);
}

/// What was published while the clock was ahead is as old as it was found to be, also behind a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_age_that_was_put_right_stays_so() {
    let disk = FaultyDisk::new();
    let open = Open::on(&disk, &small()).unwrap();
    let age = Duration::from_secs(10);
    create(&open, "aged", Retention { age: Some(age), ..Retention::default() }).await;
    create(&open, "probe", Retention { count: Some(1), ..Retention::default() }).await;
    let next_year = NOW.plus(Duration::from_secs(365 * 24 * 3_600));
    open.store.commit(Op::Append(append("aged", &["ahead"])).into(), next_year).await.unwrap();
    open.publish("probe", &["1", "2"]).await.unwrap();
    open.until(NOW, "upkeep has looked at both", || !open.seen.trims.lock().is_empty()).await;
    open.close().await;
    let open = Open::on(&disk, &small()).unwrap();
    open.publish("probe", &["3"]).await.unwrap();
    let between = NOW.plus(age / 2);
    open.until(between, "upkeep has looked at both", || !open.seen.trims.lock().is_empty()).await;
    assert_eq!(open.texts("aged").await.unwrap(), ["ahead"]);
    let later = NOW.plus(age + Duration::from_millis(1));
    open.until(later, "it is too old", || open.seen.trims.lock().iter().any(|(topic, _)| topic == "aged")).await;
}

/// A group whose messages are handed out again and again writes records of state only, between messages that live.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_state_do_not_pile_up() {
    let disk = FaultyDisk::new();
    let config = small();
    let open = Open::on(&disk, &config).unwrap();
    let group = GroupName::parse("g").unwrap();
    let put = PutGroup {
        group: group.clone(),
        config: GroupConfig::new(Filter::parse("work").unwrap()),
        start: Offset::ZERO,
    };
    let put = open.commit(Op::PutGroup(put)).await.unwrap();
    let Outcome::GroupPut { created, .. } = put else { panic!("{put:?}") };
    let mut texts = Vec::new();
    for i in 0..2_000_u32 {
        let held = (0..20).map(|offset| {
            let held = Held { topic: name("work"), count: i, state: HeldState::Leased, due: Timestamp(NOW.0 + 1) };
            (Offset(offset), held)
        });
        let step = GroupStep { held: held.collect(), ..GroupStep::default() };
        open.commit(Op::StepGroup(StepGroup { group: group.clone(), created, step })).await.unwrap();
        if i % 25 == 0 {
            texts.push(i.to_string());
            open.publish("work", &[&i.to_string()]).await.unwrap();
            open.store.maintain(NOW);
        }
    }
    let allowed = texts.len() * 100 * 4 + 2 * config.segment_bytes as usize;
    open.until(NOW, "state is given back", || segment_bytes(&disk) < allowed).await;
    assert_eq!(open.texts("work").await.unwrap(), texts);
}
