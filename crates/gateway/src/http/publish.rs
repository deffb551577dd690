//! `POST` on a topic: publish, and close (Durable Streams sections 5.2 and 5.3).

use std::cell::Cell;
use std::fmt;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use http_body::Body as _;
use quintet_core::access::Operation;
use quintet_core::message::{ContentType, Headers, NewMessage};
use quintet_core::patterns::publish_subscribe::{Publish, Published};
use quintet_wire::content;
use quintet_wire::header;
use quintet_wire::problem::kind::Kind;
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::convert::token;
use crate::error::{Problem, Result};
use crate::http::dialect::Dialect;
use crate::http::topics::{TopicRequest, says_closed, set, set_true};
use crate::http::{body, producer, query};

/// The preference (RFC 7240) to be told who was there to see a publish.
const RECEIPTS: &str = "receipts";

pub(crate) async fn publish(asked: TopicRequest, request: Request) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let headers = &parts.headers;
    let close = says_closed(headers);
    // Before the body, which is not received from who may not publish it.
    if close {
        asked.check(Operation::Manage)?;
    }
    if !close || body.size_hint().lower() > 0 {
        asked.check(Operation::Publish)?;
    }
    let producer = producer::step(headers)?;
    let bytes = body::receive(&asked.gateway, body).await?;
    let messages = if bytes.is_empty() {
        if !close {
            let detail = "a message has at least one byte; to close the topic, send Stream-Closed: true";
            return Err(refuse_late(&asked, None, Problem::new(Kind::EmptyBody, detail)).await);
        }
        // A closure without a message has no type, whatever a client's library sends.
        Vec::new()
    } else {
        if close {
            // The head may not have told that there is a body.
            asked.check(Operation::Publish)?;
        }
        let content_type = required_type(asked.dialect, headers)?;
        let max = asked.gateway.hub().limits().batch_messages;
        match messages(&content_type, headers, &bytes, EmptyArray::IsRefused, max) {
            Ok(messages) => messages,
            Err(problem) => return Err(refuse_late(&asked, Some(&content_type), problem).await),
        }
    };
    let without_data = messages.is_empty();
    let stream_seq = text(headers, header::STREAM_SEQ)?;
    let message_id = text(headers, header::MESSAGE_ID)?;
    let is_named = message_id.is_some();
    let receipts = query::prefers(headers, RECEIPTS);
    // The head lies in the connection's read buffer, which is free for the next request without it.
    drop(parts);
    let publish = Publish {
        topic: asked.topic.clone(),
        messages,
        if_absent: asked.dialect.if_absent(asked.gateway.config()),
        producer,
        stream_seq,
        message_id,
        receipts,
        close,
    };
    let published = asked.gateway.hub().publish(publish).await.map_err(|error| asked.dialect.refuse(error))?;
    Ok(answer(&published, is_named, without_data))
}

fn answer(published: &Published, is_named: bool, without_data: bool) -> Response {
    // A producer is told by the status whether its data were new (Durable Streams section 5.2.1), and so is who gave
    // them an id.
    let new = (published.producer.is_some() || is_named) && !published.duplicate && !without_data;
    let mut response = if new { StatusCode::OK } else { StatusCode::NO_CONTENT }.into_response();
    let headers = response.headers_mut();
    set(headers, header::STREAM_NEXT_OFFSET, token(published.tail));
    if published.closed {
        set_true(headers, header::STREAM_CLOSED);
    }
    if let Some((epoch, seq)) = published.producer {
        set(headers, header::PRODUCER_EPOCH, epoch);
        set(headers, header::PRODUCER_SEQ, seq);
    }
    if let Some(receipt) = published.receipt {
        set(headers, header::PREFERENCE_APPLIED, RECEIPTS);
        set(headers, header::QUINTET_READERS, receipt.readers);
        set(headers, header::QUINTET_GROUPS, receipt.groups);
    }
    response
}

/// A fault of the body counts less than the state of the topic: absent, closed and of another type come first
/// (Durable Streams section 5.2, error precedence).
async fn refuse_late(asked: &TopicRequest, content_type: Option<&ContentType>, problem: Problem) -> Problem {
    let info = match asked.gateway.hub().describe(&asked.topic).await {
        Ok(info) => info,
        Err(error) if asked.dialect == Dialect::Stream => return asked.dialect.refuse(error),
        Err(_) => return problem,
    };
    if info.closed {
        let detail = format!("the topic {} is closed and takes no more messages", asked.topic);
        return Problem::new(Kind::TopicClosed, detail)
            .header(header::STREAM_CLOSED, "true")
            .header(header::STREAM_NEXT_OFFSET, token(info.next));
    }
    let own = &info.config.content_type;
    if info.config.fixed_type && content_type.is_some_and(|given| !given.matches(own)) {
        let detail = format!("the topic {} takes {} only", asked.topic, own.as_str());
        return Problem::new(Kind::ContentTypeMismatch, detail);
    }
    problem
}

/// The type that a request names; none if it names none.
pub(crate) fn content_type(dialect: Dialect, headers: &HeaderMap) -> Result<Option<ContentType>> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    if dialect == Dialect::Topics && content::same_essence(text, content::FORM) {
        // It is what `curl -d` says of everything.
        return Ok(Some(ContentType::parse(content::TEXT)?));
    }
    match ContentType::parse(text) {
        Ok(content_type) => Ok(Some(content_type)),
        Err(error) => Err(Problem::new(Kind::BadHeader, error.to_string())),
    }
}

fn required_type(dialect: Dialect, headers: &HeaderMap) -> Result<ContentType> {
    match (content_type(dialect, headers)?, dialect) {
        (Some(content_type), _) => Ok(content_type),
        (None, Dialect::Topics) => Ok(ContentType::octet_stream()),
        (None, Dialect::Stream) => {
            Err(Problem::new(Kind::BadHeader, "Content-Type is missing; send the one that the stream was created with"))
        }
    }
}

fn text(headers: &HeaderMap, name: &'static str) -> Result<Option<Box<str>>> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => Ok(Some(text.into())),
        Err(_) => Err(Problem::new(Kind::BadHeader, format!("the value of {name} is not UTF-8"))),
    }
}

/// What `[]` is: nothing to begin with, or a mistake (Durable Streams section 9.1.3).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum EmptyArray {
    IsNothing,
    IsRefused,
}

/// A body as messages: one, or the elements of a JSON array. They share the body's bytes and the request's headers.
pub(crate) fn messages(
    content_type: &ContentType,
    headers: &HeaderMap,
    body: &Bytes,
    empty_array: EmptyArray,
    max: usize,
) -> Result<Vec<NewMessage>> {
    if body.is_empty() {
        return Ok(Vec::new());
    }
    let headers = message_headers(headers)?;
    let message = |payload| NewMessage { content_type: Some(content_type.clone()), headers: headers.clone(), payload };
    if !content::is_application_json(content_type.as_str()) {
        return Ok(vec![message(body.clone())]);
    }
    let values = json_values(body, max)?;
    if values.is_empty() && empty_array == EmptyArray::IsRefused {
        return Err(Problem::new(Kind::EmptyBody, "an array without elements publishes nothing; send at least one"));
    }
    Ok(values.into_iter().map(message).collect())
}

/// A message's own headers: `Quintet-Header-<Name>`. One that comes several times is one value, as HTTP has it.
pub(crate) fn message_headers(headers: &HeaderMap) -> Result<Headers> {
    let mut pairs: Vec<(&str, String)> = Vec::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix(header::QUINTET_HEADER_PREFIX) else { continue };
        let Ok(value) = std::str::from_utf8(value.as_bytes()) else {
            return Err(Problem::new(Kind::BadHeader, format!("the value of Quintet-Header-{name} is not UTF-8")));
        };
        match pairs.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => {
                known.push_str(", ");
                known.push_str(value);
            }
            None => pairs.push((name, value.to_owned())),
        }
    }
    Ok(Headers::new(pairs)?)
}

/// The value of a JSON text, or the elements of its outermost array (Durable Streams section 9.1.2), as they stand.
fn json_values(body: &Bytes, max: usize) -> Result<Vec<Bytes>> {
    let n_elements = Cell::new(0);
    let mut json = serde_json::Deserializer::from_slice(body);
    let values = Values { body, max, n_elements: &n_elements };
    let is_array = body.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'[');
    let values = if is_array { json.deserialize_seq(values) } else { values.deserialize(&mut json) };
    match values.and_then(|values| json.end().map(|()| values)) {
        Ok(values) => Ok(values),
        Err(_) if n_elements.get() > max => {
            let detail = format!("one publish takes {max} messages; send the array in parts");
            Err(Problem::new(Kind::TooLarge, detail))
        }
        Err(error) => Err(Problem::new(Kind::BadJson, format!("the body is not valid JSON: {error}"))),
    }
}

/// Takes a value as the slice of the body that it is; of an array its elements, and no more than are allowed, so that
/// a body of commas costs no memory.
struct Values<'a> {
    body: &'a Bytes,
    max: usize,
    n_elements: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Values<'_> {
    type Value = Vec<Bytes>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Bytes>, D::Error> {
        let value = <&RawValue as serde::Deserialize>::deserialize(deserializer)?;
        Ok(vec![self.body.slice_ref(value.get().as_bytes())])
    }
}

impl<'de> Visitor<'de> for Values<'_> {
    type Value = Vec<Bytes>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<Bytes>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = elements.next_element::<&RawValue>()? {
            self.n_elements.set(self.n_elements.get() + 1);
            if self.n_elements.get() > self.max {
                return Err(serde::de::Error::custom("too many elements"));
            }
            values.push(self.body.slice_ref(value.get().as_bytes()));
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &'static str) -> Option<Vec<String>> {
        let values = json_values(&Bytes::from_static(text.as_bytes()), 3).ok()?;
        Some(values.into_iter().map(|value| String::from_utf8(value.to_vec()).unwrap()).collect())
    }

    #[test]
    fn arrays_are_flattened_by_one_level_and_keep_their_bytes() {
        assert_eq!(values(" {\"a\": 1.0} \n").unwrap(), [r#"{"a": 1.0}"#]);
        assert_eq!(values("[{\"a\": 1.0},2 , \"x\"]").unwrap(), [r#"{"a": 1.0}"#, "2", r#""x""#]);
        assert_eq!(values("[[1,2], [3]]").unwrap(), ["[1,2]", "[3]"]);
        assert_eq!(values("[[[1,2,3]]]").unwrap(), ["[[1,2,3]]"]);
        assert_eq!(values("[]").unwrap(), [""; 0]);
        assert_eq!(values("null").unwrap(), ["null"]);
        for bad in ["", "{", "[1", "[1,]", "1 2", "[1] 2", "nul", "[1,2,3,4]"] {
            assert!(values(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn too_many_elements_are_too_large() {
        let problem = json_values(&Bytes::from_static(b"[1,2,3,4]"), 3).unwrap_err();
        assert_eq!(problem.kind(), Kind::TooLarge);
    }
}
