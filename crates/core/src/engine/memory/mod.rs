//! The memory engine: the executable specification of an engine, and the log of topics that need not outlive the
//! process.

mod kept;
mod order;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::future::ready;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::clock::Timestamp;
use crate::cursor::{LogId, Offset};
use crate::engine::ledger::Ledger;
use crate::engine::memory::kept::Kept;
use crate::engine::memory::order::Order;
use crate::engine::transaction::{Outcome, Record, Transaction};
use crate::engine::{Durability, Engine, Observer, Pending, ReadPage, ReadRequest, ScanPage, ScanRequest, Trimmed};
use crate::error::{Error, Kind, Result};
use crate::limits::Limits;
use crate::name::TopicName;

/// Deletions that a lagging filter can still be told of.
const DELETIONS_MAX: usize = 100_000;
/// Topics, and messages of one topic, that are looked at by retention before others get their turn.
const MAINTAIN_TURN_MAX: usize = 1_000;
/// Records that one scan looks at.
const SCAN_TURN_MAX: usize = 10_000;

/// A log in memory.
pub struct MemoryEngine {
    log: LogId,
    /// Held while a transaction is staged, kept and told to the observer, so that the observer hears of commits in
    /// log order. The observer must not call the engine.
    inner: Mutex<Inner>,
}

struct Inner {
    ledger: Ledger,
    topics: HashMap<TopicName, Kept>,
    order: Order,
    /// Messages and closures of all topics that are kept.
    n_records: usize,
    /// Topics with retention by age.
    ageing: HashSet<TopicName>,
    /// Where topics were deleted, for filters that lag.
    deletions: BTreeMap<Offset, TopicName>,
    observer: Option<Arc<dyn Observer>>,
    /// Bytes of all messages that are kept, and of what forks copy of them.
    bytes: u64,
    bytes_max: u64,
    topic_bytes_max: u64,
    closed: bool,
}

impl fmt::Debug for MemoryEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryEngine").field("log", &self.log).finish_non_exhaustive()
    }
}

impl MemoryEngine {
    /// An empty log. Its id should be drawn at random, so that cursors of an earlier process are recognised.
    pub fn new(log: LogId, limits: Limits) -> Self {
        Self {
            log,
            inner: Mutex::new(Inner {
                bytes: 0,
                bytes_max: limits.memory_log_bytes,
                topic_bytes_max: limits.memory_topic_bytes,
                ledger: Ledger::new(limits),
                topics: HashMap::new(),
                order: Order::default(),
                n_records: 0,
                ageing: HashSet::new(),
                deletions: BTreeMap::new(),
                observer: None,
                closed: false,
            }),
        }
    }

    fn commit_now(&self, transaction: Transaction, now: Timestamp) -> Result<Vec<Outcome>> {
        let mut inner = self.inner.lock();
        if inner.closed {
            return Err(Error::new(Kind::ShuttingDown, "the hub is stopping; reconnect and send it again"));
        }
        let staged = inner.ledger.stage(transaction, now)?;
        let new = staged.records.iter().map(|record| match record {
            Record::Message(message) => message.size() as u64,
            Record::Created { config, .. } => config
                .fork
                .as_ref()
                .map_or(0, |fork| inner.topics.get(&fork.source).map_or(0, |source| source.held_by_fork(fork.through))),
            _ => 0,
        });
        if inner.bytes.saturating_add(new.sum()) > inner.bytes_max {
            inner.ledger.rollback();
            let bytes_max = inner.bytes_max;
            return Err(Error::new(
                Kind::StorageFull,
                format!("the memory log holds its limit of {bytes_max} bytes; delete topics, or give them a retention"),
            ));
        }
        if let Some(error) = inner.topic_overflow(&staged.records) {
            inner.ledger.rollback();
            return Err(error);
        }
        inner.ledger.commit();
        let trims: Vec<_> = staged.records.iter().filter_map(|record| inner.keep(record)).collect();
        if let Some(observer) = inner.observer.clone() {
            if !staged.records.is_empty() {
                observer.committed(&staged.records, inner.ledger.last());
            }
            for (topic, trimmed) in trims {
                observer.trimmed(&topic, trimmed);
            }
        }
        Ok(staged.outcomes)
    }
}

/// What a topic takes, before and after it is trimmed.
#[derive(Debug, Clone, Copy)]
struct Extent {
    bytes: u64,
    n_records: usize,
    trimmed_through: Offset,
}

impl Extent {
    fn of(kept: &Kept) -> Self {
        Self { bytes: kept.held(), n_records: kept.n_records(), trimmed_through: kept.trimmed_through }
    }
}

impl Inner {
    /// The error for records that would make a topic too large, unless its retention keeps it smaller.
    fn topic_overflow(&self, records: &[Record]) -> Option<Error> {
        let messages = |record: &Record| match record {
            Record::Message(message) => Some(message.size() as u64),
            _ => None,
        };
        records.chunk_by(|a, b| a.topic() == b.topic()).find_map(|run| {
            let topic = run.first()?.topic();
            let new: u64 = run.iter().filter_map(messages).sum();
            let is_kept_small = |max| max <= self.topic_bytes_max;
            let kept_small = self.ledger.topic(topic)?.config.retention.bytes.is_some_and(is_kept_small);
            let kept = self.topics.get(topic).map_or(0, Kept::bytes);
            (new > 0 && !kept_small && kept.saturating_add(new) > self.topic_bytes_max).then(|| {
                let max = self.topic_bytes_max;
                let detail = format!("the topic {topic} holds its limit of {max} bytes in memory; give it a retention");
                Error::new(Kind::TooMany, detail)
            })
        })
    }

    /// Keeps a record, and trims its topic if it has become too long.
    fn keep(&mut self, record: &Record) -> Option<(TopicName, Trimmed)> {
        match record {
            Record::Created { topic, offset, config, .. } => {
                let source = config.fork.as_ref().and_then(|fork| Some((self.topics.get(&fork.source)?, fork.through)));
                let kept = match source {
                    Some((source, through)) => Kept::fork(*offset, topic, source, through),
                    None => Kept::new(*offset),
                };
                self.bytes += kept.held();
                self.order.trim(topic, Offset::ZERO, kept.trimmed_through);
                self.topics.insert(topic.clone(), kept);
                if config.retention.age.is_some() {
                    self.ageing.insert(topic.clone());
                }
                None
            }
            Record::Message(message) => {
                self.enter(message.offset, &message.topic);
                let retention = self.ledger.topic(&message.topic)?.config.retention;
                let kept = self.topics.get_mut(&message.topic)?;
                kept.push(Arc::clone(message));
                self.bytes += message.size() as u64;
                let before = Extent::of(kept);
                let (ledger, mut settled) = (&self.ledger, None);
                let trimmed = kept.trim(|kept| {
                    if retention.bytes.is_some_and(|max| kept.bytes() > max) {
                        return true;
                    }
                    let too_many = retention.count.is_some_and(|max| kept.len() > max);
                    too_many && kept.is_settled(*settled.get_or_insert_with(|| ledger.settled_through(&message.topic)))
                })?;
                let now = Extent::of(kept);
                self.shrink(&message.topic, before, now);
                Some((message.topic.clone(), trimmed))
            }
            Record::Closed { topic, offset, .. } => {
                self.topics.get_mut(topic)?.closed = Some(*offset);
                self.enter(*offset, topic);
                None
            }
            Record::Hidden { topic, offset } => {
                // Its forks have their own shares; filters that lag are told as of a deletion.
                self.topics.get_mut(topic)?.hidden = true;
                self.deletions.insert(*offset, topic.clone());
                None
            }
            Record::Deleted { topic, offset } => {
                let kept = self.topics.remove(topic)?;
                self.bytes -= kept.held();
                self.n_records -= kept.n_records();
                self.order.trim(topic, kept.trimmed_through, Offset::ZERO);
                self.ageing.remove(topic);
                if !kept.hidden {
                    self.deletions.insert(*offset, topic.clone());
                }
                if self.deletions.len() > DELETIONS_MAX {
                    self.deletions.pop_first();
                }
                None
            }
            Record::Producer { .. }
            | Record::StreamSeq { .. }
            | Record::MessageId { .. }
            | Record::Group { .. }
            | Record::GroupStep { .. } => None,
        }
    }

    /// Notes a record in the log's order.
    fn enter(&mut self, offset: Offset, topic: &TopicName) {
        let topics = &self.topics;
        self.order.forget_dead(self.n_records, |at, name| topics.get(name).is_some_and(|kept| kept.holds(at)));
        self.order.push(offset, topic);
        self.n_records += 1;
    }

    /// Notes that a topic was trimmed.
    fn shrink(&mut self, topic: &TopicName, before: Extent, now: Extent) {
        self.bytes -= before.bytes - now.bytes;
        self.n_records -= before.n_records - now.n_records;
        self.order.trim(topic, before.trimmed_through, now.trimmed_through);
    }

    /// Trims one topic by age, a bounded piece at a time; tells whether there may be more to do.
    fn trim_by_age(&mut self, topic: &TopicName, now: Timestamp) -> bool {
        let Some(age) = self.ledger.topic(topic).and_then(|t| t.config.retention.age) else { return false };
        let Some(kept) = self.topics.get_mut(topic) else { return false };
        let mut n_left = MAINTAIN_TURN_MAX;
        let before = Extent::of(kept);
        let settled = self.ledger.settled_through(topic);
        let trimmed = kept.trim(|kept| {
            let old = kept.oldest_counts_as(now).is_some_and(|time| now.since(time) > age) && kept.is_settled(settled);
            n_left = n_left.saturating_sub(usize::from(old));
            old && n_left > 0
        });
        if let Some(trimmed) = trimmed {
            let now = Extent::of(kept);
            self.shrink(topic, before, now);
            if let Some(observer) = &self.observer {
                observer.trimmed(topic, trimmed);
            }
        }
        n_left == 0
    }

    fn read(&self, request: &ReadRequest) -> ReadPage {
        let Some(kept) = self.topics.get(&request.topic).filter(|kept| kept.created == request.created) else {
            return ReadPage { complete: true, ..ReadPage::default() };
        };
        let mut page = ReadPage { trimmed_through: kept.trimmed_through, complete: true, ..ReadPage::default() };
        let mut bytes = 0;
        for message in kept.after(request.after) {
            bytes += message.payload.len();
            let full = page.messages.len() >= request.messages || bytes > request.bytes;
            if full && !page.messages.is_empty() {
                page.complete = false;
                break;
            }
            page.messages.push(Arc::clone(message));
        }
        page
    }

    /// Goes through the log behind an offset, a bounded piece at a time.
    fn scan(&self, request: &ScanRequest) -> ScanPage {
        let mut page = ScanPage { through: request.through, ..ScanPage::default() };
        if request.after >= request.through {
            return page;
        }
        for (through, name) in self.order.trimmed_behind(request.after).filter(|(_, name)| (request.wanted)(name)) {
            // A fork inherits where its source has been trimmed, which is no news to a filter.
            let news = self.topics.get(name).is_some_and(|kept| !kept.hidden && through > kept.created);
            if news {
                page.gaps.push((name.clone(), through.min(request.through)));
            }
        }
        let deletions = self.deletions.range(request.after.next()..=request.through);
        let mut deletions = deletions.filter(|(_, topic)| (request.wanted)(topic)).peekable();
        let mut known: HashMap<&TopicName, Option<&Kept>> = HashMap::new();
        let (mut bytes, mut n_seen) = (0, 0);
        let mut records =
            self.order.after(request.after).take_while(|(offset, _)| *offset <= request.through).peekable();
        loop {
            let deleted_first = match (deletions.peek(), records.peek()) {
                (Some((deleted, _)), Some((offset, _))) => *deleted < offset,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (None, None) => return page,
            };
            let record = if deleted_first {
                deletions.next().map(|(offset, topic)| Record::Deleted { topic: topic.clone(), offset: *offset })
            } else if let Some((offset, name)) = records.next() {
                let wanted = || self.topics.get(name).filter(|kept| !kept.hidden && (request.wanted)(name));
                n_seen += 1;
                known.entry(name).or_insert_with(wanted).and_then(|kept| kept.record_at(name, offset))
            } else {
                None
            };
            if let Some(record) = record {
                if let Record::Message(message) = &record {
                    bytes += message.payload.len();
                }
                let full = page.records.len() >= request.messages || bytes > request.bytes;
                if full && !page.records.is_empty() {
                    page.through = Offset(record.offset().0.saturating_sub(1));
                    return page;
                }
                page.records.push(record);
            }
            // Others have their turn, however little is wanted.
            if n_seen >= SCAN_TURN_MAX
                && let Some((next, _)) = records.peek()
            {
                page.through = Offset(next.0.saturating_sub(1)).min(request.through);
                let deleted = deletions.peek().map(|(offset, _)| Offset(offset.0.saturating_sub(1)));
                page.through = deleted.map_or(page.through, |deleted| page.through.min(deleted));
                return page;
            }
        }
    }
}

impl Engine for MemoryEngine {
    fn log(&self) -> LogId {
        self.log
    }

    fn durability(&self) -> Durability {
        Durability::Memory
    }

    fn attach(&self, observer: Arc<dyn Observer>) -> Result<()> {
        let mut inner = self.inner.lock();
        for (name, topic) in inner.ledger.topics() {
            let Some(kept) = inner.topics.get(name) else { continue };
            observer.restored(name, &kept.state(topic));
        }
        for (name, created, group) in inner.ledger.groups() {
            observer.group_restored(name, created, group);
        }
        observer.committed(&[], inner.ledger.last());
        inner.observer = Some(observer);
        Ok(())
    }

    fn commit(&self, transaction: Transaction, now: Timestamp) -> Pending<Vec<Outcome>> {
        Box::pin(ready(self.commit_now(transaction, now)))
    }

    fn read(&self, request: ReadRequest) -> Pending<ReadPage> {
        Box::pin(ready(Ok(self.inner.lock().read(&request))))
    }

    fn count(&self, topic: TopicName, created: Offset, after: Offset) -> Pending<u64> {
        let inner = self.inner.lock();
        let kept = inner.topics.get(&topic).filter(|kept| kept.created == created);
        Box::pin(ready(Ok(kept.map_or(0, |kept| kept.n_after(after)))))
    }

    fn scan(&self, request: ScanRequest) -> Pending<ScanPage> {
        Box::pin(ready(Ok(self.inner.lock().scan(&request))))
    }

    fn maintain(&self, now: Timestamp) {
        let ageing: Vec<TopicName> = self.inner.lock().ageing.iter().cloned().collect();
        for topics in ageing.chunks(MAINTAIN_TURN_MAX) {
            for topic in topics {
                // The lock is given up between pieces, so that no publish waits for a long trim.
                while self.inner.lock().trim_by_age(topic, now) {}
            }
        }
    }

    fn close(&self) -> Pending<()> {
        self.inner.lock().closed = true;
        Box::pin(ready(Ok(())))
    }
}
