//! The members of each command as they come, and the checks that serde cannot make. The frame around them is in
//! `parse`.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::envelope::Headers;
use crate::payload::{self, BadData, Body, Encoding};
use crate::problem::kind::Kind;
use crate::session::command::{
    Command, Message, Presence, Producer, Progress, Publish, Reply, Request, Respond, Selector, Subscribe,
};
use crate::token::Since;

/// Which problem a command has, and what is wrong.
pub(crate) type Refusal = (Kind, String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SubscribeWire {
    topic: Option<String>,
    filter: Option<String>,
    since: Option<String>,
    presence: Option<Presence>,
}

impl SubscribeWire {
    pub(crate) fn command(self) -> Result<Command, Refusal> {
        let selector = match (self.topic, self.filter) {
            (Some(topic), None) => Selector::Topic(topic),
            (None, Some(filter)) => Selector::Filter(filter),
            _ => {
                return Err(shape("`subscribe` names either a `topic` or a `filter`".into()));
            }
        };
        let since = match self.since {
            Some(since) => since.parse().map_err(|error| (Kind::BadCursor, format!("`since`: {error}")))?,
            None => Since::Now,
        };
        if self.presence.is_some() && matches!(selector, Selector::Filter(_)) {
            return Err(shape("`presence` is of one `topic`, not of a `filter`".into()));
        }
        Ok(Command::Subscribe(Subscribe { selector, since, presence: self.presence }))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UnsubscribeWire {
    pub(crate) subscription: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublishWire {
    topic: String,
    messages: Option<Vec<MessageWire>>,
    #[serde(default, deserialize_with = "payload::present")]
    data: Option<Box<RawValue>>,
    #[serde(rename = "type")]
    content_type: Option<String>,
    encoding: Option<Encoding>,
    headers: Option<Headers>,
    producer: Option<Producer>,
    message_id: Option<String>,
    #[serde(default)]
    receipts: bool,
    #[serde(default = "yes")]
    create: bool,
}

impl PublishWire {
    pub(crate) fn command(self) -> Result<Command, Refusal> {
        let single = self.data.is_some() || self.content_type.is_some() || self.encoding.is_some();
        let messages = match self.messages {
            Some(_) if single || self.headers.is_some() => {
                return Err(shape("`publish` has either `data` or `messages`, not both".into()));
            }
            Some(messages) if messages.is_empty() => {
                return Err(shape("`messages` is empty".into()));
            }
            Some(messages) => messages.into_iter().enumerate().map(MessageWire::message).collect::<Result<_, _>>()?,
            None => {
                let body = body(self.content_type, self.data, self.encoding)?
                    .ok_or_else(|| shape("`publish` needs `data` (one message) or `messages` (several)".into()))?;
                vec![Message { headers: self.headers.unwrap_or_default(), body }]
            }
        };
        Ok(Command::Publish(Publish {
            topic: self.topic,
            messages,
            producer: self.producer,
            message_id: self.message_id,
            receipts: self.receipts,
            create: self.create,
        }))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MessageWire {
    #[serde(default, deserialize_with = "payload::present")]
    data: Option<Box<RawValue>>,
    #[serde(rename = "type")]
    content_type: Option<String>,
    encoding: Option<Encoding>,
    #[serde(default)]
    headers: Headers,
}

impl MessageWire {
    fn message((i, wire): (usize, Self)) -> Result<Message, Refusal> {
        let body = body(wire.content_type, wire.data, wire.encoding)
            .and_then(|body| body.ok_or_else(|| shape(BadData::Missing.to_string())))
            .map_err(|(kind, detail)| (kind, format!("message {i}: {detail}")))?;
        Ok(Message { headers: wire.headers, body })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RequestWire {
    service: String,
    method: Option<String>,
    path: Option<String>,
    #[serde(default)]
    query: String,
    #[serde(default)]
    headers: Headers,
    #[serde(default, deserialize_with = "payload::present")]
    data: Option<Box<RawValue>>,
    #[serde(rename = "type")]
    content_type: Option<String>,
    encoding: Option<Encoding>,
    wait: Option<f64>,
    key: Option<String>,
}

impl RequestWire {
    pub(crate) fn command(self) -> Result<Command, Refusal> {
        if self.wait.is_some_and(|wait| wait < 0.0) {
            return Err(shape("`wait` is a number of seconds, not below zero".into()));
        }
        Ok(Command::Request(Request {
            body: body(self.content_type, self.data, self.encoding)?,
            service: self.service,
            method: self.method.unwrap_or_else(|| "POST".to_owned()),
            path: self.path.unwrap_or_else(|| "/".to_owned()),
            query: self.query,
            headers: self.headers,
            wait: self.wait,
            key: self.key,
        }))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RespondWire {
    service: String,
    #[serde(default = "one")]
    concurrency: u32,
}

impl RespondWire {
    pub(crate) fn command(self) -> Result<Command, Refusal> {
        if self.concurrency == 0 {
            return Err(shape("`concurrency` is at least 1".into()));
        }
        Ok(Command::Respond(Respond { service: self.service, concurrency: self.concurrency }))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplyWire {
    request: String,
    #[serde(default = "ok_status")]
    status: u16,
    #[serde(default)]
    headers: Headers,
    #[serde(default, deserialize_with = "payload::present")]
    data: Option<Box<RawValue>>,
    #[serde(rename = "type")]
    content_type: Option<String>,
    encoding: Option<Encoding>,
}

impl ReplyWire {
    pub(crate) fn command(self) -> Result<Command, Refusal> {
        if !(200..=599).contains(&self.status) {
            return Err(shape("`status` is a final HTTP status, 200 to 599".into()));
        }
        let body = body(self.content_type, self.data, self.encoding)?;
        Ok(Command::Reply(Reply { request: self.request, status: self.status, headers: self.headers, body }))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProgressWire {
    request: String,
    #[serde(default, deserialize_with = "payload::present")]
    data: Option<Box<RawValue>>,
    #[serde(rename = "type")]
    content_type: Option<String>,
    encoding: Option<Encoding>,
}

impl ProgressWire {
    pub(crate) fn command(self) -> Result<Command, Refusal> {
        let body = body(self.content_type, self.data, self.encoding)?;
        let body = body.ok_or_else(|| shape(BadData::Missing.to_string()))?;
        Ok(Command::Progress(Progress { request: self.request, body }))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UnrespondWire {
    pub(crate) responder: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PingWire {}

fn body(
    content_type: Option<String>,
    data: Option<Box<RawValue>>,
    encoding: Option<Encoding>,
) -> Result<Option<Body>, Refusal> {
    payload::read(content_type, data, encoding).map_err(|error| shape(error.to_string()))
}

pub(crate) fn shape(detail: String) -> Refusal {
    (Kind::BadRequest, detail)
}

fn yes() -> bool {
    true
}

fn one() -> u32 {
    1
}

fn ok_status() -> u16 {
    200
}
