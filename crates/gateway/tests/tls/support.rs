//! A hub behind TLS with a certificate of its own, and clients that trust it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use quintet_core::cursor::LogId;
use quintet_core::engine::memory::MemoryEngine;
use quintet_core::hub::{Hub, HubConfig};
use quintet_core::limits::Limits;
use quintet_core::message::{ContentType, NewMessage};
use quintet_core::name::TopicName;
use quintet_core::patterns::publish_subscribe::Publish;
use quintet_gateway::config::GatewayConfig;
use quintet_gateway::http::router;
use quintet_gateway::serve::{ServeConfig, Tls, serve};
use quintet_gateway::state::Gateway;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Messages that have to come in order.
pub(crate) const N: usize = 1_000;

/// A self-signed certificate, for itself an authority.
pub(crate) struct Certificate {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Self { der: made.cert.der().clone(), chain: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }
}

pub(crate) struct Server {
    pub(crate) hub: Arc<Hub>,
    pub(crate) address: String,
    pub(crate) tls: Tls,
    pub(crate) certificate: Certificate,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(GatewayConfig::default(), ServeConfig::default()).await
    }

    pub(crate) async fn with(config: GatewayConfig, connections: ServeConfig) -> Self {
        let engine = Arc::new(MemoryEngine::new(LogId(7), Limits::default()));
        let hub = Hub::start(HubConfig::new(engine)).unwrap();
        let gateway = Gateway::new(Arc::clone(&hub), config);
        let certificate = Certificate::new();
        let tls = Tls::from_pem(certificate.chain.as_bytes(), certificate.key.as_bytes()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let connections = ServeConfig { tls: Some(tls.clone()), ..connections };
        tokio::spawn(serve(listener, router(gateway.clone()), gateway.shutdown().clone(), connections));
        Self { hub, address, tls, certificate }
    }

    /// A connection over which the client offers one protocol, or none.
    pub(crate) async fn connect(&self, offered: Option<&str>) -> TlsStream<TcpStream> {
        self.try_connect(&self.certificate, offered, &[&version::TLS13, &version::TLS12]).await.unwrap()
    }

    pub(crate) async fn try_connect(
        &self,
        trusted: &Certificate,
        offered: Option<&str>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.der.clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(&self.address).await.unwrap();
        TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), stream).await
    }

    /// Sends a request over HTTP/2 or HTTP/1.1.
    pub(crate) async fn ask(&self, method: &str, path: &str, accept: &str, http2: bool) -> http::Response<Incoming> {
        let io = TokioIo::new(self.connect(Some(if http2 { "h2" } else { "http/1.1" })).await);
        let request =
            http::Request::builder().method(method).header("accept", accept).header("content-type", "text/plain");
        let authority = &self.address;
        if http2 {
            assert_eq!(io.inner().get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let request = request.uri(format!("https://{authority}{path}")).body(Empty::<Bytes>::new()).unwrap();
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        } else {
            let request = request.uri(path).header("host", authority).body(Empty::<Bytes>::new()).unwrap();
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        }
    }

    pub(crate) async fn websocket(&self, path: &str) -> WebSocketStream<TlsStream<TcpStream>> {
        let stream = self.connect(Some("http/1.1")).await;
        tokio_tungstenite::client_async(format!("wss://{}{path}", self.address), stream).await.unwrap().0
    }

    pub(crate) async fn publish(&self, topic: &str, payload: Vec<u8>) {
        let content_type = Some(ContentType::parse("text/plain").unwrap());
        let message = NewMessage { content_type, payload: payload.into(), ..NewMessage::default() };
        self.hub.publish(Publish::new(name(topic), vec![message])).await.unwrap();
    }

    /// Publishes numbers in order, one by one.
    pub(crate) async fn count(&self, topic: &str) {
        for i in 0..N {
            self.publish(topic, i.to_string().into_bytes()).await;
        }
    }

    /// Makes a topic, so that its followers can be counted.
    pub(crate) async fn create(&self, topic: &str) {
        assert_eq!(self.ask("PUT", &format!("/topics/{topic}"), "*/*", false).await.status(), 201);
    }

    pub(crate) async fn until_followers(&self, topic: &str, n: usize) {
        let wait = async {
            while self.hub.describe(&name(topic)).await.map_or(0, |info| info.followers) != n {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, wait).await.expect("the followers do not come to be as many");
    }
}

fn name(topic: &str) -> TopicName {
    TopicName::parse(topic).unwrap()
}

pub(crate) async fn message(socket: &mut WebSocketStream<TlsStream<TcpStream>>) -> Message {
    loop {
        match timeout(PATIENCE, socket.next()).await.expect("no message comes").unwrap().unwrap() {
            Message::Ping(_) | Message::Pong(_) => {}
            message => return message,
        }
    }
}
