//! What the tests share: a small store, an observer that remembers, and short ways to publish and read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use quintet_core::clock::Timestamp;
use quintet_core::cursor::Offset;
use quintet_core::engine::transaction::{Append, Delete, Op, Outcome, Record, TopicConfig, TopicState, Transaction};
use quintet_core::engine::{Engine, Observer, ReadPage, ReadRequest, ScanRequest, Trimmed};
use quintet_core::error::{Error, Result};
use quintet_core::message::{ContentType, Message, NewMessage};
use quintet_core::name::TopicName;
use quintet_store::disk::Disk;
use quintet_store::disk::faulty::FaultyDisk;
use quintet_store::{Store, StoreConfig};

pub(crate) const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// Segments, and stretches between checkpoints, of a few messages each.
pub(crate) fn tiny() -> StoreConfig {
    StoreConfig {
        segment_bytes: 2_000,
        reserve_bytes: 300,
        checkpoint_log_bytes: 6_000,
        ballast_bytes: 9_000,
        read_threads: 1,
        ..StoreConfig::new("tiny")
    }
}

/// The same with no room written ahead, some, or all of a segment at once.
pub(crate) fn tiny_for(seed: u64) -> StoreConfig {
    StoreConfig { reserve_bytes: [0, 300, 5_000][seed as usize % 3], ..tiny() }
}

/// An observer that remembers.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) restored: Mutex<BTreeMap<String, TopicState>>,
    pub(crate) records: Mutex<Vec<Record>>,
    pub(crate) trims: Mutex<Vec<(String, Trimmed)>>,
    pub(crate) through: Mutex<Offset>,
}

impl Observer for Seen {
    fn restored(&self, topic: &TopicName, state: &TopicState) {
        self.restored.lock().insert(topic.to_string(), state.clone());
    }

    fn committed(&self, records: &[Record], through: Offset) {
        self.records.lock().extend_from_slice(records);
        *self.through.lock() = through;
    }

    fn trimmed(&self, topic: &TopicName, trimmed: Trimmed) {
        self.trims.lock().push((topic.to_string(), trimmed));
    }
}

/// A store under test.
pub(crate) struct Open {
    pub(crate) store: Arc<Store>,
    pub(crate) seen: Arc<Seen>,
}

pub(crate) fn name(text: &str) -> TopicName {
    TopicName::parse(text).unwrap()
}

pub(crate) fn open_config() -> TopicConfig {
    TopicConfig::open(ContentType::parse("text/plain").unwrap())
}

pub(crate) fn message(payload: impl Into<Bytes>) -> NewMessage {
    NewMessage { payload: payload.into(), ..NewMessage::default() }
}

pub(crate) fn append(topic: &str, payloads: &[&str]) -> Append {
    let messages = payloads.iter().map(|payload| message(payload.as_bytes().to_vec())).collect();
    Append { create: Some(open_config()), ..Append::new(name(topic), messages) }
}

impl Open {
    pub(crate) fn on(disk: &(impl Disk + Clone), config: &StoreConfig) -> Result<Self> {
        Self::attach(Store::open_on(Arc::new(disk.clone()), config)?)
    }

    pub(crate) fn attach(store: Arc<Store>) -> Result<Self> {
        let seen = Arc::new(Seen::default());
        store.attach(Arc::<Seen>::clone(&seen))?;
        Ok(Self { store, seen })
    }

    pub(crate) async fn commit(&self, op: Op) -> Result<Outcome> {
        let mut outcomes = self.store.commit(Transaction::from(op), NOW).await?;
        Ok(outcomes.pop().unwrap())
    }

    pub(crate) async fn publish(&self, topic: &str, payloads: &[&str]) -> Result<Offset> {
        match self.commit(Op::Append(append(topic, payloads))).await? {
            Outcome::Appended(appended) => Ok(appended.tail),
            other => panic!("an append was answered by {other:?}"),
        }
    }

    pub(crate) async fn delete(&self, topic: &str) -> Result<()> {
        self.commit(Op::Delete(Delete { topic: name(topic), created: None })).await.map(drop)
    }

    /// Where the topic's present life begins.
    pub(crate) fn created(&self, topic: &str) -> Offset {
        let records = self.seen.records.lock();
        let found = records.iter().rev().find_map(|record| match record {
            Record::Created { topic: name, offset, .. } if name.as_str() == topic => Some(*offset),
            _ => None,
        });
        let restored = || self.seen.restored.lock().get(topic).map(|state| state.created);
        found.or_else(restored).unwrap_or(Offset::ZERO)
    }

    pub(crate) async fn page(&self, topic: &str, after: Offset, messages: usize) -> Result<ReadPage, Error> {
        let created = self.created(topic);
        let request = ReadRequest { topic: name(topic), created, after, messages, bytes: 1 << 20 };
        self.store.read(request).await
    }

    /// The whole topic, page by page.
    pub(crate) async fn all(&self, topic: &str) -> Result<Vec<Arc<Message>>> {
        let (mut after, mut all) = (Offset::ZERO, Vec::new());
        loop {
            let page = self.page(topic, after, 7).await?;
            after = page.messages.last().map_or(after, |message| message.offset);
            all.extend(page.messages);
            if page.complete {
                return Ok(all);
            }
        }
    }

    pub(crate) async fn texts(&self, topic: &str) -> Result<Vec<String>> {
        Ok(self.all(topic).await?.iter().map(|m| String::from_utf8(m.payload.to_vec()).unwrap()).collect())
    }

    /// Everything that is kept, in log order.
    pub(crate) async fn scan(&self) -> Result<Vec<Record>> {
        let (mut after, mut all) = (Offset::ZERO, Vec::new());
        let through = *self.seen.through.lock();
        while after < through {
            let request = ScanRequest { after, through, wanted: Arc::new(|_| true), messages: 7, bytes: 1 << 20 };
            let page = self.store.scan(request).await?;
            assert!(page.through > after, "a scan makes progress");
            after = page.through;
            all.extend(page.records);
        }
        Ok(all)
    }

    /// Lets time's work be done until a condition holds.
    pub(crate) async fn until(&self, now: Timestamp, what: &str, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !done() {
            assert!(Instant::now() < deadline, "waited in vain for this: {what}");
            self.store.maintain(now);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until the record of a topic's creation, and so all before it, has its second copy, or is in a checkpoint.
    pub(crate) async fn copied(&self, disk: &FaultyDisk, topic: &str) {
        // As a record has it: its length, and its bytes.
        let name = [&[topic.len() as u8], topic.as_bytes()].concat();
        let has = |(file, length): &(String, usize)| {
            let mut bytes = vec![0; *length];
            (file.ends_with(".copies") || file.ends_with(".checkpoint"))
                && disk.open(file).is_ok_and(|file| file.read_at(&mut bytes, 0).is_ok())
                && bytes.windows(name.len()).any(|window| window == name)
        };
        self.until(NOW, "second copies", || disk.files().iter().any(has)).await;
    }

    pub(crate) async fn close(self) {
        self.store.close().await.unwrap();
    }
}
