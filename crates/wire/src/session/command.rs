//! What a client sends: `{"id":1,"subscribe":{…}}` and its like, each answered exactly once.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::envelope::Headers;
use crate::payload::Body;
use crate::session::groups::{Ack, Consume, Credit, Extend, Nack, Unconsume};
use crate::session::parse;
use crate::token::Since;

/// The longest `id` in bytes, which bounds what the hub keeps of a client for each unfinished command.
pub const ID_BYTES_MAX: usize = 255;

/// What a client calls its command, echoed in the answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Id {
    /// A number, echoed as it was written.
    Number(serde_json::Number),
    /// A string.
    Text(String),
}

impl From<u64> for Id {
    fn from(id: u64) -> Self {
        Id::Number(id.into())
    }
}

impl Id {
    /// The number, if it is one that fits.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Id::Number(number) => number.as_u64(),
            Id::Text(_) => None,
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Id::Number(number) => number.fmt(f),
            Id::Text(text) => text.fmt(f),
        }
    }
}

/// Everything a client can ask of a session.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Follow a topic or a filter.
    Subscribe(Subscribe),
    /// Stop following.
    Unsubscribe {
        /// The subscription's number.
        subscription: u64,
    },
    /// Add messages to a topic.
    Publish(Publish),
    /// Ask a service.
    Request(Request),
    /// Serve a service's requests.
    Respond(Respond),
    /// Answer a request.
    Reply(Reply),
    /// Tell how far a request has come.
    Progress(Progress),
    /// Stop serving.
    Unrespond {
        /// The responder's number.
        responder: u64,
    },
    /// Take a group's messages.
    Consume(Consume),
    /// Settle deliveries: their work is done.
    Ack(Ack),
    /// Give deliveries back.
    Nack(Nack),
    /// Keep deliveries for longer.
    Extend(Extend),
    /// Set how many messages a consumer may hold.
    Credit(Credit),
    /// Take no more of a group's messages.
    Unconsume(Unconsume),
    /// See whether the hub is there.
    Ping,
}

/// What to follow, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// A topic or a filter.
    pub selector: Selector,
    /// Where to begin; now, unless told.
    pub since: Since,
    /// Who is on the topic by this, in presence.
    pub presence: Option<Presence>,
}

/// A member of a topic's presence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Presence {
    /// Its id; the subject of the session's token, unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What it says of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

/// One topic, or all that match. Whether the text is a valid name is for the hub to say.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Selector {
    /// A topic's name.
    Topic(String),
    /// A name with `+` and `#`.
    Filter(String),
}

/// Messages for one topic, stored together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// The topic's name.
    pub topic: String,
    /// At least one.
    pub messages: Vec<Message>,
    /// For publishing exactly once.
    pub producer: Option<Producer>,
    /// What the publisher calls these messages, so that a repeat is known.
    pub message_id: Option<String>,
    /// Whether to count who is there to see it.
    pub receipts: bool,
    /// Whether the topic is created when it is absent; so it is, unless told otherwise.
    pub create: bool,
}

/// A message to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The message's own headers.
    pub headers: Headers,
    /// Its content type and payload.
    pub body: Body,
}

impl From<Body> for Message {
    fn from(body: Body) -> Self {
        Message { headers: Headers::new(), body }
    }
}

/// Who publishes, and which of its batches this is (Durable Streams section 5.2.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Producer {
    /// The producer's name.
    pub id: String,
    /// Its incarnation.
    pub epoch: u64,
    /// The batch's number within the epoch, from 0.
    pub seq: u64,
}

/// A request to a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The service's name.
    pub service: String,
    /// `POST`, unless told.
    pub method: String,
    /// The path within the service; `/`, unless told.
    pub path: String,
    /// The query without its question mark.
    pub query: String,
    /// Headers for the responder.
    pub headers: Headers,
    /// Content type and payload, if any.
    pub body: Option<Body>,
    /// Seconds to wait for the reply; the hub's default, unless told.
    pub wait: Option<f64>,
    /// An idempotency key.
    pub key: Option<String>,
}

/// An offer to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respond {
    /// The service's name.
    pub service: String,
    /// How many requests at once; 1, unless told.
    pub concurrency: u32,
}

/// A responder's reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The request's id.
    pub request: String,
    /// An HTTP status; 200, unless told.
    pub status: u16,
    /// Headers for the caller.
    pub headers: Headers,
    /// Content type and payload, if any.
    pub body: Option<Body>,
}

/// A responder's news about a request that is not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The request's id.
    pub request: String,
    /// Content type and payload.
    pub body: Body,
}

/// A frame that is no command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct BadCommand {
    /// The command's id, where it could be read.
    pub id: Option<Id>,
    /// Which problem to answer with: `bad-json`, `bad-cursor` or `bad-request`.
    pub kind: crate::problem::kind::Kind,
    /// What is wrong.
    pub detail: String,
}

impl Command {
    /// Reads a frame, strictly: one command, no unknown members.
    ///
    /// # Errors
    /// With what is wrong, and the id where there is one, so that the answer can carry it.
    pub fn parse(frame: &str) -> Result<(Id, Command), BadCommand> {
        parse::command(frame)
    }
}
