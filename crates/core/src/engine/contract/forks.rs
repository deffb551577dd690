//! What a fork shares with its source: the cases of forks.
#![allow(clippy::unwrap_used, reason = "a test suite fails by panicking")]

use crate::cursor::Offset;
use crate::engine::contract::suite::{Suite, append, create, name, open, payloads};
use crate::engine::transaction::{Delete, Fork, Op, Retention, TopicConfig};
use crate::error::Kind;

pub(super) fn fork(suite: &Suite, source: &str, through: Offset) -> TopicConfig {
    let fork =
        Fork { source: name(source), source_created: suite.created(source), through, sub_offset: 0, anchor: through };
    TopicConfig { fork: Some(fork), ..open() }
}

pub(super) async fn a_fork_shares_its_sources_past(suite: Suite) {
    let first = suite.publish("a", &["1", "2"]).await.tail;
    let second = suite.publish("a", &["3"]).await.tail;
    assert!(suite.create("f", fork(&suite, "a", first)).await);
    assert!(!suite.create("f", fork(&suite, "a", first)).await, "the same fork is the same topic");
    let other = suite.commit(vec![create("f", fork(&suite, "a", second))]).await.unwrap_err();
    assert_eq!(*other.kind(), Kind::TopicExists);
    let beyond = suite.commit(vec![create("g", fork(&suite, "a", second.next()))]).await.unwrap_err();
    assert_eq!(*beyond.kind(), Kind::BadCursor);
    suite.append(append("f", &["own"])).await.unwrap();
    suite.append(append("a", &["4"])).await.unwrap();
    assert_eq!(payloads(&suite.all("f").await), ["1", "2", "own"]);
    assert_eq!(payloads(&suite.all("a").await), ["1", "2", "3", "4"]);
    let inherited = suite.all("f").await;
    assert_eq!(inherited[1].offset, first, "what is inherited keeps its offset");
    assert!(inherited.iter().all(|message| message.topic.as_str() == "f"), "and is the fork's own");
    assert_eq!(inherited[2].previous, first);
    // A fork of the fork, from within what it inherits, and one at its end.
    let within = inherited[0].offset;
    suite.create("g", fork(&suite, "f", within)).await;
    suite.create("h", fork(&suite, "f", inherited[2].offset)).await;
    suite.create("none", fork(&suite, "f", Offset::ZERO)).await;
    suite.append(append("g", &["g"])).await.unwrap();
    assert_eq!(payloads(&suite.all("g").await), ["1", "g"]);
    assert_eq!(payloads(&suite.all("h").await), ["1", "2", "own"]);
    assert_eq!(payloads(&suite.all("none").await), Vec::<&str>::new());
    for (after, expected) in [(within, vec!["2", "own"]), (first, vec!["own"])] {
        assert_eq!(payloads(&suite.page("f", after, 9, 99).await.messages), expected);
    }
    let bounded = suite.page("f", Offset::ZERO, 2, 99).await;
    assert_eq!((payloads(&bounded.messages), bounded.complete), (vec!["1", "2"], false));
    let scanned = suite.scan("f", Offset::ZERO, 99).await.records;
    assert_eq!(scanned.len(), 1, "what is inherited is no news to filters: {scanned:?}");
}

pub(super) async fn a_source_lives_on_for_its_forks(suite: Suite) {
    let retention = Retention { count: Some(1), ..Retention::default() };
    suite.create("a", TopicConfig { retention, ..open() }).await;
    let tail = suite.append(append("a", &["1"])).await.unwrap().tail;
    suite.create("f", fork(&suite, "a", tail)).await;
    suite.create("g", fork(&suite, "f", tail)).await;
    suite.append(append("a", &["2"])).await.unwrap();
    suite.maintained(|suite| suite.trims_of("a").1 == 1).await;
    assert_eq!(payloads(&suite.all("a").await), ["2"]);
    assert_eq!(payloads(&suite.all("f").await), ["1"], "a fork pins what it inherits");
    let delete = |topic: &str| vec![Op::Delete(Delete { topic: name(topic), created: None })];
    suite.commit(delete("a")).await.unwrap();
    assert_eq!(suite.refused(append("a", &["3"])).await, Kind::TopicGone);
    assert_eq!(*suite.commit(delete("a")).await.unwrap_err().kind(), Kind::TopicGone);
    assert_eq!(*suite.commit(vec![create("a", open())]).await.unwrap_err().kind(), Kind::TopicExists);
    let refork = suite.commit(vec![create("h", fork(&suite, "a", tail))]).await.unwrap_err();
    assert_eq!(*refork.kind(), Kind::TopicExists);
    suite.commit(delete("f")).await.unwrap();
    assert_eq!(payloads(&suite.all("g").await), ["1"]);
    suite.commit(delete("g")).await.unwrap();
    assert!(suite.create("a", open()).await, "with its last fork the source is gone");
    assert!(suite.create("f", open()).await);
}
