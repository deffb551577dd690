//! What is published twice with the same message id: the cases of remembering and forgetting.
#![allow(clippy::unwrap_used, reason = "a test suite fails by panicking")]

use std::time::Duration;

use crate::clock::Timestamp;
use crate::engine::contract::suite::{NOW, Suite, append, by, name, open, payloads};
use crate::engine::transaction::{Append, Appended, Delete, Op, Outcome, Transaction};
use crate::error::Kind;
use crate::limits::{Limits, MESSAGE_ID_OVERHEAD_BYTES};
use crate::message::ContentType;

fn with_id(topic: &str, id: &str, texts: &[&str]) -> Append {
    Append { message_id: Some(id.into()), create: Some(open()), ..append(topic, texts) }
}

async fn at(suite: &Suite, now: Timestamp, append: Append) -> Appended {
    match suite.engine.commit(Transaction::from(Op::Append(append)), now).await.unwrap().pop() {
        Some(Outcome::Appended(appended)) => appended,
        other => panic!("an append was answered by {other:?}"),
    }
}

pub(super) async fn a_repeat_is_answered_with_the_first_one(suite: Suite) {
    let first = suite.append(with_id("a", "x", &["1", "2"])).await.unwrap();
    assert!(!first.duplicate && first.created);
    let messages = suite.all("a").await;
    assert_eq!(messages.last().unwrap().offset, first.tail, "the tail is the last message, not the id behind it");
    let second = suite.append(with_id("a", "y", &["3"])).await.unwrap();
    let again = suite.append(with_id("a", "x", &["1", "2"])).await.unwrap();
    assert_eq!(again, Appended { duplicate: true, created: false, ..first.clone() });
    assert!(again.tail < second.tail);
    assert!(!suite.append(with_id("b", "x", &["4"])).await.unwrap().duplicate, "another topic has ids of its own");
    suite.publish("a", &["5"]).await;
    let both = vec![Op::Append(with_id("a", "z", &["6"])), Op::Append(with_id("a", "z", &["7"]))];
    let outcomes = suite.commit(both).await.unwrap();
    let [Outcome::Appended(new), Outcome::Appended(old)] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert!(!new.duplicate && old.duplicate && new.tail == old.tail, "also within a transaction");
    assert_eq!(payloads(&suite.all("a").await), ["1", "2", "3", "5", "6"]);
}

pub(super) async fn an_id_is_forgotten_after_its_window(suite: Suite) {
    let window = Limits::default().message_id_window;
    let first = at(&suite, NOW, with_id("a", "x", &["1"])).await;
    let nearly = NOW.plus(window - Duration::from_millis(1));
    assert_eq!(at(&suite, nearly, with_id("a", "x", &["1"])).await.tail, first.tail, "a repeat does not extend it");
    let second = at(&suite, NOW.plus(window), with_id("a", "x", &["2"])).await;
    assert!(!second.duplicate);
    assert_eq!(at(&suite, NOW.plus(window), with_id("a", "x", &["2"])).await.tail, second.tail);
    // Many, so that they are forgotten little by little.
    for i in 0..200 {
        at(&suite, NOW.plus(window), with_id("b", &i.to_string(), &["1"])).await;
    }
    let later = NOW.plus(window * 2);
    for i in (0..200).rev() {
        let again = at(&suite, later, with_id("b", &i.to_string(), &["2"])).await;
        assert!(!again.duplicate, "{i} is over, whether or not it has been forgotten");
        assert!(at(&suite, later, with_id("b", &i.to_string(), &["3"])).await.duplicate, "and known anew");
    }
    assert_eq!(suite.all("b").await.len(), 400);
}

pub(super) async fn ids_go_with_their_topic(suite: Suite) {
    suite.append(with_id("a", "x", &["old"])).await.unwrap();
    let delete = Op::Delete(Delete { topic: name("a"), created: None });
    // A transaction that is refused takes the deletion back, and what was remembered behind it.
    let refused = vec![delete.clone(), Op::Append(with_id("a", "x", &["no"])), Op::Append(append("absent", &["1"]))];
    assert_eq!(*suite.commit(refused).await.unwrap_err().kind(), Kind::TopicNotFound);
    assert!(suite.append(with_id("a", "x", &["old"])).await.unwrap().duplicate);
    suite.commit(vec![delete]).await.unwrap();
    let new = suite.append(with_id("a", "x", &["new"])).await.unwrap();
    assert!(!new.duplicate && new.created, "another life of the name has ids of its own");
    assert_eq!(suite.append(with_id("a", "x", &["new"])).await.unwrap().tail, new.tail);
    assert_eq!(payloads(&suite.all("a").await), ["new"]);
}

pub(super) async fn a_refused_publish_leaves_no_id(suite: Suite) {
    suite.publish("a", &["1"]).await;
    let refused = vec![Op::Append(with_id("a", "x", &["2"])), Op::Append(append("absent", &["3"]))];
    suite.commit(refused).await.unwrap_err();
    assert!(!suite.append(with_id("a", "x", &["2"])).await.unwrap().duplicate);
    let window = Limits::default().message_id_window;
    let refused = vec![Op::Append(with_id("a", "x", &["4"])), Op::Append(append("absent", &["5"]))];
    let transaction = Transaction { ops: refused };
    suite.engine.commit(transaction, NOW.plus(window)).await.unwrap_err();
    assert!(!at(&suite, NOW.plus(window), with_id("a", "x", &["4"])).await.duplicate);
    assert_eq!(payloads(&suite.all("a").await), ["1", "2", "4"]);
}

pub(super) async fn ids_and_closure(suite: Suite) {
    suite.append(with_id("a", "x", &["1"])).await.unwrap();
    let closing = Append { close: true, ..with_id("a", "y", &["2"]) };
    let closed = suite.append(closing.clone()).await.unwrap();
    assert!(closed.closed && !closed.duplicate);
    assert_eq!(suite.append(closing).await.unwrap(), Appended { duplicate: true, ..closed.clone() });
    let first = suite.append(with_id("a", "x", &["1"])).await.unwrap();
    assert!(first.duplicate && first.closed && first.tail < closed.tail, "what was taken stays so");
    assert!(matches!(suite.refused(with_id("a", "z", &["3"])).await, Kind::TopicClosed { .. }));
    let mut typed = with_id("b", "x", &["1"]);
    suite
        .append(Append {
            create: Some(crate::engine::transaction::TopicConfig { fixed_type: true, ..open() }),
            ..typed.clone()
        })
        .await
        .unwrap();
    typed.messages[0].content_type = Some(ContentType::parse("image/png").unwrap());
    assert_eq!(suite.refused(typed).await, Kind::ContentTypeMismatch, "the type is looked at first");
}

pub(super) async fn ids_and_producers(suite: Suite) {
    let step = |epoch, seq, id, text| Append { producer: by("p", epoch, seq), ..with_id("a", id, &[text]) };
    let first = suite.append(step(0, 0, "x", "1")).await.unwrap();
    suite.append(step(0, 1, "y", "2")).await.unwrap();
    let again = suite.append(step(0, 0, "x", "1")).await.unwrap();
    assert!(again.duplicate && again.tail == first.tail && again.producer == Some((0, 1)));
    // The producer has begun anew and sends once more what it does not know to be taken.
    let known = suite.append(step(1, 0, "y", "2")).await.unwrap();
    assert!(known.duplicate && known.producer == Some((1, 0)));
    assert!(!suite.append(step(1, 1, "z", "3")).await.unwrap().duplicate, "it goes on from the step of the repeat");
    assert_eq!(suite.refused(step(1, 3, "y", "2")).await, Kind::ProducerGap { expected: 2, received: 3 });
    let seq = |value: &str| Append { stream_seq: Some(value.into()), ..with_id("a", "s", &["4"]) };
    suite.append(seq("1")).await.unwrap();
    assert!(suite.append(seq("1")).await.unwrap().duplicate, "a repeat is no regression");
    assert_eq!(payloads(&suite.all("a").await), ["1", "2", "3", "4"]);
}

/// On an engine whose limits have room for two ids of one letter.
pub(super) async fn no_room_is_no_shorter_window(suite: Suite) {
    suite.append(with_id("a", "x", &["1"])).await.unwrap();
    suite.append(with_id("b", "y", &["2"])).await.unwrap();
    assert_eq!(suite.refused(with_id("a", "z", &["3"])).await, Kind::TooMany);
    assert_eq!(suite.refused(with_id("new", "z", &["3"])).await, Kind::TooMany);
    assert!(suite.append(with_id("a", "x", &["1"])).await.unwrap().duplicate, "what is known is known");
    suite.publish("a", &["4"]).await;
    suite.commit(vec![Op::Delete(Delete { topic: name("b"), created: None })]).await.unwrap();
    assert_eq!(suite.refused(with_id("a", "z", &["3"])).await, Kind::TooMany, "deleting gives no room");
    let later = NOW.plus(small_limits().message_id_window);
    assert!(!at(&suite, later, with_id("a", "z", &["3"])).await.duplicate);
    assert!(!at(&suite, later, with_id("a", "x", &["5"])).await.duplicate);
    assert_eq!(payloads(&suite.all("a").await), ["1", "4", "3", "5"]);
}

/// On an engine with the same limits: an id that a clock gave that was ahead is forgotten a window after the clock is
/// right again, and holds back no other.
pub(super) async fn ids_of_a_clock_that_was_ahead(suite: Suite) {
    let next_year = NOW.plus(Duration::from_secs(365 * 24 * 3_600));
    at(&suite, next_year, with_id("a", "x", &["1"])).await;
    at(&suite, NOW, with_id("a", "y", &["2"])).await;
    assert!(at(&suite, NOW, with_id("a", "x", &["1"])).await.duplicate, "it is known");
    assert_eq!(suite.refused(with_id("a", "z", &["3"])).await, Kind::TooMany);
    let later = NOW.plus(small_limits().message_id_window);
    for id in ["z", "x"] {
        assert!(!at(&suite, later, with_id("a", id, &["4"])).await.duplicate, "{id} is new");
    }
    assert_eq!(payloads(&suite.all("a").await), ["1", "2", "4", "4"]);
}

/// The limits of an engine for [`no_room_is_no_shorter_window`].
pub(super) fn small_limits() -> Limits {
    Limits { message_id_bytes: 2 * (MESSAGE_ID_OVERHEAD_BYTES + 1), ..Limits::default() }
}
