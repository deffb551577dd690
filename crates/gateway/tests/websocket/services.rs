//! `/ws`: requests and responders.

use std::time::Duration;

use quintet_gateway::config::GatewayConfig;
use serde_json::{Value, json};

use crate::support::{Client, PATIENCE, Server, read_close, read_frame};

async fn responder(server: &Server, concurrency: u32) -> Client {
    let mut client = server.connect("/ws").await;
    let ok = client.ask(&format!(r#"{{"id":0,"respond":{{"service":"echo","concurrency":{concurrency}}}}}"#)).await;
    assert_eq!(ok, json!({"id":0,"ok":{"responder":1}}));
    client
}

fn id(request: &Value) -> &str {
    request["request"]["id"].as_str().unwrap()
}

#[tokio::test]
async fn a_request_is_served_and_answered() {
    let server = Server::start().await;
    let mut caller = server.connect("/ws").await;
    let nobody = caller.ask(r#"{"id":1,"request":{"service":"echo","data":"hi"}}"#).await;
    assert_eq!(nobody["error"]["type"], "/problems/no-responder");

    let mut responder = responder(&server, 2).await;
    caller.send(r#"{"id":2,"request":{"service":"echo","method":"PUT","path":"/x","query":"a=b","headers":{"X":"y"},"data":{"n":1},"wait":20}}"#).await;
    let asked = responder.json().await;
    let request = &asked["request"];
    assert_eq!((&request["method"], &request["path"], &request["query"]), (&json!("PUT"), &json!("/x"), &json!("a=b")));
    assert_eq!((&request["headers"], &request["data"]), (&json!({"x":"y"}), &json!({"n":1})));
    assert_eq!((&request["responder"], &request["attempt"]), (&json!(1), &json!(1)));
    assert!(request["wait"].as_f64().unwrap() <= 20.0);
    let progress = format!(r#"{{"id":1,"progress":{{"request":"{}","data":"half"}}}}"#, id(&asked));
    assert_eq!(responder.ask(&progress).await, json!({"id":1,"ok":{}}));
    let reply = format!(
        r#"{{"id":2,"reply":{{"request":"{}","status":201,"headers":{{"a":"b"}},"data":"done"}}}}"#,
        id(&asked)
    );
    assert_eq!(responder.ask(&reply).await, json!({"id":2,"ok":{}}));
    let answer = caller.json().await;
    assert_eq!(answer, json!({"id":2,"ok":{"status":201,"headers":{"a":"b"},"type":"text/plain","data":"done"}}));
    let twice = responder.ask(&reply).await;
    assert_eq!(twice["error"]["type"], "/problems/request-not-found");
    assert_eq!(responder.ask(r#"{"id":3,"unrespond":{"responder":1}}"#).await, json!({"id":3,"ok":{}}));
    let nobody = caller.ask(r#"{"id":3,"request":{"service":"echo"}}"#).await;
    assert_eq!(nobody["error"]["status"], 503);
}

#[tokio::test]
async fn a_responder_that_wants_no_more_finishes_what_it_has() {
    let server = Server::start().await;
    let mut responder = responder(&server, 2).await;
    let (mut caller, mut late) = (server.connect("/ws").await, server.connect("/ws").await);
    caller.send(r#"{"id":1,"request":{"service":"echo","data":"x"}}"#).await;
    late.send(r#"{"id":1,"request":{"service":"echo","data":"y"}}"#).await;
    let (first, second) = (responder.json().await, responder.json().await);
    assert_eq!(responder.ask(r#"{"id":3,"unrespond":{"responder":1}}"#).await, json!({"id":3,"ok":{}}));
    let again = responder.ask(r#"{"id":4,"unrespond":{"responder":1}}"#).await;
    assert_eq!(again["error"]["type"], "/problems/not-found");
    let nobody = server.connect("/ws").await.ask(r#"{"id":3,"request":{"service":"echo"}}"#).await;
    assert_eq!(nobody["error"]["status"], 503);
    for request in [&first, &second] {
        let reply = format!(r#"{{"id":5,"reply":{{"request":"{}","data":"done"}}}}"#, id(request));
        assert_eq!(responder.ask(&reply).await, json!({"id":5,"ok":{}}));
    }
    for caller in [&mut caller, &mut late] {
        assert_eq!(caller.json().await["ok"]["data"], "done");
    }
    let other = responder.ask(r#"{"id":6,"respond":{"service":"echo"}}"#).await;
    assert_eq!(other["ok"]["responder"], 2);
}

#[tokio::test]
async fn a_caller_that_leaves_cancels() {
    let server = Server::start().await;
    let mut responder = responder(&server, 1).await;
    let mut caller = server.connect("/ws").await;
    caller.send(r#"{"id":1,"request":{"service":"echo"}}"#).await;
    let asked = responder.json().await;
    drop(caller);
    assert_eq!(responder.json().await, json!({"cancel":{"request":id(&asked)}}));
}

#[tokio::test]
async fn a_responder_that_leaves_loses_what_it_had() {
    let server = Server::start().await;
    let mut responder = responder(&server, 1).await;
    let mut caller = server.connect("/ws").await;
    caller.send(r#"{"id":1,"request":{"service":"echo"}}"#).await;
    responder.json().await;
    drop(responder);
    let lost = caller.json().await;
    assert_eq!((&lost["error"]["type"], &lost["error"]["status"]), (&json!("/problems/responder-lost"), &json!(502)));
}

#[tokio::test]
async fn a_deadline_passes_and_a_key_replays() {
    let server = Server::start().await;
    let mut responder = responder(&server, 4).await;
    let mut caller = server.connect("/ws").await;
    caller.send(r#"{"id":1,"request":{"service":"echo","wait":0.05}}"#).await;
    let asked = responder.json().await;
    assert_eq!(caller.json().await["error"]["type"], "/problems/deadline");
    assert_eq!(responder.json().await["cancel"]["request"], id(&asked));

    caller.send(r#"{"id":2,"request":{"service":"echo","key":"k","data":"x"}}"#).await;
    let asked = responder.json().await;
    responder.ask(&format!(r#"{{"id":1,"reply":{{"request":"{}"}}}}"#, id(&asked))).await;
    assert_eq!(caller.json().await["ok"]["status"], 200);
    let replayed = caller.ask(r#"{"id":3,"request":{"service":"echo","key":"k","data":"x"}}"#).await;
    assert_eq!(replayed["ok"]["headers"]["idempotent-replayed"], "true");
}

#[tokio::test]
async fn a_session_can_serve_its_own_requests() {
    let server = Server::start().await;
    let mut client = responder(&server, 1_000).await;
    // More than the unwritten answers at which reading stops.
    for i in 0..600 {
        client.send(format!(r#"{{"id":{i},"request":{{"service":"echo","data":{i}}}}}"#)).await;
    }
    let mut n_replies = 0;
    while n_replies < 600 {
        let frame = client.json().await;
        if let Some(request) = frame.get("request") {
            let reply = format!(r#"{{"id":"r","reply":{{"request":{},"data":{}}}}}"#, request["id"], request["data"]);
            client.send(reply).await;
        } else if frame["id"] != "r" {
            assert_eq!(frame["ok"]["data"], frame["id"]);
            n_replies += 1;
        }
    }
}

#[tokio::test]
async fn a_stopping_hub_waits_for_what_is_being_served() {
    let server = Server::start().await;
    let mut responder = responder(&server, 1).await;
    let mut caller = server.connect("/ws").await;
    caller.send(r#"{"id":1,"request":{"service":"echo"}}"#).await;
    let asked = responder.json().await;
    server.gateway.shutdown().begin();
    for client in [&mut caller, &mut responder] {
        assert!(client.json().await.get("goodbye").is_some());
    }
    responder.ask(&format!(r#"{{"id":1,"reply":{{"request":"{}","data":"late"}}}}"#, id(&asked))).await;
    assert_eq!(caller.json().await["ok"]["data"], "late");
    assert_eq!((caller.closed().await.0, responder.closed().await.0), (1001, 1001));
}

fn stopping(goodbye: Duration) -> GatewayConfig {
    let mut config = GatewayConfig::default();
    config.websocket.tick = Duration::from_millis(10);
    config.websocket.closing = Duration::from_millis(100);
    config.websocket.goodbye = goodbye;
    config
}

#[tokio::test]
async fn replies_have_more_than_the_closing_time() {
    let server = Server::with(stopping(PATIENCE)).await;
    let mut responder = responder(&server, 1).await;
    let mut caller = server.connect("/ws").await;
    caller.send(r#"{"id":1,"request":{"service":"echo"}}"#).await;
    let asked = responder.json().await;
    // One that has nothing in hand, and does not answer the close: its end says that the closing time is over.
    let mut idle = server.connect_bare("/ws").await;
    server.gateway.shutdown().begin();
    assert_eq!(read_close(&mut idle).await, 1001);
    assert_eq!(read_frame(&mut idle).await, None);
    for client in [&mut caller, &mut responder] {
        assert!(client.json().await.get("goodbye").is_some());
    }
    responder.ask(&format!(r#"{{"id":1,"reply":{{"request":"{}","data":"late"}}}}"#, id(&asked))).await;
    assert_eq!(caller.json().await["ok"]["data"], "late");
    assert_eq!((caller.closed().await.0, responder.closed().await.0), (1001, 1001));
}

#[tokio::test]
async fn a_stopping_hub_does_not_wait_for_ever() {
    let server = Server::with(stopping(Duration::from_millis(50))).await;
    let mut responder = responder(&server, 1).await;
    let mut caller = server.connect("/ws").await;
    caller.send(r#"{"id":1,"request":{"service":"echo","wait":300}}"#).await;
    responder.json().await;
    server.gateway.shutdown().begin();
    assert_eq!((caller.closed().await.0, responder.closed().await.0), (1001, 1001));
}
