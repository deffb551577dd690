//! Requests that are wrong: names, cursors, methods, bodies, heads.

use reqwest::Method;

use crate::harness::hub::{Hub, Options};
use crate::harness::raw;

#[tokio::test]
async fn bad_names_are_400() {
    let hub = Hub::start_in_memory().await;
    let long = "x".repeat(513);
    let deep = vec!["x"; 33].join("/");
    for name in ["a//b", "a/", "/a", "a%2Bb/%2B", "a/%23", "a%00b", "a%0Ab", "%ff", "a%7f", &long, &deep] {
        for base in ["/topics/", "/v1/stream/"] {
            let path = format!("{base}{name}");
            let post = hub.http().post(&path, "text/plain", "x").send().await;
            assert_eq!(post.status, 400, "POST {path}: {}", post.text());
            post.expect_problem(400, "bad-name");
            hub.http().get(&path).send().await.expect_problem(400, "bad-name");
            hub.http().put(&path).send().await.expect_problem(400, "bad-name");
        }
    }
    for name in ["x".repeat(512), vec!["x"; 32].join("/"), "%E2%82%AC/%20ok".to_owned()] {
        hub.http().post(&format!("/topics/{name}"), "text/plain", "x").send().await.expect(204);
    }
    for name in ["$sys", "$replies/x", "%24sys/a"] {
        let post = hub.http().post(&format!("/topics/{name}"), "text/plain", "x").send().await;
        post.expect_problem(403, "forbidden");
    }
}

#[tokio::test]
async fn bad_cursors_are_400_and_foreign_ones_410() {
    let hub = Hub::start().await;
    let cursor = hub.http().publish("a", "x").await;
    let (log, offset) = cursor.split_once('_').unwrap();
    let beyond = format!("{log}_{}", "f".repeat(16));
    let short = &cursor[1..];
    let upper = format!("{log}_00000000000000AB");
    let escaped = ["12", "-2", "", "x", "%00", "1_1", "start%20", "00000000_00000000000000000", "..%2F.."];
    for bad in escaped.into_iter().chain([beyond.as_str(), short, &upper, &format!("{cursor}.{cursor}")]) {
        for live in ["", "&live=long-poll", "&live=sse"] {
            let answer = hub.http().get(&format!("/topics/a?offset={bad}{live}")).send().await;
            assert_eq!(answer.status, 400, "offset={bad}{live}: {}", answer.text());
            answer.expect_problem(400, "bad-cursor");
        }
        let mut session = crate::harness::session::Session::open(&hub).await;
        if !bad.contains('%') {
            let refusal = session.refusal("subscribe", serde_json::json!({"topic": "a", "since": bad})).await;
            assert_eq!(refusal["type"], "/problems/bad-cursor", "{bad}: {refusal}");
        }
    }
    hub.http().get("/topics/a?offset=%ff").send().await.expect_problem(400, "bad-request");
    let other_log = format!("fffffffe_{offset}");
    let answer = hub.http().get(&format!("/topics/a?offset={other_log}")).send().await;
    answer.expect_problem(410, "stale-cursor");
}

#[tokio::test]
async fn wrong_methods_are_405_and_say_what_is_allowed() {
    let hub = Hub::start_in_memory().await;
    let wrong = [
        (Method::PATCH, "/topics/a"),
        (Method::DELETE, "/topics"),
        (Method::POST, "/health"),
        (Method::GET, "/responders/x/claim"),
        (Method::PUT, "/ws"),
        (Method::POST, "/problems/gap"),
    ];
    for (method, path) in wrong {
        let answer = hub.http().request(method.clone(), path).send().await;
        assert_eq!(answer.status, 405, "{method} {path}: {}", answer.text());
        let answer = answer.expect_problem(405, "method-not-allowed");
        assert!(!answer.header("allow").is_empty(), "{method} {path}");
    }
    hub.http().get("/nowhere").send().await.expect_problem(404, "not-found");
    hub.http().get("/problems/nonsense").send().await.expect_problem(404, "not-found");
}

#[tokio::test]
async fn bodies_that_are_too_large_are_413_before_they_are_sent() {
    let hub = Hub::start_in_memory().await;
    let head = "POST /topics/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n";
    let announced = raw::exchange(&hub, format!("{head}Content-Length: 99999999999\r\n\r\n").as_bytes()).await;
    assert_eq!(raw::status(&announced), 413, "{announced}");
    let more_than_a_message = hub.http().post("/topics/a", "text/plain", "x".repeat((8 << 20) + 1)).send().await;
    more_than_a_message.expect_problem(413, "too-large");

    // Chunks without end: the hub stops at its limit, whatever the client still has to say.
    let before = hub.resident_bytes();
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 20, "x".repeat(1 << 20));
    let endless = format!("{head}Transfer-Encoding: chunked\r\n\r\n{}", chunk.repeat(40));
    let refused = raw::exchange(&hub, endless.as_bytes()).await;
    assert!(refused.is_empty() || raw::status(&refused) == 413, "{refused}");
    assert!(hub.resident_bytes().saturating_sub(before) < 64 << 20);
    hub.http().post("/topics/a", "text/plain", "x".repeat(8 << 20)).send().await.expect(204);
}

#[tokio::test]
async fn bodies_that_are_wrong_are_400() {
    let hub = Hub::start_in_memory().await;
    let json = |body: &str| hub.http().post("/topics/j", "application/json", body.to_owned()).send();
    for body in ["{", "[1,]", "nul", "\u{0}", "[1] [2]", "{\"a\":1}}"] {
        json(body).await.expect_problem(400, "bad-json");
    }
    json("").await.expect_problem(400, "empty-body");
    json("[]").await.expect_problem(400, "empty-body");
    let deep = json(&"[".repeat(1 << 20)).await;
    assert_eq!(deep.status, 400, "{}", deep.text());
    let not_utf8 = hub.http().post("/topics/j", "application/json", vec![b'"', 0xff, b'"']).send().await;
    not_utf8.expect_problem(400, "bad-json");
    let bad_type = hub.http().post("/topics/j", "not a type", "x").send().await;
    assert!([400, 415].contains(&bad_type.status), "{}", bad_type.text());
    let headers = [
        ("Stream-TTL", "-1"),
        ("Stream-TTL", "soon"),
        ("Stream-Expires-At", "yesterday"),
        ("Quintet-Retain-Count", "x"),
    ];
    for (name, value) in headers {
        hub.http().put("/topics/p").header(name, value).send().await.expect_problem(400, "bad-header");
    }
    let post = || hub.http().post("/topics/p", "text/plain", "x");
    for (epoch, seq) in [("x", "0"), ("0", "-1"), ("0", "1.5"), ("99999999999999999999", "0")] {
        let post = post().header("Producer-Id", "p").header("Producer-Epoch", epoch).header("Producer-Seq", seq);
        post.send().await.expect_problem(400, "bad-header");
    }
    for query in ["limit=0", "limit=x", "limit=-1"] {
        let answer = hub.http().get(&format!("/topics/p?{query}")).send().await;
        answer.expect_problem(400, "bad-request");
    }
}

#[tokio::test]
async fn heads_that_are_wrong_do_not_get_far() {
    // What is no head at all is waited for, but not for long here.
    let config = "[http]\nhead_time = \"1s\"\n".to_owned();
    let hub = Hub::start_with(Options { memory: true, config: Some(config), ..Options::default() }).await;
    let large = format!("GET /health HTTP/1.1\r\nHost: localhost\r\nX-Large: {}\r\n\r\n", "x".repeat(1 << 20));
    let answer = raw::exchange(&hub, large.as_bytes()).await;
    assert!(answer.is_empty() || raw::status(&answer) == 431, "{answer}");
    let many = format!("GET /health HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X-A: b\r\n".repeat(2_000));
    let answer = raw::exchange(&hub, many.as_bytes()).await;
    assert!(answer.is_empty() || raw::status(&answer) == 431, "{answer}");
    let long = format!("GET /topics/{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(70_000));
    let answer = raw::exchange(&hub, long.as_bytes()).await;
    assert!(answer.is_empty() || [400, 414, 431].contains(&raw::status(&answer)), "{answer}");
    for nonsense in ["\r\n\r\n\r\n\r\n", "GET\r\n\r\n", "\u{16}\u{3}\u{1}\r\n\r\n", "GET / HTTP/9.9\r\n\r\n"] {
        let answer = raw::exchange(&hub, nonsense.as_bytes()).await;
        assert!(answer.is_empty() || [400, 505].contains(&raw::status(&answer)), "{nonsense:?}: {answer}");
    }
    let no_host = raw::exchange(&hub, b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert!([200, 400, 403].contains(&raw::status(&no_host)), "{no_host}");
    let twice = b"POST /topics/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx";
    let answer = raw::exchange(&hub, twice).await;
    assert!(answer.is_empty() || raw::status(&answer) == 400, "{answer}");
    hub.http().get("/health").send().await.expect(200);
}

#[tokio::test]
async fn limits_can_be_set_lower() {
    let config = "[limits]\nmessage_bytes = \"1 KiB\"\ntopics = 3\n";
    let hub = Hub::start_with(Options { memory: true, config: Some(config.to_owned()), ..Options::default() }).await;
    let post = |topic: &str, n: usize| hub.http().post(&format!("/topics/{topic}"), "text/plain", "x".repeat(n)).send();
    post("a", 1024).await.expect(204);
    post("a", 1025).await.expect_problem(413, "too-large");
    post("b", 1).await.expect(204);
    post("c", 1).await.expect(204);
    let full = post("d", 1).await.expect_problem(429, "too-many");
    assert!(full.header("retry-after").parse::<u64>().is_ok(), "{:?}", full.headers);
}
