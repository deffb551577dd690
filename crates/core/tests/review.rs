//! Defects that a review has found, each with the least that shows it.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use quintet_core::clock::{ManualClock, Timestamp};
use quintet_core::cursor::{Cursor, LogId, Offset, Position, Since};
use quintet_core::engine::memory::MemoryEngine;
use quintet_core::engine::transaction::{Outcome, Retention, TopicConfig, Transaction};
use quintet_core::engine::{Durability, Engine, Observer, Pending, ReadPage, ReadRequest, ScanPage, ScanRequest};
use quintet_core::error::{Error, Kind, Result};
use quintet_core::fanout::{Delivery, FollowerHandle, Sink, Taken};
use quintet_core::following::Selection;
use quintet_core::hub::{CreateTopic, ForkOf, Hub, HubConfig};
use quintet_core::limits::Limits;
use quintet_core::message::{ContentType, NewMessage};
use quintet_core::name::{Filter, TopicName};
use quintet_core::patterns::publish_subscribe::Publish;
use quintet_core::patterns::push::Subscription;
use quintet_core::reading::{Absent, Page, Read};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

fn name(text: &str) -> TopicName {
    TopicName::parse(text).unwrap()
}

fn config() -> TopicConfig {
    TopicConfig::open(ContentType::octet_stream())
}

fn message(payload: &str) -> NewMessage {
    NewMessage { payload: Bytes::from(payload.to_owned()), ..NewMessage::default() }
}

fn topic(text: &str) -> Selection {
    Selection::Topic(name(text))
}

fn filter(text: &str) -> Selection {
    Selection::Filter(Filter::parse(text).unwrap())
}

struct Fixture {
    hub: Arc<Hub>,
    clock: Arc<ManualClock>,
}

impl Fixture {
    fn new(limits: Limits) -> Self {
        let engine = Arc::new(MemoryEngine::new(LogId(5), limits.clone()));
        Self::on(vec![engine], limits)
    }

    fn on(engines: Vec<Arc<dyn Engine>>, limits: Limits) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp(1_000_000)));
        let base = HubConfig::new(Arc::clone(&engines[0]));
        let hub = Hub::start(HubConfig { engines, limits, clock: clock.clone(), shards: 1, ..base }).unwrap();
        Self { hub, clock }
    }

    async fn publish(&self, topic: &str, payload: &str) -> Position {
        self.hub.publish(Publish::new(name(topic), vec![message(payload)])).await.unwrap().tail
    }

    async fn create(&self, topic: &str, config: TopicConfig, fork: Option<ForkOf>) -> Result<()> {
        self.create_in(topic, config, fork, None).await
    }

    async fn create_in(
        &self,
        topic: &str,
        config: TopicConfig,
        fork: Option<ForkOf>,
        durability: Option<Durability>,
    ) -> Result<()> {
        let create = CreateTopic { topic: name(topic), config, durability, messages: Vec::new(), closed: false, fork };
        self.hub.create_topic(create).await.map(drop)
    }

    async fn read(&self, topic: &str, since: Since) -> Result<Page> {
        self.hub.read(&Read::new(name(topic), since)).await
    }
}

fn fork_of(source: &str, at: Option<Position>) -> Option<ForkOf> {
    Some(ForkOf { source: name(source), at, sub_offset: 0, content_type: None })
}

fn texts(delivery: &Delivery) -> Vec<String> {
    let Delivery::Messages { batch, .. } = delivery else { return Vec::new() };
    batch.messages().iter().map(|m| String::from_utf8(m.payload.to_vec()).unwrap()).collect()
}

async fn next(subscription: &mut Subscription) -> Option<Delivery> {
    timeout(Duration::from_secs(5), subscription.next()).await.expect("a delivery, or the end, comes")
}

fn page_texts(page: &Page) -> Vec<String> {
    page.batch.messages().iter().map(|m| String::from_utf8(m.payload.to_vec()).unwrap()).collect()
}

/// Deleting a fork must not take its source's messages from readers of a filter that matches both.
#[tokio::test(start_paused = true)]
async fn deleting_a_fork_leaves_its_sources_messages_to_filters() {
    let fixture = Fixture::new(Limits::default());
    let mut subscription = fixture.hub.subscribe(&filter("t/#"), &Since::Start).await.unwrap();
    for payload in ["1", "2", "3"] {
        fixture.publish("t/a", payload).await;
    }
    fixture.create("t/f", config(), fork_of("t/a", None)).await.unwrap();
    fixture.publish("t/f", "own").await;
    fixture.hub.delete_topic(&name("t/f")).await.unwrap();
    let mut seen = Vec::new();
    loop {
        match next(&mut subscription).await {
            Some(Delivery::Deleted { topic, .. }) if topic == name("t/f") => break,
            Some(delivery) => seen.extend(texts(&delivery)),
            None => panic!("following goes on"),
        }
    }
    assert_eq!(seen, ["1", "2", "3"]);
}

/// A filter's reader that takes one delivery at a time hears of every topic's gap, also if it leaves in between.
#[tokio::test(start_paused = true)]
async fn every_gap_of_a_filter_is_told() {
    for mut leaves in [false, true] {
        let fixture = Fixture::new(Limits { tail_messages: 2, ..Limits::default() });
        let retention = Retention { count: Some(1), ..Retention::default() };
        let begin = fixture.publish("x", "-").await;
        for topic in ["t/a", "t/b", "t/c"] {
            fixture.create(topic, TopicConfig { retention, ..config() }, None).await.unwrap();
            for payload in ["lost", "lost", "kept"] {
                fixture.publish(topic, payload).await;
            }
        }
        fixture.publish("x", "-").await;
        fixture.publish("x", "-").await;
        let since = Since::After(Cursor::from(begin));
        let mut subscription = fixture.hub.subscribe(&filter("t/#"), &since).await.unwrap();
        let (mut gaps, mut kept) = (std::collections::BTreeSet::new(), 0);
        while kept < 3 {
            let delivery = next(&mut subscription).await.unwrap();
            if let Delivery::Gap { topic: Some(topic), .. } = &delivery {
                gaps.insert(topic.as_str().to_owned());
                if std::mem::take(&mut leaves) {
                    let since = Since::After(subscription.cursor().clone());
                    subscription = fixture.hub.subscribe(&filter("t/#"), &since).await.unwrap();
                }
            }
            kept += texts(&delivery).len();
        }
        assert_eq!(gaps.len(), 3, "{gaps:?}");
    }
}

/// A fork may begin at any position, and at the end of a topic that has no messages.
#[tokio::test(start_paused = true)]
async fn forks_begin_anywhere() {
    let fixture = Fixture::new(Limits::default());
    fixture.create("empty", config(), None).await.unwrap();
    fixture.create("of-empty", config(), fork_of("empty", None)).await.unwrap();
    fixture.publish("a", "1").await;
    let between = fixture.publish("other", "-").await;
    fixture.publish("a", "2").await;
    fixture.create("of-a", config(), fork_of("a", Some(between))).await.unwrap();
    for (fork, inherited) in [("of-empty", &[][..]), ("of-a", &["1"][..])] {
        let page = fixture.read(fork, Since::Start).await.unwrap();
        assert_eq!(page_texts(&page), inherited, "{fork}");
        assert!(page.up_to_date, "{fork}");
        let mut subscription = fixture.hub.subscribe(&topic(fork), &Since::Start).await.unwrap();
        fixture.publish(fork, "own").await;
        let mut seen = Vec::new();
        while seen.len() < inherited.len() + 1 {
            seen.extend(texts(&next(&mut subscription).await.unwrap()));
        }
        assert_eq!(seen.last().unwrap(), "own");
        let page = fixture.read(fork, Since::Start).await.unwrap();
        let own = page.batch.messages().last().unwrap();
        let expected = inherited.len() + 1;
        assert_eq!(page.batch.messages().len(), expected, "{fork}");
        let before =
            page.batch.messages().len().checked_sub(2).map_or(Offset::ZERO, |i| page.batch.messages()[i].offset);
        assert_eq!(own.previous, before, "{fork}: the predecessor is a message, or there is none");
    }
}

/// What a fork of a fork does not have any more is a gap there, too.
#[tokio::test(start_paused = true)]
async fn a_fork_of_a_trimmed_fork_knows_what_is_gone() {
    let fixture = Fixture::new(Limits { tail_messages: 1, ..Limits::default() });
    let retention = Retention { count: Some(1), ..Retention::default() };
    fixture.create("a", TopicConfig { retention, ..config() }, None).await.unwrap();
    let first = fixture.publish("a", "1").await;
    fixture.publish("a", "2").await;
    fixture.publish("a", "3").await;
    fixture.create("b", config(), fork_of("a", None)).await.unwrap();
    fixture.create("c", config(), fork_of("b", None)).await.unwrap();
    assert_eq!(page_texts(&fixture.read("c", Since::Start).await.unwrap()), ["3"]);
    for fork in ["b", "c"] {
        let gap = fixture.read(fork, Since::After(first.into())).await.unwrap_err();
        assert!(matches!(gap.kind(), Kind::Gap { .. }), "{fork}: {gap:?}");
        let (own, source) = (fixture.hub.describe(&name(fork)).await, fixture.hub.describe(&name("a")).await);
        assert_eq!(own.unwrap().first, source.unwrap().first, "{fork}");
    }
}

/// Copies that forks make in memory are within the memory log's limit.
#[tokio::test(start_paused = true)]
async fn forks_of_a_memory_log_are_bounded_and_give_their_room_back() {
    let fixture = Fixture::new(Limits { memory_log_bytes: 10_000, ..Limits::default() });
    for _ in 0..10 {
        fixture.publish("a", "1").await;
    }
    for round in 0..3 {
        let mut n_forks = 0;
        while fixture.create(&format!("f{n_forks}"), config(), fork_of("a", None)).await.is_ok() {
            n_forks += 1;
            assert!(n_forks < 100, "forks are bounded");
        }
        assert!(n_forks > 10, "round {round}: there is room for {n_forks}");
        for i in 0..n_forks {
            fixture.hub.delete_topic(&name(&format!("f{i}"))).await.unwrap();
        }
    }
}

/// What a reader of the hub's own topics must not see, it must not see by a fork.
#[tokio::test(start_paused = true)]
async fn reserved_topics_cannot_be_forked() {
    let fixture = Fixture::new(Limits::default());
    let refused = fixture.create("f", config(), fork_of("$keys/x", None)).await.unwrap_err();
    assert_eq!(*refused.kind(), Kind::Forbidden);
}

/// A memory log behind a thread of its own, as it were: commits are queued when they are asked for, carried out one
/// after the other, and successes are told late; reads wait until they are let.
#[derive(Debug)]
struct Delayed {
    inner: Arc<MemoryEngine>,
    durability: Durability,
    commits: mpsc::UnboundedSender<Queued>,
    reading: watch::Sender<bool>,
    /// Messages up to here were set aside: reads tell so, and the observer was not told.
    set_aside: AtomicU64,
}

type Queued = (Transaction, Timestamp, oneshot::Sender<Result<Vec<Outcome>>>);

impl Delayed {
    fn new(log: LogId, durability: Durability, limits: Limits) -> Arc<Self> {
        let inner = Arc::new(MemoryEngine::new(log, limits));
        let (commits, mut queue) = mpsc::unbounded_channel::<Queued>();
        let engine = Arc::clone(&inner);
        tokio::spawn(async move {
            while let Some((transaction, now, answer)) = queue.recv().await {
                let result = engine.commit(transaction, now).await;
                if result.is_ok() {
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                        drop(answer.send(result));
                    });
                } else {
                    drop(answer.send(result));
                }
            }
        });
        Arc::new(Self { inner, durability, commits, reading: watch::Sender::new(true), set_aside: AtomicU64::new(0) })
    }
}

impl Engine for Delayed {
    fn log(&self) -> LogId {
        self.inner.log()
    }
    fn durability(&self) -> Durability {
        self.durability
    }
    fn attach(&self, observer: Arc<dyn Observer>) -> Result<()> {
        self.inner.attach(observer)
    }
    fn commit(&self, transaction: Transaction, now: Timestamp) -> Pending<Vec<Outcome>> {
        let (to, from) = oneshot::channel();
        drop(self.commits.send((transaction, now, to)));
        Box::pin(async move { from.await.unwrap_or_else(|_| Err(Error::new(Kind::ShuttingDown, "gone"))) })
    }
    fn read(&self, request: ReadRequest) -> Pending<ReadPage> {
        let (inner, mut reading) = (Arc::clone(&self.inner), self.reading.subscribe());
        let set_aside = Offset(self.set_aside.load(Ordering::SeqCst));
        Box::pin(async move {
            reading.wait_for(|reading| *reading).await.unwrap();
            if request.after < set_aside {
                return Ok(ReadPage { trimmed_through: set_aside, complete: true, ..ReadPage::default() });
            }
            inner.read(request).await
        })
    }
    fn count(&self, topic: TopicName, created: Offset, after: Offset) -> Pending<u64> {
        self.inner.count(topic, created, after)
    }
    fn scan(&self, request: ScanRequest) -> Pending<ScanPage> {
        let (inner, mut reading) = (Arc::clone(&self.inner), self.reading.subscribe());
        Box::pin(async move {
            reading.wait_for(|reading| *reading).await.unwrap();
            inner.scan(request).await
        })
    }
    fn maintain(&self, now: Timestamp) {
        self.inner.maintain(now);
    }
    fn close(&self) -> Pending<()> {
        self.inner.close()
    }
}

/// Publishes that are sent one after the other are in the log in that order, also on a topic that has just expired.
#[tokio::test(start_paused = true)]
async fn pipelined_publishes_keep_their_order_when_the_topic_has_expired() {
    let engine = Delayed::new(LogId(5), Durability::Memory, Limits::default());
    let fixture = Fixture::on(vec![engine], Limits::default());
    fixture.create("a", TopicConfig { ttl: Some(Duration::from_secs(10)), ..config() }, None).await.unwrap();
    fixture.publish("a", "old").await;
    fixture.clock.advance(Duration::from_secs(11));
    let publish = async |payload| {
        // A door may look at the topic's type first.
        drop(fixture.hub.describe(&name("a")).await);
        fixture.hub.publish(Publish::new(name("a"), vec![message(payload)])).await
    };
    let (one, two, three) = tokio::join!(publish("1"), publish("2"), publish("3"));
    let (one, two, three) = (one.unwrap(), two.unwrap(), three.unwrap());
    assert!(one.created && !two.created && !three.created);
    assert_eq!(page_texts(&fixture.read("a", Since::Start).await.unwrap()), ["1", "2", "3"]);
}

/// What was published in time is not deleted by the expiry that it has put off.
#[tokio::test(start_paused = true)]
async fn an_expiry_does_not_delete_what_is_being_published() {
    let engine = Delayed::new(LogId(5), Durability::Memory, Limits::default());
    let fixture = Fixture::on(vec![engine], Limits::default());
    fixture.create("a", TopicConfig { ttl: Some(Duration::from_secs(10)), ..config() }, None).await.unwrap();
    fixture.clock.advance(Duration::from_millis(9_999));
    let mut publish = Box::pin(fixture.hub.publish(Publish::new(name("a"), vec![message("in time")])));
    let pending = std::future::poll_fn(|cx| Poll::Ready(publish.as_mut().poll(cx).is_pending())).await;
    assert!(pending, "the commit is on its way");
    fixture.clock.advance(Duration::from_millis(2));
    fixture.hub.describe(&name("a")).await.unwrap();
    publish.await.unwrap();
    assert_eq!(page_texts(&fixture.read("a", Since::Start).await.unwrap()), ["in time"]);
}

/// A deletion that comes while history is read is told as that.
#[tokio::test(start_paused = true)]
async fn a_deletion_during_a_history_read_is_told() {
    let limits = Limits { tail_messages: 1, ..Limits::default() };
    let engine = Delayed::new(LogId(5), Durability::Memory, limits.clone());
    let fixture = Fixture::on(vec![engine.clone()], limits);
    fixture.publish("a", "1").await;
    fixture.publish("a", "2").await;
    fixture.publish("b", "-").await;
    engine.reading.send_replace(false);
    let mut subscription = fixture.hub.subscribe(&topic("a"), &Since::Start).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    fixture.hub.delete_topic(&name("a")).await.unwrap();
    engine.reading.send_replace(true);
    let delivery = next(&mut subscription).await;
    assert!(matches!(delivery, Some(Delivery::Deleted { .. })), "{delivery:?}");
}

/// A trim of all that a history read was to bring is a gap, not silence.
#[tokio::test(start_paused = true)]
async fn a_trim_during_a_history_read_is_told() {
    let limits = Limits { tail_messages: 1, ..Limits::default() };
    let engine = Delayed::new(LogId(5), Durability::Memory, limits.clone());
    let fixture = Fixture::on(vec![engine.clone()], limits);
    let retention = Retention { age: Some(Duration::from_secs(10)), ..Retention::default() };
    fixture.create("a", TopicConfig { retention, ..config() }, None).await.unwrap();
    fixture.publish("a", "1").await;
    fixture.publish("a", "2").await;
    fixture.publish("b", "-").await;
    engine.reading.send_replace(false);
    let mut subscription = fixture.hub.subscribe(&topic("a"), &Since::Start).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    fixture.clock.advance(Duration::from_secs(20));
    engine.maintain(fixture.hub.now());
    engine.reading.send_replace(true);
    fixture.publish("a", "3").await;
    let delivery = next(&mut subscription).await;
    assert!(matches!(delivery, Some(Delivery::Gap { .. })), "{delivery:?}");
    assert_eq!(texts(&next(&mut subscription).await.unwrap()), ["3"]);
}

/// What an engine has lost without anybody having been told is a gap for everyone, and reading goes on behind it.
#[tokio::test(start_paused = true)]
async fn what_was_set_aside_is_a_gap() {
    let limits = Limits { tail_messages: 1, ..Limits::default() };
    let engine = Delayed::new(LogId(5), Durability::Memory, limits.clone());
    let fixture = Fixture::on(vec![engine.clone()], limits);
    fixture.publish("a", "1").await;
    let last = fixture.publish("a", "2").await;
    fixture.publish("b", "-").await;
    engine.set_aside.store(last.offset.0, Ordering::SeqCst);
    let gap = fixture.read("a", Since::Start).await.unwrap_err();
    assert_eq!(*gap.kind(), Kind::Gap { first_available: last });
    let mut subscription = fixture.hub.subscribe(&topic("a"), &Since::Start).await.unwrap();
    assert!(matches!(next(&mut subscription).await, Some(Delivery::Gap { at, .. }) if at == last));
    fixture.publish("a", "3").await;
    assert_eq!(texts(&next(&mut subscription).await.unwrap()), ["3"]);
}

/// A busy log does not keep a filter's reader from the other log, whether that is read from memory or from history.
#[tokio::test(start_paused = true)]
async fn a_busy_log_does_not_starve_the_other() {
    for (busy, quiet) in [(Durability::Disk, Durability::Memory), (Durability::Memory, Durability::Disk)] {
        for history in [false, true] {
            let limits = Limits { tail_messages: if history { 2 } else { 1_000 }, ..Limits::default() };
            let disk = Delayed::new(LogId(1), Durability::Disk, limits.clone());
            let memory = Delayed::new(LogId(2), Durability::Memory, limits.clone());
            let fixture = Fixture::on(vec![disk, memory], limits);
            fixture.create_in("t/busy", config(), None, Some(busy)).await.unwrap();
            fixture.create_in("t/quiet", config(), None, Some(quiet)).await.unwrap();
            fixture.create_in("noise", config(), None, Some(quiet)).await.unwrap();
            let mut subscription = fixture.hub.subscribe(&filter("t/#"), &Since::Start).await.unwrap();
            fixture.publish("t/busy", "busy").await;
            fixture.publish("t/quiet", "quiet").await;
            for _ in 0..5 {
                fixture.publish("noise", "-").await;
            }
            let mut n_busy = 0;
            loop {
                fixture.publish("t/busy", "busy").await;
                let seen = texts(&next(&mut subscription).await.unwrap());
                if seen.iter().any(|text| text == "quiet") {
                    break;
                }
                n_busy += 1;
                assert!(n_busy < 20, "the quiet log is starved (history: {history}, quiet: {quiet:?})");
            }
        }
    }
}

/// A subscription that no shard has seen yet ends with its hub.
#[tokio::test(start_paused = true)]
async fn a_subscription_ends_with_its_hub() {
    let fixture = Fixture::new(Limits::default());
    let mut early = fixture.hub.subscribe(&topic("a"), &Since::Start).await.unwrap();
    tokio::task::yield_now().await;
    let mut late = fixture.hub.subscribe(&topic("a"), &Since::Start).await.unwrap();
    drop(fixture);
    assert!(next(&mut early).await.is_none());
    assert!(next(&mut late).await.is_none());
}

/// Whoever waits for a topic to be born gets all of it, also behind a position that was never given out.
#[tokio::test(start_paused = true)]
async fn a_topic_that_is_born_is_followed_from_its_start() {
    let fixture = Fixture::new(Limits::default());
    let nowhere = Position { log: LogId(5), offset: Offset(1_000) };
    let mut subscription = fixture.hub.subscribe(&topic("a"), &Since::After(nowhere.into())).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    fixture.publish("a", "1").await;
    assert_eq!(texts(&next(&mut subscription).await.unwrap()), ["1"]);
}

/// Counts what it takes; for many followers.
struct Counting(mpsc::UnboundedSender<usize>, Arc<AtomicBool>);

impl Sink for Counting {
    fn deliver(&mut self, delivery: &Delivery) -> Taken {
        if !self.1.load(Ordering::SeqCst) {
            return Taken::No;
        }
        let taken = self.0.send(texts(delivery).len());
        if taken.is_ok() { Taken::Yes } else { Taken::Gone }
    }
}

/// More commands than a shard obeys in one go are all obeyed, in order.
#[tokio::test(start_paused = true)]
async fn a_rush_of_readers_is_served_to_the_last() {
    const N: usize = 2_000;
    let fixture = Fixture::new(Limits::default());
    fixture.publish("a", "1").await;
    let (to, mut from) = mpsc::unbounded_channel();
    let open = Arc::new(AtomicBool::new(false));
    let mut handles: Vec<FollowerHandle> = Vec::new();
    for _ in 0..N {
        let start = fixture.hub.start_at(&topic("a"), &Since::Start, Absent::Empty).await.unwrap();
        handles.push(fixture.hub.follow(start, Box::new(Counting(to.clone(), Arc::clone(&open)))).unwrap());
    }
    open.store(true, Ordering::SeqCst);
    handles.iter().for_each(FollowerHandle::ready);
    handles.truncate(N / 2);
    for _ in 0..N {
        assert_eq!(timeout(Duration::from_secs(5), from.recv()).await.unwrap(), Some(1));
    }
    fixture.publish("a", "2").await;
    for _ in 0..N / 2 {
        assert_eq!(timeout(Duration::from_secs(5), from.recv()).await.unwrap(), Some(1));
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(from.try_recv().is_err(), "those that have left get nothing more");
    let followers = fixture.hub.describe(&name("a")).await.unwrap().followers;
    assert_eq!(followers, N / 2);
}

/// Many topics come into being while they are polled: nobody is told of an end that lies behind what came first.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_poll_of_a_topic_that_is_being_born_skips_nothing() {
    let fixture = Arc::new(Fixture::new(Limits::default()));
    for i in 0..2_000 {
        let topic = format!("t/{i}");
        let publisher = {
            let (fixture, topic) = (Arc::clone(&fixture), topic.clone());
            tokio::spawn(async move {
                fixture.publish(&topic, "1").await;
                fixture.publish(&topic, "2").await
            })
        };
        let mut since = Since::Start;
        let mut seen = Vec::new();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while seen.len() < 2 {
            let page = fixture.read(&topic, since).await.unwrap();
            seen.extend(page_texts(&page));
            since = Since::After(page.batch.next().into());
            assert!(std::time::Instant::now() < deadline, "only {seen:?} of {topic} came");
        }
        assert_eq!(seen, ["1", "2"]);
        publisher.await.unwrap();
    }
}
