//! Reads a checkpoint's bytes back.

use std::collections::HashMap;
use std::sync::Arc;

use quintet_core::clock::Timestamp;
use quintet_core::cursor::Offset;
use quintet_core::engine::ledger::{ClosedBy, ProducerState, RememberedId, Snapshot, TopicLedger};
use quintet_core::name::TopicName;

use crate::checkpoint::content::{Captured, Kept, MAGIC};
use crate::codec::Reader;
use crate::format::group::get_group_state;
use crate::format::header::{StoreHead, VERSION};
use crate::format::state::{get_config, get_step};
use crate::lineage::Lineage;

/// Whether a checkpoint file is what was written, and of this store.
pub(crate) fn is_whole(bytes: &[u8], head: StoreHead) -> bool {
    begin(bytes, head).is_some()
}

/// What follows the head of a checkpoint file.
fn begin(bytes: &[u8], head: StoreHead) -> Option<Reader<'_>> {
    let (body, checksum) = bytes.split_last_chunk::<4>()?;
    if crc32c::crc32c_append(head.salt, body) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let mut reader = Reader::new(body.strip_prefix(&MAGIC)?);
    if reader.u32()? != VERSION || reader.u32()? != head.log {
        return None;
    }
    reader.u64()?;
    Some(reader)
}

/// The state in a checkpoint file; none if the file is damaged or of another store.
pub(crate) fn decode(bytes: &[u8], head: StoreHead) -> Option<Captured> {
    let mut reader = begin(bytes, head)?;
    let committed = reader.varint()?;
    let mut ledger =
        Snapshot { last: Offset(reader.varint()?), tombstone_floor: Offset(reader.varint()?), ..Snapshot::default() };
    for _ in 0..reader.varint()? {
        let name = TopicName::parse(reader.str()?).ok()?;
        ledger.tombstones.push((name, Offset(reader.varint()?)));
    }
    let mut kept = HashMap::default();
    let mut names = HashMap::new();
    for _ in 0..reader.varint()? {
        let name = TopicName::parse(reader.str()?).ok()?;
        let topic = get_topic(&mut reader)?;
        let lineage = Lineage::of(&topic.config, topic.hidden);
        kept.insert(topic.created.0, Kept { lineage, ..get_kept(&mut reader)? });
        names.insert(topic.created.0, name.clone());
        ledger.topics.push((name, topic));
    }
    for _ in 0..reader.varint()? {
        let name = names.get(&reader.varint()?)?.clone();
        let id = reader.str()?.into();
        let state = ProducerState { epoch: reader.varint()?, seq: reader.varint()?, time: Timestamp(reader.varint()?) };
        ledger.producers.push((name, id, state));
    }
    for _ in 0..reader.varint()? {
        let (topic, id) = (Offset(reader.varint()?), reader.str()?.into());
        let (message, time) = (Offset(reader.varint()?), Timestamp(reader.varint()?));
        ledger.message_ids.push(RememberedId { topic, id, message, time });
    }
    Some(Captured { committed, ledger, kept, log_bytes: 0 })
}

fn get_kept(from: &mut Reader<'_>) -> Option<Kept> {
    Some(Kept {
        trimmed_through: from.varint()?,
        messages: from.varint()?,
        bytes: from.varint()?,
        oldest: from.varint()?,
        lineage: Lineage::default(),
    })
}

fn get_topic(from: &mut Reader<'_>) -> Option<TopicLedger> {
    let (created, created_at) = (Offset(from.varint()?), Timestamp(from.varint()?));
    let (deleted_at, last) = (Offset(from.varint()?), Offset(from.varint()?));
    let mut topic = TopicLedger::new(Arc::new(get_config(from)?), created, created_at, deleted_at);
    topic.last = last;
    topic.n_forks = u32::try_from(from.varint()?).ok()?;
    topic.hidden = from.u8()? != 0;
    topic.closed = match from.u8()? {
        0 => None,
        1 => Some(ClosedBy { by: None }),
        2 => Some(ClosedBy { by: Some(get_step(from)?) }),
        _ => return None,
    };
    topic.stream_seq = match from.u8()? {
        0 => None,
        _ => Some(from.str()?.into()),
    };
    topic.group = match from.u8()? {
        0 => None,
        _ => Some(Box::new(get_group_state(from)?)),
    };
    Some(topic)
}
