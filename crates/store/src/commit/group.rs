//! A group: the batches that are written together, and where each of their records stands.

use quintet_core::clock::Timestamp;
use quintet_core::cursor::Offset;
use quintet_core::engine::ledger::Ledger;
use quintet_core::engine::transaction::{Op, Record, Transaction};
use quintet_core::name::TopicName;

use crate::copies::is_copied;
use crate::format::batch::{BATCH_HEAD, BatchHead};
use crate::format::record::{TopicAndTime, TopicFacts, put_record, topic_and_time};
use crate::index::{DELETIONS, Entry};
use crate::topics::NewMessages;

/// The batches of a group.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) bytes: Vec<u8>,
    pub(crate) records: Vec<Record>,
    /// What the index will hold of them, by topic; their places are those in `bytes`.
    pub(crate) entries: Vec<(u64, Entry)>,
    /// What they change of their topics.
    pub(crate) changes: Vec<Change>,
    /// The hub's own topics among theirs: those of groups.
    pub(crate) reserved: Vec<TopicName>,
    /// The records among `bytes` that are written twice.
    pub(crate) copies: Vec<u8>,
    /// The first offset of each batch and where it begins in `bytes`.
    pub(crate) batches: Vec<(u64, u32)>,
}

/// What one record, or some messages of one topic, change of the topic.
#[derive(Debug)]
pub(crate) enum Change {
    Messages(NewMessages),
    /// The topic's id, and which of the records it is.
    Record(u64, usize),
}

/// Which life of each topic a transaction writes to, if the ledger's newest word on it is not enough: it deletes.
#[derive(Debug)]
pub(crate) struct Lives(Vec<Life>);

#[derive(Debug, Clone)]
struct Life {
    name: TopicName,
    id: u64,
    hidden: bool,
}

impl Lives {
    /// The lives before the transaction; none if it deletes nothing.
    pub(crate) fn before(transaction: &Transaction, ledger: &Ledger) -> Option<Self> {
        if !transaction.ops.iter().any(|op| matches!(op, Op::Delete(_) | Op::DeleteGroup(..))) {
            return None;
        }
        let mut lives = Self(Vec::new());
        for op in &transaction.ops {
            let name = match op {
                Op::Create(create) => &create.topic,
                Op::Append(append) => &append.topic,
                Op::Delete(delete) => &delete.topic,
                Op::PutGroup(put) => put.group.topic(),
                Op::StepGroup(step) => step.group.topic(),
                Op::DeleteGroup(group, _) => group.topic(),
            };
            // The sources of a deleted fork may go with it, and so may those of a fork that is yet to be created.
            if let Op::Create(create) = op
                && let Some(fork) = &create.config.fork
            {
                lives.add_chain(&fork.source, ledger);
            }
            lives.add_chain(name, ledger);
        }
        Some(lives)
    }

    fn add_chain(&mut self, name: &TopicName, ledger: &Ledger) {
        let mut name = name;
        while let Some(source) = self.add(name, ledger) {
            name = source;
        }
    }

    /// Adds a topic and tells its source, if it is a fork.
    fn add<'a>(&mut self, name: &TopicName, ledger: &'a Ledger) -> Option<&'a TopicName> {
        let topic = ledger.topic(name)?;
        self.0.push(Life { name: name.clone(), id: topic.created.0, hidden: topic.hidden });
        topic.config.fork.as_ref().map(|fork| &fork.source)
    }

    fn of(&self, name: &TopicName) -> Option<&Life> {
        self.0.iter().rev().find(|life| life.name == *name)
    }
}

impl Group {
    /// Forgets everything but the memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
        self.entries.clear();
        self.changes.clear();
        self.reserved.clear();
        self.copies.clear();
        self.batches.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Adds as one batch what was staged: the records from here on.
    pub(crate) fn add(&mut self, from: usize, mut lives: Option<Lives>, ledger: &Ledger, context: BatchContext) {
        let staged = &self.records[from..];
        let Some(first) = staged.first().map(Record::offset) else { return };
        let start = self.bytes.len();
        self.batches.push((first.0, start as u32));
        self.bytes.resize(start + BATCH_HEAD, 0);
        // Most records follow one of the same topic, whose name they share.
        let mut name_before: &str = "";
        let mut facts = TopicFacts { id: 0, default_type: None, hidden: false };
        let mut common = TopicAndTime::new(0);
        for (i, record) in staged.iter().enumerate() {
            let name = record.topic();
            if !std::ptr::eq(name_before, name.as_str()) || lives.is_some() {
                facts = facts_of(record, lives.as_mut(), ledger);
                common = topic_and_time(facts.id, context.time);
                name_before = name.as_str();
                if name.is_reserved() && self.reserved.last() != Some(name) {
                    self.reserved.push(name.clone());
                }
            }
            let at = self.bytes.len();
            put_record(&mut self.bytes, context.salt, record, facts, &common);
            let length = (self.bytes.len() - at) as u32;
            let (topic, size) = indexed(record, facts);
            if let Some(topic) = topic {
                let offset = record.offset().0;
                self.entries.push((topic, Entry { offset, time: context.time.0, position: at as u32, length, size }));
            }
            match (record, self.changes.last_mut()) {
                (Record::Message(message), Some(Change::Messages(new))) if new.topic == facts.id => {
                    new.add(message.offset.0, message.time.0, size.into());
                }
                (Record::Message(message), _) => {
                    let new = NewMessages::new(facts.id, message.offset.0, message.time.0, size.into());
                    self.changes.push(Change::Messages(new));
                }
                _ => {
                    self.changes.push(Change::Record(facts.id, from + i));
                    if is_copied(record) {
                        self.copies.extend_from_slice(&self.bytes[at..]);
                    }
                }
            }
        }
        let head = BatchHead {
            length: (self.bytes.len() - start - BATCH_HEAD) as u32,
            count: staged.len() as u32,
            first: first.0,
            durable_through: context.durable_through.0,
        };
        head.put(&mut self.bytes[start..start + BATCH_HEAD], context.salt);
    }
}

/// Under which topic the index holds a record, if it does, and with which size.
fn indexed(record: &Record, topic: TopicFacts<'_>) -> (Option<u64>, u32) {
    match record {
        Record::Message(message) => (Some(topic.id), message.size() as u32),
        Record::Closed { .. } => (Some(topic.id), 0),
        // Readers were told when it was hidden.
        Record::Deleted { .. } if topic.hidden => (None, 0),
        Record::Deleted { .. } | Record::Hidden { .. } => (Some(DELETIONS), 0),
        Record::Created { .. }
        | Record::Producer { .. }
        | Record::StreamSeq { .. }
        | Record::MessageId { .. }
        | Record::Group { .. }
        | Record::GroupStep { .. } => (None, 0),
    }
}

fn facts_of<'a>(record: &Record, lives: Option<&mut Lives>, ledger: &'a Ledger) -> TopicFacts<'a> {
    let name = record.topic();
    let topic = ledger.topic(name);
    let newest = topic.map_or(0, |topic| topic.created.0);
    let (id, hidden) = match lives {
        None => (newest, false),
        Some(lives) => {
            let before = lives.of(name).map_or((0, false), |life| (life.id, life.hidden));
            match record {
                Record::Created { offset, .. } => {
                    lives.0.push(Life { name: name.clone(), id: offset.0, hidden: false });
                    (offset.0, false)
                }
                Record::Hidden { .. } => {
                    lives.0.push(Life { name: name.clone(), id: before.0, hidden: true });
                    before
                }
                _ => before,
            }
        }
    };
    // Another life's type may be another one; then the message's own is written out.
    let default_type = topic.filter(|_| id == newest).map(|topic| &topic.config.content_type);
    TopicFacts { id, default_type, hidden }
}

/// What all batches of a group share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchContext {
    pub(crate) salt: u32,
    pub(crate) time: Timestamp,
    pub(crate) durable_through: Offset,
}
