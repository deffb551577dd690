//! A hub's end of a WebSocket session, played by a test. It knows no topics: the test says every word itself.

use futures_util::{SinkExt, StreamExt};
use http::HeaderValue;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use quintet_wire::session::command::{Command, Id};
use quintet_wire::websocket;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use crate::client::Client;

pub(crate) struct FakeHub(TcpListener);

impl FakeHub {
    pub(crate) async fn start() -> (Self, Client) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        (FakeHub(listener), client)
    }

    /// Takes the client's next connection.
    pub(crate) async fn session(&self) -> FakeSession {
        let (socket, _) = self.0.accept().await.unwrap();
        #[expect(clippy::result_large_err, reason = "the callback's type is not ours")]
        let agree = |request: &Request, mut response: Response| {
            assert_eq!(request.uri().path(), "/ws");
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(websocket::SESSION));
            Ok(response)
        };
        FakeSession(accept_hdr_async(socket, agree).await.unwrap())
    }
}

/// One connection; dropping it breaks it.
pub(crate) struct FakeSession(WebSocketStream<TcpStream>);

impl FakeSession {
    /// Takes the client's next command; `None` when it has closed the connection.
    pub(crate) async fn command(&mut self) -> Option<(Id, Command)> {
        loop {
            match self.0.next().await?.ok()? {
                Message::Text(text) => return Some(Command::parse(text.as_str()).unwrap()),
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }

    pub(crate) async fn say(&mut self, frame: impl Into<String>) {
        self.0.send(Message::text(frame.into())).await.unwrap();
    }
}
