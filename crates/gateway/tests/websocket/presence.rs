//! Who is on a topic by a WebSocket, and following who comes and goes over one.

use std::time::Duration;

use quintet_core::access::{Access, Grant, Operation};
use quintet_core::limits::Limits;
use quintet_core::name::Filter;
use quintet_gateway::auth::Tokens;
use quintet_gateway::config::GatewayConfig;
use serde_json::{Value, json};

use crate::support::{Client, Server, name, until};

const GRACE: Duration = Duration::from_millis(300);

async fn brief() -> Server {
    Server::within(GatewayConfig::default(), Limits { presence_grace: GRACE, ..Limits::default() }).await
}

fn ids(server: &Server, topic: &str) -> Vec<String> {
    let snapshot = server.hub.presence().of(&name(topic), None, 1_000).unwrap();
    snapshot.members.iter().map(|member| member.key.id.to_string()).collect()
}

/// Follows the changes of a topic and gives them as they come.
struct Changes(Client);

impl Changes {
    async fn follow(server: &Server, selector: Value) -> Self {
        let mut client = server.connect("/ws").await;
        let answer = client.ask(&json!({"id": 0, "subscribe": selector}).to_string()).await;
        assert!(answer["ok"].is_object(), "{answer}");
        Self(client)
    }

    async fn next(&mut self, n: usize) -> Vec<Value> {
        let mut changes = Vec::new();
        while changes.len() < n {
            let frame = self.0.json().await;
            let messages = frame["messages"].as_array().unwrap_or_else(|| panic!("{frame}"));
            changes.extend(messages.iter().map(|message| message["data"].clone()));
        }
        changes
    }
}

fn event(event: &str, id: &str) -> Value {
    json!({"event": event, "id": id})
}

#[tokio::test]
async fn a_subscription_is_there_until_it_ends() {
    let server = brief().await;
    let mut changes = Changes::follow(&server, json!({"topic": "$presence/chat"})).await;
    let mut client = server.connect("/ws").await;
    let subscribe = r#"{"id":1,"subscribe":{"topic":"chat","presence":{"id":"anna","data":"x"}}}"#;
    assert_eq!(client.ask(subscribe).await["ok"]["subscription"], 1);
    assert_eq!(client.ask(subscribe).await["ok"]["subscription"], 2);
    assert_eq!(changes.next(1).await, [json!({"event": "join", "id": "anna", "data": "x"})]);
    client.ask(r#"{"id":2,"unsubscribe":{"subscription":1}}"#).await;
    assert_eq!(ids(&server, "chat"), ["anna"]);
    client.ask(r#"{"id":3,"unsubscribe":{"subscription":2}}"#).await;
    assert!(ids(&server, "chat").is_empty(), "leaving in order is at once");
    assert_eq!(changes.next(1).await, [event("leave", "anna")]);
    // The connection is lost, and another one comes in time; then that is lost for good.
    client.ask(subscribe).await;
    drop(client);
    let mut client = server.connect("/ws").await;
    client.ask(subscribe).await;
    assert_eq!(changes.next(1).await[0]["event"], "join");
    drop(client);
    assert_eq!(changes.next(1).await, [event("leave", "anna")]);
}

#[tokio::test]
async fn a_topics_socket_is_there_by_its_parameters() {
    let server = brief().await;
    let mut changes = Changes::follow(&server, json!({"filter": "$presence/#"})).await;
    let one = server.connect("/topics/chat?presence-id=anna&presence-data=a%20b").await;
    let other = server.connect_as("/v1/stream/chat?presence-id=ben", Some("quintet.envelope")).await;
    assert_eq!(changes.next(1).await, [json!({"event": "join", "id": "anna", "data": "a b"})]);
    drop(other);
    drop(one);
    assert_eq!(changes.next(1).await, [event("leave", "anna")]);
    assert!(ids(&server, "chat").is_empty(), "a stream that is not there has nobody on it");
}

#[tokio::test]
async fn whoever_cannot_be_a_member_is_told() {
    let limits = Limits { presence_members_per_topic: 1, ..Limits::default() };
    let server = Server::within(GatewayConfig::default(), limits).await;
    let mut client = server.connect("/ws").await;
    assert!(client.ask(r#"{"id":1,"subscribe":{"topic":"a","presence":{"id":"anna"}}}"#).await["ok"].is_object());
    let mut refused = async |members: &str| {
        let answer = client.ask(&format!(r#"{{"id":2,"subscribe":{members}}}"#)).await;
        answer["error"]["type"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    };
    assert_eq!(refused(r#"{"topic":"a","presence":{"id":"ben"}}"#).await, "/problems/too-many");
    assert_eq!(refused(r#"{"topic":"b","presence":{"id":""}}"#).await, "/problems/bad-request");
    assert_eq!(refused(r#"{"topic":"b","presence":{}}"#).await, "/problems/bad-request");
    assert_eq!(refused(r#"{"filter":"b/#","presence":{"id":"ben"}}"#).await, "/problems/bad-request");
    assert_eq!(refused(r#"{"topic":"$presence/b","presence":{"id":"ben"}}"#).await, "/problems/forbidden");
    assert_eq!(refused(r#"{"filter":"$presence/$keys/#"}"#).await, "/problems/forbidden");
    assert_eq!(refused(r#"{"topic":"$presence"}"#).await, "/problems/forbidden");
    assert_eq!(server.connect("/topics/a?presence-id=ben").await.closed().await.0, 4429);
    assert_eq!(server.connect("/topics/a?presence-data=x").await.closed().await.0, 4400);
    assert_eq!(server.connect("/topics/$presence/a?presence-id=ben").await.closed().await.0, 4403);
    assert_eq!(ids(&server, "a"), ["anna"]);
}

#[tokio::test]
async fn a_subject_is_a_member_and_sees_those_of_topics_it_may_read() {
    let chat = Grant { operations: vec![Operation::Subscribe], filters: vec![Filter::parse("chat/#").unwrap()] };
    // SHA-256 of "secret".
    let secret = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let tokens = Tokens::new([(secret, Access::new("anna", vec![chat]))]).unwrap();
    let server = Server::with(GatewayConfig { tokens, ..GatewayConfig::default() }).await;
    let mut client = server.connect("/ws?access_token=secret").await;
    let mut ask = async |selector: &str| client.ask(&format!(r#"{{"id":1,"subscribe":{selector}}}"#)).await;
    assert!(ask(r#"{"topic":"chat/a"}"#).await["ok"].is_object());
    assert!(ask(r#"{"topic":"chat/b","presence":{"data":"x"}}"#).await["ok"].is_object());
    assert!(ask(r#"{"filter":"chat/+"}"#).await["ok"].is_object());
    for selector in [r#"{"topic":"$presence/other"}"#, r#"{"filter":"$presence/#"}"#, r#"{"filter":"$presence/+/a"}"#] {
        assert_eq!(ask(selector).await["error"]["type"], "/problems/forbidden", "{selector}");
    }
    assert!(ask(r#"{"filter":"$presence/chat/#"}"#).await["ok"].is_object());
    let _raw = server.connect("/topics/chat/c?access_token=secret").await;
    until(async || ids(&server, "chat/c") == ["anna"]).await;
    for (topic, data) in [("chat/a", None), ("chat/b", Some("x"))] {
        let snapshot = server.hub.presence().of(&name(topic), None, 10).unwrap();
        let member = &snapshot.members[0];
        assert_eq!((member.key.subject.as_deref(), member.data.as_deref()), (Some("anna"), data), "{topic}");
    }
}

#[tokio::test]
async fn a_snapshots_cursor_is_where_following_begins() {
    let server = brief().await;
    let _anna = server.connect("/topics/chat?presence-id=anna").await;
    until(async || ids(&server, "chat") == ["anna"]).await;
    let snapshot = server.hub.presence().of(&name("chat"), None, 10).unwrap();
    let _ben = server.connect("/topics/chat?presence-id=ben").await;
    until(async || ids(&server, "chat") == ["anna", "ben"]).await;
    let cursor = format!("{:08x}_{:016x}", snapshot.cursor.log.0, snapshot.cursor.offset.0);
    for selector in
        [json!({"topic": "$presence/chat", "since": cursor}), json!({"filter": "$presence/+", "since": cursor})]
    {
        let mut changes = Changes::follow(&server, selector).await;
        assert_eq!(changes.next(1).await, [event("join", "ben")]);
    }
}
