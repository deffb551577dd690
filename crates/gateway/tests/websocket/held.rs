//! An engine whose commits can be held back.

use std::sync::Arc;

use quintet_core::clock::Timestamp;
use quintet_core::cursor::{LogId, Offset};
use quintet_core::engine::memory::MemoryEngine;
use quintet_core::engine::transaction::{Outcome, Transaction};
use quintet_core::engine::{Durability, Engine, Observer, Pending, ReadPage, ReadRequest, ScanPage, ScanRequest};
use quintet_core::error::Result;
use quintet_core::limits::Limits;
use quintet_core::name::TopicName;
use tokio::sync::watch;

/// A memory engine with a sluice before it.
#[derive(Debug)]
pub(crate) struct Held {
    engine: Arc<MemoryEngine>,
    is_open: watch::Sender<bool>,
}

impl Held {
    pub(crate) fn new() -> Arc<Self> {
        let engine = Arc::new(MemoryEngine::new(LogId(7), Limits::default()));
        Arc::new(Self { engine, is_open: watch::Sender::new(true) })
    }

    pub(crate) fn hold(&self) {
        self.is_open.send_replace(false);
    }

    pub(crate) fn let_go(&self) {
        self.is_open.send_replace(true);
    }
}

impl Engine for Held {
    fn log(&self) -> LogId {
        self.engine.log()
    }

    fn durability(&self) -> Durability {
        self.engine.durability()
    }

    fn attach(&self, observer: Arc<dyn Observer>) -> Result<()> {
        self.engine.attach(observer)
    }

    fn commit(&self, transaction: Transaction, now: Timestamp) -> Pending<Vec<Outcome>> {
        let (engine, mut is_open) = (Arc::clone(&self.engine), self.is_open.subscribe());
        Box::pin(async move {
            is_open.wait_for(|is_open| *is_open).await.unwrap();
            engine.commit(transaction, now).await
        })
    }

    fn read(&self, request: ReadRequest) -> Pending<ReadPage> {
        self.engine.read(request)
    }

    fn count(&self, topic: TopicName, created: Offset, after: Offset) -> Pending<u64> {
        self.engine.count(topic, created, after)
    }

    fn scan(&self, request: ScanRequest) -> Pending<ScanPage> {
        self.engine.scan(request)
    }

    fn maintain(&self, now: Timestamp) {
        self.engine.maintain(now);
    }

    fn close(&self) -> Pending<()> {
        self.engine.close()
    }
}
