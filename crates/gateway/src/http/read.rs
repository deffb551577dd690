//! `GET` on a topic: which of the ways to read is asked for, and from where.

use axum::extract::Request;
use http::header::{ACCEPT, UPGRADE};
use http::{HeaderMap, Uri};
use quintet_core::cursor::Since;
use quintet_wire::content;
use quintet_wire::problem::kind::Kind;

use crate::convert::parse_since;
use crate::error::{Problem, Result};
use crate::http::dialect::Dialect;
use crate::http::topics::{Answer, TopicRequest, answer};
use crate::http::{long_polling, query, short_polling};
use crate::{presence, sse, websocket};

/// Gives the answer of the way that is asked for, alone in its box: a poll may wait in it for long.
pub(crate) fn read(asked: TopicRequest, request: Request) -> Result<Answer> {
    if is_websocket(request.headers()) {
        // It checks for itself, and refuses by a close code: a browser sees no status.
        let strict = asked.dialect == Dialect::Stream;
        return Ok(answer(websocket::topic(asked.gateway, asked.access, asked.topic, strict, request)));
    }
    asked.check_read()?;
    let uri = request.uri();
    let offset = match query::parameter(uri, "offset")? {
        Some(text) => Some(parse_since(&text)?),
        None => None,
    };
    let encoding = Encoding::of(request.headers());
    let mode = asked.gateway.config().presence;
    let member = presence::of_request(mode, &asked.access, &asked.topic, request.headers(), uri)?;
    match live(uri)? {
        Some(Live::LongPoll) => {
            long_polling::read(asked, member, offset.ok_or_else(offset_missing)?, encoding, &request)
        }
        Some(Live::Events) => {
            let since = offset.ok_or_else(offset_missing)?;
            Ok(answer(async move { sse::durable::open(asked, member, &since, request.uri()).await }))
        }
        None if accepts(request.headers(), content::EVENTS) => {
            Ok(answer(async move { sse::event_source::open(asked, member, offset, encoding, request.headers()).await }))
        }
        None if query::prefer_wait(request.headers()).is_some() => {
            let since = match (offset, asked.dialect) {
                (Some(since), _) => since,
                (None, Dialect::Topics) => Since::Start,
                (None, Dialect::Stream) => return Err(offset_missing()),
            };
            long_polling::read(asked, member, since, encoding, &request)
        }
        None => short_polling::read(asked, member, offset.unwrap_or(Since::Start), encoding, &request),
    }
}

/// The live reads of Durable Streams.
enum Live {
    LongPoll,
    Events,
}

fn live(uri: &Uri) -> Result<Option<Live>> {
    match query::parameter(uri, "live")?.as_deref() {
        None => Ok(None),
        Some("long-poll") => Ok(Some(Live::LongPoll)),
        Some("sse") => Ok(Some(Live::Events)),
        Some(other) => Err(Problem::new(Kind::BadRequest, format!("live is long-poll or sse, not {other:?}"))),
    }
}

/// How messages are told in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As Durable Streams has it: a JSON array, or the bytes one after the other.
    Plain,
    /// An array of envelopes.
    Envelopes,
}

impl Encoding {
    fn of(headers: &HeaderMap) -> Self {
        if accepts(headers, content::ENVELOPES) { Self::Envelopes } else { Self::Plain }
    }
}

/// The read's own bound on messages.
pub(crate) fn limit(uri: &Uri) -> Result<usize> {
    match query::number(uri, "limit")? {
        None => Ok(usize::MAX),
        Some(0) => Err(Problem::new(Kind::BadRequest, "limit is a number of messages from 1")),
        Some(limit) => Ok(usize::try_from(limit).unwrap_or(usize::MAX)),
    }
}

fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let mut values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.any(|value| content::accept_names(value, media_type))
}

fn is_websocket(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(UPGRADE).iter().filter_map(|value| value.to_str().ok());
    values.any(|value| value.split(',').any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket")))
}

fn offset_missing() -> Problem {
    Problem::new(Kind::BadRequest, "a live read says from where: offset=<cursor>, offset=-1 or offset=now")
}
