//! Who holds what, what is due, what belongs together: a group's state while it runs, without any waiting.
//!
//! It is told the time and what members say, decides what is handed to whom, and collects what changes in a
//! [`GroupStep`]. When that is committed, [`Board::committed`] makes the change final; otherwise [`Board::undo`] takes
//! it back.
//!
//! A claimed message is in one of these places: leased to a member; resting until it is due; runnable, for anybody or
//! for the member that its key belongs to; parked behind others of its key; dying, when it was handed out often enough.

mod members;
mod place;
mod plan;
#[cfg(test)]
mod tests;
mod words;

pub(super) use self::members::MemberId;
pub(super) use self::plan::{Assignment, Dying};

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::cursor::Offset;
use crate::group::{GroupConfig, GroupCounts, GroupState, GroupStep, Held, HeldState};
use crate::message::Message;
use crate::name::TopicName;
use crate::patterns::publish_subscribe::groups::board::members::Members;

/// Payload bytes of claimed messages that are kept in memory while they wait; what is beyond is read again.
pub(super) const LOADED_BYTES_MAX: usize = 4 << 20;
/// Keys without messages whose member is remembered.
const IDLE_KEYS_MAX: usize = 65_536;

/// A group's state while it runs.
#[derive(Debug)]
pub(super) struct Board {
    config: Arc<GroupConfig>,
    now: Timestamp,
    claimed_through: Offset,
    redriven_through: Offset,
    counts: GroupCounts,
    held: BTreeMap<Offset, Entry>,
    /// When leases end and rests are over.
    timers: BTreeSet<(Timestamp, Offset)>,
    /// To be handed to anybody.
    runnable: BTreeSet<Offset>,
    /// To go to the dead letters.
    dying: BTreeSet<Offset>,
    /// Read back from the log without their messages, so that their keys are not known yet.
    keyless: BTreeSet<Offset>,
    keys: HashMap<Arc<str>, Key>,
    /// Those without messages, by how long they have been.
    idle_keys: BTreeMap<u64, Arc<str>>,
    n_idled: u64,
    members: Members,
    n_leased: usize,
    /// Read, and not claimed yet.
    ready: VecDeque<Arc<Message>>,
    loaded_bytes: usize,
    /// What entries were before this round.
    before: BTreeMap<Offset, Before>,
    committed: Committed,
}

/// A claimed message.
#[derive(Debug, Clone)]
struct Entry {
    held: Held,
    member: Option<MemberId>,
    key: KeyOf,
    message: Option<Arc<Message>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum KeyOf {
    None,
    Unknown,
    Is(Arc<str>),
}

/// Messages that belong together: one is handed out at a time.
#[derive(Debug, Default)]
struct Key {
    /// The member that they go to while it lives.
    owner: Option<MemberId>,
    /// All that are held.
    offsets: BTreeSet<Offset>,
    /// The one in the member's hands.
    leased: Option<Offset>,
    /// The one that waits for nothing but its time and its member.
    placed: Option<Offset>,
    /// Where it is among those without messages.
    idle: Option<u64>,
}

/// What an entry was before this round.
#[derive(Debug)]
enum Before {
    /// A message that was not claimed.
    Ready(Arc<Message>),
    /// An entry; or none, of a dead letter that is tried again.
    Was(Option<Entry>),
}

/// What is in the log.
#[derive(Debug, Clone, Copy)]
struct Committed {
    claimed_through: Offset,
    redriven_through: Offset,
    counts: GroupCounts,
}

impl Board {
    /// A group as its log tells it.
    pub(super) fn new(state: &GroupState, now: Timestamp) -> Self {
        let (claimed_through, redriven_through) = (state.claimed_through, state.redriven_through);
        let counts = state.counts;
        let mut board = Self {
            config: Arc::clone(&state.config),
            now,
            claimed_through,
            redriven_through,
            counts,
            held: BTreeMap::new(),
            timers: BTreeSet::new(),
            runnable: BTreeSet::new(),
            dying: BTreeSet::new(),
            keyless: BTreeSet::new(),
            keys: HashMap::new(),
            idle_keys: BTreeMap::new(),
            n_idled: 0,
            members: Members::default(),
            n_leased: 0,
            ready: VecDeque::new(),
            loaded_bytes: 0,
            before: BTreeMap::new(),
            committed: Committed { claimed_through, redriven_through, counts },
        };
        let key = if state.config.key.is_some() { KeyOf::Unknown } else { KeyOf::None };
        for (offset, held) in &state.held {
            let entry = Entry { held: held.clone(), member: None, key: key.clone(), message: None };
            board.insert(*offset, entry);
        }
        board
    }

    /// Sets the group up differently. The key of messages that are held is looked up anew.
    pub(super) fn configure(&mut self, config: Arc<GroupConfig>) {
        let rekey = self.config.key != config.key;
        self.config = config;
        let offsets: Vec<Offset> = self.held.keys().copied().collect();
        let entries: Vec<(Offset, Entry)> = offsets.into_iter().filter_map(|o| Some((o, self.remove(o)?))).collect();
        for (offset, mut entry) in entries {
            if rekey {
                entry.key = if self.config.key.is_some() { KeyOf::Unknown } else { KeyOf::None };
            }
            self.insert(offset, entry);
        }
        self.members.limit_all(self.config.in_flight_per_member);
    }

    pub(super) fn config(&self) -> &Arc<GroupConfig> {
        &self.config
    }

    pub(super) fn claimed_through(&self) -> Offset {
        self.claimed_through
    }

    pub(super) fn redriven_through(&self) -> Offset {
        self.redriven_through
    }

    pub(super) fn counts(&self) -> GroupCounts {
        self.counts
    }

    pub(super) fn n_leased(&self) -> usize {
        self.n_leased
    }

    pub(super) fn n_held(&self) -> usize {
        self.held.len()
    }

    /// Behind this offset the feed goes on.
    pub(super) fn read_through(&self) -> Offset {
        self.ready.back().map_or(self.claimed_through, |message| message.offset.max(self.claimed_through))
    }

    /// Whether a member could be given something that has not been read yet.
    pub(super) fn wants_messages(&self) -> bool {
        self.ready.is_empty() && self.keyless.is_empty() && self.can_claim() && self.members.is_any_hungry()
    }

    /// Takes what was read of the log.
    pub(super) fn offer(&mut self, messages: &[Arc<Message>]) {
        let read = self.read_through();
        // Where a claim was lost, some of what is read again is held.
        let is_new = |message: &&Arc<Message>| message.offset > read && !self.held.contains_key(&message.offset);
        self.ready.extend(messages.iter().filter(is_new).cloned());
    }

    /// Claimed messages that are needed now and not in memory.
    pub(super) fn to_load(&self, n_max: usize) -> Vec<(Offset, TopicName)> {
        let in_flight = (self.config.in_flight as usize).saturating_sub(self.n_leased);
        let room = usize::try_from(self.members.room()).unwrap_or(usize::MAX).min(in_flight);
        let owned = self.members.iter().flat_map(|(_, m)| m.runnable.iter().take(m.room() as usize));
        let mut missing = BTreeSet::new();
        self.add_missing(self.keyless.iter(), n_max, &mut missing);
        self.add_missing(self.dying.iter(), n_max, &mut missing);
        self.add_missing(self.runnable.iter().take(room), n_max, &mut missing);
        self.add_missing(owned.take(in_flight), n_max, &mut missing);
        missing.into_iter().filter_map(|o| Some((o, self.held.get(&o)?.held.topic.clone()))).collect()
    }

    /// Adds those that are not in memory, until those before them that are fill the memory that they may take.
    fn add_missing<'a>(&self, wanted: impl Iterator<Item = &'a Offset>, n_max: usize, missing: &mut BTreeSet<Offset>) {
        let mut bytes = 0;
        for offset in wanted {
            match self.held.get(offset).map(|entry| &entry.message) {
                Some(Some(message)) => bytes += message.size(),
                Some(None) => drop(missing.insert(*offset)),
                None => {}
            }
            if missing.len() >= n_max || bytes > LOADED_BYTES_MAX {
                return;
            }
        }
    }

    /// Takes a message that was asked for. If it is gone, so is the claim.
    pub(super) fn loaded(&mut self, offset: Offset, message: Option<Arc<Message>>) {
        let Some(mut entry) = self.remove(offset) else { return };
        let Some(message) = message else {
            self.before.entry(offset).or_insert(Before::Was(Some(entry)));
            self.counts.lost += 1;
            return;
        };
        let needed = entry.key != KeyOf::Unknown && entry.held.state != HeldState::Leased;
        if entry.key == KeyOf::Unknown {
            entry.key = self.key_of(&message);
        }
        entry.message = Some(message);
        // What is needed now stays, or it would be read again and again.
        if needed { self.put(offset, entry) } else { self.insert(offset, entry) }
    }

    /// When something is due next.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// What has changed in this round, to be committed.
    pub(super) fn step(&self) -> GroupStep {
        let mut step = GroupStep { counts: self.counts, ..GroupStep::default() };
        for offset in self.before.keys() {
            match self.held.get(offset) {
                Some(entry) => step.held.push((*offset, entry.held.clone())),
                None => step.settled.push(*offset),
            }
        }
        if self.claimed_through > self.committed.claimed_through {
            step.claimed_through = self.claimed_through;
        }
        if self.redriven_through > self.committed.redriven_through {
            step.redriven_through = self.redriven_through;
        }
        step
    }

    /// The step is in the log.
    pub(super) fn committed(&mut self) {
        self.before.clear();
        let (claimed_through, redriven_through) = (self.claimed_through, self.redriven_through);
        self.committed = Committed { claimed_through, redriven_through, counts: self.counts };
        self.members.end_round();
    }

    /// The step is not in the log: everything is as it was before this round.
    pub(super) fn undo(&mut self) {
        let Committed { claimed_through, redriven_through, counts } = self.committed;
        (self.claimed_through, self.redriven_through, self.counts) = (claimed_through, redriven_through, counts);
        for (offset, before) in std::mem::take(&mut self.before).into_iter().rev() {
            drop(self.remove(offset));
            match before {
                Before::Ready(message) => self.ready.push_front(message),
                Before::Was(Some(entry)) => self.insert(offset, entry),
                Before::Was(None) => {}
            }
        }
        self.members.end_round();
    }
}
