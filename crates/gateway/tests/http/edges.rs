//! What clients should not do: too long, too slow, too many, half a request; and HTTP/2.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::{DEADLINE, Door, Setup};

/// Sends bytes and reads until the server closes.
async fn talk(mut stream: TcpStream, bytes: &[u8]) -> String {
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the server does not close: {}", String::from_utf8_lossy(&answer));
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn long_targets_and_headers_are_refused() {
    let door = Door::open().await;
    door.get(&format!("/topics/a?x={}", "y".repeat(8192))).await.is_problem(414, "uri-too-long");
    let long = "y".repeat(33 * 1024);
    door.ask("GET /topics/a", &[("X-Long", &long)], "").await.is_problem(431, "headers-too-large");
    let request = format!("GET /health HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "y".repeat(300 * 1024));
    let mut stream = door.connect().await;
    let mut answer = [0; 12];
    // The server answers before it has read all of it.
    let (_, read) = tokio::join!(stream.write_all(request.as_bytes()), async { Ok::<_, std::io::Error>(()) });
    read.unwrap();
    timeout(DEADLINE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 431");
}

#[tokio::test]
async fn nonsense_is_a_bad_request() {
    let door = Door::open().await;
    let answer = talk(door.connect().await, b"\x16\x03\x01\x02\x00 tls hello\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let answer = talk(
        door.connect().await,
        b"POST /topics/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let answer = talk(door.connect().await, b"GET /health HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
}

#[tokio::test]
async fn slow_heads_and_slow_bodies_are_given_up() {
    let mut setup = Setup::default();
    setup.serve.head_time = Duration::from_millis(100);
    setup.gateway.body_idle = Duration::from_millis(100);
    let door = Door::with(setup).await;
    assert_eq!(talk(door.connect().await, b"").await, "");
    assert_eq!(talk(door.connect().await, b"P").await, "");
    let _some_hubs_answer_408 = talk(door.connect().await, b"GET /health HTTP/1.1\r\nHost: x").await;
    let head = b"POST /topics/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf";
    let answer = talk(door.connect().await, head).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("request-timeout"), "{answer}");
    door.ask("HEAD /v1/stream/a", &[], "").await.is(404);
}

#[tokio::test]
async fn a_connection_outlives_a_body_that_nobody_wanted() {
    let door = Door::open().await;
    let mut stream = door.connect().await;
    // Each body comes after its head was refused.
    for body in [&[b'x'; 10][..], &[b'x'; 200_000]] {
        let head = format!("POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        tokio::task::yield_now().await;
        stream.write_all(body).await.unwrap();
        let answer = read_answer(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 404") && !answer.contains("connection: close"), "{answer}");
    }
    // What is too long to be read for nothing ends the connection, and says so; so does what was asked about first.
    for expect in ["", "Expect: 100-continue\r\n"] {
        let mut stream = door.connect().await;
        let head = format!("POST /topics/a HTTP/1.1\r\nHost: localhost\r\n{expect}Content-Length: 99999999999\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = read_answer(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("connection: close"), "{answer}");
    }
}

/// Reads one answer with its body.
async fn read_answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        let n = timeout(DEADLINE, stream.read_buf(&mut answer)).await.unwrap().unwrap();
        assert!(n > 0, "{}", String::from_utf8_lossy(&answer));
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_body_that_breaks_off_publishes_nothing() {
    let door = Door::open().await;
    let mut stream = door.connect().await;
    stream.write_all(b"POST /topics/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    door.ask("HEAD /v1/stream/a", &[], "").await.is(404);
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let mut setup = Setup::default();
    setup.serve.connections = 1;
    let door = Door::with(setup).await;
    let mut first = door.connect().await;
    first.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut start = [0; 15];
    timeout(DEADLINE, first.read_exact(&mut start)).await.unwrap().unwrap();
    assert_eq!(&start, b"HTTP/1.1 200 OK");
    let answer = talk(door.connect().await, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("Retry-After: 1"), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{answer}");
    assert!(serde_json::from_str::<serde_json::Value>(body).is_ok());
    drop(first);
}

#[tokio::test]
async fn http2_with_prior_knowledge_works() {
    let door = Door::open().await;
    let io = TokioIo::new(door.connect().await);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let driver = tokio::spawn(connection);
    let uri = format!("http://{}/topics/two", door.address);
    let publish = Request::post(&uri).header("content-type", "text/plain").body(Full::new(Bytes::from("x"))).unwrap();
    assert_eq!(sender.send_request(publish).await.unwrap().status(), 204);
    let read = Request::get(&uri).body(Full::default()).unwrap();
    let answer = sender.send_request(read).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!(answer, "x");
    let head = sender.send_request(Request::head(&uri).body(Full::default()).unwrap()).await.unwrap();
    assert!(head.status() == 200 && !head.headers().contains_key("content-length"), "{head:?}");
    driver.abort();
}
