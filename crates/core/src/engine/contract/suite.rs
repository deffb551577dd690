//! An engine under test, what its observer was told, and the words that the cases are written in.
#![allow(clippy::unwrap_used, reason = "a test suite fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::clock::Timestamp;
use crate::cursor::Offset;
use crate::engine::transaction::{
    Append, Appended, Create, Op, Outcome, ProducerStep, Record, TopicConfig, TopicState, Transaction,
};
use crate::engine::{Engine, Observer, ReadPage, ReadRequest, ScanPage, ScanRequest, Trimmed};
use crate::error::{Error, Kind};
use crate::group::GroupState;
use crate::message::{ContentType, Headers, Message, NewMessage};
use crate::name::{Filter, TopicName};

/// An engine under test, and what its observer was told.
#[derive(Clone)]
pub(super) struct Suite {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) seen: Arc<Seen>,
}

#[derive(Default)]
pub(super) struct Seen {
    pub(super) records: Mutex<Vec<Record>>,
    trims: Mutex<Vec<(TopicName, Trimmed)>>,
    pub(super) through: Mutex<Offset>,
}

impl Observer for Seen {
    fn restored(&self, topic: &TopicName, _state: &TopicState) {
        panic!("a new engine holds no topics, but told of {topic}");
    }

    fn group_restored(&self, topic: &TopicName, _created: Offset, _state: &GroupState) {
        panic!("a new engine holds no groups, but told of {topic}");
    }

    fn committed(&self, records: &[Record], through: Offset) {
        let mut seen = self.records.lock();
        for record in records {
            let last = seen.last().map_or(Offset::ZERO, Record::offset);
            assert!(record.offset() > last, "commits are told in log order");
            assert!(record.offset() <= through, "the watermark covers what is told");
            seen.push(record.clone());
        }
        let mut told = self.through.lock();
        assert!(through >= *told, "the watermark never goes back");
        *told = through;
    }

    fn trimmed(&self, topic: &TopicName, trimmed: Trimmed) {
        self.trims.lock().push((topic.clone(), trimmed));
    }
}
pub(super) const NOW: Timestamp = Timestamp(1_700_000_000_000);

impl Suite {
    pub(super) fn new(engine: Arc<dyn Engine>) -> Self {
        let seen = Arc::new(Seen::default());
        engine.attach(Arc::<Seen>::clone(&seen)).unwrap();
        Self { engine, seen }
    }

    pub(super) async fn commit(&self, ops: Vec<Op>) -> Result<Vec<Outcome>, Error> {
        self.engine.commit(Transaction { ops }, NOW).await
    }

    pub(super) async fn append(&self, append: Append) -> Result<Appended, Error> {
        match self.commit(vec![Op::Append(append)]).await?.pop() {
            Some(Outcome::Appended(appended)) => Ok(appended),
            other => panic!("an append was answered by {other:?}"),
        }
    }

    pub(super) async fn publish(&self, topic: &str, payloads: &[&str]) -> Appended {
        self.append(Append { create: Some(open()), ..append(topic, payloads) }).await.unwrap()
    }

    pub(super) async fn create(&self, topic: &str, config: TopicConfig) -> bool {
        match self.commit(vec![create(topic, config)]).await.unwrap().pop() {
            Some(Outcome::Created { new, .. }) => new,
            other => panic!("a creation was answered by {other:?}"),
        }
    }

    pub(super) async fn refused(&self, append: Append) -> Kind {
        self.append(append).await.expect_err("it must be refused").kind().clone()
    }

    pub(super) fn created(&self, topic: &str) -> Offset {
        let records = self.seen.records.lock();
        let found = records.iter().rev().find_map(|record| match record {
            Record::Created { topic: name, offset, .. } if name.as_str() == topic => Some(*offset),
            _ => None,
        });
        found.expect("the topic was created")
    }

    pub(super) async fn page(&self, topic: &str, after: Offset, messages: usize, bytes: usize) -> ReadPage {
        let request = ReadRequest { topic: name(topic), created: self.created(topic), after, messages, bytes };
        self.engine.read(request).await.unwrap()
    }

    pub(super) async fn all(&self, topic: &str) -> Vec<Arc<Message>> {
        self.page(topic, Offset::ZERO, usize::MAX, usize::MAX).await.messages
    }

    pub(super) async fn scan(&self, filter: &str, after: Offset, messages: usize) -> ScanPage {
        let filter = Filter::parse(filter).unwrap();
        let through = *self.seen.through.lock();
        let wanted: crate::engine::Wanted = Arc::new(move |topic| filter.matches(topic));
        self.engine.scan(ScanRequest { after, through, wanted, messages, bytes: usize::MAX }).await.unwrap()
    }
}

impl Suite {
    /// Where a topic has been trimmed to, and how many messages went.
    pub(super) fn trims_of(&self, topic: &str) -> (Offset, u64) {
        let trims = self.seen.trims.lock();
        let of_topic = trims.iter().filter(|(name, _)| name.as_str() == topic).map(|(_, trimmed)| trimmed);
        of_topic.fold((Offset::ZERO, 0), |(_, n), trimmed| (trimmed.through, n + trimmed.messages))
    }

    pub(super) async fn maintained(&self, done: impl Fn(&Self) -> bool) {
        self.maintained_at(NOW, done).await;
    }

    /// Retention may work in the background: time's work is asked for until it has been done.
    pub(super) async fn maintained_at(&self, now: Timestamp, done: impl Fn(&Self) -> bool) {
        let work = async {
            while !done(self) {
                self.engine.maintain(now);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), work).await.expect("retention is applied");
    }
}

pub(super) fn name(text: &str) -> TopicName {
    TopicName::parse(text).unwrap()
}

pub(super) fn text_plain() -> ContentType {
    ContentType::parse("text/plain").unwrap()
}

pub(super) fn open() -> TopicConfig {
    TopicConfig::open(text_plain())
}

pub(super) fn append(topic: &str, payloads: &[&str]) -> Append {
    let message = |payload: &&str| NewMessage {
        content_type: None,
        headers: Headers::new([("n", *payload)]).unwrap(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    };
    Append::new(name(topic), payloads.iter().map(message).collect())
}

pub(super) fn create(topic: &str, config: TopicConfig) -> Op {
    Op::Create(Create { topic: name(topic), config, messages: Vec::new(), closed: false })
}

pub(super) fn by(id: &str, epoch: u64, seq: u64) -> Option<ProducerStep> {
    Some(ProducerStep { id: id.into(), epoch, seq })
}

pub(super) fn payloads(messages: &[Arc<Message>]) -> Vec<&str> {
    messages.iter().map(|message| std::str::from_utf8(&message.payload).unwrap()).collect()
}
