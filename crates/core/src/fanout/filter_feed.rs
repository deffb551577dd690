//! What comes for one filter from one log: the newest matching messages and notices, in log order.
//!
//! A feed exists while somebody follows its filter. What lies before it is read by scanning the log.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::batch::Batch;
use crate::cursor::{LogId, Offset, Position};
use crate::engine::{ScanRequest, Wanted};
use crate::fanout::Delivery;
use crate::fanout::source::{History, Interest, Place, Source, Step, next_source_id};
use crate::limits::{DELIVERY_BYTES_MAX, DELIVERY_MESSAGES_MAX};
use crate::message::Message;
use crate::name::{Filter, TopicName};

/// The feed of one filter.
pub(crate) struct FilterFeed {
    id: u64,
    log: LogId,
    filter: Filter,
    /// What does not fit is read by scanning the log.
    entries_max: usize,
    room: Arc<FeedRoom>,
    interest: Interest,
    /// Legs that use it, and follows that are about to: it is kept while there are any.
    pub(crate) n_users: Arc<AtomicUsize>,
    state: Mutex<State>,
}

struct State {
    entries: VecDeque<Entry>,
    /// Whatever matches and lies behind this is in `entries`.
    from: Offset,
    /// The batch that was made last and the place it was made for: most followers are at the same one.
    latest: Option<(Offset, Arc<Batch>)>,
}

#[derive(Debug, Clone)]
pub(crate) enum Entry {
    Message(Arc<Message>),
    Closed {
        topic: TopicName,
        offset: Offset,
    },
    Deleted {
        topic: TopicName,
        offset: Offset,
    },
    /// A message of a topic that was deleted since; the notice of that follows.
    Gone {
        offset: Offset,
    },
}

impl Entry {
    fn offset(&self) -> Offset {
        match self {
            Self::Message(message) => message.offset,
            Self::Closed { offset, .. } | Self::Deleted { offset, .. } | Self::Gone { offset } => *offset,
        }
    }
}

/// Entries of all feeds of a log together. Many different filters may match the same message, and each feed has an
/// entry of its own for it.
#[derive(Debug)]
pub(crate) struct FeedRoom {
    n_entries: AtomicUsize,
    n_max: usize,
}

impl FeedRoom {
    /// Room for so many entries.
    pub(crate) fn new(n_max: usize) -> Arc<Self> {
        Arc::new(Self { n_entries: AtomicUsize::new(0), n_max })
    }
}

impl FilterFeed {
    /// A feed of what comes behind `from`.
    pub(crate) fn new(log: LogId, filter: Filter, from: Offset, entries_max: usize, room: Arc<FeedRoom>) -> Self {
        let state = State { entries: VecDeque::new(), from, latest: None };
        Self {
            id: next_source_id(),
            log,
            filter,
            entries_max,
            room,
            interest: Interest::default(),
            n_users: Arc::default(),
            state: Mutex::new(state),
        }
    }

    pub(crate) fn push(&self, entry: Entry) {
        let mut state = self.state.lock();
        state.entries.push_back(entry);
        let n_entries = self.room.n_entries.fetch_add(1, Ordering::Relaxed) + 1;
        // Messages go when they leave the log's tail; notices alone would gather without an end, and so would messages
        // that are in many feeds. A batch of them always stays, so that who has caught up never has to scan.
        let full = state.entries.len() > self.entries_max
            || n_entries > self.room.n_max && state.entries.len() > DELIVERY_MESSAGES_MAX;
        if full && let Some(oldest) = state.entries.pop_front() {
            state.from = oldest.offset();
            self.room.n_entries.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Takes messages of a deleted topic out, from its last one back: a reader gets what it had not read yet, or is
    /// told of the deletion, but never gets a part with a hole.
    pub(crate) fn remove(&self, topic: &TopicName, last: Offset) {
        let mut state = self.state.lock();
        state.latest = None;
        let mut offset = last;
        while offset > Offset::ZERO {
            let at = state.entries.partition_point(|entry| entry.offset() < offset);
            let Some(entry) = state.entries.get_mut(at).filter(|entry| entry.offset() == offset) else { return };
            let Entry::Message(message) = entry else { return };
            // The message before a fork's first own one is its source's, which is not deleted.
            if message.topic != *topic {
                return;
            }
            let previous = message.previous;
            *entry = Entry::Gone { offset };
            offset = previous;
        }
    }

    /// Forgets what lies at or before an offset.
    pub(crate) fn evict(&self, through: Offset) {
        let mut state = self.state.lock();
        while state.entries.front().is_some_and(|entry| entry.offset() <= through) {
            state.entries.pop_front();
            state.from = state.from.max(through);
            self.room.n_entries.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn history(&self, after: Offset, through: Offset) -> History {
        let filter = self.filter.clone();
        let wanted: Wanted = Arc::new(move |topic| filter.matches(topic));
        let request =
            ScanRequest { after, through, wanted, messages: DELIVERY_MESSAGES_MAX, bytes: DELIVERY_BYTES_MAX };
        History::Filter { log: self.log, request }
    }
}

impl Drop for FilterFeed {
    fn drop(&mut self) {
        self.room.n_entries.fetch_sub(self.state.get_mut().entries.len(), Ordering::Relaxed);
    }
}

impl Source for FilterFeed {
    fn id(&self) -> u64 {
        self.id
    }

    fn interest(&self) -> &Interest {
        &self.interest
    }

    fn rest(&self) {
        self.state.lock().latest = None;
    }

    fn step(&self, place: &mut Place) -> Step {
        let mut state = self.state.lock();
        let after = place.at.offset;
        if after < state.from {
            return Step::Behind(self.history(after, state.from));
        }
        if place.known_trims.capacity() > 0 {
            place.known_trims = HashMap::new();
        }
        let first = state.entries.partition_point(|entry| entry.offset() <= after);
        let at = |offset| Position { log: self.log, offset };
        match state.entries.range(first..).find(|entry| !matches!(entry, Entry::Gone { .. })) {
            None | Some(Entry::Gone { .. }) => Step::CaughtUp,
            Some(Entry::Closed { topic, offset }) => {
                let delivery = Delivery::Closed { topic: topic.clone(), at: at(*offset) };
                Step::Deliver { delivery, next: at(*offset) }
            }
            Some(Entry::Deleted { topic, offset }) => {
                let delivery = Delivery::Deleted { topic: topic.clone(), at: at(*offset) };
                Step::Deliver { delivery, next: at(*offset) }
            }
            Some(Entry::Message(_)) => {
                let batch = match &state.latest {
                    Some((made_for, batch)) if *made_for == after => Arc::clone(batch),
                    _ => state.make_batch(first, self.log),
                };
                let next = batch.next();
                // The batch may have been made before more came; the next step finds that.
                let up_to_date = state.entries.back().is_some_and(|entry| entry.offset() <= next.offset);
                state.latest = Some((after, Arc::clone(&batch)));
                Step::Deliver { delivery: Delivery::Messages { batch, up_to_date, closed: false }, next }
            }
        }
    }
}

impl State {
    fn make_batch(&self, first: usize, log: LogId) -> Arc<Batch> {
        let mut messages = Vec::new();
        let mut bytes = 0;
        for entry in self.entries.range(first..) {
            let message = match entry {
                Entry::Message(message) => message,
                Entry::Gone { .. } => continue,
                Entry::Closed { .. } | Entry::Deleted { .. } => break,
            };
            bytes += message.payload.len();
            let full = messages.len() >= DELIVERY_MESSAGES_MAX || bytes > DELIVERY_BYTES_MAX;
            if full && !messages.is_empty() {
                break;
            }
            messages.push(Arc::clone(message));
        }
        let offset = messages.last().map_or(self.from, |message| message.offset);
        Arc::new(Batch::new(messages, Position { log, offset }))
    }
}
