//! What several tests of the core need.

use std::sync::Arc;

use quintet_core::clock::Timestamp;
use quintet_core::cursor::{LogId, Offset};
use quintet_core::engine::memory::MemoryEngine;
use quintet_core::engine::transaction::{Outcome, Transaction};
use quintet_core::engine::{Durability, Engine, Observer, Pending, ReadPage, ReadRequest, ScanPage, ScanRequest};
use quintet_core::error::Result;
use quintet_core::name::TopicName;

/// A memory log that calls itself a disk, so that a hub has two logs.
#[derive(Debug)]
pub(crate) struct Pretender(pub(crate) MemoryEngine);

impl Engine for Pretender {
    fn log(&self) -> LogId {
        self.0.log()
    }
    fn durability(&self) -> Durability {
        Durability::Disk
    }
    fn attach(&self, observer: Arc<dyn Observer>) -> Result<()> {
        self.0.attach(observer)
    }
    fn commit(&self, transaction: Transaction, now: Timestamp) -> Pending<Vec<Outcome>> {
        self.0.commit(transaction, now)
    }
    fn read(&self, request: ReadRequest) -> Pending<ReadPage> {
        self.0.read(request)
    }
    fn count(&self, topic: TopicName, created: Offset, after: Offset) -> Pending<u64> {
        self.0.count(topic, created, after)
    }
    fn scan(&self, request: ScanRequest) -> Pending<ScanPage> {
        self.0.scan(request)
    }
    fn maintain(&self, now: Timestamp) {
        self.0.maintain(now);
    }
    fn close(&self) -> Pending<()> {
        self.0.close()
    }
}
