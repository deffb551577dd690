//! Long polling: what is new since a cursor, as soon as there is something (Durable Streams section 5.7), also as
//! `Prefer: wait=N` (RFC 7240).

use std::time::Duration;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, VARY};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use quintet_core::cursor::Since;
use quintet_core::error::{Kind as CoreKind, Result as CoreResult};
use quintet_core::presence::Member;
use quintet_core::reading::{Page, Read};
use quintet_wire::header;
use tokio::time::Instant;

use crate::error::Result;
use crate::http::query;
use crate::http::read::{Encoding, limit};
use crate::http::short_polling::{Caching, HEADERS_EXPECTED, Known, may_be_shared, stream_headers, told};
use crate::http::topics::{Answer, TopicRequest, answer, set, set_true};
use crate::sse::cursor::stream_cursor;

/// Waits and answers. Dropping the future, as happens when the client goes away, ends the wait.
///
/// Nothing of the request goes into the future: its head lies in the connection's read buffer, which would be held for
/// as long as the wait takes.
pub(crate) fn read(
    asked: TopicRequest,
    member: Option<Member>,
    since: Since,
    encoding: Encoding,
    request: &Request,
) -> Result<Answer> {
    let (headers, uri) = (request.headers(), request.uri());
    let wait = Wait::of(&asked, headers, uri)?;
    let cursor = stream_cursor(query::parameter(uri, "cursor")?.as_deref(), asked.gateway.hub().now());
    // From a cursor the answer is the same for all who wait there, so that caches may hand it out.
    let cacheable = matches!(since, Since::After(_)) && !wait.preferred && may_be_shared(member.as_ref());
    let caching = if cacheable { Caching::Keep } else { Caching::Revalidate };
    let read = Read { topic: asked.topic.clone(), since, messages: limit(uri)?, absent: asked.dialect.absent() };
    let known = Known::of(headers);
    if let Some(member) = member {
        asked.gateway.hub().presence().touch(&asked.topic, member, wait.time)?;
    }
    Ok(answer(async move {
        let page = wait_for(&asked, &read, wait.time).await.map_err(|error| asked.dialect.refuse(error))?;
        let mut response =
            if page.batch.is_empty() { nothing(&page) } else { told(&asked, &page, encoding, caching, &known)? };
        let headers = response.headers_mut();
        if !page.closed {
            set(headers, header::STREAM_CURSOR, cursor);
        }
        if wait.preferred {
            set(headers, header::PREFERENCE_APPLIED, format_args!("wait={}", wait.time.as_secs()));
            headers.append(VARY, HeaderValue::from_static("Prefer"));
        }
        Ok(response)
    }))
}

struct Wait {
    time: Duration,
    /// It was asked for by `Prefer`.
    preferred: bool,
}

impl Wait {
    /// `timeout` goes before `Prefer`, as it says more exactly who meant it.
    fn of(asked: &TopicRequest, headers: &HeaderMap, uri: &Uri) -> Result<Self> {
        let max = asked.gateway.hub().limits().wait_max;
        let timeout = query::number(uri, "timeout")?;
        let preferred = query::prefer_wait(headers).filter(|_| timeout.is_none());
        let time = match timeout.or(preferred) {
            Some(n) => query::seconds(n, max),
            None => asked.gateway.config().long_poll_wait.min(max),
        };
        Ok(Self { time, preferred: preferred.is_some() })
    }
}

/// Waits in the hub. When the doors close meanwhile, it is as if the time were up, so that clients simply poll again
/// and find whoever serves them then.
async fn wait_for(asked: &TopicRequest, read: &Read, wait: Duration) -> CoreResult<Page> {
    let hub = asked.gateway.hub();
    let until = Instant::now() + wait;
    tokio::select! {
        biased;
        page = hub.wait(read, until) => match page {
            // Boxed, as both are rare and their room would be held by all who wait.
            Err(error) if *error.kind() == CoreKind::ShuttingDown => Box::pin(hub.read(read)).await,
            page => page,
        },
        () = asked.gateway.shutdown().begun() => Box::pin(hub.read(read)).await,
    }
}

/// `204`: there is nothing new (Durable Streams section 5.7).
fn nothing(page: &Page) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.reserve(HEADERS_EXPECTED);
    stream_headers(headers, page);
    set_true(headers, header::STREAM_UP_TO_DATE);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
