//! How a topic's configuration and a producer's step are written, in records and in checkpoints alike.

use std::time::Duration;

use quintet_core::clock::Timestamp;
use quintet_core::cursor::Offset;
use quintet_core::engine::transaction::{Fork, ProducerStep, Retention, TopicConfig};
use quintet_core::message::ContentType;
use quintet_core::name::TopicName;

use crate::codec::{Reader, put_option, put_str, put_varint};

pub(crate) fn put_config(out: &mut Vec<u8>, config: &TopicConfig) {
    put_str(out, config.content_type.as_str());
    out.push(u8::from(config.fixed_type));
    put_option(out, config.ttl.map(nanoseconds));
    put_option(out, config.expires_at.map(|time| time.0));
    put_option(out, config.retention.age.map(nanoseconds));
    put_option(out, config.retention.count);
    put_option(out, config.retention.bytes);
    out.push(u8::from(config.fork.is_some()));
    if let Some(fork) = &config.fork {
        put_str(out, fork.source.as_str());
        put_varint(out, fork.source_created.0);
        put_varint(out, fork.through.0);
        put_varint(out, fork.sub_offset);
        put_varint(out, fork.anchor.0);
    }
}

pub(crate) fn get_config(from: &mut Reader<'_>) -> Option<TopicConfig> {
    Some(TopicConfig {
        content_type: ContentType::parse(from.str()?).ok()?,
        fixed_type: from.u8()? != 0,
        ttl: from.option()?.map(Duration::from_nanos),
        expires_at: from.option()?.map(Timestamp),
        retention: Retention {
            age: from.option()?.map(Duration::from_nanos),
            count: from.option()?,
            bytes: from.option()?,
        },
        fork: if from.u8()? == 0 { None } else { Some(get_fork(from)?) },
    })
}

fn get_fork(from: &mut Reader<'_>) -> Option<Fork> {
    Some(Fork {
        source: TopicName::parse(from.str()?).ok()?,
        source_created: Offset(from.varint()?),
        through: Offset(from.varint()?),
        sub_offset: from.varint()?,
        anchor: Offset(from.varint()?),
    })
}

pub(crate) fn put_step(out: &mut Vec<u8>, step: &ProducerStep) {
    put_str(out, &step.id);
    put_varint(out, step.epoch);
    put_varint(out, step.seq);
}

pub(crate) fn get_step(from: &mut Reader<'_>) -> Option<ProducerStep> {
    Some(ProducerStep { id: from.str()?.into(), epoch: from.varint()?, seq: from.varint()? })
}

/// 584 years fit; what is longer is as good as for ever.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX - 1)
}
