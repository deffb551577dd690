//! Push: keep telling me, over server-sent events and WebSocket.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::deadline::{SOON, within};
use crate::harness::events::Events;
use crate::harness::hub::Hub;
use crate::harness::load::{self, Order};
use crate::harness::session::Session;
use crate::harness::socket::{End, Socket};

#[tokio::test]
async fn an_event_source_gets_one_event_a_message() {
    let hub = Hub::start().await;
    let before = hub.http().publish("news", "past").await;
    let mut events = Events::open(hub.http().get(&format!("/topics/news?offset={before}"))).await;
    assert_eq!(events.status, 200);
    assert!(events.headers["content-type"].to_str().unwrap().starts_with("text/event-stream"));
    assert_eq!(events.headers["x-accel-buffering"], "no");
    assert_eq!(events.id().await, before, "a stream opens with its cursor");
    let cursor = hub.http().publish("news", "two\nlines").await;
    let event = events.next().await.unwrap();
    assert_eq!((event.name.as_str(), event.data.as_str(), event.id.as_str()), ("", "two\nlines", cursor.as_str()));
    hub.http().post("/topics/news", "application/octet-stream", vec![0xff]).send().await.expect(204);
    let event = events.next().await.unwrap();
    assert_eq!((event.name.as_str(), event.data.as_str()), ("base64", "/w=="));
    hub.http().post("/topics/news", "text/plain", "a\rb").send().await.expect(204);
    assert_eq!(events.next().await.unwrap().name, "base64");
    let close = hub.http().request(reqwest::Method::POST, "/topics/news").header("Stream-Closed", "true");
    close.send().await.expect(204);
    let closed = events.next().await.unwrap();
    assert_eq!(closed.name, "closed");
    assert!(serde_json::from_str::<Value>(&closed.data).unwrap()["offset"].is_string());
    assert_eq!(events.next().await, None);
    // 204 is how an EventSource is told not to come back.
    let again = hub.http().get("/topics/news").header("Accept", "text/event-stream");
    again.header("Last-Event-ID", &closed.id).send().await.expect(204);
}

#[tokio::test]
async fn an_event_source_learns_of_gaps_and_deletion() {
    let hub = Hub::start().await;
    let put = hub.http().put("/topics/ring").header("Content-Type", "text/plain").header("Quintet-Retain-Count", "1");
    put.send().await.expect(201);
    let first = hub.http().publish("ring", "0").await;
    for n in 1..4 {
        hub.http().publish("ring", &n.to_string()).await;
    }
    hub.http().trimmed("ring", &first).await;
    let mut events = Events::open(hub.http().get("/topics/ring").header("Last-Event-ID", &first)).await;
    let gap = events.next().await.unwrap();
    assert_eq!(gap.name, "gap");
    assert!(serde_json::from_str::<Value>(&gap.data).unwrap()["first_available"].is_string());
    assert_eq!(events.next().await.unwrap().data, "3");
    hub.http().delete("/topics/ring").send().await.expect(204);
    assert_eq!(events.next().await.unwrap().name, "deleted");
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn the_stream_protocol_has_data_and_control_events() {
    let hub = Hub::start().await;
    hub.http().put("/v1/stream/s").header("Content-Type", "application/json").send().await.expect(201);
    let post = |body: &'static str| hub.http().post("/v1/stream/s", "application/json", body).send();
    post(r#"[{"n":1},{"n":2}]"#).await.expect(204);
    let mut events = Events::open_raw(hub.http().get("/v1/stream/s?offset=-1&live=sse")).await;
    let data = events.next().await.unwrap();
    assert_eq!(data.name, "data");
    assert_eq!(serde_json::from_str::<Value>(&data.data).unwrap(), json!([{"n": 1}, {"n": 2}]));
    let control = events.next().await.unwrap();
    assert_eq!(control.name, "control");
    let control: Value = serde_json::from_str(&control.data).unwrap();
    assert!(control["streamNextOffset"].is_string(), "{control}");
    assert_eq!(control["upToDate"], true, "{control}");
    post(r#"{"n":3}"#).await.expect(204);
    let data = events.next().await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&data.data).unwrap(), json!([{"n": 3}]));
}

#[tokio::test]
async fn a_frame_on_a_topic_is_a_payload_both_ways() {
    let hub = Hub::start().await;
    let first = hub.http().publish("room", "before").await;
    let mut from_now = Socket::open(&hub, "/topics/room", None).await;
    let mut from_start = Socket::open(&hub, "/topics/room?offset=start", None).await;
    let mut from_cursor = Socket::open(&hub, &format!("/topics/room?offset={first}"), None).await;
    assert_eq!(from_start.next().await.unwrap(), Message::text("before"));
    from_now.send_text("hello").await;
    from_now.send(Message::binary(vec![0xff, 0])).await;
    for socket in [&mut from_now, &mut from_start, &mut from_cursor] {
        assert_eq!(socket.next().await.unwrap(), Message::text("hello"));
        assert_eq!(socket.next().await.unwrap(), Message::binary(vec![0xff, 0]));
    }
    let close = hub.http().request(reqwest::Method::POST, "/topics/room").header("Stream-Closed", "true");
    close.send().await.expect(204);
    assert_eq!(from_now.next().await, Err(End::Close(1000, "closed".to_owned())));
    assert_eq!(from_start.close_code().await, 1000);
}

#[tokio::test]
async fn a_socket_on_a_topic_says_why_it_ends() {
    let hub = Hub::start().await;
    hub.http().publish("gone", "x").await;
    let mut reader = Socket::open(&hub, "/topics/gone", None).await;
    hub.http().delete("/topics/gone").send().await.expect(204);
    assert_eq!(reader.close_code().await, 4410);

    let put = hub.http().put("/topics/typed").header("Content-Type", "application/json");
    put.send().await.expect(201);
    let mut writer = Socket::open(&hub, "/topics/typed", None).await;
    writer.send(Message::binary(vec![1])).await;
    assert_eq!(writer.close_code().await, 4409);
    let mut writer = Socket::open(&hub, "/topics/typed", None).await;
    writer.send_text("[1, 2]").await;
    assert_eq!(writer.next().await.unwrap(), Message::text("[1, 2]"));
    let close = hub.http().request(reqwest::Method::POST, "/topics/typed").header("Stream-Closed", "true");
    let mut late = Socket::open(&hub, "/topics/typed", None).await;
    close.send().await.expect(204);
    late.close_code().await;
}

#[tokio::test]
async fn the_envelope_protocol_adds_cursors_and_answers() {
    let hub = Hub::start().await;
    let mut socket = Socket::open(&hub, "/topics/room?offset=start", Some("quintet.envelope")).await;
    socket.send_text(r#"{"id": 7, "publish": {"data": "hello"}}"#).await;
    let (mut answered, mut delivered) = (None, None);
    while answered.is_none() || delivered.is_none() {
        let Message::Text(text) = socket.next().await.unwrap() else { panic!("not text") };
        let frame: Value = serde_json::from_str(&text).unwrap();
        if frame.get("id").is_some() { answered = Some(frame) } else { delivered = Some(frame) }
    }
    let (answered, delivered) = (answered.unwrap(), delivered.unwrap());
    assert_eq!((&answered["id"], &answered["ok"]["duplicate"]), (&json!(7), &json!(false)), "{answered}");
    assert_eq!(delivered["messages"][0]["data"], "hello", "{delivered}");
    assert_eq!(delivered["next"], answered["ok"]["offset"], "{delivered}");
}

#[tokio::test]
async fn clients_come_and_go_while_the_ticker_ticks() {
    let hub = Hub::start().await;
    let ticking = tokio::spawn({
        let http = hub.http().clone();
        async move { load::publish(&http, "tick", 0..600).await }
    });
    let mut stayed = Session::open(&hub).await;
    stayed.call("subscribe", json!({"topic": "tick", "since": "start"})).await;
    let mut n_visits = 0;
    while !ticking.is_finished() {
        let mut visitor = Session::open(&hub).await;
        visitor.call("subscribe", json!({"topic": "tick", "since": "start"})).await;
        Order::new("a visitor").take_all(&visitor.messages(1).await);
        n_visits += 1;
    }
    ticking.await.unwrap();
    let mut order = Order::new("the one who stayed");
    order.take_all(&stayed.messages(600).await);
    assert!(n_visits > 0 && order.count() == 600);
}

#[tokio::test]
async fn a_reader_that_does_not_read_costs_no_memory_and_holds_up_nobody() {
    let hub = Hub::start_in_memory().await;
    let put = hub.http().put("/topics/flood").header("Quintet-Retain-Count", "100");
    put.header("Content-Type", "text/plain").send().await.expect(201);
    let mut stuck = Vec::new();
    for _ in 0..50 {
        let mut session = Session::open(&hub).await;
        session.call("subscribe", json!({"topic": "flood"})).await;
        stuck.push(session);
    }
    let before = hub.resident_bytes();
    let mut publisher = Session::open(&hub).await;
    let data = "x".repeat(10_000);
    let messages: Vec<Value> = (0..100).map(|_| json!({"data": data})).collect();
    for _ in 0..60 {
        // 60 MB in all, of which the topic keeps 1 MB.
        let answer =
            within(SOON, "a publish", publisher.call("publish", json!({"topic": "flood", "messages": messages})));
        answer.await;
    }
    let grown = hub.resident_bytes().saturating_sub(before);
    assert!(grown < 150 << 20, "50 stuck readers and a flood of 60 MB cost {} MiB", grown >> 20);
    // Who begins to read again is told what was missed.
    let mut has_gap = false;
    while !has_gap {
        has_gap = stuck[0].next().await.unwrap().get("gap").is_some();
    }
}
