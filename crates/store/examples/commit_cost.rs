//! What a commit costs, beside the bare loop of `write` and `fdatasync` with the same bytes.
//!
//! `cargo run --release -p quintet-store --example commit_cost [folder] [batches] [rounds] [batch]`: the bare loop and the engine in
//! turn, so that a noisy minute hits all alike. A cell is the median of the rounds with the lowest and the highest; a
//! ratio is the median of the rounds' own ratios.
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

// As in the binary, so that what is measured is what users run.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const TOPICS: usize = 100;
const PAYLOAD_BYTES: usize = 256;

struct Nobody;

impl Observer for Nobody {
    fn restored(&self, _: &TopicName, _: &TopicState) {}
    fn committed(&self, _: &[Record], _: Offset) {}
    fn trimmed(&self, _: &TopicName, _: Trimmed) {}
}

/// CPU time of this process' living threads so far, in seconds. None of them ends while something is measured.
fn cpu() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let stats = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("schedstat")).ok());
    stats.map(|stat| stat.split(' ').next().unwrap().parse::<f64>().unwrap()).sum::<f64>() / 1e9
}

/// Messages per second, and microseconds of CPU a message.
#[derive(Clone, Copy)]
struct Cost {
    rate: f64,
    cpu: f64,
}

impl Cost {
    fn of(messages: usize, begun: Instant, cpu_begun: f64) -> Self {
        let n = messages as f64;
        Self { rate: n / begun.elapsed().as_secs_f64(), cpu: (cpu() - cpu_begun) / n * 1e6 }
    }
}

fn spread(mut values: Vec<f64>, digits: usize) -> String {
    values.sort_by(f64::total_cmp);
    let (low, middle, high) = (values[0], values[values.len() / 2], values[values.len() - 1]);
    format!("{middle:.digits$} ({low:.digits$}-{high:.digits$})")
}

/// The floor: records with a checksum each, one write and one sync a batch.
fn bare(folder: &Path, batch: usize, messages: usize) -> Cost {
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
    let cost = Cost::of(messages, begun, cpu_begun);
    std::fs::remove_file(folder.join("bare")).unwrap();
    cost
}

fn append(topic: &TopicName, n: usize, payload: &Bytes) -> Transaction {
    let message = NewMessage { payload: payload.clone(), ..NewMessage::default() };
    let create = Some(TopicConfig::open(ContentType::octet_stream()));
    Op::Append(Append { create, ..Append::new(topic.clone(), vec![message; n]) }).into()
}

async fn engine(folder: &Path, batch: usize, messages: usize, publishers: usize) -> Cost {
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
    let cost = Cost::of(messages, begun, cpu_begun);
    store.close().await.unwrap();
    drop(store);
    std::fs::remove_dir_all(folder).unwrap();
    cost
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| "commit-cost".into());
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder).unwrap();
    let mut number = |default| arguments.next().map_or(default, |text| text.parse::<usize>().unwrap());
    let (n_batches, n_rounds) = (number(1_000), number(5));
    let only = number(0);
    println!("| what | messages per s | CPU us per message | CPU x bare |");
    println!("| ---- | -------------- | ------------------ | ---------- |");
    for batch in [1, 16, 256, 1_024].into_iter().filter(|batch| only == 0 || *batch == only) {
        let messages = batch * n_batches;
        let mut rounds = Vec::new();
        for _ in 0..n_rounds {
            let bare = bare(folder, batch, messages);
            let batches = engine(folder, batch, messages, 1).await;
            let publishers = if batch == 1 { batches } else { engine(folder, 1, messages, batch).await };
            rounds.push([bare, batches, publishers]);
        }
        let names = ["bare write+fdatasync,", "engine, one publisher's", "engine, one message each,"];
        for (i, name) in names.into_iter().enumerate().take(if batch == 1 { 2 } else { 3 }) {
            let all = |value: &dyn Fn(&[Cost; 3]) -> f64| rounds.iter().map(value).collect::<Vec<_>>();
            let rate = spread(all(&|round| round[i].rate), 0);
            let cpu = spread(all(&|round| round[i].cpu), 2);
            let ratio = spread(all(&|round| round[i].cpu / round[0].cpu), 2);
            println!("| {name} {batch} | {rate} | {cpu} | {ratio} |");
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
}
