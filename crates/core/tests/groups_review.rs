//! Consumer groups at their edges: what is large, what does not wait, what ends.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

#[path = "support/groups.rs"]
#[allow(dead_code, reason = "not every test needs all of it")]
mod support;

use std::sync::Arc;
use std::time::Duration;

use quintet_core::cursor::LogId;
use quintet_core::engine::memory::MemoryEngine;
use quintet_core::error::Kind;
use quintet_core::group::GroupConfig;
use quintet_core::limits::Limits;

use crate::support::{Basket, TokioClock, Work, eventually, group, ids, kind, over, texts};

const NO_WAIT: Duration = Duration::ZERO;
const WAIT: Duration = Duration::from_secs(5);

fn work() -> Work {
    let engine = Arc::new(MemoryEngine::new(LogId(7), Limits::default()));
    Work::on(engine, Arc::new(TokioClock::default()), Limits::default())
}

fn keyed() -> GroupConfig {
    GroupConfig { key: Some("key".into()), ..over("work/#") }
}

/// Fails instead of hanging, also when the group's task does not let go of its thread.
fn in_time<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let (to, from) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(test());
        to.send(()).unwrap();
    });
    from.recv_timeout(Duration::from_secs(20)).expect("it is done in time");
}

#[test]
fn large_messages_behind_one_key_hold_back_no_other() {
    in_time(async || {
        let work = work();
        work.put(keyed()).await;
        let large = "x".repeat(1 << 20);
        for _ in 0..7 {
            work.publish_keyed("work/a", "slow", &[&large]).await;
        }
        work.publish_keyed("work/a", "other", &["1", "2"]).await;
        let slow = work.claim("slow", 1, WAIT).await;
        assert_eq!(slow[0].message.payload.len(), 1 << 20);
        let other = Basket::with_room(100);
        let _member = work.hub.consume(&group(), "other", 10, Box::new(other.clone())).await.unwrap();
        eventually(async || (work.info().await.waiting == 7).then_some(())).await;
        let first = other.take();
        assert_eq!(texts(&first), ["1"]);
        work.hub.acknowledge(&group(), ids(&first)).await.unwrap();
        let second = eventually(async || Some(other.take()).filter(|taken| !taken.is_empty())).await;
        assert_eq!(texts(&second), ["2"]);
    });
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_does_not_wait_gets_what_is_there() {
    let work = work();
    work.put(over("work/#")).await;
    work.publish("work/a", &["1", "2"]).await;
    assert_eq!(texts(&work.claim("", 1, NO_WAIT).await), ["1"]);
    assert_eq!(texts(&work.claim("", 1, NO_WAIT).await), ["2"]);
    assert!(work.claim("", 1, NO_WAIT).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_is_late_at_a_stopped_hub_is_told_so() {
    let work = work();
    work.put(over("work/#")).await;
    let basket = Basket::with_room(1);
    let _member = work.hub.consume(&group(), "one", 1, Box::new(basket.clone())).await.unwrap();
    work.hub.shutdown().await.unwrap();
    eventually(async || basket.0.lock().ended.clone()).await;
    assert_eq!(kind(work.hub.acknowledge(&group(), Vec::new()).await), Kind::ShuttingDown);
}

#[tokio::test(start_paused = true)]
async fn members_of_a_dropped_hub_are_told() {
    let work = work();
    work.put(over("work/#")).await;
    let basket = Basket::with_room(1);
    let _member = work.hub.consume(&group(), "one", 1, Box::new(basket.clone())).await.unwrap();
    drop(work);
    let ended = eventually(async || basket.0.lock().ended.clone()).await;
    assert_eq!(ended.kind(), &Kind::ShuttingDown);
}

#[tokio::test(start_paused = true)]
async fn who_stops_joining_at_the_last_moment_is_no_member() {
    let work = work();
    work.put(over("work/#")).await;
    {
        let group = group();
        let joining = work.hub.consume(&group, "one", 1, Box::new(Basket::with_room(1)));
        let mut joining = std::pin::pin!(joining);
        let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(joining.as_mut().poll(cx))).await;
        assert!(polled.is_pending());
        // The group answers, and nobody reads it.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    eventually(async || work.info().await.members.is_empty().then_some(())).await;
}

#[tokio::test(start_paused = true)]
async fn members_with_ever_new_names_do_not_gather() {
    let work = work();
    work.put(GroupConfig { ack_wait: Duration::from_secs(24 * 3600), ..over("work/#") }).await;
    for i in 0..1_500 {
        assert!(work.claim(&format!("worker-{i}"), 1, NO_WAIT).await.is_empty());
    }
    assert!(work.info().await.members.len() <= 1_025);
}
