//! What happens when the hub closes: for how long it waits, and what it still writes and reads.

use std::time::Duration;

use quintet_gateway::config::GatewayConfig;
use quintet_gateway::websocket::config::WebSocketConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

use crate::support::{PATIENCE, Server, frame, name, read_close, read_frame};

/// Far less than the times that are not to be waited for.
const SOON: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_secs(600);

fn config(change: impl FnOnce(&mut WebSocketConfig)) -> GatewayConfig {
    let mut config = GatewayConfig::default();
    config.websocket.tick = Duration::from_millis(10);
    change(&mut config.websocket);
    config
}

/// The hub's close frame, and then the end.
async fn check_closed(stream: &mut TcpStream, code: u16) {
    assert_eq!(read_close(stream).await, code);
    let end = timeout(SOON, stream.read_u8()).await.expect("the connection goes on");
    assert!(end.is_err(), "{end:?}");
}

#[tokio::test]
async fn a_client_that_does_not_answer_a_close_has_the_closing_time() {
    let config = || {
        config(|websocket| {
            websocket.closing = Duration::from_millis(100);
            (websocket.stall, websocket.ping, websocket.silence) = (LONG, LONG, LONG);
        })
    };
    for server in [Server::with(config()).await, Server::mounted(config()).await] {
        let mut stream = server.connect_bare("/ws").await;
        stream.write_all(&frame(0x82, b"bytes")).await.unwrap();
        check_closed(&mut stream, 4400).await;
    }
}

#[tokio::test]
async fn whoever_cannot_be_understood_is_not_waited_for() {
    for server in [
        Server::with(config(|websocket| websocket.closing = LONG)).await,
        Server::mounted(config(|websocket| websocket.closing = LONG)).await,
    ] {
        let mut stream = server.connect_bare("/ws").await;
        stream.write_all(&frame(0x83, b"x")).await.unwrap();
        check_closed(&mut stream, 1002).await;
        let mut stream = server.connect_bare("/topics/a").await;
        stream.write_all(&frame(0x81, &[0xC3, 0x28])).await.unwrap();
        check_closed(&mut stream, 1007).await;
        // The payload comes all the same. It is passed over, so that the close frame is not lost by it.
        let mut stream = server.connect_bare("/topics/a").await;
        stream.write_all(&frame(0x82, &vec![0; (8 << 20) + 1])).await.unwrap();
        check_closed(&mut stream, 1009).await;
    }
}

#[tokio::test]
async fn a_close_behind_what_was_refused_is_seen() {
    let server = Server::with(config(|websocket| websocket.closing = LONG)).await;
    let close = frame(0x88, &1000_u16.to_be_bytes());
    let mut stream = server.connect_bare("/ws").await;
    stream.write_all(&[frame(0x82, b"bytes"), close.clone()].concat()).await.unwrap();
    check_closed(&mut stream, 4400).await;
    let mut stream = server.connect_bare("/ws").await;
    stream.write_all(&[frame(0x82, b"bytes"), frame(0x89, b"ping").repeat(5_000)].concat()).await.unwrap();
    assert_eq!(read_close(&mut stream).await, 4400);
    stream.write_all(&close).await.unwrap();
    let end = timeout(SOON, stream.read_u8()).await.expect("the connection goes on");
    assert!(end.is_err(), "{end:?}");
}

/// Far more than the kernel holds for one connection.
const LARGE_BYTES: usize = 8 << 20;

/// Reads one large message in steps, for about three seconds.
async fn read_slowly(stream: &mut TcpStream) {
    let mut pace = interval(Duration::from_millis(20));
    let mut left = vec![0; 10 + LARGE_BYTES];
    let mut left = left.as_mut_slice();
    while !left.is_empty() {
        pace.tick().await;
        let n = left.len().min(LARGE_BYTES / 150);
        let read = timeout(PATIENCE, stream.read(&mut left[..n])).await.expect("nothing comes").unwrap();
        assert!(read > 0, "the connection has ended, and {} bytes are missing", left.len());
        left = &mut left[read..];
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_closed_topic_waits_for_a_slow_reader() {
    let server = Server::with(config(|websocket| {
        websocket.closing = Duration::from_millis(100);
        websocket.stall = Duration::from_millis(1_500);
    }))
    .await;
    server.create("a", "application/octet-stream", None).await;
    server.publish("a", "application/octet-stream", &[&vec![7; LARGE_BYTES]]).await;
    server.hub.close_topic(&name("a")).await.unwrap();
    let mut slow = server.connect_narrow("/topics/a?offset=-1").await;
    read_slowly(&mut slow).await;
    check_closed(&mut slow, 1000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_slowly_is_not_silent() {
    let server = Server::with(config(|websocket| {
        websocket.ping = Duration::from_millis(700);
        websocket.silence = Duration::from_millis(1_400);
    }))
    .await;
    server.create("a", "application/octet-stream", None).await;
    server.publish("a", "application/octet-stream", &[&vec![7; LARGE_BYTES]]).await;
    let mut slow = server.connect_narrow("/topics/a?offset=-1").await;
    read_slowly(&mut slow).await;
    // Only when it takes nothing more, as there is nothing, is it asked whether it is there.
    assert_eq!(read_frame(&mut slow).await, Some((9, Vec::new())));
}
