//! The rules of a log: what a transaction may do, and what it leaves behind.
//!
//! A ledger is a fold over the log's records. An engine stages transactions on it one after the other, writes the
//! records that come out, and then [`Ledger::commit`]s, or takes everything since the last commit back with
//! [`Ledger::rollback`] when the write failed. Rules are checked against the staged state, so what is still being
//! written counts. It does no I/O and keeps no messages.

mod append;
mod groups;
mod message_ids;
mod state;

pub(crate) use self::groups::{group_deleted, group_not_found};
pub use self::message_ids::RememberedId;
pub use self::state::{ClosedBy, ProducerState, Snapshot, TopicLedger};

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::cursor::Offset;
use crate::engine::transaction::{Create, Delete, Fork, Op, Outcome, ProducerStep, Record, TopicConfig, Transaction};
use crate::error::{Error, Kind, Result};
use crate::limits::Limits;
use crate::name::TopicName;

/// Deleted names that are remembered, so that a cursor into an earlier life is told so.
const TOMBSTONES_MAX: usize = 100_000;

/// What a staged transaction consists of.
#[derive(Debug)]
pub struct Staged {
    /// The records to write, in order; empty if nothing changes.
    pub records: Vec<Record>,
    /// The answers to give once they are written.
    pub outcomes: Vec<Outcome>,
}

/// The state of a log, with what has been staged on it.
#[derive(Debug)]
pub struct Ledger {
    limits: Limits,
    topics: HashMap<TopicName, TopicLedger>,
    /// How many of them are the hub's own.
    n_reserved: usize,
    /// The topics of groups.
    groups: BTreeSet<TopicName>,
    tombstones: HashMap<TopicName, Offset>,
    /// The same by age, to forget the oldest first.
    tombstones_by_offset: BTreeMap<Offset, TopicName>,
    /// Tombstones at or below this are forgotten: a name without one counts as deleted here.
    tombstone_floor: Offset,
    message_ids: message_ids::MessageIds,
    /// The last offset that was given out. It never goes back: what was not written becomes a hole.
    last: Offset,
    journal: Vec<state::Undo>,
}

impl Ledger {
    /// The ledger of an empty log.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            topics: HashMap::new(),
            n_reserved: 0,
            groups: BTreeSet::new(),
            tombstones: HashMap::new(),
            tombstones_by_offset: BTreeMap::new(),
            tombstone_floor: Offset::ZERO,
            message_ids: message_ids::MessageIds::default(),
            last: Offset::ZERO,
            journal: Vec::new(),
        }
    }

    /// The last offset that was given out.
    pub fn last(&self) -> Offset {
        self.last
    }

    /// Leaves out offsets up to this one, after records that may have been written were lost.
    pub fn skip_to(&mut self, offset: Offset) {
        self.last = self.last.max(offset);
    }

    /// Counts every name that does not exist as deleted at this offset: what was up to there may have been lost.
    pub fn forget_deletions(&mut self, through: Offset) {
        while let Some((offset, _)) = self.tombstones_by_offset.first_key_value().filter(|(at, _)| **at <= through) {
            let offset = *offset;
            if let Some(name) = self.tombstones_by_offset.remove(&offset) {
                self.tombstones.remove(&name);
            }
        }
        self.tombstone_floor = self.tombstone_floor.max(through);
    }

    /// A topic's state, staged changes included.
    pub fn topic(&self, name: &TopicName) -> Option<&TopicLedger> {
        self.topics.get(name)
    }

    /// All topics.
    pub fn topics(&self) -> impl Iterator<Item = (&TopicName, &TopicLedger)> {
        self.topics.iter()
    }

    /// Checks a transaction and folds it in; refused as a whole if any of its operations is.
    pub fn stage(&mut self, transaction: Transaction, now: Timestamp) -> Result<Staged> {
        let mut records = Vec::new();
        let outcomes = self.stage_behind(transaction, now, &mut records)?;
        Ok(Staged { records, outcomes })
    }

    /// The same, with the records to write put behind others; if it is refused, none is.
    pub fn stage_behind(
        &mut self,
        transaction: Transaction,
        now: Timestamp,
        records: &mut Vec<Record>,
    ) -> Result<Vec<Outcome>> {
        let (mark, n_records) = (self.journal.len(), records.len());
        self.forget_message_ids(now);
        let mut outcomes = Vec::with_capacity(transaction.ops.len());
        for op in transaction.ops {
            let outcome = match op {
                Op::Create(create) => self.stage_create(create, now, records),
                Op::Append(append) => self.stage_append(append, now, records),
                Op::Delete(delete) => self.stage_delete(&delete, records),
                Op::PutGroup(put) => self.stage_put_group(put, now, records),
                Op::StepGroup(step) => self.stage_step_group(step, records),
                Op::DeleteGroup(group, created) => self.stage_delete_group(&group, created, records),
            };
            match outcome {
                Ok(outcome) => outcomes.push(outcome),
                Err(error) => {
                    self.rollback_to(mark);
                    records.truncate(n_records);
                    return Err(error);
                }
            }
        }
        Ok(outcomes)
    }

    /// Makes everything staged so far final.
    pub fn commit(&mut self) {
        self.journal.clear();
    }

    /// Takes back everything since the last commit. Offsets are not given out again.
    pub fn rollback(&mut self) {
        self.rollback_to(0);
    }

    /// Folds in a record that is read back from the log.
    pub fn replay(&mut self, record: &Record) {
        self.apply(record);
        self.journal.clear();
    }

    fn next_offset(&mut self) -> Offset {
        self.last = self.last.next();
        self.last
    }

    fn record(&mut self, record: Record, records: &mut Vec<Record>) {
        self.apply(&record);
        records.push(record);
    }

    fn stage_create(&mut self, create: Create, now: Timestamp, records: &mut Vec<Record>) -> Result<Outcome> {
        if let Some(topic) = self.topics.get(&create.topic) {
            if topic.hidden {
                return Err(Error::new(
                    Kind::TopicExists,
                    format!(
                        "the topic {} was deleted but has forks; its name is free when they are gone",
                        create.topic
                    ),
                ));
            }
            let same = topic.config.content_type.matches(&create.config.content_type)
                && topic.config.ttl == create.config.ttl
                && topic.config.expires_at == create.config.expires_at
                && topic.config.retention == create.config.retention
                && same_fork(topic.config.fork.as_ref(), create.config.fork.as_ref())
                && topic.closed.is_some() == create.closed;
            if same {
                return Ok(Outcome::Created { new: false, tail: topic.tail() });
            }
            return Err(Error::new(
                Kind::TopicExists,
                format!(
                    "the topic {} exists with another content type, TTL, expiry, retention or closure; \
                     use it as it is, or delete it first",
                    create.topic
                ),
            ));
        }
        if let Some(fork) = &create.config.fork {
            self.check_fork(fork, &create.config)?;
        }
        self.create_topic(&create.topic, create.config.into(), now, records)?;
        self.append_messages(&create.topic, create.messages, now, records);
        if create.closed {
            self.close_topic(&create.topic, None, records);
        }
        let tail = self.topics.get(&create.topic).map_or(self.last, TopicLedger::tail);
        Ok(Outcome::Created { new: true, tail })
    }

    fn create_topic(
        &mut self,
        name: &TopicName,
        config: Arc<TopicConfig>,
        now: Timestamp,
        records: &mut Vec<Record>,
    ) -> Result<()> {
        // The hub's own topics have a limit of their own, of the same height: keyed requests must not keep anybody
        // from creating topics, nor topics anybody from sending requests.
        let max = self.limits.topics;
        if name.is_reserved() && self.n_reserved >= max {
            return Err(Error::new(
                Kind::Overloaded,
                "too many requests are remembered; try again when some have expired",
            ));
        }
        if !name.is_reserved() && self.topics.len() - self.n_reserved >= max {
            let detail = format!("the log holds its limit of {max} topics; delete some first");
            return Err(Error::new(Kind::TooMany, detail));
        }
        let deleted_at = self.tombstones.get(name).copied().unwrap_or(self.tombstone_floor);
        let offset = self.next_offset();
        self.record(Record::Created { topic: name.clone(), offset, time: now, config, deleted_at }, records);
        Ok(())
    }

    fn close_topic(&mut self, name: &TopicName, by: Option<ProducerStep>, records: &mut Vec<Record>) {
        let offset = self.next_offset();
        self.record(Record::Closed { topic: name.clone(), offset, by }, records);
    }

    fn stage_delete(&mut self, delete: &Delete, records: &mut Vec<Record>) -> Result<Outcome> {
        let found = self.topics.get(&delete.topic).filter(|topic| delete.created.is_none_or(|c| c == topic.created));
        let Some(topic) = found else { return Err(topic_not_found(&delete.topic)) };
        if topic.hidden {
            return Err(topic_gone(&delete.topic));
        }
        let has_forks = topic.n_forks > 0;
        let at = self.next_offset();
        if has_forks {
            self.record(Record::Hidden { topic: delete.topic.clone(), offset: at }, records);
            return Ok(Outcome::Deleted { at });
        }
        // Sources that were only kept for this topic go with it, up the chain.
        let (mut name, mut offset) = (delete.topic.clone(), at);
        loop {
            let source =
                self.topics.get(&name).and_then(|topic| topic.config.fork.as_ref()).map(|fork| fork.source.clone());
            self.record(Record::Deleted { topic: name, offset }, records);
            let unused =
                source.filter(|name| self.topics.get(name).is_some_and(|topic| topic.hidden && topic.n_forks == 0));
            let Some(unused) = unused else { return Ok(Outcome::Deleted { at }) };
            (name, offset) = (unused, self.next_offset());
        }
    }

    fn check_fork(&self, fork: &Fork, config: &TopicConfig) -> Result<()> {
        let source = self.topics.get(&fork.source).filter(|source| source.created == fork.source_created);
        let Some(source) = source else { return Err(topic_not_found(&fork.source)) };
        if source.hidden {
            return Err(Error::new(
                Kind::TopicExists,
                format!("the topic {} was deleted and takes no new forks; fork one of its forks", fork.source),
            ));
        }
        if !source.config.content_type.matches(&config.content_type) {
            return Err(Error::new(
                Kind::ContentTypeMismatch,
                format!("a fork of {} has its content type, {}", fork.source, source.config.content_type.as_str()),
            ));
        }
        if fork.through > source.tail() {
            return Err(Error::new(Kind::BadCursor, format!("the fork offset lies beyond the end of {}", fork.source)));
        }
        Ok(())
    }
}

/// Whether two creations ask for the same fork; the source's life does not count, since a client cannot tell it.
fn same_fork(a: Option<&Fork>, b: Option<&Fork>) -> bool {
    let asked = |fork: &Fork| (fork.source.clone(), fork.anchor, fork.sub_offset);
    a.map(asked) == b.map(asked)
}

/// The error for a topic that was deleted but has forks.
pub(crate) fn topic_gone(topic: &TopicName) -> Error {
    Error::new(Kind::TopicGone, format!("the topic {topic} was deleted; only its forks still hold what was in it"))
}

/// The error for a topic that does not exist.
pub(crate) fn topic_not_found(topic: &TopicName) -> Error {
    Error::new(Kind::TopicNotFound, format!("there is no topic {topic}; create it with PUT first"))
}
