//! What a commit costs, beside the bare loop of `write` and `fdatasync` with the same bytes.
//!
//! `cargo run --release -p quintet-store --example commit_cost [folder] [batches]`
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement prints, and fails by panicking")]

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use quintet_core::clock::{Clock, SystemClock};
use quintet_core::cursor::Offset;
use quintet_core::engine::transaction::{Append, Op, Record, TopicConfig, TopicState, Transaction};
use quintet_core::engine::{Engine, Observer, Trimmed};
use quintet_core::message::{ContentType, NewMessage};
use quintet_core::name::TopicName;
use quintet_store::{Store, StoreConfig};

const TOPICS: usize = 100;
const PAYLOAD_BYTES: usize = 256;

struct Nobody;

impl Observer for Nobody {
    fn restored(&self, _: &TopicName, _: &TopicState) {}
    fn committed(&self, _: &[Record], _: Offset) {}
    fn trimmed(&self, _: &TopicName, _: Trimmed) {}
}

/// User and system time of this process so far, in seconds.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn report(what: &str, batch: usize, messages: usize, begun: Instant, cpu_begun: f64) {
    let (wall, cpu) = (begun.elapsed().as_secs_f64(), cpu() - cpu_begun);
    let (rate, million) = (messages as f64 / wall, messages as f64 / 1e6);
    println!("{what:<28} {batch:>5}  {rate:>10.0} messages/s  {:>7.2} CPU s/million", cpu / million);
}

/// The floor: records with a checksum each, one write and one sync a batch.
fn bare(folder: &Path, batch: usize, messages: usize) {
    let mut file = std::fs::File::create(folder.join("bare")).unwrap();
    let payload = vec![b'x'; PAYLOAD_BYTES];
    let (begun, cpu_begun) = (Instant::now(), cpu());
    let mut buffer = Vec::new();
    for _ in 0..messages / batch {
        buffer.clear();
        for i in 0..batch {
            let at = buffer.len();
            buffer.extend_from_slice(&[0; 32]);
            buffer.extend_from_slice(&payload);
            buffer[at + 4] = i as u8;
            let checksum = crc32c::crc32c(&buffer[at + 4..]);
            buffer[at..at + 4].copy_from_slice(&checksum.to_le_bytes());
        }
        file.write_all(&buffer).unwrap();
        file.sync_data().unwrap();
    }
    report("bare write+fdatasync", batch, messages, begun, cpu_begun);
    std::fs::remove_file(folder.join("bare")).unwrap();
}

fn append(topic: &TopicName, n: usize, payload: &Bytes) -> Transaction {
    let message = NewMessage { payload: payload.clone(), ..NewMessage::default() };
    let create = Some(TopicConfig::open(ContentType::octet_stream()));
    Op::Append(Append { create, ..Append::new(topic.clone(), vec![message; n]) }).into()
}

async fn engine(folder: &Path, batch: usize, messages: usize, publishers: usize) {
    let folder = folder.join("store");
    let store = Store::open(&StoreConfig::new(&folder)).unwrap();
    store.attach(Arc::new(Nobody)).unwrap();
    let topics: Vec<_> = (0..TOPICS).map(|i| TopicName::parse(&format!("t/{i}")).unwrap()).collect();
    let payload = Bytes::from(vec![b'x'; PAYLOAD_BYTES]);
    let (begun, cpu_begun) = (Instant::now(), cpu());
    let tasks: Vec<_> = (0..publishers)
        .map(|publisher| {
            let (store, topic) = (Arc::clone(&store), topics[publisher % TOPICS].clone());
            let payload = payload.clone();
            tokio::spawn(async move {
                for _ in 0..messages / batch / publishers {
                    store.commit(append(&topic, batch, &payload), SystemClock.now()).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let what = if publishers == 1 { "one publisher, batches" } else { "publishers of one message" };
    report(what, batch.max(publishers), messages, begun, cpu_begun);
    store.close().await.unwrap();
    let begun = Instant::now();
    let store = Store::open(&StoreConfig::new(&folder)).unwrap();
    println!("{:<28}        opened in {:?} after closing", "", begun.elapsed());
    drop(store);
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "commit-cost".into());
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder).unwrap();
    let n_batches: usize = std::env::args().nth(2).map_or(2_000, |text| text.parse().unwrap());
    for batch in [1, 16, 256, 1_024] {
        let messages = batch * n_batches;
        bare(folder, batch, messages);
        engine(folder, batch, messages, 1).await;
        if batch > 1 && std::env::args().nth(3).is_none() {
            engine(folder, 1, messages, batch).await;
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
}
