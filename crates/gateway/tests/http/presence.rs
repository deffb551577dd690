//! Who is on a topic, by every way to read it over HTTP.

use std::time::Duration;

use quintet_core::access::{Access, Grant, Operation};
use quintet_core::limits::Limits;
use quintet_core::name::Filter;
use quintet_gateway::auth::Tokens;
use quintet_gateway::config::PresenceMode;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::harness::{DEADLINE, Door, ENVELOPES, Setup, Stream};

const GRACE: Duration = Duration::from_millis(300);
const EVENTS: (&str, &str) = ("Accept", "text/event-stream");

async fn brief() -> Door {
    let limits = Limits { presence_grace: GRACE, ..Limits::default() };
    Door::with(Setup { limits, ..Setup::default() }).await
}

async fn ids(door: &Door, topic: &str) -> Vec<String> {
    let snapshot = door.get(&format!("/presence/{topic}")).await.is(200).json();
    snapshot["members"].as_array().unwrap().iter().map(|member| member["id"].as_str().unwrap().to_owned()).collect()
}

/// The changes behind a cursor, which are there or come.
async fn changes(door: &Door, topic: &str, since: &str, n: usize) -> Vec<Value> {
    let mut changes = Vec::new();
    let mut at = since.to_owned();
    while changes.len() < n {
        let poll = format!("/topics/$presence/{topic}?offset={at}&live=long-poll&timeout=20");
        let page = timeout(DEADLINE, door.get(&poll)).await.expect("no change comes").is(200);
        at = page.header("stream-next-offset");
        changes.extend(page.json().as_array().unwrap().iter().cloned());
    }
    assert_eq!(changes.len(), n, "{changes:?}");
    changes
}

fn event(event: &str, id: &str) -> Value {
    json!({"event": event, "id": id})
}

#[tokio::test]
async fn pollers_are_there_by_header_or_parameter() {
    let door = Door::open().await;
    let empty = door.get("/presence/chat").await.is(200);
    let at = empty.header("stream-next-offset");
    assert_eq!(empty.json(), json!({"topic": "chat", "members": [], "count": 0, "cursor": at, "next": null}));
    assert_eq!(empty.header("cache-control"), "no-store");
    door.ask("GET /topics/chat", &[("Presence-Id", "anna"), ("Presence-Data", "é \"x\"")], "").await.is(200);
    door.get("/topics/chat?offset=now&live=long-poll&timeout=0&presence-id=b%20n").await.is(204);
    door.ask("GET /topics/chat?presence-id=cleo", &[("Prefer", "wait=0")], "").await.is(204);
    door.get("/topics/chat").await.is(200);
    door.ask("HEAD /topics/$presence/chat?presence-id=x", &[], "").await.is(200);
    let snapshot = door.get("/presence/chat").await.is(200).json();
    assert_eq!(snapshot["count"], 3);
    let anna = &snapshot["members"][0];
    assert_eq!((&anna["id"], &anna["data"], anna.get("subject")), (&"anna".into(), &"é \"x\"".into(), None));
    assert!(anna["since"].as_str().unwrap().ends_with('Z'));
    let told = changes(&door, "chat", &at, 3).await;
    assert_eq!(told[0], json!({"event": "join", "id": "anna", "data": "é \"x\""}));
    assert_eq!(told[1..], [event("join", "b n"), event("join", "cleo")]);
    let cursor = snapshot["cursor"].as_str().unwrap();
    door.get("/topics/chat?presence-id=anna&presence-data=y").await.is(200);
    let update = json!({"event": "update", "id": "anna", "data": "y"});
    assert_eq!(changes(&door, "chat", cursor, 1).await, [update]);
}

#[tokio::test]
async fn a_stream_is_there_while_it_is_open_and_a_quick_return_is_no_news() {
    let door = brief().await;
    let at = door.get("/presence/chat").await.header("stream-next-offset");
    let line = "GET /topics/chat?presence-id=anna&offset=now";
    let mut first = Stream::of(door.start(line, &[EVENTS], "").await);
    first.until("id: ").await;
    let mut other = Stream::of(door.start(&format!("{line}&live=sse"), &[], "").await);
    other.until("control").await;
    assert_eq!(ids(&door, "chat").await, ["anna"]);
    drop((first, other));
    let mut back = Stream::of(door.start(line, &[EVENTS], "").await);
    back.until("id: ").await;
    assert_eq!(ids(&door, "chat").await, ["anna"]);
    drop(back);
    assert_eq!(changes(&door, "chat", &at, 2).await, [event("join", "anna"), event("leave", "anna")]);
    assert!(ids(&door, "chat").await.is_empty());
}

#[tokio::test]
async fn changes_are_read_like_any_topic() {
    let door = Door::open().await;
    let mut stream = Stream::of(door.start("GET /topics/$presence/chat?offset=now", &[EVENTS], "").await);
    stream.until("id: ").await;
    door.get("/topics/chat?presence-id=anna").await.is(200);
    stream.until(r#"data: {"event":"join","id":"anna"}"#).await;
    let page = door.ask("GET /topics/$presence/chat?offset=-1", &[ENVELOPES], "").await.is(200).json();
    assert_eq!((&page[0]["topic"], &page[0]["data"]), (&"$presence/chat".into(), &event("join", "anna")));
    assert!(door.get("/topics?filter=$presence/%23").await.is(200).text().contains("$presence/chat"));
    assert!(!door.get("/topics").await.is(200).text().contains("$presence"));
    // They are the hub's own to write, and nobody is on them.
    door.ask("POST /topics/$presence/chat", &[], "x").await.is_problem(403, "forbidden");
    door.ask("PUT /topics/$presence/chat", &[], "").await.is_problem(403, "forbidden");
    door.ask("DELETE /topics/$presence/chat", &[], "").await.is_problem(403, "forbidden");
    door.get("/topics/$presence/chat?presence-id=anna").await.is_problem(403, "forbidden");
    door.get("/presence/$presence/chat").await.is_problem(403, "forbidden");
    door.get("/topics/$presence").await.is_problem(403, "forbidden");
    door.get("/topics/$presence/$keys/x").await.is_problem(403, "forbidden");
}

#[tokio::test]
async fn a_snapshot_comes_in_pages() {
    let door = Door::open().await;
    for id in ["cleo", "anna", "ben"] {
        door.get(&format!("/topics/chat?presence-id={id}")).await.is(200);
    }
    let page = door.get("/presence/chat?limit=2").await.is(200).json();
    assert_eq!((&page["count"], &page["next"]), (&3.into(), &"ben".into()));
    let page = door.get("/presence/chat?limit=2&after=ben").await.is(200).json();
    assert_eq!((&page["members"][0]["id"], &page["next"]), (&"cleo".into(), &Value::Null));
    door.get("/presence/chat?limit=0").await.is_problem(400, "bad-request");
    door.get("/presence/chat?limit=1001").await.is_problem(400, "bad-request");
    door.get("/presence/a%0Ab").await.is_problem(400, "bad-name");
}

#[tokio::test]
async fn whoever_cannot_be_a_member_is_told() {
    let limits = Limits { presence_members_per_topic: 1, ..Limits::default() };
    let door = Door::with(Setup { limits, ..Setup::default() }).await;
    door.get("/topics/chat?presence-id=anna").await.is(200);
    for way in ["", "&offset=now&live=long-poll", "&offset=now&live=sse"] {
        let refused = door.get(&format!("/topics/chat?presence-id=ben{way}")).await;
        refused.is_problem(429, "too-many");
        assert_eq!(refused.header("retry-after"), "1");
    }
    door.ask("GET /topics/chat?presence-id=ben", &[EVENTS], "").await.is_problem(429, "too-many");
    door.get("/topics/chat").await.is(200);
    let long = "x".repeat(129);
    door.get(&format!("/topics/chat?presence-id={long}")).await.is_problem(400, "bad-request");
    door.get("/topics/chat?presence-id=").await.is_problem(400, "bad-request");
    door.get("/topics/chat?presence-data=x").await.is_problem(400, "bad-request");
    door.get("/topics/chat?presence-id=a&presence-id=b").await.is_problem(400, "bad-request");
    let data = "x".repeat(1025);
    door.get(&format!("/topics/chat?presence-id=anna&presence-data={data}")).await.is_problem(413, "too-large");
    assert_eq!(ids(&door, "chat").await, ["anna"]);
}

#[tokio::test]
async fn caches_do_not_answer_for_who_is_seen() {
    let door = Door::open().await;
    let at = door.publish("chat", "1").await;
    door.publish("chat", "2").await;
    let poll = format!("/topics/chat?offset={at}&live=long-poll");
    assert!(door.get(&poll).await.header("cache-control").starts_with("public, max-age"));
    assert_eq!(door.get(&format!("{poll}&presence-id=a")).await.header("cache-control"), "no-cache");
    let behind = door.get("/topics/chat?limit=1&presence-id=a").await;
    assert_eq!(behind.header("cache-control"), "no-cache");
}

/// SHA-256 of "secret".
const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
const BEARER: (&str, &str) = ("Authorization", "Bearer secret");

async fn guarded(presence: PresenceMode, limits: Limits) -> Door {
    let chat = Grant { operations: vec![Operation::Subscribe], filters: vec![Filter::parse("chat/#").unwrap()] };
    let mut setup = Setup { limits, ..Setup::default() };
    setup.gateway.presence = presence;
    setup.gateway.tokens = Tokens::new([(SECRET, Access::new("anna", vec![chat]))]).unwrap();
    Door::with(setup).await
}

#[tokio::test]
async fn a_token_makes_a_member_and_vouches_for_it() {
    let limits = Limits { presence_members: 2, ..Limits::default() };
    let door = guarded(PresenceMode::Subjects, limits).await;
    let read = |path: &'static str| door.ask(path, &[BEARER], "");
    read("GET /topics/chat/a").await.is(200);
    read("GET /topics/chat/a?presence-id=tab-1").await.is(200);
    let page = read("GET /presence/chat/a?limit=1").await.is(200).json();
    assert_eq!((&page["members"][0]["id"], &page["members"][0]["subject"]), (&"anna".into(), &"anna".into()));
    assert_eq!(page["next"], "anna\u{1f}anna");
    let page = read("GET /presence/chat/a?after=anna%1Fanna").await.is(200).json();
    let tab = &page["members"][0];
    assert_eq!((&tab["id"], &tab["subject"], &page["next"]), (&"tab-1".into(), &"anna".into(), &Value::Null));
    // Who did not ask to be seen reads although there is no room for it.
    read("GET /topics/chat/b").await.is(200);
    read("GET /topics/chat/b?presence-id=anna").await.is_problem(429, "too-many");
    read("GET /presence/other").await.is_problem(403, "forbidden");
    read("GET /topics/$presence/other").await.is_problem(403, "forbidden");
    read("HEAD /topics/$presence/other").await.is(403);
    let told = read("GET /topics/$presence/chat/a?offset=-1").await.is(200).json();
    assert_eq!(told[0], json!({"event": "join", "id": "anna", "subject": "anna"}));
    assert_eq!(read("GET /presence/$presence/chat/a").await.status, 403);
}

#[tokio::test]
async fn presence_can_be_for_those_who_ask_or_for_nobody() {
    let door = guarded(PresenceMode::Explicit, Limits::default()).await;
    let read = |path: &'static str| door.ask(path, &[BEARER], "");
    read("GET /topics/chat/a").await.is(200);
    assert_eq!(read("GET /presence/chat/a").await.json()["count"], 0);
    read("GET /topics/chat/a?presence-data=x").await.is(200);
    assert_eq!(read("GET /presence/chat/a").await.json()["members"][0]["data"], "x");
    let door = guarded(PresenceMode::Off, Limits::default()).await;
    let read = |path: &'static str| door.ask(path, &[BEARER], "");
    read("GET /topics/chat/a").await.is(200);
    read("GET /topics/chat/a?presence-id=x").await.is_problem(501, "not-implemented");
    read("GET /presence/chat/a").await.is_problem(501, "not-implemented");
}
