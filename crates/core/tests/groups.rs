//! Consumer groups through the hub: who gets what, again, how often, in which order, and where it ends.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

#[path = "support/groups.rs"]
#[allow(dead_code, reason = "not every test needs all of it")]
mod support;

use std::sync::Arc;
use std::time::Duration;

use quintet_core::cursor::{LogId, Offset, Position, Since};
use quintet_core::engine::memory::MemoryEngine;
use quintet_core::engine::transaction::{Retention, TopicConfig};
use quintet_core::error::Kind;
use quintet_core::group::{GroupConfig, GroupName, Why};
use quintet_core::hub::CreateTopic;
use quintet_core::limits::Limits;
use quintet_core::message::{ContentType, NewMessage};
use quintet_core::patterns::publish_subscribe::Publish;
use quintet_core::patterns::publish_subscribe::groups::consumer::{Answer, DeliveryId};
use quintet_core::patterns::publish_subscribe::groups::operate::NewGroup;

use crate::support::{Basket, TokioClock, Work, eventually, group, ids, kind, name, over, text, texts};

const NO_WAIT: Duration = Duration::ZERO;
const WAIT: Duration = Duration::from_secs(30);

fn work() -> Work {
    let engine = Arc::new(MemoryEngine::new(LogId(7), Limits::default()));
    Work::on(engine, Arc::new(TokioClock::default()), Limits::default())
}

#[tokio::test(start_paused = true)]
async fn each_message_goes_to_one_member_and_is_settled() {
    let work = work();
    work.publish("work/a", &["1", "2"]).await;
    work.put(over("work/#")).await;
    work.publish("work/b", &["3", "4"]).await;
    work.publish("other", &["x"]).await;
    let first = work.claim("one", 3, WAIT).await;
    assert_eq!(texts(&first), ["1", "2", "3"]);
    assert!(first.iter().all(|handed| handed.count == 1 && handed.why == Why::New));
    let second = work.claim("two", 3, WAIT).await;
    assert_eq!(texts(&second), ["4"]);
    let info = work.info().await;
    assert_eq!((info.in_flight, info.waiting, info.lag), (4, 0, 0));
    assert_eq!(info.members.len(), 2);
    let all = [ids(&first), ids(&second)].concat();
    assert_eq!(work.hub.acknowledge(&group(), all.clone()).await.unwrap(), [Answer::Done; 4]);
    assert_eq!(work.hub.acknowledge(&group(), all).await.unwrap(), [Answer::Settled; 4], "once more does no harm");
    assert!(work.claim("one", 3, NO_WAIT).await.is_empty());
    let counts = work.info().await.counts;
    assert_eq!((counts.delivered, counts.redelivered, counts.acknowledged), (4, 0, 4));
}

#[tokio::test(start_paused = true)]
async fn a_claim_waits_for_the_next_message() {
    let work = work();
    work.put(over("work/#")).await;
    let (claimed, ()) = tokio::join!(work.claim("", 5, WAIT), async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        work.publish("work/a", &["1"]).await;
    });
    assert_eq!(texts(&claimed), ["1"]);
    let before = tokio::time::Instant::now();
    assert!(work.claim("", 5, Duration::from_secs(7)).await.is_empty());
    assert_eq!(before.elapsed().as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_does_not_wait_is_given_what_is_there() {
    let work = work();
    work.publish("work/a", &["1", "2"]).await;
    work.put(over("work/#")).await;
    let began = tokio::time::Instant::now();
    // It has to be read first, comes along with the one before, or was given back.
    let first = work.claim("one", 1, NO_WAIT).await;
    assert_eq!(texts(&first), ["1"]);
    assert_eq!(texts(&work.claim("", 1, NO_WAIT).await), ["2"]);
    assert!(work.claim("one", 1, NO_WAIT).await.is_empty());
    work.hub.give_back(&group(), ids(&first), None).await.unwrap();
    assert_eq!(texts(&work.claim("two", 1, NO_WAIT).await), ["1"]);
    assert!(work.claim("two", 1, NO_WAIT).await.is_empty());
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_acknowledged_in_time_comes_again() {
    let work = work();
    let backoff = vec![Duration::from_secs(1), Duration::from_secs(5)];
    work.put(GroupConfig { ack_wait: Duration::from_secs(10), backoff, ..over("work/#") }).await;
    work.publish("work/a", &["1"]).await;
    let first = work.claim("one", 1, WAIT).await;
    let began = tokio::time::Instant::now();
    let again = work.claim("two", 1, WAIT).await;
    assert_eq!(began.elapsed().as_secs(), 11, "the time to acknowledge, and the first rest");
    assert_eq!((texts(&again), again[0].count, again[0].why), (vec!["1".into()], 2, Why::Timeout));
    let third = work.claim("one", 1, WAIT).await;
    assert_eq!(began.elapsed().as_secs(), 26);
    // A word about an earlier delivery is over; but work that is done is done.
    assert_eq!(work.hub.give_back(&group(), ids(&again), None).await.unwrap(), [Answer::Over]);
    assert_eq!(work.hub.extend(&group(), ids(&first), None).await.unwrap(), [Answer::Over]);
    assert_eq!(work.hub.acknowledge(&group(), ids(&first)).await.unwrap(), [Answer::Done]);
    assert_eq!(work.hub.acknowledge(&group(), ids(&third)).await.unwrap(), [Answer::Settled]);
    assert_eq!(work.info().await.counts.redelivered, 2);
}

#[tokio::test(start_paused = true)]
async fn a_message_can_be_given_back_and_kept_longer() {
    let work = work();
    work.put(GroupConfig { ack_wait: Duration::from_secs(10), ..over("work/#") }).await;
    work.publish("work/a", &["1"]).await;
    let began = tokio::time::Instant::now();
    let first = work.claim("one", 1, WAIT).await;
    assert_eq!(work.hub.give_back(&group(), ids(&first), Some(Duration::from_secs(3))).await.unwrap(), [Answer::Done]);
    let ages = Some(Duration::from_secs(8 * 24 * 3600));
    assert_eq!(kind(work.hub.give_back(&group(), ids(&first), ages).await), Kind::BadRequest);
    assert_eq!(kind(work.hub.extend(&group(), ids(&first), ages).await), Kind::BadRequest);
    let second = work.claim("one", 1, WAIT).await;
    assert_eq!((began.elapsed().as_secs(), second[0].why, second[0].count), (3, Why::Nack, 2));
    tokio::time::sleep(Duration::from_secs(9)).await;
    let longer = Some(Duration::from_secs(20));
    assert_eq!(work.hub.extend(&group(), ids(&second), longer).await.unwrap(), [Answer::Done]);
    let third = work.claim("two", 1, Duration::from_secs(60)).await;
    assert_eq!((began.elapsed().as_secs(), third[0].why), (32, Why::Timeout));
}

#[tokio::test(start_paused = true)]
async fn nobody_can_speak_of_what_was_not_handed_out() {
    let work = work();
    work.put(over("work/#")).await;
    work.publish("work/a", &["1"]).await;
    let first = work.claim("one", 1, WAIT).await[0].id();
    let later = DeliveryId { count: 2, ..first };
    let beyond = DeliveryId { position: Position { offset: Offset(9_999), ..first.position }, ..first };
    let elsewhere = DeliveryId { position: Position { log: LogId(8), ..first.position }, ..first };
    let said = work.hub.acknowledge(&group(), vec![later, beyond, elsewhere]).await.unwrap();
    assert_eq!(said, [Answer::Unknown; 3]);
    let unknown = GroupName::parse("unknown").unwrap();
    assert_eq!(kind(work.hub.acknowledge(&unknown, vec![first]).await), Kind::GroupNotFound);
}

#[tokio::test(start_paused = true)]
async fn a_connected_member_is_given_its_credit_and_more_for_each_acknowledgement() {
    let work = work();
    work.put(over("work/#")).await;
    let texts_of = ["1", "2", "3", "4", "5"];
    work.publish("work/a", &texts_of).await;
    let basket = Basket::with_room(100);
    let membership = work.hub.consume(&group(), "anna", 2, Box::new(basket.clone())).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 5 {
        let taken = eventually(async || Some(basket.take()).filter(|taken| !taken.is_empty())).await;
        assert!(taken.len() <= 2 && work.info().await.in_flight <= 2);
        seen.extend(texts(&taken));
        work.hub.acknowledge(&group(), ids(&taken)).await.unwrap();
    }
    assert_eq!(seen, texts_of);
    drop(membership);
    eventually(async || work.info().await.members.is_empty().then_some(())).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_lost_member_held_goes_to_another_at_once() {
    let work = work();
    work.put(over("work/#")).await;
    work.publish("work/a", &["1", "2"]).await;
    let basket = Basket::with_room(100);
    let membership = work.hub.consume(&group(), "anna", 10, Box::new(basket.clone())).await.unwrap();
    eventually(async || (basket.0.lock().taken.len() == 2).then_some(())).await;
    let began = tokio::time::Instant::now();
    drop(membership);
    let again = work.claim("ben", 10, WAIT).await;
    assert_eq!(texts(&again), ["1", "2"]);
    assert!(again.iter().all(|handed| handed.why == Why::MemberLost && handed.count == 2));
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_full_member_holds_back_nobody() {
    let work = work();
    work.put(over("work/#")).await;
    let slow = Basket::with_room(1);
    let _slow = work.hub.consume(&group(), "slow", 1_000, Box::new(slow.clone())).await.unwrap();
    let fast = Basket::with_room(usize::MAX);
    let _fast = work.hub.consume(&group(), "fast", 1_000, Box::new(fast.clone())).await.unwrap();
    let n = 500;
    for i in 0..n {
        work.publish("work/a", &[&i.to_string()]).await;
        let taken = fast.take();
        work.hub.acknowledge(&group(), ids(&taken)).await.unwrap();
    }
    eventually(async || {
        let taken = fast.take();
        work.hub.acknowledge(&group(), ids(&taken)).await.unwrap();
        let info = work.info().await;
        (info.lag == 0 && info.in_flight <= 2).then_some(())
    })
    .await;
    assert_eq!(slow.0.lock().taken.len(), 1);
    // Its room comes back, and it goes on.
    slow.0.lock().room = usize::MAX;
    _slow.ready();
    eventually(async || {
        work.publish("work/a", &["more"]).await;
        (slow.0.lock().taken.len() > 1).then_some(())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn messages_of_a_key_come_in_order_one_at_a_time_to_one_member() {
    let work = work();
    work.put(GroupConfig { key: Some("key".into()), ..over("work/#") }).await;
    for i in 0..3 {
        work.publish_keyed("work/a", "x", &[&format!("x{i}")]).await;
        work.publish_keyed("work/b", "y", &[&format!("y{i}")]).await;
        work.publish("work/a", &[&format!("free{i}")]).await;
    }
    let one = work.claim("one", 1, WAIT).await;
    assert_eq!(texts(&one), ["x0"]);
    let two = work.claim("two", 9, WAIT).await;
    assert_eq!(texts(&two), ["y0", "free0", "free1", "free2"]);
    work.hub.acknowledge(&group(), ids(&one)).await.unwrap();
    // x1 is for the member that had x0, while it is there.
    assert!(work.claim("two", 9, NO_WAIT).await.is_empty());
    let one = work.claim("one", 9, WAIT).await;
    assert_eq!(texts(&one), ["x1"]);
    work.hub.give_back(&group(), ids(&one), Some(Duration::from_secs(2))).await.unwrap();
    let again = work.claim("one", 9, WAIT).await;
    assert_eq!((texts(&again), again[0].count), (vec!["x1".into()], 2), "x2 waits behind it");
}

#[tokio::test(start_paused = true)]
async fn what_fails_too_often_goes_to_the_dead_letters_and_can_be_tried_again() {
    let work = work();
    let config = GroupConfig { max_deliver: Some(2), dead_letter: Some(name("dead")), ..over("work/#") };
    work.put(config).await;
    work.publish("work/a", &["bad", "good"]).await;
    for round in 1..=2 {
        let claimed = work.claim("one", 9, WAIT).await;
        for handed in claimed {
            let id = vec![handed.id()];
            if text(&handed.message.payload) == "bad" {
                assert_eq!(handed.count, round);
                work.hub.give_back(&group(), id, None).await.unwrap();
            } else {
                work.hub.acknowledge(&group(), id).await.unwrap();
            }
        }
    }
    eventually(async || (work.info().await.counts.dead_lettered == 1).then_some(())).await;
    assert_eq!(work.texts_of("dead").await, ["bad"]);
    let page = work.hub.read(&quintet_core::reading::Read::new(name("dead"), Since::Start)).await.unwrap();
    let headers = &page.batch.messages()[0].headers;
    let header = |name: &str| headers.get(&format!("dead-letter-{name}")).unwrap();
    assert_eq!((header("group"), header("topic")), ("g", "work/a"));
    assert_eq!((header("count"), header("reason")), ("2", "nack"));
    assert!(work.claim("one", 9, NO_WAIT).await.is_empty());
    let redriven = work.hub.redrive(&group()).await.unwrap();
    assert_eq!((redriven.redelivered, redriven.republished, redriven.kept, redriven.more), (1, 0, 0, false));
    let again = work.claim("one", 9, WAIT).await;
    assert_eq!((texts(&again), again[0].why, again[0].count), (vec!["bad".into()], Why::Redrive, 1));
    work.hub.acknowledge(&group(), ids(&again)).await.unwrap();
    assert_eq!(work.hub.redrive(&group()).await.unwrap().redelivered, 0, "a letter is redriven once");
}

#[tokio::test(start_paused = true)]
async fn letters_whose_originals_are_gone_are_published_again() {
    let work = work();
    let config = GroupConfig { max_deliver: Some(1), dead_letter: Some(name("dead")), ..over("work") };
    let retention = Retention { count: Some(1), ..Retention::default() };
    let topic = TopicConfig { retention, ..TopicConfig::open(ContentType::parse("text/plain").unwrap()) };
    let create = CreateTopic {
        topic: name("work"),
        config: topic,
        durability: None,
        messages: Vec::new(),
        closed: false,
        fork: None,
    };
    work.hub.create_topic(create).await.unwrap();
    work.put(config).await;
    work.publish("work", &["bad"]).await;
    let claimed = work.claim("one", 1, WAIT).await;
    work.hub.give_back(&group(), ids(&claimed), None).await.unwrap();
    eventually(async || (work.info().await.counts.dead_lettered == 1).then_some(())).await;
    work.publish("work", &["1", "2"]).await;
    let claimed = work.claim("one", 9, WAIT).await;
    work.hub.acknowledge(&group(), ids(&claimed)).await.unwrap();
    work.publish("work", &["3"]).await;
    assert_eq!(work.texts_of("work").await, ["3"]);
    let redriven = work.hub.redrive(&group()).await.unwrap();
    assert_eq!((redriven.redelivered, redriven.republished), (0, 1));
    assert_eq!(texts(&work.claim("one", 1, WAIT).await), ["3"]);
    assert_eq!(texts(&work.claim("one", 1, WAIT).await), ["bad"]);
}

#[tokio::test(start_paused = true)]
async fn a_group_survives_a_restart_with_what_is_in_flight() {
    let engine = Arc::new(MemoryEngine::new(LogId(7), Limits::default()));
    let clock = Arc::new(TokioClock::default());
    let work = Work::on(Arc::<MemoryEngine>::clone(&engine), Arc::<TokioClock>::clone(&clock), Limits::default());
    work.put(GroupConfig { ack_wait: Duration::from_secs(10), key: Some("key".into()), ..over("work/#") }).await;
    work.publish_keyed("work/a", "x", &["x0", "x1"]).await;
    work.publish("work/a", &["1", "2", "3"]).await;
    let claimed = work.claim("one", 2, WAIT).await;
    assert_eq!(texts(&claimed), ["x0", "1"]);
    let began = tokio::time::Instant::now();
    drop(work);
    let work = Work::on(engine, clock, Limits::default());
    let others = work.claim("two", 9, WAIT).await;
    assert_eq!(texts(&others), ["2", "3"], "x1 waits for x0");
    work.hub.acknowledge(&group(), ids(&others)).await.unwrap();
    // Who held a message before the restart can still settle it.
    let late = DeliveryId { ..claimed[1].id() };
    assert_eq!(work.hub.acknowledge(&group(), vec![late]).await.unwrap(), [Answer::Done]);
    let again = work.claim("two", 9, WAIT).await;
    assert_eq!((texts(&again), again[0].count, again[0].why), (vec!["x0".into()], 2, Why::Timeout));
    assert_eq!(began.elapsed().as_secs(), 10, "a lease lasts over a restart");
    work.hub.acknowledge(&group(), ids(&again)).await.unwrap();
    assert_eq!(texts(&work.claim("two", 9, WAIT).await), ["x1"]);
}

#[tokio::test(start_paused = true)]
async fn deleting_a_group_tells_its_members() {
    let work = work();
    work.put(over("work/#")).await;
    let basket = Basket::with_room(9);
    let _membership = work.hub.consume(&group(), "anna", 9, Box::new(basket.clone())).await.unwrap();
    let request = quintet_core::patterns::publish_subscribe::groups::operate::ClaimRequest {
        member: "ben".into(),
        max: 1,
        until: tokio::time::Instant::now() + WAIT,
    };
    let named = group();
    let (claim, deleted) = tokio::join!(work.hub.claim_messages(&named, request), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        work.hub.delete_group(&group()).await
    });
    deleted.unwrap();
    assert_eq!(kind(claim), Kind::GroupNotFound);
    eventually(async || basket.0.lock().ended.clone()).await;
    assert_eq!(kind(work.hub.describe_group(&group()).await), Kind::GroupNotFound);
    // A new one of that name begins where it is told to.
    work.publish("work/a", &["1"]).await;
    let new = NewGroup { group: group(), config: over("work/#"), since: Since::Now, durability: None };
    assert!(work.hub.put_group(new).await.unwrap().0);
    work.publish("work/a", &["2"]).await;
    assert_eq!(texts(&work.claim("one", 9, WAIT).await), ["2"]);
}

#[tokio::test(start_paused = true)]
async fn a_stopping_hub_does_not_say_that_the_group_is_gone() {
    let work = work();
    work.put(over("work/#")).await;
    work.publish("work/a", &["1"]).await;
    let claimed = work.claim("one", 1, WAIT).await;
    let basket = Basket::with_room(9);
    let membership = work.hub.consume(&group(), "anna", 9, Box::new(basket.clone())).await.unwrap();
    work.hub.shutdown().await.unwrap();
    eventually(async || basket.0.lock().ended.clone()).await;
    assert_eq!(kind(work.hub.acknowledge(&group(), ids(&claimed)).await), Kind::ShuttingDown);
    assert_eq!(kind(work.hub.describe_group(&group()).await), Kind::ShuttingDown);
    assert_eq!(kind(membership.set_limit(3).await), Kind::ShuttingDown);
}

#[tokio::test(start_paused = true)]
async fn what_one_round_gives_a_member_comes_at_once() {
    let work = work();
    work.put(over("work/#")).await;
    work.publish("work/a", &["1", "2", "3"]).await;
    let basket = Basket::with_room(1);
    let membership = work.hub.consume(&group(), "anna", 9, Box::new(basket.clone())).await.unwrap();
    eventually(async || (basket.0.lock().taken.len() == 3).then_some(())).await;
    // It is full now: what comes meanwhile waits for it, or for another member.
    work.publish("work/a", &["4"]).await;
    assert_eq!(work.info().await.lag, 1);
    basket.0.lock().room = 9;
    membership.ready();
    eventually(async || (basket.0.lock().taken.len() == 4).then_some(())).await;
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_claim_takes_nothing() {
    let work = work();
    work.put(over("work/#")).await;
    let gone = tokio::time::timeout(Duration::from_secs(1), work.claim("one", 1, WAIT)).await;
    assert!(gone.is_err());
    work.publish("work/a", &["1"]).await;
    let claimed = work.claim("two", 1, WAIT).await;
    assert_eq!((texts(&claimed), claimed[0].count), (vec!["1".into()], 1));
}

#[tokio::test(start_paused = true)]
async fn lag_counts_what_is_not_claimed() {
    let work = work();
    work.put(GroupConfig { in_flight: 2, ..over("work/#") }).await;
    work.publish("work/a", &["1", "2", "3"]).await;
    work.publish("work/b", &["4"]).await;
    work.publish("other", &["x"]).await;
    assert_eq!(work.info().await.lag, 4);
    let claimed = work.claim("one", 9, WAIT).await;
    assert_eq!(texts(&claimed), ["1", "2"], "no more than may be in flight");
    assert_eq!((work.info().await.lag, work.info().await.in_flight), (2, 2));
    assert!(work.claim("two", 9, NO_WAIT).await.is_empty());
    work.hub.acknowledge(&group(), ids(&claimed[..1])).await.unwrap();
    assert_eq!(texts(&work.claim("two", 9, WAIT).await), ["3"]);
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_is_refused_holds_back_no_other() {
    let work = work();
    let topic = TopicConfig { fixed_type: true, ..TopicConfig::open(ContentType::parse("text/plain").unwrap()) };
    let create = CreateTopic {
        topic: name("dead"),
        config: topic,
        durability: None,
        messages: Vec::new(),
        closed: false,
        fork: None,
    };
    work.hub.create_topic(create).await.unwrap();
    work.put(GroupConfig { max_deliver: Some(1), dead_letter: Some(name("dead")), ..over("work") }).await;
    let other = NewMessage {
        content_type: Some(ContentType::parse("image/png").unwrap()),
        payload: b"refused".to_vec().into(),
        ..NewMessage::default()
    };
    work.hub.publish(Publish::new(name("work"), vec![other])).await.unwrap();
    work.publish("work", &["1", "2", "3"]).await;
    let claimed = work.claim("one", 9, WAIT).await;
    work.hub.give_back(&group(), ids(&claimed), None).await.unwrap();
    eventually(async || (work.info().await.counts.dead_lettered == 3).then_some(())).await;
    assert_eq!(work.texts_of("dead").await, ["1", "2", "3"]);
    let info = work.info().await;
    assert_eq!(info.waiting, 1, "it is kept");
    assert!(info.problem.is_some_and(|problem| problem.contains("dead letters")));
}

#[tokio::test(start_paused = true)]
async fn what_members_hold_when_the_hub_is_stopped_stays_theirs() {
    let engine = Arc::new(MemoryEngine::new(LogId(7), Limits::default()));
    let clock = Arc::new(TokioClock::default());
    let work = Work::on(Arc::<MemoryEngine>::clone(&engine), Arc::<TokioClock>::clone(&clock), Limits::default());
    work.put(over("work")).await;
    work.publish("work", &["1"]).await;
    let basket = Basket::with_room(9);
    let membership = work.hub.consume(&group(), "anna", 9, Box::new(basket.clone())).await.unwrap();
    let waiting = Basket::with_room(9);
    let held = eventually(async || basket.0.lock().taken.first().cloned()).await;
    let _other = work.hub.consume(&group(), "ben", 9, Box::new(waiting.clone())).await.unwrap();
    work.hub.hold_groups();
    drop(membership);
    eventually(async || (work.info().await.members.len() == 1).then_some(())).await;
    assert!(waiting.take().is_empty(), "nobody else gets it");
    drop(work);
    let work = Work::on(engine, clock, Limits::default());
    assert_eq!(work.info().await.in_flight, 1);
    assert_eq!(work.hub.acknowledge(&group(), vec![held.id()]).await.unwrap(), [Answer::Done]);
    assert_eq!(work.info().await.counts.delivered, 1);
}
