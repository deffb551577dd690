//! All topics that are visible, and what is done when an engine has committed: show it, keep it in memory for a
//! while, and wake those who wait.

mod log_tail;

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::clock::{Clock, Timestamp};
use crate::cursor::{LogId, Offset, Position};
use crate::engine::transaction::{Record, TopicState};
use crate::engine::{Durability, Observer, Trimmed};
use crate::error::{Error, Kind, Result};
use crate::fanout::filter_feed::{Entry, FeedRoom, FilterFeed};
use crate::fanout::filter_tree::FilterTree;
use crate::fanout::follower::Usage;
use crate::fanout::shard::Shards;
use crate::fanout::source::{Source, wake};
use crate::limits::Limits;
use crate::message::Message;
use crate::name::{Filter, TopicName};
use crate::receipts::{Receipt, Receipts};
use crate::registry::log_tail::LogTail;
use crate::topic::Topic;

/// Places of topics that do not exist which are kept although nobody waits, so that stale cursors are recognised.
const ABSENT_KEPT_MAX: usize = 100_000;

/// Feeds that every message of a log's tail may be in, on average; when it is more, feeds forget before the tail does.
const FEEDS_PER_MESSAGE: usize = 4;

/// Everything that is visible.
///
/// Lock order: a roster (`core/presence`), an engine's own lock, `filters`, that of the receipts, `topics`, a log's tail,
/// a topic or feed, a shard's inbox.
pub(crate) struct Registry {
    pub(crate) shards: Arc<Shards>,
    pub(crate) receipts: Arc<Receipts>,
    limits: Limits,
    clock: Arc<dyn Clock>,
    topics: RwLock<Topics>,
    logs: Box<[LogView]>,
}

#[derive(Default)]
struct Topics {
    by_name: HashMap<TopicName, Arc<Topic>>,
    /// Names of topics that exist, for listing in order.
    existing: BTreeSet<TopicName>,
    /// Names of topics that may expire.
    expiring: BTreeSet<TopicName>,
}

/// One log as readers see it.
struct LogView {
    log: LogId,
    durability: Durability,
    /// Nothing at or below this will appear later.
    through: AtomicU64,
    /// No reader has seen anything behind this.
    newest: AtomicU64,
    tail: Mutex<LogTail>,
    /// Feeds of the filters that are followed. Written while no commit is being shown, so that a new feed misses
    /// nothing behind its beginning.
    filters: RwLock<FilterTree<Arc<FilterFeed>>>,
    feed_room: Arc<FeedRoom>,
}

impl Registry {
    pub(crate) fn new(
        shards: Arc<Shards>,
        limits: Limits,
        clock: Arc<dyn Clock>,
        logs: &[(LogId, Durability)],
    ) -> Self {
        let logs = logs.iter().map(|(log, durability)| LogView {
            log: *log,
            durability: *durability,
            through: AtomicU64::new(0),
            newest: AtomicU64::new(0),
            tail: Mutex::new(LogTail::new(limits.tail_bytes, limits.tail_messages)),
            filters: RwLock::default(),
            feed_room: FeedRoom::new(limits.tail_messages.saturating_mul(FEEDS_PER_MESSAGE)),
        });
        Self { shards, receipts: Arc::default(), clock, topics: RwLock::default(), logs: logs.collect(), limits }
    }

    /// The logs there are.
    pub(crate) fn logs(&self) -> impl Iterator<Item = LogId> {
        self.logs.iter().map(|view| view.log)
    }

    /// The offset up to which everything in a log is visible.
    pub(crate) fn through(&self, log: LogId) -> Option<Offset> {
        self.view(log).map(|view| Offset(view.through.load(Ordering::Acquire)))
    }

    /// The end of a log: a cursor beyond it was not given out here.
    pub(crate) fn newest(&self, log: LogId) -> Offset {
        self.view(log).map_or(Offset::ZERO, |view| Offset(view.newest.load(Ordering::Acquire)))
    }

    /// A topic, existing or with a place kept for it.
    pub(crate) fn get(&self, name: &TopicName) -> Option<Arc<Topic>> {
        self.topics.read().by_name.get(name).cloned()
    }

    /// A topic; if it does not exist, a place for it.
    pub(crate) fn get_or_reserve(&self, name: &TopicName) -> Result<Arc<Topic>> {
        if let Some(topic) = self.get(name) {
            return Ok(topic);
        }
        let mut topics = self.topics.write();
        if topics.by_name.len() >= self.limits.topics.saturating_add(ABSENT_KEPT_MAX) {
            return Err(Error::new(Kind::TooMany, "the hub holds its limit of topics; delete some first"));
        }
        Ok(topics.reserve(name))
    }

    /// Existing topics that match and are wanted, in the order of their names, behind one of them.
    pub(crate) fn list(
        &self,
        filter: Option<&Filter>,
        after: Option<&TopicName>,
        n_max: usize,
        wanted: impl Fn(&Topic) -> bool,
    ) -> Vec<Arc<Topic>> {
        let topics = self.topics.read();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let names = topics.existing.range::<TopicName, _>((from, Bound::Unbounded));
        let matching = names.filter(|name| filter.map_or(!name.is_reserved(), |filter| filter.matches(name)));
        let topics = matching.filter_map(|name| topics.by_name.get(name));
        topics.filter(|topic| wanted(topic)).take(n_max).cloned().collect()
    }

    /// Some of the topics that may expire, behind a name; for going round them.
    pub(crate) fn expiring(&self, after: Option<&TopicName>, n_max: usize) -> Vec<Arc<Topic>> {
        let topics = self.topics.read();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let names = topics.expiring.range::<TopicName, _>((from, Bound::Unbounded));
        names.filter_map(|name| topics.by_name.get(name)).take(n_max).cloned().collect()
    }

    /// The feed of a filter in a log, made if need be, and a proof that it is in use.
    pub(crate) fn filter_feed(&self, log: LogId, filter: &Filter) -> Result<(Arc<FilterFeed>, Usage)> {
        let Some(view) = self.view(log) else {
            return Err(Error::new(Kind::StaleCursor, "the log of this cursor is gone; start again"));
        };
        let mut filters = view.filters.write();
        if let Some(feed) = filters.get(filter) {
            return Ok((Arc::clone(feed), Usage::new(&feed.n_users)));
        }
        if filters.len() >= self.limits.filters {
            filters.retain(|feed| feed.n_users.load(Ordering::Acquire) > 0);
        }
        if filters.len() >= self.limits.filters {
            return Err(Error::new(
                Kind::TooMany,
                format!(
                    "the hub follows its limit of {} different filters; use one that is in use",
                    self.limits.filters
                ),
            ));
        }
        let from = Offset(view.through.load(Ordering::Acquire));
        let feed = Arc::new(FilterFeed::new(
            log,
            filter.clone(),
            from,
            self.limits.tail_messages,
            Arc::clone(&view.feed_room),
        ));
        let usage = Usage::new(&feed.n_users);
        filters.insert(filter, Arc::clone(&feed));
        Ok((feed, usage))
    }

    /// Forgets what nobody needs any more.
    pub(crate) fn sweep(&self) {
        for view in &self.logs {
            view.filters.write().retain(|feed| feed.n_users.load(Ordering::Acquire) > 0);
        }
        let mut topics = self.topics.write();
        let n_absent = topics.by_name.len() - topics.existing.len();
        if n_absent > ABSENT_KEPT_MAX {
            // The map's own reference is the only one: nobody is about to follow it.
            topics.by_name.retain(|_, topic| Arc::strong_count(topic) > 1 || !topic.is_forgettable());
        }
    }

    fn view(&self, log: LogId) -> Option<&LogView> {
        self.logs.iter().find(|view| view.log == log)
    }

    fn show(&self, view: &LogView, filters: &FilterTree<Arc<FilterFeed>>, record: &Record, now: Timestamp) {
        match record {
            Record::Created { topic, offset, time, config, deleted_at } => {
                let fork = config.fork.as_ref();
                let source = fork.and_then(|fork| self.get(&fork.source));
                let through = fork.map_or(Offset::ZERO, |fork| fork.through);
                let state = TopicState {
                    config: Arc::clone(config),
                    created: *offset,
                    created_at: *time,
                    deleted_at: *deleted_at,
                    last: through,
                    trimmed_through: source.map_or(Offset::ZERO, |source| source.trimmed_through().min(through)),
                    closed: false,
                    hidden: false,
                    messages: 0,
                    bytes: 0,
                };
                self.begin(view, topic, &state, now);
            }
            Record::Message(message) => {
                if let Some(topic) = self.get(&message.topic) {
                    show_message(view, filters, &topic, message);
                }
            }
            Record::Closed { topic, offset, .. } => {
                let entry = || Entry::Closed { topic: topic.clone(), offset: *offset };
                filters.for_each_match(topic, |feed| feed.push(entry()));
                if let Some(topic) = self.get(topic) {
                    topic.close();
                }
            }
            Record::Deleted { topic, .. } if self.is_hidden(topic) => {
                // Its readers were told when it was hidden.
                if let Some(topic) = self.get(topic) {
                    topic.forget();
                }
            }
            Record::Hidden { topic, offset } | Record::Deleted { topic, offset } => {
                let hide = matches!(record, Record::Hidden { .. });
                let last = self.end(topic, Position { log: view.log, offset: *offset }, hide);
                filters.for_each_match(topic, |feed| {
                    feed.remove(topic, last);
                    feed.push(Entry::Deleted { topic: topic.clone(), offset: *offset });
                });
            }
            Record::Producer { .. }
            | Record::StreamSeq { .. }
            | Record::MessageId { .. }
            | Record::Group { .. }
            | Record::GroupStep { .. } => {}
        }
    }

    fn begin(&self, view: &LogView, name: &TopicName, state: &TopicState, now: Timestamp) {
        let mut topics = self.topics.write();
        let topic = topics.reserve(name);
        topic.restore(view.log, view.durability, state, now);
        if state.hidden {
            return;
        }
        topics.existing.insert(name.clone());
        if topic.can_expire() {
            topics.expiring.insert(name.clone());
        }
    }

    /// Ends a topic's life, or hides it; tells its last message.
    fn end(&self, name: &TopicName, at: Position, hide: bool) -> Offset {
        let mut topics = self.topics.write();
        topics.existing.remove(name);
        topics.expiring.remove(name);
        let Some(topic) = topics.by_name.get(name) else { return Offset::ZERO };
        if hide { topic.hide(at) } else { topic.delete(at) }
    }

    fn is_hidden(&self, name: &TopicName) -> bool {
        self.get(name).is_some_and(|topic| topic.check_not_hidden().is_err())
    }

    fn wake_for(&self, filters: &FilterTree<Arc<FilterFeed>>, topic: &TopicName) {
        if let Some(topic) = self.get(topic) {
            let source: Arc<dyn Source> = topic;
            wake(&source, &self.shards);
        }
        filters.for_each_match(topic, |feed| {
            let source: Arc<dyn Source> = Arc::<FilterFeed>::clone(feed);
            wake(&source, &self.shards);
        });
    }
}

fn show_message(view: &LogView, filters: &FilterTree<Arc<FilterFeed>>, topic: &Arc<Topic>, message: &Arc<Message>) {
    topic.push(message);
    filters.for_each_match(&message.topic, |feed| feed.push(Entry::Message(Arc::clone(message))));
    let mut tail = view.tail.lock();
    tail.push(Arc::clone(topic), message);
    while let Some((topic, offset)) = tail.pop_excess() {
        topic.evict(offset);
        filters.for_each_match(&topic.name, |feed| feed.evict(offset));
    }
}

impl Topics {
    fn reserve(&mut self, name: &TopicName) -> Arc<Topic> {
        let topic = self.by_name.entry(name.clone()).or_insert_with(|| Arc::new(Topic::absent(name.clone())));
        Arc::clone(topic)
    }
}

/// Shows what one engine commits.
pub(crate) struct LogObserver {
    pub(crate) registry: Arc<Registry>,
    pub(crate) log: LogId,
    /// Tells how many groups hand out what is published in a topic of this log.
    pub(crate) n_groups: Box<dyn Fn(&TopicName) -> usize + Send + Sync>,
}

impl LogObserver {
    /// Who is there to see what is published in a topic.
    fn receipt(&self, filters: &FilterTree<Arc<FilterFeed>>, topic: &TopicName) -> Receipt {
        let mut readers = self.registry.get(topic).map_or(0, |topic| topic.interest().n_readers());
        filters.for_each_match(topic, |feed| readers += feed.interest().n_readers());
        Receipt { readers, groups: (self.n_groups)(topic) }
    }
}

impl Observer for LogObserver {
    fn restored(&self, topic: &TopicName, state: &TopicState) {
        if let Some(view) = self.registry.view(self.log) {
            self.registry.begin(view, topic, state, self.registry.clock.now());
        }
    }

    fn committed(&self, records: &[Record], through: Offset) {
        let registry = &self.registry;
        let Some(view) = registry.view(self.log) else { return };
        let now = registry.clock.now();
        let filters = view.filters.read();
        view.newest.fetch_max(through.0, Ordering::AcqRel);
        // A commit of many transactions is shown topic by topic; followers are woken once per run of one topic.
        for run in records.chunk_by(|a, b| a.topic() == b.topic()) {
            if let Some(last) = run.last() {
                // Before anybody can see it, so that those count who leave with it.
                let through = Position { log: view.log, offset: last.offset() };
                registry.receipts.take(last.topic(), through, || self.receipt(&filters, last.topic()));
            }
            // Most of what is committed is messages: their topic is looked up once.
            let mut topic = None;
            for record in run {
                match (record, &topic) {
                    (Record::Message(message), Some(topic)) => show_message(view, &filters, topic, message),
                    _ => registry.show(view, &filters, record, now),
                }
                topic = topic.or_else(|| registry.get(record.topic()));
            }
            if let Some(record) = run.first() {
                registry.wake_for(&filters, record.topic());
            }
        }
        view.through.fetch_max(through.0, Ordering::AcqRel);
    }

    fn trimmed(&self, topic: &TopicName, trimmed: Trimmed) {
        let registry = &self.registry;
        let Some(view) = registry.view(self.log) else { return };
        if let Some(topic) = registry.get(topic) {
            topic.trim(trimmed);
            registry.wake_for(&view.filters.read(), &topic.name);
        }
    }
}
