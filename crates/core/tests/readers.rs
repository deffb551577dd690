//! Readers of every kind against a simple model: whatever is published, trimmed and deleted in between, each reader
//! gets every message exactly once and in order, or is told what it missed.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use quintet_core::clock::{ManualClock, Timestamp};
use quintet_core::cursor::{Cursor, LogId, Since};
use quintet_core::engine::Durability;
use quintet_core::engine::memory::MemoryEngine;
use quintet_core::engine::transaction::{Retention, TopicConfig};
use quintet_core::error::{Kind, Result};
use quintet_core::fanout::Delivery;
use quintet_core::following::Selection;
use quintet_core::hub::{CreateTopic, ForkOf, Hub, HubConfig};
use quintet_core::limits::Limits;
use quintet_core::message::{ContentType, Message, NewMessage};
use quintet_core::name::{Filter, TopicName};
use quintet_core::patterns::publish_subscribe::Publish;
use quintet_core::patterns::push::Subscription;
use quintet_core::reading::Read;
use support::Pretender;
use tokio::time::{Instant, timeout};

/// The first two are made by publishing; the others are made as they should be, also after they have gone.
const TOPICS: [&str; 5] = ["t/a", "t/b", "t/trimmed", "t/memory", "t/ttl"];
/// A fork that comes and goes.
const FORK: &str = "t/fork";
const TTL: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
enum Step {
    Publish {
        topic: usize,
        n: usize,
    },
    Delete {
        topic: usize,
    },
    Close {
        topic: usize,
    },
    /// A fork of it is made, published to, and deleted; no reader of the topic is to notice.
    Fork {
        topic: usize,
        n: usize,
    },
    /// Time passes, in which a topic may expire.
    Pass {
        seconds: u64,
    },
    /// The reader takes what is there, up to so many times.
    Take {
        reader: usize,
        times: usize,
    },
    /// The reader goes away and comes back by its cursor, perhaps in another way.
    Resume {
        reader: usize,
        kind: Way,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    ShortPoll,
    LongPoll,
    Push,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let way = prop_oneof![Just(Way::ShortPoll), Just(Way::LongPoll), Just(Way::Push)];
    let step = prop_oneof![
        10 => (0..5_usize, 1..5_usize).prop_map(|(topic, n)| Step::Publish { topic, n }),
        2 => (0..5_usize).prop_map(|topic| Step::Delete { topic }),
        1 => (0..5_usize).prop_map(|topic| Step::Close { topic }),
        1 => (0..5_usize, 0..3_usize).prop_map(|(topic, n)| Step::Fork { topic, n }),
        1 => (1..15_u64).prop_map(|seconds| Step::Pass { seconds }),
        8 => (0..6_usize, 1..4_usize).prop_map(|(reader, times)| Step::Take { reader, times }),
        4 => (0..6_usize, way).prop_map(|(reader, kind)| Step::Resume { reader, kind }),
    ];
    prop::collection::vec(step, 1..60)
}

/// What was published: for each topic its lives, each a list of message numbers.
#[derive(Default)]
struct Model {
    published: HashMap<String, Vec<u64>>,
    n: u64,
}

/// What one reader has seen of one topic.
#[derive(Default, Debug)]
struct Seen {
    numbers: Vec<u64>,
    /// Numbers in front of which a gap, a deletion or a new start was told.
    excused: Vec<u64>,
    excuse_next: bool,
}

impl Seen {
    fn message(&mut self, number: u64) {
        if std::mem::take(&mut self.excuse_next) {
            self.excused.push(number);
        }
        self.numbers.push(number);
    }

    /// Everything of the model from the first message on, exactly once and in order, but for what was excused.
    fn check(&self, published: &[u64], complete: bool) -> Result<(), TestCaseError> {
        prop_assert!(self.numbers.is_sorted_by(|a, b| a < b), "out of order or twice: {:?}", self.numbers);
        let mut expected = 0;
        for number in &self.numbers {
            let at = published.iter().position(|p| p == number).expect("it was published");
            prop_assert!(
                at == expected || self.excused.contains(number),
                "{number} came where {:?} was next, of {published:?}, seen {self:?}",
                published.get(expected)
            );
            expected = at + 1;
        }
        if complete && !self.excuse_next {
            prop_assert_eq!(expected, published.len(), "the end is missing: {:?} of {:?}", self, published);
        }
        Ok(())
    }
}

struct Reader {
    selection: Selection,
    way: Way,
    subscription: Option<Subscription>,
    cursor: Cursor,
    /// Where it was told last that its topic is closed.
    closed_at: Option<Cursor>,
    /// By topic.
    seen: HashMap<String, Seen>,
}

impl Reader {
    fn new(selection: Selection) -> Self {
        Self {
            selection,
            way: Way::Push,
            subscription: None,
            cursor: Cursor::start(),
            closed_at: None,
            seen: HashMap::new(),
        }
    }

    async fn take(&mut self, hub: &Hub) -> bool {
        match (&self.selection, self.way) {
            (Selection::Topic(topic), Way::ShortPoll | Way::LongPoll) => self.poll(hub, topic.clone()).await,
            _ => self.push(hub).await,
        }
    }

    async fn poll(&mut self, hub: &Hub, topic: TopicName) -> bool {
        let read = Read { messages: 3, ..Read::new(topic.clone(), Since::After(self.cursor.clone())) };
        let page = match self.way {
            Way::ShortPoll => hub.read(&read).await,
            Way::LongPoll | Way::Push => hub.wait(&read, Instant::now() + Duration::from_millis(5)).await,
        };
        match page {
            Ok(page) => {
                self.messages(page.batch.messages());
                self.cursor = page.batch.next().into();
                !page.batch.is_empty()
            }
            Err(error) => {
                self.excuse(topic.as_str());
                self.cursor = match error.kind() {
                    Kind::Gap { first_available } => (*first_available).into(),
                    Kind::StaleCursor | Kind::TopicDeleted => Cursor::start(),
                    other => panic!("unexpected {other:?}: {error}"),
                };
                true
            }
        }
    }

    async fn push(&mut self, hub: &Hub) -> bool {
        let subscription = match &mut self.subscription {
            Some(subscription) => subscription,
            None => match hub.subscribe(&self.selection, &Since::After(self.cursor.clone())).await {
                Ok(subscription) => self.subscription.insert(subscription),
                Err(error) => {
                    assert!(matches!(error.kind(), Kind::StaleCursor | Kind::TopicDeleted), "{error}");
                    self.cursor = Cursor::start();
                    self.excuse_all();
                    return true;
                }
            },
        };
        let Ok(delivery) = timeout(Duration::from_millis(5), subscription.next()).await else { return false };
        self.cursor = subscription.cursor().clone();
        match delivery {
            Some(Delivery::Messages { batch, .. }) => self.messages(batch.messages()),
            Some(Delivery::Gap { topic: Some(topic), .. }) => self.excuse(topic.as_str()),
            Some(Delivery::Deleted { topic, .. }) => {
                self.excuse(topic.as_str());
                if matches!(self.selection, Selection::Topic(_)) {
                    self.cursor = Cursor::start();
                    self.subscription = None;
                }
            }
            // The filter's goes on; a topic's reader is at the end and comes back to it.
            Some(Delivery::Closed { .. }) | None => {
                if matches!(self.selection, Selection::Topic(_)) {
                    self.subscription = None;
                    // Told the same twice, it is at the end.
                    return self.closed_at.replace(self.cursor.clone()).as_ref() != Some(&self.cursor);
                }
            }
            other => panic!("unexpected {other:?}"),
        }
        true
    }

    fn messages(&mut self, messages: &[Arc<Message>]) {
        for message in messages {
            let number = std::str::from_utf8(&message.payload).unwrap().parse().unwrap();
            self.seen.entry(message.topic.as_str().into()).or_default().message(number);
        }
    }

    fn excuse(&mut self, topic: &str) {
        self.seen.entry(topic.into()).or_default().excuse_next = true;
    }

    fn excuse_all(&mut self) {
        for topic in TOPICS.into_iter().chain([FORK]) {
            self.excuse(topic);
        }
    }
}

fn name(i: usize) -> TopicName {
    TopicName::parse(TOPICS[i]).unwrap()
}

/// A hub with two logs.
fn hub(clock: Arc<ManualClock>) -> Arc<Hub> {
    // A tail of a few messages makes most readers go to the engine for history.
    let limits = Limits { tail_messages: 4, ..Limits::default() };
    let disk = Arc::new(Pretender(MemoryEngine::new(LogId(9), limits.clone())));
    let memory = Arc::new(MemoryEngine::new(LogId(4), limits.clone()));
    let base = HubConfig::new(disk.clone());
    Hub::start(HubConfig { engines: vec![disk, memory], limits, clock, shards: 2, ..base }).unwrap()
}

/// Makes the topics that are not made by publishing, where they are missing.
async fn make_topics(hub: &Hub) {
    for i in 2..TOPICS.len() {
        let open = TopicConfig::open(ContentType::octet_stream());
        let (config, durability) = match i {
            2 => (TopicConfig { retention: Retention { count: Some(3), ..Retention::default() }, ..open }, None),
            3 => (open, Some(Durability::Memory)),
            _ => (TopicConfig { ttl: Some(TTL), ..open }, None),
        };
        if hub.describe(&name(i)).await.is_err() {
            create(
                hub,
                CreateTopic { topic: name(i), config, durability, messages: Vec::new(), closed: false, fork: None },
            )
            .await
            .unwrap();
        }
    }
}

async fn create(hub: &Hub, create: CreateTopic) -> Result<()> {
    hub.create_topic(create).await.map(drop)
}

/// A fork of a topic that is published to, and goes again.
async fn fork(hub: &Hub, model: &mut Model, source: TopicName, n: usize) {
    let topic = TopicName::parse(FORK).unwrap();
    let fork = Some(ForkOf { source, at: None, sub_offset: 0, content_type: None });
    let config = TopicConfig::open(ContentType::octet_stream());
    let asked =
        CreateTopic { topic: topic.clone(), config, durability: None, messages: Vec::new(), closed: false, fork };
    if create(hub, asked).await.is_ok() {
        publish(hub, model, &topic, n).await;
        hub.delete_topic(&topic).await.unwrap();
    }
}

async fn publish(hub: &Hub, model: &mut Model, topic: &TopicName, n: usize) {
    if n == 0 {
        return;
    }
    let numbers: Vec<u64> = (0..n as u64).map(|k| model.n + k).collect();
    let message = |number: &u64| NewMessage { payload: Bytes::from(number.to_string()), ..NewMessage::default() };
    match hub.publish(Publish::new(topic.clone(), numbers.iter().map(message).collect())).await {
        Ok(_) => {
            model.n += n as u64;
            model.published.entry(topic.as_str().into()).or_default().extend(numbers);
        }
        Err(error) => assert!(matches!(error.kind(), Kind::TopicClosed { .. }), "{error}"),
    }
}

async fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let clock = Arc::new(ManualClock::new(Timestamp(1)));
    let hub = hub(Arc::clone(&clock));
    make_topics(&hub).await;
    let mut model = Model::default();
    let mut readers: Vec<Reader> = (0..TOPICS.len()).map(|i| Reader::new(Selection::Topic(name(i)))).collect();
    readers.push(Reader::new(Selection::Filter(Filter::parse("t/#").unwrap())));
    for reader in &mut readers {
        // A start behind what is trimmed is no gap, but it is not the first message either.
        reader.excuse_all();
    }
    for step in steps {
        match step {
            Step::Publish { topic: i, n } => publish(&hub, &mut model, &name(i), n).await,
            Step::Delete { topic: i } => {
                // It may not be there, and then it is not to be deleted either.
                drop(hub.delete_topic(&name(i)).await);
                make_topics(&hub).await;
            }
            Step::Close { topic: i } => drop(hub.close_topic(&name(i)).await),
            Step::Fork { topic: i, n } => fork(&hub, &mut model, name(i), n).await,
            Step::Pass { seconds } => {
                clock.advance(Duration::from_secs(seconds));
                make_topics(&hub).await;
            }
            Step::Take { reader, times } => {
                for _ in 0..times {
                    readers[reader].take(&hub).await;
                }
            }
            Step::Resume { reader, kind } => {
                readers[reader].subscription = None;
                readers[reader].way = kind;
            }
        }
    }
    for reader in &mut readers {
        while reader.take(&hub).await {}
        for (topic, seen) in &reader.seen {
            let published = model.published.get(topic).cloned().unwrap_or_default();
            // After a deletion, what was published before it and not read is excused, and only that.
            seen.check(&published, true)?;
        }
    }
    hub.shutdown().await.unwrap();
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_reader_gets_everything_once_or_is_told(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(steps))?;
    }
}
