//! Long polling: tell me when something is new.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use crate::harness::deadline::{SOON, until};
use crate::harness::http::Answer;
use crate::harness::hub::Hub;

/// Starts a long poll of a minute and returns once the hub has it: the last of them is known to be parked when a
/// request sent after it on another connection has been answered and the hub's CPU is idle, so tests here do not rely
/// on it; they only gain from it.
fn poll(hub: &Hub, topic: &str, cursor: &str) -> tokio::task::JoinHandle<Answer> {
    let path = format!("/topics/{topic}?offset={cursor}&live=long-poll&timeout=60");
    let request = hub.http().get(&path);
    tokio::spawn(request.send())
}

#[tokio::test]
async fn a_publish_wakes_the_reader() {
    let hub = Hub::start().await;
    let mut cursor = hub.http().publish("bell", "0").await;
    for n in 1..50 {
        let poll = poll(&hub, "bell", &cursor);
        let published = hub.http().publish("bell", &n.to_string()).await;
        let answer = poll.await.unwrap().expect(200);
        assert_eq!(answer.text(), n.to_string());
        assert_eq!(answer.header("stream-next-offset"), published);
        assert_eq!(answer.header("stream-up-to-date"), "true");
        cursor = published;
    }
}

#[tokio::test]
async fn a_thousand_wait_for_one_message() {
    let hub = Hub::start().await;
    let cursor = hub.http().publish("crowd", "0").await;
    let polls: Vec<_> = (0..1_000).map(|_| poll(&hub, "crowd", &cursor)).collect();
    hub.http().publish("crowd", "at last").await;
    for answer in join_all(polls).await {
        assert_eq!(answer.unwrap().expect(200).text(), "at last");
    }
}

#[tokio::test]
async fn time_that_is_up_is_204_with_a_cursor() {
    let hub = Hub::start().await;
    let cursor = hub.http().publish("quiet", "0").await;
    let began = Instant::now();
    let path = format!("/topics/quiet?offset={cursor}&live=long-poll&timeout=1");
    let answer = hub.http().get(&path).send().await.expect(204);
    assert!(began.elapsed() >= Duration::from_millis(900), "answered after {:?}", began.elapsed());
    assert_eq!(answer.header("stream-next-offset"), cursor);
    assert_eq!(answer.header("stream-up-to-date"), "true");
}

#[tokio::test]
async fn prefer_wait_is_a_long_poll_too() {
    let hub = Hub::start().await;
    let cursor = hub.http().publish("prefer", "0").await;
    let path = format!("/topics/prefer?offset={cursor}");
    let waiting = tokio::spawn(hub.http().get(&path).header("Prefer", "wait=30").send());
    hub.http().publish("prefer", "1").await;
    let answer = waiting.await.unwrap().expect(200);
    assert_eq!(answer.text(), "1");
    assert_eq!(answer.header("preference-applied"), "wait=30");
    let from_start = hub.http().get("/topics/prefer").header("Prefer", "wait=30").send().await.expect(200);
    assert_eq!(from_start.text(), "01");
}

#[tokio::test]
async fn an_absent_topic_parks_its_readers() {
    let hub = Hub::start().await;
    let first = poll(&hub, "unborn", "start");
    let now = poll(&hub, "unborn", "now");
    // `now` means when the hub sees it: publish until both were there.
    let published = async {
        while !(first.is_finished() && now.is_finished()) {
            hub.http().publish("unborn", "x").await;
        }
    };
    crate::harness::deadline::within(SOON, "both polls", published).await;
    assert!(first.await.unwrap().expect(200).text().starts_with('x'));
    assert!(now.await.unwrap().expect(200).text().starts_with('x'));
}

#[tokio::test]
async fn deletion_and_closure_end_the_wait() {
    let hub = Hub::start().await;
    let cursor = hub.http().publish("doomed", "0").await;
    let waiting = poll(&hub, "doomed", &cursor);
    parked(&hub).await;
    hub.http().delete("/topics/doomed").send().await.expect(204);
    let ended = waiting.await.unwrap();
    assert_eq!(ended.status, 410, "{}", ended.text());

    let cursor = hub.http().publish("ending", "0").await;
    let waiting = poll(&hub, "ending", &cursor);
    let close = hub.http().request(reqwest::Method::POST, "/topics/ending").header("Stream-Closed", "true");
    close.send().await.expect(204);
    let ended = waiting.await.unwrap().expect(204);
    assert_eq!(ended.header("stream-closed"), "true");
    // At the end of a closed topic there is nothing to wait for.
    let after = poll(&hub, "ending", &cursor).await.unwrap().expect(204);
    assert_eq!(after.header("stream-closed"), "true");
}

#[tokio::test]
async fn a_live_read_of_a_stream_says_from_where() {
    let hub = Hub::start().await;
    hub.http().put("/v1/stream/s").header("Content-Type", "text/plain").send().await.expect(201);
    hub.http().get("/v1/stream/s?live=long-poll").send().await.expect_problem(400, "bad-request");
    hub.http().get("/topics/s?offset=-1&live=sometimes").send().await.expect_problem(400, "bad-request");
}

#[tokio::test]
async fn waiting_costs_no_work() {
    let hub = Hub::start().await;
    let cursor = hub.http().publish("idle", "0").await;
    let polls: Vec<_> = (0..300).map(|_| poll(&hub, "idle", &cursor)).collect();
    parked(&hub).await;
    // A stretch of time in which nothing happens is what is measured here.
    let before = cpu_ticks(&hub);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let ticks = cpu_ticks(&hub) - before;
    assert!(ticks <= 4, "300 parked polls cost {ticks} ticks of 10 ms in two seconds");
    hub.http().publish("idle", "1").await;
    for answer in join_all(polls).await {
        assert_eq!(answer.unwrap().expect(200).text(), "1");
    }
}

/// Waits until the hub has had nothing to do for a while, so that whatever was sent to it is parked.
async fn parked(hub: &Hub) {
    let (mut before, mut calm) = (cpu_ticks(hub), 0);
    until(SOON, "the hub to be idle", || {
        let now = cpu_ticks(hub);
        calm = if now == before { calm + 1 } else { 0 };
        before = now;
        (calm > 20).then_some(())
    })
    .await;
}

fn cpu_ticks(hub: &Hub) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", hub.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
