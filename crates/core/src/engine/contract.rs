//! The suite that every engine passes. An engine's own tests call [`check`] with a way to make a new, empty engine.
//!
//! It asks for behaviour only; what a crash may take is the business of a durable engine's own tests.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test suite fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::clock::Timestamp;
use crate::cursor::Offset;
use crate::engine::transaction::{
    Append, Appended, Create, Delete, Fork, Op, Outcome, ProducerStep, Record, Retention, TopicConfig, TopicState,
    Transaction,
};
use crate::engine::{Engine, Observer, ReadPage, ReadRequest, ScanPage, ScanRequest, Trimmed};
use crate::error::{Error, Kind};
use crate::message::{ContentType, Headers, Message, NewMessage};
use crate::name::{Filter, TopicName};

/// Runs the whole suite.
pub async fn check(new_engine: &(dyn Fn() -> Arc<dyn Engine> + Sync)) {
    let suite = || Suite::new(new_engine());
    appends_are_read_back_in_order(suite()).await;
    a_transaction_is_all_or_nothing(suite()).await;
    reads_are_bounded_and_resumable(suite()).await;
    a_topic_is_created_once(suite()).await;
    a_closed_topic_takes_nothing_more(suite()).await;
    a_fixed_type_refuses_others(suite()).await;
    producers_are_exactly_once(suite()).await;
    stream_seq_only_rises(suite()).await;
    a_deleted_topic_starts_anew(suite()).await;
    retention_by_count_and_bytes(suite()).await;
    retention_by_age(suite()).await;
    a_scan_merges_topics_in_log_order(suite()).await;
    a_fork_shares_its_sources_past(suite()).await;
    a_source_lives_on_for_its_forks(suite()).await;
    concurrent_appends_are_all_seen_once(suite()).await;
    a_closed_engine_refuses(suite()).await;
}

/// An engine under test, and what its observer was told.
#[derive(Clone)]
struct Suite {
    engine: Arc<dyn Engine>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    records: Mutex<Vec<Record>>,
    trims: Mutex<Vec<(TopicName, Trimmed)>>,
    through: Mutex<Offset>,
}

impl Observer for Seen {
    fn restored(&self, topic: &TopicName, _state: &TopicState) {
        panic!("a new engine holds no topics, but told of {topic}");
    }

    fn committed(&self, records: &[Record], through: Offset) {
        let mut seen = self.records.lock();
        for record in records {
            let last = seen.last().map_or(Offset::ZERO, Record::offset);
            assert!(record.offset() > last, "commits are told in log order");
            assert!(record.offset() <= through, "the watermark covers what is told");
            seen.push(record.clone());
        }
        let mut told = self.through.lock();
        assert!(through >= *told, "the watermark never goes back");
        *told = through;
    }

    fn trimmed(&self, topic: &TopicName, trimmed: Trimmed) {
        self.trims.lock().push((topic.clone(), trimmed));
    }
}

const NOW: Timestamp = Timestamp(1_700_000_000_000);

impl Suite {
    fn new(engine: Arc<dyn Engine>) -> Self {
        let seen = Arc::new(Seen::default());
        engine.attach(Arc::<Seen>::clone(&seen)).unwrap();
        Self { engine, seen }
    }

    async fn commit(&self, ops: Vec<Op>) -> Result<Vec<Outcome>, Error> {
        self.engine.commit(Transaction { ops }, NOW).await
    }

    async fn append(&self, append: Append) -> Result<Appended, Error> {
        match self.commit(vec![Op::Append(append)]).await?.pop() {
            Some(Outcome::Appended(appended)) => Ok(appended),
            other => panic!("an append was answered by {other:?}"),
        }
    }

    async fn publish(&self, topic: &str, payloads: &[&str]) -> Appended {
        self.append(Append { create: Some(open()), ..append(topic, payloads) }).await.unwrap()
    }

    async fn create(&self, topic: &str, config: TopicConfig) -> bool {
        match self.commit(vec![create(topic, config)]).await.unwrap().pop() {
            Some(Outcome::Created { new, .. }) => new,
            other => panic!("a creation was answered by {other:?}"),
        }
    }

    async fn refused(&self, append: Append) -> Kind {
        self.append(append).await.expect_err("it must be refused").kind().clone()
    }

    fn created(&self, topic: &str) -> Offset {
        let records = self.seen.records.lock();
        let found = records.iter().rev().find_map(|record| match record {
            Record::Created { topic: name, offset, .. } if name.as_str() == topic => Some(*offset),
            _ => None,
        });
        found.expect("the topic was created")
    }

    async fn page(&self, topic: &str, after: Offset, messages: usize, bytes: usize) -> ReadPage {
        let request = ReadRequest { topic: name(topic), created: self.created(topic), after, messages, bytes };
        self.engine.read(request).await.unwrap()
    }

    async fn all(&self, topic: &str) -> Vec<Arc<Message>> {
        self.page(topic, Offset::ZERO, usize::MAX, usize::MAX).await.messages
    }

    async fn scan(&self, filter: &str, after: Offset, messages: usize) -> ScanPage {
        let filter = Filter::parse(filter).unwrap();
        let through = *self.seen.through.lock();
        let wanted: crate::engine::Wanted = Arc::new(move |topic| filter.matches(topic));
        self.engine.scan(ScanRequest { after, through, wanted, messages, bytes: usize::MAX }).await.unwrap()
    }
}

fn name(text: &str) -> TopicName {
    TopicName::parse(text).unwrap()
}

fn text_plain() -> ContentType {
    ContentType::parse("text/plain").unwrap()
}

fn open() -> TopicConfig {
    TopicConfig::open(text_plain())
}

fn append(topic: &str, payloads: &[&str]) -> Append {
    let message = |payload: &&str| NewMessage {
        content_type: None,
        headers: Headers::new([("n", *payload)]).unwrap(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    };
    Append::new(name(topic), payloads.iter().map(message).collect())
}

fn create(topic: &str, config: TopicConfig) -> Op {
    Op::Create(Create { topic: name(topic), config, messages: Vec::new(), closed: false })
}

fn by(id: &str, epoch: u64, seq: u64) -> Option<ProducerStep> {
    Some(ProducerStep { id: id.into(), epoch, seq })
}

fn payloads(messages: &[Arc<Message>]) -> Vec<&str> {
    messages.iter().map(|message| std::str::from_utf8(&message.payload).unwrap()).collect()
}

async fn appends_are_read_back_in_order(suite: Suite) {
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

async fn a_transaction_is_all_or_nothing(suite: Suite) {
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

async fn reads_are_bounded_and_resumable(suite: Suite) {
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

async fn a_topic_is_created_once(suite: Suite) {
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

async fn a_closed_topic_takes_nothing_more(suite: Suite) {
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

async fn a_fixed_type_refuses_others(suite: Suite) {
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

async fn producers_are_exactly_once(suite: Suite) {
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

async fn stream_seq_only_rises(suite: Suite) {
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

async fn a_deleted_topic_starts_anew(suite: Suite) {
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

async fn retention_by_count_and_bytes(suite: Suite) {
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

async fn retention_by_age(suite: Suite) {
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

impl Suite {
    /// Where a topic has been trimmed to, and how many messages went.
    fn trims_of(&self, topic: &str) -> (Offset, u64) {
        let trims = self.seen.trims.lock();
        let of_topic = trims.iter().filter(|(name, _)| name.as_str() == topic).map(|(_, trimmed)| trimmed);
        of_topic.fold((Offset::ZERO, 0), |(_, n), trimmed| (trimmed.through, n + trimmed.messages))
    }

    async fn maintained(&self, done: impl Fn(&Self) -> bool) {
        self.maintained_at(NOW, done).await;
    }

    /// Retention may work in the background: time's work is asked for until it has been done.
    async fn maintained_at(&self, now: Timestamp, done: impl Fn(&Self) -> bool) {
        let work = async {
            while !done(self) {
                self.engine.maintain(now);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), work).await.expect("retention is applied");
    }
}

async fn a_scan_merges_topics_in_log_order(suite: Suite) {
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

fn fork(suite: &Suite, source: &str, through: Offset) -> TopicConfig {
    let fork =
        Fork { source: name(source), source_created: suite.created(source), through, sub_offset: 0, anchor: through };
    TopicConfig { fork: Some(fork), ..open() }
}

async fn a_fork_shares_its_sources_past(suite: Suite) {
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

async fn a_source_lives_on_for_its_forks(suite: Suite) {
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

async fn concurrent_appends_are_all_seen_once(suite: Suite) {
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

async fn a_closed_engine_refuses(suite: Suite) {
    suite.publish("a", &["1"]).await;
    suite.engine.close().await.unwrap();
    assert_eq!(suite.refused(append("a", &["2"])).await, Kind::ShuttingDown);
}
