//! Which groups there are, and how each is reached.
//!
//! Engines tell of groups, also before there is a hub; the pumps are started when there is one.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle as Runtime;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use crate::cursor::{LogId, Offset};
use crate::engine::ledger::group_deleted;
use crate::error::{Error, Kind, Result};
use crate::group::{GroupConfig, GroupName, GroupState};
use crate::hub::Hub;
use crate::name::TopicName;
use crate::patterns::publish_subscribe::groups::board::MemberId;
use crate::patterns::publish_subscribe::groups::consumer::{Answer, Consumer, DeliveryId, GroupInfo, Handed, Redriven};
use crate::patterns::publish_subscribe::groups::pump::Pump;

/// What members say waits here while a transaction is under way; then they wait themselves.
const COMMANDS_MAX: usize = 4_096;

/// Groups by name.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    by_name: RwLock<BTreeMap<GroupName, Arc<Handle>>>,
    /// Where pumps run; none before there is a hub.
    home: OnceLock<(Weak<Hub>, Runtime)>,
    pub(super) n_members: Arc<AtomicUsize>,
    /// Held while a group is put, so that one name does not come into being in two logs.
    pub(super) putting: Arc<tokio::sync::Mutex<()>>,
    /// Nothing is handed out any more.
    pub(super) held: AtomicBool,
}

/// How a group is reached.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) group: GroupName,
    pub(super) log: LogId,
    pub(super) created: Offset,
    /// The filter never changes while a group lives.
    pub(super) config: Mutex<Arc<GroupConfig>>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) signals: Mutex<Signals>,
    pub(super) signalled: Notify,
    /// Why nobody can be reached here any more.
    pub(super) ended: OnceLock<Error>,
    /// Waits for the hub.
    pending: Mutex<Option<(mpsc::Receiver<Command>, Box<GroupState>)>>,
}

/// What has to be told without waiting, each at most once a member.
#[derive(Debug, Default)]
pub(super) struct Signals {
    pub(super) configured: bool,
    pub(super) ended: Option<Error>,
    pub(super) ready: Vec<MemberId>,
    pub(super) gone: Vec<MemberId>,
    /// Claims whose callers have gone.
    pub(super) unclaimed: Vec<(MemberId, u64)>,
}

/// What is asked of a group.
pub(super) enum Command {
    Join { name: Arc<str>, limit: u32, sink: Box<dyn Consumer>, answer: oneshot::Sender<Place> },
    Limit { member: MemberId, limit: u32 },
    Claim(Claim, oneshot::Sender<(MemberId, u64)>),
    Acknowledge(Vec<DeliveryId>, Answers),
    GiveBack(Vec<DeliveryId>, Option<Duration>, Answers),
    Extend(Vec<DeliveryId>, Option<Duration>, Answers),
    Redrive(oneshot::Sender<Result<Redriven>>),
    Describe(oneshot::Sender<GroupInfo>),
}

pub(super) type Answers = oneshot::Sender<Result<Vec<Answer>>>;

/// A member that asks once.
pub(super) struct Claim {
    pub(super) name: Arc<str>,
    pub(super) max: u32,
    pub(super) until: Instant,
    pub(super) answer: oneshot::Sender<Result<Vec<Handed>>>,
}

impl Handle {
    /// Tells the pump something without waiting.
    pub(super) fn signal(&self, say: impl FnOnce(&mut Signals)) {
        say(&mut self.signals.lock());
        self.signalled.notify_one();
    }

    /// The error for whoever finds nobody here.
    pub(super) fn gone(&self) -> Error {
        self.ended.get().cloned().unwrap_or_else(|| group_deleted(&self.group))
    }
}

pub(super) fn stopping() -> Error {
    Error::new(Kind::ShuttingDown, "the hub is stopping; reconnect and go on")
}

/// A member's place. Dropping it leaves the group.
pub(super) struct Place {
    pub(super) handle: Arc<Handle>,
    pub(super) member: MemberId,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.handle.signal(|signals| signals.gone.push(self.member));
    }
}

impl Directory {
    /// Lets groups run, those that are there and those that come.
    pub(crate) fn start(&self, hub: &Arc<Hub>) {
        drop(self.home.set((Arc::downgrade(hub), Runtime::current())));
        let all: Vec<_> = self.by_name.read().values().cloned().collect();
        all.iter().for_each(|handle| self.run(handle));
    }

    /// Notes a group that an engine tells of.
    pub(crate) fn begin(&self, topic: &TopicName, log: LogId, created: Offset, state: GroupState) {
        let Some(group) = GroupName::of_topic(topic) else { return };
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        let handle = Arc::new(Handle {
            group: group.clone(),
            log,
            created,
            config: Mutex::new(Arc::clone(&state.config)),
            commands,
            signals: Mutex::default(),
            signalled: Notify::new(),
            ended: OnceLock::new(),
            pending: Mutex::new(Some((receiver, Box::new(state)))),
        });
        self.by_name.write().insert(group, Arc::clone(&handle));
        self.run(&handle);
    }

    /// A group is set up, or differently; where it was created is told if it is new.
    pub(crate) fn configure(
        &self,
        topic: &TopicName,
        log: LogId,
        created: Option<Offset>,
        config: &Arc<GroupConfig>,
        start: Offset,
    ) {
        let known = GroupName::of_topic(topic).and_then(|group| self.get(&group)).filter(|known| known.log == log);
        match (known, created) {
            (Some(known), None) => {
                *known.config.lock() = Arc::clone(config);
                known.signal(|signals| signals.configured = true);
            }
            (_, Some(created)) => self.begin(topic, log, created, GroupState::new(Arc::clone(config), start)),
            (None, None) => {}
        }
    }

    /// A group was deleted.
    pub(crate) fn end(&self, topic: &TopicName, log: LogId) {
        let Some(group) = GroupName::of_topic(topic) else { return };
        let mut by_name = self.by_name.write();
        if by_name.get(&group).is_some_and(|handle| handle.log == log)
            && let Some(handle) = by_name.remove(&group)
        {
            drop(by_name);
            let error = group_deleted(&group);
            handle.signal(|signals| signals.ended = Some(error));
        }
    }

    /// Ends all members, because the hub is stopping.
    pub(crate) fn stop(&self) {
        let all: Vec<_> = self.by_name.read().values().cloned().collect();
        all.iter().for_each(|handle| handle.signal(|signals| signals.ended = Some(stopping())));
    }

    pub(super) fn get(&self, group: &GroupName) -> Option<Arc<Handle>> {
        self.by_name.read().get(group).cloned()
    }

    pub(super) fn list(&self, after: Option<&GroupName>, n_max: usize) -> Vec<Arc<Handle>> {
        let by_name = self.by_name.read();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        by_name.range::<GroupName, _>((from, Bound::Unbounded)).take(n_max).map(|(_, h)| Arc::clone(h)).collect()
    }

    /// How many groups a message of a topic in a log is shared out by.
    pub(crate) fn n_matching(&self, topic: &TopicName, log: LogId) -> usize {
        let by_name = self.by_name.read();
        let in_log = by_name.values().filter(|handle| handle.log == log);
        in_log.filter(|handle| handle.config.lock().filter.matches(topic)).count()
    }

    /// How many members all groups have.
    pub(crate) fn n_members(&self) -> usize {
        self.n_members.load(Ordering::Relaxed)
    }

    fn run(&self, handle: &Arc<Handle>) {
        let Some((hub, runtime)) = self.home.get() else { return };
        let Some((commands, state)) = handle.pending.lock().take() else { return };
        runtime.spawn(Pump::new(Weak::clone(hub), Arc::clone(handle), commands, &state).run());
    }
}
