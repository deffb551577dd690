//! How consumer groups are written: what they are set up like, each change, and their whole state in a checkpoint.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use quintet_core::clock::Timestamp;
use quintet_core::cursor::Offset;
use quintet_core::group::{GroupConfig, GroupCounts, GroupState, GroupStep, Held, HeldState, Why};
use quintet_core::name::{Filter, TopicName};

use crate::codec::{Reader, put_option, put_str, put_varint};

pub(crate) fn put_group_config(out: &mut Vec<u8>, config: &GroupConfig) {
    put_str(out, config.filter.as_str());
    put_varint(out, milliseconds(config.ack_wait));
    put_option(out, config.max_deliver.map(u64::from));
    put_varint(out, config.backoff.len() as u64);
    for delay in &config.backoff {
        put_varint(out, milliseconds(*delay));
    }
    put_varint(out, u64::from(config.in_flight));
    put_varint(out, u64::from(config.in_flight_per_member));
    put_str(out, config.dead_letter.as_ref().map_or("", TopicName::as_str));
    put_str(out, config.key.as_deref().unwrap_or_default());
}

pub(crate) fn get_group_config(from: &mut Reader<'_>) -> Option<GroupConfig> {
    let filter = Filter::parse(from.str()?).ok()?;
    let ack_wait = Duration::from_millis(from.varint()?);
    let max_deliver = match from.option()? {
        Some(n) => Some(u32::try_from(n).ok()?),
        None => None,
    };
    let mut backoff = Vec::new();
    for _ in 0..from.varint()? {
        backoff.push(Duration::from_millis(from.varint()?));
    }
    Some(GroupConfig {
        filter,
        ack_wait,
        max_deliver,
        backoff,
        in_flight: u32::try_from(from.varint()?).ok()?,
        in_flight_per_member: u32::try_from(from.varint()?).ok()?,
        dead_letter: match from.str()? {
            "" => None,
            name => Some(TopicName::parse(name).ok()?),
        },
        key: Some(from.str()?).filter(|key| !key.is_empty()).map(Into::into),
    })
}

pub(crate) fn put_group_step(out: &mut Vec<u8>, step: &GroupStep) {
    put_varint(out, step.claimed_through.0);
    put_varint(out, step.claimed_from.0);
    put_varint(out, step.redriven_through.0);
    put_counts(out, step.counts);
    put_held(out, step.held.iter().map(|(offset, held)| (*offset, held)));
    put_offsets(out, &step.settled);
}

pub(crate) fn get_group_step(from: &mut Reader<'_>) -> Option<GroupStep> {
    Some(GroupStep {
        claimed_through: Offset(from.varint()?),
        claimed_from: Offset(from.varint()?),
        redriven_through: Offset(from.varint()?),
        counts: get_counts(from)?,
        held: get_held(from)?,
        settled: get_offsets(from)?,
    })
}

pub(crate) fn put_group_state(out: &mut Vec<u8>, state: &GroupState) {
    put_group_config(out, &state.config);
    put_varint(out, state.claimed_through.0);
    put_varint(out, state.redriven_through.0);
    put_counts(out, state.counts);
    put_held(out, state.held.iter().map(|(offset, held)| (*offset, held)));
}

pub(crate) fn get_group_state(from: &mut Reader<'_>) -> Option<GroupState> {
    let mut state = GroupState::new(Arc::new(get_group_config(from)?), Offset(from.varint()?));
    state.redriven_through = Offset(from.varint()?);
    state.counts = get_counts(from)?;
    state.held.extend(get_held(from)?);
    Some(state)
}

fn put_counts(out: &mut Vec<u8>, counts: GroupCounts) {
    let GroupCounts { delivered, redelivered, acknowledged, dead_lettered, lost } = counts;
    for count in [delivered, redelivered, acknowledged, dead_lettered, lost] {
        put_varint(out, count);
    }
}

fn get_counts(from: &mut Reader<'_>) -> Option<GroupCounts> {
    Some(GroupCounts {
        delivered: from.varint()?,
        redelivered: from.varint()?,
        acknowledged: from.varint()?,
        dead_lettered: from.varint()?,
        lost: from.varint()?,
    })
}

/// Names that come again are written once: an entry says 0 and its topic's name, or which of the names before it is.
fn put_held<'a>(out: &mut Vec<u8>, all: impl ExactSizeIterator<Item = (Offset, &'a Held)>) {
    put_varint(out, all.len() as u64);
    let mut names: HashMap<&TopicName, u64> = HashMap::new();
    let mut before = 0;
    for (offset, held) in all {
        put_distance(out, &mut before, offset.0);
        let n_names = names.len() as u64;
        match names.get(&held.topic) {
            Some(name) => put_varint(out, *name),
            None => {
                put_varint(out, 0);
                put_str(out, held.topic.as_str());
                names.insert(&held.topic, n_names + 1);
            }
        }
        put_varint(out, u64::from(held.count));
        put_varint(out, held.due.0);
        out.push(state_number(held.state));
    }
}

fn get_held(from: &mut Reader<'_>) -> Option<Vec<(Offset, Held)>> {
    let mut names: Vec<TopicName> = Vec::new();
    let mut before = 0;
    let mut all = Vec::new();
    for _ in 0..from.varint()? {
        let offset = Offset(get_distance(from, &mut before)?);
        let topic = match from.varint()? {
            0 => {
                names.push(TopicName::parse(from.str()?).ok()?);
                names.last()?.clone()
            }
            n => names.get(usize::try_from(n - 1).ok()?)?.clone(),
        };
        let count = u32::try_from(from.varint()?).ok()?;
        let due = Timestamp(from.varint()?);
        all.push((offset, Held { topic, count, due, state: state_from_number(from.u8()?)? }));
    }
    Some(all)
}

fn put_offsets(out: &mut Vec<u8>, offsets: &[Offset]) {
    put_varint(out, offsets.len() as u64);
    let mut before = 0;
    offsets.iter().for_each(|offset| put_distance(out, &mut before, offset.0));
}

fn get_offsets(from: &mut Reader<'_>) -> Option<Vec<Offset>> {
    let mut before = 0;
    let mut offsets = Vec::new();
    for _ in 0..from.varint()? {
        offsets.push(Offset(get_distance(from, &mut before)?));
    }
    Some(offsets)
}

/// Neighbours are near each other, so the distance is short; zigzag, since they need not be in order.
fn put_distance(out: &mut Vec<u8>, before: &mut u64, value: u64) {
    let distance = value.wrapping_sub(*before) as i64;
    put_varint(out, ((distance << 1) ^ (distance >> 63)) as u64);
    *before = value;
}

fn get_distance(from: &mut Reader<'_>, before: &mut u64) -> Option<u64> {
    let zigzag = from.varint()?;
    let distance = ((zigzag >> 1) as i64) ^ -((zigzag & 1) as i64);
    *before = before.wrapping_add(distance as u64);
    Some(*before)
}

fn state_number(state: HeldState) -> u8 {
    match state {
        HeldState::Leased => 0,
        HeldState::Waiting(Why::New) => 1,
        HeldState::Waiting(Why::Nack) => 2,
        HeldState::Waiting(Why::Timeout) => 3,
        HeldState::Waiting(Why::MemberLost) => 4,
        HeldState::Waiting(Why::Redrive) => 5,
    }
}

fn state_from_number(number: u8) -> Option<HeldState> {
    Some(match number {
        0 => HeldState::Leased,
        1 => HeldState::Waiting(Why::New),
        2 => HeldState::Waiting(Why::Nack),
        3 => HeldState::Waiting(Why::Timeout),
        4 => HeldState::Waiting(Why::MemberLost),
        5 => HeldState::Waiting(Why::Redrive),
        _ => return None,
    })
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn held() -> impl Strategy<Value = Held> {
        (0..3_u8, any::<u32>(), any::<u64>(), 0..6_u8).prop_map(|(topic, count, due, state)| Held {
            topic: TopicName::parse(&format!("t/{topic}")).unwrap(),
            count,
            due: Timestamp(due),
            state: state_from_number(state).unwrap(),
        })
    }

    proptest! {
        #[test]
        fn a_step_and_a_state_are_read_back(
            held in proptest::collection::vec((any::<u64>().prop_map(Offset), held()), 0..20),
            settled in proptest::collection::vec(any::<u64>().prop_map(Offset), 0..20),
            numbers in any::<[u64; 8]>(),
            max_deliver in proptest::option::of(any::<u32>()),
            key in proptest::option::of("[a-z]{1,9}"),
        ) {
            let [claimed, from, redriven, delivered, redelivered, acknowledged, dead_lettered, lost] = numbers;
            let counts = GroupCounts { delivered, redelivered, acknowledged, dead_lettered, lost };
            let (claimed_through, redriven_through) = (Offset(claimed), Offset(redriven));
            let claimed_from = Offset(from);
            let step = GroupStep { claimed_through, claimed_from, held, settled, redriven_through, counts };
            let mut bytes = Vec::new();
            put_group_step(&mut bytes, &step);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(get_group_step(&mut reader), Some(step.clone()));
            prop_assert!(reader.rest().is_empty());

            let config = GroupConfig {
                max_deliver,
                key: key.map(Into::into),
                backoff: vec![Duration::from_millis(delivered >> 20), Duration::ZERO],
                dead_letter: Some(TopicName::parse("dead").unwrap()),
                ..GroupConfig::new(Filter::parse("work/#").unwrap())
            };
            let mut state = GroupState::new(Arc::new(config), claimed_through);
            state.redriven_through = redriven_through;
            state.counts = counts;
            state.held.extend(step.held);
            let mut bytes = Vec::new();
            put_group_state(&mut bytes, &state);
            prop_assert_eq!(get_group_state(&mut Reader::new(&bytes)), Some(state));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            drop(get_group_step(&mut Reader::new(&bytes)));
            drop(get_group_state(&mut Reader::new(&bytes)));
        }
    }
}
