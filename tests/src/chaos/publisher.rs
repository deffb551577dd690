//! A publisher that repeats every batch, with the same producer sequence, until it is acknowledged.

use std::time::Duration;

use serde_json::json;

use crate::harness::http::Http;

/// Publishes `<id> 0` up to `<id> <n - 1>` to some topics.
pub(crate) async fn run(http: Http, id: u64, n: u64) {
    let topic = format!("/topics/work/{id}");
    let (mut next, mut seq) = (0, 0_u64);
    while next < n {
        let size = (1 + (seq * 7 + id) % 40).min(n - next);
        let texts: Vec<String> = (next..next + size).map(|number| format!("{id} {number}")).collect();
        publish(&http, &topic, id, seq, &json!(texts).to_string()).await;
        next += size;
        seq += 1;
    }
}

async fn publish(http: &Http, topic: &str, id: u64, seq: u64, body: &str) {
    loop {
        let post = http.post(topic, "application/json", body.to_owned());
        let post = post.header("Producer-Id", format!("publisher-{id}"));
        let post = post.header("Producer-Epoch", "0").header("Producer-Seq", seq.to_string());
        match post.try_send().await {
            Ok(answer) if answer.status == 200 || answer.status == 204 => return,
            Ok(answer) => assert!(answer.status >= 500, "publisher {id}, sequence {seq}: {}", answer.text()),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}
