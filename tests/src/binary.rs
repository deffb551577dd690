//! Bytes that are no text pass every transport unchanged.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::events::Events;
use crate::harness::hub::Hub;
use crate::harness::session::Session;
use crate::harness::socket::Socket;

const TYPE: &str = "application/octet-stream";

fn bytes() -> Vec<u8> {
    (0..=255).collect()
}

async fn hub_with_bytes() -> Hub {
    let hub = Hub::start().await;
    hub.http().put("/topics/raw").header("Content-Type", TYPE).send().await.expect(201);
    hub.http().post("/topics/raw", TYPE, bytes()).send().await.expect(204);
    hub
}

#[tokio::test]
async fn by_poll() {
    let hub = hub_with_bytes().await;
    for path in ["/topics/raw", "/topics/raw?offset=-1&live=long-poll", "/v1/stream/raw?offset=-1"] {
        let answer = hub.http().get(path).send().await.expect(200);
        assert_eq!((answer.header("content-type"), &answer.body[..]), (TYPE, &bytes()[..]), "{path}");
    }
    let (envelopes, _) = hub.http().read("raw", "start").await;
    assert_eq!(envelopes[0]["encoding"], "base64");
    assert_eq!(envelopes[0]["data"], STANDARD.encode(bytes()));
}

#[tokio::test]
async fn by_server_sent_events() {
    let hub = hub_with_bytes().await;
    let mut plain = Events::open(hub.http().get("/topics/raw?offset=start")).await;
    let event = plain.next().await.unwrap();
    assert_eq!((event.name.as_str(), event.data), ("base64", STANDARD.encode(bytes())));
    let mut durable = Events::open_raw(hub.http().get("/v1/stream/raw?offset=-1&live=sse")).await;
    assert_eq!(durable.headers["stream-sse-data-encoding"], "base64");
    let event = durable.next().await.unwrap();
    assert_eq!((event.name.as_str(), event.data.replace('\n', "")), ("data", STANDARD.encode(bytes())));
}

#[tokio::test]
async fn by_websocket_both_ways() {
    let hub = hub_with_bytes().await;
    let mut socket = Socket::open(&hub, "/topics/raw?offset=start", None).await;
    assert_eq!(socket.next().await.unwrap(), Message::binary(bytes()));
    let mut session = Session::open(&hub).await;
    session.call("subscribe", json!({"topic": "raw", "since": "start"})).await;
    let message = session.messages(1).await.remove(0);
    assert_eq!((&message["data"], &message["encoding"]), (&json!(STANDARD.encode(bytes())), &json!("base64")));
    assert_eq!(message["type"], TYPE);

    let reversed: Vec<u8> = bytes().into_iter().rev().collect();
    session.call("publish", json!({"topic": "raw", "data": STANDARD.encode(&reversed), "encoding": "base64"})).await;
    assert_eq!(socket.next().await.unwrap(), Message::binary(reversed.clone()));
    socket.send(Message::binary(bytes())).await;
    assert_eq!(socket.next().await.unwrap(), Message::binary(bytes()));
    let all = hub.http().get("/topics/raw").send().await.expect(200);
    assert_eq!(all.body, [bytes(), reversed, bytes()].concat());
}
