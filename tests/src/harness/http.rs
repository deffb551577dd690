//! HTTP as any client speaks it.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

use crate::harness::deadline::{SOON, within};

/// What a read that keeps message boundaries asks for.
pub const ENVELOPES: &str = "application/vnd.quintet.messages+json";

/// A client of one hub. Paths begin with `/`.
#[derive(Debug, Clone)]
pub struct Http {
    base: String,
    client: Client,
}

impl Http {
    pub fn new(port: u16) -> Self {
        // Because of the client, reqwest is built with TLS and wants to know whose. Only the first has to say it.
        drop(tokio_rustls::rustls::crypto::ring::default_provider().install_default());
        let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { base: format!("http://127.0.0.1:{port}"), client }
    }

    pub fn request(&self, method: Method, path: &str) -> Request {
        Request(self.client.request(method, format!("{}{path}", self.base)))
    }

    pub fn get(&self, path: &str) -> Request {
        self.request(Method::GET, path)
    }

    pub fn head(&self, path: &str) -> Request {
        self.request(Method::HEAD, path)
    }

    pub fn put(&self, path: &str) -> Request {
        self.request(Method::PUT, path)
    }

    pub fn delete(&self, path: &str) -> Request {
        self.request(Method::DELETE, path)
    }

    pub fn post(&self, path: &str, content_type: &str, body: impl Into<reqwest::Body>) -> Request {
        self.request(Method::POST, path).header("Content-Type", content_type).body(body)
    }

    /// Publishes a text and returns the cursor after it.
    pub async fn publish(&self, topic: &str, text: &str) -> String {
        let answer = self.post(&format!("/topics/{topic}"), "text/plain", text.to_owned()).send().await;
        answer.expect(204).header("stream-next-offset").to_owned()
    }

    /// Waits until retention has passed a cursor, which it does in the background; what a read from there says then.
    pub async fn trimmed(&self, topic: &str, cursor: &str) -> Answer {
        let path = format!("/topics/{topic}?offset={cursor}");
        within(SOON, "retention", async {
            loop {
                let answer = self.get(&path).send().await;
                if answer.status != 200 {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
    }

    /// One read by short poll: the envelopes, and the cursor to go on from.
    pub async fn read(&self, topic: &str, cursor: &str) -> (Vec<Value>, String) {
        let path = format!("/topics/{topic}?offset={cursor}");
        let answer = self.get(&path).header("Accept", ENVELOPES).send().await.expect(200);
        let next = answer.header("stream-next-offset").to_owned();
        (answer.json().as_array().unwrap().clone(), next)
    }
}

/// A request in the making.
#[derive(Debug)]
#[must_use]
pub struct Request(RequestBuilder);

impl Request {
    pub fn header(self, name: &str, value: impl AsRef<str>) -> Self {
        Self(self.0.header(name, value.as_ref()))
    }

    pub fn body(self, body: impl Into<reqwest::Body>) -> Self {
        Self(self.0.body(body))
    }

    /// The whole answer.
    pub async fn send(self) -> Answer {
        self.try_send().await.unwrap()
    }

    /// The whole answer, if the connection holds.
    pub async fn try_send(self) -> Result<Answer, reqwest::Error> {
        within(SOON * 2, "an answer", async {
            let response = self.0.send().await?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            Ok(Answer { status, headers, body: response.bytes().await? })
        })
        .await
    }

    /// The answer's head, if the connection holds; its body comes as a stream.
    pub async fn open(self) -> Result<reqwest::Response, reqwest::Error> {
        within(SOON, "the head of an answer", self.0.send()).await
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// Itself, if it has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?}\n{}", self.headers, self.text());
        self
    }

    /// Asserts a problem of this status and slug, with a detail that says something.
    #[track_caller]
    pub fn expect_problem(self, status: u16, slug: &str) -> Self {
        assert_eq!(self.status, status, "expected {slug}: {:?}\n{}", self.headers, self.text());
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text());
        let problem = self.json();
        assert_eq!(problem["type"], format!("/problems/{slug}"), "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{problem}");
        self
    }

    /// A header's value, empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}
