//! One record: a checksum over everything else in it, its length, and the change it stands for.
//!
//! A record names its topic by the offset of the topic's creation, and holds its own offset and time, so that it can be
//! read, verified and copied alone. Created and Deleted hold the topic's name.

use std::sync::Arc;

use bytes::Bytes;
use quintet_core::clock::Timestamp;
use quintet_core::cursor::Offset;
use quintet_core::engine::transaction::{ProducerStep, Record, TopicConfig};
use quintet_core::message::{ContentType, Headers, Message};
use quintet_core::name::TopicName;

use crate::codec::{Reader, put_str, put_varint};
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
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Created,
            2 => Self::Message,
            3 => Self::Producer,
            4 => Self::StreamSeq,
            5 => Self::Closed,
            6 => Self::Deleted,
            _ => return None,
        })
    }
}

/// What a record belongs to and where its bytes come from when they are made into a [`Record`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct TopicFacts<'a> {
    pub(crate) id: u64,
    pub(crate) config: &'a TopicConfig,
}

/// Appends a record, checksum included.
pub(crate) fn put_record(out: &mut Vec<u8>, salt: u32, record: &Record, topic: TopicFacts<'_>, time: Timestamp) {
    let start = out.len();
    out.extend_from_slice(&[0; RECORD_HEAD]);
    let kind = kind_of(record);
    out.push(kind.number());
    put_varint(out, record.offset().0);
    put_varint(out, topic.id);
    put_varint(out, time.0);
    match record {
        Record::Created { topic, config, deleted_at, .. } => {
            put_str(out, topic.as_str());
            put_varint(out, deleted_at.0);
            put_config(out, config);
        }
        Record::Message(message) => put_message(out, message, topic.config),
        Record::Producer { step, .. } => put_step(out, step),
        Record::StreamSeq { value, .. } => put_str(out, value),
        Record::Closed { by: None, .. } => out.push(0),
        Record::Closed { by: Some(step), .. } => {
            out.push(1);
            put_step(out, step);
        }
        Record::Deleted { topic, .. } => put_str(out, topic.as_str()),
    }
    let length = (out.len() - start - RECORD_HEAD) as u32;
    out[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    let checksum = crc32c::crc32c_append(salt, &out[start + 4..]);
    out[start..start + 4].copy_from_slice(&checksum.to_le_bytes());
}

fn put_message(out: &mut Vec<u8>, message: &Message, config: &TopicConfig) {
    // The distance is shorter than the offset, and 0 can stand for none.
    let distance = if message.previous == Offset::ZERO { 0 } else { message.offset.0 - message.previous.0 };
    put_varint(out, distance);
    if message.content_type == config.content_type {
        put_varint(out, 0);
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
        Self::parse_body(&covered[4..], length + RECORD_HEAD as u32)
    }

    /// The same of bytes that are known to be broken, to tell whose they may have been.
    pub(crate) fn parse_unverified(bytes: &'a [u8]) -> Option<Self> {
        let mut head = Reader::new(bytes);
        head.u32()?;
        let length = head.u32()?;
        Self::parse_body(bytes.get(RECORD_HEAD..)?, length.saturating_add(RECORD_HEAD as u32))
    }

    fn parse_body(body: &'a [u8], length: u32) -> Option<Self> {
        let mut rest = Reader::new(body);
        let kind = RecordKind::from_number(rest.u8()?)?;
        let offset = rest.varint()?;
        let topic = rest.varint()?;
        let time = rest.varint()?;
        Some(Self { kind, offset, topic, time, length, rest })
    }

    /// The name in a Created or Deleted record.
    pub(crate) fn name(&self) -> Option<TopicName> {
        let mut rest = self.rest;
        match self.kind {
            RecordKind::Created | RecordKind::Deleted => TopicName::parse(rest.str()?).ok(),
            RecordKind::Message | RecordKind::Producer | RecordKind::StreamSeq | RecordKind::Closed => None,
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
