//! The opening handshake (RFC 6455 section 4.2), and taking the connection over from the HTTP server behind it.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use quintet_wire::content;
use quintet_wire::problem::kind::Kind;
use quintet_wire::problem::object;
use tokio::net::TcpStream;

use crate::error::{Problem, Result};
use crate::serve::Guest;
use crate::serve::rewound::Rewound;
use crate::serve::tls::TlsSocket;
use crate::state::Gateway;
use crate::websocket::close::Close;
use crate::websocket::connection::Connection;
use crate::websocket::doors::Doors;
use crate::websocket::frame::parser::Parser;
use crate::websocket::protocol::{Link, Protocol};
use crate::websocket::sha1;
use crate::websocket::socket::Socket;
use crate::websocket::transport::Transport;

/// What the key is joined to (section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Checks the handshake; gives what to answer to the key, or the refusal as an answer.
pub(crate) fn check(request: &Request) -> Result<HeaderValue, Box<Response>> {
    let headers = request.headers();
    let asked = request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && has_token(headers, &CONNECTION, "upgrade")
        && has_token(headers, &UPGRADE, "websocket");
    if !asked {
        return Err(upgrade_required("this is a WebSocket: open it with a WebSocket client over HTTP/1.1"));
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(upgrade_required("the hub speaks version 13 of the WebSocket protocol (RFC 6455)"));
    }
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    match (keys.next(), keys.next()) {
        (Some(key), None) if is_key(key) => Ok(accept(key.as_bytes())),
        _ => {
            let detail = "Sec-WebSocket-Key is one header with 16 random bytes in base64";
            Err(Box::new(Problem::new(Kind::BadHeader, detail).into_response()))
        }
    }
}

/// The subprotocols that a client offers, in its order.
pub(crate) fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|name| !name.is_empty())
}

/// What a protocol does when its connection is there.
pub(crate) trait Begin<P: Protocol>:
    FnOnce(&mut P, &mut Link<'_, P::Done>) -> Result<(), Close> + Send + 'static
{
}

impl<P: Protocol, F> Begin<P> for F where F: FnOnce(&mut P, &mut Link<'_, P::Done>) -> Result<(), Close> + Send + 'static
{}

/// What is to be spoken.
pub(crate) struct Upgrade<P, B> {
    pub(crate) protocol: P,
    pub(crate) begin: B,
    /// The subprotocol that was chosen of those offered.
    pub(crate) subprotocol: Option<&'static str>,
    /// The largest message taken.
    pub(crate) message_bytes: usize,
}

/// Answers 101 and runs the protocol on the connection from then on.
pub(crate) fn switch<P: Protocol, B: Begin<P>>(
    gateway: &Gateway,
    mut request: Request,
    accept: HeaderValue,
    upgrade: Upgrade<P, B>,
) -> Result<Response> {
    if gateway.shutdown().has_begun() {
        return Err(Problem::new(Kind::ShuttingDown, "the hub is stopping; come back in a moment"));
    }
    let doors = Arc::clone(gateway.websocket());
    let guest = request.extensions().get::<Guest>().cloned();
    let upgraded = hyper::upgrade::on(&mut request);
    let Upgrade { protocol, begin, subprotocol, message_bytes } = upgrade;
    tokio::spawn(async move {
        match upgraded.await {
            Ok(upgraded) => {
                let (transport, early) = take_over(upgraded, &doors);
                let socket = Socket::new(transport, Arc::clone(&doors));
                let mut connection = Connection::new(Arc::clone(&socket), Parser::new(message_bytes), protocol, guest);
                connection.unread(&early);
                connection.begin(begin);
                doors.look_after(&socket);
                // A task of its own, as this one's future also holds what the handshake needed.
                tokio::spawn(connection);
            }
            Err(error) => tracing::debug!(%error, "a connection ended in its WebSocket handshake"),
        }
    });
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(subprotocol) = subprotocol {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
    }
    Ok(response)
}

/// The socket itself, bare or behind TLS, if the HTTP server has it so, and what it has read already. The server's
/// buffer goes.
fn take_over(upgraded: Upgraded, doors: &Doors) -> (Transport, Bytes) {
    let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => return (Transport::tcp(parts.io.into_inner(), doors.send_buffer_bytes()), parts.read_buf),
        Err(upgraded) => upgraded,
    };
    let upgraded = match upgraded.downcast::<TokioIo<Rewound>>() {
        Ok(parts) => {
            let (unread, stream) = parts.io.into_inner().into_parts();
            let early = if unread.is_empty() { parts.read_buf } else { [parts.read_buf, unread].concat().into() };
            return (Transport::tcp(stream, doors.send_buffer_bytes()), early);
        }
        Err(upgraded) => upgraded,
    };
    match upgraded.downcast::<TokioIo<TlsSocket>>() {
        Ok(parts) => (Transport::tls(parts.io.into_inner(), doors.send_buffer_bytes()), parts.read_buf),
        Err(upgraded) => (Transport::other(TokioIo::new(upgraded)), Bytes::new()),
    }
}

/// 426 with what the hub speaks (section 4.4).
fn upgrade_required(detail: &str) -> Box<Response> {
    let mut problem = object::Problem::new(Kind::BadRequest, detail);
    problem.status = StatusCode::UPGRADE_REQUIRED.as_u16();
    let mut response = (StatusCode::UPGRADE_REQUIRED, problem.to_json()).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content::PROBLEM));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    Box::new(response)
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|given| given.trim().eq_ignore_ascii_case(token))
}

fn is_key(key: &HeaderValue) -> bool {
    STANDARD.decode(key.as_bytes()).is_ok_and(|bytes| bytes.len() == 16)
}

fn accept(key: &[u8]) -> HeaderValue {
    let digest = sha1::digest(&[key, GUID.as_bytes()].concat());
    HeaderValue::try_from(STANDARD.encode(digest)).expect("base64 is visible ASCII")
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn request(change: impl FnOnce(&mut HeaderMap)) -> Request {
        let mut request = Request::new(Body::empty());
        let headers = request.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("WebSocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        change(headers);
        request
    }

    #[test]
    fn the_key_of_the_standard_is_accepted() {
        assert_eq!(check(&request(|_| {})).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn what_is_no_handshake_is_refused() {
        let status = |change: fn(&mut HeaderMap)| check(&request(change)).unwrap_err().status().as_u16();
        assert_eq!(status(|h| drop(h.remove(UPGRADE))), 426);
        assert_eq!(status(|h| drop(h.remove(CONNECTION))), 426);
        assert_eq!(status(|h| drop(h.remove(SEC_WEBSOCKET_VERSION))), 426);
        assert_eq!(status(|h| drop(h.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("8")))), 426);
        assert_eq!(status(|h| drop(h.remove(SEC_WEBSOCKET_KEY))), 400);
        assert_eq!(status(|h| drop(h.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_static("c2hvcnQ=")))), 400);
        let wrong = check(&request(|h| drop(h.remove(SEC_WEBSOCKET_VERSION)))).unwrap_err();
        assert_eq!(wrong.headers()[SEC_WEBSOCKET_VERSION], "13");
    }

    #[test]
    fn subprotocols_are_read_from_all_headers() {
        let request = request(|headers| {
            headers.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("a, quintet.v1"));
            headers.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("b"));
        });
        assert_eq!(offered(request.headers()).collect::<Vec<_>>(), ["a", "quintet.v1", "b"]);
    }
}
