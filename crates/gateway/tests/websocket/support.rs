//! A hub behind its doors, and clients: one that behaves, and one that sends whatever bytes it likes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use quintet_core::cursor::LogId;
use quintet_core::engine::Engine;
use quintet_core::engine::memory::MemoryEngine;
use quintet_core::engine::transaction::{Retention, TopicConfig};
use quintet_core::hub::{CreateTopic, Hub, HubConfig};
use quintet_core::limits::Limits;
use quintet_core::message::{ContentType, NewMessage};
use quintet_core::name::TopicName;
use quintet_core::patterns::publish_subscribe::Publish;
use quintet_gateway::config::GatewayConfig;
use quintet_gateway::http::router;
use quintet_gateway::serve::{ServeConfig, serve};
use quintet_gateway::state::Gateway;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// Long enough for a busy machine; nothing waits for it when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Server {
    pub(crate) hub: Arc<Hub>,
    pub(crate) gateway: Gateway,
    pub(crate) address: String,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(GatewayConfig::default()).await
    }

    pub(crate) async fn with(config: GatewayConfig) -> Self {
        Self::within(config, Limits::default()).await
    }

    pub(crate) async fn within(config: GatewayConfig, limits: Limits) -> Self {
        Self::on(Arc::new(MemoryEngine::new(LogId(7), limits.clone())), config, limits).await
    }

    pub(crate) async fn on(engine: Arc<dyn Engine>, config: GatewayConfig, limits: Limits) -> Self {
        let (hub, gateway) = doors(engine, config, limits);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shutdown = gateway.shutdown().clone();
        tokio::spawn(serve(listener, router(gateway.clone()), shutdown, ServeConfig::default()));
        Self { hub, gateway, address }
    }

    /// In an application whose streams are not bare sockets, as behind TLS.
    pub(crate) async fn mounted(config: GatewayConfig) -> Self {
        let engine = Arc::new(MemoryEngine::new(LogId(7), Limits::default()));
        let (hub, gateway) = doors(engine, config, Limits::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = router(gateway.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = TowerToHyperService::new(router.clone());
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(Wrapped(stream)), service)
                    .with_upgrades();
                tokio::spawn(connection);
            }
        });
        Self { hub, gateway, address }
    }

    pub(crate) async fn connect(&self, path: &str) -> Client {
        self.connect_as(path, None).await
    }

    pub(crate) async fn connect_as(&self, path: &str, subprotocol: Option<&str>) -> Client {
        self.try_connect(path, subprotocol).await.unwrap()
    }

    pub(crate) async fn try_connect(
        &self,
        path: &str,
        subprotocol: Option<&str>,
    ) -> Result<Client, tokio_tungstenite::tungstenite::Error> {
        let stream = TcpStream::connect(&self.address).await.unwrap();
        let mut request = format!("ws://{}{path}", self.address).into_client_request().unwrap();
        if let Some(subprotocol) = subprotocol {
            request.headers_mut().insert("sec-websocket-protocol", subprotocol.parse().unwrap());
        }
        let (stream, response) = tokio_tungstenite::client_async(request, stream).await?;
        let chosen = response.headers().get("sec-websocket-protocol").map(|value| value.to_str().unwrap());
        assert_eq!(chosen, subprotocol);
        Ok(Client(stream))
    }

    /// A connection on which anything can be sent.
    pub(crate) async fn connect_bare(&self, path: &str) -> TcpStream {
        self.upgrade(TcpStream::connect(&self.address).await.unwrap(), path).await
    }

    /// The same, with little room in the kernel, so that what is not read stays with the hub.
    pub(crate) async fn connect_narrow(&self, path: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(32 << 10).unwrap();
        self.upgrade(socket.connect(self.address.parse().unwrap()).await.unwrap(), path).await
    }

    async fn upgrade(&self, mut stream: TcpStream, path: &str) -> TcpStream {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            self.address
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        stream
    }

    pub(crate) async fn publish(&self, topic: &str, content_type: &str, payloads: &[&[u8]]) {
        let message = |payload: &&[u8]| NewMessage {
            content_type: Some(ContentType::parse(content_type).unwrap()),
            payload: payload.to_vec().into(),
            ..NewMessage::default()
        };
        let publish = Publish::new(name(topic), payloads.iter().map(message).collect());
        self.hub.publish(publish).await.unwrap();
    }

    pub(crate) async fn create(&self, topic: &str, content_type: &str, retain: Option<u64>) {
        let create = CreateTopic {
            topic: name(topic),
            config: TopicConfig {
                fixed_type: true,
                retention: Retention { count: retain, ..Retention::default() },
                ..TopicConfig::open(ContentType::parse(content_type).unwrap())
            },
            durability: None,
            fork: None,
            messages: Vec::new(),
            closed: false,
        };
        self.hub.create_topic(create).await.unwrap();
    }

    pub(crate) async fn messages(&self, topic: &str) -> u64 {
        self.hub.describe(&name(topic)).await.map_or(0, |info| info.messages)
    }

    pub(crate) async fn followers(&self, topic: &str) -> usize {
        self.hub.describe(&name(topic)).await.map_or(0, |info| info.followers)
    }

    /// Waits until so many follow a topic that exists.
    pub(crate) async fn until_followers(&self, topic: &str, n: usize) {
        until(async || self.followers(topic).await == n).await;
    }
}

fn doors(engine: Arc<dyn Engine>, config: GatewayConfig, limits: Limits) -> (Arc<Hub>, Gateway) {
    let hub = Hub::start(HubConfig { limits, ..HubConfig::new(engine) }).unwrap();
    let gateway = Gateway::new(Arc::clone(&hub), config);
    (hub, gateway)
}

/// Waits for a condition.
pub(crate) async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, wait).await.expect("the condition does not come to hold");
}

pub(crate) fn name(topic: &str) -> TopicName {
    TopicName::parse(topic).unwrap()
}

pub(crate) struct Client(pub(crate) WebSocketStream<TcpStream>);

impl Client {
    pub(crate) async fn send(&mut self, text: impl Into<String>) {
        self.0.send(Message::text(text.into())).await.unwrap();
    }

    pub(crate) async fn send_binary(&mut self, bytes: &[u8]) {
        self.0.send(Message::binary(bytes.to_vec())).await.unwrap();
    }

    pub(crate) async fn message(&mut self) -> Message {
        loop {
            let message = timeout(PATIENCE, self.0.next()).await.expect("no message comes");
            match message.expect("the connection has ended").unwrap() {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    }

    pub(crate) async fn text(&mut self) -> String {
        match self.message().await {
            Message::Text(text) => text.to_string(),
            other => panic!("not a text: {other:?}"),
        }
    }

    pub(crate) async fn json(&mut self) -> Value {
        serde_json::from_str(&self.text().await).unwrap()
    }

    /// Sends a command and gives its answer, which comes next.
    pub(crate) async fn ask(&mut self, command: &str) -> Value {
        self.send(command).await;
        self.json().await
    }

    /// The close frame, after which the connection ends.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            if let Message::Close(frame) = self.message().await {
                let frame = frame.expect("a close frame without a code");
                return (frame.code.into(), frame.reason.to_string());
            }
        }
    }
}

/// A client's frame, masked with zeros.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        n @ 0..=125 => frame.push(0x80 | n as u8),
        n @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// The next frame of the hub: opcode and payload. None at the end.
pub(crate) async fn read_frame(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    timeout(PATIENCE, async {
        let first = stream.read_u8().await.ok()?;
        let length = match stream.read_u8().await.ok()? {
            126 => usize::from(stream.read_u16().await.ok()?),
            127 => usize::try_from(stream.read_u64().await.ok()?).unwrap(),
            n => usize::from(n),
        };
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.ok()?;
        Some((first & 0x0f, payload))
    })
    .await
    .expect("no frame comes")
}

/// Reads until the close frame, and gives its code.
pub(crate) async fn read_close(stream: &mut TcpStream) -> u16 {
    loop {
        let (opcode, payload) = read_frame(stream).await.expect("ended without a close frame");
        if opcode == 8 {
            return u16::from_be_bytes([payload[0], payload[1]]);
        }
    }
}

/// A stream that the hub cannot recognise as a socket.
struct Wrapped(TcpStream);

impl AsyncRead for Wrapped {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wrapped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
