//! What a large store costs: memory, opening, reading.
//!
//! `cargo run --release -p quintet-store --example scale [folder] [topics] [messages] [end]`; with `0` messages the folder
//! of an earlier run is opened, in a process that has done nothing else. The end `kill` sends the process SIGKILL while
//! it still publishes, once so many messages were acknowledged; otherwise the store is dropped and opened again.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement prints, and fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use quintet_core::clock::{Clock, SystemClock};
use quintet_core::cursor::Offset;
use quintet_core::engine::transaction::{Append, Op, Record, TopicConfig, TopicState, Transaction};
use quintet_core::engine::{Engine, Observer, ReadRequest, Trimmed};
use quintet_core::message::{ContentType, NewMessage};
use quintet_core::name::TopicName;
use quintet_store::disk::random::Random;
use quintet_store::{Store, StoreConfig};

/// Remembers where a few topics begin.
#[derive(Default)]
struct Few(Mutex<Vec<(TopicName, Offset)>>);

impl Observer for Few {
    fn restored(&self, topic: &TopicName, state: &TopicState) {
        let mut few = self.0.lock();
        if few.len() < 1_000 {
            few.push((topic.clone(), state.created));
        }
    }
    fn committed(&self, _: &[Record], _: Offset) {}
    fn trimmed(&self, _: &TopicName, _: Trimmed) {}
}

fn resident_mib() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<f64>().unwrap() * 4096.0 / f64::from(1 << 20)
}

fn open(folder: &Path, what: &str) -> (Arc<Store>, Arc<Few>) {
    let (begun, before) = (Instant::now(), resident_mib());
    let store = Store::open(&StoreConfig::new(folder)).unwrap();
    let few = Arc::new(Few::default());
    store.attach(Arc::<Few>::clone(&few)).unwrap();
    println!("opened {what} in {:?}; {before:.0} -> {:.0} MiB resident", begun.elapsed(), resident_mib());
    (store, few)
}

/// Ends this process as `kill -9` does.
fn kill_self() {
    let id = std::process::id().to_string();
    std::process::Command::new("kill").args(["-KILL", &id]).status().unwrap();
}

async fn fill(store: &Store, n_topics: u64, n_messages: u64, kill: bool) {
    let mut random = Random(1);
    let payload = Bytes::from(vec![b'x'; 256]);
    let config = TopicConfig::open(ContentType::octet_stream());
    let begun = Instant::now();
    let mut answers = std::collections::VecDeque::new();
    let mut n_acknowledged = 0;
    let n_batches = if kill { u64::MAX } else { n_messages / 100 };
    for i in 0..n_batches {
        let ops = (0..100).map(|j| {
            // Every topic gets one, and then chance decides.
            let n = i * 100 + j;
            let n = if n < n_topics { n } else { random.below(n_topics) };
            let topic = TopicName::parse(&format!("sensors/building-{}/{n}", n % 10)).unwrap();
            let message = NewMessage { payload: payload.clone(), ..NewMessage::default() };
            Op::Append(Append { create: Some(config.clone()), ..Append::new(topic, vec![message]) })
        });
        answers.push_back(store.commit(Transaction { ops: ops.collect() }, SystemClock.now()));
        if answers.len() > 100
            && let Some(answer) = answers.pop_front()
        {
            answer.await.unwrap();
            n_acknowledged += 100;
        }
        if kill && n_acknowledged >= n_messages {
            println!("{n_acknowledged} messages in {:?}; {:.0} MiB resident; killed", begun.elapsed(), resident_mib());
            kill_self();
        }
        if i % 1_000 == 0 {
            store.maintain(SystemClock.now());
        }
    }
    for answer in answers {
        answer.await.unwrap();
    }
    println!("{n_messages} messages in {:?}; {:.0} MiB resident", begun.elapsed(), resident_mib());
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| "scale".into());
    let mut number = |default| arguments.next().map_or(default, |text| text.parse::<u64>().unwrap());
    let (n_topics, n_messages) = (number(100_000), number(2_000_000));
    let end = arguments.next();
    let folder = Path::new(&folder);
    if n_messages > 0 {
        let (store, _) = open(folder, "to write");
        fill(&store, n_topics, n_messages, end.as_deref() == Some("kill")).await;
        drop(store);
        let (store, _) = open(folder, "after an unclean end");
        store.close().await.unwrap();
        return;
    }
    let (store, few) = open(folder, "in a new process");
    let few = few.0.lock().clone();
    let (begun, mut n) = (Instant::now(), 0);
    for (topic, created) in few.iter().cloned() {
        let request = ReadRequest { topic, created, after: created, messages: 100, bytes: 1 << 20 };
        n += store.read(request).await.unwrap().messages.len();
    }
    let each = begun.elapsed() / few.len().max(1) as u32;
    println!("read {n} messages of {} topics, {each:?} each; {:.0} MiB resident", few.len(), resident_mib());
    store.close().await.unwrap();
}
