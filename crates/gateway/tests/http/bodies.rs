//! Bodies that are announced, come slowly, or are from those who may not send them.

use std::time::Duration;

use quintet_core::access::{Access, Grant, Operation};
use quintet_core::name::Filter;
use quintet_gateway::auth::Tokens;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::{DEADLINE, Door, Setup, TEXT, until};

/// Sends a head that waits to be told to go on.
async fn announce(door: &Door, length: usize, headers: &str) -> TcpStream {
    let mut stream = door.connect().await;
    let head = format!(
        "POST /topics/a HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn what_is_announced_shuts_nobody_out() {
    let mut setup = Setup::default();
    setup.gateway.body_bytes = 1000;
    setup.gateway.bodies_bytes = 1000;
    let door = Door::with(setup).await;
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let mut stream = announce(&door, 900, "").await;
        until(&mut stream, "HTTP/1.1 100 Continue\r\n\r\n").await;
        stream.write_all(b"x").await.unwrap();
        waiting.push(stream);
    }
    door.ask("POST /topics/a", &[TEXT], "hi").await.is(204);
    // What has come counts.
    let mut last = waiting.pop().unwrap();
    last.write_all(&[b'x'; 800]).await.unwrap();
    let full = async { while door.ask("POST /topics/a", &[TEXT], vec![b'x'; 300]).await.status != 503 {} };
    assert!(timeout(DEADLINE, full).await.is_ok(), "there is room for all");
    last.write_all(&[b'x'; 99]).await.unwrap();
    until(&mut last, "HTTP/1.1 204 No Content\r\n").await;
    door.ask("POST /topics/a", &[TEXT], vec![b'x'; 300]).await.is(204);
}

#[tokio::test]
async fn who_may_not_publish_is_told_before_the_body_comes() {
    /// SHA-256 of "secret".
    const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let grant = Grant { operations: vec![Operation::Subscribe], filters: vec![Filter::parse("#").unwrap()] };
    let mut setup = Setup::default();
    setup.gateway.tokens = Tokens::new([(SECRET, Access::new("anna", vec![grant]))]).unwrap();
    let door = Door::with(setup).await;
    for close in ["", "Stream-Closed: true\r\n"] {
        let headers = format!("Authorization: Bearer secret\r\n{close}");
        let mut stream = announce(&door, 16 << 20, &headers).await;
        let answer = until(&mut stream, "}").await;
        // Neither is it asked for, nor waited for.
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn what_the_head_refuses_is_refused_without_asking_for_the_body() {
    let door = Door::open().await;
    for (target, status) in [("/nothing", 404), ("/health", 405), ("/topics/a//b", 400)] {
        let mut stream = door.connect().await;
        let head =
            format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = until(&mut stream, "}").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn a_body_that_stops_coming_on_is_given_up() {
    let mut setup = Setup::default();
    setup.gateway.body_idle = Duration::from_millis(100);
    setup.gateway.body_time = Duration::from_secs(60);
    let door = Door::with(setup).await;
    let mut stream = door.connect().await;
    let head = "POST /topics/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b'x'; 1_000_000]).await.unwrap();
    let mut answer = [0; 12];
    let given_up = timeout(DEADLINE, async {
        // There is always something, but far less than what would bring the rest in time.
        while timeout(Duration::from_millis(20), stream.read_exact(&mut answer)).await.is_err() {
            drop(stream.write_all(b"x").await);
        }
    });
    assert!(given_up.await.is_ok(), "it is still waited for");
    assert_eq!(&answer, b"HTTP/1.1 408");
}
