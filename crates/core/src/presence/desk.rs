//! Where members come, ask and are asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::{Clock, Timestamp};
use crate::cursor::{LogId, Position};
use crate::engine::{Durability, Engine};
use crate::error::{Error, Kind, Result};
use crate::limits::{Limits, PRESENCE_LEASE_MIN, PRESENCE_SNAPSHOT_MEMBERS_MAX};
use crate::name::TopicName;
use crate::presence::guard::PresenceGuard;
use crate::presence::member::{Member, MemberKey};
use crate::presence::roster::Present;
use crate::presence::rosters::Rosters;
use crate::registry::Registry;

/// Alarms that are dealt with before others get their turn.
const ALARMS_TURN_MAX: usize = 256;

/// Who is on which topic. It needs a memory log; a hub without one says so.
#[derive(Debug)]
pub struct Presence {
    /// None without a memory log.
    rosters: Option<Arc<Rosters>>,
    /// Callers that could not be shown since it was last said.
    n_unseen: AtomicUsize,
}

/// A member as a snapshot has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentMember {
    /// Its id and subject.
    pub key: MemberKey,
    /// Its data.
    pub data: Option<Arc<str>>,
    /// When it came.
    pub since: Timestamp,
}

/// Who is on a topic, or a part of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// In the order of their ids.
    pub members: Vec<PresentMember>,
    /// How many there are in all.
    pub count: usize,
    /// Reading `$presence/{topic}` behind this shows every change since. With several parts, the first one's counts.
    pub cursor: Position,
    /// Whether there is another part, behind the last one of these.
    pub more: bool,
}

impl Presence {
    pub(crate) fn new(
        engines: &[Arc<dyn Engine>],
        registry: &Arc<Registry>,
        clock: &Arc<dyn Clock>,
        limits: &Limits,
    ) -> Result<Self> {
        let engine = engines.iter().find(|engine| engine.durability() == Durability::Memory);
        let rosters = engine.map(|engine| Rosters::new(engine, registry, clock, limits)).transpose()?;
        Ok(Self { rosters, n_unseen: AtomicUsize::new(0) })
    }

    /// A member is there until the guard is gone. The topic does not have to exist.
    pub fn enter(&self, topic: &TopicName, member: Member) -> Result<PresenceGuard> {
        let implied = member.implied;
        let entered = self.rosters().and_then(|rosters| {
            let (roster, key) = rosters.arrive(topic, member, Present::connect)?;
            Ok(PresenceGuard::new(Arc::clone(rosters), roster, key))
        });
        match entered {
            Err(_) if implied => {
                self.note_unseen();
                Ok(PresenceGuard::of_nobody())
            }
            entered => entered,
        }
    }

    /// A member has asked, and waits so long for the answer: it is there for as long as its lease, which is 30 seconds
    /// or twice the wait.
    pub fn touch(&self, topic: &TopicName, member: Member, wait: Duration) -> Result<()> {
        let implied = member.implied;
        let lease = PRESENCE_LEASE_MIN.max(wait.saturating_mul(2));
        let touched =
            self.rosters().and_then(|rosters| rosters.arrive(topic, member, |present, now| present.renew(now + lease)));
        match touched {
            Err(_) if implied => {
                self.note_unseen();
                Ok(())
            }
            touched => touched.map(drop),
        }
    }

    /// Who is on a topic: at most so many (and at most 1,000), behind one of them.
    pub fn of(&self, topic: &TopicName, after: Option<&MemberKey>, n_max: usize) -> Result<Snapshot> {
        self.rosters()?.snapshot(topic, after, n_max.clamp(1, PRESENCE_SNAPSHOT_MEMBERS_MAX))
    }

    /// The log in which changes are told.
    pub(crate) fn log(&self) -> Option<LogId> {
        self.rosters.as_ref().map(|rosters| rosters.log())
    }

    /// Ends what is over: leases, grace periods, topics of changes that nobody needs.
    pub(crate) async fn keep_time(&self) {
        let Some(rosters) = &self.rosters else { return };
        let now = Instant::now();
        while rosters.ring_due(now, ALARMS_TURN_MAX) {
            tokio::task::yield_now().await;
        }
        let n_unseen = self.n_unseen.swap(0, Ordering::Relaxed);
        if n_unseen > 0 {
            tracing::warn!(
                n_unseen,
                "callers read without being shown in presence; see limits.presence_members, limits.memory_log_bytes"
            );
        }
    }

    pub(super) fn rosters(&self) -> Result<&Arc<Rosters>> {
        self.rosters.as_ref().ok_or_else(|| {
            Error::new(Kind::BadRequest, "this hub has no memory log, which presence needs; leave presence out")
        })
    }

    fn note_unseen(&self) {
        self.n_unseen.fetch_add(1, Ordering::Relaxed);
    }
}
