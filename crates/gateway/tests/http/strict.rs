//! What HTTP wants of a server whoever asks: one host, codings that are known, conditions that are not passed over, and
//! answers that a cache can keep.

use quintet_gateway::origin::OriginRules;
use tokio::io::AsyncWriteExt;

use crate::harness::{CLOSE, Door, ENVELOPES, JSON, Setup, TEXT, until};

/// Sends a request as it stands, and gives the head of the answer.
async fn exchange(door: &Door, request: &str) -> String {
    let mut stream = door.connect().await;
    stream.write_all(request.as_bytes()).await.unwrap();
    until(&mut stream, "\r\n\r\n").await
}

#[tokio::test]
async fn a_request_is_for_one_host() {
    let door = Door::open().await;
    let own = format!("Host: {}", door.address);
    let user = format!("Host: hub.example@{}\r\n", door.address);
    let two = [format!("{own}\r\nHost: evil.example\r\n"), format!("{own}\r\n{own}\r\n")];
    let bad = ["", &two[0], &two[1], &user, "Host: localhost:x\r\n", "Host: localhost:99999\r\n"];
    for (i, hosts) in bad.into_iter().enumerate() {
        let mut targets = vec!["POST /topics/a", "PATCH /topics/a", "POST /health"];
        if i < 3 {
            // Otherwise the target counts, and not what Host is.
            targets.push("POST http://localhost/topics/a");
        }
        for line in targets {
            let request = format!("{line} HTTP/1.1\r\n{hosts}Content-Length: 2\r\n\r\nhi");
            let answer = exchange(&door, &request).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{request}{answer}");
        }
    }
    let answer = exchange(&door, "HEAD /topics/a HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 404 "), "nothing was published, and HTTP/1.0 has no Host: {answer}");
    let whole = format!("POST http://localhost/topics/a HTTP/1.1\r\n{own}\r\nContent-Length: 2\r\n\r\nhi");
    assert!(exchange(&door, &whole).await.starts_with("HTTP/1.1 204 "));
}

#[tokio::test]
async fn a_coding_that_is_not_known_is_refused() {
    let door = Door::open().await;
    let chunks = "2\r\nhi\r\n0\r\n\r\n";
    let codings = ["gzip, chunked", "chunked, chunked", "gzip\r\nTransfer-Encoding: chunked"];
    for coding in codings {
        let head = format!("POST /topics/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: {coding}\r\n\r\n");
        let answer = exchange(&door, &(head + chunks)).await;
        assert!(answer.starts_with("HTTP/1.1 501 ") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
    }
    door.ask("HEAD /topics/a", &[], "").await.is(404);
    let head = "POST /topics/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: Chunked\r\n\r\n";
    let answer = exchange(&door, &(head.to_owned() + chunks)).await;
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
}

#[tokio::test]
async fn any_page_can_use_what_a_cache_kept_for_another() {
    let cached = "GET /topics/a?limit=1";
    for (origins, first, varies) in [(&["*"], Some("*"), false), (&["https://app.example"], None, true)] {
        let mut setup = Setup::default();
        setup.gateway.origins = OriginRules::new(origins, [""; 0]);
        let door = Door::with(setup).await;
        door.ask("POST /topics/a", &[JSON], "[1,2]").await.is(204);
        let answer = door.ask(cached, &[], "").await.is(200);
        assert!(answer.header("cache-control").starts_with("public"));
        assert_eq!(answer.get("access-control-allow-origin").as_deref(), first);
        assert_eq!(answer.all("vary").contains("Origin"), varies);
        let page = door.ask(cached, &[("Origin", "https://app.example")], "").await.is(200);
        assert_eq!(page.header("access-control-allow-origin"), first.unwrap_or("https://app.example"));
    }
}

#[tokio::test]
async fn a_cache_does_not_answer_for_who_asks_to_be_seen() {
    let door = Door::open().await;
    door.ask("POST /topics/a", &[JSON], "[1,2]").await.is(204);
    let answer = door.get("/topics/a?limit=1").await.is(200);
    assert!(answer.header("cache-control").starts_with("public"));
    assert!(answer.all("vary").contains("Accept, Presence-Id, Presence-Data"), "{}", answer.all("vary"));
    let member = door.ask("GET /topics/a?limit=1", &[("Presence-Id", "ada")], "").await.is(200);
    assert_eq!(member.header("cache-control"), "no-cache");
}

#[tokio::test]
async fn head_does_not_say_that_there_is_nothing() {
    let door = Door::open().await;
    door.publish("a", "text").await;
    for version in ["HTTP/1.1", "HTTP/1.0"] {
        let answer = exchange(&door, &format!("HEAD /topics/a {version}\r\nHost: localhost\r\n\r\n")).await;
        assert!(answer.contains(" 200 OK\r\n") && answer.contains("\r\nstream-next-offset: "), "{answer}");
        assert!(!answer.contains("content-length"), "{answer}");
    }
}

#[tokio::test]
async fn a_fork_is_of_the_topic_that_the_path_names() {
    let door = Door::open().await;
    door.ask("PUT /topics/x/v1/stream/y", &[TEXT], "right").await.is(201);
    door.ask("PUT /topics/y", &[TEXT], "wrong").await.is(201);
    for source in ["/topics/x/v1/stream/y", "/v1/stream/x/v1/stream/y", "/hub/topics/x/v1/stream/y"] {
        door.ask("PUT /topics/fork", &[("Stream-Forked-From", source)], "").await.is(201);
        assert_eq!(door.get("/topics/fork").await.text(), "right", "{source}");
        door.ask("DELETE /topics/fork", &[], "").await.is(204);
    }
}

#[tokio::test]
async fn what_is_conditional_is_not_done_without_its_condition() {
    let door = Door::open().await;
    door.publish("a", "text").await;
    for condition in [("If-Match", "\"nope\""), ("If-Match", "*"), ("If-None-Match", "*")] {
        for method in ["DELETE", "PUT", "POST"] {
            for url in ["/topics/a", "/v1/stream/a", "/topics/new"] {
                let answer = door.ask(&format!("{method} {url}"), &[TEXT, condition], "more").await;
                answer.is_problem(400, "bad-header");
            }
        }
    }
    for line in ["DELETE /groups/a", "PUT /groups/a", "POST /groups/a/redrive"] {
        door.ask(line, &[("If-Match", "\"nope\"")], "").await.is_problem(400, "bad-header");
    }
    assert_eq!(door.get("/topics/a").await.text(), "text");
    door.ask("HEAD /topics/new", &[], "").await.is(404);
    door.ask("PUT /topics/new", &[TEXT, ("Content-Range", "bytes 0-3/8")], "part").await.is_problem(400, "bad-header");
    // No topic has a date, so that conditions by date hold.
    let date = ("If-Unmodified-Since", "Sat, 01 Jan 2000 00:00:00 GMT");
    door.ask("DELETE /topics/a", &[date], "").await.is(204);
}

#[tokio::test]
async fn a_body_whose_coding_would_be_lost_is_refused() {
    let door = Door::open().await;
    for line in ["POST /topics/a", "PUT /topics/a", "POST /v1/stream/a", "POST /responders/a/requests/1"] {
        let answer = door.ask(line, &[TEXT, ("Content-Encoding", "gzip")], "\u{1f}").await;
        answer.is_problem(415, "unsupported-media-type");
        assert_eq!(answer.header("accept-encoding"), "identity");
    }
    door.ask("POST /topics/a", &[TEXT, ("Content-Encoding", "Identity")], "text").await.is(204);
    assert_eq!(door.get("/topics/a").await.text(), "text");
}

#[tokio::test]
async fn what_is_refused_is_refused_whatever_the_client_knows() {
    let door = Door::open().await;
    door.publish("a", "text").await;
    door.ask("POST /topics/a", &[JSON], "1").await.is(204);
    for known in ["*", "\"x\""] {
        door.ask("GET /topics/a", &[("If-None-Match", known)], "").await.is_problem(406, "not-acceptable");
        door.ask("GET /topics/a", &[("If-None-Match", known), ENVELOPES], "").await.is(if known == "*" {
            304
        } else {
            200
        });
    }
}

#[tokio::test]
async fn the_end_of_an_event_source_is_not_kept() {
    let door = Door::open().await;
    let end = door.publish("a", "text").await;
    door.ask("POST /topics/a", &[CLOSE], "").await.is(204);
    let headers = [("Accept", "text/event-stream"), ("Last-Event-ID", &*end)];
    let answer = door.ask("GET /topics/a", &headers, "").await.is(204);
    assert_eq!(answer.header("cache-control"), "no-cache");
    assert!(answer.all("vary").contains("Accept, Last-Event-ID"), "{}", answer.all("vary"));
}

#[tokio::test]
async fn what_is_quoted_is_no_preference_and_waits_have_no_largest_number() {
    let door = Door::open().await;
    let quoted = [("Prefer", "foo=\"a, wait=60, b\"")];
    let answer = door.ask("GET /topics/a", &quoted, "").await.is(200);
    assert!(answer.get("preference-applied").is_none());
    let cursor = answer.header("stream-next-offset");
    door.publish("a", "text").await;
    let query = format!("offset={cursor}&live=long-poll&timeout=99999999999999999999");
    assert_eq!(door.get(&format!("/topics/a?{query}")).await.is(200).text(), "text");
}

#[tokio::test]
async fn a_plus_lists_one_level() {
    let door = Door::open().await;
    for topic in ["w/a", "w/b", "w/b/c"] {
        door.publish(topic, "text").await;
    }
    for filter in ["w/+", "w/%2B", "w%2F+"] {
        let page = door.get(&format!("/topics?filter={filter}")).await.is(200).json();
        let topics: Vec<_> = page["topics"].as_array().unwrap().iter().map(|topic| topic["topic"].clone()).collect();
        assert_eq!(topics, ["w/a", "w/b"], "{filter}");
    }
}
