//! Consumer groups: a durable cursor that several consumers share, and what of it they hold.
//!
//! A group claims messages of the topics that match its filter, hands each to one consumer, and settles it when that
//! consumer acknowledges it. These are the words and the state; how messages are handed out is
//! [`crate::patterns::publish_subscribe`]'s business, and how the state is kept is the ledger's.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::cursor::Offset;
use crate::error::{Error, Kind, Result};
use crate::name::{Filter, TopicName};

/// Messages that one group may have claimed and not settled.
pub const GROUP_HELD_MAX: usize = 65_536;
/// Delays in a group's list.
pub const GROUP_BACKOFF_MAX: usize = 32;
/// No time in a group is longer: to acknowledge, to rest, to be kept for longer.
pub const GROUP_TIME_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// The name of the log's own topic of a group begins with this.
const TOPIC_PREFIX: &str = "$groups/";

/// The name of a group: one level of at most 128 bytes under the rules of a topic name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(TopicName);

impl GroupName {
    /// Checks a name.
    pub fn parse(text: &str) -> Result<Self> {
        if text.contains(['/', '+', '#']) || text.len() > 128 || text.starts_with('$') {
            return Err(Error::new(
                Kind::BadName,
                "a group name is one level of at most 128 bytes, does not begin with $, and holds no + or #",
            ));
        }
        TopicName::parse(text)?;
        Ok(Self(TopicName::parse(&format!("{TOPIC_PREFIX}{text}"))?))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str().strip_prefix(TOPIC_PREFIX).unwrap_or_default()
    }

    /// The topic that the log keeps the group's state under. It never holds messages.
    pub fn topic(&self) -> &TopicName {
        &self.0
    }

    /// The group whose state is kept under a topic.
    pub fn of_topic(topic: &TopicName) -> Option<Self> {
        topic.as_str().starts_with(TOPIC_PREFIX).then(|| Self(topic.clone()))
    }
}

impl fmt::Debug for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a group is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupConfig {
    /// The topics whose messages it shares out.
    pub filter: Filter,
    /// A message that is not acknowledged for so long is handed out again.
    pub ack_wait: Duration,
    /// A message that was handed out so often goes to the dead letters instead of being handed out again.
    pub max_deliver: Option<u32>,
    /// How long a message rests before it is handed out again: after the first failure, the second, and so on; the
    /// last holds for all that follow. Empty: not at all.
    pub backoff: Vec<Duration>,
    /// Messages that may be in consumers' hands at once.
    pub in_flight: u32,
    /// Messages that one consumer may hold at once.
    pub in_flight_per_member: u32,
    /// Where messages go that were handed out often enough. Without it, they are handed out for ever.
    pub dead_letter: Option<TopicName>,
    /// The header whose value makes messages belong together: those of one value are handed out one after the other,
    /// in order, to the same member while it lives.
    pub key: Option<Box<str>>,
}

impl GroupConfig {
    /// A group over these topics, with the defaults.
    pub fn new(filter: Filter) -> Self {
        Self {
            filter,
            ack_wait: Duration::from_secs(30),
            max_deliver: None,
            backoff: Vec::new(),
            in_flight: 10_000,
            in_flight_per_member: 1_000,
            dead_letter: None,
            key: None,
        }
    }

    /// Refuses what cannot be.
    pub fn check(&self) -> Result<()> {
        let refuse = |detail: String| Err(Error::new(Kind::BadRequest, detail));
        if self.filter.as_str().starts_with('$') {
            return refuse("a group cannot share out the hub's own topics; its filter must not begin with $".into());
        }
        if self.ack_wait < Duration::from_millis(100) || self.ack_wait > GROUP_TIME_MAX {
            return refuse("ack_wait is at least 100ms and at most 7d".into());
        }
        if self.backoff.len() > GROUP_BACKOFF_MAX || self.backoff.iter().any(|delay| *delay > GROUP_TIME_MAX) {
            return refuse(format!("backoff has at most {GROUP_BACKOFF_MAX} delays of at most 7d"));
        }
        let in_flight = 1..=GROUP_HELD_MAX as u32;
        if !in_flight.contains(&self.in_flight) || !in_flight.contains(&self.in_flight_per_member) {
            return refuse(format!("between 1 and {GROUP_HELD_MAX} messages may be in flight, in all and per member"));
        }
        match (&self.dead_letter, self.max_deliver) {
            (None, Some(_)) => {
                return refuse("max_deliver needs a dead_letter topic for what was delivered that often".into());
            }
            (Some(_), None | Some(0)) => return refuse("with a dead_letter topic, max_deliver is at least 1".into()),
            (None, None) | (Some(_), Some(_)) => {}
        }
        if let Some(topic) = &self.dead_letter {
            if topic.is_reserved() {
                return refuse("the hub's own topics cannot take dead letters; choose another name".into());
            }
            if self.filter.matches(topic) {
                return refuse(format!("the dead_letter topic {topic} must not match the group's own filter"));
            }
        }
        if let Some(key) = &self.key
            && (key.is_empty()
                || key.len() > 128
                || key.bytes().any(|b| !b.is_ascii_graphic() || b.is_ascii_uppercase()))
        {
            return refuse("key is the name of a header, in lower case, of at most 128 bytes".into());
        }
        Ok(())
    }

    /// How long a message rests that has been handed out so often.
    pub fn backoff_after(&self, count: u32) -> Duration {
        let n = usize::try_from(count.saturating_sub(1)).unwrap_or(usize::MAX);
        self.backoff.get(n).or(self.backoff.last()).copied().unwrap_or_default()
    }
}

/// Why a message is handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// It is new.
    New,
    /// Its consumer gave it back.
    Nack,
    /// Its consumer did not acknowledge it in time.
    Timeout,
    /// Its consumer went away.
    MemberLost,
    /// It was a dead letter, and somebody wants it tried again.
    Redrive,
}

impl Why {
    /// The word for it on wires and in headers.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Nack => "nack",
            Self::Timeout => "timeout",
            Self::MemberLost => "member-lost",
            Self::Redrive => "redrive",
        }
    }
}

/// A message that a group has claimed and not settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its topic.
    pub topic: TopicName,
    /// How often it was handed out.
    pub count: u32,
    /// Whether it is in a consumer's hands.
    pub state: HeldState,
    /// In a consumer's hands: until then. Otherwise: not to be handed out before.
    pub due: Timestamp,
}

/// Where a claimed message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldState {
    /// In a consumer's hands.
    Leased,
    /// Waiting to be handed out, and why it will be.
    Waiting(Why),
}

/// A group's state in its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupState {
    /// How it is set up.
    pub config: Arc<GroupConfig>,
    /// Every matching message at or below this offset has been claimed.
    pub claimed_through: Offset,
    /// Those that are not settled yet.
    pub held: BTreeMap<Offset, Held>,
    /// Dead letters at or below this offset have been tried again.
    pub redriven_through: Offset,
    /// What has happened so far.
    pub counts: GroupCounts,
}

impl GroupState {
    /// A group that begins behind an offset.
    pub fn new(config: Arc<GroupConfig>, start: Offset) -> Self {
        Self {
            config,
            claimed_through: start,
            held: BTreeMap::new(),
            redriven_through: Offset::ZERO,
            counts: GroupCounts::default(),
        }
    }

    /// Everything at or below this offset is settled.
    pub fn floor(&self) -> Offset {
        let first = self.held.first_key_value().map(|(first, _)| Offset(first.0.saturating_sub(1)));
        first.map_or(self.claimed_through, |first| first.min(self.claimed_through))
    }

    /// Folds in a step; `changed` is told what each entry was before.
    pub(crate) fn apply(&mut self, step: &GroupStep, mut changed: impl FnMut(Offset, Option<Held>)) {
        // Otherwise a claim before it was lost with a damaged part of the log, and what that one claimed is nowhere: so
        // whatever came behind is claimed once more.
        if step.claimed_from <= self.claimed_through {
            self.claimed_through = self.claimed_through.max(step.claimed_through);
        }
        self.redriven_through = self.redriven_through.max(step.redriven_through);
        self.counts = step.counts;
        for (offset, held) in &step.held {
            changed(*offset, self.held.insert(*offset, held.clone()));
        }
        for offset in &step.settled {
            if let Some(before) = self.held.remove(offset) {
                changed(*offset, Some(before));
            }
        }
    }
}

/// What has happened in a group since it was created. Durable, like all of its state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupCounts {
    /// Times that a message was handed out.
    pub delivered: u64,
    /// Of these, times that it was not the first.
    pub redelivered: u64,
    /// Messages that were acknowledged.
    pub acknowledged: u64,
    /// Messages that went to the dead letters.
    pub dead_lettered: u64,
    /// Messages that retention by bytes, or a deletion, took before they were settled.
    pub lost: u64,
}

/// One change of a group's state: committed as a whole, with what is appended in the same transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupStep {
    /// Every matching message up to here is claimed (0: as before).
    pub claimed_through: Offset,
    /// If it claims, up to where everything was claimed before it. The ledger fills it in.
    pub claimed_from: Offset,
    /// Messages that are claimed now, or whose claim has changed.
    pub held: Vec<(Offset, Held)>,
    /// Messages that are settled. Those that were settled before do no harm.
    pub settled: Vec<Offset>,
    /// Dead letters up to here have been tried again (0: as before).
    pub redriven_through: Offset,
    /// The group's counts behind this step.
    pub counts: GroupCounts,
}

impl GroupStep {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
            && self.settled.is_empty()
            && self.claimed_through == Offset::ZERO
            && self.redriven_through == Offset::ZERO
    }
}
