//! WebSockets on a topic: payloads, envelopes, and every close code.

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Server, name};

#[tokio::test]
async fn a_frame_is_a_payload_both_ways() {
    let server = Server::start().await;
    server.publish("a", "text/plain", &[b"old"]).await;
    let mut late = server.connect("/topics/a").await;
    let mut early = server.connect("/topics/a?offset=-1").await;
    assert_eq!(early.text().await, "old");
    server.until_followers("a", 2).await;
    early.send("hello").await;
    early.send_binary(&[0, 255]).await;
    for client in [&mut early, &mut late] {
        assert_eq!(client.message().await, Message::text("hello"));
        assert_eq!(client.message().await, Message::binary(vec![0, 255]));
    }
    let mut strict = server.connect("/v1/stream/a?offset=-1").await;
    assert_eq!(strict.text().await, "old");
}

#[tokio::test]
async fn frames_take_the_topics_type() {
    let server = Server::start().await;
    server.create("json", "application/json", None).await;
    server.create("image", "image/png", None).await;
    let mut json = server.connect("/topics/json").await;
    server.until_followers("json", 1).await;
    json.send("[1,2]").await;
    assert_eq!(json.text().await, "[1,2]");
    json.send("[1,").await;
    assert_eq!(json.closed().await.0, 4400);
    let mut image = server.connect("/topics/image").await;
    server.until_followers("image", 1).await;
    image.send_binary(b"png").await;
    assert_eq!(image.message().await, Message::binary(b"png".to_vec()));
    image.send("text").await;
    assert_eq!(image.closed().await.0, 4409);
}

#[tokio::test]
async fn what_happens_to_the_topic_is_a_close_code() {
    let server = Server::start().await;
    server.create("a", "text/plain", Some(1)).await;
    for payload in [b"1", b"2", b"3"] {
        server.publish("a", "text/plain", &[payload]).await;
    }
    let check = async |path: &str, code: u16, reason: &str| {
        let mut client = server.connect(path).await;
        let closed = client.closed().await;
        assert_eq!(closed.0, code, "{path}: {}", closed.1);
        assert!(closed.1.contains(reason), "{}", closed.1);
    };
    check("/topics/a?offset=7", 4400, "cursor").await;
    check("/topics/a?offset=00000007_00000000000000ff", 4400, "beyond").await;
    check("/topics/a?offset=00000009_0000000000000001", 4410, "another log").await;
    check("/topics/a?offset=00000007_0000000000000002", 4416, "first_available 00000007_0000000000000003").await;
    check("/v1/stream/absent", 4404, "absent").await;
    let mut reader = server.connect("/topics/a").await;
    server.until_followers("a", 1).await;
    server.hub.close_topic(&name("a")).await.unwrap();
    assert_eq!(reader.closed().await, (1000, "closed".to_owned()));
    check("/topics/a", 1000, "closed").await;
    let mut writer = server.connect("/topics/b").await;
    writer.send("x").await;
    assert_eq!(writer.text().await, "x");
    server.hub.delete_topic(&name("b")).await.unwrap();
    assert_eq!(writer.closed().await.0, 4410);
}

#[tokio::test]
async fn messages_come_before_the_end() {
    let server = Server::start().await;
    server.publish("a", "text/plain", &[b"1", b"2"]).await;
    server.hub.close_topic(&name("a")).await.unwrap();
    let mut client = server.connect("/topics/a?offset=-1").await;
    assert_eq!((client.text().await, client.text().await), ("1".into(), "2".into()));
    assert_eq!(client.closed().await, (1000, "closed".to_owned()));
}

#[tokio::test]
async fn what_is_too_big_or_reserved_is_refused() {
    let server = Server::start().await;
    let mut client = server.connect("/topics/a").await;
    client.send("x".repeat((8 << 20) + 1)).await;
    assert_eq!(client.closed().await.0, 1009);
    let mut client = server.connect("/v1/stream/a").await;
    assert_eq!(client.closed().await.0, 4404);
}

#[tokio::test]
async fn a_stopping_hub_goes_away() {
    let server = Server::start().await;
    server.publish("a", "text/plain", &[b"x"]).await;
    let mut client = server.connect("/topics/a").await;
    server.until_followers("a", 1).await;
    server.hub.shutdown().await.unwrap();
    assert_eq!(client.closed().await.0, 1001);
}

#[tokio::test]
async fn envelopes_have_cursors_and_answers() {
    let server = Server::start().await;
    let mut client = server.connect_as("/topics/a?offset=-1", Some("quintet.envelope")).await;
    client.send(r#"{"id":1,"publish":{"data":{"n":1}}}"#).await;
    let (mut answer, mut delivery) = (client.json().await, client.json().await);
    if answer.get("id").is_none() {
        std::mem::swap(&mut answer, &mut delivery);
    }
    let offset = &answer["ok"]["offset"];
    assert_eq!(answer, json!({"id":1,"ok":{"offset":offset,"duplicate":false}}));
    assert_eq!((&delivery["next"], &delivery["messages"][0]["data"]), (offset, &json!({"n":1})));
    let refused = client.ask(r#"{"id":2,"subscribe":{"topic":"b"}}"#).await;
    assert_eq!(refused["error"]["type"], "/problems/bad-request");
    assert!(client.ask(r#"{"id":3,"ping":{}}"#).await["ok"]["time"].is_string());
    server.hub.close_topic(&name("a")).await.unwrap();
    assert_eq!(client.json().await["closed"]["topic"], "a");
    assert_eq!(client.closed().await, (1000, "closed".to_owned()));
    let refused = server.try_connect("/topics/a", Some("quintet.v1")).await;
    assert!(refused.is_err());
}
