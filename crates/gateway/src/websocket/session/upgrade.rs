//! `GET /ws`.

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::get;
use http::HeaderMap;
use quintet_wire::problem::kind::Kind;
use quintet_wire::websocket;

use crate::auth::Caller;
use crate::error::{Problem, Result};
use crate::state::Gateway;
use crate::websocket::handshake;
use crate::websocket::session::message_bytes;
use crate::websocket::session::protocol::Session;

/// The session's route.
pub(crate) fn routes() -> Router<Gateway> {
    Router::new().route("/ws", get(open))
}

async fn open(State(gateway): State<Gateway>, Caller(access): Caller, request: Request) -> Result<Response> {
    let accept = match handshake::check(&request) {
        Ok(accept) => accept,
        Err(refusal) => return Ok(*refusal),
    };
    let upgrade = handshake::Upgrade {
        protocol: Session::new(gateway.clone(), access),
        begin: |_: &mut Session, _: &mut crate::websocket::protocol::Link<'_, _>| Ok(()),
        subprotocol: choose(request.headers())?,
        message_bytes: message_bytes(gateway.hub().limits()),
    };
    handshake::switch(&gateway, request, accept, upgrade)
}

fn choose(headers: &HeaderMap) -> Result<Option<&'static str>> {
    let mut offered = handshake::offered(headers).peekable();
    if offered.peek().is_none() {
        return Ok(None);
    }
    if offered.any(|name| name == websocket::SESSION) {
        return Ok(Some(websocket::SESSION));
    }
    let detail = format!("a session's subprotocol is {}; offer it, or none", websocket::SESSION);
    Err(Problem::new(Kind::BadHeader, detail))
}
