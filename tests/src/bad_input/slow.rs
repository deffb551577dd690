//! Connections that take their time: half-open sockets, heads and bodies that trickle.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::deadline::SOON;
use crate::harness::hub::{Hub, Options};
use crate::harness::raw;

async fn impatient() -> Hub {
    let config = "[http]\nhead_time = \"1s\"\nbody_idle = \"1s\"\nbody_time = \"3s\"\n";
    Hub::start_with(Options { memory: true, config: Some(config.to_owned()), ..Options::default() }).await
}

#[tokio::test]
async fn a_head_that_never_ends_is_given_up() {
    let hub = impatient().await;
    let mut stalled = raw::connect(&hub).await;
    stalled.write_all(b"GET /health HTTP/1.1\r\nHost: loc").await.unwrap();
    let answer = raw::head(&mut stalled, SOON).await;
    assert!(answer.is_empty() || raw::status(&answer) == 408, "{answer}");

    // One byte at a time is no progress either.
    let (mut reader, mut writer) = raw::connect(&hub).await.into_split();
    let trickle = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        while writer.write_all(b"x").await.is_ok() {
            tick.tick().await;
        }
    });
    let mut answer = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut answer);
    let _reset_or_closed = crate::harness::deadline::within(SOON, "the hub to give up a trickle", read).await;
    trickle.abort();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn a_body_that_never_ends_is_408() {
    let hub = impatient().await;
    let head = "POST /topics/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n";
    let mut stalled = raw::connect(&hub).await;
    stalled.write_all(format!("{head}half").as_bytes()).await.unwrap();
    let answer = raw::head(&mut stalled, SOON).await;
    assert_eq!(raw::status(&answer), 408, "{answer}");
    assert_eq!(hub.http().get("/topics/a").send().await.expect(200).text(), "", "half a body was published");
}

#[tokio::test]
async fn a_body_that_trickles_is_408_as_well() {
    let hub = impatient().await;
    let head = "POST /topics/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\n";
    let mut connection = raw::connect(&hub).await;
    connection.write_all(head.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = connection.into_split();
    let trickle = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(300));
        while writer.write_all(b"x").await.is_ok() {
            tick.tick().await;
        }
    });
    let mut start = [0; 12];
    let read = tokio::io::AsyncReadExt::read_exact(&mut reader, &mut start);
    crate::harness::deadline::within(SOON, "an answer to a trickle", read).await.unwrap();
    trickle.abort();
    assert_eq!(&start, b"HTTP/1.1 408");
}

#[tokio::test]
async fn half_open_sockets_cost_next_to_nothing() {
    let hub = Hub::start_in_memory().await;
    let before = hub.resident_bytes();
    let mut sockets: Vec<TcpStream> = Vec::new();
    for n in 0..600 {
        let mut socket = raw::connect(&hub).await;
        if n % 2 == 0 {
            socket.write_all(b"GET /topics/a?offset=").await.unwrap();
        }
        sockets.push(socket);
    }
    hub.http().publish("a", "still here").await;
    let per_socket = hub.resident_bytes().saturating_sub(before) / 600;
    assert!(per_socket < 32 << 10, "{per_socket} bytes for each half-open socket");
}
