//! Who may: tokens, origins, host names, and addresses that others can reach.

use std::time::Duration;

use serde_json::json;

use crate::harness::cli;
use crate::harness::deadline::SOON;
use crate::harness::events::Events;
use crate::harness::hub::{Hub, Options};
use crate::harness::raw;
use crate::harness::session::Session;
use crate::harness::socket::{End, Socket};

/// The tokens are `reader-token` and `writer-token`.
const CONFIG: &str = r##"
[[tokens]]
subject = "anna"
sha256 = "ba5005a40cf5212e4ac0190104cc127edab013294bb71279a975b27a80982d45"
allow = [{ operations = ["subscribe"], topics = ["public/#"] }]

[[tokens]]
subject = "ben"
sha256 = "3590c0a59f72ce02700194a05f228a725c1f135a6dcb3ded9b2d86ab6a6f52cb"
allow = [{ operations = ["subscribe", "publish", "manage", "request", "respond"], topics = ["#"] }]
"##;

async fn guarded() -> Hub {
    Hub::start_with(Options { config: Some(CONFIG.to_owned()), ..Options::default() }).await
}

#[tokio::test]
async fn a_token_allows_what_it_says_and_nothing_else() {
    let hub = guarded().await;
    let refused = hub.http().get("/topics/public/a").send().await.expect_problem(401, "unauthenticated");
    assert!(refused.header("www-authenticate").starts_with("Bearer"), "{:?}", refused.headers);
    let wrong = hub.http().get("/topics/public/a").header("Authorization", "Bearer guess").send().await;
    wrong.expect_problem(401, "unauthenticated");

    let as_reader = "Bearer reader-token";
    let as_writer = "Bearer writer-token";
    let publish = |topic: &str, token: &str| {
        let post = hub.http().post(&format!("/topics/{topic}"), "text/plain", "x").header("Authorization", token);
        post.send()
    };
    publish("public/a", as_reader).await.expect_problem(403, "forbidden");
    publish("public/a", as_writer).await.expect(204);
    publish("private/a", as_writer).await.expect(204);
    let read = |topic: &str| hub.http().get(&format!("/topics/{topic}")).header("Authorization", as_reader).send();
    assert_eq!(read("public/a").await.expect(200).text(), "x");
    read("private/a").await.expect_problem(403, "forbidden");
    let delete = hub.http().delete("/topics/public/a").header("Authorization", as_reader);
    delete.send().await.expect_problem(403, "forbidden");
    let call = hub.http().post("/services/pay", "text/plain", "x").header("Authorization", as_reader);
    call.send().await.expect_problem(403, "forbidden");
}

#[tokio::test]
async fn a_browser_may_put_its_token_into_the_query() {
    let hub = guarded().await;
    let writer = "Bearer writer-token";
    hub.http().post("/topics/public/a", "text/plain", "x").header("Authorization", writer).send().await.expect(204);
    let mut events = Events::open(hub.http().get("/topics/public/a?offset=start&access_token=reader-token")).await;
    assert_eq!(events.next().await.unwrap().data, "x");

    let socket = Socket::open(&hub, "/ws?access_token=reader-token", Some("quintet.v1")).await;
    let mut session = Session::over(socket);
    session.call("subscribe", json!({"filter": "public/#", "since": "start"})).await;
    assert_eq!(session.messages(1).await[0]["data"], "x");
    let refusal = session.refusal("publish", json!({"topic": "public/a", "data": "y"})).await;
    assert_eq!(refusal["type"], "/problems/forbidden");
    let refusal = session.refusal("subscribe", json!({"filter": "#"})).await;
    assert_eq!(refusal["type"], "/problems/forbidden");
    assert!(!hub.log().contains("reader-token"), "the token is in the log");

    match Socket::try_open(&hub, "/ws", Some("quintet.v1"), &[]).await {
        Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => assert_eq!(answer.status(), 401),
        Err(other) => panic!("{other}"),
        Ok(mut socket) => assert!(matches!(socket.next().await, Err(End::Close(4401, _)))),
    }
}

#[tokio::test]
async fn the_listing_shows_what_one_may_read() {
    let hub = guarded().await;
    for topic in ["public/a", "private/a"] {
        let post = hub.http().post(&format!("/topics/{topic}"), "text/plain", "x");
        post.header("Authorization", "Bearer writer-token").send().await.expect(204);
    }
    let list = hub.http().get("/topics").header("Authorization", "Bearer reader-token").send().await;
    assert!(!list.text().contains("private/a"), "{}", list.text());
}

#[tokio::test]
async fn a_foreign_page_is_refused_and_a_foreign_name_too() {
    let hub = Hub::start().await;
    hub.http().publish("a", "x").await;
    let evil = |path: &str| hub.http().get(path).header("Origin", "https://evil.example").send();
    evil("/topics/a").await.expect_problem(403, "foreign-origin");
    let post = hub.http().post("/topics/a", "text/plain", "y").header("Origin", "https://evil.example");
    post.send().await.expect_problem(403, "foreign-origin");
    let rebound =
        raw::exchange(&hub, b"GET /topics/a HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n").await;
    assert_eq!(raw::status(&rebound), 403, "{rebound}");
    let headers = [("origin", "https://evil.example")];
    match Socket::try_open(&hub, "/ws", Some("quintet.v1"), &headers).await {
        Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => assert_eq!(answer.status(), 403),
        other => panic!("{:?}", other.map(|_| "opened")),
    }
    let own = format!("http://127.0.0.1:{}", hub.port);
    let own_page = hub.http().get("/topics/a").header("Origin", &own).send().await.expect(200);
    assert_eq!(own_page.text(), "x");
}

#[tokio::test]
async fn a_page_that_is_allowed_may_read_the_headers_too() {
    let config = "allowed_origins = [\"https://app.example\"]\nallowed_hosts = [\"hub.example\"]\n";
    let hub = Hub::start_with(Options { config: Some(config.to_owned()), ..Options::default() }).await;
    hub.http().publish("a", "x").await;
    let origin = "https://app.example";
    let read = hub.http().get("/topics/a").header("Origin", origin).send().await.expect(200);
    assert_eq!(read.header("access-control-allow-origin"), origin);
    assert!(read.header("access-control-expose-headers").to_lowercase().contains("stream-next-offset"));
    let preflight = hub.http().request(reqwest::Method::OPTIONS, "/topics/a").header("Origin", origin);
    let preflight = preflight.header("Access-Control-Request-Method", "POST");
    let preflight = preflight.header("Access-Control-Request-Headers", "content-type,producer-id").send().await;
    assert!(preflight.status == 200 || preflight.status == 204, "{preflight:?}");
    assert!(preflight.header("access-control-allow-methods").contains("POST"), "{:?}", preflight.headers);
    let named = raw::exchange(&hub, b"GET /topics/a HTTP/1.1\r\nHost: hub.example\r\nConnection: close\r\n\r\n").await;
    assert_eq!(raw::status(&named), 200, "{named}");
}

#[tokio::test]
async fn an_open_address_without_tokens_is_refused() {
    let refused = cli::spawn_at("", &["serve", "--memory", "--listen", "0.0.0.0:0"], b"").output(SOON).await;
    assert!(refused.code.is_some_and(|code| code != 0), "{refused:?}");
    assert!(refused.stderr.contains("--insecure"), "{}", refused.stderr);
    let mut insecure = cli::spawn_at("", &["serve", "--memory", "--listen", "0.0.0.0:0", "--insecure"], b"");
    insecure.lines(1, Duration::from_secs(30)).await;
}

#[tokio::test]
async fn who_is_refused_is_told_in_the_log_but_not_their_token() {
    let hub = guarded().await;
    let as_reader = "Bearer reader-token";
    hub.http().get("/topics/none?x=hidden").send().await.expect(401);
    hub.http().get("/topics").header("Authorization", "Bearer guessed-token").send().await.expect(401);
    hub.http().get("/topics/query?access_token=guessed-token").send().await.expect(401);
    hub.http().post("/topics/short", "text/plain", "x").header("Authorization", as_reader).send().await.expect(403);
    hub.http().put("/groups/g").header("Authorization", as_reader).body("{\"filter\":\"#\"}").send().await.expect(403);
    hub.http().get("/topics/foreign").header("Origin", "https://evil.example").send().await.expect(403);
    let socket = Socket::open(&hub, "/ws?access_token=reader-token", None).await;
    let mut session = Session::over(socket);
    let refusal = session.refusal("publish", json!({ "topic": "frames", "messages": [{ "data": "x" }] })).await;
    assert_eq!(refusal["status"], 403, "{refusal}");
    let told = |parts: &[&str]| {
        let log = hub.log();
        let found = log.lines().any(|line| line.contains("quintet::access") && parts.iter().all(|p| line.contains(p)));
        assert!(found, "{parts:?}\n{log}");
    };
    told(&["unauthenticated", "token=\"none\"", "method=\"GET\"", "path=\"/topics/none\"", "peer=127.0.0.1:"]);
    told(&["unauthenticated", "token=\"wrong\"", "path=\"/topics\"", "peer=127.0.0.1:"]);
    told(&["unauthenticated", "token=\"wrong\"", "path=\"/topics/query\""]);
    told(&["forbidden", "subject=\"anna\"", "operation=\"publish\"", "name=\"short\"", "method=\"POST\"", "peer=127"]);
    told(&["forbidden", "subject=\"anna\"", "operation=\"manage\"", "name=\"#\"", "path=\"/groups/g\""]);
    told(&["foreign-origin", "origin=\"https://evil.example\"", "path=\"/topics/foreign\"", "peer=127.0.0.1:"]);
    told(&["forbidden", "subject=\"anna\"", "operation=\"publish\"", "name=\"frames\"", "path=\"/ws\"", "peer=127"]);
    let log = hub.log();
    assert!(!log.contains("guessed") && !log.contains("reader-token") && !log.contains("hidden"), "{log}");

    for _ in 0..200 {
        hub.http().get("/topics/flood").send().await.expect(401);
    }
    assert!(hub.log().matches("unauthenticated").count() <= 60, "{}", hub.log());
    // A flood of one kind leaves the lines of the others.
    hub.http().post("/topics/after", "text/plain", "x").header("Authorization", as_reader).send().await.expect(403);
    told(&["forbidden", "name=\"after\""]);
}
