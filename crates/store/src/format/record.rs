//! One record: a checksum over everything else in it, its length, and the change it stands for.
//!
//! A record names its topic by the offset of the topic's creation, and holds its own offset and time, so that it can be
//! read, verified and copied alone. Created and Deleted hold the topic's name.

use std::sync::Arc;

use bytes::Bytes;
use quintet_core::clock::Timestamp;
use quintet_core::cursor::Offset;
use quintet_core::engine::transaction::{ProducerStep, Record, TopicConfig};
use quintet_core::message::{ContentType, Headers, MESSAGE_OVERHEAD_BYTES, Message};
use quintet_core::name::TopicName;

use crate::codec::{Reader, ShortBytes, put_str, put_varint};
use crate::format::group::{get_group_config, get_group_step, put_group_config, put_group_step};
use crate::format::state::{get_config, get_step, put_config, put_step};

/// Bytes before a record's body: checksum and length.
pub(crate) const RECORD_HEAD: usize = 8;

/// What kind of change a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordKind {
    Created,
    Message,
    Producer,
    StreamSeq,
    Closed,
    Deleted,
    Hidden,
    MessageId,
    Group,
    GroupStep,
}

impl RecordKind {
    fn number(self) -> u8 {
        match self {
            Self::Created => 1,
            Self::Message => 2,
            Self::Producer => 3,
            Self::StreamSeq => 4,
            Self::Closed => 5,
            Self::Deleted => 6,
            Self::Hidden => 7,
            Self::MessageId => 8,
            Self::Group => 9,
            Self::GroupStep => 10,
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Created,
            2 => Self::Message,
            3 => Self::Producer,
            4 => Self::StreamSeq,
            5 => Self::Closed,
            6 => Self::Deleted,
            7 => Self::Hidden,
            8 => Self::MessageId,
            9 => Self::Group,
            10 => Self::GroupStep,
            _ => return None,
        })
    }
}

/// What a record takes from its topic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TopicFacts<'a> {
    /// Where the topic was created.
    pub(crate) id: u64,
    /// The type that a message need not spell out.
    pub(crate) default_type: Option<&'a ContentType>,
    /// Whether it had been deleted before, and was only kept for its forks.
    pub(crate) hidden: bool,
}

/// What the records of a topic that are written at the same time have in common.
pub(crate) type TopicAndTime = ShortBytes<20>;

/// The bytes of a topic's id and the time.
pub(crate) fn topic_and_time(topic: u64, time: Timestamp) -> TopicAndTime {
    let mut bytes = TopicAndTime::new(0);
    bytes.put_varint(topic);
    bytes.put_varint(time.0);
    bytes
}

/// Appends a record, checksum included.
pub(crate) fn put_record(
    out: &mut Vec<u8>,
    salt: u32,
    record: &Record,
    topic: TopicFacts<'_>,
    topic_and_time: &TopicAndTime,
) {
    let start = out.len();
    let mut head = ShortBytes::<{ RECORD_HEAD + 31 }>::new(RECORD_HEAD);
    head.push(kind_of(record).number());
    head.put_varint(record.offset().0);
    head.put(topic_and_time);
    out.extend_from_slice(head.as_slice());
    match record {
        Record::Created { topic, config, deleted_at, .. } => {
            put_str(out, topic.as_str());
            put_varint(out, deleted_at.0);
            put_config(out, config);
        }
        Record::Message(message) => put_message(out, message, topic.default_type),
        Record::Producer { step, .. } => put_step(out, step),
        Record::StreamSeq { value, .. } => put_str(out, value),
        Record::Closed { by: None, .. } => out.push(0),
        Record::Closed { by: Some(step), .. } => {
            out.push(1);
            put_step(out, step);
        }
        Record::Deleted { topic: name, .. } => {
            put_str(out, name.as_str());
            out.push(u8::from(topic.hidden));
        }
        Record::Hidden { topic: name, .. } => put_str(out, name.as_str()),
        Record::MessageId { id, message, .. } => {
            put_str(out, id);
            put_varint(out, message.0);
        }
        Record::Group { config, start, .. } => {
            put_varint(out, start.0);
            put_group_config(out, config);
        }
        Record::GroupStep { step, .. } => put_group_step(out, step),
    }
    let length = (out.len() - start - RECORD_HEAD) as u32;
    out[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    let checksum = crc32c::crc32c_append(salt, &out[start + 4..]);
    out[start..start + 4].copy_from_slice(&checksum.to_le_bytes());
}

fn put_message(out: &mut Vec<u8>, message: &Message, default_type: Option<&ContentType>) {
    // The distance is shorter than the offset, and 0 can stand for none.
    let distance = if message.previous == Offset::ZERO { 0 } else { message.offset.0 - message.previous.0 };
    put_varint(out, distance);
    if default_type == Some(&message.content_type) {
        out.push(0);
    } else {
        let text = message.content_type.as_str();
        put_varint(out, text.len() as u64 + 1);
        out.extend_from_slice(text.as_bytes());
    }
    put_varint(out, message.headers.iter().count() as u64);
    for (name, value) in message.headers.iter() {
        put_str(out, name);
        put_str(out, value);
    }
    out.extend_from_slice(&message.payload);
}

fn kind_of(record: &Record) -> RecordKind {
    match record {
        Record::Created { .. } => RecordKind::Created,
        Record::Message(_) => RecordKind::Message,
        Record::Producer { .. } => RecordKind::Producer,
        Record::StreamSeq { .. } => RecordKind::StreamSeq,
        Record::Closed { .. } => RecordKind::Closed,
        Record::Deleted { .. } => RecordKind::Deleted,
        Record::Hidden { .. } => RecordKind::Hidden,
        Record::MessageId { .. } => RecordKind::MessageId,
        Record::Group { .. } => RecordKind::Group,
        Record::GroupStep { .. } => RecordKind::GroupStep,
    }
}

/// A record whose checksum was found right; its kind's own part is still bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawRecord<'a> {
    pub(crate) kind: RecordKind,
    pub(crate) offset: u64,
    pub(crate) topic: u64,
    pub(crate) time: u64,
    /// Bytes on disk, head included.
    pub(crate) length: u32,
    whole: &'a [u8],
    rest: Reader<'a>,
}

impl<'a> RawRecord<'a> {
    /// The record at the front of these bytes; none if there is no whole and intact one.
    pub(crate) fn parse(bytes: &'a [u8], salt: u32) -> Option<Self> {
        let mut head = Reader::new(bytes);
        let checksum = head.u32()?;
        let length = head.u32()?;
        let end = RECORD_HEAD.checked_add(usize::try_from(length).ok()?)?;
        let covered = bytes.get(4..end)?;
        if crc32c::crc32c_append(salt, covered) != checksum {
            return None;
        }
        Self::parse_body(&covered[4..], bytes.get(..end)?)
    }

    /// What broken bytes say that they were; any of it may be wrong.
    pub(crate) fn parse_broken(bytes: &'a [u8]) -> Option<Self> {
        let length = u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?) as usize;
        let end = length.saturating_add(RECORD_HEAD).min(bytes.len());
        Self::parse_body(bytes.get(RECORD_HEAD..end)?, bytes.get(..end)?)
    }

    /// The record's bytes on disk.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.whole
    }

    fn parse_body(body: &'a [u8], whole: &'a [u8]) -> Option<Self> {
        let mut rest = Reader::new(body);
        let kind = RecordKind::from_number(rest.u8()?)?;
        let offset = rest.varint()?;
        let topic = rest.varint()?;
        let time = rest.varint()?;
        Some(Self { kind, offset, topic, time, length: u32::try_from(whole.len()).ok()?, whole, rest })
    }

    /// What the record counts for in limits ([`Message::size`]); 0 if it is no message.
    pub(crate) fn message_size(&self) -> Option<u32> {
        if self.kind != RecordKind::Message {
            return Some(0);
        }
        let mut rest = self.rest;
        rest.varint()?;
        if let Some(n) = rest.option()? {
            rest.take(usize::try_from(n).ok()?)?;
        }
        let mut headers = 0;
        for _ in 0..rest.varint()? {
            headers += rest.str()?.len() + rest.str()?.len();
        }
        u32::try_from(rest.rest().len() + headers + MESSAGE_OVERHEAD_BYTES).ok()
    }

    /// Whether readers are told by it that a topic is gone: by its first deletion, if it is kept for forks.
    pub(crate) fn tells_of_deletion(&self) -> bool {
        let mut rest = self.rest;
        match self.kind {
            RecordKind::Hidden => true,
            RecordKind::Deleted => rest.str().is_some() && rest.u8() == Some(0),
            _ => false,
        }
    }

    /// The name in a Created, Hidden or Deleted record.
    pub(crate) fn name(&self) -> Option<TopicName> {
        let mut rest = self.rest;
        match self.kind {
            RecordKind::Created | RecordKind::Deleted | RecordKind::Hidden => TopicName::parse(rest.str()?).ok(),
            RecordKind::Message
            | RecordKind::Producer
            | RecordKind::StreamSeq
            | RecordKind::Closed
            | RecordKind::MessageId
            | RecordKind::Group
            | RecordKind::GroupStep => None,
        }
    }

    /// The record in full. The name and the configuration are those of its topic; `payload` makes the message's last
    /// bytes into what is kept.
    pub(crate) fn decode(
        &self,
        name: &TopicName,
        config: &TopicConfig,
        payload: impl FnOnce(&'a [u8]) -> Bytes,
    ) -> Option<Record> {
        let mut rest = self.rest;
        let (topic, offset, time) = (name.clone(), Offset(self.offset), Timestamp(self.time));
        Some(match self.kind {
            RecordKind::Created => {
                rest.str()?;
                let deleted_at = Offset(rest.varint()?);
                Record::Created { topic, offset, time, config: Arc::new(get_config(&mut rest)?), deleted_at }
            }
            RecordKind::Message => {
                let (message, bytes) = self.decode_message(topic, config)?;
                Record::Message(Arc::new(Message { payload: payload(bytes), ..message }))
            }
            RecordKind::Producer => Record::Producer { topic, offset, time, step: get_step(&mut rest)? },
            RecordKind::StreamSeq => Record::StreamSeq { topic, offset, value: rest.str()?.into() },
            RecordKind::Closed => {
                let by: Option<ProducerStep> = if rest.u8()? == 0 { None } else { Some(get_step(&mut rest)?) };
                Record::Closed { topic, offset, by }
            }
            RecordKind::Deleted => Record::Deleted { topic, offset },
            RecordKind::Hidden => Record::Hidden { topic, offset },
            RecordKind::MessageId => {
                Record::MessageId { topic, offset, time, id: rest.str()?.into(), message: Offset(rest.varint()?) }
            }
            RecordKind::Group => {
                let start = Offset(rest.varint()?);
                Record::Group { topic, offset, config: Arc::new(get_group_config(&mut rest)?), start }
            }
            RecordKind::GroupStep => Record::GroupStep { topic, offset, step: Box::new(get_group_step(&mut rest)?) },
        })
    }

    /// The message without its payload, and the payload's bytes.
    pub(crate) fn decode_message(&self, topic: TopicName, config: &TopicConfig) -> Option<(Message, &'a [u8])> {
        let mut rest = self.rest;
        let distance = rest.varint()?;
        let previous = if distance == 0 { 0 } else { self.offset.checked_sub(distance)? };
        let content_type = match rest.varint()? {
            0 => config.content_type.clone(),
            n => ContentType::parse(std::str::from_utf8(rest.take(usize::try_from(n - 1).ok()?)?).ok()?).ok()?,
        };
        let n_headers = usize::try_from(rest.varint()?).ok()?;
        let headers = if n_headers == 0 {
            Headers::none()
        } else {
            let mut pairs = Vec::new();
            for _ in 0..n_headers {
                pairs.push((rest.str()?, rest.str()?));
            }
            Headers::new(pairs).ok()?
        };
        let message = Message {
            topic,
            offset: Offset(self.offset),
            previous: Offset(previous),
            time: Timestamp(self.time),
            content_type,
            headers,
            payload: Bytes::new(),
        };
        Some((message, rest.rest()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use quintet_core::engine::transaction::{Fork, Retention};
    use std::time::Duration;

    fn config() -> TopicConfig {
        let retention = Retention { age: Some(Duration::from_secs(3)), count: Some(0), bytes: Some(u64::MAX - 1) };
        let fork = Some(Fork {
            source: TopicName::parse("a").unwrap(),
            source_created: Offset(3),
            through: Offset(200),
            sub_offset: 4,
            anchor: Offset(199),
        });
        TopicConfig { ttl: Some(Duration::from_millis(1)), fixed_type: true, retention, fork, ..text() }
    }

    fn text() -> TopicConfig {
        TopicConfig::open(ContentType::parse("text/plain; charset=utf-8").unwrap())
    }

    /// Writes a record, reads it back, and finds every flipped bit.
    fn check(record: &Record, time: u64) {
        let default_type = &text().content_type;
        let facts = TopicFacts { id: 7, default_type: Some(default_type), hidden: false };
        let mut bytes = Vec::new();
        put_record(&mut bytes, 5, record, facts, &topic_and_time(7, Timestamp(time)));
        let raw = RawRecord::parse(&bytes, 5).unwrap();
        assert_eq!((raw.topic, raw.time, raw.offset), (7, time, record.offset().0));
        assert_eq!(raw.bytes(), bytes);
        let read = raw.decode(record.topic(), &text(), Bytes::copy_from_slice).unwrap();
        assert_eq!(&read, record);
        let size = match record {
            Record::Message(message) => message.size(),
            _ => 0,
        };
        assert_eq!(raw.message_size(), Some(size as u32));
        assert!(RawRecord::parse(&bytes, 6).is_none(), "another store's record is none");
        for bit in (0..bytes.len() * 8).step_by(3) {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(RawRecord::parse(&bytes, 5).is_none(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn records_of_state_are_read_back() {
        let topic = TopicName::parse("a/b").unwrap();
        let offset = Offset(300);
        let step = ProducerStep { id: "p".into(), epoch: 1 << 40, seq: 0 };
        let time = Timestamp(9);
        let created =
            Record::Created { topic: topic.clone(), offset, time, config: config().into(), deleted_at: Offset(8) };
        check(&created, 9);
        check(&Record::Producer { topic: topic.clone(), offset, time, step: step.clone() }, 9);
        check(&Record::StreamSeq { topic: topic.clone(), offset, value: "0001".into() }, 9);
        check(&Record::Closed { topic: topic.clone(), offset, by: None }, 9);
        check(&Record::Closed { topic: topic.clone(), offset, by: Some(step) }, 9);
        check(&Record::Hidden { topic: topic.clone(), offset }, 9);
        let message = Offset(299);
        check(&Record::MessageId { topic: topic.clone(), offset, time, id: "x".into(), message }, 9);
        check(&Record::Deleted { topic, offset }, 9);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn messages_are_read_back(
            payload in proptest::collection::vec(any::<u8>(), 0..200),
            headers in proptest::collection::vec(("[a-z]{1,8}", "[ -~]{0,20}"), 0..4),
            own_type in any::<bool>(),
            (offset, before) in (2..u64::MAX, any::<u64>()),
            time in any::<u64>(),
        ) {
            let own = ContentType::parse("application/json").unwrap();
            let message = Message {
                topic: TopicName::parse("a").unwrap(),
                offset: Offset(offset),
                previous: Offset(before % offset),
                time: Timestamp(time),
                content_type: if own_type { own } else { text().content_type },
                headers: Headers::new(headers).unwrap(),
                payload: payload.into(),
            };
            check(&Record::Message(Arc::new(message)), time);
        }

        #[test]
        fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 9..80)) {
            // With a right checksum, so that what is behind it is looked at.
            let length = (bytes.len() - 8) as u32;
            bytes[4..8].copy_from_slice(&length.to_le_bytes());
            bytes[8] %= 11;
            let checksum = crc32c::crc32c_append(5, &bytes[4..]);
            bytes[..4].copy_from_slice(&checksum.to_le_bytes());
            if let Some(raw) = RawRecord::parse(&bytes, 5) {
                raw.message_size();
                raw.name();
                raw.decode(&TopicName::parse("a").unwrap(), &text(), Bytes::copy_from_slice);
            }
        }
    }
}
