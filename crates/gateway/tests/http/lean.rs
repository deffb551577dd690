//! Short requests are served without hyper: what goes over the wire, and where hyper takes over.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::{CLOSE, DEADLINE, Door, Setup};

/// A client that writes and reads bytes.
struct Raw {
    stream: TcpStream,
    seen: String,
}

impl Raw {
    async fn connect(door: &Door) -> Self {
        Self { stream: door.connect().await, seen: String::new() }
    }

    async fn send(&mut self, bytes: &str) -> &mut Self {
        self.stream.write_all(bytes.as_bytes()).await.unwrap();
        self
    }

    /// Reads up to and with this text.
    async fn until(&mut self, wanted: &str) -> String {
        loop {
            if let Some(at) = self.seen.find(wanted) {
                let rest = self.seen.split_off(at + wanted.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            let mut bytes = [0; 4096];
            let read = timeout(DEADLINE, self.stream.read(&mut bytes)).await;
            let n = read.unwrap_or_else(|_| panic!("no {wanted:?} in {:?}", self.seen)).unwrap();
            assert!(n > 0, "the end without {wanted:?}: {:?}", self.seen);
            self.seen.push_str(&String::from_utf8_lossy(&bytes[..n]));
        }
    }

    async fn end(mut self) -> String {
        let mut rest = Vec::new();
        timeout(DEADLINE, self.stream.read_to_end(&mut rest)).await.unwrap().unwrap();
        self.seen + std::str::from_utf8(&rest).unwrap()
    }
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

async fn parked(door: &Door, topic: &str, n: usize) {
    let topic = quintet_core::name::TopicName::parse(topic).unwrap();
    let waiting = async {
        while door.hub.describe(&topic).await.map_or(0, |info| info.followers) != n {
            tokio::task::yield_now().await;
        }
    };
    assert!(timeout(DEADLINE, waiting).await.is_ok(), "there are not {n} readers on {topic}");
}

#[tokio::test]
async fn one_connection_reads_in_every_way_and_publishes() {
    let door = Door::open().await;
    door.publish("a", "one").await;
    let mut raw = Raw::connect(&door).await;
    let answer = raw.send(&get("/topics/a")).await.until("one").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\r\ncontent-length: 3\r\n"), "{answer}");
    assert!(answer.contains("\r\ndate: ") && !answer.contains("connection"), "{answer}");
    let head = "HEAD /v1/stream/a HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let answer = raw.send(head).await.until("\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("stream-next-offset"), "{answer}");
    raw.send(&get("/topics/a?offset=now&live=long-poll&timeout=60")).await;
    parked(&door, "a", 1).await;
    door.publish("a", "two").await;
    raw.until("\r\n\r\ntwo").await;
    let answer = raw.send(&get("/topics/a?offset=now&live=long-poll&timeout=0")).await.until("\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 204 No Content\r\n") && !answer.contains("content-length"), "{answer}");
    raw.send(&get("/topics/a?offset=now&live=sse")).await.until("\"upToDate\":true}\n\n\r\n").await;
    door.publish("a", "three").await;
    raw.until("data:three\n").await;
    door.ask("POST /topics/a", &[CLOSE], "").await.is(204);
    raw.until("\"streamClosed\":true}\n\n\r\n0\r\n\r\n").await;
    // It need not be closed for what it publishes.
    let post = "POST /topics/b HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nabc";
    raw.send(post).await.until("HTTP/1.1 204").await;
    raw.send(&get("/topics/b")).await.until("abc").await;
    let close = "GET /topics/none HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert!(raw.send(close).await.until("connection: close").await.contains("HTTP/1.1 200"));
}

#[tokio::test]
async fn pipelined_reads_are_answered_in_order_and_problems_are_the_same() {
    let door = Door::open().await;
    door.publish("a", "one").await;
    let mut raw = Raw::connect(&door).await;
    let close = "GET /topics/a?live=x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    raw.send(&(get("/topics/a?offset=now&live=long-poll&timeout=60") + &get("/topics/a") + close)).await;
    parked(&door, "a", 1).await;
    door.publish("a", "two").await;
    raw.until("\r\n\r\ntwo").await;
    raw.until("\r\n\r\nonetwo").await;
    let last = raw.end().await;
    assert!(last.starts_with("HTTP/1.1 400 Bad Request\r\n") && last.contains("connection: close"), "{last}");
    assert!(
        last.contains("application/problem+json") && last.contains("\r\nx-content-type-options: nosniff"),
        "{last}"
    );
}

#[tokio::test]
async fn a_request_in_parts_is_answered_soon_or_late() {
    let door = Door::open().await;
    door.publish("a", "one").await;
    for pause in [Duration::from_millis(20), Duration::from_millis(700)] {
        let mut raw = Raw::connect(&door).await;
        raw.send(&get("/topics/a")).await.until("one").await;
        for part in ["GE", "T /topics/a HTTP/1.1\r\nHo"] {
            raw.send(part).await;
            tokio::time::sleep(pause).await;
        }
        raw.send("st: localhost\r\n\r\n").await.until("one").await;
        raw.send(&get("/topics/a?offset=now&live=sse")).await.until("upToDate").await;
    }
}

#[tokio::test]
async fn idle_connections_end_in_time_and_when_the_doors_close() {
    let mut setup = Setup::default();
    setup.serve.head_time = Duration::from_millis(100);
    setup.serve.idle = Duration::from_millis(100);
    let door = Door::with(setup).await;
    let mut raw = Raw::connect(&door).await;
    raw.send(&get("/topics/a")).await.until("\r\n\r\n").await;
    assert_eq!(raw.end().await, "");
    let door = Door::open().await;
    door.publish("a", "one").await;
    let mut idle = Raw::connect(&door).await;
    idle.send(&get("/topics/a")).await.until("\r\n\r\none").await;
    let mut polls = Raw::connect(&door).await;
    polls.send(&get("/topics/a?offset=now&live=long-poll&timeout=60")).await;
    parked(&door, "a", 1).await;
    door.gateway.shutdown().begin();
    assert_eq!(idle.end().await, "");
    let answer = polls.end().await;
    assert!(answer.starts_with("HTTP/1.1 204") && answer.contains("connection: close"), "{answer}");
    timeout(DEADLINE, door.server).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_request_that_is_partly_there_is_answered_though_the_doors_close() {
    let door = Door::open().await;
    let mut raw = Raw::connect(&door).await;
    let request = post("late", "all of it");
    // They come together, so that the part is there when the first one is answered.
    raw.send(&(get("/topics/none") + &request[..request.len() - 4])).await.until("\r\n\r\n").await;
    door.gateway.shutdown().begin();
    raw.send(&request[request.len() - 4..]).await.until("HTTP/1.1 204 No Content\r\n").await;
    assert!(raw.end().await.contains("connection: close"));
}

#[tokio::test]
async fn a_client_that_sent_ahead_and_left_is_noticed_by_its_stream() {
    let mut setup = Setup::default();
    setup.gateway.heartbeat = Duration::from_millis(20);
    let door = Door::with(setup).await;
    door.publish("a", "one").await;
    let mut raw = Raw::connect(&door).await;
    raw.send(&(get("/topics/a?offset=now&live=sse") + &get("/topics/a"))).await.until("upToDate").await;
    parked(&door, "a", 1).await;
    drop(raw);
    parked(&door, "a", 0).await;
}

#[tokio::test]
async fn a_reader_that_stops_gets_everything_once_when_it_goes_on() {
    let door = Door::open().await;
    let mut raw = Raw::connect(&door).await;
    let request = "GET /topics/big HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
    raw.send(request).await.until("id: ").await;
    let text = "x".repeat(30_000);
    for i in 0..200 {
        door.publish("big", &format!("{i}:{text}:{i}.")).await;
    }
    for i in 0..200 {
        let event = raw.until(&format!("x:{i}.\n")).await;
        assert_eq!(event.matches("data: ").count(), 1, "{i}");
        assert!(event.contains(&format!("data: {i}:x")), "{i}");
    }
}

fn post(topic: &str, text: &str) -> String {
    let n = text.len();
    format!(
        "POST /topics/{topic} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: {n}\r\n\r\n{text}"
    )
}

#[tokio::test]
async fn publishes_sent_ahead_are_taken_in_order_wherever_they_are_cut_off() {
    let door = Door::open().await;
    let mut raw = Raw::connect(&door).await;
    let all: String = (0..500).map(|i| post("ahead", &format!("{i};"))).collect();
    let wanted: String = (0..500).map(|i| format!("{i};")).collect();
    raw.send(&all).await;
    for _ in 0..500 {
        raw.until("HTTP/1.1 204 No Content\r\n").await;
    }
    assert_eq!(door.get("/topics/ahead").await.is(200).text(), wanted);
    // Cut off in the head and in the body.
    for (at, i) in [(30, 500), (all.find("\r\n\r\n").unwrap() + 5, 501)] {
        let mut raw = Raw::connect(&door).await;
        let one = post("ahead", &format!("{i};"));
        raw.send(&(get("/topics/none") + &one[..at])).await.until("HTTP/1.1 200 OK\r\n").await;
        raw.send(&one[at..]).await.until("HTTP/1.1 204 No Content\r\n").await;
        raw.send(&post("ahead", ".")).await.until("HTTP/1.1 204 No Content\r\n").await;
    }
    assert_eq!(door.get("/topics/ahead").await.is(200).text(), wanted + "500;.501;.");
}

#[tokio::test]
async fn a_body_that_nobody_wants_does_not_spoil_the_connection() {
    let door = Door::open().await;
    let mut raw = Raw::connect(&door).await;
    let refused = post("$a", "GET /topics/none HTTP/1.1\r\n\r\n");
    let answer = raw.send(&refused).await.until("}").await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    let unread = get("/topics/b").replace("\r\n\r\n", "\r\nContent-Length: 4\r\n\r\nrest");
    raw.send(&(unread + &post("b", "one"))).await.until("HTTP/1.1 200 OK\r\n").await;
    raw.until("HTTP/1.1 204 No Content\r\n").await;
    assert_eq!(door.get("/topics/b").await.is(200).text(), "one");
}

#[tokio::test]
async fn frames_sent_along_with_the_handshake_are_all_taken() {
    let door = Door::open().await;
    let mut raw = Raw::connect(&door).await;
    raw.send(&get("/topics/none")).await.until("\r\n\r\n").await;
    let mut all = b"GET /topics/frames HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        .to_vec();
    // More than hyper reads at once.
    for i in 0..150 {
        all.extend_from_slice(&[0x81, 0x80 | 100, 0, 0, 0, 0]);
        all.extend_from_slice(format!("{i:0>100}").as_bytes());
    }
    raw.stream.write_all(&all).await.unwrap();
    raw.until("HTTP/1.1 101").await;
    let wanted: String = (0..150).map(|i| format!("{i:0>100}")).collect();
    let arrives = async {
        while door.get("/topics/frames").await.text() != wanted {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, arrives).await.unwrap();
}
