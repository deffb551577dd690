//! A topic for a plain `EventSource`: one event a message, its `id:` the cursor, so that the browser resumes by itself.

use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};
use quintet_core::batch::{Batch, Format};
use quintet_core::cursor::{LogId, Position, Since};
use quintet_core::fanout::Delivery;
use quintet_core::following::Selection;
use quintet_core::message::Message;
use quintet_core::presence::Member;
use quintet_core::reading::Read;
use quintet_wire::problem::kind::Kind;
use quintet_wire::token::Cursor;
use quintet_wire::{header, sse};

use crate::convert::{parse_since, token, write_envelope};
use crate::error::{Problem, Result};
use crate::format;
use crate::http::read::Encoding;
use crate::http::short_polling::stream_headers;
use crate::http::topics::TopicRequest;
use crate::sse::feed::{Flow, Framing, Pieces, feed};
use crate::sse::stream::{Voice, response};

/// Opens the stream. `Last-Event-ID` goes before `offset`, which stays in the URL when a browser connects again.
pub(crate) async fn open(
    asked: TopicRequest,
    member: Option<Member>,
    offset: Option<Since>,
    encoding: Encoding,
    headers: &HeaderMap,
) -> Result<Response> {
    let last_event = last_event(headers)?;
    if let Some(since) = &last_event
        && let Some(end) = ended(&asked, since).await
    {
        return Ok(end);
    }
    let since = last_event.or(offset).unwrap_or(Since::Now);
    let hub = asked.gateway.hub();
    let selection = Selection::Topic(asked.topic.clone());
    let refuse = |error| asked.dialect.refuse(error);
    let start = hub.start_at(&selection, &since, asked.dialect.absent()).await.map_err(refuse)?;
    let position = start.cursor().position();
    let config = asked.gateway.config();
    let mut opening = Vec::new();
    sse::event::opening(&mut opening, millis(config.retry), &cursor(position));
    let (sink, feed) = feed(Arc::new(EventSourceFraming { encoding }), opening.into(), position);
    let handle = hub.follow(start, Box::new(sink)).map_err(refuse)?;
    let guard = member.map(|member| hub.presence().enter(&asked.topic, member)).transpose()?;
    let voice = Voice { heartbeat, farewell, every: config.heartbeat, retry: config.retry, rotation: None };
    Ok(response(feed, handle, guard, voice, asked.gateway.shutdown()))
}

/// `204`, which ends an `EventSource` for good, when it comes back to a closed topic of which it has seen everything.
async fn ended(asked: &TopicRequest, since: &Since) -> Option<Response> {
    let read = Read { messages: 1, absent: asked.dialect.absent(), ..Read::new(asked.topic.clone(), since.clone()) };
    let page = asked.gateway.hub().read(&read).await.ok()?;
    if !page.closed || !page.batch.is_empty() {
        return None;
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    stream_headers(headers, &page);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.append(VARY, HeaderValue::from_static("Accept, Last-Event-ID"));
    Some(response)
}

fn last_event(headers: &HeaderMap) -> Result<Option<Since>> {
    let Some(value) = headers.get(header::LAST_EVENT_ID).filter(|value| !value.is_empty()) else { return Ok(None) };
    match value.to_str() {
        Ok(text) => parse_since(text).map(Some),
        Err(_) => Err(Problem::new(Kind::BadCursor, "Last-Event-ID is not a cursor that this hub gave out")),
    }
}

/// One event a message: its payload, or its envelope.
#[derive(Debug)]
struct EventSourceFraming {
    encoding: Encoding,
}

impl Framing for EventSourceFraming {
    fn frame(&self, delivery: &Delivery, pieces: &mut Pieces) -> Flow {
        let mut own = Vec::new();
        let flow = match delivery {
            Delivery::Messages { batch, closed, .. } => {
                pieces.push(match self.encoding {
                    Encoding::Plain => encode(batch, format::EVENTS, write_payload),
                    Encoding::Envelopes => encode(batch, format::ENVELOPE_EVENTS, write_envelope_event),
                });
                if *closed {
                    sse::event::closed(&mut own, &cursor(batch.next()));
                }
                if *closed { Flow::End } else { Flow::On(batch.next()) }
            }
            Delivery::Closed { at, .. } => {
                sse::event::closed(&mut own, &cursor(*at));
                Flow::End
            }
            Delivery::Deleted { at, .. } => {
                sse::event::deleted(&mut own, &cursor(*at));
                Flow::End
            }
            Delivery::Gap { first_available, .. } => {
                sse::event::gap(&mut own, &cursor(*first_available));
                Flow::On(*first_available)
            }
            // The client comes back with its last id, and is told then what is the matter.
            Delivery::Failed(error) => {
                tracing::debug!(%error, "a stream of events ends");
                Flow::End
            }
        };
        if !own.is_empty() {
            pieces.push(own.into());
        }
        flow
    }
}

fn encode(batch: &Batch, format: Format, write: fn(&mut Vec<u8>, LogId, &Message)) -> Bytes {
    batch.encoding(format, |batch| {
        let mut out = Vec::new();
        for message in batch.messages() {
            write(&mut out, batch.next().log, message);
        }
        out.into()
    })
}

fn write_payload(out: &mut Vec<u8>, log: LogId, message: &Message) {
    let at = cursor(Position { log, offset: message.offset });
    sse::event::message(out, &at, message.content_type.as_str(), &message.payload);
}

fn write_envelope_event(out: &mut Vec<u8>, log: LogId, message: &Message) {
    let mut envelope = Vec::new();
    write_envelope(&mut envelope, log, message);
    // An envelope is JSON that this crate has just written, so this never replaces anything.
    let at = cursor(Position { log, offset: message.offset });
    sse::event::envelope(out, &at, &String::from_utf8_lossy(&envelope));
}

fn heartbeat(at: Position) -> Bytes {
    let mut out = Vec::new();
    sse::event::heartbeat(&mut out, &cursor(at));
    out.into()
}

fn farewell(at: Position, retry: Duration) -> Bytes {
    let mut out = Vec::new();
    sse::event::opening(&mut out, millis(retry), &cursor(at));
    out.into()
}

fn cursor(position: Position) -> Cursor {
    token(position).into()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
