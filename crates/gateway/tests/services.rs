//! Request-response over real sockets: callers at `/services/…`, responders at `/responders/…` with nothing but plain
//! HTTP, and in-process ones where a connection's end matters.
#![allow(clippy::unwrap_used, reason = "a test says by panicking that it failed")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quintet_core::access::{Access, Grant, Operation};
use quintet_core::cursor::LogId;
use quintet_core::engine::memory::MemoryEngine;
use quintet_core::hub::{Hub, HubConfig};
use quintet_core::limits::Limits;
use quintet_core::name::{Filter, ServiceName};
use quintet_core::patterns::request_response::responder::Event;
use quintet_gateway::auth::Tokens;
use quintet_gateway::config::GatewayConfig;
use quintet_gateway::http::router;
use quintet_gateway::serve::{ServeConfig, serve};
use quintet_gateway::state::Gateway;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

/// A hub behind its doors, and a client.
struct Server {
    hub: Arc<Hub>,
    gateway: Gateway,
    url: String,
    client: Client,
}

impl Server {
    async fn start() -> Self {
        Self::with(GatewayConfig::default()).await
    }

    async fn with(config: GatewayConfig) -> Self {
        let engine = Arc::new(MemoryEngine::new(LogId(1), Limits::default()));
        let hub = Hub::start(HubConfig::new(engine)).unwrap();
        let gateway = Gateway::new(Arc::clone(&hub), config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        // With the whole workspace, reqwest is built with TLS and wants to know whose. Only the first has to say it.
        drop(tokio_rustls::rustls::crypto::ring::default_provider().install_default());
        let shutdown = gateway.shutdown().clone();
        tokio::spawn(serve(listener, router(gateway.clone()), shutdown, ServeConfig::default()));
        Self { hub, gateway, url, client: Client::new() }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url)).timeout(PATIENCE)
    }

    fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    /// Makes a service attended, as a responder's first claim does.
    async fn attend(&self, service: &str) {
        let claim = self.post(&format!("/responders/{service}/claim?wait=0")).send().await.unwrap();
        assert_eq!(claim.status(), StatusCode::NO_CONTENT);
    }

    async fn claim(&self, service: &str) -> Claimed {
        let response = self.post(&format!("/responders/{service}/claim?wait=5")).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        Claimed { headers: response.headers().clone(), body: response.bytes().await.unwrap() }
    }

    /// What a shell script does: claim, answer, again and again.
    fn shell_responder(&self, service: &'static str) -> JoinHandle<()> {
        let (client, url) = (self.client.clone(), self.url.clone());
        tokio::spawn(async move {
            loop {
                let claim = client.post(format!("{url}/responders/{service}/claim?wait=5")).send().await.unwrap();
                if claim.status() != StatusCode::OK {
                    continue;
                }
                let header = |name: &str| claim.headers().get(name).unwrap().to_str().unwrap().to_owned();
                let (id, path) = (header("request-id"), header("request-path"));
                let body = [path.as_bytes(), b" ", &claim.bytes().await.unwrap()].concat();
                let reply = client.post(format!("{url}/responders/{service}/requests/{id}")).body(body);
                assert_eq!(reply.send().await.unwrap().status(), StatusCode::NO_CONTENT);
            }
        })
    }
}

struct Claimed {
    headers: HeaderMap,
    body: Bytes,
}

impl Claimed {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn reply_path(&self, service: &str) -> String {
        format!("/responders/{service}/requests/{}", self.header("request-id"))
    }
}

fn send(request: RequestBuilder) -> JoinHandle<Response> {
    tokio::spawn(async move { request.send().await.unwrap() })
}

async fn check_problem(response: Response, status: u16, slug: &str) {
    assert_eq!(response.status().as_u16(), status);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let body = response.text().await.unwrap();
    assert!(body.contains(&format!("\"/problems/{slug}\"")), "{body}");
}

#[tokio::test]
async fn a_shell_script_can_be_a_responder() {
    let server = Server::start().await;
    server.attend("echo").await;
    let responder = server.shell_responder("echo");
    for i in 0..20 {
        let response = server.post(&format!("/services/echo/n/{i}")).body("hello").send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.text().await.unwrap(), format!("/n/{i} hello"));
    }
    responder.abort();
}

/// The script in the docs, as it stands there.
#[tokio::test]
async fn the_documented_shell_responder_works() {
    let docs = include_str!("../../../docs/patterns/request_response.md");
    let (_, script) = docs.split_once("```shell\n#!/bin/sh\n").expect("the docs hold a script");
    let (script, _) = script.split_once("```").expect("the script ends");
    let server = Server::start().await;
    let script = script.replace("http://127.0.0.1:7070", &server.url);
    let mut shell = tokio::process::Command::new("sh").arg("-c").arg(script).kill_on_drop(true).spawn().unwrap();
    let service = ServiceName::parse("capitals").unwrap();
    timeout(PATIENCE, async {
        while !server.hub.is_attended(&service) {
            assert!(shell.try_wait().unwrap().is_none(), "the script ended; it needs curl");
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    for (body, capitals) in [("hello", "HELLO"), ("two\nlines", "TWO\nLINES"), ("", "")] {
        let reply = server.post("/services/capitals").body(body).send().await.unwrap();
        assert_eq!(reply.status(), StatusCode::OK);
        assert_eq!(reply.text().await.unwrap(), capitals);
    }
}

#[tokio::test]
async fn a_request_crosses_as_it_is_and_so_does_its_reply() {
    let server = Server::start().await;
    server.attend("echo").await;
    let request = server
        .request(Method::PUT, "/services/echo/a%2Fb/c?x=1%202&access_token=secret&y")
        .header("authorization", "Bearer secret")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("x-kept", "yes")
        .header("prefer", "wait=7")
        .body("a=b");
    let answer = send(request);
    let claimed = server.claim("echo").await;
    assert_eq!(&claimed.body[..], b"a=b");
    assert_eq!(claimed.header("content-type"), "application/x-www-form-urlencoded");
    assert_eq!(claimed.header("request-method"), "PUT");
    assert_eq!(claimed.header("request-path"), "/a%2Fb/c");
    assert_eq!(claimed.header("request-query"), "x=1%202&y");
    assert_eq!(claimed.header("request-attempt"), "1");
    let left: f64 = claimed.header("request-deadline").parse().unwrap();
    assert!(left > 0.0 && left <= 7.0, "{left}");
    assert_eq!(claimed.header("request-header-x-kept"), "yes");
    for name in ["authorization", "x-hop", "connection", "host", "content-length", "prefer"] {
        assert_eq!(claimed.header(&format!("request-header-{name}")), "", "{name}");
    }
    let reply = server
        .post(&claimed.reply_path("echo"))
        .header("reply-status", "201")
        .header("reply-header-location", "/made")
        .header("reply-header-transfer-encoding", "chunked")
        .header("content-type", "text/csv")
        .body("1,2");
    assert_eq!(reply.send().await.unwrap().status(), StatusCode::NO_CONTENT);
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    assert_eq!(answer.headers()["location"], "/made");
    assert_eq!(answer.headers()["content-type"], "text/csv");
    assert_eq!(answer.headers()["preference-applied"], "wait=7");
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    assert_eq!(answer.text().await.unwrap(), "1,2");
    // It has its answer.
    check_problem(server.post(&claimed.reply_path("echo")).send().await.unwrap(), 404, "request-not-found").await;
}

#[tokio::test]
async fn form_data_from_a_responder_is_what_curl_says_of_text() {
    let server = Server::start().await;
    server.attend("echo").await;
    let answer = send(server.get("/services/echo"));
    let claimed = server.claim("echo").await;
    assert_eq!(claimed.header("request-path"), "/");
    let form = server.post(&claimed.reply_path("echo")).header("content-type", "application/x-www-form-urlencoded");
    form.body("plain").send().await.unwrap();
    assert_eq!(answer.await.unwrap().headers()["content-type"], "text/plain");
}

#[tokio::test]
async fn replies_to_head_and_replies_without_content_have_no_body() {
    let server = Server::start().await;
    server.attend("echo").await;
    let answer = send(server.request(Method::HEAD, "/services/echo/x"));
    let claimed = server.claim("echo").await;
    assert_eq!(claimed.header("request-method"), "HEAD");
    let reply = server.post(&claimed.reply_path("echo")).header("reply-header-content-type", "image/png");
    reply.send().await.unwrap();
    let answer = answer.await.unwrap();
    assert_eq!((answer.status(), &answer.headers()["content-type"]), (StatusCode::OK, &"image/png".parse().unwrap()));
    assert!(!answer.headers().contains_key("content-length"), "what a GET would give is not known");
    assert!(answer.bytes().await.unwrap().is_empty());
    let answer = send(server.get("/services/echo/x"));
    let claimed = server.claim("echo").await;
    server.post(&claimed.reply_path("echo")).header("reply-status", "204").body("ignored").send().await.unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    // The connection is still in step.
    assert_eq!(server.get("/health").send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn what_goes_wrong_is_said() {
    let server = Server::start().await;
    check_problem(server.get("/services/nobody/x").send().await.unwrap(), 503, "no-responder").await;
    check_problem(server.get("/services/$x/y").send().await.unwrap(), 400, "bad-name").await;
    server.attend("slow").await;
    let request = server.get("/services/slow").header("prefer", "wait=1");
    check_problem(request.send().await.unwrap(), 504, "deadline").await;
    let key = server.get("/services/slow").header("idempotency-key", "a b");
    check_problem(key.send().await.unwrap(), 400, "bad-header").await;
    let big = server.post("/services/slow").body(vec![0; (8 << 20) + 1]);
    check_problem(big.send().await.unwrap(), 413, "too-large").await;
    check_problem(server.get("/responders/slow/claim").send().await.unwrap(), 405, "method-not-allowed").await;
    let unknown = server.post("/responders/slow/requests/0123/progress").body("x");
    check_problem(unknown.send().await.unwrap(), 404, "request-not-found").await;
    let answer = send(server.get("/services/slow"));
    let claimed = server.claim("slow").await;
    let bad = server.post(&claimed.reply_path("slow")).header("reply-status", "101");
    check_problem(bad.send().await.unwrap(), 400, "bad-header").await;
    // Knowing the id is not enough at another service.
    check_problem(server.post(&claimed.reply_path("other")).send().await.unwrap(), 404, "request-not-found").await;
    assert_eq!(server.post(&claimed.reply_path("slow")).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(answer.await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_key_gives_its_reply_again_and_runs_nothing() {
    let server = Server::start().await;
    server.attend("pay").await;
    let pay = |body: &'static str| server.post("/services/pay").header("idempotency-key", "\"k1\"").body(body);
    let first = send(pay("10"));
    let claimed = server.claim("pay").await;
    assert_eq!(claimed.header("request-header-idempotency-key"), "\"k1\"");
    // In flight it is waited for.
    let second = send(pay("10"));
    let reply = server.post(&claimed.reply_path("pay")).header("reply-status", "201").body("paid");
    assert_eq!(reply.send().await.unwrap().status(), StatusCode::NO_CONTENT);
    let first = first.await.unwrap();
    assert!(first.headers().get("idempotent-replayed").is_none());
    for again in [second.await.unwrap(), pay("10").send().await.unwrap()] {
        assert_eq!(again.status(), StatusCode::CREATED);
        assert_eq!(again.headers()["idempotent-replayed"], "true");
        assert_eq!(again.text().await.unwrap(), "paid");
    }
    check_problem(pay("11").send().await.unwrap(), 422, "idempotency-key-reused").await;
    let claim = server.post("/responders/pay/claim?wait=0").send().await.unwrap();
    assert_eq!(claim.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_reply_can_come_on_a_topic() {
    let server = Server::start().await;
    server.attend("jobs").await;
    let request = server.post("/services/jobs").header("prefer", "Respond-Async, wait=0").body("go");
    let accepted = request.send().await.unwrap();
    assert_eq!(accepted.status(), StatusCode::ACCEPTED);
    assert_eq!(accepted.headers()["preference-applied"], "respond-async, wait=0");
    let location = accepted.headers()["location"].to_str().unwrap().to_owned();
    assert!(location.starts_with("/topics/$replies/"), "{location}");
    let claimed = server.claim("jobs").await;
    for step in ["1 of 2", "2 of 2"] {
        let progress = server.post(&format!("{}/progress", claimed.reply_path("jobs"))).body(step);
        assert_eq!(progress.send().await.unwrap().status(), StatusCode::NO_CONTENT);
    }
    let half = server.get(&format!("{location}?offset=-1&live=long-poll"));
    let half = half.header("accept", "application/vnd.quintet.messages+json").send().await.unwrap();
    assert!(half.headers().get("stream-closed").is_none());
    assert_eq!(half.text().await.unwrap().matches("\"kind\":\"progress\"").count(), 2);
    let reply = server.post(&claimed.reply_path("jobs")).header("content-type", "application/json").body("{\"n\":2}");
    assert_eq!(reply.send().await.unwrap().status(), StatusCode::NO_CONTENT);
    let all = timeout(PATIENCE, async {
        loop {
            let read = server.get(&location).header("accept", "application/vnd.quintet.messages+json");
            let read = read.send().await.unwrap();
            if read.headers().get("stream-closed").is_some() {
                return read.text().await.unwrap();
            }
        }
    });
    let all = all.await.unwrap();
    assert!(
        all.contains("\"kind\":\"reply\"") && all.contains("\"status\":\"200\"") && all.contains("{\"n\":2}"),
        "{all}"
    );
}

#[tokio::test]
async fn a_caller_that_hangs_up_is_gone() {
    let server = Server::start().await;
    let service = ServiceName::parse("echo").unwrap();
    let mut responder = server.hub.respond(&service, 1, "test").unwrap();
    let answer = send(server.get("/services/echo"));
    let Some(Event::Request(incoming)) = timeout(PATIENCE, responder.next()).await.unwrap() else { panic!("nothing") };
    answer.abort();
    let next = timeout(PATIENCE, responder.next()).await.unwrap();
    assert!(matches!(next, Some(Event::Cancelled(id)) if id == incoming.id), "{next:?}");
}

#[tokio::test]
async fn a_responder_that_is_lost_is_a_bad_gateway() {
    let server = Server::start().await;
    let service = ServiceName::parse("echo").unwrap();
    let mut responder = server.hub.respond(&service, 1, "test").unwrap();
    let answer = send(server.get("/services/echo"));
    assert!(timeout(PATIENCE, responder.next()).await.unwrap().is_some());
    drop(responder);
    check_problem(answer.await.unwrap(), 502, "responder-lost").await;
}

#[tokio::test]
async fn tokens_bind_callers_and_responders_to_services() {
    let token = |secret: &str, subject: &str, operation| {
        let digest: String = Sha256::digest(secret).iter().map(|byte| format!("{byte:02x}")).collect();
        let grant = Grant { operations: vec![operation], filters: vec![Filter::parse("echo").unwrap()] };
        (digest, Access::new(subject, vec![grant]))
    };
    let tokens = [token("call", "anna", Operation::Request), token("serve", "worker", Operation::Respond)];
    let tokens = Tokens::new(tokens).unwrap();
    let server = Server::with(GatewayConfig { tokens, ..GatewayConfig::default() }).await;
    check_problem(server.get("/services/echo").send().await.unwrap(), 401, "unauthenticated").await;
    let serving = |path: &str| server.post(path).bearer_auth("serve");
    assert_eq!(serving("/responders/echo/claim?wait=0").send().await.unwrap().status(), StatusCode::NO_CONTENT);
    check_problem(serving("/responders/other/claim").send().await.unwrap(), 403, "forbidden").await;
    check_problem(serving("/services/echo").send().await.unwrap(), 403, "forbidden").await;
    let claim = server.post("/responders/echo/claim").bearer_auth("call");
    check_problem(claim.send().await.unwrap(), 403, "forbidden").await;
    let answer = send(server.get("/services/echo?access_token=call"));
    let claimed = serving("/responders/echo/claim").send().await.unwrap();
    assert_eq!(claimed.headers()["request-query"], "");
    let id = claimed.headers()["request-id"].to_str().unwrap().to_owned();
    let reply = server.post(&format!("/responders/echo/requests/{id}")).bearer_auth("call");
    check_problem(reply.send().await.unwrap(), 403, "forbidden").await;
    serving(&format!("/responders/echo/requests/{id}")).send().await.unwrap();
    assert_eq!(answer.await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn when_the_doors_close_claims_end() {
    let server = Server::start().await;
    let claim = send(server.post("/responders/echo/claim?wait=8"));
    let service = ServiceName::parse("echo").unwrap();
    timeout(PATIENCE, async {
        while !server.hub.is_attended(&service) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    server.gateway.shutdown().begin();
    check_problem(claim.await.unwrap(), 503, "shutting-down").await;
}
