//! The members of one topic, and until when each of them counts as there. It writes no events and keeps no time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::name::TopicName;
use crate::presence::alarms::AlarmId;
use crate::presence::member::MemberKey;

/// The members of a topic.
#[derive(Debug)]
pub(super) struct Roster {
    pub(super) topic: TopicName,
    /// Where its changes are told.
    pub(super) log_topic: TopicName,
    /// Held while a change is committed, so that what is here and what has been told are always the same.
    pub(super) state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) members: BTreeMap<Arc<MemberKey>, Present>,
    /// Set while there are none.
    pub(super) alarm: Option<AlarmId>,
    /// It is forgotten: whoever still has it looks for the one that came in its place.
    pub(super) retired: bool,
}

/// A member that is there.
#[derive(Debug)]
pub(super) struct Present {
    pub(super) key: Arc<MemberKey>,
    pub(super) data: Option<Arc<str>>,
    /// When it came.
    pub(super) since: Timestamp,
    n_connections: usize,
    /// Connections that were lost and have until `grace_until` to come back.
    n_lost: usize,
    grace_until: Option<Instant>,
    lease_until: Option<Instant>,
    pub(super) alarm: Option<AlarmId>,
}

/// How long a member stays if nothing happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stay {
    /// For as long as it is connected.
    Connected,
    /// Until then.
    Until(Instant),
    /// No longer.
    Over,
}

impl Roster {
    pub(super) fn new(topic: TopicName, log_topic: TopicName) -> Arc<Self> {
        Arc::new(Self { topic, log_topic, state: Mutex::default() })
    }
}

impl Present {
    pub(super) fn new(key: Arc<MemberKey>, data: Option<Arc<str>>, since: Timestamp) -> Self {
        Self { key, data, since, n_connections: 0, n_lost: 0, grace_until: None, lease_until: None, alarm: None }
    }

    /// One more connection, which takes the place of one that was lost.
    pub(super) fn connect(&mut self, now: Instant) {
        self.forget_lost(now);
        self.n_connections += 1;
        self.n_lost = self.n_lost.saturating_sub(1);
        if self.n_lost == 0 {
            self.grace_until = None;
        }
    }

    /// A connection has ended as it should.
    pub(super) fn disconnect(&mut self) {
        self.n_connections = self.n_connections.saturating_sub(1);
    }

    /// A connection has broken.
    pub(super) fn lose(&mut self, now: Instant, grace: Duration) {
        self.forget_lost(now);
        self.disconnect();
        self.n_lost += 1;
        self.grace_until = Some(now + grace);
    }

    /// It has asked. A longer lease that runs already holds.
    pub(super) fn renew(&mut self, until: Instant) {
        self.lease_until = self.lease_until.max(Some(until));
    }

    /// Nobody waits any more for those who have not come back in time.
    fn forget_lost(&mut self, now: Instant) {
        if self.grace_until.is_some_and(|until| until <= now) {
            self.grace_until = None;
            self.n_lost = 0;
        }
    }

    pub(super) fn stay(&mut self, now: Instant) -> Stay {
        self.forget_lost(now);
        if self.n_connections > 0 {
            return Stay::Connected;
        }
        match self.grace_until.max(self.lease_until).filter(|until| *until > now) {
            Some(until) => Stay::Until(until),
            None => Stay::Over,
        }
    }
}
