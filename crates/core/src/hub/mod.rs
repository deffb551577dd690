//! The hub: topics over one or two logs. What can be done with it is in [`crate::patterns`], one file a pattern; here
//! it is put together, and topics are created, described, listed, closed and deleted.

mod forks;
mod observer;
mod reads;
pub(crate) mod topics;

use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::clock::{Clock, SystemClock, Timestamp};
use crate::cursor::{LogId, Position};
use crate::engine::transaction::{Op, Outcome, Transaction};
use crate::engine::{Durability, Engine};
use crate::error::{Error, Kind, Result};
use crate::fanout::shard::{self, Engines, Shards};
use crate::hub::observer::HubObserver;
use crate::limits::Limits;
use crate::name::TopicName;
use crate::patterns::publish_subscribe::groups::Directory;
use crate::patterns::request_response::Services;
use crate::presence::Presence;
use crate::randomness::{Randomness, SystemRandomness};
use crate::registry::Registry;

pub use crate::hub::topics::{CreateTopic, ForkOf, ListTopics};

/// How often time's work is done: expiry, retention by age.
const TICK: Duration = Duration::from_millis(500);

/// What a hub is made of.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// The engines: one, or one of each durability. The first is where topics go that do not say.
    pub engines: Vec<Arc<dyn Engine>>,
    /// The bounds.
    pub limits: Limits,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// What names of requests and reply topics are drawn from.
    pub randomness: Arc<dyn Randomness>,
    /// Fan-out tasks; as many as there are cores.
    pub shards: usize,
}

impl HubConfig {
    /// A hub on one engine, with default limits, the system's clock and a shard per core.
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        let shards = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            engines: vec![engine],
            limits: Limits::default(),
            clock: Arc::new(SystemClock),
            randomness: Arc::new(SystemRandomness::default()),
            shards,
        }
    }
}

/// Topics, their readers and the services beside them. Shared by `Arc`; everything on it can be called from anywhere.
pub struct Hub {
    pub(crate) registry: Arc<Registry>,
    pub(crate) engines: Engines,
    pub(crate) limits: Limits,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) n_followers: Arc<AtomicUsize>,
    pub(crate) services: Arc<Services>,
    pub(crate) groups: Arc<Directory>,
    presence: Presence,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("engines", &self.engines).finish_non_exhaustive()
    }
}

impl Hub {
    /// Starts a hub; its tasks run on the current tokio runtime until it is dropped.
    pub fn start(config: HubConfig) -> Result<Arc<Self>> {
        let HubConfig { engines, limits, clock, randomness, shards } = config;
        let mut logs: Vec<(LogId, Durability)> = Vec::new();
        for engine in &engines {
            if logs.iter().any(|(log, durability)| *log == engine.log() || *durability == engine.durability()) {
                return Err(Error::new(Kind::BadRequest, "a hub has at most one engine of each durability"));
            }
            logs.push((engine.log(), engine.durability()));
        }
        if logs.is_empty() {
            return Err(Error::new(Kind::BadRequest, "a hub needs an engine"));
        }
        let shards = Arc::new(Shards::new(shards, limits.history_reads));
        let registry = Arc::new(Registry::new(Arc::clone(&shards), limits.clone(), Arc::clone(&clock), &logs));
        let groups = Arc::new(Directory::default());
        for engine in &engines {
            let observer = HubObserver::new(&registry, &groups, engine.log());
            engine.attach(Arc::new(observer))?;
        }
        let engines: Engines = engines.into();
        let hub = Arc::new(Self {
            services: Arc::new(Services::new(&limits, randomness)),
            presence: Presence::new(&engines, &registry, &clock, &limits)?,
            registry,
            engines: Arc::clone(&engines),
            limits,
            clock,
            n_followers: Arc::default(),
            groups,
            tasks: Mutex::default(),
        });
        let mut tasks: Vec<_> =
            (0..shards.len()).map(|i| tokio::spawn(shard::run(Arc::clone(&shards), i, Arc::clone(&engines)))).collect();
        tasks.push(tokio::spawn(keep_time(Arc::downgrade(&hub), hub.orphaned_replies())));
        *hub.tasks.lock() = tasks;
        hub.groups.start(&hub);
        Ok(hub)
    }

    /// The bounds it keeps.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The time of day.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Who is on which topic.
    pub fn presence(&self) -> &Presence {
        &self.presence
    }

    /// What topics are that do not say.
    pub fn default_durability(&self) -> Durability {
        self.engines[0].durability()
    }

    /// What a log of the hub promises; none if it is not one of them.
    pub fn durability_of(&self, log: LogId) -> Option<Durability> {
        self.engine(log).map(|engine| engine.durability())
    }

    /// What is wrong with the hub's logs at present; nothing if all is well.
    pub fn troubles(&self) -> Vec<Error> {
        self.engines.iter().flat_map(|engine| engine.troubles()).collect()
    }

    /// Ends all followers with [`Kind::ShuttingDown`], finishes what was accepted, and refuses the rest.
    ///
    /// Dropping the future leaves the engines open.
    pub async fn shutdown(&self) -> Result<()> {
        self.services.stop().await;
        self.groups.stop();
        self.registry.shards.stop();
        for engine in self.engines.iter() {
            engine.close().await?;
        }
        Ok(())
    }

    pub(crate) fn engine(&self, log: LogId) -> Option<&Arc<dyn Engine>> {
        self.engines.iter().find(|engine| engine.log() == log)
    }

    /// Commits one operation; errors carry the log's position where they tell one.
    pub(crate) async fn commit(&self, log: LogId, op: Op) -> Result<Outcome> {
        let Some(engine) = self.engine(log) else {
            return Err(Error::new(Kind::Internal, "the topic's log is not one of the hub's"));
        };
        let outcomes = engine.commit(Transaction::from(op), self.clock.now()).await?;
        outcomes.into_iter().next().ok_or_else(|| Error::new(Kind::Internal, "the log answered nothing"))
    }

    /// The log that a topic will be in, unless it is created otherwise.
    pub(crate) fn home_of(&self, name: &TopicName) -> LogId {
        let presence = name.members_of().and_then(|_| self.presence.log());
        presence.unwrap_or_else(|| self.engines[0].log())
    }

    /// Where the default log ends now.
    pub(crate) fn end_of(&self, log: LogId) -> Position {
        Position { log, offset: self.registry.through(log).unwrap_or_default() }
    }

    async fn do_what_time_demands(&self) {
        let now = self.clock.now();
        for engine in self.engines.iter() {
            engine.maintain(now);
        }
        self.services.keep_time();
        self.presence.keep_time().await;
        self.registry.sweep();
        self.expire_topics(now).await;
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        for task in self.tasks.get_mut() {
            task.abort();
        }
        self.groups.stop();
        // Followers that no shard has seen yet end, too.
        self.registry.shards.close();
    }
}

/// Does the work of time for as long as there is a hub.
async fn keep_time(hub: Weak<Hub>, orphans: Vec<TopicName>) {
    if let Some(hub) = hub.upgrade() {
        hub.end_replies(orphans).await;
    }
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(hub) = hub.upgrade() else { return };
        hub.do_what_time_demands().await;
    }
}
