//! What a hub refuses when it has enough: readers of a topic, bytes of a topic in memory, groups and their members.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

#[path = "support/groups.rs"]
#[allow(dead_code, reason = "not every test needs all of it")]
mod support;

use std::sync::Arc;

use quintet_core::cursor::{LogId, Since};
use quintet_core::engine::memory::MemoryEngine;
use quintet_core::engine::transaction::{Retention, TopicConfig};
use quintet_core::error::Kind;
use quintet_core::following::Selection;
use quintet_core::group::GroupName;
use quintet_core::hub::CreateTopic;
use quintet_core::limits::Limits;
use quintet_core::message::{ContentType, Headers, NewMessage};
use quintet_core::patterns::publish_subscribe::Publish;
use quintet_core::patterns::publish_subscribe::groups::operate::NewGroup;

use crate::support::{Basket, TokioClock, Work, eventually, group, kind, name, over};

fn work(limits: Limits) -> Work {
    let engine = Arc::new(MemoryEngine::new(LogId(7), limits.clone()));
    Work::on(engine, Arc::new(TokioClock::default()), limits)
}

#[tokio::test]
async fn a_topic_has_so_many_readers() {
    let work = work(Limits { followers_per_topic: 2, ..Limits::default() });
    let subscribe = async |topic: &str| work.hub.subscribe(&Selection::Topic(name(topic)), &Since::Now).await;
    let _one = subscribe("a").await.unwrap();
    let two = subscribe("a").await.unwrap();
    work.publish("a", &["1"]).await;
    eventually(async || {
        let info = work.hub.describe(&name("a")).await.unwrap();
        (info.followers == 2).then_some(())
    })
    .await;
    assert_eq!(kind(subscribe("a").await), Kind::TooMany);
    drop(subscribe("b").await.unwrap());
    drop(two);
    eventually(async || subscribe("a").await.ok()).await;
}

/// Each message of a publish is kept with its headers, even if all have the same.
#[tokio::test]
async fn headers_count_for_each_message_of_a_publish() {
    let work = work(Limits { batch_bytes: 10_000, ..Limits::default() });
    let headers = Headers::new([("x-large", "y".repeat(2_000))]).unwrap();
    let publish = async |n: usize| {
        let message = NewMessage { headers: headers.clone(), ..NewMessage::default() };
        work.hub.publish(Publish::new(name("a"), vec![message; n])).await
    };
    publish(4).await.unwrap();
    assert_eq!(kind(publish(5).await), Kind::TooLarge);
}

#[tokio::test]
async fn a_topic_in_memory_has_so_many_bytes() {
    let work = work(Limits { memory_topic_bytes: 1_000, ..Limits::default() });
    let publish = async |topic: &str| {
        let message = NewMessage { payload: vec![0; 300].into(), ..NewMessage::default() };
        work.hub.publish(Publish::new(name(topic), vec![message])).await
    };
    publish("a").await.unwrap();
    publish("a").await.unwrap();
    assert_eq!(kind(publish("a").await), Kind::TooMany);
    publish("b").await.unwrap();
    let retention = Retention { bytes: Some(500), ..Retention::default() };
    let config = TopicConfig { retention, ..TopicConfig::open(ContentType::octet_stream()) };
    let create =
        CreateTopic { topic: name("c"), config, durability: None, messages: Vec::new(), closed: false, fork: None };
    work.hub.create_topic(create).await.unwrap();
    for _ in 0..9 {
        publish("c").await.unwrap();
    }
}

#[tokio::test]
async fn a_hub_has_so_many_groups_and_members() {
    let work = work(Limits { groups: 1, group_members: 1, ..Limits::default() });
    work.put(over("work/#")).await;
    let other = GroupName::parse("other").unwrap();
    let new = NewGroup { group: other, config: over("work/#"), since: Since::Start, durability: None };
    assert_eq!(kind(work.hub.put_group(new.clone()).await), Kind::TooMany);
    let consume = async || work.hub.consume(&group(), "", 1, Box::new(Basket::with_room(1))).await;
    let member = consume().await.unwrap();
    assert_eq!(kind(consume().await), Kind::TooMany);
    drop(member);
    eventually(async || consume().await.ok()).await;
    work.hub.delete_group(&group()).await.unwrap();
    assert!(work.hub.put_group(new).await.unwrap().0);
}
