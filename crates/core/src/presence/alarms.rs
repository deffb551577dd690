//! When members and empty rosters are to be looked at: at most one alarm for each, in the order of their times.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::presence::member::MemberKey;
use crate::presence::roster::Roster;

/// Names an alarm: its time, and a number of its own.
pub(super) type AlarmId = (Instant, u64);

/// What is to be looked at.
#[derive(Debug)]
pub(super) struct Alarm {
    pub(super) roster: Arc<Roster>,
    /// One of its members; none means the roster itself, which is empty.
    pub(super) member: Option<Arc<MemberKey>>,
}

/// All alarms that are set.
#[derive(Debug, Default)]
pub(super) struct Alarms(Mutex<Set>);

#[derive(Debug, Default)]
struct Set {
    due: BTreeMap<AlarmId, Alarm>,
    last: u64,
}

impl Alarms {
    /// Sets an alarm.
    pub(super) fn set(&self, at: Instant, alarm: Alarm) -> AlarmId {
        let mut set = self.0.lock();
        set.last += 1;
        let id = (at, set.last);
        set.due.insert(id, alarm);
        id
    }

    /// Takes an alarm back.
    pub(super) fn cancel(&self, id: AlarmId) {
        self.0.lock().due.remove(&id);
    }

    /// Takes at most so many of those whose time has come.
    pub(super) fn take_due(&self, now: Instant, n_max: usize) -> Vec<(AlarmId, Alarm)> {
        let mut set = self.0.lock();
        let mut due = Vec::new();
        while due.len() < n_max
            && let Some(first) = set.due.first_entry().filter(|first| first.key().0 <= now)
        {
            due.push(first.remove_entry());
        }
        due
    }

    /// How many are set.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().due.len()
    }
}
