//! What a publish that asks is told of those who are there to see it.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quintet_core::cursor::{LogId, Since};
use quintet_core::engine::memory::MemoryEngine;
use quintet_core::error::Error;
use quintet_core::fanout::Taken;
use quintet_core::following::Selection;
use quintet_core::group::{GroupConfig, GroupName};
use quintet_core::hub::{Hub, HubConfig};
use quintet_core::limits::Limits;
use quintet_core::message::NewMessage;
use quintet_core::name::{Filter, TopicName};
use quintet_core::patterns::publish_subscribe::groups::consumer::{Consumer, Handed};
use quintet_core::patterns::publish_subscribe::groups::operate::NewGroup;
use quintet_core::patterns::publish_subscribe::{Publish, Published};
use quintet_core::reading::Read;
use quintet_core::receipts::Receipt;
use tokio::time::Instant;

fn hub() -> Arc<Hub> {
    let engine = MemoryEngine::new(LogId(7), Limits::default());
    Hub::start(HubConfig { shards: 2, ..HubConfig::new(Arc::new(engine)) }).unwrap()
}

fn name(text: &str) -> TopicName {
    TopicName::parse(text).unwrap()
}

fn asking(topic: &str) -> Publish {
    let message = NewMessage { payload: Bytes::from("x"), ..NewMessage::default() };
    Publish { receipts: true, ..Publish::new(name(topic), vec![message]) }
}

async fn readers_of(hub: &Hub, topic: &str) -> usize {
    hub.publish(asking(topic)).await.unwrap().receipt.unwrap().readers
}

/// Readers are counted once their shard knows them.
async fn until_there_are(hub: &Hub, topic: &str, readers: usize) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while readers_of(hub, topic).await != readers {
        assert!(Instant::now() < deadline, "there never were {readers} readers of {topic}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_by_name_and_by_filter_are_counted() {
    let hub = hub();
    assert_eq!(hub.publish(asking("a/b")).await.unwrap().receipt, Some(Receipt { readers: 0, groups: 0 }));
    let follow = async |selection| hub.subscribe(&selection, &Since::Now).await.unwrap();
    let by_filter = |text| Selection::Filter(Filter::parse(text).unwrap());
    let by_name = follow(Selection::Topic(name("a/b"))).await;
    let others = [follow(by_filter("a/+")).await, follow(by_filter("a/+")).await, follow(by_filter("#")).await];
    let not_these = [follow(by_filter("b/#")).await, follow(Selection::Topic(name("a/c"))).await];
    until_there_are(&hub, "a/b", 4).await;
    until_there_are(&hub, "a/c", 4).await;
    until_there_are(&hub, "z", 1).await;
    drop(by_name);
    until_there_are(&hub, "a/b", 3).await;
    drop((others, not_these));
    until_there_are(&hub, "a/b", 0).await;
    let silent = hub.publish(Publish { receipts: false, ..asking("a/b") }).await.unwrap();
    assert_eq!(silent.receipt, None, "nobody asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_once_is_counted_before_it_is_answered() {
    let hub = hub();
    let cursor = hub.publish(asking("a")).await.unwrap().tail;
    for n in [1, 7] {
        let waits: Vec<_> = (0..n)
            .map(|_| {
                let (hub, since) = (Arc::clone(&hub), Since::Now);
                tokio::spawn(async move {
                    let until = Instant::now() + Duration::from_secs(20);
                    hub.wait(&Read::new(name("a"), since), until).await.unwrap()
                })
            })
            .collect();
        let deadline = Instant::now() + Duration::from_secs(20);
        while hub.describe(&name("a")).await.unwrap().followers < n {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(readers_of(&hub, "a").await, n);
        for wait in waits {
            assert!(wait.await.unwrap().batch.next().offset > cursor.offset);
        }
    }
}

/// Counts what it is handed.
#[derive(Clone)]
struct Member(Arc<AtomicUsize>);

impl Consumer for Member {
    fn take(&mut self, _: &[Handed]) -> Taken {
        self.0.fetch_add(1, Ordering::SeqCst);
        Taken::Yes
    }

    fn end(&mut self, _: &Error) {}
}

/// A group reads on as a follower does, but it is counted as what it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_counted_apart_from_readers() {
    let hub = hub();
    for (group, filter) in [("g", "work/#"), ("h", "work/a"), ("other", "rest")] {
        let config = GroupConfig::new(Filter::parse(filter).unwrap());
        let group = GroupName::parse(group).unwrap();
        hub.put_group(NewGroup { group, config, since: Since::Now, durability: None }).await.unwrap();
    }
    let receipt = async |topic| hub.publish(asking(topic)).await.unwrap().receipt.unwrap();
    assert_eq!(receipt("work/a").await, Receipt { readers: 0, groups: 2 });
    let group = GroupName::parse("g").unwrap();
    let follower = hub.subscribe(&Selection::Topic(name("work/b")), &Since::Now).await.unwrap();
    until_there_are(&hub, "work/b", 1).await;
    let member = Member(Arc::new(AtomicUsize::new(0)));
    let membership = hub.consume(&group, "m", 100, Box::new(member.clone())).await.unwrap();
    // What the member gets has been read by the group, which follows the filter for as long as it is there.
    let deadline = Instant::now() + Duration::from_secs(20);
    while member.0.load(Ordering::SeqCst) == 0 {
        assert!(Instant::now() < deadline, "the member gets nothing");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(receipt("work/b").await, Receipt { readers: 1, groups: 1 });
    hub.delete_group(&group).await.unwrap();
    assert_eq!(receipt("work/b").await, Receipt { readers: 1, groups: 0 });
    drop((follower, membership));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_publishers_is_told_and_a_repeat_is_not() {
    let hub = hub();
    let follower = hub.subscribe(&Selection::Topic(name("a")), &Since::Now).await.unwrap();
    until_there_are(&hub, "a", 1).await;
    let publishes: Vec<_> = (0..8)
        .map(|_| {
            let hub = Arc::clone(&hub);
            tokio::spawn(async move {
                for _ in 0..200 {
                    assert_eq!(readers_of(&hub, "a").await, 1);
                }
            })
        })
        .collect();
    for publish in publishes {
        publish.await.unwrap();
    }
    let named = || Publish { message_id: Some("m".into()), ..asking("a") };
    let Published { receipt, .. } = hub.publish(named()).await.unwrap();
    assert_eq!(receipt.map(|receipt| receipt.readers), Some(1));
    let again = hub.publish(named()).await.unwrap();
    assert!(again.duplicate && again.receipt.is_none(), "who was there then is not known any more");
    drop(follower);
}
