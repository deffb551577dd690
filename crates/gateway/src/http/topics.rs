//! A topic's URL: who may do what, which method means what, and the small answers (HEAD, DELETE, OPTIONS).

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::future;
use std::pin::Pin;

use axum::Router;
use axum::extract::{OriginalUri, Request};
use axum::handler::Handler;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures_util::FutureExt;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use percent_encoding::percent_decode_str;
use quintet_core::access::{Access, Operation};
use quintet_core::name::TopicName;
use quintet_core::topic::TopicInfo;
use quintet_wire::header;
use quintet_wire::problem::kind::Kind;
use quintet_wire::time;
use smallvec::SmallVec;

use crate::auth::Caller;
use crate::convert::token;
use crate::error::{Problem, Result};
use crate::http::dialect::Dialect;
use crate::http::{body, create, publish, read, unheeded};
use crate::origin;
use crate::serve::Guest;
use crate::state::Gateway;

const METHODS: &str = "GET, HEAD, POST, PUT, DELETE, OPTIONS";
/// The first level that Durable Streams keeps for its subscriptions (section 6), which this hub does not have.
const RESERVED_LEVEL: &str = "__ds";

pub(crate) fn routes() -> Router<Gateway> {
    Router::new()
        .route("/topics/{*topic}", any(Endpoint(Dialect::Topics)))
        .route("/v1/stream/{*topic}", any(Endpoint(Dialect::Stream)))
}

/// The handler of a dialect's topics. It is one by hand, as an `async fn` would hold the request, and room for all that
/// could be asked for, for as long as a poll waits.
#[derive(Clone, Copy)]
struct Endpoint(Dialect);

impl Handler<Self, Gateway> for Endpoint {
    type Future = Answer;

    fn call(self, request: Request, gateway: Gateway) -> Answer {
        call(gateway, self.0, request)
    }
}

/// Answers a request to a topic.
pub(crate) fn call(gateway: Gateway, dialect: Dialect, request: Request) -> Answer {
    match dispatch(gateway, dialect, request) {
        Ok(answer) => answer,
        Err(problem) => Box::pin(future::ready(problem.into_response())),
    }
}

/// An answer to be.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Response> + Send>>;

/// Boxes what is asked for, and nothing else.
pub(crate) fn answer(answer: impl Future<Output = Result<Response>> + Send + 'static) -> Answer {
    Box::pin(answer.map(IntoResponse::into_response))
}

/// A request to a topic, once its URL is understood.
#[derive(Debug)]
pub(crate) struct TopicRequest {
    pub(crate) gateway: Gateway,
    pub(crate) access: Access,
    pub(crate) dialect: Dialect,
    pub(crate) topic: TopicName,
}

fn dispatch(gateway: Gateway, dialect: Dialect, request: Request) -> Result<Answer> {
    let Caller(access) = Caller::of_request(&gateway, &request)?;
    unheeded::refuse(request.method(), request.headers())?;
    let path = request.uri().path().strip_prefix(dialect.prefix()).unwrap_or_default();
    let name = decode_path(path)?;
    if dialect == Dialect::Stream && (name == RESERVED_LEVEL || name.starts_with("__ds/")) {
        let detail = "names under __ds are for subscriptions of Durable Streams, which this hub does not have";
        return Err(Problem::new(Kind::NotImplemented, detail));
    }
    let topic = TopicName::parse(&name)?;
    let asked = TopicRequest { gateway, access, dialect, topic };
    match *request.method() {
        Method::GET => read::read(asked, request),
        Method::HEAD => Ok(answer(head(asked))),
        Method::PUT => Ok(answer(create::create(asked, request))),
        Method::POST => Ok(answer(publish::publish(asked, request))),
        Method::DELETE => Ok(answer(delete(asked))),
        Method::OPTIONS => {
            let methods = (StatusCode::NO_CONTENT, [(ALLOW, METHODS)]).into_response();
            Ok(Box::pin(future::ready(methods)))
        }
        _ => {
            let detail = format!("{} does not work on a topic; the Allow header names what does", request.method());
            Err(Problem::new(Kind::MethodNotAllowed, detail).header("allow", METHODS))
        }
    }
}

impl TopicRequest {
    /// Checks that the caller may read the topic.
    pub(crate) fn check_read(&self) -> Result<()> {
        check_read(&self.access, &self.topic)
    }

    /// Checks an operation on the topic.
    pub(crate) fn check(&self, operation: Operation) -> Result<()> {
        Ok(self.access.check(operation, &self.topic)?)
    }
}

/// Checks that a caller may read a topic. Of the hub's own topics only those can be read whose names cannot be guessed,
/// and those that tell who is on a topic.
pub(crate) fn check_read(access: &Access, topic: &TopicName) -> Result<()> {
    if topic.is_reserved() && !topic.as_str().starts_with("$replies/") && topic.members_of().is_none() {
        let detail = "names that begin with $ are the hub's own; of these only $replies/… and $presence/… can be read";
        return Err(access.refuse(Operation::Subscribe, topic.as_str(), detail).into());
    }
    Ok(access.check(Operation::Subscribe, topic)?)
}

async fn head(asked: TopicRequest) -> Result<Response> {
    asked.check_read()?;
    let info = asked.gateway.hub().describe(&asked.topic).await.map_err(|error| asked.dialect.refuse(error))?;
    let mut response = Response::new(body::untold());
    describe(response.headers_mut(), &info);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

async fn delete(asked: TopicRequest) -> Result<Response> {
    asked.check(Operation::Manage)?;
    asked.gateway.hub().delete_topic(&asked.topic).await.map_err(|error| asked.dialect.refuse(error))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The headers that tell of a topic (Durable Streams section 5.5).
pub(crate) fn describe(headers: &mut HeaderMap, info: &TopicInfo) {
    put(headers, CONTENT_TYPE, info.config.content_type.as_str());
    set(headers, header::STREAM_NEXT_OFFSET, token(info.next));
    if let Some(ttl) = info.config.ttl {
        set(headers, header::STREAM_TTL, ttl.as_secs());
    }
    if let Some(at) = info.config.expires_at {
        set(headers, header::STREAM_EXPIRES_AT, time::format(at.0));
    }
    if info.closed {
        set_true(headers, header::STREAM_CLOSED);
    }
    set(headers, header::QUINTET_DURABILITY, info.durability.name());
}

/// Sets a header of ours; a value that no header can hold is left out.
pub(crate) fn set(headers: &mut HeaderMap, name: &'static str, value: impl fmt::Display) {
    let mut text = ValueText::default();
    if write!(text, "{value}").is_ok()
        && let Ok(text) = std::str::from_utf8(&text.0)
    {
        put(headers, HeaderName::from_static(name), text);
    }
}

/// Sets a header of ours to `true`.
pub(crate) fn set_true(headers: &mut HeaderMap, name: &'static str) {
    headers.insert(HeaderName::from_static(name), HeaderValue::from_static("true"));
}

/// A value while it is written: most are short and are copied once, into the header.
#[derive(Default)]
struct ValueText(SmallVec<[u8; 64]>);

impl fmt::Write for ValueText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

pub(crate) fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

/// A path's text. Its slashes may be encoded or not: levels are what they separate.
pub(crate) fn decode_path(path: &str) -> Result<Cow<'_, str>> {
    let bad = |_| Problem::new(Kind::BadName, "the path is not UTF-8 when it is percent-decoded");
    percent_decode_str(path).decode_utf8().map_err(bad)
}

/// Sets `Location` to the request's own URL, absolute if the request says under which host it came.
pub(crate) fn locate(headers: &mut HeaderMap, parts: &Parts) -> Result<()> {
    let path = parts.extensions.get::<OriginalUri>().map_or(parts.uri.path(), |uri| uri.0.path());
    let secure = parts.extensions.get::<Guest>().is_some_and(Guest::is_secure)
        || parts.headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
    let location = match origin::authority(&parts.uri, &parts.headers)? {
        Some(authority) if secure => format!("https://{authority}{path}"),
        Some(authority) => format!("{}://{authority}{path}", parts.uri.scheme_str().unwrap_or("http")),
        None => path.to_owned(),
    };
    put(headers, LOCATION, &location);
    Ok(())
}

/// Whether a request says that the topic is to be closed: exactly `true`, in any case (Durable Streams section 4.1).
pub(crate) fn says_closed(headers: &HeaderMap) -> bool {
    headers.get(header::STREAM_CLOSED).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}
