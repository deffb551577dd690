//! `live=sse`: a topic in the framing of Durable Streams (section 5.8), `data` and `control` events.
//!
//! The protocol knows one type for a whole stream. A topic that takes several is streamed as far as its messages are of
//! its own type; a client that comes back at one that is not is told to read envelopes.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::Uri;
use quintet_core::batch::Batch;
use quintet_core::cursor::{Position, Since};
use quintet_core::fanout::Delivery;
use quintet_core::following::Selection;
use quintet_core::hub::Hub;
use quintet_core::message::{ContentType, Message};
use quintet_core::presence::Member;
use quintet_core::reading::{Page, Read};
use quintet_wire::problem::kind::Kind;
use quintet_wire::sse::durable::{Control, control, data, is_base64};
use quintet_wire::{content, header};

use crate::convert::token;
use crate::error::{Problem, Result};
use crate::format;
use crate::http::query;
use crate::http::topics::{TopicRequest, set};
use crate::sse::cursor::stream_cursor;
use crate::sse::feed::{Flow, Framing, Pieces, feed};
use crate::sse::stream::{Voice, events, response};

/// Opens the stream.
pub(crate) async fn open(asked: TopicRequest, member: Option<Member>, since: &Since, uri: &Uri) -> Result<Response> {
    let hub = asked.gateway.hub();
    let refuse = |error| asked.dialect.refuse(error);
    // One message tells whether the cursor holds, whether there is anything, and of what type it is.
    let read = Read { messages: 1, absent: asked.dialect.absent(), ..Read::new(asked.topic.clone(), since.clone()) };
    let page = hub.read(&read).await.map_err(refuse)?;
    let framing = DurableFraming {
        content_type: page.info.as_ref().map(|info| (info.config.content_type.clone(), info.config.fixed_type)),
        known_cursor: query::parameter(uri, "cursor")?.map(Into::into),
        hub: Arc::clone(hub),
    };
    check_type(&framing, &page)?;
    let base64 = framing.is_base64();
    let mut response = if page.closed && page.batch.is_empty() {
        // The end is told at once, and nothing is followed.
        events(Body::from(framing.control(page.from, true, true)))
    } else {
        follow(&asked, member, since, &page, framing).await?
    };
    if base64 {
        set(response.headers_mut(), header::STREAM_SSE_DATA_ENCODING, "base64");
    }
    Ok(response)
}

async fn follow(
    asked: &TopicRequest,
    member: Option<Member>,
    since: &Since,
    page: &Page,
    framing: DurableFraming,
) -> Result<Response> {
    let refuse = |error| asked.dialect.refuse(error);
    let hub = asked.gateway.hub();
    // A topic that does not exist yet may come into being in another log than the one its end was told of.
    let since = if page.info.is_some() { Since::After(page.from.into()) } else { since.clone() };
    let selection = Selection::Topic(asked.topic.clone());
    let start = hub.start_at(&selection, &since, asked.dialect.absent()).await.map_err(refuse)?;
    let at = start.cursor().position();
    let opening = if page.batch.is_empty() { framing.control(at, true, false) } else { Bytes::new() };
    let (sink, feed) = feed(Arc::new(framing), opening, at);
    let handle = hub.follow(start, Box::new(sink)).map_err(refuse)?;
    let guard = member.map(|member| hub.presence().enter(&asked.topic, member)).transpose()?;
    let config = asked.gateway.config();
    let rotation = Some(config.sse_rotation);
    let voice = Voice { heartbeat, farewell, every: config.heartbeat, retry: config.retry, rotation };
    Ok(response(feed, handle, guard, voice, asked.gateway.shutdown()))
}

/// The page's one message has to be of the stream's type.
fn check_type(framing: &DurableFraming, page: &Page) -> Result<()> {
    match page.batch.messages().first().filter(|message| !framing.takes(message)) {
        None => Ok(()),
        Some(message) => {
            let detail = format!(
                "the next message is of type {}, which this stream cannot tell; read it with Accept: {}",
                message.content_type.as_str(),
                content::ENVELOPES
            );
            Err(Problem::new(Kind::NotAcceptable, detail))
        }
    }
}

/// `data` for each batch, then `control`.
#[derive(Debug)]
struct DurableFraming {
    /// The topic's type and whether it is fixed; none if the topic does not exist yet, and then all is base64.
    content_type: Option<(ContentType, bool)>,
    /// The cursor that the client has been told before.
    known_cursor: Option<Box<str>>,
    hub: Arc<Hub>,
}

impl DurableFraming {
    fn is_base64(&self) -> bool {
        self.content_type.as_ref().is_none_or(|(content_type, _)| is_base64(content_type.as_str()))
    }

    fn takes(&self, message: &Message) -> bool {
        match &self.content_type {
            Some((content_type, false)) => message.content_type.matches(content_type),
            Some((_, true)) | None => true,
        }
    }

    fn control(&self, at: Position, up_to_date: bool, closed: bool) -> Bytes {
        let cursor = (!closed).then(|| stream_cursor(self.known_cursor.as_deref(), self.hub.now()).to_string());
        let event = Control {
            stream_next_offset: token(at).into(),
            stream_cursor: cursor,
            up_to_date: up_to_date || closed,
            stream_closed: closed,
        };
        let mut out = Vec::with_capacity(128);
        control(&mut out, &event);
        out.into()
    }

    fn data(&self, batch: &Batch) -> Bytes {
        match &self.content_type {
            Some((content_type, _)) => {
                batch.encoding(format::DURABLE_EVENTS, |batch| encode(batch.messages(), content_type.as_str()))
            }
            None => batch.encoding(format::DURABLE_BASE64, |batch| encode(batch.messages(), content::OCTETS)),
        }
    }

    /// As many messages as are of the stream's type; then it ends, and the client learns why when it comes back.
    fn prefix(&self, batch: &Batch, pieces: &mut Pieces) {
        let n = batch.messages().iter().take_while(|message| self.takes(message)).count();
        let Some((messages, last)) = batch.messages().get(..n).and_then(|m| Some((m, m.last()?))) else { return };
        let content_type =
            self.content_type.as_ref().map_or(content::OCTETS, |(content_type, _)| content_type.as_str());
        pieces.push(encode(messages, content_type));
        pieces.push(self.control(Position { log: batch.next().log, offset: last.offset }, false, false));
    }
}

impl Framing for DurableFraming {
    fn frame(&self, delivery: &Delivery, pieces: &mut Pieces) -> Flow {
        match delivery {
            Delivery::Messages { batch, up_to_date, closed } => {
                if !batch.messages().iter().all(|message| self.takes(message)) {
                    self.prefix(batch, pieces);
                    return Flow::End;
                }
                pieces.push(self.data(batch));
                pieces.push(self.control(batch.next(), *up_to_date, *closed));
                if *closed { Flow::End } else { Flow::On(batch.next()) }
            }
            Delivery::Closed { at, .. } => {
                pieces.push(self.control(*at, true, true));
                Flow::End
            }
            // The protocol has no event for these: the client comes back with its offset and gets the status.
            Delivery::Deleted { .. } | Delivery::Gap { .. } | Delivery::Failed(_) => Flow::End,
        }
    }
}

fn encode(messages: &[Arc<Message>], content_type: &str) -> Bytes {
    let mut out = Vec::new();
    data(&mut out, content_type, messages.iter().map(|message| &message.payload[..]));
    out.into()
}

fn heartbeat(_at: Position) -> Bytes {
    Bytes::from_static(b": \n\n")
}

/// The connection's end says enough; the client comes back with its offset.
fn farewell(_at: Position, _retry: Duration) -> Bytes {
    Bytes::new()
}
