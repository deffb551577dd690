//! Folds the records behind the checkpoint into the state.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use quintet_core::clock::Timestamp;
use quintet_core::cursor::Offset;
use quintet_core::engine::ledger::Ledger;
use quintet_core::engine::transaction::{Record, TopicConfig};
use quintet_core::limits::Limits;
use quintet_core::message::{ContentType, Headers, Message};
use quintet_core::name::TopicName;

use crate::checkpoint::content::Captured;
use crate::copies::Copies;
use crate::format::record::{RawRecord, RecordKind};
use crate::topics::{TopicEntry, Topics};

/// The state while it is made.
#[derive(Debug)]
pub(crate) struct Replay {
    pub(crate) ledger: Ledger,
    pub(crate) topics: Topics,
    /// The last offset that is folded in.
    pub(crate) committed: u64,
    /// Second copies of some of what is folded in, for what the log has lost of it.
    pub(crate) copies: Copies,
    /// What Created and Deleted records are decoded with; they bring their own.
    no_config: Arc<TopicConfig>,
    /// The first and the last message since this was taken whose topic nobody knows: its creation is lost.
    pub(crate) orphans: Option<(u64, u64)>,
    /// Groups of which a claim is lost.
    in_doubt: BTreeSet<TopicName>,
}

impl Replay {
    /// Begins with a checkpoint.
    pub(crate) fn new(state: Captured, mut copies: Copies, limits: Limits) -> Self {
        let mut topics = Topics::default();
        topics.last = state.committed;
        for (name, topic) in &state.ledger.topics {
            let kept = state.kept.get(&topic.created.0).copied().unwrap_or_default();
            let entry = TopicEntry {
                name: name.clone(),
                config: Arc::clone(&topic.config),
                trimmed_through: kept.trimmed_through,
                last: topic.last.0,
                messages: kept.messages,
                bytes: kept.bytes,
                oldest: kept.oldest,
                newcomers: u64::MAX,
                lineage: kept.lineage,
            };
            topics.insert(topic.created.0, entry);
        }
        copies.move_behind(state.committed);
        let no_config = Arc::new(TopicConfig::open(ContentType::octet_stream()));
        Self {
            committed: state.committed,
            copies,
            ledger: Ledger::restore(state.ledger, limits),
            topics,
            no_config,
            orphans: None,
            in_doubt: BTreeSet::new(),
        }
    }

    /// Folds in one record out of `source`, if the checkpoint does not hold it already. False if it belongs to a topic
    /// whose creation is lost, or cannot be understood.
    pub(crate) fn apply(&mut self, raw: &RawRecord<'_>, source: &Bytes) -> bool {
        if raw.offset <= self.committed {
            return true;
        }
        if self.copies.has_before(raw.offset) {
            self.apply_copies(raw.offset);
        }
        self.copies.move_behind(raw.offset);
        self.copies.note(raw);
        self.fold_in(raw, source)
    }

    /// Folds in what the log should hold before an offset and does not, as far as there are second copies.
    pub(crate) fn apply_copies(&mut self, before: u64) {
        while let Some(bytes) = self.copies.take_before(before) {
            let Some(raw) = self.copies.parse(&bytes) else { continue };
            let applied = self.fold_in(&raw, &bytes);
            tracing::warn!(
                offset = raw.offset,
                topic = raw.topic,
                applied,
                "a lost record is taken from its second copy"
            );
        }
    }

    fn fold_in(&mut self, raw: &RawRecord<'_>, source: &Bytes) -> bool {
        self.committed = raw.offset;
        if raw.kind == RecordKind::Message {
            // Of messages only the last of each topic matters to the ledger; [`Self::finish`] tells it.
            let size = u64::from(raw.message_size().unwrap_or_default());
            let is_known = self.topics.count_message(raw.topic, raw.offset, raw.time, size);
            if !is_known {
                self.orphans = Some((self.orphans.map_or(raw.offset, |(first, _)| first), raw.offset));
            }
            return is_known;
        }
        let known = match raw.kind {
            RecordKind::Created | RecordKind::Deleted | RecordKind::Hidden => {
                raw.name().map(|name| (name, Arc::clone(&self.no_config)))
            }
            RecordKind::Message
            | RecordKind::Producer
            | RecordKind::StreamSeq
            | RecordKind::MessageId
            | RecordKind::Closed
            | RecordKind::Group
            | RecordKind::GroupStep => {
                self.topics.get(raw.topic).map(|entry| (entry.name.clone(), Arc::clone(&entry.config)))
            }
        };
        let record = known.and_then(|(name, config)| raw.decode(&name, &config, |payload| source.slice_ref(payload)));
        let Some(record) = record.filter(|record| self.fits(record)) else {
            self.ledger.skip_to(Offset(raw.offset));
            return false;
        };
        self.topics.apply(raw.topic, &record);
        self.ledger.replay(&record);
        true
    }

    /// Whether a step's group is there. Tells once of a group of which something before the step is lost.
    fn fits(&mut self, record: &Record) -> bool {
        let Record::GroupStep { topic, step, .. } = record else { return true };
        let Some((_, group)) = self.ledger.group(topic) else { return false };
        let claimed_through = group.claimed_through;
        if step.claimed_from > claimed_through && self.in_doubt.insert(topic.clone()) {
            let claimed_through = claimed_through.0;
            tracing::error!(%topic, claimed_through, "claims of a group are lost; what came behind is handed out again");
        }
        true
    }

    /// A broken message seems to have been this topic's. If it was the last one, readers and the next message have to
    /// learn that it was there.
    pub(crate) fn suspect(&mut self, topic: u64, offset: u64) {
        if self.topics.get(topic).is_some_and(|entry| entry.last < offset) {
            self.topics.count_message(topic, offset, u64::MAX, 0);
        }
    }

    /// It cannot be told whose records were lost up to here. Each topic that has nothing behind it may have had one:
    /// its readers, and its next message, have to learn so.
    pub(crate) fn suspect_all(&mut self, through: u64) {
        self.topics.may_have_reached(through);
        self.ledger.forget_deletions(Offset(through));
    }

    /// Takes what the end of the log has lost from the copies, and tells the ledger of the last message of each topic.
    pub(crate) fn finish(&mut self) {
        self.apply_copies(u64::MAX);
        self.ledger.skip_to(Offset(self.committed));
        for (_, entry) in self.topics.iter() {
            if self.ledger.topic(&entry.name).is_none_or(|topic| topic.last.0 >= entry.last) {
                continue;
            }
            let message = Message {
                topic: entry.name.clone(),
                offset: Offset(entry.last),
                previous: Offset::ZERO,
                time: Timestamp::default(),
                content_type: entry.config.content_type.clone(),
                headers: Headers::none(),
                payload: Bytes::new(),
            };
            self.ledger.replay(&Record::Message(Arc::new(message)));
        }
    }
}
