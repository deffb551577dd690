//! Consumers of a session: who is given what, what acknowledgements give back, and what happens when they go.

use std::time::Duration;

use quintet_core::group::{GroupConfig, GroupName};
use quintet_core::name::Filter;
use quintet_core::patterns::publish_subscribe::groups::consumer::GroupInfo;
use quintet_core::patterns::publish_subscribe::groups::operate::NewGroup;
use quintet_gateway::config::GatewayConfig;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::support::{Client, Server, frame, read_frame, until};

impl Server {
    async fn put_group(&self, change: impl FnOnce(&mut GroupConfig)) {
        let mut config = GroupConfig::new(Filter::parse("work/#").unwrap());
        change(&mut config);
        let since = quintet_core::cursor::Since::Start;
        self.hub.put_group(NewGroup { group: group(), config, since, durability: None }).await.unwrap();
    }

    async fn work(&self, texts: &[&str]) {
        let payloads: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
        self.publish("work/a", "text/plain", &payloads).await;
    }

    async fn info(&self) -> GroupInfo {
        self.hub.describe_group(&group()).await.unwrap()
    }
}

impl Client {
    /// Begins to consume, and gives the consumer's number.
    async fn consume(&mut self, credit: u32, member: &str) -> u64 {
        let command = json!({"id": 1, "consume": {"group": "g", "credit": credit, "member": member}});
        self.ask(&command.to_string()).await["ok"]["consumer"].as_u64().unwrap()
    }

    /// Says something of deliveries, and gives the results; deliveries may come before.
    async fn say(&mut self, command: &str, consumer: u64, ids: &[&str], more: Value) -> (Vec<String>, Vec<Value>) {
        let mut members = json!({"consumer": consumer, "deliveries": ids});
        members.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        self.send(json!({"id": "say", command: members}).to_string()).await;
        let mut delivered = Vec::new();
        loop {
            let frame = self.json().await;
            if frame["id"] == "say" {
                let results = frame["ok"]["results"].as_array().unwrap_or_else(|| panic!("{frame}"));
                return (results.iter().map(|said| said["result"].as_str().unwrap().to_owned()).collect(), delivered);
            }
            delivered.extend(messages(&frame, consumer));
        }
    }

    /// So many messages of a consumer, in as many frames as they come in.
    async fn delivered(&mut self, consumer: u64, n: usize) -> Vec<Value> {
        let mut delivered = Vec::new();
        while delivered.len() < n {
            delivered.extend(messages(&self.json().await, consumer));
        }
        assert_eq!(delivered.len(), n);
        delivered
    }
}

fn group() -> GroupName {
    GroupName::parse("g").unwrap()
}

fn messages(frame: &Value, consumer: u64) -> Vec<Value> {
    assert_eq!(frame["consumer"], consumer, "{frame}");
    frame["messages"].as_array().unwrap_or_else(|| panic!("{frame}")).clone()
}

fn texts(delivered: &[Value]) -> Vec<&str> {
    delivered.iter().map(|message| message["data"].as_str().unwrap()).collect()
}

fn ids(delivered: &[Value]) -> Vec<&str> {
    delivered.iter().map(|message| message["delivery"]["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn acknowledgements_give_credit_back() {
    let server = Server::start().await;
    server.put_group(|_| {}).await;
    server.work(&["1", "2", "3", "4", "5"]).await;
    let mut anna = server.connect("/ws").await;
    let number = anna.consume(2, "anna").await;
    let first = anna.delivered(number, 2).await;
    assert_eq!(texts(&first), ["1", "2"]);
    let (message, delivery) = (&first[0], &first[0]["delivery"]);
    assert_eq!((&message["topic"], &message["type"]), (&json!("work/a"), &json!("text/plain")));
    assert_eq!(delivery["id"], json!(format!("{}.1", message["offset"].as_str().unwrap())));
    assert_eq!((&delivery["count"], &delivery["reason"]), (&json!(1), &json!("new")));
    assert!(quintet_wire::time::parse(delivery["until"].as_str().unwrap()).is_some());
    let info = server.info().await;
    assert_eq!((info.in_flight, info.members.len()), (2, 1));
    let member = &info.members[0];
    assert_eq!((&*member.name, member.in_flight, member.limit, member.connected), ("anna", 2, 2, true));

    let (results, mut more) = anna.say("ack", number, &ids(&first)[..1], json!({})).await;
    assert_eq!(results, ["done"]);
    more.extend(anna.delivered(number, 1 - more.len()).await);
    assert_eq!(texts(&more), ["3"]);
    // More credit brings more, and none brings none.
    assert_eq!(anna.ask_credit(number, 3).await.len(), 1);
    assert_eq!(anna.ask_credit(number, 0).await.len(), 0);
    assert_eq!(anna.say("ack", number, &ids(&first), json!({})).await, (vec!["settled".into(), "done".into()], vec![]));
    assert_eq!(server.info().await.lag, 1);
    let last = anna.ask_credit(number, 10).await;
    assert_eq!(texts(&last), ["5"]);
    assert!(anna.say("ack", number, &[], json!({})).await.0.is_empty());
}

impl Client {
    /// Sets the credit, and gives what comes of it before a ping is answered.
    async fn ask_credit(&mut self, consumer: u64, credit: u32) -> Vec<Value> {
        self.send(json!({"id": "credit", "credit": {"consumer": consumer, "credit": credit}}).to_string()).await;
        // Behind the next acknowledgement is what the credit has brought: both go through the group's one task.
        let (mut delivered, mut n_answered) = (Vec::new(), 0);
        while n_answered < 1 {
            let frame = self.json().await;
            if frame["id"] == "credit" {
                assert_eq!(frame["ok"], json!({}));
                n_answered += 1;
            } else {
                delivered.extend(messages(&frame, consumer));
            }
        }
        for _ in 0..2 {
            let never = "00000007_00000000000fffff.1";
            let (results, more) = self.say("ack", consumer, &[never], json!({})).await;
            assert_eq!(results, ["unknown"]);
            delivered.extend(more);
        }
        delivered
    }
}

#[tokio::test]
async fn messages_are_given_back_and_kept_longer() {
    let server = Server::start().await;
    server.put_group(|config| config.ack_wait = Duration::from_millis(300)).await;
    server.work(&["1"]).await;
    let mut anna = server.connect("/ws").await;
    let number = anna.consume(1, "").await;
    let first = anna.delivered(number, 1).await;
    let (results, mut second) = anna.say("nack", number, &ids(&first), json!({"delay": "1ms"})).await;
    assert_eq!(results, ["done"]);
    second.extend(anna.delivered(number, 1 - second.len()).await);
    assert_eq!((&second[0]["delivery"]["count"], &second[0]["delivery"]["reason"]), (&json!(2), &json!("nack")));
    let began = std::time::Instant::now();
    let (results, more) = anna.say("extend", number, &ids(&second), json!({"by": 2})).await;
    assert_eq!((results, more.len()), (vec!["done".to_owned()], 0));
    let third = anna.delivered(number, 1).await;
    assert!(began.elapsed() >= Duration::from_millis(1_900), "{:?}", began.elapsed());
    assert_eq!((&third[0]["delivery"]["count"], &third[0]["delivery"]["reason"]), (&json!(3), &json!("timeout")));
    assert_eq!(anna.say("extend", number, &ids(&second), json!({})).await.0, ["over"]);
}

#[tokio::test]
async fn what_a_lost_consumer_held_goes_to_another_at_once() {
    let server = Server::start().await;
    server.put_group(|config| config.ack_wait = Duration::from_secs(3_600)).await;
    server.work(&["1", "2"]).await;
    let mut anna = server.connect("/ws").await;
    let number = anna.consume(10, "anna").await;
    let held = anna.delivered(number, 2).await;
    drop(anna);
    let mut ben = server.connect("/ws").await;
    let number = ben.consume(10, "ben").await;
    let again = ben.delivered(number, 2).await;
    assert_eq!(texts(&again), ["1", "2"]);
    for message in &again {
        assert_eq!((&message["delivery"]["count"], &message["delivery"]["reason"]), (&json!(2), &json!("member-lost")));
    }
    // Work that was done before the connection was lost is done, whoever says so.
    assert_eq!(ben.say("ack", number, &ids(&held), json!({})).await.0, ["done", "done"]);
    assert_eq!(ben.say("ack", number, &ids(&again), json!({})).await.0, ["settled", "settled"]);
}

#[tokio::test]
async fn who_leaves_is_given_nothing_more() {
    let server = Server::start().await;
    server.put_group(|_| {}).await;
    server.work(&["1"]).await;
    let mut client = server.connect("/ws").await;
    let first = client.consume(10, "").await;
    client.delivered(first, 1).await;
    let answer = client.ask(&json!({"id": 2, "unconsume": {"consumer": first}}).to_string()).await;
    assert_eq!(answer, json!({"id": 2, "ok": {}}));
    let second = client.consume(10, "").await;
    assert!(second > first);
    assert_eq!(client.delivered(second, 1).await[0]["delivery"]["reason"], "member-lost");
    for command in [json!({"unconsume": {"consumer": first}}), json!({"ack": {"consumer": first, "deliveries": []}})] {
        let mut command = command;
        command["id"] = 3.into();
        assert_eq!(client.ask(&command.to_string()).await["error"]["type"], "/problems/not-found");
    }
    assert_eq!(server.info().await.members.len(), 1);
}

#[tokio::test]
async fn commands_are_refused_with_a_reason() {
    let server = Server::start().await;
    server.put_group(|_| {}).await;
    let mut client = server.connect("/ws").await;
    for (command, slug) in [
        (json!({"id": 1, "consume": {"group": "none"}}), "group-not-found"),
        (json!({"id": 1, "consume": {"group": "a/b"}}), "bad-name"),
        (json!({"id": 1, "consume": {"group": "g", "member": "m".repeat(129)}}), "bad-name"),
        (json!({"id": 1, "consume": {"group": "g", "credit": 0}}), "bad-request"),
        (json!({"id": 1, "credit": {"consumer": 7, "credit": 1}}), "not-found"),
        (json!({"id": 1, "nack": {"consumer": 1, "deliveries": ["x"]}}), "bad-request"),
    ] {
        let answer = client.ask(&command.to_string()).await;
        assert_eq!(answer["error"]["type"], format!("/problems/{slug}"), "{command}");
    }
    // The bound on one session.
    let first = client.consume(1, "").await;
    for _ in 1..1_000 {
        client.consume(1, "").await;
    }
    let consume = json!({"id": 1, "consume": {"group": "g"}}).to_string();
    assert_eq!(client.ask(&consume).await["error"]["type"], "/problems/too-many");
    client.ask(&json!({"id": 2, "unconsume": {"consumer": first}}).to_string()).await;
    client.consume(1, "").await;
}

#[tokio::test]
async fn a_deleted_group_tells_its_consumers() {
    let server = Server::start().await;
    server.put_group(|_| {}).await;
    let mut client = server.connect("/ws").await;
    let number = client.consume(1, "").await;
    server.hub.delete_group(&group()).await.unwrap();
    let frame = client.json().await;
    assert_eq!((&frame["consumer"], &frame["ended"]["type"]), (&json!(number), &json!("/problems/group-not-found")));
    let unconsume = json!({"id": 2, "unconsume": {"consumer": number}}).to_string();
    assert_eq!(client.ask(&unconsume).await["error"]["type"], "/problems/not-found");
    // The session goes on.
    server.put_group(|_| {}).await;
    let number = client.consume(1, "").await;
    server.work(&["1"]).await;
    assert_eq!(texts(&client.delivered(number, 1).await), ["1"]);
}

#[tokio::test]
async fn a_stopping_hub_says_goodbye_to_consumers() {
    let server = Server::start().await;
    server.put_group(|_| {}).await;
    let mut client = server.connect("/ws").await;
    client.consume(1, "").await;
    server.gateway.shutdown().begin();
    assert!(client.json().await.get("goodbye").is_some());
    assert_eq!(client.closed().await.0, 1001);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_does_not_read_holds_back_nobody() {
    let mut config = GatewayConfig::default();
    config.websocket.tick = Duration::from_millis(10);
    let server = Server::with(config).await;
    server.put_group(|config| config.ack_wait = Duration::from_secs(3_600)).await;
    let mut slow = server.connect_bare("/ws").await;
    slow.write_all(&frame(0x81, br#"{"id":1,"consume":{"group":"g","credit":1000,"member":"slow"}}"#)).await.unwrap();
    until(async || server.info().await.members.len() == 1).await;
    let mut fast = server.connect("/ws").await;
    let number = fast.consume(20, "fast").await;
    // Far more than the kernel holds for one connection.
    let (n, text) = (400, "x".repeat(50_000));
    let mut n_taken = 0;
    for i in 0..n {
        server.work(&[&format!("{i} {text}")]).await;
    }
    let held = async || {
        let info = server.info().await;
        info.members.iter().find(|member| &*member.name == "slow").map_or(0, |member| member.in_flight)
    };
    while server.info().await.lag > 0 || n_taken + (held().await as usize) < n {
        let mut delivered = messages(&fast.json().await, number);
        while !delivered.is_empty() {
            n_taken += delivered.len();
            let (_, more) = fast.say("ack", number, &ids(&delivered), json!({})).await;
            delivered = more;
        }
    }
    let n_slow = held().await as usize;
    assert!(n_slow > 0 && n_slow < n / 2, "the slow one holds {n_slow}");
    // When it reads, it is given the rest of its share, whole.
    assert_eq!(read_frame(&mut slow).await.unwrap().1, br#"{"id":1,"ok":{"consumer":1}}"#);
    let mut n_read = 0;
    while n_read < n_slow {
        let (opcode, payload) = read_frame(&mut slow).await.unwrap();
        assert_eq!(opcode, 1);
        n_read += messages(&serde_json::from_slice(&payload).unwrap(), 1).len();
    }
    assert_eq!(n_read, n_slow);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_never_reads_again_loses_what_it_holds() {
    let mut config = GatewayConfig::default();
    config.websocket.tick = Duration::from_millis(10);
    config.websocket.stall = Duration::from_millis(200);
    let server = Server::with(config).await;
    server.put_group(|config| config.ack_wait = Duration::from_secs(3_600)).await;
    let mut stuck = server.connect_bare("/ws").await;
    stuck.write_all(&frame(0x81, br#"{"id":1,"consume":{"group":"g","credit":1000}}"#)).await.unwrap();
    until(async || server.info().await.members.len() == 1).await;
    let text = "x".repeat(100_000);
    for _ in 0..200 {
        server.work(&[&text]).await;
    }
    until(async || server.info().await.members.is_empty()).await;
    let mut other = server.connect("/ws").await;
    let number = other.consume(1_000, "").await;
    let delivered = other.delivered(number, 200).await;
    assert_eq!(delivered[0]["delivery"]["reason"], "member-lost");
}

#[tokio::test]
async fn acknowledgements_right_before_a_close_count() {
    let server = Server::start().await;
    server.put_group(|_| {}).await;
    server.work(&["1", "2", "3"]).await;
    let mut anna = server.connect("/ws").await;
    let number = anna.consume(2, "anna").await;
    let held = anna.delivered(number, 2).await;
    let ack = json!({"id": "ack", "ack": {"consumer": number, "deliveries": ids(&held)}}).to_string();
    let bytes = [frame(0x81, ack.as_bytes()), frame(0x88, &1000_u16.to_be_bytes())].concat();
    anna.0.get_mut().write_all(&bytes).await.unwrap();
    let answer = anna.json().await;
    assert_eq!((&answer["id"], answer["ok"]["results"].as_array().unwrap().len()), (&json!("ack"), 2));
    assert_eq!(anna.closed().await.0, 1000);
    // What the acknowledgements have made room for is not lost either.
    let mut bert = server.connect("/ws").await;
    let number = bert.consume(5, "bert").await;
    assert_eq!(texts(&bert.delivered(number, 1).await), ["3"]);
    until(async || server.info().await.members.len() == 1).await;
    let info = server.info().await;
    assert_eq!((info.in_flight, info.waiting, info.lag), (1, 0, 0));
}
