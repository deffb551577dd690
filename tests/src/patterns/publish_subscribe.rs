//! Publish/subscribe: everybody who listens hears everything, in order, by topic or by filter.

use serde_json::{Value, json};

use crate::harness::hub::{Hub, Options};
use crate::harness::load::{self, Order};
use crate::harness::session::Session;

#[tokio::test]
async fn every_subscriber_sees_every_message_in_order() {
    let hub = Hub::start().await;
    let mut sessions = Vec::new();
    for _ in 0..20 {
        let mut session = Session::open(&hub).await;
        session.call("subscribe", json!({"topic": "chat"})).await;
        sessions.push(session);
    }
    load::publish(hub.http(), "chat", 0..200).await;
    for (n, mut session) in sessions.into_iter().enumerate() {
        let mut order = Order::new(&format!("subscriber {n}"));
        order.take_all(&session.messages(200).await);
        assert_eq!(order.count(), 200);
    }
}

#[tokio::test]
async fn since_says_where_to_begin() {
    let hub = Hub::start().await;
    hub.http().publish("log", "a").await;
    let cursor = hub.http().publish("log", "b").await;
    hub.http().publish("log", "c").await;
    for (since, expected) in [("start", "abcd"), (cursor.as_str(), "cd"), ("now", "d")] {
        let mut session = Session::open(&hub).await;
        let ok = session.call("subscribe", json!({"topic": "log", "since": since})).await;
        assert!(ok["subscription"].is_u64() && ok["cursor"].is_string(), "{ok}");
        if since == "start" {
            hub.http().publish("log", "d").await;
        }
        if since == "now" {
            hub.http().publish("log", "d").await;
        }
        let messages = session.messages(expected.len()).await;
        assert_eq!(texts(&messages), expected, "since {since}");
    }
}

#[tokio::test]
async fn a_filter_sees_later_topics_and_resumes_from_one_cursor() {
    let hub = Hub::start().await;
    let mut session = Session::open(&hub).await;
    session.call("subscribe", json!({"filter": "house/+/light", "since": "start"})).await;
    hub.http().publish("house/kitchen/light", "1").await;
    hub.http().publish("house/kitchen/heat", "no").await;
    hub.http().publish("house/hall/light", "2").await;
    hub.http().publish("house/hall/light/lamp", "no").await;
    let mut seen = Vec::new();
    let mut next = Value::Null;
    while seen.len() < 2 {
        let frame = session.next().await.unwrap();
        seen.extend(frame["messages"].as_array().unwrap().iter().cloned());
        next = frame["next"].clone();
    }
    assert_eq!(texts(&seen), "12");
    assert_eq!((&seen[0]["topic"], &seen[1]["topic"]), (&json!("house/kitchen/light"), &json!("house/hall/light")));
    drop(session);
    hub.http().publish("house/attic/light", "3").await;
    hub.http().publish("house/kitchen/light", "4").await;
    let mut again = Session::open(&hub).await;
    again.call("subscribe", json!({"filter": "house/+/light", "since": next})).await;
    assert_eq!(texts(&again.messages(2).await), "34");
}

#[tokio::test]
async fn a_producer_may_repeat_itself() {
    let hub = Hub::start().await;
    let mut session = Session::open(&hub).await;
    let publish = |seq: u64, epoch: u64, data: &str| json!({"topic": "orders", "data": data, "producer": {"id": "p", "epoch": epoch, "seq": seq}});
    let first = session.call("publish", publish(0, 0, "a")).await;
    assert_eq!(first["duplicate"], false);
    assert_eq!(session.call("publish", publish(0, 0, "a")).await["duplicate"], true);
    session.call("publish", publish(1, 0, "b")).await;
    let gap = session.refusal("publish", publish(3, 0, "d")).await;
    assert_eq!(gap["type"], "/problems/producer-gap");
    assert_eq!((&gap["expected"], &gap["received"]), (&json!(2), &json!(3)));
    let late = session.refusal("publish", publish(5, 1, "z")).await;
    assert_eq!(late["type"], "/problems/bad-producer-sequence");
    session.call("publish", publish(0, 1, "c")).await;
    let stale = session.refusal("publish", publish(2, 0, "x")).await;
    assert_eq!(stale["type"], "/problems/stale-producer-epoch");
    assert_eq!(stale["epoch"], 1);
    let (messages, _) = hub.http().read("orders", "start").await;
    assert_eq!(texts(&messages), "abc");
}

#[tokio::test]
async fn a_producer_is_recognised_over_http_too() {
    let hub = Hub::start().await;
    let publish = |seq: &str| {
        let post = hub.http().post("/topics/orders", "text/plain", format!("<{seq}>"));
        post.header("Producer-Id", "p").header("Producer-Epoch", "0").header("Producer-Seq", seq).send()
    };
    publish("0").await.expect(200);
    publish("0").await.expect(204);
    publish("1").await.expect(200);
    let gap = publish("5").await.expect_problem(409, "producer-gap");
    assert_eq!((gap.header("producer-expected-seq"), gap.header("producer-received-seq")), ("2", "5"));
    assert_eq!(hub.http().get("/topics/orders").send().await.expect(200).text(), "<0><1>");
    let half = hub.http().post("/topics/orders", "text/plain", "x").header("Producer-Id", "p").send().await;
    half.expect_problem(400, "bad-header");
}

#[tokio::test]
async fn a_batch_is_all_or_nothing() {
    let hub = Hub::start_with(Options { memory: true, ..Options::default() }).await;
    let batch: Vec<u64> = (0..10_000).collect();
    hub.http().post("/topics/batch", "application/json", json!(batch).to_string()).send().await.expect(204);
    let too_many: Vec<u64> = (0..10_001).collect();
    let refused = hub.http().post("/topics/batch", "application/json", json!(too_many).to_string()).send().await;
    refused.expect_problem(413, "too-large");
    let bad = hub.http().post("/topics/batch", "application/json", "[1,2,").send().await;
    bad.expect_problem(400, "bad-json");
    let (mut cursor, mut all) = ("start".to_owned(), Vec::new());
    while all.len() < 10_000 {
        let (envelopes, next) = hub.http().read("batch", &cursor).await;
        assert!(!envelopes.is_empty(), "only {} messages", all.len());
        all.extend(envelopes);
        cursor = next;
    }
    assert!(all.iter().enumerate().all(|(n, envelope)| envelope["data"] == n), "out of order");
    assert!(hub.http().read("batch", &cursor).await.0.is_empty());
}

#[tokio::test]
async fn two_subscriptions_of_one_session_each_deliver_and_one_can_end() {
    let hub = Hub::start().await;
    let mut session = Session::open(&hub).await;
    let topic = session.call("subscribe", json!({"topic": "a/b"})).await["subscription"].clone();
    let filter = session.call("subscribe", json!({"filter": "a/#"})).await["subscription"].clone();
    assert_ne!(topic, filter);
    hub.http().publish("a/b", "1").await;
    let (first, second) = (session.next().await.unwrap(), session.next().await.unwrap());
    let mut numbers = [first["subscription"].clone(), second["subscription"].clone()];
    numbers.sort_by_key(Value::as_u64);
    assert_eq!(numbers, [topic.clone(), filter.clone()]);
    session.call("unsubscribe", json!({"subscription": topic})).await;
    hub.http().publish("a/b", "2").await;
    let third = session.next().await.unwrap();
    assert_eq!(third["subscription"], filter);
    let answer = session.refusal("unsubscribe", json!({"subscription": topic})).await;
    assert!(answer["status"].as_u64().is_some_and(|status| (400..500).contains(&status)), "{answer}");
}

#[tokio::test]
async fn subscribers_are_told_of_closure_and_deletion() {
    let hub = Hub::start().await;
    hub.http().publish("end/a", "1").await;
    hub.http().publish("end/b", "1").await;
    let mut session = Session::open(&hub).await;
    let a = session.call("subscribe", json!({"topic": "end/a"})).await["subscription"].clone();
    let b = session.call("subscribe", json!({"topic": "end/b"})).await["subscription"].clone();
    let mut by_filter = Session::open(&hub).await;
    by_filter.call("subscribe", json!({"filter": "end/#"})).await;
    let close = hub.http().request(reqwest::Method::POST, "/topics/end/a").header("Stream-Closed", "true");
    close.send().await.expect(204);
    hub.http().delete("/topics/end/b").send().await.expect(204);
    let (first, second) = (session.next().await.unwrap(), session.next().await.unwrap());
    assert_eq!((&first["subscription"], &first["closed"]["topic"]), (&a, &json!("end/a")), "{first}");
    assert_eq!((&second["subscription"], &second["deleted"]["topic"]), (&b, &json!("end/b")), "{second}");
    assert_eq!(by_filter.next().await.unwrap()["closed"]["topic"], "end/a");
    assert_eq!(by_filter.next().await.unwrap()["deleted"]["topic"], "end/b");
    hub.http().publish("end/c", "still here").await;
    assert_eq!(texts(&by_filter.messages(1).await), "still here");
}

#[tokio::test]
async fn a_subscriber_behind_retention_is_told_of_the_gap_and_goes_on() {
    let hub = Hub::start().await;
    let put = hub.http().put("/topics/ring").header("Content-Type", "text/plain").header("Quintet-Retain-Count", "2");
    put.send().await.expect(201);
    let first = hub.http().publish("ring", "0").await;
    for n in 1..8 {
        hub.http().publish("ring", &n.to_string()).await;
    }
    hub.http().trimmed("ring", &first).await;
    let mut session = Session::open(&hub).await;
    session.call("subscribe", json!({"topic": "ring", "since": first})).await;
    let gap = session.next().await.unwrap();
    assert_eq!(gap["gap"]["topic"], "ring", "{gap}");
    assert!(gap["gap"]["first_available"].is_string(), "{gap}");
    assert_eq!(texts(&session.messages(2).await), "67");
}

#[tokio::test]
async fn a_subscriber_from_the_distant_past_gets_everything_while_it_grows() {
    let hub = Hub::start().await;
    let mut publisher = Session::open(&hub).await;
    load::publish_in_batches(&mut publisher, "grow", 20_000, 500).await;
    let mut reader = Session::open(&hub).await;
    reader.call("subscribe", json!({"topic": "grow", "since": "start"})).await;
    let more = tokio::spawn({
        let http = hub.http().clone();
        async move { load::publish(&http, "grow", 20_000..20_300).await }
    });
    let mut order = Order::new("the late one");
    order.take_all(&reader.messages(20_300).await);
    assert_eq!(order.count(), 20_300);
    more.await.unwrap();
}

/// The data of text messages, one after the other.
fn texts(messages: &[Value]) -> String {
    messages.iter().map(|message| message["data"].as_str().unwrap_or("?")).collect()
}
