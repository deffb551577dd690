//! Request-response: do this and answer me.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::deadline::{SOON, within};
use crate::harness::http::{Answer, ENVELOPES};
use crate::harness::hub::Hub;
use crate::harness::session::Session;

/// The next request that a responding session is handed.
async fn taken(session: &mut Session) -> Value {
    let frame = session.next().await.unwrap();
    frame.get("request").unwrap_or_else(|| panic!("not a request: {frame}")).clone()
}

async fn responder(hub: &Hub, service: &str, concurrency: u64) -> Session {
    let mut session = Session::open(hub).await;
    session.call("respond", json!({"service": service, "concurrency": concurrency})).await;
    session
}

fn call(hub: &Hub, path: &str, body: &str) -> tokio::task::JoinHandle<Answer> {
    tokio::spawn(hub.http().post(path, "text/plain", body.to_owned()).send())
}

#[tokio::test]
async fn a_request_reaches_the_responder_whole_and_so_does_the_reply() {
    let hub = Hub::start().await;
    let mut session = responder(&hub, "echo", 8).await;
    let request = hub.http().request(Method::PATCH, "/services/echo/a/b%20c?x=1&y=%2F");
    let request = request.header("Content-Type", "application/json").header("X-Colour", "blue");
    let waiting = tokio::spawn(request.body(r#"{"n":1}"#).send());
    let taken = taken(&mut session).await;
    assert_eq!((&taken["service"], &taken["method"]), (&json!("echo"), &json!("PATCH")), "{taken}");
    assert_eq!((&taken["path"], &taken["query"]), (&json!("/a/b%20c"), &json!("x=1&y=%2F")), "{taken}");
    assert_eq!((&taken["headers"]["x-colour"], &taken["data"]), (&json!("blue"), &json!({"n": 1})), "{taken}");
    assert_eq!(taken["attempt"], 1);
    assert!(taken["wait"].as_f64().is_some_and(|wait| wait > 20.0 && wait <= 30.0), "{taken}");
    let reply = json!({"request": taken["id"], "status": 418, "headers": {"x-taste": "mint"}, "type": "text/plain", "data": "tea"});
    session.call("reply", reply.clone()).await;
    let answer = waiting.await.unwrap().expect(418);
    assert_eq!((answer.text().as_str(), answer.header("x-taste")), ("tea", "mint"));
    assert_eq!(answer.header("content-type"), "text/plain");
    assert_eq!(session.refusal("reply", reply).await["type"], "/problems/request-not-found");
}

#[tokio::test]
async fn nobody_there_is_503_at_once() {
    let hub = Hub::start().await;
    let answer = call(&hub, "/services/nobody", "?").await.unwrap();
    answer.expect_problem(503, "no-responder");
    let session = responder(&hub, "brief", 1).await;
    drop(session);
    // The hub learns of the lost connection in its own time.
    let gone =
        async { while call(&hub, "/services/brief", "?").await.unwrap().json()["type"] != "/problems/no-responder" {} };
    within(SOON, "the lost responder to be forgotten", gone).await;
}

#[tokio::test]
async fn a_deadline_is_504_and_the_responder_learns_of_it() {
    let hub = Hub::start().await;
    let mut session = responder(&hub, "slow", 8).await;
    let request = hub.http().post("/services/slow", "text/plain", "?").header("Prefer", "wait=1");
    let waiting = tokio::spawn(request.send());
    let taken = taken(&mut session).await;
    assert!(taken["wait"].as_f64().is_some_and(|wait| wait <= 1.0), "{taken}");
    waiting.await.unwrap().expect_problem(504, "deadline");
    let cancel = session.next().await.unwrap();
    assert_eq!(cancel["cancel"]["request"], taken["id"], "{cancel}");
}

#[tokio::test]
async fn a_caller_that_leaves_is_a_cancel_too() {
    let hub = Hub::start().await;
    let mut session = responder(&hub, "slow", 8).await;
    let waiting = call(&hub, "/services/slow", "?");
    let taken = taken(&mut session).await;
    waiting.abort();
    let cancel = session.next().await.unwrap();
    assert_eq!(cancel["cancel"]["request"], taken["id"], "{cancel}");
}

#[tokio::test]
async fn a_lost_responder_is_502_and_what_it_had_not_begun_goes_to_another() {
    let hub = Hub::start().await;
    let mut first = responder(&hub, "work", 1).await;
    let in_hand = call(&hub, "/services/work", "in hand");
    taken(&mut first).await;
    let mut second = responder(&hub, "work", 1).await;
    let busy = call(&hub, "/services/work", "busy");
    let busy_request = taken(&mut second).await;
    // Both have their hands full, so this one waits.
    let queued = call(&hub, "/services/work", "queued");
    drop(first);
    in_hand.await.unwrap().expect_problem(502, "responder-lost");
    second.call("reply", json!({"request": busy_request["id"], "status": 200, "data": "first"})).await;
    let queued_request = taken(&mut second).await;
    assert_eq!(queued_request["data"], "queued");
    second.call("reply", json!({"request": queued_request["id"], "status": 200, "data": "done"})).await;
    assert_eq!(busy.await.unwrap().expect(200).text(), "first");
    assert_eq!(queued.await.unwrap().expect(200).text(), "done");
}

#[tokio::test]
async fn a_keyed_request_survives_its_responder() {
    let hub = Hub::start().await;
    let mut first = responder(&hub, "pay", 1).await;
    let mut second = responder(&hub, "pay", 1).await;
    let request = hub.http().post("/services/pay", "text/plain", "10").header("Idempotency-Key", "k1");
    let waiting = tokio::spawn(request.send());
    let (held, mut other) = tokio::select! {
        frame = first.next() => { assert_eq!(frame.unwrap()["request"]["attempt"], 1); (first, second) }
        frame = second.next() => { assert_eq!(frame.unwrap()["request"]["attempt"], 1); (second, first) }
    };
    drop(held);
    let again = taken(&mut other).await;
    assert_eq!((&again["attempt"], &again["data"]), (&json!(2), &json!("10")));
    other.call("reply", json!({"request": again["id"], "status": 201, "data": "paid"})).await;
    assert_eq!(waiting.await.unwrap().expect(201).text(), "paid");
}

#[tokio::test]
async fn the_same_key_returns_the_stored_reply() {
    let hub = Hub::start().await;
    let mut session = responder(&hub, "pay", 8).await;
    let pay =
        |body: &str| hub.http().post("/services/pay", "text/plain", body.to_owned()).header("Idempotency-Key", "k");
    let first = tokio::spawn(pay("10").send());
    let taken = taken(&mut session).await;
    let in_flight = tokio::spawn(pay("10").send());
    session
        .call("reply", json!({"request": taken["id"], "status": 201, "headers": {"x-a": "b"}, "data": "paid"}))
        .await;
    let first = first.await.unwrap().expect(201);
    assert_eq!((first.text().as_str(), first.header("idempotent-replayed")), ("paid", ""));
    for replay in [in_flight.await.unwrap(), pay("10").send().await] {
        let replay = replay.expect(201);
        assert_eq!((replay.text().as_str(), replay.header("x-a")), ("paid", "b"));
        assert_eq!(replay.header("idempotent-replayed"), "true");
    }
    pay("11").send().await.expect_problem(422, "idempotency-key-reused");
    // Nothing of that reached the responder again.
    let probe = call(&hub, "/services/pay", "probe");
    let next = self::taken(&mut session).await;
    assert_eq!(next["data"], "probe");
    session.call("reply", json!({"request": next["id"], "status": 200, "data": ""})).await;
    probe.await.unwrap().expect(200);
}

#[tokio::test]
async fn an_accepted_request_answers_on_a_topic_of_its_own() {
    let hub = Hub::start().await;
    let mut session = responder(&hub, "render", 8).await;
    let request = hub.http().post("/services/render", "text/plain", "scene").header("Prefer", "respond-async");
    let accepted = request.send().await.expect(202);
    assert!(accepted.header("preference-applied").contains("respond-async"), "{:?}", accepted.headers);
    let location = accepted.header("location").to_owned();
    assert!(location.contains("/topics/$replies/") || location.contains("/topics/%24replies/"), "{location}");
    let path = location.split_once("/topics/").map(|(_, name)| format!("/topics/{name}")).unwrap();
    let waiting =
        tokio::spawn(hub.http().get(&format!("{path}?offset=start&live=long-poll")).header("Accept", ENVELOPES).send());
    let taken = taken(&mut session).await;
    session.call("progress", json!({"request": taken["id"], "data": "50 %"})).await;
    let progress = waiting.await.unwrap().expect(200);
    assert_eq!(progress.json()[0]["data"], "50 %");
    assert_eq!(progress.json()[0]["headers"]["kind"], "progress");
    let next = progress.header("stream-next-offset").to_owned();
    let waiting = tokio::spawn(
        hub.http().get(&format!("{path}?offset={next}&live=long-poll")).header("Accept", ENVELOPES).send(),
    );
    session
        .call("reply", json!({"request": taken["id"], "status": 201, "headers": {"x-a": "b"}, "data": "image"}))
        .await;
    let reply = waiting.await.unwrap().expect(200);
    assert_eq!(reply.json()[0]["data"], "image");
    let headers = reply.json()[0]["headers"].clone();
    assert_eq!(headers, json!({"kind": "reply", "status": "201", "reply-x-a": "b"}));
    let end = hub.http().get(&format!("{path}?offset={}", reply.header("stream-next-offset"))).send().await.expect(200);
    assert_eq!(end.header("stream-closed"), "true");
}

#[tokio::test]
async fn requests_are_shared_out_and_never_beyond_the_concurrency() {
    let hub = Hub::start().await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(responder(&hub, "pool", 2).await);
    }
    let calls: Vec<_> = (0..60).map(|n| call(&hub, "/services/pool", &n.to_string())).collect();
    let serving = sessions.into_iter().map(|session| tokio::spawn(serve(session, 2)));
    let serving: Vec<_> = serving.collect();
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap().expect(200).text(), n.to_string());
    }
    drop(hub);
    let mut total = 0;
    for task in serving {
        let served = task.await.unwrap();
        assert!(served > 0, "one responder of three got nothing");
        total += served;
    }
    assert_eq!(total, 60);
}

/// Answers until the hub is gone, two at a time; how many.
async fn serve(mut session: Session, concurrency: usize) -> usize {
    let (mut in_hand, mut served) = (Vec::new(), 0);
    loop {
        let Ok(frame) = session.next().await else { return served };
        let Some(request) = frame.get("request").cloned() else { return served };
        in_hand.push(request);
        assert!(in_hand.len() <= concurrency, "{} at once", in_hand.len());
        let request = in_hand.remove(0);
        session.call("reply", json!({"request": request["id"], "status": 200, "data": request["data"]})).await;
        served += 1;
    }
}

#[tokio::test]
async fn a_responder_with_nothing_but_http() {
    let hub = Hub::start().await;
    let claim = |wait: u64| hub.http().request(Method::POST, &format!("/responders/shell/claim?wait={wait}"));
    claim(0).send().await.expect(204);
    // A service that was attended a moment ago queues its requests.
    let request = hub.http().request(Method::PUT, "/services/shell/x/y?q=1").header("X-Colour", "red");
    let waiting = tokio::spawn(request.header("Content-Type", "text/plain").body("work").send());
    let claimed = claim(30).send().await.expect(200);
    assert_eq!((claimed.text().as_str(), claimed.header("content-type")), ("work", "text/plain"));
    assert_eq!((claimed.header("request-method"), claimed.header("request-path")), ("PUT", "/x/y"));
    assert_eq!((claimed.header("request-query"), claimed.header("request-attempt")), ("q=1", "1"));
    assert_eq!(claimed.header("request-header-x-colour"), "red");
    assert!(claimed.header("request-deadline").parse::<f64>().is_ok_and(|left| left > 0.0));
    let path = format!("/responders/shell/requests/{}", claimed.header("request-id"));
    let reply =
        || hub.http().post(&path, "text/plain", "done").header("Reply-Status", "202").header("Reply-Header-X-A", "b");
    reply().send().await.expect(204);
    let answer = waiting.await.unwrap().expect(202);
    assert_eq!((answer.text().as_str(), answer.header("x-a")), ("done", "b"));
    reply().send().await.expect_problem(404, "request-not-found");
}

#[tokio::test]
async fn a_session_can_call_as_well() {
    let hub = Hub::start().await;
    let mut serving = responder(&hub, "sum", 1).await;
    let mut caller = Session::open(&hub).await;
    let asked = tokio::spawn(async move {
        caller.call("request", json!({"service": "sum", "data": [1, 2], "path": "/add", "wait": 20})).await
    });
    let taken = taken(&mut serving).await;
    assert_eq!((&taken["data"], &taken["path"]), (&json!([1, 2]), &json!("/add")));
    serving.call("reply", json!({"request": taken["id"], "status": 200, "data": 3})).await;
    let ok = asked.await.unwrap();
    assert_eq!((&ok["status"], &ok["data"]), (&json!(200), &json!(3)));
    let mut lonely = Session::open(&hub).await;
    let refusal = lonely.refusal("request", json!({"service": "none", "data": 1})).await;
    assert_eq!(refusal["type"], "/problems/no-responder");
}

#[tokio::test]
async fn many_requests_at_once_each_get_their_own_reply() {
    let hub = Hub::start().await;
    let mut session = responder(&hub, "echo", 512).await;
    let serving = tokio::spawn(async move {
        for _ in 0..500 {
            let request = taken(&mut session).await;
            let reply = json!({"request": request["id"], "status": 200, "data": request["data"]});
            session.call("reply", reply).await;
        }
    });
    let calls: Vec<_> = (0..500).map(|n| call(&hub, "/services/echo", &n.to_string())).collect();
    for (n, call) in calls.into_iter().enumerate() {
        let answer = within(Duration::from_secs(60), "a reply", call).await.unwrap();
        assert_eq!(answer.expect(200).text(), n.to_string());
    }
    serving.await.unwrap();
}
