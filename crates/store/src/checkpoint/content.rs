//! What a checkpoint holds, and its bytes.

use quintet_core::engine::ledger::{Snapshot, TopicLedger};

use crate::codec::{put_str, put_varint};
use crate::format::group::put_group_state;
use crate::format::header::{StoreHead, VERSION};
use crate::format::state::{put_config, put_step};
use crate::index::OffsetMap;
use crate::lineage::Lineage;
use crate::topics::Topics;

pub(crate) const MAGIC: [u8; 8] = *b"QNTCHKPT";

/// The state of a log as of its last commit.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    /// The last offset that is folded in.
    pub(crate) committed: u64,
    pub(crate) ledger: Snapshot,
    /// What is kept of each topic.
    pub(crate) kept: OffsetMap<Kept>,
    /// Bytes of log that had been written when it was captured; not part of the file.
    pub(crate) log_bytes: u64,
}

/// What is kept of a topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) trimmed_through: u64,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) oldest: u64,
    /// Of a fork; not in the file, where the configuration tells it.
    pub(crate) lineage: Lineage,
}

impl Captured {
    pub(crate) fn new(ledger: Snapshot, topics: &Topics, committed: u64, log_bytes: u64) -> Self {
        let kept = topics.iter().map(|(id, entry)| {
            let kept = Kept {
                trimmed_through: entry.trimmed_through,
                messages: entry.messages,
                bytes: entry.bytes,
                oldest: entry.oldest,
                lineage: entry.lineage,
            };
            (id, kept)
        });
        Self { committed, ledger, kept: kept.collect(), log_bytes }
    }

    /// The bytes of the file with this number.
    pub(crate) fn encode(&self, head: StoreHead, number: u64) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&head.log.to_le_bytes());
        out.extend_from_slice(&number.to_le_bytes());
        put_varint(&mut out, self.committed);
        put_varint(&mut out, self.ledger.last.0);
        put_varint(&mut out, self.ledger.tombstone_floor.0);
        put_varint(&mut out, self.ledger.tombstones.len() as u64);
        for (name, at) in &self.ledger.tombstones {
            put_str(&mut out, name.as_str());
            put_varint(&mut out, at.0);
        }
        put_varint(&mut out, self.ledger.topics.len() as u64);
        let mut created = std::collections::HashMap::new();
        for (name, topic) in &self.ledger.topics {
            put_str(&mut out, name.as_str());
            put_topic(&mut out, topic);
            put_kept(&mut out, self.kept.get(&topic.created.0).copied().unwrap_or_default());
            if !self.ledger.producers.is_empty() {
                created.insert(name, topic.created.0);
            }
        }
        put_varint(&mut out, self.ledger.producers.len() as u64);
        for (name, id, producer) in &self.ledger.producers {
            put_varint(&mut out, created.get(name).copied().unwrap_or_default());
            put_str(&mut out, id);
            put_varint(&mut out, producer.epoch);
            put_varint(&mut out, producer.seq);
            put_varint(&mut out, producer.time.0);
        }
        put_varint(&mut out, self.ledger.message_ids.len() as u64);
        for known in &self.ledger.message_ids {
            put_varint(&mut out, known.topic.0);
            put_str(&mut out, &known.id);
            put_varint(&mut out, known.message.0);
            put_varint(&mut out, known.time.0);
        }
        let checksum = crc32c::crc32c_append(head.salt, &out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }
}

fn put_topic(out: &mut Vec<u8>, topic: &TopicLedger) {
    for number in [topic.created.0, topic.created_at.0, topic.deleted_at.0, topic.last.0] {
        put_varint(out, number);
    }
    put_config(out, &topic.config);
    put_varint(out, u64::from(topic.n_forks));
    out.push(u8::from(topic.hidden));
    match &topic.closed {
        None => out.push(0),
        Some(closed) => match &closed.by {
            None => out.push(1),
            Some(step) => {
                out.push(2);
                put_step(out, step);
            }
        },
    }
    match &topic.stream_seq {
        None => out.push(0),
        Some(value) => {
            out.push(1);
            put_str(out, value);
        }
    }
    out.push(u8::from(topic.group.is_some()));
    if let Some(group) = &topic.group {
        put_group_state(out, group);
    }
}

fn put_kept(out: &mut Vec<u8>, kept: Kept) {
    for number in [kept.trimmed_through, kept.messages, kept.bytes, kept.oldest] {
        put_varint(out, number);
    }
}
