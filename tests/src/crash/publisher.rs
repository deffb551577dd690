//! A publisher that repeats every batch, with the same producer sequence or the same message id, until it is
//! acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::harness::http::Http;

/// This one gives each batch a message id instead of a number.
pub(crate) const NAMES_ITS_BATCHES: usize = 3;

/// Publishes `<id> 0`, `<id> 1`, … until it is told to stop; how many were acknowledged.
pub(crate) async fn run(http: Http, id: usize, stop: Arc<AtomicBool>) -> u64 {
    let (mut next, mut seq) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let size = 1 + (seq * 7 + id as u64) % 20;
        let texts: Vec<String> = (next..next + size).map(|number| format!("{id} {number}")).collect();
        publish(&http, id, seq, &json!(texts).to_string()).await;
        next += size;
        seq += 1;
    }
    next
}

async fn publish(http: &Http, id: usize, seq: u64, body: &str) {
    loop {
        let post = http.post("/topics/crash", "application/json", body.to_owned());
        let post = if id == NAMES_ITS_BATCHES {
            post.header("Message-Id", format!("batch-{seq}"))
        } else {
            let post = post.header("Producer-Id", format!("publisher-{id}"));
            post.header("Producer-Epoch", "0").header("Producer-Seq", seq.to_string())
        };
        match post.try_send().await {
            Ok(answer) if answer.status == 200 || answer.status == 204 => return,
            Ok(answer) => assert!(answer.status >= 500, "publisher {id}, sequence {seq}: {}", answer.text()),
            // The hub is down: what became of the batch is not known, so it goes again.
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}
