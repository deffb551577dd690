//! `GET` on a topic with `Upgrade: websocket`.

use axum::extract::Request;
use axum::response::Response;
use http::HeaderMap;
use quintet_core::access::Access;
use quintet_core::cursor::Since;
use quintet_core::name::TopicName;
use quintet_core::reading::Absent;
use quintet_wire::problem::kind::Kind;
use quintet_wire::websocket;

use crate::convert;
use crate::error::{Problem, Result};
use crate::http::query;
use crate::http::topics::check_read;
use crate::presence;
use crate::state::Gateway;
use crate::websocket::close::Close;
use crate::websocket::handshake;
use crate::websocket::raw::protocol::{Frames, Raw};

/// Opens a WebSocket on a topic. `strict` is the rule of `/v1/stream`: the topic has to exist.
pub(crate) async fn topic(
    gateway: Gateway,
    access: Access,
    topic: TopicName,
    strict: bool,
    request: Request,
) -> Result<Response> {
    let accept = match handshake::check(&request) {
        Ok(accept) => accept,
        Err(refusal) => return Ok(*refusal),
    };
    let frames = choose(request.headers())?;
    let since = since(&request);
    let allowed = check_read(&access, &topic);
    let mode = gateway.config().presence;
    let member = presence::of_request(mode, &access, &topic, request.headers(), request.uri());
    let absent = if strict { Absent::Error } else { Absent::Empty };
    let message_bytes = match frames {
        Frames::Payloads => gateway.hub().limits().message_bytes,
        Frames::Envelopes => crate::websocket::session::message_bytes(gateway.hub().limits()),
    };
    let upgrade = handshake::Upgrade {
        protocol: Raw::new(gateway.clone(), access, topic, strict, frames),
        begin: move |raw: &mut Raw, link: &mut crate::websocket::protocol::Link<'_, _>| {
            let asked = allowed.and(since).and_then(|since| Ok((member?, since)));
            let (member, since) = asked.map_err(|problem| Close::from(&problem))?;
            raw.start(link, member, since, absent)
        },
        subprotocol: (frames == Frames::Envelopes).then_some(websocket::ENVELOPE),
        message_bytes,
    };
    handshake::switch(&gateway, request, accept, upgrade)
}

fn choose(headers: &HeaderMap) -> Result<Frames> {
    let mut offered = handshake::offered(headers).peekable();
    if offered.peek().is_none() {
        return Ok(Frames::Payloads);
    }
    if offered.any(|name| name == websocket::ENVELOPE) {
        return Ok(Frames::Envelopes);
    }
    let detail = format!("the subprotocol of a topic's WebSocket is {} or none", websocket::ENVELOPE);
    Err(Problem::new(Kind::BadHeader, detail))
}

/// Now, unless told otherwise.
fn since(request: &Request) -> Result<Since> {
    match query::parameter(request.uri(), "offset")? {
        Some(text) => convert::parse_since(&text),
        None => Ok(Since::Now),
    }
}
