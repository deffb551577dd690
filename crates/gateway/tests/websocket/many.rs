//! Many messages to many sockets: in order, each once, on bare sockets and on anything else.

use quintet_gateway::config::GatewayConfig;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Client, Server};

const MESSAGES: usize = 10_000;
const SOCKETS: usize = 100;

async fn expect_all(mut client: Client) {
    for i in 0..MESSAGES {
        match client.message().await {
            Message::Text(text) => assert_eq!(text.as_str(), format!("message {i}")),
            other => panic!("{other:?}"),
        }
    }
}

async fn check(server: Server) {
    server.publish("warm", "text/plain", &[b"x"]).await;
    server.create("a", "text/plain", None).await;
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..SOCKETS {
        let client = server.connect("/topics/a").await;
        readers.spawn(expect_all(client));
    }
    server.until_followers("a", SOCKETS).await;
    let mut publisher = server.connect("/topics/a").await;
    for i in 0..MESSAGES {
        publisher.send(format!("message {i}")).await;
    }
    readers.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_socket_gets_everything_once() {
    check(Server::start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_so_it_is_in_somebodys_application() {
    check(Server::mounted(GatewayConfig::default()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_publishes_are_answered_one_by_one() {
    let server = Server::start().await;
    let mut client = server.connect("/ws").await;
    let mut subscriber = server.connect("/ws").await;
    subscriber.ask(r#"{"id":0,"subscribe":{"topic":"a"}}"#).await;
    for i in 0..MESSAGES {
        client.send(format!(r#"{{"id":{i},"publish":{{"topic":"a","data":{i}}}}}"#)).await;
    }
    for i in 0..MESSAGES {
        let answer = client.json().await;
        assert_eq!((&answer["id"], &answer["ok"]["duplicate"]), (&i.into(), &false.into()));
    }
    let mut n = 0;
    while n < MESSAGES {
        for message in subscriber.json().await["messages"].as_array().unwrap() {
            assert_eq!(message["data"], n);
            n += 1;
        }
    }
}
