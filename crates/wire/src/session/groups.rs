//! Consumer groups in a session: the members of the commands, the answers, and the frames that deliver.
//!
//! ```json
//! {"id":1,"consume":{"group":"g","credit":10}}      {"id":1,"ok":{"consumer":7}}
//! {"consumer":7,"messages":[{…,"delivery":{…}}]}    {"id":2,"ack":{"consumer":7,"deliveries":["…"]}}
//! ```

use serde::{Deserialize, Serialize};

use crate::duration::Span;
use crate::groups::DeliveryId;
use crate::json;
use crate::problem::object::Problem;

/// An offer to take a group's messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consume {
    /// The group's name.
    pub group: String,
    /// How many unacknowledged messages at once; 1, unless told.
    #[serde(default = "one")]
    pub credit: u32,
    /// What the consumer calls itself among the group's members; nothing, unless told.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub member: String,
}

/// The work of these is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ack {
    /// The consumer's number.
    pub consumer: u64,
    /// Which deliveries of its group.
    pub deliveries: Vec<DeliveryId>,
}

/// These are given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nack {
    /// The consumer's number.
    pub consumer: u64,
    /// Which deliveries of its group.
    pub deliveries: Vec<DeliveryId>,
    /// How long they rest before they are handed out again; as the group's backoff says, unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Span>,
}

/// These take longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extend {
    /// The consumer's number.
    pub consumer: u64,
    /// Which deliveries of its group.
    pub deliveries: Vec<DeliveryId>,
    /// How long from now; the group's `ack_wait`, unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Span>,
}

/// Another number of messages that may be unacknowledged at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credit {
    /// The consumer's number.
    pub consumer: u64,
    /// How many; 0 pauses.
    pub credit: u32,
}

/// An end to taking a group's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unconsume {
    /// The consumer's number.
    pub consumer: u64,
}

/// Answers `consume`. `ack`, `nack` and `extend` are answered with [`crate::groups::Results`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consuming {
    /// The number that its deliveries carry.
    pub consumer: u64,
}

/// Writes a frame of deliveries, envelope by envelope.
#[derive(Debug)]
pub struct Deliveries<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Deliveries<'a> {
    /// Begins the frame.
    pub fn open(out: &'a mut Vec<u8>, consumer: u64) -> Self {
        out.extend_from_slice(b"{\"consumer\":");
        json::write_u64(out, consumer);
        out.extend_from_slice(b",\"messages\":[");
        Self { out, empty: true }
    }

    /// Where to write the next envelope, with [`crate::groups::write`].
    #[expect(clippy::should_implement_trait, reason = "the vector is lent to the caller, which an iterator cannot")]
    pub fn next(&mut self) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out
    }

    /// Ends the frame.
    pub fn close(self) {
        self.out.extend_from_slice(b"]}");
    }
}

/// Appends the notice that a consumer gets nothing more: `{"consumer":7,"ended":{…problem…}}`.
pub fn ended(out: &mut Vec<u8>, consumer: u64, problem: &Problem) {
    out.extend_from_slice(b"{\"consumer\":");
    json::write_u64(out, consumer);
    json::write_name(out, "ended");
    json::write(out, problem);
    out.push(b'}');
}

fn one() -> u32 {
    1
}
