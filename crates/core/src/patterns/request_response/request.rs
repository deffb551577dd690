//! The caller's half: what a request is, and what comes back.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use crate::error::{Error, Kind, Result};
use crate::hub::Hub;
use crate::limits::{HEADERS_BYTES_MAX, HEADERS_MAX, IDEMPOTENCY_KEY_BYTES_MAX, Limits};
use crate::message::{ContentType, Headers};
use crate::name::{ServiceName, TopicName};
use crate::patterns::request_response::desk::{Notice, Patience};

/// Headers that a reply leaves free for what a reply topic's message says of it.
const REPLY_HEADERS_RESERVED: usize = 2;
/// What a reply header's name becomes longer on a reply topic, and what the reserved ones take.
const REPLY_HEADER_PREFIX_BYTES: usize = "reply-".len();

/// Names a request in a responder's hands. It cannot be guessed, so who knows it was given it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u128);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for RequestId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let well_formed = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let number = well_formed.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        number.map(Self).ok_or_else(|| request_not_found(text))
    }
}

/// What a caller asks of a service.
#[derive(Debug, Clone)]
pub struct Request {
    /// Of which service.
    pub service: ServiceName,
    /// The method, as in HTTP.
    pub method: String,
    /// What the service is asked for: begins with `/`, percent-encoded as it came.
    pub path: String,
    /// The query without `?`; empty if there is none.
    pub query: String,
    /// Headers for the responder.
    pub headers: Headers,
    /// The body's type.
    pub content_type: Option<ContentType>,
    /// The body.
    pub body: Bytes,
    /// How long to wait for the reply, at most [`Limits::request_wait_max`]. None means [`Limits::request_wait`], or
    /// the longest wait if the reply comes on a topic.
    pub wait: Option<Duration>,
    /// Who asks; the scope of the key. Empty: nobody in particular.
    pub caller: String,
    /// The idempotency key: within its window, the same key of the same caller to the same service is answered by the
    /// same reply. 1 to 255 bytes.
    pub key: Option<String>,
    /// Answer with the topic on which the reply will come.
    pub respond_async: bool,
    /// With that: give the reply itself if it comes within this time (RFC 7240 section 4.3). None: answer at once.
    pub answer_within: Option<Duration>,
    /// The default type of that topic; none means `application/json`.
    pub reply_type: Option<ContentType>,
}

impl Request {
    /// A request with nothing but a method and a path.
    pub fn new(service: ServiceName, method: &str, path: &str) -> Self {
        Self {
            service,
            method: method.into(),
            path: path.into(),
            query: String::new(),
            headers: Headers::none(),
            content_type: None,
            body: Bytes::new(),
            wait: None,
            caller: String::new(),
            key: None,
            respond_async: false,
            answer_within: None,
            reply_type: None,
        }
    }

    /// Bytes it counts for in limits.
    pub(super) fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.method.len() + self.path.len() + self.query.len() + headers + self.body.len()
    }

    fn check(&self, limits: &Limits) -> Result<()> {
        if self.body.len() > limits.message_bytes {
            return Err(too_large("a request's body", limits.message_bytes));
        }
        if self.key.as_ref().is_some_and(|key| key.is_empty() || key.len() > IDEMPOTENCY_KEY_BYTES_MAX) {
            let detail = format!("an idempotency key has 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes");
            return Err(Error::new(Kind::BadRequest, detail));
        }
        Ok(())
    }

    fn deadline(&self, limits: &Limits) -> Instant {
        let default = if self.respond_async { limits.request_wait_max } else { limits.request_wait };
        Instant::now() + self.wait.unwrap_or(default).min(limits.request_wait_max)
    }
}

/// What a responder answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status, as in HTTP: 200 to 599.
    pub status: u16,
    /// Headers for the caller.
    pub headers: Headers,
    /// The body's type.
    pub content_type: Option<ContentType>,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// Refuses what cannot be a reply, or what a reply topic could not hold.
    pub(super) fn check(&self, limits: &Limits) -> Result<()> {
        if !(200..=599).contains(&self.status) {
            let detail = format!("{} is not the status of a reply; use 200 to 599", self.status);
            return Err(Error::new(Kind::BadRequest, detail));
        }
        if self.body.len() > limits.message_bytes {
            return Err(too_large("a reply's body", limits.message_bytes));
        }
        let (mut n_headers, mut bytes) = (0, 0);
        for (name, value) in self.headers.iter() {
            n_headers += 1;
            bytes += REPLY_HEADER_PREFIX_BYTES + name.len() + value.len();
        }
        let n_max = HEADERS_MAX - REPLY_HEADERS_RESERVED;
        let bytes_max = HEADERS_BYTES_MAX - 64;
        if n_headers > n_max || bytes > bytes_max {
            let detail = format!("a reply holds at most {n_max} headers of {bytes_max} bytes in all");
            return Err(Error::new(Kind::TooLarge, detail));
        }
        Ok(())
    }
}

/// What comes back to a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The reply.
    Reply {
        /// What the responder said.
        reply: Reply,
        /// Whether it was made for an earlier request with the same key, and nothing ran for this one.
        replayed: bool,
    },
    /// The request is taken and on disk.
    Accepted {
        /// Where its progress and its reply come; closed behind the reply.
        reply_topic: TopicName,
    },
}

impl Hub {
    /// Sends a request to one of the service's responders and waits for the reply.
    ///
    /// Without a key it is tried once: [`Kind::NoResponder`] when nobody serves, [`Kind::ResponderLost`] when the
    /// responder goes away with it, [`Kind::DeadlinePassed`] when the time is up. With a key, a lost responder's
    /// request goes to another until the deadline, and a reply is kept for [`Limits::key_window`]; another request
    /// with that key is refused with [`Kind::KeyReused`].
    ///
    /// Dropping the future of a plain request tells the responder that the caller is gone. A keyed one runs on, and
    /// its reply is kept; so does one that was answered with a topic.
    pub async fn request(self: &Arc<Self>, request: Request) -> Result<Answer> {
        request.check(&self.limits)?;
        let deadline = request.deadline(&self.limits);
        if request.key.is_some() || request.respond_async {
            return self.request_kept(request, deadline).await;
        }
        let mut ticket = self.services.submit(Arc::new(request), deadline, Patience::None)?;
        let notice = match timeout_at(deadline, ticket.notice()).await {
            Ok(notice) => Some(notice),
            // What came in the same instant is not to be lost.
            Err(_) => ticket.withdraw(),
        };
        match notice {
            Some(Notice::Done(reply)) => Ok(Answer::Reply { reply: reply?, replayed: false }),
            Some(Notice::Lost) => Err(responder_lost()),
            None => Err(deadline_passed()),
        }
    }
}

pub(super) fn responder_lost() -> Error {
    Error::new(
        Kind::ResponderLost,
        "the responder went away with the request in its hands; it may or may not have been done. \
         Send it with an Idempotency-Key to have it retried safely",
    )
}

pub(super) fn deadline_passed() -> Error {
    Error::new(
        Kind::DeadlinePassed,
        "no reply came before the deadline; wait longer, or ask for the reply on a topic with respond-async",
    )
}

pub(super) fn overloaded() -> Error {
    Error::new(Kind::Overloaded, "the hub holds its limit of requests; try again in a moment")
}

pub(super) fn shutting_down() -> Error {
    Error::new(Kind::ShuttingDown, "the hub is stopping; reconnect and send it again")
}

pub(super) fn request_not_found(id: impl fmt::Display) -> Error {
    Error::new(Kind::RequestNotFound, format!("nobody waits for a reply to the request {id} any more"))
}

fn too_large(what: &str, bytes_max: usize) -> Error {
    Error::new(Kind::TooLarge, format!("{what} is over the limit of {bytes_max} bytes; send a reference to it"))
}
