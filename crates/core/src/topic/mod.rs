//! A topic as readers see it: what is visible of it, its newest messages in memory, and who follows it.
//!
//! An engine decides what becomes of a topic; this only shows what it has committed. A topic that does not exist has
//! a place here too while somebody waits for it.

mod life;

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::batch::Batch;
use crate::clock::Timestamp;
use crate::cursor::{LogId, Offset, Position};
use crate::engine::ledger::topic_gone;
use crate::engine::transaction::{TopicConfig, TopicState};
use crate::engine::{Durability, ReadRequest, Trimmed};
use crate::error::{Error, Kind, Result};
use crate::fanout::Delivery;
use crate::fanout::source::{History, Interest, Place, Source, Step, next_source_id};
use crate::limits::{DELIVERY_BYTES_MAX, DELIVERY_MESSAGES_MAX};
use crate::message::Message;
use crate::name::TopicName;
use crate::topic::life::Life;

/// A topic, existing or awaited.
pub(crate) struct Topic {
    id: u64,
    pub(crate) name: TopicName,
    interest: Interest,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    life: Option<Life>,
    /// Where the name was last deleted, and in which log.
    deleted_at: Option<Position>,
    /// Operations under way that may create the topic, and the log that they would create it in.
    creating: Option<(LogId, usize)>,
}

/// What can be told of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name.
    pub topic: TopicName,
    /// How it is set up.
    pub config: Arc<TopicConfig>,
    /// What an acknowledgement is worth.
    pub durability: Durability,
    /// Where it begins in its log.
    pub created: Position,
    /// When it was created.
    pub created_at: Timestamp,
    /// Reading behind this gives the oldest message that is kept.
    pub first: Position,
    /// Its tail: reading behind this gives what comes next.
    pub next: Position,
    /// Whether it is closed.
    pub closed: bool,
    /// Messages that are kept.
    pub messages: u64,
    /// Their bytes, headers and overhead included.
    pub bytes: u64,
    /// Readers that wait for it or are pushed to, by name.
    pub followers: usize,
}

/// What a read from memory finds.
pub(crate) enum Glance {
    /// The topic does not exist.
    Absent,
    /// These messages.
    Batch { batch: Arc<Batch>, up_to_date: bool },
    /// They are no longer in memory.
    Behind {
        log: LogId,
        request: ReadRequest,
        /// What lies behind this is in memory; if the engine has nothing, reading goes on from here.
        until: Offset,
    },
}

impl Topic {
    /// A place for a topic that does not exist.
    pub(crate) fn absent(name: TopicName) -> Self {
        Self { id: next_source_id(), name, interest: Interest::default(), state: Mutex::default() }
    }

    /// What is visible of it; none if it does not exist.
    pub(crate) fn info(&self) -> Option<TopicInfo> {
        let state = self.state.lock();
        let life = state.life.as_ref().filter(|life| !life.hidden)?;
        let at = |offset| Position { log: life.log, offset };
        Some(TopicInfo {
            topic: self.name.clone(),
            config: Arc::clone(&life.config),
            durability: life.durability,
            created: at(life.created),
            created_at: life.created_at,
            first: at(life.first()),
            next: at(life.tail_end()),
            closed: life.closed,
            messages: life.messages,
            bytes: life.bytes,
            followers: self.interest.n_followers(),
        })
    }

    /// Refuses a topic that is only kept for its forks.
    pub(crate) fn check_not_hidden(&self) -> Result<()> {
        match &self.state.lock().life {
            Some(life) if life.hidden => Err(topic_gone(&self.name)),
            _ => Ok(()),
        }
    }

    /// The log it is in.
    pub(crate) fn log(&self) -> Option<LogId> {
        self.state.lock().life.as_ref().map(|life| life.log)
    }

    /// Reading behind this gives the oldest message that is kept.
    pub(crate) fn start(&self) -> Result<Position> {
        let state = self.state.lock();
        let life = state.life.as_ref().ok_or_else(|| topic_deleted(&self.name))?;
        Ok(Position { log: life.log, offset: life.first() })
    }

    /// Whether nobody needs the place of a topic that does not exist.
    pub(crate) fn is_forgettable(&self) -> bool {
        let state = self.state.lock();
        state.life.is_none() && state.creating.is_none() && self.interest.n_followers() == 0
    }

    /// Reserves the right to create the topic in a log until [`Self::end_create`]. Tells the log that it is to be
    /// written to: the one it is in or is being created in, or else the wished one.
    pub(crate) fn begin_create(&self, wished: LogId) -> LogId {
        let mut state = self.state.lock();
        let current = state.life.as_ref().map(|life| life.log);
        let (log, n_others) = state.creating.unwrap_or((current.unwrap_or(wished), 0));
        let log = if n_others > 0 { log } else { current.unwrap_or(wished) };
        state.creating = Some((log, n_others + 1));
        log
    }

    /// Ends what [`Self::begin_create`] began.
    pub(crate) fn end_create(&self) {
        let mut state = self.state.lock();
        state.creating = state.creating.filter(|(_, n)| *n > 1).map(|(log, n)| (log, n - 1));
    }

    /// Notes a use, for TTL.
    pub(crate) fn touch(&self, now: Timestamp) {
        if let Some(life) = &mut self.state.lock().life
            && life.config.ttl.is_some()
        {
            life.used_at = now;
        }
    }

    /// The life of it that is over by TTL or expiry time, told by where it was created. It is to be deleted then.
    ///
    /// Who is about to write uses it by this unless it is over: nobody finds it idle then and deletes what is written.
    pub(crate) fn expired(&self, now: Timestamp, writes: bool) -> Option<(LogId, Offset)> {
        let mut state = self.state.lock();
        let life = state.life.as_mut().filter(|life| !life.hidden)?;
        if self.interest.n_followers() > 0 {
            life.used_at = now;
        }
        let idle = life.config.ttl.is_some_and(|ttl| now >= life.used_at.plus(ttl));
        let past = life.config.expires_at.is_some_and(|at| now >= at);
        life.condemned |= idle || past;
        if writes && !life.condemned {
            life.used_at = now;
        }
        life.condemned.then_some((life.log, life.created))
    }

    /// What lies at or below has been trimmed.
    pub(crate) fn trimmed_through(&self) -> Offset {
        self.state.lock().life.as_ref().map(|life| life.trimmed_through).unwrap_or_default()
    }

    /// Whether it can expire at all.
    pub(crate) fn can_expire(&self) -> bool {
        let state = self.state.lock();
        state.life.as_ref().is_some_and(|life| life.config.ttl.is_some() || life.config.expires_at.is_some())
    }

    /// Checks a position that a client brought and makes it one that can be read on from.
    pub(crate) fn admit(&self, position: Position, log_end: Offset) -> Result<Position> {
        let state = self.state.lock();
        let Some(life) = &state.life else {
            return match state.deleted_at {
                Some(deleted) if deleted.log == position.log && position.offset < deleted.offset => {
                    Err(topic_deleted(&self.name))
                }
                _ => Ok(position),
            };
        };
        if position.is_start() {
            return Ok(Position { log: life.log, offset: life.first() });
        }
        if position.log != life.log {
            return Err(Error::new(
                Kind::StaleCursor,
                format!("the cursor is of another log than the one {} is in now; start again with -1", self.name),
            ));
        }
        if position.offset > log_end {
            return Err(Error::new(
                Kind::BadCursor,
                "the cursor lies beyond the end of the log; it was not given out here",
            ));
        }
        if life.is_stale(position.offset) {
            return Err(stale_by_deletion(&self.name));
        }
        if position.offset < life.trimmed_through {
            return Err(self.gap(Position { log: life.log, offset: life.trimmed_through }));
        }
        Ok(position)
    }

    /// The error for a cursor that retention has overtaken.
    pub(crate) fn gap(&self, first_available: Position) -> Error {
        Error::new(
            Kind::Gap { first_available },
            format!(
                "messages of {} behind this cursor were removed by retention; go on from first_available",
                self.name
            ),
        )
    }

    /// Reads on from an admitted position, from memory if it can.
    pub(crate) fn glance(&self, from: Position, messages: usize, bytes: usize) -> Result<Glance> {
        let state = self.state.lock();
        let Some(life) = &state.life else { return Ok(Glance::Absent) };
        // Since the position was admitted, the topic may have come into being, in either log, or have become another.
        let own_log = from.log == life.log;
        let deleted_since = state.deleted_at.is_some_and(|at| at.log == from.log && from.offset < at.offset);
        if if own_log { life.is_stale(from.offset) } else { deleted_since } {
            return Err(stale_by_deletion(&self.name));
        }
        let after = life.not_before(if own_log { from.offset } else { life.first() });
        if after < life.tail_from {
            let topic = self.name.clone();
            let request = ReadRequest { topic, created: life.created, after, messages, bytes };
            return Ok(Glance::Behind { log: life.log, request, until: life.tail_from });
        }
        let batch = life.make_batch(after, messages, bytes);
        let up_to_date = batch.next().offset >= life.last;
        Ok(Glance::Batch { batch, up_to_date })
    }

    pub(crate) fn restore(&self, log: LogId, durability: Durability, restored: &TopicState, now: Timestamp) {
        let life = Life {
            log,
            durability,
            config: Arc::clone(&restored.config),
            created: restored.created,
            created_at: restored.created_at,
            deleted_at: restored.deleted_at,
            last: restored.last,
            trimmed_through: restored.trimmed_through,
            closed: restored.closed,
            hidden: restored.hidden,
            messages: restored.messages,
            bytes: restored.bytes,
            used_at: now,
            condemned: false,
            tail: VecDeque::new(),
            tail_from: if restored.last == Offset::ZERO { restored.created } else { restored.last },
            latest: None,
        };
        self.state.lock().life = Some(life);
    }

    pub(crate) fn push(&self, message: &Arc<Message>) {
        if let Some(life) = &mut self.state.lock().life {
            life.last = message.offset;
            life.messages += 1;
            life.bytes += message.size() as u64;
            life.used_at = message.time;
            life.tail.push_back(Arc::clone(message));
        }
    }

    /// It is only kept for its forks from now on; tells its last message.
    pub(crate) fn hide(&self, at: Position) -> Offset {
        let mut state = self.state.lock();
        state.deleted_at = Some(at);
        let Some(life) = &mut state.life else { return Offset::ZERO };
        life.hidden = true;
        life.last
    }

    pub(crate) fn close(&self) {
        if let Some(life) = &mut self.state.lock().life {
            life.closed = true;
        }
    }

    /// Ends its life; tells its last message.
    pub(crate) fn delete(&self, at: Position) -> Offset {
        let mut state = self.state.lock();
        state.deleted_at = Some(at);
        state.life.take().map(|life| life.last).unwrap_or_default()
    }

    /// What was kept for forks is gone too.
    pub(crate) fn forget(&self) {
        self.state.lock().life = None;
    }

    /// Forgets messages of the tail up to an offset; they can still be read from the engine.
    pub(crate) fn evict(&self, through: Offset) {
        if let Some(life) = &mut self.state.lock().life {
            life.evict(through);
        }
    }

    pub(crate) fn trim(&self, trimmed: Trimmed) {
        if let Some(life) = &mut self.state.lock().life {
            life.trimmed_through = life.trimmed_through.max(trimmed.through);
            life.messages = life.messages.saturating_sub(trimmed.messages);
            life.bytes = life.bytes.saturating_sub(trimmed.bytes);
            life.evict(trimmed.through);
        }
    }
}

impl Source for Topic {
    fn id(&self) -> u64 {
        self.id
    }

    fn interest(&self) -> &Interest {
        &self.interest
    }

    fn rest(&self) {
        if let Some(life) = &mut self.state.lock().life {
            life.latest = None;
        }
    }

    fn step(&self, place: &mut Place) -> Step {
        let mut state = self.state.lock();
        let deleted = state.deleted_at;
        let deletion = |at| Step::End(Delivery::Deleted { topic: self.name.clone(), at });
        let Some(life) = &mut state.life else {
            return match deleted {
                Some(at) if at.log == place.at.log && place.at.offset < at.offset => deletion(at),
                _ => Step::CaughtUp,
            };
        };
        if std::mem::take(&mut place.unborn)
            && !deleted.is_some_and(|at| at.log == place.at.log && place.at.offset < at.offset)
        {
            // Wherever the end was when there was no topic: all of this one is new.
            place.at = Position { log: life.log, offset: life.created };
        }
        if place.at.log != life.log || life.is_stale(place.at.offset) || life.hidden {
            return deletion(deleted.unwrap_or(Position { log: life.log, offset: life.deleted_at }));
        }
        place.at.offset = life.not_before(place.at.offset);
        let at = |offset| Position { log: life.log, offset };
        if place.at.offset < life.trimmed_through {
            let first_available = at(life.trimmed_through);
            let delivery = Delivery::Gap { topic: Some(self.name.clone()), first_available, at: first_available };
            return Step::Deliver { delivery, next: first_available };
        }
        if place.at.offset >= life.last {
            let end = at(life.tail_end());
            return match life.closed {
                true => Step::End(Delivery::Closed { topic: self.name.clone(), at: end }),
                false => Step::CaughtUp,
            };
        }
        if place.at.offset < life.tail_from {
            let request = ReadRequest {
                topic: self.name.clone(),
                created: life.created,
                after: place.at.offset,
                messages: DELIVERY_MESSAGES_MAX,
                bytes: DELIVERY_BYTES_MAX,
            };
            return Step::Behind(History::Topic { log: life.log, request, until: life.tail_from });
        }
        let batch = life.shared_batch(place.at.offset);
        let next = batch.next();
        let up_to_date = next.offset >= life.last;
        let closed = up_to_date && life.closed;
        Step::Deliver { delivery: Delivery::Messages { batch, up_to_date, closed }, next }
    }
}

fn stale_by_deletion(name: &TopicName) -> Error {
    Error::new(
        Kind::StaleCursor,
        format!("the topic {name} was deleted since this cursor was given out; start again with -1"),
    )
}

fn topic_deleted(name: &TopicName) -> Error {
    Error::new(Kind::TopicDeleted, format!("the topic {name} was deleted; when it exists again, start with -1"))
}
