//! What a ledger knows of a topic, how a record changes it, and how the change is taken back.

use std::collections::HashMap;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::cursor::Offset;
use crate::engine::ledger::groups::GroupUndo;
use crate::engine::ledger::message_ids::{Remembered, RememberedId};
use crate::engine::ledger::{Ledger, TOMBSTONES_MAX};
use crate::engine::transaction::{ProducerStep, Record, TopicConfig};
use crate::group::GroupState;
use crate::limits::Limits;
use crate::name::TopicName;

/// A topic in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicLedger {
    /// How it is set up.
    pub config: Arc<TopicConfig>,
    /// Where it begins.
    pub created: Offset,
    /// When it was created.
    pub created_at: Timestamp,
    /// Where this name was deleted before.
    pub deleted_at: Offset,
    /// Its last message (0: none).
    pub last: Offset,
    /// Whether and by whom it was closed.
    pub closed: Option<ClosedBy>,
    /// Forks that have it as their source.
    pub n_forks: u32,
    /// It was deleted while it had forks, and goes when the last of them goes.
    pub hidden: bool,
    /// The last `Stream-Seq`.
    pub stream_seq: Option<Box<str>>,
    /// The group whose topic it is.
    pub group: Option<Box<GroupState>>,
    /// Boxed, since most topics have none and a pointer is smaller than a map.
    #[allow(clippy::box_collection, reason = "100,000 topics without producers each save 40 bytes")]
    producers: Option<Box<Producers>>,
}

/// A topic's producers by their ids.
type Producers = HashMap<Box<str>, ProducerState>;

impl TopicLedger {
    /// A topic that has just been created.
    pub fn new(config: Arc<TopicConfig>, created: Offset, created_at: Timestamp, deleted_at: Offset) -> Self {
        Self {
            last: config.fork.as_ref().map_or(Offset::ZERO, |fork| fork.through),
            config,
            created,
            created_at,
            deleted_at,
            closed: None,
            n_forks: 0,
            hidden: false,
            stream_seq: None,
            group: None,
            producers: None,
        }
    }

    fn without_producers(&self) -> Self {
        Self {
            last: self.last,
            closed: self.closed.clone(),
            n_forks: self.n_forks,
            hidden: self.hidden,
            stream_seq: self.stream_seq.clone(),
            group: self.group.clone(),
            ..Self::new(Arc::clone(&self.config), self.created, self.created_at, self.deleted_at)
        }
    }

    /// Where the topic ends now: its last message, a fork's last inherited one, or else its creation.
    pub fn tail(&self) -> Offset {
        if self.last == Offset::ZERO { self.created } else { self.last }
    }

    /// The producers that have written to it.
    pub fn producers(&self) -> Option<&HashMap<Box<str>, ProducerState>> {
        self.producers.as_deref()
    }
}

/// How a topic was closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedBy {
    /// The producer's step that did it, if one did.
    pub by: Option<ProducerStep>,
}

/// How far a producer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerState {
    /// Its epoch.
    pub epoch: u64,
    /// The last sequence number in it.
    pub seq: u64,
    /// When that was.
    pub time: Timestamp,
}

/// A ledger's whole state, as a checkpoint keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The last offset given out.
    pub last: Offset,
    /// Tombstones at or below it are forgotten.
    pub tombstone_floor: Offset,
    /// Deleted names and where they were deleted.
    pub tombstones: Vec<(TopicName, Offset)>,
    /// Topics and their state, without producers.
    pub topics: Vec<(TopicName, TopicLedger)>,
    /// Producers by topic.
    pub producers: Vec<(TopicName, Box<str>, ProducerState)>,
    /// Publishes that are remembered by their ids, the oldest first.
    pub message_ids: Vec<RememberedId>,
}

/// How to take back one change.
#[derive(Debug)]
pub(super) enum Undo {
    Topic(TopicName, Option<Box<TopicLedger>>),
    Last(TopicName, Offset),
    StreamSeq(TopicName, Option<Box<str>>),
    Closed(TopicName),
    Hidden(TopicName),
    Forks(TopicName, u32),
    Producer(TopicName, Box<str>, Option<ProducerState>),
    Tombstone(TopicName, Option<Offset>),
    Group(TopicName, GroupUndo),
    MessageId(Remembered),
}

impl Ledger {
    /// Everything, to be written into a checkpoint. Call it when nothing is staged.
    pub fn snapshot(&self) -> Snapshot {
        let topics = self.topics.iter().map(|(name, topic)| (name.clone(), topic.without_producers()));
        let producers = self.topics.iter().flat_map(|(name, topic)| {
            let all = topic.producers.iter().flat_map(|all| all.iter());
            all.map(move |(id, state)| (name.clone(), id.clone(), *state))
        });
        Snapshot {
            last: self.last,
            tombstone_floor: self.tombstone_floor,
            tombstones: self.tombstones.iter().map(|(name, at)| (name.clone(), *at)).collect(),
            topics: topics.collect(),
            producers: producers.collect(),
            message_ids: self.remembered_ids(),
        }
    }

    /// The ledger that a snapshot was taken of.
    pub fn restore(snapshot: Snapshot, limits: Limits) -> Self {
        let mut ledger = Self::new(limits);
        ledger.last = snapshot.last;
        ledger.tombstone_floor = snapshot.tombstone_floor;
        for (name, at) in snapshot.tombstones {
            ledger.tombstones_by_offset.insert(at, name.clone());
            ledger.tombstones.insert(name, at);
        }
        for (name, topic) in snapshot.topics {
            ledger.put_topic(&name, Some(topic));
        }
        for (name, id, state) in snapshot.producers {
            if let Some(topic) = ledger.topics.get_mut(&name) {
                topic.producers.get_or_insert_default().insert(id, state);
            }
        }
        ledger.restore_message_ids(snapshot.message_ids);
        ledger
    }

    /// Folds one record in and remembers how to take it back.
    pub(super) fn apply(&mut self, record: &Record) {
        self.last = self.last.max(record.offset());
        match record {
            Record::Created { topic, offset, time, config, deleted_at } => {
                self.set_tombstone(topic, None);
                let ledger = TopicLedger::new(Arc::clone(config), *offset, *time, *deleted_at);
                let before = self.put_topic(topic, Some(ledger)).map(Box::new);
                self.journal.push(Undo::Topic(topic.clone(), before));
                if let Some(fork) = &config.fork {
                    self.count_forks(&fork.source, |n| n.saturating_add(1));
                }
            }
            Record::Deleted { topic, offset } => {
                let before = self.put_topic(topic, None).map(Box::new);
                let source =
                    before.as_ref().and_then(|topic| topic.config.fork.as_ref()).map(|fork| fork.source.clone());
                self.journal.push(Undo::Topic(topic.clone(), before));
                self.set_tombstone(topic, Some(*offset));
                if let Some(source) = source {
                    self.count_forks(&source, |n| n.saturating_sub(1));
                }
            }
            Record::MessageId { topic, time, id, message, .. } => self.apply_message_id(topic, id, *message, *time),
            Record::Message(_)
            | Record::StreamSeq { .. }
            | Record::Producer { .. }
            | Record::Closed { .. }
            | Record::Hidden { .. } => self.apply_to_topic(record),
            Record::Group { topic, config, start, .. } => self.apply_group(topic, config, *start),
            Record::GroupStep { topic, step, .. } => self.apply_group_step(topic, step),
        }
    }

    /// Sets or removes a topic; gives back what was there.
    fn put_topic(&mut self, name: &TopicName, topic: Option<TopicLedger>) -> Option<TopicLedger> {
        let is_there = topic.is_some();
        let before = match topic {
            Some(topic) => self.topics.insert(name.clone(), topic),
            None => self.topics.remove(name),
        };
        if name.is_reserved() {
            self.n_reserved = self.n_reserved + usize::from(is_there) - usize::from(before.is_some());
            self.note_group(name);
        }
        before
    }

    fn count_forks(&mut self, source: &TopicName, count: impl FnOnce(u32) -> u32) {
        let Some(topic) = self.topics.get_mut(source) else { return };
        self.journal.push(Undo::Forks(source.clone(), topic.n_forks));
        topic.n_forks = count(topic.n_forks);
    }

    fn apply_to_topic(&mut self, record: &Record) {
        let name = record.topic().clone();
        let idle = self.limits.producer_idle;
        let n_producers_max = self.limits.producers_per_topic;
        let Some(topic) = self.topics.get_mut(&name) else { return };
        let undo = match record {
            Record::Message(message) => Undo::Last(name, std::mem::replace(&mut topic.last, message.offset)),
            Record::StreamSeq { value, .. } => Undo::StreamSeq(name, topic.stream_seq.replace(value.clone())),
            Record::Closed { by, .. } => {
                topic.closed = Some(ClosedBy { by: by.clone() });
                Undo::Closed(name)
            }
            Record::Hidden { .. } => {
                topic.hidden = true;
                Undo::Hidden(name)
            }
            Record::Producer { step, time, .. } => {
                let producers = topic.producers.get_or_insert_default();
                if producers.len() >= n_producers_max && !producers.contains_key(&step.id) {
                    producers.retain(|_, producer| time.since(producer.time) < idle);
                }
                let state = ProducerState { epoch: step.epoch, seq: step.seq, time: *time };
                Undo::Producer(name, step.id.clone(), producers.insert(step.id.clone(), state))
            }
            Record::Created { .. }
            | Record::Deleted { .. }
            | Record::MessageId { .. }
            | Record::Group { .. }
            | Record::GroupStep { .. } => return,
        };
        self.journal.push(undo);
    }

    pub(super) fn rollback_to(&mut self, mark: usize) {
        while self.journal.len() > mark {
            match self.journal.pop() {
                Some(Undo::Topic(name, topic)) => {
                    self.put_topic(&name, topic.map(|topic| *topic));
                }
                Some(Undo::Tombstone(name, before)) => self.put_tombstone(&name, before),
                Some(Undo::Group(name, undo)) => self.undo_group(&name, undo),
                Some(Undo::MessageId(remembered)) => self.undo_message_id(&remembered),
                Some(undo) => self.undo_in_topic(undo),
                None => return,
            }
        }
    }

    fn undo_in_topic(&mut self, undo: Undo) {
        let (Undo::Last(name, _)
        | Undo::StreamSeq(name, _)
        | Undo::Closed(name)
        | Undo::Hidden(name)
        | Undo::Forks(name, _)
        | Undo::Producer(name, ..)
        | Undo::Topic(name, _)
        | Undo::Tombstone(name, _)
        | Undo::Group(name, _)) = &undo
        else {
            return;
        };
        let Some(topic) = self.topics.get_mut(name) else { return };
        match undo {
            Undo::Last(_, last) => topic.last = last,
            Undo::StreamSeq(_, value) => topic.stream_seq = value,
            Undo::Closed(_) => topic.closed = None,
            Undo::Hidden(_) => topic.hidden = false,
            Undo::Forks(_, n_forks) => topic.n_forks = n_forks,
            Undo::Producer(_, id, before) => {
                let producers = topic.producers.get_or_insert_default();
                match before {
                    Some(state) => producers.insert(id, state),
                    None => producers.remove(&id),
                };
            }
            Undo::Topic(..) | Undo::Tombstone(..) | Undo::Group(..) | Undo::MessageId(_) => {}
        }
    }

    fn set_tombstone(&mut self, name: &TopicName, at: Option<Offset>) {
        let before = self.tombstones.get(name).copied();
        self.journal.push(Undo::Tombstone(name.clone(), before));
        self.put_tombstone(name, at);
        while self.tombstones.len() > TOMBSTONES_MAX {
            let Some((offset, oldest)) = self.tombstones_by_offset.pop_first() else { break };
            self.tombstones.remove(&oldest);
            self.tombstone_floor = offset;
        }
    }

    fn put_tombstone(&mut self, name: &TopicName, at: Option<Offset>) {
        let before = match at {
            Some(at) => {
                self.tombstones_by_offset.insert(at, name.clone());
                self.tombstones.insert(name.clone(), at)
            }
            None => self.tombstones.remove(name),
        };
        if let Some(before) = before {
            self.tombstones_by_offset.remove(&before);
        }
    }
}
