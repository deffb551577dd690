//! `/ws`: commands, answers, deliveries.

use quintet_core::access::{Access, Grant, Operation};
use quintet_core::name::Filter;
use quintet_gateway::auth::Tokens;
use quintet_gateway::config::GatewayConfig;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio_tungstenite::tungstenite::Error;

use crate::support::{Server, name, until};

const FIRST: &str = "00000007_0000000000000002";

#[tokio::test]
async fn a_session_from_hello_to_goodbye() {
    let server = Server::start().await;
    let mut client = server.connect_as("/ws", Some("quintet.v1")).await;
    let pong = client.ask(r#"{"id":"p","ping":{}}"#).await;
    assert!(pong["ok"]["time"].as_str().unwrap().ends_with('Z') && pong["id"] == "p");

    let ok = client.ask(r#"{"id":1,"subscribe":{"topic":"chat"}}"#).await;
    assert_eq!((&ok["id"], &ok["ok"]["subscription"]), (&json!(1), &json!(1)));
    client.send(r#"{"id":2,"publish":{"topic":"chat","data":"hi","headers":{"A":"b"}}}"#).await;
    let (mut answer, mut delivery) = (client.json().await, client.json().await);
    if answer.get("id").is_none() {
        std::mem::swap(&mut answer, &mut delivery);
    }
    assert_eq!(answer, json!({"id":2,"ok":{"offset":FIRST,"duplicate":false}}));
    assert_eq!((&delivery["subscription"], &delivery["next"]), (&json!(1), &json!(FIRST)));
    let envelope = &delivery["messages"][0];
    assert_eq!((&envelope["data"], &envelope["type"]), (&json!("hi"), &json!("text/plain")));
    assert_eq!((&envelope["topic"], &envelope["offset"]), (&json!("chat"), &json!(FIRST)));
    assert_eq!(envelope["headers"], json!({"a":"b"}));

    assert_eq!(client.ask(r#"{"id":3,"unsubscribe":{"subscription":1}}"#).await, json!({"id":3,"ok":{}}));
    let gone = client.ask(r#"{"id":4,"unsubscribe":{"subscription":1}}"#).await;
    assert_eq!(gone["error"]["type"], "/problems/not-found");
    server.publish("chat", "text/plain", &[b"unheard"]).await;
    let again = client.ask(&format!(r#"{{"id":5,"subscribe":{{"topic":"chat","since":"{FIRST}"}}}}"#)).await;
    assert_eq!(again["ok"], json!({"subscription":2,"cursor":FIRST}));
    assert_eq!(client.json().await["messages"][0]["data"], "unheard");

    server.gateway.shutdown().begin();
    assert_eq!(client.json().await, json!({"goodbye":{"reason":"shutting-down","retry_after":1}}));
    assert_eq!(client.closed().await.0, 1001);
}

#[tokio::test]
async fn a_message_id_is_published_once() {
    let server = Server::start().await;
    let mut client = server.connect("/ws").await;
    let publish = r#"{"id":1,"publish":{"topic":"a","data":"x","message_id":"m"}}"#;
    let first = client.ask(publish).await;
    assert_eq!(first["ok"], json!({"offset":FIRST,"duplicate":false}));
    client.ask(r#"{"id":2,"publish":{"topic":"a","data":"y"}}"#).await;
    assert_eq!(client.ask(publish).await["ok"], json!({"offset":FIRST,"duplicate":true}));
    let bad = client.ask(r#"{"id":3,"publish":{"topic":"a","data":"x","message_id":"a b"}}"#).await;
    assert_eq!(bad["error"]["type"], "/problems/bad-request");
    let counted = client.ask(r#"{"id":5,"publish":{"topic":"b","data":"x","receipts":true}}"#).await;
    assert_eq!(counted["ok"]["receipt"], json!({"readers":0,"groups":0}));
    // On the topic's own WebSocket it is the same log, and the same ids.
    let mut raw = server.connect_as("/topics/a", Some("quintet.envelope")).await;
    let again = raw.ask(r#"{"id":4,"publish":{"data":"x","message_id":"m"}}"#).await;
    assert_eq!(again["ok"], json!({"offset":FIRST,"duplicate":true}));
}

#[tokio::test]
async fn the_answer_comes_before_the_first_delivery() {
    let server = Server::start().await;
    server.publish("a", "application/json", &[b"1", b"2"]).await;
    let mut client = server.connect("/ws").await;
    for round in 1..50 {
        let ok = client.ask(r#"{"id":1,"subscribe":{"topic":"a","since":"start"}}"#).await;
        assert_eq!(ok["ok"]["subscription"], json!(round), "{ok}");
        let delivery = client.json().await;
        assert_eq!(delivery["subscription"], json!(round));
        assert_eq!(delivery["messages"][1]["data"], json!(2));
    }
}

#[tokio::test]
async fn a_filter_resumes_from_its_cursor() {
    let server = Server::start().await;
    let mut client = server.connect("/ws").await;
    client.ask(r#"{"id":1,"subscribe":{"filter":"chat/#"}}"#).await;
    server.publish("chat/a", "text/plain", &[b"1"]).await;
    server.publish("other", "text/plain", &[b"no"]).await;
    server.publish("chat/b", "text/plain", &[b"2"]).await;
    let mut seen = Vec::new();
    let mut next = String::new();
    while seen.len() < 2 {
        let delivery = client.json().await;
        next = delivery["next"].as_str().unwrap().to_owned();
        seen.extend(delivery["messages"].as_array().unwrap().iter().map(|m| m["data"].as_str().unwrap().to_owned()));
    }
    assert_eq!(seen, ["1", "2"]);
    server.publish("chat/c", "text/plain", &[b"3"]).await;
    let mut client = server.connect("/ws").await;
    let ok = client.ask(&format!(r#"{{"id":1,"subscribe":{{"filter":"chat/#","since":"{next}"}}}}"#)).await;
    assert_eq!(ok["ok"]["cursor"], next.as_str());
    assert_eq!(client.json().await["messages"][0]["data"], "3");
    server.hub.close_topic(&name("chat/c")).await.unwrap();
    assert_eq!(client.json().await["closed"]["topic"], "chat/c");
    server.hub.delete_topic(&name("chat/a")).await.unwrap();
    assert_eq!(client.json().await, json!({"subscription":1,"deleted":{"topic":"chat/a"}}));
    server.publish("chat/a", "text/plain", &[b"again"]).await;
    assert_eq!(client.json().await["messages"][0]["data"], "again");
}

#[tokio::test]
async fn a_topic_ends_its_subscription() {
    let server = Server::start().await;
    server.publish("a", "text/plain", &[b"x"]).await;
    server.publish("b", "text/plain", &[b"x"]).await;
    let mut client = server.connect("/ws").await;
    client.ask(r#"{"id":1,"subscribe":{"topic":"a"}}"#).await;
    client.ask(r#"{"id":2,"subscribe":{"topic":"b","since":"start"}}"#).await;
    assert_eq!(client.json().await["subscription"], 2);
    server.hub.delete_topic(&name("a")).await.unwrap();
    assert_eq!(client.json().await, json!({"subscription":1,"deleted":{"topic":"a"}}));
    server.hub.close_topic(&name("b")).await.unwrap();
    let closed = client.json().await;
    assert_eq!((&closed["subscription"], &closed["closed"]["topic"]), (&json!(2), &json!("b")));
    for number in [1, 2] {
        let gone = client.ask(&format!(r#"{{"id":3,"unsubscribe":{{"subscription":{number}}}}}"#)).await;
        assert_eq!(gone["error"]["status"], 404);
    }
    // Closed already: messages, then the end.
    client.ask(r#"{"id":4,"subscribe":{"topic":"b","since":"start"}}"#).await;
    assert_eq!(client.json().await["messages"][0]["data"], "x");
    assert_eq!(client.json().await["closed"]["topic"], "b");
}

#[tokio::test]
async fn a_gap_is_told_and_delivery_goes_on() {
    let server = Server::start().await;
    server.create("a", "text/plain", Some(2)).await;
    server.publish("a", "text/plain", &[b"1"]).await;
    for payload in [b"2", b"3", b"4"] {
        server.publish("a", "text/plain", &[payload]).await;
    }
    let mut client = server.connect("/ws").await;
    client.ask(&format!(r#"{{"id":1,"subscribe":{{"topic":"a","since":"{FIRST}"}}}}"#)).await;
    let gap = client.json().await;
    assert_eq!(gap["gap"], json!({"topic":"a","first_available":"00000007_0000000000000003"}), "{gap}");
    let delivery = client.json().await;
    assert_eq!((&delivery["messages"][0]["data"], &delivery["messages"][1]["data"]), (&json!("3"), &json!("4")));
}

#[tokio::test]
async fn publishes_are_exactly_once_and_refusals_say_what_to_do() {
    let server = Server::start().await;
    let mut client = server.connect("/ws").await;
    let publish = |seq: u32| {
        format!(
            r#"{{"id":{seq},"publish":{{"topic":"t","messages":[{{"data":{{"n":{seq}}}}},{{"data":"AAE=","encoding":"base64"}}],"producer":{{"id":"p","epoch":0,"seq":{seq}}}}}}}"#
        )
    };
    let first = client.ask(&publish(0)).await;
    assert_eq!(first["ok"]["duplicate"], false);
    let again = client.ask(&publish(0)).await;
    assert_eq!((&again["ok"]["duplicate"], &again["ok"]["offset"]), (&json!(true), &first["ok"]["offset"]));
    let gap = client.ask(&publish(5)).await;
    assert_eq!((&gap["error"]["type"], &gap["error"]["expected"]), (&json!("/problems/producer-gap"), &json!(1)));
    let check = async |client: &mut crate::support::Client, command: &str, slug: &str| {
        let answer = client.ask(command).await;
        assert_eq!(answer["error"]["type"], format!("/problems/{slug}"), "{answer}");
        answer
    };
    check(&mut client, r#"{"id":1,"publish":{"topic":"new","data":1,"create":false}}"#, "topic-not-found").await;
    check(&mut client, r#"{"id":1,"publish":{"topic":"a//b","data":1}}"#, "bad-name").await;
    check(&mut client, r#"{"id":1,"publish":{"topic":"$x","data":1}}"#, "forbidden").await;
    check(&mut client, r#"{"id":1,"subscribe":{"topic":"$keys/x"}}"#, "forbidden").await;
    check(&mut client, r#"{"id":1,"subscribe":{"filter":"$replies/#"}}"#, "forbidden").await;
    check(&mut client, r#"{"id":1,"subscribe":{"topic":"t","since":"7"}}"#, "bad-cursor").await;
    let beyond = r#"{"id":1,"subscribe":{"topic":"t","since":"00000007_00000000000000ff"}}"#;
    check(&mut client, beyond, "bad-cursor").await;
    check(&mut client, r#"{"id":1,"subscribe":{"topic":"t","since":"00000009_0000000000000001"}}"#, "stale-cursor")
        .await;
    check(&mut client, r#"{"id":1,"fly":{}}"#, "bad-request").await;
    check(&mut client, r#"{"id":1,"unrespond":{"responder":9}}"#, "not-found").await;
    let unread = check(&mut client, "{", "bad-json").await;
    assert_eq!(unread["id"], json!(null));
    client.send_binary(b"x").await;
    assert_eq!(client.closed().await.0, 4400);
}

#[tokio::test]
async fn a_session_has_its_limits() {
    let server = Server::start().await;
    let mut client = server.connect("/ws").await;
    for i in 1..=1_000 {
        client.send(format!(r#"{{"id":{i},"subscribe":{{"topic":"t/{i}"}}}}"#)).await;
    }
    for _ in 0..1_000 {
        assert!(client.json().await.get("ok").is_some());
    }
    let refused = client.ask(r#"{"id":0,"subscribe":{"topic":"t"}}"#).await;
    assert_eq!(refused["error"]["type"], "/problems/too-many");
    drop(client);
    until(async || server.followers("t/1").await == 0).await;
    let mut client = server.connect("/ws").await;
    let huge = "x".repeat((8 << 20) * 4 / 3 + 70_000);
    client.send(huge).await;
    assert_eq!(client.closed().await.0, 1009);
}

#[tokio::test]
async fn handshakes() {
    let server = Server::start().await;
    let Err(Error::Http(refused)) = server.try_connect("/ws", Some("chat.v9")).await else { panic!("it was accepted") };
    assert_eq!(refused.status(), 400);
    // With the whole workspace, reqwest is built with TLS and wants to know whose. Only the first has to say it.
    drop(tokio_rustls::rustls::crypto::ring::default_provider().install_default());
    let client = reqwest::Client::new();
    let plain = client.get(format!("http://{}/ws", server.address)).send().await.unwrap();
    assert_eq!((plain.status().as_u16(), plain.headers()["upgrade"].to_str().unwrap()), (426, "websocket"));
    let old = client
        .get(format!("http://{}/ws", server.address))
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "8")
        .send();
    let old = old.await.unwrap();
    assert_eq!((old.status().as_u16(), old.headers()["sec-websocket-version"].to_str().unwrap()), (426, "13"));
}

#[tokio::test]
async fn tokens_bound_every_command() {
    let sha = |token: &str| Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let grant = Grant {
        operations: vec![Operation::Subscribe, Operation::Publish],
        filters: vec![Filter::parse("chat/#").unwrap()],
    };
    let tokens = Tokens::new([(sha("anna"), Access::new("anna", vec![grant]))]).unwrap();
    let server = Server::with(GatewayConfig { tokens, ..GatewayConfig::default() }).await;
    let Err(Error::Http(refused)) = server.try_connect("/ws", None).await else { panic!("it was accepted") };
    assert_eq!(refused.status(), 401);
    let mut client = server.connect("/ws?access_token=anna").await;
    for allowed in [r#"{"topic":"chat/a"}"#, r#"{"filter":"chat/+"}"#] {
        let answer = client.ask(&format!(r#"{{"id":1,"subscribe":{allowed}}}"#)).await;
        assert!(answer.get("ok").is_some(), "{answer}");
    }
    for forbidden in [
        r#""subscribe":{"topic":"other"}"#,
        r##""subscribe":{"filter":"#"}"##,
        r#""publish":{"topic":"other","data":1}"#,
        r#""request":{"service":"chat"}"#,
        r#""respond":{"service":"echo"}"#,
    ] {
        let answer = client.ask(&format!(r#"{{"id":1,{forbidden}}}"#)).await;
        assert_eq!(answer["error"]["type"], "/problems/forbidden", "{answer}");
    }
    let mut raw = server.connect("/topics/other?access_token=anna").await;
    assert_eq!(raw.closed().await.0, 4403);
}
