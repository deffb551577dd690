//! A hub with a group, for tests: short words for what members do, and a clock that goes with tokio's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use quintet_core::clock::{Clock, Timestamp};
use quintet_core::cursor::{LogId, Offset, Since};
use quintet_core::engine::memory::MemoryEngine;
use quintet_core::engine::transaction::{Op, Outcome, Transaction};
use quintet_core::engine::{Durability, Engine, Observer, Pending, ReadPage, ReadRequest, ScanPage, ScanRequest};
use quintet_core::error::{Error, Kind, Result};
use quintet_core::fanout::Taken;
use quintet_core::group::{GroupConfig, GroupName};
use quintet_core::hub::{Hub, HubConfig};
use quintet_core::limits::Limits;
use quintet_core::message::{ContentType, Headers, NewMessage};
use quintet_core::name::{Filter, TopicName};
use quintet_core::patterns::publish_subscribe::Publish;
use quintet_core::patterns::publish_subscribe::groups::consumer::{Consumer, GroupInfo, Handed};
use quintet_core::patterns::publish_subscribe::groups::operate::{ClaimRequest, NewGroup};
use quintet_core::reading::Read;
use tokio::time::Instant;

/// A time of day that goes with tokio's clock, paused or not.
#[derive(Debug)]
pub(crate) struct TokioClock(Instant);

impl Default for TokioClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000_000).plus(self.0.elapsed())
    }
}

pub(crate) fn name(text: &str) -> TopicName {
    TopicName::parse(text).unwrap()
}

pub(crate) fn group() -> GroupName {
    GroupName::parse("g").unwrap()
}

pub(crate) fn over(filter: &str) -> GroupConfig {
    GroupConfig::new(Filter::parse(filter).unwrap())
}

/// A hub and what is done with it.
pub(crate) struct Work {
    pub(crate) hub: Arc<Hub>,
}

impl Work {
    pub(crate) fn on(engine: Arc<dyn Engine>, clock: Arc<dyn Clock>, limits: Limits) -> Self {
        let config = HubConfig { clock, limits, ..HubConfig::new(engine) };
        Self { hub: Hub::start(config).unwrap() }
    }

    pub(crate) async fn put(&self, config: GroupConfig) -> GroupInfo {
        let new = NewGroup { group: group(), config, since: Since::Start, durability: None };
        self.hub.put_group(new).await.unwrap().1
    }

    pub(crate) async fn publish(&self, topic: &str, texts: &[&str]) {
        self.publish_keyed(topic, "", texts).await;
    }

    pub(crate) async fn publish_keyed(&self, topic: &str, key: &str, texts: &[&str]) {
        let message = |text: &&str| NewMessage {
            content_type: Some(ContentType::parse("text/plain").unwrap()),
            headers: if key.is_empty() { Headers::none() } else { Headers::new([("key", key)]).unwrap() },
            payload: text.as_bytes().to_vec().into(),
        };
        self.hub.publish(Publish::new(name(topic), texts.iter().map(message).collect())).await.unwrap();
    }

    pub(crate) async fn claim(&self, member: &str, max: u32, wait: Duration) -> Vec<Handed> {
        let request = ClaimRequest { member: member.into(), max, until: Instant::now() + wait };
        self.hub.claim_messages(&group(), request).await.unwrap_or_else(|error| {
            assert_eq!(error.kind(), &Kind::StorageFull);
            Vec::new()
        })
    }

    pub(crate) async fn info(&self) -> GroupInfo {
        self.hub.describe_group(&group()).await.unwrap()
    }

    pub(crate) async fn texts_of(&self, topic: &str) -> Vec<String> {
        let page = self.hub.read(&Read::new(name(topic), Since::Start)).await.unwrap();
        page.batch.messages().iter().map(|message| text(&message.payload)).collect()
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(crate) fn texts(handed: &[Handed]) -> Vec<String> {
    handed.iter().map(|handed| text(&handed.message.payload)).collect()
}

/// A consumer that keeps what it takes, and can be full.
#[derive(Clone, Default)]
pub(crate) struct Basket(pub(crate) Arc<Mutex<BasketState>>);

#[derive(Default)]
pub(crate) struct BasketState {
    pub(crate) taken: Vec<Handed>,
    pub(crate) room: usize,
    pub(crate) ended: Option<Error>,
}

impl Basket {
    pub(crate) fn with_room(room: usize) -> Self {
        let basket = Self::default();
        basket.0.lock().room = room;
        basket
    }

    pub(crate) fn take(&self) -> Vec<Handed> {
        std::mem::take(&mut self.0.lock().taken)
    }
}

impl Consumer for Basket {
    fn take(&mut self, handed: &[Handed]) -> Taken {
        let mut state = self.0.lock();
        if state.room == 0 {
            return Taken::No;
        }
        state.room = state.room.saturating_sub(handed.len());
        state.taken.extend_from_slice(handed);
        if state.room == 0 { Taken::YesAndFull } else { Taken::Yes }
    }

    fn end(&mut self, error: &Error) {
        self.0.lock().ended = Some(error.clone());
    }
}

/// A memory log whose next change of a group can be made to fail.
#[derive(Debug)]
pub(crate) struct Flaky {
    pub(crate) inner: MemoryEngine,
    pub(crate) fails: AtomicBool,
}

impl Flaky {
    pub(crate) fn new() -> Arc<Self> {
        let inner = MemoryEngine::new(LogId(7), Limits::default());
        Arc::new(Self { inner, fails: AtomicBool::new(false) })
    }
}

impl Engine for Flaky {
    fn log(&self) -> LogId {
        self.inner.log()
    }
    fn durability(&self) -> Durability {
        self.inner.durability()
    }
    fn attach(&self, observer: Arc<dyn Observer>) -> Result<()> {
        self.inner.attach(observer)
    }
    fn commit(&self, transaction: Transaction, now: Timestamp) -> Pending<Vec<Outcome>> {
        let of_group = transaction.ops.iter().any(|op| matches!(op, Op::StepGroup(_)));
        if of_group && self.fails.swap(false, Ordering::Relaxed) {
            let error = Error::new(Kind::StorageFull, "the disk is full for once");
            return Box::pin(std::future::ready(Err(error)));
        }
        self.inner.commit(transaction, now)
    }
    fn read(&self, request: ReadRequest) -> Pending<ReadPage> {
        self.inner.read(request)
    }
    fn count(&self, topic: TopicName, created: Offset, after: Offset) -> Pending<u64> {
        self.inner.count(topic, created, after)
    }
    fn scan(&self, request: ScanRequest) -> Pending<ScanPage> {
        self.inner.scan(request)
    }
    fn maintain(&self, now: Timestamp) {
        self.inner.maintain(now);
    }
    fn close(&self) -> Pending<()> {
        self.inner.close()
    }
}

/// Waits until something is so.
pub(crate) async fn eventually<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), found).await.expect("it becomes so in time")
}

pub(crate) fn ids(handed: &[Handed]) -> Vec<quintet_core::patterns::publish_subscribe::groups::consumer::DeliveryId> {
    handed.iter().map(Handed::id).collect()
}

#[allow(dead_code, reason = "not every test needs the error")]
pub(crate) fn kind<T: std::fmt::Debug>(result: Result<T>) -> Kind {
    result.unwrap_err().kind().clone()
}
