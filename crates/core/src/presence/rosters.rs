//! All rosters of a hub: coming, asking, leaving, and what time demands; each change is committed while its roster is
//! held, so that a snapshot and its cursor always belong together.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::clock::{Clock, Timestamp};
use crate::cursor::{LogId, Position};
use crate::engine::Engine;
use crate::engine::transaction::{Append, Delete, Op, Retention, TopicConfig, Transaction};
use crate::error::{Error, Kind, Result};
use crate::limits::{Limits, PRESENCE_EMPTY_KEPT, PRESENCE_EVENTS_BYTES_KEPT, PRESENCE_EVENTS_KEPT};
use crate::message::ContentType;
use crate::name::TopicName;
use crate::presence::alarms::{Alarm, AlarmId, Alarms};
use crate::presence::desk::{PresentMember, Snapshot};
use crate::presence::event::{self, Change};
use crate::presence::member::{Member, MemberKey};
use crate::presence::roster::{Present, Roster, State, Stay};
use crate::registry::Registry;

/// When a change that could not be committed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Departure {
    InOrder,
    Lost,
}

/// Every roster.
///
/// Lock order: a roster, then an engine's own lock and what follows it (`crate::registry`). `by_topic` and the alarms
/// are taken last, also while a roster is held, and nothing is taken behind them.
pub(super) struct Rosters {
    engine: Arc<dyn Engine>,
    registry: Arc<Registry>,
    clock: Arc<dyn Clock>,
    by_topic: Mutex<HashMap<TopicName, Arc<Roster>>>,
    alarms: Alarms,
    n_members: AtomicUsize,
    members_max: usize,
    members_per_topic_max: usize,
    grace: Duration,
    config: TopicConfig,
}

impl Rosters {
    /// No rosters yet; their changes are told in this log.
    pub(super) fn new(
        engine: &Arc<dyn Engine>,
        registry: &Arc<Registry>,
        clock: &Arc<dyn Clock>,
        limits: &Limits,
    ) -> Result<Arc<Self>> {
        // A change is not to be refused for those before it, so that no bound of a topic is ever met.
        let bytes = PRESENCE_EVENTS_BYTES_KEPT.min(limits.memory_topic_bytes);
        let retention = Retention { count: Some(PRESENCE_EVENTS_KEPT), bytes: Some(bytes), age: None };
        Ok(Arc::new(Self {
            engine: Arc::clone(engine),
            registry: Arc::clone(registry),
            clock: Arc::clone(clock),
            by_topic: Mutex::default(),
            alarms: Alarms::default(),
            n_members: AtomicUsize::new(0),
            members_max: limits.presence_members,
            members_per_topic_max: limits.presence_members_per_topic,
            grace: limits.presence_grace,
            config: TopicConfig { retention, ..TopicConfig::open(ContentType::parse("application/json")?) },
        }))
    }

    /// The log in which changes are told.
    pub(super) fn log(&self) -> LogId {
        self.engine.log()
    }

    /// Deals with at most so many of the alarms whose time has come; tells whether there were any.
    pub(super) fn ring_due(&self, now: Instant, n_max: usize) -> bool {
        let due = self.alarms.take_due(now, n_max);
        for (id, alarm) in &due {
            self.ring(*id, alarm, now);
        }
        !due.is_empty()
    }

    /// Notes that a member has come or asked; commits what is new of it.
    pub(super) fn arrive(
        self: &Arc<Self>,
        topic: &TopicName,
        member: Member,
        mark: impl FnOnce(&mut Present, Instant),
    ) -> Result<(Arc<Roster>, Arc<MemberKey>)> {
        loop {
            let roster = self.roster(topic)?;
            let mut state = roster.state.lock();
            if state.retired {
                continue;
            }
            let now = Instant::now();
            let admitted = self.admit(&roster, &mut state, member);
            if let Ok(key) = &admitted
                && let Some(present) = state.members.get_mut(key)
            {
                mark(present, now);
                self.review(&roster, &mut state, key, now);
            }
            self.settle(&roster, &mut state, now);
            drop(state);
            return admitted.map(|key| (roster, key));
        }
    }

    /// The roster of a topic, made if there is none.
    fn roster(&self, topic: &TopicName) -> Result<Arc<Roster>> {
        let mut by_topic = self.by_topic.lock();
        if let Some(roster) = by_topic.get(topic) {
            return Ok(Arc::clone(roster));
        }
        // Beside those with members there may be as many that are empty and not forgotten yet.
        if by_topic.len() >= self.members_max.saturating_mul(2) {
            return Err(Error::new(Kind::TooMany, "too many topics have had members lately; try again in a minute"));
        }
        let roster = Roster::new(topic.clone(), topic.presence()?);
        by_topic.insert(topic.clone(), Arc::clone(&roster));
        Ok(roster)
    }

    /// Finds or makes the member; its data is what it brings.
    fn admit(&self, roster: &Roster, state: &mut State, member: Member) -> Result<Arc<MemberKey>> {
        let Member { key, data, .. } = member;
        let is_news = data.is_some();
        let data = data.filter(|data| !data.is_empty());
        if let Some(present) = state.members.get_mut(&key) {
            if is_news && present.data != data {
                self.tell(roster, Change::Update, &key, data.as_deref(), self.clock.now())?;
                present.data = data;
            }
            return Ok(Arc::clone(&present.key));
        }
        let max = self.members_per_topic_max;
        if state.members.len() >= max {
            return Err(Error::new(
                Kind::TooMany,
                format!("the topic has its limit of {max} members; try again later"),
            ));
        }
        let max = self.members_max;
        let one_more = |n: usize| (n < max).then_some(n + 1);
        if self.n_members.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_err() {
            return Err(Error::new(Kind::TooMany, format!("the hub has its limit of {max} members; try again later")));
        }
        let since = self.clock.now();
        if let Err(error) = self.tell(roster, Change::Join, &key, data.as_deref(), since) {
            self.n_members.fetch_sub(1, Ordering::AcqRel);
            return Err(error);
        }
        let key = Arc::new(key);
        state.members.insert(Arc::clone(&key), Present::new(Arc::clone(&key), data, since));
        Ok(key)
    }

    /// A connection of a member has ended.
    pub(super) fn depart(self: &Arc<Self>, roster: &Arc<Roster>, key: &Arc<MemberKey>, departure: Departure) {
        let now = Instant::now();
        let mut state = roster.state.lock();
        // It is there for as long as it has connections.
        let Some(present) = state.members.get_mut(key) else { return };
        match departure {
            Departure::InOrder => present.disconnect(),
            Departure::Lost => present.lose(now, self.grace),
        }
        self.review(roster, &mut state, key, now);
        self.settle(roster, &mut state, now);
    }

    /// Looks whether a member is still there, and when to look again.
    fn review(&self, roster: &Arc<Roster>, state: &mut State, key: &Arc<MemberKey>, now: Instant) {
        let Some(present) = state.members.get_mut(key) else { return };
        let again = match present.stay(now) {
            Stay::Connected => return,
            Stay::Until(until) => until,
            Stay::Over => match self.tell(roster, Change::Leave, key, None, self.clock.now()) {
                Ok(()) => {
                    let alarm = present.alarm.take();
                    state.members.remove(key);
                    self.n_members.fetch_sub(1, Ordering::AcqRel);
                    alarm.into_iter().for_each(|alarm| self.alarms.cancel(alarm));
                    return;
                }
                // It may not go from the snapshot without being told of.
                Err(error) => {
                    tracing::debug!(topic = %roster.topic, %error, "a member's leave cannot be told yet");
                    now + RETRY
                }
            },
        };
        // An alarm that is set is never too late, since a stay is only ever prolonged.
        if present.alarm.is_none() {
            let alarm = Alarm { roster: Arc::clone(roster), member: Some(Arc::clone(key)) };
            present.alarm = Some(self.alarms.set(again, alarm));
        }
    }

    /// An empty roster is kept for a while, and then forgotten.
    fn settle(&self, roster: &Arc<Roster>, state: &mut State, now: Instant) {
        match (state.members.is_empty(), state.alarm) {
            (true, None) => {
                let alarm = Alarm { roster: Arc::clone(roster), member: None };
                state.alarm = Some(self.alarms.set(now + PRESENCE_EMPTY_KEPT, alarm));
            }
            (false, Some(alarm)) => {
                self.alarms.cancel(alarm);
                state.alarm = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    fn ring(&self, id: AlarmId, alarm: &Alarm, now: Instant) {
        let Alarm { roster, member } = alarm;
        let mut state = roster.state.lock();
        match member {
            Some(key) => {
                let Some(present) = state.members.get_mut(key).filter(|present| present.alarm == Some(id)) else {
                    return;
                };
                present.alarm = None;
                self.review(roster, &mut state, key, now);
            }
            None if state.alarm == Some(id) => {
                state.alarm = None;
                if state.members.is_empty() && self.forget(roster) {
                    state.retired = true;
                    return;
                }
            }
            None => return,
        }
        self.settle(roster, &mut state, now);
    }

    /// Deletes the topic of a roster that is held and empty, and the roster itself; not while somebody follows.
    fn forget(&self, roster: &Roster) -> bool {
        let info = self.registry.get(&roster.log_topic).and_then(|topic| topic.info());
        if let Some(info) = info {
            if info.followers > 0 {
                return false;
            }
            let delete = Delete { topic: roster.log_topic.clone(), created: Some(info.created.offset) };
            if let Err(error) = self.commit(Op::Delete(delete), self.clock.now()) {
                tracing::debug!(topic = %roster.log_topic, %error, "a topic of changes cannot be deleted yet");
                return false;
            }
        }
        self.by_topic.lock().remove(&roster.topic);
        true
    }

    pub(super) fn snapshot(&self, topic: &TopicName, after: Option<&MemberKey>, n_max: usize) -> Result<Snapshot> {
        topic.presence()?;
        loop {
            let by_topic = self.by_topic.lock();
            let Some(roster) = by_topic.get(topic).cloned() else {
                // Told while nobody can come: whoever comes is behind this.
                return Ok(Snapshot { members: Vec::new(), count: 0, cursor: self.end(), more: false });
            };
            drop(by_topic);
            let state = roster.state.lock();
            if state.retired {
                continue;
            }
            let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
            let mut members: Vec<PresentMember> = state
                .members
                .range::<MemberKey, _>((from, std::ops::Bound::Unbounded))
                .take(n_max + 1)
                .map(|(key, present)| PresentMember {
                    key: MemberKey::clone(key),
                    data: present.data.clone(),
                    since: present.since,
                })
                .collect();
            let more = members.len() > n_max;
            members.truncate(n_max);
            return Ok(Snapshot { members, count: state.members.len(), cursor: self.end(), more });
        }
    }

    /// The end of the log: all that was told so far is at or before it.
    fn end(&self) -> Position {
        let log = self.engine.log();
        Position { log, offset: self.registry.through(log).unwrap_or_default() }
    }

    /// Commits the message of a change.
    fn tell(&self, roster: &Roster, change: Change, key: &MemberKey, data: Option<&str>, now: Timestamp) -> Result<()> {
        let message = event::message(&self.config.content_type, change, key, data);
        let append = Append::new(roster.log_topic.clone(), vec![message]);
        self.commit(Op::Append(Append { create: Some(self.config.clone()), ..append }), now)
    }

    /// A memory log answers at once, so that a roster can be held meanwhile.
    fn commit(&self, op: Op, now: Timestamp) -> Result<()> {
        let mut pending = self.engine.commit(Transaction::from(op), now);
        match pending.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => outcome.map(drop),
            Poll::Pending => Err(Error::new(Kind::Internal, "the memory log did not answer at once")),
        }
    }
}

impl std::fmt::Debug for Rosters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rosters").field("n_members", &self.n_members).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::memory::MemoryEngine;
    use crate::hub::{Hub, HubConfig};
    use crate::limits::PRESENCE_LEASE_MIN;

    #[tokio::test(start_paused = true)]
    async fn there_is_one_alarm_a_member_and_nothing_is_left_behind() {
        let hub = Hub::start(HubConfig::new(Arc::new(MemoryEngine::new(LogId(1), Limits::default())))).unwrap();
        let rosters = hub.presence().rosters().unwrap();
        let topic = TopicName::parse("chat").unwrap();
        let member = || Member::new("anna", None, None).unwrap();
        for i in 0..100 {
            hub.presence().touch(&topic, member(), Duration::from_secs(i)).unwrap();
            drop(hub.presence().enter(&topic, member()).unwrap());
            hub.presence().enter(&topic, member()).unwrap().leave();
            assert_eq!(rosters.alarms.len(), 1);
        }
        let all_gone = PRESENCE_LEASE_MIN + Duration::from_secs(200) + PRESENCE_EMPTY_KEPT + RETRY;
        tokio::time::sleep(all_gone).await;
        assert_eq!((rosters.alarms.len(), rosters.n_members.load(Ordering::Acquire)), (0, 0));
        assert!(rosters.by_topic.lock().is_empty());
        assert!(hub.describe(&topic.presence().unwrap()).await.is_err());
    }
}
