//! Readers of four kinds. Each knows nothing but its cursor, and comes back with it however its connection ended.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::crash::tally::Tally;
use crate::harness::events::Events;
use crate::harness::http::{ENVELOPES, Http, Request};

const TOPIC: &str = "/topics/crash";

/// How long a reader that has read everything so far holds on before it looks whether there is an end.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) async fn short_poll(port: u16, tally: Arc<Tally>) {
    let http = Http::new(port);
    polls(&tally, |cursor| http.get(&format!("{TOPIC}?offset={cursor}"))).await;
}

pub(crate) async fn long_poll(port: u16, tally: Arc<Tally>) {
    let http = Http::new(port);
    polls(&tally, |cursor| http.get(&format!("{TOPIC}?offset={cursor}&live=long-poll&timeout=1"))).await;
}

async fn polls(tally: &Tally, request: impl Fn(&str) -> Request) {
    let mut cursor = "start".to_owned();
    while !tally.is_complete() {
        match request(&cursor).header("Accept", ENVELOPES).try_send().await {
            Ok(answer) if answer.status == 200 || answer.status == 204 => {
                if answer.status == 200 {
                    take_all(tally, &answer.json());
                }
                answer.header("stream-next-offset").clone_into(&mut cursor);
            }
            Ok(answer) => assert!(answer.status >= 500, "the cursor {cursor} is not taken: {}", answer.text()),
            Err(_) => pause().await,
        }
    }
}

pub(crate) async fn event_source(port: u16, tally: Arc<Tally>) {
    let http = Http::new(port);
    let mut cursor = "start".to_owned();
    while !tally.is_complete() {
        let request = http.get(TOPIC).header("Last-Event-ID", &cursor);
        let Some(mut events) = Events::try_open(request).await else {
            pause().await;
            continue;
        };
        assert_eq!(events.status, 200, "the cursor {cursor} is not taken");
        while let Ok(Some(event)) = tokio::time::timeout(PATIENCE, events.next()).await {
            assert_eq!(event.name, "", "{event:?}");
            tally.take(serde_json::from_str::<Value>(&event.data).unwrap().as_str().unwrap());
            cursor = event.id;
        }
    }
}

pub(crate) async fn session(port: u16, tally: Arc<Tally>) {
    let mut cursor = "start".to_owned();
    while !tally.is_complete() {
        let mut request = format!("ws://127.0.0.1:{port}/ws").into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("quintet.v1"));
        let Ok((mut socket, _)) = connect_async(request).await else {
            pause().await;
            continue;
        };
        let subscribe = json!({"id": 1, "subscribe": {"topic": "crash", "since": cursor}});
        if socket.send(Message::text(subscribe.to_string())).await.is_err() {
            continue;
        }
        while let Ok(Some(Ok(message))) = tokio::time::timeout(PATIENCE, socket.next()).await {
            let Message::Text(text) = message else { continue };
            let frame: Value = serde_json::from_str(&text).unwrap();
            assert!(frame.get("error").is_none() && frame.get("gap").is_none(), "at {cursor}: {frame}");
            if frame.get("messages").is_some() {
                take_all(&tally, &frame["messages"]);
                frame["next"].as_str().unwrap().clone_into(&mut cursor);
            }
        }
    }
}

fn take_all(tally: &Tally, envelopes: &Value) {
    for envelope in envelopes.as_array().unwrap() {
        tally.take(envelope["data"].as_str().unwrap());
    }
}

/// The hub is down for a moment.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}
