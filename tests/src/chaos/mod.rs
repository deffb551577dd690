//! A consumer group under chaos: server and workers are killed at random while messages are shared out, and in the end
//! every message is accounted for: done, exactly once by the workers' own book, or a dead letter.
//!
//! 20,000 messages by default; `QUINTET_CHAOS_MESSAGES=1000000 cargo test --release -p quintet-tests chaos::` for the
//! long run.

mod book;
mod publisher;
mod workers;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinHandle;

use crate::chaos::book::Book;
use crate::harness::deadline::{LATER, within};
use crate::harness::hub::Hub;
use crate::harness::seed::Chance;

const PUBLISHERS: u64 = 3;
const WORKERS: u64 = 8;
/// One of so many messages can never be done.
const POISON: u64 = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_is_done_once_or_is_a_dead_letter() {
    let wanted = std::env::var("QUINTET_CHAOS_MESSAGES").ok();
    let n_messages: u64 = wanted.map_or(20_000, |n| n.parse().expect("a number of messages"));
    let mut chance = Chance::new("chaos");
    let mut hub = Hub::start().await;
    let group = json!({
        "filter": "work/#", "ack_wait": "2s", "max_deliver": 20, "dead_letter": "dead", "backoff": ["50ms"],
    });
    hub.http().put("/groups/jobs").header("Content-Type", "application/json").body(group.to_string()).send().await;
    let share = n_messages / PUBLISHERS;
    let publishers: Vec<_> =
        (0..PUBLISHERS).map(|id| tokio::spawn(publisher::run(hub.http().clone(), id, share))).collect();
    let total = share * PUBLISHERS;

    let book = Book::new();
    let mut workers: Vec<JoinHandle<()>> = (0..WORKERS).map(|id| workers::start(&hub, id, &book)).collect();
    let (mut n_server_kills, mut n_worker_kills) = (0, 0);
    while book.n_done() + total / POISON < total {
        tokio::time::sleep(Duration::from_millis(chance.between(1, 120))).await;
        if chance.between(0, 10) == 0 {
            hub.kill();
            hub.start_again().await;
            n_server_kills += 1;
        } else {
            let id = chance.between(0, WORKERS);
            let worker = &mut workers[id as usize];
            assert!(!worker.is_finished(), "a worker ended by itself");
            worker.abort();
            *worker = workers::start(&hub, id, &book);
            n_worker_kills += 1;
        }
        assert!(n_server_kills < 100 + total / 50, "the work does not get on: {} of {total} done", book.n_done());
    }
    for publisher in publishers {
        within(LATER, "the last acknowledgement", publisher).await.unwrap();
    }
    let counts = within(LATER, "the last settlement", settled(&hub, total)).await;
    workers.iter().for_each(JoinHandle::abort);

    let dead = dead_letters(&hub).await;
    for (id, number) in (0..PUBLISHERS).flat_map(|id| (0..share).map(move |number| (id, number))) {
        let text = format!("{id} {number}");
        let (is_done, is_dead) = (book.is_done(&text), dead.contains(&text));
        assert!(is_done || is_dead, "{text} is lost");
        assert!(!(is_done && is_poison(number)), "{text} cannot be done");
    }
    assert_eq!(book.n_done() + dead.iter().filter(|text| !book.is_done(text)).count() as u64, total);
    eprintln!(
        "{total} messages, {n_server_kills} kills of the server and {n_worker_kills} of workers: {} done once, {} dead \
         letters, {} handed out again",
        book.n_done(),
        dead.len(),
        counts["redelivered"],
    );
}

/// Waits until every message is settled once, and tells the group's counts.
async fn settled(hub: &Hub, total: u64) -> serde_json::Value {
    loop {
        let info = hub.http().get("/groups/jobs").send().await.expect(200).json();
        let counts = &info["counts"];
        let settled = counts["acknowledged"].as_u64().unwrap() + counts["dead_lettered"].as_u64().unwrap();
        assert!(settled <= total, "more is settled than there was: {info}");
        assert_eq!(counts["lost"], 0, "{info}");
        if settled == total {
            assert_eq!(
                (&info["lag"], &info["in_flight"], &info["waiting"]),
                (&json!(0), &json!(0), &json!(0)),
                "{info}"
            );
            return counts.clone();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn dead_letters(hub: &Hub) -> BTreeSet<String> {
    let (mut all, mut cursor) = (BTreeSet::new(), "-1".to_owned());
    loop {
        let (letters, next) = hub.http().read("dead", &cursor).await;
        if letters.is_empty() {
            return all;
        }
        for letter in letters {
            assert_eq!(letter["headers"]["dead-letter-group"], "jobs", "{letter}");
            let text = letter["data"].as_str().unwrap().to_owned();
            assert!(all.insert(text.clone()), "{text} died twice");
        }
        cursor = next;
    }
}

/// Whether a message is one that nobody can do.
fn is_poison(number: u64) -> bool {
    number % POISON == POISON - 1
}
