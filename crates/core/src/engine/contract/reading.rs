//! What is read back, of a topic and of a log: the cases of reads and scans.
#![allow(clippy::unwrap_used, reason = "a test suite fails by panicking")]

use crate::cursor::Offset;
use crate::engine::contract::suite::{Suite, append, name};
use crate::engine::transaction::{Append, Delete, Op, Record};

pub(super) async fn reads_are_bounded_and_resumable(suite: Suite) {
    let texts: Vec<String> = (0..100).map(|i| format!("{i:03}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for chunk in texts.chunks(7) {
        suite.publish("a", chunk).await;
        suite.publish("noise", &["-"]).await;
    }
    let (mut after, mut seen) = (Offset::ZERO, Vec::new());
    loop {
        let page = suite.page("a", after, 9, 30).await;
        assert!(page.messages.len() <= 9);
        assert!(page.messages.iter().map(|m| m.payload.len()).sum::<usize>() <= 30);
        seen.extend(page.messages.iter().map(|m| String::from_utf8(m.payload.to_vec()).unwrap()));
        let Some(last) = page.messages.last() else { break };
        after = last.offset;
        if page.complete {
            break;
        }
    }
    assert_eq!(seen, texts);
    assert_eq!(suite.page("a", Offset::ZERO, 9, 1).await.messages.len(), 1, "one message is always returned");
    let end = suite.page("a", after, 9, 30).await;
    assert!(end.messages.is_empty() && end.complete);
}

pub(super) async fn a_scan_merges_topics_in_log_order(suite: Suite) {
    for i in 0..5 {
        suite.publish("a/1", &[&format!("a{i}")]).await;
        suite.publish("b", &["-"]).await;
        suite.publish("a/2", &[&format!("b{i}"), &format!("c{i}")]).await;
    }
    suite.append(Append { close: true, ..append("a/1", &[]) }).await.unwrap();
    suite.publish("a/3", &["gone"]).await;
    suite.commit(vec![Op::Delete(Delete { topic: name("a/3"), created: None })]).await.unwrap();
    let (mut after, mut seen) = (Offset::ZERO, Vec::new());
    let end = *suite.seen.through.lock();
    while after < end {
        let page = suite.scan("a/#", after, 4).await;
        assert!(page.through > after, "a scan makes progress");
        seen.extend(page.records);
        after = page.through;
    }
    let texts: Vec<String> = seen
        .iter()
        .map(|record| match record {
            Record::Message(message) => String::from_utf8(message.payload.to_vec()).unwrap(),
            Record::Closed { topic, .. } => format!("{topic} closed"),
            Record::Deleted { topic, .. } => format!("{topic} deleted"),
            other => panic!("a scan returned {other:?}"),
        })
        .filter(|text| text != "gone")
        .collect();
    let mut expected: Vec<String> = (0..5).flat_map(|i| [format!("a{i}"), format!("b{i}"), format!("c{i}")]).collect();
    expected.extend(["a/1 closed".into(), "a/3 deleted".into()]);
    assert_eq!(texts, expected);
    assert!(seen.windows(2).all(|pair| pair[0].offset() < pair[1].offset()));
}

pub(super) async fn messages_behind_an_offset_are_counted(suite: Suite) {
    let texts: Vec<String> = (0..50).map(|i| i.to_string()).collect();
    for text in &texts {
        suite.publish("a", &[text]).await;
        suite.publish("b", &[text]).await;
    }
    suite.append(Append { close: true, ..append("a", &[]) }).await.unwrap();
    let all = suite.all("a").await;
    let created = suite.created("a");
    for (i, message) in all.iter().enumerate() {
        let counted = suite.engine.count(name("a"), created, message.offset).await.unwrap();
        assert_eq!(counted, (all.len() - i - 1) as u64);
    }
    assert_eq!(suite.engine.count(name("a"), created, Offset::ZERO).await.unwrap(), 50);
    assert_eq!(suite.engine.count(name("a"), Offset(created.0 + 1), Offset::ZERO).await.unwrap(), 0);
}
