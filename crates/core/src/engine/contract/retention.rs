//! What is trimmed, and what stays: the cases of retention.
#![allow(clippy::unwrap_used, reason = "a test suite fails by panicking")]

use std::time::Duration;

use crate::cursor::Offset;
use crate::engine::contract::suite::{NOW, Suite, append, open, payloads};
use crate::engine::transaction::{Op, Retention, TopicConfig};

pub(super) async fn retention_by_count_and_bytes(suite: Suite) {
    let keep = |retention| TopicConfig { retention, ..open() };
    suite.create("count", keep(Retention { count: Some(3), ..Retention::default() })).await;
    suite.create("bytes", keep(Retention { bytes: Some(300), ..Retention::default() })).await;
    let texts: Vec<String> = (0..10).map(|i| i.to_string()).collect();
    for text in &texts {
        suite.append(append("count", &[text])).await.unwrap();
        suite.append(append("bytes", &[text])).await.unwrap();
    }
    suite.maintained(|suite| suite.trims_of("count").1 == 7).await;
    let page = suite.page("count", Offset::ZERO, 99, 999).await;
    assert_eq!(payloads(&page.messages), ["7", "8", "9"]);
    assert_eq!(page.trimmed_through, suite.trims_of("count").0);
    assert!(page.trimmed_through < page.messages[0].offset);
    suite.maintained(|suite| suite.trims_of("bytes").1 > 0).await;
    let kept = suite.all("bytes").await;
    assert!(!kept.is_empty() && kept.iter().map(|m| m.size()).sum::<usize>() <= 300);
    assert_eq!(kept.len() as u64 + suite.trims_of("bytes").1, 10);
}

pub(super) async fn retention_by_age(suite: Suite) {
    let retention = Retention { age: Some(Duration::from_secs(10)), ..Retention::default() };
    suite.create("a", TopicConfig { retention, ..open() }).await;
    suite.append(append("a", &["old"])).await.unwrap();
    let later = NOW.plus(Duration::from_secs(8));
    suite.engine.commit(Op::Append(append("a", &["young"])).into(), later).await.unwrap();
    suite.engine.maintain(NOW.plus(Duration::from_secs(9)));
    assert_eq!(payloads(&suite.all("a").await), ["old", "young"]);
    let now = NOW.plus(Duration::from_secs(12));
    suite.maintained_at(now, |suite| suite.trims_of("a").1 == 1).await;
    assert_eq!(payloads(&suite.all("a").await), ["young"]);
}
