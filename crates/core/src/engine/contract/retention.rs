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

/// What was published while the clock was ahead goes an age after the clock is right again, and holds back nothing.
pub(super) async fn a_clock_that_was_ahead(suite: Suite) {
    let next_year = NOW.plus(Duration::from_secs(365 * 24 * 3_600));
    let (age, second) = (Duration::from_secs(10), Duration::from_secs(1));
    suite.create("a", TopicConfig { retention: Retention { age: Some(age), ..Retention::default() }, ..open() }).await;
    suite
        .create("probe", TopicConfig { retention: Retention { count: Some(1), ..Retention::default() }, ..open() })
        .await;
    for (text, ahead) in [("1", next_year), ("2", next_year.plus(second))] {
        suite.engine.commit(Op::Append(append("a", &[text])).into(), ahead).await.unwrap();
    }
    suite.append(append("a", &["3"])).await.unwrap();
    // Topics are looked at in the order of their creation, so the first has been seen when the second is trimmed.
    suite.append(append("probe", &["1", "2"])).await.unwrap();
    suite.engine.maintain(NOW);
    suite.maintained(|suite| suite.trims_of("probe").1 == 1).await;
    let nearly = NOW.plus(age);
    suite.engine.commit(Op::Append(append("probe", &["3"])).into(), nearly).await.unwrap();
    suite.engine.maintain(nearly);
    suite.maintained_at(nearly, |suite| suite.trims_of("probe").1 == 2).await;
    assert_eq!(payloads(&suite.all("a").await), ["1", "2", "3"], "they have come when they were first seen");
    let later = nearly.plus(second * 2);
    suite.engine.commit(Op::Append(append("a", &["4"])).into(), later).await.unwrap();
    suite.engine.maintain(later);
    suite.maintained_at(later, |suite| suite.trims_of("a").1 == 3).await;
    assert_eq!(payloads(&suite.all("a").await), ["4"]);
    suite.maintained_at(later.plus(age * 2), |suite| suite.trims_of("a").1 == 4).await;
}
