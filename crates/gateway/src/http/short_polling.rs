//! Short polling: what is new since a cursor, at once (Durable Streams section 5.6). Long polling answers in the same
//! shape, which is built here too.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};
use quintet_core::batch::Batch;
use quintet_core::cursor::Since;
use quintet_core::message::ContentType;
use quintet_core::presence::Member;
use quintet_core::reading::{Page, Read};
use quintet_wire::problem::kind::Kind;
use quintet_wire::{content, header};

use crate::convert::{token, write_envelopes};
use crate::error::{Problem, Result};
use crate::format;
use crate::http::read::{Encoding, limit};
use crate::http::topics::{Answer, TopicRequest, answer, put, set, set_true};

/// Headers that an answer to a read gets in all, so that their map grows once.
pub(crate) const HEADERS_EXPECTED: usize = 12;

/// Reads and answers at once. Dropping the future has no effect.
pub(crate) fn read(
    asked: TopicRequest,
    member: Option<Member>,
    since: Since,
    encoding: Encoding,
    request: &Request,
) -> Result<Answer> {
    let is_now = since == Since::Now;
    let messages = limit(request.uri())?;
    let read = Read { topic: asked.topic.clone(), since, messages, absent: asked.dialect.absent() };
    let known = Known::of(request.headers());
    let shared = may_be_shared(member.as_ref());
    if let Some(member) = member {
        asked.gateway.hub().presence().touch(&asked.topic, member, Duration::ZERO)?;
    }
    Ok(answer(async move {
        let page = asked.gateway.hub().read(&read).await.map_err(|error| asked.dialect.refuse(error))?;
        let caching = match (is_now, page.up_to_date) {
            (true, _) => Caching::Never,
            // The protocol's max-age at the tail would freeze a browser's short poll for as long.
            (false, false) if shared => Caching::Keep,
            (false, _) => Caching::Revalidate,
        };
        told(&asked, &page, encoding, caching, &known)
    }))
}

/// Whether an answer may be given again without asking (Durable Streams section 10.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caching {
    /// It is true for this moment only.
    Never,
    /// Only if the entity tag still holds.
    Revalidate,
    /// It stays true: there is more behind it, and what it tells does not change.
    Keep,
}

/// Whether a cache may answer for the hub. Whoever asks to be seen has to come to the hub with every question.
pub(crate) fn may_be_shared(member: Option<&Member>) -> bool {
    member.is_none_or(Member::is_implied)
}

/// The answer to a read that found something, or that does not wait.
pub(crate) fn told(
    asked: &TopicRequest,
    page: &Page,
    encoding: Encoding,
    caching: Caching,
    known: &Known,
) -> Result<Response> {
    let content_type = page.info.as_ref().map(|info| &info.config.content_type);
    let etag = (caching != Caching::Never).then(|| entity_tag(page, encoding));
    if encoding == Encoding::Plain {
        // What is refused is refused whatever the client knows (RFC 9110 section 13.2.1).
        check_types(&page.batch, content_type)?;
    }
    let known = etag.as_ref().is_some_and(|etag| known.holds(etag));
    let body = if known { Bytes::new() } else { body(page, encoding, content_type) };
    let mut response = Body::from(body).into_response();
    let headers = response.headers_mut();
    headers.reserve(HEADERS_EXPECTED);
    if let Some(etag) = etag {
        put(headers, ETAG, &etag);
    }
    stream_headers(headers, page);
    let private = !asked.gateway.config().tokens.is_empty();
    headers.insert(CACHE_CONTROL, cache_control(caching, private));
    headers.append(
        VARY,
        HeaderValue::from_static(match caching {
            Caching::Never | Caching::Revalidate => "Accept",
            // Who asks to be a member has to come to the hub.
            Caching::Keep => "Accept, Presence-Id, Presence-Data",
        }),
    );
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        match (encoding, content_type) {
            (Encoding::Envelopes, _) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(content::ENVELOPES));
            }
            (Encoding::Plain, Some(content_type)) => put(headers, CONTENT_TYPE, content_type.as_str()),
            // Nothing is known of a topic that does not exist yet, and there is nothing of it.
            (Encoding::Plain, None) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(content::OCTETS));
            }
        }
    }
    Ok(response)
}

/// Where the reader stands, in headers (Durable Streams section 5.6).
pub(crate) fn stream_headers(headers: &mut HeaderMap, page: &Page) {
    set(headers, header::STREAM_NEXT_OFFSET, token(page.batch.next()));
    if page.up_to_date {
        set_true(headers, header::STREAM_UP_TO_DATE);
    }
    if page.closed {
        set_true(headers, header::STREAM_CLOSED);
    }
}

fn cache_control(caching: Caching, private: bool) -> HeaderValue {
    HeaderValue::from_static(match (caching, private) {
        (Caching::Never, _) => "no-store",
        (Caching::Revalidate, false) => "no-cache",
        (Caching::Revalidate, true) => "private, no-cache",
        (Caching::Keep, false) => "public, max-age=60, stale-while-revalidate=300",
        (Caching::Keep, true) => "private, max-age=60, stale-while-revalidate=300",
    })
}

/// Two answers with the same tag are the same: of the same life of the topic, between the same cursors, with the same
/// end, in the same format.
fn entity_tag(page: &Page, encoding: Encoding) -> String {
    let (log, created) = page.info.as_ref().map_or((0, 0), |info| (info.created.log.0, info.created.offset.0));
    let end = match (page.closed, page.up_to_date) {
        (true, _) => 'c',
        (false, true) => 'u',
        (false, false) => 'm',
    };
    let format = match encoding {
        Encoding::Plain => 'p',
        Encoding::Envelopes => 'e',
    };
    let (from, next) = (page.from.offset.0, page.batch.next().offset.0);
    format!("\"{log:x}-{created:x}-{from:x}-{next:x}-{end}{format}\"")
}

/// The entity tags that a client knows (`If-None-Match`, RFC 9110 section 13.1.2, weak comparison).
pub(crate) struct Known(Vec<Box<str>>);

impl Known {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let tags = values.flat_map(|value| value.split(','));
        Self(tags.map(|tag| tag.trim().trim_start_matches("W/").into()).collect())
    }

    fn holds(&self, etag: &str) -> bool {
        self.0.iter().any(|tag| **tag == *etag || **tag == *"*")
    }
}

fn body(page: &Page, encoding: Encoding, content_type: Option<&ContentType>) -> Bytes {
    match encoding {
        Encoding::Envelopes => page.batch.encoding(format::ENVELOPES, envelopes),
        Encoding::Plain => plain(&page.batch, content_type),
    }
}

fn envelopes(batch: &Batch) -> Bytes {
    let mut out = vec![b'['];
    write_envelopes(&mut out, batch);
    out.push(b']');
    out.into()
}

/// Refuses what plain bodies cannot tell apart.
fn check_types(batch: &Batch, content_type: Option<&ContentType>) -> Result<()> {
    let Some(content_type) = content_type else { return Ok(()) };
    if let Some(other) = batch.messages().iter().find(|message| !message.content_type.matches(content_type)) {
        let detail = format!(
            "the topic is of type {}, but the message at {} is {}; read it with Accept: {}",
            content_type.as_str(),
            token(quintet_core::cursor::Position { log: batch.next().log, offset: other.offset }),
            other.content_type.as_str(),
            content::ENVELOPES,
        );
        return Err(Problem::new(Kind::NotAcceptable, detail));
    }
    Ok(())
}

/// A JSON array of the messages, or their bytes one after the other (Durable Streams section 9.1.5).
fn plain(batch: &Batch, content_type: Option<&ContentType>) -> Bytes {
    let Some(content_type) = content_type else { return Bytes::new() };
    let messages = batch.messages();
    let json = content::is_application_json(content_type.as_str());
    if let ([message], false) = (messages, json) {
        return message.payload.clone();
    }
    let size: usize = messages.iter().map(|message| message.payload.len() + 1).sum();
    let mut out = Vec::with_capacity(size + 2);
    if json {
        out.push(b'[');
    }
    for (i, message) in messages.iter().enumerate() {
        if json && i > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&message.payload);
    }
    if json {
        out.push(b']');
    }
    out.into()
}
