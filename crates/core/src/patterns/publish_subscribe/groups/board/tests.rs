//! What takes too many messages to be shown through a hub.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use super::{Board, IDLE_KEYS_MAX};
use crate::clock::Timestamp;
use crate::cursor::Offset;
use crate::group::{GroupConfig, GroupState};
use crate::message::{ContentType, Headers, Message};
use crate::name::{Filter, TopicName};

fn message(offset: u64, key: &str) -> Arc<Message> {
    Arc::new(Message {
        topic: TopicName::parse("work").unwrap(),
        offset: Offset(offset),
        previous: Offset::ZERO,
        time: Timestamp(1),
        content_type: ContentType::octet_stream(),
        headers: Headers::new([("key", key)]).unwrap(),
        payload: Bytes::new(),
    })
}

#[test]
fn a_key_stays_with_its_member_for_any_number_of_messages() {
    let config = GroupConfig { key: Some("key".into()), ..GroupConfig::new(Filter::parse("work").unwrap()) };
    let mut board = Board::new(&GroupState::new(Arc::new(config), Offset::ZERO), Timestamp(1));
    board.join("one".into(), 10, true);
    board.join("two".into(), 10, true);
    let mut members = HashSet::new();
    for offset in 1..=(IDLE_KEYS_MAX as u64 + 100) {
        board.offer(&[message(offset, "hot")]);
        let given = board.hand_out();
        assert_eq!(given.len(), 1);
        members.insert(given[0].member);
        board.committed();
        board.acknowledge(Offset(offset), 1);
        board.committed();
    }
    assert_eq!(members.len(), 1, "it was handed from one member to another");
    assert_eq!(board.idle_keys.len(), 1);
}
