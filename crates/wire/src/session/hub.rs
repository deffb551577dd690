//! What the hub sends, as a client reads it ([`Frame`]), and the frames it sends to responders and on leaving.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::envelope::{self, Envelope, Headers};
use crate::groups::Delivered;
use crate::json;
use crate::payload::{self, BadData, Body, Encoding};
use crate::problem::object::Problem;
use crate::session::command::Id;
use crate::session::encode::{write_body, write_headers};
use crate::token::{Cursor, Token};

/// Any frame from the hub.
#[derive(Clone, Debug)]
pub enum Frame {
    /// The answer to a command. The type of `ok` is that of the command's answer; see [`crate::session::answer`].
    Answer {
        /// The command's id; `None` when the hub could not read it.
        id: Option<Id>,
        /// The outcome.
        result: Result<Box<RawValue>, Box<Problem>>,
    },
    /// Messages of a subscription (number zero where connections have none).
    Messages {
        /// The subscription's number.
        subscription: u64,
        /// In order; may be none, when only the cursor moved.
        messages: Vec<Envelope>,
        /// The cursor after them.
        next: Cursor,
    },
    /// Messages were lost to retention.
    Gap {
        /// The subscription's number.
        subscription: u64,
        /// What is lost.
        gap: Gap,
    },
    /// A topic is closed and read to its end.
    Closed {
        /// The subscription's number.
        subscription: u64,
        /// Which topic.
        closed: Closed,
    },
    /// A topic is gone.
    Deleted {
        /// The subscription's number.
        subscription: u64,
        /// Which topic.
        deleted: Deleted,
    },
    /// Messages that a group hands out.
    Deliveries {
        /// The consumer's number.
        consumer: u64,
        /// In the order in which they are to be worked on; at least one.
        messages: Vec<Delivered>,
    },
    /// A consumer gets nothing more.
    Ended {
        /// The consumer's number.
        consumer: u64,
        /// Why.
        problem: Box<Problem>,
    },
    /// A request to serve.
    Request(Box<Request>),
    /// Nobody waits for this request any more.
    Cancel(Cancel),
    /// The hub is about to close the connection.
    Goodbye(Goodbye),
    /// Something that a newer hub says and this client does not know; to be passed over.
    Other,
}

/// Messages of a topic that retention removed before they were read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Gap {
    /// The topic.
    pub topic: String,
    /// From where reading goes on.
    pub first_available: Cursor,
}

/// A topic that is closed and read to its end.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Closed {
    /// The topic.
    pub topic: String,
    /// Its tail.
    pub offset: Token,
}

/// A topic that was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Deleted {
    /// The topic.
    pub topic: String,
}

/// A request handed to a responder.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "RequestWire")]
pub struct Request {
    /// What the reply names.
    pub id: String,
    /// Which of the session's responders it is for.
    pub responder: u64,
    /// The service's name.
    pub service: String,
    /// The caller's method.
    pub method: String,
    /// The path within the service.
    pub path: String,
    /// The query without its question mark.
    pub query: String,
    /// The caller's headers.
    pub headers: Headers,
    /// Content type and payload, if any.
    pub body: Option<Body>,
    /// How often the request was handed out, this time included.
    pub attempt: u32,
    /// Seconds until the caller gives up.
    pub wait: f64,
}

/// A request that nobody waits for any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// The request's id.
    pub request: String,
}

/// The hub's last words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goodbye {
    /// Why, e.g. `shutting-down`.
    pub reason: String,
    /// Seconds after which to come back.
    pub retry_after: u64,
}

impl Request {
    /// Writes `{"request":{…}}`.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut out = b"{\"request\":{\"id\":".to_vec();
        json::write(&mut out, &self.id);
        json::write_name(&mut out, "responder");
        json::write_u64(&mut out, self.responder);
        json::write_member(&mut out, "service", &self.service);
        json::write_member(&mut out, "method", &self.method);
        json::write_member(&mut out, "path", &self.path);
        json::write_member(&mut out, "query", &self.query);
        write_headers(&mut out, &self.headers);
        write_body(&mut out, self.body.as_ref());
        json::write_name(&mut out, "attempt");
        json::write_u64(&mut out, u64::from(self.attempt));
        json::write_name(&mut out, "wait");
        json::write(&mut out, &self.wait);
        out.extend_from_slice(b"}}");
        String::from_utf8(out).expect("JSON is UTF-8")
    }
}

impl Cancel {
    /// Writes `{"cancel":{…}}`.
    #[must_use]
    pub fn encode(&self) -> String {
        wrap("{\"cancel\":", self)
    }
}

impl Goodbye {
    /// Writes `{"goodbye":{…}}`.
    #[must_use]
    pub fn encode(&self) -> String {
        wrap("{\"goodbye\":", self)
    }
}

impl Frame {
    /// Reads a frame; unknown members are passed over, so that an older client reads a newer hub.
    ///
    /// # Errors
    /// When it is no JSON, or a frame of a known kind lacks a member.
    pub fn parse(text: &str) -> Result<Frame, serde_json::Error> {
        let wire: FrameWire = serde_json::from_str(text)?;
        let subscription = wire.subscription.unwrap_or(0);
        Ok(match wire {
            FrameWire { ok: Some(ok), id, .. } => Frame::Answer { id, result: Ok(ok) },
            FrameWire { error: Some(error), id, .. } => Frame::Answer { id, result: Err(error) },
            FrameWire { messages: Some(messages), consumer: Some(consumer), .. } => {
                Frame::Deliveries { consumer, messages: all(messages)? }
            }
            FrameWire { ended: Some(problem), consumer: Some(consumer), .. } => Frame::Ended { consumer, problem },
            FrameWire { messages: Some(messages), next: Some(next), .. } => {
                Frame::Messages { subscription, messages: all(messages)?, next }
            }
            FrameWire { gap: Some(gap), .. } => Frame::Gap { subscription, gap },
            FrameWire { closed: Some(closed), .. } => Frame::Closed { subscription, closed },
            FrameWire { deleted: Some(deleted), .. } => Frame::Deleted { subscription, deleted },
            FrameWire { request: Some(request), .. } => Frame::Request(request),
            FrameWire { cancel: Some(cancel), .. } => Frame::Cancel(cancel),
            FrameWire { goodbye: Some(goodbye), .. } => Frame::Goodbye(goodbye),
            _ => Frame::Other,
        })
    }
}

#[derive(Deserialize)]
struct FrameWire {
    id: Option<Id>,
    #[serde(default, deserialize_with = "payload::present")]
    ok: Option<Box<RawValue>>,
    error: Option<Box<Problem>>,
    subscription: Option<u64>,
    consumer: Option<u64>,
    ended: Option<Box<Problem>>,
    messages: Option<Vec<envelope::Wire>>,
    next: Option<Cursor>,
    gap: Option<Gap>,
    closed: Option<Closed>,
    deleted: Option<Deleted>,
    request: Option<Box<Request>>,
    cancel: Option<Cancel>,
    goodbye: Option<Goodbye>,
}

#[derive(Deserialize)]
struct RequestWire {
    id: String,
    responder: u64,
    service: String,
    method: String,
    path: String,
    #[serde(default)]
    query: String,
    #[serde(default)]
    headers: Headers,
    #[serde(default, deserialize_with = "payload::present")]
    data: Option<Box<RawValue>>,
    #[serde(rename = "type")]
    content_type: Option<String>,
    encoding: Option<Encoding>,
    #[serde(default = "first")]
    attempt: u32,
    wait: f64,
}

impl TryFrom<RequestWire> for Request {
    type Error = BadData;

    fn try_from(wire: RequestWire) -> Result<Self, BadData> {
        Ok(Request {
            body: payload::read(wire.content_type, wire.data, wire.encoding)?,
            id: wire.id,
            responder: wire.responder,
            service: wire.service,
            method: wire.method,
            path: wire.path,
            query: wire.query,
            headers: wire.headers,
            attempt: wire.attempt,
            wait: wire.wait,
        })
    }
}

/// Which kind of messages they are is only known when the whole frame is.
fn all<T>(messages: Vec<envelope::Wire>) -> Result<Vec<T>, serde_json::Error>
where
    T: TryFrom<envelope::Wire>,
    T::Error: fmt::Display,
{
    messages.into_iter().map(|message| message.try_into().map_err(serde::de::Error::custom)).collect()
}

fn first() -> u32 {
    1
}

fn wrap<T: Serialize>(open: &str, inner: &T) -> String {
    let mut out = open.as_bytes().to_vec();
    json::write(&mut out, inner);
    out.push(b'}');
    String::from_utf8(out).expect("JSON is UTF-8")
}
