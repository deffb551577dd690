//! `PUT` on a topic: create it, or confirm that it exists as asked (Durable Streams section 5.1).

use std::time::Duration;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use quintet_core::access::Operation;
use quintet_core::clock::Timestamp;
use quintet_core::cursor::{Position, Since};
use quintet_core::engine::Durability;
use quintet_core::engine::transaction::{Retention, TopicConfig};
use quintet_core::hub::{CreateTopic, ForkOf};
use quintet_core::message::ContentType;
use quintet_core::name::TopicName;
use quintet_wire::header;
use quintet_wire::problem::kind::Kind;
use quintet_wire::time;

use crate::convert::parse_since;
use crate::error::{Problem, Result};
use crate::http::body;
use crate::http::dialect::Dialect;
use crate::http::publish::{EmptyArray, content_type, messages};
use crate::http::topics::{TopicRequest, decode_path, describe, locate, says_closed};

const FORKED_FROM: &str = "stream-forked-from";
const FORK_OFFSET: &str = "stream-fork-offset";
const FORK_SUB_OFFSET: &str = "stream-fork-sub-offset";

pub(crate) async fn create(asked: TopicRequest, request: Request) -> Result<Response> {
    asked.check(Operation::Manage)?;
    let (parts, body) = request.into_parts();
    let headers = &parts.headers;
    let given = content_type(asked.dialect, headers)?;
    let fork = fork(&asked, headers, given.as_ref())?;
    let ttl = whole_number(headers, header::STREAM_TTL, 0)?.map(Duration::from_secs);
    let expires_at = expires_at(headers)?;
    if ttl.is_some() && expires_at.is_some() {
        let detail = "a topic expires by Stream-TTL or at Stream-Expires-At; send one of them";
        return Err(Problem::new(Kind::BadHeader, detail));
    }
    let retention = retention(headers)?;
    let durability = durability(headers)?;
    let bytes = body::receive(&asked.gateway, body).await?;
    let hub = asked.gateway.hub();
    let refuse = |error| asked.dialect.refuse(error);
    let content_type = match (given, &fork) {
        (Some(given), _) => given,
        (None, Some(fork)) if !bytes.is_empty() => {
            hub.describe(&fork.source).await.map_err(refuse)?.config.content_type.clone()
        }
        (None, _) => ContentType::octet_stream(),
    };
    let messages = messages(&content_type, headers, &bytes, EmptyArray::IsNothing, hub.limits().batch_messages)?;
    // A fork takes what its source takes.
    let fixed_type = fork.is_none();
    let config = TopicConfig { fixed_type, ttl, expires_at, retention, ..TopicConfig::open(content_type) };
    let closed = says_closed(headers);
    let create = CreateTopic { topic: asked.topic.clone(), config, durability, messages, closed, fork };
    let (new, info) = hub.create_topic(create).await.map_err(refuse)?;
    let mut response = if new { StatusCode::CREATED } else { StatusCode::OK }.into_response();
    describe(response.headers_mut(), &info);
    if new {
        locate(response.headers_mut(), &parts)?;
    }
    Ok(response)
}

/// What the topic is a fork of (Durable Streams section 4.2). Who forks a topic reads it, so that must be allowed.
fn fork(asked: &TopicRequest, headers: &HeaderMap, content_type: Option<&ContentType>) -> Result<Option<ForkOf>> {
    let at = text(headers, FORK_OFFSET)?;
    let sub_offset = whole_number(headers, FORK_SUB_OFFSET, 0)?;
    let Some(path) = text(headers, FORKED_FROM)? else {
        if at.is_some() || sub_offset.is_some() {
            let detail = "Stream-Fork-Offset and Stream-Fork-Sub-Offset come with Stream-Forked-From only";
            return Err(Problem::new(Kind::BadHeader, detail));
        }
        return Ok(None);
    };
    let source = TopicName::parse(&decode_path(Dialect::strip_prefix(path))?)?;
    asked.access.check(Operation::Subscribe, &source)?;
    let at = match at.map(parse_since).transpose()? {
        None | Some(Since::Now) => None,
        Some(Since::Start) => Some(Position::START),
        Some(Since::After(cursor)) => Some(cursor.position()),
    };
    Ok(Some(ForkOf { source, at, sub_offset: sub_offset.unwrap_or(0), content_type: content_type.cloned() }))
}

fn expires_at(headers: &HeaderMap) -> Result<Option<Timestamp>> {
    let Some(text) = text(headers, header::STREAM_EXPIRES_AT)? else { return Ok(None) };
    match time::parse(text) {
        Some(ms) => Ok(Some(Timestamp(ms))),
        None => {
            let detail = format!("Stream-Expires-At is a time like 2026-01-01T00:00:00Z (RFC 3339), not {text:?}");
            Err(Problem::new(Kind::BadHeader, detail))
        }
    }
}

fn retention(headers: &HeaderMap) -> Result<Retention> {
    Ok(Retention {
        age: whole_number(headers, header::QUINTET_RETAIN_AGE, 1)?.map(Duration::from_secs),
        count: whole_number(headers, header::QUINTET_RETAIN_COUNT, 1)?,
        bytes: whole_number(headers, header::QUINTET_RETAIN_BYTES, 1)?,
    })
}

fn durability(headers: &HeaderMap) -> Result<Option<Durability>> {
    match text(headers, header::QUINTET_DURABILITY)? {
        None => Ok(None),
        Some("disk") => Ok(Some(Durability::Disk)),
        Some("memory") => Ok(Some(Durability::Memory)),
        Some(_) => Err(Problem::new(Kind::BadHeader, "Quintet-Durability is disk or memory")),
    }
}

/// A number in plain decimal: no sign, point, exponent or leading zero (Durable Streams section 5.1).
fn whole_number(headers: &HeaderMap, name: &'static str, min: u64) -> Result<Option<u64>> {
    let Some(text) = text(headers, name)? else { return Ok(None) };
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    match text.parse::<u64>() {
        // Beyond this, seconds no longer fit a time of day in milliseconds.
        Ok(number) if plain && number >= min && number <= u64::MAX / 2000 => Ok(Some(number)),
        _ => {
            let detail = format!("{name} is a whole number from {min}, in plain decimal digits, not {text:?}");
            Err(Problem::new(Kind::BadHeader, detail))
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    match value.to_str() {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(Problem::new(Kind::BadHeader, format!("{name} holds other than visible ASCII"))),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn numbers_are_plain() {
        let check = |text: &'static str, min| {
            let mut headers = HeaderMap::new();
            headers.insert(header::STREAM_TTL, HeaderValue::from_static(text));
            whole_number(&headers, header::STREAM_TTL, min).ok().flatten()
        };
        assert_eq!(check("3600", 0), Some(3600));
        assert_eq!(check("0", 0), Some(0));
        assert_eq!(check("0", 1), None);
        for bad in ["", "+1", "01", "1.0", "1e3", "-1", "abc", "99999999999999999999", "18446744073709551615"] {
            assert_eq!(check(bad, 0), None, "{bad}");
        }
    }
}
