//! A reader that changes its transport in mid-stream, by nothing but its cursor, while the topic is under full load.

use serde_json::json;
use tokio::task::JoinHandle;

use crate::harness::events::Events;
use crate::harness::http::{ENVELOPES, Http};
use crate::harness::hub::Hub;
use crate::harness::load::{self, Order};
use crate::harness::seed::Chance;
use crate::harness::session::Session;

const MESSAGES: u64 = 12_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_repeated_on_disk() {
    wander(&Hub::start().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_repeated_in_memory() {
    wander(&Hub::start_in_memory().await).await;
}

async fn wander(hub: &Hub) {
    let mut chance = Chance::new("transports");
    let publishing = full_load(hub.http().clone(), hub.port).await;
    let mut order = Order::new("the wanderer");
    let mut cursor = "start".to_owned();
    let mut n_changes = 0;
    while order.count() < MESSAGES {
        let goal = MESSAGES.min(order.count() + chance.between(1, 400));
        cursor = match n_changes % 4 {
            0 => short_polls(hub, cursor, &mut order, goal).await,
            1 => long_polls(hub, cursor, &mut order, goal).await,
            2 => event_source(hub, cursor, &mut order, goal).await,
            _ => session(hub, cursor, &mut order, goal).await,
        };
        n_changes += 1;
    }
    publishing.await.unwrap();
    let (rest, _) = hub.http().read("load", &cursor).await;
    assert!(rest.is_empty(), "{} messages too many", rest.len());
    assert!(n_changes > 20, "changed only {n_changes} times");
}

/// One publisher as fast as the hub answers: batches of changing size, over a session.
async fn full_load(http: Http, port: u16) -> JoinHandle<()> {
    let socket = crate::harness::socket::Socket::at(port, "/ws", Some("quintet.v1")).await;
    let mut publisher = Session::over(socket);
    tokio::spawn(async move {
        load::publish(&http, "load", 0..100).await;
        let mut from = 100;
        for size in (1..=40).cycle() {
            let to = MESSAGES.min(from + size);
            let batch: Vec<_> = (from..to).map(|n| json!({"data": load::text(n), "type": "text/plain"})).collect();
            publisher.call("publish", json!({"topic": "load", "messages": batch})).await;
            from = to;
            if from == MESSAGES {
                break;
            }
        }
    })
}

async fn short_polls(hub: &Hub, mut cursor: String, order: &mut Order, goal: u64) -> String {
    while order.count() < goal {
        let (envelopes, next) = hub.http().read("load", &cursor).await;
        order.take_all(&envelopes);
        cursor = next;
    }
    cursor
}

async fn long_polls(hub: &Hub, mut cursor: String, order: &mut Order, goal: u64) -> String {
    while order.count() < goal {
        let path = format!("/topics/load?offset={cursor}&live=long-poll");
        let answer = hub.http().get(&path).header("Accept", ENVELOPES).send().await.expect(200);
        order.take_all(answer.json().as_array().unwrap());
        answer.header("stream-next-offset").clone_into(&mut cursor);
    }
    cursor
}

async fn event_source(hub: &Hub, mut cursor: String, order: &mut Order, goal: u64) -> String {
    let mut events = Events::open(hub.http().get("/topics/load").header("Last-Event-ID", &cursor)).await;
    while order.count() < goal {
        let event = events.next().await.expect("the stream goes on");
        assert_eq!(event.name, "", "{event:?}");
        order.take(&event.data);
        cursor = event.id;
    }
    cursor
}

async fn session(hub: &Hub, mut cursor: String, order: &mut Order, goal: u64) -> String {
    let mut session = Session::open(hub).await;
    session.call("subscribe", json!({"topic": "load", "since": cursor})).await;
    while order.count() < goal {
        let frame = session.next().await.unwrap();
        order.take_all(frame["messages"].as_array().unwrap_or_else(|| panic!("not a delivery: {frame}")));
        frame["next"].as_str().unwrap().clone_into(&mut cursor);
    }
    cursor
}
