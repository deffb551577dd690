//! Tokens, origins and hosts.

use quintet_core::access::{Access, Grant, Operation};
use quintet_core::name::Filter;
use quintet_gateway::auth::Tokens;
use quintet_gateway::origin::OriginRules;

use crate::harness::{CLOSE, Door, Setup, TEXT};

/// SHA-256 of "secret".
const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
const BEARER: (&str, &str) = ("Authorization", "Bearer secret");

async fn guarded() -> Door {
    let filter = |text| Filter::parse(text).unwrap();
    let chat = Grant { operations: vec![Operation::Publish, Operation::Subscribe], filters: vec![filter("chat/#")] };
    let mut setup = Setup::default();
    setup.gateway.tokens = Tokens::new([(SECRET, Access::new("anna", vec![chat]))]).unwrap();
    Door::with(setup).await
}

#[tokio::test]
async fn a_token_opens_what_it_grants() {
    let door = guarded().await;
    let answer = door.get("/topics/chat/a").await;
    answer.is_problem(401, "unauthenticated");
    assert!(answer.header("www-authenticate").starts_with("Bearer"));
    assert!(!answer.header("www-authenticate").contains("error"));
    let answer = door.ask("GET /topics/chat/a", &[("Authorization", "Bearer wrong")], "").await;
    answer.is_problem(401, "unauthenticated");
    assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""));
    door.get("/topics").await.is_problem(401, "unauthenticated");
    door.ask("POST /topics/chat/a", &[TEXT, BEARER], "x").await.is(204);
    door.ask("POST /topics/chat/a?access_token=secret", &[TEXT], "x").await.is(204);
    door.ask("POST /topics/other", &[TEXT, BEARER], "x").await.is_problem(403, "forbidden");
    door.ask("POST /topics/chat/a", &[CLOSE, BEARER], "").await.is_problem(403, "forbidden");
    door.ask("PUT /topics/chat/a", &[BEARER], "").await.is_problem(403, "forbidden");
    door.ask("DELETE /topics/chat/a", &[BEARER], "").await.is_problem(403, "forbidden");
    door.ask("GET /topics/other", &[BEARER], "").await.is_problem(403, "forbidden");
    door.ask("HEAD /topics/other", &[BEARER], "").await.is(403);
    let read = door.get("/topics/chat/a?access_token=secret").await.is(200);
    assert_eq!((read.text(), read.header("cache-control")), ("xx".into(), "private, no-cache".into()));
    for open in ["/", "/health", "/problems/gap"] {
        door.get(open).await.is(200);
    }
}

#[tokio::test]
async fn nothing_but_pages_is_open_without_a_token() {
    let door = guarded().await;
    let closed = [
        "GET /topics",
        "GET /topics/chat/a",
        "HEAD /topics/chat/a",
        "GET /topics/chat/a?offset=now&live=long-poll",
        "GET /topics/chat/a?offset=now&live=sse",
        "POST /topics/chat/a",
        "PUT /topics/chat/a",
        "DELETE /topics/chat/a",
        "OPTIONS /topics/chat/a",
        "PATCH /topics/chat/a",
        "GET /v1/stream/chat/a?offset=-1",
        "POST /v1/stream/chat/a",
        "GET /presence/chat/a",
        "GET /ws",
        "POST /services/echo",
        "GET /services/echo/",
        "GET /services/echo/x",
        "POST /responders/echo/claim",
        "POST /responders/echo/requests/1",
        "POST /responders/echo/requests/1/progress",
        "GET /groups",
        "GET /groups/g",
        "PUT /groups/g",
        "DELETE /groups/g",
        "POST /groups/g/claim",
        "POST /groups/g/ack",
        "POST /groups/g/nack",
        "POST /groups/g/extend",
        "POST /groups/g/redrive",
    ];
    for line in closed {
        let answer = door.ask(line, &[TEXT], if line.starts_with("POST") { "x" } else { "" }).await;
        assert_eq!(answer.status, 401, "{line}");
        let wrong = format!("{line}{}access_token=wrong", if line.contains('?') { '&' } else { '?' });
        assert_eq!(door.ask(&wrong, &[TEXT], "").await.status, 401, "{wrong}");
    }
}

#[tokio::test]
async fn a_listing_shows_what_may_be_read() {
    let door = guarded().await;
    for topic in ["a", "chat/1", "chat/2", "z"] {
        let name = quintet_core::name::TopicName::parse(topic).unwrap();
        let message = quintet_core::message::NewMessage { payload: "x".into(), ..Default::default() };
        door.hub.publish(quintet_core::patterns::publish_subscribe::Publish::new(name, vec![message])).await.unwrap();
    }
    let page = door.ask("GET /topics?limit=1", &[BEARER], "").await.is(200).json();
    assert_eq!((&page["topics"][0]["topic"], &page["next"]), (&"chat/1".into(), &"chat/1".into()));
    let page = door.ask("GET /topics?limit=1&after=chat/1", &[BEARER], "").await.is(200).json();
    assert_eq!((&page["topics"][0]["topic"], &page["next"]), (&"chat/2".into(), &serde_json::Value::Null));
}

#[tokio::test]
async fn foreign_pages_are_refused() {
    let mut setup = Setup::default();
    setup.gateway.origins = OriginRules::new(["https://app.example"], ["hub.example"]);
    let door = Door::with(setup).await;
    let own = format!("http://{}", door.address);
    for (origin, status) in [("https://app.example", 200), (&own, 200), ("https://evil.example", 403), ("null", 403)] {
        let answer = door.ask("GET /topics/a", &[("Origin", origin)], "").await.is(status);
        if status == 200 {
            assert_eq!(answer.header("access-control-allow-origin"), origin);
            assert!(answer.header("access-control-expose-headers").contains("Stream-Next-Offset"));
        } else {
            answer.is_problem(403, "foreign-origin");
            assert!(answer.get("access-control-allow-origin").is_none());
        }
    }
    for (host, status) in [("hub.example:7070", 200), ("localhost", 200), ("evil.example", 403)] {
        door.ask("GET /topics/a", &[("Host", host)], "").await.is(status);
    }
    let embedded = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")];
    door.ask("GET /topics/a", &embedded, "").await.is_problem(403, "foreign-origin");
}

#[tokio::test]
async fn preflights_answer_without_a_token() {
    let door = guarded().await;
    let ask = ["PUT", "GET"];
    for method in ask {
        let headers = [
            ("Origin", "https://evil.example"),
            ("Access-Control-Request-Method", method),
            ("Access-Control-Request-Headers", "authorization, if-none-match"),
        ];
        let answer = door.ask("OPTIONS /topics/chat/a", &headers, "").await.is(204);
        assert_eq!(answer.header("access-control-allow-headers"), "authorization, if-none-match");
        assert!(answer.header("access-control-allow-methods").contains(method));
        assert!(answer.get("access-control-allow-origin").is_none());
    }
    let own = format!("http://{}", door.address);
    let headers = [("Origin", &*own), ("Access-Control-Request-Method", "PUT")];
    let answer = door.ask("OPTIONS /topics/chat/a", &headers, "").await.is(204);
    assert_eq!(answer.header("access-control-allow-origin"), own);
}
