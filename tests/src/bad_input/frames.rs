//! WebSockets that break the rules: handshakes, frames, commands, and far too many of them.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::deadline::{SOON, within};
use crate::harness::hub::Hub;
use crate::harness::raw;
use crate::harness::session::Session;
use crate::harness::socket::Socket;

const HANDSHAKE: &str = "Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

/// An open session on a bare socket, for frames that no library would write.
async fn bare(hub: &Hub, path: &str) -> TcpStream {
    let mut stream = raw::connect(hub).await;
    let protocol = if path == "/ws" { "Sec-WebSocket-Protocol: quintet.v1\r\n" } else { "" };
    stream.write_all(format!("GET {path} HTTP/1.1\r\n{HANDSHAKE}{protocol}\r\n").as_bytes()).await.unwrap();
    let head = raw::head(&mut stream, SOON).await;
    assert_eq!(raw::status(&head), 101, "{head}");
    stream
}

/// A masked frame (the mask is zero) with a short payload.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).ok().filter(|length| *length < 126).expect("a short payload");
    [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

/// The code of the first close frame among unmasked frames.
async fn close_code(stream: &mut TcpStream) -> u16 {
    within(SOON, "a close frame", async {
        loop {
            let mut head = [0; 2];
            stream.read_exact(&mut head).await.expect("a close frame before the end");
            let length = match head[1] {
                126 => usize::from(stream.read_u16().await.unwrap()),
                127 => usize::try_from(stream.read_u64().await.unwrap()).unwrap(),
                length => usize::from(length),
            };
            let mut payload = vec![0; length];
            stream.read_exact(&mut payload).await.unwrap();
            if head[0] & 0x0f == 8 {
                return u16::from_be_bytes([payload[0], payload[1]]);
            }
        }
    })
    .await
}

#[tokio::test]
async fn handshakes_that_are_wrong_are_refused_by_status() {
    let hub = Hub::start_in_memory().await;
    let plain = hub.http().get("/ws").send().await;
    assert!([400, 426].contains(&plain.status), "{}: {}", plain.status, plain.text());
    let old = HANDSHAKE.replace("Version: 13", "Version: 8");
    let no_key = HANDSHAKE.replace("Sec-WebSocket-Key", "X-Key");
    for (headers, expected) in [(old, [400, 426]), (no_key, [400, 400])] {
        let answer = raw::exchange(&hub, format!("GET /ws HTTP/1.1\r\n{headers}\r\n").as_bytes()).await;
        assert!(expected.contains(&raw::status(&answer)), "{answer}");
    }
    let bad_name = Socket::try_open(&hub, "/topics/a//b", None, &[]).await;
    match bad_name {
        Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => assert_eq!(answer.status(), 400),
        Err(other) => panic!("{other}"),
        Ok(mut socket) => assert_eq!(socket.close_code().await, 4400),
    }
    match Socket::try_open(&hub, "/topics/a?offset=nonsense", None, &[]).await {
        Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => assert_eq!(answer.status(), 400),
        Err(other) => panic!("{other}"),
        Ok(mut socket) => assert_eq!(socket.close_code().await, 4400),
    }
}

#[tokio::test]
async fn frames_that_break_the_protocol_get_its_close_codes() {
    let hub = Hub::start_in_memory().await;
    let unmasked = vec![0x81, 2, b'h', b'i'];
    let reserved_bit = frame(0xc1, b"x");
    let reserved_opcode = frame(0x83, b"x");
    let split_ping = frame(0x09, b"x");
    let lone_continuation = frame(0x80, b"x");
    let wrong = [unmasked, reserved_bit, reserved_opcode, split_ping, lone_continuation];
    for bytes in wrong {
        for path in ["/ws", "/topics/a"] {
            let mut stream = bare(&hub, path).await;
            stream.write_all(&bytes).await.unwrap();
            assert_eq!(close_code(&mut stream).await, 1002, "{bytes:x?} on {path}");
        }
    }
    for path in ["/ws", "/topics/a"] {
        let mut stream = bare(&hub, path).await;
        stream.write_all(&frame(0x81, &[0xff, 0xfe])).await.unwrap();
        assert_eq!(close_code(&mut stream).await, 1007, "invalid UTF-8 on {path}");
        // A length alone is enough to refuse it: nothing of that size is awaited.
        let mut stream = bare(&hub, path).await;
        stream.write_all(&[0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]).await.unwrap();
        assert_eq!(close_code(&mut stream).await, 1009, "a terabyte on {path}");
    }
    let mut asked = bare(&hub, "/ws").await;
    asked.write_all(&frame(0x88, &[0x03, 0xe8])).await.unwrap();
    assert_eq!(close_code(&mut asked).await, 1000);
}

#[tokio::test]
async fn commands_that_are_wrong_are_answered() {
    let hub = Hub::start_in_memory().await;
    let mut session = Session::open(&hub).await;
    for nonsense in ["", "nonsense", "[]", "7", "{}", r#"{"id":[]}"#, r#"{"ping":{}}"#, &"[".repeat(100_000)] {
        session.socket.send_text(nonsense).await;
        let Message::Text(text) = session.socket.next().await.unwrap() else { panic!("not text") };
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert!(answer["error"]["type"].is_string() && answer["id"].is_null(), "{nonsense:.40}: {answer}");
    }
    let refused = [
        ("explode", json!({})),
        ("subscribe", json!({})),
        ("subscribe", json!({"topic": "a", "filter": "a"})),
        ("subscribe", json!({"topic": "a//b"})),
        ("subscribe", json!({"filter": "a/#/b"})),
        ("publish", json!({"topic": "a"})),
        ("publish", json!({"topic": "a", "data": "???", "encoding": "base64"})),
        ("publish", json!({"topic": "a", "data": "x", "encoding": "rot13"})),
        ("publish", json!({"topic": "$sys", "data": "x"})),
        ("publish", json!({"topic": "a", "messages": []})),
        ("reply", json!({"request": "none", "status": 200})),
        ("respond", json!({"service": ""})),
        ("unsubscribe", json!({"subscription": 99})),
    ];
    for (command, arguments) in refused {
        let refusal = session.refusal(command, arguments.clone()).await;
        let status = refusal["status"].as_u64().unwrap();
        assert!((400..500).contains(&status), "{command} {arguments}: {refusal}");
    }
    let time = session.call("ping", json!({})).await;
    assert!(time["time"].is_string(), "{time}");
}

/// Writes as much as the hub takes; the hub may stop taking it, and then this stops too.
async fn flood(stream: &mut TcpStream, chunk: &[u8], times: usize) -> usize {
    for n in 0..times {
        match tokio::time::timeout(Duration::from_secs(2), stream.write_all(chunk)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return n,
        }
    }
    times
}

#[tokio::test]
async fn a_million_tiny_frames_cost_no_memory() {
    let hub = Hub::start_in_memory().await;
    let before = hub.resident_bytes();
    // Answers are never read: the hub has to stop reading, not to pile them up.
    let pings = frame(0x81, br#"{"id":1,"ping":{}}"#).repeat(1_000);
    let empty_fragments = [frame(0x01, b""), frame(0x00, b"").repeat(999)].concat();
    let control_pings = frame(0x89, b"x").repeat(1_000);
    for (what, chunk) in [("commands", &pings), ("fragments", &empty_fragments), ("pings", &control_pings)] {
        let mut stream = bare(&hub, "/ws").await;
        flood(&mut stream, chunk, 1_000).await;
        let grown = hub.resident_bytes().saturating_sub(before);
        assert!(grown < 64 << 20, "{what} cost {} MiB", grown >> 20);
        hub.http().get("/health").send().await.expect(200);
    }
}

#[tokio::test]
async fn tiny_frames_all_arrive_if_somebody_listens() {
    let hub = Hub::start_in_memory().await;
    let before = hub.resident_bytes();
    let (mut reader, mut writer) = bare(&hub, "/topics/tiny").await.into_split();
    let sending = tokio::spawn(async move {
        let chunk = frame(0x81, b"x").repeat(1_000);
        for _ in 0..100 {
            writer.write_all(&chunk).await.unwrap();
        }
        writer
    });
    // Each comes back as a frame of three bytes.
    let mut received = vec![0; 3 * 100_000];
    within(SOON * 2, "a hundred thousand frames", reader.read_exact(&mut received)).await.unwrap();
    assert!(received.chunks(3).all(|frame| frame == [0x81, 1, b'x']));
    sending.await.unwrap();
    let grown = hub.resident_bytes().saturating_sub(before);
    assert!(grown < 256 << 20, "a hundred thousand messages cost {} MiB", grown >> 20);
}
