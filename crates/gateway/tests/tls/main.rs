//! The doors behind TLS, over real sockets: the same patterns as without, and what only TLS has.
#![allow(clippy::unwrap_used, reason = "a test that panics says what is wrong")]

mod support;

use std::time::Duration;

use futures_util::SinkExt;
use http_body_util::BodyExt;
use quintet_gateway::config::GatewayConfig;
use quintet_gateway::serve::ServeConfig;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::version;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Certificate, N, PATIENCE, Server, message};

#[tokio::test]
async fn requests_by_either_http() {
    let server = Server::start().await;
    server.publish("a", b"hello".to_vec()).await;
    for http2 in [false, true] {
        let answer = server.ask("GET", "/topics/a?offset=-1", "*/*", http2).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "hello");
        let created = server.ask("PUT", &format!("/topics/new-{http2}"), "*/*", http2).await;
        let location = created.headers()["location"].to_str().unwrap();
        assert_eq!(location, format!("https://{}/topics/new-{http2}", server.address));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_in_order_by_either_http() {
    let server = Server::start().await;
    for (http2, topic) in [(false, "a"), (true, "b")] {
        let answer = server.ask("GET", &format!("/topics/{topic}?offset=-1"), "text/event-stream", http2).await;
        let mut body = answer.into_body();
        let read = async {
            let (mut text, mut n) = (String::new(), 0);
            while n < N {
                let frame = timeout(PATIENCE, body.frame()).await.unwrap().unwrap().unwrap();
                text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
                while let Some(end) = text.find('\n') {
                    let line: String = text.drain(..=end).collect();
                    if let Some(data) = line.strip_prefix("data: ") {
                        assert_eq!(data.trim_end(), n.to_string());
                        n += 1;
                    }
                }
            }
        };
        tokio::join!(read, server.count(topic));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_on_a_topic_and_a_session_in_order() {
    let server = Server::start().await;
    server.create("a").await;
    let mut raw = server.websocket("/topics/a?offset=-1").await;
    let mut session = server.websocket("/ws").await;
    session.send(Message::text(r#"{"id":1,"subscribe":{"topic":"a","since":"-1"}}"#)).await.unwrap();
    server.until_followers("a", 2).await;
    let read_raw = async {
        for i in 0..N {
            assert_eq!(message(&mut raw).await, Message::text(i.to_string()));
        }
    };
    let read_session = async {
        let mut n = 0;
        while n < N {
            let frame: Value = serde_json::from_str(message(&mut session).await.to_text().unwrap()).unwrap();
            for message in frame["messages"].as_array().into_iter().flatten() {
                assert_eq!(message["data"], n.to_string());
                n += 1;
            }
        }
    };
    tokio::join!(read_raw, read_session, server.count("a"));
    raw.send(Message::text("back")).await.unwrap();
    assert_eq!(message(&mut raw).await, Message::text("back"));
    raw.close(None).await.unwrap();
    assert!(matches!(message(&mut raw).await, Message::Close(_)));
    server.until_followers("a", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_read_is_closed_and_one_that_reads_late_gets_everything() {
    let mut config = GatewayConfig::default();
    config.websocket.tick = Duration::from_millis(10);
    config.websocket.stall = Duration::from_millis(500);
    let server = Server::with(config, ServeConfig::default()).await;
    server.create("a").await;
    let mut slow = server.websocket("/topics/a?offset=-1").await;
    let mut fast = server.websocket("/topics/a?offset=-1").await;
    server.until_followers("a", 2).await;
    let payload = vec![b'x'; 100_000];
    for _ in 0..200 {
        server.publish("a", payload.clone()).await;
        assert_eq!(message(&mut fast).await.len(), payload.len());
    }
    server.until_followers("a", 1).await;
    // What was begun arrives whole, and then the reason.
    let closed = loop {
        match message(&mut slow).await {
            Message::Close(frame) => break frame.unwrap(),
            whole => assert_eq!(whole.len(), payload.len()),
        }
    };
    assert_eq!(u16::from(closed.code), 4408);
    let mut late = server.websocket("/topics/a?offset=-1").await;
    for _ in 0..200 {
        assert_eq!(message(&mut late).await.len(), payload.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_served_in_one_turn() {
    let server = Server::start().await;
    server.create("a").await;
    let mut sockets = Vec::new();
    for _ in 0..300 {
        sockets.push(server.websocket("/topics/a").await);
    }
    server.until_followers("a", 300).await;
    for i in 0..3 {
        server.publish("a", format!("m{i}").into_bytes()).await;
    }
    for socket in &mut sockets {
        for i in 0..3 {
            assert_eq!(message(socket).await, Message::text(format!("m{i}")));
        }
    }
}

#[tokio::test]
async fn plain_http_is_told_so() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(&server.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("https://"), "{answer}");
}

#[tokio::test]
async fn a_handshake_has_its_time_and_its_place() {
    let connections = ServeConfig { connections: 1, head_time: Duration::from_millis(300), ..ServeConfig::default() };
    let server = Server::with(GatewayConfig::default(), connections).await;
    let ended = async |stream: &mut TcpStream| {
        let end = timeout(PATIENCE, stream.read(&mut [0; 64])).await.expect("it stays open");
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    };
    let mut silent = TcpStream::connect(&server.address).await.unwrap();
    let mut second = TcpStream::connect(&server.address).await.unwrap();
    ended(&mut second).await;
    ended(&mut silent).await;
    // So is the request behind it, of HTTP/2 too.
    let mut idle = server.connect(Some("h2")).await;
    let end = timeout(PATIENCE, idle.read(&mut [0; 64])).await.expect("it stays open");
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    assert_eq!(server.ask("GET", "/health", "*/*", true).await.status(), 200);
}

#[tokio::test]
async fn a_certificate_is_replaced_for_new_connections() {
    let server = Server::start().await;
    let versions = [&version::TLS13, &version::TLS12];
    let mut old = server.websocket("/topics/a").await;
    let new = Certificate::new();
    assert!(server.tls.replace(new.chain.as_bytes(), b"nonsense").is_err());
    server.connect(None).await;
    server.tls.replace(new.chain.as_bytes(), new.key.as_bytes()).unwrap();
    assert!(server.try_connect(&server.certificate, None, &versions).await.is_err());
    for version in versions {
        let stream = server.try_connect(&new, None, &[version]).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
    }
    old.send(Message::text("still here")).await.unwrap();
    assert_eq!(message(&mut old).await, Message::text("still here"));
}
