//! Consumer groups with nothing but plain HTTP: set up, claim, acknowledge, give back, keep longer, redrive.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};

use crate::harness::{Answer, DEADLINE, Door, JSON, Setup, TEXT};

impl Door {
    async fn put_group(&self, group: &str, body: &Value) -> Answer {
        self.ask(&format!("PUT /groups/{group}"), &[JSON], body.to_string()).await
    }

    async fn post(&self, path: &str, body: &str) -> Answer {
        self.ask(&format!("POST {path}"), &[JSON], body).await
    }

    /// What is claimed: envelopes with their deliveries.
    async fn claim(&self, query: &str) -> Vec<Value> {
        let answer = self.post(&format!("/groups/g/claim?{query}"), "").await.is(200);
        assert_eq!(answer.header("content-type"), "application/vnd.quintet.messages+json");
        assert_eq!(answer.header("cache-control"), "no-store");
        answer.json().as_array().unwrap().clone()
    }

    async fn group(&self) -> Value {
        self.get("/groups/g").await.is(200).json()
    }

    /// Waits until something is so of the group.
    async fn until_group(&self, mut holds: impl FnMut(&Value) -> bool) {
        let wait = async {
            while !holds(&self.group().await) {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, wait).await.expect("it becomes so in time");
    }
}

fn ids(claimed: &[Value]) -> Vec<&str> {
    claimed.iter().map(|message| message["delivery"]["id"].as_str().unwrap()).collect()
}

fn texts(claimed: &[Value]) -> Vec<&str> {
    claimed.iter().map(|message| message["data"].as_str().unwrap()).collect()
}

fn of(deliveries: &[&str]) -> String {
    json!({ "deliveries": deliveries }).to_string()
}

fn results(answer: &Answer) -> Vec<String> {
    let results = answer.json()["results"].as_array().unwrap().clone();
    results.iter().map(|answered| answered["result"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_group_is_put_described_listed_and_deleted() {
    let door = Door::open().await;
    let body = json!({
        "filter": "work/#", "ack_wait": "1m30s", "max_deliver": 3, "dead_letter": "dead", "backoff": ["1s", 5],
        "max_in_flight": 50, "max_in_flight_per_member": 10, "key": "Order",
    });
    let answer = door.put_group("g", &body).await.is(201);
    assert!(answer.header("location").ends_with("/groups/g"));
    let expected = json!({
        "group": "g", "filter": "work/#", "durability": "memory", "ack_wait": "90s", "max_deliver": 3,
        "dead_letter": "dead", "backoff": ["1s", "5s"], "max_in_flight": 50, "max_in_flight_per_member": 10,
        "key": "order", "cursor": "00000007_0000000000000000", "lag": 0, "in_flight": 0, "waiting": 0,
        "counts": {"delivered": 0, "redelivered": 0, "acknowledged": 0, "dead_lettered": 0, "lost": 0}, "members": [],
    });
    assert_eq!(answer.json(), expected);
    assert_eq!(door.put_group("g", &body).await.is(200).json(), expected);
    assert_eq!(door.group().await, expected);
    // It is set up differently; what is left out has its default again.
    let other = door.put_group("g", &json!({"filter": "work/#"})).await.is(200).json();
    let defaults = json!(["30s", null, null, [], 10_000, 1_000, null]);
    let names =
        ["ack_wait", "max_deliver", "dead_letter", "backoff", "max_in_flight", "max_in_flight_per_member", "key"];
    assert_eq!(Value::from_iter(names.map(|name| other[name].clone())), defaults);
    let with_letters = json!({"filter": "work/#", "dead_letter": "dead"});
    assert_eq!(door.put_group("g", &with_letters).await.is(200).json()["max_deliver"], 5);

    door.put_group("a%20b", &json!({"filter": "x"})).await.is(201);
    door.put_group("z", &json!({"filter": "x"})).await.is(201);
    let page = door.get("/groups?limit=2").await.is(200).json();
    assert_eq!((&page["groups"][0]["group"], &page["groups"][1]["group"]), (&json!("a b"), &json!("g")));
    assert_eq!(page["next"], "g");
    let page = door.get("/groups?limit=2&after=g").await.is(200).json();
    assert_eq!((&page["groups"][0]["group"], &page["next"]), (&json!("z"), &Value::Null));

    door.ask("DELETE /groups/g", &[], "").await.is(204);
    door.get("/groups/g").await.is_problem(404, "group-not-found");
    door.ask("DELETE /groups/g", &[], "").await.is_problem(404, "group-not-found");
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_what_to_do() {
    let door = Door::open().await;
    door.put_group("g", &json!({"filter": "work/#"})).await.is(201);
    let check = async |group: &str, body: &str, status, slug: &str, said: &str| {
        let answer = door.ask(&format!("PUT /groups/{group}"), &[JSON], body).await;
        let problem = answer.is_problem(status, slug);
        assert!(problem["detail"].as_str().unwrap().contains(said), "{problem}");
    };
    check("g", r#"{"filter":"other/#"}"#, 409, "group-exists", "filter").await;
    check("h", "", 400, "empty-body", "filter").await;
    check("h", "{", 400, "bad-json", "EOF").await;
    check("h", "{}", 400, "bad-request", "`filter`").await;
    check("h", r#"{"filter":"a","ackwait":"1s"}"#, 400, "bad-request", "`ackwait`").await;
    check("h", r#"{"filter":"a","ack_wait":"soon"}"#, 400, "bad-request", "duration").await;
    check("h", r#"{"filter":"a","ack_wait":"1ms"}"#, 400, "bad-request", "at least 100ms").await;
    check("h", r#"{"filter":"a","max_deliver":3}"#, 400, "bad-request", "dead_letter").await;
    check("h", r#"{"filter":"a/#","dead_letter":"a/dead"}"#, 400, "bad-request", "own filter").await;
    check("h", r#"{"filter":"a","dead_letter":"a//b"}"#, 400, "bad-name", "").await;
    check("h", r#"{"filter":"a/#/b"}"#, 400, "bad-name", "").await;
    check("h", r#"{"filter":"$replies/#"}"#, 400, "bad-request", "own topics").await;
    check("h", r#"{"filter":"a","start":"yesterday"}"#, 400, "bad-request", "").await;
    check("h", r#"{"filter":"a","durability":"tape"}"#, 400, "bad-request", "disk or memory").await;
    check("a%2Fb", r#"{"filter":"a"}"#, 400, "bad-name", "one level").await;
    check("%24x", r#"{"filter":"a"}"#, 400, "bad-name", "$").await;
    for (line, status, slug) in [
        ("POST /groups/none/claim?wait=0", 404, "group-not-found"),
        ("POST /groups/none/redrive", 404, "group-not-found"),
        ("POST /groups/none/ack?delivery=00000007_0000000000000001.1", 404, "group-not-found"),
        ("POST /groups/g/claim?max=0", 400, "bad-request"),
        ("POST /groups/g/claim?wait=long", 400, "bad-request"),
        ("POST /groups/g/ack", 400, "empty-body"),
        ("POST /groups/g/ack?delivery=1", 400, "bad-request"),
        ("POST /groups/g/nack?delivery=00000007_0000000000000001.1&delay=x", 400, "bad-request"),
        ("POST /groups/g/redrive", 400, "bad-request"),
        ("GET /groups?limit=0", 400, "bad-request"),
        ("GET /groups/g/claim", 405, "method-not-allowed"),
        ("POST /groups/g/shout", 404, "not-found"),
    ] {
        door.ask(line, &[], "").await.is_problem(status, slug);
    }
    let both = "/groups/g/ack?delivery=00000007_0000000000000001.1";
    door.post(both, r#"{"deliveries":[]}"#).await.is_problem(400, "bad-request");
    door.post("/groups/g/ack", r#"{"deliveries":[],"by":"1s"}"#).await.is_problem(400, "bad-request");
    let long = format!("/groups/g/claim?wait=0&member={}", "m".repeat(129));
    door.post(&long, "").await.is_problem(400, "bad-name");
}

#[tokio::test]
async fn messages_are_claimed_and_acknowledged() {
    let door = Door::open().await;
    door.put_group("g", &json!({"filter": "work/#"})).await.is(201);
    door.ask("POST /topics/work/a", &[TEXT, ("Quintet-Header-Color", "red")], "1").await.is(204);
    door.publish("work/b", "2").await;
    let claimed = door.claim("max=5&member=anna").await;
    assert_eq!(texts(&claimed), ["1", "2"]);
    let (message, delivery) = (&claimed[0], &claimed[0]["delivery"]);
    assert_eq!((&message["topic"], &message["headers"]), (&json!("work/a"), &json!({"color": "red"})));
    assert_eq!(delivery["id"], json!(format!("{}.1", message["offset"].as_str().unwrap())));
    assert_eq!((&delivery["count"], &delivery["reason"]), (&json!(1), &json!("new")));
    let until = quintet_wire::time::parse(delivery["until"].as_str().unwrap()).unwrap();
    let published = quintet_wire::time::parse(message["time"].as_str().unwrap()).unwrap();
    assert!((29_000..40_000).contains(&(until - published)), "{message}");
    let info = door.group().await;
    assert_eq!((&info["in_flight"], &info["cursor"]), (&json!(2), &claimed[1]["offset"]));
    assert_eq!(info["members"], json!([{"name": "anna", "in_flight": 2, "limit": 1_000, "connected": false}]));
    door.post("/groups/g/claim?wait=0", "").await.is(204);

    let answer = door.post("/groups/g/ack", &of(&ids(&claimed))).await.is(200);
    assert_eq!(
        (results(&answer), answer.header("cache-control")),
        (vec!["done".into(), "done".into()], "no-store".into())
    );
    assert_eq!(answer.json()["results"][1]["id"], claimed[1]["delivery"]["id"]);
    let one = format!("/groups/g/ack?delivery={}", ids(&claimed)[0]);
    assert_eq!(results(&door.post(&one, "").await.is(200)), ["settled"]);
    let never = of(&["00000007_0000000000000fff.1", "00000001_0000000000000001.1"]);
    assert_eq!(results(&door.post("/groups/g/ack", &never).await.is(200)), ["unknown", "unknown"]);
    let counts = &door.group().await["counts"];
    assert_eq!((&counts["delivered"], &counts["acknowledged"]), (&json!(2), &json!(2)));
}

#[tokio::test]
async fn a_claim_waits_as_long_as_it_says() {
    let door = Door::open().await;
    door.put_group("g", &json!({"filter": "work/#"})).await.is(201);
    let began = Instant::now();
    let answer = door.post("/groups/g/claim?wait=1", "").await.is(204);
    assert!(answer.body.is_empty() && answer.header("cache-control") == "no-store");
    assert!(began.elapsed() >= Duration::from_secs(1));
    let (claimed, _) = tokio::join!(door.claim("wait=20"), async {
        door.until_group(|group| group["members"].as_array().unwrap().len() == 1).await;
        door.publish("work/a", "1").await
    });
    assert_eq!(texts(&claimed), ["1"]);
}

#[tokio::test]
async fn messages_are_given_back_and_kept_longer() {
    let door = Door::open().await;
    door.put_group("g", &json!({"filter": "work/#", "ack_wait": "400ms"})).await.is(201);
    door.publish("work/a", "1").await;
    let first = door.claim("").await;
    let nack = json!({"deliveries": ids(&first), "delay": "1ms"}).to_string();
    assert_eq!(results(&door.post("/groups/g/nack", &nack).await.is(200)), ["done"]);
    let second = door.claim("").await;
    assert_eq!((&second[0]["delivery"]["count"], &second[0]["delivery"]["reason"]), (&json!(2), &json!("nack")));
    assert_eq!(results(&door.post("/groups/g/nack", &of(&ids(&first))).await), ["over"]);
    let extend = format!("/groups/g/extend?delivery={}&by=2s", ids(&second)[0]);
    let began = Instant::now();
    assert_eq!(results(&door.post(&extend, "").await.is(200)), ["done"]);
    let third = door.claim("").await;
    assert!(began.elapsed() >= Duration::from_millis(1_900), "{:?}", began.elapsed());
    assert_eq!((&third[0]["delivery"]["count"], &third[0]["delivery"]["reason"]), (&json!(3), &json!("timeout")));
    // A bare number is seconds.
    let nack = format!("/groups/g/nack?delivery={}&delay=0.001", ids(&third)[0]);
    assert_eq!(results(&door.post(&nack, "").await.is(200)), ["done"]);
    assert_eq!(door.claim("").await[0]["delivery"]["count"], 4);
}

#[tokio::test]
async fn dead_letters_say_where_from_and_can_be_tried_again() {
    let door = Door::open().await;
    let body = json!({"filter": "work/#", "dead_letter": "dead", "max_deliver": 2});
    door.put_group("g", &body).await.is(201);
    door.ask("POST /topics/work/a", &[TEXT, ("Quintet-Header-Color", "red")], "1").await.is(204);
    let mut offset = Value::Null;
    for _ in 0..2 {
        let claimed = door.claim("").await;
        offset = claimed[0]["offset"].clone();
        assert_eq!(results(&door.post("/groups/g/nack", &of(&ids(&claimed))).await), ["done"]);
    }
    let envelopes = [("Accept", "application/vnd.quintet.messages+json")];
    let letters = door.ask("GET /topics/dead?offset=-1&live=long-poll", &envelopes, "").await.is(200).json();
    let headers = &letters[0]["headers"];
    assert_eq!((&letters[0]["data"], &headers["color"]), (&json!("1"), &json!("red")));
    let told =
        ["group", "topic", "offset", "count", "reason"].map(|name| headers[format!("dead-letter-{name}")].clone());
    assert_eq!(told, [json!("g"), json!("work/a"), offset, json!("2"), json!("nack")], "{headers}");
    assert_eq!(door.group().await["counts"]["dead_lettered"], 1);

    let done = door.post("/groups/g/redrive", "").await.is(200).json();
    assert_eq!(done, json!({"redelivered": 1, "republished": 0, "kept": 0, "more": false}));
    let again = door.claim("").await;
    assert_eq!((texts(&again), &again[0]["delivery"]["reason"]), (vec!["1"], &json!("redrive")));
}

#[tokio::test]
async fn a_new_group_begins_where_it_is_told_to() {
    let door = Door::open().await;
    let after_first = door.publish("work", "1").await;
    door.publish("work", "2").await;
    door.put_group("g", &json!({"filter": "work", "start": after_first})).await.is(201);
    door.put_group("h", &json!({"filter": "work", "start": "now"})).await.is(201);
    assert_eq!(door.group().await["lag"], 1);
    assert_eq!(texts(&door.claim("").await), ["2"]);
    door.post("/groups/h/claim?wait=0", "").await.is(204);
    let beyond = json!({"filter": "work", "start": "00000007_00000000000fffff"});
    door.put_group("i", &beyond).await.is_problem(400, "bad-cursor");
}

#[tokio::test]
async fn a_client_that_hangs_up_takes_nothing() {
    let door = Door::open().await;
    door.put_group("g", &json!({"filter": "work/#"})).await.is(201);
    let mut gone = door.connect().await;
    let request =
        format!("POST /groups/g/claim?wait=60 HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n\r\n", door.address);
    gone.write_all(request.as_bytes()).await.unwrap();
    door.until_group(|group| group["members"].as_array().unwrap().len() == 1).await;
    drop(gone);
    door.until_group(|group| group["members"].as_array().unwrap().is_empty()).await;
    door.publish("work/a", "1").await;
    let claimed = door.claim("").await;
    assert_eq!((texts(&claimed), &claimed[0]["delivery"]["count"]), (vec!["1"], &json!(1)));
}

#[tokio::test]
async fn waiting_claims_are_told_of_the_end() {
    let door = Door::open().await;
    door.put_group("g", &json!({"filter": "work/#"})).await.is(201);
    let (claim, ()) = tokio::join!(door.post("/groups/g/claim?wait=60", ""), async {
        door.until_group(|group| group["members"].as_array().unwrap().len() == 1).await;
        door.ask("DELETE /groups/g", &[], "").await.is(204);
    });
    claim.is_problem(404, "group-not-found");
    door.put_group("g", &json!({"filter": "work/#"})).await.is(201);
    let (claim, ()) = tokio::join!(door.post("/groups/g/claim?wait=60", ""), async {
        door.until_group(|group| group["members"].as_array().unwrap().len() == 1).await;
        door.gateway.shutdown().begin();
    });
    claim.is_problem(503, "shutting-down");
    assert_eq!(claim.header("retry-after"), "1");
}

#[tokio::test]
async fn members_beyond_the_limit_are_refused() {
    let mut setup = Setup::default();
    setup.limits.group_members = 0;
    let door = Door::with(setup).await;
    door.put_group("g", &json!({"filter": "work/#"})).await.is(201);
    let answer = door.post("/groups/g/claim?wait=60", "").await;
    answer.is_problem(429, "too-many");
    assert_eq!(answer.header("retry-after"), "1");
}
