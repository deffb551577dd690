//! Short polling: what is new since my cursor, at once.

use serde_json::json;

use crate::harness::http::ENVELOPES;
use crate::harness::hub::Hub;

#[tokio::test]
async fn a_reader_goes_on_from_its_cursor() {
    let hub = Hub::start().await;
    hub.http().publish("news", "one").await;
    hub.http().publish("news", "two").await;
    let first = hub.http().get("/topics/news?offset=-1").send().await.expect(200);
    assert_eq!(first.text(), "onetwo");
    assert_eq!(first.header("content-type"), "text/plain");
    assert_eq!(first.header("stream-up-to-date"), "true");
    let cursor = first.header("stream-next-offset").to_owned();
    assert_eq!(cursor, hub.http().head("/topics/news").send().await.expect(200).header("stream-next-offset"));

    let nothing = hub.http().get(&format!("/topics/news?offset={cursor}")).send().await.expect(200);
    assert_eq!(nothing.text(), "");
    assert_eq!(nothing.header("stream-next-offset"), cursor);
    hub.http().publish("news", "three").await;
    let third = hub.http().get(&format!("/topics/news?offset={cursor}")).send().await.expect(200);
    assert_eq!(third.text(), "three");
    for start in ["start", "-1", "00000000_0000000000000000"] {
        let all = hub.http().get(&format!("/topics/news?offset={start}")).send().await.expect(200);
        assert_eq!(all.text(), "onetwothree", "from {start}");
    }
    assert_eq!(hub.http().get("/topics/news").send().await.expect(200).text(), "onetwothree");
    let now = hub.http().get("/topics/news?offset=now").send().await.expect(200);
    assert_eq!(now.text(), "");
    assert_eq!(now.header("stream-next-offset"), third.header("stream-next-offset"));
}

#[tokio::test]
async fn what_is_known_already_is_304() {
    let hub = Hub::start().await;
    hub.http().publish("news", "one").await;
    let first = hub.http().get("/topics/news?offset=-1").send().await.expect(200);
    let tag = first.header("etag").to_owned();
    assert!(!tag.is_empty());
    let again = || hub.http().get("/topics/news?offset=-1").header("If-None-Match", &tag).send();
    let known = again().await.expect(304);
    assert_eq!(known.text(), "");
    assert_eq!(known.header("stream-next-offset"), first.header("stream-next-offset"));
    let other_format = hub.http().get("/topics/news?offset=-1").header("Accept", ENVELOPES);
    other_format.header("If-None-Match", &tag).send().await.expect(200);
    hub.http().publish("news", "two").await;
    assert_eq!(again().await.expect(200).text(), "onetwo");
}

#[tokio::test]
async fn a_long_history_comes_in_chunks() {
    let hub = Hub::start().await;
    let big = "x".repeat(300_000);
    for _ in 0..10 {
        hub.http().publish("big", &big).await;
    }
    let (mut cursor, mut bytes, mut chunks) = ("start".to_owned(), 0, 0);
    loop {
        let chunk = hub.http().get(&format!("/topics/big?offset={cursor}")).send().await.expect(200);
        assert!(chunk.body.len() <= 1 << 20, "a chunk of {} bytes", chunk.body.len());
        bytes += chunk.body.len();
        chunks += 1;
        chunk.header("stream-next-offset").clone_into(&mut cursor);
        if chunk.header("stream-up-to-date") == "true" {
            break;
        }
        assert!(!chunk.body.is_empty(), "a chunk behind the tail brings something");
        assert!(chunk.header("cache-control").contains("max-age"), "{:?}", chunk.headers);
    }
    assert_eq!(bytes, 3_000_000);
    assert!(chunks >= 3, "{chunks} chunks");

    let limited = hub.http().get("/topics/big?offset=start&limit=1").send().await.expect(200);
    assert_eq!(limited.body.len(), 300_000);
    let huge = "y".repeat(3 << 20);
    hub.http().publish("huge", &huge).await;
    assert_eq!(hub.http().get("/topics/huge").send().await.expect(200).body.len(), huge.len());
}

#[tokio::test]
async fn envelopes_keep_the_boundaries_of_messages() {
    let hub = Hub::start().await;
    let post = hub.http().post("/topics/mixed", "text/plain", "text");
    post.header("Quintet-Header-Colour", "blue").send().await.expect(204);
    hub.http().post("/topics/mixed", "application/json", r#"[{"a":1},[2]]"#).send().await.expect(204);
    hub.http().post("/topics/mixed", "image/png", vec![0xff, 0]).send().await.expect(204);
    let answer = hub.http().get("/topics/mixed").header("Accept", ENVELOPES).send().await.expect(200);
    assert_eq!(answer.header("content-type"), ENVELOPES);
    assert!(answer.header("vary").contains("Accept"));
    let envelopes = answer.json();
    let envelopes = envelopes.as_array().unwrap();
    assert_eq!(envelopes.len(), 4, "{envelopes:?}");
    assert_eq!(envelopes[0]["data"], "text");
    assert_eq!(envelopes[0]["headers"], json!({"colour": "blue"}));
    assert_eq!(envelopes[1]["data"], json!({"a": 1}));
    assert!(envelopes[1].get("headers").is_none());
    assert_eq!(envelopes[2]["data"], json!([2]));
    assert_eq!(envelopes[3]["data"], "/wA=");
    assert_eq!(envelopes[3]["encoding"], "base64");
    for pair in envelopes.windows(2) {
        assert_eq!(pair[1]["previous"], pair[0]["offset"], "each names its predecessor");
        assert!(pair[0]["offset"].as_str() < pair[1]["offset"].as_str(), "cursors sort as text");
        assert_eq!(pair[0]["topic"], "mixed");
    }
    hub.http().get("/topics/mixed").send().await.expect_problem(406, "not-acceptable");
}

#[tokio::test]
async fn an_absent_topic_is_empty_here_and_404_there() {
    let hub = Hub::start().await;
    let absent = hub.http().get("/topics/later?offset=-1").send().await.expect(200);
    assert_eq!(absent.text(), "");
    let cursor = absent.header("stream-next-offset").to_owned();
    hub.http().publish("later", "here").await;
    assert_eq!(hub.http().get(&format!("/topics/later?offset={cursor}")).send().await.expect(200).text(), "here");
    hub.http().get("/v1/stream/never?offset=-1").send().await.expect_problem(404, "topic-not-found");
    let post = hub.http().post("/v1/stream/never", "text/plain", "x").send().await;
    post.expect_problem(404, "topic-not-found");
}

#[tokio::test]
async fn a_closed_topic_says_so_and_takes_no_more() {
    let hub = Hub::start().await;
    hub.http().publish("story", "the end").await;
    let close = hub.http().request(reqwest::Method::POST, "/topics/story").header("Stream-Closed", "true");
    close.send().await.expect(204);
    let read = hub.http().get("/topics/story").send().await.expect(200);
    assert_eq!((read.text().as_str(), read.header("stream-closed")), ("the end", "true"));
    let late = hub.http().post("/topics/story", "text/plain", "more").send().await;
    let late = late.expect_problem(409, "topic-closed");
    assert_eq!(late.header("stream-closed"), "true");
}

#[tokio::test]
async fn a_cursor_from_before_a_deletion_is_stale() {
    let hub = Hub::start().await;
    let old = hub.http().publish("phoenix", "first life").await;
    hub.http().delete("/topics/phoenix").send().await.expect(204);
    hub.http().publish("phoenix", "second life").await;
    let path = format!("/topics/phoenix?offset={old}");
    hub.http().get(&path).send().await.expect_problem(410, "stale-cursor");
    assert_eq!(hub.http().get("/topics/phoenix?offset=start").send().await.expect(200).text(), "second life");
}

#[tokio::test]
async fn what_retention_took_is_a_gap_and_never_silence() {
    let hub = Hub::start().await;
    let put = hub.http().put("/topics/short").header("Content-Type", "text/plain").header("Quintet-Retain-Count", "3");
    put.send().await.expect(201);
    let first = hub.http().publish("short", "0").await;
    for n in 1..10 {
        hub.http().publish("short", &n.to_string()).await;
    }
    let gap = hub.http().trimmed("short", &first).await.expect_problem(410, "gap");
    let available = gap.json()["first_available"].as_str().unwrap().to_owned();
    assert_eq!(gap.header("stream-next-offset"), available);
    let rest = hub.http().get(&format!("/topics/short?offset={available}")).send().await.expect(200);
    assert_eq!(rest.text(), "789");
}

#[tokio::test]
async fn topics_are_listed_in_pages() {
    let hub = Hub::start().await;
    for n in 0..7 {
        hub.http().publish(&format!("list/{n}"), "x").await;
    }
    hub.http().publish("other", "x").await;
    let mut names = Vec::new();
    let mut after = String::new();
    loop {
        let page = hub.http().get(&format!("/topics?filter=list/%23&limit=3{after}")).send().await.expect(200).json();
        let topics = page["topics"].as_array().unwrap();
        assert!(topics.len() <= 3);
        names.extend(topics.iter().map(|topic| topic["topic"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(names, (0..7).map(|n| format!("list/{n}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn creation_is_idempotent_and_a_different_one_conflicts() {
    let hub = Hub::start().await;
    let create = |content_type: &str| hub.http().put("/topics/typed").header("Content-Type", content_type).send();
    let created = create("application/json").await.expect(201);
    assert!(created.header("location").ends_with("/topics/typed"), "{:?}", created.headers);
    create("application/json").await.expect(200);
    create("text/plain").await.expect_problem(409, "topic-exists");
    let wrong = hub.http().post("/topics/typed", "text/plain", "x").send().await;
    wrong.expect_problem(409, "content-type-mismatch");
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let hub = Hub::start().await;
    for path in ["/health", "/topics", "/topics/a", "/nowhere", "/topics//", "/problems/gap"] {
        let answer = hub.http().get(path).send().await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("cross-origin-resource-policy"), "cross-origin", "{path}");
    }
    let health = hub.http().get("/health").send().await.expect(200);
    assert_eq!(health.json()["status"], "ok");
    assert!(hub.http().get("/problems/gap").send().await.expect(200).text().len() > 50);
}
