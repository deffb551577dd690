//! What members of a group say and get.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::cursor::{LogId, Offset, Position};
use crate::error::Error;
use crate::fanout::Taken;
use crate::group::{GroupConfig, GroupCounts, GroupName, Why};
use crate::message::Message;

/// Names one delivery of a message: which, and the how manieth time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId {
    /// The message.
    pub position: Position,
    /// How often it had been handed out with this delivery; from 1.
    pub count: u32,
}

/// A message that was handed to a member.
#[derive(Debug, Clone)]
pub struct Handed {
    /// The message.
    pub message: Arc<Message>,
    /// The log it is in.
    pub log: LogId,
    /// How often it has been handed out, with this time.
    pub count: u32,
    /// Why.
    pub why: Why,
    /// It has to be acknowledged or extended until then.
    pub until: Timestamp,
}

impl Handed {
    /// What to acknowledge it by.
    pub fn id(&self) -> DeliveryId {
        DeliveryId { position: Position { log: self.log, offset: self.message.offset }, count: self.count }
    }
}

/// Where a member's messages go.
pub trait Consumer: Send + 'static {
    /// Takes messages without ever blocking, all of them or none; there is at least one. What is not taken is offered
    /// again when there is room, unless its time was up and another member has it.
    fn take(&mut self, handed: &[Handed]) -> Taken;

    /// Nothing more will come: the group was deleted, or the hub is stopping.
    fn end(&mut self, error: &Error);
}

/// What became of an acknowledgement, or of another word about a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done,
    /// The message was settled before; nothing changed.
    Settled,
    /// The delivery is over: its time was up, or the message was handed out again since.
    Over,
    /// No such delivery was made.
    Unknown,
}

impl Answer {
    /// The word for it on wires.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Settled => "settled",
            Self::Over => "over",
            Self::Unknown => "unknown",
        }
    }
}

/// What can be told of a group.
#[derive(Debug, Clone)]
pub struct GroupInfo {
    /// Its name.
    pub group: GroupName,
    /// How it is set up.
    pub config: Arc<GroupConfig>,
    /// The log that it shares out.
    pub log: LogId,
    /// Where it was created.
    pub created: Offset,
    /// Every matching message at or below this is claimed.
    pub claimed_through: Offset,
    /// Messages that match and are not claimed yet.
    pub lag: u64,
    /// There may be more: not all topics were counted.
    pub lag_is_at_least: bool,
    /// Messages in members' hands.
    pub in_flight: usize,
    /// Messages that are claimed and wait to be handed out, again or behind others of their key.
    pub waiting: usize,
    /// What has happened so far.
    pub counts: GroupCounts,
    /// Who is there.
    pub members: Vec<MemberInfo>,
    /// What keeps the group from going on, if anything does.
    pub problem: Option<String>,
}

/// What can be told of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberInfo {
    /// What it calls itself; may be empty.
    pub name: Arc<str>,
    /// Messages in its hands.
    pub in_flight: u32,
    /// Messages that it may hold.
    pub limit: u32,
    /// Whether it is connected; otherwise it claims.
    pub connected: bool,
}

/// What a redrive has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Redriven {
    /// Dead letters whose originals the group hands out again.
    pub redelivered: u64,
    /// Dead letters that were published again, since their originals are gone.
    pub republished: u64,
    /// Dead letters that stay what they are: their topic is closed, or takes no such message any more.
    pub kept: u64,
    /// Whether there are more.
    pub more: bool,
}
