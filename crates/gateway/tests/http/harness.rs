//! A hub behind its doors on a free port, and requests to it in one line.

use std::sync::Arc;
use std::time::Duration;

use quintet_core::cursor::LogId;
use quintet_core::engine::memory::MemoryEngine;
use quintet_core::hub::{Hub, HubConfig};
use quintet_core::limits::Limits;
use quintet_gateway::config::GatewayConfig;
use quintet_gateway::http::router;
use quintet_gateway::serve::{ServeConfig, serve};
use quintet_gateway::state::Gateway;
use reqwest::{Client, Method, Response};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long a test waits for what has to happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct Door {
    pub(crate) address: String,
    pub(crate) hub: Arc<Hub>,
    pub(crate) gateway: Gateway,
    client: Client,
    pub(crate) server: JoinHandle<std::io::Result<()>>,
}

#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) limits: Limits,
    pub(crate) gateway: GatewayConfig,
    pub(crate) serve: ServeConfig,
}

impl Door {
    pub(crate) async fn open() -> Self {
        Self::with(Setup::default()).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        let engine = MemoryEngine::new(LogId(7), setup.limits.clone());
        let config = HubConfig { limits: setup.limits, shards: 2, ..HubConfig::new(Arc::new(engine)) };
        let hub = Hub::start(config).unwrap();
        let gateway = Gateway::new(Arc::clone(&hub), setup.gateway);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shutdown = gateway.shutdown().clone();
        let connections = ServeConfig { shortcut: crate::shortcut(&gateway), ..setup.serve };
        let server = tokio::spawn(serve(listener, router(gateway.clone()), shutdown, connections));
        // With the whole workspace, reqwest is built with TLS and wants to know whose. Only the first has to say it.
        drop(tokio_rustls::rustls::crypto::ring::default_provider().install_default());
        let client = Client::builder().no_proxy().timeout(DEADLINE).build().unwrap();
        Self { address, hub, gateway, client, server }
    }

    /// Sends `METHOD /path` with headers and a body, and reads the whole answer.
    pub(crate) async fn ask(&self, line: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Answer {
        Answer::of(line, self.start(line, headers, body).await).await
    }

    /// The same with the answer's body left to be read.
    pub(crate) async fn start(&self, line: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Response {
        let (method, path) = line.split_once(' ').unwrap();
        let url = format!("http://{}{path}", self.address);
        let mut request = self.client.request(Method::from_bytes(method.as_bytes()).unwrap(), url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body.into();
        if !body.is_empty() || matches!(method, "POST" | "PUT") {
            request = request.body(body);
        }
        request.send().await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), &[], "").await
    }

    /// Publishes text and gives the cursor behind it.
    pub(crate) async fn publish(&self, topic: &str, text: &str) -> String {
        let answer = self.ask(&format!("POST /topics/{topic}"), &[TEXT], text).await;
        answer.is(204).header("stream-next-offset")
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).await.unwrap()
    }
}

pub(crate) const TEXT: (&str, &str) = ("Content-Type", "text/plain");
pub(crate) const JSON: (&str, &str) = ("Content-Type", "application/json");
pub(crate) const ENVELOPES: (&str, &str) = ("Accept", "application/vnd.quintet.messages+json");
pub(crate) const CLOSE: (&str, &str) = ("Stream-Closed", "true");

pub(crate) struct Answer {
    line: String,
    pub(crate) status: u16,
    headers: reqwest::header::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    async fn of(line: &str, response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        // Every answer carries these, whatever it is.
        assert_eq!(headers["x-content-type-options"], "nosniff", "{line}");
        assert_eq!(headers["cross-origin-resource-policy"], "cross-origin", "{line}");
        Self { line: line.to_owned(), status, headers, body: response.bytes().await.unwrap().to_vec() }
    }

    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}: {}", self.line, self.text());
        self
    }

    /// Checks that it is this problem, and gives its object.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, slug: &str) -> serde_json::Value {
        let object: serde_json::Value =
            serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}: {}", self.line, self.text()));
        assert_eq!((self.status, object["type"].as_str()), (status, Some(&*format!("/problems/{slug}"))), "{object}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert!(!object["detail"].as_str().unwrap().is_empty());
        object
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn get(&self, name: &str) -> Option<String> {
        self.headers.get(name).map(|value| value.to_str().unwrap().to_owned())
    }

    /// All lines of a header as one value.
    pub(crate) fn all(&self, name: &str) -> String {
        let values: Vec<_> = self.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
        values.join(", ")
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> String {
        self.get(name).unwrap_or_else(|| panic!("{}: no header {name} in {:?}", self.line, self.headers))
    }
}

/// Reads bytes up to and with this text.
pub(crate) async fn until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut seen = Vec::new();
    while !seen.ends_with(wanted.as_bytes()) {
        let byte = timeout(DEADLINE, stream.read_u8()).await;
        let byte = byte.unwrap_or_else(|_| panic!("no {wanted:?} in {:?}", String::from_utf8_lossy(&seen)));
        let byte = byte.unwrap_or_else(|_| panic!("the end without {wanted:?}: {:?}", String::from_utf8_lossy(&seen)));
        seen.push(byte);
    }
    String::from_utf8(seen).unwrap()
}

/// Reads an answer's body bit by bit.
pub(crate) struct Stream {
    response: Response,
    seen: String,
}

impl Stream {
    pub(crate) fn of(response: Response) -> Self {
        Self { response, seen: String::new() }
    }

    /// Waits until the text holds this, and gives all that came so far.
    pub(crate) async fn until(&mut self, wanted: &str) -> &str {
        // What was looked at is not looked at again, or a long answer takes its square.
        let mut unseen = 0;
        while !self.seen[unseen..].contains(wanted) {
            unseen = self.seen.floor_char_boundary(self.seen.len().saturating_sub(wanted.len()));
            let chunk = timeout(DEADLINE, self.response.chunk()).await;
            match chunk.unwrap_or_else(|_| panic!("no {wanted:?} in {:?}", self.seen)).unwrap() {
                Some(chunk) => self.seen.push_str(std::str::from_utf8(&chunk).unwrap()),
                None => panic!("the stream ended without {wanted:?}: {:?}", self.seen),
            }
        }
        &self.seen
    }

    /// Waits for the end, and gives all that came.
    pub(crate) async fn end(mut self) -> String {
        let rest = async {
            while let Some(chunk) = self.response.chunk().await.unwrap() {
                self.seen.push_str(std::str::from_utf8(&chunk).unwrap());
            }
        };
        assert!(timeout(DEADLINE, rest).await.is_ok(), "the stream does not end");
        self.seen
    }
}
