//! What a transaction may do: the cases of appending, creating, closing and deleting.
#![allow(clippy::unwrap_used, reason = "a test suite fails by panicking")]

use std::time::Duration;

use crate::cursor::Offset;
use crate::engine::ReadRequest;
use crate::engine::contract::suite::{NOW, Suite, append, by, create, name, open, payloads, text_plain};
use crate::engine::transaction::{Append, Create, Delete, Op, Outcome, Record, TopicConfig};
use crate::error::Kind;
use crate::message::ContentType;

pub(super) async fn appends_are_read_back_in_order(suite: Suite) {
    let first = suite.publish("a", &["1", "2"]).await;
    assert!(first.created && !first.duplicate && !first.closed);
    suite.publish("b", &["x"]).await;
    let second = suite.publish("a", &["3"]).await;
    assert!(!second.created && second.tail > first.tail);
    let messages = suite.all("a").await;
    assert_eq!(payloads(&messages), ["1", "2", "3"]);
    let mut previous = Offset::ZERO;
    for message in &messages {
        assert_eq!(message.previous, previous, "each message names the one before it");
        assert_eq!(message.time, NOW);
        assert_eq!(message.content_type, text_plain(), "a message without a type has its topic's");
        assert_eq!(message.headers.get("n").map(str::as_bytes), Some(&message.payload[..]));
        previous = message.offset;
    }
    assert_eq!(previous, second.tail);
    assert_eq!(payloads(&suite.all("b").await), ["x"]);
    let told = suite.seen.records.lock().iter().filter(|record| matches!(record, Record::Message(_))).count();
    assert_eq!(told, 4, "the observer was told before the answer came");
}

pub(super) async fn a_transaction_is_all_or_nothing(suite: Suite) {
    suite.publish("a", &["1"]).await;
    let refused = vec![
        Op::Append(append("a", &["2"])),
        create("c", open()),
        Op::Delete(Delete { topic: name("a"), created: None }),
        Op::Append(append("absent", &["3"])),
    ];
    assert_eq!(*suite.commit(refused).await.unwrap_err().kind(), Kind::TopicNotFound);
    assert_eq!(payloads(&suite.all("a").await), ["1"]);
    assert!(suite.create("c", open()).await, "the refused creation left nothing behind");
    let taken = vec![Op::Append(append("a", &["2"])), Op::Append(append("c", &["3"]))];
    assert_eq!(suite.commit(taken).await.unwrap().len(), 2);
    assert_eq!(payloads(&suite.all("a").await), ["1", "2"]);
    assert_eq!(suite.refused(append("a", &[])).await, Kind::BadRequest, "nothing is not an append");
}

pub(super) async fn a_topic_is_created_once(suite: Suite) {
    let config = TopicConfig { ttl: Some(Duration::from_secs(5)), ..open() };
    assert!(suite.create("a", config.clone()).await);
    assert!(!suite.create("a", config.clone()).await);
    let other = suite.commit(vec![create("a", open())]).await.unwrap_err();
    assert_eq!(*other.kind(), Kind::TopicExists);
    assert_eq!(suite.refused(append("absent", &["1"])).await, Kind::TopicNotFound);
    suite.append(append("a", &["1"])).await.unwrap();
    assert!(!suite.create("a", config).await, "messages do not make it another topic");
    let whole =
        Create { topic: name("whole"), config: open(), messages: append("whole", &["1", "2"]).messages, closed: true };
    suite.commit(vec![Op::Create(whole)]).await.unwrap();
    assert_eq!(payloads(&suite.all("whole").await), ["1", "2"]);
    assert!(matches!(suite.refused(append("whole", &["3"])).await, Kind::TopicClosed { .. }));
}

pub(super) async fn a_closed_topic_takes_nothing_more(suite: Suite) {
    suite.publish("a", &["1"]).await;
    let step = by("p", 0, 0);
    let closing = Append { close: true, producer: step.clone(), ..append("a", &["2"]) };
    assert!(suite.append(closing.clone()).await.unwrap().closed);
    assert!(matches!(suite.refused(append("a", &["3"])).await, Kind::TopicClosed { .. }));
    let again = suite.append(closing).await.unwrap();
    assert!(again.duplicate && again.closed, "the append that closed it is known");
    let close_only = suite.append(Append { close: true, ..append("a", &[]) }).await.unwrap();
    assert!(close_only.closed && close_only.duplicate, "closing twice does no harm");
    let other = Append { close: true, producer: by("q", 0, 0), ..append("a", &[]) };
    assert!(matches!(suite.refused(other).await, Kind::TopicClosed { .. }));
    assert_eq!(payloads(&suite.all("a").await), ["1", "2"]);
}

pub(super) async fn a_fixed_type_refuses_others(suite: Suite) {
    suite.create("a", TopicConfig { fixed_type: true, ..open() }).await;
    let typed = |text: &str| {
        let mut append = append("a", &["1"]);
        append.messages[0].content_type = Some(ContentType::parse(text).unwrap());
        append
    };
    suite.append(typed("TEXT/plain; charset=utf-8")).await.unwrap();
    assert_eq!(suite.refused(typed("application/json")).await, Kind::ContentTypeMismatch);
    suite.publish("open", &["1"]).await;
    suite.append(Append { topic: name("open"), ..typed("application/json") }).await.unwrap();
}

pub(super) async fn producers_are_exactly_once(suite: Suite) {
    let step =
        |epoch, seq, payload| Append { producer: by("p", epoch, seq), create: Some(open()), ..append("a", &[payload]) };
    assert_eq!(suite.refused(step(0, 1, "early")).await, Kind::ProducerGap { expected: 0, received: 1 });
    assert_eq!(suite.append(step(0, 0, "1")).await.unwrap().producer, Some((0, 0)));
    assert_eq!(suite.append(step(0, 1, "2")).await.unwrap().producer, Some((0, 1)));
    let again = suite.append(step(0, 0, "1")).await.unwrap();
    assert!(again.duplicate);
    assert_eq!(again.producer, Some((0, 1)), "a duplicate is answered with the highest sequence number");
    assert_eq!(suite.refused(step(0, 3, "gap")).await, Kind::ProducerGap { expected: 2, received: 3 });
    assert_eq!(suite.refused(step(2, 1, "start")).await, Kind::BadProducerStart);
    suite.append(step(2, 0, "3")).await.unwrap();
    assert_eq!(suite.refused(step(1, 0, "stale")).await, Kind::StaleEpoch { current: 2 });
    suite.append(Append { producer: by("q", 0, 0), ..append("a", &["4"]) }).await.unwrap();
    assert_eq!(payloads(&suite.all("a").await), ["1", "2", "3", "4"]);
}

pub(super) async fn stream_seq_only_rises(suite: Suite) {
    let seq = |value: &str, payload| Append {
        stream_seq: Some(value.into()),
        create: Some(open()),
        ..append("a", &[payload])
    };
    suite.append(seq("a", "1")).await.unwrap();
    assert_eq!(suite.refused(seq("a", "x")).await, Kind::SequenceRegression);
    assert_eq!(suite.refused(seq("B", "x")).await, Kind::SequenceRegression, "bytes are compared, not letters");
    suite.append(seq("b", "2")).await.unwrap();
    suite.publish("a", &["3"]).await;
    assert_eq!(payloads(&suite.all("a").await), ["1", "2", "3"]);
}

pub(super) async fn a_deleted_topic_starts_anew(suite: Suite) {
    suite.append(Append { producer: by("p", 3, 0), create: Some(open()), ..append("a", &["old"]) }).await.unwrap();
    let before = suite.created("a");
    let delete = |created| vec![Op::Delete(Delete { topic: name("a"), created })];
    let wrong = suite.commit(delete(Some(before.next()))).await.unwrap_err();
    assert_eq!(*wrong.kind(), Kind::TopicNotFound, "another life of the topic is not meant");
    let Some(Outcome::Deleted { at }) = suite.commit(delete(Some(before))).await.unwrap().pop() else {
        panic!("a deletion is answered by its place")
    };
    assert_eq!(*suite.commit(delete(None)).await.unwrap_err().kind(), Kind::TopicNotFound);
    let request = |after| ReadRequest { topic: name("a"), created: before, after, messages: 9, bytes: 9 };
    assert!(suite.engine.read(request(Offset::ZERO)).await.unwrap().messages.is_empty());
    suite.append(Append { producer: by("p", 0, 0), create: Some(open()), ..append("a", &["new"]) }).await.unwrap();
    assert_eq!(payloads(&suite.all("a").await), ["new"]);
    assert!(suite.engine.read(request(Offset::ZERO)).await.unwrap().messages.is_empty(), "the old life stays gone");
    let records = suite.seen.records.lock();
    let deleted_at = records.iter().rev().find_map(|record| match record {
        Record::Created { deleted_at, .. } => Some(*deleted_at),
        _ => None,
    });
    assert_eq!(deleted_at, Some(at), "the new life knows where the old one ended");
}

pub(super) async fn concurrent_appends_are_all_seen_once(suite: Suite) {
    let tasks: Vec<_> = (0..8)
        .map(|writer| {
            let suite = suite.clone();
            tokio::spawn(async move {
                for i in 0..50 {
                    suite.publish(&format!("t/{}", i % 3), &[&format!("{writer}-{i}")]).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let mut all = Vec::new();
    for topic in ["t/0", "t/1", "t/2"] {
        let messages = suite.all(topic).await;
        for writer in 0..8 {
            let prefix = format!("{writer}-");
            let own = messages.iter().filter(|m| m.payload.starts_with(prefix.as_bytes()));
            let numbers: Vec<u32> =
                own.map(|m| std::str::from_utf8(&m.payload[2..]).unwrap().parse().unwrap()).collect();
            assert!(numbers.is_sorted(), "what one publisher waits for stays in order");
        }
        all.extend(messages.iter().map(|m| m.payload.clone()));
    }
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 400);
}

pub(super) async fn a_closed_engine_refuses(suite: Suite) {
    suite.publish("a", &["1"]).await;
    suite.engine.close().await.unwrap();
    assert_eq!(suite.refused(append("a", &["2"])).await, Kind::ShuttingDown);
}
