//! Long polling and streams of events.

use std::time::Duration;

use crate::harness::{CLOSE, DEADLINE, Door, ENVELOPES, JSON, Setup, Stream, TEXT};

const EVENTS: (&str, &str) = ("Accept", "text/event-stream");

impl Door {
    async fn stream(&self, path: &str, headers: &[(&str, &str)]) -> Stream {
        let response = self.start(&format!("GET {path}"), headers, "").await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-cache");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        Stream::of(response)
    }

    /// Waits until so many readers wait for a topic.
    async fn parked(&self, topic: &str, n: usize) {
        let topic = quintet_core::name::TopicName::parse(topic).unwrap();
        let waiting = async {
            while self.hub.describe(&topic).await.map_or(0, |info| info.followers) != n {
                tokio::task::yield_now().await;
            }
        };
        assert!(tokio::time::timeout(DEADLINE, waiting).await.is_ok(), "there are not {n} readers on {topic}");
    }
}

#[tokio::test]
async fn a_long_poll_is_answered_by_the_publish() {
    let door = Door::open().await;
    let cursor = door.publish("l", "0").await;
    for (path, headers) in [
        (format!("/topics/l?offset={cursor}&live=long-poll&timeout=60"), vec![]),
        ("/topics/l?offset=now".to_owned(), vec![("Prefer", "wait=60")]),
        ("/v1/stream/l?offset=now&live=long-poll".to_owned(), vec![]),
    ] {
        let line = format!("GET {path}");
        let poll = door.ask(&line, &headers, "");
        let publish = async {
            door.parked("l", 1).await;
            door.publish("l", "new").await
        };
        let (answer, _) = tokio::join!(poll, publish);
        let answer = answer.is(200);
        assert!(answer.text().ends_with("new"));
        assert!(answer.header("stream-cursor").parse::<u64>().is_ok());
        assert_eq!(answer.get("preference-applied").is_some(), !headers.is_empty());
    }
}

#[tokio::test]
async fn a_long_poll_ends_when_its_time_is_up() {
    let door = Door::open().await;
    let cursor = door.publish("l", "0").await;
    let answer = door.get(&format!("/topics/l?offset={cursor}&live=long-poll&timeout=0")).await.is(204);
    assert_eq!((answer.header("stream-next-offset"), answer.header("stream-up-to-date")), (cursor, "true".into()));
    let known = answer.header("stream-cursor");
    let later = door.get(&format!("/topics/l?offset=now&live=long-poll&timeout=0&cursor={known}")).await.is(204);
    assert!(later.header("stream-cursor").parse::<u64>().unwrap() > known.parse().unwrap());
    let answer = door.ask("GET /topics/l?offset=now", &[("Prefer", "respond-async, wait=0")], "").await.is(204);
    assert_eq!(answer.header("preference-applied"), "wait=0");
    // Without an offset it is the start under /topics/, and an error in the protocol.
    assert_eq!(door.ask("GET /topics/l", &[("Prefer", "wait=5")], "").await.is(200).text(), "0");
    door.ask("GET /v1/stream/l", &[("Prefer", "wait=5")], "").await.is_problem(400, "bad-request");
    door.get("/topics/l?live=long-poll").await.is_problem(400, "bad-request");
    door.get("/topics/l?live=long-poll&offset=now&timeout=x").await.is_problem(400, "bad-request");
}

#[tokio::test]
async fn a_long_poll_sees_creation_closure_and_deletion() {
    let door = Door::open().await;
    let (created, _) = tokio::join!(door.get("/topics/new?offset=now&live=long-poll"), door.publish("new", "x"));
    assert_eq!(created.is(200).text(), "x");
    let closing = async {
        door.parked("new", 1).await;
        door.ask("POST /topics/new", &[CLOSE], "").await
    };
    let (closed, _) = tokio::join!(door.get("/topics/new?offset=now&live=long-poll&timeout=60"), closing);
    let closed = closed.is(204);
    assert_eq!((closed.header("stream-closed"), closed.get("stream-cursor")), ("true".into(), None));
    door.publish("gone", "x").await;
    for (prefix, status, slug) in [("topics", 410, "topic-deleted"), ("v1/stream", 404, "topic-not-found")] {
        door.publish("gone", "x").await;
        let deleting = async {
            door.parked("gone", 1).await;
            door.ask("DELETE /topics/gone", &[], "").await
        };
        let path = format!("/{prefix}/gone?offset=now&live=long-poll&timeout=60");
        let (deleted, _) = tokio::join!(door.get(&path), deleting);
        deleted.is_problem(status, slug);
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_wait() {
    let door = Door::open().await;
    door.publish("l", "0").await;
    for path in ["/topics/l?offset=now&live=long-poll&timeout=60", "/topics/l?offset=now&live=sse"] {
        let line = format!("GET {path}");
        let leave = async {
            let started = door.start(&line, &[], "");
            tokio::select! {
                response = started => {
                    door.parked("l", 1).await;
                    drop(response);
                }
                () = door.parked("l", 1) => {}
            }
        };
        leave.await;
        door.parked("l", 0).await;
    }
}

#[tokio::test]
async fn an_event_source_gets_one_event_a_message() {
    let door = Door::open().await;
    let first = door.publish("s", "a\nb").await;
    let mut stream = door.stream("/topics/s?offset=start", &[EVENTS]).await;
    let text = stream.until("data: b").await;
    assert!(text.starts_with("retry: 1000\nid: 00000007_0000000000000001\n\n"), "{text}");
    assert!(text.contains(&format!("id: {first}\ndata: a\ndata: b\n\n")), "{text}");
    let second = door.publish("s", "live").await;
    stream.until(&format!("id: {second}\ndata: live\n\n")).await;
    door.ask("POST /topics/s", &[("Content-Type", "image/png")], vec![0xff]).await.is(204);
    stream.until("event: base64\ndata: /w==\n\n").await;
    // Last-Event-ID goes before the offset that stays in the URL.
    let mut again = door.stream("/topics/s?offset=start", &[EVENTS, ("Last-Event-ID", &first)]).await;
    let text = again.until("event: base64").await;
    assert!(!text.contains("data: a") && text.contains("data: live"), "{text}");
    door.ask("POST /topics/s", &[CLOSE], "").await.is(204);
    assert!(stream.end().await.contains("event: closed\n"));
    let text = again.end().await;
    let end = text.rsplit_once("id: ").unwrap().1.split('\n').next().unwrap().to_owned();
    let over = door.ask("GET /topics/s", &[EVENTS, ("Last-Event-ID", &end)], "").await.is(204);
    assert_eq!(over.header("stream-closed"), "true");
    door.ask("GET /topics/s", &[EVENTS, ("Last-Event-ID", "7")], "").await.is_problem(400, "bad-cursor");
    door.ask("GET /v1/stream/none", &[EVENTS], "").await.is_problem(404, "topic-not-found");
}

#[tokio::test]
async fn an_event_source_begins_now_and_sees_deletion() {
    let door = Door::open().await;
    door.publish("s", "old").await;
    let mut stream = door.stream("/topics/s", &[EVENTS]).await;
    stream.until("id: ").await;
    door.publish("s", "new").await;
    assert!(!stream.until("data: new").await.contains("old"));
    door.ask("DELETE /topics/s", &[], "").await.is(204);
    assert!(stream.end().await.contains("event: deleted\n"));
    // A topic that is not there yet is waited for.
    let mut stream = door.stream("/topics/later", &[EVENTS]).await;
    stream.until("id: ").await;
    door.publish("later", "x").await;
    stream.until("data: x\n").await;
}

#[tokio::test]
async fn events_can_carry_envelopes() {
    let door = Door::open().await;
    let accept = format!("{}, {}", EVENTS.1, ENVELOPES.1);
    let cursor = door.publish("s", "x").await;
    let mut stream = door.stream("/topics/s?offset=-1", &[("Accept", &accept)]).await;
    let text = stream.until("}\n\n").await;
    let data = text.split("data: ").nth(1).unwrap().trim();
    let envelope: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!((&envelope["data"], &envelope["offset"]), (&"x".into(), &cursor.into()));
}

#[tokio::test]
async fn quiet_streams_tell_their_cursor() {
    let mut setup = Setup::default();
    setup.gateway.heartbeat = Duration::from_millis(20);
    let door = Door::with(setup).await;
    let cursor = door.publish("s", "x").await;
    let mut stream = door.stream("/topics/s", &[EVENTS]).await;
    stream.until(&format!("\n\n: \nid: {cursor}\n\n: \nid: {cursor}\n\n")).await;
    let mut stream = door.stream("/topics/s?offset=now&live=sse", &[]).await;
    stream.until("\n\n: \n\n: \n\n").await;
}

#[tokio::test]
async fn durable_events_have_data_and_control() {
    let door = Door::open().await;
    door.ask("PUT /v1/stream/j", &[JSON], "[1,2]").await.is(201);
    let mut stream = door.stream("/v1/stream/j?offset=-1&live=sse", &[]).await;
    let text = stream.until("\"upToDate\":true").await;
    assert!(
        text.starts_with("event: data\ndata:[\ndata:1,\ndata:2\ndata:]\n\nevent: control\ndata:{\"stream"),
        "{text}"
    );
    door.ask("POST /v1/stream/j", &[JSON, CLOSE], "3").await.is(204);
    let text = stream.end().await;
    assert!(text.ends_with("\"upToDate\":true,\"streamClosed\":true}\n\n"), "{text}");
    let text = door.stream("/v1/stream/j?offset=now&live=sse", &[]).await.end().await;
    assert!(text.starts_with("event: control\n") && text.contains("\"streamClosed\":true"), "{text}");
    door.ask("PUT /v1/stream/b", &[], vec![1, 2, 3]).await.is(201);
    let response = door.start("GET /v1/stream/b?offset=-1&live=sse", &[], "").await;
    assert_eq!(response.headers()["stream-sse-data-encoding"], "base64");
    Stream::of(response).until("data:AQID\n").await;
    door.get("/v1/stream/b?live=sse").await.is_problem(400, "bad-request");
}

#[tokio::test]
async fn durable_events_stop_at_another_type() {
    let door = Door::open().await;
    door.publish("m", "one").await;
    door.ask("POST /topics/m", &[JSON], "{}").await.is(204);
    let text = door.stream("/topics/m?offset=-1&live=sse", &[]).await.end().await;
    assert!(text.contains("data:one\n"), "{text}");
    let next = text.split("streamNextOffset\":\"").nth(1).unwrap().split('"').next().unwrap();
    door.get(&format!("/topics/m?offset={next}&live=sse")).await.is_problem(406, "not-acceptable");
    // Before there is a topic nobody knows its type.
    let response = door.start("GET /topics/unborn?offset=now&live=sse", &[], "").await;
    assert_eq!(response.headers()["stream-sse-data-encoding"], "base64");
    let mut stream = Stream::of(response);
    stream.until("\"upToDate\":true").await;
    door.publish("unborn", "x").await;
    stream.until("data:eA==\n").await;
}

#[tokio::test]
async fn durable_streams_rotate() {
    let mut setup = Setup::default();
    setup.gateway.sse_rotation = Duration::from_millis(50);
    let door = Door::with(setup).await;
    door.ask("PUT /v1/stream/r", &[TEXT], "").await.is(201);
    let text = door.stream("/v1/stream/r?offset=-1&live=sse", &[]).await.end().await;
    assert!(text.contains("event: control"));
}

#[tokio::test]
async fn closing_doors_end_what_waits() {
    let door = Door::open().await;
    let cursor = door.publish("x", "x").await;
    let mut events = door.stream("/topics/x", &[EVENTS]).await;
    events.until("id: ").await;
    let mut durable = door.stream("/topics/x?offset=now&live=sse", &[]).await;
    durable.until("upToDate").await;
    let stop = async {
        door.parked("x", 3).await;
        door.gateway.shutdown().begin();
    };
    let (poll, ()) = tokio::join!(door.get("/topics/x?offset=now&live=long-poll&timeout=60"), stop);
    assert_eq!(poll.is(204).header("stream-next-offset"), cursor);
    assert!(events.end().await.ends_with(&format!("retry: 1000\nid: {cursor}\n\n")));
    durable.end().await;
    tokio::time::timeout(DEADLINE, door.server).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_hub_that_stops_refuses_publishes_and_ends_polls() {
    let door = Door::open().await;
    door.publish("x", "x").await;
    let stop = async {
        door.parked("x", 1).await;
        door.hub.shutdown().await.unwrap();
    };
    let (poll, ()) = tokio::join!(door.get("/topics/x?offset=now&live=long-poll&timeout=60"), stop);
    poll.is(204);
    let refused = door.ask("POST /topics/x", &[TEXT], "x").await;
    refused.is_problem(503, "shutting-down");
    refused.header("retry-after");
}

#[tokio::test]
async fn a_slow_reader_costs_no_memory_and_misses_nothing() {
    let door = Door::open().await;
    let mut stream = door.stream("/topics/big", &[EVENTS]).await;
    stream.until("id: ").await;
    let text = "x".repeat(100_000);
    for i in 0..100 {
        door.publish("big", &format!("{i}:{text}")).await;
    }
    let seen = stream.until(&format!("data: 99:{text}\n")).await;
    let numbers: Vec<_> = seen.split("data: ").skip(1).map(|event| event.split(':').next().unwrap()).collect();
    assert_eq!(numbers, (0..100).map(|i| i.to_string()).collect::<Vec<_>>());
}
