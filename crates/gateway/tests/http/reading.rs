//! Short polling.

use crate::harness::{CLOSE, DEADLINE, Door, ENVELOPES, JSON, Setup, TEXT};

#[tokio::test]
async fn a_cursor_gives_what_is_new() {
    let door = Door::open().await;
    let first = door.publish("r", "1").await;
    let second = door.publish("r", "2").await;
    let all = door.get("/topics/r").await.is(200);
    assert_eq!((all.text(), all.header("stream-next-offset")), ("12".into(), second.clone()));
    assert_eq!(all.header("stream-up-to-date"), "true");
    assert_eq!(all.header("cache-control"), "no-cache");
    for start in ["-1", "start", "00000000_0000000000000000"] {
        assert_eq!(door.get(&format!("/topics/r?offset={start}")).await.is(200).text(), "12");
    }
    assert_eq!(door.get(&format!("/v1/stream/r?offset={first}&other=1")).await.is(200).text(), "2");
    let end = door.get(&format!("/topics/r?offset={second}")).await.is(200);
    assert_eq!((end.text(), end.header("stream-next-offset")), (String::new(), second));
    let now = door.get("/topics/r?offset=now").await.is(200);
    assert_eq!((now.text(), now.header("cache-control"), now.get("etag")), (String::new(), "no-store".into(), None));
}

#[tokio::test]
async fn a_bad_cursor_is_refused() {
    let door = Door::open().await;
    door.publish("r", "1").await;
    for bad in ["", "0", "x", "-2", "NOW", "a,b", "00000007_0000000000000001%20", "00000007_000000000000000g"] {
        door.get(&format!("/topics/r?offset={bad}")).await.is_problem(400, "bad-cursor");
    }
    door.get("/topics/r?offset=00000007_00000000000000ff").await.is_problem(400, "bad-cursor");
    door.get("/topics/r?offset=00000008_0000000000000001").await.is_problem(410, "stale-cursor");
    door.get("/topics/r?offset=-1&offset=-1").await.is_problem(400, "bad-request");
    door.get("/topics/r?offset=%ff").await.is_problem(400, "bad-request");
    door.get("/topics/r?live=tea&offset=-1").await.is_problem(400, "bad-request");
    door.get("/topics/r?limit=0").await.is_problem(400, "bad-request");
    door.get("/topics/$sys/x").await.is_problem(403, "forbidden");
    assert_eq!(door.get("/topics/$replies/unknown").await.is(200).text(), "");
}

#[tokio::test]
async fn an_absent_topic_is_empty_or_not_there() {
    let door = Door::open().await;
    let empty = door.get("/topics/none").await.is(200);
    assert_eq!((empty.text(), empty.header("stream-up-to-date")), (String::new(), "true".into()));
    assert_eq!(door.ask("GET /topics/none", &[ENVELOPES], "").await.is(200).text(), "[]");
    let cursor = empty.header("stream-next-offset");
    door.publish("none", "first").await;
    assert_eq!(door.get(&format!("/topics/none?offset={cursor}")).await.is(200).text(), "first");
    for query in ["", "?offset=now", "?offset=now&live=long-poll", "?offset=now&live=sse"] {
        door.get(&format!("/v1/stream/absent{query}")).await.is_problem(404, "topic-not-found");
    }
}

#[tokio::test]
async fn an_entity_tag_saves_the_body() {
    let door = Door::open().await;
    let cursor = door.publish("e", "1").await;
    let etag = door.get("/topics/e").await.is(200).header("etag");
    for known in [etag.clone(), format!("\"x\", W/{etag}"), "*".into()] {
        let same = door.ask("GET /topics/e", &[("If-None-Match", &known)], "").await.is(304);
        assert_eq!((same.body.len(), same.header("etag")), (0, etag.clone()));
        assert_eq!(same.header("stream-next-offset"), cursor);
    }
    let known = [("If-None-Match", &*etag)];
    door.ask("GET /topics/e", &[known[0], ENVELOPES], "").await.is(200);
    door.ask(&format!("GET /topics/e?offset={cursor}"), &known, "").await.is(200);
    door.ask("POST /topics/e", &[CLOSE], "").await.is(204);
    let closed = door.ask("GET /topics/e", &known, "").await.is(200);
    assert_eq!((closed.text(), closed.header("stream-closed")), ("1".into(), "true".into()));
}

#[tokio::test]
async fn what_lies_behind_can_be_cached() {
    let mut setup = Setup::default();
    setup.limits.read_messages = 2;
    let door = Door::with(setup).await;
    door.ask("POST /topics/c", &[JSON, CLOSE], "[1,2,3]").await.is(204);
    let chunk = door.get("/topics/c?offset=-1").await.is(200);
    assert_eq!(
        (chunk.text(), chunk.get("stream-up-to-date"), chunk.get("stream-closed")),
        ("[1,2]".into(), None, None)
    );
    assert_eq!(chunk.header("cache-control"), "public, max-age=60, stale-while-revalidate=300");
    let next = chunk.header("stream-next-offset");
    let end = door.get(&format!("/topics/c?offset={next}&limit=5")).await.is(200);
    assert_eq!((end.text(), end.header("stream-closed")), ("[3]".into(), "true".into()));
    assert_eq!(door.get("/topics/c?limit=1").await.is(200).text(), "[1]");
}

#[tokio::test]
async fn envelopes_keep_boundaries_and_types() {
    let door = Door::open().await;
    let first = door.publish("m", "a\nb").await;
    door.ask("POST /topics/m", &[JSON], r#"{"a": 1}"#).await.is(204);
    door.ask("POST /topics/m", &[("Content-Type", "image/png")], vec![0xff, 0]).await.is(204);
    let mixed = door.get("/topics/m").await;
    assert!(mixed.is_problem(406, "not-acceptable")["detail"].as_str().unwrap().contains("vnd.quintet"));
    let answer = door.ask("GET /topics/m", &[ENVELOPES], "").await.is(200);
    assert_eq!(answer.header("content-type"), ENVELOPES.1);
    assert_eq!(answer.header("vary"), "Accept");
    let envelopes = answer.json();
    let data: Vec<_> = envelopes.as_array().unwrap().iter().map(|e| e["data"].clone()).collect();
    assert_eq!(serde_json::json!(data), serde_json::json!(["a\nb", {"a": 1}, "/wA="]));
    assert_eq!(envelopes[1]["previous"], first);
    assert_eq!(envelopes[2]["encoding"], "base64");
    assert_eq!(envelopes[2]["offset"], answer.header("stream-next-offset"));
}

#[tokio::test]
async fn a_reader_behind_retention_is_told() {
    let door = Door::open().await;
    door.ask("PUT /topics/g", &[TEXT, ("Quintet-Retain-Count", "2")], "").await.is(201);
    let first = door.publish("g", "0").await;
    for i in 1..10 {
        door.publish("g", &i.to_string()).await;
    }
    // Retention is applied behind the publishes; the reader asks until it is.
    let gap = tokio::time::timeout(DEADLINE, async {
        loop {
            let answer = door.get(&format!("/topics/g?offset={first}")).await;
            if answer.status != 200 {
                return answer;
            }
        }
    });
    let gap = gap.await.unwrap();
    let available = gap.is_problem(410, "gap")["first_available"].as_str().unwrap().to_owned();
    assert_eq!(gap.header("stream-next-offset"), available);
    assert!(door.get(&format!("/topics/g?offset={available}")).await.is(200).text().ends_with('9'));
    door.get(&format!("/topics/g?offset={first}&live=sse")).await.is_problem(410, "gap");
}
