//! One WebSocket, with deadlines.

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::harness::deadline::{SOON, within};
use crate::harness::hub::Hub;

/// An open WebSocket.
#[derive(Debug)]
pub struct Socket(pub WebSocketStream<MaybeTlsStream<TcpStream>>);

/// How a WebSocket ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Close(u16, String),
    /// Without a close frame.
    Broken,
}

impl Socket {
    pub async fn open(hub: &Hub, path: &str, protocol: Option<&str>) -> Self {
        Self::try_open(hub, path, protocol, &[]).await.unwrap()
    }

    /// Opens one without the hub at hand, which a task of its own cannot borrow.
    pub async fn at(port: u16, path: &str, protocol: Option<&str>) -> Self {
        Self::try_at(port, path, protocol, &[]).await.unwrap()
    }

    /// Opens one, or says what the hub answered instead.
    pub async fn try_open(
        hub: &Hub,
        path: &str,
        protocol: Option<&str>,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Error> {
        Self::try_at(hub.port, path, protocol, headers).await
    }

    async fn try_at(
        port: u16,
        path: &str,
        protocol: Option<&str>,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Error> {
        let mut request = format!("ws://127.0.0.1:{port}{path}").into_client_request()?;
        if let Some(protocol) = protocol {
            request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_str(protocol)?);
        }
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value)?);
        }
        let (socket, _response) = within(SOON, "the WebSocket", connect_async(request)).await?;
        Ok(Self(socket))
    }

    pub async fn send(&mut self, message: Message) {
        within(SOON, "a frame to be taken", self.0.send(message)).await.unwrap();
    }

    pub async fn send_text(&mut self, text: &str) {
        self.send(Message::text(text)).await;
    }

    /// The next text or binary frame, or how the socket ended.
    pub async fn next(&mut self) -> Result<Message, End> {
        loop {
            match within(SOON, "a frame", self.0.next()).await {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => return Ok(message),
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Err(End::Close(frame.code.into(), frame.reason.to_string()));
                }
                Some(Ok(Message::Close(None))) | Some(Err(_)) | None => return Err(End::Broken),
                Some(Ok(_)) => {}
            }
        }
    }

    /// The code that the hub closes with, whatever comes before it.
    pub async fn close_code(&mut self) -> u16 {
        loop {
            match self.next().await {
                Ok(_) => {}
                Err(End::Close(code, _)) => return code,
                Err(End::Broken) => panic!("the socket broke without a close frame"),
            }
        }
    }
}
