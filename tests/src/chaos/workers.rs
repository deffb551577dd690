//! Workers that do what they can, and may be killed at any moment: those that claim over HTTP, with and without a name,
//! and those that are connected.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::chaos::book::Book;
use crate::chaos::is_poison;
use crate::harness::http::Http;
use crate::harness::hub::Hub;

/// How long a worker waits that has lost the hub.
const RETRY: Duration = Duration::from_millis(5);

/// Starts a worker; of every four, two claim under a name, one without, and one is connected.
pub(crate) fn start(hub: &Hub, id: u64, book: &Book) -> JoinHandle<()> {
    let (http, port, book) = (hub.http().clone(), hub.port, book.clone());
    match id % 4 {
        3 => tokio::spawn(connected(port, id, book)),
        2 => tokio::spawn(claiming(http, String::new(), book)),
        _ => tokio::spawn(claiming(http, format!("&member=worker-{id}"), book)),
    }
}

async fn claiming(http: Http, member: String, book: Book) {
    let claim = format!("/groups/jobs/claim?max=20&wait=1{member}");
    loop {
        let answer = match http.post(&claim, "application/json", "").try_send().await {
            Ok(answer) if answer.status == 200 => answer.json(),
            Ok(answer) if answer.status == 204 => continue,
            Ok(answer) => {
                assert!(answer.status >= 500, "{}", answer.text());
                continue;
            }
            Err(_) => {
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        let (done, failed) = work(answer.as_array().unwrap(), &book);
        for (word, deliveries) in [("ack", done), ("nack", failed)] {
            if !deliveries.is_empty() {
                say(&http, word, &deliveries).await;
            }
        }
    }
}

/// Says it until the hub has heard it: an acknowledgement can be repeated.
async fn say(http: &Http, word: &str, deliveries: &[String]) {
    let body = json!({ "deliveries": deliveries }).to_string();
    loop {
        match http.post(&format!("/groups/jobs/{word}"), "application/json", body.clone()).try_send().await {
            Ok(answer) if answer.status == 200 => {
                for result in answer.json()["results"].as_array().unwrap() {
                    assert_ne!(result["result"], "unknown", "{word} of what was handed out: {result}");
                }
                return;
            }
            Ok(answer) => assert!(answer.status >= 500, "{}", answer.text()),
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
}

async fn connected(port: u16, id: u64, book: Book) {
    loop {
        let mut request = format!("ws://127.0.0.1:{port}/ws").into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("quintet.v1"));
        match connect_async(request).await {
            Ok((socket, _)) => drop(serve(socket, id, &book).await),
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
}

/// Works until the connection is lost.
async fn serve(mut socket: WebSocketStream<MaybeTlsStream<TcpStream>>, id: u64, book: &Book) -> Result<(), Error> {
    let consume = json!({ "id": 0, "consume": { "group": "jobs", "credit": 20, "member": format!("worker-{id}") } });
    socket.send(Message::text(consume.to_string())).await?;
    let (mut consumer, mut n) = (Value::Null, 0);
    while let Some(message) = socket.next().await {
        let Message::Text(text) = message? else { continue };
        let frame: Value = serde_json::from_str(&text).unwrap();
        if frame["id"] == 0 {
            if frame.get("error").is_some() {
                return Ok(());
            }
            consumer = frame["ok"]["consumer"].clone();
            assert!(consumer.is_u64(), "{frame}");
        }
        let Some(messages) = frame["messages"].as_array() else { continue };
        let (done, failed) = work(messages, book);
        for (word, deliveries) in [("ack", done), ("nack", failed)] {
            n += 1;
            if !deliveries.is_empty() {
                let command = json!({ "id": n, word: { "consumer": consumer, "deliveries": deliveries } });
                socket.send(Message::text(command.to_string())).await?;
            }
        }
    }
    Ok(())
}

/// Does messages; tells which are done and which cannot be.
fn work(messages: &[Value], book: &Book) -> (Vec<String>, Vec<String>) {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for message in messages {
        let (text, offset) = (message["data"].as_str().unwrap(), message["offset"].as_str().unwrap());
        let delivery = message["delivery"]["id"].as_str().unwrap().to_owned();
        let (_, number) = text.split_once(' ').unwrap();
        if is_poison(number.parse().unwrap()) {
            failed.push(delivery);
        } else {
            book.write(offset, text);
            done.push(delivery);
        }
    }
    (done, failed)
}
