//! The traps of waiting: what happens to a parked reader when its topic goes, comes, is trimmed, or its time is up.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quintet_core::clock::{ManualClock, Timestamp};
use quintet_core::cursor::{Cursor, LogId, Offset, Position, Since};
use quintet_core::engine::memory::MemoryEngine;
use quintet_core::engine::transaction::{Retention, TopicConfig};
use quintet_core::engine::{Durability, Engine};
use quintet_core::error::{Kind, Result};
use quintet_core::fanout::{Delivery, Sink, Taken};
use quintet_core::following::Selection;
use quintet_core::hub::{CreateTopic, ForkOf, Hub, HubConfig};
use quintet_core::limits::Limits;
use quintet_core::message::{ContentType, NewMessage};
use quintet_core::name::{Filter, TopicName};
use quintet_core::patterns::publish_subscribe::{IfAbsent, Publish};
use quintet_core::reading::{Absent, Page, Read};
use support::Pretender;
use tokio::time::{Instant, timeout};

struct Fixture {
    hub: Arc<Hub>,
    clock: Arc<ManualClock>,
}

fn name(text: &str) -> TopicName {
    TopicName::parse(text).unwrap()
}

fn config() -> TopicConfig {
    TopicConfig::open(ContentType::octet_stream())
}

impl Fixture {
    fn new(limits: Limits) -> Self {
        let engine = Arc::new(MemoryEngine::new(LogId(5), limits.clone()));
        Self::on(vec![engine], limits)
    }

    fn on(engines: Vec<Arc<dyn Engine>>, limits: Limits) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp(1_000_000)));
        let base = HubConfig::new(Arc::clone(&engines[0]));
        let hub = Hub::start(HubConfig { engines, limits, clock: clock.clone(), shards: 2, ..base }).unwrap();
        Self { hub, clock }
    }

    async fn publish(&self, topic: &str, payload: &str) -> Position {
        let message = NewMessage { payload: Bytes::from(payload.to_owned()), ..NewMessage::default() };
        self.hub.publish(Publish::new(name(topic), vec![message])).await.unwrap().tail
    }

    async fn create(&self, topic: &str, config: TopicConfig, durability: Option<Durability>) -> bool {
        let create =
            CreateTopic { topic: name(topic), config, durability, messages: Vec::new(), closed: false, fork: None };
        self.hub.create_topic(create).await.unwrap().0
    }

    async fn read(&self, topic: &str, since: Since) -> Result<Page> {
        self.hub.read(&Read::new(name(topic), since)).await
    }

    fn wait(&self, topic: &str, since: Since, time: Duration) -> impl Future<Output = Result<Page>> + 'static {
        let (hub, read) = (Arc::clone(&self.hub), Read::new(name(topic), since));
        async move { hub.wait(&read, Instant::now() + time).await }
    }

    /// Waits until so many readers are parked on a topic.
    async fn parked(&self, topic: &str, n: usize) {
        let parked = async {
            while self.hub.describe(&name(topic)).await.map_or(0, |info| info.followers) != n {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(20), parked).await.expect("the readers are parked");
    }
}

fn payloads(page: &Page) -> Vec<String> {
    page.batch.messages().iter().map(|m| String::from_utf8(m.payload.to_vec()).unwrap()).collect()
}

const LONG: Duration = Duration::from_secs(50);

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_deleted_ends_its_parked_readers() {
    let fixture = Fixture::new(Limits::default());
    let tail = fixture.publish("a", "1").await;
    let parked = tokio::spawn(fixture.wait("a", Since::Now, LONG));
    fixture.parked("a", 1).await;
    fixture.hub.delete_topic(&name("a")).await.unwrap();
    fixture.publish("a", "of another life").await;
    assert_eq!(*parked.await.unwrap().unwrap_err().kind(), Kind::TopicDeleted);
    let stale = fixture.read("a", Since::After(tail.into())).await.unwrap_err();
    assert_eq!(*stale.kind(), Kind::StaleCursor, "a cursor of the earlier life is told so");
    assert_eq!(payloads(&fixture.read("a", Since::Start).await.unwrap()), ["of another life"]);
}

#[tokio::test(start_paused = true)]
async fn a_cursor_of_a_deleted_topic_is_known_while_it_is_absent() {
    let fixture = Fixture::new(Limits::default());
    let tail = fixture.publish("a", "1").await;
    fixture.hub.delete_topic(&name("a")).await.unwrap();
    let gone = fixture.read("a", Since::After(tail.into())).await.unwrap_err();
    assert_eq!(*gone.kind(), Kind::TopicDeleted);
    let strict = Read { absent: Absent::Error, ..Read::new(name("a"), Since::Start) };
    assert_eq!(*fixture.hub.read(&strict).await.unwrap_err().kind(), Kind::TopicNotFound);
}

#[tokio::test(start_paused = true)]
async fn an_absent_topic_parks_until_it_is_created() {
    let fixture = Fixture::new(Limits::default());
    fixture.publish("noise", "x").await;
    let page = fixture.read("a", Since::Start).await.unwrap();
    assert!(page.info.is_none() && page.batch.is_empty() && page.up_to_date && !page.closed);
    let parked = tokio::spawn(fixture.wait("a", Since::After(page.batch.next().into()), LONG));
    let subscription = fixture.hub.subscribe(&Selection::Topic(name("a")), &Since::Now).await;
    tokio::task::yield_now().await;
    let first = NewMessage { payload: Bytes::from("first"), ..NewMessage::default() };
    fixture.hub.publish(Publish { close: true, ..Publish::new(name("a"), vec![first]) }).await.unwrap();
    let page = parked.await.unwrap().unwrap();
    assert_eq!(payloads(&page), ["first"]);
    assert!(page.up_to_date && page.closed, "the message that created the topic closed it, too");
    let delivery = subscription.unwrap().next().await;
    assert!(matches!(delivery, Some(Delivery::Messages { batch, .. }) if batch.messages().len() == 1));
}

#[tokio::test(start_paused = true)]
async fn a_trim_that_overtakes_a_cursor_is_told_with_where_to_go_on() {
    let fixture = Fixture::new(Limits::default());
    let retention = Retention { count: Some(2), ..Retention::default() };
    fixture.create("a", TopicConfig { retention, ..config() }, None).await;
    let cursor = fixture.publish("a", "1").await;
    for payload in ["2", "3", "4"] {
        fixture.publish("a", payload).await;
    }
    let gap = fixture.read("a", Since::After(cursor.into())).await.unwrap_err();
    let Kind::Gap { first_available } = *gap.kind() else { panic!("it is a gap: {gap:?}") };
    assert_eq!(payloads(&fixture.read("a", Since::After(first_available.into())).await.unwrap()), ["3", "4"]);
    let mut subscription =
        fixture.hub.subscribe(&Selection::Topic(name("a")), &Since::After(cursor.into())).await.unwrap();
    assert!(
        matches!(subscription.next().await, Some(Delivery::Gap { first_available: at, .. }) if at == first_available)
    );
    assert!(matches!(subscription.next().await, Some(Delivery::Messages { batch, .. }) if batch.messages().len() == 2));
    assert_eq!(payloads(&fixture.read("a", Since::Start).await.unwrap()), ["3", "4"], "the start is no gap");
}

#[tokio::test(start_paused = true)]
async fn an_append_at_the_deadline_is_not_left_behind() {
    for early in [true, false] {
        let fixture = Fixture::new(Limits::default());
        fixture.publish("a", "1").await;
        let deadline = Instant::now() + Duration::from_secs(5);
        let parked = tokio::spawn(fixture.wait("a", Since::Now, Duration::from_secs(5)));
        fixture.parked("a", 1).await;
        tokio::time::sleep_until(deadline - Duration::from_millis(u64::from(early))).await;
        let tail = fixture.publish("a", "2").await;
        let page = parked.await.unwrap().unwrap();
        let cursor = page.batch.next();
        match page.batch.is_empty() {
            false => assert_eq!(cursor, tail),
            true => {
                assert!(!early);
                assert_eq!(payloads(&fixture.read("a", Since::After(cursor.into())).await.unwrap()), ["2"]);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_over_when_its_time_is_up() {
    let fixture = Fixture::new(Limits::default());
    fixture.publish("a", "1").await;
    let began = Instant::now();
    let page = fixture.wait("a", Since::Now, Duration::from_secs(7)).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(7));
    assert!(page.batch.is_empty() && page.up_to_date && !page.closed);
}

#[tokio::test(start_paused = true)]
async fn a_closed_topic_never_makes_anyone_wait() {
    let fixture = Fixture::new(Limits::default());
    fixture.publish("a", "1").await;
    let parked = tokio::spawn(fixture.wait("a", Since::Now, LONG));
    fixture.parked("a", 1).await;
    let end = fixture.hub.close_topic(&name("a")).await.unwrap();
    let page = parked.await.unwrap().unwrap();
    assert!(page.closed && page.batch.is_empty());
    let page = fixture.wait("a", Since::Now, LONG).await.unwrap();
    assert!(page.closed && page.batch.is_empty());
    let page = fixture.wait("a", Since::Start, LONG).await.unwrap();
    assert!(page.closed && payloads(&page) == ["1"]);
    let mut subscription = fixture.hub.subscribe(&Selection::Topic(name("a")), &Since::Start).await.unwrap();
    assert!(matches!(subscription.next().await, Some(Delivery::Messages { closed: true, .. })));
    assert!(subscription.next().await.is_none());
    let mut late = fixture.hub.subscribe(&Selection::Topic(name("a")), &Since::Now).await.unwrap();
    assert!(matches!(late.next().await, Some(Delivery::Closed { at, .. }) if at == end));
    assert!(late.next().await.is_none());
    let refused = fixture.hub.publish(Publish::new(name("a"), vec![NewMessage::default()])).await.unwrap_err();
    assert_eq!(*refused.kind(), Kind::TopicClosed { tail: end });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_parked_on_one_topic_are_all_woken() {
    let fixture = Fixture::new(Limits::default());
    fixture.publish("a", "1").await;
    let parked: Vec<_> = (0..5_000).map(|_| tokio::spawn(fixture.wait("a", Since::Now, LONG))).collect();
    fixture.parked("a", 5_000).await;
    fixture.publish("a", "2").await;
    for reader in parked {
        assert_eq!(payloads(&reader.await.unwrap().unwrap()), ["2"]);
    }
    fixture.parked("a", 0).await;
}

#[tokio::test(start_paused = true)]
async fn readers_that_are_dropped_anywhere_leave_nothing_behind() {
    let fixture = Fixture::new(Limits { followers: 3, ..Limits::default() });
    fixture.publish("a", "1").await;
    for n_polls in 0..6 {
        let mut wait = Box::pin(fixture.wait("a", Since::Now, LONG));
        for _ in 0..n_polls {
            let poll = std::future::poll_fn(|cx| std::task::Poll::Ready(wait.as_mut().poll(cx).is_ready())).await;
            assert!(!poll);
            tokio::task::yield_now().await;
        }
        drop(wait);
    }
    fixture.parked("a", 0).await;
    let _three: Vec<_> = {
        let mut three = Vec::new();
        for _ in 0..3 {
            three.push(fixture.hub.subscribe(&Selection::Topic(name("a")), &Since::Now).await.unwrap());
        }
        three
    };
    let fourth = fixture.hub.subscribe(&Selection::Topic(name("a")), &Since::Now).await.unwrap_err();
    assert_eq!(*fourth.kind(), Kind::TooMany);
}

#[tokio::test(start_paused = true)]
async fn a_topic_expires_when_nobody_uses_it_and_not_while_somebody_follows() {
    let fixture = Fixture::new(Limits::default());
    let ttl = Some(Duration::from_secs(10));
    fixture.create("a", TopicConfig { ttl, ..config() }, None).await;
    fixture.clock.advance(Duration::from_secs(9));
    fixture.read("a", Since::Start).await.unwrap();
    fixture.clock.advance(Duration::from_secs(9));
    assert!(fixture.hub.describe(&name("a")).await.is_ok(), "the read has put it off");
    let subscription = fixture.hub.subscribe(&Selection::Topic(name("a")), &Since::Now).await.unwrap();
    fixture.parked("a", 1).await;
    fixture.clock.advance(Duration::from_secs(100));
    assert!(fixture.hub.describe(&name("a")).await.is_ok(), "it is followed");
    drop(subscription);
    fixture.parked("a", 0).await;
    fixture.clock.advance(Duration::from_secs(10));
    assert_eq!(*fixture.hub.describe(&name("a")).await.unwrap_err().kind(), Kind::TopicNotFound);
    assert!(fixture.create("a", config(), None).await, "it can be created anew");
    let expires_at = Some(Timestamp(1_000_000_000));
    fixture.create("b", TopicConfig { expires_at, ..config() }, None).await;
    fixture.clock.advance(Duration::from_secs(1_000_000));
    let refused = fixture
        .hub
        .publish(Publish { if_absent: IfAbsent::Refuse, ..Publish::new(name("b"), vec![NewMessage::default()]) })
        .await;
    assert_eq!(*refused.unwrap_err().kind(), Kind::TopicNotFound);
}

#[tokio::test(start_paused = true)]
async fn cursors_that_were_not_given_out_are_refused() {
    let fixture = Fixture::new(Limits::default());
    let tail = fixture.publish("a", "1").await;
    let beyond = Position { offset: Offset(tail.offset.0 + 1), ..tail };
    assert_eq!(*fixture.read("a", Since::After(beyond.into())).await.unwrap_err().kind(), Kind::BadCursor);
    let other = Position { log: LogId(6), ..tail };
    assert_eq!(*fixture.read("a", Since::After(other.into())).await.unwrap_err().kind(), Kind::StaleCursor);
    assert_eq!(payloads(&fixture.read("a", Since::After(Cursor::start())).await.unwrap()), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn a_filter_reads_both_logs_by_one_cursor() {
    let limits = Limits { tail_messages: 3, ..Limits::default() };
    let disk = Arc::new(Pretender(MemoryEngine::new(LogId(1), limits.clone())));
    let memory = Arc::new(MemoryEngine::new(LogId(2), limits.clone()));
    let fixture = Fixture::on(vec![disk, memory], limits);
    fixture.create("t/m", config(), Some(Durability::Memory)).await;
    let filter = Selection::Filter(Filter::parse("t/#").unwrap());
    let mut cursor = Cursor::start();
    let mut seen = Vec::new();
    for round in 0..5 {
        for i in 0..4 {
            fixture.publish("t/d", &format!("d{round}{i}")).await;
            fixture.publish("t/m", &format!("m{round}{i}")).await;
            fixture.publish("other", "-").await;
        }
        let mut subscription = fixture.hub.subscribe(&filter, &Since::After(cursor.clone())).await.unwrap();
        let n_before = seen.len();
        // Part of the rounds leave early and go on by the cursor.
        while seen.len() - n_before < 5 {
            let Some(Delivery::Messages { batch, .. }) = subscription.next().await else { panic!("messages come") };
            seen.extend(batch.messages().iter().map(|m| String::from_utf8(m.payload.to_vec()).unwrap()));
        }
        cursor = subscription.cursor().clone();
    }
    let mut subscription = fixture.hub.subscribe(&filter, &Since::After(cursor)).await.unwrap();
    while let Ok(Some(Delivery::Messages { batch, .. })) = timeout(Duration::from_millis(50), subscription.next()).await
    {
        seen.extend(batch.messages().iter().map(|m| String::from_utf8(m.payload.to_vec()).unwrap()));
    }
    for log in ["d", "m"] {
        let of_log: Vec<_> = seen.iter().filter(|text| text.starts_with(log)).cloned().collect();
        let expected: Vec<_> = (0..5).flat_map(|r| (0..4).map(move |i| format!("{log}{r}{i}"))).collect();
        assert_eq!(of_log, expected);
    }
    assert_eq!(fixture.hub.describe(&name("t/m")).await.unwrap().durability, Durability::Memory);
    assert_eq!(fixture.hub.describe(&name("t/d")).await.unwrap().durability, Durability::Disk);
}

/// Takes nothing until it is let.
struct Slow {
    open: Arc<std::sync::atomic::AtomicBool>,
    taken: Arc<std::sync::atomic::AtomicUsize>,
}

impl Sink for Slow {
    fn deliver(&mut self, delivery: &Delivery) -> Taken {
        use std::sync::atomic::Ordering::SeqCst;
        let Delivery::Messages { batch, .. } = delivery else { return Taken::Yes };
        if !self.open.load(SeqCst) {
            return Taken::No;
        }
        self.taken.fetch_add(batch.messages().len(), SeqCst);
        Taken::Yes
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_holds_nobody_up_and_catches_up() {
    use std::sync::atomic::Ordering::SeqCst;
    let fixture = Fixture::new(Limits { tail_messages: 10, ..Limits::default() });
    let (open, taken) = (Arc::default(), Arc::default());
    let slow = Slow { open: Arc::clone(&open), taken: Arc::clone(&taken) };
    let topic = Selection::Topic(name("a"));
    let start = fixture.hub.start_at(&topic, &Since::Start, Absent::Empty).await.unwrap();
    let handle = fixture.hub.follow(start, Box::new(slow)).unwrap();
    let mut fast = fixture.hub.subscribe(&topic, &Since::Start).await.unwrap();
    let mut n_fast = 0;
    for i in 0..1_000 {
        fixture.publish("a", &i.to_string()).await;
        if i % 7 == 0 {
            let Some(Delivery::Messages { batch, .. }) = fast.next().await else { panic!("messages come") };
            n_fast += batch.messages().len();
        }
    }
    assert!(n_fast > 900);
    assert_eq!(taken.load(SeqCst), 0);
    open.store(true, SeqCst);
    handle.ready();
    let caught_up = async {
        while taken.load(SeqCst) < 1_000 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), caught_up).await.expect("the slow reader catches up");
    assert_eq!(taken.load(SeqCst), 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_full_memory_log_refuses_and_keeps_serving() {
    let fixture = Fixture::new(Limits { memory_log_bytes: 10_000, ..Limits::default() });
    let large = NewMessage { payload: Bytes::from(vec![0; 4_000]), ..NewMessage::default() };
    let publish = || fixture.hub.publish(Publish::new(name("a"), vec![large.clone()]));
    publish().await.unwrap();
    publish().await.unwrap();
    assert_eq!(*publish().await.unwrap_err().kind(), Kind::StorageFull);
    assert_eq!(fixture.read("a", Since::Start).await.unwrap().batch.messages().len(), 2);
    fixture.hub.delete_topic(&name("a")).await.unwrap();
    publish().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stopping_hub_tells_its_readers() {
    let fixture = Fixture::new(Limits::default());
    fixture.publish("a", "1").await;
    let parked = tokio::spawn(fixture.wait("a", Since::Now, LONG));
    let mut subscription = fixture.hub.subscribe(&Selection::Topic(name("a")), &Since::Now).await.unwrap();
    fixture.parked("a", 2).await;
    fixture.hub.shutdown().await.unwrap();
    assert_eq!(*parked.await.unwrap().unwrap_err().kind(), Kind::ShuttingDown);
    assert!(matches!(subscription.next().await, Some(Delivery::Failed(error)) if *error.kind() == Kind::ShuttingDown));
    let refused = fixture.hub.publish(Publish::new(name("a"), vec![NewMessage::default()])).await.unwrap_err();
    assert_eq!(*refused.kind(), Kind::ShuttingDown);
}

#[tokio::test(start_paused = true)]
async fn a_fork_is_read_across_its_boundary_in_every_way() {
    let fixture = Fixture::new(Limits { tail_messages: 2, ..Limits::default() });
    fixture.publish("a", "hello").await;
    let anchor = fixture.publish("a", "two").await;
    fixture.publish("a", "three").await;
    let of = |at, sub_offset| Some(ForkOf { source: name("a"), at, sub_offset, content_type: None });
    let create = |topic: &str, fork| CreateTopic {
        topic: name(topic),
        config: config(),
        durability: None,
        messages: Vec::new(),
        closed: false,
        fork,
    };
    let (new, info) = fixture.hub.create_topic(create("f", of(Some(anchor), 3))).await.unwrap();
    assert!(new);
    assert_eq!(payloads(&fixture.read("f", Since::Start).await.unwrap()), ["hello", "two", "thr"]);
    assert!(fixture.read("f", Since::After(info.next.into())).await.unwrap().up_to_date);
    assert!(!fixture.hub.create_topic(create("f", of(Some(anchor), 3))).await.unwrap().0);
    let other = fixture.hub.create_topic(create("f", of(Some(anchor), 2))).await.unwrap_err();
    assert_eq!(*other.kind(), Kind::TopicExists);
    let overshoot = fixture.hub.create_topic(create("g", of(Some(anchor), 6))).await.unwrap_err();
    assert_eq!(*overshoot.kind(), Kind::BadRequest);

    let parked = tokio::spawn(fixture.wait("f", Since::Now, LONG));
    let mut subscription =
        fixture.hub.subscribe(&Selection::Topic(name("f")), &Since::After(anchor.into())).await.unwrap();
    fixture.parked("f", 2).await;
    fixture.publish("a", "not the fork's").await;
    fixture.publish("f", "own").await;
    assert_eq!(payloads(&parked.await.unwrap().unwrap()), ["own"]);
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let Some(Delivery::Messages { batch, .. }) = subscription.next().await else { panic!("messages come") };
        seen.extend(batch.messages().iter().map(|m| String::from_utf8(m.payload.to_vec()).unwrap()));
    }
    assert_eq!(seen, ["thr", "own"]);

    let (_, none) = fixture.hub.create_topic(create("none", of(Some(Position::START), 0))).await.unwrap();
    let page = fixture.read("none", Since::Start).await.unwrap();
    assert!(page.batch.is_empty() && page.up_to_date && page.batch.next() == none.next);
    let mut follower = fixture.hub.subscribe(&Selection::Topic(name("none")), &Since::Start).await.unwrap();
    fixture.publish("none", "first").await;
    assert!(matches!(follower.next().await, Some(Delivery::Messages { batch, .. }) if batch.messages().len() == 1));

    fixture.hub.delete_topic(&name("a")).await.unwrap();
    assert_eq!(*fixture.hub.describe(&name("a")).await.unwrap_err().kind(), Kind::TopicGone);
    assert_eq!(*fixture.read("a", Since::Start).await.unwrap_err().kind(), Kind::TopicGone);
    assert_eq!(payloads(&fixture.read("f", Since::Start).await.unwrap()), ["hello", "two", "thr", "own"]);
    fixture.hub.delete_topic(&name("f")).await.unwrap();
    fixture.hub.delete_topic(&name("none")).await.unwrap();
    assert_eq!(*fixture.hub.describe(&name("a")).await.unwrap_err().kind(), Kind::TopicNotFound);
    fixture.publish("a", "anew").await;
    assert_eq!(payloads(&fixture.read("a", Since::Start).await.unwrap()), ["anew"]);
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_topics_is_kept_and_lifted_by_a_deletion() {
    let fixture = Fixture::new(Limits { topics: 2, ..Limits::default() });
    fixture.publish("a", "1").await;
    fixture.publish("b", "1").await;
    let third = || fixture.hub.publish(Publish::new(name("c"), vec![NewMessage::default()]));
    assert_eq!(*third().await.unwrap_err().kind(), Kind::TooMany);
    fixture.publish("a", "an existing one goes on").await;
    fixture.hub.delete_topic(&name("b")).await.unwrap();
    third().await.unwrap();
}
