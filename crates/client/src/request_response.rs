//! Request-response: ask a service and wait for its reply, or be told where the reply will come. Serving requests is
//! in [`crate::responder`].

use std::time::Duration;

use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, Method};
use quintet_wire::content;
use quintet_wire::envelope::{Envelope, Headers};
use quintet_wire::header::{IDEMPOTENCY_KEY, IDEMPOTENT_REPLAYED, PREFER};
use quintet_wire::payload::Body;
use quintet_wire::problem::kind::Kind;
use quintet_wire::token::Since;
use reqwest::{RequestBuilder, Response};
use tokio::time::{Instant, sleep};

use crate::backoff::Backoff;
use crate::client::{Client, path};
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::http::{body, problem, text};
use crate::limits::ANSWER_MAX;
use crate::subscription::Subscription;

/// How long to wait for a reply when nothing is said about it.
pub const WAIT: Duration = Duration::from_secs(30);

/// What a responder answers, and what a caller gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// An HTTP status. One of 400 and above is the responder's own answer, not an [`Error`].
    pub status: u16,
    /// Headers, with lower-case names. Those of the transport (`content-length` and the like) are among them.
    pub headers: Headers,
    /// Content type and payload, if any.
    pub body: Option<Body>,
}

impl Reply {
    /// A reply with status 200.
    pub fn ok(body: impl Into<Option<Body>>) -> Self {
        Reply { status: 200, headers: Headers::new(), body: body.into() }
    }

    /// A reply with another status.
    pub fn status(status: u16, body: impl Into<Option<Body>>) -> Self {
        Reply { status, headers: Headers::new(), body: body.into() }
    }

    /// Whether this is a stored reply to an earlier request with the same idempotency key.
    #[must_use]
    pub fn is_replayed(&self) -> bool {
        self.headers.get(IDEMPOTENT_REPLAYED).is_some_and(|value| value == "true")
    }
}

impl Client {
    /// Asks a service. The request is sent by [`send`](Request::send) or [`send_async`](Request::send_async).
    #[must_use]
    pub fn request(&self, service: &str) -> Request {
        Request {
            client: self.clone(),
            service: service.to_owned(),
            method: Method::POST,
            path: String::new(),
            query: None,
            headers: Vec::new(),
            body: None,
            wait: WAIT,
            key: None,
        }
    }
}

/// A request that is being put together.
#[derive(Clone, Debug)]
pub struct Request {
    client: Client,
    service: String,
    method: Method,
    path: String,
    query: Option<String>,
    headers: Vec<(String, String)>,
    body: Option<Body>,
    wait: Duration,
    key: Option<String>,
}

impl Request {
    /// Sets the method; `POST`, unless told.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// Sets the path within the service, not encoded; `/`, unless told.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        path.trim_start_matches('/').clone_into(&mut self.path);
        self
    }

    /// Sets the query, encoded, without its question mark.
    #[must_use]
    pub fn query(mut self, query: &str) -> Self {
        self.query = Some(query.to_owned());
        self
    }

    /// Adds a header for the responder.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets content type and payload.
    #[must_use]
    pub fn body(mut self, body: Body) -> Self {
        self.body = Some(body);
        self
    }

    /// Sets how long to wait for the reply (whole seconds, at most 300); [`WAIT`], unless told.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Sets an idempotency key, under which the request runs once however often it is sent. With one,
    /// [`send`](Request::send) tries again by itself.
    #[must_use]
    pub fn idempotency_key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// Sends the request and waits for the reply.
    ///
    /// Dropping the future abandons the request, and the responder is told so; it may have done its work all the
    /// same. With an idempotency key the reply can still be had, by the same request again.
    ///
    /// # Errors
    /// When there is no reply: the service has no responder, the time is up, the connection broke. With an
    /// idempotency key, errors that pass are not reported as long as there is time to try again.
    pub async fn send(&self) -> Result<Reply, Error> {
        let deadline = Instant::now() + self.wait;
        let mut backoff = Backoff::default();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let request = self.build()?.header(PREFER, format!("wait={}", left.as_secs_f64().ceil().max(1.0)));
            let error = match self.client_send(request, left + ANSWER_MAX).await {
                Ok(response) => return reply(response).await,
                Err(error) => error,
            };
            let delay = backoff.failed(error.retry_after());
            let again = self.key.is_some() && error.is_retryable() && !error.is_problem(Kind::Deadline);
            if !again || Instant::now() + delay >= deadline {
                return Err(error);
            }
            tracing::debug!(%error, ?delay, "a request is sent again");
            sleep(delay).await;
        }
    }

    /// Sends the request without waiting for its reply, which will come on a topic of its own.
    ///
    /// Dropping the future abandons the sending: whether the hub took the request is then unknown.
    ///
    /// # Errors
    /// When the hub did not take it.
    pub async fn send_async(&self) -> Result<Pending, Error> {
        let request = self.build()?.header(PREFER, "respond-async");
        let response = self.client_send(request, ANSWER_MAX).await?;
        if response.status() != http::StatusCode::ACCEPTED {
            // The reply was there already.
            return Ok(Pending(State::There(reply(response).await?)));
        }
        let location = text(response.headers(), LOCATION.as_str()).and_then(|location| {
            let (_, topic) = location.split_once("/topics/")?;
            percent_encoding::percent_decode_str(topic).decode_utf8().ok()
        });
        let topic = location
            .ok_or_else(|| Error::new(ErrorKind::Protocol, "the hub does not say where the reply will come"))?;
        Ok(Pending(State::Coming(Box::new(self.client.long_polling(&topic, Since::Start)), topic.into_owned())))
    }

    fn build(&self) -> Result<RequestBuilder, Error> {
        let mut target = path("/services/", &format!("{}/{}", self.service, self.path))?;
        if let Some(query) = &self.query {
            target.push('?');
            target.push_str(query);
        }
        let mut request = self.client.at(self.method.clone(), &target);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(key) = &self.key {
            request = request.header(IDEMPOTENCY_KEY, key);
        }
        if let Some(body) = &self.body {
            request = request.header(CONTENT_TYPE, &body.content_type).body(body.bytes.clone());
        }
        Ok(request)
    }

    /// Sends it, and tells the hub's refusals from a responder's reply that is one.
    async fn client_send(&self, request: RequestBuilder, within: Duration) -> Result<Response, Error> {
        let response = request.timeout(within).send().await?;
        let is_problem = text(response.headers(), CONTENT_TYPE.as_str())
            .is_some_and(|content_type| content::same_essence(content_type, content::PROBLEM));
        if response.status().as_u16() < 400 || !is_problem {
            return Ok(response);
        }
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = body(response).await?;
        let error = problem(status.as_u16(), &headers, &bytes);
        if !error.is_problem(Kind::Unknown) {
            return Err(error);
        }
        // A responder may use problems of its own; its reply is put together again.
        let mut reply = http::Response::new(bytes);
        *reply.status_mut() = status;
        *reply.headers_mut() = headers;
        Ok(reply.into())
    }
}

async fn reply(response: Response) -> Result<Reply, Error> {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = body(response).await?;
    let content_type = text(&headers, CONTENT_TYPE.as_str());
    let body = match content_type {
        None if bytes.is_empty() => None,
        content_type => {
            let content_type = content_type.unwrap_or(content::OCTETS).to_owned();
            Some(Body { content_type, bytes })
        }
    };
    Ok(Reply { status, headers: lossy(&headers), body })
}

fn lossy(headers: &HeaderMap) -> Headers {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut read = Headers::new();
    for (name, value) in headers {
        let joined: &mut String = read.entry(name.as_str().to_owned()).or_default();
        if !joined.is_empty() {
            joined.push_str(", ");
        }
        joined.push_str(&text(value));
    }
    read
}

/// A request whose reply is still to come.
#[derive(Debug)]
pub struct Pending(State);

#[derive(Debug)]
enum State {
    There(Reply),
    Coming(Box<Subscription>, String),
}

/// What comes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The responder tells how far it is.
    Progress(Envelope),
    /// The reply, after which nothing follows.
    Reply(Reply),
}

impl Pending {
    /// The topic on which the reply will come, for others to follow: its name is a secret that lets one read it.
    /// `None` when the reply is here already.
    #[must_use]
    pub fn topic(&self) -> Option<&str> {
        match &self.0 {
            State::There(_) => None,
            State::Coming(_, topic) => Some(topic),
        }
    }

    /// The next thing that comes: progress, or the reply. After the reply it gives the same again or fails.
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the topic ended or expired without a reply, or the hub refuses.
    pub async fn next(&mut self) -> Result<Step, Error> {
        let events = match &mut self.0 {
            State::There(reply) => return Ok(Step::Reply(reply.clone())),
            State::Coming(events, _) => events,
        };
        while let Some(event) = events.next().await {
            if let Event::Message(message) = event? {
                return Ok(step(message));
            }
        }
        Err(Error::new(ErrorKind::Protocol, "the reply topic ended without a reply"))
    }

    /// Waits for the reply, passing over progress.
    ///
    /// Dropping the future gives up the reply, which stays on its [`topic`](Pending::topic) until that expires.
    ///
    /// # Errors
    /// When the topic ended or expired without a reply, or the hub refuses.
    pub async fn reply(mut self) -> Result<Reply, Error> {
        loop {
            if let Step::Reply(reply) = self.next().await? {
                return Ok(reply);
            }
        }
    }
}

/// Reads a message of a reply topic: its headers tell what it is.
fn step(message: Envelope) -> Step {
    if message.headers.get("kind").map(String::as_str) != Some("reply") {
        return Step::Progress(message);
    }
    let status = message.headers.get("status").and_then(|status| status.parse().ok()).unwrap_or(200);
    let headers = message.headers.iter().filter_map(|(name, value)| {
        let name = name.strip_prefix("reply-")?;
        Some((name.to_owned(), value.clone()))
    });
    Step::Reply(Reply { status, headers: headers.collect(), body: Some(message.body) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintet_wire::token::Token;

    fn message(headers: &[(&str, &str)]) -> Envelope {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (offset, previous) = (Token::START, Token::START);
        Envelope { topic: "t".into(), offset, previous, time_ms: 0, headers, body: Body::text("x") }
    }

    #[test]
    fn a_reply_topics_messages() {
        let Step::Reply(reply) = step(message(&[("kind", "reply"), ("status", "404"), ("reply-x", "y")])) else {
            panic!("not a reply")
        };
        assert_eq!((reply.status, reply.headers["x"].as_str()), (404, "y"));
        assert!(matches!(step(message(&[("kind", "progress")])), Step::Progress(_)));
    }

    #[test]
    fn requests_as_they_are_sent() {
        let client = Client::new("http://h").unwrap();
        let request = client.request("echo").path("/a b").query("q=1").idempotency_key("k").body(Body::text("x"));
        let request = request.build().unwrap().build().unwrap();
        assert_eq!(request.url().as_str(), "http://h/services/echo/a%20b?q=1");
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.headers()["idempotency-key"], "k");
        assert!(client.request("echo").path("../x").build().is_err());
    }
}
