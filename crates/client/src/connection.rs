//! One WebSocket session with the hub: commands out, frames in. When it breaks it is gone; who uses it makes another.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderValue, StatusCode};
use quintet_wire::problem::kind::Kind;
use quintet_wire::problem::object::Problem;
use quintet_wire::session::command::{Command, Id};
use quintet_wire::session::hub::{Frame, Goodbye};
use quintet_wire::websocket;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};

use crate::client::Client;
use crate::error::{Error, ErrorKind, UNTRUSTED};
use crate::http::{parse, problem};
use crate::limits::{CONNECT_MAX, FRAME_BYTES_MAX, SILENCE_MAX, WRITE_MAX};
use crate::tls::is_untrusted;

#[derive(Debug)]
pub(crate) struct Connection {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    n_commands: u64,
    // When the hub was last heard of.
    heard: Instant,
}

impl Connection {
    /// Connects. Dropping the future closes what was begun.
    pub(crate) async fn open(client: &Client) -> Result<Self, Error> {
        let mut request = client.session_url().into_client_request().map_err(broken)?;
        let headers = request.headers_mut();
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(websocket::SESSION));
        if let Some(authorization) = client.authorization() {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let config = WebSocketConfig::default()
            .read_buffer_size(16 << 10)
            .max_message_size(Some(FRAME_BYTES_MAX))
            .max_frame_size(Some(FRAME_BYTES_MAX));
        let tls = Connector::Rustls(Arc::clone(client.tls()));
        let connecting = connect_async_tls_with_config(request, Some(config), true, Some(tls));
        match timeout(CONNECT_MAX, connecting).await {
            Ok(Ok((socket, _))) => Ok(Connection { socket, n_commands: 0, heard: Instant::now() }),
            Ok(Err(error)) => Err(not_connected(error)),
            Err(_) => Err(Error::new(ErrorKind::Connect, "no connection to the hub in time")),
        }
    }

    /// Sends a command and waits for its answer. Only for a connection on which nothing else is under way: other
    /// frames are passed over.
    pub(crate) async fn call<T: DeserializeOwned>(&mut self, command: &Command) -> Result<T, Error> {
        let id = self.id();
        self.send(command, id).await?;
        loop {
            if let Frame::Answer { id: Some(answered), result } = self.receive().await?
                && answered == Id::from(id)
            {
                let ok = result.map_err(|problem| Error::refused(*problem, None))?;
                return parse(ok.get().as_bytes());
            }
        }
    }

    /// A number for a command, which no other command of this connection has.
    pub(crate) fn id(&mut self) -> u64 {
        self.n_commands += 1;
        self.n_commands
    }

    /// Sends a command at once.
    pub(crate) async fn send(&mut self, command: &Command, id: u64) -> Result<(), Error> {
        self.feed(command, id).await?;
        self.flush().await
    }

    /// Makes a command ready to be sent with others, by [`flush`](Connection::flush).
    pub(crate) async fn feed(&mut self, command: &Command, id: u64) -> Result<(), Error> {
        let text = Message::text(command.encode(&Id::from(id)));
        in_time(timeout(WRITE_MAX, self.socket.feed(text)).await)
    }

    /// Sends what was fed.
    pub(crate) async fn flush(&mut self) -> Result<(), Error> {
        in_time(timeout(WRITE_MAX, self.socket.flush()).await)
    }

    /// The next frame. A goodbye is an error, as the connection is over. Dropping the future loses nothing.
    pub(crate) async fn receive(&mut self) -> Result<Frame, Error> {
        match self.receive_any().await? {
            Frame::Goodbye(goodbye) => Err(farewell(&goodbye)),
            frame => Ok(frame),
        }
    }

    /// The same for those who still have something to say after a goodbye.
    pub(crate) async fn receive_any(&mut self) -> Result<Frame, Error> {
        loop {
            let message = match timeout_at(self.heard + SILENCE_MAX, self.socket.next()).await {
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(error))) => return Err(broken(error)),
                Ok(None) => return Err(Error::new(ErrorKind::Transport, "the hub ended the connection")),
                Err(_) => return Err(Error::new(ErrorKind::Timeout, "the hub has been silent for too long")),
            };
            self.heard = Instant::now();
            match message {
                Message::Text(text) => match Frame::parse(text.as_str()) {
                    Ok(frame) => return Ok(frame),
                    Err(error) => {
                        return Err(Error::caused(ErrorKind::Protocol, "the hub's frame was not understood", error));
                    }
                },
                Message::Close(frame) => return Err(closed(frame.as_ref())),
                // Pings are answered by the WebSocket itself; the session has no binary frames.
                Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_) => {}
            }
        }
    }

    /// Says that the connection is over. The hub need not confirm it.
    pub(crate) async fn close(mut self) {
        if let Err(error) = in_time(timeout(WRITE_MAX, self.socket.close(None)).await) {
            tracing::debug!(%error, "the connection was over before it was closed");
        }
    }
}

/// The error that a goodbye is.
pub(crate) fn farewell(goodbye: &Goodbye) -> Error {
    Error::goodbye(&goodbye.reason, Duration::from_secs(goodbye.retry_after))
}

fn in_time(written: Result<Result<(), tungstenite::Error>, tokio::time::error::Elapsed>) -> Result<(), Error> {
    match written {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(broken(error)),
        Err(_) => Err(Error::new(ErrorKind::Timeout, "the hub has not taken what was sent for too long")),
    }
}

fn not_connected(error: tungstenite::Error) -> Error {
    match error {
        tungstenite::Error::Http(response) if response.status() != StatusCode::SWITCHING_PROTOCOLS => {
            let body = response.body().as_deref().unwrap_or_default();
            problem(response.status().as_u16(), response.headers(), body)
        }
        tungstenite::Error::Io(error) if is_untrusted(&error) => Error::caused(ErrorKind::Untrusted, UNTRUSTED, error),
        tungstenite::Error::Io(error) => Error::caused(ErrorKind::Connect, "no connection to the hub", error),
        error => broken(error),
    }
}

fn broken(error: tungstenite::Error) -> Error {
    let (kind, detail) = match &error {
        tungstenite::Error::Capacity(_) | tungstenite::Error::Utf8(_) | tungstenite::Error::HttpFormat(_) => {
            (ErrorKind::Protocol, "the hub's frame was not understood")
        }
        tungstenite::Error::Url(_) => (ErrorKind::Invalid, "the hub's URL cannot be used"),
        _ => (ErrorKind::Transport, "the connection to the hub broke"),
    };
    Error::caused(kind, detail, error)
}

/// What a close frame means to a client.
fn closed(frame: Option<&CloseFrame>) -> Error {
    let Some(frame) = frame else { return Error::new(ErrorKind::Transport, "the hub closed the connection") };
    let code = u16::from(frame.code);
    let kind = match code {
        websocket::BAD_REQUEST | websocket::PROTOCOL_ERROR | websocket::INVALID_TEXT => Kind::BadRequest,
        websocket::UNAUTHENTICATED => Kind::Unauthenticated,
        websocket::FORBIDDEN => Kind::Forbidden,
        websocket::NOT_FOUND => Kind::NotFound,
        websocket::TOO_BIG => Kind::TooLarge,
        websocket::GONE => Kind::TopicDeleted,
        _ if websocket::may_reconnect(code) || code == websocket::NORMAL => {
            return Error::new(ErrorKind::Transport, format!("the hub closed the connection: {code} {}", frame.reason));
        }
        _ => Kind::Unknown,
    };
    Error::refused(Problem::new(kind, format!("the hub closed the connection: {code} {}", frame.reason)), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_codes_say_whether_to_come_back() {
        let error = |code: u16| closed(Some(&CloseFrame { code: code.into(), reason: "r".into() }));
        for code in [websocket::GOING_AWAY, websocket::SLOW, websocket::INTERNAL, websocket::TOO_MANY] {
            assert!(error(code).is_retryable(), "{code}");
        }
        for code in [websocket::UNAUTHENTICATED, websocket::FORBIDDEN, websocket::TOO_BIG, websocket::BAD_REQUEST] {
            assert!(!error(code).is_retryable(), "{code}");
        }
        assert!(closed(None).is_retryable());
    }
}
