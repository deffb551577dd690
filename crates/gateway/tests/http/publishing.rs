//! POST: messages, batches, producers, closure.

use quintet_core::cursor::Since;
use quintet_core::following::Selection;
use quintet_core::name::Filter;

use crate::harness::{CLOSE, DEADLINE, Door, ENVELOPES, JSON, Setup, TEXT};

#[tokio::test]
async fn publishing_creates_under_topics_only() {
    let door = Door::open().await;
    door.ask("POST /v1/stream/a", &[TEXT], "x").await.is_problem(404, "topic-not-found");
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    door.ask("POST /topics/a", &[form], "x=1").await.is(204);
    assert_eq!(door.get("/topics/a").await.is(200).header("content-type"), "text/plain");
    door.ask("POST /topics/b", &[], "x").await.is(204);
    assert_eq!(door.get("/topics/b").await.is(200).header("content-type"), "application/octet-stream");
    door.ask("POST /topics/$sys", &[TEXT], "x").await.is_problem(403, "forbidden");
    let mut setup = Setup::default();
    setup.gateway.create_on_publish = false;
    Door::with(setup).await.ask("POST /topics/a", &[TEXT], "x").await.is_problem(404, "topic-not-found");
}

#[tokio::test]
async fn a_strict_topic_keeps_its_type() {
    let door = Door::open().await;
    door.ask("PUT /v1/stream/a", &[TEXT], "").await.is(201);
    door.ask("POST /v1/stream/a", &[], "x").await.is_problem(400, "bad-header");
    door.ask("POST /v1/stream/a", &[JSON], "{}").await.is_problem(409, "content-type-mismatch");
    door.ask("POST /v1/stream/a", &[JSON], "{").await.is_problem(409, "content-type-mismatch");
    door.ask("POST /v1/stream/a", &[TEXT], "").await.is_problem(400, "empty-body");
    door.ask("POST /v1/stream/none", &[TEXT], "").await.is_problem(404, "topic-not-found");
    door.ask("POST /v1/stream/a", &[("Content-Type", "text/plain; charset=utf-8")], "x").await.is(204);
}

#[tokio::test]
async fn json_is_taken_apart_and_put_together() {
    let door = Door::open().await;
    door.ask("POST /topics/j", &[JSON], r#" [ {"a": 1.0}, [2] , "x" ] "#).await.is(204);
    door.ask("POST /topics/j", &[JSON], "null").await.is(204);
    assert_eq!(door.get("/topics/j").await.is(200).text(), r#"[{"a": 1.0},[2],"x",null]"#);
    door.ask("POST /topics/j", &[JSON], "[]").await.is_problem(400, "empty-body");
    for bad in ["{", "[1,]", "1 2", "\u{feff}1"] {
        door.ask("POST /topics/j", &[JSON], bad).await.is_problem(400, "bad-json");
    }
    door.ask("POST /topics/j", &[JSON], b"\"\xff\"".to_vec()).await.is_problem(400, "bad-json");
    let many = format!("[{}1]", "1,".repeat(10_000));
    door.ask("POST /topics/j", &[JSON], many).await.is_problem(413, "too-large");
}

#[tokio::test]
async fn headers_travel_with_the_message() {
    let door = Door::open().await;
    let headers = [TEXT, ("Quintet-Header-Trace", "1"), ("quintet-header-TRACE", "2"), ("Quintet-Header-B", "ü")];
    door.ask("POST /topics/h", &headers, "x").await.is(204);
    let envelopes = door.ask("GET /topics/h", &[ENVELOPES], "").await.is(200).json();
    assert_eq!(envelopes[0]["headers"], serde_json::json!({"trace": "1, 2", "b": "ü"}));
    assert_eq!((&envelopes[0]["data"], &envelopes[0]["type"]), (&"x".into(), &"text/plain".into()));
    let long = "x".repeat(17 * 1024);
    door.ask("POST /topics/h", &[TEXT, ("Quintet-Header-A", &long)], "x").await.is_problem(413, "too-large");
}

#[tokio::test]
async fn producers_publish_exactly_once() {
    let door = Door::open().await;
    let step = async |epoch: &str, seq: &str| {
        let headers = [TEXT, ("Producer-Id", "p"), ("Producer-Epoch", epoch), ("Producer-Seq", seq)];
        door.ask("POST /topics/p", &headers, "x").await
    };
    let first = step("0", "0").await.is(200);
    assert_eq!((first.header("producer-epoch"), first.header("producer-seq")), ("0".into(), "0".into()));
    let again = step("0", "0").await.is(204);
    assert_eq!(again.header("producer-seq"), "0");
    let gap = step("0", "2").await;
    assert_eq!(gap.is_problem(409, "producer-gap")["expected"], 1);
    assert_eq!((gap.header("producer-expected-seq"), gap.header("producer-received-seq")), ("1".into(), "2".into()));
    step("1", "1").await.is_problem(400, "bad-producer-sequence");
    step("1", "0").await.is(200);
    let stale = step("0", "1").await;
    assert_eq!(stale.is_problem(403, "stale-producer-epoch")["epoch"], 1);
    assert_eq!(stale.header("producer-epoch"), "1");
    for bad in ["-1", "1.0", "x", "9007199254740992"] {
        step("0", bad).await.is_problem(400, "bad-header");
    }
    door.ask("POST /topics/p", &[TEXT, ("Producer-Id", "p")], "x").await.is_problem(400, "bad-header");
    assert_eq!(door.get("/topics/p").await.text(), "xx");
}

#[tokio::test]
async fn too_many_producers_are_refused() {
    let mut setup = Setup::default();
    setup.limits.producers_per_topic = 1;
    let door = Door::with(setup).await;
    let step = |id| [TEXT, ("Producer-Id", id), ("Producer-Epoch", "0"), ("Producer-Seq", "0")];
    door.ask("POST /topics/p", &step("a"), "x").await.is(200);
    let answer = door.ask("POST /topics/p", &step("b"), "x").await;
    answer.is_problem(429, "too-many");
    answer.header("retry-after");
}

#[tokio::test]
async fn a_message_id_is_published_once() {
    let door = Door::open().await;
    for (topic, headers) in [("/topics/m", &[TEXT][..]), ("/v1/stream/n", &[TEXT])] {
        door.ask(&format!("PUT {topic}"), headers, "").await.is(201);
        let send = async |id: &str, body: &str| {
            let headers = [headers, &[("Message-Id", id)]].concat();
            door.ask(&format!("POST {topic}"), &headers, body).await
        };
        let first = send("a", "1").await.is(200).header("stream-next-offset");
        send("b", "2").await.is(200);
        door.ask(&format!("POST {topic}"), headers, "3").await.is(204);
        assert_eq!(send("a", "1").await.is(204).header("stream-next-offset"), first, "as the first one");
        let closing = [TEXT, CLOSE, ("Message-Id", "c")];
        let closed = door.ask(&format!("POST {topic}"), &closing, "4").await.is(200);
        let again = door.ask(&format!("POST {topic}"), &closing, "4").await.is(204);
        assert_eq!(again.header("stream-next-offset"), closed.header("stream-next-offset"));
        assert_eq!(again.header("stream-closed"), "true");
        assert_eq!(send("a", "1").await.is(204).header("stream-closed"), "true");
        send("d", "5").await.is_problem(409, "topic-closed");
        assert_eq!(door.get(&format!("{topic}?offset=-1")).await.text(), "1234");
    }
    let long = "x".repeat(129);
    for bad in ["", "a b", "\u{e4}", &long] {
        door.ask("POST /topics/x", &[TEXT, ("Message-Id", bad)], "x").await.is_problem(400, "bad-request");
    }
    door.ask("POST /topics/x", &[TEXT, ("Message-Id", &long[1..])], "x").await.is(200);
}

#[tokio::test]
async fn consumers_see_message_ids() {
    let door = Door::open().await;
    door.ask("POST /topics/m", &[TEXT, ("Message-Id", "a")], "x").await.is(200);
    door.ask("POST /topics/m", &[JSON, ("Message-Id", "b"), ("Quintet-Header-K", "v")], "[1,2]").await.is(200);
    let own = [TEXT, ("Message-Id", "c"), ("Quintet-Header-Message-Id", "own")];
    door.ask("POST /topics/m", &own, "x").await.is(200);
    let envelopes = door.ask("GET /topics/m", &[ENVELOPES], "").await.is(200).json();
    let headers: Vec<_> = envelopes.as_array().unwrap().iter().map(|envelope| envelope["headers"].clone()).collect();
    let expected = [
        serde_json::json!({"message-id": "a"}),
        serde_json::json!({"k": "v", "message-id": "b/0"}),
        serde_json::json!({"k": "v", "message-id": "b/1"}),
        serde_json::json!({"message-id": "own"}),
    ];
    assert_eq!(headers, expected);
}

#[tokio::test]
async fn no_room_for_message_ids_is_told() {
    let mut setup = Setup::default();
    setup.limits.message_id_bytes = 200;
    let door = Door::with(setup).await;
    door.ask("POST /topics/m", &[TEXT, ("Message-Id", "a")], "x").await.is(200);
    let full = door.ask("POST /topics/m", &[TEXT, ("Message-Id", "b")], "x").await;
    full.is_problem(429, "too-many");
    full.header("retry-after");
    door.ask("POST /topics/m", &[TEXT, ("Message-Id", "a")], "x").await.is(204);
    door.ask("POST /topics/m", &[TEXT], "x").await.is(204);
}

#[tokio::test]
async fn receipts_tell_who_is_there() {
    let door = Door::open().await;
    let asking = [TEXT, ("Prefer", "wait=3, Receipts")];
    for (topic, status) in [("/topics/r", 204), ("/v1/stream/s", 204)] {
        door.ask(&format!("PUT {topic}"), &[TEXT], "").await.is(201);
        let alone = door.ask(&format!("POST {topic}"), &asking, "x").await.is(status);
        assert_eq!((alone.header("quintet-readers"), alone.header("quintet-groups")), ("0".into(), "0".into()));
        assert_eq!(alone.header("preference-applied"), "receipts");
        let by_filter = Selection::Filter(Filter::parse("#").unwrap());
        let follower = door.hub.subscribe(&by_filter, &Since::Now).await.unwrap();
        let poll = door.start(&format!("GET {topic}?offset=now&live=sse"), &[], "").await;
        // A reader is counted once its shard knows it.
        let told = async {
            loop {
                let answer = door.ask(&format!("POST {topic}"), &asking, "x").await.is(status);
                if answer.header("quintet-readers") == "2" {
                    return;
                }
            }
        };
        tokio::time::timeout(DEADLINE, told).await.unwrap();
        drop((follower, poll));
    }
    let named = [asking[0], asking[1], ("Message-Id", "m")];
    let first = door.ask("POST /topics/r", &named, "x").await.is(200);
    assert_eq!(first.header("preference-applied"), "receipts");
    let again = door.ask("POST /topics/r", &named, "x").await.is(204);
    let unasked = door.ask("POST /topics/r", &[TEXT], "x").await.is(204);
    for answer in [again, unasked] {
        assert!(
            answer.get("preference-applied").is_none() && answer.get("quintet-readers").is_none(),
            "nobody counted"
        );
    }
}

#[tokio::test]
async fn sequences_only_rise() {
    let door = Door::open().await;
    let publish = async |seq: &str| door.ask("POST /topics/s", &[TEXT, ("Stream-Seq", seq)], "x").await;
    publish("2").await.is(204);
    publish("10").await.is_problem(409, "sequence-regression");
    publish("2").await.is_problem(409, "sequence-regression");
    publish("a").await.is(204);
    publish("").await.is_problem(400, "bad-request");
}

#[tokio::test]
async fn closure_is_final_and_comes_first() {
    let door = Door::open().await;
    door.ask("POST /v1/stream/c", &[CLOSE], "").await.is_problem(404, "topic-not-found");
    door.publish("c", "1").await;
    let closed = door.ask("POST /topics/c", &[("Stream-Closed", "TRUE"), JSON], "").await.is(204);
    assert_eq!(closed.header("stream-closed"), "true");
    door.ask("POST /topics/c", &[CLOSE], "").await.is(204);
    for (headers, body) in [(&[TEXT][..], "x"), (&[TEXT, CLOSE], "x"), (&[JSON], "{"), (&[JSON], "{}"), (&[TEXT], "")] {
        let refused = door.ask("POST /topics/c", headers, body).await;
        refused.is_problem(409, "topic-closed");
        assert_eq!(refused.header("stream-closed"), "true");
        assert_eq!(refused.header("stream-next-offset"), closed.header("stream-next-offset"));
    }
    let last = door.ask("POST /topics/d", &[TEXT, CLOSE], "last").await.is(204);
    assert_eq!(last.header("stream-closed"), "true");
    door.ask("POST /topics/e", &[TEXT, ("Stream-Closed", "yes")], "x").await.is(204);
    door.ask("POST /topics/e", &[TEXT], "x").await.is(204);
}

#[tokio::test]
async fn bodies_have_limits() {
    let mut setup = Setup::default();
    setup.gateway.body_bytes = 1000;
    setup.limits.message_bytes = 500;
    setup.limits.memory_log_bytes = 2000;
    let door = Door::with(setup).await;
    door.ask("POST /topics/a", &[TEXT], vec![b'x'; 1001]).await.is_problem(413, "too-large");
    door.ask("POST /topics/a", &[TEXT], vec![b'x'; 4 << 20]).await.is_problem(413, "too-large");
    door.ask("POST /topics/a", &[TEXT], vec![b'x'; 501]).await.is_problem(413, "too-large");
    for _ in 0..3 {
        door.ask("POST /topics/a", &[TEXT], vec![b'x'; 500]).await.is(204);
    }
    door.ask("POST /topics/a", &[TEXT], vec![b'x'; 500]).await.is_problem(507, "storage-full");
    let mut setup = Setup::default();
    setup.gateway.bodies_bytes = 10;
    let answer = Door::with(setup).await.ask("POST /topics/a", &[TEXT], "more than ten").await;
    answer.is_problem(503, "overloaded");
    answer.header("retry-after");
}
