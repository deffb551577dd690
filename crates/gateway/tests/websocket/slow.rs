//! Clients that do not read, and clients that are not there any more.

use std::time::Duration;

use quintet_gateway::config::GatewayConfig;
use quintet_gateway::websocket::config::WebSocketConfig;
use tokio::io::AsyncWriteExt;

use crate::support::{Server, frame, name, read_close, read_frame};

fn config(change: impl FnOnce(&mut WebSocketConfig)) -> GatewayConfig {
    let mut config = GatewayConfig::default();
    config.websocket.tick = Duration::from_millis(10);
    change(&mut config.websocket);
    config
}

async fn check_slow(server: Server, opens_with: Option<Vec<u8>>) {
    let path = if opens_with.is_some() { "/ws" } else { "/topics/a" };
    server.create("a", "text/plain", None).await;
    let mut slow = server.connect_bare(path).await;
    if let Some(bytes) = opens_with {
        slow.write_all(&bytes).await.unwrap();
    }
    let mut fast = server.connect("/topics/a").await;
    server.until_followers("a", 2).await;
    // Far more than the kernel holds for one connection. The other one and the publisher do not wait.
    let payload = vec![b'x'; 100_000];
    for _ in 0..200 {
        server.publish("a", "text/plain", &[&payload]).await;
        assert_eq!(fast.text().await.len(), payload.len());
    }
    server.until_followers("a", 1).await;
    // What was begun arrives whole, and then the reason.
    assert_eq!(read_close(&mut slow).await, 4408);
    assert_eq!(fast.0.get_ref().peer_addr().unwrap().to_string(), server.address);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_closed_and_holds_up_nobody() {
    let config = || config(|websocket| websocket.stall = Duration::from_millis(300));
    let subscribe = frame(0x81, br#"{"id":1,"subscribe":{"topic":"a"}}"#);
    check_slow(Server::with(config()).await, None).await;
    check_slow(Server::with(config()).await, Some(subscribe.clone())).await;
    check_slow(Server::mounted(config()).await, Some(subscribe)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_slowly_gets_everything() {
    let server = Server::start().await;
    server.create("a", "application/octet-stream", None).await;
    let mut slow = server.connect_bare("/topics/a").await;
    server.until_followers("a", 1).await;
    let payload = vec![7; 100_000];
    for _ in 0..100 {
        server.publish("a", "application/octet-stream", &[&payload]).await;
    }
    for _ in 0..100 {
        assert_eq!(read_frame(&mut slow).await, Some((2, payload.clone())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_not_read_stop_the_reading() {
    let server = Server::with(config(|websocket| websocket.stall = Duration::from_millis(300))).await;
    let mut stream = server.connect_bare("/ws").await;
    // Long ids make long answers.
    let publish = format!(r#"{{"id":"{}","publish":{{"topic":"a","data":0}}}}"#, "x".repeat(255));
    let publishes = frame(0x81, publish.as_bytes()).repeat(1_000);
    let mut n_sent = 0;
    while n_sent < 100_000 && stream.write_all(&publishes).await.is_ok() {
        n_sent += 1_000;
    }
    // Closed without having taken them all: some were only drained.
    assert_eq!(read_close(&mut stream).await, 4408);
    let n_taken = server.hub.describe(&name("a")).await.unwrap().messages;
    assert!(n_taken < 90_000, "the hub has taken {n_taken} of {n_sent} commands without being read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_gone_is_noticed() {
    let server = Server::with(config(|websocket| {
        websocket.ping = Duration::from_millis(50);
        websocket.silence = Duration::from_millis(400);
    }))
    .await;
    server.create("a", "text/plain", None).await;
    let mut silent = server.connect_bare("/topics/a").await;
    let mut alive = server.connect_bare("/topics/a").await;
    server.until_followers("a", 2).await;
    // Both are pinged; one answers.
    let answer = async {
        for _ in 0..20 {
            assert_eq!(read_frame(&mut alive).await, Some((9, Vec::new())));
            alive.write_all(&frame(0x8A, b"")).await.unwrap();
        }
    };
    answer.await;
    assert_eq!(server.followers("a").await, 1);
    while let Some(frame) = read_frame(&mut silent).await {
        assert_eq!(frame, (9, Vec::new()));
    }
}

#[tokio::test]
async fn what_is_held_for_clients_is_bounded() {
    let server = Server::with(config(|websocket| {
        websocket.received_bytes = 1 << 20;
        websocket.unsent_bytes = 1 << 20;
    }))
    .await;
    let mut streams = Vec::new();
    let mut begun = frame(0x82, &vec![0; 500_000]);
    begun.truncate(400_000);
    let mut refused = 0;
    for _ in 0..6 {
        let mut stream = server.connect_bare("/topics/a").await;
        if stream.write_all(&begun).await.is_err() {
            refused += 1;
            continue;
        }
        streams.push(stream);
    }
    let mut last = streams.pop().unwrap();
    assert_eq!(read_close(&mut last).await, 4429);
    assert!(refused <= 4);
}

/// Three subscriptions share a connection that is full most of the time.
async fn check_shared(server: Server) {
    server.create("a", "application/json", None).await;
    let mut client = server.connect("/ws").await;
    for id in 1..=3 {
        client.ask(&format!(r#"{{"id":{id},"subscribe":{{"topic":"a"}}}}"#)).await;
    }
    let payload = format!("\"{}\"", "x".repeat(50_000));
    for _ in 0..200 {
        server.publish("a", "application/json", &[payload.as_bytes()]).await;
    }
    let mut last = [String::new(), String::new(), String::new()];
    let mut n = [0; 3];
    while n != [200; 3] {
        let delivery = client.json().await;
        let i = delivery["subscription"].as_u64().unwrap() as usize - 1;
        for message in delivery["messages"].as_array().unwrap() {
            let offset = message["offset"].as_str().unwrap();
            assert!(last[i].as_str() < offset);
            last[i] = offset.to_owned();
            n[i] += 1;
        }
        assert_eq!(delivery["next"], last[i].as_str());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_share_a_full_connection() {
    check_shared(Server::start().await).await;
    check_shared(Server::mounted(GatewayConfig::default()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_that_are_not_read_stop_the_reading_sooner() {
    let server = Server::with(config(|websocket| websocket.stall = Duration::from_secs(1))).await;
    let mut stream = server.connect_narrow("/ws").await;
    // The refusal repeats the name.
    let name = "not a header's name ".repeat(50_000);
    let refused = format!(r#"{{"id":1,"publish":{{"topic":"a","data":0,"headers":{{"{name}":"x"}}}}}}"#);
    let publish = frame(0x81, br#"{"id":2,"publish":{"topic":"a","data":0}}"#);
    for _ in 0..25 {
        stream.write_all(&[frame(0x81, refused.as_bytes()), publish.clone()].concat()).await.unwrap();
    }
    // Closed without having taken them all: some were only drained.
    assert_eq!(read_close(&mut stream).await, 4408);
    let n_taken = server.messages("a").await;
    assert!(n_taken < 10, "the hub has taken {n_taken} of 25 commands without being read");
}
