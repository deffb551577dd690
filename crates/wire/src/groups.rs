//! Consumer groups, `/groups/…`: serde types for both ends. What a group hands out is an envelope with one more member:
//!
//! ```json
//! {"topic":"work/a",…,"data":"hi","delivery":{"id":"<token>.2","count":2,"reason":"timeout","until":"2026-…Z"}}
//! ```

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::duration::Span;
use crate::envelope::{self, Envelope, Parts};
use crate::json;
use crate::payload::BadData;
use crate::token::{Since, Token};

/// The body of `PUT /groups/{group}`. What is left out has its default, also when the group is there already.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewGroup {
    /// The topics whose messages it shares out; a topic's name is a filter without wildcards.
    pub filter: String,
    /// Where a new group begins; the start, unless told. A group that is there stays where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Since>,
    /// `disk` or `memory`; that of the topic, if the filter names one that exists, or the hub's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durability: Option<String>,
    /// A message that is not acknowledged for so long is handed out again; 30s, unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ack_wait: Option<Span>,
    /// A message that was handed out so often goes to the dead letters; 5 if there is a topic for them, else for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_deliver: Option<u32>,
    /// The topic of dead letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<String>,
    /// How long a message rests after the first failure, the second, and so on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backoff: Vec<Span>,
    /// Messages that may be in members' hands at once; 10,000, unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<u32>,
    /// Messages that one member may hold at once; 1,000, unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight_per_member: Option<u32>,
    /// The header whose value makes messages belong together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// One page of groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// In order of name.
    pub groups: Vec<Description>,
    /// The name after which the next page begins; `None` on the last.
    pub next: Option<String>,
}

/// What the hub tells about a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Its name.
    pub group: String,
    /// The topics whose messages it shares out.
    pub filter: String,
    /// `disk` or `memory`.
    pub durability: String,
    /// A message that is not acknowledged for so long is handed out again.
    pub ack_wait: Span,
    /// A message that was handed out so often goes to the dead letters.
    pub max_deliver: Option<u32>,
    /// The topic of dead letters.
    pub dead_letter: Option<String>,
    /// How long a message rests after the first failure, the second, and so on.
    pub backoff: Vec<Span>,
    /// Messages that may be in members' hands at once.
    pub max_in_flight: u32,
    /// Messages that one member may hold at once.
    pub max_in_flight_per_member: u32,
    /// The header whose value makes messages belong together.
    pub key: Option<String>,
    /// Every matching message up to here is claimed.
    pub cursor: Token,
    /// Messages that match and are not claimed yet.
    pub lag: u64,
    /// There may be more: not all topics were counted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lag_is_at_least: bool,
    /// Messages in members' hands.
    pub in_flight: u64,
    /// Messages that are claimed and wait to be handed out, again or behind others of their key.
    pub waiting: u64,
    /// What has happened since the group was created.
    pub counts: Counts,
    /// Who is there.
    pub members: Vec<Member>,
    /// What keeps the group from going on, if anything does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What has happened in a group since it was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Times that a message was handed out.
    pub delivered: u64,
    /// Of these, times that it was not the first.
    pub redelivered: u64,
    /// Messages that were acknowledged.
    pub acknowledged: u64,
    /// Messages that went to the dead letters.
    pub dead_lettered: u64,
    /// Messages that retention or a deletion took before they were settled.
    pub lost: u64,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// What it calls itself; may be empty.
    pub name: String,
    /// Messages in its hands.
    pub in_flight: u32,
    /// Messages that it may hold.
    pub limit: u32,
    /// Whether it is connected; otherwise it claims.
    pub connected: bool,
}

/// Names one delivery of a message: which, and the how manieth time. Clients treat it as opaque.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId {
    /// The message.
    pub message: Token,
    /// How often it had been handed out with this delivery; from 1.
    pub count: u32,
}

/// A text that names no delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a delivery is named by the `id` that it came with, unchanged")]
pub struct BadDelivery;

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.message, self.count)
    }
}

impl FromStr for DeliveryId {
    type Err = BadDelivery;

    fn from_str(text: &str) -> Result<Self, BadDelivery> {
        let (message, count) = text.split_once('.').ok_or(BadDelivery)?;
        let digits = !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit());
        let count = count.parse().ok().filter(|count| digits && *count > 0).ok_or(BadDelivery)?;
        Ok(Self { message: message.parse().map_err(|_| BadDelivery)?, count })
    }
}

impl Serialize for DeliveryId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DeliveryId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// How a message was handed out: the member `delivery` of its envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// What to acknowledge it by.
    pub id: DeliveryId,
    /// How often it has been handed out, with this time.
    pub count: u32,
    /// Why: `new`, `nack`, `timeout`, `member-lost` or `redrive`.
    pub reason: Cow<'static, str>,
    /// It has to be acknowledged or extended until then, in Unix milliseconds.
    #[serde(with = "crate::time::rfc3339")]
    pub until: u64,
}

/// A message that a group has handed out.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "envelope::Wire")]
pub struct Delivered {
    /// The message.
    pub message: Envelope,
    /// How it was handed out.
    pub delivery: Delivery,
}

/// Appends the envelope of a message that is handed out. Header names must be unique.
pub fn write<'h>(
    out: &mut Vec<u8>,
    parts: &Parts<'_>,
    headers: impl IntoIterator<Item = (&'h str, &'h str)>,
    delivery: &Delivery,
) {
    envelope::write(out, parts, headers);
    // The object is opened again for its last member.
    out.pop();
    json::write_name(out, "delivery");
    json::write(out, delivery);
    out.push(b'}');
}

/// An envelope that is not what a group hands out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadDelivered {
    #[error(transparent)]
    Data(#[from] BadData),
    #[error("`delivery` is missing")]
    NoDelivery,
}

impl TryFrom<envelope::Wire> for Delivered {
    type Error = BadDelivered;

    fn try_from(mut wire: envelope::Wire) -> Result<Self, BadDelivered> {
        let delivery = wire.delivery.take().ok_or(BadDelivered::NoDelivery)?;
        Ok(Self { message: wire.try_into()?, delivery })
    }
}

/// The body of `ack`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acknowledge {
    /// Which.
    pub deliveries: Vec<DeliveryId>,
}

/// The body of `nack`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GiveBack {
    /// Which.
    pub deliveries: Vec<DeliveryId>,
    /// How long they rest before they are handed out again; as the group's backoff says, unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Span>,
}

/// The body of `extend`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extend {
    /// Which.
    pub deliveries: Vec<DeliveryId>,
    /// How long from now; the group's `ack_wait`, unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Span>,
}

/// Answers `ack`, `nack` and `extend`, in the order in which it was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Results {
    /// One for each delivery.
    pub results: Vec<Answered>,
}

/// What became of a word about a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// Which delivery.
    pub id: DeliveryId,
    /// What became of it.
    pub result: Outcome,
}

/// What became of a word about a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It is done.
    Done,
    /// The message was settled before; nothing changed.
    Settled,
    /// The delivery is over: its time was up, or the message was handed out again since.
    Over,
    /// No such delivery was made.
    Unknown,
}

/// Answers `redrive`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redriven {
    /// Dead letters whose originals the group hands out again.
    pub redelivered: u64,
    /// Dead letters that were published again, since their originals are gone.
    pub republished: u64,
    /// Dead letters that stay what they are: their topic is closed, or takes no such message any more.
    #[serde(default)]
    pub kept: u64,
    /// Whether there are more; ask again then.
    pub more: bool,
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::envelope::tests::envelopes;
    use crate::time;

    pub(crate) fn delivery_ids() -> impl Strategy<Value = DeliveryId> {
        (1u32.., any::<u64>(), 1u32..)
            .prop_map(|(log, offset, count)| DeliveryId { message: Token { log, offset }, count })
    }

    pub(crate) fn delivered() -> impl Strategy<Value = Delivered> {
        (envelopes(), delivery_ids(), "[a-z-]{1,12}", 0..=time::UNIX_MS_MAX).prop_map(|(message, id, reason, until)| {
            let delivery = Delivery { id, count: id.count, reason: reason.into(), until };
            Delivered { message, delivery }
        })
    }

    /// Writes a message as the hub does.
    pub(crate) fn write_delivered(out: &mut Vec<u8>, delivered: &Delivered) {
        let message = &delivered.message;
        let parts = Parts {
            topic: &message.topic,
            offset: message.offset,
            previous: message.previous,
            time_ms: message.time_ms,
            content_type: &message.body.content_type,
            payload: &message.body.bytes,
        };
        let headers = message.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        write(out, &parts, headers, &delivered.delivery);
    }

    #[test]
    fn deliveries_are_named_as_documented() {
        let id = DeliveryId { message: Token { log: 1, offset: 43 }, count: 2 };
        assert_eq!(id.to_string(), "00000001_000000000000002b.2");
        for bad in ["", ".", "00000001_000000000000002b", "00000001_000000000000002b.", "00000001_000000000000002b.0"] {
            assert_eq!(bad.parse::<DeliveryId>(), Err(BadDelivery), "{bad}");
        }
        for bad in ["00000001_000000000000002b.+1", "00000001_000000000000002b.5000000000", "x.1"] {
            assert_eq!(bad.parse::<DeliveryId>(), Err(BadDelivery), "{bad}");
        }
    }

    #[test]
    fn an_envelope_alone_is_nothing_handed_out() {
        let envelope = concat!(
            r#"{"topic":"t","offset":"00000001_000000000000002b","previous":"00000001_000000000000002a","#,
            r#""time":"2026-01-01T00:00:00Z","type":"text/plain","data":"a"}"#,
        );
        let error = serde_json::from_str::<Delivered>(envelope).unwrap_err();
        assert!(error.to_string().contains("`delivery` is missing"), "{error}");
    }

    #[test]
    fn a_new_group_says_little_and_nothing_unknown() {
        let group: NewGroup =
            serde_json::from_str(r#"{"filter":"work/#","ack_wait":"1m","backoff":[1,"5s"]}"#).unwrap();
        assert_eq!(group.backoff.len(), 2);
        assert_eq!(
            serde_json::to_string(&group).unwrap(),
            r#"{"filter":"work/#","ack_wait":"1m","backoff":["1s","5s"]}"#
        );
        let error = serde_json::from_str::<NewGroup>(r#"{"filter":"a","ackwait":"1m"}"#).unwrap_err();
        assert!(error.to_string().contains("`ackwait`"), "{error}");
    }

    proptest! {
        #[test]
        fn delivery_ids_come_back(id in delivery_ids()) {
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }

        #[test]
        fn deliveries_come_back(delivered in delivered()) {
            let mut out = Vec::new();
            write_delivered(&mut out, &delivered);
            prop_assert_eq!(serde_json::from_slice::<Delivered>(&out).unwrap(), delivered.clone());
            // Whoever knows nothing of groups sees a message.
            prop_assert_eq!(serde_json::from_slice::<Envelope>(&out).unwrap(), delivered.message);
        }
    }
}
