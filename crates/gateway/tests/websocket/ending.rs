//! What a client has sent before it closes, or goes, is dealt with.

use std::time::Duration;

use quintet_core::limits::Limits;
use quintet_gateway::config::GatewayConfig;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::held::Held;
use crate::support::{PATIENCE, Server, frame, read_close, read_frame, until};

fn close() -> Vec<u8> {
    frame(0x88, &1000_u16.to_be_bytes())
}

fn publishes(n: usize) -> Vec<u8> {
    let publish = |i| frame(0x81, format!(r#"{{"id":{i},"publish":{{"topic":"a","data":{i}}}}}"#).as_bytes());
    (0..n).flat_map(publish).collect()
}

/// So many answers, then the close frame and the end.
async fn check_answered(stream: &mut TcpStream, n: usize) {
    for i in 0..n {
        let (opcode, answer) = read_frame(stream).await.unwrap();
        assert_eq!(opcode, 1, "{i} answers, then {answer:?}");
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert!(answer["ok"].is_object(), "{answer}");
    }
    assert_eq!(read_frame(stream).await, Some((8, 1000_u16.to_be_bytes().to_vec())));
    assert_eq!(read_frame(stream).await, None);
}

#[tokio::test]
async fn payloads_before_a_close_are_published_before_it_is_answered() {
    let server = Server::start().await;
    for n in [1, 10, 200, 1_000] {
        let path = format!("/topics/t{n}");
        let mut stream = server.connect_bare(&path).await;
        let bytes = [frame(0x81, b"x").repeat(n), close()].concat();
        stream.write_all(&bytes).await.unwrap();
        assert_eq!(read_close(&mut stream).await, 1000);
        assert_eq!(server.messages(&format!("t{n}")).await, n as u64);
        assert_eq!(read_frame(&mut stream).await, None);
    }
}

#[tokio::test]
async fn commands_before_a_close_are_answered() {
    for server in [Server::start().await, Server::mounted(GatewayConfig::default()).await] {
        for n in [1, 50, 1_000] {
            let mut stream = server.connect_bare("/ws").await;
            stream.write_all(&[publishes(n), close()].concat()).await.unwrap();
            check_answered(&mut stream, n).await;
        }
        assert_eq!(server.messages("a").await, 1_051);
    }
}

#[tokio::test]
async fn an_end_right_behind_the_close_takes_nothing_back() {
    let server = Server::start().await;
    let mut stream = server.connect_bare("/ws").await;
    stream.write_all(&[publishes(50), close()].concat()).await.unwrap();
    stream.shutdown().await.unwrap();
    check_answered(&mut stream, 50).await;
    assert_eq!(server.messages("a").await, 50);
    // Nobody reads the answers: writing them fails, while most of the publishes are not even read.
    let mut stream = server.connect_bare("/ws").await;
    stream.write_all(&[publishes(1_000), close()].concat()).await.unwrap();
    drop(stream);
    until(async || server.messages("a").await == 1_050).await;
}

#[tokio::test]
async fn what_came_whole_is_published_without_a_close_too() {
    let server = Server::start().await;
    let mut stream = server.connect_bare("/topics/a").await;
    let mut half = frame(0x81, b"half");
    half.pop();
    stream.write_all(&[frame(0x81, b"x").repeat(100), half].concat()).await.unwrap();
    drop(stream);
    until(async || server.messages("a").await == 100).await;
    let mut stream = server.connect_bare("/topics/a").await;
    stream.write_all(&[frame(0x81, b"x").repeat(100), frame(0x83, b"x")].concat()).await.unwrap();
    assert_eq!(read_close(&mut stream).await, 1002);
    assert_eq!(server.messages("a").await, 200);
}

#[tokio::test]
async fn a_refused_payload_is_told_instead_of_an_answer_to_the_close() {
    let server = Server::start().await;
    server.create("json", "application/json", None).await;
    let mut stream = server.connect_bare("/topics/json").await;
    stream.write_all(&[frame(0x81, b"1"), frame(0x81, b"{"), close()].concat()).await.unwrap();
    assert_eq!(read_close(&mut stream).await, 4400);
    assert_eq!(read_frame(&mut stream).await, None);
}

fn config(closing: Duration) -> GatewayConfig {
    let mut config = GatewayConfig::default();
    config.websocket.tick = Duration::from_millis(10);
    config.websocket.closing = closing;
    config
}

#[tokio::test]
async fn a_close_waits_for_what_is_under_way_also_when_the_hub_stops() {
    let engine = Held::new();
    let server = Server::on(engine.clone(), config(PATIENCE), Limits::default()).await;
    server.create("a", "application/json", None).await;
    engine.hold();
    let mut stream = server.connect_bare("/ws").await;
    stream.write_all(&[publishes(3), frame(0x89, b"seen?"), close()].concat()).await.unwrap();
    assert_eq!(read_frame(&mut stream).await, Some((0xA, b"seen?".to_vec())));
    server.gateway.shutdown().begin();
    assert_eq!(server.messages("a").await, 0);
    engine.let_go();
    check_answered(&mut stream, 3).await;
    assert_eq!(server.messages("a").await, 3);
}

#[tokio::test]
async fn what_takes_too_long_is_no_clean_close() {
    let engine = Held::new();
    let server = Server::on(engine.clone(), config(Duration::from_millis(100)), Limits::default()).await;
    server.create("a", "application/json", None).await;
    engine.hold();
    for path in ["/ws", "/topics/a"] {
        let mut stream = server.connect_bare(path).await;
        let payload = if path == "/ws" { publishes(1) } else { frame(0x81, b"1") };
        stream.write_all(&[payload, close()].concat()).await.unwrap();
        assert_eq!(read_close(&mut stream).await, 1011, "{path}");
        assert_eq!(read_frame(&mut stream).await, None);
    }
}

#[tokio::test]
async fn a_request_of_a_client_that_closes_is_cancelled() {
    let server = Server::start().await;
    let mut responder = server.connect("/ws").await;
    responder.ask(r#"{"id":0,"respond":{"service":"echo"}}"#).await;
    let mut caller = server.connect_bare("/ws").await;
    caller.write_all(&frame(0x81, br#"{"id":1,"request":{"service":"echo"}}"#)).await.unwrap();
    let asked = responder.json().await;
    caller.write_all(&close()).await.unwrap();
    check_answered(&mut caller, 0).await;
    assert_eq!(responder.json().await, json!({"cancel":{"request":asked["request"]["id"]}}));
}
