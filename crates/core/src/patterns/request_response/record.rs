//! How keys, progress and replies are written as messages of the hub's own topics.
//!
//! `$keys/<hash>` holds a message per attempt to serve a key, the newest one last; `$replies/<token>` holds the
//! progress and the reply of one request and is closed behind it.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::error::{Error, Kind, Result};
use crate::message::{ContentType, Headers, Message, NewMessage};
use crate::name::TopicName;
use crate::patterns::request_response::request::{Reply, Request};

const KIND: &str = "kind";
const STATUS: &str = "status";
const REPLY_PREFIX: &str = "reply-";
/// Marks a reply that the hub has made because no responder did; it does not settle a key.
const FAILURE: &str = "failure";
const FINGERPRINT: &str = "fingerprint";
const REPLY_TOPIC: &str = "reply-topic";
const ATTEMPT: &str = "attempt";

/// The last attempt to serve a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyRecord {
    /// Which request the key belongs to.
    pub(super) fingerprint: String,
    /// Where its reply comes.
    pub(super) reply_topic: TopicName,
    /// How many attempts there were.
    pub(super) attempt: u32,
}

impl KeyRecord {
    pub(super) fn to_message(&self) -> Result<NewMessage> {
        let attempt = self.attempt.to_string();
        let headers = Headers::new([
            (FINGERPRINT, self.fingerprint.as_str()),
            (REPLY_TOPIC, self.reply_topic.as_str()),
            (ATTEMPT, &attempt),
        ])?;
        Ok(NewMessage { headers, ..NewMessage::default() })
    }

    pub(super) fn from_message(message: &Message) -> Result<Self> {
        let damaged = || Error::new(Kind::StorageDamaged, format!("the key record {} is damaged", message.topic));
        let header = |name| message.headers.get(name).ok_or_else(damaged);
        Ok(Self {
            fingerprint: header(FINGERPRINT)?.into(),
            reply_topic: TopicName::parse(header(REPLY_TOPIC)?)?,
            attempt: header(ATTEMPT)?.parse().map_err(|_| damaged())?,
        })
    }

    /// Grows with every attempt, so that of two who begin the same one, the log takes only one.
    pub(super) fn stream_seq(&self) -> Box<str> {
        format!("{:010}", self.attempt).into()
    }
}

/// The topic that records a caller's key for a service.
pub(super) fn key_topic(request: &Request, key: &str) -> Result<TopicName> {
    let scope = [request.caller.as_bytes(), request.service.as_str().as_bytes(), key.as_bytes()];
    TopicName::parse(&format!("$keys/{}", hash(&scope)))
}

/// A reply topic that only those can find who were told its name.
pub(super) fn reply_topic(token: u128) -> Result<TopicName> {
    TopicName::parse(&format!("$replies/{token:032x}"))
}

/// What makes two requests the same to a key.
pub(super) fn fingerprint(request: &Request) -> String {
    let content_type = request.content_type.as_ref().map_or("", ContentType::as_str);
    hash(&[
        request.method.as_bytes(),
        request.path.as_bytes(),
        request.query.as_bytes(),
        content_type.as_bytes(),
        &request.body,
    ])
}

/// Each part goes in with its length, so that no two different lists give the same bytes.
fn hash(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let mut text = String::with_capacity(64);
    for byte in hasher.finalize() {
        // Writing to a string cannot fail.
        let _written = write!(text, "{byte:02x}");
    }
    text
}

pub(super) fn progress_message(message: NewMessage) -> Result<NewMessage> {
    let headers = Headers::new(std::iter::once((KIND, "progress")).chain(message.headers.iter()))?;
    Ok(NewMessage { headers, ..message })
}

pub(super) fn reply_message(reply: &Reply) -> Result<NewMessage> {
    let own = [(KIND.to_owned(), "reply".to_owned()), (STATUS.to_owned(), reply.status.to_string())];
    let given = reply.headers.iter().map(|(name, value)| (format!("{REPLY_PREFIX}{name}"), value.to_owned()));
    Ok(NewMessage {
        // A reply without a type has no body, or bytes of which nothing is known.
        content_type: Some(reply.content_type.clone().unwrap_or_else(ContentType::octet_stream)),
        headers: Headers::new(own.into_iter().chain(given))?,
        payload: reply.body.clone(),
    })
}

/// The reply that a message holds, if it was a responder's.
pub(super) fn read_reply(message: &Message) -> Option<Reply> {
    if message.headers.get(KIND) != Some("reply") || message.headers.get(FAILURE).is_some() {
        return None;
    }
    let given = message.headers.iter().filter_map(|(name, value)| Some((name.strip_prefix(REPLY_PREFIX)?, value)));
    Some(Reply {
        status: message.headers.get(STATUS)?.parse().ok()?,
        headers: Headers::new(given).ok()?,
        content_type: (!message.payload.is_empty()).then(|| message.content_type.clone()),
        body: message.payload.clone(),
    })
}

/// What ends a reply topic when there is no reply: a problem (RFC 9457) with the status that a waiting caller gets.
pub(super) fn failure_message(error: &Error) -> Result<NewMessage> {
    let (slug, status) = match error.kind() {
        Kind::DeadlinePassed => ("deadline", 504),
        Kind::ResponderLost => ("responder-lost", 502),
        Kind::NoResponder => ("no-responder", 503),
        Kind::Overloaded => ("overloaded", 503),
        Kind::ShuttingDown => ("shutting-down", 503),
        _ => ("internal", 500),
    };
    let status_text = status.to_string();
    let headers = Headers::new([(KIND, "reply"), (STATUS, &status_text), (FAILURE, slug)])?;
    let mut detail = String::new();
    for c in error.to_string().chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            detail.push('\\');
        }
        detail.push(c);
    }
    let body = format!(r#"{{"type":"/problems/{slug}","status":{status},"detail":"{detail}"}}"#);
    Ok(NewMessage {
        content_type: Some(ContentType::parse("application/problem+json")?),
        headers,
        payload: body.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::cursor::Offset;
    use crate::name::ServiceName;

    fn stored(message: NewMessage) -> Message {
        Message {
            topic: TopicName::parse("$replies/x").unwrap(),
            offset: Offset(1),
            previous: Offset::ZERO,
            time: Timestamp(0),
            content_type: message.content_type.unwrap_or_else(ContentType::octet_stream),
            headers: message.headers,
            payload: message.payload,
        }
    }

    #[test]
    fn replies_come_back_as_they_were() {
        let reply = Reply {
            status: 201,
            headers: Headers::new([("location", "/x"), ("kind", "own")]).unwrap(),
            content_type: Some(ContentType::parse("text/plain").unwrap()),
            body: "done".into(),
        };
        assert_eq!(read_reply(&stored(reply_message(&reply).unwrap())), Some(reply));
        let empty = Reply { status: 204, headers: Headers::none(), content_type: None, body: "".into() };
        assert_eq!(read_reply(&stored(reply_message(&empty).unwrap())), Some(empty));
    }

    #[test]
    fn failures_are_no_replies() {
        let error = Error::new(Kind::DeadlinePassed, "say \"when\"");
        let message = stored(failure_message(&error).unwrap());
        assert_eq!(message.headers.get("status"), Some("504"));
        assert!(message.payload.ends_with(br#""detail":"say \"when\""}"#));
        assert_eq!(read_reply(&message), None);
    }

    #[test]
    fn key_records_come_back_and_scopes_do_not_run_together() {
        let record = KeyRecord { fingerprint: "ab".into(), reply_topic: reply_topic(7).unwrap(), attempt: 3 };
        assert_eq!(KeyRecord::from_message(&stored(record.to_message().unwrap())).unwrap(), record);
        let mut request = Request::new(ServiceName::parse("a").unwrap(), "GET", "/");
        request.caller = "x".into();
        let other = Request { service: ServiceName::parse("xa").unwrap(), caller: String::new(), ..request.clone() };
        assert_ne!(key_topic(&request, "k").unwrap(), key_topic(&other, "k").unwrap());
        let moved = Request { path: "/b".into(), ..request.clone() };
        assert_ne!(fingerprint(&request), fingerprint(&moved));
    }
}
