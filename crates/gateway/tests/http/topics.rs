//! PUT, HEAD, DELETE, OPTIONS and the listing.

use crate::harness::{CLOSE, Door, JSON, TEXT};

#[tokio::test]
async fn create_is_idempotent_and_tells_the_topic() {
    let door = Door::open().await;
    let created = door.ask("PUT /topics/a/b", &[TEXT, ("Stream-TTL", "3600")], "hello").await.is(201);
    assert_eq!(created.header("location"), format!("http://{}/topics/a/b", door.address));
    assert_eq!(created.header("content-type"), "text/plain");
    assert_eq!(created.header("stream-ttl"), "3600");
    let again =
        door.ask("PUT /topics/a/b", &[("Content-Type", "Text/Plain"), ("Stream-TTL", "3600")], "").await.is(200);
    assert_eq!(again.header("stream-next-offset"), created.header("stream-next-offset"));
    assert!(again.get("location").is_none());
    for other in [vec![JSON, ("Stream-TTL", "3600")], vec![TEXT], vec![TEXT, ("Stream-TTL", "3600"), CLOSE]] {
        door.ask("PUT /topics/a/b", &other, "").await.is_problem(409, "topic-exists");
    }
    let head = door.ask("HEAD /topics/a/b", &[], "").await.is(200);
    assert_eq!(head.header("cache-control"), "no-store");
    assert_eq!(head.header("stream-ttl"), "3600");
    assert_eq!(head.header("quintet-durability"), "memory");
    assert_eq!(door.get("/topics/a%2Fb").await.is(200).text(), "hello");
}

#[tokio::test]
async fn create_refuses_what_it_does_not_understand() {
    let door = Door::open().await;
    for (name, value) in [
        ("Stream-TTL", "01"),
        ("Stream-TTL", "+1"),
        ("Stream-TTL", "1.5"),
        ("Stream-TTL", "1e3"),
        ("Stream-TTL", ""),
        ("Stream-Expires-At", "tomorrow"),
        ("Quintet-Retain-Age", "0"),
        ("Quintet-Retain-Count", "x"),
        ("Quintet-Retain-Bytes", "-1"),
        ("Quintet-Durability", "paper"),
        ("Content-Type", "text"),
    ] {
        door.ask("PUT /v1/stream/a", &[(name, value)], "").await.is_problem(400, "bad-header");
    }
    let both = [("Stream-TTL", "1"), ("Stream-Expires-At", "2036-01-01T00:00:00Z")];
    door.ask("PUT /v1/stream/a", &both, "").await.is_problem(400, "bad-header");
    door.ask("PUT /v1/stream/a", &[("Quintet-Durability", "disk")], "").await.is_problem(400, "bad-request");
    door.ask("PUT /v1/stream/a", &[JSON], "{").await.is_problem(400, "bad-json");
    door.ask("PUT /v1/stream/a", &[("Stream-Forked-From", "/v1/stream/b")], "")
        .await
        .is_problem(404, "topic-not-found");
    door.ask("PUT /v1/stream/a", &[("Stream-Fork-Offset", "-1")], "").await.is_problem(400, "bad-header");
    door.ask("PUT /v1/stream/__ds/subscriptions/x", &[], "").await.is_problem(501, "not-implemented");
    door.ask("PUT /topics/$x", &[], "").await.is_problem(403, "forbidden");
    door.ask("PUT /topics/a//b", &[], "").await.is_problem(400, "bad-name");
    door.ask("PUT /topics/a%00", &[], "").await.is_problem(400, "bad-name");
    door.ask("PUT /topics/%ff", &[], "").await.is_problem(400, "bad-name");
    door.ask("PUT /topics/a+b", &[], "").await.is_problem(400, "bad-name");
    door.ask(&format!("PUT /topics/{}", "a".repeat(513)), &[], "").await.is_problem(400, "bad-name");
    door.ask("HEAD /v1/stream/a", &[], "").await.is(404);
}

#[tokio::test]
async fn expiry_and_closure_are_echoed() {
    let door = Door::open().await;
    let expiry = ("Stream-Expires-At", "2036-01-01T02:00:00+02:00");
    let created = door.ask("PUT /v1/stream/a", &[expiry, CLOSE], "bytes").await.is(201);
    assert_eq!(created.header("stream-expires-at"), "2036-01-01T00:00:00.000Z");
    assert_eq!(created.header("stream-closed"), "true");
    assert_eq!(created.header("content-type"), "application/octet-stream");
    door.ask("PUT /v1/stream/b", &[JSON], "[]").await.is(201);
    assert_eq!(door.get("/v1/stream/b").await.is(200).text(), "[]");
}

#[tokio::test]
async fn delete_ends_a_topic() {
    let door = Door::open().await;
    door.ask("DELETE /topics/a", &[], "").await.is_problem(404, "topic-not-found");
    let cursor = door.publish("a", "1").await;
    door.ask("DELETE /topics/a", &[], "").await.is(204);
    door.ask("HEAD /topics/a", &[], "").await.is(404);
    door.get(&format!("/v1/stream/a?offset={cursor}")).await.is_problem(404, "topic-not-found");
    door.get(&format!("/topics/a?offset={cursor}")).await.is_problem(410, "topic-deleted");
    door.publish("a", "2").await;
    door.get(&format!("/topics/a?offset={cursor}")).await.is_problem(410, "stale-cursor");
    assert_eq!(door.get("/topics/a").await.is(200).text(), "2");
}

#[tokio::test]
async fn topics_are_listed_in_pages() {
    let door = Door::open().await;
    for i in 0..5 {
        door.publish(&format!("list/{i}"), "x").await;
    }
    door.publish("other", "x").await;
    let page = door.get("/topics?filter=list/%2B&limit=3").await.is(200).json();
    let names: Vec<_> = page["topics"].as_array().unwrap().iter().map(|t| t["topic"].as_str().unwrap()).collect();
    assert_eq!(names, ["list/0", "list/1", "list/2"]);
    assert_eq!(page["next"], "list/2");
    assert_eq!(page["topics"][0]["type"], "text/plain");
    assert_eq!(page["topics"][0]["messages"], 1);
    let page = door.get("/topics?filter=list/%23&limit=2&after=list/2").await.is(200).json();
    assert_eq!((page["topics"].as_array().unwrap().len(), &page["next"]), (2, &serde_json::Value::Null));
    assert_eq!(door.get("/topics").await.is(200).json()["topics"].as_array().unwrap().len(), 6);
    for bad in ["limit=0", "limit=1001", "limit=x", "limit=1&limit=2"] {
        door.get(&format!("/topics?{bad}")).await.is_problem(400, "bad-request");
    }
    door.get("/topics?filter=a%23").await.is_problem(400, "bad-name");
}

#[tokio::test]
async fn pages_and_wrong_ways() {
    let door = Door::open().await;
    assert!(door.get("/").await.is(200).text().contains("/topics"));
    assert_eq!(door.get("/health").await.is(200).json()["status"], "ok");
    assert!(door.get("/problems/gap").await.is(200).text().starts_with("gap:"));
    door.get("/problems/none").await.is_problem(404, "not-found");
    door.get("/nothing/here").await.is_problem(404, "not-found");
    let answer = door.ask("PATCH /topics/a", &[], "").await;
    answer.is_problem(405, "method-not-allowed");
    assert!(answer.header("allow").contains("POST"));
    let answer = door.ask("POST /health", &[], "").await;
    answer.is_problem(405, "method-not-allowed");
    assert!(answer.header("allow").contains("GET"));
    door.ask("OPTIONS /topics/a", &[], "").await.is(204).header("allow");
}

#[tokio::test]
async fn a_fork_shares_the_past() {
    let door = Door::open().await;
    let first = door.publish("source", "1").await;
    door.publish("source", "2").await;
    let fork = [("Stream-Forked-From", "/topics/source"), ("Stream-Fork-Offset", &*first)];
    assert_eq!(door.ask("PUT /topics/fork", &fork, "").await.is(201).header("content-type"), "text/plain");
    door.publish("fork", "x").await;
    assert_eq!(door.get("/topics/fork").await.is(200).text(), "1x");
    door.ask("DELETE /topics/source", &[], "").await.is(204);
    door.get("/topics/source").await.is_problem(410, "topic-deleted");
    door.ask("PUT /topics/source", &[TEXT], "").await.is_problem(409, "topic-exists");
    assert_eq!(door.get("/topics/fork").await.is(200).text(), "1x");
}
